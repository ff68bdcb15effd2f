"""What real nodes answer to a transaction that they do not take: the same three reasons in eight dialects.

Code and text of each as the client has them in its source or in its users' reports. `{nonce}` is the transaction's,
`{next}` the account's. Arbitrum's sequencer has no pool: to it, what was sent twice has too low a nonce.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import Any


class Why(StrEnum):
    KNOWN = "already known"
    LOW = "nonce too low"
    CHEAP = "replacement underpriced"


DIALECTS: Mapping[str, Mapping[Why, tuple[int, str]]] = {
    "geth": {
        Why.KNOWN: (-32000, "already known"),
        Why.LOW: (-32000, "nonce too low: next nonce {next}, tx nonce {nonce}"),
        Why.CHEAP: (-32000, "replacement transaction underpriced"),
    },
    "nethermind": {
        Why.KNOWN: (-32010, "AlreadyKnown"),
        Why.LOW: (-32010, "OldNonce, Current nonce: {next}, nonce of rejected tx: {nonce}"),
        Why.CHEAP: (-32010, "ReplacementNotAllowed"),
    },
    "besu": {
        Why.KNOWN: (-32000, "Known transaction"),
        Why.LOW: (-32001, "Nonce too low"),
        Why.CHEAP: (-32000, "Replacement transaction underpriced"),
    },
    "erigon": {
        Why.KNOWN: (-32000, "existing tx with same hash"),
        Why.LOW: (-32000, "nonce too low"),
        Why.CHEAP: (-32000, "could not replace existing tx"),
    },
    "reth": {
        Why.KNOWN: (-32000, "already known"),
        Why.LOW: (-32000, "nonce too low: next nonce {next}, tx nonce {nonce}"),
        Why.CHEAP: (-32000, "replacement transaction underpriced"),
    },
    "anvil": {
        Why.KNOWN: (-32003, "transaction already imported"),
        Why.LOW: (-32003, "nonce too low"),
        Why.CHEAP: (-32003, "replacement transaction underpriced"),
    },
    "arbitrum": {
        Why.KNOWN: (-32000, "nonce too low: address {sender}, tx: {nonce} state: {next}"),
        Why.LOW: (-32000, "nonce too low: address {sender}, tx: {nonce} state: {next}"),
        Why.CHEAP: (-32000, "max fee per gas less than block base fee: address {sender}"),
    },
    "ankr": {
        Why.KNOWN: (-32000, "ALREADY_EXISTS: already known"),
        Why.LOW: (-32000, "INTERNAL_ERROR: nonce too low"),
        Why.CHEAP: (-32000, "INTERNAL_ERROR: could not replace existing tx"),
    },
}

_TOLD_BY_ANVIL = {text: why for why, (_, text) in DIALECTS["anvil"].items()}


def why(error: Mapping[str, Any]) -> Why | None:
    """What anvil has refused a transaction for; None if that is none of the three."""
    said = str(error.get("message", "")).lower()
    return next((reason for text, reason in _TOLD_BY_ANVIL.items() if text in said), None)


def refusal(dialect: str, reason: Why, sender: str, nonce: int) -> dict[str, Any]:
    """The JSON-RPC error that this client answers with."""
    code, text = DIALECTS[dialect][reason]
    after = nonce + 1 if reason is not Why.CHEAP else nonce
    return {"code": code, "message": text.format(sender=sender, nonce=nonce, next=after)}
