"""Two ways of writing that every table needs: insert unless it exists, and change a state only from the right one."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cache
from typing import Any, NoReturn

from sqlalchemy import (
    ARRAY,
    Boolean,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Insert,
    Row,
    Subquery,
    Table,
    TableValuedAlias,
    Text,
    bindparam,
    column,
    func,
    insert,
    literal,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import TypeEngine

from nftloyalty.domain.intent import IllegalTransition, IntentState, SlotState, check_transition
from nftloyalty.errors import Unknown
from nftloyalty.store.columns import Texts

MANY = 5_000
"""Values put into one statement at most; SQLite's older limit is 32,766 parameters."""


def insert_many(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]]) -> None:
    """Insert these rows, all with the same keys. Half of what an INSERT by itself each would take is SQLAlchemy's, who
    works out the values of each row anew."""
    if not rows:
        return
    statement = insert(table).compile(dialect=tx.dialect, column_keys=list(rows[0]))
    stored = {name: _stored(tx, table.c[name]) for name in rows[0]}
    values: list[Any] = [{name: stored[name](value) for name, value in row.items()} for row in rows]
    if statement.positional:
        values = [tuple(row[name] for name in statement.positiontup or ()) for row in values]
    tx.exec_driver_sql(statement.string, values)


def insert_new(tx: Connection, table: Table, *unique: Column[object]) -> Insert:
    """An INSERT that leaves a row with the same unique columns as it is. Concurrent ones wait for each other."""
    return _insert_new(tx.dialect.name, table, *unique)


def _insert_new(dialect: str, table: Table, *unique: Column[Any]) -> Insert:
    begin = sqlite.insert if dialect == "sqlite" else postgresql.insert
    return begin(table).on_conflict_do_nothing(index_elements=unique)


def insert_many_new(
    tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *unique: Column[Any]
) -> Sequence[Row[*tuple[Any, ...]]]:
    """Insert these rows, all with the same keys, in order, but for those that exist; returns the id and the unique
    columns of each that was new, in no certain order. Values are texts, numbers and what is stored as such."""
    if not rows:
        return []
    # What varies comes in one array, or one a column, and what never changes in one value: a row by itself each is what
    # takes both databases' clients long.
    first = rows[0]
    varying = [name for name in first if any(row[name] != first[name] for row in rows)] or [next(iter(first))]
    fixed = [name for name in first if name not in varying]
    values = {f"fixed_{name}": first[name] for name in fixed}
    if tx.dialect.name == "sqlite":
        stored = {name: _stored(tx, table.c[name]) for name in varying}
        values["given"] = json.dumps([[stored[name](row[name]) for name in varying] for row in rows])
    else:
        values |= {f"given_{name}": [row[name] for row in rows] for name in varying}
    return tx.execute(_many_new(tx.dialect.name, table, tuple(varying), tuple(fixed), unique), values).all()


@cache
def _many_new(
    dialect: str, table: Table, varying: Sequence[str], fixed: Sequence[str], unique: Sequence[Column[Any]]
) -> ReturningInsert[*tuple[Any, ...]]:
    """Made once: to make it takes longer than to insert a dozen rows."""
    source: FromClause
    values: list[ColumnElement[Any]]
    if dialect == "sqlite":
        source = func.json_each(bindparam("given", type_=Text())).table_valued("value")
        values = [func.json_extract(source.c.value, f"$[{place}]") for place in range(len(varying))]
    else:
        arrays = [bindparam(f"given_{name}", type_=ARRAY(table.c[name].type)) for name in varying]
        source = func.unnest(*arrays).table_valued(*(column(name, table.c[name].type) for name in varying))
        source = source.render_derived("given")
        values = [source.c[name] for name in varying]
    values += [bindparam(f"fixed_{name}", type_=table.c[name].type) for name in fixed]
    # SQLite reads ON CONFLICT as part of a join unless there is a WHERE before it.
    query = select(*values).select_from(source).where(true())
    statement = _insert_new(dialect, table, *unique).from_select([*varying, *fixed], query)
    return statement.returning(table.c.id, *unique)


def _stored(tx: Connection, of: Column[Any]) -> Callable[[Any], Any]:
    """What the driver is given for a value of this column."""
    return of.type.dialect_impl(tx.dialect).bind_processor(tx.dialect) or (lambda value: value)


class _OneOf(FunctionElement[bool]):
    name = "one_of"
    type = Boolean()
    inherit_cache = True

    def self_group(self, against: Any = None) -> "_OneOf":
        # SQLAlchemy would compare it with 1, and SQLite no longer find an index for it.
        return self


def one_of(of: ColumnElement[str], parameter: str) -> ColumnElement[bool]:
    """`of IN (...)`, whose values are given as a sequence under the parameter's name. They come in one parameter: of
    one each, thousands take both databases' clients long."""
    return _OneOf(of, bindparam(parameter, type_=Texts()))


@compiles(_OneOf, "sqlite")
def _one_of_json(element: _OneOf, compiler: SQLCompiler, **how: Any) -> str:
    of, values = (compiler.process(each, **how) for each in element.clauses)
    return f"{of} IN (SELECT value FROM json_each({values}))"  # noqa: S608 - both are a compiler's words


@compiles(_OneOf, "postgresql")
def _one_of_array(element: _OneOf, compiler: SQLCompiler, **how: Any) -> str:
    of, values = (compiler.process(each, **how) for each in element.clauses)
    return f"{of} = ANY ({values})"


def given_rows(
    tx: Connection, rows: Sequence[Sequence[Any]], **columns: TypeEngine[Any]
) -> Subquery | TableValuedAlias:
    """Rows of plain values as something an UPDATE can join, in one parameter or one a column: a statement for each row
    is what takes both databases' clients long."""
    if tx.dialect.name == "sqlite":
        each = func.json_each(json.dumps(rows)).table_valued("value")
        picked = [func.json_extract(each.c.value, f"$[{place}]").label(name) for place, name in enumerate(columns)]
        # With a limit it is made first and the table is searched for it; else SQLite does it the other way round.
        return select(*picked).limit(-1).subquery("given")
    arrays = [literal([row[place] for row in rows], ARRAY(type_)) for place, type_ in enumerate(columns.values())]
    named = (column(name, type_) for name, type_ in columns.items())
    return func.unnest(*arrays).table_valued(*named).render_derived("given")


def stands_at(table: Table, state: IntentState | SlotState) -> ColumnElement[bool]:
    """That a row is in this state, for an update that joins `given_rows`, without telling PostgreSQL's planner which.

    Its statistics may be older than what brought thousands of rows to this state. Told the state, it takes them for
    none and begins with them: it goes through all that waits, or through all given rows for each one under way.
    """
    return table.c.state == select(literal(state, table.c.state.type)).scalar_subquery()


def first_missed(wanted: Sequence[int], reached: Iterable[int]) -> int:
    """The place in `wanted` of the first row that is not among the reached ones, or was named before."""
    left = set(reached)
    for place, row in enumerate(wanted):
        if row not in left:
            return place
        left.remove(row)
    # A guarded update that reached too few is refused in any case.
    return 0


def refuse(tx: Connection, table: Table, row: int, new: IntentState | SlotState, why: str = "") -> NoReturn:
    """Explain why a guarded update of this row found nothing to change: raises Unknown or IllegalTransition."""
    what = f"{table.name.removesuffix('s')} {row}"
    old = tx.execute(select(table.c.state).where(table.c.id == row)).scalar_one_or_none()
    if old is None:
        raise Unknown(f"there is no {what}")
    raise IllegalTransition(f"{what}{f' ({why})' if why else ''}", old, new)


def to_intent(old: IntentState, new: IntentState) -> dict[str, IntentState]:
    """The state column of an update from `old`, refused if the domain knows no such step."""
    check_transition(old, new)
    return {"state": new}


def to_slot(old: SlotState, new: SlotState) -> dict[str, SlotState]:
    """The state column of an update from `old`, refused if the domain knows no such step."""
    check_transition(old, new)
    return {"state": new}
