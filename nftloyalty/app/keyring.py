"""From the names in program.toml to addresses and signers, wherever the keys lie."""

from collections.abc import Iterable, Mapping
from contextlib import suppress
from typing import Any

from nftloyalty.app.context import App
from nftloyalty.chain.deployment import ResolvedPowers
from nftloyalty.chain.signer import LocalSigner, RemoteSigner, Signer
from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.program import Program
from nftloyalty.errors import BadInput, KeyProblem, Problem
from nftloyalty.vault.keystore import LEAST_PASSWORD_LENGTH, check_password, parse_private_key
from nftloyalty.vault.kms import Found, KmsKey, KmsReference

__all__ = [
    "LEAST_PASSWORD_LENGTH",
    "KmsReference",
    "add_kms",
    "address_of",
    "check_password",
    "key_name",
    "known_accounts",
    "known_addresses",
    "names_here",
    "parse_private_key",
    "place_of",
    "resolve_powers",
    "signer_of",
]


def address_of(app: App, name_or_address: str) -> Address:
    """Resolve a key name or an address. Needs no password.

    Raises KeyProblem for an unknown key name, BadInput for what begins like an address and is none.
    """
    return _given_address(name_or_address) or app.keystore.address(name_or_address)


def signer_of(app: App, name_or_address: str) -> Signer:
    """The key of this name (or the key that has this address), ready to sign.

    A key that lies here is unlocked: its password is asked for once per call. For one in AWS KMS no password is asked;
    its public key is, and must be the one it had when it was added. Raises KeyProblem, of which KeyUnreachable means
    that KMS does not answer now.
    """
    name = key_name(app, name_or_address)
    if name is None:
        raise KeyProblem(
            f"no key here has the address {name_or_address}", mend="import it with `nftloyalty keys import`"
        )
    reference = app.keystore.kms(name)
    if reference is None:
        return LocalSigner(_unlocked(app, name))
    address, key = app.keystore.address(name), KmsKey(reference)
    found = key.look()
    if found.address != address:
        raise KeyProblem(
            f"the key {name!r} is the one of {found.address} in AWS KMS, and its file here says {address}",
            mend="put the backup of the file in its place, or look who has changed the key service",
        )
    return RemoteSigner(address, key.sign)


def _unlocked(app: App, name: str) -> bytes:
    password, settings = app.password(name), app.settings
    if settings.password is None and settings.password_file is None:
        return app.keystore.unlock(name, password)
    given = f"the file {settings.password_file}" if settings.password is None else "NFTLOYALTY_KEY_PASSWORD"
    mend = f"the password in {given} must open every key that a process uses: make those keys with one password"
    return app.keystore.unlock(name, password, mend)


def add_kms(app: App, name: str, reference: KmsReference) -> Found:
    """Take in a key that lies in AWS KMS, by the address and the ARN that KMS says. Raises KeyProblem as `signer_of`
    does, and if the name is taken."""
    app.keystore.check_name(name)
    found = KmsKey(reference).look()
    app.keystore.add_kms(name, found.reference, found.address)
    return found


def place_of(app: App, name: str) -> str:
    """Where the key of this name lies, in words for people."""
    reference = app.keystore.kms(name)
    return "here, encrypted" if reference is None else f"AWS KMS, {reference.key_id}"


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


def known_addresses(app: App, names_or_addresses: Iterable[str]) -> list[Address]:
    """The addresses of those of these keys that are known here."""
    found = []
    for each in names_or_addresses:
        with suppress(KeyProblem):
            found.append(address_of(app, each))
    return found


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
