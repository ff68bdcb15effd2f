import json
import signal
import socket
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
import requests

from nftloyalty.devchain import CHAIN_ID, DevChain, DevChainServer, serve
from nftloyalty.devchain.chain import MAX_BATCH
from nftloyalty.devchain.server import MAX_BODY_BYTES, listen, loopback_address
from nftloyalty.errors import BadInput
from tests.conftest import ROOT
from tests.devchain.conftest import Rpc

CHAIN_ID_REQUEST: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": "eth_chainId", "params": []}


def post(http: requests.Session, server: DevChainServer, body: Any, **headers: str) -> requests.Response:
    """`body` is sent as it is if it is bytes, else as JSON."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return http.post(server.url, data=data, headers=headers, timeout=60)


# JSON-RPC


def test_an_answer_carries_the_id_of_its_request(server: DevChainServer, http: requests.Session) -> None:
    for id_ in (7, "seven", None, 1.5):
        answer = post(http, server, CHAIN_ID_REQUEST | {"id": id_}).json()
        assert answer == {"jsonrpc": "2.0", "id": id_, "result": hex(CHAIN_ID)}


def test_an_unknown_method_is_not_found(rpc: Rpc) -> None:
    for method in ("eth_nothing", "__init__", "eth_newFilter"):
        assert rpc(method)["error"]["code"] == -32601


def test_wrong_params_are_invalid(rpc: Rpc, server: DevChainServer, http: requests.Session) -> None:
    assert rpc("eth_getBalance", "0x12")["error"]["code"] == -32602
    named = CHAIN_ID_REQUEST | {"params": {"block": "latest"}}
    assert post(http, server, named).json()["error"]["code"] == -32602


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b'{"id":NaN}', b"[" * 100_000, b'{"a":' * 100_000, b"1" * 5_000])
def test_what_is_not_json_is_a_parse_error(server: DevChainServer, http: requests.Session, body: bytes) -> None:
    answer = post(http, server, body).json()
    assert (answer["id"], answer["error"]["code"]) == (None, -32700)


def test_an_id_that_json_cannot_write_back_is_refused(server: DevChainServer, http: requests.Session) -> None:
    answer = post(http, server, b'{"jsonrpc": "2.0", "id": 1e999, "method": "eth_chainId"}').json()
    assert (answer["id"], answer["error"]["code"]) == (None, -32600)


def test_brackets_in_a_string_nest_nothing(rpc: Rpc) -> None:
    assert rpc('"' + "[" * 100)["error"]["code"] == -32601


@pytest.mark.parametrize(
    "payload",
    [
        1,
        "eth_chainId",
        {},
        {"jsonrpc": "1.0", "id": 1, "method": "eth_chainId"},
        {"jsonrpc": "2.0", "id": 1, "method": 1},
        {"jsonrpc": "2.0", "id": [1], "method": "eth_chainId"},
        {"jsonrpc": "2.0", "id": True, "method": "eth_chainId"},
        [],
        [CHAIN_ID_REQUEST] * (MAX_BATCH + 1),
    ],
)
def test_what_is_no_request_is_invalid(server: DevChainServer, http: requests.Session, payload: Any) -> None:
    assert post(http, server, payload).json()["error"]["code"] == -32600


def test_a_batch_is_answered_in_order_and_fails_one_by_one(server: DevChainServer, http: requests.Session) -> None:
    batch = [
        CHAIN_ID_REQUEST,
        {"jsonrpc": "2.0", "method": "evm_mine"},
        {"jsonrpc": "2.0", "id": "b", "method": "eth_blockNumber"},
        {"jsonrpc": "2.0", "id": 3, "method": "eth_nothing"},
        1,
    ]
    answers = post(http, server, batch).json()
    assert [answer["id"] for answer in answers] == [1, "b", 3, None]
    assert [answer.get("result") for answer in answers] == [hex(CHAIN_ID), "0x1", None, None]
    assert [answers[2]["error"]["code"], answers[3]["error"]["code"]] == [-32601, -32600]


def test_a_notification_is_carried_out_and_not_answered(server: DevChainServer, http: requests.Session) -> None:
    notification = {"jsonrpc": "2.0", "method": "evm_mine"}
    for body in (notification, [notification]):
        response = post(http, server, body)
        assert (response.status_code, response.content) == (204, b"")
    assert server.chain.request("eth_blockNumber") == "0x2"


def test_an_unexpected_failure_is_an_answer(
    rpc: Rpc, chain: DevChain, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken() -> None:
        raise RuntimeError("broken")

    monkeypatch.setitem(chain._methods, "eth_broken", broken)
    assert rpc("eth_broken")["error"] == {"code": -32603, "message": "internal error: RuntimeError: broken"}
    assert "eth_broken failed" in caplog.text
    assert rpc("eth_chainId")["result"] == hex(CHAIN_ID)


def test_two_threads_at_once_share_one_chain(server: DevChainServer) -> None:
    sender, *others = server.chain.request("eth_accounts")

    def send(receiver: str) -> Sequence[str]:
        with requests.Session() as http:
            http.trust_env = False
            return [
                post(
                    http,
                    server,
                    CHAIN_ID_REQUEST
                    | {"method": "eth_sendTransaction", "params": [{"from": sender, "to": receiver, "value": "0x1"}]},
                ).json()["result"]
                for _ in range(10)
            ]

    with ThreadPoolExecutor(2) as pool:
        hashes = [hash_ for sent in pool.map(send, others[:2]) for hash_ in sent]
    transactions = [server.chain.request("eth_getTransactionByHash", hash_) for hash_ in hashes]
    assert sorted(int(each["nonce"], 16) for each in transactions) == list(range(20))
    assert sorted(int(each["blockNumber"], 16) for each in transactions) == list(range(1, 21))


# HTTP


@pytest.mark.parametrize(
    "host", ["evil.example", "evil.example:8545", "127.0.0.1.evil.example", "10.0.0.1", "", "[", ":"]
)
def test_a_foreign_host_header_is_refused(server: DevChainServer, http: requests.Session, host: str) -> None:
    assert post(http, server, CHAIN_ID_REQUEST, Host=host).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "LOCALHOST:1", "127.0.0.1:8545", "127.1.2.3", "[::1]:8545"])
def test_a_host_header_of_this_machine_is_taken(server: DevChainServer, http: requests.Session, host: str) -> None:
    assert post(http, server, CHAIN_ID_REQUEST, Host=host).json()["result"] == hex(CHAIN_ID)


@pytest.mark.parametrize(
    ("origin", "status"),
    [
        ("https://evil.example", 403),
        ("http://localhost.evil.example", 403),
        ("null", 403),
        ("http://localhost:8000", 200),
        ("http://127.0.0.1:8000", 200),
        ("chrome-extension://nkbihfbeogaeaoehlefnkodbefgpgknn", 200),
    ],
)
def test_web_pages_of_other_machines_are_refused(
    server: DevChainServer, http: requests.Session, origin: str, status: int
) -> None:
    assert post(http, server, CHAIN_ID_REQUEST, Origin=origin).status_code == status


def test_a_body_over_the_limit_is_refused(server: DevChainServer, http: requests.Session) -> None:
    assert post(http, server, b" " * (MAX_BODY_BYTES + 1)).status_code == 413
    padded = json.dumps(CHAIN_ID_REQUEST).encode().ljust(MAX_BODY_BYTES)
    assert post(http, server, padded).json()["result"] == hex(CHAIN_ID)


def test_only_posts_to_the_root_are_answered(server: DevChainServer, http: requests.Session) -> None:
    assert http.get(server.url, timeout=60).status_code == 405
    assert http.post(f"{server.url}/v1", json=CHAIN_ID_REQUEST, timeout=60).status_code == 404


# Binding


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "192.168.1.7", "example.com", "localhost.example.com", ""])  # noqa: S104
def test_only_loopback_hosts_are_bound(host: str) -> None:
    for start in (lambda: serve(host, 0), lambda: DevChainServer(host=host)):
        with pytest.raises(BadInput) as caught:
            start()
        assert "is not an address of this machine alone" in str(caught.value.problems[0])


def test_the_socket_names_its_protocol() -> None:
    # Else asyncio leaves Nagle's algorithm on, and most answers wait 40 ms for the client's acknowledgement.
    with listen("127.0.0.1", 0) as listener:
        assert listener.proto == socket.IPPROTO_TCP


@pytest.mark.parametrize("port", [-1, 65_536])
def test_a_port_that_is_none_is_named(port: int) -> None:
    with pytest.raises(BadInput) as caught:
        DevChainServer(port=port)
    (problem,) = caught.value.problems
    assert (problem.place, problem.what) == (f"port {port}", "is no port: they go from 0 to 65535")


def test_a_taken_port_is_named(server: DevChainServer) -> None:
    port = int(server.url.rsplit(":", 1)[1])
    with pytest.raises(BadInput) as caught:
        serve(port=port)
    (problem,) = caught.value.problems
    assert (problem.place, problem.what) == (f"port {port}", "is taken: another server listens there")
    assert "--port" in problem.mend


@pytest.mark.parametrize(
    ("host", "address"),
    [("localhost", "127.0.0.1"), ("127.0.0.2", "127.0.0.2"), ("::1", "::1"), ("[::1]", "::1"), ("8.8.8.8", None)],
)
def test_loopback_is_told_without_a_name_server(host: str, address: str | None) -> None:
    found = loopback_address(host)
    assert (None if found is None else str(found)) == address


def test_a_restarted_server_is_another_chain(http: requests.Session) -> None:
    genesis = CHAIN_ID_REQUEST | {"method": "eth_getBlockByNumber", "params": ["0x0", False]}
    seen, port = set(), 0
    for _ in range(2):
        with DevChainServer(port=port) as server:
            port = int(server.url.rsplit(":", 1)[1])
            seen.add(post(http, server, genesis).json()["result"]["hash"])
    assert len(seen) == 2


def test_serve_blocks_until_it_is_interrupted(http: requests.Session) -> None:
    program = """
from nftloyalty.devchain import serve
try:
    serve(port=0, ready=lambda url: print(url, flush=True))
except KeyboardInterrupt:
    print("interrupted")
"""
    with subprocess.Popen(
        [sys.executable, "-W", "error", "-c", program],
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
    ) as process:
        try:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            assert http.post(url, json=CHAIN_ID_REQUEST, timeout=60).json()["result"] == hex(CHAIN_ID)
            process.send_signal(signal.SIGINT)
            rest, _ = process.communicate(timeout=60)
        finally:
            process.kill()
    assert (rest, process.returncode) == ("interrupted\n", 0)
