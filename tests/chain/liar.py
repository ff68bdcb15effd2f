"""A node that misbehaves on purpose: each test tells it what to answer."""

import json
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self

Answer = Callable[["Exchange", Any], None]


class Exchange:
    """One request, and the ways to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        self.handler = handler
        self.path = handler.path
        self.headers = handler.headers

    def send(self, body: bytes, status: int = 200, headers: dict[str, str] | None = None) -> None:
        self.handler.send_response(status)
        for key, value in (headers or {"Content-Type": "application/json"}).items():
            self.handler.send_header(key, value)
        self.handler.send_header("Content-Length", str(len(body)))
        self.handler.end_headers()
        self.handler.wfile.write(body)

    def send_json(self, value: Any, status: int = 200) -> None:
        self.send(json.dumps(value).encode(), status)

    def result(self, request: Any, value: Any) -> None:
        self.send_json({"jsonrpc": "2.0", "id": request["id"], "result": value})

    def error(self, request: Any, error: Any, status: int = 200) -> None:
        self.send_json({"jsonrpc": "2.0", "id": request["id"], "error": error}, status)

    def hang_up(self) -> None:
        """Close the connection without a word."""
        self.handler.close_connection = True


class Liar:
    """For `with`. `answer` is called with each request; `requests` are the parsed bodies received so far."""

    def __init__(self) -> None:
        self.requests: list[Any] = []
        self.answer: Answer = lambda exchange, request: exchange.result(request, None)
        liar = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            # Head and body are two writes; together with delayed acknowledgements they would take 40 ms.
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                liar.requests.append(body)
                try:
                    liar.answer(Exchange(self), body)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            def log_message(self, *args: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.port = self._server.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()
