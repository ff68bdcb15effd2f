"""The file of a backup: the same for every kind of database, so that what one wrote another can read.

It is gzip; unpacked it is lines of UTF-8, each a JSON value:

    {"nftloyalty_backup": 1, "schema": "0002", "version": "0.1.0", "made_at": "2026-03-01T12:00:00.000000Z",
     "tables": [{"name": "chains", "columns": {"id": "integer", ...}, "rows": 1}, ...]}
    [1, 31337, "0x...", "2026-03-01T12:00:00.000000Z"]     a row, its values in the order of its table's columns
    {"rows": 1, "sha256": "..."}                           how many there were, and the digest of all lines above

Rows come in the order of the tables. The digest finds damage, not forgery: who can write to a backup can write a digest
too.
"""

import base64
import gzip
import hashlib
import json
import re
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from types import TracebackType
from typing import IO, Any, NoReturn

from nftloyalty.errors import BadInput, Problem

FORMAT = 1
_FORMAT_KEY = "nftloyalty_backup"

# No row of ours comes near: the longest hold a transaction, or a program's terms. What is no backup may have no lines.
_MOST_LINE_BYTES = 64 * 1024**2

Progress = Callable[[int, int], None]
"""Told now and then how many rows are done, of how many."""


class Form(StrEnum):
    """How a column's values are written: JSON's own numbers, booleans and texts, times as UTC, bytes as base64."""

    INTEGER = "integer"
    BOOLEAN = "boolean"
    TEXT = "text"
    TIME = "time"
    BYTES = "bytes"


@dataclass(frozen=True)
class Part:
    """One table: its columns in order, and how many rows of it there are."""

    name: str
    columns: Mapping[str, Form]
    rows: int


@dataclass(frozen=True)
class Contents:
    """What a backup holds. `schema` is the revision of the database it is of, `version` the program's that wrote it."""

    schema: str
    version: str
    made_at: datetime
    parts: tuple[Part, ...]

    @property
    def rows(self) -> int:
        return sum(part.rows for part in self.parts)


class Writer:
    """Writes a backup. Use as a context manager, and call `end` when all rows of all parts are written, in order."""

    def __init__(self, file: IO[bytes], contents: Contents) -> None:
        # Without a file name and a time: equal books make equal files.
        self._packed = gzip.GzipFile(filename="", mode="wb", fileobj=file, mtime=0)
        self._digest = hashlib.sha256()
        self._rows = contents.rows
        self._missing = contents.rows
        self._line(
            {
                _FORMAT_KEY: FORMAT,
                "schema": contents.schema,
                "version": contents.version,
                "made_at": _time_text(contents.made_at),
                "tables": [
                    {"name": part.name, "columns": dict(part.columns), "rows": part.rows} for part in contents.parts
                ],
            }
        )

    def __enter__(self) -> "Writer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._packed.close()

    def add(self, part: Part, rows: Sequence[Sequence[Any]]) -> None:
        """Further rows of this part."""
        changed = [(place, _TO_JSON[form]) for place, form in enumerate(part.columns.values()) if form in _TO_JSON]
        for row in rows:
            values = list(row)
            for place, to_json in changed:
                if values[place] is not None:
                    values[place] = to_json(values[place])
            self._line(values)
        self._missing -= len(rows)

    def end(self) -> None:
        """Raises RuntimeError if there were more or fewer rows than was said."""
        if self._missing:
            raise RuntimeError(f"a backup of other rows than were counted: {self._missing} are missing")
        self._packed.write(_line_of({"rows": self._rows, "sha256": self._digest.hexdigest()}))

    def _line(self, value: object) -> None:
        line = _line_of(value)
        self._digest.update(line)
        self._packed.write(line)


class Reader:
    """Reads a backup from its start. Raises BadInput, naming the file, as soon as something in it is wrong; only when
    `end` has returned is it known that nothing is."""

    def __init__(self, file: IO[bytes], name: str) -> None:
        self._packed = gzip.GzipFile(mode="rb", fileobj=file)
        self._digest = hashlib.sha256()
        self._name = name
        self._number = 0
        self.contents = self._header()

    def rows(self, part: Part) -> Iterator[list[Any]]:
        """The rows of this part. All parts are read to their end, in order."""
        columns = list(part.columns.values())
        for _ in range(part.rows):
            values = self._value(self._line())
            if not isinstance(values, list) or len(values) != len(columns):
                self._refuse("is no row of its table", _DAMAGED)
            try:
                row = [
                    None if value is None else _FROM_JSON[form](value)
                    for value, form in zip(values, columns, strict=True)
                ]
            except (ValueError, TypeError):
                self._refuse("holds a value that its column can't hold", _DAMAGED)
            yield row

    def end(self) -> None:
        """Compare what was read with what was written."""
        wanted = {"rows": self.contents.rows, "sha256": self._digest.hexdigest()}
        if self._value(self._line(digested=False)) != wanted:
            self._refuse("does not fit the lines before it", _DAMAGED)
        if self._read():
            self._refuse("is followed by more", _DAMAGED)

    def _header(self) -> Contents:
        found = self._value(
            self._line(), "is not a backup of nftloyalty", "name the file that `nftloyalty backup` wrote"
        )
        if not isinstance(found, dict) or _FORMAT_KEY not in found:
            self._refuse("is not a backup of nftloyalty", "name the file that `nftloyalty backup` wrote")
        if found[_FORMAT_KEY] != FORMAT:
            self._refuse("was made by a newer version of nftloyalty", "restore it with that version, or a newer one")
        try:
            parts = tuple(
                Part(
                    str(table["name"]),
                    {str(name): Form(form) for name, form in table["columns"].items()},
                    _whole(table["rows"]),
                )
                for table in found["tables"]
            )
            return Contents(str(found["schema"]), str(found["version"]), _time_of(found["made_at"]), parts)
        except (KeyError, ValueError, TypeError, AttributeError):
            self._refuse("is no header of a backup", _DAMAGED)

    def _line(self, *, digested: bool = True) -> bytes:
        line = self._read()
        if not line.endswith(b"\n"):
            self._refuse("is not complete" if line else "is missing: the file ends here", _DAMAGED)
        if digested:
            self._digest.update(line)
        return line

    def _read(self) -> bytes:
        self._number += 1
        try:
            return self._packed.readline(_MOST_LINE_BYTES)
        except EOFError:
            self._refuse("is not complete: the file ends here", _DAMAGED)
        except (gzip.BadGzipFile, zlib.error):
            if self._number == 1:
                self._refuse("is not a backup of nftloyalty", "name the file that `nftloyalty backup` wrote")
            self._refuse("is damaged", _DAMAGED)
        except OSError as failure:
            self._refuse(f"can't be read: {failure.strerror or type(failure).__name__}", "")

    def _value(self, line: bytes, what: str = "is damaged", mend: str = "") -> Any:
        if _too_deep(line):
            self._refuse(what, mend or _DAMAGED)
        try:
            return json.loads(line)
        except ValueError:
            self._refuse(what, mend or _DAMAGED)

    def _refuse(self, what: str, mend: str) -> NoReturn:
        raise BadInput(self._name, [Problem(f"line {self._number}", what, mend)]) from None


def is_backup(file: IO[bytes]) -> bool:
    """Whether it begins like a backup; nothing is said of the rest."""
    try:
        Reader(file, "")
    except BadInput:
        return False
    return True


_DAMAGED = "the file is damaged: use another copy of it, or an older backup"


# Deeper than any line of ours, and far from what overflows a stack.
_MOST_DEPTH = 8
_SURELY_SHALLOW = 500
_STRING = re.compile(rb'"(?:[^"\\]|\\.)*"')
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))


def _too_deep(line: bytes) -> bool:
    """Whether a line is nested deeper than ours. The parser recurses in C, and py-evm raises Python's recursion limit
    so far that a deep line ends the process instead of raising RecursionError."""
    if line.count(b"[") + line.count(b"{") <= _SURELY_SHALLOW:
        return False
    brackets = _STRING.sub(b"", line).translate(None, _NOT_BRACKETS)
    for _ in range(_MOST_DEPTH):
        brackets = brackets.replace(b"[]", b"").replace(b"{}", b"")
    return bool(brackets)


def _line_of(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"), allow_nan=False).encode() + b"\n"


def _time_text(moment: datetime) -> str:
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")


def _time_of(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    if moment.utcoffset() is None:
        raise ValueError("a time without a zone")
    return moment


def _bytes_text(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


def _bytes_of(value: str) -> bytes:
    return base64.b64decode(value, validate=True)


def _whole(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError("not a whole number")
    return value


def _yes_or_no(value: object) -> bool:
    if not isinstance(value, bool):
        raise TypeError("neither true nor false")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError("not a text")
    return value


_TO_JSON: Mapping[Form, Callable[[Any], object]] = {Form.TIME: _time_text, Form.BYTES: _bytes_text}
_FROM_JSON: Mapping[Form, Callable[[Any], object]] = {
    Form.INTEGER: _whole,
    Form.BOOLEAN: _yes_or_no,
    Form.TEXT: _text,
    Form.TIME: _time_of,
    Form.BYTES: _bytes_of,
}
