"""Upkeep of the database: `backup`, `restore`, `upgrade`."""

import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn

from nftloyalty.app import upkeep
from nftloyalty.app.context import system_now
from nftloyalty.app.upkeep import Backup
from nftloyalty.cli.session import err, out, session_of

LINE_SECONDS = 30.0


def add_to(app: typer.Typer) -> None:
    app.command("backup")(backup)
    app.command("restore")(restore)
    app.command("upgrade")(upgrade)


def backup(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="The file to write.")],
    force: Annotated[bool, typer.Option("--force", help="Replace an earlier backup of that name.")] = False,
) -> None:
    """Write the whole database into one file, beside whatever runs. Keys are not in it.

    Example: nftloyalty backup loyalty.backup
    """
    with _stopped_by_sigterm(), _bar() as progress:
        made = upkeep.back_up(session_of(ctx).settings, file, system_now(), progress, replace=force)
    out.print(f"Wrote {file}: {_counted(made)}, {_size(made.size_bytes)}.")
    if made.keys:
        out.print(f"It holds no keys. Copy {made.keys_folder} too, with the passwords: {', '.join(made.keys)}.")
    else:
        out.print(f"It holds no keys, and none lie in {made.keys_folder}.")
    if made.seal_key_here:
        out.print(f"Nor does it hold the key of webhooks' secrets. Copy {made.seal_key} too.")


def restore(
    ctx: typer.Context,
    file: Annotated[Path, typer.Argument(help="A file that `nftloyalty backup` wrote.")],
) -> None:
    """Put a backup into an empty database, of either kind; what was sent since it was made is found on chain then.

    If a newer copy of the database exists, use that instead: it knows more.

    Example: nftloyalty restore loyalty.backup
    """
    with _stopped_by_sigterm(), _bar() as progress:
        restored = upkeep.restore(session_of(ctx).settings, file, progress)
    out.print(f"Restored {_counted(restored)}, as of {restored.made_at:%Y-%m-%d %H:%M:%S} UTC, to {restored.database}.")
    keys = ", ".join(restored.keys) or "none; put your copy of them there"
    out.print(f"Keys are not in a backup. In {restored.keys_folder} are: {keys}.")
    sealed = "is here" if restored.seal_key_here else "put your copy there if there are webhook endpoints"
    out.print(f"Nor is the key of webhooks' secrets: {restored.seal_key}; {sealed}.")
    out.print("The chain may be ahead of these books. Before anything else is sent:")
    out.print("  1. `nftloyalty signers show` tells which keys are behind the chain, or halted")
    out.print("  2. `nftloyalty signers resume NAME`, for each of them, takes in what was sent since the backup")
    out.print("  3. start what was stopped, and run the files of that time again: nobody gets anything twice")


def upgrade(ctx: typer.Context) -> None:
    """Bring a shared database to this version's schema.

    Example: nftloyalty upgrade
    """
    upkeep.upgrade_database(session_of(ctx).settings)
    out.print("The database is of this version.")


def _counted(made: Backup) -> str:
    rows = f"{made.rows:,} row{'' if made.rows == 1 else 's'}"
    return f"{rows} of {made.tables} tables, schema {made.schema}"


def _size(count: int) -> str:
    amount = float(count)
    for unit in ("bytes", "kB", "MB"):
        if amount < 1000:
            return f"{amount:.3g} {unit}"
        amount /= 1000
    return f"{amount:,.1f} GB"


@contextmanager
def _stopped_by_sigterm() -> Iterator[None]:
    """A service manager's way to stop a command leaves no more behind than Ctrl-C does."""

    def stop(number: int, frame: object) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, stop)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _bar() -> Iterator[Callable[[str, int, int], None]]:
    """A progress bar on the error stream; where that is no terminal, a line now and then."""
    line_at = time.monotonic() + LINE_SECONDS
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TaskProgressColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=err, disable=not err.is_terminal) as shown:
        tasks = {}

        def progress(what: str, done: int, total: int) -> None:
            nonlocal line_at
            if what not in tasks:
                tasks[what] = shown.add_task(what, total=total)
            shown.update(tasks[what], completed=done)
            if not err.is_terminal and time.monotonic() >= line_at:
                err.print(f"{what}: {done:,} of {total:,} rows")
                line_at = time.monotonic() + LINE_SECONDS

        yield progress
