"""What is sent again keeps its id and its order, and a range is sent but for what its endpoint is known to have got."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine

from nftloyalty.store import delivery_log, replays
from nftloyalty.store.delivery_log import KEPT
from nftloyalty.store.engine import begin
from nftloyalty.store.replays import Replayed
from nftloyalty.store.tables import DeliveryState
from tests.store.build import NOW, Ground, prepared
from tests.store.happenings import again, claim, deliver_all, endpoint, happen, replay, settle, states, went

SECOND = timedelta(seconds=1)
DAY = timedelta(days=1)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


@pytest.fixture
def tx(engine: Engine, ground: Ground) -> Iterator[Connection]:
    with begin(engine) as connection:
        yield connection


def test_one_event_is_sent_again_with_the_same_id(tx: Connection, ground: Ground) -> None:
    to = endpoint(tx, ground.program, "b.b")
    (event,) = happen(tx, ground.program, "m:1", type_="b.b")
    assert replays.replay_one(tx, to, event.id, NOW) == 0
    deliver_all(tx, ground.program)
    assert replays.replay_one(tx, to, event.id, NOW) == 1
    (claimed,) = claim(tx, ground.program)
    assert claimed.event_id == event.public_id
    settle(tx, went(claimed))
    (row,) = delivery_log.of_endpoint(tx, to.id)
    assert (row.state, row.tries) == (DeliveryState.DELIVERED, 1)
    assert len(delivery_log.tries_of(tx, to.id, event.id)) == 2
    # Also one whose type it does not name: it was asked for.
    (unnamed,) = happen(tx, ground.program, "m:2", type_="a.a")
    assert replays.replay_one(tx, to, unnamed.id, NOW) == 1
    assert deliver_all(tx, ground.program) == [("m:2", 1)]


def test_a_new_endpoint_can_be_given_what_was_before_it(tx: Connection, ground: Ground) -> None:
    happen(tx, ground.program, "m:1", "m:2", "m:1")
    happen(tx, ground.program, "m:1", type_="a.a")
    to = endpoint(tx, ground.program, "membership.created")
    happen(tx, ground.program, "m:1")
    assert replay(tx, to).count == 3
    assert deliver_all(tx, ground.program) == [("m:1", 1), ("m:2", 1), ("m:1", 2), ("m:1", 4)]
    assert replay(tx, to).count == 0
    assert replay(tx, to, also_delivered=True).count == 4


def test_a_range_is_from_an_event_or_between_times(tx: Connection, ground: Ground) -> None:
    for second in range(6):
        happen(tx, ground.program, "m:1", now=NOW + second * SECOND)
    to = endpoint(tx, ground.program)
    first = happen(tx, ground.program, "m:2")[0].id
    deliver_all(tx, ground.program)
    found = replay(tx, to, since=NOW + SECOND, until=NOW + 3 * SECOND)
    assert (found.count, deliver_all(tx, ground.program)) == (2, [("m:1", 2), ("m:1", 3)])
    assert replay(tx, to, after=first - 1, also_delivered=True).count == 1
    assert [replay(tx, to, limit=2), replay(tx, to, limit=100)] == [
        Replayed(1, first - 5),
        Replayed(3, None),
    ]


def test_a_replayed_event_goes_before_newer_ones_that_wait_and_after_what_is_under_way(
    tx: Connection, ground: Ground
) -> None:
    to = endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:1")
    deliver_all(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:1", "m:1")
    (third,) = claim(tx, ground.program)
    assert third.sequence == 3
    assert replay(tx, to, also_delivered=True).count == 2
    assert claim(tx, ground.program) == []
    settle(tx, went(third, status=500))
    assert deliver_all(tx, ground.program, NOW + 5 * SECOND) == [
        ("m:1", 1),
        ("m:1", 2),
        ("m:1", 3),
        ("m:1", 4),
        ("m:1", 5),
    ]
    happen(tx, ground.program, "m:1")
    assert replay(tx, to, also_delivered=True).count == 5
    assert deliver_all(tx, ground.program) == [("m:1", number) for number in range(1, 7)]


def test_what_is_so_old_that_it_may_be_forgotten_is_known_of_a_younger_endpoint_only(
    tx: Connection, ground: Ground
) -> None:
    old = endpoint(tx, ground.program)
    (first,) = happen(tx, ground.program, "m:1")
    happen(tx, ground.program, "m:1", now=NOW + DAY)
    deliver_all(tx, ground.program)
    young = endpoint(tx, ground.program, now=NOW + DAY)

    def forgotten(now: object = NOW + KEPT + SECOND, to: object = old, **more: object) -> bool:
        asked = {"after": 0, "since": None, "until": None} | more
        return replays.is_forgotten(tx, to, now, **asked)  # type: ignore[arg-type]

    assert forgotten()
    assert not forgotten(NOW + KEPT)
    assert not forgotten(to=young)
    assert not forgotten(after=first.id)
    assert not forgotten(since=NOW + SECOND)
    assert forgotten(until=NOW + SECOND)
    assert not forgotten(until=NOW)


def test_a_forgotten_delivery_can_be_sent_again(tx: Connection, ground: Ground) -> None:
    to = endpoint(tx, ground.program)
    (event,) = happen(tx, ground.program, "m:1")
    deliver_all(tx, ground.program)
    later = NOW + KEPT + 2 * DAY
    assert delivery_log.forget_old(tx, later, 100) == 1
    assert states(tx, to) == []
    assert replay(tx, to, later, also_delivered=True).count == 1
    assert [each.event_id for each in claim(tx, ground.program, later)] == [event.public_id]
    assert replays.replay_one(tx, again(tx, to), event.id, later) == 0
