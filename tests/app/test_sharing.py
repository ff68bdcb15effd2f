"""A program's keys share what waits: an idle one takes over from one that can't go on or has too much."""

import pytest

from nftloyalty.app import minting, sending, sharing
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.leases import Lease
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.store import intents, signers
from nftloyalty.store.engine import begin, read
from tests.app.build import World, new_wallet, program_text
from tests.app.conftest import Anew

POWERS = """opener = "owner"
owner = "owner"
minters = {minters}
signers = ["hot"]
managers = ["desk"]
guardians = ["guard"]
"""


def two_minters(anew: Anew, minters: str = '["hot", "desk"]') -> World:
    """A program whose second minter has been used before, and has nothing to do now."""
    world = anew(program_text(powers=POWERS.format(minters=minters)))
    row_of(world, "desk")
    return world


def row_of(world: World, key: str) -> int:
    chain = world.here.attached.row
    with begin(world.app.engine) as tx:
        return signers.register(tx, chain, world.address(key)).id


def accept(world: World, count: int) -> list[str]:
    wallets = [new_wallet() for _ in range(count)]
    minting._accept(world.app, world.here, world.plan(*[f"{wallet},gold,never" for wallet in wallets]))
    return wallets


def take_over(world: World, key: str = "desk") -> int:
    return sharing.take_over(world.app, world.here, world.address(key), [world.address("hot"), world.address("desk")])


def waiting(world: World, key: str) -> int:
    row, program = row_of(world, key), world.here.row.id
    with read(world.app.engine) as tx:
        counts = intents.unfinished(tx, program, Kind.MINT_CARD, signer=row)
    return counts.get(IntentState.RECEIVED, 0)


def test_what_nobody_sends_is_taken_over_and_minted_once(anew: Anew) -> None:
    world = two_minters(anew)
    wallets = accept(world, 3)
    assert take_over(world) == 3
    assert (waiting(world, "hot"), waiting(world, "desk")) == (0, 3)
    here = world.here
    with sending.Sender(world.app, here.attached, signer_of(world.app, "desk"), finality_blocks=None) as engine:
        while engine.step():
            pass
    report = minting.mint(world.app, here, world.plan(*[f"{wallet},gold,never" for wallet in wallets]))
    assert (report.total, report.final) == (3, 3)
    assert here.membership.total_supply() == 3


def test_a_mint_does_not_wait_for_a_key_that_nobody_sends_for(anew: Anew) -> None:
    world = two_minters(anew)
    wallets = accept(world, 2)
    assert take_over(world) == 2
    here = world.here
    with sending.Sender(world.app, here.attached, signer_of(world.app, "desk"), finality_blocks=None) as engine:
        engine._reserve(engine._gather().ready)
    report = minting.mint(world.app, here, world.plan(*[f"{wallet},gold,never" for wallet in wallets]))
    assert (report.final, report.waiting) == (0, 2)


def test_a_key_that_goes_on_keeps_what_it_will_send_soon(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sharing, "KEPT", 2)
    world = two_minters(anew)
    accept(world, 7)
    lease = Lease(world.app, row_of(world, "hot"))
    assert take_over(world) == 2
    assert (waiting(world, "hot"), waiting(world, "desk")) == (5, 2)
    lease.release()


@pytest.mark.parametrize("trouble", ["halted", "out of funds"])
def test_a_key_that_is_stuck_gives_all_away_though_its_sender_lives(anew: Anew, trouble: str) -> None:
    world = two_minters(anew)
    accept(world, 3)
    row = row_of(world, "hot")
    lease = Lease(world.app, row)
    with begin(world.app.engine) as tx:
        if trouble == "halted":
            signers.halt(tx, row, "foreign nonce 7")
        else:
            signers.note_waiting(tx, row, "0x12 has no coins", world.app.now(), alone=True)
    assert take_over(world) == 3
    lease.release()


def test_a_key_that_has_work_of_its_own_takes_nothing(anew: Anew) -> None:
    world = two_minters(anew)
    accept(world, 2)
    assert take_over(world) == 2
    accept(world, 2)
    assert take_over(world) == 0


def test_a_key_that_may_not_mint_takes_no_mints(anew: Anew) -> None:
    world = two_minters(anew, minters='["hot"]')
    accept(world, 2)
    assert take_over(world) == 0
    assert waiting(world, "hot") == 2


def test_a_managers_key_pays_for_no_mints_though_it_could(anew: Anew) -> None:
    """A worker sends its acts; program.toml names it for no other work."""
    world = two_minters(anew)
    accept(world, 2)
    assert sharing.take_over(world.app, world.here, world.address("desk"), [world.address("hot")]) == 0
    assert waiting(world, "hot") == 2


def test_a_halted_key_takes_nothing(anew: Anew) -> None:
    world = two_minters(anew)
    accept(world, 2)
    row = row_of(world, "desk")
    with begin(world.app.engine) as tx:
        signers.halt(tx, row, "foreign nonce 7")
    assert take_over(world) == 0


def test_what_all_keys_wait_for_makes_nothing_change_hands(anew: Anew) -> None:
    world = two_minters(anew)
    accept(world, 3)
    rows = {key: row_of(world, key) for key in ("hot", "desk")}
    leases = [Lease(world.app, row) for row in rows.values()]
    keys = [world.address("hot"), world.address("desk")]
    for mine in keys:
        for key, row in rows.items():
            why = "today's quota is used up" if waiting(world, key) else None
            with begin(world.app.engine) as tx:
                signers.note_waiting(tx, row, why, world.app.now())
        assert sharing.take_over(world.app, world.here, mine, keys) == 0
    for lease in leases:
        lease.release()
