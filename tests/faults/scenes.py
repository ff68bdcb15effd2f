"""One trouble at a time, each driven to where it hurts most. What a scene finds wrong is among its rig's complaints."""

import os
import signal
import sqlite3
import time
from collections.abc import Callable, Collection, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

from eth_utils.crypto import keccak
from sqlalchemy import make_url, select

from nftloyalty.domain.intent import IntentState, SlotState
from nftloyalty.domain.words import card_item
from nftloyalty.store.engine import read
from nftloyalty.store.tables import attempts
from tests.faults.cases import Bounds, Drawn
from tests.faults.cutting import Cut, Cutter
from tests.faults.rig import Going, Rig, Run, wait_until
from tests.faults.rigged import STEPS, Deed, Orders, Strike
from tests.faults.stable import Stable, stopped
from tests.faults.weather import DEAREST_GWEI, GWEI

# A sleeping process that is in the middle of a transaction keeps everybody from writing, not only its successor: what
# is tried there is the database's patience, and no step of ours. On SQLite that goes for all of a worker's threads. The
# steps left out by name need more than a plain run.
SLEEPING_STEPS = tuple(
    step.name
    for step in STEPS
    if not step.open and not step.cancels and step.name not in ("undone", "final-seen", "finalised")
)
# The same of a cancelling, until what is empty has been sent.
CANCELLING_STEPS = ("asked", "emptied", "empty-marked", "empty-sent")
FILLED_STEPS = (
    "between",
    "gathered",
    "reserving",
    "reserved",
    "signed",
    "storing",
    "stored",
    "marked",
    "seen",
    "settled",
)


def _expect(rig: Rig, run: Run, status: int, *words: str) -> None:
    """A run must end so, and say one of these."""
    if run.status != status or (words and not any(word in run.said for word in words)):
        said = f" and say {' or '.join(map(repr, words))}" if words else ""
        rig.complaints.append(f"should end with {status}{said}: {run}")


# -------------------------------------------------------------------------------------------------------- two at once


def stale_sender(rig: Rig, other: Stable, step: str, *, workers: bool = False) -> None:
    """A sender is put to sleep at a step, another takes over once the lease has ended, and the first wakes up while the
    second is at work. Both are mints of the same list, or `workers`."""
    rig.add_list(4 * rig.window * rig.batch)
    make = rig.worker_orders if workers else rig.mint_orders
    if workers and not rig.mint(Strike("between")).killed:
        rig.complaints.append("a list could not be accepted")
    with _short_lease(rig):
        _wake(rig, _put_to_sleep(rig, other, make(Strike(step, reserves=1, deed=Deed.STOP)), make(), "sent"))


def stale_canceller(rig: Rig, other: Stable, step: str) -> None:
    """The same with one who takes back what is under way, and a worker that goes on with it."""
    with rig.weather.held(), _short_lease(rig):
        _leave_under_way(rig)
        sleepers = rig.cancel_orders(Strike(step, deed=Deed.STOP))
        asleep = _put_to_sleep(rig, other, sleepers, rig.worker_orders(), "empty-sent")
    _wake(rig, asleep)


@contextmanager
def _short_lease(rig: Rig) -> Iterator[None]:
    """A sleeper is not waited for longer than it takes to be sure that it sleeps."""
    usual, rig.tempo["lease"] = rig.tempo["lease"], 1
    yield
    rig.tempo["lease"] = usual


@dataclass(frozen=True)
class _Asleep:
    """A run that sleeps, the one that goes on meanwhile, and the hashes of what the sleeper had marked and not sent."""

    sleeper: Going
    successor: Going
    marked: Collection[str]


def _put_to_sleep(rig: Rig, other: Stable, sleepers: Orders, successors: Orders, until: str) -> _Asleep:
    """A run is put to sleep by its orders, and another goes on and passes a step."""
    sleeper = rig.go(sleepers)
    wait_until(lambda: stopped(sleeper.pid), f"a sleeper at {sleepers.strike}")
    marked = _marked(rig) - {"0x" + keccak(each.raw).hex() for each in rig.sent_by(sleeper.number)}
    successor = rig.go(successors, other)
    wait_until(lambda: _passed(successor, until), "a successor at work")
    return _Asleep(sleeper, successor, marked)


def _wake(rig: Rig, asleep: _Asleep) -> None:
    """The sleeper may send nothing but what it had marked as sent before it slept: those bytes, which its successor may
    have sent too, are the only ones of their nonce that are marked."""
    awake = time.monotonic()
    os.kill(asleep.sleeper.pid, signal.SIGCONT)
    second = rig.watch(asleep.successor)
    # From here on the first may take the lease again, as anybody may; nothing is left to be sent then.
    first = rig.watch(asleep.sleeper)
    for run in (first, second):
        _expect(rig, run, 0)
    for sent in rig.sent_by(asleep.sleeper.number, awake):
        tx_hash = "0x" + keccak(sent.raw).hex()
        if tx_hash not in asleep.marked:
            strike = asleep.sleeper.orders.strike
            rig.complaints.append(f"a {first.command} that was fenced out, {strike}, sent {tx_hash}")


def _marked(rig: Rig) -> set[str]:
    with read(rig.engine) as tx:
        query = select(attempts.c.tx_hash).where(attempts.c.first_sent_at.is_not(None))
        return set(tx.execute(query).scalars())


# --------------------------------------------------------------------------------------------------------- cancelling


def cancelled_in_time(rig: Rig) -> None:
    """What is under way gives way to what is empty: its rows are withdrawn, and asked for again they are minted."""
    with rig.weather.held():
        _leave_under_way(rig)
        going = _cancel_until(rig, "empty-sent")
    _expect_told(rig, rig.ended(going), withdrawn=True)
    if rig.states().get(IntentState.CANCELLED, 0) != 2 * rig.batch:
        rig.complaints.append(f"{2 * rig.batch} rows should be cancelled: {rig.states()}")


def cancelled_too_late(rig: Rig, step: str) -> None:
    """Who cancels is killed at a step, and a block takes in what was to be taken back: it stands, and that is told."""
    with rig.weather.held():
        _leave_under_way(rig)
        run = rig.cancel(Strike(step))
        if not run.killed:
            rig.complaints.append(f"should have been killed at {step!r}: {run}")
        rig.weather.mine()
    _expect_told(rig, rig.cancel(), withdrawn=False)
    _expect_minted(rig)


def cancelled_and_undone(rig: Rig) -> None:
    """What is empty was in a block, the block is undone, and what was to be taken back, which another node's pool has
    kept, takes its place: then it stands, and that is told."""
    with rig.weather.held():
        kept = _leave_under_way(rig)
        going = _cancel_until(rig, "empty-sent")
        rig.weather.mine()
        wait_until(lambda: _passed(going, "empty-settled"), "empty transactions in a block")
        rig.weather.reorg(1)
        for raw in kept:
            rig.chain.ask("eth_sendRawTransaction", "0x" + raw.hex())
        rig.weather.mine()
    _expect_told(rig, rig.ended(going), withdrawn=False)
    _expect_minted(rig)


def _leave_under_way(rig: Rig) -> list[bytes]:
    """Two transactions in the pool, and nobody who sends; their bytes."""
    rig.endings.add(SlotState.FINAL_NOOP)
    rig.add_list(2 * rig.batch)
    run = rig.mint(Strike("sent", reserves=2))
    if not run.killed:
        rig.complaints.append(f"should have been killed at 'sent': {run}")
    return [each.raw for each in rig.sent_by(run.number)]


def _cancel_until(rig: Rig, step: str) -> Going:
    going = rig.go(rig.cancel_orders())
    wait_until(lambda: _passed(going, step), f"a cancelling at {step!r}")
    return going


def _passed(going: Going, step: str) -> bool:
    return any(each["step"] == step for each in going.steps())


def _expect_minted(rig: Rig) -> None:
    if set(rig.states()) != {IntentState.FINAL}:
        rig.complaints.append(f"what was mined all the same should be final: {rig.states()}")


def _expect_told(rig: Rig, run: Run, *, withdrawn: bool) -> None:
    """The operator must be told of two nonces that they ended so; that it is true, is for the proof."""
    _expect(rig, run, 0)
    if [each["withdrawn"] for each in run.taken_back] != 2 * [withdrawn]:
        rig.complaints.append(f"two nonces should be told as withdrawn={withdrawn}: {run.output}")


# ----------------------------------------------------------------------------------------------------------- database


def full_disk(rig: Rig, step: str, deed: Deed) -> None:
    """From a step on the disk takes nothing more; then there is room again."""
    rig.add_list(6 * rig.batch)
    if deed is Deed.SHORT:
        # Into a log that was emptied nothing can be written without making it longer.
        with closing(sqlite3.connect(str(make_url(rig.database_url).database))) as books:
            books.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    run = rig.mint(Strike(step, reserves=1, deed=deed))
    if not run.struck:
        rig.complaints.append(f"the disk should have been full at {step!r}: {run}")
    elif run.status != 0:
        # Some have room enough in the pages they have.
        _expect(rig, run, 3, "can't be used", "database")


def cut_at_commit(rig: Rig, cutter: Cutter, cut: Cut) -> None:
    """The connection breaks at a COMMIT: nobody knows whether it was carried out."""
    rig.add_list(3 * rig.batch)
    rig.way_to_database = cutter.url
    if cut.kind == "finalise":
        _leave_something_to_finalise(rig)
    before = cutter.cuts.total()
    cutter.order(cut)
    run = rig.mint()
    cutter.order(None)
    rig.way_to_database = None
    if cutter.cuts.total() == before:
        rig.complaints.append(f"there was nothing to cut: {cut}: {run}")
    _expect(rig, run, 3, "can't be used", "database")
    _expect(rig, rig.mint(), 0)


def _leave_something_to_finalise(rig: Rig) -> None:
    with rig.weather.held():
        going = rig.go(rig.mint_orders())
        # In the pool, not on their way to it: there is one block for all of them.
        wait_until(lambda: int(rig.chain.ask("txpool_status")["pending"], 16) >= 3, "three transactions")
        rig.weather.mine()
        _expect(rig, rig.ended(going), 0)
        rig.weather.mine(rig.finality + 1)
    rig.add_list(rig.batch)


def put_back(rig: Rig, step: str, copy: Callable[[], str]) -> None:
    """The database is copied while something is under way, work goes on and is lost, and the copy is put back."""
    rig.add_list(4 * rig.batch)
    run = rig.mint(Strike(step, reserves=2))
    if not run.killed:
        rig.complaints.append(f"should have been killed at {step!r}: {run}")
    backup, known = copy(), rig.members
    _expect(rig, rig.mint(), 0)
    rig.add_list(3 * rig.batch)
    _expect(rig, rig.mint(), 0)
    rig.use_database(backup)
    sent = len(rig.wire.passed)
    _expect(rig, rig.mint(members=known), 3, "is halted")
    if len(rig.wire.passed) != sent:
        rig.complaints.append("an old copy of the books sent something before anybody had looked")
    shown = rig.run("signers", "show", "--json")
    if '"halted": "foreign nonce' not in shown.output:
        rig.complaints.append(f"the signer is not shown as halted: {shown.output}")
    rig.resume()


# -------------------------------------------------------------------------------------------------------------- chain


def paused_meanwhile(rig: Rig) -> None:
    """Between trial and block somebody pauses the program: what is under way fails on chain, and waits until the
    end of the pause."""
    rig.add_list(rig.window * rig.batch)
    with rig.weather.held():
        going = rig.go(rig.mint_orders())
        wait_until(lambda: len(rig.sent_by(going.number)) >= rig.window, "a full window")
        rig.call_as(rig.owner, "pause()")
    _expect(rig, rig.ended(going), 3, "paused")
    if not rig.chain.failed_of(rig.minter):
        rig.complaints.append("no transaction has failed on chain")
    rig.endings.add(SlotState.FINAL_REVERTED)
    rig.call_as(rig.owner, "unpause()")
    rig.weather.mine()


def minted_meanwhile(rig: Rig) -> None:
    """Between trial and block somebody else mints to some of the same wallets: those are left out, with the reason."""
    rig.add_list(rig.window * rig.batch)
    others = rig.wallets[-rig.batch :: 2]
    with rig.weather.held():
        going = rig.go(rig.mint_orders())
        wait_until(lambda: len(rig.sent_by(going.number)) >= rig.window, "a full window")
        # What was sent is lost to the pool, and its sender does not know.
        rig.chain.ask("anvil_dropAllTransactions")
        items = [card_item(wallet, 1, 0) for wallet in others]
        rig.call_as(rig.owner, "mintBatch(uint256[])", 32, len(items), *items)
    run = rig.ended(going)
    _expect(rig, run, 1)
    if run.output.count("already") != len(others):
        rig.complaints.append(f"it is not said which {len(others)} were left out, and why: {run.output}")
    rig.leave_out(others)


def drained(rig: Rig) -> None:
    """The key's coins are gone in the middle of the work: it says so, and goes on when there are some again. The window
    has room: a sender that tries nothing new asks for no funds."""
    rig.add_list(4 * rig.window * rig.batch)
    rig.window *= 4
    going = rig.go(rig.mint_orders())
    wait_until(lambda: len(rig.sent_by(going.number)) >= 2, "a sender at work")
    rig.chain.ask("anvil_setBalance", rig.minter, "0x0")
    _expect(rig, rig.ended(going), 3, "coins and needs")
    rig.window //= 4


def dear(rig: Rig) -> None:
    """Gas is above the operator's ceiling: nothing is sent, and it says so."""
    rig.add_list(2 * rig.batch)
    rig.ceiling_gwei = DEAREST_GWEI // 2
    sent = len(rig.wire.passed)
    with rig.weather.held():
        rig.chain.ask("anvil_setNextBlockBaseFeePerGas", hex(DEAREST_GWEI * GWEI))
        rig.weather.mine()
        _expect(rig, rig.mint(), 3, "ceiling")
    rig.ceiling_gwei = None
    if len(rig.wire.passed) != sent:
        rig.complaints.append("something was sent above the operator's ceiling")


def unheard(rig: Rig) -> None:
    """A node hides all receipts for longer than an unknown transaction is waited for: the signer halts, for the nonce
    looks used by somebody else. Nothing is sent anew for it; an operator with an honest node finds nothing wrong."""
    rig.add_list(2 * rig.batch)
    usual, rig.tempo["foreign"] = rig.tempo["foreign"], 0.6
    bounds = Bounds(lasting=60)
    rig.wire.faults = Drawn(rig.wire, rig.seed, rates=lambda exchange: 1, cases=("no receipts",), bounds=bounds)
    run = rig.mint()
    rig.wire.faults = None
    _expect(rig, run, 3, "is halted")
    rig.resume()
    rig.tempo["foreign"] = usual


def wrong_nonces(rig: Rig) -> None:
    """A node that lies about the nonce when a sender starts: it begins nothing, or halts, and an operator with an
    honest node puts it right. What the pending nonce is makes no difference."""
    for lie, words in (
        ("nonce too high", ("is halted", "it tells the nonce")),
        ("nonce too low", ("by the books at least", "it tells the nonce")),
        ("pending below latest", ()),
    ):
        rig.finish()
        rig.add_list(2 * rig.batch)
        rig.wire.faults = Drawn(rig.wire, rig.seed, rates=lambda exchange: 1, cases=(lie,))
        slots = rig.slot_count()
        run = rig.mint()
        rig.wire.faults = None
        if not words or (run.status == 0 and lie == "nonce too high"):
            # Told too high twice, and no lower the second time, it goes by a third answer: the one as of the head.
            _expect(rig, run, 0)
            continue
        _expect(rig, run, 3, *words)
        if rig.slot_count() != slots:
            rig.complaints.append(f"slots were made on the word of a node that lies: {lie}")
        if "is halted" in run.said:
            rig.resume()
        _expect(rig, rig.mint(), 0)


def undone_beyond_finality(rig: Rig) -> None:
    """The chain takes back more than it said it ever would, with cards of ours in it: nothing is sent on top of that,
    and it is said. What is missing is for people to decide."""
    rig.add_list(rig.batch)
    rig.finish()
    with rig.weather.held():
        last = max(each.block for each in rig.chain.transactions_of(rig.minter))
        rig.weather.reorg(rig.chain.head() - last + 1)
    rig.add_list(2 * rig.batch)
    sent = len(rig.wire.passed)
    _expect(rig, rig.mint(), 3, "final blocks were taken back")
    if len(rig.wire.passed) != sent:
        rig.complaints.append("something was sent on top of a chain that has taken back what was final")


def undone_as_deep_as_finality(rig: Rig, beyond: int = 0) -> None:
    """The deepest reorg that leaves what is final alone, or one block more with nothing of ours in it: work goes on."""
    rig.add_list(2 * rig.batch)
    _expect(rig, rig.mint(), 0)
    with rig.weather.held():
        if beyond:
            rig.weather.mine(rig.finality + 1)
            _expect(rig, rig.mint(), 0)
            rig.weather.mine(rig.finality + beyond)
        rig.weather.reorg(rig.finality + beyond)
    rig.add_list(2 * rig.batch)
    _expect(rig, rig.mint(), 0)
