"""All at once: runs that are killed at every step, a node that lies, and a chain that takes its blocks back.

What is drawn comes from the seed; when it strikes depends on the machine, so two runs of one seed differ in detail.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from nftloyalty.domain.intent import IntentState, SlotState
from tests.faults.cases import CASE, Bounds, Drawn
from tests.faults.rig import MAY_END, WORKER_SECONDS, Going, Rig, Run
from tests.faults.rigged import CANCEL_STEPS, STEP, Orders, Strike
from tests.faults.stable import Stable
from tests.faults.wire import NONCE, SEND, Exchange

# Workers that follow each other in one relay of two.
RELAY = 6
# Steps of a cancelling that are only passed once a block holds the empty transaction.
LAST_BEFORE_A_BLOCK = "empty-sent"
AFTER_A_BLOCK = frozenset({"empty-seen", "empty-settled", "withdrawing", "withdrawn"})
# So long no block is made for a run that is to be struck before there is one.
HELD_SECONDS = 5.0
# So many runs for each kill that is asked for, then the plan counts as one that can't be carried out.
MOST_RUNS_A_KILL = 6


@dataclass(frozen=True)
class Aims:
    """What a storm has to reach before it ends: mints, kills at each of these steps, reorgs, injected faults in all and
    of each case."""

    rows: int
    kills_each: int
    reorgs: int
    faults: int
    faults_each: int
    steps: Sequence[str] = tuple(STEP)


@dataclass
class Log:
    """What happened in a storm, for its report. `struck` counts kills by step and command, `open` the slots by state
    that a kill found, by step."""

    kills: Counter[str] = field(default_factory=Counter)
    struck: Counter[tuple[str, str]] = field(default_factory=Counter)
    open: dict[str, Counter[SlotState]] = field(default_factory=dict)
    unsent: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    runs: int = 0

    def by(self, command: str) -> int:
        """Kills of this command's runs."""
        return sum(count for (_, other), count in self.struck.items() if other == command)


@dataclass(frozen=True)
class Rates:
    """Shares of messages that are spoilt: of those that hand in a transaction, of those that look for receipts and
    nonce, of all others that the engine sends, and of those a command sends before the engine is at work (a command
    that fails there is simply run again)."""

    sending: float = 0.35
    looking: float = 0.3
    working: float = 0.12
    starting: float = 0.012


USUAL_RATES = Rates()
# What is left of the rates when all faults that were aimed at have been injected.
QUIETER = 0.4


def raise_storm(rig: Rig, aims: Aims, rates: Rates) -> None:
    """From now on the node lies and the weather is rough. Once it has lied as often as it was to, it lies less."""

    def rate(exchange: Exchange) -> float:
        if _enough_faults(rig, aims):
            return QUIETER * stormy(exchange)
        return stormy(exchange)

    def stormy(exchange: Exchange) -> float:
        if SEND in exchange.methods:
            return rates.sending
        trace = Path(rig.trace_of(exchange.run))
        if not trace.exists() or not trace.stat().st_size:
            return rates.starting
        return rates.looking if NONCE in exchange.methods else rates.working

    bounds = Bounds(lag=rig.finality + 2)
    rig.wire.faults = Drawn(rig.wire, rig.seed, rates=rate, bounds=bounds, floor=rig.weather.floor)
    rig.weather.rough = True


def ride_out(
    rig: Rig,
    aims: Aims,
    progress: Callable[[Log], None] = lambda log: None,
    *,
    rates: Rates | None = USUAL_RATES,
    beside: Stable | None = None,
) -> Log:
    """Run, be killed and run again until the aims are reached. Complaints are the rig's; the end is the caller's.

    Without `rates` the node is honest and the weather fair, but for what a step needs to be passed. With a stable
    `beside` the rig's own, workers run two at a time.
    """
    log = Log()
    # The very first nonce is asked of an honest node: what it says then is taken for the beginning.
    first = rig.mint()
    if first.status != 0:
        rig.complaints.append(f"the first run, before the storm: {first}")
    if rates is not None:
        raise_storm(rig, aims, rates)
    _Storm(rig, aims, log, beside).rage(progress)
    return log


class _Storm:
    def __init__(self, rig: Rig, aims: Aims, log: Log, beside: Stable | None) -> None:
        self._rig = rig
        self._aims = aims
        self._log = log
        self._beside = beside
        self._draw = random.Random(rig.seed)  # noqa: S311 a plan, no secret
        self._most = MOST_RUNS_A_KILL * aims.kills_each * len(aims.steps) + aims.rows // rig.batch

    def rage(self, progress: Callable[[Log], None]) -> None:
        rig, aims, log = self._rig, self._aims, self._log
        while True:
            lacking = [name for name in aims.steps if log.kills[name] < aims.kills_each]
            waiting = rig.states().get(IntentState.RECEIVED, 0)
            if not lacking and rig.rows >= aims.rows and not waiting and _enough_trouble(rig, aims):
                return
            if log.runs >= self._most:
                rig.complaints.append(
                    f"after {log.runs} runs these were still to be struck: {', '.join(lacking) or 'none'}"
                )
                return
            self._turn(lacking, waiting)
            if rig.halted() is not None:
                # A lie about the nonce can do that. The operator looks, with an honest node, and lets the signer go on.
                with rig.calm():
                    rig.resume()
            progress(log)

    def _turn(self, lacking: Sequence[str], waiting: int) -> None:
        """Some runs that are to be struck next, by one command or another."""
        log = self._log
        plain = [name for name in lacking if not STEP[name].cancels]
        cancels = [name for name in lacking if STEP[name].cancels]
        if cancels and (not plain or self._draw.random() < 0.15):
            self._cancel(cancels)
            return
        # Half of the kills are to hit workers, wherever the others came from.
        by_worker = 2 * log.by("worker") <= log.kills.total()
        strike = self._strike(plain, by_worker) if plain else None
        if waiting < 2 * self._rig.batch:
            self._add(plain)
            if by_worker and not self._accept():
                return
        if strike is not None and strike.step in PROVOKED:
            for run in PROVOKED[strike.step](self._rig):
                self._note(run)
        if not by_worker:
            self._note(self._rig.mint(strike))
        elif self._beside is not None and strike is not None and strike.step not in PROVOKED:
            others = [name for name in plain if name != strike.step and name not in PROVOKED]
            self._draw.shuffle(others)
            self._relay(self._beside, [strike, *(self._strike([name], by_worker) for name in others[: RELAY - 1])])
        else:
            self._note(self._rig.work(strike))

    def _add(self, lacking: Sequence[str]) -> None:
        """A further list: as many for each kill as are left to be asked for, but enough to be killed among."""
        rig, aims = self._rig, self._aims
        kills = sum(aims.kills_each - self._log.kills[name] for name in lacking)
        share = (aims.rows - rig.rows) * 6 // max(kills, 6)
        rig.add_list(max(4 * rig.batch, min(share, 40 * rig.batch)))

    def _accept(self) -> bool:
        """Have a mint accept its list and be struck before it makes anything of it. False if it came to an end in
        another way first."""
        run = self._rig.mint(Strike("between"))
        self._note(run)
        return run.killed

    def _strike(self, lacking: Sequence[str], by_worker: bool) -> Strike:
        # The least struck first, so that none is left to the end; among those as drawn.
        draw, kills = self._draw, self._log.kills
        fewest = min(kills[name] for name in lacking)
        step = draw.choice([name for name in lacking if kills[name] <= fewest + 1])
        if step in PROVOKED:
            return Strike(step)
        if by_worker:
            # It only has what others have left: too much asked of it, and it comes to the end of that first.
            return Strike(step, reserves=draw.choice((0, 0, 1)))
        # None reserved: it may strike while the run mends what the one before it has left behind.
        return Strike(step, reserves=draw.choice((0, 0, 1, 1, 2)), count=draw.choice((1, 1, 1, 2)))

    def _relay(self, beside: Stable, strikes: Sequence[Strike]) -> None:
        """Two workers at a time: one works and the other stands by, until the first is struck and the other goes on,
        with a new one standing by, until no strike is left or nothing is left to do."""
        rig, left = self._rig, list(strikes)
        going: dict[Stable, Going] = {}
        until = time.monotonic() + WORKER_SECONDS
        while (left or going) and not rig.idle() and rig.halted() is None and time.monotonic() < until:
            for stable in (rig.stable, beside):
                if stable in going and going[stable].over:
                    self._note(rig.ended(going.pop(stable)))
                if left and stable not in going:
                    going[stable] = rig.go(rig.worker_orders(left.pop(0)), stable)
            time.sleep(0.02)
        for each in going.values():
            self._note(rig.stop(each))

    def _cancel(self, lacking: Sequence[str]) -> None:
        """What is under way is taken back, and whoever does that is struck down at one step after the other, until no
        step is left or the transactions were mined all the same."""
        rig, draw = self._rig, self._draw
        rig.endings.add(SlotState.FINAL_NOOP)
        rig.add_list(2 * rig.batch)
        # A block in the middle of it: what was to be taken back has won then.
        mined_after = draw.choice(("asked", "emptied", "empty-marked", "", "", "", "", "", ""))
        makers: tuple[Callable[[Strike], Orders], ...] = (rig.worker_orders, rig.mint_orders, rig.cancel_orders)
        with ExitStack() as held:
            held.enter_context(rig.weather.held())
            if not self._struck_while(held, rig.mint_orders(Strike("sent"))):
                return
            make = makers[-1]
            # What is empty must have been sent before there is a block, or it comes too late for all that follows.
            for step in (name for name in CANCEL_STEPS if name in lacking or name == LAST_BEFORE_A_BLOCK):
                if step in AFTER_A_BLOCK:
                    held.close()
                if not self._struck_while(held, make(Strike(step))):
                    return
                if step == mined_after:
                    held.close()
                    time.sleep(2 * rig.block_seconds)
                # Asked once it stays asked: whoever sends with the key goes on with it. Of what was not committed
                # nobody has heard.
                make = makers[-1] if step == "asking" else draw.choice(makers)

    def _struck_while(self, held: ExitStack, orders: Orders) -> bool:
        """Whether a run is struck while something is held, which is not longer than it can take."""
        going = self._rig.go(orders)
        deadline = time.monotonic() + HELD_SECONDS
        while self._rig.weather.holding and not going.over and time.monotonic() < deadline:
            time.sleep(0.02)
        if not going.over:
            held.close()
        run = self._rig.watch(going)
        self._note(run)
        return run.killed

    def _note(self, run: Run) -> None:
        log, rig = self._log, self._rig
        log.runs += 1
        if run.status not in MAY_END and not (run.only_cancelled and SlotState.FINAL_NOOP in rig.endings):
            rig.complaints.append(f"no trouble may end a run so: {run}")
        if run.killed and run.strike is not None:
            log.kills[run.strike.step] += 1
            log.struck[run.strike.step, run.command] += 1
            log.open.setdefault(run.strike.step, Counter()).update(run.open)
            log.unsent += STEP[run.strike.step].unsent
        else:
            log.ended[f"{run.command}: {_ending(run)}"] += 1


def _provoke_undoing(rig: Rig) -> Iterator[Run]:
    """Cards in blocks that are gone when the next run looks."""
    with rig.weather.held():
        # No block that is empty comes on top, unless it takes too long.
        going = rig.go(rig.mint_orders())
        until = time.monotonic() + HELD_SECONDS
        while not going.over and time.monotonic() < until:
            if int(rig.chain.ask("txpool_status")["pending"], 16):
                rig.weather.mine()
            time.sleep(rig.block_seconds)
        if going.over:
            run = rig.ended(going)
            rig.weather.reorg(rig.finality)
            yield run
            return
    yield rig.ended(going)
    rig.weather.reorg(rig.finality)


def _provoke_dearer(rig: Rig) -> Iterator[Run]:
    """A transaction that has been under way for long when the next run looks, at fees of which nobody takes it."""
    yield rig.mint(Strike("marked", reserves=1))
    with rig.weather.held():
        rig.weather.make("base fee spike")
        time.sleep(rig.tempo["resend"])


# Without this these steps are rarely passed: what brings the next run there. The runs are those it takes.
PROVOKED: Mapping[str, Callable[[Rig], Iterator[Run]]] = {
    "undoing": _provoke_undoing,
    "undone": _provoke_undoing,
    "dearer": _provoke_dearer,
}


def _ending(run: Run) -> str:
    """How a run ended that was not killed, without its numbers and addresses."""
    if run.status == 0:
        return "ended by its operator" if run.command == "worker" else "done"
    if run.only_cancelled:
        return "done, but for rows that were cancelled"
    found = re.search(r"Error: (.*?)( Mend:|$)", " ".join(run.errors.split()))
    said = found[1] if found else f"status {run.status}"
    said = re.sub(r"http\S+|0x[0-9a-fA-F]+|\d[\d.,]*", "…", said)
    return said[:100]


def _enough_trouble(rig: Rig, aims: Aims) -> bool:
    return rig.weather.counts["reorg"] >= aims.reorgs and _enough_faults(rig, aims)


def _enough_faults(rig: Rig, aims: Aims) -> bool:
    injected = rig.wire.injected
    return injected.total() >= aims.faults and all(injected[name] >= aims.faults_each for name in CASE)
