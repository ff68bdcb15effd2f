"""A chain with an open program on it, and the shortest way to send a transaction there."""

import time
from dataclasses import dataclass

from nftloyalty.chain import deployment, sender
from nftloyalty.chain.client import HintKind, Node, Receipt
from nftloyalty.chain.contracts import Factory, Membership, Stamps
from nftloyalty.chain.deployment import DeploymentPlan, ResolvedPowers
from nftloyalty.chain.signer import LocalSigner, Signer, TxFields
from nftloyalty.domain.address import Address
from nftloyalty.domain.program import Program

CEILING = 10**12
COIN = 10**18

STAMPS = """
[quotas.cards]
mint = 400
[[stamps]]
id = "latte"
number = 1
name = "Latte"
[[stamps]]
id = "gold-only"
number = 2
name = "Gold only"
min_tier = "gold"
redeemable = true
[[stamp_cards]]
id = "coffee"
first = 11
stamps = 5
name = "Five coffees"
cap = 50
"""


def key(number: int) -> LocalSigner:
    """A key of its own for each number."""
    return LocalSigner(number.to_bytes(32, "big"))


OPENER, OWNER, HOT, GUARDIAN, STRANGER = (key(number) for number in (101, 102, 103, 104, 105))

POWERS = ResolvedPowers(
    opener=OPENER.address,
    owner=OWNER.address,
    minters=(HOT.address,),
    signers=(HOT.address,),
    managers=(HOT.address,),
    guardians=(GUARDIAN.address,),
)


def fund(node: Node, *signers: LocalSigner, wei: int = 100 * COIN) -> None:
    """From the first account of a development chain."""
    for signer in signers:
        found = wait(node, node.send_unlocked(node.accounts()[0], signer.address, wei))
        assert found.succeeded


def wait(node: Node, tx_hash: str, seconds: float = 20) -> Receipt:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        receipt = node.receipts([tx_hash])[0]
        if receipt is not None:
            return receipt
        time.sleep(0.01)
    raise AssertionError(f"{tx_hash} was not mined")


def transact(
    node: Node, signer: Signer, to: Address | None, data: bytes, value: int = 0, gas: int | None = None
) -> Receipt:
    """Send and wait. Raises Reverted before anything is sent, unless `gas` is given."""
    limit = gas if gas is not None else sender.estimate(node, signer.address, to, data, value) * 12 // 10
    fees = sender.fees(node, CEILING)
    fields = TxFields(
        node.chain_id(), node.nonce(signer.address), to, data, value, limit, fees.max_fee, fees.priority_fee
    )
    signed = signer.sign_transaction(fields)
    hint = node.send_raw(signed.raw)
    assert hint.kind is HintKind.ACCEPTED, hint
    return wait(node, signed.hash)


def do_steps(node: Node, plan: DeploymentPlan) -> list[Receipt]:
    """Everything that is missing, in order."""
    receipts = []
    for step in plan.missing:
        if step.raw is not None:
            assert node.send_raw(step.raw).kind is HintKind.ACCEPTED
        else:
            receipts.append(transact(node, OPENER, step.to, step.data, step.value_wei))
    return receipts


@dataclass(frozen=True)
class Opened:
    """An open program on a node that several tests share: let each use wallets of its own."""

    node: Node
    program: Program
    chain_id: int
    factory: Factory
    membership: Membership
    stamps: Stamps
    receipt: Receipt


def open_program(node: Node, program: Program) -> Opened:
    fund(node, OPENER, OWNER, HOT, GUARDIAN, STRANGER)
    do_steps(node, deployment.plan(node, program, POWERS))
    plan = deployment.plan(node, program, POWERS)
    assert plan.missing == ()
    receipt = transact(node, OPENER, plan.factory, plan.open_data)
    return Opened(
        node=node,
        program=program,
        chain_id=node.chain_id(),
        factory=Factory(node, plan.factory),
        membership=Membership(node, plan.membership),
        stamps=Stamps(node, plan.stamps),
        receipt=receipt,
    )
