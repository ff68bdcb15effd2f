"""What operators are shown of the books: signers with what they have under way, and what waits. Reads only."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, func, or_, select

from nftloyalty.domain.intent import OPEN_SLOT_STATES, IntentState, Kind, SlotState
from nftloyalty.store.tables import attempts, intents, signers, slots

# Acts are few, and each is another one: they are told by name. So many of a group are enough.
_NAMED_ACTS = 5


@dataclass(frozen=True)
class WaitingCount:
    """How many accepted intents of a kind (and stamp type, 0 for cards) are not in a transaction yet."""

    kind: Kind
    stamp_type: int
    count: int


@dataclass(frozen=True)
class SlotReport:
    """A transaction under way. `attempts` counts how often it was signed; `tx_hash` is the last one's, None before the
    first. `last_error` is what a node said last about it."""

    nonce: int
    kind: Kind
    state: SlotState
    created_at: datetime
    attempts: int
    tx_hash: str | None
    last_error: str | None


@dataclass(frozen=True)
class SignerReport:
    """A signer's books. `slots` are the transactions that are not final, lowest nonce first."""

    address: str
    next_nonce: int | None
    halted: str | None
    lease_owner: str | None
    lease_until: datetime | None
    waiting: tuple[WaitingCount, ...]
    slots: tuple[SlotReport, ...]


@dataclass(frozen=True)
class UnfinishedGroup:
    """Accepted intents of one kind, type and signer: `waiting` ones, and those `under_way` in a transaction that was
    made for them. `since` is when the oldest was accepted; `acts` names the operator's acts among them."""

    program: int | None
    kind: Kind
    stamp_type: int
    signer: int
    address: str
    waiting: int
    under_way: int
    since: datetime
    acts: tuple[str, ...]


def signers_of(tx: Connection, chain: int) -> list[SignerReport]:
    """Every signer of a chain, in the order they were first used."""
    query = select(signers).where(signers.c.chain == chain).order_by(signers.c.id)
    return [_signer(tx, row) for row in tx.execute(query).all()]


def unfinished(tx: Connection, chain: int, program: int | None) -> list[UnfinishedGroup]:
    """What was accepted for a program and is not on chain yet, oldest first; steps that belong to no program (shared
    contracts) included."""
    columns = (intents.c.program, intents.c.kind, intents.c.stamp_type, intents.c.signer)
    waiting = func.count().filter(intents.c.state == IntentState.RECEIVED)
    since = func.min(intents.c.created_at)
    query = (
        select(*columns, signers.c.address, waiting, func.count(), since)
        .join(signers, intents.c.signer == signers.c.id)
        .where(
            intents.c.chain == chain,
            intents.c.state.in_([IntentState.RECEIVED, IntentState.BATCHED]),
            or_(intents.c.program.is_(None), intents.c.program == program),
        )
        .group_by(*columns, signers.c.address)
        .order_by(since, intents.c.kind, intents.c.stamp_type)
    )
    found = []
    for slug, kind, stamp_type, signer, address, count, total, oldest in tx.execute(query).all():
        acts = _acts(tx, chain, slug, kind, signer) if kind in (Kind.CALL, Kind.DEPLOY) else ()
        found.append(UnfinishedGroup(slug, kind, stamp_type, signer, address, count, total - count, oldest, acts))
    return found


def _acts(tx: Connection, chain: int, program: int | None, kind: Kind, signer: int) -> tuple[str, ...]:
    query = (
        select(intents.c.args)
        .where(
            intents.c.chain == chain,
            intents.c.signer == signer,
            intents.c.kind == kind,
            intents.c.state.in_([IntentState.RECEIVED, IntentState.BATCHED]),
            intents.c.program.is_(None) if program is None else intents.c.program == program,
        )
        .order_by(intents.c.id)
        .limit(_NAMED_ACTS)
    )
    return tuple(str(args.get("what", "")) for args in tx.execute(query).scalars())


def _signer(tx: Connection, signer: Row[*tuple[Any, ...]]) -> SignerReport:
    waits = (intents.c.signer == signer.id, intents.c.state == IntentState.RECEIVED)
    group = (intents.c.kind, intents.c.stamp_type)
    counted = select(*group, func.count()).where(*waits).group_by(*group).order_by(*group)
    newest = select(attempts.c.slot, func.max(attempts.c.seq).label("seq")).group_by(attempts.c.slot).subquery()
    under_way = (
        select(
            slots.c.nonce,
            slots.c.kind,
            slots.c.state,
            slots.c.created_at,
            func.coalesce(newest.c.seq + 1, 0),
            func.coalesce(slots.c.tx_hash, attempts.c.tx_hash),
            attempts.c.last_error,
        )
        .outerjoin(newest, newest.c.slot == slots.c.id)
        .outerjoin(attempts, and_(attempts.c.slot == slots.c.id, attempts.c.seq == newest.c.seq))
        .where(slots.c.signer == signer.id, slots.c.state.in_(list(OPEN_SLOT_STATES)))
        .order_by(slots.c.nonce)
    )
    return SignerReport(
        address=signer.address,
        next_nonce=signer.next_nonce,
        halted=signer.halted,
        lease_owner=signer.lease_owner,
        lease_until=signer.lease_until,
        waiting=tuple(WaitingCount(*row) for row in tx.execute(counted)),
        slots=tuple(SlotReport(*row) for row in tx.execute(under_way)),
    )
