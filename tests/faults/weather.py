"""What the chain does meanwhile: a block now and then, and the trouble that real chains make, on anvil."""

import math
import random
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from tests.faults.proof import Chain

COIN = 10**18
PURSE_WEI = 1_000 * COIN
GWEI = 10**9
DEAREST_GWEI = 60


class Weather:
    """For `with`: makes a block every `seconds`; transactions wait in the pool meanwhile, as on a real chain.

    While it is `rough`, trouble is drawn from the seed at each block: a share of `roughness` of them has some.
    `finality` is the depth of the deepest reorg. Nothing below block `floor` is ever undone.
    """

    def __init__(
        self,
        chain: Chain,
        signer: str,
        seconds: float,
        *,
        seed: int = 1,
        finality: int,
        roughness: float = 0.0,
        note: Callable[[str, str], None] = lambda what, detail: None,
    ) -> None:
        self.counts: Counter[str] = Counter()
        self.undone = 0
        self.rough = False
        self.floor = 0
        self.mined_at: list[float] = []
        self._chain = chain
        self._signer = signer
        self._seconds = seconds
        self._draw = random.Random(seed)  # noqa: S311 a plan, no secret
        self._finality = finality
        self._roughness = roughness
        self._note = note
        self._until: dict[str, float] = {}
        self._owed = False
        self._ended = threading.Event()
        self._turn = threading.Lock()
        self.failure: Exception | None = None
        self._thread = threading.Thread(target=self._go_on, daemon=True)
        self._troubles: dict[str, tuple[float, Callable[[], str]]] = {
            "reorg": (6, self._reorg),
            "dropped from the pool": (3, self._drop),
            "base fee spike": (1, self._spike),
            "mining paused": (0.7, self._pause),
            "signer drained": (0.5, self._drain),
        }

    def make(self, trouble: str) -> None:
        """This trouble now."""
        with self._turn:
            self._make(trouble)

    def reorg(self, depth: int) -> None:
        """Replace the newest blocks by as many empty ones; what was in them is in no pool any more."""
        with self._turn:
            self._count("reorg", self._undo(depth))

    @contextmanager
    def held(self) -> Iterator[None]:
        """No block inside the block but those that are asked for."""
        with self._turn:
            self._until["mining paused"] = math.inf
        try:
            yield
        finally:
            with self._turn:
                # Gone already where the weather was cleared up meanwhile.
                self._until.pop("mining paused", None)

    @property
    def holding(self) -> bool:
        """Whether no block is made but those that are asked for."""
        return self._until.get("mining paused") == math.inf

    def mine(self, blocks: int = 1) -> None:
        """So many blocks now."""
        with self._turn:
            for _ in range(blocks):
                self._mine()

    def clear_up(self) -> None:
        """No trouble any more, and what is left of the last is over."""
        with self._turn:
            self.rough = False
            self._until.clear()
            self._fill_purse()

    def blocks_between(self, since: float, until: float) -> int:
        """How many blocks were made in a span of the machine's steady clock."""
        return sum(since <= moment <= until for moment in self.mined_at)

    def _go_on(self) -> None:
        try:
            while not self._ended.wait(self._seconds):
                with self._turn:
                    self._tick()
        except Exception as failure:
            self.failure = failure

    def _tick(self) -> None:
        # Trouble first: after a block there is nothing in the pool that could be lost.
        if self.rough and self._owed:
            self._make("dropped from the pool")
        if self.rough and self._draw.random() < self._roughness:
            names = list(self._troubles)
            weights = [self._troubles[name][0] for name in names]
            self._make(self._draw.choices(names, weights)[0])
        now = time.monotonic()
        if now >= self._until.get("mining paused", 0):
            self._mine()
        if self.rough or self._until:
            self._until = {trouble: end for trouble, end in self._until.items() if now < end}
            if "signer drained" not in self._until:
                # A reorg may also bring back the balance of a block that was made meanwhile.
                self._fill_purse()

    def _make(self, trouble: str) -> None:
        self._count(trouble, self._troubles[trouble][1]())

    def _count(self, trouble: str, detail: str) -> None:
        if detail:
            self.counts[trouble] += 1
            self._note(trouble, detail)

    def _mine(self) -> None:
        self._chain.ask("evm_mine")
        self.mined_at.append(time.monotonic())

    def _fill_purse(self) -> None:
        if int(self._chain.ask("eth_getBalance", self._signer, "latest"), 16) < PURSE_WEI // 2:
            self._chain.ask("anvil_setBalance", self._signer, hex(PURSE_WEI))

    # ---------------------------------------------------------------------------------------------------------- trouble

    def _reorg(self) -> str:
        depth = min(self._draw.randint(1, self._finality), self._chain.head() - self.floor)
        return self._undo(depth) if depth > 0 else ""

    def _undo(self, depth: int) -> str:
        head = self._chain.head()
        blocks = self._chain.ask_all([("eth_getBlockByNumber", (hex(head - each), False)) for each in range(depth)])
        ours = sum(len(block["transactions"]) for block in blocks)
        self._chain.ask("anvil_reorg", depth, [])
        self.undone += ours
        self.counts[f"reorg of depth {depth if depth <= self._finality else 'more than finality'}"] += 1
        return f"{depth} blocks, {ours} transactions"

    def _pooled(self) -> list[dict[str, Any]]:
        content = self._chain.ask("txpool_content")
        found = [each for part in content.values() for address, of in part.items() for each in of.values()]
        return [each for each in found if each["from"].lower() == self._signer.lower()]

    def _drop(self) -> str:
        pooled = [each["hash"] for each in self._pooled()]
        # Where nothing waits, what comes next is lost.
        self._owed = not pooled
        chosen = self._draw.sample(pooled, self._draw.randint(1, len(pooled))) if pooled else []
        for tx_hash in chosen:
            self._chain.ask("anvil_dropTransaction", tx_hash)
        return f"{len(chosen)} of {len(pooled)}" if chosen else ""

    def _spike(self) -> str:
        newest = self._chain.ask("eth_getBlockByNumber", "latest", False)
        # What a sender offers now, and what waits has offered before.
        offers = [
            2 * int(newest["baseFeePerGas"], 16) + GWEI,
            *(int(each["maxFeePerGas"], 16) for each in self._pooled()),
        ]
        offered = max(offers)
        asked = min(offered * self._draw.randint(2, 4), DEAREST_GWEI * GWEI)
        self._chain.ask("anvil_setNextBlockBaseFeePerGas", hex(asked))
        self._mine()
        return f"{asked} wei a gas, {offered} were offered"

    def _pause(self) -> str:
        self._until["mining paused"] = time.monotonic() + (seconds := self._draw.uniform(0.5, 2))
        return f"{seconds:.1f} s"

    def _drain(self) -> str:
        self._chain.ask("anvil_setBalance", self._signer, "0x0")
        self._until["signer drained"] = time.monotonic() + (seconds := self._draw.uniform(0.3, 1))
        return f"{seconds:.1f} s"

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
