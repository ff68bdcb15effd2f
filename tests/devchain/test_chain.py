import re
from collections.abc import Iterator
from typing import Any

import pytest
from eth_account import Account
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak

from nftloyalty.devchain import CHAIN_ID, DevChain
from nftloyalty.devchain.chain import BLOCK_GAS_LIMIT
from nftloyalty.devchain.wire import RpcError
from tests.devchain.contracts import (
    CHAIN_IDENTITY,
    CLOCK,
    CUSTOM_ERROR,
    DEPLOYER,
    DEPLOYER_SIGNER,
    DEPLOYER_TRANSACTION,
    ENDLESS,
    HUNGRY,
    LOGGER,
    RANDOMNESS,
    REVERTER,
    STORE,
    creation,
    deploy,
    fund,
)

STRANGER = Account.from_key("0x" + "11" * 32)
NOW = 1_900_000_000

DATA_FIELDS = re.compile(
    r"(hash|.*Hash|.*Root|.*Bloom|sha3Uncles|miner|from|to|address|input|data|topics|extraData|contractAddress|"
    r"transactions|uncles|storageKeys)$"
)
QUANTITY = re.compile(r"0x(0|[1-9a-f][0-9a-f]*)")
DATA = re.compile(r"0x([0-9a-f]{2})*")


@pytest.fixture
def rich(chain: DevChain) -> str:
    return str(chain.request("eth_accounts")[0])


def signed(**fields: Any) -> str:
    """A transaction of the stranger's as raw 0x-hex."""
    defaults: dict[str, Any] = {"nonce": 0, "gas": 21_000, "to": "0x" + "22" * 20, "value": 1, "chainId": CHAIN_ID}
    if "gasPrice" not in fields:
        defaults |= {"maxFeePerGas": 3 * 10**9, "maxPriorityFeePerGas": 10**9}
    transaction = defaults | fields
    transaction["to"] = to_checksum_address(transaction["to"])
    return "0x" + bytes(Account.sign_transaction(transaction, STRANGER.key).raw_transaction).hex()


def refusal(chain: DevChain, method: str, *params: Any) -> RpcError:
    with pytest.raises(RpcError) as caught:
        chain.request(method, *params)
    return caught.value


def leaves(value: Any, name: str = "") -> Iterator[tuple[str, Any]]:
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from leaves(inner, key)
    elif isinstance(value, list):
        for inner in value:
            yield from leaves(inner, name)
    else:
        yield name, value


# Blocks, transactions, receipts


def test_every_number_is_a_quantity_and_every_byte_string_is_whole(chain: DevChain, rich: str) -> None:
    logger = deploy(chain, LOGGER)
    access = [{"address": logger, "storageKeys": ["0x" + "00" * 32]}]
    hash_ = chain.request("eth_sendTransaction", {"from": rich, "to": logger, "data": "0x00ff", "accessList": access})
    chain.request("eth_sendTransaction", {"from": rich, "to": logger, "gasPrice": hex(2 * 10**9), "gas": "0x30000"})
    shown = [
        chain.request("eth_getBlockByNumber", "earliest", True),
        *[chain.request("eth_getBlockByNumber", hex(number), True) for number in range(4)],
        chain.request("eth_getBlockByNumber", "pending", False),
        chain.request("eth_getTransactionByHash", hash_),
        chain.request("eth_getTransactionReceipt", hash_),
        chain.request("eth_getLogs", {"fromBlock": "earliest"}),
    ]
    found = list(leaves(shown))
    assert len(found) > 200
    for name, value in found:
        if name in ("nonce", "mixHash") and len(str(value)) in (18, 66):
            assert DATA.fullmatch(value), (name, value)  # a header's nonce is data
        elif value is not None and not isinstance(value, bool):
            assert (DATA if DATA_FIELDS.match(name) else QUANTITY).fullmatch(value), (name, value)


def test_blooms_are_256_bytes(chain: DevChain) -> None:
    assert len(chain.request("eth_getBlockByNumber", "latest")["logsBloom"]) == 2 + 512


def test_each_transaction_is_a_block_and_links_to_its_parent(chain: DevChain, rich: str) -> None:
    fund(chain, STRANGER.address)
    hash_ = chain.request("eth_sendTransaction", {"from": rich, "to": STRANGER.address, "value": "0x1"})
    block, parent = (chain.request("eth_getBlockByNumber", number) for number in ("0x2", "0x1"))
    assert chain.request("eth_blockNumber") == "0x2"
    assert block["transactions"] == [hash_]
    assert block["parentHash"] == parent["hash"]
    assert chain.request("eth_getBlockByHash", block["hash"], False) == block
    assert [chain.request("eth_getBlockByNumber", tag)["hash"] for tag in ("latest", "safe", "finalized")] == [
        block["hash"]
    ] * 3


def test_a_pending_block_follows_the_head_and_is_not_the_head(chain: DevChain) -> None:
    head, pending = (chain.request("eth_getBlockByNumber", tag) for tag in ("latest", "pending"))
    assert (pending["number"], pending["parentHash"]) == ("0x1", head["hash"])


def test_a_receipt_tells_gas_price_and_logs(chain: DevChain, rich: str) -> None:
    logger = deploy(chain, LOGGER)
    hash_ = chain.request("eth_sendTransaction", {"from": rich, "to": logger, "data": "0xabcd"})
    receipt, transaction = (
        chain.request(method, hash_) for method in ("eth_getTransactionReceipt", "eth_getTransactionByHash")
    )
    block = chain.request("eth_getBlockByNumber", "latest", True)
    assert block["transactions"] == [transaction]
    assert transaction["input"] == "0xabcd"
    assert (receipt["blockHash"], receipt["contractAddress"], receipt["to"]) == (block["hash"], None, logger)
    assert receipt["gasUsed"] == receipt["cumulativeGasUsed"] == block["gasUsed"]
    assert int(receipt["effectiveGasPrice"], 16) == int(block["baseFeePerGas"], 16) + 10**9
    (entry,) = receipt["logs"]
    assert (entry["address"], entry["data"], entry["logIndex"]) == (logger, "0xabcd", "0x0")
    assert entry["topics"] == [f"0x{7:064x}", "0x" + rich[2:].rjust(64, "0")]
    assert int(receipt["logsBloom"], 16) != 0
    assert chain.request("eth_getBlockReceipts", "latest") == [receipt]


@pytest.mark.parametrize("method", ["eth_getTransactionByHash", "eth_getTransactionReceipt", "eth_getBlockByHash"])
def test_unknown_hashes_answer_null(chain: DevChain, method: str) -> None:
    assert chain.request(method, "0x" + "ab" * 32) is None


def test_a_number_after_the_head_answers_null(chain: DevChain) -> None:
    assert chain.request("eth_getBlockByNumber", "0x1") is None


# State and calls at a block


def test_state_is_read_as_of_any_block(chain: DevChain, rich: str) -> None:
    store = deploy(chain, STORE)
    slot, value = (3).to_bytes(32, "big").hex(), (5).to_bytes(32, "big").hex()
    before = chain.request("eth_getBlockByNumber", "latest")
    chain.request("eth_sendTransaction", {"from": rich, "to": store, "data": "0x" + slot + value})
    assert chain.request("eth_getStorageAt", store, "0x3", "latest") == "0x" + value
    assert chain.request("eth_getStorageAt", store, "0x" + slot, {"blockHash": before["hash"]}) == "0x" + "00" * 32
    assert chain.request("eth_getTransactionCount", rich, before["number"]) == "0x1"
    assert chain.request("eth_getTransactionCount", rich, "pending") == "0x2"
    assert chain.request("eth_getCode", store, "earliest") == "0x"
    assert chain.request("eth_getBalance", "0x" + "99" * 20) == "0x0"


def test_a_call_takes_tags_numbers_hashes_and_block_objects(chain: DevChain, rich: str) -> None:
    clock = deploy(chain, CLOCK)
    first = chain.request("eth_getBlockByNumber", "0x1")
    fund(chain, STRANGER.address)

    def seen(block: Any) -> tuple[int, int]:
        answer = chain.request("eth_call", {"to": clock}, block)
        return int(answer[2:66], 16), int(answer[66:], 16)

    expected = (1, int(first["timestamp"], 16))
    for block in ("0x1", first["hash"], {"blockHash": first["hash"], "requireCanonical": True}, {"blockNumber": "0x1"}):
        assert seen(block) == expected
    assert [seen(tag)[0] for tag in ("latest", "safe", "finalized", "pending")] == [2, 2, 2, 3]
    assert chain.request("eth_call", {"to": clock}, "earliest") == "0x"


@pytest.mark.parametrize("block", ["0x5", {"blockHash": "0x" + "ab" * 32}, "0x" + "ab" * 32])
def test_a_call_at_an_unknown_block_is_not_found(chain: DevChain, block: Any) -> None:
    assert refusal(chain, "eth_call", {"to": "0x" + "22" * 20}, block).code == -32001


def test_a_caller_needs_no_balance_and_no_key(chain: DevChain) -> None:
    clock = deploy(chain, CLOCK)
    assert chain.request("eth_call", {"from": STRANGER.address, "to": clock, "gasPrice": "0x1"}) != "0x"


def test_a_call_changes_nothing(chain: DevChain) -> None:
    store = deploy(chain, STORE)
    head = chain.request("eth_getBlockByNumber", "latest")
    chain.request("eth_call", {"to": store, "data": "0x" + "11" * 64})
    assert chain.request("eth_getStorageAt", store, "0x" + "11" * 32) == "0x" + "00" * 32
    assert chain.request("eth_getBlockByNumber", "latest") == head


def test_contracts_see_the_chain_id_and_the_randomness_of_the_header(chain: DevChain, rich: str) -> None:
    assert int(chain.request("eth_call", {"to": deploy(chain, CHAIN_IDENTITY)}), 16) == CHAIN_ID
    randomness = deploy(chain, RANDOMNESS)
    # The estimate can't know the coming randomness, and storing a zero is cheaper.
    chain.request("eth_sendTransaction", {"from": rich, "to": randomness, "gas": hex(60_000)})
    block = chain.request("eth_getBlockByNumber", "latest")
    assert chain.request("eth_getStorageAt", randomness, "0x0") == block["mixHash"] != "0x" + "00" * 32


def test_input_is_data(chain: DevChain) -> None:
    reverter = deploy(chain, REVERTER)
    assert refusal(chain, "eth_call", {"to": reverter, "input": "0x1234"}).data == "0x1234"
    assert refusal(chain, "eth_call", {"to": reverter, "input": "0x1234", "data": "0x12"}).code == -32602


# Reverts


@pytest.mark.parametrize("method", ["eth_call", "eth_estimateGas", "eth_sendTransaction"])
@pytest.mark.parametrize("data", [CUSTOM_ERROR, "0x"])
def test_a_revert_gives_its_bytes(chain: DevChain, rich: str, method: str, data: str) -> None:
    reverter = deploy(chain, REVERTER)
    error = refusal(chain, method, {"from": rich, "to": reverter, "data": data})
    assert error.to_json() == {"code": 3, "message": "execution reverted", "data": data}
    assert chain.request("eth_blockNumber") == "0x1"


def test_a_reason_is_read_from_the_revert(chain: DevChain) -> None:
    text = b"no cards left"
    data = (
        "0x08c379a0" + (32).to_bytes(32, "big").hex() + len(text).to_bytes(32, "big").hex() + text.hex().ljust(64, "0")
    )
    reverter = deploy(chain, REVERTER)
    assert refusal(chain, "eth_call", {"to": reverter, "data": data}).message == "execution reverted: no cards left"
    assert refusal(chain, "eth_call", {"to": reverter, "data": "0x08c379a0ff"}).message == "execution reverted"


def test_a_reverted_transaction_is_mined_with_status_0(chain: DevChain) -> None:
    reverter = deploy(chain, REVERTER)
    fund(chain, STRANGER.address)
    hash_ = chain.request("eth_sendRawTransaction", signed(to=reverter, data=CUSTOM_ERROR, gas=60_000, value=0))
    receipt = chain.request("eth_getTransactionReceipt", hash_)
    assert (receipt["status"], receipt["logs"]) == ("0x0", [])
    assert chain.request("eth_getTransactionCount", STRANGER.address) == "0x1"


def test_what_is_no_revert_is_no_code_3(chain: DevChain) -> None:
    endless = deploy(chain, ENDLESS)
    error = refusal(chain, "eth_call", {"to": endless, "gas": "0xffff"})
    assert (error.code, error.data) == (-32000, None)
    assert error.message.startswith("out of gas")


def test_a_contract_over_the_code_limit_is_named(chain: DevChain, rich: str) -> None:
    error = refusal(chain, "eth_sendTransaction", {"from": rich, "data": creation(b"\x5b" * 24_577)})
    assert "exceeds EIP170 limit of 24576" in error.message


# Gas


def test_a_transfer_is_estimated_to_the_gas(chain: DevChain, rich: str) -> None:
    assert chain.request("eth_estimateGas", {"from": rich, "to": STRANGER.address, "value": "0x1"}) == hex(21_000)


def test_an_estimate_is_enough_where_use_alone_is_too_little(chain: DevChain, rich: str) -> None:
    hungry = deploy(chain, HUNGRY)
    gas = int(chain.request("eth_estimateGas", {"from": rich, "to": hungry}), 16)
    assert 1_021_000 < gas < 1_021_000 * 1.03
    hash_ = chain.request("eth_sendTransaction", {"from": rich, "to": hungry})
    assert chain.request("eth_getTransactionReceipt", hash_)["status"] == "0x1"


def test_an_estimate_keeps_to_the_given_limit(chain: DevChain, rich: str) -> None:
    hungry = deploy(chain, HUNGRY)
    assert refusal(chain, "eth_estimateGas", {"from": rich, "to": hungry, "gas": hex(500_000)}).code == 3
    too_little = refusal(chain, "eth_estimateGas", {"from": rich, "to": hungry, "gas": hex(20_000)})
    assert too_little.message == "intrinsic gas too low: gas 20000, minimum needed 21000"


def test_an_estimate_sees_the_time_of_the_next_block(rich: str) -> None:
    now = [float(NOW)]
    chain = DevChain(clock=lambda: now[0])
    clock = deploy(chain, CLOCK)
    now[0] += 600
    latest, pending = (int(chain.request("eth_call", {"to": clock}, tag)[66:], 16) for tag in ("latest", "pending"))
    assert pending - latest == 599


def test_fees_follow_the_base_fee(chain: DevChain, rich: str) -> None:
    for _ in range(3):
        fund(chain, STRANGER.address)
    base_fee = int(chain.request("eth_getBlockByNumber", "pending")["baseFeePerGas"], 16)
    assert chain.request("eth_gasPrice") == hex(base_fee + 10**9)
    history = chain.request("eth_feeHistory", "0x2", "latest", [20.0, 80])
    assert history["oldestBlock"] == "0x2"
    assert history["baseFeePerGas"][-1] == hex(base_fee)
    assert [len(history[key]) for key in ("baseFeePerGas", "gasUsedRatio", "reward")] == [3, 2, 2]
    assert history["reward"][1] == [hex(10**9)] * 2
    assert len(chain.request("eth_feeHistory", "0x400", "0x1")["gasUsedRatio"]) == 2


# Sending


def test_every_transaction_type_lands(chain: DevChain) -> None:
    fund(chain, STRANGER.address)
    authority = Account.from_key("0x" + "33" * 32)
    authorization = Account.sign_authorization({"chainId": CHAIN_ID, "address": DEPLOYER, "nonce": 0}, authority.key)
    access = [{"address": "0x" + "22" * 20, "storageKeys": []}]
    raws = [
        signed(nonce=0, gasPrice=2 * 10**9),
        signed(nonce=1, gasPrice=2 * 10**9, accessList=access, type=1, gas=30_000),
        signed(nonce=2),
        signed(nonce=3, authorizationList=[authorization], gas=100_000),
    ]
    for kind, raw in zip((0, 1, 2, 4), raws, strict=True):
        hash_ = chain.request("eth_sendRawTransaction", raw)
        assert hash_ == "0x" + keccak(hexstr=raw).hex()
        assert chain.request("eth_getTransactionReceipt", hash_)["status"] == "0x1"
        shown = chain.request("eth_getTransactionByHash", hash_)
        assert (shown["type"], shown["chainId"]) == (hex(kind), hex(CHAIN_ID))
        assert shown["from"] == STRANGER.address.lower()
    assert shown["authorizationList"][0]["address"] == DEPLOYER
    assert chain.request("eth_getCode", authority.address) == "0xef0100" + DEPLOYER[2:]


def test_the_published_create2_deployer_can_be_put_on_the_chain(chain: DevChain, rich: str) -> None:
    fund(chain, DEPLOYER_SIGNER, 10**17)
    hash_ = chain.request("eth_sendRawTransaction", DEPLOYER_TRANSACTION)
    assert chain.request("eth_getTransactionReceipt", hash_)["contractAddress"] == DEPLOYER
    assert "chainId" not in chain.request("eth_getTransactionByHash", hash_)
    salt, code = "00" * 32, creation(CLOCK)[2:]
    chain.request("eth_sendTransaction", {"from": rich, "to": DEPLOYER, "data": "0x" + salt + code})
    place = keccak(hexstr="ff" + DEPLOYER[2:] + salt + keccak(hexstr=code).hex())[12:].hex()
    assert chain.request("eth_getCode", "0x" + place) == "0x" + CLOCK.hex()


def test_the_same_raw_transaction_is_already_known(chain: DevChain) -> None:
    fund(chain, STRANGER.address)
    chain.request("eth_sendRawTransaction", signed())
    error = refusal(chain, "eth_sendRawTransaction", signed())
    assert (error.code, error.message) == (-32000, "already known")


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"nonce": 1}, r"nonce too high: .* tx: 1 state: 0"),
        ({"chainId": 1}, r"invalid chain id: have 1, want 131277322940537"),
        ({"value": 10**24}, r"insufficient funds for gas \* price .* have 10{18} want 1000000000063000000000000"),
        ({"gas": 20_999}, r"intrinsic gas too low: gas 20999, minimum needed 21000"),
        ({"gas": 22_000, "data": "0x" + "ff" * 100}, r"intrinsic gas too low: gas 22000, minimum needed 25000"),
        ({"gas": BLOCK_GAS_LIMIT + 1}, r"exceeds block gas limit"),
        ({"maxFeePerGas": 1, "maxPriorityFeePerGas": 1}, r"max fee per gas less than block base fee: .*"),
        ({"maxFeePerGas": 2 * 10**9, "maxPriorityFeePerGas": 3 * 10**9}, r"max priority fee per gas higher than .*"),
    ],
)  # fmt: skip
def test_what_a_pool_refuses_is_refused_and_changes_nothing(
    chain: DevChain, fields: dict[str, Any], message: str
) -> None:
    fund(chain, STRANGER.address)
    error = refusal(chain, "eth_sendRawTransaction", signed(**fields))
    assert error.code == -32000
    assert re.fullmatch(message, error.message)
    assert chain.request("eth_blockNumber") == "0x1"
    assert chain.request("eth_sendRawTransaction", signed())


def test_a_used_nonce_is_too_low(chain: DevChain) -> None:
    fund(chain, STRANGER.address)
    chain.request("eth_sendRawTransaction", signed())
    assert refusal(chain, "eth_sendRawTransaction", signed(value=2)).message.startswith("nonce too low:")


@pytest.mark.parametrize("raw", ["0x", "0x02", "0xc0", "0x02c0", "0x05ff", "0xf8", DEPLOYER_TRANSACTION[:-2]])
def test_bytes_that_are_no_transaction_are_invalid(chain: DevChain, raw: str) -> None:
    assert refusal(chain, "eth_sendRawTransaction", raw).code == -32602


def test_only_unlocked_accounts_are_signed_for(chain: DevChain) -> None:
    for sender in ({}, {"from": STRANGER.address}):
        assert refusal(chain, "eth_sendTransaction", sender | {"to": DEPLOYER}).message.startswith("unknown account")


def test_a_20_kb_contract_is_deployed(chain: DevChain) -> None:
    runtime = b"\x5b" * 20_000
    assert chain.request("eth_getCode", deploy(chain, runtime)) == "0x" + runtime.hex()


# Logs


def test_logs_are_found_by_range_address_and_topic(chain: DevChain, rich: str) -> None:
    one, other = deploy(chain, LOGGER), deploy(chain, LOGGER)
    for to in (one, other, one):
        chain.request("eth_sendTransaction", {"from": rich, "to": to, "data": "0x01"})
    seven, who = f"0x{7:064x}", "0x" + rich[2:].rjust(64, "0")

    def count(**wanted: Any) -> int:
        return len(chain.request("eth_getLogs", {"fromBlock": "0x0", "toBlock": "latest"} | wanted))

    assert count() == 3
    assert count(address=one) == 2
    assert count(address=[one, other]) == 3
    assert count(topics=[seven]) == count(topics=[[seven, who]]) == count(topics=[None, who]) == 3
    assert count(topics=[who]) == count(topics=[seven, who, None]) == count(address=rich) == 0
    assert count(fromBlock="0x4", toBlock="0x4") == 1
    assert count(toBlock="0x99") == 3
    latest = chain.request("eth_getBlockByNumber", "latest")["hash"]
    assert [entry["address"] for entry in chain.request("eth_getLogs", {"blockHash": latest})] == [one]
    assert len(chain.request("eth_getLogs", {})) == 1


@pytest.mark.parametrize(
    ("wanted", "code"),
    [
        ({"fromBlock": "0x1", "toBlock": "0x0"}, -32602),
        ({"blockHash": "0x" + "ab" * 32}, -32001),
        ({"blockHash": "0x" + "ab" * 32, "fromBlock": "0x0"}, -32602),
        ({"topics": ["0x07"]}, -32602),
        ({"topics": [None] * 5}, -32602),
        ({"address": "0x12"}, -32602),
    ],
)
def test_a_wrong_log_filter_is_refused(chain: DevChain, wanted: dict[str, Any], code: int) -> None:
    assert refusal(chain, "eth_getLogs", wanted).code == code


# Time


def test_block_time_follows_the_clock_and_always_grows() -> None:
    now = [float(NOW)]
    chain = DevChain(clock=lambda: now[0])

    def mined() -> int:
        chain.request("evm_mine")
        return int(chain.request("eth_getBlockByNumber", "latest")["timestamp"], 16) - NOW

    assert [mined(), mined()] == [1, 2]
    now[0] += 100.9
    assert mined() == 100
    now[0] -= 50
    assert mined() == 101


def test_time_can_be_moved_forward() -> None:
    chain = DevChain(clock=lambda: NOW)
    assert chain.request("evm_increaseTime", 3_600) == hex(3_600)
    assert chain.request("evm_increaseTime", "0x3c") == hex(3_660)
    chain.request("evm_mine")
    assert int(chain.request("eth_getBlockByNumber", "latest")["timestamp"], 16) == NOW + 3_660
    assert refusal(chain, "evm_increaseTime", -1).code == -32602


def test_another_chain_has_another_genesis() -> None:
    one, other = (DevChain(clock=lambda: NOW).request("eth_getBlockByNumber", "0x0") for _ in range(2))
    assert one["hash"] != other["hash"]
    assert one["stateRoot"] == other["stateRoot"]


def test_accounts_are_funded_and_their_number_is_chosen() -> None:
    chain = DevChain(accounts=3)
    accounts = chain.request("eth_accounts")
    assert accounts[0] == "0xf39fd6e51aad88f6f4ce6ab8827279cfffb92266"
    assert [chain.request("eth_getBalance", account, "earliest") for account in accounts] == [hex(10**24)] * 3


def test_who_it_is(chain: DevChain) -> None:
    assert chain.request("web3_clientVersion").startswith("nftloyalty-devchain/")
    assert chain.request("net_version") == str(CHAIN_ID)
    assert chain.request("eth_chainId") == hex(CHAIN_ID)
    assert chain.request("eth_syncing") is False
    assert chain.request("web3_sha3", "0x") == "0x" + keccak(b"").hex()


# Parameters


@pytest.mark.parametrize(
    ("method", "params"),
    [
        ("eth_getBalance", []),
        ("eth_getBalance", ["0x12"]),
        ("eth_getBalance", ["0x" + "22" * 20, "newest"]),
        ("eth_getBalance", ["0x" + "22" * 20, "0x01"]),
        ("eth_getBalance", ["0x" + "22" * 20, "0x"]),
        ("eth_getBalance", ["0x" + "22" * 20, 1]),
        ("eth_getBalance", ["0x" + "22" * 20, None]),
        ("eth_getBalance", ["0x" + "22" * 20, {}]),
        ("eth_getBalance", ["0x" + "22" * 20, {"blockNumber": "0x0", "blockHash": "0x" + "00" * 32}]),
        ("eth_chainId", ["latest"]),
        ("eth_call", ["0x"]),
        ("eth_call", [{"to": "0x" + "22" * 20, "data": "0x1"}]),
        ("eth_call", [{"to": "0x" + "22" * 20, "value": "0x00"}]),
        ("eth_call", [{"to": "0x" + "22" * 20, "value": 1}]),
        ("eth_call", [{"to": "0x" + "22" * 20, "gasPrice": "0x1", "maxFeePerGas": "0x1"}]),
        ("eth_call", [{"to": "0x" + "22" * 20, "accessList": ["0x"]}]),
        ("eth_call", [{"to": "0x" + "22" * 20, "authorizationList": [{}]}]),
        ("eth_call", [{"to": "0x" + "22" * 20}, "latest", {}]),
        ("eth_getBlockByNumber", ["latest", 1]),
        ("eth_getBlockByHash", ["latest", False]),
        ("eth_getTransactionReceipt", ["0x" + "ab" * 31]),
        ("eth_getStorageAt", ["0x" + "22" * 20, "first"]),
        ("eth_feeHistory", ["0x1", "latest", [101]]),
        ("eth_feeHistory", ["0x1", "latest", "20"]),
        ("eth_feeHistory", ["0x1", "latest", [50] * 101]),
    ],
)
def test_wrong_parameters_are_refused(chain: DevChain, method: str, params: list[Any]) -> None:
    assert refusal(chain, method, *params).code == -32602


def test_a_value_beyond_the_balance_is_refused_in_a_call(chain: DevChain) -> None:
    error = refusal(chain, "eth_call", {"from": STRANGER.address, "to": DEPLOYER, "value": "0x1"})
    assert error.message.startswith("insufficient funds for transfer")


def test_a_call_for_another_chain_is_refused(chain: DevChain) -> None:
    fields = {"from": chain.request("eth_accounts")[0], "to": DEPLOYER, "chainId": "0x1", "gas": "0x5208"}
    for method, more in (
        ("eth_call", {}),
        ("eth_sendTransaction", {}),
        ("eth_sendTransaction", {"gasPrice": "0x77359400"}),
    ):
        assert refusal(chain, method, fields | more).message == f"invalid chain id: have 1, want {CHAIN_ID}"
