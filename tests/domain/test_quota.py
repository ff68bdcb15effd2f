from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.quota import DayShare, fit, next_day, plan_days
from nftloyalty.errors import QuotaSpent
from tests.domain.build import NOW

COUNTS = st.integers(0, 5_000)
LIMITS = st.integers(1, 5_000)


@pytest.mark.parametrize(
    ("count", "limit", "used", "fits"),
    [(10, 100, 0, 10), (10, 100, 95, 5), (10, 100, 100, 0), (10, 5, 8, 0), (0, 100, 0, 0), (100, 100, 0, 100)],
)
def test_what_fits_today(count: int, limit: int, used: int, fits: int) -> None:
    assert fit(count, limit, used, NOW) == fits


def test_use_read_at_yesterdays_block_no_longer_counts() -> None:
    yesterday = NOW - timedelta(days=1)
    assert fit(10, 10, 10, NOW, read_at=yesterday) == 10
    assert fit(10, 10, 10, NOW, read_at=NOW) == 0


def test_days_are_days_in_utc() -> None:
    jakarta = timezone(timedelta(hours=7))
    # Both are the first of March in Jakarta, but the first is still February in UTC.
    assert fit(10, 10, 10, NOW, read_at=datetime(2027, 3, 1, 6, 59, tzinfo=jakarta)) == 10
    assert fit(10, 10, 10, NOW, read_at=datetime(2027, 3, 1, 7, 0, tzinfo=jakarta)) == 0


def test_quotas_start_again_at_midnight_utc() -> None:
    assert next_day(NOW) == datetime(2027, 3, 2, tzinfo=UTC)
    assert next_day(datetime(2027, 12, 31, 23, 59, 59, tzinfo=UTC)) == datetime(2028, 1, 1, tzinfo=UTC)


def test_a_plan_uses_up_today_first() -> None:
    assert plan_days(25, 10, 4, NOW) == (
        DayShare(date(2027, 3, 1), 6),
        DayShare(date(2027, 3, 2), 10),
        DayShare(date(2027, 3, 3), 9),
    )


def test_a_day_without_room_is_left_out() -> None:
    assert plan_days(3, 10, 10, NOW) == (DayShare(date(2027, 3, 2), 3),)


@given(COUNTS, LIMITS, COUNTS)
def test_a_plan_places_everything_and_no_day_gets_too_much(count: int, limit: int, used: int) -> None:
    shares = plan_days(count, limit, used, NOW)
    assert sum(share.count for share in shares) == count
    assert all(0 < share.count <= limit for share in shares)
    today = [share.count for share in shares if share.day == NOW.date()]
    assert sum(today) == fit(count, limit, used, NOW)
    days = [share.day for share in shares]
    assert days == sorted(set(days))


def test_a_quota_of_nothing_is_refused_instead_of_planned_for_ever() -> None:
    with pytest.raises(QuotaSpent, match="quota is 0"):
        plan_days(1, 0, 0, NOW)
    assert plan_days(0, 0, 0, NOW) == ()
