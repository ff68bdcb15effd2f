"""A member who lost a key gets card, number and stamps back in a new wallet: proposed, vetoable, then carried out.

What the operator of a robbed member does, step by step: docs/security-model.md.
"""

from dataclasses import dataclass
from datetime import UTC, datetime

from nftloyalty.app.acting import Done, Unsigned
from nftloyalty.app.context import App
from nftloyalty.app.contracts import own_contracts
from nftloyalty.app.keyring import key_name
from nftloyalty.app.opening import Opened
from nftloyalty.app.powers import Tick, guardian_of, membership_act, owner_of
from nftloyalty.chain.contracts import Membership, Recovery
from nftloyalty.domain.address import Address
from nftloyalty.domain.times import shown_start
from nftloyalty.errors import ProgramProblem


@dataclass(frozen=True)
class Standing:
    """A proposal that nothing has ended yet. It can be carried out from `ready_at` through `ends_at`, by anyone.

    `serial` is the number of the card that moves, 0 if only stamps do, or a number that was kept through a revocation.
    """

    source: Address
    to: Address
    proposer: Address
    serial: int
    ready_at: datetime
    ends_at: datetime


def standing(opened: Opened, source: Address) -> Standing | None:
    """The recovery of this wallet, if one stands. One that was vetoed, outlived or overtaken does not."""
    found = opened.membership.recovery_of(source)
    if int(found.to, 16) == 0 or found.ends_at < opened.attached.head.timestamp:
        return None
    return _shown(source, found)


def propose(app: App, opened: Opened, source: Address, to: Address, reason: str, tick: Tick) -> Done | Unsigned:
    """GUARDIAN, else the owner. The reason is public. The holder can veto until it is carried out, unless revoked.

    Raises ProgramProblem if one stands already or `to` is a contract of the program, and Reverted with what the
    contract has against either wallet.
    """
    known = standing(opened, source)
    if known is not None:
        raise ProgramProblem(
            f"a recovery of {source} to {known.to} stands already; nothing was sent",
            mend=f"carry it out {shown_start(int(known.ready_at.timestamp()))}, or end it with "
            f"`nftloyalty recovery veto {source}`",
        )
    contract = own_contracts(opened).get(to)
    if contract is not None:
        raise ProgramProblem(f"{to} is {contract}, not a wallet; nothing was sent")
    data = Membership.encode_propose_recovery(source, to, reason)
    what = f"propose to recover {source} to {to}"
    return membership_act(app, opened, what, data, guardian_of(app, opened), tick)


def execute(app: App, opened: Opened, source: Address, tick: Tick) -> Done | Unsigned:
    """Anyone may; here a key that could have proposed it does. Raises ProgramProblem if none stands or is ready."""
    known = _required(opened, source)
    now = max(int(app.now().timestamp()), opened.attached.head.timestamp)
    if now < known.ready_at.timestamp():
        ready = shown_start(int(known.ready_at.timestamp()))
        raise ProgramProblem(f"the recovery of {source} can be carried out {ready}; nothing was sent", mend="wait")
    data = Membership.encode_execute_recovery(source)
    what = f"recover {source} to {known.to}"
    return membership_act(app, opened, what, data, guardian_of(app, opened), tick)


def veto(app: App, opened: Opened, source: Address, tick: Tick) -> Done | Unsigned:
    """Take a proposal back: its proposer, else the owner. The holder's own veto is a signature, not an act of ours."""
    known = _required(opened, source)
    by = known.proposer if key_name(app, known.proposer) is not None else owner_of(opened)
    data = Membership.encode_veto_recovery(source, 0, b"")
    return membership_act(app, opened, f"veto the recovery of {source}", data, by, tick)


def _required(opened: Opened, source: Address) -> Standing:
    known = standing(opened, source)
    if known is None:
        raise ProgramProblem(
            f"no recovery of {source} stands; nothing was sent",
            mend="a veto, a move, a revocation or its end may have ended it; propose it anew",
        )
    return known


def _shown(source: Address, found: Recovery) -> Standing:
    ready, ends = (datetime.fromtimestamp(moment, UTC) for moment in (found.ready_at, found.ends_at))
    return Standing(source, found.to, found.proposer, found.serial, ready, ends)
