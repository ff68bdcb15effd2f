"""The index in the database: forward, back, final, and read in one look."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from sqlalchemy import Connection, Engine, text

from nftloyalty.domain.holding import Fact, FactKind, HoldingState
from nftloyalty.domain.words import CardWord, Flag, StampsWord
from nftloyalty.store import index, index_steps
from nftloyalty.store.engine import begin, read
from nftloyalty.store.index import Header, PositionRow
from nftloyalty.store.index_steps import Overtaken
from tests.store.build import NOW, Ground, card_facts, everything, header, prepared, program, run_together, season_fact

A, B, C = (bytes([number]) * 20 for number in (1, 2, 3))


class Shelf:
    """A program whose index stands on the final block 10."""

    def __init__(self, engine: Engine) -> None:
        self.engine = engine
        with begin(engine) as tx:
            self.ground: Ground = prepared(tx)
            index_steps.start(tx, self.ground.program, 11, header(10))

    @property
    def at(self) -> PositionRow:
        with read(self.engine) as tx:
            found = index.position(tx, self.ground.program)
        assert found is not None
        return found

    def advance(self, to: int, *facts: Fact, final: int = 10, fork: str = "a") -> PositionRow:
        at = self.at
        with begin(self.engine) as tx:
            headers = [header(number, fork) for number in range(at.number + 1, to + 1)]
            headers[0] = replace(headers[0], parent=at.hash)
            index_steps.advance(tx, at, headers, facts, final)
        return self.at

    def card(self, who: bytes, *, final: bool = False) -> CardWord:
        with read(self.engine) as tx:
            ask = index.reading_as_of_final if final else index.reading
            found = ask(tx, self.ground.program, who)
            ask_many = index.readings_as_of_final if final else index.readings
            together = ask_many(tx, self.ground.program, [who, bytes(20), who])
        assert found is not None and together is not None
        assert [together[0], together[2]] == [found, found] and not together[1].holding.card.exists
        return found.holding.card

    def rows(self, table: str) -> list[tuple[object, ...]]:
        with read(self.engine) as tx:
            return everything(tx)[table]


@pytest.fixture
def shelf(engine: Engine) -> Iterator[Shelf]:
    yield Shelf(engine)


def burn(who: bytes, block: int, log_index: int = 0) -> Fact:
    return Fact(block, log_index, bytes(32), 0, int(FactKind.CARD_BURNED), who, b"")


def rank(who: bytes, block: int, tier: int, log_index: int = 0) -> Fact:
    data = bytes([tier]) + (1).to_bytes(8, "big")
    return Fact(block, log_index, bytes(32), 0, int(FactKind.MEMBER_SET), who, data)


# ------------------------------------------------------------------------------------------------------------- forward


def test_an_index_begins_once(shelf: Shelf) -> None:
    shelf.advance(12)
    with begin(shelf.engine) as tx:
        index_steps.start(tx, shelf.ground.program, 5, header(4))
    assert (shelf.at.first_block, shelf.at.number) == (11, 12)


def test_facts_become_holdings_and_stay_as_logs(shelf: Shelf) -> None:
    facts = [*card_facts(A, 11), season_fact(12)]
    at = shelf.advance(13, *facts)
    assert (at.number, at.hash, at.timestamp) == (13, header(13).hash, header(13).timestamp)
    assert (at.final_number, at.final_hash, at.confirmed_at, at.incident) == (10, header(10).hash, None, None)
    assert shelf.card(A) == CardWord(1_700_000_011, 0, 2, 1, 0, 0, Flag(0))
    with read(shelf.engine) as tx:
        assert index.facts(tx, shelf.ground.program, 1, 99) == facts
        assert index.facts(tx, shelf.ground.program, 12, 12) == facts[3:]
        assert index.season_contracts(tx, shelf.ground.program) == [facts[3].wallet]
        assert index.holding(tx, shelf.ground.program, A) == HoldingState(1_700_000_011, 0, 2, 1, 0)
        assert index.holding(tx, shelf.ground.program, B) is None
        assert index.position(tx, 777) is None
        assert index.reading(tx, 777, A) is None


def test_a_wallet_of_which_nothing_is_known_has_a_word_for_each_season(shelf: Shelf) -> None:
    shelf.advance(12, season_fact(11), season_fact(12, 1))
    with read(shelf.engine) as tx:
        found = index.reading(tx, shelf.ground.program, A)
    assert found is not None and found.holding.stamps == (StampsWord(0, 0, False),) * 2


def test_a_season_linked_after_the_final_block_is_no_season_then(shelf: Shelf) -> None:
    shelf.advance(13, season_fact(11), season_fact(13, 1), final=11)
    with read(shelf.engine) as tx:
        found = index.reading_as_of_final(tx, shelf.ground.program, A)
    assert found is not None and found.holding.stamps == (StampsWord(0, 0, False),)
    assert (found.as_of.block, found.as_of.hash, found.as_of.final) == (11, header(11).hash, True)


def test_blocks_that_are_final_when_they_are_read_need_no_way_back(shelf: Shelf) -> None:
    at = shelf.advance(14, *card_facts(A, 12), *card_facts(B, 13, serial=2), final=12)
    assert (at.final_number, at.final_hash, at.final_timestamp) == (12, header(12).hash, header(12).timestamp)
    assert [row[1] for row in shelf.rows("undo")] == [B]
    assert [row[1] for row in shelf.rows("blocks")] == [13, 14]
    at = shelf.advance(15, final=99)
    assert at.final_number == at.number == 15


def test_many_wallets_of_one_range_are_taken_in_at_once(shelf: Shelf) -> None:
    wallets = [number.to_bytes(20, "big") for number in range(1, 2001)]
    facts = [fact for number, who in enumerate(wallets) for fact in card_facts(who, 11, number + 1, 3 * number)]
    shelf.advance(11, *facts, final=11)
    shelf.advance(12, *(rank(who, 12, 3, number) for number, who in enumerate(wallets)), final=11)
    with read(shelf.engine) as tx:
        held = index.everything_held(tx, shelf.ground.program)
    assert held.keys() == set(wallets) and {state.tier for state in held.values()} == {3}
    shelf_undo(shelf, header(11))
    with read(shelf.engine) as tx:
        held = index.everything_held(tx, shelf.ground.program)
    assert {state.tier for state in held.values()} == {2}
    assert sorted(state.serial for state in held.values()) == list(range(1, 2001))


# ------------------------------------------------------------------------------------------------------------ and back


def shelf_undo(shelf: Shelf, ancestor: Header) -> None:
    at = shelf.at
    with begin(shelf.engine) as tx:
        index_steps.undo_to(tx, at, ancestor, NOW)


def test_undoing_blocks_leaves_what_was_there_before_them(shelf: Shelf) -> None:
    shelf.advance(11, *card_facts(A, 11), season_fact(11))
    before = {table: shelf.rows(table) for table in ("holdings", "logs", "seasons", "undo")}
    shelf.advance(12, rank(A, 12, 5), rank(A, 12, 6, 1), *card_facts(B, 12, 2, 5))
    shelf.advance(13, burn(A, 13), burn(B, 13, 1), season_fact(13, 1))
    assert shelf.card(A).flags == Flag.LEFT
    shelf_undo(shelf, header(11))
    assert {table: shelf.rows(table) for table in before} == before
    assert (shelf.at.number, shelf.at.hash) == (11, header(11).hash)
    # And forward again on another fork.
    shelf.advance(13, rank(A, 12, 7), fork="b")
    assert shelf.card(A).tier == 7


def test_undoing_one_block_of_several_goes_back_one_step(shelf: Shelf) -> None:
    shelf.advance(13, *card_facts(A, 11), rank(A, 12, 5), rank(A, 13, 6))
    shelf_undo(shelf, header(12))
    assert shelf.card(A).tier == 5
    shelf_undo(shelf, header(11))
    assert shelf.card(A).tier == 2
    shelf_undo(shelf, header(10))
    assert shelf.rows("holdings") == []


def test_what_is_final_is_not_undone(shelf: Shelf) -> None:
    shelf.advance(13, *card_facts(A, 11), final=12)
    with pytest.raises(ValueError, match="block 12 is final"):
        shelf_undo(shelf, header(11))


def test_the_ancestry_is_the_way_by_which_the_position_was_reached(shelf: Shelf) -> None:
    shelf.advance(13)
    shelf_undo(shelf, header(11))
    shelf.advance(14, fork="b")
    with read(shelf.engine) as tx:
        found = index.ancestry(tx, shelf.at)
    assert [each.hash for each in found] == [
        header(14, "b").hash,
        header(13, "b").hash,
        header(12, "b").hash,
        header(11).hash,
        header(10).hash,
    ]
    # The orphaned ones stay for a program that stands on them.
    assert {row[2] for row in shelf.rows("blocks")} >= {header(12).hash, header(13).hash}


# ---------------------------------------------------------------------------------------------------------- and final


def test_as_of_final_is_what_was_before_the_first_change_since(shelf: Shelf) -> None:
    shelf.advance(11, *card_facts(A, 11), final=11)
    shelf.advance(14, rank(A, 12, 5), rank(A, 14, 6), *card_facts(B, 13, 2))
    assert [shelf.card(A, final=final).tier for final in (False, True)] == [6, 2]
    assert shelf.card(B).exists and not shelf.card(B, final=True).exists
    for number, tier, exists in ((12, 5, False), (13, 5, True), (14, 6, True)):
        at = shelf.at
        with begin(shelf.engine) as tx:
            index_steps.finalise(tx, at, header(number))
        assert (shelf.card(A, final=True).tier, shelf.card(B, final=True).exists) == (tier, exists)
        assert (shelf.card(A).tier, shelf.at.as_of_final.block) == (6, number)
    assert shelf.rows("undo") == shelf.rows("blocks") == []
    assert shelf.at.as_of.final


def test_headers_stay_as_long_as_any_program_of_the_chain_needs_them(shelf: Shelf) -> None:
    with begin(shelf.engine) as tx:
        other = program(tx, shelf.ground.chain, "tea").id
        index_steps.start(tx, other, 11, header(10))
        at = index.position(tx, other)
        assert at is not None
        index_steps.advance(tx, at, [header(11), header(12)], [], 10)
    shelf.advance(14)
    before = shelf.at
    with begin(shelf.engine) as tx:
        index_steps.finalise(tx, before, header(13))
    assert [row[1] for row in shelf.rows("blocks")] == [11, 12, 13, 14]
    with begin(shelf.engine) as tx:
        at = index.position(tx, other)
        assert at is not None
        index_steps.finalise(tx, at, header(12))
    assert [row[1] for row in shelf.rows("blocks")] == [14]


def test_mending_puts_other_facts_in_the_place_of_the_stored(shelf: Shelf) -> None:
    shelf.advance(14, *card_facts(A, 11), *card_facts(B, 12, 2), rank(B, 14, 9))
    before = shelf.at
    with begin(shelf.engine) as tx:
        index_steps.mend(tx, before, header(12), [*card_facts(A, 11), burn(A, 12)], NOW)
    assert (shelf.at.number, shelf.at.final_number) == (12, 12)
    assert shelf.card(A).flags == Flag.LEFT
    assert not shelf.card(B).exists
    assert [row[1] for row in shelf.rows("logs")] == [11, 11, 11, 12]
    assert shelf.rows("undo") == []


# ------------------------------------------------------------------------------------------------------- who was first


def test_whoever_finds_the_position_elsewhere_writes_nothing(shelf: Shelf) -> None:
    late = shelf.at
    shelf.advance(11, *card_facts(A, 11))
    with read(shelf.engine) as tx:
        before = everything(tx)
    steps: list[Callable[[Connection], None]] = [
        lambda tx: index_steps.advance(tx, late, [header(11)], card_facts(B, 11), 10),
        lambda tx: index_steps.undo_to(tx, late, header(10), NOW),
        lambda tx: index_steps.finalise(tx, late, header(11)),
        lambda tx: index_steps.mend(tx, late, header(11), [], NOW),
        lambda tx: index_steps.confirm(tx, late, NOW),
        lambda tx: index_steps.halt(tx, late, "why"),
    ]
    for step in steps:
        with pytest.raises(Overtaken), begin(shelf.engine) as tx:
            step(tx)
    with read(shelf.engine) as tx:
        assert everything(tx) == before


def test_of_writers_at_once_one_wins_each_block(shelf: Shelf) -> None:
    lost = []

    def work() -> None:
        while (at := shelf.at).number < 30:
            number = at.number + 1
            try:
                with begin(shelf.engine) as tx:
                    index_steps.advance(
                        tx, at, [replace(header(number), parent=at.hash)], card_facts(bytes([number]) * 20, number), 10
                    )
            except Overtaken:
                lost.append(number)

    run_together([work] * 4)
    assert [row[1] for row in shelf.rows("logs")] == [number for number in range(11, 31) for _ in range(3)]
    assert len(shelf.rows("holdings")) == 20


def test_a_halted_index_takes_no_step(shelf: Shelf) -> None:
    shelf.advance(12)
    before = shelf.at
    with begin(shelf.engine) as tx:
        index_steps.halt(tx, before, "the node is on another chain")
    halted = shelf.at
    assert halted == replace(before, incident="the node is on another chain")
    with pytest.raises(Overtaken), begin(shelf.engine) as tx:
        index_steps.advance(tx, halted, [header(13)], [], 10)


def test_dropping_a_program_leaves_the_others(shelf: Shelf) -> None:
    shelf.advance(12, *card_facts(A, 11), season_fact(12))
    with begin(shelf.engine) as tx:
        other = program(tx, shelf.ground.chain, "tea").id
        index_steps.start(tx, other, 11, header(10))
        at = index.position(tx, other)
        assert at is not None
        index_steps.advance(tx, at, [header(11)], card_facts(A, 11), 10)
        index_steps.drop(tx, shelf.ground.program)
    for table in ("positions", "holdings", "undo", "logs", "seasons"):
        assert {row[0] for row in shelf.rows(table)} <= {other}
    assert len(shelf.rows("holdings")) == 1


def test_one_owner_at_a_time_holds_the_lease(shelf: Shelf) -> None:
    chain, later = shelf.ground.chain, NOW + timedelta(seconds=31)

    def take(owner: str, now: object = NOW, alive: bool = True) -> bool:
        with begin(shelf.engine) as tx:
            return index_steps.take_lease(tx, chain, owner, now, 30, lambda each: alive)  # type: ignore[arg-type]

    assert take("one") and take("one")
    assert not take("two")
    assert take("two", alive=False)
    assert not take("one") and take("one", now=later)
    with begin(shelf.engine) as tx:
        index_steps.release_lease(tx, chain, "two")
    assert not take("two", now=later)
    with begin(shelf.engine) as tx:
        index_steps.release_lease(tx, chain, "one")
    assert take("two", now=later)


def test_of_processes_that_want_the_lease_at_once_one_gets_it(shelf: Shelf) -> None:
    got: list[bool] = []

    def work(owner: str) -> None:
        with begin(shelf.engine) as tx:
            got.append(index_steps.take_lease(tx, shelf.ground.chain, owner, NOW, 30, lambda each: True))

    run_together([lambda owner=str(number): work(owner) for number in range(4)])  # type: ignore[misc]
    assert sorted(got) == [False, False, False, True]


# ---------------------------------------------------------------------------------------------------------- a look-up


def test_the_check_is_a_look_at_primary_keys(shelf: Shelf) -> None:
    """On SQLite, whose plan does not depend on how much there is."""
    if shelf.engine.dialect.name != "sqlite":
        shelf.advance(12, *card_facts(A, 11))
        assert shelf.card(A).exists
        return
    wanted = {"program": shelf.ground.program, "wallet": A}
    with read(shelf.engine) as tx:
        plan = [row[3] for row in tx.execute(text(f"EXPLAIN QUERY PLAN {index.check}"), wanted)]
    assert sorted(line for line in plan if "SUBQUERY" not in line) == [
        "SEARCH holdings USING PRIMARY KEY (program=? AND wallet=?) LEFT-JOIN",
        "SEARCH positions USING INTEGER PRIMARY KEY (rowid=?)",
        "SEARCH seasons USING PRIMARY KEY (program=?)",
    ]


def test_as_of_final_and_undoing_use_their_indexes(shelf: Shelf) -> None:
    if shelf.engine.dialect.name != "sqlite":
        return
    plans = {
        "SELECT * FROM undo WHERE program = 1 AND wallet = x'01' AND block_number > 5 ORDER BY block_number LIMIT 1": (
            "SEARCH undo USING PRIMARY KEY (program=? AND wallet=? AND block_number>?)"
        ),
        "DELETE FROM undo WHERE program = 1 AND block_number <= 5": (
            "SEARCH undo USING COVERING INDEX ix_undo_program_block_number (program=? AND block_number<?)"
        ),
        "DELETE FROM logs WHERE program = 1 AND block_number > 5": (
            "SEARCH logs USING PRIMARY KEY (program=? AND block_number>?)"
        ),
        "SELECT * FROM blocks WHERE chain = 1 AND number > 5 AND number <= 9": (
            "SEARCH blocks USING PRIMARY KEY (chain=? AND number>? AND number<?)"
        ),
    }
    with read(shelf.engine) as tx:
        for statement, wanted in plans.items():
            assert [row[3] for row in tx.execute(text(f"EXPLAIN QUERY PLAN {statement}"))] == [wanted]
