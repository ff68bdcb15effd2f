"""Facts on paper as a node writes them: the logs of the contracts' events, by their signatures."""

from typing import Any

from eth_utils.crypto import keccak

from nftloyalty.domain.holding import FactKind as K
from tests.domain.paper import Told

ZERO = bytes(32)
ACTOR = bytes([0xAC] * 20)

EVENTS = {
    "Transfer": "Transfer(address,address,uint256)",
    "Locked": "Locked(uint256)",
    "Expiry": "TokenExpiryUpdated(uint256,uint256,uint256)",
    "MemberSet": "MemberSet(uint256,uint256)",
    "CardRevoked": "CardRevoked(uint256,address,string)",
    "Readmitted": "Readmitted(uint256,address)",
    "Migrated": "Migrated(address,address,uint256)",
    "VoucherVoided": "VoucherVoided(address)",
    "SeasonLinked": "SeasonLinked(uint256,address)",
    "StampRevoked": "StampRevoked(uint256,address,bool,string)",
    "Redeemed": "Redeemed(uint256,bytes32)",
}


def topic(event: str) -> bytes:
    return bytes(keccak(text=EVENTS[event]))


def event_of(told: Told) -> tuple[list[bytes], bytes]:
    """Topics and data of the event that tells this."""
    _, kind, who, data = told
    card, holder = word(who), word(who)
    stamp = bytes(11) + data[:1] + who
    reason = word(b"\x40") + word(b"\x04") + b"lost".ljust(32, b"\0")
    found: dict[K, tuple[str, list[bytes], bytes]] = {
        K.CARD_MINTED: ("Transfer", [ZERO, holder, card], b""),
        K.CARD_BURNED: ("Transfer", [holder, ZERO, card], b""),
        K.EXPIRY_SET: ("Expiry", [card, word(data[:5]), word(data[5:10])], b""),
        K.MEMBER_SET: ("MemberSet", [card], word(data[1:9] + data[:1])),
        K.CARD_REVOKED: ("CardRevoked", [card, word(ACTOR)], reason[32:]),
        K.READMITTED: ("Readmitted", [card, word(ACTOR)], b""),
        K.MIGRATED: ("Migrated", [holder, word(data[:20])], word(data[20:])),
        K.VOUCHER_VOIDED: ("VoucherVoided", [holder], b""),
        K.SEASON_LINKED: ("SeasonLinked", [word(data[:1]), word(who)], b""),
        K.STAMP_MINTED: ("Transfer", [ZERO, holder, stamp], b""),
        K.STAMP_BURNED: ("Transfer", [holder, ZERO, stamp], b""),
        K.STAMP_REVOKED: ("StampRevoked", [stamp, word(ACTOR)], word(data[1:2]) + reason),
        K.REDEEMED: ("Redeemed", [stamp, data[1:]], b""),
    }
    event, topics, rest = found[kind]
    return [topic(event), *topics], rest


def word(value: bytes) -> bytes:
    return value.rjust(32, b"\0")


def log_item(
    address: bytes, topics: list[bytes], data: bytes, *, block: int, block_hash: str, index: int, tx_hash: bytes
) -> dict[str, Any]:
    """One item of an answer to eth_getLogs."""
    return {
        "address": "0x" + address.hex(),
        "topics": ["0x" + each.hex() for each in topics],
        "data": "0x" + data.hex(),
        "blockNumber": hex(block),
        "blockHash": block_hash,
        "transactionHash": "0x" + tx_hash.hex(),
        "transactionIndex": "0x0",
        "logIndex": hex(index),
        "removed": False,
    }
