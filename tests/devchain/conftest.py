"""A served chain a test, and the clients we did not write that talk to it."""

import json
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import requests
from web3 import HTTPProvider, Web3

from nftloyalty.devchain import DevChain, DevChainServer
from tests.conftest import tool

Rpc = Callable[..., Any]
Cast = Callable[..., str]


@pytest.fixture
def chain() -> DevChain:
    return DevChain()


@pytest.fixture
def server(chain: DevChain) -> Iterator[DevChainServer]:
    with DevChainServer(chain) as server:
        yield server


@pytest.fixture
def http() -> Iterator[requests.Session]:
    with requests.Session() as session:
        session.trust_env = False  # a proxy of the machine is no way to loopback
        yield session


@pytest.fixture
def rpc(server: DevChainServer, http: requests.Session) -> Rpc:
    """`rpc(method, *params)` over HTTP: the whole JSON-RPC answer."""

    def ask(method: str, *params: Any) -> Any:
        payload: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(params)}
        answer = http.post(server.url, json=payload, timeout=60).json()
        assert answer.pop("jsonrpc") == "2.0"
        assert answer.pop("id") == 1
        return answer

    return ask


@pytest.fixture
def w3(server: DevChainServer, http: requests.Session) -> Any:
    """web3.py with its own middleware, retries off. Any: its hash and address types are of no matter to these tests."""
    return Web3(HTTPProvider(server.url, session=http, exception_retry_configuration=None))


@pytest.fixture
def cast(server: DevChainServer) -> Cast:
    """`cast(command, *arguments)` against the served chain. Returns what it prints; fails the test if it fails."""
    binary = tool("cast")

    def run(command: str, *arguments: str, fails: bool = False) -> str:
        done = subprocess.run(
            [binary, command, "--rpc-url", server.url, *arguments],
            capture_output=True,
            text=True,
            timeout=60,
            env={"NO_PROXY": "*", "HOME": "/nonexistent", "NO_COLOR": "1"},
            check=False,
        )
        assert (done.returncode != 0) == fails, done.stdout + done.stderr
        return (done.stderr if fails else done.stdout).strip()

    return run


@pytest.fixture
def cast_json(cast: Cast) -> Callable[..., Any]:
    return lambda command, *arguments: json.loads(cast(command, "--json", *arguments))
