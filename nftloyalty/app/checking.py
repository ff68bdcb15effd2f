"""The check at a checkout: what `verifying.check` answers from the index, by one look-up and little else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nftloyalty.app import verifying
from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened
from nftloyalty.domain.check import Glance
from nftloyalty.domain.gate import AsOf, Conditions, Consistency, Reason, decide, judged_at
from nftloyalty.domain.holding import NOTHING, WORD, HoldingState
from nftloyalty.errors import IndexBehind
from nftloyalty.store.checks import AsOfWhich, LookUps, look_ups
from nftloyalty.store.index import PositionRow


@dataclass(frozen=True, slots=True)
class Question:
    """What a storefront asks of every wallet that comes for one thing."""

    conditions: Conditions
    glance: Glance
    which: AsOfWhich


@dataclass(slots=True)
class Answer:
    """`reasons` is empty exactly when `allowed`; `as_of` as `verifying.as_of_json`."""

    allowed: bool
    reasons: Sequence[Reason]
    as_of: Mapping[str, Any]


@dataclass(slots=True)
class _Block:
    """The block that answers are told to be of, which stays the same for as many as come before the next one."""

    position: PositionRow
    as_of: AsOf
    ages: tuple[int, int] = (-1, -1)
    told: Mapping[str, Any] = field(default_factory=dict)


class Checks:
    """Answers for one program over one connection, for one thread at a time. `look_ups` is opened and closed by whoever
    holds this."""

    def __init__(self, app: App, opened: Opened) -> None:
        self.look_ups: LookUps = look_ups(app.engine)
        self._app = app
        self._opened = opened
        self._blocks: dict[AsOfWhich, _Block] = {}

    def question(
        self, *, active: bool, tier: str | None, stamps: Sequence[str], consistency: Consistency = Consistency.HEAD
    ) -> Question:
        """By the program's own ids; `consistency` is head or final. Raises Unknown naming the valid ids."""
        conditions = verifying.conditions(self._opened, active=active, tier=tier, stamps=stamps)
        which = AsOfWhich.FINAL if consistency is Consistency.FINAL else AsOfWhich.HEAD
        return Question(conditions, Glance.of(conditions), which)

    def answer(self, asked: Question, wallet: bytes) -> Answer:
        """`wallet` are its 20 bytes. Raises IndexBehind, IndexHalted and DatabaseProblem; blocks at the most as long
        as a look-up does."""
        found = self.look_ups.find(asked.which, self._opened.row.id, wallet)
        if found is None:
            raise IndexBehind(verifying.NOT_BEGUN)
        position, seasons, state = found
        seen_at = verifying.checked_at(self._app, self._opened, position)
        now = self._app.now()
        block = self._block(asked.which, position)
        joined_at, expires_at, tier, _, _, stamps = row = NOTHING if state is None else state
        held = int.from_bytes(stamps[:WORD], "big") if seasons else 0
        if asked.glance.allows(joined_at, expires_at, tier, held, judged_at(block.as_of, now)):
            return Answer(True, (), _told(block, seen_at, now))
        holding = HoldingState.from_row(*row).to_holding(seasons)
        decision = decide(asked.conditions, holding, block.as_of, now, self._opened.program)
        return Answer(decision.allowed, decision.reasons, _told(block, seen_at, now))

    def _block(self, which: AsOfWhich, position: PositionRow) -> _Block:
        block = self._blocks.get(which)
        if block is None or block.position is not position:
            as_of = position.as_of_final if which is AsOfWhich.FINAL else position.as_of
            block = self._blocks[which] = _Block(position, as_of)
        return block


def _told(block: _Block, seen_at: datetime, now: datetime) -> Mapping[str, Any]:
    """As `verifying.as_of_json`, made anew only when a second has gone by."""
    ages = verifying.ages(block.as_of, seen_at, now)
    if ages != block.ages:
        block.ages, block.told = ages, verifying.block_json(block.as_of, ages)
    return block.told
