"""An airdrop that is killed again and again, and the proof that nobody got two cards and nobody none.

    python -m tests.faults.airdrop                  10,000 rows on SQLite, blocks every 0.3 s
    python -m tests.faults.airdrop --block-time 0   each transaction is mined at once
    python -m tests.faults.airdrop --help           other sizes, seeds and databases

Each run is `nftloyalty mint members.csv` as an operator would type it, in a process of its own that dies by SIGKILL at
the moment the seeded plan says. The next one is started with the same file. When one has come through, the chain's logs
are compared with the file, and the chain's blocks and all that passed the wire with the books.
"""

import argparse
import json
import os
import queue
import random
import re
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, select

from nftloyalty.domain.intent import OPEN_SLOT_STATES, IntentState, Kind, SlotState
from nftloyalty.store.engine import open_engine, read
from nftloyalty.store.tables import attempts, intents, signers, slots
from nftloyalty.vault.keystore import Keystore
from tests.conftest import ROOT, tool
from tests.faults.proof import Chain, Proof, prove
from tests.faults.rigged import STEP, STEPS, Kill, Orders
from tests.faults.wire import Wire

PASSWORD = "opens only what the rig made"
FINALITY_BLOCKS = 2
RUN_SECONDS = 180.0
COIN = 10**18

PROGRAM = f"""\
[program]
id = "airdrop"
brand = "Airdrop"
name = "Airdrop Club"
symbol = "DROP"

[chain]
finality_blocks = {FINALITY_BLOCKS}

[powers]
opener = "owner"
owner = "owner"
minters = ["hot"]
signers = ["hot"]
managers = ["hot"]
guardians = ["hot"]

[quotas.cards]
mint = 1_000_000

[[tiers]]
id = "member"
name = "Member"

[[tiers]]
id = "gold"
name = "Gold"
"""


class RigFailure(Exception):
    """The rig itself, not what it tests, did not work."""


def plan_kills(batches: int, window: int, seed: int) -> list[Kill]:
    """Every step once, then what matters most again; the order and how far each run gets are drawn from the seed.

    The steps between storing and sending come three times each. Two kills strike the very rerun that mends the one
    before: a slot that was stored is marked, and one that was reserved is signed, by a run that then dies too. The last
    kill is at the first receipt that is seen once everything has been reserved: its `reserves` are set when it is due.
    """
    draw = random.Random(seed)  # noqa: S311 a plan, no secret
    names = [step.name for step in STEPS if step.name != "seen"] + ["stored", "marked"]
    draw.shuffle(names)
    waits = sum(name in _AFTER_RECEIPTS for name in names)
    usual = max(1, int((0.85 * batches - waits * (window - 1)) / len(names)))
    kills: list[Kill] = []
    rescued = set()
    for name in names:
        kills.append(Kill(name, reserves=draw.randint(1, max(1, 2 * usual - 1))))
        follower = {"stored": "marked", "reserved": "stored"}.get(name)
        if follower is not None and name not in rescued:
            rescued.add(name)
            kills.append(Kill(follower, reserves=0))
    return [*kills, Kill("seen", reserves=-1)]


# Before these a run may fill its whole window of transactions in flight.
_AFTER_RECEIPTS = frozenset({"watching", "seen", "settling", "settled", "final-seen", "finalising", "finalised"})


# --------------------------------------------------------------------------------------------------------- one process


class Stable:
    """For `with`: a process that forks runs of the command line, one at a time (see rigged.py)."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.rigged"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)

    def start(self, orders: Orders) -> int:
        """Returns the run's pid."""
        assert self._process.stdin is not None
        self._process.stdin.write(orders.to_line())
        self._process.stdin.flush()
        return int(self._lines.get(timeout=60))

    def wait(self, pid: int, seconds: float = RUN_SECONDS) -> int:
        """The run's exit status, negative for a signal. Raises RigFailure if it does not end, after ending it."""
        try:
            return int(self._lines.get(timeout=seconds))
        except queue.Empty:
            os.kill(pid, signal.SIGKILL)
            self._lines.get(timeout=60)
            raise RigFailure(f"a run did not end within {seconds:g} seconds") from None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._reader.join(timeout=60)
        self._process.stdout.close()


# ------------------------------------------------------------------------------------------------------------- the rig


@dataclass(frozen=True)
class OpenSlot:
    """A slot that was not final when a run had died, and where its bytes were then."""

    nonce: int
    state: SlotState
    where: str


@dataclass(frozen=True)
class Nonces:
    """The nonce of each slot, attempt and transaction of ours."""

    of_slot: Mapping[int, int]
    of_attempt: Mapping[int, int]
    of_hash: Mapping[str, int]

    def of(self, passed: Mapping[str, Any]) -> int | None:
        """The nonce that a line of a trace is about; None if it is about none, or its slot was never committed."""
        if "nonce" in passed:
            return int(passed["nonce"])
        if "tx_hash" in passed:
            return self.of_hash.get(passed["tx_hash"])
        return self.of_slot.get(passed.get("slot", 0), self.of_attempt.get(passed.get("attempt", 0)))


@dataclass(frozen=True)
class Run:
    """One run of the command. `open` and `rows` are what it left behind."""

    number: int
    kill: Kill | None
    status: int
    seconds: float
    trace: tuple[Mapping[str, Any], ...]
    output: str
    errors: str
    open: tuple[OpenSlot, ...]
    rows: Mapping[IntentState, int]

    @property
    def killed(self) -> bool:
        return self.status == -signal.SIGKILL

    @property
    def reserves(self) -> int:
        return sum(each["step"] == "reserved" for each in self.trace)


@dataclass(frozen=True)
class Result:
    """`complaints` empty = the promise was kept in every respect that the rig can see."""

    runs: tuple[Run, ...]
    proof: Proof
    complaints: tuple[str, ...]


class Miner:
    """For `with`: makes a block every `seconds`. Transactions wait in the pool meanwhile, as on a real chain."""

    def __init__(self, chain: Chain, seconds: float) -> None:
        self._chain = chain
        self._seconds = seconds
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._mine, daemon=True)

    def _mine(self) -> None:
        while not self._ended.wait(self._seconds):
            self._chain.ask("evm_mine")

    def __enter__(self) -> Self:
        self._chain.ask("evm_setAutomine", False)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._thread.join()
        self._chain.ask("evm_setAutomine", True)


class Rig:
    """For `with`: an open program on the anvil at `node_url`, a file of `rows` new members, and the means to kill.

    `folder` must exist, `database_url` an empty database, and the anvil a fresh one that mines at once. `batch` is
    how many rows go into a transaction, `window` how many transactions are in flight at most. Once the program is open
    a block is made every `block_seconds`; 0 = one for each transaction at once. A `stable` may serve several rigs.
    """

    def __init__(
        self,
        folder: Path,
        node_url: str,
        database_url: str,
        *,
        rows: int,
        batch: int,
        window: int = 4,
        block_seconds: float = 0.3,
        seed: int = 1,
        broken: str | None = None,
        stable: Stable | None = None,
    ) -> None:
        self.folder = folder
        self.rows = rows
        self.batch = batch
        self.window = window
        self.seed = seed
        self.broken = broken
        self.block_seconds = block_seconds
        self.members = folder / "members.csv"
        self.wallets = [to_checksum_address(keccak(text=f"member {seed}/{number}")[-20:]) for number in range(rows)]
        self.runs: list[Run] = []
        self.membership = ""
        self.minter = ""
        self._node_url = node_url
        self._database_url = database_url
        self._stable = stable
        self._stack = ExitStack()
        self._started = 0

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.chain = Chain(self._node_url)
            stack.callback(self.chain.close)
            self.engine = open_engine(self._database_url)
            stack.callback(self.engine.dispose)
            self.wire = stack.enter_context(Wire(self._node_url, self._judge))
            self.stable = self._stable if self._stable is not None else stack.enter_context(Stable())
            self._set_up()
            if self.block_seconds:
                miner = Chain(self._node_url)
                stack.callback(miner.close)
                stack.enter_context(Miner(miner, self.block_seconds))
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _set_up(self) -> None:
        lines = ["address,tier,expiry"]
        for number, wallet in enumerate(self.wallets):
            lines.append(f"{wallet},{'gold' if number % 7 == 0 else 'member'},{'2099-12-31' if number % 3 else ''}")
        self.members.write_text("\n".join(lines) + "\n", encoding="utf-8")
        (self.folder / "program.toml").write_text(PROGRAM, encoding="utf-8")
        keystore = Keystore(self.folder / "home" / "keys", work=1 << 12)
        for name in ("owner", "hot"):
            self.minter = keystore.create(name, PASSWORD)
            self.chain.ask("anvil_setBalance", self.minter, hex(1_000 * COIN))
        orders = self.orders(None, "deploy", "--json")
        if self.stable.wait(self.stable.start(orders)) != 0:
            raise RigFailure(f"the program could not be opened:\n{_text(orders.output + '.errors')}")
        self.membership = json.loads(_text(orders.output))["membership"]
        # What went by until now was the opener's.
        self.wire.passed.clear()

    def _judge(self, raw: bytes) -> str | None:
        """What is wrong with bytes that are leaving now: before they do, they must be stored and marked as sent."""
        tx_hash = "0x" + keccak(raw).hex()
        query = select(attempts.c.raw, attempts.c.first_sent_at, slots.c.state).join(slots)
        with read(self.engine) as tx:
            found = tx.execute(query.where(attempts.c.tx_hash == tx_hash)).one_or_none()
        if found is None:
            # Not ours: deploying hands in the published transaction of the CREATE2 deployer too.
            return "left before its bytes were stored" if self.membership else None
        if found.raw != raw:
            return "is stored with other bytes"
        if found.first_sent_at is None or found.state is SlotState.SIGNED:
            return "left before it was marked as sent"
        return None

    # ---------------------------------------------------------------------------------------------------------- runs

    def orders(self, kill: Kill | None, *arguments: str) -> Orders:
        """Orders for the next run: a command as an operator would type it."""
        number = self._started
        self._started += 1
        return Orders(
            arguments=("--program", str(self.folder / "program.toml"), *arguments),
            environment={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(self.folder),
                "NFTLOYALTY_HOME": str(self.folder / "home"),
                "NFTLOYALTY_RPC_URL": self.wire.url,
                "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
                "NFTLOYALTY_WINDOW": str(self.window),
                "DATABASE_URL": self._database_url,
            },
            output=str(self.folder / f"run-{number}.out"),
            trace=str(self.folder / f"run-{number}.trace"),
            batch=self.batch,
            kill=kill,
            broken=self.broken if arguments[0] == "mint" else None,
        )

    def mint_orders(self, kill: Kill | None = None) -> Orders:
        return self.orders(kill, "mint", str(self.members), "--json")

    def mint(self, kill: Kill | None = None) -> Run:
        """Run `nftloyalty mint` with the file until it ends or is killed, and look at what it left behind."""
        orders = self.mint_orders(kill)
        began = time.monotonic()
        status = self.stable.wait(self.stable.start(orders))
        return self.ended(orders, status, time.monotonic() - began)

    def ended(self, orders: Orders, status: int, seconds: float) -> Run:
        """Note a run that has ended."""
        trace = tuple(json.loads(line) for line in _text(orders.trace).splitlines())
        run = Run(
            number=len(self.runs),
            kill=orders.kill,
            status=status,
            seconds=seconds,
            trace=trace,
            output=_text(orders.output),
            errors=_text(orders.output + ".errors"),
            open=tuple(self._open_slots()),
            rows=self.states(),
        )
        self.runs.append(run)
        self.wire.run = len(self.runs)
        return run

    def states(self) -> dict[IntentState, int]:
        """How many rows are in each state."""
        with read(self.engine) as tx:
            query = select(intents.c.state, func.count()).where(intents.c.kind == Kind.MINT_CARD)
            return {row[0]: row[1] for row in tx.execute(query.group_by(intents.c.state))}

    def slot_count(self) -> int:
        """How many nonces of the minter have been reserved so far."""
        with read(self.engine) as tx:
            query = select(func.count()).select_from(slots).join(signers).where(signers.c.address == self.minter)
            return int(tx.execute(query).scalar_one())

    def lease_owner(self) -> str | None:
        with read(self.engine) as tx:
            owner: str | None = tx.execute(
                select(signers.c.lease_owner).where(signers.c.address == self.minter)
            ).scalar_one()
            return owner

    def _open_slots(self) -> Iterable[OpenSlot]:
        query = (
            select(slots.c.nonce, slots.c.state, attempts.c.tx_hash)
            .join(signers, slots.c.signer == signers.c.id)
            .outerjoin(attempts, attempts.c.slot == slots.c.id)
            .where(signers.c.address == self.minter, slots.c.state.in_(list(OPEN_SLOT_STATES)))
            .order_by(slots.c.nonce)
        )
        with read(self.engine) as tx:
            found = tx.execute(query).all()
        where = self.chain.whereabouts(row.tx_hash for row in found if row.tx_hash is not None)
        return [OpenSlot(row.nonce, row.state, where.get(row.tx_hash, "no bytes")) for row in found]

    # -------------------------------------------------------------------------------------------------------- playing

    def play(self, kills: Sequence[Kill]) -> Result:
        """Run, be killed and run again through the whole plan, then to the end, then judge."""
        complaints: list[str] = []
        for kill in kills:
            if kill.reserves < 0:
                kill = replace(kill, reserves=-(-self.states().get(IntentState.RECEIVED, 0) // self.batch))
            run = self.mint(kill)
            if not run.killed:
                complaints.append(f"run {run.number + 1} should have died at {kill.step!r} and {_how(run)}")
            elif not run.rows.get(IntentState.RECEIVED, 0) + run.rows.get(IntentState.BATCHED, 0):
                complaints.append(f"run {run.number + 1} died after the last receipt had been settled")
        complaints += self.finish()
        return self.judge(complaints)

    def finish(self) -> list[str]:
        """Run without a bomb, then once more when the last block is final. Returns what went wrong."""
        complaints = []
        for _ in range(2):
            run = self.mint()
            if run.status != 0:
                complaints.append(f"run {run.number + 1} had nothing in its way and {_how(run)}")
            self.chain.ask("anvil_mine", hex(FINALITY_BLOCKS + 1))
        report = json.loads(run.output) if run.status == 0 else {}
        if report.get("final") != self.rows:
            complaints.append(f"the last run says {report.get('final')} of {self.rows} are final")
        return complaints

    def judge(self, complaints: Sequence[str] = ()) -> Result:
        """Prove what can be proved about the state of chain and books now."""
        proof = prove(self.chain, self.engine, self.membership, self.minter, self.wallets, self.wire.passed)
        return Result(tuple(self.runs), proof, (*complaints, *proof.complaints))

    # --------------------------------------------------------------------------------------------------------- report

    def nonces(self) -> "Nonces":
        with read(self.engine) as tx:
            of_slot = {row.id: row.nonce for row in tx.execute(select(slots.c.id, slots.c.nonce))}
            query = select(attempts.c.id, attempts.c.tx_hash, slots.c.nonce).join(slots, attempts.c.slot == slots.c.id)
            found = tx.execute(query).all()
        return Nonces(of_slot, {row.id: row.nonce for row in found}, {row.tx_hash: row.nonce for row in found})

    def story(self) -> list[tuple[str, str, str]]:
        """Of each killed run: where it was killed, what was in flight then, and how the next run went on."""
        nonces = self.nonces()
        sent: set[str] = set()
        told = []
        for run, successor in zip(self.runs, [*self.runs[1:], None], strict=True):
            sent |= {each["tx_hash"] for each in run.trace if each["step"] == "handed-in"}
            if run.kill is not None and run.killed:
                told.append(
                    (
                        _step_of(run, nonces),
                        _in_flight(run),
                        _went_on(successor, sent, nonces) if successor is not None else "",
                    )
                )
        return told


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""


def _how(run: Run) -> str:
    words = " ".join(run.errors.split())[-600:]
    return f"ended with status {run.status} after {run.reserves} reservations: {words}"


def _step_of(run: Run, nonces: Nonces) -> str:
    """The step at which a run died, and the nonce it had in hand."""
    assert run.kill is not None
    last = run.trace[-1]
    nonce = nonces.of(last)
    about = f" (nonce {nonce})" if nonce is not None else ""
    rescuing = ", while mending the run before" if last["reserves"] == 0 else ""
    return f"{run.kill.step}: {STEP[run.kill.step].says}{about}{rescuing}"


def _in_flight(run: Run) -> str:
    """The open slots by state and whereabouts, newest first, and how many rows had no slot yet."""
    groups: dict[str, list[int]] = {}
    for slot in reversed(run.open):
        where = "" if slot.state in (SlotState.RESERVED, SlotState.INCLUDED) else f", {slot.where}"
        groups.setdefault(f"{slot.state}{where}", []).append(slot.nonce)
    waiting = run.rows.get(IntentState.RECEIVED, 0)
    parts = [f"{_spans(nonces)} {what}" for what, nonces in groups.items()]
    return "; ".join([*parts, f"{waiting:,} rows waiting"])


def _went_on(run: Run, sent: set[str], nonces: Nonces) -> str:
    """What the next run did before it took up anything new."""
    did: dict[str, list[int]] = {}
    new = None
    for each in run.trace:
        if each["step"] == "gathered":
            new = next((later["nonce"] for later in run.trace if later["step"] == "reserved"), None)
            break
        nonce = nonces.of(each)
        if nonce is None:
            continue
        if each["step"] == "stored":
            did.setdefault("signed", []).append(nonce)
        elif each["step"] == "handed-in":
            again = "sent the same bytes again for" if each["tx_hash"] in sent else "sent for the first time"
            did.setdefault(again, []).append(nonce)
        elif each["step"] in ("settled", "finalised"):
            did.setdefault(each["step"], []).append(nonce)
    parts = [f"{what} {_spans(nonces)}" for what, nonces in did.items()] or ["found nothing to mend"]
    if new is not None:
        parts.append(f"then reserved {new}")
    elif run.killed:
        parts.append("then was killed too")
    return ", ".join(parts)


def _spans(numbers: Iterable[int]) -> str:
    """3, 4, 5, 9 -> 3-5, 9."""
    spans: list[list[int]] = []
    for number in sorted(set(numbers)):
        if spans and number == spans[-1][1] + 1:
            spans[-1][1] = number
        else:
            spans.append([number, number])
    return ", ".join(f"{first}-{last}" if last > first else str(first) for first, last in spans)


# ------------------------------------------------------------------------------------------------------------- program


@contextmanager
def running_anvil() -> Iterator[str]:
    """An anvil on a port of its own choice; its URL."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [tool("anvil"), "--host", "127.0.0.1", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and process.poll() is None:
                output.seek(0)
                found = re.search(rb"Listening on ([\d.]+:\d+)", output.read())
                if found:
                    yield f"http://{found[1].decode()}"
                    return
                time.sleep(0.05)
            raise RigFailure("anvil did not start")
        finally:
            process.kill()
            process.wait(timeout=10)


def show(rig: Rig, result: Result, seconds: float, out: Console) -> None:
    """Print each kill, how it went on, and the proof."""
    story = rig.story()
    table = Table("#", "killed", "in flight at its death (by nonce)", "how the next run went on", show_lines=True)
    for number, told in enumerate(story, 1):
        table.add_row(str(number), *told)
    if story:
        out.print(table)
    kills = [run for run in result.runs if run.kill is not None and run.killed]
    unsent = sum(run.kill is not None and STEP[run.kill.step].unsent for run in kills)
    proof = result.proof
    again = Counter(each.raw for each in rig.wire.passed)
    out.print(
        f"{len(result.runs)} runs of the same file, {len(kills)} killed with SIGKILL, {unsent} of them between storing "
        f"and sending, {seconds:.0f} s."
    )
    out.print(
        f"From the chain's logs: {proof.members:,} members of {rig.rows:,} in the file, {proof.duplicates} duplicates, "
        f"{proof.missing} missing, {proof.strangers} strangers, {proof.skipped} items skipped."
    )
    out.print(
        f"From its blocks: {proof.transactions} transactions of the signer, nonce {proof.chain_nonce}, "
        f"{proof.attempts} attempts stored; on the wire {len(rig.wire.passed)} sendings of {len(again)} bytes."
    )
    for complaint in result.complaints:
        out.print(f"[bold red]Broken:[/] {complaint}", markup=True)
    out.print("Proven." if not result.complaints else "NOT proven.")


def main(arguments: Sequence[str] | None = None) -> int:
    """Returns the exit status: 0 proven, 1 not."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults.airdrop", description=__doc__.split("\n\n")[0])
    parser.add_argument("--rows", type=int, default=10_000, help="members in the file")
    parser.add_argument("--batch", type=int, default=100, help="rows in a transaction")
    parser.add_argument("--window", type=int, default=4, help="transactions in flight at most")
    parser.add_argument("--block-time", type=float, default=0.3, help="seconds between blocks; 0 = mine at once")
    parser.add_argument("--seed", type=int, default=1, help="of the members and the plan of kills")
    parser.add_argument("--no-kills", action="store_true", help="only mint and prove: for comparing the time")
    parser.add_argument("--database-url", help="an empty database; without it a new SQLite file")
    chosen = parser.parse_args(arguments)
    out = Console(width=180, soft_wrap=False, highlight=False)
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nftl-airdrop-")))
        node_url = stack.enter_context(running_anvil())
        rig = stack.enter_context(
            Rig(
                folder,
                node_url,
                chosen.database_url or f"sqlite:///{folder / 'airdrop.db'}",
                rows=chosen.rows,
                batch=chosen.batch,
                window=chosen.window,
                block_seconds=chosen.block_time,
                seed=chosen.seed,
            )
        )
        began = time.monotonic()
        kills = [] if chosen.no_kills else plan_kills(-(-chosen.rows // chosen.batch), chosen.window, chosen.seed)
        result = rig.play(kills)
        show(rig, result, time.monotonic() - began, out)
    return 1 if result.complaints else 0


if __name__ == "__main__":
    sys.exit(main())
