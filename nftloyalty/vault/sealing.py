"""Secrets that are kept in the database, encrypted: AES-256-GCM under a key that lies in a file beside it.

What is sealed is bound to what it is about (a row and a purpose), so that it opens nowhere else. The file has one line
a key, `id key`: the last key seals, all of them unseal. The id stands in front of what it sealed. Keys are added at the
end, and dropped only when asked.
"""

import base64
import binascii
import contextlib
import hashlib
import os
import secrets
import stat
import threading
from collections.abc import Collection, Iterator
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from nftloyalty.errors import KeyProblem
from nftloyalty.vault.files import alone_in, sync_folder

_KEY_BYTES = 32
_ID_BYTES = 8
# Random ones: NIST SP 800-38D allows 2^32 messages under one key.
_NONCE_BYTES = 12
_TAG_BYTES = 16
# Of the form of what is sealed: this byte, the key's id, the nonce, what was encrypted with its tag.
_FORM = b"\x01"
_MEND = "put the backup of this file in its place, the one that belongs to this database"


class Seal:
    """Seals and unseals with the keys of one file, which is made (0600) when something is sealed for the first time.

    Safe to use from many threads and processes. Every method raises KeyProblem naming the file where it can't be read
    or written, or is damaged.
    """

    def __init__(self, file: Path) -> None:
        self.file = file
        self.__keys: dict[bytes, AESGCM] = {}
        self.__newest = b""
        self.__lock = threading.Lock()

    def __repr__(self) -> str:
        return f"Seal({str(self.file)!r})"

    def __reduce__(self) -> tuple[object, ...]:
        raise TypeError("a Seal is never pickled or copied")

    @property
    def exists(self) -> bool:
        """Whether there is a key. Where something is sealed already and there is none, none should be made."""
        return os.path.lexists(self.file)

    def seal(self, plain: bytes, about: bytes) -> bytes:
        """Encrypt, bound to `about`: what unseals it must say the same. Twice the same gives two different results."""
        with self.__lock:
            if not self.__keys and not self.exists:
                self._make()
            # Each time, for it is seldom: another process may have added a key, and drop the one that is known here.
            self._read()
            head, key = _FORM + self.__newest, self.__keys[self.__newest]
        nonce = secrets.token_bytes(_NONCE_BYTES)
        return head + nonce + key.encrypt(nonce, plain, head + about)

    def unseal(self, sealed: bytes, about: bytes) -> bytes:
        """What was sealed about this. Raises KeyProblem too where its key is missing, or where it was sealed about
        something else or changed."""
        head, rest = sealed[: 1 + _ID_BYTES], sealed[1 + _ID_BYTES :]
        if head[:1] != _FORM or len(rest) < _NONCE_BYTES + _TAG_BYTES:
            raise KeyProblem("what should be a sealed secret is none", mend="the database is damaged: restore a backup")
        with self.__lock:
            if head[1:] not in self.__keys:
                # Another process may have added it since.
                self._read()
            key = self.__keys.get(head[1:])
        if key is None:
            raise KeyProblem(f"{self.file} does not hold the key {head[1:].hex()} of a sealed secret", mend=_MEND)
        try:
            return key.decrypt(rest[:_NONCE_BYTES], rest[_NONCE_BYTES:], head + about)
        except InvalidTag:
            raise KeyProblem(
                "a sealed secret was changed, or stands where it does not belong",
                mend="the database is damaged: restore a backup",
            ) from None

    def key_ids(self) -> list[str]:
        """Of the keys in the file, the newest last."""
        with self.__lock:
            self._read()
            return [key_id.hex() for key_id in self.__keys]

    def add_key(self) -> str:
        """Seal with a new key from now on, in every process that uses this file. What was sealed before still opens.
        Returns the new key's id."""
        key = secrets.token_bytes(_KEY_BYTES)
        with self.__lock, self._alone():
            self._read()
            self._write(os.O_APPEND, _line(key))
            self._read()
            if self.__newest != _id(key):
                raise KeyProblem(f"the key file {self.file} was changed meanwhile", mend="run it again")
        return _id(key).hex()

    def drop_keys(self, key_ids: Collection[str]) -> None:
        """Forget these keys, for good; not the newest. What they sealed opens no more."""
        with self.__lock, self._alone():
            self._read()
            kept = [key_id for key_id in self.__keys if key_id.hex() not in key_ids or key_id == self.__newest]
            try:
                lines = self.file.read_bytes().splitlines()
                by_id = {found[0]: line + b"\n" for line in lines if (found := _parsed(line)) is not None}
                # A link stays a link, and whoever runs this, the file stays its owner's.
                file = self.file.resolve()
                owner = file.stat()
                draft = file.with_name(f".{file.name}.{secrets.token_hex(8)}")
                try:
                    _write(draft, os.O_CREAT | os.O_EXCL, b"".join(by_id[key_id] for key_id in kept))
                    os.chown(draft, owner.st_uid, owner.st_gid)
                    draft.chmod(stat.S_IMODE(owner.st_mode))
                    draft.replace(file)
                finally:
                    draft.unlink(missing_ok=True)
                sync_folder(file.parent)
            except OSError as failure:
                raise KeyProblem(f"the key file {self.file} can't be written: {failure.strerror}") from None
            self._read()

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Nobody else adds or drops keys meanwhile: what one has added, another must not write over."""
        try:
            with alone_in(self.file.resolve().parent):
                yield
        except OSError as failure:
            raise KeyProblem(f"the folder of {self.file} can't be used: {failure.strerror}") from None

    def _make(self) -> None:
        """The whole file appears under its name, or that of another process does: never one in the place of another."""
        line = _line(secrets.token_bytes(_KEY_BYTES))
        draft = self.file.with_name(f".{self.file.name}.{secrets.token_hex(8)}")
        try:
            self.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            try:
                _write(draft, os.O_CREAT | os.O_EXCL, line)
                self.file.hardlink_to(draft)
            except FileExistsError:
                pass
            except OSError:
                # A file system without links: still never in the place of another file, but not all at once.
                with contextlib.suppress(FileExistsError):
                    _write(self.file, os.O_CREAT | os.O_EXCL, line)
            finally:
                draft.unlink(missing_ok=True)
            sync_folder(self.file.parent)
        except OSError as failure:
            raise KeyProblem(f"the key file {self.file} can't be made: {failure.strerror}") from None

    def _write(self, flags: int, line: bytes) -> None:
        try:
            # After a line that a crash left unfinished, which sealed nothing: it is not used before it is on disk.
            broken = not self.file.read_bytes().endswith(b"\n")
            _write(self.file, flags, (b"\n" if broken else b"") + line)
        except OSError as failure:
            raise KeyProblem(f"the key file {self.file} can't be written: {failure.strerror}") from None

    def _read(self) -> None:
        try:
            lines = self.file.read_bytes().splitlines()
        except FileNotFoundError:
            raise KeyProblem(f"there is no key file {self.file}, and secrets are sealed with it", mend=_MEND) from None
        except OSError as failure:
            raise KeyProblem(f"the key file {self.file} can't be read: {failure.strerror}") from None
        keys = dict(filter(None, map(_parsed, lines)))
        if not keys:
            raise KeyProblem(f"{self.file} is no key file of ours", mend=_MEND)
        self.__keys = {key_id: AESGCM(key) for key_id, key in keys.items()}
        self.__newest = list(keys)[-1]


def key_id_of(sealed: bytes) -> str:
    """Of the key that sealed this."""
    return sealed[1 : 1 + _ID_BYTES].hex()


def _line(key: bytes) -> bytes:
    return _id(key).hex().encode() + b" " + base64.b64encode(key) + b"\n"


def _parsed(line: bytes) -> tuple[bytes, bytes] | None:
    """A key and its id, which follows from it: a line that was cut or changed is none."""
    name, _, text = line.partition(b" ")
    with contextlib.suppress(binascii.Error):
        key = base64.b64decode(text, validate=True)
        if len(key) == _KEY_BYTES and name == _id(key).hex().encode():
            return _id(key), key
    return None


def _id(key: bytes) -> bytes:
    return hashlib.sha256(b"nftloyalty seal key\n" + key).digest()[:_ID_BYTES]


def _write(path: Path, flags: int, content: bytes) -> None:
    """In one go, and on disk when this returns."""
    handle = os.open(path, os.O_WRONLY | flags, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
