"""docs/api.md's first ten minutes, typed as they are printed: a demo, a key, a receiver, a card, its webhook."""

import os
import re
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx2
import pytest

from tests.conftest import ROOT

GUIDE = (
    (ROOT / "docs" / "api.md")
    .read_text(encoding="utf-8")
    .partition("## The first ten minutes")[2]
    .partition("\n## ")[0]
)
WALLET = "0xa0Ee7A142d267C1f36714E4a8F75612F20a79720"
PATIENCE_SECONDS = 90


def free_port() -> int:
    with closing(socket.create_server(("127.0.0.1", 0))) as server:
        return int(server.getsockname()[1])


@pytest.fixture(scope="module")
def demo(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a demo that serves."""
    log = tmp_path_factory.mktemp("demo") / "demo.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", "from nftloyalty.cli.main import main; main()", "demo", "--port", "0"],
            cwd=log.parent,
            env={
                **os.environ,
                "PYTHONPATH": str(ROOT),
                "PYTHONUNBUFFERED": "1",
                "NFTLOYALTY_WEBHOOK_NETWORKS": "127.0.0.1",
            },
            stdin=subprocess.DEVNULL,
            stdout=said,
            stderr=subprocess.STDOUT,
        )
    try:
        give_up = time.monotonic() + PATIENCE_SECONDS
        while (found := re.search(r"Serving .* at (http://\S+)", log.read_text(encoding="utf-8"))) is None:
            assert process.poll() is None and time.monotonic() < give_up, log.read_text(encoding="utf-8")
            time.sleep(0.1)
        yield found[1]
        assert [each.name for each in log.parent.iterdir()] == ["demo.log"], "what a demo makes goes with it"
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_SECONDS)


def test_the_first_ten_minutes_go_as_they_are_printed(demo: str, tmp_path: Path) -> None:
    commands = re.findall(r"^```bash\n(.*?)^```", GUIDE, re.M | re.S)
    (receiver,) = re.findall(r"^```python\n(.*?)^```", GUIDE, re.M | re.S)
    assert commands.pop(0) == "NFTLOYALTY_WEBHOOK_NETWORKS=127.0.0.1 make demo\n"
    assert len(commands) == 5
    hooks = free_port()
    (tmp_path / "receiver.py").write_text(receiver.replace("8001", str(hooks)), encoding="utf-8")
    # What a person does between the commands: waits until the receiver listens, and until the card is there.
    key, register, mint, forged, check = (
        each.replace("http://127.0.0.1:8000", demo)
        .replace("8001", str(hooks))
        .replace(".venv/bin/python", sys.executable)
        for each in commands
    )
    until_it_listens = f"until (exec 3<>/dev/tcp/127.0.0.1/{hooks}) 2>/dev/null; do sleep 0.1; done\n"
    until_it_is_told = f"until grep -q {WALLET} receiver.log; do sleep 0.1; done\n"
    script = [
        f"set -eu\n{key}",
        register.replace(
            "receiver.py &", "receiver.py >receiver.log 2>/dev/null &\ntrap 'kill %1' EXIT\n" + until_it_listens
        ),
        f"{mint}echo\n" * 2,
        until_it_is_told,
        forged,
        check,
    ]
    done = subprocess.run(
        ["bash", "-m", "-c", "".join(script)],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"},
        capture_output=True,
        text=True,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    first, again, refused, checked = done.stdout.splitlines()
    assert first == again and WALLET in first
    assert refused == "401"
    assert '"allowed":true' in checked
    # The demo's own last card may be told of first.
    told = (tmp_path / "receiver.log").read_text(encoding="utf-8").splitlines()
    assert f"membership.created final {WALLET}" in told and "refused: the header webhook-id is missing" in told
    # The first key has closed the door behind itself.
    assert httpx2.get(f"{demo}/v1/program").status_code == 401
