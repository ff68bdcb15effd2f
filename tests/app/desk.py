"""An indexer whose node is a chain on paper: what is asked of it, and histories by chance."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from random import Random
from uuid import uuid4

from hypothesis import HealthCheck, Phase, settings

from nftloyalty.app.context import App
from nftloyalty.app.indexing import Indexer, Progress, catch_up
from nftloyalty.app.opening import Attached
from nftloyalty.domain.address import checksummed
from nftloyalty.domain.gate import Holding
from nftloyalty.errors import ChainProblem, NodeRefused, NodeUnreachable
from nftloyalty.store import chains, index, programs
from nftloyalty.store.engine import begin, read
from tests.app.build import Clock, app_of, settings_of
from tests.app.paper_chain import CHAIN_ID, PaperBlock, PaperChain, wallets
from tests.domain.build import NOW
from tests.domain.paper import Paper, membership_contract, season_contract, wallet

FINALITY = 5

Words = tuple[int, int, int, int, int, tuple[int, ...]]


class Desk:
    """An app whose node is a chain on paper, and its indexer. `programs` are rows by the paper's number."""

    def __init__(self, app: App, chain: PaperChain) -> None:
        self.app = app
        self.chain = chain
        with begin(app.engine) as tx:
            row = chains.known_chain(tx, CHAIN_ID, chain.genesis, app.now())
        self.attached = Attached(row, CHAIN_ID, chain.genesis, app.node.head())
        self.programs: dict[int, int] = {}
        self.indexer = Indexer(app, self.attached, finality_blocks=FINALITY)

    def record(self, number: int, opened_block: int | None = None) -> int:
        """The row of a program that is open on the chain."""
        with begin(self.app.engine) as tx:
            row = programs.add_opening(
                tx,
                self.attached.row,
                f"program-{number}",
                opener=text(wallet(1)),
                salt="0x" + "05" * 32,
                name="A club",
                factory=text(wallet(2)),
                membership=text(membership_contract(number)),
                stamps=text(season_contract(number, 0)),
                terms={},
                now=NOW,
            )
            programs.mark_open(tx, row.id, None, opened_block)
        self.programs[number] = row.id
        return row.id

    def open(self, number: int = 1) -> int:
        self.chain.open(number)
        return self.record(number, self.chain.head.number)

    def catch_up(self, finality: int | None = FINALITY) -> Progress:
        return catch_up(self.app, self.attached, finality, patience_seconds=2, sleep=lambda seconds: None)

    def position(self, number: int = 1) -> index.PositionRow:
        with read(self.app.engine) as tx:
            found = index.position(tx, self.programs[number])
        assert found is not None
        return found

    def assert_answers(self) -> None:
        """What is shown now is of some block that the chain once had, as of head and as of final."""
        for number, program in self.programs.items():
            with read(self.app.engine) as tx:
                at = index.position(tx, program)
                if at is None:
                    continue
                for who in wallets():
                    now, final = index.reading(tx, program, who), index.reading_as_of_final(tx, program, who)
                    assert now is not None and final is not None
                    assert words(now.holding) == self.wanted(now.as_of.hash, number, who)
                    assert words(final.holding) == self.wanted(final.as_of.hash, number, who)

    def wanted(self, block_hash: str, number: int, who: bytes) -> Words:
        paper = self.chain.known[block_hash].papers.get(number)
        seasons = len(paper.seasons) if paper else 0
        found = paper.words().get(who) if paper else None
        return found or (0, 0, 0, 0, 0, (0,) * seasons)

    def assert_equals_replay(self) -> None:
        """The index is what a fresh replay of the chain gives, with nothing left of what was undone."""
        self.assert_answers()
        for number, program in self.programs.items():
            assert self.position(number).hash == self.chain.head.hash
            with read(self.app.engine) as tx:
                held = index.everything_held(tx, program)
                facts = index.facts(tx, program, 0, 1 << 40)
                contracts = index.season_contracts(tx, program)
            # The block that opened it may have been undone.
            paper = self.chain.head.papers.get(number, Paper())
            seasons = len(paper.seasons)
            assert {who: words(state.to_holding(seasons)) for who, state in held.items()} == paper.words()
            assert contracts == [season_contract(number, season) for season in range(seasons)]
            told = [(block.number, *each) for block in self.chain.chain for of, each in block.told if of == number]
            assert [(fact.block, fact.contract, fact.kind, fact.wallet, fact.data) for fact in facts] == told

    def rows(self, table: str) -> int:
        with read(self.app.engine) as tx:
            return int(tx.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one())  # noqa: S608 ours


def text(address: bytes) -> str:
    return checksummed(address.hex())


def words(holding: Holding) -> Words:
    card = holding.card
    stamps = tuple(word.to_int() for word in holding.stamps)
    return (card.joined_at, card.expires_at, card.tier, card.serial, int(card.flags), stamps)


OpenDesk = Callable[..., Desk]


@contextmanager
def desks(folder: Path, sqlite_template: Path) -> Iterator[OpenDesk]:
    """Opens any number of them, on SQLite unless a database is named."""
    with ExitStack() as stack:

        def opening(random: Random, database: str = "", clock: Clock | None = None) -> Desk:
            chain = stack.enter_context(PaperChain(random))
            home = folder / uuid4().hex
            if not database:
                home.mkdir()
                shutil.copyfile(sqlite_template, home / "nftloyalty.db")
            app = app_of(settings_of(home, chain.url, database), now=(clock or Clock(NOW)).now)
            stack.callback(app.close)
            return Desk(app, chain)

        yield opening


def spoken(block: PaperBlock) -> set[tuple[str, int]]:
    return {(block.hash, int(item["logIndex"], 16)) for item in block.items()}


def play(desk: Desk, random: Random, *, steps: int) -> Iterator[None]:
    """A history by chance, with a node that misbehaves, and a step of the indexer after each change."""
    chain, highest = desk.chain, desk.chain.head.number
    for _ in range(steps):
        deepest = max(0, min(len(chain.chain) - 1 - len(desk.programs), chain.head.number - highest + FINALITY))
        choice = random.random()
        if choice < 0.3 and deepest:
            depth = random.randint(1, deepest)
            chain.reorg(depth, random.randint(max(0, depth - 1), depth + 2))
        elif choice < 0.6:
            chain.grow(random.randint(1, 3))
        lies = chain.lies
        lies.lag = random.choice([0, 0, 1, 4])
        lies.stale = random.random() < 0.3
        lies.hang_up, lies.refuse = random.choice([(0.0, 0.0), (0.2, 0.2)])
        highest = max(highest, chain.head.number, len(chain.before) - 1 if lies.stale else 0)
        for _ in range(random.randint(1, 3)):
            try:
                report = desk.indexer.step()
                assert report.halted == ()
            except (NodeUnreachable, NodeRefused, ChainProblem):
                pass
            yield


def begin_history(desk_of: OpenDesk, random: Random) -> Desk:
    desk = desk_of(random)
    desk.chain.grow(random.randint(0, 3))
    desk.open(1)
    desk.chain.grow(random.randint(0, 80), acts=1)
    if random.random() < 0.5:
        desk.open(2)
    desk.indexer.window.blocks = random.choice([1, 4, 64])
    return desk


def come_clean(desk: Desk) -> None:
    desk.chain.lies = type(desk.chain.lies)()
    # A chain that grew shorter is waited for.
    while desk.chain.head.number < max(desk.position(number).number for number in desk.programs):
        desk.chain.grow()


# A history can't be made smaller without becoming another one: its seed is all there is to show.
ANY_HISTORY = settings(
    deadline=None, phases=[Phase.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
