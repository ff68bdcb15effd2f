"""The benchmark of sending and indexing tells what it measured, and what it should have reached."""

import json

import pytest

from benchmarks.speed import indexing, report, sending
from benchmarks.speed.report import BARE, NODE, OURS, Result

PAGE = report.DOCS.read_text(encoding="utf-8")


def result(cards: float = 6_000, singles: float = 400, events: float = 15_000) -> Result:
    """What a run finds whose node alone takes 10,000 cards and 1,000 transactions a second."""

    def both(cards: float, singles: float) -> tuple[sending.Rate, sending.Rate]:
        return sending.Rate(1_000, 1_000 / cards, 500), sending.Rate(100, 100 / singles, 1)

    return Result(
        setting={"database": "sqlite 3"},
        sent={OURS: both(cards, singles), NODE: both(10_000, 1_000)},
        indexed={OURS: indexing.Rate(1_000, 1_000 / events), BARE: indexing.Rate(1_000, 0.01)},
    )


def test_a_run_that_reaches_its_aims_misses_nothing() -> None:
    assert result().missed() == []


def test_what_falls_short_is_told_unless_its_share_of_the_node_is_large_enough() -> None:
    assert result(cards=4_600, singles=460).missed() == [], "46 % of what this node takes"
    (cards, singles, events) = result(cards=2_000, singles=100, events=9_000).missed()
    assert cards == "2,000 cards/s, 20 % of the node; aim 5,000"
    assert singles == "100 tx/s, 10 % of the node; aim 300"
    assert events == "9,000 events/s; aim 10,000"


def test_a_rate_in_batches_counts_transactions_too() -> None:
    rate = sending.Rate(1_001, 2.0, 500)
    assert (rate.cards_per_second, rate.transactions_per_second) == (500.5, 1.5)


def test_the_tables_replace_those_of_the_page_and_nothing_else() -> None:
    page = report.with_tables(PAGE, result())
    assert "| nftloyalty | 6,000 | 60 % | 400 | 40 % |" in page
    assert "| nftloyalty | 15,000 |" in page
    before, after = PAGE.partition(report._BEGIN)[0], PAGE.partition(report._END)[2]
    assert page.startswith(before)
    assert page.endswith(after)
    assert report.with_tables(page, result()) == page
    with pytest.raises(ValueError, match="substring"):
        report.with_tables("no page of ours", result())


def test_the_page_shows_the_committed_figures() -> None:
    figures = json.loads(report.RESULTS.read_text(encoding="utf-8"))
    for name, found in figures["sending"].items():
        (row,) = [line for line in PAGE.splitlines() if line.startswith(f"| {name} |") and line.count("%") == 2]
        assert f"| {found['cards_per_second_in_batches']:,} |" in row
        assert f"| {found['transactions_per_second']:,} |" in row
    for name, found in figures["indexing"].items():
        assert f"| {name} | {found['events_per_second']:,} |" in PAGE
