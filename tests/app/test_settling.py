"""What became of transactions, told by nodes that answer in an awkward order."""

from dataclasses import replace
from typing import Any

from nftloyalty.app import minting
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
