"""Messages are believed if they are signed as Standard Webhooks says, and not else."""

import base64
import json
from datetime import UTC, datetime

import pytest
from standardwebhooks.webhooks import Webhook

from nftloyalty.client import NotTold, verify_webhook

# The vector of the specification's own tests.
SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
ID, SENT = "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330
BODY = b'{"test": 2432232314}'
SIGNATURE = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="
HEADERS = {"webhook-id": ID, "webhook-timestamp": str(SENT), "webhook-signature": SIGNATURE}
OTHER = "whsec_" + base64.b64encode(bytes(24)).decode()


def test_the_specifications_own_message_is_believed() -> None:
    assert dict(verify_webhook(SECRET, HEADERS, BODY, now=SENT)) == {"test": 2432232314}


def test_what_the_published_library_signs_is_believed() -> None:
    body = json.dumps({"type": "membership.created", "name": "Łódź"}).encode()
    moment = datetime.now(UTC)
    headers = {
        "Webhook-Id": "evt_1",
        "Webhook-Timestamp": str(int(moment.timestamp())),
        "Webhook-Signature": Webhook(SECRET).sign("evt_1", moment, body.decode()),
    }
    assert verify_webhook(SECRET, headers, body)["type"] == "membership.created"


def test_one_of_several_secrets_and_signatures_is_enough() -> None:
    both = HEADERS | {"webhook-signature": f"v1a,abc v1,AAAA {SIGNATURE}"}
    assert verify_webhook([OTHER, SECRET], both, BODY, now=SENT)


@pytest.mark.parametrize(
    ("headers", "body", "now"),
    [
        (HEADERS, BODY + b" ", SENT),
        (HEADERS | {"webhook-id": "msg_2"}, BODY, SENT),
        (HEADERS | {"webhook-timestamp": str(SENT + 1)}, BODY, SENT),
        (HEADERS | {"webhook-timestamp": "١٦١٤٢٦٥٣٣٠"}, BODY, SENT),
        (HEADERS | {"webhook-timestamp": "-1"}, BODY, SENT),
        (HEADERS | {"webhook-signature": SIGNATURE.removeprefix("v1,")}, BODY, SENT),
        (HEADERS | {"webhook-signature": SIGNATURE.replace("v1,", "v2,")}, BODY, SENT),
        (HEADERS | {"webhook-signature": ""}, BODY, SENT),
        (HEADERS | {"webhook-signature": "ü"}, BODY, SENT),
        (HEADERS, BODY, SENT + 301),
        (HEADERS, BODY, SENT - 301),
        ({"webhook-id": ID, "webhook-timestamp": str(SENT)}, BODY, SENT),
        ({}, BODY, SENT),
    ],
)
def test_everything_else_is_not(headers: dict[str, str], body: bytes, now: int) -> None:
    with pytest.raises(NotTold):
        verify_webhook(SECRET, headers, body, now=now)


def test_no_secret_and_another_secret_are_none() -> None:
    with pytest.raises(NotTold):
        verify_webhook(OTHER, HEADERS, BODY, now=SENT)
    with pytest.raises(NotTold):
        verify_webhook([], HEADERS, BODY, now=SENT)
    with pytest.raises(ValueError, match="whsec_"):
        verify_webhook("whsec_not base64", HEADERS, BODY, now=SENT)


@pytest.mark.parametrize("body", [b"[]", b"{", b""])
def test_what_is_signed_and_no_event_is_none(body: bytes) -> None:
    moment = datetime.fromtimestamp(SENT, UTC)
    signed = HEADERS | {"webhook-signature": Webhook(SECRET).sign(ID, moment, body.decode())}
    with pytest.raises(NotTold):
        verify_webhook(SECRET, signed, body, now=SENT)
