"""What runs all the time: a sender for each key, the index, and what tells of it. In `nftloyalty worker`, or beside
the web server.

Any number of workers may share a database. Each signer and each chain's index is worked for by one of them at a time,
by lease; the others stand by and take over when its process ends or its lease does. Events are told by whichever comes
first.
"""

import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta

from nftloyalty import logs
from nftloyalty.app.announcing import announce
from nftloyalty.app.context import App
from nftloyalty.app.delivering import deliver
from nftloyalty.app.forgetting import forget_old
from nftloyalty.app.gathering import Blocked
from nftloyalty.app.indexing import Indexer, Progress
from nftloyalty.app.keyring import known_addresses
from nftloyalty.app.opening import Opened
from nftloyalty.app.sending import work
from nftloyalty.app.sharing import take_over
from nftloyalty.chain.signer import Signer
from nftloyalty.errors import LoyaltyError

log = logging.getLogger(__name__)

PAUSE_AFTER_TROUBLE_SECONDS = 3.0
# Between two looks at a chain where nothing moves.
INDEX_PAUSE_SECONDS = 0.5
STAND_BY_SECONDS = 2.0
FORGET_EVERY_SECONDS = 3600.0
# Between two looks at an index of which nothing is to be told.
ANNOUNCE_PAUSE_SECONDS = 0.5
# Between two looks at what waits for the program's other keys.
SHARE_EVERY = timedelta(seconds=5)
STOP_SECONDS = 10.0


class Hand:
    """One thread that does one thing from `start` to `stop`, and begins again after trouble. `trouble` says what it
    waits for; nothing that was accepted is lost meanwhile. All its log lines are about `about`."""

    def __init__(self, name: str, turn: Callable[["Hand"], None], about: logs.Fields | None = None) -> None:
        self.name = name
        self._about = about or logs.Fields()
        self.trouble = ""
        self._turn = turn
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    @property
    def stopped(self) -> bool:
        """Whether it was told to stop."""
        return self._stopped.is_set()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Let it finish what it is at. Does not wait."""
        self._stopped.set()

    def join(self, seconds: float) -> None:
        """A step that waits for a node that hangs is not waited for longer: it ends with the process, its lease by
        itself."""
        if self.running:
            self._thread.join(seconds)
        if self.running:
            log.warning("%s is waiting for the node and is left behind", self.name)

    def sleep(self, seconds: float) -> None:
        """Until then, or until it is told to stop."""
        self._stopped.wait(seconds)

    def note(self, trouble: str) -> None:
        """Keep it for those who ask, and tell it once. "" = it waits for nothing any more."""
        if trouble and self.trouble != trouble:
            log.warning("%s waits: %s", self.name, trouble)
        self.trouble = trouble

    def rest(self, trouble: LoyaltyError) -> None:
        """Note it, and try again a while later."""
        self.note(trouble.message)
        self.sleep(PAUSE_AFTER_TROUBLE_SECONDS)

    def _run(self) -> None:
        with logs.about(**self._about):
            while not self.stopped:
                try:
                    self._turn(self)
                except LoyaltyError as trouble:
                    self.rest(trouble)
                except Exception as trouble:
                    log.exception("%s failed and starts again", self.name)
                    self.trouble = f"unexpected {type(trouble).__name__}; see the log"
                    self.sleep(PAUSE_AFTER_TROUBLE_SECONDS)


class Worker:
    """Sends with these keys, one that is given twice once, indexes the program's chain, tells what it finds, and brings
    that to webhooks. `start` it once."""

    def __init__(self, app: App, opened: Opened, signers: Sequence[Signer] = (), *, indexes: bool = True) -> None:
        self._app = app
        self._opened = opened
        keys = {each.address: each for each in signers}
        self.senders = tuple(
            Hand(f"sender {address}", self._sending(each), logs.Fields(signer=address))
            for address, each in keys.items()
        )
        self.indexer = Hand("index", self._index) if indexes else None
        self.announcer = Hand("events", self._announce) if indexes else None
        self.deliverer = Hand("webhooks", self._deliver) if indexes else None
        self.upkeep = Hand("upkeep", self._forget) if indexes else None

    @property
    def hands(self) -> tuple[Hand, ...]:
        others = (self.indexer, self.announcer, self.deliverer, self.upkeep)
        return (*self.senders, *(hand for hand in others if hand is not None))

    @property
    def troubles(self) -> Mapping[str, str]:
        """What each hand waits for, by its name; none for those that wait for nothing."""
        return {hand.name: hand.trouble for hand in self.hands if hand.trouble}

    def start(self) -> None:
        for hand in self.hands:
            hand.start()

    def stop(self) -> None:
        """Finish the steps under way and give the leases back. Harmless if it was never started."""
        for hand in self.hands:
            hand.stop()
        give_up = time.monotonic() + STOP_SECONDS
        for hand in self.hands:
            hand.join(max(0.0, give_up - time.monotonic()))

    def _sending(self, signer: Signer) -> Callable[[Hand], None]:
        def turn(hand: Hand) -> None:
            blocked = False
            shared_at = self._app.now()
            others = known_addresses(self._app, self._opened.program.powers.minters)

            def on_step() -> None:
                """A step after which nothing was blocked ends the trouble; being blocked is told after the step."""
                nonlocal blocked, shared_at
                if not blocked:
                    hand.note("")
                blocked = False
                if self._app.now() - shared_at >= SHARE_EVERY:
                    shared_at = self._app.now()
                    taken = take_over(self._app, self._opened, signer.address, others)
                    if taken:
                        log.info("took over %d mints that waited for another key", taken)

            def on_blocked(why: Blocked) -> None:
                nonlocal blocked
                blocked = True
                hand.rest(why.reason)

            work(
                self._app,
                self._opened.attached,
                signer,
                finality_blocks=self._opened.program.chain.finality_blocks,
                done=lambda: hand.stopped,
                tick=on_step,
                on_blocked=on_blocked,
                retry_pauses=(),
                sleep=hand.sleep,
            )

        return turn

    def _deliver(self, hand: Hand) -> None:
        deliver(self._app, self._opened.row, done=lambda: hand.stopped, sleep=hand.sleep, note=hand.note)

    def _forget(self, hand: Hand) -> None:
        forgotten = forget_old(self._app, lambda: hand.stopped)
        hand.note("")
        if forgotten.answers or forgotten.deliveries:
            what = "forgot %d answers to requests and %d deliveries of webhooks that are old"
            log.info(what, forgotten.answers, forgotten.deliveries)
        hand.sleep(FORGET_EVERY_SECONDS)

    def _index(self, hand: Hand) -> None:
        finality_blocks = self._opened.program.chain.finality_blocks
        with Indexer(self._app, self._opened.attached, finality_blocks=finality_blocks) as indexer:
            shown = -1
            while not hand.stopped:
                progress = indexer.step()
                # One program that stands still holds up no other.
                hand.note("; ".join(halted.message for halted in progress.halted))
                shown = _tell(progress, shown)
                if progress.busy:
                    hand.sleep(STAND_BY_SECONDS)
                elif not progress.moved:
                    hand.sleep(INDEX_PAUSE_SECONDS)

    def _announce(self, hand: Hand) -> None:
        while not hand.stopped:
            moved = announce(self._app, self._opened.attached.row)
            hand.note("")
            if not moved:
                hand.sleep(ANNOUNCE_PAUSE_SECONDS)


def _tell(progress: Progress, shown: int) -> int:
    """Log each further tenth of a long way to the head; returns the last tenth told."""
    if progress.busy or progress.head is None or progress.lowest is None or progress.head - progress.lowest < 1000:
        return -1
    tenth = 10 * progress.lowest // progress.head
    if tenth != shown:
        log.info("indexed up to block %d of %d", progress.lowest, progress.head)
    return tenth
