"""All at once: runs that are killed at every step, a node that lies, and a chain that takes its blocks back.

What is drawn comes from the seed; when it strikes depends on the machine, so two runs of one seed differ in detail.
"""

import random
import re
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nftloyalty.domain.intent import IntentState, SlotState
from tests.faults.cases import CASE, Bounds, Drawn
from tests.faults.rig import MAY_END, Rig, Run
from tests.faults.rigged import STEP, Strike
from tests.faults.wire import NONCE, SEND, Exchange

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
    """What happened in a storm, for its report. `open` counts the slots by state that a kill found, by step."""

    kills: Counter[str] = field(default_factory=Counter)
    open: dict[str, Counter[SlotState]] = field(default_factory=dict)
    unsent: int = 0
    ended: Counter[str] = field(default_factory=Counter)
    runs: int = 0


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


def raise_storm(rig: Rig, rates: Rates, seed: int, bounds: Bounds) -> None:
    """From now on the node lies and the weather is rough."""

    def rate(exchange: Exchange) -> float:
        if SEND in exchange.methods:
            return rates.sending
        trace = Path(rig.trace_of(exchange.run))
        if not trace.exists() or not trace.stat().st_size:
            return rates.starting
        return rates.looking if NONCE in exchange.methods else rates.working

    rig.wire.faults = Drawn(rig.wire, seed, rates=rate, bounds=bounds, floor=rig.weather.floor)
    rig.weather.rough = True


def ride_out(
    rig: Rig, aims: Aims, progress: Callable[[Log], None] = lambda log: None, *, rates: Rates | None = USUAL_RATES
) -> Log:
    """Run, be killed and run again until the aims are reached. Complaints are the rig's; the end is the caller's.

    Without `rates` the node is honest and the weather fair, but for what a step needs to be passed.
    """
    draw = random.Random(rig.seed)  # noqa: S311 a plan, no secret
    log = Log()
    # The very first nonce is asked of an honest node: what it says then is taken for the beginning.
    first = rig.mint()
    if first.status != 0:
        rig.complaints.append(f"the first run, before the storm: {first}")
    if rates is not None:
        raise_storm(rig, rates, rig.seed, Bounds(lag=rig.finality + 2))
    most = MOST_RUNS_A_KILL * aims.kills_each * len(aims.steps) + aims.rows // rig.batch
    while True:
        lacking = [name for name in aims.steps if log.kills[name] < aims.kills_each]
        waiting = rig.states().get(IntentState.RECEIVED, 0)
        if not lacking and rig.rows >= aims.rows and not waiting and _enough_trouble(rig, aims):
            break
        if log.runs >= most:
            rig.complaints.append(
                f"after {log.runs} runs these were still to be struck: {', '.join(lacking) or 'none'}"
            )
            break
        if waiting < 2 * rig.batch:
            # As many for each kill as are left to be asked for, but always enough to be killed among.
            kills = sum(aims.kills_each - log.kills[name] for name in lacking)
            share = (aims.rows - rig.rows) * 6 // max(kills, 6)
            rig.add_list(max(4 * rig.batch, min(share, 40 * rig.batch)))
        strike = _strike(draw, lacking, log) if lacking else None
        if strike is not None and strike.step in PROVOKED:
            for run in PROVOKED[strike.step](rig):
                _note(rig, log, run)
        run = rig.mint(strike)
        _note(rig, log, run)
        if run.status == 3 and "is halted" in run.errors:
            # A lie about the nonce can do that. The operator looks, with an honest node, and lets the signer go on.
            with rig.calm():
                rig.resume()
        progress(log)
    return log


def _provoke_undoing(rig: Rig) -> Iterator[Run]:
    """Cards in blocks that are gone when the next run looks."""
    yield rig.mint()
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


def _strike(draw: random.Random, lacking: list[str], log: Log) -> Strike:
    # The least struck first, so that none is left to the end; among those as drawn.
    fewest = min(log.kills[name] for name in lacking)
    step = draw.choice([name for name in lacking if log.kills[name] <= fewest + 1])
    if step in PROVOKED:
        return Strike(step)
    # None reserved: it may strike while the run mends what the one before it has left behind.
    return Strike(step, reserves=draw.choice((0, 0, 1, 1, 2)), count=draw.choice((1, 1, 2, 3)))


def _note(rig: Rig, log: Log, run: Run) -> None:
    log.runs += 1
    if run.status not in MAY_END:
        rig.complaints.append(f"no trouble may end a run so: {run}")
    if run.killed and run.strike is not None:
        log.kills[run.strike.step] += 1
        log.open.setdefault(run.strike.step, Counter()).update(run.open)
        log.unsent += STEP[run.strike.step].unsent
    else:
        log.ended[_ending(run)] += 1


def _ending(run: Run) -> str:
    """How a run ended that was not killed, without its numbers and addresses."""
    if run.status == 0:
        return "done"
    found = re.search(r"Error: (.*?)( Mend:|$)", " ".join(run.errors.split()))
    said = found[1] if found else f"status {run.status}"
    said = re.sub(r"http\S+|0x[0-9a-fA-F]+|\d[\d.,]*", "…", said)
    return said[:100]


def _enough_trouble(rig: Rig, aims: Aims) -> bool:
    injected = rig.wire.injected
    return (
        rig.weather.counts["reorg"] >= aims.reorgs
        and sum(injected.values()) >= aims.faults
        and all(injected[name] >= aims.faults_each for name in CASE)
    )
