"""A file of members and the intake ask for the same things under the same keys, so neither does what the other did."""

import json
from collections.abc import Mapping
from typing import Any

import pytest

from nftloyalty.app import describing, governing, minting
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import work
from nftloyalty.domain.answer import Said
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.mint import Reply
from nftloyalty.domain.roster import Outcome
from nftloyalty.errors import AskedOtherwise
from nftloyalty.store import intents
from nftloyalty.store.engine import read
from tests.app.build import World, new_wallet, request


def quiet() -> None:
    """A tick that nobody watches."""


def told(reply: Reply, intent: Mapping[str, Any]) -> Said:
    return Said(202, json.dumps({"reply": reply, **intent}))


def card(world: World, wallet: str, tier: str = "gold") -> dict[str, Any]:
    with Intake(world.app, world.here) as taking:
        found: dict[str, Any] = json.loads(
            request(taking.card, {"wallet": wallet, "tier": tier, "expiry": None}, told).result(30).said.body
        )
    return found


def stamp(world: World, wallet: str) -> dict[str, Any]:
    with Intake(world.app, world.here) as taking:
        found: dict[str, Any] = json.loads(
            request(taking.stamp, {"wallet": wallet, "stamp": "latte"}, told).result(30).said.body
        )
    return found


def send(world: World) -> None:
    """As a worker does, until nothing waits."""
    here = world.here

    def done() -> bool:
        with read(world.app.engine) as tx:
            return not any(intents.unfinished(tx, here.row.id, kind) for kind in (Kind.MINT_CARD, Kind.MINT_STAMP))

    signer = signer_of(world.app, here.program.powers.minters[0])
    work(world.app, here.attached, signer, finality_blocks=here.program.chain.finality_blocks, done=done)


def test_what_was_taken_in_is_done_for_a_file_once_it_is_sent(world: World) -> None:
    wallet = new_wallet()
    asked = card(world, wallet.lower())
    assert world.plan(f"{wallet},gold,never").count(Outcome.CONTINUING) == 1
    send(world)
    assert world.plan(f"{wallet},gold,never").count(Outcome.DONE) == 1
    world.index()
    found = describing.find(world.app, world.here, asked["id"])
    assert (found["phase"], found["wallet"], found["tier"]) == ("final", wallet, "gold")
    assert found["transaction"] is not None


def test_what_a_file_minted_is_known(world: World) -> None:
    wallet = new_wallet()
    world.mint(f"{wallet},gold,never")
    before = world.nonces()
    found = card(world, wallet)
    # Final in our books; the index has not seen it yet, so neither have ownership and gate.
    assert (found["reply"], found["phase"]) == ("known", "pending")
    world.index()
    assert card(world, wallet)["phase"] == "final"
    with pytest.raises(AskedOtherwise, match="as Gold for life"):
        card(world, wallet, "member")
    send(world)
    assert world.nonces() == before


def test_what_the_contract_refuses_is_told_with_its_reason_and_can_be_asked_again(world: World) -> None:
    wallet = new_wallet()
    world.mint_outside(wallet)
    asked = card(world, wallet)
    send(world)
    found = describing.find(world.app, world.here, asked["id"])
    assert (found["phase"], found["reason"]["code"]) == ("reverted", "already_held")
    again = card(world, wallet)
    assert (again["reply"], again["id"], again["phase"]) == ("again", asked["id"], "pending")
    send(world)


def test_a_stamp_that_may_return_is_given_again_once_the_index_knows_it_is_gone(world: World) -> None:
    wallet = new_wallet()
    first = stamp(world, wallet)
    send(world)
    world.index()
    assert (stamp(world, wallet)["reply"], stamp(world, wallet)["id"]) == ("known", first["id"])
    governing.revoke_stamp(world.app, world.here, wallet, 1, True, "wrong customer", quiet)
    assert stamp(world, wallet)["reply"] == "known"
    world.index()
    second = stamp(world, wallet)
    assert second["reply"] == "accepted"
    assert second["id"] != first["id"]
    assert (stamp(world, wallet)["reply"], stamp(world, wallet)["id"]) == ("known", second["id"])
    # The file counts the same way.
    assert world.plan_stamps("latte", wallet).count(Outcome.CONTINUING) == 1
    send(world)
    assert world.here.stamps.words_of([wallet])[0].holds(1)
    world.index()
    assert (stamp(world, wallet)["reply"], stamp(world, wallet)["id"]) == ("known", second["id"])
    governing.revoke_stamp(world.app, world.here, wallet, 1, False, "for good", quiet)
    world.index()
    assert (stamp(world, wallet)["reply"], stamp(world, wallet)["id"]) == ("known", second["id"])
    assert minting.mint(world.app, world.here, world.plan_stamps("latte", wallet)).final == 1
    with read(world.app.engine) as tx:
        assert intents.get(tx, second["id"]).state is IntentState.FINAL
