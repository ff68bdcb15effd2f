"""Deliveries: each event on its way to each endpoint, in order for each object.

Of what waits for an endpoint and is of one object, only the oldest event's has a `next_at`; when it is delivered or
given up, the next one gets one. An endpoint that fails is tried by one delivery at a time; once that comes through, all
others go.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

from sqlalchemy import ColumnElement, Connection, Row, exists, func, insert, literal, or_, select, update

from nftloyalty.domain import delivery as rules
from nftloyalty.errors import Unknown
from nftloyalty.store import webhooks
from nftloyalty.store.tables import DeliveryState, EndpointState, Phase, deliveries, delivery_tries, endpoints, events
from nftloyalty.store.webhooks import EndpointRow
from nftloyalty.store.writing import MANY, given_rows, insert_many_new

GONE = "it answered 410: it wants no more events"
FAILED_FOR_DAYS = f"nothing came through for {rules.DISABLED_AFTER.days} days"


def _is(state: DeliveryState) -> ColumnElement[bool]:
    # Written out and not as a parameter: only so can the database know that an index of such rows alone is enough.
    return deliveries.c.state == literal(state, deliveries.c.state.type, literal_execute=True)


_WAITS = _is(DeliveryState.WAITING)


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


@dataclass(frozen=True)
class Claimed:
    """A delivery that one process has for itself until `held_until`, and what it takes to send it. `sealed` are the
    secrets to sign with, `probe` tells that the endpoint was failing before."""

    id: int
    endpoint: int
    endpoint_id: str
    url: str
    sealed: Sequence[bytes]
    probe: bool
    held_by: str
    held_until: datetime
    event_id: str
    type: str
    phase: Phase
    object: str
    sequence: int
    data: Mapping[str, Any]
    happened_at: datetime

    def __repr__(self) -> str:
        # A URL may hold a key.
        return f"Claimed({self.event_id} to {self.endpoint_id})"


@dataclass(frozen=True)
class Outcome:
    """How a try went. `status` is of the answer, None = there was none and `error` says why."""

    claimed: Claimed
    began_at: datetime
    milliseconds: int
    status: int | None
    error: str | None
    taken: bool
    gone: bool = False
    retry_after_seconds: int = 0


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
    delivered_at: datetime | None
    status: int | None
    error: str | None


@dataclass(frozen=True)
class TryRow:
    """One try of a delivery."""

    at: datetime
    milliseconds: int
    status: int | None
    error: str | None


@dataclass(frozen=True)
class Replayed:
    """How many deliveries wait again, and the last event that was looked at; None = there are no more."""

    count: int
    last: int | None


# --------------------------------------------------------------------------------------------------------------- making


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
        made += _make(tx, endpoint.id, [(each.id, each.object) for each in wanted], now)
        _let_go(tx, endpoint.id, {each.object for each in wanted}, now)
    return made


def _make(tx: Connection, endpoint: int, wanted: Sequence[tuple[int, str]], now: datetime) -> int:
    made = 0
    for first in range(0, len(wanted), MANY):
        rows = [
            {"endpoint": endpoint, "event": event, "object": of, "state": DeliveryState.WAITING, "created_at": now}
            for event, of in wanted[first : first + MANY]
        ]
        made += len(insert_many_new(tx, deliveries, rows, deliveries.c.endpoint, deliveries.c.event))
    return made


def _let_go(tx: Connection, endpoint: int, objects: Collection[str], now: datetime) -> None:
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


# -------------------------------------------------------------------------------------------------------------- sending


def may_claim(tx: Connection, program: int, owner: str, now: datetime) -> bool:
    """Whether there may be something to claim: a look that holds up nobody."""
    due = (
        exists()
        .where(deliveries.c.endpoint == endpoints.c.id, _WAITS, deliveries.c.next_at.is_not(None))
        .where(or_(deliveries.c.next_at <= now, endpoints.c.failing_since.is_not(None)))
        # What another process has may be free sooner than it says: if it is dead.
        .where(or_(deliveries.c.held_until.is_(None), deliveries.c.held_until <= now, deliveries.c.held_by != owner))
    )
    query = (
        select(literal(1))
        .select_from(endpoints)
        .where(endpoints.c.program == program, endpoints.c.state == EndpointState.ACTIVE)
        .where(or_(endpoints.c.next_at.is_(None), endpoints.c.next_at <= now), due)
        .limit(1)
    )
    return tx.execute(query).first() is not None


def claim(
    tx: Connection,
    program: int,
    owner: str,
    now: datetime,
    until: datetime,
    *,
    limit: int,
    limit_each: int,
    alive: Callable[[str], bool],
) -> list[Claimed]:
    """Take up to `limit` deliveries that may go now, so that at most `limit_each` are under way to an endpoint, and one
    to an endpoint that fails. Nobody else gets them before `until`, unless `alive` says that the owner has ended."""
    ready = webhooks.hold_ready(tx, program, now)
    under_way = _under_way(tx, [each.id for each in ready], now, alive)
    taken: dict[int, EndpointRow] = {}
    # Who has least under way goes first, so that one with a long queue keeps nobody out.
    for endpoint in sorted(ready, key=lambda each: under_way.get(each.id, 0)):
        fails = endpoint.failing_since is not None
        free = min(limit - len(taken), (1 if fails else limit_each) - under_way.get(endpoint.id, 0))
        if free <= 0:
            continue
        query = (
            select(deliveries.c.id)
            .where(deliveries.c.endpoint == endpoint.id, _WAITS, deliveries.c.next_at.is_not(None))
            .where(deliveries.c.held_until.is_(None))
            .order_by(deliveries.c.next_at)
            .limit(free)
        )
        # Whether it is back is worth a try of whatever waits.
        query = query if fails else query.where(deliveries.c.next_at <= now)
        taken |= dict.fromkeys(tx.execute(query).scalars(), endpoint)
    if not taken:
        return []
    tx.execute(update(deliveries).where(deliveries.c.id.in_(taken)).values(held_by=owner, held_until=until))
    sealed = webhooks.sealed_secrets(tx, {each.id for each in taken.values()}, now)
    rows = tx.execute(
        select(deliveries.c.id, events)
        .join(events, deliveries.c.event == events.c.id)
        .where(deliveries.c.id.in_(taken))
        .order_by(deliveries.c.event)
    )
    return [
        Claimed(
            id=row[0],
            endpoint=taken[row[0]].id,
            endpoint_id=taken[row[0]].public_id,
            url=taken[row[0]].url,
            sealed=sealed.get(taken[row[0]].id, []),
            probe=taken[row[0]].failing_since is not None,
            held_by=owner,
            held_until=until,
            event_id=row.public_id,
            type=row.type,
            phase=row.phase,
            object=row.object,
            sequence=row.sequence,
            data=row.data,
            happened_at=row.created_at,
        )
        for row in rows
    ]


def _under_way(tx: Connection, ids: Collection[int], now: datetime, alive: Callable[[str], bool]) -> Mapping[int, int]:
    """How many deliveries to each of these endpoints are under way; those of processes that have ended become free."""
    query = select(deliveries.c.id, deliveries.c.endpoint, deliveries.c.held_by, deliveries.c.held_until).where(
        deliveries.c.endpoint.in_(ids), deliveries.c.held_until.is_not(None)
    )
    count: dict[int, int] = {}
    over = []
    living: dict[str, bool] = {}
    for row in tx.execute(query):
        if row.held_by not in living:
            living[row.held_by] = alive(row.held_by)
        if row.held_until > now and living[row.held_by]:
            count[row.endpoint] = count.get(row.endpoint, 0) + 1
        else:
            over.append(row.id)
    if over:
        tx.execute(update(deliveries).where(deliveries.c.id.in_(over)).values(held_by=None, held_until=None))
    return count


def give_back(tx: Connection, claimed: Collection[Claimed]) -> None:
    """These were not tried after all: let others have them."""
    for each in claimed:
        tx.execute(
            update(deliveries)
            .where(deliveries.c.id == each.id)
            .where(deliveries.c.held_by == each.held_by, deliveries.c.held_until == each.held_until)
            .values(**_FREE)
        )


def settle(tx: Connection, outcomes: Sequence[Outcome], now: datetime, jitter: Callable[[], float]) -> dict[str, str]:
    """Write down how these tries went. Returns the endpoints that are disabled by it, and why.

    What somebody else has claimed meanwhile is theirs: only the try is written down.
    """
    if not outcomes:
        return {}
    held = webhooks.hold_all(tx, {outcome.claimed.endpoint for outcome in outcomes})
    disabled: dict[str, str] = {}
    moved: dict[int, set[str]] = {}
    tx.execute(
        insert(delivery_tries),
        [
            {
                "delivery": each.claimed.id,
                "at": each.began_at,
                "milliseconds": each.milliseconds,
                "status": each.status,
                "error": each.error,
            }
            for each in outcomes
        ],
    )
    rows = _still_held(tx, outcomes)
    ours = [outcome for outcome in outcomes if outcome.claimed.id in rows]
    _deliver(tx, [outcome.claimed.id for outcome in ours if outcome.taken], now)
    for outcome in ours:
        endpoint = held[outcome.claimed.endpoint]
        if not outcome.taken:
            _postpone(tx, outcome, rows[outcome.claimed.id], endpoint, now, jitter())
            endpoint, why = _fails(tx, outcome, endpoint, now, jitter())
            if why is not None:
                disabled[endpoint.public_id] = why
        elif endpoint.failing_since is not None:
            endpoint = _back(tx, endpoint, now)
        held[endpoint.id] = endpoint
        moved.setdefault(endpoint.id, set()).add(outcome.claimed.object)
    for endpoint_row, objects in sorted(moved.items()):
        if held[endpoint_row].state is EndpointState.ACTIVE:
            _let_go(tx, endpoint_row, objects, now)
    return disabled


def _still_held(tx: Connection, outcomes: Sequence[Outcome]) -> Mapping[int, Row[*tuple[Any, ...]]]:
    """Those of these deliveries that nobody else has claimed since, by their ids."""
    claims = {outcome.claimed.id: outcome.claimed for outcome in outcomes}
    query = select(
        deliveries.c.id,
        deliveries.c.event,
        deliveries.c.state,
        deliveries.c.first_tried_at,
        deliveries.c.held_by,
        deliveries.c.held_until,
    ).where(deliveries.c.id.in_(claims))
    return {
        row.id: row
        for row in tx.execute(query)
        if (row.held_by, row.held_until) == (claims[row.id].held_by, claims[row.id].held_until)
    }


_FREE: Mapping[str, Any] = {"held_by": None, "held_until": None}


def _deliver(tx: Connection, ids: Collection[int], now: datetime) -> None:
    """Also what was given up while it was under way."""
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id.in_(ids))
        .values(**_FREE, state=DeliveryState.DELIVERED, tries=deliveries.c.tries + 1, next_at=None, delivered_at=now)
    )


def _postpone(
    tx: Connection, outcome: Outcome, row: Row[*tuple[Any, ...]], endpoint: EndpointRow, now: datetime, jitter: float
) -> None:
    """It is tried again at its time, or given up: never while the endpoint takes nothing at all since it was tried
    first, for then that is the matter."""
    first = row.first_tried_at or outcome.began_at
    state, next_at = row.state, None
    if state is DeliveryState.WAITING:
        next_at = rules.next_try(first, now, jitter)
        if next_at is None and endpoint.failing_since is not None and endpoint.failing_since <= first:
            next_at = rules.last_resort(now, jitter)
        if next_at is None:
            state = DeliveryState.GIVEN_UP
        elif _has_older(tx, outcome.claimed, row.event):
            # An older one was asked for again meanwhile, and goes first.
            next_at = None
    tx.execute(
        update(deliveries)
        .where(deliveries.c.id == outcome.claimed.id)
        .values(**_FREE, state=state, tries=deliveries.c.tries + 1, first_tried_at=first, next_at=next_at)
    )


def _has_older(tx: Connection, claimed: Claimed, event: int) -> bool:
    mine = (deliveries.c.endpoint == claimed.endpoint, deliveries.c.object == claimed.object, _WAITS)
    return tx.execute(select(literal(1)).where(*mine, deliveries.c.event < event).limit(1)).first() is not None


def _fails(
    tx: Connection, outcome: Outcome, endpoint: EndpointRow, now: datetime, jitter: float
) -> tuple[EndpointRow, str | None]:
    """The endpoint after a try that failed, and why it is disabled, if it is."""
    if endpoint.state is not EndpointState.ACTIVE:
        return endpoint, None
    since = endpoint.failing_since or outcome.began_at
    why = GONE if outcome.gone else FAILED_FOR_DAYS if now - since >= rules.DISABLED_AFTER else None
    if why is not None:
        return disable(tx, endpoint, why), why
    if endpoint.failing_since is not None and not outcome.claimed.probe:
        # It was under way when another one found out.
        return endpoint, None
    failures = endpoint.failures + 1
    pause = max(rules.probe_pause(failures, jitter), timedelta(seconds=outcome.retry_after_seconds))
    values = {"failing_since": since, "failures": failures, "next_at": now + pause}
    return webhooks.change(tx, endpoint.id, values), None


def _back(tx: Connection, endpoint: EndpointRow, now: datetime) -> EndpointRow:
    """Something came through. If more than one try in a row had failed, that was not for what was in it: what waits for
    its time because of that goes now."""
    if endpoint.failures > 1:
        tx.execute(
            update(deliveries)
            .where(deliveries.c.endpoint == endpoint.id, _WAITS, deliveries.c.next_at > now)
            .values(next_at=now)
        )
    return webhooks.change(tx, endpoint.id, {"failing_since": None, "failures": 0, "next_at": None})


def disable(
    tx: Connection, endpoint: EndpointRow, why: str, state: EndpointState = EndpointState.DISABLED
) -> EndpointRow:
    """Send nothing more to an endpoint that is held; what waits for it is given up, and can be replayed."""
    tx.execute(
        update(deliveries)
        .where(deliveries.c.endpoint == endpoint.id, _WAITS)
        .values(state=DeliveryState.GIVEN_UP, next_at=None)
    )
    return webhooks.change(tx, endpoint.id, {"state": state, "why": why, "next_at": None})


# --------------------------------------------------------------------------------------------------------------- replay


def event_number(tx: Connection, program: int, public_id: str) -> int:
    """The row of one of the program's events. Raises Unknown."""
    query = select(events.c.id).where(events.c.public_id == public_id, events.c.program == program)
    found = tx.execute(query).scalar_one_or_none()
    if found is None:
        raise Unknown(f"there is no event {public_id!r}")
    return int(found)


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
                delivered_at=None,
            )
        )
        count += renewed.rowcount + _make(tx, endpoint.id, part, now)
        _let_oldest_go(tx, endpoint.id, {of for _, of in part}, now)
    return count


def _let_oldest_go(tx: Connection, endpoint: int, objects: Collection[str], now: datetime) -> None:
    """As `_let_go`, where older events than the ones that may go have come to wait. What is under way is let end."""
    mine = (deliveries.c.endpoint == endpoint, deliveries.c.object.in_(objects), _WAITS)
    under_way = set(
        tx.execute(select(deliveries.c.object).where(*mine, deliveries.c.held_until.is_not(None))).scalars()
    )
    tx.execute(
        update(deliveries)
        .where(*mine, deliveries.c.next_at.is_not(None), deliveries.c.held_until.is_(None))
        .values(next_at=None)
    )
    _let_go(tx, endpoint, set(objects) - under_way, now)


# ------------------------------------------------------------------------------------------------------------------ log


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
            deliveries.c.delivered_at,
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


def waiting(tx: Connection, endpoint: int) -> int:
    """How many deliveries wait for an endpoint."""
    query = select(func.count()).select_from(deliveries).where(deliveries.c.endpoint == endpoint, _WAITS)
    return int(tx.execute(query).scalar_one())
