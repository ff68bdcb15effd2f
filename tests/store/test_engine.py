"""URLs, transactions and column types, on both databases."""

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import Connection, Engine, insert, select, text, update
from sqlalchemy.exc import DBAPIError, StatementError

from nftloyalty.domain.intent import SlotState
from nftloyalty.errors import BadInput, DatabaseProblem
from nftloyalty.store import chains, signers
from nftloyalty.store.columns import JsonText, OneOf, UtcDateTime, Wei
from nftloyalty.store.engine import address_of, begin, beside, open_engine, read
from nftloyalty.store.tables import chains as chains_table
from nftloyalty.store.tables import signers as signers_table
from tests.conftest import PostgreSQL
from tests.store.build import CHAIN_ID, GENESIS, MINTER, NOW, fresh_hash, prepared, run_together

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize(
    "url",
    ["postgres://u:secret@db/loyalty", "postgresql://u:secret@db/loyalty", "postgresql+psycopg://u:secret@db/loyalty"],
)
def test_every_way_to_write_postgresql_is_psycopg(url: str) -> None:
    engine = open_engine(url)
    assert engine.dialect.driver == "psycopg"
    assert address_of(engine) == "postgresql+psycopg://u:***@db/loyalty"


@pytest.mark.parametrize("url", ["postgres://u:secret@db/x", "postgresql://u@db/x?password=secret&application_name=a"])
def test_a_password_is_never_shown(url: str) -> None:
    engine = open_engine(url)
    shown = f"{engine!r} {engine.url!r} {engine.url} {address_of(engine)}"
    assert "secret" not in shown
    assert engine.url.password == "secret"


@pytest.mark.parametrize(
    "url",
    [
        "",
        "loyalty.db",
        "mysql://u:secret@db/x",
        "postgresql+psycopg2://u:secret@db/x",
        "postgresql://u:secret@db:port/x",
        "postgresql://u:pass@secret@db/x",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
    ],
)
def test_an_unfit_url_is_refused_without_being_repeated(url: str) -> None:
    with pytest.raises(BadInput) as caught:
        open_engine(url)
    (problem,) = caught.value.problems
    assert "sqlite:///" in problem.mend
    assert "secret" not in str(problem)
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


def test_a_new_file_and_its_folder_are_for_their_owner_only(tmp_path: Path) -> None:
    file = tmp_path / "house" / "loyalty.db"
    engine = open_engine(f"sqlite:///{file}")
    with begin(engine) as tx:
        tx.execute(text("CREATE TABLE t (a INTEGER)"))
        modes = [stat.S_IMODE(path.stat().st_mode) for path in (file, Path(f"{file}-wal"))]
    engine.dispose()
    assert modes == [0o600, 0o600]
    assert stat.S_IMODE(file.parent.stat().st_mode) == 0o700


def test_a_file_that_cannot_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(DatabaseProblem, match=r"file/loyalty\.db"):
        open_engine(f"sqlite:///{tmp_path}/file/loyalty.db")


def test_a_file_that_is_no_database_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.db"
    path.write_text("these are notes, and a database they are not" * 100)
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(DatabaseProblem, match="not a database"), begin(engine):
        pass
    engine.dispose()


@pytest.mark.filterwarnings(
    # psycopg leaves the connection that failed to the garbage collector.
    "ignore::pytest.PytestUnraisableExceptionWarning",
    "ignore::ResourceWarning",
)
def test_a_server_that_is_not_there_is_named_without_the_password(tmp_path: Path) -> None:
    engine = open_engine(f"postgresql://u:secret@/loyalty?host={tmp_path}")
    with pytest.raises(DatabaseProblem) as caught, begin(engine):
        pass
    assert "postgresql+psycopg://u:***@/loyalty" in str(caught.value)
    assert "secret" not in str(caught.value)
    assert caught.value.__suppress_context__


def test_sqlite_keeps_every_commit_and_checks_foreign_keys(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'loyalty.db'}")
    for opened in (begin, read):
        with opened(engine) as tx:
            found = {
                name: tx.exec_driver_sql(f"PRAGMA {name}").scalar_one()
                for name in ("journal_mode", "synchronous", "foreign_keys", "busy_timeout")
            }
        assert found == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
    engine.dispose()


def test_many_first_openers_at_once_all_get_in(tmp_path: Path) -> None:
    for number in range(5):
        engines = [open_engine(f"sqlite:///{tmp_path / f'{number}.db'}") for _ in range(8)]
        modes: list[str] = []

        def enter(engine: Engine, modes: list[str] = modes) -> None:
            with begin(engine) as tx:
                modes.append(tx.exec_driver_sql("PRAGMA journal_mode").scalar_one())

        run_together([lambda engine=engine: enter(engine) for engine in engines])  # type: ignore[misc]
        assert modes == ["wal"] * 8
        for engine in engines:
            engine.dispose()


def test_what_is_raised_inside_leaves_nothing(engine: Engine) -> None:
    with pytest.raises(RuntimeError, match="half-way"), begin(engine) as tx:
        prepared(tx)
        raise RuntimeError("half-way")
    with read(engine) as tx:
        assert tx.execute(select(chains_table)).all() == []


def test_a_killed_process_leaves_nothing_and_holds_nothing_up(engine: Engine) -> None:
    script = (
        "import os, signal, sys\n"
        "from nftloyalty.store.engine import begin, open_engine\n"
        "from tests.store.build import accepted, prepared, reserved\n"
        "with begin(open_engine(sys.argv[1])) as tx:\n"
        "    ground = prepared(tx)\n"
        "    reserved(tx, ground, accepted(tx, ground, range(5)))\n"
        "    os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    url = engine.url.render_as_string(hide_password=False)
    ended = subprocess.run([sys.executable, "-c", script, url], env=environment, cwd=ROOT, timeout=60)
    assert ended.returncode == -9
    with begin(engine) as tx:
        assert tx.execute(select(chains_table)).all() == []
        prepared(tx)


def test_a_read_transaction_cannot_write(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match=r"readonly|read-only"), read(engine) as tx:
        chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
    # The connection goes back to the pool and is fit for writing.
    with begin(engine) as tx:
        chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)


def test_a_read_transaction_sees_one_picture(engine: Engine) -> None:
    with read(engine) as before:
        assert before.execute(select(chains_table)).all() == []
        with begin(engine) as tx:
            chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
        assert before.execute(select(chains_table)).all() == []
    with read(engine) as after:
        assert len(after.execute(select(chains_table)).all()) == 1


def test_writers_take_turns(engine: Engine) -> None:
    """Read, then write what follows from it: on SQLite only BEGIN IMMEDIATE makes that safe, on PostgreSQL the lock."""
    with begin(engine) as tx:
        ground = prepared(tx)

    def count_up() -> None:
        for _ in range(10):
            with begin(engine) as tx:
                row = signers.hold(tx, ground.signer, ground.epoch)
                tx.execute(update(signers_table).values(next_nonce=(row.next_nonce or 0) + 1))

    run_together([count_up] * 6)
    with read(engine) as tx:
        assert signers.get(tx, ground.signer).next_nonce == 60


def test_errors_of_the_database_do_not_repeat_the_values(engine: Engine) -> None:
    with pytest.raises(DBAPIError) as caught, begin(engine) as tx:
        for _ in range(2):
            tx.execute(insert(chains_table).values(chain_id=1, genesis_hash="0xfeedbeef", first_seen_at=NOW))
    assert "SQL parameters hidden" in str(caught.value)


# ------------------------------------------------------------------------------------------------------------- trouble


def test_a_full_disk_is_told_at_the_statement_with_its_mend(tmp_path: Path, sqlite_template: Path) -> None:
    path = tmp_path / "loyalty.db"
    shutil.copyfile(sqlite_template, path)
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(DatabaseProblem, match="full") as told, begin(engine) as tx:
        pages = tx.exec_driver_sql("PRAGMA page_count").scalar_one()
        tx.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        for number in range(500):
            tx.execute(insert(chains_table).values(chain_id=number, genesis_hash="0x" + "a" * 64, first_seen_at=NOW))
    assert "make room on the disk" in told.value.mend
    with read(engine) as tx:
        assert tx.execute(select(chains_table)).all() == []
    engine.dispose()


def test_a_database_held_by_another_process_is_told(
    tmp_path: Path, sqlite_template: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "loyalty.db"
    shutil.copyfile(sqlite_template, path)
    monkeypatch.setattr("nftloyalty.store.engine.BUSY_SECONDS", 0.05)
    engine = open_engine(f"sqlite:///{path}")
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        with pytest.raises(DatabaseProblem, match="locked") as told, begin(engine):
            pass
    assert "the process that holds it" in told.value.mend
    engine.dispose()


def test_a_file_that_is_no_database_is_told(tmp_path: Path) -> None:
    path = tmp_path / "loyalty.db"
    path.write_bytes(b"not a database at all, but long enough to be looked at " * 100)
    engine = open_engine(f"sqlite:///{path}")
    with pytest.raises(DatabaseProblem) as told, read(engine) as tx:
        tx.execute(select(chains_table))
    assert "no database of ours" in told.value.mend


def test_a_connection_that_is_cut_is_told_and_the_next_one_works(
    postgresql: PostgreSQL, postgresql_template: str
) -> None:
    """At a statement, and at the commit."""
    name = postgresql.create(postgresql_template)
    engine = open_engine(postgresql.url(name))

    def cut(tx: Connection) -> None:
        pid = tx.exec_driver_sql("SELECT pg_backend_pid()").scalar_one()
        with psycopg.connect(postgresql.dsn, autocommit=True) as admin:
            admin.execute("SELECT pg_terminate_backend(%s)", (pid,))

    with pytest.raises(DatabaseProblem) as told, begin(engine) as tx:
        cut(tx)
        chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
    assert "run the same command again" in told.value.mend
    with pytest.raises(DatabaseProblem), begin(engine) as tx:
        chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
        cut(tx)
    with begin(engine) as tx:
        assert tx.execute(select(chains_table)).all() == []
    engine.dispose()
    postgresql.drop(name)


def test_postgresql_keeps_no_plan_for_a_table_that_has_grown_since(
    postgresql: PostgreSQL, postgresql_template: str
) -> None:
    """Measured with the intake: a plan of the first requests read every row for each one after two batches."""
    name = postgresql.create(postgresql_template)
    first = open_engine(postgresql.url(name))
    second = beside(first)
    for engine in (first, second):
        for way in (begin, read):
            with way(engine) as tx:
                assert tx.execute(text("SHOW plan_cache_mode")).scalar_one() == "force_custom_plan"
        engine.dispose()
    postgresql.drop(name)


def test_a_statement_that_is_wrong_is_a_fault_and_no_trouble_of_the_database(engine: Engine) -> None:
    with pytest.raises(DBAPIError), begin(engine) as tx:
        tx.execute(text("SELECT nothing FROM nowhere"))


# ------------------------------------------------------------------------------------------------------------- columns


def test_a_time_without_a_zone_is_refused(engine: Engine) -> None:
    with pytest.raises(StatementError, match="without a zone"), begin(engine) as tx:
        chains.known_chain(tx, CHAIN_ID, GENESIS, NOW.replace(tzinfo=None))


def test_a_time_comes_back_in_utc_whatever_its_zone(engine: Engine) -> None:
    warsaw = NOW.astimezone(timezone(timedelta(hours=2)))
    with begin(engine) as tx:
        tx.execute(insert(chains_table).values(chain_id=1, genesis_hash=GENESIS, first_seen_at=warsaw))
        found = tx.execute(select(chains_table.c.first_seen_at)).scalar_one()
    assert found == NOW
    assert found.tzinfo is UTC


def test_times_compare_as_times(engine: Engine) -> None:
    late = datetime(2026, 3, 1, 1, 0, tzinfo=timezone(timedelta(hours=-12)))  # 13:00 UTC
    whole = NOW.replace(microsecond=0)
    with begin(engine) as tx:
        for moment in (late, NOW, whole):
            tx.execute(insert(chains_table).values(chain_id=1, genesis_hash=fresh_hash(), first_seen_at=moment))
        seen = chains_table.c.first_seen_at
        assert list(tx.execute(select(seen).order_by(seen)).scalars()) == [whole, NOW, late]
        assert list(tx.execute(select(seen).where(seen > NOW)).scalars()) == [late]


@pytest.mark.parametrize("amount", [0, 1, 2**63, 2**256 - 1])
def test_an_amount_of_any_size_comes_back(engine: Engine, amount: int) -> None:
    with begin(engine) as tx:
        column = text("SELECT :amount AS amount").bindparams(amount=Wei().process_bind_param(amount, engine.dialect))
        assert tx.execute(column.columns(amount=Wei())).scalar_one() == amount


@pytest.mark.parametrize("amount", [-1, 2**256])
def test_what_is_no_amount_is_refused(engine: Engine, amount: int) -> None:
    with pytest.raises(ValueError, match="no amount of wei"):
        Wei().process_bind_param(amount, engine.dialect)


def test_equal_values_are_equal_texts(engine: Engine) -> None:
    column = JsonText()
    assert column.process_bind_param({"b": 1, "a": "zażółć"}, engine.dialect) == '{"a":"zażółć","b":1}'
    with pytest.raises(ValueError, match="JSON compliant"):
        column.process_bind_param(float("nan"), engine.dialect)


def test_a_word_outside_the_list_is_refused(engine: Engine) -> None:
    column = OneOf(SlotState)
    assert column.process_bind_param(SlotState.SIGNED, engine.dialect) == "signed"
    for turn in (column.process_bind_param, column.process_result_value):
        with pytest.raises(ValueError, match="sent"):
            turn("sent", engine.dialect)  # type: ignore[arg-type]


def test_nothing_stays_nothing(engine: Engine) -> None:
    for column in (UtcDateTime(), Wei(), JsonText(), OneOf(SlotState)):
        assert column.process_bind_param(None, engine.dialect) is None
        assert column.process_result_value(None, engine.dialect) is None


def test_a_row_may_not_point_nowhere(engine: Engine) -> None:
    with pytest.raises(DBAPIError, match=r"FOREIGN KEY|foreign key"), begin(engine) as tx:
        signers.register(tx, 12345, MINTER)
