"""Bringing an open program to what program.toml says by now: the owner's calls, one transaction each.

What is to be done follows from the chain each time, so a run that was stopped is finished by the next one, and a
program that is as its file says has nothing sent.
"""

from collections.abc import Callable
from dataclasses import dataclass

from nftloyalty.app.acting import Done, Unsigned
from nftloyalty.app.context import App
from nftloyalty.app.keyring import key_name, known_accounts, resolve_powers
from nftloyalty.app.opening import Opened, found_open
from nftloyalty.app.powers import owners_act
from nftloyalty.app.pricing import offered, price
from nftloyalty.chain import sender
from nftloyalty.chain.terms import Change, Difference, changes_of, differences, read_state
from nftloyalty.domain.address import Address
from nftloyalty.domain.cost import Cost
from nftloyalty.domain.program import Program
from nftloyalty.errors import OutOfFunds, Reverted


@dataclass(frozen=True)
class Refused:
    """A call that the contract would refuse now."""

    change: Change
    reason: Reverted


@dataclass(frozen=True)
class UpdatePlan:
    """What bringing the chain to program.toml takes. `stays` are differences that no call changes, `differs` those that
    one does; `changes` would pass now, `refused` would not. `owner_here` = the owner's key is here; else the calls are
    signed elsewhere."""

    opened: Opened
    owner: Address
    owner_here: bool
    changes: tuple[Change, ...]
    refused: tuple[Refused, ...]
    differs: tuple[Difference, ...]
    stays: tuple[Difference, ...]
    cost: Cost


@dataclass(frozen=True)
class Updated:
    """`done` were made by this run, `unsigned` wait for the owner's signature elsewhere."""

    done: tuple[tuple[Change, Done], ...]
    unsigned: tuple[tuple[Change, Unsigned], ...]


def plan(app: App, program: Program) -> UpdatePlan:
    """Compare program.toml with the chain and try each call that is needed. Sends nothing.

    Raises ProgramProblem if the program is not open here.
    """
    opened = found_open(app, program)
    powers = resolve_powers(app, program)
    others = known_accounts(app, opened.row.terms)
    state = read_state(app.node, opened.membership.address, powers, opened.attached.head.hash, others=others)
    found = differences(program, powers, state)
    passing: list[Change] = []
    refused: list[Refused] = []
    gas = 0
    for change in changes_of(found):
        try:
            gas += sender.estimate(app.node, state.owner, change.to, change.data)
            passing.append(change)
        except Reverted as reason:
            refused.append(Refused(change, reason))
    return UpdatePlan(
        opened=opened,
        owner=state.owner,
        owner_here=key_name(app, state.owner) is not None,
        changes=tuple(passing),
        refused=tuple(refused),
        differs=tuple(each for each in found if each.changes),
        stays=tuple(each for each in found if not each.changes),
        cost=price(app, opened.attached, gas),
    )


def check_funds(app: App, update: UpdatePlan) -> None:
    """Raises OutOfFunds if the owner, whose key is here, can't pay for all of it."""
    if not update.changes or not update.owner_here:
        return
    # The last one needs more behind it than it costs; with less it would fail when all others are done.
    share = update.cost.gas // len(update.changes)
    needs = update.cost.wei + max(0, offered(app, share) - share * update.cost.fee_per_gas_wei)
    has = app.node.balance(update.owner)
    if has < needs:
        raise OutOfFunds(update.owner, has, needs)


def update(app: App, wanted: UpdatePlan, tick: Callable[[Change], None] = lambda change: None) -> Updated:
    """Make the calls of a plan, in order. `tick` is told each as it begins.

    Raises OutOfFunds before the first is sent, and what stops one of them; those before it stay made.
    """
    check_funds(app, wanted)
    done: list[tuple[Change, Done]] = []
    unsigned: list[tuple[Change, Unsigned]] = []
    for change in wanted.changes:
        tick(change)
        made = owners_act(app, wanted.opened, change.what, change.to, change.data, lambda: None)
        if isinstance(made, Done):
            done.append((change, made))
        else:
            unsigned.append((change, made))
    return Updated(tuple(done), tuple(unsigned))
