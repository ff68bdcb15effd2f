"""Runs are killed at every step, stopped with Ctrl-C and started twice at once, on an honest node and in fair weather.

The full size of it, with a node that lies and a chain that takes its blocks back, is `make soak`.
"""

import os
import signal
import time
from dataclasses import replace
from typing import Any

import pytest

from nftloyalty.app import minting
from nftloyalty.app.context import App, password_from, random_id, system_now
from nftloyalty.app.opening import opened
from nftloyalty.chain.client import Node
from nftloyalty.cli.session import load_program
from nftloyalty.config import from_environment
from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.roster import Outcome
from nftloyalty.vault.keystore import Keystore
from tests.faults.conftest import MakeRig
from tests.faults.rig import SHORT_TEMPO, Rig, wait_until
from tests.faults.rigged import STEPS, Strike
from tests.faults.stable import Stable
from tests.faults.storm import Aims, ride_out


def wait_for_slots(rig: Rig, count: int) -> None:
    wait_until(lambda: rig.slot_count() >= count, f"{count} transactions")


# --------------------------------------------------------------------------------------------------------------- kills


def test_runs_killed_at_every_step_give_each_member_one_card(
    make_rig: MakeRig, other_stable: Stable, engine_url: str
) -> None:
    rig = make_rig(engine_url, rows=10, batch=5, window=3, block_seconds=0.1, tempo=SHORT_TEMPO, seed=7)
    # What another database does otherwise is what it has open, and what was stored last.
    steps = tuple(step.name for step in STEPS if engine_url.startswith("sqlite") or step.open or step.unsent)
    aims = Aims(rows=60, kills_each=1, reorgs=0, faults=0, faults_each=0, steps=steps)
    # Workers are two at a time where the database is for several machines.
    log = ride_out(rig, aims, rates=None, beside=None if engine_url.startswith("sqlite") else other_stable)
    rig.finish()
    rig.check_index()
    result = rig.judge()
    assert result.complaints == ()
    assert set(log.kills) >= set(steps)
    assert min(log.by(command) for command in ("mint", "worker", "cancel")) > 0
    assert (result.proof.members, result.proof.duplicates, result.proof.missing) == (rig.rows, 0, 0)
    assert result.proof.transactions == result.proof.chain_nonce


@pytest.mark.parametrize("step", ["stored", "handed-in"])
def test_the_run_after_a_kill_sends_what_was_not_sent_before_anything_new(make_rig: MakeRig, step: str) -> None:
    rig = make_rig(rows=40, batch=10, window=2, block_seconds=0.1)
    rig.mint(Strike(step, reserves=2))
    began = time.monotonic()
    run = rig.mint()
    # Not only once the bytes have been silent for long: what follows would have to wait for their nonce.
    assert time.monotonic() - began < 10
    assert run.status == 0
    steps = [each["step"] for each in run.trace]
    assert "reserved" in steps
    if step != "handed-in":
        assert steps.index("handed-in") < steps.index("reserved")
    rig.finish()
    assert rig.judge().complaints == ()


def test_cards_whose_blocks_are_undone_are_minted_again_by_the_same_bytes(make_rig: MakeRig) -> None:
    rig = make_rig(rows=60, batch=10)
    assert rig.mint().status == 0
    # Two blocks are not final yet, and at least the newer one has a transaction; their successors are empty.
    rig.weather.reorg(2)
    assert len(rig.chain.minted(rig.membership)) <= 50
    began = time.monotonic()
    run = rig.mint()
    assert time.monotonic() - began < 10
    assert (run.status, run.reserves) == (0, 0)
    assert len({each.raw for each in rig.wire.passed}) == 6
    rig.finish()
    assert rig.judge().complaints == ()


# ------------------------------------------------------------------------------------------------ together and stopped


def test_a_second_mint_of_the_same_file_watches_the_first(make_rig: MakeRig, other_stable: Stable) -> None:
    rig = make_rig(rows=120, batch=10, window=2, block_seconds=0.1)
    going = rig.go(rig.mint_orders()), rig.go(rig.mint_orders(), other_stable)
    runs = [rig.ended(each) for each in going]
    assert [run.status for run in runs] == [0, 0]
    assert sorted(run.reserves for run in runs) == [0, 12]
    rig.finish()
    assert rig.judge().complaints == ()


def test_a_watching_mint_takes_over_from_one_that_is_killed(make_rig: MakeRig, other_stable: Stable) -> None:
    rig = make_rig(rows=80, batch=10, window=1, block_seconds=0.15)
    worker = rig.go(rig.mint_orders(Strike("marked", reserves=5)))
    wait_for_slots(rig, 1)
    watcher = rig.go(rig.mint_orders(), other_stable)
    runs = [rig.ended(each) for each in (worker, watcher)]
    assert [run.status for run in runs] == [-signal.SIGKILL, 0]
    assert [run.reserves for run in runs] == [5, 3]
    rig.finish()
    assert rig.judge().complaints == ()


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
    rig.finish()
    assert rig.judge().complaints == ()


def test_ctrl_c_gives_the_lease_back_and_the_file_can_be_run_again(make_rig: MakeRig) -> None:
    rig = make_rig(rows=100, batch=10, window=2, block_seconds=0.2)
    going = rig.go(rig.mint_orders())
    wait_for_slots(rig, 3)
    os.kill(going.pid, signal.SIGINT)
    run = rig.ended(going)
    assert run.status == 130
    assert "run the same command again" in run.errors
    assert rig.lease_owner() is None
    assert run.rows[IntentState.RECEIVED] > 0
    rig.finish()
    assert rig.judge().complaints == ()


def test_a_file_that_is_final_needs_no_key(make_rig: MakeRig) -> None:
    rig = make_rig(rows=10, batch=10)
    rig.finish()
    orders = rig.mint_orders()
    without = {name: value for name, value in orders.environment.items() if name != "NFTLOYALTY_KEY_PASSWORD"}
    run = rig.ended(rig.go(replace(orders, environment=without)))
    assert (run.status, run.reserves) == (0, 0)
