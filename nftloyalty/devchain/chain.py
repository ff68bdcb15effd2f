"""One development chain: eth-tester's py-evm chain with a JSON-RPC face.

eth-tester makes the genesis, the funded accounts and the chain (fork Prague, one block a transaction, no pool: a nonce
gap is an error). Requests are answered from py-evm itself, because eth-tester's own request layer loses revert bytes,
answers integers, and walks the whole chain for every transaction hash.

A block's time is the wall clock, and at least one second after its parent. The head is final at once. Nothing outlives
the process: a new chain has another genesis hash, whose extra data is random.
"""

import inspect
import logging
import math
import os
import secrets
import threading
import time
from collections.abc import Callable, Iterable, Sequence
from functools import partial
from importlib.metadata import version
from typing import Any, cast

import rlp
from eth.abc import BlockHeaderAPI, ComputationAPI, SignedTransactionAPI, StateAPI
from eth.chains.base import MiningChain
from eth.constants import GENESIS_BLOCK_NUMBER, ZERO_ADDRESS
from eth.exceptions import VMError
from eth.vm.forks.prague import PragueVM
from eth.vm.forks.prague.state import PragueTransactionExecutor
from eth.vm.forks.prague.transactions import PragueTransactionBuilder
from eth.vm.spoof import SpoofTransaction
from eth_keys.datatypes import PrivateKey
from eth_tester.backends.pyevm import PyEVMBackend
from eth_typing import Address
from eth_utils.crypto import keccak
from eth_utils.exceptions import ValidationError

from nftloyalty.devchain import wire
from nftloyalty.devchain.wire import BlockRef, CallFields, JsonObject, MinedBlock, RpcError

CHAIN_ID = 131277322940537
"""eth-tester's chain id; no public chain uses it."""
MNEMONIC = "test test test test test test test test test test test junk"
"""Where the unlocked accounts come from: the same, well-known ones as anvil's and Hardhat's. Worth nothing anywhere."""
HD_PATH = "m/44'/60'/0'/0"
ACCOUNT_BALANCE_WEI = 1_000_000 * 10**18
BLOCK_GAS_LIMIT = 30_000_000
PRIORITY_FEE_WEI = 10**9
MAX_BATCH = 1_000
MAX_FEE_HISTORY = 1_024
MAX_PERCENTILES = 100
ESTIMATE_SLACK = 0.02
"""An estimate may be this share above the least gas that works; each halving costs one more execution."""
CALL_STIPEND = 2_300

log = logging.getLogger(__name__)


class DevChain:
    """A chain with `accounts` funded, unlocked accounts. Safe to call from several threads: one request at a time.

    `clock` answers unix seconds, as `time.time` does.
    """

    def __init__(self, accounts: int = 10, clock: Callable[[], float] = time.time) -> None:
        backend = PyEVMBackend.from_mnemonic(
            MNEMONIC,
            num_accounts=accounts,
            hd_path=HD_PATH,
            genesis_state_overrides={"balance": ACCOUNT_BALANCE_WEI},
            genesis_parameters=PyEVMBackend.generate_genesis_params(
                {"extra_data": secrets.token_bytes(32), "gas_limit": BLOCK_GAS_LIMIT, "timestamp": int(clock())}
            ),
        )
        self._chain = cast(MiningChain, backend.chain)
        self._keys: dict[Address, PrivateKey] = {
            Address(key.public_key.to_canonical_address()): key for key in backend.account_keys
        }
        self._clock = clock
        self._lock = threading.Lock()
        self._ahead_seconds = 0  # what evm_increaseTime has added to the wall clock
        self._blocks = [MinedBlock(self._chain.get_canonical_block_by_number(GENESIS_BLOCK_NUMBER), (), ())]
        self._numbers: dict[bytes, int] = {self._blocks[0].header.hash: 0}
        self._places: dict[bytes, tuple[int, int]] = {}  # transaction hash -> block number, index
        self._methods: dict[str, Callable[..., Any]] = {
            "web3_clientVersion": self._client_version,
            "web3_sha3": self._sha3,
            "net_version": lambda: str(CHAIN_ID),
            "net_listening": lambda: True,
            "eth_chainId": lambda: wire.hex_quantity(CHAIN_ID),
            "eth_syncing": lambda: False,
            "eth_accounts": lambda: [wire.hex_data(address) for address in self._keys],
            "eth_blockNumber": lambda: wire.hex_quantity(self._head.header.block_number),
            "eth_gasPrice": lambda: wire.hex_quantity(wire.base_fee(self._next_header()) + PRIORITY_FEE_WEI),
            "eth_maxPriorityFeePerGas": lambda: wire.hex_quantity(PRIORITY_FEE_WEI),
            "eth_feeHistory": self._fee_history,
            "eth_getBlockByNumber": self._get_block,
            "eth_getBlockByHash": self._get_block_by_hash,
            "eth_getBlockReceipts": self._get_block_receipts,
            "eth_getBalance": self._get_balance,
            "eth_getCode": self._get_code,
            "eth_getStorageAt": self._get_storage,
            "eth_getTransactionCount": self._get_nonce,
            "eth_getTransactionByHash": partial(self._of_transaction, wire.transaction_json),
            "eth_getTransactionReceipt": partial(self._of_transaction, wire.receipt_json),
            "eth_getLogs": self._get_logs,
            "eth_call": self._call,
            "eth_estimateGas": self._estimate,
            "eth_sendTransaction": self._send,
            "eth_sendRawTransaction": self._send_raw,
            "evm_increaseTime": self._increase_time,
            "evm_mine": self._mine_empty,
        }

    # JSON-RPC 2.0

    def handle(self, payload: Any) -> JsonObject | list[JsonObject] | None:
        """The answer to a decoded request or batch. None when nothing in it wanted an answer (notifications)."""
        if not isinstance(payload, list):
            return self._answer(payload)
        if not payload:
            return failure(None, RpcError(wire.INVALID_REQUEST, "empty batch"))
        if len(payload) > MAX_BATCH:
            return failure(None, RpcError(wire.INVALID_REQUEST, f"batch too large: at most {MAX_BATCH} requests"))
        return [answer for request in payload if (answer := self._answer(request)) is not None] or None

    def request(self, method: str, *params: Any) -> Any:
        """One request's result, without the envelope. Raises RpcError."""
        handler = self._methods.get(method)
        if handler is None:
            raise RpcError(wire.METHOD_NOT_FOUND, f"the method {method} does not exist or is not available")
        try:
            inspect.signature(handler).bind(*params)
        except TypeError as error:
            raise wire.invalid(f"{method}: {error}") from None
        with self._lock:
            return handler(*params)

    def _answer(self, request: Any) -> JsonObject | None:
        if not isinstance(request, dict):
            return failure(None, RpcError(wire.INVALID_REQUEST, "a request must be an object"))
        id_ = request.get("id")
        is_number = isinstance(id_, int | float) and not isinstance(id_, bool) and math.isfinite(id_)
        if not (id_ is None or isinstance(id_, str) or is_number):
            return failure(None, RpcError(wire.INVALID_REQUEST, "id must be a string, a number or null"))
        method, params = request.get("method"), request.get("params")
        if request.get("jsonrpc") != "2.0" or not isinstance(method, str):
            return failure(id_, RpcError(wire.INVALID_REQUEST, 'a request needs "jsonrpc": "2.0" and a method'))
        try:
            if params is None:
                params = []
            if not isinstance(params, list):
                raise wire.invalid("params must be a list")
            answer = {"jsonrpc": "2.0", "id": id_, "result": self.request(method, *params)}
        except RpcError as error:
            answer = failure(id_, error)
        except Exception as error:
            # The chain must go on answering whatever one request stumbled over.
            log.exception("%s failed", method)
            answer = failure(id_, RpcError(wire.INTERNAL_ERROR, f"internal error: {type(error).__name__}: {error}"))
        return answer if "id" in request else None

    # Blocks

    @property
    def _head(self) -> MinedBlock:
        return self._blocks[-1]

    def _next_header(self) -> BlockHeaderAPI:
        """The header the next block starts from: the head's state, the time of now."""
        now = int(self._clock()) + self._ahead_seconds
        return self._chain.header.copy(timestamp=max(self._head.header.timestamp + 1, now))

    def _mine(self, transactions: Sequence[SignedTransactionAPI]) -> MinedBlock:
        """Raises py-evm's ValidationError for a transaction that can't be in a block; then nothing has changed."""
        # Set before the execution, so that contracts see the same randomness as the finished header shows.
        self._chain.header = self._next_header().copy(mix_hash=os.urandom(32))
        result, receipts, _ = self._chain.mine_all(transactions)
        mined = MinedBlock(result.imported_block, receipts, tuple(each.sender for each in transactions))
        number = mined.header.block_number
        self._blocks.append(mined)
        self._numbers[mined.header.hash] = number
        self._places.update((each.hash, (number, index)) for index, each in enumerate(mined.block.transactions))
        return mined

    def _find_block(self, ref: BlockRef) -> MinedBlock | None:
        """A mined block; "pending" has none and is the caller's matter."""
        if isinstance(ref, bytes):
            number = self._numbers.get(ref)
            return None if number is None else self._blocks[number]
        if isinstance(ref, int):
            return self._blocks[ref] if ref < len(self._blocks) else None
        return self._blocks[0] if ref == "earliest" else self._head

    def _header_at(self, block: Any) -> BlockHeaderAPI:
        """The header whose state and surroundings a read or call sees."""
        ref = wire.read_block(block)
        if ref == "pending":
            return self._next_header()
        mined = self._find_block(ref)
        if mined is None:
            raise RpcError(wire.NOT_FOUND, "header not found")
        return mined.header

    def _state_at(self, block: Any) -> StateAPI:
        return self._chain.get_vm(self._header_at(block)).state

    def _get_block(self, block: Any, full: Any = False) -> JsonObject | None:
        if not isinstance(full, bool):
            raise wire.invalid("the second parameter must be true or false")
        ref = wire.read_block(block)
        if ref == "pending":
            mined: MinedBlock | None = MinedBlock(self._chain.get_vm(self._next_header()).get_block(), (), ())
        else:
            mined = self._find_block(ref)
        return None if mined is None else wire.block_json(mined, len(rlp.encode(mined.block)), full)

    def _get_block_by_hash(self, block_hash: Any, full: Any = False) -> JsonObject | None:
        wire.read_data(block_hash, "block hash", 32)
        return self._get_block(block_hash, full)

    def _get_block_receipts(self, block: Any) -> list[JsonObject] | None:
        ref = wire.read_block(block)
        mined = None if ref == "pending" else self._find_block(ref)
        return None if mined is None else [wire.receipt_json(mined, index) for index in range(len(mined.receipts))]

    def _of_transaction(
        self, write: Callable[[MinedBlock, int], JsonObject], transaction_hash: Any
    ) -> JsonObject | None:
        place = self._places.get(wire.read_data(transaction_hash, "transaction hash", 32))
        return None if place is None else write(self._blocks[place[0]], place[1])

    def _get_logs(self, wanted: Any) -> list[JsonObject]:
        query = wire.read_log_filter(wanted)
        if query.block_hash is not None:
            mined = self._find_block(query.block_hash)
            if mined is None:
                raise RpcError(wire.NOT_FOUND, "unknown block")
            blocks: Iterable[MinedBlock] = [mined]
        else:
            first, last = self._number_of(query.first), self._number_of(query.last)
            if first > last:
                raise wire.invalid("invalid block range: fromBlock is after toBlock")
            blocks = self._blocks[first : last + 1]
        return [
            entry
            for mined in blocks
            for index in range(len(mined.receipts))
            for entry in wire.logs_json(mined, index, query)
        ]

    def _number_of(self, ref: BlockRef) -> int:
        if isinstance(ref, int):
            return ref
        mined = self._find_block(ref)
        if mined is None:
            raise RpcError(wire.NOT_FOUND, "unknown block")
        return mined.header.block_number

    def _fee_history(self, count: Any, newest: Any, percentiles: Any = None) -> JsonObject:
        ref = wire.read_block(newest)
        last = self._number_of(ref)
        if last >= len(self._blocks):
            raise RpcError(wire.SERVER_ERROR, "request beyond head block")
        if percentiles is not None and not (
            isinstance(percentiles, list)
            and len(percentiles) <= MAX_PERCENTILES
            and all(isinstance(each, int | float) and 0 <= each <= 100 for each in percentiles)
        ):
            raise wire.invalid(f"reward percentiles must be a list of at most {MAX_PERCENTILES} numbers from 0 to 100")
        asked = min(wire.read_quantity(count, "block count"), MAX_FEE_HISTORY, last + 1)
        blocks = self._blocks[last + 1 - asked : last + 1]
        after = self._blocks[last + 1].header if last + 1 < len(self._blocks) else self._next_header()
        headers = [mined.header for mined in blocks]
        history: JsonObject = {
            "oldestBlock": wire.hex_quantity(last + 1 - asked),
            "baseFeePerGas": [wire.hex_quantity(wire.base_fee(header)) for header in [*headers, after]],
            "gasUsedRatio": [header.gas_used / header.gas_limit for header in headers],
        }
        if percentiles:
            # A block has at most one transaction, so every percentile is its priority fee.
            history["reward"] = [[wire.hex_quantity(self._tip(mined))] * len(percentiles) for mined in blocks]
        return history

    @staticmethod
    def _tip(mined: MinedBlock) -> int:
        for transaction in mined.block.transactions:
            return wire.paid_gas_price(mined.header, transaction) - wire.base_fee(mined.header)
        return 0

    # State

    def _get_balance(self, address: Any, block: Any = "latest") -> str:
        return wire.hex_quantity(self._state_at(block).get_balance(wire.read_address(address, "address")))

    def _get_code(self, address: Any, block: Any = "latest") -> str:
        return wire.hex_data(self._state_at(block).get_code(wire.read_address(address, "address")))

    def _get_storage(self, address: Any, slot: Any, block: Any = "latest") -> str:
        where = wire.read_address(address, "address")
        return wire.hex_word(self._state_at(block).get_storage(where, wire.read_slot(slot)))

    def _get_nonce(self, address: Any, block: Any = "latest") -> str:
        return wire.hex_quantity(self._state_at(block).get_nonce(wire.read_address(address, "address")))

    # Calls

    def _call(self, call: Any, block: Any = "latest") -> str:
        """Runs without fees, so the sender needs no balance for gas. At a mined block, it sees that block's time."""
        fields = wire.read_call(call)
        header = self._header_at(block)
        _, computation = self._run(header, fields, self._gas_for(header, fields))
        if computation.is_error:
            raise wire.failed_call(computation)
        return wire.hex_data(bytes(computation.output))

    def _estimate(self, call: Any, block: Any = "pending") -> str:
        """Gas that makes the call succeed, at most ESTIMATE_SLACK above the least. Sees the next block unless told."""
        return wire.hex_quantity(self._estimate_gas(self._header_at(block), wire.read_call(call)))

    def _gas_for(self, header: BlockHeaderAPI, fields: CallFields) -> int:
        return header.gas_limit if fields.gas is None else min(fields.gas, header.gas_limit)

    def _run(self, header: BlockHeaderAPI, fields: CallFields, gas: int) -> tuple[SignedTransactionAPI, ComputationAPI]:
        """Executes on a copy of the state that nobody keeps."""
        check_chain_id(fields.chain_id)
        # With a base fee of zero nothing is bought and nothing is charged, as geth does for calls without a price.
        state = self._chain.get_vm(header.copy(base_fee_per_gas=0)).state
        sender = ZERO_ADDRESS if fields.sender is None else fields.sender
        if state.get_balance(sender) < fields.value:
            raise RpcError(wire.SERVER_ERROR, f"insufficient funds for transfer: address {wire.hex_data(sender)}")
        unsigned = PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(
            chain_id=CHAIN_ID,
            nonce=state.get_nonce(sender),
            max_priority_fee_per_gas=0,
            max_fee_per_gas=0,
            gas=gas,
            to=fields.to,
            value=fields.value,
            data=fields.data,
            access_list=fields.access_list,
        )
        least = least_gas(cast(SignedTransactionAPI, unsigned))
        if gas < least:
            raise RpcError(wire.SERVER_ERROR, f"intrinsic gas too low: gas {gas}, minimum needed {least}")
        transaction = cast(SignedTransactionAPI, SpoofTransaction(unsigned, from_=sender))
        try:
            return transaction, state.apply_transaction(transaction)
        except (ValidationError, VMError) as error:
            raise RpcError(wire.SERVER_ERROR, str(error)) from None

    def _estimate_gas(self, header: BlockHeaderAPI, fields: CallFields) -> int:
        enough = self._gas_for(header, fields)
        transaction, computation = self._run(header, fields, enough)
        if computation.is_error:
            raise wire.failed_call(computation)
        used = PragueVM.finalize_gas_used(transaction, computation)
        if used == least_gas(transaction) and self._succeeds(header, fields, used):
            return used  # a plain transfer is known to the gas
        too_little = used - 1
        # A call hands on 63/64 of its gas and refunds come late, so a little more than was used is the likely answer.
        guess = (used + computation.get_gas_refund() + CALL_STIPEND) * 64 // 63
        if guess < enough:
            if self._succeeds(header, fields, guess):
                enough = guess
            else:
                too_little = guess
        while enough - too_little > max(1, enough * ESTIMATE_SLACK):
            middle = (enough + too_little) // 2
            if self._succeeds(header, fields, middle):
                enough = middle
            else:
                too_little = middle
        return enough

    def _succeeds(self, header: BlockHeaderAPI, fields: CallFields, gas: int) -> bool:
        return not self._run(header, fields, gas)[1].is_error

    # Sending

    def _send_raw(self, raw: Any) -> str:
        """Mines the transaction at once. A reverted one is mined too, with status 0."""
        encoded = wire.read_data(raw, "raw transaction")
        try:
            transaction = PragueTransactionBuilder.decode(encoded)
            kind = wire.transaction_type(transaction)
        except Exception as error:
            # Whatever py-evm and rlp stumble over, these bytes are no transaction.
            raise wire.invalid(f"not a transaction: {error}") from None
        if kind == wire.BLOB:
            raise RpcError(wire.SERVER_ERROR, "transaction type not supported")
        return self._admit(transaction)

    def _send(self, call: Any) -> str:
        """Signs for an unlocked account and mines. Missing gas is estimated, so a revert shows before it is mined."""
        fields = wire.read_call(call)
        key = None if fields.sender is None else self._keys.get(fields.sender)
        if fields.sender is None or key is None:
            raise RpcError(wire.SERVER_ERROR, "unknown account: from must be one of eth_accounts")
        if fields.gas_price is not None and fields.access_list:
            raise wire.invalid("an accessList goes with maxFeePerGas here, not with gasPrice")
        check_chain_id(fields.chain_id)
        header = self._next_header()
        nonce = self._state_at("latest").get_nonce(fields.sender) if fields.nonce is None else fields.nonce
        gas = self._estimate_gas(header, fields) if fields.gas is None else fields.gas
        if fields.gas_price is not None:
            legacy = PragueTransactionBuilder.create_unsigned_transaction(
                nonce=nonce, gas_price=fields.gas_price, gas=gas, to=fields.to, value=fields.value, data=fields.data
            )
            return self._send_raw(wire.hex_data(legacy.as_signed_transaction(key, chain_id=CHAIN_ID).encode()))
        tip = fields.max_priority_fee
        if tip is None:
            tip = PRIORITY_FEE_WEI if fields.max_fee is None else min(PRIORITY_FEE_WEI, fields.max_fee)
        unsigned = PragueTransactionBuilder.new_unsigned_dynamic_fee_transaction(
            chain_id=CHAIN_ID,
            nonce=nonce,
            max_priority_fee_per_gas=tip,
            max_fee_per_gas=2 * wire.base_fee(header) + tip if fields.max_fee is None else fields.max_fee,
            gas=gas,
            to=fields.to,
            value=fields.value,
            data=fields.data,
            access_list=fields.access_list,
        )
        # By its bytes, because py-evm signs into a class that its own Prague blocks can't encode.
        return self._send_raw(wire.hex_data(unsigned.as_signed_transaction(key).encode()))

    def _admit(self, transaction: SignedTransactionAPI) -> str:
        """Refuses what a node's pool refuses, in geth's words, and mines the rest. Returns the hash."""
        if transaction.hash in self._places:
            raise RpcError(wire.SERVER_ERROR, "already known")
        # None: signed before EIP-155, valid on every chain. The deployer at 0x4e59… is put on chains by such a one.
        check_chain_id(transaction.chain_id)
        try:
            transaction.validate()
            sender = transaction.sender
        except Exception as error:
            # Signatures are checked by whichever library is installed, each with errors of its own.
            raise RpcError(wire.SERVER_ERROR, f"invalid sender: {error}") from None
        self._check_fees(transaction)
        state = self._state_at("latest")
        expected = state.get_nonce(sender)
        if transaction.nonce != expected:
            which = "low" if transaction.nonce < expected else "high"
            raise RpcError(
                wire.SERVER_ERROR,
                f"nonce too {which}: address {wire.hex_data(sender)}, tx: {transaction.nonce} state: {expected}",
            )
        needed, balance = transaction.gas * transaction.max_fee_per_gas + transaction.value, state.get_balance(sender)
        if balance < needed:
            who = wire.hex_data(sender)
            raise RpcError(
                wire.SERVER_ERROR,
                f"insufficient funds for gas * price + value: address {who} have {balance} want {needed}",
            )
        try:
            self._mine([transaction])
        except (ValidationError, VMError) as error:
            raise RpcError(wire.SERVER_ERROR, str(error)) from None
        return wire.hex_data(transaction.hash)

    def _check_fees(self, transaction: SignedTransactionAPI) -> None:
        least, fee = least_gas(transaction), wire.base_fee(self._next_header())
        if transaction.gas > BLOCK_GAS_LIMIT:
            problem = "exceeds block gas limit"
        elif transaction.gas < least:
            problem = f"intrinsic gas too low: gas {transaction.gas}, minimum needed {least}"
        elif transaction.max_priority_fee_per_gas > transaction.max_fee_per_gas:
            problem = "max priority fee per gas higher than max fee per gas"
        elif transaction.max_fee_per_gas < fee:
            problem = (
                f"max fee per gas less than block base fee: maxFeePerGas: {transaction.max_fee_per_gas}, baseFee: {fee}"
            )
        else:
            return
        raise RpcError(wire.SERVER_ERROR, problem)

    # The rest

    @staticmethod
    def _client_version() -> str:
        return f"nftloyalty-devchain/{version('eth-tester')}/py-evm-{version('py-evm')}"

    @staticmethod
    def _sha3(value: Any) -> str:
        return wire.hex_data(keccak(wire.read_data(value, "data")))

    def _increase_time(self, seconds: Any) -> str:
        """Moves the clock of the next blocks. Takes a quantity or a number; answers the whole shift in seconds."""
        is_number = isinstance(seconds, int) and not isinstance(seconds, bool)
        more = seconds if is_number else wire.read_quantity(seconds, "seconds")
        if not 0 <= self._ahead_seconds + more < 2**39 or more < 0:
            raise wire.invalid("time only goes forward, and not beyond the year 19000")
        self._ahead_seconds += more
        return wire.hex_quantity(self._ahead_seconds)

    def _mine_empty(self) -> str:
        self._mine([])
        return wire.hex_quantity(0)


def failure(id_: str | float | None, error: RpcError) -> JsonObject:
    return {"jsonrpc": "2.0", "id": id_, "error": error.to_json()}


def check_chain_id(chain_id: int | None) -> None:
    """None is fine: it says nothing about the chain."""
    if chain_id not in (None, CHAIN_ID):
        raise RpcError(wire.SERVER_ERROR, f"invalid chain id: have {chain_id}, want {CHAIN_ID}")


def least_gas(transaction: SignedTransactionAPI) -> int:
    """What a transaction costs before its first instruction, and no less than EIP-7623 asks for its calldata."""
    floor = PragueTransactionExecutor.calc_data_floor_gas(transaction, gas_used=0, gas_refund=0)
    return max(transaction.intrinsic_gas, floor)
