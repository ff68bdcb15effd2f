"""A chain on paper beside the index that follows it and the events that are told: with reorgs, with logs that are left
out and put right, with rebuilt indexes, and with databases that are put back to what they were."""

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from random import Random
from typing import Any

from sqlalchemy import Engine, delete, insert, select

from nftloyalty.domain.event import happenings
from nftloyalty.domain.holding import Fact
from nftloyalty.store import announcements, event_steps, index, index_steps, tables
from nftloyalty.store.announcements import News
from nftloyalty.store.columns import json_text
from nftloyalty.store.engine import begin, read
from nftloyalty.store.events import EventRow
from nftloyalty.store.index import Header, PositionRow
from nftloyalty.store.index_steps import Overtaken
from nftloyalty.store.tables import Phase
from tests.domain.paper import Paper, act
from tests.store.build import NOW, prepared

FIRST = 11
KEPT = (tables.announcements, tables.events, tables.pending_events)
"""What a backup holds of all this, in the order in which rows point at each other backwards."""

Key = tuple[str, str, str]
"""Type, object and data of what happened, whatever became of it."""


class Killed(Exception):
    """The process ended in the middle of a transaction."""


@dataclass(frozen=True)
class Block:
    header: Header
    facts: tuple[Fact, ...]
    paper: Paper


class History:
    """`blocks` are the chain's, of which the index has taken in those up to its position."""

    def __init__(self, engine: Engine, seed: int) -> None:
        self.engine = engine
        self.random = Random(seed)  # noqa: S311 a history, no secret
        self._count = 0
        anchor = Header(FIRST - 1, self._hash(), self._hash(), 1_700_000_000)
        self.blocks = [Block(anchor, (), Paper())]
        self.wrong: set[int] = set()
        with begin(engine) as tx:
            self.program = prepared(tx).program
            index_steps.start(tx, self.program, FIRST, anchor)

    # ----------------------------------------------------------------------------------------------------- the chain

    @property
    def head(self) -> int:
        return self.blocks[-1].header.number

    def grow(self, blocks: int = 1, acts: int = 4) -> None:
        for _ in range(blocks):
            paper = self.blocks[-1].paper.copy()
            facts: list[Fact] = []
            for _ in range(self.random.randint(0, acts)):
                tx_hash = bytes.fromhex(self._hash()[2:])
                for contract, kind, who, data in act(paper, self.random, 1_700_000_000 + self.head):
                    facts.append(Fact(self.head + 1, len(facts), tx_hash, contract, int(kind), who, data))
            self._append(tuple(facts), paper)

    def reorg(self, depth: int, *, again: bool = False) -> None:
        """Other blocks in the place of the newest `depth`: with other acts, or with the same ones a block later."""
        gone = self.blocks[len(self.blocks) - depth :]
        del self.blocks[len(self.blocks) - depth :]
        self.wrong = {number for number in self.wrong if number <= self.head}
        if not again:
            self.grow(depth + self.random.randint(0, 1))
            return
        self._append((), self.blocks[-1].paper)
        for block in gone:
            self._append(tuple(fact._replace(block=self.head + 1) for fact in block.facts), block.paper)

    def _append(self, facts: tuple[Fact, ...], paper: Paper) -> None:
        header = Header(self.head + 1, self._hash(), self.blocks[-1].header.hash, 1_700_000_000 + self.head + 1)
        self.blocks.append(Block(header, facts, paper))

    def _hash(self) -> str:
        self._count += 1
        return f"0x{self._count:064x}"

    def _block(self, number: int) -> Block:
        return self.blocks[number - FIRST + 1]

    # ----------------------------------------------------------------------------------------------------- the index

    @property
    def at(self) -> PositionRow:
        with read(self.engine) as tx:
            found = index.position(tx, self.program)
        assert found is not None
        return found

    def follow(self, to: int | None = None, *, final: int = 0, wrong: float = 0.0) -> None:
        """Take in blocks up to `to`, those up to `final` as final ones. All logs of others may be left out."""
        at = self.at
        last = min(to or self.head, self.head)
        if self.ancestor() < at.number or last <= at.number:
            return
        new = [self._block(number) for number in range(at.number + 1, last + 1)]
        facts: list[Fact] = []
        for block in new:
            if block.header.number > final and block.facts and self.random.random() < wrong:
                self.wrong.add(block.header.number)
            else:
                facts += block.facts
        with begin(self.engine) as tx:
            index_steps.advance(tx, at, [block.header for block in new], facts, max(final, at.final_number))

    def ancestor(self) -> int:
        """The newest block that chain and index both know."""
        at = self.at
        with read(self.engine) as tx:
            ours = index.ancestry(tx, at)
        return next(
            each.number
            for each in ours
            if each.number == at.final_number or (each.number <= self.head and self._block(each.number).header == each)
        )

    def undo(self) -> None:
        """Go back to where the chain was left."""
        at, ancestor = self.at, self.ancestor()
        if ancestor < at.number:
            self.wrong = {number for number in self.wrong if number <= ancestor}
            with begin(self.engine) as tx:
                index_steps.undo_to(tx, at, self._block(ancestor).header, NOW)

    def finalise(self, number: int) -> None:
        """The indexed blocks up to `number` are final; what was left out of them is put right."""
        at = self.at
        number = min(number, self.ancestor())
        if number <= at.final_number:
            return
        blocks = [self._block(each) for each in range(at.final_number + 1, number + 1)]
        wrong = self.wrong & {block.header.number for block in blocks}
        with begin(self.engine) as tx:
            if wrong:
                facts = [fact for block in blocks for fact in block.facts]
                index_steps.mend(tx, at, blocks[-1].header, facts, NOW)
                self.wrong = set()
            else:
                index_steps.finalise(tx, at, blocks[-1].header)

    def rebuild(self) -> None:
        """Drop the index; what is final of it is read in one go."""
        final = self.at.final_number
        self.wrong = set()
        with begin(self.engine) as tx:
            index_steps.drop(tx, self.program)
            index_steps.start(tx, self.program, FIRST, self.blocks[0].header)
        self.follow(final, final=final)

    # ----------------------------------------------------------------------------------------------------- the events

    def look(self, limit: int = 1000) -> News | None:
        with read(self.engine) as tx:
            return announcements.look(tx, self.program, limit)

    def tell(self, news: News, *, killed: bool = False) -> bool:
        try:
            with begin(self.engine) as tx:
                announcements.announce(tx, news, NOW)
                if killed:
                    raise Killed
        except (Overtaken, Killed):
            return False
        return True

    def tell_all(self, limit: int = 1000) -> None:
        while (news := self.look(limit)) is not None:
            assert self.tell(news)

    def events(self) -> list[EventRow]:
        with read(self.engine) as tx:
            return [EventRow(*row) for row in tx.execute(select(tables.events).order_by(tables.events.c.id))]

    def saved(self) -> dict[str, list[dict[str, Any]]]:
        with read(self.engine) as tx:
            return {table.name: [dict(row) for row in tx.execute(select(table)).mappings()] for table in KEPT}

    def restore(self, saved: dict[str, list[dict[str, Any]]]) -> None:
        """An older backup: events and announcement of then, and no index."""
        with begin(self.engine) as tx:
            for table in reversed(KEPT):
                tx.execute(delete(table))
            for table in KEPT:
                if saved[table.name]:
                    tx.execute(insert(table), saved[table.name])
        self.rebuild()

    # ----------------------------------------------------------------------------------------------------- what must be

    def wanted(self, *, pending: bool = True) -> dict[Key, Phase]:
        """What the index tells, as sure as it is."""
        at = self.at
        with read(self.engine) as tx:
            facts = index.facts(tx, self.program, 0, at.number if pending else at.final_number)
        return {
            (each.type.value, each.object, json_text(dict(each.data))): (
                Phase.FINAL if each.block <= at.final_number else Phase.PENDING
            )
            for each in happenings(facts)
        }

    def remembered(self) -> set[int]:
        """Events that may still be taken back, as they are written down."""
        with read(self.engine) as tx:
            return {row.id for row in event_steps.pending(tx, self.program, 0, 1 << 40)}


def net(rows: list[EventRow]) -> dict[Key, Phase]:
    """What stands after these events: seen ones added, reverted ones taken out again, final ones for good.

    Each object's are numbered from 1 without gaps, and none is told twice.
    """
    found: dict[Key, Phase] = {}
    pending: dict[str, Key] = {}
    numbers: dict[str, int] = defaultdict(int)
    for row in rows:
        numbers[row.object] += 1
        assert row.sequence == numbers[row.object]
        key = (row.type, row.object, json_text({**row.data, "follows": None}))
        follows = row.data["follows"]
        if follows is not None:
            assert pending.pop(follows) == key
            assert found.pop(key) is Phase.PENDING
        assert key not in found
        if row.phase is Phase.REVERTED:
            assert follows is not None
            continue
        assert row.phase is Phase.FINAL or follows is None
        found[key] = row.phase
        if row.phase is Phase.PENDING:
            pending[row.public_id] = key
    assert len({row.public_id for row in rows}) == len(rows)
    return found


def standing(rows: list[EventRow]) -> list[tuple[str, str, Mapping[str, Any]]]:
    """Type, object and data of each event that was not taken back, once, in the order of the chain."""
    undone = {row.data["follows"] for row in rows if row.phase is Phase.REVERTED}
    firsts = [row for row in rows if row.data["follows"] is None and row.public_id not in undone]
    firsts.sort(key=lambda row: (row.data["block"], row.data["log_index"]))
    return [(row.type, row.object, row.data) for row in firsts]
