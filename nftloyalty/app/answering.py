"""Requests with an Idempotency-Key that call somebody out while they are worked at: a key service, a node.

The work is done once for each key: while it goes on, the same request is told so, and afterwards it gets the same
answer. A request that fails leaves nothing behind. If its process dies, the next one with its key does the work over.
"""

from collections.abc import Callable
from contextlib import suppress
from typing import TypeVar

from sqlalchemy import Connection

from nftloyalty.app.context import App
from nftloyalty.domain.answer import Answer, AnswerKey, Said
from nftloyalty.errors import DatabaseProblem
from nftloyalty.store import answers
from nftloyalty.store.answers import Hold
from nftloyalty.store.engine import begin

HELD_SECONDS = 60.0
"""Longer than any work takes."""

Ready = TypeVar("Ready")


class _Overtaken(Exception):
    """Another process has answered the request meanwhile. What was to be done for it is rolled back."""

    def __init__(self, said: Said) -> None:
        super().__init__()
        self.said = said


def once(
    app: App,
    program: int,
    key: AnswerKey,
    prepare: Callable[[], Ready],
    carry_out: Callable[[Connection, Ready], Said],
    *,
    seconds: float = HELD_SECONDS,
) -> Answer:
    """The answer to a request of a program, or what it was before.

    `prepare` may ask others, and changes nothing. `carry_out` does all there is to do in the transaction that keeps the
    answer: neither is there without the other. Raises KeyReused, InFlight, and whatever the two raise.
    """
    with begin(app.engine) as tx:
        held = answers.hold(tx, program, key, app.now(), seconds)
    if not isinstance(held, Hold):
        return Answer(held, replayed=True)
    try:
        ready = prepare()
        with begin(app.engine) as tx:
            said = carry_out(tx, ready)
            counts = answers.finish(tx, held, said, app.now())
            if counts is not said:
                raise _Overtaken(counts)
    except _Overtaken as overtaken:
        return Answer(overtaken.said, replayed=True)
    except BaseException:
        # If it can't be given up, it ends by itself.
        with suppress(DatabaseProblem), begin(app.engine) as tx:
            answers.abandon(tx, held)
        raise
    return Answer(said)
