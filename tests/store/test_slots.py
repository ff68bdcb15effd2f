from collections.abc import Callable
from datetime import datetime, timedelta

import pytest
from sqlalchemy import Connection, Engine

from nftloyalty.domain.intent import SlotState
from nftloyalty.errors import SigningProblem, Unknown
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin
from nftloyalty.store.slots import InFlight
from tests.store.build import (
    BLOCK,
    NOW,
    OTHER_BLOCK,
    Ground,
    accepted,
    finalise,
    include,
    mark_sent,
    prepared,
    refused,
    reserved,
    sent,
    signed,
)

LATER = NOW + timedelta(seconds=15)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx, nonce=5)


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
        include(tx, ground, included.id, attempt)
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
        include(tx, ground, slot.id, attempt)
        assert slots.in_flight(tx, ground.signer) == InFlight(1, 500_000)


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
        include(tx, ground, made[0][0].id, made[0][1])
        include(tx, ground, made[2][0].id, made[2][1])
        finalise(tx, ground, made[0][0].id)
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
        mark_sent(tx, ground, two, now=LATER)
        second, three = sent(tx, ground, accepted(tx, ground, [2]))
        include(tx, ground, second.id, three, succeeded=False)
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


def test_a_slot_ends_as_what_its_transaction_did(engine: Engine, ground: Ground) -> None:
    """Final only if carried out, reverted only if reverted, no-op only by the empty attempt, and only in its block."""
    ends: dict[str, Callable[[Connection, int, str, datetime], object]] = {
        "carried out": lambda tx, slot, block_hash, now: finalise(tx, ground, slot, block_hash=block_hash, now=now),
        "reverted": slots.set_final_reverted,
        "no-op": slots.set_final_noop,
    }
    for number, did in enumerate(ends):
        with begin(engine) as tx:
            slot, attempt = sent(tx, ground, accepted(tx, ground, [number]))
            if did == "no-op":
                attempt = signed(tx, ground, slot.id, noop=True)
                mark_sent(tx, ground, attempt)
            include(tx, ground, slot.id, attempt, succeeded=did != "reverted")
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
        include(tx, ground, slot.id, attempt)
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
        include(tx, ground, slot.id, attempt)
        finalise(tx, ground, slot.id)
    refused(engine, slots.back_to_broadcasting, slot.id, BLOCK, NOW)
    refused(engine, include, ground, slot.id, attempt, block_hash=OTHER_BLOCK)
    refused(engine, slots.set_foreign, slot.id, NOW)
    refused(engine, mark_sent, ground, attempt)
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


def test_an_unknown_slot_is_said_to_be_so(engine: Engine, ground: Ground) -> None:
    asks: list[Callable[[Connection], object]] = [
        lambda tx: slots.get(tx, 1),
        lambda tx: slots.set_final_reverted(tx, 1, BLOCK, NOW),
        lambda tx: slots.back_to_broadcasting(tx, 1, BLOCK, NOW),
        lambda tx: slots.set_foreign(tx, 1, NOW),
    ]
    with begin(engine) as tx:
        for ask in asks:
            with pytest.raises(Unknown):
                ask(tx)
