"""EIP-712 digests of everything our contracts take a signature for, and who signed one.

The types are those of the Solidity; tests compare each digest with eth_account's and with the contracts' `digestOf`.
"""

from functools import cache, lru_cache

from eth_abi.abi import encode as abi_encode
from eth_abi.exceptions import EncodingError
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import Signature
from eth_keys.exceptions import BadSignature
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from nftloyalty.domain.address import Address
from nftloyalty.domain.voucher import CardVoucher, StampVoucher

_DOMAIN = "EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)"
_VERSION = "1"
_MEMBERSHIP = "LoyaltyMembership"
_STAMPS = "LoyaltyStamps"

TYPES = {
    "CardVoucher": "CardVoucher(address to,uint8 tier,uint40 expiresAt,uint24 epoch,uint40 deadline)",
    "StampVoucher": "StampVoucher(address to,uint8 stampType,uint24 epoch,uint40 deadline)",
    "Burn": "Burn(address holder,uint24 nonce,uint40 deadline)",
    "Migrate": "Migrate(address from,address to,uint64 serial,uint64 replaces,uint24 nonce,uint40 deadline)",
    "Veto": "Veto(address holder,uint24 nonce,uint40 deadline)",
    "Redeem": "Redeem(address holder,uint8 stampType,bytes32 orderRef,uint40 deadline)",
    "BurnStamp": "BurnStamp(address holder,uint8 stampType,uint40 deadline)",
}


def card_voucher_digest(chain_id: int, membership: Address, voucher: CardVoucher) -> bytes:
    """Signed by a SIGNER of the program."""
    values = (voucher.to, voucher.tier, voucher.expires_at, voucher.epoch, voucher.deadline)
    return _digest(_MEMBERSHIP, chain_id, membership, "CardVoucher", values)


def stamp_voucher_digest(chain_id: int, stamps: Address, voucher: StampVoucher) -> bytes:
    """Signed by a SIGNER of the program."""
    values = (voucher.to, voucher.stamp_type, voucher.epoch, voucher.deadline)
    return _digest(_STAMPS, chain_id, stamps, "StampVoucher", values)


def burn_digest(chain_id: int, membership: Address, holder: Address, nonce: int, deadline: int) -> bytes:
    """The holder's consent to leave. `nonce` is the wallet's own, from its membership word."""
    return _digest(_MEMBERSHIP, chain_id, membership, "Burn", (holder, nonce, deadline))


def migrate_digest(
    chain_id: int,
    membership: Address,
    source: Address,
    target: Address,
    serial: int,
    replaces: int,
    nonce: int,
    deadline: int,
) -> bytes:
    """Both wallets' consent to a move. `nonce` is the source's; `replaces` 0 = the target holds no card."""
    values = (source, target, serial, replaces, nonce, deadline)
    return _digest(_MEMBERSHIP, chain_id, membership, "Migrate", values)


def veto_digest(chain_id: int, membership: Address, holder: Address, nonce: int, deadline: int) -> bytes:
    """The holder's no to a proposed recovery."""
    return _digest(_MEMBERSHIP, chain_id, membership, "Veto", (holder, nonce, deadline))


def redeem_digest(
    chain_id: int, stamps: Address, holder: Address, stamp_type: int, order_ref: bytes, deadline: int
) -> bytes:
    """The holder's consent to use a stamp up for an order. `order_ref` has 32 bytes."""
    return _digest(_STAMPS, chain_id, stamps, "Redeem", (holder, stamp_type, order_ref, deadline))


def burn_stamp_digest(chain_id: int, stamps: Address, holder: Address, stamp_type: int, deadline: int) -> bytes:
    """The holder's consent to give up a stamp."""
    return _digest(_STAMPS, chain_id, stamps, "BurnStamp", (holder, stamp_type, deadline))


def recover(digest: bytes, signature: bytes) -> Address:
    """Whose key signed. Only the one form our contracts take: 65 bytes, low s, v 27 or 28. Raises ValueError."""
    if len(digest) != 32:
        raise ValueError("a digest has 32 bytes")
    if len(signature) != 65:
        raise ValueError("a signature has 65 bytes")
    r, s, v = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:64], "big"), signature[64]
    if v not in (27, 28) or not 0 < r < SECPK1_N or not 0 < s <= SECPK1_N // 2:
        raise ValueError("the signature has not the one form that is taken")
    try:
        return Signature(vrs=(v - 27, r, s)).recover_public_key_from_msg_hash(digest).to_checksum_address()
    except (BadSignature, ValidationError):
        raise ValueError("the signature belongs to no key") from None


def struct_hash(name: str, values: tuple[object, ...]) -> bytes:
    """EIP-712 hash of one of our structs. Raises ValueError for a value outside its type."""
    type_hash, kinds = _type(name)
    # eth_abi would fill a shorter one up with zeros.
    if any(kind == "bytes32" and not _is_32_bytes(value) for kind, value in zip(kinds, values, strict=False)):
        raise ValueError(f"a value of {name} does not fit: it needs 32 bytes")
    try:
        return keccak(type_hash + abi_encode(kinds, values))
    except (EncodingError, TypeError, OverflowError) as failure:
        raise ValueError(f"a value of {name} does not fit: {failure}") from None


def _digest(contract_name: str, chain_id: int, contract: Address, name: str, values: tuple[object, ...]) -> bytes:
    return keccak(b"\x19\x01" + _separator(contract_name, chain_id, contract) + struct_hash(name, values))


def _is_32_bytes(value: object) -> bool:
    return isinstance(value, bytes) and len(value) == 32


@cache
def _type(name: str) -> tuple[bytes, tuple[str, ...]]:
    text = TYPES[name]
    fields = text[text.index("(") + 1 : -1].split(",")
    return keccak(text=text), tuple(field.split(" ")[0] for field in fields)


# Bounded: chain and contract may come with a voucher that somebody made up.
@lru_cache(maxsize=256)
def _separator(contract_name: str, chain_id: int, contract: Address) -> bytes:
    values = [keccak(text=_DOMAIN), keccak(text=contract_name), keccak(text=_VERSION), chain_id, contract]
    try:
        return keccak(abi_encode(["bytes32", "bytes32", "bytes32", "uint256", "address"], values))
    except (EncodingError, TypeError, OverflowError) as failure:
        raise ValueError(f"chain id or contract does not fit: {failure}") from None
