"""Events tell the chain's history: each thing once as it is seen, and once as it ends, whatever happens meanwhile."""

from collections.abc import Callable

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import Phase as Part
from hypothesis import strategies as st
from sqlalchemy import Engine, delete

from nftloyalty.store import announcements, index_steps, tables
from nftloyalty.store.announcements import AnnouncementRow
from nftloyalty.store.engine import begin, read
from nftloyalty.store.index_steps import Overtaken
from nftloyalty.store.tables import Phase, metadata
from tests.domain.folded import folded, on_paper
from tests.store.build import NOW, everything, run_together
from tests.store.history import FIRST, History, net, standing


@pytest.fixture
def history(engine: Engine) -> History:
    return History(engine, 5)


def stands(history: History) -> AnnouncementRow | None:
    with read(history.engine) as tx:
        return announcements.stands_at(tx, history.program)


def phases(history: History) -> list[str]:
    return [row.phase.value for row in history.events()]


def grown(history: History, blocks: int) -> None:
    """Blocks in each of which something happens."""
    for _ in range(blocks):
        history.grow(acts=0)
        while not history.blocks[-1].facts:
            history.blocks.pop()
            history.grow(acts=4)


# ------------------------------------------------------------------------------------------------------------- forward


def test_what_is_final_when_it_is_first_seen_is_told_once(history: History) -> None:
    history.grow(30)
    history.follow(final=history.head)
    history.tell_all()
    assert set(phases(history)) == {"final"}
    assert net(history.events()) == history.wanted()
    assert stands(history) == AnnouncementRow(history.program, history.head, history.head)
    told = [(row.type, row.object, row.data) for row in history.events()]
    assert folded(told) == on_paper(history.blocks[-1].paper)


def test_what_is_seen_is_pending_and_then_final(history: History) -> None:
    history.grow(20)
    history.follow()
    history.tell_all()
    pending = history.events()
    assert {row.phase for row in pending} == {Phase.PENDING}
    assert history.remembered() == {row.id for row in pending}
    history.finalise(history.head)
    history.tell_all()
    final = history.events()[len(pending) :]
    assert {row.phase for row in final} == {Phase.FINAL}
    assert [row.data["follows"] for row in final] == [row.public_id for row in pending]
    assert net(history.events()) == history.wanted()
    assert history.remembered() == set()
    assert history.look() is None


def test_blocks_that_may_be_undone_are_told_beside_those_that_can_not(history: History) -> None:
    history.grow(30)
    history.follow(final=FIRST + 14)
    history.tell_all()
    assert net(history.events()) == history.wanted()
    assert set(phases(history)) == {"final", "pending"}
    assert stands(history) == AnnouncementRow(history.program, history.head, FIRST + 14)


@pytest.mark.parametrize("limit", [1, 2, 7])
def test_a_step_takes_whole_blocks_however_few_logs_it_is_to_take(history: History, limit: int) -> None:
    history.grow(15)
    history.follow(final=FIRST + 7)
    before = 0
    while (news := history.look(limit)) is not None:
        told = {each.place for each in news.new}
        assert history.tell(news)
        after = stands(history)
        assert after is not None and after.block_number > before and len(told) <= max(limit, 4)
        before = after.block_number
    history.finalise(history.head)
    history.tell_all(limit)
    assert net(history.events()) == history.wanted()


def test_nothing_is_told_before_there_is_an_index(engine: Engine, history: History) -> None:
    with begin(engine) as tx:
        tx.execute(delete(tables.positions))
    assert history.look() is None
    with read(engine) as tx:
        assert announcements.to_announce(tx, 1) == []


def test_an_index_that_stands_still_tells_nothing(history: History) -> None:
    history.grow(9)
    history.follow()
    with begin(history.engine) as tx:
        index_steps.halt(tx, history.at, "why")
    assert history.look() is None


def test_programs_with_something_to_tell_are_found(history: History) -> None:
    def found() -> bool:
        with read(history.engine) as tx:
            return announcements.to_announce(tx, history.at.chain) == [history.program]

    grown(history, 3)
    assert found()  # never announced
    history.tell_all()
    history.follow()
    assert found()
    history.tell_all()
    assert not found()
    history.finalise(history.head - 1)
    assert found()
    history.tell_all()
    assert not found()


# ------------------------------------------------------------------------------------------------------------ and back


def test_what_is_undone_is_taken_back_with_it(history: History) -> None:
    grown(history, 6)
    history.follow()
    history.tell_all()
    told = history.events()
    history.reorg(3)
    history.undo()
    rows = history.events()[len(told) :]
    undone = [row for row in told if row.data["block"] > history.at.number]
    assert undone and [row.data["follows"] for row in rows] == [row.public_id for row in reversed(undone)]
    assert {row.phase for row in rows} == {Phase.REVERTED}
    assert net(history.events()) == history.wanted()
    assert stands(history) == AnnouncementRow(history.program, history.at.number, FIRST - 1)
    history.follow()
    history.tell_all()
    assert net(history.events()) == history.wanted()


def test_what_comes_again_after_a_reorg_is_another_event(history: History) -> None:
    grown(history, 4)
    history.follow()
    history.tell_all()
    before = history.events()
    history.reorg(3, again=True)
    history.undo()
    history.follow()
    history.tell_all()
    rows = history.events()
    again = [row for row in rows if row.phase is Phase.PENDING and row not in before]
    gone = [row for row in before if row.data["block"] > FIRST]
    assert [(row.type, row.data["transaction"]) for row in again] == [
        (row.type, row.data["transaction"]) for row in gone
    ]
    assert not {row.public_id for row in again} & {row.public_id for row in before}


def test_the_same_block_seen_again_is_another_event(history: History) -> None:
    grown(history, 2)
    first = list(history.blocks)
    history.follow()
    history.tell_all()
    history.reorg(2)
    history.undo()
    history.follow()
    history.tell_all()
    history.blocks = first
    history.undo()
    history.follow()
    history.tell_all()
    assert net(history.events()) == history.wanted()
    history.finalise(history.head)
    history.tell_all()
    assert net(history.events()) == history.wanted()


def test_what_was_not_told_needs_not_be_taken_back(history: History) -> None:
    grown(history, 6)
    history.follow()
    history.reorg(3)
    history.undo()
    assert history.events() == []
    history.tell_all()
    history.reorg(2)
    history.undo()
    history.follow()
    history.tell_all()
    assert net(history.events()) == history.wanted()


def test_logs_that_were_left_out_are_told_when_they_are_put_right(history: History) -> None:
    grown(history, 4)
    history.follow(wrong=1.0)
    history.tell_all()
    assert history.events() == []
    history.finalise(history.head - 1)
    assert history.at.number == history.head - 1
    history.tell_all()
    assert set(phases(history)) == {"final"}
    history.follow()
    history.tell_all()
    assert net(history.events()) == history.wanted()


# ------------------------------------------------------------------------------------------------- rebuilt and restored


def test_a_rebuilt_index_tells_nothing_twice(history: History) -> None:
    history.grow(20)
    history.follow(final=FIRST + 9)
    history.tell_all()
    before = history.events()
    history.rebuild()
    history.tell_all()
    history.follow()
    history.tell_all()
    assert history.events() == before
    history.finalise(history.head)
    history.tell_all()
    assert net(history.events()) == history.wanted()


def test_what_was_undone_while_the_index_was_rebuilt_is_taken_back_when_that_is_final(history: History) -> None:
    grown(history, 8)
    history.follow(final=FIRST + 2)
    history.tell_all()
    with begin(history.engine) as tx:
        index_steps.drop(tx, history.program)
        index_steps.start(tx, history.program, FIRST, history.blocks[0].header)
    history.reorg(3)
    history.follow(final=FIRST + 2)
    history.tell_all()
    history.finalise(history.head)
    history.tell_all()
    assert "reverted" in phases(history)
    assert net(history.events()) == history.wanted()


def test_a_rebuilt_index_that_is_far_behind_takes_nothing_back(history: History) -> None:
    history.grow(20)
    history.follow(final=FIRST + 15)
    history.tell_all()
    before = history.events()
    with begin(history.engine) as tx:
        index_steps.drop(tx, history.program)
        index_steps.start(tx, history.program, FIRST, history.blocks[0].header)
    at = history.at
    with begin(history.engine) as tx:
        index_steps.advance(tx, at, [block.header for block in history.blocks[1:4]], [], 0)
    late = history.at
    with begin(history.engine) as tx:
        index_steps.undo_to(tx, late, history.blocks[1].header, NOW)
    assert history.events() == before


def test_the_same_history_told_anew_after_a_restore_has_the_same_ids(history: History) -> None:
    history.grow(10)
    history.follow(final=FIRST + 4)
    history.tell_all()
    saved = history.saved()
    history.grow(10)
    history.follow()
    history.tell_all()
    history.finalise(history.head)
    history.tell_all()
    lost = history.events()
    history.restore(saved)
    history.follow(final=history.head)
    history.tell_all()
    rows = history.events()
    assert net(rows) == history.wanted()
    final = [{row.public_id for row in those if row.phase is Phase.FINAL} for those in (lost, rows)]
    assert final[0] == final[1]


def test_a_backup_that_knows_of_blocks_that_were_undone_since_is_put_right(history: History) -> None:
    grown(history, 8)
    history.follow(final=FIRST + 2)
    history.tell_all()
    saved = history.saved()
    history.reorg(4)
    history.restore(saved)
    history.follow()
    history.finalise(history.head)
    history.tell_all()
    assert "reverted" in phases(history)
    assert net(history.events()) == history.wanted()


# ------------------------------------------------------------------------------------------------------ two, or killed


def test_of_two_who_found_the_same_news_one_tells_them(history: History) -> None:
    grown(history, 4)
    history.follow(final=FIRST + 1)
    first, second = history.look(), history.look()
    assert first is not None and second is not None
    assert history.tell(first)
    before = rows_of(history)
    assert not history.tell(second)
    assert rows_of(history) == before


def test_news_of_a_block_that_is_undone_meanwhile_are_not_told(history: History) -> None:
    grown(history, 4)
    history.follow()
    news = history.look()
    assert news is not None
    history.reorg(2)
    history.undo()
    with pytest.raises(Overtaken), begin(history.engine) as tx:
        announcements.announce(tx, news, NOW)
    assert history.events() == []


def test_a_killed_step_has_told_nothing(history: History) -> None:
    grown(history, 4)
    history.follow(final=FIRST + 1)
    before = rows_of(history)
    news = history.look()
    assert news is not None
    assert not history.tell(news, killed=True)
    assert rows_of(history) == before
    assert history.tell(news)


def test_any_number_of_tellers_tell_everything_once_while_blocks_come_and_go(engine: Engine) -> None:
    history = History(engine, 11)
    done: list[bool] = []

    def follow() -> None:
        try:
            for number in range(25):
                history.grow(2)
                history.follow()
                if number % 3 == 0:
                    history.reorg(1, again=number % 2 == 0)
                    history.undo()
                if number % 5 == 0:
                    history.finalise(history.head - 3)
        finally:
            done.append(True)

    def tell() -> None:
        while not done or history.look() is not None:
            news = history.look(7)
            if news is not None:
                history.tell(news)

    run_together([follow, tell, tell, tell])
    history.tell_all()
    assert net(history.events()) == history.wanted()


# ------------------------------------------------------------------------------------------------------- any history


@pytest.fixture
def new_history(engine: Engine) -> Callable[[int], History]:
    def make(seed: int) -> History:
        with begin(engine) as tx:
            for table in reversed(metadata.sorted_tables):
                tx.execute(delete(table))
        return History(engine, seed)

    return make


# A history can't be made smaller without becoming another one: its seed is all there is to show.
@settings(
    deadline=None, max_examples=25, phases=[Part.generate], suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(seed=st.integers(0, 1 << 32))
def test_after_any_history_events_add_up_to_what_the_chain_holds(
    new_history: Callable[[int], History], seed: int
) -> None:
    history = new_history(seed)
    random = history.random
    saved = history.saved()
    lost: set[str] = set()
    # Since the index was last rebuilt over blocks that were told and not final, those may be settled later.
    clean = True

    def reorg() -> None:
        depth = min(history.head - history.at.final_number, random.randint(1, 4))
        if depth > 0:
            history.reorg(depth, again=random.random() < 0.4)

    def rebuild() -> None:
        nonlocal clean
        history.rebuild()
        clean = False

    def restore() -> None:
        nonlocal clean
        lost.update(row.public_id for row in history.events() if row.phase is Phase.FINAL)
        history.restore(saved)
        clean = False

    def save() -> None:
        nonlocal saved
        saved = history.saved()

    def tell() -> None:
        if (news := history.look(random.choice([1, 3, 20]))) is not None:
            # The world may go on between reading and writing, and the process may die.
            for _ in range(random.choice([0, 0, 1, 3])):
                random.choice(world)()
            history.tell(news, killed=random.random() < 0.2)

    world: list[Callable[[], None]] = [
        lambda: history.grow(random.randint(1, 3)),
        history.undo,
        lambda: history.follow(history.at.number + random.randint(1, 5), wrong=0.1),
        lambda: history.finalise(history.at.number - random.randint(0, 4)),
        reorg,
    ]
    rare: list[Callable[[], None]] = [rebuild, restore, save]
    for _ in range(60):
        random.choices([*world, tell, *rare], weights=[3, 3, 3, 2, 1, 6, 0.3, 0.3, 0.3])[0]()
        net(history.events())
        if clean and random.random() < 0.2:
            history.tell_all(random.choice([1, 5, 100]))
            assert net(history.events()) == history.wanted()
            assert len(history.remembered()) == list(net(history.events()).values()).count(Phase.PENDING)
    history.undo()
    history.follow()
    while history.at.final_number < history.head:
        history.finalise(history.head)
        history.follow()
    history.tell_all(random.choice([1, 10, 1000]))
    rows = history.events()
    assert net(rows) == history.wanted()
    assert set(net(rows).values()) <= {Phase.FINAL}
    assert folded(standing(rows)) == on_paper(history.blocks[-1].paper)
    # What was told to be final before a restore is told under the same name after it.
    assert lost <= {row.public_id for row in rows if row.phase is Phase.FINAL}


def rows_of(history: History) -> dict[str, list[tuple[object, ...]]]:
    with read(history.engine) as tx:
        return everything(tx)
