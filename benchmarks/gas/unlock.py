"""Unlock Protocol's PublicLock 15, as published: a membership is a key to a lock, with an expiry."""

from collections.abc import Mapping

from eth_utils.crypto import keccak

from benchmarks.gas.chain import IN_A_YEAR, TRANSFER, Chain, Contract, addresses, last_id, topic_address, wallet
from benchmarks.gas.plain import NAME
from benchmarks.gas.rows import BATCH, Figures, Row, each
from nftloyalty.chain.abi import Artifact
from nftloyalty.domain.address import Address, number_address

_VERSION = 15
_NOBODY: Address = number_address(0)
_KEY_GRANTER = keccak(text="KEY_GRANTER")
_NO_LIMIT = 2**256 - 1
_YEAR = 31_536_000


def measure(chain: Chain, artifacts: Mapping[str, Artifact]) -> Figures:
    owner, hot = wallet("owner"), wallet("hot")
    factory, factory_gas = chain.create(owner, artifacts["Unlock"])
    # It can be initialised in a proxy's constructor only, which is also how it lies on every chain.
    begin = factory.data("initialize", owner.address)
    proxy, proxy_gas = chain.create(owner, artifacts["ERC1967Proxy"], factory.address, begin)
    unlock = Contract(chain, proxy.address, factory.artifact)
    code, code_gas = chain.create(owner, artifacts["PublicLock"])
    unlock.send(owner, "addLockTemplate", code.address, _VERSION)
    unlock.send(owner, "setLockTemplate", code.address)

    terms = code.data("initialize", owner.address, _YEAR, _NOBODY, 0, _NO_LIMIT, NAME)
    opened = unlock.send(owner, "createUpgradeableLockAtVersion(bytes,uint16)", terms, _VERSION)
    new_lock = "0x" + keccak(text="NewLock(address,address)").hex()
    (found,) = (log.topics[2] for log in opened.logs if log.topics[:1] == (new_lock,))
    lock = Contract(chain, number_address(topic_address(found)), artifacts["PublicLock"])
    granted = lock.gas(owner, "grantRole", _KEY_GRANTER, hot.address)
    figures = {
        Row.SHARED: factory_gas + proxy_gas + code_gas,
        Row.OPEN: opened.gas_used + granted,
        Row.CARD_BYTES: lock.size(),
    }

    def grant(label: str) -> tuple[int, int]:
        receipt = lock.send(hot, "grantKeys", [wallet(label).address], [IN_A_YEAR], [_NOBODY])
        return receipt.gas_used, last_id(receipt)

    figures[Row.CARD_FIRST], _ = grant("first")
    figures[Row.CARD], steady = grant("steady")
    _, moving = grant("mover")
    members = addresses("member")
    batch = lock.batch(hot, TRANSFER, "grantKeys", members, [IN_A_YEAR] * BATCH, [_NOBODY] * BATCH)
    figures[Row.CARD_BATCH] = each(batch)
    figures[Row.RENEW] = lock.gas(hot, "grantKeyExtension", steady, _YEAR)
    mover = wallet("mover")
    figures[Row.MOVE] = lock.gas(mover, "transferFrom", mover.address, wallet("new phone").address, moving)
    # The first one burned begins a counter.
    for label in ("first leaver", "leaver"):
        _, leaving = grant(label)
        figures[Row.BURN] = lock.gas(wallet(label), "burn", leaving)
    return figures
