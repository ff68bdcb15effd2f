"""The file's names must mean on chain what they mean in the file."""

from dataclasses import replace

import pytest

from nftloyalty.app.opening import opened
from nftloyalty.errors import ProgramProblem
from tests.app.build import World


def test_a_tier_put_in_front_is_refused_before_a_gate_answers_wrong(world: World) -> None:
    tiers = world.program.tiers
    moved = (replace(tiers[0], id="new", name="New"), replace(tiers[0], number=2), replace(tiers[1], number=3))
    with pytest.raises(ProgramProblem, match=r"tier 1 is called 'New' in program\.toml and 'Member' on chain"):
        opened(world.app, replace(world.program, tiers=moved))


def test_stamp_numbers_that_were_swapped_are_refused(world: World) -> None:
    latte, tasting = world.program.stamps
    swapped = (replace(tasting, first=1), replace(latte, first=2))
    with pytest.raises(ProgramProblem, match=r"stamp type 1 is called 'Tasting' in program\.toml and 'Latte' on chain"):
        opened(world.app, replace(world.program, stamps=swapped))


def test_what_only_the_file_has_is_no_harm(world: World) -> None:
    more = replace(world.program.tiers[1], id="black", name="Black", number=3)
    assert opened(world.app, replace(world.program, tiers=(*world.program.tiers, more))).row.slug == world.program.id
