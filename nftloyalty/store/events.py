"""Events as they are read: what happened in a program, page by page. Written by `event_steps`.

Events of one program have rising row numbers in the order in which they can be seen, so a row number is a place to go
on from: whoever reads all behind it misses none.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Connection, select

from nftloyalty.store.tables import Phase, events


@dataclass(frozen=True)
class EventRow:
    """What happened, or what became of it. `sequence` counts the events of one program and object from 1, without gaps;
    `wallet` has 20 bytes."""

    id: int
    public_id: str
    program: int
    type: str
    phase: Phase
    object: str
    sequence: int
    wallet: bytes | None
    data: Mapping[str, Any]
    created_at: datetime


def page(
    tx: Connection,
    program: int,
    *,
    limit: int,
    beyond: int | None = None,
    newest_first: bool = True,
    types: Collection[str] = (),
    wallet: bytes | None = None,
    of: str | None = None,
) -> list[EventRow]:
    """Up to `limit` events of a program, in the order in which they were told or from the newest backwards.

    `beyond` is the row number of the event after which, in that order, to go on. `types` empty = all; `wallet` and `of`
    (an object) leave out what is about others.
    """
    query = select(events).where(events.c.program == program)
    place: ColumnElement[int] = events.c.id
    order: ColumnElement[int] = events.c.id
    if of is not None:
        # An object's events are few, and numbered in the order of their rows. The sum keeps SQLite from going through
        # all others behind `beyond` instead.
        query = query.where(events.c.object == of)
        place = events.c.id + 0
        order = events.c.sequence
    if beyond is not None:
        query = query.where(place < beyond if newest_first else place > beyond)
    order = order.desc() if newest_first else order.asc()
    if wallet is not None:
        query = query.where(events.c.wallet == wallet)
    if of is not None or wallet is not None or not types:
        if types:
            query = query.where(events.c.type.in_(sorted(types)))
        return [EventRow(*row) for row in tx.execute(query.order_by(order).limit(limit))]
    # Each type by itself: only so a rare one among millions of others is found by index.
    found = [
        EventRow(*row)
        for each in sorted(set(types))
        for row in tx.execute(query.where(events.c.type == each).order_by(order).limit(limit))
    ]
    return sorted(found, key=lambda row: row.id, reverse=newest_first)[:limit]


def by_public_id(tx: Connection, program: int, public_id: str) -> EventRow | None:
    """None also for another program's."""
    row = tx.execute(select(events).where(events.c.public_id == public_id, events.c.program == program)).one_or_none()
    return None if row is None else EventRow(*row)


def by_ids(tx: Connection, ids: Collection[int]) -> dict[int, EventRow]:
    """These events by row number."""
    return {row.id: EventRow(*row) for row in tx.execute(select(events).where(events.c.id.in_(ids)))}
