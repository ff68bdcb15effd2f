"""The steps of the sending engine, each for any number of one signer's slots at once: all of them or none.

Every step names the lease's epoch and holds the lease until its transaction ends (SignerBusy if it is lost). A slot or
intent that is not where the step begins raises IllegalTransition, one that is not there Unknown; then the transaction
must be rolled back. What happens to few slots at a time stands in `slots` and `intents`.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import NoReturn

from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Integer,
    String,
    Text,
    exists,
    func,
    insert,
    select,
    type_coerce,
    update,
)

from nftloyalty.domain.event import EventType
from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.errors import Unknown
from nftloyalty.store import event_steps, signers
from nftloyalty.store.columns import json_text
from nftloyalty.store.intents import Batchable, Landed
from nftloyalty.store.slots import AttemptRow, SlotRow
from nftloyalty.store.tables import attempts, intents, slots
from nftloyalty.store.writing import MANY, first_missed, given_rows, refuse, stands_at, to_intent, to_slot


@dataclass(frozen=True)
class NewSlot:
    """A call for the next nonce, made of these waiting intents in this order. `value` is in wei; `to` None creates a
    contract."""

    kind: Kind
    to: str | None
    calldata: bytes
    value: int
    gas_limit: int
    members: Sequence[Batchable]


@dataclass(frozen=True)
class NewAttempt:
    """Signed bytes for a slot's nonce. Fees are wei per gas; `noop` = it only uses the nonce up."""

    slot: int
    raw: bytes
    tx_hash: str
    max_fee_wei: int
    priority_fee_wei: int
    noop: bool = False


@dataclass(frozen=True)
class Included:
    """A block holds this attempt of the slot. `landed` tells what it did for each intent that it did something for."""

    slot: int
    tx_hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    landed: Sequence[Landed]


def reserve(tx: Connection, signer: int, epoch: int, new: Sequence[NewSlot], now: datetime) -> list[SlotRow]:
    """Take the next nonces for these calls, and put their intents into them.

    Raises SignerHalted, and IllegalTransition if an intent waits no longer, belongs to another signer, or is asked for
    otherwise than it was read.
    """
    first = signers.take_nonces(tx, signer, epoch, len(new))
    values = [
        {
            "signer": signer,
            "nonce": first + place,
            "kind": each.kind,
            "to_address": each.to,
            "calldata": each.calldata,
            "value": each.value,
            "gas_limit": each.gas_limit,
            "state": SlotState.RESERVED,
            "epoch": epoch,
            "created_at": now,
            "updated_at": now,
        }
        for place, each in enumerate(new)
    ]
    made = tx.execute(insert(slots).returning(*slots.c, sort_by_parameter_order=True), values)
    rows = [SlotRow(*row) for row in made]
    # What a slot's calldata is made of: all else of an intent never changes.
    aboard = [
        (member.id, row.id, place, json_text(member.args))
        for row, each in zip(rows, new, strict=True)
        for place, member in enumerate(each.members)
    ]
    if not aboard:
        return rows
    given = given_rows(tx, aboard, intent=BigInteger(), slot=BigInteger(), place=Integer(), args=Text())
    moved = tx.execute(
        update(intents)
        .where(
            intents.c.id == given.c.intent,
            intents.c.signer == signer,
            stands_at(intents, IntentState.RECEIVED),
            type_coerce(intents.c.args, Text) == given.c.args,
        )
        .values(
            **to_intent(IntentState.RECEIVED, IntentState.BATCHED),
            slot=given.c.slot,
            position=given.c.place,
            updated_at=now,
        )
    )
    if moved.rowcount != len(aboard):
        _refuse_intent(tx, [intent for intent, *_ in aboard], [row.id for row in rows], IntentState.BATCHED)
    return rows


def store_attempts(
    tx: Connection, signer: int, epoch: int, new: Sequence[NewAttempt], now: datetime
) -> list[AttemptRow]:
    """Store signed bytes, one attempt a slot at most; RESERVED → SIGNED where it is the first."""
    signers.hold(tx, signer, epoch)
    ids = [each.slot for each in new]
    to_slot(SlotState.RESERVED, SlotState.SIGNED)
    open_states = (SlotState.RESERVED, SlotState.SIGNED, SlotState.BROADCASTING)
    found = select(slots.c.id, slots.c.state).where(slots.c.signer == signer, slots.c.id.in_(ids))
    states = {row.id: row.state for row in tx.execute(found.with_for_update())}
    for each in ids:
        if states.get(each) not in open_states:
            refuse(tx, slots, each, SlotState.SIGNED)
    reserved = [each for each in ids if states[each] is SlotState.RESERVED]
    if reserved:
        tx.execute(update(slots).where(slots.c.id.in_(reserved)).values(state=SlotState.SIGNED, updated_at=now))
    counted = select(attempts.c.slot, func.count()).where(attempts.c.slot.in_(ids)).group_by(attempts.c.slot)
    before = {row[0]: row[1] for row in tx.execute(counted)}
    values = [
        {
            "slot": each.slot,
            "seq": before.get(each.slot, 0),
            "tx_hash": each.tx_hash,
            "raw": each.raw,
            "max_fee_wei": each.max_fee_wei,
            "priority_fee_wei": each.priority_fee_wei,
            "noop": each.noop,
            "created_at": now,
        }
        for each in new
    ]
    made = tx.execute(insert(attempts).returning(*attempts.c, sort_by_parameter_order=True), values)
    return [AttemptRow(*row) for row in made]


def mark_sent(tx: Connection, signer: int, epoch: int, sent: Sequence[int], now: datetime) -> None:
    """Write down that the bytes of these attempts, of different slots, are about to leave: BROADCASTING from now on.

    Commit, **then** send. Also before each sending again. Raises IllegalTransition if one is on chain by now: do not
    send then.
    """
    signers.hold(tx, signer, epoch)
    to_slot(SlotState.SIGNED, SlotState.BROADCASTING)
    theirs = select(attempts.c.slot).where(attempts.c.id.in_(sent))
    moved = tx.execute(
        update(slots)
        .where(
            slots.c.id.in_(theirs),
            slots.c.signer == signer,
            slots.c.state.in_([SlotState.SIGNED, SlotState.BROADCASTING]),
        )
        .values(state=SlotState.BROADCASTING, updated_at=now)
    )
    if moved.rowcount != len(sent):
        query = select(slots.c.id, slots.c.signer, slots.c.state).where(slots.c.id.in_(theirs))
        for slot, owner, state in tx.execute(query):
            if owner != signer or state is not SlotState.BROADCASTING:
                refuse(tx, slots, slot, SlotState.BROADCASTING)
    told = tx.execute(
        update(attempts)
        .where(attempts.c.id.in_(sent))
        .values(first_sent_at=func.coalesce(attempts.c.first_sent_at, now), last_sent_at=now)
    )
    if told.rowcount != len(sent):
        there = set(tx.execute(select(attempts.c.id).where(attempts.c.id.in_(sent))).scalars())
        for attempt in sent:
            if attempt not in there:
                raise Unknown(f"there is no attempt {attempt}")


def settle(tx: Connection, signer: int, epoch: int, found: Sequence[Included], now: datetime) -> None:
    """BROADCASTING → INCLUDED, and BATCHED → INCLUDED for what landed, with the place of the log that shows it.

    An intent that did not land stays BATCHED: a receipt alone proves nothing.
    """
    signers.hold(tx, signer, epoch)
    rows = [(each.slot, each.tx_hash, each.block_number, each.block_hash, each.succeeded) for each in found]
    given = given_rows(
        tx,
        rows,
        slot=BigInteger(),
        tx_hash=String(),
        block_number=BigInteger(),
        block_hash=String(),
        succeeded=Boolean(),
    )
    moved = tx.execute(
        update(slots)
        .where(
            slots.c.id == given.c.slot,
            slots.c.signer == signer,
            stands_at(slots, SlotState.BROADCASTING),
            exists().where(attempts.c.slot == given.c.slot, attempts.c.tx_hash == given.c.tx_hash),
        )
        .values(
            **to_slot(SlotState.BROADCASTING, SlotState.INCLUDED),
            tx_hash=given.c.tx_hash,
            block_number=given.c.block_number,
            block_hash=given.c.block_hash,
            succeeded=given.c.succeeded,
            updated_at=now,
        )
    )
    if moved.rowcount != len(found):
        ids = [each.slot for each in found]
        wrong = found[first_missed(ids, _reached(tx, ids, SlotState.INCLUDED, now))]
        refuse(tx, slots, wrong.slot, SlotState.INCLUDED, f"by {wrong.tx_hash}")
    landed = [(one.intent, each.slot, one.log_index, one.code) for each in found for one in each.landed]
    if not landed:
        return
    given = given_rows(tx, landed, intent=BigInteger(), slot=BigInteger(), log_index=Integer(), code=Integer())
    moved = tx.execute(
        update(intents)
        .where(
            intents.c.id == given.c.intent,
            # Not by `=`: each row is found by its id, and not once more among all rows of its slot.
            intents.c.slot.is_not_distinct_from(given.c.slot),
            stands_at(intents, IntentState.BATCHED),
            slots.c.id == given.c.slot,
            stands_at(slots, SlotState.INCLUDED),
            slots.c.succeeded.is_(True),
            _did_what_was_asked(),
        )
        .values(
            **to_intent(IntentState.BATCHED, IntentState.INCLUDED),
            tx_hash=slots.c.tx_hash,
            block_number=slots.c.block_number,
            block_hash=slots.c.block_hash,
            log_index=given.c.log_index,
            code=given.c.code,
            updated_at=now,
        )
    )
    if moved.rowcount != len(landed):
        _refuse_intent(tx, [intent for intent, *_ in landed], [each.slot for each in found], IntentState.INCLUDED)


def finalise(
    tx: Connection, signer: int, epoch: int, final: Sequence[tuple[int, str]], now: datetime
) -> Collection[int]:
    """INCLUDED → FINAL for slots whose transaction succeeded and whose block (given by hash, re-read) can't be undone;
    their intents → FINAL, or REJECTED with the skip code for what was skipped.

    Returns the slots that hold an intent with neither a mint nor a skip: an alarm, never expected.
    """
    signers.hold(tx, signer, epoch)
    ids = [slot for slot, _ in final]
    given = given_rows(tx, final, slot=BigInteger(), block_hash=String())
    ended = tx.execute(
        update(slots)
        .where(
            slots.c.id == given.c.slot,
            slots.c.signer == signer,
            stands_at(slots, SlotState.INCLUDED),
            slots.c.block_hash == given.c.block_hash,
            slots.c.succeeded.is_(True),
            _did_what_was_asked(),
        )
        .values(**to_slot(SlotState.INCLUDED, SlotState.FINAL), updated_at=now)
    )
    if ended.rowcount != len(final):
        slot, block_hash = final[first_missed(ids, _reached(tx, ids, SlotState.FINAL, now))]
        refuse(tx, slots, slot, SlotState.FINAL, f"in block {block_hash}")
    included = (intents.c.slot.in_(ids), intents.c.state == IntentState.INCLUDED)
    to_intent(IntentState.INCLUDED, IntentState.REJECTED)
    skipped = tx.execute(
        update(intents)
        .where(*included, intents.c.code.is_not(None))
        .values(state=IntentState.REJECTED, updated_at=now)
        .returning(intents.c.id, *event_steps.ENDED)
    ).all()
    event_steps.end_intents(tx, EventType.INTENT_REJECTED, (row[1:] for row in sorted(skipped)), now)
    tx.execute(
        update(intents).where(*included).values(**to_intent(IntentState.INCLUDED, IntentState.FINAL), updated_at=now)
    )
    unproven = select(intents.c.slot).where(intents.c.slot.in_(ids), intents.c.state == IntentState.BATCHED).distinct()
    return set(tx.execute(unproven).scalars())


def _did_what_was_asked() -> ColumnElement[bool]:
    """That the transaction of the slot an update stands at is not the empty one that only uses its nonce up.

    One value looked up by its hash. As an EXISTS it is a join, and PostgreSQL, taking few rows to be in the slot's
    state, goes through all attempts for each of them.
    """
    noop = select(attempts.c.noop).where(attempts.c.tx_hash == slots.c.tx_hash).correlate(slots)
    return noop.scalar_subquery().is_(False)


def _reached(tx: Connection, ids: Sequence[int], new: SlotState, now: datetime) -> Iterable[int]:
    """Those of these slots that an update made `now` has brought to this state."""
    done = (slots.c.state == new, slots.c.updated_at == now)
    return tx.execute(select(slots.c.id).where(slots.c.id.in_(ids), *done)).scalars()


def _refuse_intent(tx: Connection, ids: Sequence[int], theirs: Sequence[int], new: IntentState) -> NoReturn:
    """Raise for the first of `ids` that the update just made has not reached, or that was named twice."""
    reached: set[int] = set()
    for start in range(0, len(ids), MANY):
        part = ids[start : start + MANY]
        query = select(intents.c.id).where(intents.c.id.in_(part), intents.c.slot.in_(theirs), intents.c.state == new)
        reached |= set(tx.execute(query).scalars())
    refuse(tx, intents, ids[first_missed(ids, reached)], new)
