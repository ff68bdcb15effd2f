"""Events and endpoints, for the tests of what is sent to whom."""

from datetime import datetime, timedelta
from itertools import count
from typing import Any

from sqlalchemy import Connection, Row, func, insert, select

from nftloyalty.store import deliveries, delivery_steps, replays, webhooks
from nftloyalty.store.delivery_steps import Claimed, Outcome
from nftloyalty.store.replays import Replayed
from nftloyalty.store.tables import Phase, delivery_tries, events
from nftloyalty.store.tables import deliveries as delivery_table
from nftloyalty.store.webhooks import EndpointRow
from tests.store.build import NOW

HOLD = timedelta(seconds=60)
ME = "host/1/1"
OTHER = "host/2/1"

_numbers = count(1)


def happen(
    tx: Connection, program: int, *objects: str, now: datetime = NOW, type_: str = "membership.created"
) -> list[Row[Any]]:
    """Events of these objects, one after the other, written down and brought on their way."""
    if not objects:
        return []
    told = select(events.c.object, func.max(events.c.sequence)).where(events.c.program == program)
    last: dict[str, int] = {row[0]: row[1] for row in tx.execute(told.group_by(events.c.object))}
    rows = []
    for each in objects:
        last[each] = last.get(each, 0) + 1
        rows.append(
            {
                "public_id": f"evt_{next(_numbers)}",
                "program": program,
                "type": type_,
                "phase": Phase.FINAL,
                "object": each,
                "sequence": last[each],
                "wallet": None,
                "data": {"of": each},
                "created_at": now,
            }
        )
    made = list(tx.execute(insert(events).returning(*events.c, sort_by_parameter_order=True), rows))
    deliveries.fan_out(tx, made, now)
    return made


def endpoint(tx: Connection, program: int, *types: str, secret: bytes = b"sealed", now: datetime = NOW) -> EndpointRow:
    row = webhooks.add(
        tx,
        f"ep_{next(_numbers)}",
        program,
        url="https://hooks.example/in",
        types=list(types),
        description="",
        now=now,
    )
    webhooks.add_secret(tx, row.id, secret, now, now)
    return row


def claim(
    tx: Connection,
    program: int,
    now: datetime = NOW,
    *,
    limit: int = 100,
    limit_each: int = 100,
    owner: str = ME,
    dead: str = "",
) -> list[Claimed]:
    return delivery_steps.claim(
        tx, program, owner, now, now + HOLD, limit=limit, limit_each=limit_each, alive=lambda name: name != dead
    )


def went(claimed: Claimed, now: datetime = NOW, *, status: int = 204, **more: Any) -> Outcome:
    """The receiver answered this."""
    return Outcome(claimed, now, 12, status, None, taken=200 <= status < 300, gone=status == 410, **more)


def settle(tx: Connection, *outcomes: Outcome, now: datetime = NOW) -> dict[str, str]:
    return delivery_steps.settle(tx, outcomes, now, lambda: 0.0)


def states(tx: Connection, to: EndpointRow) -> list[tuple[str, str]]:
    """Object and state of an endpoint's deliveries, in the order of their events."""
    query = select(delivery_table.c.object, delivery_table.c.state).where(delivery_table.c.endpoint == to.id)
    return [(row[0], row[1].value) for row in tx.execute(query.order_by(delivery_table.c.event))]


def tries(tx: Connection) -> int:
    return int(tx.execute(select(func.count()).select_from(delivery_tries)).scalar_one())


def again(tx: Connection, to: EndpointRow) -> EndpointRow:
    """As it stands now."""
    return webhooks.get(tx, to.program, to.public_id)


def replay(tx: Connection, to: EndpointRow, now: datetime = NOW, **more: Any) -> Replayed:
    """Of all events, unless something else is asked for."""
    asked: dict[str, Any] = {"after": 0, "since": None, "until": None, "also_delivered": False, "limit": 1000} | more
    return replays.replay_range(tx, to, now, **asked)


def deliver_all(tx: Connection, program: int, now: datetime = NOW) -> list[tuple[str, int]]:
    """Object and sequence of all that may go, in the order in which it goes."""
    order = []
    while found := claim(tx, program, now):
        order += [(each.object, each.sequence) for each in found]
        settle(tx, *(went(each, now) for each in found), now=now)
    return order
