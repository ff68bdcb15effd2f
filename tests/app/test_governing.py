"""Powers over an open program: who may do what, what is refused, and what is signed elsewhere."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nftloyalty.app import funding, governing, requesting
from nftloyalty.app.acting import Done, Unsigned
from nftloyalty.app.governing import QuotaOf, Which
from nftloyalty.app.sending import Sender
from nftloyalty.chain.contracts import Membership, QuotaKind
from nftloyalty.domain.address import Address
from nftloyalty.domain.words import Flag, Role, tier_item
from nftloyalty.errors import BadInput, ChainProblem, KeyProblem, OutOfFunds, ProgramProblem, Reverted
from nftloyalty.store.slots import AttemptRow
from nftloyalty.vault.keystore import Keystore
from tests.app.build import COIN, OUTSIDER, PASSWORD, World, does, new_member, new_wallet, program_text
from tests.app.conftest import Anew
from tests.chain.opened import transact


def quiet() -> None:
    """A tick that nobody watches."""


def done(found: Done | Unsigned) -> Done:
    assert isinstance(found, Done)
    return found


def sends_nothing(world: World, nonces: dict[str, int]) -> bool:
    return world.nonces() == nonces


# --------------------------------------------------------------------------------------------------------------- roles


def test_everyone_named_and_the_owner_are_shown_with_their_powers(world: World) -> None:
    shown = {each.name or each.address: each for each in governing.role_holders(world.app, world.here)}
    assert shown["owner"].is_owner and shown["owner"].wanted_owner
    assert shown["hot"].roles == shown["hot"].wanted == Role.MINTER | Role.SIGNER
    assert shown["desk"].roles == Role.MANAGER
    assert shown["guard"].roles == Role.GUARDIAN
    assert shown[OUTSIDER].name is None


def test_a_role_is_given_and_taken_once(world: World) -> None:
    wallet = new_wallet()
    done(governing.grant(world.app, world.here, Role.MANAGER, wallet, quiet))
    assert world.here.membership.roles_of(wallet) == Role.MANAGER
    before = world.nonces()
    with pytest.raises(ProgramProblem, match="is manager already; nothing was sent"):
        governing.grant(world.app, world.here, Role.MANAGER, wallet, quiet)
    done(governing.withdraw(world.app, world.here, Role.MANAGER, wallet, quiet))
    with pytest.raises(ProgramProblem, match="is not manager; nothing was sent"):
        governing.withdraw(world.app, world.here, Role.MANAGER, wallet, quiet)
    assert world.nonces()["owner"] == before["owner"] + 1
    # The same act may be wanted again later: it is a new one then.
    done(governing.grant(world.app, world.here, Role.MANAGER, wallet, quiet))
    done(governing.withdraw(world.app, world.here, Role.MANAGER, wallet, quiet))


@pytest.mark.parametrize("who", ["0x123", "0xabcdefABCDEFabcdefABCDEFabcdefABCDEFabcd"])
def test_a_wrong_address_is_named(world: World, who: str) -> None:
    with pytest.raises(BadInput) as refused:
        governing.grant(world.app, world.here, Role.MINTER, who, quiet)
    assert refused.value.problems[0].place == who


def test_an_unknown_key_is_named(world: World) -> None:
    with pytest.raises(KeyProblem, match="there is no key 'nobody'"):
        governing.grant(world.app, world.here, Role.MINTER, "nobody", quiet)


# --------------------------------------------------------------------------------------------------------------- quotas


def test_a_guardian_lowers_a_quota_and_the_owner_raises_it(world: World) -> None:
    def limit() -> int:
        return world.here.stamps.quota_of(QuotaKind.CLAIM).limit

    first = limit()
    before = world.nonces()
    done(governing.set_quota(world.app, world.here, Which.STAMPS, QuotaOf.CLAIM, first - 1, quiet))
    assert limit() == first - 1
    done(governing.set_quota(world.app, world.here, Which.STAMPS, QuotaOf.CLAIM, first, quiet))
    assert limit() == first
    after = world.nonces()
    assert after == {**before, "guard": before["guard"] + 1, "owner": before["owner"] + 1}
    with pytest.raises(ProgramProblem, match="already; nothing was sent"):
        governing.set_quota(world.app, world.here, Which.STAMPS, QuotaOf.CLAIM, first, quiet)
    assert sends_nothing(world, after)
    shown = {(each.which, each.kind): each.limit for each in governing.quotas(world.here)}
    assert shown[Which.STAMPS, QuotaOf.CLAIM] == first
    assert len(shown) == 6


# ---------------------------------------------------------------------------------------------------------------- pause


def test_the_guardian_pauses_and_the_owner_ends_it(anew: Anew) -> None:
    world = anew("")
    before = world.nonces()
    done(governing.pause(world.app, world.here, quiet))
    assert world.here.membership.paused()
    with pytest.raises(Reverted):
        governing.pause(world.app, world.here, quiet)
    done(governing.unpause(world.app, world.here, quiet))
    assert not world.here.membership.paused()
    assert world.nonces() == {**before, "guard": before["guard"] + 1, "owner": before["owner"] + 1}
    assert world.mint(f"{new_wallet()},gold,never").final == 1


def test_where_nobody_is_guardian_the_owner_pauses(anew: Anew) -> None:
    world = anew("")
    done(governing.withdraw(world.app, world.here, Role.GUARDIAN, "guard", quiet))
    done(governing.pause(world.app, world.here, quiet))
    assert world.here.membership.paused()


def test_any_key_here_that_may_pause_pauses(anew: Anew) -> None:
    """In an emergency the named guardian's key may lie elsewhere: what is at hand and has the power is used."""
    world = anew("")
    safe = new_wallet()
    done(governing.grant(world.app, world.here, Role.GUARDIAN, safe, quiet))
    done(governing.withdraw(world.app, world.here, Role.GUARDIAN, "guard", quiet))
    powers = replace(world.program.powers, guardians=("nowhere", safe))
    elsewhere = replace(world, program=replace(world.program, powers=powers))
    before = world.nonces()
    done(governing.pause(world.app, elsewhere.here, quiet))
    assert world.nonces() == {**before, "owner": before["owner"] + 1}
    done(governing.unpause(world.app, elsewhere.here, quiet))
    # Not named in program.toml at all, but a guardian on chain.
    done(governing.grant(world.app, world.here, Role.GUARDIAN, "desk", quiet))
    app = replace(world.app, keystore=Only(world.app.keystore, "desk"))
    done(governing.pause(app, elsewhere.here, quiet))
    assert world.nonces()["desk"] == before["desk"] + 1


def test_a_key_with_coins_pauses_before_one_without(anew: Anew) -> None:
    world = anew("")
    poor = world.app.keystore.create("poor", PASSWORD)
    done(governing.grant(world.app, world.here, Role.GUARDIAN, poor, quiet))
    powers = replace(world.program.powers, guardians=("poor", "guard"))
    found = replace(world, program=replace(world.program, powers=powers))
    done(governing.pause(world.app, found.here, quiet))
    assert world.app.node.nonce(poor) == 0


class Only(Keystore):
    """A keystore that holds one of another's keys."""

    def __init__(self, other: Keystore, name: str) -> None:
        super().__init__(other.folder, other.work)
        self._name = name

    def names(self) -> list[str]:
        return [self._name]

    def address(self, name: str) -> Address:
        if name != self._name:
            raise KeyProblem(f"there is no key {name!r}")
        return super().address(name)


# -------------------------------------------------------------------------------------------------------------- members


def test_revoke_and_readmit_keep_the_member_number(world: World) -> None:
    wallet = new_wallet()
    world.mint_outside(wallet)
    number = requesting.card_of(world.here, wallet).serial
    with pytest.raises(ProgramProblem, match="holds a card; nothing was sent"):
        governing.readmit(world.app, world.here, wallet, 1, 0, quiet)
    done(governing.revoke(world.app, world.here, wallet, "a reason", quiet))
    card = requesting.card_of(world.here, wallet)
    assert not card.exists and Flag.REVOKED in card.flags
    with pytest.raises(ProgramProblem, match="holds no card; nothing was sent"):
        governing.revoke(world.app, world.here, wallet, "again", quiet)
    done(governing.readmit(world.app, world.here, wallet, 2, 0, quiet))
    card = requesting.card_of(world.here, wallet)
    assert (card.serial, card.tier) == (number, 2)
    done(governing.revoke(world.app, world.here, wallet, "a reason", quiet))
    done(governing.readmit(world.app, world.here, wallet, 2, 0, quiet))
    assert requesting.card_of(world.here, wallet).serial == number


def test_who_never_left_is_not_readmitted(world: World) -> None:
    with pytest.raises(ProgramProblem, match="has neither left nor been revoked; nothing was sent"):
        governing.readmit(world.app, world.here, new_wallet(), 1, 0, quiet)


def test_a_stamp_is_revoked_and_may_return(world: World) -> None:
    wallet = new_wallet()
    world.stamp("latte", wallet)
    done(governing.revoke_stamp(world.app, world.here, wallet, 1, True, "wrong customer", quiet))
    word = world.here.stamps.words_of([wallet])[0]
    assert not word.holds(1)
    assert word.mintable_code(1) is None


def test_the_same_renewal_again_changes_nothing(world: World) -> None:
    wallet = new_wallet()
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=10)
    world.mint_outside(wallet, expires_at=int(ends.timestamp()))
    until = ends + timedelta(days=365)
    renewal = governing.renew(world.app, world.here, wallet, until=until, term=None, tick=quiet)
    assert (renewal.expires_at, renewal.begun_at) == (int(until.timestamp()), None)
    before = world.nonces()
    with pytest.raises(ProgramProblem, match="which is not earlier; nothing was sent"):
        governing.renew(world.app, world.here, wallet, until=until, term=None, tick=quiet)
    assert sends_nothing(world, before)
    assert requesting.card_of(world.here, wallet).expires_at == int(until.timestamp())


def test_a_term_begins_when_the_card_ends(world: World) -> None:
    wallet = new_wallet()
    ends = datetime.now(UTC).replace(microsecond=0) + timedelta(days=10)
    world.mint_outside(wallet, expires_at=int(ends.timestamp()))
    assert renewed(world, wallet) == ends + 30 * DAY


DAY = timedelta(days=1)


def renewed(world: World, wallet: Address, days: int = 30) -> datetime:
    """As the command does it: by a term, and the operator is told."""
    renewal = governing.renew(world.app, world.here, wallet, until=None, term=days * DAY, tick=quiet)
    done(renewal.outcome)
    governing.told(world.app, renewal)
    assert requesting.card_of(world.here, wallet).expires_at == renewal.expires_at
    return datetime.fromtimestamp(renewal.expires_at, UTC)


def with_card_until(world: World, days: int = 10) -> tuple[Address, datetime]:
    wallet = new_wallet()
    ends = datetime.now(UTC).replace(microsecond=0) + days * DAY
    world.mint_outside(wallet, expires_at=int(ends.timestamp()))
    return wallet, ends


def test_two_terms_asked_for_one_after_the_other_are_two(world: World) -> None:
    wallet, ends = with_card_until(world)
    assert renewed(world, wallet) == ends + 30 * DAY
    assert renewed(world, wallet) == ends + 60 * DAY
    assert renewed(world, wallet, 7) == ends + 67 * DAY


@pytest.mark.parametrize("where", ["_accept", "_reserve", "_send", "_settle", "_finalise"])
def test_a_term_is_added_once_wherever_its_run_was_killed(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """Before the step, at each of them; nothing runs behind a kill, so nothing is taken back."""
    wallet, ends = with_card_until(world)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr("nftloyalty.app.acting._take_back", lambda *_: None)
        if where == "_accept":
            broken.setattr("nftloyalty.app.requesting.accept", killed)
        else:
            broken.setattr(does(where), where, killed)
        governing.renew(world.app, world.here, wallet, until=None, term=30 * DAY, tick=quiet)
    assert renewed(world, wallet) == ends + 30 * DAY
    assert renewed(world, wallet) == ends + 60 * DAY


def test_a_term_that_was_added_and_not_told_is_told_by_the_next_run(world: World) -> None:
    """The run was killed when all was done, before it had printed anything."""
    wallet, ends = with_card_until(world)
    first = governing.renew(world.app, world.here, wallet, until=None, term=30 * DAY, tick=quiet)
    before = world.nonces()
    second = governing.renew(world.app, world.here, wallet, until=None, term=30 * DAY, tick=quiet)
    assert sends_nothing(world, before)
    assert (second.expires_at, second.outcome) == (first.expires_at, first.outcome)
    assert second.begun_at is not None
    governing.told(world.app, second)
    assert renewed(world, wallet) == ends + 60 * DAY


def test_an_expired_cards_term_is_not_begun_anew_by_the_next_run(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its new expiry counts from now, so a later run would compute another one."""
    world = anew("")
    wallet = new_wallet()
    soon = world.app.node.head().timestamp + 3
    world.mint_outside(wallet, expires_at=soon)
    while world.app.node.head().timestamp <= soon:
        funding.fund(world.app, new_wallet(), 1)

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr("nftloyalty.app.acting._take_back", lambda *_: None)
        broken.setattr(Sender, "_send", killed)
        governing.renew(world.app, world.here, wallet, until=None, term=30 * DAY, tick=quiet)
    later = replace(world.app, now=lambda: datetime.now(UTC) + timedelta(minutes=10))
    renewal = governing.renew(later, world.here, wallet, until=None, term=30 * DAY, tick=quiet)
    assert renewal.begun_at is not None
    assert requesting.card_of(world.here, wallet).expires_at == renewal.expires_at
    assert world.app.node.nonce(world.address("desk")) == 1


def test_what_can_not_be_renewed_is_told(world: World) -> None:
    for_life = new_wallet()
    world.mint_outside(for_life)
    day = timedelta(days=1)
    with pytest.raises(ProgramProblem, match="is for life; nothing was sent"):
        governing.renew(world.app, world.here, for_life, until=None, term=day, tick=quiet)
    with pytest.raises(ProgramProblem, match="holds no card; nothing was sent"):
        governing.renew(world.app, world.here, new_wallet(), until=None, term=day, tick=quiet)


def test_a_tier_is_set_once(world: World) -> None:
    wallet = new_wallet()
    world.mint_outside(wallet)
    done(governing.set_tier(world.app, world.here, wallet, 2, quiet))
    assert requesting.card_of(world.here, wallet).tier == 2
    with pytest.raises(ProgramProblem, match="is Gold already; nothing was sent"):
        governing.set_tier(world.app, world.here, wallet, 2, quiet)
    with pytest.raises(ProgramProblem, match="holds no card; nothing was sent"):
        governing.set_tier(world.app, world.here, new_wallet(), 2, quiet)


def test_a_tier_that_somebody_else_set_meanwhile_is_told(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The contract leaves the card out of the batch, which succeeds all the same."""
    wallet = new_wallet()
    world.mint_outside(wallet)
    send = Sender._send

    def outrun(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        monkeypatch.undo()
        world.send_outside(Membership.encode_set_tier_batch([tier_item(wallet, 2)]))
        send(engine, attempts)

    done(governing.grant(world.app, world.here, Role.MANAGER, OUTSIDER, quiet))
    monkeypatch.setattr(Sender, "_send", outrun)
    with pytest.raises(ChainProblem, match=f"nothing was changed: {wallet} already is as wanted"):
        governing.set_tier(world.app, world.here, wallet, 2, quiet)
    done(governing.withdraw(world.app, world.here, Role.MANAGER, OUTSIDER, quiet))


def test_without_a_manager_on_chain_the_mend_is_named(anew: Anew) -> None:
    world = anew("")
    wallet = new_wallet()
    world.mint_outside(wallet)
    done(governing.withdraw(world.app, world.here, Role.MANAGER, "desk", quiet))
    with pytest.raises(ProgramProblem) as refused:
        governing.revoke(world.app, world.here, wallet, "a reason", quiet)
    assert "nobody named in program.toml is manager on chain" in refused.value.message
    assert "nftloyalty roles grant manager" in refused.value.mend


# ------------------------------------------------------------------------------------------------------------- handover


def test_a_program_is_handed_over_in_two_steps(anew: Anew) -> None:
    world = anew("")
    funding.fund(world.app, world.app.keystore.create("heir", PASSWORD), COIN)
    with pytest.raises(ProgramProblem, match="has not asked for the ownership"):
        governing.complete_handover(world.app, world.here, "heir", quiet)
    done(governing.request_handover(world.app, world.here, "heir", quiet))
    done(governing.complete_handover(world.app, world.here, "heir", quiet))
    assert world.here.membership.owner() == world.address("heir")
    shown = {each.name: each for each in governing.role_holders(world.app, world.here)}
    assert shown["heir"].is_owner and not shown["heir"].wanted_owner
    assert shown["owner"].wanted_owner and not shown["owner"].is_owner
    # The owner's acts are now the heir's, whatever program.toml says.
    done(governing.grant(world.app, world.here, Role.MANAGER, new_wallet(), quiet))


def test_an_owner_whose_key_is_elsewhere_gets_the_transaction_to_sign(anew: Anew) -> None:
    world = anew("")
    safe = new_member()
    asked = governing.request_handover(world.app, world.here, safe.address, quiet)
    assert asked == Unsigned(
        safe.address, world.here.membership.address, Membership.encode_request_ownership_handover()
    )
    node = world.app.node
    funding.fund(world.app, safe.address, COIN)
    assert transact(node, safe, asked.to, asked.data).succeeded
    done(governing.complete_handover(world.app, world.here, safe.address, quiet))
    before = world.nonces()
    act = governing.grant(world.app, world.here, Role.MANAGER, "hot", quiet)
    assert isinstance(act, Unsigned)
    assert act.signer == safe.address
    assert sends_nothing(world, before)
    assert transact(node, safe, act.to, act.data).succeeded
    assert world.here.membership.roles_of(world.address("hot")) & Role.MANAGER


# ----------------------------------------------------------------------------------------------------------- trouble


def test_a_key_without_coins_sends_nothing_and_leaves_nothing_behind(anew: Anew) -> None:
    world = anew("")
    wallet = new_wallet()
    world.mint_outside(wallet)
    poor = world.app.keystore.create("poor", PASSWORD)
    done(governing.grant(world.app, world.here, Role.MANAGER, poor, quiet))
    done(governing.withdraw(world.app, world.here, Role.MANAGER, "desk", quiet))
    powers = replace(world.program.powers, managers=("poor",))
    broke = replace(world, program=replace(world.program, powers=powers))
    with pytest.raises(OutOfFunds) as refused:
        governing.revoke(world.app, broke.here, wallet, "a reason", quiet)
    assert refused.value.address == poor
    funding.fund(world.app, poor, COIN)
    assert requesting.card_of(world.here, wallet).exists
    # Another act of the same key does not drag the failed one along.
    done(governing.set_tier(world.app, broke.here, wallet, 2, quiet))
    assert requesting.card_of(world.here, wallet).exists
    assert world.app.node.nonce(poor) == 1


# ---------------------------------------------------------------------------------------------- acts that fail or stall


def test_an_act_that_failed_on_chain_is_over_and_can_be_asked_for_again(
    anew: Anew, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A guardian pauses between trial and block. The act must not come back later behind the operator's back."""
    world = anew("")
    wallet, other = new_wallet(), new_wallet()
    world.mint(f"{wallet},member,never", f"{other},member,never")
    send = Sender._send
    paused: list[bool] = []

    def pause_first(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        if not paused:
            paused.append(True)
            done(governing.pause(world.app, world.here, quiet))
        send(engine, attempts)

    monkeypatch.setattr(Sender, "_send", pause_first)
    with pytest.raises(Reverted, match="the program is paused"):
        governing.set_tier(world.app, world.here, wallet, 2, quiet)
    done(governing.unpause(world.app, world.here, quiet))
    done(governing.set_tier(world.app, world.here, other, 2, quiet))
    assert requesting.card_of(world.here, wallet).tier == 1
    done(governing.set_tier(world.app, world.here, wallet, 2, quiet))
    assert requesting.card_of(world.here, wallet).tier == 2


def test_a_stale_act_does_not_stand_in_the_way_of_the_next(anew: Anew, monkeypatch: pytest.MonkeyPatch) -> None:
    """One key with all powers: an act it never got to send must not keep the program paused."""
    powers = 'opener = "owner"\nowner = "owner"\nminters = ["hot"]\nmanagers = ["owner"]\nguardians = ["guard"]\n'
    world = anew(program_text(powers=powers))
    wallet = new_wallet()
    world.mint(f"{wallet},member,never")

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as broken:
        broken.setattr("nftloyalty.app.acting.work", killed)
        broken.setattr("nftloyalty.app.acting._take_back", lambda *_: None)
        with pytest.raises(SystemExit):
            governing.set_quota(world.app, world.here, Which.CARDS, QuotaOf.MINT, 1_000_000, quiet)
    done(governing.pause(world.app, world.here, quiet))
    done(governing.unpause(world.app, world.here, quiet))
    assert not world.here.membership.paused()
    assert requesting.card_of(world.here, wallet).tier == 1
