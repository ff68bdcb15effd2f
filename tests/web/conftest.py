"""A program that is open on an embedded chain, served as `nftloyalty serve` serves it: by uvicorn, on a socket."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx2
import pytest

from nftloyalty.app import claiming
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.working import Worker
from nftloyalty.devchain import DevChainServer
from nftloyalty.devchain.server import listen, url_of
from nftloyalty.web.app import create_web
from nftloyalty.web.deps import Service
from nftloyalty.web.server import server_of
from tests.app.build import World, app_of, new_wallet, open_world, settings_of

READY_SECONDS = 30


@dataclass(frozen=True)
class Served:
    """The world and a client of its server. `worker` runs."""

    world: World
    client: httpx2.Client
    worker: Worker

    def index(self) -> None:
        """Wait until the server's own index is at the newest block."""
        wait_for(self.client, self.world)


@contextmanager
def serving(service: Service) -> Iterator[httpx2.Client]:
    """A client of a server of its own."""
    with listen("127.0.0.1", 0) as listener:
        server = server_of(create_web(service))
        server.config.timeout_graceful_shutdown = 1
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
        thread.start()
        try:
            with httpx2.Client(base_url=url_of(listener), timeout=30, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


def wait_for(client: httpx2.Client, world: World) -> None:
    """Until the server is ready, and answers from the newest block."""
    give_up = time.monotonic() + READY_SECONDS
    head = world.app.node.head()
    nobody = new_wallet()

    def block() -> int:
        """The one that answers are of; -1 = there are none yet."""
        ready = client.get("/readyz").status_code == 200
        return int(client.get(f"/v1/ownership/{nobody}").json()["as_of"]["block"]) if ready else -1

    while block() < head.number:
        assert time.monotonic() < give_up, client.get("/readyz").text
        time.sleep(0.05)


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with DevChainServer() as chain:
        app = app_of(settings_of(tmp_path_factory.mktemp("served"), chain.url))
        world = open_world(app)
        here = world.here
        worker = Worker(app, here, [signer_of(app, claiming.relay_key(here))])
        worker.start()
        try:
            with Intake(app, here) as intake, serving(Service(app, here, worker, intake=intake)) as client:
                wait_for(client, world)
                yield Served(world, client, worker)
        finally:
            worker.stop()
            app.close()


@pytest.fixture(scope="module")
def client(served: Served) -> httpx2.Client:
    return served.client


@pytest.fixture(scope="module")
def chain() -> Iterator[str]:
    with DevChainServer() as server:
        yield server.url


@pytest.fixture
def world(chain: str, tmp_path: Path) -> Iterator[World]:
    """A program of one test's own, for which nothing works yet."""
    app = app_of(settings_of(tmp_path, chain))
    yield open_world(app)
    app.close()


@pytest.fixture
def idle(world: World) -> Iterator[httpx2.Client]:
    """A client of its server."""
    with serving(Service(world.app, world.here, None)) as client:
        yield client
