"""Keys from making to ending, and what the door knows of them, on both databases."""

import logging
import threading
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import event

from nftloyalty.app import access
from nftloyalty.app.access import AGEING, FRESH, Doorkeeper, MadeKey
from nftloyalty.app.opening import Opened
from nftloyalty.domain.access import (
    HERE,
    AccessProblem,
    CantRotate,
    KeyEnded,
    KeyKind,
    KeyMissing,
    KeyUnknown,
    Scope,
    WrongOrigin,
    WrongProgram,
    is_secret_of,
)
from nftloyalty.errors import BadInput, DatabaseProblem, Unknown
from nftloyalty.store import api_keys
from nftloyalty.store.engine import begin
from tests.app.build import World
from tests.store.build import fresh_hash, program

SHOP = "https://shop.example"
START = datetime(2031, 1, 1, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_by(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def there(world: World, clock: Clock) -> Iterator[World]:
    """The module's database at a time of one test's own; the keys it makes are gone afterwards."""
    yield replace(world, app=replace(world.app, now=clock))
    with begin(world.app.engine) as tx:
        tx.exec_driver_sql("DELETE FROM api_keys")


@pytest.fixture
def here(there: World) -> Opened:
    return there.here


@pytest.fixture
def door(there: World, here: Opened) -> Doorkeeper:
    return Doorkeeper(there.app, here)


def made(there: World, here: Opened, *scopes: str, **more: object) -> MadeKey:
    return access.create(there.app, here, "Web shop", scopes or ["checks:read"], **more)  # type: ignore[arg-type]


def bearer(key: MadeKey) -> str:
    return f"Bearer {key.text}"


# -------------------------------------------------------------------------------------------------------------- making


def test_a_key_is_shown_once_and_only_its_hash_is_kept(there: World, here: Opened) -> None:
    key = made(there, here, "mints:write", "members:read", "mints:write")
    prefix, mode, key_id, secret = key.text.split("_")
    assert (prefix, mode, key_id) == ("nftl", "test", key.row.public_id)
    assert key_id.startswith("sk") and len(key_id) == 16 and len(secret) == 32
    assert secret not in repr(key) and secret not in repr(key.row)
    with there.app.engine.connect() as connection:
        (row,) = connection.exec_driver_sql("SELECT * FROM api_keys").all()
    assert not any(secret in str(value) or secret.encode() in bytes(str(value), "utf-8") for value in row)
    assert list(key.row.scopes) == ["mints:write", "members:read"]
    assert made(there, here).text.split("_")[3] != secret


def test_all_that_is_wrong_with_a_key_is_told_at_once(there: World, here: Opened) -> None:
    with pytest.raises(BadInput) as refused:
        access.create(
            there.app,
            here,
            " \n ",
            ["mints:read", "admin"],
            publishable=True,
            origins=["http://shop.example"],
            expires_at=START,
        )
    assert [each.place for each in refused.value.problems] == ["name", "scopes.0", "origins.0", "expires_at"]
    with pytest.raises(BadInput) as refused:
        access.create(there.app, here, "x" * 121, ["admin"], publishable=True)
    assert [each.place for each in refused.value.problems] == ["name"]
    with pytest.raises(BadInput) as refused:
        access.create(there.app, here, "A page", ["admin"], publishable=True)
    assert [each.place for each in refused.value.problems] == ["scopes", "origins"]
    assert access.listed(there.app, here) == []


def test_a_rotated_key_is_good_for_a_while_beside_its_successor(
    there: World, here: Opened, door: Doorkeeper, clock: Clock
) -> None:
    old = made(there, here, "mints:write")
    new = access.rotate(there.app, here, old.row.public_id, timedelta(hours=1))
    assert (new.row.name, new.row.scopes, new.row.replaces) == ("Web shop", ["mints:write"], old.row.public_id)
    assert door.caller(bearer(old)).key_id == old.row.public_id
    assert door.caller(bearer(new)).key_id == new.row.public_id
    clock.pass_by(3599)
    door.caller(bearer(old))
    clock.pass_by(1)
    with pytest.raises(KeyEnded) as ended:
        door.caller(bearer(old))
    assert ended.value.code == "key_expired"
    door.caller(bearer(new))
    states = [access.as_json(row, clock.now)["state"] for row in access.listed(there.app, here)]
    assert states == ["expired", "active"]


def test_a_key_that_several_rotate_at_once_has_one_successor(there: World, here: Opened) -> None:
    old = made(there, here)
    found: list[object] = []

    def rotate() -> None:
        try:
            found.append(access.rotate(there.app, here, old.row.public_id))
        except CantRotate as refused:
            found.append(refused)

    threads = [threading.Thread(target=rotate) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 8 and len([each for each in found if isinstance(each, MadeKey)]) == 1
    assert len(access.listed(there.app, here)) == 2


def test_a_key_is_rotated_once(there: World, here: Opened) -> None:
    old = made(there, here)
    new = access.rotate(there.app, here, old.row.public_id)
    with pytest.raises(CantRotate, match=new.row.public_id):
        access.rotate(there.app, here, old.row.public_id)
    access.revoke(there.app, here, new.row.public_id)
    with pytest.raises(CantRotate, match="has ended"):
        access.rotate(there.app, here, new.row.public_id)
    with pytest.raises(BadInput):
        access.rotate(there.app, here, old.row.public_id, timedelta(days=31))
    with pytest.raises(Unknown):
        access.rotate(there.app, here, "sk00000000000000")


def test_a_key_says_of_itself_what_it_is(there: World, here: Opened, clock: Clock) -> None:
    until = START + timedelta(days=1)
    page = made(there, here, "checks:read", publishable=True, origins=["https://SHOP.example/"], expires_at=until)
    access.revoke(there.app, here, page.row.public_id)
    clock.pass_by(5)
    assert access.revoke(there.app, here, page.row.public_id).revoked_at == START
    (row,) = access.listed(there.app, here)
    assert access.as_json(row, clock.now) == {
        "id": page.row.public_id,
        "name": "Web shop",
        "kind": "publishable",
        "state": "revoked",
        "scopes": ["checks:read"],
        "origins": [SHOP],
        "created_at": "2031-01-01T00:00:00Z",
        "expires_at": "2031-01-02T00:00:00Z",
        "revoked_at": "2031-01-01T00:00:00Z",
        "last_used_at": None,
        "replaces": None,
    }


# ------------------------------------------------------------------------------------------------------------ the door


def test_a_program_without_keys_is_open_and_one_that_ever_had_one_is_not(
    there: World, here: Opened, door: Doorkeeper, clock: Clock
) -> None:
    assert door.caller("") is HERE
    assert door.caller("Bearer nonsense") is HERE
    key = made(there, here)
    access.revoke(there.app, here, key.row.public_id)
    clock.pass_by(FRESH.total_seconds())
    for authorization in ("", "Bearer", "Basic abc", "Bearer nonsense", bearer(key)):
        with pytest.raises(AccessProblem):
            door.caller(authorization)


def test_a_server_that_others_can_reach_is_never_open(there: World, here: Opened) -> None:
    with pytest.raises(KeyMissing):
        Doorkeeper(there.app, here, always=True).caller("")


def test_a_key_opens_to_its_scopes(there: World, here: Opened, door: Doorkeeper) -> None:
    key = made(there, here, "checks:read", "members:read")
    for authorization in (bearer(key), f"bearer  {key.text} "):
        caller = door.caller(authorization)
        assert (caller.key_id, caller.publishable) == (key.row.public_id, False)
        assert caller.scopes == {Scope.CHECKS_READ, Scope.MEMBERS_READ}


def test_a_wrong_secret_is_an_unknown_key(there: World, here: Opened, door: Doorkeeper) -> None:
    text = made(there, here).text
    other = text[:-1] + ("0" if text[-1] != "0" else "1")
    for given in (other, text.replace("_test_", "_live_"), made(there, here).text[:-32] + text[-32:]):
        with pytest.raises(KeyUnknown):
            door.caller(f"Bearer {given}")


def test_another_programs_key_is_told_so_and_a_guess_at_it_is_not(there: World, here: Opened, door: Doorkeeper) -> None:
    made(there, here)
    with begin(there.app.engine) as tx:
        tea = program(tx, here.attached.row, f"tea-{here.program.id}", membership=fresh_hash()[:42])
    other = made(there, replace(here, row=tea))
    with pytest.raises(WrongProgram):
        door.caller(bearer(other))
    with pytest.raises(KeyUnknown):
        door.caller(bearer(other)[:-1] + ("0" if other.text[-1] != "0" else "1"))


def test_a_publishable_key_needs_its_page(there: World, here: Opened, door: Doorkeeper) -> None:
    key = made(there, here, "checks:read", publishable=True, origins=[SHOP])
    caller = door.caller(bearer(key), SHOP)
    assert caller.publishable
    with pytest.raises(WrongOrigin):
        door.caller(bearer(key), "https://other.example")
    # What was kept of the good one does not answer for the bad one.
    assert door.at_a_glance(bearer(key).encode(), SHOP.encode())[0] == caller
    assert door.at_a_glance(bearer(key).encode(), b"https://other.example")[0] is None
    assert door.origins() == {SHOP}


def test_a_new_key_is_good_at_once_and_a_revoked_one_not_for_longer_than_said(
    there: World, here: Opened, door: Doorkeeper, clock: Clock
) -> None:
    made(there, here)
    door.refresh()
    key = made(there, here)
    assert door.caller(bearer(key)).key_id == key.row.public_id
    access.revoke(there.app, here, key.row.public_id)
    assert door.at_a_glance(bearer(key).encode(), b"")[0] is not None
    clock.pass_by(FRESH.total_seconds())
    assert door.at_a_glance(bearer(key).encode(), b"")[0] is None
    with pytest.raises(KeyEnded) as ended:
        door.caller(bearer(key))
    assert ended.value.code == "key_revoked"
    assert door.at_a_glance(bearer(key).encode(), b"")[0] is None


def test_a_key_that_is_about_to_expire_is_looked_at_each_time(
    there: World, here: Opened, door: Doorkeeper, clock: Clock
) -> None:
    key = made(there, here, expires_at=START + timedelta(seconds=3))
    door.caller(bearer(key))
    assert door.at_a_glance(bearer(key).encode(), b"")[0] is None
    clock.pass_by(3)
    with pytest.raises(KeyEnded):
        door.caller(bearer(key))


def test_keys_that_were_changed_here_are_known_at_once(there: World, here: Opened, door: Doorkeeper) -> None:
    key = made(there, here)
    door.caller(bearer(key))
    access.revoke(there.app, here, key.row.public_id)
    door.forget()
    with pytest.raises(KeyEnded):
        door.caller(bearer(key))


def test_who_is_let_in_while_his_key_is_revoked_is_not_remembered(
    there: World, here: Opened, door: Doorkeeper, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = made(there, here)

    def revoked_meanwhile(secret: str, secret_hash: bytes) -> bool:
        access.revoke(there.app, here, key.row.public_id)
        door.forget()
        door.refresh()
        return is_secret_of(secret, secret_hash)

    monkeypatch.setattr("nftloyalty.app.access.is_secret_of", revoked_meanwhile)
    door.caller(bearer(key))
    assert door.at_a_glance(bearer(key).encode(), b"")[0] is None


def test_many_requests_ask_the_database_for_all_keys_once_a_second(
    there: World, here: Opened, door: Doorkeeper, clock: Clock
) -> None:
    key = made(there, here)
    asked: list[str] = []

    def note(_connection: object, _cursor: object, statement: str, *_: object) -> None:
        if "api_keys" in statement and "public_id =" not in statement:
            asked.append(statement)

    event.listen(there.app.engine, "before_cursor_execute", note)
    try:
        threads = [threading.Thread(target=door.caller, args=(bearer(key),)) for _ in range(20)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert len(asked) == 1
        clock.pass_by(AGEING.total_seconds())
        assert door.is_fresh and door.is_ageing
        door.refresh()
        assert len(asked) == 2 and not door.is_ageing
    finally:
        event.remove(there.app.engine, "before_cursor_execute", note)


def test_a_clock_that_was_set_back_does_not_keep_old_keys(
    there: World, here: Opened, door: Doorkeeper, clock: Clock
) -> None:
    key = made(there, here)
    clock.pass_by(3600)
    door.caller(bearer(key))
    access.revoke(there.app, here, key.row.public_id)
    clock.pass_by(-1800)
    assert door.at_a_glance(bearer(key).encode(), b"")[0] is None
    with pytest.raises(KeyEnded):
        door.caller(bearer(key))


def test_use_is_noted_now_and_then_and_at_the_end(there: World, here: Opened, door: Doorkeeper, clock: Clock) -> None:
    key = made(there, here)

    def used() -> datetime | None:
        return access.listed(there.app, here)[0].last_used_at

    door.caller(bearer(key))
    clock.pass_by(1)
    door.at_a_glance(bearer(key).encode(), b"")
    assert used() is None
    clock.pass_by(60)
    door.refresh()
    assert used() == START + timedelta(seconds=1)
    door.caller(bearer(key))
    door.close()
    assert used() == START + timedelta(seconds=61)


def test_a_database_that_is_away_is_told_and_what_is_known_serves_those_who_ask_for_that(
    there: World, here: Opened, door: Doorkeeper, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    key = made(there, here)
    door.caller(bearer(key))
    clock.pass_by(FRESH.total_seconds())

    def away(*_: object) -> None:
        raise DatabaseProblem("postgresql://nowhere", "it is away")

    monkeypatch.setattr(api_keys, "of_program", away)
    with pytest.raises(DatabaseProblem):
        door.caller(bearer(key))
    assert door.caller(bearer(key), as_known=True).key_id == key.row.public_id
    with pytest.raises(KeyMissing):
        door.caller("", as_known=True)
    with pytest.raises(KeyUnknown):
        door.caller(f"Bearer nftl_test_sk00000000000000_{'0' * 32}", as_known=True)


def test_no_secret_is_logged(there: World, here: Opened, door: Doorkeeper, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = made(there, here)
    secret = key.text.rpartition("_")[2]
    door.caller(bearer(key))
    with pytest.raises(AccessProblem) as refused:
        door.caller(bearer(key), SHOP)
    with pytest.raises(KeyUnknown) as unknown:
        door.caller(bearer(key) + "0")
    assert secret not in caplog.text
    assert not any(secret in str(each.value) + each.value.mend for each in (refused, unknown))
    assert key.row.kind is KeyKind.SERVER
