"""Where events are sent to, and what became of them."""

from datetime import datetime, timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from nftloyalty.app import endpoints
from nftloyalty.app.describing import row_of
from nftloyalty.app.endpoints import MOST_DESCRIPTION, MOST_OVERLAP, MOST_TYPES, DeliveryState
from nftloyalty.domain.access import Scope
from nftloyalty.errors import BadInput, Problem
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import JSON_BODY, ServiceDep
from nftloyalty.web.intents import CursorDep, LimitDep
from nftloyalty.web.problem_samples import (
    NO_ENDPOINT,
    NOTHING_TO_REPLAY,
    WRONG_CURSOR,
    WRONG_OVERLAP,
    WRONG_URL,
    too_long,
)
from nftloyalty.web.schemas import BODY_CODES, TROUBLES, answers, asked, problems

router = APIRouter(tags=["webhooks"])

WRITE = needs(Scope.WEBHOOKS_WRITE)
_NOT_FOUND = problems("unknown", "bad_input", *TROUBLES, said=[NO_ENDPOINT, too_long("endpoint_id", 64)])

EndpointId = Annotated[str, Path(description="The endpoint's id.", max_length=64, examples=[examples.ENDPOINT_ID])]
EventId = Annotated[str, Path(description="The event's id.", max_length=64, examples=[examples.EVENT_ID])]
Url = Annotated[
    str, Field(max_length=2_000, description="https, of a public address.", examples=["https://shop.example/hooks"])
]
Types = Annotated[
    list[Annotated[str, Field(max_length=64)]],
    Field(max_length=MOST_TYPES, description="Types of events it gets; none = all.", examples=[["membership.created"]]),
]
Description = Annotated[str, Field(max_length=MOST_DESCRIPTION, description="For yourself.")]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class NewEndpointIn(_In):
    url: Url
    types: Types = Field(default_factory=list)
    description: Description = ""


class EndpointIn(_In):
    """What is left out stays."""

    url: Url | None = None
    types: Types | None = None
    description: Description | None = None


class OverlapIn(_In):
    overlap_hours: Annotated[StrictInt | StrictFloat, Field(ge=0, le=MOST_OVERLAP / timedelta(hours=1))] = Field(
        default=24, description="How long messages are signed with the former secret as well."
    )


class ReplayIn(_In):
    """One event, or all from one on, or those told between two times."""

    event: str | None = Field(default=None, max_length=64, description="Only this one.")
    first: str | None = Field(default=None, max_length=64, description="This one and all that were told later.")
    since: AwareDatetime | None = Field(default=None, description="Told then or later.")
    until: AwareDatetime | None = Field(default=None, description="Told before then.")
    also_delivered: StrictBool = Field(
        default=False,
        description="Also what was delivered; of one event always. A range that begins more than 90 days ago needs it.",
    )


class EndpointOut(BaseModel):
    id: str
    url: str
    types: list[str]
    description: str
    state: Literal["active", "disabled", "deleted"]
    why: str | None = Field(description="Why it is disabled.")
    created_at: datetime
    failing_since: datetime | None = Field(description="Since when nothing came through; null = the last try did.")
    next_at: datetime | None = Field(description="While it fails: when it is tried again.")
    waiting: int = Field(description="Deliveries that wait for it.")
    former_secret_until: datetime | None


class MadeEndpointOut(EndpointOut):
    secret: str = Field(description="What messages are signed with, as Standard Webhooks writes it. Shown this once.")


class EndpointsOut(BaseModel):
    items: list[EndpointOut]


class TestOut(BaseModel):
    """How a test message went."""

    taken: bool
    status: int | None
    error: str | None
    milliseconds: int


class ReplayOut(BaseModel):
    waiting: int = Field(description="How many deliveries wait to be sent again.")


class DeliveryOut(BaseModel):
    number: int
    event: str
    type: str
    object: str
    state: DeliveryState
    tries: int
    next_at: datetime | None = Field(description="Null while an older event of the same object goes first.")
    created_at: datetime
    delivered_at: datetime | None
    status: int | None = Field(description="Of the last answer; null = there was none.")
    error: str | None


class DeliveryPageOut(BaseModel):
    items: list[DeliveryOut]
    cursor: str | None = Field(description="Asks for what is older; null = there is nothing more.")


class TryOut(BaseModel):
    at: datetime
    milliseconds: int
    status: int | None
    error: str | None


class TriesOut(BaseModel):
    items: list[TryOut]


@router.get(
    "/v1/webhooks",
    operation_id="list_endpoints",
    response_model=EndpointsOut,
    responses=answers(200, "All of them.", failing=examples.ENDPOINTS) | problems(*TROUBLES),
    dependencies=[WRITE],
    summary="Endpoints, the oldest first",
)
def list_endpoints(service: ServiceDep) -> dict[str, Any]:
    return {"items": [endpoints.as_json(each) for each in endpoints.all_of(service.app, service.opened.row)]}


@router.post(
    "/v1/webhooks",
    status_code=201,
    operation_id="create_endpoint",
    response_model=MadeEndpointOut,
    responses=answers(201, "It is made.", made=examples.ENDPOINT_MADE)
    | problems(*BODY_CODES, *TROUBLES, said=[WRONG_URL]),
    dependencies=[WRITE, JSON_BODY],
    openapi_extra=asked(members=examples.NEW_ENDPOINT),
    summary="Make an endpoint",
)
def create(body: NewEndpointIn, service: ServiceDep, response: Response) -> dict[str, Any]:
    """It gets what happens from now on. Its secret is in the answer, this once; asking twice makes two."""
    made = endpoints.create(service.app, service.opened.row, body.url, types=body.types, description=body.description)
    response.headers["Cache-Control"] = "no-store"
    return _one(service, made.endpoint.public_id) | {"secret": made.secret.reveal()}


@router.get(
    "/v1/webhooks/{endpoint_id}",
    operation_id="get_endpoint",
    response_model=EndpointOut,
    responses=answers(200, "The endpoint.", active=examples.ENDPOINT, failing=examples.ENDPOINT_FAILING) | _NOT_FOUND,
    dependencies=[WRITE],
    summary="One endpoint",
)
def endpoint(endpoint_id: EndpointId, service: ServiceDep) -> dict[str, Any]:
    return _one(service, endpoint_id)


@router.patch(
    "/v1/webhooks/{endpoint_id}",
    operation_id="update_endpoint",
    response_model=EndpointOut,
    responses=answers(200, "It is changed.", changed=examples.ENDPOINT_CHANGED)
    | problems("unknown", *BODY_CODES, *TROUBLES, said=[NO_ENDPOINT, WRONG_URL]),
    dependencies=[WRITE, JSON_BODY],
    openapi_extra=asked(types=examples.ENDPOINT_CHANGE),
    summary="Change an endpoint",
)
def update(endpoint_id: EndpointId, body: EndpointIn, service: ServiceDep) -> dict[str, Any]:
    endpoints.update(
        service.app, service.opened.row, endpoint_id, url=body.url, types=body.types, description=body.description
    )
    return _one(service, endpoint_id)


@router.delete(
    "/v1/webhooks/{endpoint_id}",
    operation_id="delete_endpoint",
    response_model=EndpointOut,
    responses=answers(200, "It is deleted.", deleted=examples.ENDPOINT_DELETED) | _NOT_FOUND,
    dependencies=[WRITE],
    summary="Delete an endpoint",
)
def delete(endpoint_id: EndpointId, service: ServiceDep) -> dict[str, Any]:
    """For good: its secrets are forgotten, its log stays. Twice is harmless."""
    endpoints.delete(service.app, service.opened.row, endpoint_id)
    return _one(service, endpoint_id)


@router.post(
    "/v1/webhooks/{endpoint_id}/rotate",
    status_code=201,
    operation_id="rotate_endpoint_secret",
    response_model=MadeEndpointOut,
    responses=answers(201, "The new one is made.", rotated=examples.ENDPOINT_ROTATED)
    | problems("unknown", *BODY_CODES, *TROUBLES, said=[NO_ENDPOINT, WRONG_OVERLAP]),
    dependencies=[WRITE, JSON_BODY],
    openapi_extra=asked(a_day=examples.OVERLAP),
    summary="Make a new secret",
)
def rotate(endpoint_id: EndpointId, body: OverlapIn, service: ServiceDep, response: Response) -> dict[str, Any]:
    """It is in the answer, this once. Messages are signed with the former one as well for a while."""
    overlap = timedelta(hours=float(body.overlap_hours))
    made = endpoints.rotate(service.app, service.opened.row, endpoint_id, overlap)
    response.headers["Cache-Control"] = "no-store"
    return _one(service, endpoint_id) | {"secret": made.secret.reveal()}


@router.post(
    "/v1/webhooks/{endpoint_id}/disable",
    operation_id="disable_endpoint",
    response_model=EndpointOut,
    responses=answers(200, "It is disabled.", disabled=examples.ENDPOINT_DISABLED) | _NOT_FOUND,
    dependencies=[WRITE],
    summary="Send it nothing more",
)
def disable(endpoint_id: EndpointId, service: ServiceDep) -> dict[str, Any]:
    """What waits is given up, and can be replayed once it is enabled."""
    endpoints.disable(service.app, service.opened.row, endpoint_id)
    return _one(service, endpoint_id)


@router.post(
    "/v1/webhooks/{endpoint_id}/enable",
    operation_id="enable_endpoint",
    response_model=EndpointOut,
    responses=answers(200, "It is enabled.", enabled=examples.ENDPOINT) | _NOT_FOUND,
    dependencies=[WRITE],
    summary="Send it what happens from now on",
)
def enable(endpoint_id: EndpointId, service: ServiceDep) -> dict[str, Any]:
    endpoints.enable(service.app, service.opened.row, endpoint_id)
    return _one(service, endpoint_id)


@router.post(
    "/v1/webhooks/{endpoint_id}/test",
    operation_id="test_endpoint",
    response_model=TestOut,
    responses=answers(200, "How that went.", taken=examples.TEST_TAKEN, failed=examples.TEST_FAILED) | _NOT_FOUND,
    dependencies=[WRITE],
    summary="Send a test message now",
)
def send_test(endpoint_id: EndpointId, service: ServiceDep) -> dict[str, Any]:
    """Of the type `webhook.test`, once, also to a disabled endpoint; answers how that went."""
    answer = endpoints.send_test(service.app, service.opened.row, endpoint_id)
    return {
        "taken": answer.taken,
        "status": answer.status,
        "error": answer.error,
        "milliseconds": answer.milliseconds,
    }


@router.post(
    "/v1/webhooks/{endpoint_id}/replay",
    operation_id="replay_events",
    response_model=ReplayOut,
    responses=answers(200, "They wait to be sent.", three=examples.REPLAY_TAKEN)
    | problems("unknown", *BODY_CODES, *TROUBLES, said=[NO_ENDPOINT, NOTHING_TO_REPLAY]),
    dependencies=[WRITE, JSON_BODY],
    openapi_extra=asked(one=examples.REPLAY_ONE, of_a_day=examples.REPLAY_OF_A_DAY),
    summary="Send events again",
)
def replay(endpoint_id: EndpointId, body: ReplayIn, service: ServiceDep) -> dict[str, Any]:
    """One event, or all that were not delivered from one on, or of a time. Those of one object keep their order."""
    app, program = service.app, service.opened.row
    if body.event is not None:
        others = [name for name in ("first", "since", "until") if getattr(body, name) is not None]
        if others:
            raise BadInput("request", [Problem(others[0], "is given beside event", "leave one of them out")])
        return {"waiting": endpoints.replay_one(app, program, endpoint_id, body.event)}
    if body.first is None and body.since is None:
        mend = "name an event, the first of several, or a time"
        raise BadInput("request", [Problem("", "says nothing of what to send", mend)])
    count = endpoints.replay(
        app,
        program,
        endpoint_id,
        first=body.first,
        since=body.since,
        until=body.until,
        also_delivered=body.also_delivered,
    )
    return {"waiting": count}


@router.get(
    "/v1/webhooks/{endpoint_id}/deliveries",
    operation_id="list_deliveries",
    response_model=DeliveryPageOut,
    responses=answers(200, "A page of it.", last_page=examples.DELIVERIES)
    | problems("unknown", "bad_input", *TROUBLES, said=[NO_ENDPOINT, WRONG_CURSOR]),
    dependencies=[WRITE],
    summary="An endpoint's log, the newest first",
)
def deliveries(
    endpoint_id: EndpointId,
    service: ServiceDep,
    state: Annotated[
        DeliveryState | None, Query(description="Only those that stand so.", examples=["given-up"])
    ] = None,
    cursor: CursorDep = "",
    limit: LimitDep = 100,
) -> dict[str, Any]:
    found = endpoints.log_of(
        service.app, service.opened.row, endpoint_id, state=state, before=row_of(cursor), limit=limit + 1
    )
    told = found[:limit]
    return {
        "items": [endpoints.delivery_json(each) for each in told],
        "cursor": str(told[-1].id) if len(found) > limit else None,
    }


@router.get(
    "/v1/webhooks/{endpoint_id}/deliveries/{event_id}",
    operation_id="list_tries",
    response_model=TriesOut,
    responses=answers(200, "Each time.", second_try=examples.TRIES) | _NOT_FOUND,
    dependencies=[WRITE],
    summary="Each time that an event was sent to it",
)
def tries(endpoint_id: EndpointId, event_id: EventId, service: ServiceDep) -> dict[str, Any]:
    found = endpoints.tries_of(service.app, service.opened.row, endpoint_id, event_id)
    return {"items": [endpoints.try_json(each) for each in found]}


def _one(service: ServiceDep, endpoint_id: str) -> dict[str, Any]:
    return endpoints.as_json(endpoints.one(service.app, service.opened.row, endpoint_id))
