"""The only wiring: everything a use case needs, built once from the settings."""

import secrets
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property

from sqlalchemy import Engine

from nftloyalty.chain.client import Node
from nftloyalty.config import Settings
from nftloyalty.connect.posting import Poster
from nftloyalty.errors import BadInput, KeyProblem, Problem
from nftloyalty.store.engine import open_engine, prepare
from nftloyalty.vault.keystore import Keystore
from nftloyalty.vault.sealing import Seal

_USUAL_HOME = ".nftloyalty"
# A character for every byte, each of the 32 for equally many.
_OF_IDS = b"0123456789abcdefghjkmnpqrstvwxyz" * 8


@dataclass(frozen=True)
class App:
    """`now` is the only clock, `new_id` the only source of public ids, `password` asks for a key's password by name."""

    settings: Settings
    engine: Engine
    node: Node
    keystore: Keystore
    now: Callable[[], datetime]
    new_id: Callable[[str], str]
    password: Callable[[str], str]

    @cached_property
    def seal(self) -> Seal:
        """What secrets in the database are encrypted with. Nothing is read or made before it is used."""
        return Seal(self.settings.seal_key_file)

    @cached_property
    def poster(self) -> Poster:
        """What webhooks are sent with."""
        return Poster(self.settings.webhook_networks)

    def close(self) -> None:
        """Close database connections and those to receivers; the app is of no use afterwards."""
        if "poster" in self.__dict__:
            self.poster.close()
        self.engine.dispose()


def system_now() -> datetime:
    return datetime.now(UTC)


def random_id(prefix: str) -> str:
    """`prefix_` and 26 characters of 130 random bits, for example `int_0ktv...`: not guessable, safe in a URL."""
    return f"{prefix}_{secrets.token_bytes(26).translate(_OF_IDS).decode()}"


def password_from(settings: Settings) -> Callable[[str], str]:
    """The key password of the settings, for runs without a person at the keyboard. A file is read once, however many
    keys are asked for: it may be a pipe."""
    lines_read: list[str] = []

    def ask(name: str) -> str:
        if settings.password is not None:
            return settings.password.reveal()
        if settings.password_file is not None:
            if lines_read:
                return lines_read[0]
            try:
                with settings.password_file.open(encoding="utf-8") as lines:
                    lines_read.append(lines.readline().rstrip("\r\n"))
                    return lines_read[0]
            except (OSError, UnicodeDecodeError) as failure:
                raise KeyProblem(
                    f"the password file {settings.password_file} can't be read: {type(failure).__name__}",
                    mend="point NFTLOYALTY_KEY_PASSWORD_FILE at a readable text file",
                ) from None
        raise KeyProblem(
            f"the key {name!r} needs its password",
            mend="run in a terminal, or set NFTLOYALTY_KEY_PASSWORD_FILE or NFTLOYALTY_KEY_PASSWORD",
        )

    return ask


def make_home(settings: Settings) -> None:
    """Make the folder of keys and embedded database, for this user only, and keep it out of git. Raises BadInput where
    it can't be made."""
    home = settings.home
    try:
        # A folder that was there under another name may hold more than ours, and git is to see that.
        ours = home.name == _USUAL_HOME or not home.exists()
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as failure:
        raise BadInput(
            "NFTLOYALTY_HOME",
            [Problem(str(home), f"can't be made: {failure.strerror}", "name another folder with --home")],
        ) from None
    if ours:
        # Never over a file that is there; two processes write the same. Without it everything works.
        with suppress(OSError), (home / ".gitignore").open("x", encoding="utf-8") as ignored:
            ignored.write("*\n")


def build_app(
    settings: Settings,
    *,
    now: Callable[[], datetime] = system_now,
    new_id: Callable[[str], str] = random_id,
    password: Callable[[str], str] | None = None,
) -> App:
    """Open the database (a new or embedded one is brought to the current schema) and point at node and keys.

    Nothing is asked of the node here. Raises DatabaseProblem if the database can't be used, and ProgramProblem if its
    schema is not this version's.
    """
    make_home(settings)
    engine = open_engine(settings.database_url)
    prepare(engine)
    return App(
        settings=settings,
        engine=engine,
        node=Node(settings.rpc_url, timeout=settings.rpc_timeout_seconds),
        keystore=Keystore(settings.keys_folder),
        now=now,
        new_id=new_id,
        password=password or password_from(settings),
    )
