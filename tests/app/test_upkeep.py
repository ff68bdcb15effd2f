"""Backups of a database in use, killed and refused ones, and what a sender does with one that was put back."""

import os
import shutil
import signal
import stat
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import inspect, select, text

from nftloyalty.app import minting, signing, upkeep
from nftloyalty.app.context import App
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender
from nftloyalty.app.signing import Finding
from nftloyalty.config import Settings
from nftloyalty.errors import BadInput, ProgramProblem, SignerHalted
from nftloyalty.store import backup
from nftloyalty.store import engine as engine_module
from nftloyalty.store.engine import begin, check_schema, open_engine, read
from nftloyalty.store.tables import intents, signers
from tests.app.build import World, app_of, new_wallet, program_text, settings_of
from tests.app.conftest import Anew, OpenWorld
from tests.conftest import ROOT, StartAnvil

NOW = datetime(2026, 3, 1, tzinfo=UTC)


def nothing(what: str, done: int, total: int) -> None:
    """Progress that nobody looks at."""


def back_up(settings: Settings, file: Path, *, replace: bool = False) -> upkeep.Backup:
    return upkeep.back_up(settings, file, NOW, nothing, replace=replace)


def settings_with(folder: Path, database_url: str = "") -> Settings:
    return settings_of(folder, "http://127.0.0.1:1", database_url)


@contextmanager
def restored(world: World, file: Path, database_url: str) -> Iterator[World]:
    """The same keys and program with a new database, into which the backup was put."""
    settings = replace(world.app.settings, database_url=database_url)
    upkeep.restore(settings, file, nothing)
    app = app_of(settings)
    try:
        yield World(app, world.program)
    finally:
        app.close()


@pytest.fixture
def shop(tmp_path: Path) -> Iterator[App]:
    """A database with a few rows; no chain."""
    app = app_of(settings_with(tmp_path / "home"))
    fill(app, 3)
    yield app
    app.close()


def fill(app: App, count: int) -> None:
    with begin(app.engine) as tx:
        for number in range(count):
            tx.execute(
                text("INSERT INTO chains (chain_id, genesis_hash, first_seen_at) VALUES (1, :genesis, :now)"),
                {"genesis": f"0x{number}", "now": "2026-03-01 00:00:00.000000"},
            )


def chains_in(settings: Settings) -> int:
    engine = open_engine(settings.database_url)
    try:
        with read(engine) as tx:
            return int(tx.execute(text("SELECT count(*) FROM chains")).scalar_one())
    finally:
        engine.dispose()


# ------------------------------------------------------------------------------------------------------------- the file


def test_a_backup_is_for_its_owner_only_and_says_what_it_holds(shop: App, tmp_path: Path) -> None:
    shop.keystore.create("hot", "a long password")
    file = tmp_path / "backup"
    made = back_up(shop.settings, file)
    assert (made.rows, made.made_at, made.keys, made.size_bytes) == (3, NOW, ("hot",), file.stat().st_size)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [each.name for each in tmp_path.iterdir() if each != shop.settings.home] == ["backup"]
    again = settings_with(tmp_path / "again")
    put_back = upkeep.restore(again, file, nothing)
    assert (put_back.rows, put_back.made_at, put_back.keys) == (3, NOW, ())
    assert chains_in(again) == 3
    assert stat.S_IMODE((again.home / "nftloyalty.db").stat().st_mode) == 0o600


def test_only_an_earlier_backup_is_ever_replaced(shop: App, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    back_up(shop.settings, file)
    before = file.read_bytes()
    with pytest.raises(BadInput) as told:
        back_up(shop.settings, file)
    assert "is there already (name another file, or replace the earlier backup with --force)" in str(
        told.value.problems[0]
    )
    assert file.read_bytes() == before
    with begin(shop.engine) as tx:
        tx.execute(text("UPDATE chains SET chain_id = 7"))
    link = tmp_path / "newest"
    link.symlink_to(file)
    back_up(shop.settings, link, replace=True)
    assert link.is_symlink()
    assert file.read_bytes() != before
    for other in (shop.settings.home / "nftloyalty.db", Path(os.devnull), tmp_path):
        kept = other.read_bytes() if other.is_file() else b""
        with pytest.raises(BadInput) as told:
            back_up(shop.settings, other, replace=True)
        assert any(said in str(told.value.problems[0]) for said in ("is not a backup", "is a folder"))
        assert not kept or other.read_bytes() == kept


def test_a_place_that_can_not_be_written_to_is_told(shop: App, tmp_path: Path) -> None:
    for file, said in (
        (tmp_path / "none" / "backup", f"there is no folder {tmp_path / 'none'}"),
        (shop.settings.home / "nftloyalty.db" / "backup", "can't be written: Not a directory"),
        (tmp_path / ("b" * 250), "can't be written: File name too long"),
        (Path("\0"), "is not the name of a file"),
        (Path("/dev/full"), "is there already"),
    ):
        with pytest.raises(BadInput) as told:
            back_up(shop.settings, file)
        assert said in str(told.value.problems[0])


@pytest.mark.parametrize("stopped", [KeyboardInterrupt, OSError(28, "No space left on device")])
def test_a_backup_that_is_stopped_leaves_nothing_behind(
    shop: App, tmp_path: Path, stopped: BaseException | type[BaseException]
) -> None:
    def stop(what: str, done: int, total: int) -> None:
        raise stopped

    file = tmp_path / "backup"
    with pytest.raises(KeyboardInterrupt if stopped is KeyboardInterrupt else BadInput):
        upkeep.back_up(shop.settings, file, NOW, stop)
    assert [each.name for each in tmp_path.iterdir()] == ["home"]
    back_up(shop.settings, file)
    before = file.read_bytes()
    with pytest.raises((KeyboardInterrupt, BadInput)):
        upkeep.back_up(shop.settings, file, NOW, stop, replace=True)
    assert file.read_bytes() == before


def test_where_there_is_no_database_none_is_made(tmp_path: Path) -> None:
    settings = settings_with(tmp_path / "typo")
    with pytest.raises(ProgramProblem, match="there is no database") as told:
        back_up(settings, tmp_path / "backup")
    assert "--home" in told.value.mend
    assert list(tmp_path.iterdir()) == []


def test_what_is_no_backup_makes_no_database(shop: App, tmp_path: Path) -> None:
    file, settings = tmp_path / "backup", settings_with(tmp_path / "new")
    back_up(shop.settings, file)
    file.write_bytes(file.read_bytes()[:-9])
    reading, writing = os.pipe()
    os.close(writing)
    for name, said in (
        (file, "use another copy of it"),
        (tmp_path / "none", "there is no such file"),
        (tmp_path, "is a folder"),
        (Path("\0"), "can't be read"),
        (Path(f"/dev/fd/{reading}"), "is a pipe"),
        (shop.settings.home / "nftloyalty.db", "is not a backup of nftloyalty"),
    ):
        with pytest.raises(BadInput) as told:
            upkeep.restore(settings, name, nothing)
        assert said in str(told.value.problems[0])
    os.close(reading)
    assert not settings.home.exists()


def test_a_database_in_use_keeps_its_rows(shop: App, tmp_path: Path) -> None:
    file = tmp_path / "backup"
    back_up(shop.settings, file)
    fill_more = settings_with(tmp_path / "other")
    other = app_of(fill_more)
    fill(other, 1)
    other.close()
    with pytest.raises(ProgramProblem, match="is in use: it has rows in chains; nothing was changed"):
        upkeep.restore(fill_more, file, nothing)
    assert chains_in(fill_more) == 1


def test_a_backup_of_the_first_schema_is_put_back_and_upgraded(
    engine_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Made before a column was added that rows have by now."""
    file, migrations = tmp_path / "backup", tmp_path / "migrations"
    shutil.copytree(
        Path(engine_module.__file__).parent / "migrations",
        migrations,
        ignore=shutil.ignore_patterns("__pycache__", "v000[2-9]*"),
    )
    with monkeypatch.context() as then:
        then.setattr(engine_module, "_MIGRATIONS", migrations)
        old = app_of(settings_with(tmp_path / "old"))
        fill(old, 1)
        with begin(old.engine) as tx:
            tx.execute(text("INSERT INTO signers (chain, address) VALUES (1, '0x1')"))
            tx.execute(
                text(
                    "INSERT INTO intents (public_id, chain, signer, kind, args, request_key, state, created_at,"
                    " updated_at) VALUES ('int_1', 1, 1, 'deploy', '{}', 'a', 'received', :now, :now)"
                ),
                {"now": "2026-03-01 00:00:00.000000"},
            )
        assert back_up(old.settings, file).schema == "0001"
        old.close()
    settings = settings_with(tmp_path / "new", engine_url)
    assert upkeep.restore(settings, file, nothing).schema == "0001"
    engine = open_engine(engine_url)
    check_schema(engine)
    with read(engine) as tx:
        assert tx.execute(select(intents.c.public_id, intents.c.reverts)).all() == [("int_1", 0)]
    engine.dispose()


# --------------------------------------------------------------------------------------------------------------- killed

KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from nftloyalty.app import upkeep
from nftloyalty.config import from_environment

what, at, home, url, file = sys.argv[1:]
settings = from_environment({"NFTLOYALTY_HOME": home, "DATABASE_URL": url})

def progress(doing, done, total):
    if doing == what and done >= total * float(at):
        os.kill(os.getpid(), signal.SIGKILL)

if what == "backing up":
    upkeep.back_up(settings, Path(file), datetime.now(UTC), progress)
else:
    upkeep.restore(settings, Path(file), progress)
"""


def killed(what: str, at: float, settings: Settings, file: Path) -> None:
    arguments = (what, str(at), str(settings.home), settings.database_url, str(file))
    ran = subprocess.run([sys.executable, "-c", KILLED, *arguments], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == -signal.SIGKILL, ran.stderr


def test_a_killed_backup_is_no_backup(shop: App, tmp_path: Path) -> None:
    fill_many(shop, 1_000)
    file = tmp_path / "backups" / "backup"
    file.parent.mkdir()
    for at in (0, 0.5, 1):
        killed("backing up", at, shop.settings, file)
        assert not file.exists()
    assert {each.suffix for each in file.parent.iterdir()} == {".part"}
    assert back_up(shop.settings, file).rows == 1_003


def fill_many(app: App, count: int) -> None:
    with begin(app.engine) as tx:
        tx.execute(
            text("INSERT INTO chains (chain_id, genesis_hash, first_seen_at) VALUES (2, :genesis, :now)"),
            [{"genesis": f"0x{number}", "now": "2026-03-01 00:00:00.000000"} for number in range(count)],
        )


@pytest.mark.parametrize("at", [0, 0.5, 1])
def test_a_killed_restore_is_begun_anew(shop: App, engine_url: str, tmp_path: Path, at: float) -> None:
    fill_many(shop, 1_000)
    file, settings = tmp_path / "backup", settings_with(tmp_path / "new", engine_url)
    back_up(shop.settings, file)
    killed("restoring", at, settings, file)
    engine = open_engine(engine_url)
    with read(engine) as tx:
        assert inspect(tx).get_table_names() == []
    engine.dispose()
    assert upkeep.restore(settings, file, nothing).rows == 1_003
    assert chains_in(settings) == 1_003


# --------------------------------------------------------------------------------------------------------------- in use


def test_a_backup_beside_a_running_mint_is_of_one_moment(world: World, tmp_path: Path) -> None:
    """The mint is not held up, and whatever the moment, the books fit together."""
    rows = [f"{new_wallet()},gold,never" for _ in range(60)]
    plan = world.plan(*rows)
    reports = []
    minted = threading.Thread(target=lambda: reports.append(minting.mint(world.app, world.here, plan)))
    minted.start()
    files: list[Path] = []
    while minted.is_alive() or not files:
        files.append(tmp_path / str(len(files)))
        back_up(world.app.settings, files[-1])
    minted.join()
    assert [(report.final, report.rejected) for report in reports] == [(60, ())]
    for number, file in enumerate(files[:10]):
        with restored(world, file, f"sqlite:///{tmp_path / f'{number}.db'}") as then, read(then.app.engine) as tx:
            found = tx.execute(select(intents.c.state, intents.c.slot)).all()
            assert all((state == "received") == (slot is None) for state, slot in found)


# ------------------------------------------------------------------------------------------------------------ put back

AT_ONCE = "[chain]\nfinality_blocks = 0\n"


def test_what_was_sent_since_the_backup_is_taken_in_and_nobody_gets_it_twice(
    start_anvil: StartAnvil, open_on: OpenWorld, engine_url: str, tmp_path: Path
) -> None:
    world = open_on(start_anvil().url, program_text(rest=AT_ONCE))
    first, since = ([f"{new_wallet()},gold,never" for _ in range(3)] for _ in range(2))
    world.mint(*first)
    file = tmp_path / "backup"
    back_up(world.app.settings, file)
    assert world.mint(*first, *since).final == 6
    sent = world.app.node.nonce(world.address("hot"))
    with restored(world, file, engine_url) as again:
        with pytest.raises(SignerHalted, match="the database is an old copy"), sender(again):
            pass
        found = signing.look_into(again.app, again.here.attached, again.program, "hot")
        assert [(use.finding, len(use.minted)) for use in found.uses] == [(Finding.COPY, 3)]
        signing.resume(again.app, found)
        report = again.mint(*first, *since)
        assert (report.final, report.rejected) == (6, ())
        assert again.here.membership.total_supply() == 6
        assert again.app.node.nonce(again.address("hot")) == sent
        assert again.mint(*first, *since, f"{new_wallet()},gold,never").final == 7


def test_what_was_under_way_at_the_backup_goes_on(
    start_anvil: StartAnvil, open_on: OpenWorld, engine_url: str, tmp_path: Path
) -> None:
    """Mined or not since: the books know the transaction, so nobody halts."""
    world = open_on(start_anvil().url, program_text(rest=AT_ONCE))
    world.mint(f"{new_wallet()},gold,never")
    rows = [f"{new_wallet()},gold,never" for _ in range(3)]
    world.app.node.call("evm_setAutomine", [False])
    minting._accept(world.app, world.here, world.plan(*rows))
    file = tmp_path / "backup"
    with sender(world) as sending:
        sending.step()
        back_up(world.app.settings, file)
    world.app.node.call("evm_setAutomine", [True])
    world.app.node.call("anvil_mine", [hex(1)])
    with restored(world, file, engine_url) as again:
        assert again.mint(*rows).final == 3
        assert again.here.membership.total_supply() == 4
        assert again.app.node.nonce(again.address("hot")) == 2


def test_the_lease_of_a_backup_holds_nobody_up(anew: Anew, engine_url: str, tmp_path: Path) -> None:
    """Neither the next sender nor, as the old one's number is over, the books against the old one."""
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    file = tmp_path / "backup"
    with sender(world):  # a process that lives
        back_up(world.app.settings, file)
        with restored(world, file, engine_url) as again:
            with read(again.app.engine) as tx:
                owners = tx.execute(select(signers.c.lease_owner, signers.c.lease_until)).all()
            assert set(owners) == {(None, None)}
            with sender(again):
                pass


def sender(world: World) -> Sender:
    return Sender(world.app, world.here.attached, signer_of(world.app, "hot"), finality_blocks=0)


def test_progress_is_told_to_the_end(shop: App, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(backup, "ROWS_AT_ONCE", 2)
    seen: list[tuple[str, int, int]] = []
    upkeep.back_up(shop.settings, tmp_path / "backup", NOW, lambda *news: seen.append(news))
    upkeep.restore(settings_with(tmp_path / "new"), tmp_path / "backup", lambda *news: seen.append(news))
    assert seen == [
        ("backing up", 2, 3),
        ("backing up", 3, 3),
        ("checking", 2, 3),
        ("checking", 3, 3),
        ("restoring", 2, 3),
        ("restoring", 3, 3),
    ]
