"""The wire between the sender and its node: every signed transaction is looked at before the node gets it."""

import http.client
import json
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import urlsplit


@dataclass(frozen=True)
class OnTheWire:
    """A signed transaction as it left a run. `run` counts from 0; `complaint` says what was wrong with its leaving."""

    run: int
    raw: bytes
    complaint: str | None


class Wire:
    """For `with`: a proxy to the node at `target`. `judge` is asked about each signed transaction that passes, while
    the sender waits: what it finds in the books then, is what was there before the node could know the bytes."""

    def __init__(self, target: str, judge: Callable[[bytes], str | None]) -> None:
        self.passed: list[OnTheWire] = []
        self.run = 0
        self._judge = judge
        wire = self
        host, port = urlsplit(target).hostname or "", urlsplit(target).port

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are two writes; together with delayed acknowledgements they would take 40 ms.
            disable_nagle_algorithm = True
            node: http.client.HTTPConnection

            def setup(self) -> None:
                super().setup()
                self.node = http.client.HTTPConnection(host, port, timeout=60)

            def finish(self) -> None:
                self.node.close()
                super().finish()

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["Content-Length"]))
                wire.look(json.loads(body))
                self.node.request("POST", "/", body, {"Content-Type": "application/json"})
                answer = self.node.getresponse()
                content = answer.read()
                self.send_response(answer.status)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def handle(self) -> None:
                try:
                    super().handle()
                except ConnectionError:
                    # The run at the other end was killed.
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"

    def look(self, message: Any) -> None:
        """Judge and remember the signed transactions in a message."""
        for request in message if isinstance(message, list) else [message]:
            if request["method"] == "eth_sendRawTransaction":
                raw = bytes.fromhex(request["params"][0].removeprefix("0x"))
                try:
                    complaint = self._judge(raw)
                except Exception as failure:
                    complaint = f"could not be judged: {failure}"
                self.passed.append(OnTheWire(self.run, raw, complaint))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
