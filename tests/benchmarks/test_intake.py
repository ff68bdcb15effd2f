"""The benchmark of the intake: its aims, and what it writes."""

import json
from dataclasses import replace

import pytest

from benchmarks.intake import BEGIN, DOCS, END, RESULTS, Round, markdown, missed, of_json, to_json

GOOD = Round(commits=4_000, alone=700, singles=1_500, p99_ms=60, items=20_000)


def test_what_reaches_its_aims_misses_nothing() -> None:
    assert missed({"SQLite": GOOD}) == []
    # On a slow machine the share of bare commits counts.
    assert missed({"SQLite": replace(GOOD, commits=1_000, singles=350)}) == []


@pytest.mark.parametrize(
    ("found", "told"),
    [
        (replace(GOOD, singles=1_390), "SQLite: 1,390 requests/s, 35 % of bare commits; aim 1,500 or 35 %"),
        (replace(GOOD, items=19_999), "SQLite: 19,999 items/s; aim 20,000"),
    ],
)
def test_what_misses_an_aim_is_told(found: Round, told: str) -> None:
    assert missed({"PostgreSQL": GOOD, "SQLite": found}) == [told]


def test_the_json_holds_the_ratio() -> None:
    found = json.loads(to_json({"SQLite": GOOD}, {"machine": {"cores": 2}}))
    assert found["machine"] == {"cores": 2}
    assert found["intake"]["SQLite"]["requests_of_bare_commits_percent"] == 38


def test_the_page_shows_the_committed_figures() -> None:
    page = DOCS.read_text(encoding="utf-8")
    shown = page[page.index(BEGIN) + len(BEGIN) : page.index(END)].strip()
    assert shown == markdown(of_json(RESULTS.read_text(encoding="utf-8")))
