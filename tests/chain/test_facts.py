"""Logs are read by hand, and nothing that our contracts can't have written is read at all."""

from collections.abc import Callable
from random import Random
from typing import Any

import pytest
from eth_bloom.bloom import BloomFilter
from hypothesis import given, settings
from hypothesis import strategies as st

from nftloyalty.chain import facts
from nftloyalty.chain.abi import event_topic
from nftloyalty.chain.client import Node
from nftloyalty.domain.holding import Fact, FactKind
from nftloyalty.errors import NodeUnreachable
from tests.chain.paper_logs import EVENTS, event_of, log_item, topic
from tests.domain.paper import Paper, Told, act, membership_contract, season_contract, wallet

HASH = "0x" + "ab" * 32
TX = bytes([7] * 32)
CARDS, STAMPS = membership_contract(1), season_contract(1, 0)
CONTRACTS = {CARDS: (1, 0), STAMPS: (1, 1)}
NODE = Node("http://127.0.0.1:1")
A, B = wallet(1), wallet(2)


def item_of(told: Told, index: int = 0, **changes: Any) -> dict[str, Any]:
    topics, data = event_of(told)
    address = CARDS if told[0] == 0 else season_contract(1, told[0] - 1)
    return log_item(address, topics, data, block=5, block_hash=HASH, index=index, tx_hash=TX) | changes


def read(*items: Any, first: int = 1, last: int = 9) -> list[Fact]:
    return list(facts.read_logs(NODE, items, CONTRACTS, first, last).of(1))


MINT: Told = (0, FactKind.CARD_MINTED, A, b"")
STAMP: Told = (1, FactKind.STAMP_MINTED, A, b"\x78")


@settings(max_examples=50, deadline=None)
@given(st.randoms(use_true_random=False))
def test_every_fact_is_read_as_it_was_told(random: Random) -> None:
    paper = Paper(1)
    told = [each for number in range(40) for each in act(paper, random, 1_700_000_000 + number)]
    contracts = CONTRACTS | {season_contract(1, season): (1, season + 1) for season in range(1, 3)}
    items = [item_of(each, index) for index, each in enumerate(told)]
    found = facts.read_logs(NODE, items, contracts, 5, 5)
    wanted = [Fact(5, index, TX, contract, kind, who, data) for index, (contract, kind, who, data) in enumerate(told)]
    assert list(found.of(1)) == wanted
    assert all(type(fact.kind) is int for fact in found.of(1))


def test_the_topics_are_those_of_the_compiled_contracts() -> None:
    names = {"Expiry": "TokenExpiryUpdated"}
    cards = ["Transfer", "Expiry", "MemberSet", "CardRevoked", "Readmitted", "Migrated", "VoucherVoided"]
    assert facts.topics(0) == tuple("0x" + topic(name).hex() for name in [*cards, "SeasonLinked"])
    assert facts.topics(1) == tuple("0x" + topic(name).hex() for name in ["Transfer", "StampRevoked", "Redeemed"])
    for name in cards:
        assert "0x" + topic(name).hex() == event_topic("LoyaltyMembership", names.get(name, name))
    assert set(facts.all_topics()) == {"0x" + topic(name).hex() for name in EVENTS if name != "Locked"}


def test_facts_come_in_the_order_of_the_chain_each_to_its_program() -> None:
    other = membership_contract(2)
    items = [item_of(STAMP, 4), item_of(MINT, 2), item_of(MINT, 3, address="0x" + other.hex())]
    found = facts.read_logs(NODE, items, CONTRACTS | {other: (2, 0)}, 5, 5)
    assert [fact.log_index for fact in found.of(1)] == [2, 4]
    assert [fact.log_index for fact in found.of(2)] == [3]
    assert found.of(3) == ()
    assert found.hashes == {5: HASH}
    assert found.speakers == {5: {CARDS, STAMPS, other}}


def test_capitals_in_hex_are_no_matter() -> None:
    loud = {key: "0x" + value[2:].upper() for key, value in item_of(MINT).items() if isinstance(value, str)} | {
        "topics": ["0x" + each[2:].upper() for each in item_of(MINT)["topics"]]
    }
    assert read(loud) == read(item_of(MINT))


Bend = Callable[[dict[str, Any]], Any]


@pytest.mark.parametrize(
    "bend",
    [
        lambda item: None,
        lambda item: [],
        lambda item: item | {"removed": True},
        lambda item: item | {"address": "0x" + B.hex()},
        lambda item: item | {"address": None},
        lambda item: item | {"topics": []},
        lambda item: item | {"topics": item["topics"][:3]},
        lambda item: item | {"topics": [*item["topics"], item["topics"][0]]},
        lambda item: item | {"topics": ["0x" + topic("Locked").hex(), *item["topics"][1:]]},
        lambda item: item | {"topics": [*item["topics"][:3], item["topics"][3][:-2]]},
        lambda item: item | {"topics": [*item["topics"][:3], item["topics"][3][:-2] + " 1"]},
        lambda item: item | {"topics": [*item["topics"][:3], "0x" + "00" * 11 + "01" + A.hex()]},
        lambda item: item | {"topics": [*item["topics"][:2], "0x" + B.hex().rjust(64, "0"), item["topics"][3]]},
        lambda item: item | {"topics": [item["topics"][0], item["topics"][2], item["topics"][2], item["topics"][3]]},
        lambda item: item | {"topics": [item["topics"][0], item["topics"][1], item["topics"][1], item["topics"][3]]},
        lambda item: item | {"data": "0x00"},
        lambda item: item | {"data": None},
        lambda item: item | {"blockNumber": "0xa"},
        lambda item: item | {"blockNumber": 5},
        lambda item: item | {"blockNumber": "0x_5"},
        lambda item: item | {"blockNumber": "0x\u0665"},
        lambda item: item | {"blockHash": "0xab"},
        lambda item: item | {"blockHash": None},
        lambda item: item | {"transactionHash": "0x"},
        lambda item: item | {"logIndex": "-0x1"},
        lambda item: item | {"logIndex": hex(1 << 31)},
    ],
)
def test_what_is_no_log_of_ours_makes_the_answer_no_use(bend: Bend) -> None:
    assert len(read(item_of(MINT))) == 1
    with pytest.raises(NodeUnreachable, match="no use"):
        read(bend(item_of(MINT)))


@pytest.mark.parametrize(
    "told",
    [
        (1, FactKind.STAMP_MINTED, A, b"\x00"),
        (1, FactKind.STAMP_MINTED, A, b"\x79"),
        (0, FactKind.MEMBER_SET, A, b"\x01" + b"\xff" * 8),
        (0, FactKind.MIGRATED, A, B + b"\xff" * 8),
    ],
)
def test_numbers_beyond_those_of_the_contracts_are_refused(told: Told) -> None:
    with pytest.raises(NodeUnreachable):
        read(item_of(told))


def test_two_logs_of_one_place_or_two_blocks_of_one_number_are_refused() -> None:
    with pytest.raises(NodeUnreachable, match="two logs of one place"):
        read(item_of(MINT), item_of(STAMP))
    with pytest.raises(NodeUnreachable, match="two blocks of one number"):
        read(item_of(MINT), item_of(STAMP, 1, blockHash="0x" + "cd" * 32))


def test_of_a_blocks_receipts_only_facts_of_the_contracts_are_kept() -> None:
    mint, stamp = item_of(MINT), item_of(STAMP, 1)
    locked = item_of(MINT, 2) | {"topics": ["0x" + topic("Locked").hex()]}
    # An event that the other contract tells too.
    void_of_stamps = item_of((0, FactKind.VOUCHER_VOIDED, A, b""), 3, address="0x" + STAMPS.hex())
    foreign = item_of(MINT, 4, address="0x" + B.hex())
    items: list[Any] = [mint, locked, void_of_stamps, foreign, stamp, None, {}, {"topics": []}]
    assert facts.of_contracts(items, CONTRACTS) == [mint, stamp]


def test_a_bloom_never_hides_what_is_there_and_rules_out_what_is_not() -> None:
    bloom = BloomFilter()
    for topics in [event_of(MINT)[0]]:
        bloom.extend([CARDS, *topics])
    assert facts.may_speak(int(bloom), CARDS, 0)
    assert not facts.may_speak(int(bloom), STAMPS, 1)
    assert not facts.may_speak(0, CARDS, 0)
    # The contract spoke, and told nothing that changes a holding.
    quiet = BloomFilter()
    quiet.extend([CARDS, bytes(32)])
    assert not facts.may_speak(int(quiet), CARDS, 0)
