"""What is done to one member's card or stamp once it is there: renewed, put on another tier, revoked, readmitted.

Each of these is about one thing of one wallet. An act's request key names that thing and not the act, so that of acts
that could undo each other only one is under way at a time; what is done makes room for the next by its generation.
"""

from collections.abc import Mapping
from typing import Any

from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.errors import ProgramProblem

_SUBJECTS: Mapping[Kind, str] = {
    Kind.RENEW: "expiry",
    Kind.SET_TIER: "tier",
    # One takes back what the other does.
    Kind.REVOKE_CARD: "card",
    Kind.READMIT: "card",
    Kind.REVOKE_STAMP: "stamp",
}

MEMBER_ACTS = frozenset(_SUBJECTS)

UNFINISHED = frozenset({IntentState.RECEIVED, IntentState.BATCHED})
"""An act in one of these states is under way: nobody can tell yet how it ends."""


class ActRefused(ProgramProblem):
    """What was asked for one wallet can't be, as it is now; nothing was accepted or sent. `code` says why."""

    def __init__(self, code: str, wallet: Address, what: str, *, mend: str = "") -> None:
        super().__init__(f"{what}; nothing was sent", mend=mend)
        self.code = code
        self.wallet = wallet
        self.what = what


def act_key(program_id: str, kind: Kind, stamp_type: int, wallet: Address, generation: int) -> str:
    """The request key of the act after `generation` others about the same thing of this wallet."""
    return f"{program_id}|{_SUBJECTS[kind]}|{stamp_type}|{wallet}|{generation}"


def is_same_act(kind: Kind, asked: Mapping[str, Any], before: Mapping[str, Any]) -> bool:
    """Whether carrying out `before` is all that was `asked`, both by their arguments as acts of this kind.

    A term is a further one each time it is asked for. Of two reasons for a revocation the first one stands.
    """
    if "term" in asked or "term" in before:
        return False
    return all(asked[name] == before[name] for name in _DECISIVE[kind])


_DECISIVE: Mapping[Kind, tuple[str, ...]] = {
    Kind.RENEW: ("expires_at",),
    Kind.SET_TIER: ("tier",),
    Kind.REVOKE_CARD: (),
    Kind.READMIT: ("tier", "expires_at"),
    Kind.REVOKE_STAMP: ("may_return",),
}
