"""Our errors as RFC 9457 problem+json. The only place that knows HTTP statuses."""

import json
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from http import HTTPStatus

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from nftloyalty import errors

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5


@dataclass(frozen=True)
class Answer:
    """How a kind of error is answered. `title` stands for the error's own words where those are for the operator (they
    name nodes, files, databases): these go to the log."""

    kind: type[errors.LoyaltyError]
    status: int
    title: str = ""


ANSWERS = (
    Answer(errors.BadInput, 422),
    Answer(errors.Unknown, 404),
    Answer(errors.Reverted, 409),
    Answer(errors.QuotaSpent, 503),
    Answer(errors.ProgramProblem, 503),
    Answer(errors.KeyProblem, 503, "a key of the program can't be used now"),
    Answer(errors.ChainProblem, 503, "the chain can't be asked now"),
    Answer(errors.DatabaseProblem, 503, "the database can't be used now"),
    Answer(errors.SigningProblem, 503, "nothing can be sent now"),
    Answer(errors.DatabaseProblem, 503, "the database can't be used now"),
)
"""The first row whose class matches decides. An error of none of these is a fault of ours."""

FAULT = "something went wrong on our side"


def problem(status: int, code: str, title: str, detail: str = "", pointers: Sequence[dict[str, str]] = ()) -> Response:
    """`errors` lists what is wrong with single fields: `pointer` (JSON Pointer, RFC 6901), `detail`, `mend`."""
    body: dict[str, object] = {"type": "about:blank", "title": title, "status": status, "code": code}
    if detail:
        body["detail"] = detail
    if pointers:
        body["errors"] = list(pointers)
    headers = {"Retry-After": str(RETRY_AFTER_SECONDS)} if status == 503 else None
    # ASCII, so that whatever a request held (half a surrogate pair, say) can be told back.
    return Response(json.dumps(body), status_code=status, media_type="application/problem+json", headers=headers)


def of(error: errors.LoyaltyError) -> Response:
    """The answer to one of our errors."""
    answer = next((each for each in ANSWERS if isinstance(error, each.kind)), None)
    if answer is not None and not answer.title:
        pointers = (
            [{"pointer": _pointer(each.place), "detail": each.what, "mend": each.mend} for each in error.problems]
            if isinstance(error, errors.BadInput)
            else []
        )
        return problem(answer.status, error.code, error.message, error.mend, pointers)
    log.warning("answered with an error: %s", error.message)
    if answer is not None:
        return problem(answer.status, error.code, answer.title)
    return problem(500, "internal", FAULT)


def install(api: FastAPI) -> None:
    """Answer every error, ours or the framework's, in one shape. Unexpected ones say nothing of their cause."""

    @api.exception_handler(errors.LoyaltyError)
    def ours(_request: Request, error: errors.LoyaltyError) -> Response:
        return of(error)

    @api.exception_handler(RequestValidationError)
    def not_the_schema(_request: Request, error: RequestValidationError) -> Response:
        pointers = [
            {
                "pointer": "".join(f"/{_escaped(str(part))}" for part in each["loc"][1:]),
                "detail": each["msg"],
                "mend": "",
            }
            for each in error.errors()
        ]
        return problem(422, "bad_input", "the request does not fit the schema", "", pointers)

    @api.exception_handler(HTTPException)
    def of_the_framework(_request: Request, error: HTTPException) -> Response:
        title = HTTPStatus(error.status_code).phrase.lower()
        detail = "" if str(error.detail).lower() == title else str(error.detail)
        answer = problem(error.status_code, f"http_{error.status_code}", title, detail)
        answer.headers.update(error.headers or {})
        return answer

    @api.exception_handler(Exception)
    def unexpected(_request: Request, _error: Exception) -> Response:
        return problem(500, "internal", FAULT)


def _pointer(place: str) -> str:
    """Our places are written `voucher.tier`, or as pointers already."""
    return place if place.startswith("/") else "".join(f"/{_escaped(part)}" for part in place.split("."))


def _escaped(part: str) -> str:
    return part.replace("~", "~0").replace("/", "~1")
