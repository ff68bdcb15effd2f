"""What was asked for, and how far it is."""

from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query
from pydantic import AwareDatetime, BaseModel, Field

from nftloyalty.app import describing
from nftloyalty.app.describing import ASKED_FOR, MOST_ON_A_PAGE
from nftloyalty.domain.access import Scope
from nftloyalty.domain.intent import Kind
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import ServiceDep
from nftloyalty.web.problem_samples import WRONG_CURSOR, nothing, too_long
from nftloyalty.web.schemas import TROUBLES, ReasonOut, Wallet, answers, problems

router = APIRouter(tags=["intents"])

IntentId = Annotated[str, Path(description="The `id` of an intent.", max_length=64, examples=[examples.INTENT_ID])]
CursorDep = Annotated[str, Query(max_length=64, description="The `cursor` of the page before.", examples=["41"])]
LimitDep = Annotated[int, Query(ge=1, le=MOST_ON_A_PAGE, description="Most on a page.", examples=[50])]
PhaseName = Literal["pending", "final", "reverted"]
KindName = Literal[
    "mint-card",
    "mint-stamp",
    "claim-card",
    "claim-stamp",
    "renew",
    "set-tier",
    "revoke-card",
    "revoke-stamp",
    "readmit",
]


class IntentOut(BaseModel):
    """One thing that must happen on chain, exactly once."""

    id: str
    kind: KindName
    wallet: str
    tier: str | None = Field(description="Of a card: the tier's id in program.toml; null if the file does not know it.")
    tier_number: int | None
    expires_at: datetime | None = Field(description="Of a card: first moment at which it is no longer active.")
    last_day: str | None = Field(description="Of a card: last day (UTC) on which it is active.")
    stamp: str | None = Field(description="Of a stamp: its id.")
    what: str | None = Field(description="Of an act on a member: what it does, for people.")
    may_return: bool | None = Field(description="Of a stamp's revocation: whether the wallet may get it again.")
    because: str | None = Field(description="Of a revocation: the reason that was given for it.")
    phase: PhaseName = Field(
        description="`pending` on its way, `final` on chain for good, `reverted` it did not happen and will not."
    )
    sentence: str = Field(description="How far it is, for people.")
    transaction: str | None
    block: int | None
    reason: ReasonOut | None = Field(description="Why it did not happen.")
    created_at: datetime
    updated_at: datetime


class IntentPageOut(BaseModel):
    items: list[IntentOut]
    cursor: str | None = Field(description="Asks for what is older; null = there is nothing more.")


@router.get(
    "/v1/intents",
    operation_id="list_intents",
    response_model=IntentPageOut,
    responses=answers(200, "A page of them.", page=examples.INTENTS)
    | problems("bad_input", *TROUBLES, said=[WRONG_CURSOR]),
    dependencies=[needs(Scope.MEMBERS_READ)],
    summary="What was asked for, the newest first",
)
def list_intents(
    service: ServiceDep,
    kind: Annotated[
        list[KindName] | None,
        Query(max_length=len(ASKED_FOR), description="Only these kinds.", examples=[["mint-card", "mint-stamp"]]),
    ] = None,
    phase: Annotated[PhaseName | None, Query(description="Only what is this far.", examples=["pending"])] = None,
    wallet: Annotated[
        Wallet | None, Query(description="Only what is for this wallet.", examples=[examples.GOLD])
    ] = None,
    since: Annotated[
        AwareDatetime | None, Query(description="Accepted then or later.", examples=["2030-03-01T00:00:00Z"])
    ] = None,
    until: Annotated[
        AwareDatetime | None, Query(description="Accepted before then.", examples=["2030-03-02T00:00:00Z"])
    ] = None,
    cursor: CursorDep = "",
    limit: LimitDep = 100,
) -> dict[str, Any]:
    """Page by page: what is accepted meanwhile moves nothing. What an index that is behind does not know yet is told as
    `pending`, also where `final` is asked for."""
    found = describing.page(
        service.app,
        service.opened,
        kinds=[Kind(each) for each in kind] if kind else ASKED_FOR,
        phase=describing.phase_named(phase) if phase else None,
        wallet=wallet,
        since=since,
        until=until,
        cursor=cursor,
        limit=limit,
    )
    return {"items": found.intents, "cursor": found.cursor}


@router.get(
    "/v1/intents/{intent_id}",
    operation_id="get_intent",
    response_model=IntentOut,
    responses=answers(200, "How far it is.", final=examples.INTENT, reverted=examples.INTENT_REVERTED)
    | problems("unknown", "bad_input", *TROUBLES, said=[nothing("intent"), too_long("intent_id", 64)]),
    dependencies=[needs(Scope.MEMBERS_READ)],
    summary="How far one is",
)
def intent(intent_id: IntentId, service: ServiceDep) -> dict[str, Any]:
    return describing.find(service.app, service.opened, intent_id)
