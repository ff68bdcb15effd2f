"""A glance says yes exactly where the gate does."""

from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.check import Glance
from nftloyalty.domain.gate import AsOf, Conditions, decide, judged_at
from nftloyalty.domain.holding import HoldingState
from tests.domain.build import NOW

NOW_SECONDS = int(NOW.timestamp())

near_now = st.integers(NOW_SECONDS - 3, NOW_SECONDS + 3)
types = st.integers(1, 4) | st.sampled_from([119, 120])
conditions = st.builds(
    Conditions, active=st.booleans(), min_tier=st.integers(0, 3), stamps=st.lists(types, max_size=3).map(tuple)
)
words = st.builds(
    lambda held, claimed, moved: sum(1 << number - 1 for number in held) | claimed << 120 | moved << 240,
    st.sets(types),
    st.integers(0, 7),
    st.integers(0, 1),
)
states = st.builds(
    HoldingState,
    joined_at=st.sampled_from([0, NOW_SECONDS - 9]),
    expires_at=st.just(0) | near_now | st.just((1 << 40) - 1),
    tier=st.integers(0, 3),
    serial=st.integers(0, 9),
    flags=st.integers(0, 15),
    stamps=st.lists(words, max_size=2),
)


@given(conditions, states, st.integers(0, 2), near_now, st.integers(0, 999_999))
def test_a_glance_says_yes_exactly_where_the_gate_does(
    wanted: Conditions, state: HoldingState, seasons: int, block_time: int, microsecond: int
) -> None:
    as_of = AsOf(block=7, hash="0x" + 64 * "a", timestamp=block_time, final=False)
    now = NOW + timedelta(microseconds=microsecond)
    decision = decide(wanted, state.to_holding(seasons), as_of, now)
    assert Glance.of(wanted).allows(state.to_row(), seasons, judged_at(as_of, now)) is decision.allowed


def test_a_glance_at_nothing_asked_is_no() -> None:
    assert not Glance.of(Conditions(active=False)).allows((NOW_SECONDS, 0, 3, 1, 0, b""), 1, NOW_SECONDS)
