"""What is measured, in the order of the table, and what our own contracts may use at most."""

from collections.abc import Mapping
from enum import StrEnum

BATCH = 100
"""Items of a measured batch."""

Figures = dict["Row", int]
"""What one contestant used for each act it knows: gas, or bytes for the two sizes."""


class Row(StrEnum):
    """One line of the table. The value is its key in the JSON."""

    SHARED = "shared"
    OPEN = "open"
    CARD_FIRST = "card_first"
    CARD = "card"
    CARD_BATCH = "card_batch"
    CLAIM_CARD = "claim_card"
    CLAIM_BEARER = "claim_bearer"
    RENEW = "renew"
    RENEW_BATCH = "renew_batch"
    TIER = "tier"
    TIER_BATCH = "tier_batch"
    MOVE = "move"
    MOVE_ALL = "move_all"
    BURN = "burn"
    STAMP = "stamp"
    STAMP_BATCH = "stamp_batch"
    FURTHER = "further"
    FURTHER_BATCH = "further_batch"
    GATED = "gated"
    GATED_BATCH = "gated_batch"
    CLAIM_STAMP = "claim_stamp"
    BURN_STAMP = "burn_stamp"
    CARD_BYTES = "card_bytes"
    STAMP_BYTES = "stamp_bytes"

    @property
    def label(self) -> str:
        return LABELS[self]


LABELS: Mapping[Row, str] = {
    Row.SHARED: "shared contracts, once a chain",
    Row.OPEN: "open a program",
    Row.CARD_FIRST: "the program's first card",
    Row.CARD: "a card",
    Row.CARD_BATCH: "a card, in a batch of 100",
    Row.CLAIM_CARD: "claim a card made out to a wallet",
    Row.CLAIM_BEARER: "claim a card made out to bearer",
    Row.RENEW: "renew a card",
    Row.RENEW_BATCH: "renew a card, in a batch of 100",
    Row.TIER: "change a tier",
    Row.TIER_BATCH: "change a tier, in a batch of 100",
    Row.MOVE: "move a card",
    Row.MOVE_ALL: "move a card and 5 stamps",
    Row.BURN: "burn a card",
    Row.STAMP: "a wallet's first stamp",
    Row.STAMP_BATCH: "a first stamp, in a batch of 100",
    Row.FURTHER: "a further stamp",
    Row.FURTHER_BATCH: "a further stamp, in a batch of 100",
    Row.GATED: "for members only: more",
    Row.GATED_BATCH: "for members only: more, in a batch",
    Row.CLAIM_STAMP: "claim a stamp made out to a wallet",
    Row.BURN_STAMP: "burn a stamp",
    Row.CARD_BYTES: "code behind a card, bytes",
    Row.STAMP_BYTES: "code behind a stamp, bytes",
}

LIMITS: Mapping[Row, int] = {
    Row.OPEN: 400_000,
    Row.CARD: 62_000,
    Row.CARD_BATCH: 30_000,
    Row.CLAIM_CARD: 73_000,
    Row.STAMP_BATCH: 27_500,
    Row.FURTHER_BATCH: 10_000,
    Row.GATED_BATCH: 3_000,
}
"""Most gas of ours. Past one of these the benchmark fails."""


def each(gas: int) -> int:
    """The share of one item of a batch, rounded up."""
    return -(-gas // BATCH)


def exceeded(ours: Mapping[Row, int]) -> list[str]:
    """A sentence for each limit that our figures do not keep. Raises KeyError if one was not measured."""
    return [
        f"{row.label}: {ours[row]:,} gas, {ours[row] - limit:,} above the limit of {limit:,}"
        for row, limit in LIMITS.items()
        if ours[row] > limit
    ]
