"""Powers: `roles`, `quota`, `pause`, `unpause`, `revoke`, `readmit`, `renew`, `tier`, `handover`."""

from collections.abc import Callable
from datetime import timedelta
from enum import StrEnum
from typing import Annotated

import typer

from nftloyalty.app import governing
from nftloyalty.app.acting import Done, Unsigned
from nftloyalty.app.context import App
from nftloyalty.app.governing import QuotaOf, Which
from nftloyalty.app.opening import Opened, opened
from nftloyalty.cli.session import err, out, print_json, print_table, running
from nftloyalty.cli.times import moment
from nftloyalty.cli.verifying import wallet_argument
from nftloyalty.domain.times import shown_end
from nftloyalty.domain.words import Role

roles = typer.Typer(help="Who may do what.", no_args_is_help=True)
quota = typer.Typer(help="How much can happen in one UTC day.", no_args_is_help=True)
handover = typer.Typer(help="Give the program to another owner, in two steps.", no_args_is_help=True)

Holder = Annotated[str, typer.Argument(help="The member's wallet.")]
Who = Annotated[str, typer.Argument(help="A key's name or an address.")]


class RoleName(StrEnum):
    MINTER = "minter"
    SIGNER = "signer"
    MANAGER = "manager"
    GUARDIAN = "guardian"

    @property
    def role(self) -> Role:
        return Role[self.name]


def add_to(app: typer.Typer) -> None:
    app.add_typer(roles, name="roles")
    app.add_typer(quota, name="quota")
    app.add_typer(handover, name="handover")
    for command in (pause, unpause, revoke, readmit, renew):
        app.command(command.__name__)(command)
    app.command("revoke-stamp")(revoke_stamp)
    app.command("tier")(set_tier)


def _do(ctx: typer.Context, act: Callable[[App, Opened], Done | Unsigned]) -> None:
    with running(ctx) as (app, program):
        # No spinner: it would be drawn over the question for a password.
        show_done(act(app, opened(app, program)))


def show_done(done: Done | Unsigned) -> None:
    """The transaction that was sent, or the one to sign elsewhere."""
    if isinstance(done, Done):
        out.print(f"Done in transaction {done.tx_hash}, block {done.block}{', final' if done.final else ''}.")
        return
    err.print(f"The key of {done.signer} is not here. Have it send this transaction (in a Safe: as custom data):")
    print_json(transaction_json(done))


def transaction_json(unsigned: Unsigned) -> dict[str, object]:
    """A transaction to be signed elsewhere, as wallets take it."""
    return {"from": unsigned.signer, "to": unsigned.to, "value": "0", "data": "0x" + unsigned.data.hex()}


def _tick() -> None:
    return None


# --------------------------------------------------------------------------------------------------------------- roles


@roles.command("show")
def roles_show(ctx: typer.Context) -> None:
    """Show what everyone named in program.toml may do on chain.

    Example: nftloyalty roles show
    """
    with running(ctx) as (app, program):
        holders = governing.role_holders(app, opened(app, program))
    rows = [
        (each.address, each.name or "-", _said(each.is_owner, each.roles), _said(each.wanted_owner, each.wanted))
        for each in holders
    ]
    print_table(("address", "key", "on chain", "in program.toml"), rows)


def _said(owner: bool, roles: Role) -> str:
    return ",".join((["owner"] if owner else []) + [str(role.name).lower() for role in Role if role in roles]) or "-"


@roles.command("grant")
def roles_grant(ctx: typer.Context, role: RoleName, who: Who) -> None:
    """Give a role; the owner's act.

    Example: nftloyalty roles grant minter hot2
    """
    _do(ctx, lambda app, here: governing.grant(app, here, role.role, who, _tick))


@roles.command("revoke")
def roles_revoke(ctx: typer.Context, role: RoleName, who: Who) -> None:
    """Take a role away; the owner's act.

    Example: nftloyalty roles revoke minter hot
    """
    _do(ctx, lambda app, here: governing.withdraw(app, here, role.role, who, _tick))


# --------------------------------------------------------------------------------------------------------------- quota


@quota.command("show")
def quota_show(ctx: typer.Context) -> None:
    """Show today's quotas and what is used of them.

    Example: nftloyalty quota show
    """
    with running(ctx) as (app, program):
        found = governing.quotas(opened(app, program))
    rows = [(each.which.value, each.kind.value, f"{each.used:,}", f"{each.limit:,}") for each in found]
    print_table(("of", "kind", "used today", "limit a day"), rows)


@quota.command("set")
def quota_set(
    ctx: typer.Context,
    which: Which,
    kind: QuotaOf,
    limit: Annotated[int, typer.Argument(min=0, max=(1 << 24) - 1, help="How many in one UTC day.")],
) -> None:
    """Change a daily limit: a guardian lowers, the owner raises.

    Example: nftloyalty quota set cards mint 2000
    """
    _do(ctx, lambda app, here: governing.set_quota(app, here, which, kind, limit, _tick))


# --------------------------------------------------------------------------------------------------------------- pause


def pause(ctx: typer.Context) -> None:
    """Stop minting, claims, renewals and tier changes at once.

    Example: nftloyalty pause
    """
    _do(ctx, lambda app, here: governing.pause(app, here, _tick))


def unpause(ctx: typer.Context) -> None:
    """End the pause; the owner's act.

    Example: nftloyalty unpause
    """
    _do(ctx, lambda app, here: governing.unpause(app, here, _tick))


# ------------------------------------------------------------------------------------------------------------- members


def revoke(
    ctx: typer.Context,
    holder: Holder,
    reason: Annotated[str, typer.Option("--reason", help="Why; it is public for ever.")],
) -> None:
    """Destroy a member's card.

    Example: nftloyalty revoke 0x7099...79C8 --reason "asked to be removed"
    """
    wallet = wallet_argument(holder, "holder")
    _do(ctx, lambda app, here: governing.revoke(app, here, wallet, reason, _tick))


def revoke_stamp(
    ctx: typer.Context,
    holder: Holder,
    stamp: Annotated[str, typer.Argument(help="The stamp's id in program.toml.")],
    reason: Annotated[str, typer.Option("--reason", help="Why; it is public for ever.")],
    may_return: Annotated[bool, typer.Option("--may-return", help="The wallet may get this stamp again.")] = False,
) -> None:
    """Destroy a member's stamp.

    Example: nftloyalty revoke-stamp 0x7099...79C8 latte --reason "mistake"
    """
    wallet = wallet_argument(holder, "holder")
    _do(
        ctx,
        lambda app, here: governing.revoke_stamp(
            app, here, wallet, here.program.stamp_number(stamp), may_return, reason, _tick
        ),
    )


def readmit(
    ctx: typer.Context,
    holder: Holder,
    tier: Annotated[str | None, typer.Option("--tier", help="Tier of the new card; default is the lowest.")] = None,
    expiry: Annotated[str | None, typer.Option("--expiry", help="A date or time; default is for life.")] = None,
) -> None:
    """Bring back a wallet that left or was revoked.

    Example: nftloyalty readmit 0x7099...79C8 --tier silver
    """
    wallet = wallet_argument(holder, "holder")

    def act(app: App, here: Opened) -> Done | Unsigned:
        number = here.program.tier(tier).number if tier is not None else 1
        expires_at = int(moment(expiry, "--expiry", app.now()).timestamp()) if expiry not in (None, "never") else 0
        return governing.readmit(app, here, wallet, number, expires_at, _tick)

    _do(ctx, act)


def renew(
    ctx: typer.Context,
    holder: Holder,
    until: Annotated[str | None, typer.Option("--until", help="The new expiry, a date or time.")] = None,
    days: Annotated[
        int | None,
        typer.Option("--days", min=1, max=36_500, help="Or so many days more."),
    ] = None,
) -> None:
    """Give a card a later expiry.

    Example: nftloyalty renew 0x7099...79C8 --days 365
    """
    if (until is None) == (days is None):
        raise typer.BadParameter("give one of --until and --days")
    wallet = wallet_argument(holder, "holder")
    with running(ctx) as (app, program):
        wanted = moment(until, "--until", app.now()) if until is not None else None
        term = timedelta(days=days) if days is not None else None
        renewal = governing.renew(app, opened(app, program), wallet, until=wanted, term=term, tick=_tick)
        if renewal.begun_at is not None:
            err.print(
                f"This was begun on {renewal.begun_at:%Y-%m-%d at %H:%M UTC} and is finished now; no further term was "
                "added. Run it again for one."
            )
        err.print(f"{wallet}: valid {shown_end(renewal.expires_at)}")
        show_done(renewal.outcome)
        governing.told(app, renewal)


def set_tier(ctx: typer.Context, holder: Holder, tier: Annotated[str, typer.Argument(help="The tier's id.")]) -> None:
    """Put a member on another tier.

    Example: nftloyalty tier 0x7099...79C8 gold
    """
    wallet = wallet_argument(holder, "holder")
    _do(ctx, lambda app, here: governing.set_tier(app, here, wallet, here.program.tier(tier).number, _tick))


# ------------------------------------------------------------------------------------------------------------ handover


@handover.command("request")
def handover_request(ctx: typer.Context, who: Who) -> None:
    """First step, by the new owner: ask for the program.

    Example: nftloyalty handover request new-owner
    """
    _do(ctx, lambda app, here: governing.request_handover(app, here, who, _tick))


@handover.command("complete")
def handover_complete(ctx: typer.Context, who: Who) -> None:
    """Second step, by the owner, within 14 days: hand it over.

    Example: nftloyalty handover complete new-owner
    """
    _do(ctx, lambda app, here: governing.complete_handover(app, here, who, _tick))
