"""Signs transactions and digests: with a key held in this process, or through somebody who keeps it."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import rlp
from eth_keys.backends.coincurve import CoinCurveECCBackend
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import PrivateKey

from nftloyalty.chain import signatures
from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.hashing import keccak
from nftloyalty.errors import KeyProblem

_HALF_N = SECPK1_N // 2
_TYPE_2 = b"\x02"


@dataclass(frozen=True, slots=True)
class TxFields:
    """An EIP-1559 transaction, not signed. `to` None creates a contract; `gas` is its limit, fees in wei per gas."""

    chain_id: int
    nonce: int
    to: Address | None
    data: bytes
    value: int
    gas: int
    max_fee: int
    priority_fee: int


@dataclass(frozen=True, slots=True)
class SignedTx:
    """`raw` is what goes on the wire; `hash` is what the chain will call it."""

    raw: bytes
    hash: str


class Signer(Protocol):
    """A key that signs: here in memory, or somewhere it can't leave (a KMS)."""

    @property
    def address(self) -> Address: ...

    def sign_transaction(self, fields: TxFields) -> SignedTx: ...

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v with v 27 or 28 and a low s."""
        ...


class _Signature(NamedTuple):
    """`parity` 0 or 1 is which of the two curve points with this r is meant; s is low."""

    parity: int
    r: int
    s: int


class LocalSigner:
    """A private key in memory. The same input always gives the same signature (RFC 6979).

    Nothing that shows, copies or stores an object shows, copies or stores the key. Raises KeyProblem if the bytes are
    no key, or if the fast and constant-time secp256k1 library is missing: the pure Python one is neither.
    """

    __slots__ = ("__key", "_address")

    def __init__(self, private_key: bytes) -> None:
        if len(private_key) != 32 or not 0 < int.from_bytes(private_key, "big") < SECPK1_N:
            raise KeyProblem("these bytes are not a private key")
        key = PrivateKey(bytes(private_key))
        if type(key.backend) is not CoinCurveECCBackend:
            raise KeyProblem(
                "signing needs the coincurve package",
                mend="install it with `pip install coincurve` and unset ECC_BACKEND_CLASS",
            )
        self.__key = key
        self._address = key.public_key.to_checksum_address()

    @property
    def address(self) -> Address:
        return self._address

    def sign_transaction(self, fields: TxFields) -> SignedTx:
        """Raises ValueError if a field does not fit, before anything is signed."""
        return _signed(fields, self._sign)

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v of a 32-byte digest, v 27 or 28. The caller knows what the digest stands for."""
        return _in_65_bytes(self._sign(digest))

    def _sign(self, digest: bytes) -> _Signature:
        _check_digest(digest)
        signature = self.__key.sign_msg_hash(digest)
        # EIP-2: a high s is refused by chains and by our contracts. The library makes none; a broken one must not pass.
        if not 0 < signature.s <= _HALF_N:
            raise KeyProblem("the signing library made a signature with a high s")
        return _Signature(signature.v, signature.r, signature.s)

    def __repr__(self) -> str:
        return f"LocalSigner({self._address})"

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        raise TypeError("a LocalSigner holds a private key: it is never pickled or copied")


class RemoteSigner:
    """A key that somebody else keeps: a digest goes out, a signature in DER comes back (SEC 1, C.8: r and s, no v).

    `sign` may answer the same digest with another signature each time. What it answers counts only if the key of
    `address` made it; KeyProblem is raised for anything else, and what `sign` raises is passed on.
    """

    __slots__ = ("_address", "_keeper")

    def __init__(self, address: Address, sign: Callable[[bytes], bytes]) -> None:
        self._address = parse_address(address)
        self._keeper = sign

    @property
    def address(self) -> Address:
        return self._address

    def sign_transaction(self, fields: TxFields) -> SignedTx:
        """Raises ValueError if a field does not fit, before anything is signed."""
        return _signed(fields, self._sign)

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v of a 32-byte digest, v 27 or 28. The caller knows what the digest stands for."""
        return _in_65_bytes(self._sign(digest))

    def _sign(self, digest: bytes) -> _Signature:
        _check_digest(digest)
        try:
            r, s = parse_der(self._keeper(digest))
        except ValueError as wrong:
            raise KeyProblem(f"the keeper of the key {self._address} answered no signature: {wrong}") from None
        # (r, s) and (r, n - s) are both good for a digest; chains take the one with the low s only (EIP-2).
        s = min(s, SECPK1_N - s)
        for parity in (0, 1):
            signature = _Signature(parity, r, s)
            if _signer_of(digest, signature) == self._address:
                return signature
        raise KeyProblem(
            f"what came back is not a signature of {self._address}",
            mend="another key answers in its place: compare `nftloyalty keys show` with the key service",
        )

    def __repr__(self) -> str:
        return f"RemoteSigner({self._address})"


def parse_der(signature: bytes) -> tuple[int, int]:
    """r and s of an ECDSA signature in DER, each from 1 to below the order of secp256k1. Raises ValueError.

    Only the one encoding that DER has for two numbers is taken: shortest lengths, shortest numbers, nothing after.
    """
    # Two numbers of at most 33 bytes: every length fits into one byte below 128.
    if len(signature) < 2 or signature[0] != 0x30 or signature[1] != len(signature) - 2 or signature[1] >= 0x80:
        raise ValueError("it is not one DER sequence")
    r, rest = _der_number(signature[2:])
    s, rest = _der_number(rest)
    if rest:
        raise ValueError("something follows the two numbers")
    if not (0 < r < SECPK1_N and 0 < s < SECPK1_N):
        raise ValueError("a number is outside the curve's order")
    return r, s


def _der_number(encoded: bytes) -> tuple[int, bytes]:
    """The first DER integer and what follows it."""
    if len(encoded) < 3 or encoded[0] != 0x02:
        raise ValueError("a number is missing")
    end = 2 + encoded[1]
    content = encoded[2:end]
    if not 0 < encoded[1] < 0x80 or len(content) != encoded[1]:
        raise ValueError("a number has a wrong length")
    if content[0] >= 0x80:
        raise ValueError("a number is negative")
    if len(content) > 1 and content[0] == 0 and content[1] < 0x80:
        raise ValueError("a number has zeros in front")
    return int.from_bytes(content, "big"), encoded[end:]


def _signer_of(digest: bytes, signature: _Signature) -> Address | None:
    try:
        return signatures.recover(digest, _in_65_bytes(signature))
    except ValueError:
        return None


def _signed(fields: TxFields, sign: Callable[[bytes], _Signature]) -> SignedTx:
    """The transaction as EIP-1559 writes it: type 2, keccak over the fields is signed, the signature follows them."""
    _check(fields)
    content = [
        fields.chain_id,
        fields.nonce,
        fields.priority_fee,
        fields.max_fee,
        fields.gas,
        b"" if fields.to is None else bytes.fromhex(parse_address(fields.to)[2:]),
        fields.value,
        fields.data,
        [],  # no access list
    ]
    signature = sign(keccak(_TYPE_2 + rlp.encode(content)))
    raw = _TYPE_2 + bytes(rlp.encode([*content, *signature]))
    return SignedTx(raw, "0x" + keccak(raw).hex())


def _in_65_bytes(signature: _Signature) -> bytes:
    return signature.r.to_bytes(32, "big") + signature.s.to_bytes(32, "big") + bytes([27 + signature.parity])


def _check_digest(digest: bytes) -> None:
    if len(digest) != 32:
        raise ValueError("a digest has 32 bytes")


def _check(fields: TxFields) -> None:
    # The encoding would take a transaction whose tip is above its fee; every chain refuses it.
    if not 0 <= fields.priority_fee <= fields.max_fee:
        raise ValueError("the priority fee is above the whole fee")
    # EIP-2681 ends nonces below 2**64 - 1.
    if not (0 <= fields.nonce < 2**64 - 1 and 0 < fields.gas < 2**64):
        raise ValueError("nonce or gas is out of range")
    if not (fields.chain_id > 0 and 0 <= fields.value < 2**256 and fields.max_fee < 2**256):
        raise ValueError("chain id, value or fee is out of range")
