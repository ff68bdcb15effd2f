"""Who holds a signer's lease: this process by name, and whether another one may still be running."""

import os
import socket
import sys
from pathlib import Path


def process_name() -> str:
    """This process as a lease owner: host, pid and start, so that a dead one is told from a living one."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def owner_alive(owner: str) -> bool:
    """Whether a lease owner may still be running. Only a process of this host can be known to be dead."""
    host, pid, started = owner.rsplit("/", 2)
    if host != socket.gethostname() or sys.platform == "win32":
        # Windows has no signal 0: asking there would interrupt the process asked about. The lease ends by itself.
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _started(int(pid)) == started


def _started(pid: int) -> str:
    """Start time of a process in clock ticks, so that a reused pid is not mistaken for its former owner."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[19]
    except OSError:
        return "0"
