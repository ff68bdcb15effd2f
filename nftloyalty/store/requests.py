"""What was asked for, as those who ask for more need to know it: by request key in bulk, and page by page.

Rows are found by index however many there are.
"""

from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    func,
    literal_column,
    select,
)

from nftloyalty.domain.holding import WORD
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.words import StampsWord
from nftloyalty.store.intents import IntentRow
from nftloyalty.store.tables import holdings, intents, positions, undo
from nftloyalty.store.writing import MANY, one_of

CLOCKS_APART = timedelta(minutes=5)
"""By how much the clocks of two processes that accept intents may differ, and one's place in the order with them."""

PENDING = (IntentState.RECEIVED, IntentState.BATCHED, IntentState.INCLUDED)
# As the index of such rows alone has it.
_NO_MINT = "intents.kind NOT IN ('mint-card', 'mint-stamp')"
STOPPED = (IntentState.REJECTED, IntentState.CANCELLED)


@dataclass(frozen=True, slots=True)
class Standing:
    """An intent as far as it decides about a request of the same key."""

    id: int
    public_id: str
    state: IntentState
    args: Mapping[str, Any]
    block_number: int | None


_STANDING = (intents.c.id, intents.c.public_id, intents.c.state, intents.c.args, intents.c.block_number)
# Made once: making a statement takes longer than what it asks.
_OF_KEYS = select(intents.c.request_key, *_STANDING).where(
    intents.c.chain == bindparam("of_chain"), one_of(intents.c.request_key, "keys")
)


def standings(tx: Connection, chain: int, keys: Sequence[str]) -> dict[str, Standing]:
    """The intents of these request keys on this chain; keys nobody asked for are left out. Any number of keys."""
    found: dict[str, Standing] = {}
    for start in range(0, len(keys), MANY):
        asked = {"of_chain": chain, "keys": keys[start : start + MANY]}
        found.update((key, Standing(*rest)) for key, *rest in tx.execute(_OF_KEYS, asked))
    return found


def mintable_again(tx: Connection, program: int, stamp_type: int, wallets: Collection[bytes]) -> tuple[int, set[bytes]]:
    """The index's newest final block, and which of these wallets the contract would mint a stamp of this type to as of
    that block; nobody while there is no index, or it stands still.

    A wallet is its 20 bytes. Stamps are those of the first season.
    """
    position = select(positions.c.final_number, positions.c.incident).where(positions.c.program == program)
    row = tx.execute(position).one_or_none()
    if row is None or row.incident is not None:
        return -1, set()
    words: dict[bytes, bytes] = {}
    asked = list(wallets)
    for start in range(0, len(asked), MANY):
        chunk = asked[start : start + MANY]
        held = select(holdings.c.wallet, holdings.c.stamps).where(
            holdings.c.program == program, holdings.c.wallet.in_(chunk)
        )
        words.update((bytes(wallet), bytes(stamps)) for wallet, stamps in tx.execute(held))
        # What was before the first change since: the newest first, so that the oldest stays.
        before = (
            select(undo.c.wallet, undo.c.stamps)
            .where(undo.c.program == program, undo.c.wallet.in_(chunk), undo.c.block_number > row.final_number)
            .order_by(undo.c.block_number.desc())
        )
        words.update((bytes(wallet), bytes(stamps)) for wallet, stamps in tx.execute(before))
    found = set()
    for wallet in wallets:
        word = StampsWord.from_int(int.from_bytes(words.get(wallet, b"")[:WORD], "big"))
        if word.mintable_code(stamp_type) is None:
            found.add(wallet)
    return row.final_number, found


@dataclass(frozen=True, slots=True)
class Filters:
    """Which intents of a program are asked for. `states` empty = any; `recipient` None = anybody's; they were accepted
    at `since` or later, and before `until`.

    `mints` are the rows of the recipient's own mints, which are known by their request keys: an index of all recipients
    would be written to for every mint, each time at another place.
    """

    kinds: Sequence[Kind]
    states: Sequence[IntentState] = ()
    recipient: str | None = None
    mints: Sequence[int] = ()
    since: datetime | None = None
    until: datetime | None = None


def page(tx: Connection, program: int, filters: Filters, *, before: int | None = None, limit: int) -> list[IntentRow]:
    """The newest intents that pass, or the newest of those that are older than the row `before`."""
    conditions = [intents.c.program == program]
    if before is not None:
        conditions.append(intents.c.id < before)
    if filters.since is not None:
        conditions += [
            intents.c.created_at >= filters.since,
            intents.c.id > _row_at(tx, filters.since - CLOCKS_APART),
        ]
    if filters.until is not None:
        conditions += [
            intents.c.created_at < filters.until,
            intents.c.id <= _row_at(tx, filters.until + CLOCKS_APART),
        ]
    if filters.states:
        conditions.append(intents.c.state.in_(filters.states))
        conditions += _within(filters.states)
    newest = intents.c.id.desc()
    if filters.recipient is not None:
        # SQLite would go by the kind, and so by everybody's: it must not see that this is the kind.
        conditions.append(intents.c.kind.concat(literal_column("''")).in_(filters.kinds))
        others = and_(intents.c.recipient == filters.recipient, literal_column(_NO_MINT))
        ways = [intents.c.id.in_(filters.mints), others]
    else:
        # Of each kind by itself they come in order from the index.
        ways = [intents.c.kind == kind for kind in dict.fromkeys(filters.kinds)]
    found = [
        [IntentRow(*row) for row in tx.execute(select(intents).where(way, *conditions).order_by(newest).limit(limit))]
        for way in ways
    ]
    return list(islice(merge(*found, key=lambda row: -row.id), limit))


def _within(states: Iterable[IntentState]) -> Iterator[ColumnElement[bool]]:
    """Written out as the index of such rows alone is: only so can the database know that it is enough."""
    asked = set(states)
    for group in (PENDING, STOPPED):
        if asked <= set(group):
            names = ", ".join(f"'{state.value}'" for state in group)
            yield literal_column(f"intents.state IN ({names})")


def _row_at(tx: Connection, moment: datetime) -> int:
    """The row of the last intent that was accepted before this moment, as far as rows are in order; 0 = none was."""
    # By halves, over the primary key: an index of times would cost every intent something.
    low, high = 0, tx.execute(select(func.coalesce(func.max(intents.c.id), 0))).scalar_one()
    at = select(intents.c.id, intents.c.created_at).where(intents.c.id <= bindparam("row"))
    at = at.order_by(intents.c.id.desc()).limit(1)
    while low < high:
        middle = (low + high + 1) // 2
        row = tx.execute(at, {"row": middle}).one_or_none()
        if row is None or row.created_at < moment:
            low = middle
        else:
            high = row.id - 1
    return low
