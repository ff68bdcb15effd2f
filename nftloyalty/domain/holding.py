"""What a program's contracts have told, folded into what each wallet has.

A `Fact` is one log that changes a holding, freed of its encoding. Applied in the order of the chain, facts lead to the
contracts' own words, but for two fields that no event tells of: the time of a wallet's last move and its next nonce.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from typing import NamedTuple

from nftloyalty.domain.gate import Holding
from nftloyalty.domain.words import STAMP_TYPES, CardWord, Flag, StampsWord

WORD = 32
MEMBERSHIP = 0
"""The membership contract among a program's contracts; the stamps of season s are s + 1."""


class FactKind(IntEnum):
    """What happened, and what `data` tells of it. Stored: a number keeps its meaning for ever."""

    CARD_MINTED = 1
    CARD_BURNED = 2
    EXPIRY_SET = 3  # joined at 5 bytes, expires at 5
    MEMBER_SET = 4  # tier 1, serial 8
    CARD_REVOKED = 5
    READMITTED = 6
    MIGRATED = 7  # target's address 20, serial 8
    VOUCHER_VOIDED = 8
    SEASON_LINKED = 9  # season 1; `wallet` is the address of its contract
    STAMP_MINTED = 10  # type 1
    STAMP_BURNED = 11  # type 1
    STAMP_REVOKED = 12  # type 1, may return 1
    REDEEMED = 13  # type 1, order reference 32


class Fact(NamedTuple):
    """`log_index` counts within the block, `contract` the program's contracts; `wallet` has 20 bytes.

    A tuple, for a back-fill makes millions of them.
    """

    block: int
    log_index: int
    tx_hash: bytes
    contract: int
    kind: int
    wallet: bytes
    data: bytes


@dataclass(slots=True)
class HoldingState:
    """What one wallet has, in numbers: the fields of its membership word, and its stamp words by season."""

    joined_at: int = 0
    expires_at: int = 0
    tier: int = 0
    serial: int = 0
    flags: int = 0
    stamps: list[int] = field(default_factory=list)

    @classmethod
    def from_row(
        cls, joined_at: int, expires_at: int, tier: int, serial: int, flags: int, stamps: bytes
    ) -> "HoldingState":
        words = [int.from_bytes(stamps[at : at + WORD], "big") for at in range(0, len(stamps), WORD)]
        return cls(joined_at, expires_at, tier, serial, flags, words)

    def to_row(self) -> tuple[int, int, int, int, int, bytes]:
        """As `from_row` takes it. Seasons at the end without anything in them are left out: equal holdings are equal
        rows, whatever happened in between."""
        words = self.stamps
        while words and not words[-1]:
            words.pop()
        packed = b"".join([word.to_bytes(WORD, "big") for word in words])
        return (self.joined_at, self.expires_at, self.tier, self.serial, self.flags, packed)

    def to_holding(self, seasons: int) -> Holding:
        """As gates judge it, with one word for each of the program's seasons."""
        card = CardWord(
            joined_at=self.joined_at,
            expires_at=self.expires_at,
            tier=self.tier,
            serial=self.serial,
            moved_at=0,
            nonce=0,
            flags=Flag(self.flags),
        )
        words = self.stamps[:seasons] + [0] * (seasons - len(self.stamps))
        return Holding(card, tuple(StampsWord.from_int(word) for word in words))


NOTHING = HoldingState().to_row()
"""The row of a wallet of which nothing is known."""


class Fold:
    """The holdings of some wallets while facts are applied to them.

    `seasons` is how many seasons were linked before the first fact. `holdings` must hold every wallet of `wallets_of`
    the facts that is known already; others begin with nothing.
    """

    def __init__(self, seasons: int, holdings: Mapping[bytes, HoldingState] | None = None) -> None:
        self.seasons = seasons
        self.holdings: dict[bytes, HoldingState] = dict(holdings or {})

    def apply(self, fact: Fact) -> None:
        """The next fact in the order of the chain."""
        _APPLY[fact.kind](self, fact)

    def of(self, wallet: bytes) -> HoldingState:
        state = self.holdings.get(wallet)
        if state is None:
            state = self.holdings[wallet] = HoldingState()
        return state


def wallets_of(fact: Fact) -> tuple[bytes, ...]:
    """The wallets whose holding the fact changes."""
    if fact.kind == FactKind.MIGRATED:
        return (fact.wallet, fact.data[:20])
    return () if fact.kind == FactKind.SEASON_LINKED else (fact.wallet,)


def all_wallets(facts: Iterable[Fact]) -> set[bytes]:
    return {wallet for fact in facts for wallet in wallets_of(fact)}


_LEFT, _REVOKED, _MOVED, _VOIDED = (int(flag) for flag in (Flag.LEFT, Flag.REVOKED, Flag.MOVED, Flag.VOIDED))
_HELD_MASK = (1 << STAMP_TYPES) - 1
_STAMPS_MOVED = 1 << 2 * STAMP_TYPES


def _card_minted(fold: Fold, fact: Fact) -> None:
    # Who left gets a card by a readmission, which says so before, or by a move, which does not.
    fold.of(fact.wallet).flags &= ~_LEFT


def _card_burned(fold: Fold, fact: Fact) -> None:
    state = fold.of(fact.wallet)
    # The card that goes along with a move is burned too, after Migrated has told of the move.
    if not state.flags & _MOVED:
        _without_card(state)
        # A revocation burns too; it says so right behind, and takes this back.
        state.flags |= _LEFT


def _expiry_set(fold: Fold, fact: Fact) -> None:
    state = fold.of(fact.wallet)
    state.joined_at = int.from_bytes(fact.data[:5], "big")
    state.expires_at = int.from_bytes(fact.data[5:], "big")


def _member_set(fold: Fold, fact: Fact) -> None:
    state = fold.of(fact.wallet)
    state.tier = fact.data[0]
    state.serial = int.from_bytes(fact.data[1:], "big")


def _card_revoked(fold: Fold, fact: Fact) -> None:
    state = fold.of(fact.wallet)
    _without_card(state)
    state.flags = state.flags & ~_LEFT | _REVOKED


def _readmitted(fold: Fold, fact: Fact) -> None:
    fold.of(fact.wallet).flags &= ~(_LEFT | _REVOKED)


def _migrated(fold: Fold, fact: Fact) -> None:
    source, target = fold.of(fact.wallet), fold.of(fact.data[:20])
    if source.flags & _REVOKED:
        # A recovery: number and revocation go along. The card that the target gets otherwise is told behind this.
        target.serial = source.serial
        target.flags |= _REVOKED
    _without_card(source)
    source.serial = 0
    source.flags = source.flags & ~(_LEFT | _REVOKED) | _MOVED
    for season in range(fold.seasons):
        # The stamps that move are told one by one; what was ever claimed is not.
        word = _word(source, season)
        _set_word(target, season, _word(target, season) | word & _HELD_MASK << STAMP_TYPES)
        _set_word(source, season, word | _STAMPS_MOVED)


def _voucher_voided(fold: Fold, fact: Fact) -> None:
    fold.of(fact.wallet).flags |= _VOIDED


def _season_linked(fold: Fold, fact: Fact) -> None:
    fold.seasons = max(fold.seasons, fact.data[0] + 1)


def _stamp_minted(fold: Fold, fact: Fact) -> None:
    state, season = fold.of(fact.wallet), fact.contract - 1
    bit = 1 << fact.data[0] - 1
    _set_word(state, season, _word(state, season) | bit | bit << STAMP_TYPES)


def _stamp_burned(fold: Fold, fact: Fact) -> None:
    state, season = fold.of(fact.wallet), fact.contract - 1
    _set_word(state, season, _word(state, season) & ~(1 << fact.data[0] - 1))


def _stamp_revoked(fold: Fold, fact: Fact) -> None:
    if fact.data[1]:
        state, season = fold.of(fact.wallet), fact.contract - 1
        _set_word(state, season, _word(state, season) & ~(1 << fact.data[0] - 1 + STAMP_TYPES))


def _redeemed(fold: Fold, fact: Fact) -> None:
    """The stamp's burn is told by itself."""


_APPLY: dict[int, Callable[[Fold, Fact], None]] = {
    FactKind.CARD_MINTED: _card_minted,
    FactKind.CARD_BURNED: _card_burned,
    FactKind.EXPIRY_SET: _expiry_set,
    FactKind.MEMBER_SET: _member_set,
    FactKind.CARD_REVOKED: _card_revoked,
    FactKind.READMITTED: _readmitted,
    FactKind.MIGRATED: _migrated,
    FactKind.VOUCHER_VOIDED: _voucher_voided,
    FactKind.SEASON_LINKED: _season_linked,
    FactKind.STAMP_MINTED: _stamp_minted,
    FactKind.STAMP_BURNED: _stamp_burned,
    FactKind.STAMP_REVOKED: _stamp_revoked,
    FactKind.REDEEMED: _redeemed,
}


def _without_card(state: HoldingState) -> None:
    """The member number outlives the card."""
    state.joined_at = state.expires_at = state.tier = 0


def _word(state: HoldingState, season: int) -> int:
    return state.stamps[season] if season < len(state.stamps) else 0


def _set_word(state: HoldingState, season: int, word: int) -> None:
    if season >= len(state.stamps):
        state.stamps += [0] * (season + 1 - len(state.stamps))
    state.stamps[season] = word
