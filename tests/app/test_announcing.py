"""What the index finds out is told, of every program and whatever the node does on the way."""

from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pytest import MonkeyPatch
from sqlalchemy import Connection, select

from nftloyalty.app import announcing
from nftloyalty.app.announcing import announce
from nftloyalty.app.indexing import rebuild
from nftloyalty.domain.event import happenings
from nftloyalty.store import announcements, index, tables
from nftloyalty.store.announcements import News
from nftloyalty.store.columns import json_text
from nftloyalty.store.engine import begin, read
from nftloyalty.store.events import EventRow
from nftloyalty.store.tables import Phase
from tests.app.desk import ANY_HISTORY, FINALITY, Desk, OpenDesk, begin_history, come_clean, desks, play, spoken
from tests.domain.build import NOW
from tests.store.history import Key, net


@pytest.fixture
def desk_of(tmp_path: Path, sqlite_template: Path) -> Iterator[OpenDesk]:
    with desks(tmp_path, sqlite_template) as opening:
        yield opening


@pytest.fixture
def desk(desk_of: OpenDesk, migrated_url: str) -> Desk:
    """On each database."""
    return desk_of(Random(20_270_302), migrated_url)  # noqa: S311 a history, no secret


def told(desk: Desk, number: int = 1) -> list[EventRow]:
    query = select(tables.events).where(tables.events.c.program == desk.programs[number]).order_by(tables.events.c.id)
    with read(desk.app.engine) as tx:
        return [EventRow(*row) for row in tx.execute(query)]


def wanted(desk: Desk, number: int = 1) -> dict[Key, Phase]:
    at = desk.position(number)
    with read(desk.app.engine) as tx:
        facts = index.facts(tx, desk.programs[number], 0, at.number)
    return {
        (each.type.value, each.object, json_text(dict(each.data))): (
            Phase.FINAL if each.block <= at.final_number else Phase.PENDING
        )
        for each in happenings(facts)
    }


def tell(desk: Desk) -> None:
    while announce(desk.app, desk.attached.row):
        pass


def test_all_programs_of_a_chain_are_told_of_in_short_steps(desk: Desk, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(announcing, "LOGS_AT_ONCE", 5)
    for number in (1, 2):
        desk.open(number)
    desk.chain.grow(30)
    desk.catch_up()
    steps = 0
    while announce(desk.app, desk.attached.row):
        steps += 1
    assert steps > 5
    for number in (1, 2):
        assert net(told(desk, number)) == wanted(desk, number)
        assert {row.phase for row in told(desk, number)} == {Phase.PENDING, Phase.FINAL}


def test_a_reorg_is_told_of(desk: Desk) -> None:
    desk.open()
    desk.chain.grow(20)
    desk.catch_up()
    tell(desk)
    desk.chain.reorg(4, 5)
    desk.catch_up()
    assert Phase.REVERTED in {row.phase for row in told(desk)}
    tell(desk)
    assert net(told(desk)) == wanted(desk)


def test_a_rebuilt_index_tells_nothing_twice(desk: Desk) -> None:
    desk.open()
    desk.chain.grow(20)
    desk.catch_up()
    tell(desk)
    before = told(desk)
    rebuild(desk.app, desk.programs[1])
    tell(desk)
    desk.catch_up()
    tell(desk)
    assert told(desk) == before


def test_what_another_process_tells_first_is_not_told_twice(desk: Desk, monkeypatch: MonkeyPatch) -> None:
    desk.open()
    desk.chain.grow(20)
    desk.catch_up()
    look = announcements.look

    def overtaken(tx: Connection, program: int, limit: int) -> News | None:
        news = look(tx, program, limit)
        assert news is not None
        with begin(desk.app.engine) as other:
            announcements.announce(other, news, NOW)
        return news

    with monkeypatch.context() as patched:
        patched.setattr(announcements, "look", overtaken)
        assert not announce(desk.app, desk.attached.row)
    tell(desk)
    assert net(told(desk)) == wanted(desk)


@settings(ANY_HISTORY, max_examples=12)
@given(st.integers(0, 1 << 32))
def test_after_any_history_events_add_up_to_the_index(desk_of: OpenDesk, seed: int) -> None:
    """With a node that lags, lies and hangs up, and logs that are left out until they are final."""
    random = Random(seed)  # noqa: S311 a history, no secret
    desk = begin_history(desk_of, random)
    desk.indexer.step()
    for _ in play(desk, random, steps=12):
        fresh = [place for block in desk.chain.chain[-3:] for place in sorted(spoken(block))]
        desk.chain.lies.omit, desk.chain.lies.once = {place for place in fresh if random.random() < 0.2}, True
        for _ in range(random.randint(0, 2)):
            announce(desk.app, desk.attached.row)
        for number in desk.programs:
            net(told(desk, number))
    come_clean(desk)
    for _ in range(FINALITY + 2):
        desk.chain.grow(1, 0)
        desk.catch_up()
        announce(desk.app, desk.attached.row)
    tell(desk)
    desk.assert_equals_replay()
    for number in desk.programs:
        assert net(told(desk, number)) == wanted(desk, number)
