"""From a file of members to cards and stamps: all rows are judged first, and nothing happens twice."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pytest import MonkeyPatch
from sqlalchemy import Connection

from nftloyalty.app import funding, gathering, governing, minting, sending
from nftloyalty.app.acting import Done
from nftloyalty.app.minting import MintPlan, MintReport
from nftloyalty.chain.client import Node
from nftloyalty.devchain import DevChainServer
from nftloyalty.devchain.chain import DevChain
from nftloyalty.domain.address import Address
from nftloyalty.domain.batch import TRANSACTION_GAS_CAP
from nftloyalty.domain.roster import Outcome
from nftloyalty.domain.words import Role, SkipCode
from nftloyalty.errors import (
    BadInput,
    KeyProblem,
    NodeUnreachable,
    OutOfFunds,
    ProgramProblem,
    QuotaSpent,
    SignerBusy,
    SignerHalted,
    Unknown,
)
from nftloyalty.store import intents, signers
from nftloyalty.store.engine import begin, read
from tests.app.build import Clock, World, app_of, new_member, new_wallet, open_world, program_text, settings_of
from tests.app.conftest import Anew, OpenWorld
from tests.app.proxy import Proxy
from tests.conftest import StartAnvil

FAR = "2049-12-31"


def quiet() -> None:
    """A tick that nobody watches."""


def _mint_spread(world: World, plan: MintPlan, waiting_until: Callable[[datetime], None]) -> MintReport:
    return minting.mint(world.app, world.here, plan, spread=True, waiting_until=waiting_until)


# --------------------------------------------------------------------------------------------------------------- cards


def test_members_of_a_file_get_cards_with_their_tier_and_expiry(world: World) -> None:
    for_life, gold, dated = new_wallet(), new_wallet(), new_wallet()
    report = world.mint(f"{for_life},,", f"{gold},gold,never", f"{dated},Member,{FAR}")
    assert (report.total, report.on_chain, report.final, report.rejected) == (3, 3, 3, ())
    cards = world.here.membership.words_of([for_life, gold, dated])
    assert [card.tier for card in cards] == [1, 2, 1]
    ends = int(datetime(2050, 1, 1, tzinfo=UTC).timestamp())
    assert [card.expires_at for card in cards] == [0, 0, ends]
    serials = [card.serial for card in cards]
    assert serials == list(range(serials[0], serials[0] + 3))


def test_the_same_file_again_is_done_and_sends_nothing(world: World) -> None:
    rows = [f"{new_wallet()},gold,never", f"{new_wallet()},member,{FAR}"]
    world.mint(*rows)
    before = world.nonces()
    plan = world.plan(*rows)
    assert (plan.count(Outcome.DONE), plan.open_rows, plan.cost) == (2, (), None)
    again = minting.mint(world.app, world.here, plan)
    assert world.nonces() == before
    assert (again.final, again.rejected) == (2, ())


def test_a_longer_file_mints_only_what_is_new(world: World) -> None:
    old, new = f"{new_wallet()},gold,never", f"{new_wallet()},gold,never"
    world.mint(old)
    plan = world.plan(new, old)
    assert [row.outcome for row in plan.rows] == [Outcome.NEW, Outcome.DONE]
    assert minting.mint(world.app, world.here, plan).final == 2


def test_planning_changes_nothing(world: World) -> None:
    wallet = new_wallet()
    before = world.nonces()
    plan = world.plan(f"{wallet},gold,never")
    assert plan.batches is not None
    assert plan.batches.batches == 1
    assert plan.cost is not None
    assert 0 < plan.cost.gas < TRANSACTION_GAS_CAP
    assert world.nonces() == before
    assert world.plan(f"{wallet},gold,never").count(Outcome.NEW) == 1


def test_the_gas_that_was_used_is_told(world: World) -> None:
    plan = world.plan(f"{new_wallet()},gold,never")
    minting.mint(world.app, world.here, plan)
    assert plan.cost is not None
    assert minting.gas_used(world.app, world.here, plan) == pytest.approx(plan.cost.gas, rel=0.06)


# ------------------------------------------------------------------------------------------------------------- bad rows


def test_every_kind_of_bad_row_is_named_with_its_line_and_nothing_is_sent(world: World) -> None:
    good, twice, member, revoked = (new_wallet() for _ in range(4))
    leaver, mover, target = new_member(), new_member(), new_member()
    world.mint_outside(member, revoked, leaver.address, mover.address)
    assert isinstance(governing.revoke(world.app, world.here, revoked, "asked to go", quiet), Done)
    world.leave(leaver)
    world.move(mover, target)
    rows = [
        f"{good},gold,never",
        "not-an-address,gold,never",
        f"{wrong_checksum(new_wallet())},gold,never",
        f"{twice},gold,never",
        f"{twice.lower()},member,never",
        f"{new_wallet()},platinum,never",
        f"{new_wallet()},gold,2020-01-01",
        f"{new_wallet()},gold,next summer",
        f"{leaver.address},gold,never",
        f"{revoked},gold,never",
        f"{member},gold,never",
        f"{mover.address},gold,never",
        f"{new_wallet()},platinum,2020-01-01",
        f"{world.here.membership.address},gold,never",
    ]
    before = world.nonces()
    with pytest.raises(BadInput) as refused:
        world.plan(*rows)
    assert world.nonces() == before
    said: dict[str, list[str]] = {}
    for problem in refused.value.problems:
        said.setdefault(problem.place, []).append(problem.what)
    expected = {
        "line 3": ["not an address"],
        "line 4": ["wrong checksum"],
        "line 6": ["same address as line 5"],
        "line 7": ["unknown tier 'platinum'"],
        "line 8": ["expiry '2020-01-01' is past"],
        "line 9": ["expiry 'next summer' is not a date or time"],
        "line 10": ["has left the program"],
        "line 11": ["was removed from the program"],
        "line 12": ["is already a member"],
        "line 13": ["has moved to another wallet"],
        "line 14": ["unknown tier", "is past"],  # every problem of a row, not only its first
        "line 15": ["is the program's own contract for cards"],
    }
    assert list(said) == list(expected)
    for line, parts in expected.items():
        assert len(said[line]) == len(parts)
        for part, what in zip(parts, said[line], strict=True):
            assert part in what
    assert refused.value.message == "members.csv: 13 problems; nothing was changed"
    assert world.plan(rows[0]).count(Outcome.NEW) == 1  # no intent was left behind for the good row


def wrong_checksum(address: Address) -> Address:
    letter = next(each for each in address[2:] if each.isalpha())
    return "0x" + address[2:].replace(letter, letter.swapcase(), 1)


def test_a_stamp_file_names_every_bad_row(world: World) -> None:
    held, stranger, member, gold = (new_wallet() for _ in range(4))
    world.mint_outside(member, tier=1)
    world.mint_outside(gold, held, tier=2)
    assert world.stamp("tasting", held).final == 1
    with pytest.raises(BadInput) as refused:
        world.plan_stamps("tasting", "0x12", stranger, member, gold, world.here.stamps.address)
    assert [problem.place for problem in refused.value.problems] == ["line 2", "line 3", "line 4", "line 6"]
    whats = [problem.what for problem in refused.value.problems]
    assert "not an address" in whats[0]
    assert "has no active membership" in whats[1]
    assert "is below the tier" in whats[2]
    assert world.plan_stamps("tasting", held).count(Outcome.DONE) == 1


def test_a_stamp_outside_its_window_is_refused_at_once(anew: Anew) -> None:
    rest = '[[stamps]]\nid = "old"\nnumber = 1\nname = "Old"\nopens = 2020-01-01\ncloses = 2020-02-01\n'
    world = anew(program_text(rest=rest))
    with pytest.raises(BadInput) as refused:
        world.plan_stamps("old", new_wallet())
    assert "it was open through 2020-02-01" in refused.value.problems[0].what
    with pytest.raises(Unknown, match="has no stamp 'latte'"):
        world.plan_stamps("latte", new_wallet())


def test_a_file_beyond_the_cap_is_refused_whole(anew: Anew) -> None:
    world = anew(program_text(terms="cap = 2"))
    world.mint(f"{new_wallet()},gold,never")
    with pytest.raises(BadInput) as refused:
        world.plan(f"{new_wallet()},gold,never", f"{new_wallet()},gold,never")
    assert "2 rows to mint, but there are 1 of at most 2 living cards" in refused.value.problems[0].what
    assert world.mint(f"{new_wallet()},gold,never").final == 1


def test_while_the_program_is_paused_nothing_is_planned(anew: Anew) -> None:
    world = anew("")
    governing.pause(world.app, world.here, quiet)
    with pytest.raises(ProgramProblem, match="the program is paused; nothing was sent"):
        world.plan(f"{new_wallet()},gold,never")
    with pytest.raises(ProgramProblem, match="the program is paused; nothing was sent"):
        world.plan_stamps("latte", new_wallet())


def test_a_key_without_the_minters_role_is_told_what_to_do(anew: Anew) -> None:
    world = anew("")
    governing.withdraw(world.app, world.here, Role.MINTER, "hot", quiet)
    with pytest.raises(ProgramProblem) as refused:
        world.plan(f"{new_wallet()},gold,never")
    assert "may not mint for this program; nothing was sent" in refused.value.message
    assert "nftloyalty roles grant minter hot" in refused.value.mend


# --------------------------------------------------------------------------------------------------------------- quotas


def test_a_quota_that_is_too_small_is_told_before_anything_is_accepted(anew: Anew) -> None:
    world = anew(program_text(cards="mint = 2"))
    rows = [f"{new_wallet()},gold,never" for _ in range(3)]
    plan = world.plan(*rows)
    assert plan.quota_left == 2
    before = world.nonces()
    with pytest.raises(QuotaSpent, match="3 rows to mint, but today's quota has 2 left; nothing was sent"):
        minting.mint(world.app, world.here, plan)
    assert world.nonces() == before
    assert world.plan(*rows).count(Outcome.NEW) == 3
    assert world.mint(*rows[:2]).final == 2
    with pytest.raises(QuotaSpent, match="has 0 left"):
        world.mint(rows[2])


def test_spread_goes_on_on_the_next_day(tmp_path: Path) -> None:
    clock = Clock(datetime(2027, 3, 1, 23, 0, tzinfo=UTC))
    with DevChainServer(DevChain(clock=clock.time)) as server:
        app = app_of(settings_of(tmp_path, server.url), now=clock.now)
        try:
            world = open_world(app, program_text(cards="mint = 2"))
            waited: list[datetime] = []

            def tomorrow(moment: datetime) -> None:
                waited.append(moment)
                clock.forward(moment - clock.now() + timedelta(seconds=1))

            wallets = [new_wallet() for _ in range(5)]
            plan = world.plan(*(f"{wallet},gold,never" for wallet in wallets))
            report = _mint_spread(world, plan, tomorrow)
            assert (report.final, report.waiting) == (5, 0)
            days = [moment.date() for moment in waited]
            assert days == [datetime(2027, 3, 2).date(), datetime(2027, 3, 3).date()]  # noqa: DTZ001 only its day
            assert world.here.membership.total_supply() == 5
        finally:
            app.close()


# ------------------------------------------------------------------------------------------- between plan and the chain


def test_who_became_a_member_in_between_is_left_out_with_the_reason(world: World) -> None:
    early, others = new_wallet(), [new_wallet() for _ in range(4)]
    plan = world.plan(*(f"{wallet},gold,never" for wallet in (others[0], early, *others[1:])))
    world.mint_outside(early)
    report = minting.mint(world.app, world.here, plan)
    assert (report.final, report.on_chain) == (4, 4)
    assert report.rejected == ((3, early, SkipCode.ALREADY_HELD.sentence),)
    assert world.here.membership.words_of([early])[0].tier == 1


def test_an_item_the_contract_refuses_is_found_and_the_others_go_on(world: World) -> None:
    """A tier that the contract does not have makes a whole batch revert."""
    poisoned = {new_wallet(), new_wallet()}
    wallets = [*poisoned, *(new_wallet() for _ in range(5))]
    plan = world.plan(*(f"{wallet},gold,never" for wallet in wallets))
    bad = tuple(replace(row, args={**row.args, "tier": 9}) if row.recipient in poisoned else row for row in plan.rows)
    report = minting.mint(world.app, world.here, replace(plan, rows=bad))
    assert report.final == 5
    assert {address for _, address, _ in report.rejected} == poisoned
    assert all("tier 9 can't be" in reason for _, _, reason in report.rejected)
    again = world.plan(*(f"{wallet},gold,never" for wallet in wallets))
    assert again.count(Outcome.AGAIN) == 2
    assert minting.mint(world.app, world.here, again).final == 7


def test_too_little_balance_accepts_nothing(anew: Anew) -> None:
    world = anew("")
    poor = replace(world.plan(f"{new_wallet()},gold,never"), minter=new_wallet())
    with pytest.raises(OutOfFunds) as refused:
        minting.mint(world.app, world.here, poor)
    assert refused.value.address == poor.minter
    with read(world.app.engine) as tx:
        assert not intents.by_keys(tx, world.here.attached.row, [poor.rows[0].key])


def test_a_wrong_password_accepts_nothing(world: World) -> None:
    plan = world.plan(f"{new_wallet()},gold,never")
    with pytest.raises(KeyProblem, match="does not open the key 'hot'"):
        minting.mint(replace(world.app, password=lambda name: "something else"), world.here, plan)
    with read(world.app.engine) as tx:
        assert not intents.by_keys(tx, world.here.attached.row, [plan.rows[0].key])


def test_what_was_accepted_survives_a_node_that_goes_away(anew: Anew, proxy: Proxy, monkeypatch: MonkeyPatch) -> None:
    monkeypatch.setattr(sending, "RETRY_PAUSES", (0.05, 0.05))
    world = anew("")
    rows = [f"{new_wallet()},gold,never" for _ in range(3)]
    plan = world.plan(*rows)
    away = replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}"))
    proxy.refuse = lambda method, params: _goes_away(proxy, method)
    with pytest.raises(NodeUnreachable):
        minting.mint(away, world.here, plan)
    assert len(proxy.sent) == 1
    continued = world.plan(*rows)
    assert continued.count(Outcome.CONTINUING) == 3
    assert minting.mint(world.app, world.here, continued).final == 3
    assert world.here.membership.total_supply() == 3


def _goes_away(proxy: Proxy, method: str) -> bool:
    """The transaction still gets through, and then nobody answers any more."""
    if proxy.sent and method != "eth_sendRawTransaction":
        proxy.down = True
    return False


# ---------------------------------------------------------------------------------------------- where blocks take time


def test_on_a_chain_with_finality_a_skip_is_told_before_it_is_final(
    start_anvil: StartAnvil, open_on: OpenWorld
) -> None:
    world = open_on(start_anvil().url)
    early, late = new_wallet(), new_wallet()
    plan = world.plan(f"{early},gold,never", f"{late},gold,never")
    world.mint_outside(early)
    report = minting.mint(world.app, world.here, plan)
    assert (report.final, report.included, report.on_chain) == (0, 1, 1)
    assert report.rejected == ((2, early, SkipCode.ALREADY_HELD.sentence),)


def test_many_batches_are_under_way_at_once(
    start_anvil: StartAnvil, open_on: OpenWorld, monkeypatch: MonkeyPatch
) -> None:
    """With a block a second, a window of one would need a block for each batch."""
    monkeypatch.setattr(gathering, "GATHER_AT_MOST", 5)
    anvil = start_anvil("--slots-in-an-epoch", "1")
    world = open_on(anvil.url, program_text(rest="[chain]\nfinality_blocks = 0\n"))
    world.app.node.call("evm_setIntervalMining", [1])
    plan = world.plan(*(f"{new_wallet()},gold,never" for _ in range(40)))
    before = world.app.node.head().number
    report = minting.mint(world.app, world.here, plan)
    assert report.final == 40
    assert world.app.node.head().number - before < 8
    assert world.here.membership.total_supply() == 40


# -------------------------------------------------------------------------------------- costs, keys and second thoughts


def test_cheap_rows_first_do_not_starve_the_dear_ones_of_gas(world: World) -> None:
    """A further stamp costs a third of a first one: a price measured on the former would reject the latter."""
    old = [new_wallet() for _ in range(9)]
    world.mint_outside(*old, tier=2)
    assert world.stamp("tasting", *old).final == 9
    report = world.stamp("latte", *old, *(new_wallet() for _ in range(60)))
    assert (report.final, report.rejected) == (69, ())


def test_rows_that_wait_for_a_former_minter_are_sent_by_the_new_one(open_on: OpenWorld, chain: str) -> None:
    world = open_on(chain)
    rows = [f"{new_wallet()},gold,never" for _ in range(3)]
    plan = world.plan(*rows)
    minting._accept(world.app, world.here, plan)
    spare = world.app.keystore.create("spare", "correct horse battery")
    funding.fund(world.app, spare, 10**18)
    assert isinstance(governing.grant(world.app, world.here, Role.MINTER, "spare", quiet), Done)
    powers = replace(world.program.powers, minters=("spare",))
    now = World(world.app, replace(world.program, powers=powers))
    before = now.app.node.nonce(spare)
    assert now.mint(*rows).final == 3
    assert now.app.node.nonce(spare) == before + 1


def test_a_stamp_that_may_return_is_given_again_by_the_same_file(world: World) -> None:
    wallet = new_wallet()
    assert world.stamp("latte", wallet).final == 1
    number = world.program.stamp_number("latte")
    for may_return, again in ((True, 1), (False, 0)):
        governing.revoke_stamp(world.app, world.here, wallet, number, may_return, "test", quiet)
        plan = world.plan_stamps("latte", wallet)
        assert len(plan.open_rows) == again
        assert plan.gone == 1 - again
        minting.mint(world.app, world.here, plan)
        assert world.here.stamps.words_of([wallet])[0].holds(number) is bool(again)


def test_a_row_that_wants_another_card_than_was_minted_is_a_problem(world: World) -> None:
    wallet, dated = new_wallet(), new_wallet()
    world.mint(f"{wallet},member,never", f"{dated},gold,{FAR}")
    before = world.nonces()
    with pytest.raises(BadInput) as bad:
        world.plan(f"{wallet},gold,never", f"{dated},gold,2048-12-31")
    said = [str(problem) for problem in bad.value.problems]
    assert "line 2" in said[0] and "as Member for life" in said[0] and "nftloyalty tier" in said[0]
    assert "line 3" in said[1] and "as Gold through 2049-12-31" in said[1]
    assert world.nonces() == before


def test_cards_that_are_gone_since_are_told_apart_from_done(world: World) -> None:
    member = new_member()
    row = f"{member.address},gold,never"
    world.mint(row)
    world.leave(member)
    plan = world.plan(row)
    assert (plan.count(Outcome.DONE), plan.gone) == (1, 1)


def test_a_chain_with_small_blocks_gets_small_batches(start_anvil: StartAnvil, open_on: OpenWorld) -> None:
    world = open_on(start_anvil("--gas-limit", "9500000").url, program_text(rest=""))
    report = world.mint(*(f"{new_wallet()},gold,never" for _ in range(400)))
    assert report.on_chain == 400
    assert world.here.membership.total_supply() == 400


def test_money_promised_to_transactions_in_flight_is_not_spent_twice(
    open_on: OpenWorld, chain: str, monkeypatch: MonkeyPatch
) -> None:
    world = open_on(chain)
    monkeypatch.setattr("nftloyalty.store.slots.promised_wei", lambda tx, signer: 10**24)
    with pytest.raises(OutOfFunds):
        world.mint(f"{new_wallet()},gold,never")


def test_a_mint_beside_another_sender_says_so_and_hears_of_a_halt(open_on: OpenWorld, chain: str) -> None:
    world = open_on(chain)
    here = world.here
    told: list[str] = []

    def mint(then: Callable[[Connection, int], object]) -> MintReport:
        with begin(world.app.engine) as tx:
            row = signers.register(tx, here.attached.row, world.address("hot")).id
            epoch = signers.take_lease(tx, row, "elsewhere/1/1", world.app.now(), 60, lambda owner: True)

        def on_busy(busy: SignerBusy) -> None:
            told.append(busy.message)
            with begin(world.app.engine) as tx:
                then(tx, row)
                signers.release_lease(tx, row, "elsewhere/1/1", epoch)

        return minting.mint(world.app, here, world.plan(f"{new_wallet()},gold,never"), on_busy=on_busy)

    assert mint(lambda tx, row: None).final == 1
    assert "elsewhere/1/1" in told[0]
    with pytest.raises(SignerHalted, match="foreign nonce"):
        mint(lambda tx, row: signers.halt(tx, row, "foreign nonce 7"))
