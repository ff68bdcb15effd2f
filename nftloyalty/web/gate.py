"""Yes or no at the checkout."""

from typing import Any

from fastapi import APIRouter

from nftloyalty.app import verifying
from nftloyalty.domain.access import Scope
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import JSON_BODY, ServiceDep
from nftloyalty.web.schemas import BODY_CODES, TROUBLES, GateIn, GateOut, answers, asked, problems

router = APIRouter(tags=["gate"])


@router.post(
    "/v1/gate",
    operation_id="ask_gate",
    response_model=GateOut,
    responses=answers(200, "Yes or no.", yes=examples.YES, no=examples.NO)
    | problems("unknown", *BODY_CODES, *TROUBLES),
    openapi_extra=asked(gold_and_stamp=examples.GATE),
    dependencies=[needs(Scope.CHECKS_READ), JSON_BODY],
    summary="May this wallet have it?",
)
def gate(body: GateIn, service: ServiceDep) -> dict[str, Any]:
    """All conditions must be met; a `no` names each one that is not. Asking for nothing is answered `no`."""
    asked = body.conditions
    active = asked.active if asked.active is not None else not asked.stamps
    wanted = verifying.conditions(service.opened, active=active, tier=asked.min_tier, stamps=tuple(asked.stamps))
    held, decision = verifying.check(service.app, service.opened, body.wallet, wanted, body.consistency)
    return {
        "wallet": held.wallet,
        "allowed": decision.allowed,
        "reasons": [{"code": reason.code, "sentence": reason.sentence} for reason in decision.reasons],
        "as_of": verifying.as_of_json(held, service.app.now()),
    }
