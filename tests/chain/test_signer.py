"""Signing: the same as eth_account's, always the same, and never showing the key."""

import copy
import logging
import pickle
import traceback
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.chain import signatures
from nftloyalty.chain.signer import LocalSigner, Signer, TxFields
from nftloyalty.errors import KeyProblem
from tests.domain.build import wallet

KEY = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
KEY_ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
FIELDS = TxFields(
    chain_id=31337, nonce=7, to=wallet(), data=b"\x01\x02", value=3, gas=100_000, max_fee=5 * 10**9, priority_fee=10**9
)

keys = st.integers(1, SECPK1_N - 1).map(lambda number: number.to_bytes(32, "big"))


@given(
    keys,
    st.builds(
        TxFields,
        chain_id=st.integers(1, 2**53),
        nonce=st.integers(0, 2**32),
        to=st.none() | st.integers(0, 2**32).map(wallet),
        data=st.binary(max_size=100),
        value=st.integers(0, 2**100),
        gas=st.integers(21_000, 16_777_216),
        max_fee=st.integers(10**12, 2 * 10**12),
        priority_fee=st.integers(0, 10**12),
    ),
)
def test_a_signed_transaction_says_what_was_asked_and_recovers_to_the_signer(key: bytes, fields: TxFields) -> None:
    signer = LocalSigner(key)
    signed = signer.sign_transaction(fields)
    assert signed.hash == "0x" + keccak(signed.raw).hex()
    assert Account.recover_transaction(signed.raw) == signer.address
    found = TypedTransaction.from_bytes(HexBytes(signed.raw)).as_dict()
    assert found["type"] == 2
    assert (found["chainId"], found["nonce"], found["value"]) == (fields.chain_id, fields.nonce, fields.value)
    assert (found["gas"], found["maxFeePerGas"], found["maxPriorityFeePerGas"]) == (
        fields.gas,
        fields.max_fee,
        fields.priority_fee,
    )
    assert bytes(found["to"]) == (bytes.fromhex(fields.to[2:]) if fields.to else b"")
    assert bytes(found["data"]) == fields.data
    assert 0 < found["s"] <= SECPK1_N // 2


def test_signing_is_deterministic() -> None:
    assert LocalSigner(KEY).sign_transaction(FIELDS) == LocalSigner(KEY).sign_transaction(FIELDS)
    assert LocalSigner(KEY).sign_digest(keccak(b"x")) == LocalSigner(KEY).sign_digest(keccak(b"x"))


@given(keys, st.binary(min_size=32, max_size=32))
def test_a_signed_digest_has_the_one_form_and_recovers(key: bytes, digest: bytes) -> None:
    signer = LocalSigner(key)
    signature = signer.sign_digest(digest)
    assert len(signature) == 65
    assert signature[64] in (27, 28)
    assert int.from_bytes(signature[32:64], "big") <= SECPK1_N // 2
    assert signatures.recover(digest, signature) == signer.address
    theirs = Account.unsafe_sign_hash(digest, key)
    assert signature == theirs.signature


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_only_digests_are_signed(digest: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        LocalSigner(KEY).sign_digest(digest)


@pytest.mark.parametrize(
    "change",
    [
        {"priority_fee": 6 * 10**9},
        {"priority_fee": -1},
        {"nonce": -1},
        {"value": -1},
        {"gas": 0},
        {"chain_id": 0},
        {"to": "0x1234"},
        {"nonce": 2**64 - 1},
        {"value": 2**256},
        {"gas": 2**64},
    ],
)
def test_fields_that_no_chain_takes_are_not_signed(change: dict[str, Any]) -> None:
    values = {name: getattr(FIELDS, name) for name in TxFields.__slots__}
    with pytest.raises((ValueError, TypeError)):
        LocalSigner(KEY).sign_transaction(TxFields(**{**values, **change}))


@pytest.mark.parametrize("key", [b"", KEY[:31], KEY + b"\0", bytes(32), SECPK1_N.to_bytes(32, "big"), b"\xff" * 32])
def test_bytes_that_are_no_key_are_refused(key: bytes) -> None:
    with pytest.raises(KeyProblem) as caught:
        LocalSigner(key)
    assert key.hex() not in str(caught.value) or not key


def test_without_coincurve_nothing_is_signed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ECC_BACKEND_CLASS", "eth_keys.backends.NativeECCBackend")
    monkeypatch.setattr(PrivateKey, "_backend", None, raising=False)
    with pytest.raises(KeyProblem, match="coincurve"):
        LocalSigner(KEY)


def test_a_local_signer_is_a_signer() -> None:
    signer: Signer = LocalSigner(KEY)
    assert signer.address == KEY_ADDRESS


# --------------------------------------------------------------------------------------------------- the key stays in


def forms_of(key: bytes) -> list[str]:
    return [key.hex(), key.hex().upper(), repr(key), str(int.from_bytes(key, "big")), repr(list(key))]


@pytest.mark.parametrize("show", [repr, str, "{}".format, "{!r}".format, lambda signer: f"{signer!s:>80}", dir])
def test_no_way_of_showing_it_shows_the_key(show: Callable[[Any], Any]) -> None:
    shown = str(show(LocalSigner(KEY)))
    for form in forms_of(KEY):
        assert form not in shown


def test_it_has_no_attributes_to_dump() -> None:
    signer = LocalSigner(KEY)
    assert not hasattr(signer, "__dict__")
    with pytest.raises(AttributeError):
        signer.note = 1  # type: ignore[attr-defined]


@pytest.mark.parametrize("copier", [pickle.dumps, copy.copy, copy.deepcopy])
def test_it_is_never_copied_or_stored(copier: Callable[[Any], Any]) -> None:
    with pytest.raises(TypeError, match="never pickled or copied") as caught:
        copier(LocalSigner(KEY))
    assert not any(form in "".join(traceback.format_exception(caught.value)) for form in forms_of(KEY))


def test_nothing_is_logged_while_signing(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.DEBUG):
        LocalSigner(KEY).sign_transaction(FIELDS)
    assert not any(form in caplog.text for form in forms_of(KEY))
