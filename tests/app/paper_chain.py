"""A chain on paper behind a real node's address: its history can be changed, and its answers can be wrong.

Every block that was ever served is remembered with what the contracts' words are as of it.
"""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from eth_bloom.bloom import BloomFilter

from tests.chain.liar import Exchange, Liar
from tests.chain.paper_logs import event_of, log_item, topic
from tests.domain.paper import Paper, Told, act, membership_contract, season_contract, wallet

CHAIN_ID = 31_337
START = 1_700_000_000
REFUSED = {"code": -32005, "message": "range too large"}


@dataclass(frozen=True)
class PaperBlock:
    """`told` are the facts of each program; `papers` the programs' contracts as of this block."""

    number: int
    hash: str
    parent: str
    timestamp: int
    told: tuple[tuple[int, Told], ...]
    papers: dict[int, Paper]

    def items(self) -> list[dict[str, Any]]:
        """All logs, with one in between that tells nothing of a holding."""
        found: list[dict[str, Any]] = []
        for program, fact in self.told:
            contract = fact[0]
            address = membership_contract(program) if contract == 0 else season_contract(program, contract - 1)
            topics, data = event_of(fact)
            for those, these in ((topics, data), ([topic("Locked")], bytes(32))):
                tx_hash = bytes.fromhex(self.hash[2:])
                index = len(found)
                found.append(
                    log_item(
                        address, those, these, block=self.number, block_hash=self.hash, index=index, tx_hash=tx_hash
                    )
                )
        return found

    def header(self) -> dict[str, Any]:
        bloom = BloomFilter()
        for item in self.items():
            bloom.extend([bytes.fromhex(each[2:]) for each in (item["address"], *item["topics"])])
        return {
            "number": hex(self.number),
            "hash": self.hash,
            "parentHash": self.parent,
            "timestamp": hex(self.timestamp),
            "logsBloom": f"0x{int(bloom):0512x}",
        }


@dataclass
class Lies:
    """How a node misbehaves. Each message it answers is answered by one view of the chain."""

    lag: int = 0
    stale: bool = False
    hang_up: float = 0.0
    refuse: float = 0.0
    # Which logs are left out of eth_getLogs: (block hash, log index).
    omit: set[tuple[str, int]] = field(default_factory=set)
    # Leave each of them out only the first time.
    once: bool = False


class PaperChain(Liar):
    """For `with`. `head` is the newest block; programs are opened by `open`."""

    def __init__(self, random: Random) -> None:
        super().__init__()
        self.random = random
        self.lies = Lies()
        self.opened_at: dict[int, int] = {}
        self.known: dict[str, PaperBlock] = {}
        self.finality: int | None = None
        self.receipts = True
        self._count = 0
        self.chain = [self._block(0, "0x" + "00" * 32, {}, ())]
        self.before: list[PaperBlock] = list(self.chain)
        self.answer = self._answer

    @property
    def head(self) -> PaperBlock:
        return self.chain[-1]

    @property
    def genesis(self) -> str:
        return self.chain[0].hash

    # --------------------------------------------------------------------------------------------------------- history

    def open(self, program: int) -> None:
        """A block in which a program is opened."""
        paper = Paper(program)
        told = tuple((program, each) for each in paper.link())
        self.opened_at[program] = self.head.number + 1
        self.chain.append(self._block(self.head.number + 1, self.head.hash, self.head.papers | {program: paper}, told))

    def grow(self, blocks: int = 1, acts: int = 3) -> None:
        """Blocks with up to so many acts in each program."""
        for _ in range(blocks):
            papers = {program: paper.copy() for program, paper in self.head.papers.items()}
            told: list[tuple[int, Told]] = []
            number = self.head.number + 1
            for program, paper in papers.items():
                for _ in range(self.random.randint(0, acts)):
                    told += [(program, each) for each in act(paper, self.random, START + number)]
            self.chain.append(self._block(number, self.head.hash, papers, tuple(told)))

    def tell(self, *told: Told, program: int = 1, paper: Paper | None = None) -> None:
        """A block with these facts of one program."""
        papers = self.head.papers | ({program: paper} if paper else {})
        block = self._block(self.head.number + 1, self.head.hash, papers, tuple((program, each) for each in told))
        self.chain.append(block)

    def reorg(self, depth: int, blocks: int, acts: int = 3) -> None:
        """Other blocks in the place of the newest `depth`."""
        self.before = list(self.chain)
        del self.chain[len(self.chain) - depth :]
        self.grow(blocks, acts)

    def _block(
        self, number: int, parent: str, papers: dict[int, Paper], told: tuple[tuple[int, Told], ...]
    ) -> PaperBlock:
        self._count += 1
        made = PaperBlock(number, f"0x{self._count:064x}", parent, START + number, told, papers)
        self.known[made.hash] = made
        return made

    # --------------------------------------------------------------------------------------------------------- answers

    def _answer(self, exchange: Exchange, message: Any) -> None:
        if self.random.random() < self.lies.hang_up:
            exchange.hang_up()
            return
        view = self.before if self.lies.stale and self.random.random() < 0.4 else self.chain
        if self.lies.lag:
            view = view[: max(1, len(view) - self.random.randint(0, self.lies.lag))]
        items = message if isinstance(message, list) else [message]
        answers = [{"jsonrpc": "2.0", "id": item["id"], **self._one(view, item)} for item in items]
        exchange.send_json(answers if isinstance(message, list) else answers[0])

    def _one(self, view: list[PaperBlock], item: Any) -> dict[str, Any]:
        method, params = item["method"], item["params"]
        if method == "eth_getBlockByNumber":
            return {"result": self._by_number(view, params[0])}
        if method == "eth_getCode":
            number = int(params[1], 16)
            opened = {membership_contract(program).hex(): at for program, at in self.opened_at.items()}
            return {"result": "0x60" if number >= opened[params[0][2:].lower()] else "0x"}
        if method == "eth_getBlockReceipts":
            found = [block for block in view if block.hash == params[0]]
            if not self.receipts:
                return {"error": {"code": -32601, "message": "no such method"}}
            return {"result": [{"logs": found[0].items()}]} if found else {"error": REFUSED}
        assert method == "eth_getLogs", method
        if self.random.random() < self.lies.refuse:
            return {"error": REFUSED}
        return self._logs(view, params[0])

    def _by_number(self, view: list[PaperBlock], tag: str) -> dict[str, Any] | None:
        if tag == "finalized" and self.finality is None:
            return None
        last = len(view) - 1
        number = {"latest": last, "finalized": max(0, last - (self.finality or 0))}.get(tag)
        number = int(tag, 16) if number is None else number
        return view[number].header() if number <= last else None

    def _logs(self, view: list[PaperBlock], query: dict[str, Any]) -> dict[str, Any]:
        if "blockHash" in query:
            blocks = [block for block in view if block.hash == query["blockHash"]]
            if not blocks:
                return {"error": REFUSED}
        else:
            blocks = view[int(query["fromBlock"], 16) : int(query["toBlock"], 16) + 1]
        found = []
        for item in (item for block in blocks for item in block.items()):
            if item["address"] not in query["address"] or item["topics"][0] not in query["topics"][0]:
                continue
            place = (item["blockHash"], int(item["logIndex"], 16))
            if place in self.lies.omit and "blockHash" not in query:
                if self.lies.once:
                    self.lies.omit.discard(place)
                continue
            found.append(item)
        return {"result": found}


def wallets(count: int = 6) -> list[bytes]:
    return [wallet(number) for number in range(1, count + 1)]
