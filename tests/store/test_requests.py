"""What was asked for: looked up by key in bulk, and page by page, by index however much there is."""

from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from sqlalchemy import Engine, text

from nftloyalty.domain.holding import Fact, FactKind
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.store import index, index_steps, intents, requests
from nftloyalty.store.engine import begin, read
from nftloyalty.store.requests import PENDING, STOPPED, Filters
from tests.store.build import (
    NOW,
    Ground,
    accepted,
    header,
    new_intent,
    prepared,
    program,
    season_fact,
    sent,
    waiting_cards,
    wallet,
)
from tests.store.test_plans import listening, rows_touched, sqlite_plans, steps_taken

CARDS = (Kind.MINT_CARD,)


@pytest.fixture
def ground(engine: Engine) -> Ground:
    with begin(engine) as tx:
        return prepared(tx)


def test_many_keys_are_looked_up_at_once(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        rows = accepted(tx, ground, range(3))
        intents.reject(tx, [rows[1].id], NOW, error="no")
        asked = [row.request_key for row in rows] + [f"nobody's {number}" for number in range(6_000)]
        found = requests.standings(tx, ground.chain, asked)
        assert {key: (row.id, row.public_id, row.state) for key, row in found.items()} == {
            row.request_key: (
                row.id,
                row.public_id,
                IntentState.REJECTED if place == 1 else IntentState.RECEIVED,
            )
            for place, row in enumerate(rows)
        }
        assert found[rows[0].request_key].args == {"tier": 1, "expires_at": 0}
        assert requests.standings(tx, ground.chain + 1, asked) == {}
        assert requests.standings(tx, ground.chain, []) == {}


def ids(rows: list[intents.IntentRow]) -> list[int]:
    return [row.id for row in rows]


def test_pages_go_from_the_newest_on_and_leave_nothing_out(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        tea = program(tx, ground.chain, "tea").id
        rows = []
        for number in range(12):
            kind = (Kind.MINT_CARD, Kind.MINT_STAMP, Kind.CALL)[number % 3]
            rows += accepted(tx, ground, [number], kind=kind, stamp_type=int(kind is Kind.MINT_STAMP))
            accepted(tx, ground, [number], program=tea)
        filters = Filters((Kind.MINT_CARD, Kind.MINT_STAMP))
        wanted = [row.id for row in reversed(rows) if row.kind is not Kind.CALL]
        seen: list[int] = []
        before = None
        while page := requests.page(tx, ground.program, filters, before=before, limit=3):
            seen += ids(page)
            before = seen[-1]
        assert seen == wanted


def test_a_page_holds_what_passes_every_filter(engine: Engine, ground: Ground) -> None:
    with begin(engine) as tx:
        rows = [
            intents.accept(tx, new_intent(ground, number), NOW + timedelta(hours=number))[0] for number in range(10)
        ]
        (stamp,) = accepted(tx, ground, [3], kind=Kind.MINT_STAMP, stamp_type=1)
        (claim,) = accepted(tx, ground, [3], kind=Kind.CLAIM_STAMP, stamp_type=1)
        accepted(tx, ground, [4], kind=Kind.CLAIM_STAMP, stamp_type=1)
        places = {row.id: place for place, row in enumerate(rows)} | {stamp.id: -1, claim.id: -2}
        intents.reject(tx, [rows[2].id, rows[5].id], NOW, error="no")
        intents.cancel(tx, [rows[7].id], NOW)

        def page(kinds: tuple[Kind, ...] = CARDS, **filters: object) -> list[int]:
            found = requests.page(tx, ground.program, Filters(kinds, **filters), limit=100)  # type: ignore[arg-type]
            return sorted(places[each.id] for each in found)

        assert page() == list(range(10))
        assert page(states=STOPPED) == [2, 5, 7]
        assert page(states=(IntentState.CANCELLED,)) == [7]
        assert page(states=PENDING) == [0, 1, 3, 4, 6, 8, 9]
        assert page(states=(IntentState.FINAL,)) == []
        assert page(states=(IntentState.REJECTED, IntentState.RECEIVED)) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
        mine: dict[str, Any] = {"recipient": wallet(3), "mints": [rows[3].id, stamp.id]}
        assert page(**mine) == [3]
        assert page((*CARDS, Kind.MINT_STAMP), **mine) == [-1, 3]
        assert page((*CARDS, Kind.CLAIM_STAMP), **mine) == [-2, 3]
        assert page(**mine, states=STOPPED) == []
        assert page(since=NOW + timedelta(hours=4)) == [4, 5, 6, 7, 8, 9]
        assert page(until=NOW + timedelta(hours=4)) == [0, 1, 2, 3]
        assert page(since=NOW + timedelta(hours=3), until=NOW + timedelta(hours=7), states=STOPPED) == [5]
        assert page(since=NOW + timedelta(days=9)) == []
        assert page(until=NOW) == []


def test_clocks_that_differ_lose_nobody(engine: Engine, ground: Ground) -> None:
    """Another process, whose clock is four minutes behind, accepts in between."""
    with begin(engine) as tx:
        for number in range(40):
            late = timedelta(minutes=4 if number % 3 == 0 else 0)
            intents.accept(tx, new_intent(ground, number), NOW + timedelta(seconds=20 * number) - late)
        for minute in range(-5, 15):
            moment = NOW + timedelta(minutes=minute)
            after = requests.page(tx, ground.program, Filters(CARDS, since=moment), limit=100)
            before = requests.page(tx, ground.program, Filters(CARDS, until=moment), limit=100)
            assert all(row.created_at >= moment for row in after)
            assert all(row.created_at < moment for row in before)
            assert len(after) + len(before) == 40


def fill(engine: Engine, ground: Ground, first: int, count: int) -> None:
    """As after a sender: most is done, some was rejected, a little waits."""
    with begin(engine) as tx:
        intents.accept_many(tx, [new_intent(ground, number) for number in range(first, first + count)], NOW)
        at = {"first": first}
        tx.execute(text("UPDATE intents SET state = 'rejected' WHERE id > :first AND id % 100 = 1"), at)
        slot = sent(tx, ground, waiting_cards(tx, ground, limit=1))[0].id
        done = "UPDATE intents SET state = 'final', slot = :slot, tx_hash = '0x', block_number = 1"
        tx.execute(text(f"{done} WHERE state = 'received' AND id > :first AND id % 50 <> 0"), at | {"slot": slot})


FILTERS = {
    "all": Filters((*CARDS, Kind.MINT_STAMP)),
    "of no kind there is": Filters((Kind.MINT_STAMP,)),
    "pending": Filters(CARDS, PENDING),
    "stopped": Filters(CARDS, STOPPED),
    "of a wallet": Filters(CARDS, recipient=wallet(77), mints=(77, 78)),
    "long ago": Filters(CARDS, until=NOW - timedelta(days=1)),
    "none yet": Filters(CARDS, since=NOW + timedelta(days=1)),
}


@pytest.mark.parametrize("name", FILTERS)
def test_a_page_takes_as_long_as_it_is(engine: Engine, ground: Ground, name: str) -> None:
    """Measured by the rows that PostgreSQL touches and the steps that SQLite's machine takes, beside a smaller one."""
    fill(engine, ground, 0, 500)
    few = _work_of(engine, ground, FILTERS[name])
    fill(engine, ground, 500, 4_000)
    many = _work_of(engine, ground, FILTERS[name])
    # Halving takes a few more steps.
    assert many <= 2 * few + 200, (few, many)


def _work_of(engine: Engine, ground: Ground, filters: Filters) -> int:
    with begin(engine) as tx:
        if engine.dialect.name == "sqlite":
            return steps_taken(tx, lambda: requests.page(tx, ground.program, filters, limit=5))
        tx.execute(text("ANALYZE intents"))
        return rows_touched(tx, lambda: requests.page(tx, ground.program, filters, limit=5))


def test_every_question_finds_its_rows_by_index(engine: Engine, ground: Ground) -> None:
    if engine.dialect.name != "sqlite":
        return
    with begin(engine) as tx:
        rows = accepted(tx, ground, range(5))
    with read(engine) as tx, listening(engine) as asked:
        requests.standings(tx, ground.chain, [rows[0].request_key, "x"])
        for filters in FILTERS.values():
            requests.page(tx, ground.program, filters, before=4, limit=5)
        requests.mintable_again(tx, ground.program, 1, [bytes(20)])
    with read(engine) as tx:
        plans = sqlite_plans(tx, asked)
    for statement, plan in plans.items():
        steps = [step for step in plan if "VIRTUAL TABLE" not in step]
        # The newest row is the end of the primary key.
        steps = [step for step in steps if "max(intents.id)" not in statement]
        assert not [step for step in steps if step.startswith("SCAN")], (statement, plan)
        assert "recipient = ?" in statement or "TEMP B-TREE" not in str(plan), (statement, plan)
    for name in ("program_kind_id", "recipient_program_id", "pending", "stopped"):
        assert [plan for plan in plans.values() if any(f"INDEX ix_intents_{name} (" in step for step in plan)], name


# --------------------------------------------------------------------------------------- stamps that may be given again


def indexed(engine: Engine, ground: Ground) -> None:
    """Up to the final block 10."""
    with begin(engine) as tx:
        index_steps.start(tx, ground.program, 11, header(10))


def advance(engine: Engine, ground: Ground, block: int, facts: Sequence[Fact] = ()) -> None:
    with begin(engine) as tx:
        at = index.position(tx, ground.program)
        assert at is not None
        index_steps.advance(tx, at, [header(block)], facts, final_number=10, confirmed_at=NOW)


def finalise(engine: Engine, ground: Ground, block: int) -> None:
    with begin(engine) as tx:
        at = index.position(tx, ground.program)
        assert at is not None
        index_steps.finalise(tx, at, header(block))


def stamp_fact(kind: FactKind, block: int, *data: int) -> Fact:
    return Fact(block, 1, bytes(32), 1, int(kind), bytes([1]) * 20, bytes(data))


def test_who_may_have_a_stamp_again_is_told_as_of_the_final_block(engine: Engine, ground: Ground) -> None:
    one, other = bytes([1]) * 20, bytes([2]) * 20

    def mintable(stamp_type: int = 3) -> tuple[int, set[bytes]]:
        with read(engine) as tx:
            return requests.mintable_again(tx, ground.program, stamp_type, [one, other])

    assert mintable() == (-1, set())
    indexed(engine, ground)
    advance(engine, ground, 11, [season_fact(11)])
    advance(engine, ground, 12, [stamp_fact(FactKind.STAMP_MINTED, 12, 3)])
    assert mintable() == (10, {one, other})
    finalise(engine, ground, 12)
    assert mintable() == (12, {other})
    assert mintable(4) == (12, {one, other})
    taken = stamp_fact(FactKind.STAMP_BURNED, 13, 3)
    advance(engine, ground, 13, [taken, stamp_fact(FactKind.STAMP_REVOKED, 13, 3, 1)._replace(log_index=2)])
    # And another one of the same wallet.
    advance(engine, ground, 14, [stamp_fact(FactKind.STAMP_MINTED, 14, 5)])
    assert mintable() == (12, {other})
    finalise(engine, ground, 13)
    assert mintable() == (13, {one, other})
    assert mintable(5) == (13, {one, other})
    finalise(engine, ground, 14)
    assert mintable(5) == (14, {other})
    with begin(engine) as tx:
        tx.execute(text("UPDATE positions SET incident = 'it stands still'"))
    assert mintable() == (-1, set())
