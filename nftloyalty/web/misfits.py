"""What does not fit the shape a route wants, in our words: the framework's speak of models and attributes."""

import difflib
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import BaseModel

from nftloyalty.errors import Problem

COPY_IT = "0x and 40 hex digits; copy it from the wallet"

_Fault = Callable[[Mapping[str, Any]], tuple[str, str]]


def _at_most(unit: str) -> _Fault:
    return lambda limits: (f"has more than {limits['max_length']} {unit}", "make it shorter")


def _must(what: str, mend: str) -> _Fault:
    return lambda _limits: (f"must be {what}", mend)


_OBJECT = _must("an object", 'write it as {"name": value}')
_WHOLE = _must("a whole number", "without quotes and without a point")

# By pydantic's names of what went wrong. What a fault allows (`max_length`) comes with it.
_FAULTS: Mapping[str, _Fault] = {
    "missing": lambda _limits: ("is missing", "add it"),
    # Raised by parse_address, the only check of ours.
    "value_error": lambda found: (str(found["error"]), COPY_IT),
    "string_type": _must("text", "put it in quotes"),
    "string_unicode": lambda _limits: ("holds half a character", "write \\u escapes in pairs, or plain UTF-8"),
    "string_too_long": _at_most("characters"),
    "list_type": _must("a list", "write it as [value, value]"),
    "too_long": _at_most("entries"),
    "enum": lambda found: (f"is not one of {str(found['expected']).replace(' or ', ' and ')}", "write one of them"),
    "bool_type": _must("true or false", "without quotes"),
    "int_type": _WHOLE,
    "int_from_float": _WHOLE,
    "dict_type": _OBJECT,
    "model_type": _OBJECT,
    "model_attributes_type": _OBJECT,
}


def problems(found: Sequence[Mapping[str, Any]], endpoint: object) -> list[Problem]:
    """A problem for each of pydantic's errors, in its order, placed by JSON Pointer.

    `endpoint` is the route's function, whose `body` says which names there are.
    """
    return [_problem(each, endpoint) for each in found]


def escaped(part: str) -> str:
    """One step of a JSON Pointer."""
    return part.replace("~", "~0").replace("/", "~1")


def _problem(error: Mapping[str, Any], endpoint: object) -> Problem:
    # The first step says "body", "path" or "query".
    steps = [str(step) for step in error["loc"][1:]]
    place = "".join(f"/{escaped(step)}" for step in steps)
    if error["type"] == "extra_forbidden":
        return Problem(place, "is not known", _known(endpoint, steps))
    fault = _FAULTS.get(error["type"])
    what, mend = fault(error.get("ctx", {})) if fault is not None else ("is not what belongs here", "see /openapi.json")
    return Problem(place or "/", what, mend)


def _known(endpoint: object, steps: Sequence[str]) -> str:
    """The nearest of the names that are known where the last step is not, else all of them."""
    model: Any = typing.get_type_hints(endpoint).get("body") if callable(endpoint) else None
    for step in steps[:-1]:
        field = model.model_fields.get(step) if _is_model(model) else None
        model = field.annotation if field is not None else None
    names = list(model.model_fields) if _is_model(model) else []
    near = difflib.get_close_matches(steps[-1], names, 1)
    if near:
        return f"did you mean {near[0]}?"
    return f"known here: {', '.join(names)}" if names else "remove it"


def _is_model(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)
