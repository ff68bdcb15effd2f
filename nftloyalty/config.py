"""Settings from the environment. Nothing else in the package reads it.

Every setting has a default that works on one machine without any set-up.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import TypeVar
from urllib.parse import parse_qsl, unquote, urlsplit

from nftloyalty import logs
from nftloyalty.errors import BadInput, Problem

# Shorter parts of an address are words such as `v2` or `rpc`.
_LEAST_SECRET = 6
_Choice = TypeVar("_Choice", bound=StrEnum)


class Secret:
    """A value that never shows itself; `reveal()` is the one way to it."""

    __slots__ = ("_value",)

    def __init__(self, value: str) -> None:
        self._value = value

    def reveal(self) -> str:
        return self._value

    def __repr__(self) -> str:
        return "Secret(***)"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Secret is never pickled or copied")


@dataclass(frozen=True)
class Setting:
    """One environment variable: its name, default as text, unit, and what it does. docs/operating.md shows them."""

    name: str
    default: str
    unit: str
    does: str


SETTINGS = (
    Setting("NFTLOYALTY_HOME", ".nftloyalty", "folder", "where keys and the embedded database live"),
    Setting("DATABASE_URL", "", "URL", "postgresql://... ; empty = SQLite in NFTLOYALTY_HOME"),
    Setting("NFTLOYALTY_RPC_URL", "http://127.0.0.1:8545", "URL", "JSON-RPC address of the chain's node"),
    Setting("NFTLOYALTY_RPC_TIMEOUT", "30", "seconds", "longest wait for one answer of the node"),
    Setting("NFTLOYALTY_KEY_PASSWORD", "", "text", "password of the keys; a file or the prompt is better"),
    Setting("NFTLOYALTY_KEY_PASSWORD_FILE", "", "file", "file whose first line is the password of the keys"),
    Setting("NFTLOYALTY_MAX_FEE_GWEI", "500", "gwei per gas", "never offer more than this for gas"),
    Setting(
        "NFTLOYALTY_INDEX_MAX_AGE", "30", "seconds", "refuse answers from an index not seen at the head for so long"
    ),
    Setting("NFTLOYALTY_WINDOW", "16", "transactions", "most transactions in flight per signer, 1 to 64"),
    Setting("NFTLOYALTY_RATE_PER_KEY", "1000", "requests a second", "most that one API key may ask, 0 = no limit"),
    Setting(
        "NFTLOYALTY_RATE_PER_ADDRESS",
        "20",
        "requests a second",
        "most that one address may ask with a publishable key, or without a good one, 0 = no limit",
    ),
    Setting(
        "NFTLOYALTY_TRUSTED_PROXIES",
        "",
        "addresses",
        "proxies in front of `serve` whose X-Forwarded-For is believed, as 10.0.0.5,10.1.0.0/16; empty = none",
    ),
    Setting(
        "NFTLOYALTY_SEAL_KEY_FILE",
        "",
        "file",
        "key of the secrets in the database; empty = seal.key in NFTLOYALTY_HOME",
    ),
    Setting(
        "NFTLOYALTY_WEBHOOK_NETWORKS", "", "networks", "not public, and webhooks may go there, as 10.1.0.0/16,fd00::/8"
    ),
    Setting("NFTLOYALTY_LOG_FORMAT", "text", "text or json", "how `serve` and `worker` write their log, to stderr"),
    Setting("NFTLOYALTY_LOG_LEVEL", "info", "level", "least lines of that log: debug, info, warning or error"),
)


@dataclass(frozen=True)
class Settings:
    home: Path
    database_url: str = field(repr=False)
    rpc_url: str = field(repr=False)
    rpc_timeout_seconds: float
    password: Secret | None
    password_file: Path | None
    max_fee_wei: int
    index_max_age_seconds: float
    window: int
    rate_per_key: float
    rate_per_address: float
    trusted_proxies: tuple[IPv4Network | IPv6Network, ...]
    seal_key_file: Path
    webhook_networks: tuple[IPv4Network | IPv6Network, ...]
    log_format: logs.Form
    log_level: logs.Level

    @property
    def keys_folder(self) -> Path:
        return self.home / "keys"

    def secrets(self) -> tuple[str, ...]:
        """Every part of the settings that may be a password or a key, for those who keep them out of what is shown."""
        found = {self.password.reveal()} if self.password is not None else set()
        for url in (self.rpc_url, self.database_url):
            found |= _secrets_in(url)
        return tuple(sorted(found, key=len, reverse=True))


def from_environment(environment: Mapping[str, str]) -> Settings:
    """Read all settings at once; raises BadInput naming every variable that is wrong."""
    problems: list[Problem] = []
    defaults = {setting.name: setting.default for setting in SETTINGS}

    def text(name: str) -> str:
        return environment.get(name, "") or defaults[name]

    def number(name: str, least: float, most: float, *, whole: bool = False) -> float:
        given = text(name)
        try:
            value = float(int(given)) if whole else float(given)
        except (ValueError, OverflowError):
            value = float("nan")
        if not least <= value <= most:
            kind = "whole number" if whole else "number"
            problems.append(Problem(name, f"{given!r} is not a {kind} from {least:g} to {most:g}"))
        return value

    def path(name: str) -> Path:
        try:
            return Path(text(name)).expanduser()
        except RuntimeError:
            problems.append(Problem(name, f"there is no home folder for {text(name)!r}"))
            return Path(text(name))

    def choice(name: str, kind: type[_Choice]) -> _Choice:
        given = text(name).strip().lower()
        if given not in list(kind):
            problems.append(Problem(name, f"{text(name)!r} is not one of {', '.join(kind)}"))
            given = defaults[name]
        return kind(given)

    def networks(name: str) -> tuple[IPv4Network | IPv6Network, ...]:
        found = []
        for part in filter(None, (each.strip() for each in text(name).split(","))):
            try:
                found.append(ip_network(part))
            except ValueError:
                mend = "write networks as 10.1.0.0/16,fd00::/8"
                problems.append(Problem(name, f"{part!r} is not a network", mend))
        return tuple(found)

    home = path("NFTLOYALTY_HOME")
    rpc_url = text("NFTLOYALTY_RPC_URL")
    if not _is_http(rpc_url):
        # The address itself is not shown: many hold a key.
        problems.append(Problem("NFTLOYALTY_RPC_URL", "is not an http:// or https:// address"))
    if environment.get("NFTLOYALTY_KEY_PASSWORD") and environment.get("NFTLOYALTY_KEY_PASSWORD_FILE"):
        problems.append(Problem("NFTLOYALTY_KEY_PASSWORD", "is set beside NFTLOYALTY_KEY_PASSWORD_FILE", "unset one"))
    timeout = number("NFTLOYALTY_RPC_TIMEOUT", 0.1, 600)
    max_fee_gwei = number("NFTLOYALTY_MAX_FEE_GWEI", 0.000001, 1_000_000)
    index_max_age = number("NFTLOYALTY_INDEX_MAX_AGE", 1, 86_400)
    window = number("NFTLOYALTY_WINDOW", 1, 64, whole=True)
    rate_per_key = number("NFTLOYALTY_RATE_PER_KEY", 0, 1_000_000)
    rate_per_address = number("NFTLOYALTY_RATE_PER_ADDRESS", 0, 1_000_000)
    trusted_proxies = networks("NFTLOYALTY_TRUSTED_PROXIES")
    seal_key_file = path("NFTLOYALTY_SEAL_KEY_FILE") if text("NFTLOYALTY_SEAL_KEY_FILE") else home / "seal.key"
    webhook_networks = networks("NFTLOYALTY_WEBHOOK_NETWORKS")
    log_format = choice("NFTLOYALTY_LOG_FORMAT", logs.Form)
    log_level = choice("NFTLOYALTY_LOG_LEVEL", logs.Level)
    password = text("NFTLOYALTY_KEY_PASSWORD")
    password_file = path("NFTLOYALTY_KEY_PASSWORD_FILE") if text("NFTLOYALTY_KEY_PASSWORD_FILE") else None
    if problems:
        raise BadInput("environment", problems)
    return Settings(
        home=home,
        database_url=text("DATABASE_URL") or f"sqlite:///{home.resolve() / 'nftloyalty.db'}",
        rpc_url=rpc_url,
        rpc_timeout_seconds=timeout,
        password=Secret(password) if password else None,
        password_file=password_file,
        max_fee_wei=int(max_fee_gwei * 10**9),
        index_max_age_seconds=index_max_age,
        window=int(window),
        rate_per_key=rate_per_key,
        rate_per_address=rate_per_address,
        trusted_proxies=trusted_proxies,
        seal_key_file=seal_key_file,
        webhook_networks=webhook_networks,
        log_format=log_format,
        log_level=log_level,
    )


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _secrets_in(url: str) -> set[str]:
    """Of an address of a node or a database: its password whatever its length, and long parts of path and query."""
    try:
        parts = urlsplit(url)
        password = parts.password or ""
    except ValueError:
        return {url}
    if parts.scheme.startswith("sqlite"):
        return set()
    found = {parts.query, parts.fragment, *(value for _, value in parse_qsl(parts.query))}
    if parts.scheme in ("http", "https"):
        found |= {parts.username or "", parts.path, *parts.path.split("/")}
    found |= {unquote(each) for each in found}
    return {each for each in found if len(each) >= _LEAST_SECRET} | {
        each for each in (password, unquote(password)) if each
    }
