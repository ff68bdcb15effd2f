"""How far something that was asked for is, as whoever asked for it is told."""

import re
from collections.abc import Collection
from contextlib import suppress
from dataclasses import dataclass

from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.words import SkipCode
from nftloyalty.errors import Unknown
from nftloyalty.store import index, intents
from nftloyalty.store.engine import read
from nftloyalty.store.intents import IntentRow

_ID = re.compile(r"[a-z0-9_]{1,64}")

_PHASES = {IntentState.FINAL: "final", IntentState.REJECTED: "rejected", IntentState.CANCELLED: "rejected"}
_SENTENCES = {
    IntentState.RECEIVED: "accepted; it will be sent to the chain soon",
    IntentState.BATCHED: "sent; the chain has not taken it in yet",
    IntentState.INCLUDED: "on chain; it counts once it can no longer be undone",
    IntentState.FINAL: "done, for good",
    IntentState.REJECTED: "not done, and nothing more will come of it",
    IntentState.CANCELLED: "cancelled before it was sent",
}


@dataclass(frozen=True)
class Standing:
    """`phase` is `pending` until its block can no longer be undone and ownership and gate know of it, asked `final`
    too; `sentence` says the same to people. `reason` is a code and a sentence where it was not done, or will not be."""

    phase: str
    sentence: str
    reason: tuple[str, str] | None


def standing_of(app: App, opened: Opened, row: IntentRow) -> Standing:
    state = row.state
    if state is IntentState.FINAL:
        with read(app.engine) as tx:
            position = index.position(tx, opened.row.id)
        if position is None or position.final_number < (row.block_number or 0):
            state = IntentState.INCLUDED
    reason = None
    if row.code is not None:
        skipped = SkipCode(row.code)
        reason = skipped.name.lower(), f"the wallet {skipped.sentence}"
    elif row.error:
        reason = "refused", row.error
    return Standing(_PHASES.get(state, "pending"), _SENTENCES[state], reason)


def asked_for(app: App, opened: Opened, public_id: str, kinds: Collection[Kind], what: str) -> IntentRow:
    """The program's intent of this id, if it is of one of these kinds. Raises Unknown, with `what` in its words."""
    # What is not of an id's letters may be what a database refuses to look for.
    if _ID.fullmatch(public_id):
        with suppress(Unknown), read(app.engine) as tx:
            row = intents.get(tx, public_id)
            if row.kind in kinds and row.program == opened.row.id:
                return row
    raise Unknown(f"there is no {what} of this id")
