"""Our errors as RFC 9457 problem+json. The only place that knows HTTP statuses.

An answer has a `code`, which is stable and stands for one `title`; `detail` tells what it was this time and `mend` what
helps. Of trouble that is the operator's (the node, the database, keys) only code and title are told: its own words name
hosts, files and balances, and go to the log.
"""

import json
import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from nftloyalty import errors, logs
from nftloyalty.domain.access import AccessProblem, CantRotate
from nftloyalty.domain.act import ActRefused
from nftloyalty.domain.voucher import VoucherExpired
from nftloyalty.web import misfits
from nftloyalty.web.deps import NoIdempotencyKey, NotDeclaredJson, NotJson, ReadOnly, SignsNoVouchers

log = logging.getLogger(__name__)

RETRY_AFTER_SECONDS = 5
_HEADERS = {503: {"Retry-After": str(RETRY_AFTER_SECONDS)}, 401: {"WWW-Authenticate": "Bearer"}}


@dataclass(frozen=True, slots=True)
class Answer:
    """How an error of one code is answered."""

    status: int
    title: str


REFUSED: Mapping[str, Answer] = {
    "already_held": Answer(409, "the wallet has it already"),
    "ever_claimed": Answer(409, "the wallet had this stamp before and can't get it again"),
    "left": Answer(409, "the member has left the program"),
    "revoked": Answer(409, "the member was removed from the program"),
    "moved": Answer(409, "the member has moved to another wallet"),
    "not_active": Answer(409, "this stamp is for active members"),
    "below_tier": Answer(409, "this stamp is for a higher tier"),
    "expired": Answer(409, "the voucher has expired"),
    "past_expiry": Answer(409, "the card that the voucher promises would have expired already"),
    "voucher_used": Answer(409, "the voucher was used already, or called back"),
    "wrong_epoch": Answer(409, "the voucher was called back"),
    "not_signer": Answer(409, "who signed the voucher may no longer sign"),
    "bad_tier": Answer(409, "the program has no such tier"),
    "unknown_type": Answer(409, "the program has no such stamp"),
    "not_open": Answer(409, "the stamp can't be had at this time"),
    "cap_reached": Answer(409, "there are no more of it"),
    "quota_exceeded": Answer(409, "too many claims today"),
    "paused": Answer(409, "the program is paused"),
    "reverted": Answer(409, "the contract refuses this"),
}
"""What the contract refuses, as domain/refusal.py names it."""

CODES: Mapping[str, Answer] = {
    # The request.
    "wrong_host": Answer(400, "the Host header does not name this machine"),
    "by_proxy": Answer(403, "what comes through a proxy needs an API key, and the program has none"),
    "not_json": Answer(400, "the body is not JSON"),
    "body_too_deep": Answer(400, "the body is nested too deep"),
    "foreign_origin": Answer(403, "pages of other sites may not ask for this"),
    # Who asks.
    "key_missing": Answer(401, "an API key is needed"),
    "key_unknown": Answer(401, "there is no such API key"),
    "key_revoked": Answer(401, "the API key was revoked"),
    "key_expired": Answer(401, "the API key has expired"),
    "wrong_program": Answer(403, "the API key belongs to another program"),
    "not_allowed": Answer(403, "the API key is not good for this"),
    "wrong_origin": Answer(403, "the API key may not be used from there"),
    "key_in_page": Answer(403, "a server's API key was sent by a page"),
    "too_many_requests": Answer(429, "too many requests"),
    # What it asks for.
    "not_found": Answer(404, "there is no such route"),
    "unknown": Answer(404, "there is nothing of this name or id"),
    "method_not_allowed": Answer(405, "this route does not know this method"),
    "body_too_slow": Answer(408, "the body came too slowly"),
    "body_too_large": Answer(413, "the body is too large"),
    "wrong_media_type": Answer(415, "the body is not declared as JSON"),
    "bad_input": Answer(422, "something in the request is wrong"),
    "key_ended": Answer(409, "the API key has ended, or was rotated already"),
    **REFUSED,
    # Acts on members.
    "under_way": Answer(409, "something else is under way for this member"),
    "not_held": Answer(409, "there is no such card or stamp"),
    "done": Answer(409, "it is so already"),
    "not_renewable": Answer(409, "a card for life can't be renewed"),
    "expiry_not_later": Answer(409, "the card ends later already"),
    "signed_elsewhere": Answer(409, "the power lies with a key that this program does not hold"),
    # What was asked for before.
    "idempotency_key_missing": Answer(400, "an Idempotency-Key is needed"),
    "asked_otherwise": Answer(409, "another card was asked for before, for the same wallet"),
    "in_flight": Answer(409, "the first request of this Idempotency-Key is still being worked at"),
    "key_reused": Answer(422, "this Idempotency-Key came with another body before"),
    # The server.
    "intake_full": Answer(503, "no more requests can be taken in now"),
    "internal": Answer(500, "something went wrong on our side"),
    "read_only": Answer(501, "this server only answers questions"),
    "signs_no_vouchers": Answer(501, "this server signs no vouchers"),
    "node_unreachable": Answer(503, "the chain can't be reached now"),
    "node_refused": Answer(503, "the chain can't be asked now"),
    "chain_problem": Answer(503, "the chain can't be asked now"),
    "wrong_chain": Answer(503, "the server is connected to the wrong chain"),
    "chain_restarted": Answer(503, "the server is connected to a chain that was started anew"),
    "fees_too_high": Answer(503, "the chain is too expensive now"),
    "out_of_funds": Answer(503, "the program can't pay for claims now"),
    "quota_spent": Answer(503, "today's quota is used up"),
    "index_behind": Answer(503, "what is known of the chain is too old to answer from"),
    "index_halted": Answer(503, "what is known of the chain can't be relied on now"),
    "program_problem": Answer(503, "the program is not ready for this"),
    "key_problem": Answer(503, "a key of the program can't be used now"),
    "signing_problem": Answer(503, "nothing can be sent now"),
    "signer_busy": Answer(503, "nothing can be sent now"),
    "signer_halted": Answer(503, "nothing can be sent now"),
    "database_problem": Answer(503, "the database can't be used now"),
}
"""Every answer that is not the one that was asked for. docs/api.md lists the same codes, and a test compares them."""

# Whose own words are for whoever asked. Everybody else's are for the operator.
_TOLD = (
    errors.Unknown,
    errors.RequestRefused,
    errors.SignedElsewhere,
    AccessProblem,
    ActRefused,
    CantRotate,
    VoucherExpired,
    NotDeclaredJson,
    NotJson,
    NoIdempotencyKey,
    ReadOnly,
    SignsNoVouchers,
)

_OF_THE_FRAMEWORK = {400: "not_json", 404: "not_found", 405: "method_not_allowed"}


def problem(
    code: str, detail: str = "", mend: str = "", fields: Sequence[errors.Problem] = (), *, status: int | None = None
) -> Response:
    """`fields` are single places of the request; each is told as `pointer` (JSON Pointer, RFC 6901), `detail`, `mend`.

    A code that is not in CODES needs its `status` and is told as a refusal of the contract.
    """
    answer = CODES.get(code, CODES["reverted"])
    status = status or answer.status
    body: dict[str, object] = {"type": "about:blank", "title": answer.title, "status": status, "code": code}
    if detail:
        body["detail"] = detail
    if mend:
        body["mend"] = mend
    if fields:
        body["errors"] = [
            {"pointer": _pointer(field.place), "detail": field.what} | ({"mend": field.mend} if field.mend else {})
            for field in fields
        ]
    request_id = logs.current_request()
    if request_id is not None:
        body["request_id"] = request_id
    headers = _HEADERS.get(status)
    # ASCII, so that whatever a request held (half a surrogate pair, say) can be told back.
    content = json.dumps(body, separators=(",", ":"))
    return Response(content, status_code=status, media_type="application/problem+json", headers=headers)


def of(error: errors.LoyaltyError) -> Response:
    """The answer to one of our errors."""
    if isinstance(error, errors.BadInput):
        return problem("bad_input", fields=error.problems)
    if isinstance(error, errors.Reverted):
        return problem(error.code, error.message, error.mend, status=CODES["reverted"].status)
    if isinstance(error, _TOLD):
        return problem(error.code, error.message, error.mend)
    log.warning("answered with an error: %s", error.message)
    return problem(error.code if error.code in CODES else "internal")


def install(api: FastAPI) -> None:
    """Answer every error, ours or the framework's, in one shape. Unexpected ones say nothing of their cause."""

    @api.exception_handler(errors.LoyaltyError)
    def ours(_request: Request, error: errors.LoyaltyError) -> Response:
        return of(error)

    @api.exception_handler(RequestValidationError)
    def not_the_schema(request: Request, error: RequestValidationError) -> Response:
        found = error.errors()
        if any(each["type"] == "json_invalid" for each in found):
            place = next(each["loc"][-1] for each in found if each["type"] == "json_invalid")
            where = f"reading stopped at character {place + 1}" if isinstance(place, int) else ""
            return problem("not_json", where, "check the quotes, commas and brackets around it" if where else "")
        return problem("bad_input", fields=misfits.problems(found, request.scope.get("endpoint")))

    @api.exception_handler(HTTPException)
    def of_the_framework(_request: Request, error: HTTPException) -> Response:
        if error.status_code in _OF_THE_FRAMEWORK:
            answer = problem(_OF_THE_FRAMEWORK[error.status_code])
        else:
            log.warning("the framework answers %s: %s", error.status_code, error.detail)
            answer = problem("internal")
        answer.headers.update(error.headers or {})
        return answer

    @api.exception_handler(Exception)
    def unexpected(_request: Request, _error: Exception) -> Response:
        return problem("internal")


def _pointer(place: str) -> str:
    """Our places are written `voucher.tier`, or as pointers already."""
    return place if place.startswith("/") else "".join(f"/{misfits.escaped(part)}" for part in place.split("."))
