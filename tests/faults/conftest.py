"""Rigs for tests: small, each on an anvil of its own."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.conftest import PostgreSQL, StartAnvil
from tests.faults.rig import SHORT_TEMPO, Rig
from tests.faults.stable import Stable

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="module")
def stable() -> Iterator[Stable]:
    with Stable() as stable:
        yield stable


@pytest.fixture(scope="module")
def other_stable() -> Iterator[Stable]:
    """For a second run at the same time."""
    with Stable() as stable:
        yield stable


@pytest.fixture
def make_rig(start_anvil: StartAnvil, stable: Stable, tmp_path: Path) -> Iterator[MakeRig]:
    """`make_rig(rows=100, batch=10)`: an open program on an anvil of its own, nothing minted yet."""
    with ExitStack() as rigs:

        def make(database_url: str = f"sqlite:///{tmp_path / 'airdrop.db'}", **options: object) -> Rig:
            given: dict[str, object] = {"stable": stable, "block_seconds": 0, **options}
            return rigs.enter_context(Rig(tmp_path, start_anvil().url, database_url, **given))  # type: ignore[arg-type]

        yield make


@pytest.fixture(scope="module")
def stage(start_anvil: StartAnvil, stable: Stable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """A rig on SQLite for all scenes of a module, one after the other: each adds members of its own."""
    folder = tmp_path_factory.mktemp("stage")
    with open_stage(folder, start_anvil().url, f"sqlite:///{folder / 'loyalty.db'}", stable) as rig:
        yield rig


@pytest.fixture(scope="module")
def stage_on_postgresql(
    start_anvil: StartAnvil, stable: Stable, postgresql: PostgreSQL, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Rig]:
    """The same on PostgreSQL."""
    url = postgresql.url(postgresql.create())
    with open_stage(tmp_path_factory.mktemp("stage"), start_anvil().url, url, stable) as rig:
        yield rig


def open_stage(folder: Path, node_url: str, database_url: str, stable: Stable) -> Rig:
    return Rig(
        folder, node_url, database_url, rows=5, batch=5, finality=2, block_seconds=0.1, tempo=SHORT_TEMPO, stable=stable
    )
