"""`nftloyalty keys`: encrypted keys, and coins for them on development chains."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from nftloyalty.app import funding, keyring
from nftloyalty.cli.session import (
    choose_password,
    err,
    out,
    print_json,
    print_table,
    prompt_password,
    read_text,
    running_app,
    session_of,
)
from nftloyalty.errors import BadInput, Problem

group = typer.Typer(help="Make, import and show keys. They are stored encrypted.", no_args_is_help=True)

Name = Annotated[str, typer.Argument(help="The key's name, as program.toml calls it.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="keys")


@group.command("new")
def new(ctx: typer.Context, name: Name) -> None:
    """Make a new key.

    Example: nftloyalty keys new owner
    """
    with running_app(ctx) as app:
        app.keystore.check_name(name)
        address = app.keystore.create(name, choose_password(session_of(ctx).settings, name))
        out.print(f"{name} {address}")
        err.print(f"Back up {app.keystore.folder / (name + '.json')} and its password: nobody can make it anew.")


@group.command("import")
def import_key(
    ctx: typer.Context,
    name: Name,
    file: Annotated[
        Path | None, typer.Option("--file", help="File that holds the private key as hex; - reads it from stdin.")
    ] = None,
) -> None:
    """Take in an existing private key, asked for without showing it.

    Example: nftloyalty keys import owner
    """
    with running_app(ctx) as app:
        app.keystore.check_name(name)
        if file is None:
            private_key = prompt_password("Private key (64 hex digits, not shown): ")
        else:
            private_key = _stdin() if str(file) == "-" else read_text(file)
        keyring.parse_private_key(private_key)
        out.print(
            f"{name} {app.keystore.import_key(name, private_key, choose_password(session_of(ctx).settings, name))}"
        )


def _stdin() -> str:
    try:
        return sys.stdin.read()
    except UnicodeDecodeError:
        raise BadInput("stdin", [Problem("the private key", "is not text")]) from None


@group.command("show")
def show(
    ctx: typer.Context,
    names: Annotated[list[str] | None, typer.Argument(help="Only these keys.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show names and addresses; needs no password.

    Example: nftloyalty keys show
    """
    with running_app(ctx) as app:
        keys = {name: app.keystore.address(name) for name in names or app.keystore.names()}
        if as_json:
            print_json(keys)
            return
        print_table(("key", "address"), list(keys.items()))


@group.command("fund")
def fund(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A key's name or an address.")],
    coins: Annotated[float, typer.Option("--coins", min=0.000001, max=100_000, help="How many coins.")] = 10.0,
) -> None:
    """On a development chain (nftloyalty chain, anvil): give a key coins.

    Example: nftloyalty keys fund owner
    """
    with running_app(ctx) as app:
        address = keyring.address_of(app, name)
        funding.fund(app, address, int(coins * 10**18))
        out.print(f"{name} has {app.node.balance(address) / 10**18:,.4f} coins now.")
