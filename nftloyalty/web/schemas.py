"""The shapes of requests and answers, with the words of program.toml."""

from collections.abc import Sequence
from typing import Annotated, Any, Literal, get_args

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, StrictBool, StrictInt

from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.gate import Consistency
from nftloyalty.errors import LoyaltyError
from nftloyalty.web.errors import CODES, REFUSED
from nftloyalty.web.problem_samples import sample

_Responses = dict[int | str, dict[str, Any]]

Wallet = Annotated[
    Address,
    Field(
        max_length=64,
        description="A wallet address, 0x and 40 hex digits.",
        examples=["0x70997970C51812dc3A010C7d01b50e0d17dc79C8"],
    ),
    AfterValidator(parse_address),
]


HOW = (
    "`head`: from the index, as of the newest block. `final`: from the index, as of the newest block that can't be "
    "undone. `live`: ask the node, which takes longer."
)


HOW_INDEXED = "`head`: as of the newest block. `final`: as of the newest block that can't be undone."


class _In(BaseModel):
    """Unknown fields are refused, so that a misspelt condition never opens a gate."""

    model_config = ConfigDict(extra="forbid")


class AsOfOut(BaseModel):
    """The block an answer is true of."""

    block: int
    hash: str
    timestamp: str
    age_seconds: int = Field(description="Since the block was made.")
    checked_seconds_ago: int = Field(description="Since the index was last seen to be up to date; 0 if live.")
    final: bool = Field(description="Whether the block can no longer be undone.")


class CardOut(BaseModel):
    tier: str | None = Field(description="The tier's id in program.toml; null if the file does not know it.")
    tier_number: int
    member_number: int
    joined_at: str
    expires_at: str | None = Field(description="First moment at which it is no longer active; null = for life.")
    last_day: str | None = Field(description="Last day (UTC) on which it is active; null = for life.")
    active: bool


class StampOut(BaseModel):
    season: int
    type: int
    id: str | None = None


class OwnershipOut(BaseModel):
    program: str
    wallet: str
    card: CardOut | None
    left: bool
    revoked: bool
    moved: bool
    stamps: list[StampOut]
    as_of: AsOfOut


class ConditionsIn(_In):
    active: StrictBool | None = Field(
        default=None,
        description="Ask for a card that has not expired. Left out: only if no stamps are asked for.",
    )
    min_tier: str | None = Field(default=None, max_length=64, description="A tier's id; that tier or a higher one.")
    stamps: list[Annotated[str, Field(max_length=64)]] = Field(
        default_factory=list, max_length=120, description="Ids of stamps, all to be held."
    )


class GateIn(_In):
    wallet: Wallet
    conditions: ConditionsIn = Field(default_factory=ConditionsIn)
    consistency: Consistency = Field(default=Consistency.HEAD, description=HOW)


class ReasonOut(BaseModel):
    """`code` is stable; `sentence` is for people."""

    code: str
    sentence: str


class GateOut(BaseModel):
    wallet: str
    allowed: bool
    reasons: list[ReasonOut]
    as_of: AsOfOut


class ClaimIn(_In):
    """A voucher as it was signed: `signed` of POST /v1/vouchers, or what `nftloyalty vouchers create` printed."""

    voucher: dict[str, Any]
    chain_id: StrictInt
    contract: Annotated[str, Field(max_length=64)]
    signer: Annotated[str, Field(max_length=64)]
    signature: Annotated[str, Field(max_length=4200)]


class HealthOut(BaseModel):
    status: str


class TroubleOut(BaseModel):
    """`code` is one of an error's, or `claims_wait`."""

    code: str
    title: str


class ReadyOut(BaseModel):
    status: Literal["ok", "not ready"]
    troubles: list[TroubleOut]
    block: int | None


class FieldProblemOut(BaseModel):
    pointer: str = Field(description="JSON Pointer (RFC 6901) to the field.")
    detail: str
    mend: str | None = None


class ProblemOut(BaseModel):
    """RFC 9457 problem details. `code` is stable and stands for one title; `detail` tells what it was this time, `mend`
    what helps."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    mend: str | None = None
    errors: list[FieldProblemOut] | None = None
    request_id: str | None = Field(default=None, description="As in X-Request-Id; the server's log has it too.")


BODY_CODES = (
    "not_json",
    "body_too_deep",
    "foreign_origin",
    "body_too_slow",
    "body_too_large",
    "wrong_media_type",
    "bad_input",
)
"""What can be wrong with a request that has a body."""

REFUSALS = tuple(REFUSED)
TROUBLES = tuple(code for code, answer in CODES.items() if answer.status in (500, 503))


ACCESS_CODES = (
    "key_missing",
    "key_unknown",
    "key_revoked",
    "key_expired",
    "wrong_program",
    "not_allowed",
    "wrong_origin",
    "key_in_page",
    "too_many_requests",
)
"""What can be wrong with who asks."""


def answers(status: int, description: str, media_type: str = "application/json", **examples: Any) -> _Responses:
    """A good answer of a route, for its OpenAPI description, with one or more examples by name."""
    told = {name: {"value": example} for name, example in examples.items()}
    return {status: {"description": description, "content": {media_type: {"examples": told}}}}


def asked(*models: type[BaseModel], **examples: Any) -> dict[str, Any]:
    """The body that a route takes, for its OpenAPI description, with one or more examples by name. `models` are for a
    route that reads it itself; where there are several, each is of another `kind`."""
    content: dict[str, Any] = {"examples": {name: {"value": example} for name, example in examples.items()}}
    references = [_SCHEMAS.format(model=model.__name__) for model in models]
    if len(references) == 1:
        content["schema"] = {"$ref": references[0]}
    elif references:
        kinds = [get_args(model.model_fields["kind"].annotation)[0] for model in models]
        content["schema"] = {
            "oneOf": [{"$ref": reference} for reference in references],
            "discriminator": {"propertyName": "kind", "mapping": dict(zip(kinds, references, strict=True))},
        }
    return {"requestBody": {"required": True, "content": {"application/json": content}}}


def problems(*codes: str, keyed: bool = True, said: Sequence[LoyaltyError] = ()) -> _Responses:
    """The error answers of a route by status, for its OpenAPI description. Every route can answer `wrong_host` and
    `by_proxy`, and those that ask for a key what is wrong with it. `said` are errors that this route words in its own
    way."""
    schema = {"$ref": _SCHEMAS.format(model=ProblemOut.__name__)}
    by_status: dict[int, list[str]] = {}
    for code in ("wrong_host", "by_proxy", *(ACCESS_CODES if keyed else ()), *codes):
        by_status.setdefault(CODES[code].status, []).append(code)
    return {
        status: {
            "description": "\n".join(f"- `{code}`: {CODES[code].title}" for code in named),
            "content": {
                "application/problem+json": {
                    "schema": schema,
                    "examples": {code: {"value": sample(code, said)} for code in named},
                }
            },
        }
        for status, named in sorted(by_status.items())
    }


def problem_schemas() -> dict[str, Any]:
    """The schemas that `problems` names, by name."""
    return schemas_of(ProblemOut)


def schemas_of(model: type[BaseModel]) -> dict[str, Any]:
    """A model's schema and those of its parts, by name."""
    whole = model.model_json_schema(ref_template=_SCHEMAS)
    parts: dict[str, Any] = whole.pop("$defs", {})
    return {model.__name__: whole, **parts}


_SCHEMAS = "#/components/schemas/{model}"
