"""The figures as a table on the terminal, as JSON, and as the table of docs/benchmarks.md."""

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.gas.rows import LIMITS, Figures, Row
from nftloyalty.chain.abi import CONTRACTS, artifact

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "gas.json"
DOCS = ROOT / "docs" / "benchmarks.md"
OURS = "nftloyalty"

CONTESTANTS: Mapping[str, tuple[str, str]] = {
    OURS: ("nftloyalty", "nftloyalty"),
    "openzeppelin-721": ("OpenZeppelin ERC721", "OZ 721"),
    "erc721a": ("ERC721A", "ERC721A"),
    "solady-721": ("Solady ERC721", "Solady 721"),
    "openzeppelin-1155": ("OpenZeppelin ERC1155", "OZ 1155"),
    "solady-1155": ("Solady ERC1155", "Solady 1155"),
    "unlock": ("Unlock PublicLock", "Unlock"),
    "thirdweb": ("thirdweb LoyaltyCard", "thirdweb"),
}
"""Key -> name, and the short name that fits over a column. In the order of the columns."""

NONE = "-"
"""Where a contestant has no such thing."""

_BEGIN = "<!-- The table is written by make bench-gas. -->"
_END = "<!-- End of the table. -->"
_LABEL_WIDTH, _COLUMN_WIDTH = 35, 12


@dataclass(frozen=True)
class Result:
    """What one run found, and of what: `setting` is everything that the figures depend on but our own code."""

    setting: Mapping[str, Any]
    artifacts: Mapping[str, str]
    gas: Mapping[str, Figures]

    def to_json(self) -> str:
        return (
            json.dumps(
                {
                    **self.setting,
                    "artifacts": dict(self.artifacts),
                    "limits": {row.value: limit for row, limit in LIMITS.items()},
                    "rows": {row.value: row.label for row in Row},
                    "names": {key: name for key, (name, _) in CONTESTANTS.items()},
                    "gas": {key: {row.value: self.gas[key].get(row) for row in Row} for key in CONTESTANTS},
                },
                indent=2,
            )
            + "\n"
        )


def our_artifacts() -> dict[str, str]:
    """SHA-256 of the creation code of each of our contracts: which ones the figures are of."""
    return {name: hashlib.sha256(artifact(name).code).hexdigest() for name in CONTRACTS}


def figures_of(text: str) -> dict[str, Figures]:
    """The figures in the JSON, by contestant."""
    gas = json.loads(text)["gas"]
    return {
        key: {Row(row): figure for row, figure in figures.items() if figure is not None} for key, figures in gas.items()
    }


def tables(gas: Mapping[str, Figures], width: int) -> Iterator[Table]:
    """For the terminal, as many tables as its width needs; each begins with our own column."""
    peers = [key for key in CONTESTANTS if key != OURS]
    fitting = max(1, (width - _LABEL_WIDTH) // _COLUMN_WIDTH - 1)
    for start in range(0, len(peers), fitting):
        keys = [OURS, *peers[start : start + fitting]]
        table = Table(title="Gas, everything in the receipt included" if start == 0 else None)
        table.add_column("", no_wrap=True)
        for key in keys:
            table.add_column(CONTESTANTS[key][1], justify="right", no_wrap=True)
        for row in Row:
            table.add_row(row.label, *_cells(gas, keys, row))
        yield table


def markdown(gas: Mapping[str, Figures]) -> str:
    """For the documentation: one table with every contestant."""
    keys = list(CONTESTANTS)
    lines = [
        "| | " + " | ".join(CONTESTANTS[key][1] for key in keys) + " |",
        "|---|" + "---:|" * len(keys),
        *(f"| {row.label} | " + " | ".join(_cells(gas, keys, row)) + " |" for row in Row),
    ]
    return "\n".join(lines)


def table_in(text: str) -> str:
    """The table that a documentation page holds. Raises ValueError if its two marks are not there."""
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    return text[begin:end].strip()


def with_table(text: str, table: str) -> str:
    """The page with its table replaced. Raises ValueError if its two marks are not there."""
    begin, end = text.index(_BEGIN) + len(_BEGIN), text.index(_END)
    return f"{text[:begin]}\n\n{table}\n\n{text[end:]}"


def _cells(gas: Mapping[str, Figures], keys: Sequence[str], row: Row) -> list[str]:
    return [f"{gas[key][row]:,}" if row in gas[key] else NONE for key in keys]
