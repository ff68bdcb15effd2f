"""One embedded chain with the shared contracts for all tests of a process, and programs that are open on it."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from uuid import uuid4

import pytest

from nftloyalty.app import deploying
from nftloyalty.devchain import DevChainServer
from tests.app.build import World, app_of, make_keys, open_world, program_of, program_text, settings_of
from tests.app.proxy import Proxy
from tests.chain.liar import Liar
from tests.conftest import ENGINES, PostgreSQL

OpenWorld = Callable[..., World]
Anew = Callable[[str], World]


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The URL of a chain where the shared contracts lie already, so that opening a program is one transaction."""
    with DevChainServer() as server:
        app = app_of(settings_of(tmp_path_factory.mktemp("first"), server.url))
        try:
            make_keys(app)
            deploying.deploy(app, program_of(program_text(rest="")))
        finally:
            app.close()
        yield server.url


@pytest.fixture(scope="module", params=ENGINES)
def database(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """A new database for a module, once each kind."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path_factory.mktemp('database') / 'loyalty.db'}"
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    name = server.create()
    yield server.url(name)
    server.drop(name)


@pytest.fixture(scope="module")
def world(chain: str, database: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A program that the tests of a module share, once on each database: each uses wallets of its own."""
    app = app_of(settings_of(tmp_path_factory.mktemp("world"), chain, database))
    yield open_world(app)
    app.close()


@pytest.fixture
def open_on(tmp_path: Path) -> Iterator[OpenWorld]:
    """Opens a program for one test only: `open_on(url, text)`."""
    with ExitStack() as stack:

        def opening(rpc_url: str, text: str = "", **more: object) -> World:
            app = app_of(settings_of(tmp_path / uuid4().hex, rpc_url), **more)  # type: ignore[arg-type]
            stack.callback(app.close)
            return open_world(app, text)

        yield opening


@pytest.fixture
def liar() -> Iterator[Liar]:
    """A node that answers what a test wants."""
    with Liar() as liar:
        yield liar


@pytest.fixture
def proxy(chain: str) -> Iterator[Proxy]:
    """A node in front of the chain that can misbehave."""
    with Proxy(chain) as between:
        yield between


@pytest.fixture
def anew(open_on: OpenWorld, chain: str) -> Anew:
    """A program of one test's own on the shared chain, from the text of its program.toml."""
    return lambda text: open_on(chain, text)
