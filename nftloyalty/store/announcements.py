"""From the facts of the index to events: each is told when it is first seen, and again when its block is final.

The announcement of a program says how far that has come: up to which block facts were made events, and up to which one
their being final was told. It goes on where it stood, whatever becomes of the index: one that is rebuilt tells nothing
a second time, and what it finds otherwise than it was told is settled when it is final.

    behind the announcement and final now     what is as it was told is final; what is not is taken back; what is new is
                                              told, final at once
    beyond the announcement                   told as final where it is, else as pending

`look` reads and thinks, `announce` writes, guarded by where announcement and index stood: so two at once tell nothing
twice, and one that is killed has told everything or nothing. What a reorg undoes is taken back in the index's own
transaction (`event_steps.take_back`).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, and_, or_, select, update

from nftloyalty.domain.event import Happening, happenings
from nftloyalty.domain.holding import Fact
from nftloyalty.store import event_steps, index
from nftloyalty.store.columns import json_text
from nftloyalty.store.event_steps import NewEvent
from nftloyalty.store.events import EventRow
from nftloyalty.store.index import FACT, PositionRow
from nftloyalty.store.index_steps import Overtaken
from nftloyalty.store.tables import Phase, announcements, logs, positions
from nftloyalty.store.writing import insert_new


@dataclass(frozen=True)
class AnnouncementRow:
    """How far a program's events have come. `final_number` is not above `block_number`."""

    program: int
    block_number: int
    final_number: int


@dataclass(frozen=True)
class News:
    """What is to be told next of a program, read when index and announcement stood at `position` and `stands`.

    `blocks` are, for each of `new`, the block that may still be undone; 0 = it is final. `settled` are the first and
    last block of which nothing is pending any more.
    """

    position: PositionRow
    stands: AnnouncementRow
    becomes: AnnouncementRow
    new: Sequence[NewEvent]
    blocks: Sequence[int]
    settled: tuple[int, int] | None = None


def to_announce(tx: Connection, chain: int) -> list[int]:
    """The programs of a chain of which there may be something to tell."""
    behind = or_(
        announcements.c.program.is_(None),
        positions.c.number > announcements.c.block_number,
        and_(
            positions.c.final_number > announcements.c.final_number,
            announcements.c.block_number > announcements.c.final_number,
        ),
    )
    query = (
        select(positions.c.program)
        .join(announcements, announcements.c.program == positions.c.program, isouter=True)
        .where(positions.c.chain == chain, positions.c.incident.is_(None), behind)
        .order_by(positions.c.program)
    )
    return list(tx.execute(query).scalars())


def stands_at(tx: Connection, program: int) -> AnnouncementRow | None:
    """None while nothing was announced yet."""
    row = tx.execute(select(announcements).where(announcements.c.program == program)).one_or_none()
    return None if row is None else AnnouncementRow(*row)


def look(tx: Connection, program: int, limit: int) -> News | None:
    """What is to be told next: of about `limit` logs at most, but of whole blocks. None = nothing.

    For a read transaction, whose picture of the database is of one moment.
    """
    at = index.position(tx, program)
    if at is None or at.incident is not None:
        return None
    stands = stands_at(tx, program) or AnnouncementRow(program, at.first_block - 1, at.first_block - 1)
    settled = min(stands.block_number, at.final_number)
    if settled > stands.final_number:
        return _settle(tx, at, stands, settled, limit)
    if at.number > stands.block_number:
        return _tell(tx, at, stands, limit)
    return None


def announce(tx: Connection, news: News, now: datetime) -> list[EventRow]:
    """Tell it. The first and only work of its transaction. Raises Overtaken if another has told it, or the index was
    taken back meanwhile: nothing was written, and the next look is at what is there now."""
    at, program = news.position, news.position.program
    if news.becomes.block_number > max(at.final_number, news.stands.block_number):
        # What is not final yet is told only of blocks that are not being undone at this moment.
        held = select(positions.c.number, positions.c.hash).where(positions.c.program == program).with_for_update()
        if tx.execute(held).one_or_none() != (at.number, at.hash):
            raise Overtaken
    _move(tx, news.stands, news.becomes)
    rows = event_steps.add(tx, program, news.new, now)
    if news.settled is not None:
        event_steps.forget_pending(tx, program, *news.settled)
    event_steps.add_pending(
        tx, program, ((block, row.id) for block, row in zip(news.blocks, rows, strict=True) if block)
    )
    return rows


def _settle(tx: Connection, at: PositionRow, stands: AnnouncementRow, last: int, limit: int) -> News:
    """What became of the events of blocks that are final now."""
    first = stands.final_number + 1
    facts, last = _facts(tx, at.program, first, last, limit)
    pending = event_steps.pending(tx, at.program, first, last)
    told = {(row.type, row.object, json_text(row.data)): row for row in pending}
    final = []
    for each in happenings(facts):
        before = told.pop((each.type.value, each.object, json_text(each.data)), None)
        final.append(_event(each, Phase.FINAL, before))
    new = [*event_steps.taken_back(list(told.values())), *final]
    becomes = AnnouncementRow(at.program, stands.block_number, last)
    return News(at, stands, becomes, new, [0] * len(new), settled=(first, last))


def _tell(tx: Connection, at: PositionRow, stands: AnnouncementRow, limit: int) -> News:
    """What is seen for the first time."""
    facts, last = _facts(tx, at.program, stands.block_number + 1, at.number, limit)
    found = happenings(facts)
    new = [_event(each, Phase.FINAL if each.block <= at.final_number else Phase.PENDING) for each in found]
    blocks = [0 if each.block <= at.final_number else each.block for each in found]
    becomes = AnnouncementRow(at.program, last, max(stands.final_number, min(last, at.final_number)))
    return News(at, stands, becomes, new, blocks)


def _event(each: Happening, phase: Phase, before: EventRow | None = None) -> NewEvent:
    data = each.data if before is None else event_steps.following(each.data, before)
    return NewEvent(each.type, phase, each.object, each.wallet, data, each.place)


def _facts(tx: Connection, program: int, first: int, last: int, limit: int) -> tuple[list[Fact], int]:
    """The facts of the blocks from `first` on, and the block they end with: `last`, or an earlier one where there are
    more than `limit`; but of one block at least."""
    query = (
        select(*(logs.c[name] for name in FACT))
        .where(logs.c.program == program, logs.c.block_number >= first, logs.c.block_number <= last)
        .order_by(logs.c.block_number, logs.c.log_index)
        .limit(limit)
    )
    facts = [Fact(*row) for row in tx.execute(query)]
    if len(facts) < limit:
        return facts, last
    cut = facts[-1].block
    if cut == facts[0].block:
        return index.facts(tx, program, cut, cut), cut
    # The last block may go on beyond the limit.
    return [fact for fact in facts if fact.block < cut], cut - 1


def _move(tx: Connection, stands: AnnouncementRow, becomes: AnnouncementRow) -> None:
    values = {"block_number": stands.block_number, "final_number": stands.final_number}
    tx.execute(insert_new(tx, announcements, announcements.c.program).values(program=stands.program, **values))
    moved = tx.execute(
        update(announcements)
        .where(
            announcements.c.program == stands.program,
            announcements.c.block_number == stands.block_number,
            announcements.c.final_number == stands.final_number,
        )
        .values(block_number=becomes.block_number, final_number=becomes.final_number)
    )
    if moved.rowcount != 1:
        raise Overtaken
