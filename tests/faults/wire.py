"""The wire between the senders and their node: every signed transaction is looked at before the node gets it, and what
goes over it can be spoilt on the way (cases.py).

Each run has an address of its own on the wire, so that it is known who sent what, also when two send at once.
"""

import http.client
import json
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self
from urllib.parse import urlsplit

SEND = "eth_sendRawTransaction"
NONCE = "eth_getTransactionCount"


@dataclass(frozen=True)
class OnTheWire:
    """A signed transaction as it left a run, `at` by the machine's steady clock. `complaint` says what was wrong with
    its leaving."""

    run: int
    raw: bytes
    complaint: str | None
    at: float


class Exchange:
    """One request on its way to the node, and the ways to answer it."""

    def __init__(self, handler: "_Handler", run: int, body: bytes) -> None:
        self.run = run
        self.body = body
        self.message: Any = json.loads(body)
        self._handler = handler

    @property
    def items(self) -> Sequence[Mapping[str, Any]]:
        """The requests in the message, one or many."""
        return self.message if isinstance(self.message, list) else [self.message]

    @property
    def methods(self) -> list[str]:
        return [str(item["method"]) for item in self.items]

    def ask(self, message: Any = None) -> tuple[int, bytes]:
        """What the node answers to this message, by default to the one that came: HTTP status and content."""
        body = self.body if message is None else json.dumps(message).encode()
        return self._handler.ask_node(body)

    def ask_all(self, items: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
        """The node's answers to these requests, in their order, each with the id of its request."""
        asked = [{**item, "id": number, "jsonrpc": "2.0"} for number, item in enumerate(items)]
        answers = {answer["id"]: answer for answer in json.loads(self.ask(asked)[1])}
        return [{**answers[number], "id": item["id"]} for number, item in enumerate(items)]

    def answer(self, status: int, content: bytes, headers: Mapping[str, str] | None = None) -> None:
        self._handler.answer(status, content, {"Content-Type": "application/json", **(headers or {})})

    def answer_items(self, answers: Sequence[Mapping[str, Any]]) -> None:
        """Answer with these in the form in which was asked: one by one, many by a list."""
        value: Any = answers if isinstance(self.message, list) else answers[0]
        self.answer(200, json.dumps(value).encode())

    def pass_on(self) -> None:
        self.answer(*self.ask())

    def hang_up(self) -> None:
        """Break the connection without a word."""
        self._handler.close_connection = True
        with suppress(OSError):
            self._handler.connection.shutdown(socket.SHUT_RDWR)


class Faults(Protocol):
    """Decides about each exchange."""

    def spoil(self, exchange: Exchange) -> bool:
        """Whether it was answered here, wrongly; if not, the node answers it."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    # Head and body are two writes; together with delayed acknowledgements they would take 40 ms.
    disable_nagle_algorithm = True
    wire: "Wire"
    node: http.client.HTTPConnection

    def setup(self) -> None:
        super().setup()
        self.node = http.client.HTTPConnection(*self.wire.target, timeout=60)

    def finish(self) -> None:
        self.node.close()
        with suppress(OSError):
            super().finish()

    def do_POST(self) -> None:
        size = int(self.headers["Content-Length"])
        body = self.rfile.read(size)
        if len(body) < size:
            # Who asked was killed in the middle of the question.
            self.close_connection = True
            return
        exchange = Exchange(self, int(self.path.rpartition("/")[2] or 0), body)
        self.wire.look(exchange)
        if self.wire.faults is None or not self.wire.faults.spoil(exchange):
            exchange.pass_on()

    def ask_node(self, body: bytes) -> tuple[int, bytes]:
        self.node.request("POST", "/", body, {"Content-Type": "application/json"})
        answer = self.node.getresponse()
        return answer.status, answer.read()

    def answer(self, status: int, content: bytes, headers: Mapping[str, str]) -> None:
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def handle(self) -> None:
        try:
            super().handle()
        except (ConnectionError, TimeoutError, http.client.HTTPException):
            # The run at the other end was killed, or the node has been ended at the end of all.
            self.close_connection = True

    def log_message(self, *args: object) -> None:
        pass


class Wire:
    """For `with`: a proxy to the node at `target`. `judge` is asked about each signed transaction that passes, while
    the sender waits: what it finds in the books then, is what was there before the node could know the bytes.

    `log`, if given, is a file that gets a line of JSON for each sending and each injected fault.
    """

    def __init__(self, target: str, judge: Callable[[bytes], str | None], log: Path | None = None) -> None:
        self.passed: list[OnTheWire] = []
        self.faults: Faults | None = None
        self.injected: Counter[str] = Counter()
        self.injected_in: Counter[tuple[str, int]] = Counter()
        parts = urlsplit(target)
        self.target = parts.hostname or "", parts.port or 80
        self._judge = judge
        self._log = log.open("a", encoding="utf-8", buffering=1) if log is not None else None
        self._writing = threading.Lock()
        self._began = time.monotonic()
        # The base class answers to one wire: that of this handler's own subclass.
        handler = type("Handler", (_Handler,), {"wire": self})
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def url_of(self, run: int) -> str:
        """The address of the node for one run."""
        return f"{self.url}/{run}"

    def look(self, exchange: Exchange) -> None:
        """Judge and remember the signed transactions in a message."""
        for request in exchange.items:
            if request["method"] == SEND:
                raw = bytes.fromhex(request["params"][0].removeprefix("0x"))
                try:
                    complaint = self._judge(raw)
                except Exception as failure:
                    complaint = f"could not be judged: {failure}"
                self.passed.append(OnTheWire(exchange.run, raw, complaint, time.monotonic()))
                self.write(run=exchange.run, sent=raw.hex(), complaint=complaint)

    def note(self, exchange: Exchange, case: str, detail: str) -> None:
        """Count an injected fault and write it to the log."""
        with self._writing:
            self.injected[case] += 1
            self.injected_in[case, exchange.run] += 1
        methods = Counter(exchange.methods)
        self.write(run=exchange.run, fault=case, detail=detail, methods=dict(methods))

    def write(self, **line: Any) -> None:
        if self._log is not None:
            with self._writing:
                self._log.write(json.dumps({"at": round(time.monotonic() - self._began, 3), **line}) + "\n")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
        if self._log is not None:
            with self._writing:
                self._log.close()
                self._log = None
