"""Taking back a transaction that was sent and no block holds: an empty one of the same nonce is offered in its place.

Only one of the two can ever be mined, and which one it is, nobody can tell beforehand. What was in a transaction that
lost is withdrawn once the empty one is final.
"""

from collections.abc import Callable, Collection
from dataclasses import dataclass

from nftloyalty.app.context import App
from nftloyalty.app.keyring import address_of, signer_of
from nftloyalty.app.opening import Attached
from nftloyalty.app.sending import work
from nftloyalty.domain.intent import OPEN_SLOT_STATES
from nftloyalty.errors import LoyaltyError, SigningProblem
from nftloyalty.store import signers, slots
from nftloyalty.store.engine import begin, read


@dataclass(frozen=True)
class Cancelled:
    """How it ended for good for a nonce: `withdrawn` = the empty transaction is on chain, else what it stood for is."""

    nonce: int
    withdrawn: bool
    tx_hash: str


def cancel(
    app: App,
    attached: Attached,
    name_or_address: str,
    nonces: Collection[int] | None,
    *,
    finality_blocks: int | None,
    tick: Callable[[], None] = lambda: None,
    on_trouble: Callable[[LoyaltyError], None] = lambda trouble: None,
) -> list[Cancelled]:
    """Cancel these nonces of a key (None = all that no block holds), and watch until each is final, one way or the
    other: before that, where the block of the one is undone, the other may still win. Asked once, it stays asked:
    whoever sends with this key goes on with it.

    Raises SigningProblem if a nonce is not under way; then nothing was changed.
    """
    address = address_of(app, name_or_address)
    with begin(app.engine) as tx:
        row = signers.register(tx, attached.row, address).id
        under_way = {each.slot.nonce: each.slot.id for each in slots.open_slots(tx, row, slots.NOT_INCLUDED)}
        wanted = sorted(under_way if nonces is None else nonces)
        strange = [nonce for nonce in wanted if nonce not in under_way]
        if strange:
            raise SigningProblem(
                f"no transaction of {address} with nonce {strange[0]} is under way; nothing was changed",
                mend="`nftloyalty signers show` lists those that are",
            )
        slots.ask_cancel(tx, row, wanted, app.now())
    ids = [under_way[nonce] for nonce in wanted]

    def done() -> bool:
        with read(app.engine) as tx:
            return all(slots.get(tx, slot).state not in OPEN_SLOT_STATES for slot in ids)

    if ids:
        work(
            app,
            attached,
            signer_of(app, name_or_address),
            finality_blocks=finality_blocks,
            done=done,
            tick=tick,
            on_blocked=lambda blocked: None,
            on_trouble=on_trouble,
        )
    with read(app.engine) as tx:
        ended = [slots.get(tx, slot) for slot in ids]
        return [Cancelled(slot.nonce, slots.is_noop(tx, slot.id), str(slot.tx_hash)) for slot in ended]
