"""What the contracts pack into 256-bit words: holdings that are read, batch items and token ids that are sent.

The layouts are those of `contracts/src/interfaces/ILoyaltyMembership.sol` and `ILoyaltyStamps.sol`; fields are named
from the lowest bit upwards.
"""

from dataclasses import dataclass
from enum import IntEnum, IntFlag

from nftloyalty.domain.address import Address, address_number, number_address

STAMP_TYPES = 120
_ADDRESS_BITS = 160


class Flag(IntFlag):
    """What happened to a wallet, in the top field of its membership word."""

    LEFT = 1
    REVOKED = 2
    MOVED = 4
    VOIDED = 8


class Role(IntFlag):
    """Powers a program's membership contract can grant beside ownership."""

    MINTER = 1
    SIGNER = 2
    MANAGER = 4
    GUARDIAN = 8


class SkipCode(IntEnum):
    """Why a batch left an item out, as in the contracts' `Skipped` event."""

    ALREADY_HELD = 1
    EVER_CLAIMED = 2
    LEFT = 3
    REVOKED = 4
    MOVED = 5
    NOT_ACTIVE = 6
    BELOW_TIER = 7
    DONE = 8
    CONFLICT = 9
    NOT_HELD = 10

    @property
    def sentence(self) -> str:
        """The reason in plain words, fitting after a wallet's name."""
        return _SENTENCES[self]


_SENTENCES = {
    SkipCode.ALREADY_HELD: "already holds it",
    SkipCode.EVER_CLAIMED: "had this stamp before and can't get it again",
    SkipCode.LEFT: "has left the program",
    SkipCode.REVOKED: "was removed from the program",
    SkipCode.MOVED: "has moved to another wallet",
    SkipCode.NOT_ACTIVE: "has no active membership",
    SkipCode.BELOW_TIER: "is below the tier this stamp asks for",
    SkipCode.DONE: "already is as wanted",
    SkipCode.CONFLICT: "was changed by someone else in the meantime",
    SkipCode.NOT_HELD: "holds no card",
}


@dataclass(frozen=True, slots=True)
class CardWord:
    """Everything the membership contract knows of one wallet. Times are unix seconds.

    `expires_at` is the first second that is no longer active, 0 = for life. `serial` is the member number and `nonce`
    the number of the wallet's next consent; both outlive the card.
    """

    joined_at: int
    expires_at: int
    tier: int
    serial: int
    moved_at: int
    nonce: int
    flags: Flag

    @classmethod
    def from_int(cls, word: int) -> "CardWord":
        joined_at, expires_at, tier, serial, moved_at, nonce, flags = _unpack(word, _CARD_LAYOUT)
        return cls(joined_at, expires_at, tier, serial, moved_at, nonce, Flag(flags))

    def to_int(self) -> int:
        fields = (
            self.joined_at,
            self.expires_at,
            self.tier,
            self.serial,
            self.moved_at,
            self.nonce,
            self.flags,
        )
        return _pack(*zip(fields, _CARD_LAYOUT, strict=True))

    @property
    def exists(self) -> bool:
        """Whether the wallet holds a card, active or expired."""
        return self.joined_at != 0

    def active_at(self, timestamp: int) -> bool:
        return self.exists and (self.expires_at == 0 or timestamp < self.expires_at)

    def mintable_code(self) -> SkipCode | None:
        """Why a card minted to this wallet would be skipped; None = it would be minted."""
        if self.exists:
            return SkipCode.ALREADY_HELD
        if Flag.REVOKED in self.flags:
            return SkipCode.REVOKED
        if Flag.MOVED in self.flags:
            return SkipCode.MOVED
        if Flag.LEFT in self.flags:
            return SkipCode.LEFT
        return None


@dataclass(frozen=True, slots=True)
class StampsWord:
    """The stamps of one wallet in one season: bit `type - 1` of `held` and of `claimed` (ever had)."""

    held: int
    claimed: int
    moved: bool

    @classmethod
    def from_int(cls, word: int) -> "StampsWord":
        held, claimed, flags = _unpack(word, _STAMPS_LAYOUT)
        return cls(held, claimed, bool(flags & 1))

    def to_int(self) -> int:
        return _pack(*zip((self.held, self.claimed, int(self.moved)), _STAMPS_LAYOUT, strict=True))

    def holds(self, stamp_type: int) -> bool:
        return bool(self.held & _type_bit(stamp_type))

    def types_held(self) -> tuple[int, ...]:
        """Numbers of the stamp types held, ascending."""
        return tuple(number for number in range(1, STAMP_TYPES + 1) if self.holds(number))

    def mintable_code(self, stamp_type: int) -> SkipCode | None:
        """Why a stamp of this type would be skipped by what the wallet has; None = it would be minted.

        A type that is only for members asks for the card's standing as well, which this word does not know.
        """
        if self.moved:
            return SkipCode.MOVED
        bit = _type_bit(stamp_type)
        if self.held & bit:
            return SkipCode.ALREADY_HELD
        if self.claimed & bit:
            return SkipCode.EVER_CLAIMED
        return None


# Widths in bits from the lowest.
_CARD_LAYOUT = (40, 40, 8, 64, 40, 24, 8)
_STAMPS_LAYOUT = (STAMP_TYPES, STAMP_TYPES, 8)


def card_item(address: Address, tier: int, expires_at: int) -> int:
    """Item of `mintBatch` of the membership contract. `expires_at` in unix seconds, 0 = for life."""
    return _pack((address_number(address), _ADDRESS_BITS), (tier, 8), (expires_at, 40))


def split_card_item(item: int) -> tuple[Address, int, int]:
    """(holder, tier, expiry in unix seconds) of an item of `mintBatch` of the membership contract."""
    holder, tier, expires_at = _unpack(item, (_ADDRESS_BITS, 8, 40))
    return number_address(holder), tier, expires_at


def renewal_item(address: Address, new: int, expected: int) -> int:
    """Item of `renewBatch`: the expiry wanted and the one the caller believes is there, in unix seconds."""
    return _pack((address_number(address), _ADDRESS_BITS), (new, 40), (expected, 40))


def tier_item(address: Address, tier: int) -> int:
    """Item of `setTierBatch`."""
    return _pack((address_number(address), _ADDRESS_BITS), (tier, 8))


def stamp_token_id(address: Address, stamp_type: int) -> int:
    """Token id of a stamp, which is also its item in `mintBatch` of the stamp contract."""
    _type_bit(stamp_type)
    return stamp_type << _ADDRESS_BITS | address_number(address)


def card_token_id(address: Address) -> int:
    return address_number(address)


def split_token_id(token_id: int) -> tuple[int, Address]:
    """(stamp type, holder) of a token id; the stamp type of a card is 0."""
    return token_id >> _ADDRESS_BITS, number_address(token_id & ((1 << _ADDRESS_BITS) - 1))


def types_mask(stamp_types: tuple[int, ...]) -> int:
    """The types as a bit set, as `holdsAll` of the stamp contract takes it."""
    mask = 0
    for stamp_type in stamp_types:
        mask |= _type_bit(stamp_type)
    return mask


def _type_bit(stamp_type: int) -> int:
    if not 1 <= stamp_type <= STAMP_TYPES:
        raise ValueError(f"stamp types are numbered 1 to {STAMP_TYPES}, not {stamp_type}")
    return 1 << (stamp_type - 1)


def _pack(*fields: tuple[int, int]) -> int:
    """(value, width) pairs from the lowest bit. A value that does not fit would change its neighbour: ValueError."""
    word = shift = 0
    for value, width in fields:
        if not 0 <= value < 1 << width:
            raise ValueError(f"{value} does not fit into {width} bits")
        word |= value << shift
        shift += width
    return word


def _unpack(word: int, layout: tuple[int, ...]) -> tuple[int, ...]:
    """The fields of a word. Bits above the layout must be zero, else the word is not what we think: ValueError."""
    fields = []
    for width in layout:
        fields.append(word & ((1 << width) - 1))
        word >>= width
    if word:
        raise ValueError("the word has bits above its last field")
    return tuple(fields)
