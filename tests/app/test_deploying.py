"""Opening a program: once, at the address that was predicted, whatever happens on the way."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nftloyalty.app import deploying, funding, opening
from nftloyalty.app.context import App
from nftloyalty.chain.contracts import Membership
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.intent import IntentState
from nftloyalty.errors import (
    BadInput,
    KeyProblem,
    LoyaltyError,
    NodeUnreachable,
    OutOfFunds,
    ProgramProblem,
    WrongChain,
)
from nftloyalty.store import intents
from nftloyalty.store.engine import read
from tests.app.build import COIN, KEYS, World, app_of, make_keys, program_of, program_text, settings_of
from tests.app.proxy import Proxy

SHARED_STEPS = 7
"""Payment for the CREATE2 deployer, the deployer, four shared contracts, and the program itself."""


@pytest.fixture
def app(chain: str, tmp_path: Path) -> Iterator[App]:
    app = app_of(settings_of(tmp_path / "home", chain))
    make_keys(app)
    yield app
    app.close()


@pytest.fixture(scope="module")
def empty_chain() -> Iterator[str]:
    """A chain on which nothing of ours lies."""
    with DevChainServer() as server:
        yield server.url


def test_a_program_opens_once_at_the_address_that_was_predicted(chain: str, migrated_url: str, tmp_path: Path) -> None:
    app = app_of(settings_of(tmp_path / "home", chain, migrated_url))
    try:
        make_keys(app)
        world = World(app, program_of(program_text()))
        told = deploying.prepare(app, world.program)
        assert not told.already_open
        assert sum(world.nonces().values()) == 0  # looking sends nothing

        first = deploying.deploy(app, world.program)
        assert (first.membership, first.stamps) == (told.plan.membership, told.plan.stamps)
        assert world.here.membership.name() == "Bean Club"
        assert world.here.stamps.membership() == first.membership
        assert len(first.sent) == 1
        assert first.gas_used == first.open_gas == pytest.approx(told.cost.gas, rel=0.06)

        before = world.nonces()
        second = deploying.deploy(app, world.program)
        assert world.nonces() == before
        assert (second.already_open, second.sent, second.gas_used, second.differences) == (True, (), 0, ())
        assert (second.membership, second.stamps) == (first.membership, first.stamps)

        (recorded,) = deploying.exported(app)
        assert (recorded["program"], recorded["state"]) == (world.program.id, "open")
        assert (recorded["membership"], recorded["stamps"]) == (first.membership, first.stamps)
        assert recorded["transaction"] == first.sent[-1]
        assert recorded["terms"]["tiers"][1]["id"] == "gold"
    finally:
        app.close()


def test_what_the_file_says_otherwise_than_the_chain_is_listed(app: App) -> None:
    deploying.deploy(app, program_of(program_text("edited")))
    edited = program_text("edited", terms="cap = 77", cards="mint = 123").replace('name = "Gold"', 'name = "Platinum"')
    edited = edited.replace('managers = ["desk"]', 'managers = ["guard"]').replace(
        'name = "Latte"', 'name = "Flat White"'
    )
    edited = edited.replace('name = "Bean Club"', 'name = "Bean Society"')
    said = "\n".join(map(str, deploying.deploy(app, program_of(edited)).differences))
    for key in ("program.cap", "quotas.cards.mint", "tiers[2].name", "powers.managers", "stamps 'latte' name"):
        assert key in said
    assert 'program.name: "Bean Society" in program.toml, "Bean Club" on chain (can never change)' in said
    assert len(said.splitlines()) <= 7


def test_a_database_that_was_lost_finds_the_open_program_again(app: App, tmp_path: Path) -> None:
    program = program_of(program_text())
    first = deploying.deploy(app, program)
    other = app_of(settings_of(tmp_path / "other", app.settings.rpc_url))
    try:
        other = replace(other, keystore=app.keystore)
        found = deploying.deploy(other, program)
        assert (found.already_open, found.membership) == (True, first.membership)
        assert opening.opened(other, program).stamps.address == first.stamps
    finally:
        other.close()


# ---------------------------------------------------------------------------------------------- what stands in the way


def test_another_chain_id_than_the_programs_is_refused(app: App) -> None:
    with pytest.raises(WrongChain) as refused:
        deploying.deploy(app, program_of(program_text(rest="[chain]\nid = 8453\n")))
    assert refused.value.expected == 8453


def test_a_missing_key_is_named_before_anything_is_sent(app: App) -> None:
    text = program_text().replace('minters = ["hot", ', 'minters = ["cold", ')
    with pytest.raises(KeyProblem, match="there is no key 'cold'"):
        deploying.deploy(app, program_of(text))


def test_a_wrong_password_sends_nothing(app: App) -> None:
    world = World(replace(app, password=lambda name: "not the password"), program_of(program_text()))
    before = world.nonces()
    with pytest.raises(KeyProblem, match="does not open the key 'owner'"):
        deploying.deploy(world.app, world.program)
    assert world.nonces() == before


@pytest.mark.parametrize("share", [0, 0.5, 1.0])
def test_too_little_balance_sends_nothing(empty_chain: str, tmp_path: Path, share: float) -> None:
    """Not even the first of several transactions, also with just what all of them cost but not what the last offers."""
    app = app_of(settings_of(tmp_path, empty_chain))
    try:
        make_keys(app, coins=0)
        world = World(app, program_of(program_text()))
        prepared = deploying.prepare(app, world.program)
        assert len(prepared.plan.missing) == SHARED_STEPS - 1
        has = int((prepared.cost.wei + sum(step.value_wei for step in prepared.plan.missing)) * share)
        app.node.send_unlocked(app.node.accounts()[0], world.address("owner"), has)
        with pytest.raises(OutOfFunds) as refused:
            deploying.deploy(app, world.program)
        assert refused.value.has_wei == has < refused.value.needs_wei
        assert refused.value.address == world.address("owner")
        assert world.nonces()["owner"] == 0
    finally:
        app.close()


def test_an_unreachable_node_is_said(tmp_path: Path) -> None:
    app = app_of(settings_of(tmp_path, "http://127.0.0.1:9"))
    try:
        app.keystore.create("owner", "correct horse battery")
        with pytest.raises(NodeUnreachable, match=r"no answer from the node at http://127\.0\.0\.1:9"):
            deploying.prepare(app, program_of(program_text()))
    finally:
        app.close()


# ---------------------------------------------------------------------------------------------------- killed half-way


def test_a_run_that_breaks_at_any_step_is_finished_by_the_next(tmp_path: Path) -> None:
    """The node goes away each time one more transaction has gone through."""
    with DevChainServer() as server, Proxy(server.url) as proxy:
        app = app_of(settings_of(tmp_path, proxy_url(proxy)))
        try:
            make_keys(app)
            program = program_of(program_text())
            broken = 0
            for step in range(SHARED_STEPS):
                proxy.refuse = breaking_after(proxy, step)
                with pytest.raises(LoyaltyError):
                    deploying.deploy(app, program)
                broken += 1
                proxy.down = False
            proxy.refuse = lambda method, params: False
            deployed = deploying.deploy(app, program)
            assert broken == SHARED_STEPS
            owner_sent = app.node.nonce(app.keystore.address("owner"))
            # All but the published transaction, whose sender is nobody's.
            assert owner_sent == SHARED_STEPS - 1
            assert len(set(proxy.sent)) == SHARED_STEPS
            assert Membership(app.node, deployed.membership).name() == "Bean Club"
        finally:
            app.close()


def proxy_url(proxy: Proxy) -> str:
    return f"http://127.0.0.1:{proxy.port}"


def breaking_after(proxy: Proxy, step: int) -> Callable[[str, list[Any]], bool]:
    """Everything is refused as soon as the transaction number `step` was handed in; that one still goes through."""

    def refuse(method: str, params: list[Any]) -> bool:
        return len(set(proxy.sent)) > step and method != "eth_sendRawTransaction"

    return refuse


def test_an_opening_that_failed_before_it_was_signed_is_not_done_later(app: App, proxy: Proxy) -> None:
    """The node answers everything but the signer's nonce: the act is accepted, but the sender can't begin."""
    world = World(replace(app, node=type(app.node)(proxy_url(proxy))), program_of(program_text()))
    proxy.refuse = lambda method, params: method == "eth_getTransactionCount"
    with pytest.raises(LoyaltyError):
        deploying.deploy(world.app, world.program)
    with read(app.engine) as tx:
        (row,) = intents.by_keys(tx, opening.attach(app, world.program).row, [_open_key(world)]).values()
    assert row.state is IntentState.CANCELLED
    proxy.refuse = lambda method, params: False
    assert not deploying.deploy(world.app, world.program).already_open


def _open_key(world: World) -> str:
    program = world.program
    return f"{program.id}|open|{world.address('owner')}|{program.salt().hex()[:16]}|0"


# --------------------------------------------------------------------------------------------------- restarted chains


def test_a_restarted_chain_is_told_and_starts_clean(tmp_path: Path) -> None:
    told: list[str] = []
    program = program_of(program_text())
    with DevChainServer() as first:
        app = app_of(settings_of(tmp_path, first.url))
        make_keys(app)
        deploying.deploy(app, program, tick=told.append)
        assert not any("new chain" in line for line in told)
        app.close()
    with DevChainServer() as second:
        app = app_of(settings_of(tmp_path, second.url))
        try:
            with pytest.raises(ProgramProblem, match="what was opened on its predecessor is gone"):
                opening.opened(app, program)
            assert deploying.prepare(app, program).new_chain
            # In the same order as before: then nonces and fees are the same too, and so are the bytes that are signed.
            for name in KEYS:
                funding.fund(app, app.keystore.address(name), 10 * COIN)
            deployed = deploying.deploy(app, program, tick=told.append)
            assert not deployed.already_open
            assert any("new chain" in line for line in told)
            assert not deploying.prepare(app, program).new_chain
            assert World(app, program).mint("0x00000000000000000000000000000000000000AA,gold,never").final == 1
            assert len(deploying.exported(app)) == 2
        finally:
            app.close()


# ---------------------------------------------------------------------------------------- without the CREATE2 deployer


def test_where_the_create2_deployer_is_refused_plain_transactions_do(tmp_path: Path) -> None:
    with DevChainServer() as server, Proxy(server.url) as proxy:
        app = app_of(settings_of(tmp_path, proxy_url(proxy)))
        try:
            make_keys(app)
            program = program_of(program_text())
            raw = next(step.raw for step in deploying.prepare(app, program).plan.missing if step.raw is not None)
            published = "0x" + raw.hex()
            proxy.refuse = lambda method, params: method == "eth_sendRawTransaction" and params == [published]
            deployed = deploying.deploy(app, program)
            assert Membership(app.node, deployed.membership).symbol() == "BEAN"
            assert not deploying.prepare(app, program).plan.portable
            nonce = app.node.nonce(app.keystore.address("owner"))
            # The shared contracts are found again: a second program is one transaction.
            other = deploying.deploy(app, program_of(program_text()))
            assert len(other.sent) == 1
            assert app.node.nonce(app.keystore.address("owner")) == nonce + 1
        finally:
            app.close()


def test_a_program_recorded_at_another_address_is_not_taken_for_this_one(app: App) -> None:
    text = program_text("moved")
    deploying.deploy(app, program_of(text))
    with pytest.raises(ProgramProblem, match="is recorded at"):
        deploying.deploy(app, program_of(text.replace('opener = "owner"', 'opener = "hot"')))


def test_what_begins_like_an_address_and_is_none_is_named(app: App) -> None:
    from nftloyalty.app.keyring import address_of, key_name

    for resolve in (address_of, key_name):
        with pytest.raises(BadInput) as refused:
            resolve(app, "0x123")
        assert refused.value.problems[0].place == "0x123"
