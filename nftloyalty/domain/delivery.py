"""Bringing events to endpoints: what a message says, when a delivery is tried again, and when no more.

The times are those that Standard Webhooks 1.0.0 proposes.
"""

import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

RETRY_PAUSES = (
    timedelta(0),
    timedelta(seconds=5),
    timedelta(minutes=5),
    timedelta(minutes=30),
    timedelta(hours=2),
    timedelta(hours=5),
    timedelta(hours=10),
    timedelta(hours=14),
    timedelta(hours=20),
    timedelta(hours=24),
)
"""Before each try of a delivery, counted from the one before it. The last one comes after 75 hours and 35 minutes."""

PROBE_PAUSES = (
    timedelta(seconds=5),
    timedelta(seconds=15),
    timedelta(seconds=30),
    timedelta(minutes=1),
    timedelta(minutes=2),
    timedelta(minutes=5),
)
"""Before each try of an endpoint at which the last one failed, by whatever is oldest there; from then on the last of
them. So one that is back is found within minutes, and one that is down is asked a dozen times an hour."""

JITTER = 0.1
"""A pause is up to so much longer, so that what failed together does not come back together."""

DISABLED_AFTER = timedelta(days=5)
"""An endpoint through which nothing came for so long gets no more."""

MOST_MESSAGE_BYTES = 20_000


@dataclass(frozen=True)
class Message:
    """An event as receivers are told it. `id` stays the same however often it is sent."""

    id: str
    program: str
    type: str
    phase: str
    object: str
    sequence: int
    data: Mapping[str, Any]
    at: datetime

    def told(self) -> dict[str, Any]:
        """As whoever reads events is told it, too."""
        return {
            "id": self.id,
            "type": self.type,
            "timestamp": self.at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
            "program": self.program,
            "object": self.object,
            "sequence": self.sequence,
            "phase": self.phase,
            "data": self.data,
        }

    def body(self) -> bytes:
        """JSON with sorted keys: the same bytes whenever it is sent.

        Data that would make it too long for receivers is left out, which it says; the event can be asked for by its id.
        """
        told = self.told()
        body = _json(told)
        return body if len(body) < MOST_MESSAGE_BYTES else _json(told | {"data": {"left_out": True}})


def wants(types: Collection[str], event_type: str) -> bool:
    """Whether an endpoint that names these types gets this one; it names none to get all."""
    return not types or event_type in types


def next_try(first_tried_at: datetime, now: datetime, jitter: float) -> datetime | None:
    """When to try again what was first tried then and failed just now; None = there is no further time for it.

    The times follow from the first try: further ones in between, to find out whether the endpoint is back, use none up.
    `jitter` is from 0 to 1, here and below.
    """
    planned = first_tried_at
    for pause in RETRY_PAUSES:
        planned += pause
        if planned > now:
            return planned + (planned - now) * (JITTER * jitter)
    return None


def last_resort(now: datetime, jitter: float) -> datetime:
    """When to try again what has used up its times and is not given up, for the endpoint takes nothing at all."""
    return now + RETRY_PAUSES[-1] * (1 + JITTER * jitter)


def probe_pause(failures: int, jitter: float) -> timedelta:
    """How long to leave an endpoint alone at which so many tries in a row failed, 1 or more."""
    return PROBE_PAUSES[min(failures, len(PROBE_PAUSES)) - 1] * (1 + JITTER * jitter)


def _json(value: Mapping[str, Any]) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False).encode()
