import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.intent import (
    INTENT_STEPS,
    OPEN_SLOT_STATES,
    SLOT_STEPS,
    IllegalTransition,
    IntentState,
    Kind,
    SlotState,
    check_transition,
    request_key,
    sources,
)
from nftloyalty.errors import LoyaltyError
from tests.domain.build import wallet

# Written out a second time on purpose: the tables are the promise of "exactly once".
INTENT = """
received batched | received rejected | received cancelled
batched included | batched received | batched rejected
included final | included batched | included rejected
rejected received | cancelled received
"""
SLOT = """
reserved signed | reserved foreign
signed broadcasting | signed foreign
broadcasting included | broadcasting foreign
included final | included final-noop | included final-reverted | included broadcasting
"""


def pairs(text: str) -> set[tuple[str, str]]:
    steps = (step.split() for line in text.strip().splitlines() for step in line.split("|"))
    return {(old, new) for old, new in steps}


@pytest.mark.parametrize(("old", "new"), list(itertools.product(IntentState, IntentState)))
def test_intents_take_only_the_steps_of_the_table(old: IntentState, new: IntentState) -> None:
    if (old.value, new.value) in pairs(INTENT):
        check_transition(old, new)
        assert old in sources(new)
    else:
        with pytest.raises(IllegalTransition, match=f"an intent can't go from {old} to {new}"):
            check_transition(old, new)
        assert old not in sources(new)


@pytest.mark.parametrize(("old", "new"), list(itertools.product(SlotState, SlotState)))
def test_slots_take_only_the_steps_of_the_table(old: SlotState, new: SlotState) -> None:
    if (old.value, new.value) in pairs(SLOT):
        check_transition(old, new)
        assert old in sources(new)
    else:
        with pytest.raises(IllegalTransition, match=f"a slot can't go from {old} to {new}"):
            check_transition(old, new)
        assert old not in sources(new)


def test_an_intent_can_not_become_a_slot() -> None:
    with pytest.raises(IllegalTransition):
        check_transition(IntentState.INCLUDED, SlotState.FINAL)  # type: ignore[type-var]


def test_every_state_has_its_row() -> None:
    assert set(INTENT_STEPS) == set(IntentState)
    assert set(SLOT_STEPS) == set(SlotState)


def test_what_was_final_once_stays_final() -> None:
    assert not INTENT_STEPS[IntentState.FINAL]
    assert {state for state, steps in SLOT_STEPS.items() if not steps} == set(SlotState) - OPEN_SLOT_STATES


def test_the_error_is_one_of_ours_and_names_both_states() -> None:
    with pytest.raises(LoyaltyError) as caught:
        check_transition(SlotState.FINAL, SlotState.RESERVED)
    assert isinstance(caught.value, IllegalTransition)
    assert (caught.value.code, caught.value.old, caught.value.new) == ("illegal_transition", "final", "reserved")


def test_request_key_is_readable_and_stable() -> None:
    assert request_key("bean", Kind.MINT_STAMP, 12, wallet()) == f"bean|mint-stamp|12|{wallet()}|0"
    assert request_key("bean", Kind.MINT_CARD, 0, wallet(), 2) == f"bean|mint-card|0|{wallet()}|2"


REQUESTS = st.tuples(
    st.from_regex(r"[a-z][a-z0-9-]{0,31}", fullmatch=True),
    st.sampled_from(Kind),
    st.integers(0, 120),
    st.integers(0, 5).map(wallet),
    st.integers(0, 3),
)


@given(REQUESTS, REQUESTS)
def test_different_requests_never_share_a_key(
    one: tuple[str, Kind, int, str, int], other: tuple[str, Kind, int, str, int]
) -> None:
    assert (request_key(*one) == request_key(*other)) == (one == other)
