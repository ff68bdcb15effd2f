"""What was accepted and is not on chain yet: shown with the reason, withdrawn, and told when a command is stopped."""

from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import datetime

from nftloyalty.app.context import App
from nftloyalty.app.gathering import Gathering
from nftloyalty.app.keyring import key_name
from nftloyalty.app.leases import owner_alive
from nftloyalty.app.opening import Attached
from nftloyalty.domain.act import MEMBER_ACTS
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.program import Program
from nftloyalty.errors import LoyaltyError
from nftloyalty.store import intents, programs, reports, signers
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Group
from nftloyalty.store.reports import UnfinishedGroup

_GO_ON = {
    Kind.MINT_CARD: "run `nftloyalty mint` with the same file again",
    Kind.MINT_STAMP: "run `nftloyalty stamp` with the same file again",
    Kind.CLAIM_CARD: "`nftloyalty serve` sends them",
    Kind.CLAIM_STAMP: "`nftloyalty serve` sends them",
    **dict.fromkeys(MEMBER_ACTS, "run the same command again, or `nftloyalty worker`"),
    Kind.CALL: "run the same command again",
    Kind.DEPLOY: "run `nftloyalty deploy` again",
}


@dataclass(frozen=True)
class Unfinished:
    """A group of accepted intents. `stamp` is the stamp's id, `key` the name of the key that sends them, if it is here.

    `why` tells why the waiting ones wait; empty if none does.
    """

    kind: Kind
    stamp: str | None
    waiting: int
    under_way: int
    since: datetime
    address: Address
    key: str | None
    acts: tuple[str, ...]
    why: str


def unfinished(app: App, attached: Attached, program: Program) -> list[Unfinished]:
    """What this program has accepted and is not on chain yet, with the reason, for which the chain is asked."""
    found = []
    for group in _groups(app, attached.row, program.id):
        stamp = program.stamp_id(group.stamp_type) if group.stamp_type else None
        why = ""
        if group.waiting:
            try:
                why = _why(app, group)
            except LoyaltyError as unknown:
                why = f"can't be told now: {unknown.message}"
        key = key_name(app, group.address)
        found.append(
            Unfinished(
                group.kind, stamp, group.waiting, group.under_way, group.since, group.address, key, group.acts, why
            )
        )
    return found


def withdraw(
    app: App,
    attached: Attached,
    program: Program,
    *,
    kind: Kind | None = None,
    stamp: str | None = None,
    recipient: Address | None = None,
) -> int:
    """Cancel what waits, or a part of it; returns how much. What is in a transaction already can't be cancelled here.

    The same file asks for it once more. Raises Unknown for a stamp that program.toml does not have.
    """
    stamp_type = program.stamp_number(stamp) if stamp is not None else None
    with begin(app.engine) as tx:
        row = programs.find(tx, attached.row, program.id)
        return intents.withdraw(
            tx,
            attached.row,
            row.id if row is not None else None,
            app.now(),
            kind=kind,
            stamp_type=stamp_type,
            recipient=recipient,
        )


@contextmanager
def telling_what_stays(app: App, chain: int, program_id: str, kinds: Collection[Kind]) -> Iterator[None]:
    """Around something that accepts intents of these kinds: whatever stops it, its error tells what stays accepted,
    which command goes on with it, and which one withdraws it. `chain` is the chain's row."""
    try:
        yield
    except BaseException as stopped:
        # The database itself may be what failed.
        with suppress(LoyaltyError):
            for line in _what_stays(app, chain, program_id, kinds):
                stopped.add_note(line)
        raise


def _what_stays(app: App, chain: int, program_id: str, kinds: Collection[Kind]) -> Iterator[str]:
    groups = [group for group in _groups(app, chain, program_id) if group.kind in kinds]
    for group in groups:
        what = "; ".join(group.acts) or group.kind.value
        if group.under_way:
            yield f"Under way: {group.under_way:,} ({what}). It may be mined yet; to see it end, {_GO_ON[group.kind]}."
        if group.waiting:
            yield f"Accepted and not sent: {group.waiting:,} ({what}). To go on, {_GO_ON[group.kind]}."
    if any(group.waiting for group in groups):
        yield "`nftloyalty waiting cancel --all` withdraws what was not sent."


def _groups(app: App, chain: int, program_id: str) -> list[UnfinishedGroup]:
    with read(app.engine) as tx:
        row = programs.find(tx, chain, program_id)
        return reports.unfinished(tx, chain, row.id if row is not None else None)


def _why(app: App, group: UnfinishedGroup) -> str:
    """Why the oldest of a group is not sent: what the books say, else what the chain says to a trial."""
    with read(app.engine) as tx:
        signer = signers.get(tx, group.signer)
    if signer.halted is not None:
        return f"its signer is halted: {signer.halted}"
    # What stands in the way of a sender stands there whether one is running or not.
    blocked = Gathering(app, group.address, group.signer).hindrance(Group(group.program, group.kind, group.stamp_type))
    if blocked is not None:
        return blocked.reason.message
    leased = signer.lease_until is not None and signer.lease_until > app.now()
    if leased and signer.lease_owner is not None and owner_alive(signer.lease_owner):
        return f"being sent by {signer.lease_owner}"
    return f"nothing is sending it: {_GO_ON[group.kind]}"
