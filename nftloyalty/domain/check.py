"""The question of a gate boiled down to numbers, for the look-up at a checkout, where microseconds count."""

from dataclasses import dataclass

from nftloyalty.domain.gate import Conditions
from nftloyalty.domain.words import types_mask


@dataclass(frozen=True, slots=True)
class Glance:
    """What `gate.decide` asks of a holding, if it is to say yes. `stamps` is a set of bits as in StampsWord.held.

    A glance says whether the answer is yes, and `decide` says why it is no.
    """

    possible: bool
    card: bool
    min_tier: int
    stamps: int

    @classmethod
    def of(cls, conditions: Conditions) -> "Glance":
        card = conditions.active or conditions.min_tier > 0
        return cls(
            possible=card or bool(conditions.stamps),
            card=card,
            min_tier=conditions.min_tier,
            stamps=types_mask(conditions.stamps),
        )

    def allows(self, joined_at: int, expires_at: int, tier: int, held: int, moment: int) -> bool:
        """Whether all is met at `moment`, in unix seconds. `held` are the stamps of the first season, 0 before there is
        one; the others are fields of the card's word."""
        if self.card and (not joined_at or tier < self.min_tier or 0 < expires_at <= moment):
            return False
        return self.possible and held & self.stamps == self.stamps
