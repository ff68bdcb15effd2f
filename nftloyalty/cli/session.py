"""What every command shares: where the program, the node and the keys are, and how results are shown."""

import getpass
import json
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import typer
from rich.cells import cell_len
from rich.console import Console

from nftloyalty.app.context import App, build_app, password_from
from nftloyalty.config import Settings, from_environment
from nftloyalty.domain.program import Program
from nftloyalty.domain.program_file import read_program
from nftloyalty.errors import BadInput, KeyProblem, Problem

# Results go to stdout and can be piped; progress, questions and errors go to stderr. Nothing is markup: the names of
# programs and files may hold brackets.
out = Console(highlight=False, soft_wrap=True, markup=False)
err = Console(stderr=True, highlight=False, soft_wrap=True, markup=False)


@dataclass(frozen=True)
class Session:
    """The options given before the command."""

    program_path: Path
    settings: Settings


def start(program: Path, rpc: str | None, home: Path | None, password_file: Path | None) -> Session:
    """Read the environment, with options given on the command line in front."""
    environment: dict[str, str] = dict(os.environ)
    if rpc is not None:
        environment["NFTLOYALTY_RPC_URL"] = rpc
    if home is not None:
        environment["NFTLOYALTY_HOME"] = str(home)
    if password_file is not None:
        environment["NFTLOYALTY_KEY_PASSWORD_FILE"] = str(password_file)
        environment.pop("NFTLOYALTY_KEY_PASSWORD", None)
    return Session(program_path=program, settings=from_environment(environment))


def session_of(ctx: typer.Context) -> Session:
    found = ctx.find_object(Session)
    if found is None:
        raise RuntimeError("the command line was entered without its options")
    return found


def load_program(path: Path) -> Program:
    """Read and check program.toml. Raises BadInput naming every problem."""
    return read_program(read_text(path, "run `nftloyalty init` to write one, or name yours with --program"), str(path))


def read_text(path: Path, mend: str = "") -> str:
    """A UTF-8 file. Raises BadInput if it is missing or not text."""
    try:
        return path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise BadInput(str(path), [Problem(str(path), "there is no such file", mend)]) from None
    except (OSError, UnicodeDecodeError) as failure:
        raise BadInput(str(path), [Problem(str(path), f"can't be read as text: {failure}")]) from None


@contextmanager
def running(ctx: typer.Context) -> Iterator[tuple[App, Program]]:
    """The app and the program for one command."""
    session = session_of(ctx)
    program = load_program(session.program_path)
    with running_app(ctx) as app:
        yield app, program


@contextmanager
def running_app(ctx: typer.Context) -> Iterator[App]:
    """The app alone, for commands that need no program."""
    settings = session_of(ctx).settings
    app = build_app(settings, password=asking(settings))
    try:
        yield app
    finally:
        app.close()


def asking(settings: Settings) -> Callable[[str], str]:
    """Passwords from the settings, else from the person at the terminal; each key is asked for once."""
    from_settings = password_from(settings)
    if settings.password is not None or settings.password_file is not None:
        return from_settings
    known: dict[str, str] = {}

    def ask(name: str) -> str:
        if name not in known:
            known[name] = prompt_password(f"Password of the key {name}: ")
        return known[name]

    return ask


def prompt_password(question: str) -> str:
    if not sys.stdin.isatty():
        raise KeyProblem(
            "a key's password is needed and there is no terminal to ask at",
            mend="set NFTLOYALTY_KEY_PASSWORD_FILE or give --password-file",
        )
    try:
        return getpass.getpass(question, stream=sys.stderr)
    except EOFError:
        err.print()
        raise KeyProblem("no answer was given", mend="run it again and type the answer") from None


def choose_password(settings: Settings, name: str) -> str:
    """The password for a new key: from the settings, else asked for twice."""
    if settings.password is not None or settings.password_file is not None:
        return password_from(settings)(name)
    first = prompt_password(f"Password for the new key {name}: ")
    if prompt_password("The same again: ") != first:
        raise KeyProblem("the two passwords differ", mend="try again")
    return first


def print_json(value: Mapping[str, object] | list[object]) -> None:
    """Machine-readable output: one JSON document on stdout."""
    sys.stdout.write(json.dumps(value, indent=2, sort_keys=True, ensure_ascii=False) + "\n")


def print_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Columns under their names, two spaces apart. Nothing is ever cut or wrapped: an address must stay whole, on a
    narrow terminal and in a pipe alike."""
    lines = [list(header), *(list(row) for row in rows)]
    widths = [max(cell_len(line[column]) for line in lines) for column in range(len(header))]
    for line in lines:
        cells = (cell + " " * (width - cell_len(cell)) for cell, width in zip(line, widths, strict=True))
        out.print("  ".join(cells).rstrip(), markup=False)


def write_text(path: Path, text: str) -> None:
    """Write a file, in the place of one that is there. Raises BadInput if that can't be done."""
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as failure:
        raise cant_write(path, failure) from None


def cant_write(path: Path, failure: OSError) -> BadInput:
    return BadInput(str(path), [Problem(str(path), f"can't be written: {failure.strerror}")])


@contextmanager
def until_stopped() -> Iterator[None]:
    """For servers: Ctrl-C and SIGTERM (what service managers send) both end the block in good order, and both are the
    way to end it, not a failure."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    except KeyboardInterrupt:
        err.print("Stopped.")
    finally:
        signal.signal(signal.SIGTERM, before)
