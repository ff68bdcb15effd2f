"""How the Ethereum JSON-RPC writes things: parameters read strictly, results written as other nodes write them.

Quantities are 0x-hex without leading zeros, data is 0x-hex of whole bytes. A parameter that breaks this is refused, as
geth refuses it, so that a client which works here works elsewhere.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

from eth.abc import (
    BlockAPI,
    BlockHeaderAPI,
    ComputationAPI,
    LogAPI,
    ReceiptAPI,
    SetCodeAuthorizationAPI,
    SignedTransactionAPI,
)
from eth.exceptions import Revert
from eth_abi.abi import decode
from eth_abi.exceptions import DecodingError
from eth_typing import Address
from eth_utils.crypto import keccak

PARSE_ERROR = -32700
INVALID_REQUEST = -32600
METHOD_NOT_FOUND = -32601
INVALID_PARAMS = -32602
INTERNAL_ERROR = -32603
SERVER_ERROR = -32000
NOT_FOUND = -32001
REVERTED = 3

TAGS = frozenset({"earliest", "finalized", "safe", "latest", "pending"})
ERROR_STRING = bytes.fromhex("08c379a0")
"""Selector of Solidity's `Error(string)`."""

LEGACY, ACCESS_LIST, DYNAMIC_FEE, BLOB, SET_CODE = range(5)

BlockRef: TypeAlias = str | int | bytes
"""A tag, a block number or a block hash."""
AccessList: TypeAlias = tuple[tuple[Address, tuple[int, ...]], ...]
JsonObject: TypeAlias = dict[str, Any]

_QUANTITY = re.compile(r"0x(0|[1-9a-fA-F][0-9a-fA-F]{0,63})")
_DATA = re.compile(r"0x([0-9a-fA-F]{2})*")


class RpcError(Exception):
    """The `error` of a JSON-RPC answer. `data` is 0x-hex, or None when there is none."""

    def __init__(self, code: int, message: str, data: str | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.message = message
        self.data = data

    def to_json(self) -> JsonObject:
        error: JsonObject = {"code": self.code, "message": self.message}
        if self.data is not None:
            error["data"] = self.data
        return error


def invalid(what: str) -> RpcError:
    return RpcError(INVALID_PARAMS, what)


# Reading


def read_quantity(value: Any, name: str) -> int:
    if not isinstance(value, str) or not _QUANTITY.fullmatch(value):
        raise invalid(f"{name} must be a quantity: 0x-hex of at most 256 bits without leading zeros")
    return int(value, 16)


def read_data(value: Any, name: str, size: int | None = None) -> bytes:
    """`size` is the exact number of bytes; None takes any."""
    if not isinstance(value, str) or not _DATA.fullmatch(value):
        raise invalid(f"{name} must be data: 0x-hex of whole bytes")
    data = bytes.fromhex(value[2:])
    if size is not None and len(data) != size:
        raise invalid(f"{name} must be {size} bytes, not {len(data)}")
    return data


def read_address(value: Any, name: str) -> Address:
    return Address(read_data(value, name, 20))


def read_block(value: Any) -> BlockRef:
    """A tag, a quantity, a bare block hash, or an EIP-1898 object."""
    if isinstance(value, dict):
        if "blockHash" in value and "blockNumber" not in value:
            return read_data(value["blockHash"], "blockHash", 32)
        if "blockNumber" in value and "blockHash" not in value:
            return read_block(value["blockNumber"])
        raise invalid("a block object needs either blockHash or blockNumber")
    if isinstance(value, str) and value in TAGS:
        return value
    if isinstance(value, str) and len(value) == 66:
        return read_data(value, "block hash", 32)
    return read_quantity(value, "block number")


def read_slot(value: Any) -> int:
    """A storage slot: a quantity, or 32 bytes of data."""
    if isinstance(value, str) and len(value) == 66:
        return int.from_bytes(read_data(value, "slot", 32), "big")
    return read_quantity(value, "slot")


@dataclass(frozen=True)
class CallFields:
    """A transaction object as eth_call, eth_estimateGas and eth_sendTransaction take it. `to` is b"" for a creation."""

    sender: Address | None
    to: Address
    data: bytes
    value: int
    gas: int | None
    nonce: int | None
    chain_id: int | None
    gas_price: int | None
    max_fee: int | None
    max_priority_fee: int | None
    access_list: AccessList


def read_call(value: Any) -> CallFields:
    if not isinstance(value, dict):
        raise invalid("a transaction must be an object")
    for key in ("authorizationList", "blobVersionedHashes", "maxFeePerBlobGas"):
        if value.get(key):
            raise invalid(f"{key} is not supported here; send such a transaction signed")

    def quantity(name: str) -> int | None:
        given = value.get(name)
        return None if given is None else read_quantity(given, name)

    data, input_ = value.get("data"), value.get("input")
    if data is not None and input_ is not None and str(data).lower() != str(input_).lower():
        raise invalid("data and input are both given and differ")
    payload = data if input_ is None else input_
    gas_price, max_fee, tip = quantity("gasPrice"), quantity("maxFeePerGas"), quantity("maxPriorityFeePerGas")
    if gas_price is not None and (max_fee is not None or tip is not None):
        raise invalid("gasPrice can't be given together with maxFeePerGas or maxPriorityFeePerGas")
    return CallFields(
        sender=None if value.get("from") is None else read_address(value["from"], "from"),
        to=Address(b"") if value.get("to") is None else read_address(value["to"], "to"),
        data=b"" if payload is None else read_data(payload, "data"),
        value=quantity("value") or 0,
        gas=quantity("gas"),
        nonce=quantity("nonce"),
        chain_id=quantity("chainId"),
        gas_price=gas_price,
        max_fee=max_fee,
        max_priority_fee=tip,
        access_list=_read_access_list(value.get("accessList")),
    )


def _read_access_list(value: Any) -> AccessList:
    if value is None:
        return ()
    if not isinstance(value, list) or not all(isinstance(item, dict) for item in value):
        raise invalid("accessList must be a list of objects")
    return tuple(
        (
            read_address(item.get("address"), "accessList address"),
            tuple(int.from_bytes(read_data(key, "storageKeys", 32), "big") for key in item.get("storageKeys") or ()),
        )
        for item in value
    )


@dataclass(frozen=True)
class LogFilter:
    """What eth_getLogs asks for. Empty `addresses` and None in `topics` match everything."""

    block_hash: bytes | None
    first: BlockRef
    last: BlockRef
    addresses: frozenset[bytes]
    topics: tuple[frozenset[int] | None, ...]

    def matches(self, log: LogAPI) -> bool:
        if self.addresses and log.address not in self.addresses:
            return False
        if len(self.topics) > len(log.topics):
            return False
        # The filter may name fewer topics than the log has.
        return all(wanted is None or found in wanted for wanted, found in zip(self.topics, log.topics, strict=False))


def read_log_filter(value: Any) -> LogFilter:
    if not isinstance(value, dict):
        raise invalid("a log filter must be an object")
    block_hash = value.get("blockHash")
    if block_hash is not None and (value.get("fromBlock") is not None or value.get("toBlock") is not None):
        raise invalid("blockHash can't be given together with fromBlock or toBlock")
    addresses = value.get("address")
    if addresses is None:
        addresses = []
    elif not isinstance(addresses, list):
        addresses = [addresses]
    topics = value.get("topics") or []
    if not isinstance(topics, list) or len(topics) > 4:
        raise invalid("topics must be a list of at most four")
    return LogFilter(
        block_hash=None if block_hash is None else read_data(block_hash, "blockHash", 32),
        first=read_block(value.get("fromBlock") or "latest"),
        last=read_block(value.get("toBlock") or "latest"),
        addresses=frozenset(bytes(read_address(address, "address")) for address in addresses),
        topics=tuple(_read_topic(topic) for topic in topics),
    )


def _read_topic(value: Any) -> frozenset[int] | None:
    """One place of the topics: null or [] for any, a topic, or a list of which one must match."""
    if value is None or value == []:
        return None
    choices = value if isinstance(value, list) else [value]
    if None in choices:
        return None
    return frozenset(int.from_bytes(read_data(choice, "topic", 32), "big") for choice in choices)


# Writing


def hex_quantity(value: int) -> str:
    return hex(value)


def hex_data(value: bytes) -> str:
    return "0x" + value.hex()


def hex_word(value: int) -> str:
    """32 bytes: topics and storage."""
    return f"0x{value:064x}"


@dataclass(frozen=True)
class MinedBlock:
    """A block with what is asked about it again and again. `senders` and `receipts` follow `block.transactions`."""

    block: BlockAPI
    receipts: tuple[ReceiptAPI, ...]
    senders: tuple[Address, ...]

    @property
    def header(self) -> BlockHeaderAPI:
        return self.block.header


def block_json(mined: MinedBlock, size: int, full: bool) -> JsonObject:
    """`size` is the length of the block's RLP in bytes. `full` writes whole transactions instead of their hashes."""
    # py-evm's header interface ends before the fields of Cancun and Prague.
    header: Any = mined.header
    return {
        "number": hex_quantity(header.block_number),
        "hash": hex_data(header.hash),
        "parentHash": hex_data(header.parent_hash),
        "nonce": hex_data(header.nonce),
        "sha3Uncles": hex_data(header.uncles_hash),
        "logsBloom": _bloom(header.bloom),
        "transactionsRoot": hex_data(header.transaction_root),
        "stateRoot": hex_data(header.state_root),
        "receiptsRoot": hex_data(header.receipt_root),
        "miner": hex_data(header.coinbase),
        "difficulty": hex_quantity(header.difficulty),
        "totalDifficulty": hex_quantity(header.difficulty),
        "extraData": hex_data(header.extra_data),
        "size": hex_quantity(size),
        "gasLimit": hex_quantity(header.gas_limit),
        "gasUsed": hex_quantity(header.gas_used),
        "timestamp": hex_quantity(header.timestamp),
        "baseFeePerGas": hex_quantity(base_fee(header)),
        "mixHash": hex_data(header.mix_hash),
        "withdrawals": [],
        "withdrawalsRoot": hex_data(header.withdrawals_root),
        "blobGasUsed": hex_quantity(header.blob_gas_used),
        "excessBlobGas": hex_quantity(header.excess_blob_gas),
        "parentBeaconBlockRoot": hex_data(header.parent_beacon_block_root),
        "requestsHash": hex_data(header.requests_hash),
        "uncles": [],
        "transactions": [
            transaction_json(mined, index) if full else hex_data(transaction.hash)
            for index, transaction in enumerate(mined.block.transactions)
        ],
    }


def transaction_json(mined: MinedBlock, index: int) -> JsonObject:
    transaction = mined.block.transactions[index]
    kind = transaction_type(transaction)
    shown: JsonObject = {
        "blockHash": hex_data(mined.header.hash),
        "blockNumber": hex_quantity(mined.header.block_number),
        "transactionIndex": hex_quantity(index),
        "hash": hex_data(transaction.hash),
        "type": hex_quantity(kind),
        "from": hex_data(mined.senders[index]),
        "to": _recipient(transaction),
        "nonce": hex_quantity(transaction.nonce),
        "value": hex_quantity(transaction.value),
        "gas": hex_quantity(transaction.gas),
        "gasPrice": hex_quantity(paid_gas_price(mined.header, transaction)),
        "input": hex_data(transaction.data),
        "r": hex_quantity(transaction.r),
        "s": hex_quantity(transaction.s),
    }
    if transaction.chain_id is not None:
        shown["chainId"] = hex_quantity(transaction.chain_id)
    if kind == LEGACY:
        # Only legacy transactions carry v, and py-evm's shared interface leaves it out.
        return shown | {"v": hex_quantity(cast(Any, transaction).v)}
    shown["v"] = shown["yParity"] = hex_quantity(transaction.y_parity)
    shown["accessList"] = [
        {"address": hex_data(address), "storageKeys": [hex_word(key) for key in keys]}
        for address, keys in transaction.access_list
    ]
    if kind != ACCESS_LIST:
        shown["maxFeePerGas"] = hex_quantity(transaction.max_fee_per_gas)
        shown["maxPriorityFeePerGas"] = hex_quantity(transaction.max_priority_fee_per_gas)
    if kind == SET_CODE:
        shown["authorizationList"] = [_authorization_json(each) for each in transaction.authorization_list]
    return shown


def receipt_json(mined: MinedBlock, index: int) -> JsonObject:
    transaction, receipt = mined.block.transactions[index], mined.receipts[index]
    before = mined.receipts[index - 1].gas_used if index else 0
    created = None
    if not transaction.to:
        created = hex_data(creation_address(mined.senders[index], transaction.nonce))
    return {
        "type": hex_quantity(transaction_type(transaction)),
        "status": hex_quantity(int.from_bytes(receipt.state_root, "big")),
        "transactionHash": hex_data(transaction.hash),
        "transactionIndex": hex_quantity(index),
        "blockHash": hex_data(mined.header.hash),
        "blockNumber": hex_quantity(mined.header.block_number),
        "from": hex_data(mined.senders[index]),
        "to": _recipient(transaction),
        "contractAddress": created,
        "gasUsed": hex_quantity(receipt.gas_used - before),
        "cumulativeGasUsed": hex_quantity(receipt.gas_used),
        "effectiveGasPrice": hex_quantity(paid_gas_price(mined.header, transaction)),
        "logsBloom": _bloom(receipt.bloom),
        "logs": logs_json(mined, index),
    }


def logs_json(mined: MinedBlock, index: int, wanted: LogFilter | None = None) -> list[JsonObject]:
    """The logs of one transaction; `logIndex` counts through the block."""
    first = sum(len(receipt.logs) for receipt in mined.receipts[:index])
    return [
        {
            "address": hex_data(log.address),
            "topics": [hex_word(topic) for topic in log.topics],
            "data": hex_data(log.data),
            "blockNumber": hex_quantity(mined.header.block_number),
            "blockHash": hex_data(mined.header.hash),
            "blockTimestamp": hex_quantity(mined.header.timestamp),
            "transactionHash": hex_data(mined.block.transactions[index].hash),
            "transactionIndex": hex_quantity(index),
            "logIndex": hex_quantity(log_index),
            "removed": False,
        }
        for log_index, log in enumerate(mined.receipts[index].logs, first)
        if wanted is None or wanted.matches(log)
    ]


def failed_call(computation: ComputationAPI) -> RpcError:
    """The error of a call that did not end well: code 3 with the revert bytes, or what stopped the machine."""
    if not isinstance(computation.error, Revert):
        return RpcError(SERVER_ERROR, _stop_reason(computation))
    output = bytes(computation.output)
    message = "execution reverted"
    if output[:4] == ERROR_STRING:
        # A contract may write anything behind the selector; the bytes are in `data` either way.
        with suppress(DecodingError, UnicodeDecodeError):
            message = f"{message}: {decode(['string'], output[4:])[0]}"
    return RpcError(REVERTED, message, hex_data(output))


def _stop_reason(computation: ComputationAPI) -> str:
    """py-evm's class names read like geth's messages, OutOfGas becomes "out of gas"; its own words follow."""
    words = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", type(computation.error).__name__).lower()
    return f"{words}: {computation.error}" if str(computation.error) else words


def base_fee(header: BlockHeaderAPI) -> int:
    return header.base_fee_per_gas or 0


def paid_gas_price(header: BlockHeaderAPI, transaction: SignedTransactionAPI) -> int:
    """Wei per gas (EIP-1559); for older types both limits are the gas price."""
    return min(transaction.max_fee_per_gas, transaction.max_priority_fee_per_gas + base_fee(header))


def transaction_type(transaction: SignedTransactionAPI) -> int:
    return transaction.type_id or LEGACY


def creation_address(sender: Address, nonce: int) -> Address:
    """Where CREATE puts a contract: the last 20 bytes of keccak(rlp([sender, nonce]))."""
    digits = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    encoded_nonce = digits if len(digits) == 1 and digits[0] < 0x80 else bytes([0x80 + len(digits)]) + digits
    payload = bytes([0x80 + 20]) + sender + encoded_nonce
    return Address(keccak(bytes([0xC0 + len(payload)]) + payload)[12:])


def _recipient(transaction: SignedTransactionAPI) -> str | None:
    return hex_data(transaction.to) if transaction.to else None


def _authorization_json(authorization: SetCodeAuthorizationAPI) -> Mapping[str, str]:
    return {
        "chainId": hex_quantity(authorization.chain_id),
        "address": hex_data(authorization.address),
        "nonce": hex_quantity(authorization.nonce),
        "yParity": hex_quantity(authorization.y_parity),
        "r": hex_quantity(authorization.r),
        "s": hex_quantity(authorization.s),
    }


def _bloom(value: int) -> str:
    return f"0x{value:0512x}"
