"""`nftloyalty status`: one screen of how the program stands, and an exit status for whoever watches it."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from nftloyalty.app.status import OperatorState, SignerStatus, Status, coins, status_of
from nftloyalty.cli.session import out, print_json, print_table, running
from nftloyalty.cli.signers import age
from nftloyalty.domain.intent import OPEN_SLOT_STATES, SlotState
from nftloyalty.store.reports import EndpointLoad, IndexReport, LeaseReport

# In the order in which a transaction goes through them.
_STATES = [state for state in SlotState if state in OPEN_SLOT_STATES]


def add_to(app: typer.Typer) -> None:
    app.command("status")(status)


def status(ctx: typer.Context, as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False) -> None:
    """Show chain, index, signers and what needs a person; ends with status 1 if something does.

    Without a node it tells what the books know.

    Example: nftloyalty status
    """
    with running(ctx) as (app, program):
        found = status_of(app, program)
    if as_json:
        print_json(_json(found))
    else:
        _show(found)
    if found.needs_person:
        raise typer.Exit(1)


# --------------------------------------------------------------------------------------------------------- for people


def _show(found: Status) -> None:
    for name, told in _facts(found):
        out.print(f"{name:<9}{told}")
    out.print()
    print_table(
        ("key", "address", "powers", "coins", "next nonce", "on chain", "under way", "oldest", "waiting", "state"),
        [_row(each, found.asked_at) for each in found.signers],
    )
    for each in found.signers:
        for line in _details(each):
            out.print(line)
    if found.endpoints:
        out.print()
        print_table(
            ("webhook endpoint", "program", "state", "waiting", "oldest", "failing for", "delivered", "failed tries"),
            [_endpoint_row(each, found.asked_at) for each in found.endpoints],
        )
    out.print()
    needs = [state for state in found.states if state.needs_person]
    out.print("Needs a person:" if needs else "Nothing needs a person.")
    _list(needs)
    others = [state for state in found.states if not state.needs_person]
    if others:
        out.print("Good to know:")
        _list(others)


def _list(states: list[OperatorState]) -> None:
    for state in states:
        out.print(f"- {state.sentence}")
        out.print(f"  {state.mend}")


def _facts(found: Status) -> Iterator[tuple[str, str]]:
    chain = "none that the books know" if found.chain is None else f"chain {found.chain.chain_id}"
    yield "Program", f"{found.program} on {chain}"
    head = found.node.head
    yield "Node", f"{found.node.url} answers" if found.node.trouble is None else found.node.trouble
    if head is not None:
        old = age(found.asked_at - datetime.fromtimestamp(head.timestamp, UTC))
        yield "Head", f"block {head.number}, {old} old"
    for each in found.indexes:
        yield "Index", _index(each, found)
    if found.indexes:
        lease = found.index_lease
        yield "Indexer", "nobody" if lease is None else f"{lease.owner}, until {lease.until:%H:%M:%S} UTC"


def _index(each: IndexReport, found: Status) -> str:
    if each.block is None:
        return f"{each.program}: not begun"
    head = found.node.head
    parts = [f"{each.program}: block {each.block}"]
    if head is not None:
        parts.append(f"{max(0, head.number - each.block):,} behind")
    parts.append(f"final up to {each.final_block}")
    seen = "never" if each.confirmed_at is None else f"{age(found.asked_at - each.confirmed_at)} ago"
    parts.append(f"last at head {seen}")
    if each.incident is not None:
        parts.append(f"halted: {each.incident}")
    return ", ".join(parts)


def _row(each: SignerStatus, now: datetime) -> tuple[str, ...]:
    books = each.books
    return (
        each.name or "-",
        each.address,
        ",".join(each.powers) or "-",
        "?" if each.balance_wei is None else coins(each.balance_wei),
        "-" if books is None or books.next_nonce is None else str(books.next_nonce),
        "?" if each.nonce is None else str(each.nonce),
        str(sum(each.slots.values())),
        "-" if each.oldest is None else age(now - each.oldest),
        f"{each.waiting:,}",
        _state(each),
    )


def _endpoint_row(each: EndpointLoad, now: datetime) -> tuple[str, ...]:
    return (
        each.endpoint,
        each.program,
        each.state.value,
        f"{each.waiting:,}",
        "-" if each.oldest is None else age(now - each.oldest),
        "-" if each.failing_since is None else age(now - each.failing_since),
        f"{each.delivered:,}",
        f"{each.failed_tries:,}",
    )


def _state(each: SignerStatus) -> str:
    if each.books is None:
        return "never used"
    if each.books.halted is not None:
        return "halted"
    if not each.leased:
        return "idle"
    return "sending" if each.books.waits_for is None else "waits"


def _details(each: SignerStatus) -> Iterator[str]:
    books = each.books
    if books is None:
        return
    if each.slots:
        yield f"{each.shown} has under way: " + ", ".join(
            f"{each.slots[state]:,} {state.value}" for state in _STATES if state in each.slots
        )
    if books.waiting:
        yield f"{each.shown} has waiting: " + ", ".join(
            f"{group.count:,} {group.kind.value}" + (f" {group.stamp_type}" if group.stamp_type else "")
            for group in books.waiting
        )
    if each.leased:
        yield f"{each.shown} is used by {books.lease_owner} until {books.lease_until:%H:%M:%S} UTC"


# ------------------------------------------------------------------------------------------------------- for programs


def _json(found: Status) -> dict[str, Any]:
    """Names and meanings stay; further ones may come."""
    head = found.node.head
    return {
        "program": found.program,
        "asked_at": _iso(found.asked_at),
        "needs_person": found.needs_person,
        "chain_id": None if found.chain is None else found.chain.chain_id,
        "genesis_hash": None if found.chain is None else found.chain.genesis_hash,
        "node": {
            "url": found.node.url,
            "trouble": found.node.trouble,
            "head": None if head is None else head.number,
            "head_at": None if head is None else _iso(datetime.fromtimestamp(head.timestamp, UTC)),
        },
        "indexes": [
            {
                "program": each.program,
                "block": each.block,
                "behind": None if head is None or each.block is None else max(0, head.number - each.block),
                "final_block": each.final_block,
                "at_head_at": _iso(each.confirmed_at),
                "incident": each.incident,
            }
            for each in found.indexes
        ],
        "index_lease": _lease(found.index_lease),
        "signers": [_signer_json(each) for each in found.signers],
        "webhooks": [
            {
                "endpoint": each.endpoint,
                "program": each.program,
                "state": each.state.value,
                "why": each.why,
                "failing_since": _iso(each.failing_since),
                "waiting": each.waiting,
                "oldest_waiting_since": _iso(each.oldest),
                "delivered": each.delivered,
                "failed_tries": each.failed_tries,
            }
            for each in found.endpoints
        ],
        "states": [
            {"code": each.code, "sentence": each.sentence, "mend": each.mend, "needs_person": each.needs_person}
            for each in found.states
        ],
    }


def _signer_json(each: SignerStatus) -> dict[str, Any]:
    books = each.books
    return {
        "key": each.name,
        "address": each.address,
        "powers": list(each.powers),
        "balance_wei": None if each.balance_wei is None else str(each.balance_wei),
        "next_nonce": None if books is None else books.next_nonce,
        "chain_nonce": each.nonce,
        "open_slots": {state.value: each.slots.get(state, 0) for state in _STATES},
        "oldest_open_since": _iso(each.oldest),
        "waiting": [
            {"kind": group.kind.value, "stamp_type": group.stamp_type, "count": group.count}
            for group in (books.waiting if books is not None else ())
        ],
        "lease": _lease(LeaseReport(books.lease_owner, books.lease_until))
        if each.leased and books is not None and books.lease_owner is not None and books.lease_until is not None
        else None,
        "halted": None if books is None else books.halted,
        "waits_for": None if books is None else books.waits_for,
    }


def _lease(lease: LeaseReport | None) -> dict[str, str | None] | None:
    return None if lease is None else {"owner": lease.owner, "until": _iso(lease.until)}


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat().replace("+00:00", "Z")
