"""Files that come in: what a command says of one that it can't read, whatever it is."""

import os
from pathlib import Path

import pytest

from nftloyalty.cli import session
from nftloyalty.cli.session import read_lines, read_text
from nftloyalty.domain.roster_file import MOST_BYTES
from nftloyalty.errors import BadInput
from tests.app.build import new_wallet, program_text
from tests.cli.conftest import Run
from tests.cli.test_commands import shop

__all__ = ["shop"]  # a fixture


def fault(path: Path) -> str:
    with pytest.raises(BadInput) as caught:
        list(read_lines(path))
    (problem,) = caught.value.problems
    assert problem.place == str(path)
    return problem.what


def test_a_file_that_is_not_there_or_none_is_told(tmp_path: Path) -> None:
    assert fault(tmp_path / "members.csv") == "there is no such file"
    with pytest.raises(BadInput) as caught:
        list(read_lines(tmp_path / "members.csv"))
    assert caught.value.problems[0].mend == "name a CSV file; its first line names the columns"
    assert fault(tmp_path) == "is a folder"
    assert fault(Path("\0")) == "is not the name of a file"


def test_a_larger_file_than_any_list_is_refused_by_its_size(tmp_path: Path) -> None:
    large = tmp_path / "large.csv"
    large.write_bytes(b"")
    os.truncate(large, MOST_BYTES + 1)
    assert fault(large) == "is larger than 32 MB"


def test_a_device_without_an_end_is_not_read_to_it() -> None:
    assert fault(Path("/dev/zero")) == "is larger than 32 MB"


def test_a_pipe_is_read_like_a_file(tmp_path: Path) -> None:
    reading, writing = os.pipe()
    os.write(writing, b"address\r\n0x12\r")
    os.close(writing)
    assert list(read_lines(Path(f"/dev/fd/{reading}"))) == ["address\n", "0x12\n"]
    os.close(reading)


@pytest.mark.parametrize(
    ("content", "line"),
    [(b"\xff", 1), (b"a\nb\r\nc\xe9", 3), (b"a\rb\r\xe9", 3), ("a\u2028b\x0b".encode() + b"\xe9", 1)],
)
def test_text_that_is_not_utf8_is_named_with_its_line(tmp_path: Path, content: bytes, line: int) -> None:
    file = tmp_path / "program.toml"
    file.write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_text(file)
    assert [str(each) for each in caught.value.problems] == [f"line {line}: is not UTF-8 (save the file as UTF-8 text)"]


def test_a_text_has_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "MOST_TEXT_BYTES", 4)
    file = tmp_path / "program.toml"
    file.write_text("1234")
    assert read_text(file) == "1234"
    file.write_text("12345")
    with pytest.raises(BadInput, match="1 problem"):
        read_text(file)


def test_what_is_no_list_is_refused_and_nothing_is_sent(shop: Run) -> None:
    Path("latin.csv").write_bytes(f"address,tier\n{new_wallet()},caf".encode() + b"\xe9\n0x12,gold\n")
    Path("sheet.csv").write_bytes(b"PK\x03\x04\x00\x00" * 1000)
    Path("empty.csv").write_bytes(b"")
    for file, said in (
        ("latin.csv", "line 2: character 47 is not UTF-8 (save the file as CSV in UTF-8"),
        ("latin.csv", "line 3: '0x12': not an address"),
        ("sheet.csv", "line 1: holds the character NUL, so this is no text"),
        ("empty.csv", "line 1: empty.csv is empty (the first line is the header: address,tier,expiry)"),
        (".", ".: is a folder (name a file in it)"),
        ("/dev/zero", "/dev/zero: is larger than 32 MB"),
    ):
        refused = shop("mint", file)
        assert (refused.status, refused.out) == (2, ""), refused.err
        assert said in refused.err


def test_lines_are_counted_as_an_editor_counts_them(shop: Run) -> None:
    Path("old.csv").write_bytes(f"address\r# one\u2028comment\x0c\r{new_wallet()}\r0x12".encode())
    assert "line 4: '0x12': not an address" in shop("mint", "old.csv").err


def test_a_program_that_is_no_text_is_told(run: Run) -> None:
    Path("program.toml").write_bytes(program_text().encode() + b"# caf\xe9\n")
    refused = run("deploy")
    assert refused.status == 2
    assert "is not UTF-8" in refused.err
