"""An open program's terms on chain, where program.toml says otherwise, and the owner's calls that bring them together.

What is fixed at the opening, or by what has happened since, has no such call: the difference says why.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import zip_longest
from typing import Any

from nftloyalty.chain.abi import Function, function, printable
from nftloyalty.chain.client import BlockId, Node
from nftloyalty.chain.contracts import FixedTerms, Membership, QuotaKind, Stamps, TypeBlock, TypeNow
from nftloyalty.chain.deployment import ResolvedPowers, cap_on_chain, three, type_block
from nftloyalty.domain.address import Address
from nftloyalty.domain.program import Program, Quotas, StampType
from nftloyalty.domain.program_file import DAY_SECONDS, NO_CAP
from nftloyalty.domain.times import at
from nftloyalty.domain.words import STAMP_TYPES, Role
from nftloyalty.errors import Reverted

_NEVER = "can never change"
_FROZEN = "names and metadata were frozen for good"
_TIERS_FIRST = "put the tiers back first: a stamp is for members of a tier by its number"


@dataclass(frozen=True, slots=True)
class OnChainProgram:
    """What program.toml can say of an open program, as of one block. `roles` are those of the accounts asked about,
    `living` counts the cards there are."""

    membership: Address
    stamps: Address
    name: str
    symbol: str
    fixed: FixedTerms
    owner: Address
    roles: Mapping[Address, Role]
    cap: int
    living: int
    card_quotas: Quotas
    stamp_quotas: Quotas
    tiers: tuple[str, ...]
    types: Mapping[int, TypeNow]
    base_uri: str
    contract_uri: str
    stamps_base_uri: str
    frozen: bool
    stamps_frozen: bool


@dataclass(frozen=True, slots=True)
class Change:
    """One call by the owner. `takes` = it takes a power away, which is done when all others have been given."""

    what: str
    to: Address
    data: bytes
    takes: bool = False


@dataclass(frozen=True, slots=True)
class Difference:
    """Where program.toml and the chain disagree: the key and both values in `line`, as a sentence.

    `changes` are the calls that bring the chain to what the file says; where there are none, `note` says why not.
    """

    line: str
    note: str = ""
    changes: tuple[Change, ...] = ()

    def __str__(self) -> str:
        return self.line + (f" ({self.note})" if self.note else "")


def changes_of(differences: Iterable[Difference]) -> list[Change]:
    """Every call that the differences ask for, once, in the order to make them."""
    found = dict.fromkeys(change for each in differences for change in each.changes)
    return sorted(found, key=lambda change: change.takes)


def read_state(
    node: Node,
    membership: Address,
    powers: ResolvedPowers,
    block: BlockId | None = None,
    *,
    others: Iterable[Address] = (),
) -> OnChainProgram:
    """An open program as of one block (the head, if none is given), in a few messages.

    The chain can't list who has a role: it is asked about the accounts of `powers` and about `others`.
    """
    where = node.head().hash if block is None else block
    accounts = list(dict.fromkeys((*powers.roles(), *others)))
    name, symbol, fixed, owner, cap, living, tiers, base_uri, contract_uri, frozen, stamps, *rest = _ask(
        node,
        where,
        membership,
        "LoyaltyMembership",
        [
            ("name",),
            ("symbol",),
            ("fixedTerms",),
            ("owner",),
            ("cap",),
            ("totalSupply",),
            ("tierNames",),
            ("baseURI",),
            ("contractURI",),
            ("metadataFrozen",),
            ("stampsOfSeason", 0),
            *(("quotaOf", int(kind)) for kind in QuotaKind),
            *(("rolesOf", account) for account in accounts),
        ],
    )
    quotas, roles = rest[: len(QuotaKind)], rest[len(QuotaKind) :]
    season = Stamps(node, stamps[0])
    stamps_base_uri, stamps_frozen, *stamp_quotas = _ask(
        node,
        where,
        season.address,
        "LoyaltyStamps",
        [("baseURI",), ("metadataFrozen",), *(("quotaOf", int(kind)) for kind in QuotaKind)],
    )
    types = season.types_of(range(1, STAMP_TYPES + 1), where)
    return OnChainProgram(
        membership=membership,
        stamps=season.address,
        name=name[0],
        symbol=symbol[0],
        fixed=FixedTerms(*fixed),
        owner=owner[0],
        roles={account: Role(found[0]) for account, found in zip(accounts, roles, strict=True)},
        cap=cap[0],
        living=living[0],
        card_quotas=Quotas(*(limit for limit, _ in quotas)),
        stamp_quotas=Quotas(*(limit for limit, _ in stamp_quotas)),
        tiers=tuple(tiers[0]),
        types={number: found for number, found in enumerate(types, start=1) if found is not None},
        base_uri=base_uri[0],
        contract_uri=contract_uri[0],
        stamps_base_uri=stamps_base_uri[0],
        frozen=frozen[0],
        stamps_frozen=stamps_frozen[0],
    )


def differences(program: Program, powers: ResolvedPowers, found: OnChainProgram) -> list[Difference]:
    """Every difference, in the order of the file. Empty = none.

    Of accounts that program.toml does not name, only those the state was read for can be seen here.
    """
    said = [
        *_fixed(program, found),
        *_metadata(program, found),
        *_cap(program, found),
        *_powers(powers, found),
        *_quotas(program, found),
        *_tiers(program, found),
    ]
    # A stamp's lowest tier is a number: while the file's tiers stand in other places, it would be another tier's.
    moved = _tiers_moved(program, found)
    new = _new_types(program, found)
    for stamp in program.stamps:
        for each in _stamp(stamp, found, new):
            said.append(replace(each, note=_TIERS_FIRST, changes=()) if moved and each.changes else each)
    named = {number for stamp in program.stamps for number in stamp.numbers}
    for number, info in found.types.items():
        if number not in named:
            line = f"stamp type {number}: none in program.toml, {_quoted(info.name)} on chain"
            said.append(Difference(line, "stays for good; name it in program.toml to change its terms"))
    return said


# ------------------------------------------------------------------------------------------------------- whole program


def _fixed(program: Program, found: OnChainProgram) -> Iterator[Difference]:
    # Seconds are read as whole days in program.toml, so both sides are shown in days.
    for key, there, here in (
        ("program.name", _quoted(program.name), _quoted(found.name)),
        ("program.symbol", _quoted(program.symbol), _quoted(found.symbol)),
        (
            "program.recovery_delay_days",
            _days(program.recovery_delay_seconds),
            _days(found.fixed.recovery_delay_seconds),
        ),
        ("program.move_cooldown_days", _days(program.move_cooldown_seconds), _days(found.fixed.move_cooldown_seconds)),
        ("look.background", _colour(program.look.background), _colour(found.fixed.background)),
        ("look.ink", _colour(program.look.ink), _colour(found.fixed.ink)),
    ):
        if there != here:
            yield Difference(_line(key, there, here), _NEVER)


def _metadata(program: Program, found: OnChainProgram) -> Iterator[Difference]:
    # With none of its own the contract answers with one that it writes itself.
    contract_uri = "" if found.contract_uri.startswith("data:") else found.contract_uri
    cards, stamps = found.membership, found.stamps
    for key, there, here, frozen, to, data in (
        ("base_uri", program.base_uri, found.base_uri, found.frozen, cards, Membership.encode_set_base_uri),
        ("contract_uri", program.contract_uri, contract_uri, found.frozen, cards, Membership.encode_set_contract_uri),
        (
            "stamps_base_uri",
            program.stamps_base_uri,
            found.stamps_base_uri,
            found.stamps_frozen,
            stamps,
            Stamps.encode_set_base_uri,
        ),
    ):
        if there == here:
            continue
        line = _line(f"program.{key}", _quoted(there), _quoted(here))
        if frozen:
            yield Difference(line, _FROZEN)
        else:
            yield Difference(line, changes=(Change(f"set {key} to {_quoted(there)}", to, data(there)),))


def _cap(program: Program, found: OnChainProgram) -> Iterator[Difference]:
    wanted = cap_on_chain(program.cap)
    if wanted == found.cap:
        return
    line = _line("program.cap", _shown_cap(wanted), _shown_cap(found.cap))
    if wanted < found.living:
        yield Difference(line, f"there are {found.living:,} cards already")
    else:
        change = Change(f"set the cap of cards to {_shown_cap(wanted)}", found.membership, _set_cap(wanted))
        yield Difference(line, changes=(change,))


def _set_cap(cap: int) -> bytes:
    return Membership.encode_set_cap(cap)


_ROLE_KEYS = {
    Role.MINTER: "minters",
    Role.SIGNER: "signers",
    Role.MANAGER: "managers",
    Role.GUARDIAN: "guardians",
}


def _powers(powers: ResolvedPowers, found: OnChainProgram) -> Iterator[Difference]:
    if powers.owner != found.owner:
        yield Difference(_line("powers.owner", powers.owner, found.owner), "changes hands by `nftloyalty handover`")
    named = powers.roles()
    for account in dict.fromkeys((*named, *found.roles)):
        wanted, has = named.get(account, Role(0)), found.roles.get(account, Role(0))
        given, taken = wanted & ~has, has & ~wanted & _ALL_ROLES
        give = Change(f"make {account} {_said(given)}", found.membership, Membership.encode_grant_roles(account, given))
        take = Change(
            f"take from {account} the role {_said(taken)}",
            found.membership,
            Membership.encode_revoke_roles(account, taken),
            takes=True,
        )
        for role, key in _ROLE_KEYS.items():
            if given & role:
                yield Difference(f"powers.{key}: {account} in program.toml, not on chain", changes=(give,))
            elif taken & role:
                yield Difference(f"powers.{key}: {account} on chain, not in program.toml", changes=(take,))


_ALL_ROLES = Role.MINTER | Role.SIGNER | Role.MANAGER | Role.GUARDIAN


def _said(roles: Role) -> str:
    return " and ".join(str(role.name).lower() for role in Role if role in roles)


def _quotas(program: Program, found: OnChainProgram) -> Iterator[Difference]:
    for section, there_quotas, here_quotas, to in (
        ("cards", program.card_quotas, found.card_quotas, found.membership),
        ("stamps", program.stamp_quotas, found.stamp_quotas, found.stamps),
    ):
        for kind, there, here in zip(QuotaKind, three(there_quotas), three(here_quotas), strict=True):
            if there != here:
                word = kind.name.lower()
                what = f"set the daily quota of {section} {word} to {there:,}"
                change = Change(what, to, Membership.encode_set_quota(kind, there))
                yield Difference(_line(f"quotas.{section}.{word}", there, here), changes=(change,))


def _tiers_moved(program: Program, found: OnChainProgram) -> bool:
    """Whether a tier of the chain stands in another place in the file."""
    names = [tier.name for tier in program.tiers]
    return any(name in found.tiers and name != here for name, here in zip(names, found.tiers, strict=False))


def _tiers(program: Program, found: OnChainProgram) -> Iterator[Difference]:
    wanted = [tier.name for tier in program.tiers]
    kept = list(found.tiers[len(wanted) :])
    names = ", ".join(_quoted(name) for name in (*wanted, *kept))
    change = Change(f"call the tiers {names}", found.membership, Membership.encode_set_tiers([*wanted, *kept]))
    note = ""
    if _tiers_moved(program, found):
        note = "a tier keeps its place, for members hold its number: put new ones at the end"
    elif found.frozen and wanted[: len(found.tiers)] != list(found.tiers[: len(wanted)]):
        note = _FROZEN
    for number, (there, here) in enumerate(zip_longest(wanted, found.tiers), 1):
        if there == here:
            continue
        line = _line(
            f"tiers[{number}].name",
            "none" if there is None else _quoted(there),
            "none" if here is None else _quoted(here),
        )
        if there is None:
            yield Difference(line, "a tier can't be taken away")
        elif note:
            yield Difference(line, note)
        else:
            yield Difference(line, changes=(change,))


# -------------------------------------------------------------------------------------------------------------- stamps


def _new_types(program: Program, found: OnChainProgram) -> Change | None:
    """One call defines all stamps and stamp cards that are not on chain at all."""
    blocks = [type_block(stamp) for stamp in program.stamps if not _is_there(stamp, found)]
    if not blocks:
        return None
    names = ", ".join(f"{_quoted(block.name)} ({_shown_numbers(block.first, block.count)})" for block in blocks)
    return Change(f"add the stamps {names}", found.stamps, Stamps.encode_define_types(blocks))


def _is_there(stamp: StampType, found: OnChainProgram) -> bool:
    return any(number in found.types for number in stamp.numbers)


def _stamp(stamp: StampType, found: OnChainProgram, new: Change | None) -> list[Difference]:
    """A difference is told once for a stamp card, with the first of its numbers that differs, and changed for all."""
    key = f"stamps {stamp.id!r}" if stamp.size == 1 else f"stamp_cards {stamp.id!r}"
    if not _is_there(stamp, found):
        line = f"{key}: {_shown_numbers(stamp.first, stamp.size, 'number ')} in program.toml, no such type on chain"
        return [Difference(line, changes=() if new is None else (new,))]
    wanted = type_block(stamp)
    # The stamps of a card have the same terms, so the first one that was given fixes them all.
    given = any(number in found.types and found.types[number].minted > 0 for number in stamp.numbers)
    said: dict[str, Difference] = {}

    def say(part: str, there: str, here: str, note: str, changes: tuple[Change, ...]) -> None:
        if there == here:
            return
        before = said.get(part)
        if before is None:
            said[part] = Difference(_line(f"{key} {part}", there, here), "" if changes else note, changes)
        else:
            said[part] = Difference(
                before.line, "" if before.changes or changes else before.note, before.changes + changes
            )

    for number in stamp.numbers:
        info = found.types.get(number)
        if info is None:
            line = f"{key}: number {number} in program.toml, no such type on chain"
            said.setdefault("", Difference(line, "a stamp card can't grow: give further stamps one of their own"))
            continue
        cap_fits = wanted.cap >= info.minted
        change = _set_type(stamp, number, wanted, info, found.stamps, given=given)
        fixed = "who gets it and redeems it is fixed since the first was given"
        say("name", _quoted(wanted.name), _quoted(info.name), "a stamp's name can never change", ())
        too_many = f"{info.minted:,} were given already"
        say("cap", _shown_cap(wanted.cap), _shown_cap(info.cap), too_many, (change,) if cap_fits else ())
        say("opens", _shown_time(wanted.opens), _shown_time(info.opens), "", (change,))
        say("closes", _shown_time(wanted.closes), _shown_time(info.closes), "", (change,))
        say("members_only", *_flags(wanted, info, TypeBlock.MEMBERS_ONLY), fixed, () if given else (change,))
        say("redeemable", *_flags(wanted, info, TypeBlock.REDEEMABLE), fixed, () if given else (change,))
        say("min_tier", str(wanted.min_tier), str(info.min_tier), fixed, () if given else (change,))
        numbers = _shown_numbers(wanted.first, wanted.count), _shown_numbers(info.block_first, info.block_size)
        say("numbers", *numbers, _NEVER, ())
    return list(said.values())


def _set_type(stamp: StampType, number: int, wanted: TypeBlock, info: TypeNow, to: Address, *, given: bool) -> Change:
    """The terms wanted, as far as what was given already lets them change."""
    cap = wanted.cap if wanted.cap >= info.minted else info.cap
    flags, min_tier = (info.flags, info.min_tier) if given else (wanted.flags, wanted.min_tier)
    data = Stamps.encode_set_type(number, cap, wanted.opens, wanted.closes, flags, min_tier)
    return Change(f"set the terms of the stamp {stamp.ids[number - stamp.first]}", to, data)


# ------------------------------------------------------------------------------------------------------------- reading


def _ask(
    node: Node, block: BlockId, address: Address, contract: str, questions: Sequence[tuple[Any, ...]]
) -> list[tuple[Any, ...]]:
    """Answers to (function, arguments...) questions to one contract, all as of one block."""
    asked: list[tuple[Function, tuple[Any, ...]]] = [
        (function(contract, question[0]), question[1:]) for question in questions
    ]
    answers = node.eth_calls([(address, called.encode(*rest)) for called, rest in asked], block)
    found: list[tuple[Any, ...]] = []
    for (called, _), answer in zip(asked, answers, strict=True):
        if isinstance(answer, Reverted):
            raise answer
        found.append(called.decode(answer))
    return found


# ------------------------------------------------------------------------------------------------------- how it is said


def _line(key: str, there: object, here: object) -> str:
    return f"{key}: {there} in program.toml, {here} on chain"


def _flags(wanted: TypeBlock, info: TypeNow, flag: int) -> tuple[str, str]:
    # A least tier implies members only, whether or not the flag says so as well.
    implied = TypeBlock.MEMBERS_ONLY if info.min_tier else 0
    return str(bool(wanted.flags & flag)).lower(), str(bool((info.flags | implied) & flag)).lower()


def _days(seconds: int) -> str:
    return f"{seconds / DAY_SECONDS:g}"


def _colour(value: int) -> str:
    return f"#{value:06X}"


def _shown_cap(cap: int) -> str:
    return "no cap" if cap == NO_CAP else str(cap)


def _shown_time(seconds: int) -> str:
    if not seconds:
        return "none"
    moment = at(seconds)
    return moment.isoformat() if int(moment.timestamp()) == seconds else f"second {seconds}, beyond the year 9999"


def _shown_numbers(first: int, count: int, before: str = "") -> str:
    return f"{before}{first}" if count == 1 else f"{first} to {first + count - 1}"


def _quoted(text: str) -> str:
    """Names and addresses on chain were written by whoever had the owner's key."""
    return f'"{printable(text)}"'
