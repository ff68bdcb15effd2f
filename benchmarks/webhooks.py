"""python -m benchmarks.webhooks: webhooks delivered in a second, beside the bare POSTs, in the same run.

Receivers are processes on this machine, which speak HTTP or TLS. Bare are the same POSTs with as many threads, without
a database: what is left is claiming, settling and signing. Both are measured with connections that are kept, as
webhooks are sent, and with a new one for each message. Figures depend on the machine and on what else it does, the
receiver for one; the ratios of one run are what counts. Exit status 1 if anything could not be measured.
"""

import argparse
import json
import os
import platform
import sqlite3
import ssl
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import psycopg
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from rich.console import Console
from rich.table import Table
from sqlalchemy import func, insert, select

from benchmarks.servers import database_of, postgresql
from nftloyalty.app import endpoints
from nftloyalty.app.context import App, build_app
from nftloyalty.app.delivering import THREADS, Deliverer
from nftloyalty.config import from_environment
from nftloyalty.connect.posting import Answer, Poster
from nftloyalty.errors import LoyaltyError
from nftloyalty.store import chains, deliveries, programs
from nftloyalty.store.engine import begin, open_engine, upgrade
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.tables import Phase, events

RESULTS = Path(__file__).parent / "results" / "webhooks.json"
ROUNDS = 3
EVENTS = 500
OBJECTS = 250
ENDPOINTS = 2
MESSAGES = EVENTS * ENDPOINTS
HOST = IPv4Address("127.0.0.1")
START = datetime(2026, 3, 1, 12, tzinfo=UTC)

RECEIVER = """
import socket, ssl, sys, threading

def answer(connection):
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    if context is not None:
        connection = context.wrap_socket(connection, server_side=True)
    with connection:
        got = b""
        while True:
            while b"\\r\\n\\r\\n" not in got:
                more = connection.recv(65536)
                if not more:
                    return
                got += more
            head, _, got = got.partition(b"\\r\\n\\r\\n")
            head = head.lower()
            length = int(head.partition(b"content-length:")[2].split()[0])
            while len(got) < length:
                got += connection.recv(65536)
            got = got[length:]
            last = b"connection: close" in head
            connection.sendall(b"HTTP/1.1 204 No Content\\r\\n" + b"Connection: close\\r\\n" * last + b"\\r\\n")
            if last:
                return

context = None
if len(sys.argv) > 1:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(sys.argv[1])
server = socket.create_server(("127.0.0.1", 0), backlog=256)
print(server.getsockname()[1], flush=True)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""


@dataclass(frozen=True)
class Round:
    """Messages a second to one receiver: bare ones and delivered ones, by connections that are kept or by a `new` one
    for each."""

    bare_new: float
    bare: float
    sqlite_new: float
    sqlite: float
    postgresql: float


class NewEachTime(Poster):
    """Keeps no connection."""

    def post(self, url: str, body: bytes, headers: Mapping[str, str], *, endpoint: str = "") -> Answer:
        return super().post(url, body, headers)


def main(arguments: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.webhooks", description="Webhooks sent in a second.")
    parser.add_argument("--json", metavar="FILE", type=Path, default=RESULTS, help="write the figures there instead")
    parser.add_argument("--rounds", type=int, default=ROUNDS, help=f"how often each is measured ({ROUNDS})")
    given = parser.parse_args(arguments)
    console, said = Console(highlight=False), Console(stderr=True, highlight=False)
    began = time.monotonic()
    setting = _setting()
    try:
        found = measure(given.rounds, lambda what: said.print(what, style="dim"))
    except (LoyaltyError, psycopg.Error, sqlite3.Error, OSError) as problem:
        said.print(f"bench-webhooks: {problem}", style="red", markup=False)
        return 1
    console.print(table(found))
    console.print(f"{time.monotonic() - began:.0f} seconds")
    given.json.write_text(to_json(found, setting), encoding="utf-8")
    return 0


def measure(rounds: int, tell: Callable[[str], None]) -> dict[str, Round]:
    """The medians for each kind of receiver. All are measured in turn: a bad moment of the machine is everybody's."""
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="nftloyalty-webhooks-")))
        certificate = _certificate(folder / "receiver.pem")
        trust = ssl.create_default_context(cadata=certificate)
        receivers = {
            "HTTP": f"http://{HOST}:{stack.enter_context(_receiving())}/",
            "TLS": f"https://{HOST}:{stack.enter_context(_receiving(folder / 'receiver.pem'))}/",
        }
        shared = database_of(stack.enter_context(postgresql()), "webhooks")
        books = [_books(folder / name, url) for name, url in (("sqlite", ""), ("postgresql", shared))]
        for app, _ in books:
            stack.callback(app.close)
        done: dict[str, list[Round]] = {name: [] for name in receivers}
        for number in range(rounds):
            for name, url in receivers.items():
                done[name].append(_round(url, trust, *books))
                tell(f"{name}: round {number + 1} of {rounds}")
    return {
        name: Round(**{field: statistics.median(asdict(each)[field] for each in found) for field in asdict(found[0])})
        for name, found in done.items()
    }


def _round(url: str, trust: ssl.SSLContext, embedded: "Books", shared: "Books") -> Round:
    networks = (IPv4Network(HOST),)

    def with_poster(of: type[Poster], work: Callable[[Poster], float]) -> float:
        poster = of(networks, trust=trust)
        try:
            return work(poster)
        finally:
            poster.close()

    return Round(
        bare_new=with_poster(NewEachTime, lambda poster: _bare(poster, url)),
        bare=with_poster(Poster, lambda poster: _bare(poster, url)),
        sqlite_new=with_poster(NewEachTime, lambda poster: _delivered(embedded, poster, url)),
        sqlite=with_poster(Poster, lambda poster: _delivered(embedded, poster, url)),
        postgresql=with_poster(Poster, lambda poster: _delivered(shared, poster, url)),
    )


Books = tuple[App, ProgramRow]


def _delivered(books: Books, poster: Poster, url: str) -> float:
    """Every event to every endpoint, from the database to the database."""
    app, program = books
    # Where a cached property keeps what it has made.
    app.__dict__["poster"] = poster
    made = [endpoints.create(app, program, url).endpoint.public_id for _ in range(ENDPOINTS)]
    _happen(app, program)
    with Deliverer(app, program) as deliverer:
        began = time.perf_counter()
        while deliverer.turn(0.05):
            pass
        seconds = time.perf_counter() - began
    for endpoint in made:
        found = endpoints.one(app, program, endpoint).endpoint
        if found.delivered != EVENTS:
            raise OSError(f"{EVENTS - found.delivered} of {EVENTS} messages were not delivered")
        endpoints.delete(app, program, endpoint)
    return MESSAGES / seconds


def _bare(poster: Poster, url: str) -> float:
    """As many POSTs of a body of the same size."""
    left = iter(range(MESSAGES))
    body = b"a" * 250
    failed: list[Answer] = []

    def post() -> None:
        while (number := next(left, None)) is not None:
            answer = poster.post(url, body, {"webhook-id": str(number)}, endpoint=f"ep_{number % ENDPOINTS}")
            if not answer.taken:
                failed.append(answer)

    threads = [threading.Thread(target=post) for _ in range(THREADS)]
    began = time.perf_counter()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    seconds = time.perf_counter() - began
    if failed:
        raise OSError(f"{len(failed)} of {MESSAGES} messages did not arrive: {failed[0].error}")
    return MESSAGES / seconds


@contextmanager
def _receiving(certificate: Path | None = None) -> Iterator[int]:
    """The port of a receiver, a process of its own."""
    more = [] if certificate is None else [str(certificate)]
    process = subprocess.Popen([sys.executable, "-c", RECEIVER, *more], stdout=subprocess.PIPE, text=True)
    try:
        if process.stdout is None:
            raise OSError("the receiver has no output")
        yield int(process.stdout.readline())
    finally:
        process.kill()
        process.communicate()


def _certificate(file: Path) -> str:
    """Writes a new key with its certificate, which vouches for itself; returns the certificate."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "receiver")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(HOST)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    private = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    file.write_bytes(private + pem)
    return pem.decode("ascii")


def _books(folder: Path, database: str) -> Books:
    """A program in a database and nothing else: nobody asks a node."""
    if database:
        engine = open_engine(database)
        upgrade(engine)
        engine.dispose()
    environment = {
        "NFTLOYALTY_HOME": str(folder),
        "DATABASE_URL": database,
        "NFTLOYALTY_WEBHOOK_NETWORKS": str(HOST),
    }
    app = build_app(from_environment(environment))
    return app, _program(app)


def _program(app: App) -> ProgramRow:
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


def _happen(app: App, program: ProgramRow) -> None:
    """Events of many objects, each with several."""
    with begin(app.engine) as tx:
        last = int(tx.execute(select(func.coalesce(func.max(events.c.id), 0))).scalar_one())
        rows = [
            {
                "public_id": f"evt_{last + number}",
                "program": program.id,
                "type": "membership.minted",
                "phase": Phase.FINAL,
                "object": f"membership:{last}:{number % OBJECTS}",
                "sequence": number // OBJECTS + 1,
                "wallet": None,
                "data": {"tier": 1, "expires_at": None, "transaction": f"0x{number:064x}"},
                "created_at": START,
            }
            for number in range(EVENTS)
        ]
        tx.execute(insert(events), rows)
        happened = tx.execute(select(events).where(events.c.id > last).order_by(events.c.id)).all()
        deliveries.fan_out(tx, happened, app.now())


def table(found: Mapping[str, Round]) -> Table:
    shown = Table(
        title="Webhooks sent in a second",
        caption="new and kept connections; shares are of the bare ones that keep theirs",
    )
    columns = ("", "bare\nnew", "bare\nkept", "SQLite\nnew", "SQLite\nkept", "share", "PostgreSQL\nkept", "share")
    for place, column in enumerate(columns):
        shown.add_column(column, justify="right" if place else "left")
    for name, each in found.items():
        shown.add_row(
            name,
            f"{each.bare_new:,.0f}",
            f"{each.bare:,.0f}",
            f"{each.sqlite_new:,.0f}",
            f"{each.sqlite:,.0f}",
            f"{each.sqlite / each.bare:.0%}",
            f"{each.postgresql:,.0f}",
            f"{each.postgresql / each.bare:.0%}",
        )
    return shown


def to_json(found: Mapping[str, Round], setting: Mapping[str, Any]) -> str:
    rounds = {
        name: {
            "bare_with_new_connections_per_second": round(each.bare_new),
            "bare_per_second": round(each.bare),
            "sqlite_with_new_connections_per_second": round(each.sqlite_new),
            "sqlite_per_second": round(each.sqlite),
            "sqlite_of_bare_percent": round(100 * each.sqlite / each.bare),
            "postgresql_per_second": round(each.postgresql),
            "postgresql_of_bare_percent": round(100 * each.postgresql / each.bare),
        }
        for name, each in found.items()
    }
    return json.dumps({**setting, "webhooks": rounds}, indent=2) + "\n"


def _setting() -> dict[str, Any]:
    return {
        "machine": {
            "cores": os.cpu_count(),
            "processor": platform.machine(),
            "load_before": round(os.getloadavg()[0], 1),
            "python": platform.python_version(),
            "sqlite": sqlite3.sqlite_version,
        },
        "messages": MESSAGES,
        "threads": THREADS,
    }


if __name__ == "__main__":
    sys.exit(main())
