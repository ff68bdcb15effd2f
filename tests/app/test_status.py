"""What an operator is told: each state by its code, worst first, and what can be told without a node."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from pytest import MonkeyPatch

from nftloyalty.app import claiming, status
from nftloyalty.app.indexing import Indexer, catch_up
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.leases import process_name
from nftloyalty.app.sending import Sender
from nftloyalty.app.status import STATES, Status, status_of
from nftloyalty.chain.client import Node
from nftloyalty.domain.intent import Kind, SlotState
from nftloyalty.store import deliveries, index, index_steps, signers
from nftloyalty.store.engine import begin, read
from tests.app.build import World, app_of, new_wallet, open_world, program_of, program_text, settings_of
from tests.store.build import everything
from tests.store.happenings import claim as claim_deliveries
from tests.store.happenings import endpoint, happen, settle, went

NOWHERE = "http://127.0.0.1:9/v3/k3y-0f-the-node-provider"


@pytest.fixture
def own(chain: str, tmp_path: Path) -> Iterator[World]:
    """A program of one test's own, whose index is at the head."""
    app = app_of(settings_of(tmp_path, chain))
    world = open_world(app)
    catch_up(app, world.here.attached, None)
    yield world
    app.close()


def codes(found: Status) -> list[str]:
    return [state.code for state in found.states]


def sentence(found: Status, code: str) -> str:
    (told,) = (state.sentence for state in found.states if state.code == code)
    return told


def claim(world: World, times: int = 1) -> None:
    """Accept claims that nothing sends."""
    here = world.here
    deadline = world.app.now() + timedelta(days=1)
    for _ in range(times):
        signed = claiming.create_card(world.app, here, new_wallet(), tier=1, expires_at=0, deadline=deadline)
        claiming.accept_claim(world.app, here, signed)


def later(world: World, passed: timedelta) -> World:
    """The same at a later time."""
    return replace(world, app=replace(world.app, now=lambda: world.app.now() + passed))


def without_node(world: World) -> World:
    return replace(world, app=replace(world.app, node=Node(NOWHERE, timeout=2)))


def asked(world: World) -> Status:
    return status_of(world.app, world.program)


def test_where_all_is_well_nobody_is_needed(own: World) -> None:
    own.mint(f"{new_wallet()},gold,never")
    catch_up(own.app, own.here.attached, None)
    found = asked(own)
    assert (found.states, found.needs_person) == ((), False)
    assert found.chain is not None
    assert found.node.head is not None
    (at,) = found.indexes
    assert (at.program, at.block) == (own.program.id, found.node.head.number)
    hot = next(each for each in found.signers if each.name == "hot")
    assert (hot.powers, hot.nonce, hot.leased) == (("minter", "signer"), 1, False)
    assert hot.books is not None
    assert hot.books.next_nonce == 1
    assert hot.balance_wei is not None
    assert 9 * 10**18 < hot.balance_wei < 10**19
    assert next(each for each in found.signers if each.name == "guard").books is None


def test_it_changes_nothing(own: World) -> None:
    claim(own)
    with read(own.app.engine) as tx:
        before = everything(tx)
    asked(own)
    with read(own.app.engine) as tx:
        assert everything(tx) == before


def test_what_waits_and_that_nothing_sends_it(own: World) -> None:
    claim(own, 3)
    found = asked(own)
    assert codes(found) == ["nothing_sends"]
    assert found.states[0].sentence == "nothing sends for hot: 3 intents wait and no worker holds its lease"
    assert found.needs_person
    with Sender(own.app, own.here.attached, signer_of(own.app, "hot"), finality_blocks=None):
        held = asked(own)
    assert held.states == ()
    assert next(each for each in held.signers if each.name == "hot").leased


def test_a_lease_that_is_over_or_whose_owner_is_dead_is_nobodys(own: World) -> None:
    claim(own)
    row = own.here.attached.row
    with begin(own.app.engine) as tx:
        signer = signers.register(tx, row, own.address("hot")).id
        signers.take_lease(tx, signer, process_name(), own.app.now(), 60, lambda owner: True)
    assert codes(asked(own)) == []
    assert "nothing_sends" in codes(asked(later(own, timedelta(seconds=61))))
    dead = "/".join([process_name().rsplit("/", 2)[0], str(2**22 - 1), "1"])
    with begin(own.app.engine) as tx:
        signers.take_lease(tx, signer, dead, own.app.now() + timedelta(seconds=61), 600, lambda owner: True)
    assert codes(asked(own)) == ["nothing_sends"]


def test_a_halted_signer_is_told_with_its_reason(own: World) -> None:
    claim(own)
    row = own.here.attached.row
    with begin(own.app.engine) as tx:
        signers.halt(tx, signers.register(tx, row, own.address("hot")).id, "foreign nonce 812")
    found = asked(own)
    assert codes(found) == ["signer_halted"]
    assert found.states[0].sentence == "signer hot is halted: foreign nonce 812"
    assert "`nftloyalty signers resume hot`" in found.states[0].mend


def test_a_key_that_was_used_elsewhere_is_told(own: World, monkeypatch: MonkeyPatch) -> None:
    own.mint(f"{new_wallet()},gold,never")
    monkeypatch.setattr(Node, "nonce", lambda *_: 3)
    told = [state.sentence for state in asked(own).states if state.code == "signer_behind"]
    # The owner's key has sent one too.
    assert any(
        "signer hot is behind the chain: its next nonce is 1 in the books and 3 on chain" in each for each in told
    )


def test_a_key_without_coins_is_told_what_it_needs(own: World, monkeypatch: MonkeyPatch) -> None:
    claim(own, 12)
    monkeypatch.setattr(Node, "balance", lambda *_: 10**13)
    found = asked(own)
    assert codes(found) == ["out_of_funds", "nothing_sends"]
    told = sentence(found, "out_of_funds")
    assert told.startswith("signer hot is out of funds: has 1.0000e-05, needs about 0.00")
    assert told.endswith(" for 12 waiting mints")


def test_gas_above_the_ceiling_is_told(own: World) -> None:
    claim(own)
    dear = replace(own, app=replace(own.app, settings=replace(own.app.settings, max_fee_wei=1)))
    assert codes(asked(dear)) == ["fees_too_high", "nothing_sends"]


def test_what_a_sender_says_it_waits_for_is_told_while_it_runs(own: World) -> None:
    claim(own)
    with Sender(own.app, own.here.attached, signer_of(own.app, "hot"), finality_blocks=None) as sender:
        with begin(own.app.engine) as tx:
            signers.note_waiting(tx, sender._row, "today's quota is used up", own.app.now())
        assert sentence(asked(own), "signer_waits") == "signer hot sends nothing now: today's quota is used up"
    assert codes(asked(own)) == ["nothing_sends"]


def test_a_transaction_that_no_block_takes_is_told(own: World, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(Sender, "_send", lambda *_: None)
    claim(own)
    with Sender(own.app, own.here.attached, signer_of(own.app, "hot"), finality_blocks=None) as sender:
        sender.step()
        # Its lease is renewed by then; here nobody steps.
        monkeypatch.setattr(status, "_lives", lambda *_: True)
        found = asked(later(own, timedelta(minutes=25)))
    assert sentence(found, "transaction_old").startswith("nonce 0 of hot has been under way for 25 min")
    hot = next(each for each in found.signers if each.name == "hot")
    assert hot.slots == {SlotState.BROADCASTING: 1}


def test_an_index_that_nobody_brings_forward_is_told(own: World) -> None:
    own.mint_outside(new_wallet())
    behind = later(own, timedelta(minutes=5))
    found = asked(behind)
    assert codes(found) == ["nothing_indexes"]
    assert sentence(found, "nothing_indexes").endswith("is 1 block behind and no worker holds its lease")
    with Indexer(behind.app, own.here.attached, finality_blocks=None) as indexer:
        indexer._keep_lease()
        found = asked(behind)
        assert (codes(found), found.needs_person) == (["index_behind"], False)


def test_an_index_that_was_not_begun_is_told(chain: str, tmp_path: Path) -> None:
    app = app_of(settings_of(tmp_path, chain))
    world = open_world(app)
    found = asked(world)
    app.close()
    assert codes(found) == ["nothing_indexes"]
    assert "has not been begun" in found.states[0].sentence


def test_a_halted_index_is_told(own: World) -> None:
    here = own.here
    with begin(own.app.engine) as tx:
        at = index.position(tx, here.row.id)
        assert at is not None
        index_steps.halt(tx, at, "another block 10")
    assert codes(asked(own)) == ["index_halted"]


def test_without_a_node_the_books_are_told(own: World) -> None:
    claim(own, 2)
    found = asked(without_node(own))
    assert codes(found) == ["node_unreachable", "nothing_sends"]
    assert found.node.head is None
    assert found.chain is not None
    assert found.indexes[0].block is not None
    hot = next(each for each in found.signers if each.name == "hot")
    assert (hot.balance_wei, hot.nonce, hot.waiting) == (None, None, 2)
    assert hot.books is not None
    assert [group.kind for group in hot.books.waiting] == [Kind.CLAIM_CARD]
    assert "k3y" not in str(found.states) + found.node.url + str(found.node.trouble)


def test_a_node_of_another_chain_is_told_and_not_believed(own: World, monkeypatch: MonkeyPatch) -> None:
    elsewhere = program_of(program_text(own.program.id).replace("[powers]", "[chain]\nid = 137\n[powers]"))
    found = status_of(own.app, elsewhere)
    assert codes(found) == ["wrong_chain"]
    assert found.chain is None
    assert {each.balance_wei for each in found.signers} == {None}


def test_a_program_that_is_not_open_is_told(own: World) -> None:
    found = status_of(own.app, program_of(program_text()))
    assert "not_open" in codes(found)
    assert found.needs_person
    nowhere = status_of(without_node(own).app, program_of(program_text()))
    assert codes(nowhere) == ["not_open", "node_unreachable"]


def test_states_come_worst_first(own: World, monkeypatch: MonkeyPatch) -> None:
    claim(own)
    own.mint_outside(new_wallet())
    monkeypatch.setattr(Node, "balance", lambda *_: 0)
    found = asked(later(own, timedelta(minutes=5)))
    assert codes(found) == ["out_of_funds", "nothing_sends", "nothing_indexes"]
    order = list(STATES)
    assert [order.index(code) for code in codes(found)] == sorted(order.index(code) for code in codes(found))


@pytest.mark.parametrize(
    ("wei", "said"),
    [(0, "0"), (10**16, "0.01"), (123_456 * 10**14, "12.35"), (5, "5.0000e-18"), (123_456 * 10**18, "123,456")],
)
def test_coins_are_told_in_four_digits(wei: int, said: str) -> None:
    assert status.coins(wei) == said


def test_numbers_of_the_books_never_go_below_nought(own: World) -> None:
    loads = status.read_loads(own.app, own.here.attached.row)
    future: datetime = loads.read_at + timedelta(seconds=5)
    assert (loads.seconds_since(None), loads.seconds_since(future), loads.seconds_left(None)) == (0, 0, 0)
    assert (loads.seconds_left(future), loads.seconds_left(loads.read_at)) == (5, 0)


def test_a_webhook_endpoint_that_needs_somebody_is_told(own: World) -> None:
    program, now = own.here.row.id, own.app.now()
    with begin(own.app.engine) as tx:
        to, by_hand = endpoint(tx, program), endpoint(tx, program)
        deliveries.disable(tx, by_hand, "by hand", now)
        happen(tx, program, "m:1", "m:2", now=now)
    assert codes(asked(own)) == []
    late = asked(later(own, timedelta(minutes=11)))
    assert "deliveries_late" in codes(late)
    assert f"2 deliveries wait for the webhook endpoint {to.public_id}, and one could have gone 11 min ago" in sentence(
        late, "deliveries_late"
    )
    with begin(own.app.engine) as tx:
        settle(tx, *(went(each, now, status=500) for each in claim_deliveries(tx, program, now)), now=now)
    # It is asked now and then, and so soon nobody has to look.
    assert "endpoint_fails" not in codes(asked(later(own, timedelta(minutes=59))))
    fails = asked(later(own, timedelta(minutes=61)))
    assert "deliveries_late" not in codes(fails)
    assert sentence(fails, "endpoint_fails").endswith("and 2 deliveries wait")
    with begin(own.app.engine) as tx:
        (probe,) = claim_deliveries(tx, program, now + timedelta(minutes=5))
        settle(tx, went(probe, now, status=410), now=now)
    off = asked(own)
    assert codes(off) == ["endpoint_disabled"]
    assert off.needs_person
    assert sentence(off, "endpoint_disabled") == (
        f"the webhook endpoint {to.public_id} is disabled: it answered 410: it wants no more events"
    )
