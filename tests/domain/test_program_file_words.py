"""docs/program-file.md says what the schema says."""

import re
from pathlib import Path

import pytest

from nftloyalty.domain.program_file import REQUIRED, SCHEMA, Key

DOCUMENT = Path(__file__).parents[2] / "docs" / "program-file.md"
WAYS_TO_SAY_NONE = {"none", "the opener"}


def tables() -> dict[str, dict[str, tuple[str, str]]]:
    """section -> key -> (value, default), as the document's tables say."""
    found: dict[str, dict[str, tuple[str, str]]] = {}
    section = ""
    for line in DOCUMENT.read_text(encoding="utf-8").splitlines():
        heading = re.fullmatch(r"## \[?\[([a-z_.]+)\]\]?", line)
        row = re.match(r"\| `(\w+)` \| (.+?) \| (.+?) \|", line)
        if heading:
            section = heading[1]
            found[section] = {}
        elif line.startswith("## "):
            section = ""
        elif row and section:
            found[section][row[1]] = (row[2], row[3])
    return found


def test_the_document_has_every_section_and_key_in_the_schemas_order() -> None:
    assert {section: list(keys) for section, keys in tables().items()} == {
        section: [key.name for key in keys] for section, keys in SCHEMA.items()
    }


ALL = [(section, key) for section, keys in SCHEMA.items() for key in keys]
NAMES = [f"{section}.{key.name}" for section, key in ALL]


@pytest.mark.parametrize(("section", "key"), ALL, ids=NAMES)
def test_the_document_tells_the_default(section: str, key: Key) -> None:
    _, default = tables()[section][key.name]
    if key.default is REQUIRED:
        assert default == "required"
    elif key.default is None:
        assert default in WAYS_TO_SAY_NONE
    else:
        spelled = str(key.default).lower() if isinstance(key.default, bool) else str(key.default).replace("'", '"')
        assert default == (f'"{spelled}"' if isinstance(key.default, str) else spelled)


@pytest.mark.parametrize(("section", "key"), ALL, ids=NAMES)
def test_the_document_tells_the_range(section: str, key: Key) -> None:
    value, _ = tables()[section][key.name]
    limits = re.fullmatch(r"(\d+) to (\d+)", value)
    takes_numbers = True
    try:
        key.check(3)
    except Exception:
        takes_numbers = False
    assert bool(limits) == takes_numbers
    if limits:
        least, most = int(limits[1]), int(limits[2])
        key.check(least)
        key.check(most)
        for beyond in (least - 1, most + 1):
            with pytest.raises(Exception, match="out of range"):
                key.check(beyond)
