"""The rig can fail: engines that are broken on purpose, books that disagree with the chain, and tables out of date."""

import json
import sqlite3
from collections.abc import Iterator, Sequence
from dataclasses import replace

import pytest
from sqlalchemy import create_engine

from nftloyalty.app.sending import Sender
from nftloyalty.domain.intent import IntentState
from tests.conftest import StartAnvil
from tests.faults import rigged
from tests.faults.cases import CASES, Drawn
from tests.faults.conftest import MakeRig
from tests.faults.proof import Final, check_finals, prove
from tests.faults.rig import SHORT_TEMPO, Rig
from tests.faults.rigged import STEPS, Step, Strike, missing_places
from tests.faults.soak import Lane, verdicts
from tests.faults.stable import Stable
from tests.faults.wire import SEND, Exchange


def test_an_engine_that_sends_before_it_stores_is_caught_by_a_kill_between_the_two(make_rig: MakeRig) -> None:
    rig = make_rig(rows=40, batch=10, broken="sends first")
    assert rig.mint(Strike("storing", reserves=2)).killed
    said = "\n".join(rig.judge().complaints)
    # What was on the wire, and what is on chain.
    assert "left before its bytes were stored" in said
    assert "is no stored attempt" in said


def test_an_engine_that_trusts_the_node_and_takes_a_new_nonce_is_caught(make_rig: MakeRig) -> None:
    rig = make_rig(rows=20, batch=10, broken="trusts the node")
    sent = 0

    def first_two(exchange: Exchange) -> float:
        nonlocal sent
        sent += SEND in exchange.methods
        return float(sent <= 2)

    rig.wire.faults = Drawn(rig.wire, 1, rates=first_two, cases=("refused falsely",))
    rig.mint()
    rig.finish()
    said = "\n".join(rig.judge().complaints)
    assert "items that were sent twice" in said
    assert "intents name another transaction than their card's log" in said


def test_an_engine_that_cancels_without_waiting_for_the_nonces_end_is_caught(make_rig: MakeRig) -> None:
    rig = make_rig(rows=10, batch=5, broken="cancels at once", block_seconds=0.1, tempo=SHORT_TEMPO)
    with rig.weather.held():
        assert rig.mint(Strike("sent", reserves=2)).killed
        assert rig.cancel(Strike("asked")).killed
        assert rig.states() == {IntentState.CANCELLED: 10}
        assert rig.complaints == []
        rig.weather.mine()
        rig.look()
    assert any("10 rows are cancelled and have a card" in complaint for complaint in rig.complaints)


def test_a_run_that_survives_its_strike_is_seen(make_rig: MakeRig) -> None:
    result = make_rig(rows=10, batch=10).play([Strike("stored", reserves=5)])
    assert any(
        "should have been struck at 'stored': run 1 (mint) ended with status 0" in each for each in result.complaints
    )


# --------------------------------------------------------------------------------------------------- tables out of date


def test_all_that_the_rig_wraps_is_there() -> None:
    assert missing_places() == []


def test_a_step_that_the_code_has_no_more_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    gone = Step("gone", "after", Sender, "_renamed", "what it was")
    monkeypatch.setattr(rigged, "STEPS", (*STEPS, gone))
    assert missing_places() == ["gone (Sender._renamed)"]


def test_a_soak_in_which_nothing_happened_proves_nothing(tmp_path_factory: pytest.TempPathFactory) -> None:
    lane = Lane("sqlite", tmp_path_factory.mktemp("soak"), 1, say=print)
    said = verdicts([lane])
    assert "only 0 mints, and 5,000 were to be" in said
    assert len(said) == 5 + len(STEPS) + len(CASES)


# --------------------------------------------------------------------------------------------------------- the proof


@pytest.fixture(scope="module")
def finished(start_anvil: StartAnvil, stable: Stable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """An airdrop of 30 cards that went well."""
    folder = tmp_path_factory.mktemp("finished")
    url = f"sqlite:///{folder / 'airdrop.db'}"
    with Rig(folder, start_anvil().url, url, rows=30, batch=10, block_seconds=0, stable=stable) as rig:
        rig.finish()
        assert rig.judge().complaints == ()
        yield rig


def complaints(rig: Rig, *, wallets: Sequence[str] | None = None, wire: int = 99, spoil: str | None = None) -> str:
    """What the proof says after one thing was changed: the file, what passed the wire, or our books."""
    engine = rig.engine
    if spoil is not None:
        copy = rig.folder / "spoilt.db"
        copy.unlink(missing_ok=True)
        source, target = sqlite3.connect(rig.folder / "airdrop.db"), sqlite3.connect(copy)
        source.backup(target)
        assert target.execute(spoil).rowcount > 0
        target.commit()
        source.close()
        target.close()
        engine = create_engine(f"sqlite:///{copy}")
    try:
        given = rig.wallets if wallets is None else wallets
        proof = prove(rig.chain, engine, rig.membership, rig.minter, given, rig.wire.passed[:wire])
        return "\n".join(proof.complaints)
    finally:
        if spoil is not None:
            engine.dispose()


def test_a_member_without_a_card_is_seen(finished: Rig) -> None:
    assert "1 wallets of the file got no card" in complaints(finished, wallets=[*finished.wallets, finished.minter])


def test_a_card_for_somebody_else_is_seen(finished: Rig) -> None:
    assert "2 wallets got a card and are not in the file" in complaints(finished, wallets=finished.wallets[2:])


def test_bytes_that_did_not_pass_the_wire_are_seen(finished: Rig) -> None:
    assert "1 transactions of the signer never passed the wire" in complaints(finished, wire=2)


@pytest.mark.parametrize(
    ("spoil", "complaint"),
    [
        ("DELETE FROM attempts WHERE slot = (SELECT max(slot) FROM attempts)", "is no stored attempt"),
        ("UPDATE attempts SET first_sent_at = NULL", "the books say it never left"),
        ("UPDATE attempts SET raw = x'00'", "have another hash"),
        ("UPDATE slots SET calldata = x'00' WHERE nonce = 1", "carry another call than slot 1"),
        ("UPDATE slots SET nonce = 7 WHERE nonce = 1", "not contiguous"),
        ("UPDATE signers SET next_nonce = next_nonce + 1", "and the chain is at nonce"),
        ("UPDATE signers SET halted = 'so'", "the signer is halted: so"),
        ("UPDATE signers SET lease_owner = 'me'", "the lease is still with me"),
        ("UPDATE slots SET state = 'included'", "not all slots are final"),
        ("UPDATE slots SET state = 'final-noop' WHERE nonce = 1", "nonce 1 is not empty on chain, and final-noop"),
        ("UPDATE attempts SET noop = 1", "are not empty, and the books say so"),
        ("UPDATE attempts SET noop = 1", "cards were minted by what the books call empty"),
        ("UPDATE intents SET state = 'included'", "not all intents are final"),
        ("UPDATE intents SET tx_hash = '0x00' WHERE recipient IS NOT NULL", "intents name another transaction"),
        ("UPDATE intents SET block_hash = '0x00' WHERE recipient IS NOT NULL", "which the chain has not"),
    ],
)
def test_books_that_disagree_with_the_chain_are_seen(finished: Rig, spoil: str, complaint: str) -> None:
    assert complaint in complaints(finished, spoil=spoil)


def test_an_operator_who_was_told_wrongly_is_seen(finished: Rig) -> None:
    told = json.dumps([{"nonce": 0, "withdrawn": True, "transaction": "0x00"}])
    finished.runs.append(replace(finished.runs[-1], command="cancel", output=told))
    said = finished.judge().complaints
    finished.runs.pop()
    assert [each.partition(" {")[0] for each in said] == ["the operator was told that"]


def test_what_was_final_and_is_not_any_more_is_seen(finished: Rig) -> None:
    block = finished.chain.ask("eth_getBlockByNumber", "latest", False)
    there = Final("0x01", int(block["number"], 16), block["hash"])
    said = [*check_finals(finished.chain, {"0xA": there}, {"0xB": there}, finality=0)]
    assert said == ["1 cards were final and are not any more, 0xA first"]


def test_what_is_called_final_too_early_is_seen(finished: Rig) -> None:
    block = finished.chain.ask("eth_getBlockByNumber", "latest", False)
    there = Final("0x01", int(block["number"], 16), block["hash"])
    (said,) = check_finals(finished.chain, {}, {"0xA": there}, finality=2)
    assert said.startswith(f"cards are final in block {there.block_number}, and the chain is at")
