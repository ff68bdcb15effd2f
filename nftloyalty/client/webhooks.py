"""Webhooks as they come in: by Standard Webhooks 1.0.0 (https://www.standardwebhooks.com)."""

import base64
import binascii
import hmac
import json
import time
from collections.abc import Iterable, Mapping
from typing import cast

from nftloyalty.client.errors import NotTold
from nftloyalty.client.shapes import Event

TOLERANCE_SECONDS = 300
_SECRET = "whsec_"  # noqa: S105 - how every secret begins
_VERSION = "v1,"


def verify_webhook(
    secret: str | Iterable[str],
    headers: Mapping[str, str],
    body: bytes,
    *,
    now: float | None = None,
    tolerance_seconds: float = TOLERANCE_SECONDS,
) -> Event:
    """The event in a message, if it is signed with the secret, or one of several. Raises NotTold.

    `body` are the bytes as they came, before anything parsed them; `headers` in any case. `now` is unix time. The same
    event may come more than once: know it by its `id`.
    """
    found = {name.lower(): value for name, value in headers.items()}
    try:
        message_id, sent, signatures = (found[f"webhook-{name}"] for name in ("id", "timestamp", "signature"))
    except KeyError as missing:
        raise NotTold(f"the header {missing.args[0]} is missing") from None
    if not (sent.isascii() and sent.isdigit()) or abs((time.time() if now is None else now) - int(sent)) > (
        tolerance_seconds
    ):
        raise NotTold("the message is too old, or its clock is another one")
    text = f"{message_id}.{sent}.".encode() + body
    wanted = [
        _VERSION.encode() + base64.b64encode(hmac.digest(_key(each), text, "sha256"))
        for each in ([secret] if isinstance(secret, str) else secret)
    ]
    given = [each.encode() for each in signatures.split(" ")]
    # In a time that tells nothing of where they differ.
    if not any(hmac.compare_digest(one, other) for one in wanted for other in given):
        raise NotTold("the signature is another one")
    try:
        event = json.loads(body)
    except ValueError:
        raise NotTold("the body is no JSON") from None
    if not isinstance(event, dict):
        raise NotTold("the body is no event")
    return cast(Event, event)


def _key(secret: str) -> bytes:
    try:
        return base64.b64decode(secret.removeprefix(_SECRET), validate=True)
    except binascii.Error:
        raise ValueError("the secret is none: it begins with whsec_ and goes on in base64") from None
