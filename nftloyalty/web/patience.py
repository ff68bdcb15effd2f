"""How long a client may take. Who dawdles holds a connection and some memory, never a thread, and not for long.

The body of a request is waited for by web.app.LimitBody; what comes before it by the protocol here.
"""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

HEAD_SECONDS = 10.0
"""A request's line and headers must be there this long after its first byte, the first request's after connecting."""

BODY_SECONDS = 30.0
LONGEST_HEAD = 32 * 1024

_TOO_SLOW = b"HTTP/1.1 408 Request Timeout\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"
_TOO_LONG = b"HTTP/1.1 431 Request Header Fields Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"


class PatientProtocol(HttpToolsProtocol):
    """uvicorn's protocol, which waits for headers for ever and takes any number of them, with an end to both."""

    def __init__(self, *args: Any, **settings: Any) -> None:
        super().__init__(*args, **settings)
        self._awaits_head = True
        self._head_bytes = 0
        self._heads = 0
        self._deadline: asyncio.TimerHandle | None = None
        self._is_deaf = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        super().connection_made(cast(asyncio.Transport, transport))
        self._deadline = self.loop.call_later(HEAD_SECONDS, self._refuse, _TOO_SLOW)

    def data_received(self, data: bytes) -> None:
        if self._is_deaf:
            return
        if self._awaits_head:
            before = self._heads
            super().data_received(data)
            # Only what was read without coming to the end of any headers counts: bodies come in the same packets, whole
            # requests too. Most heads come in one, and need no clock.
            if self._awaits_head and self._heads == before:
                if self._deadline is None:
                    self._deadline = self.loop.call_later(HEAD_SECONDS, self._refuse, _TOO_SLOW)
                self._head_bytes += len(data)
                if self._head_bytes > LONGEST_HEAD:
                    self._refuse(_TOO_LONG)
        else:
            super().data_received(data)

    def on_headers_complete(self) -> None:
        self._awaits_head = False
        self._head_bytes = 0
        self._heads += 1
        self._forget_deadline()
        super().on_headers_complete()
        if self.parser.should_upgrade():
            # httptools does not read the body of such a request: what comes of it later would be another request.
            self._is_deaf = True
            self.cycle.keep_alive = False

    def on_message_complete(self) -> None:
        super().on_message_complete()
        self._awaits_head = True
        self._forget_deadline()

    def on_response_complete(self) -> None:
        super().on_response_complete()
        if not self._awaits_head and self._deadline is None and not self.transport.is_closing():
            # It was answered before its body was read, and nobody else waits for that.
            self._deadline = self.loop.call_later(BODY_SECONDS, self.transport.close)

    def _unsupported_upgrade_warning(self) -> None:
        """Anybody could fill the log with it."""

    def connection_lost(self, exc: Exception | None) -> None:
        self._forget_deadline()
        super().connection_lost(exc)

    def _refuse(self, answer: bytes) -> None:
        self._forget_deadline()
        if not self.transport.is_closing():
            # Nothing may stand between the answers to requests that came before on this connection.
            if self.cycle is None or self.cycle.response_complete:
                self.transport.write(answer)
            self.transport.close()

    def _forget_deadline(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
