"""Both development chains, each with an open program, and a node that lies."""

from collections.abc import Iterator

import pytest

from nftloyalty.chain.client import Node
from nftloyalty.devchain import DevChainServer
from tests.chain.liar import Liar
from tests.chain.opened import STAMPS, Opened, open_program
from tests.conftest import Anvil, StartAnvil
from tests.domain.build import program

CHAINS = ("eth-tester", "anvil")


@pytest.fixture(scope="module", params=CHAINS)
def node(request: pytest.FixtureRequest) -> Iterator[Node]:
    """A fresh chain a module, once each kind."""
    if request.param == "anvil":
        start: StartAnvil = request.getfixturevalue("start_anvil")
        yield Node(start().url)
        return
    with DevChainServer() as server:
        yield Node(server.url)


@pytest.fixture(scope="module")
def opened(node: Node) -> Opened:
    """A program with two tiers, stamps and a stamp card, open on the module's chain."""
    return open_program(node, program(STAMPS))


@pytest.fixture
def anvil_node(anvil: Anvil) -> Node:
    return Node(anvil.url)


@pytest.fixture
def liar() -> Iterator[Liar]:
    with Liar() as liar:
        yield liar
