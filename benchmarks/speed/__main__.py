"""python -m benchmarks.speed: measure, print the tables, write the JSON and the tables of the documentation.

Figures depend on the machine and on what else it does; the ratios of one run are what counts. Exit status 1 if anything
could not be measured; a missed aim is told, and no failure.
"""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.speed import indexing, report, sending
from benchmarks.speed.world import NoAnvil
from nftloyalty.errors import LoyaltyError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.speed", description="Speed of sending and indexing.")
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write the figures there, and leave results and documentation alone"
    )
    parser.add_argument("--database", default="", help="a database URL; left out: SQLite in a folder of its own")
    given = parser.parse_args(arguments)
    console, said = Console(highlight=False), Console(stderr=True, highlight=False)
    began = time.monotonic()
    try:
        result = report.Result(
            report.setting(given.database),
            sending.measure(said.print, given.database),
            indexing.measure(said.print, given.database),
        )
    except (NoAnvil, sending.NotMined, indexing.NotIndexed, LoyaltyError) as problem:
        said.print(f"bench-speed: {problem}", style="red", markup=False)
        return 1
    for table in result.tables():
        console.print(table)
    console.print(f"{time.monotonic() - began:.0f} seconds")
    if given.json is not None:
        given.json.write_text(result.to_json(), encoding="utf-8")
    else:
        report.RESULTS.write_text(result.to_json(), encoding="utf-8")
        page = report.DOCS.read_text(encoding="utf-8")
        report.DOCS.write_text(report.with_tables(page, result), encoding="utf-8")
    for sentence in result.missed():
        said.print(f"bench-speed: {sentence}", style="yellow", markup=False)
    return 0


if __name__ == "__main__":
    sys.exit(main())
