"""The sending engine where something is in its way: a node that fails, dear gas, failing batches, another sender."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest
from pytest import MonkeyPatch

from nftloyalty.app import gathering, governing, minting, sending
from nftloyalty.app.gathering import Blocked, Gathering, Ready, Spoiled
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.minting import MintReport
from nftloyalty.app.sending import Sender
from nftloyalty.chain.client import Node
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.domain.roster import Outcome
from nftloyalty.errors import (
    BadInput,
    ChainProblem,
    ChainRestarted,
    FeesTooHigh,
    LoyaltyError,
    NodeUnreachable,
    OutOfFunds,
    QuotaSpent,
    Reverted,
)
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow
from tests.app.build import World, new_wallet, program_text
from tests.app.conftest import Anew, OpenWorld
from tests.app.proxy import Proxy
from tests.conftest import StartAnvil

GWEI = 10**9


def behind(world: World, proxy: Proxy) -> World:
    """The same program, seen through a node that may misbehave."""
    return replace(world, app=replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}")))


def quiet() -> None:
    """A tick that nobody watches."""


def row_of(wallet: str) -> str:
    return f"{wallet},gold,never"


def states(world: World) -> dict[IntentState, int]:
    here = world.here
    with read(world.app.engine) as tx:
        return intents.counts_by_state(tx, here.row.id, Kind.MINT_CARD)


def open_slots(world: World) -> list[SlotState]:
    here = world.here
    with begin(world.app.engine) as tx:
        signer = signers.register(tx, here.attached.row, world.address("hot")).id
        return [each.slot.state for each in slots.open_slots(tx, signer)]


# ------------------------------------------------------------------------------------------------- a node that fails


def test_a_node_that_fails_for_a_while_does_not_end_the_run(anew: Anew, proxy: Proxy, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_PAUSES", (0.01, 0.01, 0.01))
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 1)
    world = behind(anew(""), proxy)
    plan = world.plan(*[row_of(new_wallet()) for _ in range(3)])
    told: list[LoyaltyError] = []

    def fails_after_the_first(method: str, params: list[Any]) -> bool:
        proxy.down = len(proxy.sent) == 1 and method != "eth_sendRawTransaction" and len(told) < 2
        return False

    def on_trouble(trouble: LoyaltyError) -> None:
        told.append(trouble)
        proxy.down = False

    proxy.refuse = fails_after_the_first
    report = minting.mint(world.app, world.here, plan, on_trouble=on_trouble)
    assert report.final == 3
    assert told
    assert all(isinstance(trouble, NodeUnreachable) for trouble in told)
    assert world.here.membership.total_supply() == 3


def test_a_node_that_never_answered_is_not_waited_for(anew: Anew, proxy: Proxy) -> None:
    world = behind(anew(""), proxy)
    here, plan = world.here, world.plan(row_of(new_wallet()))
    proxy.down = True
    told: list[LoyaltyError] = []
    with pytest.raises(NodeUnreachable):
        minting.mint(world.app, here, plan, on_trouble=told.append)
    assert not told


def test_a_chain_restarted_under_a_running_sender_gets_nothing(chain: str, open_on: OpenWorld) -> None:
    """Chain id and contract address are the same on the new chain; what is sent there would land nowhere."""
    with DevChainServer() as later, Proxy(chain) as proxy:
        world = open_on(f"http://127.0.0.1:{proxy.port}")
        here = world.here
        signer = signer_of(world.app, "hot")
        minting._accept(world.app, here, world.plan(row_of(new_wallet())))
        with Sender(world.app, here.attached, signer, finality_blocks=None) as engine:
            sent = len(proxy.sent)
            proxy.upstream = later.url
            with pytest.raises(ChainRestarted, match="serves another chain than when this began"):
                engine.step()
        with pytest.raises(ChainRestarted), Sender(world.app, here.attached, signer, finality_blocks=None):
            pytest.fail("the barrier let it pass")
        assert len(proxy.sent) == sent
        assert states(replace(world, app=replace(world.app, node=Node(chain)))) == {IntentState.RECEIVED: 1}


def test_a_node_that_can_not_tell_finality_is_found_out_before_anything_is_sent(anew: Anew, proxy: Proxy) -> None:
    world = behind(anew(""), proxy)
    plan = world.plan(row_of(new_wallet()))
    proxy.change = lambda method, params, result: None if "finalized" in params else result
    with pytest.raises(ChainProblem, match="does not tell which block is final") as refused:
        minting.mint(world.app, world.here, plan)
    assert "finality_blocks" in refused.value.mend
    assert not proxy.sent
    assert states(world) == {IntentState.RECEIVED: 1}


# ---------------------------------------------------------------------------------- batches that fail after their trial


def short_of_gas(alone_too: bool) -> Callable[[str, list[Any], Any], Any]:
    """A node that finds a quarter of the gas enough, so that trials pass and transactions fail."""

    def change(method: str, params: list[Any], result: Any) -> Any:
        if method != "eth_estimateGas":
            return result
        single = len(params[0]["data"]) < 2 * (4 + 3 * 32) + 3
        return result if single and not alone_too else hex(max(25_000, int(result, 16) // 4))

    return change


def test_a_batch_that_fails_on_chain_is_tried_again_in_smaller_company(
    anew: Anew, proxy: Proxy, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 8)
    world = behind(anew(""), proxy)
    plan = world.plan(*[row_of(new_wallet()) for _ in range(3)])
    proxy.change = short_of_gas(alone_too=False)
    assert minting.mint(world.app, world.here, plan).final == 3
    assert len(set(proxy.sent)) == 1 + 3


def test_what_fails_on_chain_again_and_again_is_given_up_and_can_be_asked_for_anew(
    anew: Anew, proxy: Proxy, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 8)
    world = behind(anew(""), proxy)
    rows = [row_of(new_wallet()) for _ in range(2)]
    proxy.change = short_of_gas(alone_too=True)
    report = minting.mint(world.app, world.here, world.plan(*rows))
    assert [why for _, _, why in report.rejected] == [
        "its transaction failed 4 times on chain, each time after a trial that passed"
    ] * 2
    assert len(set(proxy.sent)) == 1 + 2 * 3
    proxy.change = lambda method, params, result: result
    again = world.plan(*rows)
    assert again.count(Outcome.AGAIN) == 2
    assert minting.mint(world.app, world.here, again).final == 2
    assert world.here.membership.total_supply() == 2


# ------------------------------------------------------------------------------------------------------ caps and fees


def test_a_row_too_many_for_the_cap_is_refused_though_the_others_are_only_on_their_way(anew: Anew) -> None:
    world = anew(program_text(terms="cap = 3"))
    minting._accept(world.app, world.here, world.plan(row_of(new_wallet()), row_of(new_wallet())))
    with pytest.raises(BadInput) as refused:
        world.plan(row_of(new_wallet()), row_of(new_wallet()))
    assert "2 rows to mint, but there are 0 of at most 3 living cards, and 2 more are under way" in str(
        refused.value.problems[0]
    )
    assert world.plan(row_of(new_wallet())).count(Outcome.NEW) == 1


def test_as_many_as_the_cap_has_room_for_are_minted(anew: Anew) -> None:
    world = anew(program_text(terms="cap = 5"))
    plan = world.plan(*[row_of(new_wallet()) for _ in range(5)])
    world.mint_outside(new_wallet(), new_wallet())
    with pytest.raises(Reverted, match=r"cap|Cap") as refused:
        minting.mint(world.app, world.here, plan)
    assert "Accepted and not sent: 2" in "".join(refused.value.__notes__)
    assert world.here.membership.total_supply() == 5
    assert states(world) == {IntentState.FINAL: 3, IntentState.RECEIVED: 2}


def test_gas_above_the_ceiling_holds_back_what_is_not_signed_and_settles_what_is_sent(
    start_anvil: StartAnvil, open_on: OpenWorld, monkeypatch: MonkeyPatch
) -> None:
    anvil = start_anvil("--slots-in-an-epoch", "1")
    world = open_on(anvil.url)
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 1)
    plan = world.plan(row_of(new_wallet()), row_of(new_wallet()))
    minting._accept(world.app, world.here, plan)
    signer = signer_of(world.app, "hot")
    with Sender(world.app, world.here.attached, signer, finality_blocks=None) as engine:
        engine._send_next()
        ready = engine._gather()
        assert ready is not None
        engine._reserve(ready)
        assert open_slots(world) == [SlotState.BROADCASTING, SlotState.RESERVED]
    ceiling = 50 * GWEI
    dear = replace(world, app=replace(world.app, settings=replace(world.app.settings, max_fee_wei=ceiling)))
    world.app.node.call("anvil_setNextBlockBaseFeePerGas", [hex(60 * GWEI)])
    world.app.node.call("anvil_mine", [hex(1)])
    told: list[Blocked] = []

    def on_blocked(blocked: Blocked) -> None:
        told.append(blocked)
        raise blocked.reason

    with pytest.raises(FeesTooHigh, match="above the ceiling of 50 gwei"):
        sending.work(
            dear.app, world.here.attached, signer, finality_blocks=None, done=lambda: False, on_blocked=on_blocked
        )
    assert len(told) == 1
    assert open_slots(world)[-1] is SlotState.RESERVED
    assert world.here.membership.total_supply() == 1
    world.app.node.call("anvil_setNextBlockBaseFeePerGas", [hex(GWEI)])
    world.app.node.call("anvil_mine", [hex(1)])
    assert minting.mint(dear.app, world.here, world.plan(*[row_of(row.recipient) for row in plan.rows])).on_chain == 2


# -------------------------------------------------------------------------------------------- withdrawn in the middle


def test_a_row_withdrawn_between_gathering_and_reserving_is_left_out(anew: Anew, monkeypatch: MonkeyPatch) -> None:
    world = anew("")
    gone = new_wallet()
    plan = world.plan(row_of(gone), row_of(new_wallet()))
    original = Gathering.try_next
    withdrawn: list[int] = []

    def try_next(gathering: Gathering, waiting: Sequence[IntentRow]) -> Ready | Spoiled:
        found = original(gathering, waiting)
        if not withdrawn:
            withdrawn.extend(row.id for row in waiting if row.recipient == gone)
            with begin(world.app.engine) as tx:
                intents.cancel(tx, withdrawn, world.app.now())
        return found

    monkeypatch.setattr(Gathering, "try_next", try_next)
    report = minting.mint(world.app, world.here, plan)
    assert (report.final, len(report.rejected)) == (1, 1)
    assert not world.here.membership.is_active(gone)


# --------------------------------------------------------------------------------------------- beside another sender


@contextmanager
def another_sender(world: World) -> Iterator[None]:
    """A living process that holds the lease and sends nothing."""
    here = world.here
    with begin(world.app.engine) as tx:
        signer = signers.register(tx, here.attached.row, world.address("hot")).id
        epoch = signers.take_lease(tx, signer, "elsewhere/1/1", world.app.now(), 3600, lambda owner: True)
    try:
        yield
    finally:
        with begin(world.app.engine) as tx:
            signers.release_lease(tx, signer, "elsewhere/1/1", epoch)


def mint_one(world: World) -> MintReport:
    return minting.mint(world.app, world.here, world.plan(row_of(new_wallet())))


def test_a_pause_that_another_sender_waits_for_is_told(anew: Anew) -> None:
    world = anew("")
    here, plan = world.here, world.plan(row_of(new_wallet()))
    governing.pause(world.app, here, quiet)
    with another_sender(world), pytest.raises(Reverted, match="pause"):
        minting.mint(world.app, here, plan)


def test_a_quota_that_another_sender_waits_for_is_told(anew: Anew) -> None:
    world = anew(program_text(cards="mint = 2"))
    here, plan = world.here, world.plan(row_of(new_wallet()))
    world.mint_outside(new_wallet(), new_wallet())
    with another_sender(world), pytest.raises(QuotaSpent):
        minting.mint(world.app, here, plan)


def test_money_that_another_sender_waits_for_is_told(anew: Anew) -> None:
    world = anew("")
    here, plan = world.here, world.plan(row_of(new_wallet()))
    original = Node.balance
    with another_sender(world), MonkeyPatch.context() as patched:
        seen: list[int] = []

        def drained(node: Node, address: str, block: int | str = "latest") -> int:
            seen.append(1)
            # The plan is still paid for; then somebody takes the money away.
            return original(node, address, block) if len(seen) == 1 else 1

        patched.setattr(Node, "balance", drained)
        with pytest.raises(OutOfFunds):
            minting.mint(world.app, here, plan)


def test_rows_that_another_sender_brings_to_the_chain_are_waited_for(anew: Anew) -> None:
    world = anew("")
    here, plan = world.here, world.plan(row_of(new_wallet()))
    looks = 0
    with begin(world.app.engine) as tx:
        signer = signers.register(tx, here.attached.row, world.address("hot")).id
        epoch = signers.take_lease(tx, signer, "elsewhere/1/1", world.app.now(), 3600, lambda owner: True)

    def progress(waiting: int) -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            with begin(world.app.engine) as tx:
                signers.release_lease(tx, signer, "elsewhere/1/1", epoch)

    assert minting.mint(world.app, here, plan, progress=progress).final == 1
    assert looks > 2
