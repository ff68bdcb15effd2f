import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.program import StampType, Tier
from nftloyalty.domain.roster import (
    MOST_ROWS,
    CardRow,
    Outcome,
    StampRow,
    Verdict,
    judge_card,
    judge_stamp,
    judge_window,
    read_cards,
    read_stamps,
)
from nftloyalty.domain.words import CardWord, Flag, StampsWord
from nftloyalty.errors import Problem
from tests.domain.build import NOW, card, no_card, program, wallet

PROGRAM = program()
HEADER = "address,tier,expiry"


def cards(*lines: str, header: str = HEADER) -> tuple[list[CardRow], list[str]]:
    rows, problems = read_cards([header, *lines], PROGRAM, NOW, "members.csv")
    return rows, [str(problem) for problem in problems]


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


# ------------------------------------------------------------------------------------------------------------- reading


def test_rows_are_read_with_their_lines() -> None:
    rows, problems = cards(f"{wallet(1)},gold,2027-12-31", f"{wallet(2)},member,never", f"{wallet(3)},,")
    assert problems == []
    assert rows == [
        CardRow(2, wallet(1), 3, midnight(date(2028, 1, 1))),
        CardRow(3, wallet(2), 1, 0),
        CardRow(4, wallet(3), 1, 0),
    ]


def test_lines_count_what_is_skipped() -> None:
    rows, problems = cards("", "# founders", f"{wallet(1)},gold,", "   ", ",,", f"{wallet(2)},gold,")
    assert problems == []
    assert [row.line for row in rows] == [4, 7]


def test_notes_may_stand_above_the_header() -> None:
    rows, problems = read_stamps(["# Latte Week", "", "address", wallet(1)], "stamps.csv")
    assert (rows, problems) == ([StampRow(4, wallet(1))], [])


@pytest.mark.parametrize(
    "lines",
    [
        [f"\ufeff{HEADER}\r\n", f"{wallet(1)},gold,2027-12-31\r\n"],
        [" Address , TIER ,Expiry ", f"  {wallet(1)} ,  gold , 2027-12-31 "],
        ["address;tier;expiry", f"{wallet(1)};gold;2027-12-31"],
        ["address\ttier\texpiry", f"{wallet(1)}\tgold\t2027-12-31"],
        ['"address","tier","expiry"', f'"{wallet(1)}", "gold","2027-12-31"'],
        ["expiry,address,tier", f"2027-12-31,{wallet(1)},gold"],
        ["address,tier,expiry,,", f"{wallet(1)},gold,2027-12-31,,"],
        [HEADER, f"{wallet(1).lower()},GOLD,2027-12-31"],
        [HEADER, f"{wallet(1)},gold,2028-01-01T00:00:00Z"],
        [HEADER, f"{wallet(1)},gold,2028-01-01t07:00+07:00"],
        [HEADER, f"{wallet(1)},gold,2027-12-31 19:00:00-05:00"],
    ],
)
def test_the_same_row_in_many_spellings(lines: list[str]) -> None:
    rows, problems = read_cards(lines, PROGRAM, NOW, "members.csv")
    assert problems == []
    assert rows == [CardRow(2, wallet(1), 3, midnight(date(2028, 1, 1)))]


def test_tier_and_expiry_columns_may_be_left_out() -> None:
    assert cards(wallet(1), header="address") == ([CardRow(2, wallet(1), 1, 0)], [])


def test_a_tier_is_named_by_id_or_name() -> None:
    rows, _ = cards(f"{wallet(1)},silver,", f"{wallet(2)},silver friend,", f"{wallet(3)},Silver Friend,")
    assert [row.tier for row in rows] == [2, 2, 2]


def test_trailing_values_that_a_spreadsheet_dropped_count_as_empty() -> None:
    assert cards(f"{wallet(1)},gold") == ([CardRow(2, wallet(1), 3, 0)], [])


def test_an_expiry_day_is_active_to_its_end_in_utc() -> None:
    (row,), _ = cards(f"{wallet(1)},member,2027-03-01")
    assert row.expires_at == midnight(date(2027, 3, 2)) > NOW.timestamp()


SHAPE = "0x and 40 hex digits, as the wallet shows it"
TIERS = "the tiers are member, silver, gold"
EXPIRY = "a date as 2030-12-31, a time as 2030-12-31T18:00:00+07:00, or never"
GOOD = wallet(1)
WRONG_CASE = GOOD[:2] + GOOD[2].swapcase() + GOOD[3:]

BAD_ROWS = [
    ("0x12,,", f"'0x12': not an address ({SHAPE})"),
    ("shop.eth,,", f"'shop.eth': not an address ({SHAPE})"),
    (f"{'x' * 100},,", f"'{'x' * 57}...': not an address ({SHAPE})"),
    (
        f"{WRONG_CASE},,",
        f"'{WRONG_CASE}': wrong checksum (a mistyped digit, or did you mean {GOOD}?) ({SHAPE})",
    ),
    (f"0x{40 * '0'},,", f"'0x{40 * '0'}': the zero address ({SHAPE})"),
    (",gold,", "no address (every row needs one)"),
    (f"{GOOD},glod,", f"unknown tier 'glod' (did you mean gold? {TIERS})"),
    (f"{GOOD},4,", f"unknown tier '4' ({TIERS})"),
    (f"{GOOD},,31.12.2030", f"unreadable expiry '31.12.2030' ({EXPIRY})"),
    (f"{GOOD},,20301231", f"unreadable expiry '20301231' ({EXPIRY})"),
    (f"{GOOD},,2030-02-30", f"unreadable expiry '2030-02-30' (no such day or time; {EXPIRY})"),
    (f"{GOOD},,2030-01-01T25:00Z", f"unreadable expiry '2030-01-01T25:00Z' (no such day or time; {EXPIRY})"),
    (
        f"{GOOD},,2030-01-01T10:00",
        "expiry '2030-01-01T10:00' has no time zone (add it, as in 2030-12-31T18:00:00+07:00)",
    ),
    (f"{GOOD},,0", f"unreadable expiry '0' ({EXPIRY})"),
    (f"{GOOD},,٢٠٣٠-12-31", f"unreadable expiry '٢٠٣٠-12-31' ({EXPIRY})"),
    (f"{GOOD},,2027-02-28", "expiry 2027-02-28 is past (a later one, or never)"),
    (f"{GOOD},,2027-03-01T12:00:00Z", "expiry 2027-03-01T12:00:00Z is past (a later one, or never)"),
    (f"{GOOD},,1969-12-31", "expiry 1969-12-31 is past (a later one, or never)"),
    (f"{GOOD},gold,never,x", "has 4 values (the header names 3 columns)"),
    (f'"{GOOD},gold,', 'a quote is not closed or stands inside a value (write values as "..." or without quotes)'),
    (f'"{GOOD}"x,gold,', 'a quote is not closed or stands inside a value (write values as "..." or without quotes)'),
]


@pytest.mark.parametrize(("line", "problem"), BAD_ROWS)
def test_a_bad_row_is_named_with_its_line_and_the_mend(line: str, problem: str) -> None:
    rows, problems = cards(f"{wallet(8)},gold,", line, f"{wallet(9)},gold,")
    assert problems == [f"line 3: {problem}"]
    assert [row.line for row in rows] == [2, 4]


def test_all_bad_rows_are_reported_at_once() -> None:
    _, problems = cards(*(line for line, _ in BAD_ROWS))
    expected = [f"line {number}: {problem}" for number, (_, problem) in enumerate(BAD_ROWS, 2)]
    # The rows with a good address are doubles of the first of them besides.
    assert [problem for problem in problems if "same address" not in problem] == expected
    assert "line 9: same address as line 8 (remove one of the two)" in problems


def test_every_fault_of_one_row_is_named() -> None:
    _, problems = cards("0x12,glod,tomorrow")
    assert problems == [
        f"line 2: '0x12': not an address ({SHAPE})",
        f"line 2: unknown tier 'glod' (did you mean gold? {TIERS})",
        f"line 2: unreadable expiry 'tomorrow' ({EXPIRY})",
    ]


def test_doubles_name_the_first_line_however_they_are_written() -> None:
    rows, problems = cards(f"{wallet(1)},gold,", f"{wallet(2)},,", f"{wallet(1).lower()},,", f"{wallet(1)},,")
    assert [row.line for row in rows] == [2, 3]
    assert problems == [
        "line 4: same address as line 2 (remove one of the two)",
        "line 5: same address as line 2 (remove one of the two)",
    ]


def test_doubles_are_found_in_lists_for_stamps() -> None:
    rows, problems = read_stamps(["address", wallet(1), "no", wallet(1)], "stamps.csv")
    assert rows == [StampRow(2, wallet(1))]
    assert [str(problem) for problem in problems] == [
        f"line 3: 'no': not an address ({SHAPE})",
        "line 4: same address as line 2 (remove one of the two)",
    ]


@pytest.mark.parametrize(
    ("header", "problems"),
    [
        ("address,tier,expiri", ["line 1: unknown column 'expiri' (did you mean expiry?)"]),
        (
            "address,tier,expiry,E-Mail",
            ["line 1: unknown column 'E-Mail' (remove it; columns here: address, tier, expiry)"],
        ),
        ("address,tier,tier", ["line 1: column 'tier' stands twice (remove one)"]),
        ("address,,tier", ["line 1: unknown column '' (remove it; columns here: address, tier, expiry)"]),
        ("wallet,tier", ["line 1: no header with a column address (begin with the line address,tier,expiry)"]),
        (
            '"address,tier',
            ['line 1: a quote is not closed or stands inside a value (write values as "..." or without quotes)'],
        ),
    ],
)
def test_a_bad_header_is_named_with_its_column(header: str, problems: list[str]) -> None:
    assert cards(header=header)[1][: len(problems)] == problems


def test_rows_are_still_checked_under_a_header_with_an_unknown_column() -> None:
    _, problems = cards(f"{wallet(1)},Ann,gold", "0x12,Ben,gold", header="address,name,tier")
    assert [problem.split(" (")[0] for problem in problems] == [
        "line 1: unknown column 'name'",
        "line 3: '0x12': not an address",
    ]


def test_a_list_of_members_is_refused_as_a_list_for_stamps() -> None:
    _, problems = read_stamps([HEADER, f"{wallet(1)},gold,never"], "members.csv")
    assert [problem.what for problem in problems] == ["unknown column 'tier'", "unknown column 'expiry'"]


def test_without_a_header_the_first_row_is_checked_too() -> None:
    _, problems = cards(f"{wallet(1)},gold,", header="0x12,glod,")
    assert [problem.split(" (")[0] for problem in problems] == [
        "line 1: no header with a column address",
        "line 1: '0x12': not an address",
        "line 1: unknown tier 'glod'",
    ]


@pytest.mark.parametrize("lines", [[], ["", "# nothing"]])
def test_an_empty_file_is_named(lines: list[str]) -> None:
    rows, problems = read_cards(lines, PROGRAM, NOW, "members.csv")
    assert rows == []
    assert problems == [Problem("line 1", "members.csv is empty", "the first line is the header: address,tier,expiry")]


def test_a_header_alone_is_named() -> None:
    assert cards("", "")[1] == ["line 3: there are no rows (write one row a member below the header)"]


def test_too_many_rows_stop_the_reading() -> None:
    read = 0

    def endless() -> Iterator[str]:
        nonlocal read
        yield "address"
        while True:
            read += 1
            # Bad rows are the quickest to read and count all the same.
            yield "x"

    rows, problems = read_stamps(endless(), "stamps.csv")
    assert rows == []
    assert read == MOST_ROWS + 1
    assert problems[-1] == Problem(
        f"line {MOST_ROWS + 2}", "more than 100,000 rows", "split the file; the rest of it was not read"
    )
    assert len(problems) == MOST_ROWS + 1


ROWS = st.lists(
    st.tuples(
        st.integers(0, 10_000).map(wallet),
        st.sampled_from(PROGRAM.tiers),
        st.none() | st.dates(date(2027, 3, 1), date(9999, 12, 31)),
    ),
    min_size=1,
    max_size=30,
    unique_by=lambda row: row[0],
)


@given(ROWS, st.sampled_from(",;\t"), st.sampled_from([csv.QUOTE_ALL, csv.QUOTE_MINIMAL]), st.booleans())
def test_what_a_csv_writer_writes_is_read_back(
    rows: list[tuple[str, Tier, date | None]], sign: str, quoting: Literal[0, 1], by_name: bool
) -> None:
    text = io.StringIO()
    writer = csv.writer(text, delimiter=sign, quoting=quoting)
    writer.writerow(["address", "tier", "expiry"])
    expected = []
    for line, (address, tier, day) in enumerate(rows, 2):
        writer.writerow([address, tier.name if by_name else tier.id, day or ""])
        end = midnight(day) + 86_400 if day else 0
        expected.append(CardRow(line, address, tier.number, end))
    assert read_cards(io.StringIO(text.getvalue()), PROGRAM, NOW, "members.csv") == (expected, [])


@given(st.lists(st.text(alphabet=st.sampled_from('0xaA,;"\t# \ufeffnever-1'), max_size=60), max_size=10))
def test_every_line_is_read_skipped_or_reported(lines: list[str]) -> None:
    rows, problems = read_cards([HEADER, *lines], PROGRAM, NOW, "members.csv")
    reported = {int(problem.place.removeprefix("line ")) for problem in problems}
    read = {row.line for row in rows}
    assert read.isdisjoint(reported)
    for number, line in enumerate(lines, 2):
        if number not in read | reported:
            assert line.strip().startswith("#") or not line.strip(' \t,"')


# ------------------------------------------------------------------------------------------------------------- judging

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


def test_a_stamp_needs_its_window_open() -> None:
    later = stamp(opens=NOW + timedelta(hours=1))
    over = stamp(closes=NOW)
    assert told(judged(terms=later)) == "line 5: opens on 2027-03-01 at 13:00 UTC (wait, or move opens)"
    assert told(judged(terms=over)) == "line 5: closed on 2027-03-01 at 12:00 UTC (move closes)"
    assert judged(terms=stamp(opens=NOW, closes=NOW + timedelta(seconds=1))) == Verdict(Outcome.NEW)


def test_a_closed_window_can_be_told_once_for_all_rows() -> None:
    assert judge_window(stamp(), NOW) is None
    assert judge_window(stamp(closes=NOW), NOW) == Problem(
        "stamp latte", "closed on 2027-03-01 at 12:00 UTC", "move closes"
    )


def test_of_a_stamp_card_the_number_says_which_stamp() -> None:
    five, word = stamp(size=5), StampsWord(0b1000, 0b1000, False)
    assert judge_stamp(STAMP_ROW, word, 0, five, None, NOW, number=3).outcome is Outcome.NEW
    assert judge_stamp(STAMP_ROW, word, 0, five, None, NOW, number=4).outcome is Outcome.BAD
