"""Writers of one SQLite file take turns, in two processes as in two threads, and do without where that can't be."""

import errno
import os
import signal
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from nftloyalty.store import turns
from nftloyalty.store.engine import begin, open_engine, read
from nftloyalty.store.turns import Turns
from tests.conftest import ROOT
from tests.store.build import run_together

NEVER = 3600.0
COMMITS = 5
"""So many of another writer at most until it is one's turn: the one under way, the one that was ahead, and those that
come while this process is not running."""

FLOOD = """
import sys, time
from sqlalchemy import text
from nftloyalty.store.engine import begin, open_engine
engine = open_engine(sys.argv[1])
while True:
    with begin(engine) as tx:
        tx.execute(text("UPDATE commits SET number = number + 1"))
        time.sleep(0.02)
"""

DIES = """
import os, signal, sys
from nftloyalty.store.engine import begin, open_engine
with begin(open_engine(sys.argv[1])):
    os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "loyalty.db"


@pytest.fixture
def written(file: Path) -> Iterator[Engine]:
    engine = open_engine(f"sqlite:///{file}")
    with begin(engine) as tx:
        tx.execute(text("CREATE TABLE commits (number INTEGER)"))
        tx.execute(text("INSERT INTO commits VALUES (0)"))
    yield engine
    engine.dispose()


@contextmanager
def running(script: str, engine: Engine) -> Iterator["subprocess.Popen[bytes]"]:
    url = engine.url.render_as_string(hide_password=False)
    process = subprocess.Popen([sys.executable, "-c", script, url], env={**os.environ, "PYTHONPATH": str(ROOT)})
    try:
        yield process
    finally:
        process.kill()
        process.wait()


def commits(engine: Engine) -> int:
    with read(engine) as tx:
        return int(tx.execute(text("SELECT number FROM commits")).scalar_one())


def is_free(path: str) -> bool:
    assert turns.fcntl is not None
    handle = os.open(path, os.O_RDWR)
    try:
        turns.fcntl.flock(handle, turns.fcntl.LOCK_EX | turns.fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    finally:
        os.close(handle)
    return True


def test_who_writes_back_to_back_lets_another_process_in(written: Engine) -> None:
    with running(FLOOD, written) as flood:
        while commits(written) < 3:
            assert flood.poll() is None
        waited = []
        for _ in range(8):
            before = commits(written)
            with begin(written) as tx:
                waited.append(tx.execute(text("SELECT number FROM commits")).scalar_one() - before)
        assert max(waited) <= COMMITS, waited
        # And the other one goes on.
        after = commits(written)
        while commits(written) < after + 3:
            assert flood.poll() is None


def test_the_turn_of_a_process_that_died_is_free(written: Engine, file: Path) -> None:
    with running(DIES, written) as dies:
        assert dies.wait(timeout=60) == -signal.SIGKILL
    here = Turns(file)
    assert is_free(here.turn)
    assert is_free(here.turnstile)


def test_a_turn_ends_with_the_block_however_that_ends(written: Engine, file: Path) -> None:
    here = Turns(file)
    with begin(written):
        assert not is_free(here.turn)
        assert is_free(here.turnstile)
    assert is_free(here.turn)
    with pytest.raises(RuntimeError), begin(written):
        raise RuntimeError
    assert is_free(here.turn)


def test_threads_of_one_process_take_turns_too(written: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each gets in, and none by losing patience."""
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", NEVER)

    def write() -> None:
        for _ in range(25):
            with begin(written) as tx:
                number = tx.execute(text("SELECT number FROM commits")).scalar_one()
                tx.execute(text("UPDATE commits SET number = :next"), {"next": number + 1})

    run_together([write] * 4)
    assert commits(written) == 100


def test_who_only_reads_takes_no_turn(written: Engine, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", NEVER)
    with Turns(file).mine():
        assert commits(written) == 0


def test_who_holds_a_turn_and_does_not_go_on_is_passed_by(
    written: Engine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", 0.05)
    with Turns(file).mine(), begin(written) as tx:
        tx.execute(text("UPDATE commits SET number = 7"))
    assert commits(written) == 7


def test_without_such_locks_writers_do_without(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turns, "fcntl", None)
    engine = open_engine(f"sqlite:///{file}")
    with begin(engine) as tx:
        tx.execute(text("CREATE TABLE t (a INTEGER)"))
        assert not Path(Turns(file).turn).exists()
    engine.dispose()


def test_where_a_file_system_refuses_the_lock_or_the_file_writers_do_without(
    written: Engine, file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert turns.fcntl is not None
    monkeypatch.setattr(turns, "PATIENCE_SECONDS", NEVER)

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    with monkeypatch.context() as patch:
        patch.setattr(turns.fcntl, "flock", refuse)
        with begin(written) as tx:
            tx.execute(text("UPDATE commits SET number = 1"))
    for path in (Turns(file).turn, Turns(file).turnstile):
        Path(path).unlink()
        Path(path).mkdir()
    with begin(written) as tx:
        tx.execute(text("UPDATE commits SET number = number + 1"))
    assert commits(written) == 2


def test_its_files_are_empty_and_for_their_owner_only(written: Engine, file: Path) -> None:
    here = Turns(file)
    for path in (Path(here.turn), Path(here.turnstile)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        assert path.stat().st_size == 0


def test_no_file_is_made_through_a_link(file: Path, written: Engine, tmp_path: Path) -> None:
    for name in ("-next", "-turn"):
        link = file.with_name(file.name + name)
        link.unlink(missing_ok=True)
        link.symlink_to(tmp_path / f"elsewhere{name}")
    with begin(written) as tx:
        tx.execute(text("UPDATE commits SET number = number + 1"))
    assert not list(tmp_path.glob("elsewhere*"))
