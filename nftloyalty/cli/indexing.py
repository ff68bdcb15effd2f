"""`nftloyalty index`: how far it has come, and building it anew."""

from contextlib import ExitStack
from typing import Annotated

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from nftloyalty.app import indexing, verifying
from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened, found_open, opened
from nftloyalty.cli.session import err, iso, out, print_json, running

# A shorter way is gone before a bar could be read.
SHOWN_FROM_BLOCKS = 200

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
    """Index up to the node's newest block, with a bar where that takes long."""
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    bar = Progress(*columns, console=err, transient=True)
    task = bar.add_task("Indexing blocks", total=None)
    began: int | None = None

    with ExitStack() as shown:

        def on_step(step: indexing.Progress) -> None:
            nonlocal began
            if step.head is None or step.lowest is None:
                return
            began = step.lowest if began is None else began
            bar.update(task, completed=step.lowest - began, total=step.head - began)
            # Even a bar that is not shown leaves an empty line.
            if step.head - began >= SHOWN_FROM_BLOCKS and not bar.live.is_started:
                shown.enter_context(bar)

        return indexing.catch_up(app, here.attached, here.program.chain.finality_blocks, progress=on_step)
