import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.voucher import (
    AS_MADE,
    CardVoucher,
    SignedVoucher,
    StampVoucher,
    Voucher,
    from_json,
    signed_from_json,
    signed_to_json,
    to_json,
)
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
