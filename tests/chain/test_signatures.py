"""EIP-712 digests: equal to eth_account's and to the contracts' own."""

import contextlib
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_keys.constants import SECPK1_N
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.chain import signatures
from nftloyalty.domain.address import Address, number_address
from nftloyalty.domain.voucher import CardVoucher, StampVoucher
from tests.chain.opened import Opened, key
from tests.domain.build import wallet

addresses = st.integers(1, 2**160 - 1).map(number_address)
chain_ids = st.integers(1, 2**63)


def uint(bits: int) -> st.SearchStrategy[int]:
    return st.integers(0, 2**bits - 1)


VALUES: dict[str, st.SearchStrategy[tuple[Any, ...]]] = {
    "CardVoucher": st.tuples(addresses, uint(8), uint(40), uint(24), uint(40)),
    "StampVoucher": st.tuples(addresses, uint(8), uint(24), uint(40)),
    "Burn": st.tuples(addresses, uint(24), uint(40)),
    "Migrate": st.tuples(addresses, addresses, uint(64), uint(64), uint(24), uint(40)),
    "Veto": st.tuples(addresses, uint(24), uint(40)),
    "Redeem": st.tuples(addresses, uint(8), st.binary(min_size=32, max_size=32), uint(40)),
    "BurnStamp": st.tuples(addresses, uint(8), uint(40)),
}
ON_STAMPS = {"StampVoucher", "Redeem", "BurnStamp"}


def digest(name: str, chain_id: int, contract: Address, values: tuple[Any, ...]) -> bytes:
    match name:
        case "CardVoucher":
            return signatures.card_voucher_digest(chain_id, contract, CardVoucher(*values))
        case "StampVoucher":
            return signatures.stamp_voucher_digest(chain_id, contract, StampVoucher(*values))
        case "Burn":
            return signatures.burn_digest(chain_id, contract, *values)
        case "Migrate":
            return signatures.migrate_digest(chain_id, contract, *values)
        case "Veto":
            return signatures.veto_digest(chain_id, contract, *values)
        case "Redeem":
            return signatures.redeem_digest(chain_id, contract, *values)
        case "BurnStamp":
            return signatures.burn_stamp_digest(chain_id, contract, *values)
    raise AssertionError(f"no digest is tested for {name}")


def fields(name: str) -> list[dict[str, str]]:
    text = signatures.TYPES[name]
    pairs = [field.split(" ") for field in text[text.index("(") + 1 : -1].split(",")]
    return [{"type": kind, "name": label} for kind, label in pairs]


@pytest.mark.parametrize("name", signatures.TYPES)
@given(data=st.data())
def test_a_digest_is_eth_accounts(name: str, data: st.DataObject) -> None:
    chain_id, contract = data.draw(chain_ids), data.draw(addresses)
    values = data.draw(VALUES[name])
    typed = encode_typed_data(
        domain_data={
            "name": "LoyaltyStamps" if name in ON_STAMPS else "LoyaltyMembership",
            "version": "1",
            "chainId": chain_id,
            "verifyingContract": contract,
        },
        message_types={name: fields(name)},
        message_data={field["name"]: value for field, value in zip(fields(name), values, strict=True)},
    )
    theirs = keccak(b"\x19" + typed.version + typed.header + typed.body)
    assert digest(name, chain_id, contract, values) == theirs


@pytest.mark.parametrize("name", signatures.TYPES)
def test_a_digest_is_the_contracts_own(opened: Opened, name: str) -> None:
    samples: dict[str, Any] = {"address": wallet(5), "bytes32": b"\x07" * 32}
    values = tuple(samples.get(field["type"], 9) for field in fields(name))
    contract = opened.stamps if name in ON_STAMPS else opened.membership
    ours = digest(name, opened.chain_id, contract.address, values)
    assert ours == contract.digest_of(signatures.struct_hash(name, values))


def test_chain_contract_and_kind_all_change_the_digest() -> None:
    a, b = wallet(1), wallet(2)
    found = {
        signatures.burn_digest(1, a, a, 0, 9),
        signatures.burn_digest(2, a, a, 0, 9),
        signatures.burn_digest(1, b, a, 0, 9),
        signatures.veto_digest(1, a, a, 0, 9),
        signatures.burn_stamp_digest(1, a, a, 0, 9),
    }
    assert len(found) == 5


@pytest.mark.parametrize(
    "values",
    [(wallet(), 2**24, 0), (wallet(), -1, 0), (wallet(), 0, 2**40), ("0x12", 0, 0), (wallet(), 0), (wallet(), "1", 0)],
)
def test_a_value_outside_its_type_is_refused_and_never_cut(values: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="Burn"):
        signatures.struct_hash("Burn", values)


@pytest.mark.parametrize(("chain_id", "contract"), [(2**256, wallet()), (-1, wallet()), (1, "0x12")])
def test_a_domain_that_does_not_fit_is_refused(chain_id: int, contract: str) -> None:
    with pytest.raises(ValueError, match="does not fit"):
        signatures.burn_digest(chain_id, contract, wallet(), 0, 9)


def test_an_order_reference_has_32_bytes() -> None:
    for size in (31, 33):
        with pytest.raises(ValueError, match="Redeem"):
            signatures.redeem_digest(1, wallet(), wallet(), 1, bytes(size), 9)


# ------------------------------------------------------------------------------------------------------------- recover

SIGNER = key(7)
DIGEST = keccak(b"something")
SIGNATURE = SIGNER.sign_digest(DIGEST)


def test_who_signed_is_found() -> None:
    assert signatures.recover(DIGEST, SIGNATURE) == SIGNER.address
    assert signatures.recover(keccak(b"other"), SIGNATURE) != SIGNER.address


def high_s(signature: bytes) -> bytes:
    """The second form of the same signature, which ecrecover takes as well."""
    s = SECPK1_N - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:64],
        SIGNATURE + b"\0",
        high_s(SIGNATURE),
        SIGNATURE[:64] + b"\x00",
        SIGNATURE[:64] + b"\x1d",
        bytes(64) + b"\x1b",
        SIGNATURE[:32] + bytes(32) + b"\x1b",
        b"\xff" * 64 + b"\x1b",
        # No point of the curve has this x.
        (5).to_bytes(32, "big") + (1).to_bytes(32, "big") + b"\x1b",
    ],
)
def test_any_other_form_of_a_signature_is_refused(signature: bytes) -> None:
    with pytest.raises(ValueError, match="signature"):
        signatures.recover(DIGEST, signature)


@given(st.binary(max_size=70))
def test_no_signature_breaks_recover(signature: bytes) -> None:
    with contextlib.suppress(ValueError):
        signatures.recover(DIGEST, signature)
