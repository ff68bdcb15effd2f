"""Upkeep of the database: its schema's age, backups, and putting one back."""

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import IO

from sqlalchemy import Engine
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from nftloyalty import __version__
from nftloyalty.app.context import make_home
from nftloyalty.config import Settings
from nftloyalty.errors import BadInput, Problem, ProgramProblem
from nftloyalty.store import backup
from nftloyalty.store.backup_file import Contents, is_backup
from nftloyalty.store.engine import address_of, begin, open_engine, read, upgrade
from nftloyalty.vault.files import sync_folder
from nftloyalty.vault.keystore import Keystore

Progress = Callable[[str, int, int], None]
"""Told what is being done, and how many rows are done, of how many."""


@dataclass(frozen=True)
class Backup:
    """A backup that was made or put back. `keys` are the names of the keys that lie in `keys_folder`: no backup holds
    keys, nor the file `seal_key`, which opens the secrets of webhook endpoints. `size_bytes` is the file's."""

    database: str
    rows: int
    tables: int
    schema: str
    made_at: datetime
    size_bytes: int
    keys_folder: Path
    keys: tuple[str, ...]
    seal_key: Path
    seal_key_here: bool


def upgrade_database(settings: Settings) -> None:
    """Bring the schema to this version. Stop the processes of other versions first; twice is harmless."""
    make_home(settings)
    with _opened(settings) as engine:
        upgrade(engine)


def back_up(settings: Settings, file: Path, now: datetime, progress: Progress, *, replace: bool = False) -> Backup:
    """Write the whole database into this file, as it is at one moment; whoever uses it meanwhile is not held up.

    The file is there when it is complete, and not before. `replace` allows for an earlier backup in its place; anything
    else is never replaced. Raises BadInput for the file, ProgramProblem where there is nothing to back up.
    """
    _check_there(settings)
    with _opened(settings) as engine:
        with _complete_or_not_there(file, replace=replace) as unfinished, read(engine) as tx:
            contents = backup.write(tx, unfinished, __version__, now, partial(progress, "backing up"))
        return _told(settings, engine, file, contents)


def restore(settings: Settings, file: Path, progress: Progress) -> Backup:
    """Put a backup into a database without rows, all of it or nothing, and bring it to this version's schema.

    Raises BadInput if the file is damaged, no backup, or of a newer version, and ProgramProblem if the database is in
    use; nothing is changed then. Killed on the way, it can be run again; killed when only the schema was left to do,
    `upgrade_database` does that.
    """
    with _readable(file) as packed:
        backup.check(packed, str(file), partial(progress, "checking"))
        make_home(settings)
        with _opened(settings) as engine:
            packed.seek(0)
            with begin(engine) as tx:
                contents = backup.load(tx, packed, str(file), partial(progress, "restoring"))
            # By itself: on SQLite a schema is changed with its foreign keys off, which no open transaction can do.
            upgrade(engine)
            return _told(settings, engine, file, contents)


def _told(settings: Settings, engine: Engine, file: Path, contents: Contents) -> Backup:
    return Backup(
        database=address_of(engine),
        rows=contents.rows,
        tables=len(contents.parts),
        schema=contents.schema,
        made_at=contents.made_at,
        size_bytes=file.stat().st_size,
        keys_folder=settings.keys_folder,
        keys=tuple(Keystore(settings.keys_folder).names()),
        seal_key=settings.seal_key_file,
        seal_key_here=os.access(settings.seal_key_file, os.F_OK),
    )


@contextmanager
def _opened(settings: Settings) -> Iterator[Engine]:
    """The database as it is: of whatever schema."""
    engine = open_engine(settings.database_url)
    try:
        yield engine
    finally:
        engine.dispose()


def _check_there(settings: Settings) -> None:
    """Opening an embedded database makes it, which here would hide that another one was meant."""
    try:
        url = make_url(settings.database_url)
    except (ArgumentError, ValueError):
        return  # for open_engine to tell
    path = url.database or ""
    if url.get_backend_name() == "sqlite" and path and not path.startswith(("file:", ":")) and not Path(path).exists():
        raise ProgramProblem(f"there is no database {path}", mend="name the right one with --home or DATABASE_URL")


@contextmanager
def _complete_or_not_there(file: Path, *, replace: bool) -> Iterator[IO[bytes]]:
    """A file for this user only that gets its name when all of it is on disk. Only a kill leaves something of it: a
    hidden file that ends in .part."""
    try:
        # A link stays a link; the file it leads to is replaced.
        file = file.resolve()
    except (OSError, RuntimeError, ValueError):
        raise _unfit(file, "is not the name of a file") from None
    _check_free(file, replace=replace)
    try:
        handle, name = tempfile.mkstemp(prefix=f".{file.name}.", suffix=".part", dir=file.parent)
    except FileNotFoundError:
        raise _unfit(file, f"there is no folder {file.parent}", "make it, or name another file") from None
    except OSError as failure:
        raise _unfit(file, f"can't be written: {failure.strerror}") from None
    unfinished = Path(name)
    try:
        with os.fdopen(handle, "wb") as writing:
            yield writing
            writing.flush()
            os.fsync(writing.fileno())
        # Somebody may have written it meanwhile.
        _check_free(file, replace=replace)
        unfinished.replace(file)
        sync_folder(file.parent)
    except OSError as failure:
        raise _unfit(file, f"can't be written: {failure.strerror}") from None
    finally:
        unfinished.unlink(missing_ok=True)


def _check_free(file: Path, *, replace: bool) -> None:
    """Raises BadInput unless this file is not there, or is an earlier backup that may be replaced."""
    if file.is_dir():
        raise _unfit(file, "is a folder", "name a file in it")
    if not os.path.lexists(file):
        return
    if not replace:
        raise _unfit(file, "is there already", "name another file, or replace the earlier backup with --force")
    # A database, a key or a device, named by mistake, must not go.
    if not file.is_file() or not _is_backup(file):
        raise _unfit(file, "is there already, and is not a backup", "name another file")


def _is_backup(file: Path) -> bool:
    try:
        with file.open("rb") as packed:
            return is_backup(packed)
    except OSError:
        return False


@contextmanager
def _readable(file: Path) -> Iterator[IO[bytes]]:
    try:
        packed = file.open("rb")
    except FileNotFoundError:
        raise _unfit(file, "there is no such file") from None
    except IsADirectoryError:
        raise _unfit(file, "is a folder", "name a file in it") from None
    except (OSError, ValueError) as failure:
        raise _unfit(file, f"can't be read: {getattr(failure, 'strerror', None) or failure}") from None
    with packed:
        if not packed.seekable():
            raise _unfit(file, "is a pipe, and is read twice", "write it to a file first")
        yield packed


def _unfit(file: Path, what: str, mend: str = "") -> BadInput:
    return BadInput(str(file), [Problem(str(file), what, mend)])
