from datetime import UTC, datetime, timedelta

import pytest

from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.program import StampType
from nftloyalty.domain.roster import CardRow, Outcome, StampRow, Verdict, judge_card, judge_stamp, judge_window
from nftloyalty.domain.words import CardWord, Flag, StampsWord
from nftloyalty.errors import Problem
from tests.domain.build import NOW, card, no_card, wallet

CARD_ROW = CardRow(5, wallet(1), 1, 0)
STAMP_ROW = StampRow(5, wallet(1))
UNDER_WAY = [IntentState.RECEIVED, IntentState.BATCHED, IntentState.INCLUDED]
UNSTAMPED = StampsWord(0, 0, False)
ANY_CARD = [no_card(), card(), no_card(Flag.LEFT), no_card(Flag.REVOKED)]


def stamp(**changes: object) -> StampType:
    fields: dict[str, object] = {
        "id": "latte",
        "name": "Latte",
        "first": 3,
        "size": 1,
        "cap": None,
        "opens": None,
        "closes": None,
        "members_only": False,
        "min_tier": 0,
        "redeemable": False,
    }
    return StampType(**(fields | changes))  # type: ignore[arg-type]


def judged(
    word: StampsWord = UNSTAMPED,
    standing: int = 0,
    terms: StampType | None = None,
    intent: IntentState | None = None,
) -> Verdict:
    return judge_stamp(STAMP_ROW, word, standing, terms or stamp(), intent, NOW, number=3)


def told(verdict: Verdict) -> str:
    assert verdict.outcome is Outcome.BAD
    return str(verdict.problem)


def test_a_new_wallet_is_to_be_done() -> None:
    assert judge_card(CARD_ROW, no_card(), None) == Verdict(Outcome.NEW)
    assert judged() == Verdict(Outcome.NEW)


@pytest.mark.parametrize("word", ANY_CARD)
def test_a_row_whose_intent_exists_is_done_or_continuing_whatever_happened_since(word: CardWord) -> None:
    assert judge_card(CARD_ROW, word, IntentState.FINAL) == Verdict(Outcome.DONE)
    for state in UNDER_WAY:
        assert judge_card(CARD_ROW, word, state) == Verdict(Outcome.CONTINUING)


def test_a_stamp_whose_intent_exists_is_done_or_continuing_whatever_happened_since() -> None:
    redeemed, closed = StampsWord(0, 0b100, False), stamp(closes=NOW)
    assert judged(redeemed, terms=closed, intent=IntentState.FINAL) == Verdict(Outcome.DONE)
    for state in UNDER_WAY:
        assert judged(redeemed, terms=closed, intent=state) == Verdict(Outcome.CONTINUING)


@pytest.mark.parametrize("state", [IntentState.REJECTED, IntentState.CANCELLED])
def test_what_was_rejected_is_taken_up_again_once_nothing_stands_in_its_way(state: IntentState) -> None:
    assert judge_card(CARD_ROW, no_card(), state) == Verdict(Outcome.AGAIN)
    assert judged(intent=state) == Verdict(Outcome.AGAIN)
    assert judge_card(CARD_ROW, card(), state).outcome is Outcome.BAD
    assert judged(StampsWord(0, 0, True), intent=state).outcome is Outcome.BAD


@pytest.mark.parametrize(
    ("word", "problem"),
    [
        (card(), "is already a member (remove the row; nftloyalty renew or tier change a card)"),
        (card(expires_at=1), "is already a member (remove the row; nftloyalty renew or tier change a card)"),
        (no_card(Flag.LEFT), "has left the program (nftloyalty readmit brings it back)"),
        (no_card(Flag.REVOKED), "was removed from the program (nftloyalty readmit brings it back)"),
        (no_card(Flag.MOVED), "has moved to another wallet (use the new wallet)"),
    ],
)
def test_why_a_card_can_not_be_minted(word: CardWord, problem: str) -> None:
    assert told(judge_card(CARD_ROW, word, None)) == f"line 5: {wallet(1)} {problem}"


def test_why_a_stamp_can_not_be_minted() -> None:
    gated, members = stamp(members_only=True, min_tier=3), stamp(members_only=True)
    who = f"line 5: {wallet(1)}"
    assert told(judged(StampsWord(0b100, 0b100, False))) == f"{who} already holds it (remove the row)"
    assert (
        told(judged(StampsWord(0, 0b100, False)))
        == f"{who} had this stamp before and can't get it again (remove the row)"
    )
    assert told(judged(StampsWord(0, 0, True))) == f"{who} has moved to another wallet (use the new wallet)"
    assert (
        told(judged(standing=0, terms=members))
        == f"{who} has no active membership (mint or renew the card first, or remove the row)"
    )
    assert (
        told(judged(standing=2, terms=gated))
        == f"{who} is below the tier this stamp asks for (raise the tier first, or remove the row)"
    )
    assert judged(standing=3, terms=gated) == Verdict(Outcome.NEW)
    assert judged(standing=1, terms=members) == Verdict(Outcome.NEW)


WAIT = "wait, or move opens in program.toml and run `nftloyalty update`"
REOPEN = "move closes in program.toml and run `nftloyalty update`"


def test_a_stamp_needs_its_window_open() -> None:
    later = stamp(opens=NOW + timedelta(hours=1))
    over = stamp(closes=NOW)
    assert told(judged(terms=later)) == f"line 5: opens at 2027-03-01 13:00 UTC ({WAIT})"
    assert told(judged(terms=over)) == f"line 5: is closed: it was open until 2027-03-01 12:00 UTC ({REOPEN})"
    assert judged(terms=stamp(opens=NOW, closes=NOW + timedelta(seconds=1))) == Verdict(Outcome.NEW)


def test_a_closed_window_can_be_told_once_for_all_rows() -> None:
    assert judge_window(stamp(), NOW) is None
    assert judge_window(stamp(closes=NOW), NOW) == Problem(
        "stamp latte", "is closed: it was open until 2027-03-01 12:00 UTC", REOPEN
    )


def test_a_window_of_whole_days_is_told_in_the_operators_days() -> None:
    first, last = datetime(2027, 5, 1, tzinfo=UTC), datetime(2027, 2, 28, tzinfo=UTC)
    early = judge_window(stamp(opens=first), NOW)
    late = judge_window(stamp(closes=last + timedelta(days=1)), NOW)
    assert early is not None and late is not None
    assert early.what == "opens on 2027-05-01 (UTC)"
    assert late.what == "is closed: it was open through 2027-02-28 (UTC)"


def test_of_a_stamp_card_the_number_says_which_stamp() -> None:
    five, word = stamp(size=5), StampsWord(0b1000, 0b1000, False)
    assert judge_stamp(STAMP_ROW, word, 0, five, None, NOW, number=3).outcome is Outcome.NEW
    assert judge_stamp(STAMP_ROW, word, 0, five, None, NOW, number=4).outcome is Outcome.BAD


OURS = {wallet(1): "the program's own contract for stamps"}
NOT_A_WALLET = (
    f"line 5: {wallet(1)} is the program's own contract for stamps, not a wallet "
    "(put the member's own address there, or remove the row)"
)


def test_the_programs_own_contracts_are_no_members() -> None:
    assert told(judge_card(CARD_ROW, no_card(), None, OURS)) == NOT_A_WALLET
    assert told(judge_card(CARD_ROW, card(), None, OURS)) == NOT_A_WALLET
    assert told(judge_stamp(STAMP_ROW, UNSTAMPED, 0, stamp(), None, NOW, OURS, number=3)) == NOT_A_WALLET
    others = {wallet(2): "another contract"}
    assert judge_card(CARD_ROW, no_card(), None, others) == Verdict(Outcome.NEW)
    assert judge_stamp(STAMP_ROW, UNSTAMPED, 0, stamp(), None, NOW, others, number=3) == Verdict(Outcome.NEW)


def test_what_was_minted_to_a_contract_before_stays_done() -> None:
    assert judge_card(CARD_ROW, card(), IntentState.FINAL, OURS) == Verdict(Outcome.DONE)
