"""The addresses that belong to a program and to nobody: they can't be members."""

from nftloyalty.app.opening import Opened
from nftloyalty.chain.abi import artifact, create2_address
from nftloyalty.chain.contracts import Factory
from nftloyalty.chain.deployment import CREATE2_DEPLOYER, SALT
from nftloyalty.domain.address import Address


def own_contracts(opened: Opened) -> dict[Address, str]:
    """What each of the program's contracts is, in words that fit after "is".

    Keys of the program are not among them: a person behind one may be a member like everybody else.
    """
    factory = Factory(opened.membership.node, opened.row.factory)
    membership, stamps = factory.implementations()
    renderer = create2_address(CREATE2_DEPLOYER, SALT, artifact("LoyaltyRenderer").initcode())
    found = {
        CREATE2_DEPLOYER: "the contract that puts others on chain",
        renderer: "the contract that draws cards and stamps",
        factory.address: "the contract that opens programs",
        membership: "the code that all programs' cards share",
        stamps: "the code that all programs' stamps share",
        opened.membership.address: "the program's own contract for cards",
    }
    for season in range(opened.membership.seasons()):
        found[opened.membership.stamps_of_season(season)] = "the program's own contract for stamps"
    return found
