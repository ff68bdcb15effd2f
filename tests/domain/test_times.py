from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.times import (
    DAY_SECONDS,
    WrongTime,
    at,
    last_day,
    parse_end,
    parse_expiry,
    shown_end,
    shown_start,
)
from tests.domain.build import NOW

BEYOND = (1 << 40) - 1
"""The latest time that contracts can hold: the year 36812."""


def seconds(*moment: int) -> int:
    return int(datetime(*moment, tzinfo=UTC).timestamp())  # type: ignore[arg-type,misc]


@pytest.mark.parametrize(
    ("text", "end"),
    [
        ("2030-12-31", seconds(2031, 1, 1)),
        ("2028-02-29", seconds(2028, 3, 1)),
        ("9999-12-31", seconds(9999, 12, 31) + DAY_SECONDS),
        ("2030-12-31T18:00:00Z", seconds(2030, 12, 31, 18)),
        ("2030-12-31T18:00:00+07:00", seconds(2030, 12, 31, 11)),
        ("2030-12-31 18:00-05:00", seconds(2030, 12, 31, 23)),
        ("2030-12-31t18:00:05z", seconds(2030, 12, 31, 18, 0, 5)),
    ],
)
def test_a_day_ends_with_the_day_in_utc_and_a_time_at_the_time(text: str, end: int) -> None:
    assert parse_end(text) == end


@pytest.mark.parametrize(
    ("text", "what"),
    [
        ("", "is not a date or time"),
        ("tomorrow", "is not a date or time"),
        ("20301231", "is not a date or time"),
        ("2030-W01-1", "is not a date or time"),
        ("2030-12-31T18", "is not a date or time"),
        ("2030-12-31T18:00:00.5Z", "is not a date or time"),
        (" 2030-12-31", "is not a date or time"),
        ("٢٠٣٠-12-31", "is not a date or time"),
        ("2030-13-01", "is no day or time of the calendar"),
        ("2027-02-29", "is no day or time of the calendar"),
        ("2030-12-31T24:01Z", "is no day or time of the calendar"),
        ("2030-12-31T18:00:00", "has no time zone"),
    ],
)
def test_what_is_no_day_or_time_is_told_apart(text: str, what: str) -> None:
    with pytest.raises(WrongTime) as wrong:
        parse_end(text)
    assert wrong.value.what == what
    assert "2030-12-31T18:00:00+07:00" in wrong.value.mend


def test_an_expiry_may_be_never_and_not_past() -> None:
    assert parse_expiry("", NOW) == parse_expiry("never", NOW) == parse_expiry("NEVER", NOW) == 0
    assert parse_expiry("2027-03-01", NOW) == seconds(2027, 3, 2)  # today
    for past in ("2027-02-28", "2027-03-01T12:00:00Z"):
        with pytest.raises(WrongTime, match="is past"):
            parse_expiry(past, NOW)
    with pytest.raises(WrongTime, match="or never"):
        parse_expiry("soon", NOW)


@given(st.dates(min_value=datetime(1970, 1, 1).date()))  # noqa: DTZ001 a date has no zone
def test_a_day_is_shown_as_it_was_written(day: object) -> None:
    end = parse_end(str(day))
    assert shown_end(end) == f"through {day} (UTC)"
    assert last_day(end) == str(day)
    assert shown_start(end - DAY_SECONDS) == f"on {day} (UTC)"


def test_a_time_is_shown_in_utc() -> None:
    assert shown_end(parse_end("2030-12-31T18:00:00+07:00")) == "until 2030-12-31 11:00 UTC"
    assert shown_end(parse_end("2030-12-31T18:00:05Z")) == "until 2030-12-31 18:00:05 UTC"
    assert shown_start(seconds(2030, 12, 31, 9, 30)) == "at 2030-12-31 09:30 UTC"
    assert last_day(seconds(2030, 12, 31, 0, 0, 1)) == "2030-12-31"


@given(st.integers(0, BEYOND))
def test_every_time_that_contracts_hold_can_be_shown(timestamp: int) -> None:
    assert shown_end(timestamp)
    assert shown_start(timestamp)
    assert last_day(timestamp)
    assert at(timestamp).tzinfo is UTC


def test_times_beyond_the_calendar_are_shown_as_such() -> None:
    assert shown_end(BEYOND) == "beyond the year 9999"
    assert shown_start(BEYOND) == "after the year 9999"
    assert at(BEYOND) == datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
    assert last_day(BEYOND) == "9999-12-31"
