"""Opening the database, its two kinds of transaction, and its schema's age.

SQLite is the embedded default: write-ahead log, every commit on disk before it returns, and writers that queue at BEGIN
instead of failing half-way. PostgreSQL is spoken to through psycopg 3. A URL's password is never shown.
"""

import os
import sqlite3
import time
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url, text
from sqlalchemy.exc import ArgumentError, DBAPIError, InterfaceError, OperationalError

from nftloyalty.errors import BadInput, DatabaseProblem, Problem, ProgramProblem
from nftloyalty.store.turns import Turns

BUSY_SECONDS = 30
"""How long a SQLite writer queues behind another one before it gives up."""

CONNECT_SECONDS = 10

WRITER_CACHE_KIB = 64 * 1024

_MIGRATIONS = Path(__file__).parent / "migrations"
_READS = "nftloyalty_reads"
_TURNS = "nftloyalty_turns"
# Any constant of our own: processes that upgrade one PostgreSQL database at once take turns on it.
UPGRADE_LOCK = 0x6E66746C


def open_engine(url: str) -> Engine:
    """An engine for `sqlite:///file` or `postgresql://...` (`postgres://` too). Connects only when it is first used.

    A new SQLite file and its folder are made readable for this user only. Raises BadInput for any other URL.
    """
    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        raise _unfit("is not a database URL") from None
    if "@" in (parsed.host or ""):
        # What follows the first @ of a password was taken for the host, which is shown.
        raise _unfit("has an @ in its password, which must be written as %40")
    if parsed.drivername in ("sqlite", "sqlite+pysqlite"):
        return _open_sqlite(parsed)
    if parsed.drivername in ("postgres", "postgresql", "postgresql+psycopg"):
        return _open_postgresql(parsed)
    raise _unfit(f"names the database {parsed.drivername!r}, which is not supported")


def beside(engine: Engine) -> Engine:
    """The same database through connections of its own, for one thread that writes thousands of rows at once; to be
    disposed of by itself. Of a SQLite file they keep so many pages in memory that none is written twice."""
    if engine.dialect.name != "sqlite":
        return _open_postgresql(engine.url)
    other = _open_sqlite(engine.url)
    event.listen(other, "connect", lambda connection, _: connection.execute(f"PRAGMA cache_size=-{WRITER_CACHE_KIB}"))
    return other


def address_of(engine: Engine) -> str:
    """The database's address for people: no password, and no options, which may hold secrets too."""
    return engine.url.set(query={}).render_as_string(hide_password=True)


@contextmanager
def begin(engine: Engine) -> Iterator[Connection]:
    """A write transaction: committed at the end of the block, rolled back if it raises.

    On SQLite it holds the one write lock from its start, so what it reads can't change under it. Writers take turns
    there: none waits for more than a few commits of another one that never rests.
    """
    with _connected(engine, {}) as connection:
        yield connection


@contextmanager
def read(engine: Engine) -> Iterator[Connection]:
    """A read transaction: one unchanging picture of the database, which blocks no writer. Writing in it fails."""
    options: dict[str, Any] = {_READS: True}
    if engine.dialect.name == "postgresql":
        options |= {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
    with _connected(engine, options) as connection:
        yield connection


def upgrade(engine: Engine) -> None:
    """Bring the schema to this version, in one transaction. Doing it twice, or in two processes at once, is harmless.

    Raises ProgramProblem if the database was written by a newer version.
    """
    # SQLite changes a column by making the table anew, during which rows point at a table that is away for a moment.
    # Its foreign keys can be switched only outside a transaction; they are checked as a whole before the commit.
    sqlite = engine.dialect.name == "sqlite"
    with _reachable(engine) as connection:
        if sqlite:
            _switch_foreign_keys(connection, on=False)
        try:
            with _turn(connection), connection.begin():
                if not sqlite:
                    connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
                refuse_newer(connection, engine)
                config = configuration()
                config.attributes["connection"] = connection
                command.upgrade(config, "head")
                if sqlite and connection.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
                    raise ProgramProblem("the schema upgrade would leave rows that point nowhere; nothing was changed")
        finally:
            if sqlite:
                _switch_foreign_keys(connection, on=True)


def check_schema(engine: Engine) -> None:
    """Raises ProgramProblem unless the schema is exactly this version's. Changes nothing."""
    with _reachable(engine) as connection, connection.execution_options(**{_READS: True}).begin():
        found = refuse_newer(connection, engine)
    if found != _newest():
        state = "has no tables yet" if found is None else f"is of an older version (schema {found}, not {_newest()})"
        raise ProgramProblem(f"the database {address_of(engine)} {state}", mend="run `nftloyalty upgrade`")


def prepare(engine: Engine) -> None:
    """Make the database ready to use: an embedded or an empty one is upgraded, any other must be of this version.

    A shared database is never changed under processes of another version that may be using it: raises ProgramProblem.
    """
    if engine.dialect.name != "sqlite":
        with read(engine) as tx:
            empty = MigrationContext.configure(tx).get_current_revision() is None
        if not empty:
            check_schema(engine)
            return
    upgrade(engine)


def _unfit(what: str) -> BadInput:
    # The URL itself is not shown: one that can't be parsed may hold a password anywhere.
    mend = "use sqlite:///folder/file.db or postgresql://user:password@host/database"
    return BadInput("DATABASE_URL", [Problem("the database URL", what, mend)])


def _open_sqlite(url: URL) -> Engine:
    if url.database in (None, "", ":memory:") or "memory" in url.query.get("mode", ""):
        raise _unfit("is SQLite in memory, which forgets what was sent")
    if sqlite3.sqlite_version_info < (3, 35):
        raise _unfit(f"needs SQLite 3.35 or newer, and Python has {sqlite3.sqlite_version}")
    engine = create_engine(
        url.set(drivername="sqlite"),
        connect_args={"timeout": BUSY_SECONDS},
        hide_parameters=True,
        pool_size=10,
        max_overflow=40,
    )
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    event.listen(engine, "invalidate", _leave_transaction)
    if not str(url.database).startswith("file:"):
        file = Path(str(url.database))
        _make_private(file, address_of(engine))
        turns = Turns(file)
        event.listen(engine, "connect", lambda _, record: record.info.update({_TURNS: turns}))
    return engine


def _open_postgresql(url: URL) -> Engine:
    query = dict(url.query)
    # libpq takes a password among the options too; there it would be shown with the URL.
    password = query.pop("password", None)
    url = url.set(drivername="postgresql+psycopg", query=query)
    if password is not None:
        url = url.set(password=password if isinstance(password, str) else password[-1])
    engine = create_engine(
        url,
        connect_args={} if "connect_timeout" in query else {"connect_timeout": CONNECT_SECONDS},
        hide_parameters=True,
        pool_pre_ping=True,
    )
    event.listen(engine, "connect", _set_up_postgresql)
    return engine


def _set_up_postgresql(connection: Any, record: object) -> None:
    # Prepared statements would keep the plan that suited the tables of that day: one made while they are nearly empty
    # reads all of them, and goes on to, through an airdrop of thousands, until the server happens to analyse them.
    connection.execute("SET plan_cache_mode = force_custom_plan")
    connection.commit()


def _make_private(file: Path, shown: str) -> None:
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # Only ever made, never opened: closing a second handle of a database that this process has open would drop its
        # locks (POSIX), and with them commits.
        with suppress(FileExistsError):
            os.close(os.open(file, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))
    except OSError as failure:
        raise DatabaseProblem(shown, failure.strerror or type(failure).__name__) from None


def _set_up_sqlite(connection: sqlite3.Connection, record: object) -> None:
    # The sqlite3 module shall start no transactions by itself: it would do so late, before the first write, and then
    # without IMMEDIATE. Ours are started by _begin_sqlite.
    connection.isolation_level = None
    _enter_wal(connection)
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("PRAGMA foreign_keys=ON")


def _enter_wal(connection: sqlite3.Connection) -> None:
    # Entering WAL needs the file alone for a moment, and SQLite does not queue for that: two first openers would fail.
    give_up = time.monotonic() + BUSY_SECONDS
    while True:
        try:
            (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
        except sqlite3.OperationalError as failure:
            if failure.sqlite_errorcode & 0xFF not in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
                raise
            if time.monotonic() > give_up:
                raise
            time.sleep(0.01)
            continue
        if mode != "wal":
            raise sqlite3.OperationalError("its file system can't hold a write-ahead log (WAL)")
        return


def _leave_transaction(connection: sqlite3.Connection, record: object, failure: BaseException | None) -> None:
    # Ctrl-C in the middle of a statement makes SQLAlchemy close the connection. As long as the traceback holds its
    # cursor, SQLite keeps it with its transaction and the one write lock: this process would then wait for itself.
    with suppress(sqlite3.Error):
        connection.rollback()


def _begin_sqlite(connection: Connection) -> None:
    reads = bool(connection.get_execution_options().get(_READS))
    if connection.info.get(_READS) is not reads:
        connection.exec_driver_sql(f"PRAGMA query_only={'ON' if reads else 'OFF'}")
        connection.info[_READS] = reads
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


@contextmanager
def _reachable(engine: Engine, *, reading: bool = False) -> Iterator[Connection]:
    """A connection; trouble of the database inside the block becomes DatabaseProblem."""
    try:
        connection = engine.connect()
    except DBAPIError as failure:
        raise _unreachable(engine, failure) from None
    try:
        with connection:
            yield connection
    except DBAPIError as failure:
        if not _is_trouble(failure, reading=reading):
            raise
        raise _unreachable(engine, failure) from None


@contextmanager
def _connected(engine: Engine, options: dict[str, Any]) -> Iterator[Connection]:
    with _reachable(engine, reading=bool(options)) as plain:
        connection = plain.execution_options(**options) if options else plain
        with _turn(connection), connection.begin():
            yield connection


def _turn(connection: Connection) -> AbstractContextManager[None]:
    """Of a writer to a SQLite file among others; nothing for anybody else."""
    turns: Turns | None = connection.info.get(_TURNS)
    if turns is None or connection.get_execution_options().get(_READS):
        return nullcontext()
    return turns.mine()


def _is_trouble(failure: DBAPIError, *, reading: bool) -> bool:
    """Whether the database itself is in trouble (locked, full, damaged, gone), at a statement or at the commit. What is
    left are statements that are wrong, which is our fault and stays as it is."""
    if failure.connection_invalidated:
        return True
    if isinstance(failure.orig, sqlite3.Error):
        code = _sqlite_code(failure)
        # Writing in a read transaction is answered like a file that can't be written to.
        return code not in (None, sqlite3.SQLITE_ERROR) and not (reading and code == sqlite3.SQLITE_READONLY)
    return isinstance(failure, (OperationalError, InterfaceError))


def _unreachable(engine: Engine, failure: DBAPIError) -> DatabaseProblem:
    why = " ".join(str(failure.orig).split())
    if engine.url.password:
        why = why.replace(str(engine.url.password), "***")
    state = str(getattr(failure.orig, "sqlstate", None) or "")
    return DatabaseProblem(address_of(engine), why, mend=_MENDS.get(_sqlite_code(failure) or state[:2], ""))


def _sqlite_code(failure: DBAPIError) -> int | None:
    """SQLite's primary result code; None for another database, or for an error that the driver itself raised."""
    code = getattr(failure.orig, "sqlite_errorcode", None)
    # An integrity error says that a value is wrong, not the database.
    return None if code is None or code & 0xFF == sqlite3.SQLITE_CONSTRAINT else code & 0xFF


_AGAIN = "nothing is lost: then run the same command again"
_BUSY = f"wait until the process that holds it has ended, or stop it; {_AGAIN}"
_FULL = f"make room on the disk; {_AGAIN}"
_MENDS: Mapping[int | str, str] = {
    sqlite3.SQLITE_BUSY: _BUSY,
    sqlite3.SQLITE_LOCKED: _BUSY,
    sqlite3.SQLITE_FULL: _FULL,
    sqlite3.SQLITE_CORRUPT: "the file is damaged: put back the newest backup, before anything else is sent",
    sqlite3.SQLITE_NOTADB: "this file is no database of ours: name another NFTLOYALTY_HOME or DATABASE_URL",
    # SQLSTATE classes of PostgreSQL (its manual, appendix A).
    "08": f"the connection broke off; {_AGAIN}",
    "40": f"two processes got into each other's way; {_AGAIN}",
    "53": f"the server has no disk, memory or connections left: make room; {_AGAIN}",
    "55": _BUSY,
    "57": f"the server is being stopped or started; {_AGAIN}",
}
"""What helps, by SQLite's result code or PostgreSQL's class of errors; others get the general advice."""


def _switch_foreign_keys(connection: Connection, *, on: bool) -> None:
    # On the driver's connection: SQLAlchemy's would open a transaction, in which the switch does nothing.
    cursor = connection.connection.cursor()
    cursor.execute(f"PRAGMA foreign_keys={'ON' if on else 'OFF'}")
    cursor.close()


def configuration() -> Config:
    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    return config


def _newest() -> str | None:
    return ScriptDirectory.from_config(configuration()).get_current_head()


def refuse_newer(connection: Connection, engine: Engine) -> str | None:
    """The schema's revision, None if there is no schema. Raises ProgramProblem if this version doesn't know it."""
    found = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if found is not None and found not in known:
        raise ProgramProblem(
            f"the database {address_of(engine)} is of a newer version of nftloyalty (schema {found})",
            mend="run the version that wrote it, or a newer one",
        )
    return found
