"""The way to one node: JSON over HTTP, within a deadline, whatever the other side does.

Addresses of nodes often carry a key, so only scheme, host and port of one are ever shown.
"""

import ipaddress
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit

import orjson
import requests
import urllib3

from nftloyalty.chain.abi import printable
from nftloyalty.errors import BadInput, NodeUnreachable, Problem

MOST_ANSWER_BYTES = 128 * 1024 * 1024


class Transport:
    """Messages to one address. Safe to share between threads; nothing is sent when it is built.

    `timeout` is the longest wait for one answer in seconds, from connecting to the last byte. Raises BadInput if the
    address is not http(s).
    """

    def __init__(self, url: str, timeout: float) -> None:
        parts = urlsplit(url)
        try:
            port = parts.port
        except ValueError:
            port = -1
        if parts.scheme not in ("http", "https") or not parts.hostname or port == -1:
            raise BadInput("the node's address", [Problem("url", "is not an http:// or https:// address")])
        host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
        self.shown_url = f"{parts.scheme}://{host}" + (f":{port}" if port else "")
        self.timeout = timeout
        self.__url = url
        self.__secrets = _secrets_in(url)
        self.__loopback = _is_loopback(parts.hostname)
        self.__local = threading.local()

    def __repr__(self) -> str:
        return f"Transport({self.shown_url})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Transport holds an address, which may hold a key: it is never pickled or copied")

    def safe(self, text: str) -> str:
        """What a node said, without what of its own address it may repeat, and without control characters."""
        for secret in self.__secrets:
            text = text.replace(secret, "***")
        return printable(text)

    def exchange(
        self, message: Mapping[str, Any] | Sequence[Mapping[str, Any]], timeout: float | None = None, *, again: bool
    ) -> Any:
        """Post a message and return the parsed answer; `again` = once more if the connection broke.

        Raises NodeUnreachable if there is no usable answer within `timeout` seconds (None = the transport's own). That
        happens outside of the handlers on purpose: requests' own exceptions hold the address, so none may hang on ours
        as its context.
        """
        body = orjson.dumps(message)
        seconds = self.timeout if timeout is None else timeout
        deadline = time.monotonic() + seconds
        why = ""
        for _ in range(2 if again else 1):
            try:
                status, content = self.__post(body, deadline)
            except _TooLate:
                why = f"nothing within {seconds:g} seconds"
                break
            except requests.exceptions.Timeout:
                why = f"nothing within {seconds:g} seconds"
                break
            except requests.exceptions.SSLError:
                why = "its certificate is not valid"
                break
            except requests.exceptions.ConnectionError:
                why = "the connection was refused or broke off"
                continue
            except (requests.exceptions.RequestException, urllib3.exceptions.HTTPError, UnicodeError) as failure:
                # The last two come through untranslated where the host's name can't be one.
                why = type(failure).__name__
                break
            except _TooMuch:
                why = f"more than {MOST_ANSWER_BYTES} bytes"
                break
            return self.__parsed(status, content)
        raise NodeUnreachable(self.shown_url, why)

    def __parsed(self, status: int, content: bytes) -> Any:
        answer: Any = None
        readable = True
        try:
            # Its depth is bounded. The parser of the standard library recurses in C, and py-evm raises Python's
            # recursion limit so far that a deep text would overflow the stack and end the process.
            answer = orjson.loads(content)
        except ValueError:
            readable = False
        # Some nodes put a JSON-RPC error into an answer with an HTTP error status: the inner one says more.
        says_why = isinstance(answer, dict) and answer.get("error") is not None and "jsonrpc" in answer
        if not 200 <= status < 300 and not says_why:
            raise NodeUnreachable(self.shown_url, f"it answered HTTP {status}")
        if not readable:
            raise NodeUnreachable(self.shown_url, "what came back is not JSON (is this a node's address?)")
        return answer

    def __post(self, body: bytes, deadline: float) -> tuple[int, bytes]:
        left = deadline - time.monotonic()
        if left <= 0:
            raise _TooLate
        session: requests.Session | None = getattr(self.__local, "session", None)
        if session is None:
            session = self.__local.session = requests.Session()
            # A proxy of the machine is no way to a node on the machine itself.
            session.trust_env = not self.__loopback
        with session.post(
            self.__url,
            data=body,
            headers={"Content-Type": "application/json", "Accept": "application/json"},
            timeout=left,
            allow_redirects=False,
            stream=True,
        ) as response:
            return response.status_code, _read_all(response, deadline)


class _TooLate(Exception):
    pass


class _TooMuch(Exception):
    pass


def _read_all(response: requests.Response, deadline: float) -> bytes:
    """The body, piece by piece as it comes, so that a node that drips bytes can't hold us beyond the deadline."""
    read_piece: Callable[..., bytes] = response.raw.read1
    pieces: list[bytes] = []
    size = 0
    while True:
        try:
            piece = read_piece(1 << 20, decode_content=True)
        except Exception as failure:
            # urllib3's own errors (a broken body, a read that timed out) come through untranslated here.
            late = "Timeout" in type(failure).__name__
            piece, broken = b"", _TooLate() if late else requests.exceptions.ConnectionError()
            raise broken from None
        if not piece:
            return b"".join(pieces)
        size += len(piece)
        if size > MOST_ANSWER_BYTES:
            raise _TooMuch
        if time.monotonic() > deadline:
            raise _TooLate
        pieces.append(piece)


def _secrets_in(url: str) -> tuple[str, ...]:
    """Every part of an address that may be a key, longest first. Short words like `v2` or `rpc` are none."""
    parts = urlsplit(url)
    found = {parts.password or "", parts.username or "", parts.query, parts.fragment}
    found.update(parts.path.split("/"))
    found.update(value for _, value in parse_qsl(parts.query))
    found |= {unquote(text) for text in found}
    return tuple(sorted((text for text in found if len(text) >= 6), key=len, reverse=True))


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
