"""python -m benchmarks.webhooks: events delivered per second to a receiver on this machine, beside the bare POSTs.

Bare are the same POSTs with as many threads, without a database: what is left is claiming, settling and signing.
Figures depend on the machine and on what else it does; the ratios of one run are what counts.
"""

import argparse
import json
import os
import platform
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from rich.console import Console
from rich.table import Table
from sqlalchemy import insert, select

from nftloyalty.app import endpoints
from nftloyalty.app.context import App, build_app
from nftloyalty.app.delivering import THREADS, Deliverer
from nftloyalty.config import from_environment
from nftloyalty.store import chains, deliveries, programs
from nftloyalty.store.engine import begin
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.tables import Phase, events

EVENTS = 2_000
OBJECTS = 500
RECEIVERS = 2
START = datetime(2026, 3, 1, 12, tzinfo=UTC)

RECEIVER = """
import socket, threading

def answer(connection):
    with connection:
        got = b""
        while b"\\r\\n\\r\\n" not in got:
            got += connection.recv(65536)
        head, _, body = got.partition(b"\\r\\n\\r\\n")
        length = int(head.lower().partition(b"content-length:")[2].split()[0])
        while len(body) < length:
            body += connection.recv(65536)
        connection.sendall(b"HTTP/1.1 204 No Content\\r\\nConnection: close\\r\\n\\r\\n")

def serve(server):
    while True:
        answer(server.accept()[0])

server = socket.create_server(("127.0.0.1", 0), backlog=256)
for _ in range(8):
    threading.Thread(target=serve, args=(server,), daemon=True).start()
print(server.getsockname()[1], flush=True)
threading.Event().wait()
"""


@dataclass(frozen=True)
class Rate:
    """How many in how long."""

    count: int
    seconds: float

    @property
    def per_second(self) -> float:
        return self.count / self.seconds


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description="Speed of webhooks.")
    parser.add_argument("--json", metavar="FILE", type=Path, help="write the figures there")
    parser.add_argument("--database", default="", help="a database URL; left out: SQLite in a folder of its own")
    parser.add_argument("--events", type=int, default=EVENTS, help="so many, to each receiver")
    given = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as folder, receiving() as url:
        app = app_in(Path(folder), given.database)
        try:
            rates = {"delivered": delivered(app, url, given.events), "bare": bare(app, url, given.events)}
        finally:
            app.close()
    table = Table("", "messages/s", "of the bare ones", title="Webhooks")
    for name, rate in rates.items():
        share = rate.per_second / rates["bare"].per_second
        table.add_row(name, f"{rate.per_second:,.0f}", f"{share:.0%}")
    Console(highlight=False).print(table)
    if given.json is not None:
        setting = {"python": platform.python_version(), "cores": os.cpu_count(), "events": given.events}
        found = {name: {"messages_per_second": round(rate.per_second)} for name, rate in rates.items()}
        given.json.write_text(json.dumps({**setting, "webhooks": found}, indent=2) + "\n", encoding="utf-8")
    return 0


@contextmanager
def receiving() -> Iterator[str]:
    """The address of a receiver, a process of its own."""
    process = subprocess.Popen([sys.executable, "-c", RECEIVER], stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}/"
    finally:
        process.kill()
        process.communicate()


def app_in(folder: Path, database: str) -> App:
    environment = {
        "NFTLOYALTY_HOME": str(folder),
        "DATABASE_URL": database,
        "NFTLOYALTY_WEBHOOK_NETWORKS": "127.0.0.1",
    }
    return build_app(from_environment(environment))


def delivered(app: App, url: str, count: int) -> Rate:
    """Every event to every receiver, from the database to the database."""
    program = program_in(app)
    for _ in range(RECEIVERS):
        endpoints.create(app, program, url)
    fill(app, program, count)
    with Deliverer(app, program) as deliverer:
        began = time.monotonic()
        while deliverer.turn(0.05):
            pass
        seconds = time.monotonic() - began
    left = sum(each.endpoint.waiting for each in endpoints.all_of(app, program))
    assert left == 0, f"{left} were not delivered"
    return Rate(count * RECEIVERS, seconds)


def bare(app: App, url: str, count: int) -> Rate:
    """As many POSTs of a body of the same size."""
    left = iter(range(count * RECEIVERS))
    body = b"a" * 250

    def post() -> None:
        while next(left, None) is not None:
            assert app.poster.post(url, body, {}).taken

    threads = [threading.Thread(target=post) for _ in range(THREADS)]
    began = time.monotonic()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return Rate(count * RECEIVERS, time.monotonic() - began)


def program_in(app: App) -> ProgramRow:
    word = "0x" + "05" * 32
    nobody = "0x" + "00" * 20
    with begin(app.engine) as tx:
        chain = chains.known_chain(tx, 31_337, word, START)
        return programs.add_opening(
            tx,
            chain,
            "bench",
            opener=nobody,
            salt=word,
            name="Bench",
            factory=nobody,
            membership=nobody,
            stamps=nobody,
            terms={},
            now=START,
        )


def fill(app: App, program: ProgramRow, count: int) -> None:
    """Events of many objects, each with several."""
    rows = [
        {
            "public_id": f"evt_{number}",
            "program": program.id,
            "type": "membership.minted",
            "phase": Phase.FINAL,
            "object": f"membership:{number % OBJECTS}",
            "sequence": number // OBJECTS + 1,
            "wallet": None,
            "data": {"tier": 1, "expires_at": None, "transaction": f"0x{number:064x}"},
            "created_at": START,
        }
        for number in range(count)
    ]
    with begin(app.engine) as tx:
        tx.execute(insert(events), rows)
        happened = tx.execute(select(events).where(events.c.program == program.id).order_by(events.c.id)).all()
        deliveries.fan_out(tx, happened, app.now())


if __name__ == "__main__":
    sys.exit(main())
