"""Servers and building: `chain`, `serve`, `demo`, `compile`."""

import gc
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

from nftloyalty import devchain, logs
from nftloyalty.app import access, claiming, compiling, keyring, vouching
from nftloyalty.app.context import App
from nftloyalty.app.intake import Intake
from nftloyalty.app.opening import Opened, opened
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.working import Worker
from nftloyalty.cli import demo as demo_run
from nftloyalty.cli.session import announce, err, out, running, session_of, until_stopped, write_text
from nftloyalty.devchain.server import listen, loopback_address, url_of
from nftloyalty.errors import BadInput, Problem
from nftloyalty.web.app import create_web
from nftloyalty.web.deps import Service
from nftloyalty.web.server import server_of

Host = Annotated[str, typer.Option("--host", help="A loopback address.")]
AnyHost = Annotated[
    str, typer.Option("--host", help="Where to listen: a loopback address, or any other once there are API keys.")
]


def add_to(app: typer.Typer) -> None:
    app.command("chain")(chain)
    app.command("serve")(serve)
    app.command("demo")(demo)
    app.command("compile")(compile_contracts)


def chain(
    host: Host = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 = any free one.")] = 8545,
) -> None:
    """Serve a development chain on this machine until Ctrl-C; it forgets everything when it ends.

    Example: nftloyalty chain
    """
    with until_stopped():
        check_port("chain", host, port)
        devchain.serve(
            host, port, ready=lambda url: err.print(f"A new chain at {url}. Ctrl-C ends it and all that is on it.")
        )


def serve(
    ctx: typer.Context,
    host: AnyHost = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="0 = any free one.")] = 8000,
    read_only: Annotated[bool, typer.Option("--read-only", help="Take no claims; needs no key.")] = False,
    no_worker: Annotated[
        bool,
        typer.Option("--no-worker", help="Leave sending and indexing to `nftloyalty worker`; asks for no password."),
    ] = False,
    vouchers: Annotated[
        bool,
        typer.Option("--vouchers", help="Sign vouchers over HTTP too; asks for the signer's password at the start."),
    ] = False,
) -> None:
    """Answer questions and take requests over HTTP: of this machine, and with API keys of others.

    It also sends the claims and keeps the index, unless told to leave that to workers: until an index is there,
    ownership and gate can only be asked live.

    Example: nftloyalty serve
    """
    if vouchers and read_only:
        what = "signs, and --read-only is for a server that gives nothing away"
        raise BadInput("serve", [Problem("--vouchers", what, "leave one of them out")])
    settings = session_of(ctx).settings
    logs.set_up(settings.log_format, settings.log_level, settings.secrets())
    with until_stopped(), running(ctx) as (app, program):
        # The port is tried before anybody types a password, and listened on only when all else is ready: who connects
        # to a port that listens waits for an answer.
        check_port("serve", host, port, anywhere=True)
        here = opened(app, program)
        reachable = loopback_address(host) is None
        if reachable and not access.listed(app, here):
            what = f"others can reach {host}, and the program has no API keys that they would need"
            mend = 'make one, `nftloyalty api-keys create "Web shop" --scope checks:read --scope claims:write`, or '
            mend += "listen on 127.0.0.1"
            raise BadInput("serve", [Problem("--host", what, mend)])
        worker = None if no_worker else worker_of(app, here, sends=not read_only)
        # Before it answers anybody: whoever waits for an answer can't type a password.
        desk = vouching.open_desk(app, here) if vouchers else None
        with listen(host, port, anywhere=True) as listener:
            intake = None if read_only else Intake(app, here)
            web = create_web(
                Service(
                    app,
                    here,
                    worker,
                    takes_claims=not read_only,
                    intake=intake,
                    reachable=reachable,
                    desk=desk,
                )
            )
            server = server_of(web, settings.trusted_proxies)
            try:
                if intake is not None:
                    intake.start()
                if worker is not None:
                    worker.start()
                if desk is not None:
                    announce(f"Signing vouchers as {desk.signer.address}.")
                    if not desk.may_sign():
                        announce(f"It lacks the role: `nftloyalty roles grant signer {claiming.signing_key(here)}`.")
                # What is here now stays: looking through it again and again takes a third of a large request's time.
                gc.collect()
                gc.freeze()
                announce(f"Serving {program.name} at {url_of(listener)} (Ctrl-C ends it).")
                server.run(sockets=[listener])
            finally:
                if intake is not None:
                    intake.stop()
                if worker is not None:
                    worker.stop()


def check_port(command: str, host: str, port: int, option: str = "--port", *, anywhere: bool = False) -> None:
    """Raises BadInput naming the option to change if this address can't be listened on."""
    if loopback_address(host) is None and not anywhere:
        what = f"{host} is not an address of this machine alone"
        raise BadInput(command, [Problem("--host", what, "use 127.0.0.1, ::1 or localhost")])
    try:
        listen(host, port, anywhere=anywhere).close()
    except BadInput as refused:
        if not refused.problems[0].place.startswith("port"):
            raise BadInput(command, [replace(refused.problems[0], place="--host")]) from None
        what = f"port {port} on {host} {refused.problems[0].what}"
        other = f"{option} {port % 65_535 + 1}"
        mend = f"stop what uses it, or choose another: nftloyalty {command} {other}"
        if command == "demo":
            mend += f', or make demo ARGS="{other}"'
        raise BadInput(command, [Problem(option, what, mend)]) from None


def worker_of(app: App, here: Opened, *, sends: bool) -> Worker:
    """A worker that pays with the program's first minter key, and does the managers' acts with those of their keys that
    are here; or that only keeps the index."""
    if not sends:
        return Worker(app, here)
    names, elsewhere = sending_keys(app, here.program)
    managers = keyring.known_addresses(app, here.program.powers.managers)
    theirs = [name for name in names if keyring.address_of(app, name) in managers]
    tell_elsewhere(elsewhere)
    relay = keyring.key_name(app, claiming.relay_key(here)) or claiming.relay_key(here)
    return Worker(app, here, [keyring.signer_of(app, name) for name in dict.fromkeys([relay, *theirs])])


def tell_elsewhere(managers: Sequence[str]) -> None:
    """Say which managers' acts are not sent from here."""
    if managers:
        announce(
            f"Not here: the key of manager {', '.join(managers)}. What it is asked for is sent by a worker that has "
            "it, or signed where it lies."
        )


def demo(
    ctx: typer.Context,
    exit_after: Annotated[bool, typer.Option("--exit", help="End after the run instead of serving.")] = False,
    port: Annotated[int, typer.Option("--port", min=0, max=65_535, help="Of the web server; 0 = any free one.")] = 8000,
) -> None:
    """Open the coffee program on a chain in this process, mint, stamp, claim and check, then serve it.

    Example: nftloyalty demo
    """
    with until_stopped():
        # Before half a minute of work.
        check_port("demo", "127.0.0.1", port)
        demo_run.run(session_of(ctx).settings, exit_after=exit_after, port=port)


def compile_contracts(
    check: Annotated[
        bool, typer.Option("--check", help="Compare with the artifacts that are there; write nothing.")
    ] = False,
    standard_json: Annotated[
        Path | None,
        typer.Option("--standard-json", help="Write the explorers' verification input to this file instead."),
    ] = None,
) -> None:
    """Compile the contracts and write nftloyalty/artifacts.

    Example: nftloyalty compile --check
    """
    if standard_json is not None:
        write_text(standard_json, compiling.verification_input())
        out.print(f"Wrote {standard_json}.")
        return
    compiled = compiling.compile_all(check=check)
    for line in (*compiled.differing, *(f"wrote {path}" for path in compiled.written)):
        out.print(line)
    if compiled.differing:
        raise typer.Exit(1)
    if not compiled.written:
        out.print(f"{compiled.count} artifacts are as compiled.")
