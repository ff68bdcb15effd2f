"""Webhook endpoints: making and changing them, their secrets, a test message, sending again, and what became of it all.

A secret is shown once, when it is made. In the database it lies sealed, bound to its endpoint.
"""

import json
import secrets
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection

from nftloyalty.app.context import App
from nftloyalty.config import Secret
from nftloyalty.connect.posting import Answer
from nftloyalty.connect.reach import parse_target
from nftloyalty.connect.webhooks import secret_text, sign
from nftloyalty.domain.delivery import Message
from nftloyalty.domain.event import EventType
from nftloyalty.domain.times import iso
from nftloyalty.errors import BadInput, KeyProblem, Problem, Unknown
from nftloyalty.store import deliveries, delivery_log, events, replays, webhooks
from nftloyalty.store.delivery_log import KEPT, DeliveryRow
from nftloyalty.store.delivery_log import TryRow as TryRow
from nftloyalty.store.engine import begin, read
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.tables import DeliveryState as DeliveryState
from nftloyalty.store.tables import EndpointState
from nftloyalty.store.webhooks import EndpointRow

MOST_ENDPOINTS = 20
"""Of one program: each event is written down once for each."""

MOST_TYPES = 100
MOST_DESCRIPTION = 500
MOST_OVERLAP = timedelta(days=7)
USUAL_OVERLAP = timedelta(days=1)
TEST_TYPE = "webhook.test"
BY_HAND = "by hand"

_SECRET_BYTES = 32
# Events that are looked at in one transaction.
_REPLAYED_AT_ONCE = 5_000


@dataclass(frozen=True)
class Made:
    """An endpoint and its new secret, which can't be shown again."""

    endpoint: EndpointRow
    secret: Secret = field(repr=False)


@dataclass(frozen=True)
class Standing:
    """An endpoint, and until when a former secret is signed with as well."""

    endpoint: EndpointRow
    former_secret_until: datetime | None


def create(app: App, program: ProgramRow, url: str, *, types: Sequence[str] = (), description: str = "") -> Made:
    """A new endpoint, which gets what happens from now on. Raises BadInput.

    A name in the URL is not looked up now, but each time something is sent.
    """
    _check(app, url, types, description)
    endpoint_id = app.new_id("ep")
    with begin(app.engine) as tx:
        if len(webhooks.list_all(tx, program.id)) >= MOST_ENDPOINTS:
            what = f"has {MOST_ENDPOINTS} endpoints already"
            raise BadInput("the endpoint", [Problem("the program", what, "delete one that is not used any more")])
        endpoint = webhooks.add(
            tx,
            endpoint_id,
            program.id,
            url=url,
            types=sorted(set(types)),
            description=description,
            now=app.now(),
        )
        secret = _new_secret(app, tx, endpoint, app.now())
    return Made(endpoint, secret)


def all_of(app: App, program: ProgramRow) -> list[Standing]:
    """The program's endpoints, oldest first, but for deleted ones."""
    with read(app.engine) as tx:
        return [_standing(app, tx, each) for each in webhooks.list_all(tx, program.id)]


def one(app: App, program: ProgramRow, endpoint_id: str) -> Standing:
    """Raises Unknown."""
    with read(app.engine) as tx:
        return _standing(app, tx, webhooks.get(tx, program.id, endpoint_id))


def as_json(standing: Standing) -> dict[str, Any]:
    """An endpoint as it is shown. Its secret is not."""
    endpoint = standing.endpoint
    return {
        "id": endpoint.public_id,
        "url": endpoint.url,
        "types": list(endpoint.types),
        "description": endpoint.description,
        "state": endpoint.state.value,
        "why": endpoint.why,
        "created_at": iso(endpoint.created_at),
        "failing_since": iso(endpoint.failing_since),
        "next_at": iso(endpoint.next_at),
        "waiting": endpoint.waiting,
        "former_secret_until": iso(standing.former_secret_until),
    }


def delivery_json(row: DeliveryRow) -> dict[str, Any]:
    """A line of an endpoint's log."""
    return {
        "number": row.id,
        "event": row.event_id,
        "type": row.type,
        "object": row.object,
        "state": row.state.value,
        "tries": row.tries,
        "next_at": iso(row.next_at),
        "created_at": iso(row.created_at),
        "delivered_at": iso(row.delivered_at),
        "status": row.status,
        "error": row.error,
    }


def try_json(row: TryRow) -> dict[str, Any]:
    """One time that an event was sent."""
    return {"at": iso(row.at), "milliseconds": row.milliseconds, "status": row.status, "error": row.error}


def update(
    app: App,
    program: ProgramRow,
    endpoint_id: str,
    *,
    url: str | None = None,
    types: Sequence[str] | None = None,
    description: str | None = None,
) -> EndpointRow:
    """Change what is given. What waits already is sent to the new URL, of whatever type. Raises BadInput, Unknown."""
    with begin(app.engine) as tx:
        endpoint = _held(tx, program, endpoint_id)
        _check(app, endpoint.url if url is None else url, types or (), description or "")
        values: dict[str, Any] = {}
        if url is not None:
            # How the former one did says nothing of it.
            values |= {"url": url, "failing_since": None, "failures": 0, "next_at": None}
        if types is not None:
            values["types"] = sorted(set(types))
        if description is not None:
            values["description"] = description
        return webhooks.change(tx, endpoint.id, values) if values else endpoint


def rotate(app: App, program: ProgramRow, endpoint_id: str, overlap: timedelta = USUAL_OVERLAP) -> Made:
    """A new secret. Messages are signed with the former ones too until `overlap` is over. Raises BadInput, Unknown."""
    if not timedelta(0) <= overlap <= MOST_OVERLAP:
        what = f"is not from 0 to {MOST_OVERLAP // timedelta(hours=1)} hours"
        raise BadInput("the endpoint", [Problem("overlap", what, "give the receiver a day, say")])
    with begin(app.engine) as tx:
        endpoint = _held(tx, program, endpoint_id)
        return Made(endpoint, _new_secret(app, tx, endpoint, app.now() + overlap))


def disable(app: App, program: ProgramRow, endpoint_id: str) -> EndpointRow:
    """Send nothing more. What waits is given up; it can be replayed once the endpoint is enabled. Raises Unknown."""
    with begin(app.engine) as tx:
        endpoint = _held(tx, program, endpoint_id)
        return (
            endpoint
            if endpoint.state is EndpointState.DISABLED
            else deliveries.disable(tx, endpoint, BY_HAND, app.now())
        )


def enable(app: App, program: ProgramRow, endpoint_id: str) -> EndpointRow:
    """Send what happens from now on. What was missed meanwhile is for `replay`. Raises Unknown."""
    with begin(app.engine) as tx:
        endpoint = _held(tx, program, endpoint_id)
        return endpoint if endpoint.state is EndpointState.ACTIVE else webhooks.enable(tx, endpoint.id)


def delete(app: App, program: ProgramRow, endpoint_id: str) -> None:
    """Disable it for good and forget its secrets. Its log stays. Doing it again changes nothing. Raises Unknown."""
    with begin(app.engine) as tx:
        endpoint = webhooks.hold(tx, program.id, endpoint_id)
        if endpoint.state is not EndpointState.DELETED:
            deliveries.disable(tx, endpoint, BY_HAND, app.now(), EndpointState.DELETED)
            webhooks.forget_secrets(tx, endpoint.id)


def send_test(app: App, program: ProgramRow, endpoint_id: str) -> Answer:
    """Send a message of the type `webhook.test` once, now, also to a disabled endpoint, and tell how that went. It is
    no event and is not in the log. Raises Unknown, BadInput for a deleted one, and KeyProblem."""
    with read(app.engine) as tx:
        endpoint = _living(webhooks.get(tx, program.id, endpoint_id))
        sealed = webhooks.sealed_secrets(tx, [endpoint.id], app.now()).get(endpoint.id, [])
    now = app.now()
    message = Message(
        id=app.new_id("evt"),
        program=program.slug,
        type=TEST_TYPE,
        phase="final",
        object=f"endpoint:{endpoint_id}",
        sequence=1,
        data={},
        at=now,
    )
    body = message.body()
    return app.poster.post(
        endpoint.url, body, sign(unsealed(app, program.id, endpoint_id, sealed), message.id, now, body)
    )


def replay_one(app: App, program: ProgramRow, endpoint_id: str, event_id: str) -> int:
    """Send this event again, or for the first time. 0 if it waits to be sent already. Raises Unknown, BadInput."""
    with begin(app.engine) as tx:
        endpoint = _active(tx, program, endpoint_id)
        return replays.replay_one(tx, endpoint, _event(tx, program, event_id), app.now())


def replay(
    app: App,
    program: ProgramRow,
    endpoint_id: str,
    *,
    first: str | None = None,
    since: datetime | None = None,
    until: datetime | None = None,
    also_delivered: bool = False,
) -> int:
    """Send what an endpoint should have got and has not, of the event `first` and all later ones, or of those written
    down from `since` on and before `until`; with `also_delivered` what it has got, too. Returns how many deliveries
    wait again. Run again after it was killed, it goes on. Raises Unknown, and BadInput also for a range that begins
    before what is known of deliveries, unless all of it is to be sent.
    """
    count = 0
    with read(app.engine) as tx:
        after = 0 if first is None else _event(tx, program, first) - 1
        endpoint = webhooks.get(tx, program.id, endpoint_id)
        if not also_delivered and replays.is_forgotten(tx, endpoint, app.now(), after=after, since=since, until=until):
            what = f"begins more than {KEPT.days} days ago, and what was delivered then is forgotten"
            raise BadInput(
                "the replay", [Problem("the range", what, "begin later, or ask for what was delivered, too")]
            )
    last: int | None = after
    while last is not None:
        # In parts, so that others write meanwhile. An object's events stay in order: parts go forward.
        with begin(app.engine) as tx:
            replayed = replays.replay_range(
                tx,
                _active(tx, program, endpoint_id),
                app.now(),
                after=last,
                since=since,
                until=until,
                also_delivered=also_delivered,
                limit=_REPLAYED_AT_ONCE,
            )
        count, last = count + replayed.count, replayed.last
    return count


def log_of(
    app: App,
    program: ProgramRow,
    endpoint_id: str,
    *,
    state: DeliveryState | None = None,
    before: int | None = None,
    limit: int = 100,
) -> list[DeliveryRow]:
    """An endpoint's deliveries, newest first, after the one whose id is `before`. Raises Unknown."""
    with read(app.engine) as tx:
        endpoint = webhooks.get(tx, program.id, endpoint_id)
        return delivery_log.of_endpoint(tx, endpoint.id, state=state, before=before, limit=limit)


def tries_of(app: App, program: ProgramRow, endpoint_id: str, event_id: str) -> list[TryRow]:
    """Every time that an event was sent to an endpoint, oldest first. Raises Unknown."""
    with read(app.engine) as tx:
        endpoint = webhooks.get(tx, program.id, endpoint_id)
        return delivery_log.tries_of(tx, endpoint.id, _event(tx, program, event_id))


def unsealed(app: App, program: int, endpoint_id: str, sealed: Sequence[bytes]) -> list[bytes]:
    """An endpoint's secrets. Raises KeyProblem where there are none, too."""
    if not sealed:
        raise KeyProblem(
            f"the webhook endpoint {endpoint_id} has no secret",
            mend=f"make one: `nftloyalty webhooks rotate {endpoint_id}`",
        )
    return [app.seal.unseal(each, sealed_about(program, endpoint_id)) for each in sealed]


def _new_secret(app: App, tx: Connection, endpoint: EndpointRow, former_until: datetime) -> Secret:
    if not app.seal.exists and webhooks.any_secret(tx):
        # A new key would seal what no other machine can open, and hide that the right one is missing.
        raise KeyProblem(
            f"there is no key file {app.seal.file}, and this database holds secrets that are sealed with it",
            mend="put its backup in its place, or copy it from the machine that has it",
        )
    secret = secrets.token_bytes(_SECRET_BYTES)
    sealed = app.seal.seal(secret, sealed_about(endpoint.program, endpoint.public_id))
    webhooks.add_secret(tx, endpoint.id, sealed, app.now(), former_until)
    return Secret(secret_text(secret))


def sealed_about(program: int, endpoint_id: str) -> bytes:
    """What an endpoint's secrets are sealed about. Both are the same in a restored database."""
    return json.dumps(["webhook secret", program, endpoint_id]).encode()


def _standing(app: App, tx: Connection, endpoint: EndpointRow) -> Standing:
    return Standing(endpoint, webhooks.former_until(tx, endpoint.id, app.now()))


def _event(tx: Connection, program: ProgramRow, event_id: str) -> int:
    """The row of one of the program's events. Raises Unknown."""
    found = events.by_public_id(tx, program.id, event_id)
    if found is None:
        raise Unknown(f"there is no event {event_id!r}")
    return found.id


def _held(tx: Connection, program: ProgramRow, endpoint_id: str) -> EndpointRow:
    return _living(webhooks.hold(tx, program.id, endpoint_id))


def _living(endpoint: EndpointRow) -> EndpointRow:
    if endpoint.state is EndpointState.DELETED:
        what = "is deleted, which is for good"
        raise BadInput("the endpoint", [Problem(endpoint.public_id, what, "create another one")])
    return endpoint


def _active(tx: Connection, program: ProgramRow, endpoint_id: str) -> EndpointRow:
    endpoint = _held(tx, program, endpoint_id)
    if endpoint.state is not EndpointState.ACTIVE:
        raise BadInput("the endpoint", [Problem(endpoint_id, "is disabled, and would get nothing", "enable it first")])
    return endpoint


def _check(app: App, url: str, types: Sequence[str], description: str) -> None:
    problems: list[Problem] = []
    try:
        parse_target(url, app.settings.webhook_networks)
    except BadInput as wrong:
        problems += wrong.problems
    problems += [
        Problem("types", f"{each!r} is not the type of an event", f"there are {', '.join(EventType)}")
        for each in types
        if each not in set(EventType)
    ]
    if len(types) > MOST_TYPES:
        problems.append(Problem("types", f"are more than {MOST_TYPES}", "name none to get all"))
    if len(description) > MOST_DESCRIPTION or not description.isprintable():
        what = f"is longer than {MOST_DESCRIPTION} characters, or has some that can't be shown"
        problems.append(Problem("description", what))
    if problems:
        raise BadInput("the endpoint", problems)
