"""`nftloyalty seal-keys`: the keys that secrets in the database are sealed with."""

from typing import Annotated

import typer

from nftloyalty.app import resealing
from nftloyalty.cli.session import confirm, err, out, print_json, print_table, running_app

group = typer.Typer(help="The keys that secrets in the database are sealed with.", no_args_is_help=True)


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="seal-keys")


@group.command("list")
def list_all(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """List the keys, oldest first, and how many secrets are sealed with each. The last one in the file seals.

    Example: nftloyalty seal-keys list
    """
    with running_app(ctx) as app:
        found = resealing.keys_of(app)
    if as_json:
        print_json(
            [{"id": each.id, "secrets": each.secrets, "here": each.here, "seals": each.newest} for each in found]
        )
        return
    if not found:
        out.print("There is no key: one is made with the first webhook endpoint.")
        return
    print_table(
        ("key", "secrets", "state"),
        [
            (each.id, f"{each.secrets:,}", "seals" if each.newest else "opens" if each.here else "missing")
            for each in found
        ],
    )


@group.command("add")
def add(ctx: typer.Context) -> None:
    """Seal with a new key from now on, and print its id. What was sealed before still opens.

    Example: nftloyalty seal-keys add
    """
    with running_app(ctx) as app:
        key = resealing.add_key(app)
        file = app.seal.file
    out.print(key)
    err.print(f"Copy {file} to every machine that runs a worker or a server, then `nftloyalty seal-keys reseal`.")


@group.command("reseal")
def reseal(ctx: typer.Context) -> None:
    """Seal every secret anew with the newest key, beside whatever runs. Interrupted, run it again.

    Example: nftloyalty seal-keys reseal
    """
    with running_app(ctx) as app:
        done = resealing.reseal(app)
    out.print(f"{done.count:,} {'secret is' if done.count == 1 else 'secrets are'} sealed anew.")
    if done.unread:
        out.print(f"Secrets of these endpoints can't be opened: {', '.join(done.unread)}.")
        out.print("Bring their key back, or make them new ones: `nftloyalty webhooks rotate ENDPOINT`.")
        raise typer.Exit(1)


@group.command("drop")
def drop(ctx: typer.Context, yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False) -> None:
    """Forget the keys with which nothing is sealed any more. An older backup of the database needs them.

    Example: nftloyalty seal-keys drop
    """
    with running_app(ctx) as app:
        unused = resealing.unused_keys(app)
        if unused:
            confirm(f"Older backups of the database need what is dropped: {', '.join(unused)}. Go on?", yes=yes)
        dropped = resealing.drop_keys(app)
    out.print(f"Dropped {', '.join(dropped)}." if dropped else "There is no key to drop.")
