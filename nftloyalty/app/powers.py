"""Who carries out an act over a program, and how: by a key that is here, else as a transaction to sign elsewhere."""

from collections.abc import Callable, Sequence
from contextlib import suppress

from eth_utils.crypto import keccak

from nftloyalty.app.acting import Act, Done, Unsigned, perform
from nftloyalty.app.calls import ACTS
from nftloyalty.app.context import App
from nftloyalty.app.keyring import address_of, key_name, known_addresses, names_here
from nftloyalty.app.opening import Opened
from nftloyalty.app.sharing import is_served
from nftloyalty.app.waiting import telling_what_stays
from nftloyalty.domain.address import Address
from nftloyalty.domain.program import Program
from nftloyalty.domain.words import Role
from nftloyalty.errors import KeyProblem, ProgramProblem, SignedElsewhere
from nftloyalty.store import signers
from nftloyalty.store.engine import read

Tick = Callable[[], None]


def membership_act(app: App, opened: Opened, what: str, data: bytes, by: str, tick: Tick) -> Done | Unsigned:
    """A call of the membership contract."""
    return act_on(app, opened, what, opened.membership.address, data, by, tick)


def act_on(app: App, opened: Opened, what: str, to: Address, data: bytes, by: str, tick: Tick) -> Done | Unsigned:
    digest = keccak(bytes.fromhex(to[2:]) + data).hex()[:32]
    act = Act(what=what, key=f"{opened.program.id}|{opened.row.id}|act|{digest}", to=to, data=data)
    with telling_what_stays(app, opened.attached.row, opened.program.id, ACTS):
        return perform(
            app,
            opened.attached,
            act,
            by=by,
            program=opened.row.id,
            finality_blocks=opened.program.chain.finality_blocks,
            tick=tick,
        )


def owners_act(app: App, opened: Opened, what: str, to: Address, data: bytes, tick: Tick) -> Done | Unsigned:
    """A call by the owner of the program."""
    return act_on(app, opened, what, to, data, owner_of(opened), tick)


def owner_of(opened: Opened) -> str:
    """The owner as the chain has it, whatever program.toml says."""
    return opened.membership.owner()


def guardian_of(app: App, opened: Opened) -> str:
    """Who may act in an emergency: a key that is here wins, also one that program.toml does not name, and among those
    one that can pay. Only where none is here, it is somebody else's to sign."""
    named = [*opened.program.powers.guardians, *app.keystore.names(), owner_of(opened)]
    able: dict[Address, None] = {}
    for name in named:
        # program.toml may name keys that lie elsewhere.
        with suppress(KeyProblem):
            address = address_of(app, name)
            powers = opened.membership.powers_of(address)
            if powers.is_owner or powers.roles & Role.GUARDIAN:
                able.setdefault(address)
    here = [address for address in able if key_name(app, address) is not None]
    here.sort(key=lambda address: app.node.balance(address) == 0)
    return (here or list(able))[0]


def with_role(app: App, opened: Opened, *roles: Role) -> Address:
    """The first address of program.toml that has one of these roles on chain, keys that are here first."""
    return _able(app, opened, roles)[0]


def who_sends(app: App, opened: Opened, *roles: Role) -> Address:
    """As `with_role`, for what is sent later by a worker: somebody whose key is here or for whom a worker is sending
    now, wherever its key lies. Raises ProgramProblem, naming who must sign, where nobody would ever send it."""
    able = _able(app, opened, roles)
    with read(app.engine) as tx:
        rows = {row.address: row for row in signers.list_all(tx, opened.attached.row)}
    for each in able:
        if key_name(app, each) is not None or (each in rows and is_served(app, rows[each])):
            return each
    raise SignedElsewhere(
        f"this is for {able[0]} to sign, whose key is not here, and no worker sends for it; nothing was accepted",
        mend="run the command on a machine of the program: it prints the transaction to sign there",
    )


def sending_keys(app: App, program: Program) -> tuple[list[str], list[str]]:
    """The names of the minters' and managers' keys that are here, for a worker to send with; and the managers of
    program.toml whose keys are not."""
    here = names_here(app, [*program.powers.minters, *program.powers.managers])
    elsewhere = [each for each in program.powers.managers if not names_here(app, [each])]
    return list(dict.fromkeys(here)), elsewhere


def _able(app: App, opened: Opened, roles: Sequence[Role]) -> list[Address]:
    """Everyone of program.toml who has one of these roles on chain, keys that are here first. Raises ProgramProblem if
    nobody has."""
    powers = opened.program.powers
    named = {
        Role.MINTER: powers.minters,
        Role.SIGNER: powers.signers,
        Role.MANAGER: powers.managers,
        Role.GUARDIAN: powers.guardians,
    }
    names = [name for role in roles for name in named[role]]
    # Of a key that lies elsewhere, not even the address may be known here.
    candidates = known_addresses(app, dict.fromkeys(names))
    able = [each for each in candidates if any(opened.membership.powers_of(each).roles & role for role in roles)]
    able.sort(key=lambda each: key_name(app, each) is None)
    if not able:
        for name in names:
            address_of(app, name)
        wanted = " or ".join(said(role) for role in roles)
        raise ProgramProblem(
            f"nobody named in program.toml is {wanted} on chain",
            mend=f"name one in [powers] and run `nftloyalty roles grant {said(roles[0])} <key or address>`",
        )
    return able


def said(role: Role) -> str:
    """A role's name for people."""
    return str(role.name).lower()
