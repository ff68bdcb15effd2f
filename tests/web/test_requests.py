"""Every request has an id that its answer, its log lines and its errors share, and one line in the log."""

import io
import json
import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import httpx2
import pytest

from nftloyalty import logs
from nftloyalty.app import verifying
from nftloyalty.chain.client import Node
from nftloyalty.logs import Form, Level
from nftloyalty.web.deps import Service
from tests.app.build import World, app_of, new_wallet, open_world, settings_of
from tests.web.conftest import serving

KEY = "k3y-0f-the-node-provider"
Told = Callable[[int], list[dict[str, Any]]]


@pytest.fixture(scope="module")
def world(chain: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A program that is only asked about."""
    app = app_of(settings_of(tmp_path_factory.mktemp("world"), chain))
    yield open_world(app)
    app.close()


@pytest.fixture(scope="module")
def idle(world: World) -> Iterator[httpx2.Client]:
    with serving(Service(world.app, world.here, None)) as client:
        yield client


@pytest.fixture
def told() -> Iterator[Told]:
    """The log's lines, once there are so many: a request's own is written when its answer is on its way."""
    root, ours = logging.getLogger(), logging.getLogger("nftloyalty")
    before = root.level, ours.level, list(root.handlers)
    stream = io.StringIO()
    logs.set_up(Form.JSON, Level.INFO, (), stream)

    def lines(count: int) -> list[dict[str, Any]]:
        give_up = time.monotonic() + 10
        while len(found := stream.getvalue().splitlines()) < count and time.monotonic() < give_up:
            time.sleep(0.01)
        return [json.loads(line) for line in found]

    yield lines
    root.setLevel(before[0])
    ours.setLevel(before[1])
    root.handlers[:] = before[2]


def test_each_request_has_a_line_without_what_was_asked_for(world: World, idle: httpx2.Client, told: Told) -> None:
    wallet = new_wallet()
    answer = idle.get(f"/v1/ownership/{wallet}?consistency=live")
    (line,) = told(1)
    assert line["logger"] == "nftloyalty.web.access"
    assert (line["level"], line["message"], line["program"]) == ("INFO", "answered", world.program.id)
    assert (line["method"], line["route"], line["status"]) == ("GET", "/v1/ownership/{address}", 200)
    assert line["milliseconds"] > 0
    assert line["request_id"] == answer.headers["x-request-id"]
    assert wallet[2:].lower() not in json.dumps(line).lower()


def test_a_claim_is_named(idle: httpx2.Client, told: Told) -> None:
    idle.get("/v1/claims/int_0ktv3m8q1b2c4d5e6f7g8h9j0k")
    idle.get(f"/v1/claims/{new_wallet()}")
    first, second = told(2)
    assert first["intent"] == "int_0ktv3m8q1b2c4d5e6f7g8h9j0k"
    assert "intent" not in second


def test_an_id_that_is_given_is_kept(idle: httpx2.Client, told: Told) -> None:
    answer = idle.get("/healthz", headers={"X-Request-Id": "till-7:order.12_a"})
    assert answer.headers["x-request-id"] == told(1)[0]["request_id"] == "till-7:order.12_a"


@pytest.mark.parametrize(
    "given",
    ["a b", "x" * 129, 'a"b', "a\tb", "<b>", "-a", "\xe9", "a\x1b[2J"],
)
def test_an_id_that_is_none_is_not_taken(idle: httpx2.Client, told: Told, given: str) -> None:
    answer = idle.get("/healthz", headers=[(b"X-Request-Id", given.encode("latin-1"))])
    # What h11 itself refuses never comes to us.
    if answer.status_code == 200:
        assert answer.headers["x-request-id"].startswith("req_")
        assert told(1)[0]["request_id"] == answer.headers["x-request-id"]


def test_of_two_ids_none_is_taken(idle: httpx2.Client) -> None:
    answer = idle.get("/healthz", headers=[("X-Request-Id", "one"), ("X-Request-Id", "two")])
    assert answer.headers["x-request-id"].startswith("req_")


def test_ids_differ(idle: httpx2.Client) -> None:
    assert len({idle.get("/healthz").headers["x-request-id"] for _ in range(5)}) == 5


@pytest.mark.parametrize(
    ("path", "headers", "status"),
    [
        ("/nowhere", {}, 404),
        ("/v1/ownership/0x12", {}, 422),
        ("/v1/claims/int_nothing", {}, 404),
        ("/healthz", {"Host": "shop.example"}, 400),
    ],
)
def test_a_problem_names_its_request(idle: httpx2.Client, path: str, headers: dict[str, str], status: int) -> None:
    answer = idle.get(path, headers={"X-Request-Id": "till-7", **headers})
    assert answer.status_code == status
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "till-7"


def test_a_fault_of_ours_is_told_once_by_its_place(
    idle: httpx2.Client, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise RuntimeError(f"a secret of the inside: {KEY}")

    monkeypatch.setattr(verifying, "holding", fails)
    answer = idle.get(f"/v1/ownership/{new_wallet()}", headers={"X-Request-Id": "till-7"})
    assert (answer.status_code, answer.json()["code"], answer.json()["request_id"]) == (500, "internal", "till-7")
    assert answer.headers["x-request-id"] == "till-7"
    fault, line = told(2)
    assert (fault["level"], fault["error"], fault["request_id"]) == ("ERROR", "RuntimeError", "till-7")
    assert "nftloyalty/web/ownership.py:" in fault["at"]
    assert line["status"] == 500
    assert KEY not in json.dumps([fault, line])


def test_trouble_with_the_node_is_told_without_the_key_in_its_address(world: World, told: Told) -> None:
    away = replace(world.app, node=Node(f"http://127.0.0.1:9/v3/{KEY}", timeout=2))
    with serving(Service(away, world.here, None)) as client:
        answer = client.get(f"/v1/ownership/{new_wallet()}?consistency=live")
        assert answer.status_code == 503
        assert client.get("/readyz").status_code == 503
    lines = told(4)
    assert {line["request_id"] for line in lines if line["logger"] == "nftloyalty.web.errors"} == {
        answer.headers["x-request-id"]
    }
    assert "127.0.0.1:9" in json.dumps(lines)
    assert KEY not in json.dumps(lines)
