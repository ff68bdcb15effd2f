"""Trying before sending, finding what spoils a batch, fees, and one look at what is under way."""

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.chain import sender
from nftloyalty.chain.client import Node
from nftloyalty.chain.contracts import Membership
from nftloyalty.chain.logs import outcome_topics
from nftloyalty.domain.words import card_item, card_token_id
from nftloyalty.errors import ChainProblem, NodeRefused, NodeUnreachable, Reverted
from tests.chain.liar import Exchange, Liar
from tests.chain.opened import CEILING, HOT, STRANGER, Opened, transact
from tests.domain.build import wallet

POISON = Reverted("LoyaltyMembership_PastExpiry", {})
QUOTA = Reverted("LoyaltyMembership_QuotaExceeded", {})


class Batch:
    """A contract that goes through items in order, fails at the first bad one and takes `limit` good ones."""

    def __init__(self, bad: set[int], limit: int | None = None) -> None:
        self.bad = bad
        self.limit = limit
        self.tries = 0

    def refused(self, items: Sequence[int]) -> Reverted | None:
        self.tries += 1
        for done, item in enumerate(items):
            if item in self.bad:
                return Reverted("LoyaltyMembership_PastExpiry", {"item": item})
            if done == self.limit:
                return QUOTA
        return None


@given(st.integers(0, 300), st.data())
def test_exactly_the_bad_items_are_found_in_few_tries(count: int, data: st.DataObject) -> None:
    items = list(range(count))
    bad = data.draw(st.sets(st.sampled_from(items), max_size=12)) if items else set()
    batch = Batch(bad)
    found = sender.bisect_poison(items, batch.refused)
    assert [item for item, _ in found] == sorted(bad)
    assert all(error.values == {"item": item} for item, error in found)
    assert batch.tries <= 1 + len(bad) * (2 + math.ceil(math.log2(max(count, 2))))


@given(st.integers(1, 200), st.integers(0, 200), st.data())
def test_what_is_left_passes_or_meets_the_batchs_own_limit(count: int, limit: int, data: st.DataObject) -> None:
    items = list(range(count))
    bad = data.draw(st.sets(st.sampled_from(items), max_size=8))
    batch = Batch(bad, limit)
    poisoned = {item for item, _ in sender.bisect_poison(items, batch.refused)}
    assert poisoned <= bad, "an item was blamed for a limit of the whole batch"
    left = batch.refused([item for item in items if item not in poisoned])
    assert left is None or left is QUOTA


@pytest.mark.parametrize("name", sorted(sender.BATCH_REFUSALS))
def test_an_error_that_names_no_item_poisons_none(name: str) -> None:
    tries = []

    def refused(items: Sequence[int]) -> Reverted | None:
        tries.append(len(items))
        return Reverted(name, {})

    assert sender.bisect_poison(range(1000), refused) == []
    assert len(tries) <= 12


def test_equal_items_are_told_apart_by_their_place() -> None:
    seen: list[list[str]] = []

    def once_only(items: Sequence[str]) -> Reverted | None:
        seen.append(list(items))
        return POISON if len(set(items)) != len(items) else None

    assert sender.bisect_poison(["a", "b", "a", "c"], once_only) == [("a", POISON)]
    assert seen[-1] == ["a", "b", "c"]


def test_nothing_to_try_is_not_tried() -> None:
    assert sender.bisect_poison([], lambda items: POISON) == []


# ----------------------------------------------------------------------------------------------------------- on a chain


def test_a_refusal_tells_the_contracts_reason(opened: Opened) -> None:
    data = Membership.encode_mint(wallet(1), 1, 0)
    address = opened.membership.address
    assert sender.refusal(opened.node, HOT.address, address, data) is None
    refusal = sender.refusal(opened.node, STRANGER.address, address, data)
    assert refusal is not None
    assert (refusal.name, refusal.values) == ("LoyaltyMembership_NotAllowed", {"caller": STRANGER.address})
    refusal = sender.refusal(opened.node, HOT.address, address, Membership.encode_mint(wallet(1), 9, 0))
    assert refusal is not None
    assert (refusal.name, refusal.values) == ("LoyaltyMembership_BadTier", {"tier": 9, "highest": 3})


def test_an_estimate_is_enough_to_send_with(opened: Opened) -> None:
    data = Membership.encode_mint(wallet(2), 1, 0)
    gas = sender.estimate(opened.node, HOT.address, opened.membership.address, data)
    receipt = transact(opened.node, HOT, opened.membership.address, data, gas=gas)
    assert receipt.succeeded
    assert receipt.gas_used <= gas <= receipt.gas_used * 13 // 10
    with pytest.raises(Reverted, match="the wallet already holds it"):
        sender.estimate(opened.node, HOT.address, opened.membership.address, data)


def test_the_poisoned_items_of_a_real_batch_are_found(opened: Opened) -> None:
    good = [card_item(wallet(100 + number), 1, 0) for number in range(13)]
    past, no_tier = card_item(wallet(300), 1, 5), card_item(wallet(301), 77, 0)
    items = [*good[:4], past, *good[4:9], no_tier, *good[9:]]

    def refused(part: Sequence[int]) -> Reverted | None:
        data = Membership.encode_mint_batch(part)
        return sender.refusal(opened.node, HOT.address, opened.membership.address, data)

    found = sender.bisect_poison(items, refused)
    assert [(item, error.name) for item, error in found] == [
        (past, "LoyaltyMembership_PastExpiry"),
        (no_tier, "LoyaltyMembership_BadTier"),
    ]


def test_a_batch_over_the_quota_poisons_nobody(opened: Opened) -> None:
    items = [card_item(wallet(1000 + number), 1, 0) for number in range(420)]

    def refused(part: Sequence[int]) -> Reverted | None:
        data = Membership.encode_mint_batch(part)
        return sender.refusal(opened.node, HOT.address, opened.membership.address, data)

    assert sender.bisect_poison(items, refused) == []


def test_fees_cover_a_doubled_base_fee_and_stay_below_the_ceiling(node: Node) -> None:
    market = node.fees()
    assert market.base_fee is not None
    found = sender.fees(node, CEILING)
    assert found.max_fee == 2 * market.base_fee + market.priority_fee
    assert found.priority_fee == market.priority_fee
    tight = sender.fees(node, market.base_fee)
    assert tight.max_fee == market.base_fee
    assert tight.priority_fee <= tight.max_fee
    with pytest.raises(ChainProblem, match="above the ceiling"):
        sender.fees(node, market.base_fee - 1)


def test_a_look_tells_head_nonce_and_receipts(opened: Opened) -> None:
    receipt = transact(opened.node, HOT, opened.membership.address, Membership.encode_mint(wallet(3), 1, 0))
    unknown = "0x" + "99" * 32
    sight = sender.look(opened.node, [receipt.tx_hash, unknown], HOT.address)
    assert sight.head == opened.node.head()
    assert sight.latest_nonce == opened.node.nonce(HOT.address)
    telling = tuple(log for log in receipt.logs if log.topics[0] in outcome_topics())
    assert len(receipt.logs) > len(telling) > 0
    assert sight.receipts == {receipt.tx_hash: replace(receipt, logs=telling), unknown: None}
    assert card_token_id(wallet(3)) in [int(log.topics[3], 16) for log in receipt.logs if len(log.topics) == 4]


# ---------------------------------------------------------------------------------------------------------- lying nodes

HASH = "0x" + "ab" * 32
HEAD = {"number": "0x1", "hash": HASH, "parentHash": HASH, "timestamp": "0x1", "baseFeePerGas": "0x7"}


def test_a_chain_without_eip_1559_is_refused_in_words(liar: Liar) -> None:
    head = {key: value for key, value in HEAD.items() if key != "baseFeePerGas"}
    liar.answer = lambda exchange, request: exchange.send_json(
        [{"jsonrpc": "2.0", "id": 1, "result": head}, {"jsonrpc": "2.0", "id": 2, "result": "0x1"}]
    )
    with pytest.raises(ChainProblem, match="no EIP-1559 fees"):
        sender.fees(Node(liar.url), CEILING)


def priced(liar: Liar, base_fee: int, tip: int) -> Node:
    liar.answer = lambda exchange, request: exchange.send_json(
        [
            {"jsonrpc": "2.0", "id": 1, "result": {**HEAD, "baseFeePerGas": hex(base_fee)}},
            {"jsonrpc": "2.0", "id": 2, "result": hex(tip)},
        ]
    )
    return Node(liar.url)


def test_a_chain_with_free_gas_costs_nothing(liar: Liar) -> None:
    assert sender.fees(priced(liar, 0, 0), CEILING) == sender.Fees(0, 0)


def test_a_tip_never_exceeds_the_whole_fee(liar: Liar) -> None:
    assert sender.fees(priced(liar, 1, 50), 7) == sender.Fees(7, 7)


@pytest.mark.parametrize(
    ("broken", "how"),
    # No receipt at all (2, null) is an honest answer.
    [
        (0, "error"),
        (0, "null"),
        (0, "garbage"),
        (1, "error"),
        (1, "null"),
        (1, "garbage"),
        (2, "error"),
        (2, "garbage"),
    ],
)
def test_half_a_look_decides_nothing(liar: Liar, broken: int, how: str) -> None:
    answers: list[dict[str, Any]] = [{"result": HEAD}, {"result": "0x5"}, {"result": None}]
    ways: dict[str, dict[str, Any]] = {
        "error": {"error": {"code": -32000, "message": "busy"}},
        "null": {"result": None},
        "garbage": {"result": "0xzz"},
    }
    answers[broken] = ways[how]

    def answer(exchange: Exchange, request: Any) -> None:
        exchange.send_json([{"jsonrpc": "2.0", "id": item["id"], **answers[item["id"] - 1]} for item in request])

    liar.answer = answer
    with pytest.raises((NodeRefused, NodeUnreachable)):
        sender.look(Node(liar.url), [HASH], wallet())


def test_a_look_is_one_message_to_one_node_nonce_before_receipts(liar: Liar) -> None:
    liar.answer = lambda exchange, request: exchange.send_json(
        [
            {"jsonrpc": "2.0", "id": 1, "result": HEAD},
            {"jsonrpc": "2.0", "id": 2, "result": "0x5"},
            {"jsonrpc": "2.0", "id": 3, "result": None},
        ]
    )
    assert sender.look(Node(liar.url), [HASH], wallet()).latest_nonce == 5
    assert [[item["method"] for item in request] for request in liar.requests] == [
        ["eth_getBlockByNumber", "eth_getTransactionCount", "eth_getTransactionReceipt"]
    ]
