"""The API's answers, as far as storefronts use them. Answers may hold more; times are ISO 8601 in UTC."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict

Phase = Literal["pending", "final", "reverted"]
Consistency = Literal["head", "final"]
VoucherState = Literal["open", "claiming", "claimed", "expired", "called-back", "refused"]


class AsOf(TypedDict):
    """The block an answer is true of."""

    block: int
    hash: str
    timestamp: str
    age_seconds: int
    checked_seconds_ago: int
    final: bool


class Reason(TypedDict):
    code: str
    sentence: str


class Check(TypedDict):
    """Yes or no at the checkout."""

    wallet: str
    allowed: bool
    reasons: Sequence[Reason]
    as_of: AsOf


class Card(TypedDict):
    tier: str | None
    tier_number: int
    member_number: int
    joined_at: str
    expires_at: str | None
    last_day: str | None
    active: bool


class Stamp(TypedDict):
    season: int
    type: int
    id: str | None


class Ownership(TypedDict):
    program: str
    wallet: str
    card: Card | None
    left: bool
    revoked: bool
    moved: bool
    stamps: Sequence[Stamp]
    as_of: AsOf


class Intent(TypedDict):
    """One thing that was asked for. `reply` is there where it was asked for just now."""

    id: str
    kind: str
    wallet: str
    tier: str | None
    expires_at: str | None
    stamp: str | None
    phase: Phase
    sentence: str
    transaction: str | None
    block: int | None
    reason: Reason | None
    reply: str
    status_url: str


class SignedVoucher(TypedDict):
    """A voucher as it is handed out, and handed in."""

    voucher: Mapping[str, Any]
    chain_id: int
    contract: str
    signer: str
    signature: str


class ListedVoucher(TypedDict):
    """A promise of a card or a stamp, and how it stands."""

    id: str
    kind: Literal["card", "stamp"]
    wallet: str
    tier: str | None
    expires_at: str | None
    stamp: str | None
    until: str
    state: VoucherState
    reason: Reason | None
    status_url: str
    claim_url: str | None
    created_at: str


class Voucher(ListedVoucher):
    """A voucher with what is handed in."""

    signed: SignedVoucher


class Batch(TypedDict):
    """`phases` are there where a batch is asked about, not where it is taken in."""

    id: str
    kind: str
    stamp: str | None
    total: int
    replies: Mapping[str, int]
    phases: Mapping[Phase, int]


class BatchItem(TypedDict):
    place: int
    wallet: str
    reply: str
    intent: Intent


class Event(TypedDict):
    """What happened, as it is read and as webhooks deliver it."""

    id: str
    type: str
    timestamp: str
    program: str
    object: str
    sequence: int
    phase: Phase
    data: Mapping[str, Any]


class Program(TypedDict):
    id: str
    brand: str
    name: str
    mode: Literal["live", "test"]
    tiers: Sequence[Mapping[str, Any]]
    stamps: Sequence[Mapping[str, Any]]
    chain: Mapping[str, Any]
