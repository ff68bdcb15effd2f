"""Vouchers come in, cards and stamps come out; the member pays nothing."""

import logging
from typing import Annotated, Any

from fastapi import APIRouter, Path, Response
from pydantic import Field

from nftloyalty.app import claiming
from nftloyalty.domain.access import Scope
from nftloyalty.domain.voucher import signed_from_json
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import JSON_BODY, ReadOnly, ServiceDep
from nftloyalty.web.intents import IntentOut
from nftloyalty.web.problem_samples import SPOILT_VOUCHER, nothing
from nftloyalty.web.schemas import BODY_CODES, REFUSALS, TROUBLES, ClaimIn, answers, asked, problems

log = logging.getLogger(__name__)

router = APIRouter(tags=["claims"])


class ClaimOut(IntentOut):
    status_url: str = Field(description="Ask here until `phase` is no longer `pending`.")


ClaimId = Annotated[str, Path(description="The `id` of the answer to POST /v1/claim.", examples=[examples.INTENT_ID])]


@router.post(
    "/v1/claim",
    status_code=202,
    operation_id="claim_voucher",
    response_model=ClaimOut,
    responses=answers(202, "It is taken in.", card=examples.CLAIMED)
    | problems(*BODY_CODES, *REFUSALS, "read_only", *TROUBLES, said=[SPOILT_VOUCHER]),
    openapi_extra=asked(card=examples.VOUCHER),
    dependencies=[needs(Scope.CLAIMS_WRITE), JSON_BODY],
    summary="Claim a voucher",
)
def claim(body: ClaimIn, service: ServiceDep, response: Response) -> dict[str, Any]:
    """Takes a voucher as it was signed and brings it to the chain. The same voucher again gives
    the same claim; nothing happens twice. Ask at `status_url` until `phase` is no longer `pending`."""
    if not service.takes_claims:
        raise ReadOnly
    signed = signed_from_json(body.model_dump())
    claim = claiming.accept_claim(service.app, service.opened, signed)
    log.info("a claim is accepted", extra={"intent": claim.public_id})
    answer = claiming.described(service.app, service.opened, claim)
    response.headers["Location"] = str(answer["status_url"])
    return answer


@router.get(
    "/v1/claims/{claim_id}",
    operation_id="get_claim",
    response_model=ClaimOut,
    responses=answers(200, "How far it is.", final=examples.CLAIM)
    | problems("unknown", *TROUBLES, said=[nothing("claim")]),
    dependencies=[needs(Scope.CLAIMS_WRITE)],
    summary="How far a claim is",
)
def claim_status(claim_id: ClaimId, service: ServiceDep) -> dict[str, Any]:
    """`pending` until it is on chain and can't be undone (`final`); `reverted` names the reason."""
    claim = claiming.claim_status(service.app, service.opened, claim_id)
    return claiming.described(service.app, service.opened, claim)
