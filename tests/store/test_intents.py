from dataclasses import replace
from functools import partial
from hashlib import sha256

import pytest
from sqlalchemy import Connection, Engine, select
from sqlalchemy.exc import IntegrityError

from nftloyalty.domain.intent import IllegalTransition, IntentState, Kind, SlotState
from nftloyalty.errors import Unknown
from nftloyalty.store import chains, intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Accepted, Group, Landed, NewIntent
from nftloyalty.store.tables import intents as intents_table
from tests.store.build import (
    BLOCK,
    NOW,
    OTHER_BLOCK,
    Ground,
    accepted,
    cards,
    everything,
    finalise,
    in_state,
    include,
    mark_sent,
    new_intent,
    prepared,
    program,
    reserved,
    run_together,
    sent,
    signed,
    waiting_cards,
    wallet,
)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


def states(tx: Connection, ground: Ground) -> dict[int, str]:
    """State by the number that the recipient was made of."""
    query = select(intents_table.c.recipient, intents_table.c.state).order_by(intents_table.c.id)
    return {int(recipient, 16): str(state) for recipient, state in tx.execute(query)}


def in_other_order(items: list[NewIntent], seed: int) -> list[NewIntent]:
    return sorted(items, key=lambda item: sha256(f"{seed}{item.request_key}".encode()).digest())


def test_the_same_request_is_one_intent(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        first, made = intents.accept(tx, new_intent(ground, 1), NOW)
        assert made
        again, made = intents.accept(tx, new_intent(ground, 1, public_id="another", args={"tier": 2}), NOW)
        assert not made
    assert again == first
    assert first.state is IntentState.RECEIVED
    assert first.args == {"tier": 1, "expires_at": 0}
    assert (first.slot, first.position, first.tx_hash, first.code, first.error) == (None, None, None, None, None)
    assert first.created_at == first.updated_at == NOW


def test_one_request_from_many_threads_is_one_intent(engine: Engine, ground: Ground) -> None:
    answers: list[tuple[int, bool]] = []

    def ask(thread: int) -> None:
        for number in range(10):
            with begin(engine) as tx:
                row, made = intents.accept(tx, new_intent(ground, number, public_id=f"int_{thread}_{number}"), NOW)
            answers.append((row.id, made))

    run_together([lambda thread=thread: ask(thread) for thread in range(8)])  # type: ignore[misc]
    assert len(answers) == 80
    assert len({row for row, _ in answers}) == 10
    assert sum(made for _, made in answers) == 10
    with read(engine) as tx:
        assert len(tx.execute(select(intents_table)).all()) == 10


def test_a_public_id_is_never_given_twice(engine: Engine, ground: Ground) -> None:
    with pytest.raises(IntegrityError), begin(engine) as tx:
        accepted(tx, ground, [1, 2], public_id="same")


def test_the_same_request_on_another_chain_is_another_intent(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        other = prepared(tx, genesis="0x" + "a2" * 32)
        one, _ = intents.accept(tx, new_intent(ground, 1, request_key="key"), NOW)
        two, made = intents.accept(tx, new_intent(other, 1, request_key="key"), NOW)
        assert made
        assert intents.by_keys(tx, ground.chain, ["key"]) == {"key": one}
        assert intents.by_keys(tx, other.chain, ["key"]) == {"key": two}


def test_a_bulk_intake_tells_how_many_were_new_and_keeps_the_order(engine: Engine, ground: Ground) -> None:
    count = 12_345  # more than two statements' worth
    asked = [new_intent(ground, number) for number in range(count)]
    shuffled = in_other_order(asked, 1)
    with begin(engine) as tx:
        accepted(tx, ground, [count - 1])
        assert intents.accept_many(tx, shuffled, NOW) == Accepted(new=count - 1, known=1)
    with begin(engine) as tx:
        assert intents.accept_many(tx, iter(asked), NOW) == Accepted(new=0, known=count)
        found = intents.by_keys(tx, ground.chain, [each.request_key for each in asked] + ["nobody's"])
        assert found.keys() == {each.request_key for each in asked}
        ordered = tx.execute(select(intents_table.c.request_key).order_by(intents_table.c.id)).scalars()
        last = asked[-1].request_key
        assert list(ordered) == [last] + [each.request_key for each in shuffled if each.request_key != last]
        one = found[asked[77].request_key]
        alone, _ = intents.accept(tx, new_intent(ground, count), NOW)
        assert one.args == alone.args
        assert (one.program, one.signer, one.state, one.created_at) == (
            alone.program,
            alone.signer,
            alone.state,
            alone.created_at,
        )


@pytest.mark.parametrize("numbers", [[], [1], [1, 1, 2]], ids=["none", "one", "a double"])
def test_a_small_bulk_intake(engine: Engine, ground: Ground, numbers: list[int]) -> None:
    asked = [new_intent(ground, number, public_id=f"int_{place}") for place, number in enumerate(numbers)]
    with begin(engine) as tx:
        new = len(set(numbers))
        assert intents.accept_many(tx, asked, NOW) == Accepted(new=new, known=len(numbers) - new)


def test_a_bulk_intake_takes_mixed_rows(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        tea = program(tx, ground.chain, "tea").id
        mixed = [
            new_intent(ground, 1),
            new_intent(ground, 2, program=tea, kind=Kind.MINT_STAMP, stamp_type=3, args={}),
            new_intent(ground, 3, program=None, kind=Kind.CALL, recipient=None, args={"to": wallet(4), "zł": [1]}),
        ]
        intents.accept_many(tx, mixed, NOW)
        for asked in mixed:
            row = intents.get(tx, asked.public_id)
            assert {name: getattr(row, name) for name in vars(asked)} == vars(asked)


def test_bulk_intakes_of_the_same_rows_in_other_orders_do_not_block_each_other(engine: Engine, ground: Ground) -> None:
    counts: list[Accepted] = []

    def take_in(seed: int) -> None:
        given = [new_intent(ground, number, public_id=f"int_{seed}_{number}") for number in range(300)]
        asked = in_other_order(given, seed)
        with begin(engine) as tx:
            counts.append(intents.accept_many(tx, asked[:150], NOW))
            counts.append(intents.accept_many(tx, asked[150:], NOW))

    run_together([lambda seed=seed: take_in(seed) for seed in range(4)])  # type: ignore[misc]
    assert sum(count.new for count in counts) == 300


def test_an_unknown_intent_is_said_to_be_so(engine: Engine) -> None:
    with read(engine) as tx, pytest.raises(Unknown, match="int_nobody"):
        intents.get(tx, "int_nobody")


def test_what_waits_comes_by_groups_and_oldest_first(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        tea = program(tx, ground.chain, "tea").id
        accepted(tx, ground, [1, 2])
        accepted(tx, ground, [3], program=tea)
        accepted(tx, ground, [4])
        accepted(tx, ground, [5, 6], kind=Kind.MINT_STAMP, stamp_type=1)
        accepted(tx, ground, [7], kind=Kind.MINT_STAMP, stamp_type=2)
        accepted(tx, ground, [8, 9], program=None, kind=Kind.CALL)
        waits = {
            group: [int(str(each.recipient), 16) for each in intents.waiting(tx, ground.signer, group, limit=2)]
            for group in intents.groups(tx, ground.signer)
        }
        assert waits == {
            Group(None, Kind.CALL, 0): [8, 9],
            cards(ground): [1, 2],
            Group(ground.program, Kind.MINT_STAMP, 1): [5, 6],
            Group(ground.program, Kind.MINT_STAMP, 2): [7],
            Group(tea, Kind.MINT_CARD, 0): [3],
        }
        assert intents.waiting(tx, ground.signer, Group(tea, Kind.MINT_STAMP, 1), limit=2) == []
        reserved(tx, ground, waiting_cards(tx, ground, limit=2))
        assert [each.recipient for each in waiting_cards(tx, ground, limit=2)] == [wallet(4)]


STAMPED = (Kind.MINT_STAMP, Kind.CLAIM_STAMP, Kind.REVOKE_STAMP)


def test_each_of_many_groups_is_found_once(engine: Engine, ground: Ground) -> None:
    """Of all kinds, with and without a program, whatever order the database sorts words in."""
    wanted = set()
    with begin(engine) as tx:
        programs_ = [ground.program, *(program(tx, ground.chain, f"tea{number}").id for number in range(12))]
        number = 0
        for program_ in [None, *programs_]:
            for kind in Kind:
                for stamp_type in [1, 7, 120] if kind in STAMPED else [0]:
                    accepted(tx, ground, [number, number + 1], program=program_, kind=kind, stamp_type=stamp_type)
                    number += 2
                    wanted.add(Group(program_, kind, stamp_type))
        found = intents.groups(tx, ground.signer)
    assert len(found) == len(wanted) == 14 * 17
    assert set(found) == wanted


def test_a_group_of_which_nothing_waits_is_none(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        other = signers.register(tx, ground.chain, wallet(77)).id
        accepted(tx, ground, [1], signer=other)
        assert intents.groups(tx, ground.signer) == []
        reserved(tx, ground, accepted(tx, ground, [2, 3]))
        (gone,) = accepted(tx, ground, [4], program=None, kind=Kind.CALL)
        intents.cancel(tx, [gone.id], NOW)
        assert intents.groups(tx, ground.signer) == []
        assert intents.groups(tx, other) == [cards(ground)]


def test_only_what_is_received_by_this_signer_waits(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        other = signers.register(tx, ground.chain, wallet(77)).id
        batched, rejected, _ = accepted(tx, ground, [1, 2, 3])
        accepted(tx, ground, [4], signer=other)
        reserved(tx, ground, [batched])
        intents.reject(tx, [rejected.id], NOW, error="no")
        assert [each.recipient for each in waiting_cards(tx, ground, limit=9)] == [wallet(3)]
        assert [each.recipient for each in intents.waiting(tx, other, cards(ground), limit=9)] == [wallet(4)]


def test_what_waits_and_what_is_under_way_is_counted(engine: Engine, ground: Ground) -> None:
    received, batched = IntentState.RECEIVED, IntentState.BATCHED
    with begin(engine) as tx:
        other = signers.register(tx, ground.chain, wallet(77)).id
        rows = accepted(tx, ground, range(6))
        stamps = accepted(tx, ground, range(3), kind=Kind.MINT_STAMP, stamp_type=2)
        accepted(tx, ground, [9], kind=Kind.MINT_STAMP, stamp_type=3, signer=other)
        intents.cancel(tx, [stamps[0].id], NOW)
        intents.reject(tx, [rows[0].id], NOW, error="no")
        reserved(tx, ground, rows[1:3])
        slot, attempt = sent(tx, ground, rows[3:4])
        include(tx, ground, slot.id, attempt, [Landed(rows[3].id, 1)])
        here = partial(intents.unfinished, tx, ground.program)
        assert here(Kind.MINT_CARD) == here(Kind.MINT_CARD, 0) == {received: 2, batched: 2}
        assert here(Kind.MINT_STAMP) == {received: 3}
        assert here(Kind.MINT_STAMP, 2) == {received: 2}
        assert here(Kind.MINT_STAMP, 4) == {}
        assert here(Kind.MINT_STAMP, signer=other) == {received: 1}
        assert here(Kind.MINT_STAMP, 2, other) == {}


def test_a_rejected_intent_tells_why(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        one, two = accepted(tx, ground, [1, 2])
        intents.reject(tx, [one.id], NOW, code=3)
        intents.reject(tx, [two.id], NOW, error="the contract refused: Paused()")
        first, second = intents.get(tx, one.public_id), intents.get(tx, two.public_id)
    assert (first.state, first.code, first.error) == (IntentState.REJECTED, 3, None)
    assert (second.state, second.code, second.error) == (IntentState.REJECTED, None, "the contract refused: Paused()")


@pytest.mark.parametrize("leave", [intents.reject, intents.cancel])
@pytest.mark.parametrize("which", ["batched", "gone", "named twice"])
def test_only_what_waits_can_be_rejected_or_cancelled_and_all_of_it_or_nothing(
    engine: Engine, ground: Ground, leave: object, which: str
) -> None:
    assert callable(leave)
    with begin(engine) as tx:
        waits, batched = accepted(tx, ground, [1, 2])
        reserved(tx, ground, [batched])
        before = everything(tx)
    wrong = {"batched": batched.id, "gone": 10**6, "named twice": waits.id}[which]
    with pytest.raises((IllegalTransition, Unknown), match=rf"intent {wrong}\b"), begin(engine) as tx:
        leave(tx, [waits.id, wrong], NOW)
    with read(engine) as tx:
        assert everything(tx) == before


def test_asking_again_takes_up_only_what_was_rejected_or_cancelled(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        other = signers.register(tx, ground.chain, wallet(77)).id
        rejected, cancelled, waits, batched = accepted(tx, ground, [1, 2, 3, 4])
        intents.reject(tx, [rejected.id], NOW, code=5, error="no")
        intents.cancel(tx, [cancelled.id], NOW)
        reserved(tx, ground, [batched])
        again = [new_intent(ground, number, signer=other, args={"tier": 2}) for number in (1, 2, 3, 4, 5)]
        assert intents.ask_again(tx, again, NOW) == 2
        assert states(tx, ground) == {1: "received", 2: "received", 3: "received", 4: "batched"}
        taken_up = intents.get(tx, rejected.public_id)
        assert (taken_up.signer, taken_up.args, taken_up.code, taken_up.error) == (other, {"tier": 2}, None, None)
        assert intents.get(tx, waits.public_id) == waits


def test_a_reorg_brings_intents_back_to_their_slot(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        members = accepted(tx, ground, [1, 2])
        slot, attempt = sent(tx, ground, members)
        before = intents.of_slot(tx, slot.id)
        include(tx, ground, slot.id, attempt, [Landed(members[0].id, 4), Landed(members[1].id, 5, code=1)])
        slots.back_to_broadcasting(tx, slot.id, BLOCK, NOW)
        assert intents.mark_reorged(tx, slot.id, NOW) == 2
        assert intents.of_slot(tx, slot.id) == before
        include(tx, ground, slot.id, attempt, [Landed(each.id, None) for each in members], block_hash=OTHER_BLOCK)
        assert {each.block_hash for each in intents.of_slot(tx, slot.id)} == {OTHER_BLOCK}


def test_what_a_final_slot_did_nothing_for_is_rejected_with_the_reason(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        members = accepted(tx, ground, [1, 2])
        slot, attempt = sent(tx, ground, members)
        include(tx, ground, slot.id, attempt, [Landed(members[0].id, 4)])
        finalise(tx, ground, slot.id)
        assert intents.reject_unproven(tx, slot.id, "no event", NOW) == 1
        minted, unproven = intents.of_slot(tx, slot.id)
    assert (minted.state, minted.error) == (IntentState.FINAL, None)
    assert (unproven.state, unproven.error) == (IntentState.REJECTED, "no event")


@pytest.mark.parametrize("end", ["reverted", "no-op", "foreign"])
def test_intents_return_when_their_slot_ended_without_them(engine: Engine, ground: Ground, end: str) -> None:
    with begin(engine) as tx:
        members = accepted(tx, ground, [1, 2])
        slot, attempt = sent(tx, ground, members)
        if end == "foreign":
            slots.set_foreign(tx, slot.id, NOW)
        else:
            if end == "no-op":
                attempt = signed(tx, ground, slot.id, noop=True)
                mark_sent(tx, ground, attempt)
            include(tx, ground, slot.id, attempt, succeeded=end == "no-op")
            with pytest.raises(IllegalTransition):
                intents.return_to_received(tx, slot.id, NOW)
            (slots.set_final_noop if end == "no-op" else slots.set_final_reverted)(tx, slot.id, BLOCK, NOW)
        assert intents.return_to_received(tx, slot.id, NOW) == 2
        # Only what was carried out and failed counts against them.
        back = [replace(each, reverts=int(end == "reverted")) for each in members]
        assert intents.by_ids(tx, [each.id for each in waiting_cards(tx, ground, limit=9)]) == back
        assert intents.of_slot(tx, slot.id) == []
        assert reserved(tx, ground, back).nonce == 1


@pytest.mark.parametrize("state", list(SlotState))
def test_intents_follow_their_slot_and_never_lead_it(engine: Engine, ground: Ground, state: SlotState) -> None:
    """Each settling function works for its own slot states and refuses all others."""
    allowed = {
        intents.mark_reorged: {SlotState.BROADCASTING},
        intents.return_to_received: {SlotState.FINAL_REVERTED, SlotState.FINAL_NOOP, SlotState.FOREIGN},
    }
    with begin(engine) as tx:
        slot, _ = in_state(tx, ground, state, accepted(tx, ground, [1]))
        for settle, states_ in allowed.items():
            if state in states_:
                settle(tx, slot, NOW)
            else:
                with pytest.raises(IllegalTransition):
                    settle(tx, slot, NOW)
        if state not in (SlotState.FINAL, SlotState.FINAL_REVERTED):
            with pytest.raises(IllegalTransition):
                intents.reject_unproven(tx, slot, "no event", NOW)
        with pytest.raises(Unknown):
            intents.mark_reorged(tx, 10**6, NOW)


def test_a_chain_row_is_needed(engine: Engine, ground: Ground) -> None:
    with pytest.raises(IntegrityError), begin(engine) as tx:
        chains.known_chain(tx, 1, "0x", NOW)
        accepted(tx, ground, [1], chain=10**6)
