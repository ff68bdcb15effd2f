"""Daily quotas: the contracts count mints, claims and manager's acts per UTC day and refuse a batch that goes over."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

from nftloyalty.errors import QuotaSpent


@dataclass(frozen=True, slots=True)
class DayShare:
    """How many items are planned for one UTC day."""

    day: date
    count: int


def fit(count: int, limit: int, used: int, now: datetime, read_at: datetime | None = None) -> int:
    """How many of `count` items can still happen today.

    `used` is what the contract reported; `read_at` is the time of the block it was read at. A chain without a block
    since midnight UTC still reports yesterday's use, which no longer counts.
    """
    if read_at is not None and _day(read_at) < _day(now):
        used = 0
    return max(0, min(count, limit - used))


def next_day(now: datetime) -> datetime:
    """The next midnight UTC, when quotas start again."""
    return datetime.combine(_day(now) + timedelta(days=1), datetime.min.time(), tzinfo=UTC)


def plan_days(
    count: int, limit: int, used: int, now: datetime, read_at: datetime | None = None
) -> tuple[DayShare, ...]:
    """`count` items spread over as many days as the quota needs, days without an item left out.

    Raises QuotaSpent if the quota is 0, as no number of days would do.
    """
    if count > 0 and limit <= 0:
        raise QuotaSpent("the daily quota is 0, so nothing can be sent", mend="the owner can raise it")
    shares = []
    day, share = _day(now), fit(count, limit, used, now, read_at)
    while count > 0:
        if share:
            shares.append(DayShare(day, share))
        count -= share
        day += timedelta(days=1)
        share = min(count, limit)
    return tuple(shares)


def _day(moment: datetime) -> date:
    return moment.astimezone(UTC).date()
