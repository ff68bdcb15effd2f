"""What is old is forgotten in small steps, and nothing else."""

from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import func, select

from nftloyalty.app import endpoints, forgetting
from nftloyalty.app.forgetting import Forgotten, forget_old
from nftloyalty.domain.answer import Said, answer_key
from nftloyalty.errors import BadInput
from nftloyalty.store import answers, tables
from nftloyalty.store.delivery_log import KEPT
from nftloyalty.store.engine import begin, read
from tests.app.hooked import Hooked, hooked
from tests.connect.receiver import Receiver

DAY = timedelta(days=1)


@pytest.fixture
def shop(tmp_path: Path, migrated_url: str) -> Iterator[Hooked]:
    found = hooked(tmp_path / "home", migrated_url)
    yield found
    found.app.close()


def answered(shop: Hooked, count: int, *, kept: int = 0) -> None:
    """Requests that were answered, some of them for ever."""
    with begin(shop.app.engine) as tx:
        keys = [answer_key("POST /v1/vouchers", str(number), None, kept=number < kept) for number in range(count)]
        answers.add(tx, shop.program.id, [(key, Said(201, "{}")) for key in keys], shop.app.now())


def rows(shop: Hooked) -> tuple[int, int, int]:
    """How many answers, deliveries and tries there are."""
    with read(shop.app.engine) as tx:
        answered, delivered, tried = (
            tx.execute(select(func.count()).select_from(table)).scalar_one()
            for table in (tables.answers, tables.deliveries, tables.delivery_tries)
        )
    return answered, delivered, tried


def test_old_answers_and_deliveries_are_forgotten_in_steps(shop: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(forgetting, "AT_ONCE", 3)
    answered(shop, 8, kept=1)
    with Receiver() as receiver:
        shop.endpoint(receiver.url)
        shop.happen(*(f"m:{number}" for number in range(7)))
        shop.deliver()
        shop.happen("m:1")
    assert rows(shop) == (8, 8, 7)
    assert forget_old(shop.app) == Forgotten(0, 0)
    shop.clock.forward(31 * DAY)
    assert forget_old(shop.app) == Forgotten(7, 0)
    shop.clock.forward(KEPT)
    assert forget_old(shop.app, lambda: True) == Forgotten(0, 0)
    assert forget_old(shop.app) == Forgotten(0, 7)
    assert forget_old(shop.app) == Forgotten(0, 0)
    assert rows(shop) == (1, 1, 0)


def test_a_range_of_which_deliveries_are_forgotten_is_replayed_as_a_whole_or_not_at_all(shop: Hooked) -> None:
    with Receiver() as receiver:
        made = shop.endpoint(receiver.url)
        endpoint = made.endpoint.public_id
        (first,) = shop.happen("m:1")
        shop.deliver()
        shop.clock.forward(KEPT + 2 * DAY)
        began = shop.clock.time
        (second,) = shop.happen("m:2")
        shop.deliver()
        forget_old(shop.app)
        for range_ in ({"first": first}, {"since": began - KEPT - 3 * DAY}, {"until": began + DAY}):
            with pytest.raises(BadInput) as refused:
                endpoints.replay(shop.app, shop.program, endpoint, **range_)
            assert refused.value.problems[0].what.startswith("begins more than 90 days ago")
        assert endpoints.replay(shop.app, shop.program, endpoint, first=second) == 0
        assert endpoints.replay(shop.app, shop.program, endpoint, since=began) == 0
        assert endpoints.replay(shop.app, shop.program, endpoint, first=first, also_delivered=True) == 2
        shop.deliver()
        assert endpoints.replay_one(shop.app, shop.program, endpoint, first) == 1
        shop.deliver()
        sent = [got.headers["webhook-id"] for got in receiver.got]
        assert (sent.count(first), sent.count(second)) == (3, 2)
        # One that is younger than what is forgotten can be given all that was before it.
        young = shop.endpoint(receiver.url).endpoint.public_id
        assert endpoints.replay(shop.app, shop.program, young, first=first) == 2
