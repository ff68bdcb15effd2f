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

ServerOf = Callable[[Rig], PostgreSQL | None]


def complaints_after(rig: Rig) -> tuple[str, ...]:
    """What is wrong once all is final that can be."""
    rig.finish()
    found = rig.judge().complaints
    # The next scene on this stage is not to answer for this one.
    rig.complaints.clear()
    return found


def test_a_small_storm_loses_and_doubles_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(rows=10, batch=5, finality=3, block_seconds=0.1, roughness=0.08, seed=3, tempo=SHORT_TEMPO)
    ride_out(rig, Aims(rows=150, kills_each=0, reorgs=5, faults=60, faults_each=0))
    assert complaints_after(rig) == ()
    assert len(rig.wire.injected) > 10


@pytest.mark.parametrize("step", ["gathered", "marked"])
def test_a_sender_that_slept_through_its_lease_sends_nothing_new(stage: Rig, other_stable: Stable, step: str) -> None:
    scenes.stale_sender(stage, other_stable, step)
    assert complaints_after(stage) == ()


def test_on_postgresql_too(stage_on_postgresql: Rig, other_stable: Stable) -> None:
    scenes.stale_sender(stage_on_postgresql, other_stable, "stored")
    assert complaints_after(stage_on_postgresql) == ()


@pytest.mark.parametrize("deed", [Deed.FULL, Deed.SHORT])
@pytest.mark.parametrize("step", ["gathered", "signed"])
def test_a_full_disk_stops_the_work_and_loses_nothing(stage: Rig, step: str, deed: Deed) -> None:
    scenes.full_disk(stage, step, deed)
    assert complaints_after(stage) == ()


@pytest.mark.parametrize("moment", list(Moment))
def test_a_commit_of_which_nobody_hears_is_found_out_by_the_next_run(stage_on_postgresql: Rig, moment: Moment) -> None:
    rig = stage_on_postgresql
    with Cutter(rig.database_url) as cutter:
        for kind in KINDS:
            scenes.cut_at_commit(rig, cutter, Cut(kind, moment))
    assert complaints_after(rig) == ()


@pytest.mark.parametrize("step", ["reserved", "sent"])
def test_an_old_copy_of_the_database_takes_in_what_was_sent_since(
    each_stage: Rig, server_of: ServerOf, step: str
) -> None:
    rig, server = each_stage, server_of(each_stage)

    def copy() -> str:
        rig.engine.dispose()
        return copy_of(rig.database_url, server)

    scenes.put_back(rig, step, copy)
    assert complaints_after(rig) == ()


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
