"""Signs transactions and digests with a key held in this process."""

from dataclasses import dataclass
from typing import Protocol

from eth_account import Account
from eth_keys.backends.coincurve import CoinCurveECCBackend
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from nftloyalty.domain.address import Address
from nftloyalty.errors import KeyProblem


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
        _check(fields)
        signed = Account.sign_transaction(
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
            self.__key,
        )
        _check_low(signed.s)
        raw = bytes(signed.raw_transaction)
        return SignedTx(raw, "0x" + keccak(raw).hex())

    def sign_digest(self, digest: bytes) -> bytes:
        """65 bytes r, s, v of a 32-byte digest, v 27 or 28. The caller knows what the digest stands for."""
        if len(digest) != 32:
            raise ValueError("a digest has 32 bytes")
        signature = self.__key.sign_msg_hash(digest)
        _check_low(signature.s)
        return bytes(signature.to_bytes()[:64]) + bytes([27 + signature.v])

    def __repr__(self) -> str:
        return f"LocalSigner({self._address})"

    def __reduce_ex__(self, protocol: object) -> tuple[object, ...]:
        raise TypeError("a LocalSigner holds a private key: it is never pickled or copied")


def _check(fields: TxFields) -> None:
    # eth_account would sign a transaction whose tip is above its fee; every chain refuses it.
    if not 0 <= fields.priority_fee <= fields.max_fee:
        raise ValueError("the priority fee is above the whole fee")
    # EIP-2681 ends nonces below 2**64 - 1.
    if not (0 <= fields.nonce < 2**64 - 1 and 0 < fields.gas < 2**64):
        raise ValueError("nonce or gas is out of range")
    if not (fields.chain_id > 0 and 0 <= fields.value < 2**256 and fields.max_fee < 2**256):
        raise ValueError("chain id, value or fee is out of range")


def _check_low(s: int) -> None:
    # EIP-2: a high s is refused by chains and by our contracts. The library makes none; a broken one must not pass.
    if not 0 < s <= SECPK1_N // 2:
        raise KeyProblem("the signing library made a signature with a high s")
