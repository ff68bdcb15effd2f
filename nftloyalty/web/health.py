"""Whether the server lives, and whether it can do its work."""

import logging
from typing import Any

from fastapi import APIRouter, Response

from nftloyalty.app import verifying
from nftloyalty.app.opening import check_chain
from nftloyalty.errors import LoyaltyError
from nftloyalty.web import examples
from nftloyalty.web.deps import ServiceDep
from nftloyalty.web.errors import CODES
from nftloyalty.web.schemas import HealthOut, ReadyOut, answers, problems

log = logging.getLogger(__name__)

router = APIRouter(tags=["health"])

_NOT_READY: dict[int | str, dict[str, Any]] = {
    503: answers(503, "It can't; `troubles` says why.", behind=examples.NOT_READY)[503] | {"model": ReadyOut}
}
CLAIMS_WAIT = {"code": "claims_wait", "title": "what was accepted waits; the server's log says why"}


@router.get(
    "/healthz",
    operation_id="get_health",
    response_model=HealthOut,
    responses=answers(200, "It is.", alive=examples.ALIVE) | problems(keyed=False),
    summary="Is the process alive?",
)
def healthz() -> dict[str, Any]:
    return {"status": "ok"}


@router.get(
    "/readyz",
    operation_id="get_readiness",
    response_model=ReadyOut,
    responses=answers(200, "It can.", ready=examples.READY) | _NOT_READY | problems(keyed=False),
    summary="Can it do its work?",
)
def readyz(service: ServiceDep, response: Response) -> dict[str, Any]:
    """The node must answer for the program's chain, the index must be up to date, and what was accepted must not be
    stuck. Troubles are told in fixed words; the rest stands in the log."""
    troubles: list[dict[str, str]] = []
    block: int | None = None
    try:
        check_chain(service.app, service.opened.attached)
        block = service.app.node.head().number
    except LoyaltyError as failure:
        troubles.append(_told(failure))
    try:
        verifying.check_index(service.app, service.opened)
    except LoyaltyError as failure:
        troubles.append(_told(failure))
    if service.worker is not None and any(hand.trouble for hand in service.worker.senders):
        troubles.append(CLAIMS_WAIT)
    if troubles:
        response.status_code = 503
    return {"status": "not ready" if troubles else "ok", "troubles": troubles, "block": block}


def _told(failure: LoyaltyError) -> dict[str, str]:
    log.warning("not ready: %s", failure.message)
    code = failure.code if failure.code in CODES else "chain_problem"
    return {"code": code, "title": CODES[code].title}
