from datetime import timedelta

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from nftloyalty.domain.access import KeyKind
from nftloyalty.errors import Unknown
from nftloyalty.store import api_keys
from nftloyalty.store.api_keys import NewKey
from nftloyalty.store.engine import begin, read
from tests.store.build import NOW, prepared, program

HASH = bytes(range(32))
LATER = NOW + timedelta(hours=1)


def new_key(program: int, key_id: str = "sk1", **changes: object) -> NewKey:
    values: dict[str, object] = {
        "public_id": key_id,
        "program": program,
        "name": "Web shop",
        "kind": KeyKind.SERVER,
        "secret_hash": HASH,
        "scopes": ["mints:write"],
        "origins": [],
        "expires_at": None,
    }
    return NewKey(**(values | changes))  # type: ignore[arg-type]


def test_a_key_comes_back_as_it_was_stored_and_never_shows_its_hash(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        made = api_keys.add(tx, new_key(ground.program, expires_at=LATER), NOW)
    with read(engine) as tx:
        (found,) = api_keys.of_program(tx, ground.program)
    assert found == made
    assert (found.secret_hash, found.scopes, found.created_at, found.expires_at) == (HASH, ["mints:write"], NOW, LATER)
    assert (found.revoked_at, found.last_used_at, found.replaces) == (None, None, None)
    assert HASH.hex() not in repr(found) and repr(HASH) not in repr(found)


def test_a_key_belongs_to_one_program(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        tea = program(tx, ground.chain, "tea").id
        api_keys.add(tx, new_key(tea), NOW)
        assert api_keys.of_program(tx, ground.program) == []
        with pytest.raises(Unknown):
            api_keys.get(tx, ground.program, "sk1")
        assert api_keys.get(tx, tea, "sk1") == api_keys.find(tx, "sk1")
        assert api_keys.find(tx, "sk2") is None


@pytest.mark.parametrize("changes", [{}, {"key_id": "sk3", "replaces": "sk0"}])
def test_neither_an_id_nor_a_successor_is_there_twice(engine: Engine, changes: dict[str, str]) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        api_keys.add(tx, new_key(ground.program, replaces="sk0"), NOW)
    with pytest.raises(IntegrityError), begin(engine) as tx:
        api_keys.add(tx, new_key(ground.program, **changes), NOW)


def test_an_end_is_never_put_off(engine: Engine) -> None:
    with begin(engine) as tx:
        key = api_keys.add(tx, new_key(prepared(tx).program), NOW)
        api_keys.end_by(tx, key.id, LATER)
        assert api_keys.get(tx, key.program, "sk1").expires_at == LATER
        api_keys.end_by(tx, key.id, LATER + timedelta(days=1))
        assert api_keys.get(tx, key.program, "sk1").expires_at == LATER
        api_keys.end_by(tx, key.id, NOW)
        assert api_keys.get(tx, key.program, "sk1").expires_at == NOW


def test_revoking_twice_keeps_the_first_time(engine: Engine) -> None:
    with begin(engine) as tx:
        key = api_keys.add(tx, new_key(prepared(tx).program), NOW)
        api_keys.revoke(tx, key.id, NOW)
        api_keys.revoke(tx, key.id, LATER)
        assert api_keys.get(tx, key.program, "sk1").revoked_at == NOW


def test_use_is_noted_by_the_newest_time(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        keys = [api_keys.add(tx, new_key(ground.program, f"sk{number}"), NOW).id for number in range(3)]
        api_keys.note_used(tx, {})
        api_keys.note_used(tx, {keys[0]: LATER, keys[1]: NOW})
        api_keys.note_used(tx, {keys[0]: NOW, keys[1]: LATER})
        assert [row.last_used_at for row in api_keys.of_program(tx, ground.program)] == [LATER, LATER, None]
