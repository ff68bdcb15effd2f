"""Backups: all rows of a database into one file, and back into an empty database, also of the other kind.

Which tables and columns there are follows from the schema's revision, not from a list: a database is written as it is,
also before it is upgraded, and read into the schema it had.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import IO, Any

from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import (
    ARRAY,
    BigInteger,
    Boolean,
    Column,
    Connection,
    DateTime,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    column,
    create_engine,
    func,
    insert,
    inspect,
    literal,
    select,
    text,
    update,
)
from sqlalchemy.exc import DataError, DBAPIError, IntegrityError
from sqlalchemy.types import TypeEngine

from nftloyalty.errors import BadInput, Problem, ProgramProblem
from nftloyalty.store.backup_file import Contents, Form, Part, Progress, Reader, Writer
from nftloyalty.store.columns import UtcDateTime
from nftloyalty.store.engine import UPGRADE_LOCK, address_of, configuration, refuse_newer

DERIVED = frozenset({"blocks", "holdings", "indexers", "logs", "positions", "seasons", "undo"})
"""Tables that are left out, because all that stands in them can be read from the chain again. No other table may point
at one of them."""

# A transaction of hundreds of mints is tens of kilobytes, and is kept twice.
ROWS_AT_ONCE = 250
_VERSIONS = "alembic_version"
_LEASE = {"lease_owner", "lease_epoch", "lease_until"}
# The lost copy has counted on after the backup was made; none of its epochs may come round again.
_LATER = 1_000_000

_TYPES: dict[Form, TypeEngine[Any]] = {
    Form.INTEGER: BigInteger(),
    Form.BOOLEAN: Boolean(),
    Form.TEXT: Text(),
    Form.TIME: UtcDateTime(),
    Form.BYTES: LargeBinary(),
}


@dataclass(frozen=True)
class _Shape:
    """A table of some revision: its columns in the forms of a backup, written and read as they are, without the words
    and limits that later versions know of."""

    table: Table
    columns: dict[str, Form]


def write(tx: Connection, file: IO[bytes], version: str, made_at: datetime, progress: Progress) -> Contents:
    """Write what this read transaction sees. Raises ProgramProblem if there are no tables, or a newer version's."""
    revision = refuse_newer(tx, tx.engine)
    if revision is None:
        raise ProgramProblem(
            f"the database {address_of(tx.engine)} has no tables: there is nothing to back up",
            mend="name the right one with --home or DATABASE_URL",
        )
    shapes = [shape for shape in _shapes(revision) if shape.table.name not in DERIVED]
    parts = [Part(shape.table.name, shape.columns, _count(tx, shape.table)) for shape in shapes]
    contents = Contents(revision, version, made_at, tuple(parts))
    done = 0
    with Writer(file, contents) as writer:
        for shape, part in zip(shapes, parts, strict=True):
            query = select(shape.table).order_by(*shape.table.primary_key)
            # A few at a time: PostgreSQL's client would fetch a whole table otherwise.
            for rows in tx.execute(query, execution_options={"yield_per": ROWS_AT_ONCE}).partitions():
                writer.add(part, rows)
                done += len(rows)
                progress(done, contents.rows)
        writer.end()
    return contents


def check(file: IO[bytes], name: str, progress: Progress) -> Contents:
    """Read a backup to its end. Raises BadInput if it is damaged, none, or of a newer version than this one."""
    reader = Reader(file, name)
    contents = reader.contents
    known = {script.revision for script in ScriptDirectory.from_config(configuration()).walk_revisions()}
    if contents.schema not in known:
        what = f"was made by a newer version of nftloyalty ({contents.version}, schema {contents.schema})"
        raise BadInput(name, [Problem("line 1", what, "restore it with that version, or a newer one")])
    wanted = {shape.table.name: shape.columns for shape in _shapes(contents.schema)}
    found = {part.name: part.columns for part in contents.parts}
    # Of a table that was derived for the version that wrote the file, nothing is there.
    fits = found.keys() == wanted.keys() - (DERIVED - found.keys()) and all(
        list(columns.items()) == list(wanted[table].items()) for table, columns in found.items()
    )
    if not fits:
        what = f"names other tables and columns than schema {contents.schema} has"
        raise BadInput(name, [Problem("line 1", what, "the file is no backup, or was changed by hand")])
    done = 0
    for part in contents.parts:
        for _ in reader.rows(part):
            done += 1
            if done % ROWS_AT_ONCE == 0:
                progress(done, contents.rows)
    reader.end()
    progress(done, contents.rows)
    return contents


def load(tx: Connection, file: IO[bytes], name: str, progress: Progress) -> Contents:
    """Read a backup that `check` has found good into a database without rows, in the schema that it is of.

    Nobody holds a lease afterwards. Who held one is gone and would be waited for in vain; or is a sender of a database
    that was emptied under it, and must not go on without another look at chain and books: its epoch is over. Raises
    ProgramProblem if the database is in use.
    """
    reader = Reader(file, name)
    contents = reader.contents
    _make_ready(tx, contents.schema)
    shapes = {shape.table.name: shape for shape in _shapes(contents.schema)}
    done = 0
    for part in contents.parts:
        table = shapes[part.name].table
        for rows in _lots(reader.rows(part)):
            try:
                _add(tx, table, rows)
            except (IntegrityError, DataError) as refused:
                raise _misfit(name, table, refused) from None
            done += len(rows)
            progress(done, contents.rows)
    reader.end()
    for shape in shapes.values():
        _end_leases(tx, shape.table)
        _count_on(tx, shape)
    if tx.dialect.name == "sqlite" and tx.exec_driver_sql("PRAGMA foreign_key_check").first() is not None:
        raise BadInput(name, [Problem("its rows", "point at rows that are not in it", _OLDER)])
    return contents


_OLDER = "the database that it was made of was damaged: use an older backup"


def _misfit(name: str, table: Table, refused: DBAPIError) -> BadInput:
    """What an intact file holds and this database does not take: rows that point nowhere, say, for somebody has deleted
    some by hand; or characters that SQLite knows and PostgreSQL does not."""
    # Further lines show the row.
    why = str(refused.orig).split("\n")[0]
    return BadInput(name, [Problem(f"a row of {table.name}", f"is not taken by the database: {why}", _OLDER)])


def _shapes(revision: str) -> list[_Shape]:
    """The tables of a revision as its migrations make them, each after those that it points at."""
    engine = create_engine("sqlite://")
    try:
        with engine.begin() as connection:
            _migrate(connection, revision)
            found = MetaData()
            found.reflect(connection)
    finally:
        engine.dispose()
    shapes = []
    for table in found.sorted_tables:
        if table.name == _VERSIONS:
            continue
        columns = {column.name: _form(column) for column in table.columns}
        plain = [
            Column(column.name, _TYPES[columns[column.name]], primary_key=column.primary_key, autoincrement=False)
            for column in table.columns
        ]
        shapes.append(_Shape(Table(table.name, MetaData(), *plain), columns))
    return shapes


def _form(column: Column[Any]) -> Form:
    kind = column.type
    for types, form in (
        (Boolean, Form.BOOLEAN),
        (DateTime, Form.TIME),
        (LargeBinary, Form.BYTES),
        (Integer, Form.INTEGER),
        (String, Form.TEXT),
    ):
        if isinstance(kind, types):
            return form
    raise TypeError(f"a backup has no form for {column.table.name}.{column.name}, a {kind!r}")


def _migrate(connection: Connection, revision: str) -> None:
    config = configuration()
    config.attributes["connection"] = connection
    command.upgrade(config, revision)


def _make_ready(tx: Connection, schema: str) -> None:
    """Bring a database without rows to this schema, whatever schema it has."""
    if tx.dialect.name == "postgresql":
        # Two restores, or one and an upgrade, take turns.
        tx.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": UPGRADE_LOCK})
    found = refuse_newer(tx, tx.engine)
    present = set(inspect(tx).get_table_names())
    if found is None:
        foreign = sorted(present & {shape.table.name for shape in _shapes(schema)})
        if foreign:
            raise _in_use(tx, f"has a table {foreign[0]} that is not of nftloyalty")
    else:
        there = [shape.table for shape in _shapes(found)]
        full = [table.name for table in there if tx.execute(select(literal(1)).select_from(table).limit(1)).first()]
        if full:
            raise _in_use(tx, f"is in use: it has rows in {', '.join(full)}")
        if found == schema:
            return
        for name in [*(table.name for table in reversed(there)), _VERSIONS]:
            tx.exec_driver_sql(f"DROP TABLE {name}")
    _migrate(tx, schema)


def _in_use(tx: Connection, how: str) -> ProgramProblem:
    if tx.dialect.name == "sqlite":
        mend = "stop what uses it and move the file away (with those ending in -wal and -shm), or name another --home"
    else:
        mend = "make a new, empty database, and name it with DATABASE_URL"
    return ProgramProblem(f"the database {address_of(tx.engine)} {how}; nothing was changed", mend=mend)


def _count(tx: Connection, table: Table) -> int:
    return int(tx.execute(select(func.count()).select_from(table)).scalar_one())


def _lots(rows: Iterator[list[Any]]) -> Iterator[list[list[Any]]]:
    lot: list[list[Any]] = []
    for row in rows:
        lot.append(row)
        if len(lot) == ROWS_AT_ONCE:
            yield lot
            lot = []
    if lot:
        yield lot


def _add(tx: Connection, table: Table, rows: list[list[Any]]) -> None:
    if tx.dialect.name == "sqlite":
        names = table.columns.keys()
        tx.execute(insert(table), [dict(zip(names, row, strict=True)) for row in rows])
        return
    # One array a column: sending each row by itself is what takes the client of PostgreSQL long.
    arrays = [
        literal(list(values), ARRAY(each.type))
        for each, values in zip(table.columns, zip(*rows, strict=True), strict=True)
    ]
    given = func.unnest(*arrays).table_valued(*(column(each.name, each.type) for each in table.columns))
    given = given.render_derived("given")
    tx.execute(insert(table).from_select(list(table.columns), select(*given.columns)))


def _end_leases(tx: Connection, table: Table) -> None:
    if set(table.columns.keys()) >= _LEASE:
        tx.execute(
            update(table).values(lease_owner=None, lease_until=None, lease_epoch=table.columns["lease_epoch"] + _LATER)
        )


def _count_on(tx: Connection, shape: _Shape) -> None:
    """Let PostgreSQL number further rows after those that came with numbers; SQLite does so by itself."""
    if tx.dialect.name != "postgresql":
        return
    for each in shape.table.primary_key:
        if shape.columns[each.name] is not Form.INTEGER:
            continue
        sequence = tx.execute(
            text("SELECT pg_get_serial_sequence(:table, :column)"), {"table": shape.table.name, "column": each.name}
        ).scalar_one()
        if sequence is not None:
            last = tx.execute(select(func.max(each))).scalar_one() or 0
            tx.execute(
                text("SELECT setval(CAST(:sequence AS regclass), :next, false)"),
                {"sequence": sequence, "next": last + 1},
            )
