"""`nftloyalty verify`: what a wallet holds, and whether that is enough."""

from typing import Annotated, Any

import typer

from nftloyalty.app import verifying
from nftloyalty.app.opening import opened
from nftloyalty.cli.indexing import bring_up_to_date
from nftloyalty.cli.session import out, print_json, running
from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.gate import Consistency, Decision
from nftloyalty.domain.times import shown_end
from nftloyalty.errors import BadInput, Problem


def add_to(app: typer.Typer) -> None:
    app.command("verify")(verify)


def verify(
    ctx: typer.Context,
    address: Annotated[str, typer.Argument(help="The wallet to look at.")],
    tier: Annotated[
        str | None, typer.Option("--tier", help="Ask for an active card of this tier or a higher one.")
    ] = None,
    stamps: Annotated[list[str] | None, typer.Option("--stamp", help="Ask for this stamp; may be repeated.")] = None,
    consistency: Annotated[
        Consistency,
        typer.Option("--consistency", help="As of the newest block, of the newest final one, or asked of the node."),
    ] = Consistency.HEAD,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show what a wallet holds. Exit status 0 = it holds what was asked for, 1 = it does not.

    Without --tier and --stamp an active card is asked for.

    Example: nftloyalty verify 0x7099...79C8 --tier gold
    """
    with running(ctx) as (app, program):
        wallet = wallet_argument(address, "address")
        here = opened(app, program)
        wanted = verifying.conditions(here, active=not stamps, tier=tier, stamps=stamps or ())
        if consistency is not Consistency.LIVE:
            bring_up_to_date(app, here)
        held, decision = verifying.check(app, here, wallet, wanted, consistency)
        found = verifying.as_json(here, held, app.now())
        if as_json:
            reasons = [{"code": reason.code.value, "sentence": reason.sentence} for reason in decision.reasons]
            print_json({**found, "allowed": decision.allowed, "reasons": reasons})
        else:
            _show(found, held.holding.card.expires_at, decision)
    if not decision.allowed:
        raise typer.Exit(1)


def wallet_argument(text: str, name: str) -> Address:
    """A wallet's address. Raises BadInput."""
    try:
        return parse_address(text)
    except ValueError as wrong:
        raise BadInput("the command", [Problem(name, f"{text!r}: {wrong}")]) from None


def _show(found: dict[str, Any], expires_at: int, decision: Decision) -> None:
    card = found["card"]
    out.print(f"Wallet   {found['wallet']}")
    if card is None:
        out.print("Card     none")
    else:
        until = shown_end(expires_at) if expires_at else "for life"
        out.print(
            f"Card     {card['tier'] or card['tier_number']}, member number {card['member_number']}, "
            f"{'active' if card['active'] else 'expired'}, {until}"
        )
    names = ", ".join(stamp.get("id") or f"season {stamp['season']} type {stamp['type']}" for stamp in found["stamps"])
    out.print(f"Stamps   {names or 'none'}")
    as_of = found["as_of"]
    final = "final" if as_of["final"] else "may still be undone"
    out.print(f"As of    block {as_of['block']} ({as_of['timestamp']}, {final})")
    out.print(
        f"Answer   {'yes' if decision.allowed else 'no: ' + '; '.join(each.sentence for each in decision.reasons)}"
    )
