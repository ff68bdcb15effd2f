"""The served chain driven by clients we did not write: web3.py and cast."""

import json
from collections.abc import Callable
from typing import Any

import pytest
from eth_account import Account
from web3.exceptions import ContractCustomError, TransactionNotFound, Web3RPCError

from nftloyalty.devchain import CHAIN_ID, DevChain
from tests.devchain.conftest import Cast
from tests.devchain.contracts import (
    CUSTOM_ERROR,
    DEPLOYER,
    DEPLOYER_SIGNER,
    DEPLOYER_TRANSACTION,
    LOGGER,
    REVERTER,
    creation,
    deploy,
    fund,
)

KEY = "0x" + "44" * 32


# web3.py


def test_web3_reads_blocks_transactions_and_receipts(w3: Any) -> None:
    sender = w3.eth.accounts[0]
    hash_ = w3.eth.send_transaction({"from": sender, "to": w3.eth.accounts[1], "value": w3.to_wei(1, "ether")})
    receipt = w3.eth.wait_for_transaction_receipt(hash_)
    assert (receipt["status"], receipt["blockNumber"], receipt["from"]) == (1, 1, sender)
    assert w3.eth.get_transaction(hash_)["value"] == 10**18
    block = w3.eth.get_block("latest", full_transactions=True)
    assert block["transactions"][0]["hash"] == hash_
    assert w3.eth.get_block("finalized")["hash"] == w3.eth.get_block(1)["hash"] == block["hash"]
    assert w3.eth.get_block(block["hash"])["number"] == 1
    assert w3.eth.get_block("pending")["number"] == 2
    assert (w3.eth.chain_id, w3.net.version, w3.eth.block_number) == (CHAIN_ID, str(CHAIN_ID), 1)
    assert w3.eth.get_balance(w3.eth.accounts[1], block_identifier=0) == 10**24
    assert w3.eth.fee_history(2, "latest", [50.0])["oldestBlock"] == 0


def test_web3_signs_and_sends_a_deployment_of_20_kb(w3: Any, chain: DevChain) -> None:
    account = Account.from_key(KEY)
    fund(chain, account.address, 10**19)
    transaction = (
        w3.eth.contract(bytecode=creation(b"\x5b" * 20_000), abi=[])
        .constructor()
        .build_transaction({"from": account.address, "nonce": w3.eth.get_transaction_count(account.address)})
    )
    hash_ = w3.eth.send_raw_transaction(account.sign_transaction(transaction).raw_transaction)
    receipt = w3.eth.wait_for_transaction_receipt(hash_)
    assert receipt["status"] == 1
    assert len(w3.eth.get_code(receipt["contractAddress"])) == 20_000


def test_web3_decodes_custom_errors_of_calls_and_estimates(w3: Any, chain: DevChain) -> None:
    reverter = w3.to_checksum_address(deploy(chain, REVERTER))
    transaction: Any = {"to": reverter, "data": CUSTOM_ERROR, "from": w3.eth.accounts[0]}
    for ask in (w3.eth.call, w3.eth.estimate_gas, w3.eth.send_transaction):
        with pytest.raises(ContractCustomError) as caught:
            ask(transaction)
        assert caught.value.data == CUSTOM_ERROR


def test_web3_calls_as_of_a_block_hash(w3: Any) -> None:
    genesis = w3.eth.get_block(0)["hash"]
    assert w3.eth.call({"to": w3.eth.accounts[0]}, block_identifier=genesis) == b""


def test_web3_finds_logs(w3: Any, chain: DevChain) -> None:
    logger = w3.to_checksum_address(deploy(chain, LOGGER))
    w3.eth.send_transaction({"from": w3.eth.accounts[0], "to": logger, "data": "0x1234"})
    (entry,) = w3.eth.get_logs({"address": logger, "fromBlock": 0, "toBlock": "latest", "topics": [f"0x{7:064x}"]})
    assert (bytes(entry["data"]), entry["blockNumber"], entry["logIndex"]) == (b"\x12\x34", 2, 0)


def test_web3_batches(w3: Any) -> None:
    account = w3.eth.accounts[0]
    with w3.batch_requests() as batch:
        batch.add(w3.eth.get_block(0))
        batch.add(w3.eth.get_balance(account))
        block, balance = batch.execute()
    assert (block["number"], balance) == (0, 10**24)


def test_web3_reports_refusals(w3: Any, chain: DevChain) -> None:
    with pytest.raises(TransactionNotFound):
        w3.eth.get_transaction_receipt("0x" + "ab" * 32)
    fund(chain, DEPLOYER_SIGNER)
    w3.eth.send_raw_transaction(DEPLOYER_TRANSACTION)
    with pytest.raises(Web3RPCError, match="already known"):
        w3.eth.send_raw_transaction(DEPLOYER_TRANSACTION)


# cast


def test_cast_reads_the_chain(cast: Cast, chain: DevChain) -> None:
    account = chain.request("eth_accounts")[0]
    chain.request("evm_mine")
    assert cast("chain-id") == str(CHAIN_ID)
    assert cast("block-number") == "1"
    assert cast("balance", account) == str(10**24)
    assert cast("nonce", account) == "0"
    assert cast("code", account) == "0x"
    assert int(cast("gas-price")) > 10**9
    assert cast("client").startswith("nftloyalty-devchain/")
    for block in ("latest", "finalized", "safe", "earliest", "pending", "0"):
        assert json.loads(cast("block", block, "--json"))["logsBloom"] == "0x" + "00" * 256


def test_cast_sends_signed_by_a_key_and_by_an_unlocked_account(cast_json: Callable[..., Any], chain: DevChain) -> None:
    account = Account.from_key(KEY)
    unlocked = chain.request("eth_accounts")[0]
    paid = cast_json("send", "--unlocked", "--from", unlocked, account.address, "--value", "1ether")
    assert (paid["status"], paid["blockNumber"]) == ("0x1", "0x1")
    for legacy in ([], ["--legacy"]):
        sent = cast_json("send", "--private-key", KEY, unlocked, "--value", "1", *legacy)
        assert (sent["status"], sent["type"]) == ("0x1", "0x0" if legacy else "0x2")


def test_cast_deploys_calls_and_reads_logs(cast: Cast, cast_json: Callable[..., Any], chain: DevChain) -> None:
    sender = chain.request("eth_accounts")[0]
    receipt = cast_json("send", "--unlocked", "--from", sender, "--create", creation(LOGGER))
    logger = receipt["contractAddress"]
    cast("send", "--unlocked", "--from", sender, logger, "see(uint256)", "9")
    (entry,) = cast_json("logs", "--from-block", "0", "--address", logger)
    assert int(entry["data"][10:], 16) == 9
    assert cast("storage", logger, "0") == "0x" + "00" * 32
    assert int(cast("estimate", "--from", sender, logger, "see(uint256)", "9")) > 21_000
    assert cast_json("tx", entry["transactionHash"])["to"] == logger
    assert cast("call", logger, "see(uint256)", "9") == "0x"


def test_cast_shows_the_data_of_a_revert(cast: Cast, chain: DevChain) -> None:
    reverter = deploy(chain, REVERTER)
    sender = chain.request("eth_accounts")[0]
    for command in (
        ["call", reverter],
        ["estimate", "--from", sender, reverter],
        ["send", "--unlocked", "--from", sender, reverter],
    ):
        shown = cast(command[0], *command[1:], "Closed(uint256)", "7", fails=True)
        assert "execution reverted" in shown
        assert CUSTOM_ERROR in shown


def test_cast_publishes_the_create2_deployer(cast: Cast, chain: DevChain) -> None:
    fund(chain, DEPLOYER_SIGNER)
    cast("publish", DEPLOYER_TRANSACTION)
    assert len(cast("code", DEPLOYER)) == 2 + 2 * 69
    assert "already known" in cast("publish", DEPLOYER_TRANSACTION, fails=True)
