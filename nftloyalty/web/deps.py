"""What the routes need, kept on the FastAPI application by `web.app`."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Path, Request

from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened
from nftloyalty.app.relaying import Relay
from nftloyalty.domain.address import Address, parse_address
from nftloyalty.errors import BadInput, Problem


@dataclass(frozen=True)
class Service:
    """One program, served. `relay` sends claims; None = this server only reads."""

    app: App
    opened: Opened
    relay: Relay | None


def service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)


def wallet_in_path(
    address: Annotated[str, Path(description="A wallet address, 0x and 40 hex digits.", max_length=64)],
) -> Address:
    return wallet(address, "address")


def wallet(text: str, pointer: str) -> Address:
    """Raises BadInput that points at the field."""
    try:
        return parse_address(text)
    except ValueError as wrong:
        raise BadInput("request", [Problem(pointer, str(wrong))]) from None


ServiceDep = Annotated[Service, Depends(service_of)]
WalletDep = Annotated[Address, Depends(wallet_in_path)]
