"""Solidity sources to committed artifacts, by py-solc-x from one self-contained standard JSON.

Every source is inlined under a stable name (`src/...`, `solady/...`) and the settings leave no trace of names, comments
or the machine in the code, so the same sources give the same bytes wherever and with whichever build of the compiler
they are compiled. The same JSON is what block explorers ask for to verify a contract's source.
"""

import json
import os
import posixpath
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import solcx
from solcx.exceptions import SolcError

from nftloyalty.errors import BadInput, Problem

ARTIFACTS = Path(__file__).parents[1] / "artifacts"
# What is put on chain by a transaction of its own. LoyaltyMembership's code carries LoyaltyOffice's and deploys it.
CONTRACTS = ("LoyaltyFactory", "LoyaltyMembership", "LoyaltyRenderer", "LoyaltyStamps")

# foundry.toml says the same to forge; a test compares the two. Without a metadata hash the code depends on code alone.
SETTINGS: Mapping[str, Any] = {
    "evmVersion": "prague",
    "metadata": {"appendCBOR": False, "bytecodeHash": "none"},
    "optimizer": {"enabled": True, "runs": 200},
    "viaIR": False,
}
# How a source unit's name begins -> where it lies, from the folder of package.json.
SOURCE_ROOTS: Mapping[str, str] = {"src/": "src", "solady/": "node_modules/solady/src"}
DOWNLOAD_TIMEOUT_SECONDS = 15.0
# Where programs and their files lie, language, and the way out to the network.
_PASSED_ON = {
    *(
        "PATH",
        "HOME",
        "USERPROFILE",
        "APPDATA",
        "LOCALAPPDATA",
        "SYSTEMROOT",
        "TMPDIR",
        "TEMP",
        "TMP",
        "LANG",
        "LC_ALL",
    ),
    *("HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "http_proxy", "https_proxy", "no_proxy"),
    *("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR", "SOLCX_BINARY_PATH"),
}

_OUTPUT = ("abi", "evm.bytecode.object", "evm.deployedBytecode.object", "evm.deployedBytecode.immutableReferences")
# Texts are matched first, so that what looks like a comment inside one stays.
_TEXT_OR_COMMENT = re.compile(r'"(?:\\.|[^"\\\n])*"|\'(?:\\.|[^\'\\\n])*\'|//[^\n]*|/\*.*?\*/', re.DOTALL)
_IMPORT = re.compile(r"""^[ \t]*import\b[^;"']*["']([^"']+)["']""", re.MULTILINE)


@dataclass(frozen=True)
class Artifact:
    """One compiled contract. Field names are the JSON's, which other tools read too.

    `bytecode` and `deployedBytecode` are 0x-hex; `immutableReferences` tells where in the latter the constructor puts
    values: {id: [{start, length}]} in bytes; `compiler` is {version, settings}.
    """

    contractName: str  # noqa: N815 - the usual spelling in artifacts
    compiler: dict[str, Any]
    abi: list[dict[str, Any]]
    bytecode: str
    deployedBytecode: str  # noqa: N815
    immutableReferences: dict[str, list[dict[str, int]]]  # noqa: N815

    def text(self) -> str:
        """The artifact's file, byte for byte."""
        return json.dumps(asdict(self), indent=2, sort_keys=True) + "\n"


def find_contracts() -> Path:
    """The contracts folder of this checkout. Raises BadInput for an installed package, which holds artifacts only."""
    folder = Path(__file__).parents[2] / "contracts"
    if not (folder / "package.json").is_file():
        raise BadInput(str(folder), [Problem("package.json", "not here", "compile in a checkout of the source")])
    return folder


def pinned_version(contracts: Path) -> str:
    """The one compiler version in use, for example `0.8.37`: npm's pin, so that it stands in one place."""
    version: str = json.loads((contracts / "package.json").read_text(encoding="utf-8"))["dependencies"]["solc"]
    return version


def standard_input(contracts: Path) -> dict[str, Any]:
    """The compiler's standard JSON input: our contracts, all they import, the settings.

    Raises BadInput naming file and line of every import that can't be found.
    """
    sources: dict[str, str] = {}
    problems: list[Problem] = []
    waiting = deque((f"src/{name}.sol", f"src/{name}.sol") for name in CONTRACTS)
    while waiting:
        name, place = waiting.popleft()
        if name in sources:
            continue
        path = _path(contracts, name)
        if path is None or not path.is_file():
            problems.append(Problem(place, f"{name} is not here", "run npm ci in that folder, or mend the import"))
            continue
        sources[name] = path.read_text(encoding="utf-8")
        waiting += [(imported, f"{name}:{line}") for imported, line in _imports(name, sources[name])]
    if problems:
        raise BadInput(str(contracts), problems)
    return {
        "language": "Solidity",
        "settings": {**SETTINGS, "outputSelection": {f"src/{name}.sol": {name: list(_OUTPUT)} for name in CONTRACTS}},
        "sources": {name: {"content": sources[name]} for name in sorted(sources)},
    }


def standard_json(contracts: Path) -> str:
    """`standard_input` as the file that explorers take ("Solidity (Standard-Json-Input)")."""
    return json.dumps(standard_input(contracts), indent=2, sort_keys=True) + "\n"


def compile_contracts(contracts: Path, solc: Path | None = None) -> dict[str, Artifact]:
    """Compile all of CONTRACTS with `solc`, or with what `find_solc` finds; by name, in order of name.

    Raises BadInput with file and line of every error, and of every warning about our own sources. Takes about a second
    with a native compiler, some ten with npm's. A JavaScript `solc` is run by Node.
    """
    given = standard_input(contracts)
    version = pinned_version(contracts)
    with _bare_environment(), _runnable(solc or find_solc(contracts)) as program:
        found = _version(program)
        if found is None or found.split("+")[0] != version:
            what = f"version {version} is needed, this is {found or 'no Solidity compiler'}"
            raise BadInput(str(solc or program), [Problem("solc", what, f"install solc {version}")])
        try:
            output = solcx.compile_standard(given, solc_binary=program)
        except SolcError as error:
            raise BadInput("contracts", _problems(given, error)) from error
        except ValueError as error:
            raise BadInput("contracts", [Problem("solc", f"its answer is not JSON: {error}")]) from error
    warnings = [entry for entry in output.get("errors", []) if _file(entry).startswith("src/")]
    if warnings:
        raise BadInput("contracts", [_problem(given, entry) for entry in warnings])
    compiler = {"version": found, "settings": dict(SETTINGS)}
    return {name: _artifact(name, output["contracts"][f"src/{name}.sol"][name], compiler) for name in CONTRACTS}


def differences(artifacts: Mapping[str, Artifact], folder: Path) -> list[str]:
    """What in `folder` is not as compiled, one line a file: `LoyaltyStamps.json: abi, bytecode`. Empty = all is."""
    found = []
    for name, artifact in artifacts.items():
        path = folder / f"{name}.json"
        if not path.is_file():
            found.append(f"{path.name}: missing")
        elif (text := path.read_text(encoding="utf-8")) != artifact.text():
            found.append(f"{path.name}: {_differing_keys(text, asdict(artifact))}")
    found += [f"{path.name}: not a contract of ours" for path in folder.glob("*.json") if path.stem not in artifacts]
    return sorted(found)


def write_artifacts(artifacts: Mapping[str, Artifact], folder: Path) -> list[Path]:
    """Make `folder` hold exactly these artifacts; returns the paths that changed. Unchanged files are not touched."""
    folder.mkdir(parents=True, exist_ok=True)
    changed = []
    for name, artifact in artifacts.items():
        path = folder / f"{name}.json"
        if not path.is_file() or path.read_text(encoding="utf-8") != artifact.text():
            path.write_text(artifact.text(), encoding="utf-8", newline="\n")
            changed.append(path)
    for path in folder.glob("*.json"):
        if path.stem not in artifacts:
            path.unlink()
            changed.append(path)
    return sorted(changed)


def find_solc(contracts: Path) -> Path:
    """The pinned compiler: native on PATH, else native by py-solc-x (installed before, or downloaded now), else npm's.

    A native build is some ten times faster and gives the same bytes; no answer to the download is no error. Raises
    BadInput when there is none at all.
    """
    version = pinned_version(contracts)
    with _bare_environment():
        for find in (_native_on_path, _native_of_solcx, _native_download):
            path = find(version)
            # A download that was cut short, or was made for another machine, gives no version.
            if path is not None and (_version(path) or "").split("+")[0] == version:
                return path
    shim = contracts / "solc.cjs"
    if shim.is_file() and (contracts / "node_modules" / "solc").is_dir():
        return shim
    mend = "run make compile, or npm ci in that folder"
    raise BadInput(str(contracts), [Problem("solc", f"no Solidity compiler {version} was found", mend)])


def _native_on_path(version: str) -> Path | None:
    found = shutil.which("solc")
    return Path(found) if found else None


def _native_of_solcx(version: str) -> Path | None:
    try:
        path = Path(solcx.get_solcx_install_folder()) / f"solc-v{version}"
    except OSError:  # it makes its folder, which a read-only home refuses
        return None
    return path if path.is_file() else None


def _native_download(version: str) -> Path | None:
    # In a process of its own: py-solc-x waits for an answer without limit.
    order = "import sys, solcx; solcx.install_solc(sys.argv[1])"
    try:
        subprocess.run(
            [sys.executable, "-c", order, version], capture_output=True, check=True, timeout=DOWNLOAD_TIMEOUT_SECONDS
        )
    except (subprocess.SubprocessError, OSError):
        return None
    return _native_of_solcx(version)


def _version(program: Path) -> str | None:
    """`0.8.37+commit.1234abcd`, the same for native and npm's builds; None if it is not a compiler that runs here."""
    try:
        return str(solcx.wrapper.get_version_str_from_solc_binary(program))
    except (SolcError, subprocess.SubprocessError, OSError):
        return None


@contextmanager
def _bare_environment() -> Iterator[None]:
    """What compiler, Node and downloader need of the environment, and nothing else: they are other people's programs,
    and an operator's password may stand there. For the process as a whole, as py-solc-x starts them itself."""
    kept = dict(os.environ)
    for name in kept.keys() - _PASSED_ON:
        del os.environ[name]
    try:
        yield
    finally:
        os.environ.update(kept)


@contextmanager
def _runnable(solc: Path) -> Iterator[Path]:
    """A path that the system can execute: `solc` itself, or for JavaScript a launcher that hands it to Node.

    The shim's own first line would do where Node is on PATH; in a virtual environment that brings Node along it lies
    beside Python, which is not on PATH unless the environment was activated.
    """
    if solc.suffix not in {".cjs", ".js"}:
        yield solc
        return
    node = shutil.which("node") or shutil.which("node", path=str(Path(sys.executable).parent))
    if node is None:
        mend = "install Node 18 or newer, or the package's extra `node`"
        raise BadInput(str(solc), [Problem("node", "Node is needed to run npm's compiler and was not found", mend)])
    with tempfile.TemporaryDirectory(prefix="nftloyalty-solc-") as folder:
        launcher = Path(folder) / "solc"
        launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(node)} {shlex.quote(str(solc.resolve()))} "$@"\n')
        launcher.chmod(0o700)
        yield launcher


def _path(contracts: Path, name: str) -> Path | None:
    for prefix, folder in SOURCE_ROOTS.items():
        if name.startswith(prefix):
            return contracts / folder / name.removeprefix(prefix)
    return None


def _imports(name: str, text: str) -> list[tuple[str, int]]:
    """Names of the source units that `text` imports, each with its line. A relative path starts at `name`'s folder."""
    code = _TEXT_OR_COMMENT.sub(lambda found: found[0] if found[0][0] in "\"'" else _blank(found[0]), text)
    found = []
    for match in _IMPORT.finditer(code):
        path = match[1]
        imported = posixpath.normpath(posixpath.join(posixpath.dirname(name), path)) if path.startswith(".") else path
        found.append((imported, code.count("\n", 0, match.start(1)) + 1))
    return found


def _blank(comment: str) -> str:
    return re.sub(r"[^\n]", " ", comment)


def _artifact(name: str, compiled: dict[str, Any], compiler: dict[str, Any]) -> Artifact:
    code = compiled["evm"]["bytecode"]["object"]
    deployed = compiled["evm"]["deployedBytecode"]
    if not code or re.fullmatch("[0-9a-f]*", code + deployed["object"]) is None:
        what = "it has no code of its own, or calls a library that must be deployed apart"
        raise BadInput(
            "contracts", [Problem(f"src/{name}.sol", what, "make it a contract with internal libraries only")]
        )
    return Artifact(
        contractName=name,
        compiler=compiler,
        abi=compiled["abi"],
        bytecode="0x" + code,
        deployedBytecode="0x" + deployed["object"],
        immutableReferences=deployed.get("immutableReferences", {}),
    )


def _file(entry: Mapping[str, Any]) -> str:
    return str((entry.get("sourceLocation") or {}).get("file", ""))


def _problem(given: Mapping[str, Any], entry: Mapping[str, Any]) -> Problem:
    file = _file(entry)
    what = f"{entry['type']}: {entry['message']}"
    if file not in given["sources"]:
        return Problem("solc", what)
    # The compiler counts bytes, people count lines.
    start = max(entry["sourceLocation"]["start"], 0)
    line = given["sources"][file]["content"].encode()[:start].count(b"\n") + 1
    return Problem(f"{file}:{line}", what)


def _problems(given: Mapping[str, Any], error: SolcError) -> Sequence[Problem]:
    entries = getattr(error, "error_dict", None) or []
    found = [_problem(given, entry) for entry in entries if entry.get("severity") == "error"]
    # No list of errors means that the compiler itself broke down; what it left on stderr is all there is.
    return found or [Problem("solc", (error.stderr_data or error.message or "it broke down").strip()[:500])]


def _differing_keys(text: str, artifact: Mapping[str, Any]) -> str:
    try:
        committed = json.loads(text)
    except ValueError:
        return "not JSON"
    if not isinstance(committed, dict):
        return "not an artifact"
    keys = sorted(set(committed) | set(artifact))
    return ", ".join(key for key in keys if committed.get(key) != artifact.get(key)) or "layout of the file"
