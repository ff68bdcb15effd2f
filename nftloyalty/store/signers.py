"""Signers: whose nonces we hand out, and who may do so now.

One process at a time makes slots for a signer: the holder of its lease. Each taking of the lease raises its epoch, and
every write of a sender names the epoch it believes in, inside the same transaction. So a sender that slept through the
end of its lease finds itself fenced out (SignerBusy) before it can write or send anything.
"""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection, func, select, update

from nftloyalty.errors import SignerBusy, SignerHalted, SigningProblem, Unknown
from nftloyalty.store.tables import signers
from nftloyalty.store.writing import insert_new


@dataclass(frozen=True)
class SignerRow:
    """`next_nonce` is None until the chain was asked once; `halted` says why no new slot may be made, `waits_for` what
    its sender waits for, `waits_alone` whether another key could go on."""

    id: int
    chain: int
    address: str
    next_nonce: int | None
    halted: str | None
    lease_owner: str | None
    lease_epoch: int
    lease_until: datetime | None
    waits_for: str | None
    waits_since: datetime | None
    waits_alone: bool | None


def register(tx: Connection, chain: int, address: str) -> SignerRow:
    """The signer of this address on this chain; made if it is new."""
    this = select(signers).where(signers.c.chain == chain, signers.c.address == address)
    row = tx.execute(this).one_or_none()
    if row is None:
        tx.execute(
            insert_new(tx, signers, signers.c.chain, signers.c.address).values(
                chain=chain, address=address, lease_epoch=0
            )
        )
        row = tx.execute(this).one()
    return SignerRow(*row)


def get(tx: Connection, signer: int) -> SignerRow:
    """Raises Unknown."""
    row = tx.execute(select(signers).where(signers.c.id == signer)).one_or_none()
    if row is None:
        raise Unknown(f"there is no signer {signer}")
    return SignerRow(*row)


def list_all(tx: Connection, chain: int) -> list[SignerRow]:
    """Every signer of a chain, in the order they were first used."""
    query = select(signers).where(signers.c.chain == chain).order_by(signers.c.id)
    return [SignerRow(*row) for row in tx.execute(query)]


def take_lease(
    tx: Connection, signer: int, owner: str, now: datetime, seconds: float, owner_alive: Callable[[str], bool]
) -> int:
    """Become the one sender of this signer until now + seconds; returns the epoch to name in every further write.

    Free to take: no owner, an ended lease, or that of an owner of which `owner_alive` says False (a process of this
    machine that is gone; answer True where that can't be known). Raises SignerBusy otherwise, also against another
    sender of the same owner: two threads of one process take turns like two processes.
    """
    row = _locked(tx, signer)
    lasts = row.lease_until is not None and row.lease_until > now
    if lasts and row.lease_owner is not None and owner_alive(row.lease_owner):
        raise SignerBusy(
            f"{row.address} is being used by {row.lease_owner} until {row.lease_until:%H:%M:%S} UTC",
            mend="wait for that run to end, or stop it",
        )
    epoch = row.lease_epoch + 1
    taken = tx.execute(
        update(signers)
        .where(signers.c.id == signer, signers.c.lease_epoch == row.lease_epoch)
        .values(lease_owner=owner, lease_epoch=epoch, lease_until=now + timedelta(seconds=seconds))
    )
    if taken.rowcount != 1:
        raise _fenced(row)
    return epoch


def renew_lease(tx: Connection, signer: int, owner: str, epoch: int, now: datetime, seconds: float) -> None:
    """Hold on to the lease until now + seconds. Raises SignerBusy if it was taken over or released."""
    renewed = tx.execute(
        update(signers)
        .where(signers.c.id == signer, signers.c.lease_owner == owner, signers.c.lease_epoch == epoch)
        .values(lease_until=now + timedelta(seconds=seconds))
    )
    if renewed.rowcount != 1:
        raise _fenced(get(tx, signer))


def release_lease(tx: Connection, signer: int, owner: str, epoch: int) -> bool:
    """Give the lease back. False if it was not ours any more, which changes nothing."""
    released = tx.execute(
        update(signers)
        .where(signers.c.id == signer, signers.c.lease_owner == owner, signers.c.lease_epoch == epoch)
        .values(lease_owner=None, lease_until=None)
    )
    return released.rowcount == 1


def hold(tx: Connection, signer: int, epoch: int) -> SignerRow:
    """Make sure of the lease until this transaction ends: nobody can take it meanwhile. Raises SignerBusy if fenced."""
    row = _locked(tx, signer)
    if row.lease_owner is None or row.lease_epoch != epoch:
        raise _fenced(row)
    return row


def take_nonces(tx: Connection, signer: int, epoch: int, count: int) -> int:
    """The first of the next `count` nonces, never handed out again. Only for what makes their slots in the same
    transaction.

    Raises SignerBusy (fenced), SignerHalted, or SigningProblem if the chain was never asked for the first nonce.
    """
    after = tx.execute(
        update(signers)
        .where(
            signers.c.id == signer,
            signers.c.lease_epoch == epoch,
            signers.c.lease_owner.is_not(None),
            signers.c.halted.is_(None),
            signers.c.next_nonce.is_not(None),
        )
        .values(next_nonce=signers.c.next_nonce + count)
        .returning(signers.c.next_nonce)
    ).scalar_one_or_none()
    if after is not None:
        return int(after) - count
    row = hold(tx, signer, epoch)
    if row.halted is not None:
        raise SignerHalted(f"{row.address} is halted: {row.halted}", mend="settle the cause, then resume the signer")
    raise SigningProblem(f"the nonce of {row.address} was never asked of the chain")


def set_next_nonce_first_time(tx: Connection, signer: int, nonce: int) -> int:
    """Start counting at the chain's nonce, unless counting has begun. Returns the next nonce that is in force."""
    tx.execute(update(signers).where(signers.c.id == signer, signers.c.next_nonce.is_(None)).values(next_nonce=nonce))
    in_force = tx.execute(select(signers.c.next_nonce).where(signers.c.id == signer)).scalar_one_or_none()
    if in_force is None:
        raise Unknown(f"there is no signer {signer}")
    return int(in_force)


def halt(tx: Connection, signer: int, reason: str) -> None:
    """No new slots for this signer. The first reason stays: what came later is often its consequence."""
    tx.execute(update(signers).where(signers.c.id == signer).values(halted=func.coalesce(signers.c.halted, reason)))


def note_waiting(tx: Connection, signer: int, reason: str | None, now: datetime, *, alone: bool = False) -> None:
    """Write down what this signer's sender waits for, for all who watch; None = it goes on. `alone` = another key could
    go on. Its time is that of the first word of the same reason."""
    changed = signers.c.waits_for.is_distinct_from(reason)
    since, whose = (None, None) if reason is None else (now, alone)
    values = {"waits_for": reason, "waits_since": since, "waits_alone": whose}
    tx.execute(update(signers).where(signers.c.id == signer, changed).values(values))


def resume(tx: Connection, signer: int) -> None:
    """New slots are allowed again. Nonces that others have used are recorded first: `slots.record_foreign`."""
    tx.execute(update(signers).where(signers.c.id == signer).values(halted=None))


def _locked(tx: Connection, signer: int) -> SignerRow:
    # On PostgreSQL the weaker row lock: intake, whose new rows point at the signer, need not wait for the sender.
    row = tx.execute(select(signers).where(signers.c.id == signer).with_for_update(key_share=True)).one_or_none()
    if row is None:
        raise Unknown(f"there is no signer {signer}")
    return SignerRow(*row)


def _fenced(row: SignerRow) -> SignerBusy:
    now_with = row.lease_owner or "nobody"
    return SignerBusy(
        f"the lease of {row.address} was lost; it is now with {now_with}", mend="take the lease again before sending"
    )
