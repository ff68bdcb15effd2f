"""Events as storefronts read them: one by its id, and all of a program page by page."""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from nftloyalty.app.context import App
from nftloyalty.app.describing import row_of
from nftloyalty.app.opening import Opened
from nftloyalty.domain.address import Address
from nftloyalty.domain.delivery import Message
from nftloyalty.domain.event import EventType
from nftloyalty.errors import BadInput, Problem, Unknown
from nftloyalty.store import events
from nftloyalty.store.engine import read
from nftloyalty.store.events import EventRow

MOST_ON_A_PAGE = 1_000
LONGEST_OBJECT = 120

_ID = re.compile(r"evt_[0-9a-z]{26}", re.ASCII)
_OBJECT = re.compile(r"[\x21-\x7e]{1,120}", re.ASCII)


@dataclass(frozen=True)
class Page:
    """`cursor` asks for what follows. From the newest back it is None where there is nothing older; from the oldest on
    there is always one, for more will be told."""

    events: Sequence[Mapping[str, Any]]
    cursor: str | None


def as_json(program: str, row: EventRow) -> dict[str, Any]:
    """An event as it is read and as it is delivered."""
    return Message(
        id=row.public_id,
        program=program,
        type=row.type,
        phase=row.phase.value,
        object=row.object,
        sequence=row.sequence,
        data=row.data,
        at=row.created_at,
    ).told()


def find(app: App, opened: Opened, public_id: str) -> dict[str, Any]:
    """Raises Unknown, also for another program's."""
    if _ID.fullmatch(public_id):
        with read(app.engine) as tx:
            row = events.by_public_id(tx, opened.row.id, public_id)
        if row is not None:
            return as_json(opened.program.id, row)
    raise Unknown("there is no event of this id")


def page(
    app: App,
    opened: Opened,
    *,
    newest_first: bool = True,
    types: Collection[EventType] = (),
    wallet: Address | None = None,
    of: str | None = None,
    cursor: str = "",
    limit: int = 100,
) -> Page:
    """A program's events, of these types, about this wallet, of this object. Raises BadInput for a cursor that was not
    given out, and for what can't be an object."""
    if of is not None and not _OBJECT.fullmatch(of):
        raise BadInput("request", [Problem("object", "is none", "give the object of an event as it is")])
    beyond = row_of(cursor)
    limit = max(1, min(limit, MOST_ON_A_PAGE))
    with read(app.engine) as tx:
        rows = events.page(
            tx,
            opened.row.id,
            limit=limit + 1,
            beyond=beyond,
            newest_first=newest_first,
            types=[each.value for each in types],
            wallet=bytes.fromhex(wallet[2:]) if wallet is not None else None,
            of=of,
        )
    told = rows[:limit]
    if newest_first:
        cursor_after = str(told[-1].id) if len(rows) > limit else None
    else:
        cursor_after = str(told[-1].id) if told else cursor or None
    return Page([as_json(opened.program.id, row) for row in told], cursor_after)
