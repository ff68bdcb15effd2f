"""What must lie on a chain before a program can be opened there, and where it lies.

The four contracts that all programs share are put on chain by the CREATE2 deployer that most chains have already,
with a fixed salt: their addresses follow from their code alone, so they are the same on every chain, whoever pays, and
a step that was done is recognised by looking. Nothing here sends: a plan lists transactions for somebody who does.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak

from nftloyalty.chain.abi import artifact, create2_address
from nftloyalty.chain.client import Node
from nftloyalty.chain.contracts import CardGrant, Factory, Opening, TypeBlock
from nftloyalty.domain.address import Address, checksummed
from nftloyalty.domain.program import Program, Quotas, StampType
from nftloyalty.domain.program_file import NO_CAP
from nftloyalty.domain.words import Role
from nftloyalty.errors import ChainProblem

CREATE2_DEPLOYER: Address = "0x4e59b44847b379578588920cA78FbF26c0B4956C"
CREATE2_DEPLOYER_CODE = bytes.fromhex(
    "7fffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffe03601600081602082378035828234f58015156039578182fd"
    "5b8082525050506014600cf3"
)
# The transaction its author published (github.com/Arachnid/deterministic-deployment-proxy). Nobody knows the key of its
# sender: the signature was made up, and the sender is whoever that signature recovers to. It is valid on every chain.
CREATE2_DEPLOYER_TX = bytes.fromhex(
    "f8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf31ba0222222222222222222222222"
    "2222222222222222222222222222222222222222a02222222222222222222222222222222222222222222222222222222222222222"
)
CREATE2_DEPLOYER_SENDER: Address = "0x3fAB184622Dc19b6109349B94811493BF2a45362"
CREATE2_DEPLOYER_COST_WEI = 100_000 * 100 * 10**9

SALT = keccak(text="nftloyalty")


@dataclass(frozen=True, slots=True)
class ResolvedPowers:
    """The powers of program.toml with names of keys replaced by addresses."""

    opener: Address
    owner: Address
    minters: tuple[Address, ...]
    signers: tuple[Address, ...]
    managers: tuple[Address, ...]
    guardians: tuple[Address, ...]

    def roles(self) -> dict[Address, Role]:
        """All roles of each account, in the order the accounts are first named."""
        found: dict[Address, Role] = {}
        for role, accounts in (
            (Role.MINTER, self.minters),
            (Role.SIGNER, self.signers),
            (Role.MANAGER, self.managers),
            (Role.GUARDIAN, self.guardians),
        ):
            for account in accounts:
                found[account] = found.get(account, Role(0)) | role
        return found


@dataclass(frozen=True, slots=True)
class Step:
    """One transaction of a plan. Steps are done in order, and a `present` one needs none.

    `address` is where code lies afterwards (None for a payment). `raw` is a transaction that somebody else signed and
    that is handed to the node as it is; `to`, `data` and `value_wei` are for the payer's own. `gas` is what it will
    use, counted from the code and not from the chain, good to a few percent.
    """

    name: str
    to: Address | None
    data: bytes
    value_wei: int
    address: Address | None
    present: bool
    gas: int
    raw: bytes | None = None


@dataclass(frozen=True, slots=True)
class DeploymentPlan:
    """What is still to be done, and where everything will be.

    `opened` is the program's membership contract if the program is open. `portable` tells whether the addresses are the
    same on every chain: they are unless the CREATE2 deployer can't be had here.
    """

    steps: tuple[Step, ...]
    factory: Address
    membership: Address
    stamps: Address
    opened: Address | None
    open_data: bytes
    open_gas: int
    portable: bool

    @property
    def missing(self) -> tuple[Step, ...]:
        return tuple(step for step in self.steps if not step.present)


# ---------------------------------------------------------------------------------------------------------------- plan


def plan(
    node: Node, program: Program, powers: ResolvedPowers, created: Mapping[str, Address] | None = None
) -> DeploymentPlan:
    """What opening this program on this chain takes, by looking at the chain.

    Where the node will not take the CREATE2 deployer's transaction, give `created`: the shared contracts are then made
    by the opener's plain transactions, and it holds the addresses of those made so far, by contract name. In that case
    only the first missing step is certain; plan again after each. Raises ChainProblem if foreign code lies at one of
    the addresses.
    """
    steps = _shared(node) if created is None else _plain(node, powers.opener, created)
    by_name = {step.name: step for step in steps}
    factory = _place(by_name["LoyaltyFactory"])
    implementations = _place(by_name["LoyaltyMembership"]), _place(by_name["LoyaltyStamps"])
    opening = opening_of(program, powers)
    opened = None
    if by_name["LoyaltyFactory"].present:
        opened = Factory(node, factory).program_of(powers.opener, opening.salt)
    membership, stamps = predict(factory, implementations, powers.opener, opening)
    return DeploymentPlan(
        steps=steps,
        factory=factory,
        membership=membership,
        stamps=stamps,
        opened=opened,
        open_data=Factory.encode_open(opening),
        open_gas=_open_gas(opening),
        portable=created is None,
    )


def predict(
    factory: Address, implementations: tuple[Address, Address], opener: Address, opening: Opening
) -> tuple[Address, Address]:
    """Addresses of membership and stamps, as the factory computes them, for a factory that need not be there yet."""
    key = keccak(abi_encode(["address", "bytes32"], [opener, opening.salt]))
    terms = b"".join(
        (
            bytes.fromhex(factory[2:]),
            key,
            opening.recovery_delay_seconds.to_bytes(4, "big"),
            opening.move_cooldown_seconds.to_bytes(4, "big"),
            opening.background.to_bytes(3, "big"),
            opening.ink.to_bytes(3, "big"),
            len(opening.name.encode()).to_bytes(1, "big"),
            opening.name.encode(),
            opening.symbol.encode(),
        )
    )
    membership = create2_address(factory, key, _clone_code(implementations[0], terms))
    season_salt = keccak(abi_encode(["address", "uint256"], [membership, 0]))
    stamps_terms = bytes.fromhex(membership[2:]) + b"\x00"
    return membership, create2_address(factory, season_salt, _clone_code(implementations[1], stamps_terms))


def opening_of(program: Program, powers: ResolvedPowers) -> Opening:
    """What the factory is told to open."""
    return Opening(
        salt=program.salt(),
        name=program.name,
        symbol=program.symbol,
        background=program.look.background,
        ink=program.look.ink,
        recovery_delay_seconds=program.recovery_delay_seconds,
        move_cooldown_seconds=program.move_cooldown_seconds,
        owner=powers.owner,
        cap=cap_on_chain(program.cap),
        card_quotas=three(program.card_quotas),
        stamp_quotas=three(program.stamp_quotas),
        grants=tuple(CardGrant(account, roles) for account, roles in powers.roles().items()),
        tiers=tuple(tier.name for tier in program.tiers),
        types=tuple(type_block(stamp) for stamp in program.stamps),
        base_uri=program.base_uri,
        contract_uri=program.contract_uri,
        stamps_base_uri=program.stamps_base_uri,
    )


def open_calldata(program: Program, powers: ResolvedPowers) -> bytes:
    """Calldata of the transaction, sent by the opener to the factory, that opens the program."""
    return Factory.encode_open(opening_of(program, powers))


def type_block(stamp: StampType) -> TypeBlock:
    """A stamp type or stamp card of program.toml as the stamp contract defines it."""
    flags = TypeBlock.MEMBERS_ONLY if stamp.members_only or stamp.min_tier else 0
    return TypeBlock(
        first=stamp.first,
        count=stamp.size,
        cap=cap_on_chain(stamp.cap),
        opens=seconds(stamp.opens),
        closes=seconds(stamp.closes),
        flags=flags | (TypeBlock.REDEEMABLE if stamp.redeemable else 0),
        min_tier=stamp.min_tier,
        name=stamp.name,
    )


def _shared(node: Node) -> tuple[Step, ...]:
    """The steps through the CREATE2 deployer."""
    found = node.code(CREATE2_DEPLOYER)
    if found and found != CREATE2_DEPLOYER_CODE:
        raise ChainProblem(f"at {CREATE2_DEPLOYER}, the place of the CREATE2 deployer, lies other code on this chain")
    there = bool(found)
    # Only what is missing is paid: the sender of the published transaction can pay for nothing else.
    owed = 0 if there else max(0, CREATE2_DEPLOYER_COST_WEI - node.balance(CREATE2_DEPLOYER_SENDER))
    steps = [
        Step("payment for the CREATE2 deployer", CREATE2_DEPLOYER_SENDER, b"", owed, None, owed == 0, 21_000),
        Step("CREATE2 deployer", None, b"", 0, CREATE2_DEPLOYER, there, 68_000, raw=CREATE2_DEPLOYER_TX),
    ]
    places: dict[str, Address] = {}
    for name, needs in _CONSTRUCTORS.items():
        initcode = artifact(name).initcode(*(places[need] for need in needs))
        address = places[name] = create2_address(CREATE2_DEPLOYER, SALT, initcode)
        data = SALT + initcode
        gas = _creation_gas(name, data)
        steps.append(Step(name, CREATE2_DEPLOYER, data, 0, address, _lies(node, name, address), gas))
    return tuple(steps)


def _plain(node: Node, opener: Address, created: Mapping[str, Address]) -> tuple[Step, ...]:
    """The steps by plain transactions of the opener. Addresses of what is missing follow from its next nonces."""
    steps: list[Step] = []
    places: dict[str, Address] = {}
    nonce = node.nonce(opener)
    for name, needs in _CONSTRUCTORS.items():
        initcode = artifact(name).initcode(*(places[need] for need in needs))
        present = name in created and _lies(node, name, created[name])
        places[name] = created[name] if present else create_address(opener, nonce)
        nonce += 0 if present else 1
        steps.append(Step(name, None, initcode, 0, places[name], present, _creation_gas(name, initcode)))
    return tuple(steps)


# Each contract with the ones its constructor is told, in the order they are made.
_CONSTRUCTORS: dict[str, tuple[str, ...]] = {
    "LoyaltyRenderer": (),
    "LoyaltyMembership": ("LoyaltyRenderer",),
    "LoyaltyStamps": ("LoyaltyRenderer",),
    "LoyaltyFactory": ("LoyaltyMembership", "LoyaltyStamps"),
}


def create_address(sender: Address, nonce: int) -> Address:
    """Where a plain transaction puts a contract: the hash of the RLP list of sender and nonce."""
    number = nonce.to_bytes((nonce.bit_length() + 7) // 8, "big")
    item = number if len(number) == 1 and nonce < 0x80 else bytes([0x80 + len(number)]) + number
    body = b"\x94" + bytes.fromhex(sender[2:]) + item
    return checksummed(keccak(bytes([0xC0 + len(body)]) + body)[12:].hex())


def _lies(node: Node, name: str, address: Address) -> bool:
    found = node.code(address)
    if found and not artifact(name).matches(found):
        raise ChainProblem(f"at {address}, the place of {name}, lies other code on this chain")
    return bool(found)


def _place(step: Step) -> Address:
    if step.address is None:
        raise LookupError(f"the step {step.name} puts no code anywhere")
    return step.address


def _clone_code(implementation: Address, terms: bytes) -> bytes:
    """Creation code of Solady's minimal proxy with immutable arguments (LibClone.initCode)."""
    return b"".join(
        (
            b"\x61",
            (0x2D + len(terms)).to_bytes(2, "big"),
            bytes.fromhex("3d81600a3d39f3363d3d373d3d3d363d73"),
            bytes.fromhex(implementation[2:]),
            bytes.fromhex("5af43d82803e903d91602b57fd5bf3"),
            terms,
        )
    )


def _creation_gas(name: str, data: bytes) -> int:
    """Gas of the transaction that creates a shared contract: rules of the yellow paper, EIP-2028 and EIP-3860."""
    made = artifact(name)
    words = (len(data) + 31) // 32
    # 25,000: running the deployer and the constructor, which writes at most one slot.
    gas = 21_000 + 32_000 + 25_000 + _data_gas(data) + 200 * len(made.deployed_code) + (2 + 6 + 3) * words
    # Creation code that is far longer than what it leaves carries a second contract, which the constructor creates.
    carried = len(made.code) - len(made.deployed_code)
    return gas + (32_000 + 200 * carried if carried > 1_000 else 0)


def _open_gas(opening: Opening) -> int:
    """Gas of the transaction that opens the program. The constants are measured; a test holds them against a chain."""
    gas = 21_000 + _data_gas(Factory.encode_open(opening)) + 254_400
    # Name and symbol become part of the clone's code.
    gas += 200 * len((opening.name + opening.symbol).encode())
    gas += 25_600 * len(opening.grants)
    gas += _text_gas("\n".join(opening.tiers)) + sum(2_800 + 150 * len(name.encode()) for name in opening.tiers)
    for block in opening.types:
        gas += 29_100 + 22_400 * (block.count - 1) + _text_gas(block.name)
    for uri in (opening.base_uri, opening.contract_uri, opening.stamps_base_uri):
        gas += _text_gas(uri) + 2_200 * bool(uri)
    return gas


def _text_gas(text: str) -> int:
    """A stored text takes one slot if it has at most 31 bytes, else one for its length and one for each 32 bytes."""
    size = len(text.encode())
    slots = 0 if size == 0 else 1 if size < 32 else 1 + (size + 31) // 32
    return 22_300 * slots


def cap_on_chain(cap: int | None) -> int:
    """A cap of program.toml as the contracts take it."""
    return NO_CAP if cap is None else cap


def three(quotas: Quotas) -> tuple[int, int, int]:
    """In the order of QuotaKind."""
    return quotas.mint, quotas.claim, quotas.manage


def seconds(moment: datetime | None) -> int:
    """Unix seconds of `opens` or `closes`, 0 = none."""
    return 0 if moment is None else int(moment.timestamp())


def _data_gas(data: bytes) -> int:
    return 16 * len(data) - 12 * data.count(0)
