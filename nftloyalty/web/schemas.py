"""The shapes of requests and answers, with the words of program.toml."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

Wallet = Annotated[
    str,
    Field(
        max_length=64,
        description="A wallet address, 0x and 40 hex digits.",
        examples=["0x70997970C51812dc3A010C7d01b50e0d17dc79C8"],
    ),
]


class _In(BaseModel):
    """Unknown fields are refused, so that a misspelt condition never opens a gate."""

    model_config = ConfigDict(extra="forbid")


class AsOfOut(BaseModel):
    """The block an answer is true of."""

    block: int
    hash: str
    timestamp: str
    age_seconds: int
    final: bool = Field(description="Whether the block can no longer be undone.")


class CardOut(BaseModel):
    tier: str | None = Field(description="The tier's id in program.toml; null if the file does not know it.")
    tier_number: int
    member_number: int
    joined_at: str
    expires_at: str | None = Field(description="null = for life.")
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
    active: bool | None = Field(
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


class ReasonOut(BaseModel):
    code: str
    sentence: str


class GateOut(BaseModel):
    wallet: str
    allowed: bool
    reasons: list[ReasonOut]
    as_of: AsOfOut


class ClaimIn(_In):
    """What `nftloyalty vouchers create` printed."""

    voucher: dict[str, Any]
    chain_id: int
    contract: Annotated[str, Field(max_length=64)]
    signer: Annotated[str, Field(max_length=64)]
    signature: Annotated[str, Field(max_length=4200)]


class ClaimOut(BaseModel):
    id: str
    status_url: str
    phase: Literal["pending", "final", "rejected"]
    state: str
    wallet: str | None
    transaction: str | None
    block: int | None
    reason: str | None


class HealthOut(BaseModel):
    status: str


class ReadyOut(BaseModel):
    status: str
    trouble: str
    block: int | None


class FieldProblemOut(BaseModel):
    pointer: str
    detail: str
    mend: str


class ProblemOut(BaseModel):
    """RFC 9457 problem details; `code` is stable."""

    type: str
    title: str
    status: int
    code: str
    detail: str | None = None
    errors: list[FieldProblemOut] | None = None


WHEN = {
    400: "The request can't be read, or was not made to this machine's own name.",
    404: "There is no such thing.",
    409: "The contract refuses; the title holds its reason.",
    413: "The body is too long.",
    422: "The request is wrong; `errors` points at each field.",
    503: "The chain, the database or a key can't be used now. Try again later.",
}


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """The error answers of a route, for its OpenAPI description."""
    schema = {"$ref": _SCHEMAS.format(model=ProblemOut.__name__)}
    return {
        status: {"description": WHEN[status], "content": {"application/problem+json": {"schema": schema}}}
        for status in (400, *statuses)
    }


def problem_schemas() -> dict[str, Any]:
    """The schemas that `problems` names, by name."""
    whole = ProblemOut.model_json_schema(ref_template=_SCHEMAS)
    parts: dict[str, Any] = whole.pop("$defs")
    return {ProblemOut.__name__: whole, **parts}


_SCHEMAS = "#/components/schemas/{model}"
