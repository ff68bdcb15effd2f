"""Our errors as RFC 9457 problem+json. The only place that knows HTTP statuses."""

from collections.abc import Sequence
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from nftloyalty import errors

STATUSES: tuple[tuple[type[errors.LoyaltyError], int], ...] = (
    (errors.BadInput, 422),
    (errors.Unknown, 404),
    (errors.Reverted, 409),
    (errors.QuotaSpent, 503),
    (errors.ProgramProblem, 503),
    (errors.KeyProblem, 503),
    (errors.ChainProblem, 503),
    (errors.SigningProblem, 503),
    (errors.LoyaltyError, 500),
)
"""The first row whose class matches decides."""


def problem(
    status: int, code: str, title: str, detail: str = "", pointers: Sequence[dict[str, str]] = ()
) -> JSONResponse:
    """`errors` lists what is wrong with single fields: `pointer` (JSON Pointer), `detail`, `mend`."""
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "code": code}
    if detail:
        body["detail"] = detail
    if pointers:
        body["errors"] = list(pointers)
    headers = {"Retry-After": "5"} if status == 503 else None
    return JSONResponse(body, status_code=status, media_type="application/problem+json", headers=headers)


def install(api: FastAPI) -> None:
    """Answer every error, ours or the framework's, in one shape. Unexpected ones say nothing of their cause."""

    @api.exception_handler(errors.LoyaltyError)
    def ours(_request: Request, error: errors.LoyaltyError) -> JSONResponse:
        status = next(status for kind, status in STATUSES if isinstance(error, kind))
        pointers = (
            [{"pointer": each.place, "detail": each.what, "mend": each.mend} for each in error.problems]
            if isinstance(error, errors.BadInput)
            else []
        )
        return problem(status, error.code, error.message, error.mend, pointers)

    @api.exception_handler(RequestValidationError)
    def not_the_schema(_request: Request, error: RequestValidationError) -> JSONResponse:
        pointers = [
            {"pointer": "/" + "/".join(str(part) for part in each["loc"][1:]), "detail": each["msg"], "mend": ""}
            for each in error.errors()
        ]
        return problem(422, "bad_input", "the request does not fit the schema", "", pointers)

    @api.exception_handler(HTTPException)
    def of_the_framework(_request: Request, error: HTTPException) -> JSONResponse:
        answer = problem(error.status_code, f"http_{error.status_code}", str(error.detail))
        answer.headers.update(error.headers or {})
        return answer

    @api.exception_handler(Exception)
    def unexpected(_request: Request, _error: Exception) -> JSONResponse:
        return problem(500, "internal", "something went wrong on our side")
