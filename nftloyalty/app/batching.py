"""Batches of mints as those who asked for them see them: how far they are, and what became of each item."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nftloyalty.app.context import App
from nftloyalty.app.describing import described, final_number, phase_of, row_of
from nftloyalty.app.opening import Opened
from nftloyalty.domain.mint import Reply
from nftloyalty.domain.program import Program
from nftloyalty.domain.times import iso
from nftloyalty.errors import BadInput, Problem, Unknown
from nftloyalty.store import batches, intents
from nftloyalty.store.batches import BatchItem, BatchRow
from nftloyalty.store.engine import read
from nftloyalty.store.tables import Phase

MOST_ON_A_PAGE = 1_000

_ID = re.compile(r"[a-z0-9_]{1,64}")
_PLACE = re.compile(r"[1-9][0-9]{0,4}")


@dataclass(frozen=True)
class ItemPage:
    """Items in the order of the request. `cursor` asks for those that follow; None = there are no more."""

    items: Sequence[Mapping[str, Any]]
    cursor: str | None


@dataclass(frozen=True)
class BatchPage:
    """`cursor` asks for what is older; None = there is nothing more."""

    batches: Sequence[Mapping[str, Any]]
    cursor: str | None


def described_batch(program: Program, row: BatchRow, replies: Mapping[Reply, int] | None = None) -> dict[str, Any]:
    """A batch; with `replies`, how many items were answered how."""
    told: dict[str, Any] = {
        "id": row.public_id,
        "kind": row.kind.value,
        "stamp": program.stamp_id(row.stamp_type) if row.stamp_type else None,
        "total": row.total,
        "created_at": iso(row.created_at),
    }
    if replies is not None:
        told["replies"] = {reply.value: replies.get(reply, 0) for reply in Reply}
    return told


def find(app: App, opened: Opened, public_id: str) -> dict[str, Any]:
    """A batch with its `replies`, and with its `phases`: how many of the items that were not refused are pending, final
    and reverted. Raises Unknown."""
    with read(app.engine) as tx:
        row, items = batches.get(tx, opened.row.id, _checked(public_id))
        mine = [item.intent for item in items if item.reply is not Reply.ASKED_OTHERWISE]
        states = batches.count_states(tx, mine, final_number(tx, opened.row.id))
    phases = dict.fromkeys(Phase, 0)
    for state, count in states.items():
        phases[phase_of(state)] += count
    replies = dict.fromkeys(Reply, 0)
    for item in items:
        replies[item.reply] += 1
    told = described_batch(opened.program, row, replies)
    return told | {"phases": {phase.value: count for phase, count in phases.items()}}


def items(app: App, opened: Opened, public_id: str, *, cursor: str = "", limit: int = 100) -> ItemPage:
    """What became of each: its `reply`, and its intent as `describing.described` tells it. Of an item that was refused,
    that is the intent of the other card that was asked for before.

    Raises Unknown, and BadInput for a cursor that was not given out.
    """
    if cursor and not _PLACE.fullmatch(cursor):
        raise BadInput("request", [Problem("cursor", "is none of ours", "give the cursor of an answer as it is")])
    start = int(cursor or 0)
    end = start + max(1, min(limit, MOST_ON_A_PAGE))
    with read(app.engine) as tx:
        _, found = batches.get(tx, opened.row.id, _checked(public_id))
        rows = intents.by_ids(tx, [item.intent for item in found[start:end]])
        final = final_number(tx, opened.row.id)
    told = [
        _item(place, item, described(opened.program, row, final))
        for place, (item, row) in enumerate(zip(found[start:end], rows, strict=True), start)
    ]
    return ItemPage(told, str(end) if end < len(found) else None)


def page(app: App, opened: Opened, *, cursor: str = "", limit: int = 100) -> BatchPage:
    """The program's batches, the newest first, without their replies. Raises BadInput for a cursor that was not given
    out."""
    before = row_of(cursor)
    limit = max(1, min(limit, MOST_ON_A_PAGE))
    with read(app.engine) as tx:
        rows = batches.of_program(tx, opened.row.id, before=before, limit=limit + 1)
    told = [described_batch(opened.program, row) for row in rows[:limit]]
    return BatchPage(told, str(rows[limit - 1].id) if len(rows) > limit else None)


def _item(place: int, item: BatchItem, intent: Mapping[str, Any]) -> dict[str, Any]:
    return {"place": place, "wallet": intent["wallet"], "reply": item.reply.value, "intent": intent}


def _checked(public_id: str) -> str:
    # What is not of an id's letters may be what a database refuses to look for.
    if not _ID.fullmatch(public_id):
        raise Unknown("there is no batch of this id")
    return public_id
