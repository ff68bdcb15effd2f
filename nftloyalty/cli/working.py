"""`nftloyalty worker`: sends and indexes until it is stopped."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from typing import Annotated

import typer

from nftloyalty import logs
from nftloyalty.app import keyring
from nftloyalty.app.opening import opened
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.working import Worker
from nftloyalty.cli.serving import check_port, tell_elsewhere
from nftloyalty.cli.session import announce, running, session_of, until_stopped
from nftloyalty.devchain.server import listen, url_of
from nftloyalty.errors import BadInput, Problem, ProgramProblem
from nftloyalty.web.app import create_watch
from nftloyalty.web.deps import Service
from nftloyalty.web.server import server_of

LOOPBACK = "127.0.0.1"


def add_to(app: typer.Typer) -> None:
    app.command("worker")(worker)


def worker(
    ctx: typer.Context,
    keys: Annotated[
        list[str] | None,
        typer.Option(
            "--key",
            help="Send with this key only; may be repeated. Left out: every minter's and manager's key that is here.",
        ),
    ] = None,
    index_only: Annotated[bool, typer.Option("--index-only", help="Send nothing; needs no key.")] = False,
    metrics_port: Annotated[
        int | None,
        typer.Option(
            "--metrics-port",
            min=0,
            max=65_535,
            help="Answer /metrics, /healthz and /readyz there, on this machine only; 0 = any free port.",
        ),
    ] = None,
) -> None:
    """Send what was accepted and keep the index, until Ctrl-C or SIGTERM.

    Start as many as you like, on as many machines: they share the work through the database, and when one ends the
    others take over.

    Example: nftloyalty worker
    """
    if keys and index_only:
        what = "sends nothing, and --key names a key to send with"
        raise BadInput("the command", [Problem("--index-only", what, "leave one of them out")])
    settings = session_of(ctx).settings
    logs.set_up(settings.log_format, settings.log_level, settings.secrets())
    with until_stopped(), running(ctx) as (app, program):
        if metrics_port is not None:
            check_port("worker", LOOPBACK, metrics_port, "--metrics-port")
        here = opened(app, program)
        names, elsewhere = sending_keys(app, program) if not (index_only or keys) else (keys or [], [])
        if not names and not index_only:
            raise ProgramProblem(
                "none of the minters' and managers' keys of program.toml is here, so this worker could send nothing",
                mend="put a key here with `nftloyalty keys import`, or only keep the index with --index-only",
            )
        tell_elsewhere(elsewhere)
        at_work = Worker(app, here, [keyring.signer_of(app, name) for name in names])
        shown = nullcontext() if metrics_port is None else _shown(Service(app, here, at_work, False), metrics_port)
        with shown:
            try:
                at_work.start()
                what = f"Sending with {', '.join(names)} and indexing" if names else "Indexing"
                announce(f"{what} for {program.name} (Ctrl-C ends it).")
                threading.Event().wait()
            finally:
                at_work.stop()


@contextmanager
def _shown(service: Service, port: int) -> Iterator[None]:
    """Show how the worker is, in a thread of this process, on a socket that listens before the thread starts."""
    with listen(LOOPBACK, port) as listener:
        server = server_of(create_watch(service))
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="metrics", daemon=True)
        thread.start()
        announce(f"Numbers and health at {url_of(listener)}/metrics, /healthz and /readyz.")
        try:
            yield
        finally:
            server.should_exit = True
            thread.join()
