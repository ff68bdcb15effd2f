"""The ASGI application: one program, on loopback, until there are API keys."""

from fastapi import FastAPI
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nftloyalty import __version__
from nftloyalty.web import claims, errors, gate, health, ownership
from nftloyalty.web.deps import Service

LARGEST_BODY_BYTES = 64 * 1024
LOOPBACK_HOSTS = ["127.0.0.1", "localhost", "[::1]"]


class LimitBody:
    """Refuses bodies over the limit, by their announced length and, where that is missing or a lie, while reading."""

    def __init__(self, app: ASGIApp) -> None:
        self.app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        announced = dict(scope["headers"]).get(b"content-length", b"0")
        if not announced.isdigit() or int(announced) > LARGEST_BODY_BYTES:
            await _too_large(scope, receive, send)
            return
        seen = 0

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > LARGEST_BODY_BYTES:
                return {"type": "http.disconnect"}
            return message

        await self.app(scope, counted, send)


_too_large: ASGIApp = Response(
    '{"type":"about:blank","title":"the request is too large","status":413,"code":"http_413"}',
    status_code=413,
    media_type="application/problem+json",
)


def create_web(service: Service) -> FastAPI:
    """Build the application around a service. Reading needs no key; so it answers only requests made to loopback names,
    which also stops pages in a browser from reaching it by a name of their own (DNS rebinding)."""
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
    api.add_middleware(TrustedHostMiddleware, allowed_hosts=LOOPBACK_HOSTS)
    return api
