"""What the index asks of a node, and what it makes sure of before it believes the answer.

A node can lag, stand behind a balancer with others, change its mind in the middle, or leave logs out. An answer that
does not fit together is no answer: None, to be asked again later. What contradicts itself is NodeUnreachable.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nftloyalty.chain import facts
from nftloyalty.chain.client import MOST_IN_BATCH, Block, Node
from nftloyalty.chain.facts import Logs, Place
from nftloyalty.domain.holding import Fact, FactKind
from nftloyalty.errors import ChainRestarted, NodeRefused, NodeUnreachable

log = logging.getLogger(__name__)

FIRST_WINDOW = 64
MOST_WINDOW = 1 << 17
QUICK_SECONDS = 2.0
SLOW_SECONDS = 10.0
# Facts of one answer that are still handled in one transaction without a second thought.
MANY_FACTS = 20_000


@dataclass(frozen=True)
class Look:
    """The node's newest block, and the number of its newest final one."""

    head: Block
    final: int


@dataclass
class Window:
    """How many blocks are asked for at once. It grows while answers come quickly and shrinks where they don't."""

    blocks: int = FIRST_WINDOW

    def answered(self, asked: int, seconds: float, found: int) -> None:
        if seconds > SLOW_SECONDS or found > MANY_FACTS:
            self.shrink()
        elif seconds < QUICK_SECONDS and 2 * found <= MANY_FACTS and asked >= self.blocks:
            self.blocks = min(MOST_WINDOW, 2 * self.blocks)

    def shrink(self) -> None:
        self.blocks = max(1, self.blocks // 2)


def look(node: Node, genesis_hash: str, finality_blocks: int | None) -> Look:
    """Where the node is. Raises ChainRestarted if it serves another chain, ChainProblem if it can't tell finality."""
    tags = ["0x0", "latest"] + (["finalized"] if finality_blocks is None else [])
    genesis, newest, *finalized = node.batch([("eth_getBlockByNumber", [tag, False]) for tag in tags])
    if node.read_block(genesis, 0).hash != genesis_hash:
        raise ChainRestarted(node.shown_url)
    head = node.read_block(newest)
    if finality_blocks is not None:
        return Look(head, max(0, head.number - finality_blocks))
    # A node that did not answer this is asked once more, by the one that knows how to say so.
    told = isinstance(finalized[0], dict)
    final = node.read_block(finalized[0], "finalized").number if told else node.finalized()
    return Look(head, min(head.number, final))


def headers(node: Node, numbers: Sequence[int]) -> list[Block] | None:
    """These blocks, lowest first, as far as they hang together: those of neighbouring numbers are parent and child.

    None if the node does not have the first one.
    """
    found: list[Block] = []
    for start in range(0, len(numbers), MOST_IN_BATCH):
        for block in node.headers(numbers[start : start + MOST_IN_BATCH]):
            if block is None:
                return found or None
            if found and found[-1].number + 1 == block.number and found[-1].hash != block.parent_hash:
                return found
            found.append(block)
    return found


def logs_of(
    node: Node, window: Window, contracts: dict[bytes, Place], seasons: dict[int, int], blocks: Sequence[Block]
) -> Logs | None:
    """The facts of these blocks, all of which are given, made sure of by what the headers say of them.

    `contracts` and `seasons` as in `_asked`. None if the chain changed in the middle.
    """
    found = _asked(node, window, contracts, seasons, blocks[0].number, blocks[-1])
    if found is None:
        return None
    hashes = {block.number: block.hash for block in blocks}
    if any(hashes[number] != told for number, told in found.hashes.items()):
        return None
    asked = len(contracts)
    for block in blocks:
        if _fits(node, block, found, contracts):
            continue
        told = exact(node, contracts, seasons, block)
        if told is None:
            return None
        mended = replaced(found, [block.number], told)
        if mended.facts != found.facts:
            log.warning("the node at %s gave other logs of block %d than its receipts", node.shown_url, block.number)
        found = mended
    if len(contracts) > asked:
        # The log that links a season was among those left out: its contract was not asked for.
        return logs_of(node, window, contracts, seasons, blocks)
    return found


def far_logs(
    node: Node, window: Window, contracts: dict[bytes, Place], seasons: dict[int, int], first: int, last: Block
) -> Logs | None:
    """The facts of many blocks at once, of which only the last is known: for those that are final long since."""
    found = _asked(node, window, contracts, seasons, first, last)
    return found if found is not None and found.hashes.get(last.number, last.hash) == last.hash else None


def exact(node: Node, contracts: dict[bytes, Place], seasons: dict[int, int], block: Block) -> Logs | None:
    """The facts of one block by its hash, from its receipts where the node tells them. None = it has no such block."""
    while True:
        try:
            items = facts.of_contracts(node.receipt_log_items(block.hash), contracts)
        except NodeRefused:
            try:
                texts = ["0x" + address.hex() for address in contracts]
                items = node.log_items_of(block.hash, texts, facts.all_topics())
            except NodeRefused:
                return None
        found = facts.read_logs(node, items, contracts, block.number, block.number)
        if found.hashes.get(block.number, block.hash) != block.hash:
            return None
        if not _new_contracts(node, found, contracts, seasons):
            return found


def replaced(found: Logs, numbers: Collection[int], told: Logs) -> Logs:
    """`found` with what `told` says of the blocks of these numbers."""

    def merged(program: int) -> list[Fact]:
        return sorted([each for each in found.of(program) if each.block not in numbers] + [*told.of(program)])

    programs = found.facts.keys() | told.facts.keys()
    return Logs(
        {program: merged_facts for program in programs if (merged_facts := merged(program))},
        {**found.hashes, **told.hashes},
        {**found.speakers, **told.speakers},
    )


def _asked(
    node: Node, window: Window, contracts: dict[bytes, Place], seasons: dict[int, int], first: int, last: Block
) -> Logs | None:
    """What the node answers for a range; None if `last` is not its block any more, or not yet. Seasons that are linked
    in the range are asked for too.

    `contracts` are all contracts asked for and `seasons` how many of them are stamps, by program; both are added to.
    """
    while True:
        began = time.monotonic()
        texts = ["0x" + address.hex() for address in contracts]
        try:
            items, now = node.log_items(texts, facts.all_topics(), first, last.number)
        except (NodeRefused, NodeUnreachable):
            window.shrink()
            raise
        if now is None or now.hash != last.hash:
            return None
        window.answered(last.number - first + 1, time.monotonic() - began, len(items))
        found = facts.read_logs(node, items, contracts, first, last.number)
        if not _new_contracts(node, found, contracts, seasons):
            return found


def _new_contracts(node: Node, found: Logs, contracts: dict[bytes, Place], seasons: dict[int, int]) -> bool:
    """Add the stamp contracts that were linked in these blocks; whether there were any."""
    new = False
    for program, told in found.facts.items():
        for fact in told:
            if fact.kind != FactKind.SEASON_LINKED:
                continue
            place = (program, fact.data[0] + 1)
            known = contracts.get(fact.wallet)
            if known is None and fact.data[0] == seasons[program]:
                contracts[fact.wallet] = place
                seasons[program] += 1
                new = True
            elif known != place:
                raise node.unusable("eth_getLogs", "it links a season out of turn")
    return new


def _fits(node: Node, block: Block, found: Logs, contracts: Mapping[bytes, Place]) -> bool:
    """Whether the logs of a block can be all there are. The bloom of a block never hides what is there."""
    spoke = found.speakers.get(block.number, frozenset())
    if not block.logs_bloom:
        # Some chains fill in none: then it says nothing of blocks with logs.
        return not spoke or block.logs_bloom is None
    for address, (_, contract) in contracts.items():
        may = facts.may_speak(block.logs_bloom, address, contract)
        if address in spoke and not may:
            raise node.unusable("eth_getLogs", f"it holds logs that block {block.number} can't have")
        if may and address not in spoke:
            return False
    return True
