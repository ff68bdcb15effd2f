"""The sending engine where something is in its way: a node that fails, dear gas, failing batches, another sender."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import pairwise
from typing import Any

import pytest
from pytest import MonkeyPatch
from sqlalchemy import select, update

from nftloyalty.app import gathering, governing, minting, requesting, sending, waiting
from nftloyalty.app.gathering import Blocked, Gathering, Ready, Spoiled
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.minting import MintReport
from nftloyalty.app.sending import Sender
from nftloyalty.chain import sender
from nftloyalty.chain.client import Node
from nftloyalty.chain.sender import Fees
from nftloyalty.chain.signer import SignedTx, TxFields
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
    SignerBusy,
    SignerHalted,
    SigningProblem,
)
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import WaitingRow
from nftloyalty.store.tables import attempts
from nftloyalty.store.tables import signers as signer_table
from tests.app.build import Clock, World, new_wallet, program_text
from tests.app.conftest import Anew, OpenWorld
from tests.app.proxy import Proxy
from tests.conftest import StartAnvil
from tests.store.build import counts

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
        return counts(tx, here.row.id, Kind.MINT_CARD)


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
        assert engine._reserve(engine._gather().ready)
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


def test_gas_that_passes_the_ceiling_between_trying_and_signing_is_told(anew: Anew, monkeypatch: MonkeyPatch) -> None:
    world = anew("")
    original, asked = sender.fees, []

    def fees(node: Node, ceiling: int) -> Fees:
        asked.append(ceiling)
        if len(asked) == 2:
            raise FeesTooHigh(2 * ceiling, ceiling)
        return original(node, ceiling)

    monkeypatch.setattr(gathering, "FEES_LAST", timedelta(0))
    plan = world.plan(row_of(new_wallet()))
    with monkeypatch.context() as patched:
        patched.setattr(sender, "fees", fees)
        with pytest.raises(FeesTooHigh):
            minting.mint(world.app, world.here, plan)
    assert open_slots(world) == [SlotState.RESERVED]
    assert minting.mint(world.app, world.here, world.plan(*[row_of(plan.rows[0].recipient)])).final == 1


def test_a_transaction_that_gas_has_left_behind_is_offered_more_in_the_same_slot(
    start_anvil: StartAnvil, open_on: OpenWorld, monkeypatch: MonkeyPatch
) -> None:
    anvil = start_anvil("--slots-in-an-epoch", "1")
    world = open_on(anvil.url)
    node, dear = world.app.node, hex(60 * GWEI)
    plan = world.plan(row_of(new_wallet()))
    monkeypatch.setattr(sending, "RESEND_AFTER", timedelta(milliseconds=300))
    node.call("evm_setAutomine", [False])

    def progress(waiting: int) -> None:
        # From the first look on, every block is dear.
        node.call("anvil_setNextBlockBaseFeePerGas", [dear])
        node.call("anvil_mine", [hex(1)])

    assert minting.mint(world.app, world.here, plan, progress=progress).on_chain == 1
    with read(world.app.engine) as tx:
        (row,) = intents.by_keys(tx, world.here.attached.row, [plan.rows[0].key]).values()
        assert row.slot is not None
        made = list(
            tx.execute(
                select(attempts.c.max_fee_wei, attempts.c.priority_fee_wei, attempts.c.tx_hash)
                .where(attempts.c.slot == row.slot)
                .order_by(attempts.c.seq)
            )
        )
    assert len(made) >= 2
    for before, after in pairwise(made):
        assert all(after[each] * 8 >= before[each] * 9 for each in (0, 1))
    assert row.tx_hash == made[-1].tx_hash
    assert world.here.membership.total_supply() == 1


def test_bytes_that_a_node_keeps_and_never_carries_out_are_replaced(
    anew: Anew, proxy: Proxy, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "RESEND_AFTER", timedelta(milliseconds=100))
    world = behind(anew(""), proxy)
    kept: list[str] = []

    def keeps_the_first(method: str, params: list[Any]) -> bool:
        if method == "eth_sendRawTransaction" and not kept:
            kept.append(params[0])
        return method == "eth_sendRawTransaction" and params[0] == kept[0]

    proxy.refuse = keeps_the_first
    assert world.mint(row_of(new_wallet())).on_chain == 1
    assert proxy.sent.count(kept[0]) >= 2
    assert len(set(proxy.sent)) == 2
    assert world.here.membership.total_supply() == 1


def test_a_key_whose_keeper_is_slow_costs_no_lease(
    start_anvil: StartAnvil, open_on: OpenWorld, monkeypatch: MonkeyPatch
) -> None:
    """Sixteen signatures of five seconds each take longer than a lease lasts, and another worker waits for its end."""
    clock = Clock(datetime.now(UTC))
    world = open_on(start_anvil().url, now=clock.now)
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 1)
    monkeypatch.setattr(gathering, "FRESH_SECONDS", 10**6)
    signer = signer_of(world.app, "hot")
    tried: list[int] = []

    class Slow:
        address = signer.address

        def sign_transaction(self, fields: TxFields) -> SignedTx:
            clock.forward(timedelta(seconds=5))
            with begin(world.app.engine) as tx, pytest.raises(SignerBusy):
                signers.take_lease(tx, engine._row, "elsewhere/1/1", clock.now(), 60, lambda owner: True)
            tried.append(fields.nonce)
            return signer.sign_transaction(fields)

        def sign_digest(self, digest: bytes) -> bytes:
            return signer.sign_digest(digest)

    minting._accept(world.app, world.here, world.plan(*[row_of(new_wallet()) for _ in range(20)]))
    with Sender(world.app, world.here.attached, Slow(), finality_blocks=None) as engine:
        engine.step()
        engine.step()
    assert len(tried) > 60 // 5


# ------------------------------------------------------------------------------------------------------- at the start


def test_nothing_is_begun_while_a_transaction_of_somebody_else_waits(
    start_anvil: StartAnvil, open_on: OpenWorld
) -> None:
    world = open_on(start_anvil().url)
    world.mint(row_of(new_wallet()))
    node, hot = world.app.node, signer_of(world.app, "hot")
    nonce = node.nonce(hot.address)
    node.call("evm_setAutomine", [False])
    fees = sender.fees(node, 500 * GWEI)
    foreign = hot.sign_transaction(
        TxFields(world.here.attached.chain_id, nonce, new_wallet(), b"", 1, 21_000, fees.max_fee, fees.priority_fee)
    )
    node.send_raw(foreign.raw)
    with pytest.raises(SigningProblem, match="was not sent from here waits to be mined"):
        world.mint(row_of(new_wallet()))
    node.call("evm_setAutomine", [True])
    node.call("anvil_mine", [hex(1)])
    with pytest.raises(SignerHalted, match="foreign nonce"):
        world.mint(row_of(new_wallet()))


def test_a_node_that_is_behind_the_books_is_not_sent_to(anew: Anew) -> None:
    world = anew("")
    world.mint(row_of(new_wallet()))
    before = world.nonces()
    with begin(world.app.engine) as tx:
        tx.execute(update(signer_table).values(next_nonce=signer_table.c.next_nonce + 2))
    with pytest.raises(ChainProblem, match="by the books at least"):
        world.mint(row_of(new_wallet()))
    assert world.nonces() == before


# ---------------------------------------------------------------------------------------------- changed in the middle


def meanwhile(monkeypatch: MonkeyPatch, act: Callable[[], None]) -> None:
    """Let `act` happen once, between the first gathering and what comes of it."""
    original = Gathering.try_next
    done: list[bool] = []

    def try_next(gathering: Gathering, waiting: Sequence[WaitingRow]) -> Ready | Spoiled:
        found = original(gathering, waiting)
        if not done:
            done.append(True)
            act()
        return found

    monkeypatch.setattr(Gathering, "try_next", try_next)


def test_a_row_withdrawn_between_gathering_and_reserving_is_left_out(anew: Anew, monkeypatch: MonkeyPatch) -> None:
    world = anew("")
    gone = new_wallet()
    plan = world.plan(row_of(gone), row_of(new_wallet()))
    withdraw = partial(waiting.withdraw, world.app, world.here.attached, world.program, recipient=gone)
    meanwhile(monkeypatch, lambda: assert_one(withdraw()))
    report = minting.mint(world.app, world.here, plan)
    assert (report.final, len(report.rejected)) == (1, 1)
    assert not world.here.membership.is_active(gone)


def assert_one(count: int) -> None:
    assert count == 1


def ask_otherwise(world: World, member: str) -> None:
    """What another terminal does: withdraw what waits, and run the mended file."""
    waiting.withdraw(world.app, world.here.attached, world.program)
    minting._accept(world.app, world.here, world.plan(f"{member},gold,never"))


def test_a_row_asked_for_otherwise_between_gathering_and_reserving_is_minted_as_asked_last(
    anew: Anew, monkeypatch: MonkeyPatch
) -> None:
    """Withdrawn and asked for again from the mended file: what was tried is not what the books hold any more."""
    world = anew("")
    member = new_wallet()
    plan = world.plan(f"{member},member,never")

    meanwhile(monkeypatch, lambda: ask_otherwise(world, member))
    assert minting.mint(world.app, world.here, plan).final == 1
    assert requesting.card_of(world.here, member).tier == 2


def test_a_spoiled_row_that_was_asked_for_otherwise_meanwhile_is_not_rejected(
    anew: Anew, monkeypatch: MonkeyPatch
) -> None:
    world = anew("")
    member = new_wallet()
    plan = world.plan(f"{member},member,never")

    meanwhile(monkeypatch, lambda: ask_otherwise(world, member))
    monkeypatch.setattr(
        Gathering, "_measured", once(Gathering._measured, lambda waiting: (waiting, Reverted("LoyaltyX_Spoiled", {})))
    )
    assert minting.mint(world.app, world.here, plan).final == 1
    assert requesting.card_of(world.here, member).tier == 2


def once(original: Callable[..., Any], first: Callable[[Sequence[WaitingRow]], Any]) -> Callable[..., Any]:
    """The first call answers `first`, all others what `original` does."""
    calls = []

    def replaced(gathering: Gathering, rows: Sequence[WaitingRow], program: Any) -> Any:
        calls.append(rows)
        return first(rows) if len(calls) == 1 else original(gathering, rows, program)

    return replaced


def test_rows_handed_to_another_key_between_gathering_and_reserving_are_let_go(
    anew: Anew, monkeypatch: MonkeyPatch
) -> None:
    world = anew("")
    here, plan = world.here, world.plan(row_of(new_wallet()))

    def hand_over() -> None:
        with begin(world.app.engine) as tx:
            other = signers.register(tx, here.attached.row, world.address("desk")).id
            keys = [row.key for row in plan.rows]
            assert intents.reassign(tx, here.attached.row, keys, other, world.app.now()) == 1

    meanwhile(monkeypatch, hand_over)
    before = world.nonces()
    # The other key does nothing with them, so they are taken back.
    assert minting.mint(world.app, world.here, plan).final == 1
    assert world.nonces() == before | {"hot": before["hot"] + 1}


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
