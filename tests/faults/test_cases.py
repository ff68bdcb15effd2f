"""What the wire injects is what its table says, and is told to be."""

import json
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import requests

from tests.conftest import Anvil, StartAnvil
from tests.faults.cases import CASE, Bounds, Drawn
from tests.faults.dialects import DIALECTS, Why, refusal, why
from tests.faults.proof import Chain
from tests.faults.wire import Wire

TO = "0x" + 20 * "11"
QUICK = Bounds(patience=0.05, lasting=0.02, lag=3)


@pytest.fixture(scope="module")
def node(start_anvil: StartAnvil) -> Iterator[Chain]:
    """A chain of 20 blocks, the last of which hold one transaction each of the first account, with a log each."""
    anvil: Anvil = start_anvil()
    chain = Chain(anvil.url)
    chain.ask("anvil_setCode", TO, "0x5f5fa000")  # PUSH0 PUSH0 LOG0 STOP
    chain.ask("anvil_mine", hex(15))
    for _ in range(5):
        send(chain)
    yield chain
    chain.close()


def send(chain: Chain, **fields: str) -> str:
    account = chain.ask("eth_accounts")[0]
    tx_hash: str = chain.ask("eth_sendTransaction", {"from": account, "to": TO, "value": "0x1", **fields})
    return tx_hash


@pytest.fixture
def wire(node: Chain, tmp_path: Path) -> Iterator[Wire]:
    with Wire(node.url, lambda raw: None, tmp_path / "wire.log") as wire:
        yield wire


def ask(wire: Wire, *calls: tuple[str, list[Any]], one: bool = False) -> Any:
    """Over the wire as run 7, as one message; the answers' results in order."""
    items = [
        {"jsonrpc": "2.0", "id": place, "method": method, "params": list(params)}
        for place, (method, params) in enumerate(calls)
    ]
    answer = requests.post(wire.url_of(7), json=items[0] if one else items, timeout=5).json()
    return answer if one else {each["id"]: each for each in answer}


def test_every_case_is_drawn_and_written_down(node: Chain, wire: Wire, tmp_path: Path) -> None:
    account = node.ask("eth_accounts")[0]
    mined = node.ask("eth_getBlockByNumber", "latest", False)["transactions"][0]
    raw = node.ask(
        "eth_signTransaction",
        {
            "from": account,
            "to": TO,
            "value": "0x1",
            "nonce": "0x0",
            "gas": "0x5208",
            "maxFeePerGas": hex(10**10),
            "maxPriorityFeePerGas": "0x1",
        },
    )
    wire.faults = Drawn(wire, 5, rates=lambda exchange: 0.9, bounds=QUICK)
    for turn in range(600):
        calls: list[tuple[str, list[Any]]] = [
            ("eth_getTransactionCount", [account, "latest" if turn % 2 else "pending"]),
            ("eth_getTransactionReceipt", [mined]),
        ]
        try:
            if turn % 3:
                ask(wire, *calls)
            else:
                ask(wire, ("eth_sendRawTransaction", [raw]), one=True)
        except (requests.exceptions.RequestException, AttributeError, TypeError):
            pass
        if set(wire.injected) == set(CASE):
            break
    assert set(wire.injected) == set(CASE)
    lines = [json.loads(line) for line in (tmp_path / "wire.log").read_text().splitlines()]
    told = [line for line in lines if "fault" in line]
    assert len(told) == wire.injected.total()
    assert all(line["run"] == 7 and line["detail"] for line in told)
    assert sum("sent" in line for line in lines) == len(wire.passed)


def test_a_replica_that_lags_is_behind_in_all_it_says(node: Chain, wire: Wire) -> None:
    account, head = node.ask("eth_accounts")[0], node.head()
    mined = node.ask("eth_getBlockByNumber", "latest", False)["transactions"][0]
    wire.faults = Drawn(wire, 5, rates=lambda exchange: 1, cases=("stale view",), bounds=Bounds(lasting=60, lag=3))
    told = ask(
        wire,
        ("eth_blockNumber", []),
        ("eth_getBlockByNumber", ["latest", False]),
        ("eth_getTransactionCount", [account, "latest"]),
        ("eth_getTransactionReceipt", [mined]),
        ("eth_getTransactionByHash", [mined]),
        ("eth_getBlockByNumber", [hex(head), False]),
        ("eth_getLogs", [{"fromBlock": "0x0", "toBlock": "latest"}]),
    )
    seen = int(told[0]["result"], 16)
    assert head - 3 <= seen < head
    assert told[1]["result"]["number"] == hex(seen)
    assert int(told[2]["result"], 16) == int(node.ask("eth_getTransactionCount", account, hex(seen)), 16)
    assert told[3]["result"] is None
    assert told[4]["result"]["blockNumber"] is None
    assert told[5]["result"] is None
    assert told[6]["result"] == node.ask("eth_getLogs", {"fromBlock": "0x0", "toBlock": hex(seen)})
    assert len(told[6]["result"]) < 5
    # And stays so for a while, by the same number of blocks.
    assert int(ask(wire, ("eth_blockNumber", []))[0]["result"], 16) == seen


def test_receipts_are_hidden_and_nothing_else(node: Chain, wire: Wire) -> None:
    account = node.ask("eth_accounts")[0]
    mined = node.ask("eth_getBlockByNumber", "latest", False)["transactions"][0]
    wire.faults = Drawn(wire, 5, rates=lambda exchange: 1, cases=("no receipts",))
    told = ask(wire, ("eth_getTransactionReceipt", [mined]), ("eth_getTransactionCount", [account, "latest"]))
    assert told[0]["result"] is None
    assert told[1]["result"] == node.ask("eth_getTransactionCount", account, "latest")
    assert wire.injected == {"no receipts": 1}


@pytest.mark.parametrize(("lie", "status"), [("bare receipts", "0x1"), ("failed falsely", "0x0")])
def test_receipts_say_less_than_is_true(node: Chain, wire: Wire, lie: str, status: str) -> None:
    mined = node.ask("eth_getBlockByNumber", "latest", False)["transactions"][0]
    true = node.ask("eth_getTransactionReceipt", mined)
    assert (true["status"], bool(true["logs"])) == ("0x1", True)
    wire.faults = Drawn(wire, 5, rates=lambda exchange: 1, cases=(lie,))
    told = ask(wire, ("eth_getTransactionReceipt", [mined]))[0]
    assert told["result"] == {**true, "status": status, "logs": []}


@pytest.mark.parametrize(
    ("lie", "block", "higher"),
    [
        ("nonce too low", "latest", False),
        ("nonce too high", "latest", True),
        ("pending below latest", "pending", False),
    ],
)
def test_a_nonce_is_told_wrongly(node: Chain, wire: Wire, lie: str, block: str, higher: bool) -> None:
    account = node.ask("eth_accounts")[0]
    true = int(node.ask("eth_getTransactionCount", account, block), 16)
    wire.faults = Drawn(wire, 5, rates=lambda exchange: 1, cases=(lie,))
    told = int(ask(wire, ("eth_getTransactionCount", [account, block]), one=True)["result"], 16)
    assert told != true
    assert (told > true) is higher


def test_nothing_is_spoilt_by_a_rate_of_zero(node: Chain, wire: Wire) -> None:
    wire.faults = Drawn(wire, 5, rates=lambda exchange: 0)
    for _ in range(20):
        assert ask(wire, ("eth_blockNumber", []))[0]["result"] == hex(node.head())
    assert wire.injected.total() == 0


def test_a_seed_draws_the_same_again(wire: Wire) -> None:
    exchange: Any = SimpleNamespace(message={}, items=[{"method": "eth_chainId"}], methods=["eth_chainId"])

    def draw(seed: int) -> list[str | None]:
        drawn = Drawn(wire, seed, rates=lambda exchange: 0.5, bounds=Bounds(lasting=0))
        return [found[0].name if (found := drawn.choose(exchange)) is not None else None for _ in range(60)]

    assert draw(9) == draw(9)
    assert draw(9) != draw(10)
    assert len(set(draw(9))) > 10


# ------------------------------------------------------------------------------------------------------------- dialects


def test_there_are_eight_dialects_for_each_reason() -> None:
    assert len(DIALECTS) == 8
    assert all(set(texts) == set(Why) for texts in DIALECTS.values())
    assert len({(code, text) for texts in DIALECTS.values() for code, text in texts.values()}) > 12


def test_every_refusal_can_be_told_in_every_dialect() -> None:
    for dialect in DIALECTS:
        for reason in Why:
            error = refusal(dialect, reason, TO, 4)
            assert isinstance(error["code"], int)
            assert "{" not in error["message"]
    assert refusal("geth", Why.LOW, TO, 4)["message"] == "nonce too low: next nonce 5, tx nonce 4"


def test_what_anvil_refuses_a_transaction_for_is_understood(start_anvil: StartAnvil) -> None:
    chain = Chain(start_anvil().url)
    account = chain.ask("eth_accounts")[0]
    chain.ask("evm_setAutomine", False)

    def signed(nonce: int, fee: int) -> str:
        fields = {"from": account, "to": TO, "value": "0x1", "gas": "0x5208", "nonce": hex(nonce)}
        raw: str = chain.ask(
            "eth_signTransaction", {**fields, "maxFeePerGas": hex(fee), "maxPriorityFeePerGas": hex(fee)}
        )
        return raw

    def refused(raw: str) -> Why | None:
        body = {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": [raw]}
        return why(requests.post(chain.url, json=body, timeout=10).json()["error"])

    first = signed(0, 3 * 10**9)
    chain.ask("eth_sendRawTransaction", first)
    assert refused(first) is Why.KNOWN
    assert refused(signed(0, 2 * 10**9)) is Why.CHEAP
    chain.ask("evm_mine")
    assert refused(signed(0, 4 * 10**9)) is Why.LOW
    chain.close()
