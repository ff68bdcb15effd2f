"""Gets the peers from npm and compiles them as our own contracts are compiled."""

import hashlib
import json
import posixpath
import re
import shutil
import subprocess
from collections import deque
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nftloyalty.chain.abi import Artifact
from nftloyalty.chain.compile import SETTINGS

HERE = Path(__file__).parent
NODE_MODULES = HERE / "node_modules"
COMPILER = HERE.parents[1] / "contracts" / "solc.cjs"

_INSTALLED = NODE_MODULES / ".installed"
_IMPORT = re.compile(r"""^[ \t]*import\b[^;"']*["']([^"']+)["']""", re.MULTILINE)


class BenchmarkProblem(Exception):
    """The benchmark can't be run here; the sentence says why and what to do."""


@dataclass(frozen=True)
class Build:
    """Contracts that are compiled together, by source unit, and the prefixes that their imports are read with.

    A source unit is named by its path in node_modules, or `peers/...` for a wrapper of ours.
    """

    contracts: Mapping[str, str]
    remappings: Mapping[str, str]


# thirdweb asks for another OpenZeppelin than the plain peers, so the two are compiled apart.
BUILDS = (
    Build(
        contracts={
            "OpenZeppelin721": "peers/OpenZeppelin721.sol",
            "Card721A": "peers/Card721A.sol",
            "Solady721": "peers/Solady721.sol",
            "OpenZeppelin1155": "peers/OpenZeppelin1155.sol",
            "Solady1155": "peers/Solady1155.sol",
            "ERC1967Proxy": "@openzeppelin/contracts/proxy/ERC1967/ERC1967Proxy.sol",
        },
        remappings={},
    ),
    Build(
        contracts={
            "LoyaltyCard": "@thirdweb-dev/contracts/prebuilts/loyalty/LoyaltyCard.sol",
            "TWFactory": "@thirdweb-dev/contracts/infra/TWFactory.sol",
            "TWRegistry": "@thirdweb-dev/contracts/infra/TWRegistry.sol",
        },
        remappings={
            "@openzeppelin/contracts/": "@thirdweb-dev/contracts/node_modules/@openzeppelin/contracts/",
        },
    ),
)

PUBLISHED = {
    "PublicLock": "@unlock-protocol/contracts/dist/abis/PublicLock/PublicLockV15.json",
    "Unlock": "@unlock-protocol/contracts/dist/abis/Unlock/UnlockV14.json",
}
"""Bytecode that its makers compiled."""


def tool(name: str) -> str:
    """The path of a program. Raises BenchmarkProblem."""
    found = shutil.which(name)
    if found is None:
        raise BenchmarkProblem(f"{name} was not found; `make bench-gas` installs what it needs and finds it")
    return found


def install() -> bool:
    """Bring node_modules to what package-lock.json says; returns whether there was anything to do."""
    wanted = hashlib.sha256((HERE / "package-lock.json").read_bytes()).hexdigest()
    if _INSTALLED.is_file() and _INSTALLED.read_text(encoding="utf-8") == wanted:
        return False
    command = [tool("npm"), "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    done = subprocess.run(command, cwd=HERE, capture_output=True, text=True)
    if done.returncode:
        raise BenchmarkProblem(f"npm could not install the peers:\n{done.stderr.strip() or done.stdout.strip()}")
    _INSTALLED.write_text(wanted, encoding="utf-8")
    return True


def versions() -> dict[str, str]:
    """Package -> version of every peer, and under `thirdweb's OpenZeppelin` the one it was compiled with."""
    package = json.loads((HERE / "package.json").read_text(encoding="utf-8"))
    found: dict[str, str] = dict(package["dependencies"])
    thirdweb = package["overrides"]["@thirdweb-dev/contracts"]
    return found | {f"{name} (for @thirdweb-dev/contracts)": version for name, version in thirdweb.items()}


def compiler_version() -> str:
    """As the artifacts say it: `0.8.37+commit.1234abcd`."""
    said = subprocess.run([tool("node"), COMPILER, "--version"], capture_output=True, text=True)
    found = re.search(r"Version: (\d+\.\d+\.\d+\+commit\.[0-9a-f]+)", said.stdout)
    if found is None:
        raise BenchmarkProblem(f"the compiler does not run: {said.stderr.strip()[:500]}")
    return found[1]


def peers() -> dict[str, Artifact]:
    """Every contract of the peers by name, compiled now or as published. Takes some ten seconds."""
    found = {name: _published(name, path) for name, path in PUBLISHED.items()}
    with ThreadPoolExecutor(len(BUILDS)) as pool:
        for compiled in pool.map(_compiled, BUILDS):
            found |= compiled
    return found


def _published(name: str, path: str) -> Artifact:
    raw = json.loads((NODE_MODULES / path).read_text(encoding="utf-8"))
    return _artifact(name, raw["abi"], raw["bytecode"], raw["deployedBytecode"])


def _compiled(build: Build) -> dict[str, Artifact]:
    given = {
        "language": "Solidity",
        "settings": {
            **SETTINGS,
            "remappings": [f"{prefix}={target}" for prefix, target in build.remappings.items()],
            "outputSelection": {
                unit: {name: ["abi", "evm.bytecode.object", "evm.deployedBytecode.object"]}
                for name, unit in build.contracts.items()
            },
        },
        "sources": {name: {"content": text} for name, text in sources_of(build).items()},
    }
    run = subprocess.run([tool("node"), COMPILER], input=json.dumps(given), capture_output=True, text=True)
    if run.returncode:
        raise BenchmarkProblem(f"the compiler broke down: {run.stderr.strip()[:500]}")
    answer = json.loads(run.stdout)
    errors = [entry["formattedMessage"] for entry in answer.get("errors", []) if entry["severity"] == "error"]
    if errors:
        raise BenchmarkProblem("the peers do not compile:\n" + "\n".join(errors[:3]))
    found = {}
    for name, unit in build.contracts.items():
        made = answer["contracts"][unit][name]
        code, deployed = made["evm"]["bytecode"]["object"], made["evm"]["deployedBytecode"]["object"]
        found[name] = _artifact(name, made["abi"], code, deployed)
    return found


def _artifact(name: str, abi: list[dict[str, Any]], code: str, deployed: str) -> Artifact:
    return Artifact(
        name=name,
        abi=tuple(abi),
        code=bytes.fromhex(code.removeprefix("0x")),
        deployed_code=bytes.fromhex(deployed.removeprefix("0x")),
        immutables=(),
    )


def sources_of(build: Build) -> dict[str, str]:
    """The contracts and all they import. Raises BenchmarkProblem naming an import that is not there."""
    found: dict[str, str] = {}
    waiting = deque(build.contracts.values())
    while waiting:
        unit = waiting.popleft()
        if unit in found:
            continue
        path = HERE / "contracts" / unit.removeprefix("peers/") if unit.startswith("peers/") else NODE_MODULES / unit
        if not path.is_file():
            raise BenchmarkProblem(f"{unit} is not installed")
        found[unit] = path.read_text(encoding="utf-8")
        waiting += [unit_of(unit, imported, build.remappings) for imported in _IMPORT.findall(found[unit])]
    return found


def unit_of(importer: str, imported: str, remappings: Mapping[str, str]) -> str:
    """The source unit that an import names, by the compiler's rules."""
    if imported.startswith("."):
        return posixpath.normpath(posixpath.join(posixpath.dirname(importer), imported))
    for prefix, target in remappings.items():
        if imported.startswith(prefix):
            return target + imported.removeprefix(prefix)
    return imported
