"""Who may ask for what over HTTP: API keys, their scopes, and the pages publishable keys may be used from.

A key is `nftl_<live|test>_<id>_<secret>`. The id is no secret and names the key everywhere; it begins with `sk` for a
key that a server keeps, with `pk` for one that stands in a page. `test` is said of programs on test networks, so that
nobody mistakes the one for the other.
"""

import hashlib
import hmac
import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from urllib.parse import urlsplit

from nftloyalty.errors import LoyaltyError


class KeyKind(StrEnum):
    """`server`: kept secret on a server; `publishable`: for pages in a browser, of the origins it names."""

    SERVER = "server"
    PUBLISHABLE = "publishable"


class Scope(StrEnum):
    """What a key is good for. `admin` is all of them, and keys besides."""

    CHECKS_READ = "checks:read"
    MEMBERS_READ = "members:read"
    MINTS_WRITE = "mints:write"
    MEMBERS_WRITE = "members:write"
    CLAIMS_WRITE = "claims:write"
    VOUCHERS_WRITE = "vouchers:write"
    EVENTS_READ = "events:read"
    WEBHOOKS_WRITE = "webhooks:write"
    METRICS_READ = "metrics:read"
    ADMIN = "admin"

    @property
    def sentence(self) -> str:
        """What it allows, after "may"."""
        return _SENTENCES[self]


_SENTENCES = {
    Scope.CHECKS_READ: "ask gate and check",
    Scope.MEMBERS_READ: "read what wallets hold, and how requests stand",
    Scope.MINTS_WRITE: "give cards and stamps",
    Scope.MEMBERS_WRITE: "renew, change tiers, revoke and readmit",
    Scope.CLAIMS_WRITE: "hand in vouchers",
    Scope.VOUCHERS_WRITE: "have vouchers signed and listed",
    Scope.EVENTS_READ: "read events",
    Scope.WEBHOOKS_WRITE: "manage webhooks",
    Scope.METRICS_READ: "read the server's numbers",
    Scope.ADMIN: "do all of this, and manage keys",
}

PUBLIC_SCOPES = frozenset({Scope.CHECKS_READ, Scope.CLAIMS_WRITE})
"""What a key that everybody can read in a page may be good for: nothing that gives anything away."""

# Chains whose coins are worth nothing: ids of test networks, and of the chains that development tools start.
TEST_CHAINS = frozenset(
    {
        1337,
        31337,
        131277322940537,
        97,
        43113,
        80002,
        84532,
        421614,
        560048,
        11155111,
        11155420,
    }
)

ID_LENGTH = 16
SECRET_LENGTH = 32
_KEY = re.compile(r"nftl_(live|test)_([sp]k[0-9a-hjkmnp-tv-z]{14})_([0-9a-hjkmnp-tv-z]{32})", re.ASCII)


class AccessProblem(LoyaltyError):
    """A request that is not let in."""

    code = "key_unknown"


class KeyMissing(AccessProblem):
    code = "key_missing"

    def __init__(self) -> None:
        super().__init__("the request brings no API key", mend="send the header Authorization: Bearer <key>")


class KeyUnknown(AccessProblem):
    """There is no key of this id, its secret is another one, or what was sent is no key at all."""

    def __init__(self) -> None:
        super().__init__("there is no such API key", mend="copy the key once more, whole, as it was shown")


class KeyEnded(AccessProblem):
    """`code` is `key_revoked` or `key_expired`; `since` is when that was."""

    def __init__(self, key_id: str, since: datetime, *, revoked: bool) -> None:
        done = "was revoked" if revoked else "has expired"
        super().__init__(
            f"the API key {key_id} {done} on {since:%Y-%m-%d at %H:%M} UTC", mend="use the key that took its place"
        )
        self.code = "key_revoked" if revoked else "key_expired"
        self.key_id = key_id
        self.since = since


class CantRotate(LoyaltyError):
    """The key has ended, or another one took its place already."""

    code = "key_ended"


class WrongProgram(AccessProblem):
    code = "wrong_program"

    def __init__(self, key_id: str) -> None:
        super().__init__(
            f"the API key {key_id} belongs to another program", mend="use a key of the program that this server serves"
        )
        self.key_id = key_id


class NotAllowed(AccessProblem):
    code = "not_allowed"

    def __init__(self, key_id: str, scope: Scope) -> None:
        super().__init__(
            f"the API key {key_id} may not {scope.sentence}", mend=f"use a key with the scope {scope.value}"
        )
        self.key_id = key_id
        self.scope = scope


class WrongOrigin(AccessProblem):
    """A publishable key outside of its pages, or a server's key in a page. `origin` "" = the request names none."""

    def __init__(self, key_id: str, origin: str, *, publishable: bool) -> None:
        if publishable:
            where = f"by pages of {origin}" if origin else "outside of a page"
            super().__init__(
                f"the API key {key_id} may not be used {where}",
                mend="name the page's origin when the key is made, or use a server's key on a server",
            )
        else:
            super().__init__(
                f"the API key {key_id} is a server's, and a page of {origin} has sent it",
                mend="revoke it: whoever can see the page can read it. Pages use publishable keys",
            )
        self.code = "wrong_origin" if publishable else "key_in_page"
        self.key_id = key_id
        self.origin = origin


@dataclass(frozen=True)
class GivenKey:
    """A key as it was sent. Never shown: `repr` leaves the secret out."""

    mode: str
    key_id: str
    secret: str

    def __repr__(self) -> str:
        return f"GivenKey({self.key_id})"


@dataclass(frozen=True)
class Caller:
    """Who asks. `key_id` "" = somebody on this machine, of a program that has no keys."""

    key_id: str
    scopes: frozenset[Scope]
    publishable: bool = False

    def may(self, scope: Scope) -> bool:
        return scope in self.scopes or Scope.ADMIN in self.scopes

    def require(self, scope: Scope) -> None:
        """Raises NotAllowed."""
        if not self.may(scope):
            raise NotAllowed(self.key_id, scope)


HERE = Caller("", frozenset({Scope.ADMIN}))
"""Whoever asks on this machine while the program has no keys."""


def parse_key(text: str) -> GivenKey:
    """Raises KeyUnknown."""
    found = _KEY.fullmatch(text)
    if found is None:
        raise KeyUnknown
    return GivenKey(*found.groups())


def written_key(chain_id: int, key_id: str, secret: str) -> str:
    """The key as it is shown once."""
    return f"nftl_{mode_of(chain_id)}_{key_id}_{secret}"


def mode_of(chain_id: int) -> str:
    return "test" if chain_id in TEST_CHAINS else "live"


def hash_of(secret: str) -> bytes:
    """What is stored of a secret: SHA-256. It has 160 random bits, so there is nothing that a slow hash would slow."""
    return hashlib.sha256(secret.encode()).digest()


def is_secret_of(secret: str, stored: bytes) -> bool:
    """In a time that tells nothing of where they differ."""
    return hmac.compare_digest(hash_of(secret), stored)


def check_origin(key_id: str, kind: KeyKind, origins: Collection[str], origin: str) -> None:
    """Raises WrongOrigin. `origin` is the request's Origin header, "" = it has none, as what servers send.

    Anybody can forge this header, but not a page: this keeps other sites from living on a brand's key, and a server's
    key from standing in a page unnoticed.
    """
    if kind is KeyKind.PUBLISHABLE:
        if origin not in origins:
            raise WrongOrigin(key_id, origin, publishable=True)
    elif origin.partition(":")[0] in ("http", "https", "null"):
        raise WrongOrigin(key_id, origin, publishable=False)


def parse_origin(text: str) -> str:
    """An origin as browsers write it: scheme, host and port if it is not the usual one. Raises ValueError.

    https, or http of this machine, where pages are tried out.
    """
    try:
        parts = urlsplit(text.strip().lower())
        port = parts.port
    except ValueError:
        raise ValueError("not an origin") from None
    host = parts.hostname or ""
    if parts.path not in ("", "/") or parts.query or parts.fragment or parts.username is not None or not host:
        raise ValueError("not an origin")
    if not host.isascii() or "*" in host:
        raise ValueError("not an origin: every host is named by itself, in its ASCII form")
    if parts.scheme != "https" and not (parts.scheme == "http" and host in ("localhost", "127.0.0.1", "::1")):
        raise ValueError("not an origin of https")
    shown = f"[{host}]" if ":" in host else host
    usual = 443 if parts.scheme == "https" else 80
    return f"{parts.scheme}://{shown}" + (f":{port}" if port is not None and port != usual else "")


def scope_named(text: str) -> Scope:
    """Raises ValueError that lists the scopes."""
    try:
        return Scope(text.strip().lower())
    except ValueError:
        raise ValueError(f"is no scope; there are {', '.join(Scope)}") from None


def problems_of(kind: KeyKind, scopes: Sequence[Scope], origins: Sequence[str]) -> list[tuple[str, str, str]]:
    """What is wrong with a key that is to be made: field, what, mend."""
    found = []
    if not scopes:
        found.append(("scopes", "are missing", f"name at least one of {', '.join(Scope)}"))
    if kind is KeyKind.PUBLISHABLE:
        found += [
            ("scopes", f"{scope} is not for a key that everybody can read", f"leave only {', '.join(PUBLIC_SCOPES)}")
            for scope in scopes
            if scope not in PUBLIC_SCOPES
        ]
        if not origins:
            found.append(("origins", "are missing", "name the pages it is for, as https://shop.example"))
    elif origins:
        found.append(("origins", "are for publishable keys", "leave them out, or make the key publishable"))
    return found
