"""What the routes need, kept on the FastAPI application by `web.app`."""

from dataclasses import dataclass
from typing import Annotated, cast

from fastapi import Depends, Path, Request

from nftloyalty.app.context import App
from nftloyalty.app.intake import Intake
from nftloyalty.app.opening import Opened
from nftloyalty.app.vouching import Desk
from nftloyalty.app.working import Worker
from nftloyalty.domain.address import Address, parse_address
from nftloyalty.errors import BadInput, LoyaltyError, Problem
from nftloyalty.web.examples import GOLD
from nftloyalty.web.misfits import COPY_IT


@dataclass(frozen=True)
class Service:
    """One program, served. `worker` is what works in this process; None = others do. `takes_claims` False = this server
    only reads, as it does without an `intake`. `reachable` = others than this machine can reach it. `desk` signs
    vouchers; None = this server signs none."""

    app: App
    opened: Opened
    worker: Worker | None
    takes_claims: bool = True
    intake: Intake | None = None
    reachable: bool = False
    desk: Desk | None = None


class NotDeclaredJson(LoyaltyError):
    """`media` is the media type the body was declared as, "" = none."""

    code = "wrong_media_type"

    def __init__(self, media: str) -> None:
        what = f"it is declared as {media[:60]!r}" if media else "it has no Content-Type"
        super().__init__(what, mend="send the header Content-Type: application/json")


class NotJson(LoyaltyError):
    """`position` is the character at which reading stopped."""

    code = "not_json"

    def __init__(self, position: int) -> None:
        super().__init__(
            f"reading stopped at character {position + 1}", mend="check the quotes, commas and brackets around it"
        )


class NoIdempotencyKey(LoyaltyError):
    code = "idempotency_key_missing"

    def __init__(self) -> None:
        super().__init__(
            "what is asked for twice by mistake must not happen twice",
            mend="send the header Idempotency-Key with a random UUID for each new request, and the same one when you "
            "ask again",
        )


class ReadOnly(LoyaltyError):
    """This server takes no requests that change something."""

    code = "read_only"

    def __init__(self) -> None:
        super().__init__("it was started to answer questions only", mend="start it without --read-only")


class SignsNoVouchers(LoyaltyError):
    """This server was not given the key that signs them."""

    code = "signs_no_vouchers"

    def __init__(self) -> None:
        super().__init__(
            "it was started without the key that signs them",
            mend="start it with --vouchers, or sign them with `nftloyalty vouchers create`",
        )


def writing(service: "Service") -> None:
    """Raises ReadOnly where the server only answers questions."""
    if not service.takes_claims:
        raise ReadOnly


async def service_of(request: Request) -> Service:
    return cast(Service, request.app.state.service)


def wallet_in_path(
    address: Annotated[
        str, Path(description="A wallet address, 0x and 40 hex digits.", max_length=64, examples=[GOLD])
    ],
) -> Address:
    """Raises BadInput that points at it."""
    try:
        return parse_address(address)
    except ValueError as wrong:
        raise BadInput("request", [Problem("address", str(wrong), COPY_IT)]) from None


async def declared_json(request: Request) -> None:
    """Raises NotDeclaredJson. Without the header a client's library may send the same bytes as a form."""
    given = request.headers.get("content-type", "")
    if not declares_json(given):
        raise NotDeclaredJson(_media(given))


def declares_json(content_type: str) -> bool:
    """Whether this header declares JSON, or a kind of it (RFC 6839)."""
    media = _media(content_type)
    return media == "application/json" or (media.startswith("application/") and media.endswith("+json"))


def _media(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()


JSON_BODY = Depends(declared_json)
ServiceDep = Annotated[Service, Depends(service_of)]
WalletDep = Annotated[Address, Depends(wallet_in_path)]
