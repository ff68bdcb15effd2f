"""`nftloyalty vouchers`: signed promises of a card or a stamp, which members claim without paying anything."""

import json
from datetime import datetime, timedelta
from pathlib import Path
from typing import Annotated

import typer

from nftloyalty.app import claiming
from nftloyalty.app.opening import opened
from nftloyalty.cli.session import out, print_json, running, write_text
from nftloyalty.cli.times import moment
from nftloyalty.cli.verifying import wallet_argument
from nftloyalty.domain.voucher import signed_to_json

group = typer.Typer(help="Sign vouchers that members claim.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="vouchers")


@group.command("create")
def create(
    ctx: typer.Context,
    to: Annotated[str, typer.Option("--to", help="The wallet it is for; nobody else can use it.")],
    tier: Annotated[str | None, typer.Option("--tier", help="A card of this tier.")] = None,
    stamp: Annotated[str | None, typer.Option("--stamp", help="A stamp instead of a card.")] = None,
    expiry: Annotated[str | None, typer.Option("--expiry", help="The card's expiry: a date, or never.")] = None,
    until: Annotated[str | None, typer.Option("--until", help="Claim it by then; default is 30 days from now.")] = None,
    file: Annotated[Path | None, typer.Option("--out", help="Write it to this file instead of stdout.")] = None,
) -> None:
    """Sign a voucher and print it as JSON, ready for POST /v1/claim.

    Example: nftloyalty vouchers create --to 0x7099...79C8 --tier gold
    """
    with running(ctx) as (app, program):
        wallet = wallet_argument(to, "--to")
        here = opened(app, program)
        now: datetime = app.now()
        deadline = moment(until, "--until", now) if until else now + timedelta(days=30)
        if stamp is not None:
            if tier is not None or expiry is not None:
                raise typer.BadParameter("goes without --tier and --expiry", param_hint="--stamp")
            signed = claiming.create_stamp(app, here, wallet, stamp_type=program.stamp_number(stamp), deadline=deadline)
        else:
            number = program.tier(tier).number if tier is not None else 1
            expires_at = 0 if expiry in (None, "never") else int(moment(str(expiry), "--expiry", now).timestamp())
            signed = claiming.create_card(app, here, wallet, tier=number, expires_at=expires_at, deadline=deadline)
        if file is None:
            print_json(signed_to_json(signed))
        else:
            write_text(file, json.dumps(signed_to_json(signed), indent=2) + "\n")
            out.print(f"Wrote {file}.")
