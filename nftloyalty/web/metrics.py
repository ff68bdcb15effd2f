"""Numbers for Prometheus: what this process answered, and how the books stand, read from them at each scrape.

Nothing is asked of the node: a scrape must not wait for it, and many may come at once. Every process that shares a
database tells the same of the books.
"""

import platform
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate

from fastapi import APIRouter, Request, Response
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Metric, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.utils import floatToGoString

from nftloyalty import __version__
from nftloyalty.app.status import Loads, read_loads
from nftloyalty.domain.access import Scope
from nftloyalty.errors import DatabaseProblem
from nftloyalty.web import examples
from nftloyalty.web.access import needs
from nftloyalty.web.deps import Service
from nftloyalty.web.schemas import answers, problems

router = APIRouter(tags=["health"])

_TEXT = answers(200, "Prometheus' text format.", "text/plain", block=examples.METRICS)
_TEXT[200]["content"]["text/plain"]["schema"] = {"type": "string"}
NO_ROUTE = "none"
_METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
# A check takes a millisecond or a few, a live one what the node takes.
_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)


class Tally:
    """Of answers of one kind, how many took how long. Plain numbers, for a check is over before a lock is taken."""

    __slots__ = ("counts", "seconds")

    def __init__(self) -> None:
        self.counts = [0] * (len(_SECONDS) + 1)
        """By the first bound that is not less; the last is of those beyond all bounds."""
        self.seconds = 0.0

    def note(self, seconds: float) -> None:
        """To be called by one thread."""
        self.counts[bisect_left(_SECONDS, seconds)] += 1
        self.seconds += seconds


class Answers(Collector):
    """What this process answered. Only routes are told, never what was asked for."""

    def __init__(self) -> None:
        self._tallies: dict[tuple[str, str, int], Tally] = {}

    def of(self, method: str, route: str, status: int) -> Tally:
        """`route` is a route's template, NO_ROUTE where there is none; `status` 0 = who asked has left."""
        # There are few: routes, methods and statuses are.
        return self._tallies.setdefault((method if method in _METHODS else "other", route, status), Tally())

    def collect(self) -> Iterator[Metric]:
        count = CounterMetricFamily(
            "nftloyalty_http_requests", "Requests answered.", labels=("method", "route", "status")
        )
        took: dict[tuple[str, str], Tally] = {}
        for (method, route, status), tally in list(self._tallies.items()):
            counts = list(tally.counts)
            if not any(counts):
                continue
            count.add_metric((method, route, str(status)), sum(counts))
            of_all = took.setdefault((method, route), Tally())
            of_all.counts = [one + other for one, other in zip(of_all.counts, counts, strict=True)]
            of_all.seconds += tally.seconds
        yield count
        seconds = HistogramMetricFamily(
            "nftloyalty_http_request_duration_seconds",
            "Time from a request's arrival to the end of its answer.",
            labels=("method", "route"),
        )
        bounds = [*map(floatToGoString, _SECONDS), "+Inf"]
        for labels, tally in took.items():
            seconds.add_metric(labels, list(zip(bounds, accumulate(tally.counts), strict=True)), tally.seconds)
        yield seconds


class Books(Collector):
    """How the books of a service's chain stand."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def collect(self) -> Iterator[Metric]:
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
        yield from _endpoints(loads)


def registry_of(service: Service, answers: Answers) -> CollectorRegistry:
    """A registry with the books of this service, and what it answered. Nothing is read yet."""
    registry = CollectorRegistry()
    registry.register(Books(service))
    registry.register(answers)
    return registry


@router.get(
    "/metrics",
    response_class=Response,
    operation_id="get_metrics",
    responses=_TEXT | problems(),
    dependencies=[needs(Scope.METRICS_READ)],
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


def _endpoints(loads: Loads) -> Iterator[Metric]:
    labels = ("endpoint", "program")
    waiting = GaugeMetricFamily("nftloyalty_webhook_waiting_deliveries", "Deliveries that wait.", labels=labels)
    age = GaugeMetricFamily(
        "nftloyalty_webhook_oldest_waiting_seconds", "Age of the oldest waiting delivery; 0 = none.", labels=labels
    )
    failing = GaugeMetricFamily(
        "nftloyalty_webhook_failing_seconds", "Since when nothing came through; 0 = the last try did.", labels=labels
    )
    disabled = GaugeMetricFamily(
        "nftloyalty_webhook_disabled", "Whether nothing is sent until it is enabled: 1 or 0.", labels=labels
    )
    delivered = CounterMetricFamily("nftloyalty_webhook_delivered", "Deliveries that came through.", labels=labels)
    failed = CounterMetricFamily("nftloyalty_webhook_failed_tries", "Tries that failed.", labels=labels)
    for each in loads.endpoints:
        named = (each.endpoint, each.program)
        waiting.add_metric(named, each.waiting)
        age.add_metric(named, loads.seconds_since(each.oldest))
        failing.add_metric(named, loads.seconds_since(each.failing_since))
        disabled.add_metric(named, int(each.state == "disabled"))
        delivered.add_metric(named, each.delivered)
        failed.add_metric(named, each.failed_tries)
    yield from (waiting, age, failing, disabled, delivered, failed)


def _of_program(name: str, told: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, labels=("program",))


def _of_signer(name: str, told: str) -> GaugeMetricFamily:
    return GaugeMetricFamily(name, told, labels=("signer",))
