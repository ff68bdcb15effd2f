"""Compiling: the committed artifacts are what the sources say, and what goes wrong is told with file and line."""

import json
import os
import shutil
import sys
import tomllib
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pytest

from nftloyalty.chain import compile as compiling
from nftloyalty.chain.compile import (
    ARTIFACTS,
    CONTRACTS,
    SETTINGS,
    SOURCE_ROOTS,
    Artifact,
    compile_contracts,
    differences,
    find_contracts,
    find_solc,
    pinned_version,
    standard_input,
    standard_json,
    write_artifacts,
)
from nftloyalty.errors import BadInput
from scripts import compile as script
from tests.conftest import CONTRACTS as FOLDER
from tests.conftest import tool

HEAD = "// SPDX-License-Identifier: MIT\npragma solidity ^0.8.30;\n"
SMALL = HEAD + "contract {name} {{ uint256 public immutable PLACE = {place}; }}\n"


@pytest.fixture(scope="module")
def compiled() -> dict[str, Artifact]:
    """Our contracts, compiled with npm's compiler: it is pinned by a hash, a native one is what the machine has."""
    return compile_contracts(FOLDER, tool("solc"))


@pytest.fixture
def small(tmp_path: Path) -> Path:
    """A contracts folder like ours with four contracts of one line, which compile in a moment."""
    folder = tmp_path / "contracts"
    (folder / "src").mkdir(parents=True)
    shutil.copy(FOLDER / "package.json", folder)
    for place, name in enumerate(CONTRACTS):
        (folder / "src" / f"{name}.sol").write_text(SMALL.format(name=name, place=place), encoding="utf-8")
    return folder


def problems(error: pytest.ExceptionInfo[BadInput]) -> list[str]:
    return [str(problem) for problem in error.value.problems]


def test_the_committed_artifacts_are_what_the_sources_compile_to(compiled: Mapping[str, Artifact]) -> None:
    assert differences(compiled, ARTIFACTS) == [], "make compile writes them anew"
    assert {path.name for path in ARTIFACTS.glob("*.json")} == {f"{name}.json" for name in CONTRACTS}
    for name, artifact in compiled.items():
        assert (ARTIFACTS / f"{name}.json").read_bytes() == artifact.text().encode(), name


def test_an_artifact_says_what_made_it(compiled: Mapping[str, Artifact]) -> None:
    for name, artifact in compiled.items():
        content = json.loads(artifact.text())
        assert list(content) == sorted(content)
        assert content["contractName"] == name
        assert content["compiler"]["version"].startswith(f"{pinned_version(FOLDER)}+commit.")
        assert content["compiler"]["settings"] == SETTINGS
        assert content["deployedBytecode"][2:] in content["bytecode"], name


def test_code_stays_under_20_kilobytes(compiled: Mapping[str, Artifact]) -> None:
    sizes = {name: len(artifact.deployedBytecode) // 2 - 1 for name, artifact in compiled.items()}
    assert {name: size for name, size in sizes.items() if size >= 20_000} == {}


def test_forge_is_told_the_same_settings() -> None:
    forge = tomllib.loads((FOLDER / "foundry.toml").read_text(encoding="utf-8"))["profile"]["default"]
    assert {
        "evmVersion": forge["evm_version"],
        "metadata": {"appendCBOR": forge["cbor_metadata"], "bytecodeHash": forge["bytecode_hash"]},
        "optimizer": {"enabled": forge["optimizer"], "runs": forge["optimizer_runs"]},
        "viaIR": forge["via_ir"],
    } == SETTINGS
    assert forge["solc"] == "./solc.cjs"
    assert forge["remappings"] == [
        f"{prefix}={folder}/" for prefix, folder in SOURCE_ROOTS.items() if folder.startswith("node_modules")
    ]


def test_the_standard_json_needs_nothing_else() -> None:
    given = json.loads(standard_json(FOLDER))
    assert "remappings" not in given["settings"]
    for name, source in given["sources"].items():
        assert list(source) == ["content"], name
        assert {imported for imported, _ in compiling._imports(name, source["content"])} <= set(given["sources"]), name
    assert {f"src/{name}.sol" for name in CONTRACTS} <= set(given["sources"])
    assert all(name.startswith(tuple(SOURCE_ROOTS)) for name in given["sources"])
    assert str(FOLDER) not in standard_json(FOLDER)


def test_the_same_sources_elsewhere_give_the_same_bytes(small: Path, tmp_path: Path) -> None:
    moved = shutil.copytree(small, tmp_path / "a folder elsewhere")
    path = moved / "src" / "LoyaltyStamps.sol"
    path.write_text("// A remark.\n" + path.read_text(encoding="utf-8"), encoding="utf-8")
    assert compile_contracts(moved, tool("solc")) == compile_contracts(small, tool("solc"))


def test_where_a_constructor_puts_values_is_told(small: Path) -> None:
    artifact = compile_contracts(small, tool("solc"))["LoyaltyStamps"]
    ((place, *_),) = artifact.immutableReferences.values()
    start, length = place["start"], place["length"]
    assert bytes.fromhex(artifact.deployedBytecode[2:])[start : start + length] == bytes(32)


def test_compile_errors_are_told_with_file_and_line(small: Path) -> None:
    bad = HEAD + "// żółć\ncontract LoyaltyStamps {\n  uint x = nowhere;\n\n  uint y = nothing;\n}\n"
    (small / "src" / "LoyaltyStamps.sol").write_text(bad, encoding="utf-8")
    with pytest.raises(BadInput) as error:
        compile_contracts(small, tool("solc"))
    told = problems(error)
    assert [line.partition(": ")[0] for line in told] == ["src/LoyaltyStamps.sol:5", "src/LoyaltyStamps.sol:7"]
    assert "DeclarationError: Undeclared identifier" in told[1]


def test_a_warning_about_our_own_source_is_an_error(small: Path) -> None:
    path = small / "src" / "LoyaltyStamps.sol"
    path.write_text(
        path.read_text(encoding="utf-8").replace("// SPDX-License-Identifier: MIT", "// none"), encoding="utf-8"
    )
    with pytest.raises(BadInput) as error:
        compile_contracts(small, tool("solc"))
    assert problems(error)[0].startswith("src/LoyaltyStamps.sol:1: Warning: SPDX")


def test_a_missing_import_is_told_with_file_and_line(small: Path) -> None:
    path = small / "src" / "LoyaltyStamps.sol"
    imports = (
        '// import "./Remark.sol";\n/* import "./Remark.sol";\n*/\n'
        'import {\n  A as B\n} from "./parts/Gone.sol";\nimport "solady/tokens/ERC721.sol";\n'
        'import "https://packages.example/Elsewhere.sol";\n'
    )
    path.write_text(path.read_text(encoding="utf-8") + imports, encoding="utf-8")
    with pytest.raises(BadInput) as error:
        standard_input(small)
    assert [line.partition(" is not here")[0] for line in problems(error)] == [
        "src/LoyaltyStamps.sol:9: src/parts/Gone.sol",
        "src/LoyaltyStamps.sol:10: solady/tokens/ERC721.sol",
        "src/LoyaltyStamps.sol:11: https://packages.example/Elsewhere.sol",
    ]


def test_a_text_that_looks_like_a_comment_hides_no_import() -> None:
    text = 'string constant A = "/*"; // import "./No.sol"\nimport "../B.sol";\nstring constant C = "*/";\n'
    assert compiling._imports("src/interfaces/A.sol", text) == [("src/B.sol", 2)]


def test_a_library_that_must_be_deployed_apart_is_refused(small: Path) -> None:
    (small / "src" / "LoyaltyStamps.sol").write_text(
        HEAD + "library Apart { function f() public pure returns (uint256) { return 1; } }\n"
        "contract LoyaltyStamps { uint256 public one = Apart.f(); }\n",
        encoding="utf-8",
    )
    with pytest.raises(BadInput) as error:
        compile_contracts(small, tool("solc"))
    assert "deployed apart" in problems(error)[0]


def test_another_version_of_the_compiler_is_refused(small: Path) -> None:
    package = json.loads((small / "package.json").read_text(encoding="utf-8"))
    package["dependencies"]["solc"] = "0.8.1"
    (small / "package.json").write_text(json.dumps(package), encoding="utf-8")
    with pytest.raises(BadInput, match="problem") as error:
        compile_contracts(small, tool("solc"))
    assert f"version 0.8.1 is needed, this is {pinned_version(FOLDER)}+commit." in problems(error)[0]


def test_what_is_no_compiler_is_refused(small: Path, tmp_path: Path) -> None:
    with pytest.raises(BadInput) as error:
        compile_contracts(small, tmp_path / "absent")
    assert "no Solidity compiler" in problems(error)[0]


def test_without_node_the_mend_is_told(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shim = tool("solc")
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))
    with pytest.raises(BadInput) as error:
        compile_contracts(small, shim)
    assert "install Node" in problems(error)[0]


def program(path: Path, says: str) -> Path:
    path.write_text(f"#!/bin/sh\necho '{says}'\n", encoding="utf-8")
    path.chmod(0o700)
    return path


def test_a_native_compiler_of_the_pinned_version_comes_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    native = program(tmp_path / "solc", f"Version: {pinned_version(FOLDER)}+commit.1234abcd.Linux.g++")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert find_solc(FOLDER) == native


def test_npms_compiler_is_taken_when_no_native_one_fits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program(tmp_path / "solc", "Version: 0.4.11+commit.1234abcd.Linux.g++")
    cut_short = program(tmp_path / f"solc-v{pinned_version(FOLDER)}", "")
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SOLCX_BINARY_PATH", str(tmp_path))
    asked: list[str] = []

    def unreachable(version: str) -> Path | None:
        asked.append(version)
        return None

    monkeypatch.setattr(compiling, "_native_download", unreachable)
    assert find_solc(FOLDER) == tool("solc")
    assert asked == [pinned_version(FOLDER)]
    assert cut_short.exists()


def test_no_compiler_at_all_is_told(small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("SOLCX_BINARY_PATH", str(tmp_path))
    monkeypatch.setattr(compiling, "_native_download", lambda version: None)
    with pytest.raises(BadInput) as error:
        find_solc(small)
    assert "make compile" in problems(error)[0]


def test_no_program_that_is_started_learns_a_secret(
    small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Neither the compiler, nor Node, nor the download."""
    version = f"Version: {pinned_version(FOLDER)}+commit.1234abcd.Linux.g++"
    (tmp_path / "bin").mkdir()
    spy = program(tmp_path / "bin" / "solc", version)
    spy.write_text(f"#!/bin/sh\nenv >> {tmp_path}/seen\necho '{version}'\n", encoding="utf-8")
    monkeypatch.setenv("NFTLOYALTY_KEY_PASSWORD", "s3cr3t-word")
    monkeypatch.setenv("DATABASE_URL", "postgresql://u:s3cr3t-word@db/x")
    monkeypatch.setenv("CLOUD_TOKEN", "s3cr3t-word")
    with pytest.raises(BadInput, match="contracts"):
        compile_contracts(small, spy)
    assert find_solc_first(spy, monkeypatch) == spy
    monkeypatch.setattr(sys, "executable", str(spy))
    with compiling._bare_environment():
        compiling._native_download("0.8.30")
    seen = (tmp_path / "seen").read_text(encoding="utf-8")
    assert seen.count("PATH=") >= 4
    assert "s3cr3t-word" not in seen
    assert os.environ["NFTLOYALTY_KEY_PASSWORD"] == "s3cr3t-word"


def find_solc_first(solc: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("PATH", str(solc.parent), prepend=":")
    return find_solc(FOLDER)


def test_a_download_that_does_not_answer_is_given_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = program(tmp_path / "python", "")
    slow.write_text("#!/bin/sh\nexec sleep 30\n", encoding="utf-8")
    monkeypatch.setattr(sys, "executable", str(slow))
    monkeypatch.setattr(compiling, "DOWNLOAD_TIMEOUT_SECONDS", 0.1)
    assert compiling._native_download(pinned_version(FOLDER)) is None


def sample(name: str) -> Artifact:
    return Artifact(name, {"version": "0.8.37+commit.1234abcd"}, [], "0x6000", "0x00", {})


def test_every_difference_is_named(tmp_path: Path) -> None:
    artifacts = {name: sample(name) for name in ("A", "B", "C", "D")}
    write_artifacts(artifacts, tmp_path)
    assert differences(artifacts, tmp_path) == []
    (tmp_path / "A.json").unlink()
    (tmp_path / "B.json").write_text(replace(sample("B"), bytecode="0x6001", abi=[{}]).text(), encoding="utf-8")
    (tmp_path / "C.json").write_text("{", encoding="utf-8")
    (tmp_path / "D.json").write_text(sample("D").text().replace("\n", " "), encoding="utf-8")
    (tmp_path / "E.json").write_text("{}", encoding="utf-8")
    assert differences(artifacts, tmp_path) == [
        "A.json: missing",
        "B.json: abi, bytecode",
        "C.json: not JSON",
        "D.json: layout of the file",
        "E.json: not a contract of ours",
    ]


def test_only_what_changed_is_written(tmp_path: Path) -> None:
    artifacts = {name: sample(name) for name in ("A", "B")}
    assert write_artifacts(artifacts, tmp_path / "made") == [tmp_path / "made" / "A.json", tmp_path / "made" / "B.json"]
    before = (tmp_path / "made" / "A.json").stat()
    (tmp_path / "made" / "Old.json").write_text("{}", encoding="utf-8")
    changed = {**artifacts, "B": replace(sample("B"), bytecode="0x6001")}
    assert [path.name for path in write_artifacts(changed, tmp_path / "made")] == ["B.json", "Old.json"]
    assert write_artifacts(changed, tmp_path / "made") == []
    assert (tmp_path / "made" / "A.json").stat() == before
    assert differences(changed, tmp_path / "made") == []


class TestScript:
    @pytest.fixture
    def run(self, small: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
        monkeypatch.setattr("nftloyalty.app.compiling.ARTIFACTS", tmp_path / "artifacts")
        return ["--contracts", str(small), "--solc", str(tool("solc"))]

    def test_it_writes_and_then_finds_nothing_to_do(self, run: list[str], capsys: pytest.CaptureFixture[str]) -> None:
        assert script.main(run) == 0
        assert capsys.readouterr().out.count("wrote ") == len(CONTRACTS)
        assert script.main(run) == 0
        assert capsys.readouterr().out == "4 artifacts were up to date\n"

    def test_check_writes_nothing_and_names_what_differs(
        self, run: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert script.main([*run, "--check"]) == 1
        assert "LoyaltyStamps.json: missing" in capsys.readouterr().out
        assert not (tmp_path / "artifacts").exists()
        script.main(run)
        assert script.main([*run, "--check"]) == 0

    def test_it_writes_the_explorers_input(self, run: list[str], small: Path, tmp_path: Path) -> None:
        assert script.main([*run, "--standard-json", str(tmp_path / "input.json")]) == 0
        assert json.loads((tmp_path / "input.json").read_text(encoding="utf-8")) == standard_input(small)

    def test_it_tells_errors_and_fails(self, run: list[str], small: Path, capsys: pytest.CaptureFixture[str]) -> None:
        (small / "src" / "LoyaltyStamps.sol").write_text("contract", encoding="utf-8")
        assert script.main(run) == 1
        assert "  src/LoyaltyStamps.sol:1: ParserError" in capsys.readouterr().err


def test_the_checkouts_contracts_are_found(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert find_contracts() == FOLDER
    monkeypatch.setattr(compiling, "__file__", str(tmp_path / "nftloyalty" / "chain" / "compile.py"))
    with pytest.raises(BadInput) as error:
        find_contracts()
    assert "checkout" in problems(error)[0]
