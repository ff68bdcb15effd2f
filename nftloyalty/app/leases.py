"""The lease on a signer: one process at a time makes transactions for it.

An owner is named by host, pid and start, so that a process of this host that is gone gives way at once; one of another
host, or of another container, gives way when its lease ends.
"""

import os
import socket
import sys
from contextlib import suppress
from datetime import timedelta
from functools import cache
from pathlib import Path

from sqlalchemy import Connection

from nftloyalty.app.context import App
from nftloyalty.store import signers
from nftloyalty.store.engine import begin
from nftloyalty.store.signers import SignerRow

LEASE_SECONDS = 60


class Lease:
    """Held from its making until `release`. `row` is the signer's; `epoch` fences out whoever held it before.

    Every method but `release` raises SignerBusy once another process has taken it over; making it, while another
    living process has it.
    """

    def __init__(self, app: App, row: int) -> None:
        self.row = row
        self._app = app
        self._owner = process_name()
        self._renew_at = app.now()
        with begin(app.engine) as tx:
            self.epoch = signers.take_lease(tx, row, self._owner, app.now(), LEASE_SECONDS, owner_alive)

    def keep(self) -> None:
        """Renew it when a third of it is over."""
        if self._app.now() >= self._renew_at:
            with begin(self._app.engine) as tx:
                self.renew(tx)

    def renew(self, tx: Connection) -> None:
        """Renew it within a transaction that writes under it."""
        now = self._app.now()
        signers.renew_lease(tx, self.row, self._owner, self.epoch, now, LEASE_SECONDS)
        self._renew_at = now + timedelta(seconds=LEASE_SECONDS / 3)

    def hold(self, tx: Connection) -> SignerRow:
        """Make sure of it until this transaction ends."""
        return signers.hold(tx, self.row, self.epoch)

    def release(self) -> None:
        """Give it back. Harmless if it was lost."""
        with begin(self._app.engine) as tx:
            signers.release_lease(tx, self.row, self._owner, self.epoch)


def process_name() -> str:
    """This process as a lease owner: host, pid and start, so that a dead one is told from a living one."""
    return f"{_host()}/{os.getpid()}/{_started(os.getpid())}"


def owner_alive(owner: str) -> bool:
    """Whether a lease owner may still be running. Only a process of this host can be known to be dead."""
    host, pid, started = owner.rsplit("/", 2)
    if host != _host() or sys.platform == "win32":
        # Windows has no signal 0: asking there would interrupt the process asked about. The lease ends by itself.
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _started(int(pid)) == started


@cache
def _host() -> str:
    """The host's name and, where the system tells, which run of it and which set of pids: containers and machines of
    one name know nothing of each other's processes."""
    parts = [socket.gethostname()]
    with suppress(OSError):
        parts.append(Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii")[:8])
        parts.append(str(Path("/proc/self/ns/pid").stat().st_ino))
    return "-".join(parts)


def _started(pid: int) -> str:
    """Start time of a process in clock ticks, so that a reused pid is not mistaken for its former owner.

    Another word for one that has ended and that its parent has not asked after: it runs nothing any more.
    """
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    except OSError:
        return "0"
    return "ended" if fields[0] in ("Z", "X") else fields[19]
