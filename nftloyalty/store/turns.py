"""Turns of those who write to one SQLite file, so that nobody waits while another one writes again and again.

SQLite has no queue: who finds the write lock taken sleeps, longer each time, and looks again. Somebody who commits back
to back has the lock again at each of those looks, and a second writer waits for seconds. So a writer takes a turn
before BEGIN IMMEDIATE and gives it back after the commit, and goes to it through a turnstile with room for one: who
stands in it is the next. Whoever has just had a turn and wants another one finds the turnstile taken.

This is a courtesy. What keeps writers apart is SQLite's own lock; where there can be no turns, or somebody has one and
does not go on, writers do without.
"""

import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

fcntl: ModuleType | None
try:
    import fcntl
except ImportError:  # Windows has no flock
    fcntl = None

PATIENCE_SECONDS = 5.0
"""How long for the turnstile, and in it: then a writer goes on without, for who holds it may have been stopped."""

LOOK_EVERY_SECONDS = 0.00025
"""In the turnstile, where there is one. flock itself would wait without an end."""

QUEUE_LOOKS_EVERY_SECONDS = 0.005
"""At the turnstile, where there may be many."""


class Turns:
    """Those at one database file, by two empty files beside it that are made when they are needed.

    They are opened anew each time: `flock` is of an open file, so that threads of one process take turns too, and what
    a process that dies has open is closed.
    """

    def __init__(self, database: Path) -> None:
        self._database = database.resolve()
        self.turnstile = f"{self._database}-next"
        self.turn = f"{self._database}-turn"

    @contextmanager
    def mine(self) -> Iterator[None]:
        """The block is a turn, as far as one can be had."""
        turnstile = self._locked(self.turnstile, QUEUE_LOOKS_EVERY_SECONDS)
        try:
            turn = self._locked(self.turn, LOOK_EVERY_SECONDS)
        finally:
            _leave(turnstile)
        try:
            yield
        finally:
            _leave(turn)

    def _locked(self, path: str, look_every: float) -> int | None:
        """The file, open and locked for whoever asks, as far as it can be."""
        if fcntl is None:
            return None
        try:
            handle = self._opened(path)
        except OSError:  # a folder that can't be written to
            return None
        try:
            give_up = time.monotonic() + PATIENCE_SECONDS
            while _is_taken(fcntl, handle) and time.monotonic() < give_up:
                time.sleep(look_every)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _opened(self, path: str) -> int:
        # Not through a link: it would make a file wherever that leads.
        handle = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o600)
        if os.geteuid() == 0:
            # As SQLite does with its own: what root makes, the owner's processes must be able to open.
            owner = self._database.stat()
            os.fchown(handle, owner.st_uid, owner.st_gid)
        return handle


def _is_taken(system: ModuleType, handle: int) -> bool:
    """Whether somebody else has it; if nobody has, it is ours from now on."""
    try:
        system.flock(handle, system.LOCK_EX | system.LOCK_NB)
    except BlockingIOError:
        return True
    except OSError:  # a file system without such locks
        return False
    return False


def _leave(handle: int | None) -> None:
    if handle is not None:
        os.close(handle)
