"""A fresh anvil with an open program on it, for measuring."""

import re
import secrets
import shutil
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from nftloyalty.app import deploying, funding
from nftloyalty.app.context import App, build_app
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.opening import Opened, opened
from nftloyalty.chain.signer import Signer
from nftloyalty.config import from_environment
from nftloyalty.domain.program_file import read_program
from nftloyalty.vault.keystore import Keystore

BLOCK_GAS = 1_000_000_000
"""So that no contestant is held up by the size of blocks."""

COINS = 1_000
START_SECONDS = 30.0

PROGRAM = """\
[program]
id = "speed"
brand = "Speed"
name = "Speed Club"
symbol = "FAST"
cap = 10_000_000

[chain]
finality_blocks = 4

[powers]
opener = "owner"
owner = "owner"
minters = ["hot"]
signers = ["hot"]
managers = ["hot"]
guardians = ["hot"]

[quotas.cards]
mint = 10_000_000

[[tiers]]
id = "member"
name = "Member"
"""


class NoAnvil(Exception):
    """anvil is not there, or does not start."""


@dataclass(frozen=True)
class World:
    """An app with its program and the key that mints."""

    url: str
    app: App
    here: Opened
    minter: Signer


@contextmanager
def world(database_url: str = "") -> Iterator[World]:
    """Everything anew, on a database of its own where none is given; gone afterwards."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nftloyalty-bench-")))
        url = stack.enter_context(_anvil())
        settings = from_environment(
            {
                "NFTLOYALTY_HOME": str(folder),
                "NFTLOYALTY_RPC_URL": url,
                "NFTLOYALTY_KEY_PASSWORD": secrets.token_urlsafe(24),
                "DATABASE_URL": database_url,
            }
        )
        app = build_app(settings)
        stack.callback(app.close)
        # The keys live as long as this run: what makes guessing their password dear would only cost time.
        app = replace(app, keystore=Keystore(settings.keys_folder, work=1 << 12))
        for name in ("owner", "hot"):
            funding.fund(app, app.keystore.create(name, app.password(name)), COINS * 10**18)
        program = read_program(PROGRAM, "program.toml")
        deploying.deploy(app, program)
        here = opened(app, program)
        yield World(url, app, here, signer_of(app, "hot"))


@contextmanager
def _anvil() -> Iterator[str]:
    found = shutil.which("anvil")
    if found is None:
        raise NoAnvil("anvil is not on PATH: run this by `make bench`")
    process = subprocess.Popen(
        [found, "--port", "0", "--gas-limit", str(BLOCK_GAS)],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    assert process.stdout is not None
    # One that says nothing is ended, which ends the reading below.
    watch = threading.Timer(START_SECONDS, process.kill)
    watch.start()
    try:
        for line in process.stdout:
            listening = re.match(r"Listening on (\S+)", line)
            if listening:
                break
        else:
            raise NoAnvil("anvil ended before it listened")
        watch.cancel()
        # What it says of each transaction is read away, or it would wait for a reader.
        drain = threading.Thread(target=process.stdout.read, daemon=True)
        drain.start()
        yield f"http://{listening[1]}"
    finally:
        watch.cancel()
        process.terminate()
        process.wait()
        process.stdout.close()
