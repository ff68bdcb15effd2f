"""Sending again: what was given up, what was delivered, and what an endpoint never got."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, select, update

from nftloyalty.domain import delivery as rules
from nftloyalty.store import webhooks
from nftloyalty.store.deliveries import WAITS, let_go, make
from nftloyalty.store.delivery_log import KEPT
from nftloyalty.store.tables import DeliveryState, deliveries, events
from nftloyalty.store.webhooks import EndpointRow
from nftloyalty.store.writing import MANY


@dataclass(frozen=True)
class Replayed:
    """How many deliveries wait again, and the last event that was looked at; None = there are no more."""

    count: int
    last: int | None


def replay_one(tx: Connection, endpoint: EndpointRow, event: int, now: datetime) -> int:
    """Send this event to an endpoint that is held, again or for the first time, whatever types it names. 0 if it waits
    to be sent already."""
    found = tx.execute(select(events.c.id, events.c.object).where(events.c.id == event)).all()
    return _again(tx, endpoint, [(row.id, row.object) for row in found], now, also_delivered=True)


def replay_range(
    tx: Connection,
    endpoint: EndpointRow,
    now: datetime,
    *,
    after: int,
    since: datetime | None,
    until: datetime | None,
    also_delivered: bool,
    limit: int,
) -> Replayed:
    """Of the events after this row, the first `limit`: send those that an endpoint that is held wants and has not got,
    or all that it wants. `since` and `until` (excluded) are when they were written down."""
    query = (
        select(events.c.id, events.c.type, events.c.object)
        .where(events.c.program == endpoint.program, events.c.id > after)
        .order_by(events.c.id)
        .limit(limit)
    )
    if since is not None:
        query = query.where(events.c.created_at >= since)
    if until is not None:
        query = query.where(events.c.created_at < until)
    found = tx.execute(query).all()
    wanted = [(row.id, row.object) for row in found if rules.wants(endpoint.types, row.type)]
    count = _again(tx, endpoint, wanted, now, also_delivered=also_delivered)
    return Replayed(count, found[-1].id if len(found) == limit else None)


def is_forgotten(
    tx: Connection, endpoint: EndpointRow, now: datetime, *, after: int, since: datetime | None, until: datetime | None
) -> bool:
    """Whether a range begins so early that what this endpoint got of it may be forgotten."""
    known_from = now - KEPT
    if endpoint.created_at >= known_from:
        return False
    first = select(events.c.created_at).where(events.c.program == endpoint.program, events.c.id > after)
    if since is not None:
        first = first.where(events.c.created_at >= since)
    if until is not None:
        first = first.where(events.c.created_at < until)
    told_at = tx.execute(first.order_by(events.c.id).limit(1)).scalar_one_or_none()
    return told_at is not None and told_at < known_from


def _again(
    tx: Connection, endpoint: EndpointRow, wanted: Sequence[tuple[int, str]], now: datetime, *, also_delivered: bool
) -> int:
    count = 0
    for first in range(0, len(wanted), MANY):
        part = wanted[first : first + MANY]
        again = [DeliveryState.GIVEN_UP, DeliveryState.DELIVERED] if also_delivered else [DeliveryState.GIVEN_UP]
        renewed = tx.execute(
            update(deliveries)
            .where(deliveries.c.endpoint == endpoint.id, deliveries.c.event.in_([event for event, _ in part]))
            .where(deliveries.c.state.in_(again))
            .values(
                state=DeliveryState.WAITING,
                tries=0,
                first_tried_at=None,
                next_at=None,
                created_at=now,
                ended_at=None,
            )
        )
        waiting = renewed.rowcount + make(tx, endpoint.id, part, now)
        webhooks.count(tx, endpoint.id, waiting=waiting)
        count += waiting
        _let_oldest_go(tx, endpoint.id, {of for _, of in part}, now)
    return count


def _let_oldest_go(tx: Connection, endpoint: int, objects: Collection[str], now: datetime) -> None:
    """As `let_go`, where older events than the ones that may go have come to wait. What is under way is let end."""
    mine = (deliveries.c.endpoint == endpoint, deliveries.c.object.in_(objects), WAITS)
    under_way = set(
        tx.execute(select(deliveries.c.object).where(*mine, deliveries.c.held_until.is_not(None))).scalars()
    )
    tx.execute(
        update(deliveries)
        .where(*mine, deliveries.c.next_at.is_not(None), deliveries.c.held_until.is_(None))
        .values(next_at=None)
    )
    let_go(tx, endpoint, set(objects) - under_way, now)
