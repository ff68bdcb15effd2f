"""Messages, which endpoint gets them, and when they are tried again."""

import json
from datetime import UTC, datetime, timedelta
from itertools import accumulate

from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.delivery import (
    DISABLED_AFTER,
    JITTER,
    MOST_MESSAGE_BYTES,
    PROBE_PAUSES,
    RETRY_PAUSES,
    Message,
    last_resort,
    next_try,
    probe_pause,
    wants,
)

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
PLANNED = [NOW + pause for pause in accumulate(RETRY_PAUSES)]


def message(data: object = None) -> Message:
    return Message(
        id="evt_1",
        program="bean",
        type="membership.created",
        phase="final",
        object="membership:0xab",
        sequence=3,
        data={"tier": "złoty"} if data is None else data,  # type: ignore[arg-type]
        at=NOW,
    )


def test_a_message_has_type_timestamp_and_data_and_what_tells_it_from_others() -> None:
    assert json.loads(message().body()) == {
        "id": "evt_1",
        "type": "membership.created",
        "timestamp": "2026-03-01T12:00:00Z",
        "program": "bean",
        "object": "membership:0xab",
        "sequence": 3,
        "phase": "final",
        "data": {"tier": "złoty"},
    }


def test_the_same_event_is_the_same_bytes() -> None:
    assert message({"a": 1, "b": [2]}).body() == message({"b": [2], "a": 1}).body()
    assert b" " not in message().body()


@given(st.integers(0, 30_000))
def test_a_message_is_never_too_long(size: int) -> None:
    body = message({"note": "ł" * size}).body()
    assert len(body) < MOST_MESSAGE_BYTES
    told = json.loads(body)
    assert told["id"] == "evt_1"
    assert told["data"] in ({"note": "ł" * size}, {"left_out": True})
    assert (told["data"] == {"left_out": True}) == (2 * size + len(message({"note": ""}).body()) >= MOST_MESSAGE_BYTES)


def test_an_endpoint_gets_the_types_it_names_or_all() -> None:
    assert wants([], "membership.created")
    assert wants(["stamp.created", "membership.created"], "membership.created")
    assert not wants(["stamp.created"], "membership.created")


def test_the_times_are_those_of_standard_webhooks() -> None:
    assert PLANNED[-1] - NOW == timedelta(hours=75, minutes=35, seconds=5)
    now, tried = NOW, [NOW]
    while (following := next_try(NOW, now, 0)) is not None:
        tried.append(now := following)
    assert tried == PLANNED


@given(st.integers(0, 75 * 3600), st.floats(0, 1))
def test_tries_in_between_use_up_no_time(seconds: int, jitter: float) -> None:
    now = NOW + timedelta(seconds=seconds)
    found = next_try(NOW, now, jitter)
    planned = next(each for each in PLANNED if each > now)
    assert found is not None
    assert planned <= found <= planned + (planned - now) * JITTER + timedelta(microseconds=1)


def test_after_the_last_time_there_is_none() -> None:
    assert next_try(NOW, PLANNED[-1], 1) is None
    assert next_try(NOW, PLANNED[-1] - timedelta(seconds=1), 0) == PLANNED[-1]


@given(st.integers(1, 10_000), st.floats(0, 1))
def test_an_endpoint_that_fails_is_asked_ever_less_often_and_found_back_within_minutes(
    failures: int, jitter: float
) -> None:
    pause = probe_pause(failures, jitter)
    assert PROBE_PAUSES[0] <= pause <= PROBE_PAUSES[-1] * (1 + JITTER)
    assert probe_pause(failures, 0) <= pause
    assert probe_pause(failures, 0) <= probe_pause(failures + 1, 0)


def test_an_hour_of_failing_is_a_dozen_and_a_half_of_tries() -> None:
    elapsed, failures = timedelta(0), 1
    while elapsed < timedelta(hours=1):
        elapsed += probe_pause(failures, 0)
        failures += 1
    assert failures < 20
    assert last_resort(NOW, 0) - NOW < DISABLED_AFTER
