"""What a receipt says happened to each thing that was asked for, decoded by hand: it is on the path of every mint.

Only logs of our own contracts count; a receipt's success proves nothing by itself.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from nftloyalty.chain.abi import event_topic
from nftloyalty.chain.client import Receipt
from nftloyalty.domain.address import Address, number_address

_ZERO_TOPIC = "0x" + 64 * "0"


@dataclass(frozen=True, slots=True)
class Minted:
    """The token was made here; `log_index` counts within the block."""

    log_index: int


@dataclass(frozen=True, slots=True)
class Skipped:
    """The contract left the item out. `code` as in domain.words.SkipCode."""

    code: int


@dataclass(frozen=True, slots=True)
class Changed:
    """What was to be done to the token was done here; `log_index` counts within the block."""

    log_index: int


@dataclass(frozen=True, slots=True)
class Missing:
    """The receipt tells nothing of the token: the transaction reverted, did something else, or was a move."""


Outcome = Minted | Changed | Skipped | Missing


@dataclass(frozen=True, slots=True)
class Event:
    """An event of a contract of ours whose first indexed field is a token id."""

    contract: str
    name: str


@dataclass(frozen=True, slots=True)
class OpenedProgram:
    """A program that the factory opened in this transaction."""

    opener: Address
    salt: bytes
    membership: Address
    stamps: Address


@cache
def outcome_topics(events: frozenset[Event] = frozenset()) -> frozenset[str]:
    """First topics of the logs that `outcomes` goes by, the stamp contract's being the same, and `changes` for these
    events."""
    minted = [event_topic("LoyaltyMembership", name) for name in ("Transfer", "Skipped", "Migrated")]
    return frozenset([*minted, *(event_topic(event.contract, event.name) for event in events)])


def outcomes(
    receipt: Receipt, contract: Address, expected: Iterable[int], membership: Address | None = None
) -> dict[int, Outcome]:
    """What became of each expected token id of `contract`, in the order asked.

    A transaction in which the program's `membership` contract reports a move minted nothing: the tokens that appear in
    it come from another wallet. Give `membership` when `contract` is a stamp contract; otherwise it is `contract`.
    """
    found: dict[int, Outcome] = {}
    if receipt.succeeded and not moved(receipt, membership or contract):
        transfer = event_topic("LoyaltyMembership", "Transfer")
        skip = event_topic("LoyaltyMembership", "Skipped")
        for log in receipt.logs:
            if log.address != contract:
                continue
            topics = log.topics
            if len(topics) == 4 and topics[0] == transfer and topics[1] == _ZERO_TOPIC:
                token_id = int(topics[3], 16)
                # A token's id ends with its holder's address: anything else is no mint of ours.
                if int(topics[2], 16) == token_id & ((1 << 160) - 1):
                    found[token_id] = Minted(log.index)
            elif len(topics) == 2 and topics[0] == skip and len(log.data) == 32:
                # An id twice in one batch is minted and then skipped: the mint is what counts.
                found.setdefault(int(topics[1], 16), Skipped(int.from_bytes(log.data, "big")))
    return {token_id: found.get(token_id, Missing()) for token_id in expected}


def changes(receipt: Receipt, contract: Address, event: Event, token_ids: Sequence[int]) -> list[Outcome]:
    """What became of each item of a transaction that mints nothing, in the order it named them.

    The contract tells of each item once and in order, by this event or by Skipped: a token that was named twice has two
    ends.
    """
    told: dict[int, list[Outcome]] = {}
    done, skip = event_topic(event.contract, event.name), event_topic("LoyaltyMembership", "Skipped")
    for log in receipt.logs if receipt.succeeded else ():
        topics = log.topics
        if log.address != contract or len(topics) < 2:
            continue
        if topics[0] == done:
            told.setdefault(int(topics[1], 16), []).append(Changed(log.index))
        elif topics[0] == skip and len(topics) == 2 and len(log.data) == 32:
            told.setdefault(int(topics[1], 16), []).append(Skipped(int.from_bytes(log.data, "big")))
    found: list[Outcome] = []
    for token_id in token_ids:
        ends = told.get(token_id)
        found.append(ends.pop(0) if ends else Missing())
    return found


def moved(receipt: Receipt, membership: Address) -> bool:
    """Whether a membership was moved to another wallet in this transaction."""
    migrated = event_topic("LoyaltyMembership", "Migrated")
    return any(log.address == membership and log.topics[:1] == (migrated,) for log in receipt.logs)


def opened_program(receipt: Receipt, factory: Address) -> OpenedProgram | None:
    """The program that `factory` opened in this transaction, if it did."""
    topic = event_topic("LoyaltyFactory", "ProgramOpened")
    for log in receipt.logs if receipt.succeeded else ():
        if log.address == factory and len(log.topics) == 3 and log.topics[0] == topic and len(log.data) == 64:
            return OpenedProgram(
                opener=_address_in(bytes.fromhex(log.topics[1][2:])),
                salt=bytes.fromhex(log.topics[2][2:]),
                membership=_address_in(log.data[:32]),
                stamps=_address_in(log.data[32:]),
            )
    return None


def _address_in(word: bytes) -> Address:
    return number_address(int.from_bytes(word, "big"))
