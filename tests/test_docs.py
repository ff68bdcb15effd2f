"""What the documents promise is there: commands that parse, settings with their defaults, files that links lead to."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from nftloyalty.cli.main import app
from nftloyalty.config import SETTINGS

ROOT = Path(__file__).parents[1]
DOCUMENTS = sorted([ROOT / "README.md", *(ROOT / "docs").rglob("*.md")])


def names(path: Path) -> str:
    return str(path.relative_to(ROOT))


def in_blocks(text: str) -> Iterator[str]:
    """The commands of a document's code blocks, complete as they stand."""
    yield from re.findall(r"^ {4,}(?:\$ )?(nftloyalty .*)$", text, re.MULTILINE)
    for fenced in re.findall(r"^```[a-z]*\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        yield from re.findall(r"^(?:\$ )?(nftloyalty .*)$", fenced, re.MULTILINE)


def in_sentences(text: str) -> Iterator[str]:
    """The commands that a document's sentences name, often without what they need."""
    yield from re.findall(r"`(nftloyalty [^`\n]+)`", text)


def command_of(line: str) -> tuple[Any, list[str]]:
    """The command that a line names, and its arguments."""
    words = shlex.split(line.partition(" > ")[0], comments=True)[1:]
    command: Any = typer.main.get_command(app)
    with command.make_context("nftloyalty", words) as ctx:  # takes the options that stand before the command
        rest = [*ctx._protected_args, *ctx.args]
    while rest and (inner := getattr(command, "commands", {}).get(rest[0])) is not None:
        command, rest = inner, rest[1:]
    assert getattr(command, "commands", None) is None, f"{line}: there is no such command"
    return command, rest


@pytest.fixture(autouse=True)
def no_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of this machine, that is."""
    for setting in SETTINGS:
        monkeypatch.delenv(setting.name, raising=False)


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_the_commands_of_a_document_exist_and_parse(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    for line in in_blocks(text):
        command, arguments = command_of(line)
        command.make_context("nftloyalty", arguments).close()
    for line in in_sentences(text):
        if "--help" not in line and "--version" not in line:
            command, arguments = command_of(line)
            known = {option for parameter in command.params for option in parameter.opts}
            assert {word for word in arguments if word.startswith("--")} <= known, line


def test_the_readme_shows_the_first_steps() -> None:
    lines = list(in_blocks((ROOT / "README.md").read_text(encoding="utf-8")))
    shown = {word for line in lines for word in line.split()}
    assert {"chain", "init", "keys", "deploy", "mint", "verify", "serve", "vouchers"} <= shown


def test_every_setting_stands_in_the_operators_guide() -> None:
    guide = (ROOT / "docs" / "operating.md").read_text(encoding="utf-8")
    rows = {
        cells[0].strip("`"): cells
        for line in guide.splitlines()
        if line.startswith("|") and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 4
    }
    for setting in SETTINGS:
        assert setting.name in rows, f"{setting.name} is missing"
        default, unit = rows[setting.name][1].strip("`"), rows[setting.name][2]
        assert default == (setting.default or "none"), setting.name
        assert unit == setting.unit, setting.name
    known = {setting.name for setting in SETTINGS}
    told = {name for name in rows if re.fullmatch(r"[A-Z]+(?:_[A-Z]+)+", name)}
    assert told <= known | {"NFTLOYALTY_PROGRAM"}, "settings that do not exist"


@pytest.mark.parametrize("document", DOCUMENTS, ids=names)
def test_links_to_files_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#\s]+)[^)]*\)", document.read_text(encoding="utf-8")):
        if not re.match(r"[a-z]+:", target):
            assert (document.parent / target).exists(), f"{names(document)} links to {target}"
