"""Sums for the command line and the pages. Reads only; the one part of the store that `cli` and `web` may call."""

from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, Row, func, select

from nftloyalty.domain.intent import OPEN_SLOT_STATES, IntentState, Kind, SlotState
from nftloyalty.store.engine import read
from nftloyalty.store.tables import ProgramState, attempts, chains, intents, programs, signers, slots


@dataclass(frozen=True)
class IntentCount:
    """How many intents of a kind (and stamp type, 0 for cards) are in a state."""

    kind: Kind
    stamp_type: int
    state: IntentState
    count: int


@dataclass(frozen=True)
class RejectedCount:
    """How many intents were rejected for the same reason: a skip code of the contract, or an error's text."""

    code: int | None
    error: str | None
    count: int


@dataclass(frozen=True)
class SignerReport:
    """A signer's books: `waiting` intents, slots in flight (`not_included`), slots awaiting finality (`included`).

    `oldest_open_at` is when the first of these slots was made; `last_error` what a node said last about one in flight.
    """

    address: str
    chain_id: int
    next_nonce: int | None
    halted: str | None
    lease_owner: str | None
    lease_until: datetime | None
    waiting: int
    not_included: int
    included: int
    oldest_open_at: datetime | None
    last_error: str | None


@dataclass(frozen=True)
class Deployment:
    """A program as it was recorded when it was opened, or is being opened."""

    slug: str
    name: str
    chain_id: int
    genesis_hash: str
    factory: str
    membership: str
    stamps: str
    state: ProgramState
    created_at: datetime
    opened_tx: str | None
    opened_block: int | None


def reading(engine: Engine) -> AbstractContextManager[Connection]:
    """The read transaction that every function here takes: `with reading(app.engine) as tx`."""
    return read(engine)


def intents_by_state(tx: Connection, program: int) -> list[IntentCount]:
    """One line per kind, stamp type and state that occurs."""
    group = (intents.c.kind, intents.c.stamp_type, intents.c.state)
    query = select(*group, func.count()).where(intents.c.program == program).group_by(*group).order_by(*group)
    return [IntentCount(*row) for row in tx.execute(query)]


def rejections(tx: Connection, program: int, kind: Kind | None = None) -> list[RejectedCount]:
    """Why intents of a program were rejected, the most frequent reason first."""
    count = func.count()
    query = (
        select(intents.c.code, intents.c.error, count)
        .where(intents.c.program == program, intents.c.state == IntentState.REJECTED)
        .group_by(intents.c.code, intents.c.error)
        .order_by(count.desc(), intents.c.code, intents.c.error)
    )
    if kind is not None:
        query = query.where(intents.c.kind == kind)
    return [RejectedCount(*row) for row in tx.execute(query)]


def signers_with_slots(tx: Connection, chain: int | None = None) -> list[SignerReport]:
    """Every signer, of one chain if given, with what it has under way."""
    query = select(signers, chains.c.chain_id).join(chains, signers.c.chain == chains.c.id).order_by(signers.c.id)
    if chain is not None:
        query = query.where(signers.c.chain == chain)
    return [_report(tx, row) for row in tx.execute(query).all()]


def recent_deployments(tx: Connection, limit: int = 20) -> list[Deployment]:
    """The programs recorded last, newest first."""
    query = (
        select(
            programs.c.slug,
            programs.c.name,
            chains.c.chain_id,
            chains.c.genesis_hash,
            programs.c.factory,
            programs.c.membership,
            programs.c.stamps,
            programs.c.state,
            programs.c.created_at,
            programs.c.opened_tx,
            programs.c.opened_block,
        )
        .join(chains, programs.c.chain == chains.c.id)
        .order_by(programs.c.id.desc())
        .limit(limit)
    )
    return [Deployment(*row) for row in tx.execute(query)]


def _report(tx: Connection, signer: Row[*tuple[Any, ...]]) -> SignerReport:
    waiting = select(func.count()).where(intents.c.signer == signer.id, intents.c.state == IntentState.RECEIVED)
    is_open = (slots.c.signer == signer.id, slots.c.state.in_(OPEN_SLOT_STATES))
    included = func.count().filter(slots.c.state == SlotState.INCLUDED)
    under_way = select(func.count(), included, func.min(slots.c.created_at)).where(*is_open)
    all_open, seen, oldest = tx.execute(under_way).one()
    error = (
        select(attempts.c.last_error)
        .join(slots, attempts.c.slot == slots.c.id)
        .where(*is_open, slots.c.state != SlotState.INCLUDED, attempts.c.last_error.is_not(None))
        .order_by(attempts.c.last_sent_at.desc(), attempts.c.id.desc())
        .limit(1)
    )
    return SignerReport(
        address=signer.address,
        chain_id=signer.chain_id,
        next_nonce=signer.next_nonce,
        halted=signer.halted,
        lease_owner=signer.lease_owner,
        lease_until=signer.lease_until,
        waiting=tx.execute(waiting).scalar_one(),
        not_included=all_open - seen,
        included=seen,
        oldest_open_at=oldest,
        last_error=tx.execute(error).scalar_one_or_none(),
    )
