"""The check at a checkout, `GET /v1/check/{wallet}`: the gate's question by the shortest way there is.

It stands before the framework: no request and response objects, no thread, no model. Reads only. Whoever asks in one
turn of the server's loop is answered by one look-up, which blocks the loop for some microseconds a wallet as a rule and
for store.checks.LONGEST_SECONDS at the most, less than going to a thread and back would take. Whatever may take longer,
a connection that is opened, is done in a thread.

An ordinary check goes by `Turns` (web.app.Quick asks it); whatever is refused or in trouble goes by `CheckRoute`, which
stands where the other routes do.
"""

import asyncio
import difflib
import logging
import types
from collections.abc import AsyncIterator, Generator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from typing import Any, cast
from urllib.parse import parse_qsl

import orjson
from starlette.types import ASGIApp, Receive, Scope, Send

from nftloyalty.app.checking import MOST_AT_ONCE, Answer, Checks, Question
from nftloyalty.domain.access import Caller
from nftloyalty.domain.access import Scope as Allowed
from nftloyalty.domain.address import parse_address
from nftloyalty.domain.gate import Consistency
from nftloyalty.errors import BadInput, DatabaseProblem, LoyaltyError, Problem
from nftloyalty.web import errors
from nftloyalty.web.access import CALLER, secured
from nftloyalty.web.misfits import COPY_IT, escaped
from nftloyalty.web.schemas import GateOut, problems

log = logging.getLogger(__name__)

PATH = "/v1/check/"
ROUTE = PATH + "{wallet}"
LONGEST_QUERY = 16 * 1024
LONGEST_ID = 64
MOST_STAMPS = 120
MOST_TOLD = 20

# A storefront asks few different things, and asks them of everybody. What is kept is small.
_QUESTIONS_KEPT = 512
_LONGEST_KEPT = 1024
_WALLETS_KEPT = 16 * 1024

MEND_SECONDS = 1.0
"""How long a request waits for a connection that is opened anew, and how long none is tried after that was in vain."""

_ONCE = ("tier", "active", "consistency")
_NAMES = (*_ONCE, "stamp")
_YES_NO = {"true": True, "1": True, "false": False, "0": False}


class Questions:
    """Queries as a program's checks understand them. An answer is never kept, what was asked is."""

    def __init__(self, checks: Checks) -> None:
        self.checks = checks
        self._kept = lru_cache(_QUESTIONS_KEPT)(self._read)

    def of(self, query: bytes) -> Question:
        """Raises BadInput and Unknown."""
        return self._kept(query) if len(query) <= _LONGEST_KEPT else self._read(query)

    def _read(self, query: bytes) -> Question:
        return self.checks.question(**_read(query))


class Turn:
    """Checks that are asked in one turn of the server's loop, and are answered by look-ups they share.

    Whoever joins waits for `next_turn`. By then all whose requests had come are here, and the first to go on looks up
    for all: after all of them were asked, so nobody is told of less than was known when he asked.
    """

    __slots__ = ("_asked", "_checks", "answers", "name")

    def __init__(self, checks: Checks, name: bytes) -> None:
        self.name = name
        self.answers: Sequence[Answer] | None = None
        """None before they were looked up."""
        self._checks = checks
        self._asked: list[tuple[Question, bytes]] = []

    @property
    def is_open(self) -> bool:
        return self.answers is None and len(self._asked) < MOST_AT_ONCE

    def join(self, question: Question, wallet: bytes) -> int:
        """The place among the answers."""
        self._asked.append((question, wallet))
        return len(self._asked) - 1

    def look_up(self) -> Sequence[Answer]:
        """Empty in trouble, whatever it is: on the long way it comes up again, and is told and logged there."""
        try:
            self.answers = self._checks.answers(self._asked)
        except Exception:
            self.answers = ()
        return self.answers


@types.coroutine
def next_turn() -> Generator[None]:
    """What asyncio.sleep(0) does, in short."""
    yield


Headers = tuple[tuple[bytes, bytes], ...]

# A proxy on the way must not keep a yes.
_HEADERS: Headers = ((b"content-type", b"application/json"), (b"cache-control", b"no-store"))
_BEGINNING = b'{"wallet":"'
_WALLET_LENGTH = 42


class Writer:
    """Writes answers as JSON. Most are yes as of the same block and second, and differ in nothing but the wallet."""

    def __init__(self) -> None:
        self._as_of: Mapping[str, Any] | None = None
        self._yes: tuple[Headers, bytes] = (), b""

    def response(self, wallet: str, answer: Answer) -> tuple[Headers, bytes]:
        """Headers and body. `wallet` as wallet_bytes takes it."""
        if not answer.allowed:
            headers, rest = _without_wallet(answer)
        else:
            # As of the same block and second, it is the same object.
            if answer.as_of is not self._as_of:
                self._as_of, self._yes = answer.as_of, _without_wallet(answer)
            headers, rest = self._yes
        return headers, _BEGINNING + wallet.encode() + rest


def _without_wallet(answer: Answer) -> tuple[Headers, bytes]:
    """Headers, and what follows the wallet in the body."""
    told = {
        "allowed": answer.allowed,
        "reasons": [{"code": reason.code, "sentence": reason.sentence} for reason in answer.reasons],
        "as_of": answer.as_of,
    }
    rest = b'",' + orjson.dumps(told).removeprefix(b"{")
    length = b"%d" % (len(_BEGINNING) + _WALLET_LENGTH + len(rest))
    return (*_HEADERS, (b"content-length", length)), rest


@dataclass(frozen=True)
class _Route:
    """What accounts find in the place of a route of the framework."""

    path: str


class CheckRoute:
    """Answers its own route, whatever is asked of it, and hands on everything else."""

    def __init__(self, app: ASGIApp, questions: Questions) -> None:
        self.app = app
        self._questions = questions
        self._checks = questions.checks
        self._mending: asyncio.Future[None] | None = None
        self._rests_until = 0.0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = scope["path"] if scope["type"] == "http" else ""
        wallet = path[len(PATH) :] if path.startswith(PATH) else ""
        if not wallet or "/" in wallet:
            await self.app(scope, receive, send)
            return
        scope["route"] = _Route(ROUTE)
        if scope["method"] != "GET":
            refused = errors.problem("method_not_allowed")
            refused.headers["Allow"] = "GET"
            await refused(scope, receive, send)
            return
        try:
            cast(Caller, scope[CALLER]).require(Allowed.CHECKS_READ)
            asked = self._questions.of(scope["query_string"])
            answer = await self._answer(asked, wallet_bytes(wallet))
        except LoyaltyError as failure:
            await errors.of(failure)(scope, receive, send)
            return
        headers, body = Writer().response(wallet, answer)
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})

    async def _answer(self, asked: Question, wallet: bytes) -> Answer:
        try:
            return self._look_up(asked, wallet)
        except DatabaseProblem:
            if not await self._mended():
                raise
        try:
            return self._look_up(asked, wallet)
        except DatabaseProblem:
            self._rest()
            raise

    def _look_up(self, asked: Question, wallet: bytes) -> Answer:
        (answer,) = self._checks.answers([(asked, wallet)])
        return answer

    async def _mended(self) -> bool:
        """Whether the connection is open again. One thread opens it, however many requests wait for that."""
        if self._mending is None or self._mending.done():
            loop = asyncio.get_running_loop()
            if loop.time() < self._rests_until:
                return False
            self._mending = loop.run_in_executor(None, self._checks.look_ups.open)
            self._mending.add_done_callback(asyncio.Future.exception)
        mending = self._mending
        done, _ = await asyncio.wait({mending}, timeout=MEND_SECONDS)
        if done and mending.exception() is None:
            return True
        self._rest()
        return False

    def _rest(self) -> None:
        """A database that does not answer is not asked by every request: each would hold up all others."""
        self._rests_until = asyncio.get_running_loop().time() + MEND_SECONDS


@asynccontextmanager
async def connected(checks: Checks) -> AsyncIterator[None]:
    """Open while the server lives. A database that can't be reached now is tried again when a check asks for it."""
    try:
        await asyncio.to_thread(checks.look_ups.open)
    except DatabaseProblem as failure:
        log.warning("checks wait: %s", failure.message)
    try:
        yield
    finally:
        checks.look_ups.close()


def wallet_bytes(text: str) -> bytes:
    """The 20 bytes of an address. Raises BadInput that points at it.

    Only mixed case carries a checksum, which takes longer to verify than all the rest here.
    """
    if text.islower() and text.startswith("0x"):
        try:
            found = bytes.fromhex(text[2:])
        except ValueError:
            return _verified(text)
        # Fewer bytes: fromhex skips spaces.
        if len(found) == 20 and len(text) == _WALLET_LENGTH and found != _ZERO:
            return found
    return _verified(text)


_ZERO = bytes(20)


@lru_cache(_WALLETS_KEPT)
def _verified(text: str) -> bytes:
    try:
        return bytes.fromhex(parse_address(text)[2:])
    except ValueError as wrong:
        raise BadInput("request", [Problem("/wallet", str(wrong), COPY_IT)]) from None


def _read(query: bytes) -> Mapping[str, Any]:
    """The query as Checks.question takes it. Unknown names are refused, so that a misspelt condition never opens a
    gate. Raises BadInput naming every fault."""
    if len(query) > LONGEST_QUERY:
        what = f"the query has more than {LONGEST_QUERY} bytes"
        raise BadInput("request", [Problem("/", what, "ask for fewer stamps at once")])
    given: dict[str, list[str]] = {}
    for name, value in parse_qsl(query.decode("latin-1"), keep_blank_values=True):
        given.setdefault(name, []).append(value)
    found = [*_misnamed(given), *_repeated(given), *_too_long(given)]
    stamps = given.get("stamp", [])
    if len(stamps) > MOST_STAMPS:
        found.append(Problem("/stamp", f"has more than {MOST_STAMPS} entries", "make it shorter"))
    active = given.get("active", [""])[0]
    if "active" in given and active not in _YES_NO:
        found.append(Problem("/active", "must be true or false", "write active=true, or leave it out"))
    consistency = given.get("consistency", [Consistency.HEAD.value])[0]
    if consistency not in (Consistency.HEAD, Consistency.FINAL):
        asks = "POST /v1/gate asks the node" if consistency == Consistency.LIVE else "or leave it out"
        found.append(Problem("/consistency", "must be head or final", asks))
    if found:
        raise BadInput("request", found)
    return {
        "active": _YES_NO.get(active, not stamps),
        "tier": given["tier"][0] if "tier" in given else None,
        "stamps": tuple(stamps),
        "consistency": Consistency(consistency),
    }


def _misnamed(given: Mapping[str, Sequence[str]]) -> list[Problem]:
    found = []
    # Looking for what was meant takes time, and all who ask wait for it.
    for name in islice((name for name in given if name not in _NAMES), MOST_TOLD):
        near = difflib.get_close_matches(name[:LONGEST_ID], _NAMES, 1)
        mend = f"did you mean {near[0]}?" if near else f"known here: {', '.join(_NAMES)}"
        found.append(Problem(f"/{escaped(name[:LONGEST_ID])}", "is not known", mend))
    return found


def _repeated(given: Mapping[str, Sequence[str]]) -> list[Problem]:
    return [Problem(f"/{name}", "is given twice", "give it once") for name in _ONCE if len(given.get(name, ())) > 1]


def _too_long(given: Mapping[str, Sequence[str]]) -> list[Problem]:
    places = [("/tier", given.get("tier", [""])[0])]
    places += [(f"/stamp/{number}", stamp) for number, stamp in enumerate(given.get("stamp", ()))]
    what = f"has more than {LONGEST_ID} characters"
    return [Problem(place, what, "make it shorter") for place, text in places if len(text) > LONGEST_ID]


def described() -> dict[str, Any]:
    """The route's part of the OpenAPI document, by its path: the framework does not know of it."""

    def parameter(name: str, where: str, description: str, schema: dict[str, Any], example: Any) -> dict[str, Any]:
        return {
            "name": name,
            "in": where,
            "required": where == "path",
            "description": description,
            "schema": schema,
            "example": example,
        }

    text = {"type": "string", "maxLength": LONGEST_ID}
    as_of = {
        "block": 16,
        "hash": "0x" + "5b" * 32,
        "timestamp": "2030-03-01T12:00:05Z",
        "age_seconds": 2,
        "checked_seconds_ago": 0,
        "final": True,
    }
    wallet = "0x70997970c51812dc3a010c7d01b50e0d17dc79c8"
    no = [{"code": "below_tier", "sentence": "the membership is Member, and this asks for Gold"}]
    told = {"wallet": wallet, "allowed": True, "reasons": [], "as_of": as_of}
    operation = {
        "tags": ["gate"],
        "summary": "May this wallet have it? By the shortest way",
        "description": "The question of `POST /v1/gate`, answered from the index. Without `tier` and `stamp` an active "
        "card is asked for. What is not known is refused.",
        "operationId": "check_wallet",
        "security": secured(Allowed.CHECKS_READ),
        "parameters": [
            parameter(
                "wallet",
                "path",
                "A wallet address, 0x and 40 hex digits; the answer has it as it was asked.",
                {"type": "string", "pattern": "^0x[0-9a-fA-F]{40}$"},
                wallet,
            ),
            parameter(
                "tier", "query", "A tier's id: ask for an active card of that tier or a higher one.", text, "gold"
            ),
            parameter(
                "stamp",
                "query",
                "A stamp's id; may be given more than once, then all are to be held.",
                {"type": "array", "items": text, "maxItems": MOST_STAMPS},
                ["welcome"],
            )
            | {"style": "form", "explode": True},
            parameter(
                "active",
                "query",
                "Ask for a card that has not expired. Left out: only if no stamps are asked for.",
                {"type": "boolean"},
                True,
            ),
            parameter(
                "consistency",
                "query",
                "`head`: as of the newest block. `final`: as of the newest block that can't be undone.",
                {"type": "string", "enum": ["head", "final"], "default": "head"},
                "head",
            ),
        ],
        "responses": {
            "200": {
                "description": "Yes or no.",
                "content": {
                    "application/json": {
                        "schema": {"$ref": f"#/components/schemas/{GateOut.__name__}"},
                        "examples": {
                            "yes": {"value": told},
                            "no": {"value": told | {"allowed": False, "reasons": no}},
                        },
                    }
                },
            },
            **{
                str(status): answer
                for status, answer in problems(
                    "bad_input", "unknown", "internal", "index_behind", "index_halted", "database_problem"
                ).items()
            },
        },
    }
    return {ROUTE: {"get": operation}}
