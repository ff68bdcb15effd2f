"""Many mints that were asked for in one request. What became of each item is kept in one value, in the order of the
request: the intent it led to, which is never deleted, tells the rest.
"""

import struct
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import BigInteger, Connection, and_, case, func, insert, literal, select

from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.mint import REPLY_NUMBERS, Reply
from nftloyalty.errors import Unknown
from nftloyalty.store.tables import batches, intents
from nftloyalty.store.writing import given_rows

_VERSION = 1
# The number of the reply, and the intent's row.
_ITEM = struct.Struct(">BQ")
# `batches.c.items` is a method of the collection of columns.
_ITEMS = batches.c["items"]
_REPLIES = {number: reply for reply, number in REPLY_NUMBERS.items()}
_TOLD = (
    batches.c.id,
    batches.c.public_id,
    batches.c.program,
    batches.c.kind,
    batches.c.stamp_type,
    batches.c.total,
    batches.c.created_at,
)


@dataclass(frozen=True, slots=True)
class BatchItem:
    """What became of one item. `intent` is its row: the one that was accepted for it, or that it met."""

    reply: Reply
    intent: int


@dataclass(frozen=True)
class NewBatch:
    public_id: str
    program: int
    kind: Kind
    stamp_type: int
    items: Sequence[BatchItem]


@dataclass(frozen=True)
class BatchRow:
    """A batch without its items, of which there are `total`."""

    id: int
    public_id: str
    program: int
    kind: Kind
    stamp_type: int
    total: int
    created_at: datetime


def add(tx: Connection, new: NewBatch, now: datetime) -> BatchRow:
    """Store one. A public id that is taken already violates its constraint."""
    values = {
        "public_id": new.public_id,
        "program": new.program,
        "kind": new.kind,
        "stamp_type": new.stamp_type,
        "total": len(new.items),
        "items": _packed(new.items),
        "created_at": now,
    }
    return BatchRow(*tx.execute(insert(batches).values(values).returning(*_TOLD)).one())


def get(tx: Connection, program: int, public_id: str) -> tuple[BatchRow, list[BatchItem]]:
    """A batch of this program, and its items in order. Raises Unknown."""
    query = select(*_TOLD, _ITEMS).where(batches.c.public_id == public_id, batches.c.program == program)
    row = tx.execute(query).one_or_none()
    if row is None:
        raise Unknown(f"there is no batch {public_id!r}")
    *told, items = row
    return BatchRow(*told), _unpacked(bytes(items))


def of_program(tx: Connection, program: int, *, before: int | None = None, limit: int) -> list[BatchRow]:
    """The newest ones, or the newest of those that are older than the row `before`."""
    query = select(*_TOLD).where(batches.c.program == program).order_by(batches.c.id.desc()).limit(limit)
    if before is not None:
        query = query.where(batches.c.id < before)
    return [BatchRow(*row) for row in tx.execute(query)]


def count_states(tx: Connection, rows: Sequence[int], final_number: int) -> dict[IntentState, int]:
    """How many of these intents are in which state. A FINAL one above the block `final_number`, which the index has not
    reached yet, counts as INCLUDED."""
    given = given_rows(tx, [(row,) for row in rows], intent=BigInteger())
    ahead = and_(intents.c.state == IntentState.FINAL, intents.c.block_number > final_number)
    state = case((ahead, literal(IntentState.INCLUDED, intents.c.state.type)), else_=intents.c.state).label("state")
    query = select(state, func.count()).join_from(given, intents, intents.c.id == given.c.intent).group_by(state)
    return {IntentState(state): count for state, count in tx.execute(query)}


def _packed(items: Sequence[BatchItem]) -> bytes:
    pack = _ITEM.pack
    return bytes([_VERSION]) + b"".join([pack(REPLY_NUMBERS[item.reply], item.intent) for item in items])


def _unpacked(items: bytes) -> list[BatchItem]:
    if items[0] != _VERSION:
        raise Unknown(f"these items are written in another way ({items[0]}): by a newer version?")
    return [BatchItem(_REPLIES[number], intent) for number, intent in _ITEM.iter_unpack(items[1:])]
