"""The schema and its migrations: nothing differs from the tables, and older data survives."""

import ast
import shutil
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import CheckConstraint, Connection, Engine, MetaData, inspect, text
from sqlalchemy.exc import IntegrityError

from nftloyalty.domain.intent import IntentState
from nftloyalty.errors import ProgramProblem
from nftloyalty.store import announcements, api_keys, events, index, intents, programs, signers, slots, vouchers
from nftloyalty.store import engine as engine_module
from nftloyalty.store.engine import begin, check_schema, open_engine, prepare, read, upgrade
from nftloyalty.store.tables import metadata
from tests.store.build import (
    NOW,
    Ground,
    accepted,
    announced,
    everything,
    include,
    indexed,
    prepared,
    program,
    run_together,
    sent,
    signed,
)
from tests.store.happenings import claim as claim_deliveries
from tests.store.happenings import endpoint, happen, went
from tests.store.happenings import settle as settle_deliveries

MIGRATIONS = Path(engine_module.__file__).parent / "migrations"

# A later migration that makes SQLite copy a table that others point at.
NEXT = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    with op.batch_alter_table("slots") as table:
        table.alter_column("gas_limit", type_=sa.Numeric, existing_type=sa.BigInteger, existing_nullable=False)
        table.add_column(sa.Column("note", sa.Text))
"""


@pytest.fixture
def empty(engine_url: str) -> Iterator[Engine]:
    engine = open_engine(engine_url)
    yield engine
    engine.dispose()


@pytest.fixture
def later(tmp_path: Path) -> Path:
    """The migrations of a program that is one revision newer."""
    folder = tmp_path / "100% newer" / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    (folder / "versions" / "v9999_later.py").write_text(NEXT.format(newest=engine_module._newest()))
    return folder


def found_differences(engine: Engine) -> list[object]:
    with read(engine) as tx:
        context = MigrationContext.configure(tx, opts={"compare_type": True, "compare_server_default": True})
        return list(compare_metadata(context, metadata))


def test_migrations_make_exactly_the_tables(empty: Engine) -> None:
    upgrade(empty)
    assert found_differences(empty) == []
    check_schema(empty)


def test_migrations_make_the_checks_too(empty: Engine) -> None:
    """What the comparison leaves out."""
    upgrade(empty)
    inspector = inspect(empty)
    for table in metadata.sorted_tables:
        wanted = {
            str(check.name): str(check.sqltext) for check in table.constraints if isinstance(check, CheckConstraint)
        }
        found = {str(check["name"]): check["sqltext"] for check in inspector.get_check_constraints(table.name)}
        # PostgreSQL words the condition its own way.
        assert found == wanted if empty.dialect.name == "sqlite" else found.keys() == wanted.keys()


def test_upgrading_twice_changes_nothing(empty: Engine) -> None:
    upgrade(empty)
    with begin(empty) as tx:
        sent(tx, ground := prepared(tx), accepted(tx, ground, range(3)))
        indexed(tx, ground)
        before = everything(tx)
    upgrade(empty)
    with read(empty) as tx:
        assert everything(tx) == before


def test_processes_that_upgrade_at_once_take_turns(engine_url: str) -> None:
    engines = [open_engine(engine_url) for _ in range(4)]
    run_together([lambda engine=engine: upgrade(engine) for engine in engines])  # type: ignore[misc]
    check_schema(engines[0])
    for engine in engines:
        engine.dispose()


def test_an_older_schema_with_data_is_upgraded(empty: Engine, later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(empty)
    with begin(empty) as tx:
        ground = prepared(tx)
        slot, attempt = sent(tx, ground, accepted(tx, ground, range(3)))
        indexed(tx, ground)
        announced(tx, ground)
        endpoint(tx, ground.program)
        happen(tx, ground.program, "m:1")
        claimed = claim_deliveries(tx, ground.program)
        settle_deliveries(tx, *(went(each) for each in claimed))
        before = everything(tx)
        assert {name for name, rows in before.items() if not rows} == {"answers", "api_keys", "batches", "vouchers"}
    monkeypatch.setattr(engine_module, "_MIGRATIONS", later)
    with pytest.raises(ProgramProblem, match="older version") as caught:
        check_schema(empty)
    assert "nftloyalty upgrade" in caught.value.mend
    upgrade(empty)
    check_schema(empty)
    with begin(empty) as tx:
        assert everything(tx) == before
        assert tx.execute(text("SELECT note FROM slots")).scalars().all() == [None]
        # The copied table is still the one that the others point at.
        with pytest.raises(IntegrityError), tx.begin_nested():
            tx.execute(text("UPDATE intents SET slot = 777"))
        include(tx, ground, slot.id, attempt)


FIRST_ROWS = (
    "INSERT INTO chains (id, chain_id, genesis_hash, first_seen_at) VALUES (1, 31337, '0xa1', :now)",
    "INSERT INTO signers (id, chain, address, next_nonce, lease_epoch) VALUES (1, 1, '0x5B', 0, 0)",
    "INSERT INTO intents (public_id, chain, signer, kind, stamp_type, recipient, args, request_key, state,"
    " created_at, updated_at) VALUES ('int_1', 1, 1, 'call', 0, '0x11', '{}', 'a', 'received', :now, :now)",
)


def test_data_of_the_first_schema_is_upgraded(empty: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Written by the statements of then, for the functions of now know columns that were not there."""
    first = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, first, ignore=shutil.ignore_patterns("__pycache__", "v000[2-9]*"))
    with monkeypatch.context() as patched:
        patched.setattr(engine_module, "_MIGRATIONS", first)
        upgrade(empty)
        with begin(empty) as tx:
            for statement in FIRST_ROWS:
                tx.execute(text(statement), {"now": "2026-11-22 12:00:00+00:00"})
    upgrade(empty)
    assert found_differences(empty) == []
    with begin(empty) as tx:
        row = intents.get(tx, "int_1")
        assert (row.request_key, row.state, row.reverts) == ("a", IntentState.RECEIVED, 0)
        epoch = signers.take_lease(tx, row.signer, "me", NOW, 60, lambda owner: True)
        sent(tx, Ground(row.chain, 0, row.signer, epoch), [row])


def test_data_of_the_schema_before_the_index_is_upgraded(
    empty: Engine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, before, ignore=shutil.ignore_patterns("__pycache__", "v000[3-9]*"))
    with monkeypatch.context() as patched:
        patched.setattr(engine_module, "_MIGRATIONS", before)
        upgrade(empty)
    with begin(empty) as tx:
        ground = old_books(tx)
    upgrade(empty)
    assert found_differences(empty) == []
    with begin(empty) as tx:
        assert slots.get(tx, 1).nonce == 7
        assert signers.get(tx, ground.signer).waits_for is None
        assert index.positions_of(tx, ground.chain) == []
        indexed(tx, ground)
        assert [at.program for at in index.positions_of(tx, ground.chain)] == [ground.program]


def old_books(tx: Connection) -> Ground:
    """A row in each of the first tables, written past all of today's code."""
    address, word, now = "0x" + "a1" * 20, "0x" + "b2" * 32, NOW.replace(tzinfo=None)
    rows: dict[str, dict[str, object]] = {
        "chains": {"id": 1, "chain_id": 31337, "genesis_hash": word, "first_seen_at": now},
        "programs": {
            "id": 1,
            "chain": 1,
            "slug": "bean",
            "opener": address,
            "salt": word,
            "name": "Bean",
            "factory": address,
            "membership": address,
            "stamps": address,
            "terms": "{}",
            "state": "open",
            "created_at": now,
        },
        "signers": {"id": 1, "chain": 1, "address": address, "next_nonce": 8, "lease_epoch": 1},
        "slots": {
            "id": 1,
            "signer": 1,
            "nonce": 7,
            "kind": "call",
            "calldata": b"",
            "value": "0",
            "gas_limit": 21_000,
            "state": "broadcasting",
            "epoch": 1,
            "created_at": now,
            "updated_at": now,
        },
    }
    old = MetaData()
    old.reflect(tx, only=list(rows))
    for name, row in rows.items():
        tx.execute(old.tables[name].insert(), row)
    return Ground(chain=1, program=1, signer=1, epoch=1)


def test_an_upgrade_that_fails_changes_nothing(empty: Engine, later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(empty)
    with (later / "versions" / "v9999_later.py").open("a") as migration:
        migration.write('    op.drop_table("no_such_table")\n')
    with monkeypatch.context() as patched:
        patched.setattr(engine_module, "_MIGRATIONS", later)
        with pytest.raises(Exception, match="no_such_table"):
            upgrade(empty)
    check_schema(empty)
    assert found_differences(empty) == []


def test_a_database_of_a_newer_version_is_refused(empty: Engine, later: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patched:
        patched.setattr(engine_module, "_MIGRATIONS", later)
        upgrade(empty)
    for refuse in (check_schema, upgrade, prepare):
        with pytest.raises(ProgramProblem, match="newer version of nftloyalty") as caught:
            refuse(empty)
        assert "newer" in caught.value.mend


def test_a_database_without_tables_is_said_to_be_so(empty: Engine) -> None:
    with pytest.raises(ProgramProblem, match="no tables yet"):
        check_schema(empty)


def test_prepare_makes_a_new_database_ready(empty: Engine) -> None:
    prepare(empty)
    check_schema(empty)
    prepare(empty)


def test_prepare_upgrades_an_embedded_database_and_leaves_a_shared_one_alone(
    empty: Engine, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    prepare(empty)
    monkeypatch.setattr(engine_module, "_MIGRATIONS", later)
    if empty.dialect.name == "sqlite":
        prepare(empty)
        check_schema(empty)
    else:
        with pytest.raises(ProgramProblem, match="older version"):
            prepare(empty)
        assert found_differences(empty) == []


def test_foreign_keys_are_checked_again_after_an_upgrade(tmp_path: Path) -> None:
    engine = open_engine(f"sqlite:///{tmp_path / 'loyalty.db'}")
    upgrade(engine)
    with begin(engine) as tx:
        assert tx.exec_driver_sql("PRAGMA foreign_keys").scalar_one() == 1
    engine.dispose()


def test_migrations_import_nothing_that_may_change_later() -> None:
    for path in sorted((MIGRATIONS / "versions").glob("*.py")):
        imported = {
            name
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8")))
            if isinstance(node, ast.Import | ast.ImportFrom)
            for name in (
                [node.module or ""] if isinstance(node, ast.ImportFrom) else [each.name for each in node.names]
            )
        }
        assert imported <= {"sqlalchemy", "alembic"}, path


def test_rows_have_the_columns_of_their_tables_in_order() -> None:
    """Rows are made from columns by place."""
    for table, row in {
        "intents": intents.IntentRow,
        "slots": slots.SlotRow,
        "attempts": slots.AttemptRow,
        "programs": programs.ProgramRow,
        "signers": signers.SignerRow,
        "vouchers": vouchers.VoucherRow,
        "api_keys": api_keys.KeyRow,
        "positions": index.PositionRow,
        "events": events.EventRow,
        "announcements": announcements.AnnouncementRow,
    }.items():
        assert [field.name for field in fields(row)] == list(metadata.tables[table].columns.keys())


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE intents SET state = 'sent'",
        "UPDATE intents SET slot = NULL",
        "UPDATE intents SET state = 'received'",
        "UPDATE intents SET state = 'final'",
        "UPDATE slots SET state = 'included'",
        "UPDATE slots SET tx_hash = '0x01'",
        "UPDATE slots SET nonce = 0",
        "UPDATE attempts SET seq = 0",
        "UPDATE attempts SET tx_hash = '0x01'",
        "UPDATE intents SET request_key = 'same'",
        "UPDATE intents SET public_id = 'same'",
        "UPDATE programs SET state = 'closed'",
        "UPDATE programs SET slug = 'same'",
        "UPDATE positions SET final_number = number + 1",
        "UPDATE positions SET program = 777",
        "UPDATE logs SET log_index = 0",
        "DELETE FROM programs",
        "DELETE FROM chains",
    ],
)
def test_the_database_itself_refuses_what_may_not_be(engine: Engine, damage: str) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        program(tx, ground.chain, "tea")
        for number in (1, 2):
            slot, _ = sent(tx, ground, accepted(tx, ground, [number]))
            signed(tx, ground, slot.id)
        indexed(tx, ground)
    with pytest.raises(IntegrityError), begin(engine) as tx:
        tx.execute(text(damage))
