"""`nftloyalty recovery`: a member's card, number and stamps move to a new wallet when the old key is lost or stolen."""

from typing import Annotated

import typer

from nftloyalty.app import recovering
from nftloyalty.app.acting import Done
from nftloyalty.app.opening import opened
from nftloyalty.app.recovering import Standing
from nftloyalty.cli.governing import show_done
from nftloyalty.cli.session import err, out, print_json, running
from nftloyalty.cli.verifying import wallet_argument

recovery = typer.Typer(
    help="Move a member whose key is lost to a new wallet: proposed, a delay with a veto, then carried out.",
    no_args_is_help=True,
)

Old = Annotated[str, typer.Argument(help="The wallet whose key is lost.")]
Json = Annotated[bool, typer.Option("--json", help="Print the result as JSON.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(recovery, name="recovery")


@recovery.command("propose")
def propose(
    ctx: typer.Context,
    old: Old,
    new: Annotated[str, typer.Argument(help="The member's new wallet, never used in this program.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is public for ever.")],
) -> None:
    """First step, by a guardian. The member can veto with the old key, unless the wallet was revoked as stolen.

    Example: nftloyalty recovery propose 0x7099... 0x3C44... --reason lost
    """
    source, target = wallet_argument(old, "old"), wallet_argument(new, "new")
    with running(ctx) as (app, program):
        here = opened(app, program)
        done = recovering.propose(app, here, source, target, reason, _tick)
        show_done(done)
        known = recovering.standing(here, source) if isinstance(done, Done) else None
        if known is not None:
            err.print(_said(known))


@recovery.command("show")
def show(ctx: typer.Context, old: Old, as_json: Json = False) -> None:
    """Show whether a recovery stands; exit status 1 if none does.

    Example: nftloyalty recovery show 0x7099...79C8
    """
    source = wallet_argument(old, "old")
    with running(ctx) as (app, program):
        known = recovering.standing(opened(app, program), source)
    if as_json:
        print_json({} if known is None else _json(known))
    else:
        out.print(f"No recovery of {source} stands." if known is None else _said(known))
    if known is None:
        raise typer.Exit(1)


@recovery.command("execute")
def execute(ctx: typer.Context, old: Old) -> None:
    """Last step, after the delay; anyone may.

    Example: nftloyalty recovery execute 0x7099...79C8
    """
    source = wallet_argument(old, "old")
    with running(ctx) as (app, program):
        show_done(recovering.execute(app, opened(app, program), source, _tick))


@recovery.command("veto")
def veto(ctx: typer.Context, old: Old) -> None:
    """Take a proposal back: by the key that made it, else by the owner.

    Example: nftloyalty recovery veto 0x7099...79C8
    """
    source = wallet_argument(old, "old")
    with running(ctx) as (app, program):
        show_done(recovering.veto(app, opened(app, program), source, _tick))


def _said(known: Standing) -> str:
    what = f"Card number {known.serial}" if known.serial else "What"
    return (
        f"{what} of {known.source} can go to {known.to} from {known.ready_at:%Y-%m-%d %H:%M} until "
        f"{known.ends_at:%Y-%m-%d %H:%M} UTC, by `nftloyalty recovery execute {known.source}`. "
        f"Proposed by {known.proposer}."
    )


def _json(known: Standing) -> dict[str, object]:
    return {
        "from": known.source,
        "to": known.to,
        "proposer": known.proposer,
        "serial": known.serial,
        "ready_at": known.ready_at.isoformat().replace("+00:00", "Z"),
        "ends_at": known.ends_at.isoformat().replace("+00:00", "Z"),
    }


def _tick() -> None:
    return None
