"""`backup`, `restore` and `upgrade` as an operator meets them."""

import os
import signal
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest
import requests

from nftloyalty.cli import upkeep
from tests.app.build import World, new_wallet
from tests.cli.conftest import Run
from tests.cli.processes import MAIN, PATIENCE_SECONDS, started
from tests.cli.test_commands import members, ok, shop
from tests.cli.test_serving import ready
from tests.cli.test_serving import shop as served
from tests.conftest import ROOT

__all__ = ["served", "shop"]  # fixtures


def test_a_lost_database_is_put_back_and_the_files_are_run_again(shop: Run) -> None:
    first, since = (f"{new_wallet()},gold,never" for _ in range(2))
    ok(shop("mint", members(first)))
    said = ok(shop("backup", "loyalty.backup"))
    assert "Wrote loyalty.backup: " in said
    assert "Copy .nftloyalty/keys too, with the passwords: desk, guard, hot, owner." in said
    assert "seal.key" not in said
    ok(shop("mint", members(first, since)))
    database = Path(".nftloyalty/nftloyalty.db")
    for part in database.parent.glob("nftloyalty.db*"):
        part.unlink()
    said = ok(shop("restore", "loyalty.backup"))
    assert "Keys are not in a backup. In .nftloyalty/keys are: desk, guard, hot, owner." in said
    assert "seal.key; put your copy there if there are webhook endpoints." in said
    assert "`nftloyalty signers show`" in said
    assert "`nftloyalty signers resume NAME`" in said
    assert "behind the chain" in ok(shop("signers", "show"))
    ok(shop("signers", "resume", "hot", "--yes"))
    assert "2 of 2 minted, all final." in ok(shop("mint", members(first, since)))


def test_that_the_key_of_webhooks_secrets_is_to_be_copied_is_told_at_both_ends(shop: Run) -> None:
    ok(shop("webhooks", "create", "https://shop.example/hooks"))
    assert "Copy .nftloyalty/seal.key too." in ok(shop("backup", "loyalty.backup"))
    for part in Path(".nftloyalty").glob("nftloyalty.db*"):
        part.unlink()
    assert "webhooks' secrets: .nftloyalty/seal.key; is here." in ok(shop("restore", "loyalty.backup"))


def test_a_server_answers_on_while_a_backup_is_made(served: tuple[World, Path, Mapping[str, str]]) -> None:
    """It holds a key's lease and its database is in use; the copy is nobody's."""
    world, folder, environment = served
    environment = {**os.environ, "PYTHONPATH": str(ROOT), **environment}

    def command(*arguments: str) -> str:
        ran = subprocess.run(
            [sys.executable, "-c", MAIN, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=PATIENCE_SECONDS,
        )
        assert ran.returncode == 0, ran.stderr
        return ran.stdout

    with started(folder, "serve", "--port", "0", **environment) as server, requests.Session() as till:
        url = ready(server)
        said = command("backup", "served.backup")
        assert till.get(f"{url}/readyz", timeout=30).json()["status"] == "ok"
    assert "Wrote served.backup: " in said
    command("--home", "copy", "restore", "served.backup")
    with sqlite3.connect(folder / "copy" / "nftloyalty.db") as database:
        assert set(database.execute("SELECT lease_owner, lease_until FROM signers")) == {(None, None)}
        assert database.execute("SELECT membership FROM programs").fetchall() == [(world.here.membership.address,)]
    database.close()


def test_what_is_refused_is_told_with_its_mend(run: Run) -> None:
    missing = run("backup", "loyalty.backup")
    assert (missing.status, missing.out) == (3, "")
    assert "there is no database" in missing.err
    ok(run("upgrade"))
    ok(run("backup", "loyalty.backup"))
    taken = run("backup", "loyalty.backup")
    assert (taken.status, taken.out) == (2, "")
    assert "replace the earlier backup with --force" in taken.err
    ok(run("backup", "loyalty.backup", "--force"))
    Path("program.toml").write_text("x")
    for file, said in (
        ("program.toml", "line 1: is not a backup of nftloyalty (name the file that `nftloyalty backup` wrote)"),
        ("none", "there is no such file"),
    ):
        refused = run("--home", "new", "restore", file)
        assert (refused.status, refused.out) == (2, "")
        assert said in refused.err
    assert not Path("new").exists()
    said = ok(run("--home", "new", "restore", "loyalty.backup"))
    assert "to sqlite:////" in said
    assert "In new/keys are: none; put your copy of them there." in said


@pytest.mark.parametrize("command", ["backup", "restore"])
def test_a_command_that_is_told_to_end_leaves_things_as_they_were(
    run: Run, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    ok(run("upgrade"))
    with sqlite3.connect(".nftloyalty/nftloyalty.db") as database:
        database.execute(
            "INSERT INTO chains (chain_id, genesis_hash, first_seen_at) VALUES (1, '0x', '2026-03-01 00:00:00.0')"
        )
    database.close()
    ok(run("backup", "before"))
    content = Path("before").read_bytes()
    before = sorted(Path.cwd().iterdir())

    @contextmanager
    def told_to_end() -> Iterator[Callable[[str, int, int], None]]:
        yield lambda what, done, total: os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(upkeep, "_bar", told_to_end)
    handler = signal.getsignal(signal.SIGTERM)
    ended = run("backup", "before", "--force") if command == "backup" else run("--home", "new", "restore", "before")
    assert (ended.status, ended.out) == (130, "")
    assert "run the same command again" in ended.err
    assert sorted(Path.cwd().iterdir()) == before
    assert Path("before").read_bytes() == content
    assert signal.getsignal(signal.SIGTERM) is handler
