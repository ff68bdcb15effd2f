"""A sender that runs beside the web server and brings accepted claims to the chain."""

import logging
import threading

from nftloyalty.app.context import App
from nftloyalty.app.gathering import Blocked
from nftloyalty.app.opening import Opened
from nftloyalty.app.sending import work
from nftloyalty.chain.signer import Signer
from nftloyalty.errors import LoyaltyError

log = logging.getLogger(__name__)

PAUSE_AFTER_TROUBLE_SECONDS = 3.0
STOP_SECONDS = 10.0


class Relay:
    """Works in one thread from `start` to `stop`. Trouble (no node, no funds, a pause) is kept in `trouble` and tried
    again; nothing that was accepted is lost meanwhile."""

    def __init__(self, app: App, opened: Opened, signer: Signer) -> None:
        self._app = app
        self._opened = opened
        self._signer = signer
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, name="relay", daemon=True)
        self._blocked = False
        self.trouble = ""

    @property
    def running(self) -> bool:
        return self._thread.is_alive()

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        """Finish the step under way and give the lease back. Does no harm to one that was never started.

        A step that waits for a node that hangs is not waited for: it ends with the process, and the lease by itself.
        """
        self._stopped.set()
        if self.running:
            self._thread.join(STOP_SECONDS)
        if self.running:
            log.warning("the relay is waiting for the node and is left behind")

    def _run(self) -> None:
        while not self._stopped.is_set():
            try:
                work(
                    self._app,
                    self._opened.attached,
                    self._signer,
                    finality_blocks=self._opened.program.chain.finality_blocks,
                    done=self._stopped.is_set,
                    tick=self._on_step,
                    on_blocked=self._on_blocked,
                    retry_pauses=(),
                    sleep=self._sleep,
                )
            except LoyaltyError as trouble:
                self._note(trouble)
            except Exception as trouble:
                log.exception("the relay failed and starts again")
                self.trouble = f"unexpected {type(trouble).__name__}; see the log"
                self._sleep(PAUSE_AFTER_TROUBLE_SECONDS)

    def _on_step(self) -> None:
        """A step after which nothing was blocked ends the trouble; being blocked is told after the step."""
        if not self._blocked:
            self.trouble = ""
        self._blocked = False

    def _on_blocked(self, blocked: Blocked) -> None:
        self._blocked = True
        self._note(blocked.reason)

    def _note(self, trouble: LoyaltyError) -> None:
        if self.trouble != trouble.message:
            log.warning("the relay waits: %s", trouble.message)
        self.trouble = trouble.message
        self._sleep(PAUSE_AFTER_TROUBLE_SECONDS)

    def _sleep(self, seconds: float) -> None:
        self._stopped.wait(seconds)
