"""How signers stand, and a halted one that goes on: whatever happened to its key, nothing is minted twice."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from nftloyalty.app import claiming, governing, requesting, signing, waiting
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import Sender, work
from nftloyalty.app.signing import Finding, Resumption
from nftloyalty.chain.contracts import Membership
from nftloyalty.chain.signer import Signer, TxFields
from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.domain.words import card_item
from nftloyalty.errors import BadInput, ChainProblem, SignerBusy, SignerHalted, SigningProblem
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow
from nftloyalty.store.slots import AttemptRow
from tests.app.build import COIN, World, new_wallet
from tests.app.conftest import Anew
from tests.chain.opened import transact


def hot(world: World) -> Signer:
    return signer_of(world.app, "hot")


def look(world: World) -> Resumption:
    return signing.look_into(world.app, world.here.attached, world.program, "hot")


def halted(world: World) -> str | None:
    return next(
        each.halted for each in signing.standings(world.app, world.here.attached, world.program) if each.name == "hot"
    )


def halt(world: World, key: str, reason: str = "foreign nonce 0") -> int:
    """As a sender does; returns the signer's row."""
    chain, address = world.here.attached.row, world.address(key)
    with begin(world.app.engine) as tx:
        row = signers.register(tx, chain, address).id
        signers.halt(tx, row, reason)
    return row


def use_elsewhere(world: World, times: int = 1) -> None:
    """The key sends coins from another wallet program."""
    for _ in range(times):
        assert transact(world.app.node, hot(world), new_wallet(), b"", 1).succeeded


def supply(world: World) -> int:
    return world.here.membership.total_supply()


class Copy:
    """A copy of a world's database, made now and put back later: a restored backup."""

    def __init__(self, world: World, folder: Path) -> None:
        self._world = world
        self._file = Path(str(world.app.engine.url.database))
        self._copy = folder / "backup.db"
        world.app.engine.dispose()
        shutil.copyfile(self._file, self._copy)

    def restore(self) -> None:
        self._world.app.engine.dispose()
        for left in (Path(f"{self._file}-wal"), Path(f"{self._file}-shm")):
            left.unlink(missing_ok=True)
        shutil.copyfile(self._copy, self._file)


def accept_only(world: World, monkeypatch: pytest.MonkeyPatch, *rows: str) -> None:
    """A mint that is killed as soon as its rows are accepted."""

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr("nftloyalty.app.minting.work", killed)
        world.mint(*rows)


# ------------------------------------------------------------------------------------------------------------- standing


def test_everyone_named_and_everyone_who_sent_is_shown(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")
    wallets = [new_wallet() for _ in range(3)]
    accept_only(world, monkeypatch, *(f"{wallet},gold,never" for wallet in wallets))
    shown = {each.name: each for each in signing.standings(world.app, world.here.attached, world.program)}
    assert shown["owner"].powers == ("opener", "owner")
    assert shown["hot"].powers == ("minter", "signer")
    assert shown["owner"].nonce == 1
    assert shown["owner"].books is not None and shown["owner"].books.next_nonce == 1
    assert shown["guard"].books is None
    assert shown["guard"].balance_wei == 10 * COIN
    books = shown["hot"].books
    assert books is not None
    assert [(group.kind.value, group.count) for group in books.waiting] == [("mint-card", 3)]
    assert shown["hot"].halted is None


def test_what_is_under_way_is_shown_with_its_attempts(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    world = anew("")

    def lost(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(Sender, "_send", lost)
        world.mint(f"{new_wallet()},gold,never")
    shown = {each.name: each for each in signing.standings(world.app, world.here.attached, world.program)}
    books = shown["hot"].books
    assert books is not None
    (slot,) = books.slots
    assert (slot.nonce, slot.state, slot.attempts) == (0, SlotState.BROADCASTING, 1)
    assert slot.tx_hash is not None


# ---------------------------------------------------------------------------------------------------- the key elsewhere


def test_a_key_that_was_used_elsewhere_goes_on_after_a_look(anew: Anew) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    use_elsewhere(world, 2)
    row = f"{new_wallet()},gold,never"
    with pytest.raises(SignerHalted):
        world.mint(row)
    found = look(world)
    assert [(use.sent.nonce, use.finding, use.to_us) for use in found.uses] == [
        (1, Finding.FOREIGN, False),
        (2, Finding.FOREIGN, False),
    ]
    assert halted(world) is not None  # looking changes nothing
    signing.resume(world.app, found)
    assert world.mint(row).final == 1
    assert supply(world) == 2
    assert world.app.node.nonce(world.address("hot")) == 4


def test_a_signer_that_is_not_halted_is_left_alone(anew: Anew) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    with pytest.raises(SigningProblem, match="is not halted, and chain and books agree; nothing was changed"):
        look(world)
    with pytest.raises(SigningProblem, match="has never sent anything from here"):
        signing.look_into(world.app, world.here.attached, world.program, "guard")


def test_a_false_halt_is_lifted(anew: Anew) -> None:
    """The node's receipts lagged behind its nonces; by now both agree."""
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    halt(world, "hot", "foreign nonce 0")
    found = look(world)
    assert found.uses == ()
    signing.resume(world.app, found)
    assert halted(world) is None
    assert world.mint(f"{new_wallet()},gold,never").final == 1


def test_beside_a_running_sender_nothing_is_resumed(anew: Anew) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    with Sender(world.app, world.here.attached, hot(world), finality_blocks=None):
        halt(world, "hot", "a reason")
        found = look(world)
        with pytest.raises(SignerBusy):
            signing.resume(world.app, found)
    assert halted(world) == "a reason"


def test_books_that_move_between_look_and_word_are_not_written(anew: Anew) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    use_elsewhere(world)
    with pytest.raises(SignerHalted):
        world.mint(f"{new_wallet()},gold,never")
    first, second = look(world), look(world)
    signing.resume(world.app, first)
    with pytest.raises(SigningProblem, match="have moved since"):
        signing.resume(world.app, second)


def test_what_is_not_final_is_not_taken_for_good(anew: Anew) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    use_elsewhere(world)
    with pytest.raises(SignerHalted):
        world.mint(f"{new_wallet()},gold,never")
    later = replace(world.program, chain=replace(world.program.chain, finality_blocks=5))
    with pytest.raises(ChainProblem, match="with nonce 1 is not final yet") as told:
        signing.look_into(world.app, world.here.attached, later, "hot")
    assert "few minutes" in told.value.mend
    assert halted(world) is not None


def test_an_act_whose_nonce_went_to_somebody_else_is_over(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Signed and never sent, while the key was used elsewhere: the slot is foreign, and nothing is done later."""
    world = anew("")
    _lose_what_is_signed(world, monkeypatch, "guard", lambda: governing.pause(world.app, world.here, lambda: None))
    assert waiting.unfinished(world.app, world.here.attached, world.program) == []
    assert not world.here.membership.paused()
    governing.pause(world.app, world.here, lambda: None)
    assert world.here.membership.paused()
    assert world.app.node.nonce(world.address("guard")) == 2


def test_an_act_on_a_member_whose_nonce_went_to_somebody_else_waits_and_is_done_once(
    anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It may have been asked for over HTTP, where nobody stands by to ask for it again."""
    world = anew("")
    wallet = new_wallet()
    world.mint(f"{wallet},member,never")

    def gold() -> None:
        governing.set_tier(world.app, world.here, wallet, 2, lambda: None)

    _lose_what_is_signed(world, monkeypatch, "desk", gold)
    (left,) = waiting.unfinished(world.app, world.here.attached, world.program)
    assert (left.kind, left.waiting, left.acts) == (Kind.SET_TIER, 1, (f"make {wallet} Gold",))
    gold()
    assert requesting.card_of(world.here, wallet).tier == 2
    assert world.app.node.nonce(world.address("desk")) == 2


def _lose_what_is_signed(world: World, monkeypatch: pytest.MonkeyPatch, name: str, act: Callable[[], object]) -> None:
    """Signed and never sent, while the key was used elsewhere; then the key is let go on."""

    def lost(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(Sender, "_send", lost)
        act()
    assert transact(world.app.node, signer_of(world.app, name), new_wallet(), b"", 1).succeeded
    row = halt(world, name)
    found = signing.look_into(world.app, world.here.attached, world.program, name)
    assert [(use.finding, use.slot is not None) for use in found.uses] == [(Finding.FOREIGN, True)]
    signing.resume(world.app, found)
    with read(world.app.engine) as tx:
        assert slots.open_slots(tx, row) == []


def test_what_was_to_be_taken_back_is_not_done_later_when_its_nonce_went_elsewhere(
    anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},member,never")

    def lost(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(Sender, "_send", lost)
        world.mint(f"{new_wallet()},member,never")
    with begin(world.app.engine) as tx:
        row = next(each.id for each in signers.list_all(tx, 1) if each.address == world.address("hot"))
        assert slots.ask_cancel(tx, row, None, world.app.now()) == 1
    assert transact(world.app.node, signer_of(world.app, "hot"), new_wallet(), b"", 1).succeeded
    halt(world, "hot")
    signing.resume(world.app, signing.look_into(world.app, world.here.attached, world.program, "hot"))
    with read(world.app.engine) as tx:
        assert slots.open_slots(tx, row) == []
        assert intents.received_of(tx, row) == []
    assert world.here.membership.total_supply() == 1


# ------------------------------------------------------------------------------------------------------ an old database


def test_rows_that_a_lost_database_sent_are_taken_in_and_not_sent_again(
    anew: Anew, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = anew("")
    rows = [f"{new_wallet()},gold,never" for _ in range(4)]
    stamped = new_wallet()
    world.mint(f"{new_wallet()},gold,never")
    accept_only(world, monkeypatch, *rows)
    backup = Copy(world, tmp_path)
    assert world.mint(*rows).final == 4
    world.stamp("latte", stamped)
    backup.restore()
    with pytest.raises(SignerHalted):
        world.mint(*rows)
    found = look(world)
    assert [(use.finding, len(use.members), use.to_us) for use in found.uses] == [
        (Finding.COPY, 4, True),
        (Finding.COPY, 0, True),
    ]
    assert [(each.kind, each.recipient) for each in found.uses[1].minted] == [(Kind.MINT_STAMP, stamped)]
    signing.resume(world.app, found)
    report = world.mint(*rows)
    assert (report.final, report.rejected) == (4, ())
    assert world.stamp("latte", stamped).final == 1
    assert supply(world) == 5
    assert world.app.node.nonce(world.address("hot")) == 3


def test_acts_on_members_that_a_lost_database_sent_are_taken_in_and_not_sent_again(anew: Anew, tmp_path: Path) -> None:
    world = anew("")
    here, wallets = world.here, [new_wallet() for _ in range(3)]
    world.mint_outside(*wallets)
    # By the key desk, which the books know from now on.
    governing.set_tier(world.app, here, wallets[2], 2, lambda: None)
    wanted = [requesting.SetTier(wallet, 2) for wallet in wallets[:2]]
    revoked = requesting.revocation(here, wallets[2], "a reason")
    acts = []
    for request in (requesting.tiers(world.app, here, wanted), revoked):
        prepared = requesting.prepare(world.app, here, request)
        with begin(world.app.engine) as tx:
            acts += [each.row for each in requesting.accept(world.app, tx, prepared)]
    backup = Copy(world, tmp_path)
    assert [bring(world, "desk", act) for act in acts] == [IntentState.FINAL] * 3
    sent = world.app.node.nonce(world.address("desk"))
    backup.restore()
    found = signing.look_into(world.app, here.attached, world.program, "desk")
    assert sorted((use.finding, len(use.members)) for use in found.uses) == [(Finding.COPY, 1), (Finding.COPY, 2)]
    signing.resume(world.app, found)
    assert [bring(world, "desk", act) for act in acts] == [IntentState.FINAL] * 3
    assert world.app.node.nonce(world.address("desk")) == sent


def test_a_claim_that_another_key_took_over_in_the_lost_database_is_done(anew: Anew, tmp_path: Path) -> None:
    """Sent in once more it would be refused as used, and told as rejected though the card is there."""
    world = anew("")
    here, member = world.here, new_wallet()
    world.mint(f"{member},member,never")
    governing.set_tier(world.app, here, member, 2, lambda: None)  # by the key desk, which the books know from now on
    deadline = world.app.now() + timedelta(days=1)
    signed = claiming.create_card(world.app, here, new_wallet(), tier=2, expires_at=0, deadline=deadline)
    claim = claiming.accept_claim(world.app, here, signed)
    backup = Copy(world, tmp_path)
    with begin(world.app.engine) as tx:
        desk = signers.register(tx, here.attached.row, world.address("desk")).id
        assert intents.hand_over(tx, desk, claim.signer, here.row.id, {claim.kind}, 1, world.app.now()) == 1
    bring(world, "desk", claim)
    backup.restore()
    found = signing.look_into(world.app, here.attached, world.program, "desk")
    assert [(use.finding, len(use.members)) for use in found.uses] == [(Finding.COPY, 1)]
    signing.resume(world.app, found)
    assert bring(world, "desk", claim) is IntentState.FINAL
    assert supply(world) == 2


def bring(world: World, key: str, intent: IntentRow) -> IntentState:
    """Send for the key until the intent has ended."""

    def state() -> IntentState:
        with read(world.app.engine) as tx:
            return intents.get(tx, intent.public_id).state

    over = (IntentState.FINAL, IntentState.REJECTED)
    work(world.app, world.here.attached, signer_of(world.app, key), finality_blocks=None, done=lambda: state() in over)
    return state()


def test_rows_that_only_the_lost_database_knew_are_done_for_the_same_file(anew: Anew, tmp_path: Path) -> None:
    """The backup is from before the file was run at all. Nobody is halted yet: the books are just behind."""
    world = anew("")
    first = f"{new_wallet()},gold,never"
    world.mint(first)
    backup = Copy(world, tmp_path)
    rows = [f"{new_wallet()},gold,2049-12-31" for _ in range(3)]
    again = f"{new_wallet()},member,never"
    assert world.mint(*rows, again).final == 4
    backup.restore()
    with pytest.raises(BadInput):
        world.plan(*rows)  # members already, as far as these books know
    found = look(world)
    assert [(use.finding, len(use.members), len(use.minted)) for use in found.uses] == [(Finding.COPY, 0, 4)]
    signing.resume(world.app, found)
    assert halted(world) is None
    report = world.mint(first, *rows, again)
    assert (report.final, report.rejected) == (5, ())
    assert supply(world) == 5
    assert world.app.node.nonce(world.address("hot")) == 2
    with pytest.raises(BadInput, match="1 problem"):
        world.plan(again.replace("member", "gold"))


def test_a_row_that_was_withdrawn_in_the_backup_and_minted_since_is_done(
    anew: Anew, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    row = f"{new_wallet()},gold,never"
    accept_only(world, monkeypatch, row)
    waiting.withdraw(world.app, world.here.attached, world.program)
    backup = Copy(world, tmp_path)
    assert world.mint(row).final == 1
    backup.restore()
    signing.resume(world.app, look(world))
    assert world.mint(row).final == 1
    assert supply(world) == 2


def test_a_row_that_was_minted_otherwise_than_it_waits_is_known_as_it_is(
    anew: Anew, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    wallet = new_wallet()
    accept_only(world, monkeypatch, f"{wallet},member,never")
    backup = Copy(world, tmp_path)
    waiting.withdraw(world.app, world.here.attached, world.program)
    assert world.mint(f"{wallet},gold,never").final == 1
    backup.restore()
    signing.resume(world.app, look(world))
    assert world.mint(f"{wallet},gold,never").final == 1
    with pytest.raises(BadInput) as told:
        world.plan(f"{wallet},member,never")
    assert "as Gold for life" in str(told.value.problems[0])
    assert requesting.card_of(world.here, wallet).tier == 2


def test_a_transaction_that_a_lost_copy_has_paid_more_for_is_taken_in(
    anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """These books signed once; the transaction on chain says the same with other fees, so another hash."""
    world = anew("")
    row = f"{new_wallet()},gold,never"

    def dearer(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        (attempt,) = attempts
        with read(world.app.engine) as tx:
            slot = slots.get(tx, attempt.slot)
        fields = TxFields(
            world.here.attached.chain_id,
            slot.nonce,
            slot.to_address,
            slot.calldata,
            slot.value,
            slot.gas_limit,
            attempt.max_fee_wei * 2,
            attempt.priority_fee_wei,
        )
        world.app.node.send_raw(hot(world).sign_transaction(fields).raw)
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(Sender, "_send", dearer)
        world.mint(row)
    assert supply(world) == 1
    halt(world, "hot", "foreign nonce 0")
    found = look(world)
    assert [use.finding for use in found.uses] == [Finding.SLOT]
    signing.resume(world.app, found)
    assert world.mint(row).final == 1
    assert supply(world) == 1
    assert world.app.node.nonce(world.address("hot")) == 1


def test_a_batch_that_failed_has_carried_out_nothing(
    anew: Anew, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A lost copy has sent the rows while the program was paused: they still wait."""
    world = anew("")
    wallet = new_wallet()
    world.mint(f"{new_wallet()},gold,never")
    accept_only(world, monkeypatch, f"{wallet},gold,never")
    membership = world.here.membership
    governing.pause(world.app, world.here, lambda: None)
    data = membership.encode_mint_batch([card_item(wallet, 2, 0)])
    assert not transact(world.app.node, hot(world), membership.address, data, gas=500_000).succeeded
    governing.unpause(world.app, world.here, lambda: None)
    with pytest.raises(SignerHalted):
        world.mint(f"{wallet},gold,never")
    found = look(world)
    assert [(use.finding, use.succeeded) for use in found.uses] == [(Finding.FOREIGN, False)]
    signing.resume(world.app, found)
    assert world.mint(f"{wallet},gold,never").final == 1


def test_a_batch_that_names_somebody_twice_is_taken_in(anew: Anew) -> None:
    """Made by another tool with the same key: the contract mints one and skips the other."""
    world = anew("")
    world.mint(f"{new_wallet()},gold,never")
    twice = new_wallet()
    data = Membership.encode_mint_batch([card_item(twice, 2, 0), card_item(twice, 2, 0)])
    assert transact(world.app.node, hot(world), world.here.membership.address, data, gas=500_000).succeeded
    signing.resume(world.app, look(world))
    assert world.mint(f"{twice},gold,never").final == 1
    assert supply(world) == 2
