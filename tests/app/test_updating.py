"""An open program is brought to what its file says by now: once, whatever stops it on the way."""

from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from typing import Any

import pytest

from nftloyalty.app import deploying, funding, governing, opening, updating
from nftloyalty.app.acting import Unsigned
from nftloyalty.app.sending import Sender
from nftloyalty.app.updating import Updated, UpdatePlan
from nftloyalty.chain import terms
from nftloyalty.chain.client import Node
from nftloyalty.chain.contracts import QuotaKind
from nftloyalty.domain.words import Role
from nftloyalty.errors import OutOfFunds, ProgramProblem
from nftloyalty.store.slots import AttemptRow
from tests.app.build import COIN, World, does, new_member, new_wallet, program_of, program_text
from tests.app.conftest import Anew
from tests.chain.opened import transact

MORE = """
[[tiers]]
id = "jade"
name = "Jade"
[[stamps]]
id = "latte"
number = 1
name = "Latte"
cap = 500
[[stamps]]
id = "tasting"
number = 2
name = "Tasting"
min_tier = "gold"
[[stamp_cards]]
id = "coffee"
first = 11
stamps = 3
name = "Three coffees"
min_tier = "jade"
"""


def edited(world: World, **changes: Any) -> World:
    """The same program with another file: a cap, a quota, a tier more and one renamed, a cap for the latte, a new stamp
    card, and another manager."""
    text = program_text(world.program.id, terms="cap = 1000", cards="mint = 77", rest=MORE)
    text = text.replace('name = "Gold"', 'name = "Platinum"').replace('managers = ["desk"]', 'managers = ["guard"]')
    return replace(world, program=program_of(text), **changes)


WHAT = (
    "set the cap of cards to 1000",
    "set the daily quota of cards mint to 77",
    'call the tiers "Member", "Platinum", "Jade"',
    "set the terms of the stamp latte",
    'add the stamps "Three coffees" (11 to 13)',
)


def plan(world: World) -> UpdatePlan:
    return updating.plan(world.app, world.program)


def update(world: World) -> Updated:
    return updating.update(world.app, plan(world))


def test_an_edited_file_is_carried_out_once(anew: Anew) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    new = edited(world)
    with pytest.raises(ProgramProblem, match=r"is called 'Platinum' in program\.toml and 'Gold' on chain") as refused:
        opening.opened(new.app, new.program)
    assert "nftloyalty update" in refused.value.mend
    before = world.nonces()
    wanted = plan(new)
    assert world.nonces() == before  # looking sends nothing
    assert set(WHAT) <= {change.what for change in wanted.changes}
    assert (wanted.refused, wanted.stays, wanted.owner_here) == ((), (), True)
    made = updating.update(new.app, wanted)
    assert len(made.done) == len(wanted.changes) == 7
    assert wanted.changes[-1].what == f"take from {world.address('desk')} the role manager"
    assert wanted.cost.gas == pytest.approx(gas_of(new, made), rel=0.1)

    here = new.here
    assert here.membership.cap() == 1000
    assert here.membership.quota_of(QuotaKind.MINT).limit == 77
    assert here.membership.tier_names() == ("Member", "Platinum", "Jade")
    assert here.stamps.type_of(1).cap == 500
    assert here.stamps.type_of(12).min_tier == 3
    assert here.membership.roles_of(new.address("guard")) == Role.MANAGER | Role.GUARDIAN
    assert here.membership.roles_of(new.address("desk")) == Role(0)

    after = new.nonces()
    assert plan(new).changes == ()
    assert update(new) == Updated((), ())
    assert new.nonces() == after
    assert deploying.deploy(new.app, new.program).differences == ()
    assert new.mint(f"{new_wallet()},jade,never").final == 1


def gas_of(world: World, made: Updated) -> int:
    receipts = world.app.node.receipts([done.tx_hash for _, done in made.done])
    return sum(receipt.gas_used for receipt in receipts if receipt is not None)


def test_an_update_that_was_killed_is_finished_by_the_next(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed in each of its transactions in turn, each time at another step; what was made stays made, and nothing is
    made twice."""
    world = anew("")
    new = edited(world)
    count = len(plan(new).changes)
    steps = cycle(["_reserve", "_send", "_settle"])
    runs = 0
    while plan(new).changes:
        step = next(steps)
        real = getattr(does(step), step)
        passed: list[int] = []

        def once(engine: Any, several: Sequence[Any], *, real: Any = real, passed: list[int] = passed) -> Any:
            if several and passed:
                raise SystemExit
            if several:
                passed.append(1)
            return real(engine, several)

        with monkeypatch.context() as broken:
            broken.setattr("nftloyalty.app.acting._take_back", lambda *_: None)
            broken.setattr(does(step), step, once)
            try:
                update(new)
            except SystemExit:
                runs += 1
    assert runs >= 3
    assert new.nonces()["owner"] == world_nonce(count)
    assert deploying.deploy(new.app, new.program).differences == ()


def world_nonce(changes: int) -> int:
    """The opening, and one transaction for each change."""
    return 1 + changes


def test_what_can_not_change_is_said_and_the_rest_is_done(anew: Anew) -> None:
    world = anew("")
    text = program_text(world.program.id, terms="cap = 9\nmove_cooldown_days = 1").replace('"Bean Club"', '"Other"')
    new = replace(world, program=program_of(text))
    wanted = plan(new)
    assert [each.line.split(":")[0] for each in wanted.stays] == ["program.name", "program.move_cooldown_days"]
    assert all(each.note == "can never change" for each in wanted.stays)
    assert [change.what for _, _ in update(new).done for change in wanted.changes] == ["set the cap of cards to 9"]
    assert plan(new).changes == ()


def test_while_the_tiers_differ_no_stamp_is_changed(anew: Anew) -> None:
    """A stamp's lowest tier is a number: with a tier put in front it would name another one, or none."""
    world = anew("")
    text = program_text(world.program.id).replace("[[tiers]]", '[[tiers]]\nid = "seed"\nname = "Seed"\n[[tiers]]', 1)
    text += '[[stamps]]\nid = "cake"\nnumber = 9\nname = "Cake"\n'
    wanted = plan(replace(world, program=program_of(text)))
    assert wanted.changes == ()
    notes = {each.line.split(":")[0]: each.note for each in wanted.stays}
    assert notes["tiers[1].name"].startswith("a tier keeps its place")
    assert all(
        notes[key].startswith("put the tiers back first") for key in ("stamps 'tasting' min_tier", "stamps 'cake'")
    )


def test_one_stamp_of_a_card_that_was_given_fixes_the_terms_of_all(anew: Anew) -> None:
    card = '[[stamp_cards]]\nid = "tea"\nfirst = 21\nstamps = 3\nname = "Tea"\nmembers_only = false\n'
    world = anew(program_text(rest=card))
    assert world.stamp("tea-1", new_wallet()).final == 1
    text = program_text(world.program.id, rest=card.replace("members_only = false", "members_only = true"))
    wanted = plan(replace(world, program=program_of(text)))
    assert wanted.changes == ()
    (stays,) = wanted.stays
    assert stays.note == "who gets it and redeems it is fixed since the first was given"


def test_a_cap_below_what_there_is_stays(anew: Anew) -> None:
    world = anew("")
    world.mint_outside(*(new_wallet() for _ in range(3)))
    low = replace(world, program=program_of(program_text(world.program.id, terms="cap = 2")))
    wanted = plan(low)
    assert wanted.changes == ()
    assert [each.note for each in wanted.stays] == ["there are 3 cards already"]


def test_a_call_that_the_contract_refuses_is_told_and_the_others_are_made(
    anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = anew("")
    new = replace(world, program=program_of(program_text(world.program.id, terms="cap = 2", cards="mint = 5")))
    world.mint_outside(*(new_wallet() for _ in range(3)))
    # As if the cards were minted between the look and the trial.
    read = terms.read_state
    monkeypatch.setattr(updating, "read_state", lambda *args, **more: replace(read(*args, **more), living=0))
    wanted = plan(new)
    (refused,) = wanted.refused
    assert (refused.change.what, refused.reason.code) == ("set the cap of cards to 2", "cap_below_supply")
    assert [change.what for change, _ in updating.update(new.app, wanted).done] == [
        "set the daily quota of cards mint to 5"
    ]


def test_too_little_balance_sends_nothing(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    new = edited(world)
    wanted = plan(new)
    before = world.nonces()
    monkeypatch.setattr(Node, "balance", lambda *_: wanted.cost.wei)
    with pytest.raises(OutOfFunds) as refused:
        updating.update(new.app, wanted)
    assert refused.value.address == world.address("owner")
    assert world.nonces() == before


def test_an_owner_elsewhere_gets_the_transactions_to_sign(anew: Anew) -> None:
    world = anew("")
    safe = new_member()
    funding.fund(world.app, safe.address, COIN)
    node = world.app.node
    asked = governing.request_handover(world.app, world.here, safe.address, lambda: None)
    assert isinstance(asked, Unsigned)
    assert transact(node, safe, asked.to, asked.data).succeeded
    governing.complete_handover(world.app, world.here, safe.address, lambda: None)
    new = edited(world)
    before = world.nonces()
    wanted = plan(new)
    assert (wanted.owner, wanted.owner_here) == (safe.address, False)
    made = updating.update(new.app, wanted)
    assert (made.done, world.nonces()) == ((), before)
    for _, unsigned in made.unsigned:
        assert unsigned.signer == safe.address
        assert transact(node, safe, unsigned.to, unsigned.data).succeeded
    assert plan(new).changes == ()


def test_a_program_that_is_not_open_is_told(world: World) -> None:
    with pytest.raises(ProgramProblem, match="is not open on this chain"):
        updating.plan(world.app, program_of(program_text()))


def test_an_act_under_way_is_gone_on_with(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Killed between storing and sending: the next run sends those bytes and no others."""
    world = anew("")
    new = replace(world, program=program_of(program_text(world.program.id, terms="cap = 9")))

    def lost(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(Sender, "_send", lost)
        update(new)
    assert len(update(new).done) == 1
    assert world.app.node.nonce(world.address("owner")) == 2
