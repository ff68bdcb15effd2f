"""Bringing events to webhook endpoints: take what may go now, post it with several threads, write down how that went.

A delivery is claimed before it is sent and settled afterwards, each in a short transaction with no call inside. A
process that dies in between leaves a claim that ends; what it sent is sent again with the same id. Any number of
processes share the work.
"""

import logging
import queue
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType

from sqlalchemy import Connection

from nftloyalty.app.context import App
from nftloyalty.app.endpoints import unsealed
from nftloyalty.app.leases import owner_alive, process_name
from nftloyalty.connect.posting import Answer
from nftloyalty.connect.webhooks import sign
from nftloyalty.domain.delivery import Message
from nftloyalty.errors import KeyProblem
from nftloyalty.store import delivery_steps, webhooks
from nftloyalty.store.delivery_steps import Claimed, Outcome
from nftloyalty.store.engine import begin, read
from nftloyalty.store.programs import ProgramRow

log = logging.getLogger(__name__)

THREADS = 24
LIMIT_EACH = 16
"""Messages under way to one endpoint at most, so that a slow one leaves threads to the others."""

# So many are claimed for each thread, so that it has something to do while what ended is settled.
_AHEAD = 2
HOLD = timedelta(seconds=60)
# A message takes 15 seconds at most. One that waited so long for a thread that its claim could end meanwhile is not
# sent: another process may be about to send it, and the one after it.
_LAST_MOMENT = timedelta(seconds=20)
LOOK_SECONDS = 0.5
STOP_SECONDS = 8.0
# How long an endpoint is left alone whose secrets can't be read: an operator has to do something first.
KEY_PAUSE = timedelta(seconds=30)


def random_part() -> float:
    """A random number from 0 to 1."""
    return secrets.randbelow(1 << 20) / (1 << 20)


def deliver(
    app: App,
    program: ProgramRow,
    *,
    done: Callable[[], bool],
    sleep: Callable[[float], None],
    note: Callable[[str], None],
) -> None:
    """Bring a program's events to its endpoints until `done`. `note` is told what stands in the way, "" = nothing."""
    with Deliverer(app, program) as deliverer:
        while not done():
            idle = not deliverer.turn(LOOK_SECONDS)
            note(deliverer.trouble)
            if idle:
                sleep(LOOK_SECONDS)


class Deliverer:
    """Delivers for one program, with threads of its own. One thread calls `turn`; `close` it at the end."""

    def __init__(
        self, app: App, program: ProgramRow, *, threads: int = THREADS, jitter: Callable[[], float] = random_part
    ) -> None:
        self.trouble = ""
        self._app = app
        self._program = program
        self._owner = process_name()
        self._jitter = jitter
        self._threads = threads
        self._under_way = 0
        self._unread: dict[str, tuple[datetime, str]] = {}
        self._asked: queue.SimpleQueue[tuple[Claimed, list[bytes]] | None] = queue.SimpleQueue()
        self._ended: queue.SimpleQueue[Outcome | None] = queue.SimpleQueue()
        for number in range(threads):
            # Daemons: one that waits for a receiver does not hold up the end of the process.
            threading.Thread(target=self._send_all, name=f"webhooks {number}", daemon=True).start()

    def __enter__(self) -> "Deliverer":
        return self

    def __exit__(
        self, kind: type[BaseException] | None, raised: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def turn(self, wait_seconds: float) -> bool:
        """Settle what has ended and send what may go. Waits up to so long for something under way to end. Returns
        whether anything moved or is under way."""
        ended = self._take(wait_seconds)
        claimed = self._step(ended)
        for each in claimed:
            self._send(each)
        self.trouble = self._trouble()
        self._app.poster.tidy()
        return bool(ended or claimed or self._under_way)

    def close(self) -> None:
        """Settle what is under way and ends soon, and leave the rest to whoever claims it next."""
        unsent: list[Claimed] = []
        with suppress(queue.Empty):
            while (asked := self._asked.get_nowait()) is not None:
                unsent.append(asked[0])
        for _ in range(self._threads):
            self._asked.put(None)
        self._under_way -= len(unsent)
        with begin(self._app.engine) as tx:
            delivery_steps.give_back(tx, unsent)
        give_up = time.monotonic() + STOP_SECONDS
        while self._under_way and (left := give_up - time.monotonic()) > 0:
            ended = self._take(left)
            with begin(self._app.engine) as tx:
                disabled = delivery_steps.settle(tx, ended, self._app.now(), self._jitter)
            _tell(ended, disabled)

    def _take(self, wait_seconds: float) -> list[Outcome]:
        """What has ended; waits for the first one if anything is under way."""
        ended: list[Outcome] = []
        try:
            while self._under_way:
                outcome = self._ended.get(block=not ended, timeout=wait_seconds)
                self._under_way -= 1
                if outcome is not None:
                    ended.append(outcome)
        except queue.Empty:
            pass
        return ended

    def _step(self, ended: list[Outcome]) -> list[Claimed]:
        if not ended:
            with read(self._app.engine) as tx:
                if not delivery_steps.may_claim(tx, self._program.id, self._owner, self._app.now()):
                    return []
        with begin(self._app.engine) as tx:
            disabled = delivery_steps.settle(tx, ended, self._app.now(), self._jitter)
            claimed = self._claim(tx)
        _tell(ended, disabled)
        return claimed

    def _claim(self, tx: Connection) -> list[Claimed]:
        now = self._app.now()
        return delivery_steps.claim(
            tx,
            self._program.id,
            self._owner,
            now,
            now + HOLD,
            limit=_AHEAD * self._threads - self._under_way,
            limit_each=LIMIT_EACH,
            alive=owner_alive,
        )

    def _send(self, claimed: Claimed) -> None:
        try:
            keys = unsealed(self._app, self._program.id, claimed.endpoint_id, claimed.sealed)
        except KeyProblem as trouble:
            again_at = self._app.now() + KEY_PAUSE
            self._unread[claimed.endpoint_id] = again_at, trouble.message
            with begin(self._app.engine) as tx:
                webhooks.hold_all(tx, [claimed.endpoint])
                delivery_steps.give_back(tx, [claimed])
                webhooks.change(tx, claimed.endpoint, {"next_at": again_at})
        else:
            self._under_way += 1
            self._asked.put((claimed, keys))

    def _trouble(self) -> str:
        """What stands in the way of some endpoint, as long as it was found out not long ago."""
        newer_than = self._app.now() - KEY_PAUSE
        told = (message for again_at, message in self._unread.values() if again_at > newer_than)
        return "; ".join(dict.fromkeys(told))

    def _send_all(self) -> None:
        while (asked := self._asked.get()) is not None:
            claimed, keys = asked
            began_at = self._app.now()
            if began_at > claimed.held_until - _LAST_MOMENT:
                self._ended.put(None)
                continue
            try:
                answer = self._post(claimed, keys)
            except Exception as fault:
                log.exception("sending %s to %s failed", claimed.event_id, claimed.endpoint_id)
                answer = Answer(None, f"unexpected {type(fault).__name__}", 0)
            self._ended.put(
                Outcome(
                    claimed,
                    began_at,
                    answer.milliseconds,
                    answer.status,
                    answer.error,
                    taken=answer.taken,
                    gone=answer.gone,
                    retry_after_seconds=answer.retry_after_seconds,
                )
            )

    def _post(self, claimed: Claimed, keys: list[bytes]) -> Answer:
        message = Message(
            id=claimed.event_id,
            program=self._program.slug,
            type=claimed.type,
            phase=claimed.phase.value,
            object=claimed.object,
            sequence=claimed.sequence,
            data=claimed.data,
            at=claimed.happened_at,
        )
        body = message.body()
        # The time of this try, not of the event: receivers refuse what is older than minutes.
        headers = sign(keys, message.id, self._app.now(), body)
        return self._app.poster.post(claimed.url, body, headers, endpoint=claimed.endpoint_id)


def _tell(ended: list[Outcome], disabled: Mapping[str, str]) -> None:
    for outcome in ended:
        if not outcome.taken:
            why = outcome.error or f"it answered {outcome.status}"
            log.info("%s did not reach %s: %s", outcome.claimed.event_id, outcome.claimed.endpoint_id, why)
    for endpoint_id, why in disabled.items():
        log.warning("the webhook endpoint %s is disabled: %s", endpoint_id, why)
