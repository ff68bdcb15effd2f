"""The ASGI applications: one program, for whoever may ask; and what a worker shows of itself."""

import asyncio
import logging
import re
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from types import MappingProxyType
from typing import Any

from fastapi import APIRouter, FastAPI
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from nftloyalty import __version__, logs
from nftloyalty.app.access import Doorkeeper
from nftloyalty.app.checking import Checks, Question
from nftloyalty.domain.access import HERE, Caller
from nftloyalty.domain.access import Scope as Allowed
from nftloyalty.errors import DatabaseProblem, LoyaltyError
from nftloyalty.web import (
    acts,
    api_keys,
    check,
    claims,
    direct,
    document,
    errors,
    events,
    gate,
    health,
    intents,
    metrics,
    mints,
    ownership,
    programs,
    vouchers,
    webhooks,
)
from nftloyalty.web.access import (
    CALLER,
    FORWARDED,
    Door,
    OnlyThisMachine,
    Rates,
    Watch,
    names_this_machine,
)
from nftloyalty.web.deps import Service
from nftloyalty.web.metrics import Answers
from nftloyalty.web.patience import BODY_SECONDS

requests = logging.getLogger("nftloyalty.web.access")
log = logging.getLogger(__name__)

REQUEST_ID = "X-Request-Id"
_REQUEST_ID_HEADER = REQUEST_ID.lower().encode()
LARGEST_BODY_BYTES = 64 * 1024
DEEPEST_BODY = 16

# An unclosed string runs to the end of the text: tried anew at each of its quotes, it would take quadratic time.
_NESTING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)
"""A string, or a bracket outside of strings."""

# What other servers and proxies make: a UUID, a trace id. Nothing that could be markup, or a line of its own.
_REQUEST_ID = re.compile(r"[A-Za-z0-9][A-Za-z0-9._:-]{0,127}")
_CLAIM_ID = re.compile(r"int_[0-9a-z]{1,60}")


class Accounted:
    """Gives each request an id, and logs and counts its answer.

    An id that comes with the request is kept, so that one thing has one name through several servers. Routes are told
    by their templates: what was asked for may be a wallet.
    """

    def __init__(self, app: ASGIApp, program: str, new_id: Callable[[str], str], answers: Answers) -> None:
        self.app = app
        self._program = program
        self._new_id = new_id
        self._answers = answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        began = time.perf_counter()
        request_id = _given_id(Headers(scope=scope)) or self._new_id("req")
        status = 0

        async def answer(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                MutableHeaders(scope=message)[REQUEST_ID] = request_id
            await send(message)

        with logs.about(request_id=request_id, program=self._program):
            try:
                await self.app(scope, receive, answer)
            except Exception:
                log.exception("a request failed")
                if status == 0:
                    await errors.problem("internal")(scope, receive, answer)
            seconds = time.perf_counter() - began
            route = getattr(scope.get("route"), "path", metrics.NO_ROUTE)
            self._answers.of(scope["method"], route, status).note(seconds)
            if requests.isEnabledFor(logging.INFO):
                about: dict[str, Any] = {"method": scope["method"], "route": route, "status": status}
                about |= {"milliseconds": round(seconds * 1000, 1), **_key_of(scope), **_claim_of(scope)}
                requests.info("answered" if status else "who asked has left", extra=about)


class Quick:
    """The program's application `app`, with a short way for checks: outermost, past all that takes time. `api` is its
    innermost part.

    Only what is plainly a check and is answered with yes or no goes that way. Everything else goes the long way, where
    it is refused, mended, told and logged as it is for all routes.
    """

    def __init__(
        self,
        api: FastAPI,
        app: ASGIApp,
        questions: check.Questions,
        new_id: Callable[[str], str],
        answers: Answers,
        watch: Watch,
        rates: Rates,
    ) -> None:
        self.api = api
        self._app = app
        self._questions = questions
        self._new_id = new_id
        self._watch = watch
        self._rates = rates
        self._turn: check.Turn | None = None
        self._writer = check.Writer()
        self._tally = answers.of("GET", check.ROUTE, 200)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = self._asked(scope)
        if asked is None:
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        wallet, question, digits, request_id = asked
        turn = self._turn
        if turn is None or not turn.is_open:
            # One id for all of a turn: making one takes as long as looking two wallets up.
            turn = self._turn = check.Turn(self._questions.checks, self._new_id("req").encode())
        place = turn.join(question, digits)
        await check.next_turn()
        answers = turn.answers
        if answers is None:
            answers = turn.look_up()
        if not answers:
            await self._app(scope, receive, send)
            return
        headers, body = self._writer.response(wallet, answers[place])
        own = (_REQUEST_ID_HEADER, request_id or b"%b-%d" % (turn.name, place))
        await send({"type": "http.response.start", "status": 200, "headers": (*headers, own)})
        await send({"type": "http.response.body", "body": body})
        self._tally.note(time.perf_counter() - began)

    def _asked(self, scope: Scope) -> tuple[str, Question, bytes, bytes] | None:
        """The wallet as it is written, what is asked of it, the wallet, and the request's own id, empty if it brings
        none; None where this is not plainly a check."""
        if scope["type"] != "http" or not scope["path"].startswith(check.PATH) or scope["method"] != "GET":
            return None
        # A line for each yes takes longer than the yes: who wants them asks for all that can be logged.
        if requests.isEnabledFor(logging.DEBUG):
            return None
        request_id = self._plainly_let_in(scope)
        if request_id is None:
            return None
        wallet = scope["path"][len(check.PATH) :]
        try:
            return wallet, self._questions.of(scope["query_string"]), check.wallet_bytes(wallet), request_id
        except LoyaltyError:
            return None

    def _plainly_let_in(self, scope: Scope) -> bytes | None:
        """The request's own id, empty if it brings none, and its caller in the scope: the door does not count it once
        more. None where the door must look at it closely."""
        host = authorization = origin = given = None
        forwarded = False
        for name, value in scope["headers"]:
            if name == b"host":
                if host is not None:
                    return None
                host = value
            elif name == b"authorization":
                if authorization is not None:
                    return None
                authorization = value
            elif name == b"origin":
                if origin is not None:
                    return None
                origin = value
            elif name in FORWARDED:
                forwarded = True
            elif name == _REQUEST_ID_HEADER:
                if given is not None or not _REQUEST_ID.fullmatch(value.decode("latin-1")):
                    return None
                given = value
        caller = self._watch.glance(authorization or b"", origin or b"")
        if caller is HERE:
            if forwarded or not names_this_machine(b"//" + (host or b"")):
                return None
        # A page is told more than the answer.
        elif caller is None or caller.publishable or not caller.may(Allowed.CHECKS_READ) or self._rates.of_key(caller):
            return None
        scope[CALLER] = caller
        return given or b""


class LimitBody:
    """Reads the whole body before anybody parses it, and refuses one that is too slow, too long or nested too deep.

    `most` are bytes for the paths that take more than others.

    Length is counted, not believed. Depth matters because Python's JSON reader recurses: libraries of the embedded
    chain raise its recursion limit so far that deep nesting would end the process instead of raising an error.
    """

    def __init__(self, app: ASGIApp, most: Mapping[str, int] = MappingProxyType({})) -> None:
        self.app = app
        self._most = most

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        most = self._most.get(scope["path"], LARGEST_BODY_BYTES)
        body = bytearray()
        try:
            async with asyncio.timeout(BODY_SECONDS):
                while True:
                    message = await receive()
                    if message["type"] == "http.disconnect":
                        return
                    body += message.get("body", b"")
                    if len(body) > most or not message.get("more_body", False):
                        break
        except TimeoutError:
            await _refused("body_too_slow", f"it must be here within {BODY_SECONDS:g} seconds")(scope, receive, send)
            return
        if len(body) > most:
            await _refused("body_too_large", f"at most {most} bytes")(scope, receive, send)
            return
        # What is longer is read by a parser that refuses depth by itself.
        if len(body) <= LARGEST_BODY_BYTES and _too_deep(body):
            await errors.problem("body_too_deep", f"at most {DEEPEST_BODY} levels")(scope, receive, send)
            return
        read = False

        async def replay() -> Message:
            nonlocal read
            if read:
                return await receive()
            read = True
            return {"type": "http.request", "body": bytes(body), "more_body": False}

        await self.app(scope, replay, send)


_PARTS = (
    programs,
    ownership,
    gate,
    mints,
    acts,
    intents,
    vouchers,
    claims,
    events,
    webhooks,
    api_keys,
    health,
    metrics,
)
ROUTERS: tuple[APIRouter, ...] = tuple(part.router for part in _PARTS)


def create_web(service: Service) -> Quick:
    """Build the application around a service."""
    settings = service.app.settings
    doorkeeper = Doorkeeper(service.app, service.opened, always=service.reachable)
    watch = Watch(doorkeeper)
    rates = Rates(settings.rate_per_key, settings.rate_per_address)
    questions, answers = check.Questions(Checks(service.app, service.opened)), Answers()
    api = _application(
        service,
        "Who is a member, what that opens, and how vouchers become cards and stamps.",
        ROUTERS,
        answers,
        questions,
    )
    api.router.lifespan_context = lambda _api: _living(watch, questions)
    api.state.doorkeeper = doorkeeper
    # Around the framework, not in it: what does without its routes shall do without the rest of it, too.
    app: ASGIApp = direct.Direct(api, service.intake)
    app = LimitBody(app, {"/v1/batches": mints.LARGEST_BATCH_BYTES})
    app = check.CheckRoute(app, questions)
    app = Door(app, watch, rates)
    app = Accounted(app, service.opened.program.id, service.app.new_id, answers)
    return Quick(api, app, questions, service.app.new_id, answers, watch, rates)


def create_watch(service: Service) -> FastAPI:
    """What a worker shows of itself: health and numbers, to this machine only."""
    answers = Answers()
    api = _application(service, "How a worker is.", [health.router, metrics.router], answers)
    api.add_middleware(LimitBody)
    api.add_middleware(OnlyThisMachine)
    api.add_middleware(Accounted, program=service.opened.program.id, new_id=service.app.new_id, answers=answers)
    return api


@asynccontextmanager
async def _living(watch: Watch, questions: check.Questions) -> AsyncIterator[None]:
    async with check.connected(questions.checks):
        # A database that is away now is asked again by the first request.
        with suppress(DatabaseProblem):
            await watch.refreshed()
        try:
            yield
        finally:
            try:
                await asyncio.to_thread(watch.doorkeeper.close)
            except DatabaseProblem as failure:
                log.warning("when keys were used last stays unsaid: %s", failure.message)


def _application(
    service: Service,
    summary: str,
    routers: Sequence[APIRouter],
    answers: Answers,
    questions: check.Questions | None = None,
) -> FastAPI:
    api = FastAPI(
        title="nftloyalty",
        version=__version__,
        summary=summary,
        docs_url=None,
        redoc_url=None,
        # Even asking whether anybody listens to it takes as long as half a check.
        telemetry={"tracing": False, "metrics": False, "logs": False},
    )
    api.state.service = service
    api.state.registry = metrics.registry_of(service, answers)
    errors.install(api)
    for router in routers:
        api.include_router(router)

    def described() -> dict[str, Any]:
        if api.openapi_schema is None:
            api.openapi_schema = document.described(api, routers, with_checks=questions is not None)
        return api.openapi_schema

    # FastAPI's documented way to change the document: the method is replaced on the instance.
    api.openapi = described  # type: ignore[method-assign]
    return api


def _given_id(headers: Headers) -> str | None:
    """The request's own id, if it is one and no more."""
    given = headers.getlist(REQUEST_ID)
    return given[0] if len(given) == 1 and _REQUEST_ID.fullmatch(given[0]) else None


def _key_of(scope: Scope) -> logs.Fields:
    """The id of the API key that was sent, if it was a good one."""
    caller: Caller | None = scope.get(CALLER)
    return {"key": caller.key_id} if caller is not None and caller.key_id else {}


def _claim_of(scope: Scope) -> logs.Fields:
    """Which claim was asked about. Its id is looked at: a path can hold anything."""
    claim = scope.get("path_params", {}).get("claim_id", "")
    return {"intent": claim} if _CLAIM_ID.fullmatch(claim) else {}


def _refused(code: str, detail: str) -> Response:
    """Of a body that is not read to its end: what is still to come of it must not be taken for another request."""
    answer = errors.problem(code, detail)
    answer.headers["Connection"] = "close"
    return answer


def _too_deep(body: bytes | bytearray) -> bool:
    depth = 0
    for token in _NESTING.finditer(body):
        if token[0] in b"[{":
            depth += 1
            if depth > DEEPEST_BODY:
                return True
        elif token[0] in b"]}":
            depth -= 1
    return False
