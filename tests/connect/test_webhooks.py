"""Signatures are those of Standard Webhooks: its own vector, its published library, and one for each secret."""

import base64
import json
import re
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from standardwebhooks import Webhook, WebhookVerificationError

from nftloyalty.connect.webhooks import secret_text, sign
from tests.conftest import ROOT

VECTOR_SECRET = base64.b64decode("MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
VECTOR_BODY = b'{"test": 2432232314}'
VECTOR_ID = "msg_p5jXN8AQM9LWM0D4loKWxJek"
SECRETS = st.binary(min_size=24, max_size=64)


def test_the_published_vector() -> None:
    headers = sign([VECTOR_SECRET], VECTOR_ID, datetime.fromtimestamp(1614265330, UTC), VECTOR_BODY)
    assert headers == {
        "webhook-id": VECTOR_ID,
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }


@given(SECRETS, SECRETS, st.text(max_size=50))
def test_the_published_library_takes_what_either_secret_signs(new: bytes, former: bytes, word: str) -> None:
    body = json.dumps({"word": word}).encode()
    headers = dict(sign([new, former], "evt_1", datetime.now(UTC), body))
    assert len(headers["webhook-signature"].split(" ")) == 2
    for secret in (new, former):
        assert Webhook(secret_text(secret)).verify(body, headers) == {"word": word}


def test_the_published_library_refuses_what_was_changed() -> None:
    secret = bytes(range(32))
    headers = dict(sign([secret], "evt_1", datetime.now(UTC), b"{}"))
    for body, changed in ((b"[]", {}), (b"{}", {"webhook-id": "evt_2"}), (b"{}", {"webhook-timestamp": "1614265330"})):
        with pytest.raises(WebhookVerificationError):
            Webhook(secret_text(secret)).verify(body, headers | changed)


def test_the_documented_check_by_hand_works() -> None:
    page = (ROOT / "docs" / "webhooks.md").read_text(encoding="utf-8")
    (code,) = (block for block in re.findall(r"```python\n(.*?)```", page, re.DOTALL) if "def verified" in block)
    names: dict[str, Any] = {}
    exec(code, names)  # noqa: S102
    former, new = bytes(range(32)), bytes(range(1, 33))
    headers = dict(sign([new, former], "evt_1", datetime.now(UTC), b"{}"))
    for secret in (new, former):
        assert names["verified"](secret_text(secret), headers, b"{}")
        assert not names["verified"](secret_text(secret), headers, b"[]")
        assert not names["verified"](secret_text(secret), headers | {"webhook-timestamp": "1614265330"}, b"{}")
    assert not names["verified"](secret_text(bytes(32)), headers, b"{}")
    titled = {name.title(): value for name, value in headers.items()}
    assert names["verified"](secret_text(new), titled, b"{}")
    for name in headers:
        for worse in (None, "", "x", "\u00e4", "v1,\u00e4"):
            spoilt = {**headers, name: worse} if worse is not None else {k: v for k, v in headers.items() if k != name}
            assert not names["verified"](secret_text(new), spoilt, b"{}")


def test_nothing_goes_out_unsigned() -> None:
    now = datetime.now(UTC)
    for secrets, message_id in (([], "evt_1"), ([bytes(32)], "evt.1"), ([bytes(23)], "evt_1"), ([bytes(65)], "evt_1")):
        with pytest.raises(ValueError, match=r"needs an id|has 24 to 64"):
            sign(secrets, message_id, now, b"")
