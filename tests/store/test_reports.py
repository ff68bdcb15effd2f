from datetime import timedelta

from sqlalchemy import Engine

from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.store import intents, programs, reports, signers, slots
from nftloyalty.store.engine import begin
from nftloyalty.store.reports import IntentCount, RejectedCount
from nftloyalty.store.tables import ProgramState
from tests.store.build import (
    BLOCK,
    CHAIN_ID,
    GENESIS,
    MINTER,
    NOW,
    accepted,
    fresh_hash,
    prepared,
    program,
    reserved,
    sent,
    wallet,
)


def test_intents_are_counted_by_kind_type_and_state(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        cards = accepted(tx, ground, range(4))
        accepted(tx, ground, range(2), kind=Kind.MINT_STAMP, stamp_type=3)
        accepted(tx, ground, [9], program=program(tx, ground.chain, "tea").id)
        reserved(tx, ground, cards[:3])
    with reports.reading(engine) as tx:
        assert reports.intents_by_state(tx, ground.program) == [
            IntentCount(Kind.MINT_CARD, 0, IntentState.BATCHED, 3),
            IntentCount(Kind.MINT_CARD, 0, IntentState.RECEIVED, 1),
            IntentCount(Kind.MINT_STAMP, 3, IntentState.RECEIVED, 2),
        ]


def test_rejections_are_counted_by_reason(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        rows = accepted(tx, ground, range(5))
        stamp = accepted(tx, ground, [7], kind=Kind.MINT_STAMP)
        intents.reject(tx, [rows[0].id], NOW, error="paused")
        intents.reject(tx, [rows[1].id, rows[2].id], NOW, code=3)
        intents.reject(tx, [stamp[0].id], NOW, code=8)
    with reports.reading(engine) as tx:
        assert reports.rejections(tx, ground.program, Kind.MINT_CARD) == [
            RejectedCount(3, None, 2),
            RejectedCount(None, "paused", 1),
        ]
        assert len(reports.rejections(tx, ground.program)) == 3


def test_signers_are_reported_with_what_they_have_under_way(engine: Engine) -> None:
    later = NOW + timedelta(minutes=1)
    with begin(engine) as tx:
        ground = prepared(tx, nonce=3)
        signers.register(tx, ground.chain, wallet(2))
        other = prepared(tx, genesis="0x" + "a2" * 32)
        final, attempt = sent(tx, ground, accepted(tx, ground, [1]))
        slots.note_error(tx, attempt.id, "of no interest any more")
        slots.set_included(tx, final.id, attempt.tx_hash, 7, BLOCK, True, NOW)
        slots.set_final(tx, final.id, BLOCK, NOW)
        included, attempt = sent(tx, ground, accepted(tx, ground, [2]))
        slots.set_included(tx, included.id, attempt.tx_hash, 7, BLOCK, True, NOW)
        _, attempt = sent(tx, ground, accepted(tx, ground, [3]))
        slots.note_error(tx, attempt.id, "already known")
        slots.reserve(tx, ground.signer, ground.epoch, Kind.CALL, None, b"", 0, 1, [], later)
        accepted(tx, ground, [4, 5])
        signers.halt(tx, ground.signer, "foreign nonce 9")
    with reports.reading(engine) as tx:
        busy, idle, elsewhere = reports.signers_with_slots(tx)
        assert reports.signers_with_slots(tx, ground.chain) == [busy, idle]
        assert reports.signers_with_slots(tx, other.chain) == [elsewhere]
    assert (busy.address, busy.chain_id, busy.next_nonce, busy.halted) == (MINTER, CHAIN_ID, 7, "foreign nonce 9")
    assert (busy.lease_owner, busy.lease_until) == ("me", NOW + timedelta(seconds=60))
    assert (busy.waiting, busy.not_included, busy.included) == (2, 2, 1)
    assert (busy.oldest_open_at, busy.last_error) == (NOW, "already known")
    assert (idle.waiting, idle.not_included, idle.included, idle.oldest_open_at, idle.last_error) == (
        0,
        0,
        0,
        None,
        None,
    )


def test_deployments_are_listed_newest_first(engine: Engine) -> None:
    with begin(engine) as tx:
        ground = prepared(tx)
        tx_hash = fresh_hash()
        tea = programs.mark_open(tx, program(tx, ground.chain, "tea").id, tx_hash, 9)
        program(tx, ground.chain, "fashion")
    with reports.reading(engine) as tx:
        assert [each.slug for each in reports.recent_deployments(tx)] == ["fashion", "tea", "coffee"]
        opening, opened = reports.recent_deployments(tx, limit=2)
    assert opening.state is ProgramState.OPENING
    assert (opened.chain_id, opened.genesis_hash, opened.membership) == (CHAIN_ID, GENESIS, tea.membership)
    assert (opened.state, opened.opened_tx, opened.opened_block) == (ProgramState.OPEN, tx_hash, 9)
