"""What is sealed opens with the right key about the right thing only, and the key is made once and never shown."""

import copy
import logging
import os
import pickle
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nftloyalty.errors import KeyProblem
from nftloyalty.vault import sealing
from nftloyalty.vault.sealing import Seal, key_id_of
from tests.conftest import ROOT

PLAIN = b"the secret of an endpoint"
ABOUT = b"secret of endpoint 1"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "home" / "seal.key"


def test_what_was_sealed_opens(file: Path) -> None:
    sealed = Seal(file).seal(PLAIN, ABOUT)
    assert PLAIN not in sealed
    assert Seal(file).unseal(sealed, ABOUT) == PLAIN


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    plain=st.binary(max_size=200), about=st.binary(max_size=50), place=st.integers(min_value=0), bit=st.integers(0, 7)
)
def test_a_changed_bit_anywhere_opens_nothing(file: Path, plain: bytes, about: bytes, place: int, bit: int) -> None:
    seal = Seal(file)
    sealed = seal.seal(plain, about)
    assert seal.unseal(sealed, about) == plain
    changed = bytearray(sealed)
    changed[place % len(sealed)] ^= 1 << bit
    with pytest.raises(KeyProblem):
        seal.unseal(bytes(changed), about)


def test_about_something_else_it_does_not_open(file: Path) -> None:
    seal = Seal(file)
    sealed = seal.seal(PLAIN, ABOUT)
    for other in (b"", b"secret of endpoint 2", ABOUT + b"\0"):
        with pytest.raises(KeyProblem, match="stands where it does not belong"):
            seal.unseal(sealed, other)


@pytest.mark.parametrize("sealed", [b"", b"\x01", b"\x02" + bytes(60), PLAIN, bytes(100)])
def test_what_was_never_sealed_is_refused(file: Path, sealed: bytes) -> None:
    Seal(file).seal(PLAIN, ABOUT)
    with pytest.raises(KeyProblem, match="none"):
        Seal(file).unseal(sealed, ABOUT)


def test_twice_the_same_is_not_the_same(file: Path) -> None:
    seal = Seal(file)
    assert len({seal.seal(PLAIN, ABOUT) for _ in range(100)}) == 100


def test_nothing_is_made_before_it_is_needed(file: Path) -> None:
    seal = Seal(file)
    assert not seal.exists
    with pytest.raises(KeyProblem, match="there is no key file") as refused:
        seal.unseal(b"\x01" + bytes(60), ABOUT)
    assert str(file) in refused.value.message
    assert not file.exists()
    seal.seal(PLAIN, ABOUT)
    assert seal.exists


def test_the_file_is_for_its_owner_only(file: Path) -> None:
    Seal(file).seal(PLAIN, ABOUT)
    assert file.stat().st_mode & 0o777 == 0o600
    assert file.parent.stat().st_mode & 0o777 == 0o700
    assert [path.name for path in file.parent.iterdir()] == ["seal.key"]


def test_the_wrong_file_is_named(file: Path, tmp_path: Path) -> None:
    sealed = Seal(file).seal(PLAIN, ABOUT)
    other = Seal(tmp_path / "other.key")
    other.seal(PLAIN, ABOUT)
    with pytest.raises(KeyProblem, match="does not hold the key") as refused:
        other.unseal(sealed, ABOUT)
    assert str(tmp_path / "other.key") in refused.value.message


@pytest.mark.parametrize("content", [b"", b"\n", b"key\n", b"00 AAAA\n", b"\xff\xfe", b"0011223344556677 " + b"A" * 44])
def test_a_damaged_file_is_named_and_left_as_it_is(file: Path, content: bytes) -> None:
    file.parent.mkdir()
    file.write_bytes(content)
    for act, given_bytes in ((Seal(file).seal, PLAIN), (Seal(file).unseal, b"\x01" + bytes(60))):
        with pytest.raises(KeyProblem, match="is no key file of ours") as refused:
            act(given_bytes, ABOUT)
        assert str(file) in refused.value.message
    assert file.read_bytes() == content


def test_a_file_that_can_not_be_made_or_read_is_named(tmp_path: Path) -> None:
    (tmp_path / "in the way").write_text("")
    with pytest.raises(KeyProblem, match="can't be made"):
        Seal(tmp_path / "in the way" / "seal.key").seal(PLAIN, ABOUT)
    (tmp_path / "folder").mkdir()
    with pytest.raises(KeyProblem, match="can't be read"):
        Seal(tmp_path / "folder").seal(PLAIN, ABOUT)


def test_a_file_of_the_same_name_is_never_replaced(file: Path) -> None:
    """One that comes to be between the look and the making."""
    first, second = Seal(file), Seal(file)
    sealed = first.seal(PLAIN, ABOUT)
    content = file.read_bytes()
    second._make()
    assert file.read_bytes() == content
    assert second.unseal(sealed, ABOUT) == PLAIN


def test_many_threads_agree_on_one_key(file: Path) -> None:
    sealed: list[bytes] = []
    start = threading.Barrier(8)

    def run() -> None:
        seal = Seal(file)
        start.wait()
        sealed.append(seal.seal(PLAIN, ABOUT))

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [Seal(file).unseal(each, ABOUT) for each in sealed] == [PLAIN] * 8


def test_many_processes_agree_on_one_key(file: Path) -> None:
    script = (
        "import sys, pathlib; from nftloyalty.vault.sealing import Seal; sys.stdin.readline();"
        "sys.stdout.write(Seal(pathlib.Path(sys.argv[1])).seal(b'word', b'row').hex())"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", script, str(file)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        for _ in range(3)
    ]
    for process in processes:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    found = [process.communicate(timeout=60)[0] for process in processes]
    assert [Seal(file).unseal(bytes.fromhex(each), b"row") for each in found] == [b"word"] * 3


def test_with_a_further_key_the_old_ones_still_open(file: Path) -> None:
    here, elsewhere = Seal(file), Seal(file)
    old = here.seal(PLAIN, ABOUT)
    assert elsewhere.unseal(old, ABOUT) == PLAIN
    here.add_key()
    new = here.seal(PLAIN, ABOUT)
    assert new[1:9] != old[1:9]
    # Another process finds the new key when it meets what it sealed.
    for seal in (here, elsewhere, Seal(file)):
        assert [seal.unseal(each, ABOUT) for each in (old, new)] == [PLAIN, PLAIN]
    assert file.stat().st_mode & 0o777 == 0o600
    assert len(file.read_bytes().splitlines()) == 2


def test_a_further_key_seals_in_every_process_at_once(file: Path) -> None:
    """Else a key that is dropped could still be sealing somewhere."""
    here, elsewhere = Seal(file), Seal(file)
    old = elsewhere.seal(PLAIN, ABOUT)
    key = here.add_key()
    assert key_id_of(elsewhere.seal(PLAIN, ABOUT)) == key != key_id_of(old)
    assert here.key_ids() == [key_id_of(old), key]
    file.rename(file.with_suffix(".away"))
    with pytest.raises(KeyProblem, match="there is no key file"):
        elsewhere.seal(PLAIN, ABOUT)


def test_a_dropped_key_opens_nothing_and_the_newest_is_never_dropped(file: Path, tmp_path: Path) -> None:
    seal = Seal(file)
    old = seal.seal(PLAIN, ABOUT)
    seal.add_key()
    new = seal.seal(PLAIN, ABOUT)
    link = tmp_path / "link.key"
    link.symlink_to(file)
    Seal(link).drop_keys(seal.key_ids())
    assert link.is_symlink()
    assert seal.key_ids() == [key_id_of(new)]
    assert Seal(file).unseal(new, ABOUT) == PLAIN
    with pytest.raises(KeyProblem, match="does not hold the key"):
        Seal(file).unseal(old, ABOUT)
    assert file.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["seal.key"]


def test_a_key_that_was_replaced_meanwhile_is_not_believed_to_be_added(
    file: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seal = Seal(file)
    seal.seal(PLAIN, ABOUT)
    before = file.read_bytes()
    whole = Seal._write

    def write(self: Seal, flags: int, line: bytes) -> None:
        whole(self, flags, line)
        file.write_bytes(before)

    monkeypatch.setattr(Seal, "_write", write)
    with pytest.raises(KeyProblem, match="was changed meanwhile"):
        seal.add_key()


def test_a_key_that_is_added_while_others_are_dropped_is_not_lost(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    here, elsewhere = Seal(file), Seal(file)
    here.seal(PLAIN, ABOUT)
    here.add_key()
    added: list[str] = []
    adding = threading.Thread(target=lambda: added.append(elsewhere.add_key()))
    write = sealing._write

    def slowly(path: Path, flags: int, content: bytes) -> None:
        if flags & os.O_EXCL:
            adding.start()
            adding.join(timeout=0.3)
        write(path, flags, content)

    monkeypatch.setattr(sealing, "_write", slowly)
    here.drop_keys(here.key_ids())
    adding.join()
    assert added == Seal(file).key_ids()[-1:]


def test_dropping_keys_leaves_the_file_to_those_who_may_read_it(file: Path) -> None:
    seal = Seal(file)
    seal.seal(PLAIN, ABOUT)
    seal.add_key()
    file.chmod(0o640)
    seal.drop_keys(seal.key_ids())
    assert len(seal.key_ids()) == 1 and file.stat().st_mode & 0o777 == 0o640


def test_a_further_key_that_a_crash_left_unfinished_harms_nothing(file: Path) -> None:
    seal = Seal(file)
    old = seal.seal(PLAIN, ABOUT)
    with file.open("ab") as lines:
        lines.write(b"0011223344556677 c29tZSBvZ")
    again = Seal(file)
    assert again.unseal(old, ABOUT) == PLAIN
    again.add_key()
    new = again.seal(PLAIN, ABOUT)
    assert [Seal(file).unseal(each, ABOUT) for each in (old, new)] == [PLAIN, PLAIN]


def test_a_file_system_without_links_will_do(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", refuse)
    sealed = Seal(file).seal(PLAIN, ABOUT)
    assert Seal(file).unseal(sealed, ABOUT) == PLAIN
    assert file.stat().st_mode & 0o777 == 0o600


def test_neither_key_nor_secret_shows(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    seal = Seal(file)
    sealed = seal.seal(PLAIN, ABOUT)
    key = file.read_bytes().split()[1].decode()
    with caplog.at_level(logging.DEBUG), pytest.raises(KeyProblem) as refused:
        seal.unseal(sealed, b"another row")
    told = repr(seal) + str(seal) + caplog.text + "".join(traceback.format_exception(refused.value))
    assert key not in told
    assert PLAIN.decode() not in told
    assert repr(seal) == f"Seal({str(file)!r})"
    for take in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="never pickled"):
            take(seal)
