"""What became of transactions, told by nodes that answer in an awkward order."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from nftloyalty.app import minting, settling
from nftloyalty.chain.client import Node
from tests.app.build import new_wallet
from tests.app.conftest import Anew
from tests.app.proxy import Proxy


def test_receipts_are_found_though_a_node_looked_for_them_before_the_block_it_names(anew: Anew, proxy: Proxy) -> None:
    """Asked for head, nonce and receipts at once, it looks for the last ones first; a block comes in between. As long
    as no further block comes, its next answers look like the last one."""
    world = anew("")
    old: dict[str, Any] = {}
    asked: dict[str, int] = {"latest": 0, "nonce": 0, "receipt": 0}

    def change(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getBlockByNumber" and params[0] == "latest":
            if not proxy.sent:
                old["head"] = result
                return result
            asked["latest"] += 1
            return old["head"] if asked["latest"] == 1 else result
        if method == "eth_getTransactionCount" and proxy.sent:
            asked["nonce"] += 1
            return hex(int(result, 16) - 1) if asked["nonce"] == 1 else result
        if method == "eth_getTransactionReceipt":
            asked["receipt"] += 1
            return None if asked["receipt"] == 1 else result
        return result

    proxy.change = change
    seen = replace(world, app=replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}")))
    assert minting.mint(seen.app, seen.here, seen.plan(f"{new_wallet()},gold,never")).final == 1
    assert asked["receipt"] > 1


def test_a_receipt_that_comes_before_its_logs_ends_no_mint(anew: Anew, proxy: Proxy) -> None:
    world = anew("")
    bare: list[str] = []

    def change(method: str, params: list[Any], result: Any) -> Any:
        if method == "eth_getTransactionReceipt" and result is not None and len(bare) < 2:
            bare.append(params[0])
            return {**result, "logs": []}
        return result

    proxy.change = change
    seen = replace(world, app=replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}")))
    assert minting.mint(seen.app, seen.here, seen.plan(f"{new_wallet()},gold,never")).final == 1
    assert len(bare) == 2


def test_a_transaction_that_never_shows_what_it_was_for_is_told_in_the_end(
    anew: Anew, proxy: Proxy, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(settling, "FOREIGN_AFTER", timedelta(seconds=0.5))
    world = anew("")

    def change(method: str, params: list[Any], result: Any) -> Any:
        bare = method == "eth_getTransactionReceipt" and result is not None
        return {**result, "logs": []} if bare else result

    proxy.change = change
    seen = replace(world, app=replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}")))
    report = minting.mint(seen.app, seen.here, seen.plan(f"{new_wallet()},gold,never"))
    assert (report.final, len(report.rejected)) == (0, 1)
    assert "neither carried out nor skipped this (1 intents)" in caplog.text
