"""Slots and attempts: one nonce of one signer each, and every signed transaction that was ever made for it.

The nonce is taken and the intents are batched in one transaction; bytes are stored before they can be sent, and the
sending is written down before it happens. So the bytes on the wire are always among the stored attempts, a slot without
an attempt was provably never sent, and slots of a signer follow each other without a gap.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby

from sqlalchemy import ColumnElement, Connection, exists, func, insert, select, update

from nftloyalty.domain.intent import OPEN_SLOT_STATES, Kind, SlotState
from nftloyalty.errors import SigningProblem, Unknown
from nftloyalty.store import signers
from nftloyalty.store.tables import attempts, slots
from nftloyalty.store.tables import signers as signers_table
from nftloyalty.store.writing import refuse, to_slot

NOT_INCLUDED = (SlotState.RESERVED, SlotState.SIGNED, SlotState.BROADCASTING)


@dataclass(frozen=True)
class SlotRow:
    """`calldata` is what every attempt but a no-op carries. `tx_hash`, the block and `succeeded` are set together.

    `cancel_asked_at` is when an operator asked for a no-op in its place.
    """

    id: int
    signer: int
    nonce: int
    kind: Kind
    to_address: str | None
    calldata: bytes
    value: int
    gas_limit: int
    state: SlotState
    epoch: int
    tx_hash: str | None
    block_number: int | None
    block_hash: str | None
    succeeded: bool | None
    created_at: datetime
    updated_at: datetime
    cancel_asked_at: datetime | None


@dataclass(frozen=True)
class AttemptRow:
    """`first_sent_at` None proves it was never sent. `last_error` is for people only."""

    id: int
    slot: int
    seq: int
    tx_hash: str
    raw: bytes
    max_fee_wei: int
    priority_fee_wei: int
    noop: bool
    created_at: datetime
    first_sent_at: datetime | None
    last_sent_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class OpenSlot:
    """A slot that is not final, with its attempts in the order they were made."""

    slot: SlotRow
    attempts: tuple[AttemptRow, ...]


@dataclass(frozen=True)
class WatchedSlot:
    """What watching needs to know of an open slot, without the bytes. `hashes` are all its attempts' hashes, `noops`
    those of the empty ones among them; `cancel_asked` = an operator wants it taken back."""

    id: int
    nonce: int
    kind: Kind
    state: SlotState
    tx_hash: str | None
    block_number: int | None
    block_hash: str | None
    succeeded: bool | None
    hashes: tuple[str, ...]
    noops: frozenset[str]
    cancel_asked: bool
    last_sent_at: datetime | None


def note_error(tx: Connection, attempt: int, text: str) -> None:
    """Keep what the node said about this attempt, shortened, for the operator to read. Decides nothing."""
    tx.execute(update(attempts).where(attempts.c.id == attempt).values(last_error=text[:2_000]))


def get(tx: Connection, slot: int) -> SlotRow:
    """Raises Unknown."""
    row = tx.execute(select(slots).where(slots.c.id == slot)).one_or_none()
    if row is None:
        raise Unknown(f"there is no slot {slot}")
    return SlotRow(*row)


def open_slots(tx: Connection, signer: int, states: Collection[SlotState] = OPEN_SLOT_STATES) -> list[OpenSlot]:
    """The signer's slots that are not final (or only those in `states`) with all their bytes, lowest nonce first."""
    wanted = (slots.c.signer == signer, slots.c.state.in_(list(states)))
    # Sorted here: asked for the order, SQLite walks through all slots there ever were by nonce.
    found = sorted((SlotRow(*row) for row in tx.execute(select(slots).where(*wanted))), key=lambda slot: slot.nonce)
    query = (
        select(attempts)
        .join(slots, attempts.c.slot == slots.c.id)
        .where(*wanted)
        .order_by(attempts.c.slot, attempts.c.seq)
    )
    made = {
        slot: tuple(group)
        for slot, group in groupby((AttemptRow(*row) for row in tx.execute(query)), key=lambda attempt: attempt.slot)
    }
    return [OpenSlot(slot, made.get(slot.id, ())) for slot in found]


def ask_cancel(tx: Connection, signer: int, nonces: Collection[int] | None, now: datetime) -> int:
    """Have the sender use up these nonces (None = all under way) with empty transactions; returns how many were asked
    for by now. What is on chain already, or asked for, is left alone."""
    query = update(slots).where(
        slots.c.signer == signer, slots.c.state.in_(NOT_INCLUDED), slots.c.cancel_asked_at.is_(None)
    )
    if nonces is not None:
        query = query.where(slots.c.nonce.in_(list(nonces)))
    return tx.execute(query.values(cancel_asked_at=now)).rowcount


def has_attempt(tx: Connection, tx_hash: str) -> bool:
    """Whether these very bytes were stored before, whatever for."""
    return tx.execute(select(attempts.c.id).where(attempts.c.tx_hash == tx_hash)).one_or_none() is not None


def is_noop(tx: Connection, slot: int) -> bool:
    """Whether what a block holds for this slot is an empty attempt."""
    return tx.execute(select(slots.c.id).where(slots.c.id == slot, _noop())).one_or_none() is not None


def to_cancel(tx: Connection, signer: int) -> list[OpenSlot]:
    """Slots whose cancelling was asked for and that have no empty attempt yet."""
    asked = (slots.c.signer == signer, slots.c.state.in_(NOT_INCLUDED), slots.c.cancel_asked_at.is_not(None))
    if tx.execute(select(slots.c.id).where(*asked).limit(1)).one_or_none() is None:
        return []
    return [
        each
        for each in open_slots(tx, signer, NOT_INCLUDED)
        if each.slot.cancel_asked_at is not None and not any(attempt.noop for attempt in each.attempts)
    ]


def watched(tx: Connection, signer: int) -> list[WatchedSlot]:
    """The signer's slots that may be on chain and are not final, lowest nonce first, without loading any bytes."""
    query = (
        select(
            slots.c.id,
            slots.c.nonce,
            slots.c.kind,
            slots.c.state,
            slots.c.tx_hash,
            slots.c.block_number,
            slots.c.block_hash,
            slots.c.succeeded,
            slots.c.cancel_asked_at,
            attempts.c.tx_hash.label("attempt_hash"),
            attempts.c.seq,
            attempts.c.noop,
            attempts.c.last_sent_at,
        )
        .join(attempts, attempts.c.slot == slots.c.id)
        .where(slots.c.signer == signer, slots.c.state.in_([SlotState.BROADCASTING, SlotState.INCLUDED]))
    )
    result = []
    # Sorted here for the same reason as in open_slots.
    in_order = sorted(tx.execute(query), key=lambda row: (row.nonce, row.seq))
    for _, group in groupby(in_order, key=lambda row: row.id):
        rows = list(group)
        first = rows[0]
        sent = [row.last_sent_at for row in rows if row.last_sent_at is not None]
        result.append(
            WatchedSlot(
                id=first.id,
                nonce=first.nonce,
                kind=first.kind,
                state=first.state,
                tx_hash=first.tx_hash,
                block_number=first.block_number,
                block_hash=first.block_hash,
                succeeded=first.succeeded,
                hashes=tuple(row.attempt_hash for row in rows),
                noops=frozenset(row.attempt_hash for row in rows if row.noop),
                cancel_asked=first.cancel_asked_at is not None,
                last_sent_at=max(sent, default=None),
            )
        )
    return result


@dataclass(frozen=True)
class InFlight:
    """Transactions that no block holds yet: how many, and the gas they may use."""

    count: int
    gas: int


def in_flight(tx: Connection, signer: int) -> InFlight:
    """What the window of a signer is measured by."""
    query = select(func.count(), func.coalesce(func.sum(slots.c.gas_limit), 0)).where(
        slots.c.signer == signer, slots.c.state.in_(NOT_INCLUDED)
    )
    count, gas = tx.execute(query).one()
    return InFlight(int(count), int(gas))


def promised_wei(tx: Connection, signer: int) -> int:
    """The most that the signer's transactions in flight may still cost: their value and all the gas they may use."""
    query = (
        select(slots.c.id, slots.c.value, slots.c.gas_limit, attempts.c.max_fee_wei)
        .join(attempts, attempts.c.slot == slots.c.id)
        .where(slots.c.signer == signer, slots.c.state.in_(NOT_INCLUDED))
    )
    # The dearest attempt of each slot counts. Amounts are text in the database, so they are compared here.
    most: dict[int, int] = {}
    for slot, value, gas_limit, max_fee in tx.execute(query):
        most[slot] = max(most.get(slot, 0), value + gas_limit * max_fee)
    return sum(most.values())


def set_final_reverted(tx: Connection, slot: int, block_hash: str, now: datetime) -> None:
    """INCLUDED → FINAL_REVERTED: the block, re-read, is the one recorded and final, and the transaction reverted in it.
    Its intents may return."""
    _end(tx, slot, SlotState.FINAL_REVERTED, block_hash, now, slots.c.succeeded.is_(False), ~_noop())


def set_final_noop(tx: Connection, slot: int, block_hash: str, now: datetime) -> None:
    """INCLUDED → FINAL_NOOP: the block is final and holds the empty attempt. Its intents may return."""
    _end(tx, slot, SlotState.FINAL_NOOP, block_hash, now, _noop())


def back_to_broadcasting(tx: Connection, slot: int, block_hash: str, now: datetime) -> None:
    """INCLUDED → BROADCASTING: the recorded block is not in the chain any more. The same bytes are sent again."""
    moved = tx.execute(
        update(slots)
        .where(slots.c.id == slot, slots.c.state == SlotState.INCLUDED, slots.c.block_hash == block_hash)
        .values(
            **to_slot(SlotState.INCLUDED, SlotState.BROADCASTING),
            tx_hash=None,
            block_number=None,
            block_hash=None,
            succeeded=None,
            updated_at=now,
        )
    )
    if moved.rowcount != 1:
        refuse(tx, slots, slot, SlotState.BROADCASTING, f"in block {block_hash}")


def set_foreign(tx: Connection, slot: int, now: datetime) -> None:
    """→ FOREIGN: the chain has used this nonce for a transaction that is no attempt of the slot. Halt the signer."""
    for old in NOT_INCLUDED:
        to_slot(old, SlotState.FOREIGN)
    moved = tx.execute(
        update(slots)
        .where(slots.c.id == slot, slots.c.state.in_(NOT_INCLUDED))
        .values(state=SlotState.FOREIGN, updated_at=now)
    )
    if moved.rowcount != 1:
        refuse(tx, slots, slot, SlotState.FOREIGN)


def record_foreign(tx: Connection, signer: int, chain_nonce: int, now: datetime) -> int:
    """Record the nonces from next_nonce up to `chain_nonce` as used by others, and go on after them. Returns how many.

    Only for a halted signer: it is the operator's word that what those transactions did has been looked at.
    """
    row = signers.get(tx, signer)
    if row.halted is None or row.next_nonce is None:
        raise SigningProblem(f"{row.address} is not halted: foreign nonces are recorded while nothing is sent")
    moved = tx.execute(
        update(signers_table)
        .where(signers_table.c.id == signer, signers_table.c.next_nonce == row.next_nonce)
        .values(next_nonce=max(row.next_nonce, chain_nonce))
    )
    if moved.rowcount != 1:
        raise SigningProblem(f"the next nonce of {row.address} moved while foreign ones were recorded")
    foreign = [
        {
            "signer": signer,
            "nonce": nonce,
            "kind": Kind.CALL,
            "calldata": b"",
            "value": 0,
            "gas_limit": 0,
            "state": SlotState.FOREIGN,
            "epoch": row.lease_epoch,
            "created_at": now,
            "updated_at": now,
        }
        for nonce in range(row.next_nonce, chain_nonce)
    ]
    if foreign:
        tx.execute(insert(slots), foreign)
    return len(foreign)


def _noop() -> ColumnElement[bool]:
    return exists().where(attempts.c.slot == slots.c.id, attempts.c.tx_hash == slots.c.tx_hash, attempts.c.noop)


def _end(
    tx: Connection, slot: int, end: SlotState, block_hash: str, now: datetime, *proof: ColumnElement[bool]
) -> None:
    moved = tx.execute(
        update(slots)
        .where(slots.c.id == slot, slots.c.state == SlotState.INCLUDED, slots.c.block_hash == block_hash, *proof)
        .values(**to_slot(SlotState.INCLUDED, end), updated_at=now)
    )
    if moved.rowcount != 1:
        refuse(tx, slots, slot, end, f"in block {block_hash}")
