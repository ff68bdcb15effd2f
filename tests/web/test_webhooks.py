"""Webhooks over HTTP, and the whole road: asked for, minted, told, delivered, verified."""

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from uuid import uuid4

import httpx2
import pytest
from standardwebhooks.webhooks import Webhook

from nftloyalty.app import claiming
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.working import Worker
from nftloyalty.web.deps import Service
from tests.app.build import World, app_of, new_wallet, open_world, settings_of
from tests.connect.receiver import Receiver
from tests.web.conftest import serving

HOOK = "https://shop.example/hooks"


@pytest.fixture(scope="module")
def world(chain: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hooks")
    app = app_of(settings_of(folder, chain, NFTLOYALTY_WEBHOOK_NETWORKS="127.0.0.0/8"))
    yield open_world(app)
    app.close()


@pytest.fixture(scope="module")
def client(world: World) -> Iterator[httpx2.Client]:
    here = world.here
    worker = Worker(world.app, here, [signer_of(world.app, claiming.relay_key(here))])
    with Intake(world.app, here) as intake:
        worker.start()
        try:
            with serving(Service(world.app, here, worker, intake=intake)) as client:
                yield client
        finally:
            worker.stop()


def made(client: httpx2.Client, url: str = HOOK, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/webhooks", json={"url": url, **more})
    assert answer.status_code == 201, answer.text
    assert answer.headers["Cache-Control"] == "no-store"
    found: dict[str, Any] = answer.json()
    return found


def test_a_mint_is_told_to_a_receiver_who_can_verify_it(client: httpx2.Client) -> None:
    with Receiver() as receiver:
        endpoint = made(client, receiver.url, types=["membership.created"])
        wallet = new_wallet()
        asked = {"wallet": wallet, "tier": "gold"}
        assert client.post("/v1/mints", json=asked, headers={"Idempotency-Key": str(uuid4())}).status_code == 202
        give_up = time.monotonic() + 60
        while not receiver.got:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        post = receiver.got[0]
        told = Webhook(endpoint["secret"]).verify(post.body, dict(post.headers))
        assert (told["type"], told["data"]["wallet"]) == ("membership.created", wallet)
        listed = client.get("/v1/events", params={"wallet": wallet}).json()["items"]
        assert told in listed
        give_up = time.monotonic() + 30
        while (log := client.get(f"/v1/webhooks/{endpoint['id']}/deliveries").json())["items"][-1][
            "state"
        ] == "waiting":
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert log["items"][-1]["event"] == told["id"]
        tries = client.get(f"/v1/webhooks/{endpoint['id']}/deliveries/{told['id']}").json()["items"]
        assert [each["status"] for each in tries] == [204]
        count = len(receiver.got)
        answer = client.post(f"/v1/webhooks/{endpoint['id']}/replay", json={"event": told["id"]})
        assert answer.json() == {"waiting": 1}
        give_up = time.monotonic() + 30
        while len(receiver.got) == count:
            assert time.monotonic() < give_up
            time.sleep(0.05)
        assert receiver.got[-1].body == post.body
        client.delete(f"/v1/webhooks/{endpoint['id']}")


def test_a_test_message_is_sent_at_once(client: httpx2.Client) -> None:
    with Receiver() as receiver:
        endpoint = made(client, receiver.url)
        answer = client.post(f"/v1/webhooks/{endpoint['id']}/test").json()
        assert (answer["taken"], answer["status"], answer["error"]) == (True, 204, None)
        post = receiver.got[0]
        assert Webhook(endpoint["secret"]).verify(post.body, dict(post.headers))["type"] == "webhook.test"
        rotated = client.post(f"/v1/webhooks/{endpoint['id']}/rotate", json={}).json()
        client.post(f"/v1/webhooks/{endpoint['id']}/test")
        post = receiver.got[-1]
        for secret in (endpoint["secret"], rotated["secret"]):
            Webhook(secret).verify(post.body, dict(post.headers))
        client.delete(f"/v1/webhooks/{endpoint['id']}")


def test_an_endpoint_is_changed_disabled_enabled_and_deleted(client: httpx2.Client) -> None:
    endpoint = made(client, description="till")
    url = f"/v1/webhooks/{endpoint['id']}"
    assert "secret" not in client.get(url).json()
    changed = client.patch(url, json={"types": ["stamp.created"]}).json()
    assert (changed["types"], changed["description"], changed["url"]) == (["stamp.created"], "till", HOOK)
    assert client.post(f"{url}/disable").json()["state"] == "disabled"
    assert client.post(f"{url}/enable").json()["state"] == "active"
    assert endpoint["id"] in [each["id"] for each in client.get("/v1/webhooks").json()["items"]]
    for _ in range(2):
        assert client.delete(url).json()["state"] == "deleted"
    assert endpoint["id"] not in [each["id"] for each in client.get("/v1/webhooks").json()["items"]]


@pytest.mark.parametrize(
    "url",
    [
        "https://10.0.0.1/hooks",
        "https://169.254.169.254/latest",
        "https://[::ffff:10.0.0.1]/hooks",
        "https://user:password@shop.example/hooks",
        "file:///etc/passwd",
    ],
)
def test_where_no_message_may_go_is_refused_at_once(client: httpx2.Client, url: str) -> None:
    answer = client.post("/v1/webhooks", json={"url": url})
    assert (answer.status_code, answer.json()["code"]) == (422, "bad_input")
    assert answer.json()["errors"][0]["pointer"] == "/url"


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/"),
        ({"event": "evt_1", "first": "evt_2"}, "/first"),
        ({"until": "2030-01-01T00:00:00Z"}, "/"),
        ({"since": "yesterday"}, "/since"),
    ],
)
def test_a_replay_says_what_to_send(client: httpx2.Client, body: dict[str, str], pointer: str) -> None:
    endpoint = made(client)
    answer = client.post(f"/v1/webhooks/{endpoint['id']}/replay", json=body)
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (422, pointer)
    client.delete(f"/v1/webhooks/{endpoint['id']}")


@pytest.mark.parametrize(("method", "path"), [("GET", ""), ("DELETE", ""), ("POST", "/test"), ("GET", "/deliveries")])
def test_what_is_not_there_is_unknown(client: httpx2.Client, method: str, path: str) -> None:
    answer = client.request(method, f"/v1/webhooks/ep_nothing{path}")
    assert (answer.status_code, answer.json()["code"]) == (404, "unknown")


def test_no_secret_is_logged(client: httpx2.Client, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    endpoint = made(client)
    client.delete(f"/v1/webhooks/{endpoint['id']}")
    assert endpoint["secret"] not in caplog.text and json.dumps(endpoint["secret"]) not in caplog.text
