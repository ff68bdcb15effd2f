"""Events over HTTP, of a program with a history."""

from collections.abc import Iterator
from typing import Any

import httpx2
import pytest

from nftloyalty.app import deploying
from nftloyalty.app.announcing import announce
from nftloyalty.domain.event import membership_object
from nftloyalty.web.deps import Service
from tests.app.build import World, new_wallet, program_of, program_text
from tests.app.conftest import *  # noqa: F403 - the worlds of the app's tests, on both databases
from tests.web.conftest import serving

WALLETS = [new_wallet() for _ in range(5)]


@pytest.fixture(scope="module")
def past(world: World) -> World:
    """Five cards, two of them with a stamp, and all that is told."""
    for wallet in WALLETS:
        world.mint_outside(wallet)
    world.stamp("latte", *WALLETS[:2])
    world.index()
    told(world)
    return world


def told(world: World) -> None:
    while announce(world.app, world.here.attached.row):
        pass


@pytest.fixture(scope="module")
def client(past: World) -> Iterator[httpx2.Client]:
    with serving(Service(past.app, past.here, None)) as client:
        yield client


def ask(client: httpx2.Client, **params: Any) -> dict[str, Any]:
    answer = client.get("/v1/events", params=params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


def test_what_happened_is_told_the_newest_first_and_the_oldest_first(client: httpx2.Client) -> None:
    newest, oldest = ask(client), ask(client, order="oldest")
    assert newest["items"] == oldest["items"][::-1]
    assert (len(newest["items"]), newest["cursor"]) == (7, None)
    types = [each["type"] for each in oldest["items"]]
    assert types == ["membership.created"] * 5 + ["stamp.created"] * 2
    assert [each["data"]["wallet"] for each in oldest["items"]] == [*WALLETS, *WALLETS[:2]]


def test_one_is_found_by_its_id_and_looks_the_same(client: httpx2.Client) -> None:
    for each in ask(client)["items"]:
        assert client.get(f"/v1/events/{each['id']}").json() == each


@pytest.mark.parametrize("order", ["newest", "oldest"])
def test_pages_hold_each_once(client: httpx2.Client, order: str) -> None:
    seen: list[str] = []
    cursor: str | None = ""
    while cursor is not None:
        page = ask(client, order=order, limit=2, cursor=cursor)
        if not page["items"]:
            break
        seen += [each["id"] for each in page["items"]]
        cursor = page["cursor"]
    assert seen == [each["id"] for each in ask(client, order=order)["items"]]


def test_who_reads_on_from_the_last_cursor_misses_nothing(client: httpx2.Client, past: World) -> None:
    last = ask(client, order="oldest")["cursor"]
    assert ask(client, order="oldest", cursor=last) == {"items": [], "cursor": last}
    newcomer = new_wallet()
    past.mint_outside(newcomer)
    past.index()
    told(past)
    found = ask(client, order="oldest", cursor=last)["items"]
    assert [each["data"]["wallet"] for each in found] == [newcomer]


def test_events_are_asked_for_by_type_wallet_and_object(client: httpx2.Client) -> None:
    assert {each["type"] for each in ask(client, type="stamp.created")["items"]} == {"stamp.created"}
    both = ask(client, type=["stamp.created", "membership.created"], wallet=WALLETS[0])["items"]
    assert [each["type"] for each in both] == ["stamp.created", "membership.created"]
    of = ask(client, object=membership_object(WALLETS[4]))["items"]
    assert [(each["sequence"], each["data"]["wallet"]) for each in of] == [(1, WALLETS[4])]
    assert ask(client, object="membership:nobody")["items"] == []


@pytest.mark.parametrize(
    ("params", "pointer"),
    [
        ({"cursor": "x"}, "/cursor"),
        ({"type": "membership.vanished"}, "/type/0"),
        ({"wallet": "0x1"}, "/wallet"),
        ({"object": "a\x00b"}, "/object"),
        ({"order": "random"}, "/order"),
    ],
)
def test_a_question_that_is_wrong_is_told_where(client: httpx2.Client, params: dict[str, str], pointer: str) -> None:
    answer = client.get("/v1/events", params=params)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)


def test_another_programs_events_are_not_told(client: httpx2.Client, past: World) -> None:
    event = ask(client)["items"][0]
    program = program_of(program_text())
    deploying.deploy(past.app, program)
    other = World(past.app, program)
    with serving(Service(past.app, other.here, None)) as stranger:
        assert ask(stranger)["items"] == []
        assert stranger.get(f"/v1/events/{event['id']}").status_code == 404
    assert client.get("/v1/events/evt_nothing").json()["code"] == "unknown"
