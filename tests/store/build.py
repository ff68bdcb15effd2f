"""Builders with defaults for the tests of the store: they show only what matters."""

import threading
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import count
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, func, insert, select

from nftloyalty.domain.event import happenings
from nftloyalty.domain.holding import Fact, FactKind
from nftloyalty.domain.intent import IllegalTransition, IntentState, Kind, SlotState
from nftloyalty.errors import Unknown
from nftloyalty.store import chains, event_steps, index, index_steps, intents, programs, sending, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.event_steps import NewEvent
from nftloyalty.store.events import EventRow
from nftloyalty.store.index import Header, PositionRow
from nftloyalty.store.intents import Batchable, Group, IntentRow, Landed, NewIntent, WaitingRow
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.sending import Included, NewAttempt, NewSlot
from nftloyalty.store.slots import AttemptRow, SlotRow
from nftloyalty.store.tables import Phase, announcements, metadata
from nftloyalty.store.tables import intents as intent_table

NOW = datetime(2026, 3, 1, 12, 0, 0, 250_000, tzinfo=UTC)
CHAIN_ID = 31_337
GENESIS = "0x" + "a1" * 32
BLOCK = "0x" + "b1" * 32
OTHER_BLOCK = "0x" + "b2" * 32
MINTER = "0x5B38Da6a701c568545dCfcB03FcB875f56beddC4"
CONTRACT = "0xd9145CCE52D386f254917e481eB44e9943F39138"

_hashes = count(1)


@dataclass(frozen=True)
class Ground:
    """Row numbers of a chain with an open program and a signer whose lease (epoch 1, owner "me") is taken."""

    chain: int
    program: int
    signer: int
    epoch: int


def prepared(tx: Connection, genesis: str = GENESIS, nonce: int = 0) -> Ground:
    chain = chains.known_chain(tx, CHAIN_ID, genesis, NOW)
    signer = signers.register(tx, chain, MINTER).id
    signers.set_next_nonce_first_time(tx, signer, nonce)
    epoch = signers.take_lease(tx, signer, "me", NOW, 60, lambda owner: True)
    return Ground(chain, program(tx, chain).id, signer, epoch)


def program(tx: Connection, chain: int, slug: str = "coffee", **changes: Any) -> ProgramRow:
    plan: dict[str, Any] = {
        "opener": MINTER,
        "salt": "0x" + "05" * 32,
        "name": f"The {slug} club",
        "factory": wallet(9001),
        "membership": wallet(sum(slug.encode())),
        "stamps": wallet(9003),
        "terms": {"tiers": ["green", "gold"]},
        "now": NOW,
    }
    return programs.add_opening(tx, chain, slug, **(plan | changes))


def wallet(number: int) -> str:
    return f"0x{number:040x}"


def fresh_hash() -> str:
    return f"0x{next(_hashes):064x}"


def new_intent(ground: Ground, number: int, **changes: Any) -> NewIntent:
    kind: Kind = changes.get("kind", Kind.MINT_CARD)
    stamp_type: int = changes.get("stamp_type", 0)
    program_: int | None = changes.get("program", ground.program)
    values: dict[str, Any] = {
        "public_id": f"int_{ground.chain}_{program_}_{kind}_{stamp_type}_{number}",
        "chain": ground.chain,
        "program": program_,
        "signer": ground.signer,
        "kind": kind,
        "stamp_type": stamp_type,
        "recipient": wallet(number),
        "args": {"tier": 1, "expires_at": 0},
        "request_key": f"{program_}|{kind}|{stamp_type}|{wallet(number)}|0",
    }
    return NewIntent(**(values | changes))


def accepted(tx: Connection, ground: Ground, numbers: Sequence[int], **changes: Any) -> list[IntentRow]:
    return [intents.accept(tx, new_intent(ground, number, **changes), NOW)[0] for number in numbers]


def new_slot(members: Sequence[Batchable], **changes: Any) -> NewSlot:
    values: dict[str, Any] = {
        "kind": Kind.MINT_CARD,
        "to": CONTRACT,
        "calldata": b"\x01",
        "value": 0,
        "gas_limit": 500_000,
        "members": members,
    }
    return NewSlot(**(values | changes))


def new_attempt(slot: int, **changes: Any) -> NewAttempt:
    tx_hash = fresh_hash()
    values: dict[str, Any] = {
        "slot": slot,
        "raw": b"raw of " + tx_hash.encode(),
        "tx_hash": tx_hash,
        "max_fee_wei": 2 * 10**9,
        "priority_fee_wei": 10**9,
    }
    return NewAttempt(**(values | changes))


def inclusion(slot: int, attempt: AttemptRow, landed: Sequence[Landed] = (), **changes: Any) -> Included:
    """Block 7 carried this attempt out, and it did this."""
    values: dict[str, Any] = {
        "slot": slot,
        "tx_hash": attempt.tx_hash,
        "block_number": 7,
        "block_hash": BLOCK,
        "succeeded": True,
        "landed": landed,
    }
    return Included(**(values | changes))


def reserved(tx: Connection, ground: Ground, members: Sequence[Batchable], **changes: Any) -> SlotRow:
    (slot,) = sending.reserve(tx, ground.signer, ground.epoch, [new_slot(members, **changes)], NOW)
    return slot


def signed(tx: Connection, ground: Ground, slot: int, **changes: Any) -> AttemptRow:
    (attempt,) = sending.store_attempts(tx, ground.signer, ground.epoch, [new_attempt(slot, **changes)], NOW)
    return attempt


def mark_sent(tx: Connection, ground: Ground, *attempts: AttemptRow, now: datetime = NOW) -> None:
    sending.mark_sent(tx, ground.signer, ground.epoch, [attempt.id for attempt in attempts], now)


def sent(tx: Connection, ground: Ground, members: Sequence[Batchable]) -> tuple[SlotRow, AttemptRow]:
    """A slot with these intents whose one attempt is being broadcast."""
    slot = reserved(tx, ground, members)
    attempt = signed(tx, ground, slot.id)
    mark_sent(tx, ground, attempt)
    return slots.get(tx, slot.id), attempt


def settle(tx: Connection, ground: Ground, *found: Included, now: datetime = NOW) -> None:
    sending.settle(tx, ground.signer, ground.epoch, found, now)


def include(
    tx: Connection, ground: Ground, slot: int, attempt: AttemptRow, landed: Sequence[Landed] = (), **changes: Any
) -> None:
    settle(tx, ground, inclusion(slot, attempt, landed, **changes))


def finalise(
    tx: Connection, ground: Ground, *slot_ids: int, block_hash: str = BLOCK, now: datetime = NOW
) -> Collection[int]:
    return sending.finalise(tx, ground.signer, ground.epoch, [(slot, block_hash) for slot in slot_ids], now)


def in_state(
    tx: Connection, ground: Ground, state: SlotState, members: Sequence[Batchable]
) -> tuple[int, AttemptRow | None]:
    """A slot with these intents, brought to this state by the road that leads there, and its attempt."""
    slot = reserved(tx, ground, members).id
    if state is SlotState.RESERVED:
        return slot, None
    attempt = signed(tx, ground, slot, noop=state is SlotState.FINAL_NOOP)
    if state is SlotState.SIGNED:
        return slot, attempt
    mark_sent(tx, ground, attempt)
    if state is SlotState.BROADCASTING:
        return slot, attempt
    if state is SlotState.FOREIGN:
        slots.set_foreign(tx, slot, NOW)
        return slot, attempt
    include(tx, ground, slot, attempt, succeeded=state is not SlotState.FINAL_REVERTED)
    if state is SlotState.FINAL:
        finalise(tx, ground, slot)
    elif state is not SlotState.INCLUDED:
        end = slots.set_final_noop if state is SlotState.FINAL_NOOP else slots.set_final_reverted
        end(tx, slot, BLOCK, NOW)
    return slot, attempt


def refused(
    engine: Engine, write: Callable[..., object], *values: object, match: str = "slot", **named: object
) -> None:
    """`write(tx, ...)` is illegal, and leaves nothing behind once its transaction is rolled back."""
    with read(engine) as tx:
        before = everything(tx)
    with pytest.raises((IllegalTransition, Unknown), match=match), begin(engine) as tx:
        write(tx, *values, **named)
    with read(engine) as tx:
        assert everything(tx) == before


def header(number: int, fork: str = "a") -> Header:
    return Header(number, block_hash(number, fork), block_hash(number - 1, fork), 1_700_000_000 + number)


def block_hash(number: int, fork: str = "a") -> str:
    return f"0x{fork * 8}{number:056x}"


def card_facts(who: bytes, block: int, serial: int = 1, log_index: int = 0) -> list[Fact]:
    """A card of tier 2 for life, in three logs."""
    told = [
        (FactKind.CARD_MINTED, b""),
        (FactKind.EXPIRY_SET, (1_700_000_000 + block).to_bytes(5, "big") + bytes(5)),
        (FactKind.MEMBER_SET, b"\2" + serial.to_bytes(8, "big")),
    ]
    return [
        Fact(block, log_index + number, bytes([block]) * 32, 0, int(kind), who, data)
        for number, (kind, data) in enumerate(told)
    ]


def season_fact(block: int, season: int = 0, log_index: int = 900) -> Fact:
    stamps = bytes([0x51, season]) * 10
    return Fact(block, log_index, bytes(32), 0, int(FactKind.SEASON_LINKED), stamps, bytes([season]))


def indexed(tx: Connection, ground: Ground) -> PositionRow:
    """A row in each table of the index: blocks 11 to 13 behind the final block 10, with a card in 12 and 13."""
    index_steps.take_lease(tx, ground.chain, "me", NOW, 30, lambda owner: True)
    index_steps.start(tx, ground.program, 11, header(10))
    at = index.position(tx, ground.program)
    assert at is not None
    facts = [season_fact(11), *card_facts(bytes([1]) * 20, 12), *card_facts(bytes([2]) * 20, 13, serial=2)]
    index_steps.advance(tx, at, [header(11), header(12), header(13)], facts, final_number=10, confirmed_at=NOW)
    found = index.position(tx, ground.program)
    assert found is not None
    return found


def announced(tx: Connection, ground: Ground) -> list[EventRow]:
    """A row in each table of the events: a card that was seen in a block that may still be undone."""
    told = happenings(card_facts(bytes([7]) * 20, 12))
    new = [NewEvent(each.type, Phase.PENDING, each.object, each.wallet, each.data, each.place) for each in told]
    rows = event_steps.add(tx, ground.program, new, NOW)
    event_steps.add_pending(tx, ground.program, [(12, row.id) for row in rows])
    tx.execute(insert(announcements).values(program=ground.program, block_number=13, final_number=10))
    return rows


def cards(ground: Ground) -> Group:
    return Group(ground.program, Kind.MINT_CARD, 0)


def waiting_cards(tx: Connection, ground: Ground, *, limit: int) -> list[WaitingRow]:
    return intents.waiting(tx, ground.signer, cards(ground), limit=limit)


def counts(tx: Connection, program_: int, kind: Kind | None = None) -> dict[IntentState, int]:
    """How many intents of a program are in which state."""
    query = select(intent_table.c.state, func.count()).where(intent_table.c.program == program_)
    if kind is not None:
        query = query.where(intent_table.c.kind == kind)
    return {row[0]: row[1] for row in tx.execute(query.group_by(intent_table.c.state))}


def everything(tx: Connection) -> dict[str, list[tuple[Any, ...]]]:
    """All rows of all tables."""
    return {
        table.name: [tuple(row) for row in tx.execute(select(table).order_by(*table.primary_key.columns))]
        for table in metadata.sorted_tables
    }


def run_together(works: list[Callable[[], None]]) -> None:
    """Run each in a thread of its own, started as one; raises the first thing one of them raised."""
    start = threading.Barrier(len(works))
    failures: list[BaseException] = []

    def run(work: Callable[[], None]) -> None:
        start.wait()
        try:
            work()
        except BaseException as failure:
            failures.append(failure)

    threads = [threading.Thread(target=run, args=(work,)) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failures:
        raise failures[0]
