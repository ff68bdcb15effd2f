"""`nftloyalty webhooks`: what each command prints, and what it refuses."""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import select
from standardwebhooks import Webhook

from nftloyalty.app.context import build_app
from nftloyalty.app.delivering import Deliverer
from nftloyalty.config import from_environment
from nftloyalty.store import programs
from nftloyalty.store.engine import begin, read
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.tables import endpoint_secrets
from tests.cli.conftest import Run
from tests.cli.test_commands import ok, shop
from tests.connect.receiver import Receiver, says
from tests.store.happenings import happen

__all__ = ["shop"]  # a fixture

URL = "https://hooks.example/in"


@pytest.fixture
def receiver(monkeypatch: pytest.MonkeyPatch) -> Iterator[Receiver]:
    """A server on this machine, where this operator allows one."""
    monkeypatch.setenv("NFTLOYALTY_WEBHOOK_NETWORKS", "127.0.0.1/32")
    with Receiver() as running:
        yield running


def create(shop: Run, url: str = URL, *more: str) -> tuple[str, str]:
    """Id and secret."""
    endpoint, secret = ok(shop("webhooks", "create", url, *more)).split()
    return endpoint, secret


def take_place(*objects: str, deliver: bool = True) -> list[str]:
    """Events of the shop's program, and a worker that delivers them; returns their ids."""
    app = build_app(from_environment(dict(os.environ)))
    try:
        with begin(app.engine) as tx:
            program: ProgramRow = programs.list_all(tx)[-1]
            made = happen(tx, program.id, *objects, now=app.now())
        if deliver:
            with Deliverer(app, program) as deliverer:
                while deliverer.turn(0.05):
                    pass
        return [each.public_id for each in made]
    finally:
        app.close()


def test_an_endpoint_is_made_and_its_secret_shown_once(shop: Run) -> None:
    made = shop("webhooks", "create", URL, "--type", "membership.created", "--description", "the till")
    endpoint, secret = ok(made).split()
    assert re.fullmatch(r"ep_[0-9a-z]{26}", endpoint)
    assert secret.startswith("whsec_")
    assert "not shown again" in made.err
    shown = json.loads(ok(shop("webhooks", "show", endpoint)))
    assert (shown["id"], shown["url"], shown["types"], shown["description"], shown["state"], shown["waiting"]) == (
        endpoint,
        URL,
        ["membership.created"],
        "the till",
        "active",
        0,
    )
    listed = shop("webhooks", "list")
    assert endpoint in ok(listed)
    assert json.loads(ok(shop("webhooks", "list", "--json"))) == [shown]
    for told in (listed.out, json.dumps(shown)):
        assert secret not in told


def test_without_endpoints_the_list_says_so(shop: Run) -> None:
    assert ok(shop("webhooks", "list")) == "There is no endpoint.\n"


def test_what_is_wrong_is_named(shop: Run) -> None:
    refused = shop("webhooks", "create", "http://10.0.0.1/in", "--type", "minted")
    assert refused.status == 2
    assert "url: is not an https:// address" in refused.err
    assert "types: 'minted' is not the type of an event" in refused.err
    assert shop("webhooks", "show", "ep_none").status == 2
    endpoint, _ = create(shop)
    for wrong in (
        ("update", endpoint),
        ("update", endpoint, "--type", "stamp.created", "--all-types"),
        ("rotate", endpoint, "--overlap", "1000"),
        ("rotate", endpoint, "--overlap", "nan"),
        ("replay", endpoint),
        ("replay", endpoint, "--event", "evt_1", "--since", "2026-03-01"),
        ("replay", endpoint, "--since", "yesterday"),
        ("replay", endpoint, "--event", "evt_none"),
    ):
        assert shop("webhooks", *wrong).status == 2, wrong
    assert not Path("seal.key").exists()


def test_an_endpoint_is_changed_disabled_enabled_and_deleted(shop: Run) -> None:
    endpoint, _ = create(shop)
    ok(
        shop(
            "webhooks", "update", endpoint, "--url", URL + "/2", "--type", "stamp.created", "--type", "membership.left"
        )
    )
    assert json.loads(ok(shop("webhooks", "show", endpoint)))["types"] == ["membership.left", "stamp.created"]
    ok(shop("webhooks", "update", endpoint, "--all-types"))
    shown = json.loads(ok(shop("webhooks", "show", endpoint)))
    assert (shown["url"], shown["types"]) == (URL + "/2", [])
    take_place("m:1", deliver=False)
    assert shop("webhooks", "disable", endpoint).status == 2  # nobody can be asked
    ok(shop("webhooks", "disable", endpoint, "--yes"))
    shown = json.loads(ok(shop("webhooks", "show", endpoint)))
    assert (shown["state"], shown["why"], shown["waiting"]) == ("disabled", "by hand", 0)
    ok(shop("webhooks", "enable", endpoint))
    ok(shop("webhooks", "delete", endpoint, "--yes"))
    assert ok(shop("webhooks", "list")) == "There is no endpoint.\n"
    assert shop("webhooks", "enable", endpoint).status == 2


def test_a_test_message_tells_whether_it_was_received(shop: Run, receiver: Receiver) -> None:
    endpoint, secret = create(shop, receiver.url)
    assert ok(shop("webhooks", "test", endpoint)).startswith("Received: it answered 204 after ")
    (got,) = receiver.got
    assert Webhook(secret).verify(got.body, dict(got.headers))["type"] == "webhook.test"
    receiver.answer = says(302, Location="http://169.254.169.254/")
    refused = shop("webhooks", "test", endpoint)
    assert (refused.status, refused.out) == (1, "Not received: it answered 302.\n")


def test_a_rotated_secret_is_printed_and_both_sign(shop: Run, receiver: Receiver) -> None:
    endpoint, former = create(shop, receiver.url)
    rotated = shop("webhooks", "rotate", endpoint, "--overlap", "2")
    new = ok(rotated).strip()
    assert "signed with the former one too until" in rotated.err
    ok(shop("webhooks", "test", endpoint))
    at_once = ok(shop("webhooks", "rotate", endpoint, "--overlap", "0")).strip()
    ok(shop("webhooks", "test", endpoint))
    for got, valid in zip(receiver.got, [(former, new), (at_once,)], strict=True):
        assert len(got.headers["webhook-signature"].split()) == len(valid)
        for secret in valid:
            Webhook(secret).verify(got.body, dict(got.headers))


def test_the_log_tells_each_try_and_a_replay_sends_again(shop: Run, receiver: Receiver) -> None:
    endpoint, _ = create(shop, receiver.url)
    receiver.answer = says(500)
    (event,) = take_place("m:1")
    table = ok(shop("webhooks", "log", endpoint)).splitlines()
    assert len(table) == 2
    assert event in table[1]
    assert table[1].endswith("500")
    (line,) = json.loads(ok(shop("webhooks", "log", endpoint, "--json")))
    assert (line["event"], line["state"], line["tries"], line["status"]) == (event, "waiting", 1, 500)
    assert json.loads(ok(shop("webhooks", "log", endpoint, "--json", "--before", str(line["number"])))) == []
    assert json.loads(ok(shop("webhooks", "log", endpoint, "--json", "--state", "delivered"))) == []
    (tried,) = json.loads(ok(shop("webhooks", "log", endpoint, "--event", event, "--json")))
    assert tried["status"] == 500
    assert "500" in ok(shop("webhooks", "log", endpoint, "--event", event))
    assert ok(shop("webhooks", "replay", endpoint, "--event", event)) == "0 deliveries wait to be sent.\n"
    ok(shop("webhooks", "disable", endpoint, "--yes"))
    ok(shop("webhooks", "enable", endpoint))
    receiver.answer = says(204)
    assert ok(shop("webhooks", "replay", endpoint, "--from-event", event)) == "1 delivery waits to be sent.\n"
    take_place()
    assert [got.headers["webhook-id"] for got in receiver.got] == [event, event]
    assert ok(shop("webhooks", "replay", endpoint, "--since", "2020-01-01")) == "0 deliveries wait to be sent.\n"
    assert (
        ok(shop("webhooks", "replay", endpoint, "--since", "2020-01-01", "--delivered"))
        == "1 delivery waits to be sent.\n"
    )


def test_no_secret_lies_in_the_database_as_it_is(shop: Run) -> None:
    _, secret = create(shop)
    app = build_app(from_environment(dict(os.environ)))
    with read(app.engine) as tx:
        (sealed,) = tx.execute(select(endpoint_secrets.c.sealed)).scalars()
    app.close()
    assert secret.removeprefix("whsec_").encode() not in sealed
    assert (Path(".nftloyalty") / "seal.key").stat().st_mode & 0o777 == 0o600
