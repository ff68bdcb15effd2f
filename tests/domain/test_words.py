from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.words import (
    STAMP_TYPES,
    CardWord,
    Flag,
    Role,
    SkipCode,
    StampsWord,
    card_item,
    card_token_id,
    renewal_item,
    split_token_id,
    stamp_token_id,
    tier_item,
    types_mask,
)
from tests.domain.build import card, no_card, wallet

U40 = st.integers(0, (1 << 40) - 1)
U160 = st.integers(1, (1 << 160) - 1)
STAMP_TYPE = st.integers(1, STAMP_TYPES)
TYPE_SETS = st.integers(0, (1 << STAMP_TYPES) - 1)

CARDS = st.builds(
    CardWord,
    joined_at=U40,
    expires_at=U40,
    tier=st.integers(0, 255),
    serial=st.integers(0, (1 << 64) - 1),
    moved_at=U40,
    nonce=st.integers(0, (1 << 24) - 1),
    flags=st.integers(0, 15).map(Flag),
)
STAMPS = st.builds(StampsWord, held=TYPE_SETS, claimed=TYPE_SETS, moved=st.booleans())


@given(CARDS)
def test_card_word_survives_packing(word: CardWord) -> None:
    assert CardWord.from_int(word.to_int()) == word


@given(st.integers(0, (1 << 224) - 1))
def test_every_card_word_survives_unpacking(word: int) -> None:
    assert CardWord.from_int(word).to_int() == word


@given(STAMPS)
def test_stamps_word_survives_packing(word: StampsWord) -> None:
    assert StampsWord.from_int(word.to_int()) == word


def test_card_word_lies_as_the_contract_says() -> None:
    word = 1 | 2 << 40 | 3 << 80 | 4 << 88 | 5 << 152 | 6 << 192 | 2 << 216
    assert CardWord.from_int(word) == CardWord(1, 2, 3, 4, 5, 6, Flag.REVOKED)


def test_stamps_word_lies_as_the_contract_says() -> None:
    word = StampsWord.from_int(0b101 | 0b111 << 120 | 1 << 240)
    assert word == StampsWord(0b101, 0b111, True)
    assert word.types_held() == (1, 3)


@pytest.mark.parametrize("word", [1 << 224, 1 << 255])
def test_bits_above_a_card_word_are_refused(word: int) -> None:
    with pytest.raises(ValueError, match="bits above"):
        CardWord.from_int(word)


def test_bits_above_a_stamps_word_are_refused() -> None:
    with pytest.raises(ValueError, match="bits above"):
        StampsWord.from_int(1 << 248)


def test_a_card_is_active_until_the_second_it_expires() -> None:
    assert card(expires_at=100).active_at(99)
    assert not card(expires_at=100).active_at(100)
    assert card(expires_at=0).active_at(1 << 40)
    assert not no_card().active_at(0)


@pytest.mark.parametrize(
    ("word", "code"),
    [
        (no_card(), None),
        (no_card(Flag.VOIDED), None),
        (card(), SkipCode.ALREADY_HELD),
        (card(expires_at=1), SkipCode.ALREADY_HELD),
        (no_card(Flag.LEFT), SkipCode.LEFT),
        (no_card(Flag.REVOKED), SkipCode.REVOKED),
        (no_card(Flag.MOVED), SkipCode.MOVED),
        (no_card(Flag.LEFT | Flag.REVOKED), SkipCode.REVOKED),
    ],
)
def test_who_can_get_a_card(word: CardWord, code: SkipCode | None) -> None:
    assert word.mintable_code() is code


@pytest.mark.parametrize(
    ("word", "code"),
    [
        (StampsWord(0, 0, False), None),
        (StampsWord(0b10, 0b10, False), None),
        (StampsWord(0b1, 0b1, False), SkipCode.ALREADY_HELD),
        (StampsWord(0, 0b1, False), SkipCode.EVER_CLAIMED),
        (StampsWord(0, 0, True), SkipCode.MOVED),
    ],
)
def test_who_can_get_a_stamp_of_type_1(word: StampsWord, code: SkipCode | None) -> None:
    assert word.mintable_code(1) is code


@given(U160, st.integers(0, 255), U40)
def test_card_item_lies_as_the_contract_says(number: int, tier: int, expires_at: int) -> None:
    assert card_item(f"0x{number:040x}", tier, expires_at) == number | tier << 160 | expires_at << 168
    assert tier_item(f"0x{number:040x}", tier) == number | tier << 160


@given(U160, U40, U40)
def test_renewal_item_lies_as_the_contract_says(number: int, new: int, expected: int) -> None:
    assert renewal_item(f"0x{number:040x}", new, expected) == number | new << 160 | expected << 200


@given(st.integers(0, 1000), STAMP_TYPE)
def test_token_ids_name_type_and_holder(number: int, stamp_type: int) -> None:
    assert split_token_id(stamp_token_id(wallet(number), stamp_type)) == (stamp_type, wallet(number))
    assert split_token_id(card_token_id(wallet(number))) == (0, wallet(number))


@given(st.sets(STAMP_TYPE))
def test_a_mask_holds_exactly_its_types(types: set[int]) -> None:
    mask = types_mask(tuple(types))
    assert StampsWord(mask, mask, False).types_held() == tuple(sorted(types))


@pytest.mark.parametrize(
    ("make", "values"),
    [
        (card_item, (256, 0)),
        (card_item, (-1, 0)),
        (card_item, (1, 1 << 40)),
        (renewal_item, (1 << 40, 0)),
        (renewal_item, (0, -1)),
        (tier_item, (256,)),
    ],
)
def test_a_value_too_large_for_its_field_is_refused(make: Any, values: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        make(wallet(), *values)


@pytest.mark.parametrize("stamp_type", [0, 121, -1])
def test_stamp_types_end_at_120(stamp_type: int) -> None:
    with pytest.raises(ValueError, match="numbered 1 to 120"):
        stamp_token_id(wallet(), stamp_type)
    with pytest.raises(ValueError, match="numbered 1 to 120"):
        StampsWord(0, 0, False).holds(stamp_type)


def test_every_skip_code_has_its_own_sentence() -> None:
    sentences = {code.sentence for code in SkipCode}
    assert len(sentences) == len(SkipCode) == 10


def test_roles_are_single_bits() -> None:
    assert [role.value for role in Role] == [1, 2, 4, 8]
