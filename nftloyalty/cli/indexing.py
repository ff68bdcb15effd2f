"""`nftloyalty index`: how far it has come, and building it anew."""

import time
from collections.abc import Callable
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nftloyalty.app import indexing, verifying
from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened, found_open, opened
from nftloyalty.cli.session import err, out, print_json, running
from nftloyalty.domain.times import iso

# A shorter way is gone before a bar could be read.
SHOWN_FROM_BLOCKS = 200
LINE_SECONDS = 10.0

index_app = typer.Typer(no_args_is_help=True, help="What the database knows of the chain: show, catch-up, rebuild.")


def add_to(app: typer.Typer) -> None:
    app.add_typer(index_app, name="index")


@index_app.command("show")
def show(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show how far the program's index has come.

    Example: nftloyalty index show
    """
    with running(ctx) as (app, program):
        here = found_open(app, program)
        at = verifying.index_position(app, here)
        head = app.node.head().number
        if as_json:
            print_json(
                {
                    "program": program.id,
                    "head": head,
                    "block": None if at is None else at.number,
                    "final_block": None if at is None else at.final_number,
                    "at_head_at": None if at is None else iso(at.confirmed_at),
                    "incident": None if at is None else at.incident,
                }
            )
            return
        out.print(f"Head     block {head}")
        if at is None:
            out.print("Index    not begun; `nftloyalty worker`, `serve` and `index catch-up` build it")
            return
        out.print(f"Index    block {at.number}, {max(0, head - at.number)} behind; final up to {at.final_number}")
        seen = "never" if at.confirmed_at is None else f"{at.confirmed_at:%Y-%m-%d %H:%M:%S} UTC"
        out.print(f"At head  {seen}")
        if at.incident is not None:
            out.print(f"Halted   {at.incident}; `nftloyalty index rebuild` starts over")


@index_app.command("catch-up")
def catch_up(ctx: typer.Context) -> None:
    """Bring the index to the newest block. Ctrl-C is safe: the next run goes on.

    Example: nftloyalty index catch-up
    """
    with running(ctx) as (app, program):
        progress = bring_up_to_date(app, opened(app, program))
        out.print(f"The index is at block {progress.lowest}, the newest one.")


@index_app.command("rebuild")
def rebuild(ctx: typer.Context) -> None:
    """Forget what is indexed of this program and read it anew from the chain. Ctrl-C is safe.

    Until that is done, ownership and gate can only be asked live.

    Example: nftloyalty index rebuild
    """
    with running(ctx) as (app, program):
        here = found_open(app, program)
        indexing.rebuild(app, here.row.id)
        progress = bring_up_to_date(app, here)
        out.print(f"The index was built anew and is at block {progress.lowest}, the newest one.")


def bring_up_to_date(app: App, here: Opened) -> indexing.Progress:
    """Index up to the node's newest block, and show how far it is where that takes long."""
    with _Bar() as on_step:
        return indexing.catch_up(
            app, here.attached, here.program.chain.finality_blocks, program=here.program.id, progress=on_step
        )


class _Bar:
    """A progress bar on the error stream, with the time left; where that is no terminal, a line now and then."""

    def __init__(self) -> None:
        columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
        self._bar = Progress(*columns, console=err, transient=True, disable=not err.is_terminal)
        self._task = self._bar.add_task("blocks indexed", total=None)
        self._began: int | None = None
        self._line_at = 0.0

    def __enter__(self) -> Callable[[indexing.Progress], None]:
        return self._on_step

    def __exit__(self, *_: object) -> None:
        self._bar.stop()

    def _on_step(self, step: indexing.Progress) -> None:
        if step.head is None or step.lowest is None:
            return
        if self._began is None:
            self._began = step.lowest
        total = step.head - self._began
        if total < SHOWN_FROM_BLOCKS:
            return
        self._bar.start()
        self._bar.update(self._task, completed=step.lowest - self._began, total=total)
        if not err.is_terminal and time.monotonic() >= self._line_at:
            err.print(f"Indexed up to block {step.lowest:,} of {step.head:,}")
            self._line_at = time.monotonic() + LINE_SECONDS
