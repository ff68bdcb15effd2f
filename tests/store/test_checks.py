"""The look-up of the check: the answers of the index, over a connection that breaks, waits and can't write."""

import os
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from nftloyalty.domain.gate import Holding
from nftloyalty.domain.holding import NOTHING, HoldingState
from nftloyalty.errors import DatabaseProblem
from nftloyalty.store import checks, index, index_steps
from nftloyalty.store.checks import AsOfWhich, Found, LookUps, PostgresqlLookUps, SqliteLookUps, look_ups
from nftloyalty.store.engine import begin, open_engine, read
from nftloyalty.store.tables import metadata
from tests.store.build import NOW, Ground, card_facts, header, prepared, program, season_fact
from tests.store.test_index import burn, rank

A, B, C = (bytes([number]) * 20 for number in (1, 2, 3))


def laid(engine: Engine) -> Ground:
    """An index at block 13 with 11 final: A got its card in 11, B in 12; in 13 A rose, and a second season came."""
    with begin(engine) as tx:
        found = prepared(tx)
        index_steps.start(tx, found.program, 11, header(10))
        facts = [*card_facts(A, 11), season_fact(11), *card_facts(B, 12, serial=2), rank(A, 13, 3), season_fact(13, 1)]
        advance(tx, found.program, 13, facts, final=11)
    return found


@pytest.fixture
def ground(engine: Engine) -> Ground:
    return laid(engine)


def advance(tx: Connection, number: int, to: int, facts: Any, final: int) -> None:
    at = index.position(tx, number)
    assert at is not None
    headers = [header(each) for each in range(at.number + 1, to + 1)]
    index_steps.advance(tx, at, headers, facts, final, confirmed_at=NOW)


@pytest.fixture
def quick(engine: Engine) -> Iterator[LookUps]:
    found = look_ups(engine)
    found.open()
    yield found
    found.close()


def holdings(found: Found | None) -> list[Holding]:
    assert found is not None
    return [HoldingState.from_row(*(state or NOTHING)).to_holding(found.seasons) for state in found.states]


def held(quick: LookUps, which: AsOfWhich, number: int, wallet: bytes) -> Holding:
    (found,) = holdings(quick.find(which, number, [wallet]))
    return found


def test_it_finds_what_the_index_finds(engine: Engine, ground: Ground, quick: LookUps) -> None:
    for which, ask in ((AsOfWhich.HEAD, index.reading), (AsOfWhich.FINAL, index.reading_as_of_final)):
        for wallet in (A, B, C):
            with read(engine) as tx:
                told = ask(tx, ground.program, wallet)
            found = quick.find(which, ground.program, [wallet])
            assert told is not None and found is not None
            standing = found.standing
            assert holdings(found) == [told.holding]
            assert standing.as_of == told.as_of
            assert (standing.number, standing.confirmed_at, standing.incident) == (13, NOW, None)
    assert held(quick, AsOfWhich.HEAD, ground.program, A).card.tier == 3
    assert held(quick, AsOfWhich.FINAL, ground.program, A).card.tier == 2
    assert not held(quick, AsOfWhich.FINAL, ground.program, B).card.exists


def test_a_program_without_an_index_is_told(engine: Engine, ground: Ground, quick: LookUps) -> None:
    with begin(engine) as tx:
        other = program(tx, ground.chain, "tea").id
    for which in AsOfWhich:
        assert quick.find(which, other, [A]) is None
        assert quick.find(which, 777, [A, B]) is None


@pytest.mark.parametrize("count", [1, 2, 3, 4, 5, 16, 17, 64, 65, checks.MOST_WALLETS])
def test_many_are_found_at_once_each_in_its_place(ground: Ground, quick: LookUps, count: int) -> None:
    wallets = [(A, B, C, A, b"\x09" * 20)[number * 7 % 5] for number in range(count)]
    for which in AsOfWhich:
        alone = {wallet: held(quick, which, ground.program, wallet) for wallet in wallets}
        assert len({str(each) for each in alone.values()}) > 1 or count == 1
        assert holdings(quick.find(which, ground.program, wallets)) == [alone[wallet] for wallet in wallets]


def test_what_is_found_at_once_is_of_one_moment(engine: Engine, ground: Ground, quick: LookUps) -> None:
    """While the index moves to and fro: never a new holding as of an old block, nor one wallet's ahead of another's."""
    done = threading.Event()

    def rise_and_fall() -> None:
        with engine.connect() as connection:
            for number in range(60):
                with connection.begin():
                    connection.execute(text("UPDATE positions SET number = :n"), {"n": 1000 + number})
                    connection.execute(text("UPDATE holdings SET serial = :n"), {"n": 1000 + number})
        done.set()

    with begin(engine) as tx:
        tx.execute(text("UPDATE positions SET number = 999"))
        tx.execute(text("UPDATE holdings SET serial = 999"))
    writer = threading.Thread(target=rise_and_fall)
    writer.start()
    seen = set()
    while not done.is_set():
        found = quick.find(AsOfWhich.HEAD, ground.program, [A, B, A, B])
        assert found is not None
        told = {state[3] for state in found.states if state is not None}
        assert told == {found.standing.number}
        seen |= told
    writer.join()
    assert len(seen) > 1


def test_programs_are_told_apart(engine: Engine, ground: Ground, quick: LookUps) -> None:
    with begin(engine) as tx:
        other = program(tx, ground.chain, "tea").id
        index_steps.start(tx, other, 11, header(10))
    assert not held(quick, AsOfWhich.HEAD, other, A).card.exists
    assert held(quick, AsOfWhich.HEAD, ground.program, A).card.exists


def test_the_standing_is_the_same_object_until_the_index_moves(engine: Engine, ground: Ground, quick: LookUps) -> None:
    def standing() -> checks.Standing:
        found = quick.find(AsOfWhich.HEAD, ground.program, [A])
        assert found is not None
        return found.standing

    first = standing()
    assert standing() is first
    with begin(engine) as tx:
        advance(tx, ground.program, 14, [burn(A, 14)], final=11)
    assert standing() == replace(first, as_of=standing().as_of, number=14)
    assert standing().as_of.hash == header(14).hash
    assert not held(quick, AsOfWhich.HEAD, ground.program, A).card.exists


def test_a_written_row_is_seen_at_once_while_others_write(engine: Engine, ground: Ground, quick: LookUps) -> None:
    with begin(engine) as tx:
        # The one writer of SQLite is at work, and the look-up does not wait for it nor sees what is not committed.
        advance(tx, ground.program, 14, [burn(A, 14)], final=11)
        began = time.monotonic()
        assert held(quick, AsOfWhich.HEAD, ground.program, A).card.exists
        assert time.monotonic() - began < checks.LONGEST_SECONDS
    assert not held(quick, AsOfWhich.HEAD, ground.program, A).card.exists


def test_nothing_can_be_written_over_it(ground: Ground, quick: LookUps) -> None:
    connection: Any = quick._connected  # type: ignore[attr-defined]
    for statement in ("DELETE FROM holdings", "CREATE TABLE t (n INTEGER)", "UPDATE positions SET incident = 'x'"):
        with pytest.raises(Exception, match=r"readonly|read-only"):
            connection.execute(statement)


def test_it_takes_one_statement_and_no_transaction(engine: Engine, ground: Ground, quick: LookUps) -> None:
    """SQLAlchemy is not asked for anything."""
    asked: list[str] = []

    def note(_c: object, _cursor: object, statement: str, *_rest: object) -> None:
        asked.append(statement)

    event.listen(engine, "before_cursor_execute", note)
    try:
        for which in AsOfWhich:
            held(quick, which, ground.program, A)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    assert asked == []


def test_each_step_goes_by_a_key(engine: Engine, ground: Ground, quick: LookUps) -> None:
    """Whatever the number of holdings: no table is read from end to end but those of a handful of rows."""
    with begin(engine) as tx:
        if isinstance(quick, SqliteLookUps):
            for statement in (each for sizes in quick._statements.values() for each in sizes.values()):
                words = f"EXPLAIN QUERY PLAN {statement.text}"
                plan = [row[3] for row in tx.connection.cursor().execute(words, statement.values(1, [A])).fetchall()]
                assert any(step.startswith("SEARCH holdings USING PRIMARY KEY") for step in plan)
                # `asked` are the wallets that the statement itself brings.
                scans = [step for step in plan if step.startswith("SCAN")]
                assert not [step for step in scans if "CONSTANT" not in step and step != "SCAN asked"]
            return
    assert isinstance(quick, PostgresqlLookUps)
    assert quick._connected is not None
    for which in AsOfWhich:
        # On its own connection, by what it told the planner: in a small table the planner would rather read all.
        words = f"EXPLAIN EXECUTE {quick._names[which].decode()} (1, ARRAY['\\x{A.hex()}'::bytea])"
        shown = "\n".join(row[0] for row in quick._connected.execute(words.encode()).fetchall())
        assert "Seq Scan" not in shown, shown
        assert "Hash" not in shown, shown
        assert "pk_holdings" in shown or "holdings_pkey" in shown, shown


def test_closed_it_says_so_and_opens_again(ground: Ground, quick: LookUps) -> None:
    quick.close()
    quick.close()
    # A call, for mypy believes that what was asked once stays so.
    assert not bool(quick.is_open)
    with pytest.raises(DatabaseProblem, match="not connected"):
        quick.find(AsOfWhich.HEAD, ground.program, [A])
    quick.open()
    quick.open()
    assert held(quick, AsOfWhich.HEAD, ground.program, A).card.exists


def test_it_may_be_opened_in_another_thread(engine: Engine, ground: Ground) -> None:
    quick = look_ups(engine)
    opening = threading.Thread(target=quick.open)
    opening.start()
    opening.join()
    assert held(quick, AsOfWhich.HEAD, ground.program, A).card.exists
    quick.close()


def test_a_database_that_is_not_there_is_a_problem() -> None:
    engine = open_engine("postgresql://nobody:very-secret@127.0.0.1:1/nowhere?connect_timeout=2")
    quick = look_ups(engine)
    with pytest.raises(DatabaseProblem) as told:
        quick.open()
    assert "very-secret" not in told.value.message
    assert not quick.is_open


# ------------------------------------------------------------------------------------------------------- on PostgreSQL


@pytest.fixture
def remote(shared_postgresql: Engine) -> Iterator[tuple[Engine, Ground, PostgresqlLookUps]]:
    """A file has no connection to lose."""
    with begin(shared_postgresql) as tx:
        tx.execute(text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY"))
    ground = laid(shared_postgresql)
    quick = PostgresqlLookUps(shared_postgresql)
    quick.open()
    yield shared_postgresql, ground, quick
    quick.close()


def server_process(quick: PostgresqlLookUps) -> int:
    assert quick._connected is not None
    return quick._connected.info.backend_pid


Remote = tuple[Engine, Ground, PostgresqlLookUps]


def test_a_connection_that_broke_off_is_told_closed_and_opened_anew(remote: Remote) -> None:
    engine, ground, quick = remote
    with begin(engine) as tx:
        tx.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": server_process(quick)})
    with pytest.raises(DatabaseProblem, match=r"terminat|closed"):
        quick.find(AsOfWhich.HEAD, ground.program, [A])
    assert not quick.is_open
    quick.open()
    assert held(quick, AsOfWhich.HEAD, ground.program, A).card.exists


def test_a_table_that_is_locked_holds_nobody_up_for_long(remote: Remote) -> None:
    engine, ground, quick = remote
    with begin(engine) as tx:
        tx.execute(text("LOCK TABLE holdings IN ACCESS EXCLUSIVE MODE"))
        began = time.monotonic()
        with pytest.raises(DatabaseProblem, match=r"no answer within|statement timeout"):
            quick.find(AsOfWhich.HEAD, ground.program, [A])
        assert time.monotonic() - began < 2 * checks.LONGEST_SECONDS + 0.5
        assert not quick.is_open
    quick.open()
    assert held(quick, AsOfWhich.HEAD, ground.program, A).card.exists


def test_a_server_that_hangs_holds_nobody_up_for_long(remote: Remote) -> None:
    """It is stopped, and its own time limit with it."""
    _engine, ground, quick = remote
    process = server_process(quick)
    os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        with pytest.raises(DatabaseProblem, match="no answer within"):
            quick.find(AsOfWhich.HEAD, ground.program, [A])
        assert time.monotonic() - began < 2 * checks.LONGEST_SECONDS + 0.5
    finally:
        os.kill(process, signal.SIGCONT)
    quick.open()
    assert held(quick, AsOfWhich.HEAD, ground.program, A).card.exists


def test_look_ups_leave_no_transaction_open(remote: Remote) -> None:
    engine, ground, quick = remote
    held(quick, AsOfWhich.HEAD, ground.program, A)
    with read(engine) as tx:
        query = text("SELECT state FROM pg_stat_activity WHERE pid = :process")
        assert tx.execute(query, {"process": server_process(quick)}).scalar_one() == "idle"


def test_each_look_up_sees_what_was_committed_before_it(remote: Remote) -> None:
    engine, ground, quick = remote
    assert held(quick, AsOfWhich.HEAD, ground.program, B).card.exists
    with begin(engine) as tx:
        advance(tx, ground.program, 14, [burn(B, 14)], final=14)
    for which in AsOfWhich:
        assert not held(quick, which, ground.program, B).card.exists
