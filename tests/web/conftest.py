"""A program that is open on an embedded chain, served as `nftloyalty serve` serves it: by uvicorn, on a socket."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import httpx2
import pytest
import uvicorn

from nftloyalty.app import claiming
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.working import Worker
from nftloyalty.devchain import DevChainServer
from nftloyalty.devchain.server import listen, url_of
from nftloyalty.web.app import create_web
from nftloyalty.web.deps import Service
from tests.app.build import World, app_of, open_world, settings_of


@dataclass(frozen=True)
class Served:
    """The world and a client of its server. `worker` runs."""

    world: World
    client: httpx2.Client
    worker: Worker


@contextmanager
def serving(service: Service) -> Iterator[httpx2.Client]:
    """A client of a server of its own."""
    with listen("127.0.0.1", 0) as listener:
        config = uvicorn.Config(create_web(service), log_config=None, access_log=False, timeout_graceful_shutdown=1)
        server = uvicorn.Server(config)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
        thread.start()
        try:
            with httpx2.Client(base_url=url_of(listener), timeout=30, trust_env=False) as client:
                yield client
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with DevChainServer() as chain:
        app = app_of(settings_of(tmp_path_factory.mktemp("served"), chain.url))
        world = open_world(app)
        here = world.here
        worker = Worker(app, here, [signer_of(app, claiming.relay_key(here))])
        worker.start()
        try:
            with serving(Service(app, here, worker)) as client:
                yield Served(world, client, worker)
        finally:
            worker.stop()
            app.close()


@pytest.fixture(scope="module")
def client(served: Served) -> httpx2.Client:
    return served.client
