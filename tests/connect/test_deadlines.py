"""Sockets are cut off at their time, whoever came first, and nothing is left that watches nobody."""

import socket
import threading
import time

import pytest

from nftloyalty.connect.deadlines import Deadlines


def waits(deadlines: Deadlines, seconds: float, ended: dict[float, float]) -> threading.Thread:
    """A thread that waits for what nobody sends, and says when that ended."""

    def wait() -> None:
        one, other = socket.socketpair()
        began = time.monotonic()
        with one, other, deadlines.cut_off(one, began + seconds) as cut:
            assert one.recv(1) == b""
            assert cut.is_set()
            ended[seconds] = time.monotonic() - began

    thread = threading.Thread(target=wait)
    thread.start()
    return thread


def watching() -> set[threading.Thread]:
    """The threads that do; those of other tests end when nobody needs them any more."""
    return {thread for thread in threading.enumerate() if thread.name == "deadlines"}


def test_each_is_cut_off_at_its_own_time() -> None:
    before = watching()
    deadlines = Deadlines()
    ended: dict[float, float] = {}
    threads = []
    # Also one that comes later and ends sooner.
    for seconds in (1.5, 0.3, 0.9, 0.3001):
        threads.append(waits(deadlines, seconds, ended))
        time.sleep(0.02)
    (watcher,) = watching() - before
    for thread in threads:
        thread.join(5)
    assert len(ended) == 4
    for seconds, took in ended.items():
        assert seconds <= took < seconds + 0.5
    watcher.join(5)
    assert not watcher.is_alive()
    # It can be used again.
    waits(deadlines, 0.1, ended).join(5)
    assert ended[0.1] < 0.6


def test_what_ended_before_is_left_alone() -> None:
    deadlines = Deadlines()
    one, other = socket.socketpair()
    with one, other:
        with deadlines.cut_off(one, time.monotonic() + 0.05) as cut:
            pass
        time.sleep(0.2)
        assert not cut.is_set()
        other.sendall(b"a")
        assert one.recv(1) == b"a"


def test_one_whose_time_is_over_already_is_cut_off_at_once() -> None:
    one, other = socket.socketpair()
    one.settimeout(5)
    with one, other, Deadlines().cut_off(one, time.monotonic() - 1) as cut:
        assert one.recv(1) == b""
        assert cut.is_set()


def test_one_that_is_closed_meanwhile_stops_nobody() -> None:
    deadlines = Deadlines()
    one, other = socket.socketpair()
    with other, deadlines.cut_off(one, time.monotonic() + 0.05) as cut:
        one.close()
        assert cut.wait(5)
    ended: dict[float, float] = {}
    waits(deadlines, 0.1, ended).join(5)
    assert ended[0.1] == pytest.approx(0.1, abs=0.5)
