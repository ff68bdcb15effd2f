"""Each scene of the rig in its shortest form, and a small storm."""

from collections.abc import Callable

import pytest

from tests.conftest import PostgreSQL
from tests.faults import scenes
from tests.faults.conftest import MakeRig
from tests.faults.cutting import KINDS, Cut, Cutter, Moment
from tests.faults.rig import SHORT_TEMPO, Rig
from tests.faults.rigged import Deed
from tests.faults.servers import copy_of
from tests.faults.stable import Stable
from tests.faults.storm import Aims, ride_out


def complaints_after(rig: Rig) -> tuple[str, ...]:
    """What is wrong once all is final that can be."""
    rig.finish()
    found = rig.judge().complaints
    # The next scene on this stage is not to answer for this one.
    rig.complaints.clear()
    return found


def test_a_small_storm_loses_and_doubles_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(rows=10, batch=5, finality=3, block_seconds=0.1, roughness=0.08, seed=3, tempo=SHORT_TEMPO)
    ride_out(rig, Aims(rows=80, kills_each=0, reorgs=3, faults=40, faults_each=0))
    assert complaints_after(rig) == ()
    assert len(rig.wire.injected) > 8


@pytest.mark.parametrize(
    ("rig", "step", "workers"), [("stage", "gathered", False), ("stage_on_postgresql", "marked", True)]
)
def test_a_sender_that_slept_through_its_lease_sends_nothing_new(
    request: pytest.FixtureRequest, other_stable: Stable, rig: str, step: str, workers: bool
) -> None:
    stage: Rig = request.getfixturevalue(rig)
    scenes.stale_sender(stage, other_stable, step, workers=workers)
    assert complaints_after(stage) == ()


@pytest.mark.parametrize(("rig", "step"), [("stage", "emptied"), ("stage_on_postgresql", "asked")])
def test_who_slept_while_cancelling_sends_nothing_new(
    request: pytest.FixtureRequest, other_stable: Stable, rig: str, step: str
) -> None:
    stage: Rig = request.getfixturevalue(rig)
    scenes.stale_canceller(stage, other_stable, step)
    assert complaints_after(stage) == ()


@pytest.mark.parametrize("scene", [scenes.cancelled_in_time, scenes.cancelled_and_undone])
def test_of_what_is_cancelled_one_of_two_stands(stage: Rig, scene: Callable[[Rig], None]) -> None:
    scene(stage)
    assert complaints_after(stage) == ()


@pytest.mark.parametrize("step", ["asked", "empty-marked"])
def test_what_was_mined_before_it_could_be_taken_back_stands(stage_on_postgresql: Rig, step: str) -> None:
    scenes.cancelled_too_late(stage_on_postgresql, step)
    assert complaints_after(stage_on_postgresql) == ()


@pytest.mark.parametrize(("step", "deed"), [("signed", Deed.FULL), ("gathered", Deed.SHORT)])
def test_a_full_disk_stops_the_work_and_loses_nothing(stage: Rig, step: str, deed: Deed) -> None:
    scenes.full_disk(stage, step, deed)
    assert complaints_after(stage) == ()


def test_a_commit_of_which_nobody_hears_is_found_out_by_the_next_run(stage_on_postgresql: Rig) -> None:
    rig = stage_on_postgresql
    # Each kind once; what matters most, what was sent, both ways.
    cuts = [Cut(kind, list(Moment)[place % 2]) for place, kind in enumerate(KINDS)]
    with Cutter(rig.database_url) as cutter:
        for cut in [*cuts, Cut("mark", Moment.BEFORE), Cut("mark", Moment.AFTER)]:
            scenes.cut_at_commit(rig, cutter, cut)
    assert complaints_after(rig) == ()


@pytest.mark.parametrize(("rig", "step"), [("stage", "reserved"), ("stage_on_postgresql", "sent")])
def test_an_old_copy_of_the_database_takes_in_what_was_sent_since(
    request: pytest.FixtureRequest, rig: str, step: str
) -> None:
    stage: Rig = request.getfixturevalue(rig)
    server: PostgreSQL | None = request.getfixturevalue("postgresql") if rig != "stage" else None

    def copy() -> str:
        stage.engine.dispose()
        return copy_of(stage.database_url, server)

    scenes.put_back(stage, step, copy)
    assert complaints_after(stage) == ()


@pytest.mark.parametrize(
    "scene",
    [
        scenes.paused_meanwhile,
        scenes.minted_meanwhile,
        scenes.drained,
        scenes.dear,
        scenes.unheard,
        scenes.wrong_nonces,
        scenes.undone_as_deep_as_finality,
    ],
)
def test_trouble_on_chain_is_told_and_got_over(stage: Rig, scene: Callable[[Rig], None]) -> None:
    scene(stage)
    assert complaints_after(stage) == ()


def test_one_block_more_than_finality_does_no_harm_where_nothing_of_ours_is_in_it(stage: Rig) -> None:
    scenes.undone_as_deep_as_finality(stage, beyond=1)
    assert complaints_after(stage) == ()


def test_nothing_is_sent_on_top_of_a_chain_that_took_back_what_was_final(make_rig: MakeRig) -> None:
    rig = make_rig(rows=5, batch=5, block_seconds=0.1, tempo=SHORT_TEMPO)
    scenes.undone_beyond_finality(rig)
    assert rig.complaints == []
