"""Who is told to be alive, so that a lease is neither taken from a living process nor left to a dead one."""

import os
import subprocess
import sys

from pytest import MonkeyPatch

from nftloyalty.app import leases


def test_this_process_is_alive_by_its_own_name() -> None:
    assert leases.process_name() == leases.process_name()
    assert leases.owner_alive(leases.process_name())


def test_a_process_that_has_ended_is_dead() -> None:
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    assert not leases.owner_alive(f"{leases._host()}/{child.pid}/1")


def test_a_pid_that_was_given_out_again_is_not_its_former_owner() -> None:
    assert not leases.owner_alive(f"{leases._host()}/{os.getpid()}/1")


def test_what_runs_on_another_host_may_be_alive() -> None:
    assert leases.owner_alive("elsewhere/1/1")


def test_where_asking_would_interrupt_the_process_it_is_taken_to_be_alive(monkeypatch: MonkeyPatch) -> None:
    def interrupt(pid: int, signal: int) -> None:
        raise AssertionError("a signal was sent")

    monkeypatch.setattr(sys, "platform", "win32")
    monkeypatch.setattr(os, "kill", interrupt)
    assert leases.owner_alive(f"{leases._host()}/{os.getpid()}/1")
