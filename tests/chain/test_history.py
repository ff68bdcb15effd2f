"""Transactions of an account are found by their nonces, with bytes that prove themselves."""

from typing import Any

import pytest
from eth_utils.crypto import keccak

from nftloyalty.chain import history
from nftloyalty.chain.client import BlockId, Node
from nftloyalty.errors import ChainProblem
from tests.chain.liar import Liar
from tests.chain.opened import fund, key, transact
from tests.domain.build import wallet

ACCOUNT = key(4711)
SENT = 9


@pytest.fixture(scope="module")
def filled(node: Node) -> Node:
    """A chain on which ACCOUNT has sent nine transactions, between those of others."""
    fund(node, ACCOUNT)
    for number in range(SENT):
        transact(node, ACCOUNT, wallet(number + 1), bytes([number]) * number, number)
        if number % 4 == 0:
            fund(node, key(4712), wei=1)
    return node


@pytest.mark.parametrize("nonces", [[0], [8], [3, 4, 5], [0, 7], list(range(SENT))])
def test_transactions_are_found_by_their_nonces(filled: Node, nonces: list[int]) -> None:
    found = history.sent_by(filled, ACCOUNT.address, nonces)
    assert [sent.nonce for sent in found] == nonces
    for sent in found:
        assert (sent.to, sent.data, sent.value) == (
            wallet(sent.nonce + 1),
            bytes([sent.nonce]) * sent.nonce,
            sent.nonce,
        )
        assert sent.raw is not None
        assert "0x" + keccak(sent.raw).hex() == sent.tx_hash
        (receipt,) = filled.receipts([sent.tx_hash])
        assert receipt is not None and receipt.block_number == sent.block_number


def test_nothing_asked_is_nothing_found(filled: Node) -> None:
    assert history.sent_by(filled, ACCOUNT.address, []) == []


def test_a_nonce_that_was_not_used_is_told(filled: Node) -> None:
    with pytest.raises(ChainProblem, match=f"no transaction of {ACCOUNT.address} with nonce {SENT}"):
        history.sent_by(filled, ACCOUNT.address, [SENT])


def test_recent_transactions_are_found_where_old_states_are_forgotten(
    filled: Node, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[BlockId] = []
    ask = Node.nonce

    def nonce(node: Node, address: str, block: BlockId = "latest") -> int:
        asked.append(block)
        return ask(node, address, block)

    monkeypatch.setattr(Node, "nonce", nonce)
    head = filled.head().number
    assert history.sent_by(filled, ACCOUNT.address, [SENT - 1])[0].nonce == SENT - 1
    assert all(isinstance(block, int) and block > head - 8 for block in asked)


def test_a_node_that_has_forgotten_is_told_with_the_mend(liar: Liar) -> None:
    block = {
        "number": "0x64",
        "hash": "0x" + "1" * 64,
        "parentHash": "0x" + "2" * 64,
        "timestamp": "0x1",
        "baseFeePerGas": "0x1",
    }

    def answer(exchange: Any, request: Any) -> None:
        if request["method"] == "eth_getBlockByNumber":
            exchange.result(request, block)
        else:
            exchange.error(request, {"code": -32000, "message": "missing trie node"})

    liar.answer = answer
    with pytest.raises(ChainProblem, match="does not know the past") as told:
        history.sent_by(Node(liar.url), ACCOUNT.address, [0])
    assert "archive node" in told.value.mend
