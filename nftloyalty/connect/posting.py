"""One POST to somebody else's server, which may be slow, broken or hostile.

Nothing is followed, no proxy is used, little of the answer is read and none of it kept, and all of it ends in time.
A connection is kept for the next message to the same endpoint, if the caller says which that is.
"""

import http
import http.client
import io
import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.exceptions import ConnectTimeoutError, HTTPError, NewConnectionError

from nftloyalty import __version__
from nftloyalty.connect.deadlines import Deadlines
from nftloyalty.connect.keeping import Kept, Line, Open
from nftloyalty.connect.reach import (
    Address,
    Network,
    Refused,
    Resolve,
    Target,
    checked_addresses,
    parse_target,
    resolve_in,
)
from nftloyalty.errors import BadInput

DEADLINE_SECONDS = 15.0
CONNECT_SECONDS = 5.0
MOST_ANSWER_BYTES = 4096
MOST_BYTES = 64 * 1024
"""Of an answer with all that comes before and after it."""

MOST_RETRY_AFTER_SECONDS = 3600
GONE = 410


@dataclass(frozen=True)
class Answer:
    """How a POST went: `status` is the server's, None if it gave none; then `error` says why, in a few words without
    the path of the address. `retry_after_seconds` is what the server asks for, 0 if it asks for nothing."""

    status: int | None
    error: str | None
    milliseconds: int
    retry_after_seconds: int = 0

    @property
    def taken(self) -> bool:
        """Whether the message was received: 2xx, and nothing else. A redirect is a failure."""
        return self.status is not None and 200 <= self.status < 300

    @property
    def gone(self) -> bool:
        """Whether the server wants no message ever again."""
        return self.status == GONE


class Poster:
    """Posts to public addresses by HTTPS, and to the `allowed` networks, by HTTP too. Safe to use from many threads.

    `trust` is what certificates are checked against, the system's authorities by default. `resolve` is for tests.
    """

    def __init__(
        self,
        allowed: Sequence[Network] = (),
        *,
        deadline_seconds: float = DEADLINE_SECONDS,
        connect_seconds: float = CONNECT_SECONDS,
        resolve: Resolve | None = None,
        trust: ssl.SSLContext | None = None,
    ) -> None:
        self.allowed = tuple(allowed)
        self._deadline_seconds = deadline_seconds
        self._connect_seconds = min(connect_seconds, deadline_seconds)
        self._resolve = resolve or resolve_in(self._connect_seconds)
        self._given_trust = trust
        self._kept = Kept()
        self._deadlines = Deadlines()

    def tidy(self) -> None:
        """Close kept connections that were not used for a while. To be called now and then."""
        self._kept.tidy()

    def close(self) -> None:
        """Close all kept connections; from now on none is kept."""
        self._kept.close()

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, endpoint: str = "") -> Answer:
        """Post this body. Never raises for what the server, the network or the name does.

        Messages to one `endpoint` may share a connection; "" = this one has its own. It may arrive twice, where a kept
        connection breaks off before there is an answer.
        """
        began = time.monotonic()
        status, error, retry_after = None, None, 0
        try:
            target = parse_target(url, self.allowed)
            addresses = checked_addresses(target, self._resolve, self.allowed)
            status, retry_after = self._exchange(
                target, addresses, endpoint, body, headers, began + self._deadline_seconds
            )
        except BadInput as wrong:
            error = "; ".join(f"the {problem.place} {problem.what}" for problem in wrong.problems)
        except Refused as refused:
            error = str(refused)
        except TimeoutError:
            error = f"no answer within {time.monotonic() - began:.0f} seconds"
        except socket.gaierror:
            error = "its name has no address"
        except (HTTPError, http.client.HTTPException, OSError, ValueError) as failure:
            error = _told(failure)
        return Answer(status, error, round((time.monotonic() - began) * 1000), retry_after)

    def _exchange(
        self,
        target: Target,
        addresses: Sequence[Address],
        endpoint: str,
        body: bytes,
        headers: Mapping[str, str],
        deadline: float,
    ) -> tuple[int, int]:
        """Status, and the seconds that the server asks for."""
        if not endpoint:
            return self._send(self._connected(target, addresses, deadline), None, target, body, headers, deadline)
        line = Line(endpoint, target.scheme, target.host, target.port)
        kept = self._kept.take(line, addresses)
        if kept is not None:
            try:
                return self._send(kept, line, target, body, headers, deadline)
            except (ConnectionError, ssl.SSLError, http.client.HTTPException):
                # It was closed while nobody looked, most likely before this message came there. If not, it comes twice,
                # which receivers know how to deal with; a receiver that is well must not be taken for one that fails.
                pass
        return self._send(self._connected(target, addresses, deadline), line, target, body, headers, deadline)

    def _send(
        self,
        to: Open,
        line: Line | None,
        target: Target,
        body: bytes,
        headers: Mapping[str, str],
        deadline: float,
    ) -> tuple[int, int]:
        """By this connection, which is kept for its line afterwards if it is of further use, and else closed."""
        connection = to.connection
        with self._deadlines.cut_off(connection.sock, deadline) as cut:
            try:
                connection.timeout = max(0.001, deadline - time.monotonic())
                connection.request(
                    "POST",
                    target.path,
                    body=body,
                    headers={
                        "Host": target.authority,
                        "User-Agent": f"nftloyalty/{__version__}",
                        "Accept-Encoding": "identity",
                        "Connection": "close" if line is None else "keep-alive",
                        "Content-Type": "application/json",
                        **headers,
                    },
                )
                # Not urllib3's own method: it logs the whole URL where headers are broken.
                answer = http.client.HTTPConnection.getresponse(connection)
                with answer:
                    if cut.is_set():
                        # Headers that end in the middle are taken for whole.
                        raise TimeoutError
                    # The status decides. A little more is taken in only so that an honest server can end in good order.
                    with suppress(http.client.HTTPException, OSError):
                        answer.read(MOST_ANSWER_BYTES)
                    # After a mere announcement (1xx) the answer itself is still to come.
                    usable = answer.isclosed() and not answer.will_close and answer.status >= http.HTTPStatus.OK
                    told = answer.status, _seconds(answer.headers.get("Retry-After"))
            except BaseException as failure:
                to.close()
                if cut.is_set() and isinstance(failure, Exception):
                    raise TimeoutError from None
                raise
        if line is not None and usable and not cut.is_set():
            self._kept.give(line, to)
        else:
            to.close()
        return told

    def _connected(self, target: Target, addresses: Sequence[Address], deadline: float) -> Open:
        """A connection to the first of these addresses that can be reached; what fails later is not tried elsewhere."""
        last: Exception = TimeoutError()
        for address in addresses:
            left = min(self._connect_seconds, deadline - time.monotonic())
            if left <= 0:
                raise TimeoutError
            connection = self._connection(target, address, left)
            connection.response_class = _Response
            try:
                connection.connect()
                # Were it closed meanwhile, it would open itself again.
                connection.auto_open = 0
                return self._kept.opened(connection, address)
            except (NewConnectionError, ConnectTimeoutError) as failure:
                connection.close()
                last = failure
            except BaseException:
                connection.close()
                raise
        raise last

    def _connection(self, target: Target, address: Address, seconds: float) -> HTTPConnection:
        if target.scheme == "http":
            return HTTPConnection(str(address), target.port, timeout=seconds)
        return HTTPSConnection(
            str(address), target.port, timeout=seconds, server_hostname=target.host, ssl_context=self._trust
        )

    @cached_property
    def _trust(self) -> ssl.SSLContext:
        # Once, when it is first needed: reading all authorities takes longer than a message.
        return self._given_trust or ssl.create_default_context()


class _Counted(io.RawIOBase):
    """Bytes as they come, up to MOST_BYTES. http.client goes on for as long as it is sent announcements (1xx), headers
    or trailers."""

    def __init__(self, wire: io.RawIOBase) -> None:
        self._wire = wire
        self._left = MOST_BYTES

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int | None:
        if self._left <= 0:
            raise http.client.HTTPException("more than anybody needs to say")
        count = self._wire.readinto(memoryview(buffer)[: self._left])
        self._left -= count or 0
        return count

    def close(self) -> None:
        self._wire.close()
        super().close()


class _Response(http.client.HTTPResponse):
    """Reads no more than MOST_BYTES."""

    def __init__(self, *given: Any, **more: Any) -> None:
        super().__init__(*given, **more)
        self.fp = io.BufferedReader(_Counted(self.fp.detach()))


def _seconds(text: str | None) -> int:
    return min(int(text), MOST_RETRY_AFTER_SECONDS) if text and text.isascii() and text.isdigit() else 0


def _told(failure: Exception) -> str:
    """What went wrong, without the words of the failure: they may name the whole URL."""
    causes: list[BaseException] = [failure]
    while (deeper := causes[-1].__cause__ or causes[-1].__context__) is not None and deeper not in causes:
        causes.append(deeper)
    for cause in causes:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"its certificate is not valid: {cause.verify_message}"
        if isinstance(cause, ConnectionRefusedError):
            return "the connection was refused"
    if any(isinstance(cause, ssl.SSLError) for cause in causes):
        return "TLS failed"
    if any(isinstance(cause, (ConnectTimeoutError, TimeoutError)) for cause in causes):
        return "it could not be connected to in time"
    if any(isinstance(cause, NewConnectionError) for cause in causes):
        return "it can't be connected to"
    if any(isinstance(cause, http.client.HTTPException) for cause in causes):
        return "what it answered is not HTTP"
    return "the connection broke off"
