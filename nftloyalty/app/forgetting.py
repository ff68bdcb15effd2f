"""Forgetting what need not be kept for ever: answers to requests, and deliveries that ended long ago."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from nftloyalty.app.context import App
from nftloyalty.store import answers, delivery_log
from nftloyalty.store.engine import begin

AT_ONCE = 1_000
"""Rows in one transaction: others write too."""


@dataclass(frozen=True)
class Forgotten:
    """How many of each."""

    answers: int
    deliveries: int


def forget_old(app: App, done: Callable[[], bool] = lambda: False) -> Forgotten:
    """Delete what is old, in small steps, until `done`; what is left then is for the next time."""
    return Forgotten(_all(app, answers.forget_old, done), _all(app, delivery_log.forget_old, done))


def _all(app: App, forget: Callable[[Connection, datetime, int], int], done: Callable[[], bool]) -> int:
    total = 0
    while not done():
        with begin(app.engine) as tx:
            forgotten = forget(tx, app.now(), AT_ONCE)
        total += forgotten
        if forgotten < AT_ONCE:
            break
    return total
