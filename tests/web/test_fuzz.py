"""The OpenAPI document is true: whatever follows from it is answered as it says, and nothing breaks the server."""

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from nftloyalty.app import access, vouching
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.working import Worker
from nftloyalty.web.deps import Service
from tests.app.build import app_of, open_world, settings_of
from tests.app.conftest import *  # noqa: F403 - the chain and the databases of the app's tests
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


@pytest.fixture(scope="module")
def url(chain: str, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """Of a server with all that belongs to it, and a key for everything."""
    settings = settings_of(tmp_path_factory.mktemp("fuzz"), chain, database, NFTLOYALTY_RATE_PER_ADDRESS="0")
    app = app_of(settings)
    world = open_world(app)
    here = world.here
    names, _ = sending_keys(app, world.program)
    worker = Worker(app, here, [signer_of(app, name) for name in names])
    with Intake(app, here) as intake:
        worker.start()
        try:
            desk = vouching.open_desk(app, here)
            with serving(Service(app, here, worker, intake=intake, desk=desk)) as client:
                wait_for(client, world)
                yield str(client.base_url).rstrip("/"), access.create(app, here, "Fuzzer", ["admin"]).text
        finally:
            worker.stop()
            app.close()


def test_what_follows_from_the_document_is_answered_as_it_says(url: tuple[str, str], tmp_path: Path) -> None:
    base, key = url
    run = subprocess.run(
        [
            Path(sys.executable).parent / "schemathesis",
            *("run", f"{base}/openapi.json", "--header", f"Authorization: Bearer {key}"),
            *("--checks", ",".join(CHECKS), "--phases", "examples,coverage,fuzzing"),
            *("--max-examples", str(EXAMPLES), "--seed", "1", "--suppress-health-check", "all", "--no-color"),
            *("--request-timeout", "30"),
        ],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-20_000:] + run.stderr[-2_000:]
