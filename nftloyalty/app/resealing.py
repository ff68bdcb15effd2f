"""The keys that secrets in the database are sealed with: a new one, all sealed anew with it, the old ones dropped.

Each step can be done beside running servers and workers, and twice: a key that is still needed is never dropped.
"""

from collections.abc import Iterator
from dataclasses import dataclass

from nftloyalty.app.context import App
from nftloyalty.app.endpoints import sealed_about
from nftloyalty.errors import KeyProblem
from nftloyalty.store import webhooks
from nftloyalty.store.engine import begin, read
from nftloyalty.store.webhooks import SealedSecret
from nftloyalty.vault.sealing import key_id_of

# Secrets that are sealed anew in one transaction.
_AT_ONCE = 200


@dataclass(frozen=True)
class SealKey:
    """A key and how many secrets are sealed with it. `here` = it is in the key file; the `newest` there seals."""

    id: str
    secrets: int
    here: bool
    newest: bool


@dataclass(frozen=True)
class Resealed:
    """How many secrets are sealed with the newest key that were not before, and the endpoints of those that could not
    be opened."""

    count: int
    unread: tuple[str, ...]


def keys_of(app: App) -> list[SealKey]:
    """The keys in the file, oldest first, then those that secrets are sealed with and that are missing there."""
    used: dict[str, int] = {}
    for secret in _secrets(app):
        key = key_id_of(secret.sealed)
        used[key] = used.get(key, 0) + 1
    here = app.seal.key_ids() if app.seal.exists or used else []
    missing = sorted(used.keys() - set(here))
    return [
        SealKey(key, used.get(key, 0), here=key in here, newest=bool(here) and key == here[-1])
        for key in (*here, *missing)
    ]


def add_key(app: App) -> str:
    """Seal with a new key from now on; returns its id. Raises KeyProblem where there is none yet."""
    if not app.seal.exists:
        raise KeyProblem(
            f"there is no key file {app.seal.file} to add to",
            mend="it is made with the first webhook endpoint; if there is one already, put the file's backup there",
        )
    return app.seal.add_key()


def reseal(app: App) -> Resealed:
    """Seal every secret with the newest key. Killed on the way, it can be run again."""
    count, last = 0, 0
    unread: dict[str, None] = {}
    newest = app.seal.key_ids()[-1]
    while True:
        with begin(app.engine) as tx:
            found = webhooks.sealed_after(tx, last, _AT_ONCE)
            for secret in found:
                if key_id_of(secret.sealed) == newest:
                    continue
                about = sealed_about(secret.program, secret.endpoint)
                try:
                    plain = app.seal.unseal(secret.sealed, about)
                except KeyProblem:
                    unread[secret.endpoint] = None
                    continue
                count += webhooks.seal_anew(tx, secret, app.seal.seal(plain, about))
        if len(found) < _AT_ONCE:
            return Resealed(count, tuple(unread))
        last = found[-1].row


def unused_keys(app: App) -> list[str]:
    """The keys in the file with which nothing is sealed, but for the newest."""
    return [key.id for key in keys_of(app) if key.here and not key.newest and not key.secrets]


def drop_keys(app: App) -> list[str]:
    """Forget the keys that are unused at this moment; returns their ids."""
    unused = unused_keys(app)
    if unused:
        app.seal.drop_keys(unused)
    return unused


def _secrets(app: App) -> Iterator[SealedSecret]:
    last = 0
    while True:
        with read(app.engine) as tx:
            found = webhooks.sealed_after(tx, last, _AT_ONCE)
        yield from found
        if len(found) < _AT_ONCE:
            return
        last = found[-1].row
