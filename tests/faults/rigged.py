"""The command line with a bomb in it: runs `nftloyalty` and kills itself with SIGKILL at an ordered moment.

Nothing in the package knows of this. The methods of the sending engine are wrapped from outside, so that a run can tell
which step it has passed, and end there like a process that lost its power: no `finally`, no rollback of ours, no lease
given back. As a program it is a stable: it imports everything once and then forks one run per line of its input, which
saves two seconds a run. A forked run has its own pid and no thread, connection or transaction of another one.
"""

import contextlib
import json
import os
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from functools import wraps
from typing import Any

from eth_utils.crypto import keccak

from nftloyalty.app import gathering
from nftloyalty.app.sending import Sender
from nftloyalty.chain import sender
from nftloyalty.chain.client import Node
from nftloyalty.chain.signer import TxFields
from nftloyalty.cli import main as command_line
from nftloyalty.store import intents, slots
from nftloyalty.store.engine import begin


@dataclass(frozen=True)
class Step:
    """A moment that a run can be killed at: just before or after the `attribute` of `owner` is called.

    `unsent` = the bytes are stored and have not been sent.
    """

    name: str
    when: str
    owner: Any
    attribute: str
    says: str
    unsent: bool = False


STEPS = (
    Step("between", "before", Sender, "_gather", "between batches, before intents are gathered"),
    Step("gathered", "before", Sender, "_reserve", "a batch gathered and tried, nothing reserved"),
    Step("reserving", "after", slots, "reserve", "slot and intents written, not committed"),
    Step("reserved", "after", Sender, "_reserve", "nonce reserved, nothing signed"),
    Step("signed", "before", slots, "add_attempt", "signed, bytes not stored"),
    Step("storing", "after", slots, "add_attempt", "bytes written, not committed"),
    Step("stored", "after", Sender, "_sign_and_store", "bytes stored, not marked as sent", unsent=True),
    Step("marking", "after", slots, "mark_sent", "mark of sending written, not committed", unsent=True),
    Step("marked", "after", Sender, "_mark_sent", "marked as sent, not sent", unsent=True),
    Step("handed-in", "after", Node, "send_raw", "the node has the bytes, its answer is not looked at"),
    Step("sent", "after", Sender, "_send", "sent and answered"),
    Step("watching", "before", Sender, "_watch", "before looking for receipts"),
    Step("seen", "before", Sender, "_settle", "receipt seen, nothing written"),
    Step("settling", "after", intents, "mark_included", "receipt written, not committed"),
    Step("settled", "after", Sender, "_settle", "receipt settled"),
    Step("final-seen", "before", Sender, "_finalise", "found final, nothing written"),
    Step("finalising", "after", intents, "mark_final", "finality written, not committed"),
    Step("finalised", "after", Sender, "_finalise", "finalised"),
)
STEP = {step.name: step for step in STEPS}


@dataclass(frozen=True)
class Kill:
    """Die at the `count`-th time that `step` is passed after this run has made `reserves` reservations.

    With `reserves` 0 that may be while the run still finishes what its predecessor left behind.
    """

    step: str
    reserves: int = 0
    count: int = 1


@dataclass(frozen=True)
class Orders:
    """One run: arguments and whole environment of the command, where it writes, how it dies, and how it is broken."""

    arguments: tuple[str, ...]
    environment: Mapping[str, str]
    output: str
    trace: str
    batch: int
    kill: Kill | None = None
    broken: str | None = None

    def to_line(self) -> str:
        return json.dumps(asdict(self)) + "\n"

    @classmethod
    def from_line(cls, line: str) -> "Orders":
        fields = json.loads(line)
        kill = fields.pop("kill")
        return cls(**fields, kill=Kill(**kill) if kill is not None else None)


class Bomb:
    """Writes each step that is passed to the trace, one JSON line each, and carries out the kill."""

    def __init__(self, orders: Orders) -> None:
        self._kill = orders.kill
        # Each line is handed to the kernel at once: what is written is there after a SIGKILL too.
        self._trace = os.open(orders.trace, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._reserves = 0
        self._count = 0

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
        if step.name == "reserved":
            self._reserves += 1
        kill = self._kill
        if kill is not None and kill.step == step.name and self._reserves >= kill.reserves:
            self._count += 1
        dies = kill is not None and self._count == kill.count
        about: dict[str, Any] = {"step": step.name, "dies": dies, "reserves": self._reserves}
        for value in values:
            about |= _about(value)
        if step.name in _ROW_AT:
            column, place = _ROW_AT[step.name]
            about[column] = values[place]
        elif step.name == "handed-in":
            about["tx_hash"] = "0x" + keccak(values[2]).hex()
        os.write(self._trace, json.dumps(about).encode() + b"\n")
        if dies:
            os.kill(os.getpid(), signal.SIGKILL)


# Calls that name a row by its number only: which row, and where it stands among the answer and the arguments.
_ROW_AT = {
    "signed": ("slot", 1),
    "settling": ("slot", 2),
    "finalising": ("slot", 2),
    "marking": ("attempt", 2),
    "marked": ("attempt", 2),
}


def _about(value: Any) -> dict[str, Any]:
    """What tells which slot a call was about."""
    if isinstance(value, slots.SlotRow | slots.WatchedSlot):
        return {"nonce": value.nonce}
    if isinstance(value, slots.AttemptRow):
        return {"slot": value.slot, "tx_hash": value.tx_hash}
    return {}


# ---------------------------------------------------------------------------------------------------- broken on purpose


def _send_first(engine: Sender, slot: slots.SlotRow) -> None:
    """The classic mistake: send the transaction, then write down that there is one."""
    fees = sender.fees(engine.app.node, engine.app.settings.max_fee_wei)
    signed = engine.signer.sign_transaction(
        TxFields(
            chain_id=engine.attached.chain_id,
            nonce=slot.nonce,
            to=slot.to_address,
            data=slot.calldata,
            value=slot.value,
            gas=slot.gas_limit,
            max_fee=fees.max_fee,
            priority_fee=fees.priority_fee,
        )
    )
    engine.app.node.send_raw(signed.raw)
    now = engine.app.now()
    with begin(engine.app.engine) as tx:
        attempt = slots.add_attempt(
            tx, slot.id, signed.raw, signed.hash, fees.max_fee, fees.priority_fee, now, epoch=engine._epoch
        )
    engine._mark_sent(attempt.id)


BROKEN: Mapping[str, tuple[str, Callable[..., Any]]] = {
    "sends first": ("_sign_and_send", _send_first),
}


# -------------------------------------------------------------------------------------------------------------- running


def run(orders: Orders) -> int:
    """Run the command line in this process, which is good for nothing else afterwards. Returns its exit status."""
    os.environ.clear()
    os.environ.update(orders.environment)
    gathering.GATHER_AT_MOST = orders.batch
    if orders.broken is not None:
        attribute, replacement = BROKEN[orders.broken]
        setattr(Sender, attribute, replacement)
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
    stable()
