"""Reads lists of members as CSV: who gets a card, who gets a stamp.

A file has a header. Columns are `address`, `tier` and `expiry` for cards (the last two may be left out) and `address`
for stamps. Commas, semicolons or tabs may separate them, as spreadsheets in different countries write. Blank lines and
lines starting with # are skipped. A row stands on one line.
"""

import csv
import difflib
import io
import re
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime

from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.program import Program
from nftloyalty.domain.roster import CardRow, StampRow
from nftloyalty.domain.times import WrongTime, parse_expiry
from nftloyalty.errors import Problem

MOST_ROWS = 100_000
MOST_COLUMNS = 100
MOST_BYTES = 32 * 1024 * 1024
"""Several times what MOST_ROWS take. Whoever reads a file for us reads no more of it."""

_CARD_COLUMNS = ("address", "tier", "expiry")
_STAMP_COLUMNS = ("address",)

_NOT_UTF8 = re.compile("[\udc80-\udcff]")
_SAVE_AS_UTF8 = "save the file as CSV in UTF-8 (a spreadsheet lists it as its own kind of CSV)"


def lines_of(content: bytes) -> Iterator[str]:
    """The lines of a file, numbered as an editor numbers them: they end with \\n, \\r\\n or \\r and with nothing else.

    Bytes that are not UTF-8 come as lone surrogates; `read_cards` and `read_stamps` name the lines that have them.
    """
    return io.TextIOWrapper(io.BytesIO(content), encoding="utf-8", errors="surrogateescape", newline=None)


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
            if "\0" in text:
                # A spreadsheet's own format, an image, a device: no further line would say anything more.
                what = "holds the character NUL, so this is no text; the rest of it was not read"
                self._problem(line, what, _SAVE_AS_UTF8)
                return
            bare = text.strip("\ufeff \t\r\n") if line == 1 else text.strip(" \r\n")
            if not bare or bare[0] == "#":
                continue
            cells: list[str] | None = None
            if not text.isascii() and (found := _NOT_UTF8.search(text)):
                self._problem(line, f"character {found.start() + 1} is not UTF-8", _SAVE_AS_UTF8)
            else:
                if order is None:
                    delimiter = next((sign for sign in ",;\t" if sign in bare), ",")
                cells = self._cells(line, bare, delimiter)
                if cells is not None and not any(cells):
                    continue
            if order is None and cells is not None:
                order, width = self._header(line, cells)
                if "address" in (cell.lower() for cell in cells):
                    continue
                # Without a header the first row is data already, in the usual order.
                if not cells[0].lower().startswith("0x"):
                    return
            # Bad rows count as well, so that a file that is nothing like a list comes to an end.
            count += 1
            if count > MOST_ROWS:
                self._problem(line, f"more than {MOST_ROWS:,} rows", "split the file; the rest of it was not read")
                return
            if cells is None:
                continue
            if any(cells[width:]):
                self._problem(line, f"has {len(cells)} values", f"the header names {_columns(width)}")
                continue
            if len(cells) < width:
                # A file that was cut off would otherwise give its last member a card for life.
                what = f"has {len(cells)} value{'' if len(cells) == 1 else 's'}, and the header names {_columns(width)}"
                self._problem(line, what, "write a comma for each value that is left out")
                continue
            yield line, [cells[place] if 0 <= place < len(cells) else "" for place in order or ()]
        if self.problems:
            return
        if order is None:
            self._problem(1, f"{self._source} is empty", f"the first line is the header: {','.join(self._columns)}")
        elif count == 0:
            self._problem(line, "there are no rows", "write one row a member below the header")

    def address(self, line: int, text: str) -> Address | None:
        """The address of a row, None if it is bad or stood in the file before."""
        try:
            address = parse_address(text)
        except ValueError as error:
            if text:
                self._problem(line, f"{_shown(text)}: {error}", "0x and 40 hex digits; copy it from the wallet")
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
        if text.count('"') % 2:
            self._problem(line, "a quote is not closed on its line", 'write values as "...", each row on one line')
            return None
        try:
            (cells,) = csv.reader([text], delimiter=delimiter, skipinitialspace=True, strict=True)
        except csv.Error:
            self._problem(line, "a quote stands inside a value", 'write values as "..." or without quotes')
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
        if len(names) > MOST_COLUMNS:
            what = f"{len(names):,} columns; there may be {MOST_COLUMNS}"
            self._problem(line, what, f"begin with the line {','.join(self._columns)}")
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
    try:
        return parse_expiry(text, now)
    except WrongTime as wrong:
        return Problem("", f"expiry {_shown(text)} {wrong.what}", wrong.mend)


def _shown(text: str) -> str:
    return repr(text if len(text) <= 60 else text[:57] + "...")
