"""Endpoints, where events are sent to, and the secrets their messages are signed with.

An endpoint is never removed, for its log. Whoever changes an endpoint's state or its deliveries' holds its row first,
so that what is read of them does not change underneath.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Select, delete, insert, literal, or_, select, update

from nftloyalty.errors import Unknown
from nftloyalty.store.tables import EndpointState, endpoint_secrets, endpoints


@dataclass(frozen=True)
class EndpointRow:
    """`types` are the types of events it gets, none = all. While it fails (`failing_since`), it is tried at `next_at`
    by one delivery at a time; `failures` counts those tries. `waiting` deliveries there are now, `delivered` ones and
    `failed_tries` there were since it was made."""

    id: int
    public_id: str
    program: int
    url: str
    types: Sequence[str]
    description: str
    state: EndpointState
    why: str | None
    created_at: datetime
    failing_since: datetime | None
    failures: int
    next_at: datetime | None
    waiting: int
    delivered: int
    failed_tries: int

    def __repr__(self) -> str:
        # A URL may hold a key.
        return f"EndpointRow({self.public_id}, {self.state})"


@dataclass(frozen=True)
class SealedSecret:
    """One secret of an endpoint, as it lies here."""

    row: int
    program: int
    endpoint: str
    sealed: bytes


def add(
    tx: Connection, public_id: str, program: int, *, url: str, types: Sequence[str], description: str, now: datetime
) -> EndpointRow:
    """A new endpoint, which gets what happens from now on. It needs a secret, too."""
    row = tx.execute(
        insert(endpoints)
        .values(
            public_id=public_id,
            program=program,
            url=url,
            types=list(types),
            description=description,
            state=EndpointState.ACTIVE,
            created_at=now,
        )
        .returning(*endpoints.c)
    ).one()
    return EndpointRow(*row)


def get(tx: Connection, program: int, public_id: str) -> EndpointRow:
    """One of this program's, a deleted one too. Raises Unknown."""
    return _one(tx, program, public_id, select(endpoints))


def hold(tx: Connection, program: int, public_id: str) -> EndpointRow:
    """As `get`, and nobody else changes it or its deliveries until this transaction ends."""
    return _one(tx, program, public_id, select(endpoints).with_for_update(key_share=True))


def hold_all(tx: Connection, ids: Collection[int]) -> dict[int, EndpointRow]:
    """As `hold`, by row numbers; two that hold several don't wait for each other in a circle."""
    query = select(endpoints).where(endpoints.c.id.in_(ids)).order_by(endpoints.c.id)
    return {row.id: EndpointRow(*row) for row in tx.execute(query.with_for_update(key_share=True))}


def hold_active(tx: Connection, programs: Collection[int]) -> list[EndpointRow]:
    """As `hold`, those of these programs that get events."""
    query = select(endpoints).where(endpoints.c.program.in_(programs), endpoints.c.state == EndpointState.ACTIVE)
    return [EndpointRow(*row) for row in tx.execute(query.order_by(endpoints.c.id).with_for_update(key_share=True))]


def hold_ready(tx: Connection, program: int, now: datetime) -> list[EndpointRow]:
    """As `hold_active`, those that may be tried now; those that somebody else holds at this moment are passed over."""
    query = (
        select(endpoints)
        .where(endpoints.c.program == program, endpoints.c.state == EndpointState.ACTIVE)
        .where(or_(endpoints.c.next_at.is_(None), endpoints.c.next_at <= now))
        .order_by(endpoints.c.id)
        .with_for_update(key_share=True, skip_locked=True)
    )
    return [EndpointRow(*row) for row in tx.execute(query)]


def list_all(tx: Connection, program: int) -> list[EndpointRow]:
    """The program's endpoints, oldest first, without the deleted ones."""
    query = (
        select(endpoints)
        .where(endpoints.c.program == program, endpoints.c.state != EndpointState.DELETED)
        .order_by(endpoints.c.id)
    )
    return [EndpointRow(*row) for row in tx.execute(query)]


def change(tx: Connection, endpoint: int, values: Mapping[str, Any]) -> EndpointRow:
    """Write these columns of an endpoint that is held."""
    query = update(endpoints).where(endpoints.c.id == endpoint).values(dict(values)).returning(*endpoints.c)
    return EndpointRow(*tx.execute(query).one())


def count(tx: Connection, endpoint: int, *, waiting: int = 0, delivered: int = 0, failed_tries: int = 0) -> None:
    """Add to what is counted of an endpoint that is held; `waiting` may be less than nothing."""
    more = {"waiting": waiting, "delivered": delivered, "failed_tries": failed_tries}
    added = {name: endpoints.c[name] + number for name, number in more.items() if number}
    if added:
        tx.execute(update(endpoints).where(endpoints.c.id == endpoint).values(added))


def enable(tx: Connection, endpoint: int) -> EndpointRow:
    """It gets what happens from now on, as if it had never failed."""
    values = {"why": None, "failing_since": None, "failures": 0, "next_at": None}
    return change(tx, endpoint, {"state": EndpointState.ACTIVE, **values})


def _one(tx: Connection, program: int, public_id: str, query: Select[*tuple[Any, ...]]) -> EndpointRow:
    row = tx.execute(query.where(endpoints.c.public_id == public_id, endpoints.c.program == program)).one_or_none()
    if row is None:
        raise Unknown(f"there is no webhook endpoint {public_id!r}")
    return EndpointRow(*row)


# -------------------------------------------------------------------------------------------------------------- secrets


def add_secret(tx: Connection, endpoint: int, sealed: bytes, now: datetime, former_until: datetime) -> None:
    """Sign with this one too from now on, and with the former ones until then at most."""
    mine = endpoint_secrets.c.endpoint == endpoint
    ends = or_(endpoint_secrets.c.expires_at.is_(None), endpoint_secrets.c.expires_at > former_until)
    tx.execute(update(endpoint_secrets).where(mine, ends).values(expires_at=former_until))
    tx.execute(delete(endpoint_secrets).where(mine, endpoint_secrets.c.expires_at <= now))
    tx.execute(insert(endpoint_secrets).values(endpoint=endpoint, sealed=sealed, created_at=now, expires_at=None))


def sealed_secrets(tx: Connection, ids: Collection[int], now: datetime) -> dict[int, list[bytes]]:
    """What these endpoints' messages are signed with now, the newest secret first."""
    query = (
        select(endpoint_secrets.c.endpoint, endpoint_secrets.c.sealed)
        .where(endpoint_secrets.c.endpoint.in_(ids))
        .where(or_(endpoint_secrets.c.expires_at.is_(None), endpoint_secrets.c.expires_at > now))
        .order_by(endpoint_secrets.c.id.desc())
    )
    found: dict[int, list[bytes]] = {}
    for endpoint, sealed in tx.execute(query):
        found.setdefault(endpoint, []).append(sealed)
    return found


def former_until(tx: Connection, endpoint: int, now: datetime) -> datetime | None:
    """Until when a former secret is signed with as well; None = there is only the newest."""
    query = select(endpoint_secrets.c.expires_at).where(
        endpoint_secrets.c.endpoint == endpoint, endpoint_secrets.c.expires_at > now
    )
    return max(tx.execute(query).scalars(), default=None)


def sealed_after(tx: Connection, row: int, limit: int) -> list[SealedSecret]:
    """The secrets of all programs, page by page: those behind this row, 0 = from the beginning."""
    query = (
        select(endpoint_secrets.c.id, endpoints.c.program, endpoints.c.public_id, endpoint_secrets.c.sealed)
        .join(endpoints, endpoint_secrets.c.endpoint == endpoints.c.id)
        .where(endpoint_secrets.c.id > row)
        .order_by(endpoint_secrets.c.id)
        .limit(limit)
    )
    return [SealedSecret(*each) for each in tx.execute(query)]


def seal_anew(tx: Connection, secret: SealedSecret, sealed: bytes) -> bool:
    """Keep this instead; False if it has changed or is gone since it was read."""
    same = (endpoint_secrets.c.id == secret.row, endpoint_secrets.c.sealed == secret.sealed)
    return tx.execute(update(endpoint_secrets).where(*same).values(sealed=sealed)).rowcount == 1


def any_secret(tx: Connection) -> bool:
    """Whether anything here is sealed."""
    return tx.execute(select(literal(1)).select_from(endpoint_secrets).limit(1)).first() is not None


def forget_secrets(tx: Connection, endpoint: int) -> None:
    """Nothing is signed for it any more."""
    tx.execute(delete(endpoint_secrets).where(endpoint_secrets.c.endpoint == endpoint))
