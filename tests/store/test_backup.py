"""A backup holds every value as it is, goes back into either kind of database, and is refused if anything is wrong."""

import gzip
import hashlib
import io
import json
import shutil
import sqlite3
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest
from sqlalchemy import Connection, Engine, MetaData, Table, insert, inspect, select, text

from nftloyalty.domain.access import KeyKind
from nftloyalty.domain.answer import Said, answer_key
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.mint import Reply
from nftloyalty.errors import BadInput, ProgramProblem, SignerBusy
from nftloyalty.store import answers, api_keys, backup, batches, intents, programs, sending, signers, vouchers
from nftloyalty.store import engine as engine_module
from nftloyalty.store.api_keys import NewKey
from nftloyalty.store.backup_file import Contents, Form, is_backup
from nftloyalty.store.batches import BatchItem, NewBatch
from nftloyalty.store.engine import begin, check_schema, open_engine, read, upgrade
from nftloyalty.store.intents import NewIntent
from nftloyalty.store.sending import NewAttempt
from nftloyalty.store.tables import VoucherKind, metadata
from nftloyalty.store.vouchers import NewVoucher
from tests.conftest import ENGINES, ROOT, PostgreSQL
from tests.store.build import NOW, accepted, announced, prepared, reserved, sent, signed, wallet
from tests.store.happenings import claim as claim_deliveries
from tests.store.happenings import endpoint, happen, went
from tests.store.happenings import settle as settle_deliveries

NewDatabase = Callable[[str], Engine]
MIGRATIONS = Path(engine_module.__file__).parent / "migrations"


@pytest.fixture
def new_database(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[NewDatabase]:
    """Makes an empty database without tables, of the kind asked for."""
    with ExitStack() as stack:

        def making(kind: str) -> Engine:
            if kind == "sqlite":
                url = f"sqlite:///{tmp_path / uuid4().hex}.db"
            else:
                server: PostgreSQL = request.getfixturevalue("postgresql")
                name = server.create()
                stack.callback(server.drop, name)
                url = server.url(name)
            engine = open_engine(url)
            stack.callback(engine.dispose)
            return engine

        yield making


def nothing(done: int, total: int) -> None:
    """Progress that nobody looks at."""


def written(engine: Engine, made_at: datetime = NOW) -> bytes:
    file = io.BytesIO()
    with read(engine) as tx:
        backup.write(tx, file, "1.2.3", made_at, nothing)
    return file.getvalue()


def put_back(engine: Engine, content: bytes) -> Contents:
    backup.check(io.BytesIO(content), "file", nothing)
    with begin(engine) as tx:
        return backup.load(tx, io.BytesIO(content), "file", nothing)


def filled(engine: Engine) -> None:
    """Rows in every table, with the values that are easy to get wrong."""
    upgrade(engine)
    with begin(engine) as tx:
        ground = prepared(tx, nonce=2**62)
        programs.add_opening(
            tx,
            ground.chain,
            "tea",
            opener=wallet(1),
            salt="0x" + "00" * 32,
            name="Łódź 茶 \u2028\n\t\"\\' 🫖",
            factory=wallet(2),
            membership=wallet(3),
            stamps=wallet(4),
            terms={"nested": [1, None, {"ż": 2**60}], "empty": {}},
            now=NOW.replace(microsecond=0),
        )
        sent(tx, ground, accepted(tx, ground, range(3)))
        slot = reserved(tx, ground, accepted(tx, ground, [7]), calldata=bytes(range(256)) * 40)
        signed(tx, ground, slot.id, noop=True)
        dearest = NewAttempt(slot.id, b"", "0x" + "ee" * 32, max_fee_wei=2**256 - 1, priority_fee_wei=0)
        sending.store_attempts(tx, ground.signer, ground.epoch, [dearest], NOW + timedelta(days=9_000))
        accepted(tx, ground, [8], program=None, kind=Kind.DEPLOY, recipient=None)
        voucher = NewVoucher(
            "vou_1", ground.program, VoucherKind.CARD, wallet(9), {"tier": 2}, wallet(5), "0x" + "9" * 130
        )
        vouchers.add(tx, voucher, NOW)
        page, secret_hash = KeyKind.PUBLISHABLE, bytes(range(224, 256))
        made = NewKey("pk1", ground.program, "Café", page, secret_hash, ["checks:read"], ["https://é"], NOW)
        api_keys.add(tx, made, NOW)
        key = answer_key("POST /v1/mints", "~" * 255, {"ż": 1}, kept=True)
        answers.add(tx, ground.program, [(key, Said(202, '{"name":"茶"}'))], NOW)
        answers.hold(tx, ground.program, replace(key, key="held", kept=False), NOW, 60)
        items = [BatchItem(Reply.ACCEPTED, 1), BatchItem(Reply.ASKED_OTHERWISE, 2**63)]
        batches.add(tx, NewBatch("bat_1", ground.program, Kind.MINT_CARD, 0, items), NOW)
        announced(tx, ground)
        endpoint(tx, ground.program, secret=bytes(range(256)))
        happen(tx, ground.program, "m:1", "m:1", "m:2")
        settle_deliveries(tx, *(went(each, status=503) for each in claim_deliveries(tx, ground.program, limit=1)))


def all_rows(tx: Connection) -> dict[str, list[dict[str, Any]]]:
    """Every value of every table, but for the leases, which are nobody's after a restore."""
    found = {}
    for table in metadata.sorted_tables:
        columns = [column for column in table.columns if not column.name.startswith("lease_")]
        rows = tx.execute(select(*columns).order_by(*table.primary_key)).mappings()
        found[table.name] = [dict(row) for row in rows]
    return found


def raw_rows(tx: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """As the driver tells them, past every column type of ours: what the bytes of one kind of database are."""
    found = {}
    for table in metadata.sorted_tables:
        names = ", ".join(column.name for column in table.columns if not column.name.startswith("lease_"))
        order = ", ".join(column.name for column in table.primary_key)
        found[table.name] = [
            tuple(row)
            for row in tx.exec_driver_sql(f"SELECT {names} FROM {table.name} ORDER BY {order}")  # noqa: S608
        ]
    return found


def lines(content: bytes) -> list[Any]:
    return [json.loads(line) for line in gzip.decompress(content).splitlines()]


def packed(values: list[Any], *, trailer: bool = True) -> bytes:
    """A file of these lines, with a trailer that fits them."""
    body = b"".join(json.dumps(value, ensure_ascii=False).encode() + b"\n" for value in values)
    if trailer:
        end = {"rows": len(values) - 1, "sha256": hashlib.sha256(body).hexdigest()}
        body += json.dumps(end).encode() + b"\n"
    return gzip.compress(body)


# ----------------------------------------------------------------------------------------------------------- round trip


@pytest.mark.parametrize("source", ENGINES)
@pytest.mark.parametrize("target", ENGINES)
def test_every_value_comes_back_in_either_kind_of_database(new_database: NewDatabase, source: str, target: str) -> None:
    old, new = new_database(source), new_database(target)
    filled(old)
    contents = put_back(new, written(old))
    with read(old) as before, read(new) as after:
        assert all_rows(after) == all_rows(before)
        if source == target:
            assert raw_rows(after) == raw_rows(before)
        assert contents.rows == sum(len(rows) for rows in all_rows(before).values()) > 0
        assert all(rows for table, rows in all_rows(before).items() if table not in backup.DERIVED)
    assert (contents.version, contents.made_at) == ("1.2.3", NOW)
    check_schema(new)


def test_equal_books_make_equal_files_whatever_keeps_them(new_database: NewDatabase) -> None:
    first = new_database("sqlite")
    filled(first)
    put_back(shared := new_database("postgresql"), written(first))
    put_back(again := new_database("sqlite"), written(first))
    assert written(shared) == written(again)
    assert written(again) == written(again)


@pytest.mark.parametrize("kind", ENGINES)
def test_work_goes_on_with_further_numbers(new_database: NewDatabase, kind: str) -> None:
    old, new = new_database("sqlite"), new_database(kind)
    filled(old)
    put_back(new, written(old))
    with begin(new) as tx:
        last = max(row["id"] for row in all_rows(tx)["intents"])
        chain, program = (all_rows(tx)[table][0]["id"] for table in ("chains", "programs"))
        signer = signers.register(tx, chain, wallet(77)).id
        new_row, created = intents.accept(
            tx, NewIntent("int_further", chain, program, signer, Kind.MINT_CARD, 0, wallet(99), {}, "further"), NOW
        )
        assert (created, new_row.id) == (True, last + 1)
        told = [row["id"] for row in all_rows(tx)["events"]]
        intents.cancel(tx, [new_row.id], NOW)
        assert [row["id"] for row in all_rows(tx)["events"]] == [*told, max(told) + 1]


@pytest.mark.parametrize("kind", ENGINES)
def test_an_empty_database_is_a_backup_too(new_database: NewDatabase, kind: str) -> None:
    old, new = new_database(kind), new_database(kind)
    upgrade(old)
    assert put_back(new, written(old)).rows == 0
    check_schema(new)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_database_with_tables_and_no_rows_takes_a_backup(new_database: NewDatabase, kind: str) -> None:
    old, new = new_database(kind), new_database(kind)
    filled(old)
    upgrade(new)
    put_back(new, written(old))
    with read(old) as before, read(new) as after:
        assert all_rows(after) == all_rows(before)


def test_every_column_has_a_form() -> None:
    """A column of a type that a backup can't hold is found here, and not when a database is lost."""
    shapes = {shape.table.name: shape for shape in backup._shapes(str(engine_module._newest()))}
    assert shapes.keys() == metadata.tables.keys()
    for table in metadata.tables.values():
        assert list(shapes[table.name].columns) == list(table.columns.keys())
    assert {form for shape in shapes.values() for form in shape.columns.values()} == set(Form)


def test_nothing_that_is_kept_points_at_what_is_left_out() -> None:
    assert metadata.tables.keys() >= backup.DERIVED
    for table in metadata.tables.values():
        if table.name not in backup.DERIVED:
            # Nor at itself: rows come in the order of their keys, and PostgreSQL looks at each at once.
            assert not {key.column.table.name for key in table.foreign_keys} & (backup.DERIVED | {table.name})


@pytest.mark.parametrize("kind", ENGINES)
def test_what_the_chain_can_tell_again_is_left_out(
    new_database: NewDatabase, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backup, "DERIVED", backup.DERIVED | {"vouchers"})
    old, new = new_database(kind), new_database(kind)
    filled(old)
    content = written(old)
    assert "vouchers" not in {table["name"] for table in lines(content)[0]["tables"]}
    put_back(new, content)
    with read(old) as before, read(new) as after:
        assert all_rows(after) == all_rows(before) | {"vouchers": []}


def test_what_was_not_left_out_once_is_taken_in(new_database: NewDatabase, monkeypatch: pytest.MonkeyPatch) -> None:
    old, new = new_database("sqlite"), new_database("sqlite")
    filled(old)
    content = written(old)
    monkeypatch.setattr(backup, "DERIVED", backup.DERIVED | {"vouchers"})
    put_back(new, content)
    with read(new) as after:
        assert len(all_rows(after)["vouchers"]) == 1


# --------------------------------------------------------------------------------------------------------------- leases


@pytest.mark.parametrize("kind", ENGINES)
def test_nobody_holds_a_lease_after_a_restore(new_database: NewDatabase, kind: str) -> None:
    """Neither a process that is gone, which would be waited for, nor one that lived through it."""
    old, new = new_database(kind), new_database(kind)
    filled(old)
    with read(old) as tx:
        row = next(iter(tx.execute(select(metadata.tables["signers"])).mappings()))
        signer, epoch = row["id"], row["lease_epoch"]
        assert row["lease_owner"] == "me"
    put_back(new, written(old))
    with begin(new) as tx:
        with pytest.raises(SignerBusy, match="was lost"):
            signers.renew_lease(tx, signer, "me", epoch, NOW, 60)
        with pytest.raises(SignerBusy, match="was lost"):
            signers.take_nonces(tx, signer, epoch, 1)
        # The lost copy may have given out thousands since.
        assert signers.take_lease(tx, signer, "another", NOW, 60, lambda owner: True) > epoch + 100_000


# --------------------------------------------------------------------------------------------------------- older, newer


@pytest.fixture
def migrations(tmp_path: Path) -> Path:
    """The migrations, to be changed."""
    folder = tmp_path / "migrations"
    shutil.copytree(MIGRATIONS, folder, ignore=shutil.ignore_patterns("__pycache__"))
    return folder


LATER = """
import sqlalchemy as sa
from alembic import op

revision = "9999"
down_revision = "{newest}"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "notes",
        sa.Column("slot", sa.BigInteger, sa.ForeignKey("slots.id"), primary_key=True),
        sa.Column("place", sa.Integer, primary_key=True),
        sa.Column("words", sa.Text),
    )
    with op.batch_alter_table("slots") as table:
        table.alter_column("gas_limit", type_=sa.Integer, existing_type=sa.BigInteger, existing_nullable=False)
"""


@pytest.fixture
def later(migrations: Path) -> Path:
    """The migrations of a version that is one revision newer, with a table of composite keys and one that is copied."""
    (migrations / "versions" / "v9999_later.py").write_text(LATER.format(newest=engine_module._newest()))
    return migrations


def reflected(tx: Connection, name: str) -> Table:
    return Table(name, MetaData(), autoload_with=tx)


@pytest.mark.parametrize("kind", ENGINES)
def test_an_older_backup_is_put_back_and_then_upgraded(
    new_database: NewDatabase, kind: str, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new, used = new_database(kind), new_database(kind), new_database(kind)
    filled(old)
    content = written(old)
    monkeypatch.setattr(engine_module, "_MIGRATIONS", later)
    upgrade(used)  # a newer schema than the file's, and no rows
    for engine in (new, used):
        assert put_back(engine, content).schema != "9999"
        with read(old) as before, read(engine) as after:
            assert all_rows(after) == all_rows(before)
        upgrade(engine)
        check_schema(engine)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_database_is_backed_up_before_it_is_upgraded(
    new_database: NewDatabase, kind: str, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the version that will upgrade it: nothing is changed, and the older version can take the file back."""
    old, new = new_database(kind), new_database(kind)
    filled(old)
    before = written(old)
    with monkeypatch.context() as newer:
        newer.setattr(engine_module, "_MIGRATIONS", later)
        assert written(old) == before
    put_back(new, before)
    check_schema(new)


@pytest.mark.parametrize("kind", ENGINES)
def test_tables_of_any_keys_come_back(
    new_database: NewDatabase, kind: str, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(engine_module, "_MIGRATIONS", later)
    old, new = new_database("postgresql"), new_database(kind)
    filled(old)
    with begin(old) as tx:
        notes = reflected(tx, "notes")
        slot = all_rows(tx)["slots"][0]["id"]
        tx.execute(insert(notes), [{"slot": slot, "place": place, "words": str(place)} for place in range(600)])
        wanted = tx.execute(select(notes).order_by(notes.c.place)).all()
    put_back(new, written(old))
    with read(new) as tx:
        assert tx.execute(select(reflected(tx, "notes")).order_by(text("place"))).all() == wanted


@pytest.mark.parametrize("kind", ENGINES)
def test_a_backup_of_a_newer_version_is_refused(
    new_database: NewDatabase, kind: str, later: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old, new = new_database(kind), new_database(kind)
    with monkeypatch.context() as newer:
        newer.setattr(engine_module, "_MIGRATIONS", later)
        filled(old)
        content = written(old)
    with pytest.raises(BadInput) as told:
        put_back(new, content)
    assert str(told.value.problems[0]).startswith(
        "line 1: was made by a newer version of nftloyalty (1.2.3, schema 9999)"
    )
    with pytest.raises(ProgramProblem, match="newer version"):
        written(old)


# ------------------------------------------------------------------------------------------------------------- refusals


def damages() -> list[tuple[str, Callable[[bytes], bytes], str]]:
    def flipped(content: bytes) -> bytes:
        middle = len(content) // 2
        return content[:middle] + bytes([content[middle] ^ 1]) + content[middle + 1 :]

    def value(content: bytes) -> bytes:
        body = gzip.decompress(content)
        assert b"mint-card" in body
        return gzip.compress(body.replace(b'"received"', b'"rejected"', 1))

    def lost_row(content: bytes) -> bytes:
        body = gzip.decompress(content).splitlines(keepends=True)
        return gzip.compress(b"".join(body[:3] + body[4:]))

    def further(content: bytes) -> bytes:
        return gzip.compress(gzip.decompress(content) + b"[]\n")

    def header(**changes: Any) -> Callable[[bytes], bytes]:
        return lambda content: packed([lines(content)[0] | changes, *lines(content)[1:-1]])

    def row(place: int, wrong: Any) -> Callable[[bytes], bytes]:
        def changed(content: bytes) -> bytes:
            found = lines(content)[:-1]
            found[1][place] = wrong
            return packed(found)

        return changed

    return [
        ("empty", lambda content: b"", "line 1: is missing: the file ends here"),
        ("half", lambda content: content[: len(content) // 2], "the file ends here"),
        ("without its last byte", lambda content: content[:-1], "the file ends here"),
        ("without its trailer", lambda content: packed(lines(content)[:-1], trailer=False), "is missing"),
        ("only a header", lambda content: packed(lines(content)[:1], trailer=False), "is missing"),
        ("a bit", flipped, ""),
        ("a value", value, "does not fit the lines before it"),
        ("a row lost", lost_row, ""),
        ("a row more", further, "is followed by more"),
        ("a file after it", lambda content: content + content, "is followed by more"),
        ("text", lambda content: b"address,tier,expiry\n", "line 1: is not a backup of nftloyalty"),
        ("another gzip", lambda content: gzip.compress(b"\x00" * 99), "line 1: is not"),
        ("another JSON", lambda content: packed([{"a": 1}]), "line 1: is not a backup of nftloyalty"),
        ("a list", lambda content: packed([[1]]), "line 1: is not a backup of nftloyalty"),
        ("deep", lambda content: gzip.compress(b"[" * 200_000 + b"\n"), "line 1: is not a backup"),
        ("of a newer format", header(nftloyalty_backup=2), "line 1: was made by a newer version"),
        ("of another schema", header(schema="0001"), "line 1: names other tables and columns"),
        ("of no tables", header(tables=[]), "line 1: names other tables and columns"),
        ("of wrong tables", header(tables=[1]), "line 1: is no header of a backup"),
        ("of no time", header(made_at="2026-03-01T12:00:00"), "line 1: is no header of a backup"),
        ("a number for a text", row(2, 7), "line 2: holds a value"),
        ("a text for a number", row(1, "7"), "line 2: holds a value"),
        ("yes for a number", row(1, True), "line 2: holds a value"),
        ("no time", row(3, "yesterday"), "line 2: holds a value"),
    ]


@pytest.mark.parametrize(
    ("damage", "said"), [(each[1], each[2]) for each in damages()], ids=[each[0] for each in damages()]
)
def test_a_file_that_is_not_whole_is_refused(
    new_database: NewDatabase, damage: Callable[[bytes], bytes], said: str
) -> None:
    old = new_database("sqlite")
    filled(old)
    content = damage(written(old))
    with pytest.raises(BadInput) as told:
        backup.check(io.BytesIO(content), "file", nothing)
    (problem,) = told.value.problems
    assert said in str(problem)
    assert problem.mend


def test_a_deep_line_ends_no_process_in_which_the_embedded_chain_lives() -> None:
    """Which raises Python's own limit for this beyond what the stack holds."""
    limit = sys.getrecursionlimit()
    sys.setrecursionlimit(100_000)
    try:
        for line in (b"[" * 200_000 + b"\n", b"[" * 99_000 + b"]" * 99_000 + b"\n"):
            assert not is_backup(io.BytesIO(gzip.compress(line)))
    finally:
        sys.setrecursionlimit(limit)


def test_a_text_may_hold_any_number_of_brackets(new_database: NewDatabase) -> None:
    old, new = new_database("sqlite"), new_database("sqlite")
    filled(old)
    said = '[{"\\' * 1_000
    with begin(old) as tx:
        tx.execute(text("UPDATE attempts SET last_error = :said"), {"said": said})
    put_back(new, written(old))
    with read(new) as tx:
        assert {row["last_error"] for row in all_rows(tx)["attempts"]} == {said}


def test_no_cut_of_a_file_is_taken_for_whole(new_database: NewDatabase) -> None:
    old = new_database("sqlite")
    filled(old)
    content = written(old)
    for length in range(0, len(content), 41):
        with pytest.raises(BadInput):
            backup.check(io.BytesIO(content[:length]), "file", nothing)


@pytest.mark.parametrize("kind", ENGINES)
def test_a_file_that_changes_between_check_and_restore_changes_nothing(new_database: NewDatabase, kind: str) -> None:
    old, new = new_database(kind), new_database(kind)
    filled(old)
    content = written(old)
    body = gzip.decompress(content).replace(b'"received"', b'"rejected"', 1)
    with pytest.raises(BadInput), begin(new) as tx:
        backup.load(tx, io.BytesIO(gzip.compress(body)), "file", nothing)
    with read(new) as tx:
        assert inspect(tx).get_table_names() == []


@pytest.mark.parametrize("kind", ENGINES)
@pytest.mark.parametrize(
    ("damage", "table"),
    [
        ("DELETE FROM attempts; DELETE FROM slots", "intents"),
        ("UPDATE attempts SET last_error = 'a' || char(0)", "attempts"),
    ],
)
def test_rows_that_do_not_fit_are_refused(new_database: NewDatabase, kind: str, damage: str, table: str) -> None:
    """Of a database that somebody has worked on by hand, past its foreign keys; or with what only SQLite can hold."""
    old, new = new_database("sqlite"), new_database(kind)
    filled(old)
    old.dispose()
    with sqlite3.connect(str(old.url.database)) as by_hand:
        by_hand.executescript(damage)
    by_hand.close()
    content = written(old)
    if table == "attempts" and kind == "sqlite":
        assert put_back(new, content).rows > 0
        return
    with pytest.raises(BadInput) as told:
        put_back(new, content)
    (problem,) = told.value.problems
    assert problem.place == f"a row of {table}"
    assert "is not taken by the database: " in problem.what
    assert "DETAIL" not in problem.what
    assert "older backup" in problem.mend
    with read(new) as tx:
        assert inspect(tx).get_table_names() == []


@pytest.mark.parametrize("kind", ENGINES)
def test_a_database_in_use_is_left_alone(new_database: NewDatabase, kind: str) -> None:
    old, new = new_database(kind), new_database(kind)
    filled(old)
    upgrade(new)
    with begin(new) as tx:
        prepared(tx)
        before = all_rows(tx)
    with pytest.raises(ProgramProblem, match=r"is in use: it has rows in chains, .*; nothing was changed") as told:
        put_back(new, written(old))
    assert "move the file away" in told.value.mend if kind == "sqlite" else "DATABASE_URL" in told.value.mend
    with read(new) as tx:
        assert all_rows(tx) == before


@pytest.mark.parametrize("kind", ENGINES)
def test_a_database_of_something_else_is_left_alone(new_database: NewDatabase, kind: str) -> None:
    old, new = new_database(kind), new_database(kind)
    filled(old)
    with begin(new) as tx:
        tx.execute(text("CREATE TABLE programs (name TEXT)"))
    with pytest.raises(ProgramProblem, match="has a table programs that is not of nftloyalty"):
        put_back(new, written(old))
    with read(new) as tx:
        assert inspect(tx).get_table_names() == ["programs"]


@pytest.mark.parametrize("kind", ENGINES)
def test_a_database_without_tables_has_nothing_to_back_up(new_database: NewDatabase, kind: str) -> None:
    with pytest.raises(ProgramProblem, match="has no tables: there is nothing to back up"):
        written(new_database(kind))


def test_what_a_backup_is_is_told_by_its_beginning(new_database: NewDatabase) -> None:
    old = new_database("sqlite")
    filled(old)
    content = written(old)
    assert is_backup(io.BytesIO(content))
    assert is_backup(io.BytesIO(content[: len(content) // 2]))
    assert not is_backup(io.BytesIO(b"SQLite format 3\x00"))
    assert not is_backup(io.BytesIO(gzip.compress(b"{}\n")))


# ----------------------------------------------------------------------------------------------------------------- size


MEASURED = """
import resource, sys
from datetime import UTC, datetime
from nftloyalty.store import backup
from nftloyalty.store.engine import begin, open_engine, read

old, new, file = sys.argv[1:]
seen = []
with open(file, "wb") as writing, read(open_engine(old)) as tx:
    backup.write(tx, writing, "1.2.3", datetime.now(UTC), lambda done, total: seen.append((done, total)))
with open(file, "rb") as reading:
    backup.check(reading, file, lambda done, total: None)
    reading.seek(0)
    with begin(open_engine(new)) as tx:
        backup.load(tx, reading, file, lambda done, total: None)
print(len(seen), *seen[-1], resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)
"""
"""Measured in a process of its own, for the clients of databases keep memory that Python does not know of."""


def measured(old: Engine, new: Engine, file: Path) -> list[int]:
    """How often progress was told, its last news, and the most memory that was in use."""
    urls = [each.url.render_as_string(hide_password=False) for each in (old, new)]
    ran = subprocess.run([sys.executable, "-c", MEASURED, *urls, file], cwd=ROOT, capture_output=True, text=True)
    assert ran.returncode == 0, ran.stderr
    return [int(word) for word in ran.stdout.split()]


@pytest.mark.parametrize("kind", ENGINES)
def test_many_rows_need_no_more_memory_than_few(new_database: NewDatabase, kind: str, tmp_path: Path) -> None:
    count = 50_000
    old, new, few, few_again = (new_database(kind) for _ in range(4))
    filled(few)
    filled(old)
    with begin(old) as tx:
        sample = all_rows(tx)["intents"][-1]["id"]  # one that waits
        columns = [each for each in all_rows(tx)["intents"][0] if each not in ("id", "public_id", "request_key")]
        tx.execute(
            text(
                f"INSERT INTO intents (public_id, request_key, {', '.join(columns)}) WITH RECURSIVE numbers (n) AS "  # noqa: S608
                "(SELECT 1 UNION ALL SELECT n + 1 FROM numbers WHERE n < :count) SELECT 'int_many_' || n, "
                f"'{'a long key ' * 20}' || n, {', '.join(columns)} FROM intents, numbers WHERE intents.id = :sample"
            ),
            {"count": count, "sample": sample},
        )
    *_, least = measured(few, few_again, tmp_path / "few")
    told, done, rows, most = measured(old, new, tmp_path / "many")
    assert done == rows > count
    assert told > count / backup.ROWS_AT_ONCE
    # All of them are more than a quarter of what a process with few rows uses.
    assert most < 1.15 * least
    with read(new) as tx:
        assert tx.execute(text("SELECT count(*) FROM intents WHERE public_id LIKE 'int_many_%'")).scalar_one() == count
