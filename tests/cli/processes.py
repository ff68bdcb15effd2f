"""Commands that run on, as processes of their own."""

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from tests.conftest import ROOT

PATIENCE_SECONDS = 60
MAIN = "from nftloyalty.cli.main import main; main()"


@dataclass(frozen=True)
class Running:
    """A command, and the file that takes what it says on stderr."""

    process: "subprocess.Popen[bytes]"
    log: Path

    @property
    def said(self) -> str:
        return self.log.read_text(encoding="utf-8")

    @property
    def url(self) -> str:
        """The address it says it serves at, once it does."""
        return self.wait_for(r"at (http://\S+:\d+)")

    def wait_for(self, pattern: str) -> str:
        """What the first group of the pattern matched."""
        give_up = time.monotonic() + PATIENCE_SECONDS
        while (found := re.search(pattern, self.said)) is None:
            assert self.process.poll() is None, self.said
            assert time.monotonic() < give_up, self.said
            time.sleep(0.02)
        return str(found[1])

    def end(self, by: signal.Signals) -> tuple[int, float]:
        """Exit status, and the seconds it took."""
        before = time.monotonic()
        self.process.send_signal(by)
        status = self.process.wait(timeout=PATIENCE_SECONDS)
        assert "Traceback" not in self.said
        return status, time.monotonic() - before


@contextmanager
def started(folder: Path, *arguments: str, before: str = "", **environment: str) -> Iterator[Running]:
    """`nftloyalty` with these arguments, in `folder`; killed at the end. `before` is Python that it runs first."""
    log = folder / f"{uuid4().hex}.log"
    with log.open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-c", before + MAIN, *arguments],
            cwd=folder,
            env={**os.environ, "PYTHONPATH": str(ROOT), **environment},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
    try:
        yield Running(process, log)
    finally:
        process.kill()
        process.wait(timeout=PATIENCE_SECONDS)
