from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.gate import AsOf, Conditions, Decision, Holding, Reason, ReasonCode, decide, judged_at
from nftloyalty.domain.words import CardWord, Flag, StampsWord, types_mask
from tests.domain.build import NOW, card, no_card, program

NOW_SECONDS = int(NOW.timestamp())
NO_STAMPS = StampsWord(0, 0, False)


def as_of(timestamp: int = NOW_SECONDS) -> AsOf:
    return AsOf(block=7, hash="0x" + 64 * "a", timestamp=timestamp, final=False)


def holding(word: CardWord | None = None, *types: int) -> Holding:
    mask = types_mask(types)
    return Holding(word or card(), (StampsWord(mask, mask, False),))


def codes(decision: Decision) -> list[str]:
    return [reason.code.value for reason in decision.reasons]


def test_an_active_member_passes() -> None:
    assert decide(Conditions(), holding(), as_of(), NOW) == Decision(True, ())


def test_a_card_is_judged_by_our_clock_when_the_chain_is_idle() -> None:
    word = card(expires_at=NOW_SECONDS)
    assert codes(decide(Conditions(), holding(word), as_of(NOW_SECONDS - 86_400), NOW)) == ["expired"]


def test_a_card_is_judged_by_the_block_when_the_chain_runs_ahead() -> None:
    word = card(expires_at=NOW_SECONDS + 60)
    assert codes(decide(Conditions(), holding(word), as_of(NOW_SECONDS + 60), NOW)) == ["expired"]
    assert decide(Conditions(), holding(word), as_of(NOW_SECONDS + 59), NOW).allowed


def test_the_last_second_is_active_until_it_is_over() -> None:
    word = card(expires_at=NOW_SECONDS + 1)
    assert decide(Conditions(), holding(word), as_of(), NOW + timedelta(microseconds=999_999)).allowed
    assert not decide(Conditions(), holding(word), as_of(), NOW + timedelta(seconds=1)).allowed


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        (no_card(), Reason(ReasonCode.NO_CARD, "this wallet has no membership")),
        (no_card(Flag.VOIDED), Reason(ReasonCode.NO_CARD, "this wallet has no membership")),
        (no_card(Flag.LEFT), Reason(ReasonCode.LEFT, "the member has left the program")),
        (no_card(Flag.REVOKED), Reason(ReasonCode.REVOKED, "the membership was revoked")),
        (no_card(Flag.MOVED), Reason(ReasonCode.MOVED, "the membership has moved to another wallet")),
        (
            card(expires_at=int(datetime(2027, 2, 1, tzinfo=UTC).timestamp())),
            Reason(ReasonCode.EXPIRED, "the membership was valid through 2027-01-31 (UTC)"),
        ),
    ],
)
def test_why_a_wallet_is_not_active_is_told_apart(word: CardWord, reason: Reason) -> None:
    assert decide(Conditions(), holding(word), as_of(), NOW) == Decision(False, (reason,))


def test_an_expiry_beyond_all_calendars_is_judged_and_told() -> None:
    beyond = (1 << 40) - 1
    decision = decide(Conditions(), holding(card(expires_at=beyond)), as_of(beyond), NOW)
    assert decision == Decision(False, (Reason(ReasonCode.EXPIRED, "the membership was valid beyond the year 9999"),))
    assert decide(Conditions(), holding(card(expires_at=beyond)), as_of(), NOW).allowed


def test_every_unmet_condition_is_named() -> None:
    conditions = Conditions(active=True, min_tier=3, stamps=(1, 2, 12))
    decision = decide(conditions, holding(card(expires_at=1), 2), as_of(), NOW)
    assert codes(decision) == ["expired", "below_tier", "missing_stamp", "missing_stamp"]


def test_sentences_use_the_programs_names() -> None:
    bean = program('[[stamp_cards]]\nid = "round"\nfirst = 11\nstamps = 2\nname = "Round"\n')
    decision = decide(Conditions(min_tier=3, stamps=(12, 40)), holding(card(tier=2)), as_of(), NOW, bean)
    assert [reason.sentence for reason in decision.reasons] == [
        "the membership is Silver Friend, and this asks for Gold",
        "the stamp round-2 is missing",
        "the stamp type 40 is missing",
    ]


def test_sentences_do_without_names() -> None:
    decision = decide(Conditions(min_tier=3, stamps=(12,)), holding(card(tier=2)), as_of(), NOW)
    assert [reason.sentence for reason in decision.reasons] == [
        "the membership is tier 2, and this asks for tier 3",
        "the stamp type 12 is missing",
    ]


def test_a_tier_counts_only_while_the_card_is_active() -> None:
    conditions = Conditions(active=False, min_tier=1)
    assert codes(decide(conditions, holding(card(tier=3, expires_at=1)), as_of(), NOW)) == ["expired"]
    assert codes(decide(conditions, holding(no_card()), as_of(), NOW)) == ["no_card"]


def test_stamps_alone_ask_for_no_card() -> None:
    assert decide(Conditions(active=False, stamps=(2,)), holding(no_card(), 2), as_of(), NOW).allowed


def test_a_program_without_stamps_holds_none() -> None:
    assert codes(decide(Conditions(stamps=(1,)), Holding(card(), ()), as_of(), NOW)) == ["missing_stamp"]


def test_stamps_of_a_later_season_do_not_count_for_the_first() -> None:
    later = StampsWord(1, 1, False)
    assert codes(decide(Conditions(stamps=(1,)), Holding(card(), (NO_STAMPS, later)), as_of(), NOW)) == [
        "missing_stamp"
    ]


def test_asking_for_nothing_is_answered_no() -> None:
    assert codes(decide(Conditions(active=False), holding(), as_of(), NOW)) == ["no_condition"]


@given(
    expires_at=st.integers(0, 2 * NOW_SECONDS),
    tier=st.integers(1, 5),
    min_tier=st.integers(0, 5),
    timestamp=st.integers(0, 2 * NOW_SECONDS),
)
def test_a_member_passes_exactly_when_active_and_high_enough(
    expires_at: int, tier: int, min_tier: int, timestamp: int
) -> None:
    decision = decide(
        Conditions(min_tier=min_tier), holding(card(expires_at=expires_at, tier=tier)), as_of(timestamp), NOW
    )
    at = judged_at(as_of(timestamp), NOW)
    assert at >= NOW_SECONDS
    assert at >= timestamp
    assert decision.allowed == ((expires_at == 0 or at < expires_at) and tier >= min_tier)
    assert decision.allowed == (not decision.reasons)
