"""python -m benchmarks.checks.plain: three routes that do nothing, on the server that `nftloyalty serve` uses.

    /raw    an ASGI callable
    /async  a FastAPI route that is awaited
    /sync   a FastAPI route in a thread, as ours are

Each answers with as many bytes of JSON as a check has.
"""

from typing import Any

from fastapi import FastAPI
from starlette.types import ASGIApp, Receive, Scope, Send

from nftloyalty.devchain.server import listen, url_of
from nftloyalty.web.server import server_of

ANSWER = {
    "wallet": "0x70997970c51812dc3a010c7d01b50e0d17dc79c8",
    "allowed": True,
    "reasons": [],
    "as_of": {
        "block": 16,
        "hash": "0x" + "5b" * 32,
        "timestamp": "2030-03-01T12:00:05Z",
        "age_seconds": 2,
        "checked_seconds_ago": 0,
        "final": False,
    },
}
BODY = (
    b'{"wallet":"0x70997970c51812dc3a010c7d01b50e0d17dc79c8","allowed":true,"reasons":[],"as_of":{"block":16,"hash":"0x'
    + b"5b" * 32
    + b'","timestamp":"2030-03-01T12:00:05Z","age_seconds":2,"checked_seconds_ago":0,"final":false}}'
)


def plain() -> ASGIApp:
    api = FastAPI()

    @api.get("/async")
    async def awaited() -> dict[str, Any]:
        return ANSWER

    @api.get("/sync")
    def threaded() -> dict[str, Any]:
        return ANSWER

    async def app(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] != "/raw":
            await api(scope, receive, send)
            return
        headers = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(BODY))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": BODY})

    return app


def main() -> None:
    with listen("127.0.0.1", 0) as listener:
        print(f"Serving at {url_of(listener)}", flush=True)
        server_of(plain()).run(sockets=[listener])


if __name__ == "__main__":
    main()
