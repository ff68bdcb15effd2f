"""The test suite keeps its own promises: real databases, a real node, and nothing left out unseen."""

import os
import subprocess
import sys
import warnings
from pathlib import Path
from typing import Any

import pytest
import requests
from sqlalchemy import create_engine, inspect, text

from tests.conftest import ROOT, Anvil, StartAnvil, tool


def test_a_database_is_empty_and_takes_what_is_written(engine_url: str) -> None:
    engine = create_engine(engine_url)
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
        connection.execute(text("CREATE TABLE cards (serial INTEGER)"))
        connection.execute(text("INSERT INTO cards VALUES (1)"))
    with engine.begin() as connection:
        assert connection.execute(text("SELECT serial FROM cards")).scalars().all() == [1]
    engine.dispose()


@pytest.mark.parametrize("write", ["first", "second"])
def test_a_migrated_database_has_the_schema_and_nothing_of_another_test(migrated_url: str, write: str) -> None:
    engine = create_engine(migrated_url)
    with engine.begin() as connection:
        names = inspect(connection).get_table_names()
        assert {"chains", "programs", "signers", "intents", "slots", "attempts", "alembic_version"} <= set(names)
        assert "mark" not in names
        connection.execute(text("CREATE TABLE mark (word TEXT)"))
        connection.execute(text("INSERT INTO mark VALUES (:word)"), {"word": write})
    engine.dispose()


def call(node: Anvil, method: str) -> object:
    request: dict[str, Any] = {"jsonrpc": "2.0", "id": 1, "method": method, "params": []}
    return requests.post(node.url, json=request, timeout=10).json()["result"]


def test_anvil_answers(anvil: Anvil) -> None:
    assert call(anvil, "eth_chainId") == "0x7a69"


def test_anvil_takes_flags_and_can_be_killed(start_anvil: StartAnvil) -> None:
    node = start_anvil("--chain-id", "137")
    assert call(node, "eth_chainId") == "0x89"
    node.kill()
    with pytest.raises(requests.ConnectionError):
        call(node, "eth_chainId")


def test_a_flag_that_anvil_does_not_know_fails_with_its_words(start_anvil: StartAnvil) -> None:
    with pytest.raises(pytest.fail.Exception, match="no-such-flag"):
        start_anvil("--no-such-flag")


@pytest.mark.parametrize("name", ["forge", "anvil", "cast", "solc", "node"])
def test_a_tool_runs(name: str) -> None:
    path = os.pathsep.join([str(tool("node").parent), os.environ.get("PATH", "")])
    answer = subprocess.run([tool(name), "--version"], capture_output=True, text=True, env={**os.environ, "PATH": path})
    assert answer.returncode == 0, answer.stderr
    assert answer.stdout


def test_a_tool_that_is_missing_fails_the_test() -> None:
    with pytest.raises(pytest.fail.Exception, match="make test"):
        tool("no-such-tool")


@pytest.mark.parametrize(("ci", "status"), [("true", 1), ("", 0)])
def test_a_skipped_test_fails_where_ci_is_set(tmp_path: Path, ci: str, status: int) -> None:
    (tmp_path / "conftest.py").write_text("from tests.conftest import pytest_sessionfinish\n")
    (tmp_path / "test_one.py").write_text(
        "import pytest\ndef test_good(): assert True\n@pytest.mark.skip(reason='none')\ndef test_left_out(): pass\n"
    )
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "-c", os.devnull, "--rootdir", tmp_path, tmp_path],
        capture_output=True,
        text=True,
        env={**os.environ, "CI": ci, "PYTHONPATH": str(ROOT)},
        cwd=tmp_path,
    )
    assert run.returncode == status, run.stdout + run.stderr
    assert "1 passed, 1 skipped" in run.stdout


def test_warnings_are_errors() -> None:
    with pytest.raises(DeprecationWarning):
        warnings.warn("old", DeprecationWarning, stacklevel=1)
