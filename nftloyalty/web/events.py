"""What happened, and what was asked for and did not."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import BaseModel, Field

from nftloyalty.app import telling
from nftloyalty.app.telling import LONGEST_OBJECT
from nftloyalty.domain.access import Scope
from nftloyalty.domain.event import EventType
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import ServiceDep
from nftloyalty.web.intents import CursorDep, LimitDep, PhaseName
from nftloyalty.web.problem_samples import WRONG_CURSOR, nothing, too_long
from nftloyalty.web.schemas import TROUBLES, Wallet, answers, asked, problems

router = APIRouter(tags=["events"])

READ = needs(Scope.EVENTS_READ)


class EventOut(BaseModel):
    """As it is delivered to webhooks, too."""

    id: str = Field(description="Of this event, for ever.")
    type: str = Field(description="What happened.", examples=["membership.created"])
    timestamp: datetime = Field(description="When it was told.")
    program: str
    object: str = Field(description="What it happened to.")
    sequence: int = Field(description="Counts the events of one object from 1, in the order they were told.")
    phase: PhaseName = Field(
        description="`pending`: seen in a block that may be undone; `final`: it can't be; `reverted`: it was undone."
    )
    data: dict[str, Any]


class EventPageOut(BaseModel):
    items: list[EventOut]
    cursor: str | None = Field(
        description="Asks for what follows. From the newest back, null where there is nothing older; from the oldest "
        "on it stays, for more will be told."
    )


@router.get(
    "/v1/events",
    operation_id="list_events",
    response_model=EventPageOut,
    responses=answers(200, "A page of them.", last_page=examples.EVENTS)
    | problems("bad_input", *TROUBLES, said=[WRONG_CURSOR]),
    dependencies=[READ],
    summary="Events, the newest or the oldest first",
)
def list_events(
    service: ServiceDep,
    order: Annotated[
        Literal["newest", "oldest"], Query(description="Which come first.", examples=["oldest"])
    ] = "newest",
    type: Annotated[  # noqa: A002 - the field's own name
        list[EventType] | None,
        Query(max_length=len(EventType), description="Only these types.", examples=[["membership.created"]]),
    ] = None,
    wallet: Annotated[
        Wallet | None, Query(description="Only what is about this wallet.", examples=[examples.GOLD])
    ] = None,
    object: Annotated[  # noqa: A002
        str | None,
        Query(
            max_length=LONGEST_OBJECT,
            description="Only what is about this object.",
            examples=[examples.EVENT["object"]],
        ),
    ] = None,
    cursor: CursorDep = "",
    limit: LimitDep = 100,
) -> dict[str, Any]:
    """Whoever reads on with `order=oldest` from the last `cursor` misses nothing."""
    found = telling.page(
        service.app,
        service.opened,
        newest_first=order == "newest",
        types=type or (),
        wallet=wallet,
        of=object,
        cursor=cursor,
        limit=limit,
    )
    return {"items": found.events, "cursor": found.cursor}


@router.get(
    "/v1/events/{event_id}",
    operation_id="get_event",
    response_model=EventOut,
    responses=answers(200, "The event.", created=examples.EVENT)
    | problems("unknown", "bad_input", *TROUBLES, said=[nothing("event"), too_long("event_id", 64)]),
    dependencies=[READ],
    summary="One event",
)
def event(
    event_id: Annotated[str, Path(description="The `id` of an event.", max_length=64, examples=[examples.EVENT_ID])],
    service: ServiceDep,
) -> dict[str, Any]:
    return telling.find(service.app, service.opened, event_id)


def delivered() -> dict[str, Any]:
    """What is posted to endpoints, for the `webhooks` of the OpenAPI document: there this server is who asks."""

    def header(name: str, description: str, example: str) -> dict[str, Any]:
        told = {"name": name, "in": "header", "required": True, "description": description}
        return told | {"schema": {"type": "string"}, "example": example}

    operation = {
        "tags": ["webhooks"],
        "summary": "Something has happened",
        "description": "Posted to every endpoint that gets events of this type, signed as Standard Webhooks says: "
        "verify it before you believe it. The same event may come more than once.",
        "operationId": "receive_event",
        "security": [],
        "parameters": [
            header("webhook-id", "The event's id, the same each time it is sent.", examples.EVENT_ID),
            header("webhook-timestamp", "When this try was made, in unix seconds.", "1898596807"),
            header(
                "webhook-signature",
                "`v1,` and base64; several of them, with a space between, while a former secret runs out.",
                "v1,H95EeiXoAlw48ts4ikFxopF4hrF3331OhRyYLKsfNco=",
            ),
        ],
        **asked(EventOut, created=examples.EVENT),
        "responses": {
            "2XX": {"description": "Taken. The body of the answer is not read."},
            "410": {"description": "Never again: the endpoint is disabled."},
            "default": {"description": "Not taken: it is sent again, for days."},
        },
    }
    return {"event": {"post": operation}}
