"""What each error looks like when it is answered, for the OpenAPI document: written by what answers it."""

import json
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from nftloyalty.domain import access
from nftloyalty.domain.access import CantRotate, KeyEnded, KeyMissing, KeyUnknown, NotAllowed, WrongOrigin, WrongProgram
from nftloyalty.domain.act import ActRefused
from nftloyalty.domain.refusal import explain
from nftloyalty.domain.voucher import AS_MADE, VoucherExpired
from nftloyalty.domain.words import SkipCode
from nftloyalty.errors import (
    AskedOtherwise,
    BadInput,
    InFlight,
    IntakeFull,
    KeyReused,
    LoyaltyError,
    Problem,
    Reverted,
    SignedElsewhere,
    Unknown,
)
from nftloyalty.web import errors
from nftloyalty.web.access import MENDS
from nftloyalty.web.deps import NoIdempotencyKey, NotDeclaredJson, NotJson, ReadOnly, SignsNoVouchers
from nftloyalty.web.examples import (
    BATCH_ID,
    ENDPOINT_ID,
    GOLD,
    GUEST,
    IDEMPOTENCY_KEY,
    INTENT_ID,
    KEY_ID,
    MEMBER,
    NEW_KEY_ID,
    NEWCOMER,
    REQUEST_ID,
    SIGNER,
)
from nftloyalty.web.misfits import COPY_IT
from nftloyalty.web.patience import BODY_SECONDS


def sample(code: str, said: Sequence[LoyaltyError] = ()) -> dict[str, Any]:
    """The body of the answer. `said` are the words of errors that one route answers in its own way."""
    failures = {failure.code: failure for failure in (*_FAILURES, *said)}
    answer = errors.of(failures[code]) if code in failures else errors.problem(code, *_WORDS.get(code, ()))
    body: dict[str, Any] = json.loads(bytes(answer.body))
    return body | {"request_id": REQUEST_ID}


def nothing(what: str) -> Unknown:
    """What is said of an id of which there is none."""
    return Unknown(f"there is no {what} of this id")


def too_long(name: str, most: int) -> BadInput:
    """What is said of a name or id that none can be."""
    return _wrong(f"/{name}", f"has more than {most} characters", "make it shorter")


def _wrong(place: str, what: str, mend: str) -> BadInput:
    return BadInput("request", [Problem(place, what, mend)])


# What is wrong with the requests of single routes.
BOTH_OR_NEITHER = _wrong("items.0", "needs one of until and days", "give exactly one of them")
NOTHING_TO_REPLAY = _wrong("", "says nothing of what to send", "name an event, the first of several, or a time")
NO_BATCH = Unknown(f"there is no batch {BATCH_ID!r}")
NO_ENDPOINT = Unknown(f"there is no webhook endpoint {ENDPOINT_ID!r}")
NO_KEY = Unknown(f"there is no API key {KEY_ID!r}", mend="`nftloyalty api-keys list` shows the ids")
SPOILT_VOUCHER = _wrong("voucher.tier", "is missing", AS_MADE)
WRONG_ADDRESS = _wrong("address", "not an address", COPY_IT)
WRONG_CURSOR = _wrong("cursor", "is none of ours", "give the cursor of an answer as it is")
WRONG_OVERLAP = _wrong("/overlap_hours", "is not what belongs here", "see /openapi.json")
WRONG_SCOPE = _wrong("scopes", "are missing", f"name at least one of {', '.join(access.Scope)}")
WRONG_SECOND_ITEM = _wrong("/items/1/wallet", "not an address", COPY_IT)
WRONG_SECOND_WALLET = _wrong("/wallets/1", "not an address", COPY_IT)
WRONG_URL = _wrong("url", "is not an https:// address", "give an https:// address that anyone can reach")


def _skipped(code: SkipCode, stamp_type: int | None = None) -> Reverted:
    values = {"to": MEMBER, "code": code.value} | ({} if stamp_type is None else {"stampType": stamp_type})
    return _reverted("Refused", values)


def _reverted(name: str, values: Mapping[str, Any]) -> Reverted:
    """As the contract's own error is read."""
    found = explain(name, values)
    if found is None:
        return Reverted(name, dict(values))
    return Reverted(name, dict(values), sentence=found.sentence, mend=found.mend, code=found.code)


_OPENS = int(datetime(2030, 6, 1, tzinfo=UTC).timestamp())

_FAILURES: Sequence[LoyaltyError] = (
    # Who asks.
    KeyMissing(),
    KeyUnknown(),
    KeyEnded(KEY_ID, datetime(2030, 2, 28, 18, 30, tzinfo=UTC), revoked=True),
    KeyEnded(KEY_ID, datetime(2030, 2, 28, tzinfo=UTC), revoked=False),
    WrongProgram(KEY_ID),
    NotAllowed(KEY_ID, access.Scope.MINTS_WRITE),
    WrongOrigin("pk5t2nzxr5x3sphf", "https://blog.example", publishable=True),
    WrongOrigin(KEY_ID, "https://shop.example", publishable=False),
    CantRotate(
        f"the API key {KEY_ID} was rotated already: {NEW_KEY_ID} takes its place",
        mend=f"if its text was lost, rotate {NEW_KEY_ID} and revoke it",
    ),
    # What it asks for.
    NotDeclaredJson("text/plain"),
    NotJson(52),
    _wrong("/wallet", "not an address", COPY_IT),
    Unknown("program morning-bean has no tier 'goald'", mend="its tiers are member, gold"),
    ReadOnly(),
    SignsNoVouchers(),
    NoIdempotencyKey(),
    AskedOtherwise(GUEST, INTENT_ID, "as Gold through 2049-12-31 (UTC)"),
    KeyReused(IDEMPOTENCY_KEY),
    InFlight(IDEMPOTENCY_KEY),
    IntakeFull("too many requests wait already"),
    # What the contract refuses.
    _skipped(SkipCode.ALREADY_HELD),
    _skipped(SkipCode.EVER_CLAIMED, 1),
    _skipped(SkipCode.LEFT),
    _skipped(SkipCode.REVOKED),
    _skipped(SkipCode.MOVED),
    _skipped(SkipCode.NOT_ACTIVE, 1),
    _skipped(SkipCode.BELOW_TIER, 1),
    VoucherExpired("through 2030-02-28 (UTC)"),
    _reverted("PastExpiry", {"to": NEWCOMER}),
    _reverted("VoucherUsed", {}),
    _reverted("WrongEpoch", {"given": 0, "current": 1}),
    _reverted("NotSigner", {"signer": SIGNER}),
    _reverted("LoyaltyMembership_BadTier", {"tier": 3, "highest": 2}),
    _reverted("UnknownType", {"stampType": 9}),
    _reverted("NotOpen", {"stampType": 1, "opens": _OPENS, "closes": 0}),
    _reverted("LoyaltyStamps_CapReached", {"stampType": 1, "cap": 5000}),
    _reverted("QuotaExceeded", {"kind": 1, "limit": 2000}),
    _reverted("Paused", {}),
    _reverted("Panic", {"code": 17}),
    # Acts on members.
    ActRefused(
        "under_way",
        GOLD,
        f"this is under way already: make {GOLD} Gold",
        mend="wait until it has ended, or withdraw it with `nftloyalty waiting cancel`",
    ),
    ActRefused("not_held", NEWCOMER, f"{NEWCOMER} holds no card"),
    ActRefused("done", GOLD, f"{GOLD} is Gold already"),
    ActRefused("not_renewable", MEMBER, f"the card of {MEMBER} is for life"),
    ActRefused("expiry_not_later", GOLD, f"the card of {GOLD} is valid through 2049-12-31 (UTC), which is not earlier"),
    SignedElsewhere(
        f"this is for {SIGNER} to sign, whose key is not here, and no worker sends for it; nothing was accepted",
        mend="run the command on a machine of the program: it prints the transaction to sign there",
    ),
)

_WORDS: Mapping[str, tuple[str, str]] = {
    **{code: ("", mend) for code, mend in MENDS.items()},
    "too_many_requests": ("", "wait 2 seconds, then ask slower"),
    "body_too_deep": ("at most 16 levels", ""),
    "body_too_large": ("at most 65536 bytes", ""),
    "body_too_slow": (f"it must be here within {BODY_SECONDS:g} seconds", ""),
}
"""Detail and mend of what is answered before the routes. What is not here says no more than its code and title."""
