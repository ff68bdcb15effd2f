"""The server that every application here is served by."""

from collections.abc import Callable, Sequence
from typing import Any

import uvicorn

from nftloyalty.web.patience import PatientProtocol

STOP_SECONDS = 5


def server_of(web: Callable[..., Any], proxies: Sequence[object] = ()) -> uvicorn.Server:
    """A server for an ASGI application, whose lines go where ours go. The application tells of each request itself.

    `proxies` are believed when they say whose request it is.
    """
    return uvicorn.Server(
        uvicorn.Config(
            web,
            log_config=None,
            log_level="warning",
            access_log=False,
            http=PatientProtocol,
            ws="none",
            proxy_headers=bool(proxies),
            forwarded_allow_ips=[str(each) for each in proxies],
            server_header=False,
            timeout_graceful_shutdown=STOP_SECONDS,
        )
    )
