"""A member whose key is lost or stolen comes back in a new wallet, under the old number."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from nftloyalty.app import governing, recovering
from nftloyalty.app.acting import Done, Unsigned
from nftloyalty.devchain import DevChainServer
from nftloyalty.devchain.chain import DevChain
from nftloyalty.domain.address import Address
from nftloyalty.domain.words import CardWord, Flag
from nftloyalty.errors import ProgramProblem, Reverted
from tests.app.build import Clock, World, app_of, new_member, new_wallet, open_world, program_text, settings_of

DELAY = timedelta(days=3)


@dataclass(frozen=True)
class Timed(World):
    """A program on a chain whose clock can be set forward."""

    clock: Clock


@pytest.fixture
def timed(tmp_path: Path) -> Iterator[Timed]:
    clock = Clock(datetime(2027, 3, 1, 12, 0, tzinfo=UTC))
    with DevChainServer(DevChain(clock=clock.time)) as server:
        app = app_of(settings_of(tmp_path, server.url), now=clock.now)
        try:
            world = open_world(app, program_text(terms="recovery_delay_days = 3"))
            yield Timed(world.app, world.program, clock)
        finally:
            app.close()


def quiet() -> None:
    """A tick that nobody watches."""


def card(world: World, wallet: Address) -> CardWord:
    return world.here.membership.words_of([wallet])[0]


def propose(world: World, source: Address, to: Address) -> None:
    assert isinstance(recovering.propose(world.app, world.here, source, to, "phone lost", quiet), Done)


def execute(world: World, source: Address) -> None:
    assert isinstance(recovering.execute(world.app, world.here, source, quiet), Done)


def test_a_lost_wallet_is_recovered_after_the_delay(timed: Timed) -> None:
    lost, new = new_wallet(), new_wallet()
    timed.mint(f"{lost},gold,never")
    timed.stamp("latte", lost)
    serial = card(timed, lost).serial
    before = timed.nonces()
    propose(timed, lost, new)
    known = recovering.standing(timed.here, lost)
    assert known is not None
    assert (known.to, known.serial, known.proposer) == (new, serial, timed.address("guard"))
    assert known.ends_at - known.ready_at == timedelta(days=14)
    with pytest.raises(ProgramProblem, match="can be carried out at 2027-03-04 12:0"):
        execute(timed, lost)
    timed.clock.forward(DELAY + timedelta(minutes=1))
    execute(timed, lost)
    assert timed.nonces() == {**before, "guard": before["guard"] + 2}
    assert (card(timed, new).serial, card(timed, new).tier, card(timed, lost).exists) == (serial, 2, False)
    assert timed.here.stamps.words_of([new])[0].holds(1)
    with pytest.raises(ProgramProblem, match="no recovery of"):
        execute(timed, lost)


def test_a_stolen_wallet_is_revoked_recovered_and_readmitted(timed: Timed) -> None:
    """The road that docs/security-model.md tells, command by command."""
    stolen, new = new_wallet(), new_wallet()
    timed.mint(f"{stolen},gold,never")
    serial = card(timed, stolen).serial
    assert isinstance(governing.revoke(timed.app, timed.here, stolen, "stolen", quiet), Done)
    propose(timed, stolen, new)
    timed.clock.forward(DELAY + timedelta(minutes=1))
    execute(timed, stolen)
    assert not card(timed, new).exists
    assert isinstance(governing.readmit(timed.app, timed.here, new, 2, 0, quiet), Done)
    assert (card(timed, new).serial, card(timed, new).tier) == (serial, 2)


def test_who_left_before_can_be_barred(timed: Timed) -> None:
    thief = new_member()
    timed.mint(f"{thief.address},gold,never")
    timed.leave(thief)
    assert isinstance(governing.revoke(timed.app, timed.here, thief.address, "left with it", quiet), Done)
    assert card(timed, thief.address).flags & (Flag.LEFT | Flag.REVOKED) == Flag.REVOKED
    with pytest.raises(ProgramProblem, match="holds no card"):
        governing.revoke(timed.app, timed.here, new_wallet(), "never here", quiet)


def test_a_proposal_is_taken_back_by_the_key_that_made_it_else_by_the_owner(timed: Timed) -> None:
    lost = new_wallet()
    timed.mint(f"{lost},gold,never")
    for taker in ("guard", "owner"):
        propose(timed, lost, new_wallet())
        before = timed.nonces()
        if taker == "owner":
            put_away(timed, "guard")
        assert isinstance(recovering.veto(timed.app, timed.here, lost, quiet), Done)
        assert timed.app.node.nonce(timed.address(taker)) == before[taker] + 1
        assert recovering.standing(timed.here, lost) is None
    with pytest.raises(ProgramProblem, match="no recovery of"):
        recovering.veto(timed.app, timed.here, lost, quiet)


def test_a_proposal_that_has_ended_makes_room_for_the_next(timed: Timed) -> None:
    lost, new = new_wallet(), new_wallet()
    timed.mint(f"{lost},gold,never")
    propose(timed, lost, new_wallet())
    with pytest.raises(ProgramProblem, match="stands already"):
        propose(timed, lost, new)
    timed.clock.forward(DELAY + timedelta(days=15))
    timed.mint(f"{new_wallet()},gold,never")
    assert recovering.standing(timed.here, lost) is None
    propose(timed, lost, new)
    assert getattr(recovering.standing(timed.here, lost), "to", None) == new


def test_what_can_not_be_recovered_is_said_before_anything_is_sent(timed: Timed) -> None:
    lost, member, leaver = new_wallet(), new_wallet(), new_member()
    timed.mint(f"{lost},gold,never", f"{member},gold,never", f"{leaver.address},gold,never")
    timed.leave(leaver)
    before = timed.nonces()
    with pytest.raises(ProgramProblem, match="is the program's own contract for stamps, not a wallet"):
        propose(timed, lost, timed.here.stamps.address)
    for target in (member, leaver.address, lost):
        with pytest.raises(Reverted):
            propose(timed, lost, target)
    with pytest.raises(Reverted):
        propose(timed, new_wallet(), new_wallet())
    assert timed.nonces() == before


def test_where_no_key_here_may_propose_the_transaction_is_handed_out(timed: Timed) -> None:
    lost = new_wallet()
    timed.mint(f"{lost},gold,never")
    owner, guard = timed.address("owner"), timed.address("guard")
    powers = replace(timed.program.powers, owner=owner, guardians=(guard,))
    elsewhere = World(timed.app, replace(timed.program, powers=powers))
    put_away(timed, "owner")
    put_away(timed, "guard")
    found = recovering.propose(elsewhere.app, elsewhere.here, lost, new_wallet(), "phone lost", quiet)
    assert isinstance(found, Unsigned)
    assert found.signer == guard


def put_away(world: World, key: str) -> None:
    """The key lies on another machine now."""
    (world.app.keystore.folder / f"{key}.json").rename(world.app.keystore.folder / f"{key}.away")
