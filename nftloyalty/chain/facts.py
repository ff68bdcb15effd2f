"""From a node's logs to facts, decoded by hand: a back-fill reads millions of them.

Strict all the same: what is no log that our contracts can have written makes the whole answer unusable. A log counts
only if its address is one of ours.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

from nftloyalty.chain.abi import event_topic
from nftloyalty.chain.client import Node
from nftloyalty.domain.hashing import keccak
from nftloyalty.domain.holding import MEMBERSHIP, Fact, FactKind

Place = tuple[int, int]
"""A program's row and the number of one of its contracts (0 = membership, n = stamps of season n - 1)."""

_WORD = 32
_ZERO = bytes(_WORD)
_NO_ADDRESS = bytes(12)
_NO_STAMP = bytes(11)
_MOST_TYPE = 120
# What a column of 64 bits holds; the contracts count in 32.
_MOST_SERIAL = (1 << 63) - 1


@dataclass(frozen=True)
class Logs:
    """What an answer told: facts of each program in the order of the chain, and of the blocks that hold any, the hash
    (0x-hex in lower case) and the contracts (20 bytes) that spoke there."""

    facts: Mapping[int, Sequence[Fact]]
    hashes: Mapping[int, str]
    speakers: Mapping[int, frozenset[bytes]]

    def of(self, program: int) -> Sequence[Fact]:
        return self.facts.get(program, ())


@cache
def topics(contract: int) -> tuple[str, ...]:
    """First topics of the facts that a contract of this number tells."""
    return tuple(_readers(contract))


@cache
def all_topics() -> tuple[str, ...]:
    return tuple(dict.fromkeys(topics(MEMBERSHIP) + topics(1)))


def read_logs(node: Node, items: Sequence[Any], contracts: Mapping[bytes, Place], first: int, last: int) -> Logs:
    """What `log_items` answered for the blocks `first` to `last`. Raises NodeUnreachable if it is no use."""
    method = "eth_getLogs"
    texts = {"0x" + address.hex(): (address, place) for address, place in contracts.items()}
    readers = {contract: _readers(contract) for _, contract in contracts.values()}
    facts: dict[int, list[Fact]] = {}
    hashes: dict[int, str] = {}
    speakers: dict[int, set[bytes]] = {}
    blocks: dict[tuple[str, str], int] = {}
    transactions: dict[str, bytes] = {}
    seen: set[tuple[int, int]] = set()
    try:
        for item in items:
            if item.get("removed"):
                raise ValueError("it holds a log that was taken back")
            told = (item["blockNumber"], item["blockHash"])
            number = blocks.get(told)
            if number is None:
                number = blocks[told] = _quantity(told[0])
                if not first <= number <= last:
                    raise ValueError("it holds logs of blocks not asked for")
                if hashes.setdefault(number, "0x" + _word(told[1]).hex()) != told[1].lower():
                    raise ValueError("it holds logs of two blocks of one number")
                speakers.setdefault(number, set())
            address, (program, contract) = texts[item["address"].lower()]
            first_topic, *others = item["topics"]
            words = [_word(topic) for topic in others]
            kind, wallet, data = readers[contract][first_topic.lower()](words, item["data"])
            index = _quantity(item["logIndex"])
            if index >= 1 << 31 or (number, index) in seen:
                raise ValueError("it holds two logs of one place")
            seen.add((number, index))
            speakers[number].add(address)
            tx_hash = transactions.get(item["transactionHash"])
            if tx_hash is None:
                tx_hash = transactions[item["transactionHash"]] = _word(item["transactionHash"])
            fact = Fact(number, index, tx_hash, contract, kind, wallet, data)
            if program in facts:
                facts[program].append(fact)
            else:
                facts[program] = [fact]
    except (AttributeError, IndexError, KeyError, TypeError, ValueError) as failure:
        why = str(failure) if type(failure) is ValueError and str(failure).startswith("it holds") else "it holds no log"
        raise node.unusable(method, f"{why} of ours") from None
    for found in facts.values():
        found.sort()
    return Logs(facts, hashes, {number: frozenset(those) for number, those in speakers.items()})


def of_contracts(items: Sequence[Any], contracts: Mapping[bytes, Place]) -> list[Any]:
    """Of all logs of a block, those that `log_items` would have answered."""
    wanted = {"0x" + address.hex(): frozenset(topics(place[1])) for address, place in contracts.items()}
    found = []
    for item in items:
        spoken: Any = item.get("topics") if isinstance(item, dict) else None
        if isinstance(spoken, list) and spoken:
            known = wanted.get(str(item.get("address")).lower(), ())
            if str(spoken[0]).lower() in known:
                found.append(item)
    return found


def may_speak(bloom: int, address: bytes, contract: int) -> bool:
    """Whether a block with this bloom may hold facts of a contract. No = it holds none; yes can be chance."""
    bits = _bloom_bits(address)
    return bloom & bits == bits and any(bloom & bits == bits for bits in _topic_bits(contract))


@lru_cache(maxsize=4096)
def _bloom_bits(item: bytes) -> int:
    """The three bits of an address or topic (yellow paper, 4.3.1)."""
    digest = keccak(item)
    bits = 0
    for at in (0, 2, 4):
        bits |= 1 << (int.from_bytes(digest[at : at + 2], "big") & 2047)
    return bits


@cache
def _topic_bits(contract: int) -> tuple[int, ...]:
    return tuple(_bloom_bits(_word(topic)) for topic in _readers(contract))


# ------------------------------------------------------------------------------------------------------ single events

_Told = tuple[int, bytes, bytes]
_Reader = Callable[[list[bytes], Any], _Told]


@cache
def _readers(contract: int) -> Mapping[str, _Reader]:
    """By first topic, how a log of this contract is read: its other topics and its data, to kind, wallet and data."""
    name, readers = (
        (
            "LoyaltyMembership",
            {
                "Transfer": _card_transfer,
                "TokenExpiryUpdated": _expiry_set,
                "MemberSet": _member_set,
                "CardRevoked": _card_revoked,
                "Readmitted": _readmitted,
                "Migrated": _migrated,
                "VoucherVoided": _voucher_voided,
                "SeasonLinked": _season_linked,
            },
        )
        if contract == MEMBERSHIP
        else (
            "LoyaltyStamps",
            {"Transfer": _stamp_transfer, "StampRevoked": _stamp_revoked, "Redeemed": _redeemed},
        )
    )
    return {event_topic(name, event): reader for event, reader in readers.items()}


def _card_transfer(words: list[bytes], data: Any) -> _Told:
    kind, holder, token = _transfer(words, data)
    if holder != token:
        raise ValueError
    return (FactKind.CARD_MINTED if kind else FactKind.CARD_BURNED).value, _address(token), b""


def _stamp_transfer(words: list[bytes], data: Any) -> _Told:
    kind, holder, token = _transfer(words, data)
    stamp_type, wallet = _stamp(token)
    if holder[12:] != wallet:
        raise ValueError
    return (FactKind.STAMP_MINTED if kind else FactKind.STAMP_BURNED).value, wallet, stamp_type


def _transfer(words: list[bytes], data: Any) -> tuple[bool, bytes, bytes]:
    """(mint or burn, holder, token): nothing of ours passes from one wallet to another."""
    source, target, token = words
    if data != "0x" or (source == _ZERO) == (target == _ZERO):
        raise ValueError
    return (True, target, token) if source == _ZERO else (False, source, token)


def _expiry_set(words: list[bytes], data: Any) -> _Told:
    token, start, end = words
    if data != "0x" or start[:27] != end[:27] or any(start[:27]):
        raise ValueError
    return FactKind.EXPIRY_SET.value, _address(token), start[27:] + end[27:]


def _member_set(words: list[bytes], data: Any) -> _Told:
    (token,) = words
    word = _word(data)
    serial = int.from_bytes(word[:31], "big")
    if serial > _MOST_SERIAL:
        raise ValueError
    return FactKind.MEMBER_SET.value, _address(token), word[31:] + serial.to_bytes(8, "big")


def _card_revoked(words: list[bytes], data: Any) -> _Told:
    token, _ = words
    return FactKind.CARD_REVOKED.value, _address(token), b""


def _readmitted(words: list[bytes], data: Any) -> _Told:
    token, _ = words
    return FactKind.READMITTED.value, _address(token), b""


def _migrated(words: list[bytes], data: Any) -> _Told:
    source, target = words
    serial = int.from_bytes(_word(data), "big")
    if serial > _MOST_SERIAL:
        raise ValueError
    return FactKind.MIGRATED.value, _address(source), _address(target) + serial.to_bytes(8, "big")


def _voucher_voided(words: list[bytes], data: Any) -> _Told:
    (wallet,) = words
    return FactKind.VOUCHER_VOIDED.value, _address(wallet), b""


def _season_linked(words: list[bytes], data: Any) -> _Told:
    season, stamps = words
    if any(season[:31]):
        raise ValueError
    return FactKind.SEASON_LINKED.value, _address(stamps), season[31:]


def _stamp_revoked(words: list[bytes], data: Any) -> _Told:
    token, _ = words
    stamp_type, wallet = _stamp(token)
    # What follows the first word is the reason.
    may_return = _word(data[:66])[31:]
    return FactKind.STAMP_REVOKED.value, wallet, stamp_type + may_return


def _redeemed(words: list[bytes], data: Any) -> _Told:
    token, order = words
    stamp_type, wallet = _stamp(token)
    return FactKind.REDEEMED.value, wallet, stamp_type + order


def _stamp(token: bytes) -> tuple[bytes, bytes]:
    """(type in one byte, wallet) of a stamp's id."""
    if token[:11] != _NO_STAMP or not 1 <= token[11] <= _MOST_TYPE:
        raise ValueError
    return token[11:12], token[12:]


def _address(word: bytes) -> bytes:
    if word[:12] != _NO_ADDRESS:
        raise ValueError
    return word[12:]


def _word(text: Any) -> bytes:
    word = bytes.fromhex(text[2:])
    # Both lengths, for fromhex passes over spaces.
    if len(word) != _WORD or len(text) != 66 or text[:2] != "0x":
        raise ValueError
    return word


def _quantity(text: Any) -> int:
    # int() takes signs, spaces, underscores and the digits of other scripts too.
    if not text[2:].isalnum() or not text.isascii() or text[:2] != "0x":
        raise ValueError
    return int(text, 16)
