"""What servers and workers write to their log: one line for each thing, with the request, signer or intent it is about.

A line is text or JSON. Whatever it tells of comes from outside sooner or later, so nothing in it can end the line or
begin another one, and no part of the settings that is a secret stands in it. Of an exception only its kind and its
places in the code are told: its text may hold anything.
"""

import json
import logging
import sys
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from types import MappingProxyType
from typing import Any, TextIO, TypedDict, Unpack

from nftloyalty.errors import LoyaltyError

SHOWN_PLACES = 8
_HOUSE = Path(__file__).parent


class Form(StrEnum):
    """How a line is written."""

    TEXT = "text"
    JSON = "json"


class Level(StrEnum):
    """The least important lines of ours that are written. Of libraries, warnings and errors are."""

    DEBUG = "debug"
    INFO = "info"
    WARNING = "warning"
    ERROR = "error"


class Fields(TypedDict, total=False):
    """What a line can be about."""

    request_id: str
    key: str
    program: str
    signer: str
    intent: str
    voucher: str
    nonce: int
    transaction: str
    method: str
    route: str
    status: int
    milliseconds: float


FIELDS: Mapping[str, str] = MappingProxyType(
    {
        "request_id": "the HTTP request, as in its answer's X-Request-Id",
        "key": "the id of the API key that was sent",
        "program": "the program's id",
        "signer": "the address whose key sends",
        "intent": "the intent's id; a claim's id is that of its intent",
        "voucher": "the voucher's id",
        "nonce": "the slot's nonce",
        "transaction": "the transaction's hash",
        "method": "of the HTTP request",
        "route": "of the HTTP request, with names in the place of what was asked for",
        "status": "of the HTTP answer",
        "milliseconds": "from the request's arrival to the end of its answer",
        "error": "the kind of an exception; the words of one of ours",
        "at": "where in the code it was raised, the innermost place first",
    }
)
"""Every field that a line may have beside time, level, logger and message, in the order of the line."""

_about: ContextVar[Mapping[str, Any]] = ContextVar("about", default=MappingProxyType({}))


@contextmanager
def about(**fields: Unpack[Fields]) -> Iterator[None]:
    """Every line that this thread or task writes inside the block is about these, too."""
    token = _about.set({**_about.get(), **fields})
    try:
        yield
    finally:
        _about.reset(token)


def current_request() -> str | None:
    """The id of the HTTP request that is being answered; None outside of one."""
    return _about.get().get("request_id")


def set_up(form: Form, level: Level, secrets: Sequence[str] = (), stream: TextIO | None = None) -> None:
    """Write the lines of this process to `stream`, stderr by default. Doing it again replaces what was set up.

    `secrets` are texts that are blotted out wherever they turn up.
    """
    put_away()
    root = logging.getLogger()
    handler = logging.StreamHandler(stream) if stream is not None else _Stderr()
    handler.setFormatter((_Json if form is Form.JSON else _Text)(secrets))
    root.addHandler(handler)
    root.setLevel(logging.WARNING)
    logging.getLogger(__package__).setLevel(level.upper())


def is_json() -> bool:
    """Whether the lines of this process are JSON, for machines to read."""
    return any(isinstance(handler.formatter, _Json) for handler in logging.getLogger().handlers)


def put_away() -> None:
    """Take back what `set_up` has done."""
    root = logging.getLogger()
    for handler in list(root.handlers):
        if isinstance(handler.formatter, _Line):
            root.removeHandler(handler)
    logging.getLogger(__package__).setLevel(logging.NOTSET)


class _Stderr(logging.StreamHandler[TextIO]):
    """Writes to what stderr is at that moment: one that was there at the beginning may be closed."""

    def __init__(self) -> None:
        logging.Handler.__init__(self)

    @property
    def stream(self) -> TextIO:  # type: ignore[override]
        return sys.stderr


class _Line(logging.Formatter):
    def __init__(self, secrets: Sequence[str]) -> None:
        super().__init__()
        self._secrets = sorted(filter(None, secrets), key=len, reverse=True)

    def _told(self, record: logging.LogRecord) -> dict[str, Any]:
        """What the line tells, in its order, without secrets."""
        written = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds")
        told: dict[str, Any] = {
            "time": written.replace("+00:00", "Z"),
            "level": record.levelname,
            "logger": record.name,
            "message": self._blotted(_message(record)),
        }
        known = {**_about.get(), **vars(record)}
        if isinstance(record.exc_info, tuple) and record.exc_info[1] is not None:
            known |= _of_exception(record.exc_info[1])
        for name in FIELDS:
            if known.get(name) is not None:
                value = known[name]
                told[name] = value if isinstance(value, int | float) else self._blotted(str(value))
        return told

    def _blotted(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


class _Text(_Line):
    """`time LEVEL logger message name=value ...`"""

    def format(self, record: logging.LogRecord) -> str:
        told = self._told(record)
        head = " ".join(_on_one_line(told.pop(name)) for name in ("time", "level", "logger", "message"))
        return head + "".join(f" {name}={_value(value)}" for name, value in told.items())


class _Json(_Line):
    """One object, in ASCII."""

    def format(self, record: logging.LogRecord) -> str:
        return json.dumps(self._told(record), separators=(",", ":")).replace("\x7f", "\\u007f")


def _message(record: logging.LogRecord) -> str:
    try:
        return record.getMessage()
    except Exception:
        # logging itself would print the arguments as they are.
        return f"{record.msg} (what belongs into it does not fit)"


def _of_exception(raised: BaseException) -> dict[str, str]:
    frames = traceback.extract_tb(raised.__traceback__)
    places = [f"{_place(Path(frame.filename))}:{frame.lineno} in {frame.name}" for frame in reversed(frames)]
    kind = type(raised).__name__
    error = f"{kind}: {raised.message}" if isinstance(raised, LoyaltyError) else kind
    return {"error": error, "at": ", ".join(places[:SHOWN_PLACES])}


def _place(file: Path) -> str:
    if file.is_relative_to(_HOUSE):
        return str(file.relative_to(_HOUSE.parent))
    return "/".join(file.parts[-2:])


def _on_one_line(text: str) -> str:
    """Whatever a terminal or a reader of lines could take for more than a letter becomes its escape."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def _value(value: Any) -> str:
    if isinstance(value, int | float):
        return str(value)
    text = _on_one_line(value)
    return json.dumps(text, ensure_ascii=False) if " " in text or '"' in text or not text else text
