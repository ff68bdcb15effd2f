"""What waits is shown with its reason, and can be withdrawn without hurting what is under way."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta

import pytest

from nftloyalty.app import deploying, governing, waiting
from nftloyalty.app.calls import ACTS
from nftloyalty.app.gathering import Gathering, Ready, Spoiled
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender
from nftloyalty.app.settling import halt
from nftloyalty.app.waiting import Unfinished, telling_what_stays
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.program import Program
from nftloyalty.domain.roster import Outcome
from nftloyalty.errors import ChainProblem, NodeUnreachable, Unknown
from nftloyalty.store.intents import WaitingRow
from nftloyalty.store.slots import AttemptRow, SlotRow
from tests.app.build import World, new_wallet, program_of, program_text
from tests.app.conftest import Anew


def killed(*_: object, **__: object) -> None:
    raise SystemExit


def accept_only(world: World, monkeypatch: pytest.MonkeyPatch, act: Callable[[], object]) -> None:
    """A mint that is killed as soon as its rows are accepted."""
    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr("nftloyalty.app.minting.work", killed)
        act()


def shown(world: World) -> list[Unfinished]:
    return waiting.unfinished(world.app, world.here.attached, world.program)


def cancel(world: World, **which: object) -> int:
    return waiting.withdraw(world.app, world.here.attached, world.program, **which)  # type: ignore[arg-type]


def rows(count: int) -> list[str]:
    return [f"{new_wallet()},gold,never" for _ in range(count)]


def test_a_reason_that_can_not_be_asked_for_leaves_the_rest_of_the_list(
    anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = anew("")
    accept_only(world, monkeypatch, lambda: world.mint(*rows(2)))

    def gone(*_: object) -> None:
        raise NodeUnreachable("http://127.0.0.1:9", "it is down")

    monkeypatch.setattr(Gathering, "hindrance", gone)
    (found,) = shown(world)
    assert found.waiting == 2
    assert found.why.startswith("can't be told now: no answer from the node")


def test_an_act_withdrawn_from_beside_is_said_to_be(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    original = Gathering.try_next

    def withdrawn(gathering: Gathering, waits: Sequence[WaitingRow]) -> Ready | Spoiled:
        found = original(gathering, waits)
        cancel(world)
        return found

    monkeypatch.setattr(Gathering, "try_next", withdrawn)
    with pytest.raises(ChainProblem, match="could not pause the program: it was withdrawn before it was sent"):
        governing.pause(world.app, world.here, lambda: None)


def test_what_waits_is_shown_by_kind_and_type_with_its_reason(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    assert shown(world) == []
    accept_only(world, monkeypatch, lambda: world.mint(*rows(3)))
    accept_only(world, monkeypatch, lambda: world.stamp("latte", new_wallet()))
    cards, stamps = shown(world)
    assert (cards.kind, cards.stamp, cards.waiting, cards.under_way, cards.key) == (Kind.MINT_CARD, None, 3, 0, "hot")
    assert (stamps.kind, stamps.stamp, stamps.waiting) == (Kind.MINT_STAMP, "latte", 1)
    assert timedelta(0) <= datetime.now(UTC) - cards.since < timedelta(minutes=1)
    assert cards.why == "nothing is sending it: run `nftloyalty mint` with the same file again"
    governing.pause(world.app, world.here, lambda: None)
    assert {each.why for each in shown(world)} == {"the program is paused"}


def test_a_running_sender_and_a_halted_signer_are_named(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    accept_only(world, monkeypatch, lambda: world.mint(*rows(1)))
    here = world.here
    with Sender(world.app, here.attached, signer_of(world.app, "hot"), finality_blocks=None) as sender:
        assert "being sent by" in shown(world)[0].why
        with pytest.raises(Exception, match="halted"):
            halt(world.app, sender._row, sender.signer.address, "foreign nonce 9")
    assert shown(world)[0].why == "its signer is halted: foreign nonce 9"


@pytest.mark.parametrize(
    ("which", "left"),
    [
        ({}, []),
        ({"kind": Kind.MINT_STAMP}, [(Kind.MINT_CARD, 3)]),
        ({"stamp": "latte"}, [(Kind.MINT_CARD, 3)]),
        ({"stamp": "tasting"}, [(Kind.MINT_CARD, 3), (Kind.MINT_STAMP, 2)]),
        ({"kind": Kind.CLAIM_CARD}, [(Kind.MINT_CARD, 3), (Kind.MINT_STAMP, 2)]),
    ],
)
def test_a_part_of_it_is_withdrawn(
    anew: Anew, monkeypatch: pytest.MonkeyPatch, which: dict[str, object], left: list[tuple[Kind, int]]
) -> None:
    world, other = anew(""), anew("")
    accept_only(other, monkeypatch, lambda: other.mint(*rows(1)))
    accept_only(world, monkeypatch, lambda: world.mint(*rows(3)))
    accept_only(world, monkeypatch, lambda: world.stamp("latte", new_wallet(), new_wallet()))
    assert cancel(world, **which) == 5 - sum(count for _, count in left)
    assert [(each.kind, each.waiting) for each in shown(world)] == left
    assert [(each.kind, each.waiting) for each in shown(other)] == [(Kind.MINT_CARD, 1)]


def test_one_wallet_is_withdrawn_and_the_others_are_minted(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    wrong, right = new_wallet(), new_wallet()
    accept_only(world, monkeypatch, lambda: world.mint(f"{wrong},gold,never", f"{right},gold,never"))
    assert cancel(world, recipient=wrong) == 1
    assert world.mint(f"{right},gold,never").final == 1
    assert [card.exists for card in world.here.membership.words_of([wrong, right])] == [False, True]


def test_an_unknown_stamp_is_named(world: World) -> None:
    with pytest.raises(Unknown, match="no stamp 'tea'"):
        cancel(world, stamp="tea")


def test_the_same_file_asks_for_withdrawn_rows_again(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    file = rows(2)
    accept_only(world, monkeypatch, lambda: world.mint(*file))
    assert cancel(world) == 2
    assert cancel(world) == 0
    assert world.plan(*file).count(Outcome.AGAIN) == 2
    assert world.mint(*file).final == 2
    assert cancel(world) == 0
    assert world.mint(*file).final == 2


def test_what_is_in_a_transaction_is_told_apart_and_stays(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    file = rows(2)
    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(Sender, "_send", killed)
        world.mint(*file)
    late = new_wallet()
    accept_only(world, monkeypatch, lambda: world.mint(f"{late},gold,never"))
    assert [(each.waiting, each.under_way) for each in shown(world)] == [(1, 2)]
    assert cancel(world) == 1
    assert [(each.waiting, each.under_way, each.why) for each in shown(world)] == [(0, 2, "")]
    assert world.mint(*file).final == 2
    assert not world.here.membership.words_of([late])[0].exists


def test_rows_withdrawn_under_a_senders_hands_are_not_sent(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    """The sender has gathered and tried them, and is about to take a nonce."""
    world = anew("")
    file = rows(3)
    gone = file[1].split(",")[0]
    reserve = Sender._reserve

    def meanwhile(engine: Sender, ready: Sequence[Ready]) -> list[SlotRow]:
        monkeypatch.undo()
        assert cancel(world, recipient=gone) == 1
        return reserve(engine, ready)

    monkeypatch.setattr(Sender, "_reserve", meanwhile)
    # It looks again, at what is still asked for.
    world.mint(*file)
    assert not world.here.membership.words_of([gone])[0].exists
    assert all(each.under_way == 0 for each in shown(world))
    assert world.mint(*file).final == 3
    assert world.here.membership.total_supply() == 3


# ---------------------------------------------------------------------------------------------------- what is left over


def notes(error: BaseException) -> str:
    return "\n".join(getattr(error, "__notes__", ()))


def test_an_act_that_is_stopped_tells_what_goes_on(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    wallet = new_wallet()
    world.mint_outside(wallet)

    def no_answer(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        raise NodeUnreachable("http://127.0.0.1:9", "a test")

    with monkeypatch.context() as broken, pytest.raises(NodeUnreachable) as stopped:
        broken.setattr(Sender, "_send", no_answer)
        broken.setattr("nftloyalty.app.sending.RETRY_PAUSES", ())
        governing.set_tier(world.app, world.here, wallet, 2, lambda: None)
    assert f"Under way: 1 (make {wallet} Gold)" in notes(stopped.value)
    assert "run the same command again" in notes(stopped.value)
    assert "cancel" not in notes(stopped.value)


def test_a_deployment_that_is_stopped_tells_what_goes_on(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    other = World(world.app, another_program())
    with monkeypatch.context() as broken, pytest.raises(SystemExit) as stopped:
        broken.setattr(Sender, "_send", killed)
        deploying.deploy(other.app, other.program)
    assert "Under way: 1 (open Bean Club)" in notes(stopped.value)
    assert "nftloyalty deploy" in notes(stopped.value)
    assert not deploying.deploy(other.app, other.program).already_open


def another_program() -> Program:
    return program_of(program_text())


def test_nothing_left_is_nothing_told(world: World) -> None:
    with (
        pytest.raises(KeyError) as stopped,
        telling_what_stays(world.app, world.here.attached.row, world.program.id, ACTS),
    ):
        raise KeyError
    assert notes(stopped.value) == ""


def test_what_waits_can_be_withdrawn(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    accept_only(world, monkeypatch, lambda: world.mint(*rows(2)))
    with (
        pytest.raises(KeyboardInterrupt) as stopped,
        telling_what_stays(world.app, world.here.attached.row, world.program.id, {Kind.MINT_CARD}),
    ):
        raise KeyboardInterrupt
    assert "Accepted and not sent: 2 (mint-card)" in notes(stopped.value)
    assert "nftloyalty waiting cancel --all" in notes(stopped.value)
