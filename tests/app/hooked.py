"""A program with events and webhook endpoints, without a chain: nothing that is sent out asks a node."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from sqlalchemy import select

from nftloyalty.app import endpoints
from nftloyalty.app.context import App, build_app
from nftloyalty.app.delivering import Deliverer
from nftloyalty.app.endpoints import Made
from nftloyalty.connect.posting import Poster
from nftloyalty.store import chains
from nftloyalty.store.engine import begin, read
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.tables import deliveries
from tests.app.build import settings_of
from tests.connect.receiver import LOOPBACK
from tests.store import build
from tests.store.happenings import happen

NOWHERE = "http://127.0.0.1:9"
START = datetime(2026, 3, 1, 12, tzinfo=UTC)


@dataclass
class Clock:
    """Stands still until it is set forward."""

    time: datetime = START

    def now(self) -> datetime:
        return self.time

    def forward(self, step: timedelta) -> None:
        self.time += step


@dataclass
class Hooked:
    """`app` may be given another poster by `posts_with`."""

    app: App
    program: ProgramRow
    clock: Clock
    folder: Path
    database_url: str
    sent: list[str] = field(default_factory=list)

    def endpoint(self, url: str, *types: str) -> Made:
        return endpoints.create(self.app, self.program, url, types=types)

    def happen(self, *objects: str, type_: str = "membership.created") -> list[str]:
        """Events of these objects; returns their ids."""
        with begin(self.app.engine) as tx:
            made = happen(tx, self.program.id, *objects, now=self.app.now(), type_=type_)
        self.sent += [each.public_id for each in made]
        return [each.public_id for each in made]

    def posts_with(self, poster: Poster) -> None:
        # What a cached property has made is kept there.
        self.app.__dict__["poster"] = poster

    def deliver(self, deliverer: Deliverer | None = None) -> None:
        """Until nothing is under way and nothing may go now."""
        if deliverer is not None:
            while deliverer.turn(0.05):
                pass
            return
        with Deliverer(self.app, self.program, threads=8, jitter=lambda: 0.0) as own:
            self.deliver(own)

    def states(self) -> dict[str, int]:
        """How many deliveries are in which state."""
        found: dict[str, int] = {}
        with read(self.app.engine) as tx:
            for state in tx.execute(select(deliveries.c.state)).scalars():
                found[state.value] = found.get(state.value, 0) + 1
        return found

    def standing(self, made: Made) -> endpoints.Standing:
        return endpoints.one(self.app, self.program, made.endpoint.public_id)

    def again(self) -> "Hooked":
        """The same as another process would have it."""
        app = build_app(self.app.settings, now=self.clock.now)
        return replace(self, app=app)


def hooked(folder: Path, database_url: str, now: Callable[[], datetime] | None = None, **settings: Any) -> Hooked:
    """An app that may send webhooks to this machine."""
    clock = Clock()
    given = {"NFTLOYALTY_WEBHOOK_NETWORKS": "127.0.0.0/8"} | settings
    app = build_app(settings_of(folder, NOWHERE, database_url, **given), now=now or clock.now)
    assert set(LOOPBACK) <= set(app.settings.webhook_networks) or settings
    with begin(app.engine) as tx:
        chain = chains.known_chain(tx, build.CHAIN_ID, build.GENESIS, START)
        program = build.program(tx, chain)
    return Hooked(app, program, clock, folder, database_url)
