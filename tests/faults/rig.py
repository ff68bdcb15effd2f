"""One program on one chain with one database, lists of members to mint to, and the means to strike at the runs.

Each run is a command of `nftloyalty` as an operator would type it, in a process of its own. What it leaves behind is
looked at after each; at the end everything is proved from the chain's own logs and blocks, and from all that passed the
wire (proof.py).
"""

import json
import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from sqlalchemy import func, select

from nftloyalty.domain.intent import OPEN_SLOT_STATES, IntentState, Kind, SlotState
from nftloyalty.store.engine import open_engine, read
from nftloyalty.store.tables import attempts, holdings, intents, signers, slots
from nftloyalty.vault.keystore import Keystore
from tests.faults.proof import Chain, Final, Proof, check_finals, finals, prove
from tests.faults.rigged import Deed, Orders, Strike
from tests.faults.stable import RUN_SECONDS, RigFailure, Stable
from tests.faults.weather import PURSE_WEI, Weather
from tests.faults.wire import OnTheWire, Wire

PASSWORD = "opens only what the rig made"
USUAL_FINALITY = 2

# Statuses of a run that the trouble around it may have ended: done; something stood in the way; killed.
MAY_END = frozenset({0, 3, -9})

PROGRAM = """\
[program]
id = "airdrop"
brand = "Airdrop"
name = "Airdrop Club"
symbol = "DROP"

[chain]
finality_blocks = {finality}

[powers]
opener = "owner"
owner = "owner"
minters = ["hot", "owner"]
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

# A list runs in seconds what takes minutes on a chain that is paid for: its waits are shortened alike.
SHORT_TEMPO: Mapping[str, float] = {
    "lease": 3,
    "resend": 1.2,
    "foreign": 8,
    "behind": 8,
    "retry": 0.05,
    "trouble": 0.1,
}

# A worker goes on for ever: after so long it is ended though something is left to do.
WORKER_SECONDS = 45.0
# One that was asked to end and does not is a fault; one that waits for a node that hangs needs a while.
STOP_SECONDS = 30.0


@dataclass(frozen=True)
class Going:
    """A run that has been started."""

    number: int
    orders: Orders
    pid: int
    stable: Stable
    began: float

    @property
    def over(self) -> bool:
        """Whether it has ended."""
        return self.stable.over

    @property
    def errors(self) -> str:
        """What it has told its operator so far."""
        return _text(self.orders.output + ".errors")

    def steps(self) -> list[Mapping[str, Any]]:
        """What it has written to its trace so far."""
        return [json.loads(line) for line in _text(self.orders.trace).splitlines()]


@dataclass(frozen=True)
class Run:
    """One run that has ended. `open` slots by state and `rows` are what it left behind."""

    number: int
    command: str
    strike: Strike | None
    status: int
    seconds: float
    trace: tuple[Mapping[str, Any], ...]
    output: str
    errors: str
    open: Mapping[SlotState, int]
    rows: Mapping[IntentState, int]

    @property
    def struck(self) -> bool:
        """Whether the strike came about."""
        return any(each["struck"] for each in self.trace)

    @property
    def killed(self) -> bool:
        return self.status == -9

    @property
    def reserves(self) -> int:
        """Slots that it made."""
        return max((each["reserves"] for each in self.trace), default=0)

    @property
    def left_out(self) -> Sequence[Mapping[str, Any]]:
        """The rows that a mint has left out, each with its reason."""
        found: Sequence[Mapping[str, Any]] = json.loads(self.output)["rejected"] if self.output.startswith("{") else ()
        return found

    @property
    def taken_back(self) -> Sequence[Mapping[str, Any]]:
        """What `signers cancel` has told of each nonce."""
        found: Sequence[Mapping[str, Any]] = json.loads(self.output) if self.output.startswith("[") else ()
        return found

    @property
    def only_cancelled(self) -> bool:
        """Whether it is a mint that ended with status 1 for nothing but rows that an operator has cancelled."""
        return self.status == 1 and bool(self.left_out) and {each["reason"] for each in self.left_out} == {"cancelled"}

    @property
    def said(self) -> str:
        """The last of what it said to its operator."""
        return " ".join(self.errors.split())[-600:]

    def __str__(self) -> str:
        return (
            f"run {self.number} ({self.command}) ended with status {self.status} after {self.reserves} reservations: "
            f"{self.said}"
        )


@dataclass(frozen=True)
class Result:
    """`complaints` empty = the promise was kept in every respect that the rig can see."""

    runs: tuple[Run, ...]
    proof: Proof
    complaints: tuple[str, ...]


class Rig:
    """For `with`: an open program on the anvil at `node_url`, `rows` members to mint to, and the means to strike.

    `folder` must exist, `database_url` an empty database, and the anvil a fresh one that mines at once. `batch` is
    how many rows go into a transaction, `window` how many transactions are in flight at most, `finality` how many
    blocks are undone at most. Once the program is open a block is made every `block_seconds`; 0 = one for each
    transaction at once. `tempo` as in Orders. A `stable` may serve several rigs.
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
        finality: int = USUAL_FINALITY,
        block_seconds: float = 0.3,
        roughness: float = 0.0,
        seed: int = 1,
        broken: str | None = None,
        tempo: Mapping[str, float] | None = None,
        stable: Stable | None = None,
    ) -> None:
        self.folder = folder
        self.batch = batch
        self.window = window
        self.finality = finality
        self.seed = seed
        self.broken = broken
        self.block_seconds = block_seconds
        self.roughness = roughness
        self.tempo = dict(tempo or {})
        self.database_url = database_url
        # What the runs are given as their database, where that is not the database itself (cutting.py).
        self.way_to_database: str | None = None
        self.ceiling_gwei: int | None = None
        self.wallets: list[str] = []
        self.members = folder / "members-0.csv"
        self.everybody = folder / "everybody.csv"
        self.runs: list[Run] = []
        self.commands: dict[int, str] = {}
        self.complaints: list[str] = []
        self.resumed = 0
        self.membership = ""
        self.minter = ""
        self.owner = ""
        self._first_rows = rows
        self._node_url = node_url
        self._stable = stable
        self._stack = ExitStack()
        self._started = 0
        self.left_out: set[str] = set()
        self.endings = {SlotState.FINAL}
        self._final: dict[str, Final] = {}

    def __enter__(self) -> Self:
        with ExitStack() as stack:
            self.chain = Chain(self._node_url)
            stack.callback(self.chain.close)
            self.engine = open_engine(self.database_url)
            stack.callback(lambda: self.engine.dispose())
            self.wire = stack.enter_context(Wire(self._node_url, self._judge, self.folder / "wire.log"))
            self.stable = self._stable if self._stable is not None else stack.enter_context(Stable())
            self._make_keys()
            beside = Chain(self._node_url)
            stack.callback(beside.close)
            self.weather = Weather(
                beside,
                self.minter,
                self.block_seconds,
                seed=self.seed,
                finality=self.finality,
                roughness=self.roughness,
                note=lambda what, detail: self.wire.write(weather=what, detail=detail),
            )
            self._open_program()
            if self.block_seconds:
                stack.enter_context(self.weather)
            self._stack = stack.pop_all()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stack.__exit__(kind, error, trace)

    def _make_keys(self) -> None:
        keystore = Keystore(self.folder / "home" / "keys", work=1 << 12)
        self.owner, self.minter = (keystore.create(name, PASSWORD) for name in ("owner", "hot"))
        for address in (self.owner, self.minter):
            self.chain.ask("anvil_setBalance", address, hex(PURSE_WEI))

    def _open_program(self) -> None:
        self.add_list(self._first_rows)
        (self.folder / "program.toml").write_text(PROGRAM.format(finality=self.finality), encoding="utf-8")
        broken, self.broken = self.broken, None
        run = self.run("deploy", "--json")
        if run.status != 0:
            raise RigFailure(f"the program could not be opened: {run}")
        self.broken = broken
        self.membership = json.loads(run.output)["membership"]
        # What went by until now was the opener's. It stays whatever the weather.
        self.wire.passed.clear()
        self.runs.clear()
        self.weather.floor = self.chain.head()

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

    # --------------------------------------------------------------------------------------------------------- members

    @property
    def rows(self) -> int:
        return len(self.wallets)

    def add_list(self, rows: int) -> None:
        """Make `rows` further members the ones to mint to. `everybody` has those of all lists."""
        first = len(self.wallets)
        self.members = self.folder / f"members-{first}.csv"
        self.wallets += [
            to_checksum_address(keccak(text=f"member {self.seed}/{number}")[-20:])
            for number in range(first, first + rows)
        ]
        self._write(self.members, range(first, first + rows))
        self._write(self.everybody, range(first + rows))

    def leave_out(self, wallets: Collection[str]) -> None:
        """Somebody else has minted to these: they are in nobody's list any more."""
        self.left_out.update(wallets)
        self._write(self.everybody, range(len(self.wallets)))

    def _write(self, path: Path, numbers: range) -> None:
        lines = ["address,tier,expiry"]
        for number in numbers:
            if self.wallets[number] in self.left_out:
                continue
            tier = "gold" if number % 7 == 0 else "member"
            lines.append(f"{self.wallets[number]},{tier},{'2099-12-31' if number % 3 else ''}")
        path.write_text("\n".join(lines) + "\n", encoding="utf-8")

    # ------------------------------------------------------------------------------------------------------------ runs

    def orders(self, *arguments: str, strike: Strike | None = None) -> Orders:
        """Orders for the next run: a command as an operator would type it."""
        number = self._started
        self._started += 1
        self.commands[number] = command_of(arguments)
        return Orders(
            arguments=("--program", str(self.folder / "program.toml"), *arguments),
            environment={
                "PATH": os.environ.get("PATH", ""),
                "HOME": str(self.folder),
                "NFTLOYALTY_HOME": str(self.folder / "home"),
                "NFTLOYALTY_RPC_URL": self.wire.url_of(number),
                "NFTLOYALTY_RPC_TIMEOUT": "1" if self.tempo else "30",
                "NFTLOYALTY_KEY_PASSWORD": PASSWORD,
                "NFTLOYALTY_WINDOW": str(self.window),
                **({"NFTLOYALTY_MAX_FEE_GWEI": str(self.ceiling_gwei)} if self.ceiling_gwei is not None else {}),
                "DATABASE_URL": self.way_to_database or self.database_url,
            },
            output=str(self.folder / f"run-{number}.out"),
            trace=self.trace_of(number),
            batch=self.batch,
            strike=strike,
            broken=self.broken,
            tempo=self.tempo,
        )

    def trace_of(self, run: int) -> str:
        return str(self.folder / f"run-{run}.trace")

    def go(self, orders: Orders, stable: Stable | None = None) -> Going:
        """Start a run and don't wait for it. Two at once need two stables."""
        chosen = stable or self.stable
        number = int(orders.trace.rpartition("run-")[2].partition(".")[0])
        return Going(number, orders, chosen.start(orders), chosen, time.monotonic())

    def mint_orders(self, strike: Strike | None = None, members: Path | None = None) -> Orders:
        return self.orders("mint", str(members or self.members), "--json", strike=strike)

    def worker_orders(self, strike: Strike | None = None) -> Orders:
        """A worker for the minter's key alone: the proof is about one key."""
        return self.orders("worker", "--key", "hot", strike=strike)

    def cancel_orders(self, strike: Strike | None = None) -> Orders:
        """Take back all that is under way."""
        return self.orders("signers", "cancel", "hot", "--all", "--json", strike=strike)

    def run(self, *arguments: str, strike: Strike | None = None) -> Run:
        return self.ended(self.go(self.orders(*arguments, strike=strike)))

    def mint(self, strike: Strike | None = None, members: Path | None = None) -> Run:
        """Run `nftloyalty mint`, with the newest list by default, until it ends or is struck down, and look at what it
        left behind."""
        return self.ended(self.go(self.mint_orders(strike, members)))

    def cancel(self, strike: Strike | None = None) -> Run:
        return self.ended(self.go(self.cancel_orders(strike)))

    def work(self, strike: Strike | None = None) -> Run:
        """Run `nftloyalty worker` until it is struck down, all is done, or its signer is halted."""
        return self.watch(self.go(self.worker_orders(strike)))

    def watch(self, going: Going) -> Run:
        """Wait for a run to end; a worker without anything left to do, or too much in its way, is ended."""
        if self.commands[going.number] != "worker":
            return self.ended(going)
        deadline = time.monotonic() + WORKER_SECONDS
        while not (going.over or self.idle() or self.halted() is not None) and time.monotonic() < deadline:
            time.sleep(0.05)
        return self.stop(going)

    def stop(self, going: Going) -> Run:
        """End a worker as service managers do, if it has not ended by itself."""
        # Before it says that it is at work, it has not learned yet how to end in good order.
        wait_until(lambda: going.over or "Sending with" in going.errors, "a worker at work")
        with suppress(ProcessLookupError):
            if not going.over:
                os.kill(going.pid, signal.SIGTERM)
        run = self.ended(going, STOP_SECONDS)
        kept = f"/{going.pid}/" in (self.lease_owner() or "")
        if run.status == 0 and kept and "is left behind" not in run.errors:
            self.complaints.append(f"a worker that ended in good order has kept its lease: {run}")
        return run

    def ended(self, going: Going, seconds: float = RUN_SECONDS) -> Run:
        """Wait for a run to end, and look at chain and books."""
        status = going.stable.wait(going.pid, seconds)
        run = Run(
            number=going.number,
            command=self.commands[going.number],
            strike=going.orders.strike,
            status=status,
            seconds=time.monotonic() - going.began,
            trace=tuple(going.steps()),
            output=_text(going.orders.output),
            errors=_text(going.orders.output + ".errors"),
            open=self.open_slots(),
            rows=self.states(),
        )
        for name in (going.orders.trace, going.orders.output, going.orders.output + ".errors"):
            Path(name).unlink(missing_ok=True)
        self.runs.append(run)
        self.wire.write(run=run.number, command=run.command, status=status, strike=str(run.strike), said=run.said)
        self.look()
        return run

    def look(self) -> None:
        """Compare what is final now with what was, and with the chain."""
        now = finals(self.engine)
        self.complaints += check_finals(self.chain, self._final, now, self.finality)
        self._final = now
        self._look_at_cancelled()
        if self.block_seconds and self.weather.failure is not None:
            raise RigFailure(f"the weather has ended: {self.weather.failure}") from self.weather.failure

    def _look_at_cancelled(self) -> None:
        """A row is cancelled for good only when nothing that was ever signed for it can be mined any more."""
        before = self._cancelled()
        minted = self.chain.minted_to(self.membership, sorted(before)) if before else set()
        # Another process may have asked for them again meanwhile.
        if wrong := minted & before & (self._cancelled() if minted else before):
            self.complaints.append(f"{len(wrong)} rows are cancelled and have a card, {min(wrong)} first")

    def resume(self, name: str = "hot") -> Run:
        """What an operator does about a halted signer (docs/operating.md), as soon as it can be done."""
        deadline = time.monotonic() + 60
        while True:
            run = self.run("signers", "resume", name, "--yes")
            if run.status != 3 or time.monotonic() > deadline:
                break
            time.sleep(0.5)
        if run.status != 0:
            self.complaints.append(f"the signer could not be resumed: {run}")
        self.resumed += 1
        return run

    @contextmanager
    def calm(self) -> Iterator[None]:
        """An honest node and fair weather inside the block."""
        faults, rough = self.wire.faults, self.weather.rough
        self.wire.faults = None
        self.weather.clear_up()
        yield
        self.wire.faults, self.weather.rough = faults, rough

    # ----------------------------------------------------------------------------------------------------------- books

    def states(self) -> dict[IntentState, int]:
        """How many rows are in each state."""
        with read(self.engine) as tx:
            query = select(intents.c.state, func.count()).where(intents.c.kind == Kind.MINT_CARD)
            return {row[0]: row[1] for row in tx.execute(query.group_by(intents.c.state))}

    def open_slots(self) -> dict[SlotState, int]:
        """How many of the minter's slots are in each state that is not final."""
        query = (
            select(slots.c.state, func.count())
            .join(signers, slots.c.signer == signers.c.id)
            .where(signers.c.address == self.minter, slots.c.state.in_(list(OPEN_SLOT_STATES)))
            .group_by(slots.c.state)
        )
        with read(self.engine) as tx:
            return {row[0]: row[1] for row in tx.execute(query)}

    def _cancelled(self) -> set[str]:
        query = select(intents.c.recipient).where(
            intents.c.kind == Kind.MINT_CARD, intents.c.state == IntentState.CANCELLED
        )
        with read(self.engine) as tx:
            return {str(wallet) for wallet in tx.execute(query).scalars()}

    def being_cancelled(self) -> int:
        """How many of the minter's slots are not final and an operator wants them taken back."""
        query = select(func.count()).select_from(slots).join(signers)
        asked = slots.c.cancel_asked_at.is_not(None) & slots.c.state.in_(list(OPEN_SLOT_STATES))
        with read(self.engine) as tx:
            return int(tx.execute(query.where(signers.c.address == self.minter, asked)).scalar_one())

    def cancel_ends(self) -> Counter[SlotState]:
        """How the slots ended that an operator wanted taken back."""
        query = select(slots.c.state, func.count()).where(slots.c.cancel_asked_at.is_not(None))
        with read(self.engine) as tx:
            return Counter({row[0]: row[1] for row in tx.execute(query.group_by(slots.c.state))})

    def idle(self) -> bool:
        """Whether nothing is left to do: what is on chain is final, if blocks are made by themselves."""
        states = self.states()
        busy = {IntentState.RECEIVED, IntentState.BATCHED} | ({IntentState.INCLUDED} if self.block_seconds else set())
        return not busy & set(states)

    def halted(self) -> str | None:
        """Why the minter may send nothing more."""
        with read(self.engine) as tx:
            query = select(signers.c.halted).where(signers.c.address == self.minter)
            reason: str | None = tx.execute(query).scalar_one_or_none()
            return reason

    def slot_count(self) -> int:
        """How many nonces of the minter have been reserved so far."""
        with read(self.engine) as tx:
            query = select(func.count()).select_from(slots).join(signers).where(signers.c.address == self.minter)
            return int(tx.execute(query).scalar_one())

    def attempts_beyond_the_first(self) -> int:
        with read(self.engine) as tx:
            return int(tx.execute(select(func.count()).where(attempts.c.seq > 0, ~attempts.c.noop)).scalar_one())

    def lease_owner(self) -> str | None:
        with read(self.engine) as tx:
            owner: str | None = tx.execute(
                select(signers.c.lease_owner).where(signers.c.address == self.minter)
            ).scalar_one()
            return owner

    def use_database(self, url: str) -> None:
        """From now on the books are these: a copy that was put back."""
        self.engine.dispose()
        self.database_url = url
        self.engine = open_engine(url)
        # What is final in the chain is unknown to an older copy until it has caught up.
        self._final = finals(self.engine)

    def sent_by(self, run: int, since: float = 0) -> list[OnTheWire]:
        return [each for each in self.wire.passed if each.run == run and each.at >= since]

    # --------------------------------------------------------------------------------------------------------- proving

    def play(self, strikes: Sequence[Strike]) -> Result:
        """Run, be struck and run again through the whole plan, then to the end, then judge."""
        for strike in strikes:
            if strike.reserves < 0:
                waiting = self.states().get(IntentState.RECEIVED, 0)
                strike = replace(strike, reserves=-(-waiting // self.batch))
            run = self.mint(strike)
            if not run.struck or (strike.deed is Deed.KILL and not run.killed):
                self.complaints.append(f"should have been struck at {strike.step!r}: {run}")
            elif not run.rows.get(IntentState.RECEIVED, 0) + run.rows.get(IntentState.BATCHED, 0):
                self.complaints.append(f"was struck after the last receipt had been settled: {run}")
        self.finish()
        return self.judge()

    def finish(self) -> None:
        """With an honest node and in fair weather, run everybody's list until all is final, within bounds. What was
        cancelled is asked for again."""
        with self.calm():
            if self.being_cancelled():
                self._end_cancelling()
            for last in (False, True):
                left = self.states()
                run = self.run("mint", str(self.everybody), "--json")
                if run.status == 3 and "is halted" in run.errors:
                    self.resume()
                    run = self.run("mint", str(self.everybody), "--json")
                if run.status != 0:
                    self.complaints.append(f"had nothing in its way: {run}")
                self._check_bounds(run, left)
                wanted = self.rows - len(self.left_out)
                if last and run.status == 0 and json.loads(run.output)["final"] != wanted:
                    self.complaints.append(f"not all of {wanted} are final: {run.output}")
                self.weather.mine(self.finality + 1)

    def _end_cancelling(self) -> None:
        """Let what an operator wanted taken back come to its end, one way or the other."""
        left = self.states()
        run = self.run("mint", str(self.everybody), "--json")
        if run.status == 3 and "is halted" in run.errors:
            self.resume()
            run = self.run("mint", str(self.everybody), "--json")
        if run.status != 0 and not run.only_cancelled:
            self.complaints.append(f"had nothing in its way but what was cancelled: {run}")
        self._check_bounds(run, left)

    def _check_bounds(self, run: Run, left: Mapping[IntentState, int]) -> None:
        """With an honest node everything is included in bounded blocks, once the sender has started."""
        if not self.block_seconds or not run.trace:
            return
        todo = (IntentState.RECEIVED, IntentState.BATCHED, IntentState.CANCELLED)
        unsettled = sum(left.get(state, 0) for state in todo)
        unsettled += self.rows - sum(left.values())
        # What waits for its resending, then each window of batches with a block to spare, twice over.
        resend = self.tempo.get("resend", 15) / self.block_seconds
        most = 2 * (resend + 3 * (unsettled / self.batch / self.window + 1) + 10)
        took = self.weather.blocks_between(run.trace[0]["at"], run.trace[-1]["at"])
        if took > most:
            self.complaints.append(f"run {run.number} took {took} blocks for {unsettled} rows; {most:.0f} should do")

    def check_index(self) -> None:
        """The index, brought up to the head by an honest node, must know the cards that the chain's logs tell of."""
        with self.calm():
            run = self.run("index", "catch-up")
            if run.status != 0:
                self.complaints.append(f"the index had nothing in its way: {run}")
        with read(self.engine) as tx:
            known = tx.execute(select(holdings.c.wallet).where(holdings.c.joined_at > 0)).scalars()
            wallets = {to_checksum_address(wallet) for wallet in known}
        there = {each.wallet for each in self.chain.minted(self.membership)}
        if wallets != there:
            self.complaints.append(f"the index knows {len(wallets):,} holders, and the chain has {len(there):,}")

    def judge(self) -> Result:
        """Prove what can be proved about the state of chain and books now."""
        proof = prove(
            self.chain,
            self.engine,
            self.membership,
            self.minter,
            self.wallets,
            self.wire.passed,
            others=self.left_out,
            endings=self.endings,
        )
        return Result(tuple(self.runs), proof, (*self.complaints, *self._check_told(), *proof.complaints))

    def _check_told(self) -> Iterator[str]:
        """What operators were told of the nonces that they wanted taken back must be what the chain has there."""
        told = [each for run in self.runs if run.command == "cancel" for each in run.taken_back]
        there = {each.nonce: each for each in self.chain.transactions_of(self.minter)} if told else {}
        for each in told:
            found = there.get(each["nonce"])
            is_so = found is not None and (found.tx_hash, found.empty) == (each["transaction"], each["withdrawn"])
            if not is_so:
                yield f"the operator was told that {each}, and the chain has {found}"

    # --------------------------------------------------------------------------------------------------------- outside

    def call_as(self, sender: str, signature: str, *words: int) -> str:
        """A call of the membership contract from outside, by any address; the transaction's hash. It waits for a block
        like any other, and goes first."""
        data = "0x" + keccak(text=signature).hex()[:8] + "".join(f"{word:064x}" for word in words)
        self.chain.ask("anvil_impersonateAccount", sender)
        fields = {"from": sender, "to": self.membership, "data": data, "gas": hex(5_000_000)}
        fields |= {"maxFeePerGas": hex(200 * 10**9), "maxPriorityFeePerGas": hex(100 * 10**9)}
        tx_hash: str = self.chain.ask("eth_sendTransaction", fields)
        self.chain.ask("anvil_stopImpersonatingAccount", sender)
        return tx_hash


def command_of(arguments: Sequence[str]) -> str:
    """What stands for a command in the report: `cancel` for `signers cancel`."""
    return arguments[1] if arguments[0] == "signers" else arguments[0]


def wait_until(is_so: Callable[[], bool], what: str, seconds: float = 60) -> None:
    """Raises RigFailure if it does not become so."""
    deadline = time.monotonic() + seconds
    while not is_so():
        if time.monotonic() > deadline:
            raise RigFailure(f"{what}: not within {seconds:g} seconds")
        time.sleep(0.01)


def _text(path: str) -> str:
    try:
        return Path(path).read_text(encoding="utf-8")
    except FileNotFoundError:
        return ""
