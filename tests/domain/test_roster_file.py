import csv
import io
from collections.abc import Iterator
from datetime import UTC, date, datetime
from typing import Literal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.program import Tier
from nftloyalty.domain.roster import CardRow, StampRow
from nftloyalty.domain.roster_file import MOST_ROWS, lines_of, read_cards, read_stamps
from nftloyalty.errors import Problem
from tests.domain.build import NOW, program, wallet

PROGRAM = program()
HEADER = "address,tier,expiry"


def cards(*lines: str, header: str = HEADER) -> tuple[list[CardRow], list[str]]:
    rows, problems = read_cards([header, *lines], PROGRAM, NOW, "members.csv")
    return rows, [str(problem) for problem in problems]


def midnight(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


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


def test_a_row_that_is_too_short_is_named() -> None:
    """It may have been cut off, and an expiry that is left out is a card for life."""
    assert cards(f"{wallet(1)},gold,", f"{wallet(2)},gold", wallet(3))[1] == [
        "line 3: has 2 values, and the header names 3 columns (write a comma for each value that is left out)",
        "line 4: has 1 value, and the header names 3 columns (write a comma for each value that is left out)",
    ]


def test_an_expiry_day_is_active_to_its_end_in_utc() -> None:
    (row,), _ = cards(f"{wallet(1)},member,2027-03-01")
    assert row.expires_at == midnight(date(2027, 3, 2)) > NOW.timestamp()


SHAPE = "0x and 40 hex digits; copy it from the wallet"
ONE_LINE = 'write values as "...", each row on one line'
SAVE = "save the file as CSV in UTF-8 (a spreadsheet lists it as its own kind of CSV)"
TIERS = "the tiers are member, silver, gold"
EXPIRY = "a date as 2030-12-31, or a time with its zone as 2030-12-31T18:00:00+07:00, or never"
GOOD = wallet(1)
WRONG_CASE = GOOD[:2] + GOOD[2].swapcase() + GOOD[3:]

BAD_ROWS = [
    ("0x12,,", f"'0x12': not an address ({SHAPE})"),
    ("shop.eth,,", f"'shop.eth': not an address ({SHAPE})"),
    (f"{'x' * 100},,", f"'{'x' * 57}...': not an address ({SHAPE})"),
    (
        f"{WRONG_CASE},,",
        f"'{WRONG_CASE}': wrong checksum, so a character of it is not as it was ({SHAPE})",
    ),
    (f"0x{40 * '0'},,", f"'0x{40 * '0'}': the zero address ({SHAPE})"),
    (",gold,", "no address (every row needs one)"),
    (f"{GOOD},glod,", f"unknown tier 'glod' (did you mean gold? {TIERS})"),
    (f"{GOOD},4,", f"unknown tier '4' ({TIERS})"),
    (f"{GOOD},,31.12.2030", f"expiry '31.12.2030' is not a date or time ({EXPIRY})"),
    (f"{GOOD},,20301231", f"expiry '20301231' is not a date or time ({EXPIRY})"),
    (f"{GOOD},,2030-02-30", f"expiry '2030-02-30' is no day or time of the calendar ({EXPIRY})"),
    (f"{GOOD},,2030-01-01T25:00Z", f"expiry '2030-01-01T25:00Z' is no day or time of the calendar ({EXPIRY})"),
    (
        f"{GOOD},,2030-01-01T10:00",
        "expiry '2030-01-01T10:00' has no time zone (add it, as in 2030-12-31T18:00:00+07:00, or never)",
    ),
    (f"{GOOD},,0", f"expiry '0' is not a date or time ({EXPIRY})"),
    (f"{GOOD},,٢٠٣٠-12-31", f"expiry '٢٠٣٠-12-31' is not a date or time ({EXPIRY})"),
    (f"{GOOD},,2027-02-28", "expiry '2027-02-28' is past (a later one, or never)"),
    (f"{GOOD},,2027-03-01T12:00:00Z", "expiry '2027-03-01T12:00:00Z' is past (a later one, or never)"),
    (f"{GOOD},,1969-12-31", "expiry '1969-12-31' is past (a later one, or never)"),
    (f"{GOOD},gold,never,x", "has 4 values (the header names 3 columns)"),
    (f'"{GOOD},gold,', f"a quote is not closed on its line ({ONE_LINE})"),
    (f'"{GOOD}"x,gold,', 'a quote stands inside a value (write values as "..." or without quotes)'),
    (f"{GOOD},caf\udce9,", f"character 47 is not UTF-8 ({SAVE})"),
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
        f"line 2: expiry 'tomorrow' is not a date or time ({EXPIRY})",
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
        (
            ",".join(["address", *map(str, range(200))]),
            ["line 1: 201 columns; there may be 100 (begin with the line address,tier,expiry)"],
        ),
        ("address,,tier", ["line 1: unknown column '' (remove it; columns here: address, tier, expiry)"]),
        ("wallet,tier", ["line 1: no header with a column address (begin with the line address,tier,expiry)"]),
        (
            '"address,tier',
            [f"line 1: a quote is not closed on its line ({ONE_LINE})"],
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


def test_bad_rows_count_towards_the_most_rows() -> None:
    """So that a file that is nothing like a list comes to an end, whatever is wrong with its lines."""
    for bad in ('"', "\udcff", "a,b,c"):
        read = 0

        def endless(bad: str = bad) -> Iterator[str]:
            nonlocal read
            yield "address"
            while True:
                read += 1
                yield bad

        _, problems = read_stamps(endless(), "stamps.csv")
        assert read == MOST_ROWS + 1
        assert problems[-1].what == "more than 100,000 rows"


# ------------------------------------------------------------------------------------------------- bytes into lines


def from_bytes(content: bytes) -> tuple[list[CardRow], list[str]]:
    rows, problems = read_cards(lines_of(content), PROGRAM, NOW, "members.csv")
    return rows, [str(problem) for problem in problems]


@pytest.mark.parametrize("end", ["\n", "\r\n", "\r"])
def test_lines_end_as_editors_end_them(end: str) -> None:
    content = end.join([HEADER, "", f"{wallet(1)},gold,", f"{wallet(2)},,"]).encode()
    assert from_bytes(content) == ([CardRow(3, wallet(1), 3, 0), CardRow(4, wallet(2), 1, 0)], [])


@pytest.mark.parametrize("sign", "\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029")
def test_no_other_character_ends_a_line(sign: str) -> None:
    content = f"{HEADER}\n# one{sign}comment\n{wallet(1)},gold,{sign}\n0x12,{sign}gold,\n".encode()
    assert from_bytes(content) == ([CardRow(3, wallet(1), 3, 0)], [f"line 4: '0x12': not an address ({SHAPE})"])


def test_a_byte_order_mark_is_passed_over() -> None:
    assert from_bytes(b"\xef\xbb\xbf" + f"{HEADER}\n{wallet(1)},,".encode())[0] == [CardRow(2, wallet(1), 1, 0)]


def test_bytes_that_are_not_utf8_are_named_with_their_lines() -> None:
    good = f"{wallet(1)},gold,\n".encode()
    rows, problems = from_bytes(HEADER.encode() + b"\n# caf\xe9\n" + good + b"\xff,gold,\n0x12,gold,\n")
    assert rows == [CardRow(3, wallet(1), 3, 0)]
    assert problems == [
        f"line 4: character 1 is not UTF-8 ({SAVE})",
        f"line 5: '0x12': not an address ({SHAPE})",
    ]
    assert from_bytes(b"addr\xe9ss\n")[1] == [f"line 1: character 5 is not UTF-8 ({SAVE})"]


@pytest.mark.parametrize(
    ("content", "line"),
    [
        (b"\0" * 1_000_000, 1),
        (f"{HEADER}\n{wallet(1)},,\n0x\0\n".encode() + b"x\n" * 1000, 3),
        (f"{HEADER}\n{wallet(1)},,\n".encode("utf-16"), 1),
        (b"PK\x03\x04\x14\x00\x06\x00\n" * 1000, 1),
    ],
)
def test_what_is_no_text_is_named_once(content: bytes, line: int) -> None:
    what = "holds the character NUL, so this is no text; the rest of it was not read"
    assert from_bytes(content)[1] == [f"line {line}: {what} ({SAVE})"]


def test_a_value_over_two_lines_spoils_these_and_no_others() -> None:
    content = f'{HEADER}\n"{wallet(1)}\n",gold,\n{wallet(2)},gold,\n'.encode()
    assert from_bytes(content) == (
        [CardRow(4, wallet(2), 3, 0)],
        [f"line {line}: a quote is not closed on its line ({ONE_LINE})" for line in (2, 3)],
    )


def test_empty_bytes_are_an_empty_file() -> None:
    assert from_bytes(b"")[1] == ["line 1: members.csv is empty (the first line is the header: address,tier,expiry)"]


@given(st.binary(max_size=300))
def test_any_bytes_are_read_or_refused(content: bytes) -> None:
    rows, problems = read_cards(lines_of(content), PROGRAM, NOW, "members.csv")
    assert rows or problems


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
