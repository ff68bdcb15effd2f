"""The door: who asks, from where, and how often. Everything behind it knows its caller.

While a program has no API keys, this machine may ask for all and nobody else for anything. From its first key on, every
request needs one, but for those that say how the server is and what it can be asked.
"""

import asyncio
import ipaddress
import logging
import math
from collections.abc import Iterable
from functools import lru_cache
from typing import Annotated, Any, cast
from urllib.parse import urlsplit

from fastapi import Depends, Request
from limits import RateLimitItemPerSecond
from limits.storage import MemoryStorage
from limits.strategies import SlidingWindowCounterRateLimiter
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nftloyalty import logs
from nftloyalty.app.access import Doorkeeper
from nftloyalty.domain import access
from nftloyalty.domain.access import AccessProblem, Caller
from nftloyalty.errors import DatabaseProblem, LoyaltyError
from nftloyalty.web import errors

log = logging.getLogger(__name__)

CALLER = "nftloyalty.caller"
"""Where in an ASGI scope the caller stands."""

PUBLIC = frozenset({"/healthz", "/readyz", "/openapi.json"})
"""Paths that need no key: they tell nothing of members, and a load balancer has none."""

TELLING_OF_TROUBLE = PUBLIC | {"/metrics"}

WINDOW_SECONDS = 10
"""Rates are kept as a mean over this long, so that a burst is no trouble."""

MENDS = {
    "wrong_host": "ask for http://127.0.0.1 and the port; other machines need an API key, "
    '`nftloyalty api-keys create "Web shop" --scope checks:read --scope claims:write`',
    "by_proxy": 'make an API key, `nftloyalty api-keys create "Web shop" --scope checks:read --scope claims:write`: '
    "from then on every request needs one",
    "foreign_origin": "ask from your own server, not from a page",
}
FORWARDED = frozenset(
    {b"forwarded", b"via", b"x-forwarded-for", b"x-forwarded-host", b"x-forwarded-proto", b"x-real-ip"}
)
"""What proxies add: the request is somebody else's, whoever the Host header names. One that adds none can't be seen."""

_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_NAME = 100
_SHOWN_TO_PAGES = "X-Request-Id, Retry-After, Location, Idempotent-Replayed"
_ASKED_OF_PAGES = "Authorization, Content-Type, Idempotency-Key, X-Request-Id"


class Needs:
    """What a route asks of its caller, as a dependency of the route. Raises NotAllowed."""

    def __init__(self, scope: access.Scope) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> None:
        cast(Caller, request.scope[CALLER]).require(self.scope)


def needs(scope: access.Scope) -> Any:
    """For `dependencies` of a route."""
    return Depends(Needs(scope))


def secured(scope: access.Scope) -> list[dict[str, list[str]]]:
    """The same in the OpenAPI document."""
    return [{SCHEME: [scope.value]}]


SCHEME = "apiKey"
SECURITY = {
    SCHEME: {
        "type": "http",
        "scheme": "bearer",
        "bearerFormat": "nftl_<live|test>_<id>_<secret>",
        "description": "An API key of the program. The server's own machine needs none until the program has one.",
    }
}
"""How a caller shows who he is, for the OpenAPI document."""


async def caller_of(request: Request) -> Caller:
    return cast(Caller, request.scope[CALLER])


CallerDep = Annotated[Caller, Depends(caller_of)]


class Rates:
    """How often somebody may ask, in requests a second. Counted in this process: each of several servers counts its own
    share. 0 = as often as he likes."""

    def __init__(self, per_key: float, per_address: float) -> None:
        self._limiter = SlidingWindowCounterRateLimiter(MemoryStorage())
        self._per_key = _limit(per_key)
        self._per_address = _limit(per_address)

    def of_key(self, caller: Caller) -> float:
        """Count a request; how many seconds it comes too early, 0 = it may pass."""
        return self._count(self._per_key, f"key {caller.key_id}")

    def of_address(self, address: str) -> float:
        """As `of_key`, for what anybody can send: requests without a good key, and those of publishable ones."""
        return self._count(self._per_address, f"address {address}")

    def _count(self, limit: RateLimitItemPerSecond | None, who: str) -> float:
        if limit is None or self._limiter.hit(limit, who):
            return 0.0
        # The window slides: after its share of the time, one more request has room.
        return max(1.0, WINDOW_SECONDS / limit.amount)


def _limit(a_second: float) -> RateLimitItemPerSecond | None:
    if a_second == 0:
        return None
    return RateLimitItemPerSecond(max(1, round(a_second * WINDOW_SECONDS)), WINDOW_SECONDS)


class Watch:
    """Keeps what a doorkeeper knows fresh: asked anew in a thread, by one for all, while answers go on from what is
    known."""

    def __init__(self, doorkeeper: Doorkeeper) -> None:
        self.doorkeeper = doorkeeper
        self._asking: asyncio.Future[None] | None = None

    def glance(self, authorization: bytes, origin: bytes) -> Caller | None:
        """As Doorkeeper.at_a_glance, and what is known is refreshed in time."""
        caller, ageing = self.doorkeeper.at_a_glance(authorization, origin)
        if ageing:
            self._ask()
        return caller

    async def refreshed(self) -> None:
        """Wait, if what is known is too old to answer from. Raises DatabaseProblem."""
        if self.doorkeeper.is_ageing:
            asking = self._ask()
            if not self.doorkeeper.is_fresh:
                await asyncio.wait({asking})
                asking.result()

    def _ask(self) -> asyncio.Future[None]:
        if self._asking is None or self._asking.done():
            self._asking = asyncio.get_running_loop().run_in_executor(None, self.doorkeeper.refresh)
            # Who waits is told of trouble; nobody may be waiting.
            self._asking.add_done_callback(asyncio.Future.exception)
        return self._asking


class Door:
    """Lets requests in, with their caller, or answers them itself. One that has a caller was let in before."""

    def __init__(self, app: ASGIApp, watch: Watch, rates: Rates) -> None:
        self.app = app
        self._watch = watch
        self._doorkeeper = watch.doorkeeper
        self._rates = rates

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or CALLER in scope:
            await self.app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        origin = headers.get("origin", "")
        try:
            as_known = await self._is_database_away(scope["path"])
            if self._doorkeeper.is_open:
                code = refusal(scope["method"], scope["headers"])
                if code is not None:
                    await errors.problem(code, mend=MENDS[code])(scope, receive, send)
                    return
                scope[CALLER] = access.HERE
                await self.app(scope, receive, send)
                return
            if scope["method"] == "OPTIONS" and "access-control-request-method" in headers:
                await self._may_page_ask(origin, headers)(scope, receive, send)
                return
            if scope["path"] not in PUBLIC:
                scope[CALLER] = await self._caller(scope, headers, origin, as_known)
        except _TooOften as early:
            await too_often(early.seconds)(scope, receive, send)
            return
        except LoyaltyError as failure:
            await errors.of(failure)(scope, receive, send)
            return
        caller: Caller | None = scope.get(CALLER)
        if caller is None:
            await self.app(scope, receive, send)
            return
        with logs.about(key=caller.key_id):
            await self.app(scope, receive, _shown_to(origin, send) if caller.publishable else send)

    async def _is_database_away(self, path: str) -> bool:
        """Bring what is known of keys up to date. Raises DatabaseProblem, but for paths that tell of that very trouble:
        they are answered by what was known before."""
        try:
            await self._watch.refreshed()
        except DatabaseProblem:
            if path not in TELLING_OF_TROUBLE:
                raise
            return True
        return False

    async def _caller(self, scope: Scope, headers: Headers, origin: str, as_known: bool) -> Caller:
        given = headers.getlist("authorization")
        # Two of them are nobody's: a proxy and this server could each believe another one.
        authorization = given[0] if len(given) == 1 else "none of them" if given else ""
        caller, _ = self._doorkeeper.at_a_glance(authorization.encode("latin-1"), origin.encode("latin-1"))
        if caller is None:
            try:
                caller = await asyncio.to_thread(self._doorkeeper.caller, authorization, origin, as_known=as_known)
            except AccessProblem:
                _check(self._rates.of_address(address_of(scope)))
                raise
        if caller.publishable:
            _check(self._rates.of_address(address_of(scope)))
        _check(self._rates.of_key(caller))
        return caller

    def _may_page_ask(self, origin: str, headers: Headers) -> Response:
        """A browser asks on a page's behalf, without the key, before it sends what the page wants to send."""
        if origin not in self._doorkeeper.origins():
            return errors.problem("wrong_origin", mend="name the page's origin when the key is made")
        answer = Response(status_code=204)
        answer.headers["Access-Control-Allow-Origin"] = origin
        answer.headers["Access-Control-Allow-Methods"] = "GET, POST"
        answer.headers["Access-Control-Allow-Headers"] = _ASKED_OF_PAGES
        answer.headers["Access-Control-Max-Age"] = "600"
        answer.headers["Vary"] = "Origin"
        return answer


class _TooOften(Exception):
    def __init__(self, seconds: float) -> None:
        super().__init__(seconds)
        self.seconds = seconds


def _check(seconds: float) -> None:
    if seconds > 0:
        raise _TooOften(seconds)


def too_often(seconds: float) -> Response:
    """The answer to who asks too often; he may again after so many seconds."""
    wait = math.ceil(seconds)
    answer = errors.problem("too_many_requests", mend=f"wait {wait} second{'' if wait == 1 else 's'}, then ask slower")
    answer.headers["Retry-After"] = str(wait)
    return answer


def address_of(scope: Scope) -> str:
    """Of whoever sent the request; of an IPv6 address its /64, which one customer of a provider has to himself."""
    host = scope["client"][0] if scope.get("client") else ""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return host
    if address.version == 6:
        mapped = address.ipv4_mapped
        return str(mapped) if mapped is not None else str(ipaddress.ip_network((address, 64), strict=False))
    return str(address)


def _shown_to(origin: str, send: Send) -> Send:
    """Lets the page read the answer, which its browser else keeps from it."""

    async def answer(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            headers["Access-Control-Allow-Origin"] = origin
            headers["Access-Control-Expose-Headers"] = _SHOWN_TO_PAGES
            headers.add_vary_header("Origin")
        await send(message)

    return answer


# --------------------------------------------------------------------------------------------------- this machine alone


class OnlyThisMachine:
    """Answers only requests made to this machine by a name of its own, and changes nothing for pages of other sites.

    A page in a browser can make its own domain point to 127.0.0.1 (DNS rebinding); the Host header then gives it away.
    It can also post to 127.0.0.1 without being allowed to read the answer; its Origin gives that away. A proxy often
    asks in the name of 127.0.0.1, for anybody; what it adds gives that away.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        code = refusal(scope["method"], scope["headers"]) if scope["type"] == "http" else None
        if code is not None:
            await errors.problem(code, mend=MENDS[code])(scope, receive, send)
            return
        scope[CALLER] = access.HERE
        await self.app(scope, receive, send)


def refusal(method: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The code of what is wrong with where a request comes from that brings no key."""
    hosts, origins = [], []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"origin":
            origins.append(value)
        elif name in FORWARDED:
            return "by_proxy"
    if not hosts or not all(names_this_machine(b"//" + host) for host in hosts):
        return "wrong_host"
    # A wallet extension's own origin has another scheme; no web page can take it on. "null" has none.
    pages = [each for each in origins if each.partition(b":")[0] in (b"null", b"http", b"https")]
    if method not in _SAFE_METHODS and not all(names_this_machine(origin) for origin in pages):
        return "foreign_origin"
    return None


def names_this_machine(url: bytes) -> bool:
    # Nearly all requests name the same few; what is long is none of them, and is not kept.
    return _is_here(url) if len(url) <= _LONGEST_NAME else _is_here.__wrapped__(url)


@lru_cache(64)
def _is_here(url: bytes) -> bool:
    try:
        name = urlsplit(url.decode("latin-1")).hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
