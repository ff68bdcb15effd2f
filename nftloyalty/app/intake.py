"""Requests for cards and stamps are taken in: many of those that come at the same time with one commit.

A commit that waits for the disk takes longer than all the rest of a request. So one thread writes, and takes whatever
waits into one transaction: what was answered under the same Idempotency-Key and what was asked for before is looked up
for all of them, their intents and answers are inserted for all of them, and each one's answer is its own.
"""

import logging
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from types import TracebackType

from nftloyalty.app.claiming import relay_key
from nftloyalty.app.context import App
from nftloyalty.app.keyring import address_of
from nftloyalty.app.opening import Opened
from nftloyalty.app.taking import Asked, Batch, BatchTold, One, Outcome, Refused, Told, new_intent, take, take_batch
from nftloyalty.domain.address import Address
from nftloyalty.domain.answer import Answer, AnswerKey
from nftloyalty.domain.mint import Mint, read_batch, read_card, read_stamp
from nftloyalty.errors import BadInput, DatabaseProblem, IntakeFull, LoyaltyError
from nftloyalty.store import signers
from nftloyalty.store.engine import begin, beside

log = logging.getLogger(__name__)

MOST_WAITING = 2_000
"""Requests, after which others are refused: who waits longer than a client does gains nothing."""

MOST_BATCHES = 16
"""Of them; each holds some megabytes."""

MOST_TOGETHER = 500
"""In one transaction."""


class Intake:
    """Takes in requests for one program, from any thread. `stop` carries out what waits and refuses what comes then.

    A failed transaction may have been carried out all the same: each of its requests gets the DatabaseProblem, and
    asking for the same again is safe, with or without a key.
    """

    def __init__(self, app: App, opened: Opened, *, most_waiting: int = MOST_WAITING) -> None:
        """Raises ProgramProblem if the program has no minter, KeyProblem if that one's address is not known here."""
        self._app = app
        self._opened = opened
        minter = address_of(app, relay_key(opened))
        self._engine = beside(app.engine)
        with begin(app.engine) as tx:
            self._signer = signers.register(tx, opened.attached.row, minter).id
        # Those that are known without asking the chain.
        self._contracts: Mapping[Address, str] = {
            opened.row.membership: "the program's own contract for cards",
            opened.row.stamps: "the program's own contract for stamps",
            opened.row.factory: "the contract that opens programs",
        }
        self._most_waiting = most_waiting
        self._waiting: deque[Asked] = deque()
        self._batches = 0
        self._stopping = False
        self._wake = threading.Condition()
        self._thread = threading.Thread(target=self._work, name="intake", daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Returns when everything that waited is carried out. Harmless if called again."""
        with self._wake:
            self._stopping = True
            self._wake.notify()
        if self._thread.is_alive():
            self._thread.join()
        self._engine.dispose()

    def __enter__(self) -> "Intake":
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    @property
    def waiting(self) -> int:
        """How many requests wait now."""
        return len(self._waiting)

    def card(self, body: object, told: Told, key: AnswerKey | None, outcome: Outcome) -> None:
        """A card, as `read_card` reads it. The same card again is answered with the same intent.

        The outcome is the answer, or BadInput, AskedOtherwise, KeyReused or DatabaseProblem. Raises IntakeFull.
        """
        self._one(read_card, body, told, key, outcome)

    def stamp(self, body: object, told: Told, key: AnswerKey | None, outcome: Outcome) -> None:
        """A stamp, as `read_stamp` reads it; the rest as for `card`."""
        self._one(read_stamp, body, told, key, outcome)

    def batch(self, body: object, told: BatchTold, key: AnswerKey | None, outcome: Outcome) -> None:
        """Many of one kind, as `read_batch` reads them, on the calling thread: ten thousand keep it busy for a tenth of
        a second. All are taken in or none; what was asked for before, also otherwise, is told item by item.

        Raises IntakeFull; the outcome as for `card`, but never AskedOtherwise.
        """
        self._check_room()
        try:
            mints = read_batch(body, self._opened.program, self._app.now(), self._contracts)
        except BadInput as refusal:
            self._refuse(key, refusal, outcome)
            return
        new = [new_intent(self._app, self._opened, self._signer, mint) for mint in mints]
        first = mints[0]
        self._ask(Batch(key, self._app.new_id("bat"), first.kind, first.stamp_type, new, told, outcome))

    # Of the callers' threads.

    def _one(
        self, reader: Callable[..., Mint], body: object, told: Told, key: AnswerKey | None, outcome: Outcome
    ) -> None:
        self._check_room()
        try:
            mint = reader(body, self._opened.program, self._app.now(), self._contracts)
        except BadInput as refusal:
            self._refuse(key, refusal, outcome)
            return
        self._ask(One(key, new_intent(self._app, self._opened, self._signer, mint), told, outcome))

    def _refuse(self, key: AnswerKey | None, refusal: LoyaltyError, outcome: Outcome) -> None:
        if key is not None:
            # It may have been right once: an expiry passes, a stamp's time ends. Its key knows what was answered then.
            self._ask(Refused(key, refusal, outcome))
        else:
            outcome.set_exception(refusal)

    def _ask(self, asked: Asked) -> None:
        with self._wake:
            self._check_room()
            if isinstance(asked, Batch):
                if self._batches >= MOST_BATCHES:
                    raise IntakeFull("too many batches wait already")
                self._batches += 1
            self._waiting.append(asked)
            self._wake.notify()

    def _check_room(self) -> None:
        if self._stopping:
            raise IntakeFull("the server is being stopped")
        if len(self._waiting) >= self._most_waiting:
            raise IntakeFull("too many requests wait already")

    # Of the writer's thread.

    def _work(self) -> None:
        while together := self._next():
            # From here on a request can't be called back any more.
            self._carry_out([asked for asked in together if asked.outcome.set_running_or_notify_cancel()])

    def _next(self) -> list[Asked]:
        """What goes into one transaction: a batch by itself, or the requests before the next one. Empty = the end."""
        with self._wake:
            while not self._waiting and not self._stopping:
                self._wake.wait()
            together: list[Asked] = []
            while self._waiting and len(together) < MOST_TOGETHER:
                if isinstance(self._waiting[0], Batch):
                    if not together:
                        self._batches -= 1
                        together.append(self._waiting.popleft())
                    break
                together.append(self._waiting.popleft())
            return together

    def _carry_out(self, together: Sequence[Asked]) -> None:
        if not together:
            return
        results: Sequence[Answer | Exception]
        try:
            with begin(self._engine) as tx:
                if isinstance(first := together[0], Batch):
                    results = [take_batch(self._app, self._opened, tx, first)]
                else:
                    ones = [asked for asked in together if not isinstance(asked, Batch)]
                    results = take(self._app, self._opened, tx, ones)
        except DatabaseProblem as failure:
            log.warning("%d requests were not taken in: %s", len(together), failure.message)
            results = [failure] * len(together)
        except Exception as failure:
            if len(together) > 1:
                log.exception("requests could not be taken in together; now each by itself")
                for asked in together:
                    self._carry_out([asked])
                return
            log.exception("a request could not be taken in")
            results = [failure]
        for asked, result in zip(together, results, strict=True):
            if isinstance(result, Exception):
                asked.outcome.set_exception(result)
            else:
                asked.outcome.set_result(result)
