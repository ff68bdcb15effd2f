"""Dates and times on the command line, read as in the members' files."""

import re
from datetime import UTC, datetime, timedelta

from nftloyalty.errors import BadInput, Problem

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}")


def moment(text: str, name: str, now: datetime) -> datetime:
    """A date (through the end of that day in UTC) or a time with its zone, later than `now`. Raises BadInput."""
    mend = "a date as 2030-12-31, or a time as 2030-12-31T18:00:00+07:00"
    try:
        found = datetime.fromisoformat(text)
        if _DATE.fullmatch(text):
            found = found.replace(tzinfo=UTC) + timedelta(days=1)
    except (ValueError, OverflowError):
        raise BadInput("the command", [Problem(name, f"{text!r} is not a date or time", mend)]) from None
    if found.tzinfo is None:
        raise BadInput("the command", [Problem(name, f"{text!r} has no time zone", mend)])
    if found <= now:
        raise BadInput("the command", [Problem(name, f"{text!r} is past", "give a later one")])
    return found
