"""What deploy/ starts, started: the same command lines on free ports, the first API key as the operator's guide has it
made, and a proxy in front."""

import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from urllib.parse import urlsplit

import pytest

from tests.app.build import World
from tests.cli.processes import MAIN, PATIENCE_SECONDS, Running, started
from tests.cli.test_serving import Shop, shop
from tests.conftest import ROOT
from tests.test_deploy import DEPLOY, OURS, in_guide, read_unit

__all__ = ["shop"]  # a fixture

# All of 127.0.0.0/8 is this machine, so each of them can have an address of its own.
PROXY, MEMBER, OTHER, STRANGER = (f"127.0.0.{number}" for number in (11, 21, 22, 23))
AT_ONCE = 5
RATES = {"NFTLOYALTY_RATE_PER_ADDRESS": str(AT_ONCE / 10), "NFTLOYALTY_TRUSTED_PROXIES": PROXY}
"""So many requests of one address in ten seconds."""


def line_of(unit: str) -> list[str]:
    (start,) = read_unit(DEPLOY / f"{unit}.service")["ExecStart"]
    return shlex.split(start)[1:]


LINES: Mapping[str, list[str]] = {"compose": OURS["web"]["command"], "unit": line_of("nftloyalty-web")}


def on_free_port(words: Sequence[str]) -> list[str]:
    """The same command, where nobody else listens."""
    ports = {place + 1 for place, word in enumerate(words) if word in ("--port", "--metrics-port")}
    return ["0" if place in ports else word for place, word in enumerate(words)]


def ended(folder: Path, environment: Mapping[str, str], *words: str) -> "subprocess.CompletedProcess[str]":
    """A command that ends by itself."""
    return subprocess.run(
        [sys.executable, "-c", MAIN, *words],
        cwd=folder,
        env={"PATH": "", "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )


@dataclass(frozen=True)
class Keyed:
    """A shop with its first key, and what the server in containers said before there was one."""

    folder: Path
    environment: Mapping[str, str]
    world: World
    key: str
    before: "subprocess.CompletedProcess[str]"


@pytest.fixture(scope="module")
def keyed(shop: Shop) -> Keyed:
    world, folder, environment = shop
    before = ended(folder, environment, *on_free_port(LINES["compose"]))
    of_units = [words for words in in_guide("loyalty") if words[:2] == ["api-keys", "create"]]
    of_containers = [words[1:] for words in in_guide("docker compose run --rm") if words[1:3] == ["api-keys", "create"]]
    assert of_units == of_containers
    (words,) = of_units
    made = ended(folder, environment, *words)
    assert made.returncode == 0, made.stderr
    return Keyed(folder, environment, world, made.stdout.strip(), before)


def port_of(server: Running) -> int:
    return urlsplit(server.url).port or 0


def status(port: int, path: str, source: str = "127.0.0.1", **headers: str) -> int:
    """Of the answer to somebody at this address. Underscores of headers are hyphens."""
    connection = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS, source_address=(source, 0))
    try:
        connection.request("GET", path, headers={name.replace("_", "-"): value for name, value in headers.items()})
        return connection.getresponse().status
    finally:
        connection.close()


@contextmanager
def door(port: int) -> Iterator[int]:
    """The port of a proxy in front of that port, which does with X-Forwarded-For what the guide asks of one."""

    class Door(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            given = {name: value for name, value in self.headers.items() if name != "X-Forwarded-For"}
            inner = HTTPConnection("127.0.0.1", port, timeout=PATIENCE_SECONDS, source_address=(PROXY, 0))
            inner.request("GET", self.path, headers={**given, "X-Forwarded-For": self.client_address[0]})
            answer = inner.getresponse()
            body = answer.read()
            inner.close()
            self.send_response(answer.status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_request(self, code: object = "-", size: object = "-") -> None:
            """Into no log."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Door) as server:
        thread = Thread(target=server.serve_forever, name="door", daemon=True)
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def until(done: Callable[[], bool], said: Callable[[], str]) -> None:
    give_up = time.monotonic() + PATIENCE_SECONDS
    while not done():
        assert time.monotonic() < give_up, said()
        time.sleep(0.1)


def test_in_containers_the_server_does_not_start_before_there_is_a_key(keyed: Keyed) -> None:
    assert keyed.before.returncode == 2
    assert "nftloyalty api-keys create" in keyed.before.stderr


@pytest.mark.parametrize("line", LINES)
def test_a_call_with_the_first_key_is_answered_and_none_without(keyed: Keyed, line: str) -> None:
    with started(keyed.folder, *on_free_port(LINES[line]), **keyed.environment) as server:
        port = port_of(server)
        assert status(port, "/v1/program") == 401
        assert status(port, "/v1/program", Authorization=f"Bearer {keyed.key}") == 200
        assert status(port, "/v1/program", Authorization=f"Bearer {keyed.key[:-1]}") == 401
        assert status(port, "/healthz") == 200
        # The guide's key is for a shop, not for what watches the server.
        assert status(port, "/metrics", Authorization=f"Bearer {keyed.key}") == 403
        assert status(port, "/metrics") == 401
        assert server.end(signal.SIGTERM)[0] == 0


@pytest.mark.parametrize("line", LINES)
def test_behind_a_proxy_each_client_has_a_count_of_its_own(keyed: Keyed, line: str) -> None:
    with (
        started(keyed.folder, *on_free_port(LINES[line]), **keyed.environment, **RATES) as server,
        door(port_of(server)) as outer,
    ):
        assert status(outer, "/v1/program", MEMBER, Authorization=f"Bearer {keyed.key}") == 200
        assert [status(outer, "/v1/program", MEMBER) for _ in range(AT_ONCE + 1)] == [401] * AT_ONCE + [429]
        # Nobody gets away from his count by a header of his own, nor puts it on another one's.
        assert status(outer, "/v1/program", MEMBER, X_Forwarded_For="198.51.100.7") == 429
        assert status(outer, "/v1/program", MEMBER, X_Forwarded_For=OTHER) == 429
        assert status(outer, "/v1/program", OTHER) == 401


def test_who_is_no_trusted_proxy_is_not_believed(keyed: Keyed) -> None:
    with started(keyed.folder, *on_free_port(LINES["compose"]), **keyed.environment, **RATES) as server:
        port = port_of(server)
        forged = [f"198.51.100.{number}" for number in range(AT_ONCE)]
        assert {status(port, "/v1/program", STRANGER, X_Forwarded_For=each) for each in forged} == {401}
        assert status(port, "/v1/program", STRANGER, X_Forwarded_For=MEMBER) == 429
        with door(port) as outer:
            assert status(outer, "/v1/program", MEMBER) == 401


def test_what_the_containers_are_asked_for_their_health_tells_it(keyed: Keyed) -> None:
    """The very health checks of compose.yaml, with keys in force."""

    def healthy(service: str, server: Running) -> bool:
        program, *words = OURS[service]["healthcheck"]["test"][1:]
        assert program == "python"
        asked = [re.sub(r"127\.0\.0\.1:\d+", f"127.0.0.1:{port_of(server)}", word) for word in words]
        return subprocess.run([sys.executable, *asked], capture_output=True, timeout=PATIENCE_SECONDS).returncode == 0

    lines = {name: on_free_port(OURS[name]["command"]) for name in OURS}
    web_environment = {**keyed.environment, "NFTLOYALTY_KEY_PASSWORD": ""}
    with started(keyed.folder, *lines["worker"], **keyed.environment) as worker:
        until(lambda: healthy("worker", worker), lambda: worker.said)
        with started(keyed.folder, *lines["web"], **web_environment) as web:
            until(lambda: healthy("web", web), lambda: web.said)
            assert web.end(signal.SIGTERM)[0] == 0
        assert worker.end(signal.SIGTERM)[0] == 0
