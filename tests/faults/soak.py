"""The whole rig, long: mints by the thousand under every trouble it knows, on SQLite and on PostgreSQL at once.

    python -m tests.faults.soak                     what `make soak` runs; about ten minutes on two cores
    python -m tests.faults.soak --seed 7            another plan
    python -m tests.faults.soak --keep FOLDER       and keep the logs of the wire

Each database has a lane of its own: first a storm, in which runs are killed at every step while the node lies and the
chain takes its blocks back, then one scene after the other. The exit status is 1 if anything was lost, doubled, taken
back or left unproven, or if less was injected than was to be.
"""

import argparse
import math
import shutil
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.table import Table

from nftloyalty.domain.intent import SlotState
from tests.conftest import PostgreSQL
from tests.faults import scenes
from tests.faults.cases import CASES
from tests.faults.cutting import KINDS, Cut, Cutter, Moment
from tests.faults.rig import SHORT_TEMPO, Rig
from tests.faults.rigged import STEPS, Deed
from tests.faults.scenes import CANCELLING_STEPS, FILLED_STEPS, SLEEPING_STEPS
from tests.faults.servers import copy_of, running_anvil, running_postgresql
from tests.faults.stable import RigFailure, Stable
from tests.faults.storm import Aims, Log, ride_out

BLOCK_SECONDS = 0.15
FINALITY = 3
BATCH = 10

LEAST_MINTS = 5_000
LEAST_KILLS = 150
LEAST_KILLS_EACH = 10
# Of all kills, those that are to hit workers.
LEAST_SHARE_OF_WORKERS = 1 / 3
LEAST_REORGS = 50
LEAST_FAULTS = 1_000
LEAST_FAULTS_EACH = 10

# What is killed, as the report names it.
COMMANDS = ("mint", "worker", "cancel")
CANCEL_ENDS = {
    SlotState.FINAL_NOOP: "what was empty has won",
    SlotState.FINAL: "what was to be taken back has won",
    SlotState.FINAL_REVERTED: "what was to be taken back has failed",
}

# For each of the two lanes.
AIMS = Aims(rows=2_400, kills_each=5, reorgs=30, faults=550, faults_each=5)


class Stopped(Exception):
    """Ctrl-C, or the time is up."""


@dataclass
class Act:
    """A storm or a scene, and how it ended."""

    name: str
    seconds: float = 0.0
    mints: int = 0
    complaints: tuple[str, ...] = ()


@dataclass
class Tally:
    """What all acts of a lane have done and found. `asked_by` counts injected faults by case and the command that had
    asked, `cancelled` how the nonces ended that were to be taken back."""

    acts: list[Act] = field(default_factory=list)
    storm: Log = field(default_factory=Log)
    injected: Counter[str] = field(default_factory=Counter)
    asked_by: Counter[tuple[str, str]] = field(default_factory=Counter)
    cancelled: Counter[SlotState] = field(default_factory=Counter)
    weather: Counter[str] = field(default_factory=Counter)
    scenes: Counter[str] = field(default_factory=Counter)
    undone: int = 0
    mints: int = 0
    sendings: int = 0
    transactions: int = 0
    attempts: int = 0
    resumed: int = 0


class Lane:
    """All acts on one kind of database, one after the other."""

    def __init__(
        self,
        database: str,
        folder: Path,
        seed: int,
        *,
        say: Callable[[str], None],
        aims: Aims = AIMS,
        server: PostgreSQL | None = None,
    ) -> None:
        self.database = database
        self.tally = Tally()
        self.stop = threading.Event()
        self._folder = folder
        self._seed = seed
        self._aims = aims
        self._say = say
        self._server = server
        self._said_at = 0.0
        self.failure: BaseException | None = None

    def run(self) -> None:
        """For a thread of its own: what ends it is kept in `failure`."""
        try:
            with Stable() as self._stable, Stable() as self._other:
                self._storm()
                for name, scene in self._scenes():
                    if self.stop.is_set():
                        raise Stopped
                    scene(name)
        except BaseException as failure:
            self.failure = failure

    # ------------------------------------------------------------------------------------------------------------ acts

    @contextmanager
    def _rig(self, name: str, **options: object) -> Iterator[Rig]:
        """A rig for one act, whose tally is taken when the act is over."""
        folder = self._folder / f"{self.database}-{name.replace(' ', '-')}"
        folder.mkdir()
        if self._server is None:
            url = f"sqlite:///{folder / 'loyalty.db'}"
        else:
            url = self._server.url(self._server.create())
        given: dict[str, object] = {
            "rows": BATCH,
            "batch": BATCH,
            "finality": FINALITY,
            "block_seconds": BLOCK_SECONDS,
            "tempo": SHORT_TEMPO,
            "seed": self._seed,
            "stable": self._stable,
            **options,
        }
        with running_anvil() as node_url, Rig(folder, node_url, url, **given) as rig:  # type: ignore[arg-type]
            try:
                yield rig
            finally:
                # Also of an act that comes to no good end.
                self.tally.injected += rig.wire.injected
                for (case, number), count in rig.wire.injected_in.items():
                    self.tally.asked_by[case, rig.commands[number]] += count
                self.tally.weather += rig.weather.counts
                self.tally.undone += rig.weather.undone
                self.tally.sendings += len(rig.wire.passed)
                self.tally.resumed += rig.resumed
            self.tally.cancelled += rig.cancel_ends()
            self.tally.attempts += rig.attempts_beyond_the_first()

    def _prove(self, name: str, rig: Rig, began: float) -> None:
        """The proof of an act whose rig has come to its end."""
        result = rig.judge()
        mints = result.proof.members - len(rig.left_out)
        self.tally.mints += mints
        self.tally.transactions += result.proof.transactions
        self._close(Act(name, time.monotonic() - began, mints, result.complaints))

    def _close(self, act: Act) -> None:
        self.tally.acts.append(act)
        verdict = "proven" if not act.complaints else f"BROKEN: {act.complaints[0]}"
        self._say(f"{self.database}: {act.name}: {act.mints:,} mints, {act.seconds:.0f} s, {verdict}")

    def _storm(self) -> None:
        began = time.monotonic()
        with self._rig("storm", rows=2 * BATCH, roughness=0.05) as rig:

            def progress(log: Log) -> None:
                self.tally.storm = log
                if self.stop.is_set():
                    raise Stopped
                if time.monotonic() - self._said_at > 10:
                    self._said_at = time.monotonic()
                    self._say(
                        f"{self.database}: storm: {log.kills.total()} of {self._aims.kills_each * len(STEPS)} kills, "
                        f"{rig.rows:,} of {self._aims.rows:,} mints, {rig.weather.counts['reorg']} reorgs, "
                        f"{rig.wire.injected.total()} faults"
                    )

            # Workers of several machines share a server: there two of them are at work beside each other.
            self.tally.storm = ride_out(rig, self._aims, progress, beside=None if self._server is None else self._other)
            rig.finish()
            rig.check_index()
            self._prove("storm", rig, began)

    def _scenes(self) -> Iterator[tuple[str, Callable[[str], None]]]:
        """The scenes of this lane by their names, as the report shows them."""
        yield "a sleeper wakes up", self._sleepers
        yield "who cancels sleeps and wakes up", self._cancelling_sleepers
        yield "taken back in time", lambda name: self._chain_scene(name, scenes.cancelled_in_time)
        for step in ("asked", "emptied", "empty-marked"):
            yield (
                f"mined all the same ({step})",
                lambda name, step=step: self._chain_scene(name, lambda rig: scenes.cancelled_too_late(rig, step)),  # type: ignore[misc]
            )
        yield "taken back, and the block undone", lambda name: self._chain_scene(name, scenes.cancelled_and_undone)
        for step in ("reserved", "stored", "marked", "settled"):
            yield f"an old copy put back ({step})", lambda name, step=step: self._put_back(name, step)  # type: ignore[misc]
        if self._server is None:
            yield "the disk is full", self._full_disk
        else:
            yield "cut at COMMIT", self._cuts
        yield "paused between trial and block", lambda name: self._chain_scene(name, scenes.paused_meanwhile)
        yield "minted by others in between", lambda name: self._chain_scene(name, scenes.minted_meanwhile)
        yield "the key's coins are gone", lambda name: self._chain_scene(name, scenes.drained)
        yield "gas above the ceiling", lambda name: self._chain_scene(name, scenes.dear)
        yield "receipts hidden for long", lambda name: self._chain_scene(name, scenes.unheard)
        yield "wrong nonces at the start", lambda name: self._chain_scene(name, scenes.wrong_nonces)
        yield "a reorg as deep as finality", lambda name: self._chain_scene(name, scenes.undone_as_deep_as_finality)
        yield (
            "one block deeper, nothing of ours in it",
            lambda name: self._chain_scene(name, lambda rig: scenes.undone_as_deep_as_finality(rig, beyond=1)),
        )
        yield "what was final is undone", self._beyond_finality

    def _sleepers(self, name: str) -> None:
        began = time.monotonic()
        # Every other step in each lane: together they are all.
        steps = SLEEPING_STEPS[self._server is not None :: 2]
        with self._rig(name, window=2) as rig:
            for number, step in enumerate(steps):
                # Asleep, a worker's index may be in the middle of a transaction: on SQLite nobody else writes then.
                workers = self._server is not None and bool(number % 2)
                scenes.stale_sender(rig, self._other, step, workers=workers)
                self.tally.scenes[f"{'workers' if workers else 'mints'} woken after their lease"] += 1
            rig.finish()
            self._prove(name, rig, began)

    def _cancelling_sleepers(self, name: str) -> None:
        began = time.monotonic()
        with self._rig(name, window=2) as rig:
            for step in CANCELLING_STEPS[self._server is not None :: 2]:
                scenes.stale_canceller(rig, self._other, step)
                self.tally.scenes["cancelling ones woken after their lease"] += 1
            rig.finish()
            self._prove(name, rig, began)

    def _put_back(self, name: str, step: str) -> None:
        began = time.monotonic()
        with self._rig(name) as rig:

            def copy() -> str:
                rig.engine.dispose()
                return copy_of(rig.database_url, self._server)

            scenes.put_back(rig, step, copy)
            self.tally.scenes["old copies of the database put back"] += 1
            rig.finish()
            self._prove(name, rig, began)

    def _full_disk(self, name: str) -> None:
        began = time.monotonic()
        with self._rig(name) as rig:
            for step in FILLED_STEPS:
                for deed in (Deed.FULL, Deed.SHORT):
                    scenes.full_disk(rig, step, deed)
                    self.tally.scenes["disks full" if deed is Deed.FULL else "writes to the log cut off"] += 1
            rig.finish()
            self._prove(name, rig, began)

    def _cuts(self, name: str) -> None:
        began = time.monotonic()
        with self._rig(name) as rig, Cutter(rig.database_url) as cutter:
            for kind in KINDS:
                for moment in Moment:
                    scenes.cut_at_commit(rig, cutter, Cut(kind, moment))
            for (_, moment), count in cutter.cuts.items():
                self.tally.scenes[f"connections cut {moment} the COMMIT"] += count
            rig.finish()
            self._prove(name, rig, began)

    def _chain_scene(self, name: str, scene: Callable[[Rig], None]) -> None:
        began = time.monotonic()
        with self._rig(name) as rig:
            scene(rig)
            self.tally.scenes[name] += 1
            rig.finish()
            self._prove(name, rig, began)

    def _beyond_finality(self, name: str) -> None:
        began = time.monotonic()
        with self._rig(name) as rig:
            scenes.undone_beyond_finality(rig)
            self.tally.scenes[name] += 1
            # Cards are gone, so there is nothing more to prove than that nobody got two, and that it was said.
            times = Counter(each.wallet for each in rig.chain.minted(rig.membership))
            if times.total() > len(times):
                rig.complaints.append(f"{times.total() - len(times)} cards too many")
            self._close(Act(name, time.monotonic() - began, 0, tuple(rig.complaints)))


# ------------------------------------------------------------------------------------------------------------- report


def verdicts(lanes: Sequence[Lane]) -> list[str]:
    """What was promised of a whole run, and not reached or not kept."""
    found = [
        f"{lane.database}: {act.name}: {each}" for lane in lanes for act in lane.tally.acts for each in act.complaints
    ]
    kills = sum((lane.tally.storm.kills for lane in lanes), Counter[str]())
    of_workers = sum(lane.tally.storm.by("worker") for lane in lanes)
    injected = sum((lane.tally.injected for lane in lanes), Counter[str]())
    reached = [
        ("mints", sum(lane.tally.mints for lane in lanes), LEAST_MINTS),
        ("kills", kills.total(), LEAST_KILLS),
        ("kills of workers", of_workers, max(1, math.ceil(kills.total() * LEAST_SHARE_OF_WORKERS))),
        *((f"kills at {step.name!r}", kills[step.name], LEAST_KILLS_EACH) for step in STEPS),
        ("reorgs", sum(lane.tally.weather["reorg"] for lane in lanes), LEAST_REORGS),
        ("injected faults", injected.total(), LEAST_FAULTS),
        *((f"faults of the case {case.name!r}", injected[case.name], LEAST_FAULTS_EACH) for case in CASES),
    ]
    return found + [
        f"only {count:,} {what}, and {least:,} were to be" for what, count, least in reached if count < least
    ]


def show(lanes: Sequence[Lane], seconds: float, out: Console) -> None:
    """Print what was injected where."""
    tallies = [lane.tally for lane in lanes]
    names = [lane.database for lane in lanes]
    table = Table(
        "killed at", "where that is", *names, *COMMANDS, "slots it found open", title="Kills by step and command"
    )
    struck = sum((tally.storm.struck for tally in tallies), Counter[tuple[str, str]]())
    for step in STEPS:
        opened: Counter[SlotState] = sum(
            (tally.storm.open.get(step.name, Counter()) for tally in tallies), Counter[SlotState]()
        )
        told = ", ".join(f"{count} {state}" for state, count in sorted(opened.items()))
        table.add_row(
            step.name,
            step.says,
            *(str(tally.storm.kills[step.name]) for tally in tallies),
            *(str(struck[step.name, command]) for command in COMMANDS),
            told,
        )
    kills = [str(tally.storm.kills.total()) for tally in tallies]
    by_command = [str(sum(tally.storm.by(command) for tally in tallies)) for command in COMMANDS]
    table.add_row("all", "", *kills, *by_command, "")
    out.print(table)
    table = Table("case", "what the node does", *names, *COMMANDS, "other", title="Injected RPC faults")
    asked_by = sum((tally.asked_by for tally in tallies), Counter[tuple[str, str]]())
    for case in CASES:
        table.add_row(
            case.name,
            case.says,
            *(str(tally.injected[case.name]) for tally in tallies),
            *_by_command({command: count for (name, command), count in asked_by.items() if name == case.name}),
        )
    everything: Counter[str] = Counter()
    for (_, command), count in asked_by.items():
        everything[command] += count
    table.add_row("all", "", *(str(tally.injected.total()) for tally in tallies), *_by_command(everything))
    out.print(table)
    table = Table("trouble", *names, title="Chain, database, processes")
    for each in sorted({name for tally in tallies for name in (*tally.weather, *tally.scenes)}):
        table.add_row(each, *(str(tally.weather[each] + tally.scenes[each]) for tally in tallies))
    table.add_row("transactions of ours undone", *(str(tally.undone) for tally in tallies))
    table.add_row("dearer attempts made", *(str(tally.attempts) for tally in tallies))
    for state, what in CANCEL_ENDS.items():
        table.add_row(f"nonces to be taken back: {what}", *(str(tally.cancelled[state]) for tally in tallies))
    table.add_row("signers halted and resumed", *(str(tally.resumed) for tally in tallies))
    out.print(table)
    table = Table("runs in the storm ended", *names, title="How runs ended that were not killed")
    for each in sorted({name for tally in tallies for name in tally.storm.ended}):
        table.add_row(each, *(str(tally.storm.ended[each]) for tally in tallies))
    out.print(table)
    table = Table("act", "mints", "seconds", "verdict", title="Acts")
    for lane in lanes:
        for act in lane.tally.acts:
            verdict = "proven" if not act.complaints else "BROKEN"
            table.add_row(f"{lane.database}: {act.name}", f"{act.mints:,}", f"{act.seconds:.0f}", verdict)
    out.print(table)
    mints, sendings = sum(tally.mints for tally in tallies), sum(tally.sendings for tally in tallies)
    transactions = sum(tally.transactions for tally in tallies)
    out.print(
        f"{mints:,} mints in {transactions:,} transactions, {sendings:,} sendings on the wire, "
        f"{sum(len(tally.acts) for tally in tallies)} acts, {seconds:.0f} s."
    )


def _by_command(counts: Mapping[str, int]) -> list[str]:
    """A cell for each of the commands, and one for all others."""
    return [
        *(str(counts.get(command, 0)) for command in COMMANDS),
        str(sum(count for command, count in counts.items() if command not in COMMANDS)),
    ]


def run(folder: Path, seed: int, most_seconds: float, out: Console) -> int:
    """Both lanes at once. Returns the exit status: 0 proven, 1 not, 130 interrupted."""
    began = time.monotonic()

    def say(text: str) -> None:
        out.print(f"{time.monotonic() - began:5.0f} s  {text}", markup=False)

    with ExitStack() as stack:
        server = stack.enter_context(running_postgresql())
        lanes = [
            Lane("sqlite", folder, seed, say=say),
            Lane("postgresql", folder, seed + 1, say=say, server=server),
        ]
        threads = [threading.Thread(target=lane.run) for lane in lanes]
        for thread in threads:
            thread.start()
        interrupted = False
        try:
            while any(thread.is_alive() for thread in threads):
                threads[0].join(0.2)
                threads[1].join(0.2)
                if time.monotonic() - began > most_seconds:
                    raise Stopped
        except (KeyboardInterrupt, Stopped) as end:
            interrupted = isinstance(end, KeyboardInterrupt)
            say("Stopping." if interrupted else "The time is up.")
            for lane in lanes:
                lane.stop.set()
            for thread in threads:
                thread.join()
    if interrupted:
        return 130
    show(lanes, time.monotonic() - began, out)
    out.print(f"The seed was {seed}.")
    complaints = verdicts(lanes)
    for lane in lanes:
        if lane.failure is not None:
            what = "ran out of time" if isinstance(lane.failure, Stopped) else repr(lane.failure)
            complaints.append(f"{lane.database}: the lane did not come to its end: {what}")
    for complaint in complaints:
        out.print(f"Broken: {complaint}", style="red", markup=False)
    out.print("Proven: 0 lost, 0 doubled, nothing final taken back." if not complaints else "NOT proven.")
    return 1 if complaints else 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.soak", description=__doc__.split("\n\n")[0])
    parser.add_argument("--seed", type=int, default=1, help="of the members, the kills, the faults and the weather")
    parser.add_argument("--minutes", type=float, default=15, help="give up after so many")
    parser.add_argument("--keep", type=Path, metavar="FOLDER", help="a new folder for databases and logs of the wire")
    chosen = parser.parse_args(arguments)
    out = Console(width=180 if not sys.stdout.isatty() else None, soft_wrap=False, highlight=False)
    if chosen.keep is not None:
        chosen.keep.mkdir(parents=True)
    folder = chosen.keep or Path(tempfile.mkdtemp(prefix="nftl-soak-"))
    status = 1
    try:
        status = run(folder, chosen.seed, chosen.minutes * 60, out)
    except RigFailure as failure:
        out.print(f"The rig itself failed: {failure}", markup=False)
    if status == 1 or chosen.keep is not None:
        out.print(f"Databases and wire logs: {folder}", markup=False)
    else:
        shutil.rmtree(folder)
    return status


if __name__ == "__main__":
    sys.exit(main())
