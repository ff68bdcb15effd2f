"""Loaded by schemathesis into its own process: keeps it from locking itself out.

It asks for what it was told of. `GET /v1/keys` tells it of the key it comes with, and once it has revoked that one, or
rotated it without an overlap, every further request is stopped at the door and tries nothing of what is behind.
"""

import os
from typing import Any

import schemathesis

OWN_KEY = "NFTLOYALTY_FUZZER_KEY"
"""Names the environment variable with the id of the key that it comes with."""

SPARE_KEY = "NFTLOYALTY_FUZZER_SPARE_KEY"
"""The same of the one that it ends in its place."""


@schemathesis.hook
def before_call(context: schemathesis.HookContext, case: schemathesis.Case[Any], kwargs: dict[str, Any]) -> None:
    if case.path_parameters.get("key_id") == os.environ[OWN_KEY]:
        case.path_parameters["key_id"] = os.environ[SPARE_KEY]
