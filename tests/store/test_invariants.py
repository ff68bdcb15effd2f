"""Random histories: whatever is tried in whatever order, the promises hold, and a refusal changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine, select

from nftloyalty.domain.intent import OPEN_SLOT_STATES, IllegalTransition, IntentState, SlotState
from nftloyalty.errors import SigningProblem
from nftloyalty.store import intents, sending, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow, Landed
from nftloyalty.store.sending import Included
from nftloyalty.store.slots import AttemptRow, OpenSlot, SlotRow
from nftloyalty.store.tables import attempts as attempt_table
from nftloyalty.store.tables import intents as intent_table
from nftloyalty.store.tables import slots as slot_table
from tests.store.build import (
    BLOCK,
    NOW,
    OTHER_BLOCK,
    Ground,
    fresh_hash,
    new_attempt,
    new_intent,
    new_slot,
    prepared,
    waiting_cards,
)

WALLETS = 6
ENDED_WITHOUT = {SlotState.FINAL_REVERTED, SlotState.FINAL_NOOP, SlotState.FOREIGN}
IN_SLOT = {IntentState.BATCHED, IntentState.INCLUDED, IntentState.FINAL}

_chains = count(1)


@dataclass
class History:
    """A signer's books with what was seen in them before. Each example has a chain of its own in the one database."""

    ground: Ground
    epochs: list[int]
    rode: dict[int, set[int]] = field(default_factory=dict)
    slots: dict[int, SlotRow] = field(default_factory=dict)
    attempts: dict[int, AttemptRow] = field(default_factory=dict)
    final: set[int] = field(default_factory=set)
    next_nonce: int = 0

    def all_intents(self, tx: Connection) -> list[IntentRow]:
        keys = [new_intent(self.ground, number).request_key for number in range(WALLETS)]
        return sorted(intents.by_keys(tx, self.ground.chain, keys).values(), key=lambda row: row.id)

    def all_slots(self, tx: Connection) -> list[OpenSlot]:
        return slots.open_slots(tx, self.ground.signer, list(SlotState))

    def books(self, tx: Connection) -> list[Any]:
        """All that is written of this signer. The rows of former examples are none of them."""
        mine = select(slot_table.c.id).where(slot_table.c.signer == self.ground.signer)
        return [
            signers.get(tx, self.ground.signer),
            *tx.execute(select(intent_table).where(intent_table.c.chain == self.ground.chain).order_by("id")),
            *tx.execute(select(slot_table).where(slot_table.c.signer == self.ground.signer).order_by("id")),
            *tx.execute(select(attempt_table).where(attempt_table.c.slot.in_(mine)).order_by("id")),
        ]

    def look(self, tx: Connection) -> None:
        """Compare what is written now with the promises and with everything seen before."""
        there = self.all_slots(tx)
        found = {each.slot.id: each.slot for each in there}
        made = {attempt.id: attempt for each in there for attempt in each.attempts}
        row = signers.get(tx, self.ground.signer)

        # Nonces follow each other without a gap and the counter is never lowered.
        assert [slot.nonce for slot in found.values()] == list(range(row.next_nonce or 0))
        assert self.next_nonce <= (row.next_nonce or 0)
        self.next_nonce = row.next_nonce or 0

        # What a slot is for never changes, and what was signed for it is never lost or altered.
        for number, before in self.slots.items():
            now = found[number]
            assert (now.nonce, now.to_address, now.calldata, now.epoch) == (
                before.nonce,
                before.to_address,
                before.calldata,
                before.epoch,
            )
            if before.state not in OPEN_SLOT_STATES:
                assert now == before
        for number, attempt in self.attempts.items():
            assert (made[number].raw, made[number].tx_hash) == (attempt.raw, attempt.tx_hash)
            assert attempt.first_sent_at in (None, made[number].first_sent_at)
        self.slots, self.attempts = found, made

        # Only what was written down as sent can be on chain.
        hashes = {attempt.tx_hash: attempt for attempt in made.values()}
        for slot in found.values():
            if slot.tx_hash is not None:
                assert hashes[slot.tx_hash].slot == slot.id
            mine = [attempt for attempt in made.values() if attempt.slot == slot.id]
            assert (slot.state is SlotState.RESERVED) <= (not mine)
            assert (slot.state is SlotState.SIGNED) <= all(attempt.first_sent_at is None for attempt in mine)

        rows = self.all_intents(tx)
        assert len({intent.request_key for intent in rows}) == len(rows)
        for intent in rows:
            assert (intent.state in IN_SLOT) <= (intent.slot is not None)
            rode = self.rode.setdefault(intent.id, set())
            if intent.slot is not None:
                rode.add(intent.slot)
            # Of all slots it ever rode in, those that ended without it are over and proved so; at most one other is
            # left, but for slots whose own event says that it was skipped.
            alive = {slot for slot in rode if found[slot].state not in ENDED_WITHOUT}
            if intent.state is not IntentState.REJECTED:
                alive -= {slot for slot in alive if found[slot].state is SlotState.FINAL and slot != intent.slot}
            assert len(alive) <= 1
            if intent.state in IN_SLOT and intent.slot is not None:
                assert {
                    IntentState.BATCHED: found[intent.slot].state not in {SlotState.FINAL, *ENDED_WITHOUT},
                    IntentState.INCLUDED: found[intent.slot].state is SlotState.INCLUDED,
                    IntentState.FINAL: found[intent.slot].state is SlotState.FINAL,
                }[intent.state]
                if intent.state is not IntentState.BATCHED:
                    assert (intent.tx_hash, intent.block_hash) == (
                        found[intent.slot].tx_hash,
                        found[intent.slot].block_hash,
                    )
            # Final stays final.
            assert (intent.id in self.final) <= (intent.state is IntentState.FINAL)
            if intent.state is IntentState.FINAL:
                self.final.add(intent.id)


Step = Callable[[Connection, History, int, int], None]


def accept(tx: Connection, history: History, one: int, two: int) -> None:
    asked = [new_intent(history.ground, number % WALLETS, public_id=fresh_hash()[-60:]) for number in (one, two)]
    intents.accept(tx, asked[0], NOW)
    intents.accept_many(tx, asked, NOW)


def ask_again(tx: Connection, history: History, one: int, two: int) -> None:
    intents.ask_again(tx, [new_intent(history.ground, number % WALLETS) for number in (one, two)], NOW)


def take_lease(tx: Connection, history: History, one: int, two: int) -> None:
    epoch = signers.take_lease(tx, history.ground.signer, f"owner {one}", NOW, 60, lambda owner: two % 2 == 0)
    history.epochs.append(epoch)


def release_lease(tx: Connection, history: History, one: int, two: int) -> None:
    signers.release_lease(tx, history.ground.signer, f"owner {one}", history.epochs[-1])


def gather_and_reserve(tx: Connection, history: History, one: int, two: int) -> None:
    waiting = waiting_cards(tx, history.ground, limit=1 + one % 4)
    cut = one % (len(waiting) + 1)
    reserve(tx, history, [waiting[:cut], waiting[cut:]], two)


def reserve_anything(tx: Connection, history: History, one: int, two: int) -> None:
    rows = history.all_intents(tx)
    picked = [rows[number % len(rows)] for number in (one, two) if rows]
    reserve(tx, history, [picked[:1], picked[1:]] if two % 2 else [picked], two)


def reserve(tx: Connection, history: History, groups: list[list[Any]], choice: int) -> None:
    before = signers.get(tx, history.ground.signer).next_nonce or 0
    new = [new_slot(members, calldata=repr([row.id for row in members]).encode()) for members in groups]
    made = sending.reserve(tx, history.ground.signer, epoch_of(history, choice), new, NOW)
    assert [slot.nonce for slot in made] == list(range(before, before + len(groups)))
    for slot, members in zip(made, groups, strict=True):
        riding = [(row.id, row.position, row.state) for row in intents.of_slot(tx, slot.id)]
        assert riding == [(row.id, place, IntentState.BATCHED) for place, row in enumerate(members)]


def ask_cancel(tx: Connection, history: History, one: int, two: int) -> None:
    slots.ask_cancel(tx, history.ground.signer, None if two % 4 == 0 else [one % 8], NOW)


def sign(tx: Connection, history: History, one: int, two: int) -> None:
    found = slots_of(tx, history, one, SlotState.RESERVED, SlotState.BROADCASTING)
    new = [new_attempt(each.slot.id, noop=(two + place) % 5 == 4) for place, each in enumerate(found)]
    if new:
        sending.store_attempts(tx, history.ground.signer, epoch_of(history, two), new, NOW)


def send(tx: Connection, history: History, one: int, two: int) -> None:
    found = slots_of(tx, history, one, SlotState.SIGNED, SlotState.BROADCASTING)
    picked = [each.attempts[two % len(each.attempts)] for each in found if each.attempts]
    if picked:
        sending.mark_sent(
            tx, history.ground.signer, epoch_of(history, two // 2), [attempt.id for attempt in picked], NOW
        )
        assert {slots.get(tx, attempt.slot).state for attempt in picked} == {SlotState.BROADCASTING}


def include(tx: Connection, history: History, one: int, two: int) -> None:
    found = slots_of(tx, history, one, SlotState.BROADCASTING)
    # Rarely the same slot twice.
    found += found[: one % 11 == 10]
    included = []
    for place, each in enumerate(found):
        if each.attempts:
            attempt = each.attempts[two % len(each.attempts)]
            succeeded = (two + place) % 3 != 0
            landed = []
            if succeeded and not attempt.noop:
                members = intents.of_slot(tx, each.slot.id)
                landed = [
                    Landed(row.id, at, 3 if (two + at) % 7 == 0 else None)
                    for at, row in enumerate(members)
                    if (two + at) % 13 != 0
                ]
            block_hash = BLOCK if two % 4 else OTHER_BLOCK
            included.append(Included(each.slot.id, attempt.tx_hash, two, block_hash, succeeded, landed))
    if included:
        sending.settle(tx, history.ground.signer, epoch_of(history, two // 2), included, NOW)
    for one_ in included:
        row = slots.get(tx, one_.slot)
        assert (row.state, row.tx_hash, row.block_hash) == (SlotState.INCLUDED, one_.tx_hash, one_.block_hash)
        told = {(each.intent, each.log_index, each.code) for each in one_.landed}
        riding = intents.of_slot(tx, one_.slot)
        assert told == {(row.id, row.log_index, row.code) for row in riding if row.state is IntentState.INCLUDED}


def undo(tx: Connection, history: History, one: int, two: int) -> None:
    if slot := slot_of(tx, history, one, SlotState.INCLUDED):
        slots.back_to_broadcasting(tx, slot.slot.id, BLOCK if two % 4 else OTHER_BLOCK, NOW)
        intents.mark_reorged(tx, slot.slot.id, NOW)


def finish(tx: Connection, history: History, one: int, two: int) -> None:
    """As a final block would, or (rarely) as a wrong one would."""
    found = slots_of(tx, history, one, SlotState.INCLUDED)
    carried_out = [each for each in found if each.slot.succeeded and not is_noop(each)]
    if two % 8 == 0:
        carried_out = found[: two // 8 % 4]
    if carried_out:
        final = [(each.slot.id, each.slot.block_hash or BLOCK) for each in carried_out]
        final += final[: one % 11 == 10]
        unproven = sending.finalise(tx, history.ground.signer, epoch_of(history, two // 2), final, NOW)
        assert {slots.get(tx, slot).state for slot, _ in final} == {SlotState.FINAL}
        for slot, _ in final:
            left = [row for row in intents.of_slot(tx, slot) if row.state is IntentState.BATCHED]
            assert (slot in unproven) == bool(left)
            if left:
                assert intents.reject_unproven(tx, slot, "no event", NOW) == len(left)
    for each in found:
        if each not in carried_out:
            end = slots.set_final_noop if is_noop(each) else slots.set_final_reverted
            end(tx, each.slot.id, each.slot.block_hash or BLOCK, NOW)
            intents.return_to_received(tx, each.slot.id, NOW)


def is_noop(slot: OpenSlot) -> bool:
    return any(attempt.noop and attempt.tx_hash == slot.slot.tx_hash for attempt in slot.attempts)


def give_up(tx: Connection, history: History, one: int, two: int) -> None:
    if slot := slot_of(tx, history, one, SlotState.BROADCASTING):
        slots.set_foreign(tx, slot.slot.id, NOW)
        intents.return_to_received(tx, slot.slot.id, NOW)


def drop(tx: Connection, history: History, one: int, two: int) -> None:
    rows = history.all_intents(tx)
    if rows:
        (intents.reject if two % 2 else intents.cancel)(tx, [rows[one % len(rows)].id], NOW)


def epoch_of(history: History, choice: int) -> int:
    """Mostly the newest lease's epoch, sometimes an old one."""
    return history.epochs[-1] if choice % 8 else history.epochs[choice % len(history.epochs)]


def slot_of(tx: Connection, history: History, choice: int, *fitting: SlotState) -> OpenSlot | None:
    """Mostly a slot of a fitting state, sometimes any."""
    return next(iter(slots_of(tx, history, choice, *fitting)), None)


def slots_of(tx: Connection, history: History, choice: int, *fitting: SlotState) -> list[OpenSlot]:
    """One to three different slots, mostly of fitting states, sometimes any."""
    found = history.all_slots(tx)
    fit = [each for each in found if each.slot.state in fitting]
    among = fit if fit and choice % 8 else found
    first = choice % len(among) if among else 0
    return (among[first:] + among[:first])[: 1 + choice % 3]


STEPS: list[Step] = [
    accept,
    ask_again,
    take_lease,
    release_lease,
    gather_and_reserve,
    gather_and_reserve,
    reserve_anything,
    ask_cancel,
    sign,
    sign,
    send,
    send,
    include,
    include,
    undo,
    finish,
    finish,
    give_up,
    drop,
]


@settings(
    max_examples=25,
    deadline=None,
    # The database lives on from example to example; each has a chain of its own in it.
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(
    steps=st.lists(st.tuples(st.sampled_from(STEPS), st.integers(0, 47), st.integers(0, 47)), min_size=40, max_size=80)
)
def test_no_history_breaks_the_promises(engine: Engine, steps: list[tuple[Step, int, int]]) -> None:
    with begin(engine) as tx:
        ground = prepared(tx, genesis=f"0x{next(_chains):064x}")
        history = History(ground, [ground.epoch])
        intents.accept_many(tx, [new_intent(ground, number) for number in range(3)], NOW)
    for step, one, two in steps:
        with read(engine) as tx:
            before = history.books(tx)
        epochs = list(history.epochs)
        try:
            with begin(engine) as tx:
                step(tx, history, one, two)
        except (IllegalTransition, SigningProblem):
            history.epochs = epochs
            with read(engine) as tx:
                assert history.books(tx) == before
        with read(engine) as tx:
            history.look(tx)
