"""What was answered to requests with an Idempotency-Key, so that the same request again changes nothing.

Where one transaction does all there is to do, `find` and `add` belong into it: nobody ever sees a request half done. A
request that calls out in between is held (`hold`, `finish`, `abandon`), and only for a while, for its process may die
over it: then the next one with its key takes it over.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import (
    ColumnElement,
    Connection,
    and_,
    bindparam,
    delete,
    literal_column,
    select,
    tuple_,
    update,
)

from nftloyalty.domain.answer import KEPT_DAYS, AnswerKey, Said
from nftloyalty.errors import InFlight, KeyReused
from nftloyalty.store.tables import answers
from nftloyalty.store.writing import MANY, insert_many, insert_new, one_of

_COLUMNS = (
    answers.c.request_key,
    answers.c.fingerprint,
    answers.c.status,
    answers.c.body,
    answers.c.held_until,
)
# Made once: making a statement takes longer than what it asks.
_OF_KEYS = select(*_COLUMNS).where(
    answers.c.program == bindparam("of_program"),
    answers.c.route == bindparam("of_route"),
    one_of(answers.c.request_key, "keys"),
)


@dataclass(frozen=True, slots=True)
class AnswerRow:
    """`said` None = it is still being worked at, by somebody who has it for himself until `held_until`."""

    key: str
    fingerprint: bytes
    said: Said | None
    held_until: datetime | None


@dataclass(frozen=True, slots=True)
class Hold:
    """That a request is ours to work at until then. Nobody else's of the same key has the same end."""

    program: int
    key: AnswerKey
    until: datetime


def find(tx: Connection, program: int, route: str, keys: Collection[str]) -> dict[str, AnswerRow]:
    """The rows of these keys; those that nobody used are left out."""
    asked = {"of_program": program, "of_route": route, "keys": list(keys)}
    return {row[0]: _row(*row) for row in tx.execute(_OF_KEYS, asked)}


def stored(row: AnswerRow, key: AnswerKey) -> Said:
    """What this request was answered before. Raises KeyReused if that was another request, InFlight if it has no answer
    yet."""
    if row.fingerprint != key.fingerprint:
        raise KeyReused(key.key)
    if row.said is None:
        raise InFlight(key.key)
    return row.said


def add(tx: Connection, program: int, said: Sequence[tuple[AnswerKey, Said]], now: datetime) -> None:
    """Store answers to requests that this transaction has carried out. A key that was used violates its constraint."""
    if said:
        rows = [
            {
                "program": program,
                "route": key.route,
                "request_key": key.key,
                "fingerprint": key.fingerprint,
                "status": answer.status,
                "body": answer.body,
                "created_at": now,
                "held_until": None,
                "kept": key.kept,
            }
            for key, answer in said
        ]
        insert_many(tx, answers, rows)


def hold(tx: Connection, program: int, key: AnswerKey, now: datetime, seconds: float) -> Hold | Said:
    """Begin to work at a request, or what it was answered before.

    Raises KeyReused, and InFlight while another one has it for himself.
    """
    until = now + timedelta(seconds=seconds)
    made = tx.execute(
        insert_new(tx, answers, answers.c.program, answers.c.route, answers.c.request_key)
        .values(
            program=program,
            route=key.route,
            request_key=key.key,
            fingerprint=key.fingerprint,
            created_at=now,
            held_until=until,
            kept=key.kept,
        )
        .returning(answers.c.request_key)
    ).first()
    if made is not None:
        return Hold(program, key, until)
    row = _get(tx, program, key)
    if row is None:
        # Abandoned between the two statements.
        raise InFlight(key.key)
    if row.held_until is None or row.held_until > now or row.fingerprint != key.fingerprint:
        return stored(row, key)
    # Whoever had it has not come back. If it was taken over meanwhile, its end is another one.
    taken = update(answers).where(_this(program, key), answers.c.held_until == row.held_until)
    if tx.execute(taken.values(held_until=until)).rowcount != 1:
        raise InFlight(key.key)
    return Hold(program, key, until)


def finish(tx: Connection, held: Hold, said: Said, now: datetime) -> Said:
    """Store the answer to a request that was held; returns the one that counts, which is another's if that one took it
    over and was faster. Raises InFlight if that one is still at it."""
    values = {"status": said.status, "body": said.body, "held_until": None}
    if tx.execute(update(answers).where(_mine(held)).values(**values)).rowcount == 1:
        return said
    row = _get(tx, held.program, held.key)
    if row is None:
        add(tx, held.program, [(held.key, said)], now)
        return said
    return stored(row, held.key)


def abandon(tx: Connection, held: Hold) -> None:
    """Nothing came of it, and nothing is kept: the same request can be made again at once."""
    tx.execute(delete(answers).where(_mine(held)))


def forget_old(tx: Connection, now: datetime, limit: int = MANY) -> int:
    """Delete up to `limit` answers that need not be kept any longer, oldest first; returns how many."""
    named = (answers.c.program, answers.c.route, answers.c.request_key)
    old = (
        select(*named)
        # Written out: SQLite takes an index of these alone only where it can read that they are meant.
        .where(literal_column("NOT kept"), answers.c.created_at < now - timedelta(days=KEPT_DAYS))
        .order_by(answers.c.created_at)
        .limit(limit)
    )
    return tx.execute(delete(answers).where(tuple_(*named).in_(old))).rowcount


def _get(tx: Connection, program: int, key: AnswerKey) -> AnswerRow | None:
    found: Mapping[str, AnswerRow] = find(tx, program, key.route, [key.key])
    return found.get(key.key)


def _this(program: int, key: AnswerKey) -> ColumnElement[bool]:
    return and_(answers.c.program == program, answers.c.route == key.route, answers.c.request_key == key.key)


def _mine(held: Hold) -> ColumnElement[bool]:
    return and_(_this(held.program, held.key), answers.c.held_until == held.until)


def _row(key: str, fingerprint: bytes, status: int | None, body: str | None, held_until: datetime | None) -> AnswerRow:
    said = None if status is None else Said(status, body or "")
    return AnswerRow(key, bytes(fingerprint), said, held_until)
