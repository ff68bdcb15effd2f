"""A thin JSON-RPC client of one node.

What a node says is never trusted further than its shape: an answer that is not what the method promises is treated like
no answer.
"""

import contextlib
import re
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from functools import lru_cache
from typing import Any

from nftloyalty.chain.abi import decode_error
from nftloyalty.chain.transport import Transport
from nftloyalty.domain.address import Address, checksummed
from nftloyalty.domain.hashing import keccak
from nftloyalty.domain.refusal import explain
from nftloyalty.errors import ChainProblem, NodeRefused, NodeUnreachable, Reverted

BlockId = int | str
"""A block number, a tag (`latest`, `finalized`, `pending`) or a block hash."""

MOST_IN_BATCH = 100

_QUANTITY = re.compile(r"0x[0-9a-fA-F]{1,64}")
_HASH = re.compile(r"0x[0-9a-fA-F]{64}")
_ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
_BYTES = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
_BLOOM = re.compile(r"0x[0-9a-fA-F]{512}")

# Asked again once when the connection broke: asking twice changes nothing. Everything else is sent at most once.
_READS = frozenset(
    {
        "eth_accounts",
        "eth_blockNumber",
        "eth_call",
        "eth_chainId",
        "eth_estimateGas",
        "eth_feeHistory",
        "eth_gasPrice",
        "eth_getBalance",
        "eth_getBlockByHash",
        "eth_getBlockByNumber",
        "eth_getBlockReceipts",
        "eth_getCode",
        "eth_getLogs",
        "eth_getTransactionByHash",
        "eth_getTransactionCount",
        "eth_getTransactionReceipt",
        "eth_maxPriorityFeePerGas",
        "web3_clientVersion",
    }
)

# EIP-1474 has no code for a revert; nodes that send no revert bytes use 3 (geth's rule), others only say so.
_REVERT_CODE = 3


@dataclass(frozen=True, slots=True)
class Block:
    """`timestamp` in unix seconds; `base_fee` in wei per gas, None on a chain without EIP-1559.

    `logs_bloom` tells what the block's logs may name (the yellow paper's 4.3.1), as a number; None = the node does not
    tell.
    """

    number: int
    hash: str
    parent_hash: str
    timestamp: int
    base_fee: int | None
    logs_bloom: int | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True)
class Log:
    """`topics` are 0x-hex in lower case, `index` counts within the block."""

    address: Address
    topics: tuple[str, ...]
    data: bytes
    index: int
    tx_hash: str
    block_number: int
    block_hash: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What a mined transaction did. Not final by itself: its block may be replaced.

    `contract_address` only if the transaction created one. `data_fee_wei` only where a rollup's node tells it.
    """

    tx_hash: str
    block_number: int
    block_hash: str
    succeeded: bool
    gas_used: int
    gas_price_wei: int
    contract_address: Address | None
    data_fee_wei: int | None
    logs: tuple[Log, ...]


@dataclass(frozen=True, slots=True)
class Call:
    """A call as `eth_call` and `eth_estimateGas` take it. `to` None = the data creates a contract."""

    to: Address | None
    data: bytes
    sender: Address | None = None
    value: int = 0
    gas: int | None = None

    def to_json(self) -> dict[str, str]:
        fields = {"data": _hex(self.data)}
        if self.to is not None:
            fields["to"] = self.to
        if self.sender is not None:
            fields["from"] = self.sender
        if self.value:
            fields["value"] = hex(self.value)
        if self.gas is not None:
            fields["gas"] = hex(self.gas)
        return fields


@dataclass(frozen=True, slots=True)
class FeeMarket:
    """What the chain asks for gas now, in wei per gas. `base_fee` None = no EIP-1559."""

    base_fee: int | None
    priority_fee: int


class HintKind(StrEnum):
    ACCEPTED = "accepted"
    REFUSED = "refused"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Hint:
    """A node's word on a transaction handed to it: a refused one may yet be mined, an accepted one may be lost."""

    kind: HintKind
    text: str


class Node:
    """One node by its JSON-RPC address. Safe to share between threads; nothing is asked when it is built.

    `timeout` is the longest wait for one answer in seconds, from connecting to the last byte. Raises BadInput if the
    address is not http(s).
    """

    def __init__(self, url: str, timeout: float = 30.0) -> None:
        self.__transport = Transport(url, timeout)
        self.shown_url = self.__transport.shown_url
        self.timeout = timeout
        self.__takes_batches = True

    def __repr__(self) -> str:
        return f"Node({self.shown_url})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Node holds its address, which may hold a key: it is never pickled or copied")

    # ------------------------------------------------------------------------------------------------- plain requests

    def call(self, method: str, params: Sequence[Any] = (), *, timeout: float | None = None) -> Any:
        """One request. Raises NodeUnreachable if there is no usable answer, NodeRefused for an error answer."""
        message = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = self.__transport.exchange(message, timeout, again=method in _READS)
        if not isinstance(answer, dict):
            raise self._unusable(method, "it is not a JSON-RPC answer")
        return self.__result(answer, 1, method)

    def batch(self, calls: Sequence[tuple[str, Sequence[Any]]], *, timeout: float | None = None) -> list[Any]:
        """Many requests in as few messages as the node takes; answers in the order asked.

        An item that the node answered with an error is a NodeRefused in its place, not raised: the others count.
        Raises NodeUnreachable if any item has no usable answer. A node that refuses batches is asked one by one, if
        asking changes nothing; else raises NodeRefused.
        """
        answers: list[Any] = []
        reads = all(method in _READS for method, _ in calls)
        for start in range(0, len(calls), MOST_IN_BATCH):
            chunk = calls[start : start + MOST_IN_BATCH]
            try:
                if self.__takes_batches or not reads:
                    answers.extend(self.__batch(chunk, timeout))
                    continue
            except NodeRefused:
                if not reads:
                    raise
                self.__takes_batches = False
            answers.extend(self.__one_by_one(chunk, timeout))
        return answers

    def __one_by_one(self, calls: Sequence[tuple[str, Sequence[Any]]], timeout: float | None) -> list[Any]:
        answers: list[Any] = []
        for method, params in calls:
            try:
                answers.append(self.call(method, params, timeout=timeout))
            except NodeRefused as refusal:
                answers.append(refusal)
        return answers

    def __batch(self, calls: Sequence[tuple[str, Sequence[Any]]], timeout: float | None) -> list[Any]:
        message = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            for number, (method, params) in enumerate(calls, start=1)
        ]
        answer = self.__transport.exchange(message, timeout, again=all(method in _READS for method, _ in calls))
        if isinstance(answer, dict):
            self.__result(answer, None, "a batch of requests")
            raise self._unusable("a batch of requests", "it is one answer for many")
        if not isinstance(answer, list):
            raise self._unusable("a batch of requests", "it is not a JSON-RPC answer")
        by_id: dict[int, dict[str, Any]] = {}
        for item in answer:
            number = item.get("id") if isinstance(item, dict) else None
            if type(number) is not int or not 1 <= number <= len(calls) or number in by_id:
                raise self._unusable("a batch of requests", "it holds an answer to something not asked")
            by_id[number] = item
        results: list[Any] = []
        for number, (method, _) in enumerate(calls, start=1):
            if number not in by_id:
                raise self._unusable("a batch of requests", f"the answer to {method} is missing")
            try:
                results.append(self.__result(by_id[number], number, method))
            except NodeRefused as refusal:
                results.append(refusal)
        return results

    # ---------------------------------------------------------------------------------------------------- chain reads

    def chain_id(self) -> int:
        return self._quantity("eth_chainId", self.call("eth_chainId"))

    def genesis_hash(self) -> str:
        """Hash of block 0: tells a restarted development chain from its predecessor."""
        return self.block(0).hash

    def head(self) -> Block:
        return self.block("latest")

    def block(self, block: BlockId) -> Block:
        """A block by number, tag or hash. Raises ChainProblem if the node does not have it."""
        method, params = _block_query(block)
        answer = self.call(method, params)
        if answer is None:
            raise ChainProblem(f"the node at {self.shown_url} has no block {block}")
        return self.__block(method, answer, block)

    def finalized(self, finality_blocks: int | None = None) -> int:
        """Number of the newest final block: the node's own word, or head minus `finality_blocks` (0 = head itself).

        Raises ChainProblem if it was left to a node that does not know finality.
        """
        if finality_blocks is not None:
            return max(0, self.head().number - finality_blocks)
        answer: Any = None
        with contextlib.suppress(NodeRefused):
            answer = self.call("eth_getBlockByNumber", ["finalized", False])
        if answer is None:
            raise ChainProblem(
                f"the node at {self.shown_url} does not tell which block is final",
                mend="set finality_blocks under [chain] in program.toml",
            )
        return self.__block("eth_getBlockByNumber", answer, "finalized").number

    def block_gas_limit(self) -> int:
        """Gas that the newest block may hold: no transaction can use more."""
        answer = self.call("eth_getBlockByNumber", ["latest", False])
        if not isinstance(answer, dict):
            raise self._unusable("eth_getBlockByNumber", "it is not a block")
        return self._quantity("eth_getBlockByNumber", answer.get("gasLimit"))

    def code(self, address: Address, block: BlockId = "latest") -> bytes:
        return self._bytes("eth_getCode", self.call("eth_getCode", [address, _block_param(block)]))

    def balance(self, address: Address, block: BlockId = "latest") -> int:
        """In wei."""
        return self._quantity("eth_getBalance", self.call("eth_getBalance", [address, _block_param(block)]))

    def nonce(self, address: Address, block: BlockId = "latest") -> int:
        """Number of the address's next transaction as of a block."""
        method = "eth_getTransactionCount"
        return self._quantity(method, self.call(method, [address, _block_param(block)]))

    def eth_call(self, to: Address | None, data: bytes, block: BlockId = "latest") -> bytes:
        """The answer of a contract as of a block; a block hash pins it (EIP-1898). Raises Reverted."""
        return self._bytes("eth_call", self.__try("eth_call", [Call(to, data).to_json(), _block_param(block)]))

    def eth_calls(self, calls: Sequence[tuple[Address, bytes]], block: BlockId = "latest") -> list[bytes | Reverted]:
        """Many reads in as few messages as the node takes. A call that reverted is a Reverted in its place.

        Pin `block` to a hash when the answers must belong together. Raises NodeRefused for any other refusal.
        """
        where = _block_param(block)
        results: list[bytes | Reverted] = []
        for answer in self.batch([("eth_call", [Call(to, data).to_json(), where]) for to, data in calls]):
            if isinstance(answer, NodeRefused):
                reverted = as_reverted(answer)
                if reverted is None:
                    raise answer
                results.append(reverted)
            else:
                results.append(self._bytes("eth_call", answer))
        return results

    def estimate_gas(self, call: Call, block: BlockId | None = None) -> int:
        """Gas the call would use. Raises Reverted if it would revert."""
        params: list[Any] = [call.to_json()]
        if block is not None:
            params.append(_block_param(block))
        return self._quantity("eth_estimateGas", self.__try("eth_estimateGas", params))

    def fees(self) -> FeeMarket:
        """What gas costs now. A node without `eth_maxPriorityFeePerGas` is asked for its gas price instead."""
        method = "eth_maxPriorityFeePerGas"
        head, tip = self.batch([("eth_getBlockByNumber", ["latest", False]), (method, [])])
        base_fee = self.read_block(head).base_fee
        if isinstance(tip, NodeRefused):
            gas_price = self._quantity("eth_gasPrice", self.call("eth_gasPrice"))
            return FeeMarket(base_fee, max(0, gas_price - (base_fee or 0)))
        return FeeMarket(base_fee, self._quantity(method, tip))

    def receipts(self, hashes: Sequence[str]) -> list[Receipt | None]:
        """Receipts in the order asked; None = not mined as far as this node knows.

        Raises NodeRefused if the node can't say for one of them: that is not the same as None.
        """
        answers = self.batch([("eth_getTransactionReceipt", [tx_hash]) for tx_hash in hashes])
        return [self.read_receipt(tx_hash, answer) for tx_hash, answer in zip(hashes, answers, strict=True)]

    def logs(
        self, addresses: Sequence[Address], topics: Sequence[str | Sequence[str] | None], first: int, last: int
    ) -> list[Log]:
        """Logs of contracts in the blocks `first` to `last`, both included."""
        query = {"address": list(addresses), "topics": list(topics), "fromBlock": hex(first), "toBlock": hex(last)}
        answer = self.call("eth_getLogs", [query])
        if not isinstance(answer, list):
            raise self._unusable("eth_getLogs", "it is not a list")
        logs = [self.__log("eth_getLogs", item) for item in answer]
        wanted = set(addresses)
        if any(log.address not in wanted or not first <= log.block_number <= last for log in logs):
            raise self._unusable("eth_getLogs", "it holds logs not asked for")
        return logs

    def log_items(
        self, addresses: Sequence[str], topics: Sequence[str], first: int, last: int
    ) -> tuple[list[Any], Block | None]:
        """Logs of the blocks `first` to `last` that begin with one of `topics`, as the node wrote them, and its block
        `last`: chain/facts.py reads them by hand, for they may be very many.

        Both are asked in one message, so that behind a balancer the same node answers both: without the block, or with
        another one than expected, the logs are not of the chain that is meant, or not all.
        """
        query = {"address": list(addresses), "topics": [list(topics)], "fromBlock": hex(first), "toBlock": hex(last)}
        items, block = self.batch([("eth_getLogs", [query]), _block_query(last)])
        for answer in (items, block):
            if isinstance(answer, NodeRefused):
                raise answer
        return self._list("eth_getLogs", items), None if block is None else self.read_block(block, last)

    def log_items_of(self, block_hash: str, addresses: Sequence[str], topics: Sequence[str]) -> list[Any]:
        """As `log_items`, of one block by its hash."""
        query = {"address": list(addresses), "topics": [list(topics)], "blockHash": block_hash}
        return self._list("eth_getLogs", self.call("eth_getLogs", [query]))

    def receipt_log_items(self, block_hash: str) -> list[Any]:
        """All logs of a block as its receipts hold them, as the node wrote them. Raises NodeRefused where the node does
        not know the request."""
        method = "eth_getBlockReceipts"
        found: list[Any] = []
        for receipt in self._list(method, self.call(method, [block_hash])):
            if not isinstance(receipt, dict):
                raise self._unusable(method, "it is not a receipt")
            found += self._list(method, receipt.get("logs"))
        return found

    def unusable(self, method: str, why: str) -> NodeUnreachable:
        """The error for an answer that only its reader can see is no use."""
        return self._unusable(method, why)

    # -------------------------------------------------------------------------------------------------------- sending

    def send_raw(self, raw: bytes) -> Hint:
        """Hand signed bytes to the node, once. Never raises: whatever happens, they may be on their way."""
        return self.send_raw_many([raw])[0]

    def send_raw_many(self, raws: Sequence[bytes]) -> list[Hint]:
        """Hand signed transactions to the node in as few messages as it takes, in this order, each once."""
        hints: list[Hint] = []
        for start in range(0, len(raws), MOST_IN_BATCH):
            chunk = raws[start : start + MOST_IN_BATCH]
            calls = [("eth_sendRawTransaction", [_hex(raw)]) for raw in chunk]
            answers: Iterable[Any] | None
            try:
                answers = self.batch(calls) if len(calls) > 1 and self.__takes_batches else None
            except NodeRefused:
                # Sent once more, the same bytes change nothing.
                self.__takes_batches, answers = False, None
            except ChainProblem as problem:
                answers = [problem] * len(chunk)
            if answers is None:
                answers = [self.__sent(*call) for call in calls]
            hints.extend(_hint(raw, answer) for raw, answer in zip(chunk, answers, strict=True))
        return hints

    def __sent(self, method: str, params: Sequence[Any]) -> Any:
        try:
            return self.call(method, params)
        except ChainProblem as problem:
            return problem

    # --------------------------------------------------------------------------------------- development nodes only

    def accounts(self) -> list[Address]:
        """Accounts that a development node signs for; empty on a real one."""
        try:
            answer = self.call("eth_accounts")
        except NodeRefused:
            return []
        if not isinstance(answer, list):
            raise self._unusable("eth_accounts", "it is not a list")
        return [self._address("eth_accounts", item) for item in answer]

    def send_unlocked(self, sender: Address, to: Address | None, value: int = 0, data: bytes = b"") -> str:
        """Let a development node sign and send from one of its own accounts. Returns the transaction's hash."""
        fields = Call(to, data, sender=sender, value=value).to_json()
        return self._hash("eth_sendTransaction", self.call("eth_sendTransaction", [fields]))

    # -------------------------------------------------------------------------------------------------------- answers

    def read_block(self, answer: Any, asked: BlockId = "latest") -> Block:
        """A block from an item of `batch`. Raises what the item is if the node refused it."""
        if isinstance(answer, NodeRefused):
            raise answer
        return self.__block("eth_getBlockByNumber", answer, asked)

    def read_receipt(self, tx_hash: str, answer: Any, topics: Collection[str] | None = None) -> Receipt | None:
        """The receipt of `tx_hash` from an item of `batch`. Raises what the item is if the node refused it.

        With `topics` only logs with one of these first topics are read and kept: a receipt may hold thousands.
        """
        method = "eth_getTransactionReceipt"
        if answer is None:
            return None
        if isinstance(answer, NodeRefused):
            raise answer
        if not isinstance(answer, dict):
            raise self._unusable(method, "it is not a receipt")
        if self._hash(method, answer.get("transactionHash")) != tx_hash.lower():
            raise self._unusable(method, "it is about another transaction")
        status = self._quantity(method, answer.get("status"))
        if status not in (0, 1):
            raise self._unusable(method, f"the status is {status}")
        block_hash = self._hash(method, answer.get("blockHash"))
        items = answer.get("logs")
        if not isinstance(items, list):
            raise self._unusable(method, "it has no logs")
        if topics is not None:
            items = [item for item in items if _first_topic(item) in topics]
        logs = tuple([self.__log(method, item) for item in items])
        if any(log.tx_hash != tx_hash.lower() or log.block_hash != block_hash for log in logs):
            raise self._unusable(method, "it holds logs of another transaction")
        created = answer.get("contractAddress")
        price, data_fee = answer.get("effectiveGasPrice"), answer.get("l1Fee")
        return Receipt(
            tx_hash=tx_hash.lower(),
            block_number=self._quantity(method, answer.get("blockNumber")),
            block_hash=block_hash,
            succeeded=status == 1,
            gas_used=self._quantity(method, answer.get("gasUsed")),
            gas_price_wei=0 if price is None else self._quantity(method, price),
            contract_address=None if created is None else self._address(method, created),
            data_fee_wei=None if data_fee is None else self._quantity(method, data_fee),
            logs=logs,
        )

    def read_quantity(self, method: str, answer: Any) -> int:
        """A number from an item of `batch`. Raises what the item is if the node refused it."""
        if isinstance(answer, NodeRefused):
            raise answer
        return self._quantity(method, answer)

    def __block(self, method: str, answer: Any, asked: BlockId) -> Block:
        if not isinstance(answer, dict):
            raise self._unusable(method, "it is not a block")
        base_fee = answer.get("baseFeePerGas")
        block = Block(
            number=self._quantity(method, answer.get("number")),
            hash=self._hash(method, answer.get("hash")),
            parent_hash=self._hash(method, answer.get("parentHash")),
            timestamp=self._quantity(method, answer.get("timestamp")),
            base_fee=None if base_fee is None else self._quantity(method, base_fee),
            logs_bloom=self._bloom(method, answer.get("logsBloom")),
        )
        expected: BlockId = block.number if isinstance(asked, int) else block.hash if _is_hash(asked) else asked
        if expected != (asked.lower() if isinstance(asked, str) else asked):
            raise self._unusable(method, "it is another block")
        return block

    def __log(self, method: str, item: Any) -> Log:
        if not isinstance(item, dict) or item.get("removed") is True:
            raise self._unusable(method, "it holds something that is no log")
        topics = item.get("topics")
        if not isinstance(topics, list) or len(topics) > 4:
            raise self._unusable(method, "it holds a log without topics")
        return Log(
            address=self._address(method, item.get("address")),
            topics=tuple([self._topic(method, topic) for topic in topics]),
            data=self._bytes(method, item.get("data")),
            index=self._quantity(method, item.get("logIndex")),
            tx_hash=self._hash(method, item.get("transactionHash")),
            block_number=self._quantity(method, item.get("blockNumber")),
            block_hash=self._hash(method, item.get("blockHash")),
        )

    def _quantity(self, method: str, value: Any) -> int:
        if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
            raise self._unusable(method, "a number is missing or malformed")
        return int(value, 16)

    def _hash(self, method: str, value: Any) -> str:
        found = _to_hash(value) if isinstance(value, str) else None
        if found is None:
            raise self._unusable(method, "a hash is missing or malformed")
        return found

    def _topic(self, method: str, value: Any) -> str:
        if not isinstance(value, str) or not _HASH.fullmatch(value):
            raise self._unusable(method, "a topic is missing or malformed")
        return value.lower()

    def _address(self, method: str, value: Any) -> Address:
        if not isinstance(value, str) or not _ADDRESS.fullmatch(value):
            raise self._unusable(method, "an address is missing or malformed")
        return _to_address(value)

    def _bloom(self, method: str, value: Any) -> int | None:
        if value is None:
            return None
        if not isinstance(value, str) or not _BLOOM.fullmatch(value):
            raise self._unusable(method, "the bloom is malformed")
        return int(value, 16)

    def _bytes(self, method: str, value: Any) -> bytes:
        if not isinstance(value, str) or not _BYTES.fullmatch(value):
            raise self._unusable(method, "the bytes are missing or malformed")
        return bytes.fromhex(value[2:])

    def _list(self, method: str, value: Any) -> list[Any]:
        if not isinstance(value, list):
            raise self._unusable(method, "it is not a list")
        return value

    def _unusable(self, method: str, why: str) -> NodeUnreachable:
        return NodeUnreachable(self.shown_url, f"what came back for {method} is no use: {why}")

    # -------------------------------------------------------------------------------------------------------- results

    def __try(self, method: str, params: Sequence[Any]) -> Any:
        try:
            return self.call(method, params)
        except NodeRefused as refusal:
            reverted = as_reverted(refusal)
            if reverted is None:
                raise
        raise reverted

    def __result(self, answer: Mapping[str, Any], number: int | None, method: str) -> Any:
        error = answer.get("error")
        if error is not None:
            # A node that could not even read the request may answer with the id null.
            if number is not None and answer.get("id") not in (number, None):
                raise self._unusable(method, "it answers another request")
            if not isinstance(error, dict):
                raise NodeRefused(method, 0, self.__transport.safe(str(error)))
            rpc_code = error.get("code")
            raise NodeRefused(
                method,
                rpc_code if type(rpc_code) is int else 0,
                self.__transport.safe(str(error.get("message", ""))),
                _error_data(error.get("data")),
            )
        if number is None:
            return None
        if answer.get("id") != number or type(answer.get("id")) is not int:
            raise self._unusable(method, "it answers another request")
        if "result" not in answer:
            raise self._unusable(method, "it has neither a result nor an error")
        return answer["result"]


def as_reverted(refusal: NodeRefused) -> Reverted | None:
    """The contract's error in a refused call, or None if something else was refused.

    Revert bytes tell; without any, the node's words are all there is. That may decide what a failed *read* is called,
    never what happened to a transaction.
    """
    if refusal.data:
        data = bytes.fromhex(refusal.data[2:])
        name, values = decode_error(data)
        told = explain(name, values)
        if told is None:
            return Reverted(name, values, refusal.data)
        return Reverted(name, values, refusal.data, sentence=told.sentence, mend=told.mend, code=told.code)
    if refusal.rpc_code == _REVERT_CODE or "revert" in refusal.rpc_message.lower():
        return Reverted("", {})
    return None


def _first_topic(log: Any) -> Any:
    found = log.get("topics") if isinstance(log, dict) else None
    return found[0].lower() if isinstance(found, list) and found and isinstance(found[0], str) else None


def _hint(raw: bytes, answer: Any) -> Hint:
    tx_hash = "0x" + keccak(raw).hex()
    if isinstance(answer, NodeRefused):
        return Hint(HintKind.REFUSED, f"{answer.rpc_message} ({answer.rpc_code})")
    if isinstance(answer, ChainProblem):
        return Hint(HintKind.UNKNOWN, answer.message)
    if isinstance(answer, str) and answer.lower() == tx_hash:
        return Hint(HintKind.ACCEPTED, "")
    return Hint(HintKind.UNKNOWN, "the node answered with another hash")


def _error_data(data: Any) -> str:
    """Revert bytes as 0x-hex wherever nodes put them: plain, after a word (`Reverted 0x..`), or in a nested object."""
    for _ in range(4):
        if not isinstance(data, dict):
            break
        data = data.get("data", data.get("result"))
    if not isinstance(data, str):
        return ""
    last = data.rpartition(" ")[2]
    return last.lower() if len(last) > 2 and _BYTES.fullmatch(last) else ""


def _block_query(block: BlockId) -> tuple[str, list[Any]]:
    if _is_hash(block):
        return "eth_getBlockByHash", [block, False]
    return "eth_getBlockByNumber", [hex(block) if isinstance(block, int) else block, False]


def _block_param(block: BlockId) -> Any:
    if isinstance(block, int):
        return hex(block)
    return {"blockHash": block, "requireCanonical": True} if _is_hash(block) else block


def _is_hash(block: BlockId) -> bool:
    return isinstance(block, str) and _HASH.fullmatch(block) is not None


def _hex(data: bytes) -> str:
    return "0x" + data.hex()


@lru_cache(maxsize=256)
def _to_hash(text: str) -> str | None:
    """The hashes of a transaction and its block stand in thousands of logs."""
    return text.lower() if _HASH.fullmatch(text) else None


@lru_cache(maxsize=4096)
def _to_address(text: str) -> Address:
    """Logs of a run come from few contracts, and a checksum costs a hash."""
    return checksummed(text[2:].lower())
