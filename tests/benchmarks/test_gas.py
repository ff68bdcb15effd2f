"""The gas benchmark's own parts, and that what is committed and shown elsewhere is what it measured."""

import json
import os
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks.gas import chain, ours, report, sources
from benchmarks.gas.__main__ import main
from benchmarks.gas.rows import LIMITS, Figures, Row, each, exceeded
from nftloyalty.chain.abi import event_topic
from nftloyalty.chain.contracts import Membership
from nftloyalty.cli import demo
from nftloyalty.domain.words import card_item
from tests.conftest import ROOT, tool

PAGE = report.DOCS.read_text(encoding="utf-8")
COMMITTED = report.RESULTS.read_text(encoding="utf-8")
FIGURES = report.figures_of(COMMITTED)


@pytest.fixture
def anvil_on_path(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", f"{tool('anvil').parent}{os.pathsep}{os.environ.get('PATH', '')}")


@pytest.fixture
def here(anvil_on_path: None) -> Iterator[chain.Chain]:
    with chain.running() as running:
        yield running


def some_gas() -> dict[str, Figures]:
    """Other figures for every contestant; all but ours know only one act."""
    gas: dict[str, Figures] = {key: {Row.OPEN: 1_000 + number} for number, key in enumerate(report.CONTESTANTS)}
    gas[report.OURS] = {row: 10 + number for number, row in enumerate(Row)}
    return gas


# -------------------------------------------------------------------------------------------------------------- limits


def test_figures_at_the_limits_keep_them() -> None:
    assert exceeded(dict(LIMITS)) == []


@pytest.mark.parametrize("row", LIMITS)
def test_one_gas_above_a_limit_is_named_with_its_row(row: Row) -> None:
    (sentence,) = exceeded({**LIMITS, row: LIMITS[row] + 1})
    assert sentence == f"{row.label}: {LIMITS[row] + 1:,} gas, 1 above the limit of {LIMITS[row]:,}"


def test_a_limit_whose_row_was_not_measured_is_no_success() -> None:
    with pytest.raises(KeyError):
        exceeded({row: 0 for row in LIMITS if row is not Row.CARD})


@pytest.mark.parametrize(("gas", "share"), [(0, 0), (1, 1), (100, 1), (101, 2), (3_000_000, 30_000)])
def test_the_share_of_a_batch_is_rounded_up(gas: int, share: int) -> None:
    assert each(gas) == share


@pytest.mark.parametrize(("above", "status"), [(0, 0), (1, 1)])
def test_the_exit_status_tells_whether_the_limits_are_kept(
    above: int, status: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gas = some_gas()
    gas[report.OURS] |= LIMITS
    gas[report.OURS][Row.CARD] += above
    monkeypatch.setattr("benchmarks.gas.__main__.sources.install", lambda: False)
    monkeypatch.setattr("benchmarks.gas.__main__.measure", lambda: report.Result({}, {}, gas))
    assert main(["--json", str(tmp_path / "gas.json")]) == status
    assert report.figures_of((tmp_path / "gas.json").read_text(encoding="utf-8")) == gas
    assert (f"{Row.CARD.label}: 62,001 gas" in capsys.readouterr().err) is bool(above)


def test_a_benchmark_that_cannot_run_says_why(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr("benchmarks.gas.__main__.sources.install", lambda: False)
    assert main([]) == 1
    assert "node was not found" in capsys.readouterr().err


# -------------------------------------------------------------------------------------------------------------- tables


@pytest.mark.parametrize("width", [60, 80, 132, 300])
def test_tables_fit_the_terminal_and_lose_nobody(width: int) -> None:
    console = Console(width=width, record=True, quiet=True)
    seen: list[str] = []
    for table in report.tables(some_gas(), width):
        first, *peers = [str(column.header) for column in table.columns][1:]
        assert first == "nftloyalty"
        seen += peers
        assert console.measure(table).minimum <= width
    assert seen == [short for key, (_, short) in report.CONTESTANTS.items() if key != report.OURS]


def test_a_contestant_without_such_a_thing_has_a_dash() -> None:
    lines = report.markdown(some_gas()).splitlines()
    assert lines[2 + list(Row).index(Row.OPEN)] == (
        "| open a program | 11 | 1,001 | 1,002 | 1,003 | 1,004 | 1,005 | 1,006 | 1,007 |"
    )
    assert lines[2 + list(Row).index(Row.CARD)] == "| a card | 13 |" + " - |" * 7


def test_the_json_gives_the_figures_back() -> None:
    result = report.Result({"chain": {"hardfork": "osaka"}}, report.our_artifacts(), some_gas())
    assert report.figures_of(result.to_json()) == some_gas()
    assert result.to_json() != replace(result, gas={**some_gas(), report.OURS: {}}).to_json()


def test_a_new_table_takes_the_old_ones_place() -> None:
    page = report.with_table(PAGE, "| new |")
    assert report.table_in(page) == "| new |"
    assert report.with_table(page, report.table_in(PAGE)) == PAGE


def test_a_page_without_a_place_for_the_table_is_an_error() -> None:
    with pytest.raises(ValueError, match="not found"):
        report.with_table("# Benchmarks", "| new |")


# ------------------------------------------------------------------------------------------------------- what is shown


def test_the_committed_figures_keep_the_limits() -> None:
    assert exceeded(FIGURES[report.OURS]) == []


def test_the_page_shows_the_committed_figures() -> None:
    assert report.table_in(PAGE) == report.markdown(FIGURES), "run make bench-gas"


def test_the_page_names_the_limits() -> None:
    limits = PAGE.partition("### Our limits")[2].partition("\n#")[0]
    found = re.findall(r"^\| ([^|]+) \| ([\d,]+) \|$", limits, re.MULTILINE)
    assert dict(found) == {row.label: f"{limit:,}" for row, limit in LIMITS.items()}
    assert json.loads(COMMITTED)["limits"] == LIMITS


def test_the_readme_says_what_the_committed_figures_are() -> None:
    said = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    plain, mine = FIGURES["openzeppelin-721"], FIGURES[report.OURS]
    less = 1 - mine[Row.CARD_BATCH] / plain[Row.CARD_BATCH]
    assert f"In a batch of 100, a card costs {less:.0%} less gas".replace("%", " %") in said
    share = mine[Row.FURTHER_BATCH] / plain[Row.FURTHER_BATCH]
    assert f"A further stamp costs {share:.0%} of what".replace("%", " %") in said
    for known in ("unlock", "thirdweb"):
        assert round(4 * mine[Row.CARD_BATCH] / FIGURES[known][Row.CARD_BATCH]) == 1


def test_the_demo_shows_the_committed_figures() -> None:
    by_name = {name: FIGURES[key] for key, (name, _) in report.CONTESTANTS.items()}
    assert {name: (alone, in_batch) for name, alone, in_batch in demo.PEERS} == {
        name: (by_name[name][Row.CARD], by_name[name][Row.CARD_BATCH]) for name, _, _ in demo.PEERS
    }


def test_the_committed_figures_are_of_the_committed_artifacts() -> None:
    assert json.loads(COMMITTED)["artifacts"] == report.our_artifacts(), "run make bench-gas"


def test_ours_and_peers_are_compiled_alike() -> None:
    compilers = [json.loads(path.read_text())["compiler"] for path in ROOT.glob("nftloyalty/artifacts/*.json")]
    assert compilers
    assert all(compiler == json.loads(COMMITTED)["compiler"] for compiler in compilers)


def test_the_committed_figures_are_of_the_pinned_versions() -> None:
    committed = json.loads(COMMITTED)
    assert committed["peers"] == sources.versions()
    pinned = json.loads((ROOT / "contracts" / "package.json").read_text(encoding="utf-8"))
    assert committed["chain"] == {"anvil": pinned["devDependencies"]["@foundry-rs/anvil"], "hardfork": chain.HARDFORK}
    assert committed["peers"]["solady"] == pinned["dependencies"]["solady"], "ours and theirs are built on one Solady"


def test_the_lock_file_holds_the_pinned_versions_and_no_servers() -> None:
    package = json.loads((sources.HERE / "package.json").read_text(encoding="utf-8"))
    packages = json.loads((sources.HERE / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    for name, version in package["dependencies"].items():
        assert packages[f"node_modules/{name}"]["version"] == version
    thirdweb = "node_modules/@thirdweb-dev/contracts/node_modules/"
    for name, version in package["overrides"]["@thirdweb-dev/contracts"].items():
        place = f"{thirdweb}{name}" if f"{thirdweb}{name}" in packages else f"node_modules/{name}"
        assert packages[place]["version"] == version
    assert [name for name, entry in packages.items() if "resolved" in entry] == []


def test_ours_has_a_figure_for_every_row() -> None:
    assert set(FIGURES[report.OURS]) == set(Row)
    assert all(figure > 0 for figures in FIGURES.values() for figure in figures.values())


# ----------------------------------------------------------------------------------------------------------- measuring


def test_measuring_ours_again_gives_the_committed_figures(here: chain.Chain) -> None:
    assert ours.measure(here) == FIGURES[report.OURS], "run make bench-gas"


def test_a_call_that_would_be_refused_is_not_measured(here: chain.Chain) -> None:
    program = ours.OurProgram(here)
    program.open()
    mint = Membership.encode_mint(chain.wallet("first").address, 1, 0)
    program.card(mint)
    with pytest.raises(sources.BenchmarkProblem, match="the wallet already holds it"):
        program.card(mint)


def test_a_batch_that_leaves_an_item_out_is_not_measured(here: chain.Chain) -> None:
    program = ours.OurProgram(here)
    program.open()
    members = [*chain.addresses("member", 2), *chain.addresses("member", 1)]
    data = Membership.encode_mint_batch([card_item(member, 1, 0) for member in members])
    with pytest.raises(sources.BenchmarkProblem, match="a batch of 3 did 2"):
        here.batch(program.hot, program.membership.address, data, event_topic("LoyaltyMembership", "Transfer"), 3)


def test_wallets_are_the_same_in_every_run_and_have_no_zero_byte() -> None:
    assert chain.wallet("owner").address == "0x4251063f16801A25968e6062879E8C6Cafb1c99E"
    numbers = [bytes.fromhex(address[2:]) for address in chain.addresses("member")]
    assert len(set(numbers)) == len(numbers)
    assert all(0 not in number for number in numbers)


# ------------------------------------------------------------------------------------------------------------- sources


@pytest.mark.parametrize(
    ("importer", "imported", "unit"),
    [
        ("peers/Solady721.sol", "solady/src/tokens/ERC721.sol", "solady/src/tokens/ERC721.sol"),
        ("a/tokens/One.sol", "./Two.sol", "a/tokens/Two.sol"),
        ("a/tokens/One.sol", "../../b/Two.sol", "b/Two.sol"),
        ("a/One.sol", "@old/contracts/Two.sol", "a/node_modules/@old/contracts/Two.sol"),
        ("a/One.sol", "@old/contracts-more/Two.sol", "@old/contracts-more/Two.sol"),
    ],
)
def test_an_import_names_a_source_unit(importer: str, imported: str, unit: str) -> None:
    remappings = {"@old/contracts/": "a/node_modules/@old/contracts/"}
    assert sources.unit_of(importer, imported, remappings) == unit


def test_a_contract_that_is_not_installed_is_named() -> None:
    build = sources.Build({"Nowhere": "peers/Nowhere.sol"}, {})
    with pytest.raises(sources.BenchmarkProblem, match=r"peers/Nowhere\.sol is not installed"):
        sources.sources_of(build)


def test_every_wrapper_is_compiled_and_every_compiled_wrapper_is_there() -> None:
    named = {unit for build in sources.BUILDS for unit in build.contracts.values() if unit.startswith("peers/")}
    assert named == {f"peers/{path.name}" for path in (sources.HERE / "contracts").glob("*.sol")}
