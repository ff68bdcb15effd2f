"""What the sending engine asks of the chain: trying before sending, finding the item that spoils a batch, fees, and
one look at everything under way. Nothing here sends or remembers anything."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nftloyalty.chain.client import Block, Call, Node, Receipt
from nftloyalty.chain.logs import outcome_topics
from nftloyalty.domain.address import Address
from nftloyalty.errors import ChainProblem, FeesTooHigh, Reverted

Item = TypeVar("Item")

BATCH_REFUSALS = frozenset(
    {
        "Unauthorized",
        "LoyaltyMembership_CapReached",
        "LoyaltyMembership_NotAllowed",
        "LoyaltyMembership_Paused",
        "LoyaltyMembership_QuotaExceeded",
        "LoyaltyStamps_CapReached",
        "LoyaltyStamps_NotAllowed",
        "LoyaltyStamps_NotOpen",
        "LoyaltyStamps_Paused",
        "LoyaltyStamps_QuotaExceeded",
        "LoyaltyStamps_UnknownType",
    }
)
"""Errors that are no item's fault: the same item may pass tomorrow, in a smaller batch or with another key."""


KEY_REFUSALS = frozenset({"Unauthorized", "LoyaltyMembership_NotAllowed", "LoyaltyStamps_NotAllowed"})
"""Those of them that another key would not meet."""


@dataclass(frozen=True, slots=True)
class Fees:
    """What a transaction offers, in wei per gas: at most `max_fee`, of it `priority_fee` to the block's maker."""

    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class Sight:
    """Head, the signer's nonce and receipts by transaction hash, told by one node in one answer. None = not mined.

    The node may have looked for them in any order: a nonce that has passed a transaction without a receipt can be an
    accident of that. Receipts hold only the logs that tell outcomes.
    """

    head: Block
    latest_nonce: int
    receipts: Mapping[str, Receipt | None]


def estimate(node: Node, sender: Address, to: Address | None, data: bytes, value: int = 0) -> int:
    """Gas the transaction would use now. Raises Reverted if it would be refused."""
    return node.estimate_gas(Call(to, data, sender=sender, value=value))


def refusal(node: Node, sender: Address, to: Address | None, data: bytes, value: int = 0) -> Reverted | None:
    """Why the transaction would be refused if it were mined next; None = it would pass.

    An estimate is made for the next block's time. The newest block of an idle chain may be of yesterday, and a plain
    call on top of it would meet yesterday's quota.
    """
    try:
        estimate(node, sender, to, data, value)
    except Reverted as refused:
        return refused
    return None


def bisect_poison(
    items: Sequence[Item],
    refused: Callable[[Sequence[Item]], Reverted | None],
    batch_refusals: frozenset[str] = BATCH_REFUSALS,
) -> list[tuple[Item, Reverted]]:
    """The items that make a batch fail, each with the error it causes.

    `refused` tries a batch, in the order of `items`, and answers with its error or None. A batch is assumed to fail at
    its first bad item, whatever follows it, so k bad ones of n are found in about k (2 + log2 n) tries. Every item
    named was refused behind items that pass, and what is left passes as a whole, unless an error of `batch_refusals`
    ended the search: that one names no item, and the caller meets it again when it tries what is left.
    """
    poisoned: list[tuple[Item, Reverted]] = []
    good: list[Item] = []
    rest = list(items)
    while rest and (failure := refused([*good, *rest])) is not None:
        # good + rest[:passes] passes, good + rest[:fails] fails with `failure`.
        passes, fails = 0, len(rest)
        while fails - passes > 1:
            middle = (passes + fails) // 2
            found = refused([*good, *rest[:middle]])
            if found is None:
                passes = middle
            else:
                fails, failure = middle, found
        if failure.name in batch_refusals:
            break
        poisoned.append((rest[passes], failure))
        good += rest[:passes]
        rest = rest[passes + 1 :]
    return poisoned


def fees(node: Node, ceiling: int) -> Fees:
    """Enough for six full blocks in a row: twice the base fee and the usual tip, but never more than `ceiling`.

    Raises FeesTooHigh if the chain asks for more than the ceiling now, and ChainProblem if it has no EIP-1559 fees.
    """
    market = node.fees()
    if market.base_fee is None:
        raise ChainProblem(
            f"the chain of {node.shown_url} has no EIP-1559 fees",
            mend="use a chain that has them; all current public chains do",
        )
    if market.base_fee > ceiling:
        raise FeesTooHigh(market.base_fee, ceiling)
    max_fee = min(2 * market.base_fee + market.priority_fee, ceiling)
    return Fees(max_fee, min(market.priority_fee, max_fee))


def look(node: Node, hashes: Sequence[str], signer: Address, topics: frozenset[str] | None = None) -> Sight:
    """Ask one node, in one message if there are not too many hashes, about everything under way. Of the receipts' logs
    only those with one of `topics` are kept, by default those that tell of mints.

    Raises NodeUnreachable or NodeRefused if any part of the answer is missing: half a look decides nothing.
    """
    answers = node.batch(
        [
            ("eth_getBlockByNumber", ["latest", False]),
            ("eth_getTransactionCount", [signer, "latest"]),
            *(("eth_getTransactionReceipt", [tx_hash]) for tx_hash in hashes),
        ]
    )
    topics = outcome_topics() if topics is None else topics
    return Sight(
        head=node.read_block(answers[0]),
        latest_nonce=node.read_quantity("eth_getTransactionCount", answers[1]),
        receipts={
            tx_hash: node.read_receipt(tx_hash, answer, topics)
            for tx_hash, answer in zip(hashes, answers[2:], strict=True)
        },
    )
