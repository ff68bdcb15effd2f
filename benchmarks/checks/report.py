"""The figures as a table on the terminal, as JSON, and as the table of docs/benchmarks.md, beside what was aimed at."""

import json
import os
import platform
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any

from rich.table import Table

from benchmarks.load import Run

ROOT = Path(__file__).parents[2]
RESULTS = ROOT / "benchmarks" / "results" / "checks.json"
DOCS = ROOT / "docs" / "benchmarks.md"

_BEGIN = "<!-- The table is written by make bench-checks. -->"
_END = "<!-- End of the table of checks. -->"


class Row(StrEnum):
    """What was loaded, in the order of the table. The value is its key in the JSON."""

    RAW = "raw"
    ASYNC = "fastapi_async"
    SYNC = "fastapi_sync"
    SQLITE_SMALL = "check_sqlite_1000"
    SQLITE_LARGE = "check_sqlite_1000000"
    BARE = "postgresql_select"
    POSTGRESQL_SMALL = "check_postgresql_1000"
    POSTGRESQL_LARGE = "check_postgresql_1000000"
    GATE = "gate_head"
    LIVE = "gate_live"
    OWNERSHIP = "ownership"
    OWNERSHIP_OF_MANY = "ownership_of_100"

    @property
    def label(self) -> str:
        return _LABELS[self]


_LABELS: Mapping[Row, str] = {
    Row.RAW: "a raw ASGI route that does nothing",
    Row.ASYNC: "a FastAPI route that does nothing, async",
    Row.SYNC: "a FastAPI route that does nothing, sync",
    Row.SQLITE_SMALL: "check, SQLite, 1,000 holdings",
    Row.SQLITE_LARGE: "check, SQLite, 1,000,000 holdings",
    Row.BARE: "the check's SELECT alone, PostgreSQL, 1,000,000",
    Row.POSTGRESQL_SMALL: "check, PostgreSQL, 1,000 holdings",
    Row.POSTGRESQL_LARGE: "check, PostgreSQL, 1,000,000 holdings",
    Row.GATE: "POST /v1/gate, SQLite, 1,000 holdings",
    Row.LIVE: "POST /v1/gate asking the node (anvil)",
    Row.OWNERSHIP: "GET /v1/ownership of a wallet, SQLite, 1,000 holdings",
    Row.OWNERSHIP_OF_MANY: "POST /v1/ownership of 100 wallets",
}

CHECKS = (Row.SQLITE_SMALL, Row.SQLITE_LARGE, Row.POSTGRESQL_SMALL, Row.POSTGRESQL_LARGE)


@dataclass(frozen=True)
class Figures:
    """Of one row over all rounds. Rates are the median, with the least and the most; latencies in milliseconds, the
    median of the rounds: of those at full load, and of those at half load, None where there were none."""

    rate: float
    rate_least: float
    rate_most: float
    per_core: float
    p50_ms: float | None
    p99_ms: float | None
    half_p50_ms: float | None = None
    half_p99_ms: float | None = None


def figures(runs: Sequence[Run], halves: Sequence[Run] = ()) -> Figures:
    rates = [run.rate for run in runs]
    return Figures(
        rate=statistics.median(rates),
        rate_least=min(rates),
        rate_most=max(rates),
        per_core=statistics.median(run.per_core for run in runs),
        p50_ms=statistics.median(run.p50_ms for run in runs),
        p99_ms=statistics.median(run.p99_ms for run in runs),
        half_p50_ms=statistics.median(run.p50_ms for run in halves) if halves else None,
        half_p99_ms=statistics.median(run.p99_ms for run in halves) if halves else None,
    )


@dataclass(frozen=True)
class Aim:
    """`found` against `least` or `most`, whichever there is."""

    what: str
    found: float
    least: float | None = None
    most: float | None = None

    @property
    def met(self) -> bool:
        return (self.least is None or self.found >= self.least) and (self.most is None or self.found <= self.most)

    def __str__(self) -> str:
        bounds = [f"at least {self.least:g}"] if self.least is not None else []
        bounds += [f"at most {self.most:g}"] if self.most is not None else []
        return f"{self.what}: {self.found:.2f}, aim {' and '.join(bounds)}: {'met' if self.met else 'MISSED'}"


def aims(found: Mapping[Row, Figures]) -> list[Aim]:
    """Ratios of one run. Where nothing waits for another process, answers for each second of computing are compared:
    so much does a core answer, whoever else was at work. Where PostgreSQL is waited for, by the clock."""
    large = found[Row.SQLITE_LARGE]
    return [
        Aim("check on SQLite / raw route", large.per_core / found[Row.RAW].per_core, least=0.65),
        Aim(
            "check on PostgreSQL / bare SELECT",
            found[Row.POSTGRESQL_LARGE].rate / found[Row.BARE].rate,
            least=0.60,
        ),
        Aim(
            "check on SQLite, 1,000,000 / 1,000 holdings",
            large.per_core / found[Row.SQLITE_SMALL].per_core,
            least=0.8,
            most=1.25,
        ),
        Aim(
            "check on PostgreSQL, 1,000,000 / 1,000 holdings",
            found[Row.POSTGRESQL_LARGE].rate / found[Row.POSTGRESQL_SMALL].rate,
            least=0.8,
            most=1.25,
        ),
        *(
            Aim(f"p99 at half load, {row.label}, ms", found[row].half_p99_ms or float("inf"), most=10)
            for row in (Row.SQLITE_LARGE, Row.POSTGRESQL_LARGE)
        ),
    ]


def to_json(found: Mapping[Row, Figures], setting: Mapping[str, Any]) -> str:
    told = {
        **setting,
        "aims": [{"what": aim.what, "found": round(aim.found, 3), "met": aim.met} for aim in aims(found)],
        "rows": {
            row.value: {"label": row.label}
            | {key: None if value is None else round(value, 2) for key, value in asdict(found[row]).items()}
            for row in Row
        },
    }
    return json.dumps(told, indent=2) + "\n"


def of_json(text: str) -> dict[Row, Figures]:
    rows = json.loads(text)["rows"]
    return {
        Row(key): Figures(**{name: value for name, value in row.items() if name != "label"})
        for key, row in rows.items()
    }


def setting(**more: Any) -> dict[str, Any]:
    """What the figures depend on beside our own code."""
    return {
        "machine": {
            "system": platform.system(),
            "processor": platform.machine(),
            "cores": os.cpu_count(),
            "load_before": [round(load, 2) for load in os.getloadavg()],
        },
        "python": platform.python_version(),
        **more,
    }


COLUMNS = ("answers/s", "least to most", "per core", "p50 ms", "p99 ms", "p99 ms at half load")


def cells(figures: Figures) -> list[str]:
    def shown(value: float | None, digits: int = 0) -> str:
        return "-" if value is None else f"{value:,.{digits}f}"

    return [
        shown(figures.rate),
        f"{figures.rate_least:,.0f} to {figures.rate_most:,.0f}",
        shown(figures.per_core),
        shown(figures.p50_ms, 1),
        shown(figures.p99_ms, 1),
        shown(figures.half_p99_ms, 1),
    ]


def table(found: Mapping[Row, Figures]) -> Table:
    drawn = Table(title="Checks, one server process")
    drawn.add_column("")
    for column in COLUMNS:
        drawn.add_column(column, justify="right")
    for row in Row:
        drawn.add_row(row.label, *cells(found[row]))
    return drawn


def markdown(found: Mapping[Row, Figures]) -> str:
    lines = ["| | " + " | ".join(COLUMNS) + " |", "|---|" + "---:|" * len(COLUMNS)]
    lines += [f"| {row.label} | " + " | ".join(cells(found[row])) + " |" for row in Row]
    lines += ["", *(f"- {aim}" for aim in aims(found))]
    return "\n".join(lines)


def table_in(page: str) -> str:
    """The table that the page holds. Raises ValueError if its two marks are not there."""
    begin, end = page.index(_BEGIN) + len(_BEGIN), page.index(_END)
    return page[begin:end].strip()


def with_table(page: str, text: str) -> str:
    """The page with its table replaced. Raises ValueError if its two marks are not there."""
    begin, end = page.index(_BEGIN) + len(_BEGIN), page.index(_END)
    return f"{page[:begin]}\n\n{text}\n\n{page[end:]}"
