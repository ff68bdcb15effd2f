"""Keys at rest: readable by others' wallets, never overwritten, never shown."""

import json
import logging
import os
import stat
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from eth_account import Account

from nftloyalty.errors import KeyProblem
from nftloyalty.vault import keystore
from nftloyalty.vault.keystore import Keystore
from nftloyalty.vault.kms import KmsReference

PASSWORD = "correct horse battery"
KEY = "4c0883a69102937d6231471b5dbb6204fe5129617082792ae468d01a3f362318"
ADDRESS = "0x2c7536E3605D9C16a7a3D7b1898e529396a65c23"


@pytest.fixture
def keys(tmp_path: Path) -> Keystore:
    return Keystore(tmp_path / "home" / "keys", work=2)


def everything_said(error: BaseException) -> str:
    said = "".join(traceback.format_exception(error)) + repr(error) + repr(vars(error))
    for hidden in (error.__cause__, error.__context__):
        if hidden is not None:
            said += everything_said(hidden)
    return said


# ---------------------------------------------------------------------------------------------------------------- roads


def test_a_new_key_opens_with_its_password(keys: Keystore) -> None:
    address = keys.create("hot", PASSWORD)
    key = keys.unlock("hot", PASSWORD)
    assert len(key) == 32
    assert Account.from_key(key).address == address == keys.address("hot")
    assert keys.names() == ["hot"]


def test_every_new_key_is_another_one(keys: Keystore) -> None:
    assert len({keys.create(f"k{number}", PASSWORD) for number in range(20)}) == 20


@pytest.mark.parametrize("text", [KEY, "0x" + KEY, f"  {KEY.upper()}\n"])
def test_an_imported_key_is_the_one_given(keys: Keystore, text: str) -> None:
    assert keys.import_key("old", text, PASSWORD) == ADDRESS
    assert keys.unlock("old", PASSWORD).hex() == KEY


def test_the_file_is_the_usual_one_that_other_wallets_read(tmp_path: Path) -> None:
    keys = Keystore(tmp_path / "keys")
    keys.import_key("hot", KEY, PASSWORD)
    content = json.loads((tmp_path / "keys" / "hot.json").read_text())
    assert Account.decrypt(content, PASSWORD).hex() == KEY
    assert content["version"] == 3
    assert content["crypto"]["kdf"] == "scrypt"
    assert content["crypto"]["kdfparams"]["n"] == 2**18
    assert KEY not in json.dumps(content).lower()


@pytest.mark.parametrize("kdf", ["scrypt", "pbkdf2"])
def test_a_file_of_another_wallet_opens(keys: Keystore, kdf: Any) -> None:
    keys.create("first", PASSWORD)
    content = Account.encrypt(bytes.fromhex(KEY), PASSWORD, kdf=kdf, iterations=2)
    (keys.folder / "theirs.json").write_text(json.dumps(content))
    assert keys.address("theirs") == ADDRESS
    assert keys.unlock("theirs", PASSWORD).hex() == KEY


def test_the_published_example_opens(keys: Keystore) -> None:
    """The scrypt test vector of the Web3 Secret Storage definition."""
    keys.folder.mkdir(parents=True)
    vector = {
        "address": "008aeeda4d805471df9b2a5b0f38a0c3bcba786b",
        "crypto": {
            "cipher": "aes-128-ctr",
            "cipherparams": {"iv": "83dbcc02d8ccb40e466191a123791e0e"},
            "ciphertext": "d172bf743a674da9cdad04534d56926ef8358534d458fffccd4e6ad2fbde479c",
            "kdf": "scrypt",
            "kdfparams": {
                "dklen": 32,
                "n": 262144,
                "p": 8,
                "r": 1,
                "salt": "ab0c7876052600dd703518d6fc3fe8984592145b591fc8fb5c6d43190334ba19",
            },
            "mac": "2103ac29920d71da29f15d75b4a16dbe95cfd7ff8faea1056c33131d846e3097",
        },
        "id": "3198bc9c-6672-5ab3-d995-4942343ae5b6",
        "version": 3,
    }
    (keys.folder / "vector.json").write_text(json.dumps(vector))
    key = keys.unlock("vector", "testpassword")
    assert key.hex() == "7a28b5ba57c53603b0b07b56bba752f7784bf506fa95edc395f5cf6c7514fe9d"


def test_passwords_may_have_any_letters(keys: Keystore) -> None:
    keys.create("hot", "zażółć gęślą 密码")
    keys.unlock("hot", "zażółć gęślą 密码")


def test_an_empty_home_has_no_keys(keys: Keystore) -> None:
    assert keys.names() == []


def test_other_files_in_the_folder_are_no_keys(keys: Keystore) -> None:
    keys.create("hot", PASSWORD)
    for name in ("README", ".hidden.json", "Bad Name.json", "0xabc.json", "hot.json.bak"):
        (keys.folder / name).write_text("{}")
    assert keys.names() == ["hot"]


# ------------------------------------------------------------------------------------------------------------ elsewhere

IN_KMS = KmsReference("arn:aws:kms:eu-central-1:111122223333:key/1234abcd", "eu-central-1", "https://kms.example")


def test_a_key_in_kms_stands_beside_the_others(keys: Keystore) -> None:
    keys.create("cold", PASSWORD)
    keys.add_kms("hot", IN_KMS, ADDRESS)
    assert keys.names() == ["cold", "hot"]
    assert (keys.address("hot"), keys.kms("hot"), keys.kms("cold")) == (ADDRESS, IN_KMS, None)
    assert stat.S_IMODE((keys.folder / "hot.json").stat().st_mode) == 0o600


def test_a_key_in_kms_has_nothing_to_unlock(keys: Keystore) -> None:
    keys.add_kms("hot", IN_KMS, ADDRESS)
    with pytest.raises(KeyProblem, match="the key 'hot' lies in AWS KMS and never leaves it"):
        keys.unlock("hot", PASSWORD)


def test_a_name_is_one_keys_wherever_it_lies(keys: Keystore) -> None:
    keys.create("hot", PASSWORD)
    keys.add_kms("warm", IN_KMS, ADDRESS)
    before = {name: (keys.folder / f"{name}.json").read_bytes() for name in keys.names()}
    for name in before:
        with pytest.raises(KeyProblem, match="already"):
            keys.add_kms(name, IN_KMS, ADDRESS)
    with pytest.raises(KeyProblem, match="already"):
        keys.create("warm", PASSWORD)
    assert {name: (keys.folder / f"{name}.json").read_bytes() for name in keys.names()} == before


def test_what_is_no_address_is_not_written_down(keys: Keystore) -> None:
    with pytest.raises(ValueError, match="not an address"):
        keys.add_kms("hot", IN_KMS, "0x12")
    assert not keys.folder.exists()


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("version", 2),
        ("address", "12"),
        ("address", None),
        ("key_id", "../evil"),
        ("key_id", 3),
        ("region", "us-east-1"),
        ("region", None),
        ("endpoint", "http://kms.example"),
        ("kind", "another-kms"),
    ],
)
def test_a_damaged_reference_is_named(keys: Keystore, place: str, value: Any) -> None:
    keys.add_kms("hot", IN_KMS, ADDRESS)
    path = keys.folder / "hot.json"
    path.write_text(damage(json.loads(path.read_text()), place, value=value))
    with pytest.raises(KeyProblem, match=r"hot\.json is not a key file"):
        keys.address("hot")
    with pytest.raises(KeyProblem, match=r"hot\.json is not a key file"):
        keys.kms("hot")


@pytest.mark.parametrize("place", ["key_id", "region", "endpoint", "version", "address"])
def test_half_a_reference_is_none(keys: Keystore, place: str) -> None:
    keys.add_kms("hot", IN_KMS, ADDRESS)
    path = keys.folder / "hot.json"
    content = json.loads(path.read_text())
    del content[place]
    path.write_text(json.dumps(content))
    with pytest.raises(KeyProblem, match="not a key file"):
        keys.address("hot")


# ---------------------------------------------------------------------------------------------------------------- files


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_only_the_owner_reads_folder_and_file(keys: Keystore, umask: int) -> None:
    before = os.umask(umask)
    try:
        keys.create("hot", PASSWORD)
    finally:
        os.umask(before)
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((keys.folder / "hot.json").stat().st_mode) == 0o600
    assert [entry.name for entry in keys.folder.iterdir()] == ["hot.json"]


def test_a_folder_that_was_open_to_others_is_closed(keys: Keystore) -> None:
    keys.folder.mkdir(parents=True, mode=0o755)
    keys.create("hot", PASSWORD)
    assert stat.S_IMODE(keys.folder.stat().st_mode) == 0o700


@pytest.mark.parametrize("make", [Keystore.create, lambda keys, name, password: keys.import_key(name, KEY, password)])
def test_a_key_is_never_overwritten(keys: Keystore, make: Callable[[Keystore, str, str], str]) -> None:
    keys.create("hot", PASSWORD)
    before = (keys.folder / "hot.json").read_bytes()
    with pytest.raises(KeyProblem, match="there is a key 'hot' already"):
        make(keys, "hot", PASSWORD)
    assert (keys.folder / "hot.json").read_bytes() == before


def test_a_dangling_link_is_not_written_through(keys: Keystore, tmp_path: Path) -> None:
    keys.folder.mkdir(parents=True)
    (keys.folder / "hot.json").symlink_to(tmp_path / "elsewhere.json")
    with pytest.raises(KeyProblem, match="already"):
        keys.create("hot", PASSWORD)
    assert not (tmp_path / "elsewhere.json").exists()


def test_of_many_that_take_a_name_at_once_one_wins(keys: Keystore) -> None:
    start = threading.Barrier(8)
    won: list[str] = []
    lost: list[KeyProblem] = []

    def run() -> None:
        start.wait()
        try:
            won.append(keys.create("hot", PASSWORD))
        except KeyProblem as problem:
            lost.append(problem)

    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(won) == 1
    assert len(lost) == 7
    assert keys.address("hot") == won[0]
    assert keys.unlock("hot", PASSWORD)
    assert [entry.name for entry in keys.folder.iterdir()] == ["hot.json"]


def test_a_file_system_without_links_still_never_overwrites(keys: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    def no_links(self: Path, target: Path) -> None:
        raise PermissionError(1, "Operation not permitted")

    monkeypatch.setattr(Path, "hardlink_to", no_links)
    address = keys.create("hot", PASSWORD)
    assert keys.address("hot") == address
    monkeypatch.setattr(os.path, "lexists", lambda path: False)
    with pytest.raises(KeyProblem, match="already"):
        keys.create("hot", PASSWORD)
    assert [entry.name for entry in keys.folder.iterdir()] == ["hot.json"]


def test_a_crash_while_writing_leaves_no_half_key(keys: Keystore, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(handle: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fails)
    with pytest.raises(KeyProblem, match="No space left on device"):
        keys.create("hot", PASSWORD)
    assert list(keys.folder.iterdir()) == []


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(KeyProblem, match="can't be stored"):
        Keystore(tmp_path / "file" / "keys", work=2).create("hot", PASSWORD)


# ------------------------------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    "name",
    ["", "Hot", "../evil", "a/b", "a\\b", ".hot", "hot.json", "-hot", "hot-", "a b", "żar", "0xabc", "hot\n", "a" * 65],
)
@pytest.mark.parametrize("act", ["create", "import_key", "address", "unlock"])
def test_a_name_that_is_no_name_is_refused_everywhere(keys: Keystore, name: str, act: str) -> None:
    arguments = {"create": (PASSWORD,), "import_key": (KEY, PASSWORD), "address": (), "unlock": (PASSWORD,)}[act]
    with pytest.raises(KeyProblem, match="can't be the name of a key"):
        getattr(keys, act)(name, *arguments)
    assert not keys.folder.exists()


@pytest.mark.parametrize("name", ["a", "hot", "hot-1", "hot_key", "9", "a" * 64])
def test_good_names(keys: Keystore, name: str) -> None:
    keys.create(name, PASSWORD)
    assert keys.names() == [name]


@pytest.mark.parametrize("password", ["", "1234567"])
def test_a_short_password_is_refused_before_anything_is_written(keys: Keystore, password: str) -> None:
    with pytest.raises(KeyProblem, match="at least 8 characters"):
        keys.create("hot", password)
    with pytest.raises(KeyProblem, match="at least 8 characters"):
        keys.import_key("hot", KEY, password)
    assert not keys.folder.exists()


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        KEY[:-1],
        KEY + "0",
        "0" * 64,
        "f" * 64,
        "g" * 64,
        "fffffffffffffffffffffffffffffffebaaedce6af48a03bbfd25e8cd0364141",
    ],
)
def test_what_is_no_key_is_not_imported_and_not_shown(keys: Keystore, text: str) -> None:
    with pytest.raises(KeyProblem, match="not a private key") as caught:
        keys.import_key("hot", text, PASSWORD)
    assert not text or text == "0x" or text not in caught.value.message + caught.value.mend
    assert not keys.folder.exists()


def test_a_key_that_is_not_there_names_those_that_are(keys: Keystore) -> None:
    with pytest.raises(KeyProblem) as caught:
        keys.address("hot")
    assert caught.value.mend == "make it with `nftloyalty keys new hot`"
    keys.create("cold", PASSWORD)
    with pytest.raises(KeyProblem) as caught:
        keys.unlock("hot", PASSWORD)
    assert caught.value.mend == "the keys there are cold"


@pytest.mark.parametrize("wrong", ["wrong horse battery", "", PASSWORD + " ", PASSWORD.upper(), "\udcff" * 9])
def test_a_wrong_password_tells_nothing(keys: Keystore, caplog: pytest.LogCaptureFixture, wrong: str) -> None:
    keys.import_key("hot", KEY, PASSWORD)
    with caplog.at_level(logging.DEBUG), pytest.raises(KeyProblem, match="does not open the key 'hot'") as caught:
        keys.unlock("hot", wrong)
    said = everything_said(caught.value) + caplog.text
    assert KEY not in said
    assert PASSWORD not in said
    assert not wrong or wrong not in said


def test_a_password_that_is_no_text_is_refused_without_showing_it(keys: Keystore) -> None:
    password = "secret-\udcff-password"
    with pytest.raises(KeyProblem, match="not valid text") as caught:
        keys.create("hot", password)
    assert "secret" not in everything_said(caught.value).replace("secrets", "")


def damage(content: dict[str, Any], *path: str, value: Any) -> str:
    place: Any = content
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    return json.dumps(content)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda content: "",
        lambda content: "{",
        lambda content: "[]",
        lambda content: "null",
        lambda content: "{}",
        lambda content: damage(content, "version", value=4),
        lambda content: damage(content, "address", value="12"),
        lambda content: damage(content, "address", value=None),
        lambda content: damage(content, "crypto", value=None),
        lambda content: damage(content, "crypto", "kdfparams", value={}),
        lambda content: damage(content, "crypto", "kdfparams", "n", value="many"),
    ],
)
def test_a_damaged_file_is_named(keys: Keystore, spoil: Callable[[dict[str, Any]], str]) -> None:
    keys.create("hot", PASSWORD)
    path = keys.folder / "hot.json"
    path.write_text(spoil(json.loads(path.read_text())))
    with pytest.raises(KeyProblem, match=r"hot\.json is not a key file"):
        keys.address("hot")
    with pytest.raises(KeyProblem):
        keys.unlock("hot", PASSWORD)


@pytest.mark.parametrize("value", [2**40, 2**24])
def test_a_file_that_asks_for_endless_work_is_refused_at_once(keys: Keystore, value: int) -> None:
    keys.create("hot", PASSWORD)
    path = keys.folder / "hot.json"
    path.write_text(damage(json.loads(path.read_text()), "crypto", "kdfparams", "n", value=value))
    with pytest.raises(KeyProblem, match="more work"):
        keys.unlock("hot", PASSWORD)


@pytest.mark.parametrize("part", ["ciphertext", "mac"])
def test_a_tampered_file_does_not_open(keys: Keystore, part: str) -> None:
    keys.create("hot", PASSWORD)
    path = keys.folder / "hot.json"
    content = json.loads(path.read_text())
    path.write_text(damage(content, "crypto", part, value="00" * 32))
    with pytest.raises(KeyProblem, match="does not open"):
        keys.unlock("hot", PASSWORD)


def test_an_address_that_is_not_the_keys_is_found(keys: Keystore) -> None:
    """Else a swapped address would have money sent to, or powers given to, somebody else."""
    keys.create("hot", PASSWORD)
    path = keys.folder / "hot.json"
    path.write_text(damage(json.loads(path.read_text()), "address", value=ADDRESS[2:].lower()))
    with pytest.raises(KeyProblem, match="another key than the address it shows"):
        keys.unlock("hot", PASSWORD)


def test_showing_a_keystore_shows_no_secret(keys: Keystore) -> None:
    keys.import_key("hot", KEY, PASSWORD)
    keys.unlock("hot", PASSWORD)
    assert KEY not in repr(keys) + repr(vars(keys))
    assert PASSWORD not in repr(keys) + repr(vars(keys))


def test_unlocking_forbids_core_files(keys: Keystore) -> None:
    keys.create("hot", PASSWORD)
    program = (
        "import resource, sys; from pathlib import Path; from nftloyalty.vault.keystore import Keystore;"
        "Keystore(Path(sys.argv[1])).unlock('hot', sys.argv[2]); print(resource.getrlimit(resource.RLIMIT_CORE))"
    )
    root = Path(keystore.__file__).parents[2]
    run = [sys.executable, "-c", program, str(keys.folder), PASSWORD]
    found = subprocess.run(run, capture_output=True, text=True, check=True, cwd=root)
    assert found.stdout.strip() == "(0, 0)"
