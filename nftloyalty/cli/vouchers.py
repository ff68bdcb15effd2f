"""`nftloyalty vouchers`: signed promises of a card or a stamp, which members claim without paying anything."""

import errno
import json
import os
import secrets
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from nftloyalty.app import claiming
from nftloyalty.app.contracts import own_contracts
from nftloyalty.app.opening import opened
from nftloyalty.cli.session import cant_write, err, out, print_json, running
from nftloyalty.cli.times import expiry as expiry_option
from nftloyalty.cli.times import moment
from nftloyalty.cli.verifying import wallet_argument
from nftloyalty.domain.times import shown_end
from nftloyalty.domain.voucher import USUAL_TERM, last_second, signed_to_json
from nftloyalty.errors import BadInput, Problem

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
    file: Annotated[Path | None, typer.Option("--out", help="Write it to this new file instead of stdout.")] = None,
) -> None:
    """Sign a voucher and print it as JSON, ready for POST /v1/claim.

    Example: nftloyalty vouchers create --to 0x7099...79C8 --tier gold
    """
    if stamp is not None and (tier is not None or expiry is not None):
        what = "a stamp has neither tier nor expiry"
        raise BadInput("the command", [Problem("--stamp", what, "leave --tier and --expiry out")])
    if file is not None:
        _check_new(file)
    with running(ctx) as (app, program):
        wallet = wallet_argument(to, "--to")
        now: datetime = app.now()
        deadline = last_second(moment(until, "--until", now) if until else now + USUAL_TERM)
        here = opened(app, program)
        contracts = own_contracts(here)
        if wallet in contracts:
            raise BadInput("the command", [Problem("--to", f"{wallet} is {contracts[wallet]}, not a wallet")])
        if stamp is not None:
            number = program.stamp_number(stamp)
            obstacle = claiming.obstacle(app, here, wallet, number)
            signed = claiming.create_stamp(app, here, wallet, stamp_type=number, deadline=deadline)
        else:
            number = program.tier(tier).number if tier is not None else 1
            expires_at = expiry_option(expiry, "--expiry", now)
            obstacle = claiming.obstacle(app, here, wallet)
            signed = claiming.create_card(app, here, wallet, tier=number, expires_at=expires_at, deadline=deadline)
        if file is None:
            print_json(signed_to_json(signed))
        else:
            _write_new(file, json.dumps(signed_to_json(signed), indent=2, sort_keys=True) + "\n")
            out.print(f"Wrote {file}.")
        err.print(f"It can be claimed {shown_end(signed.voucher.deadline + 1)}.")
        if obstacle is not None:
            err.print(f"Warning: {wallet} {obstacle}. As things stand, the claim would be refused.")


def _check_new(path: Path) -> None:
    """Raises BadInput if something is there, or no folder for it: before a password is asked and anything is signed."""
    if os.path.lexists(path):
        raise _taken(path)
    if not path.parent.is_dir():
        raise cant_write(path, FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT)))


def _write_new(path: Path, text: str) -> None:
    """Write a file that was not there, whole or not at all. Raises BadInput.

    The text is written beside it first and then given the name, which the system does in one step and only if the name
    is free. Where links can't be made (FAT), the file is made under its name and taken away again if that fails.
    """
    beside = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    try:
        try:
            _write(beside, text)
            try:
                path.hardlink_to(beside)
            except FileExistsError:
                raise
            except OSError:
                _write(path, text)
        finally:
            with suppress(OSError):
                beside.unlink()
    except FileExistsError:
        raise _taken(path) from None
    except OSError as failure:
        raise cant_write(path, failure) from None


def _write(path: Path, text: str) -> None:
    with path.open("x", encoding="utf-8", newline="\n") as file:
        try:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        except BaseException:
            path.unlink()
            raise


def _taken(path: Path) -> BadInput:
    return BadInput(str(path), [Problem(str(path), "is there already", "name another file, or remove it first")])
