"""From the names in program.toml to addresses and signers."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from nftloyalty.app.context import App
from nftloyalty.chain.deployment import ResolvedPowers
from nftloyalty.chain.signer import LocalSigner
from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.program import Program
from nftloyalty.errors import BadInput, KeyProblem, Problem
from nftloyalty.vault.keystore import LEAST_PASSWORD_LENGTH, check_password, parse_private_key

__all__ = [
    "LEAST_PASSWORD_LENGTH",
    "address_of",
    "check_password",
    "key_name",
    "known_accounts",
    "names_here",
    "parse_private_key",
    "resolve_powers",
    "signer_of",
]


def address_of(app: App, name_or_address: str) -> Address:
    """Resolve a key name or an address. Needs no password.

    Raises KeyProblem for an unknown key name, BadInput for what begins like an address and is none.
    """
    return _given_address(name_or_address) or app.keystore.address(name_or_address)


def signer_of(app: App, name_or_address: str) -> LocalSigner:
    """Unlock the key of this name (or the key that has this address). The password is asked for once per call."""
    name = key_name(app, name_or_address)
    if name is None:
        raise KeyProblem(
            f"no key here has the address {name_or_address}", mend="import it with `nftloyalty keys import`"
        )
    return LocalSigner(app.keystore.unlock(name, app.password(name)))


def key_name(app: App, name_or_address: str) -> str | None:
    """The name of the key here, or None if it is an address whose key is elsewhere (a Safe, another machine)."""
    wanted = _given_address(name_or_address)
    if wanted is None:
        app.keystore.address(name_or_address)
        return name_or_address
    for name in app.keystore.names():
        if app.keystore.address(name) == wanted:
            return name
    return None


def names_here(app: App, names_or_addresses: Iterable[str]) -> list[str]:
    """The names of those of these keys that are here."""
    found = []
    for each in names_or_addresses:
        with suppress(KeyProblem):
            name = key_name(app, each)
            if name is not None:
                found.append(name)
    return found


def _given_address(text: str) -> Address | None:
    """None for the name of a key, which never begins with 0x."""
    if not text.lower().startswith("0x"):
        return None
    try:
        return parse_address(text)
    except ValueError as wrong:
        raise BadInput("the address", [Problem(text, str(wrong))]) from None


def known_accounts(app: App, terms: Mapping[str, Any]) -> list[Address]:
    """Every key here, and everyone whom the terms that a program was opened with gave a power. A role that was once
    given is found again by looking at them; nobody can list all who have one."""
    found = [app.keystore.address(name) for name in app.keystore.names()]
    for names in terms.get("powers", {}).values():
        for name in [names] if isinstance(names, str) else names:
            # A key that is here no longer.
            with suppress(KeyProblem):
                found.append(address_of(app, name))
    return list(dict.fromkeys(found))


def resolve_powers(app: App, program: Program) -> ResolvedPowers:
    """All powers of program.toml as addresses. Raises KeyProblem naming the first key that does not exist."""

    def all_of(names: tuple[str, ...]) -> tuple[Address, ...]:
        return tuple(address_of(app, name) for name in names)

    powers = program.powers
    return ResolvedPowers(
        opener=address_of(app, powers.opener),
        owner=address_of(app, powers.owner),
        minters=all_of(powers.minters),
        signers=all_of(powers.signers),
        managers=all_of(powers.managers),
        guardians=all_of(powers.guardians),
    )
