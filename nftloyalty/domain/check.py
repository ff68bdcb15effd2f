"""The question of a gate boiled down to numbers, for the look-up at a checkout, where microseconds count."""

from dataclasses import dataclass

from nftloyalty.domain.gate import Conditions
from nftloyalty.domain.holding import WORD
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

    def allows(self, row: tuple[int, int, int, int, int, bytes], seasons: int, moment: int) -> bool:
        """Whether all is met at `moment`, in unix seconds. `row` as of HoldingState.to_row; `seasons` = how many the
        program has."""
        joined_at, expires_at, tier, _, _, stamps = row
        if self.card and (not joined_at or tier < self.min_tier or 0 < expires_at <= moment):
            return False
        wanted = self.stamps
        if wanted:
            return seasons > 0 and int.from_bytes(stamps[:WORD], "big") & wanted == wanted
        return self.possible
