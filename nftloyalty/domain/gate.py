"""Whether a wallet may have something: conditions on its membership and stamps, judged at one block."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from nftloyalty.domain.program import Program
from nftloyalty.domain.times import shown_end
from nftloyalty.domain.words import CardWord, Flag, StampsWord


@dataclass(frozen=True, slots=True)
class Conditions:
    """All must be met. `min_tier` above 0 asks for an active card of at least that tier; `stamps` are numbers of stamp
    types of the first season, all to be held."""

    active: bool = True
    min_tier: int = 0
    stamps: tuple[int, ...] = ()


@dataclass(frozen=True, slots=True)
class Holding:
    """What one wallet has: its card's word and its stamps' words, one a season in order, read at one block."""

    card: CardWord
    stamps: tuple[StampsWord, ...]


class Consistency(StrEnum):
    """How an answer is come by: from the index as of the newest block or of the newest final one, or from the node."""

    HEAD = "head"
    FINAL = "final"
    LIVE = "live"


@dataclass(frozen=True, slots=True)
class AsOf:
    """The block an answer was read at. `timestamp` in unix seconds; `final` = it can no longer be undone."""

    block: int
    hash: str
    timestamp: int
    final: bool


class ReasonCode(StrEnum):
    """Why a gate says no. Stable: storefronts match on these."""

    NO_CARD = "no_card"
    EXPIRED = "expired"
    LEFT = "left"
    REVOKED = "revoked"
    MOVED = "moved"
    BELOW_TIER = "below_tier"
    MISSING_STAMP = "missing_stamp"
    NO_CONDITION = "no_condition"


@dataclass(frozen=True, slots=True)
class Reason:
    code: ReasonCode
    sentence: str


@dataclass(frozen=True, slots=True)
class Decision:
    """`reasons` holds every unmet condition and is empty exactly when `allowed`."""

    allowed: bool
    reasons: tuple[Reason, ...]


def judged_at(as_of: AsOf, now: datetime) -> int:
    """The unix second at which expiry is judged: the later of `now` and the block's time.

    An idle chain's last block can be old, and a chain's clock can run ahead of ours; neither may keep an expired card
    alive.
    """
    return max(int(now.timestamp()), as_of.timestamp)


def decide(
    conditions: Conditions, holding: Holding, as_of: AsOf, now: datetime, program: Program | None = None
) -> Decision:
    """Judges all conditions. `program` only lends its names to the sentences.

    Asking for nothing is answered no: a gate whose conditions got lost must not open to everyone.
    """
    reasons: list[Reason] = []
    if not conditions.active and not conditions.min_tier and not conditions.stamps:
        reasons.append(Reason(ReasonCode.NO_CONDITION, "no condition was given"))
    if conditions.active or conditions.min_tier:
        reasons += _membership_reasons(holding.card, conditions.min_tier, judged_at(as_of, now), program)
    for number in conditions.stamps:
        if not holding.stamps or not holding.stamps[0].holds(number):
            name = program.stamp_id(number) if program else f"type {number}"
            reasons.append(Reason(ReasonCode.MISSING_STAMP, f"the stamp {name} is missing"))
    return Decision(not reasons, tuple(reasons))


def _membership_reasons(card: CardWord, min_tier: int, timestamp: int, program: Program | None) -> list[Reason]:
    if not card.exists:
        return [_absence(card)]
    reasons = []
    if not card.active_at(timestamp):
        reasons.append(Reason(ReasonCode.EXPIRED, f"the membership was valid {shown_end(card.expires_at)}"))
    if card.tier < min_tier:
        has, wants = (
            (program.tier_name(card.tier), program.tier_name(min_tier))
            if program
            else (f"tier {card.tier}", f"tier {min_tier}")
        )
        reasons.append(Reason(ReasonCode.BELOW_TIER, f"the membership is {has}, and this asks for {wants}"))
    return reasons


def _absence(card: CardWord) -> Reason:
    """Why there is no card, the weightiest cause first."""
    if Flag.REVOKED in card.flags:
        return Reason(ReasonCode.REVOKED, "the membership was revoked")
    if Flag.MOVED in card.flags:
        return Reason(ReasonCode.MOVED, "the membership has moved to another wallet")
    if Flag.LEFT in card.flags:
        return Reason(ReasonCode.LEFT, "the member has left the program")
    return Reason(ReasonCode.NO_CARD, "this wallet has no membership")
