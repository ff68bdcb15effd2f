"""Cards and stamps on request: one by one, or many at once. What is plainly a request for one of them does not come
here: `direct` answers it."""

import asyncio
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Header, Path, Request, Response
from pydantic import BaseModel, ConfigDict, Field

from nftloyalty.app import batching
from nftloyalty.app.intake import Intake
from nftloyalty.app.taking import Outcome
from nftloyalty.domain.access import Scope
from nftloyalty.domain.answer import LONGEST_KEY, Answer, AnswerKey, Said, answer_key
from nftloyalty.domain.mint import MOST_ITEMS, Reply
from nftloyalty.errors import BadInput, Problem
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import JSON_BODY, NoIdempotencyKey, NotJson, ReadOnly, Service, ServiceDep
from nftloyalty.web.intents import CursorDep, IntentOut, LimitDep
from nftloyalty.web.problem_samples import NO_BATCH, WRONG_CURSOR, WRONG_SECOND_ITEM, too_long
from nftloyalty.web.schemas import BODY_CODES, TROUBLES, Wallet, answers, asked, problems

router = APIRouter(tags=["mints"])

LARGEST_BATCH_BYTES = 2 * 1024 * 1024
REQUEST_CODES = (
    *BODY_CODES,
    "idempotency_key_missing",
    "key_reused",
    "in_flight",
    "intake_full",
    "read_only",
    *TROUBLES,
)

NEEDED = Scope.MINTS_WRITE
READ = needs(Scope.MEMBERS_READ)
WRITE = needs(NEEDED)

REPLAYED: Mapping[str, str] = {"Idempotent-Replayed": "true"}
"""Of an answer that an earlier request of the same key had."""

BatchId = Annotated[
    str, Path(description="The `id` of the answer to POST /v1/batches.", max_length=64, examples=[examples.BATCH_ID])
]
IdempotencyKey = Annotated[
    str,
    Header(
        alias="Idempotency-Key",
        # Told here and judged by `answer_key`, in the same words whichever way a request goes.
        json_schema_extra={"minLength": 1, "maxLength": LONGEST_KEY},
        description="A name of your own for this request, such as a random UUID. The same request with the same key is "
        "answered once more as it was, however often it comes.",
        examples=[examples.IDEMPOTENCY_KEY],
    ),
]


class CardIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wallet: Wallet
    tier: str = Field(description="A tier's id.", examples=["gold"])
    expiry: str | None = Field(
        default=None,
        description="Last day on which it is active, in UTC, or a time with its zone; null = for life.",
        examples=["2030-12-31"],
    )


class StampIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wallet: Wallet
    stamp: str = Field(description="A stamp's id.", examples=["welcome"])


class WalletIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    wallet: Wallet


class CardsIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["mint-card"]
    items: list[CardIn] = Field(min_length=1, max_length=MOST_ITEMS)


class StampsIn(BaseModel):
    model_config = ConfigDict(extra="forbid")

    kind: Literal["mint-stamp"]
    stamp: str = Field(description="A stamp's id.", examples=["welcome"])
    items: list[WalletIn] = Field(min_length=1, max_length=MOST_ITEMS)


class MintOut(IntentOut):
    reply: Reply = Field(
        description="`accepted`; `again`: it came to nothing before and is taken up once more; `known`: the very same "
        "was asked for before."
    )
    status_url: str = Field(description="Ask here until `phase` is no longer `pending`.")


class BatchOut(BaseModel):
    id: str
    kind: Literal["mint-card", "mint-stamp"]
    stamp: str | None = Field(description="Of stamps: which.")
    total: int
    created_at: str


class TakenBatchOut(BatchOut):
    replies: dict[Reply, int] = Field(
        description="How many items were answered how. `asked_otherwise`: another card was asked for before, for the "
        "same wallet; nothing comes of this item."
    )
    status_url: str


class BatchStatusOut(BatchOut):
    replies: dict[Reply, int]
    phases: dict[Literal["pending", "final", "reverted"], int] = Field(
        description="How far the items are that were not answered `asked_otherwise`."
    )
    items_url: str


class BatchPageOut(BaseModel):
    items: list[BatchOut]
    cursor: str | None = Field(description="Asks for what is older; null = there is nothing more.")


class ItemOut(BaseModel):
    place: int = Field(description="In the request, from 0.")
    wallet: str
    reply: Reply
    intent: IntentOut


class ItemPageOut(BaseModel):
    items: list[ItemOut]
    cursor: str | None = Field(description="Asks for those that follow; null = there are no more.")


BODIES = (CardIn, StampIn, CardsIn, StampsIn)
"""Models that only stand in the OpenAPI document."""


def _known(example: Mapping[str, Any]) -> dict[int | str, dict[str, Any]]:
    told = answers(200, "The very same was asked for before.", known=example)
    return {200: told[200] | {"model": MintOut}}


Ask = Callable[[object, Any, AnswerKey | None, Outcome], None]
"""`Intake.card` or `Intake.stamp`."""


@router.post(
    "/v1/mints",
    status_code=202,
    operation_id="give_card",
    response_model=MintOut,
    responses=answers(202, "It is taken in.", card=examples.CARD_TAKEN)
    | _known(examples.CARD_KNOWN)
    | problems("asked_otherwise", *REQUEST_CODES),
    dependencies=[WRITE, JSON_BODY],
    openapi_extra=asked(CardIn, card=examples.CARD),
    summary="Give a card",
)
async def mint(request: Request, service: ServiceDep, key: IdempotencyKey = "") -> Response:
    """Takes in one card; a worker brings it to the chain. A wallet has one card: asking for the same one again, with
    any key, leads to the same intent; asking for another one is refused."""
    return await _one(request, _intake(service).card, key)


@router.post(
    "/v1/stamps",
    status_code=202,
    operation_id="give_stamp",
    response_model=MintOut,
    responses=answers(202, "It is taken in.", stamp=examples.STAMP_TAKEN)
    | _known(examples.STAMP_KNOWN)
    | problems(*REQUEST_CODES),
    dependencies=[WRITE, JSON_BODY],
    openapi_extra=asked(StampIn, stamp=examples.STAMP),
    summary="Give a stamp",
)
async def stamp(request: Request, service: ServiceDep, key: IdempotencyKey = "") -> Response:
    """As for a card. A wallet has one stamp of a type; one that was revoked and may return is given anew."""
    return await _one(request, _intake(service).stamp, key)


@router.post(
    "/v1/batches",
    status_code=202,
    operation_id="give_batch",
    response_model=TakenBatchOut,
    responses=answers(202, "All of it is taken in.", stamps=examples.BATCH_TAKEN)
    | problems(*REQUEST_CODES, said=[WRONG_SECOND_ITEM]),
    dependencies=[WRITE, JSON_BODY],
    openapi_extra=asked(CardsIn, StampsIn, cards=examples.CARD_BATCH, stamps=examples.STAMP_BATCH),
    summary="Give many cards, or many stamps of one type",
)
async def batch(request: Request, service: ServiceDep, key: IdempotencyKey = "") -> Response:
    """All items are taken in or, if one of them is wrong, none, and every wrong one is named. What was asked for before
    is told item by item."""
    intake = _intake(service)
    raw = await request.body()

    def ask(outcome: Outcome) -> None:
        body = decoded(raw)
        intake.batch(body, _told_batch, key_of(request, key, body), outcome)

    answer: Future[Answer] = Future()
    # Thousands of items are read on a thread: others are answered meanwhile.
    await asyncio.to_thread(ask, answer)
    return _response(await asyncio.wrap_future(answer))


@router.get(
    "/v1/batches",
    operation_id="list_batches",
    response_model=BatchPageOut,
    responses=answers(200, "A page of them.", last_page=examples.BATCHES)
    | problems("bad_input", *TROUBLES, said=[WRONG_CURSOR]),
    dependencies=[READ],
    summary="Batches, the newest first",
)
def list_batches(service: ServiceDep, cursor: CursorDep = "", limit: LimitDep = 100) -> dict[str, Any]:
    found = batching.page(service.app, service.opened, cursor=cursor, limit=limit)
    return {"items": found.batches, "cursor": found.cursor}


@router.get(
    "/v1/batches/{batch_id}",
    operation_id="get_batch",
    response_model=BatchStatusOut,
    responses=answers(200, "How far it is.", under_way=examples.BATCH_STATUS)
    | problems("unknown", "bad_input", *TROUBLES, said=[NO_BATCH, too_long("batch_id", 64)]),
    dependencies=[READ],
    summary="How far a batch is",
)
def batch_status(batch_id: BatchId, service: ServiceDep) -> dict[str, Any]:
    found = batching.find(service.app, service.opened, batch_id)
    return found | {"items_url": f"/v1/batches/{batch_id}/items"}


@router.get(
    "/v1/batches/{batch_id}/items",
    operation_id="list_batch_items",
    response_model=ItemPageOut,
    responses=answers(200, "A page of them.", last_page=examples.BATCH_ITEMS)
    | problems("unknown", "bad_input", *TROUBLES, said=[NO_BATCH, WRONG_CURSOR]),
    dependencies=[READ],
    summary="What became of each item of a batch",
)
def batch_items(
    batch_id: BatchId, service: ServiceDep, cursor: CursorDep = "", limit: LimitDep = 100
) -> dict[str, Any]:
    """In the order of the request."""
    found = batching.items(service.app, service.opened, batch_id, cursor=cursor, limit=limit)
    return {"items": found.items, "cursor": found.cursor}


async def _one(request: Request, ask: Ask, key: str) -> Response:
    body = decoded(await request.body())
    answer: Future[Answer] = Future()
    ask(body, told, key_of(request, key, body), answer)
    return _response(await asyncio.wrap_future(answer))


def _intake(service: Service) -> Intake:
    """Raises ReadOnly."""
    if service.intake is None:
        raise ReadOnly
    return service.intake


def decoded(raw: bytes) -> object:
    """The body of a request. Raises NotJson."""
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError as wrong:
        raise NotJson(wrong.pos) from None


def key_of(request: Request, key: str, body: object) -> AnswerKey:
    """Under what the answer to this request is kept. Raises NoIdempotencyKey, and BadInput for one that is none, or is
    not the only one."""
    if not key:
        raise NoIdempotencyKey
    if len(request.headers.getlist("Idempotency-Key")) > 1:
        what, mend = "is given twice", "one name for each request"
        raise BadInput("request", [Problem("Idempotency-Key", what, mend)])
    return answer_key(f"{request.method} {request.url.path}", key, body, kept=True)


def told(reply: Reply, intent: Mapping[str, Any]) -> Said:
    """What is answered to a request for one card or stamp."""
    whole = {"reply": reply.value, "status_url": f"/v1/intents/{intent['id']}", **intent}
    return Said(200 if reply is Reply.KNOWN else 202, orjson.dumps(whole).decode())


def _told_batch(batch: Mapping[str, Any]) -> Said:
    whole = {**batch, "status_url": f"/v1/batches/{batch['id']}"}
    return Said(202, orjson.dumps(whole).decode())


def _response(answer: Answer) -> Response:
    headers = REPLAYED if answer.replayed else None
    return Response(answer.said.body, answer.said.status, headers, "application/json")
