"""The ASGI application: one program, on loopback, until there are API keys."""

import ipaddress
import re
from typing import Any
from urllib.parse import urlsplit

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nftloyalty import __version__
from nftloyalty.web import claims, errors, gate, health, ownership
from nftloyalty.web.deps import Service
from nftloyalty.web.schemas import problem_schemas

LARGEST_BODY_BYTES = 64 * 1024
DEEPEST_BODY = 16

# An unclosed string runs to the end of the text: tried anew at each of its quotes, it would take quadratic time.
_NESTING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)
"""A string, or a bracket outside of strings."""


class OnlyThisMachine:
    """Answers only requests made to this machine by a name of its own.

    A page in a browser can make its own domain point to 127.0.0.1 (DNS rebinding); the Host header then gives it away.
    """

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and not _names_this_machine(Headers(scope=scope).get("host", "")):
            refusal = errors.problem(400, "wrong_host", "the Host header does not name this machine")
            await refusal(scope, receive, send)
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
                detail = f"at most {LARGEST_BODY_BYTES} bytes"
                await errors.problem(413, "http_413", "the request is too large", detail)(scope, receive, send)
                return
            if not message.get("more_body", False):
                break
        if _too_deep(body):
            detail = f"at most {DEEPEST_BODY} levels"
            await errors.problem(422, "bad_input", "the request is nested too deep", detail)(scope, receive, send)
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
    api = FastAPI(
        title="nftloyalty",
        version=__version__,
        summary="Who is a member, what that opens, and how vouchers become cards and stamps.",
        docs_url=None,
        redoc_url=None,
    )
    api.state.service = service
    errors.install(api)
    for part in (ownership, gate, claims, health):
        api.include_router(part.router)
    api.add_middleware(LimitBody)
    api.add_middleware(OnlyThisMachine)

    def described() -> dict[str, Any]:
        """The OpenAPI document, with the shape of our errors, which no route answers with on its good day."""
        if api.openapi_schema is None:
            found = get_openapi(title=api.title, version=api.version, summary=api.summary, routes=api.routes)
            found["components"]["schemas"] |= problem_schemas()
            api.openapi_schema = found
        return api.openapi_schema

    # FastAPI's documented way to change the document: the method is replaced on the instance.
    api.openapi = described  # type: ignore[method-assign]
    return api


def _names_this_machine(host: str) -> bool:
    try:
        name = urlsplit(f"//{host}").hostname or ""
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
