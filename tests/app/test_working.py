"""The worker: what it can't do now it does later, and it says why."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest import MonkeyPatch
from sqlalchemy import func, select

from nftloyalty.app import claiming, deploying, governing, indexing, verifying, working
from nftloyalty.app.indexing import Indexer
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender
from nftloyalty.app.working import Hand, Worker
from nftloyalty.chain.client import Node
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.address import Address
from nftloyalty.domain.answer import Said, answer_key
from nftloyalty.domain.intent import IntentState
from nftloyalty.errors import IndexBehind, IndexHalted
from nftloyalty.store import answers, deliveries, events, index_steps, intents, tables
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow
from tests.app.build import World, new_wallet, program_of, program_text
from tests.app.conftest import Anew, OpenWorld
from tests.app.proxy import Proxy
from tests.store.happenings import deliver_all, endpoint, happen


def accept(world: World) -> IntentRow:
    deadline = datetime.now(UTC) + timedelta(days=1)
    signed = claiming.create_card(world.app, world.here, new_wallet(), tier=1, expires_at=0, deadline=deadline)
    return claiming.accept_claim(world.app, world.here, signed)


@contextmanager
def working_for(world: World, node: Node | None = None, *, sends: bool = True) -> Iterator[Worker]:
    here = world.here
    app = replace(world.app, node=node or world.app.node)
    worker = Worker(app, here, [signer_of(app, claiming.relay_key(here))] if sends else [])
    worker.start()
    try:
        yield worker
    finally:
        worker.stop()
        assert not any(hand.running for hand in worker.hands)


def trouble_of(hand: Hand | None) -> str:
    assert hand is not None
    return hand.trouble


def knows(world: World, wallet: Address) -> bool:
    """Whether the index has the card and is up to date."""
    try:
        return verifying.holding(world.app, world.here, wallet).holding.card.exists
    except IndexBehind:
        return False


def wait_until(true: Callable[[], bool], seconds: float = 30) -> None:
    give_up = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < give_up, "it did not come about"
        time.sleep(0.05)


def is_behind(world: World) -> bool:
    try:
        verifying.check_index(world.app, world.here)
    except IndexBehind:
        return True
    return False


def lease_owners(world: World) -> tuple[str | None, str | None]:
    """Who sends with the key hot, and who keeps the chain's index; None = nobody."""
    signers, indexers = tables.signers.c, tables.indexers.c
    sender = select(signers.lease_owner).where(signers.address == world.address("hot"))
    indexer = select(indexers.owner).where(indexers.chain == world.here.attached.row)
    with read(world.app.engine) as tx:
        return tx.execute(sender).scalar_one_or_none(), tx.execute(indexer).scalar_one_or_none()


def is_final(world: World, claim: IntentRow) -> bool:
    with read(world.app.engine) as tx:
        return intents.get(tx, claim.public_id).state is IntentState.FINAL


def test_claims_are_brought_to_the_chain(world: World) -> None:
    claims = [accept(world) for _ in range(2)]
    with working_for(world) as worker:
        wait_until(lambda: all(is_final(world, claim) for claim in claims))
        wait_until(lambda: all(knows(world, str(claim.recipient)) for claim in claims))
        assert worker.troubles == {}


def test_what_the_index_finds_is_told(world: World) -> None:
    claim = accept(world)
    wallet = bytes.fromhex(str(claim.recipient)[2:])

    def told() -> list[tuple[str, str]]:
        with read(world.app.engine) as tx:
            return [(row.type, row.phase) for row in events.page(tx, world.here.row.id, limit=9, wallet=wallet)]

    with working_for(world) as worker:
        wait_until(lambda: ("membership.created", "final") in told())
        assert [hand.name for hand in worker.hands if hand is worker.announcer] == ["events"]
        assert worker.troubles == {}


def test_what_is_old_is_forgotten(world: World) -> None:
    long_ago = datetime.now(UTC) - timedelta(days=100)
    program = world.here.row.id
    with begin(world.app.engine) as tx:
        key = answer_key("POST /v1/vouchers", "k", None, kept=False)
        answers.add(tx, program, [(key, Said(201, "{}"))], long_ago)
        to = endpoint(tx, program)
        happen(tx, program, "m:1", now=long_ago)
        deliver_all(tx, program, long_ago)
        # Other tests share this program.
        deliveries.disable(tx, to, "by hand", long_ago, tables.EndpointState.DELETED)

    def left() -> list[int]:
        with read(world.app.engine) as tx:
            forgotten = (tables.answers, tables.deliveries, tables.delivery_tries)
            return [tx.execute(select(func.count()).select_from(each)).scalar_one() for each in forgotten]

    assert left() == [1, 1, 1]
    with working_for(world, sends=False) as worker:
        wait_until(lambda: left() == [0, 0, 0])
        assert worker.troubles == {}


def test_a_node_that_goes_away_is_told_and_waited_for(world: World, proxy: Proxy, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(working, "PAUSE_AFTER_TROUBLE_SECONDS", 0.1)
    claim = accept(world)
    proxy.down = True
    with working_for(world, Node(f"http://127.0.0.1:{proxy.port}")) as worker:
        wait_until(lambda: len(worker.troubles) == 2)
        assert all("no answer from the node" in trouble for trouble in worker.troubles.values())
        assert not is_final(world, claim)
        proxy.down = False
        wait_until(lambda: is_final(world, claim))
        wait_until(lambda: knows(world, str(claim.recipient)))
        wait_until(lambda: worker.troubles == {})


def test_a_pause_is_told_and_waited_for(anew: Anew, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(working, "PAUSE_AFTER_TROUBLE_SECONDS", 0.1)
    world = anew("")
    claim = accept(world)
    governing.pause(world.app, world.here, lambda: None)
    with working_for(world) as worker:
        wait_until(lambda: "the program is paused" in worker.senders[0].trouble)
        assert trouble_of(worker.indexer) == ""
        governing.unpause(world.app, world.here, lambda: None)
        wait_until(lambda: is_final(world, claim))
        wait_until(lambda: worker.troubles == {})


def test_an_unexpected_failure_does_not_end_it(world: World, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(working, "PAUSE_AFTER_TROUBLE_SECONDS", 0.1)
    claim = accept(world)
    failed: list[type] = []

    def failing_once(kind: type, whole: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def step(self: Any) -> Any:
            if kind not in failed:
                failed.append(kind)
                raise RuntimeError("a secret of the inside")
            return whole(self)

        return step

    for kind in (Sender, Indexer):
        monkeypatch.setattr(kind, "step", failing_once(kind, kind.step))
    with working_for(world) as worker:
        wait_until(lambda: is_final(world, claim) and knows(world, str(claim.recipient)))
        wait_until(lambda: worker.troubles == {})
    assert set(failed) == {Sender, Indexer}


def test_a_chain_that_was_started_anew_is_told_and_left_alone(
    world: World, proxy: Proxy, monkeypatch: MonkeyPatch
) -> None:
    """Until the right one is back: then it goes on."""
    monkeypatch.setattr(working, "PAUSE_AFTER_TROUBLE_SECONDS", 0.1)
    ours = proxy.upstream
    with working_for(world, Node(f"http://127.0.0.1:{proxy.port}")) as worker, DevChainServer() as anew:
        wait_until(lambda: not is_behind(world))
        proxy.upstream = anew.url
        wait_until(lambda: len(worker.troubles) == 2)
        assert all("serves another chain than when this began" in trouble for trouble in worker.troubles.values())
        before = verifying.index_position(world.app, world.here)
        proxy.sent.clear()
        claim = accept(world)
        time.sleep(0.5)
        assert proxy.sent == []
        assert verifying.index_position(world.app, world.here) == before
        proxy.upstream = ours
        wait_until(lambda: is_final(world, claim) and knows(world, str(claim.recipient)))
        wait_until(lambda: worker.troubles == {})


def test_one_halted_index_holds_up_no_other(open_on: OpenWorld, chain: str) -> None:
    """Two programs of one database. What stands still is told, and the other one is as quick as ever."""
    world = open_on(chain)
    other = World(world.app, program_of(program_text()))
    deploying.deploy(other.app, other.program)
    world.index()
    at = verifying.index_position(other.app, other.here)
    assert at is not None
    with begin(world.app.engine) as tx:
        index_steps.halt(tx, at, "block 7 was final and is gone")
    wallets = [new_wallet() for _ in range(3)]
    with working_for(world, sends=False) as worker:
        wait_until(lambda: "block 7 was final and is gone" in trouble_of(worker.indexer))
        for wallet in wallets:
            world.mint_outside(wallet)
            wait_until(lambda: knows(world, wallet), seconds=2.5)  # noqa: B023 it is waited for here
        with pytest.raises(IndexHalted):
            verifying.holding(other.app, other.here, wallets[0])
        indexing.rebuild(other.app, other.here.row.id)
        wait_until(lambda: worker.troubles == {})
    assert not verifying.holding(other.app, other.here, wallets[0]).holding.card.exists


def test_stopping_gives_the_leases_back(world: World) -> None:
    with working_for(world):
        accept(world)
        wait_until(lambda: None not in lease_owners(world))
    assert lease_owners(world) == (None, None)


def test_stopping_waits_for_no_node_that_hangs(world: World, proxy: Proxy, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(working, "STOP_SECONDS", 1.0)
    here = world.here
    app = replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}"))
    released = threading.Event()
    worker = Worker(app, here, [signer_of(app, "hot"), signer_of(app, "desk")])
    proxy.refuse = lambda method, params: not released.wait(30)
    worker.start()
    time.sleep(0.3)
    before = time.monotonic()
    worker.stop()
    assert time.monotonic() - before < 2.5
    released.set()
    for hand in worker.hands:
        hand.join(30)
        assert not hand.running


def test_a_key_that_is_named_twice_sends_once(world: World) -> None:
    signers = [signer_of(world.app, name) for name in ("hot", "desk", world.address("hot"))]
    names = [hand.name for hand in Worker(world.app, world.here, signers).senders]
    assert names == [f"sender {world.address(name)}" for name in ("hot", "desk")]


def test_one_that_was_never_started_can_be_stopped(world: World) -> None:
    Worker(world.app, world.here, [signer_of(world.app, "hot")]).stop()
