"""What a wallet holds and what that opens, as of one block."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from nftloyalty.app import governing, verifying
from nftloyalty.chain.client import Node
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.gate import ReasonCode
from nftloyalty.errors import ChainRestarted, Unknown
from tests.app.build import NO_DEADLINE, World, new_member, new_wallet
from tests.app.proxy import Proxy


def reasons(world: World, wallet: str, **asked: object) -> list[ReasonCode]:
    """Why the gate says no; empty = yes."""
    wanted = {"active": True, "tier": None, "stamps": (), **asked}
    conditions = verifying.conditions(world.here, **wanted)  # type: ignore[arg-type]
    _held, decision = verifying.check(world.app, world.here, wallet, conditions)
    assert decision.allowed == (not decision.reasons)
    return [reason.code for reason in decision.reasons]


def test_a_member_is_shown_in_the_words_of_the_program(world: World) -> None:
    wallet = new_wallet()
    world.mint(f"{wallet},gold,2049-12-31")
    world.stamp("latte", wallet)
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


def test_a_stranger_holds_nothing(world: World) -> None:
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
    governing.revoke(world.app, world.here, member, "a test", lambda: None)
    assert reasons(world, member) == [ReasonCode.REVOKED]


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
    late = replace(world, app=replace(world.app, now=lambda: datetime.now(UTC) + timedelta(hours=2)))
    slow = replace(world, app=replace(world.app, now=lambda: datetime(2001, 1, 1, tzinfo=UTC)))
    assert reasons(world, wallet) == []
    assert reasons(late, wallet) == [ReasonCode.EXPIRED]
    assert reasons(slow, wallet) == []
    here = late.here
    shown = verifying.as_json(here, verifying.holding(late.app, here, wallet), late.app.now())
    assert shown["card"]["active"] is False
    assert shown["as_of"]["age_seconds"] >= 3600


def test_an_expiry_beyond_all_calendars_is_shown_as_their_end(world: World) -> None:
    wallet = new_wallet()
    world.mint_outside(wallet, expires_at=NO_DEADLINE)
    here = world.here
    shown = verifying.as_json(here, verifying.holding(world.app, here, wallet), world.app.now())
    assert shown["card"]["expires_at"] == "9999-12-31T23:59:59Z"
    assert shown["card"]["active"] is True


def test_the_answer_is_pinned_to_the_hash_of_one_block(world: World, proxy: Proxy) -> None:
    app = replace(world.app, node=Node(f"http://127.0.0.1:{proxy.port}"))
    here = replace(world, app=app).here
    proxy.requests.clear()
    held = verifying.holding(app, here, new_wallet())
    calls = [item for item in proxy.requests if isinstance(item, dict) and item["method"] == "eth_call"]
    assert [call["params"][1] for call in calls] == [{"blockHash": held.as_of.hash, "requireCanonical": True}]


def test_a_chain_that_was_started_anew_is_told_as_such(world: World) -> None:
    """The node answers with the same chain id, and our contracts are gone."""
    here = world.here
    with DevChainServer() as anew:
        restarted = replace(world.app, node=Node(anew.url))
        gone = replace(here, membership=replace(here.membership, node=restarted.node))
        with pytest.raises(ChainRestarted):
            verifying.holding(restarted, gone, new_wallet())
