"""The program that is served: its tiers, its stamps, and where it lives."""

from datetime import datetime
from typing import Any

from fastapi import APIRouter
from pydantic import BaseModel, Field

from nftloyalty.domain.access import Scope, mode_of
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import ServiceDep
from nftloyalty.web.schemas import TROUBLES, answers, problems

router = APIRouter(tags=["program"])


class TierOut(BaseModel):
    id: str
    number: int = Field(description="From 1, the lowest.")
    name: str


class StampTypeOut(BaseModel):
    """A stamp, or a stamp card of several."""

    id: str
    name: str
    ids: list[str] = Field(description="What each of its stamps is called; one, or those of a stamp card in order.")
    numbers: list[int]
    cap: int | None = Field(description="Most that there ever are of each; null = no bound.")
    opens: datetime | None = Field(description="First moment at which it can be had; null = at once.")
    closes: datetime | None = Field(description="First moment at which it can't be had any more; null = never.")
    members_only: bool
    min_tier: str | None
    redeemable: bool


class ChainOut(BaseModel):
    id: int
    genesis_hash: str = Field(description="Tells a development chain that was started anew from the one before.")
    membership: str = Field(description="Address of the contract for cards.")
    stamps: str = Field(description="Address of the contract for stamps.")


class ProgramOut(BaseModel):
    id: str
    brand: str
    name: str
    symbol: str
    mode: str = Field(description="`test` on test networks and development chains, else `live`; API keys say the same.")
    cap: int | None = Field(description="Most living cards; null = no bound.")
    tiers: list[TierOut]
    stamps: list[StampTypeOut]
    chain: ChainOut


@router.get(
    "/v1/program",
    operation_id="get_program",
    response_model=ProgramOut,
    responses=answers(200, "The program.", program=examples.PROGRAM) | problems(*TROUBLES),
    dependencies=[needs(Scope.CHECKS_READ)],
    summary="The program of this key",
)
def program(service: ServiceDep) -> dict[str, Any]:
    """In the words of program.toml, as this server was started with it."""
    here, program = service.opened, service.opened.program
    return {
        "id": program.id,
        "brand": program.brand,
        "name": program.name,
        "symbol": program.symbol,
        "mode": mode_of(here.attached.chain_id),
        "cap": program.cap,
        "tiers": [{"id": tier.id, "number": tier.number, "name": tier.name} for tier in program.tiers],
        "stamps": [
            {
                "id": stamp.id,
                "name": stamp.name,
                "ids": list(stamp.ids),
                "numbers": list(stamp.numbers),
                "cap": stamp.cap,
                "opens": stamp.opens,
                "closes": stamp.closes,
                "members_only": stamp.members_only or stamp.min_tier > 0,
                "min_tier": program.tiers[stamp.min_tier - 1].id if stamp.min_tier else None,
                "redeemable": stamp.redeemable,
            }
            for stamp in program.stamps
        ],
        "chain": {
            "id": here.attached.chain_id,
            "genesis_hash": here.attached.genesis_hash,
            "membership": here.row.membership,
            "stamps": here.row.stamps,
        },
    }
