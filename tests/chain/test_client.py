"""The JSON-RPC client against nodes that answer badly, late, twice, or not at all."""

import copy
import pickle
import socket
import threading
import time
import traceback
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from nftloyalty.chain import client, transport
from nftloyalty.chain.client import Call, HintKind, Node
from nftloyalty.errors import BadInput, ChainProblem, LoyaltyError, NodeRefused, NodeUnreachable, Reverted
from tests.chain.liar import Exchange, Liar
from tests.domain.build import wallet

SECRET = "s3cr3t-project-key"
HASH = "0x" + "ab" * 32
OTHER = "0x" + "cd" * 32
BLOCK = {
    "number": "0x10",
    "hash": HASH,
    "parentHash": OTHER,
    "timestamp": "0x65",
    "baseFeePerGas": "0x3b9aca00",
}
LOG = {
    "address": wallet(),
    "topics": [HASH],
    "data": "0x01",
    "logIndex": "0x3",
    "transactionHash": HASH,
    "blockNumber": "0x10",
    "blockHash": OTHER,
    "removed": False,
}
RECEIPT = {
    "transactionHash": HASH,
    "blockNumber": "0x10",
    "blockHash": OTHER,
    "status": "0x1",
    "gasUsed": "0x5208",
    "effectiveGasPrice": "0x7",
    "contractAddress": None,
    "logs": [LOG],
}


def always(value: Any) -> Callable[[Exchange, Any], None]:
    return lambda exchange, request: exchange.result(request, value)


def body(content: bytes, status: int = 200) -> Callable[[Exchange, Any], None]:
    return lambda exchange, request: exchange.send(content, status)


def refusing(error: Any, status: int = 200) -> Callable[[Exchange, Any], None]:
    return lambda exchange, request: exchange.error(request, error, status)


def hang_up(exchange: Exchange, request: Any) -> None:
    exchange.hang_up()


def everything_said(error: BaseException) -> str:
    """All that a log or a traceback of this error could show, its hidden context included."""
    said = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    for hidden in (error.__cause__, error.__context__):
        if hidden is not None:
            said += everything_said(hidden)
    return said


# -------------------------------------------------------------------------------------------------------------- secrets


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"https://mainnet.example/v3/{SECRET}", "https://mainnet.example"),
        (f"https://user:{SECRET}@node.example:8545", "https://node.example:8545"),
        (f"https://node.example/rpc?apikey={SECRET}", "https://node.example"),
        (f"http://[::1]:8545/{SECRET}", "http://[::1]:8545"),
    ],
)
def test_only_scheme_host_and_port_of_an_address_are_shown(url: str, shown: str) -> None:
    node = Node(url)
    assert node.shown_url == shown
    assert SECRET not in repr(node) + str(node)
    assert shown in repr(node)


@pytest.mark.parametrize("copier", [pickle.dumps, copy.copy, copy.deepcopy])
def test_a_node_is_never_copied_or_stored(copier: Callable[[Node], Any]) -> None:
    with pytest.raises(TypeError, match="never pickled"):
        copier(Node(f"http://localhost/{SECRET}"))


@pytest.mark.parametrize("url", ["localhost:8545", "ws://localhost", "file:///x", "http://", "http://host:99999", ""])
def test_an_address_that_is_not_http_is_refused_without_showing_it(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        Node(url.replace("host", f"{SECRET}@host"))
    assert SECRET not in str(caught.value) + str(caught.value.problems)


BAD: dict[str, Callable[[Exchange, Any], None]] = {
    "hang up": hang_up,
    "http 500": body(b"Internal Server Error", 500),
    "http 401": body(b'{"message":"no"}', 401),
    "http 429": body(b'{"message":"slow down"}', 429),
    "http 204": body(b"", 204),
    "a result with http 500": lambda exchange, request: exchange.send_json(
        {"jsonrpc": "2.0", "id": request["id"], "result": "0x1"}, 500
    ),
    "html": body(b"<!doctype html><title>Welcome</title>"),
    "not utf-8": body(b"\xff\xfe\xfa"),
    "half of the json": body(b'{"jsonrpc":"2.0","id":1,"resu'),
    "deep json": body(b"[" * 100_000),
    "null": body(b"null"),
    "a list": body(b"[]"),
    "a text": body(b'"0x1"'),
    "no id": lambda exchange, request: exchange.send_json({"jsonrpc": "2.0", "result": "0x1"}),
    "another id": lambda exchange, request: exchange.send_json({"jsonrpc": "2.0", "id": 7, "result": "0x1"}),
    "a text id": lambda exchange, request: exchange.send_json({"jsonrpc": "2.0", "id": "1", "result": "0x1"}),
    "id true": lambda exchange, request: exchange.send_json({"jsonrpc": "2.0", "id": True, "result": "0x1"}),
    "no result": lambda exchange, request: exchange.send_json({"jsonrpc": "2.0", "id": request["id"]}),
    "an error for another id": lambda exchange, request: exchange.send_json(
        {"jsonrpc": "2.0", "id": 7, "error": {"code": 1, "message": "x"}}
    ),
    "result null": always(None),
    "result a number": always(1),
    "result not hex": always("0xzz"),
    "result no digits": always("0x"),
    "result too long": always("0x" + "1" * 65),
    "result with a space": always("0x1 "),
    "redirect": lambda exchange, request: exchange.send(b"", 307, {"Location": "/elsewhere"}),
}


@pytest.mark.parametrize("badness", BAD)
def test_what_is_no_answer_counts_as_none_and_tells_no_secret(liar: Liar, badness: str) -> None:
    liar.answer = BAD[badness]
    node = Node(f"http://user:{SECRET}@127.0.0.1:{liar.port}/{SECRET}?key={SECRET}", timeout=5)
    with pytest.raises(NodeUnreachable) as caught:
        node.chain_id()
    assert f"http://127.0.0.1:{liar.port}: " in caught.value.message
    assert SECRET not in everything_said(caught.value)


def test_a_redirect_is_not_followed(liar: Liar) -> None:
    """It would carry signed bytes, and the key in the address, to somebody else."""

    def answer(exchange: Exchange, request: Any) -> None:
        if exchange.path == "/elsewhere":
            exchange.result(request, "0x1")
        else:
            exchange.send(b"", 307, {"Location": "/elsewhere"})

    liar.answer = answer
    with pytest.raises(NodeUnreachable, match="HTTP 307"):
        Node(liar.url).chain_id()
    assert len(liar.requests) == 1


def test_a_node_that_is_not_there(liar: Liar) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        node = Node(f"http://127.0.0.1:{taken.getsockname()[1]}/{SECRET}", timeout=5)
        with pytest.raises(NodeUnreachable, match="refused or broke off") as caught:
            node.chain_id()
    assert SECRET not in everything_said(caught.value)


def test_a_secret_that_the_node_repeats_is_masked(liar: Liar) -> None:
    liar.answer = refusing({"code": -32000, "message": f"project {SECRET} has no access\n\x1b[31m" + "x" * 999})
    with pytest.raises(NodeRefused) as caught:
        Node(f"{liar.url}/v3/{SECRET}").chain_id()
    assert caught.value.rpc_message.startswith("project *** has no access  [31mxxx")
    assert len(caught.value.rpc_message) < 310
    assert SECRET not in everything_said(caught.value)


def test_what_the_address_carries_reaches_the_node(liar: Liar) -> None:
    seen = []

    def answer(exchange: Exchange, request: Any) -> None:
        seen.append((exchange.path, exchange.headers["Authorization"]))
        exchange.result(request, "0x1")

    liar.answer = answer
    assert Node(f"http://user:pass@127.0.0.1:{liar.port}/v3/{SECRET}?a=b").chain_id() == 1
    assert seen == [(f"/v3/{SECRET}?a=b", "Basic dXNlcjpwYXNz")]


# ----------------------------------------------------------------------------------------------------------------- time


def test_a_silent_node_is_given_up_in_time(liar: Liar) -> None:
    release = threading.Event()

    def silent(exchange: Exchange, request: Any) -> None:
        release.wait(5)

    liar.answer = silent
    started = time.monotonic()
    with pytest.raises(NodeUnreachable, match=r"nothing within 0\.2 seconds"):
        Node(liar.url, timeout=30).call("eth_chainId", timeout=0.2)
    assert time.monotonic() - started < 2
    assert len(liar.requests) == 1, "a slow node must not be asked again"
    release.set()


def test_a_node_that_drips_bytes_is_given_up_in_time(liar: Liar) -> None:
    def drip(exchange: Exchange, request: Any) -> None:
        exchange.handler.send_response(200)
        exchange.handler.send_header("Content-Length", "1000000")
        exchange.handler.end_headers()
        for _ in range(100):
            exchange.handler.wfile.write(b" ")
            exchange.handler.wfile.flush()
            time.sleep(0.05)

    liar.answer = drip
    started = time.monotonic()
    with pytest.raises(NodeUnreachable, match="nothing within"):
        Node(liar.url, timeout=0.3).chain_id()
    assert time.monotonic() - started < 2


def test_a_host_that_can_not_be_one_is_no_answer() -> None:
    for host in ("a" * 64 + ".example", "\u0130" * 64):
        with pytest.raises(NodeUnreachable, match="no answer from the node"):
            Node(f"http://{host}:8545").chain_id()


def test_an_endless_answer_is_cut_off(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MOST_ANSWER_BYTES", 1000)
    liar.answer = body(b" " * 5000)
    with pytest.raises(NodeUnreachable, match="more than 1000 bytes"):
        Node(liar.url).chain_id()


def test_an_answer_that_breaks_off_is_no_answer(liar: Liar) -> None:
    def half(exchange: Exchange, request: Any) -> None:
        exchange.handler.send_response(200)
        exchange.handler.send_header("Content-Length", "1000")
        exchange.handler.end_headers()
        exchange.handler.wfile.write(b'{"jsonrpc":"2.0","id":1,"result":"0x1"}')
        exchange.hang_up()

    liar.answer = half
    with pytest.raises(NodeUnreachable):
        Node(liar.url, timeout=5).chain_id()


# -------------------------------------------------------------------------------------------------------------- retries


def test_a_read_is_asked_once_more_when_the_connection_breaks(liar: Liar) -> None:
    def first_time_silent(exchange: Exchange, request: Any) -> None:
        if len(liar.requests) == 1:
            exchange.hang_up()
        else:
            exchange.result(request, "0x7")

    liar.answer = first_time_silent
    assert Node(liar.url).chain_id() == 7
    assert len(liar.requests) == 2


@pytest.mark.parametrize("count", [1, 3])
def test_signed_bytes_are_sent_once_whatever_happens(liar: Liar, count: int) -> None:
    liar.answer = hang_up
    hints = Node(liar.url).send_raw_many([bytes([number]) for number in range(count)])
    assert [hint.kind for hint in hints] == [HintKind.UNKNOWN] * count
    assert len(liar.requests) == 1


def test_an_unlocked_account_sends_once_whatever_happens(liar: Liar) -> None:
    liar.answer = hang_up
    with pytest.raises(NodeUnreachable):
        Node(liar.url).send_unlocked(wallet(1), wallet(2), 5)
    assert len(liar.requests) == 1


# --------------------------------------------------------------------------------------------------------------- errors


def test_an_error_answer_keeps_its_code_and_data(liar: Liar) -> None:
    liar.answer = refusing({"code": -32601, "message": "the method does not exist", "data": "0xAB"})
    with pytest.raises(NodeRefused) as caught:
        Node(liar.url).call("eth_foo", [1])
    error = caught.value
    assert (error.method, error.rpc_code, error.rpc_message, error.data) == (
        "eth_foo",
        -32601,
        "the method does not exist",
        "0xab",
    )
    assert liar.requests == [{"jsonrpc": "2.0", "id": 1, "method": "eth_foo", "params": [1]}]


@pytest.mark.parametrize("error", ["just text", 5, ["list"], {}, {"code": "x", "message": None}])
def test_an_error_of_another_shape_is_still_a_refusal(liar: Liar, error: Any) -> None:
    liar.answer = refusing(error)
    with pytest.raises(NodeRefused):
        Node(liar.url).chain_id()


def test_an_error_with_a_bad_http_status_tells_the_inner_reason(liar: Liar) -> None:
    liar.answer = refusing({"code": -32005, "message": "daily limit"}, status=429)
    with pytest.raises(NodeRefused, match="daily limit"):
        Node(liar.url).chain_id()


PAUSED = "0x" + keccak(text="LoyaltyMembership_Paused()")[:4].hex()
REFUSED = (
    "0x"
    + (
        keccak(text="LoyaltyMembership_Refused(address,uint256)")[:4]
        + abi_encode(["address", "uint256"], [wallet(), 3])
    ).hex()
)


@pytest.mark.parametrize(
    ("error", "name", "values"),
    [
        ({"code": 3, "message": "execution reverted", "data": PAUSED}, "LoyaltyMembership_Paused", {}),
        (
            {"code": 3, "message": "execution reverted", "data": REFUSED.upper().replace("X", "x")},
            "LoyaltyMembership_Refused",
            {"to": wallet(), "code": 3},
        ),
        ({"code": -32015, "message": "VM error", "data": f"Reverted {PAUSED}"}, "LoyaltyMembership_Paused", {}),
        ({"code": -32603, "message": "x", "data": {"data": PAUSED}}, "LoyaltyMembership_Paused", {}),
        ({"code": -32603, "message": "x", "data": {"data": {"data": PAUSED}}}, "LoyaltyMembership_Paused", {}),
        ({"code": 3, "message": "execution reverted", "data": "0x"}, "", {}),
        ({"code": 3, "message": "execution reverted"}, "", {}),
        ({"code": -32000, "message": "VM execution error: revert"}, "", {}),
        ({"code": 3, "message": "execution reverted", "data": "0x12345678"}, "", {}),
    ],
)
@pytest.mark.parametrize("method", ["eth_call", "estimate", "batch"])
def test_a_revert_is_found_wherever_nodes_put_it(
    liar: Liar, error: Any, name: str, values: dict[str, Any], method: str
) -> None:
    node = Node(liar.url)
    if method == "batch":
        liar.answer = lambda exchange, request: exchange.send_json(
            [{"jsonrpc": "2.0", "id": 1, "error": error}, {"jsonrpc": "2.0", "id": 2, "result": "0x07"}]
        )
        found, fine = node.eth_calls([(wallet(), b"\x01"), (wallet(), b"\x02")])
        assert isinstance(found, Reverted)
        assert fine == b"\x07"
        assert (found.name, found.values) == (name, values)
        return
    liar.answer = refusing(error)
    with pytest.raises(Reverted) as caught:
        if method == "eth_call":
            node.eth_call(wallet(), b"\x01")
        else:
            node.estimate_gas(Call(wallet(), b"\x01"))
    assert (caught.value.name, caught.value.values) == (name, values)


def test_a_refused_call_that_is_no_revert_stays_a_refusal(liar: Liar) -> None:
    liar.answer = refusing({"code": -32000, "message": "out of gas"})
    with pytest.raises(NodeRefused):
        Node(liar.url).eth_call(wallet(), b"")


# -------------------------------------------------------------------------------------------------------------- batches


def test_answers_of_a_batch_come_in_the_order_asked(liar: Liar) -> None:
    liar.answer = lambda exchange, request: exchange.send_json(
        [{"jsonrpc": "2.0", "id": item["id"], "result": item["params"][0]} for item in reversed(request)]
    )
    assert Node(liar.url).batch([("eth_call", [number]) for number in range(250)]) == list(range(250))
    assert [len(request) for request in liar.requests] == [100, 100, 50]


def test_one_refused_item_of_a_batch_spoils_no_other(liar: Liar) -> None:
    liar.answer = lambda exchange, request: exchange.send_json(
        [
            {"jsonrpc": "2.0", "id": 1, "result": "0x1"},
            {"jsonrpc": "2.0", "id": 2, "error": {"code": -32000, "message": "missing trie node"}},
        ]
    )
    first, second = Node(liar.url).batch([("eth_call", []), ("eth_call", [])])
    assert first == "0x1"
    assert isinstance(second, NodeRefused)
    assert second.rpc_message == "missing trie node"


def test_an_empty_batch_asks_nothing(liar: Liar) -> None:
    assert Node(liar.url).batch([]) == []
    assert Node(liar.url).receipts([]) == []
    assert liar.requests == []


@pytest.mark.parametrize(
    "answer",
    [
        [],
        [{"jsonrpc": "2.0", "id": 1, "result": "0x1"}],
        [{"jsonrpc": "2.0", "id": 1, "result": "0x1"}] * 2,
        [{"jsonrpc": "2.0", "id": 1, "result": "0x1"}, {"jsonrpc": "2.0", "id": 9, "result": "0x1"}],
        [{"jsonrpc": "2.0", "id": 1, "result": "0x1"}, {"jsonrpc": "2.0", "id": "2", "result": "0x1"}],
        [{"jsonrpc": "2.0", "id": 1, "result": "0x1"}, None],
        [{"jsonrpc": "2.0", "id": 1, "result": "0x1"}, {"jsonrpc": "2.0", "id": 2}],
        {"jsonrpc": "2.0", "id": 1, "result": "0x1"},
        None,
        "0x1",
    ],
)
def test_a_batch_with_anything_missing_is_no_answer(liar: Liar, answer: Any) -> None:
    liar.answer = lambda exchange, request: exchange.send_json(answer)
    with pytest.raises(NodeUnreachable):
        Node(liar.url).batch([("eth_call", []), ("eth_call", [])])


def no_batches(exchange: Exchange, request: Any) -> None:
    if isinstance(request, list):
        exchange.send_json({"jsonrpc": "2.0", "id": None, "error": {"code": -32600, "message": "no batches here"}})
    elif request["method"] == "eth_getCode":
        exchange.error(request, {"code": -32000, "message": "no state"})
    else:
        exchange.result(request, request["params"][0])


def test_a_node_that_takes_no_batches_is_asked_one_by_one(liar: Liar) -> None:
    liar.answer = no_batches
    node = Node(liar.url)
    for _ in range(2):
        first, second, third = node.batch([("eth_call", [5]), ("eth_getCode", [6]), ("eth_call", [7])])
        assert (first, third) == (5, 7)
        assert isinstance(second, NodeRefused)
    assert sum(isinstance(request, list) for request in liar.requests) == 1, "once told is enough"


def test_a_node_that_takes_no_batches_is_sent_to_one_by_one(liar: Liar) -> None:
    liar.answer = lambda exchange, request: (
        no_batches(exchange, request) if isinstance(request, list) else exchange.result(request, RAW_HASH)
    )
    node = Node(liar.url)
    assert [hint.kind for hint in node.send_raw_many([RAW, RAW])] == [HintKind.ACCEPTED] * 2
    assert [type(request) for request in liar.requests] == [list, dict, dict]
    assert [hint.kind for hint in node.send_raw_many([RAW, RAW])] == [HintKind.ACCEPTED] * 2
    assert sum(isinstance(request, list) for request in liar.requests) == 1, "once told is enough"


def test_one_transaction_that_gets_no_answer_does_not_keep_the_next_from_being_sent(liar: Liar) -> None:
    def answer(exchange: Exchange, request: Any) -> None:
        if isinstance(request, list):
            no_batches(exchange, request)
        elif len(liar.requests) == 2:
            exchange.hang_up()
        else:
            exchange.result(request, RAW_HASH)

    liar.answer = answer
    hints = Node(liar.url).send_raw_many([b"x", RAW])
    assert [hint.kind for hint in hints] == [HintKind.UNKNOWN, HintKind.ACCEPTED]


# ------------------------------------------------------------------------------------------------------ blocks and such


def test_a_block(liar: Liar) -> None:
    liar.answer = always(BLOCK)
    assert Node(liar.url).head() == client.Block(16, HASH, OTHER, 101, 10**9)
    assert Node(liar.url).block(16).number == 16
    assert Node(liar.url).block(HASH.upper().replace("X", "x")).hash == HASH
    assert [request["method"] for request in liar.requests] == [
        "eth_getBlockByNumber",
        "eth_getBlockByNumber",
        "eth_getBlockByHash",
    ]


@pytest.mark.parametrize(
    "change",
    [{"number": None}, {"hash": "0x12"}, {"hash": None}, {"parentHash": 5}, {"timestamp": ""}, {"baseFeePerGas": "9"}],
)
def test_a_malformed_block_is_no_answer(liar: Liar, change: dict[str, Any]) -> None:
    liar.answer = always({**BLOCK, **change})
    with pytest.raises(NodeUnreachable, match="is no use"):
        Node(liar.url).head()


def test_another_block_than_the_one_asked_for_is_no_answer(liar: Liar) -> None:
    liar.answer = always(BLOCK)
    for asked in (17, OTHER):
        with pytest.raises(NodeUnreachable, match="another block"):
            Node(liar.url).block(asked)


def test_a_block_that_is_not_there(liar: Liar) -> None:
    with pytest.raises(ChainProblem, match="has no block 99"):
        Node(liar.url).block(99)


def test_final_is_what_the_node_says_or_so_many_blocks_below_the_head(liar: Liar) -> None:
    liar.answer = always(BLOCK)
    node = Node(liar.url)
    assert node.finalized() == 16
    assert liar.requests[-1]["params"] == ["finalized", False]
    assert node.finalized(6) == 10
    assert node.finalized(0) == 16
    assert node.finalized(99) == 0


@pytest.mark.parametrize("answer", [always(None), refusing({"code": -32602, "message": "unknown block"})])
def test_a_node_without_finality_asks_for_a_setting(liar: Liar, answer: Callable[[Exchange, Any], None]) -> None:
    liar.answer = answer
    with pytest.raises(ChainProblem, match="does not tell which block is final") as caught:
        Node(liar.url).finalized()
    assert "finality_blocks" in caught.value.mend


@pytest.mark.parametrize(
    ("block", "sent"),
    [("latest", "latest"), (5, "0x5"), (HASH, {"blockHash": HASH, "requireCanonical": True})],
)
def test_a_read_can_be_pinned(liar: Liar, block: int | str, sent: Any) -> None:
    liar.answer = always("0x")
    Node(liar.url).eth_call(wallet(), b"\x01\x02", block)
    assert liar.requests[0]["params"] == [{"data": "0x0102", "to": wallet()}, sent]


def test_fees_without_the_newer_method_come_from_the_gas_price(liar: Liar) -> None:
    def answer(exchange: Exchange, request: Any) -> None:
        if isinstance(request, list):
            exchange.send_json(
                [
                    {"jsonrpc": "2.0", "id": 1, "result": BLOCK},
                    {"jsonrpc": "2.0", "id": 2, "error": {"code": -32601, "message": "no such method"}},
                ]
            )
        else:
            exchange.result(request, hex(10**9 + 5))

    liar.answer = answer
    assert Node(liar.url).fees() == client.FeeMarket(10**9, 5)


# ------------------------------------------------------------------------------------------------------------- receipts


def receipts_of(liar: Liar, answer: Any) -> list[client.Receipt | None]:
    liar.answer = lambda exchange, request: exchange.send_json([{"jsonrpc": "2.0", "id": 1, "result": answer}])
    return Node(liar.url).receipts([HASH])


def test_a_receipt(liar: Liar) -> None:
    (receipt,) = receipts_of(liar, RECEIPT)
    assert receipt == client.Receipt(
        tx_hash=HASH,
        block_number=16,
        block_hash=OTHER,
        succeeded=True,
        gas_used=21_000,
        gas_price_wei=7,
        contract_address=None,
        data_fee_wei=None,
        logs=(client.Log(wallet(), (HASH,), b"\x01", 3, HASH, 16, OTHER),),
    )


def test_a_rollups_data_fee_is_kept(liar: Liar) -> None:
    (receipt,) = receipts_of(liar, {**RECEIPT, "l1Fee": "0x64"})
    assert receipt is not None
    assert receipt.data_fee_wei == 100


def test_no_receipt_is_none(liar: Liar) -> None:
    assert receipts_of(liar, None) == [None]


@pytest.mark.parametrize(
    "change",
    [
        {"transactionHash": OTHER},
        {"transactionHash": None},
        {"status": "0x2"},
        {"status": None},
        {"blockHash": None},
        {"blockNumber": None},
        {"gasUsed": None},
        {"logs": None},
        {"logs": [None]},
        {"logs": [{**LOG, "transactionHash": OTHER}]},
        {"logs": [{**LOG, "blockHash": HASH}]},
        {"logs": [{**LOG, "removed": True}]},
        {"logs": [{**LOG, "topics": [HASH] * 5}]},
        {"logs": [{**LOG, "topics": ["0x1"]}]},
        {"logs": [{**LOG, "data": "0x1"}]},
        {"logs": [{**LOG, "address": "0x1"}]},
        {"logs": [{**LOG, "logIndex": 3}]},
    ],
)
def test_a_receipt_that_is_not_the_one_asked_for_is_no_answer(liar: Liar, change: dict[str, Any]) -> None:
    with pytest.raises(NodeUnreachable, match="is no use"):
        receipts_of(liar, {**RECEIPT, **change})


def test_a_receipt_the_node_can_not_tell_is_not_a_missing_one(liar: Liar) -> None:
    liar.answer = lambda exchange, request: exchange.send_json(
        [{"jsonrpc": "2.0", "id": 1, "error": {"code": -32000, "message": "index is being built"}}]
    )
    with pytest.raises(NodeRefused, match="index is being built"):
        Node(liar.url).receipts([HASH])


def test_logs_of_other_contracts_or_blocks_are_no_answer(liar: Liar) -> None:
    node = Node(liar.url)
    liar.answer = always([LOG])
    assert len(node.logs([wallet()], [], 16, 16)) == 1
    for addresses, first in (([wallet(1)], 16), ([wallet()], 17)):
        with pytest.raises(NodeUnreachable, match="not asked for"):
            node.logs(addresses, [], first, 20)


# -------------------------------------------------------------------------------------------------------------- sending

RAW = b"\x02signed"
RAW_HASH = "0x" + keccak(RAW).hex()


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        (always(RAW_HASH), HintKind.ACCEPTED),
        (always(RAW_HASH.upper().replace("X", "x")), HintKind.ACCEPTED),
        (always(OTHER), HintKind.UNKNOWN),
        (always(None), HintKind.UNKNOWN),
        (refusing({"code": -32000, "message": "already known"}), HintKind.REFUSED),
        (refusing({"code": -32000, "message": "nonce too low"}, status=400), HintKind.REFUSED),
        (body(b"<html>", 502), HintKind.UNKNOWN),
        (body(b"{}"), HintKind.UNKNOWN),
        (hang_up, HintKind.UNKNOWN),
    ],
)
def test_an_answer_to_sending_is_a_hint_and_never_an_error(
    liar: Liar, answer: Callable[[Exchange, Any], None], kind: HintKind
) -> None:
    liar.answer = answer
    hint = Node(f"{liar.url}/{SECRET}").send_raw(RAW)
    assert hint.kind is kind
    assert SECRET not in hint.text
    assert bool(hint.text) is (kind is not HintKind.ACCEPTED)
    assert liar.requests == [
        {"jsonrpc": "2.0", "id": 1, "method": "eth_sendRawTransaction", "params": ["0x" + RAW.hex()]}
    ]


def test_many_are_sent_in_one_message_with_a_hint_for_each(liar: Liar) -> None:
    liar.answer = lambda exchange, request: exchange.send_json(
        [
            {"jsonrpc": "2.0", "id": 2, "error": {"code": -32000, "message": "underpriced"}},
            {"jsonrpc": "2.0", "id": 1, "result": RAW_HASH},
        ]
    )
    assert [hint.kind for hint in Node(liar.url).send_raw_many([RAW, b"x"])] == [HintKind.ACCEPTED, HintKind.REFUSED]


# ------------------------------------------------------------------------------------------------------------- the rest


def test_many_threads_share_a_node(liar: Liar) -> None:
    liar.answer = lambda exchange, request: exchange.result(request, hex(int(request["params"][0], 16) % 997))
    node = Node(liar.url)

    def ask(number: int) -> int:
        return node.balance(f"0x{number:040x}")

    with ThreadPoolExecutor(8) as threads:
        assert list(threads.map(ask, range(1000))) == [number % 997 for number in range(1000)]


def test_a_proxy_of_the_machine_is_no_way_to_loopback(liar: Liar, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    liar.answer = always("0x1")
    assert Node(liar.url).chain_id() == 1


def test_a_node_without_accounts_of_its_own(liar: Liar) -> None:
    liar.answer = refusing({"code": -32601, "message": "no such method"})
    assert Node(liar.url).accounts() == []


def answering(value: Any) -> Callable[[Exchange, Any], None]:
    """`value` as the result of everything, single or in a batch."""

    def answer(exchange: Exchange, request: Any) -> None:
        if isinstance(request, list):
            exchange.send_json([{"jsonrpc": "2.0", "id": item["id"], "result": value} for item in request])
        else:
            exchange.result(request, value)

    return answer


def test_errors_are_all_of_our_own_tree(liar: Liar) -> None:
    """Whatever a node answers to whatever is asked, only LoyaltyErrors come out."""
    node = Node(liar.url, timeout=5)
    questions: list[Callable[[], Any]] = [
        node.chain_id,
        node.genesis_hash,
        node.head,
        node.finalized,
        lambda: node.code(wallet()),
        lambda: node.balance(wallet()),
        lambda: node.nonce(wallet()),
        lambda: node.eth_call(wallet(), b""),
        lambda: node.estimate_gas(Call(wallet(), b"")),
        node.fees,
        lambda: node.receipts([HASH]),
        lambda: node.logs([wallet()], [], 0, 1),
        node.accounts,
        lambda: node.send_unlocked(wallet(), wallet()),
    ]
    answers: list[Any] = [5, {}, [None], [5], "0x", "0x1", {"hash": 5}, [[]], True, 1.5]
    for answer in answers:
        liar.answer = answering(answer)
        for question in questions:
            try:
                question()
            except LoyaltyError as error:
                assert isinstance(error, ChainProblem)
