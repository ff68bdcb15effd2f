"""An airdrop survives kills at every step, Ctrl-C and being run twice at once; and the rig that says so can fail.

The full size of it, 10,000 rows, is `python -m tests.faults.airdrop`.
"""

import io
import os
import signal
import sqlite3
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from rich.console import Console
from sqlalchemy import create_engine

from nftloyalty.app import minting
from nftloyalty.app.context import App, password_from, random_id, system_now
from nftloyalty.app.opening import opened
from nftloyalty.chain.client import Node
from nftloyalty.cli.session import load_program
from nftloyalty.config import from_environment
from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.roster import Outcome
from nftloyalty.vault.keystore import Keystore
from tests.conftest import StartAnvil
from tests.faults.airdrop import Rig, Stable, plan_kills, show
from tests.faults.proof import prove
from tests.faults.rigged import STEP, STEPS, Kill

MakeRig = Callable[..., Rig]


@pytest.fixture(scope="module")
def stable() -> Iterator[Stable]:
    with Stable() as stable:
        yield stable


@pytest.fixture(scope="module")
def other_stable() -> Iterator[Stable]:
    """For a second run at the same time."""
    with Stable() as stable:
        yield stable


@pytest.fixture
def make_rig(start_anvil: StartAnvil, stable: Stable, tmp_path: Path) -> Iterator[MakeRig]:
    """`make_rig(rows=100, batch=10)`: an open program on an anvil of its own, nothing minted yet."""
    with ExitStack() as rigs:

        def make(database_url: str = f"sqlite:///{tmp_path / 'airdrop.db'}", **options: int | float | str) -> Rig:
            given: dict[str, object] = {"stable": stable, "block_seconds": 0, **options}
            return rigs.enter_context(Rig(tmp_path, start_anvil().url, database_url, **given))  # type: ignore[arg-type]

        yield make


def wait_for_slots(rig: Rig, count: int) -> None:
    deadline = time.monotonic() + 60
    while rig.slot_count() < count:
        assert time.monotonic() < deadline, f"no {count} transactions within a minute"
        time.sleep(0.01)


# --------------------------------------------------------------------------------------------------------------- kills


def test_an_airdrop_killed_at_every_step_gives_each_member_one_card(make_rig: MakeRig, engine_url: str) -> None:
    rig = make_rig(engine_url, rows=480, batch=10, window=3, block_seconds=0.2)
    result = rig.play(plan_kills(batches=48, window=3, seed=7))
    assert result.complaints == ()
    killed = [run.kill.step for run in result.runs if run.kill is not None and run.killed]
    assert set(killed) == set(STEP)
    assert sum(STEP[name].unsent for name in killed) >= 5
    assert (result.proof.members, result.proof.duplicates, result.proof.missing) == (480, 0, 0)
    assert result.proof.transactions == result.proof.attempts == result.proof.chain_nonce
    report = io.StringIO()
    show(rig, result, 1.0, Console(file=report, width=180))
    assert "480 members of 480 in the file" in report.getvalue()
    assert report.getvalue().endswith("Proven.\n")


@pytest.mark.parametrize("step", ["stored", "marked", "handed-in"])
def test_the_run_after_a_kill_sends_what_was_not_sent_before_anything_new(make_rig: MakeRig, step: str) -> None:
    rig = make_rig(rows=40, batch=10, window=2, block_seconds=0.2)
    rig.mint(Kill(step, reserves=2))
    began = time.monotonic()
    run = rig.mint()
    # Not only once the bytes have been silent for long: what follows would have to wait for their nonce.
    assert time.monotonic() - began < 10
    assert run.status == 0
    steps = [each["step"] for each in run.trace]
    assert "reserved" in steps
    if step != "handed-in":
        assert steps.index("handed-in") < steps.index("reserved")
    assert rig.judge(rig.finish()).complaints == ()


def test_cards_whose_blocks_are_undone_are_minted_again_by_the_same_bytes(make_rig: MakeRig) -> None:
    rig = make_rig(rows=60, batch=10)
    assert rig.mint().status == 0
    # Two blocks are not final yet, each with one transaction; their successors are empty.
    rig.chain.ask("anvil_reorg", 2, [])
    assert len(rig.chain.minted(rig.membership)) == 40
    began = time.monotonic()
    run = rig.mint()
    assert time.monotonic() - began < 10
    assert (run.status, run.reserves) == (0, 0)
    assert len({each.raw for each in rig.wire.passed}) == 6
    assert rig.judge(rig.finish()).complaints == ()


def test_a_plan_strikes_every_step_and_often_before_the_sending() -> None:
    for seed in range(20):
        kills = plan_kills(batches=100, window=4, seed=seed)
        counts = Counter(kill.step for kill in kills)
        assert set(counts) == {step.name for step in STEPS}
        assert len(kills) >= 20
        assert counts["stored"] >= 2
        assert counts["marked"] >= 2
        assert sum(STEP[kill.step].unsent for kill in kills) >= 5
        assert kills[0].reserves > 0
        assert kills == plan_kills(batches=100, window=4, seed=seed)


# ------------------------------------------------------------------------------------------------ together and stopped


def test_a_second_mint_of_the_same_file_watches_the_first(make_rig: MakeRig, other_stable: Stable) -> None:
    rig = make_rig(rows=120, batch=10, window=2, block_seconds=0.2)
    first, second = rig.mint_orders(), rig.mint_orders()
    pids = rig.stable.start(first), other_stable.start(second)
    statuses = rig.stable.wait(pids[0]), other_stable.wait(pids[1])
    runs = [rig.ended(orders, status, 0) for orders, status in zip((first, second), statuses, strict=True)]
    assert statuses == (0, 0)
    assert sorted(run.reserves for run in runs) == [0, 12]
    assert rig.judge(rig.finish()).complaints == ()


def test_a_watching_mint_takes_over_from_one_that_is_killed(make_rig: MakeRig, other_stable: Stable) -> None:
    rig = make_rig(rows=80, batch=10, window=1, block_seconds=0.3)
    worker, watcher = rig.mint_orders(Kill("marked", reserves=5)), rig.mint_orders()
    pids = [rig.stable.start(worker)]
    wait_for_slots(rig, 1)
    pids.append(other_stable.start(watcher))
    statuses = rig.stable.wait(pids[0]), other_stable.wait(pids[1])
    runs = [rig.ended(orders, status, 0) for orders, status in zip((worker, watcher), statuses, strict=True)]
    assert statuses == (-signal.SIGKILL, 0)
    assert [run.reserves for run in runs] == [5, 3]
    assert rig.judge(rig.finish()).complaints == ()


def test_a_plan_that_is_made_while_another_run_mints_takes_its_cards_for_nobody_elses(
    make_rig: MakeRig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = make_rig(rows=20, batch=10)
    settings = from_environment(rig.mint_orders().environment)
    keystore, node = Keystore(settings.keys_folder), Node(settings.rpc_url)
    app = App(settings, rig.engine, node, keystore, system_now, random_id, password_from(settings))
    here = opened(app, load_program(rig.folder / "program.toml"))
    look_up = minting._known

    def look_up_and_lose_time(*arguments: Any) -> Any:
        found = look_up(*arguments)
        monkeypatch.undo()
        assert rig.mint().status == 0
        return found

    monkeypatch.setattr(minting, "_known", look_up_and_lose_time)
    plan = minting.plan_cards(app, here, rig.members.read_text().splitlines(), "members.csv")
    assert plan.count(Outcome.NEW) == 20
    report = minting.mint(app, here, plan)
    assert (report.on_chain, report.rejected) == (20, ())
    assert rig.judge(rig.finish()).complaints == ()


def test_ctrl_c_gives_the_lease_back_and_the_file_can_be_run_again(make_rig: MakeRig) -> None:
    rig = make_rig(rows=200, batch=10, window=2, block_seconds=0.3)
    orders = rig.mint_orders()
    pid = rig.stable.start(orders)
    wait_for_slots(rig, 3)
    os.kill(pid, signal.SIGINT)
    run = rig.ended(orders, rig.stable.wait(pid), 0)
    assert run.status == 130
    assert "run the same command again" in run.errors
    assert rig.lease_owner() is None
    assert run.rows[IntentState.RECEIVED] > 0
    assert rig.judge(rig.finish()).complaints == ()


def test_a_file_that_is_final_needs_no_key(make_rig: MakeRig) -> None:
    rig = make_rig(rows=10, batch=10)
    assert rig.finish() == []
    orders = rig.mint_orders()
    without = {name: value for name, value in orders.environment.items() if name != "NFTLOYALTY_KEY_PASSWORD"}
    run = rig.ended(orders, rig.stable.wait(rig.stable.start(replace(orders, environment=without))), 0)
    assert (run.status, run.reserves) == (0, 0)


# ---------------------------------------------------------------------------------------------------- the rig can fail


def test_an_engine_that_sends_before_it_stores_is_caught(make_rig: MakeRig) -> None:
    rig = make_rig(rows=40, batch=10, broken="sends first")
    result = rig.play([])
    assert any("left before its bytes were stored" in complaint for complaint in result.complaints)


def test_an_engine_that_sends_before_it_stores_is_caught_by_a_kill_between_the_two(make_rig: MakeRig) -> None:
    rig = make_rig(rows=40, batch=10, broken="sends first")
    rig.mint(Kill("signed", reserves=2))
    # The fee has moved when the bytes are made anew, so they are others.
    rig.chain.ask("anvil_setNextBlockBaseFeePerGas", hex(3 * 10**9))
    rig.chain.ask("evm_mine")
    rig.mint(Kill("handed-in"))
    assert any("is no stored attempt" in complaint for complaint in rig.judge().complaints)


@pytest.fixture(scope="module")
def finished(start_anvil: StartAnvil, stable: Stable, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rig]:
    """An airdrop of 30 cards that went well."""
    folder = tmp_path_factory.mktemp("finished")
    url = f"sqlite:///{folder / 'airdrop.db'}"
    with Rig(folder, start_anvil().url, url, rows=30, batch=10, block_seconds=0, stable=stable) as rig:
        assert rig.judge(rig.finish()).complaints == ()
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
        ("UPDATE slots SET nonce = 7 WHERE nonce = 1", "not contiguous"),
        ("UPDATE signers SET next_nonce = next_nonce + 1", "and the chain is at nonce"),
        ("UPDATE signers SET halted = 'so'", "the signer is halted: so"),
        ("UPDATE signers SET lease_owner = 'me'", "the lease is still with me"),
        ("UPDATE slots SET state = 'included'", "not all slots are final"),
        ("UPDATE intents SET state = 'included'", "not all intents are final"),
        ("UPDATE intents SET tx_hash = '0x00' WHERE recipient IS NOT NULL", "intents name another transaction"),
    ],
)
def test_books_that_disagree_with_the_chain_are_seen(finished: Rig, spoil: str, complaint: str) -> None:
    assert complaint in complaints(finished, spoil=spoil)


def test_a_run_that_survives_its_kill_is_seen(make_rig: MakeRig) -> None:
    result = make_rig(rows=10, batch=10).play([Kill("stored", reserves=5)])
    assert any("should have died at 'stored' and ended with status 0" in each for each in result.complaints)
