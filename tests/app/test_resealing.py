"""A new sealing key takes the place of the old one step by step, while messages go out."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from sqlalchemy import select, update
from standardwebhooks import Webhook

from nftloyalty.app import endpoints, resealing
from nftloyalty.app.context import build_app, system_now
from nftloyalty.app.delivering import Deliverer
from nftloyalty.app.resealing import Resealed
from nftloyalty.errors import KeyProblem
from nftloyalty.store import webhooks
from nftloyalty.store.engine import begin, read
from nftloyalty.store.tables import endpoint_secrets
from nftloyalty.vault.sealing import Seal, key_id_of
from tests.app.hooked import Hooked, hooked
from tests.connect.receiver import Receiver

URL = "https://hooks.example/in"


@pytest.fixture
def shop(tmp_path: Path, migrated_url: str) -> Iterator[Hooked]:
    found = hooked(tmp_path / "home", migrated_url, now=system_now)
    yield found
    found.app.close()


def sealing_keys(shop: Hooked) -> set[str]:
    """With which something is sealed."""
    with read(shop.app.engine) as tx:
        return {key_id_of(sealed) for sealed in tx.execute(select(endpoint_secrets.c.sealed)).scalars()}


def test_messages_go_out_under_the_same_secret_at_every_step(shop: Hooked) -> None:
    """Also by a process that has been running since before the first step."""
    with Receiver() as receiver:
        made = shop.endpoint(receiver.url)
        endpoints.rotate(shop.app, shop.program, made.endpoint.public_id)
        (old,) = sealing_keys(shop)
        elsewhere = replace(shop, app=build_app(shop.app.settings))
        with Deliverer(elsewhere.app, shop.program) as deliverer:

            def one_arrives() -> None:
                shop.happen("m:1")
                shop.deliver(deliverer)
                got = receiver.got.pop()
                assert receiver.got == []
                Webhook(made.secret.reveal()).verify(got.body, dict(got.headers))

            one_arrives()
            new = resealing.add_key(shop.app)
            one_arrives()
            assert sealing_keys(shop) == {old}
            assert resealing.drop_keys(shop.app) == []
            assert resealing.reseal(shop.app) == Resealed(2, ())
            assert sealing_keys(shop) == {new}
            one_arrives()
            assert resealing.drop_keys(shop.app) == [old]
            assert resealing.drop_keys(shop.app) == []
            one_arrives()
        # What it makes now is sealed with what is left.
        elsewhere.endpoint(URL)
        elsewhere.app.close()
    assert sealing_keys(shop) == {new}


def test_killed_on_the_way_it_goes_on(shop: Hooked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resealing, "_AT_ONCE", 2)
    for _ in range(7):
        shop.endpoint(URL)
    resealing.add_key(shop.app)
    whole, sealed = Seal.seal, 0

    def seal(self: Seal, plain: bytes, about: bytes) -> bytes:
        nonlocal sealed
        sealed += 1
        if sealed == 4:
            raise KeyboardInterrupt
        return whole(self, plain, about)

    with monkeypatch.context() as patched:
        patched.setattr(Seal, "seal", seal)
        with pytest.raises(KeyboardInterrupt):
            resealing.reseal(shop.app)
    assert [key.secrets for key in resealing.keys_of(shop.app)] == [5, 2]
    assert resealing.drop_keys(shop.app) == []
    assert resealing.reseal(shop.app) == Resealed(5, ())
    assert [key.secrets for key in resealing.keys_of(shop.app)] == [0, 7]
    assert resealing.reseal(shop.app) == Resealed(0, ())


def test_what_can_not_be_opened_is_named_and_left(shop: Hooked, tmp_path: Path) -> None:
    lost, kept = shop.endpoint(URL).endpoint, shop.endpoint(URL).endpoint
    about = endpoints.sealed_about(shop.program.id, lost.public_id)
    foreign = Seal(tmp_path / "other.key").seal(bytes(32), about)
    with begin(shop.app.engine) as tx:
        tx.execute(update(endpoint_secrets).where(endpoint_secrets.c.endpoint == lost.id).values(sealed=foreign))
    resealing.add_key(shop.app)
    assert resealing.reseal(shop.app) == Resealed(1, (lost.public_id,))
    _, newest, missing = resealing.keys_of(shop.app)
    assert (newest.newest, newest.secrets, missing.here, missing.secrets) == (True, 1, False, 1)
    assert sealing_keys(shop) == {newest.id, key_id_of(foreign)}
    endpoints.rotate(shop.app, shop.program, kept.public_id)


def test_one_that_is_rotated_meanwhile_keeps_its_new_secret(shop: Hooked) -> None:
    made = shop.endpoint(URL)
    resealing.add_key(shop.app)
    with begin(shop.app.engine) as tx:
        (secret,) = webhooks.sealed_after(tx, 0, 9)
        tx.execute(update(endpoint_secrets).values(sealed=b"another one"))
        assert not webhooks.seal_anew(tx, secret, b"too late")
    assert secret.endpoint == made.endpoint.public_id


def test_where_there_is_no_key_none_is_added(shop: Hooked) -> None:
    assert resealing.keys_of(shop.app) == []
    with pytest.raises(KeyProblem, match="there is no key file"):
        resealing.add_key(shop.app)
