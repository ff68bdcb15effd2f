"""Intents: one thing each that must happen on chain exactly once, unique by chain and request key.

`accept` and `accept_many` are the door; what the sending engine does to them for many slots at once stands in
`sending`. The functions at the end are for one slot whose transaction did not do what it was made for. They go by the
slot's recorded state, so the slot is moved first, in the same transaction.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, TypeVar

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    literal,
    or_,
    select,
    text,
    update,
)

from nftloyalty.domain.event import EventType
from nftloyalty.domain.intent import IllegalTransition, IntentState, Kind, SlotState
from nftloyalty.errors import Unknown
from nftloyalty.store import event_steps
from nftloyalty.store.tables import intents, slots
from nftloyalty.store.writing import MANY, first_missed, insert_many_new, insert_new, one_of, refuse, to_intent

# Any constant of our own: the first half of the PostgreSQL lock that bulk intakes of one program take turns on.
_INTAKE_LOCK = 0x6E6674

_Item = TypeVar("_Item")

# Written out and not as parameters: only so can the database know that an index of such rows alone is enough.
_WAITS = intents.c.state == literal(IntentState.RECEIVED, intents.c.state.type, literal_execute=True)
_UNFINISHED = intents.c.state.in_(
    [
        literal(state, intents.c.state.type, literal_execute=True)
        for state in (IntentState.RECEIVED, IntentState.BATCHED)
    ]
)
_GROUP = (intents.c.program, intents.c.kind, intents.c.stamp_type)
# Made once: making a statement takes longer than what it asks.
_OF_KEYS = select(intents).where(intents.c.chain == bindparam("of_chain"), one_of(intents.c.request_key, "keys"))
_OF_WAITING = (
    intents.c.id,
    intents.c.public_id,
    intents.c.program,
    intents.c.kind,
    intents.c.stamp_type,
    intents.c.recipient,
    intents.c.args,
    intents.c.reverts,
)


@dataclass(frozen=True)
class NewIntent:
    """What is asked for. `args` is what the calldata needs beside the recipient (tier, expiry, a voucher, ...)."""

    public_id: str
    chain: int
    program: int | None
    signer: int
    kind: Kind
    stamp_type: int
    recipient: str | None
    args: Mapping[str, Any]
    request_key: str


@dataclass(frozen=True)
class IntentRow:
    """`code` is the contract's skip code: set while INCLUDED it foretells REJECTED. `log_index` is its proof's.

    `reverts` counts the transactions that held it and failed for good.
    """

    id: int
    public_id: str
    chain: int
    program: int | None
    signer: int
    kind: Kind
    stamp_type: int
    recipient: str | None
    args: Mapping[str, Any]
    request_key: str
    state: IntentState
    slot: int | None
    position: int | None
    tx_hash: str | None
    block_number: int | None
    block_hash: str | None
    log_index: int | None
    code: int | None
    error: str | None
    created_at: datetime
    updated_at: datetime
    reverts: int


@dataclass(frozen=True, slots=True)
class WaitingRow:
    """An intent that is RECEIVED, as much of it as a transaction is made of: of these, thousands are read at once."""

    id: int
    public_id: str
    program: int | None
    kind: Kind
    stamp_type: int
    recipient: str | None
    args: Mapping[str, Any]
    reverts: int


Batchable = IntentRow | WaitingRow
"""What can be put into a transaction."""


@dataclass(frozen=True)
class Accepted:
    """How many of a bulk intake were new, and how many had been asked for before."""

    new: int
    known: int


@dataclass(frozen=True)
class Group:
    """What can share a transaction."""

    program: int | None
    kind: Kind
    stamp_type: int


@dataclass(frozen=True)
class Landed:
    """What the included transaction did for one intent: the log that shows it, and the skip code if it was skipped."""

    intent: int
    log_index: int | None
    code: int | None = None


@dataclass(frozen=True, slots=True)
class Passenger:
    """One intent of a slot: whom it is for, and which stamp type (0 = a card)."""

    intent: int
    program: int | None
    recipient: str | None
    stamp_type: int


def accept(tx: Connection, new: NewIntent, now: datetime) -> tuple[IntentRow, bool]:
    """The intent of this request key, and whether it was made just now. An earlier one comes back as it is."""
    made = tx.execute(
        insert_new(tx, intents, intents.c.chain, intents.c.request_key).values(_fresh(new, now)).returning(*intents.c)
    ).one_or_none()
    if made is not None:
        return IntentRow(*made), True
    known = tx.execute(
        select(intents).where(intents.c.chain == new.chain, intents.c.request_key == new.request_key)
    ).one()
    return IntentRow(*known), False


def accept_many(tx: Connection, new: Iterable[NewIntent], now: datetime) -> Accepted:
    """Accept any number in order; those whose request key is known stay as they are."""
    total = made = 0
    for chunk in _chunks(new):
        made += len(accept_new(tx, chunk, now))
        total += len(chunk)
    return Accepted(new=made, known=total - made)


def accept_new(tx: Connection, new: Sequence[NewIntent], now: datetime) -> dict[str, int]:
    """As `accept_many`; returns the row of each that was new by its request key."""
    take_turns(tx, {intent.program for intent in new})
    made: dict[str, int] = {}
    for chunk in _chunks(new):
        fresh = [_fresh(intent, now) for intent in chunk]
        for row, _chain, key in insert_many_new(tx, intents, fresh, intents.c.chain, intents.c.request_key):
            made[key] = row
    return made


def take_turns(tx: Connection, programs: Collection[int | None]) -> None:
    """Until this transaction ends, no other one takes in many mints of these programs: what is looked up of them stays
    true, and two that take in the same in another order do not wait for each other's rows for ever."""
    if tx.dialect.name == "postgresql":
        for program in sorted({program or 0 for program in programs}):
            tx.execute(
                text("SELECT pg_advisory_xact_lock(:intake, :program)"),
                {"intake": _INTAKE_LOCK, "program": program % 2**31},
            )


def ask_again(tx: Connection, new: Iterable[NewIntent], now: datetime) -> int:
    """Take rejected and cancelled intents up once more, with the signer and args given now; returns how many.

    They are found by chain and request key. Those in any other state are left alone. Nothing was minted for them and no
    bytes can mint them any more, so this stays exactly once.
    """
    to_intent(IntentState.REJECTED, IntentState.RECEIVED)
    to_intent(IntentState.CANCELLED, IntentState.RECEIVED)
    query = (
        update(intents)
        .where(
            intents.c.chain == bindparam("in_chain"),
            intents.c.request_key == bindparam("of_key"),
            or_(intents.c.state == IntentState.REJECTED, intents.c.state == IntentState.CANCELLED),
        )
        .values(
            state=IntentState.RECEIVED,
            signer=bindparam("new_signer"),
            args=bindparam("new_args"),
            updated_at=now,
            slot=None,
            position=None,
            tx_hash=None,
            block_number=None,
            block_hash=None,
            log_index=None,
            code=None,
            error=None,
            reverts=0,
        )
    )
    again = 0
    for chunk in _chunks(new):
        if len(chunk) > 1:
            take_turns(tx, {intent.program for intent in chunk})
        values = [
            {
                "in_chain": intent.chain,
                "of_key": intent.request_key,
                "new_signer": intent.signer,
                "new_args": intent.args,
            }
            for intent in chunk
        ]
        again += tx.execute(query, values).rowcount
    return again


def reassign(tx: Connection, chain: int, keys: Iterable[str], signer: int, now: datetime) -> int:
    """Let another signer send these where nothing was reserved for them yet; returns how many changed hands."""
    changed = 0
    for chunk in _chunks(keys):
        query = (
            update(intents)
            .where(
                intents.c.chain == chain,
                intents.c.request_key.in_(chunk),
                intents.c.state == IntentState.RECEIVED,
                intents.c.signer != signer,
            )
            .values(signer=signer, updated_at=now)
        )
        changed += tx.execute(query).rowcount
    return changed


def hand_over(
    tx: Connection, signer: int, former: int, program: int, kinds: Collection[Kind], limit: int, now: datetime
) -> int:
    """Let `signer` send up to `limit` of the newest that wait for a `former` one; returns how many changed hands.

    Safe beside the former one's sender: whichever of the two changes a row first has it.
    """
    query = (
        select(intents.c.id)
        .where(intents.c.signer == former, _WAITS, intents.c.program == program, intents.c.kind.in_(kinds))
        .order_by(intents.c.id.desc())
        .limit(limit)
    )
    if tx.dialect.name == "postgresql":
        query = query.with_for_update(skip_locked=True)
    changed = 0
    for chunk in _chunks(tx.execute(query).scalars().all()):
        moved = update(intents).where(
            intents.c.id.in_(chunk), intents.c.signer == former, intents.c.state == IntentState.RECEIVED
        )
        changed += tx.execute(moved.values(signer=signer, updated_at=now)).rowcount
    return changed


def who_has(tx: Connection, chain: int, keys: Iterable[str]) -> dict[IntentState, set[int]]:
    """Of these requests, which signers have some that wait (RECEIVED) and some that are under way (BATCHED)."""
    found: dict[IntentState, set[int]] = {}
    for chunk in _chunks(keys):
        query = (
            select(intents.c.state, intents.c.signer)
            .where(intents.c.chain == chain, intents.c.request_key.in_(chunk), _UNFINISHED)
            .distinct()
        )
        for state, signer in tx.execute(query):
            found.setdefault(state, set()).add(signer)
    return found


def get(tx: Connection, public_id: str) -> IntentRow:
    """Raises Unknown."""
    row = tx.execute(select(intents).where(intents.c.public_id == public_id)).one_or_none()
    if row is None:
        raise Unknown(f"there is no intent {public_id!r}")
    return IntentRow(*row)


def by_keys(tx: Connection, chain: int, keys: Iterable[str]) -> dict[str, IntentRow]:
    """The intents of these request keys on this chain; keys nobody asked for are left out. Any number of keys."""
    found: dict[str, IntentRow] = {}
    for chunk in _chunks(keys):
        rows = [IntentRow(*row) for row in tx.execute(_OF_KEYS, {"of_chain": chain, "keys": chunk})]
        found.update((row.request_key, row) for row in rows)
    return found


def by_ids(tx: Connection, ids: Iterable[int]) -> list[IntentRow]:
    """These intents, in the order asked. Raises Unknown."""
    wanted = list(ids)
    found: dict[int, IntentRow] = {}
    for chunk in _chunks(wanted):
        found.update((row.id, IntentRow(*row)) for row in tx.execute(select(intents).where(intents.c.id.in_(chunk))))
    for each in wanted:
        if each not in found:
            raise Unknown(f"there is no intent {each}")
    return [found[each] for each in wanted]


def of_slot(tx: Connection, slot: int) -> list[IntentRow]:
    """The intents that ride in this slot, in the order of its batch."""
    query = select(intents).where(intents.c.slot == slot).order_by(intents.c.position)
    return [IntentRow(*row) for row in tx.execute(query)]


def aboard(tx: Connection, slot_ids: Collection[int]) -> dict[int, list[Passenger]]:
    """What rides in each of these slots, in the order of its batch, as little of it as settling needs."""
    columns = (intents.c.slot, intents.c.id, intents.c.program, intents.c.recipient, intents.c.stamp_type)
    query = select(*columns).where(intents.c.slot.in_(slot_ids)).order_by(intents.c.slot, intents.c.position)
    found: dict[int, list[Passenger]] = {slot: [] for slot in slot_ids}
    for slot, *rest in tx.execute(query):
        found[slot].append(Passenger(*rest))
    return found


def groups(tx: Connection, signer: int) -> list[Group]:
    """The groups of which something waits for this signer. Takes as long as there are groups, however much waits."""
    # From each group straight to the next one: DISTINCT would read every row that waits. Column by column, for SQLite
    # goes through the whole group it starts from to find what is beyond three columns taken together.
    found: list[Group] = []
    some = intents.c.program.is_not(None)
    this = _first_group(tx, signer, ~some) or _first_group(tx, signer, some)
    while this is not None:
        found.append(this)
        program = ~some if this.program is None else intents.c.program == this.program
        this = (
            _first_group(tx, signer, program, intents.c.kind == this.kind, intents.c.stamp_type > this.stamp_type)
            or _first_group(tx, signer, program, intents.c.kind > this.kind)
            or _first_group(tx, signer, some if this.program is None else intents.c.program > this.program)
        )
    return found


def waiting(tx: Connection, signer: int, group: Group, *, limit: int) -> list[WaitingRow]:
    """The oldest RECEIVED intents of one group, up to `limit`."""
    query = select(*_OF_WAITING).where(intents.c.signer == signer, _WAITS, _in_group(group))
    return [WaitingRow(*row) for row in tx.execute(query.order_by(intents.c.id).limit(limit))]


def unfinished(
    tx: Connection,
    program: int,
    kind: Kind,
    stamp_type: int | None = None,
    signer: int | None = None,
) -> dict[IntentState, int]:
    """How many intents of a program wait (RECEIVED) and are under way (BATCHED); states with none are left out."""
    query = select(intents.c.state, func.count()).where(
        intents.c.program == program, intents.c.kind == kind, _UNFINISHED
    )
    if stamp_type is not None:
        query = query.where(intents.c.stamp_type == stamp_type)
    if signer is not None:
        query = query.where(intents.c.signer == signer)
    return {row[0]: row[1] for row in tx.execute(query.group_by(intents.c.state))}


def under_way(tx: Connection, program: int, kind: Kind, stamp_type: int | None = None) -> int:
    """How many intents of a program are in transactions that no block holds, as far as we know (BATCHED). Takes as long
    as there are such, however much waits."""
    query = select(func.count()).where(
        intents.c.program == program, intents.c.kind == kind, _UNFINISHED, intents.c.state == IntentState.BATCHED
    )
    if stamp_type is not None:
        query = query.where(intents.c.stamp_type == stamp_type)
    return tx.execute(query).scalar_one()


def hold_unchanged(tx: Connection, signer: int, rows: Sequence[WaitingRow]) -> bool:
    """Whether these wait for this signer still, as they were read; if so, nobody changes them until this transaction
    ends."""
    found: list[WaitingRow] = []
    for chunk in _chunks(row.id for row in rows):
        query = select(*_OF_WAITING).where(
            intents.c.id.in_(chunk), intents.c.signer == signer, intents.c.state == IntentState.RECEIVED
        )
        found += [WaitingRow(*row) for row in tx.execute(query.order_by(intents.c.id).with_for_update())]
    return found == sorted(rows, key=lambda row: row.id)


def reject(
    tx: Connection, ids: Sequence[int], now: datetime, *, code: int | None = None, error: str | None = None
) -> None:
    """RECEIVED → REJECTED: the dry run says the contract would refuse these. All of them, or IllegalTransition."""
    values = {"code": code, "error": error, "updated_at": now}
    ended = _leave_waiting(tx, ids, IntentState.REJECTED, values)
    event_steps.end_intents(tx, EventType.INTENT_REJECTED, ended, now)


def cancel(tx: Connection, ids: Sequence[int], now: datetime, *, told: bool = True) -> None:
    """RECEIVED → CANCELLED: nothing was reserved for these yet. All of them, or IllegalTransition.

    `told` is False for what is asked for again in the same transaction: nobody is to hear that it comes to nothing.
    """
    ended = _leave_waiting(tx, ids, IntentState.CANCELLED, {"updated_at": now})
    if told:
        event_steps.end_intents(tx, EventType.INTENT_CANCELLED, ended, now)


def withdraw(
    tx: Connection,
    chain: int,
    program: int | None,
    now: datetime,
    *,
    kind: Kind | None = None,
    stamp_type: int | None = None,
    recipient: str | None = None,
) -> int:
    """RECEIVED → CANCELLED for all that a program (and what belongs to none) waits with, or for a part of it; returns
    how many. Safe beside a running sender: whichever of the two changes a row first has it."""
    query = (
        update(intents)
        .where(
            intents.c.chain == chain,
            or_(intents.c.program.is_(None), intents.c.program == program),
            intents.c.state == IntentState.RECEIVED,
        )
        .values(**to_intent(IntentState.RECEIVED, IntentState.CANCELLED), updated_at=now)
    )
    if kind is not None:
        query = query.where(intents.c.kind == kind)
    if stamp_type is not None:
        query = query.where(intents.c.stamp_type == stamp_type)
    if recipient is not None:
        query = query.where(intents.c.recipient == recipient)
    ended = sorted(tx.execute(query.returning(intents.c.id, *event_steps.ENDED)).all())
    event_steps.end_intents(tx, EventType.INTENT_CANCELLED, (row[1:] for row in ended), now)
    return len(ended)


def received_of(tx: Connection, signer: int) -> list[IntentRow]:
    """Everything that waits for a signer, oldest first."""
    query = (
        select(intents)
        .where(intents.c.signer == signer, intents.c.state == IntentState.RECEIVED)
        .order_by(intents.c.id)
    )
    return [IntentRow(*row) for row in tx.execute(query)]


def received_beside(tx: Connection, chain: int, signer: int, kinds: Collection[Kind]) -> list[IntentRow]:
    """What of these kinds waits for other signers of the chain, oldest first."""
    query = (
        select(intents)
        .where(
            intents.c.chain == chain,
            intents.c.signer != signer,
            intents.c.kind.in_(kinds),
            intents.c.state == IntentState.RECEIVED,
        )
        .order_by(intents.c.id)
    )
    return [IntentRow(*row) for row in tx.execute(query)]


def mark_told(tx: Connection, intent: int) -> None:
    """Write down that the operator was told how this act ended: asked for once more, it is another act."""
    args = tx.execute(select(intents.c.args).where(intents.c.id == intent)).scalar_one_or_none()
    if args is None:
        raise Unknown(f"there is no intent {intent}")
    tx.execute(update(intents).where(intents.c.id == intent).values(args={**args, "told": True}))


def mark_reorged(tx: Connection, slot: int, now: datetime) -> int:
    """INCLUDED → BATCHED: the slot's block is gone and the slot is BROADCASTING again. Returns how many."""
    _slot_state(tx, slot, {SlotState.BROADCASTING})
    changed = tx.execute(
        update(intents)
        .where(intents.c.slot == slot, intents.c.state == IntentState.INCLUDED)
        .values(
            **to_intent(IntentState.INCLUDED, IntentState.BATCHED),
            tx_hash=None,
            block_number=None,
            block_hash=None,
            log_index=None,
            code=None,
            updated_at=now,
        )
    )
    return changed.rowcount


def reject_unproven(tx: Connection, slot: int, error: str, now: datetime) -> int:
    """BATCHED → REJECTED for what a FINAL slot did nothing for, which `sending.finalise` tells, and for an act whose
    transaction failed for good. Returns how many."""
    _slot_state(tx, slot, {SlotState.FINAL, SlotState.FINAL_REVERTED})
    ended = tx.execute(
        update(intents)
        .where(intents.c.slot == slot, intents.c.state == IntentState.BATCHED)
        .values(**to_intent(IntentState.BATCHED, IntentState.REJECTED), error=error, updated_at=now)
        .returning(*event_steps.ENDED)
    ).all()
    event_steps.end_intents(tx, EventType.INTENT_REJECTED, ended, now)
    return len(ended)


def return_to_received(tx: Connection, slot: int, now: datetime) -> int:
    """BATCHED → RECEIVED: the slot's nonce is spent for good and nothing of it happened. Returns how many. A slot that
    reverted is counted against each.

    The slot is FINAL_REVERTED, FINAL_NOOP, or FOREIGN (once the foreign use is final and the chain was searched for
    what a lost copy of this database may have sent).
    """
    state = _slot_state(tx, slot, {SlotState.FINAL_REVERTED, SlotState.FINAL_NOOP, SlotState.FOREIGN})
    changed = tx.execute(
        update(intents)
        .where(intents.c.slot == slot, intents.c.state == IntentState.BATCHED)
        .values(
            **to_intent(IntentState.BATCHED, IntentState.RECEIVED),
            slot=None,
            position=None,
            reverts=intents.c.reverts + int(state is SlotState.FINAL_REVERTED),
            updated_at=now,
        )
    )
    return changed.rowcount


def _slot_state(tx: Connection, slot: int, states: Collection[SlotState]) -> SlotState:
    """The slot's state. Raises IllegalTransition if it is none of these."""
    state: SlotState | None = tx.execute(select(slots.c.state).where(slots.c.id == slot)).scalar_one_or_none()
    if state is None:
        raise Unknown(f"there is no slot {slot}")
    if state not in states:
        needed = " or ".join(sorted(states))
        raise IllegalTransition(f"the intents of slot {slot}, which is not {needed},", state, needed)
    return state


def _fresh(new: NewIntent, now: datetime) -> dict[str, Any]:
    return {
        "public_id": new.public_id,
        "chain": new.chain,
        "program": new.program,
        "signer": new.signer,
        "kind": new.kind,
        "stamp_type": new.stamp_type,
        "recipient": new.recipient,
        "args": new.args,
        "request_key": new.request_key,
        "state": IntentState.RECEIVED,
        "created_at": now,
        "updated_at": now,
    }


def _in_group(group: Group) -> ColumnElement[bool]:
    # `IS NULL` written out: PostgreSQL can't use an index for IS NOT DISTINCT FROM.
    program = intents.c.program.is_(None) if group.program is None else intents.c.program == group.program
    return and_(program, intents.c.kind == group.kind, intents.c.stamp_type == group.stamp_type)


def _leave_waiting(tx: Connection, ids: Sequence[int], new: IntentState, values: dict[str, Any]) -> list[Sequence[Any]]:
    """Returns what their events are made of, in the order asked."""
    found: dict[int, Sequence[Any]] = {}
    for chunk in _chunks(ids):
        changed = tx.execute(
            update(intents)
            .where(intents.c.id.in_(chunk), intents.c.state == IntentState.RECEIVED)
            .values(**to_intent(IntentState.RECEIVED, new), **values)
            .returning(intents.c.id, *event_steps.ENDED)
        ).all()
        found.update((row[0], row[1:]) for row in changed)
        if len(changed) != len(chunk):
            done = (intents.c.state == new, intents.c.updated_at == values["updated_at"])
            reached = tx.execute(select(intents.c.id).where(intents.c.id.in_(chunk), *done)).scalars()
            refuse(tx, intents, chunk[first_missed(chunk, reached)], new)
    return [found[each] for each in ids]


def _first_group(tx: Connection, signer: int, *beyond: ColumnElement[bool]) -> Group | None:
    query = select(*_GROUP).where(intents.c.signer == signer, _WAITS, *beyond).order_by(*_GROUP).limit(1)
    row = tx.execute(query).one_or_none()
    return None if row is None else Group(*row)


def _chunks(items: Iterable[_Item]) -> Iterator[list[_Item]]:
    rest = iter(items)
    while chunk := list(islice(rest, MANY)):
        yield chunk
