"""Telling what the index has found out: facts become events, which storefronts list and webhooks deliver.

By itself and not with the index, which goes faster through a program's past than everything can be told. Any number of
processes may do it at once: what one has told, another finds told.
"""

from nftloyalty.app.context import App
from nftloyalty.store import announcements
from nftloyalty.store.engine import begin, read
from nftloyalty.store.index_steps import Overtaken

# Logs made events of in one transaction, so that it stays short.
LOGS_AT_ONCE = 5_000


def announce(app: App, chain: int) -> bool:
    """One bounded piece of work for every program of a chain. False if there was nothing to tell, or another process
    was telling it."""
    with read(app.engine) as tx:
        programs = announcements.to_announce(tx, chain)
    moved = False
    for program in programs:
        with read(app.engine) as tx:
            news = announcements.look(tx, program, LOGS_AT_ONCE)
        if news is None:
            continue
        try:
            with begin(app.engine) as tx:
                announcements.announce(tx, news, app.now())
        except Overtaken:
            continue
        moved = True
    return moved
