"""Events per second, from the node's logs to what each wallet holds in the database, beside web3.py's event API and
beside nothing but the decoding.

An event is a log that says something of a wallet: three for a minted card. The same chain serves all contestants.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import func, select
from web3 import HTTPProvider, Web3

from benchmarks.speed.sending import BATCH, node_alone
from benchmarks.speed.world import World, world
from nftloyalty.app.announcing import announce
from nftloyalty.app.indexing import catch_up, rebuild
from nftloyalty.chain import facts
from nftloyalty.chain.abi import artifact
from nftloyalty.domain.event import EventType
from nftloyalty.domain.holding import MEMBERSHIP
from nftloyalty.store import index, tables
from nftloyalty.store.engine import read

CARDS = 40_000
FEW_BLOCKS = 4
"""For web3.py: enough to see its rate."""

TOLD = ("Transfer", "TokenExpiryUpdated", "MemberSet")


class NotIndexed(Exception):
    """The index holds something else than was minted."""


@dataclass(frozen=True)
class Rate:
    events: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.events / self.seconds


def measure(say: Callable[[str], None], database_url: str = "") -> dict[str, Rate]:
    with world(database_url) as there:
        say("Indexing: making a chain to index")
        node_alone(there, CARDS, BATCH)
        events = len(TOLD) * CARDS
        say("Indexing: nftloyalty")
        ours = _ours(there, events)
        say("Indexing: telling events")
        told = _told(there)
        say("Indexing: web3.py")
        return {
            "nftloyalty": ours,
            "nftloyalty, and told as events": Rate(events, ours.seconds + told),
            "decoding alone, logs in memory": _decoding(there),
            "web3.py, get_logs of each event": _web3(there),
        }


def _ours(there: World, events: int) -> Rate:
    app, here = there.app, there.here
    rebuild(app, here.row.id)
    began = time.perf_counter()
    catch_up(app, here.attached, here.program.chain.finality_blocks)
    seconds = time.perf_counter() - began
    with read(app.engine) as tx:
        held = len(index.everything_held(tx, here.row.id))
    if held != CARDS:
        raise NotIndexed(f"{held} wallets are indexed and {CARDS} were minted to")
    return Rate(events, seconds)


def _told(there: World) -> float:
    """Seconds until all that was indexed is told to those who list events and to webhooks."""
    app, here = there.app, there.here
    began = time.perf_counter()
    while announce(app, here.attached.row):
        pass
    seconds = time.perf_counter() - began
    with read(app.engine) as tx:
        created = select(func.count()).where(tables.events.c.type == EventType.MEMBERSHIP_CREATED)
        found = tx.execute(created).scalar_one()
    if found != CARDS:
        raise NotIndexed(f"{found} members are told of and {CARDS} were minted to")
    return seconds


def _decoding(there: World) -> Rate:
    node = there.app.node
    head = node.head().number
    address = there.here.membership.address
    items, _block = node.log_items([address], facts.topics(MEMBERSHIP), 0, head)
    contracts = {bytes.fromhex(address[2:]): (1, MEMBERSHIP)}
    began = time.perf_counter()
    facts.read_logs(node, items, contracts, 0, head)
    return Rate(len(items), time.perf_counter() - began)


def _web3(there: World) -> Rate:
    web3 = Web3(HTTPProvider(there.url))
    contract = web3.eth.contract(
        address=Web3.to_checksum_address(there.here.membership.address), abi=list(artifact("LoyaltyMembership").abi)
    )
    head = web3.eth.block_number
    events = 0
    began = time.perf_counter()
    for number in range(head - FEW_BLOCKS + 1, head + 1):
        for name in TOLD:
            events += len(contract.events[name]().get_logs(from_block=number, to_block=number))
    return Rate(events, time.perf_counter() - began)
