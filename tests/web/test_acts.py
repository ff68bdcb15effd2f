"""What is done to members over HTTP, down to the chain."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from nftloyalty.app.keyring import signer_of
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.working import Worker
from nftloyalty.web.deps import Service
from tests.app.build import World, app_of, new_wallet, open_world, program_text, settings_of
from tests.web.conftest import serving

SOON = datetime.now(UTC).replace(microsecond=0) + timedelta(days=30)


@pytest.fixture(scope="module")
def world(chain: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    app = app_of(settings_of(tmp_path_factory.mktemp("acts"), chain))
    yield open_world(app)
    app.close()


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[httpx2.Client]:
    here = world.here
    names, _ = sending_keys(world.app, world.program)
    worker = Worker(world.app, here, [signer_of(world.app, name) for name in names])
    worker.start()
    try:
        with serving(Service(world.app, here, worker)) as client:
            yield client
    finally:
        worker.stop()


def ask(client: httpx2.Client, route: str, body: dict[str, Any], key: str = "") -> httpx2.Response:
    return client.post(f"/v1/{route}", json=body, headers={"Idempotency-Key": key or str(uuid4())})


def ended(client: httpx2.Client, answer: httpx2.Response) -> list[dict[str, Any]]:
    """What became of it."""
    assert answer.status_code == 202, answer.text
    found = []
    give_up = time.monotonic() + 60
    for each in answer.json()["items"]:
        while (now := client.get(each["status_url"]).json())["phase"] == "pending":
            assert time.monotonic() < give_up, now
            time.sleep(0.05)
        found.append(now)
    return found


def card(client: httpx2.Client, wallet: str) -> dict[str, Any]:
    found: dict[str, Any] = client.get(f"/v1/ownership/{wallet}", params={"consistency": "live"}).json()
    return found


def member(world: World, *, for_life: bool = False) -> str:
    wallet = new_wallet()
    world.mint_outside(wallet, expires_at=0 if for_life else int(SOON.timestamp()))
    return wallet


def test_cards_are_renewed_and_a_repeated_request_adds_nothing(world: World, client: httpx2.Client) -> None:
    wallets = [member(world) for _ in range(3)]
    body = {"items": [{"wallet": wallet, "days": 10} for wallet in wallets]}
    first = ask(client, "renewals", body, "invoice-1")
    again = ask(client, "renewals", body, "invoice-1")
    assert (again.content, again.headers["Idempotent-Replayed"]) == (first.content, "true")
    assert ask(client, "renewals", {"items": body["items"][:1]}, "invoice-1").json()["code"] == "key_reused"
    assert {each["phase"] for each in ended(client, first)} == {"final"}
    later = (SOON + timedelta(days=10)).isoformat().replace("+00:00", "Z")
    assert [card(client, wallet)["card"]["expires_at"] for wallet in wallets] == [later] * 3


def test_a_member_goes_to_another_tier_and_the_same_again_is_known(world: World, client: httpx2.Client) -> None:
    wallet = member(world)
    body = {"items": [{"wallet": wallet, "tier": "gold"}]}
    first = ask(client, "tier-changes", body)
    again = ask(client, "tier-changes", body)
    if again.status_code == 202:
        assert again.json()["items"][0]["reply"] == "known"
        assert again.json()["items"][0]["id"] == first.json()["items"][0]["id"]
    else:
        assert again.json()["code"] == "done"
    assert [each["phase"] for each in ended(client, first)] == ["final"]
    assert card(client, wallet)["card"]["tier"] == "gold"


def test_a_member_is_revoked_and_comes_back(world: World, client: httpx2.Client) -> None:
    wallet = member(world)
    (done,) = ended(client, ask(client, "revocations", {"wallet": wallet, "reason": "fraud"}))
    assert (done["kind"], done["phase"], done["because"]) == ("revoke-card", "final", "fraud")
    held = card(client, wallet)
    assert (held["card"], held["revoked"]) == (None, True)
    (done,) = ended(client, ask(client, "readmissions", {"wallet": wallet, "tier": "gold", "expiry": "2049-12-31"}))
    assert (done["kind"], done["phase"], done["tier"]) == ("readmit", "final", "gold")
    assert card(client, wallet)["card"]["last_day"] == "2049-12-31"


def test_one_stamp_is_revoked(world: World, client: httpx2.Client) -> None:
    wallet = member(world)
    world.stamp("latte", wallet)
    body = {"wallet": wallet, "stamp": "latte", "may_return": True, "reason": "given by mistake"}
    (done,) = ended(client, ask(client, "revocations", body))
    assert (done["kind"], done["stamp"], done["may_return"]) == ("revoke-stamp", "latte", True)
    assert card(client, wallet)["stamps"] == []


@pytest.mark.parametrize(
    ("route", "body", "status", "code"),
    [
        ("renewals", {"items": [{"wallet": "NOBODY", "days": 1}]}, 409, "not_held"),
        ("renewals", {"items": [{"wallet": "LIFE", "days": 1}]}, 409, "not_renewable"),
        ("renewals", {"items": [{"wallet": "MEMBER", "until": "2030-01-01T00:00:00Z", "days": 1}]}, 422, "bad_input"),
        ("renewals", {"items": [{"wallet": "MEMBER"}]}, 422, "bad_input"),
        ("renewals", {"items": [{"wallet": "NOBODY", "days": 1}, {"wallet": "LIFE", "days": 1}]}, 422, "bad_input"),
        ("renewals", {"items": []}, 422, "bad_input"),
        ("tier-changes", {"items": [{"wallet": "MEMBER", "tier": "member"}]}, 409, "done"),
        ("tier-changes", {"items": [{"wallet": "MEMBER", "tier": "silver"}]}, 404, "unknown"),
        ("revocations", {"wallet": "NOBODY", "reason": "x"}, 409, "not_held"),
        ("revocations", {"wallet": "MEMBER", "reason": ""}, 422, "bad_input"),
        ("revocations", {"wallet": "MEMBER", "reason": "x", "may_return": True}, 422, "bad_input"),
        ("revocations", {"wallet": "MEMBER", "reason": "x", "stamp": "latte"}, 409, "not_held"),
        ("readmissions", {"wallet": "MEMBER", "tier": "gold"}, 409, "already_held"),
        ("readmissions", {"wallet": "NOBODY", "tier": "gold", "expiry": "2001-01-01"}, 422, "bad_input"),
    ],
)
def test_what_can_not_be_is_refused_at_once(
    world: World, client: httpx2.Client, route: str, body: dict[str, Any], status: int, code: str
) -> None:
    people = {"MEMBER": member(world), "NOBODY": new_wallet(), "LIFE": member(world, for_life=True)}

    def filled(value: Any) -> Any:
        if isinstance(value, dict):
            return {key: filled(each) for key, each in value.items()}
        if isinstance(value, list):
            return [filled(each) for each in value]
        return people.get(value, value) if isinstance(value, str) else value

    answer = ask(client, route, filled(body))
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text


def test_what_a_safe_must_sign_is_said_so(chain: str, tmp_path_factory: pytest.TempPathFactory) -> None:
    app = app_of(settings_of(tmp_path_factory.mktemp("safe"), chain))
    safe = "0x000000000000000000000000000000000000dEaD"
    powers = f'opener = "owner"\nowner = "owner"\nminters = ["hot"]\nsigners = ["hot"]\nmanagers = ["{safe}"]\n'
    world = open_world(app, program_text(powers=powers))
    wallet = new_wallet()
    world.mint(f"{wallet},member,2049-12-31")
    with serving(Service(app, world.here, None)) as client:
        answer = ask(client, "renewals", {"items": [{"wallet": wallet, "days": 1}]})
        assert (answer.status_code, answer.json()["code"]) == (409, "signed_elsewhere"), answer.text
        assert safe in answer.json()["detail"]
    app.close()


def test_a_server_that_only_reads_does_nothing(world: World) -> None:
    with serving(Service(world.app, world.here, None, takes_claims=False)) as client:
        answer = ask(client, "revocations", {"wallet": new_wallet(), "reason": "x"})
        assert answer.json()["code"] == "read_only"
