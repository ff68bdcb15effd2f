"""Powers over an open program: roles, quotas, pause, single members' cards, and handing the program over.

Each act names the key that should do it; where the power lies with an address whose key is not here (a Safe, say), the
transaction to sign there is handed back instead.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from eth_utils.crypto import keccak

from nftloyalty.app.acting import Act, Done, Unsigned, perform
from nftloyalty.app.context import App
from nftloyalty.app.keyring import address_of, key_name
from nftloyalty.app.opening import Opened
from nftloyalty.app.verifying import at
from nftloyalty.chain.contracts import Membership, QuotaKind, Stamps
from nftloyalty.domain.address import Address
from nftloyalty.domain.words import CardWord, Flag, Role, SkipCode, renewal_item, tier_item
from nftloyalty.errors import ChainProblem, KeyProblem, ProgramProblem

Tick = Callable[[], None]


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
    return _membership_act(app, opened, "pause the program", Membership.encode_pause(), _guardian(app, opened), tick)


def unpause(app: App, opened: Opened, tick: Tick) -> Done | Unsigned:
    return _membership_act(app, opened, "end the pause", Membership.encode_unpause(), _owner(opened), tick)


def set_quota(app: App, opened: Opened, which: Which, kind: QuotaOf, limit: int, tick: Tick) -> Done | Unsigned:
    """Lowering is the guardian's or the owner's, raising the owner's alone."""
    contract = opened.membership if which == Which.CARDS else opened.stamps
    current = contract.quota_of(kind.kind).limit
    if current == limit:
        raise ProgramProblem(f"the quota of {which} {kind} is {limit} already; nothing was sent")
    by = _guardian(app, opened) if limit < current else _owner(opened)
    data = contract.encode_set_quota(kind.kind, limit)
    return _act(app, opened, f"set the quota of {which} {kind} to {limit}", contract.address, data, by, tick)


def grant(app: App, opened: Opened, role: Role, to: str, tick: Tick) -> Done | Unsigned:
    address = address_of(app, to)
    if opened.membership.powers_of(address).roles & role:
        raise ProgramProblem(f"{address} is {_said(role)} already; nothing was sent")
    what = f"make {address} a {_said(role)}"
    return _membership_act(app, opened, what, Membership.encode_grant_roles(address, role), _owner(opened), tick)


def withdraw(app: App, opened: Opened, role: Role, of: str, tick: Tick) -> Done | Unsigned:
    """Take a role away. All its vouchers die with a signer's role."""
    address = address_of(app, of)
    if not opened.membership.powers_of(address).roles & role:
        raise ProgramProblem(f"{address} is not {_said(role)}; nothing was sent")
    what = f"take the role {_said(role)} from {address}"
    return _membership_act(app, opened, what, Membership.encode_revoke_roles(address, role), _owner(opened), tick)


def request_handover(app: App, opened: Opened, new_owner: str, tick: Tick) -> Done | Unsigned:
    """The new owner asks for the program; valid for 14 days."""
    return _membership_act(
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
    return _membership_act(
        app,
        opened,
        f"hand the program over to {address}",
        Membership.encode_complete_ownership_handover(address),
        _owner(opened),
        tick,
    )


# ------------------------------------------------------------------------------------------------------------- members


def revoke(app: App, opened: Opened, holder: Address, reason: str, tick: Tick) -> Done | Unsigned:
    """Destroy a member's card; the reason is public. It comes back only by `readmit`."""
    if not card_of(opened, holder).exists:
        raise ProgramProblem(f"{holder} holds no card; nothing was sent")
    return _membership_act(
        app,
        opened,
        f"revoke the card of {holder}",
        Membership.encode_revoke(holder, reason),
        _with_role(app, opened, Role.MANAGER),
        tick,
    )


def revoke_stamp(
    app: App, opened: Opened, holder: Address, stamp_type: int, may_return: bool, reason: str, tick: Tick
) -> Done | Unsigned:
    data = Stamps.encode_revoke_stamp(holder, stamp_type, may_return, reason)
    return _act(
        app,
        opened,
        f"revoke the stamp {opened.program.stamp_id(stamp_type)} of {holder}",
        opened.stamps.address,
        data,
        _with_role(app, opened, Role.MANAGER),
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
    by = _with_role(app, opened, Role.MANAGER, Role.MINTER)
    return _membership_act(
        app, opened, f"readmit {holder}", Membership.encode_readmit(holder, tier, expires_at), by, tick
    )


def renew(
    app: App, opened: Opened, holder: Address, *, until: datetime | None, term: timedelta | None, tick: Tick
) -> tuple[datetime, Done | Unsigned]:
    """Set a later expiry: `until`, or `term` from the later of now and the present expiry.

    A repeated `until` changes nothing. If somebody else renews in the same moment, nothing is added twice: the contract
    compares with the expiry we saw.
    """
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
            f"the card of {holder} is valid until {_said_time(card.expires_at)}, which is not earlier; nothing was sent"
        )
    done = _membership_act(
        app,
        opened,
        f"renew the card of {holder} until {_said_time(new)}",
        Membership.encode_renew_batch([renewal_item(holder, new, card.expires_at)]),
        _with_role(app, opened, Role.MANAGER),
        tick,
    )
    if isinstance(done, Done) and card_of(opened, holder).expires_at != new:
        raise ChainProblem(f"the card of {holder} {SkipCode.CONFLICT.sentence}", mend="look at it and run this again")
    return at(new), done


def set_tier(app: App, opened: Opened, holder: Address, tier: int, tick: Tick) -> Done | Unsigned:
    card = card_of(opened, holder)
    if not card.exists:
        raise ProgramProblem(f"{holder} holds no card; nothing was sent")
    name = opened.program.tier_name(tier)
    if card.tier == tier:
        raise ProgramProblem(f"{holder} is {name} already; nothing was sent")
    return _membership_act(
        app,
        opened,
        f"make {holder} {name}",
        Membership.encode_set_tier_batch([tier_item(holder, tier)]),
        _with_role(app, opened, Role.MANAGER),
        tick,
    )


def card_of(opened: Opened, holder: Address) -> CardWord:
    return opened.membership.words_of([holder])[0]


# -------------------------------------------------------------------------------------------------------------- inside


def _membership_act(app: App, opened: Opened, what: str, data: bytes, by: str, tick: Tick) -> Done | Unsigned:
    return _act(app, opened, what, opened.membership.address, data, by, tick)


def _act(app: App, opened: Opened, what: str, to: Address, data: bytes, by: str, tick: Tick) -> Done | Unsigned:
    digest = keccak(bytes.fromhex(to[2:]) + data).hex()[:32]
    return perform(
        app,
        opened.attached,
        Act(what=what, key=f"{opened.program.id}|{opened.row.id}|act|{digest}", to=to, data=data),
        by=by,
        program=opened.row.id,
        finality_blocks=opened.program.chain.finality_blocks,
        tick=tick,
    )


def _owner(opened: Opened) -> str:
    """The owner as the chain has it, whatever program.toml says."""
    return opened.membership.owner()


def _guardian(app: App, opened: Opened) -> str:
    """A guardian or the owner, whoever's key is at hand: in an emergency that is what counts."""
    owner = _owner(opened)
    try:
        guardian = _with_role(app, opened, Role.GUARDIAN)
    except (ProgramProblem, KeyProblem):
        return owner
    return owner if key_name(app, guardian) is None and key_name(app, owner) is not None else guardian


def _with_role(app: App, opened: Opened, *roles: Role) -> str:
    """The first address of program.toml that has one of these roles on chain, keys that are here first."""
    powers = opened.program.powers
    names = {
        Role.MINTER: powers.minters,
        Role.SIGNER: powers.signers,
        Role.MANAGER: powers.managers,
        Role.GUARDIAN: powers.guardians,
    }
    candidates = [address_of(app, name) for role in roles for name in names[role]]
    able = [each for each in candidates if any(opened.membership.powers_of(each).roles & role for role in roles)]
    able.sort(key=lambda each: key_name(app, each) is None)
    if not able:
        said = " or ".join(_said(role) for role in roles)
        raise ProgramProblem(
            f"nobody named in program.toml is {said} on chain",
            mend=f"name one in [powers] and run `nftloyalty roles grant {_said(roles[0])} <key or address>`",
        )
    return able[0]


def _said(role: Role) -> str:
    return str(role.name).lower()


def _said_time(timestamp: int) -> str:
    return f"{at(timestamp):%Y-%m-%d %H:%M} UTC"
