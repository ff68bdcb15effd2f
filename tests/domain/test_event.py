"""What facts mean to a member: one happening for each act, whatever it is told by."""

import json
import re
from hashlib import sha256
from pathlib import Path
from random import Random
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.address import checksummed
from nftloyalty.domain.event import (
    EventType,
    Happening,
    event_id,
    happenings,
    intent_data,
    intent_object,
    membership_object,
    stamp_object,
)
from nftloyalty.domain.holding import Fact
from nftloyalty.domain.holding import FactKind as K
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.words import SkipCode
from tests.domain.folded import folded, on_paper
from tests.domain.paper import Paper, Told, act, wallet

A, B, C = (wallet(number) for number in (1, 2, 3))
A_TEXT, B_TEXT = checksummed(A.hex()), checksummed(B.hex())
NOW, LATER = 1_700_000_000, 1_800_000_000
NOW_TEXT, LATER_TEXT = "2023-11-14T22:13:20Z", "2027-01-15T08:00:00Z"

ROOT = Path(__file__).parents[2]

Acts = list[list[Told]]


def facts_of(acts: Acts, *, together: bool = False) -> list[Fact]:
    """Each act in a transaction of its own, or all in one."""
    found: list[Fact] = []
    for number, told in enumerate(acts, start=1):
        tx_hash = bytes([0 if together else number]) * 32
        for contract, kind, who, data in told:
            found.append(Fact(1, len(found), tx_hash, contract, int(kind), who, data))
    return found


def types(told: list[Happening]) -> list[str]:
    return [each.type.value for each in told]


def said(each: Happening) -> dict[str, Any]:
    """What is special about its kind."""
    return {
        name: value
        for name, value in each.data.items()
        if name not in ("wallet", "block", "transaction", "log_index", "follows")
    }


@pytest.fixture
def paper() -> Paper:
    paper = Paper()
    paper.link()
    return paper


def test_a_card_is_one_happening_with_tier_times_and_member_number(paper: Paper) -> None:
    (only,) = happenings(facts_of([paper.mint(A, 2, LATER, NOW)]))
    assert (only.type, only.object, only.wallet) == ("membership.created", f"membership:{A_TEXT}", A)
    assert (only.block, only.log_index, only.place) == (1, 0, f"0x{'01' * 32}:1:0")
    assert only.data == {
        "wallet": A_TEXT,
        "card": {"tier_number": 2, "member_number": 1, "joined_at": NOW_TEXT, "expires_at": LATER_TEXT},
        "block": 1,
        "transaction": "0x" + "01" * 32,
        "log_index": 0,
        "follows": None,
    }


def test_a_card_for_life_has_no_end(paper: Paper) -> None:
    (only,) = happenings(facts_of([paper.mint(A, 2, 0, NOW)]))
    assert only.data["card"]["expires_at"] is None


def test_many_cards_of_one_transaction_are_as_many_happenings(paper: Paper) -> None:
    told = happenings(facts_of([paper.mint(each, 1, 0, NOW) for each in (A, B, C)], together=True))
    assert [(each.wallet, each.data["card"]["member_number"]) for each in told] == [(A, 1), (B, 2), (C, 3)]


def test_what_happens_to_a_card_is_told_with_what_changed(paper: Paper) -> None:
    paper.mint(A, 1, NOW + 9, NOW)
    acts = [paper.renew(A, LATER), paper.set_tier(A, 3), paper.revoke(A), paper.readmit(A, 2, 0, LATER), paper.burn(A)]
    told = happenings(facts_of(acts))
    assert [(each.type.value, said(each)) for each in told] == [
        ("membership.renewed", {"joined_at": NOW_TEXT, "expires_at": LATER_TEXT}),
        ("membership.tier_changed", {"tier_number": 3, "member_number": 1}),
        ("membership.revoked", {}),
        (
            "membership.readmitted",
            {"card": {"tier_number": 2, "member_number": 1, "joined_at": LATER_TEXT, "expires_at": None}},
        ),
        ("membership.left", {}),
    ]


def test_who_has_left_can_be_revoked_all_the_same(paper: Paper) -> None:
    paper.mint(A, 1, 0, NOW)
    paper.burn(A)
    assert types(happenings(facts_of([paper.revoke(A)]))) == ["membership.revoked"]


def test_a_move_is_told_of_both_wallets_and_of_each_stamp(paper: Paper) -> None:
    paper.mint(A, 2, 0, NOW)
    for stamp_type in (1, 3):
        paper.stamp(0, A, stamp_type)
    paper.stamp(0, B, 3)
    told = happenings(facts_of([paper.move(A, B, recovery=False)]))
    assert [(each.type.value, each.object) for each in told] == [
        ("membership.moved", membership_object(A_TEXT)),
        ("membership.moved", membership_object(B_TEXT)),
        ("stamp.moved", stamp_object(A_TEXT, 0, 1)),
        ("stamp.moved", stamp_object(B_TEXT, 0, 1)),
        # B has had one.
        ("stamp.burned", stamp_object(A_TEXT, 0, 3)),
    ]
    card = {"tier_number": 2, "member_number": 1, "joined_at": NOW_TEXT, "expires_at": None}
    assert said(told[0]) == said(told[1]) == {"card": card, "replaced": False, "from": A_TEXT, "to": B_TEXT}
    assert said(told[2]) == said(told[3]) == {"season": 0, "type": 1, "from": A_TEXT, "to": B_TEXT}


def test_a_move_to_a_member_replaces_its_card(paper: Paper) -> None:
    paper.mint(A, 2, 0, NOW)
    paper.mint(B, 1, 0, NOW)
    told = happenings(facts_of([paper.move(A, B, recovery=False)]))
    assert types(told) == ["membership.moved"] * 2
    assert [(each.data["replaced"], each.data["card"]["member_number"]) for each in told] == [(True, 1)] * 2


def test_stamps_move_without_a_card(paper: Paper) -> None:
    paper.stamp(0, A, 5)
    told = happenings(facts_of([paper.move(A, B, recovery=False)]))
    assert types(told) == ["membership.moved"] * 2 + ["stamp.moved"] * 2
    assert told[1].data["card"] is None


def test_what_happens_to_a_stamp_is_told_with_its_reason(paper: Paper) -> None:
    given = [paper.stamp(0, A, stamp_type) for stamp_type in (1, 2, 120)]
    ends = [
        paper.redeem(0, A, 1, 77),
        paper.revoke_stamp(0, A, 2, may_return=True),
        paper.burn_stamp(0, A, 120),
    ]
    told = happenings(facts_of([*given, *ends]))
    assert [(each.type.value, each.object, said(each)) for each in told[2:]] == [
        ("stamp.created", f"stamp:{A_TEXT}:0:120", {"season": 0, "type": 120}),
        (
            "stamp.redeemed",
            f"stamp:{A_TEXT}:0:1",
            {"season": 0, "type": 1, "order_reference": f"0x{77:064x}"},
        ),
        ("stamp.revoked", f"stamp:{A_TEXT}:0:2", {"season": 0, "type": 2, "may_return": True}),
        ("stamp.burned", f"stamp:{A_TEXT}:0:120", {"season": 0, "type": 120}),
    ]


def test_seasons_have_stamps_of_their_own(paper: Paper) -> None:
    told = happenings(facts_of([paper.link(), paper.stamp(1, A, 1)]))
    assert [each.object for each in told] == [f"stamp:{A_TEXT}:1:1"]


def test_vouchers_and_seasons_tell_nothing(paper: Paper) -> None:
    assert happenings(facts_of([paper.void(A), paper.link()])) == []


def test_facts_of_two_transactions_are_not_joined(paper: Paper) -> None:
    paper.mint(A, 1, 0, NOW)
    burned, revoked = ([each] for each in paper.revoke(A))
    assert types(happenings(facts_of([burned, revoked]))) == ["membership.left", "membership.revoked"]
    assert types(happenings(facts_of([burned, revoked], together=True))) == ["membership.revoked"]


def test_logs_that_are_missing_fail_nothing() -> None:
    for kind in K:
        lonely = Fact(1, 0, bytes(32), 1, int(kind), A, bytes([1]) * 40)
        assert len(happenings([lonely])) <= 2
    (only,) = happenings([Fact(1, 0, bytes(32), 0, int(K.CARD_MINTED), A, b"")])
    assert set(only.data["card"].values()) == {None}


@given(st.integers(), st.booleans())
def test_who_hears_all_events_knows_what_the_contracts_hold(seed: int, together: bool) -> None:
    paper, random = Paper(), Random(seed)  # noqa: S311 a history, no secret
    acts = [act(paper, random, NOW + number) for number in range(60)]
    told = happenings(facts_of(acts, together=together))
    assert folded((each.type, each.object, each.data) for each in told) == on_paper(paper)
    # Each object once for each log: so the place and the object name an event.
    assert len({(each.place, each.object) for each in told}) == len(told)


def test_every_type_comes_about() -> None:
    found: set[str] = set()
    for seed in range(20):
        paper, random = Paper(), Random(seed)  # noqa: S311 a history, no secret
        told = happenings(facts_of([act(paper, random, NOW + number) for number in range(60)]))
        found |= {each.type for each in told}
    assert found == {each for each in EventType if not each.startswith("intent.")}


def test_the_document_lists_every_type_and_shows_what_is_told(paper: Paper) -> None:
    text = (ROOT / "docs" / "events.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([a-z]+\.[a-z_]+)` \|", text, re.MULTILINE) == [each.value for each in EventType]
    shown = {each["type"]: each for each in map(json.loads, re.findall(r"^```json\n(.*?)^```", text, re.M | re.S))}
    minted, stamped = paper.mint(A, 2, LATER, NOW), paper.stamp(0, A, 3)
    told = happenings(facts_of([minted, stamped, paper.redeem(0, A, 3, 77), paper.move(A, B, recovery=False)]))
    true = {each.type.value: each.data for each in told}
    true["intent.rejected"] = intent_data("int_1", Kind.MINT_CARD, 0, A_TEXT, None, 1, None)
    for type_, example in shown.items():
        assert example["data"].keys() == true[type_].keys(), type_
        assert (example["data"].get("card") or {}).keys() == (true[type_].get("card") or {}).keys()
    for code in SkipCode:
        assert f"`{code.name.lower()}`" in text


def test_an_id_follows_from_its_parts() -> None:
    assert event_id("a", "b") == event_id("a", "b") != event_id("a", "c")
    assert event_id("a", "b") == "evt_" + "".join(
        "0123456789abcdefghjkmnpqrstvwxyz"[int(bits, 2)] for bits in _fives("a\nb")
    )


def _fives(text: str) -> list[str]:
    bits = f"{int(sha256(text.encode()).hexdigest(), 16):0256b}"
    return [bits[place : place + 5] for place in range(0, 130, 5)]


@pytest.mark.parametrize(
    ("code", "error", "reason"),
    [
        (1, None, {"code": "already_held", "sentence": "the wallet already holds it"}),
        (None, "no such stamp", {"code": "refused", "sentence": "no such stamp"}),
        (None, None, None),
    ],
)
def test_an_intent_that_comes_to_nothing_says_why(code: int | None, error: str | None, reason: object) -> None:
    assert intent_object("int_1") == "intent:int_1"
    assert intent_data("int_1", Kind.MINT_STAMP, 3, A_TEXT, None, code, error) == {
        "intent": "int_1",
        "kind": "mint-stamp",
        "stamp_type": 3,
        "wallet": A_TEXT,
        "transaction": None,
        "reason": reason,
    }
