"""The steps in which deliveries are sent: claimed by one process, tried, and settled by how that went."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, exists, insert, literal, or_, select, update

from nftloyalty.domain import delivery as rules
from nftloyalty.store import webhooks
from nftloyalty.store.deliveries import WAITS, disable, let_go
from nftloyalty.store.tables import DeliveryState, EndpointState, Phase, deliveries, delivery_tries, endpoints, events
from nftloyalty.store.webhooks import EndpointRow

GONE = "it answered 410: it wants no more events"
FAILED_FOR_DAYS = f"nothing came through for {rules.DISABLED_AFTER.days} days"


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


def may_claim(tx: Connection, program: int, owner: str, now: datetime) -> bool:
    """Whether there may be something to claim: a look that holds up nobody."""
    due = (
        exists()
        .where(deliveries.c.endpoint == endpoints.c.id, WAITS, deliveries.c.next_at.is_not(None))
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
            .where(deliveries.c.endpoint == endpoint.id, WAITS, deliveries.c.next_at.is_not(None))
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
    counted = {endpoint: Counter[str]() for endpoint in held}
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
    for outcome in outcomes:
        counted[outcome.claimed.endpoint]["failed_tries"] += not outcome.taken
    for outcome in ours:
        endpoint = held[outcome.claimed.endpoint]
        row = rows[outcome.claimed.id]
        ended = outcome.taken
        if outcome.taken:
            counted[endpoint.id]["delivered"] += 1
        else:
            ended = _postpone(tx, outcome, row, endpoint, now, jitter()) is not DeliveryState.WAITING
        counted[endpoint.id]["waiting"] -= ended and row.state is DeliveryState.WAITING
        if not outcome.taken:
            endpoint, why = _fails(tx, outcome, endpoint, now, jitter())
            if why is not None:
                disabled[endpoint.public_id] = why
        elif endpoint.failing_since is not None:
            endpoint = _back(tx, endpoint, now)
        held[endpoint.id] = endpoint
        moved.setdefault(endpoint.id, set()).add(outcome.claimed.object)
    for endpoint_row, numbers in sorted(counted.items()):
        if held[endpoint_row].state is not EndpointState.ACTIVE:
            # Nothing waits for it any more.
            del numbers["waiting"]
        webhooks.count(tx, endpoint_row, **numbers)
    for endpoint_row, objects in sorted(moved.items()):
        if held[endpoint_row].state is EndpointState.ACTIVE:
            let_go(tx, endpoint_row, objects, now)
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
        .values(**_FREE, state=DeliveryState.DELIVERED, tries=deliveries.c.tries + 1, next_at=None, ended_at=now)
    )


def _postpone(
    tx: Connection, outcome: Outcome, row: Row[*tuple[Any, ...]], endpoint: EndpointRow, now: datetime, jitter: float
) -> DeliveryState:
    """It is tried again at its time, or given up: never while the endpoint takes nothing at all since it was tried
    first, for then that is the matter. Returns which."""
    first = row.first_tried_at or outcome.began_at
    state: DeliveryState = row.state
    next_at = None
    if endpoint.state is not EndpointState.ACTIVE:
        # It was given up with all that waited, a moment ago maybe.
        state = DeliveryState.GIVEN_UP
    elif state is DeliveryState.WAITING:
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
        .values(
            **_FREE,
            state=state,
            tries=deliveries.c.tries + 1,
            first_tried_at=first,
            next_at=next_at,
            ended_at=None if state is DeliveryState.WAITING else now,
        )
    )
    return state


def _has_older(tx: Connection, claimed: Claimed, event: int) -> bool:
    mine = (deliveries.c.endpoint == claimed.endpoint, deliveries.c.object == claimed.object, WAITS)
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
        return disable(tx, endpoint, why, now), why
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
            .where(deliveries.c.endpoint == endpoint.id, WAITS, deliveries.c.next_at > now)
            .values(next_at=now)
        )
    return webhooks.change(tx, endpoint.id, {"failing_since": None, "failures": 0, "next_at": None})
