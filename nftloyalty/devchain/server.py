"""The development chain over HTTP, on loopback only: its accounts are open to whoever reaches it."""

import errno
import ipaddress
import json
import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, NoReturn, Self
from urllib.parse import urlsplit

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import Route

from nftloyalty.devchain import wire
from nftloyalty.devchain.chain import DevChain, failure
from nftloyalty.devchain.wire import RpcError
from nftloyalty.errors import BadInput, Problem

MAX_BODY_BYTES = 5 * 1024 * 1024
MAX_NESTING = 32
STOP_SECONDS = 5

# An unclosed string runs to the end of the text: tried anew at each of its quotes, it would take quadratic time.
_NESTING = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)
"""A string, or a bracket outside of strings."""


def serve(
    host: str = "127.0.0.1",
    port: int = 8545,
    *,
    chain: DevChain | None = None,
    ready: Callable[[str], None] | None = None,
) -> None:
    """Serves until interrupted. `ready` is called with the URL once the port is ours, before the first request.

    Raises BadInput when the host is not a loopback address or the port can't be had.
    """
    with listen(host, port) as listener:
        server = _server(DevChain() if chain is None else chain)
        if ready is not None:
            ready(url_of(listener))
        server.run(sockets=[listener])


class DevChainServer:
    """A served chain in a thread of this process, for `with`. Port 0 takes a free one; `url` is known from the start.

    Raises BadInput like `serve`.
    """

    def __init__(self, chain: DevChain | None = None, host: str = "127.0.0.1", port: int = 0) -> None:
        self.chain = DevChain() if chain is None else chain
        self._listener = listen(host, port)
        self.url = url_of(self._listener)
        self._server = _server(self.chain)
        self._thread = threading.Thread(target=self._run, name="devchain", daemon=True)

    def __enter__(self) -> Self:
        # The socket listens already: whoever connects before uvicorn is up waits in its queue.
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join()
        self._listener.close()

    def _run(self) -> None:
        self._server.run(sockets=[self._listener])


def listen(host: str, port: int, *, anywhere: bool = False) -> socket.socket:
    """A listening socket, on a loopback address unless `anywhere`. Raises BadInput."""
    address = loopback_address(host)
    if address is None and anywhere:
        address = _plain_address(host)
    if address is None:
        _refuse(
            f"host {host}",
            "is not an address of this machine alone, and whoever reaches this server may use it",
            "use 127.0.0.1, ::1 or localhost",
        )
    family = socket.AF_INET6 if address.version == 6 else socket.AF_INET
    # asyncio turns Nagle's algorithm off only where the protocol is named; with it an answer waits 40 ms.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        # A restarted chain gets its port back while the old connections fade.
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((str(address), port))
        listener.listen(128)
    except (OSError, OverflowError) as error:
        listener.close()
        _refuse(f"port {port}", _why_not(error), "choose another with --port; 0 takes any that is free")
    return listener


def _why_not(error: OSError | OverflowError) -> str:
    """Why a port can't be had."""
    code = error.errno if isinstance(error, OSError) else None
    if code == errno.EADDRINUSE:
        return "is taken: another server listens there"
    if code == errno.EACCES:
        return "may not be used by this user; ports below 1024 are the system's"
    if isinstance(error, OverflowError):
        return "is no port: they go from 0 to 65535"
    return f"can't be had: {error.strerror or error}"


def _plain_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    try:
        return ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        _refuse(f"host {host}", "is no address", "use an address of this machine, or 0.0.0.0 or :: for all of them")


def loopback_address(host: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address | None:
    """The address behind a host that never leaves this machine; None for every other host. Asks no name server."""
    if host.lower() == "localhost":
        return ipaddress.IPv4Address("127.0.0.1")
    try:
        address = ipaddress.ip_address(host.removeprefix("[").removesuffix("]"))
    except ValueError:
        return None
    return address if address.is_loopback else None


def url_of(listener: socket.socket) -> str:
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def application(chain: DevChain) -> Starlette:
    async def answer(request: Request) -> Response:
        refusal = _refusal(request)
        if refusal:
            return Response(refusal, status_code=403, media_type="text/plain")
        try:
            body = await _body(request)
        except ClientDisconnect:
            return Response(status_code=400)
        if body is None:
            return Response(f"at most {MAX_BODY_BYTES} bytes", status_code=413, media_type="text/plain")
        try:
            payload = _parse(body)
        except ValueError:
            return _json(failure(None, RpcError(wire.PARSE_ERROR, "not valid JSON")))
        result = await run_in_threadpool(chain.handle, payload)
        return Response(status_code=204) if result is None else _json(result)

    return Starlette(routes=[Route("/", answer, methods=["POST"])])


def _server(chain: DevChain) -> uvicorn.Server:
    return uvicorn.Server(
        uvicorn.Config(
            application(chain),
            log_config=None,  # how this process logs is not the chain's to say
            log_level="warning",
            access_log=False,
            lifespan="off",
            ws="none",
            proxy_headers=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )


def _refusal(request: Request) -> str | None:
    """Why a request is not from this machine's own programs: a web page's, by DNS rebinding or across origins."""
    if not _is_local(f"//{request.headers.get('host', '')}"):
        return "the Host header does not name this machine"
    origin = request.headers.get("origin")
    # A wallet extension's own origin has another scheme; no web page can take it on. "null" has none.
    if origin is not None and origin.partition(":")[0] in ("null", "http", "https") and not _is_local(origin):
        return "web pages of other machines may not use this chain"
    return None


def _is_local(url: str) -> bool:
    try:
        host = urlsplit(url).hostname
    except ValueError:
        return False
    return host is not None and loopback_address(host) is not None


async def _body(request: Request) -> bytes | None:
    """None when it is longer than MAX_BODY_BYTES; the rest is not read then."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > MAX_BODY_BYTES:
            return None
    return bytes(body)


def _json(content: Any) -> Response:
    return Response(json.dumps(content, separators=(",", ":")), media_type="application/json")


def _parse(body: bytes) -> Any:
    """Raises ValueError for what is not JSON, and for what is nested deeper than any request."""
    # py-evm lifts the process's recursion limit so far that deep nesting would overrun the C stack of json.
    depth = 0
    for token in _NESTING.finditer(body):
        if token[0] in b"[{":
            depth += 1
            if depth > MAX_NESTING:
                raise ValueError("nested too deep")
        elif token[0] in b"]}":
            depth -= 1
    return json.loads(body, parse_constant=_no_constant)


def _no_constant(name: str) -> NoReturn:
    """Python's reader takes NaN and Infinity, which JSON does not have."""
    raise ValueError(name)


def _refuse(place: str, what: str, mend: str) -> NoReturn:
    raise BadInput("the server", [Problem(place, what, mend)])
