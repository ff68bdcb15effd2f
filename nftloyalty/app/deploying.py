"""Opening a program: the shared contracts if they are absent, then the program in one transaction.

Every step is recognised by what lies on the chain, so a run that was killed is finished by the next one, and a program
that is open is never opened again.
"""

import json
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from eth_utils.crypto import keccak

from nftloyalty.app.acting import Act, Done, generations, perform
from nftloyalty.app.calls import ACTS
from nftloyalty.app.context import App
from nftloyalty.app.keyring import key_name, known_accounts, resolve_powers
from nftloyalty.app.opening import Attached, attach
from nftloyalty.app.pricing import offered, price
from nftloyalty.app.waiting import telling_what_stays
from nftloyalty.chain.client import HintKind
from nftloyalty.chain.contracts import Membership
from nftloyalty.chain.deployment import DeploymentPlan, ResolvedPowers, Step, plan
from nftloyalty.chain.terms import Difference, differences, read_state
from nftloyalty.domain.address import Address
from nftloyalty.domain.cost import Cost
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.program import Program
from nftloyalty.errors import ChainProblem, KeyProblem, OutOfFunds, ProgramProblem
from nftloyalty.store import chains, programs
from nftloyalty.store.engine import begin, read
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.tables import ProgramState

__all__ = ["Deployed", "Difference", "Prepared", "check_opener", "deploy", "exported", "prepare"]

PATIENCE_SECONDS = 180.0
REFUSAL_SECONDS = 3.0
PLAIN = "plain"
SHARED_CONTRACTS = ("LoyaltyRenderer", "LoyaltyMembership", "LoyaltyStamps", "LoyaltyFactory")


@dataclass(frozen=True)
class Prepared:
    """What opening the program here takes. `differences` are told for a program that is open already.

    `new_chain` = programs were opened on a predecessor of this chain, which is gone: nothing of them counts here.
    """

    program: Program
    attached: Attached
    powers: ResolvedPowers
    plan: DeploymentPlan
    cost: Cost
    differences: tuple[Difference, ...]
    new_chain: bool

    @property
    def already_open(self) -> bool:
        return self.plan.opened is not None


@dataclass(frozen=True)
class Deployed:
    """The program is open. `sent` names the transactions of this run, none if it was open already."""

    membership: Address
    stamps: Address
    already_open: bool
    sent: tuple[str, ...]
    gas_used: int
    open_gas: int
    differences: tuple[Difference, ...]


def prepare(app: App, program: Program, *, plain: bool = False) -> Prepared:
    """Look at the chain and tell what is missing. Sends nothing.

    `plain` = make the shared contracts by plain transactions, where the chain refuses the CREATE2 deployer.
    """
    attached = attach(app, program)
    powers = resolve_powers(app, program)
    created = _created_plainly(app, attached, powers.opener)
    found = plan(app.node, program, powers, created if created or plain else None)
    differing: list[Difference] = []
    gas = 0
    with read(app.engine) as tx:
        recorded = programs.find(tx, attached.row, program.id)
        elsewhere = chains.other_chains(tx, attached.chain_id, attached.genesis_hash)
    if found.opened is not None:
        others = known_accounts(app, recorded.terms if recorded is not None else {})
        state = read_state(app.node, found.opened, powers, attached.head.hash, others=others)
        differing = differences(program, powers, state)
    else:
        gas = sum(step.gas for step in found.missing if step.raw is None) + found.open_gas
    return Prepared(
        program,
        attached,
        powers,
        found,
        price(app, attached, gas),
        tuple(differing),
        new_chain=recorded is None and elsewhere > 0,
    )


def deploy(app: App, program: Program, tick: Callable[[str], None] = lambda what: None) -> Deployed:
    """Open the program, or find that it is open. `tick` is told each step as it begins.

    Raises OutOfFunds, KeyProblem and ChainProblem before anything is sent where that can be known.
    """
    prepared = prepare(app, program)
    if prepared.new_chain:
        tick("this is a new chain: what was opened on its predecessor is gone")
    if prepared.plan.opened is not None:
        row = _mark_open(app, _record(app, prepared), None)
        return Deployed(row.membership, row.stamps, True, (), 0, 0, prepared.differences)
    check_opener(app, prepared)
    with telling_what_stays(app, prepared.attached.row, program.id, ACTS):
        return _carry_out(app, prepared, tick)


def _carry_out(app: App, prepared: Prepared, tick: Callable[[str], None]) -> Deployed:
    program = prepared.program
    sent: list[Done] = []
    plain = False
    while missing := prepared.plan.missing:
        step = missing[0]
        tick(step.name)
        if step.raw is None:
            sent.append(_send(app, prepared, step))
        elif not _hand_in(app, step, step.raw):
            plain = True
        prepared = prepare(app, program, plain=plain)
    row = _record(app, prepared)
    tick(f"opening {program.name}")
    sent.append(_open(app, prepared, row))
    # What is open now is what counts: an opening that a killed run began goes on as it was begun, even if the file was
    # edited since, and then it lies at the address of those terms.
    prepared = prepare(app, program, plain=plain)
    if prepared.plan.opened is None:
        raise ChainProblem(f"transaction {sent[-1].tx_hash} succeeded, but the program is not open")
    row = _mark_open(app, _record(app, prepared), sent[-1])
    gas = [receipt.gas_used for receipt in app.node.receipts([each.tx_hash for each in sent]) if receipt is not None]
    return Deployed(
        row.membership,
        row.stamps,
        False,
        tuple(each.tx_hash for each in sent),
        gas_used=sum(gas),
        open_gas=gas[-1] if gas else 0,
        differences=prepared.differences,
    )


def check_opener(app: App, prepared: Prepared) -> None:
    """Raises KeyProblem if the opener's key is not here, and OutOfFunds if it can't pay for all that is missing."""
    if prepared.already_open:
        return
    opener = prepared.powers.opener
    if key_name(app, opener) is None:
        raise KeyProblem(f"the key of the opener {opener} is not here", mend="import it with `nftloyalty keys import`")
    has = app.node.balance(opener)
    # The last transaction needs more behind it than it costs; with less it would fail when all others are paid.
    plan_of = prepared.plan
    steps = [step.gas for step in plan_of.missing if step.raw is None] + [plan_of.open_gas]
    room = max(0, max(offered(app, gas) - gas * prepared.cost.fee_per_gas_wei for gas in steps))
    needs = prepared.cost.wei + sum(step.value_wei for step in plan_of.missing) + room
    if has < needs:
        raise OutOfFunds(opener, has, needs)


def _send(app: App, prepared: Prepared, step: Step) -> Done:
    digest = keccak(step.data + (step.address or "").encode()).hex()[:16]
    way = "create2" if prepared.plan.portable else PLAIN
    act = Act(
        what=f"put {step.name} on chain",
        key=_step_key(prepared.powers.opener, way, f"{step.name}/{digest}" if prepared.plan.portable else step.name),
        to=step.to,
        data=step.data,
        value_wei=step.value_wei,
        kind=Kind.DEPLOY,
    )
    return _done(app, prepared, act, None)


def _open(app: App, prepared: Prepared, row: ProgramRow) -> Done:
    opener = prepared.powers.opener
    act = Act(
        what=f"open {prepared.program.name}",
        key=f"{prepared.program.id}|open|{opener}|{prepared.program.salt().hex()[:16]}",
        to=prepared.plan.factory,
        data=prepared.plan.open_data,
        kind=Kind.DEPLOY,
    )
    return _done(app, prepared, act, row.id)


def _done(app: App, prepared: Prepared, act: Act, program: int | None) -> Done:
    done = perform(
        app,
        prepared.attached,
        act,
        by=prepared.powers.opener,
        program=program,
        finality_blocks=prepared.program.chain.finality_blocks,
    )
    if not isinstance(done, Done):
        raise KeyProblem(f"the key of the opener {done.signer} is not here")
    return done


def _hand_in(app: App, step: Step, raw: bytes) -> bool:
    """Hand in a transaction that somebody else signed. False if this chain will not have it."""
    hint = app.node.send_raw(raw)
    give_up = time.monotonic() + (REFUSAL_SECONDS if hint.kind is HintKind.REFUSED else PATIENCE_SECONDS)
    while step.address is not None and not app.node.code(step.address):
        if time.monotonic() > give_up:
            if hint.kind is HintKind.REFUSED:
                return False
            raise ChainProblem(f"{step.name} was sent but is not on chain yet", mend="run this again in a while")
        time.sleep(0.2)
    return True


def _step_key(opener: Address, way: str, name: str) -> str:
    return f"deploy|{way}|{opener}|{name}"


def _created_plainly(app: App, attached: Attached, opener: Address) -> dict[str, Address]:
    """Shared contracts that former runs made by plain transactions: where they are, by name."""
    hashes: dict[str, str] = {}
    with read(app.engine) as tx:
        for name in SHARED_CONTRACTS:
            for row in generations(tx, attached.row, _step_key(opener, PLAIN, name)):
                if row.tx_hash is not None:
                    hashes[name] = row.tx_hash
    receipts = dict(zip(hashes, app.node.receipts(list(hashes.values())), strict=True))
    return {
        name: receipt.contract_address
        for name, receipt in receipts.items()
        if receipt is not None and receipt.contract_address is not None
    }


def _record(app: App, prepared: Prepared) -> ProgramRow:
    """The program's row, with the addresses of the plan. An earlier plan that never came to be is replaced."""
    found = prepared.plan
    terms = json.loads(json.dumps(asdict(prepared.program), default=str))
    plan_of = {
        "opener": prepared.powers.opener,
        "salt": "0x" + prepared.program.salt().hex(),
        "name": prepared.program.name,
        "factory": found.factory,
        "membership": found.opened or found.membership,
        "stamps": _stamps_of(app, prepared),
        "terms": terms,
    }
    with begin(app.engine) as tx:
        row = programs.add_opening(tx, prepared.attached.row, prepared.program.id, now=app.now(), **plan_of)
        if row.state is ProgramState.OPENING:
            row = programs.replan(tx, row.id, **plan_of)
        elif row.membership != plan_of["membership"]:
            raise ProgramProblem(
                f"a program {prepared.program.id!r} is recorded at {row.membership}, and this file's is at "
                f"{plan_of['membership']}",
                mend="choose another [program] id, or the opener it was opened with",
            )
    return row


def _stamps_of(app: App, prepared: Prepared) -> Address:
    if prepared.plan.opened is None:
        return prepared.plan.stamps
    return Membership(app.node, prepared.plan.opened).stamps_of_season(0)


def _mark_open(app: App, row: ProgramRow, done: Done | None) -> ProgramRow:
    with begin(app.engine) as tx:
        return programs.mark_open(tx, row.id, done.tx_hash if done else None, done.block if done else None)


def exported(app: App) -> list[dict[str, Any]]:
    """All recorded deployments, as values that JSON can hold."""
    with read(app.engine) as tx:
        return programs.export(tx)
