"""Two ways of writing that every table needs: insert unless it exists, and change a state only from the right one."""

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NoReturn

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    FromClause,
    Insert,
    Row,
    String,
    Subquery,
    Table,
    TableValuedAlias,
    column,
    func,
    literal,
    select,
    true,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from nftloyalty.domain.intent import IllegalTransition, IntentState, SlotState, check_transition
from nftloyalty.errors import Unknown

MANY = 5_000
"""Values put into one statement at most; SQLite's older limit is 32,766 parameters."""


def insert_new(tx: Connection, table: Table, *unique: Column[object]) -> Insert:
    """An INSERT that leaves a row with the same unique columns as it is. Concurrent ones wait for each other."""
    insert = sqlite.insert if tx.dialect.name == "sqlite" else postgresql.insert
    return insert(table).on_conflict_do_nothing(index_elements=unique)


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
    source: FromClause
    values: list[ColumnElement[Any]]
    if tx.dialect.name == "sqlite":
        stored = {name: _stored(tx, table.c[name]) for name in varying}
        given = [[stored[name](row[name]) for name in varying] for row in rows]
        source = func.json_each(json.dumps(given)).table_valued("value")
        values = [func.json_extract(source.c.value, f"$[{place}]") for place in range(len(varying))]
    else:
        arrays = [literal([row[name] for row in rows], ARRAY(table.c[name].type)) for name in varying]
        source = func.unnest(*arrays).table_valued(*(column(name, table.c[name].type) for name in varying))
        source = source.render_derived("given")
        values = [source.c[name] for name in varying]
    values += [literal(first[name], table.c[name].type) for name in fixed]
    # SQLite reads ON CONFLICT as part of a join unless there is a WHERE before it.
    query = select(*values).select_from(source).where(true())
    statement = insert_new(tx, table, *unique).from_select([*varying, *fixed], query)
    return tx.execute(statement.returning(table.c.id, *unique)).all()


def _stored(tx: Connection, of: Column[Any]) -> Callable[[Any], Any]:
    """What the driver is given for a value of this column."""
    return of.type.dialect_impl(tx.dialect).bind_processor(tx.dialect) or (lambda value: value)


def one_of(tx: Connection, of: ColumnElement[str], values: Iterable[str]) -> ColumnElement[bool]:
    """`of IN values` with one parameter: of one each, thousands take both databases' clients long."""
    if tx.dialect.name == "sqlite":
        each = func.json_each(json.dumps(list(values))).table_valued("value")
        return of.in_(select(each.c.value))
    return of == func.any(literal(list(values), ARRAY(String)))


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
