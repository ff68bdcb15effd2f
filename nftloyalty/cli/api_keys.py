"""`nftloyalty api-keys`: who may ask the server over HTTP, and for what."""

from datetime import timedelta
from typing import Annotated

import typer

from nftloyalty.app import access
from nftloyalty.app.access import MadeKey
from nftloyalty.app.opening import opened
from nftloyalty.cli.session import err, out, print_json, print_table, running
from nftloyalty.cli.times import moment
from nftloyalty.domain.access import Scope

group = typer.Typer(help="Make, rotate and revoke the keys that requests over HTTP need.", no_args_is_help=True)

KeyId = Annotated[str, typer.Argument(help="The key's id, as `list` shows it; not the key itself.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="api-keys")


@group.command("create")
def create(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="Who uses it, in a few words.")],
    scopes: Annotated[
        list[str],
        typer.Option("--scope", help=f"What it is good for; give as many as needed: {', '.join(Scope)}."),
    ],
    publishable: Annotated[bool, typer.Option("--publishable", help="For pages in a browser.")] = False,
    origins: Annotated[
        list[str] | None, typer.Option("--origin", help="A page's origin that a publishable key is for.")
    ] = None,
    until: Annotated[str | None, typer.Option("--until", help="Good until then; default is for ever.")] = None,
) -> None:
    """Make a key and print it. It is shown this once; from the first key on, requests need one.

    Example: nftloyalty api-keys create "Web shop" --scope checks:read
    """
    with running(ctx) as (app, program):
        here = opened(app, program)
        expires_at = moment(until, "--until", app.now()) if until else None
        _show(
            access.create(
                app, here, name, scopes, publishable=publishable, origins=origins or (), expires_at=expires_at
            )
        )


@group.command("list")
def list_keys(
    ctx: typer.Context,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show all keys the program ever had, what they are good for, and when they were used last.

    Example: nftloyalty api-keys list
    """
    with running(ctx) as (app, program):
        now = app.now()
        keys = [access.as_json(row, now) for row in access.listed(app, opened(app, program))]
        if as_json:
            print_json([*keys])
            return
        if not keys:
            out.print("There are no API keys: only this machine may ask the server.")
            return
        rows = [
            (
                key["id"],
                key["name"],
                key["state"],
                ", ".join(key["scopes"]),
                _shown(key["last_used_at"]) or "never",
                _shown(key["revoked_at"] or key["expires_at"]) or "-",
                ", ".join(key["origins"]) or "-",
            )
            for key in keys
        ]
        print_table(("key", "name", "state", "scopes", "last used", "ends", "origins"), rows)


@group.command("rotate")
def rotate(
    ctx: typer.Context,
    key: KeyId,
    overlap_hours: Annotated[
        float, typer.Option("--overlap-hours", min=0, help="How long the old key is still good.")
    ] = access.USUAL_OVERLAP / timedelta(hours=1),
) -> None:
    """Make a key in the place of another one and print it; the old one is good for a day still.

    Example: nftloyalty api-keys rotate sk0ktv3m8q1b2c4d
    """
    with running(ctx) as (app, program):
        _show(access.rotate(app, opened(app, program), key, timedelta(hours=overlap_hours)))


@group.command("revoke")
def revoke(ctx: typer.Context, key: KeyId) -> None:
    """End a key at once: servers refuse it within a second.

    Example: nftloyalty api-keys revoke sk0ktv3m8q1b2c4d
    """
    with running(ctx) as (app, program):
        row = access.revoke(app, opened(app, program), key)
        out.print(f"{row.public_id} ({row.name}) is revoked.")


def _show(made: MadeKey) -> None:
    out.print(made.text)
    err.print(f"This is the key {made.row.public_id} ({made.row.name}). Keep it now: it is not shown again.")


def _shown(moment: str | None) -> str:
    return "" if moment is None else moment[:16].replace("T", " ")
