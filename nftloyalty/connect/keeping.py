"""Connections that are kept for the next message, which saves it a handshake.

One is used again for the same endpoint, scheme, host and port only, so that no receiver can answer what was sent to
another one; and only while the address it leads to is among those that the host has at that moment and that were
checked: keeping it opens no way that a new connection would not have. Receivers close what they like when they like, so
one that was kept may turn out to be dead.
"""

import socket
import ssl
import threading
import time
from collections.abc import Callable, Collection
from dataclasses import dataclass

from urllib3.connection import HTTPConnection

from nftloyalty.connect.reach import Address

LIFE_SECONDS = 60.0
"""From when it was opened, so that a certificate is looked at again now and then."""

IDLE_SECONDS = 10.0
MOST_KEPT = 128


@dataclass(frozen=True)
class Line:
    """What a connection may be used for: messages to `endpoint` there."""

    endpoint: str
    scheme: str
    host: str
    port: int


@dataclass(eq=False)
class Open:
    """An open connection to one address."""

    connection: HTTPConnection
    address: Address
    opened_at: float
    idle_since: float

    def close(self) -> None:
        self.connection.close()


class Kept:
    """Idle connections. Safe to use from many threads."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._idle: dict[Line, list[Open]] = {}
        self._lock = threading.Lock()
        self._closed = False

    def opened(self, connection: HTTPConnection, address: Address) -> Open:
        """One that was opened at this moment."""
        now = self._clock()
        return Open(connection, address, opened_at=now, idle_since=now)

    def take(self, line: Line, addresses: Collection[Address]) -> Open | None:
        """One of this line to one of these addresses, for the caller alone; None if there is none that looks alive."""
        while True:
            with self._lock:
                idle = self._idle.get(line)
                if not idle:
                    return None
                # The one that was used last is the likeliest to be alive.
                found = idle.pop()
                if not idle:
                    del self._idle[line]
            if found.address in addresses and not self._is_due(found) and _is_quiet(found.connection):
                return found
            found.close()

    def give(self, line: Line, found: Open) -> None:
        """Keep it for the next message of this line."""
        found.idle_since = self._clock()
        with self._lock:
            keep = not self._closed and not self._is_due(found)
            if keep:
                self._idle.setdefault(line, []).append(found)
        if not keep:
            found.close()
        self.tidy()

    def tidy(self) -> None:
        """Close those that have been idle or open for too long, and the longest idle ones of too many."""
        with self._lock:
            due = [each for idle in self._idle.values() for each in idle if self._is_due(each)]
            rest = sum(map(len, self._idle.values())) - len(due)
            if rest > MOST_KEPT:
                alive = (each for idle in self._idle.values() for each in idle if each not in due)
                due += sorted(alive, key=lambda each: each.idle_since)[: rest - MOST_KEPT]
            for line in list(self._idle) if due else ():
                left = [each for each in self._idle[line] if each not in due]
                if left:
                    self._idle[line] = left
                else:
                    del self._idle[line]
        for each in due:
            each.close()

    def close(self) -> None:
        """Close all, and keep none from now on."""
        with self._lock:
            self._closed = True
            all_idle = [each for idle in self._idle.values() for each in idle]
            self._idle.clear()
        for each in all_idle:
            each.close()

    def _is_due(self, found: Open) -> bool:
        now = self._clock()
        return now - found.opened_at >= LIFE_SECONDS or now - found.idle_since >= IDLE_SECONDS


def _is_quiet(connection: HTTPConnection) -> bool:
    """Whether nothing has come since the last answer: neither its end nor anything that nobody asked for."""
    wire: socket.socket | None = connection.sock
    if wire is None or wire.fileno() < 0 or not connection.is_connected:
        return False
    # What TLS has taken from the socket already, it does not show.
    return not (isinstance(wire, ssl.SSLSocket) and wire.pending())
