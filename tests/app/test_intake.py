"""Requests are taken in together and answered each by itself, once for each key and once for each card."""

import asyncio
import json
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, select

from nftloyalty.app import batching, describing, intake
from nftloyalty.app.intake import Intake
from nftloyalty.domain.answer import Answer, AnswerKey, Said, answer_key
from nftloyalty.domain.intent import IntentState, Kind, request_key
from nftloyalty.domain.mint import Reply
from nftloyalty.errors import AskedOtherwise, BadInput, DatabaseProblem, IntakeFull, KeyReused, LoyaltyError, Unknown
from nftloyalty.store import intents
from nftloyalty.store.engine import begin, open_engine, read
from nftloyalty.store.intents import IntentRow, NewIntent
from nftloyalty.store.tables import Phase, answers, batches
from nftloyalty.store.tables import intents as intent_table
from tests.app.books import books, ground_of
from tests.app.build import request
from tests.domain.build import wallet
from tests.store.build import NOW, include, run_together, sent, waiting_cards

MINTS = "POST /v1/mints"


@pytest.fixture
def engine(migrated_url: str) -> Iterator[Engine]:
    engine = open_engine(migrated_url)
    yield engine
    engine.dispose()


def told(reply: Reply, intent: Mapping[str, Any]) -> Said:
    return Said(202 if reply is Reply.ACCEPTED else 200, json.dumps({"reply": reply, "intent": intent}))


def batch_told(batch: Mapping[str, Any]) -> Said:
    return Said(202, json.dumps(batch))


def a_card(number: int, **changes: Any) -> dict[str, Any]:
    return {"wallet": wallet(number).lower(), "tier": "gold", "expiry": None} | changes


def a_stamp(number: int) -> dict[str, Any]:
    return {"wallet": wallet(number), "stamp": "latte"}


def a_batch(*items: Mapping[str, Any]) -> dict[str, Any]:
    return {"kind": "mint-card", "items": list(items)}


def key_of(key: str, body: object, route: str = MINTS) -> AnswerKey:
    return answer_key(route, key, body, kept=True)


def ask(taking: Intake, body: Any, key: str = "") -> "Future[Answer]":
    return request(taking.card, body, told, key_of(key, body) if key else None)


def result(future: "Future[Answer]") -> dict[str, Any]:
    found: dict[str, Any] = json.loads(future.result(30).said.body)
    return found


def rows(engine: Engine) -> list[IntentRow]:
    with read(engine) as tx:
        return [IntentRow(*row) for row in tx.execute(select(intent_table).order_by(intent_table.c.id))]


def count(engine: Engine, table: Any) -> int:
    with read(engine) as tx:
        return int(tx.execute(select(func.count()).select_from(table)).scalar_one())


@contextmanager
def together(taking: Intake) -> Iterator[None]:
    """What is asked inside is taken in with one transaction, once the block ends."""
    with taking._wake:
        yield


# ----------------------------------------------------------------------------------------------------------- one by one


def test_a_card_becomes_an_intent_with_the_key_that_a_file_gives_it(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        found = result(ask(taking, a_card(1, expiry="2030-12-31")))
    (row,) = rows(engine)
    assert row.request_key == request_key("coffee", Kind.MINT_CARD, 0, wallet(1))
    assert (row.recipient, row.state, row.created_at) == (wallet(1), IntentState.RECEIVED, NOW)
    assert row.args == {"tier": 2, "expires_at": 1_924_992_000}
    assert found == {
        "reply": "accepted",
        "intent": {
            "id": row.public_id,
            "kind": "mint-card",
            "wallet": wallet(1),
            "tier": "gold",
            "tier_number": 2,
            "expires_at": "2031-01-01T00:00:00Z",
            "last_day": "2030-12-31",
            "stamp": None,
            "what": None,
            "may_return": None,
            "because": None,
            "phase": "pending",
            "sentence": "accepted; it will be sent to the chain soon",
            "transaction": None,
            "block": None,
            "reason": None,
            "created_at": "2026-03-01T12:00:00.250000Z",
            "updated_at": "2026-03-01T12:00:00.250000Z",
        },
    }


def test_a_stamp_becomes_an_intent(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        found = result(request(taking.stamp, a_stamp(1), told))
    (row,) = rows(engine)
    assert (row.kind, row.stamp_type, row.args) == (Kind.MINT_STAMP, 1, {})
    assert (found["intent"]["stamp"], found["intent"]["tier"]) == ("latte", None)


def test_the_same_card_again_is_the_same_intent_and_another_one_is_refused(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        first = result(ask(taking, a_card(1)))
        again = result(ask(taking, a_card(1)))
        assert (again["reply"], again["intent"]) == ("known", first["intent"])
        with pytest.raises(AskedOtherwise) as refused:
            ask(taking, a_card(1, tier="member"), "k").result(30)
        # Nothing is kept of it, so the key is free.
        assert result(ask(taking, a_card(2), "k"))["reply"] == "accepted"
    assert refused.value.intent == first["intent"]["id"]
    assert "as Gold for life" in refused.value.message
    assert len(rows(engine)) == 2


@pytest.mark.parametrize("stopped", [IntentState.REJECTED, IntentState.CANCELLED])
def test_what_was_stopped_is_taken_up_again_under_its_id(engine: Engine, stopped: IntentState) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        first = result(ask(taking, a_card(1), "one"))
        with begin(engine) as tx:
            if stopped is IntentState.REJECTED:
                intents.reject(tx, [rows(engine)[0].id], NOW, code=3)
            else:
                intents.cancel(tx, [rows(engine)[0].id], NOW)
        told_now = describing.find(app, opened, first["intent"]["id"])
        assert told_now["phase"] == "reverted"
        # Under the same key it is still answered what it was.
        assert result(ask(taking, a_card(1), "one")) == first
        again = result(ask(taking, a_card(1, tier="member"), "two"))
    assert (again["reply"], again["intent"]["id"], again["intent"]["tier"]) == (
        "again",
        first["intent"]["id"],
        "member",
    )
    (row,) = rows(engine)
    assert (row.state, row.args["tier"], row.code) == (IntentState.RECEIVED, 1, None)


def test_bad_requests_are_named_and_leave_nothing(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        asked = [
            ask(taking, a_card(1, wallet="0x1", tier="x")),
            ask(taking, a_card(1, wallet="0x1"), "k"),
            ask(taking, a_card(1, wallet=opened.row.membership)),
            request(taking.stamp, {"wallet": wallet(1), "stamp": "old"}, told),
        ]
        places = []
        for each in asked:
            with pytest.raises(BadInput) as refused:
                each.result(30)
            places.append([problem.place for problem in refused.value.problems])
    assert places == [["/wallet", "/tier"], ["/wallet"], ["/wallet"], ["/stamp"]]
    assert (rows(engine), count(engine, answers)) == ([], 0)


# ----------------------------------------------------------------------------------------------------------------- keys


def test_the_same_key_is_answered_the_same_whatever_has_happened_since(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        first = ask(taking, a_card(1), "k").result(30)
        with begin(engine) as tx:
            intents.cancel(tx, [rows(engine)[0].id], NOW)
        again = ask(taking, dict(reversed(a_card(1).items())), "k").result(30)
    assert (first.replayed, again) == (False, replace(first, replayed=True))
    assert rows(engine)[0].state is IntentState.CANCELLED


def test_another_body_under_the_same_key_is_refused(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        ask(taking, a_card(1), "k").result(30)
        for body in (a_card(2), a_card(1, wallet="0x1")):
            with pytest.raises(KeyReused):
                ask(taking, body, "k").result(30)
        body = a_stamp(2)
        assert result(request(taking.stamp, body, told, key_of("k", body, "POST /v1/stamps")))["reply"] == "accepted"
    assert len(rows(engine)) == 2


def test_a_request_that_was_right_once_is_answered_by_its_key_for_ever(engine: Engine) -> None:
    now = NOW
    app, opened = books(engine, lambda: now)
    body = a_card(1, expiry="2026-03-02")
    with Intake(app, opened) as taking:
        first = ask(taking, body, "k").result(30)
        now = NOW + timedelta(days=4_000)
        assert ask(taking, body, "k").result(30) == replace(first, replayed=True)
        with pytest.raises(BadInput):
            ask(taking, body, "other").result(30)


def test_every_answer_to_a_mint_is_kept_for_ever(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        ask(taking, a_card(1), "k").result(30)
    with read(engine) as tx:
        assert tx.execute(select(answers.c.kept, answers.c.status)).one() == (True, 202)


# ------------------------------------------------------------------------------------------------------------- together


def test_each_of_those_taken_in_together_gets_its_own_answer(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        ask(taking, a_card(9)).result(30)
        with together(taking):
            asked = {
                "new": ask(taking, a_card(1), "a"),
                "same key": ask(taking, a_card(1), "a"),
                "same card": ask(taking, a_card(1), "b"),
                "other card": ask(taking, a_card(1, tier="member"), "c"),
                "key of the refused one": ask(taking, a_card(2), "c"),
                "other body": ask(taking, a_card(3), "a"),
                "known": ask(taking, a_card(9)),
                "bad": ask(taking, a_card(4, tier="x"), "d"),
                "bad, key in use": ask(taking, a_card(4, tier="x"), "a"),
                "stamp": request(taking.stamp, a_stamp(1), told),
            }

    def outcome(future: "Future[Answer]") -> str:
        error = future.exception(30)
        if error is not None:
            return type(error).__name__
        answer = future.result()
        return f"{json.loads(answer.said.body)['reply']}{' replayed' if answer.replayed else ''}"

    assert {name: outcome(future) for name, future in asked.items()} == {
        "new": "accepted",
        "same key": "accepted replayed",
        "same card": "known",
        "other card": "AskedOtherwise",
        "key of the refused one": "accepted",
        "other body": "KeyReused",
        "known": "known",
        "bad": "BadInput",
        "bad, key in use": "KeyReused",
        "stamp": "accepted",
    }
    assert [(row.kind, row.recipient) for row in rows(engine)] == [
        (Kind.MINT_CARD, wallet(9)),
        (Kind.MINT_CARD, wallet(1)),
        (Kind.MINT_CARD, wallet(2)),
        (Kind.MINT_STAMP, wallet(1)),
    ]


def test_many_requests_take_few_commits(engine: Engine) -> None:
    app, opened = books(engine)
    moments: list[datetime] = []

    def now() -> datetime:
        moments.append(NOW + timedelta(seconds=len(moments)))
        return moments[-1]

    with Intake(replace(app, now=now), opened) as taking, together(taking):
        asked = [ask(taking, a_card(number), str(number)) for number in range(300)]
    wait(asked, 30)
    assert len(rows(engine)) == 300
    assert len({row.created_at for row in rows(engine)}) == 1


def test_one_that_can_not_be_answered_fails_alone_and_leaves_nothing(engine: Engine) -> None:
    def broken(reply: Reply, intent: Mapping[str, Any]) -> Said:
        raise ZeroDivisionError

    app, opened = books(engine)
    with Intake(app, opened) as taking:
        with together(taking):
            good = [ask(taking, a_card(number), str(number)) for number in range(3)]
            bad = request(taking.card, a_card(7), broken, key_of("bad", a_card(7)))
            good += [ask(taking, a_card(number), str(number)) for number in range(3, 6)]
        assert [result(each)["reply"] for each in good] == ["accepted"] * 6
        with pytest.raises(ZeroDivisionError):
            bad.result(30)
    assert [row.recipient for row in rows(engine)] == [wallet(number) for number in range(6)]
    assert count(engine, answers) == 6


@pytest.mark.parametrize("committed", [False, True])
def test_a_commit_that_fails_is_told_to_all_and_asking_again_is_safe(
    engine: Engine, monkeypatch: pytest.MonkeyPatch, committed: bool
) -> None:
    """Whether it was carried out, nobody knows then."""

    @contextmanager
    def breaking(of: Engine) -> Iterator[Connection]:
        with begin(of) as tx:
            yield tx
            if not committed:
                raise DatabaseProblem("here", "gone")
        raise DatabaseProblem("here", "gone")

    app, opened = books(engine)
    with Intake(app, opened) as taking:
        monkeypatch.setattr(intake, "begin", breaking)
        with together(taking):
            asked = [ask(taking, a_card(number), str(number)) for number in range(3)]
        assert all(isinstance(each.exception(30), DatabaseProblem) for each in asked)
        monkeypatch.undo()
        again = [ask(taking, a_card(number), str(number)).result(30) for number in range(3)]
    assert [answer.replayed for answer in again] == [committed] * 3
    assert len(rows(engine)) == 3


def test_fifty_at_once_with_one_key_make_one_intent(engine: Engine) -> None:
    app, opened = books(engine)
    got: list[Answer] = []
    with Intake(app, opened) as taking:
        run_together([lambda: got.append(ask(taking, a_card(1), "k").result(30))] * 50)
    assert len(rows(engine)) == 1
    assert {answer.said.body for answer in got} == {got[0].said.body}
    assert [answer.replayed for answer in got].count(False) == 1


def test_fifty_at_once_in_one_loop_make_one_intent(engine: Engine) -> None:
    app, opened = books(engine)

    async def all_of_them(taking: Intake) -> list[Answer]:
        return list(await asyncio.gather(*(asyncio.wrap_future(ask(taking, a_card(1), "k")) for _ in range(50))))

    with Intake(app, opened) as taking:
        got = asyncio.run(all_of_them(taking))
    assert len(rows(engine)) == 1
    assert len({answer.said for answer in got}) == 1


def test_two_processes_at_once_make_one_intent_of_each(engine: Engine, migrated_url: str) -> None:
    """As two server processes are: each its own connections."""
    with ExitStack() as stack:
        other = open_engine(migrated_url)
        stack.callback(other.dispose)
        takings = [stack.enter_context(Intake(*books(each))) for each in (engine, other)]
        got: dict[int, set[Said]] = {number: set() for number in range(10)}

        def work(place: int) -> Callable[[], None]:
            def asking() -> None:
                for step in range(10):
                    # Each in another order: they would otherwise wait for each other's rows in the same one.
                    number = (place + step) % 10 if place % 2 else (place - step) % 10
                    body = a_card(number)
                    got[number].add(ask(takings[place % 2], body, f"k{number}").result(60).said)
                batch = a_batch(*(a_card(100 + (place + step) % 10) for step in range(10)))
                request(takings[place % 2].batch, batch, batch_told).result(60)

            return asking

        run_together([work(place) for place in range(10)])
    assert [len(said) for said in got.values()] == [1] * 10
    assert sorted(row.recipient or "" for row in rows(engine)) == sorted(
        wallet(number) for number in (*range(10), *range(100, 110))
    )


# ------------------------------------------------------------------------------------------------------------- how much


def test_more_than_may_wait_is_refused_and_what_waits_is_not(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened, most_waiting=3) as taking:
        with together(taking):
            asked = [ask(taking, a_card(number)) for number in range(3)]
            with pytest.raises(IntakeFull, match="too many requests"):
                ask(taking, a_card(3))
            assert taking.waiting == 3
        wait(asked, 30)
        assert result(ask(taking, a_card(3)))["reply"] == "accepted"


def test_more_batches_than_may_wait_are_refused(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(intake, "MOST_BATCHES", 1)
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        with together(taking):
            asked = [request(taking.batch, a_batch(a_card(1)), batch_told), ask(taking, a_card(2))]
            with pytest.raises(IntakeFull, match="too many batches"):
                request(taking.batch, a_batch(a_card(3)), batch_told)
        wait(asked, 30)
        request(taking.batch, a_batch(a_card(3)), batch_told).result(30)
    assert len(rows(engine)) == 3


def test_stopping_carries_out_what_waits_and_refuses_what_comes(engine: Engine) -> None:
    app, opened = books(engine)
    taking = Intake(app, opened)
    asked = [ask(taking, a_card(number)) for number in range(5)]
    taking.start()
    taking.stop()
    taking.stop()
    assert [result(each)["reply"] for each in asked] == ["accepted"] * 5
    with pytest.raises(IntakeFull, match="being stopped"):
        ask(taking, a_card(9))


def test_who_gave_up_waiting_is_left_out_and_his_neighbours_are_not(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        with together(taking):
            asked = [ask(taking, a_card(number)) for number in range(3)]
            assert asked[1].cancel()
        wait([asked[0], asked[2]], 30)
    assert [row.recipient for row in rows(engine)] == [wallet(0), wallet(2)]


def test_a_program_without_a_minter_takes_nothing_in(engine: Engine) -> None:
    app, opened = books(engine)
    powers = replace(opened.program.powers, minters=())
    with pytest.raises(LoyaltyError, match="names no minters"):
        Intake(app, replace(opened, program=replace(opened.program, powers=powers)))


# -------------------------------------------------------------------------------------------------------------- batches


def test_a_batch_is_taken_in_whole_and_tells_what_became_of_each_item(engine: Engine) -> None:
    app, opened = books(engine)
    body = a_batch(*(a_card(number) for number in range(6)))
    with Intake(app, opened) as taking:
        known, rejected = (result(ask(taking, a_card(number)))["intent"]["id"] for number in (1, 2))
        other = result(ask(taking, a_card(3, tier="member")))["intent"]["id"]
        with begin(engine) as tx:
            intents.reject(tx, [intents.get(tx, rejected).id], NOW, code=5)
        key = key_of("k", body, "POST /v1/batches")
        answer = request(taking.batch, body, batch_told, key).result(30)
        assert request(taking.batch, body, batch_told, key).result(30) == replace(answer, replayed=True)
        with pytest.raises(KeyReused):
            request(taking.batch, a_batch(a_card(7)), batch_told, replace(key, fingerprint=b"")).result(30)
    batch = json.loads(answer.said.body)
    assert batch["replies"] == {"accepted": 3, "again": 1, "known": 1, "asked_otherwise": 1}
    assert (batch["total"], batch["kind"], batch["stamp"]) == (6, "mint-card", None)
    first = batching.items(app, opened, batch["id"], limit=4)
    rest = batching.items(app, opened, batch["id"], cursor=first.cursor or "", limit=4)
    items = [*first.items, *rest.items]
    assert (len(first.items), rest.cursor) == (4, None)
    assert [item["place"] for item in items] == list(range(6))
    assert [item["wallet"] for item in items] == [wallet(number) for number in range(6)]
    assert [item["reply"] for item in items] == [
        "accepted",
        "known",
        "again",
        "asked_otherwise",
        "accepted",
        "accepted",
    ]
    assert [items[place]["intent"]["id"] for place in (1, 2, 3)] == [known, rejected, other]
    assert items[3]["intent"]["tier"] == "member"
    assert (len(rows(engine)), count(engine, batches)) == (6, 1)


def test_a_batch_tells_how_far_it_is(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        batch = json.loads(request(taking.batch, a_batch(*map(a_card, range(5))), batch_told).result(30).said.body)
        ask(taking, a_card(9)).result(30)
    ground = ground_of(engine, opened)
    with begin(engine) as tx:
        slot, attempt = sent(tx, ground, waiting_cards(tx, ground, limit=2))
        first = rows(engine)[0].id
        include(tx, ground, slot.id, attempt, [intents.Landed(first + place, place) for place in range(2)])
        intents.reject(tx, [first + 3], NOW, error="the dry run said no")
    found = batching.find(app, opened, batch["id"])
    assert found == batch | {"phases": {"pending": 4, "final": 0, "reverted": 1}}
    item = batching.items(app, opened, batch["id"]).items[3]
    assert item["intent"]["reason"] == {"code": "refused", "sentence": "the dry run said no"}
    assert batching.items(app, opened, batch["id"]).items[0]["intent"]["transaction"] == attempt.tx_hash
    page = batching.page(app, opened)
    assert ([each["id"] for each in page.batches], page.cursor) == ([batch["id"]], None)
    for wrong in ("bat_nobody", "\0", "int_" + "x" * 99):
        with pytest.raises(Unknown):
            batching.find(app, opened, wrong)
    for cursor in ("x", "-1", "1.5", "9" * 30):
        with pytest.raises(BadInput):
            batching.items(app, opened, batch["id"], cursor=cursor)
        with pytest.raises(BadInput):
            batching.page(app, opened, cursor=cursor)


def test_a_batch_with_one_bad_item_changes_nothing(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        body = a_batch(a_card(0), a_card(1, tier="x"), a_card(0))
        for key in (None, key_of("k", body, "POST /v1/batches")):
            with pytest.raises(BadInput) as refused:
                request(taking.batch, body, batch_told, key).result(30)
            assert [problem.place for problem in refused.value.problems] == ["/items/1/tier", "/items/2/wallet"]
    assert (rows(engine), count(engine, batches), count(engine, answers)) == ([], 0, 0)


def test_a_batch_of_stamps(engine: Engine) -> None:
    app, opened = books(engine)
    body = {"kind": "mint-stamp", "stamp": "latte", "items": [{"wallet": wallet(1)}, {"wallet": wallet(2)}]}
    with Intake(app, opened) as taking:
        batch = json.loads(request(taking.batch, body, batch_told).result(30).said.body)
    assert batch["stamp"] == "latte"
    assert [(row.kind, row.stamp_type) for row in rows(engine)] == [(Kind.MINT_STAMP, 1)] * 2


def test_a_batch_waits_behind_what_came_before_it_and_the_others_behind_it(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        with together(taking):
            asked = [
                ask(taking, a_card(1)),
                request(taking.batch, a_batch(a_card(1), a_card(2)), batch_told),
                ask(taking, a_card(2)),
                request(taking.batch, a_batch(a_card(2), a_card(3)), batch_told),
            ]
        replies = [json.loads(each.result(30).said.body) for each in asked]
    assert [replies[0]["reply"], replies[2]["reply"]] == ["accepted", "known"]
    assert [replies[place]["replies"]["known"] for place in (1, 3)] == [1, 1]
    assert [row.recipient for row in rows(engine)] == [wallet(number) for number in (1, 2, 3)]


# -------------------------------------------------------------------------------------------------------------- listing


def test_pages_of_what_was_asked_for(engine: Engine) -> None:
    app, opened = books(engine)
    with Intake(app, opened) as taking:
        with together(taking):
            asked = [ask(taking, a_card(number)) for number in range(5)]
            asked.append(request(taking.stamp, a_stamp(2), told))
        ids = [result(each)["intent"]["id"] for each in asked]
    with begin(engine) as tx:
        intents.cancel(tx, [rows(engine)[0].id], NOW)
        # An act of the operator, which is nobody's request.
        act = NewIntent("int_act", opened.attached.row, opened.row.id, 1, Kind.CALL, 0, None, {}, "act")
        intents.accept(tx, act, NOW)
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = describing.page(app, opened, limit=4, cursor=cursor)
        seen += [each["id"] for each in page.intents]
        cursor = page.cursor
    assert seen == ids[::-1]

    def of(**filters: Any) -> list[int]:
        return [ids.index(each["id"]) for each in describing.page(app, opened, **filters).intents]

    assert of(phase=Phase.REVERTED) == [0]
    assert of(phase=Phase.PENDING, kinds=[Kind.MINT_CARD]) == [4, 3, 2, 1]
    assert of(phase=Phase.FINAL) == []
    assert of(wallet=wallet(2)) == [5, 2]
    assert of(since=NOW + timedelta(seconds=1)) == []
    assert describing.find(app, opened, ids[0])["sentence"] == "cancelled before it was sent"
    for wrong in ("int_act", "int_nobody", "\0"):
        with pytest.raises(Unknown):
            describing.find(app, opened, wrong)
    with pytest.raises(BadInput):
        describing.page(app, opened, cursor="x")


def test_the_intake_ends_with_its_thread(engine: Engine) -> None:
    with Intake(*books(engine)):
        assert "intake" in {thread.name for thread in threading.enumerate()}
    assert "intake" not in {thread.name for thread in threading.enumerate()}
