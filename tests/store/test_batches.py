"""A batch keeps what became of each item, in order, and counts how far they are."""

from collections.abc import Sequence

import pytest
from sqlalchemy import Engine, text

from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.mint import Reply
from nftloyalty.errors import Unknown
from nftloyalty.store import batches, intents
from nftloyalty.store.batches import BatchItem, NewBatch
from nftloyalty.store.engine import begin, read
from tests.store.build import NOW, Ground, accepted, finalise, include, prepared, program, sent, waiting_cards
from tests.store.test_plans import listening, sqlite_plans


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


def new_batch(ground: Ground, public_id: str, items: Sequence[BatchItem] = ()) -> NewBatch:
    return NewBatch(public_id, ground.program, Kind.MINT_CARD, 0, items)


def test_items_come_back_as_they_were_in_their_order(engine: Engine, ground: Ground) -> None:
    items = [
        BatchItem(Reply.KNOWN, 2**62),
        BatchItem(Reply.ACCEPTED, 1),
        BatchItem(Reply.ASKED_OTHERWISE, 7),
        BatchItem(Reply.AGAIN, 0xFF00),
    ]
    with begin(engine) as tx:
        made = batches.add(tx, new_batch(ground, "bat_1", items), NOW)
    with read(engine) as tx:
        row, found = batches.get(tx, ground.program, "bat_1")
    assert row == made
    assert (row.total, row.created_at, row.kind) == (4, NOW, Kind.MINT_CARD)
    assert found == items


def test_another_programs_batch_is_unknown(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        batches.add(tx, new_batch(ground, "bat_1"), NOW)
        tea = program(tx, ground.chain, "tea").id
        for asked in ((tea, "bat_1"), (ground.program, "bat_2")):
            with pytest.raises(Unknown):
                batches.get(tx, *asked)


def test_items_of_a_newer_version_are_not_guessed_at(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        batches.add(tx, new_batch(ground, "bat_1", [BatchItem(Reply.KNOWN, 1)]), NOW)
        tx.execute(text("UPDATE batches SET items = :items"), {"items": b"\2\1"})
        with pytest.raises(Unknown, match="newer version"):
            batches.get(tx, ground.program, "bat_1")


def test_batches_are_listed_the_newest_first(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        rows = [batches.add(tx, new_batch(ground, f"bat_{number}"), NOW) for number in range(5)]
        tea = Ground(ground.chain, program(tx, ground.chain, "tea").id, ground.signer, ground.epoch)
        batches.add(tx, new_batch(tea, "bat_tea"), NOW)
        first = batches.of_program(tx, ground.program, limit=2)
        assert first == [rows[4], rows[3]]
        assert batches.of_program(tx, ground.program, before=first[-1].id, limit=9) == [rows[2], rows[1], rows[0]]


def test_states_are_counted_and_final_is_what_the_index_knows_too(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        rows = accepted(tx, ground, range(10))
        slot, attempt = sent(tx, ground, waiting_cards(tx, ground, limit=4))
        include(tx, ground, slot.id, attempt, [intents.Landed(row.id, place) for place, row in enumerate(rows[:4])])
        assert finalise(tx, ground, slot.id) == set()
        sent(tx, ground, waiting_cards(tx, ground, limit=2))
        intents.reject(tx, [rows[9].id], NOW, error="no")
        others = {IntentState.BATCHED: 2, IntentState.RECEIVED: 3, IntentState.REJECTED: 1}
        ids = [row.id for row in rows]
        assert batches.count_states(tx, ids, 7) == others | {IntentState.FINAL: 4}
        assert batches.count_states(tx, ids, 6) == others | {IntentState.INCLUDED: 4}
        assert batches.count_states(tx, ids[2:5], 7) == {IntentState.FINAL: 2, IntentState.BATCHED: 1}
        assert batches.count_states(tx, [], 7) == {}


def test_what_is_asked_often_goes_by_index(engine: Engine, ground: Ground) -> None:
    if engine.dialect.name != "sqlite":
        return
    with begin(engine) as tx:
        batches.add(tx, new_batch(ground, "bat_1", [BatchItem(Reply.KNOWN, 1)]), NOW)
        accepted(tx, ground, range(10))
    with read(engine) as tx, listening(engine) as asked:
        batches.get(tx, ground.program, "bat_1")
        batches.of_program(tx, ground.program, before=9, limit=3)
        batches.count_states(tx, [1, 2, 3], 7)
    with read(engine) as tx:
        plans = sqlite_plans(tx, asked)
    assert len(plans) == 3
    for statement, plan in plans.items():
        steps = [step for step in plan if "VIRTUAL TABLE" not in step and step not in ("SCAN given", "SCAN anon_1")]
        assert not [step for step in steps if step.startswith("SCAN")], (statement, plan)
        assert "LIMIT ? OFFSET" in statement or "ORDER BY" not in statement or "TEMP B-TREE" not in str(plan), plan
