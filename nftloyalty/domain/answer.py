"""Requests that may be repeated: the same Idempotency-Key with the same body gets the answer that was given before.

A key is known by program, route and its own text. After the draft "The Idempotency-Key HTTP Header Field" of the IETF's
httpapi group.
"""

import hashlib
import json
import re
from dataclasses import dataclass

from nftloyalty.errors import BadInput, Problem

LONGEST_KEY = 255
KEPT_DAYS = 30
"""How long answers are kept that need not stay for ever."""

_KEY = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class AnswerKey:
    """Under what an answer is kept. `route` is method and path, as `POST /v1/mints`; `fingerprint` stands for the body;
    `kept` = for ever."""

    route: str
    key: str
    fingerprint: bytes
    kept: bool


@dataclass(frozen=True, slots=True)
class Said:
    """What is answered to a request, as it is stored: a status and a body."""

    status: int
    body: str


@dataclass(frozen=True, slots=True)
class Answer:
    """`replayed` = this is what an earlier request of the same key was answered."""

    said: Said
    replayed: bool = False


def answer_key(route: str, key: str, body: object, *, kept: bool) -> AnswerKey:
    """The key of a request with this decoded JSON body. Raises BadInput for a key that can't be kept."""
    if len(key) > LONGEST_KEY or not _KEY.fullmatch(key):
        what = f"is not 1 to {LONGEST_KEY} visible ASCII characters"
        raise BadInput("request", [Problem("Idempotency-Key", what, "a random UUID for each new request")])
    return AnswerKey(route, key, fingerprint(body), kept)


def fingerprint(body: object) -> bytes:
    """SHA-256 of a decoded JSON body, whatever the order of its fields was and however it was written."""
    return hashlib.sha256(_written(body).encode()).digest()


_written = json.JSONEncoder(sort_keys=True, separators=(",", ":")).encode
