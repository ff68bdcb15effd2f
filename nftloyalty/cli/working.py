"""`nftloyalty worker`: sends and indexes until it is stopped."""

import threading
from typing import Annotated

import typer

from nftloyalty.app import keyring
from nftloyalty.app.opening import opened
from nftloyalty.app.working import Worker
from nftloyalty.cli.session import err, log_to_stderr, running, until_stopped
from nftloyalty.errors import BadInput, Problem, ProgramProblem


def add_to(app: typer.Typer) -> None:
    app.command("worker")(worker)


def worker(
    ctx: typer.Context,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key", help="Send with this key only; may be repeated. Left out: every minter's key that is here."
        ),
    ] = None,
    index_only: Annotated[bool, typer.Option("--index-only", help="Send nothing; needs no key.")] = False,
) -> None:
    """Send what was accepted and keep the index, until Ctrl-C or SIGTERM.

    Start as many as you like, on as many machines: they share the work through the database, and when one ends the
    others take over.

    Example: nftloyalty worker
    """
    if keys and index_only:
        what = "sends nothing, and --key names a key to send with"
        raise BadInput("the command", [Problem("--index-only", what, "leave one of them out")])
    log_to_stderr()
    with until_stopped(), running(ctx) as (app, program):
        here = opened(app, program)
        names = [] if index_only else keys or keyring.names_here(app, program.powers.minters)
        if not names and not index_only:
            raise ProgramProblem(
                "none of the minters' keys of program.toml is here, so this worker could send nothing",
                mend="put a key here with `nftloyalty keys import`, or only keep the index with --index-only",
            )
        at_work = Worker(app, here, [keyring.signer_of(app, name) for name in names])
        try:
            at_work.start()
            what = f"Sending with {', '.join(names)} and indexing" if names else "Indexing"
            err.print(f"{what} for {program.name} (Ctrl-C ends it).")
            threading.Event().wait()
        finally:
            at_work.stop()
