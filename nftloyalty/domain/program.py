"""A brand's loyalty program, as `program.toml` describes it (`program_file` reads and checks that file)."""

from dataclasses import dataclass
from datetime import datetime

from eth_utils.crypto import keccak

from nftloyalty.domain.words import STAMP_TYPES
from nftloyalty.errors import Unknown


@dataclass(frozen=True, slots=True)
class Tier:
    """A step of the program. Numbered from 1, the lowest first."""

    id: str
    name: str
    number: int


@dataclass(frozen=True, slots=True)
class StampType:
    """One stamp type, or a stamp card of `size` types in a row from number `first`.

    `cap` bounds the stamps ever minted of each number (None = no bound). `opens` is the first moment at which it can be
    minted and `closes` the first at which it no longer can (None = at once, never). `min_tier` is a tier number, 0 =
    any; above 0 it implies `members_only`.
    """

    id: str
    name: str
    first: int
    size: int
    cap: int | None
    opens: datetime | None
    closes: datetime | None
    members_only: bool
    min_tier: int
    redeemable: bool

    @property
    def numbers(self) -> range:
        return range(self.first, self.first + self.size)

    @property
    def ids(self) -> tuple[str, ...]:
        """The id of each number: `latte`, or `card-1` ... `card-5` for a stamp card `card`."""
        if self.size == 1:
            return (self.id,)
        return tuple(f"{self.id}-{position}" for position in range(1, self.size + 1))


@dataclass(frozen=True, slots=True)
class Quotas:
    """How much of each kind can happen in one UTC day."""

    mint: int
    claim: int
    manage: int


@dataclass(frozen=True, slots=True)
class Powers:
    """Who may do what: each entry is the name of a key in the keystore or an address."""

    opener: str
    owner: str
    minters: tuple[str, ...]
    signers: tuple[str, ...]
    managers: tuple[str, ...]
    guardians: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Look:
    """Colours of the card drawn on chain, 0xRRGGBB."""

    background: int
    ink: int


@dataclass(frozen=True, slots=True)
class ChainTerms:
    """Where the program lives. No `id` = whatever chain the node serves; no `finality_blocks` = the node's own
    `finalized` block, else a block is final once this many follow it."""

    id: int | None
    finality_blocks: int | None


@dataclass(frozen=True, slots=True)
class Program:
    """`tiers` are in order from the lowest, `stamps` in order of their numbers."""

    id: str
    brand: str
    name: str
    symbol: str
    cap: int | None
    recovery_delay_seconds: int
    move_cooldown_seconds: int
    base_uri: str
    contract_uri: str
    stamps_base_uri: str
    look: Look
    chain: ChainTerms
    powers: Powers
    card_quotas: Quotas
    stamp_quotas: Quotas
    tiers: tuple[Tier, ...]
    stamps: tuple[StampType, ...]

    def tier(self, tier_id: str) -> Tier:
        """Raises Unknown, naming the tiers there are."""
        for tier in self.tiers:
            if tier.id == tier_id:
                return tier
        raise Unknown(
            f"program {self.id} has no tier {tier_id!r}",
            mend="its tiers are " + ", ".join(tier.id for tier in self.tiers),
        )

    def tier_name(self, number: int) -> str:
        """The name of a tier number read from the chain, which may know more tiers than this file."""
        if 1 <= number <= len(self.tiers):
            return self.tiers[number - 1].name
        return f"tier {number}"

    def stamp_number(self, stamp_id: str) -> int:
        """The stamp type number of `latte` or, of a stamp card, `card-3`. Raises Unknown, naming the valid ids."""
        for stamp in self.stamps:
            for number, known in zip(stamp.numbers, stamp.ids, strict=True):
                if known == stamp_id:
                    return number
        ids = [known for stamp in self.stamps for known in stamp.ids]
        raise Unknown(
            f"program {self.id} has no stamp {stamp_id!r}",
            mend="its stamps are " + ", ".join(ids) if ids else "its program.toml has no [[stamps]] or [[stamp_cards]]",
        )

    def stamp_type(self, number: int) -> StampType:
        """The stamp type or stamp card that a number belongs to. Raises Unknown."""
        for stamp in self.stamps:
            if number in stamp.numbers:
                return stamp
        raise Unknown(
            f"program {self.id} has no stamp type {number}", mend=f"stamp types have numbers from 1 to {STAMP_TYPES}"
        )

    def stamp_id(self, number: int) -> str:
        """The id of a stamp type number read from the chain, which may know more types than this file."""
        for stamp in self.stamps:
            if number in stamp.numbers:
                return stamp.ids[number - stamp.first]
        return f"type {number}"

    def salt(self) -> bytes:
        """32 bytes that, with the opener's address, identify the program on every chain."""
        return keccak(text=self.id)
