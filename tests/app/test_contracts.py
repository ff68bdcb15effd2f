"""A program's own addresses: nobody is behind them."""

from nftloyalty.app.contracts import own_contracts
from nftloyalty.app.keyring import address_of
from nftloyalty.chain.abi import artifact
from nftloyalty.chain.contracts import Factory
from tests.app.build import KEYS, World, new_wallet


def test_every_contract_of_a_program_is_known_for_what_it_is(world: World) -> None:
    here = world.here
    ours = own_contracts(here)
    assert ours[here.membership.address] == "the program's own contract for cards"
    assert ours[here.stamps.address] == "the program's own contract for stamps"
    assert ours[here.row.factory] == "the contract that opens programs"
    assert set(Factory(world.app.node, here.row.factory).implementations()) <= ours.keys()
    (renderer,) = [address for address, what in ours.items() if what == "the contract that draws cards and stamps"]
    assert artifact("LoyaltyRenderer").matches(world.app.node.code(renderer))
    assert all(world.app.node.code(address) for address in ours)


def test_people_and_keys_are_not_among_them(world: World) -> None:
    ours = own_contracts(world.here)
    assert ours.keys().isdisjoint({new_wallet(), *(address_of(world.app, name) for name in KEYS)})
