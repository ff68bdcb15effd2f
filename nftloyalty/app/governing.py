"""Powers over an open program: roles, quotas, pause, single members' cards, and handing the program over.

Each act names the key that should do it; where the power lies with an address whose key is not here (a Safe, say), the
transaction to sign there is handed back instead.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum

from nftloyalty.app import requesting
from nftloyalty.app.acting import Done, Unsigned, bring, check_funds, done_by
from nftloyalty.app.context import App
from nftloyalty.app.keyring import address_of, key_name, signer_of
from nftloyalty.app.opening import Opened
from nftloyalty.app.powers import Tick, act_on, guardian_of, membership_act, owner_of, said, with_role
from nftloyalty.app.requesting import Prepared, Renew, Request, SetTier, Wish
from nftloyalty.app.waiting import telling_what_stays
from nftloyalty.chain import sender
from nftloyalty.chain.contracts import Membership, QuotaKind
from nftloyalty.domain.act import UNFINISHED
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.refusal import skip_mend
from nftloyalty.domain.words import Role, SkipCode
from nftloyalty.errors import ChainProblem, ProgramProblem
from nftloyalty.store import intents, signers
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow


class Which(StrEnum):
    """Which contract's quota."""

    CARDS = "cards"
    STAMPS = "stamps"


class QuotaOf(StrEnum):
    """What a quota counts."""

    MINT = "mint"
    CLAIM = "claim"
    MANAGE = "manage"

    @property
    def kind(self) -> QuotaKind:
        return QuotaKind[self.name]


@dataclass(frozen=True)
class RoleHolder:
    """One address, the key name it has here (None = elsewhere), what it may do on chain and in program.toml."""

    address: Address
    name: str | None
    roles: Role
    is_owner: bool
    wanted: Role
    wanted_owner: bool


@dataclass(frozen=True)
class QuotaState:
    which: Which
    kind: QuotaOf
    limit: int
    used: int


# ------------------------------------------------------------------------------------------------------------- looking


def role_holders(app: App, opened: Opened) -> list[RoleHolder]:
    """The owner on chain and everyone program.toml names, with the powers they have on chain."""
    powers = opened.program.powers
    wanted: dict[Address, Role] = {}
    for role, names in (
        (Role.MINTER, powers.minters),
        (Role.SIGNER, powers.signers),
        (Role.MANAGER, powers.managers),
        (Role.GUARDIAN, powers.guardians),
    ):
        for name in names:
            address = address_of(app, name)
            wanted[address] = wanted.get(address, Role(0)) | role
    owner = address_of(app, powers.owner)
    for address in (owner, opened.membership.owner()):
        wanted.setdefault(address, Role(0))
    holders = []
    for address, roles in wanted.items():
        found = opened.membership.powers_of(address)
        here = key_name(app, address)
        holders.append(RoleHolder(address, here, Role(found.roles), found.is_owner, roles, address == owner))
    return holders


def quotas(opened: Opened) -> list[QuotaState]:
    states = []
    for which, contract in ((Which.CARDS, opened.membership), (Which.STAMPS, opened.stamps)):
        for kind in QuotaOf:
            now = contract.quota_of(kind.kind)
            states.append(QuotaState(which, kind, now.limit, now.used))
    return states


# ------------------------------------------------------------------------------------------------------- whole program


def pause(app: App, opened: Opened, tick: Tick) -> Done | Unsigned:
    """Stop minting, claims, renewals and tier changes of the whole program. GUARDIAN, else the owner."""
    return membership_act(app, opened, "pause the program", Membership.encode_pause(), guardian_of(app, opened), tick)


def unpause(app: App, opened: Opened, tick: Tick) -> Done | Unsigned:
    return membership_act(app, opened, "end the pause", Membership.encode_unpause(), owner_of(opened), tick)


def set_quota(app: App, opened: Opened, which: Which, kind: QuotaOf, limit: int, tick: Tick) -> Done | Unsigned:
    """Lowering is the guardian's or the owner's, raising the owner's alone."""
    contract = opened.membership if which == Which.CARDS else opened.stamps
    current = contract.quota_of(kind.kind).limit
    if current == limit:
        raise ProgramProblem(f"the quota of {which} {kind} is {limit} already; nothing was sent")
    by = guardian_of(app, opened) if limit < current else owner_of(opened)
    data = contract.encode_set_quota(kind.kind, limit)
    return act_on(app, opened, f"set the quota of {which} {kind} to {limit}", contract.address, data, by, tick)


def grant(app: App, opened: Opened, role: Role, to: str, tick: Tick) -> Done | Unsigned:
    address = address_of(app, to)
    if opened.membership.powers_of(address).roles & role:
        raise ProgramProblem(f"{address} is {said(role)} already; nothing was sent")
    what = f"make {address} a {said(role)}"
    return membership_act(app, opened, what, Membership.encode_grant_roles(address, role), owner_of(opened), tick)


def withdraw(app: App, opened: Opened, role: Role, of: str, tick: Tick) -> Done | Unsigned:
    """Take a role away. All its vouchers die with a signer's role."""
    address = address_of(app, of)
    if not opened.membership.powers_of(address).roles & role:
        raise ProgramProblem(f"{address} is not {said(role)}; nothing was sent")
    what = f"take the role {said(role)} from {address}"
    return membership_act(app, opened, what, Membership.encode_revoke_roles(address, role), owner_of(opened), tick)


def request_handover(app: App, opened: Opened, new_owner: str, tick: Tick) -> Done | Unsigned:
    """The new owner asks for the program; valid for 14 days."""
    return membership_act(
        app, opened, "ask for the ownership", Membership.encode_request_ownership_handover(), new_owner, tick
    )


def complete_handover(app: App, opened: Opened, new_owner: str, tick: Tick) -> Done | Unsigned:
    """The owner hands over to an address that has asked. Raises ProgramProblem if it has not, or too long ago."""
    address = address_of(app, new_owner)
    ends_at = opened.membership.handover_expires_at(address)
    if ends_at <= opened.attached.head.timestamp:
        raise ProgramProblem(
            f"{address} has not asked for the ownership in the last 14 days",
            mend=f"first run `nftloyalty handover request {new_owner}`",
        )
    return membership_act(
        app,
        opened,
        f"hand the program over to {address}",
        Membership.encode_complete_ownership_handover(address),
        owner_of(opened),
        tick,
    )


# ------------------------------------------------------------------------------------------------------------- members
#
# By hand: asked for as the HTTP API asks, and then sent and watched here, beside a worker or without any.


def revoke(app: App, opened: Opened, holder: Address, reason: str, tick: Tick) -> Done | Unsigned:
    """Destroy a member's card, or bar a wallet that left; the reason is public. It comes back only by `readmit`."""
    return _by_hand(app, opened, requesting.revocation(opened, holder, reason), tick).outcome


def revoke_stamp(
    app: App, opened: Opened, holder: Address, stamp_type: int, may_return: bool, reason: str, tick: Tick
) -> Done | Unsigned:
    request = requesting.stamp_revocation(opened, holder, stamp_type, may_return=may_return, reason=reason)
    return _by_hand(app, opened, request, tick).outcome


def readmit(app: App, opened: Opened, holder: Address, tier: int, expires_at: int, tick: Tick) -> Done | Unsigned:
    """Bring back a wallet that left or was revoked, with its old member number."""
    return _by_hand(app, opened, requesting.readmission(opened, holder, tier, expires_at), tick).outcome


def set_tier(app: App, opened: Opened, holder: Address, tier: int, tick: Tick) -> Done | Unsigned:
    """Raises ActRefused where nothing is to be done, and ChainProblem if the contract left the card as it was."""
    return _by_hand(app, opened, requesting.tiers(app, opened, [SetTier(holder, tier)]), tick).outcome


@dataclass(frozen=True)
class Renewal:
    """`expires_at` in unix seconds. `begun_at` is set where a former run began it, and this one added no term;
    `act` is the intent's id, None where it is signed elsewhere or can't be doubled."""

    expires_at: int
    outcome: Done | Unsigned
    begun_at: datetime | None
    act: int | None


def renew(
    app: App, opened: Opened, holder: Address, *, until: datetime | None, term: timedelta | None, tick: Tick
) -> Renewal:
    """Set a later expiry: `until`, or `term` from the later of now and the present expiry.

    A repeated `until` changes nothing. The same `term` again is a further term only after `told` was called for the
    former one: a run that was killed before its operator heard of the result is finished by the next, not doubled. If
    somebody else renews in the same moment, nothing is added twice: the contract compares with the expiry we saw.
    """
    begun = _untold(app, opened, holder, term) if term is not None else None
    if begun is not None:
        with _telling_of_a_skip(app, opened, holder, term):
            outcome = _brought(app, opened, begun, tick) if begun.state in UNFINISHED else _ended(begun)
        return Renewal(begun.args["expires_at"], outcome, begun.created_at, begun.id)
    request = requesting.renewals(app, opened, [Renew(holder, until, term)])
    (wish,) = request.wishes
    if term is not None:
        # Until the operator has been told, the same command means the same renewal.
        wish = replace(wish, args={**wish.args, "told": False})
    with _telling_of_a_skip(app, opened, holder, term):
        made = _by_hand(app, opened, replace(request, wishes=(wish,)), tick)
    return Renewal(wish.args["expires_at"], made.outcome, None, made.act if term is not None else None)


def told(app: App, renewal: Renewal) -> None:
    """To be called once the operator has been told how a renewal ended."""
    if renewal.act is not None:
        _mark_told(app, renewal.act)


def _mark_told(app: App, act: int) -> None:
    with begin(app.engine) as tx:
        intents.mark_told(tx, act)


def _untold(app: App, opened: Opened, holder: Address, term: timedelta) -> IntentRow | None:
    """The last renewal of this card, if a command began it with this term, and it is under way or was carried out and
    nobody was told."""
    with read(app.engine) as tx:
        place = requesting.place_of(tx, opened, Wish(Kind.RENEW, holder, {}))
    last = place.there or place.before
    if last is None or last.state in (IntentState.REJECTED, IntentState.CANCELLED):
        return None
    mine = last.args.get("told") is False and last.args.get("term") == int(term.total_seconds())
    return last if mine else None


@contextmanager
def _telling_of_a_skip(app: App, opened: Opened, holder: Address, term: timedelta | None) -> Iterator[None]:
    """Where the contract left the card as it was, the error is how the operator is told."""
    try:
        yield
    except ChainProblem:
        left_out = _untold(app, opened, holder, term) if term is not None else None
        if left_out is not None and left_out.code is not None:
            _mark_told(app, left_out.id)
        raise


@dataclass(frozen=True)
class _Made:
    """How an act by hand ended, and the id of its intent; None where it is signed elsewhere."""

    outcome: Done | Unsigned
    act: int | None


def _by_hand(app: App, opened: Opened, request: Request, tick: Tick) -> _Made:
    """Ask for one act, and wait for its end. The same that was asked for before and is under way is waited for.

    Raises Reverted with the contract's reason, whatever it is, and OutOfFunds before anything is accepted, and
    ActRefused if something else is under way for this member.
    """
    (wish,) = request.wishes
    by = with_role(app, opened, *request.roles)
    call = requesting.call_of(opened, request)
    with read(app.engine) as tx:
        there = requesting.place_of(tx, opened, wish).there
    if there is None:
        refusal = sender.refusal(app.node, by, call.to, call.data)
        if refusal is not None:
            raise refusal
    if key_name(app, by) is None:
        return _Made(Unsigned(by, call.to, call.data), None)
    if there is None:
        check_funds(app, by, call.to, call.data)
    with begin(app.engine) as tx:
        (accepted,) = requesting.accept(app, tx, Prepared(opened, request, by))
    return _Made(_brought(app, opened, accepted.row, tick, ours=accepted.new), accepted.row.id)


def _brought(app: App, opened: Opened, row: IntentRow, tick: Tick, *, ours: bool = True) -> Done:
    """Send an act that was accepted, with the key it was accepted for, until it has ended."""
    with read(app.engine) as tx:
        by = signers.get(tx, row.signer).address
    with telling_what_stays(app, opened.attached.row, opened.program.id, {row.kind}):
        ended = bring(
            app,
            opened.attached,
            signer_of(app, by),
            row.public_id,
            finality_blocks=opened.program.chain.finality_blocks,
            tick=tick,
            ours=ours,
        )
    return _ended(ended)


def _ended(row: IntentRow) -> Done:
    """Raises ChainProblem also if the contract left the card as it was: a batch of one that is left out succeeds."""
    if row.code is not None:
        why = SkipCode(row.code)
        raise ChainProblem(f"nothing was changed: {row.recipient} {why.sentence}", mend=skip_mend(why))
    return done_by(row, row.args["what"])
