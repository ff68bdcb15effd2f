"""The servers as processes of their own: they start, answer, and end in good order when told to."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import requests
import typer

from nftloyalty.app import claiming, deploying
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender
from nftloyalty.cli.main import app as commands
from nftloyalty.cli.serving import check_port
from nftloyalty.devchain.server import listen
from nftloyalty.domain.voucher import signed_to_json
from nftloyalty.errors import BadInput
from nftloyalty.web.access import MENDS
from tests.app.build import (
    PASSWORD,
    World,
    app_of,
    in_days,
    make_keys,
    new_wallet,
    program_of,
    program_text,
    settings_of,
)
from tests.cli.processes import MAIN, PATIENCE_SECONDS, Running, started
from tests.conftest import ROOT

Shop = tuple[World, Path, Mapping[str, str]]


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    """An open program, the folder of its program.toml, and the environment for its commands."""
    folder = tmp_path_factory.mktemp("shop")
    with started(folder, "chain", "--port", "0") as server:
        text = program_text()
        (folder / "program.toml").write_text(text)
        app = app_of(settings_of(folder / "home", server.url))
        make_keys(app)
        deploying.deploy(app, program_of(text))
        environment = {
            "NFTLOYALTY_HOME": str(folder / "home"),
            "NFTLOYALTY_RPC_URL": server.url,
            "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
        }
        yield World(app, program_of(text)), folder, environment
        app.close()


def ready(server: Running) -> str:
    """The server's address, once it can do its work."""
    give_up = time.monotonic() + PATIENCE_SECONDS
    while (answer := requests.get(f"{server.url}/readyz", timeout=30)).status_code != 200:
        assert time.monotonic() < give_up, answer.text
        time.sleep(0.05)
    return server.url


def claimed(world: World, url: str, wallet: str) -> dict[str, Any]:
    """How a claim of a voucher for the wallet ends."""
    voucher = claiming.create_card(world.app, world.here, wallet, tier=1, expires_at=0, deadline=in_days(1))
    answer = requests.post(f"{url}/v1/claim", json=signed_to_json(voucher), timeout=30)
    assert answer.status_code == 202, answer.text
    found: dict[str, Any] = answer.json()
    give_up = time.monotonic() + PATIENCE_SECONDS
    while found["phase"] == "pending":
        assert time.monotonic() < give_up, found
        time.sleep(0.1)
        found = requests.get(url + found["status_url"], timeout=30).json()
    return found


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_and_ends_in_good_order(shop: Shop, by: signal.Signals) -> None:
    world, folder, environment = shop
    wallet = new_wallet()
    world.mint_outside(wallet)
    with started(folder, "serve", "--port", "0", **environment) as server:
        url = ready(server)
        found = requests.get(f"{url}/v1/ownership/{wallet}", timeout=30).json()
        assert found["card"]["tier"] == "member"
        status, seconds = server.end(by)
    assert (status, "Stopped." in server.said) == (0, True)
    assert seconds < 5
    # The signer's lease was given back, not left to be waited out.
    here = world.here
    with Sender(world.app, here.attached, signer_of(world.app, "hot"), finality_blocks=None):
        pass


def test_serve_that_only_reads_needs_no_key_and_keeps_the_index(shop: Shop, tmp_path: Path) -> None:
    world, folder, environment = shop
    database = f"sqlite:///{folder / 'home' / 'nftloyalty.db'}"
    keyless = {**environment, "NFTLOYALTY_HOME": str(tmp_path), "DATABASE_URL": database, "NFTLOYALTY_KEY_PASSWORD": ""}
    with started(folder, "serve", "--port", "0", "--read-only", **keyless) as server:
        url = ready(server)
        wallet = new_wallet()
        world.mint_outside(wallet)
        give_up = time.monotonic() + PATIENCE_SECONDS
        while not requests.post(f"{url}/v1/gate", json={"wallet": wallet}, timeout=30).json()["allowed"]:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        refused = requests.post(f"{url}/v1/claim", json={}, timeout=30)
        assert refused.status_code == 422
        assert server.end(signal.SIGTERM)[0] == 0


def test_serve_without_a_worker_leaves_its_claims_to_one(shop: Shop) -> None:
    world, folder, environment = shop
    wallet = new_wallet()
    locked = {**environment, "NFTLOYALTY_KEY_PASSWORD": ""}
    with (
        started(folder, "serve", "--port", "0", "--no-worker", **locked) as server,
        started(folder, "worker", **environment) as worker,
    ):
        worker.wait_for("(Sending with hot, desk and indexing for Bean Club)")
        url = ready(server)
        assert claimed(world, url, wallet)["phase"] == "final"
        assert requests.get(f"{url}/v1/ownership/{wallet}", timeout=30).json()["card"]["tier"] == "member"
        worker.end(signal.SIGTERM)
        # The server has no hand in it: what is accepted now waits, and is sent by the next worker.
        voucher = claiming.create_card(world.app, world.here, new_wallet(), tier=1, expires_at=0, deadline=in_days(1))
        waits = requests.post(f"{url}/v1/claim", json=signed_to_json(voucher), timeout=30).json()
        time.sleep(2)
        assert requests.get(url + waits["status_url"], timeout=30).json() == waits
        with started(folder, "worker", **environment):
            give_up = time.monotonic() + PATIENCE_SECONDS
            while requests.get(url + waits["status_url"], timeout=30).json()["phase"] != "final":
                assert time.monotonic() < give_up
                time.sleep(0.1)


def test_serve_signs_vouchers_with_a_key_that_it_opens_once(shop: Shop, tmp_path: Path) -> None:
    """The password is read before it answers anybody; nobody could give it afterwards."""
    _, folder, environment = shop
    password = tmp_path / "password"
    password.write_text(PASSWORD + "\n")
    password.chmod(0o600)
    told = {**environment, "NFTLOYALTY_KEY_PASSWORD": "", "NFTLOYALTY_KEY_PASSWORD_FILE": str(password)}
    with started(folder, "serve", "--port", "0", "--no-worker", "--vouchers", **told) as server:
        url = server.url
        assert "Signing vouchers as 0x" in server.said
        password.unlink()
        body, key = {"wallet": new_wallet(), "tier": "gold"}, {"Idempotency-Key": "one"}
        answer = requests.post(f"{url}/v1/vouchers", json=body, headers=key, timeout=30)
        assert answer.status_code == 201, answer.text
        signed = answer.json()["signed"]
        assert requests.post(f"{url}/v1/claim", json=signed, timeout=30).status_code == 202
        assert server.end(signal.SIGTERM)[0] == 0
    assert answer.json()["id"] in server.said
    for secret in (signed["signature"][2:], PASSWORD):
        assert secret not in server.said


@pytest.mark.parametrize(
    ("options", "status", "said"),
    [
        (("--vouchers", "--no-worker"), 3, "a key's password is needed and there is no terminal to ask at"),
        (
            ("--vouchers", "--read-only"),
            2,
            "--vouchers: signs, and --read-only is for a server",
        ),
    ],
)
def test_serve_that_can_not_sign_vouchers_does_not_begin(
    shop: Shop, options: tuple[str, ...], status: int, said: str
) -> None:
    _, folder, environment = shop
    with started(folder, "serve", "--port", "0", *options, **{**environment, "NFTLOYALTY_KEY_PASSWORD": ""}) as server:
        assert server.process.wait(timeout=PATIENCE_SECONDS) == status
    assert said in server.said
    assert "Serving" not in server.said


def test_others_are_not_listened_to_before_there_is_a_key_and_the_way_to_one_is_told_whole(shop: Shop) -> None:
    _, folder, environment = shop
    with started(folder, "serve", "--host", "0.0.0.0", "--port", "0", "--no-worker", **environment) as server:  # noqa: S104
        assert server.process.wait(timeout=PATIENCE_SECONDS) == 2
    (command,) = re.findall(r"`nftloyalty (api-keys create .*)`, or listen on 127.0.0.1", server.said)
    assert all(f"`nftloyalty {command}`" in MENDS[code] for code in ("by_proxy", "wrong_host"))
    group = typer.main.get_command(commands).commands["api-keys"]  # type: ignore[attr-defined]
    words = shlex.split(command)[2:]
    with group.commands["create"].make_context("create", words) as ctx:
        assert ctx.params["scopes"] == ["checks:read", "claims:write"]


def test_the_demo_names_both_ways_to_another_port() -> None:
    with listen("127.0.0.1", 0) as listener:
        port = listener.getsockname()[1]
        with pytest.raises(BadInput) as refused:
            check_port("demo", "127.0.0.1", port)
    mend = refused.value.problems[0].mend
    assert f'nftloyalty demo --port {port + 1}, or make demo ARGS="--port {port + 1}"' in mend


def test_a_port_that_is_taken_is_told(shop: Shop) -> None:
    _, folder, environment = shop
    port = environment["NFTLOYALTY_RPC_URL"].rpartition(":")[2]
    refused = subprocess.run(
        [sys.executable, "-c", MAIN, "serve", "--port", port],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert refused.returncode == 2
    assert f"--port: port {port} on 127.0.0.1 is taken" in refused.stderr
    assert f"nftloyalty serve --port {int(port) + 1}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_chain_ends_in_good_order(tmp_path: Path) -> None:
    with started(tmp_path, "chain", "--port", "0") as server:
        asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        assert json.loads(requests.post(server.url, json=asked, timeout=30).text)["result"] == "0x0"
        status, seconds = server.end(signal.SIGTERM)
    assert (status, "Stopped." in server.said) == (0, True)
    assert seconds < 6
