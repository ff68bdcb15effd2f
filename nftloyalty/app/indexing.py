"""Bringing the index forward: from the logs of a chain's programs to what each wallet holds.

A program's contracts advance together, and programs that stand at the same block share the questions. A step asks the
node first and writes then, each program in one short transaction that begins by making sure that the program still
stands where it stood when the question was asked. So a step that is cut off anywhere is as if it had never been begun,
and two indexers at once do each other no harm.

    behind what is final          wide ranges of blocks, which nothing can undo
    near the head                 block by block: headers, and logs that fit them, with the way back kept
    the node is behind us         wait: a node that lags is no reorg
    another block at our number   a reorg: undo down to the block that both know
    that one would be final       halt, and say so: only an operator can tell who is right
    blocks have become final      ask their logs once more, and drop the way back
"""

import logging
import time
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType

from nftloyalty.app import asking
from nftloyalty.app.asking import Look, Window
from nftloyalty.app.context import App
from nftloyalty.app.leases import owner_alive, process_name
from nftloyalty.app.opening import Attached
from nftloyalty.chain.client import Block
from nftloyalty.chain.facts import Logs, Place
from nftloyalty.domain.holding import MEMBERSHIP
from nftloyalty.errors import ChainProblem, ChainRestarted, IndexHalted, NodeRefused, NodeUnreachable
from nftloyalty.store import index, index_steps, programs
from nftloyalty.store.engine import begin, read
from nftloyalty.store.index import Header, PositionRow
from nftloyalty.store.index_steps import Overtaken
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.tables import ProgramState

log = logging.getLogger(__name__)

# Shorter than answers may be old, so that a machine that is lost is replaced before its index counts as behind.
LEASE_SECONDS = 20.0
# Blocks asked for one by one in one step, so that a step stays short.
NEAR_BLOCKS = 64
CONFIRM_EVERY = timedelta(seconds=1)


@dataclass(frozen=True)
class Progress:
    """What a step did, and how far the chain's programs have come.

    `head` is the node's newest block and `lowest` the block of the program that is furthest behind; None where that is
    not known. `busy` = another living process indexes this chain. `halted` are the programs that stand still.
    """

    moved: bool = False
    busy: bool = False
    head: int | None = None
    lowest: int | None = None
    at_head: bool = False
    halted: tuple[IndexHalted, ...] = ()


class Indexer:
    """Indexes the open programs of one chain. For `with`, which gives the lease back at once.

    A step takes the lease where it is free. `finality_blocks` as in Node.finalized.
    """

    def __init__(self, app: App, attached: Attached, *, finality_blocks: int | None) -> None:
        self.app = app
        self.attached = attached
        self.finality_blocks = finality_blocks
        self.window = Window()
        self._owner = process_name()
        self._leased_until = app.now()

    def __enter__(self) -> "Indexer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Let others index. What was done stays, and a further step would take the lease again."""
        with begin(self.app.engine) as tx:
            index_steps.release_lease(tx, self.attached.row, self._owner)
        self._leased_until = self.app.now()

    def step(self) -> Progress:
        """One bounded piece of work for every open program of the chain.

        Raises ChainProblem where the node is of no use; then nothing is half done, and another step may be tried.
        """
        if not self._keep_lease():
            return self._progress(self.app.node.head(), busy=True)
        look = self._look([0])
        if look.blocks[0].hash != self.attached.genesis_hash:
            raise ChainRestarted(self.app.node.shown_url)
        moved = self._start_new(look)
        groups = self._groups()
        for group in groups:
            # The furthest behind comes last, and stops where the next one stands, so that they go on together.
            ahead = min((other[0].number for other in groups if other[0].number > group[0].number), default=None)
            with suppress(Overtaken):
                moved |= self._advance(group, look, ahead)
        return self._progress(look.head, moved=moved)

    # ------------------------------------------------------------------------------------------------- who, and where

    def _keep_lease(self) -> bool:
        now = self.app.now()
        if self._leased_until - now > timedelta(seconds=LEASE_SECONDS / 2):
            return True
        with begin(self.app.engine) as tx:
            taken = index_steps.take_lease(tx, self.attached.row, self._owner, now, LEASE_SECONDS, owner_alive)
        if taken:
            self._leased_until = now + timedelta(seconds=LEASE_SECONDS)
        return taken

    def _open(self) -> list[ProgramRow]:
        with read(self.app.engine) as tx:
            rows = programs.list_all(tx, self.attached.row)
        return [row for row in rows if row.state is ProgramState.OPEN]

    def _positions(self) -> list[PositionRow]:
        with read(self.app.engine) as tx:
            return index.positions_of(tx, self.attached.row)

    def _groups(self) -> list[list[PositionRow]]:
        """Programs that stand at the same block, those nearest to the head first."""
        groups: dict[tuple[int, str, int], list[PositionRow]] = {}
        for at in self._positions():
            if at.incident is None:
                groups.setdefault((at.number, at.hash, at.final_number), []).append(at)
        return [groups[key] for key in sorted(groups, reverse=True)]

    def _progress(self, head: Block | None, *, moved: bool = False, busy: bool = False) -> Progress:
        rows = self._open()
        stands = {at.program: at for at in self._positions()}
        names = {row.id: row.slug for row in rows}
        live = [at for at in stands.values() if at.incident is None]
        at_head = head is not None and names.keys() <= stands.keys() and all(at.hash == head.hash for at in live)
        return Progress(
            moved=moved,
            busy=busy,
            head=None if head is None else head.number,
            lowest=min((at.number for at in live), default=None),
            at_head=at_head,
            halted=tuple(
                IndexHalted(names[at.program], at.incident) for at in stands.values() if at.incident is not None
            ),
        )

    # --------------------------------------------------------------------------------------------------- the beginning

    def _start_new(self, look: Look) -> bool:
        stands = {at.program for at in self._positions()}
        new = [row for row in self._open() if row.id not in stands]
        for row in new:
            first = self._first_block(row, look)
            anchor = self.app.node.block(first - 1)
            with begin(self.app.engine) as tx:
                index_steps.start(tx, row.id, first, _header(anchor))
        return bool(new)

    def _first_block(self, row: ProgramRow, look: Look) -> int:
        """A block below which there is nothing of the program, and whose parent is final.

        The block that is recorded may have been undone since, so the chain is asked whether it holds. Where the node
        has forgotten that much of the past, the record is believed; without one, everything is read.
        """
        latest = look.final + 1
        recorded = None if row.opened_block is None else max(1, row.opened_block)
        try:
            low, high = 0, min(recorded or latest, latest)
            if not self.app.node.code(row.membership, high - 1):
                return high
            high -= 1
            while high - low > 1:
                middle = (low + high) // 2
                low, high = (low, middle) if self.app.node.code(row.membership, middle) else (middle, high)
            return max(1, high)
        except NodeRefused as refused:
            log.info("the node does not know how old %s is: %s", row.slug, refused.rpc_message)
            return min(recorded or 1, latest)

    # --------------------------------------------------------------------------------------------------------- forward

    def _advance(self, group: Sequence[PositionRow], look: Look, ahead: int | None) -> bool:
        at, head = group[0], look.head
        if head.number < at.number:
            return False
        near = at.number >= look.final or head.number - at.number <= NEAR_BLOCKS
        size = min(self.window.blocks, NEAR_BLOCKS) if near else self.window.blocks
        last = min(at.number + size, head.number if near else look.final, ahead or head.number)
        seen = self._look(range(at.number, last + 1) if near else [at.number, last])
        if not seen.blocks:
            return False
        if seen.blocks[0].hash != at.hash:
            return self._fork(group)
        finalised = self._finalise(group, seen.final)
        if finalised is not None:
            group, at = finalised, finalised[0]
        if at.number != seen.blocks[0].number:
            return True
        new = seen.blocks[1:]
        if not new:
            if seen.head.hash == at.hash:
                self._confirm(group)
            return finalised is not None
        contracts, seasons = self._contracts(group)
        if near:
            logs = asking.logs_of(self.app.node, self.window, contracts, seasons, new)
        else:
            logs = self._far(contracts, seasons, at.number + 1, new[-1]) if last <= seen.final else None
        if logs is None:
            return finalised is not None
        headers = [_header(block) for block in new]
        # Not beyond blocks that could not be made final just now.
        final = seen.final if at.final_number == at.number else at.final_number
        confirmed_at = self.app.now() if new[-1].hash == seen.head.hash else None
        for each in group:
            with begin(self.app.engine) as tx:
                index_steps.advance(tx, each, headers, logs.of(each.program), final, confirmed_at)
        return True

    def _look(self, numbers: Sequence[int]) -> Look:
        return asking.look(self.app.node, self.finality_blocks, numbers)

    def _far(self, contracts: dict[bytes, Place], seasons: dict[int, int], first: int, last: Block) -> Logs | None:
        """A wide range, made narrower until the node takes it: None then, for its end was another block."""
        try:
            return asking.far_logs(self.app.node, self.window, contracts, seasons, first, last)
        except NodeRefused:
            if last.number == first:
                raise
            return None

    def _contracts(self, group: Iterable[PositionRow]) -> tuple[dict[bytes, Place], dict[int, int]]:
        """The contracts of these programs by address, and how many seasons each is known to have."""
        contracts: dict[bytes, Place] = {}
        seasons: dict[int, int] = {}
        with read(self.app.engine) as tx:
            for at in group:
                row = programs.get(tx, at.program)
                stamps = index.season_contracts(tx, at.program) or [_bytes(row.stamps)]
                contracts[_bytes(row.membership)] = (at.program, MEMBERSHIP)
                contracts |= {address: (at.program, season + 1) for season, address in enumerate(stamps)}
                seasons[at.program] = len(stamps)
        return contracts, seasons

    def _confirm(self, group: Sequence[PositionRow]) -> None:
        now = self.app.now()
        for at in group:
            if at.confirmed_at is None or now - at.confirmed_at >= CONFIRM_EVERY:
                # What was made final a moment ago is another position; the next look confirms it.
                with suppress(Overtaken), begin(self.app.engine) as tx:
                    index_steps.confirm(tx, at, now)

    # ------------------------------------------------------------------------------------------ back, and what is final

    def _fork(self, group: Sequence[PositionRow]) -> bool:
        """The node's chain has another block where we stand: go back to the newest one that is on both."""
        at = group[0]
        with read(self.app.engine) as tx:
            ours = index.ancestry(tx, at)
        for start in range(0, len(ours), NEAR_BLOCKS):
            chunk = {header.number: header for header in ours[start : start + NEAR_BLOCKS]}
            seen = self._look(sorted(chunk))
            if len(seen.blocks) < len(chunk):
                return False
            both = [chunk[block.number] for block in seen.blocks if chunk[block.number].hash == block.hash]
            if both:
                log.info("a reorg: back from block %d to %d", at.number, both[-1].number)
                for each in group:
                    with begin(self.app.engine) as tx:
                        index_steps.undo_to(tx, each, both[-1], self.app.now())
                return True
        if seen.final < at.final_number:
            # It does not call its own block final: this is a node that was left behind on another fork.
            return False
        theirs = seen.blocks[0].hash
        incident = f"block {at.final_number} was final as {at.final_hash}, and the node's chain has {theirs} there"
        log.error("the index is halted: %s", incident)
        for each in group:
            with begin(self.app.engine) as tx:
                index_steps.halt(tx, each, incident)
        return True

    def _finalise(self, group: Sequence[PositionRow], final_number: int) -> list[PositionRow] | None:
        """Ask the logs of blocks that have become final once more, and drop the way back if they are what is stored.

        Returns the positions as they are then; None if nothing has changed.
        """
        at = group[0]
        upto = min(at.number, final_number, at.final_number + min(self.window.blocks, NEAR_BLOCKS))
        if upto <= at.final_number:
            return None
        with read(self.app.engine) as tx:
            ours = {header.number: header for header in index.ancestry(tx, at)}
        seen = self._look(range(at.final_number, upto + 1))
        # What is not on our chain is for the next step to undo.
        if any(block.number in ours and ours[block.number].hash != block.hash for block in seen.blocks):
            return None
        blocks = [block for block in seen.blocks[1:] if block.number <= seen.final]
        if not blocks:
            return None
        contracts, seasons = self._contracts(group)
        logs = asking.logs_of(self.app.node, self.window, contracts, seasons, blocks)
        if logs is None:
            return None
        final = _header(blocks[-1])
        for each in group:
            with read(self.app.engine) as tx:
                stored = index.facts(tx, each.program, blocks[0].number, final.number)
            if stored != list(logs.of(each.program)):
                settled = self._settled(each, blocks, logs, contracts, seasons)
                if settled is None:
                    return None
                logs = settled
            mends = stored != list(logs.of(each.program))
            with begin(self.app.engine) as tx:
                if mends:
                    log.warning("the logs of blocks %d to %d are put right", blocks[0].number, final.number)
                    index_steps.mend(tx, each, final, logs.of(each.program), self.app.now())
                else:
                    index_steps.finalise(tx, each, final)
        with read(self.app.engine) as tx:
            return [row for each in group if (row := index.position(tx, each.program)) is not None]

    def _settled(
        self,
        at: PositionRow,
        blocks: Sequence[Block],
        logs: Logs,
        contracts: dict[bytes, Place],
        seasons: dict[int, int],
    ) -> Logs | None:
        """The node tells some blocks otherwise than it did: what each of them holds by its receipts."""
        with read(self.app.engine) as tx:
            stored = index.facts(tx, at.program, blocks[0].number, blocks[-1].number)
        differ = {fact.block for fact in set(stored) ^ set(logs.of(at.program))}
        for block in blocks:
            if block.number in differ:
                told = asking.exact(self.app.node, contracts, seasons, block)
                if told is None:
                    return None
                logs = asking.replaced(logs, [block.number], told)
        return logs


def catch_up(
    app: App,
    attached: Attached,
    finality_blocks: int | None,
    *,
    program: str | None = None,
    progress: Callable[[Progress], None] = lambda progress: None,
    patience_seconds: float = 120.0,
    pause_seconds: float = 0.2,
    sleep: Callable[[float], None] = time.sleep,
) -> Progress:
    """Step until every open program stands at the node's newest block; returns the last step's report.

    A node that fails, lags or contradicts itself, and another process that does the work, are waited for as long as
    something moved within `patience_seconds`; then the trouble is raised. Raises IndexHalted where the named program
    (None = any) stands still.
    """
    stalled = 0.0
    lowest: int | None = None
    with Indexer(app, attached, finality_blocks=finality_blocks) as indexer:
        while True:
            trouble: ChainProblem | None = None
            try:
                report = indexer.step()
            except (NodeUnreachable, NodeRefused) as failure:
                trouble, report = failure, Progress(lowest=lowest)
            progress(report)
            for halted in report.halted:
                if program in (None, halted.program):
                    raise halted
            if report.at_head:
                return report
            if report.moved or report.lowest != lowest:
                stalled, lowest = 0.0, report.lowest
                continue
            if stalled >= patience_seconds:
                raise trouble or ChainProblem(
                    f"the index does not reach the newest block of the node at {app.node.shown_url}",
                    mend="the node may be behind, or contradict itself: look at the log, or point --rpc at another one",
                )
            sleep(pause_seconds)
            stalled += pause_seconds


def rebuild(app: App, program: int) -> None:
    """Drop what is indexed of a program, an incident included: the next step starts over. The chain holds it all."""
    with begin(app.engine) as tx:
        index_steps.drop(tx, program)


def _header(block: Block) -> Header:
    return Header(block.number, block.hash, block.parent_hash, block.timestamp)


def _bytes(address: str) -> bytes:
    return bytes.fromhex(address[2:])
