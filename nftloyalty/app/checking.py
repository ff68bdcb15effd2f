"""The check at a checkout: what `verifying.check` answers from the index, by one look-up and little else."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nftloyalty.app import verifying
from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened
from nftloyalty.domain.check import Glance
from nftloyalty.domain.gate import Conditions, Consistency, Reason, decide, judged_at
from nftloyalty.domain.holding import NOTHING, WORD, HoldingState
from nftloyalty.errors import IndexBehind
from nftloyalty.store.checks import AsOfWhich, LookUps, Standing, look_ups


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
    """The block that answers are told to be of, which stays the same until the next one."""

    standing: Standing | None = None
    ages: tuple[int, int] = (-1, -1)
    told: Mapping[str, Any] = field(default_factory=dict)

    def json(self, standing: Standing, seen_at: datetime, now: datetime) -> Mapping[str, Any]:
        """As `verifying.as_of_json`, made anew only when something in it has changed."""
        ages = verifying.ages(standing.as_of, seen_at, now)
        if ages != self.ages or standing is not self.standing:
            self.standing, self.ages, self.told = standing, ages, verifying.block_json(standing.as_of, ages)
        return self.told


class Checks:
    """Answers for one program over one connection, for one thread at a time. `look_ups` is opened and closed by whoever
    holds this."""

    def __init__(self, app: App, opened: Opened) -> None:
        self.look_ups: LookUps = look_ups(app.engine)
        self._app = app
        self._opened = opened
        self._block = _Block()

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
        standing, seasons, state = found
        seen_at = verifying.checked_at(self._app, self._opened, standing)
        now = self._app.now()
        as_of = self._block.json(standing, seen_at, now)
        joined_at, expires_at, tier, _, _, stamps = row = NOTHING if state is None else state
        held = int.from_bytes(stamps[:WORD], "big") if seasons else 0
        if asked.glance.allows(joined_at, expires_at, tier, held, judged_at(standing.as_of, now)):
            return Answer(True, (), as_of)
        holding = HoldingState.from_row(*row).to_holding(seasons)
        decision = decide(asked.conditions, holding, standing.as_of, now, self._opened.program)
        return Answer(decision.allowed, decision.reasons, as_of)
