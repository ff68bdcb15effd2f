"""Who holds what, and what that opens: read from the index, or by one call pinned to one block of the chain."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened, check_chain
from nftloyalty.domain.address import Address
from nftloyalty.domain.gate import AsOf, Conditions, Consistency, Decision, Holding, decide, judged_at
from nftloyalty.domain.times import at, last_day
from nftloyalty.domain.words import Flag
from nftloyalty.errors import ChainProblem, IndexBehind, IndexHalted
from nftloyalty.store import index
from nftloyalty.store.checks import Standing
from nftloyalty.store.engine import read
from nftloyalty.store.index import PositionRow

NOT_BEGUN = "of this program has not been begun"


@dataclass(frozen=True)
class Held:
    """What one wallet holds as of one block. `checked_at` is when the node was last seen to know nothing newer."""

    wallet: Address
    holding: Holding
    as_of: AsOf
    checked_at: datetime


def holding(app: App, opened: Opened, wallet: Address, consistency: Consistency = Consistency.HEAD) -> Held:
    """A wallet's card and stamps.

    Raises IndexBehind where the index has not been at the node's newest block for longer than the setting allows, and
    IndexHalted; for a live answer, what the node fails with.
    """
    if consistency is Consistency.LIVE:
        return _asked(app, opened, wallet)
    find = index.reading if consistency is Consistency.HEAD else index.reading_as_of_final
    with read(app.engine) as tx:
        found = find(tx, opened.row.id, bytes.fromhex(wallet[2:]))
    if found is None:
        raise IndexBehind(NOT_BEGUN)
    return Held(wallet, found.holding, found.as_of, checked_at(app, opened, found.position))


def holdings(
    app: App, opened: Opened, wallets: Sequence[Address], consistency: Consistency = Consistency.HEAD
) -> list[Held]:
    """Of several wallets, in their order, all as of the same block; from the index, so never live. Raises as
    `holding`."""
    find = index.readings if consistency is Consistency.HEAD else index.readings_as_of_final
    # One picture of the database for all of them.
    with read(app.engine) as tx:
        readings = find(tx, opened.row.id, [bytes.fromhex(wallet[2:]) for wallet in wallets])
    if readings is None:
        raise IndexBehind(NOT_BEGUN)
    return [
        Held(wallet, reading.holding, reading.as_of, checked_at(app, opened, reading.position))
        for wallet, reading in zip(wallets, readings, strict=True)
    ]


def check_index(app: App, opened: Opened) -> None:
    """Raises IndexBehind or IndexHalted where no answer can be given from the index."""
    at = index_position(app, opened)
    if at is None:
        raise IndexBehind(NOT_BEGUN)
    checked_at(app, opened, at)


def index_position(app: App, opened: Opened) -> PositionRow | None:
    """How far the program's index has come, whatever its age; None = it has not been begun."""
    with read(app.engine) as tx:
        return index.position(tx, opened.row.id)


def checked_at(app: App, opened: Opened, position: PositionRow | Standing) -> datetime:
    """When the index was last at the node's newest block."""
    if position.incident is not None:
        raise IndexHalted(opened.program.id, position.incident)
    if position.confirmed_at is None:
        raise IndexBehind(f"is being built and has come to block {position.number}")
    age = (app.now() - position.confirmed_at).total_seconds()
    if abs(age) > app.settings.index_max_age_seconds:
        # From the clock of another machine: by how much that is ahead, nobody knows how old the index is.
        by_whose = ", by a clock that is ahead of this one" if age < 0 else ""
        raise IndexBehind(f"was last up to date {position.confirmed_at:%Y-%m-%d %H:%M:%S} UTC{by_whose}")
    return position.confirmed_at


def _asked(app: App, opened: Opened, wallet: Address) -> Held:
    """Read in one call at the hash of the newest block.

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
        checked_at=app.now(),
    )


def conditions(opened: Opened, *, active: bool, tier: str | None, stamps: Sequence[str]) -> Conditions:
    """Conditions by the program's own ids. Raises Unknown naming the valid ones."""
    program = opened.program
    return Conditions(
        active=active or tier is not None,
        min_tier=program.tier(tier).number if tier is not None else 0,
        stamps=tuple(program.stamp_number(stamp) for stamp in stamps),
    )


def check(
    app: App, opened: Opened, wallet: Address, wanted: Conditions, consistency: Consistency = Consistency.HEAD
) -> tuple[Held, Decision]:
    """Yes or no, with a reason for each condition that is not met. Raises as `holding`."""
    held = holding(app, opened, wallet, consistency)
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
        "as_of": as_of_json(held, now),
    }


def as_of_json(held: Held, now: datetime) -> dict[str, Any]:
    """The block an answer is true of, how old it is, and how long ago the node was seen to know nothing newer: on an
    idle chain a block is old and still the newest."""
    return block_json(held.as_of, ages(held.as_of, held.checked_at, now))


def ages(as_of: AsOf, seen_at: datetime, now: datetime) -> tuple[int, int]:
    """Whole seconds since the block was made, and since it was last seen to be the node's newest."""
    return max(0, int(now.timestamp()) - as_of.timestamp), max(0, int((now - seen_at).total_seconds()))


def block_json(as_of: AsOf, ages: tuple[int, int]) -> dict[str, Any]:
    """`ages` as the function of that name tells them."""
    return {
        "block": as_of.block,
        "hash": as_of.hash,
        "timestamp": _iso(as_of.timestamp),
        "age_seconds": ages[0],
        "checked_seconds_ago": ages[1],
        "final": as_of.final,
    }


def _iso(timestamp: int) -> str:
    return at(timestamp).isoformat().replace("+00:00", "Z")
