"""Deliveries: each event on its way to each endpoint, in order for each object.

Of what waits for an endpoint and is of one object, only the oldest event's has a `next_at`; when it is delivered or
given up, the next one gets one. An endpoint that fails is tried by one delivery at a time; once that comes through, all
others go. How they are sent is in `delivery_steps`, what is sent again in `replays`, what became of it all in
`delivery_log`.
"""

from collections.abc import Collection, Sequence
from datetime import datetime
from typing import Protocol

from sqlalchemy import ColumnElement, Connection, literal, select, update

from nftloyalty.domain import delivery as rules
from nftloyalty.store import webhooks
from nftloyalty.store.tables import DeliveryState, EndpointState, deliveries
from nftloyalty.store.webhooks import EndpointRow
from nftloyalty.store.writing import MANY, given_rows, insert_many_new


def _is(state: DeliveryState) -> ColumnElement[bool]:
    # Written out and not as a parameter: only so can the database know that an index of such rows alone is enough.
    return deliveries.c.state == literal(state, deliveries.c.state.type, literal_execute=True)


WAITS = _is(DeliveryState.WAITING)


class Happened(Protocol):
    """A row of an event, as far as its deliveries need it."""

    @property
    def id(self) -> int: ...
    @property
    def program(self) -> int: ...
    @property
    def type(self) -> str: ...
    @property
    def object(self) -> str: ...


def fan_out(tx: Connection, happened: Sequence[Happened], now: datetime) -> int:
    """Make a delivery of each of these new events for each endpoint that wants it; returns how many. In the transaction
    that makes the events, which come in the order in which they happened."""
    if not happened:
        return 0
    made = 0
    for endpoint in webhooks.hold_active(tx, {each.program for each in happened}):
        wanted = [
            each for each in happened if each.program == endpoint.program and rules.wants(endpoint.types, each.type)
        ]
        new = make(tx, endpoint.id, [(each.id, each.object) for each in wanted], now)
        webhooks.count(tx, endpoint.id, waiting=new)
        made += new
        let_go(tx, endpoint.id, {each.object for each in wanted}, now)
    return made


def make(tx: Connection, endpoint: int, wanted: Sequence[tuple[int, str]], now: datetime) -> int:
    """Deliveries of these events, each with its object, that wait; returns how many of them are new. They are not
    counted yet, and none may go yet."""
    made = 0
    for first in range(0, len(wanted), MANY):
        rows = [
            {"endpoint": endpoint, "event": event, "object": of, "state": DeliveryState.WAITING, "created_at": now}
            for event, of in wanted[first : first + MANY]
        ]
        made += len(insert_many_new(tx, deliveries, rows, deliveries.c.endpoint, deliveries.c.event))
    return made


def let_go(tx: Connection, endpoint: int, objects: Collection[str], now: datetime) -> None:
    """Of what waits of these objects, the oldest event's may go, unless it may already."""
    named = sorted(objects)
    for first in range(0, len(named), MANY):
        given = given_rows(tx, [[each] for each in named[first : first + MANY]], object=deliveries.c.object.type)
        other = deliveries.alias("other")
        oldest = (
            select(other.c.id)
            .where(other.c.endpoint == endpoint, other.c.object == given.c.object)
            .where(other.c.state == literal(DeliveryState.WAITING, other.c.state.type, literal_execute=True))
            .order_by(other.c.event)
            .limit(1)
            .scalar_subquery()
        )
        tx.execute(
            update(deliveries)
            .where(deliveries.c.id.in_(select(oldest).select_from(given)), deliveries.c.next_at.is_(None))
            .values(next_at=now)
        )


def disable(
    tx: Connection, endpoint: EndpointRow, why: str, now: datetime, state: EndpointState = EndpointState.DISABLED
) -> EndpointRow:
    """Send nothing more to an endpoint that is held; what waits for it is given up, and can be replayed."""
    tx.execute(
        update(deliveries)
        .where(deliveries.c.endpoint == endpoint.id, WAITS)
        .values(state=DeliveryState.GIVEN_UP, next_at=None, ended_at=now)
    )
    return webhooks.change(tx, endpoint.id, {"state": state, "why": why, "next_at": None, "waiting": 0})
