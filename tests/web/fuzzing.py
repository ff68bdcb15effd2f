"""Loaded by schemathesis into its own process: keeps it from trying nothing of what it is to try.

It asks for what it was told of. `GET /v1/keys` tells it of the key it comes with, and once it has revoked that one, or
rotated it without an overlap, every further request is stopped at the door. And it leaves alone the values it does not
try just now: one body after the other with the Idempotency-Key of the document's example, of which only the first is
looked at.
"""

import os
from itertools import count
from typing import Any

import schemathesis

from nftloyalty.web.examples import IDEMPOTENCY_KEY

OWN_KEY = "NFTLOYALTY_FUZZER_KEY"
"""Names the environment variable with the id of the key that it comes with."""

SPARE_KEY = "NFTLOYALTY_FUZZER_SPARE_KEY"
"""The same of the one that it ends in its place."""

_numbers = count(1)


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    if case.path_parameters.get("key_id") == os.environ[OWN_KEY]:
        case.path_parameters["key_id"] = os.environ[SPARE_KEY]
    if case.headers.get("Idempotency-Key") == IDEMPOTENCY_KEY:
        case.headers["Idempotency-Key"] = f"{IDEMPOTENCY_KEY}-{next(_numbers)}"
