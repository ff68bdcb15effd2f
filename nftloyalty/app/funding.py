"""Coins for keys on development chains, from accounts that the node itself signs for."""

import time

from nftloyalty.app.context import App
from nftloyalty.domain.address import Address
from nftloyalty.errors import ChainProblem


def fund(app: App, to: Address, wei: int, patience_seconds: float = 30.0) -> str:
    """Let a development node send `wei` from one of its own accounts; returns the transaction's hash once mined.

    Raises ChainProblem on a real chain, whose nodes sign for nobody. Doing it twice sends twice.
    """
    accounts = app.node.accounts()
    if not accounts:
        raise ChainProblem(
            "this node signs for nobody, so it is no development chain", mend=f"send coins to {to} from a wallet"
        )
    tx_hash = app.node.send_unlocked(accounts[0], to, wei)
    give_up = time.monotonic() + patience_seconds
    while app.node.receipts([tx_hash])[0] is None:
        if time.monotonic() > give_up:
            raise ChainProblem(f"transaction {tx_hash} was sent but is not mined yet", mend="look again in a moment")
        time.sleep(0.1)
    return tx_hash
