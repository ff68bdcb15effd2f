"""Tokens that a brand would build on a library: one contract a program, no factory, and nothing but minting in it."""

from benchmarks.gas.chain import TRANSFER, TRANSFER_SINGLE, Chain, addresses, last_id, wallet
from benchmarks.gas.rows import Figures, Row, each
from nftloyalty.chain.abi import Artifact

NAME, SYMBOL = "Coffee and Cake Club", "CAKE"
_URI = "https://coffee.example/stamps/{id}"
_NO_CAP = 2**128 - 1


def measure_card(chain: Chain, artifact: Artifact) -> Figures:
    """An ERC-721: every token is alike, so a stamp is one more token of the wallet."""
    owner, hot = wallet("owner"), wallet("hot")
    token, opened = chain.create(owner, artifact, NAME, SYMBOL, owner.address, hot.address)
    figures = {Row.OPEN: opened, Row.CARD_BYTES: token.size()}
    figures[Row.CARD_FIRST] = token.gas(hot, "mint", wallet("first").address)
    figures[Row.CARD] = token.gas(hot, "mint", wallet("steady").address)

    members = addresses("member")
    figures[Row.CARD_BATCH] = each(token.batch(hot, TRANSFER, "mintBatch", members))
    figures[Row.STAMP], figures[Row.STAMP_BATCH] = figures[Row.CARD], figures[Row.CARD_BATCH]
    figures[Row.FURTHER] = token.gas(hot, "mint", wallet("steady").address)
    figures[Row.FURTHER_BATCH] = each(token.batch(hot, TRANSFER, "mintBatch", members))

    mover = wallet("mover")
    moving = last_id(token.send(hot, "mint", mover.address))
    # ERC721A looks at the token that follows, and there is one nearly always.
    token.send(hot, "mint", wallet("last").address)
    figures[Row.MOVE] = token.gas(mover, "transferFrom", mover.address, wallet("new phone").address, moving)
    # Some count what was burned, and the first one begins the counter.
    for leaver in (wallet("first leaver"), wallet("leaver")):
        leaving = last_id(token.send(hot, "mint", leaver.address))
        token.send(hot, "mint", wallet("last").address)
        figures[Row.BURN] = token.gas(leaver, "burn", leaving)
    figures[Row.BURN_STAMP] = figures[Row.BURN]
    return figures


def measure_stamps(chain: Chain, artifact: Artifact) -> Figures:
    """An ERC-1155 with a cap for each id: the id is the stamp type. Nothing in it is a card."""
    owner, hot = wallet("owner"), wallet("hot")
    token, opened = chain.create(owner, artifact, _URI, owner.address, hot.address)
    figures = {Row.OPEN: opened, Row.STAMP_BYTES: token.size()}
    for stamp_type in (1, 2):
        token.send(owner, "setCap", stamp_type, _NO_CAP)
        token.send(hot, "mint", wallet("first").address, stamp_type)

    members = addresses("member")
    figures[Row.STAMP] = token.gas(hot, "mint", wallet("steady").address, 1)
    figures[Row.STAMP_BATCH] = each(token.batch(hot, TRANSFER_SINGLE, "mintBatch", members, 1))
    figures[Row.FURTHER] = token.gas(hot, "mint", wallet("steady").address, 2)
    figures[Row.FURTHER_BATCH] = each(token.batch(hot, TRANSFER_SINGLE, "mintBatch", members, 2))
    figures[Row.BURN_STAMP] = token.gas(wallet("steady"), "burn", 1)
    return figures
