"""`nftloyalty waiting`: what was accepted and is not on chain yet, and withdrawing it."""

from typing import Annotated

import typer

from nftloyalty.app import waiting
from nftloyalty.app.opening import attach
from nftloyalty.cli.session import err, out, print_json, print_table, running
from nftloyalty.cli.signers import age
from nftloyalty.cli.verifying import wallet_argument
from nftloyalty.domain.intent import Kind
from nftloyalty.errors import BadInput, Problem

group = typer.Typer(help="What was accepted and is not on chain yet.", invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="waiting")


@group.callback()
def default(ctx: typer.Context, as_json: Json = False) -> None:
    if ctx.invoked_subcommand is None:
        show(ctx, as_json)


@group.command("show")
def show(ctx: typer.Context, as_json: Json = False) -> None:
    """Show what was accepted and is not on chain yet, since when, and why.

    Example: nftloyalty waiting show
    """
    with running(ctx) as (app, program):
        found = waiting.unfinished(app, attach(app, program), program)
        now = app.now()
    if as_json:
        print_json(
            [
                {
                    "kind": each.kind.value,
                    "stamp": each.stamp,
                    "waiting": each.waiting,
                    "under_way": each.under_way,
                    "since": each.since.isoformat().replace("+00:00", "Z"),
                    "signer": each.address,
                    "key": each.key,
                    "acts": list(each.acts),
                    "why": each.why or None,
                }
                for each in found
            ]
        )
        return
    if not found:
        out.print("Nothing waits.")
        return
    print_table(
        ("kind", "stamp", "waiting", "under way", "oldest", "key", "why"),
        [
            (
                each.kind.value,
                each.stamp or "-",
                f"{each.waiting:,}",
                f"{each.under_way:,}",
                age(now - each.since),
                each.key or each.address,
                each.why or "-",
            )
            for each in found
        ],
    )
    for each in found:
        for act in each.acts:
            out.print(f"{each.kind.value}: {act}")


@group.command("cancel")
def cancel(
    ctx: typer.Context,
    kind: Annotated[Kind | None, typer.Option("--kind", help="Only this kind.")] = None,
    stamp: Annotated[str | None, typer.Option("--stamp", help="Only this stamp, by its id.")] = None,
    address: Annotated[str | None, typer.Option("--address", help="Only what is for this wallet.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="All that waits.")] = False,
    as_json: Json = False,
) -> None:
    """Withdraw what was accepted and not sent. What is in a transaction already goes on.

    Safe beside a running command. A file that is run again asks for its rows once more.

    Example: nftloyalty waiting cancel --kind mint-card
    """
    parts = [part for part in (kind, stamp, address) if part is not None]
    if everything == bool(parts):
        what = "name what to withdraw: --kind, --stamp, --address, or --all alone"
        raise BadInput("the command", [Problem("waiting cancel", what)])
    wallet = wallet_argument(address, "--address") if address is not None else None
    with running(ctx) as (app, program):
        attached = attach(app, program)
        count = waiting.withdraw(
            app,
            attached,
            program,
            kind=kind,
            stamp=stamp,
            recipient=wallet,
        )
        left = waiting.unfinished(app, attached, program)
    under_way = sum(each.under_way for each in left)
    if as_json:
        print_json({"cancelled": count, "under_way": under_way, "waiting": sum(each.waiting for each in left)})
        return
    out.print(f"{count:,} withdrawn.")
    if under_way:
        err.print(f"{under_way:,} are in transactions already and can't be withdrawn: `nftloyalty waiting show`.")
