"""Who holds what."""

from typing import Any

from fastapi import APIRouter

from nftloyalty.app import verifying
from nftloyalty.web.deps import ServiceDep, WalletDep
from nftloyalty.web.schemas import TROUBLES, OwnershipOut, problems

router = APIRouter(tags=["ownership"])


@router.get(
    "/v1/ownership/{address}",
    response_model=OwnershipOut,
    responses=problems("bad_input", *TROUBLES),
    summary="What a wallet holds",
)
def ownership(wallet: WalletDep, service: ServiceDep) -> dict[str, Any]:
    """The wallet's card and stamps, read in one call at the newest block, which the answer names."""
    held = verifying.holding(service.app, service.opened, wallet)
    return verifying.as_json(service.opened, held, service.app.now())
