"""What wallets hold, looked up as fast as the driver can: for the check at a checkout, and nothing else.

All wallets that are asked for at once are looked up in one picture of the database, by primary keys, with statements
written and prepared once, on one connection that can't write. SQLAlchemy writes the statements and opens the
connection; the look-ups go past it. They block their thread: LONGEST_SECONDS at the most, and some microseconds for
each wallet as a rule.
"""

import select as system
import sqlite3
import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import IntEnum
from operator import itemgetter
from typing import Any, cast

import psycopg
from psycopg import pq
from psycopg.adapt import Transformer
from sqlalchemy import (
    BindParameter,
    ColumnElement,
    Dialect,
    Engine,
    FromClause,
    Integer,
    LargeBinary,
    Select,
    and_,
    bindparam,
    case,
    column,
    func,
    literal_column,
    select,
    true,
    values,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.exc import DBAPIError

from nftloyalty.domain.gate import AsOf
from nftloyalty.errors import DatabaseProblem
from nftloyalty.store.engine import address_of
from nftloyalty.store.index import STATE
from nftloyalty.store.tables import holdings, positions, seasons, undo

LONGEST_SECONDS = 0.25
"""After which a look-up is given up."""

MOST_WALLETS = 256
"""In one look-up."""

CACHE_KIB = 64 * 1024
"""Of a SQLite file's pages kept in memory: the inner ones of a tree of many millions of holdings, and hot leaves."""


class AsOfWhich(IntEnum):
    """As of which block: the newest one, or the newest that can't be undone."""

    HEAD = 0
    FINAL = 1


_PROGRAM: BindParameter[int] = bindparam("program")


def _position(which: AsOfWhich) -> tuple[ColumnElement[Any], ...]:
    """How many seasons a program has, and what a Standing is made of."""
    at = positions.c
    of_its_seasons = [seasons.c.program == _PROGRAM]
    block: tuple[ColumnElement[Any], ...] = (at.number, at.hash, at.timestamp, at.number <= at.final_number)
    if which is AsOfWhich.FINAL:
        block = (at.final_number, at.final_hash, at.final_timestamp, true())
        of_its_seasons.append(seasons.c.block_number <= at.final_number)
    count = select(func.count()).select_from(seasons).where(*of_its_seasons).correlate(positions).scalar_subquery()
    return (count, *block, at.number.label("standing"), at.confirmed_at, at.incident)


def _state(origin: FromClause, wallet: ColumnElement[Any], which: AsOfWhich) -> tuple[FromClause, list[Any]]:
    """`origin` with what each wallet holds, and the columns of that: all NULL where nothing is known of it."""
    of_it = origin.outerjoin(holdings, and_(holdings.c.program == _PROGRAM, holdings.c.wallet == wallet))
    if which is AsOfWhich.HEAD:
        return of_it, [holdings.c[name] for name in STATE]
    # What was before the first change since, if there was one.
    final = select(positions.c.final_number).where(positions.c.program == _PROGRAM).scalar_subquery()
    first = undo.alias("first")
    first_change = (
        select(func.min(first.c.block_number))
        .where(first.c.program == _PROGRAM, first.c.wallet == wallet, first.c.block_number > final)
        .scalar_subquery()
    )
    changed = and_(undo.c.program == _PROGRAM, undo.c.wallet == wallet, undo.c.block_number == first_change)
    changes = undo.c.block_number.is_not(None)
    return of_it.outerjoin(undo, changed), [case((changes, undo.c[name]), else_=holdings.c[name]) for name in STATE]


def _check(asked: FromClause, which: AsOfWhich) -> Select[*tuple[Any, ...]]:
    """A row for each of the wallets asked for, in whatever order, so with its place; the first wallet's also tells the
    position, which is the same for all. One statement is one picture of the database."""
    here = and_(positions.c.program == _PROGRAM, asked.c.place == literal_column("1"))
    origin, state = _state(asked.outerjoin(positions, here), asked.c.wallet, which)
    return select(asked.c.place, *_position(which), *state).select_from(origin)


_POSITION = slice(1, 9)
_STATE = slice(9, None)
"""Of the columns of _check."""

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


@dataclass(frozen=True, slots=True)
class Found:
    """What some wallets hold as of one block. `seasons` = how many the program has; None among the states = nothing is
    known of that wallet."""

    standing: Standing
    seasons: int
    states: Sequence[State | None]


class LookUps(ABC):
    """Look-ups over one connection, for one thread at a time.

    Closed to begin with and after trouble; `open` opens it, which may wait for a server and is to be called where that
    does no harm. What is opened is closed by `close`.
    """

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._last: dict[AsOfWhich, tuple[tuple[Any, ...], Standing]] = {}
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
    def _rows(self, which: AsOfWhich, program: int, wallets: Sequence[bytes]) -> list[tuple[Any, ...]]:
        """The rows of _check. Raises _trouble(), or _problem() where it is closed."""

    def find(self, which: AsOfWhich, program: int, wallets: Sequence[bytes]) -> Found | None:
        """What the wallets hold, in their order; None = the program has no index yet. There are one to MOST_WALLETS.

        As long as the index has not moved, the standing is the same object. Raises DatabaseProblem; if it is closed
        then, the next `open` may help.
        """
        rows = self._rows(which, program, wallets)
        # By their places, which are all different.
        rows.sort()
        raw: tuple[Any, ...] = rows[0][_POSITION]
        seasons_count, *standing = raw
        if standing[0] is None:
            return None
        last = self._last.get(which)
        if last is None or last[0] != raw:
            block, block_hash, timestamp, final, number, confirmed_at, incident = standing
            as_of = AsOf(block, block_hash, timestamp, final=bool(final))
            last = self._last[which] = raw, Standing(as_of, number, self._time(confirmed_at), incident)
        states = [row[_STATE] if row[-1] is not None else None for row in rows]
        return Found(last[1], seasons_count, cast("list[State | None]", states))

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


class SqliteLookUps(LookUps):
    """In process. A reader waits for no writer; only a file that is being recovered makes it wait."""

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._connected: sqlite3.Connection | None = None
        self._statements = {
            which: {size: _OfSize(which, size, engine.dialect) for size in _OfSize.SIZES} for which in AsOfWhich
        }

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
            self._cursor = connection.cursor()
        except sqlite3.Error as failure:
            connection.close()
            raise self._problem(failure) from None
        self._connected = connection

    def close(self) -> None:
        connected, self._connected = self._connected, None
        if connected is not None:
            self._cursor.close()
            connected.close()

    def _rows(self, which: AsOfWhich, program: int, wallets: Sequence[bytes]) -> list[tuple[Any, ...]]:
        if self._connected is None:
            raise self._problem("it is not connected")
        statements = self._statements[which]
        statement = next(each for size, each in statements.items() if size >= len(wallets))
        try:
            # Read to the end, which ends the statement and with it SQLite's read transaction.
            return self._cursor.execute(statement.text, statement.values(program, wallets)).fetchall()
        except sqlite3.Error as failure:
            raise self._trouble(failure) from None


class _OfSize:
    """_check of a fixed number of wallets at the most: SQLite takes no lists."""

    SIZES = (1, 4, 16, 64, MOST_WALLETS)

    def __init__(self, which: AsOfWhich, size: int, dialect: Dialect) -> None:
        names = [f"wallet_{number}" for number in range(size)]
        rows: list[tuple[Any, ...]] = [
            (literal_column(str(place)), bindparam(name, type_=LargeBinary)) for place, name in enumerate(names, 1)
        ]
        asked = values(column("place", Integer), column("wallet", LargeBinary), name="asked").data(rows).cte("asked")
        compiled = _check(asked, which).where(asked.c.place <= bindparam("count")).compile(dialect=dialect)
        self.text = str(compiled)
        order = list(compiled.positiontup or ())
        if order[:size] != names:
            raise AssertionError("the wallets do not come first")
        self._size = size
        self._rest = itemgetter(*(("program", "count").index(name) for name in order[size:]))

    def values(self, program: int, wallets: Sequence[bytes]) -> Sequence[Any]:
        """Those that are missing to its size are never looked up."""
        return (*wallets, *[None] * (self._size - len(wallets)), *self._rest((program, len(wallets))))


class PostgresqlLookUps(LookUps):
    """By libpq itself, which psycopg opens to us: a cursor costs as much as the look-up, and knows no time limit.

    However many wallets there are, the server is asked once. It gives a statement up as well, so that it does not go on
    for nobody.
    """

    def __init__(self, engine: Engine) -> None:
        super().__init__(engine)
        self._connected: psycopg.Connection[Any] | None = None
        dialect = type(engine.dialect)(paramstyle="numeric_dollar")  # type: ignore[call-arg]
        wallets = func.unnest(bindparam("wallets", type_=ARRAY(LargeBinary)))
        asked = wallets.table_valued("wallet", with_ordinality="place").render_derived(name="asked")
        compiled = [_check(asked, which).compile(dialect=dialect) for which in AsOfWhich]
        if any(each.positiontup != ["program", "wallets"] for each in compiled):
            raise AssertionError("the values come in another order")
        self._texts = [str(each).encode() for each in compiled]
        self._names = [f"nftloyalty_check_{which.name.lower()}".encode() for which in AsOfWhich]

    @property
    def is_open(self) -> bool:
        return self._connected is not None

    def open(self) -> None:
        if self._connected is not None:
            return
        connection: psycopg.Connection[Any] = self._connection()
        try:
            connection.autocommit = True
            for name, value in _SETTINGS.items():
                connection.execute(f"SET {name} = {value}".encode())
            for prepared, words in zip(self._names, self._texts, strict=True):
                done = connection.pgconn.prepare(prepared, words)
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

    def _rows(self, which: AsOfWhich, program: int, wallets: Sequence[bytes]) -> list[tuple[Any, ...]]:
        if self._connected is None:
            raise self._problem("it is not connected")
        connection = self._connected.pgconn
        try:
            connection.send_query_prepared(
                self._names[which],
                (program.to_bytes(8, "big"), _array(wallets)),
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
        return self._convert.load_rows(0, result.ntuples, tuple)


_SETTINGS = {
    "default_transaction_read_only": "on",
    "statement_timeout": str(int(LONGEST_SECONDS * 1000)),
    # By keys, planned once: what suits a table of a thousand holdings today is wrong when there are a million.
    "plan_cache_mode": "force_generic_plan",
    "enable_seqscan": "off",
    "enable_hashjoin": "off",
    "enable_mergejoin": "off",
    "jit": "off",
}


def _array(wallets: Sequence[bytes]) -> bytes:
    """bytea[] as PostgreSQL reads it in binary: one dimension, no NULLs, and each with its length before it."""
    parts = [_ARRAY_HEAD.pack(1, 0, _BYTEA, len(wallets), 1)]
    for wallet in wallets:
        parts += (_LENGTH.pack(len(wallet)), wallet)
    return b"".join(parts)


_ARRAY_HEAD = struct.Struct("!iiIii")
_LENGTH = struct.Struct("!i")
_BYTEA = 17
