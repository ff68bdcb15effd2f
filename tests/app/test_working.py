"""The relay beside the web server: what it can't do now it does later, and it says why."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from nftloyalty.app.relaying import Relay
from pytest import MonkeyPatch

from nftloyalty.app import claiming, governing, relaying
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender
from nftloyalty.chain.client import Node
from nftloyalty.domain.intent import IntentState
from nftloyalty.store.intents import IntentRow
from tests.app.build import World, new_wallet
from tests.app.conftest import Anew
from tests.app.proxy import Proxy


def accept(world: World) -> IntentRow:
    deadline = datetime.now(UTC) + timedelta(days=1)
    signed = claiming.create_card(world.app, world.here, new_wallet(), tier=1, expires_at=0, deadline=deadline)
    return claiming.accept_claim(world.app, world.here, signed)


@contextmanager
def relaying_for(world: World, node: Node | None = None) -> Iterator[Relay]:
    here = world.here
    app = replace(world.app, node=node or world.app.node)
    relay = Relay(app, here, signer_of(app, claiming.relay_key(here)))
    relay.start()
    try:
        yield relay
    finally:
        relay.stop()
        assert not relay.running


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.05)


def is_final(world: World, claim: IntentRow) -> bool:
    return claiming.claim_status(world.app, claim.public_id).state is IntentState.FINAL


def test_claims_are_brought_to_the_chain(world: World) -> None:
    claims = [accept(world) for _ in range(2)]
    with relaying_for(world) as relay:
        wait_until(lambda: all(is_final(world, claim) for claim in claims))
        assert relay.trouble == ""


def test_a_node_that_goes_away_is_told_and_waited_for(world: World, proxy: Proxy, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "PAUSE_AFTER_TROUBLE_SECONDS", 0.1)
    claim = accept(world)
    proxy.down = True
    with relaying_for(world, Node(f"http://127.0.0.1:{proxy.port}")) as relay:
        wait_until(lambda: "no answer from the node" in relay.trouble)
        assert not is_final(world, claim)
        proxy.down = False
        wait_until(lambda: is_final(world, claim))
        wait_until(lambda: relay.trouble == "")


def test_a_pause_is_told_and_waited_for(anew: Anew, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "PAUSE_AFTER_TROUBLE_SECONDS", 0.1)
    world = anew("")
    claim = accept(world)
    governing.pause(world.app, world.here, lambda: None)
    with relaying_for(world) as relay:
        wait_until(lambda: "the program is paused" in relay.trouble)
        governing.unpause(world.app, world.here, lambda: None)
        wait_until(lambda: is_final(world, claim))
        wait_until(lambda: relay.trouble == "")


def test_an_unexpected_failure_does_not_end_it(world: World, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(relaying, "PAUSE_AFTER_TROUBLE_SECONDS", 0.1)
    claim = accept(world)
    whole = Sender.step
    failed: list[int] = []

    def fails_once(sender: Sender) -> bool:
        if not failed:
            failed.append(1)
            raise RuntimeError("a secret of the inside")
        return whole(sender)

    monkeypatch.setattr(Sender, "step", fails_once)
    with relaying_for(world):
        wait_until(lambda: is_final(world, claim))
    assert failed


def test_stopping_gives_the_lease_back(world: World) -> None:
    with relaying_for(world):
        accept(world)
    here = world.here
    with Sender(world.app, here.attached, signer_of(world.app, "hot"), finality_blocks=None) as sender:
        while sender.step():
            pass


def test_one_that_was_never_started_can_be_stopped(world: World) -> None:
    Relay(world.app, world.here, signer_of(world.app, "hot")).stop()
