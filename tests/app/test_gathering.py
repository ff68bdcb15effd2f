"""What is sent next: many transactions at once, tried cheaply where that is safe, and everybody's turn."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from pytest import MonkeyPatch
from sqlalchemy import update

from nftloyalty.app import claiming, deploying, gathering, minting, sending
from nftloyalty.app.gathering import Blocked
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender
from nftloyalty.chain.client import Node
from nftloyalty.chain.contracts import Membership
from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.errors import OutOfFunds, Reverted
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import NewIntent
from nftloyalty.store.slots import AttemptRow
from nftloyalty.store.tables import intents as intent_table
from tests.app.build import World, does, new_wallet, program_of, program_text
from tests.app.conftest import Anew, OpenWorld
from tests.app.proxy import Proxy
from tests.conftest import StartAnvil

BLOCK_GAS = 30_000_000
BATCH = "0x" + Membership.encode_mint_batch([1])[:4].hex()
PLAIN_STAMPS = """
[quotas.stamps]
mint = 3
[[stamps]]
id = "latte"
number = 1
name = "Latte"
[[stamps]]
id = "mocha"
number = 2
name = "Mocha"
"""


class Trials:
    """The trials of batches that a node was asked for. The sender sees the node through this."""

    def __init__(self, proxy: Proxy) -> None:
        self.measured: list[str] = []
        self.limits: list[int] = []
        proxy.refuse = self._note

    def _note(self, method: str, params: list[Any]) -> bool:
        if method in ("eth_call", "eth_estimateGas") and params[0].get("data", "").startswith(BATCH):
            if method == "eth_call":
                self.limits.append(int(params[0]["gas"], 16))
            else:
                self.measured.append(params[0]["data"])
        return False


def behind(world: World, proxy: Proxy, **more: Any) -> World:
    return replace(world, app=replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}"), **more))


def rows(count: int) -> list[str]:
    return [f"{new_wallet()},gold,never" for _ in range(count)]


def accept(world: World, *lines: str) -> None:
    minting._accept(world.app, world.here, world.plan(*lines))


def engine_of(world: World) -> Sender:
    return Sender(world.app, world.here.attached, signer_of(world.app, "hot"), finality_blocks=None)


def all_slots(world: World, engine: Sender) -> list[slots.SlotRow]:
    with read(world.app.engine) as tx:
        return [each.slot for each in slots.open_slots(tx, engine._row, list(SlotState))]


def bulks_of(monkeypatch: MonkeyPatch) -> list[list[int]]:
    """The slots of each bulk that is sent, as they leave."""
    bulks: list[list[int]] = []
    send = Sender._send

    def noting(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        bulks.append([each.slot for each in attempts])
        send(engine, attempts)

    monkeypatch.setattr(Sender, "_send", noting)
    return bulks


# ---------------------------------------------------------------------------------------------------------- the trial


def test_after_one_measured_batch_the_next_are_tried_with_the_limit_they_carry(
    anew: Anew, proxy: Proxy, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 2)
    world = behind(anew(""), proxy)
    accept(world, *rows(7))
    trials, bulks = Trials(proxy), bulks_of(monkeypatch)
    with engine_of(world) as engine:
        engine.step()
        made = all_slots(world, engine)
        assert len(trials.measured) == 1
        assert [len(bulk) for bulk in bulks] == [1, 3]
        assert trials.limits == [slot.gas_limit for slot in made[1:]]
        assert made[1].gas_limit == made[2].gas_limit > made[3].gas_limit
    assert minting.mint(world.app, world.here, world.plan(*rows(1))).final == 1
    assert world.here.membership.total_supply() == 8


def test_an_old_head_is_no_ground_for_a_cheap_trial(anew: Anew, proxy: Proxy, monkeypatch: MonkeyPatch) -> None:
    """A call on top of it would meet its time: yesterday's quota, a window that was open then."""
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 2)
    world = behind(anew(""), proxy, now=lambda: datetime.now(UTC) + timedelta(minutes=30))
    accept(world, *rows(4))
    trials = Trials(proxy)
    with engine_of(world) as engine:
        engine.step()
        assert len(all_slots(world, engine)) == 2
    assert len(trials.measured) == 2
    assert trials.limits == []


def test_a_poisoned_item_of_a_cheap_trial_is_found_and_the_rest_goes_on(
    anew: Anew, proxy: Proxy, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 3)
    world = behind(anew(""), proxy)
    lines = rows(9)
    accept(world, *lines)
    poisoned = lines[4].split(",")[0]
    with begin(world.app.engine) as tx:
        past = {"tier": 2, "expires_at": 1}
        tx.execute(update(intent_table).where(intent_table.c.recipient == poisoned).values(args=past))
    trials = Trials(proxy)
    here = world.here

    def unfinished() -> dict[IntentState, int]:
        with read(world.app.engine) as tx:
            return intents.unfinished(tx, here.row.id, Kind.MINT_CARD)

    signer = signer_of(world.app, "hot")
    sending.work(world.app, here.attached, signer, finality_blocks=None, done=lambda: not unfinished())
    with read(world.app.engine) as tx:
        keys = [row.key for row in world.plan(*lines).rows]
        found = {row.recipient: row for row in intents.by_keys(tx, here.attached.row, keys).values()}
    assert trials.limits, "nothing was tried cheaply: the test shows nothing"
    assert found[poisoned].state is IntentState.REJECTED
    assert "expiry" in str(found[poisoned].error)
    assert here.membership.total_supply() == 8
    with engine_of(world) as engine:
        assert {slot.state for slot in all_slots(world, engine)} <= {SlotState.FINAL, SlotState.INCLUDED}


# ---------------------------------------------------------------------------------------------------------- the turns


def test_what_came_later_goes_out_beside_the_first_batch_of_an_airdrop(anew: Anew, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 2)
    world = anew("")
    other = World(world.app, program_of(program_text()))
    deploying.deploy(other.app, other.program)
    accept(world, *rows(6))
    accept(other, *rows(1))
    deadline = datetime.now(UTC) + timedelta(days=1)
    claim = claiming.create_card(other.app, other.here, new_wallet(), tier=2, expires_at=0, deadline=deadline)
    claiming.accept_claim(other.app, other.here, claim)
    assert claiming.relay_key(other.here) == "hot"
    bulks = bulks_of(monkeypatch)
    with engine_of(world) as engine:
        engine.step()
        kinds = {slot.id: (slot.kind, slot.to_address) for slot in all_slots(world, engine)}
    first = {kinds[slot] for slot in bulks[0]}
    assert first == {
        (Kind.MINT_CARD, world.here.membership.address),
        (Kind.MINT_CARD, other.here.membership.address),
        (Kind.CLAIM_CARD, other.here.membership.address),
    }
    assert len(kinds) == 5


def test_programs_take_turns_whatever_came_first(anew: Anew, monkeypatch: MonkeyPatch) -> None:
    """A window of one: each transaction is somebody's turn."""
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 1)
    world = anew("")
    other = World(world.app, program_of(program_text()))
    deploying.deploy(other.app, other.program)
    accept(world, *rows(4))
    accept(other, *rows(2))
    narrow = replace(world, app=replace(world.app, settings=replace(world.app.settings, window=1)))
    with engine_of(narrow) as engine:
        for _ in range(12):
            engine.step()
        to = [slot.to_address for slot in all_slots(world, engine)]
    one, two = world.here.membership.address, other.here.membership.address
    assert to == [one, two, one, two, one, one]


# --------------------------------------------------------------------------------------- what holds up nobody else


def waits(world: World, kind: Kind, stamp_type: int = 0, **more: Any) -> None:
    """One more thing waits for the hot key, of a kind that no command makes so."""
    here, hot = world.here, world.address("hot")
    with begin(world.app.engine) as tx:
        new = NewIntent(
            public_id=world.app.new_id("int"),
            chain=here.attached.row,
            program=here.row.id,
            signer=signers.register(tx, here.attached.row, hot).id,
            kind=kind,
            stamp_type=stamp_type,
            recipient=more.pop("recipient", None),
            args=more,
            request_key=world.app.new_id("key"),
        )
        intents.accept(tx, new, world.app.now())


def test_a_stamp_type_that_is_not_there_holds_up_no_cards(anew: Anew) -> None:
    """Its definition was taken back by a reorg, or the node that is asked has not seen it yet."""
    world = anew("")
    waits(world, Kind.MINT_STAMP, 77, recipient=new_wallet())
    accept(world, *rows(1))
    with engine_of(world) as engine:
        for _ in range(3):
            engine.step()
        (blocked,) = engine.blocked.values()
    assert isinstance(blocked.reason, Reverted)
    assert world.here.membership.total_supply() == 1


def test_what_costs_more_than_there_is_holds_up_nothing_cheaper(anew: Anew) -> None:
    world = anew("")
    waits(world, Kind.CALL, to=new_wallet(), data="0x", value_wei=str(10**19))
    accept(world, *rows(1))
    with engine_of(world) as engine:
        for _ in range(3):
            engine.step()
        (blocked,) = engine.blocked.values()
    assert isinstance(blocked.reason, OutOfFunds)
    assert blocked.alone
    assert world.here.membership.total_supply() == 1


# ---------------------------------------------------------------------------------------------------------- the limits


def test_two_stamp_types_share_one_quota_also_within_one_look(anew: Anew) -> None:
    """Each alone would pass its trial; the second transaction would revert on chain, and be paid for."""
    world = anew(program_text(rest=PLAIN_STAMPS))
    for stamp in ("latte", "mocha"):
        plan = world.plan_stamps(stamp, new_wallet(), new_wallet())
        minting._accept(world.app, world.here, plan)
    told: list[Blocked] = []

    def on_blocked(blocked: Blocked) -> None:
        told.append(blocked)

    sending.work(
        world.app,
        world.here.attached,
        signer_of(world.app, "hot"),
        finality_blocks=None,
        done=lambda: bool(told),
        on_blocked=on_blocked,
    )
    assert told[0].quota
    with engine_of(world) as engine:
        assert [slot.succeeded for slot in all_slots(world, engine)] == [True, True]
    with read(world.app.engine) as tx:
        assert intents.unfinished(tx, world.here.row.id, Kind.MINT_STAMP) == {IntentState.RECEIVED: 1}


@pytest.mark.parametrize("kind", [Kind.MINT_CARD, Kind.MINT_STAMP])
def test_a_cap_is_never_passed_by_what_is_under_way_together(anew: Anew, monkeypatch: MonkeyPatch, kind: Kind) -> None:
    """Planned before the other was accepted, both files have room; the last batch would revert, and be paid for."""
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 2)
    stamps = PLAIN_STAMPS.replace("mint = 3", "").replace("number = 1", "number = 1\ncap = 5")
    world = anew(program_text(terms="cap = 5", rest=stamps))
    if kind is Kind.MINT_CARD:
        plans = [world.plan(*rows(4)) for _ in range(2)]
    else:
        plans = [world.plan_stamps("latte", *(new_wallet() for _ in range(4))) for _ in range(2)]
    for plan in plans:
        minting._accept(world.app, world.here, plan)
    told: list[Blocked] = []
    sending.work(
        world.app,
        world.here.attached,
        signer_of(world.app, "hot"),
        finality_blocks=None,
        done=lambda: bool(told),
        on_blocked=told.append,
    )
    assert isinstance(told[0].reason, Reverted)
    assert told[0].reason.name.endswith("_CapReached")
    with engine_of(world) as engine:
        assert [slot.succeeded for slot in all_slots(world, engine)] == [True, True, True]
    with read(world.app.engine) as tx:
        assert intents.unfinished(tx, world.here.row.id, kind) == {IntentState.RECEIVED: 3}
    supply = world.here.membership.supply() if kind is Kind.MINT_CARD else world.here.stamps.supply(1)
    assert (supply.cap, supply.used) == (5, 5)


def test_gas_in_flight_never_passes_what_a_block_holds(
    start_anvil: StartAnvil, open_on: OpenWorld, monkeypatch: MonkeyPatch
) -> None:
    """A node that makes a block for each transaction forgets the one that does not fit: its nonce is then a hole."""
    world = open_on(start_anvil("--slots-in-an-epoch", "1", "--gas-limit", str(BLOCK_GAS)).url)
    most: list[int] = []
    mark_sent = Sender._mark_sent

    def noting(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        mark_sent(engine, attempts)
        with read(world.app.engine) as tx:
            most.append(slots.in_flight(tx, engine._row).gas)

    monkeypatch.setattr(Sender, "_mark_sent", noting)
    report = minting.mint(world.app, world.here, world.plan(*rows(1_700)))
    assert report.on_chain == 1_700
    assert len(most) >= 3
    assert max(most) <= BLOCK_GAS
    with engine_of(world) as engine:
        assert max(slot.gas_limit for slot in all_slots(world, engine)) > BLOCK_GAS // 2


# ------------------------------------------------------------------------------------------------- a bulk, and a crash


@pytest.mark.parametrize("step", ["_reserve", "_sign_and_store", "_mark_sent", "_send", "_settle", "_finalise"])
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_bulk_survives_the_end_of_the_process_at_each_step(
    anew: Anew, monkeypatch: MonkeyPatch, step: str, when: str
) -> None:
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 2)
    world = anew("")
    lines = rows(6)
    accept(world, *lines)
    original: Callable[..., Any] = getattr(does(step), step)

    def dies(engine: Any, several: Sequence[Any], *rest: Any) -> Any:
        if len(several) < 2:
            return original(engine, several, *rest)
        if when == "after":
            original(engine, several, *rest)
        raise SystemExit

    before = world.nonces()["hot"]
    with monkeypatch.context() as broken, engine_of(world) as engine, pytest.raises(SystemExit):
        broken.setattr(does(step), step, dies)
        for _ in range(10):
            engine.step()
    assert minting.mint(world.app, world.here, world.plan(*lines)).final == 6
    assert world.here.membership.total_supply() == 6
    assert world.nonces()["hot"] == before + 3
