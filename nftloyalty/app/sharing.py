"""Several keys that mint for one program share what waits: an idle one takes over from one that has too much of it, or
that can't go on.

Only what nothing was reserved for changes hands, so nothing is done twice. One key is enough for most programs; another
one is for the day on which the first is empty, halted or slow.
"""

from collections.abc import Iterable, Sequence

from sqlalchemy import Connection

from nftloyalty.app.calls import CLAIMS, MINTS
from nftloyalty.app.context import App
from nftloyalty.app.gathering import GATHER_AT_MOST
from nftloyalty.app.leases import owner_alive
from nftloyalty.app.opening import Opened
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.words import Role
from nftloyalty.store import intents, signers
from nftloyalty.store.engine import begin, read
from nftloyalty.store.signers import SignerRow

# What a healthy signer keeps for itself: one batch under way and the next.
KEPT = 2 * GATHER_AT_MOST
TAKEN_AT_ONCE = 4 * GATHER_AT_MOST


def take_over(app: App, opened: Opened, mine: Address, others: Sequence[Address]) -> int:
    """If nothing waits for `mine`, take over from the first of the `others` that has work to give; returns how much.

    `mine` must be one of them: a key that program.toml names for other work pays for nobody's mints and claims. Asks
    the chain whether `mine` may mint before it takes what needs that.
    """
    if mine not in others:
        return 0
    program = opened.row.id
    with read(app.engine) as tx:
        rows = {row.address: row for row in signers.list_all(tx, opened.attached.row)}
        me = rows.get(mine)
        if me is None or me.halted is not None or intents.groups(tx, me.id):
            return 0
        loads = {other: _load(tx, program, rows[other].id) for other in others if other in rows and other != mine}
    for other, (mints, claims) in loads.items():
        former = rows[other]
        stuck = not is_served(app, former) or bool(former.waits_alone)
        spare = mints if stuck else (mints - KEPT) // 2
        kinds = set(CLAIMS) if stuck and claims else set()
        if spare > 0 and opened.membership.powers_of(mine).roles & Role.MINTER:
            kinds |= MINTS
        if not kinds:
            continue
        limit = min(TAKEN_AT_ONCE, max(0, spare) + (claims if stuck else 0))
        with begin(app.engine) as tx:
            taken = intents.hand_over(tx, me.id, former.id, program, kinds, limit, app.now())
        if taken:
            return taken
    return 0


def _load(tx: Connection, program: int, signer: int) -> tuple[int, int]:
    """How many mints and claims of the program wait for a signer."""

    def waiting(kinds: Iterable[Kind]) -> int:
        counts = (intents.unfinished(tx, program, kind, signer=signer) for kind in kinds)
        return sum(count.get(IntentState.RECEIVED, 0) for count in counts)

    return waiting(MINTS), waiting(CLAIMS)


def goes_on(app: App, row: SignerRow) -> bool:
    """Whether somebody sends for this signer, and can."""
    return is_served(app, row) and row.waits_for is None


def is_served(app: App, row: SignerRow) -> bool:
    """Whether a living process, here or elsewhere, sends for this signer."""
    leased = row.lease_until is not None and row.lease_until > app.now()
    living = leased and row.lease_owner is not None and owner_alive(row.lease_owner)
    return living and row.halted is None
