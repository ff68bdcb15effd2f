"""Requests for one card or stamp by the shortest way: before the framework, whose part of the time that they take would
be larger than that of all else together, the commit included.

Only what is plainly such a request goes that way; the rest goes on to the routes of `mints`, where it is refused,
mended and told as it is for all routes. Both ways ask the same intake, with the same words.
"""

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

from nftloyalty.app.intake import Intake
from nftloyalty.domain.access import Caller
from nftloyalty.domain.answer import Answer, answer_key
from nftloyalty.errors import LoyaltyError
from nftloyalty.web import errors
from nftloyalty.web.access import CALLER
from nftloyalty.web.deps import declares_json
from nftloyalty.web.mints import NEEDED, REPLAYED, Ask, decoded, told


@dataclass(frozen=True)
class _Route:
    """What accounts find in the place of a route of the framework."""

    path: str


class Direct:
    """Takes in single mints, and hands on everything else. It takes one message for the whole body: it stands behind
    what gathers bodies."""

    def __init__(self, app: ASGIApp, intake: Intake | None) -> None:
        self.app = app
        asks: Mapping[str, Ask] = {"/v1/mints": intake.card, "/v1/stamps": intake.stamp} if intake is not None else {}
        self._asks = {path: (ask, _Route(path), f"POST {path}") for path, ask in asks.items()}
        self._awaited = Awaited()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        found = self._asks.get(scope["path"]) if scope["type"] == "http" and scope["method"] == "POST" else None
        key = _plain_key(scope) if found is not None else ""
        if found is None or not key or not cast(Caller, scope[CALLER]).may(NEEDED):
            await self.app(scope, receive, send)
            return
        ask, scope["route"], route = found
        message = await receive()
        try:
            body = decoded(message.get("body", b""))
            outcome = self._awaited.outcome()
            ask(body, told, answer_key(route, key, body, kept=True), outcome)
            answer = await outcome.here
        except LoyaltyError as failure:
            await errors.of(failure)(scope, receive, send)
            return
        text = answer.said.body.encode()
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(text))]
        if answer.replayed:
            headers += _REPLAYED
        await send({"type": "http.response.start", "status": answer.said.status, "headers": headers})
        await send({"type": "http.response.body", "body": text})


_REPLAYED = [(name.lower().encode(), value.encode()) for name, value in REPLAYED.items()]


def _plain_key(scope: Scope) -> str:
    """The one Idempotency-Key of a request that is declared as JSON, as every request should be; else empty."""
    key = media = None
    for name, value in scope["headers"]:
        if name == b"idempotency-key":
            if key is not None:
                return ""
            key = value
        elif name == b"content-type":
            if media is not None:
                return ""
            media = value
    return (key or b"").decode("latin-1") if declares_json((media or b"").decode("latin-1")) else ""


class Awaited:
    """Outcomes that a loop waits for and another thread brings about. What that thread does for many at once wakes the
    loop once: to be woken takes each of both threads longer than to be told."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._done: list[tuple[asyncio.Future[Answer], Answer | BaseException]] = []

    def outcome(self) -> "AwaitedOutcome":
        """To be asked for in the loop."""
        return AwaitedOutcome(self, asyncio.get_running_loop())

    def tell(self, to: "AwaitedOutcome", result: Answer | BaseException) -> None:
        """From any thread."""
        with self._lock:
            self._done.append((to.here, result))
            first = len(self._done) == 1
        if first:
            # A loop that has ended has nobody who waits; whoever tells goes on.
            with suppress(RuntimeError):
                to.loop.call_soon_threadsafe(self._settle)

    def _settle(self) -> None:
        with self._lock:
            settled, self._done = self._done, []
        for here, result in settled:
            if here.cancelled():
                continue
            if isinstance(result, BaseException):
                here.set_exception(result)
            else:
                here.set_result(result)


class AwaitedOutcome:
    """`here` is what is awaited. If whoever awaits it is cancelled, the request is carried out all the same."""

    __slots__ = ("_awaited", "here", "loop")

    def __init__(self, awaited: Awaited, loop: asyncio.AbstractEventLoop) -> None:
        self._awaited = awaited
        self.loop = loop
        self.here: asyncio.Future[Answer] = loop.create_future()

    def set_running_or_notify_cancel(self) -> bool:
        return True

    def set_result(self, result: Answer) -> None:
        self._awaited.tell(self, result)

    def set_exception(self, exception: BaseException | None) -> None:
        self._awaited.tell(self, exception or RuntimeError("nothing became of it"))
