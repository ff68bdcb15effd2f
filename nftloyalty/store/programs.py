"""Programs: planned at a predicted address, then open. The chain is the truth; these rows are the record of it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, select, update

from nftloyalty.errors import ProgramProblem, Unknown
from nftloyalty.store.tables import ProgramState, chains, programs
from nftloyalty.store.writing import insert_new


@dataclass(frozen=True)
class ProgramRow:
    """`opener` and `salt` (0x-hex, 32 bytes) are the factory's key; `terms` are those of the program file."""

    id: int
    chain: int
    slug: str
    opener: str
    salt: str
    name: str
    factory: str
    membership: str
    stamps: str
    terms: Mapping[str, Any]
    state: ProgramState
    created_at: datetime
    opened_tx: str | None
    opened_block: int | None


def find(tx: Connection, chain: int, slug: str) -> ProgramRow | None:
    """The program of this id on this chain."""
    row = tx.execute(_named(chain, slug)).one_or_none()
    return None if row is None else ProgramRow(*row)


def get(tx: Connection, program: int) -> ProgramRow:
    """Raises Unknown."""
    row = tx.execute(select(programs).where(programs.c.id == program)).one_or_none()
    if row is None:
        raise Unknown(f"there is no program {program}")
    return ProgramRow(*row)


def list_all(tx: Connection, chain: int | None = None) -> list[ProgramRow]:
    """All programs, of one chain if given, oldest first."""
    query = select(programs).order_by(programs.c.id)
    if chain is not None:
        query = query.where(programs.c.chain == chain)
    return [ProgramRow(*row) for row in tx.execute(query)]


def add_opening(
    tx: Connection,
    chain: int,
    slug: str,
    *,
    opener: str,
    salt: str,
    name: str,
    factory: str,
    membership: str,
    stamps: str,
    terms: Mapping[str, Any],
    now: datetime,
) -> ProgramRow:
    """Record that this program is about to be opened at these predicted addresses.

    If it is recorded already, that row comes back unchanged, whatever was asked for: compare it. A plan that has
    changed before anything was sent is replaced by `replan`.
    """
    tx.execute(
        insert_new(tx, programs, programs.c.chain, programs.c.slug).values(
            chain=chain,
            slug=slug,
            opener=opener,
            salt=salt,
            name=name,
            factory=factory,
            membership=membership,
            stamps=stamps,
            terms=terms,
            state=ProgramState.OPENING,
            created_at=now,
        )
    )
    return ProgramRow(*tx.execute(_named(chain, slug)).one())


def replan(
    tx: Connection,
    program: int,
    *,
    opener: str,
    salt: str,
    name: str,
    factory: str,
    membership: str,
    stamps: str,
    terms: Mapping[str, Any],
) -> ProgramRow:
    """Change the plan of a program that is not open. Only for a plan no transaction is under way for.

    Raises ProgramProblem if it is open by now.
    """
    changed = tx.execute(
        update(programs)
        .where(programs.c.id == program, programs.c.state == ProgramState.OPENING)
        .values(opener=opener, salt=salt, name=name, factory=factory, membership=membership, stamps=stamps, terms=terms)
    )
    if changed.rowcount != 1:
        raise ProgramProblem(f"the program {get(tx, program).slug!r} is open: what it was opened with can't change")
    return get(tx, program)


def mark_open(
    tx: Connection,
    program: int,
    opened_tx: str | None,
    opened_block: int | None,
    terms: Mapping[str, Any] | None = None,
) -> ProgramRow:
    """It was seen open on chain, by this transaction if that is known (someone else's run may have opened it).

    `terms` replaces the recorded ones. Doing it again changes nothing.
    """
    values: dict[str, Any] = {"state": ProgramState.OPEN, "opened_tx": opened_tx, "opened_block": opened_block}
    if terms is not None:
        values["terms"] = terms
    tx.execute(
        update(programs).where(programs.c.id == program, programs.c.state == ProgramState.OPENING).values(values)
    )
    return get(tx, program)


def export(tx: Connection) -> list[dict[str, Any]]:
    """Every program with its chain, as values that JSON can hold; times in ISO 8601."""
    query = (
        select(programs, chains.c.chain_id, chains.c.genesis_hash)
        .join(chains, programs.c.chain == chains.c.id)
        .order_by(programs.c.id)
    )
    return [
        {
            "program": row.slug,
            "name": row.name,
            "state": row.state.value,
            "chain_id": row.chain_id,
            "genesis_hash": row.genesis_hash,
            "factory": row.factory,
            "membership": row.membership,
            "stamps": row.stamps,
            "opener": row.opener,
            "salt": row.salt,
            "transaction": row.opened_tx,
            "block": row.opened_block,
            "recorded_at": row.created_at.isoformat(),
            "terms": row.terms,
        }
        for row in tx.execute(query)
    ]


def _named(chain: int, slug: str) -> Select[*tuple[Any, ...]]:
    return select(programs).where(programs.c.chain == chain, programs.c.slug == slug)
