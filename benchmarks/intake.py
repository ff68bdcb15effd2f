"""python -m benchmarks.intake: requests taken in a second, beside what the database commits at best, in the same run.

A bare commit is one row in one transaction on one connection, one after the other, with the database's full durability.
Requests come from callers that each wait for their answer before they ask again, with a new Idempotency-Key each; a
batch goes from its JSON to its stored answer. Nobody sends what is taken in. Figures depend on the machine and on what
else it does; the ratios of one run are what counts. Exit status 1 if anything could not be measured; a missed aim is
told, and no failure.
"""

import argparse
import asyncio
import json
import os
import platform
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.checks.ground import database_of, postgresql
from nftloyalty.app.context import App, random_id, system_now
from nftloyalty.app.intake import Intake
from nftloyalty.app.opening import Attached, Opened
from nftloyalty.chain.client import Block, Node
from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.config import from_environment
from nftloyalty.domain.answer import Said, answer_key
from nftloyalty.domain.mint import MOST_ITEMS, Reply
from nftloyalty.domain.program_file import read_program
from nftloyalty.errors import LoyaltyError
from nftloyalty.store import chains, programs
from nftloyalty.store.engine import begin, open_engine, upgrade
from nftloyalty.vault.keystore import Keystore

RESULTS = Path(__file__).parent / "results" / "intake.json"
CALLERS = 64
ROUNDS = 5
SINGLES = 6_000
ALONE = 300
COMMITS = 1_000
BATCHES = 2

LEAST_SINGLES = 1_500
LEAST_SHARE_PERCENT = 35
LEAST_ITEMS = 20_000

_ADDRESS = "0x5B38Da6a701c568545dCfcB03FcB875f56beddC4"
_NOBODY = "http://127.0.0.1:9"
_PROGRAM = f"""
[program]
id = "bench"
brand = "Bench"
name = "Bench Club"
symbol = "BENCH"
[powers]
opener = "owner"
owner = "{_ADDRESS}"
minters = ["{_ADDRESS}"]
signers = ["{_ADDRESS}"]
managers = ["{_ADDRESS}"]
guardians = ["{_ADDRESS}"]
[[tiers]]
id = "member"
name = "Member"
[[tiers]]
id = "gold"
name = "Gold"
"""


@dataclass(frozen=True)
class Round:
    """All a second: bare commits, requests of one caller alone and of many, items of batches. `spent_ms` is what the
    process computed for ten thousand items of a batch."""

    commits: float
    alone: float
    singles: float
    items: float
    spent_ms: float

    @property
    def share_percent(self) -> float:
        """Requests beside bare commits."""
        return 100 * self.singles / self.commits


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description="Requests taken in a second.")
    parser.add_argument("--json", metavar="FILE", type=Path, default=RESULTS, help="write the figures there instead")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured ({ROUNDS})")
    given = parser.parse_args(arguments)
    console, said = Console(highlight=False), Console(stderr=True, highlight=False)
    began = time.monotonic()
    setting = _setting()
    try:
        found = measure(given.rounds, lambda what: said.print(what, style="dim"))
    except (LoyaltyError, psycopg.Error, sqlite3.Error) as problem:
        said.print(f"bench-intake: {problem}", style="red", markup=False)
        return 1
    console.print(table(found))
    console.print(f"{time.monotonic() - began:.0f} seconds")
    given.json.write_text(to_json(found, setting), encoding="utf-8")
    for sentence in missed(found):
        said.print(f"bench-intake: {sentence}", style="yellow", markup=False)
    return 0


def measure(rounds: int, tell: Callable[[str], None]) -> dict[str, Round]:
    """The medians on each database. All are measured in turn: a bad moment of the machine is everybody's."""
    found: dict[str, Round] = {}
    with tempfile.TemporaryDirectory(prefix="nftloyalty-intake-") as name:
        folder = Path(name)
        with _bare_sqlite(folder / "bare.db") as commit:
            found["SQLite"] = _measure(f"sqlite:///{folder / 'loyalty.db'}", commit, rounds, tell)
    with postgresql() as server, _bare_postgresql(server) as commit:
        found["PostgreSQL"] = _measure(database_of(server, "intake"), commit, rounds, tell)
    return found


def _measure(url: str, commit: Callable[[], None], rounds: int, tell: Callable[[str], None]) -> Round:
    app, opened = _books(url)
    try:
        with Intake(app, opened) as taking:
            _batch(taking)
            asyncio.run(_requests(taking, CALLERS, CALLERS))
            done = []
            for number in range(rounds):
                done.append(_round(taking, commit))
                tell(f"{url.partition(':')[0]}: round {number + 1} of {rounds}")
    finally:
        app.close()
    return Round(**{name: statistics.median(asdict(each)[name] for each in done) for name in asdict(done[0])})


def _round(taking: Intake, commit: Callable[[], None]) -> Round:
    commits = _rate(COMMITS, lambda: _times(COMMITS, commit))
    singles = _rate(SINGLES, lambda: asyncio.run(_requests(taking, CALLERS, SINGLES)))
    alone = _rate(ALONE, lambda: asyncio.run(_requests(taking, 1, ALONE)))
    batches = [_batch(taking) for _ in range(BATCHES)]
    return Round(commits, alone, singles, *(statistics.mean(each) for each in zip(*batches, strict=True)))


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def _times(count: int, work: Callable[[], None]) -> None:
    for _ in range(count):
        work()


async def _requests(taking: Intake, callers: int, count: int) -> None:
    async def caller(bodies: Sequence[Mapping[str, Any]]) -> None:
        for body in bodies:
            key = answer_key("POST /v1/mints", secrets.token_hex(16), body, kept=True)
            await asyncio.wrap_future(taking.card(body, _told, key))

    bodies = _items(count)
    await asyncio.gather(*(caller(bodies[place::callers]) for place in range(callers)))


def _batch(taking: Intake) -> tuple[float, float]:
    """Items a second, and milliseconds that this process computed. Making their wallets up is not in it, nor is the
    writing of JSON, which a client does."""
    body = {"kind": "mint-card", "items": _items(MOST_ITEMS)}
    text = json.dumps(body)

    def work() -> None:
        decoded = json.loads(text)
        key = answer_key("POST /v1/batches", secrets.token_hex(16), decoded, kept=True)
        taking.batch(decoded, _batch_told, key).result()

    spent = time.process_time()
    rate = _rate(MOST_ITEMS, work)
    return rate, 1000 * (time.process_time() - spent)


def _items(count: int) -> list[dict[str, Any]]:
    """Lower case, as most systems keep addresses."""
    return [{"wallet": f"0x{secrets.token_hex(20)}", "tier": "gold", "expiry": "2049-12-31"} for _ in range(count)]


def _told(reply: Reply, intent: Mapping[str, Any]) -> Said:
    return Said(202, json.dumps({"reply": reply.value, **intent}))


def _batch_told(batch: Mapping[str, Any]) -> Said:
    return Said(202, json.dumps(batch))


def _books(url: str) -> tuple[App, Opened]:
    """A program in a database and nothing else: no request asks a node."""
    engine = open_engine(url)
    upgrade(engine)
    home = Path(tempfile.gettempdir()) / "nftloyalty-of-nobody"
    app = App(
        settings=from_environment({"NFTLOYALTY_HOME": str(home), "NFTLOYALTY_RPC_URL": _NOBODY}),
        engine=engine,
        node=Node(_NOBODY),
        keystore=Keystore(home),
        now=system_now,
        new_id=random_id,
        password=lambda name: "",
    )
    program = read_program(_PROGRAM, "program.toml")
    genesis, contract = "0x" + "a1" * 32, "0x" + "05" * 20
    with begin(engine) as tx:
        chain = chains.known_chain(tx, 31_337, genesis, datetime.now(UTC))
        row = programs.add_opening(
            tx,
            chain,
            program.id,
            opener=_ADDRESS,
            salt="0x" + program.salt().hex(),
            name=program.name,
            factory=contract,
            membership=contract,
            stamps=contract,
            terms={},
            now=datetime.now(UTC),
        )
    attached = Attached(chain, 31_337, genesis, Block(0, genesis, genesis, 0, 0))
    return app, Opened(program, attached, row, Membership(app.node, contract), Stamps(app.node, contract))


@contextmanager
def _bare_sqlite(path: Path) -> Iterator[Callable[[], None]]:
    connection = sqlite3.connect(path, isolation_level=None)
    for setting in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {setting}")
    connection.execute("CREATE TABLE bare (id INTEGER PRIMARY KEY, text TEXT)")

    def commit() -> None:
        connection.execute("BEGIN IMMEDIATE")
        connection.execute("INSERT INTO bare (text) VALUES ('a card')")
        connection.execute("COMMIT")

    try:
        yield commit
    finally:
        connection.close()


@contextmanager
def _bare_postgresql(server: str) -> Iterator[Callable[[], None]]:
    with psycopg.connect(database_of(server, "bare"), autocommit=True) as connection:
        connection.execute("CREATE TABLE bare (id BIGINT GENERATED ALWAYS AS IDENTITY PRIMARY KEY, text TEXT)")
        yield lambda: connection.execute("INSERT INTO bare (text) VALUES ('a card')", prepare=True).close()


def table(found: Mapping[str, Round]) -> Table:
    shown = Table(title="Requests taken in a second")
    for place, column in enumerate(
        (
            "",
            "bare commits",
            f"cards, {CALLERS} callers",
            "of bare",
            "cards, one caller",
            "items in batches",
            "ms computed",
        )
    ):
        shown.add_column(column, justify="right" if place else "left")
    for name, each in found.items():
        numbers = (each.commits, each.singles, each.share_percent, each.alone, each.items, each.spent_ms)
        shown.add_row(name, *(f"{number:,.0f}{' %' if place == 2 else ''}" for place, number in enumerate(numbers)))
    return shown


def missed(found: Mapping[str, Round]) -> list[str]:
    """The aims that this run did not reach."""
    told = []
    for name, each in found.items():
        if each.singles < LEAST_SINGLES and each.share_percent < LEAST_SHARE_PERCENT:
            told.append(
                f"{name}: {each.singles:,.0f} requests/s, {each.share_percent:.0f} % of bare commits; aim "
                f"{LEAST_SINGLES:,} or {LEAST_SHARE_PERCENT} %"
            )
        if each.items < LEAST_ITEMS:
            told.append(f"{name}: {each.items:,.0f} items/s; aim {LEAST_ITEMS:,}")
    return told


def to_json(found: Mapping[str, Round], setting: Mapping[str, Any]) -> str:
    rounds = {
        name: {
            "bare_commits_per_second": round(each.commits),
            "requests_per_second": round(each.singles),
            "requests_of_bare_commits_percent": round(each.share_percent),
            "requests_of_one_caller_per_second": round(each.alone),
            "batch_items_per_second": round(each.items),
            "computed_for_a_batch_ms": round(each.spent_ms),
        }
        for name, each in found.items()
    }
    return json.dumps({**setting, "intake": rounds}, indent=2) + "\n"


def _setting() -> dict[str, Any]:
    return {
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "load_before": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
    }


if __name__ == "__main__":
    sys.exit(main())
