"""The house keeps its own rules: who may import whom, no cycles, and no addresses of package servers in lock files."""

import ast
import json
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGE = "nftloyalty"


@dataclass(frozen=True)
class Ring:
    """What the modules of one ring may import besides the standard library and their own siblings."""

    ours: tuple[str, ...] = ()
    theirs: tuple[str, ...] = ()


WEB3_FAMILY = (
    "web3",
    "eth_account",
    "eth_abi",
    "eth_hash",
    "eth_keys",
    "eth_typing",
    "eth_utils",
    "hexbytes",
    "rlp",
    "coincurve",
    "requests",
    "urllib3",
)

# docs/architecture.md says why. A name is a ring or one module of a ring; imports point inward only.
LAW: Mapping[str, Ring] = {
    "errors": Ring(),
    "logs": Ring(ours=("errors",)),
    "config": Ring(ours=("logs", "errors")),
    "domain": Ring(ours=("errors",), theirs=("eth_hash", "eth_utils")),
    "store": Ring(ours=("domain", "errors"), theirs=("sqlalchemy", "alembic", "psycopg")),
    "chain": Ring(ours=("domain", "errors"), theirs=(*WEB3_FAMILY, "solcx", "orjson")),
    "vault": Ring(
        ours=("domain", "errors"),
        theirs=("eth_keyfile", "eth_account", "eth_keys", "cryptography", "jwt", "boto3", "botocore"),
    ),
    "connect": Ring(ours=("domain", "errors"), theirs=("urllib3",)),
    "app": Ring(
        ours=("config", "logs", "errors", "domain", "store", "chain", "vault", "connect"),
        theirs=("sqlalchemy", "eth_utils"),
    ),
    "web": Ring(
        ours=("config", "logs", "errors", "domain", "store.reports", "app"),
        theirs=(
            "fastapi",
            "starlette",
            "pydantic",
            "orjson",
            "uvicorn",
            "jinja2",
            "babel",
            "segno",
            "limits",
            "prometheus_client",
        ),
    ),
    "devchain": Ring(
        ours=("errors",),
        theirs=(*WEB3_FAMILY, "eth_tester", "eth", "fastapi", "starlette", "pydantic", "uvicorn"),
    ),
    # What a storefront installs: it knows the API, and nothing of what is behind it.
    "client": Ring(theirs=("urllib3",)),
    # The outermost ring: `serve`, `chain` and `demo` start the servers, so it may name them.
    "cli": Ring(
        ours=("config", "logs", "errors", "domain", "store.reports", "app", "web", "devchain"),
        theirs=("typer", "click", "rich", "babel", "segno", "uvicorn"),
    ),
}


@dataclass(frozen=True)
class Import:
    """One import: the module it stands in, its line, and the module it names, all dotted."""

    importer: str
    line: int
    imported: str


def modules(package: Path) -> dict[str, str]:
    """Dotted name -> source of every module of the package."""
    found = {}
    for path in sorted(package.rglob("*.py")):
        parts = path.relative_to(package.parent).with_suffix("").parts
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path.read_text(encoding="utf-8")
    return found


def imports(sources: Mapping[str, str]) -> Iterator[Import]:
    """Every import, also inside functions and under TYPE_CHECKING: the law is about knowing, not about running."""
    packages = {name.rpartition(".")[0] for name in sources} | {PACKAGE}
    for name, source in sources.items():
        for node in ast.walk(ast.parse(source)):
            if isinstance(node, ast.Import):
                for alias in node.names:
                    yield Import(name, node.lineno, alias.name)
            elif isinstance(node, ast.ImportFrom):
                base = node.module or ""
                if node.level:
                    here = name.split(".") if name in packages else name.split(".")[:-1]
                    base = ".".join([*here[: len(here) - node.level + 1], *([base] if base else [])])
                for alias in node.names:
                    # `from package import thing` names a module where there is one of that name.
                    whole = f"{base}.{alias.name}"
                    yield Import(name, node.lineno, whole if whole in sources or whole in packages else base)


def breaches(sources: Mapping[str, str]) -> list[str]:
    """Every import that LAW does not allow, as `module:line imports name`."""
    found = []
    for each in imports(sources):
        ring = _ring(each.importer)
        top = each.imported.partition(".")[0]
        if ring not in LAW and each.importer != PACKAGE:
            found.append(f"{each.importer}: {ring} is no ring of the house")
        elif not _allowed(LAW.get(ring, Ring()), ring, each.imported, top):
            found.append(f"{each.importer}:{each.line} imports {each.imported}")
    return sorted(set(found))


def _allowed(law: Ring, ring: str, imported: str, top: str) -> bool:
    if top != PACKAGE:
        return top in sys.stdlib_module_names or top in law.theirs
    path = imported.partition(".")[2]
    if not path or path.split(".")[0] == ring:  # the package itself holds its version only
        return True
    return any(path == ours or path.startswith(f"{ours}.") for ours in law.ours)


def _ring(module: str) -> str:
    return module.split(".")[1] if "." in module else ""


def cycles(sources: Mapping[str, str]) -> list[str]:
    """Modules that can reach themselves by imports, each cycle once, as `a -> b -> a`."""
    # A package that gathers names from its own modules is no cycle: they do not ask it for anything.
    graph: dict[str, set[str]] = {name: set() for name in sources}
    for each in imports(sources):
        if each.imported in sources and each.imported != each.importer:
            graph[each.importer].add(each.imported)
    found: set[str] = set()
    done: set[str] = set()

    def visit(name: str, road: list[str]) -> None:
        if name in road:
            loop = road[road.index(name) :]
            first = loop.index(min(loop))
            found.add(" -> ".join([*loop[first:], *loop[:first], min(loop)]))
            return
        if name in done:
            return
        for imported in sorted(graph[name]):
            visit(imported, [*road, name])
        done.add(name)

    for name in sorted(graph):
        visit(name, [])
    return sorted(found)


# Modules that exist beside the one under test, so that `from ring import module` is understood as that module.
NEIGHBOURS = dict.fromkeys(
    (
        "nftloyalty.app.context",
        "nftloyalty.chain.client",
        "nftloyalty.config",
        "nftloyalty.domain.words",
        "nftloyalty.store.engine",
        "nftloyalty.store.intents",
        "nftloyalty.store.reports",
    ),
    "",
)


def test_imports_point_inward() -> None:
    assert breaches(modules(ROOT / PACKAGE)) == []


def test_modules_import_each_other_in_one_direction() -> None:
    assert cycles(modules(ROOT / PACKAGE)) == []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("errors", "import requests"),
        ("domain.gate", "import sqlalchemy"),
        ("domain.gate", "from nftloyalty.store import intents"),
        ("domain.gate", "from nftloyalty.config import Settings"),
        ("store.intents", "from nftloyalty.chain.client import Node"),
        ("store.intents", "from ..chain import client"),
        ("chain.client", "def late() -> None:\n    from nftloyalty.vault import keystore"),
        ("vault.keystore", "import nftloyalty.store.engine"),
        ("app.minting", "import typer"),
        ("web.ownership", "from nftloyalty.store import intents"),
        ("web.ownership", "from nftloyalty.chain.client import Node"),
        ("cli.main", "from nftloyalty import store"),
        ("devchain.server", "from nftloyalty.domain import words"),
        ("client.passes", "from nftloyalty.errors import LoyaltyError"),
        ("helpers.text", "import json"),
        ("stray", "import json"),
    ],
)
def test_a_breach_is_seen(module: str, line: str) -> None:
    assert breaches({**NEIGHBOURS, f"{PACKAGE}.{module}": line}) != []


@pytest.mark.parametrize(
    ("module", "line"),
    [
        ("domain.gate", "from . import words\nfrom .words import Flag\nfrom nftloyalty.errors import Unknown"),
        ("store.intents", "import datetime\nfrom sqlalchemy import Connection\nfrom nftloyalty.domain import words"),
        ("web.ownership", "from nftloyalty.store import reports\nfrom nftloyalty.app import context"),
        (
            "cli.main",
            "from nftloyalty import __version__, config\nfrom nftloyalty.store.reports import by_state",
        ),
    ],
)
def test_what_is_allowed_is_no_breach(module: str, line: str) -> None:
    assert breaches({**NEIGHBOURS, f"{PACKAGE}.{module}": line}) == []


def test_a_cycle_is_seen() -> None:
    sources = {
        f"{PACKAGE}.domain.a": "from nftloyalty.domain import b",
        f"{PACKAGE}.domain.b": "from .c import thing",
        f"{PACKAGE}.domain.c": "def late() -> None:\n    import nftloyalty.domain.a",
        f"{PACKAGE}.domain.d": "from nftloyalty.domain import a",
    }
    assert cycles(sources) == [
        "nftloyalty.domain.a -> nftloyalty.domain.b -> nftloyalty.domain.c -> nftloyalty.domain.a"
    ]


def lock_files() -> list[Path]:
    """Every package-lock.json and constraints file of ours."""
    tops = [path for path in ROOT.iterdir() if path.is_dir() and not path.name.startswith(".")]
    found = [*ROOT.glob("constraints*.txt"), *(path for top in tops for path in top.rglob("package-lock.json"))]
    return sorted(path for path in found if "node_modules" not in path.parts)


def addresses(file: str, text: str) -> list[str]:
    """Places in a lock file that say where a package comes from, which is for the machine's own settings to say."""
    if file.endswith(".json"):
        packages: dict[str, dict[str, object]] = json.loads(text)["packages"]
        return [f"{name or 'root'}: {entry['resolved']}" for name, entry in packages.items() if "resolved" in entry]
    return [line for line in text.splitlines() if re.search(r"://|@|--hash|--(extra-)?index-url|--find-links", line)]


def test_lock_files_name_versions_and_no_servers() -> None:
    files = lock_files()
    assert {path.name for path in files} >= {"package-lock.json", "constraints.txt", "constraints-slither.txt"}
    assert {path: addresses(path.name, path.read_text(encoding="utf-8")) for path in files} == {
        path: [] for path in files
    }


def test_an_address_in_a_lock_file_is_seen() -> None:
    lock = json.dumps({"packages": {"": {}, "node_modules/solc": {"resolved": "https://packages.example/solc.tgz"}}})
    assert addresses("package-lock.json", lock) == ["node_modules/solc: https://packages.example/solc.tgz"]
    assert addresses("constraints.txt", "web3==8.0.0\nrich @ file:///tmp/rich.whl") == ["rich @ file:///tmp/rich.whl"]


def test_a_lock_file_names_the_tools_of_every_system() -> None:
    """npm drops what the machine that wrote the file can't use; npm ci then refuses the file on every machine."""
    packages = json.loads((ROOT / "contracts" / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    needed = {f"node_modules/{name}" for entry in packages.values() for name in entry.get("optionalDependencies", {})}
    assert {f"node_modules/@foundry-rs/forge-{machine}" for machine in ("linux-arm64", "darwin-arm64")} <= needed
    assert needed - set(packages) == set()


def test_every_version_in_a_constraints_file_is_exact() -> None:
    for path in ROOT.glob("constraints*.txt"):
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
        loose = [line for line in lines if re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+( ; .+)?", line) is None]
        assert lines, path
        assert loose == [], path


@pytest.mark.parametrize("script", sorted((ROOT / "scripts").glob("*.py")), ids=lambda path: path.name)
def test_a_script_is_a_screenful(script: Path) -> None:
    assert len(script.read_text(encoding="utf-8").splitlines()) <= 80
