"""A transaction that no block takes can be given up: an empty one of its nonce is offered, and one of the two wins."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nftloyalty.app import cancelling, gathering, minting, sending
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender
from nftloyalty.chain.signer import RemoteSigner
from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.errors import KeyUnreachable, OutOfFunds, SigningProblem
from nftloyalty.store import signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.signers import SignerRow
from nftloyalty.store.slots import OpenSlot
from tests.app.build import Clock, World, new_wallet
from tests.app.conftest import OpenWorld
from tests.conftest import StartAnvil
from tests.store.build import counts

GWEI = 10**9


@pytest.fixture
def clock() -> Clock:
    return Clock(datetime.now(UTC))


@pytest.fixture
def stuck(
    start_anvil: StartAnvil, open_on: OpenWorld, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> Iterator[World]:
    """A program on a chain that makes no blocks by itself any more, and one card that waits for its transaction."""
    monkeypatch.setattr(gathering, "FEES_LAST", timedelta(0))
    world = open_on(start_anvil("--slots-in-an-epoch", "1").url, now=clock.now)
    minting._accept(world.app, world.here, world.plan(f"{new_wallet()},gold,never"))
    world.app.node.call("evm_setAutomine", [False])
    yield world


def engine_of(world: World) -> Sender:
    return Sender(world.app, world.here.attached, signer_of(world.app, "hot"), finality_blocks=None)


def mine(world: World, blocks: int = 4) -> None:
    for _ in range(blocks):
        world.app.node.call("anvil_mine", [hex(1)])


def ask(world: World, engine: Sender) -> int:
    with begin(world.app.engine) as tx:
        return slots.ask_cancel(tx, engine._row, None, world.app.now())


def last_slot(world: World, engine: Sender) -> OpenSlot:
    with read(world.app.engine) as tx:
        return slots.open_slots(tx, engine._row, list(SlotState))[-1]


def states(world: World) -> dict[IntentState, int]:
    with read(world.app.engine) as tx:
        return counts(tx, world.here.row.id, Kind.MINT_CARD)


def signer_row(world: World, engine: Sender) -> SignerRow:
    with read(world.app.engine) as tx:
        return signers.get(tx, engine._row)


def limited(world: World, max_fee_wei: int) -> World:
    return replace(world, app=replace(world.app, settings=replace(world.app.settings, max_fee_wei=max_fee_wei)))


# -------------------------------------------------------------------------------------------------------- cancelling


def test_a_stuck_transaction_gives_way_to_an_empty_one(stuck: World) -> None:
    with engine_of(stuck) as engine:
        engine.step()
        assert ask(stuck, engine) == 1
        engine.step()
        original, empty = last_slot(stuck, engine).attempts
        assert (original.noop, empty.noop) == (False, True)
        assert empty.max_fee_wei * 8 >= original.max_fee_wei * 9
        assert empty.priority_fee_wei * 8 >= original.priority_fee_wei * 9
        engine.step()
        assert len(last_slot(stuck, engine).attempts) == 2, "asked for once, made once"
        mine(stuck)
        for _ in range(3):
            engine.step()
        ended = last_slot(stuck, engine).slot
        assert (ended.state, ended.tx_hash) == (SlotState.FINAL_NOOP, empty.tx_hash)
        nonce = ended.nonce
    assert states(stuck) == {IntentState.CANCELLED: 1}
    assert stuck.here.membership.total_supply() == 0
    stuck.app.node.call("evm_setAutomine", [True])
    assert stuck.mint(f"{new_wallet()},gold,never").on_chain == 1
    with engine_of(stuck) as engine:
        assert last_slot(stuck, engine).slot.nonce == nonce + 1


def test_a_transaction_that_was_mined_before_it_could_be_taken_back_counts(stuck: World) -> None:
    with engine_of(stuck) as engine:
        engine.step()
        mine(stuck, 1)
        assert ask(stuck, engine) == 1
        engine.step()
        mine(stuck)
        for _ in range(3):
            engine.step()
        ended = last_slot(stuck, engine)
        assert (ended.slot.state, ended.slot.tx_hash) == (SlotState.FINAL, ended.attempts[0].tx_hash)
    assert states(stuck) == {IntentState.FINAL: 1}
    assert stuck.here.membership.total_supply() == 1


def test_what_was_reserved_and_never_signed_is_only_ever_sent_empty(stuck: World) -> None:
    with engine_of(stuck) as engine:
        assert engine._reserve(engine._gather().ready)
        assert ask(stuck, engine) == 1
        engine.step()
        mine(stuck)
        for _ in range(3):
            engine.step()
        ended = last_slot(stuck, engine)
        assert ended.slot.state is SlotState.FINAL_NOOP
        assert [attempt.noop for attempt in ended.attempts] == [True]
    assert states(stuck) == {IntentState.CANCELLED: 1}


def test_what_was_signed_and_never_sent_is_only_ever_sent_empty(stuck: World) -> None:
    with engine_of(stuck) as engine:
        engine._sign_and_store(engine._reserve(engine._gather().ready))
        assert ask(stuck, engine) == 1
        engine.step()
        original, empty = last_slot(stuck, engine).attempts
        assert original.first_sent_at is None
        assert empty.first_sent_at is not None
        mine(stuck)
        for _ in range(3):
            engine.step()
        assert last_slot(stuck, engine).slot.state is SlotState.FINAL_NOOP


# ----------------------------------------------------------------------------------------------------- offering more


def test_what_waits_long_is_offered_more_though_the_market_has_not_moved(stuck: World, clock: Clock) -> None:
    with engine_of(stuck) as engine:
        engine.step()
        clock.forward(sending.RESEND_AFTER)
        engine.step()
        assert len(last_slot(stuck, engine).attempts) == 1
        for count in (2, 3):
            clock.forward(sending.DEARER_AFTER)
            engine.step()
            made = last_slot(stuck, engine).attempts
            assert len(made) == count
            before, after = made[-2:]
            assert after.max_fee_wei * 8 >= before.max_fee_wei * 9
            assert after.priority_fee_wei * 8 >= before.priority_fee_wei * 9
            assert after.last_sent_at is not None
        mine(stuck, 1)
        engine.step()
        assert last_slot(stuck, engine).slot.tx_hash == made[-1].tx_hash
    assert stuck.here.membership.total_supply() == 1


def test_bytes_that_are_signed_are_sent_again_though_the_key_is_away(stuck: World, clock: Clock) -> None:
    """The key's keeper is down and the node's pool has forgotten the transaction: nobody has to sign anything."""
    with engine_of(stuck) as engine:
        engine.step()
        (first,) = last_slot(stuck, engine).attempts
    stuck.app.node.call("anvil_dropTransaction", [first.tx_hash])
    clock.forward(sending.DEARER_AFTER + sending.RESEND_AFTER)

    def away(digest: bytes) -> bytes:
        raise KeyUnreachable("hot", "AWS gives no answer")

    kept_away = RemoteSigner(stuck.address("hot"), away)
    with (
        pytest.raises(KeyUnreachable),
        Sender(stuck.app, stuck.here.attached, kept_away, finality_blocks=None) as engine,
    ):
        engine.step()
    mine(stuck, 1)
    assert stuck.here.membership.total_supply() == 1


def test_nothing_is_offered_above_the_ceiling_and_the_old_offer_stands(stuck: World, clock: Clock) -> None:
    with engine_of(stuck) as engine:
        engine.step()
        (first,) = last_slot(stuck, engine).attempts
    with engine_of(limited(stuck, first.max_fee_wei * 9 // 8 - 1)) as engine:
        engine.step()
        clock.forward(sending.DEARER_AFTER)
        engine.step()
        (only,) = last_slot(stuck, engine).attempts
        assert only.last_sent_at is not None
        assert clock.now() - only.last_sent_at < timedelta(minutes=1), "sent again as it is"


def test_time_alone_offers_no_more_than_twice_the_market(stuck: World, clock: Clock) -> None:
    with engine_of(stuck) as engine:
        engine.step()
        (first,) = last_slot(stuck, engine).attempts
        for _ in range(20):
            clock.forward(sending.DEARER_AFTER + sending.RESEND_AFTER)
            engine.step()
        last = last_slot(stuck, engine).attempts[-1]
    assert first.max_fee_wei < last.max_fee_wei <= 2 * first.max_fee_wei
    assert first.priority_fee_wei < last.priority_fee_wei <= 2 * first.priority_fee_wei


def test_a_signer_without_money_does_not_raise_its_own_price(stuck: World, clock: Clock) -> None:
    """What its operator is told to pay in is enough, whenever it comes."""
    node, hot = stuck.app.node, stuck.address("hot")
    with engine_of(stuck) as engine:
        engine.step()
        made = last_slot(stuck, engine)
        node.call("anvil_setBalance", [hot, hex(0)])
        node.call("anvil_dropTransaction", [made.attempts[0].tx_hash])
        for _ in range(5):
            clock.forward(sending.DEARER_AFTER + sending.RESEND_AFTER)
            engine.step()
        assert len(last_slot(stuck, engine).attempts) == 1
        short = engine.blocked_now(None)
        assert short is not None
        assert isinstance(short.reason, OutOfFunds)
        node.call("anvil_setBalance", [hot, hex(short.reason.needs_wei)])
        clock.forward(sending.RESEND_AFTER)
        engine.step()
        mine(stuck, 1)
        engine.step()
    assert stuck.here.membership.total_supply() == 1


def test_an_empty_transaction_that_waits_long_is_offered_more_too(stuck: World, clock: Clock) -> None:
    with engine_of(stuck) as engine:
        engine.step()
        ask(stuck, engine)
        engine.step()
        clock.forward(sending.DEARER_AFTER)
        engine.step()
        made = last_slot(stuck, engine).attempts
        assert [attempt.noop for attempt in made] == [False, True, True]
        mine(stuck)
        for _ in range(3):
            engine.step()
        assert last_slot(stuck, engine).slot.state is SlotState.FINAL_NOOP
    assert states(stuck) == {IntentState.CANCELLED: 1}


# --------------------------------------------------------------------------------------------------- what it waits for


def test_what_a_sender_waits_for_can_be_read_from_elsewhere(stuck: World, clock: Clock) -> None:
    node = stuck.app.node
    node.call("anvil_setNextBlockBaseFeePerGas", [hex(60 * GWEI)])
    mine(stuck, 1)
    with engine_of(limited(stuck, 50 * GWEI)) as engine:
        engine.step()
        row = signer_row(stuck, engine)
        assert "above the ceiling of 50 gwei" in str(row.waits_for)
        since = row.waits_since
        clock.forward(timedelta(seconds=5))
        engine.step()
        assert signer_row(stuck, engine).waits_since == since
    clock.forward(timedelta(seconds=5))
    with engine_of(stuck) as engine:
        engine.step()
        row = signer_row(stuck, engine)
        assert (row.waits_for, row.waits_since) == (None, None)
        assert last_slot(stuck, engine).slot.state is SlotState.BROADCASTING


# ---------------------------------------------------------------------------------------------------------- by command


def test_the_command_asks_and_watches_until_it_is_on_chain(stuck: World) -> None:
    with engine_of(stuck) as engine:
        engine.step()
        nonce = last_slot(stuck, engine).slot.nonce
    ended = cancelling.cancel(
        stuck.app, stuck.here.attached, "hot", [nonce], finality_blocks=None, tick=lambda: mine(stuck, 1)
    )
    assert [(each.nonce, each.withdrawn) for each in ended] == [(nonce, True)]
    assert stuck.here.membership.total_supply() == 0
    assert states(stuck) == {IntentState.CANCELLED: 1}, "told only when nothing can change it any more"


def test_where_the_empty_one_is_undone_and_the_other_one_wins_that_is_told(stuck: World) -> None:
    node = stuck.app.node
    with engine_of(stuck) as engine:
        engine.step()
        (original,) = last_slot(stuck, engine).attempts
    looks = 0

    def mine_undo_and_mine_the_other() -> None:
        nonlocal looks
        looks += 1
        if looks == 2:
            assert states(stuck) == {IntentState.BATCHED: 1}
            node.call("anvil_reorg", [1, []])
            # Another node's pool has kept it.
            node.send_raw_many([original.raw])
        mine(stuck, 1)

    ended = cancelling.cancel(
        stuck.app, stuck.here.attached, "hot", None, finality_blocks=None, tick=mine_undo_and_mine_the_other
    )
    assert [(each.withdrawn, each.tx_hash) for each in ended] == [(False, original.tx_hash)]
    assert states(stuck) == {IntentState.FINAL: 1}
    assert stuck.here.membership.total_supply() == 1


def test_a_nonce_that_is_not_under_way_is_refused_before_anything_is_asked(stuck: World) -> None:
    with engine_of(stuck) as engine:
        engine.step()
        nonce = last_slot(stuck, engine).slot.nonce
        with pytest.raises(SigningProblem, match=f"nonce {nonce + 1} is under way"):
            cancelling.cancel(stuck.app, stuck.here.attached, "hot", [nonce, nonce + 1], finality_blocks=None)
        assert last_slot(stuck, engine).slot.cancel_asked_at is None
