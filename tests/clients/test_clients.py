"""Clients that others' tools make of the OpenAPI document: they compile under the strictest rules and work."""

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from nftloyalty.app import access
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.working import Worker
from nftloyalty.devchain import DevChainServer
from nftloyalty.web.deps import Service
from tests.app.build import app_of, new_wallet, open_world, settings_of
from tests.conftest import ROOT, tool
from tests.web.conftest import serving, wait_for

HERE = Path(__file__).parent
GUIDE = (ROOT / "docs" / "api.md").read_text(encoding="utf-8").partition("## From other languages")[2]
BIN = ROOT / ".venv-clients" / "bin"
MODULES = HERE / "node_modules"
LONGEST_SECONDS = 120


def run(*words: str | Path, folder: Path) -> str:
    """What it prints. A program that is missing fails the test, as one that fails does."""
    if not Path(words[0]).is_file():
        pytest.fail(f"{words[0]} is not installed; `make test` installs it", pytrace=False)
    # npm's programs look for node on the path.
    path = os.pathsep.join([str(tool("node").parent), os.environ.get("PATH", "")])
    answer = subprocess.run(
        words,
        cwd=folder,
        env={**os.environ, "PATH": path},
        capture_output=True,
        text=True,
        timeout=LONGEST_SECONDS,
        check=False,
    )
    assert answer.returncode == 0, f"{words}\n{answer.stdout[-8_000:]}{answer.stderr[-8_000:]}"
    return answer.stdout


def shown(options: str) -> list[str]:
    """Options of a command, which are those that the guide tells."""
    assert f"{options}\n" in GUIDE
    return options.split()


def shown_code(language: str) -> str:
    """The guide's only example in it."""
    (code,) = re.findall(rf"^```{language}\n(.*?)^```", GUIDE, re.MULTILINE | re.DOTALL)
    return str(code)


@dataclass(frozen=True)
class Shop:
    """A server with all that belongs to it, a key of its program, and its OpenAPI document as it gives it away."""

    url: str
    key: str
    document: str


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shop]:
    with DevChainServer() as chain:
        app = app_of(settings_of(tmp_path_factory.mktemp("clients"), chain.url))
        world = open_world(app)
        here = world.here
        names, _ = sending_keys(app, world.program)
        worker = Worker(app, here, [signer_of(app, name) for name in names])
        worker.start()
        try:
            with (
                Intake(app, here) as intake,
                serving(Service(app, here, worker, intake=intake)) as client,
            ):
                wait_for(client, world)
                url, document = str(client.base_url).rstrip("/"), client.get("/openapi.json").text
                yield Shop(url, access.create(app, here, "Shop", ["admin"]).text, document)
        finally:
            worker.stop()
            app.close()


@pytest.fixture
def folder(shop: Shop, tmp_path: Path) -> Path:
    """With the document in it."""
    (tmp_path / "openapi.json").write_text(shop.document, encoding="utf-8")
    return tmp_path


def first_day(shop: Shop, folder: Path, *program: str | Path) -> None:
    """Run a client through it. What it finds is the same, whatever the client is written in."""
    wallets = [new_wallet() for _ in range(3)]
    found = json.loads(run(*program, shop.url, shop.key, *wallets, folder=folder))
    listed = found.pop("listed")
    given = found.pop("given")
    assert len(listed) == len(set(listed)) >= 3 and given in listed
    assert found == {
        "health": "ok",
        "tiers": ["member", "gold"],
        "phase": "pending",
        "again": given,
        "replayed": "true",
        "batch": 2,
        "refused": ["bad_input", ["/wallet", "/tier"]],
        "stranger": ["key_unknown", []],
        "reasons": ["missing_stamp"],
    }


def test_the_document_is_openapi_3_1(folder: Path) -> None:
    document = folder / "openapi.json"
    assert "OK" in run(BIN / "openapi-spec-validator", "--schema", "3.1", document, folder=folder)
    document.write_text('{"openapi": "3.1.0", "paths": {}}', encoding="utf-8")
    with pytest.raises(AssertionError, match="On instance"):
        run(BIN / "openapi-spec-validator", "--schema", "3.1", document, folder=folder)


def test_a_python_client_is_typed_and_works(shop: Shop, folder: Path) -> None:
    (folder / "settings.yml").write_text("post_hooks: []\n")
    run(
        BIN / "openapi-python-client",
        *("generate", "--path", "openapi.json", "--config", "settings.yml", "--fail-on-warning"),
        *shown("--meta none --output-path nftloyalty_client"),
        folder=folder,
    )
    shutil.copy(HERE / "smoke.py", folder)
    (folder / "guide.py").write_text(shown_code("python"), encoding="utf-8")
    # Our own mypy, with the libraries of the other environment. What it learns of those is kept.
    run(
        Path(sys.executable),
        *("-m", "mypy", "--strict", "--python-executable", BIN / "python"),
        *("--cache-dir", ROOT / ".mypy_cache" / "clients", "nftloyalty_client", "smoke.py", "guide.py"),
        folder=folder,
    )
    first_day(shop, folder, BIN / "python", "smoke.py")


def test_a_typescript_client_is_typed_and_works(shop: Shop, folder: Path) -> None:
    (folder / "node_modules").symlink_to(MODULES)
    (folder / "package.json").write_text('{"type": "module"}')
    for name in ("smoke.ts", "tsconfig.json"):
        shutil.copy(HERE / name, folder)
    (folder / "guide.ts").write_text(shown_code("ts"), encoding="utf-8")
    run(
        MODULES / ".bin" / "openapi-typescript",
        # Without the last one it takes for required whatever has a default.
        *("openapi.json", *shown("--output loyalty.ts --default-non-nullable=false")),
        folder=folder,
    )
    run(MODULES / ".bin" / "tsc", "--project", ".", folder=folder)
    first_day(shop, folder, tool("node"), "built/smoke.js")
