"""The OpenAPI document is true: whatever follows from it is answered as it says, and nothing breaks the server."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from nftloyalty.app import access, vouching
from nftloyalty.app.access import MadeKey
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.working import Worker
from nftloyalty.domain.program_file import template
from nftloyalty.web import examples
from nftloyalty.web.deps import Service
from tests.app.build import app_of, open_world, settings_of
from tests.app.conftest import *  # noqa: F403 - the chain and the databases of the app's tests
from tests.conftest import ROOT
from tests.web import fuzzing
from tests.web.conftest import serving, wait_for

EXAMPLES = 4
"""Of each route and kind, beside those of the document and those at the edges of its types."""

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_headers_conformance",
    "response_schema_conformance",
    "unsupported_method",
    "ignored_auth",
)
LONGEST_SECONDS = 300
AT_THE_DOOR = {401, 403, 429}


@dataclass(frozen=True)
class Open:
    """A server with all that belongs to it, a key for everything, and another one that may end."""

    client: httpx2.Client
    key: MadeKey
    spare: MadeKey


@pytest.fixture(scope="module")
def served(chain: str, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Open]:
    # As often as it likes: a fuzzer that must wait tries nothing.
    rates = {"NFTLOYALTY_RATE_PER_ADDRESS": "0", "NFTLOYALTY_RATE_PER_KEY": "0"}
    app = app_of(settings_of(tmp_path_factory.mktemp("fuzz"), chain, database, **rates))
    world = open_world(app, template("Morning Bean"))
    # The members of the document's own examples, so that these are about somebody.
    world.mint(f"{examples.GOLD},gold,2049-12-31", f"{examples.MEMBER},member,never")
    world.stamp("welcome", examples.GOLD)
    here = world.here
    names, _ = sending_keys(app, world.program)
    worker = Worker(app, here, [signer_of(app, name) for name in names])
    with Intake(app, here) as intake:
        worker.start()
        try:
            desk = vouching.open_desk(app, here)
            with serving(Service(app, here, worker, intake=intake, desk=desk)) as client:
                wait_for(client, world)
                yield Open(client, *(access.create(app, here, name, ["admin"]) for name in ("Fuzzer", "Spare")))
        finally:
            worker.stop()
            app.close()


def test_what_follows_from_the_document_is_answered_as_it_says(served: Open, tmp_path: Path) -> None:
    base, authorization = str(served.client.base_url).rstrip("/"), f"Bearer {served.key.text}"
    report = tmp_path / "asked.json"
    run = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis",
            *("run", f"{base}/openapi.json", "--header", f"Authorization: {authorization}"),
            *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--suppress-health-check", "all", "--no-color"),
            *("--request-timeout", "30", "--report-har-path", report),
        ],
        cwd=tmp_path,
        env={
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "SCHEMATHESIS_HOOKS": fuzzing.__name__,
            fuzzing.OWN_KEY: served.key.row.public_id,
            fuzzing.SPARE_KEY: served.spare.row.public_id,
        },
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]

    let_in = served.client.get("/v1/keys", headers={"Authorization": authorization})
    assert let_in.status_code == 200, "it has locked itself out"
    asked = json.loads(report.read_text(encoding="utf-8"))["log"]["entries"]
    statuses = statuses_of(served.client.get("/openapi.json").json(), asked)
    assert [name for name, found in statuses.items() if found <= AT_THE_DOOR] == [], "nobody got past the door"
    # Vouchers are signed, which it can't; few others may have had bad luck with what it knew of.
    in_vain = [name for name, found in statuses.items() if min(found) >= 300]
    assert len(in_vain) < len(statuses) / 4, in_vain


def statuses_of(document: Any, asked: list[Any]) -> dict[str, set[int]]:
    """What was answered, by the document's operations."""
    patterns = {path: re.compile(re.sub(r"\\{[a-z_]+\\}", "[^/]+", re.escape(path))) for path in document["paths"]}
    found: dict[str, set[int]] = {
        f"{method.upper()} {path}": set() for path, methods in document["paths"].items() for method in methods
    }
    for entry in asked:
        asked_for = urlsplit(entry["request"]["url"]).path
        for path, pattern in patterns.items():
            operation = f"{entry['request']['method']} {path}"
            if operation in found and pattern.fullmatch(asked_for):
                found[operation].add(entry["response"]["status"])
    return found
