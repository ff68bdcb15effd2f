"""Programs of many members, each in a database of its own, and the servers that answer for them."""

import json
import random
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, delete, insert, select, text, update

from benchmarks.load import Asked
from benchmarks.servers import Server, environment, open_program, serve
from nftloyalty.app.context import build_app
from nftloyalty.config import from_environment
from nftloyalty.store import index, index_steps
from nftloyalty.store.engine import begin, open_engine
from nftloyalty.store.index import Header
from nftloyalty.store.tables import holdings, positions, programs, seasons

ASKED_WALLETS = 500
AT_ONCE = 100
HELD_OF_10 = 9
"""Of ten wallets that are asked for, so many are members; the others were never heard of."""

QUERY = "tier=gold&stamp=latte"


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
                for each in self.wallets()
            ],
        )

    def ownership(self) -> Asked:
        return Asked(
            self.server.url, [{"method": "GET", "path": f"/v1/ownership/0x{each.hex()}"} for each in self.wallets()]
        )

    def ownership_of_many(self) -> Asked:
        """A hundred wallets a request."""
        wallets = [f"0x{each.hex()}" for each in self.wallets()]
        return Asked(
            self.server.url,
            [
                {
                    "method": "POST",
                    "path": "/v1/ownership",
                    "headers": {"content-type": "application/json"},
                    "body": json.dumps({"wallets": wallets[start : start + AT_ONCE]}),
                }
                for start in range(0, len(wallets), AT_ONCE)
            ],
        )


def wallet(number: int) -> bytes:
    """20 bytes spread as addresses are, and the same in every run."""
    return (number * 0x9E3779B97F4A7C15F39CC0605CEDC8341082276B % 2**160 | 1).to_bytes(20, "big")


@contextmanager
def ground(folder: Path, rpc_url: str, database_url: str, count: int) -> Iterator[Ground]:
    """The program opened on the node's chain, the index filled with `count` holdings, and `nftloyalty serve` for it."""
    folder.mkdir()
    given = environment(folder, rpc_url, database_url)
    app = build_app(from_environment(given))
    try:
        open_program(app, folder)
        with begin(app.engine) as tx:
            row = tx.execute(select(programs.c.id)).scalar_one()
        with begin(app.engine) as tx:
            _fill(tx, row, count)
        with app.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.execute(text("ANALYZE" if app.engine.dialect.name == "sqlite" else "VACUUM ANALYZE"))
    finally:
        app.close()
    with serve(folder, given) as server:
        yield Ground(database_url, row, count, server)


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
