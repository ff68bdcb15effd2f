"""Random histories: whatever is tried in whatever order, the promises hold, and a refusal changes nothing."""

from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import count

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection, Engine

from nftloyalty.domain.intent import OPEN_SLOT_STATES, IllegalTransition, IntentState, Kind, SlotState
from nftloyalty.errors import SigningProblem
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow, Landed
from nftloyalty.store.slots import AttemptRow, OpenSlot, SlotRow
from tests.store.build import (
    BLOCK,
    CONTRACT,
    NOW,
    OTHER_BLOCK,
    Ground,
    everything,
    fresh_hash,
    new_intent,
    prepared,
    signed,
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

    def look(self, tx: Connection) -> None:
        """Compare what is written now with the promises and with everything seen before."""
        found = {each.slot.id: each.slot for each in self.all_slots(tx)}
        made = {attempt.id: attempt for each in self.all_slots(tx) for attempt in each.attempts}
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
    reserve(tx, history, waiting_cards(tx, history.ground, limit=1 + one % 4), two)


def reserve_anything(tx: Connection, history: History, one: int, two: int) -> None:
    rows = history.all_intents(tx)
    reserve(tx, history, [rows[number % len(rows)] for number in (one, two) if rows], two)


def reserve(tx: Connection, history: History, members: list[IntentRow], choice: int) -> None:
    slots.reserve(
        tx,
        history.ground.signer,
        epoch_of(history, choice),
        Kind.MINT_CARD,
        CONTRACT,
        repr([row.id for row in members]).encode(),
        0,
        500_000,
        members,
        NOW,
    )


def ask_cancel(tx: Connection, history: History, one: int, two: int) -> None:
    slots.ask_cancel(tx, history.ground.signer, None if two % 4 == 0 else [one % 8], NOW)


def sign(tx: Connection, history: History, one: int, two: int) -> None:
    if slot := slot_of(tx, history, one, SlotState.RESERVED, SlotState.BROADCASTING):
        ground = Ground(history.ground.chain, history.ground.program, history.ground.signer, epoch_of(history, two))
        signed(tx, ground, slot.slot.id, noop=two % 5 == 4)


def send(tx: Connection, history: History, one: int, two: int) -> None:
    slot = slot_of(tx, history, one, SlotState.SIGNED, SlotState.BROADCASTING)
    if slot and slot.attempts:
        attempt = slot.attempts[two % len(slot.attempts)]
        slots.mark_sent(tx, attempt.id, NOW, epoch=epoch_of(history, two // 2))


def include(tx: Connection, history: History, one: int, two: int) -> None:
    slot = slot_of(tx, history, one, SlotState.BROADCASTING)
    if slot and slot.attempts:
        attempt = slot.attempts[two % len(slot.attempts)]
        succeeded = two % 3 != 0
        block = BLOCK if two % 4 else OTHER_BLOCK
        slots.set_included(tx, slot.slot.id, attempt.tx_hash, two, block, succeeded, NOW)
        if succeeded and not attempt.noop:
            members = intents.of_slot(tx, slot.slot.id)
            landed = [
                Landed(each.id, place, 3 if (two + place) % 7 == 0 else None) for place, each in enumerate(members)
            ]
            intents.mark_included(tx, slot.slot.id, landed, NOW)


def undo(tx: Connection, history: History, one: int, two: int) -> None:
    if slot := slot_of(tx, history, one, SlotState.INCLUDED):
        slots.back_to_broadcasting(tx, slot.slot.id, BLOCK if two % 4 else OTHER_BLOCK, NOW)
        intents.mark_reorged(tx, slot.slot.id, NOW)


def finish(tx: Connection, history: History, one: int, two: int) -> None:
    """As a final block would, or (rarely) as a wrong one would."""
    if slot := slot_of(tx, history, one, SlotState.INCLUDED):
        noop = any(attempt.noop and attempt.tx_hash == slot.slot.tx_hash for attempt in slot.attempts)
        end = slots.set_final_noop if noop else slots.set_final if slot.slot.succeeded else slots.set_final_reverted
        if two % 8 == 0:
            end = (slots.set_final, slots.set_final_noop, slots.set_final_reverted)[two // 8 % 3]
        end(tx, slot.slot.id, slot.slot.block_hash or BLOCK, NOW)
        if end is slots.set_final:
            intents.mark_final(tx, slot.slot.id, NOW)
        else:
            intents.return_to_received(tx, slot.slot.id, NOW)


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
    found = history.all_slots(tx)
    fit = [each for each in found if each.slot.state in fitting]
    among = fit if fit and choice % 8 else found
    return among[choice % len(among)] if among else None


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
            before = everything(tx)
        epochs = list(history.epochs)
        try:
            with begin(engine) as tx:
                step(tx, history, one, two)
        except (IllegalTransition, SigningProblem):
            history.epochs = epochs
            with read(engine) as tx:
                assert everything(tx) == before
        with read(engine) as tx:
            history.look(tx)
