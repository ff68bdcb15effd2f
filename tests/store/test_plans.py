"""What is asked and written again and again finds its rows by index, in a time that does not grow with the books."""

import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from nftloyalty.domain.intent import Kind
from nftloyalty.store import deliveries, delivery_log, delivery_steps, intents, replays, reports, sending, slots
from nftloyalty.store.delivery_log import KEPT
from nftloyalty.store.engine import begin, open_engine, read, upgrade
from nftloyalty.store.intents import Batchable, Group, Landed
from tests.store.build import (
    BLOCK,
    NOW,
    Ground,
    cards,
    finalise,
    inclusion,
    mark_sent,
    new_attempt,
    new_intent,
    new_slot,
    prepared,
    program,
    sent,
    settle,
    waiting_cards,
)
from tests.store.happenings import claim as claim_deliveries
from tests.store.happenings import deliver_all, endpoint, happen, went
from tests.store.happenings import settle as settle_deliveries

ROWS = 4_000
MANY_ROWS = 40_000
"""So many that PostgreSQL does not read them from end to end for a few hundred."""
GIVEN = {"anon_1", "given", "CONSTANT"}
"""What SQLite calls the rows and the single values that a statement brings along."""


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


def fill(tx: Connection, ground: Ground, count: int, first: int = 0) -> None:
    intents.accept_many(tx, [new_intent(ground, number) for number in range(first, first + count)], NOW)


@dataclass
class Asked:
    """Statements in the order they were sent, with their values as the driver got them."""

    statements: list[tuple[str, Any]] = field(default_factory=list)


@contextmanager
def listening(engine: Engine) -> Iterator[Asked]:
    asked = Asked()

    def listen(_connection: object, _cursor: object, statement: str, values: Any, *_: object) -> None:
        asked.statements.append((statement, values))

    event.listen(engine, "before_cursor_execute", listen)
    try:
        yield asked
    finally:
        event.remove(engine, "before_cursor_execute", listen)


@pytest.fixture
def embedded(tmp_path: Path) -> Iterator[Engine]:
    """SQLite without statistics: it plans by the schema alone."""
    engine = open_engine(f"sqlite:///{tmp_path / 'loyalty.db'}")
    upgrade(engine)
    yield engine
    engine.dispose()


def sqlite_plans(tx: Connection, asked: Asked) -> dict[str, list[str]]:
    """The steps of each statement, without the reading of values that come with it."""
    plans = {
        statement: [row[3] for row in tx.exec_driver_sql(f"EXPLAIN QUERY PLAN {statement}", values)]
        for statement, values in asked.statements
    }
    return {
        statement: [step for step in plan if not step.startswith("SCAN json_each VIRTUAL TABLE")]
        for statement, plan in plans.items()
    }


def test_every_question_of_a_sender_finds_its_rows_by_index(embedded: Engine) -> None:
    with begin(embedded) as tx:
        ground = prepared(tx)
        fill(tx, ground, 2_000)
        for _ in range(20):
            sent(tx, ground, waiting_cards(tx, ground, limit=10))
    with read(embedded) as tx, listening(embedded) as asked:
        assert intents.groups(tx, ground.signer) == [cards(ground)]
        rows = waiting_cards(tx, ground, limit=5)
        intents.waiting(tx, ground.signer, Group(None, Kind.CALL, 0), limit=5)
        intents.unfinished(tx, ground.program, Kind.MINT_CARD)
        intents.unfinished(tx, ground.program, Kind.MINT_STAMP, 3)
        intents.unfinished(tx, ground.program, Kind.MINT_CARD, 0, ground.signer)
        assert intents.under_way(tx, ground.program, Kind.MINT_CARD) == 200
        assert intents.under_way(tx, ground.program, Kind.MINT_CARD, 7) == 0
        intents.by_keys(tx, ground.chain, ["a", "b"])
        intents.of_slot(tx, 1)
        intents.aboard(tx, [1, 2, 3])
        assert intents.hold_unchanged(tx, ground.signer, rows)
        slots.open_slots(tx, ground.signer)
        slots.watched(tx, ground.signer)
        slots.in_flight(tx, ground.signer)
        slots.to_cancel(tx, ground.signer)
        slots.promised_wei(tx, ground.signer)
    with read(embedded) as tx:
        plans = sqlite_plans(tx, asked)
    assert len(plans) >= 15
    for statement, plan in plans.items():
        assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)
        # A LIMIT helps only if rows come in order by themselves.
        assert "LIMIT" not in statement or not [step for step in plan if "TEMP B-TREE" in step], (statement, plan)
    for index in (
        "INDEX ix_intents_waiting (signer=? AND program=?)",
        "INDEX ix_intents_waiting (signer=? AND program>?)",
        "INDEX ix_intents_waiting (signer=? AND program=? AND kind>?)",
        "INDEX ix_intents_waiting (signer=? AND program=? AND kind=? AND stamp_type>?)",
        "INDEX ix_intents_waiting (signer=? AND program=? AND kind=? AND stamp_type=?)",
        "INDEX ix_intents_unfinished (program=? AND kind=?",
        "INDEX ix_intents_unfinished (program=? AND kind=? AND stamp_type=?",
        "INDEX ix_intents_unfinished (program=? AND kind=? AND stamp_type=? AND state=?)",
        "INDEX ix_slots_signer_state_nonce (signer=? AND state=?)",
        "INDEX ix_intents_slot (slot=?)",
    ):
        assert [plan for plan in plans.values() if any(index in step for step in plan)], index


def test_every_question_of_a_deliverer_finds_its_rows_by_index(embedded: Engine) -> None:
    with begin(embedded) as tx:
        ground = prepared(tx)
        to = endpoint(tx, ground.program)
        events = happen(tx, ground.program, *(f"m:{number % 200}" for number in range(600)))
    with read(embedded) as tx, listening(embedded) as reads:
        delivery_steps.may_claim(tx, ground.program, "me", NOW)
        delivery_log.of_endpoint(tx, to.id, before=500, limit=5)
        delivery_log.tries_of(tx, to.id, events[0].id)
        replays.is_forgotten(tx, to, NOW + 2 * KEPT, after=5, since=None, until=None)
    with begin(embedded) as tx, listening(embedded) as writes:
        deliveries.fan_out(tx, events, NOW)
        claimed = claim_deliveries(tx, ground.program, limit=20)
        settle_deliveries(tx, *(went(each, status=500 if place % 3 else 204) for place, each in enumerate(claimed)))
        claim_deliveries(tx, ground.program, NOW + timedelta(minutes=1), limit=20)
        replays.replay_one(tx, to, events[0].id, NOW)
        replays.replay_range(tx, to, NOW, after=100, since=None, until=None, also_delivered=True, limit=10)
        assert delivery_log.forget_old(tx, NOW + 2 * KEPT, 5) == 5
    with begin(embedded) as tx:
        asked = [each for each in reads.statements + writes.statements if "INSERT" not in each[0]]
        plans = sqlite_plans(tx, Asked(asked))
    assert len(plans) >= 15
    for statement, plan in plans.items():
        scans = [step for step in plan if step.startswith("SCAN") and step.split()[1] not in GIVEN | {"anon_2"}]
        assert not scans, (statement, plan)
        assert "LIMIT" not in statement or not [step for step in plan if "TEMP B-TREE" in step], (statement, plan)
    for index in (
        "INDEX ix_deliveries_due (endpoint=? AND next_at",
        "INDEX ix_deliveries_waiting (endpoint=? AND object=?",
        "INDEX ix_deliveries_held (endpoint=?)",
        "INDEX ix_deliveries_ended (ended_at<?)",
        "INDEX ix_deliveries_endpoint_id (endpoint=?",
        "INDEX ix_delivery_tries_delivery (delivery=?)",
        "INDEX ix_endpoints_program (program=?)",
        "INDEX ix_events_program_id (program=?",
    ):
        assert [plan for plan in plans.values() if any(index in step for step in plan)], index


def test_a_queue_of_thousands_is_claimed_from_as_quickly_as_a_short_one(engine: Engine, ground: Ground) -> None:
    """Of one object too, whose events all wait behind the first."""
    with begin(engine) as tx:
        endpoint(tx, ground.program)
        happen(tx, ground.program, *(["m:hot"] * 2_000), *(f"m:{number}" for number in range(2_000)))
        if engine.dialect.name == "postgresql":
            tx.execute(text("ANALYZE"))
    with begin(engine) as tx, listening(engine) as asked:
        claimed = claim_deliveries(tx, ground.program, limit=8)
        settle_deliveries(tx, *(went(each) for each in claimed))
    if engine.dialect.name == "sqlite":
        return
    with begin(engine) as tx:
        for statement, values in asked.statements:
            if "INSERT" in statement:
                continue
            (found,) = tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).scalar_one()
            for node in nodes_of(found["Plan"]):
                rows = node["Actual Rows"] + node.get("Rows Removed by Filter", 0)
                assert node["Node Type"] != "Seq Scan" or rows < 100, (statement, node)
                assert rows < 1_000, (statement, node)


def test_a_log_of_thousands_is_forgotten_step_by_step_by_index(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        endpoint(tx, ground.program)
        happen(tx, ground.program, *(f"m:{number}" for number in range(3_000)))
        deliver_all(tx, ground.program)
        if engine.dialect.name == "postgresql":
            tx.execute(text("ANALYZE"))
    with begin(engine) as tx, listening(engine) as asked:
        # All have the same age: the first step of each kind could take what it likes.
        assert [delivery_log.forget_old(tx, NOW + 2 * KEPT, 100) for _ in range(2)] == [100, 100]
    if engine.dialect.name == "sqlite":
        # What SQLite plans is tested above.
        return
    with begin(engine) as tx:
        for statement, values in asked.statements:
            (found,) = tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).scalar_one()
            for node in nodes_of(found["Plan"]):
                assert node["Node Type"] != "Seq Scan", (statement, node)
                assert node["Actual Rows"] + node.get("Rows Removed by Filter", 0) <= 200, (statement, node)


def nodes_of(plan: Any) -> Iterator[Any]:
    yield plan
    for inner in plan.get("Plans", ()):
        yield from nodes_of(inner)


def send_all(tx: Connection, ground: Ground, rows: Sequence[Batchable]) -> None:
    """Every step that the sending engine takes with two transactions: the first succeeds, the second fails."""
    halves = (rows[::2], rows[1::2])
    made = sending.reserve(tx, ground.signer, ground.epoch, [new_slot(half) for half in halves], NOW)
    new = [new_attempt(slot.id) for slot in made]
    stored = sending.store_attempts(tx, ground.signer, ground.epoch, new, NOW)
    mark_sent(tx, ground, *stored)
    landed = [Landed(row.id, place) for place, row in enumerate(halves[0])]
    settle(
        tx,
        ground,
        inclusion(made[0].id, stored[0], landed),
        inclusion(made[1].id, stored[1], succeeded=False),
    )
    assert finalise(tx, ground, made[0].id) == set()
    slots.set_final_reverted(tx, made[1].id, BLOCK, NOW)
    intents.return_to_received(tx, made[1].id, NOW)


def test_every_write_of_a_sender_finds_its_rows_by_index(embedded: Engine) -> None:
    with begin(embedded) as tx:
        ground = prepared(tx)
        fill(tx, ground, 2_000)
        rows = waiting_cards(tx, ground, limit=500)
    with begin(embedded) as tx, listening(embedded) as asked:
        send_all(tx, ground, rows)
    with read(embedded) as tx:
        plans = sqlite_plans(tx, asked)
    joined = {statement: plan for statement, plan in plans.items() if "json_each" in statement}
    # Reserved, included (slots, then intents) and final.
    assert [statement.split()[1] for statement in joined] == ["intents", "slots", "intents", "slots"]
    for statement, plan in joined.items():
        # The given rows are gone through, and for each the table is searched: never the other way round.
        table = statement.split()[1]
        (search,) = [step for step in plan if step.split()[1] == table]
        assert search == f"SEARCH {table} USING INTEGER PRIMARY KEY (rowid=?)", plan
    for statement, plan in plans.items():
        scans = [step for step in plan if step.startswith("SCAN") and step.split()[1] not in GIVEN]
        assert not scans, (statement, plan)


@contextmanager
def explaining(engine: Engine) -> Iterator[list[tuple[str, dict[str, Any]]]]:
    """What PostgreSQL really does for each UPDATE that joins given rows, just before it is carried out."""
    plans: list[tuple[str, dict[str, Any]]] = []

    def explain(_connection: object, cursor: Any, statement: str, values: Any, *_: object) -> None:
        if statement.startswith("UPDATE") and "unnest" in statement:
            with cursor.connection.transaction(force_rollback=True):
                told = cursor.connection.execute(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).fetchone()[0]
            plans.append((statement, told[0]["Plan"]))

    event.listen(engine, "before_cursor_execute", explain)
    try:
        yield plans
    finally:
        event.remove(engine, "before_cursor_execute", explain)


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", []):
        yield from nodes(part)


def test_postgresql_writes_to_a_batch_by_primary_key(engine: Engine, ground: Ground) -> None:
    if engine.dialect.name != "postgresql":
        # What SQLite plans is tested above.
        return
    with begin(engine) as tx:
        fill(tx, ground, ROWS)
        tx.execute(text("ANALYZE"))
        # So few rows would be read from end to end instead. A key of another type could not be searched for at all.
        for way in ("seqscan", "hashjoin", "mergejoin"):
            tx.execute(text(f"SET LOCAL enable_{way} = off"))
        with explaining(engine) as plans:
            send_all(tx, ground, waiting_cards(tx, ground, limit=500))
    assert [statement.split()[1] for statement, _ in plans] == ["intents", "slots", "intents", "slots"]
    for statement, plan in plans:
        if statement.startswith("UPDATE intents"):
            (found,) = [each for each in nodes(plan) if each.get("Relation Name") == "intents" and "Index Name" in each]
            assert (found["Index Name"], found["Index Cond"]) == ("pk_intents", "(id = given.intent)"), plan
            assert found["Actual Rows"] == 1, plan


@pytest.mark.parametrize("analysed", ["before", "amid", "beside"])
def test_postgresql_takes_as_long_as_rows_are_given_whatever_its_statistics_say(
    engine: Engine, ground: Ground, analysed: str
) -> None:
    """Old ones say that no row is in a state to which thousands have come since; those that are made of their own
    accord, at any moment, know of some tables what they do not know of others."""
    if engine.dialect.name != "postgresql":
        return
    with begin(engine) as tx:
        fill(tx, ground, ROWS)
        intents.withdraw(tx, ground.chain, ground.program, NOW)
        tx.execute(text("ANALYZE"))
        fill(tx, ground, MANY_ROWS, first=ROWS)
    with begin(engine) as tx:
        # Under way beside those that are looked at.
        for _ in range(10):
            sent(tx, ground, waiting_cards(tx, ground, limit=100))
        if analysed == "amid":
            tx.execute(text("ANALYZE"))
        rows = waiting_cards(tx, ground, limit=300)
        with explaining(engine) as plans:
            made = sending.reserve(
                tx, ground.signer, ground.epoch, [new_slot(rows[at : at + 2]) for at in range(0, len(rows), 2)], NOW
            )
            new = [new_attempt(slot.id) for slot in made]
            stored = sending.store_attempts(tx, ground.signer, ground.epoch, new, NOW)
            mark_sent(tx, ground, *stored)
            found = [
                inclusion(slot.id, attempt, [Landed(row.id, 0) for row in rows[2 * place : 2 * place + 2]])
                for place, (slot, attempt) in enumerate(zip(made, stored, strict=True))
            ]
            if analysed == "beside":
                with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as other:
                    # Of what is not committed yet, it sees nothing.
                    other.execute(text("ANALYZE"))
            settle(tx, ground, *found)
            finalise(tx, ground, *(slot.id for slot in made))
    assert len(plans) == 4
    for statement, plan in plans:
        touched = 0
        for node in nodes(plan):
            removed = node.get("Rows Removed by Filter", 0) + node.get("Rows Removed by Join Filter", 0)
            touched += (node["Actual Rows"] + removed) * node["Actual Loops"]
        assert touched <= 10 * len(rows), (statement, touched, plan)


def test_groups_are_found_without_reading_all_that_waits(engine: Engine, ground: Ground) -> None:
    """The work is measured in steps of SQLite's machine, and by PostgreSQL in rows that its plan has touched."""
    measure = steps_taken if engine.dialect.name == "sqlite" else rows_touched
    with begin(engine) as tx:
        tea = program(tx, ground.chain, "tea").id
        fill(tx, ground, 100)
        intents.accept(tx, new_intent(ground, 1, program=tea), NOW)

        def ask() -> object:
            return intents.groups(tx, ground.signer)

        few = measure(tx, ask)
        fill(tx, ground, ROWS, first=100)
        if engine.dialect.name == "postgresql":
            tx.execute(text("ANALYZE intents"))
        many = measure(tx, ask)
    assert many <= max(few + few // 2, 20), (few, many)


def test_a_scrape_of_webhooks_costs_the_same_whatever_waits_and_was_sent(engine: Engine, ground: Ground) -> None:
    measure = steps_taken if engine.dialect.name == "sqlite" else rows_touched
    with begin(engine) as tx:
        endpoint(tx, ground.program)

        def ask() -> object:
            return reports.endpoints_of(tx, ground.chain)

        happen(tx, ground.program, *(f"m:{number}" for number in range(20)))
        few = measure(tx, ask)
        happen(tx, ground.program, *(f"m:{number}" for number in range(2_000)))
        settle_deliveries(
            tx, *(went(each) for each in claim_deliveries(tx, ground.program, limit=1_000, limit_each=1_000))
        )
        if engine.dialect.name == "postgresql":
            tx.execute(text("ANALYZE"))
        many = measure(tx, ask)
    assert many <= max(few + few // 2, 20), (few, many)


def steps_taken(tx: Connection, ask: Callable[[], object]) -> int:
    """Of SQLite's machine, in tens."""
    steps = 0

    def count() -> None:
        nonlocal steps
        steps += 1

    driver: Any = tx.connection.driver_connection
    driver.set_progress_handler(count, 10)
    ask()
    driver.set_progress_handler(None, 0)
    return steps


def rows_touched(tx: Connection, ask: Callable[[], object]) -> int:
    """By PostgreSQL's plans."""
    with listening(tx.engine) as asked:
        ask()
    touched = 0
    for statement, values in list(asked.statements):
        (told,) = tx.exec_driver_sql(f"EXPLAIN (ANALYZE, FORMAT JSON) {statement}", values).scalars().all()
        pending = [each["Plan"] for each in (json.loads(told) if isinstance(told, str) else told)]
        while pending:
            node = pending.pop()
            pending += node.get("Plans", [])
            touched += node["Actual Rows"] * node["Actual Loops"] + node.get("Rows Removed by Filter", 0)
    return int(touched)
