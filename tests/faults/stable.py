"""The rig's side of the process that forks runs of the command line (rigged.py)."""

import os
import queue
import signal
import subprocess
import sys
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.conftest import ROOT
from tests.faults.rigged import Orders

RUN_SECONDS = 180.0


class RigFailure(Exception):
    """The rig itself, not what it tests, did not work."""


class Stable:
    """For `with`: a process that forks runs of the command line, one at a time."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.rigged"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
        )
        self._lines: queue.Queue[str] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._running: int | None = None

    def _read(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            self._lines.put(line)
        self._lines.put("")

    def _line(self, seconds: float) -> str:
        line = self._lines.get(timeout=seconds)
        if not line:
            raise RigFailure("the process that forks the runs has ended; it says above why")
        return line

    def start(self, orders: Orders) -> int:
        """Returns the run's pid."""
        assert self._process.stdin is not None
        try:
            self._process.stdin.write(orders.to_line())
            self._process.stdin.flush()
        except BrokenPipeError:
            raise RigFailure("the process that forks the runs has ended; it says above why") from None
        self._running = int(self._line(60))
        return self._running

    @property
    def over(self) -> bool:
        """Whether the run has ended, or none was started."""
        return self._running is None or not self._lines.empty()

    def wait(self, pid: int, seconds: float = RUN_SECONDS) -> int:
        """The run's exit status, negative for a signal. Raises RigFailure if it does not end, after ending it."""
        try:
            status = int(self._line(seconds))
        except queue.Empty:
            os.kill(pid, signal.SIGKILL)
            self._line(60)
            raise RigFailure(f"a run did not end within {seconds:g} seconds") from None
        finally:
            self._running = None
        return status

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        if self._running is not None:
            # Interrupted in the middle of a run, which may also be asleep.
            try:
                os.kill(self._running, signal.SIGKILL)
            except ProcessLookupError:
                self._running = None
        self._process.stdin.close()
        self._process.wait(timeout=60)
        self._reader.join(timeout=60)
        self._process.stdout.close()


def stopped(pid: int) -> bool:
    """Whether a process of this machine has been put to sleep by SIGSTOP."""
    state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[0]
    return state in ("T", "t")
