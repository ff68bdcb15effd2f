"""Between the senders and PostgreSQL: a socket that can cut a connection at a COMMIT, so that the client never learns
whether it was carried out."""

import re
import socket
import struct
import tempfile
import threading
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from types import TracebackType
from typing import Self

from sqlalchemy import make_url


class Moment(StrEnum):
    """`before` the server has the COMMIT: rolled back. `after` it has carried it out: committed, nobody was told."""

    BEFORE = "before"
    AFTER = "after"


# What a transaction is for, by a statement in it; the first that fits counts.
KINDS: Mapping[str, re.Pattern[str]] = {
    "accept": re.compile(r"INSERT INTO intents"),
    "reserve": re.compile(r"INSERT INTO slots"),
    "sign": re.compile(r"INSERT INTO attempts"),
    "mark": re.compile(r"UPDATE attempts SET .*first_sent_at="),
    "settle": re.compile(r"UPDATE slots SET .*block_hash="),
    "finalise": re.compile(r"UPDATE slots SET "),
    "lease": re.compile(r"UPDATE signers SET .*lease_owner="),
}


@dataclass(frozen=True)
class Cut:
    """At the `count`-th COMMIT of a transaction of this kind."""

    kind: str
    moment: Moment
    count: int = 1


class Cutter:
    """For `with`: the database at `database_url`, reached by `url`. One cut is ordered at a time."""

    def __init__(self, database_url: str) -> None:
        parsed = make_url(database_url)
        self._server = f"{parsed.query['host']}/.s.PGSQL.{parsed.port or 5432}"
        # A socket's path has at most 107 bytes.
        self._folder = tempfile.TemporaryDirectory(prefix="nftl-cut-")
        self.url = parsed.set(query={"host": self._folder.name}).render_as_string(hide_password=False)
        self.cuts: Counter[tuple[str, Moment]] = Counter()
        self._listening = socket.socket(socket.AF_UNIX)
        self._listening.bind(str(Path(self._folder.name) / ".s.PGSQL.5432"))
        self._listening.listen()
        self._ordered: Cut | None = None
        self._passed = 0
        self._turn = threading.Lock()
        self._thread = threading.Thread(target=self._accept, daemon=True)

    def order(self, cut: Cut | None) -> None:
        with self._turn:
            self._ordered, self._passed = cut, 0

    def due(self, kind: str | None) -> Moment | None:
        """When to cut at this COMMIT; None = not at all."""
        with self._turn:
            if self._ordered is None or kind != self._ordered.kind:
                return None
            self._passed += 1
            if self._passed != self._ordered.count:
                return None
            self.cuts[self._ordered.kind, self._ordered.moment] += 1
            return self._ordered.moment

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listening.accept()
                server = socket.socket(socket.AF_UNIX)
                server.connect(self._server)
                session = _Session(self, client, server)
                threading.Thread(target=session.forward, daemon=True).start()
                threading.Thread(target=session.answer, daemon=True).start()

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with suppress(OSError):
            self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()
        self._thread.join(timeout=10)
        self._folder.cleanup()


class _Session:
    """One connection, in the messages of PostgreSQL's protocol 3 (its manual, "Message Formats")."""

    def __init__(self, cutter: Cutter, client: socket.socket, server: socket.socket) -> None:
        self._cutter = cutter
        self._client = client
        self._server = server
        self._statements: dict[bytes, str] = {}
        self._kind: str | None = None
        # Set while a COMMIT whose answer nobody shall hear is carried out.
        self._silent = threading.Event()

    def forward(self) -> None:
        """What the client says, message by message."""
        with suppress(OSError):
            self._greet()
            while head := self._read(5):
                body = self._read(struct.unpack("!I", head[1:])[0] - 4)
                moment = self._look(head[:1], body)
                if moment is Moment.BEFORE:
                    break
                if moment is Moment.AFTER:
                    self._silent.set()
                self._server.sendall(head + body)
        if not self._silent.is_set():
            self._end()

    def answer(self) -> None:
        """What the server says, until it has ended what nobody shall hear of."""
        with suppress(OSError):
            while said := self._server.recv(1 << 16):
                if self._silent.is_set():
                    # ReadyForQuery is the end of every answer: type, length 5, state of the transaction.
                    while said[-6:-1] != b"Z\x00\x00\x00\x05" and (more := self._server.recv(1 << 16)):
                        said += more
                    break
                self._client.sendall(said)
        self._end()

    def _greet(self) -> None:
        # Requests for encryption, which a server on this machine refuses with one byte, come before the start-up.
        while True:
            size = self._read(4)
            if not size:
                raise ConnectionError
            body = self._read(struct.unpack("!I", size)[0] - 4)
            self._server.sendall(size + body)
            if struct.unpack("!I", body[:4])[0] >> 16 == 3:
                return

    def _look(self, kind: bytes, body: bytes) -> Moment | None:
        """Remember what the transaction does; at its COMMIT, whether to cut."""
        text = ""
        if kind == b"Q":
            text = body[:-1].decode()
        elif kind == b"P":
            name, query, _ = body.split(b"\0", 2)
            text = self._statements[name] = query.decode()
        elif kind == b"B":
            _, name, _ = body.split(b"\0", 2)
            text = self._statements.get(name, "") if name else ""
        if text.startswith("COMMIT"):
            return self._cutter.due(self._kind)
        if text.startswith(("BEGIN", "ROLLBACK")):
            self._kind = None
        names = list(KINDS)
        for place, (purpose, pattern) in enumerate(KINDS.items()):
            if pattern.search(text) and (self._kind is None or place < names.index(self._kind)):
                self._kind = purpose
        return None

    def _read(self, size: int) -> bytes:
        parts = b""
        while len(parts) < size:
            piece = self._client.recv(size - len(parts))
            if not piece:
                return b""
            parts += piece
        return parts

    def _end(self) -> None:
        for each in (self._client, self._server):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)
            each.close()
