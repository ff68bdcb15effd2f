"""`nftloyalty init`, `deploy` and `export`: describe a program and open it."""

from decimal import Decimal
from pathlib import Path
from typing import Annotated

import typer

from nftloyalty.app import deploying
from nftloyalty.app.deploying import Deployed, Difference, Prepared
from nftloyalty.cli.minting import decimal_of
from nftloyalty.cli.session import cant_write, err, out, print_json, running, running_app, session_of
from nftloyalty.domain.cost import show
from nftloyalty.domain.program_file import read_program, template
from nftloyalty.errors import BadInput, Problem


def add_to(app: typer.Typer) -> None:
    app.command("init")(init)
    app.command("deploy")(deploy)
    app.command("export")(export)


def init(
    ctx: typer.Context,
    brand: Annotated[str, typer.Option("--brand", help="The brand's name.")] = "My Brand",
) -> None:
    """Write a commented program.toml to fill in. Never overwrites.

    Example: nftloyalty init --brand "Morning Bean"
    """
    path: Path = session_of(ctx).program_path
    text = template(brand)
    read_program(text, f"--brand {brand!r}")
    try:
        with path.open("x", encoding="utf-8") as file:
            file.write(text)
    except FileExistsError:
        raise BadInput(
            str(path), [Problem(str(path), "is there already", "edit it, or name another --program")]
        ) from None
    except OSError as failure:
        raise cant_write(path, failure) from None
    out.print(
        f"Wrote {path}. Fill it in and make its keys: nftloyalty keys new owner, hot and desk. Give them coins, on a "
        "development chain by nftloyalty keys fund owner, hot and desk. Then: nftloyalty deploy"
    )


def deploy(
    ctx: typer.Context,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show what would happen and its cost; send nothing.")
    ] = False,
    price: Annotated[
        str | None, typer.Option("--price", help="What one coin costs, to show the cost in money.")
    ] = None,
    coin: Annotated[str, typer.Option("--coin", help="The chain's coin.")] = "ETH",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Open the program on the chain. Run again after a stop: it goes on; run when it is open: nothing is sent.

    Example: nftloyalty deploy --dry-run
    """
    money = decimal_of(price)
    with running(ctx) as (app, program):
        if dry_run:
            prepared = deploying.prepare(app, program)
            _show_plan(prepared, coin, money, as_json)
            deploying.check_opener(app, prepared)
            return
        deployed = deploying.deploy(app, program, tick=lambda what: err.print(f"... {what}"))
        _show(deployed, as_json)


def export(ctx: typer.Context) -> None:
    """Print all recorded deployments as JSON.

    Example: nftloyalty export > deployments.json
    """
    with running_app(ctx) as app:
        print_json(list(deploying.exported(app)))


def _show_plan(prepared: Prepared, coin: str, money: Decimal | None, as_json: bool) -> None:
    steps = [step.name for step in prepared.plan.missing]
    if as_json:
        print_json(
            {
                "already_open": prepared.already_open,
                "new_chain": prepared.new_chain,
                "membership": prepared.plan.opened or prepared.plan.membership,
                "stamps": prepared.plan.stamps,
                "factory": prepared.plan.factory,
                "steps": [] if prepared.already_open else [*steps, "open the program"],
                "gas": prepared.cost.gas,
                "cost_wei": str(prepared.cost.wei),
                "data_fee_included": prepared.cost.data_fee_wei is not None,
                "coin": coin,
                "price": None if money is None else str(money),
                "cost_in_money": None if money is None else f"{prepared.cost.wei * money / 10**18:f}",
                "payer": prepared.powers.opener,
                "differences": [str(each) for each in prepared.differences],
            }
        )
        return
    if prepared.new_chain:
        out.print("This is a new chain: what was opened on its predecessor is gone.")
    if prepared.already_open:
        _show_open(str(prepared.plan.opened), prepared.differences)
        return
    out.print("Nothing is sent. This would happen, in this order:")
    for number, name in enumerate([*steps, f"open {prepared.program.name}"], 1):
        out.print(f"  {number}. {name}")
    out.print(f"Cards at {prepared.plan.membership}, stamps at {prepared.plan.stamps}.")
    if not prepared.plan.portable:
        out.print("This chain refuses the CREATE2 deployer, so the addresses differ from other chains'.")
    out.print(f"Paid by {prepared.powers.opener}: about {show(prepared.cost, coin, money)}.")


def _show(deployed: Deployed, as_json: bool) -> None:
    if as_json:
        print_json(
            {
                "already_open": deployed.already_open,
                "membership": deployed.membership,
                "stamps": deployed.stamps,
                "transactions": list(deployed.sent),
                "gas_used": deployed.gas_used,
                "differences": [str(each) for each in deployed.differences],
            }
        )
        return
    if deployed.already_open:
        _show_open(deployed.membership, deployed.differences)
        return
    out.print(f"Open. Cards at {deployed.membership}, stamps at {deployed.stamps}.")
    out.print(f"{len(deployed.sent)} transactions, {deployed.gas_used:,} gas, of which opening {deployed.open_gas:,}.")


def _show_open(membership: str, differences: tuple[Difference, ...]) -> None:
    out.print(f"Already open at {membership}; nothing was sent.")
    for each in differences:
        out.print(f"  differs: {each}")
    if any(each.changes for each in differences):
        out.print("`nftloyalty update` changes on chain what can be changed.")
