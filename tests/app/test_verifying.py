"""What a wallet holds and what that opens, as of one block: from the index, or asked of the node."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nftloyalty.app import governing, indexing, verifying
from nftloyalty.chain.client import Node
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.gate import Consistency, ReasonCode
from nftloyalty.errors import ChainRestarted, IndexBehind, IndexHalted, NodeUnreachable, Unknown
from nftloyalty.store import index_steps
from nftloyalty.store.engine import begin
from nftloyalty.store.index import Header
from tests.app.build import NO_DEADLINE, World, new_member, new_wallet
from tests.app.conftest import Anew, OpenWorld
from tests.app.proxy import Proxy
from tests.conftest import StartAnvil

HEAD, FINAL, LIVE = Consistency.HEAD, Consistency.FINAL, Consistency.LIVE


def quiet() -> None:
    """A tick that nobody watches."""


def answer(world: World, wallet: str, consistency: Consistency, **asked: object) -> list[ReasonCode]:
    """Why the gate says no; empty = yes."""
    wanted = {"active": True, "tier": None, "stamps": (), **asked}
    conditions = verifying.conditions(world.here, **wanted)  # type: ignore[arg-type]
    _held, decision = verifying.check(world.app, world.here, wallet, conditions, consistency)
    assert decision.allowed == (not decision.reasons)
    return [reason.code for reason in decision.reasons]


def reasons(world: World, wallet: str, **asked: object) -> list[ReasonCode]:
    """The same, once the index is at the newest block. On this chain a block is final at once, so that every way to ask
    must give the same answer."""
    world.index()
    head, final, live = (answer(world, wallet, consistency, **asked) for consistency in (HEAD, FINAL, LIVE))
    assert head == final == live
    return live


def shown(world: World, wallet: str, consistency: Consistency) -> dict[str, Any]:
    """As ownership shows it, but for its age."""
    held = verifying.holding(world.app, world.here, wallet, consistency)
    found = verifying.as_json(world.here, held, world.app.now())
    del found["as_of"]["age_seconds"], found["as_of"]["checked_seconds_ago"]
    return found


def at_time(world: World, now: datetime, max_age_seconds: float | None = None) -> World:
    """The same world by another clock, which may let the index be older."""
    settings = world.app.settings
    if max_age_seconds is not None:
        settings = replace(settings, index_max_age_seconds=max_age_seconds)
    return replace(world, app=replace(world.app, now=lambda: now, settings=settings))


def in_hours(hours: float) -> datetime:
    return datetime.now(UTC) + timedelta(hours=hours)


def test_a_member_is_shown_in_the_words_of_the_program(world: World) -> None:
    wallet = new_wallet()
    world.mint(f"{wallet},gold,2049-12-31")
    world.stamp("latte", wallet)
    world.index()
    here = world.here
    held = verifying.holding(world.app, here, wallet)
    shown = verifying.as_json(here, held, world.app.now())
    assert shown["program"] == world.program.id
    assert shown["card"]["tier"] == "gold"
    assert shown["card"]["expires_at"] == "2050-01-01T00:00:00Z"
    assert shown["card"]["last_day"] == "2049-12-31"  # as it stood in the file
    assert shown["card"]["active"] is True
    assert shown["stamps"] == [{"season": 0, "type": 1, "id": "latte"}]
    head = world.app.node.head()
    assert (shown["as_of"]["block"], shown["as_of"]["hash"], shown["as_of"]["final"]) == (head.number, head.hash, True)
    assert 0 <= shown["as_of"]["checked_seconds_ago"] <= 30


def test_a_stranger_holds_nothing(world: World) -> None:
    world.index()
    here = world.here
    shown = verifying.as_json(here, verifying.holding(world.app, here, new_wallet()), world.app.now())
    assert (shown["card"], shown["stamps"], shown["left"], shown["revoked"], shown["moved"]) == (
        None,
        [],
        False,
        False,
        False,
    )


def test_the_gate_says_yes_to_what_is_held(world: World) -> None:
    wallet = new_wallet()
    world.mint(f"{wallet},gold,never")
    world.stamp("latte", wallet)
    assert reasons(world, wallet) == []
    assert reasons(world, wallet, tier="gold", stamps=("latte",)) == []
    assert reasons(world, wallet, tier="member") == []


def test_the_gate_names_every_reason_of_a_no(world: World) -> None:
    member, leaver, mover, target = new_wallet(), new_member(), new_member(), new_member()
    world.mint_outside(member, leaver.address, mover.address)
    world.leave(leaver)
    world.move(mover, target)
    assert reasons(world, new_wallet()) == [ReasonCode.NO_CARD]
    assert reasons(world, member, tier="gold", stamps=("latte", "tasting")) == [
        ReasonCode.BELOW_TIER,
        ReasonCode.MISSING_STAMP,
        ReasonCode.MISSING_STAMP,
    ]
    assert reasons(world, leaver.address) == [ReasonCode.LEFT]
    assert reasons(world, mover.address) == [ReasonCode.MOVED]
    assert reasons(world, target.address) == []
    assert reasons(world, member, active=False) == [ReasonCode.NO_CONDITION]
    governing.revoke(world.app, world.here, member, "a test", quiet)
    assert reasons(world, member) == [ReasonCode.REVOKED]


def test_every_way_to_ask_agrees_with_the_chain_after_each_change(world: World) -> None:
    member, other = new_member(), new_member()
    app, here, wallet = world.app, world.here, member.address

    def agreed() -> dict[str, Any]:
        world.index()
        head, final, live = (shown(world, wallet, consistency) for consistency in (HEAD, FINAL, LIVE))
        assert head == final == live
        assert live["as_of"]["hash"] == app.node.head().hash
        return live

    assert agreed()["card"] is None
    world.mint(f"{wallet},member,2049-12-31")
    world.stamp("latte", wallet)
    found = agreed()
    assert (found["card"]["tier"], found["card"]["last_day"], len(found["stamps"])) == ("member", "2049-12-31", 1)
    governing.renew(app, here, wallet, until=datetime(2051, 1, 1, tzinfo=UTC), term=None, tick=quiet)
    assert agreed()["card"]["last_day"] == "2050-12-31"
    governing.set_tier(app, here, wallet, 2, quiet)
    assert agreed()["card"]["tier"] == "gold"
    governing.revoke_stamp(app, here, wallet, 1, True, "a test", quiet)
    assert agreed()["stamps"] == []
    governing.revoke(app, here, wallet, "a test", quiet)
    found = agreed()
    assert (found["card"], found["revoked"]) == (None, True)
    governing.readmit(app, here, wallet, 1, 0, quiet)
    found = agreed()
    assert (found["card"]["tier"], found["card"]["expires_at"], found["revoked"]) == ("member", None, False)
    world.move(member, other)
    found = agreed()
    assert (found["card"], found["moved"]) == (None, True)
    wallet = other.address
    assert agreed()["card"]["member_number"] > 0
    world.leave(other)
    assert agreed()["left"] is True


def test_an_unknown_tier_or_stamp_is_no_condition_that_holds(world: World) -> None:
    with pytest.raises(Unknown, match="no tier 'platinum'"):
        reasons(world, new_wallet(), tier="platinum")
    with pytest.raises(Unknown, match="no stamp 'tea'"):
        reasons(world, new_wallet(), stamps=("tea",))


def test_on_an_idle_chain_an_expired_card_is_no_stale_yes(world: World) -> None:
    """The newest block is older than the expiry: the clock decides. Where the clock is behind, the block does."""
    wallet = new_wallet()
    head = world.app.node.head().timestamp
    world.mint_outside(wallet, expires_at=head + 3600)
    assert reasons(world, wallet) == []
    # The index stands where it stood, and may be that old.
    late = at_time(world, in_hours(2), max_age_seconds=86_400)
    slow = at_time(world, datetime(2001, 1, 1, tzinfo=UTC))
    assert [answer(late, wallet, consistency) for consistency in Consistency] == 3 * [[ReasonCode.EXPIRED]]
    assert answer(slow, wallet, LIVE) == []
    here = late.here
    for consistency in Consistency:
        held = verifying.holding(late.app, here, wallet, consistency)
        shown = verifying.as_json(here, held, late.app.now())
        assert shown["card"]["active"] is False
        assert shown["as_of"]["age_seconds"] >= 3600
        assert (shown["as_of"]["checked_seconds_ago"] >= 7000) == (consistency is not LIVE)


def test_an_expiry_beyond_all_calendars_is_shown_as_their_end(world: World) -> None:
    wallet = new_wallet()
    world.mint_outside(wallet, expires_at=NO_DEADLINE)
    world.index()
    here = world.here
    shown = verifying.as_json(here, verifying.holding(world.app, here, wallet), world.app.now())
    assert shown["card"]["expires_at"] == "9999-12-31T23:59:59Z"
    assert shown["card"]["active"] is True


def test_a_live_answer_is_pinned_to_the_hash_of_one_block(world: World, proxy: Proxy) -> None:
    app = replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}"))
    here = replace(world, app=app).here
    proxy.requests.clear()
    held = verifying.holding(app, here, new_wallet(), LIVE)
    calls = [item for item in proxy.requests if isinstance(item, dict) and item["method"] == "eth_call"]
    assert [call["params"][1] for call in calls] == [{"blockHash": held.as_of.hash, "requireCanonical": True}]


def test_a_chain_that_was_started_anew_is_told_as_such(world: World) -> None:
    """The node answers with the same chain id, and our contracts are gone."""
    here = world.here
    with DevChainServer() as anew:
        restarted = replace(world.app, node=Node(anew.url))
        gone = replace(here, membership=replace(here.membership, node=restarted.node))
        with pytest.raises(ChainRestarted):
            verifying.holding(restarted, gone, new_wallet(), LIVE)


# ------------------------------------------------------------------------------------------------------------ the index


def test_an_answer_from_the_index_asks_the_node_nothing(world: World) -> None:
    wallet = new_wallet()
    world.mint_outside(wallet)
    world.index()
    here = world.here
    app = replace(world.app, node=Node("http://127.0.0.1:9"))
    wanted = verifying.conditions(here, active=True, tier=None, stamps=())
    for consistency in (HEAD, FINAL):
        assert verifying.check(app, here, wallet, wanted, consistency)[1].allowed
    with pytest.raises(NodeUnreachable):
        verifying.check(app, here, wallet, wanted, LIVE)


def test_final_lags_head_until_the_block_is_final(start_anvil: StartAnvil, open_on: OpenWorld) -> None:
    """anvil calls final what two blocks lie upon."""
    world = open_on(start_anvil("--slots-in-an-epoch", "1").url)
    wallet = new_wallet()
    world.mint_outside(wallet)
    for final in (False, False, True):
        world.index()
        assert answer(world, wallet, HEAD) == answer(world, wallet, LIVE) == []
        assert answer(world, wallet, FINAL) == ([] if final else [ReasonCode.NO_CARD])
        found = {consistency: shown(world, wallet, consistency)["as_of"] for consistency in Consistency}
        assert found[HEAD] == found[LIVE]
        assert [each["final"] for each in found.values()] == [False, True, False]
        assert found[FINAL]["block"] == found[HEAD]["block"] - 2
        world.app.node.call("anvil_mine", [hex(1)])


def test_an_index_that_was_not_begun_answers_nothing(anew: Anew) -> None:
    world = anew("")
    for consistency in (HEAD, FINAL):
        with pytest.raises(IndexBehind, match="has not been begun"):
            answer(world, new_wallet(), consistency)
    with pytest.raises(IndexBehind):
        verifying.check_index(world.app, world.here)
    assert answer(world, new_wallet(), LIVE) == [ReasonCode.NO_CARD]


def test_an_index_that_is_still_being_built_answers_nothing(anew: Anew) -> None:
    """It stands at an older block, and was never at the newest one."""
    world = anew("")
    here, genesis = world.here, world.app.node.block(0)
    with begin(world.app.engine) as tx:
        index_steps.start(tx, here.row.id, 1, Header(genesis.number, genesis.hash, genesis.parent_hash, 0))
    for consistency in (HEAD, FINAL):
        with pytest.raises(IndexBehind, match="is being built and has come to block 0"):
            answer(world, new_wallet(), consistency)


@pytest.mark.parametrize("hours", [2, -2])
def test_a_stale_index_answers_neither_yes_nor_no(world: World, hours: float) -> None:
    """Whether its age is known or not: a clock that is set back must not make it young."""
    wallet = new_wallet()
    world.mint_outside(wallet)
    assert reasons(world, wallet) == []
    late = at_time(world, in_hours(hours))
    for consistency in (HEAD, FINAL):
        with pytest.raises(IndexBehind, match="was last up to date 20") as refused:
            answer(late, wallet, consistency)
        assert ("a clock that is ahead of this one" in refused.value.message) == (hours < 0)
    with pytest.raises(IndexBehind):
        verifying.check_index(late.app, late.here)
    assert answer(late, wallet, LIVE) == []


def test_a_halted_index_answers_nothing_until_it_is_built_anew(anew: Anew) -> None:
    world = anew("")
    wallet = new_wallet()
    world.mint_outside(wallet)
    assert reasons(world, wallet) == []
    at = verifying.index_position(world.app, world.here)
    assert at is not None
    with begin(world.app.engine) as tx:
        index_steps.halt(tx, at, "block 7 was final and is gone")
    for consistency in (HEAD, FINAL):
        with pytest.raises(IndexHalted, match="block 7 was final and is gone"):
            answer(world, wallet, consistency)
    with pytest.raises(IndexHalted):
        verifying.check_index(world.app, world.here)
    with pytest.raises(IndexHalted):
        world.index()
    assert answer(world, wallet, LIVE) == []
    indexing.rebuild(world.app, world.here.row.id)
    assert reasons(world, wallet) == []
