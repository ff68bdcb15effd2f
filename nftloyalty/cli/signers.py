"""`nftloyalty signers`: how the keys that send stand, and letting a halted one go on."""

from datetime import datetime, timedelta
from typing import Annotated, Any

import typer

from nftloyalty.app import cancelling, signing
from nftloyalty.app.opening import attach
from nftloyalty.app.signing import Finding, Resumption, Standing, Use
from nftloyalty.app.status import sends
from nftloyalty.cli.session import confirm, err, out, print_json, print_table, running
from nftloyalty.domain.times import iso
from nftloyalty.errors import BadInput, Problem

group = typer.Typer(help="How the keys that send stand; letting a halted one go on.", invoke_without_command=True)

Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="signers")


@group.callback()
def default(ctx: typer.Context, as_json: Json = False) -> None:
    if ctx.invoked_subcommand is None:
        show(ctx, as_json)


@group.command("show")
def show(ctx: typer.Context, as_json: Json = False) -> None:
    """Show each key's balance, nonces, what it has under way and waiting, and why it is halted.

    Example: nftloyalty signers show
    """
    with running(ctx) as (app, program):
        found = signing.standings(app, attach(app, program), program)
        now = app.now()
    if as_json:
        print_json([_json(each) for each in found])
        return
    print_table(
        ("key", "address", "powers", "coins", "nonce", "next", "under way", "waiting", "state"),
        [_row(each, now) for each in found],
    )
    for each in found:
        for line in _details(each, now):
            out.print(line)


@group.command("cancel")
def cancel(
    ctx: typer.Context,
    key: Annotated[str, typer.Argument(help="The key's name or address.")],
    nonces: Annotated[list[int] | None, typer.Option("--nonce", min=0, help="This nonce; may be repeated.")] = None,
    everything: Annotated[bool, typer.Option("--all", help="Everything sent that no block holds.")] = False,
    as_json: Json = False,
) -> None:
    """Take back what was sent and no block holds, by an empty transaction in its place, and withdraw what was in it.

    It may be mined all the same: then it stands. Which of the two it is, is told once it is final. Ctrl-C is safe; who
    sends with this key next goes on with it.

    Example: nftloyalty signers cancel hot --nonce 812
    """
    if everything == bool(nonces):
        raise BadInput("the command", [Problem("signers cancel", "name what to take back: --nonce, or --all alone")])
    with running(ctx) as (app, program):
        ended = cancelling.cancel(
            app,
            attach(app, program),
            key,
            None if everything else nonces,
            finality_blocks=program.chain.finality_blocks,
            on_trouble=lambda trouble: err.print(f"{trouble.message}. Trying again; Ctrl-C is safe."),
        )
    if as_json:
        print_json([{"nonce": each.nonce, "withdrawn": each.withdrawn, "transaction": each.tx_hash} for each in ended])
        return
    if not ended:
        out.print("Nothing of this key is under way.")
    for each in ended:
        how = "taken back; what was in it is withdrawn" if each.withdrawn else "was mined before it could be taken back"
        out.print(f"Nonce {each.nonce} {how} ({each.tx_hash})")


def _row(each: Standing, now: datetime) -> tuple[str, ...]:
    books = each.books
    return (
        each.name or "-",
        each.address,
        ",".join(each.powers) or "-",
        f"{each.balance_wei / 10**18:.6f}",
        str(each.nonce),
        "-" if books is None or books.next_nonce is None else str(books.next_nonce),
        str(len(books.slots) if books else 0),
        f"{sum(group.count for group in books.waiting) if books else 0:,}",
        _state(each, now),
    )


def _state(each: Standing, now: datetime) -> str:
    books = each.books
    if each.halted is not None:
        return "halted"
    if books is not None and books.next_nonce is not None and each.nonce > books.next_nonce:
        return "behind the chain"
    return "in use" if sends(books, now) else "idle"


def _details(each: Standing, now: datetime) -> list[str]:
    books = each.books
    if books is None:
        return []
    name = each.name or each.address
    lines = []
    if books.halted is not None:
        lines.append(f"{name} is halted: {books.halted}")
        lines.append(f"  `nftloyalty signers resume {name}` looks at the chain and lets it go on")
    elif books.next_nonce is not None and each.nonce > books.next_nonce:
        lines.append(f"{name} is behind the chain: its key was used elsewhere, or the database is an old copy")
        lines.append(f"  `nftloyalty signers resume {name}` looks at the chain and lets it go on")
    if books.lease_until is not None and sends(books, now):
        lines.append(f"{name} is being used by {books.lease_owner} until {books.lease_until:%H:%M:%S} UTC")
    for group in books.waiting:
        what = f"{group.kind.value} {group.stamp_type}" if group.stamp_type else group.kind.value
        lines.append(f"{name} has {group.count:,} waiting of kind {what}")
    for slot in books.slots:
        said = f"; the node said: {slot.last_error}" if slot.last_error else ""
        lines.append(
            f"{name} nonce {slot.nonce}: {slot.kind.value}, {slot.state.value}, {age(now - slot.created_at)} old, "
            f"signed {slot.attempts} times, {slot.tx_hash or 'no transaction yet'}{said}"
        )
    return lines


def age(passed: timedelta) -> str:
    """A span of time in its largest whole unit."""
    seconds = max(0, int(passed.total_seconds()))
    for unit, length in (("d", 86_400), ("h", 3_600), ("min", 60)):
        if seconds >= length:
            return f"{seconds // length} {unit}"
    return f"{seconds} s"


def _json(each: Standing) -> dict[str, Any]:
    books = each.books
    return {
        "key": each.name,
        "address": each.address,
        "powers": list(each.powers),
        "balance_wei": str(each.balance_wei),
        "chain_nonce": each.nonce,
        "next_nonce": books.next_nonce if books else None,
        "halted": each.halted,
        "lease": {"owner": books.lease_owner, "until": iso(books.lease_until)} if books and books.lease_owner else None,
        "waiting": [
            {"kind": group.kind.value, "stamp_type": group.stamp_type, "count": group.count}
            for group in (books.waiting if books else ())
        ],
        "slots": [
            {
                "nonce": slot.nonce,
                "kind": slot.kind.value,
                "state": slot.state.value,
                "since": iso(slot.created_at),
                "attempts": slot.attempts,
                "transaction": slot.tx_hash,
                "last_error": slot.last_error,
            }
            for slot in (books.slots if books else ())
        ],
    }


@group.command("resume")
def resume(
    ctx: typer.Context,
    name: Annotated[str, typer.Argument(help="A key's name or an address.")],
    yes: Annotated[bool, typer.Option("--yes", help="Don't ask.")] = False,
) -> None:
    """Let a signer go on that disagrees with the chain, after looking up what its nonces were used for.

    Stop everything else that sends with this key first. If a newer copy of the database exists, put it back instead.

    Example: nftloyalty signers resume hot
    """
    with running(ctx) as (app, program):
        found = signing.look_into(app, attach(app, program), program, name)
        _tell(found)
        confirm(f"Write this down and go on with nonce {found.next_nonce}?", yes=yes)
        signing.resume(app, found)
    out.print(f"{name} goes on with nonce {found.next_nonce}. Run what was stopped again.")


def _tell(found: Resumption) -> None:
    if found.signer.halted is not None:
        err.print(f"Halted: {found.signer.halted}")
    if not found.uses:
        err.print("Chain and books agree by now: nobody else has used the key.")
    for use in found.uses:
        err.print(f"nonce {use.sent.nonce}, block {use.sent.block_number}, {use.sent.tx_hash}: {_said(use)}")
    if any(use.to_us and use.finding is not Finding.SLOT for use in found.uses):
        err.print(
            "Some were sent to your own contracts from another copy of this database. If that copy still exists, stop "
            "here and put it back: it knows more than this one."
        )


def _said(use: Use) -> str:
    if use.finding is Finding.SLOT:
        return "what these books wanted there, signed by another copy of them; it is taken in"
    if use.finding is Finding.COPY:
        parts = []
        if use.members:
            parts.append(f"carries out {len(use.members):,} of what waits here")
        if use.minted:
            parts.append(f"mints {len(use.minted):,} that these books never asked for")
        return " and ".join(parts) + "; taken in, so that nothing is sent twice"
    where = "one of your own contracts" if use.to_us else str(use.sent.to or "a new contract")
    failed = "" if use.succeeded else ", and failed"
    again = "; what these books wanted there waits again" if use.slot is not None else ""
    return f"sent to {where} by somebody else with this key{failed}; recorded as foreign{again}"
