"""python -m benchmarks.gas: measure, print the table, write the JSON and the table of the documentation.

Exit status 1 if our own contracts exceed a limit, or if anything could not be measured.
"""

import argparse
import sys
import time
from pathlib import Path

from rich.console import Console

from benchmarks.gas import chain, ours, plain, report, sources, thirdweb, unlock
from benchmarks.gas.rows import Figures, exceeded
from nftloyalty.chain.compile import SETTINGS
from nftloyalty.errors import LoyaltyError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.gas", description="Gas of our contracts and their peers."
    )
    parser.add_argument(
        "--json", metavar="FILE", type=Path, help="write the figures there, and leave results and documentation alone"
    )
    given = parser.parse_args(arguments)
    console, said = Console(highlight=False), Console(stderr=True, highlight=False)
    began = time.monotonic()
    try:
        if sources.install():
            said.print("The peers are installed in benchmarks/gas/node_modules")
        said.print("Compiling the peers and measuring (about a minute)")
        result = measure()
    except (sources.BenchmarkProblem, LoyaltyError) as problem:
        said.print(f"bench-gas: {problem}", style="red", markup=False)
        return 1
    for table in report.tables(result.gas, console.width):
        console.print(table)
    console.print(f"{time.monotonic() - began:.0f} seconds")
    if given.json is not None:
        given.json.write_text(result.to_json(), encoding="utf-8")
    else:
        report.RESULTS.parent.mkdir(exist_ok=True)
        report.RESULTS.write_text(result.to_json(), encoding="utf-8")
        page = report.DOCS.read_text(encoding="utf-8")
        report.DOCS.write_text(report.with_table(page, report.markdown(result.gas)), encoding="utf-8")
    broken = exceeded(result.gas[report.OURS])
    for sentence in broken:
        said.print(f"bench-gas: {sentence}", style="red", markup=False)
    return 1 if broken else 0


def measure() -> report.Result:
    """Everything on one chain, each contestant with contracts of its own. Raises BenchmarkProblem and LoyaltyError."""
    compiler = sources.compiler_version()
    setting = {
        "chain": {"anvil": chain.anvil_version(), "hardfork": chain.HARDFORK},
        "compiler": {"version": compiler, "settings": dict(SETTINGS)},
        "peers": sources.versions(),
    }
    peers = sources.peers()
    with chain.running() as here:
        gas: dict[str, Figures] = {
            report.OURS: ours.measure(here),
            "openzeppelin-721": plain.measure_card(here, peers["OpenZeppelin721"]),
            "erc721a": plain.measure_card(here, peers["Card721A"]),
            "solady-721": plain.measure_card(here, peers["Solady721"]),
            "openzeppelin-1155": plain.measure_stamps(here, peers["OpenZeppelin1155"]),
            "solady-1155": plain.measure_stamps(here, peers["Solady1155"]),
            "unlock": unlock.measure(here, peers),
            "thirdweb": thirdweb.measure(here, peers),
        }
    return report.Result(setting, report.our_artifacts(), gas)


if __name__ == "__main__":
    sys.exit(main())
