"""What has to lie on a chain before a program opens, and how an open program differs from its file."""

import subprocess
from dataclasses import replace

import pytest
from eth_account import Account
from hexbytes import HexBytes
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.chain import deployment, logs
from nftloyalty.chain.abi import artifact
from nftloyalty.chain.client import Node
from nftloyalty.chain.deployment import DeploymentPlan, ResolvedPowers
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.address import Address
from nftloyalty.domain.words import Role
from nftloyalty.errors import ChainProblem, Reverted
from tests.chain.opened import (
    HOT,
    OPENER,
    OWNER,
    POWERS,
    STAMPS,
    STRANGER,
    Opened,
    do_steps,
    fund,
    open_program,
    transact,
)
from tests.conftest import StartAnvil, tool
from tests.domain.build import program, wallet

SHARED = ["LoyaltyRenderer", "LoyaltyMembership", "LoyaltyStamps", "LoyaltyFactory"]


def fresh(start_anvil: StartAnvil) -> Node:
    node = Node(start_anvil().url)
    fund(node, OPENER)
    return node


def without_deployer(node: Node) -> Node:
    node.call("anvil_setCode", [deployment.CREATE2_DEPLOYER, "0x"])
    return node


def names(plan: DeploymentPlan) -> list[str]:
    return [step.name for step in plan.missing]


# ------------------------------------------------------------------------------------------------------------ constants


def test_the_published_transaction_is_the_one_that_puts_the_deployer_there() -> None:
    sender = Account.recover_transaction(HexBytes(deployment.CREATE2_DEPLOYER_TX))
    assert sender == deployment.CREATE2_DEPLOYER_SENDER
    assert deployment.create_address(sender, 0) == deployment.CREATE2_DEPLOYER


@pytest.mark.parametrize(
    ("nonce", "expected"),
    # Of the sender 0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0, as widely used examples have it.
    [
        (0, "0xcd234A471b72ba2F1Ccf0A70FCABA648a5eeCD8d"),
        (1, "0x343c43A37D37dfF08AE8C4A11544c718AbB4fCF8"),
        (2, "0xf778B86FA74E846c4f0a1fBd1335FE81c00a0C91"),
        (3, "0xffFd933A0bC612844eaF0C6Fe3E5b8E9B6C1d19c"),
    ],
)
def test_where_a_plain_transaction_creates(nonce: int, expected: Address) -> None:
    assert deployment.create_address("0x6ac7ea33f8831ea9dcc53393aaa88b25a785dbf0", nonce) == expected


@pytest.mark.parametrize("nonce", [0, 1, 127, 128, 255, 256, 70_000, 2**32])
def test_where_a_plain_transaction_creates_at_any_nonce(nonce: int) -> None:
    cast = [str(tool("cast")), "compute-address", "--nonce", str(nonce), wallet()]
    said = subprocess.run(cast, capture_output=True, text=True, check=True).stdout
    assert said.strip().rpartition(" ")[2] == deployment.create_address(wallet(), nonce)


# ----------------------------------------------------------------------------------------------------------------- plan


def test_an_empty_chain_needs_everything_and_gets_it() -> None:
    with DevChainServer() as server:
        node = Node(server.url)
        fund(node, OPENER)
        first = deployment.plan(node, program(STAMPS), POWERS)
        assert names(first) == ["payment for the CREATE2 deployer", "CREATE2 deployer", *SHARED]
        assert first.opened is None
        assert first.portable
        do_steps(node, first)
        second = deployment.plan(node, program(STAMPS), POWERS)
        assert names(second) == []
        assert [step.address for step in second.steps] == [step.address for step in first.steps]
        assert (second.factory, second.membership, second.stamps) == (first.factory, first.membership, first.stamps)


def test_each_step_that_was_done_is_seen_so_a_run_that_died_goes_on(start_anvil: StartAnvil) -> None:
    node = without_deployer(fresh(start_anvil))
    everything = ["payment for the CREATE2 deployer", "CREATE2 deployer", *SHARED]
    for done in range(len(everything)):
        plan = deployment.plan(node, program(), POWERS)
        assert names(plan) == everything[done:]
        do_steps(node, replace(plan, steps=plan.missing[:1]))
    assert deployment.plan(node, program(), POWERS).missing == ()


def test_only_the_missing_part_of_the_payment_is_paid(start_anvil: StartAnvil) -> None:
    node = without_deployer(fresh(start_anvil))
    node.call("anvil_setBalance", [deployment.CREATE2_DEPLOYER_SENDER, hex(deployment.CREATE2_DEPLOYER_COST_WEI - 5)])
    assert deployment.plan(node, program(), POWERS).missing[0].value_wei == 5


def test_addresses_are_the_same_on_every_chain_whoever_pays(start_anvil: StartAnvil) -> None:
    anvil = deployment.plan(Node(start_anvil().url), program(), POWERS)
    with DevChainServer() as server:
        embedded = deployment.plan(Node(server.url), program(), POWERS)
    other_payer = deployment.plan(Node(start_anvil().url), program(), replace(POWERS, opener=STRANGER.address))
    assert [step.address for step in anvil.steps] == [step.address for step in embedded.steps]
    assert [step.address for step in anvil.steps] == [step.address for step in other_payer.steps]
    assert (anvil.membership, anvil.stamps) == (embedded.membership, embedded.stamps)
    assert anvil.membership != other_payer.membership, "a program belongs to its opener"


@pytest.mark.parametrize("what", ["CREATE2 deployer", *SHARED])
def test_other_code_at_one_of_the_addresses_stops_everything(start_anvil: StartAnvil, what: str) -> None:
    node = fresh(start_anvil)
    do_steps(node, deployment.plan(node, program(), POWERS))
    places = {step.name: step.address for step in deployment.plan(node, program(), POWERS).steps}
    node.call("anvil_setCode", [places[what], "0x6000"])
    with pytest.raises(ChainProblem, match="lies other code") as caught:
        deployment.plan(node, program(), POWERS)
    assert str(places[what]) in caught.value.message


def test_the_gas_of_each_step_is_foretold(start_anvil: StartAnvil) -> None:
    node = without_deployer(fresh(start_anvil))
    plan = deployment.plan(node, program(), POWERS)
    foretold = [step.gas for step in plan.missing if step.raw is None]
    used = [receipt.gas_used for receipt in do_steps(node, plan)]
    for guess, real in zip(foretold, used, strict=True):
        assert real * 0.97 <= guess <= real * 1.05
    published = next(step for step in plan.steps if step.raw is not None)
    found = node.call("eth_getBlockByNumber", ["0x3", False])
    assert published.gas * 0.97 <= int(found["gasUsed"], 16) <= published.gas * 1.05


# --------------------------------------------------------------------------------------------------- plain transactions


def test_without_the_deployer_the_opener_makes_them_itself(start_anvil: StartAnvil) -> None:
    """As where a chain refuses the deployer's published transaction."""
    node = without_deployer(fresh(start_anvil))
    created: dict[str, Address] = {}
    for name in SHARED:
        plan = deployment.plan(node, program(STAMPS), POWERS, created)
        assert not plan.portable
        assert names(plan) == SHARED[len(created) :]
        step = plan.missing[0]
        assert step.name == name
        receipt = transact(node, OPENER, step.to, step.data)
        assert receipt.contract_address == step.address
        created[name] = receipt.contract_address or ""
    plan = deployment.plan(node, program(STAMPS), POWERS, created)
    assert plan.missing == ()
    found = logs.opened_program(transact(node, OPENER, plan.factory, plan.open_data), plan.factory)
    assert found is not None
    assert (found.membership, found.stamps) == (plan.membership, plan.stamps)


def test_an_address_remembered_from_another_chain_is_not_taken_for_done(start_anvil: StartAnvil) -> None:
    node = without_deployer(fresh(start_anvil))
    plan = deployment.plan(node, program(), POWERS, {"LoyaltyRenderer": wallet()})
    assert names(plan) == SHARED


# --------------------------------------------------------------------------------------------------------------- opened


def test_a_program_opens_where_it_was_foretold_and_only_once(opened: Opened) -> None:
    found = logs.opened_program(opened.receipt, opened.factory.address)
    assert found == logs.OpenedProgram(
        OPENER.address, opened.program.salt(), opened.membership.address, opened.stamps.address
    )
    opening = deployment.opening_of(opened.program, POWERS)
    assert opened.factory.predict(OPENER.address, opening) == (opened.membership.address, opened.stamps.address)
    plan = deployment.plan(opened.node, opened.program, POWERS)
    assert plan.opened == opened.membership.address
    with pytest.raises(Reverted, match="is open already"):
        transact(opened.node, OPENER, plan.factory, plan.open_data)


names_of_programs = st.text(st.characters(codec="utf-8", exclude_categories=["C"]), min_size=1, max_size=16)


@given(
    name=names_of_programs,
    symbol=st.from_regex(r"[A-Z0-9-]{1,16}", fullmatch=True),
    delay=st.integers(3, 365),
    cooldown=st.integers(0, 365),
    background=st.integers(0, 2**24 - 1),
    ink=st.integers(0, 2**24 - 1),
)
def test_foretold_addresses_are_the_factorys(
    anvil_opened: Opened, name: str, symbol: str, delay: int, cooldown: int, background: int, ink: int
) -> None:
    opening = replace(
        deployment.opening_of(anvil_opened.program, POWERS),
        name=name,
        symbol=symbol,
        recovery_delay_seconds=delay * 86_400,
        move_cooldown_seconds=cooldown * 86_400,
        background=background,
        ink=ink,
    )
    factory = anvil_opened.factory
    ours = deployment.predict(factory.address, factory.implementations(), STRANGER.address, opening)
    assert ours == factory.predict(STRANGER.address, opening)


@pytest.fixture(scope="module")
def anvil_opened(start_anvil: StartAnvil) -> Opened:
    return open_program(Node(start_anvil().url), program(STAMPS))


LONG = "A name that takes more than one slot of storage"
VARIANTS: dict[str, tuple[str, ResolvedPowers]] = {
    "nothing but the least": ("", replace(POWERS, minters=(), signers=(), managers=(), guardians=())),
    "the usual": (STAMPS, POWERS),
    "many roles": ("", replace(POWERS, minters=tuple(wallet(number) for number in range(12)))),
    "a large stamp card": ('[[stamp_cards]]\nid = "c"\nfirst = 1\nstamps = 12\nname = "Card"\n', POWERS),
    "many types": (
        "".join(f'[[stamps]]\nid = "s{n}"\nnumber = {n}\nname = "{LONG}"\n' for n in range(1, 9)),
        POWERS,
    ),
}


@pytest.mark.parametrize("variant", VARIANTS)
def test_the_gas_of_opening_is_foretold(anvil_opened: Opened, variant: str) -> None:
    text, powers = VARIANTS[variant]
    described = replace(program(text), id=f"gas-{list(VARIANTS).index(variant)}")
    plan = deployment.plan(anvil_opened.node, described, powers)
    used = transact(anvil_opened.node, OPENER, plan.factory, plan.open_data).gas_used
    assert used * 0.95 <= plan.open_gas <= used * 1.08, f"{plan.open_gas} foretold, {used} used"


def test_uris_and_long_tiers_count_in_the_foretold_gas(anvil_opened: Opened) -> None:
    described = program(STAMPS)
    uri = "https://example.org/" + "x" * 60 + "/"
    described = replace(
        described,
        id="gas-uris",
        base_uri=uri,
        contract_uri=uri,
        stamps_base_uri=uri,
        tiers=tuple(replace(tier, name=LONG) for tier in described.tiers),
    )
    plan = deployment.plan(anvil_opened.node, described, POWERS)
    used = transact(anvil_opened.node, OPENER, plan.factory, plan.open_data).gas_used
    assert used * 0.95 <= plan.open_gas <= used * 1.08, f"{plan.open_gas} foretold, {used} used"


# -------------------------------------------------------------------------------------------------------------- opening


def test_one_account_with_several_powers_gets_them_in_one_grant() -> None:
    powers = ResolvedPowers(OPENER.address, OWNER.address, *(((HOT.address,),) * 4))
    opening = deployment.opening_of(program(), powers)
    assert [(grant.account, grant.roles) for grant in opening.grants] == [(HOT.address, Role(15))]


def test_an_artifacts_constructor_is_told_its_addresses() -> None:
    with pytest.raises(ValueError, match="constructor of LoyaltyFactory takes 2 arguments, not 1"):
        artifact("LoyaltyFactory").initcode(wallet())
    assert artifact("LoyaltyRenderer").initcode() == artifact("LoyaltyRenderer").code
