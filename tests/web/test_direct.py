"""Requests for one card or stamp by the shortest way: answered as by the framework's routes, on both databases."""

import asyncio
import threading
from collections.abc import Iterator
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from nftloyalty.app.intake import Intake
from nftloyalty.domain.answer import Answer, Said
from nftloyalty.web import mints
from nftloyalty.web.deps import Service
from nftloyalty.web.direct import Awaited, AwaitedOutcome
from tests.app.build import World, new_wallet
from tests.app.conftest import *  # noqa: F403 - the worlds of the app's tests, on both databases
from tests.web.conftest import serving

CARD = b'{"wallet": "%s", "tier": "gold", "expiry": "2049-12-31"}'
STAMP = b'{"wallet": "%s", "stamp": "latte"}'
SHORT = [("Content-Type", "application/json")]
LONG = [*SHORT, ("Content-Type", "application/json")]
"""With two of them it is not plain what the request is: the framework's route takes it."""


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[httpx2.Client]:
    here = world.here
    with Intake(world.app, here) as intake, serving(Service(world.app, here, None, intake=intake)) as client:
        yield client


def ways_taken(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Grows by one for each request that comes to the framework's routes."""
    taken: list[str] = []
    one = mints._one

    async def counted(request: Any, *more: Any) -> Any:
        taken.append(request.url.path)
        return await one(request, *more)

    monkeypatch.setattr(mints, "_one", counted)
    return taken


def shown(answer: httpx2.Response, wallet: str, key: str) -> tuple[int, dict[str, str], Any]:
    """What does not differ from one such request to the next."""
    headers = {name: value for name, value in answer.headers.items() if name not in ("date", "x-request-id")}
    told = answer.json()
    for name in ("id", "status_url", "created_at", "updated_at", "request_id"):
        told.pop(name, None)
    return answer.status_code, headers, str(told).replace(wallet, "the wallet").replace(key, "the key")


@pytest.mark.parametrize("path", ["/v1/mints", "/v1/stamps"])
@pytest.mark.parametrize(
    "body",
    [
        None,
        b"",
        b"{",
        b"[]",
        b"null",
        b'"\xff"',
        b'{"wallet": "%s"}',
        b'{"wallet": "%s", "tier": "golt", "stamp": "late", "more": 1}',
        b'{"wallet": "%s", "tier": "gold", "expiry": "2001-01-01"}',
        b'{"wallet": "0x12", "tier": "gold"}',
    ],
)
def test_both_ways_answer_alike(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch, path: str, body: bytes | None
) -> None:
    taken = ways_taken(monkeypatch)
    good = CARD if path == "/v1/mints" else STAMP
    found: list[Any] = []
    for way in (SHORT, LONG):
        assert taken == []
        wallet, key = new_wallet(), ("Idempotency-Key", str(uuid4()))
        text = good if body is None else body
        content = text.replace(b"%s", wallet.encode())
        asked = [
            (content, key),
            # The same once more, the same with another key, and something else with the first one.
            (content, key),
            (content, ("Idempotency-Key", str(uuid4()))),
            (b'{"else": true}', key),
        ]
        found.append(
            [shown(client.post(path, content=each, headers=[*way, own]), wallet, key[1]) for each, own in asked]
        )
    assert taken == [path] * 4
    assert found[0] == found[1]
    if body is None:
        assert [status for status, _, _ in found[0]] == [202, 202, 200, 422]


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ([("Idempotency-Key", "k")], 415, "wrong_media_type"),
        ([*SHORT], 400, "idempotency_key_missing"),
        ([*SHORT, ("Idempotency-Key", "")], 400, "idempotency_key_missing"),
        ([*SHORT, ("Idempotency-Key", "a"), ("Idempotency-Key", "b")], 422, "bad_input"),
        ([*SHORT, ("Idempotency-Key", ""), ("Idempotency-Key", "b")], 400, "idempotency_key_missing"),
        ([*SHORT, ("Idempotency-Key", "k" * 256)], 422, "bad_input"),
        ([*SHORT, ("Idempotency-Key", "\u00e9")], 422, "bad_input"),
        ([("Content-Type", "text/plain"), ("Idempotency-Key", "k")], 415, "wrong_media_type"),
    ],
)
def test_what_is_not_plain_is_refused_as_for_all_routes(
    client: httpx2.Client, headers: list[tuple[str, str]], status: int, code: str
) -> None:
    content = CARD % new_wallet().encode()
    sent = [(name.encode(), value.encode("latin-1")) for name, value in headers]
    answer = client.post("/v1/mints", content=content, headers=sent)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_a_key_that_can_be_none_is_told_in_the_same_words_both_ways(client: httpx2.Client) -> None:
    said = [
        client.post("/v1/mints", content=CARD % new_wallet().encode(), headers=[*way, ("Idempotency-Key", "k" * 256)])
        for way in (SHORT, LONG)
    ]
    assert said[0].json()["errors"] == said[1].json()["errors"]


def test_another_kind_of_json_is_json(client: httpx2.Client) -> None:
    for media in ("application/json; charset=utf-8", "Application/JSON", "application/vnd.till+json"):
        headers = {"Content-Type": media, "Idempotency-Key": str(uuid4())}
        answer = client.post("/v1/mints", content=CARD % new_wallet().encode(), headers=headers)
        assert answer.status_code == 202, answer.text


def test_a_server_that_only_reads_refuses_it(world: World) -> None:
    with serving(Service(world.app, world.here, None, takes_claims=False)) as client:
        headers = [*SHORT, ("Idempotency-Key", str(uuid4()))]
        answer = client.post("/v1/mints", content=CARD % new_wallet().encode(), headers=headers)
        assert (answer.status_code, answer.json()["code"]) == (501, "read_only"), answer.text


def test_a_fault_of_ours_says_nothing_of_itself(
    client: httpx2.Client, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def broken(*_given: object) -> Answer:
        raise RuntimeError("what only we may know")

    monkeypatch.setattr("nftloyalty.app.intake.read_card", broken)
    headers = [*SHORT, ("Idempotency-Key", str(uuid4()))]
    answer = client.post("/v1/mints", content=CARD % new_wallet().encode(), headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (500, "internal")
    assert "only we" not in answer.text and "a request failed" in caplog.text


# ------------------------------------------------------------------------------------------------------------- waiting


def test_what_is_done_together_wakes_the_loop_once(monkeypatch: pytest.MonkeyPatch) -> None:
    async def wait() -> int:
        awaited, loop = Awaited(), asyncio.get_running_loop()
        woken = 0
        plain = loop.call_soon_threadsafe

        def counted(*given: Any, **more: Any) -> asyncio.Handle:
            nonlocal woken
            woken += 1
            return plain(*given, **more)

        monkeypatch.setattr(loop, "call_soon_threadsafe", counted)
        outcomes = [awaited.outcome() for _ in range(50)]
        # This one holds the loop up until all are done, as a busy server's loop is held up.
        thread = threading.Thread(target=deliver, args=(outcomes,))
        thread.start()
        thread.join()
        assert await asyncio.gather(*(each.here for each in outcomes)) == [answer] * 50
        return woken

    def deliver(outcomes: list[AwaitedOutcome]) -> None:
        for each in outcomes:
            each.set_result(answer)

    answer = Answer(Said(202, "{}"))
    assert asyncio.run(wait()) == 1


def test_who_no_longer_waits_keeps_nobody_from_his_answer() -> None:
    async def wait() -> tuple[bool, Answer]:
        awaited = Awaited()
        left, stays = awaited.outcome(), awaited.outcome()
        left.here.cancel()
        for each in (left, stays):
            assert each.set_running_or_notify_cancel()
            each.set_result(answer)
        return left.here.cancelled(), await stays.here

    answer = Answer(Said(202, "{}"))
    assert asyncio.run(wait()) == (True, answer)


def test_a_failure_is_raised_where_it_is_waited_for() -> None:
    async def wait() -> None:
        failed = Awaited().outcome()
        failed.set_exception(ValueError("so"))
        await failed.here

    with pytest.raises(ValueError, match="so"):
        asyncio.run(wait())


def test_who_tells_goes_on_when_nobody_waits_any_more() -> None:
    async def ask() -> AwaitedOutcome:
        return Awaited().outcome()

    asyncio.run(ask()).set_result(Answer(Said(202, "{}")))
