"""The index as it is written: forward with the facts of a range of blocks, back by undoing blocks, and what is final.

Each function is meant to be the first and only work of its transaction. It begins by moving the position from where
the caller found it, and raises Overtaken if it is elsewhere by now: of two indexers that asked the node the same thing
one writes, and the other finds that it is done. What is undone is also taken back from those who were told of it.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import cache
from typing import Any

from sqlalchemy import Connection, Insert, bindparam, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite

from nftloyalty.domain.holding import NOTHING, Fact, FactKind, Fold, HoldingState, all_wallets, wallets_of
from nftloyalty.store import event_steps
from nftloyalty.store.index import FACT, STATE, Header, PositionRow, season_contracts
from nftloyalty.store.tables import blocks, holdings, indexers, logs, positions, programs, seasons, undo
from nftloyalty.store.writing import insert_new

# Wallets asked for in one statement: well below what SQLite takes.
_CHUNK = 500

StateRow = tuple[int, int, int, int, int, bytes]


class Overtaken(Exception):
    """The position is not where it was when the question was asked. Nothing was written; the work begins anew."""


def start(tx: Connection, program: int, first_block: int, anchor: Header) -> None:
    """Begin a program's index behind `anchor`, a final block below all that is of the program. Twice is harmless."""
    chain = tx.execute(select(programs.c.chain).where(programs.c.id == program)).scalar_one()
    tx.execute(
        insert_new(tx, positions, positions.c.program).values(
            program=program,
            chain=chain,
            first_block=first_block,
            number=anchor.number,
            hash=anchor.hash,
            timestamp=anchor.timestamp,
            final_number=anchor.number,
            final_hash=anchor.hash,
            final_timestamp=anchor.timestamp,
        )
    )


def advance(
    tx: Connection,
    at: PositionRow,
    headers: Sequence[Header],
    facts: Sequence[Fact],
    final_number: int,
    confirmed_at: datetime | None = None,
) -> None:
    """Take in the facts of the blocks behind the position, up to the last of `headers`.

    `headers` may leave out blocks below `final_number`, no others. `confirmed_at` is given if the last one is the
    node's newest. Raises Overtaken.
    """
    last = headers[-1]
    values = _newest(last)
    for header in headers:
        if header.number == final_number or (header is last and last.number < final_number):
            values |= _final(header)
    if confirmed_at is not None:
        values["confirmed_at"] = confirmed_at
    _move(tx, at, values)
    final_number = values.get("final_number", at.final_number)
    _take_in(tx, at.program, facts, final_number)
    _remember(tx, at.chain, [header for header in headers if header.number > final_number])
    if final_number > at.final_number:
        _forget_final(tx, at, final_number)


def undo_to(tx: Connection, at: PositionRow, ancestor: Header, now: datetime) -> None:
    """Take back every block above `ancestor`, which is not below what is final. Raises Overtaken."""
    if ancestor.number < at.final_number:
        raise ValueError(f"block {at.final_number} is final and can't be undone")
    _move(tx, at, _newest(ancestor))
    _take_back(tx, at.program, ancestor.number)
    event_steps.take_back(tx, at.program, ancestor.number, now)


def finalise(tx: Connection, at: PositionRow, final: Header) -> None:
    """The blocks up to `final`, which are indexed, can't be undone any more. Raises Overtaken."""
    _move(tx, at, _final(final))
    _forget_final(tx, at, final.number)


def mend(tx: Connection, at: PositionRow, final: Header, facts: Sequence[Fact], now: datetime) -> None:
    """Put other facts in the place of those stored for the blocks above the final one, up to `final`.

    Those blocks are final with that, and events that were told of them are settled by the announcement as ever; the
    blocks above them are taken back, to be asked again. Raises Overtaken.
    """
    _move(tx, at, _newest(final) | _final(final))
    _take_back(tx, at.program, at.final_number)
    event_steps.take_back(tx, at.program, final.number, now)
    _take_in(tx, at.program, facts, final.number)
    _forget_final(tx, at, final.number)


def confirm(tx: Connection, at: PositionRow, now: datetime) -> None:
    """The position's block is the node's newest. Raises Overtaken."""
    _move(tx, at, {"confirmed_at": now})


def halt(tx: Connection, at: PositionRow, incident: str) -> None:
    """Stand still until the program's index is dropped. Raises Overtaken."""
    _move(tx, at, {"incident": incident})


def drop(tx: Connection, program: int) -> None:
    """Forget a program's index; the next indexer starts over. One that is at work meanwhile finds itself overtaken.

    What was told stays told: events and announcement are no part of the index.
    """
    for table in (positions, holdings, undo, logs, seasons):
        tx.execute(delete(table).where(table.c.program == program))


def take_lease(
    tx: Connection, chain: int, owner: str, now: datetime, seconds: float, owner_alive: Callable[[str], bool]
) -> bool:
    """Become the one that indexes this chain until now + seconds, or go on being it. False while another one is.

    An ended lease is free to take, and that of an owner of which `owner_alive` says False.
    """
    until = now + timedelta(seconds=seconds)
    this = indexers.c.chain == chain
    tx.execute(insert_new(tx, indexers, indexers.c.chain).values(chain=chain, owner=owner, until=until))
    held = tx.execute(select(indexers.c.owner, indexers.c.until).where(this).with_for_update()).one_or_none()
    # None: its owner has just given it back, for whoever asks next.
    if held is None or (held.owner != owner and held.until > now and owner_alive(held.owner)):
        return False
    tx.execute(update(indexers).where(this).values(owner=owner, until=until))
    return True


def release_lease(tx: Connection, chain: int, owner: str) -> None:
    """Let others index at once. Changes nothing if it is another's."""
    tx.execute(delete(indexers).where(indexers.c.chain == chain, indexers.c.owner == owner))


def _move(tx: Connection, at: PositionRow, values: Mapping[str, Any]) -> None:
    moved = tx.execute(
        update(positions)
        .where(
            positions.c.program == at.program,
            positions.c.number == at.number,
            positions.c.hash == at.hash,
            positions.c.final_number == at.final_number,
            positions.c.incident.is_(None),
        )
        .values(**values)
    )
    if moved.rowcount != 1:
        raise Overtaken


def _newest(header: Header) -> dict[str, Any]:
    return {"number": header.number, "hash": header.hash, "timestamp": header.timestamp}


def _final(header: Header) -> dict[str, Any]:
    return {"final_number": header.number, "final_hash": header.hash, "final_timestamp": header.timestamp}


def _take_in(tx: Connection, program: int, facts: Sequence[Fact], final_number: int) -> None:
    """Logs, seasons and holdings, and the way back for what is above `final_number`."""
    if not facts:
        return
    tx.execute(insert(logs), [dict(zip(FACT, fact, strict=True), program=program) for fact in facts])
    linked = len(season_contracts(tx, program))
    for fact in facts:
        if fact.kind == FactKind.SEASON_LINKED:
            season = {"season": fact.data[0], "stamps": fact.wallet, "block_number": fact.block}
            tx.execute(insert_new(tx, seasons, seasons.c.program, seasons.c.season).values(program=program, **season))
    touched = all_wallets(facts)
    fold = Fold(linked, _load(tx, program, touched))
    before: dict[tuple[bytes, int], StateRow] = {}
    for fact in facts:
        if fact.block > final_number:
            for wallet in wallets_of(fact):
                if (wallet, fact.block) not in before:
                    before[wallet, fact.block] = fold.of(wallet).to_row()
        fold.apply(fact)
    if before:
        rows = [
            {"program": program, "wallet": wallet, "block_number": number, **_named(row)}
            for (wallet, number), row in before.items()
        ]
        tx.execute(insert(undo), rows)
    _write(tx, program, {wallet: fold.of(wallet).to_row() for wallet in touched})


def _take_back(tx: Connection, program: int, number: int) -> None:
    """Everything that came with blocks above `number`."""
    above = (undo.c.program == program, undo.c.block_number > number)
    query = select(undo.c.wallet, *(undo.c[name] for name in STATE)).where(*above)
    # Newest first, so that the oldest state of a wallet is the one that stays.
    rows = tx.execute(query.order_by(undo.c.block_number.desc())).all()
    _write(tx, program, {bytes(row[0]): tuple(row[1:]) for row in rows})
    tx.execute(delete(undo).where(*above))
    tx.execute(delete(logs).where(logs.c.program == program, logs.c.block_number > number))
    tx.execute(delete(seasons).where(seasons.c.program == program, seasons.c.block_number > number))


def _load(tx: Connection, program: int, wallets: Iterable[bytes]) -> dict[bytes, HoldingState]:
    wanted = sorted(wallets)
    query = select(holdings.c.wallet, *(holdings.c[name] for name in STATE)).where(
        holdings.c.program == program, holdings.c.wallet.in_(bindparam("wallets", expanding=True))
    )
    found: dict[bytes, HoldingState] = {}
    for start in range(0, len(wanted), _CHUNK):
        for row in tx.execute(query, {"wallets": wanted[start : start + _CHUNK]}):
            found[bytes(row[0])] = HoldingState.from_row(*row[1:])
    return found


def _write(tx: Connection, program: int, states: Mapping[bytes, Any]) -> None:
    """A wallet of which nothing is known any more has no row: what is undone leaves no trace."""
    # In one order, so that two writers can't wait for each other.
    kept = [
        {"program": program, "wallet": wallet, **_named(row)}
        for wallet, row in sorted(states.items())
        if row != NOTHING
    ]
    if kept:
        tx.execute(_upsert(tx.dialect.name), kept)
    gone = [{"of": program, "this": wallet} for wallet, row in sorted(states.items()) if row == NOTHING]
    if gone:
        tx.execute(
            delete(holdings).where(holdings.c.program == bindparam("of"), holdings.c.wallet == bindparam("this")), gone
        )


@cache
def _upsert(dialect: str) -> Insert:
    statement: Any = (sqlite if dialect == "sqlite" else postgresql).insert(holdings)
    changed = {name: statement.excluded[name] for name in STATE}
    found: Insert = statement.on_conflict_do_update(index_elements=["program", "wallet"], set_=changed)
    return found


def _named(row: Any) -> dict[str, Any]:
    return dict(zip(STATE, row, strict=True))


def _remember(tx: Connection, chain: int, headers: Sequence[Header]) -> None:
    if not headers:
        return
    rows = [
        {"chain": chain, "number": each.number, "hash": each.hash, "parent": each.parent, "timestamp": each.timestamp}
        for each in headers
    ]
    tx.execute(insert_new(tx, blocks, blocks.c.chain, blocks.c.number, blocks.c.hash), rows)


def _forget_final(tx: Connection, at: PositionRow, final_number: int) -> None:
    """The way back from blocks that can't be undone, and headers that no program of the chain needs any more."""
    tx.execute(delete(undo).where(undo.c.program == at.program, undo.c.block_number <= final_number))
    of_chain = positions.c.chain == at.chain
    # A program that stands on a final block, as during a back-fill, goes on from its own row.
    needed = select(func.min(positions.c.final_number)).where(
        of_chain, positions.c.final_number < positions.c.number, positions.c.incident.is_(None)
    )
    newest = select(func.max(positions.c.final_number)).where(of_chain)
    kept = func.coalesce(needed.scalar_subquery(), newest.scalar_subquery())
    tx.execute(delete(blocks).where(blocks.c.chain == at.chain, blocks.c.number <= kept))
