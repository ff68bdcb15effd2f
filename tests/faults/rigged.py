"""The command line with a bomb in it: runs `nftloyalty` and is struck down at an ordered moment.

Nothing in the package knows of this. The methods of the sending engine are wrapped from outside, so that a run can tell
which step it has passed, and there be killed like a process that lost its power (no `finally`, no rollback of ours, no
lease given back), be stopped as if it had been put to sleep, or find its disk full. As a program it is a stable: it
imports everything once and then forks one run per line of its input, which saves two seconds a run. A forked run has
its own pid and no thread, connection or transaction of another one.
"""

import contextlib
import json
import os
import resource
import signal
import sqlite3
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import StrEnum
from functools import wraps
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, event, make_url, select, update

from nftloyalty.app import gathering, leases, sending, settling, working
from nftloyalty.app.sending import Sender
from nftloyalty.app.settling import Watcher
from nftloyalty.chain.client import HintKind, Node
from nftloyalty.cli import main as command_line
from nftloyalty.domain.intent import IntentState
from nftloyalty.store import intents, slots
from nftloyalty.store import sending as steps
from nftloyalty.store.engine import begin, open_engine
from nftloyalty.store.tables import attempts
from nftloyalty.store.tables import intents as intents_table
from nftloyalty.store.tables import slots as slots_table


@dataclass(frozen=True)
class Step:
    """A moment that a run can be struck at: just before or after the `attribute` of `owner` is called.

    `unsent` = the bytes are stored and have not been sent. `open` = a database transaction is open then. `cancels` =
    only passed where something is being cancelled. With `only` just those calls count whose answer (after) and
    arguments it says yes to.
    """

    name: str
    when: str
    owner: Any
    attribute: str
    says: str
    unsent: bool = False
    open: bool = False
    cancels: bool = False
    only: Callable[[tuple[Any, ...]], bool] = lambda values: True


def _another(values: tuple[Any, ...]) -> bool:
    """Whether one of the attempts that were stored carries again what its slot is for."""
    return any(attempt.seq and not attempt.noop for attempt in values[0])


def _some(values: tuple[Any, ...]) -> bool:
    """Whether the call had, or brought, anything to work on: its answer, or its first argument behind `self`."""
    return bool(values[0] if isinstance(values[0], list | bool) else values[1])


def _empty_stored(values: tuple[Any, ...]) -> bool:
    """Whether one of the attempts that were stored is empty."""
    return any(attempt.noop for attempt in values[0])


def _empty(values: tuple[Any, ...]) -> bool:
    """Whether one of the attempts that a method of the sender was given is empty."""
    return any(attempt.noop for attempt in values[-1])


def _empty_found(values: tuple[Any, ...]) -> bool:
    """Whether one of the receipts that a method of the watcher was given is an empty attempt's."""
    return any(each.receipt.tx_hash in each.slot.noops for each in values[-1])


def _empty_final(values: tuple[Any, ...]) -> bool:
    """Whether one of the slots that the watcher has finalised ended with an empty attempt."""
    return any(slot.tx_hash in slot.noops for slot in values[-1])


# The one place that knows the engine's steps by the names of its methods, in the order in which they are passed. Each
# may be for several slots at once.
STEPS = (
    Step("between", "before", Sender, "_gather", "between batches, before intents are gathered"),
    Step("gathered", "before", Sender, "_reserve", "batches gathered and tried, nothing reserved", only=_some),
    Step("reserving", "after", steps, "reserve", "slots and intents written, not committed", open=True),
    Step("reserved", "after", Sender, "_reserve", "nonces reserved, nothing signed", only=_some),
    Step("signed", "before", steps, "store_attempts", "signed, bytes not stored", open=True),
    Step("storing", "after", steps, "store_attempts", "bytes written, not committed", open=True),
    Step(
        "dearer", "after", steps, "store_attempts", "a dearer attempt written, not committed", open=True, only=_another
    ),
    Step("stored", "after", Sender, "_sign_and_store", "bytes stored, not marked as sent", unsent=True),
    Step("marking", "after", steps, "mark_sent", "mark of sending written, not committed", unsent=True, open=True),
    Step("marked", "after", Sender, "_mark_sent", "marked as sent, not sent", unsent=True),
    Step("handed-in", "after", Node, "send_raw_many", "the node has the bytes, its answer is not looked at"),
    Step("sent", "after", Sender, "_send", "sent and answered"),
    Step("watching", "before", Watcher, "watch", "before looking for receipts"),
    Step("seen", "before", Watcher, "_settle", "receipts seen, nothing written", only=_some),
    Step("settling", "after", steps, "settle", "receipts written, not committed", open=True),
    Step("settled", "after", Watcher, "_settle", "receipts settled", only=_some),
    Step("undoing", "after", intents, "mark_reorged", "a block's undoing written, not committed", open=True),
    Step("undone", "after", Watcher, "_undo", "a block's undoing in the books, nothing sent again"),
    Step("final-seen", "before", Watcher, "_finalise", "found final, nothing written"),
    Step("finalising", "after", steps, "finalise", "finality written, not committed", open=True),
    Step("finalised", "after", Watcher, "_finalise", "finalised"),
    Step(
        "asking",
        "after",
        slots,
        "ask_cancel",
        "cancelling asked for, not committed",
        open=True,
        cancels=True,
        only=lambda values: values[0] > 0,
    ),
    Step("asked", "before", Sender, "_sign_noop", "cancelling asked for, nothing empty signed", cancels=True),
    Step(
        "emptying",
        "after",
        steps,
        "store_attempts",
        "an empty attempt written, not committed",
        open=True,
        cancels=True,
        only=_empty_stored,
    ),
    Step(
        "emptied",
        "after",
        Sender,
        "_sign_noop",
        "an empty attempt stored, not marked as sent",
        unsent=True,
        cancels=True,
    ),
    Step(
        "empty-marked",
        "after",
        Sender,
        "_mark_sent",
        "an empty attempt marked as sent, not sent",
        unsent=True,
        cancels=True,
        only=_empty,
    ),
    Step("empty-sent", "after", Sender, "_send", "an empty attempt sent and answered", cancels=True, only=_empty),
    Step(
        "empty-seen",
        "before",
        Watcher,
        "_settle",
        "an empty attempt's receipt seen, nothing written",
        cancels=True,
        only=_empty_found,
    ),
    Step(
        "empty-settled",
        "after",
        Watcher,
        "_settle",
        "an empty attempt's receipt settled, not final",
        cancels=True,
        only=_empty_found,
    ),
    Step("withdrawing", "after", intents, "cancel", "rows withdrawn, not committed", open=True, cancels=True),
    Step("withdrawn", "after", Watcher, "_finalise", "rows withdrawn", cancels=True, only=_empty_final),
)
CANCEL_STEPS = tuple(step.name for step in STEPS if step.cancels)
STEP = {step.name: step for step in STEPS}

# What the engine waits for, by the name under which a rig shortens it. Each is taken from the module that holds it.
TEMPO: Mapping[str, tuple[Any, str, Callable[[float], Any]]] = {
    "lease": (leases, "LEASE_SECONDS", float),
    "resend": (sending, "RESEND_AFTER", lambda seconds: timedelta(seconds=seconds)),
    "foreign": (settling, "FOREIGN_AFTER", lambda seconds: timedelta(seconds=seconds)),
    "behind": (settling, "BEHIND_AFTER", lambda seconds: timedelta(seconds=seconds)),
    "retry": (sending, "RETRY_PAUSES", lambda seconds: (seconds,) * 40),
    "trouble": (working, "PAUSE_AFTER_TROUBLE_SECONDS", float),
}


def missing_places() -> list[str]:
    """What the tables here name and the code has no more; must be empty, or the rig tests less than it says."""
    places = [(step.name, step.owner, step.attribute) for step in STEPS]
    places += [(name, module, attribute) for name, (module, attribute, _) in TEMPO.items()]
    places += [(name, *place) for name, (place, _) in BROKEN.items()]
    places.append(("batch", gathering, "GATHER_AT_MOST"))
    return [
        f"{name} ({owner.__name__}.{attribute})" for name, owner, attribute in places if not hasattr(owner, attribute)
    ]


class Deed(StrEnum):
    """What a strike does: SIGKILL; SIGSTOP; not a page more for SQLite's file; not a byte more for its log."""

    KILL = "kill"
    STOP = "stop"
    FULL = "full"
    SHORT = "short"


@dataclass(frozen=True)
class Strike:
    """Happens at the `count`-th time that `step` is passed after this run has made `reserves` reservations.

    With `reserves` 0 that may be while the run still finishes what its predecessor left behind.
    """

    step: str
    reserves: int = 0
    count: int = 1
    deed: Deed = Deed.KILL

    def __post_init__(self) -> None:
        if self.step not in STEP:
            raise ValueError(f"there is no step {self.step!r} to strike at")


@dataclass(frozen=True)
class Orders:
    """One run: arguments and whole environment of the command, where it writes, what strikes it, and how it is broken.

    `tempo` are seconds by the names of TEMPO.
    """

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    output: str
    trace: str
    batch: int
    strike: Strike | None = None
    broken: str | None = None
    tempo: Mapping[str, float] = field(default_factory=dict)

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Orders":
        fields = json.loads(line)
        strike = fields.pop("strike")
        if strike is not None:
            strike = Strike(**{**strike, "deed": Deed(strike["deed"])})
        return cls(**fields, strike=strike)


class Bomb:
    """Writes each step that is passed to the trace, one JSON line each, and carries out the strike."""

    def __init__(self, orders: Orders) -> None:
        self._strike = orders.strike
        # Each line is handed to the kernel at once: what is written is there after a SIGKILL too.
        self._trace = os.open(orders.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        # A worker's hands are threads: the trace tells their steps one after the other.
        self._turn = threading.Lock()
        self._reserves = 0
        self._count = 0
        self._files: list[sqlite3.Connection] = []
        if self._strike is not None and self._strike.deed is Deed.FULL:
            event.listen(Engine, "connect", self._note_file)

    def _note_file(self, connection: Any, record: object) -> None:
        self._files.append(connection)

    def set(self) -> None:
        """Wrap all the steps, so that their order in the table is that of one call's before and after."""
        for step in STEPS:
            setattr(step.owner, step.attribute, self._wrapped(step, getattr(step.owner, step.attribute)))

    def _wrapped(self, step: Step, call: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(call)
        def wrapper(*args: Any, **options: Any) -> Any:
            if step.when == "before":
                self._pass(step, args)
                return call(*args, **options)
            answer = call(*args, **options)
            self._pass(step, (answer, *args))
            return answer

        return wrapper

    def _pass(self, step: Step, values: tuple[Any, ...]) -> None:
        if step.only(values):
            with self._turn:
                self._note(step, values)

    def _note(self, step: Step, values: tuple[Any, ...]) -> None:
        if step.name == "reserved":
            self._reserves += len(values[0])
        strike = self._strike
        struck = False
        if strike is not None and strike.step == step.name and self._reserves >= strike.reserves:
            self._count += 1
            struck = self._count == strike.count
        line = {"step": step.name, "at": time.monotonic(), "struck": struck, "reserves": self._reserves}
        with contextlib.suppress(OSError):
            os.write(self._trace, json.dumps(line).encode() + b"\n")
        if strike is not None and struck:
            _DEEDS[strike.deed](self._files)


def _fill(files: list[sqlite3.Connection]) -> None:
    for connection in files:
        # Never less than the file has: no page can be added any more. A connection that the pool has closed is gone.
        with contextlib.suppress(sqlite3.ProgrammingError):
            connection.execute("PRAGMA max_page_count=1")


def _shorten() -> None:
    # No file grows beyond what the write-ahead log has now: it is that one which then fails, in the middle of a COMMIT.
    # What we print and trace is shorter.
    log = Path(f"{make_url(os.environ['DATABASE_URL']).database}-wal")
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (max(log.stat().st_size, 1 << 16), resource.RLIM_INFINITY))


_DEEDS: Mapping[Deed, Callable[[list[sqlite3.Connection]], None]] = {
    Deed.KILL: lambda files: os.kill(os.getpid(), signal.SIGKILL),
    Deed.STOP: lambda files: os.kill(os.getpid(), signal.SIGSTOP),
    Deed.FULL: _fill,
    Deed.SHORT: lambda files: _shorten(),
}


# ---------------------------------------------------------------------------------------------------- broken on purpose


def _send_first(store_attempts: Callable[..., Any]) -> Callable[..., Any]:
    """The classic mistake: send the transactions, then write down that there are any."""

    def broken(tx: Any, signer: int, epoch: int, new: Any, *rest: Any) -> Any:
        Node(os.environ["NFTLOYALTY_RPC_URL"]).send_raw_many([each.raw for each in new])
        return store_attempts(tx, signer, epoch, new, *rest)

    return broken


def _trust_the_node(send_raw_many: Callable[..., Any]) -> Callable[..., Any]:
    """The other one: take a refusal for the truth, and send what was in the transaction with the next nonce."""

    def broken(node: Node, raws: Any) -> Any:
        hints = send_raw_many(node, raws)
        refused = [raw for raw, hint in zip(raws, hints, strict=True) if hint.kind is HintKind.REFUSED]
        if refused:
            engine = open_engine(os.environ["DATABASE_URL"])
            theirs = select(attempts.c.slot).where(attempts.c.raw.in_(refused))
            free = {"state": IntentState.RECEIVED, "slot": None, "position": None}
            with begin(engine) as tx:
                tx.execute(
                    update(intents_table)
                    .where(intents_table.c.slot.in_(theirs), intents_table.c.state == IntentState.BATCHED)
                    .values(**free)
                )
            engine.dispose()
        return hints

    return broken


def _cancel_at_once(ask_cancel: Callable[..., Any]) -> Callable[..., Any]:
    """To take the wish for the deed: rows are withdrawn when it is asked for, and what was sent may still be mined."""

    def broken(tx: Any, signer: int, nonces: Any, now: Any) -> Any:
        asked = ask_cancel(tx, signer, nonces, now)
        theirs = select(slots_table.c.id).where(
            slots_table.c.signer == signer, slots_table.c.cancel_asked_at.is_not(None)
        )
        tx.execute(
            update(intents_table)
            .where(intents_table.c.slot.in_(theirs), intents_table.c.state == IntentState.BATCHED)
            .values(state=IntentState.CANCELLED, slot=None, position=None)
        )
        return asked

    return broken


BROKEN: Mapping[str, tuple[tuple[Any, str], Callable[[Callable[..., Any]], Callable[..., Any]]]] = {
    "sends first": ((steps, "store_attempts"), _send_first),
    "trusts the node": ((Node, "send_raw_many"), _trust_the_node),
    "cancels at once": ((slots, "ask_cancel"), _cancel_at_once),
}
"""Engines with a known mistake, by name: the call that is replaced, and what makes the replacement of it."""


# -------------------------------------------------------------------------------------------------------------- running


def run(orders: Orders) -> int:
    """Run the command line in this process, which is good for nothing else afterwards. Returns its exit status."""
    os.environ.clear()
    os.environ.update(orders.environment)
    gathering.GATHER_AT_MOST = orders.batch
    for name, seconds in orders.tempo.items():
        module, attribute, made = TEMPO[name]
        setattr(module, attribute, made(seconds))
    if orders.broken is not None:
        (owner, attribute), replacement = BROKEN[orders.broken]
        setattr(owner, attribute, replacement(getattr(owner, attribute)))
    Bomb(orders).set()
    sys.argv = ["nftloyalty", *orders.arguments]
    try:
        command_line.main()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _forked(orders: Orders) -> int:
    """The child's side of the fork."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    for stream, flags in ((0, os.O_RDONLY), (1, os.O_WRONLY | os.O_CREAT | os.O_APPEND)):
        opened = os.open(os.devnull if stream == 0 else orders.output, flags, 0o600)
        os.dup2(opened, stream)
        os.close(opened)
    errors = os.open(orders.output + ".errors", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.dup2(errors, 2)
    os.close(errors)
    status = 70
    try:
        status = run(orders)
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(OSError):
            sys.stdout.flush()
            sys.stderr.flush()
    return status


def stable() -> None:
    """Fork a run for each line of the input; answer each with its pid, and with its status once it has ended.

    A run is always waited for, so that it is really gone, and not a zombie that looks alive, when its end is told.
    """
    # Ctrl-C at the rig's terminal reaches the whole group; the rig ends us by closing our input.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    for line in sys.stdin:
        orders = Orders.from_line(line)
        sys.stdout.flush()
        pid = os.fork()
        if pid == 0:
            os._exit(_forked(orders))
        print(pid, flush=True)
        _, status = os.waitpid(pid, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


if __name__ == "__main__":
    if missing := missing_places():
        sys.exit(f"the code has changed, and tests/faults/rigged.py does not know it: {', '.join(missing)}")
    stable()
