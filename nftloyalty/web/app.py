"""The ASGI application: one program, on loopback, until there are API keys."""

import ipaddress
import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nftloyalty import __version__
from nftloyalty.app.checking import Checks
from nftloyalty.web import check, claims, errors, gate, health, ownership
from nftloyalty.web.deps import Service
from nftloyalty.web.schemas import problem_schemas

LARGEST_BODY_BYTES = 64 * 1024
DEEPEST_BODY = 16

# An unclosed string runs to the end of the text: tried anew at each of its quotes, it would take quadratic time.
_NESTING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)
"""A string, or a bracket outside of strings."""


class OnlyThisMachine:
    """Answers only requests made to this machine by a name of its own, and changes nothing for pages of other sites.

    A page in a browser can make its own domain point to 127.0.0.1 (DNS rebinding); the Host header then gives it away.
    It can also post to 127.0.0.1 without being allowed to read the answer; its Origin gives that away.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        code = _refusal(scope["method"], scope["headers"]) if scope["type"] == "http" else None
        if code is not None:
            await errors.problem(code, mend=_MENDS[code])(scope, receive, send)
            return
        await self.app(scope, receive, send)


class LimitBody:
    """Reads the whole body before anybody parses it, and refuses one that is too long or nested too deep.

    Length is counted, not believed. Depth matters because Python's JSON reader recurses: libraries of the embedded
    chain raise its recursion limit so far that deep nesting would end the process instead of raising an error.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        body = b""
        while True:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message.get("body", b"")
            if len(body) > LARGEST_BODY_BYTES:
                await errors.problem("body_too_large", f"at most {LARGEST_BODY_BYTES} bytes")(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        if _too_deep(body):
            await errors.problem("body_too_deep", f"at most {DEEPEST_BODY} levels")(scope, receive, send)
            return
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": body, "more_body": False}

        await self.app(scope, replay, send)


def create_web(service: Service) -> FastAPI:
    """Build the application around a service. There are no API keys yet, so it answers to this machine only."""
    checks = Checks(service.app, service.opened)
    api = FastAPI(
        title="nftloyalty",
        version=__version__,
        summary="Who is a member, what that opens, and how vouchers become cards and stamps.",
        docs_url=None,
        redoc_url=None,
        lifespan=lambda _api: check.connected(checks),
        # Even asking whether anybody listens to it takes as long as half a check.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    api.state.service = service
    errors.install(api)
    for part in (ownership, gate, claims, health):
        api.include_router(part.router)
    api.add_middleware(LimitBody)
    api.add_middleware(check.CheckRoute, checks=checks)
    api.add_middleware(OnlyThisMachine)

    def described() -> dict[str, Any]:
        """The OpenAPI document, with the shape of our errors, which no route answers with on its good day."""
        if api.openapi_schema is None:
            found = get_openapi(title=api.title, version=api.version, summary=api.summary, routes=api.routes)
            found["paths"] |= check.described()
            found["components"]["schemas"] |= problem_schemas()
            # FastAPI adds its own 422 wherever there is a parameter, also where any text will do.
            for schema in ("HTTPValidationError", "ValidationError"):
                found["components"]["schemas"].pop(schema, None)
            for operation in (each for path in found["paths"].values() for each in path.values()):
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]
            api.openapi_schema = found
        return api.openapi_schema

    # FastAPI's documented way to change the document: the method is replaced on the instance.
    api.openapi = described  # type: ignore[method-assign]
    return api


_MENDS = {
    "wrong_host": "ask for http://127.0.0.1 and the port; on a network, put a server of your own in front",
    "foreign_origin": "ask from your own server, not from a page",
}
_SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
_LONGEST_NAME = 100


def _refusal(method: str, headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """The code of what is wrong with where a request comes from."""
    hosts, origins = [], []
    for name, value in headers:
        if name == b"host":
            hosts.append(value)
        elif name == b"origin":
            origins.append(value)
    if not hosts or not all(_names_this_machine(b"//" + host) for host in hosts):
        return "wrong_host"
    # A wallet extension's own origin has another scheme; no web page can take it on. "null" has none.
    pages = [each for each in origins if each.partition(b":")[0] in (b"null", b"http", b"https")]
    if method not in _SAFE_METHODS and not all(_names_this_machine(origin) for origin in pages):
        return "foreign_origin"
    return None


def _names_this_machine(url: bytes) -> bool:
    # Nearly all requests name the same few; what is long is none of them, and is not kept.
    return _is_here(url) if len(url) <= _LONGEST_NAME else _is_here.__wrapped__(url)


@lru_cache(64)
def _is_here(url: bytes) -> bool:
    try:
        name = urlsplit(url.decode("latin-1")).hostname or ""
        return name == "localhost" or ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False


def _too_deep(body: bytes) -> bool:
    depth = 0
    for token in _NESTING.finditer(body):
        if token[0] in b"[{":
            depth += 1
            if depth > DEEPEST_BODY:
                return True
        elif token[0] in b"]}":
            depth -= 1
    return False
