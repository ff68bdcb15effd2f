"""What every command shares: where the program, the node and the keys are, and how results are shown."""

import getpass
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import typer
from rich.cells import cell_len
from rich.console import Console

from nftloyalty import logs
from nftloyalty.app.context import App, build_app, password_from
from nftloyalty.app.keyring import LEAST_PASSWORD_LENGTH, check_password, key_name
from nftloyalty.app.privacy import loose_files
from nftloyalty.config import Settings, from_environment
from nftloyalty.domain.program import Program
from nftloyalty.domain.program_file import read_program
from nftloyalty.domain.roster_file import MOST_BYTES, lines_of
from nftloyalty.errors import BadInput, KeyProblem, LoyaltyError, OutOfFunds, Problem


class _Output(Console):
    """A console that tells of a closed pipe (`nftloyalty export | head`) instead of ending the process by itself."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


# Results go to stdout and can be piped; progress, questions and errors go to stderr. Nothing is markup: the names of
# programs and files may hold brackets.
out = _Output(highlight=False, soft_wrap=True, markup=False)
log = logging.getLogger(__name__)

err = _Output(stderr=True, highlight=False, soft_wrap=True, markup=False)


MOST_TEXT_BYTES = 1024 * 1024


@dataclass(frozen=True)
class Session:
    """The options given before the command."""

    program_path: Path
    settings: Settings


def start(program: Path, rpc: str | None, home: Path | None, password_file: Path | None) -> Session:
    """Read the environment, with options given on the command line in front.

    Raises BadInput naming what was given: the option where there was one, else the variable.
    """
    environment: dict[str, str] = dict(os.environ)
    options: dict[str, str] = {}
    for setting, option, given in (
        ("NFTLOYALTY_RPC_URL", "--rpc", rpc),
        ("NFTLOYALTY_HOME", "--home", home),
        ("NFTLOYALTY_KEY_PASSWORD_FILE", "--password-file", password_file),
    ):
        if given is not None:
            environment[setting] = str(given)
            options[setting] = option
    if password_file is not None:
        environment.pop("NFTLOYALTY_KEY_PASSWORD", None)
    try:
        settings = from_environment(environment)
    except BadInput as wrong:
        places = [replace(each, place=options.get(each.place, each.place)) for each in wrong.problems]
        raise BadInput("the settings", places) from None
    if password_file is not None:
        _check_readable(password_file)
    return Session(program_path=program, settings=settings)


def _check_readable(password_file: Path) -> None:
    """Raises BadInput. Nothing is read: it may be a pipe, which can be read only once."""
    if password_file.is_dir():
        what = "is a folder"
    elif not password_file.exists():
        what = "there is no such file"
    elif not os.access(password_file, os.R_OK):
        what = "can't be read by this user"
    else:
        return
    problem = Problem("--password-file", f"{password_file}: {what}", "name a file whose first line is the password")
    raise BadInput("the settings", [problem])


def session_of(ctx: typer.Context) -> Session:
    found = ctx.find_object(Session)
    if found is None:
        raise RuntimeError("the command line was entered without its options")
    return found


def load_program(path: Path) -> Program:
    """Read and check program.toml. Raises BadInput naming every problem."""
    return read_program(read_text(path, "run `nftloyalty init` to write one, or name yours with --program"), str(path))


def read_text(path: Path, mend: str = "") -> str:
    """A UTF-8 file of at most a megabyte. Raises BadInput if it is missing, longer, or not text."""
    content = _content(path, MOST_TEXT_BYTES, mend)
    try:
        return content.decode("utf-8")
    except UnicodeDecodeError as failure:
        # Up to the first bad byte it is text, and its lines are those of an editor.
        line = len(content[: failure.start].decode("utf-8").replace("\r\n", "\n").replace("\r", "\n").split("\n"))
        raise BadInput(str(path), [Problem(f"line {line}", "is not UTF-8", "save the file as UTF-8 text")]) from None


def read_lines(path: Path) -> Iterator[str]:
    """The lines of a list of members. Raises BadInput if it is missing or larger than any list.

    What stands in the lines, also what is no text, is for `domain.roster_file` to judge.
    """
    return lines_of(_content(path, MOST_BYTES, "name a CSV file; its first line names the columns"))


def _content(path: Path, most: int, mend: str = "") -> bytes:
    """What a file holds. No more than `most` bytes are ever read: devices and pipes tell no size."""
    try:
        with path.open("rb") as file:
            content = file.read(most + 1)
    except FileNotFoundError:
        raise _unreadable(path, "there is no such file", mend) from None
    except IsADirectoryError:
        raise _unreadable(path, "is a folder", "name a file in it") from None
    except OSError as failure:
        raise _unreadable(path, f"can't be read: {failure.strerror}") from None
    except ValueError:  # of a path that no system takes
        raise _unreadable(path, "is not the name of a file") from None
    if len(content) > most:
        raise _unreadable(path, f"is larger than {most // 1024**2} MB", "split it, or check that it is the right file")
    return content


def _unreadable(path: Path, what: str, mend: str = "") -> BadInput:
    return BadInput(str(path), [Problem(str(path), what, mend)])


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
    for path in loose_files(app):
        err.print(f"Warning: others on this machine can read {path}; shut them out: chmod go-rwx {path}")
    try:
        yield app
    except OutOfFunds as poor:
        if hint := funding_hint(app, poor):
            poor.add_note(hint)
        raise
    finally:
        app.close()


def funding_hint(app: App, poor: OutOfFunds) -> str:
    """The quick way to coins on a development chain; empty on any other."""
    with suppress(LoyaltyError):
        if app.node.accounts():
            return f"On this development chain: nftloyalty keys fund {key_name(app, poor.address) or poor.address}"
    return ""


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
    """The password for a new key: from the settings, else asked for twice. Raises KeyProblem as soon as it can't be."""
    if settings.password is not None or settings.password_file is not None:
        return password_from(settings)(name)
    first = prompt_password(f"Password for the new key {name} (at least {LEAST_PASSWORD_LENGTH} characters): ")
    check_password(first)
    if prompt_password("The same again: ") != first:
        raise KeyProblem("the two passwords differ", mend="try again")
    return first


def confirm(question: str, *, yes: bool) -> None:
    """Go on only if the person at the terminal says so, or has said so with --yes. Ends the command with status 1
    otherwise, and raises BadInput where nobody can be asked."""
    if yes:
        return
    if not sys.stdin.isatty():
        what = "is needed where there is no terminal to ask at"
        raise BadInput("the command", [Problem("--yes", what, "look at what is listed, then give it")])
    err.print(f"{question} [y/N] ", end="")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        err.print("Nothing was changed.")
        raise typer.Exit(1)


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


def announce(line: str) -> None:
    """A line to whoever has started a server: plainly, or as a line of the log where that is JSON."""
    if logs.is_json():
        log.info(line)
    else:
        err.print(line)


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
        announce("Stopped.")
    finally:
        signal.signal(signal.SIGTERM, before)
