"""Which addresses of other people's servers we connect to. They are named by whoever sets up an endpoint, so they could
name what only this machine can reach: its own services, its network, the metadata service of a cloud.

A name is resolved here, every address it has is judged, and the connection goes to the address that was judged: what
the name means a moment later makes no difference.
"""

import queue
import re
import socket
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address
from urllib.parse import urlsplit

from nftloyalty.errors import BadInput, Problem

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network
Resolve = Callable[[str, int], Sequence[str]]
"""The addresses of a host, as text. Raises OSError where it has none."""

MOST_URL_LENGTH = 2_000
# Below are the services of a system; what listens there and is no web server could be spoken to by accident.
_LEAST_FREE_PORT = 1024
_USUAL_PORTS = {"https": 443, "http": 80}

# IANA's special-purpose registries as far as they are not for everyone, and an address of Azure that looks like any
# other and leads to the machine's host. The module `ipaddress` has its own list, which differs from one release of
# Python to the next.
_NOT_PUBLIC_V4 = tuple(
    IPv4Network(text)
    for text in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",
        "127.0.0.0/8",
        "168.63.129.16/32",
        "169.254.0.0/16",
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/4",
        "240.0.0.0/4",
    )
)
_PUBLIC_V6 = IPv6Network("2000::/3")
# Within it: protocol assignments (Teredo among them), documentation, 6to4.
_NOT_PUBLIC_V6 = tuple(IPv6Network(text) for text in ("2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"))
# Forms of an IPv4 address: mapped (RFC 4291), and behind a translator (RFC 6052), which is what an IPv6-only network
# resolves every IPv4 server to.
_V4_WITHIN = (IPv6Network("::ffff:0:0/96"), IPv6Network("64:ff9b::/96"))

# How long a thread waits for the next name to ask for.
_IDLE_SECONDS = 5.0

_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]{0,61}[a-z0-9_])?", re.ASCII)
_PLAIN = re.compile(r"[!-~]+", re.ASCII)


class Refused(Exception):
    """A server that we don't connect to. `str()` is why, without the path of its address."""

    mend = "give an https:// address that anyone can reach"


class _OfNetwork(Refused):
    """The same address is good where its network is allowed."""

    mend = (
        f"{Refused.mend}, or allow its network, for commands, web server and workers alike: "
        "NFTLOYALTY_WEBHOOK_NETWORKS=10.1.0.0/16, or 127.0.0.1 for this machine"
    )


@dataclass(frozen=True)
class Target:
    """A receiver's URL, taken apart. `path` holds its query too."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """As the Host header has it."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _USUAL_PORTS[self.scheme] else f"{host}:{self.port}"


def parse_target(url: str, allowed: Sequence[Network] = ()) -> Target:
    """Take a URL apart. Raises BadInput for what could never be posted to while these networks are allowed."""
    try:
        return _parse(url, allowed)
    except Refused as refused:
        # Not the URL itself: it may hold a key.
        raise BadInput("the endpoint", [Problem("url", str(refused), refused.mend)]) from None


def checked_addresses(target: Target, resolve: Resolve, allowed: Sequence[Network]) -> list[Address]:
    """The addresses of a target, each of which may be connected to. One that may not spoils all of them: a name that
    leads to both is no honest one. Raises Refused, and OSError for a name without addresses."""
    found = [ip_address(text) for text in resolve(target.host, target.port)]
    if not found:
        raise socket.gaierror(socket.EAI_NONAME, "the name has no address")
    for address in found:
        _check(target, address, allowed)
    return list(dict.fromkeys(found))


def resolve_in(seconds: float) -> Resolve:
    """The system's resolver, which is not waited for longer: it has a patience of its own, of up to minutes."""
    askers = _Askers()

    def resolve(host: str, port: int) -> Sequence[str]:
        answer: queue.SimpleQueue[Sequence[str] | OSError] = queue.SimpleQueue()
        askers.ask(_Question(host, port, answer))
        try:
            found = answer.get(timeout=seconds)
        except queue.Empty:
            raise TimeoutError from None
        if isinstance(found, OSError):
            raise found
        return found

    return resolve


@dataclass(frozen=True)
class _Question:
    host: str
    port: int
    answer: "queue.SimpleQueue[Sequence[str] | OSError]"


class _Askers:
    """Threads that ask the resolver, each one question at a time: a new one for each would take longer than most
    answers. One that was left behind goes on when the resolver gives up; one that is not asked for a while ends."""

    def __init__(self) -> None:
        self._idle: list[queue.SimpleQueue[_Question]] = []
        self._lock = threading.Lock()

    def ask(self, question: _Question) -> None:
        with self._lock:
            asked = self._idle.pop() if self._idle else None
        if asked is not None:
            asked.put(question)
            return
        threading.Thread(target=self._run, args=(question,), name="resolver", daemon=True).start()

    def _run(self, question: _Question) -> None:
        asked: queue.SimpleQueue[_Question] = queue.SimpleQueue()
        while True:
            found = _found(question.host, question.port)
            # Before it is told: whoever waits for it may ask the next question at once.
            with self._lock:
                self._idle.append(asked)
            question.answer.put(found)
            try:
                question = asked.get(timeout=_IDLE_SECONDS)
            except queue.Empty:
                with self._lock:
                    if asked in self._idle:
                        self._idle.remove(asked)
                        return
                # Somebody has just taken it.
                question = asked.get()


def _found(host: str, port: int) -> Sequence[str] | OSError:
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, proto=socket.IPPROTO_TCP)
        return [str(each[4][0]) for each in found]
    except OSError as failure:
        return failure
    except UnicodeError:
        return socket.gaierror(socket.EAI_NONAME, "this is no name")


def is_public(address: Address) -> bool:
    """Whether it is an address for everyone: global unicast."""
    inner = _inner(address)
    if isinstance(inner, IPv4Address):
        return not any(inner in network for network in _NOT_PUBLIC_V4)
    return inner in _PUBLIC_V6 and not any(inner in network for network in _NOT_PUBLIC_V6)


def _check(target: Target, address: Address, allowed: Sequence[Network]) -> None:
    inner = _inner(address)
    if any(inner.version == network.version and inner in network for network in allowed):
        return
    if not is_public(inner):
        raise _OfNetwork(f"{target.host} is at {address}, which is not a public address")
    if target.scheme != "https":
        raise _OfNetwork("http:// is for networks that the operator allows; others need https://")
    if target.port != _USUAL_PORTS["https"] and target.port < _LEAST_FREE_PORT:
        raise Refused(f"port {target.port} is not one of a web server's: 443, or {_LEAST_FREE_PORT} and above")


def _inner(address: Address) -> Address:
    """The IPv4 address within, where it is a form of one."""
    if isinstance(address, IPv6Address) and any(address in network for network in _V4_WITHIN):
        return IPv4Address(int(address) & 0xFFFF_FFFF)
    return address


def _parse(url: str, allowed: Sequence[Network]) -> Target:
    if len(url) > MOST_URL_LENGTH:
        raise Refused(f"is longer than {MOST_URL_LENGTH} characters")
    if _PLAIN.fullmatch(url) is None or "\\" in url:
        raise Refused("holds characters that a URL can't have")
    try:
        parts = urlsplit(url)
        host, port = (parts.hostname or "").removesuffix("."), parts.port
    except ValueError:
        raise Refused("is not a URL") from None
    if parts.scheme not in _USUAL_PORTS:
        raise Refused("is not an https:// address")
    if parts.scheme == "http" and not allowed:
        raise _OfNetwork("is not an https:// address; http:// is for networks that the operator allows")
    if "@" in parts.netloc:
        raise Refused("holds a name or a password")
    if "#" in url:
        raise Refused("holds a fragment, which no server sees")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    target = Target(parts.scheme, host, _USUAL_PORTS[parts.scheme] if port is None else port, path)
    if not 0 < target.port < 65_536:
        raise Refused("has no port that exists")
    try:
        address = ip_address(host)
    except ValueError:
        if len(host) > 253 or not all(_LABEL.fullmatch(label) for label in host.split(".")):
            raise Refused("has no name of a server in it") from None
        return target
    _check(target, address, allowed)
    return target
