"""Which transactions an account has sent, found by their nonces. No node answers that question directly.

Only for a look once in a while: finding a transaction takes some twenty questions about the past, which a node must
still know.
"""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import rlp

from nftloyalty.chain.client import Node
from nftloyalty.domain.address import Address, checksummed
from nftloyalty.domain.hashing import keccak
from nftloyalty.errors import ChainProblem, NodeRefused

_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_DYNAMIC_FEE = 2
"""EIP-2718 type of EIP-1559 transactions, the only ones we send."""


@dataclass(frozen=True, slots=True)
class SentTransaction:
    """A mined transaction of an account. `to` None = it created a contract.

    `raw` are its signed bytes, put together anew and proved by their hash; None for a type that we never send.
    """

    nonce: int
    tx_hash: str
    block_number: int
    to: Address | None
    data: bytes
    value: int
    gas: int
    max_fee: int
    priority_fee: int
    raw: bytes | None


def sent_by(node: Node, account: Address, nonces: Sequence[int]) -> list[SentTransaction]:
    """The account's transactions with these nonces, all of which must be mined, lowest first.

    Raises ChainProblem if the node does not know that much of the past, or answers with something else.
    """
    wanted = set(nonces)
    if not wanted:
        return []
    past = _Past(node, account)
    found: dict[int, SentTransaction] = {}
    for number in past.blocks_of(min(wanted), max(wanted)):
        for sent in _sent_in(node, account, number):
            if sent.nonce in wanted:
                found[sent.nonce] = sent
    missing = wanted - set(found)
    if missing:
        raise ChainProblem(f"the node at {node.shown_url} shows no transaction of {account} with nonce {min(missing)}")
    return [found[nonce] for nonce in sorted(found)]


class _Past:
    """The account's nonce after each block asked about, each asked once."""

    def __init__(self, node: Node, account: Address) -> None:
        self._node = node
        self._account = account
        self._head = node.head().number
        # Before the first block.
        self._known: dict[int, int] = {-1: 0}

    def blocks_of(self, first: int, last: int) -> Iterator[int]:
        """Numbers of the blocks that hold the account's transactions with the nonces `first` to `last`."""
        # From the head backwards in growing steps: a node that has forgotten old states still knows the new ones.
        low, step = self._head, 1
        while low >= 0 and self._after(low) > first:
            low, step = max(-1, low - step), 2 * step
        yield from self._between(low, self._head, first, last)

    def _between(self, low: int, high: int, first: int, last: int) -> Iterator[int]:
        before, after = self._after(low), self._after(high)
        if before == after or after <= first or before > last:
            return
        if high - low == 1:
            yield high
            return
        middle = (low + high) // 2
        yield from self._between(low, middle, first, last)
        yield from self._between(middle, high, first, last)

    def _after(self, number: int) -> int:
        if number not in self._known:
            try:
                self._known[number] = self._node.nonce(self._account, number)
            except NodeRefused as refused:
                raise ChainProblem(
                    f"the node at {self._node.shown_url} does not know the past as far as block {number}: "
                    f"{refused.rpc_message}",
                    mend="point --rpc at an archive node for this one command",
                ) from None
        return self._known[number]


def _sent_in(node: Node, account: Address, number: int) -> Iterator[SentTransaction]:
    answer = node.call("eth_getBlockByNumber", [hex(number), True])
    items = answer.get("transactions") if isinstance(answer, dict) else None
    if not isinstance(items, list):
        raise _unusable(node, number)
    for item in items:
        if not isinstance(item, dict):
            raise _unusable(node, number)
        if str(item.get("from")).lower() == account.lower():
            try:
                yield _read(item, number)
            except (KeyError, TypeError, ValueError):
                raise _unusable(node, number) from None


def _read(item: Mapping[str, Any], number: int) -> SentTransaction:
    tx_hash = str(item["hash"]).lower()
    to = item.get("to")
    dynamic = int(item.get("type") or "0x0", 16) == _DYNAMIC_FEE
    price = int(item.get("gasPrice") or "0x0", 16)
    return SentTransaction(
        nonce=int(item["nonce"], 16),
        tx_hash=tx_hash,
        block_number=number,
        to=None if to is None else _checksummed(to),
        data=_bytes(item.get("input", item.get("data"))),
        value=int(item["value"], 16),
        gas=int(item["gas"], 16),
        max_fee=int(item["maxFeePerGas"], 16) if dynamic else price,
        priority_fee=int(item["maxPriorityFeePerGas"], 16) if dynamic else price,
        raw=_raw(item, tx_hash) if dynamic else None,
    )


def _raw(item: Mapping[str, Any], tx_hash: str) -> bytes | None:
    """The signed bytes (EIP-1559), if they have the hash that the node says."""
    to = item.get("to")
    access = [
        [_bytes(entry["address"]), [_bytes(key) for key in entry["storageKeys"]]]
        for entry in item.get("accessList") or ()
    ]
    fields = [
        int(item["chainId"], 16),
        int(item["nonce"], 16),
        int(item["maxPriorityFeePerGas"], 16),
        int(item["maxFeePerGas"], 16),
        int(item["gas"], 16),
        b"" if to is None else _bytes(to),
        int(item["value"], 16),
        _bytes(item.get("input", item.get("data"))),
        access,
        int(item.get("yParity", item.get("v")), 16),
        int(item["r"], 16),
        int(item["s"], 16),
    ]
    raw = bytes([_DYNAMIC_FEE]) + bytes(rlp.encode(fields))
    return raw if "0x" + keccak(raw).hex() == tx_hash else None


def _bytes(value: Any) -> bytes:
    if not isinstance(value, str) or not _HEX.fullmatch(value):
        raise ValueError("no bytes")
    return bytes.fromhex(value[2:])


def _checksummed(value: Any) -> Address:
    if len(_bytes(value)) != 20:
        raise ValueError("no address")
    return checksummed(value[2:].lower())


def _unusable(node: Node, number: int) -> ChainProblem:
    return ChainProblem(f"what the node at {node.shown_url} says of block {number} is no use")
