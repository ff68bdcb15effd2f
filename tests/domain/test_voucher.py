import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.program_file import read_program, template
from nftloyalty.domain.voucher import (
    AS_MADE,
    CardVoucher,
    SignedVoucher,
    StampVoucher,
    Voucher,
    VoucherState,
    from_json,
    last_second,
    read_asked,
    signed_from_json,
    signed_to_json,
    state_of,
    to_json,
)
from nftloyalty.domain.words import SkipCode
from nftloyalty.errors import BadInput
from tests.domain.build import wallet

WALLETS = st.integers(0, 100).map(wallet)
EPOCHS = st.integers(0, (1 << 24) - 1)
DEADLINES = st.integers(1, (1 << 40) - 1)
VOUCHERS: st.SearchStrategy[Voucher] = st.one_of(
    st.builds(
        CardVoucher,
        to=WALLETS,
        tier=st.integers(1, 255),
        expires_at=st.integers(0, (1 << 40) - 1),
        epoch=EPOCHS,
        deadline=DEADLINES,
    ),
    st.builds(StampVoucher, to=WALLETS, stamp_type=st.integers(1, 120), epoch=EPOCHS, deadline=DEADLINES),
)
SIGNED = st.builds(
    SignedVoucher,
    voucher=VOUCHERS,
    chain_id=st.integers(1, 1 << 62),
    contract=WALLETS,
    signer=WALLETS,
    signature=st.binary(min_size=65, max_size=200),
)

CARD = {"kind": "card", "to": wallet(), "tier": 1, "expires_at": 0, "epoch": 0, "deadline": 1}
STAMP = {"kind": "stamp", "to": wallet(), "stamp_type": 3, "epoch": 0, "deadline": 1}
SIGNATURE = "0x" + 65 * "ab"
OUTER = {"voucher": CARD, "chain_id": 1, "contract": wallet(1), "signer": wallet(2), "signature": SIGNATURE}


def problems(data: object, signed: bool = False) -> list[str]:
    with pytest.raises(BadInput) as caught:
        if signed:
            signed_from_json(data)
        else:
            from_json(data)
    # Most faults have the same mend, which is left out here.
    return [str(problem).removesuffix(f" ({AS_MADE})") for problem in caught.value.problems]


@given(VOUCHERS)
def test_vouchers_survive_json(voucher: Voucher) -> None:
    assert from_json(json.loads(json.dumps(to_json(voucher)))) == voucher


@given(SIGNED)
def test_signed_vouchers_survive_json(signed: SignedVoucher) -> None:
    assert signed_from_json(json.loads(json.dumps(signed_to_json(signed)))) == signed


def test_addresses_are_read_in_lower_case_too() -> None:
    assert from_json(CARD | {"to": wallet().lower()}).to == wallet()


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (None, ["voucher: must be a JSON object"]),
        ([CARD], ["voucher: must be a JSON object"]),
        ("card", ["voucher: must be a JSON object"]),
        ({}, ["kind: is missing"]),
        (CARD | {"kind": "coupon"}, ['kind: must be "card" or "stamp"']),
        (CARD | {"tear": 1}, ["tear: is not known (did you mean tier?)"]),
        (CARD | {"stamp_type": 1}, ["stamp_type: is not known"]),
        (CARD | {"tier": 0}, ["tier: must be a whole number from 1 to 255"]),
        (CARD | {"tier": 256}, ["tier: must be a whole number from 1 to 255"]),
        (CARD | {"tier": True}, ["tier: must be a whole number from 1 to 255"]),
        (CARD | {"tier": "1"}, ["tier: must be a whole number from 1 to 255"]),
        (CARD | {"tier": None}, ["tier: must be a whole number from 1 to 255"]),
        (CARD | {"tier": 1.0}, ["tier: must be a whole number from 1 to 255"]),
        (CARD | {"expires_at": -1}, ["expires_at: must be a whole number from 0 to 1099511627775"]),
        (CARD | {"epoch": 1 << 24}, ["epoch: must be a whole number from 0 to 16777215"]),
        (CARD | {"deadline": 0}, ["deadline: must be a whole number from 1 to 1099511627775"]),
        (CARD | {"to": 5}, ["to: must be text"]),
        (CARD | {"to": "0x12"}, ["to: not an address"]),
        (CARD | {"to": "0x" + 40 * "0"}, ["to: the zero address"]),
        (STAMP | {"stamp_type": 121}, ["stamp_type: must be a whole number from 1 to 120"]),
        ({"kind": "stamp", "to": wallet()}, ["stamp_type: is missing", "epoch: is missing", "deadline: is missing"]),
        (
            {"kind": "card", "to": "me", "tier": 0, "expires_at": 0, "epoch": 0, "deadline": 1, "note": ""},
            ["note: is not known", "to: not an address", "tier: must be a whole number from 1 to 255"],
        ),
    ],
)
def test_every_fault_of_a_voucher_is_named(data: object, found: list[str]) -> None:
    assert problems(data) == found


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (None, ["voucher: must be a JSON object"]),
        (OUTER | {"voucher": 1}, ["voucher: must be a JSON object"]),
        (OUTER | {"voucher": CARD | {"tier": 0}}, ["voucher.tier: must be a whole number from 1 to 255"]),
        (OUTER | {"voucher": {}}, ["voucher.kind: is missing"]),
        (OUTER | {"chain_id": 0}, [f"chain_id: must be a whole number from 1 to {(1 << 63) - 1}"]),
        (OUTER | {"signer": None}, ["signer: must be text"]),
        (OUTER | {"contract": "0x"}, ["contract: not an address"]),
        (OUTER | {"signature": 1}, ["signature: must be text of 0x and hex digits"]),
        (OUTER | {"signature": "0xabc"}, ["signature: must be text of 0x and hex digits"]),
        (OUTER | {"signature": "ab" * 65}, ["signature: must be text of 0x and hex digits"]),
        (OUTER | {"signature": "0xab"}, ["signature: is 1 bytes long (from 65 to 2,048)"]),
        (OUTER | {"signature": "0x" + "ab" * 2049}, ["signature: is 2049 bytes long (from 65 to 2,048)"]),
        ({"voucher": CARD}, [f"{key}: is missing" for key in ("chain_id", "contract", "signer", "signature")]),
    ],
)
def test_every_fault_of_a_signed_voucher_is_named(data: object, found: list[str]) -> None:
    assert problems(data, signed=True) == found


def test_a_fault_without_a_mend_of_its_own_is_mended_by_the_voucher_as_it_was_made() -> None:
    with pytest.raises(BadInput) as caught:
        from_json(CARD | {"tier": 0, "tear": 1})
    assert [problem.mend for problem in caught.value.problems] == ["did you mean tier?", AS_MADE]


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text() | st.floats(allow_nan=False),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(sorted(OUTER) + sorted(CARD)) | st.text(), inner),
)


@given(JSON)
def test_any_json_is_read_or_refused_with_a_problem(data: object) -> None:
    assert problems(data)
    assert problems(data, signed=True)


# --------------------------------------------------------------------------------------------------- what is asked for

NOW = datetime(2030, 3, 1, 12, tzinfo=UTC)
PROGRAM = read_program(template("Morning Bean"), "program.toml")
OURS = {wallet(9): "the program's own contract for cards"}


def wrong(to: str = wallet(1), **asked: str) -> list[tuple[str, str]]:
    with pytest.raises(BadInput) as caught:
        read_asked(to, PROGRAM, NOW, OURS, **asked)
    return [(problem.place, problem.what) for problem in caught.value.problems]


def test_a_card_is_asked_for_by_a_tier_and_days() -> None:
    asked = read_asked(wallet(1), PROGRAM, NOW, OURS, tier="gold", expiry="2031-12-31", until="2030-04-30")
    assert (asked.to, asked.tier, asked.stamp_type) == (wallet(1), 2, 0)
    assert datetime.fromtimestamp(asked.expires_at, UTC) == datetime(2032, 1, 1, tzinfo=UTC)
    assert asked.deadline == datetime(2030, 4, 30, 23, 59, 59, tzinfo=UTC)


def test_a_stamp_is_asked_for_by_its_id_and_for_thirty_days() -> None:
    asked = read_asked(wallet(1), PROGRAM, NOW, OURS, stamp="welcome")
    assert (asked.tier, asked.expires_at, asked.stamp_type) == (0, 0, 1)
    assert asked.deadline == last_second(NOW + timedelta(days=30)) == NOW + timedelta(days=30, seconds=-1)


def test_everything_wrong_is_told_at_once() -> None:
    assert wrong(wallet(9), tier="goald", expiry="never mind", until="tomorrow") == [
        ("/until", "'tomorrow' is not a date or time"),
        ("/wallet", "is the program's own contract for cards, not a wallet"),
        ("/tier", "unknown tier 'goald'"),
        ("/expiry", "'never mind' is not a date or time"),
    ]
    assert wrong(wallet(9), stamp="welcom", expiry="2031-12-31") == [
        ("/wallet", "is the program's own contract for cards, not a wallet"),
        ("/expiry", "is a card's, and a stamp has none"),
        ("/stamp", "unknown stamp 'welcom'"),
    ]
    assert wrong(expiry="2001-01-01") == [("", "needs one of tier and stamp"), ("/expiry", "'2001-01-01' is past")]
    assert wrong(tier="gold", stamp="welcome") == [("", "needs one of tier and stamp")]


@pytest.mark.parametrize("until", ["2030-03-01T12:00:01Z", "2030-03-01T12:00Z", "2030-02-28"])
def test_it_can_be_claimed_for_more_than_a_moment(until: str) -> None:
    """The deadline is the second before, and must be yet to come."""
    assert wrong(tier="gold", until=until) == [("/until", f"{until!r} is past")]
    assert read_asked(wallet(1), PROGRAM, NOW, OURS, tier="gold", until="2030-03-01T12:00:02Z").deadline > NOW


# ---------------------------------------------------------------------------------------------------- how it stands


@pytest.mark.parametrize(
    ("claim", "late", "called_back", "refused", "state"),
    [
        (None, False, False, None, VoucherState.OPEN),
        (None, False, False, SkipCode.ALREADY_HELD, VoucherState.REFUSED),
        (None, False, True, SkipCode.ALREADY_HELD, VoucherState.CALLED_BACK),
        (None, True, True, SkipCode.ALREADY_HELD, VoucherState.EXPIRED),
        (IntentState.RECEIVED, True, True, None, VoucherState.CLAIMING),
        (IntentState.BATCHED, False, False, None, VoucherState.CLAIMING),
        (IntentState.INCLUDED, False, False, SkipCode.ALREADY_HELD, VoucherState.CLAIMING),
        (IntentState.FINAL, True, True, SkipCode.ALREADY_HELD, VoucherState.CLAIMED),
        (IntentState.REJECTED, False, False, None, VoucherState.OPEN),
        (IntentState.REJECTED, False, False, SkipCode.LEFT, VoucherState.REFUSED),
        (IntentState.CANCELLED, True, False, None, VoucherState.EXPIRED),
    ],
)
def test_what_is_furthest_along_is_told(
    claim: IntentState | None, late: bool, called_back: bool, refused: SkipCode | None, state: VoucherState
) -> None:
    deadline = int(NOW.timestamp()) - late
    assert state_of(deadline, NOW, claim=claim, called_back=called_back, refused=refused) is state
