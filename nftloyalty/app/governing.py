"""Powers over an open program: roles, quotas, pause, single members' cards, and handing the program over.

Each act names the key that should do it; where the power lies with an address whose key is not here (a Safe, say), the
transaction to sign there is handed back instead.
"""

from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from nftloyalty.app.acting import Done, Unsigned, generations
from nftloyalty.app.context import App
from nftloyalty.app.keyring import address_of, key_name
from nftloyalty.app.opening import Opened
from nftloyalty.app.powers import Tick, act_on, guardian_of, membership_act, owner_of, said, with_role
from nftloyalty.chain.contracts import Membership, QuotaKind, Stamps
from nftloyalty.chain.logs import skipped
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.refusal import skip_mend
from nftloyalty.domain.times import shown_end
from nftloyalty.domain.words import (
    CardWord,
    Flag,
    Role,
    SkipCode,
    card_token_id,
    renewal_expiry,
    renewal_item,
    tier_item,
)
from nftloyalty.errors import ChainProblem, ProgramProblem
from nftloyalty.store import intents, signers, slots
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


def revoke(app: App, opened: Opened, holder: Address, reason: str, tick: Tick) -> Done | Unsigned:
    """Destroy a member's card, or bar a wallet that left; the reason is public. It comes back only by `readmit`."""
    card = card_of(opened, holder)
    if not card.exists and Flag.LEFT not in card.flags:
        raise ProgramProblem(f"{holder} holds no card; nothing was sent")
    return membership_act(
        app,
        opened,
        f"revoke the card of {holder}" if card.exists else f"bar {holder}, who left",
        Membership.encode_revoke(holder, reason),
        with_role(app, opened, Role.MANAGER),
        tick,
    )


def revoke_stamp(
    app: App, opened: Opened, holder: Address, stamp_type: int, may_return: bool, reason: str, tick: Tick
) -> Done | Unsigned:
    data = Stamps.encode_revoke_stamp(holder, stamp_type, may_return, reason)
    return act_on(
        app,
        opened,
        f"revoke the stamp {opened.program.stamp_id(stamp_type)} of {holder}",
        opened.stamps.address,
        data,
        with_role(app, opened, Role.MANAGER),
        tick,
    )


def readmit(app: App, opened: Opened, holder: Address, tier: int, expires_at: int, tick: Tick) -> Done | Unsigned:
    """Bring back a wallet that left or was revoked, with its old member number."""
    card = card_of(opened, holder)
    if not card.flags & (Flag.LEFT | Flag.REVOKED):
        raise ProgramProblem(
            f"{holder} {'holds a card' if card.exists else 'has neither left nor been revoked'}; nothing was sent",
            mend="" if card.exists else "mint it with `nftloyalty mint`",
        )
    by = with_role(app, opened, Role.MANAGER, Role.MINTER)
    return membership_act(
        app, opened, f"readmit {holder}", Membership.encode_readmit(holder, tier, expires_at), by, tick
    )


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
    key = None
    if term is not None:
        key = f"{opened.program.id}|{opened.row.id}|renew|{holder}|{int(term.total_seconds())}"
        begun = _untold(app, opened, key)
        if begun is not None:
            return _go_on(app, opened, holder, key, begun, tick)
    card = card_of(opened, holder)
    if not card.exists:
        raise ProgramProblem(f"{holder} holds no card; nothing was sent")
    if card.expires_at == 0:
        raise ProgramProblem(f"the card of {holder} is for life; nothing was sent")
    now = int(max(app.now().timestamp(), opened.attached.head.timestamp))
    new = (
        int(until.timestamp())
        if until is not None
        else max(now, card.expires_at) + int((term or timedelta()).total_seconds())
    )
    if new <= max(now, card.expires_at):
        raise ProgramProblem(
            f"the card of {holder} is valid {shown_end(card.expires_at)}, which is not earlier; nothing was sent"
        )
    what = f"renew the card of {holder}: valid {shown_end(new)}"
    data = Membership.encode_renew_batch([renewal_item(holder, new, card.expires_at)])
    by = with_role(app, opened, Role.MANAGER)
    outcome = act_on(app, opened, what, opened.membership.address, data, by, tick, key=key)
    act = _last(app, opened, key) if key is not None and isinstance(outcome, Done) else None
    return _checked(app, opened, holder, Renewal(new, outcome, None, act.id if act is not None else None))


def told(app: App, renewal: Renewal) -> None:
    """To be called once the operator has been told how a renewal ended."""
    if renewal.act is not None:
        with begin(app.engine) as tx:
            intents.mark_told(tx, renewal.act)


def _untold(app: App, opened: Opened, key: str) -> IntentRow | None:
    """The last renewal of this key, if it is under way or done and nobody was told."""
    last = _last(app, opened, key)
    if last is None or last.args.get("told") or last.state in (IntentState.REJECTED, IntentState.CANCELLED):
        return None
    if last.slot is not None:
        with read(app.engine) as tx:
            if slots.get(tx, last.slot).succeeded is False:
                return None
    return last


def _last(app: App, opened: Opened, key: str) -> IntentRow | None:
    with read(app.engine) as tx:
        return next(iter(generations(tx, opened.attached.row, key)[-1:]), None)


def _go_on(app: App, opened: Opened, holder: Address, key: str, begun: IntentRow, tick: Tick) -> Renewal:
    """Finish, or find finished, what a former run began: with its bytes, whatever the clock says now."""
    data = bytes.fromhex(begun.args["data"][2:])
    expires_at = renewal_expiry(int.from_bytes(data[-32:], "big"))
    outcome: Done | Unsigned
    if begun.state in (IntentState.INCLUDED, IntentState.FINAL) and begun.tx_hash and begun.block_number is not None:
        outcome = Done(begun.tx_hash, begun.block_number, begun.state is IntentState.FINAL)
    else:
        with read(app.engine) as tx:
            by = signers.get(tx, begun.signer).address
        outcome = act_on(app, opened, begun.args["what"], begun.args["to"], data, by, tick, key=key)
    return _checked(app, opened, holder, Renewal(expires_at, outcome, begun.created_at, begun.id))


def _checked(app: App, opened: Opened, holder: Address, renewal: Renewal) -> Renewal:
    try:
        _check_not_skipped(app, opened, holder, renewal.outcome)
    except ChainProblem:
        # The error tells how it ended.
        told(app, renewal)
        raise
    return renewal


def set_tier(app: App, opened: Opened, holder: Address, tier: int, tick: Tick) -> Done | Unsigned:
    """Raises ProgramProblem where nothing is to be done, and ChainProblem if the contract left the card as it was."""
    card = card_of(opened, holder)
    if not card.exists:
        raise ProgramProblem(f"{holder} holds no card; nothing was sent")
    name = opened.program.tier_name(tier)
    if card.tier == tier:
        raise ProgramProblem(f"{holder} is {name} already; nothing was sent")
    outcome = membership_act(
        app,
        opened,
        f"make {holder} {name}",
        Membership.encode_set_tier_batch([tier_item(holder, tier)]),
        with_role(app, opened, Role.MANAGER),
        tick,
    )
    _check_not_skipped(app, opened, holder, outcome)
    return outcome


def _check_not_skipped(app: App, opened: Opened, holder: Address, outcome: Done | Unsigned) -> None:
    """A batch of one that is left out succeeds all the same: only its event tells."""
    if not isinstance(outcome, Done):
        return
    (receipt,) = app.node.receipts([outcome.tx_hash])
    code = skipped(receipt, opened.membership.address).get(card_token_id(holder)) if receipt is not None else None
    if code is not None:
        why = SkipCode(code)
        raise ChainProblem(f"nothing was changed: {holder} {why.sentence}", mend=skip_mend(why))


def card_of(opened: Opened, holder: Address) -> CardWord:
    return opened.membership.words_of([holder])[0]
