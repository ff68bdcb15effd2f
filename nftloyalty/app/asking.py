"""What the index asks of a node, and what it makes sure of before it believes the answer.

A node can lag, stand behind a balancer with others, change its mind in the middle, or leave logs out. An answer that
does not fit together is no answer: None, to be asked again later. What contradicts itself is NodeUnreachable.
"""

import logging
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from nftloyalty.chain import facts
from nftloyalty.chain.client import Block, Node
from nftloyalty.chain.facts import Logs, Place
from nftloyalty.domain.holding import Fact, FactKind
from nftloyalty.errors import NodeRefused, NodeUnreachable

log = logging.getLogger(__name__)

FIRST_WINDOW = 64
MOST_WINDOW = 1 << 17
QUICK_SECONDS = 2.0
SLOW_SECONDS = 10.0
# Facts of one answer that are still handled in one transaction without a second thought.
MANY_FACTS = 20_000


@dataclass(frozen=True)
class Look:
    """What a node told in one message: its newest block, the number of its newest final one, and the blocks asked for.

    `blocks` are lowest first, as far as the node has them and they hang together: neighbours are parent and child.

    One message, for behind a balancer the next one may reach a node that stands elsewhere: that a block is final must
    be said by the node that shows the block.
    """

    head: Block
    final: int
    blocks: tuple[Block, ...]


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


def look(node: Node, finality_blocks: int | None, numbers: Sequence[int]) -> Look:
    """See Look; `finality_blocks` as in Node.finalized. Raises ChainProblem if the node can't tell what is final."""
    tags = ["latest"] if finality_blocks is not None else ["latest", "finalized"]
    asked = [*tags, *map(hex, numbers)]
    newest, *answers = node.batch([("eth_getBlockByNumber", [block, False]) for block in asked])
    head = node.read_block(newest)
    if finality_blocks is not None:
        final = max(0, head.number - finality_blocks)
    else:
        told = answers.pop(0)
        # A node that does not say is asked once more by the one who knows how to complain.
        final = node.read_block(told, "finalized").number if isinstance(told, dict) else node.finalized()
        final = min(final, head.number)
    blocks: list[Block] = []
    for number, answer in zip(numbers, answers, strict=True):
        if answer is None:
            break
        block = node.read_block(answer, number)
        if blocks and blocks[-1].number + 1 == number and blocks[-1].hash != block.parent_hash:
            break
        blocks.append(block)
    return Look(head, final, tuple(blocks))


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
