"""Mint cards, or give a stamp, to the members of a CSV file.

python scripts/mint.py program.toml members.csv                    cards: columns address, tier, expiry
python scripts/mint.py program.toml guests.csv --stamp latte       stamps: column address

The same file can always be run again: it goes on where it was, and nobody gets two. Node, keys and database by
environment: docs/operating.md.
"""

import argparse
import os
import sys
from pathlib import Path

from nftloyalty.app.context import build_app
from nftloyalty.app.minting import mint, plan_cards, plan_stamps
from nftloyalty.app.opening import opened
from nftloyalty.config import from_environment
from nftloyalty.domain.program_file import read_program
from nftloyalty.domain.roster_file import lines_of
from nftloyalty.errors import BadInput, LoyaltyError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Mint cards, or give a stamp, to the members of a CSV file.")
    parser.add_argument("program", type=Path, help="the program's file")
    parser.add_argument("members", type=Path, help="the CSV file")
    parser.add_argument("--stamp", metavar="ID", help="give this stamp instead of minting cards")
    parser.add_argument("--spread", action="store_true", help="go on over the next days where the quota is too small")
    options = parser.parse_args(arguments)
    try:
        program = read_program(options.program.read_text(encoding="utf-8"), str(options.program))
        lines = lines_of(options.members.read_bytes())
        app = build_app(from_environment(os.environ))
        try:
            here = opened(app, program)
            if options.stamp:
                plan = plan_stamps(app, here, lines, str(options.members), options.stamp)
            else:
                plan = plan_cards(app, here, lines, str(options.members))
            report = mint(app, here, plan, spread=options.spread)
        finally:
            app.close()
    except (LoyaltyError, OSError) as error:
        print(error, *(error.problems if isinstance(error, BadInput) else ()), sep="\n  ", file=sys.stderr)
        return 1
    print(f"{report.on_chain} of {report.total} on chain, {report.final} of them final")
    for line, address, reason in report.rejected:
        print(f"line {line}: {address} was left out: {reason}")
    return 1 if report.rejected else 0


if __name__ == "__main__":
    sys.exit(main())
