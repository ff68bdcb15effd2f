"""Vouchers that were signed, so that they can be listed and handed out again. Making one twice gives two rows."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from heapq import merge
from itertools import islice
from typing import Any

from sqlalchemy import Connection, insert, literal_column, select

from nftloyalty.errors import Unknown
from nftloyalty.store.tables import VoucherKind, vouchers


@dataclass(frozen=True)
class NewVoucher:
    """`args` are the signed fields beside the recipient; `signer` is the address that signed, `signature` 0x-hex."""

    public_id: str
    program: int
    kind: VoucherKind
    recipient: str
    args: Mapping[str, Any]
    signer: str
    signature: str


@dataclass(frozen=True)
class VoucherRow:
    """A stored voucher; whether it has been used is for the chain to say."""

    id: int
    public_id: str
    program: int
    kind: VoucherKind
    recipient: str
    args: Mapping[str, Any]
    signer: str
    signature: str
    created_at: datetime


def add(tx: Connection, new: NewVoucher, now: datetime) -> VoucherRow:
    """Store one. A public id that is taken already violates its constraint."""
    return VoucherRow(*tx.execute(insert(vouchers).values(_fresh(new, now)).returning(*vouchers.c)).one())


def add_many(tx: Connection, new: list[NewVoucher], now: datetime) -> None:
    """Store all of them."""
    if new:
        tx.execute(insert(vouchers), [_fresh(voucher, now) for voucher in new])


def get(tx: Connection, public_id: str) -> VoucherRow:
    """Raises Unknown."""
    row = tx.execute(select(vouchers).where(vouchers.c.public_id == public_id)).one_or_none()
    if row is None:
        raise Unknown(f"there is no voucher {public_id!r}")
    return VoucherRow(*row)


def of_program(tx: Connection, program: int, recipient: str | None = None) -> list[VoucherRow]:
    """The program's vouchers, those for one wallet if given, oldest first."""
    query = select(vouchers).where(vouchers.c.program == program).order_by(vouchers.c.id)
    if recipient is not None:
        query = query.where(vouchers.c.recipient == recipient)
    return [VoucherRow(*row) for row in tx.execute(query)]


def page(
    tx: Connection,
    program: int,
    *,
    kind: VoucherKind | None = None,
    recipient: str | None = None,
    before: int | None = None,
    limit: int,
) -> list[VoucherRow]:
    """The newest vouchers of a program, of one kind and for one wallet if given, or the newest of those that are older
    than the row `before`."""
    kinds = list(VoucherKind) if kind is None else [kind]
    if recipient is not None:
        # SQLite would go by the kind, and so by everybody's: it must not see that this is the kind.
        of_kind = vouchers.c.kind.concat(literal_column("''")).in_(kinds)
        ways = [[vouchers.c.recipient == recipient, of_kind]]
    else:
        # Of each kind by itself they come in order from the index.
        ways = [[vouchers.c.kind == each] for each in kinds]
    older = [vouchers.c.id < before] if before is not None else []
    newest = select(vouchers).where(vouchers.c.program == program, *older).order_by(vouchers.c.id.desc()).limit(limit)
    found = [[VoucherRow(*row) for row in tx.execute(newest.where(*way))] for way in ways]
    return list(islice(merge(*found, key=lambda row: -row.id), limit))


def _fresh(new: NewVoucher, now: datetime) -> dict[str, Any]:
    return {
        "public_id": new.public_id,
        "program": new.program,
        "kind": new.kind,
        "recipient": new.recipient,
        "args": new.args,
        "signer": new.signer,
        "signature": new.signature,
        "created_at": now,
    }
