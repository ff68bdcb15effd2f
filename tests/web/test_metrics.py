"""What Prometheus is told, by its own parser; and that docs/operating.md lists it."""

import re
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx2
from prometheus_client import Metric
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine

from nftloyalty import __version__
from nftloyalty.app import claiming
from nftloyalty.app.indexing import catch_up
from nftloyalty.store import deliveries, index, index_steps, signers
from nftloyalty.store.engine import begin, open_engine
from nftloyalty.web.app import create_watch
from nftloyalty.web.deps import Service
from tests.app.build import World, new_wallet
from tests.store.happenings import claim, endpoint, happen, settle, went
from tests.web.conftest import serving

GUIDE = (Path(__file__).parents[2] / "docs" / "operating.md").read_text(encoding="utf-8")


def scraped(client: httpx2.Client) -> dict[str, Metric]:
    answer = client.get("/metrics")
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("text/plain; version=")
    return {family.name: family for family in text_string_to_metric_families(answer.text)}


def value(families: dict[str, Metric], sample: str, **labels: str) -> float:
    """Of the one sample of this name with at least these labels."""
    (found,) = (
        each.value
        for family in families.values()
        for each in family.samples
        if each.name == sample and labels.items() <= each.labels.items()
    )
    return found


def test_the_books_are_told_without_the_node(world: World) -> None:
    deadline = world.app.now() + timedelta(days=1)
    for _ in range(3):
        signed = claiming.create_card(world.app, world.here, new_wallet(), tier=1, expires_at=0, deadline=deadline)
        claiming.accept_claim(world.app, world.here, signed)
    at = catch_up(world.app, world.here.attached, None)
    asked: list[str] = []
    here = world.here

    class Deaf:
        def __getattr__(self, name: str) -> object:
            asked.append(name)
            raise AssertionError(f"the node was asked for {name}")

    deaf = replace(world.app, node=Deaf())  # type: ignore[arg-type]
    with serving(Service(deaf, here, None)) as client:
        found = scraped(client)
    assert asked == []
    hot, program = world.address("hot"), world.program.id
    assert value(found, "nftloyalty_build_info", version=__version__) == 1
    assert value(found, "nftloyalty_database_up") == 1
    assert value(found, "nftloyalty_index_block", program=program) == at.lowest
    assert value(found, "nftloyalty_index_final_block", program=program) == at.lowest
    assert 0 <= value(found, "nftloyalty_index_age_seconds", program=program) < 60
    assert value(found, "nftloyalty_index_incident", program=program) == 0
    assert value(found, "nftloyalty_index_lease_seconds") == 0
    assert value(found, "nftloyalty_signer_waiting_intents", signer=hot, program=program, kind="claim-card") == 3
    assert 0 < value(found, "nftloyalty_signer_oldest_waiting_seconds", signer=hot) < 60
    for name in ("in_flight_transactions", "included_transactions", "oldest_in_flight_seconds", "halted", "waits"):
        assert value(found, f"nftloyalty_signer_{name}", signer=hot) == 0, name
    assert value(found, "nftloyalty_signer_lease_seconds", signer=hot) == 0


def test_what_stands_still_is_told(world: World, idle: httpx2.Client) -> None:
    here = world.here
    catch_up(world.app, here.attached, None)
    with begin(world.app.engine) as tx:
        at = index.position(tx, here.row.id)
        assert at is not None
        index_steps.halt(tx, at, "another block 10")
        signer = signers.register(tx, at.chain, world.address("owner")).id
        signers.take_lease(tx, signer, "other/1/1", world.app.now(), 60, lambda owner: True)
        signers.halt(tx, signer, "foreign nonce 9")
    found = scraped(idle)
    assert value(found, "nftloyalty_index_incident", program=world.program.id) == 1
    assert value(found, "nftloyalty_signer_halted", signer=world.address("owner")) == 1
    assert 50 < value(found, "nftloyalty_signer_lease_seconds", signer=world.address("owner")) <= 60
    assert "foreign nonce" not in idle.get("/metrics").text


def test_webhooks_are_told_by_endpoint(world: World, idle: httpx2.Client) -> None:
    program, now = world.here.row.id, world.app.now()
    with begin(world.app.engine) as tx:
        to, off = endpoint(tx, program), endpoint(tx, program)
        deliveries.disable(tx, off, "by hand", now)
        happen(tx, program, "m:1", "m:1", "m:2", "m:2", now=now - timedelta(seconds=30))
        one, two = claim(tx, program, now)
        settle(tx, went(one, now), went(two, now, status=500), now=now)
    found = scraped(idle)
    mine = {"endpoint": to.public_id, "program": world.program.id}
    assert value(found, "nftloyalty_webhook_waiting_deliveries", **mine) == 3
    assert 30 <= value(found, "nftloyalty_webhook_oldest_waiting_seconds", **mine) < 90
    assert 0 < value(found, "nftloyalty_webhook_failing_seconds", **mine) < 60
    assert value(found, "nftloyalty_webhook_delivered_total", **mine) == 1
    assert value(found, "nftloyalty_webhook_failed_tries_total", **mine) == 1
    assert value(found, "nftloyalty_webhook_disabled", **mine) == 0
    assert value(found, "nftloyalty_webhook_disabled", endpoint=off.public_id) == 1
    assert value(found, "nftloyalty_webhook_waiting_deliveries", endpoint=off.public_id) == 0
    assert "hooks.example" not in idle.get("/metrics").text


def test_requests_are_counted_by_route_and_never_by_what_was_asked(idle: httpx2.Client) -> None:
    wallet = new_wallet()
    for _ in range(2):
        idle.get(f"/v1/ownership/{wallet}?consistency=live")
    idle.get("/v1/claims/int_nothing")
    idle.get(f"/nowhere/{wallet}")
    idle.request("PROPFIND", "/healthz")
    found = scraped(idle)
    count = "nftloyalty_http_requests_total"
    assert value(found, count, method="GET", route="/v1/ownership/{address}", status="200") == 2
    assert value(found, count, method="GET", route="/v1/claims/{claim_id}", status="404") == 1
    assert value(found, count, method="GET", route="none", status="404") == 1
    assert value(found, count, method="other", route="/healthz", status="405") == 1
    seconds = "nftloyalty_http_request_duration_seconds"
    assert value(found, f"{seconds}_count", route="/v1/ownership/{address}") == 2
    assert value(found, f"{seconds}_bucket", route="/v1/ownership/{address}", le="+Inf") == 2
    text = idle.get("/metrics").text
    assert wallet not in text
    assert wallet.lower() not in text


def test_a_database_that_is_away_is_told_and_the_rest_with_it(world: World) -> None:
    gone: Engine = open_engine("postgresql://nobody:hidden@127.0.0.1:9/nothing?connect_timeout=1")
    with serving(Service(replace(world.app, engine=gone), world.here, None)) as client:
        client.get("/healthz")
        found = scraped(client)
    gone.dispose()
    assert value(found, "nftloyalty_database_up") == 0
    assert value(found, "nftloyalty_http_requests_total", route="/healthz") == 1
    assert not [name for name in found if name.startswith("nftloyalty_signer")]


def test_metrics_are_for_this_machine_only(idle: httpx2.Client) -> None:
    assert idle.get("/metrics", headers={"Host": "shop.example"}).status_code == 400


def test_a_worker_shows_health_and_numbers_and_nothing_else(world: World) -> None:
    routes = set(create_watch(Service(world.app, world.here, None)).openapi()["paths"])
    assert routes == {"/healthz", "/readyz", "/metrics"}


def test_every_number_has_help_a_unit_and_its_line_in_the_guide(world: World, idle: httpx2.Client) -> None:
    world.mint(f"{new_wallet()},gold,never")
    catch_up(world.app, world.here.attached, None)
    program = world.here.row.id
    with begin(world.app.engine) as tx:
        endpoint(tx, program)
    idle.get("/healthz")
    families = scraped(idle)
    rows = {
        cells[0].strip("`"): cells
        for line in GUIDE.splitlines()
        if line.startswith("| `nftloyalty_")
        and len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 3
    }
    # A counter and an info are listed by the names of their samples.
    suffix = {"counter": "_total", "info": "_info"}
    told = {family.name + suffix.get(family.type, ""): family for family in families.values()}
    assert rows.keys() == told.keys()
    for name, family in told.items():
        assert name.startswith("nftloyalty_")
        assert family.documentation.endswith("."), name
        labels = {label for each in family.samples for label in each.labels} - {"le"}
        if family.samples:
            assert set(re.findall(r"`(\w+)`", rows[name][1])) == labels, name
