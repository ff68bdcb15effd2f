"""Facts lead to the contracts' own words, whatever happened to a wallet."""

from collections.abc import Iterable
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nftloyalty.domain.holding import Fact, FactKind, Fold, HoldingState, all_wallets, wallets_of
from nftloyalty.domain.words import CardWord, Flag, StampsWord
from tests.domain.paper import Paper, Told, act, season_contract, wallet

A, B, C = (wallet(number) for number in (1, 2, 3))
NOW, LATER = 1_700_000_000, 1_800_000_000

Words = dict[bytes, tuple[int, int, int, int, int, tuple[int, ...]]]


def folded(told: Iterable[Told], fold: Fold | None = None) -> Fold:
    fold = fold or Fold(0)
    for number, (contract, kind, who, data) in enumerate(told):
        fold.apply(Fact(1, number, bytes(32), contract, kind, who, data))
    return fold


def words(fold: Fold) -> Words:
    found = {}
    for who, state in fold.holdings.items():
        holding = state.to_holding(fold.seasons)
        stamps = tuple(word.to_int() for word in holding.stamps)
        fields = (state.joined_at, state.expires_at, state.tier, state.serial, state.flags)
        if any(fields) or any(stamps):
            found[who] = (*fields, stamps)
    return found


class Story:
    """A program whose facts are folded as they are told."""

    def __init__(self) -> None:
        self.paper = Paper()
        self.told: list[Told] = self.paper.link()

    def mint(self, who: bytes, tier: int = 1, expires_at: int = 0) -> "Story":
        self.told += self.paper.mint(who, tier, expires_at, NOW)
        return self

    def then(self, told: list[Told]) -> "Story":
        """An act that is not refused."""
        assert told
        self.told += told
        return self

    def of(self, who: bytes) -> HoldingState:
        """As folded, after making sure that everything is as on paper."""
        fold = folded(self.told)
        assert words(fold) == self.paper.words()
        return HoldingState.from_row(*fold.of(who).to_row())


@pytest.fixture
def story() -> Story:
    return Story()


def test_a_mint_gives_card_tier_and_member_number(story: Story) -> None:
    assert story.mint(A, 2, LATER).of(A) == HoldingState(NOW, LATER, 2, 1, 0)


def test_a_renewal_and_another_tier_change_what_they_name(story: Story) -> None:
    story.mint(A, 1, NOW + 9).then(story.paper.renew(A, LATER)).then(story.paper.set_tier(A, 3))
    assert story.of(A) == HoldingState(NOW, LATER, 3, 1, 0)


def test_who_burns_the_card_has_left_and_keeps_the_number(story: Story) -> None:
    assert story.mint(A).then(story.paper.burn(A)).of(A) == HoldingState(serial=1, flags=Flag.LEFT)


def test_a_revocation_is_no_leaving(story: Story) -> None:
    assert story.mint(A).then(story.paper.revoke(A)).of(A) == HoldingState(serial=1, flags=Flag.REVOKED)


def test_who_left_can_be_revoked_without_a_card(story: Story) -> None:
    story.mint(A).then(story.paper.burn(A)).then(story.paper.revoke(A))
    assert story.told[-1][1] is FactKind.CARD_REVOKED and story.told[-2][1] is FactKind.CARD_BURNED
    assert story.of(A) == HoldingState(serial=1, flags=Flag.REVOKED)


@pytest.mark.parametrize("end", ["burn", "revoke"])
def test_a_readmission_brings_the_number_back_with_a_new_joining_time(story: Story, end: str) -> None:
    story.mint(A).mint(B).then(getattr(story.paper, end)(B)).then(story.paper.readmit(B, 2, LATER, NOW + 50))
    assert story.of(B) == HoldingState(NOW + 50, LATER, 2, 2, 0)


def test_a_move_takes_card_stamps_and_what_was_ever_claimed(story: Story) -> None:
    story.mint(A, 2).then(story.paper.stamp(0, A, 1)).then(story.paper.stamp(0, A, 2))
    story.then(story.paper.burn_stamp(0, A, 2)).then(story.paper.move(A, B, recovery=False))
    assert story.of(A) == HoldingState(flags=Flag.MOVED, stamps=[StampsWord(0, 0b11, True).to_int()])
    assert story.of(B) == HoldingState(NOW, 0, 2, 1, 0, [StampsWord(0b01, 0b11, False).to_int()])


def test_a_merge_ends_the_targets_own_card_and_drops_what_it_once_had(story: Story) -> None:
    story.mint(A, 3).mint(B).then(story.paper.stamp(0, A, 1)).then(story.paper.stamp(0, B, 1))
    story.then(story.paper.redeem(0, B, 1, 7)).then(story.paper.move(A, B, recovery=False))
    assert story.of(B) == HoldingState(NOW, 0, 3, 1, 0, [StampsWord(0, 1, False).to_int()])


def test_a_move_to_who_had_left_makes_a_member_again(story: Story) -> None:
    story.mint(A).mint(B).then(story.paper.burn(B)).then(story.paper.move(A, B, recovery=False))
    assert story.of(B) == HoldingState(NOW, 0, 1, 1, 0)


def test_stamps_alone_make_no_member_of_who_had_left(story: Story) -> None:
    story.mint(B).then(story.paper.burn(B)).then(story.paper.stamp(0, A, 5))
    story.then(story.paper.move(A, B, recovery=False))
    assert story.of(B).flags == Flag.LEFT
    assert story.of(B).stamps == [StampsWord(16, 16, False).to_int()]


def test_who_left_and_moves_the_stamps_loses_the_number(story: Story) -> None:
    story.mint(A).then(story.paper.stamp(0, A, 1)).then(story.paper.burn(A))
    story.then(story.paper.move(A, B, recovery=False))
    assert story.of(A) == HoldingState(flags=Flag.MOVED, stamps=[StampsWord(0, 1, True).to_int()])


def test_a_recovery_of_a_revoked_wallet_carries_number_and_revocation(story: Story) -> None:
    story.mint(A).then(story.paper.revoke(A)).then(story.paper.move(A, B, recovery=True))
    assert story.of(A) == HoldingState(flags=Flag.MOVED, stamps=[StampsWord(0, 0, True).to_int()])
    assert story.of(B) == HoldingState(serial=1, flags=Flag.REVOKED, stamps=[])
    story.then(story.paper.readmit(B, 1, 0, NOW + 1))
    assert story.of(B) == HoldingState(NOW + 1, 0, 1, 1, 0)


def test_a_card_that_was_moved_can_be_moved_on(story: Story) -> None:
    story.mint(A).then(story.paper.move(A, B, recovery=False)).then(story.paper.move(B, C, recovery=False))
    assert story.of(C).serial == 1 and story.of(B).flags == story.of(A).flags == Flag.MOVED


def test_a_voided_voucher_stays_voided_with_a_card(story: Story) -> None:
    story.then(story.paper.void(A)).mint(A)
    assert story.of(A) == HoldingState(NOW, 0, 1, 1, Flag.VOIDED)


@pytest.mark.parametrize("may_return", [True, False])
def test_a_revoked_stamp_is_forgotten_only_if_it_may_return(story: Story, may_return: bool) -> None:
    story.then(story.paper.stamp(0, A, 120)).then(story.paper.revoke_stamp(0, A, 120, may_return=may_return))
    assert story.of(A).to_holding(1).stamps == (StampsWord(0, 0 if may_return else 1 << 119, False),)


def test_a_season_that_came_later_is_not_marked_as_moved(story: Story) -> None:
    story.mint(A).then(story.paper.move(A, B, recovery=False)).then(story.paper.link())
    assert [word.moved for word in story.of(A).to_holding(2).stamps] == [True, False]


def test_a_holding_has_a_word_for_every_season() -> None:
    state = HoldingState(NOW, 0, 1, 7, Flag.VOIDED, [3])
    assert state.to_holding(2).stamps == (StampsWord(3, 0, False), StampsWord(0, 0, False))
    assert state.to_holding(0).stamps == ()
    assert state.to_holding(0).card == CardWord(NOW, 0, 1, 7, 0, 0, Flag.VOIDED)


def test_equal_holdings_are_equal_rows() -> None:
    assert HoldingState(stamps=[5, 0, 0]).to_row() == HoldingState(stamps=[5]).to_row()
    assert HoldingState(stamps=[0]).to_row() == HoldingState().to_row()


def test_rows_are_read_as_they_were_written() -> None:
    state = HoldingState(NOW, LATER, 255, 1 << 40, 15, [1, (1 << 241) - 1])
    assert HoldingState.from_row(*state.to_row()) == state


def test_a_move_changes_two_wallets_and_a_season_none() -> None:
    facts = [
        Fact(1, 0, bytes(32), 0, FactKind.MIGRATED, A, B + bytes(8)),
        Fact(1, 1, bytes(32), 0, FactKind.SEASON_LINKED, season_contract(0, 0), b"\0"),
        Fact(1, 2, bytes(32), 1, FactKind.STAMP_MINTED, C, b"\1"),
    ]
    assert [wallets_of(fact) for fact in facts] == [(A, B), (), (C,)]
    assert all_wallets(facts) == {A, B, C}


@settings(max_examples=100, deadline=None)
@given(st.randoms(use_true_random=False), st.integers(1, 150))
def test_random_histories_fold_to_the_words_of_the_contracts(random: Random, acts: int) -> None:
    paper, fold = Paper(), Fold(0)
    for number in range(acts):
        folded(act(paper, random, NOW + number), fold)
        assert words(fold) == paper.words()
