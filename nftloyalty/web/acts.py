"""What is done to members once they are there: renewed, put on another tier, revoked, readmitted."""

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, StrictBool, StrictInt

from nftloyalty.app import describing, requesting
from nftloyalty.app.answering import once
from nftloyalty.app.requesting import Renew, SetTier
from nftloyalty.domain.access import Scope
from nftloyalty.domain.answer import Said
from nftloyalty.domain.times import WrongTime, parse_expiry
from nftloyalty.errors import BadInput, LoyaltyError, Problem
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import JSON_BODY, ServiceDep, writing
from nftloyalty.web.intents import IntentOut
from nftloyalty.web.mints import REQUEST_CODES, IdempotencyKey, key_of
from nftloyalty.web.problem_samples import BOTH_OR_NEITHER, WRONG_SECOND_ITEM
from nftloyalty.web.schemas import REFUSALS, Wallet, answers, asked, problems

router = APIRouter(tags=["members"])

MOST_AT_ONCE = 500
LONGEST_REASON = 200
LONGEST_TERM_DAYS = 36_500

ACT_CODES = ("under_way", "not_held", "done", "not_renewable", "expiry_not_later", "signed_elsewhere")
WRITE = needs(Scope.MEMBERS_WRITE)

Reason = Annotated[str, Field(min_length=1, max_length=LONGEST_REASON, description="Public: it is written on chain.")]
TierId = Annotated[str, Field(max_length=64, description="A tier's id.", examples=["gold"])]


class _In(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RenewalIn(_In):
    """A new end, or a term from the later of now and the present end. One of the two."""

    wallet: Wallet
    until: AwareDatetime | None = Field(default=None, description="First moment at which it is no longer active.")
    days: StrictInt | None = Field(default=None, ge=1, le=LONGEST_TERM_DAYS, description="The term.")


class RenewalsIn(_In):
    items: list[RenewalIn] = Field(min_length=1, max_length=MOST_AT_ONCE)


class TierChangeIn(_In):
    wallet: Wallet
    tier: TierId


class TierChangesIn(_In):
    items: list[TierChangeIn] = Field(min_length=1, max_length=MOST_AT_ONCE)


class RevocationIn(_In):
    """Of a card, or of the stamp that is named."""

    wallet: Wallet
    reason: Reason
    stamp: str | None = Field(default=None, max_length=64, description="A stamp's id; left out: the card.")
    may_return: StrictBool = Field(default=False, description="Of a stamp: whether the wallet may get it again.")


class ReadmissionIn(_In):
    wallet: Wallet
    tier: TierId
    expiry: str | None = Field(default=None, max_length=64, description="As for a new card.", examples=["2030-12-31"])


class ActOut(IntentOut):
    reply: Literal["accepted", "known"] = Field(
        description="`known`: the very same is under way already, and this is how far."
    )
    status_url: str


class ActsOut(BaseModel):
    items: list[ActOut] = Field(description="In the order of the request.")


def _route(
    path: str, operation_id: str, summary: str, taken: Mapping[str, Any], said: Sequence[LoyaltyError], **bodies: Any
) -> Callable[..., Any]:
    """`taken` are examples of the answer, `bodies` are those of what is asked, by name."""
    return router.post(
        path,
        status_code=202,
        operation_id=operation_id,
        response_model=ActsOut,
        responses=answers(202, "All of it is taken in.", **taken)
        | problems("unknown", *ACT_CODES, *REFUSALS, *REQUEST_CODES, said=said),
        dependencies=[WRITE, JSON_BODY],
        openapi_extra=asked(**bodies),
        summary=summary,
    )


@_route(
    "/v1/renewals",
    "renew_cards",
    "Let cards end later",
    {"renewals": examples.RENEWALS_TAKEN},
    [BOTH_OR_NEITHER],
    renewals=examples.RENEWALS,
)
def renewals(body: RenewalsIn, request: Request, service: ServiceDep, key: IdempotencyKey = "") -> Response:
    """Up to 500 at once, all or none. The same end asked for again is the same renewal; a term is a further one each
    time, so what you are not sure of you ask for with the same Idempotency-Key."""
    problems = [
        Problem(f"items.{place}", "needs one of until and days", "give exactly one of them")
        for place, item in enumerate(body.items)
        if (item.until is None) == (item.days is None)
    ]
    if problems:
        raise BadInput("request", problems)
    wanted = [
        Renew(item.wallet, item.until, None if item.days is None else timedelta(days=item.days)) for item in body.items
    ]
    return _accepted(request, service, key, body, lambda: requesting.renewals(service.app, service.opened, wanted))


@_route(
    "/v1/tier-changes",
    "change_tiers",
    "Put members on another tier",
    {"to_gold": examples.TIER_CHANGES_TAKEN},
    [WRONG_SECOND_ITEM],
    to_gold=examples.TIER_CHANGES,
)
def tier_changes(body: TierChangesIn, request: Request, service: ServiceDep, key: IdempotencyKey = "") -> Response:
    """Up to 500 at once, all or none."""
    program = service.opened.program
    wanted = [SetTier(item.wallet, program.tier(item.tier).number) for item in body.items]
    return _accepted(request, service, key, body, lambda: requesting.tiers(service.app, service.opened, wanted))


@_route(
    "/v1/revocations",
    "revoke",
    "Take a card or a stamp away",
    {"card": examples.CARD_REVOKED, "stamp": examples.STAMP_REVOKED},
    [],
    card=examples.CARD_REVOCATION,
    stamp=examples.STAMP_REVOCATION,
)
def revocations(body: RevocationIn, request: Request, service: ServiceDep, key: IdempotencyKey = "") -> Response:
    """The member is shut out at once where answers are read from the newest block. A card comes back only by a
    readmission."""
    here = service.opened
    if body.stamp is None and body.may_return:
        what = "is for stamps; a card comes back by a readmission"
        raise BadInput("request", [Problem("may_return", what, "leave it out")])

    def asked() -> requesting.Request:
        if body.stamp is None:
            return requesting.revocation(here, body.wallet, body.reason)
        number = here.program.stamp_number(body.stamp)
        return requesting.stamp_revocation(here, body.wallet, number, may_return=body.may_return, reason=body.reason)

    return _accepted(request, service, key, body, asked)


@_route(
    "/v1/readmissions",
    "readmit",
    "Bring a member back",
    {"as_member": examples.READMITTED},
    [],
    as_member=examples.READMISSION,
)
def readmissions(body: ReadmissionIn, request: Request, service: ServiceDep, key: IdempotencyKey = "") -> Response:
    """Who left or was revoked gets a card with the old member number."""
    here = service.opened
    tier = here.program.tier(body.tier).number
    try:
        expires_at = parse_expiry(body.expiry or "", service.app.now())
    except WrongTime as wrong:
        raise BadInput("request", [Problem("expiry", f"{body.expiry!r} {wrong.what}", wrong.mend)]) from None
    return _accepted(request, service, key, body, lambda: requesting.readmission(here, body.wallet, tier, expires_at))


def _accepted(
    request: Request, service: ServiceDep, key: str, body: BaseModel, asked: Callable[[], requesting.Request]
) -> Response:
    """Judged by the chain as it is, then taken in with the answer to it."""
    writing(service)
    app, here = service.app, service.opened
    named = key_of(request, key, body.model_dump(mode="json"))

    def carry_out(tx: Any, prepared: requesting.Prepared) -> Said:
        rows = requesting.accept(app, tx, prepared)
        final = describing.final_number(tx, here.row.id)
        items: Sequence[dict[str, Any]] = [
            {
                "reply": "accepted" if each.new else "known",
                "status_url": f"/v1/intents/{each.row.public_id}",
                **describing.described(here.program, each.row, final),
            }
            for each in rows
        ]
        return Said(202, json.dumps({"items": items}, separators=(",", ":")))

    answer = once(app, here.row.id, named, lambda: requesting.prepare(app, here, asked()), carry_out)
    headers = {"Idempotent-Replayed": "true"} if answer.replayed else None
    return Response(answer.said.body, answer.said.status, headers, "application/json")
