"""Compile the contracts and write nftloyalty/artifacts.

python scripts/compile.py                            write the artifacts
python scripts/compile.py --check                    compare with what is committed; exit 1 and name what differs
python scripts/compile.py --standard-json FILE       write the input by which block explorers verify the source
"""

import argparse
import sys
from pathlib import Path

from nftloyalty.app.compiling import compile_all, verification_input
from nftloyalty.errors import BadInput, LoyaltyError


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description="Compile the contracts and write nftloyalty/artifacts.")
    parser.add_argument("--check", action="store_true", help="compare with the committed artifacts, write nothing")
    parser.add_argument("--standard-json", metavar="FILE", type=Path, help="write the explorers' input to FILE instead")
    parser.add_argument("--contracts", metavar="FOLDER", type=Path, help="the folder of package.json and src/")
    parser.add_argument("--solc", metavar="FILE", type=Path, help="this compiler and no other")
    options = parser.parse_args(arguments)
    try:
        if options.standard_json:
            options.standard_json.write_text(verification_input(options.contracts), encoding="utf-8")
            print(f"wrote {options.standard_json}")
            return 0
        compiled = compile_all(check=options.check, contracts=options.contracts, solc=options.solc)
        if options.check:
            print("\n".join(compiled.differing) or f"{compiled.count} artifacts are as compiled")
            return 1 if compiled.differing else 0
        print("\n".join(f"wrote {path}" for path in compiled.written) or f"{compiled.count} artifacts were up to date")
    except LoyaltyError as error:
        print(error, file=sys.stderr)
        for problem in error.problems if isinstance(error, BadInput) else ():
            print(f"  {problem}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
