"""A program that is open on an embedded chain, served in this process."""

from collections.abc import Iterator
from dataclasses import dataclass

import pytest
from fastapi.testclient import TestClient

from nftloyalty.app import claiming
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.relaying import Relay
from nftloyalty.devchain import DevChainServer
from nftloyalty.web.app import create_web
from nftloyalty.web.deps import Service
from tests.app.build import World, app_of, open_world, settings_of

HERE = "http://127.0.0.1:8000"


@dataclass(frozen=True)
class Served:
    """The world and a client of its server. `relay` runs."""

    world: World
    client: TestClient
    relay: Relay


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with DevChainServer() as chain:
        app = app_of(settings_of(tmp_path_factory.mktemp("served"), chain.url))
        world = open_world(app)
        here = world.here
        relay = Relay(app, here, signer_of(app, claiming.relay_key(here)))
        relay.start()
        try:
            with TestClient(create_web(Service(app, here, relay)), HERE, raise_server_exceptions=False) as client:
                yield Served(world, client, relay)
        finally:
            relay.stop()
            app.close()


@pytest.fixture(scope="module")
def client(served: Served) -> TestClient:
    return served.client
