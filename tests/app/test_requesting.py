"""Acts on members that are accepted now and sent later: each once, in few transactions, and never later than wanted."""

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nftloyalty.app import governing, requesting
from nftloyalty.app.acting import Done, Unsigned
from nftloyalty.app.describing import row_asked_for, told
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.leases import Lease
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.requesting import Accepted, Renew, Request, SetTier
from nftloyalty.app.sending import Sender, work
from nftloyalty.app.working import Worker
from nftloyalty.chain.contracts import Membership, QuotaKind
from nftloyalty.domain.act import MEMBER_ACTS, ActRefused
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.words import Flag, Role, SkipCode, renewal_item, tier_item
from nftloyalty.errors import BadInput, ProgramProblem, Reverted, Unknown
from nftloyalty.store import signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow
from nftloyalty.store.slots import AttemptRow
from tests.app.build import OUTSIDER, World, does, new_wallet, program_text
from tests.app.conftest import Anew
from tests.app.test_working import wait_until
from tests.chain.opened import wait

DAY = timedelta(days=1)
ENDED = frozenset({IntentState.FINAL, IntentState.REJECTED, IntentState.CANCELLED})


def quiet() -> None:
    """A tick that nobody watches."""


def accept(world: World, request: Request) -> list[Accepted]:
    """As a request over HTTP does it."""
    prepared = requesting.prepare(world.app, world.here, request)
    with begin(world.app.engine) as tx:
        return requesting.accept(world.app, tx, prepared)


def one(world: World, request: Request) -> IntentRow:
    (accepted,) = accept(world, request)
    return accepted.row


def golden(world: World, *wallets: Address, tier: int = 2) -> Request:
    return requesting.tiers(world.app, world.here, [SetTier(wallet, tier) for wallet in wallets])


def longer(world: World, wallet: Address, until: datetime | None = None, term: timedelta | None = None) -> Request:
    return requesting.renewals(world.app, world.here, [Renew(wallet, until, term)])


def now_of(world: World, row: IntentRow) -> IntentRow:
    return row_asked_for(world.app, world.here, row.public_id, MEMBER_ACTS, "act")


def send(world: World, *rows: IntentRow, key: str = "desk") -> list[IntentRow]:
    """What a worker does, until these have ended."""

    def done() -> bool:
        return all(now_of(world, row).state in ENDED for row in rows)

    work(world.app, world.here.attached, signer_of(world.app, key), finality_blocks=None, done=done)
    return [now_of(world, row) for row in rows]


def members(world: World, count: int, expires_at: int = 0) -> list[Address]:
    wallets = [new_wallet() for _ in range(count)]
    world.mint_outside(*wallets, expires_at=expires_at)
    return wallets


def in_ten_days() -> datetime:
    return datetime.now(UTC).replace(microsecond=0) + 10 * DAY


@contextmanager
def another_manager(world: World) -> Iterator[None]:
    """Meanwhile the outsider may do what managers may."""
    assert isinstance(governing.grant(world.app, world.here, Role.MANAGER, OUTSIDER, quiet), Done)
    yield
    assert isinstance(governing.withdraw(world.app, world.here, Role.MANAGER, OUTSIDER, quiet), Done)


def tier_of(world: World, wallet: Address) -> int:
    return requesting.card_of(world.here, wallet).tier


# ------------------------------------------------------------------------------------------------- accepted, then done


def test_tiers_of_many_members_are_one_transaction_and_each_has_its_own_end(world: World) -> None:
    wallets = members(world, 5)
    accepted = accept(world, golden(world, *wallets))
    assert [(each.row.recipient, each.new) for each in accepted] == [(wallet, True) for wallet in wallets]
    before = world.nonces()
    # Somebody else does one of them first.
    with another_manager(world):
        world.send_outside(Membership.encode_set_tier_batch([tier_item(wallets[2], 2)]))
    rows = send(world, *(each.row for each in accepted))
    assert [tier_of(world, wallet) for wallet in wallets] == [2] * 5
    assert [row.code for row in rows] == [None, None, SkipCode.DONE, None, None]
    assert [row.state is IntentState.FINAL for row in rows] == [True, True, False, True, True]
    assert rows[2].state is IntentState.REJECTED
    assert len({row.tx_hash for row in rows}) == 1
    assert world.nonces()["desk"] == before["desk"] + 1


def test_renewals_of_many_members_are_one_transaction(world: World) -> None:
    ends = in_ten_days()
    wallets = members(world, 3, int(ends.timestamp()))
    wanted = [Renew(wallets[0], until=ends + DAY), *(Renew(wallet, term=30 * DAY) for wallet in wallets[1:])]
    rows = [each.row for each in accept(world, requesting.renewals(world.app, world.here, wanted))]
    assert len({row.tx_hash for row in send(world, *rows)}) == 1
    assert [requesting.card_of(world.here, wallet).expires_at for wallet in wallets] == [
        int((ends + days * DAY).timestamp()) for days in (1, 30, 30)
    ]


def test_a_member_is_revoked_and_readmitted_by_request(world: World) -> None:
    (wallet,) = members(world, 1)
    number = requesting.card_of(world.here, wallet).serial
    revoked = one(world, requesting.revocation(world.here, wallet, "asked to go"))
    assert requesting.card_of(world.here, wallet).exists
    assert send(world, revoked)[0].state is IntentState.FINAL
    card = requesting.card_of(world.here, wallet)
    assert not card.exists and Flag.REVOKED in card.flags
    back = one(world, requesting.readmission(world.here, wallet, 2, 0))
    assert back.public_id != revoked.public_id
    assert send(world, back)[0].state is IntentState.FINAL
    card = requesting.card_of(world.here, wallet)
    assert (card.serial, card.tier) == (number, 2)


def test_a_stamp_is_revoked_by_request(world: World) -> None:
    wallet = new_wallet()
    world.stamp("latte", wallet)
    request = requesting.stamp_revocation(world.here, wallet, 1, may_return=True, reason="wrong customer")
    (row,) = send(world, one(world, request))
    assert (row.state, row.stamp_type) == (IntentState.FINAL, 1)
    word = world.here.stamps.words_of([wallet])[0]
    assert not word.holds(1) and word.mintable_code(1) is None


def test_a_worker_sends_what_was_accepted(world: World) -> None:
    assert sending_keys(world.app, world.program) == (["hot", "desk"], [])
    (wallet,) = members(world, 1)
    row = one(world, golden(world, wallet))
    worker = Worker(world.app, world.here, [signer_of(world.app, name) for name in ("hot", "desk")], indexes=False)
    worker.start()
    try:
        wait_until(lambda: now_of(world, row).state is IntentState.FINAL)
    finally:
        worker.stop()
    assert tier_of(world, wallet) == 2


@pytest.mark.parametrize("where", ["_reserve", "_sign_and_store", "_send", "_settle", "_finalise"])
def test_an_act_is_done_once_wherever_its_sender_was_killed(
    world: World, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    ends = in_ten_days()
    (wallet,) = members(world, 1, int(ends.timestamp()))
    row = one(world, longer(world, wallet, term=30 * DAY))

    def killed(*_: object, **__: object) -> None:
        raise SystemExit

    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(does(where), where, killed)
        send(world, row)
    before = world.nonces()["desk"]
    (ended,) = send(world, row)
    assert ended.state is IntentState.FINAL
    assert requesting.card_of(world.here, wallet).expires_at == int((ends + 30 * DAY).timestamp())
    assert world.nonces()["desk"] - before <= 1
    with read(world.app.engine) as tx:
        assert slots.open_slots(tx, row.signer) == []


# --------------------------------------------------------------------------------------------------------- asked twice


def test_the_same_act_twice_is_one(world: World) -> None:
    (wallet,) = members(world, 1)
    first = one(world, golden(world, wallet))
    (again,) = accept(world, golden(world, wallet))
    assert (again.row.public_id, again.new) == (first.public_id, False)
    send(world, first)
    down = one(world, golden(world, wallet, tier=1))
    assert down.public_id != first.public_id
    send(world, down)
    # What is done makes room: the same once more is another act.
    up = one(world, golden(world, wallet))
    assert len({first.public_id, down.public_id, up.public_id}) == 3
    assert send(world, up)[0].state is IntentState.FINAL
    assert tier_of(world, wallet) == 2


def test_of_different_wishes_for_one_card_the_second_is_refused_while_the_first_is_under_way(world: World) -> None:
    ends = in_ten_days()
    (wallet,) = members(world, 1, int(ends.timestamp()))
    first = one(world, longer(world, wallet, until=ends + DAY))
    request = longer(world, wallet, until=ends + 2 * DAY)
    with pytest.raises(ActRefused, match="this is under way already: renew the card") as refused:
        one(world, request)
    assert refused.value.code == "under_way"
    # The tier is another matter.
    send(world, first, one(world, golden(world, wallet)))
    send(world, one(world, longer(world, wallet, until=ends + 2 * DAY)))
    assert requesting.card_of(world.here, wallet).expires_at == int((ends + 2 * DAY).timestamp())


def test_a_term_is_a_further_one_each_time_and_never_two_at_once(world: World) -> None:
    ends = in_ten_days()
    (wallet,) = members(world, 1, int(ends.timestamp()))
    first = one(world, longer(world, wallet, term=30 * DAY))
    with pytest.raises(ActRefused, match="under way"):
        one(world, longer(world, wallet, term=30 * DAY))
    send(world, first)
    send(world, one(world, longer(world, wallet, term=30 * DAY)))
    assert requesting.card_of(world.here, wallet).expires_at == int((ends + 60 * DAY).timestamp())


def test_requests_for_one_member_in_the_same_moment_are_one_intent(world: World) -> None:
    """All were found possible before any was accepted."""
    (wallet,) = members(world, 1)
    prepared = requesting.prepare(world.app, world.here, golden(world, wallet))
    together = threading.Barrier(6)
    found: list[Accepted] = []

    def ask() -> None:
        together.wait()
        with begin(world.app.engine) as tx:
            found.extend(requesting.accept(world.app, tx, prepared))

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(found) == 6
    assert len({each.row.public_id for each in found}) == 1
    assert sum(each.new for each in found) == 1
    send(world, found[0].row)


def test_what_is_rolled_back_was_never_asked_for(world: World) -> None:
    (wallet,) = members(world, 1)
    prepared = requesting.prepare(world.app, world.here, golden(world, wallet))
    with pytest.raises(RuntimeError), begin(world.app.engine) as tx:
        requesting.accept(world.app, tx, prepared)
        raise RuntimeError
    (accepted,) = accept(world, golden(world, wallet))
    assert accepted.new
    send(world, accepted.row)


def test_a_renewal_that_was_overtaken_adds_nothing_twice(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Another manager, elsewhere, renews between trial and block."""
    ends = in_ten_days()
    (wallet,) = members(world, 1, int(ends.timestamp()))
    row = one(world, longer(world, wallet, term=30 * DAY))
    other = int((ends + 7 * DAY).timestamp())
    deliver = Sender._send

    def outrun(engine: Sender, attempts: Sequence[AttemptRow]) -> None:
        monkeypatch.undo()
        item = renewal_item(wallet, other, int(ends.timestamp()))
        world.send_outside(Membership.encode_renew_batch([item]))
        deliver(engine, attempts)

    with another_manager(world):
        monkeypatch.setattr(Sender, "_send", outrun)
        (ended,) = send(world, row)
    assert (ended.state, ended.code) == (IntentState.REJECTED, SkipCode.CONFLICT)
    assert requesting.card_of(world.here, wallet).expires_at == other
    found = told(world.app, world.here, ended)
    assert found["phase"] == "reverted"
    assert found["reason"] == {"code": "conflict", "sentence": "the wallet was changed by someone else in the meantime"}


# ------------------------------------------------------------------------------------------------------ refused at once


def test_what_can_not_be_is_refused_with_a_code(world: World) -> None:
    (wallet,) = members(world, 1)
    nobody = new_wallet()
    here = world.here
    wished: list[tuple[Callable[[], Request], str]] = [
        (lambda: golden(world, wallet, tier=1), "done"),
        (lambda: golden(world, nobody), "not_held"),
        (lambda: longer(world, wallet, term=DAY), "not_renewable"),
        (lambda: requesting.revocation(here, nobody, "a reason"), "not_held"),
        (lambda: requesting.stamp_revocation(here, nobody, 1, may_return=False, reason="a reason"), "not_held"),
        (lambda: requesting.readmission(here, wallet, 1, 0), "already_held"),
        (lambda: requesting.readmission(here, nobody, 1, 0), "not_held"),
    ]
    for request, code in wished:
        with pytest.raises(ActRefused) as refused:
            request()
        assert refused.value.code == code
    ends = in_ten_days()
    (ending,) = members(world, 1, int(ends.timestamp()))
    with pytest.raises(ActRefused) as refused:
        longer(world, ending, until=ends)
    assert refused.value.code == "expiry_not_later"


def test_of_many_each_that_can_not_be_is_named_and_none_is_accepted(world: World) -> None:
    (wallet, other) = members(world, 2)
    nobody = new_wallet()
    with pytest.raises(BadInput) as refused:
        golden(world, wallet, nobody, other, wallet)
    assert [problem.place for problem in refused.value.problems] == ["items.1", "items.3"]
    assert [problem.what for problem in refused.value.problems] == [
        f"{nobody} holds no card",
        f"{wallet} stands here twice",
    ]


def test_what_the_contract_would_never_take_is_refused_with_its_reason(world: World) -> None:
    (wallet,) = members(world, 1)
    send(world, one(world, requesting.revocation(world.here, wallet, "a reason")))
    with pytest.raises(Reverted) as refused:
        requesting.prepare(world.app, world.here, requesting.readmission(world.here, wallet, 7, 0))
    assert refused.value.code == "bad_tier"


def test_where_the_power_lies_with_a_safe_the_request_is_refused_and_says_who_signs(anew: Anew) -> None:
    powers = f'opener = "owner"\nowner = "owner"\nminters = ["hot"]\nmanagers = ["{OUTSIDER}"]\nguardians = ["guard"]\n'
    world = anew(program_text(powers=powers))
    wallet = new_wallet()
    world.mint(f"{wallet},member,never")
    assert sending_keys(world.app, world.program) == (["hot"], [OUTSIDER])
    with pytest.raises(ProgramProblem, match=f"this is for {OUTSIDER} to sign, whose key is not here"):
        accept(world, golden(world, wallet))
    assert governing.set_tier(world.app, world.here, wallet, 2, quiet) == Unsigned(
        OUTSIDER, world.here.membership.address, Membership.encode_set_tier_batch([tier_item(wallet, 2)])
    )
    # A worker on another machine has the key, and is sending for it now.
    chain = world.here.attached.row
    with begin(world.app.engine) as tx:
        row = signers.register(tx, chain, OUTSIDER).id
    lease = Lease(world.app, row)
    assert one(world, golden(world, wallet)).signer == row
    lease.release()


def test_without_a_manager_on_chain_nothing_is_accepted(anew: Anew) -> None:
    world = anew("")
    (wallet,) = members(world, 1)
    governing.withdraw(world.app, world.here, Role.MANAGER, "desk", quiet)
    with pytest.raises(ProgramProblem, match=r"nobody named in program\.toml is manager on chain"):
        accept(world, golden(world, wallet))


# ------------------------------------------------------------------------------------------------ what comes in between


def step_until(world: World, blocked: str, key: str = "desk") -> None:
    """Work as a worker does, until nothing is under way any more and this stands in the way of the rest."""
    with Sender(world.app, world.here.attached, signer_of(world.app, key), finality_blocks=None) as engine:
        for _ in range(20):
            engine.step()
            if engine.blocked_now(None) is not None:
                break
        assert [each for each in engine.blocked.values() if blocked in each.reason.message]


def test_a_pause_is_waited_for(anew: Anew) -> None:
    world = anew("")
    wallet, gone = members(world, 2)
    send(world, one(world, requesting.revocation(world.here, gone, "a reason")))
    governing.pause(world.app, world.here, quiet)
    # Accepted though it is paused: what is no fault of the act's can end.
    rows = [one(world, golden(world, wallet)), one(world, requesting.readmission(world.here, gone, 1, 0))]
    step_until(world, "the program is paused")
    assert [now_of(world, row).state for row in rows] == [IntentState.RECEIVED] * 2
    with pytest.raises(Reverted, match="paused"):
        governing.set_tier(world.app, world.here, wallet, 2, quiet)
    # The operator who was refused has taken nothing of somebody else's back.
    assert now_of(world, rows[0]).state is IntentState.RECEIVED
    governing.unpause(world.app, world.here, quiet)
    assert [row.state for row in send(world, *rows)] == [IntentState.FINAL] * 2


def test_a_role_that_was_taken_away_is_waited_for(anew: Anew) -> None:
    world = anew("")
    (wallet,) = members(world, 1)
    row = one(world, golden(world, wallet))
    governing.withdraw(world.app, world.here, Role.MANAGER, "desk", quiet)
    step_until(world, "may not do this")
    assert now_of(world, row).state is IntentState.RECEIVED
    governing.grant(world.app, world.here, Role.MANAGER, "desk", quiet)
    assert send(world, row)[0].state is IntentState.FINAL


def test_a_member_who_left_meanwhile_is_told_by_the_contracts_code(world: World) -> None:
    wallets = members(world, 2)
    rows = [each.row for each in accept(world, golden(world, *wallets))]
    with another_manager(world):
        world.send_outside(Membership.encode_revoke(wallets[0], "a reason"))
    first, second = send(world, *rows)
    assert (first.state, first.code) == (IntentState.REJECTED, SkipCode.REVOKED)
    assert second.state is IntentState.FINAL
    reason = told(world.app, world.here, first)["reason"]
    assert reason == {"code": "revoked", "sentence": "the wallet was removed from the program"}


def test_what_is_refused_when_it_is_sent_is_rejected_with_the_reason(world: World) -> None:
    """The stamp was revoked by somebody else meanwhile, for which the contract has no code."""
    wallet = new_wallet()
    world.stamp("latte", wallet)
    request = requesting.stamp_revocation(world.here, wallet, 1, may_return=False, reason="first")
    row = one(world, request)
    call = requesting.call_of(world.here, request)
    assert call.to is not None
    with another_manager(world):
        tx_hash = world.app.node.send_unlocked(OUTSIDER, call.to, data=call.data)
        assert wait(world.app.node, tx_hash).succeeded
    (ended,) = send(world, row)
    assert ended.state is IntentState.REJECTED
    assert ended.error == "there is no such card or stamp"
    reason = told(world.app, world.here, ended)["reason"]
    assert reason == {"code": "refused", "sentence": "there is no such card or stamp"}


def test_an_expiry_that_passed_while_it_waited_spoils_no_other_renewal(world: World) -> None:
    ends = in_ten_days()
    wallets = members(world, 3, int(ends.timestamp()))
    wanted = [Renew(wallet, until=ends + DAY) for wallet in wallets]
    request = requesting.renewals(world.app, world.here, wanted)
    stale = replace(request.wishes[1], args={**request.wishes[1].args, "expires_at": int((ends - DAY).timestamp())})
    rows = [each.row for each in accept(world, replace(request, wishes=(request.wishes[0], stale, request.wishes[2])))]
    states = [row.state for row in send(world, *rows)]
    assert states == [IntentState.FINAL, IntentState.REJECTED, IntentState.FINAL]
    assert "which is not earlier" in str(now_of(world, rows[1]).error)


def test_no_more_is_sent_than_the_days_quota_has_room_for(anew: Anew) -> None:
    world = anew(program_text(cards="manage = 3\n"))
    wallets = members(world, 5)
    rows = [each.row for each in accept(world, golden(world, *wallets))]
    step_until(world, "today's quota is used up")
    assert sorted(now_of(world, row).state for row in rows) == [*[IntentState.FINAL] * 3, *[IntentState.RECEIVED] * 2]
    assert world.here.membership.quota_of(QuotaKind.MANAGE).used == 3
    governing.set_quota(world.app, world.here, governing.Which.CARDS, governing.QuotaOf.MANAGE, 5, quiet)
    assert {row.state for row in send(world, *rows)} == {IntentState.FINAL}


def test_a_command_finishes_what_was_accepted_over_http(world: World) -> None:
    (wallet,) = members(world, 1)
    row = one(world, golden(world, wallet))
    done = governing.set_tier(world.app, world.here, wallet, 2, quiet)
    assert isinstance(done, Done)
    assert now_of(world, row).tx_hash == done.tx_hash


# --------------------------------------------------------------------------------------------------------- reading back


def test_an_act_is_told_by_its_intent(world: World) -> None:
    ends = in_ten_days()
    (wallet,) = members(world, 1, int(ends.timestamp()))
    renewal = one(world, longer(world, wallet, until=ends + DAY))
    found = told(world.app, world.here, renewal)
    assert (found["kind"], found["wallet"], found["tier"]) == ("renew", wallet, None)
    assert found["expires_at"] == (ends + DAY).isoformat().replace("+00:00", "Z")
    assert found["what"].startswith(f"renew the card of {wallet}: valid ")
    golden_row = one(world, golden(world, wallet))
    found = told(world.app, world.here, golden_row)
    assert (found["tier"], found["expires_at"], found["what"]) == ("gold", None, f"make {wallet} Gold")
    send(world, renewal, golden_row)
    revoked = one(world, requesting.revocation(world.here, wallet, "a reason"))
    found = told(world.app, world.here, revoked)
    assert (found["because"], found["stamp"]) == ("a reason", None)
    send(world, revoked)
    with pytest.raises(Unknown, match="there is no renewal of this id"):
        row_asked_for(world.app, world.here, revoked.public_id, {Kind.RENEW}, "renewal")


def test_an_act_is_final_once_the_index_knows_it(world: World) -> None:
    (wallet,) = members(world, 1)
    row = one(world, golden(world, wallet))
    assert told(world.app, world.here, row)["phase"] == "pending"
    (ended,) = send(world, row)
    world.index()
    assert told(world.app, world.here, ended)["phase"] == "final"


def test_often_asked_for_acts_keep_their_order(world: World) -> None:
    """More generations than one question asks for."""
    (wallet,) = members(world, 1)
    ids = []
    for turn in range(9):
        row = one(world, golden(world, wallet, tier=2 - turn % 2))
        ids.append(row.request_key.rpartition("|")[2])
        send(world, row)
    assert ids == [str(turn) for turn in range(9)]
