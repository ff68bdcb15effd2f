"""Cards and stamps that are asked for over HTTP, on both databases."""

import json
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from nftloyalty.app import claiming
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.working import Worker
from nftloyalty.domain.mint import MOST_ITEMS
from nftloyalty.store import intents
from nftloyalty.store.engine import begin, read
from nftloyalty.web.deps import Service
from tests.app.build import World, new_wallet
from tests.app.conftest import *  # noqa: F403 - the worlds of the app's tests, on both databases
from tests.web.conftest import serving

JSON = {"Content-Type": "application/json"}


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[httpx2.Client]:
    """A server that takes in and sends nothing."""
    here = world.here
    with Intake(world.app, here) as intake, serving(Service(world.app, here, None, intake=intake)) as client:
        yield client


def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid4())}


def card(tier: str = "member", **more: Any) -> dict[str, Any]:
    return {"wallet": new_wallet(), "tier": tier, **more}


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, found["code"]) == (status, code), answer.text
    return found


def asked(world: World, wallet: str) -> list[intents.IntentRow]:
    with read(world.app.engine) as tx:
        rows = tx.exec_driver_sql(f"SELECT public_id FROM intents WHERE recipient = '{wallet}'").scalars().all()  # noqa: S608
        return [intents.get(tx, row) for row in rows]


# --------------------------------------------------------------------------------------------------------------- single


def test_a_card_is_taken_in_and_can_be_asked_for_by_its_id(world: World, client: httpx2.Client) -> None:
    body = card("gold", expiry="2049-12-31")
    answer = client.post("/v1/mints", json=body, headers=key())
    assert answer.status_code == 202 and "Idempotent-Replayed" not in answer.headers
    told = answer.json()
    assert (told["reply"], told["phase"], told["kind"]) == ("accepted", "pending", "mint-card")
    assert (told["wallet"], told["tier"], told["last_day"]) == (body["wallet"], "gold", "2049-12-31")
    status = client.get(told["status_url"])
    assert status.status_code == 200
    assert status.json() == {name: told[name] for name in status.json()}
    (row,) = asked(world, body["wallet"])
    assert row.public_id == told["id"]


def test_a_stamp_is_taken_in(client: httpx2.Client) -> None:
    told = client.post("/v1/stamps", json={"wallet": new_wallet(), "stamp": "latte"}, headers=key()).json()
    assert (told["reply"], told["kind"], told["stamp"], told["tier"]) == ("accepted", "mint-stamp", "latte", None)


def test_the_same_request_again_is_answered_as_it_was(world: World, client: httpx2.Client) -> None:
    body, headers = card(), key()
    first = client.post("/v1/mints", json=body, headers=headers)
    again = client.post("/v1/mints", content=json.dumps(dict(reversed(body.items())), indent=1), headers=headers | JSON)
    assert (again.status_code, again.content) == (202, first.content)
    assert again.headers["Idempotent-Replayed"] == "true"
    with begin(world.app.engine) as tx:
        (row,) = [intents.get(tx, first.json()["id"])]
        intents.cancel(tx, [row.id], world.app.now())
    # Also when it came to something else since.
    assert client.post("/v1/mints", json=body, headers=headers).content == first.content


def test_another_request_under_the_same_key_is_refused(world: World, client: httpx2.Client) -> None:
    headers = key()
    client.post("/v1/mints", json=card(), headers=headers)
    other = card()
    problem_of(client.post("/v1/mints", json=other, headers=headers), 422, "key_reused")
    assert asked(world, other["wallet"]) == []
    # Keys are each route's own.
    assert client.post("/v1/stamps", json={"wallet": new_wallet(), "stamp": "latte"}, headers=headers).is_success


def test_the_same_card_under_another_key_is_known_and_another_one_refused(world: World, client: httpx2.Client) -> None:
    body = card()
    first = client.post("/v1/mints", json=body, headers=key()).json()
    again = client.post("/v1/mints", json=body, headers=key())
    assert (again.status_code, again.json()["reply"], again.json()["id"]) == (200, "known", first["id"])
    found = problem_of(client.post("/v1/mints", json=body | {"tier": "gold"}, headers=key()), 409, "asked_otherwise")
    assert first["id"] in found["detail"]
    assert len(asked(world, body["wallet"])) == 1


def test_a_file_and_the_api_never_mint_twice(world: World, client: httpx2.Client) -> None:
    body = card()
    first = client.post("/v1/mints", json=body, headers=key()).json()
    plan = world.plan(f"{body['wallet']},member,never")
    assert [row.outcome.value for row in plan.rows] == ["continuing"]
    assert first["reply"] == "accepted"


def test_fifty_at_once_with_one_key_lead_to_one_intent(world: World, client: httpx2.Client) -> None:
    body, headers = card(), key()
    barrier = threading.Barrier(50)

    def post(_: int) -> httpx2.Response:
        with httpx2.Client(base_url=client.base_url, timeout=30, trust_env=False) as mine:
            barrier.wait()
            return mine.post("/v1/mints", json=body, headers=headers)

    with ThreadPoolExecutor(50) as pool:
        answers = list(pool.map(post, range(50)))
    assert {answer.status_code for answer in answers} == {202}
    assert len({answer.content for answer in answers}) == 1
    assert sum("Idempotent-Replayed" not in answer.headers for answer in answers) == 1
    assert len(asked(world, body["wallet"])) == 1


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/tier", "/wallet"]),
        ({"wallet": "0x12", "tier": "goald", "expiry": "31.12.2030"}, ["/expiry", "/tier", "/wallet"]),
        ({"wallet": None, "tier": "gold", "expirey": "2030-12-31"}, ["/expirey", "/wallet"]),
        ([], ["/"]),
    ],
)
def test_all_that_is_wrong_is_told_with_its_place(client: httpx2.Client, body: Any, pointers: list[str]) -> None:
    found = problem_of(client.post("/v1/mints", json=body, headers=key()), 422, "bad_input")
    assert sorted(each["pointer"] for each in found["errors"]) == pointers
    assert all(each["mend"] for each in found["errors"])


def test_what_is_refused_leaves_its_key_free(client: httpx2.Client) -> None:
    headers, body = key(), card()
    problem_of(client.post("/v1/mints", json=body | {"tier": "goald"}, headers=headers), 422, "bad_input")
    assert client.post("/v1/mints", json=body, headers=headers).status_code == 202


@pytest.mark.parametrize("route", ["/v1/mints", "/v1/stamps", "/v1/batches"])
def test_a_key_is_asked_for_and_looked_at(client: httpx2.Client, route: str) -> None:
    found = problem_of(client.post(route, json={}), 400, "idempotency_key_missing")
    assert "Idempotency-Key" in found["mend"]
    for bad in ("with spaces", "x" * 256, "ö"):
        answer = client.post(route, json={}, headers=[(b"Idempotency-Key", bad.encode("latin-1"))])
        assert problem_of(answer, 422, "bad_input")["errors"][0]["pointer"] == "/Idempotency-Key"


@pytest.mark.parametrize("route", ["/v1/mints", "/v1/stamps", "/v1/batches"])
@pytest.mark.parametrize("body", [b"", b"{", b"[" * 5000, b'{"a": NaN}', b"\xff", b'"\\ud800"'])
def test_what_is_no_json_is_told(client: httpx2.Client, route: str, body: bytes) -> None:
    answer = client.post(route, content=body, headers=key() | JSON)
    assert answer.json()["code"] in ("not_json", "body_too_deep")
    assert answer.status_code == 400


def test_a_body_must_be_declared(client: httpx2.Client) -> None:
    answer = client.post("/v1/mints", content=b"{}", headers=key() | {"Content-Type": "text/plain"})
    problem_of(answer, 415, "wrong_media_type")


# -------------------------------------------------------------------------------------------------------------- batches


def test_a_batch_is_taken_in_whole_and_told_item_by_item(world: World, client: httpx2.Client) -> None:
    known, other = card(), card("gold")
    client.post("/v1/mints", json=known, headers=key())
    client.post("/v1/mints", json=other, headers=key())
    items = [known, other | {"tier": "member"}, *(card() for _ in range(4))]
    headers, body = key(), {"kind": "mint-card", "items": items}
    answer = client.post("/v1/batches", json=body, headers=headers)
    assert answer.status_code == 202, answer.text
    told = answer.json()
    assert (told["total"], told["replies"]) == (6, {"accepted": 4, "again": 0, "known": 1, "asked_otherwise": 1})
    again = client.post("/v1/batches", json=body, headers=headers)
    assert (again.content, again.headers["Idempotent-Replayed"]) == (answer.content, "true")
    status = client.get(told["status_url"]).json()
    assert (status["replies"], status["phases"]) == (told["replies"], {"pending": 5, "final": 0, "reverted": 0})
    page = client.get(status["items_url"], params={"limit": 4}).json()
    rest = client.get(status["items_url"], params={"limit": 4, "cursor": page["cursor"]}).json()
    found = [*page["items"], *rest["items"]]
    assert [each["wallet"] for each in found] == [each["wallet"] for each in items]
    assert [each["reply"] for each in found] == ["known", "asked_otherwise", *["accepted"] * 4]
    assert rest["cursor"] is None and [each["place"] for each in found] == list(range(6))
    assert client.get("/v1/batches").json()["items"][0]["id"] == told["id"]


def test_one_wrong_item_refuses_the_whole_batch(world: World, client: httpx2.Client) -> None:
    good = card()
    items = [good, {"wallet": "0x1", "tier": "gold"}, good, {"wallet": new_wallet(), "tier": "silver"}]
    answer = client.post("/v1/batches", json={"kind": "mint-card", "items": items}, headers=key())
    found = problem_of(answer, 422, "bad_input")
    assert [each["pointer"] for each in found["errors"]] == ["/items/1/wallet", "/items/2/wallet", "/items/3/tier"]
    assert asked(world, good["wallet"]) == []


def test_a_batch_has_as_many_items_as_it_says(client: httpx2.Client) -> None:
    items = [{"wallet": new_wallet()} for _ in range(MOST_ITEMS + 1)]
    answer = client.post("/v1/batches", json={"kind": "mint-stamp", "stamp": "latte", "items": items}, headers=key())
    assert "10,000" in problem_of(answer, 422, "bad_input")["errors"][0]["detail"]
    answer = client.post(
        "/v1/batches", json={"kind": "mint-stamp", "stamp": "latte", "items": items[1:]}, headers=key()
    )
    assert answer.json()["replies"]["accepted"] == MOST_ITEMS
    status = client.get(answer.json()["status_url"]).json()
    assert status["phases"]["pending"] == MOST_ITEMS


# ---------------------------------------------------------------------------------------------------------------- pages


def test_pages_hold_each_once_however_many_come_meanwhile(client: httpx2.Client) -> None:
    wallet = new_wallet()
    made = [client.post("/v1/mints", json={"wallet": wallet, "tier": "member"}, headers=key()).json()["id"]]
    made += [
        client.post("/v1/stamps", json={"wallet": wallet, "stamp": stamp}, headers=key()).json()["id"]
        for stamp in ("latte", "tasting")
    ]
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        params = {"wallet": wallet, "limit": "1", "cursor": cursor}
        page = client.get("/v1/intents", params=params).json()
        seen += [each["id"] for each in page["items"]]
        cursor = page["cursor"]
        client.post("/v1/mints", json=card(), headers=key())
    assert seen == made[::-1]
    only = client.get("/v1/intents", params={"wallet": wallet, "kind": "mint-card", "phase": "pending"}).json()
    assert [each["id"] for each in only["items"]] == made[:1]
    assert client.get("/v1/intents", params={"wallet": wallet, "phase": "final"}).json()["items"] == []


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"cursor": "x"}, "/cursor"),
        ({"limit": "0"}, "/limit"),
        ({"kind": "call"}, "/kind/0"),
        ({"wallet": "0x1"}, "/wallet"),
        ({"since": "yesterday"}, "/since"),
        ({"phase": "done"}, "/phase"),
    ],
)
def test_a_question_that_is_wrong_is_told_where(client: httpx2.Client, params: dict[str, str], pointer: str) -> None:
    found = problem_of(client.get("/v1/intents", params=params), 422, "bad_input")
    assert found["errors"][0]["pointer"] == pointer


@pytest.mark.parametrize("url", ["/v1/intents/int_nothing", "/v1/batches/bat_nothing", "/v1/batches/bat_nothing/items"])
def test_what_is_not_there_is_unknown(client: httpx2.Client, url: str) -> None:
    problem_of(client.get(url), 404, "unknown")


# ----------------------------------------------------------------------------------------------------------- to the end


def test_what_is_taken_in_is_sent_and_becomes_final(world: World, client: httpx2.Client) -> None:
    here = world.here
    told = client.post("/v1/mints", json=card("gold"), headers=key()).json()
    worker = Worker(world.app, here, [signer_of(world.app, claiming.relay_key(here))])
    worker.start()
    try:
        give_up = time.monotonic() + 60
        while (now := client.get(told["status_url"]).json())["phase"] == "pending":
            assert time.monotonic() < give_up, now
            time.sleep(0.05)
    finally:
        worker.stop()
    assert (now["phase"], now["reason"]) == ("final", None)
    assert now["transaction"].startswith("0x") and now["block"] > 0
    owned = client.get(f"/v1/ownership/{told['wallet']}").json()
    assert owned["card"]["tier"] == "gold"


def test_a_server_that_only_reads_takes_nothing_in(world: World) -> None:
    with serving(Service(world.app, world.here, None)) as client:
        problem_of(client.post("/v1/mints", json=card(), headers=key()), 501, "read_only")
