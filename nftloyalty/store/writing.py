"""Two ways of writing that every table needs: insert unless it exists, and change a state only from the right one."""

import json
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NoReturn

from sqlalchemy import (
    ARRAY,
    Column,
    ColumnElement,
    Connection,
    Insert,
    Subquery,
    Table,
    TableValuedAlias,
    column,
    func,
    literal,
    select,
)
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.types import TypeEngine

from nftloyalty.domain.intent import IllegalTransition, IntentState, SlotState, check_transition
from nftloyalty.errors import Unknown

MANY = 5_000
"""Values put into one statement at most; SQLite's older limit is 32,766 parameters."""


def insert_new(tx: Connection, table: Table, *unique: Column[object]) -> Insert:
    """An INSERT that leaves a row with the same unique columns as it is. Concurrent ones wait for each other."""
    if tx.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing(index_elements=unique)
    return postgresql.insert(table).on_conflict_do_nothing(index_elements=unique)


def insert_many_new(tx: Connection, table: Table, rows: Sequence[Mapping[str, Any]], *unique: Column[object]) -> int:
    """Insert these rows, all with the same keys, in order, but for those that exist; returns how many were new."""
    if not rows:
        return 0
    key = table.c.id
    if tx.dialect.name == "sqlite":
        return len(tx.execute(insert_new(tx, table, *unique).returning(key), rows).all())
    # One array a column, and one value for a column that never changes: sending each row by itself is what takes the
    # client of PostgreSQL long.
    first = rows[0]
    varying = [name for name in first if any(row[name] != first[name] for row in rows)] or [next(iter(first))]
    arrays = [literal([row[name] for row in rows], ARRAY(table.c[name].type)) for name in varying]
    given = func.unnest(*arrays).table_valued(*(column(name, table.c[name].type) for name in varying))
    given = given.render_derived("given")
    fixed = [name for name in first if name not in varying]
    values = [given.c[name] for name in varying] + [literal(first[name], table.c[name].type) for name in fixed]
    query = (
        postgresql.insert(table)
        .from_select([*varying, *fixed], select(*values))
        .on_conflict_do_nothing(index_elements=unique)
        .returning(key)
    )
    return len(tx.execute(query).all())


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
