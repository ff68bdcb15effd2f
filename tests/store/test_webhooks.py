"""Endpoints belong to one program, and a former secret is signed with until its time is over."""

from datetime import timedelta

import pytest
from sqlalchemy import Engine

from nftloyalty.errors import Unknown
from nftloyalty.store import deliveries, webhooks
from nftloyalty.store.engine import begin
from nftloyalty.store.tables import EndpointState
from tests.store.build import NOW, prepared, program
from tests.store.happenings import again, endpoint

HOUR = timedelta(hours=1)


def test_an_endpoint_belongs_to_its_program(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        other = program(tx, ground.chain, "tea").id
        mine, theirs = endpoint(tx, ground.program), endpoint(tx, other)
        assert webhooks.list_all(tx, ground.program) == [mine]
        assert webhooks.get(tx, other, theirs.public_id) == theirs
        for find in (webhooks.get, webhooks.hold):
            with pytest.raises(Unknown, match=theirs.public_id):
                find(tx, ground.program, theirs.public_id)


def test_a_former_secret_runs_out(engine: Engine) -> None:
    with begin(engine) as tx:
        to = endpoint(tx, prepared(tx).program, secret=b"first")
        webhooks.add_secret(tx, to.id, b"second", NOW, NOW + 2 * HOUR)
        assert webhooks.sealed_secrets(tx, [to.id], NOW) == {to.id: [b"second", b"first"]}
        assert webhooks.former_until(tx, to.id, NOW) == NOW + 2 * HOUR
        # Rotated again: the first one is given no further time.
        webhooks.add_secret(tx, to.id, b"third", NOW + HOUR, NOW + 9 * HOUR)
        assert webhooks.sealed_secrets(tx, [to.id], NOW + HOUR) == {to.id: [b"third", b"second", b"first"]}
        assert webhooks.sealed_secrets(tx, [to.id], NOW + 2 * HOUR) == {to.id: [b"third", b"second"]}
        assert webhooks.sealed_secrets(tx, [to.id], NOW + 9 * HOUR) == {to.id: [b"third"]}
        assert webhooks.former_until(tx, to.id, NOW + 9 * HOUR) is None
        # At once, because it was stolen: all former ones.
        webhooks.add_secret(tx, to.id, b"fourth", NOW + 3 * HOUR, NOW + 3 * HOUR)
        assert webhooks.sealed_secrets(tx, [to.id], NOW + 3 * HOUR) == {to.id: [b"fourth"]}
        assert webhooks.any_secret(tx)
        webhooks.forget_secrets(tx, to.id)
        assert not webhooks.any_secret(tx)


def test_a_deleted_endpoint_stays_for_its_log_and_is_listed_no_more(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        to = endpoint(tx, ground.program)
        deliveries.disable(tx, to, "by hand", NOW, EndpointState.DELETED)
        assert webhooks.list_all(tx, ground.program) == []
        assert again(tx, to).state is EndpointState.DELETED
        assert webhooks.hold_active(tx, [ground.program]) == webhooks.hold_ready(tx, ground.program, NOW) == []
