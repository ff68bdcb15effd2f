"""What operators are shown of the books: how far the index is, signers with what they have under way, what waits, and
how webhooks do.
Reads only; what is asked for at every scrape of metrics walks an index and never a whole table."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, Select, and_, func, literal, or_, select

from nftloyalty.domain.act import MEMBER_ACTS
from nftloyalty.domain.intent import OPEN_SLOT_STATES, IntentState, Kind, SlotState
from nftloyalty.store.deliveries import WAITS
from nftloyalty.store.tables import (
    EndpointState,
    ProgramState,
    attempts,
    chains,
    deliveries,
    endpoints,
    indexers,
    intents,
    positions,
    programs,
    signers,
    slots,
)

_ACTS = MEMBER_ACTS | {Kind.CALL, Kind.DEPLOY}
# Each act is another one: they are told by name. So many of a group are enough.
_NAMED_ACTS = 5
# Written out in the statement: SQLite takes an index of the waiting ones only where it can read that they are meant.
_WAITS = intents.c.state == literal(IntentState.RECEIVED, intents.c.state.type, literal_execute=True)


@dataclass(frozen=True)
class ChainReport:
    """A chain as the books know it. `row` is its row."""

    row: int
    chain_id: int
    genesis_hash: str


@dataclass(frozen=True)
class LeaseReport:
    """Who does something alone, and until when unless it is renewed."""

    owner: str
    until: datetime


@dataclass(frozen=True)
class IndexReport:
    """How far the index of an open program is; all but its id is None before it was begun. `confirmed_at` is when
    `block` was last seen to be the node's newest, `incident` why it stands still."""

    program: str
    block: int | None
    final_block: int | None
    confirmed_at: datetime | None
    incident: str | None


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
    """A signer's books. `slots` are the transactions that are not final, lowest nonce first. `waits_for` is why its
    sender sends nothing now, in its words; None = there is nothing, or no sender has said."""

    address: str
    next_nonce: int | None
    halted: str | None
    waits_for: str | None
    lease_owner: str | None
    lease_until: datetime | None
    waiting: tuple[WaitingCount, ...]
    slots: tuple[SlotReport, ...]


@dataclass(frozen=True)
class WaitingLoad:
    """Waiting intents of one program (None = of no program) and kind; `since` is when the oldest was accepted."""

    program: str | None
    kind: Kind
    count: int
    since: datetime


@dataclass(frozen=True)
class SignerLoad:
    """A signer's books in numbers. `in_flight` transactions are in no block yet, the oldest of them since
    `oldest_in_flight`; `included` ones are in a block that is not final."""

    address: str
    halted: str | None
    waits_for: str | None
    lease_until: datetime | None
    waiting: tuple[WaitingLoad, ...]
    in_flight: int
    included: int
    oldest_in_flight: datetime | None


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


@dataclass(frozen=True)
class EndpointLoad:
    """How a webhook endpoint does, in numbers. Nothing has come through since `failing_since`, None = the last try did;
    `why` says why it is disabled. The oldest of the `waiting` deliveries was made at `oldest`, and one of them may go
    since `oldest_due`. `delivered` and `failed_tries` are counted since it was made."""

    program: str
    endpoint: str
    state: EndpointState
    why: str | None
    failing_since: datetime | None
    waiting: int
    delivered: int
    failed_tries: int
    oldest: datetime | None
    oldest_due: datetime | None


def chain_known(tx: Connection, chain_id: int, genesis_hash: str) -> ChainReport | None:
    """The chain that a node serves, if the books have met it."""
    columns = (chains.c.id, chains.c.chain_id, chains.c.genesis_hash)
    row = tx.execute(
        select(*columns).where(chains.c.chain_id == chain_id, chains.c.genesis_hash == genesis_hash)
    ).one_or_none()
    return None if row is None else ChainReport(*row)


def chain_of_program(tx: Connection, program: str, chain_id: int | None) -> ChainReport | None:
    """The newest chain that the books have met a program of this id on; of this chain id, if one is given."""
    query = (
        select(chains.c.id, chains.c.chain_id, chains.c.genesis_hash)
        .join(programs, programs.c.chain == chains.c.id)
        .where(programs.c.slug == program)
        .order_by(chains.c.id.desc())
        .limit(1)
    )
    if chain_id is not None:
        query = query.where(chains.c.chain_id == chain_id)
    row = tx.execute(query).one_or_none()
    return None if row is None else ChainReport(*row)


def indexes_of(tx: Connection, chain: int) -> list[IndexReport]:
    """Of every open program of a chain, oldest program first."""
    query = (
        select(
            programs.c.slug,
            positions.c.number,
            positions.c.final_number,
            positions.c.confirmed_at,
            positions.c.incident,
        )
        .outerjoin(positions, positions.c.program == programs.c.id)
        .where(programs.c.chain == chain, programs.c.state == ProgramState.OPEN)
        .order_by(programs.c.id)
    )
    return [IndexReport(*row) for row in tx.execute(query)]


def index_lease(tx: Connection, chain: int) -> LeaseReport | None:
    """Who brings a chain's index forward, or did so last."""
    row = tx.execute(select(indexers.c.owner, indexers.c.until).where(indexers.c.chain == chain)).one_or_none()
    return None if row is None else LeaseReport(*row)


def loads_of(tx: Connection, chain: int) -> list[SignerLoad]:
    """Every signer of a chain in numbers, in the order they were first used."""
    query = select(signers).where(signers.c.chain == chain).order_by(signers.c.id)
    return [_load(tx, row) for row in tx.execute(query).all()]


def endpoints_of(tx: Connection, chain: int) -> list[EndpointLoad]:
    """Every webhook endpoint of a chain's programs, oldest first, but for deleted ones."""
    mine = (deliveries.c.endpoint == endpoints.c.id, WAITS)
    oldest = select(deliveries.c.created_at).where(*mine).order_by(deliveries.c.created_at).limit(1)
    due = select(deliveries.c.next_at).where(*mine, deliveries.c.next_at.is_not(None)).order_by(deliveries.c.next_at)
    query: Select[*tuple[Any, ...]] = (
        select(
            programs.c.slug,
            endpoints.c.public_id,
            endpoints.c.state,
            endpoints.c.why,
            endpoints.c.failing_since,
            endpoints.c.waiting,
            endpoints.c.delivered,
            endpoints.c.failed_tries,
            oldest.correlate(endpoints).scalar_subquery(),
            due.limit(1).correlate(endpoints).scalar_subquery(),
        )
        .join(programs, endpoints.c.program == programs.c.id)
        .where(programs.c.chain == chain, endpoints.c.state != EndpointState.DELETED)
        .order_by(endpoints.c.id)
    )
    return [EndpointLoad(*row) for row in tx.execute(query)]


def addresses_of(tx: Connection, chain: int) -> list[str]:
    """Every signer of a chain, in the order they were first used."""
    return list(tx.execute(select(signers.c.address).where(signers.c.chain == chain).order_by(signers.c.id)).scalars())


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
        acts = _acts(tx, chain, slug, kind, signer) if kind in _ACTS else ()
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
    waits = (intents.c.signer == signer.id, _WAITS)
    group = (intents.c.kind, intents.c.stamp_type)
    counted = select(*group, func.count()).where(*waits).group_by(*group).order_by(*group)
    # For each slot by itself: grouped, it would be made of all attempts there ever were.
    newest = select(func.max(attempts.c.seq)).where(attempts.c.slot == slots.c.id).correlate(slots).scalar_subquery()
    under_way = (
        select(
            slots.c.nonce,
            slots.c.kind,
            slots.c.state,
            slots.c.created_at,
            func.coalesce(attempts.c.seq + 1, 0),
            func.coalesce(slots.c.tx_hash, attempts.c.tx_hash),
            attempts.c.last_error,
        )
        .outerjoin(attempts, and_(attempts.c.slot == slots.c.id, attempts.c.seq == newest))
        .where(slots.c.signer == signer.id, slots.c.state.in_(list(OPEN_SLOT_STATES)))
        .order_by(slots.c.nonce)
    )
    return SignerReport(
        address=signer.address,
        next_nonce=signer.next_nonce,
        halted=signer.halted,
        waits_for=signer.waits_for,
        lease_owner=signer.lease_owner,
        lease_until=signer.lease_until,
        waiting=tuple(WaitingCount(*row) for row in tx.execute(counted)),
        slots=tuple(SlotReport(*row) for row in tx.execute(under_way)),
    )


def _load(tx: Connection, signer: Row[*tuple[Any, ...]]) -> SignerLoad:
    group = (intents.c.program, intents.c.kind)
    grouped = (
        select(*group, func.count().label("waiting"), func.min(intents.c.id).label("oldest"))
        .where(intents.c.signer == signer.id, _WAITS)
        .group_by(*group)
        .subquery()
    )
    waiting = (
        select(programs.c.slug, grouped.c.kind, grouped.c.waiting, intents.c.created_at)
        .select_from(grouped)
        .join(intents, intents.c.id == grouped.c.oldest)
        .outerjoin(programs, programs.c.id == grouped.c.program)
        .order_by(programs.c.slug, grouped.c.kind)
    )
    states = (
        select(slots.c.state, func.count(), func.min(slots.c.created_at))
        .where(slots.c.signer == signer.id, slots.c.state.in_(list(OPEN_SLOT_STATES)))
        .group_by(slots.c.state)
    )
    counts = {state: (count, since) for state, count, since in tx.execute(states)}
    included, _ = counts.pop(SlotState.INCLUDED, (0, None))
    return SignerLoad(
        address=signer.address,
        halted=signer.halted,
        waits_for=signer.waits_for,
        lease_until=signer.lease_until,
        waiting=tuple(WaitingLoad(*row) for row in tx.execute(waiting)),
        in_flight=sum(count for count, _ in counts.values()),
        included=included,
        oldest_in_flight=min((since for _, since in counts.values()), default=None),
    )
