"""The figures as tables on the terminal, as JSON, and as the tables of docs/benchmarks.md."""

import json
import os
import platform
import sqlite3
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.speed import indexing, sending

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "speed.json"
DOCS = ROOT / "docs" / "benchmarks.md"
OURS, NODE, BARE = "nftloyalty", "node alone, signed before", "decoding alone, logs in memory"

LEAST_CARDS = 5_000
LEAST_TRANSACTIONS = 300
LEAST_EVENTS = 10_000
SHARE_OF_NODE_PERCENT = 45

_BEGIN = "<!-- The tables are written by make bench-speed. -->"
_END = "<!-- End of the tables. -->"


@dataclass(frozen=True)
class Result:
    """What one run found. Each rate of sending comes in batches and one card a transaction."""

    setting: Mapping[str, Any]
    sent: Mapping[str, tuple[sending.Rate, sending.Rate]]
    indexed: Mapping[str, indexing.Rate]

    def to_json(self) -> str:
        return (
            json.dumps(
                {
                    **self.setting,
                    "sending": {
                        name: {
                            "cards_per_second_in_batches": round(batches.cards_per_second),
                            "transactions_per_second": round(singles.transactions_per_second),
                        }
                        for name, (batches, singles) in self.sent.items()
                    },
                    "indexing": {
                        name: {"events_per_second": round(rate.per_second)} for name, rate in self.indexed.items()
                    },
                },
                indent=2,
            )
            + "\n"
        )

    def rows(self) -> Iterator[tuple[str, Sequence[str], Sequence[Sequence[str]]]]:
        """Title, columns and rows of each table."""
        node_batches, node_singles = self.sent[NODE]
        yield (
            "Mints sent and settled",
            ("", "cards/s, 500 a transaction", "of the node", "transactions/s, one card each", "of the node"),
            [
                (
                    name,
                    f"{batches.cards_per_second:,.0f}",
                    f"{100 * batches.cards_per_second / node_batches.cards_per_second:.0f} %",
                    f"{singles.transactions_per_second:,.0f}",
                    f"{100 * singles.transactions_per_second / node_singles.transactions_per_second:.0f} %",
                )
                for name, (batches, singles) in self.sent.items()
            ],
        )
        yield (
            "Logs indexed",
            ("", "events/s"),
            [(name, f"{rate.per_second:,.0f}") for name, rate in self.indexed.items()],
        )

    def tables(self) -> Iterator[Table]:
        for title, columns, rows in self.rows():
            table = Table(title=title)
            for place, column in enumerate(columns):
                table.add_column(column, justify="right" if place else "left")
            for row in rows:
                table.add_row(*row)
            yield table

    def missed(self) -> list[str]:
        """The aims that this run did not reach."""
        (batches, singles), (node_batches, node_singles) = self.sent[OURS], self.sent[NODE]
        events = self.indexed[OURS].per_second
        share = 100 * batches.cards_per_second / node_batches.cards_per_second
        found = []
        if batches.cards_per_second < LEAST_CARDS and share < SHARE_OF_NODE_PERCENT:
            found.append(f"{batches.cards_per_second:,.0f} cards/s, {share:.0f} % of the node; aim {LEAST_CARDS:,}")
        share = 100 * singles.transactions_per_second / node_singles.transactions_per_second
        if singles.transactions_per_second < LEAST_TRANSACTIONS and share < SHARE_OF_NODE_PERCENT:
            found.append(
                f"{singles.transactions_per_second:,.0f} tx/s, {share:.0f} % of the node; aim {LEAST_TRANSACTIONS}"
            )
        if events < LEAST_EVENTS:
            found.append(f"{events:,.0f} events/s; aim {LEAST_EVENTS:,}")
        return found


def setting(database_url: str) -> dict[str, Any]:
    """What the figures depend on but our own code."""
    database = database_url.partition(":")[0] if database_url else f"sqlite {sqlite3.sqlite_version}"
    return {
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "load_before": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
        },
        "database": database,
    }


def with_tables(page: str, result: Result) -> str:
    """The page with its tables replaced. Raises ValueError if its two marks are not there."""
    parts = []
    for title, columns, rows in result.rows():
        lines = ["| " + " | ".join((title, *columns[1:])) + " |", "|---|" + "---:|" * (len(columns) - 1)]
        lines += ["| " + " | ".join(row) + " |" for row in rows]
        parts.append("\n".join(lines))
    begin, end = page.index(_BEGIN) + len(_BEGIN), page.index(_END)
    return f"{page[:begin]}\n\n" + "\n\n".join(parts) + f"\n\n{page[end:]}"
