"""Which chain we are on, and the program that is open on it."""

from dataclasses import dataclass

from nftloyalty.app.context import App
from nftloyalty.chain.abi import printable
from nftloyalty.chain.client import Block
from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.domain.program import Program
from nftloyalty.errors import ChainRestarted, ProgramProblem, WrongChain
from nftloyalty.store import chains, programs
from nftloyalty.store.engine import begin, read
from nftloyalty.store.tables import ProgramState


@dataclass(frozen=True)
class Attached:
    """A chain we talk to. `row` is its row in the database; a restarted development chain gets another one."""

    row: int
    chain_id: int
    genesis_hash: str
    head: Block


@dataclass(frozen=True)
class Opened:
    """An open program: its terms as in the file, its row, and its two contracts."""

    program: Program
    attached: Attached
    row: programs.ProgramRow
    membership: Membership
    stamps: Stamps


def attach(app: App, program: Program) -> Attached:
    """Ask the node who it is and check that against the program.

    Raises NodeUnreachable, or WrongChain if program.toml names another chain id.
    """
    chain_id = app.node.chain_id()
    if program.chain.id is not None and program.chain.id != chain_id:
        raise WrongChain(program.chain.id, chain_id)
    genesis_hash = app.node.genesis_hash()
    head = app.node.head()
    with begin(app.engine) as tx:
        row = chains.known_chain(tx, chain_id, genesis_hash, app.now())
    return Attached(row=row, chain_id=chain_id, genesis_hash=genesis_hash, head=head)


def check_chain(app: App, attached: Attached) -> None:
    """Raises ChainRestarted if the node serves another chain by now: what is sent would land where nothing is ours."""
    if app.node.genesis_hash() != attached.genesis_hash:
        raise ChainRestarted(app.node.shown_url)


def opened(app: App, program: Program) -> Opened:
    """The program's contracts on this chain.

    Raises ProgramProblem if it isn't open here, or if the file calls a tier or a stamp by another name than the chain:
    then its ids would mean something else, and a gate would answer for the wrong tier.
    """
    found = found_open(app, program)
    _check_names(found)
    return found


def found_open(app: App, program: Program) -> Opened:
    """As `opened`, whatever the file calls its tiers and stamps: only for looking at that very difference."""
    attached = attach(app, program)
    with read(app.engine) as tx:
        row = programs.find(tx, attached.row, program.id)
        elsewhere = chains.other_chains(tx, attached.chain_id, attached.genesis_hash)
    if row is None or row.state is not ProgramState.OPEN:
        restarted = (
            f" The node's chain {attached.chain_id} is a new one (genesis {attached.genesis_hash[:10]}...): "
            "what was opened on its predecessor is gone."
            if elsewhere
            else ""
        )
        raise ProgramProblem(
            f"the program {program.id!r} is not open on this chain.{restarted}", mend="run `nftloyalty deploy` first"
        )
    return Opened(
        program=program,
        attached=attached,
        row=row,
        membership=Membership(app.node, row.membership),
        stamps=Stamps(app.node, row.stamps),
    )


def _check_names(opened: Opened) -> None:
    """What only one of the two has is no harm: it can't be minted by its id."""
    program = opened.program
    block = opened.attached.head.hash
    pairs = [
        (f"tier {tier.number}", tier.name, there)
        for tier, there in zip(program.tiers, opened.membership.tier_names(block), strict=False)
    ]
    numbers = {number: stamp.name for stamp in program.stamps for number in stamp.numbers}
    types = opened.stamps.types_of(list(numbers), block)
    pairs += [
        (f"stamp type {number}", name, there.name)
        for (number, name), there in zip(numbers.items(), types, strict=True)
        if there is not None
    ]
    for what, here, there in pairs:
        if here != there:
            raise ProgramProblem(
                f"{what} is called {here!r} in program.toml and {printable(there)!r} on chain",
                mend="put the file's names and numbers back as they are on chain; a tier renamed on purpose is renamed "
                "there by `nftloyalty update`, which lists all differences",
            )
