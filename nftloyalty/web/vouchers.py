"""Vouchers on request, and how each stands. Claiming one is `web.claims`."""

import json
import logging
from datetime import datetime
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Path, Query, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from nftloyalty.app import claiming, vouching
from nftloyalty.app.answering import once
from nftloyalty.app.claiming import Made
from nftloyalty.domain.access import Scope
from nftloyalty.domain.answer import Said
from nftloyalty.domain.voucher import VoucherState, read_asked
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import JSON_BODY, ServiceDep, SignsNoVouchers, writing
from nftloyalty.web.intents import CursorDep, LimitDep
from nftloyalty.web.mints import REQUEST_CODES, IdempotencyKey, key_of
from nftloyalty.web.problem_samples import WRONG_CURSOR, nothing, too_long
from nftloyalty.web.schemas import TROUBLES, ClaimIn, ReasonOut, Wallet, answers, asked, problems

log = logging.getLogger(__name__)

router = APIRouter(tags=["vouchers"])

WRITE = needs(Scope.VOUCHERS_WRITE)

VoucherId = Annotated[
    str,
    Path(description="The `id` of the answer to POST /v1/vouchers.", max_length=64, examples=[examples.VOUCHER_ID]),
]
KindName = Literal["card", "stamp"]


class VoucherIn(BaseModel):
    """For a card (`tier`, and `expiry` if it ends) or for a stamp (`stamp`)."""

    model_config = ConfigDict(extra="forbid")

    wallet: Wallet
    tier: str | None = Field(default=None, max_length=64, description="A tier's id.", examples=["gold"])
    expiry: str | None = Field(
        default=None,
        max_length=64,
        description="Last day on which the card is active, in UTC, or a time with its zone; null = for life.",
        examples=["2030-12-31"],
    )
    stamp: str | None = Field(default=None, max_length=64, description="A stamp's id; no tier then.")
    until: str | None = Field(
        default=None,
        max_length=64,
        description="Last day on which it can be claimed, in UTC, or a time with its zone; null = 30 days from now.",
        examples=["2030-12-31"],
    )


class ListedVoucherOut(BaseModel):
    id: str
    kind: KindName
    wallet: str = Field(description="Whom it is for: nobody else can use it.")
    tier: str | None = Field(description="Of a card: the tier's id in program.toml; null if the file does not know it.")
    tier_number: int | None
    expires_at: datetime | None = Field(description="Of a card: first moment at which it is no longer active.")
    last_day: str | None = Field(description="Of a card: last day (UTC) on which it is active.")
    stamp: str | None = Field(description="Of a stamp: its id.")
    until: datetime = Field(description="First moment at which it can't be claimed any more.")
    state: VoucherState = Field(
        description="`open` it can be claimed; `claiming` it was handed in; `claimed` for good; `expired`; "
        "`called-back` the program no longer stands by it; `refused` the wallet has it already, or had it, and no "
        "claim that was handed in here brought it."
    )
    reason: ReasonOut | None = Field(description="Why it was called back, or would be refused.")
    status_url: str
    claim_url: str | None = Field(description="How far its claim is; null = it was not handed in here.")
    created_at: datetime


class VoucherOut(ListedVoucherOut):
    signed: ClaimIn = Field(description="The voucher, to be posted to /v1/claim as it is.")


class VoucherPageOut(BaseModel):
    items: list[ListedVoucherOut]
    cursor: str | None = Field(description="Asks for what is older; null = there is nothing more.")


@router.post(
    "/v1/vouchers",
    status_code=201,
    operation_id="sign_voucher",
    response_model=VoucherOut,
    responses=answers(201, "It is signed.", card=examples.VOUCHER_MADE) | problems("signs_no_vouchers", *REQUEST_CODES),
    openapi_extra=asked(card=examples.NEW_VOUCHER, stamp=examples.STAMP_VOUCHER),
    dependencies=[WRITE, JSON_BODY],
    summary="Sign a voucher",
)
def create(body: VoucherIn, request: Request, service: ServiceDep, key: IdempotencyKey = "") -> Response:
    """A promise of one card or one stamp to one wallet, which claims it when it likes, and pays nothing. What is
    `signed` is handed out, and posted to /v1/claim by whoever has it. A wallet that has it already is promised it all
    the same, and `state` says so: the contract decides when it is claimed."""
    writing(service)
    desk = service.desk
    if desk is None:
        raise SignsNoVouchers
    app, here = service.app, service.opened

    def prepare() -> Made:
        # In here, for what was asked before is answered as it was, also when its day is past.
        return desk.sign(
            read_asked(
                body.wallet,
                here.program,
                app.now(),
                desk.contracts,
                tier=body.tier,
                expiry=body.expiry,
                stamp=body.stamp,
                until=body.until,
            )
        )

    def carry_out(tx: Any, made: Made) -> Said:
        row = claiming.keep(app, tx, made)
        return Said(201, json.dumps(vouching.told_new(tx, app, here, row), separators=(",", ":")))

    answer = once(app, here.row.id, key_of(request, key, body.model_dump(mode="json")), prepare, carry_out)
    if not answer.replayed:
        log.info("a voucher is signed", extra={"voucher": json.loads(answer.said.body)["id"]})
    # Whoever has it can bring it to the chain: it stays in nobody's cache.
    headers = {"Cache-Control": "no-store"} | ({"Idempotent-Replayed": "true"} if answer.replayed else {})
    return Response(answer.said.body, answer.said.status, headers, "application/json")


@router.get(
    "/v1/vouchers",
    operation_id="list_vouchers",
    response_model=VoucherPageOut,
    responses=answers(200, "A page of them.", last_page=examples.VOUCHERS)
    | problems("bad_input", *TROUBLES, said=[WRONG_CURSOR]),
    dependencies=[WRITE],
    summary="Vouchers, the newest first",
)
def list_vouchers(
    service: ServiceDep,
    kind: Annotated[KindName | None, Query(description="Only those of this kind.", examples=["card"])] = None,
    wallet: Annotated[
        Wallet | None, Query(description="Only those for this wallet.", examples=[examples.NEWCOMER])
    ] = None,
    cursor: CursorDep = "",
    limit: LimitDep = 100,
) -> dict[str, Any]:
    """Those that were signed here or by `nftloyalty vouchers create`, without what is to be handed in."""
    found = vouching.page(
        service.app,
        service.opened,
        kind=vouching.kind_named(kind) if kind else None,
        wallet=wallet,
        cursor=cursor,
        limit=limit,
    )
    return {"items": found.vouchers, "cursor": found.cursor}


@router.get(
    "/v1/vouchers/{voucher_id}",
    operation_id="get_voucher",
    response_model=VoucherOut,
    responses=answers(200, "How it stands.", claimed=examples.VOUCHER_CLAIMED)
    | problems("unknown", "bad_input", *TROUBLES, said=[nothing("voucher"), too_long("voucher_id", 64)]),
    dependencies=[WRITE],
    summary="How one stands",
)
def voucher(voucher_id: VoucherId, service: ServiceDep, response: Response) -> dict[str, Any]:
    """With what is to be handed in, so that it can be handed out again."""
    response.headers["Cache-Control"] = "no-store"
    return vouching.find(service.app, service.opened, voucher_id)
