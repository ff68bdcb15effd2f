"""A request that calls somebody out is done once for each key, unless it failed."""

from collections.abc import Callable, Iterator
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine

from nftloyalty.app import answering
from nftloyalty.app.context import App
from nftloyalty.domain.answer import Answer, AnswerKey, Said, answer_key
from nftloyalty.errors import InFlight, KeyReused, NodeUnreachable
from nftloyalty.store import answers, signers
from nftloyalty.store.engine import begin, open_engine
from tests.app.books import books
from tests.store.build import NOW, run_together

SAID = Said(201, "{}")


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    engine = open_engine(migrated_url)
    yield engine
    engine.dispose()


def a_key(body: object = None, key: str = "k") -> AnswerKey:
    return answer_key("POST /v1/vouchers", key, body, kept=False)


def never() -> Said:
    raise AssertionError("it was done a second time")


def once(app: App, program: int, key: AnswerKey, work: Callable[[], Said]) -> Answer:
    """With nothing to do but to say so."""
    return answering.once(app, program, key, work, lambda _tx, said: said)


def test_it_is_done_once_and_answered_the_same_ever_after(engine: Engine) -> None:
    app, opened = books(engine)
    assert once(app, opened.row.id, a_key(), lambda: SAID) == Answer(SAID)
    assert once(app, opened.row.id, a_key(), never) == Answer(SAID, replayed=True)
    with pytest.raises(KeyReused):
        once(app, opened.row.id, a_key({"other": 1}), never)


def test_what_failed_leaves_nothing_behind(engine: Engine) -> None:
    def fail() -> Said:
        raise NodeUnreachable("there", "no answer")

    app, opened = books(engine)
    with pytest.raises(NodeUnreachable):
        once(app, opened.row.id, a_key(), fail)
    assert not once(app, opened.row.id, a_key({"other": 1}), lambda: SAID).replayed


def test_while_it_is_done_the_same_is_told_so(engine: Engine) -> None:
    app, opened = books(engine)

    def work() -> Said:
        with pytest.raises(InFlight):
            once(app, opened.row.id, a_key(), never)
        return SAID

    assert once(app, opened.row.id, a_key(), work) == Answer(SAID)


def test_a_process_that_died_over_it_is_followed_by_the_next(engine: Engine) -> None:
    now = NOW
    app, opened = books(engine, lambda: now)
    with begin(engine) as tx:
        answers.hold(tx, opened.row.id, a_key(), now, answering.HELD_SECONDS)
    now += timedelta(seconds=answering.HELD_SECONDS + 1)
    assert once(app, opened.row.id, a_key(), lambda: SAID) == Answer(SAID)


def test_who_was_overtaken_gives_the_answer_of_who_did_it(engine: Engine) -> None:
    now = NOW
    app, opened = books(engine, lambda: now)

    def late() -> Said:
        nonlocal now
        now += timedelta(seconds=answering.HELD_SECONDS + 1)
        once(app, opened.row.id, a_key(), lambda: SAID)
        return Said(201, "another")

    assert once(app, opened.row.id, a_key(), late) == Answer(SAID, replayed=True)


def test_what_is_done_is_kept_with_its_answer_or_not_at_all(engine: Engine) -> None:
    now = NOW
    app, opened = books(engine, lambda: now)

    def mark(tx: Connection, _: object) -> Said:
        signers.register(tx, opened.attached.row, "0x" + "77" * 20)
        return Said(202, "mine")

    def overtaken() -> None:
        nonlocal now
        now += timedelta(seconds=answering.HELD_SECONDS + 1)
        once(app, opened.row.id, a_key(), lambda: SAID)

    def marked() -> bool:
        with begin(engine) as tx:
            return any(row.address == "0x" + "77" * 20 for row in signers.list_all(tx, opened.attached.row))

    assert answering.once(app, opened.row.id, a_key(), overtaken, mark) == Answer(SAID, replayed=True)
    assert not marked()
    assert answering.once(app, opened.row.id, a_key({"other": 2}, "second"), lambda: None, mark).said.body == "mine"
    assert marked()


def test_many_at_once_do_it_once(engine: Engine) -> None:
    app, opened = books(engine)
    done: list[int] = []
    got: list[Answer | InFlight] = []

    def work() -> Said:
        done.append(1)
        return SAID

    def ask() -> None:
        try:
            got.append(once(app, opened.row.id, a_key(), work))
        except InFlight as refused:
            got.append(refused)

    run_together([ask] * 20)
    assert len(done) == 1
    assert {answer.said for answer in got if isinstance(answer, Answer)} == {SAID}
