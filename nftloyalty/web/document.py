"""The OpenAPI document: what FastAPI makes of the routes, completed and put right."""

from collections.abc import Iterator, Sequence
from typing import Any

from fastapi import APIRouter, FastAPI
from fastapi.openapi.utils import get_openapi
from fastapi.routing import APIRoute

from nftloyalty.web import check, events, mints
from nftloyalty.web.access import SECURITY, Needs, secured
from nftloyalty.web.schemas import problem_schemas, schemas_of

_DESCRIPTION = """Cards and stamps of one loyalty program, proven on a chain.

Requests that give something need an `Idempotency-Key`: whenever you don't know what became of one, send it again with
the same key. Errors are problem documents (RFC 9457) whose `code` is stable. Where an answer has a `cursor`, it asks
for what follows."""

_LICENSE = {"name": "MIT", "identifier": "MIT"}

_TAGS = {
    "program": "The program that is served.",
    "ownership": "What wallets hold.",
    "gate": "Whether that is enough: yes or no.",
    "mints": "Cards and stamps on request, one by one or many at once.",
    "members": "What is done to members once they are there.",
    "intents": "What was asked for, and how far it is.",
    "vouchers": "Promises of a card or a stamp, to be claimed.",
    "claims": "Vouchers become cards and stamps.",
    "events": "What happened.",
    "webhooks": "Where events are sent to, and what became of them.",
    "keys": "API keys, for who may manage them.",
    "health": "How the server is.",
}


def described(api: FastAPI, routers: Sequence[APIRouter], *, with_checks: bool) -> dict[str, Any]:
    """The document of an application that is made of these routers, and answers checks or none."""
    found = get_openapi(
        title=api.title,
        version=api.version,
        summary=api.summary,
        description=_DESCRIPTION if with_checks else None,
        license_info=_LICENSE,
        routes=api.routes,
    )
    for route in (each for router in routers for each in router.routes if isinstance(each, APIRoute)):
        for method in route.methods or ():
            _complete(found["paths"][route.path][method.lower()], route)
    if with_checks:
        found["paths"] |= check.described()
        found["webhooks"] = events.delivered()
    schemas = found["components"]["schemas"]
    # The shape of our errors, which no route answers with on its good day; and of bodies that routes read themselves.
    schemas |= problem_schemas()
    for model in mints.BODIES:
        schemas |= schemas_of(model)
    for schema in ("HTTPValidationError", "ValidationError"):
        schemas.pop(schema, None)
    found["components"]["securitySchemes"] = SECURITY
    used = {tag for operation in _operations(found) for tag in operation["tags"]}
    found["tags"] = [{"name": tag, "description": told} for tag, told in _TAGS.items() if tag in used]
    return found


def _operations(document: dict[str, Any]) -> Iterator[dict[str, Any]]:
    return (operation for methods in document["paths"].values() for operation in methods.values())


def _complete(operation: dict[str, Any], route: APIRoute) -> None:
    needed = [each.call.scope for each in route.dependant.dependencies if isinstance(each.call, Needs)]
    operation["security"] = secured(*needed) if needed else []
    # FastAPI adds its own 422 wherever there is a parameter, also where any text will do.
    if "HTTPValidationError" in str(operation["responses"].get("422")):
        del operation["responses"]["422"]
    for parameter in operation.get("parameters", ()):
        parameter["schema"] = _without_null(parameter["schema"])
        if parameter["name"] == "Idempotency-Key":
            # Left out, it is answered with an error of its own and not as one more field that is wrong.
            parameter["required"] = True
            parameter["schema"].pop("default", None)
    # FastAPI drops every null, also from examples.
    _put_back(operation["responses"], {str(status): told for status, told in route.responses.items()})
    _put_back(operation, route.openapi_extra or {})


def _without_null(schema: dict[str, Any]) -> dict[str, Any]:
    """Of a parameter: it can be left out, and can't be null."""
    kinds = [each for each in schema.get("anyOf", ()) if each != {"type": "null"}]
    if len(kinds) != 1:
        return schema
    return {**kinds[0], **{name: told for name, told in schema.items() if name != "anyOf"}}


def _put_back(bodies: dict[str, Any], told: dict[str, Any]) -> None:
    """The examples of bodies, as a route tells them."""
    for name, body in told.items():
        for media_type, content in body.get("content", {}).items():
            if "examples" in content:
                bodies[name]["content"][media_type]["examples"] = content["examples"]
