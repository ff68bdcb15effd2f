"""`nftloyalty`: entry point, options shared by all commands, and how errors are shown.

Exit status: 0 done or yes; 1 no (verify, gate) or a check failed; 2 the input is wrong and nothing was changed; 3 the
chain, a key or the program stands in the way; 130 interrupted (run the same command again to go on).
"""

import sys
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from nftloyalty import __version__
from nftloyalty.cli import governing, keys, minting, programs, serving, verifying, vouchers
from nftloyalty.cli.session import err, out, start
from nftloyalty.errors import BadInput, LoyaltyError


class _Commands(TyperGroup):
    """All commands: one that is interrupted says that it can be run again."""

    def invoke(self, ctx: Any) -> Any:
        try:
            return super().invoke(ctx)
        except KeyboardInterrupt:
            err.print("\nStopped. Nothing is lost: run the same command again to go on.")
            raise typer.Exit(130) from None


app = typer.Typer(
    name="nftloyalty",
    cls=_Commands,
    help="Run a brand's loyalty program on an EVM chain.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)
for module in (programs, keys, minting, verifying, vouchers, governing, serving):
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
    """Run the command line and turn our own errors into sentences and an exit status."""
    try:
        app(prog_name="nftloyalty")
    except BadInput as bad:
        show_error(bad)
        sys.exit(2)
    except LoyaltyError as problem:
        show_error(problem)
        sys.exit(3)


def show_error(problem: LoyaltyError) -> None:
    err.print("Error:", problem.message, style="red")
    if isinstance(problem, BadInput):
        for each in problem.problems:
            err.print(f"  {each}")
    if problem.mend:
        err.print("Mend:", problem.mend)
