"""python -m benchmarks.intake: requests for cards taken in a second over HTTP, beside bare commits.

A bare commit is one row in one transaction, on one connection, one after the other, with the database's full
durability: no request that has a commit to itself can be taken in faster. Requests come with an API key and an
Idempotency-Key of their own each, from callers that wait for their answer before they ask again; a batch goes from its
first byte to the last one of its answer. Nobody sends what is taken in. Figures depend on the machine and on what else
it does; the ratios of one run are what counts. Exit status 1 if anything could not be measured; a missed aim is told,
and no failure.
"""

import argparse
import http.client
import json
import secrets
import sqlite3
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
from rich.console import Console
from rich.table import Table

from benchmarks.checks.report import setting
from benchmarks.load import Asked, BenchmarkProblem, autocannon, load
from benchmarks.servers import Server, anvil, database_of, environment, open_program, postgresql, serve
from nftloyalty.app import access
from nftloyalty.app.context import build_app
from nftloyalty.app.opening import opened
from nftloyalty.config import from_environment
from nftloyalty.domain.access import Scope
from nftloyalty.domain.mint import MOST_ITEMS
from nftloyalty.domain.program_file import read_program
from nftloyalty.errors import LoyaltyError

ROOT = Path(__file__).parents[1]
RESULTS = ROOT / "benchmarks" / "results" / "intake.json"
DOCS = ROOT / "docs" / "benchmarks.md"
CALLERS = 64
ROUNDS = 5
SECONDS = 3
COMMITS = 1_000
BATCHES = 2

LEAST_SINGLES = 1_500
LEAST_SHARE_PERCENT = 35
LEAST_ITEMS = 20_000

BEGIN = "<!-- The table is written by make bench-intake. -->"
END = "<!-- End of the table of requests. -->"
_CARD = {"tier": "gold", "expiry": "2049-12-31"}


@dataclass(frozen=True)
class Round:
    """All a second: bare commits, requests of one caller alone and of many, items of batches. `p99_ms` is of the
    requests of many."""

    commits: float
    alone: float
    singles: float
    p99_ms: float
    items: float

    @property
    def share_percent(self) -> float:
        """Requests beside bare commits."""
        return 100 * self.singles / self.commits


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.intake", description="Requests taken in a second.")
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write the figures there, and leave results and documentation alone"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured ({ROUNDS})")
    given = parser.parse_args(arguments)
    console, said = Console(highlight=False), Console(stderr=True, highlight=False)
    began = time.monotonic()
    about = setting(load_from=autocannon())
    try:
        found = measure(given.rounds, lambda what: said.print(what, style="dim"))
    except (BenchmarkProblem, LoyaltyError, OSError, psycopg.Error, sqlite3.Error) as problem:
        said.print(f"bench-intake: {problem}", style="red", markup=False)
        return 1
    console.print(table(found))
    console.print(f"{time.monotonic() - began:.0f} seconds")
    if given.json is not None:
        given.json.write_text(to_json(found, about), encoding="utf-8")
    else:
        RESULTS.write_text(to_json(found, about), encoding="utf-8")
        DOCS.write_text(with_table(DOCS.read_text(encoding="utf-8"), markdown(found)), encoding="utf-8")
    for sentence in missed(found):
        said.print(f"bench-intake: {sentence}", style="yellow", markup=False)
    return 0


def measure(rounds: int, tell: Callable[[str], None]) -> dict[str, Round]:
    """The medians on each database. All are measured in turn: a bad moment of the machine is everybody's."""
    found: dict[str, Round] = {}
    with tempfile.TemporaryDirectory(prefix="nftloyalty-intake-") as name:
        folder = Path(name)
        with anvil(folder) as node:
            with _bare_sqlite(folder / "bare.db") as commit:
                found["SQLite"] = _measure(folder / "sqlite", node, "", commit, rounds, tell)
            with postgresql() as database, _bare_postgresql(database) as commit:
                url = database_of(database, "intake")
                found["PostgreSQL"] = _measure(folder / "postgresql", node, url, commit, rounds, tell)
    return found


def _measure(
    folder: Path, node: str, database_url: str, commit: Callable[[], None], rounds: int, tell: Callable[[str], None]
) -> Round:
    folder.mkdir()
    given = environment(folder, node, database_url)
    app = build_app(from_environment(given))
    try:
        open_program(app, folder)
        program = read_program((folder / "program.toml").read_text(encoding="utf-8"), "program.toml")
        key = access.create(app, opened(app, program), "till", [Scope.MINTS_WRITE])
    finally:
        app.close()
    with serve(folder, given) as server:
        caller = _Caller(server, key.text)
        _round(caller, commit, seconds=1)
        done = []
        for number in range(rounds):
            done.append(_round(caller, commit))
            tell(f"{folder.name}: round {number + 1} of {rounds}")
    return Round(**{name: statistics.median(asdict(each)[name] for each in done) for name in asdict(done[0])})


def _round(caller: "_Caller", commit: Callable[[], None], seconds: int = SECONDS) -> Round:
    commits = _rate(COMMITS, lambda: _times(COMMITS, commit))
    many = load(caller.cards, caller.server.process, seconds, connections=CALLERS)
    alone = load(caller.cards, caller.server.process, seconds, connections=1)
    items = statistics.mean(caller.batch() for _ in range(BATCHES))
    return Round(commits, alone.rate, many.rate, many.p99_ms, items)


def _rate(count: int, work: Callable[[], object]) -> float:
    began = time.perf_counter()
    work()
    return count / (time.perf_counter() - began)


def _times(count: int, work: Callable[[], None]) -> None:
    for _ in range(count):
        work()


class _Caller:
    """Asks a server for cards."""

    def __init__(self, server: Server, token: str) -> None:
        self.server = server
        self._headers = {"content-type": "application/json", "authorization": f"Bearer {token}"}
        one = {
            "method": "POST",
            "path": "/v1/mints",
            "fresh": True,
            "headers": {**self._headers, "idempotency-key": "{key}"},
            "body": json.dumps({"wallet": "{wallet}", **_CARD}),
        }
        self.cards = Asked(server.url, [one])

    def batch(self) -> float:
        """Items a second. Making them up and writing them as JSON is not in it: that is a client's work."""
        # Lower case, as most systems keep addresses.
        items = [{"wallet": f"0x{secrets.token_hex(20)}", **_CARD} for _ in range(MOST_ITEMS)]
        body = json.dumps({"kind": "mint-card", "items": items})
        connection = http.client.HTTPConnection(urlsplit(self.server.url).netloc, timeout=60)
        connection.connect()

        def post() -> None:
            headers = {**self._headers, "idempotency-key": secrets.token_hex(16)}
            connection.request("POST", "/v1/batches", body, headers)
            answer = connection.getresponse()
            told = answer.read()
            if answer.status != 202 or json.loads(told)["replies"]["accepted"] != MOST_ITEMS:
                raise BenchmarkProblem(f"a batch was answered {answer.status}: {told[:200]!r}")

        try:
            return _rate(MOST_ITEMS, post)
        finally:
            connection.close()


@contextmanager
def _bare_sqlite(path: Path) -> Iterator[Callable[[], None]]:
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("journal_mode=WAL", "synchronous=FULL"):
        connection.execute(f"PRAGMA {pragma}")
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


COLUMNS = (
    "bare commits/s",
    f"cards/s, {CALLERS} callers",
    "of bare",
    "p99 ms",
    "cards/s, one caller",
    "items/s in batches",
)


def cells(found: Round) -> list[str]:
    whole = (found.commits, found.singles, found.share_percent, found.p99_ms, found.alone, found.items)
    return [f"{number:,.0f}{' %' if place == 2 else ''}" for place, number in enumerate(whole)]


def table(found: Mapping[str, Round]) -> Table:
    drawn = Table(title="Requests taken in, one server process")
    drawn.add_column("")
    for column in COLUMNS:
        drawn.add_column(column, justify="right")
    for name, each in found.items():
        drawn.add_row(name, *cells(each))
    return drawn


def markdown(found: Mapping[str, Round]) -> str:
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    return "\n".join([*lines, *(f"| {name} | " + " | ".join(cells(each)) + " |" for name, each in found.items())])


def with_table(page: str, text: str) -> str:
    """The page with its table replaced. Raises ValueError if its two marks are not there."""
    begin, end = page.index(BEGIN) + len(BEGIN), page.index(END)
    return f"{page[:begin]}\n\n{text}\n\n{page[end:]}"


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


def to_json(found: Mapping[str, Round], about: Mapping[str, Any]) -> str:
    rounds = {
        name: {
            "bare_commits_per_second": round(each.commits),
            "requests_per_second": round(each.singles),
            "requests_of_bare_commits_percent": round(each.share_percent),
            "requests_p99_ms": round(each.p99_ms),
            "requests_of_one_caller_per_second": round(each.alone),
            "batch_items_per_second": round(each.items),
        }
        for name, each in found.items()
    }
    return json.dumps({**about, "sqlite": sqlite3.sqlite_version, "intake": rounds}, indent=2) + "\n"


def of_json(text: str) -> dict[str, Round]:
    return {
        name: Round(
            commits=each["bare_commits_per_second"],
            alone=each["requests_of_one_caller_per_second"],
            singles=each["requests_per_second"],
            p99_ms=each["requests_p99_ms"],
            items=each["batch_items_per_second"],
        )
        for name, each in json.loads(text)["intake"].items()
    }


if __name__ == "__main__":
    sys.exit(main())
