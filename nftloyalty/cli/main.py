"""`nftloyalty`: entry point, options shared by all commands, and how errors are shown.

Exit status:
    0    done, or yes
    1    no (verify), a check failed (compile --check), rows were left out (mint, stamp), a question was answered no, or
         something needs a person (status)
    2    the input is wrong, and nothing was changed
    3    the chain, a key, the database or the program stands in the way
    4    a fault of ours, to be reported
    130  interrupted: run the same command again to go on
    141  whoever read the output stopped reading (`| head`)
"""

import os
import sys
import traceback
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

import nftloyalty
from nftloyalty import __version__
from nftloyalty.cli import (
    api_keys,
    governing,
    indexing,
    keys,
    minting,
    programs,
    recovering,
    sealing,
    serving,
    signers,
    status,
    updating,
    upkeep,
    verifying,
    vouchers,
    waiting,
    webhooks,
    working,
)
from nftloyalty.cli.session import err, out, start
from nftloyalty.errors import BadInput, LoyaltyError, Unknown

FAULT = 4
BROKEN_PIPE = 141
"""What a shell shows for a program that SIGPIPE (13) has ended: 128 + 13."""

SHOWN_PLACES = 6


class _Commands(TyperGroup):
    """All commands: one that is interrupted says that it can be run again, one that nobody listens to ends quietly."""

    def invoke(self, ctx: Any) -> Any:
        try:
            result = super().invoke(ctx)
            # Here and not at the end of the process, where a closed pipe could no longer be answered.
            sys.stdout.flush()
            return result
        except KeyboardInterrupt as stopped:
            err.print()
            show_notes(stopped)
            err.print("Stopped. Nothing is lost: run the same command again to go on.")
            raise typer.Exit(130) from None
        except BrokenPipeError:
            _stop_writing()
            raise typer.Exit(BROKEN_PIPE) from None


app = typer.Typer(
    name="nftloyalty",
    cls=_Commands,
    help="Run a brand's loyalty program on an EVM chain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (
    programs,
    updating,
    keys,
    minting,
    waiting,
    signers,
    status,
    verifying,
    indexing,
    vouchers,
    api_keys,
    webhooks,
    sealing,
    governing,
    recovering,
    serving,
    working,
    upkeep,
):
    module.add_to(app)


def _show_version(wanted: bool) -> None:
    if wanted:
        out.print(__version__)
        raise typer.Exit


@app.callback()
def options(
    ctx: typer.Context,
    program: Annotated[Path, typer.Option("--program", envvar="NFTLOYALTY_PROGRAM", help="The program's file.")] = Path(
        "program.toml"
    ),
    rpc: Annotated[str | None, typer.Option("--rpc", help="JSON-RPC address of the chain's node.")] = None,
    home: Annotated[Path | None, typer.Option("--home", help="Folder of keys and embedded database.")] = None,
    password_file: Annotated[
        Path | None, typer.Option("--password-file", help="File whose first line is the keys' password.")
    ] = None,
    version: Annotated[
        bool, typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    ctx.obj = start(program, rpc, home, password_file)


def main() -> None:
    """Run the command line and turn errors into sentences and an exit status."""
    try:
        app(prog_name="nftloyalty")
    except (BadInput, Unknown) as bad:
        show_error(bad)
        sys.exit(2)
    except LoyaltyError as problem:
        show_error(problem)
        sys.exit(3)
    except Exception as fault:
        show_fault(fault)
        sys.exit(FAULT)


def show_error(problem: LoyaltyError) -> None:
    err.print("Error:", problem.message, style="red")
    if isinstance(problem, BadInput):
        for each in problem.problems:
            err.print(f"  {each}")
    if problem.mend:
        err.print("Mend:", problem.mend)
    show_notes(problem)


def show_notes(error: BaseException) -> None:
    """What the use case added on the error's way up: what stays accepted, say."""
    for note in getattr(error, "__notes__", ()):
        err.print(note)


def show_fault(fault: Exception) -> None:
    """An error that nobody foresaw, in a few lines fit for a report: its kind and where in our code it came from. Not
    its text, which may hold anything, a secret too."""
    err.print(f"Unexpected: {type(fault).__name__}", style="red")
    err.print(f"This is a fault of nftloyalty {__version__}. Please report it with the lines above and below:")
    house = Path(str(nftloyalty.__file__)).parent
    places = [
        f"  {Path(frame.filename).relative_to(house.parent)}:{frame.lineno} in {frame.name}"
        for frame in traceback.extract_tb(fault.__traceback__)
        if Path(frame.filename).is_relative_to(house)
    ]
    for place in places[-SHOWN_PLACES:]:
        err.print(place)
    show_notes(fault)
    err.print("What was accepted is safe in the database; the same command can be run again.")


def _stop_writing() -> None:
    """Let what is still buffered go nowhere, instead of failing once more when the process ends."""
    with suppress(OSError, ValueError):
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        os.close(nowhere)
