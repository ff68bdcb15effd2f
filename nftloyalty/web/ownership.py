"""Who holds what."""

from typing import Annotated, Any, Literal

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from nftloyalty.app import verifying
from nftloyalty.domain.access import Scope
from nftloyalty.domain.gate import Consistency
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import JSON_BODY, ServiceDep, WalletDep
from nftloyalty.web.problem_samples import WRONG_ADDRESS, WRONG_SECOND_WALLET
from nftloyalty.web.schemas import (
    BODY_CODES,
    HOW,
    HOW_INDEXED,
    TROUBLES,
    OwnershipOut,
    Wallet,
    answers,
    asked,
    problems,
)

router = APIRouter(tags=["ownership"])

MOST_WALLETS = 500


class WalletsIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wallets: list[Wallet] = Field(min_length=1, max_length=MOST_WALLETS)
    consistency: Literal[Consistency.HEAD, Consistency.FINAL] = Field(default=Consistency.HEAD, description=HOW_INDEXED)


class OwnershipsOut(BaseModel):
    items: list[OwnershipOut] = Field(description="In the order of the request, all as of the same block.")


@router.get(
    "/v1/ownership/{address}",
    operation_id="get_ownership",
    response_model=OwnershipOut,
    responses=answers(200, "What it holds.", member=examples.HELD, nobody=examples.NOTHING_HELD)
    | problems("bad_input", *TROUBLES, said=[WRONG_ADDRESS]),
    dependencies=[needs(Scope.MEMBERS_READ)],
    summary="What a wallet holds",
)
def ownership(
    wallet: WalletDep,
    service: ServiceDep,
    consistency: Annotated[Consistency, Query(description=HOW, examples=["final"])] = Consistency.HEAD,
) -> dict[str, Any]:
    """The wallet's card and stamps as of one block, which the answer names."""
    held = verifying.holding(service.app, service.opened, wallet, consistency)
    return verifying.as_json(service.opened, held, service.app.now())


@router.post(
    "/v1/ownership",
    operation_id="get_ownerships",
    response_model=OwnershipsOut,
    responses=answers(200, "What they hold.", two=examples.ALL_HELD)
    | problems(*BODY_CODES, *TROUBLES, said=[WRONG_SECOND_WALLET]),
    openapi_extra=asked(two=examples.WALLETS),
    dependencies=[needs(Scope.MEMBERS_READ), JSON_BODY],
    summary="What several wallets hold",
)
def ownerships(body: WalletsIn, service: ServiceDep) -> dict[str, Any]:
    """From the index, all as of the same block. A question, though it is posted: it changes nothing."""
    held = verifying.holdings(service.app, service.opened, body.wallets, body.consistency)
    now = service.app.now()
    return {"items": [verifying.as_json(service.opened, each, now) for each in held]}
