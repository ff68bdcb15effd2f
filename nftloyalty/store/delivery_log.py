"""What became of each delivery, as whoever runs an endpoint is shown it; and when that is forgotten."""

from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, func, select

from nftloyalty.store.tables import DeliveryState, deliveries, delivery_tries, events

KEPT = timedelta(days=90)
"""After it was delivered or given up."""

# A replay goes by what is known here, and takes a while.
_MARGIN = timedelta(days=1)


@dataclass(frozen=True)
class DeliveryRow:
    """A line of an endpoint's log: `status` and `error` are of the last try."""

    id: int
    event_id: str
    type: str
    object: str
    state: DeliveryState
    tries: int
    next_at: datetime | None
    created_at: datetime
    ended_at: datetime | None
    status: int | None
    error: str | None

    @property
    def delivered_at(self) -> datetime | None:
        return self.ended_at if self.state is DeliveryState.DELIVERED else None


@dataclass(frozen=True)
class TryRow:
    """One try of a delivery."""

    at: datetime
    milliseconds: int
    status: int | None
    error: str | None


def of_endpoint(
    tx: Connection,
    endpoint: int,
    *,
    state: DeliveryState | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[DeliveryRow]:
    """An endpoint's deliveries, newest first; `before` is the id of the last one that was told already."""
    tried = delivery_tries.alias("tried")
    last = select(func.max(tried.c.id)).where(tried.c.delivery == deliveries.c.id).correlate(deliveries)
    query = (
        select(
            deliveries.c.id,
            events.c.public_id,
            events.c.type,
            deliveries.c.object,
            deliveries.c.state,
            deliveries.c.tries,
            deliveries.c.next_at,
            deliveries.c.created_at,
            deliveries.c.ended_at,
            delivery_tries.c.status,
            delivery_tries.c.error,
        )
        .join(events, deliveries.c.event == events.c.id)
        .outerjoin(delivery_tries, delivery_tries.c.id == last.scalar_subquery())
        .where(deliveries.c.endpoint == endpoint)
        .order_by(deliveries.c.id.desc())
        .limit(limit)
    )
    if state is not None:
        query = query.where(deliveries.c.state == state)
    if before is not None:
        query = query.where(deliveries.c.id < before)
    return [DeliveryRow(*row) for row in tx.execute(query)]


def tries_of(tx: Connection, endpoint: int, event: int) -> list[TryRow]:
    """Every try of one event at one endpoint, oldest first."""
    query = (
        select(delivery_tries.c.at, delivery_tries.c.milliseconds, delivery_tries.c.status, delivery_tries.c.error)
        .join(deliveries, delivery_tries.c.delivery == deliveries.c.id)
        .where(deliveries.c.endpoint == endpoint, deliveries.c.event == event)
        .order_by(delivery_tries.c.id)
    )
    return [TryRow(*row) for row in tx.execute(query)]


def forget_old(tx: Connection, now: datetime, limit: int) -> int:
    """Delete up to `limit` deliveries that ended long ago, oldest first, with their tries; returns how many. One that
    is asked for again at this moment is left."""
    old = (
        select(deliveries.c.id)
        .where(deliveries.c.ended_at < now - KEPT - _MARGIN)
        .order_by(deliveries.c.ended_at)
        .limit(limit)
        .with_for_update(skip_locked=True)
    )
    ids = tx.execute(old).scalars().all()
    if ids:
        tx.execute(delete(delivery_tries).where(delivery_tries.c.delivery.in_(ids)))
        tx.execute(delete(deliveries).where(deliveries.c.id.in_(ids)))
    return len(ids)
