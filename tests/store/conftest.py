"""An open, empty database with the newest schema, on SQLite and on PostgreSQL."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import Engine, text

from nftloyalty.store.engine import begin, open_engine
from nftloyalty.store.tables import metadata
from tests.conftest import ENGINES, PostgreSQL


@pytest.fixture(scope="session")
def shared_postgresql(postgresql: PostgreSQL, postgresql_template: str) -> Iterator[Engine]:
    """One database for all tests of the store: emptying it is many times faster than making one for each test."""
    name = postgresql.create(postgresql_template)
    engine = open_engine(postgresql.url(name))
    yield engine
    engine.dispose()
    postgresql.drop(name)


@pytest.fixture(params=ENGINES)
def engine(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    if request.param == "sqlite":
        path = tmp_path / "loyalty.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        engine = open_engine(f"sqlite:///{path}")
        yield engine
        engine.dispose()
        return
    engine = request.getfixturevalue("shared_postgresql")
    with begin(engine) as tx:
        tx.execute(text(f"TRUNCATE {', '.join(metadata.tables)} RESTART IDENTITY"))
    yield engine
