"""API keys. Of a secret only the hash is here; a key that ended keeps its row, so that its end can be told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from nftloyalty.domain.access import KeyKind
from nftloyalty.errors import Unknown
from nftloyalty.store.tables import api_keys


@dataclass(frozen=True)
class NewKey:
    """`scopes` and `origins` as texts, in the order in which they are shown. `replaces` is another key's public id."""

    public_id: str
    program: int
    name: str
    kind: KeyKind
    secret_hash: bytes
    scopes: Sequence[str]
    origins: Sequence[str]
    expires_at: datetime | None
    replaces: str | None = None


@dataclass(frozen=True)
class KeyRow:
    """`expires_at` and `revoked_at` are the first moments at which it is good for nothing."""

    id: int
    public_id: str
    program: int
    name: str
    kind: KeyKind
    secret_hash: bytes
    scopes: Sequence[str]
    origins: Sequence[str]
    created_at: datetime
    expires_at: datetime | None
    revoked_at: datetime | None
    last_used_at: datetime | None
    replaces: str | None

    def __repr__(self) -> str:
        return f"KeyRow({self.public_id})"


def add(tx: Connection, new: NewKey, now: datetime) -> KeyRow:
    """Store one. A public id that is taken already violates its constraint."""
    values = {
        "public_id": new.public_id,
        "program": new.program,
        "name": new.name,
        "kind": new.kind,
        "secret_hash": new.secret_hash,
        "scopes": list(new.scopes),
        "origins": list(new.origins),
        "created_at": now,
        "expires_at": new.expires_at,
        "replaces": new.replaces,
    }
    return KeyRow(*tx.execute(insert(api_keys).values(values).returning(*api_keys.c)).one())


def of_program(tx: Connection, program: int) -> list[KeyRow]:
    """All the keys a program ever had, oldest first."""
    rows = tx.execute(select(api_keys).where(api_keys.c.program == program).order_by(api_keys.c.id))
    return [KeyRow(*row) for row in rows]


def get(tx: Connection, program: int, public_id: str) -> KeyRow:
    """Raises Unknown, also for a key of another program."""
    row = tx.execute(
        select(api_keys).where(api_keys.c.program == program, api_keys.c.public_id == public_id)
    ).one_or_none()
    if row is None:
        raise Unknown(f"there is no API key {public_id!r}", mend="`nftloyalty api-keys list` shows the ids")
    return KeyRow(*row)


def find(tx: Connection, public_id: str) -> KeyRow | None:
    """Whatever program it belongs to."""
    row = tx.execute(select(api_keys).where(api_keys.c.public_id == public_id)).one_or_none()
    return None if row is None else KeyRow(*row)


def end_by(tx: Connection, key: int, moment: datetime) -> None:
    """Let it expire at this moment, if it does not sooner."""
    tx.execute(
        update(api_keys)
        .where(api_keys.c.id == key, or_(api_keys.c.expires_at.is_(None), api_keys.c.expires_at > moment))
        .values(expires_at=moment)
    )


def revoke(tx: Connection, key: int, now: datetime) -> None:
    """End it at once. Twice keeps the first time."""
    tx.execute(update(api_keys).where(api_keys.c.id == key, api_keys.c.revoked_at.is_(None)).values(revoked_at=now))


def note_used(tx: Connection, used: Mapping[int, datetime]) -> None:
    """When keys, by their rows, were used last. An earlier time than the one that is there changes nothing."""
    if not used:
        return
    query = (
        update(api_keys)
        .where(
            api_keys.c.id == bindparam("key"),
            or_(api_keys.c.last_used_at.is_(None), api_keys.c.last_used_at < bindparam("at")),
        )
        .values(last_used_at=bindparam("at"))
    )
    values: list[dict[str, Any]] = [{"key": key, "at": at} for key, at in sorted(used.items())]
    tx.execute(query, values)
