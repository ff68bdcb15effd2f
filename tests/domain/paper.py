"""A program's contracts on paper: the rules of the Solidity for cards and stamps, and the facts that each act tells.

Written from the contracts, not from the fold: it keeps the words and changes them as the contracts do.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, field
from random import Random

from nftloyalty.domain.holding import FactKind as K

LEFT, REVOKED, MOVED, VOIDED = 1, 2, 4, 8
ALL = (1 << 120) - 1

Told = tuple[int, K, bytes, bytes]
"""Contract, kind, wallet and data of a fact that has no place on a chain yet."""


def wallet(number: int) -> bytes:
    return number.to_bytes(20, "big")


def season_contract(program: int, season: int) -> bytes:
    return bytes([0x51, program, season]) + bytes(17)


def membership_contract(program: int) -> bytes:
    return bytes([0xCA, program]) + bytes(18)


@dataclass
class Card:
    joined_at: int = 0
    expires_at: int = 0
    tier: int = 0
    serial: int = 0
    flags: int = 0


@dataclass
class Stamps:
    held: int = 0
    claimed: int = 0
    moved: bool = False

    @property
    def word(self) -> int:
        return self.held | self.claimed << 120 | self.moved << 240


@dataclass
class Paper:
    """One program. An act that the contracts would refuse tells nothing and changes nothing."""

    program: int = 0
    cards: dict[bytes, Card] = field(default_factory=dict)
    seasons: list[dict[bytes, Stamps]] = field(default_factory=list)
    issued: int = 0

    def copy(self) -> "Paper":
        return deepcopy(self)

    def words(self) -> dict[bytes, tuple[int, int, int, int, int, tuple[int, ...]]]:
        """Card fields and stamp words of every wallet that has any."""
        wallets = {*self.cards, *(each for season in self.seasons for each in season)}
        found = {}
        for each in wallets:
            card = self.card(each)
            stamps = tuple(season.get(each, Stamps()).word for season in self.seasons)
            fields = (card.joined_at, card.expires_at, card.tier, card.serial, card.flags)
            if any(fields) or any(stamps):
                found[each] = (*fields, stamps)
        return found

    def card(self, who: bytes) -> Card:
        return self.cards.setdefault(who, Card())

    def stamps(self, season: int, who: bytes) -> Stamps:
        return self.seasons[season].setdefault(who, Stamps())

    # ------------------------------------------------------------------------------------------------------------ acts

    def link(self) -> list[Told]:
        self.seasons.append({})
        number = len(self.seasons) - 1
        return [(0, K.SEASON_LINKED, season_contract(self.program, number), bytes([number]))]

    def mint(self, who: bytes, tier: int, expires_at: int, now: int) -> list[Told]:
        card = self.card(who)
        if card.joined_at or card.flags & (LEFT | REVOKED | MOVED):
            return []
        self.issued += 1
        return self._issue(who, Card(now, expires_at, tier, self.issued, card.flags))

    def readmit(self, who: bytes, tier: int, expires_at: int, now: int) -> list[Told]:
        card = self.card(who)
        if not card.flags & (LEFT | REVOKED):
            return []
        flags = card.flags & ~(LEFT | REVOKED)
        return [(0, K.READMITTED, who, b""), *self._issue(who, Card(now, expires_at, tier, card.serial, flags))]

    def renew(self, who: bytes, expires_at: int) -> list[Told]:
        card = self.card(who)
        if not card.joined_at or not card.expires_at or expires_at <= card.expires_at:
            return []
        card.expires_at = expires_at
        return [self._expiry(who)]

    def set_tier(self, who: bytes, tier: int) -> list[Told]:
        card = self.card(who)
        if not card.joined_at or card.tier == tier:
            return []
        card.tier = tier
        return [self._member(who)]

    def revoke(self, who: bytes) -> list[Told]:
        card = self.card(who)
        held = card.joined_at != 0
        if not held and not card.flags & LEFT:
            return []
        self.cards[who] = Card(serial=card.serial, flags=card.flags & ~LEFT | REVOKED)
        return [(0, K.CARD_BURNED, who, b"")] * held + [(0, K.CARD_REVOKED, who, b"")]

    def burn(self, who: bytes) -> list[Told]:
        card = self.card(who)
        if not card.joined_at:
            return []
        self.cards[who] = Card(serial=card.serial, flags=card.flags | LEFT)
        return [(0, K.CARD_BURNED, who, b"")]

    def void(self, who: bytes) -> list[Told]:
        card = self.card(who)
        if card.joined_at or card.flags & (LEFT | REVOKED | MOVED | VOIDED):
            return []
        card.flags |= VOIDED
        return [(0, K.VOUCHER_VOIDED, who, b"")]

    def move(self, source: bytes, target: bytes, *, recovery: bool) -> list[Told]:
        """A migration, which replaces a card of the target, or a recovery, which does not."""
        a, b = self.card(source), self.card(target)
        holds = any(season.get(target, Stamps()).held for season in self.seasons)
        if (
            source == target
            or (a.flags & REVOKED and not recovery)
            or b.flags & (REVOKED | MOVED)
            or (recovery and b.flags & LEFT)
            or (a.flags & REVOKED and holds)
            or (recovery and b.joined_at)
            or (not a.joined_at and b.joined_at)
        ):
            return []
        has_number = a.joined_at or a.flags & REVOKED
        if not has_number and not any(season.get(source, Stamps()).held for season in self.seasons):
            return []
        serial = a.serial if a.joined_at else 0
        told: list[Told] = [(0, K.MIGRATED, source, target + serial.to_bytes(8, "big"))]
        self.cards[source] = Card(flags=a.flags & ~(LEFT | REVOKED) | MOVED)
        if b.joined_at:
            told.append((0, K.CARD_BURNED, target, b""))
        if a.joined_at:
            told.append((0, K.CARD_BURNED, source, b""))
            told += self._issue(target, Card(a.joined_at, a.expires_at, a.tier, a.serial, b.flags & ~LEFT))
        elif a.flags & REVOKED:
            self.cards[target] = Card(serial=b.serial | a.serial, flags=b.flags | REVOKED)
        for season in range(len(self.seasons)):
            told += self._move_stamps(season, source, target)
        return told

    def stamp(self, season: int, who: bytes, stamp_type: int) -> list[Told]:
        stamps = self.stamps(season, who)
        bit = 1 << stamp_type - 1
        if stamps.moved or (stamps.held | stamps.claimed) & bit or self.card(who).flags & MOVED:
            return []
        stamps.held |= bit
        stamps.claimed |= bit
        return [(season + 1, K.STAMP_MINTED, who, bytes([stamp_type]))]

    def burn_stamp(self, season: int, who: bytes, stamp_type: int) -> list[Told]:
        stamps = self.stamps(season, who)
        if not stamps.held >> stamp_type - 1 & 1:
            return []
        stamps.held &= ~(1 << stamp_type - 1)
        return [(season + 1, K.STAMP_BURNED, who, bytes([stamp_type]))]

    def redeem(self, season: int, who: bytes, stamp_type: int, order: int) -> list[Told]:
        burned = self.burn_stamp(season, who, stamp_type)
        data = bytes([stamp_type]) + order.to_bytes(32, "big")
        return [*burned, (season + 1, K.REDEEMED, who, data)] if burned else []

    def revoke_stamp(self, season: int, who: bytes, stamp_type: int, *, may_return: bool) -> list[Told]:
        burned = self.burn_stamp(season, who, stamp_type)
        if not burned:
            return []
        if may_return:
            self.stamps(season, who).claimed &= ~(1 << stamp_type - 1)
        return [*burned, (season + 1, K.STAMP_REVOKED, who, bytes([stamp_type, may_return]))]

    def _move_stamps(self, season: int, source: bytes, target: bytes) -> list[Told]:
        a, b = self.stamps(season, source), self.stamps(season, target)
        moved, dropped = a.held & ~b.claimed, a.held & b.claimed
        b.held |= moved
        b.claimed |= moved | a.claimed
        a.held, a.moved = 0, True
        told: list[Told] = []
        for stamp_type in range(1, 121):
            if (moved | dropped) >> stamp_type - 1 & 1:
                told.append((season + 1, K.STAMP_BURNED, source, bytes([stamp_type])))
                if moved >> stamp_type - 1 & 1:
                    told.append((season + 1, K.STAMP_MINTED, target, bytes([stamp_type])))
        return told

    def _issue(self, who: bytes, card: Card) -> list[Told]:
        self.cards[who] = card
        return [(0, K.CARD_MINTED, who, b""), self._expiry(who), self._member(who)]

    def _expiry(self, who: bytes) -> Told:
        card = self.card(who)
        return (0, K.EXPIRY_SET, who, card.joined_at.to_bytes(5, "big") + card.expires_at.to_bytes(5, "big"))

    def _member(self, who: bytes) -> Told:
        card = self.card(who)
        return (0, K.MEMBER_SET, who, bytes([card.tier]) + card.serial.to_bytes(8, "big"))


def act(paper: Paper, random: Random, now: int, wallets: int = 6) -> list[Told]:
    """One act by chance; often one that is refused."""

    def some() -> bytes:
        return wallet(random.randint(1, wallets))

    if not paper.seasons:
        return paper.link()
    season, stamp_type = random.randrange(len(paper.seasons)), random.randint(1, 4)
    acts: list[Callable[[], list[Told]]] = [
        lambda: paper.mint(some(), random.randint(1, 3), random.choice([0, now + 100]), now),
        lambda: paper.stamp(season, some(), stamp_type),
        lambda: paper.stamp(season, some(), random.choice([1, 120])),
        lambda: paper.move(some(), some(), recovery=False),
        lambda: paper.move(some(), some(), recovery=True),
        lambda: paper.readmit(some(), random.randint(1, 3), 0, now),
        lambda: paper.renew(some(), now + random.randint(100, 200)),
        lambda: paper.set_tier(some(), random.randint(1, 3)),
        lambda: paper.revoke(some()),
        lambda: paper.burn(some()),
        lambda: paper.void(some()),
        lambda: paper.burn_stamp(season, some(), stamp_type),
        lambda: paper.redeem(season, some(), stamp_type, random.randint(1, 99)),
        lambda: paper.revoke_stamp(season, some(), stamp_type, may_return=random.random() < 0.5),
        lambda: paper.link() if len(paper.seasons) < 3 and random.random() < 0.2 else [],
    ]
    return random.choices(acts, weights=[3, 3, 1, *[1] * 12])[0]()
