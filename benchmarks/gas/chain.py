"""The one chain that everything is measured on: an anvil of our own, and transactions whose receipts give the gas."""

import itertools
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, cast

from eth_typing import ABIFunction
from eth_utils.abi import abi_to_signature
from eth_utils.crypto import keccak

from benchmarks.gas.rows import BATCH
from benchmarks.gas.sources import BenchmarkProblem, tool
from nftloyalty.chain import sender
from nftloyalty.chain.abi import Artifact, Function
from nftloyalty.chain.client import HintKind, Node, Receipt
from nftloyalty.chain.signer import LocalSigner, TxFields
from nftloyalty.domain.address import Address, address_number

HARDFORK = "osaka"
STARTS_AT = 1_800_000_000
"""The first block's time, 2027-01-15 08:00 UTC: far from midnight, when daily counters begin again, and the same in
every run, so that all runs sign and send the same bytes."""
IN_A_YEAR = STARTS_AT + 31_536_000
IN_TWO_YEARS = IN_A_YEAR + 31_536_000

# Above all that is sent here, and below what one transaction may use since EIP-7825.
_GAS_LIMIT = 16_000_000
_MAX_FEE = 10**12
_PURSE = 10**24
_SECONDS = 30.0

TRANSFER = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
TRANSFER_SINGLE = "0x" + keccak(text="TransferSingle(address,address,address,uint256,uint256)").hex()


class Chain:
    """Sends transactions one by one and answers with their receipts. Every sender finds its purse filled."""

    def __init__(self, node: Node) -> None:
        self.node = node
        self.id = node.chain_id()
        self._nonces: dict[Address, int] = {}

    def send(self, who: LocalSigner, to: Address | None, data: bytes) -> Receipt:
        """Raises BenchmarkProblem if it was refused or failed: nothing that is measured may."""
        if who.address not in self._nonces:
            self.node.call("anvil_setBalance", [who.address, hex(_PURSE)])
            self._nonces[who.address] = self.node.nonce(who.address)
        fields = TxFields(self.id, self._nonces[who.address], to, data, 0, _GAS_LIMIT, _MAX_FEE, 0)
        signed = who.sign_transaction(fields)
        refusal = sender.refusal(self.node, who.address, to, data) if to is not None else None
        if refusal is not None:
            raise BenchmarkProblem(f"a call of {data[:4].hex()} to {to} would be refused: {refusal}")
        hint = self.node.send_raw(signed.raw)
        if hint.kind is not HintKind.ACCEPTED:
            raise BenchmarkProblem(f"anvil did not take a transaction: {hint.text}")
        self._nonces[who.address] += 1
        receipt = self._receipt(signed.hash)
        if not receipt.succeeded:
            raise BenchmarkProblem(f"a transaction to {to or 'a new contract'} failed")
        return receipt

    def gas(self, who: LocalSigner, to: Address | None, data: bytes) -> int:
        return self.send(who, to, data).gas_used

    def batch(self, who: LocalSigner, to: Address, data: bytes, event: str, count: int = BATCH) -> int:
        """Gas of a batch, which must have emitted the event `count` times: an item left out is not a cheap item."""
        receipt = self.send(who, to, data)
        seen = sum(log.topics[:1] == (event,) for log in receipt.logs)
        if seen != count:
            raise BenchmarkProblem(f"a batch of {count} did {seen}")
        return receipt.gas_used

    def create(self, who: LocalSigner, artifact: Artifact, *arguments: Any) -> tuple["Contract", int]:
        """A new contract, and the gas of the transaction that made it."""
        receipt = self.send(who, None, artifact.initcode(*arguments))
        if receipt.contract_address is None:
            raise BenchmarkProblem(f"no contract came of {artifact.name}")
        return Contract(self, receipt.contract_address, artifact), receipt.gas_used

    def _receipt(self, tx_hash: str) -> Receipt:
        give_up = time.monotonic() + _SECONDS
        while time.monotonic() < give_up:
            (receipt,) = self.node.receipts([tx_hash])
            if receipt is not None:
                return receipt
            time.sleep(0.005)
        raise BenchmarkProblem("anvil mined nothing")


@dataclass(frozen=True)
class Contract:
    """A peer's contract on the chain."""

    chain: Chain
    address: Address
    artifact: Artifact

    def data(self, name: str, *arguments: Any) -> bytes:
        """Calldata. `name` is a function's name, or the whole signature where there are several of that name."""
        return function_of(self.artifact, name).encode(*arguments)

    def send(self, who: LocalSigner, name: str, *arguments: Any) -> Receipt:
        return self.chain.send(who, self.address, self.data(name, *arguments))

    def gas(self, who: LocalSigner, name: str, *arguments: Any) -> int:
        return self.send(who, name, *arguments).gas_used

    def batch(self, who: LocalSigner, event: str, name: str, *arguments: Any) -> int:
        return self.chain.batch(who, self.address, self.data(name, *arguments), event)

    def size(self) -> int:
        """Bytes of the code on the chain: of a clone, those of the contract it is a clone of."""
        return len(self.artifact.deployed_code)


def function_of(artifact: Artifact, name: str) -> Function:
    """A function of any contract by its name or signature. Raises LookupError unless there is exactly one."""
    found = {}
    for entry in artifact.abi:
        if entry["type"] == "function":
            signature = abi_to_signature(cast(ABIFunction, entry))
            if name in (entry["name"], signature):
                found[signature] = entry
    if len(found) != 1:
        raise LookupError(f"{artifact.name} has {len(found)} functions {name}")
    ((signature, entry),) = found.items()
    return Function(signature, keccak(text=signature)[:4], tuple(entry["inputs"]), tuple(entry["outputs"]))


@cache
def wallet(label: str) -> LocalSigner:
    """A wallet of its own for each label, the same in every run, and without a zero byte in its address.

    Zero bytes are cheaper in calldata, so a lucky address would pass for a cheap contract.
    """
    for attempt in itertools.count():
        found = LocalSigner(keccak(text=f"nftloyalty gas benchmark: {label} {attempt}"))
        if 0 not in bytes.fromhex(found.address[2:]):
            return found
    raise AssertionError("unreachable")


def addresses(label: str, count: int = BATCH) -> list[Address]:
    return [wallet(f"{label} {number}").address for number in range(count)]


def last_id(receipt: Receipt) -> int:
    """The token id in the receipt's last ERC-721 Transfer."""
    found = [log for log in receipt.logs if log.topics[:1] == (TRANSFER,)]
    return int(found[-1].topics[3], 16)


def topic_address(topic: str) -> int:
    """The number of an address in a log's topic."""
    return address_number("0x" + topic[-40:])


def anvil_version() -> str:
    """For example `1.7.1`."""
    said = subprocess.run([tool("anvil"), "--version"], capture_output=True, text=True, check=True).stdout
    found = re.search(r"\d+\.\d+\.\d+", said)
    if found is None:
        raise BenchmarkProblem(f"anvil does not tell its version: {said.strip()[:200]}")
    return found[0]


@contextmanager
def running() -> Iterator[Chain]:
    """An anvil on a free loopback port, gone afterwards. It mines each transaction at once."""
    flags = ("--host", "127.0.0.1", "--port", "0", "--hardfork", HARDFORK, "--timestamp", str(STARTS_AT))
    with tempfile.TemporaryDirectory(prefix="nftloyalty-gas-") as folder:
        log = Path(folder) / "anvil.log"
        with log.open("wb") as output:
            process = subprocess.Popen(
                [tool("anvil"), *flags], stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT
            )
        try:
            yield Chain(Node(_url(process, log)))
        finally:
            process.kill()
            process.wait(timeout=10)


def _url(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """Where the anvil listens, which is for the system to choose, so that two runs never meet."""
    give_up = time.monotonic() + _SECONDS
    while time.monotonic() < give_up and process.poll() is None:
        found = re.search(r"Listening on ([\d.]+:\d+)", log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return f"http://{found[1]}"
        time.sleep(0.02)
    raise BenchmarkProblem(f"anvil did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}")
