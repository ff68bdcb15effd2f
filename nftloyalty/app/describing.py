"""Intents as those who asked for them see them: one by its id, and many page by page."""

import re
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from nftloyalty.app.calls import CLAIMS, MINTS
from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened
from nftloyalty.domain.act import MEMBER_ACTS
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState, Kind, request_key
from nftloyalty.domain.program import Program
from nftloyalty.domain.times import at, iso, last_day
from nftloyalty.domain.words import STAMP_TYPES, SkipCode
from nftloyalty.errors import BadInput, Problem, Unknown
from nftloyalty.store import index, intents, requests
from nftloyalty.store.engine import read
from nftloyalty.store.intents import IntentRow
from nftloyalty.store.requests import Filters
from nftloyalty.store.tables import Phase

ASKED_FOR = tuple(kind for kind in Kind if kind in MINTS | CLAIMS | MEMBER_ACTS)
"""Kinds of which one is for one wallet; the others are about the whole program."""

MOST_ON_A_PAGE = 1_000

_ID = re.compile(r"[a-z0-9_]{1,64}")
_CURSOR = re.compile(r"[1-9][0-9]{0,17}")
_STATES: Mapping[Phase, tuple[IntentState, ...]] = {
    Phase.PENDING: requests.PENDING,
    Phase.FINAL: (IntentState.FINAL,),
    Phase.REVERTED: requests.STOPPED,
}
_PHASES = {state: phase for phase, states in _STATES.items() for state in states}
_SENTENCES = {
    IntentState.RECEIVED: "accepted; it will be sent to the chain soon",
    IntentState.BATCHED: "sent; the chain has not taken it in yet",
    IntentState.INCLUDED: "on chain; it counts once it can no longer be undone",
    IntentState.FINAL: "done, for good",
    IntentState.REJECTED: "not done, and nothing more will come of it",
    IntentState.CANCELLED: "cancelled before it was sent",
}


@dataclass(frozen=True)
class Page:
    """`cursor` asks for what is older; None = there is nothing more."""

    intents: Sequence[Mapping[str, Any]]
    cursor: str | None


def described(program: Program, row: IntentRow, final_number: int) -> dict[str, Any]:
    """An intent for one wallet.

    `phase` is pending until its block can no longer be undone and ownership and gate know of it, asked `final` too:
    `final_number` is the newest final block of the index. It is reverted if nothing was done and nothing more will come
    of it. `sentence` says the same to people. `tier` is a tier's id, null if the file does not know its number. Of an
    act on a member, `what` says it to people and `because` is the reason that was given for it.
    """
    state = as_known(row, final_number)
    args = row.args.get("voucher", row.args)
    tier, expires_at = args.get("tier"), args.get("expires_at")
    return {
        "id": row.public_id,
        "kind": row.kind.value,
        "wallet": row.recipient,
        "tier": program.tiers[tier - 1].id if tier and tier <= len(program.tiers) else None,
        "tier_number": tier,
        "expires_at": iso(at(expires_at)) if expires_at else None,
        "last_day": last_day(expires_at) if expires_at else None,
        "stamp": program.stamp_id(row.stamp_type) if row.stamp_type else None,
        "what": args.get("what"),
        "may_return": args.get("may_return"),
        "because": args.get("reason"),
        "phase": _PHASES[state].value,
        "sentence": _SENTENCES[state],
        "transaction": row.tx_hash,
        "block": row.block_number,
        "reason": reason_of(row),
        "created_at": iso(row.created_at),
        "updated_at": iso(row.updated_at),
    }


def as_known(row: IntentRow, final_number: int) -> IntentState:
    """Its state, which is final only once the index knows its block as final."""
    if row.state is IntentState.FINAL and final_number < (row.block_number or 0):
        return IntentState.INCLUDED
    return row.state


def phase_named(name: str) -> Phase:
    return Phase(name)


def phase_of(state: IntentState) -> Phase:
    return _PHASES[state]


def reason_of(row: IntentRow) -> dict[str, str] | None:
    """Why nothing was done; None while there is no such reason."""
    if row.code is not None:
        skipped = SkipCode(row.code)
        return {"code": skipped.name.lower(), "sentence": f"the wallet {skipped.sentence}"}
    return {"code": "refused", "sentence": row.error} if row.error else None


def final_number(tx: Connection, program: int) -> int:
    """The newest final block of the program's index; -1 while there is none."""
    position = index.position(tx, program)
    return -1 if position is None else position.final_number


def find(app: App, opened: Opened, public_id: str) -> dict[str, Any]:
    """One intent of this program for one wallet. Raises Unknown, also for the ids of other things."""
    return told(app, opened, row_asked_for(app, opened, public_id))


def told(app: App, opened: Opened, row: IntentRow) -> dict[str, Any]:
    """As `described`, by what the index knows now."""
    with read(app.engine) as tx:
        return described(opened.program, row, final_number(tx, opened.row.id))


def row_asked_for(
    app: App, opened: Opened, public_id: str, kinds: Collection[Kind] = ASKED_FOR, what: str = "intent"
) -> IntentRow:
    """The program's intent of this id, if it is of one of these kinds. Raises Unknown, with `what` in its words."""
    # What is not of an id's letters may be what a database refuses to look for.
    if _ID.fullmatch(public_id):
        with suppress(Unknown), read(app.engine) as tx:
            row = intents.get(tx, public_id)
            if row.kind in kinds and row.program == opened.row.id:
                return row
    raise Unknown(f"there is no {what} of this id")


def page(
    app: App,
    opened: Opened,
    *,
    kinds: Sequence[Kind] = ASKED_FOR,
    phase: Phase | None = None,
    wallet: Address | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    cursor: str = "",
    limit: int = 100,
) -> Page:
    """What was asked for, the newest first; accepted at `since` or later, and before `until`.

    The phase final is asked of our books alone: what the index has not reached yet is among it, and is told as pending.
    Raises BadInput for a cursor that was not given out.
    """
    before = row_of(cursor)
    limit = max(1, min(limit, MOST_ON_A_PAGE))
    with read(app.engine) as tx:
        mints = _mints_of(tx, opened, wallet) if wallet is not None else ()
        filters = Filters(kinds, _STATES[phase] if phase else (), wallet, mints, since, until)
        final = final_number(tx, opened.row.id)
        rows = requests.page(tx, opened.row.id, filters, before=before, limit=limit + 1)
    more = len(rows) > limit
    return Page(
        [described(opened.program, row, final) for row in rows[:limit]], str(rows[limit - 1].id) if more else None
    )


def _mints_of(tx: Connection, opened: Opened, wallet: Address) -> list[int]:
    """The rows of everything that was ever asked to be minted to a wallet, by the request keys that it can have."""
    found: list[int] = []
    generation = 0
    left = [(Kind.MINT_CARD, 0), *((Kind.MINT_STAMP, number) for number in range(1, STAMP_TYPES + 1))]
    while left:
        keys = {request_key(opened.program.id, *each, wallet, generation): each for each in left}
        known = requests.standings(tx, opened.attached.row, list(keys))
        found += [standing.id for standing in known.values()]
        left = [each for key, each in keys.items() if key in known]
        generation += 1
    return found


def row_of(cursor: str) -> int | None:
    """The row that a cursor stands for; None for an empty one. Raises BadInput."""
    if cursor and not _CURSOR.fullmatch(cursor):
        raise BadInput("request", [Problem("cursor", "is none of ours", "give the cursor of an answer as it is")])
    return int(cursor) if cursor else None
