"""Whether the server lives, and whether it can do its work."""

from typing import Any

from fastapi import APIRouter, Response

from nftloyalty.errors import LoyaltyError
from nftloyalty.web.deps import ServiceDep
from nftloyalty.web.schemas import HealthOut, ReadyOut, problems

router = APIRouter(tags=["health"])


@router.get("/healthz", response_model=HealthOut, responses=problems(400), summary="Is the process alive?")
def healthz() -> dict[str, Any]:
    return {"status": "ok"}


@router.get(
    "/readyz",
    response_model=ReadyOut,
    responses=problems(400) | {503: {"model": ReadyOut, "description": "It can't; `trouble` says why."}},
    summary="Can it do its work?",
)
def readyz(service: ServiceDep, response: Response) -> dict[str, Any]:
    """The node must answer for the program's chain, and the relay must not be stuck."""
    trouble = service.relay.trouble if service.relay is not None else ""
    block: int | None = None
    try:
        block = service.app.node.head().number
    except LoyaltyError as failure:
        trouble = failure.message
    if trouble:
        response.status_code = 503
    return {"status": "not ready" if trouble else "ok", "trouble": trouble, "block": block}
