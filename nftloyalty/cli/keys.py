"""`nftloyalty keys`: encrypted keys, keys in AWS KMS, and coins for them on development chains."""

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

group = typer.Typer(
    help="Make, import and show keys. They are stored encrypted, or stay in AWS KMS.", no_args_is_help=True
)

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


@group.command("add-kms")
def add_kms(
    ctx: typer.Context,
    name: Name,
    key_id: Annotated[str, typer.Option("--key-id", help="The key's ARN; or its id, or alias/<its alias>.")],
    region: Annotated[str, typer.Option("--region", help="AWS region, where the ARN does not name it.")] = "",
    endpoint: Annotated[str, typer.Option("--endpoint", help="Address of KMS, where it is not AWS's own.")] = "",
) -> None:
    """Use a key that never leaves AWS KMS (spec ECC_SECG_P256K1, for SIGN_VERIFY).

    Example: nftloyalty keys add-kms hot --key-id alias/hot
    """
    with running_app(ctx) as app:
        found = keyring.add_kms(app, name, keyring.KmsReference(key_id, region, endpoint))
        out.print(f"{name} {found.address}")
        err.print(f"It is {found.reference.key_id}. It signs for whoever AWS lets call kms:Sign on it.")


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
    """Show names, addresses and where each key lies; needs no password and asks nobody.

    Example: nftloyalty keys show
    """
    with running_app(ctx) as app:
        keys = {name: app.keystore.address(name) for name in names or app.keystore.names()}
        if as_json:
            print_json(keys)
            return
        rows = [(name, address, keyring.place_of(app, name)) for name, address in keys.items()]
        print_table(("key", "address", "where"), rows)


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
