"""Lists of members as CSV: who gets a card, who gets a stamp; and what to do about each row.

A file has a header. Columns are `address`, `tier` and `expiry` for cards (the last two may be left out) and `address`
for stamps. Commas, semicolons or tabs may separate them, as spreadsheets in different countries write. Blank lines and
lines starting with # are skipped. A row stands on one line.
"""

import csv
import difflib
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum

from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.program import Program, StampType
from nftloyalty.domain.words import CardWord, SkipCode, StampsWord
from nftloyalty.errors import Problem

MOST_ROWS = 100_000

_CARD_COLUMNS = ("address", "tier", "expiry")
_STAMP_COLUMNS = ("address",)
_DATE = re.compile(r"\d{4}-\d{2}-\d{2}", re.ASCII)
_TIME = re.compile(r"\d{4}-\d{2}-\d{2}[Tt ]\d{2}:\d{2}(?::\d{2})?(?:[Zz]|[+-]\d{2}:\d{2})?", re.ASCII)


@dataclass(frozen=True, slots=True)
class CardRow:
    """`expires_at` in unix seconds, the first second that is no longer active; 0 = for life."""

    line: int
    address: Address
    tier: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class StampRow:
    line: int
    address: Address


# ------------------------------------------------------------------------------------------------------------- reading


def read_cards(
    lines: Iterable[str], program: Program, now: datetime, source: str
) -> tuple[list[CardRow], list[Problem]]:
    """The good rows and a problem for each bad one, both in the order of the file.

    A tier is named by its id or name, in any case; left out, it is the lowest. An expiry is a date, active through the
    end of that day in UTC, or a time with its zone; left out or `never` = for life. It must be later than `now`.
    """
    table = _Table(lines, _CARD_COLUMNS, source)
    tiers = {tier.name.casefold(): tier.number for tier in program.tiers}
    tiers |= {tier.id: tier.number for tier in program.tiers}
    tiers[""] = 1
    expiries: dict[str, int | Problem] = {}
    rows = []
    for line, (address_text, tier_text, expiry_text) in table:
        place = f"line {line}"
        address = table.address(line, address_text)
        tier = tiers.get(tier_text.casefold())
        if tier is None:
            near = difflib.get_close_matches(tier_text.casefold(), list(tiers), 1)
            ids = ", ".join(tier.id for tier in program.tiers)
            mend = (f"did you mean {near[0]}? " if near else "") + f"the tiers are {ids}"
            table.problems.append(Problem(place, f"unknown tier {_shown(tier_text)}", mend))
        # Most rows of a file share a few expiries.
        expiry = expiries.get(expiry_text)
        if expiry is None:
            expiry = expiries[expiry_text] = _expiry(expiry_text, now)
        if isinstance(expiry, Problem):
            table.problems.append(Problem(place, expiry.what, expiry.mend))
        elif address and tier is not None:
            rows.append(CardRow(line, address, tier, expiry))
    return rows, table.problems


def read_stamps(lines: Iterable[str], source: str) -> tuple[list[StampRow], list[Problem]]:
    """The good rows and a problem for each bad one, both in the order of the file."""
    table = _Table(lines, _STAMP_COLUMNS, source)
    rows = []
    for line, (address_text,) in table:
        address = table.address(line, address_text)
        if address:
            rows.append(StampRow(line, address))
    return rows, table.problems


class _Table:
    """The rows of one CSV text as (line, cells in the order of `columns`), read once. Collects `problems`."""

    def __init__(self, lines: Iterable[str], columns: tuple[str, ...], source: str) -> None:
        self._lines = lines
        self._columns = columns
        self._source = source
        self._line_of: dict[Address, int] = {}
        self.problems: list[Problem] = []

    def __iter__(self) -> Iterator[tuple[int, Sequence[str]]]:
        delimiter = ","
        order: list[int] | None = None
        width = count = line = 0
        for line, text in enumerate(self._lines, 1):
            bare = text.strip("\ufeff \t\r\n") if line == 1 else text.strip(" \r\n")
            if not bare or bare[0] == "#":
                continue
            if order is None:
                delimiter = next((sign for sign in ",;\t" if sign in bare), ",")
            cells = self._cells(line, bare, delimiter)
            if cells is None or not any(cells):
                continue
            if order is None:
                order, width = self._header(line, cells)
                if "address" not in (cell.lower() for cell in cells):
                    # Without a header the first row is data already, in the usual order.
                    if not cells[0].lower().startswith("0x"):
                        return
                else:
                    continue
            if any(cells[width:]):
                self._problem(line, f"has {len(cells)} values", f"the header names {_columns(width)}")
                continue
            count += 1
            if count > MOST_ROWS:
                self._problem(line, f"more than {MOST_ROWS:,} rows", "split the file; the rest of it was not read")
                return
            yield line, [cells[place] if 0 <= place < len(cells) else "" for place in order]
        if order is None:
            self._problem(1, f"{self._source} is empty", f"the first line is the header: {','.join(self._columns)}")
        elif count == 0 and not self.problems:
            self._problem(line, "there are no rows", "write one row a member below the header")

    def address(self, line: int, text: str) -> Address | None:
        """The address of a row, None if it is bad or stood in the file before."""
        try:
            address = parse_address(text)
        except ValueError as error:
            if text:
                self._problem(line, f"{_shown(text)}: {error}", "0x and 40 hex digits, as the wallet shows it")
            else:
                self._problem(line, "no address", "every row needs one")
            return None
        first = self._line_of.setdefault(address, line)
        if first != line:
            self._problem(line, f"same address as line {first}", "remove one of the two")
            return None
        return address

    def _cells(self, line: int, text: str, delimiter: str) -> list[str] | None:
        """None if the quotes of the line are broken. Each line is read by itself, so that one stray quote spoils one
        row and not the rest of the file."""
        if '"' not in text:
            return [cell.strip() for cell in text.split(delimiter)]
        try:
            (cells,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
        except csv.Error:
            self._problem(
                line, "a quote is not closed or stands inside a value", 'write values as "..." or without quotes'
            )
            return None
        return [cell.strip() for cell in cells]

    def _header(self, line: int, cells: list[str]) -> tuple[list[int], int]:
        """Where each of our columns stands (-1 = nowhere) and how many columns there are."""
        names = [cell.lower() for cell in cells]
        while names and not names[-1]:
            names.pop()
        if "address" not in names:
            self._problem(line, "no header with a column address", f"begin with the line {','.join(self._columns)}")
            return list(range(len(self._columns))), len(self._columns)
        for place, name in enumerate(names):
            if name in names[:place]:
                self._problem(line, f"column {_shown(name)} stands twice", "remove one")
            elif name not in self._columns:
                near = difflib.get_close_matches(name, self._columns, 1)
                known = ", ".join(self._columns)
                mend = f"did you mean {near[0]}?" if near else f"remove it; columns here: {known}"
                self._problem(line, f"unknown column {_shown(cells[place])}", mend)
        return [names.index(name) if name in names else -1 for name in self._columns], len(names)

    def _problem(self, line: int, what: str, mend: str) -> None:
        self.problems.append(Problem(f"line {line}", what, mend))


def _columns(count: int) -> str:
    return f"{count} column{'' if count == 1 else 's'}"


def _expiry(text: str, now: datetime) -> int | Problem:
    """Unix seconds of an expiry, 0 = for life. The place of a problem is filled in by the caller."""
    if text.lower() in ("", "never"):
        return 0
    mend = "a date as 2030-12-31, a time as 2030-12-31T18:00:00+07:00, or never"
    try:
        if _DATE.fullmatch(text):
            moment = datetime.fromisoformat(text).replace(tzinfo=UTC)
            # Not moment + 1 day: the last day of year 9999 has no successor.
            expires_at = int(moment.timestamp()) + int(timedelta(days=1).total_seconds())
        elif _TIME.fullmatch(text):
            moment = datetime.fromisoformat(text.upper())
            if moment.tzinfo is None:
                return Problem("", f"expiry {_shown(text)} has no time zone", "add it, as in 2030-12-31T18:00:00+07:00")
            expires_at = int(moment.timestamp())
        else:
            return Problem("", f"unreadable expiry {_shown(text)}", mend)
    except (ValueError, OverflowError):
        return Problem("", f"unreadable expiry {_shown(text)}", f"no such day or time; {mend}")
    if expires_at <= now.timestamp():
        return Problem("", f"expiry {text} is past", "a later one, or never")
    return expires_at


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")


# ------------------------------------------------------------------------------------------------------------- judging


class Outcome(StrEnum):
    """What to do about a row."""

    NEW = "new"
    """Nothing was asked before: accept an intent."""
    CONTINUING = "continuing"
    """Its intent is on its way."""
    DONE = "done"
    """Its intent is final."""
    AGAIN = "again"
    """Its intent was rejected or cancelled and nothing stands in its way now: take it up again."""
    BAD = "bad"
    """It can't be done: see the problem."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`problem` is there exactly when the outcome is BAD."""

    outcome: Outcome
    problem: Problem | None = None


def judge_card(row: CardRow, word: CardWord, intent_state: IntentState | None) -> Verdict:
    """What to do about a card's row, given its wallet's word and the state of the intent with its request key.

    What an intent has done stays done, also if the member has left since: the same file can always be run again.
    """
    settled = _settled(intent_state)
    if settled:
        return settled
    code = word.mintable_code()
    if code is None:
        return _fresh(intent_state)
    if code is SkipCode.ALREADY_HELD:
        return _bad(
            row.line, f"{row.address} is already a member", "remove the row; nftloyalty renew or tier change a card"
        )
    mend = "nftloyalty readmit brings it back" if code in (SkipCode.LEFT, SkipCode.REVOKED) else "use the new wallet"
    return _bad(row.line, f"{row.address} {code.sentence}", mend)


def judge_stamp(
    row: StampRow,
    word: StampsWord,
    standing: int,
    stamp: StampType,
    intent_state: IntentState | None,
    now: datetime,
    *,
    number: int,
) -> Verdict:
    """What to do about a stamp's row. `standing` is the tier of the wallet's active card, 0 = it has none; `number` is
    the stamp's type, one of `stamp.numbers`."""
    settled = _settled(intent_state)
    if settled:
        return settled
    code = word.mintable_code(number)
    if code is None and stamp.members_only and standing == 0:
        code = SkipCode.NOT_ACTIVE
    if code is None and standing < stamp.min_tier:
        code = SkipCode.BELOW_TIER
    if code is not None:
        return _bad(row.line, f"{row.address} {code.sentence}", _STAMP_MENDS.get(code, "remove the row"))
    closed = judge_window(stamp, now)
    if closed:
        return _bad(row.line, closed.what, closed.mend)
    return _fresh(intent_state)


_STAMP_MENDS = {
    SkipCode.MOVED: "use the new wallet",
    SkipCode.NOT_ACTIVE: "mint or renew the card first, or remove the row",
    SkipCode.BELOW_TIER: "raise the tier first, or remove the row",
}


def judge_window(stamp: StampType, now: datetime) -> Problem | None:
    """Whether stamps of this type can be minted now. Concerns all rows alike, so it is worth asking before them."""
    if stamp.opens and now < stamp.opens:
        return Problem(f"stamp {stamp.id}", f"opens on {_minute(stamp.opens)}", "wait, or move opens")
    if stamp.closes and now >= stamp.closes:
        return Problem(f"stamp {stamp.id}", f"closed on {_minute(stamp.closes)}", "move closes")
    return None


def _minute(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d at %H:%M UTC}"


def _settled(intent_state: IntentState | None) -> Verdict | None:
    if intent_state is IntentState.FINAL:
        return Verdict(Outcome.DONE)
    if intent_state in (IntentState.RECEIVED, IntentState.BATCHED, IntentState.INCLUDED):
        return Verdict(Outcome.CONTINUING)
    return None


def _fresh(intent_state: IntentState | None) -> Verdict:
    return Verdict(Outcome.NEW if intent_state is None else Outcome.AGAIN)


def _bad(line: int, what: str, mend: str) -> Verdict:
    return Verdict(Outcome.BAD, Problem(f"line {line}", what, mend))
