from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from nftloyalty.domain.intent import IllegalTransition, IntentState, Kind, SlotState
from nftloyalty.errors import SigningProblem, Unknown
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Landed, Settled
from nftloyalty.store.slots import InFlight, SlotRow
from tests.store.build import (
    BLOCK,
    CONTRACT,
    NOW,
    OTHER_BLOCK,
    Ground,
    accepted,
    everything,
    fresh_hash,
    new_intent,
    prepared,
    reserved,
    sent,
    signed,
    waiting_cards,
    wallet,
)

LATER = NOW + timedelta(seconds=15)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx, nonce=5)


def refused(
    engine: Engine, write: Callable[..., object], *values: object, match: str = "slot", **named: object
) -> None:
    """`write(tx, ...)` is illegal, and leaves nothing behind once its transaction is rolled back."""
    with read(engine) as tx:
        before = everything(tx)
    with pytest.raises(IllegalTransition, match=match), begin(engine) as tx:
        write(tx, *values, **named)
    with read(engine) as tx:
        assert everything(tx) == before


def test_reserving_takes_the_next_nonce_and_batches_in_order(engine: Engine, ground: Ground) -> None:
    calldata = bytes(range(256)) * 100
    with begin(engine) as tx:
        members = accepted(tx, ground, [1, 2, 3])
        riding = [members[2], members[0], members[1]]
        slot = slots.reserve(
            tx, ground.signer, ground.epoch, Kind.MINT_CARD, CONTRACT, calldata, 2**200, 500_000, riding, LATER
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
        cancel_asked_at=None,
        created_at=LATER,
        updated_at=LATER,
    )
    assert [(each.id, each.position, each.state, each.updated_at) for each in batched] == [
        (member.id, place, IntentState.BATCHED, LATER) for place, member in enumerate(riding)
    ]


def test_reserving_refuses_what_is_asked_for_otherwise_by_now(engine: Engine, ground: Ground) -> None:
    """The calldata was made from what was read; withdrawn and asked for again, the same row says something else."""
    with begin(engine) as tx:
        same, changed = accepted(tx, ground, [1, 2])
        intents.cancel(tx, [changed.id], NOW)
        assert intents.ask_again(tx, [new_intent(ground, 2, args={"tier": 2, "expires_at": 0})], NOW) == 1
    refused(engine, reserved, ground, [same, changed], match=f"intent {changed.id}")
    with begin(engine) as tx:
        (now,) = intents.by_ids(tx, [changed.id])
        # In another order of its keys the same value is the same.
        turned = replace(now, args=dict(sorted(now.args.items(), reverse=True)))
        assert reserved(tx, ground, [turned, same]).nonce == 5


@pytest.mark.parametrize(
    "args", [{"data": "0x" + "ab" * 40, "to": wallet(3)}, {"name": 'Kopi "Łódź" 咖啡 \\ $[0]'}, {}]
)
def test_any_args_are_recognised_as_they_were_read(engine: Engine, ground: Ground, args: dict[str, object]) -> None:
    with begin(engine) as tx:
        rows = accepted(tx, ground, [1, 2], args=args)
        assert reserved(tx, ground, rows).nonce == 5


def test_five_hundred_are_batched_included_and_final(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        intents.accept_many(tx, [new_intent(ground, number) for number in range(500)], NOW)
        rows = waiting_cards(tx, ground, limit=500)
        turned = rows[250:] + rows[:250]
        slot, attempt = sent(tx, ground, turned)
        assert [each.id for each in intents.of_slot(tx, slot.id)] == [each.id for each in turned]
        passengers = intents.aboard(tx, [slot.id])[slot.id]
        assert [(each.intent, each.program, each.recipient, each.stamp_type) for each in passengers] == [
            (each.id, each.program, each.recipient, 0) for each in turned
        ]
        slots.set_included(tx, slot.id, attempt.tx_hash, 7, BLOCK, True, NOW)
        landed = [
            Landed(each.id, None if place % 100 == 0 else 3 * place, 2 if place % 100 == 0 else None)
            for place, each in enumerate(turned)
        ]
        intents.mark_included(tx, slot.id, landed, NOW)
        included = intents.of_slot(tx, slot.id)
        assert [(each.id, each.log_index, each.code) for each in included] == [
            (each.intent, each.log_index, each.code) for each in landed
        ]
        assert {each.state for each in included} == {IntentState.INCLUDED}
        slots.set_final(tx, slot.id, BLOCK, NOW)
        assert intents.mark_final(tx, slot.id, NOW) == Settled(final=495, rejected=5, unproven=0)


def test_what_is_aboard_of_several_slots_comes_apart(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        one, two, three = accepted(tx, ground, [1, 2, 3])
        full = reserved(tx, ground, [three, one]).id
        other = reserved(tx, ground, [two]).id
        empty = reserved(tx, ground, []).id
        found = intents.aboard(tx, [other, empty, full])
        assert {slot: [each.intent for each in riding] for slot, riding in found.items()} == {
            other: [two.id],
            empty: [],
            full: [three.id, one.id],
        }


def test_only_what_no_block_holds_can_be_asked_to_be_cancelled(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        bare = reserved(tx, ground, accepted(tx, ground, [1]))
        sent(tx, ground, accepted(tx, ground, [2]))
        included, attempt = sent(tx, ground, accepted(tx, ground, [3]))
        slots.set_included(tx, included.id, attempt.tx_hash, 7, BLOCK, True, NOW)
        assert slots.to_cancel(tx, ground.signer) == []
        assert slots.ask_cancel(tx, ground.signer, [5], LATER) == 1
        assert slots.ask_cancel(tx, ground.signer, [5, 7, 99], LATER) == 0
        assert slots.get(tx, bare.id).cancel_asked_at == LATER
        assert [each.slot.nonce for each in slots.to_cancel(tx, ground.signer)] == [5]
        assert slots.ask_cancel(tx, ground.signer, None, LATER) == 1
        assert [(each.slot.nonce, len(each.attempts)) for each in slots.to_cancel(tx, ground.signer)] == [
            (5, 0),
            (6, 1),
        ]
        # Once there is an empty attempt nothing more is to be made.
        signed(tx, ground, bare.id, noop=True)
        assert [each.slot.nonce for each in slots.to_cancel(tx, ground.signer)] == [6]
        assert slots.to_cancel(tx, 10**6) == []


def test_a_watched_slot_tells_its_empty_attempts(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot, first = sent(tx, ground, accepted(tx, ground, [1]))
        empty = signed(tx, ground, slot.id, noop=True)
        (found,) = slots.watched(tx, ground.signer)
    assert found.hashes == (first.tx_hash, empty.tx_hash)
    assert found.noops == {empty.tx_hash}


def test_gas_in_flight_is_that_of_what_no_block_holds(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        assert slots.in_flight(tx, ground.signer) == InFlight(0, 0)
        reserved(tx, ground, accepted(tx, ground, [1]))
        slot, attempt = sent(tx, ground, accepted(tx, ground, [2]))
        assert slots.in_flight(tx, ground.signer) == InFlight(2, 1_000_000)
        slots.set_included(tx, slot.id, attempt.tx_hash, 7, BLOCK, True, NOW)
        assert slots.in_flight(tx, ground.signer) == InFlight(1, 500_000)


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
    other = {
        "batched": batched,
        "another signer's": foreign,
        "gone": replace(waits, id=10**6),
        "named twice": waits,
    }[wrong]
    with pytest.raises((IllegalTransition, Unknown), match=f"intent {other.id}"), begin(engine) as tx:
        slots.reserve(tx, ground.signer, ground.epoch, Kind.MINT_CARD, CONTRACT, b"", 0, 1, [waits, other], NOW)
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
        assert slots.in_flight(tx, ground.signer).count == 3
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
