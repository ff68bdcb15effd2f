"""Keys at rest: one file a key. It holds the key encrypted (Web3 Secret Storage version 3, which every wallet can
read), or says where in AWS KMS the key lies.

A file is only ever created, never changed or overwritten. Passwords and keys appear in no message and no log.
"""

import contextlib
import json
import os
import re
import secrets
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeGuard

from eth_keyfile.keyfile import create_keyfile_json, decode_keyfile_json
from eth_keys.constants import SECPK1_N
from eth_keys.datatypes import PrivateKey

from nftloyalty.domain.address import Address, parse_address
from nftloyalty.errors import KeyProblem
from nftloyalty.vault.files import sync_folder
from nftloyalty.vault.kms import KmsReference

SCRYPT_WORK = 1 << 18
LEAST_PASSWORD_LENGTH = 8

_NAME = re.compile(r"[a-z0-9](?:[a-z0-9_-]{0,62}[a-z0-9])?")
_SUFFIX = ".json"
# A file that holds no key tells so by its kind; Web3 Secret Storage has none.
_KMS_KIND = "aws-kms"
_KMS_VERSION = 1
_KEY_HEX = re.compile(r"(?:0x)?([0-9a-fA-F]{64})")

# A file that asks for more would stop the machine before its password is tried: 1 GiB of memory is enough for anyone.
_MOST_SCRYPT_MEMORY = 1 << 30
_MOST_PBKDF2_ROUNDS = 10_000_000


class Keystore:
    """The keys in one folder, by name. The folder is made (0700) with the first key.

    `work` is scrypt's cost; lower it in tests only.
    """

    def __init__(self, folder: Path, work: int = SCRYPT_WORK) -> None:
        self.folder = folder
        self.work = work

    def names(self) -> list[str]:
        """All key names, sorted."""
        try:
            found = [entry.name for entry in self.folder.iterdir()]
        except FileNotFoundError:
            return []
        except OSError as failure:
            raise KeyProblem(f"the folder of keys {self.folder} can't be read: {failure.strerror}") from None
        stems = (name.removesuffix(_SUFFIX) for name in found if name.endswith(_SUFFIX))
        return sorted(name for name in stems if _is_name(name))

    def check_name(self, name: str) -> None:
        """Raises KeyProblem if no new key can have this name: it is taken, or none."""
        if os.path.lexists(self._path(name)):
            raise _taken(name)

    def create(self, name: str, password: str) -> Address:
        """Make a new random key. Raises KeyProblem if the name is taken or wrong, or the password too short."""
        self.check_name(name)
        check_password(password)
        number = secrets.randbelow(SECPK1_N - 1) + 1
        return self._write(name, number.to_bytes(32, "big"), password)

    def import_key(self, name: str, private_key_hex: str, password: str) -> Address:
        """Take in a key of 64 hex digits. Raises KeyProblem as `create` does, or if it is no key."""
        self.check_name(name)
        check_password(password)
        return self._write(name, parse_private_key(private_key_hex), password)

    def add_kms(self, name: str, reference: KmsReference, address: Address) -> None:
        """Write down where in AWS KMS the key of this address lies; no secret, so no password.

        Raises KeyProblem if the name is taken or wrong, and ValueError for what is no address.
        """
        self.check_name(name)
        content = {
            "kind": _KMS_KIND,
            "version": _KMS_VERSION,
            "address": parse_address(address),
            "key_id": reference.key_id,
            "region": reference.region,
            "endpoint": reference.endpoint,
        }
        self._store(name, content)

    def address(self, name: str) -> Address:
        """The key's address, which needs no password. Raises KeyProblem if there is no such key."""
        return self._read(name)[1]

    def kms(self, name: str) -> KmsReference | None:
        """Where in AWS KMS the key lies; None for a key that lies here. Raises KeyProblem if there is no such key."""
        content, _address = self._read(name)
        return _reference(content) if _is_kms(content) else None

    def unlock(self, name: str, password: str, mend: str = "try again with the key's password") -> bytes:
        """The private key, 32 bytes. Takes about a second on purpose. Raises KeyProblem for a wrong password, with
        the mend that fits where it came from.

        Also keeps this process from ever writing its memory to a core file.
        """
        content, address = self._read(name)
        if _is_kms(content):
            raise KeyProblem(f"the key {name!r} lies in AWS KMS and never leaves it")
        _forbid_core_files()
        key = b""
        # Whatever breaks inside, its message could carry what must not be shown.
        with contextlib.suppress(Exception):
            key = decode_keyfile_json(content, password.encode())
        if len(key) != 32 or not 0 < int.from_bytes(key, "big") < SECPK1_N:
            raise KeyProblem(f"the password does not open the key {name!r}", mend=mend)
        if PrivateKey(key).public_key.to_checksum_address() != address:
            raise KeyProblem(f"the key file {name!r} holds another key than the address it shows")
        return key

    # ----------------------------------------------------------------------------------------------------------- files

    def _path(self, name: str) -> Path:
        if not _is_name(name):
            raise KeyProblem(
                f"{name!r} can't be the name of a key",
                mend="use 1 to 64 of a-z, 0-9, - and _, with a letter or digit at both ends and no 0x at the start",
            )
        return self.folder / (name + _SUFFIX)

    def _write(self, name: str, key: bytes, password: str) -> Address:
        self._store(name, create_keyfile_json(key, password.encode(), kdf="scrypt", iterations=self.work))
        return PrivateKey(key).public_key.to_checksum_address()

    def _store(self, name: str, content: Mapping[str, Any]) -> None:
        try:
            self.folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self.folder.chmod(0o700)
            self._place(name, json.dumps(content, indent=2).encode() + b"\n")
        except FileExistsError:
            raise _taken(name) from None
        except OSError as failure:
            raise KeyProblem(f"the key {name!r} can't be stored in {self.folder}: {failure.strerror}") from None

    def _place(self, name: str, content: bytes) -> None:
        """The whole file appears under its name or nothing does, and never in the place of another one.

        It is written beside and then linked: unlike a rename, a link fails where a file is already.
        """
        path = self._path(name)
        draft = self.folder / f".{name}.{secrets.token_hex(8)}"
        try:
            _create(draft, content)
            try:
                path.hardlink_to(draft)
            except FileExistsError:
                raise
            except OSError:
                # A file system without links: still never in the place of another file, but not all at once.
                _create(path, content)
        finally:
            draft.unlink(missing_ok=True)
        sync_folder(self.folder)

    def _read(self, name: str) -> tuple[dict[str, Any], Address]:
        path = self._path(name)
        try:
            content = json.loads(path.read_bytes())
        except FileNotFoundError:
            known = ", ".join(self.names())
            raise KeyProblem(
                f"there is no key {name!r} in {self.folder}",
                mend=f"the keys there are {known}" if known else f"make it with `nftloyalty keys new {name}`",
            ) from None
        except OSError as failure:
            raise KeyProblem(f"the key file {path} can't be read: {failure.strerror}") from None
        except ValueError:
            raise _damaged(path) from None
        return content, _checked(content, path)


def check_password(password: str) -> None:
    """Raises KeyProblem if no new key can have this password."""
    if len(password) < LEAST_PASSWORD_LENGTH:
        raise KeyProblem(f"a password needs at least {LEAST_PASSWORD_LENGTH} characters")
    if any("\ud800" <= character <= "\udfff" for character in password):
        # Bytes of the terminal or the file that were no UTF-8; encoding them would fail with the password in hand.
        raise KeyProblem("the password is not valid text")


def parse_private_key(text: str) -> bytes:
    """The 32 bytes of a private key written as hex. Raises KeyProblem, without repeating the text."""
    shape = _KEY_HEX.fullmatch(text.strip())
    key = bytes.fromhex(shape.group(1)) if shape else b""
    if not 0 < int.from_bytes(key, "big") < SECPK1_N:
        raise KeyProblem("this is not a private key", mend="it has 64 hex digits, with or without 0x before them")
    return key


def _is_name(name: str) -> bool:
    return _NAME.fullmatch(name) is not None and not name.startswith("0x")


def _taken(name: str) -> KeyProblem:
    return KeyProblem(f"there is a key {name!r} already", mend="keys are never overwritten: choose another name")


def _damaged(path: Path) -> KeyProblem:
    return KeyProblem(f"{path} is not a key file of ours", mend="put the backup of this file in its place")


def _checked(content: object, path: Path) -> Address:
    """The address a key file shows, after its shape and the work it asks for were checked."""
    if _is_kms(content):
        try:
            _reference(content)
            return parse_address(content["address"])
        except (KeyError, TypeError, ValueError, KeyProblem):
            raise _damaged(path) from None
    try:
        if not isinstance(content, dict) or content["version"] != 3:
            raise _damaged(path)
        crypto = content["crypto"]
        parameters = crypto["kdfparams"]
        if crypto["kdf"] == "scrypt":
            heavy = 128 * int(parameters["n"]) * int(parameters["r"]) * int(parameters["p"]) > _MOST_SCRYPT_MEMORY
        else:
            heavy = int(parameters["c"]) > _MOST_PBKDF2_ROUNDS
        address = parse_address("0x" + str(content["address"]).removeprefix("0x"))
    except (KeyError, TypeError, ValueError):
        raise _damaged(path) from None
    if heavy:
        raise KeyProblem(f"the key file {path} asks for more work than this machine should do")
    return address


def _is_kms(content: object) -> TypeGuard[dict[str, Any]]:
    return isinstance(content, dict) and content.get("kind") == _KMS_KIND


def _reference(content: Mapping[str, Any]) -> KmsReference:
    """Raises KeyError, ValueError, TypeError or KeyProblem where there is none in the file."""
    if content["version"] != _KMS_VERSION:
        raise ValueError("a version of another time")
    return KmsReference(content["key_id"], content["region"], content["endpoint"])


def _forbid_core_files() -> None:
    if sys.platform != "win32":
        import resource

        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_CORE, (0, 0))


def _create(path: Path, content: bytes) -> None:
    """A new file that only its owner reads, on disk when this returns. Raises FileExistsError."""
    handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
