"""Requests for cards and stamps: what is read, and how everything wrong is named."""

from collections.abc import Callable
from typing import Any

import pytest

from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.mint import (
    MOST_ITEMS,
    MOST_PROBLEMS,
    REPLY_NUMBERS,
    Mint,
    Reply,
    judge,
    read_batch,
    read_card,
    read_stamp,
)
from nftloyalty.domain.times import parse_end
from nftloyalty.errors import BadInput
from tests.domain.build import NOW, program, wallet

STAMPS = """
[[stamps]]
id = "latte"
number = 4
name = "Latte"
[[stamps]]
id = "old"
number = 5
name = "Old"
opens = 2020-01-01
closes = 2020-02-01
"""
PROGRAM = program(STAMPS)
OURS = {wallet(99): "the program's own contract for cards"}


def problems(read: Callable[..., object], body: object) -> list[tuple[str, str]]:
    with pytest.raises(BadInput) as refused:
        read(body, PROGRAM, NOW, OURS)
    return [(problem.place, problem.what) for problem in refused.value.problems]


def card(**changes: Any) -> dict[str, Any]:
    return {"wallet": wallet(1), "tier": "gold", "expiry": "2030-12-31"} | changes


@pytest.mark.parametrize(
    ("expiry", "expires_at"),
    [
        ("2030-12-31", parse_end("2030-12-31")),
        ("2030-12-31T18:00:00+07:00", parse_end("2030-12-31T11:00:00Z")),
        (None, 0),
        ("never", 0),
    ],
)
def test_a_card_has_a_tier_and_an_expiry_or_is_for_life(expiry: str | None, expires_at: int) -> None:
    asked = Mint(Kind.MINT_CARD, 0, wallet(1), {"tier": 3, "expires_at": expires_at})
    assert read_card(card(expiry=expiry), PROGRAM, NOW) == asked
    assert read_card(card(expiry=expiry, wallet=wallet(1).lower()), PROGRAM, NOW) == asked


def test_an_expiry_that_is_left_out_is_for_life() -> None:
    assert read_card({"wallet": wallet(1), "tier": "member"}, PROGRAM, NOW).args == {"tier": 1, "expires_at": 0}


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        (card(wallet=None), [("/wallet", "is missing")]),
        (card(wallet=7), [("/wallet", "is not text")]),
        (card(wallet="0x12"), [("/wallet", "not an address")]),
        (card(wallet="0x" + "0" * 40), [("/wallet", "the zero address")]),
        (card(wallet=wallet(99)), [("/wallet", "is the program's own contract for cards, not a wallet")]),
        (card(tier="golt"), [("/tier", "unknown tier 'golt'")]),
        (card(tier=["gold"]), [("/tier", "unknown tier ['gold']")]),
        (card(tier=None), [("/tier", "is missing")]),
        (card(expiry=""), [("/expiry", "is not a day")]),
        (card(expiry=0), [("/expiry", "is not a day")]),
        (card(expiry="2020-01-01"), [("/expiry", "'2020-01-01' is past")]),
        (card(expiry="2030-02-31"), [("/expiry", "'2030-02-31' is no day or time of the calendar")]),
        (card(**{"ti/er": 1}), [("/ti~1er", "unknown field")]),
        ([], [("", "is not an object")]),
        (
            {"wallet": "0x", "tier": "x", "expiry": "y"},
            [
                ("/wallet", "not an address"),
                ("/tier", "unknown tier 'x'"),
                ("/expiry", "'y' is not a date or time"),
            ],
        ),
    ],
)
def test_everything_wrong_with_a_card_is_named(body: object, expected: list[tuple[str, str]]) -> None:
    assert problems(read_card, body) == expected


def test_a_near_miss_is_told() -> None:
    with pytest.raises(BadInput) as refused:
        read_card(card(tier="golt", walet=1), PROGRAM, NOW)
    assert [problem.mend for problem in refused.value.problems] == [
        "did you mean wallet?",
        "did you mean gold? the tiers are member, silver, gold",
    ]


def test_a_stamp_is_named_by_its_id() -> None:
    assert read_stamp({"wallet": wallet(1), "stamp": "latte"}, PROGRAM, NOW) == Mint(Kind.MINT_STAMP, 4, wallet(1), {})


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"wallet": wallet(1)}, [("/stamp", "is missing")]),
        ({"wallet": wallet(1), "stamp": 4}, [("/stamp", "is not text")]),
        ({"wallet": wallet(1), "stamp": "mocha"}, [("/stamp", "unknown stamp 'mocha'")]),
        ({"wallet": wallet(1), "stamp": "old"}, [("/stamp", "is closed: it was open through 2020-02-01 (UTC)")]),
        ({"stamp": "mocha"}, [("/stamp", "unknown stamp 'mocha'"), ("/wallet", "is missing")]),
        ("latte", [("", "is not an object")]),
    ],
)
def test_everything_wrong_with_a_stamp_is_named(body: object, expected: list[tuple[str, str]]) -> None:
    assert problems(read_stamp, body) == expected


def items(count: int) -> list[dict[str, Any]]:
    return [card(wallet=wallet(number)) for number in range(count)]


def test_a_batch_is_of_cards_or_of_stamps_of_one_type() -> None:
    cards = read_batch({"kind": "mint-card", "items": items(3)}, PROGRAM, NOW)
    assert [mint.wallet for mint in cards] == [wallet(number) for number in range(3)]
    assert {(mint.kind, mint.stamp_type, mint.args["tier"]) for mint in cards} == {(Kind.MINT_CARD, 0, 3)}
    stamps = {"kind": "mint-stamp", "stamp": "latte", "items": [{"wallet": wallet(1)}]}
    assert read_batch(stamps, PROGRAM, NOW) == [Mint(Kind.MINT_STAMP, 4, wallet(1), {})]


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"kind": "mint-card", "items": []}, [("/items", "is not a list of items")]),
        ({"kind": "mint-card", "items": {}}, [("/items", "is not a list of items")]),
        ({"kind": "call", "items": items(1)}, [("/kind", "is not mint-card or mint-stamp")]),
        ({"kind": ["mint-card"], "items": items(1)}, [("/kind", "is not mint-card or mint-stamp")]),
        (
            {"kind": "mint-card", "stamp": "latte", "items": items(1)},
            [("/stamp", "says which stamp, and the batch is of cards")],
        ),
        ({"kind": "mint-stamp", "items": [{"wallet": wallet(1)}]}, [("/stamp", "is missing")]),
        (
            {"kind": "mint-card", "items": [{}] * (MOST_ITEMS + 1)},
            [("/items", "10,001 items; a batch has at most 10,000")],
        ),
        (
            {"kind": "mint-card", "items": [*items(2), card(wallet=wallet(1).lower()), 5, card(tier="x")]},
            [
                ("/items/2/wallet", "same wallet as /items/1"),
                ("/items/3", "is not an object"),
                ("/items/4/wallet", "same wallet as /items/1"),
                ("/items/4/tier", "unknown tier 'x'"),
            ],
        ),
        (
            {"kind": "mint-stamp", "stamp": "latte", "items": [{"wallet": wallet(1), "tier": "gold"}]},
            [("/items/0/tier", "unknown field")],
        ),
    ],
)
def test_everything_wrong_with_a_batch_is_named(body: object, expected: list[tuple[str, str]]) -> None:
    assert problems(read_batch, body) == expected


def test_of_many_bad_items_a_hundred_are_named_and_the_others_counted() -> None:
    found = problems(read_batch, {"kind": "mint-card", "items": [{"wallet": "x", "tier": "gold"}] * 150})
    assert [place for place, _ in found[:-1]] == [f"/items/{place}/wallet" for place in range(MOST_PROBLEMS)]
    assert found[-1] == ("/items", "50 more problems")


@pytest.mark.parametrize(
    ("before", "same", "other"),
    [
        (None, Reply.ACCEPTED, Reply.ACCEPTED),
        *((state, Reply.AGAIN, Reply.AGAIN) for state in (IntentState.REJECTED, IntentState.CANCELLED)),
        *(
            (state, Reply.KNOWN, Reply.ASKED_OTHERWISE)
            for state in (IntentState.RECEIVED, IntentState.BATCHED, IntentState.INCLUDED, IntentState.FINAL)
        ),
    ],
)
def test_what_was_asked_before_decides(before: IntentState | None, same: Reply, other: Reply) -> None:
    assert judge({"tier": 1}, before, {"tier": 1}) is same
    assert judge({"tier": 1}, before, {"tier": 2}) is other


def test_every_reply_has_a_number_of_its_own() -> None:
    assert REPLY_NUMBERS == {
        Reply.ACCEPTED: 1,
        Reply.AGAIN: 2,
        Reply.KNOWN: 3,
        Reply.ASKED_OTHERWISE: 4,
    }
