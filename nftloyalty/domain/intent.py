"""The life of an intent (one thing that must happen on chain, exactly once) and of a slot (one nonce of one signer).

The tables below are the only legal steps. What is final stays final, with two marked exceptions where nothing happened
on chain: an intent that was rejected or cancelled may be taken up again when the operator asks for it once more.
"""

from collections.abc import Mapping
from enum import StrEnum
from typing import TypeVar

from nftloyalty.domain.address import Address
from nftloyalty.errors import LoyaltyError


class IllegalTransition(LoyaltyError):
    """A state change that the tables do not allow: a bug or two writers at once, never the operator's mistake."""

    code = "illegal_transition"

    def __init__(self, what: str, old: str, new: str) -> None:
        super().__init__(f"{what} can't go from {old} to {new}", mend="please report this with the log around it")
        self.what = what
        self.old = old
        self.new = new


class Kind(StrEnum):
    """What an intent or a slot does on chain."""

    MINT_CARD = "mint-card"
    MINT_STAMP = "mint-stamp"
    CLAIM_CARD = "claim-card"
    CLAIM_STAMP = "claim-stamp"
    RENEW = "renew"
    SET_TIER = "set-tier"
    REVOKE_CARD = "revoke-card"
    REVOKE_STAMP = "revoke-stamp"
    READMIT = "readmit"
    CALL = "call"
    DEPLOY = "deploy"


class IntentState(StrEnum):
    RECEIVED = "received"
    BATCHED = "batched"
    INCLUDED = "included"
    FINAL = "final"
    REJECTED = "rejected"
    CANCELLED = "cancelled"


class SlotState(StrEnum):
    RESERVED = "reserved"
    SIGNED = "signed"
    BROADCASTING = "broadcasting"
    INCLUDED = "included"
    FINAL = "final"
    FINAL_NOOP = "final-noop"
    FINAL_REVERTED = "final-reverted"
    FOREIGN = "foreign"


INTENT_STEPS: Mapping[IntentState, frozenset[IntentState]] = {
    # Rejected by the dry run; cancelled by the operator before anything was signed.
    IntentState.RECEIVED: frozenset({IntentState.BATCHED, IntentState.REJECTED, IntentState.CANCELLED}),
    # Back to received only when its slot is final without it (no-op or revert); rejected by a final Skipped event.
    IntentState.BATCHED: frozenset({IntentState.INCLUDED, IntentState.RECEIVED, IntentState.REJECTED}),
    # Back to batched when a reorg drops the block.
    IntentState.INCLUDED: frozenset({IntentState.FINAL, IntentState.BATCHED, IntentState.REJECTED}),
    IntentState.FINAL: frozenset(),
    # Nothing was minted and no bytes can mint it any more, so asking again is safe.
    IntentState.REJECTED: frozenset({IntentState.RECEIVED}),
    IntentState.CANCELLED: frozenset({IntentState.RECEIVED}),
}

SLOT_STEPS: Mapping[SlotState, frozenset[SlotState]] = {
    # Foreign: the chain has used this nonce for a transaction that is not ours.
    SlotState.RESERVED: frozenset({SlotState.SIGNED, SlotState.FOREIGN}),
    SlotState.SIGNED: frozenset({SlotState.BROADCASTING, SlotState.FOREIGN}),
    SlotState.BROADCASTING: frozenset({SlotState.INCLUDED, SlotState.FOREIGN}),
    # Back to broadcasting when a reorg drops the block.
    SlotState.INCLUDED: frozenset(
        {SlotState.FINAL, SlotState.FINAL_NOOP, SlotState.FINAL_REVERTED, SlotState.BROADCASTING}
    ),
    SlotState.FINAL: frozenset(),
    SlotState.FINAL_NOOP: frozenset(),
    SlotState.FINAL_REVERTED: frozenset(),
    SlotState.FOREIGN: frozenset(),
}

OPEN_SLOT_STATES = frozenset({SlotState.RESERVED, SlotState.SIGNED, SlotState.BROADCASTING, SlotState.INCLUDED})
"""Slots the sender still watches."""

_State = TypeVar("_State", IntentState, SlotState)


def check_transition(old: _State, new: _State) -> None:
    """Raises IllegalTransition unless the tables allow this step. Staying where one is is no step."""
    if isinstance(old, IntentState) and isinstance(new, IntentState):
        if new not in INTENT_STEPS[old]:
            raise IllegalTransition("an intent", old, new)
    elif isinstance(old, SlotState) and isinstance(new, SlotState):
        if new not in SLOT_STEPS[old]:
            raise IllegalTransition("a slot", old, new)
    else:
        raise IllegalTransition("a state", str(old), str(new))


def sources(new: _State) -> frozenset[_State]:
    """The states from which `new` can be reached in one step, for the WHERE of an update."""
    if isinstance(new, IntentState):
        return frozenset(old for old, steps in INTENT_STEPS.items() if new in steps)
    return frozenset(old for old, steps in SLOT_STEPS.items() if new in steps)


def request_key(program_id: str, kind: Kind, type_: int, address: Address, generation: int = 0) -> str:
    """The unique name of one thing asked for: who, what, for whom. The same request always has the same key.

    `type_` is the stamp type, 0 for a card. `generation` is raised only when a wallet is readmitted.
    """
    return f"{program_id}|{kind}|{type_}|{address}|{generation}"
