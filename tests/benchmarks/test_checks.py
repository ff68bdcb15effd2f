"""The benchmark of checks: its aims, its table, and that what is committed and shown is what it measured."""

import json
from dataclasses import replace
from typing import Any

import pytest

from benchmarks.checks import ground, plain, report
from benchmarks.checks.report import Figures, Row, aims, figures
from benchmarks.load import Run

EVEN = Figures(1000, 900, 1100, 1000, 1.0, 2.0, 1.0, 2.0)


def found(**changes: Figures) -> dict[Row, Figures]:
    return {row: changes.get(row.name, EVEN) for row in Row}


def missed(**changes: Figures) -> list[str]:
    return [aim.what for aim in aims(found(**changes)) if not aim.met]


def test_what_is_as_fast_as_its_limit_meets_every_aim() -> None:
    assert missed() == []


@pytest.mark.parametrize(
    ("row", "changes", "what"),
    [
        (Row.RAW, {"per_core": 1000 / 0.64}, ["check on SQLite / raw route"]),
        (Row.BARE, {"rate": 1000 / 0.59}, ["check on PostgreSQL / bare SELECT"]),
        (Row.SQLITE_SMALL, {"per_core": 1300}, ["check on SQLite, 1,000,000 / 1,000 holdings"]),
        (Row.POSTGRESQL_SMALL, {"rate": 700}, ["check on PostgreSQL, 1,000,000 / 1,000 holdings"]),
        (Row.SQLITE_LARGE, {"half_p99_ms": 11}, [f"p99 at half load, {Row.SQLITE_LARGE.label}, ms"]),
        (Row.POSTGRESQL_LARGE, {"half_p99_ms": None}, [f"p99 at half load, {Row.POSTGRESQL_LARGE.label}, ms"]),
    ],
)
def test_what_misses_an_aim_is_named(row: Row, changes: dict[str, Any], what: list[str]) -> None:
    assert missed(**{row.name: replace(EVEN, **changes)}) == what


def test_figures_are_the_median_and_the_spread() -> None:
    runs = [Run(rate, 2 * rate, rate / 100, rate / 10) for rate in (300.0, 100.0, 200.0)]
    halves = [Run(50, 50, 7, late) for late in (8, 90, 9)]
    assert figures(runs, halves) == Figures(200, 100, 300, 400, 2.0, 20.0, 7, 9)
    assert figures(runs).half_p99_ms is None


def test_the_json_holds_every_figure() -> None:
    assert report.of_json(report.to_json(found(), {})) == found()


def test_the_page_keeps_everything_but_its_table() -> None:
    page = report.DOCS.read_text(encoding="utf-8")
    assert report.with_table(page, report.table_in(page)) == page
    assert report.table_in(report.with_table(page, "| a |")) == "| a |"


def test_the_page_shows_what_was_measured() -> None:
    committed = report.of_json(report.RESULTS.read_text(encoding="utf-8"))
    shown = report.table_in(report.DOCS.read_text(encoding="utf-8")).splitlines()
    # Rounding twice may differ from rounding once by a digit, so rows are compared by their labels and rates.
    for row in Row:
        assert any(line.startswith(f"| {row.label} | {committed[row].rate:,.0f} |") for line in shown), row


def test_the_raw_route_sends_what_a_check_sends() -> None:
    assert json.loads(plain.BODY) == plain.ANSWER


def test_wallets_are_spread_and_never_the_same() -> None:
    wallets = {ground.wallet(number) for number in range(10_000)}
    assert len(wallets) == 10_000
    assert len({wallet[0] for wallet in wallets}) == 256
