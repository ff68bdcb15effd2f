"""Who holds what, and what that opens: one read of the chain, pinned to one block."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened, check_chain
from nftloyalty.domain.address import Address
from nftloyalty.domain.gate import AsOf, Conditions, Decision, Holding, decide, judged_at
from nftloyalty.domain.times import at, last_day
from nftloyalty.domain.words import Flag
from nftloyalty.errors import ChainProblem


@dataclass(frozen=True)
class Held:
    """What one wallet holds as of one block."""

    wallet: Address
    holding: Holding
    as_of: AsOf


def holding(app: App, opened: Opened, wallet: Address) -> Held:
    """Read a wallet's card and stamps in one call at the hash of the newest block.

    If that block is undone between the two requests, the node does not know its hash any more and the read fails
    (NodeRefused) instead of mixing two histories. Raises ChainRestarted where the node's chain is not ours any more.
    """
    head = app.node.head()
    try:
        card, stamps = opened.membership.holdings_of(wallet, block=head.hash)
    except ChainProblem:
        # A restarted development chain knows nothing of our contracts: that is worth saying.
        check_chain(app, opened.attached)
        raise
    final = app.node.finalized(opened.program.chain.finality_blocks) >= head.number
    return Held(
        wallet=wallet,
        holding=Holding(card=card, stamps=stamps),
        as_of=AsOf(block=head.number, hash=head.hash, timestamp=head.timestamp, final=final),
    )


def conditions(opened: Opened, *, active: bool, tier: str | None, stamps: Sequence[str]) -> Conditions:
    """Conditions by the program's own ids. Raises Unknown naming the valid ones."""
    program = opened.program
    return Conditions(
        active=active or tier is not None,
        min_tier=program.tier(tier).number if tier is not None else 0,
        stamps=tuple(program.stamp_number(stamp) for stamp in stamps),
    )


def check(app: App, opened: Opened, wallet: Address, wanted: Conditions) -> tuple[Held, Decision]:
    """Yes or no, with a reason for each condition that is not met."""
    held = holding(app, opened, wallet)
    return held, decide(wanted, held.holding, held.as_of, app.now(), opened.program)


def as_json(opened: Opened, held: Held, now: datetime) -> dict[str, Any]:
    """What a wallet holds, in the words of program.toml; the same on the command line and over HTTP.

    Times are ISO 8601 UTC. `expires_at` is the first moment at which the card is no longer active and `last_day` the
    last day on which it is; both are null for a card for life. `card` is null if there is none.
    """
    program = opened.program
    card = held.holding.card
    moment = judged_at(held.as_of, now)
    stamps: list[dict[str, Any]] = []
    for season, word in enumerate(held.holding.stamps):
        for number in word.types_held():
            stamp: dict[str, Any] = {"season": season, "type": number}
            if season == 0:
                stamp["id"] = program.stamp_id(number)
            stamps.append(stamp)
    return {
        "program": program.id,
        "wallet": held.wallet,
        "card": {
            "tier": program.tiers[card.tier - 1].id if 1 <= card.tier <= len(program.tiers) else None,
            "tier_number": card.tier,
            "member_number": card.serial,
            "joined_at": _iso(card.joined_at),
            "expires_at": _iso(card.expires_at) if card.expires_at else None,
            "last_day": last_day(card.expires_at) if card.expires_at else None,
            "active": card.active_at(moment),
        }
        if card.exists
        else None,
        "left": Flag.LEFT in card.flags,
        "revoked": Flag.REVOKED in card.flags,
        "moved": Flag.MOVED in card.flags,
        "stamps": stamps,
        "as_of": as_of_json(held.as_of, now),
    }


def as_of_json(as_of: AsOf, now: datetime) -> dict[str, Any]:
    """The block an answer is true of, and how old it is."""
    return {
        "block": as_of.block,
        "hash": as_of.hash,
        "timestamp": _iso(as_of.timestamp),
        "age_seconds": max(0, int(now.timestamp()) - as_of.timestamp),
        "final": as_of.final,
    }


def _iso(timestamp: int) -> str:
    return at(timestamp).isoformat().replace("+00:00", "Z")
