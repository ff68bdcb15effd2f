"""Signing: the same as eth_account's, always the same with a key in memory, and never showing the key.

A key kept elsewhere may answer anything: only a signature of its address gets through, in the one form chains take.
"""

import copy
import logging
import pickle
import traceback
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest
from coincurve import PrivateKey as CoincurveKey
from eth_account import Account
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.chain import signatures
from nftloyalty.chain.client import Node
from nftloyalty.chain.signer import LocalSigner, RemoteSigner, Signer, TxFields, parse_der
from nftloyalty.errors import KeyProblem, KeyUnreachable
from tests.chain.opened import COIN, fund, wait
from tests.domain.build import wallet
from tests.vault.fake_kms import der, sign

KEY = bytes.fromhex("4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318")
KEY_ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"
FIELDS = TxFields(
    chain_id=31337, nonce=7, to=wallet(), data=b"\x01\x02", value=3, gas=100_000, max_fee=5 * 10**9, priority_fee=10**9
)

fields = st.builds(
    TxFields,
    chain_id=st.integers(1, 2**53),
    nonce=st.integers(0, 2**32),
    to=st.none() | st.integers(0, 2**32).map(wallet),
    data=st.binary(max_size=100),
    value=st.integers(0, 2**100),
    gas=st.integers(21_000, 16_777_216),
    max_fee=st.integers(10**12, 2 * 10**12),
    priority_fee=st.integers(0, 10**12),
)
keys = st.integers(1, SECPK1_N - 1).map(lambda number: number.to_bytes(32, "big"))


@given(keys, fields)
def test_a_transaction_is_byte_for_byte_eth_accounts(key: bytes, fields: TxFields) -> None:
    theirs = Account.sign_transaction(
        {
            "type": 2,
            "chainId": fields.chain_id,
            "nonce": fields.nonce,
            "to": fields.to or b"",
            "data": fields.data,
            "value": fields.value,
            "gas": fields.gas,
            "maxFeePerGas": fields.max_fee,
            "maxPriorityFeePerGas": fields.priority_fee,
        },
        key,
    )
    signed = LocalSigner(key).sign_transaction(fields)
    assert signed.raw == theirs.raw_transaction
    assert signed.hash == theirs.hash.to_0x_hex()


@pytest.mark.parametrize("make", [LocalSigner, lambda key: kept(key)], ids=["local", "remote"])
@given(key=keys, fields=fields)
def test_a_signed_transaction_says_what_was_asked_and_recovers_to_the_signer(
    make: Callable[[bytes], Signer], key: bytes, fields: TxFields
) -> None:
    signer = make(key)
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
        {"to": KEY_ADDRESS.replace("c", "C")},
        {"nonce": 2**64 - 1},
        {"value": 2**256},
        {"gas": 2**64},
    ],
)
def test_fields_that_no_chain_takes_are_not_signed(change: dict[str, Any]) -> None:
    values = {name: getattr(FIELDS, name) for name in TxFields.__slots__}
    asked: list[bytes] = []

    def keeper(digest: bytes) -> bytes:
        asked.append(digest)
        return b""

    for signer in (LocalSigner(KEY), RemoteSigner(KEY_ADDRESS, keeper)):
        with pytest.raises((ValueError, TypeError)):
            signer.sign_transaction(TxFields(**{**values, **change}))
    assert asked == []


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


# ------------------------------------------------------------------------------------------------ a key kept elsewhere


def kept(key: bytes) -> RemoteSigner:
    """The key kept by somebody who signs anew each time, and every other time with a high s."""
    high = cycle((True, False))
    return RemoteSigner(LocalSigner(key).address, lambda digest: sign(key, digest, high=next(high)))


@given(keys, st.binary(min_size=32, max_size=32), st.booleans())
def test_whatever_half_s_is_in_the_one_form_comes_out(key: bytes, digest: bytes, high: bool) -> None:
    answers: list[bytes] = []

    def keeper(asked: bytes) -> bytes:
        assert asked == digest
        answers.append(sign(key, asked, high=high))
        return answers[0]

    signer = RemoteSigner(LocalSigner(key).address, keeper)
    signature = signer.sign_digest(digest)
    assert len(signature) == 65
    assert signatures.recover(digest, signature) == signer.address
    r, s = parse_der(answers[0])
    assert (s > SECPK1_N // 2) is high
    assert signature[:64] == r.to_bytes(32, "big") + (SECPK1_N - s if high else s).to_bytes(32, "big")


def test_two_signatures_of_one_transaction_are_two_transactions() -> None:
    signer = kept(KEY)
    first, second = signer.sign_transaction(FIELDS), signer.sign_transaction(FIELDS)
    assert first.hash != second.hash
    assert Account.recover_transaction(first.raw) == Account.recover_transaction(second.raw) == KEY_ADDRESS


def test_a_transaction_signed_elsewhere_is_mined(node: Node) -> None:
    local, signer = LocalSigner(b"\x07" * 32), kept(b"\x07" * 32)
    fund(node, local, wei=COIN)
    for nonce in range(4):
        fields = replace(FIELDS, chain_id=node.chain_id(), nonce=nonce, data=b"", to=wallet(nonce + 70))
        signed = signer.sign_transaction(fields)
        node.send_raw(signed.raw)
        assert wait(node, signed.hash).succeeded
        assert node.balance(wallet(nonce + 70)) == fields.value
    assert node.nonce(local.address) == 4


@pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
def test_only_digests_are_sent_away(digest: bytes) -> None:
    with pytest.raises(ValueError, match="32 bytes"):
        RemoteSigner(KEY_ADDRESS, lambda asked: pytest.fail("it was asked")).sign_digest(digest)


@pytest.mark.parametrize(
    "answer",
    [
        lambda digest: sign(bytes(31) + b"\1", digest, high=False),
        lambda digest: sign(KEY, bytes(32), high=False),
        lambda digest: der(1, 1),
        lambda digest: der(SECPK1_N - 1, SECPK1_N - 1),
    ],
    ids=["another key", "another digest", "no point", "no key"],
)
def test_a_signature_of_somebody_else_does_not_pass(answer: Callable[[bytes], bytes]) -> None:
    signer = RemoteSigner(KEY_ADDRESS, answer)
    with pytest.raises(KeyProblem, match="not a signature of") as refused:
        signer.sign_transaction(FIELDS)
    assert "keys show" in refused.value.mend
    with pytest.raises(KeyProblem, match="not a signature of"):
        signer.sign_digest(keccak(b"x"))


def test_what_the_keeper_raises_is_passed_on() -> None:
    def away(digest: bytes) -> bytes:
        raise KeyUnreachable("hot", "away")

    with pytest.raises(KeyUnreachable, match="away"):
        RemoteSigner(KEY_ADDRESS, away).sign_transaction(FIELDS)


GOOD = der(2**200, 2**255)


@given(keys, st.binary(min_size=32, max_size=32))
def test_libsecp256k1s_signatures_are_read(key: bytes, digest: bytes) -> None:
    theirs = CoincurveKey(key)
    recoverable = theirs.sign_recoverable(digest, hasher=None)
    r, s = parse_der(theirs.sign(digest, hasher=None))
    assert r.to_bytes(32, "big") + s.to_bytes(32, "big") == recoverable[:64]


@given(st.integers(1, SECPK1_N - 1), st.integers(1, SECPK1_N - 1))
def test_numbers_of_every_size_are_read(r: int, s: int) -> None:
    assert parse_der(der(r, s)) == (r, s)


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"\x30",
        b"\x30\x00",
        GOOD[:-1],
        GOOD + b"\0",
        b"\x31" + GOOD[1:],
        bytes([0x30, 0x81, GOOD[1]]) + GOOD[2:],
        bytes([0x30, 0x80]) + GOOD[2:] + bytes(2),
        bytes.fromhex("3006020101020101ff"),
        bytes.fromhex("3007020101020101ff"),
        bytes.fromhex("3003020101"),
        bytes.fromhex("30050201010201"),
        bytes.fromhex("30060201010101ff"),
        bytes.fromhex("3005020002 0101"),
        bytes.fromhex("3006020181020101"),
        bytes.fromhex("300702020001020101"),
        bytes.fromhex("3006020100020101"),
        bytes.fromhex("3006020101020100"),
        bytes.fromhex("300702810101020101"),
        bytes.fromhex("3006020501020101"),
        der(SECPK1_N, 1),
        der(1, SECPK1_N),
        der(2**256 - 1, 1),
    ],
)
def test_what_is_not_the_one_der_form_is_no_signature(answer: bytes) -> None:
    with pytest.raises(ValueError, match=r"sequence|number"):
        parse_der(answer)
    with pytest.raises(KeyProblem, match="answered no signature"):
        RemoteSigner(KEY_ADDRESS, lambda digest: answer).sign_digest(keccak(b"x"))


@given(st.binary(max_size=80))
def test_no_answer_breaks_the_reading(answer: bytes) -> None:
    with suppress(ValueError):
        r, s = parse_der(answer)
        assert der(r, s) == answer


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
