"""Deliveries go out in order for each object, to one process each, and are tried again until their times are over."""

import random
import time
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select, text

from nftloyalty.domain.delivery import DISABLED_AFTER, RETRY_PAUSES
from nftloyalty.store import deliveries, delivery_steps, webhooks
from nftloyalty.store.engine import begin, read
from nftloyalty.store.tables import DeliveryState, EndpointState
from nftloyalty.store.tables import deliveries as delivery_table
from tests.store.build import NOW, Ground, prepared, program, run_together
from tests.store.happenings import (
    HOLD,
    ME,
    OTHER,
    again,
    claim,
    endpoint,
    happen,
    replay,
    settle,
    states,
    tries,
    went,
)

SECOND = timedelta(seconds=1)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


@pytest.fixture
def tx(engine: Engine, ground: Ground) -> Iterator[Connection]:
    with begin(engine) as connection:
        yield connection


# --------------------------------------------------------------------------------------------------------------- making


def test_an_event_goes_to_every_endpoint_of_its_program_that_wants_it(tx: Connection, ground: Ground) -> None:
    other = program(tx, ground.chain, "tea").id
    everything, cards, stamps = (endpoint(tx, ground.program, *types) for types in ((), ("a.a",), ("b.b", "c.c")))
    elsewhere, off = endpoint(tx, other), endpoint(tx, ground.program)
    deliveries.disable(tx, off, "by hand", NOW)
    happen(tx, ground.program, "m:1", type_="a.a")
    happen(tx, ground.program, "m:1", type_="c.c")
    happen(tx, other, "m:2", type_="a.a")
    assert states(tx, everything) == [("m:1", "waiting")] * 2
    assert states(tx, cards) == states(tx, stamps) == [("m:1", "waiting")]
    assert states(tx, elsewhere) == [("m:2", "waiting")]
    assert states(tx, off) == []


def test_the_same_event_twice_is_one_delivery(tx: Connection, ground: Ground) -> None:
    to = endpoint(tx, ground.program)
    events = happen(tx, ground.program, "m:1")
    assert deliveries.fan_out(tx, events, NOW) == 0
    assert len(states(tx, to)) == 1


def test_without_endpoints_nothing_is_written(tx: Connection, ground: Ground) -> None:
    assert deliveries.fan_out(tx, happen(tx, ground.program, "m:1"), NOW) == 0
    assert deliveries.fan_out(tx, [], NOW) == 0


def test_what_is_claimed_tells_all_it_takes_to_send_it(tx: Connection, ground: Ground) -> None:
    to = endpoint(tx, ground.program, secret=b"new")
    (event,) = happen(tx, ground.program, "m:1")
    (claimed,) = claim(tx, ground.program)
    assert (claimed.endpoint, claimed.endpoint_id, claimed.url, claimed.sealed) == (
        to.id,
        to.public_id,
        "https://hooks.example/in",
        [b"new"],
    )
    assert (claimed.event_id, claimed.type, claimed.object, claimed.sequence, claimed.data, claimed.happened_at) == (
        event.public_id,
        "membership.created",
        "m:1",
        1,
        {"of": "m:1"},
        NOW,
    )
    assert "hooks.example" not in repr(claimed) + repr(to)


# --------------------------------------------------------------------------------------------------------------- order


def test_of_one_object_only_the_oldest_goes(tx: Connection, ground: Ground) -> None:
    endpoint(tx, ground.program)
    first, second, _other = happen(tx, ground.program, "m:1", "m:1", "m:2")
    claimed = claim(tx, ground.program)
    assert [(each.object, each.sequence) for each in claimed] == [("m:1", 1), ("m:2", 1)]
    assert claim(tx, ground.program) == []
    settle(tx, went(claimed[0]))
    assert [each.event_id for each in claim(tx, ground.program)] == [second.public_id]
    assert first.public_id == claimed[0].event_id


def test_one_that_fails_holds_back_its_object_only(tx: Connection, ground: Ground) -> None:
    endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:1", "m:2", "m:2")
    one, two = claim(tx, ground.program)
    settle(tx, went(one, status=500), went(two))
    assert [(each.object, each.sequence) for each in claim(tx, ground.program)] == [("m:2", 2)]
    assert [(each.object, each.sequence) for each in claim(tx, ground.program, NOW + 5 * SECOND)] == [("m:1", 1)]


def test_a_later_event_waits_behind_one_that_is_given_up_no_longer(tx: Connection, ground: Ground) -> None:
    """One poisoned event, at an endpoint that takes all others: it is tried to the end, then its object goes on."""
    to = endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:1")
    now, tried = NOW, 0
    while states(tx, to)[0] == ("m:1", "waiting"):
        for each in claim(tx, ground.program, now):
            poisoned = (each.object, each.sequence) == ("m:1", 1)
            tried += poisoned
            settle(tx, went(each, now, status=500 if poisoned else 204), now=now)
        happen(tx, ground.program, f"n:{now}", now=now)
        now += timedelta(minutes=70) if tried > 3 else timedelta(minutes=6) if tried > 1 else 5 * SECOND
        assert now - NOW < timedelta(days=5)
    assert len(RETRY_PAUSES) <= tried <= 2 * len(RETRY_PAUSES)
    assert states(tx, to)[0] == ("m:1", "given-up")
    assert ("m:1", 2) in [(each.object, each.sequence) for each in claim(tx, ground.program, now)]
    assert again(tx, to).state is EndpointState.ACTIVE


@settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_whatever_fails_each_object_s_events_arrive_in_order_and_none_is_lost(
    engine: Engine, ground: Ground, data: st.DataObject
) -> None:
    """Several processes that fail, die and wake up too late, with replays and new events in between."""
    rng = random.Random(data.draw(st.integers(0, 2**32)))  # noqa: S311
    with begin(engine) as tx:
        tx.execute(text("DELETE FROM delivery_tries"))
        tx.execute(text("DELETE FROM deliveries"))
        tx.execute(text("UPDATE endpoints SET state = 'deleted'"))
        to = endpoint(tx, ground.program)
        arrived: dict[str, list[int]] = {}
        under_way: list[Any] = []
        now, made = NOW, 0
        for _ in range(data.draw(st.integers(5, 30))):
            now += rng.choice([SECOND, 10 * SECOND, HOLD, timedelta(minutes=6)])
            if rng.random() < 0.5:
                names = [f"m:{rng.randrange(3)}" for _ in range(rng.randrange(1, 5))]
                made += len(happen(tx, ground.program, *names, now=now))
            under_way += claim(tx, ground.program, now, limit=rng.randrange(1, 5), owner=rng.choice([ME, OTHER]))
            rng.shuffle(under_way)
            assert again(tx, to).waiting == sum(state == "waiting" for _, state in states(tx, to))
            while under_way and rng.random() < 0.7:
                each = under_way.pop()
                fate = rng.random()
                if fate < 0.2:
                    continue  # the process died before it sent anything
                if each.held_until <= now:
                    continue  # it sleeps: a process that sends after its claim may send out of order
                if fate < 0.9:
                    arrived.setdefault(each.object, []).append(each.sequence)
                if fate < 0.8:
                    settle(tx, went(each, now), now=now)
                elif fate >= 0.9:
                    settle(tx, went(each, now, status=500), now=now)
                # else the process died right after it was delivered
        while any(state == "waiting" for _, state in states(tx, to)):
            now += timedelta(minutes=10)
            for each in claim(tx, ground.program, now):
                arrived.setdefault(each.object, []).append(each.sequence)
                settle(tx, went(each, now), now=now)
            assert now < NOW + timedelta(days=3)
        assert {state for _, state in states(tx, to)} <= {"delivered"}
        assert len(states(tx, to)) == made
        assert (again(tx, to).waiting, again(tx, to).delivered) == (0, made)
        for sequences in arrived.values():
            firsts = list(dict.fromkeys(sequences))
            assert firsts == sorted(firsts)
            assert firsts == list(range(firsts[0], firsts[-1] + 1))
            # A duplicate comes before anything newer.
            assert sequences == sorted(sequences)


# -------------------------------------------------------------------------------------------------------------- claims


def test_two_processes_never_have_the_same(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        to = [endpoint(tx, ground.program) for _ in range(3)]
        happen(tx, ground.program, *(f"m:{number}" for number in range(40)))
    found: list[tuple[str, str]] = []

    def work(owner: str) -> None:
        give_up = time.monotonic() + 20
        # One that finds an endpoint held by another passes it over.
        while len(found) < 40 * len(to) and time.monotonic() < give_up:
            with begin(engine) as tx:
                claimed = claim(tx, ground.program, limit=5, owner=owner)
            found.extend((each.endpoint_id, each.event_id) for each in claimed)

    run_together([lambda owner=owner: work(owner) for owner in (ME, OTHER, "host/3/1")])  # type: ignore[misc]
    assert len(found) == len(set(found)) == 40 * len(to)


def test_a_claim_ends_and_at_once_if_its_owner_is_dead(tx: Connection, ground: Ground) -> None:
    endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1")
    (claimed,) = claim(tx, ground.program, owner=OTHER)
    assert claim(tx, ground.program) == []
    assert delivery_steps.may_claim(tx, ground.program, ME, NOW)
    (now_mine,) = claim(tx, ground.program, dead=OTHER)
    assert not delivery_steps.may_claim(tx, ground.program, ME, NOW + HOLD - SECOND)
    assert claim(tx, ground.program, NOW + HOLD - SECOND) == []
    assert delivery_steps.may_claim(tx, ground.program, ME, NOW + HOLD)
    (once_more,) = claim(tx, ground.program, NOW + HOLD)
    assert {claimed.event_id, now_mine.event_id} == {once_more.event_id}


@pytest.mark.parametrize("status", [204, 500])
def test_who_wakes_up_after_its_claim_writes_down_the_try_only(tx: Connection, ground: Ground, status: int) -> None:
    to = endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1")
    (late,) = claim(tx, ground.program, owner=OTHER)
    later = NOW + HOLD
    (mine,) = claim(tx, ground.program, later)
    settle(tx, went(late, status=status), now=later)
    assert states(tx, to) == [("m:1", "waiting")]
    assert claim(tx, ground.program, later) == []
    assert again(tx, to).failing_since is None
    settle(tx, went(mine), now=later)
    assert states(tx, to) == [("m:1", "delivered")]
    assert tries(tx) == 2


def test_what_was_not_tried_is_given_back(tx: Connection, ground: Ground) -> None:
    endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1")
    delivery_steps.give_back(tx, claim(tx, ground.program))
    assert tries(tx) == 0
    assert len(claim(tx, ground.program)) == 1


def test_a_long_queue_leaves_room_for_others(tx: Connection, ground: Ground) -> None:
    long, short = endpoint(tx, ground.program, "a.a"), endpoint(tx, ground.program, "b.b")
    happen(tx, ground.program, *(f"m:{number}" for number in range(50)), type_="a.a")
    first = claim(tx, ground.program, limit=8, limit_each=6)
    assert len(first) == 6
    assert claim(tx, ground.program, limit=8, limit_each=6) == []
    happen(tx, ground.program, "m:1", type_="b.b")
    settle(tx, *(went(each) for each in first[:3]))
    found = claim(tx, ground.program, limit=2, limit_each=6)
    assert [each.endpoint for each in found] == [long.id, short.id] or [each.endpoint for each in found] == [
        short.id,
        long.id,
    ]


# ------------------------------------------------------------------------------------------------- endpoints that fail


def test_an_endpoint_that_fails_is_tried_by_one_at_a_time_and_then_gets_all(tx: Connection, ground: Ground) -> None:
    to = endpoint(tx, ground.program)
    happen(tx, ground.program, *(f"m:{number}" for number in range(30)))
    claimed = claim(tx, ground.program, limit=8)
    settle(tx, *(went(each, status=503) for each in claimed))
    down = again(tx, to)
    # What was under way when the first one failed counts as one.
    assert (down.failing_since, down.failures, down.next_at) == (NOW, 1, NOW + 5 * SECOND)
    assert claim(tx, ground.program, NOW + 4 * SECOND) == []
    now, tried = NOW, 0
    while now < NOW + timedelta(hours=1):
        now += SECOND
        if (again(tx, to).next_at or now) - SECOND > now:
            assert not delivery_steps.may_claim(tx, ground.program, ME, now)
            now = (again(tx, to).next_at or now) - SECOND
            continue
        found = claim(tx, ground.program, now)
        assert len(found) <= 1
        tried += len(found)
        assert claim(tx, ground.program, now) == []
        settle(tx, *(went(each, now, status=503) for each in found), now=now)
    assert 10 < tried < 20
    now = again(tx, to).next_at or now
    (probe,) = claim(tx, ground.program, now)
    settle(tx, went(probe, now), now=now)
    up = again(tx, to)
    assert (up.failing_since, up.failures, up.next_at) == (None, 0, None)
    rest = claim(tx, ground.program, now)
    assert len(rest) == 29
    settle(tx, *(went(each, now) for each in rest), now=now)
    assert {state for _, state in states(tx, to)} == {"delivered"}


def test_one_object_alone_finds_out_that_its_endpoint_is_back(tx: Connection, ground: Ground) -> None:
    """Though its own next time is hours away."""
    to = endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:1")
    now = NOW
    while now < NOW + timedelta(hours=1):
        for each in claim(tx, ground.program, now):
            settle(tx, went(each, now, status=500), now=now)
        now = again(tx, to).next_at or now
    (probe,) = claim(tx, ground.program, now)
    settle(tx, went(probe, now), now=now)
    (following,) = claim(tx, ground.program, now)
    assert (probe.sequence, following.sequence) == (1, 2)
    assert again(tx, to).failures == 0


def test_a_receiver_that_asks_for_time_gets_it(tx: Connection, ground: Ground) -> None:
    to = endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1")
    (claimed,) = claim(tx, ground.program)
    settle(tx, went(claimed, status=429, retry_after_seconds=120))
    assert again(tx, to).next_at == NOW + timedelta(seconds=120)


def test_of_what_comes_back_together_with_gone_nothing_waits_on(tx: Connection, ground: Ground) -> None:
    to = endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:2", "m:3", "m:3")
    one, two, three = claim(tx, ground.program)
    settle(tx, went(one, status=410), went(two, status=500), went(three))
    assert states(tx, to) == [("m:1", "given-up"), ("m:2", "given-up"), ("m:3", "delivered"), ("m:3", "given-up")]
    off = again(tx, to)
    assert (off.waiting, off.delivered, off.failed_tries) == (0, 1, 2)


def test_one_that_answers_gone_is_disabled_at_once(tx: Connection, ground: Ground) -> None:
    to, other = endpoint(tx, ground.program), endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:1", "m:2")
    mine = [each for each in claim(tx, ground.program) if each.endpoint == to.id]
    assert settle(tx, went(mine[0], status=410)) == {to.public_id: delivery_steps.GONE}
    off = again(tx, to)
    assert (off.state, off.why) == (EndpointState.DISABLED, delivery_steps.GONE)
    assert states(tx, to) == [("m:1", "given-up"), ("m:1", "given-up"), ("m:2", "given-up")]
    assert again(tx, other).state is EndpointState.ACTIVE
    # What was under way and arrives all the same is delivered.
    settle(tx, went(mine[1]))
    assert states(tx, to)[2] == ("m:2", "delivered")
    settle(tx, *(went(each, status=500) for each in claim(tx, ground.program, NOW + HOLD)), now=NOW + HOLD)
    assert again(tx, to).state is EndpointState.DISABLED


def test_one_through_which_nothing_comes_for_days_is_disabled_and_nothing_is_given_up_before(
    tx: Connection, ground: Ground
) -> None:
    to = endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:1", "m:2")
    now = NOW
    disabled: dict[str, str] = {}
    while not disabled:
        assert {state for _, state in states(tx, to)} == {"waiting"}
        for each in claim(tx, ground.program, now):
            disabled |= settle(tx, went(each, now, status=500), now=now)
        # Someone tries about every hour; nobody has to.
        now = max(now + timedelta(minutes=50), again(tx, to).next_at or now)
    assert disabled == {to.public_id: "nothing came through for 5 days"}
    assert DISABLED_AFTER <= now - NOW < DISABLED_AFTER + timedelta(hours=1)
    assert {state for _, state in states(tx, to)} == {"given-up"}
    happen(tx, ground.program, "m:3", now=now)
    assert len(states(tx, to)) == 3
    # Enabled again, it gets what happens from now on, and what it missed by replay.
    webhooks.enable(tx, to.id)
    happen(tx, ground.program, "m:1", now=now)
    replayed = replay(tx, again(tx, to), now=now)
    assert replayed.count == 4
    order = []
    while found := claim(tx, ground.program, now):
        order += [(each.object, each.sequence) for each in found]
        settle(tx, *(went(each, now) for each in found), now=now)
    assert [sequence for of, sequence in order if of == "m:1"] == [1, 2, 3]
    assert len(order) == 5


def test_a_delivery_s_place_in_the_queue_follows_from_the_others(engine: Engine, ground: Ground) -> None:
    """Of each object at each endpoint exactly one delivery that waits may go, and it is the oldest."""
    with begin(engine) as tx:
        to = endpoint(tx, ground.program)
        for _ in range(3):
            happen(tx, ground.program, *(f"m:{number % 4}" for number in range(9)))
            settle(tx, *(went(each) for each in claim(tx, ground.program, limit=3)))
    with read(engine) as tx:
        rows = tx.execute(
            select(delivery_table.c.object, delivery_table.c.next_at)
            .where(delivery_table.c.endpoint == to.id, delivery_table.c.state == DeliveryState.WAITING)
            .order_by(delivery_table.c.event)
        ).all()
    seen: set[str] = set()
    for of, next_at in rows:
        assert (next_at is not None) == (of not in seen)
        seen.add(of)
