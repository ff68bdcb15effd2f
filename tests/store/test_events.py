"""Events are told once, numbered for each object, and found page by page."""

import json
import threading
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, text

from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.store import announcements, event_steps, events, index, index_steps, intents, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.event_steps import NewEvent
from nftloyalty.store.events import EventRow
from nftloyalty.store.index import PositionRow
from nftloyalty.store.intents import Landed
from nftloyalty.store.tables import Phase
from tests.store.build import (
    NOW,
    Ground,
    accepted,
    card_facts,
    finalise,
    header,
    include,
    new_intent,
    prepared,
    program,
    reserved,
    run_together,
    sent,
    wallet,
)
from tests.store.test_plans import listening, nodes, sqlite_plans

A, B = b"\xaa" * 20, b"\xbb" * 20


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


def event(name: str = "membership:a", type_: str = "membership.created", **changes: Any) -> NewEvent:
    values: dict[str, Any] = {"phase": Phase.FINAL, "object": name, "wallet": A, "data": {"n": 1}}
    return NewEvent(type_, **(values | changes))


def told(tx: Connection, ground: Ground) -> list[EventRow]:
    return events.page(tx, ground.program, limit=1000, newest_first=False)


# -------------------------------------------------------------------------------------------------------------- telling


def test_events_of_an_object_are_counted_from_one(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        first = event_steps.add(tx, ground.program, [event("a"), event("b"), event("a")], NOW)
    with begin(engine) as tx:
        other = program(tx, ground.chain, "tea").id
        second = event_steps.add(tx, ground.program, [event("b"), event("a")], NOW)
        third = event_steps.add(tx, other, [event("a")], NOW)
        assert event_steps.add(tx, other, [], NOW) == []
    assert [(row.object, row.sequence) for row in (*first, *second, *third)] == [
        ("a", 1),
        ("b", 1),
        ("a", 2),
        ("b", 2),
        ("a", 3),
        ("a", 1),
    ]
    with read(engine) as tx:
        assert told(tx, ground) == [*first, *second]
    assert len({row.public_id for row in (*first, *second, *third)}) == 6


def test_more_events_than_a_statement_holds_are_told_in_order(engine: Engine, ground: Ground) -> None:
    new = [event(f"object {number % 3000}", data={"n": number}) for number in range(6000)]
    with begin(engine) as tx:
        rows = event_steps.add(tx, ground.program, new, NOW)
    with read(engine) as tx:
        found = events.page(tx, ground.program, limit=9999, newest_first=False)
    assert found == rows
    assert [row.data["n"] for row in found] == list(range(6000))


def test_a_log_that_is_final_has_one_id_and_one_that_is_not_has_one_for_each_time(
    engine: Engine, ground: Ground
) -> None:
    def told_once(phase: Phase) -> str:
        """Told by itself, then forgotten."""
        with begin(engine) as tx:
            (row,) = event_steps.add(tx, ground.program, [event(phase=phase, place="0x1:7:3")], NOW)
        return row.public_id

    seen, again = told_once(Phase.PENDING), told_once(Phase.PENDING)
    assert seen != again
    final = told_once(Phase.FINAL)
    assert final not in (seen, again)
    with begin(engine) as tx:
        tx.execute(text("DELETE FROM events"))
    assert told_once(Phase.FINAL) == final
    with begin(engine) as tx:
        tx.execute(text("DELETE FROM events"))
    assert told_once(Phase.PENDING) == seen


def test_events_can_be_seen_in_the_order_of_their_numbers(engine: Engine, ground: Ground) -> None:
    """A reader that goes on behind the newest it has seen misses none, however many tell at once."""
    seen: list[int] = []
    done = threading.Event()

    def tell(name: str) -> None:
        for _ in range(15):
            with begin(engine) as tx:
                event_steps.add(tx, ground.program, [event(name), event(name)], NOW)

    def follow() -> None:
        while True:
            ended = done.is_set()
            with read(engine) as tx:
                beyond = seen[-1] if seen else 0
                rows = events.page(tx, ground.program, limit=7, beyond=beyond, newest_first=False)
            seen.extend(row.id for row in rows)
            if ended and not rows:
                return

    follower = threading.Thread(target=follow)
    follower.start()
    run_together([lambda name=name: tell(name) for name in "abcd"])  # type: ignore[misc]
    done.set()
    follower.join()
    with read(engine) as tx:
        assert seen == [row.id for row in told(tx, ground)]
    assert len(seen) == 120


# -------------------------------------------------------------------------------------------------------------- reading


@pytest.fixture
def rows(engine: Engine, ground: Ground) -> list[EventRow]:
    new = [
        event(f"membership:{number % 4}", ("x.one", "x.two", "x.three")[number % 3], wallet=A if number % 2 else B)
        for number in range(24)
    ]
    with begin(engine) as tx:
        other = program(tx, ground.chain, "tea").id
        event_steps.add(tx, other, [event("membership:0", "x.one", wallet=A)], NOW)
        return event_steps.add(tx, ground.program, new, NOW)


@pytest.mark.parametrize("newest_first", [True, False])
@pytest.mark.parametrize(
    ("which", "is_one"),
    [
        ({}, lambda row: True),
        ({"types": ["x.two"]}, lambda row: row.type == "x.two"),
        ({"types": ["x.two", "x.one", "none"]}, lambda row: row.type != "x.three"),
        ({"wallet": A}, lambda row: row.wallet == A),
        ({"wallet": A, "types": ["x.one"]}, lambda row: row.wallet == A and row.type == "x.one"),
        ({"of": "membership:1"}, lambda row: row.object == "membership:1"),
        ({"of": "membership:1", "wallet": B}, lambda row: False),
        ({"of": "membership:1", "types": ["x.one"]}, lambda row: row.object == "membership:1" and row.type == "x.one"),
    ],
)
def test_pages_hold_what_was_asked_for_and_all_of_it(
    engine: Engine,
    ground: Ground,
    rows: list[EventRow],
    which: dict[str, Any],
    is_one: Callable[[EventRow], bool],
    newest_first: bool,
) -> None:
    wanted = [row for row in (reversed(rows) if newest_first else rows) if is_one(row)]
    found: list[EventRow] = []
    with read(engine) as tx:
        while True:
            beyond = found[-1].id if found else None
            part = events.page(tx, ground.program, limit=5, beyond=beyond, newest_first=newest_first, **which)
            assert len(part) <= 5
            if not part:
                break
            found += part
    assert found == wanted


def test_an_event_is_found_by_its_id_in_its_own_program(engine: Engine, ground: Ground, rows: list[EventRow]) -> None:
    with read(engine) as tx:
        assert events.by_public_id(tx, ground.program, rows[3].public_id) == rows[3]
        assert events.by_public_id(tx, ground.program + 1, rows[3].public_id) is None
        assert events.by_public_id(tx, ground.program, "evt_0") is None
        assert events.by_ids(tx, [rows[3].id, rows[5].id, 0]) == {row.id: row for row in (rows[3], rows[5])}


# ------------------------------------------------------------------------------------------------------------- by index


def ask_everything(tx: Connection, ground: Ground) -> None:
    for newest_first in (True, False):
        for beyond in (None, 500):
            for which in (
                {},
                {"types": ["membership.left"]},
                {"types": ["membership.left", "membership.moved"]},
                {"wallet": A},
                {"wallet": A, "types": ["membership.left"]},
                {"of": "membership:77"},
                {"of": "membership:77", "types": ["membership.left"]},
                {"of": "membership:77", "wallet": A},
            ):
                events.page(tx, ground.program, limit=20, beyond=beyond, newest_first=newest_first, **which)
    events.by_public_id(tx, ground.program, "evt_1")
    events.by_ids(tx, [1, 2, 3])
    announcements.to_announce(tx, ground.chain)
    announcements.look(tx, ground.program, 100)
    event_steps.pending(tx, ground.program, 5, 9)


@pytest.fixture
def crowded(engine: Engine, ground: Ground) -> Iterator[Ground]:
    """Many events in each of three programs, of many wallets and almost all of one type."""
    with begin(engine) as tx:
        place = {"transaction": "0x1", "block": 1, "log_index": 1}
        programs = [ground.program, *(program(tx, ground.chain, slug).id for slug in ("tea", "milk"))]
        for each in programs:
            new = [
                event(f"membership:{number // 2}", wallet=(number // 2).to_bytes(20, "big"), data=place)
                for number in range(4000)
            ]
            new[7] = event("membership:77", "membership.left", data=place)
            rows = event_steps.add(tx, each, new, NOW)
            index_steps.start(tx, each, 1, header(0))
            event_steps.add_pending(tx, each, [(row.sequence + number, row.id) for number, row in enumerate(rows)])
    yield ground


def test_every_question_is_answered_by_index(engine: Engine, crowded: Ground) -> None:
    if engine.dialect.name == "postgresql":
        with begin(engine) as tx:
            for table in ("events", "pending_events"):
                tx.execute(text(f"ANALYZE {table}"))
    with read(engine) as tx, listening(engine) as asked:
        ask_everything(tx, crowded)
        asked.statements = [each for each in asked.statements if "events" in each[0]]
    assert len(asked.statements) > 30
    with read(engine) as tx:
        if engine.dialect.name == "sqlite":
            for statement, plan in sqlite_plans(tx, asked).items():
                assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)
                assert "LIMIT" not in statement or not [step for step in plan if "TEMP B-TREE" in step], (
                    statement,
                    plan,
                )
            return
        for statement, values in asked.statements:
            explained = tx.exec_driver_sql(f"EXPLAIN (FORMAT JSON) {statement}", values).scalar_one()
            (whole,) = json.loads(explained) if isinstance(explained, str) else explained
            read_whole = [
                each
                for each in nodes(whole["Plan"])
                if each["Node Type"] == "Seq Scan" and each["Relation Name"] in ("events", "pending_events")
            ]
            assert not read_whole, (statement, whole)


def test_every_write_finds_its_rows_by_index(engine: Engine, crowded: Ground) -> None:
    if engine.dialect.name != "sqlite":
        # With so few rows PostgreSQL would do otherwise than with many.
        return
    facts = [fact for number in range(1, 9) for fact in card_facts(bytes([number]) * 20, number, number)]
    with begin(engine) as tx:
        at = _position(tx, crowded)
        index_steps.advance(tx, at, [header(number) for number in range(1, 9)], facts, 3)
    with begin(engine) as tx, listening(engine) as asked:
        news = announcements.look(tx, crowded.program, 100)
        assert news is not None
        announcements.announce(tx, news, NOW)
        event_steps.take_back(tx, crowded.program, 6, NOW)
        event_steps.forget_pending(tx, crowded.program, 1, 5)
    with read(engine) as tx:
        plans = sqlite_plans(tx, asked)
    assert len(plans) > 10
    for statement, plan in plans.items():
        assert not [step for step in plan if step.startswith("SCAN")], (statement, plan)


def _position(tx: Connection, ground: Ground) -> PositionRow:
    found = index.position(tx, ground.program)
    assert found is not None
    return found


# ------------------------------------------------------------------------------------- intents that come to nothing


def ends(tx: Connection, ground: Ground) -> list[tuple[str, str, Any]]:
    return [(row.type, row.object, row.data["reason"]) for row in told(tx, ground)]


def test_a_refused_intent_is_told_with_its_reason(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        one, two = accepted(tx, ground, [1, 2])
        intents.reject(tx, [two.id], NOW, error="the program knows better")
        intents.reject(tx, [one.id], NOW, code=1)
    with read(engine) as tx:
        assert ends(tx, ground) == [
            (
                "intent.rejected",
                f"intent:{two.public_id}",
                {"code": "refused", "sentence": "the program knows better"},
            ),
            (
                "intent.rejected",
                f"intent:{one.public_id}",
                {"code": "already_held", "sentence": "the wallet already holds it"},
            ),
        ]
        row = told(tx, ground)[0]
        assert (row.phase, row.sequence, row.wallet) == (Phase.FINAL, 1, (2).to_bytes(20, "big"))
        assert row.data["wallet"] == wallet(2)
        assert events.page(tx, ground.program, limit=9, wallet=(2).to_bytes(20, "big")) == [row]


def test_what_a_final_transaction_left_out_is_told_and_nothing_else_of_it(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        rows = accepted(tx, ground, range(1, 4))
        slot, attempt = sent(tx, ground, rows)
        landed = [Landed(rows[0].id, 3), Landed(rows[1].id, 4, code=3), Landed(rows[2].id, 5, code=1)]
        include(tx, ground, slot.id, attempt, landed)
        assert ends(tx, ground) == []
        finalise(tx, ground, slot.id)
        codes = [(name, reason["code"]) for _, name, reason in ends(tx, ground)]
        assert codes == [(f"intent:{rows[1].public_id}", "left"), (f"intent:{rows[2].public_id}", "already_held")]
        assert {row.data["transaction"] for row in told(tx, ground)} == {attempt.tx_hash}


def test_what_a_final_transaction_did_nothing_for_is_told(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        rows = accepted(tx, ground, [1])
        slot, attempt = sent(tx, ground, rows)
        include(tx, ground, slot.id, attempt)
        finalise(tx, ground, slot.id)
        intents.reject_unproven(tx, slot.id, "nothing of it", NOW)
        assert ends(tx, ground) == [
            ("intent.rejected", f"intent:{rows[0].public_id}", {"code": "refused", "sentence": "nothing of it"})
        ]


def test_what_is_cancelled_is_told_without_a_reason(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        one, two, three = accepted(tx, ground, [1, 2, 3])
        intents.cancel(tx, [two.id], NOW)
        assert intents.withdraw(tx, ground.chain, ground.program, NOW, recipient=three.recipient) == 1
        intents.cancel(tx, [one.id], NOW, told=False)
        assert ends(tx, ground) == [
            ("intent.cancelled", f"intent:{two.public_id}", None),
            ("intent.cancelled", f"intent:{three.public_id}", None),
        ]


def test_an_intent_that_is_taken_up_again_can_come_to_nothing_again(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        (row,) = accepted(tx, ground, [1])
        for _ in range(2):
            intents.reject(tx, [row.id], NOW, error="no")
            assert intents.ask_again(tx, [new_intent(ground, 1)], NOW) == 1
        assert [each.sequence for each in told(tx, ground)] == [1, 2]


def test_what_belongs_to_no_program_is_told_to_nobody(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        rows = accepted(tx, ground, [1, 2], program=None, kind=Kind.DEPLOY, recipient=None)
        accepted(tx, ground, [3])
        intents.reject(tx, [rows[0].id], NOW, error="no")
        assert intents.withdraw(tx, ground.chain, ground.program, NOW) == 2
        assert [row.object for row in told(tx, ground)] == [f"intent:{new_intent(ground, 3).public_id}"]


def test_acts_without_a_recipient_are_told_too(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        (row,) = accepted(tx, ground, [1], kind=Kind.CALL, recipient=None)
        intents.cancel(tx, [row.id], NOW)
        (only,) = told(tx, ground)
        assert (only.wallet, only.data["wallet"], only.data["kind"]) == (None, None, "call")


def test_thousands_are_withdrawn_and_told_at_once(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        intents.accept_many(tx, [new_intent(ground, number) for number in range(7_000)], NOW)
    with begin(engine) as tx:
        assert intents.withdraw(tx, ground.chain, ground.program, NOW) == 7_000
    with read(engine) as tx:
        assert len(events.page(tx, ground.program, limit=9_999, types=["intent.cancelled"])) == 7_000


def test_an_end_that_is_rolled_back_was_never_told(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        (row,) = accepted(tx, ground, [1])
        slot = reserved(tx, ground, [row])
    with pytest.raises(ZeroDivisionError), begin(engine) as tx:
        slots.set_foreign(tx, slot.id, NOW)
        intents.return_to_received(tx, slot.id, NOW)
        intents.cancel(tx, [row.id], NOW)
        raise ZeroDivisionError
    with read(engine) as tx:
        assert ends(tx, ground) == []
        assert intents.get(tx, row.public_id).state is IntentState.BATCHED
