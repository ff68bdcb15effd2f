"""python -m benchmarks.checks: load, print the table, write the JSON and the table of the documentation.

Exit status 1 if an aim is missed, or if anything could not be measured. Stops by itself within minutes.
"""

import argparse
import sys
import tempfile
import time
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psycopg
from rich.console import Console

from benchmarks.checks import report
from benchmarks.checks.ground import Ground, ground, statement
from benchmarks.checks.report import CHECKS, Figures, Row
from benchmarks.load import Asked, BenchmarkProblem, Run, autocannon, load
from benchmarks.servers import anvil, database_of, postgresql, serving
from nftloyalty.errors import LoyaltyError

SMALL, LARGE = 1_000, 1_000_000
ROUNDS = 5
SECONDS = 2
HALF_ROUNDS = 3
HALF_SECONDS = 4


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.checks", description="Checks beside their limits.")
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write the figures there, and leave results and documentation alone"
    )
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is loaded ({ROUNDS})")
    given = parser.parse_args(arguments)
    console, said = Console(highlight=False), Console(stderr=True, highlight=False)
    began = time.monotonic()
    setting = report.setting(load_from=autocannon())
    try:
        said.print("Filling four databases, then loading (four minutes)")
        found = measure(given.rounds, lambda what: said.print(what, style="dim"))
    except (BenchmarkProblem, LoyaltyError) as problem:
        said.print(f"bench-checks: {problem}", style="red", markup=False)
        return 1
    console.print(report.table(found))
    for aim in report.aims(found):
        console.print(str(aim), style="" if aim.met else "red")
    console.print(f"{time.monotonic() - began:.0f} seconds")
    text = report.to_json(found, setting)
    if given.json is not None:
        given.json.write_text(text, encoding="utf-8")
    else:
        report.RESULTS.parent.mkdir(exist_ok=True)
        report.RESULTS.write_text(text, encoding="utf-8")
        page = report.DOCS.read_text(encoding="utf-8")
        report.DOCS.write_text(report.with_table(page, report.markdown(found)), encoding="utf-8")
    return 0 if all(aim.met for aim in report.aims(found)) else 1


def measure(rounds: int, tell: Callable[[str], None]) -> dict[Row, Figures]:
    """On servers that run side by side and are loaded in turn: a bad moment of the machine is everybody's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nftloyalty-checks-")))
        node = stack.enter_context(anvil(folder))
        (folder / "plain").mkdir()
        command = [sys.executable, "-m", "benchmarks.checks.plain"]
        plain = stack.enter_context(serving(command, {}, folder / "plain"))
        database = stack.enter_context(postgresql())
        grounds: dict[Row, Ground] = {}
        for row, count, kind in zip(CHECKS, (SMALL, LARGE) * 2, ("sqlite",) * 2 + ("postgresql",) * 2, strict=True):
            url = database_of(database, f"checks_{count}") if kind == "postgresql" else ""
            grounds[row] = stack.enter_context(ground(folder / row.value, node, url, count))
            tell(f"{row.label}: filled")
        small = grounds[Row.SQLITE_SMALL]
        loads: dict[Row, tuple[Asked, int]] = {
            Row.RAW: (Asked(plain.url, [{"method": "GET", "path": "/raw"}]), plain.process),
            Row.ASYNC: (Asked(plain.url, [{"method": "GET", "path": "/async"}]), plain.process),
            Row.SYNC: (Asked(plain.url, [{"method": "GET", "path": "/sync"}]), plain.process),
            **{row: (each.checks(), each.server.process) for row, each in grounds.items()},
            Row.GATE: (small.gates("head"), small.server.process),
            Row.LIVE: (small.gates("live"), small.server.process),
            Row.OWNERSHIP: (small.ownership(), small.server.process),
            Row.OWNERSHIP_OF_MANY: (small.ownership_of_many(), small.server.process),
        }
        for asked, process in loads.values():
            load(asked, process, 1)
        runs: dict[Row, list[Run]] = {row: [] for row in Row}
        for number in range(rounds):
            for row, (asked, process) in loads.items():
                runs[row].append(load(asked, process, SECONDS))
            runs[Row.BARE].append(_select(grounds[Row.POSTGRESQL_LARGE]))
            tell(f"round {number + 1} of {rounds}")
        halves: dict[Row, list[Run]] = {row: [] for row in (Row.RAW, *CHECKS)}
        for number in range(HALF_ROUNDS):
            for row, found in halves.items():
                rate = max(1, int(report.figures(runs[row]).rate / 2))
                found.append(load(*loads[row], HALF_SECONDS, rate=rate))
            tell(f"half load {number + 1} of {HALF_ROUNDS}")
    return {row: report.figures(found, halves.get(row, ())) for row, found in runs.items()}


def _select(of: Ground) -> Run:
    """What a check reads of one wallet, prepared, on a connection of psycopg that stays open: one after the other."""
    words, wallets = statement(), of.wallets()
    with psycopg.connect(of.database_url, autocommit=True) as connection, connection.cursor(binary=True) as cursor:
        for wallet in wallets[:100]:
            cursor.execute(words, {"program": of.program, "wallet": wallet}, prepare=True).fetchone()
        times = []
        began, spent = time.monotonic(), time.process_time()
        while time.monotonic() - began < SECONDS:
            for wallet in wallets:
                asked = time.perf_counter()
                cursor.execute(words, {"program": of.program, "wallet": wallet}, prepare=True).fetchone()
                times.append(time.perf_counter() - asked)
        seconds, computed = time.monotonic() - began, time.process_time() - spent
    times.sort()
    return Run(
        rate=len(times) / seconds,
        per_core=len(times) / computed,
        p50_ms=1000 * times[len(times) // 2],
        p99_ms=1000 * times[len(times) * 99 // 100],
    )


if __name__ == "__main__":
    sys.exit(main())
