from collections.abc import Callable
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine

from nftloyalty.domain.intent import IllegalTransition, IntentState
from nftloyalty.errors import SignerBusy, SignerHalted, SigningProblem, Unknown
from nftloyalty.store import chains, sending, signers, slots
from nftloyalty.store.engine import begin, read
from tests.store.build import (
    CHAIN_ID,
    GENESIS,
    MINTER,
    NOW,
    Ground,
    accepted,
    counts,
    everything,
    finalise,
    include,
    inclusion,
    mark_sent,
    new_slot,
    prepared,
    reserved,
    run_together,
    sent,
    settle,
    signed,
    waiting_cards,
)


def alive(owner: str) -> bool:
    return True


def dead(owner: str) -> bool:
    return False


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


def test_a_signer_is_registered_once(engine: Engine) -> None:
    with begin(engine) as tx:
        chain = chains.known_chain(tx, CHAIN_ID, GENESIS, NOW)
        row = signers.register(tx, chain, MINTER)
        assert signers.register(tx, chain, MINTER) == row == signers.get(tx, row.id)
    assert (row.next_nonce, row.halted, row.lease_owner, row.lease_epoch) == (None, None, None, 0)


def test_counting_begins_once(engine: Engine) -> None:
    with begin(engine) as tx:
        row = signers.register(tx, chains.known_chain(tx, CHAIN_ID, GENESIS, NOW), MINTER)
        assert signers.set_next_nonce_first_time(tx, row.id, 41) == 41
        assert signers.set_next_nonce_first_time(tx, row.id, 99) == 41
        with pytest.raises(Unknown):
            signers.set_next_nonce_first_time(tx, row.id + 1, 0)


def test_each_taking_of_the_lease_raises_the_epoch(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        assert ground.epoch == 1
        assert signers.release_lease(tx, ground.signer, "me", 1)
        assert signers.take_lease(tx, ground.signer, "me", NOW, 60, alive) == 2
        row = signers.get(tx, ground.signer)
    assert (row.lease_owner, row.lease_epoch, row.lease_until) == ("me", 2, NOW + timedelta(seconds=60))


@pytest.mark.parametrize("owner", ["me", "other"])
def test_a_living_owner_keeps_its_lease_until_it_ends(engine: Engine, ground: Ground, owner: str) -> None:
    before_end, end = NOW + timedelta(seconds=59.9), NOW + timedelta(seconds=60)
    with begin(engine) as tx:
        with pytest.raises(SignerBusy, match="me until 12:01:00"):
            signers.take_lease(tx, ground.signer, owner, before_end, 60, alive)
        assert signers.take_lease(tx, ground.signer, owner, end, 60, alive) == 2


def test_a_dead_owner_loses_its_lease_at_once(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        assert signers.take_lease(tx, ground.signer, "other", NOW, 60, lambda owner: owner != "me") == 2
        assert signers.get(tx, ground.signer).lease_owner == "other"


def test_a_renewed_lease_lasts_longer(engine: Engine, ground: Ground) -> None:
    later = NOW + timedelta(seconds=50)
    with begin(engine) as tx:
        signers.renew_lease(tx, ground.signer, "me", ground.epoch, later, 60)
        with pytest.raises(SignerBusy):
            signers.take_lease(tx, ground.signer, "other", later + timedelta(seconds=59), 60, alive)


def test_an_ended_lease_that_nobody_took_can_be_renewed(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        signers.renew_lease(tx, ground.signer, "me", ground.epoch, NOW + timedelta(hours=1), 60)


def test_an_unknown_signer_is_said_to_be_so(engine: Engine) -> None:
    with begin(engine) as tx:
        for ask in (
            lambda: signers.get(tx, 1),
            lambda: signers.take_lease(tx, 1, "me", NOW, 60, alive),
            lambda: signers.take_nonces(tx, 1, 1, 1),
        ):
            with pytest.raises(Unknown):
                ask()


def fenced_writes(tx: Connection, ground: Ground) -> list[Callable[[], object]]:
    """Every write that a sender makes, as one whose epoch is that of `ground`."""
    waiting = accepted(tx, ground, [1])
    slot, attempt = sent(tx, ground, accepted(tx, ground, [2]))
    other, another = sent(tx, ground, accepted(tx, ground, [3]))
    included, its = sent(tx, ground, accepted(tx, ground, [4]))
    include(tx, ground, included.id, its)
    signer, epoch = ground.signer, ground.epoch
    return [
        lambda: signers.hold(tx, signer, epoch),
        lambda: signers.renew_lease(tx, signer, "me", epoch, NOW, 60),
        lambda: signers.take_nonces(tx, signer, epoch, 2),
        lambda: reserved(tx, ground, waiting),
        lambda: signed(tx, ground, slot.id),
        lambda: mark_sent(tx, ground, attempt, another),
        lambda: settle(tx, ground, inclusion(slot.id, attempt), inclusion(other.id, another)),
        lambda: finalise(tx, ground, included.id),
    ]


@pytest.mark.parametrize("lost", ["taken over", "released", "retaken by the same owner"])
def test_a_fenced_out_sender_changes_nothing(engine: Engine, ground: Ground, lost: str) -> None:
    with begin(engine) as tx:
        writes = fenced_writes(tx, ground)
        if lost == "released":
            signers.release_lease(tx, ground.signer, "me", ground.epoch)
        else:
            owner = "other" if lost == "taken over" else "me"
            signers.take_lease(tx, ground.signer, owner, NOW, 60, dead)
        before = everything(tx)
        for write in writes:
            with pytest.raises(SignerBusy, match="lost"):
                write()
            assert everything(tx) == before
        assert not signers.release_lease(tx, ground.signer, "me", ground.epoch)
        assert everything(tx) == before


def test_a_signer_that_never_asked_the_chain_hands_out_no_nonce(engine: Engine) -> None:
    with begin(engine) as tx:
        row = signers.register(tx, chains.known_chain(tx, CHAIN_ID, GENESIS, NOW), MINTER)
        epoch = signers.take_lease(tx, row.id, "me", NOW, 60, alive)
        with pytest.raises(SigningProblem, match="never asked"):
            signers.take_nonces(tx, row.id, epoch, 1)


def test_a_halted_signer_makes_no_new_slots_and_finishes_the_open_ones(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        slot = reserved(tx, ground, accepted(tx, ground, [1]))
        waiting = accepted(tx, ground, [2])
        signers.halt(tx, ground.signer, "foreign nonce 7")
        signers.halt(tx, ground.signer, "a consequence")
        with pytest.raises(SignerHalted, match="foreign nonce 7"):
            reserved(tx, ground, waiting)
        mark_sent(tx, ground, signed(tx, ground, slot.id))
        signers.resume(tx, ground.signer)
        assert reserved(tx, ground, waiting).nonce == 1


def test_what_a_sender_waits_for_is_written_down_with_the_time_it_began(engine: Engine, ground: Ground) -> None:
    later = NOW + timedelta(minutes=5)
    with begin(engine) as tx:
        assert (signers.get(tx, ground.signer).waits_for, signers.get(tx, ground.signer).waits_since) == (None, None)
        signers.note_waiting(tx, ground.signer, "gas is dear", NOW)
        signers.note_waiting(tx, ground.signer, "gas is dear", later)
        row = signers.get(tx, ground.signer)
        assert (row.waits_for, row.waits_since) == ("gas is dear", NOW)
        signers.note_waiting(tx, ground.signer, "there is no money", later)
        row = signers.get(tx, ground.signer)
        assert (row.waits_for, row.waits_since) == ("there is no money", later)
        signers.note_waiting(tx, ground.signer, None, later)
        row = signers.get(tx, ground.signer)
        assert (row.waits_for, row.waits_since) == (None, None)


def test_competing_senders_make_one_row_of_nonces(engine: Engine, ground: Ground) -> None:
    """Two senders that steal the lease from each other all the time: no gap, no double, no intent twice."""
    with begin(engine) as tx:
        signers.release_lease(tx, ground.signer, "me", ground.epoch)
        accepted(tx, ground, range(60))
    made: list[int] = []
    fenced: list[str] = []

    def work(owner: str) -> None:
        while True:
            with begin(engine) as tx:
                epoch = signers.take_lease(tx, ground.signer, owner, NOW, 60, dead)
            try:
                for _ in range(3):
                    with read(engine) as tx:
                        waiting = waiting_cards(tx, ground, limit=3)
                    if not waiting:
                        return
                    with begin(engine) as tx:
                        each = [new_slot([row]) for row in waiting]
                        taken = sending.reserve(tx, ground.signer, epoch, each, NOW)
                    made.extend(slot.nonce for slot in taken)
            except (SignerBusy, IllegalTransition):
                fenced.append(owner)

    run_together([lambda owner=owner: work(owner) for owner in ("one", "two", "three")])  # type: ignore[misc]
    assert sorted(made) == list(range(60))
    assert fenced, "they never met: the test shows nothing"
    with read(engine) as tx:
        assert signers.get(tx, ground.signer).next_nonce == 60
        assert counts(tx, ground.program) == {IntentState.BATCHED: 60}
        assert [slot.slot.nonce for slot in slots.open_slots(tx, ground.signer)] == list(range(60))
