"""Mints per second, from the request in the database to the settled receipt, beside web3.py and the node's own limit.

Each contestant mints cards to new wallets, in transactions of 500 cards and in transactions of one, each time with a
node and a program of its own: anvil copies all its state for each block, so what it holds already makes it slow. The
clock stops when every transaction is in a block and its sender has seen that.
"""

import secrets
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from eth_account import Account
from web3 import HTTPProvider, Web3

from benchmarks.speed.world import World, world
from nftloyalty.app import gathering
from nftloyalty.app.sending import work
from nftloyalty.chain.contracts import Membership
from nftloyalty.chain.signer import TxFields
from nftloyalty.domain.address import checksummed
from nftloyalty.domain.intent import Kind, request_key
from nftloyalty.domain.words import card_item
from nftloyalty.store import intents, signers
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import NewIntent

CARDS = 20_000
SINGLES = 1_500
RUNS = 3
FEW_CARDS = 5_000
FEW_SINGLES = 300
"""For contestants that would take minutes."""

BATCH = 500
MOST_IN_FLIGHT = 64
"""The most that NFTLOYALTY_WINDOW takes."""

BATCH_GAS = 16_500_000
SINGLE_GAS = 120_000
GWEI = 10**9
# So many transactions a message: more at once only make anvil slower.
AT_ONCE = 8
PATIENCE_SECONDS = 60.0


class NotMined(Exception):
    """The node stopped making blocks of what it was given."""


@dataclass(frozen=True)
class Rate:
    """How many cards a second, and in how many transactions a second."""

    cards: int
    seconds: float
    batch: int

    @property
    def cards_per_second(self) -> float:
        return self.cards / self.seconds

    @property
    def transactions_per_second(self) -> float:
        return -(-self.cards // self.batch) / self.seconds


def ours(there: World, cards: int, batch: int) -> Rate:
    """The engine, as `nftloyalty mint` and `worker` run it; accepting the requests is not in the time."""
    chain, program = there.here.attached.row, there.here.row
    with begin(there.app.engine) as tx:
        row = signers.register(tx, chain, there.minter.address).id
        intents.accept_many(tx, _requests(there, cards, chain, program.id, row), there.app.now())

    def done() -> bool:
        with read(there.app.engine) as tx:
            return not intents.unfinished(tx, program.id, Kind.MINT_CARD)

    with _batches_of(batch):
        began = time.perf_counter()
        work(
            there.app,
            there.here.attached,
            there.minter,
            finality_blocks=there.here.program.chain.finality_blocks,
            done=done,
            pause_seconds=0.01,
        )
        return Rate(cards, time.perf_counter() - began, batch)


def node_alone(there: World, cards: int, batch: int) -> Rate:
    """What the node takes: transactions that were signed before, as fast as it answers, many in one message."""
    node, address = there.app.node, there.minter.address
    nonce = node.nonce(address)
    raws = _signed(there, cards, batch, nonce)
    began = time.perf_counter()
    for start in range(0, len(raws), AT_ONCE):
        node.send_raw_many(raws[start : start + AT_ONCE])
    while node.nonce(address) < nonce + len(raws):
        if time.perf_counter() - began > PATIENCE_SECONDS:
            raise NotMined(f"the node has mined {node.nonce(address) - nonce} of {len(raws)} transactions")
        time.sleep(0.005)
    return Rate(cards, time.perf_counter() - began, batch)


def web3_one_by_one(there: World, cards: int, batch: int) -> Rate:
    """web3.py as its documentation shows it: sign, send, wait for the receipt, then the next."""
    web3, key, calls = _web3(there, cards, batch)
    began = time.perf_counter()
    for call in calls:
        nonce = web3.eth.get_transaction_count(Web3.to_checksum_address(there.minter.address))
        tx_hash = web3.eth.send_raw_transaction(_sign(web3, key, there, call, nonce, batch))
        web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
    return Rate(cards, time.perf_counter() - began, batch)


def web3_ahead(there: World, cards: int, batch: int) -> Rate:
    """web3.py with its own count of nonces, sending ahead and waiting at the end. A crash loses or doubles mints."""
    web3, key, calls = _web3(there, cards, batch)
    nonce = web3.eth.get_transaction_count(Web3.to_checksum_address(there.minter.address))
    began = time.perf_counter()
    sent = [
        web3.eth.send_raw_transaction(_sign(web3, key, there, call, nonce + place, batch))
        for place, call in enumerate(calls)
    ]
    for tx_hash in sent:
        web3.eth.wait_for_transaction_receipt(tx_hash, poll_latency=0.01)
    return Rate(cards, time.perf_counter() - began, batch)


Contestant = Callable[[World, int, int], Rate]


def ours_wider(there: World, cards: int, batch: int) -> Rate:
    """The engine where the node takes more of one sender at a time than nodes take for sure."""
    settings = replace(there.app.settings, window=MOST_IN_FLIGHT)
    return ours(replace(there, app=replace(there.app, settings=settings)), cards, batch)


CONTESTANTS: Sequence[tuple[str, Contestant, int, int]] = (
    ("nftloyalty", ours, CARDS, SINGLES),
    (f"nftloyalty, {MOST_IN_FLIGHT} in flight", ours_wider, CARDS, SINGLES),
    ("node alone, signed before", node_alone, CARDS, SINGLES),
    ("web3.py, nothing stored, sent ahead", web3_ahead, FEW_CARDS, FEW_SINGLES),
    ("web3.py, one by one", web3_one_by_one, FEW_CARDS, FEW_SINGLES),
)


def measure(say: Callable[[str], None], database_url: str = "") -> dict[str, tuple[Rate, Rate]]:
    """For each contestant: in batches, and one card a transaction; the middle one of several runs."""
    ran: dict[str, list[tuple[Rate, Rate]]] = {name: [] for name, *_ in CONTESTANTS}
    for number in range(1, RUNS + 1):
        for name, run, cards, singles in CONTESTANTS:
            say(f"Sending, {number} of {RUNS}: {name}")
            with world(database_url) as there:
                batches = run(there, cards, BATCH)
            with world(database_url) as there:
                ran[name].append((batches, run(there, singles, 1)))
    return {
        name: (_middle([batches for batches, _ in pairs]), _middle([singles for _, singles in pairs]))
        for name, pairs in ran.items()
    }


def _middle(rates: Sequence[Rate]) -> Rate:
    return sorted(rates, key=lambda rate: rate.cards_per_second)[len(rates) // 2]


def _requests(there: World, cards: int, chain: int, program: int, signer: int) -> Iterator[NewIntent]:
    for _ in range(cards):
        wallet = _wallet()
        yield NewIntent(
            public_id=there.app.new_id("int"),
            chain=chain,
            program=program,
            signer=signer,
            kind=Kind.MINT_CARD,
            stamp_type=0,
            recipient=wallet,
            args={"tier": 1, "expires_at": 0},
            request_key=request_key(there.here.program.id, Kind.MINT_CARD, 0, wallet),
        )


@contextmanager
def _batches_of(size: int) -> Iterator[None]:
    """The engine's own batches are of 500 at most; of one, only for measuring what a transaction costs it."""
    usual = gathering.GATHER_AT_MOST
    gathering.GATHER_AT_MOST = min(size, usual)
    try:
        yield
    finally:
        gathering.GATHER_AT_MOST = usual


def _wallet() -> str:
    return checksummed(secrets.token_hex(20))


def _calls(cards: int, batch: int) -> list[bytes]:
    items = [card_item(_wallet(), 1, 0) for _ in range(cards)]
    return [Membership.encode_mint_batch(items[start : start + batch]) for start in range(0, cards, batch)]


def _gas(batch: int) -> int:
    return BATCH_GAS if batch > 1 else SINGLE_GAS


def _signed(there: World, cards: int, batch: int, nonce: int) -> list[bytes]:
    return [
        there.minter.sign_transaction(
            TxFields(
                chain_id=there.here.attached.chain_id,
                nonce=nonce + place,
                to=there.here.membership.address,
                data=call,
                value=0,
                gas=_gas(batch),
                max_fee=20 * GWEI,
                priority_fee=GWEI,
            )
        ).raw
        for place, call in enumerate(_calls(cards, batch))
    ]


def _web3(there: World, cards: int, batch: int) -> tuple[Web3, bytes, list[bytes]]:
    key = there.app.keystore.unlock("hot", there.app.password("hot"))
    return Web3(HTTPProvider(there.url)), key, _calls(cards, batch)


def _sign(web3: Web3, key: bytes, there: World, call: bytes, nonce: int, batch: int) -> bytes:
    signed = Account.sign_transaction(
        {
            "type": 2,
            "chainId": there.here.attached.chain_id,
            "nonce": nonce,
            "to": there.here.membership.address,
            "data": call,
            "value": 0,
            "gas": _gas(batch),
            "maxFeePerGas": 20 * GWEI,
            "maxPriorityFeePerGas": GWEI,
        },
        key,
    )
    return bytes(signed.raw_transaction)
