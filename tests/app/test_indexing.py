"""The index is what the chain says, whatever the node does on the way."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import event

from nftloyalty.app import asking, indexing
from nftloyalty.app.announcing import announce
from nftloyalty.app.asking import Window
from nftloyalty.app.context import App
from nftloyalty.app.indexing import Indexer, Progress, catch_up, rebuild
from nftloyalty.app.opening import Attached
from nftloyalty.chain.client import Node
from nftloyalty.chain.signer import LocalSigner
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.gate import Holding
from nftloyalty.domain.program_file import read_program
from nftloyalty.errors import ChainProblem, ChainRestarted, IndexHalted, NodeRefused, NodeUnreachable
from nftloyalty.store import chains, events, index, index_steps, programs
from nftloyalty.store.engine import begin, read
from tests.app.acted import Acted
from tests.app.build import Clock, app_of, settings_of
from tests.app.desk import (
    ANY_HISTORY,
    FINALITY,
    Desk,
    OpenDesk,
    begin_history,
    come_clean,
    desks,
    play,
    spoken,
)
from tests.app.paper_chain import PaperBlock
from tests.chain.opened import STAMPS, Opened, open_program
from tests.conftest import StartAnvil
from tests.domain.build import HEAD, NOW, program_text
from tests.domain.folded import as_held, folded
from tests.domain.paper import wallet
from tests.store.history import net, standing

SOME_SEED = 20_270_301


@pytest.fixture
def desk_of(tmp_path: Path, sqlite_template: Path) -> Iterator[OpenDesk]:
    with desks(tmp_path, sqlite_template) as opening:
        yield opening


@pytest.fixture
def desk(desk_of: OpenDesk, migrated_url: str) -> Desk:
    """On each database."""
    return desk_of(Random(SOME_SEED), migrated_url)  # noqa: S311 a history, no secret


@pytest.fixture
def lite(desk_of: OpenDesk) -> Desk:
    """For what is the same on each database."""
    return desk_of(Random(SOME_SEED))  # noqa: S311 a history, no secret


# ------------------------------------------------------------------------------------------------------------- forward


def test_a_new_program_is_read_up_to_the_head(desk: Desk) -> None:
    desk.chain.grow(3)
    desk.open()
    desk.chain.grow(90)
    seen: list[Progress] = []
    report = catch_up(desk.app, desk.attached, FINALITY, progress=seen.append)
    assert report.at_head and (report.head, report.lowest) == (94, 94)
    assert [each.lowest for each in seen] == sorted(each.lowest or 0 for each in seen) and len(seen) > 1
    desk.assert_equals_replay()
    at = desk.position()
    assert (at.first_block, at.final_number) == (4, 94 - FINALITY)
    assert at.confirmed_at is not None


def test_new_blocks_are_taken_in_one_by_one(desk: Desk) -> None:
    desk.open()
    for _ in range(12):
        desk.chain.grow()
        while not desk.indexer.step().at_head:
            pass
        desk.assert_equals_replay()


def test_an_empty_chain_is_at_its_head_and_asks_for_no_logs(lite: Desk) -> None:
    assert lite.catch_up() == Progress(head=0, at_head=True)
    assert not any("eth_getLogs" in str(request) for request in lite.chain.requests)


def test_programs_at_one_block_share_the_questions(desk: Desk) -> None:
    desk.open(1)
    desk.open(2)
    desk.chain.grow(20)
    desk.catch_up()
    asked = len([request for request in desk.chain.requests if "eth_getLogs" in str(request)])
    desk.chain.grow()
    desk.catch_up()
    # Once for the new block, and once for the one that became final with it.
    assert len([request for request in desk.chain.requests if "eth_getLogs" in str(request)]) == asked + 2
    desk.assert_equals_replay()


def test_a_program_that_came_later_meets_those_at_the_head(desk: Desk) -> None:
    desk.open(1)
    desk.chain.open(2)
    desk.chain.grow(90)
    desk.catch_up()
    desk.record(2, 2)
    for _ in range(8):
        desk.chain.grow()
        # Who stands at the head does not wait for who is behind.
        desk.indexer.step()
        assert desk.position(1).hash == desk.chain.head.hash
        desk.assert_answers()
    desk.catch_up()
    desk.assert_equals_replay()
    assert desk.position(1).hash == desk.position(2).hash


@pytest.mark.parametrize("recorded", [None, 1, 40, 75, 99])
def test_the_first_block_is_found_whatever_is_recorded(lite: Desk, recorded: int | None) -> None:
    """The block that was recorded may have been undone since."""
    lite.chain.grow(39)
    lite.chain.open(1)
    lite.chain.grow(60)
    lite.record(1, recorded)
    lite.catch_up()
    assert lite.position().first_block == (1 if recorded == 1 else 40)
    lite.assert_equals_replay()


def test_a_program_opened_in_a_block_that_may_be_undone_begins_behind_the_final_one(lite: Desk) -> None:
    lite.chain.grow(20)
    lite.open()
    lite.catch_up()
    assert lite.position().first_block == lite.chain.head.number - FINALITY + 1
    lite.chain.opened_at[1] = 20
    lite.chain.reorg(2, 0)
    lite.chain.open(1)
    lite.chain.grow(4)
    lite.catch_up()
    lite.assert_equals_replay()


def test_a_node_that_forgot_the_past_is_believed_to_have_opened_where_it_is_recorded(
    lite: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    lite.chain.grow(9)
    lite.open()
    lite.chain.grow(30)
    lite.chain.open(2)
    lite.record(2, None)
    lite.chain.grow(9)

    def forgot(node: Node, address: str, block: object = "latest") -> bytes:
        raise NodeRefused("eth_getCode", -32000, "missing trie node")

    monkeypatch.setattr(Node, "code", forgot)
    lite.catch_up()
    assert (lite.position(1).first_block, lite.position(2).first_block) == (10, 1)
    lite.assert_equals_replay()


def test_windows_grow_where_answers_are_quick_and_shrink_where_they_are_not() -> None:
    window = Window(64)
    window.answered(63, 0.1, 0)
    assert window.blocks == 64
    window.answered(64, 0.1, 0)
    assert window.blocks == 128
    window.answered(128, 5.0, 0)
    assert window.blocks == 128
    window.answered(128, 0.1, asking.MANY_FACTS)
    assert window.blocks == 128
    window.answered(128, 0.1, asking.MANY_FACTS + 1)
    assert window.blocks == 64
    window.answered(64, 11.0, 0)
    assert window.blocks == 32
    for _ in range(9):
        window.shrink()
    assert window.blocks == 1


def test_a_range_that_is_refused_is_asked_in_smaller_ones(lite: Desk) -> None:
    lite.open()
    lite.chain.grow(300, 1)
    logs = lite.chain._logs
    lite.chain._logs = lambda view, query: (  # type: ignore[method-assign]
        {"error": {"code": -32005, "message": "too many blocks"}}
        if int(query["toBlock"], 16) - int(query["fromBlock"], 16) >= 10
        else logs(view, query)
    )
    lite.catch_up()
    lite.assert_equals_replay()


# ------------------------------------------------------------------------------------------------------------ and back


@pytest.mark.parametrize("depth", range(1, FINALITY + 1))
@pytest.mark.parametrize("more", [0, 1])
def test_a_reorg_is_undone_to_the_block_that_both_know(desk: Desk, depth: int, more: int) -> None:
    desk.open()
    desk.chain.grow(20)
    desk.catch_up()
    desk.chain.reorg(depth, depth + more)
    desk.catch_up()
    desk.assert_equals_replay()


def test_a_season_that_is_undone_is_forgotten(desk: Desk) -> None:
    desk.open()
    desk.chain.grow(10)
    desk.catch_up()
    paper = desk.chain.head.papers[1].copy()
    while len(paper.seasons) < 4:
        desk.chain.tell(*paper.link(), *paper.stamp(len(paper.seasons) - 1, wallet(9), 7), paper=paper.copy())
    desk.catch_up()
    desk.assert_equals_replay()
    desk.chain.reorg(2, 4, acts=0)
    desk.catch_up()
    desk.assert_equals_replay()


def test_a_node_that_lags_is_no_reorg(desk: Desk) -> None:
    desk.open()
    desk.chain.grow(20)
    desk.catch_up()
    before = desk.position()
    whole = desk.chain.chain
    desk.chain.chain = whole[:-4]
    for _ in range(3):
        assert desk.indexer.step() == Progress(head=before.number - 4, lowest=before.number)
    assert desk.position() == before
    with pytest.raises(ChainProblem, match="does not reach the newest block"):
        catch_up(desk.app, desk.attached, FINALITY, patience_seconds=0.3, sleep=lambda seconds: None)
    desk.chain.chain = whole
    desk.assert_equals_replay()


def test_another_chain_is_seen_before_anything_is_undone(lite: Desk) -> None:
    lite.open()
    lite.chain.grow(20)
    lite.catch_up()
    before = lite.position()
    lite.chain.chain[0] = replace(lite.chain.chain[0], hash="0x" + "ff" * 32)
    with pytest.raises(ChainRestarted):
        lite.indexer.step()
    assert lite.position() == before


@pytest.mark.parametrize("deeper", [1, 4])
def test_a_reorg_below_what_was_final_halts_the_index_and_says_so(desk: Desk, deeper: int) -> None:
    desk.open()
    desk.chain.grow(20)
    desk.catch_up()
    before = desk.position()
    desk.chain.reorg(FINALITY + deeper, FINALITY + deeper)
    with pytest.raises(IndexHalted, match=f"block {before.final_number} was final as {before.final_hash}") as caught:
        desk.catch_up()
    assert caught.value.program == "program-1" and "rebuild" in caught.value.mend
    halted = desk.position()
    assert halted == replace(before, incident=caught.value.incident)
    # It stays so, and other programs go on.
    desk.open(2)
    desk.chain.grow(9)
    for _ in range(9):
        report = desk.indexer.step()
    assert [each.program for each in report.halted] == ["program-1"]
    assert desk.position(1) == halted and desk.position(2).hash == desk.chain.head.hash
    rebuild(desk.app, desk.programs[1])
    desk.catch_up()
    desk.assert_equals_replay()


def test_a_node_that_was_left_behind_on_a_fork_halts_nothing(lite: Desk) -> None:
    """It does not call final what it has in our block's place."""
    lite.open()
    lite.chain.grow(20)
    whole = list(lite.chain.chain)
    lite.chain.chain = whole[:18]
    lite.catch_up(0)
    before = lite.position()
    assert before.final_number == 17
    lite.chain.reorg(2, 4)
    assert lite.indexer.step().halted == ()
    assert lite.position() == before
    lite.chain.chain = whole
    lite.catch_up()
    lite.assert_equals_replay()


def test_what_can_not_be_undone_any_more_leaves_no_way_back(desk: Desk) -> None:
    desk.open()
    desk.chain.grow(30)
    desk.catch_up()
    assert desk.rows("undo") > 0 and desk.rows("blocks") == FINALITY
    final = desk.position().final_number
    with read(desk.app.engine) as tx:
        assert tx.exec_driver_sql(f"SELECT count(*) FROM undo WHERE block_number <= {final}").scalar_one() == 0  # noqa: S608
    desk.catch_up(0)
    assert desk.rows("undo") == desk.rows("blocks") == 0
    assert desk.position().as_of.final


def test_finality_is_the_nodes_word_unless_it_is_set(lite: Desk) -> None:
    lite.open()
    lite.chain.grow(20)
    lite.chain.finality = 3
    lite.catch_up(None)
    assert lite.position().final_number == lite.chain.head.number - 3
    lite.chain.finality = None
    with pytest.raises(ChainProblem, match="does not tell which block is final"):
        lite.catch_up(None)


# --------------------------------------------------------------------------------------------------- a node that lies


@pytest.mark.parametrize("receipts", [True, False])
def test_logs_that_are_left_out_are_missed_by_the_bloom(
    desk: Desk, receipts: bool, caplog: pytest.LogCaptureFixture
) -> None:
    desk.open()
    desk.chain.receipts = receipts
    desk.chain.grow(20)
    desk.chain.lies.omit = {place for block in desk.chain.chain for place in spoken(block)}
    with caplog.at_level(logging.WARNING):
        desk.catch_up()
    desk.assert_equals_replay()
    assert "gave other logs of block" in caplog.text


def test_a_single_log_that_is_left_out_is_put_right_when_its_block_is_final(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    """The bloom of its block can't tell, for the same contract told other things there."""
    desk.open()
    desk.chain.grow(10, 0)
    paper = desk.chain.head.papers[1].copy()
    desk.chain.tell(*paper.mint(wallet(1), 2, 0, 5), paper=paper.copy())
    desk.chain.tell(*paper.set_tier(wallet(1), 3), *paper.mint(wallet(2), 1, 0, 6), paper=paper.copy())
    desk.chain.tell(*paper.burn(wallet(2)), paper=paper.copy())
    (changed,) = [block for block in desk.chain.chain if len(block.told) == 4]
    desk.chain.lies.omit = {(changed.hash, 0)}
    desk.catch_up()
    with pytest.raises(AssertionError):
        desk.assert_equals_replay()
    desk.chain.lies.omit = set()
    with caplog.at_level(logging.WARNING):
        for _ in range(2 * FINALITY):
            desk.chain.grow(1, 0)
            desk.catch_up()
    desk.assert_equals_replay()
    assert f"the logs of blocks {changed.number} to {changed.number} are put right" in caplog.text


def test_a_log_that_is_left_out_only_when_asked_again_changes_nothing(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    desk.open()
    desk.chain.grow(20)
    desk.catch_up()
    desk.chain.lies.omit = {place for block in desk.chain.chain for place in list(spoken(block))[:2]}
    with caplog.at_level(logging.WARNING):
        for _ in range(FINALITY):
            desk.chain.grow(1, 0)
            desk.catch_up()
    desk.assert_equals_replay()
    assert "put right" not in caplog.text


def test_a_log_that_its_block_can_not_hold_is_no_use(lite: Desk) -> None:
    lite.open()
    lite.chain.grow(5)
    header = PaperBlock.header
    empty = {"logsBloom": "0x" + "00" * 255 + "01"}
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(PaperBlock, "header", lambda block: header(block) | empty)
        with pytest.raises(NodeUnreachable, match="logs that block 1 can't have"):
            lite.catch_up()
    lite.catch_up()
    lite.assert_equals_replay()


@pytest.mark.parametrize("bloom", ["0x" + "00" * 256, None])
def test_a_chain_without_blooms_is_indexed_all_the_same(
    lite: Desk, monkeypatch: pytest.MonkeyPatch, bloom: str | None
) -> None:
    header = PaperBlock.header
    monkeypatch.setattr(PaperBlock, "header", lambda block: header(block) | {"logsBloom": bloom})
    lite.open()
    lite.chain.grow(20)
    lite.catch_up()
    lite.assert_equals_replay()


@settings(ANY_HISTORY, max_examples=15)
@given(st.integers(0, 1 << 32))
def test_after_any_history_the_index_is_a_replay_of_the_chain(desk_of: OpenDesk, seed: int) -> None:
    """And at no time before does it show what was at no block. Whole blocks' logs are left out at times."""
    random = Random(seed)  # noqa: S311 a history, no secret
    desk = begin_history(desk_of, random)
    desk.indexer.step()
    for _ in play(desk, random, steps=15):
        # Of blocks that are final already when they are read, nobody asks twice.
        fresh = desk.chain.chain[-FINALITY:]
        desk.chain.lies.omit = {place for block in fresh if random.random() < 0.3 for place in spoken(block)}
        desk.assert_answers()
    come_clean(desk)
    desk.catch_up()
    desk.assert_equals_replay()


@settings(ANY_HISTORY, max_examples=10)
@given(st.integers(0, 1 << 32))
def test_single_logs_that_are_left_out_once_are_put_right_in_any_history(desk_of: OpenDesk, seed: int) -> None:
    random = Random(seed)  # noqa: S311 a history, no secret
    desk = begin_history(desk_of, random)
    desk.catch_up()
    desk.chain.lies.once = True
    for _ in play(desk, random, steps=12):
        fresh = [place for block in desk.chain.chain[-2:] for place in sorted(spoken(block))]
        desk.chain.lies.omit = {place for place in fresh if random.random() < 0.2}
    come_clean(desk)
    for _ in range(FINALITY + 2):
        desk.chain.grow(1, 0)
        desk.catch_up()
    desk.assert_equals_replay()


# ------------------------------------------------------------------------------------------ several indexers, and ends


def test_another_process_that_indexes_is_left_to_do_it(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    desk.open()
    desk.chain.grow(9)
    other = Indexer(desk.app, desk.attached, finality_blocks=FINALITY)
    other._owner = "elsewhere/1/0"
    assert not other.step().busy
    report = desk.indexer.step()
    assert report.busy and not report.moved and report.head == desk.chain.head.number
    other.close()
    assert not desk.indexer.step().busy


def test_catching_up_watches_another_process_do_it(desk: Desk) -> None:
    desk.open()
    desk.chain.grow(90)
    other = Indexer(desk.app, desk.attached, finality_blocks=FINALITY)
    other._owner = "elsewhere/1/0"
    other.step()
    slept = []

    def sleep(seconds: float) -> None:
        slept.append(other.step())

    report = catch_up(desk.app, desk.attached, FINALITY, sleep=sleep, patience_seconds=1)
    assert report.busy and report.at_head and slept
    desk.assert_equals_replay()


@pytest.mark.parametrize("gone", ["ended", "dead"])
def test_the_lease_of_an_indexer_that_is_gone_is_taken(
    desk_of: OpenDesk, monkeypatch: pytest.MonkeyPatch, gone: str
) -> None:
    clock = Clock(NOW)
    desk = desk_of(Random(SOME_SEED), clock=clock)  # noqa: S311
    other = Indexer(desk.app, desk.attached, finality_blocks=FINALITY)
    other._owner = "elsewhere/1/0"
    other.step()
    assert desk.indexer.step().busy
    if gone == "ended":
        clock.forward(timedelta(seconds=indexing.LEASE_SECONDS + 1))
    else:
        monkeypatch.setattr(indexing, "owner_alive", lambda owner: False)
    assert not desk.indexer.step().busy


def test_two_indexers_at_once_do_no_harm(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of one process, they share its lease; each finds itself overtaken now and then."""
    desk.open()
    desk.chain.grow(20)
    other = Indexer(desk.app, desk.attached, finality_blocks=FINALITY)
    heard: list[bool] = []
    real = asking.logs_of

    def slow(*given: object) -> object:
        found = real(*given)  # type: ignore[arg-type]
        if not heard:
            heard.append(True)
            # While this one still thinks about the answer, the other one writes.
            other.step()
            heard.clear()
        return found

    monkeypatch.setattr(asking, "logs_of", slow)
    for number in range(20):
        desk.chain.grow()
        if number % 3 == 0:
            desk.chain.reorg(2, 3)
        desk.indexer.step()
        desk.assert_answers()
    desk.catch_up()
    desk.assert_equals_replay()


def test_a_step_that_ends_anywhere_leaves_nothing_half(desk: Desk) -> None:
    """Every statement that writes is the last one of a step once."""
    desk.open()
    desk.chain.grow(3)

    class Killed(Exception):
        pass

    count, kill_at = 0, 0

    def before(connection: object, cursor: object, statement: str, *rest: object) -> None:
        nonlocal count
        if statement.split()[0] in ("INSERT", "UPDATE", "DELETE"):
            count += 1
            if count == kill_at:
                raise Killed

    event.listen(desk.app.engine, "before_cursor_execute", before)
    kills = 0
    for number in range(60):
        if number % 4 == 3:
            desk.chain.reorg(3, 4)
        else:
            desk.chain.grow()
        count, kill_at = 0, 1 + number % 14
        try:
            desk.indexer.step()
        except Killed:
            kills += 1
        kill_at = 0
        desk.assert_answers()
    event.remove(desk.app.engine, "before_cursor_execute", before)
    assert kills > 20
    desk.catch_up()
    desk.assert_equals_replay()


def test_a_rebuilt_index_is_the_same(desk: Desk) -> None:
    desk.open(1)
    desk.open(2)
    desk.chain.grow(30)
    desk.catch_up()
    rebuild(desk.app, desk.programs[1])
    with read(desk.app.engine) as tx:
        assert index.reading(tx, desk.programs[1], wallet(1)) is None
        assert index.reading_as_of_final(tx, desk.programs[1], wallet(1)) is None
        assert index.everything_held(tx, desk.programs[1]) == {}
    desk.catch_up()
    desk.assert_equals_replay()


def test_an_indexer_that_was_at_work_while_the_index_was_dropped_writes_nothing(lite: Desk) -> None:
    lite.open()
    lite.chain.grow(9)
    lite.catch_up()
    at = lite.position()
    rebuild(lite.app, lite.programs[1])
    with pytest.raises(index_steps.Overtaken), begin(lite.app.engine) as tx:
        index_steps.confirm(tx, at, NOW)


def test_the_newest_block_is_confirmed_at_most_once_a_second(desk_of: OpenDesk) -> None:
    clock = Clock(NOW)
    desk = desk_of(Random(SOME_SEED), clock=clock)  # noqa: S311
    desk.open()
    desk.catch_up()
    first = desk.position().confirmed_at
    assert first is not None
    clock.forward(timedelta(seconds=10))
    desk.indexer.step()
    second = desk.position().confirmed_at
    assert second is not None and second - first >= timedelta(seconds=10)
    desk.indexer.step()
    assert desk.position().confirmed_at == second


def test_a_node_that_fails_is_waited_for(lite: Desk) -> None:
    lite.open()
    lite.chain.grow(20)
    lite.chain.lies.hang_up = 1.0
    waits: list[float] = []

    def sleep(seconds: float) -> None:
        waits.append(seconds)
        if len(waits) == 3:
            lite.chain.lies.hang_up = 0.0

    catch_up(lite.app, lite.attached, FINALITY, sleep=sleep)
    assert len(waits) == 3
    lite.assert_equals_replay()
    lite.chain.grow()
    lite.chain.lies.hang_up = 1.0
    with pytest.raises(NodeUnreachable):
        lite.catch_up()


# --------------------------------------------------------------------------------------------------------- real chains


class Shop:
    """A program that is open on a real chain, in an app's books."""

    def __init__(self, app: App, opened: Opened, finality: int | None) -> None:
        self.app, self.opened, self.finality = app, opened, finality
        node = app.node
        with begin(app.engine) as tx:
            row = chains.known_chain(tx, opened.chain_id, node.genesis_hash(), app.now())
            planned = programs.add_opening(
                tx,
                row,
                opened.program.id,
                opener=opened.factory.address,
                salt="0x" + "05" * 32,
                name="A club",
                factory=opened.factory.address,
                membership=opened.membership.address,
                stamps=opened.stamps.address,
                terms={},
                now=NOW,
            )
            self.program = programs.mark_open(tx, planned.id, None, opened.receipt.block_number).id
        self.attached = Attached(row, opened.chain_id, node.genesis_hash(), node.head())

    def catch_up(self) -> None:
        catch_up(self.app, self.attached, self.finality, patience_seconds=20)

    def check(self, members: Iterable[LocalSigner]) -> None:
        """The index is what the contracts answer as of the same blocks."""
        for who in (member.address for member in members):
            with read(self.app.engine) as tx:
                found = [
                    ask(tx, self.program, bytes.fromhex(who[2:])) for ask in (index.reading, index.reading_as_of_final)
                ]
            for reading in found:
                assert reading is not None
                if reading.as_of.block < self.opened.receipt.block_number:
                    assert not reading.holding.card.exists and reading.holding.stamps == ()
                    continue
                card, stamps = self.opened.membership.holdings_of(who, block=reading.as_of.hash)
                assert reading.holding == Holding(replace(card, moved_at=0, nonce=0), stamps), reading.as_of
        self._check_events()

    def _check_events(self) -> None:
        """Who hears all events knows the same."""
        while announce(self.app, self.attached.row):
            pass
        with read(self.app.engine) as tx:
            held = index.everything_held(tx, self.program)
            told = events.page(tx, self.program, limit=1 << 20, newest_first=False)
        net(told)
        assert folded(standing(told)) == as_held(held)


@pytest.fixture(params=["eth-tester", "anvil"])
def acted(request: pytest.FixtureRequest) -> Iterator[Acted]:
    """Chances are the same every time; where they lead depends on the chain's clock too."""
    with ExitStack() as stack:
        if request.param == "anvil":
            start: StartAnvil = request.getfixturevalue("start_anvil")
            url = start().url
        else:
            url = stack.enter_context(DevChainServer()).url
        terms = HEAD + "recovery_delay_days = 3\nmove_cooldown_days = 0\n"
        opened = open_program(Node(url), read_program(program_text(STAMPS, head=terms), "program.toml"))
        yield Acted(opened, Random(SOME_SEED))  # noqa: S311 a history, no secret


def test_the_index_is_what_the_contracts_say(acted: Acted, tmp_path: Path, migrated_url: str) -> None:
    app = app_of(settings_of(tmp_path / "home", acted.opened.node.shown_url, migrated_url))
    shop = Shop(app, acted.opened, finality=6)
    # On the slow chain what comes first is enough.
    most = 300 if "anvil" in acted.opened.node.call("web3_clientVersion").lower() else 60
    rare = {"move", "recover held", "recover revoked", "readmit", "revoke", "leave", "season", "revoke stamp"}
    number = 0
    while number < min(100, most) or (not rare <= acted.done.keys() and number < most):
        acted.act()
        number += 1
        if number % 20 == 0:
            shop.catch_up()
            shop.check(acted.members)
    shop.catch_up()
    shop.check(acted.members)
    app.close()
    assert most == 60 or acted.done.keys() >= rare, acted.done


@pytest.mark.parametrize("depth", [1, 2, 4, 5])
def test_a_real_reorg_is_undone_down_to_what_is_final(
    start_anvil: StartAnvil, tmp_path: Path, migrated_url: str, depth: int
) -> None:
    node = Node(start_anvil().url)
    acted = Acted(open_program(node, read_program(program_text(STAMPS), "program.toml")), Random(depth))  # noqa: S311
    app = app_of(settings_of(tmp_path / "home", node.shown_url, migrated_url))
    shop = Shop(app, acted.opened, finality=4)
    for _ in range(30):
        acted.act()
    shop.catch_up()
    before = node.head()
    node.call("anvil_reorg", [depth, []])
    assert node.block(before.number).hash != before.hash
    if depth > 4:
        with pytest.raises(IndexHalted):
            shop.catch_up()
        rebuild(app, shop.program)
    for _ in range(5):
        shop.catch_up()
        shop.check(acted.members)
        acted.act()
    app.close()
