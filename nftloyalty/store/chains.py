"""Chains we have met. A chain is (chain id, genesis hash): a restarted development chain is another one."""

from datetime import datetime

from sqlalchemy import Connection, func, select

from nftloyalty.store.tables import chains, programs
from nftloyalty.store.writing import insert_new


def known_chain(tx: Connection, chain_id: int, genesis_hash: str, now: datetime) -> int:
    """The row of this chain; made if it is met for the first time."""
    # Asked for at every start and new at one of them, so it is looked for first.
    this = select(chains.c.id).where(chains.c.chain_id == chain_id, chains.c.genesis_hash == genesis_hash)
    found = tx.execute(this).scalar_one_or_none()
    if found is None:
        tx.execute(
            insert_new(tx, chains, chains.c.chain_id, chains.c.genesis_hash).values(
                chain_id=chain_id, genesis_hash=genesis_hash, first_seen_at=now
            )
        )
        found = tx.execute(this).scalar_one()
    return int(found)


def has_namesake(tx: Connection, chain_id: int, genesis_hash: str) -> bool:
    """Whether another chain of this id was used before: a development chain that was started anew."""
    query = select(chains.c.id).where(chains.c.chain_id == chain_id, chains.c.genesis_hash != genesis_hash).limit(1)
    return tx.execute(query).one_or_none() is not None


def other_chains(tx: Connection, chain_id: int, genesis_hash: str) -> int:
    """How many programs are recorded on predecessors: chains of the same id that began with another block."""
    count = tx.execute(
        select(func.count())
        .select_from(programs.join(chains, programs.c.chain == chains.c.id))
        .where(chains.c.chain_id == chain_id, chains.c.genesis_hash != genesis_hash)
    ).scalar_one()
    return int(count)
