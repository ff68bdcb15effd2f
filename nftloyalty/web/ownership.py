"""Who holds what."""

from typing import Annotated, Any

from fastapi import APIRouter, Query

from nftloyalty.app import verifying
from nftloyalty.domain.access import Scope
from nftloyalty.domain.gate import Consistency
from nftloyalty.web.access import needs
from nftloyalty.web.deps import ServiceDep, WalletDep
from nftloyalty.web.schemas import HOW, TROUBLES, OwnershipOut, problems

router = APIRouter(tags=["ownership"])


@router.get(
    "/v1/ownership/{address}",
    response_model=OwnershipOut,
    responses=problems("bad_input", *TROUBLES),
    dependencies=[needs(Scope.MEMBERS_READ)],
    summary="What a wallet holds",
)
def ownership(
    wallet: WalletDep,
    service: ServiceDep,
    consistency: Annotated[Consistency, Query(description=HOW)] = Consistency.HEAD,
) -> dict[str, Any]:
    """The wallet's card and stamps as of one block, which the answer names."""
    held = verifying.holding(service.app, service.opened, wallet, consistency)
    return verifying.as_json(service.opened, held, service.app.now())
