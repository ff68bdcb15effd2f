"""The servers as processes of their own: they start, answer, and end in good order when told to."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from nftloyalty.app import deploying
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender
from tests.app.build import PASSWORD, World, app_of, make_keys, new_wallet, program_of, program_text, settings_of

PATIENCE_SECONDS = 60
COMMAND = (sys.executable, "-c", "from nftloyalty.cli.main import main; main()")


@contextmanager
def started(folder: Path, *arguments: str, **environment: str) -> Iterator[tuple["subprocess.Popen[str]", str]]:
    """A command that serves, and the address it says it serves at."""
    process = subprocess.Popen(
        [*COMMAND, *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        assert process.stderr is not None
        line = process.stderr.readline()
        while line and "at http" not in line:
            line = process.stderr.readline()
        found = re.search(r"at (http://\S+:\d+)", line)
        assert found, line
        yield process, found[1]
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate(timeout=PATIENCE_SECONDS)


def ended(process: "subprocess.Popen[str]", by: signal.Signals) -> tuple[int, float, str]:
    """Exit status, seconds it took, and what was said."""
    before = time.monotonic()
    process.send_signal(by)
    _, said = process.communicate(timeout=PATIENCE_SECONDS)
    return process.returncode, time.monotonic() - before, said


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, Path, Mapping[str, str]]]:
    """An open program, the folder of its program.toml, and the environment for its commands."""
    folder = tmp_path_factory.mktemp("shop")
    with started(folder, "chain", "--port", "0") as (_, chain):
        text = program_text()
        (folder / "program.toml").write_text(text)
        app = app_of(settings_of(folder / "home", chain))
        make_keys(app)
        deploying.deploy(app, program_of(text))
        environment = {
            "NFTLOYALTY_HOME": str(folder / "home"),
            "NFTLOYALTY_RPC_URL": chain,
            "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
        }
        yield World(app, program_of(text)), folder, environment
        app.close()


@pytest.mark.parametrize("by", [signal.SIGTERM, signal.SIGINT])
def test_serve_answers_and_ends_in_good_order(shop: tuple[World, Path, Mapping[str, str]], by: signal.Signals) -> None:
    world, folder, environment = shop
    wallet = new_wallet()
    world.mint_outside(wallet)
    with started(folder, "serve", "--port", "0", **environment) as (process, url), requests.Session() as browser:
        found = browser.get(f"{url}/v1/ownership/{wallet}", timeout=30).json()
        assert found["card"]["tier"] == "member"
        assert browser.get(f"{url}/readyz", timeout=30).json()["status"] == "ok"
        status, seconds, said = ended(process, by)
    assert (status, "Stopped." in said) == (0, True)
    assert seconds < 5
    assert "Traceback" not in said
    # The signer's lease was given back, not left to be waited out.
    here = world.here
    with Sender(world.app, here.attached, signer_of(world.app, "hot"), finality_blocks=None):
        pass


def test_a_port_that_is_taken_is_told(shop: tuple[World, Path, Mapping[str, str]]) -> None:
    _, folder, environment = shop
    port = environment["NFTLOYALTY_RPC_URL"].rpartition(":")[2]
    refused = subprocess.run(
        [*COMMAND, "serve", "--port", port],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2]), **environment},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert refused.returncode == 2
    assert f"--port: port {port} on 127.0.0.1 is taken" in refused.stderr
    assert f"nftloyalty serve --port {int(port) + 1}" in refused.stderr
    assert "Traceback" not in refused.stderr


def test_a_chain_ends_in_good_order(tmp_path: Path) -> None:
    with started(tmp_path, "chain", "--port", "0") as (process, url):
        asked = {"jsonrpc": "2.0", "id": 1, "method": "eth_blockNumber", "params": []}
        assert json.loads(requests.post(url, json=asked, timeout=30).text)["result"] == "0x0"
        status, seconds, said = ended(process, signal.SIGTERM)
    assert (status, "Stopped." in said) == (0, True)
    assert seconds < 6
