"""Load on a server, from autocannon, and what it cost the server."""

import json
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

CONNECTIONS = 32
HALF_CONNECTIONS = 16

_SCRIPT = Path(__file__).parent / "load.cjs"


class BenchmarkProblem(Exception):
    """The benchmark can't be run here; the sentence says why and what to do."""


@dataclass(frozen=True)
class Asked:
    """Requests that each connection makes in turn, over and over. In the headers and the body of one that is `fresh`
    {wallet} and {key} become others for each request."""

    url: str
    requests: Sequence[Mapping[str, Any]]


@dataclass(frozen=True)
class Run:
    """`rate` answers a second, `per_core` answers for each second that the server spent computing: the same where it
    had a core to itself and the load was more than it could answer. Latencies in milliseconds."""

    rate: float
    per_core: float
    p50_ms: float
    p99_ms: float


def tool(name: str) -> str:
    """The path of a program. Raises BenchmarkProblem."""
    found = shutil.which(name)
    if found is None:
        raise BenchmarkProblem(f"{name} was not found; `make bench` installs what it needs and finds it")
    return found


def autocannon() -> Mapping[str, str]:
    """Its name and version."""
    package = json.loads((Path(__file__).parent / "package.json").read_text(encoding="utf-8"))
    return dict(package["dependencies"])


def load(asked: Asked, server: int, seconds: int, *, connections: int = CONNECTIONS, rate: int = 0) -> Run:
    """Load the server, a process id, as fast as it answers, or with `rate` requests a second. Of these autocannon sends
    each second's one upon the other and rests then, which is harder to answer in time than the same load spread evenly.

    Raises BenchmarkProblem where a request was not answered with what it asked for.
    """
    given = {
        "url": asked.url,
        "requests": list(asked.requests),
        "seconds": seconds,
        "connections": HALF_CONNECTIONS if rate else connections,
        "rate": rate,
    }
    process = psutil.Process(server)
    before = _computed(process)
    done = subprocess.run(
        [tool("node"), _SCRIPT], input=json.dumps(given), capture_output=True, text=True, timeout=seconds + 60
    )
    spent = _computed(process) - before
    if done.returncode:
        raise BenchmarkProblem(f"autocannon does not run: {done.stderr.strip()[:500]}")
    found = json.loads(done.stdout)
    if found["refused"] or found["failed"] or not found["answered"]:
        raise BenchmarkProblem(f"{asked.url}{asked.requests[0].get('path', '')} was not answered: {found}")
    return Run(
        rate=found["answered"] / found["seconds"],
        per_core=found["answered"] / spent,
        p50_ms=found["p50_ms"],
        p99_ms=found["p99_ms"],
    )


def _computed(process: psutil.Process) -> float:
    """Seconds of computing, of all threads, in the program and for it in the system."""
    times = process.cpu_times()
    return float(times.user + times.system)
