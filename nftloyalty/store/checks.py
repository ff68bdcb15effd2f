"""What one wallet holds, looked up as fast as the driver can: for the check at a checkout, and nothing else.

One statement by primary keys, written and prepared once, on one connection that can't write. SQLAlchemy writes the
statement and opens the connection; the look-ups go past it. They block their thread: LONGEST_SECONDS at the most, and
tens of microseconds as a rule.
"""

import select as system
import sqlite3
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from operator import itemgetter
from typing import Any, cast

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from sqlalchemy import Engine, Select, and_, bindparam, case, func, select, true
from sqlalchemy.exc import DBAPIError

from nftloyalty.domain.gate import AsOf
from nftloyalty.errors import DatabaseProblem
from nftloyalty.store import index
from nftloyalty.store.engine import address_of
from nftloyalty.store.index import STATE
from nftloyalty.store.tables import holdings, positions, seasons, undo

LONGEST_SECONDS = 0.25
"""After which a look-up is given up."""

CACHE_KIB = 64 * 1024
"""Of a SQLite file's pages kept in memory: the inner ones of a tree of many millions of holdings, and hot leaves."""

_STANDING = (positions.c.number.label("standing"), positions.c.confirmed_at, positions.c.incident)
_SPLIT = 7

_check_at_head = index.check.with_only_columns(
    positions.c.number,
    positions.c.hash,
    positions.c.timestamp,
    positions.c.number <= positions.c.final_number,
    *_STANDING,
    *index.check.selected_columns[len(positions.c) :],
)
"""`index.check` without what no answer tells."""

_first_change = (
    select(func.min(undo.c.block_number))
    .where(
        undo.c.program == bindparam("program"),
        undo.c.wallet == bindparam("wallet"),
        undo.c.block_number > positions.c.final_number,
    )
    .correlate(positions)
    .scalar_subquery()
)

_check_as_of_final = (
    select(
        positions.c.final_number,
        positions.c.final_hash,
        positions.c.final_timestamp,
        true(),
        *_STANDING,
        select(func.count())
        .select_from(seasons)
        .where(seasons.c.program == bindparam("program"), seasons.c.block_number <= positions.c.final_number)
        .correlate(positions)
        .scalar_subquery(),
        *(case((undo.c.block_number.is_not(None), undo.c[name]), else_=holdings.c[name]) for name in STATE),
    )
    .select_from(
        positions.outerjoin(
            holdings, and_(holdings.c.program == bindparam("program"), holdings.c.wallet == bindparam("wallet"))
        ).outerjoin(
            undo,
            and_(
                undo.c.program == bindparam("program"),
                undo.c.wallet == bindparam("wallet"),
                undo.c.block_number == _first_change,
            ),
        )
    )
    .where(positions.c.program == bindparam("program"))
)
"""The same as of the newest final block: what was before the first change since, if there was one."""


class AsOfWhich(IntEnum):
    """Which of the two statements."""

    HEAD = 0
    FINAL = 1


_STATEMENTS: tuple[Select[*tuple[Any, ...]], ...] = (_check_at_head, _check_as_of_final)

State = tuple[int, int, int, int, int, bytes]
"""As HoldingState.from_row takes it."""


@dataclass(frozen=True, slots=True)
class Standing:
    """Where a program's index stands, as far as an answer needs it. `as_of` is the block that was asked for, `number`
    the newest one; the rest as in PositionRow."""

    as_of: AsOf
    number: int
    confirmed_at: datetime | None
    incident: str | None


class LookUps(ABC):
    """Look-ups over one connection, for one thread at a time.

    Closed to begin with and after trouble; `open` opens it, which may wait for a server and is to be called where that
    does no harm. What is opened is closed by `close`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._raw: tuple[Any, ...] = ()
        self._standing: Standing | None = None
        kind = positions.c.confirmed_at.type.dialect_impl(engine.dialect)
        self._time = kind.result_processor(engine.dialect, None) or (lambda value: value)

    @property
    @abstractmethod
    def is_open(self) -> bool: ...

    @abstractmethod
    def open(self) -> None:
        """Harmless if it is open. Raises DatabaseProblem."""

    @abstractmethod
    def close(self) -> None:
        """Harmless if it is closed."""

    @abstractmethod
    def _row(self, which: AsOfWhich, program: int, wallet: bytes) -> tuple[Any, ...] | None:
        """Raises _trouble(), or _problem() where it is closed."""

    def find(self, which: AsOfWhich, program: int, wallet: bytes) -> tuple[Standing, int, State | None] | None:
        """Where the index stands, the number of the program's seasons, and the wallet's state, None = nothing is known
        of it; None = the program has no index yet.

        As long as the index has not moved, the standing is the same object. Raises DatabaseProblem; if it is closed
        then, the next `open` may help.
        """
        row = self._row(which, program, wallet)
        if row is None:
            return None
        standing = self._standing
        if standing is None or row[:_SPLIT] != self._raw:
            self._raw = row[:_SPLIT]
            block, block_hash, timestamp, final, number, confirmed_at, incident = self._raw
            as_of = AsOf(block, block_hash, timestamp, final=bool(final))
            standing = self._standing = Standing(as_of, number, self._time(confirmed_at), incident)
        state = None if row[_SPLIT + 1] is None else row[_SPLIT + 1 :]
        return standing, row[_SPLIT], cast("State | None", state)

    def _trouble(self, why: object) -> DatabaseProblem:
        """Closes, for nothing is known of a connection that failed."""
        self.close()
        return self._problem(why)

    def _problem(self, why: object) -> DatabaseProblem:
        told = " ".join(str(why).split())
        password = self._engine.url.password
        return DatabaseProblem(address_of(self._engine), told.replace(str(password), "***") if password else told)

    def _connection(self) -> Any:
        """The driver's connection, opened as the engine opens them and ours from now on."""
        try:
            pooled = self._engine.raw_connection()
        except (DBAPIError, psycopg.Error, sqlite3.Error) as failure:
            raise self._problem(failure) from None
        found = pooled.driver_connection
        pooled.detach()
        return found


def look_ups(engine: Engine) -> LookUps:
    return SqliteLookUps(engine) if engine.dialect.name == "sqlite" else PostgresqlLookUps(engine)


def _order(names: Sequence[str] | None) -> Callable[[Sequence[Any]], tuple[Any, ...]]:
    """Lays (program, wallet) out as a statement wants them."""
    return itemgetter(*(("program", "wallet").index(name) for name in names or ()))


class SqliteLookUps(LookUps):
    """In process. A reader waits for no writer; only a file that is being recovered makes it wait."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._connected: sqlite3.Connection | None = None
        compiled = [statement.compile(dialect=engine.dialect) for statement in _STATEMENTS]
        self._texts = [str(each) for each in compiled]
        self._orders = [_order(each.positiontup) for each in compiled]

    @property
    def is_open(self) -> bool:
        return self._connected is not None

    def open(self) -> None:
        if self._connected is not None:
            return
        connection: sqlite3.Connection = self._connection()
        try:
            connection.execute(f"PRAGMA busy_timeout={int(LONGEST_SECONDS * 1000)}")
            connection.execute(f"PRAGMA cache_size=-{CACHE_KIB}")
            connection.execute("PRAGMA query_only=ON")
        except sqlite3.Error as failure:
            connection.close()
            raise self._problem(failure) from None
        self._connected = connection

    def close(self) -> None:
        connected, self._connected = self._connected, None
        if connected is not None:
            connected.close()

    def _row(self, which: AsOfWhich, program: int, wallet: bytes) -> tuple[Any, ...] | None:
        if self._connected is None:
            raise self._problem("it is not connected")
        try:
            # Read to the end, which ends the statement and with it SQLite's read transaction.
            rows = self._connected.execute(self._texts[which], self._orders[which]((program, wallet))).fetchall()
        except sqlite3.Error as failure:
            raise self._trouble(failure) from None
        return rows[0] if rows else None


class PostgresqlLookUps(LookUps):
    """By libpq itself, which psycopg opens to us: a cursor costs as much as the look-up, and knows no time limit.

    The server gives a statement up as well, so that it does not go on for nobody.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._connected: psycopg.Connection[Any] | None = None
        dialect = type(engine.dialect)(paramstyle="numeric_dollar")  # type: ignore[call-arg]
        compiled = [statement.compile(dialect=dialect) for statement in _STATEMENTS]
        self._texts = [str(each).encode() for each in compiled]
        self._names = [f"nftloyalty_check_{which.name.lower()}".encode() for which in AsOfWhich]
        self._orders = [_order(each.positiontup) for each in compiled]

    @property
    def is_open(self) -> bool:
        return self._connected is not None

    def open(self) -> None:
        if self._connected is not None:
            return
        connection: psycopg.Connection[Any] = self._connection()
        try:
            connection.autocommit = True
            connection.execute("SET default_transaction_read_only = on")
            connection.execute(f"SET statement_timeout = {int(LONGEST_SECONDS * 1000)}".encode())
            for name, text in zip(self._names, self._texts, strict=True):
                done = connection.pgconn.prepare(name, text)
                if done.status != pq.ExecStatus.COMMAND_OK:
                    raise psycopg.OperationalError(done.error_message.decode(errors="replace"))
        except psycopg.Error as failure:
            connection.close()
            raise self._problem(failure) from None
        self._poll = system.poll()
        self._poll.register(connection.pgconn.socket, system.POLLIN)
        self._convert = Transformer(connection)
        self._connected = connection

    def close(self) -> None:
        connected, self._connected = self._connected, None
        if connected is not None:
            connected.close()

    def _row(self, which: AsOfWhich, program: int, wallet: bytes) -> tuple[Any, ...] | None:
        if self._connected is None:
            raise self._problem("it is not connected")
        connection = self._connected.pgconn
        try:
            connection.send_query_prepared(
                self._names[which],
                self._orders[which]((program.to_bytes(8, "big"), wallet)),
                param_formats=(pq.Format.BINARY, pq.Format.BINARY),
                result_format=pq.Format.BINARY,
            )
            give_up = 0.0
            while connection.is_busy():
                wait = LONGEST_SECONDS if not give_up else give_up - time.monotonic()
                give_up = give_up or time.monotonic() + LONGEST_SECONDS
                if wait <= 0 or not self._poll.poll(wait * 1000):
                    raise self._trouble(f"no answer within {LONGEST_SECONDS} s")
                connection.consume_input()
            result = connection.get_result()
            while connection.get_result() is not None:
                """An answer ends with None."""
        except psycopg.Error as failure:
            raise self._trouble(failure) from None
        if result is None or result.status != pq.ExecStatus.TUPLES_OK:
            raise self._trouble(result.error_message.decode(errors="replace") if result else "the connection broke off")
        self._convert.set_pgresult(result)
        return self._convert.load_row(0, tuple) if result.ntuples else None
