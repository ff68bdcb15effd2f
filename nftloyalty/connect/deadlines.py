"""An end for whatever a socket waits for. A timeout of its own would begin anew with each byte that drips in."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field


@dataclass(eq=False)
class _Watched:
    wire: socket.socket
    deadline: float
    cut: threading.Event = field(default_factory=threading.Event)


class Deadlines:
    """Cuts sockets off at their time, with one thread for all of them, which is there only while it is needed: one for
    each would take longer than most exchanges. Safe to use from many threads."""

    def __init__(self) -> None:
        self._watched: list[_Watched] = []
        self._changed = threading.Condition()
        self._wakes_at: float | None = None

    @contextmanager
    def cut_off(self, wire: socket.socket, deadline: float) -> Iterator[threading.Event]:
        """If the block goes on at this time (monotonic), the event is set, and what waits for the socket fails."""
        mine = _Watched(wire, deadline)
        with self._changed:
            self._watched.append(mine)
            if self._wakes_at is None:
                self._wakes_at = deadline
                threading.Thread(target=self._watch, name="deadlines", daemon=True).start()
            elif deadline < self._wakes_at:
                self._changed.notify()
        try:
            yield mine.cut
        finally:
            with self._changed:
                self._watched.remove(mine)

    def _watch(self) -> None:
        with self._changed:
            while self._watched:
                now = time.monotonic()
                for each in self._watched:
                    if each.deadline <= now and not each.cut.is_set():
                        each.cut.set()
                        # Of the plain socket underneath: a TLS one would let its reader go on in the clear.
                        with suppress(OSError):
                            socket.socket.shutdown(each.wire, socket.SHUT_RDWR)
                left = [each.deadline for each in self._watched if not each.cut.is_set()]
                self._wakes_at = min(left, default=now + 1.0)
                self._changed.wait(max(0.0, self._wakes_at - now))
            self._wakes_at = None
