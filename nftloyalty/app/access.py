"""API keys: made, rotated and revoked by operators, and looked at by the doorkeeper of a server."""

import hashlib
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property
from types import MappingProxyType
from typing import Any

from sqlalchemy.exc import IntegrityError

from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened
from nftloyalty.domain import access
from nftloyalty.domain.access import (
    HERE,
    Caller,
    CantRotate,
    GivenKey,
    KeyEnded,
    KeyKind,
    KeyMissing,
    KeyUnknown,
    Scope,
    WrongProgram,
    check_origin,
    is_secret_of,
    parse_key,
    parse_origin,
    written_key,
)
from nftloyalty.domain.times import iso
from nftloyalty.errors import BadInput, Problem
from nftloyalty.store import api_keys
from nftloyalty.store.api_keys import KeyRow, NewKey
from nftloyalty.store.engine import begin, read

LONGEST_NAME = 120
USUAL_OVERLAP = timedelta(days=1)
LONGEST_OVERLAP = timedelta(days=30)

FRESH = timedelta(seconds=2)
"""How old what a server knows of keys may be: a key that is revoked elsewhere is refused within that."""

AGEING = timedelta(seconds=1)
"""From when on it should be asked anew, while whoever asks is still answered."""

_NOTE_USED_EVERY = timedelta(minutes=1)
_KEPT = 1024
_SCHEME = "bearer "


@dataclass(frozen=True)
class MadeKey:
    """A new key. `text` is the key itself, which is never shown again."""

    row: KeyRow
    text: str

    def __repr__(self) -> str:
        return f"MadeKey({self.row.public_id})"


def create(
    app: App,
    opened: Opened,
    name: str,
    scopes: Sequence[str],
    *,
    publishable: bool = False,
    origins: Sequence[str] = (),
    expires_at: datetime | None = None,
) -> MadeKey:
    """Make a key of this program. Raises BadInput naming every field that is wrong; twice makes two keys."""
    kind = KeyKind.PUBLISHABLE if publishable else KeyKind.SERVER
    problems: list[Problem] = []
    name = name.strip()
    if not name or len(name) > LONGEST_NAME or not name.isprintable():
        what = "is missing" if not name else f"has more than {LONGEST_NAME} characters, or some that can't be shown"
        problems.append(Problem("name", what, "say in a few words who uses the key"))
    known: dict[Scope, None] = {}
    for place, text in enumerate(scopes):
        try:
            known[access.scope_named(text)] = None
        except ValueError as wrong:
            problems.append(Problem(f"scopes.{place}", f"{text!r} {wrong}"))
    shown: dict[str, None] = {}
    for place, text in enumerate(origins):
        try:
            shown[parse_origin(text)] = None
        except ValueError as wrong:
            problems.append(Problem(f"origins.{place}", f"{text!r} is {wrong}", "write it as https://shop.example"))
    if not problems:
        problems = [Problem(*each) for each in access.problems_of(kind, list(known), list(shown))]
    if expires_at is not None and expires_at <= app.now():
        problems.append(Problem("expires_at", "is past", "name a later time, or leave it out"))
    if problems:
        raise BadInput("the key", problems)
    return _make(app, opened, name, kind, list(known), list(shown), expires_at)


def listed(app: App, opened: Opened) -> list[KeyRow]:
    """All keys the program ever had, oldest first."""
    with read(app.engine) as tx:
        return api_keys.of_program(tx, opened.row.id)


def as_json(row: KeyRow, now: datetime) -> dict[str, Any]:
    """A key as it is shown, without anything that could be used. `state` is active, ending (it is good until
    `expires_at`), expired or revoked."""
    ended = _ended(row, now)
    if ended is not None:
        state = ended.code.removeprefix("key_")
    else:
        state = "ending" if row.expires_at is not None else "active"
    return {
        "id": row.public_id,
        "name": row.name,
        "kind": row.kind.value,
        "state": state,
        "scopes": list(row.scopes),
        "origins": list(row.origins),
        "created_at": iso(row.created_at),
        "expires_at": iso(row.expires_at),
        "revoked_at": iso(row.revoked_at),
        "last_used_at": iso(row.last_used_at),
        "replaces": row.replaces,
    }


def rotate(app: App, opened: Opened, key_id: str, overlap: timedelta = USUAL_OVERLAP) -> MadeKey:
    """A new key in the place of this one, which is good for `overlap` still. Raises Unknown, BadInput, and
    CantRotate."""
    if not timedelta(0) <= overlap <= LONGEST_OVERLAP:
        most = f"{LONGEST_OVERLAP.days} days"
        raise BadInput("the key", [Problem("overlap", f"is not between nothing and {most}", f"choose up to {most}")])
    now = app.now()
    with read(app.engine) as tx:
        keys = api_keys.of_program(tx, opened.row.id)
        old = api_keys.get(tx, opened.row.id, key_id)
    if _ended(old, now) is not None:
        raise CantRotate(f"the API key {key_id} has ended; there is nothing to rotate", mend="make a new key")
    successor = next((each for each in keys if each.replaces == key_id), None)
    if successor is not None:
        raise CantRotate(
            f"the API key {key_id} was rotated already: {successor.public_id} takes its place",
            mend=f"if its text was lost, rotate {successor.public_id} and revoke it",
        )
    scopes = [Scope(each) for each in old.scopes]
    try:
        return _make(app, opened, old.name, old.kind, scopes, old.origins, None, replaces=old, old_ends=now + overlap)
    except IntegrityError:
        # A key has one successor: somebody else has made it since.
        raise CantRotate(f"the API key {key_id} is being rotated by somebody else", mend="list the keys") from None


def revoke(app: App, opened: Opened, key_id: str) -> KeyRow:
    """End a key at once; twice is harmless. Raises Unknown."""
    with begin(app.engine) as tx:
        row = api_keys.get(tx, opened.row.id, key_id)
        api_keys.revoke(tx, row.id, app.now())
        return api_keys.get(tx, opened.row.id, key_id)


def _make(
    app: App,
    opened: Opened,
    name: str,
    kind: KeyKind,
    scopes: Sequence[Scope],
    origins: Sequence[str],
    expires_at: datetime | None,
    *,
    replaces: KeyRow | None = None,
    old_ends: datetime | None = None,
) -> MadeKey:
    # Two draws, for one has fewer characters than the secret.
    letters = (app.new_id("s") + app.new_id("s")).replace("s_", "")
    key_id = ("pk" if kind is KeyKind.PUBLISHABLE else "sk") + letters[: access.ID_LENGTH - 2]
    secret = letters[access.ID_LENGTH - 2 :][: access.SECRET_LENGTH]
    new = NewKey(
        public_id=key_id,
        program=opened.row.id,
        name=name,
        kind=kind,
        secret_hash=access.hash_of(secret),
        scopes=[scope.value for scope in scopes],
        origins=list(origins),
        expires_at=expires_at,
        replaces=replaces.public_id if replaces is not None else None,
    )
    with begin(app.engine) as tx:
        row = api_keys.add(tx, new, app.now())
        if replaces is not None and old_ends is not None:
            api_keys.end_by(tx, replaces.id, old_ends)
    return MadeKey(row, written_key(opened.attached.chain_id, key_id, secret))


def _ended(row: KeyRow, now: datetime) -> KeyEnded | None:
    if row.revoked_at is not None:
        return KeyEnded(row.public_id, row.revoked_at, revoked=True)
    if row.expires_at is not None and row.expires_at <= now:
        return KeyEnded(row.public_id, row.expires_at, revoked=False)
    return None


# ------------------------------------------------------------------------------------------------------------ the door


@dataclass(frozen=True)
class _Known:
    """A program's keys as the database had them at `at`, and who was let in by that: a newer one begins without them,
    so nobody outlives what he was let in by."""

    keys: Mapping[str, KeyRow]
    at: datetime
    callers: dict[bytes, tuple[int, Caller]] = field(default_factory=dict)

    @cached_property
    def ageing_at(self) -> datetime:
        return self.at + AGEING

    @cached_property
    def stale_at(self) -> datetime:
        return self.at + FRESH


class Doorkeeper:
    """Knows a program's keys, no older than FRESH, and tells who asks. Safe to ask from many threads.

    A program that never had a key is open to this machine. `always` asks for one all the same: for a server that others
    than this machine can reach.
    """

    def __init__(self, app: App, opened: Opened, *, always: bool = False) -> None:
        self._app = app
        self._opened = opened
        self._always = always
        self._known = _Known(MappingProxyType({}), datetime.min.replace(tzinfo=app.now().tzinfo))
        self._used: dict[int, datetime] = {}
        self._noted_at = app.now()
        self._lock = threading.Lock()

    @property
    def is_fresh(self) -> bool:
        """Whether what it knows is new enough to answer from without asking the database."""
        return timedelta(0) <= self._app.now() - self._known.at < FRESH

    @property
    def is_ageing(self) -> bool:
        """Whether it is time to `refresh` what it knows."""
        return not timedelta(0) <= self._app.now() - self._known.at < AGEING

    @property
    def is_open(self) -> bool:
        """Whether this machine needs no key, as far as is known now."""
        return not self._always and not self._known.keys

    def refresh(self) -> None:
        """Ask the database what keys there are, unless that was done just now. Raises DatabaseProblem."""
        with self._lock:
            now = self._app.now()
            if not self.is_ageing:
                return
            self._note_used(now)
            with read(self._app.engine) as tx:
                rows = api_keys.of_program(tx, self._opened.row.id)
            self._known = _Known(MappingProxyType({row.public_id: row for row in rows}), now)

    def forget(self) -> None:
        """Ask the database before the next answer: keys were changed here."""
        with self._lock:
            self._known = _Known(self._known.keys, datetime.min.replace(tzinfo=self._known.at.tzinfo))

    def caller(self, authorization: str, origin: str = "", *, as_known: bool = False) -> Caller:
        """Who sends these headers. Asks the database if what is known is old, unless `as_known` will do.

        Raises KeyMissing, KeyUnknown, KeyEnded, WrongProgram, WrongOrigin, and DatabaseProblem.
        """
        if not as_known:
            self.refresh()
        if self.is_open:
            return HERE
        if not authorization:
            raise KeyMissing
        if not authorization.lower().startswith(_SCHEME):
            raise KeyUnknown
        given = parse_key(authorization[len(_SCHEME) :].strip())
        known = self._known
        row = known.keys.get(given.key_id)
        if row is None:
            row = None if as_known else self._new(given)
        if row is None:
            raise KeyUnknown
        if given.mode != access.mode_of(self._opened.attached.chain_id) or not is_secret_of(
            given.secret, row.secret_hash
        ):
            raise KeyUnknown
        now = self._app.now()
        ended = _ended(row, now)
        if ended is not None:
            raise ended
        check_origin(row.public_id, row.kind, row.origins, origin)
        self._used[row.id] = now
        scopes = frozenset(Scope(each) for each in row.scopes)
        caller = Caller(row.public_id, scopes, publishable=row.kind is KeyKind.PUBLISHABLE)
        # What ends soon is looked at each time.
        lasts = row.expires_at is None or row.expires_at - now >= 2 * FRESH
        if lasts and len(known.callers) < _KEPT:
            known.callers[_digest(authorization.encode("latin-1"), origin.encode("latin-1"))] = row.id, caller
        return caller

    def at_a_glance(self, authorization: bytes, origin: bytes) -> tuple[Caller | None, bool]:
        """As `caller`, without asking the database; None = it can't be told this way. And whether it is time to
        `refresh`."""
        now, known = self._app.now(), self._known
        # Every check comes by here: a comparison takes a fifth of a subtraction.
        if now >= known.stale_at or now < known.at:
            return None, True
        ageing = now >= known.ageing_at
        if not self._always and not known.keys:
            return HERE, ageing
        found = known.callers.get(_digest(authorization, origin))
        if found is None:
            return None, ageing
        key, caller = found
        self._used[key] = now
        return caller, ageing

    def origins(self) -> frozenset[str]:
        """Those of all publishable keys: pages that may ask whether they may ask."""
        return frozenset(origin for row in self._known.keys.values() for origin in row.origins)

    def close(self) -> None:
        """Write down when keys were used last."""
        with self._lock:
            self._noted_at = datetime.min.replace(tzinfo=self._noted_at.tzinfo)
            self._note_used(self._app.now())

    def _new(self, given: GivenKey) -> KeyRow | None:
        """A key of this program that was made since the database was asked for all. Raises WrongProgram for another
        one's, but only to those who have its secret too."""
        with read(self._app.engine) as tx:
            row = api_keys.find(tx, given.key_id)
        if row is None or row.program == self._opened.row.id:
            return row
        if is_secret_of(given.secret, row.secret_hash):
            raise WrongProgram(given.key_id)
        return None

    def _note_used(self, now: datetime) -> None:
        if not self._used or now - self._noted_at < _NOTE_USED_EVERY:
            return
        used, self._used, self._noted_at = self._used, {}, now
        with begin(self._app.engine) as tx:
            # A copy: who was about to write into it still may.
            api_keys.note_used(tx, dict(used))


def _digest(authorization: bytes, origin: bytes) -> bytes:
    """By what a caller is found again: a digest, so that the time of a comparison tells nothing of a key."""
    return hashlib.sha256(b"%b\n%b" % (authorization, origin)).digest()
