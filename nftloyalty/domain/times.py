"""Days and times as operators write them, and as they are shown to people.

A day counts whole, in UTC. On chain an end is the first second that is no longer in: the day 2030-12-31 ends with the
first second of 2031-01-01. What was written as a day is shown as that day again, so that nobody reads one day too many.
"""

import re
from datetime import UTC, datetime

DAY_SECONDS = 86_400

FORMS = "a date as 2030-12-31, or a time with its zone as 2030-12-31T18:00:00+07:00"
"""What can be written where an end is asked for."""

_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2})?(?:[Zz]|[+-]\d{2}:\d{2})?", re.ASCII)
_LAST_SECOND = int(datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC).timestamp())


class WrongTime(ValueError):
    """A text is no day or time. `what` is wrong with it, fitting after the text, and the mend."""

    def __init__(self, what: str, mend: str) -> None:
        super().__init__(f"{what} ({mend})")
        self.what = what
        self.mend = mend


def parse_end(text: str) -> int:
    """Unix seconds of the first moment after `text`: the end of a date in UTC, or the time itself.

    Raises WrongTime for everything else, also for a time without a zone, which would be another moment for each reader.
    """
    try:
        if _DATE.fullmatch(text):
            midnight = datetime.fromisoformat(text).replace(tzinfo=UTC)
            # Not midnight + 1 day: the last day of year 9999 has no successor.
            return int(midnight.timestamp()) + DAY_SECONDS
        if _TIME.fullmatch(text):
            moment = datetime.fromisoformat(text.upper())
            if moment.tzinfo is None:
                raise WrongTime("has no time zone", "add it, as in 2030-12-31T18:00:00+07:00")
            return int(moment.timestamp())
    except WrongTime:
        raise
    except (ValueError, OverflowError):
        raise WrongTime("is no day or time of the calendar", FORMS) from None
    raise WrongTime("is not a date or time", FORMS)


def parse_expiry(text: str, now: datetime) -> int:
    """Unix seconds of a card's expiry as `parse_end`, 0 = for life, which is written `never` or left empty.

    Raises WrongTime, also for what is not later than `now`.
    """
    if text.lower() in ("", "never"):
        return 0
    try:
        expires_at = parse_end(text)
    except WrongTime as wrong:
        raise WrongTime(wrong.what, f"{wrong.mend}, or never") from None
    if expires_at <= now.timestamp():
        raise WrongTime("is past", "a later one, or never")
    return expires_at


def at(timestamp: int) -> datetime:
    """A time on chain. One beyond the year 9999, which contracts can hold and calendars can't, is its last second."""
    return datetime.fromtimestamp(min(timestamp, _LAST_SECOND), UTC)


def last_day(end: int) -> str:
    """The last day (UTC, ISO 8601) that something ending at `end` is in, wholly or in part."""
    return f"{at(end - 1):%Y-%m-%d}"


def shown_end(end: int) -> str:
    """An end for people: `through 2030-12-31 (UTC)` for whole days, else `until 2030-12-31 18:00 UTC`."""
    if end > _LAST_SECOND + 1:
        return "beyond the year 9999"
    if end % DAY_SECONDS == 0:
        return f"through {last_day(end)} (UTC)"
    return f"until {_clock(end)}"


def shown_start(start: int) -> str:
    """A start for people: `on 2030-12-31 (UTC)` for the start of a day, else `at 2030-12-31 18:00 UTC`."""
    if start > _LAST_SECOND:
        return "after the year 9999"
    if start % DAY_SECONDS == 0:
        return f"on {at(start):%Y-%m-%d} (UTC)"
    return f"at {_clock(start)}"


def _clock(timestamp: int) -> str:
    moment = at(timestamp)
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC" if moment.second else f"{moment:%Y-%m-%d %H:%M} UTC"


def iso(moment: datetime | None) -> str | None:
    """A moment in JSON, in UTC."""
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
