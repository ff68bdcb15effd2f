from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from nftloyalty.domain.intent import IllegalTransition, IntentState, Kind, SlotState
from nftloyalty.errors import SigningProblem, Unknown
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.slots import SlotRow
from tests.store.build import (
    BLOCK,
    CONTRACT,
    NOW,
    OTHER_BLOCK,
    Ground,
    accepted,
    everything,
    fresh_hash,
    prepared,
    reserved,
    sent,
    signed,
    wallet,
)

LATER = NOW + timedelta(seconds=15)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx, nonce=5)


def refused(engine: Engine, write: Callable[..., object], *values: object, **named: object) -> None:
    """`write(tx, ...)` is illegal, and leaves nothing behind once its transaction is rolled back."""
    with read(engine) as tx:
        before = everything(tx)
    with pytest.raises(IllegalTransition, match="slot"), begin(engine) as tx:
        write(tx, *values, **named)
    with read(engine) as tx:
        assert everything(tx) == before


def test_reserving_takes_the_next_nonce_and_batches_in_order(engine: Engine, ground: Ground) -> None:
    calldata = bytes(range(256)) * 100
    with begin(engine) as tx:
        members = accepted(tx, ground, [1, 2, 3])
        ids = [members[2].id, members[0].id, members[1].id]
        slot = slots.reserve(
            tx, ground.signer, ground.epoch, Kind.MINT_CARD, CONTRACT, calldata, 2**200, 500_000, ids, LATER
        )
        assert slots.get(tx, slot.id) == slot
        assert signers.get(tx, ground.signer).next_nonce == 6
        batched = intents.of_slot(tx, slot.id)
    assert slot == SlotRow(
        id=slot.id,
        signer=ground.signer,
        nonce=5,
        kind=Kind.MINT_CARD,
        to_address=CONTRACT,
        calldata=calldata,
        value=2**200,
        gas_limit=500_000,
        state=SlotState.RESERVED,
        epoch=ground.epoch,
        tx_hash=None,
        block_number=None,
        block_hash=None,
        succeeded=None,
        created_at=LATER,
        updated_at=LATER,
    )
    assert [(each.id, each.position, each.state, each.updated_at) for each in batched] == [
        (intent, place, IntentState.BATCHED, LATER) for place, intent in enumerate(ids)
    ]


def test_a_slot_may_be_for_no_intent_and_for_no_address(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot = slots.reserve(tx, ground.signer, ground.epoch, Kind.DEPLOY, None, b"\x60\x80", 0, 3_000_000, [], NOW)
        assert (slot.nonce, slot.to_address, intents.of_slot(tx, slot.id)) == (5, None, [])


@pytest.mark.parametrize("wrong", ["batched", "another signer's", "gone", "named twice"])
def test_reserving_takes_all_of_its_intents_or_nothing(engine: Engine, ground: Ground, wrong: str) -> None:
    with begin(engine) as tx:
        waits, batched = accepted(tx, ground, [1, 2])
        reserved(tx, ground, [batched])
        (foreign,) = accepted(tx, ground, [3], signer=signers.register(tx, ground.chain, wallet(9)).id)
        before = everything(tx)
    ids = {"batched": batched.id, "another signer's": foreign.id, "gone": 10**6, "named twice": waits.id}
    with pytest.raises((IllegalTransition, Unknown), match=f"intent {ids[wrong]}"), begin(engine) as tx:
        slots.reserve(tx, ground.signer, ground.epoch, Kind.MINT_CARD, CONTRACT, b"", 0, 1, [waits.id, ids[wrong]], NOW)
    with read(engine) as tx:
        assert everything(tx) == before


def test_signed_bytes_are_stored_and_the_slot_is_signed(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot = reserved(tx, ground, accepted(tx, ground, [1]))
        tx_hash = fresh_hash()
        attempt = slots.add_attempt(tx, slot.id, b"\x02raw", tx_hash, 2**70, 10**9, LATER, epoch=ground.epoch)
        (found,) = slots.open_slots(tx, ground.signer)
    assert found.slot.state is SlotState.SIGNED
    assert found.attempts == (attempt,)
    assert (attempt.slot, attempt.seq, attempt.tx_hash, attempt.raw) == (slot.id, 0, tx_hash, b"\x02raw")
    assert (attempt.max_fee_wei, attempt.priority_fee_wei, attempt.noop) == (2**70, 10**9, False)
    assert (attempt.created_at, attempt.first_sent_at, attempt.last_sent_at) == (LATER, None, None)


def test_a_replacement_follows_in_the_same_slot(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot, first = sent(tx, ground, accepted(tx, ground, [1]))
        second = signed(tx, ground, slot.id)
        noop = signed(tx, ground, slot.id, noop=True)
        (found,) = slots.open_slots(tx, ground.signer)
    assert [each.id for each in found.attempts] == [first.id, second.id, noop.id]
    assert [each.seq for each in found.attempts] == [0, 1, 2]
    assert [each.noop for each in found.attempts] == [False, False, True]
    assert found.slot.state is SlotState.BROADCASTING


def test_the_same_bytes_are_never_stored_twice(engine: Engine, ground: Ground) -> None:
    with pytest.raises(IntegrityError), begin(engine) as tx:
        for number in (1, 2):
            slot = reserved(tx, ground, accepted(tx, ground, [number]))
            slots.add_attempt(tx, slot.id, b"raw", "0x" + "11" * 32, 1, 1, NOW, epoch=ground.epoch)


def test_sending_is_written_down_before_it_happens_and_each_time(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot = reserved(tx, ground, accepted(tx, ground, [1]))
        attempt = signed(tx, ground, slot.id)
        slots.mark_sent(tx, attempt.id, NOW, epoch=ground.epoch)
        slots.mark_sent(tx, attempt.id, LATER, epoch=ground.epoch)
        (found,) = slots.open_slots(tx, ground.signer)
    assert found.slot.state is SlotState.BROADCASTING
    assert (found.attempts[0].first_sent_at, found.attempts[0].last_sent_at) == (NOW, LATER)


def test_nothing_is_sent_or_signed_for_a_slot_that_is_included(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot, attempt = sent(tx, ground, accepted(tx, ground, [1]))
        slots.set_included(tx, slot.id, attempt.tx_hash, 7, BLOCK, True, NOW)
    refused(engine, slots.mark_sent, attempt.id, NOW, epoch=ground.epoch)
    refused(engine, signed, ground, slot.id)


def test_what_a_node_said_is_kept_short_for_people(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        _, attempt = sent(tx, ground, accepted(tx, ground, [1]))
        slots.note_error(tx, attempt.id, "nonce too low" * 1_000)
        (found,) = slots.open_slots(tx, ground.signer)
    assert found.slot.state is SlotState.BROADCASTING
    assert str(found.attempts[0].last_error).startswith("nonce too low")
    assert len(str(found.attempts[0].last_error)) == 2_000


def test_open_slots_come_lowest_nonce_first_without_the_final_ones(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        made = [sent(tx, ground, accepted(tx, ground, [number])) for number in range(4)]
        slots.set_included(tx, made[0][0].id, made[0][1].tx_hash, 7, BLOCK, True, NOW)
        slots.set_included(tx, made[2][0].id, made[2][1].tx_hash, 7, BLOCK, True, NOW)
        slots.set_final(tx, made[0][0].id, BLOCK, NOW)
        last = reserved(tx, ground, accepted(tx, ground, [9]))
        assert [each.slot.nonce for each in slots.open_slots(tx, ground.signer)] == [6, 7, 8, 9]
        assert [each.slot.nonce for each in slots.open_slots(tx, ground.signer, {SlotState.INCLUDED})] == [7]
        (fresh,) = slots.open_slots(tx, ground.signer, [SlotState.RESERVED])
        assert (fresh.slot, fresh.attempts) == (last, ())
        assert slots.not_included_count(tx, ground.signer) == 3
        assert slots.open_slots(tx, 10**6) == []


def test_watched_slots_are_those_that_may_be_on_chain_with_all_their_hashes(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        first, one = sent(tx, ground, accepted(tx, ground, [1]))
        two = signed(tx, ground, first.id)
        slots.mark_sent(tx, two.id, LATER, epoch=ground.epoch)
        second, three = sent(tx, ground, accepted(tx, ground, [2]))
        slots.set_included(tx, second.id, three.tx_hash, 7, BLOCK, False, NOW)
        signed(tx, ground, reserved(tx, ground, accepted(tx, ground, [3])).id)
        reserved(tx, ground, accepted(tx, ground, [4]))
        watched = slots.watched(tx, ground.signer)
    assert [each.id for each in watched] == [first.id, second.id]
    assert watched[0].hashes == (one.tx_hash, two.tx_hash)
    assert watched[0].last_sent_at == LATER
    assert (watched[0].state, watched[0].tx_hash, watched[0].succeeded) == (SlotState.BROADCASTING, None, None)
    included = watched[1]
    assert (included.nonce, included.state, included.tx_hash) == (6, SlotState.INCLUDED, three.tx_hash)
    assert (included.block_number, included.block_hash, included.succeeded) == (7, BLOCK, False)


def test_only_an_attempt_of_the_slot_can_be_included(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot, _ = sent(tx, ground, accepted(tx, ground, [1]))
        _, others = sent(tx, ground, accepted(tx, ground, [2]))
    for tx_hash in (others.tx_hash, fresh_hash()):
        refused(engine, slots.set_included, slot.id, tx_hash, 7, BLOCK, True, NOW)


def test_a_final_slot_keeps_what_it_was_included_by(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot, attempt = sent(tx, ground, accepted(tx, ground, [1]))
        slots.set_included(tx, slot.id, attempt.tx_hash, 7, BLOCK, True, NOW)
        slots.set_final(tx, slot.id, BLOCK, LATER)
        found = slots.get(tx, slot.id)
    assert (found.state, found.tx_hash, found.block_number) == (SlotState.FINAL, attempt.tx_hash, 7)
    assert (found.block_hash, found.succeeded, found.updated_at) == (BLOCK, True, LATER)


def test_a_slot_ends_as_what_its_transaction_did(engine: Engine, ground: Ground) -> None:
    """Final only if carried out, reverted only if reverted, no-op only by the empty attempt, and only in its block."""
    ends = {
        "carried out": slots.set_final,
        "reverted": slots.set_final_reverted,
        "no-op": slots.set_final_noop,
    }
    for number, did in enumerate(ends):
        with begin(engine) as tx:
            slot, attempt = sent(tx, ground, accepted(tx, ground, [number]))
            if did == "no-op":
                attempt = signed(tx, ground, slot.id, noop=True)
                slots.mark_sent(tx, attempt.id, NOW, epoch=ground.epoch)
            slots.set_included(tx, slot.id, attempt.tx_hash, 7, BLOCK, did != "reverted", NOW)
        for name, end in ends.items():
            refused(engine, end, slot.id, OTHER_BLOCK, NOW)
            if name != did:
                refused(engine, end, slot.id, BLOCK, NOW)
        with begin(engine) as tx:
            ends[did](tx, slot.id, BLOCK, NOW)
        for end in ends.values():
            refused(engine, end, slot.id, BLOCK, NOW)


def test_a_reorged_slot_is_under_way_again_with_the_same_bytes(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot, attempt = sent(tx, ground, accepted(tx, ground, [1]))
        slots.set_included(tx, slot.id, attempt.tx_hash, 7, BLOCK, True, NOW)
    refused(engine, slots.back_to_broadcasting, slot.id, OTHER_BLOCK, NOW)
    with begin(engine) as tx:
        slots.back_to_broadcasting(tx, slot.id, BLOCK, NOW)
        (found,) = slots.open_slots(tx, ground.signer)
        assert found.slot == slot
        assert found.attempts[0].raw == attempt.raw
    refused(engine, slots.back_to_broadcasting, slot.id, BLOCK, NOW)


def test_what_is_final_stays_final(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot, attempt = sent(tx, ground, accepted(tx, ground, [1]))
        slots.set_included(tx, slot.id, attempt.tx_hash, 7, BLOCK, True, NOW)
        slots.set_final(tx, slot.id, BLOCK, NOW)
    refused(engine, slots.back_to_broadcasting, slot.id, BLOCK, NOW)
    refused(engine, slots.set_included, slot.id, attempt.tx_hash, 8, OTHER_BLOCK, True, NOW)
    refused(engine, slots.set_foreign, slot.id, NOW)
    refused(engine, slots.mark_sent, attempt.id, NOW, epoch=ground.epoch)
    refused(engine, signed, ground, slot.id)


def test_foreign_nonces_are_recorded_only_while_the_signer_is_halted(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        reserved(tx, ground, accepted(tx, ground, [1]))
        with pytest.raises(SigningProblem, match="not halted"):
            slots.record_foreign(tx, ground.signer, 9, NOW)
        signers.halt(tx, ground.signer, "the chain is at 9")
        assert slots.record_foreign(tx, ground.signer, 9, NOW) == 3
        assert slots.record_foreign(tx, ground.signer, 9, NOW) == 0
        assert slots.record_foreign(tx, ground.signer, 2, NOW) == 0
        signers.resume(tx, ground.signer)
        assert reserved(tx, ground, accepted(tx, ground, [2])).nonce == 9
        assert [each.slot.nonce for each in slots.open_slots(tx, ground.signer)] == [5, 9]


def test_an_unknown_slot_or_attempt_is_said_to_be_so(engine: Engine, ground: Ground) -> None:
    asks: list[Callable[[Connection], object]] = [
        lambda tx: slots.get(tx, 1),
        lambda tx: signed(tx, ground, 1),
        lambda tx: slots.mark_sent(tx, 1, NOW, epoch=ground.epoch),
        lambda tx: slots.set_final(tx, 1, BLOCK, NOW),
    ]
    with begin(engine) as tx:
        for ask in asks:
            with pytest.raises(Unknown):
                ask(tx)
