"""Dates and times on the command line, read as in the members' files."""

from datetime import datetime

from nftloyalty.domain.times import WrongTime, at, parse_end, parse_expiry
from nftloyalty.errors import BadInput, Problem


def moment(text: str, name: str, now: datetime) -> datetime:
    """A date (through the end of that day in UTC) or a time with its zone, later than `now`. Raises BadInput."""
    try:
        found = parse_end(text)
        if found <= now.timestamp():
            raise WrongTime("is past", "give a later one")
    except WrongTime as wrong:
        raise _problem(text, name, wrong) from None
    return at(found)


def expiry(text: str | None, name: str, now: datetime) -> int:
    """A card's expiry in unix seconds, 0 = for life: not given, empty or `never`. Raises BadInput."""
    try:
        return parse_expiry(text or "", now)
    except WrongTime as wrong:
        raise _problem(str(text), name, wrong) from None


def _problem(text: str, name: str, wrong: WrongTime) -> BadInput:
    return BadInput("the command", [Problem(name, f"{text!r} {wrong.what}", wrong.mend)])
