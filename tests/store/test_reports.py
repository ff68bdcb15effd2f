from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Connection, Engine, event, text

from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.errors import Unknown
from nftloyalty.store import deliveries, index, index_steps, intents, programs, reports, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.reports import ChainReport, EndpointLoad, IndexReport, LeaseReport, WaitingCount, WaitingLoad
from nftloyalty.store.tables import EndpointState
from tests.store.build import (
    CHAIN_ID,
    GENESIS,
    MINTER,
    NOW,
    accepted,
    counts,
    finalise,
    include,
    indexed,
    prepared,
    program,
    reserved,
    sent,
    signed,
    wallet,
)
from tests.store.happenings import claim, endpoint, happen, settle, went

SECOND = timedelta(seconds=1)
ACT = {"what": "end the pause", "to": wallet(1), "data": "0x", "value_wei": "0"}


def test_signers_are_reported_with_what_they_have_under_way(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx, nonce=3)
        rows = accepted(tx, ground, range(6))
        accepted(tx, ground, range(2), kind=Kind.MINT_STAMP, stamp_type=3)
        included, attempt = sent(tx, ground, rows[:1])
        include(tx, ground, included.id, attempt, block_number=8)
        busy, first = sent(tx, ground, rows[1:2])
        slots.note_error(tx, first.id, "nonce too low")
        second = signed(tx, ground, busy.id)
        slots.note_error(tx, second.id, "already known")
        bare = reserved(tx, ground, rows[2:3])
        signers.halt(tx, ground.signer, "foreign nonce 9")
        signers.register(tx, ground.chain, wallet(77))
    with read(engine) as tx:
        one, idle = reports.signers_of(tx, ground.chain)
    assert (one.address, one.next_nonce, one.halted) == (MINTER, 6, "foreign nonce 9")
    assert (one.lease_owner, one.lease_until) == ("me", NOW + timedelta(seconds=60))
    assert one.waiting == (WaitingCount(Kind.MINT_CARD, 0, 3), WaitingCount(Kind.MINT_STAMP, 3, 2))
    assert [(slot.nonce, slot.state, slot.attempts, slot.tx_hash, slot.last_error) for slot in one.slots] == [
        (3, SlotState.INCLUDED, 1, attempt.tx_hash, None),
        (4, SlotState.BROADCASTING, 2, second.tx_hash, "already known"),
        (5, SlotState.RESERVED, 0, None, None),
    ]
    assert bare.nonce == 5
    assert (idle.address, idle.next_nonce, idle.waiting, idle.slots) == (wallet(77), None, (), ())


def test_what_is_final_is_not_under_way(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        slot, attempt = sent(tx, ground, accepted(tx, ground, [1]))
        include(tx, ground, slot.id, attempt, block_number=8)
        finalise(tx, ground, slot.id)
    with read(engine) as tx:
        (found,) = reports.signers_of(tx, ground.chain)
    assert found.slots == ()


def test_only_the_signers_of_the_chain_are_reported(engine: Engine) -> None:
    with begin(engine) as tx:
        one, other = prepared(tx), prepared(tx, genesis="0x" + "c3" * 32)
    with read(engine) as tx:
        assert len(reports.signers_of(tx, one.chain)) == len(reports.signers_of(tx, other.chain)) == 1


def test_what_is_unfinished_is_grouped_by_kind_type_and_signer(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        cards = accepted(tx, ground, range(5))
        accepted(tx, ground, range(2), kind=Kind.MINT_STAMP, stamp_type=3)
        accepted(tx, ground, [9], kind=Kind.CALL, args=ACT, recipient=None)
        accepted(tx, ground, [8], kind=Kind.DEPLOY, args={**ACT, "what": "put X on chain"}, program=None)
        accepted(tx, ground, [7], program=program(tx, ground.chain, "tea").id)
        reserved(tx, ground, cards[:2])
        intents.reject(tx, [cards[2].id], NOW, error="paused")
        elsewhere = prepared(tx, genesis="0x" + "c3" * 32)
        accepted(tx, elsewhere, range(3))
    with read(engine) as tx:
        found = reports.unfinished(tx, ground.chain, ground.program)
    assert {(each.kind, each.stamp_type, each.waiting, each.under_way, each.acts) for each in found} == {
        (Kind.MINT_CARD, 0, 2, 2, ()),
        (Kind.MINT_STAMP, 3, 2, 0, ()),
        (Kind.CALL, 0, 1, 0, ("end the pause",)),
        (Kind.DEPLOY, 0, 1, 0, ("put X on chain",)),
    }
    assert {(each.address, each.since) for each in found} == {(MINTER, NOW)}


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ({}, 0),
        ({"kind": Kind.MINT_STAMP}, 3),
        ({"kind": Kind.MINT_STAMP, "stamp_type": 4}, 5),
        ({"stamp_type": 3}, 3),
        ({"recipient": wallet(0)}, 3),
        ({"recipient": wallet(0), "kind": Kind.MINT_CARD}, 4),
    ],
)
def test_what_waits_is_withdrawn_and_nothing_else(engine: Engine, which: dict[str, object], left: int) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        cards = accepted(tx, ground, range(5))
        accepted(tx, ground, range(2), kind=Kind.MINT_STAMP, stamp_type=3)
        other = program(tx, ground.chain, "tea").id
        accepted(tx, ground, range(3), program=other)
        reserved(tx, ground, cards[3:5])
    with begin(engine) as tx:
        count = intents.withdraw(tx, ground.chain, ground.program, NOW, **which)  # type: ignore[arg-type]
        assert count == 5 - left
        again = intents.withdraw(tx, ground.chain, ground.program, NOW, **which)  # type: ignore[arg-type]
        assert again == 0
    with read(engine) as tx:
        states = counts(tx, ground.program)
        assert states.get(IntentState.CANCELLED, 0) == count
        assert states[IntentState.BATCHED] == 2
        assert counts(tx, other) == {IntentState.RECEIVED: 3}
        assert len(intents.received_of(tx, ground.signer)) == left + 3


def test_an_act_is_marked_as_told(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx, genesis=GENESIS)
        (row,) = accepted(tx, ground, [1], kind=Kind.CALL, args=ACT)
        intents.mark_told(tx, row.id)
        assert intents.get(tx, row.public_id).args == {**ACT, "told": True}
        with pytest.raises(Unknown):
            intents.mark_told(tx, 12_345)


def test_the_index_of_each_open_program_is_reported(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        programs.mark_open(tx, ground.program, None, None)
        programs.mark_open(tx, program(tx, ground.chain, "tea").id, None, None)
        program(tx, ground.chain, "planned")
        assert reports.index_lease(tx, ground.chain) is None
        indexed(tx, ground)
    coffee = IndexReport("coffee", 13, 10, NOW, None)
    with read(engine) as tx:
        assert reports.indexes_of(tx, ground.chain) == [coffee, IndexReport("tea", None, None, None, None)]
        assert reports.index_lease(tx, ground.chain) == LeaseReport("me", NOW + timedelta(seconds=30))
    with begin(engine) as tx:
        at = index.position(tx, ground.program)
        assert at is not None
        index_steps.halt(tx, at, "another block 10")
    with read(engine) as tx:
        assert reports.indexes_of(tx, ground.chain)[0].incident == "another block 10"


def test_a_chain_is_found_by_what_a_node_says_or_by_a_program(engine: Engine) -> None:
    with begin(engine) as tx:
        old = prepared(tx)
        new = prepared(tx, genesis="0x" + "c3" * 32)
    found = ChainReport(new.chain, CHAIN_ID, "0x" + "c3" * 32)
    with read(engine) as tx:
        assert reports.chain_known(tx, CHAIN_ID, GENESIS) == ChainReport(old.chain, CHAIN_ID, GENESIS)
        assert reports.chain_known(tx, 1, GENESIS) is None
        assert reports.chain_of_program(tx, "coffee", None) == found
        assert reports.chain_of_program(tx, "coffee", CHAIN_ID) == found
        assert reports.chain_of_program(tx, "coffee", 1) is None
        assert reports.chain_of_program(tx, "tea", None) is None
        assert reports.addresses_of(tx, new.chain) == [MINTER]


def loaded(tx: Connection) -> int:
    """A chain whose signer has three transactions in flight, one included, and waiting intents of three groups; its
    row."""
    ground = prepared(tx)
    rows = accepted(tx, ground, range(8))
    accepted(tx, ground, range(2), kind=Kind.MINT_STAMP, stamp_type=3)
    accepted(tx, ground, range(2), kind=Kind.MINT_STAMP, stamp_type=4)
    accepted(tx, ground, [8], kind=Kind.DEPLOY, args={**ACT, "what": "put X on chain"}, program=None)
    included, attempt = sent(tx, ground, rows[:1])
    include(tx, ground, included.id, attempt, block_number=8)
    for row in rows[1:3]:
        sent(tx, ground, [row])
    reserved(tx, ground, rows[3:4])
    signers.register(tx, ground.chain, wallet(77))
    return ground.chain


def test_signers_are_reported_in_numbers(engine: Engine) -> None:
    with begin(engine) as tx:
        chain = loaded(tx)
        ground = signers.register(tx, chain, MINTER)
        signers.halt(tx, ground.id, "foreign nonce 9")
    with read(engine) as tx:
        one, idle = reports.loads_of(tx, chain)
    assert (one.address, one.halted, one.waits_for) == (MINTER, "foreign nonce 9", None)
    assert one.lease_until == NOW + timedelta(seconds=60)
    assert set(one.waiting) == {
        WaitingLoad("coffee", Kind.MINT_CARD, 4, NOW),
        WaitingLoad("coffee", Kind.MINT_STAMP, 4, NOW),
        WaitingLoad(None, Kind.DEPLOY, 1, NOW),
    }
    assert (one.in_flight, one.included, one.oldest_in_flight) == (3, 1, NOW)
    assert (idle.waiting, idle.in_flight, idle.included, idle.oldest_in_flight) == ((), 0, 0, None)


def test_webhook_endpoints_are_reported_in_numbers(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        fails, idle, off, gone = (endpoint(tx, ground.program) for _ in range(4))
        deliveries.disable(tx, off, "by hand", NOW)
        deliveries.disable(tx, gone, "by hand", NOW, EndpointState.DELETED)
        happen(tx, ground.program, "m:1", now=NOW - 2 * SECOND)
        happen(tx, ground.program, "m:1", "m:2", "m:3", now=NOW - SECOND)
        claimed = claim(tx, ground.program)
        settle(tx, *(went(each, status=500 if each.endpoint == fails.id else 204) for each in claimed))
        settle(tx, *(went(each) for each in claim(tx, ground.program)))
        (probe,) = claim(tx, ground.program, NOW + 5 * SECOND)
        settle(tx, went(probe, status=500))
    with read(engine) as tx:
        assert reports.endpoints_of(tx, ground.chain) == [
            EndpointLoad(
                "coffee",
                fails.public_id,
                EndpointState.ACTIVE,
                None,
                NOW,
                waiting=4,
                delivered=0,
                failed_tries=4,
                oldest=NOW - 2 * SECOND,
                oldest_due=NOW + 5 * SECOND,
            ),
            EndpointLoad("coffee", idle.public_id, EndpointState.ACTIVE, None, None, 0, 4, 0, None, None),
            EndpointLoad("coffee", off.public_id, EndpointState.DISABLED, "by hand", None, 0, 0, 0, None, None),
        ]


def test_no_report_on_signers_walks_a_whole_table(engine: Engine) -> None:
    """A scrape every few seconds must not cost more as the years go by."""
    with begin(engine) as tx:
        chain = loaded(tx)
    asked: list[tuple[str, Any]] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, _context: Any, _many: bool) -> None:
        asked.append((statement, parameters))

    event.listen(engine, "before_cursor_execute", note)
    try:
        with read(engine) as tx:
            reports.loads_of(tx, chain)
            reports.signers_of(tx, chain)
            reports.indexes_of(tx, chain)
            reports.endpoints_of(tx, chain)
    finally:
        event.remove(engine, "before_cursor_execute", note)
    statements = [each for each in asked if each[0].startswith("SELECT")]
    assert len(statements) >= 9
    sqlite = engine.dialect.name == "sqlite"
    with read(engine) as tx:
        if not sqlite:
            # Else it reads these few rows whole, whatever there is.
            tx.execute(text("SET LOCAL enable_seqscan = off"))
        for statement, parameters in statements:
            explain = "EXPLAIN QUERY PLAN " if sqlite else "EXPLAIN "
            plan = "\n".join(str(row) for row in tx.exec_driver_sql(explain + statement, parameters))
            for table in ("intents", "slots", "attempts", "positions", "deliveries", "endpoints"):
                assert f"SCAN {table}" not in plan, plan
                assert f"Seq Scan on {table}" not in plan, plan
