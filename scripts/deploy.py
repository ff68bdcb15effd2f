"""Open a program on a chain: the shared contracts if they are absent, then the program.

python scripts/deploy.py program.toml             open it; run again after a stop, it goes on
python scripts/deploy.py program.toml --dry-run   say what would happen and what it costs

Node, keys and database by environment: docs/operating.md.
"""

import argparse
import os
import sys
from pathlib import Path

from nftloyalty.app.context import build_app
from nftloyalty.app.deploying import deploy, prepare
from nftloyalty.config import from_environment
from nftloyalty.domain.cost import show
from nftloyalty.domain.program_file import read_program
from nftloyalty.errors import BadInput, LoyaltyError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Open a program on a chain.")
    parser.add_argument("program", type=Path, help="the program's file")
    parser.add_argument("--dry-run", action="store_true", help="send nothing")
    options = parser.parse_args(arguments)
    try:
        program = read_program(options.program.read_text(encoding="utf-8"), str(options.program))
        app = build_app(from_environment(os.environ))
        try:
            if options.dry_run:
                prepared = prepare(app, program)
                for step in prepared.plan.missing:
                    print(f"would do: {step.name}")
                print("already open" if prepared.already_open else f"would open it: {show(prepared.cost, 'coins')}")
                return 0
            deployed = deploy(app, program, tick=lambda what: print(f"... {what}", file=sys.stderr))
            print(f"{'already open' if deployed.already_open else 'opened'}: {deployed.membership} {deployed.stamps}")
            for line in deployed.differences:
                print(f"differs: {line}")
        finally:
            app.close()
    except (LoyaltyError, OSError) as error:
        print(error, *(error.problems if isinstance(error, BadInput) else ()), sep="\n  ", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
