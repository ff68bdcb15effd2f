"""API keys, for who may manage them."""

from datetime import datetime, timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Path, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictFloat, StrictInt

from nftloyalty.app import access
from nftloyalty.app.access import Doorkeeper, MadeKey
from nftloyalty.domain.access import KeyKind, Scope
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import JSON_BODY, ServiceDep
from nftloyalty.web.problem_samples import NO_KEY, WRONG_OVERLAP, WRONG_SCOPE
from nftloyalty.web.schemas import BODY_CODES, TROUBLES, answers, asked, problems

router = APIRouter(tags=["keys"])

ADMIN = needs(Scope.ADMIN)
KeyId = Annotated[str, Path(description="The key's id; not the key itself.", examples=[examples.KEY_ID])]
Hours = Annotated[StrictInt | StrictFloat, Field(ge=0, le=access.LONGEST_OVERLAP / timedelta(hours=1))]


class NewKeyIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    name: str = Field(max_length=200, description="Who uses it, in a few words.", examples=["Web shop"])
    scopes: list[Annotated[str, Field(max_length=64)]] = Field(
        max_length=20, description=f"What it is good for: {', '.join(Scope)}.", examples=[["mints:write"]]
    )
    publishable: StrictBool = Field(default=False, description="For pages in a browser, not for servers.")
    origins: list[Annotated[str, Field(max_length=300)]] = Field(
        default_factory=list,
        max_length=100,
        description="Of the pages a publishable key is for.",
        examples=[["https://shop.example"]],
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="First moment at which it is good for nothing; null = it stays."
    )


class RotateIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    overlap_hours: Hours = Field(default=24, description="How long the old key is still good.")


class KeyOut(BaseModel):
    id: str
    name: str
    kind: KeyKind
    state: str = Field(description="`active`, `ending` (good until `expires_at`), `expired` or `revoked`.")
    scopes: list[Scope]
    origins: list[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None = Field(description="To the minute or so.")
    replaces: str | None = Field(description="The key that it took the place of.")


class MadeKeyOut(KeyOut):
    key: str = Field(description="The key itself. It is shown this once.")


class KeysOut(BaseModel):
    items: list[KeyOut]


@router.get(
    "/v1/keys",
    operation_id="list_keys",
    response_model=KeysOut,
    responses=answers(200, "All of them.", one=examples.KEYS) | problems(*TROUBLES),
    dependencies=[ADMIN],
    summary="All keys the program ever had",
)
def keys(service: ServiceDep) -> dict[str, Any]:
    """Oldest first, without anything that could be used."""
    now = service.app.now()
    return {"items": [access.as_json(row, now) for row in access.listed(service.app, service.opened)]}


@router.post(
    "/v1/keys",
    status_code=201,
    operation_id="create_key",
    response_model=MadeKeyOut,
    responses=answers(201, "It is made.", server=examples.KEY_MADE)
    | problems(*BODY_CODES, *TROUBLES, said=[WRONG_SCOPE]),
    openapi_extra=asked(server=examples.NEW_KEY, page=examples.PAGE_KEY),
    dependencies=[ADMIN, JSON_BODY],
    summary="Make a key",
)
def create(body: NewKeyIn, service: ServiceDep, request: Request, response: Response) -> dict[str, Any]:
    """The key is in the answer, this once. Asking twice makes two keys. From a program's first key on, every request
    needs one."""
    made = access.create(
        service.app,
        service.opened,
        body.name,
        body.scopes,
        publishable=body.publishable,
        origins=body.origins,
        expires_at=body.expires_at,
    )
    return _told(service.app.now(), made, request, response)


@router.post(
    "/v1/keys/{key_id}/rotate",
    status_code=201,
    operation_id="rotate_key",
    response_model=MadeKeyOut,
    responses=answers(201, "The new one is made.", rotated=examples.KEY_ROTATED)
    | problems("unknown", "key_ended", *BODY_CODES, *TROUBLES, said=[NO_KEY, WRONG_OVERLAP]),
    openapi_extra=asked(a_day=examples.OVERLAP),
    dependencies=[ADMIN, JSON_BODY],
    summary="Make a key in the place of another one",
)
def rotate(key_id: KeyId, body: RotateIn, service: ServiceDep, request: Request, response: Response) -> dict[str, Any]:
    """The old key is good for a while still. A key is rotated once: whoever lost the new one rotates that."""
    overlap = timedelta(hours=float(body.overlap_hours))
    made = access.rotate(service.app, service.opened, key_id, overlap)
    return _told(service.app.now(), made, request, response)


@router.delete(
    "/v1/keys/{key_id}",
    operation_id="revoke_key",
    response_model=KeyOut,
    responses=answers(200, "It is revoked.", revoked=examples.KEY_REVOKED)
    | problems("unknown", *TROUBLES, said=[NO_KEY]),
    dependencies=[ADMIN],
    summary="Revoke a key",
)
def revoke(key_id: KeyId, service: ServiceDep, request: Request) -> dict[str, Any]:
    """It is refused at once by this server, within two seconds by others. Twice is harmless."""
    row = access.revoke(service.app, service.opened, key_id)
    _forget(request)
    return access.as_json(row, service.app.now())


def _told(now: datetime, made: MadeKey, request: Request, response: Response) -> dict[str, Any]:
    _forget(request)
    response.headers["Cache-Control"] = "no-store"
    return access.as_json(made.row, now) | {"key": made.text}


def _forget(request: Request) -> None:
    """What this server knows of keys is old now."""
    doorkeeper: Doorkeeper = request.app.state.doorkeeper
    doorkeeper.forget()
