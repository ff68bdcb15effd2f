"""Messages signed as Standard Webhooks 1.0.0 has it (symmetric, `v1`), so that its libraries can verify them."""

import base64
import hashlib
import hmac
from collections.abc import Mapping, Sequence
from datetime import datetime

PREFIX = "whsec_"
LEAST_BYTES, MOST_BYTES = 24, 64
"""Of a secret, before it is written as base64."""


def secret_text(secret: bytes) -> str:
    """A secret as whoever runs the receiver is given it. Raises ValueError for one of a length that may not be."""
    return PREFIX + base64.b64encode(_checked(secret)).decode("ascii")


def sign(secrets: Sequence[bytes], message_id: str, at: datetime, body: bytes) -> Mapping[str, str]:
    """The three headers of a message that is sent at this moment, with a signature for each secret.

    The signed text is `id.timestamp.body`; so the id holds no dot. Raises ValueError where it does, or without secrets.
    """
    if "." in message_id or not secrets:
        raise ValueError("a message needs an id without dots, and a secret")
    timestamp = str(int(at.timestamp()))
    text = f"{message_id}.{timestamp}.".encode() + body
    digests = (hmac.digest(_checked(secret), text, hashlib.sha256) for secret in secrets)
    return {
        "webhook-id": message_id,
        "webhook-timestamp": timestamp,
        "webhook-signature": " ".join(f"v1,{base64.b64encode(digest).decode('ascii')}" for digest in digests),
    }


def _checked(secret: bytes) -> bytes:
    if not LEAST_BYTES <= len(secret) <= MOST_BYTES:
        raise ValueError(f"a secret has {LEAST_BYTES} to {MOST_BYTES} bytes")
    return secret
