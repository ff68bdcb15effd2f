"""The check at a checkout: what `verifying.check` answers from the index, to all who ask at one moment at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from nftloyalty.app import verifying
from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened
from nftloyalty.domain.check import Glance
from nftloyalty.domain.gate import AsOf, Conditions, Consistency, Reason, decide, judged_at
from nftloyalty.domain.holding import HoldingState
from nftloyalty.domain.times import at
from nftloyalty.errors import IndexBehind
from nftloyalty.store.checks import MOST_WALLETS, AsOfWhich, LookUps, Standing, look_ups

MOST_AT_ONCE = MOST_WALLETS


@dataclass(frozen=True, slots=True)
class Question:
    """What a storefront asks of every wallet that comes for one thing."""

    conditions: Conditions
    glance: Glance
    which: AsOfWhich
    to_a_stranger: tuple[Reason, ...]
    """Why a wallet of which nothing is known may not have it. No date plays a part in that."""


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
        self._blocks = {which: _Block() for which in AsOfWhich}

    def question(
        self, *, active: bool, tier: str | None, stamps: Sequence[str], consistency: Consistency = Consistency.HEAD
    ) -> Question:
        """By the program's own ids; `consistency` is head or final. Raises Unknown naming the valid ids."""
        conditions = verifying.conditions(self._opened, active=active, tier=tier, stamps=stamps)
        which = AsOfWhich.FINAL if consistency is Consistency.FINAL else AsOfWhich.HEAD
        stranger = HoldingState().to_holding(0)
        refused = decide(conditions, stranger, _NO_BLOCK, at(0), self._opened.program)
        return Question(conditions, Glance.of(conditions), which, refused.reasons)

    def answers(self, asked: Sequence[tuple[Question, bytes]]) -> Sequence[Answer]:
        """To questions, each of a wallet, which is its 20 bytes; in their order, by what the database holds now. One
        look-up answers all that are asked as of the same block. There are one to MOST_AT_ONCE.

        Raises IndexBehind, IndexHalted and DatabaseProblem; blocks at the most as long as the look-ups do.
        """
        which = asked[0][0].which
        share = [each for each in asked if each[0].which is which]
        told = self._as_of(which, share)
        if len(share) == len(asked):
            return told
        others = self.answers([each for each in asked if each[0].which is not which])
        by_turns = {True: iter(told), False: iter(others)}
        return [next(by_turns[question.which is which]) for question, _ in asked]

    def _as_of(self, which: AsOfWhich, asked: Sequence[tuple[Question, bytes]]) -> Sequence[Answer]:
        found = self.look_ups.find(which, self._opened.row.id, [wallet for _, wallet in asked])
        if found is None:
            raise IndexBehind(verifying.NOT_BEGUN)
        standing, seasons = found.standing, found.seasons
        seen_at = verifying.checked_at(self._app, self._opened, standing)
        now = self._app.now()
        as_of = self._blocks[which].json(standing, seen_at, now)
        moment = judged_at(standing.as_of, now)
        yes = Answer(True, (), as_of)
        answers = []
        for (question, _), state in zip(asked, found.states, strict=True):
            if state is None:
                answers.append(Answer(False, question.to_a_stranger, as_of))
            elif question.glance.allows(state, seasons, moment):
                answers.append(yes)
            else:
                # By the gate's own rule: what a glance can't tell is why the answer is no.
                holding = HoldingState.from_row(*state).to_holding(seasons)
                decision = decide(question.conditions, holding, standing.as_of, now, self._opened.program)
                answers.append(Answer(decision.allowed, decision.reasons, as_of))
        return answers


_NO_BLOCK = AsOf(0, "", 0, final=False)
