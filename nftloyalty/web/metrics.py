"""Numbers for Prometheus: what this process answered, and how the books stand, read from them at each scrape.

Nothing is asked of the node: a scrape must not wait for it, and many may come at once. Every process that shares a
database tells the same of the books.
"""

import platform
from collections.abc import Iterator

from fastapi import APIRouter, Request, Response
from prometheus_client import (
    CONTENT_TYPE_LATEST,
    CollectorRegistry,
    Counter,
    Histogram,
    disable_created_metrics,
    generate_latest,
)
from prometheus_client.core import GaugeMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector

from nftloyalty import __version__
from nftloyalty.app.status import Loads, read_loads
from nftloyalty.errors import DatabaseProblem
from nftloyalty.web.deps import Service
from nftloyalty.web.schemas import problems

router = APIRouter(tags=["health"])

NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# A check takes a millisecond or a few, a live one what the node takes.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Answers:
    """What this process answered. Only routes are told, never what was asked for."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._count = Counter(
            "nftloyalty_http_requests", "Requests answered.", ("method", "route", "status"), registry=registry
        )
        self._seconds = Histogram(
            "nftloyalty_http_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            ("method", "route"),
            buckets=_SECONDS,
            registry=registry,
        )
        # Looking one up by its labels takes longer than counting. There are few: routes, methods and statuses are.
        self._known: dict[tuple[str, str, int], tuple[Counter, Histogram]] = {}

    def note(self, method: str, route: str, status: int, seconds: float) -> None:
        """`route` is a route's template, NO_ROUTE where there is none; `status` 0 = who asked has left."""
        method = method if method in _METHODS else "other"
        known = self._known.get((method, route, status))
        if known is None:
            known = self._count.labels(method, route, str(status)), self._seconds.labels(method, route)
            self._known[method, route, status] = known
        count, took = known
        count.inc()
        took.observe(seconds)


class Books(Collector):
    """How the books of a service's chain stand."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[GaugeMetricFamily | InfoMetricFamily]:
        yield InfoMetricFamily(
            "nftloyalty_build",
            "The version that runs.",
            value={"version": __version__, "python": platform.python_version()},
        )
        up = GaugeMetricFamily("nftloyalty_database_up", "Whether the database could be read: 1 yes, 0 no.")
        try:
            loads = read_loads(self._service.app, self._service.opened.attached.row)
        except DatabaseProblem:
            up.add_metric((), 0)
            yield up
            return
        up.add_metric((), 1)
        yield up
        yield from _index(loads)
        yield from _signers(loads)


def registry_of(service: Service) -> CollectorRegistry:
    """A registry with the books of this service. Nothing is read yet."""
    # Else each counter is told a second time, with the moment it was made.
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    registry.register(Books(service))
    return registry


@router.get(
    "/metrics",
    response_class=Response,
    responses=problems() | {200: {"content": {"text/plain": {}}, "description": "Prometheus' text format."}},
    summary="Numbers for Prometheus",
)
def metrics(request: Request) -> Response:
    """What this process answered, and how the books stand. docs/operating.md lists the names."""
    return Response(generate_latest(request.app.state.registry), headers={"Content-Type": CONTENT_TYPE_LATEST})


def _index(loads: Loads) -> Iterator[GaugeMetricFamily]:
    block = _of_program("nftloyalty_index_block", "Newest block of the program's index.")
    final = _of_program("nftloyalty_index_final_block", "Newest block of the index that can't be undone.")
    age = _of_program("nftloyalty_index_age_seconds", "Since the index was last seen at the node's newest block.")
    incident = _of_program("nftloyalty_index_incident", "Whether the index stands still until a person looks: 1 or 0.")
    for each in loads.indexes:
        if each.block is not None and each.final_block is not None:
            block.add_metric((each.program,), each.block)
            final.add_metric((each.program,), each.final_block)
            incident.add_metric((each.program,), int(each.incident is not None))
        if each.confirmed_at is not None:
            age.add_metric((each.program,), loads.seconds_since(each.confirmed_at))
    lease = GaugeMetricFamily("nftloyalty_index_lease_seconds", "Left of the lease on the index; 0 = nobody has it.")
    lease.add_metric((), loads.seconds_left(None if loads.index_lease is None else loads.index_lease.until))
    yield from (block, final, age, incident, lease)


def _signers(loads: Loads) -> Iterator[GaugeMetricFamily]:
    waiting = GaugeMetricFamily(
        "nftloyalty_signer_waiting_intents",
        "Accepted intents that are in no transaction yet.",
        labels=("signer", "program", "kind"),
    )
    waiting_age = _of_signer("nftloyalty_signer_oldest_waiting_seconds", "Age of the oldest waiting intent; 0 = none.")
    in_flight = _of_signer("nftloyalty_signer_in_flight_transactions", "Transactions that no block holds yet.")
    included = _of_signer("nftloyalty_signer_included_transactions", "Transactions in blocks that are not final.")
    age = _of_signer("nftloyalty_signer_oldest_in_flight_seconds", "Age of the oldest one in flight; 0 = none.")
    halted = _of_signer("nftloyalty_signer_halted", "Whether nothing is sent until a person looks: 1 or 0.")
    waits = _of_signer("nftloyalty_signer_waits", "Whether its sender waits for something it has named: 1 or 0.")
    lease = _of_signer("nftloyalty_signer_lease_seconds", "Left of the signer's lease; 0 = nobody sends with it.")
    for each in loads.signers:
        for group in each.waiting:
            waiting.add_metric((each.address, group.program or "", group.kind.value), group.count)
        labels = (each.address,)
        oldest = min((group.since for group in each.waiting), default=None)
        waiting_age.add_metric(labels, loads.seconds_since(oldest))
        in_flight.add_metric(labels, each.in_flight)
        included.add_metric(labels, each.included)
        age.add_metric(labels, loads.seconds_since(each.oldest_in_flight))
        halted.add_metric(labels, int(each.halted is not None))
        waits.add_metric(labels, int(each.waits_for is not None))
        lease.add_metric(labels, loads.seconds_left(each.lease_until))
    yield from (waiting, waiting_age, in_flight, included, age, halted, waits, lease)


def _of_program(name: str, told: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, labels=("program",))


def _of_signer(name: str, told: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, labels=("signer",))
