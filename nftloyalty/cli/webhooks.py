"""`nftloyalty webhooks`: where events are sent to, and what became of them."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from typing import Annotated

import typer

from nftloyalty.app import endpoints
from nftloyalty.app.context import App
from nftloyalty.app.endpoints import DeliveryState
from nftloyalty.app.opening import Opened, opened
from nftloyalty.cli.session import confirm, err, out, print_json, print_table, running
from nftloyalty.cli.signers import age
from nftloyalty.domain.times import DAY_SECONDS, FORMS, WrongTime, at, parse_end
from nftloyalty.errors import BadInput, Problem

MOST_LINES = 1_000

group = typer.Typer(help="Where events are sent to, and what became of them.", no_args_is_help=True)

Endpoint = Annotated[str, typer.Argument(metavar="ENDPOINT", help="Its id, as `webhooks list` shows it.")]
Types = Annotated[list[str] | None, typer.Option("--type", help="Only events of this type; may be given often.")]
Json = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Yes = Annotated[bool, typer.Option("--yes", help="Do not ask.")]


def add_to(app: typer.Typer) -> None:
    app.add_typer(group, name="webhooks")


@contextmanager
def _here(ctx: typer.Context) -> Iterator[tuple[App, Opened]]:
    with running(ctx) as (app, program):
        yield app, opened(app, program)


@group.command("create")
def create(
    ctx: typer.Context,
    url: Annotated[str, typer.Argument(help="Where to: an https:// address that anyone can reach.")],
    types: Types = None,
    description: Annotated[str, typer.Option("--description", help="For yourself.")] = "",
) -> None:
    """Send what happens from now on to an address. Prints the endpoint's id and, on a line of its own, its secret.

    Example: nftloyalty webhooks create https://shop.example/hooks
    """
    with _here(ctx) as (app, here):
        made = endpoints.create(app, here.row, url, types=types or (), description=description)
    out.print(made.endpoint.public_id)
    out.print(made.secret.reveal())
    err.print("The second line is the secret that messages are signed with. It is not shown again.")


@group.command("list")
def list_all(ctx: typer.Context, as_json: Json = False) -> None:
    """List the endpoints and how they do.

    Example: nftloyalty webhooks list
    """
    with _here(ctx) as (app, here):
        found = endpoints.all_of(app, here.row)
        now = app.now()
    if as_json:
        print_json([endpoints.as_json(each) for each in found])
        return
    if not found:
        out.print("There is no endpoint.")
        return
    print_table(
        ("endpoint", "state", "waiting", "failing for", "types", "url"),
        [
            (
                each.endpoint.public_id,
                each.endpoint.state.value,
                f"{each.endpoint.waiting:,}",
                age(now - each.endpoint.failing_since) if each.endpoint.failing_since else "-",
                ",".join(each.endpoint.types) or "all",
                each.endpoint.url,
            )
            for each in found
        ],
    )


@group.command("show")
def show(ctx: typer.Context, endpoint: Endpoint) -> None:
    """Show one endpoint as JSON. Its secret is not shown.

    Example: nftloyalty webhooks show ep_0h3v...
    """
    with _here(ctx) as (app, here):
        print_json(endpoints.as_json(endpoints.one(app, here.row, endpoint)))


@group.command("update")
def update(
    ctx: typer.Context,
    endpoint: Endpoint,
    url: Annotated[str | None, typer.Option("--url", help="Send there from now on, what waits too.")] = None,
    types: Types = None,
    all_types: Annotated[bool, typer.Option("--all-types", help="Events of every type.")] = False,
    description: Annotated[str | None, typer.Option("--description", help="For yourself.")] = None,
) -> None:
    """Change an endpoint's address, types or description.

    Example: nftloyalty webhooks update ep_0h3v... --type stamp.created
    """
    if types and all_types:
        raise BadInput("the command", [Problem("--all-types", "is given beside --type", "leave one of them out")])
    wanted: Sequence[str] | None = () if all_types else types or None
    if url is None and wanted is None and description is None:
        what = "says nothing to change"
        raise BadInput(
            "the command", [Problem("the command", what, "give --url, --type, --all-types or --description")]
        )
    with _here(ctx) as (app, here):
        endpoints.update(app, here.row, endpoint, url=url, types=wanted, description=description)
    out.print(f"Changed {endpoint}.")


@group.command("rotate")
def rotate(
    ctx: typer.Context,
    endpoint: Endpoint,
    overlap: Annotated[
        float, typer.Option("--overlap", help="Hours in which messages are signed with the former secret, too.")
    ] = endpoints.USUAL_OVERLAP / timedelta(hours=1),
) -> None:
    """Make a new secret and print it. Use --overlap 0 where the former one is in wrong hands.

    Example: nftloyalty webhooks rotate ep_0h3v... --overlap 48
    """
    hours = min(max(overlap, -1.0), 1e6) if overlap == overlap else -1.0
    with _here(ctx) as (app, here):
        made = endpoints.rotate(app, here.row, endpoint, timedelta(hours=hours))
        until = app.now() + timedelta(hours=hours)
    out.print(made.secret.reveal())
    signed = f"Messages are signed with the former one too until {until:%Y-%m-%d %H:%M} UTC. " if hours else ""
    err.print(f"{signed}It is not shown again.")


@group.command("disable")
def disable(ctx: typer.Context, endpoint: Endpoint, yes: Yes = False) -> None:
    """Send nothing more to an endpoint. What waits for it is given up, and can be replayed.

    Example: nftloyalty webhooks disable ep_0h3v...
    """
    with _here(ctx) as (app, here):
        waiting = endpoints.one(app, here.row, endpoint).endpoint.waiting
        if waiting:
            confirm(f"{waiting:,} deliveries wait for it and are given up. Go on?", yes=yes)
        endpoints.disable(app, here.row, endpoint)
    out.print(f"Disabled {endpoint}.")


@group.command("enable")
def enable(ctx: typer.Context, endpoint: Endpoint) -> None:
    """Send what happens from now on to a disabled endpoint. What it missed is for `webhooks replay`.

    Example: nftloyalty webhooks enable ep_0h3v...
    """
    with _here(ctx) as (app, here):
        endpoints.enable(app, here.row, endpoint)
    out.print(f"Enabled {endpoint}.")


@group.command("delete")
def delete(ctx: typer.Context, endpoint: Endpoint, yes: Yes = False) -> None:
    """Disable an endpoint for good and forget its secrets. Its log stays.

    Example: nftloyalty webhooks delete ep_0h3v...
    """
    with _here(ctx) as (app, here):
        endpoints.one(app, here.row, endpoint)
        confirm(f"{endpoint} can't be enabled again. Go on?", yes=yes)
        endpoints.delete(app, here.row, endpoint)
    out.print(f"Deleted {endpoint}.")


@group.command("test")
def test(ctx: typer.Context, endpoint: Endpoint) -> None:
    """Send a message of the type webhook.test now, once. Ends with status 1 if it is not received.

    Example: nftloyalty webhooks test ep_0h3v...
    """
    with _here(ctx) as (app, here):
        answer = endpoints.send_test(app, here.row, endpoint)
    if answer.taken:
        out.print(f"Received: it answered {answer.status} after {answer.milliseconds} ms.")
        return
    out.print(f"Not received: {answer.error or f'it answered {answer.status}'}.")
    raise typer.Exit(1)


@group.command("replay")
def replay(
    ctx: typer.Context,
    endpoint: Endpoint,
    event: Annotated[str | None, typer.Option("--event", help="This event, also if it was delivered.")] = None,
    first: Annotated[str | None, typer.Option("--from-event", help="This event and all after it.")] = None,
    since: Annotated[str | None, typer.Option("--since", help="Events from then on: a date or a time.")] = None,
    until: Annotated[
        str | None, typer.Option("--until", help="Events up to then: a date (all of it) or a time.")
    ] = None,
    delivered: Annotated[bool, typer.Option("--delivered", help="Those that were delivered, too.")] = False,
) -> None:
    """Send events again, or for the first time: one, or all of a range that the endpoint has not got. Each object's
    events stay in order, and ids are the same as before.

    Example: nftloyalty webhooks replay ep_0h3v... --since 2026-03-01T00:00:00Z
    """
    if (event is not None) == any(each is not None for each in (first, since, until)):
        what = "says either which event, or which range"
        raise BadInput("the command", [Problem("the command", what, "give --event, or --from-event, --since, --until")])
    with _here(ctx) as (app, here):
        if event is not None:
            count = endpoints.replay_one(app, here.row, endpoint, event)
        else:
            count = endpoints.replay(
                app,
                here.row,
                endpoint,
                first=first,
                since=_moment(since, "--since", starts=True),
                until=_moment(until, "--until"),
                also_delivered=delivered,
            )
    out.print(f"{count:,} {'delivery waits' if count == 1 else 'deliveries wait'} to be sent.")


@group.command("log")
def log(
    ctx: typer.Context,
    endpoint: Endpoint,
    event: Annotated[str | None, typer.Option("--event", help="Every try of this event.")] = None,
    state: Annotated[DeliveryState | None, typer.Option("--state", help="Only these.")] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, max=MOST_LINES, help="So many, newest first.")] = 50,
    before: Annotated[int | None, typer.Option("--before", help="Go on after the line of this number.")] = None,
    as_json: Json = False,
) -> None:
    """Show what was sent to an endpoint, newest first, or each try of one event.

    Example: nftloyalty webhooks log ep_0h3v... --state given-up
    """
    with _here(ctx) as (app, here):
        if event is not None:
            _print_tries(endpoints.tries_of(app, here.row, endpoint, event), as_json)
            return
        found = endpoints.log_of(app, here.row, endpoint, state=state, before=before, limit=limit)
    if as_json:
        print_json([endpoints.delivery_json(each) for each in found])
        return
    print_table(
        ("number", "event", "type", "object", "state", "tries", "last answer"),
        [
            (
                str(each.id),
                each.event_id,
                each.type,
                each.object,
                each.state.value,
                str(each.tries),
                _answer(each.status, each.error),
            )
            for each in found
        ],
    )


def _print_tries(found: Sequence[endpoints.TryRow], as_json: bool) -> None:
    if as_json:
        print_json([endpoints.try_json(each) for each in found])
        return
    print_table(
        ("at", "ms", "answer"),
        [
            (f"{each.at:%Y-%m-%d %H:%M:%S} UTC", str(each.milliseconds), _answer(each.status, each.error))
            for each in found
        ],
    )


def _answer(status: int | None, error: str | None) -> str:
    return str(status) if status is not None else error or "-"


def _moment(text: str | None, name: str, *, starts: bool = False) -> datetime | None:
    """A time, or the end of a day, its first moment where something `starts`. Raises BadInput."""
    if text is None:
        return None
    try:
        end = parse_end(text)
        is_day = len(text) == len("2030-12-31")
        return at(end - DAY_SECONDS if starts and is_day else end)
    except WrongTime as wrong:
        raise BadInput("the command", [Problem(name, f"{text!r} {wrong.what}", wrong.mend or FORMS)]) from None
