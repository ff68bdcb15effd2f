"""The sending engine's steps, with several slots at once: all of them or none."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.errors import SignerHalted, Unknown
from nftloyalty.store import intents, sending, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Batchable, Landed
from nftloyalty.store.sending import Included
from nftloyalty.store.slots import AttemptRow, SlotRow
from tests.store.build import (
    BLOCK,
    CONTRACT,
    NOW,
    OTHER_BLOCK,
    Ground,
    accepted,
    everything,
    finalise,
    fresh_hash,
    in_state,
    inclusion,
    mark_sent,
    new_attempt,
    new_intent,
    new_slot,
    prepared,
    refused,
    reserved,
    sent,
    settle,
    signed,
    waiting_cards,
    wallet,
)

LATER = NOW + timedelta(seconds=15)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx, nonce=5)


def reserve(tx: Connection, ground: Ground, *groups: Sequence[Batchable]) -> list[SlotRow]:
    return sending.reserve(tx, ground.signer, ground.epoch, [new_slot(group) for group in groups], NOW)


def store(tx: Connection, ground: Ground, *slot_ids: int) -> list[AttemptRow]:
    return sending.store_attempts(tx, ground.signer, ground.epoch, [new_attempt(slot) for slot in slot_ids], NOW)


def outcomes(tx: Connection, slot: int) -> list[tuple[IntentState, int | None, int | None]]:
    return [(row.state, row.log_index, row.code) for row in intents.of_slot(tx, slot)]


# ------------------------------------------------------------------------------------------------------------- reserve


def test_reserving_takes_the_next_nonces_and_batches_in_order(engine: Engine, ground: Ground) -> None:
    calldata = bytes(range(256)) * 100
    with begin(engine) as tx:
        members = accepted(tx, ground, [1, 2, 3, 4])
        riding = [members[2], members[0], members[1]]
        new = [
            new_slot(riding, calldata=calldata, value=2**200),
            new_slot([], kind=Kind.DEPLOY, to=None, calldata=b"\x60\x80", gas_limit=3_000_000),
            new_slot([members[3]]),
        ]
        made = sending.reserve(tx, ground.signer, ground.epoch, new, LATER)
        assert [slots.get(tx, slot.id) for slot in made] == made
        assert signers.get(tx, ground.signer).next_nonce == 8
        batched = [intents.of_slot(tx, slot.id) for slot in made]
    assert made[0] == SlotRow(
        id=made[0].id,
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
    assert [(slot.nonce, slot.kind, slot.to_address, slot.calldata, slot.gas_limit) for slot in made[1:]] == [
        (6, Kind.DEPLOY, None, b"\x60\x80", 3_000_000),
        (7, Kind.MINT_CARD, CONTRACT, b"\x01", 500_000),
    ]
    assert [[(row.id, row.position, row.state, row.updated_at) for row in rows] for rows in batched] == [
        [(member.id, place, IntentState.BATCHED, LATER) for place, member in enumerate(riding)],
        [],
        [(members[3].id, 0, IntentState.BATCHED, LATER)],
    ]


def test_reserving_refuses_what_is_asked_for_otherwise_by_now(engine: Engine, ground: Ground) -> None:
    """The calldata was made from what was read; withdrawn and asked for again, the same row says something else."""
    with begin(engine) as tx:
        one, two, changed = accepted(tx, ground, [1, 2, 3])
        intents.cancel(tx, [changed.id], NOW)
        assert intents.ask_again(tx, [new_intent(ground, 3, args={"tier": 2, "expires_at": 0})], NOW) == 1
    refused(engine, reserve, ground, [one], [two, changed], match=f"intent {changed.id}")
    with begin(engine) as tx:
        (now,) = intents.by_ids(tx, [changed.id])
        # In another order of its keys the same value is the same.
        turned = replace(now, args=dict(sorted(now.args.items(), reverse=True)))
        assert [slot.nonce for slot in reserve(tx, ground, [one], [turned, two])] == [5, 6]


@pytest.mark.parametrize(
    "args", [{"data": "0x" + "ab" * 40, "to": wallet(3)}, {"name": 'Kopi "Łódź" 咖啡 \\ $[0]'}, {}]
)
def test_any_args_are_recognised_as_they_were_read(engine: Engine, ground: Ground, args: dict[str, object]) -> None:
    with begin(engine) as tx:
        one, two, three = accepted(tx, ground, [1, 2, 3], args=args)
        assert [slot.nonce for slot in reserve(tx, ground, [one, two], [three])] == [5, 6]


@pytest.mark.parametrize(
    "wrong", ["batched", "another signer's", "gone", "named twice", "named by another slot", "said to be another's"]
)
def test_reserving_takes_all_of_its_intents_or_nothing(engine: Engine, ground: Ground, wrong: str) -> None:
    with begin(engine) as tx:
        first, waits, batched = accepted(tx, ground, [1, 2, 3])
        reserved(tx, ground, [batched])
        (foreign,) = accepted(tx, ground, [4], signer=signers.register(tx, ground.chain, wallet(9)).id)
    other = {
        "batched": batched,
        "another signer's": foreign,
        "gone": replace(waits, id=10**6),
        "named twice": waits,
        "named by another slot": first,
        "said to be another's": replace(foreign, signer=ground.signer),
    }[wrong]
    refused(engine, reserve, ground, [first], [waits, other], match=rf"intent {other.id}\b")


def test_a_halted_signer_makes_none_of_its_slots(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        one, two = accepted(tx, ground, [1, 2])
        signers.halt(tx, ground.signer, "foreign nonce 7")
        before = everything(tx)
    with pytest.raises(SignerHalted, match="foreign nonce 7"), begin(engine) as tx:
        reserve(tx, ground, [one], [two])
    with read(engine) as tx:
        assert everything(tx) == before


# ------------------------------------------------------------------------------------------------------------ attempts


def test_signed_bytes_are_stored_and_their_slots_are_signed(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        one, two = reserve(tx, ground, accepted(tx, ground, [1]), accepted(tx, ground, [2]))
        # In another order than that of the slots.
        new = [new_attempt(two.id, raw=b"\x02two", max_fee_wei=2**70), new_attempt(one.id, raw=b"\x02one", noop=True)]
        made = sending.store_attempts(tx, ground.signer, ground.epoch, new, LATER)
        found = slots.open_slots(tx, ground.signer)
    assert [each.slot.state for each in found] == [SlotState.SIGNED, SlotState.SIGNED]
    assert [each.slot.updated_at for each in found] == [LATER, LATER]
    assert [each.attempts for each in found] == [(made[1],), (made[0],)]
    assert made[0] == AttemptRow(
        id=made[0].id,
        slot=two.id,
        seq=0,
        tx_hash=new[0].tx_hash,
        raw=b"\x02two",
        max_fee_wei=2**70,
        priority_fee_wei=10**9,
        noop=False,
        created_at=LATER,
        first_sent_at=None,
        last_sent_at=None,
        last_error=None,
    )
    assert (made[1].slot, made[1].raw, made[1].tx_hash, made[1].noop) == (one.id, b"\x02one", new[1].tx_hash, True)


def test_a_replacement_follows_in_the_same_slot(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot, first = sent(tx, ground, accepted(tx, ground, [1]))
        fresh = reserved(tx, ground, accepted(tx, ground, [2]))
        second, others = store(tx, ground, slot.id, fresh.id)
        noop = signed(tx, ground, slot.id, noop=True)
        found, beside = slots.open_slots(tx, ground.signer)
    assert [each.id for each in found.attempts] == [first.id, second.id, noop.id]
    assert [each.seq for each in found.attempts] == [0, 1, 2]
    assert [each.noop for each in found.attempts] == [False, False, True]
    assert found.slot.state is SlotState.BROADCASTING
    assert (beside.slot.state, beside.attempts, others.seq) == (SlotState.SIGNED, (others,), 0)


@pytest.mark.parametrize("same", ["bytes", "slot"])
def test_no_bytes_are_stored_twice_and_one_attempt_a_slot_at_a_time(engine: Engine, ground: Ground, same: str) -> None:
    with begin(engine) as tx:
        one, two = reserve(tx, ground, accepted(tx, ground, [1]), accepted(tx, ground, [2]))
        first = new_attempt(one.id)
        second = replace(first, slot=two.id) if same == "bytes" else new_attempt(one.id)
        before = everything(tx)
    with pytest.raises(IntegrityError), begin(engine) as tx:
        sending.store_attempts(tx, ground.signer, ground.epoch, [first, second], NOW)
    with read(engine) as tx:
        assert everything(tx) == before


def test_sending_is_written_down_before_it_happens_and_each_time(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        made = reserve(tx, ground, accepted(tx, ground, [1]), accepted(tx, ground, [2]), [])
        stored = store(tx, ground, *(slot.id for slot in made))
        mark_sent(tx, ground, *stored[:2])
        mark_sent(tx, ground, *stored[1:], now=LATER)
        found = slots.open_slots(tx, ground.signer)
    assert {each.slot.state for each in found} == {SlotState.BROADCASTING}
    assert [(each.attempts[0].first_sent_at, each.attempts[0].last_sent_at) for each in found] == [
        (NOW, NOW),
        (NOW, LATER),
        (LATER, LATER),
    ]


# ------------------------------------------------------------------------------------------------------------- settle


def test_a_thousand_are_batched_included_and_final(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        intents.accept_many(tx, [new_intent(ground, number) for number in range(1_000)], NOW)
        rows = waiting_cards(tx, ground, limit=1_000)
        # Slots of 500, 499 and 1, not in the order of the rows.
        turned = rows[250:] + rows[:250]
        groups = [turned[:500], turned[500:999], turned[999:]]
        made = reserve(tx, ground, *groups)
        stored = store(tx, ground, *(slot.id for slot in made))
        mark_sent(tx, ground, *stored)
        for slot, group in zip(made, groups, strict=True):
            assert [each.id for each in intents.of_slot(tx, slot.id)] == [each.id for each in group]
        aboard = intents.aboard(tx, [slot.id for slot in made])
        assert [[each.intent for each in aboard[slot.id]] for slot in made] == [
            [each.id for each in group] for group in groups
        ]
        found = [
            inclusion(
                slot.id,
                attempt,
                [
                    Landed(each.id, None if place % 100 == 0 else 3 * place, 2 if place % 100 == 0 else None)
                    for place, each in enumerate(group)
                ],
                block_number=7 + number,
            )
            for number, (slot, attempt, group) in enumerate(zip(made, stored, groups, strict=True))
        ]
        settle(tx, ground, *found)
        for each in found:
            included = intents.of_slot(tx, each.slot)
            assert [Landed(row.id, row.log_index, row.code) for row in included] == each.landed
            assert {(row.state, row.tx_hash, row.block_number, row.block_hash) for row in included} == {
                (IntentState.INCLUDED, each.tx_hash, each.block_number, BLOCK)
            }
        assert finalise(tx, ground, *(slot.id for slot in made)) == set()
        ends = [[row.state for row in intents.of_slot(tx, slot.id)] for slot in made]
    assert [each.count(IntentState.FINAL) for each in ends] == [495, 494, 0]
    assert [each.count(IntentState.REJECTED) for each in ends] == [5, 5, 1]


def test_what_a_transaction_minted_is_final_and_what_it_skipped_is_rejected(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        members = accepted(tx, ground, [1, 2, 3])
        slot, attempt = sent(tx, ground, members)
        other, another = sent(tx, ground, accepted(tx, ground, [4]))
        landed = [Landed(members[0].id, 4), Landed(members[1].id, 8, code=2), Landed(members[2].id, 11)]
        settle(
            tx,
            ground,
            inclusion(slot.id, attempt, landed),
            inclusion(other.id, another, succeeded=False, block_number=9, block_hash=OTHER_BLOCK),
        )
        reverted = slots.get(tx, other.id)
        assert (reverted.state, reverted.succeeded, reverted.tx_hash) == (SlotState.INCLUDED, False, another.tx_hash)
        assert (reverted.block_number, reverted.block_hash) == (9, OTHER_BLOCK)
        assert outcomes(tx, other.id) == [(IntentState.BATCHED, None, None)]
        assert [state for state, *_ in outcomes(tx, slot.id)] == [IntentState.INCLUDED] * 3
        assert finalise(tx, ground, slot.id, now=LATER) == set()
        found = intents.of_slot(tx, slot.id)
        ended = slots.get(tx, slot.id)
    assert [(each.state, each.log_index, each.code) for each in found] == [
        (IntentState.FINAL, 4, None),
        (IntentState.REJECTED, 8, 2),
        (IntentState.FINAL, 11, None),
    ]
    assert {(each.tx_hash, each.block_number, each.block_hash) for each in found} == {(attempt.tx_hash, 7, BLOCK)}
    assert (ended.state, ended.tx_hash, ended.block_number) == (SlotState.FINAL, attempt.tx_hash, 7)
    assert (ended.block_hash, ended.succeeded, ended.updated_at) == (BLOCK, True, LATER)


def test_a_receipt_without_our_log_proves_nothing(engine: Engine, ground: Ground) -> None:
    """Of several final slots those are told that hold something unproven."""
    with begin(engine) as tx:
        groups = [accepted(tx, ground, [1, 2]), accepted(tx, ground, [3, 4]), accepted(tx, ground, [5])]
        made = [sent(tx, ground, group) for group in groups]
        proven = [groups[0], groups[1][:1], []]
        settle(
            tx,
            ground,
            *(
                inclusion(slot.id, attempt, [Landed(row.id, 4) for row in rows])
                for (slot, attempt), rows in zip(made, proven, strict=True)
            ),
        )
        assert finalise(tx, ground, *(slot.id for slot, _ in made)) == {made[1][0].id, made[2][0].id}
        assert [[state for state, *_ in outcomes(tx, slot.id)] for slot, _ in made] == [
            [IntentState.FINAL, IntentState.FINAL],
            [IntentState.FINAL, IntentState.BATCHED],
            [IntentState.BATCHED],
        ]


@pytest.mark.parametrize("wrong", ["hashes changed places", "hash of nobody", "named twice", "included by another"])
def test_only_an_attempt_of_the_slot_can_be_included_and_once(engine: Engine, ground: Ground, wrong: str) -> None:
    with begin(engine) as tx:
        (one, first), (two, second) = (sent(tx, ground, accepted(tx, ground, [number])) for number in (1, 2))
        replaced = signed(tx, ground, two.id)
    good, bad = inclusion(one.id, first), inclusion(two.id, second)
    found = {
        "hashes changed places": [replace(good, tx_hash=second.tx_hash), replace(bad, tx_hash=first.tx_hash)],
        "hash of nobody": [good, replace(bad, tx_hash=fresh_hash())],
        "named twice": [good, bad, bad],
        "included by another": [good, bad, replace(bad, tx_hash=replaced.tx_hash)],
    }[wrong]
    at = found[0] if wrong == "hashes changed places" else found[-1]
    # The database may have taken either of two that name the same slot.
    match = rf"slot {at.slot} \(by 0x" if wrong == "included by another" else rf"slot {at.slot} \(by {at.tx_hash}\)"
    refused(engine, settle, ground, *found, match=match)


@pytest.mark.parametrize("wrong", ["of another slot", "of another slot here", "named twice", "waits", "gone"])
def test_only_the_slots_own_intents_can_be_included(engine: Engine, ground: Ground, wrong: str) -> None:
    with begin(engine) as tx:
        one, two, three, waits = accepted(tx, ground, [1, 2, 3, 4])
        (slot, attempt), (beside, its), _ = (sent(tx, ground, [row]) for row in (one, two, three))
    other = {"of another slot": three, "of another slot here": two, "named twice": one, "waits": waits}.get(wrong)
    number = other.id if other else 10**6
    found = [inclusion(slot.id, attempt, [Landed(one.id, 1), Landed(number, 2)]), inclusion(beside.id, its)]
    refused(engine, settle, ground, *found, match=rf"intent {number}\b")


@pytest.mark.parametrize("did", ["reverted", "no-op"])
def test_what_carried_out_nothing_includes_nothing_and_is_not_final(engine: Engine, ground: Ground, did: str) -> None:
    with begin(engine) as tx:
        one, two = accepted(tx, ground, [1, 2])
        (slot, attempt), (beside, its) = (sent(tx, ground, [row]) for row in (one, two))
        if did == "no-op":
            attempt = signed(tx, ground, slot.id, noop=True)
            mark_sent(tx, ground, attempt)
    good = inclusion(beside.id, its, [Landed(two.id, 0)])
    bad = inclusion(slot.id, attempt, [Landed(one.id, 1)], succeeded=did == "no-op")
    refused(engine, settle, ground, good, bad, match=f"intent {one.id}")
    with begin(engine) as tx:
        settle(tx, ground, good, replace(bad, landed=[]))
    refused(engine, finalise, ground, beside.id, slot.id, match=rf"slot {slot.id} \(in block {BLOCK}\)")


# ------------------------------------------------------------------------------------------------------------ finalise


def test_a_slot_is_final_in_the_block_that_holds_it_and_once(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        (one, first), (two, second) = (sent(tx, ground, accepted(tx, ground, [number])) for number in (1, 2))
        settle(tx, ground, inclusion(one.id, first), inclusion(two.id, second, block_hash=OTHER_BLOCK))
    refused(engine, finalise, ground, one.id, two.id, match=rf"slot {two.id} \(in block {BLOCK}\)")
    with begin(engine) as tx:
        finalise(tx, ground, one.id)
        assert [slots.get(tx, slot).state for slot in (one.id, two.id)] == [SlotState.FINAL, SlotState.INCLUDED]
    for again in ([two.id, two.id], [one.id], [two.id, one.id]):
        match = rf"slot {again[-1]} \(in block {OTHER_BLOCK}\)"
        refused(engine, finalise, ground, *again, block_hash=OTHER_BLOCK, now=LATER, match=match)


# --------------------------------------------------------------------------------------------------------- every step


UNDER_WAY = (SlotState.SIGNED, SlotState.BROADCASTING)
BEGINS = {
    "sign": (SlotState.RESERVED, *UNDER_WAY),
    "send": UNDER_WAY,
    "settle": (SlotState.BROADCASTING,),
    "finalise": (SlotState.INCLUDED,),
}
REACHES = {
    "sign": {*UNDER_WAY},
    "send": {SlotState.BROADCASTING},
    "settle": {SlotState.INCLUDED},
    "finalise": {SlotState.FINAL},
}


def take(tx: Connection, ground: Ground, step: str, *made: tuple[int, AttemptRow | None]) -> None:
    """This step for these slots, with their attempts."""
    if step == "sign":
        store(tx, ground, *(slot for slot, _ in made))
    elif step == "send":
        mark_sent(tx, ground, *(attempt for _, attempt in made if attempt))
    elif step == "settle":
        hashes = [attempt.tx_hash if attempt else fresh_hash() for _, attempt in made]
        found = [Included(slot, each, 7, BLOCK, True, []) for (slot, _), each in zip(made, hashes, strict=True)]
        settle(tx, ground, *found, now=LATER)
    else:
        finalise(tx, ground, *(slot for slot, _ in made), now=LATER)


# What is reserved has nothing yet that could be sent.
@pytest.mark.parametrize(
    ("step", "state"),
    [(step, state) for step in BEGINS for state in SlotState if (step, state) != ("send", SlotState.RESERVED)],
)
def test_each_step_begins_where_all_its_slots_are(engine: Engine, ground: Ground, step: str, state: SlotState) -> None:
    with begin(engine) as tx:
        one, two = accepted(tx, ground, [1, 2])
        right = in_state(tx, ground, BEGINS[step][0], [one])
        other = in_state(tx, ground, state, [two])
    if state in BEGINS[step]:
        with begin(engine) as tx:
            take(tx, ground, step, right, other)
            reached = {slots.get(tx, slot).state for slot, _ in (right, other)}
        assert reached <= REACHES[step]
    else:
        refused(engine, take, ground, step, right, other, match=rf"slot {other[0]}\b")


@pytest.mark.parametrize("step", BEGINS)
def test_no_step_touches_another_signers_slots(engine: Engine, ground: Ground, step: str) -> None:
    with begin(engine) as tx:
        signer = signers.register(tx, ground.chain, wallet(9)).id
        signers.set_next_nonce_first_time(tx, signer, 5)
        epoch = signers.take_lease(tx, signer, "me", NOW, 60, lambda owner: True)
        theirs = replace(ground, signer=signer, epoch=epoch)
        state = BEGINS[step][-1]
        right = in_state(tx, ground, state, accepted(tx, ground, [1]))
        other = in_state(tx, theirs, state, accepted(tx, theirs, [2], signer=signer))
    refused(engine, take, ground, step, right, other, match=rf"slot {other[0]}\b")


@pytest.mark.parametrize("step", BEGINS)
def test_an_unknown_slot_or_attempt_is_said_to_be_so(engine: Engine, ground: Ground, step: str) -> None:
    with begin(engine) as tx:
        slot, attempt = in_state(tx, ground, BEGINS[step][0], accepted(tx, ground, [1]))
        nobodys = replace(attempt or signed(tx, ground, slot), id=10**6, slot=10**6)
        before = everything(tx)
    what = "attempt" if step == "send" else "slot"
    with pytest.raises(Unknown, match=f"there is no {what} 1000000"), begin(engine) as tx:
        take(tx, ground, step, (slot, attempt), (10**6, nobodys))
    with read(engine) as tx:
        assert everything(tx) == before
