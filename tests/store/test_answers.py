"""The same request again gets the same answer, and is nobody's twice at once."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Engine, func, select

from nftloyalty.domain.answer import AnswerKey, Said, answer_key
from nftloyalty.errors import InFlight, KeyReused
from nftloyalty.store import answers
from nftloyalty.store.answers import Hold
from nftloyalty.store.engine import begin, read
from nftloyalty.store.tables import answers as table
from tests.store.build import NOW, Ground, prepared, run_together
from tests.store.test_plans import listening, sqlite_plans

SAID = Said(202, '{"id":"int_1"}')
LATER = NOW + timedelta(seconds=61)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


def a_key(key: str = "k", body: object = None, *, kept: bool = False) -> AnswerKey:
    return answer_key("POST /v1/vouchers", key, body, kept=kept)


def held(engine: Engine, ground: Ground, key: AnswerKey) -> Hold:
    with begin(engine) as tx:
        found = answers.hold(tx, ground.program, key, NOW, 60)
    assert isinstance(found, Hold)
    return found


def test_an_answer_is_found_by_program_route_and_key(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        answers.add(tx, ground.program, [(a_key("a"), SAID), (a_key("b"), replace(SAID, body="ż"))], NOW)
        found = answers.find(tx, ground.program, "POST /v1/vouchers", ["a", "b", "c"])
        assert {key: answers.stored(row, a_key(key)) for key, row in found.items()} == {
            "a": SAID,
            "b": Said(202, "ż"),
        }
        assert answers.find(tx, ground.program, "POST /v1/mints", ["a"]) == {}
        assert answers.find(tx, ground.program + 1, "POST /v1/vouchers", ["a"]) == {}


def test_a_request_that_is_worked_at_is_in_flight_until_it_is_answered(engine: Engine, ground: Ground) -> None:
    mine = held(engine, ground, a_key())
    with pytest.raises(InFlight), begin(engine) as tx:
        answers.hold(tx, ground.program, a_key(), NOW + timedelta(seconds=59), 60)
    with begin(engine) as tx:
        assert answers.finish(tx, mine, SAID, NOW) == SAID
    with begin(engine) as tx:
        assert answers.hold(tx, ground.program, a_key(), NOW, 60) == SAID


def test_another_body_under_the_same_key_is_refused(engine: Engine, ground: Ground) -> None:
    mine = held(engine, ground, a_key())
    for moment in (NOW, LATER):
        with pytest.raises(KeyReused), begin(engine) as tx:
            answers.hold(tx, ground.program, a_key(body={"other": 1}), moment, 60)
    with begin(engine) as tx:
        answers.finish(tx, mine, SAID, NOW)
    with pytest.raises(KeyReused), begin(engine) as tx:
        answers.hold(tx, ground.program, a_key(body={"other": 1}), NOW, 60)


def test_what_was_given_up_can_be_asked_again_at_once(engine: Engine, ground: Ground) -> None:
    mine = held(engine, ground, a_key())
    with begin(engine) as tx:
        answers.abandon(tx, mine)
    held(engine, ground, a_key(body={"other": 1}))


def test_a_dead_ones_request_is_taken_over_and_what_it_says_later_does_not_count(
    engine: Engine, ground: Ground
) -> None:
    late = held(engine, ground, a_key())
    with begin(engine) as tx:
        other = answers.hold(tx, ground.program, a_key(), LATER, 60)
    assert isinstance(other, Hold)
    with pytest.raises(InFlight), begin(engine) as tx:
        answers.finish(tx, late, SAID, LATER)
    with begin(engine) as tx:
        # It is not its own any more.
        answers.abandon(tx, late)
        assert answers.finish(tx, other, replace(SAID, body="other's"), LATER).body == "other's"
        assert answers.finish(tx, late, SAID, LATER).body == "other's"


def test_an_answer_that_comes_after_the_other_one_gave_up_counts(engine: Engine, ground: Ground) -> None:
    late = held(engine, ground, a_key())
    with begin(engine) as tx:
        other = answers.hold(tx, ground.program, a_key(), LATER, 60)
        assert isinstance(other, Hold)
        answers.abandon(tx, other)
        assert answers.finish(tx, late, SAID, LATER) == SAID
        assert answers.hold(tx, ground.program, a_key(), LATER, 60) == SAID


def test_of_many_at_once_one_has_the_request_for_itself(engine: Engine, ground: Ground) -> None:
    got: list[object] = []

    def ask() -> None:
        try:
            with begin(engine) as tx:
                got.append(answers.hold(tx, ground.program, a_key(), NOW, 60))
        except InFlight as refused:
            got.append(refused)

    run_together([ask] * 12)
    assert [isinstance(each, Hold) for each in got].count(True) == 1
    assert [isinstance(each, InFlight) for each in got].count(True) == 11


def test_of_many_at_once_one_takes_a_dead_ones_request_over(engine: Engine, ground: Ground) -> None:
    held(engine, ground, a_key())
    got: list[object] = []

    def ask() -> None:
        try:
            with begin(engine) as tx:
                got.append(answers.hold(tx, ground.program, a_key(), LATER, 60))
        except InFlight as refused:
            got.append(refused)

    run_together([ask] * 8)
    assert [isinstance(each, Hold) for each in got].count(True) == 1


def test_only_old_answers_that_need_not_be_kept_are_forgotten(engine: Engine, ground: Ground) -> None:
    old, new = NOW - timedelta(days=31), NOW - timedelta(days=29)
    with begin(engine) as tx:
        answers.add(tx, ground.program, [(a_key(f"old-{number}"), SAID) for number in range(5)], old)
        answers.add(tx, ground.program, [(a_key("kept", kept=True), SAID)], old)
        answers.add(tx, ground.program, [(a_key("new"), SAID)], new)
        assert answers.forget_old(tx, NOW, limit=3) == 3
        assert answers.forget_old(tx, NOW, limit=3) == 2
        assert answers.forget_old(tx, NOW) == 0
        assert set(tx.execute(select(table.c.request_key)).scalars()) == {"kept", "new"}


def test_what_is_asked_often_goes_by_index(engine: Engine, ground: Ground) -> None:
    if engine.dialect.name != "sqlite":
        return
    with begin(engine) as tx, listening(engine) as asked:
        answers.find(tx, ground.program, "POST /v1/vouchers", ["a", "b"])
        held_one = answers.hold(tx, ground.program, a_key(), NOW, 60)
        assert isinstance(held_one, Hold)
        answers.finish(tx, held_one, SAID, NOW)
        answers.forget_old(tx, NOW)
        assert tx.execute(select(func.count()).select_from(table)).scalar_one() == 1
    with read(engine) as tx:
        plans = sqlite_plans(tx, asked)
    plans = {statement: plan for statement, plan in plans.items() if "count(*)" not in statement}
    for statement, plan in plans.items():
        assert not [step for step in plan if step.startswith("SCAN") and "CONSTANT" not in step], (statement, plan)
    assert [plan for plan in plans.values() if any("ix_answers_created_at (created_at<?)" in step for step in plan)]
