"""Reads `program.toml`, the operator's description of a program, and writes a first one.

`SCHEMA` is the whole list of sections and keys; `docs/program-file.md` describes the same list, and a test compares
them. Every problem of a file is collected and reported with its line before anything else happens.
"""

import difflib
import json
import re
import tomllib
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from nftloyalty.domain.address import parse_address
from nftloyalty.domain.program import ChainTerms, Look, Powers, Program, Quotas, StampType, Tier
from nftloyalty.domain.words import STAMP_TYPES
from nftloyalty.errors import BadInput, Problem

DAY_SECONDS = 86_400
LEAST_CONTRAST = 4.5
"""Contrast of text against its background that WCAG 2.2 asks for at level AA (success criterion 1.4.3)."""

NO_CAP = (1 << 32) - 1
"""What the contracts take for "no cap"; a real cap is below."""

_ID = re.compile(r"[a-z][a-z0-9-]{0,31}")
_SYMBOL = re.compile(r"[A-Z0-9-]{1,16}")
_COLOUR = re.compile(r"#[0-9a-fA-F]{6}")
_URI = re.compile(r"(?:https|ipfs|ar)://[!-~]+")
_NAME_BYTES = 64
_URI_BYTES = 256
_QUOTA_MOST = (1 << 24) - 1
# EIP-2294: a larger chain id would overflow in a legacy signature's v.
_CHAIN_ID_MOST = (1 << 63) - 37


class _Wrong(Exception):
    """Raised by a check: what is wrong with one value, and its mend."""

    def __init__(self, what: str, mend: str = "") -> None:
        super().__init__(what)
        self.what = what
        self.mend = mend


# ---------------------------------------------------------------------------------------------- checks of single values


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise _Wrong("must be text", "put it in double quotes")
    return value


def _id(value: object) -> str:
    text = _text(value)
    if not _ID.fullmatch(text):
        raise _Wrong(
            f"{_quoted(text)} is not an id",
            "up to 32 small letters, digits and hyphens, the first a letter",
        )
    return text


def _name(value: object) -> str:
    text = _text(value)
    if not text.strip():
        raise _Wrong("is empty", "give the name people will see")
    if text != text.strip():
        raise _Wrong("starts or ends with a space", "remove it")
    for character in text:
        # Cc: control characters, Zl and Zp: line breaks. Bidirectional overrides let a name be read as another one.
        if unicodedata.category(character) in ("Cc", "Zl", "Zp") or character in _DIRECTION_MARKS:
            raise _Wrong(f"contains the invisible character U+{ord(character):04X}", "write the name on one line")
    size = len(text.encode())
    if size > _NAME_BYTES:
        raise _Wrong(
            f"takes {size} bytes", f"at most {_NAME_BYTES}, where letters with accents take 2 and others up to 4"
        )
    return text


_DIRECTION_MARKS = frozenset(map(chr, (*range(0x202A, 0x202F), *range(0x2066, 0x206A))))


def _symbol(value: object) -> str:
    text = _text(value)
    if not _SYMBOL.fullmatch(text):
        raise _Wrong(f"{_quoted(text)} is not a symbol", "1 to 16 of A-Z, 0-9 and hyphen")
    return text


def _colour(value: object) -> int:
    text = _text(value)
    if not _COLOUR.fullmatch(text):
        raise _Wrong(f"{_quoted(text)} is not a colour", 'write it as "#RRGGBB", for example "#4A2C2A"')
    return int(text[1:], 16)


def _uri(value: object) -> str:
    text = _text(value)
    if text and not _URI.fullmatch(text):
        raise _Wrong(f"{_quoted(text)} can't be used", "empty, or starting with https://, ipfs:// or ar://, no spaces")
    if len(text) > _URI_BYTES:
        raise _Wrong(f"has {len(text)} characters", f"at most {_URI_BYTES}")
    return text


def _base_uri(value: object) -> str:
    text = _uri(value)
    if text and not text.endswith("/"):
        raise _Wrong("must end with a slash, for the token's number is put behind it", f'write "{text}/"')
    return text


def _whole(least: int, most: int) -> Callable[[object], int]:
    def check(value: object) -> int:
        if isinstance(value, bool) or not isinstance(value, int):
            raise _Wrong("must be a whole number", "without quotes and without a point")
        if not least <= value <= most:
            raise _Wrong(f"{value} is out of range", f"from {least:,} to {most:,}".replace(",", "_"))
        return value

    return check


def _days(least: int, most: int) -> Callable[[object], int]:
    """Whole days, read as seconds."""
    whole = _whole(least, most)
    return lambda value: whole(value) * DAY_SECONDS


def _flag(value: object) -> bool:
    if not isinstance(value, bool):
        raise _Wrong("must be true or false", "without quotes")
    return value


def _opens(value: object) -> datetime:
    """A date means the start of that day in UTC."""
    return _moment(value, 0)


def _closes(value: object) -> datetime:
    """A date means the end of that day in UTC, which is the next midnight."""
    return _moment(value, 1)


def _moment(value: object, days_added_to_a_date: int) -> datetime:
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise _Wrong("is a time without a zone", f"add it, as {value.isoformat()}+00:00")
        if value.microsecond:
            raise _Wrong("has a fraction of a second", "write whole seconds")
        try:
            moment = value.astimezone(UTC)
        except OverflowError:
            raise _Wrong("is out of range", "from 1970 on") from None
    elif isinstance(value, date):
        try:
            midnight = datetime(value.year, value.month, value.day, tzinfo=UTC)
            moment = midnight + timedelta(days=days_added_to_a_date)
        except OverflowError:
            raise _Wrong("is out of range", "leave the key out for no end") from None
    else:
        mend = "write a date as 2027-01-31, or a time with its zone as 2027-01-31T09:00:00+07:00, both without quotes"
        # Quotes are left out: the value may have come without them.
        shown = _quoted(str(value))[1:-1] if isinstance(value, str | int | float | time) else "this"
        raise _Wrong(f"{shown} is not a date", mend)
    if moment.timestamp() <= 0:
        raise _Wrong("is out of range", "from 1970 on")
    return moment


def _key_name(value: object) -> str:
    text = _text(value)
    if text.lower().startswith("0x"):
        raise _Wrong("must be the name of a key", "the opener signs the opening, so its key has to be in the keystore")
    if not _ID.fullmatch(text):
        raise _Wrong(
            f"{_quoted(text)} is not the name of a key", "small letters, digits and hyphens, the first a letter"
        )
    return text


def _holder(value: object) -> str:
    """The name of a key or an address."""
    text = _text(value)
    if not text.lower().startswith("0x"):
        return _key_name(text)
    try:
        return parse_address(text)
    except ValueError as error:
        raise _Wrong(f"{_quoted(text)}: {error}", "the name of a key, or an address") from None


def _holders(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise _Wrong("must be a list", 'for example ["hot"]')
    holders = tuple(_holder(item) for item in value)
    for place, holder in enumerate(holders):
        if holder in holders[:place]:
            raise _Wrong(f"names {holder} twice", "remove one")
    return holders


# -------------------------------------------------------------------------------------------------------------- schema


class _Required:
    def __repr__(self) -> str:
        return "required"


REQUIRED = _Required()
"""Stands where a default would: the key must be there."""


@dataclass(frozen=True, slots=True)
class Key:
    """One key of a section. `default` is a TOML value, None = absent has its own meaning, REQUIRED = must be given."""

    name: str
    check: Callable[[object], Any]
    default: object = None


def _quota_keys(mint: int, claim: int, manage: int) -> tuple[Key, ...]:
    check = _whole(1, _QUOTA_MOST)
    return Key("mint", check, mint), Key("claim", check, claim), Key("manage", check, manage)


_STAMP_TERMS = (
    Key("name", _name, REQUIRED),
    Key("cap", _whole(1, NO_CAP - 1)),
    Key("opens", _opens),
    Key("closes", _closes),
    Key("members_only", _flag, False),
    Key("min_tier", _id),
    Key("redeemable", _flag, False),
)

SCHEMA: Mapping[str, tuple[Key, ...]] = {
    "program": (
        Key("id", _id, REQUIRED),
        Key("brand", _name, REQUIRED),
        Key("name", _name, REQUIRED),
        Key("symbol", _symbol, REQUIRED),
        Key("cap", _whole(1, NO_CAP - 1)),
        Key("recovery_delay_days", _days(3, 365), 7),
        Key("move_cooldown_days", _days(0, 365), 30),
        Key("base_uri", _base_uri, ""),
        Key("contract_uri", _uri, ""),
        Key("stamps_base_uri", _base_uri, ""),
    ),
    "look": (Key("background", _colour, "#14213D"), Key("ink", _colour, "#FFFFFF")),
    "chain": (Key("id", _whole(1, _CHAIN_ID_MOST)), Key("finality_blocks", _whole(0, 100_000))),
    "powers": (
        Key("opener", _key_name, "owner"),
        Key("owner", _holder),
        Key("minters", _holders, ["hot"]),
        Key("signers", _holders, ["hot"]),
        Key("managers", _holders, []),
        Key("guardians", _holders, []),
    ),
    "quotas.cards": _quota_keys(10_000, 2_000, 1_000),
    "quotas.stamps": _quota_keys(20_000, 5_000, 1_000),
    "tiers": (Key("id", _id, REQUIRED), Key("name", _name, REQUIRED)),
    "stamps": (Key("id", _id, REQUIRED), Key("number", _whole(1, STAMP_TYPES), REQUIRED), *_STAMP_TERMS),
    "stamp_cards": (
        Key("id", _id, REQUIRED),
        Key("first", _whole(1, STAMP_TYPES), REQUIRED),
        Key("stamps", _whole(2, STAMP_TYPES), REQUIRED),
        *_STAMP_TERMS,
    ),
}
"""Keys of each section. `tiers`, `stamps` and `stamp_cards` are lists of tables; `owner` falls back to the opener."""

MOST_TIERS = 250


# ------------------------------------------------------------------------------------------------------------- reading


def read_program(text: str, source: str) -> Program:
    """The program that `text` describes. Raises BadInput with all problems, in the order of their lines.

    Places read `line 12, stamps[2].cap`: the second `[[stamps]]` of the file. `source` names the file in the error.
    """
    text = text.removeprefix("\ufeff")  # some editors on Windows begin a file with a byte order mark
    wrong: Problem | None = None
    try:
        data = tomllib.loads(text)
    except (ValueError, RecursionError) as error:
        # Besides TOMLDecodeError, which is a ValueError: numbers of thousands of digits, lists nested as deep.
        wrong = _syntax_problem(str(error), text)
        # A day that no calendar has ends TOML's reading. As text it is read on, and named with all that is wrong.
        text = _with_bad_dates_as_text(text)
        try:
            data = tomllib.loads(text)
        except (ValueError, RecursionError):
            raise BadInput(source, [wrong]) from None
    reader = _Reader(data, _Lines(text))
    program = reader.read()
    if program is None:
        raise BadInput(source, reader.sorted_problems())
    if wrong is not None:
        # The bad date stood where text belongs.
        raise BadInput(source, [wrong])
    return program


_DATE_LIKE = re.compile(
    r"""^(\s*(?:[A-Za-z0-9_.-]+|"[^"]*"|'[^']*')\s*=\s*)  # a key
    (\d{1,4}[-./]\d{1,2}[-./]\d{1,4}[0-9A-Za-z:.+ -]*?)  # what may have been meant as a date or time
    (\s*(?:\#.*)?)$""",
    re.MULTILINE | re.VERBOSE,
)


def _with_bad_dates_as_text(text: str) -> str:
    """The text with quotes around every value that looks like a date and is none. Lines stay where they are."""

    def quoted(found: re.Match[str]) -> str:
        try:
            tomllib.loads(f"date = {found[2]}")
        except ValueError:
            return f'{found[1]}"{found[2]}"{found[3]}'
        return found[0]

    return _DATE_LIKE.sub(quoted, text)


def _syntax_problem(message: str, text: str) -> Problem:
    """tomllib tells the place only inside its message."""
    mend = "text needs double quotes, dates and numbers none; each key stands once in its section"
    at = re.fullmatch(r"(.*) \(at line (\d+), column (\d+)\)", message, re.DOTALL)
    if at:
        what, line, column = at.groups()
        return Problem(f"line {line}", f"not TOML at column {column}: {what}", mend)
    what = message.removesuffix(" (at end of document)")
    return Problem(f"line {max(1, len(text.splitlines()))}", f"not TOML at the end: {what}", mend)


class _Lines:
    """Where the keys and sections of a TOML text stand. The text is known to be valid TOML.

    A small scanner over the lines: it knows headers, keys, and which lines lie inside a multi-line value. A key inside
    an inline table is found at the line of the table.
    """

    _HEADER = re.compile(r"\s*(\[\[?)\s*([^\[\]]+?)\s*\]\]?\s*(?:#.*)?$")
    _KEY = re.compile(r"""\s*((?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[A-Za-z0-9_-]+|"[^"]*"|'[^']*'))*)\s*=""")
    _PART = re.compile(r"""[A-Za-z0-9_-]+|"[^"]*"|'[^']*'""")
    _TOKEN = re.compile(
        r'''"""|\'\'\'|"(?:\\.|[^"\\])*"|'[^']*'|#.*|[\[\]{}]''',
    )

    def __init__(self, text: str) -> None:
        self._of_path: dict[str, int] = {}
        section = ""
        counts: dict[str, int] = {}
        depth, fence = 0, ""
        for number, line in enumerate(text.split("\n"), 1):
            if depth == 0 and not fence:
                header = self._HEADER.match(line)
                if header:
                    section = self._join(header[2])
                    if header[1] == "[[":
                        counts[section] = counts.get(section, 0) + 1
                        self._of_path.setdefault(section, number)
                        section = f"{section}[{counts[section]}]"
                    self._of_path.setdefault(section, number)
                    continue
                key = self._KEY.match(line)
                if key:
                    path = self._join(key[1])
                    self._of_path.setdefault(f"{section}.{path}" if section else path, number)
                    line = line[key.end() :]
            depth, fence = self._scan(line, depth, fence)

    def of(self, path: str) -> int:
        """The line of the path or, where it has none, of what contains it; 0 = nowhere."""
        while path:
            if path in self._of_path:
                return self._of_path[path]
            path = path[: max(path.rfind("."), path.rfind("["), 0)]
        return 0

    def _join(self, dotted: str) -> str:
        return ".".join(part.strip("\"'") for part in self._PART.findall(dotted))

    def _scan(self, line: str, depth: int, fence: str) -> tuple[int, str]:
        """Bracket depth and open multi-line quotes (`fence`) after this line."""
        position = 0
        while position < len(line):
            if fence:
                end = line.find(fence, position)
                while end > 0 and fence == '"""' and _escaped(line, end):
                    end = line.find(fence, end + 1)
                if end < 0:
                    return depth, fence
                position, fence = end + 3, ""
                continue
            token = self._TOKEN.search(line, position)
            if not token:
                break
            if token[0] in ('"""', "'''"):
                fence = token[0]
            elif token[0] in ("[", "{"):
                depth += 1
            elif token[0] in ("]", "}"):
                depth -= 1
            position = token.end()
        return depth, fence


def _escaped(line: str, position: int) -> bool:
    """Whether an odd number of backslashes stands before `position`."""
    before = line[:position]
    return (len(before) - len(before.rstrip("\\"))) % 2 == 1


class _Reader:
    """Reads one document and collects its problems. `values[path]` of a section holds only keys that passed."""

    def __init__(self, data: dict[str, Any], lines: _Lines) -> None:
        self._data = data
        self._lines = lines
        self._problems: list[tuple[int, Problem]] = []

    def sorted_problems(self) -> list[Problem]:
        return [problem for _, problem in sorted(self._problems, key=lambda pair: pair[0])]

    def read(self) -> Program | None:
        """None if there is any problem."""
        self._unknown(self._data, "", {path.partition(".")[0] for path in SCHEMA})
        program = self._section("program", required=True)
        look = self._section("look")
        chain = self._section("chain")
        powers = self._section("powers")
        quotas = self._data.get("quotas", {})
        if isinstance(quotas, dict):
            self._unknown(quotas, "quotas", {"cards", "stamps"})
        else:
            self._problem("quotas", "must be sections", "write [quotas.cards] and [quotas.stamps]")
        card_quotas = self._section("quotas.cards")
        stamp_quotas = self._section("quotas.stamps")
        tiers = self._sections("tiers")
        stamps = [("stamps", place, values) for place, values in self._sections("stamps")]
        stamps += [("stamp_cards", place, values) for place, values in self._sections("stamp_cards")]

        self._check_look(look)
        self._check_tiers(tiers)
        tier_numbers = {values["id"]: number for number, (_, values) in enumerate(tiers, 1) if "id" in values}
        types = [self._stamp_type(section, place, values, tier_numbers) for section, place, values in stamps]
        self._check_stamps([(place, one) for (_, place, _), one in zip(stamps, types, strict=True) if one])
        if self._problems:
            return None
        powers["owner"] = powers["owner"] or powers["opener"]
        return Program(
            id=program["id"],
            brand=program["brand"],
            name=program["name"],
            symbol=program["symbol"],
            cap=program["cap"],
            recovery_delay_seconds=program["recovery_delay_days"],
            move_cooldown_seconds=program["move_cooldown_days"],
            base_uri=program["base_uri"],
            contract_uri=program["contract_uri"],
            stamps_base_uri=program["stamps_base_uri"],
            look=Look(**look),
            chain=ChainTerms(**chain),
            powers=Powers(**powers),
            card_quotas=Quotas(**card_quotas),
            stamp_quotas=Quotas(**stamp_quotas),
            tiers=tuple(Tier(values["id"], values["name"], number) for number, (_, values) in enumerate(tiers, 1)),
            stamps=tuple(sorted((one for one in types if one), key=lambda one: one.first)),
        )

    # -------------------------------------------------------------------------------------------------------- sections

    def _section(self, path: str, required: bool = False) -> dict[str, Any]:
        table: Any = self._data
        for part in path.split("."):
            table = table.get(part, {}) if isinstance(table, dict) else {}
        if not isinstance(table, dict):
            self._problem(path, "must be a section", f"write [{path}] on a line of its own and its keys below")
            return {}
        if required and not table:
            self._problem(path, "is missing", f"add the section [{path}] with " + _listed(_required_keys(path)))
            return {}
        return self._values(table, path, path)

    def _sections(self, path: str) -> list[tuple[str, dict[str, Any]]]:
        """(place, values) of each table of a list."""
        tables = self._data.get(path, [])
        mend = f"write [[{path}]] with two brackets, once for each"
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._problem(path, "must be a list of sections", mend)
            return []
        return [
            (f"{path}[{number}]", self._values(table, path, f"{path}[{number}]"))
            for number, table in enumerate(tables, 1)
        ]

    def _values(self, table: Mapping[str, Any], path: str, place: str) -> dict[str, Any]:
        keys = SCHEMA[path]
        self._unknown(table, place, {key.name for key in keys})
        values: dict[str, Any] = {}
        for key in keys:
            if key.name not in table and key.default is REQUIRED:
                self._problem(f"{place}.{key.name}", "is missing", f"add {key.name} = ...")
            elif key.name not in table and key.default is None:
                values[key.name] = None
            else:
                try:
                    values[key.name] = key.check(table.get(key.name, key.default))
                except _Wrong as wrong:
                    self._problem(f"{place}.{key.name}", wrong.what, wrong.mend)
        return values

    def _unknown(self, table: Mapping[str, Any], place: str, known: set[str]) -> None:
        for name in table:
            if name not in known:
                near = difflib.get_close_matches(name, sorted(known), 1)
                mend = f"did you mean {near[0]}?" if near else "known here: " + _listed(sorted(known))
                self._problem(f"{place}.{name}" if place else name, "is not known", mend)

    # ---------------------------------------------------------------------------------------------- checks across keys

    def _check_look(self, look: Mapping[str, Any]) -> None:
        if "background" in look and "ink" in look:
            found = contrast(look["background"], look["ink"])
            if found < LEAST_CONTRAST:
                # Rounded down, so that 4.49 is never shown as the 4.5 it misses.
                shown = int(found * 100) / 100
                self._problem(
                    "look.ink" if "ink" in self._data.get("look", {}) else "look.background",
                    f"the contrast of ink on background is {shown} to 1, too weak to read",
                    f"at least {LEAST_CONTRAST} to 1: make one lighter or the other darker",
                )

    def _check_tiers(self, tiers: list[tuple[str, dict[str, Any]]]) -> None:
        if self._data.get("tiers", []) == []:
            self._problem("tiers", "is missing", "add at least one [[tiers]] with id and name, the lowest first")
        if len(tiers) > MOST_TIERS:
            self._problem(f"tiers[{MOST_TIERS + 1}]", f"there are {len(tiers)} tiers", f"at most {MOST_TIERS}")
        for key in ("id", "name"):
            self._distinct([(place, values[key]) for place, values in tiers if key in values], key)

    def _stamp_type(
        self, section: str, place: str, values: Mapping[str, Any], tier_numbers: Mapping[str, int]
    ) -> StampType | None:
        """The stamp type, with what could not be read left at its default; None without id and number."""
        first = values.get("number") if section == "stamps" else values.get("first")
        size = 1 if section == "stamps" else values.get("stamps")
        opens, closes = values.get("opens"), values.get("closes")
        if opens and closes and opens >= closes:
            self._problem(f"{place}.closes", "is not later than opens", "nobody could ever get this stamp")
        min_tier, members_only = values.get("min_tier"), values.get("members_only", False)
        if min_tier and tier_numbers and min_tier not in tier_numbers:
            known = list(tier_numbers)
            near = difflib.get_close_matches(min_tier, known, 1)
            self._problem(
                f"{place}.min_tier",
                f"there is no tier {_quoted(min_tier)}",
                f"did you mean {near[0]}?" if near else "the tiers are " + _listed(known),
            )
        if min_tier and self._given(place, "members_only") is False:
            self._problem(f"{place}.members_only", "is false, but min_tier asks for members", "remove one of the two")
        if first is None or size is None:
            return None
        if first + size - 1 > STAMP_TYPES:
            self._problem(
                f"{place}.first",
                f"the stamp card would take the numbers {first} to {first + size - 1}",
                f"numbers end at {STAMP_TYPES}: start at {STAMP_TYPES - size + 1} or lower",
            )
            return None
        return StampType(
            id=values.get("id", ""),
            name=values.get("name", ""),
            first=first,
            size=size,
            cap=values.get("cap"),
            opens=opens,
            closes=closes,
            members_only=members_only or bool(min_tier),
            min_tier=tier_numbers.get(min_tier, 0) if min_tier else 0,
            redeemable=values.get("redeemable", False),
        )

    def _check_stamps(self, stamps: list[tuple[str, StampType]]) -> None:
        self._distinct(
            [(place, known) for place, stamp in stamps if stamp.id for known in (stamp.id, *stamp.ids)], "id"
        )
        taken: dict[int, str] = {}
        for place, stamp in stamps:
            clashes = [number for number in stamp.numbers if number in taken]
            if clashes:
                free = _free_block(stamps, stamp.size)
                self._problem(
                    f"{place}.{'number' if place.startswith('stamps[') else 'first'}",
                    f"number {clashes[0]} is taken by {taken[clashes[0]]}",
                    f"the next free one is {free}" if free else "there is no room left",
                )
            for number in stamp.numbers:
                taken.setdefault(number, place)

    def _distinct(self, entries: list[tuple[str, str]], key: str) -> None:
        """`entries` are (place, value); one place may repeat its own value."""
        first: dict[str, str] = {}
        reported: set[str] = set()
        for place, value in entries:
            owner = first.setdefault(value, place)
            if owner != place and place not in reported:
                reported.add(place)
                line = self._lines.of(f"{owner}.{key}")
                self._problem(
                    f"{place}.{key}", f"{_quoted(value)} is taken by {owner} in line {line}", "choose another"
                )

    def _given(self, place: str, key: str) -> object:
        """The raw value of a key of one table in a list (`stamps[2]`), None where it was left out."""
        section, _, number = place.rstrip("]").partition("[")
        table: dict[str, object] = self._data[section][int(number) - 1]
        return table.get(key)

    def _problem(self, path: str, what: str, mend: str = "") -> None:
        line = self._lines.of(path)
        place = f"line {line}, {path}" if line else path
        # What stands nowhere is missing as a whole: last.
        self._problems.append((line or 1 << 30, Problem(place, what, mend)))


def _free_block(stamps: list[tuple[str, StampType]], size: int) -> int:
    """The lowest number with `size` free ones in a row; 0 = none."""
    taken = {number for _, stamp in stamps for number in stamp.numbers}
    for first in range(1, STAMP_TYPES - size + 2):
        if taken.isdisjoint(range(first, first + size)):
            return first
    return 0


def _required_keys(path: str) -> list[str]:
    return [key.name for key in SCHEMA[path] if key.default is REQUIRED]


def _listed(names: list[str]) -> str:
    return ", ".join(names)


def _quoted(text: str) -> str:
    """The text on one line, shortened, for a message."""
    short = text if len(text) <= 60 else text[:57] + "..."
    return json.dumps(short, ensure_ascii=False)


# ------------------------------------------------------------------------------------------------------------- writing


def template(brand: str = "My Brand", program_id: str | None = None) -> str:
    """A first program.toml with notes for the people of a shop. What it leaves as a comment has a default.

    The id is made from the brand unless it is given; the arguments are not judged here, `read_program` does that.
    """
    program_id = program_id or _id_of(brand)
    settings = {
        "id": (program_id, "short name for commands; it can never change"),
        "brand": (brand, "who runs the program"),
        "name": (f"{brand} Club", "stands on every card; it can never change"),
        "symbol": (program_id.upper()[:16].strip("-"), "shown by wallets; it can never change"),
    }
    lines = [f"{key} = {_toml(value)}".ljust(31) + f" # {note}" for key, (value, note) in settings.items()]
    return _TEMPLATE.format(settings="\n".join(lines))


def _id_of(brand: str) -> str:
    """The brand in the letters of an id; a brand without any Latin letter gets a default."""
    bare = unicodedata.normalize("NFKD", brand).encode("ascii", "ignore").decode().lower()
    return re.sub(r"[^a-z0-9]+", "-", bare).strip("-0123456789")[:32].strip("-") or "my-program"


def _toml(text: str) -> str:
    # JSON escapes what a basic string of TOML must escape, in the same way, but for one character.
    return json.dumps(text, ensure_ascii=False).replace("\x7f", "\\u007f")


_TEMPLATE = """\
# A loyalty program. Lines that begin with # are notes, or settings at their usual value: remove the # to change one.
# All settings are explained in docs/program-file.md.

[program]
{settings}
# cap = 100_000                 # most cards at one time; without this line there is no limit
# recovery_delay_days = 7       # how long a member has to object when a lost card is brought to a new wallet
# move_cooldown_days = 30       # days before a moved card can move again
# base_uri = ""                 # own pictures for cards, ending with /; empty = drawn on chain
# contract_uri = ""             # own description of the program for market places; empty = written on chain
# stamps_base_uri = ""          # own pictures for stamps, ending with /

# The card that is drawn on chain.
# [look]
# background = "#14213D"
# ink = "#FFFFFF"               # must be easy to read on the background

# Which chain. Without these lines: whatever chain the node serves, final when the node says so.
# [chain]
# id = 8453
# finality_blocks = 64

# Who may do what: names of keys (nftloyalty keys new) or addresses.
[powers]
opener = "owner"                # opens the program and pays for it
owner = "owner"                 # may change everything that can change
minters = ["hot"]               # hand out cards and stamps
signers = ["hot"]               # sign vouchers
managers = ["desk"]             # renew, change tiers, revoke
guardians = ["desk"]            # pause, lower quotas, recover lost cards

# Most of each kind in one day (UTC). A stolen key can do no more than this.
# [quotas.cards]
# mint = 10_000
# claim = 2_000
# manage = 1_000
# [quotas.stamps]
# mint = 20_000
# claim = 5_000
# manage = 1_000

# Tiers, the lowest first. At least one.
[[tiers]]
id = "member"
name = "Member"

[[tiers]]
id = "gold"
name = "Gold"

# A stamp: everyone can get it once. Numbers go from 1 to 120 and can't change.
[[stamps]]
id = "welcome"
number = 1
name = "Welcome"
# cap = 5_000                   # most stamps ever
# opens = 2030-01-01            # from the start of this day (UTC)
# closes = 2030-12-31           # to the end of this day (UTC)
# members_only = true           # only with an active card; the usual value is false
# min_tier = "member"           # only from this tier on
# redeemable = true             # it can be used up for an order; the usual value is false

# A stamp card: several stamps in a row, here with the numbers 11 to 15.
# [[stamp_cards]]
# id = "coffee"
# first = 11
# stamps = 5
# name = "Five coffees"
# redeemable = true
"""


# ------------------------------------------------------------------------------------------------------------ contrast


def contrast(one: int, other: int) -> float:
    """Contrast ratio of two 0xRRGGBB colours, 1 to 21, by the definition in WCAG 2.2."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: int) -> float:
    def linear(channel: int) -> float:
        share = channel / 255
        return share / 12.92 if share <= 0.04045 else float(((share + 0.055) / 1.055) ** 2.4)

    return 0.2126 * linear(colour >> 16) + 0.7152 * linear(colour >> 8 & 0xFF) + 0.0722 * linear(colour & 0xFF)
