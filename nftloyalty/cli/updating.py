"""`nftloyalty update`: bring an open program to what program.toml says by now."""

from decimal import Decimal
from typing import Annotated, Any

import typer

from nftloyalty.app import updating
from nftloyalty.app.updating import UpdatePlan
from nftloyalty.cli.governing import transaction_json
from nftloyalty.cli.minting import decimal_of
from nftloyalty.cli.session import confirm, err, out, print_json, running
from nftloyalty.domain.cost import show


def add_to(app: typer.Typer) -> None:
    app.command("update")(update)


def update(
    ctx: typer.Context,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would change; send nothing.")] = False,
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
    price: Annotated[
        str | None, typer.Option("--price", help="What one coin costs, to show the cost in money.")
    ] = None,
    coin: Annotated[str, typer.Option("--coin", help="The chain's coin.")] = "ETH",
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as JSON.")] = False,
) -> None:
    """Change an open program to what program.toml says by now; the owner's act.

    Lists every change and asks before it sends them. Run again after a stop: it goes on. What can't change is said, and
    ends it with status 1.

    Example: nftloyalty update --dry-run
    """
    money = decimal_of(price)
    with running(ctx) as (app, program):
        plan = updating.plan(app, program)
        _show_plan(plan, coin, money)
        if dry_run:
            if as_json:
                print_json(_plan_json(plan))
            updating.check_funds(app, plan)
        elif plan.changes:
            if plan.owner_here:
                confirm(f"Make {_count(len(plan.changes), 'change')}?", yes=yes)
            made = updating.update(app, plan, tick=lambda change: err.print(f"... {change.what}"))
            if as_json:
                unsigned = [{"what": change.what, **transaction_json(each)} for change, each in made.unsigned]
                print_json(
                    {**_plan_json(plan), "transactions": [each.tx_hash for _, each in made.done], "to_sign": unsigned}
                )
            elif made.unsigned:
                err.print(
                    f"The key of {plan.owner} is not here. Have it send these transactions, in this order (in a Safe: "
                    "as custom data):"
                )
                print_json([transaction_json(each) for _, each in made.unsigned])
            else:
                out.print(f"{_count(len(made.done), 'change')} made.")
        elif as_json:
            print_json({**_plan_json(plan), "transactions": [], "to_sign": []})
    if plan.changes and not dry_run:
        err.print("`nftloyalty serve` answers by the file it was started with: start it anew.")
    if plan.refused or plan.stays:
        err.print("Not all that program.toml says holds on chain: see the lines that begin with stays or can't.")
        raise typer.Exit(1)


def _show_plan(plan: UpdatePlan, coin: str, money: Decimal | None) -> None:
    for each in plan.stays:
        err.print(f"stays: {each}")
    for each in plan.differs:
        err.print(f"differs: {each.line}")
    for refused in plan.refused:
        mend = f" ({refused.reason.mend})" if refused.reason.mend else ""
        err.print(f"can't be done now: {refused.change.what}: {refused.reason.message}{mend}")
    if not plan.changes:
        err.print("Nothing is to be changed on chain.")
        return
    for number, change in enumerate(plan.changes, 1):
        err.print(f"{number}. {change.what}")
    count = _count(len(plan.changes), "transaction")
    err.print(f"{count} by the owner {plan.owner}, about {show(plan.cost, coin, money)}.")


def _count(number: int, word: str) -> str:
    return f"{number} {word}{'' if number == 1 else 's'}"


def _plan_json(plan: UpdatePlan) -> dict[str, Any]:
    return {
        "owner": plan.owner,
        "owner_here": plan.owner_here,
        "changes": [change.what for change in plan.changes],
        "refused": [
            {"change": each.change.what, "code": each.reason.code, "reason": each.reason.message}
            for each in plan.refused
        ],
        "differs": [each.line for each in plan.differs],
        "stays": [str(each) for each in plan.stays],
        "gas": plan.cost.gas,
        "cost_wei": str(plan.cost.wei),
        "data_fee_included": plan.cost.data_fee_wei is not None,
    }
