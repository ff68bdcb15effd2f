"""The log of an endpoint: newest first, with the last try of each, for as long as it is promised."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine

from nftloyalty.store import deliveries, delivery_log
from nftloyalty.store.delivery_log import KEPT
from nftloyalty.store.engine import begin
from nftloyalty.store.tables import DeliveryState
from tests.store.build import NOW, Ground, prepared, run_together
from tests.store.happenings import again, claim, deliver_all, endpoint, happen, replay, settle, states, tries, went

SECOND = timedelta(seconds=1)
LONG_AFTER = NOW + KEPT + timedelta(days=2)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


@pytest.fixture
def tx(engine: Engine, ground: Ground) -> Iterator[Connection]:
    with begin(engine) as connection:
        yield connection


def test_the_log_is_newest_first_with_the_last_try_of_each(tx: Connection, ground: Ground) -> None:
    to = endpoint(tx, ground.program)
    events = happen(tx, ground.program, *(f"m:{number}" for number in range(5)))
    first, *_ = claim(tx, ground.program, limit=1)
    settle(tx, went(first, status=500))
    (probe,) = claim(tx, ground.program, NOW + 5 * SECOND)
    settle(tx, went(probe), now=NOW + 5 * SECOND)
    log = delivery_log.of_endpoint(tx, to.id)
    assert [each.event_id for each in log] == [each.public_id for each in reversed(events)]
    assert (log[-1].state, log[-1].status, log[-1].tries) == (DeliveryState.WAITING, 500, 1)
    assert [each.status for each in log if each.state is DeliveryState.DELIVERED] == [204]
    pages = delivery_log.of_endpoint(tx, to.id, limit=2)
    while more := delivery_log.of_endpoint(tx, to.id, before=pages[-1].id, limit=2):
        pages += more
    assert pages == log
    assert len(delivery_log.of_endpoint(tx, to.id, state=DeliveryState.WAITING)) == 4 == again(tx, to).waiting


def test_what_ended_long_ago_is_forgotten_with_its_tries_and_what_waits_never(tx: Connection, ground: Ground) -> None:
    to, off = endpoint(tx, ground.program), endpoint(tx, ground.program)
    happen(tx, ground.program, "m:1", "m:2", "m:3", "m:3")
    mine = [each for each in claim(tx, ground.program) if each.endpoint == to.id]
    settle(tx, *(went(each) for each in mine[:2]), went(mine[2], status=500))
    deliveries.disable(tx, off, "by hand", NOW + SECOND)
    assert delivery_log.forget_old(tx, NOW + KEPT + timedelta(hours=1), 100) == 0
    assert [delivery_log.forget_old(tx, LONG_AFTER, 4) for _ in range(3)] == [4, 2, 0]
    assert states(tx, to) == [("m:3", "waiting")] * 2
    assert states(tx, off) == []
    assert tries(tx) == 1
    assert (again(tx, to).waiting, again(tx, to).delivered) == (2, 2)


def test_what_is_asked_for_again_is_not_forgotten(engine: Engine, ground: Ground) -> None:
    """Not even while both go on at the same time."""
    with begin(engine) as tx:
        to = endpoint(tx, ground.program)
        happen(tx, ground.program, *(f"m:{number}" for number in range(200)))
        deliver_all(tx, ground.program)

    def forget() -> None:
        for _ in range(40):
            with begin(engine) as tx:
                delivery_log.forget_old(tx, LONG_AFTER, 5)

    def ask() -> None:
        with begin(engine) as tx:
            replay(tx, again(tx, to), LONG_AFTER, also_delivered=True)

    run_together([forget, ask])
    with begin(engine) as tx:
        assert [state for _, state in states(tx, to)] == ["waiting"] * 200
        assert again(tx, to).waiting == 200
