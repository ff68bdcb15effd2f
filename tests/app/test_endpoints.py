"""Endpoints as operators handle them: a secret shown once, a test message, what is refused, what is sent again."""

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook

from nftloyalty.app import endpoints
from nftloyalty.app.context import system_now
from nftloyalty.app.endpoints import MOST_ENDPOINTS, DeliveryState
from nftloyalty.errors import BadInput, KeyProblem, Unknown
from nftloyalty.store.engine import begin, read
from nftloyalty.store.tables import EndpointState, endpoint_secrets
from nftloyalty.store.tables import endpoints as endpoint_table
from tests.app.hooked import Hooked, hooked
from tests.connect.receiver import Receiver, says

URL = "https://hooks.example/in?key=key-in-the-url"


@pytest.fixture
def shop(tmp_path: Path, migrated_url: str) -> Iterator[Hooked]:
    found = hooked(tmp_path / "home", migrated_url)
    yield found
    found.app.close()


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with Receiver() as running:
        yield running


def test_a_secret_is_shown_once_and_kept_sealed(shop: Hooked) -> None:
    made = shop.endpoint(URL, "membership.created")
    assert made.secret.reveal().startswith("whsec_")
    with read(shop.app.engine) as tx:
        (sealed,) = tx.execute(select(endpoint_secrets.c.sealed)).scalars()
    assert endpoints.unsealed(shop.app, shop.program.id, made.endpoint.public_id, [sealed])
    assert made.secret.reveal() not in repr(made) + repr(endpoints.all_of(shop.app, shop.program))
    assert "key-in-the-url" not in repr(made) + repr(endpoints.all_of(shop.app, shop.program))
    assert (shop.app.settings.home / "seal.key").stat().st_mode & 0o777 == 0o600


def test_a_secret_opens_for_its_own_endpoint_and_program_only(shop: Hooked) -> None:
    first, second = shop.endpoint(URL), shop.endpoint(URL)
    with begin(shop.app.engine) as tx:
        (sealed,) = tx.execute(
            select(endpoint_secrets.c.sealed).where(endpoint_secrets.c.endpoint == first.endpoint.id)
        ).scalars()
        tx.execute(
            update(endpoint_secrets).where(endpoint_secrets.c.endpoint == second.endpoint.id).values(sealed=sealed)
        )
    with pytest.raises(KeyProblem, match="does not belong"):
        endpoints.send_test(shop.app, shop.program, second.endpoint.public_id)
    with pytest.raises(KeyProblem, match="does not belong"):
        endpoints.unsealed(shop.app, shop.program.id + 1, first.endpoint.public_id, [sealed])


def test_no_new_key_is_made_where_the_old_one_is_missing(shop: Hooked) -> None:
    made = shop.endpoint(URL)
    file = shop.app.settings.home / "seal.key"
    file.rename(file.with_suffix(".away"))
    again = shop.again()
    for act, what in ((endpoints.create, URL), (endpoints.rotate, made.endpoint.public_id)):
        with pytest.raises(KeyProblem) as refused:
            act(again.app, shop.program, what)
        assert str(file) in refused.value.message
    assert not file.exists()
    file.with_suffix(".away").rename(file)
    again.endpoint(URL)
    again.app.close()


def test_every_mistake_is_named_and_the_url_is_not_repeated(shop: Hooked) -> None:
    with pytest.raises(BadInput) as refused:
        endpoints.create(
            shop.app, shop.program, "http://10.0.0.1/key-in-the-url", types=["minted", "a b"], description="\x1b[2J"
        )
    assert [problem.place for problem in refused.value.problems] == ["url", "types", "types", "description"]
    assert "key-in-the-url" not in "".join(map(str, refused.value.problems))
    assert endpoints.all_of(shop.app, shop.program) == []


def test_a_program_has_so_many_endpoints_at_most(shop: Hooked) -> None:
    made = [shop.endpoint(URL) for _ in range(MOST_ENDPOINTS)]
    with pytest.raises(BadInput):
        shop.endpoint(URL)
    endpoints.delete(shop.app, shop.program, made[0].endpoint.public_id)
    shop.endpoint(URL)


def test_another_program_s_endpoint_is_unknown(shop: Hooked) -> None:
    made = shop.endpoint(URL)
    other = replace(shop.program, id=shop.program.id + 1)
    for use in (endpoints.one, endpoints.update, endpoints.rotate, endpoints.disable, endpoints.enable):
        with pytest.raises(Unknown):
            use(shop.app, other, made.endpoint.public_id)
    for further in (endpoints.delete, endpoints.send_test, endpoints.log_of, endpoints.replay):
        with pytest.raises(Unknown):
            further(shop.app, other, made.endpoint.public_id)


def test_what_is_given_is_changed(shop: Hooked) -> None:
    made = shop.endpoint(URL, "stamp.redeemed")
    name = made.endpoint.public_id
    changed = endpoints.update(
        shop.app, shop.program, name, types=["stamp.created", "membership.left", "membership.left"], description="till"
    )
    assert (changed.url, changed.types, changed.description) == (URL, ["membership.left", "stamp.created"], "till")
    assert endpoints.update(shop.app, shop.program, name).types == ["membership.left", "stamp.created"]
    assert endpoints.update(shop.app, shop.program, name, types=[]).types == []
    with pytest.raises(BadInput):
        endpoints.update(shop.app, shop.program, name, url="https://127.1.1.1:80/\x00")
    assert shop.standing(made).endpoint.url == URL


def test_a_deleted_endpoint_is_gone_for_good_but_its_log_stays(shop: Hooked) -> None:
    made = shop.endpoint(URL)
    name = made.endpoint.public_id
    shop.happen("m:1")
    for _ in range(2):
        endpoints.delete(shop.app, shop.program, name)
    assert endpoints.all_of(shop.app, shop.program) == []
    assert [each.state for each in endpoints.log_of(shop.app, shop.program, name)] == [DeliveryState.GIVEN_UP]
    with read(shop.app.engine) as tx:
        assert tx.execute(select(endpoint_secrets)).all() == []
    for use in (endpoints.enable, endpoints.disable, endpoints.rotate, endpoints.update, endpoints.send_test):
        with pytest.raises(BadInput) as refused:
            use(shop.app, shop.program, name)
        assert "is deleted" in refused.value.problems[0].what


def test_a_test_message_is_signed_and_in_no_log(tmp_path: Path, migrated_url: str, receiver: Receiver) -> None:
    shop = hooked(tmp_path / "home", migrated_url, now=system_now)
    made = shop.endpoint(receiver.url)
    name = made.endpoint.public_id
    endpoints.disable(shop.app, shop.program, name)
    answer = endpoints.send_test(shop.app, shop.program, name)
    assert answer.taken
    (got,) = receiver.got
    told = Webhook(made.secret.reveal()).verify(got.body, dict(got.headers))
    assert (told["type"], told["object"], told["program"]) == ("webhook.test", f"endpoint:{name}", "coffee")
    assert told["id"] == got.headers["webhook-id"]
    assert endpoints.log_of(shop.app, shop.program, name) == []
    receiver.answer = says(500)
    assert endpoints.send_test(shop.app, shop.program, name).status == 500
    shop.app.close()


def test_after_a_rotation_either_secret_verifies_until_the_former_one_is_over(
    shop: Hooked, receiver: Receiver, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = shop.endpoint(receiver.url)
    name = first.endpoint.public_id
    second = endpoints.rotate(shop.app, shop.program, name, timedelta(hours=2))
    assert shop.standing(first).former_secret_until == shop.clock.time + timedelta(hours=2)
    shop.happen("m:1")
    shop.deliver()
    shop.clock.forward(timedelta(hours=2))
    shop.happen("m:1")
    shop.deliver()
    third = endpoints.rotate(shop.app, shop.program, name, timedelta(0))
    shop.happen("m:1")
    shop.deliver()

    def verifies(secret: endpoints.Made, place: int) -> bool:
        got = receiver.got[place]
        # The library has a clock of its own.
        stamp = datetime.fromtimestamp(int(got.headers["webhook-timestamp"]), tz=shop.clock.time.tzinfo)
        signature = Webhook(secret.secret.reveal()).sign(got.headers["webhook-id"], stamp, got.body.decode())
        return signature in got.headers["webhook-signature"].split(" ")

    assert [[verifies(secret, place) for secret in (first, second, third)] for place in range(3)] == [
        [True, True, False],
        [False, True, False],
        [False, False, True],
    ]
    with pytest.raises(BadInput):
        endpoints.rotate(shop.app, shop.program, name, timedelta(days=8))
    with pytest.raises(BadInput):
        endpoints.rotate(shop.app, shop.program, name, timedelta(seconds=-1))


def test_what_a_disabled_endpoint_missed_comes_by_replay(shop: Hooked, receiver: Receiver) -> None:
    made = shop.endpoint(receiver.url)
    name = made.endpoint.public_id
    shop.happen("m:1")
    endpoints.disable(shop.app, shop.program, name)
    assert shop.standing(made).endpoint.why == "by hand"
    shop.happen("m:1", "m:2")
    shop.deliver()
    assert receiver.got == []
    with pytest.raises(BadInput):
        endpoints.replay(shop.app, shop.program, name)
    assert endpoints.enable(shop.app, shop.program, name).state is EndpointState.ACTIVE
    shop.deliver()
    assert receiver.got == []
    assert endpoints.replay(shop.app, shop.program, name) == 3
    shop.deliver()
    assert [json.loads(got.body)["id"] for got in receiver.got if json.loads(got.body)["object"] == "m:1"] == [
        shop.sent[0],
        shop.sent[1],
    ]
    assert endpoints.replay_one(shop.app, shop.program, name, shop.sent[2]) == 1
    shop.deliver()
    assert receiver.got[-1].headers["webhook-id"] == shop.sent[2]
    assert len(endpoints.tries_of(shop.app, shop.program, name, shop.sent[2])) == 2
    with pytest.raises(Unknown):
        endpoints.replay_one(shop.app, shop.program, name, "evt_none")


def test_a_long_range_is_replayed_in_parts(shop: Hooked, receiver: Receiver, monkeypatch: pytest.MonkeyPatch) -> None:
    shop.happen(*(f"m:{number % 3}" for number in range(10)))
    made = shop.endpoint(receiver.url)
    monkeypatch.setattr(endpoints, "_REPLAYED_AT_ONCE", 3)
    assert endpoints.replay(shop.app, shop.program, made.endpoint.public_id, first=shop.sent[2]) == 8
    shop.deliver()
    arrived = [json.loads(got.body) for got in receiver.got]
    assert {each["id"] for each in arrived} == set(shop.sent[2:])
    for name in ("m:0", "m:1", "m:2"):
        sequences = [each["sequence"] for each in arrived if each["object"] == name]
        assert sequences == sorted(sequences)


def test_nothing_secret_is_logged(shop: Hooked, receiver: Receiver, caplog: pytest.LogCaptureFixture) -> None:
    receiver.answer = says(500)
    with caplog.at_level(logging.DEBUG):
        made = shop.endpoint(receiver.url + "?key=key-in-the-url")
        second = endpoints.rotate(shop.app, shop.program, made.endpoint.public_id)
        shop.happen("m:1")
        shop.deliver()
        with begin(shop.app.engine) as tx:
            tx.execute(update(endpoint_table).values(url="https://nobody.invalid/key-in-the-url", next_at=None))
        shop.deliver()
        endpoints.send_test(shop.app, shop.program, made.endpoint.public_id)
    assert "did not reach" in caplog.text
    key = (shop.app.settings.home / "seal.key").read_text().split()[1]
    for secret in (made.secret.reveal(), second.secret.reveal(), key, "key-in-the-url"):
        assert secret not in caplog.text
    for each in endpoints.tries_of(shop.app, shop.program, made.endpoint.public_id, shop.sent[0]):
        assert "key-in-the-url" not in str(each.error)
