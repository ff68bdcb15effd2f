"""Column types that are the same on SQLite and PostgreSQL, and refuse what would be stored wrongly."""

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, TypeVar

from sqlalchemy import ARRAY, BigInteger, DateTime, Dialect, Integer, String, Text, TypeDecorator
from sqlalchemy.types import TypeEngine

# An INTEGER PRIMARY KEY is SQLite's own row number, which a BIGINT is not; it is 64 bits wide there all the same.
RowId = BigInteger().with_variant(Integer(), "sqlite")


class UtcDateTime(TypeDecorator[datetime]):
    """An aware datetime, kept in UTC. A naive one is refused: nobody could tell later which zone was meant."""

    impl = DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        if value.utcoffset() is None:
            raise ValueError("a time without a zone can't be stored: use an aware UTC datetime")
        value = value.astimezone(UTC)
        # SQLite keeps text of fixed width without a zone, so that texts compare as times do.
        return value.replace(tzinfo=None) if dialect.name == "sqlite" else value

    def process_result_value(self, value: datetime | None, dialect: Dialect) -> datetime | None:
        if value is None:
            return None
        return value.replace(tzinfo=UTC) if value.tzinfo is None else value.astimezone(UTC)


class Wei(TypeDecorator[int]):
    """An amount of up to 256 bits, as decimal text: no integer column of either database is wide enough."""

    impl = String(78)
    cache_ok = True

    def process_bind_param(self, value: int | None, dialect: Dialect) -> str | None:
        if value is None:
            return None
        if not 0 <= value < 2**256:
            raise ValueError(f"{value} is no amount of wei")
        return str(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> int | None:
        return None if value is None else int(value)


def json_text(value: Any) -> str:
    """A JSON value as `JsonText` keeps it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


class JsonText(TypeDecorator[Any]):
    """A JSON value as text with sorted keys: equal values are equal texts."""

    impl = Text()
    cache_ok = True

    def process_bind_param(self, value: Any, dialect: Dialect) -> str | None:
        return None if value is None else json_text(value)

    def process_result_value(self, value: str | None, dialect: Dialect) -> Any:
        return None if value is None else json.loads(value)


class Texts(TypeDecorator[Sequence[str]]):
    """Any number of texts in one parameter, for `writing.one_of`."""

    impl = Text()
    cache_ok = True

    def load_dialect_impl(self, dialect: Dialect) -> TypeEngine[Any]:
        return dialect.type_descriptor(Text() if dialect.name == "sqlite" else ARRAY(String()))

    def process_bind_param(self, value: Sequence[str] | None, dialect: Dialect) -> Any:
        return value if value is None or dialect.name != "sqlite" else json.dumps(list(value))


Word = TypeVar("Word", bound=StrEnum)


class OneOf(TypeDecorator[Word]):
    """A word of one enumeration, as text; what is no word of it can be neither written nor read."""

    impl = String(32)
    cache_ok = True

    def __init__(self, words: type[Word]) -> None:
        super().__init__()
        self.words = words
        # The enumeration itself looks a word up ten times as slowly, and every row has one.
        self._by_text = {word.value: word for word in words}

    def process_bind_param(self, value: Word | None, dialect: Dialect) -> str | None:
        return None if value is None else self.words(value).value

    def process_result_value(self, value: str | None, dialect: Dialect) -> Word | None:
        return None if value is None else self._by_text.get(value) or self.words(value)
