"""Events as they are written: told once, each with its number among those of its object, and never changed.

What made an event is written in the same transaction: the announcement that moved, the blocks that were undone, the
intent that came to nothing. So no event is told twice, and none is lost with a process that dies.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import (
    ARRAY,
    Connection,
    Text,
    bindparam,
    column,
    delete,
    func,
    insert,
    literal,
    select,
    text,
    update,
)

from nftloyalty.domain.event import EventType, event_id, intent_data, intent_object
from nftloyalty.store import deliveries
from nftloyalty.store.columns import json_text
from nftloyalty.store.events import EventRow
from nftloyalty.store.tables import Phase, announcements, chains, events, intents, pending_events, programs

# Objects and rows put into one statement.
_CHUNK = 500
_ROWS = 5_000
# Any constant of our own: the first half of the PostgreSQL lock on which those who tell events of one program take
# turns.
_TURN_LOCK = 0x65767473
_BETWEEN = "\x1e"

ENDED = (
    intents.c.program,
    intents.c.public_id,
    intents.c.kind,
    intents.c.stamp_type,
    intents.c.recipient,
    intents.c.tx_hash,
    intents.c.code,
    intents.c.error,
)
"""Of an intent that comes to nothing, what its event is made of."""


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event that is about to be told. `place` is where on the chain it comes from, "" for what does not."""

    type: str
    phase: Phase
    object: str
    wallet: bytes | None
    data: Mapping[str, Any]
    place: str = ""


def add(tx: Connection, program: int, new: Sequence[NewEvent], now: datetime) -> list[EventRow]:
    """Tell these events, in order. The only door by which events come in; returns their rows.

    Whoever calls it makes sure that nobody else tells of the same objects until the transaction ends.
    """
    if not new:
        return []
    _take_turn(tx, program)
    identity = _identity(tx, program)
    told = _sequences(tx, program, {each.object for each in new})
    rows = []
    for number, each in zip(_take_numbers(tx, len(new)), new, strict=True):
        sequence = told[each.object] = told.get(each.object, 0) + 1
        # A log becomes final once. Until then it may be seen, undone and seen again, in the same block even.
        once = each.place != "" and each.phase is Phase.FINAL
        parts = (*identity, each.object, each.type, each.phase.value, each.place, "" if once else str(sequence))
        rows.append(
            EventRow(
                number,
                event_id(*parts),
                program,
                each.type,
                each.phase,
                each.object,
                sequence,
                each.wallet,
                each.data,
                now,
            )
        )
    for start in range(0, len(rows), _ROWS):
        _insert(tx, program, rows[start : start + _ROWS], now)
    deliveries.fan_out(tx, rows, now)
    return rows


def add_pending(tx: Connection, program: int, rows: Iterable[tuple[int, int]]) -> None:
    """Remember events, each with its block, that may still have to be taken back."""
    values = [{"program": program, "block_number": block, "event": event} for block, event in rows]
    if values:
        tx.execute(insert(pending_events), values)


def pending(tx: Connection, program: int, first: int, last: int) -> list[EventRow]:
    """Events of the blocks `first` to `last` that are neither final nor taken back, in the order they were told."""
    query = (
        select(events)
        .join(pending_events, pending_events.c.event == events.c.id)
        .where(
            pending_events.c.program == program,
            pending_events.c.block_number >= first,
            pending_events.c.block_number <= last,
        )
        .order_by(events.c.id)
    )
    return [EventRow(*row) for row in tx.execute(query)]


def forget_pending(tx: Connection, program: int, first: int, last: int) -> None:
    tx.execute(
        delete(pending_events).where(
            pending_events.c.program == program,
            pending_events.c.block_number >= first,
            pending_events.c.block_number <= last,
        )
    )


def taken_back(rows: Sequence[EventRow]) -> list[NewEvent]:
    """The events that take these pending ones back, the newest first."""
    return [
        NewEvent(row.type, Phase.REVERTED, row.object, row.wallet, following(row.data, row), _place(row.data))
        for row in reversed(rows)
    ]


def following(data: Mapping[str, Any], row: EventRow) -> dict[str, Any]:
    """`data` of an event that says what became of the pending one in `row`."""
    return {**data, "follows": row.public_id}


def take_back(tx: Connection, program: int, number: int, now: datetime) -> None:
    """The blocks above `number` are undone: take back what was told of them, and let it be told anew.

    An index that is behind what is final and told, for it is being rebuilt, knows nothing of those blocks.
    """
    stands = tx.execute(
        select(announcements.c.block_number, announcements.c.final_number)
        .where(announcements.c.program == program)
        .with_for_update()
    ).one_or_none()
    if stands is None or not stands.final_number <= number < stands.block_number:
        return
    tx.execute(update(announcements).where(announcements.c.program == program).values(block_number=number))
    rows = pending(tx, program, number + 1, stands.block_number)
    forget_pending(tx, program, number + 1, stands.block_number)
    add(tx, program, taken_back(rows), now)


def end_intents(tx: Connection, type_: EventType, rows: Iterable[Sequence[Any]], now: datetime) -> None:
    """Tell that these intents, rows of `ENDED`, come to nothing. Of those that belong to no program nobody is told."""
    new: dict[int, list[NewEvent]] = defaultdict(list)
    for program, public_id, kind, stamp_type, recipient, tx_hash, code, error in rows:
        if program is not None:
            data = intent_data(public_id, kind, stamp_type, recipient, tx_hash, code, error)
            wallet = None if recipient is None else bytes.fromhex(recipient[2:])
            new[program].append(NewEvent(type_, Phase.FINAL, intent_object(public_id), wallet, data))
    for program in sorted(new):
        add(tx, program, new[program], now)


def _place(data: Mapping[str, Any]) -> str:
    return f"{data['transaction']}:{data['block']}:{data['log_index']}"


def _take_turn(tx: Connection, program: int) -> None:
    """Rows are numbered before they can be seen. Were those of two transactions to become visible in another order, a
    reader that goes on behind the newest one it has seen would miss some."""
    if tx.dialect.name == "postgresql":
        tx.execute(
            text("SELECT pg_advisory_xact_lock(:turn, :program)"), {"turn": _TURN_LOCK, "program": program % 2**31}
        )


def _identity(tx: Connection, program: int) -> tuple[str, ...]:
    """What a program is called in every database: its chain and its membership contract."""
    query = (
        select(chains.c.chain_id, chains.c.genesis_hash, programs.c.membership)
        .join(chains, chains.c.id == programs.c.chain)
        .where(programs.c.id == program)
    )
    return tuple(str(part) for part in tx.execute(query).one())


def _sequences(tx: Connection, program: int, objects: Iterable[str]) -> dict[str, int]:
    """The number of the newest event of each of these objects; those without any are left out."""
    query = (
        select(events.c.object, func.max(events.c.sequence))
        .where(events.c.program == program, events.c.object.in_(bindparam("objects", expanding=True)))
        .group_by(events.c.object)
    )
    wanted = sorted(objects)
    found: dict[str, int] = {}
    for start in range(0, len(wanted), _CHUNK):
        for name, newest in tx.execute(query, {"objects": wanted[start : start + _CHUNK]}):
            found[name] = newest
    return found


def _take_numbers(tx: Connection, count: int) -> Iterable[int]:
    """Row numbers for so many events. Known beforehand, they need not be read back from the rows."""
    if tx.dialect.name == "sqlite":
        last = tx.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one()
        return range(last + 1, last + 1 + count)
    query = text("SELECT nextval(pg_get_serial_sequence('events', 'id')) FROM generate_series(1, :count)")
    return sorted(tx.execute(query, {"count": count}).scalars())


def _insert(tx: Connection, program: int, rows: Sequence[EventRow], now: datetime) -> None:
    if tx.dialect.name == "sqlite":
        tx.execute(insert(events), [vars(row) for row in rows])
        return
    names = ("id", "public_id", "type", "phase", "object", "sequence", "wallet")
    arrays = [literal([getattr(row, name) for row in rows], ARRAY(events.c[name].type)) for name in names]
    # One text, cut apart by the database at a character that JSON never has: the client would look at each quotation
    # mark of an array's texts by itself.
    data = func.string_to_array(_BETWEEN.join([json_text(row.data) for row in rows]), _BETWEEN)
    columns = [column(name, events.c[name].type) for name in names]
    given = func.unnest(*arrays, data).table_valued(*columns, column("data", Text())).render_derived("given")
    values = [*given.c, literal(program, events.c.program.type), literal(now, events.c.created_at.type)]
    tx.execute(insert(events).from_select([*names, "data", "program", "created_at"], select(*values)))
