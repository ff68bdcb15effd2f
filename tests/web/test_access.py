"""Who is let in: every route for every kind of caller, pages, rates, and clients that dawdle."""

import socket
import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager, suppress
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path
from types import MappingProxyType
from typing import Any

import httpx2
import pytest
from fastapi.routing import APIRoute
from starlette.routing import Route

from nftloyalty.app import access
from nftloyalty.app.intake import Intake
from nftloyalty.app.opening import Opened
from nftloyalty.devchain.server import listen
from nftloyalty.domain.access import PUBLIC_SCOPES, Scope
from nftloyalty.store.engine import begin
from nftloyalty.web import app as web_app
from nftloyalty.web import check, patience
from nftloyalty.web.app import create_web
from nftloyalty.web.deps import Service
from nftloyalty.web.server import server_of
from tests.app.build import World, app_of, new_wallet, open_world, settings_of
from tests.store.build import program

SHOP = "https://shop.example"
OTHER = "https://other.example"

ANYBODY = None
NEEDED: Mapping[tuple[str, str], Scope | None] = MappingProxyType(
    {
        ("GET", "/healthz"): ANYBODY,
        ("GET", "/readyz"): ANYBODY,
        ("GET", "/openapi.json"): ANYBODY,
        ("GET", "/metrics"): Scope.METRICS_READ,
        ("GET", "/v1/program"): Scope.CHECKS_READ,
        ("POST", "/v1/mints"): Scope.MINTS_WRITE,
        ("POST", "/v1/stamps"): Scope.MINTS_WRITE,
        ("POST", "/v1/batches"): Scope.MINTS_WRITE,
        ("GET", "/v1/batches"): Scope.MEMBERS_READ,
        ("GET", "/v1/batches/{batch_id}"): Scope.MEMBERS_READ,
        ("GET", "/v1/batches/{batch_id}/items"): Scope.MEMBERS_READ,
        ("POST", "/v1/renewals"): Scope.MEMBERS_WRITE,
        ("POST", "/v1/tier-changes"): Scope.MEMBERS_WRITE,
        ("POST", "/v1/revocations"): Scope.MEMBERS_WRITE,
        ("POST", "/v1/readmissions"): Scope.MEMBERS_WRITE,
        ("GET", "/v1/intents"): Scope.MEMBERS_READ,
        ("GET", "/v1/intents/{intent_id}"): Scope.MEMBERS_READ,
        ("GET", "/v1/events"): Scope.EVENTS_READ,
        ("GET", "/v1/events/{event_id}"): Scope.EVENTS_READ,
        ("GET", "/v1/webhooks"): Scope.WEBHOOKS_WRITE,
        ("POST", "/v1/webhooks"): Scope.WEBHOOKS_WRITE,
        ("GET", "/v1/webhooks/{endpoint_id}"): Scope.WEBHOOKS_WRITE,
        ("PATCH", "/v1/webhooks/{endpoint_id}"): Scope.WEBHOOKS_WRITE,
        ("DELETE", "/v1/webhooks/{endpoint_id}"): Scope.WEBHOOKS_WRITE,
        ("POST", "/v1/webhooks/{endpoint_id}/rotate"): Scope.WEBHOOKS_WRITE,
        ("POST", "/v1/webhooks/{endpoint_id}/disable"): Scope.WEBHOOKS_WRITE,
        ("POST", "/v1/webhooks/{endpoint_id}/enable"): Scope.WEBHOOKS_WRITE,
        ("POST", "/v1/webhooks/{endpoint_id}/test"): Scope.WEBHOOKS_WRITE,
        ("POST", "/v1/webhooks/{endpoint_id}/replay"): Scope.WEBHOOKS_WRITE,
        ("GET", "/v1/webhooks/{endpoint_id}/deliveries"): Scope.WEBHOOKS_WRITE,
        ("GET", "/v1/webhooks/{endpoint_id}/deliveries/{event_id}"): Scope.WEBHOOKS_WRITE,
        ("GET", "/v1/keys"): Scope.ADMIN,
        ("POST", "/v1/keys"): Scope.ADMIN,
        ("POST", "/v1/keys/{key_id}/rotate"): Scope.ADMIN,
        ("DELETE", "/v1/keys/{key_id}"): Scope.ADMIN,
        ("GET", "/v1/check/{wallet}"): Scope.CHECKS_READ,
        ("POST", "/v1/gate"): Scope.CHECKS_READ,
        ("GET", "/v1/ownership/{address}"): Scope.MEMBERS_READ,
        ("POST", "/v1/ownership"): Scope.MEMBERS_READ,
        ("POST", "/v1/vouchers"): Scope.VOUCHERS_WRITE,
        ("GET", "/v1/vouchers"): Scope.VOUCHERS_WRITE,
        ("GET", "/v1/vouchers/{voucher_id}"): Scope.VOUCHERS_WRITE,
        ("POST", "/v1/claim"): Scope.CLAIMS_WRITE,
        ("GET", "/v1/claims/{claim_id}"): Scope.CLAIMS_WRITE,
    }
)
"""What each route asks of its caller. A route that is not here fails the test below."""


@dataclass(frozen=True)
class Keys:
    """Keys of a program by what they are, as headers."""

    headers: Mapping[str, Mapping[str, str]]
    texts: Mapping[str, str]


def bearer(text: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {text}"}


@pytest.fixture(scope="module")
def world(chain: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    app = app_of(settings_of(tmp_path_factory.mktemp("door"), chain, NFTLOYALTY_RATE_PER_ADDRESS="0"))
    yield open_world(app)
    app.close()


@pytest.fixture(scope="module")
def keys(world: World) -> Keys:
    here = world.here

    def make(*scopes: str, there: Opened = here, **more: Any) -> str:
        return access.create(world.app, there, "Web shop", scopes, **more).text

    with begin(world.app.engine) as tx:
        tea = program(tx, here.attached.row, "tea")
    soon = world.app.now() + timedelta(seconds=1)
    texts = {scope.value: make(scope) for scope in Scope}
    texts["wrong program"] = make("admin", there=replace(here, row=tea))
    texts["expired"] = make("admin", expires_at=soon)
    texts["revoked"] = make("admin")
    access.revoke(world.app, here, texts["revoked"].split("_")[2])
    texts["page"] = make(*PUBLIC_SCOPES, publishable=True, origins=[SHOP])
    while world.app.now() < soon:
        time.sleep(0.01)
    headers = {name: bearer(text) for name, text in texts.items()}
    headers["none"] = {}
    headers["unknown"] = bearer(f"nftl_test_sk00000000000000_{'0' * 32}")
    headers["no key at all"] = {"Authorization": "Basic dXNlcjpwYXNz"}
    headers["admin in a page"] = bearer(texts["admin"]) | {"Origin": SHOP}
    headers["page without origin"] = headers.pop("page")
    headers["page elsewhere"] = bearer(texts["page"]) | {"Origin": OTHER}
    headers["page"] = bearer(texts["page"]) | {"Origin": SHOP}
    return Keys(headers, texts)


@contextmanager
def serving(service: Service) -> Iterator[tuple[httpx2.Client, tuple[str, int]]]:
    """A server as `serve` starts it, and its address."""
    with listen("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        server = server_of(create_web(service), service.app.settings.trusted_proxies)
        thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, name="web", daemon=True)
        thread.start()
        try:
            url = f"http://127.0.0.1:{address[1]}"
            with httpx2.Client(base_url=url, timeout=30, trust_env=False) as client:
                yield client, address
        finally:
            server.should_exit = True
            thread.join()


@pytest.fixture(scope="module")
def address(world: World, keys: Keys) -> Iterator[tuple[str, int]]:
    here = world.here
    with Intake(world.app, here) as intake, serving(Service(world.app, here, None, intake=intake)) as (_, address):
        yield address


@pytest.fixture(scope="module")
def client(address: tuple[str, int]) -> Iterator[httpx2.Client]:
    with httpx2.Client(base_url=f"http://127.0.0.1:{address[1]}", timeout=30, trust_env=False) as client:
        yield client


# ----------------------------------------------------------------------------------------------------------- the table


def routes(world: World) -> set[tuple[str, str]]:
    api = create_web(Service(world.app, world.here, None)).api
    inner = [each for router in web_app.ROUTERS for each in router.routes if isinstance(each, APIRoute)]
    outer = [each for each in api.routes if isinstance(each, Route)]
    found = {(method, each.path) for each in (*inner, *outer) for method in each.methods or () if method != "HEAD"}
    return found | {("GET", check.ROUTE)}


def expected(caller: str, needed: Scope | None) -> tuple[int, str] | None:
    """Status and code of the refusal; None = it is let in."""
    if needed is ANYBODY:
        return None
    refusals = {
        "none": (401, "key_missing"),
        "unknown": (401, "key_unknown"),
        "no key at all": (401, "key_unknown"),
        "revoked": (401, "key_revoked"),
        "expired": (401, "key_expired"),
        "wrong program": (403, "wrong_program"),
        "admin in a page": (403, "key_in_page"),
        "page without origin": (403, "wrong_origin"),
        "page elsewhere": (403, "wrong_origin"),
    }
    if caller in refusals:
        return refusals[caller]
    scopes = PUBLIC_SCOPES if caller == "page" else {Scope(caller)}
    return None if needed in scopes or Scope.ADMIN in scopes else (403, "not_allowed")


def test_every_route_stands_in_the_table(world: World) -> None:
    assert routes(world) == set(NEEDED)


def test_every_route_for_every_caller(world: World, keys: Keys, client: httpx2.Client) -> None:
    places = {"wallet": new_wallet(), "address": new_wallet(), "claim_id": "int_0"}
    for method, path in sorted(routes(world)):
        url = path.format_map({name: places.get(name, "none") for name in _names(path)})
        for caller, headers in keys.headers.items():
            body: dict[str, str] | None = {} if method in ("POST", "PATCH", "PUT") else None
            answer = client.request(method, url, headers={**headers, "Idempotency-Key": "k"}, json=body)
            refused = expected(caller, NEEDED[method, path])
            if refused is None:
                # What it asked for may be wrong all the same.
                assert answer.status_code not in (401, 403, 429, 500), (method, path, caller, answer.text)
            else:
                found = answer.status_code, answer.json()["code"]
                assert found == refused, (method, path, caller, answer.text)
                assert ("WWW-Authenticate" in answer.headers) == (refused[0] == 401)
                assert keys.texts.get(caller, "_nothing").rpartition("_")[2] not in answer.text


def _names(path: str) -> list[str]:
    return [part[1:-1] for part in path.split("/") if part.startswith("{")]


def test_the_description_says_what_each_route_asks_for(world: World, keys: Keys, client: httpx2.Client) -> None:
    document = client.get("/openapi.json").json()
    assert document["components"]["securitySchemes"]["apiKey"]["scheme"] == "bearer"
    described = {
        (method.upper(), path): operation
        for path, operations in document["paths"].items()
        for method, operation in operations.items()
    }
    assert described.keys() == NEEDED.keys() - {("GET", "/openapi.json")}
    for route, operation in described.items():
        scope = NEEDED[route]
        assert operation["security"] == ([] if scope is ANYBODY else [{"apiKey": [scope.value]}]), route
        assert ({"401", "403", "429"} <= operation["responses"].keys()) == (scope is not ANYBODY), route


def test_who_asks_is_in_the_log_and_the_key_is_not(
    keys: Keys, client: httpx2.Client, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("DEBUG")
    client.get(f"/v1/ownership/{new_wallet()}", headers=keys.headers["members:read"])
    client.get(f"/v1/ownership/{new_wallet()}", headers=keys.headers["revoked"])
    client.get("/healthz")
    lines = [each for each in caplog.records if each.name == web_app.requests.name]
    text = keys.texts["members:read"]
    assert lines[0].__dict__["key"] == text.split("_")[2]
    assert all(each.rpartition("_")[2] not in caplog.text for each in keys.texts.values())


# --------------------------------------------------------------------------------------------------------------- checks


def test_a_key_takes_the_short_way_too(world: World, keys: Keys, client: httpx2.Client) -> None:
    world.index()
    url = f"/v1/check/{new_wallet().lower()}"
    for _ in range(3):
        assert client.get(url, headers=keys.headers["checks:read"]).status_code == 200
        for caller in ("none", "revoked", "members:read", "wrong program", "admin in a page"):
            assert client.get(url, headers=keys.headers[caller]).status_code in (401, 403), caller
    seen = client.get(url, headers=keys.headers["page"])
    assert (seen.status_code, seen.headers["Access-Control-Allow-Origin"]) == (200, SHOP)


def test_two_keys_at_once_are_none(keys: Keys, client: httpx2.Client) -> None:
    url = f"/v1/check/{new_wallet().lower()}"
    good = keys.headers["admin"]["Authorization"]
    for other in (good, "x"):
        headers = [("Authorization", other), ("Authorization", good)]
        assert client.get(url, headers=headers).json()["code"] == "key_unknown"


def test_a_revoked_key_is_refused_within_two_seconds(world: World, client: httpx2.Client, keys: Keys) -> None:
    world.index()
    made = access.create(world.app, world.here, "Till", ["checks:read"])
    url = f"/v1/check/{new_wallet().lower()}"
    assert client.get(url, headers=bearer(made.text)).status_code == 200
    access.revoke(world.app, world.here, made.row.public_id)
    since = time.monotonic()
    while client.get(url, headers=bearer(made.text)).status_code == 200:
        assert time.monotonic() - since < access.FRESH.total_seconds() + 1
        time.sleep(0.02)


# ---------------------------------------------------------------------------------------------------------------- pages


def test_a_page_asks_first_whether_it_may(keys: Keys, client: httpx2.Client) -> None:
    asks = {"Access-Control-Request-Method": "POST", "Access-Control-Request-Headers": "authorization"}
    may = client.options("/v1/gate", headers={"Origin": SHOP, **asks})
    assert may.status_code == 204
    assert may.headers["Access-Control-Allow-Origin"] == SHOP
    assert "Authorization" in may.headers["Access-Control-Allow-Headers"]
    assert may.headers["Vary"] == "Origin"
    assert "Access-Control-Allow-Credentials" not in may.headers
    may_not = client.options("/v1/gate", headers={"Origin": OTHER, **asks})
    assert (may_not.status_code, may_not.json()["code"]) == (403, "wrong_origin")
    assert "Access-Control-Allow-Origin" not in may_not.headers


def test_a_page_may_read_its_answers_and_errors_and_no_other_page_any(
    world: World, keys: Keys, client: httpx2.Client
) -> None:
    world.index()
    for body in ({"wallet": new_wallet()}, {"wallet": "none"}):
        answer = client.post("/v1/gate", headers=keys.headers["page"], json=body)
        assert answer.status_code in (200, 422)
        assert answer.headers["Access-Control-Allow-Origin"] == SHOP
        assert "X-Request-Id" in answer.headers["Access-Control-Expose-Headers"]
        assert "Origin" in answer.headers["Vary"]
    elsewhere = client.post("/v1/gate", headers=keys.headers["page elsewhere"], json=body)
    assert "Access-Control-Allow-Origin" not in elsewhere.headers


# ---------------------------------------------------------------------------------------------------------------- rates


@contextmanager
def limited(chain: str, folder: Path, **settings: str) -> Iterator[tuple[World, httpx2.Client]]:
    """A server with limits of its own, of a program that has a key."""
    app = app_of(settings_of(folder, chain, "", **settings))
    try:
        world = open_world(app)
        access.create(app, world.here, "Somebody", ["admin"])
        with serving(Service(app, world.here, None)) as (client, _):
            yield world, client
    finally:
        app.close()


def asked_until_refused(client: httpx2.Client, most: int, headers: Mapping[str, str]) -> tuple[int, httpx2.Response]:
    url = f"/v1/check/{new_wallet().lower()}"
    for number in range(most):
        answer = client.get(url, headers=headers)
        if answer.status_code == 429:
            return number, answer
    raise AssertionError(f"{most} were let in")


def test_a_key_that_asks_too_often_is_told_when_to_ask_again_and_others_are_not_held_up(
    chain: str, tmp_path: Path
) -> None:
    with limited(chain, tmp_path, NFTLOYALTY_RATE_PER_KEY="2") as (world, client):
        greedy = access.create(world.app, world.here, "Greedy", ["checks:read"]).text
        other = access.create(world.app, world.here, "Other", ["checks:read"]).text
        let_in, answer = asked_until_refused(client, 60, bearer(greedy))
        assert 20 <= let_in < 45
        assert answer.json()["code"] == "too_many_requests"
        assert 1 <= int(answer.headers["Retry-After"]) <= 10
        assert client.get(f"/v1/check/{new_wallet().lower()}", headers=bearer(other)).status_code != 429


def test_who_guesses_keys_is_slowed_down_by_address_and_a_good_key_beside_him_is_not(
    chain: str, tmp_path: Path
) -> None:
    proxies = {"NFTLOYALTY_TRUSTED_PROXIES": "127.0.0.1", "NFTLOYALTY_RATE_PER_ADDRESS": "1"}
    with limited(chain, tmp_path, **proxies) as (world, client):
        key = access.create(world.app, world.here, "Shop", ["checks:read"]).text
        guess = bearer(f"nftl_test_sk00000000000000_{'0' * 32}") | {"X-Forwarded-For": "203.0.113.7"}
        let_in, _ = asked_until_refused(client, 40, guess)
        assert 10 <= let_in < 25
        url = f"/v1/check/{new_wallet().lower()}"
        here = {"X-Forwarded-For": "203.0.113.7"}
        assert client.get(url, headers=bearer(key) | here).status_code not in (401, 429)
        assert client.get(url, headers=guess | {"X-Forwarded-For": "203.0.113.8"}).status_code == 401


def test_a_publishable_key_is_counted_by_the_address_of_its_page(chain: str, tmp_path: Path) -> None:
    proxies = {"NFTLOYALTY_TRUSTED_PROXIES": "127.0.0.1", "NFTLOYALTY_RATE_PER_ADDRESS": "1"}
    with limited(chain, tmp_path, **proxies) as (world, client):
        key = access.create(world.app, world.here, "Page", ["checks:read"], publishable=True, origins=[SHOP]).text
        page = bearer(key) | {"Origin": SHOP}
        asked_until_refused(client, 40, page | {"X-Forwarded-For": "2001:db8::1"})
        url = f"/v1/check/{new_wallet().lower()}"
        # The other end of the same house's network, and another house.
        assert client.get(url, headers=page | {"X-Forwarded-For": "2001:db8::ffff"}).status_code == 429
        assert client.get(url, headers=page | {"X-Forwarded-For": "2001:db8:0:1::1"}).status_code != 429


def test_a_forged_forwarding_header_is_not_believed(chain: str, tmp_path: Path) -> None:
    with limited(chain, tmp_path, NFTLOYALTY_RATE_PER_ADDRESS="1") as (_, client):
        url = f"/v1/check/{new_wallet().lower()}"
        found = [
            client.get(url, headers={"X-Forwarded-For": f"203.0.113.{number}"}).status_code for number in range(40)
        ]
        assert 429 in found


# ----------------------------------------------------------------------------------------------------------- reachable


def test_a_server_that_others_can_reach_answers_nobody_without_a_key(chain: str, tmp_path: Path) -> None:
    app = app_of(settings_of(tmp_path, chain))
    world = open_world(app)
    with serving(Service(app, world.here, None, reachable=True)) as (client, _):
        url = f"/v1/check/{new_wallet().lower()}"
        for host in ("127.0.0.1", "localhost", "shop.example"):
            assert client.get(url, headers={"Host": host}).json()["code"] == "key_missing"
        key = access.create(app, world.here, "Till", ["checks:read"]).text
        give_up = time.monotonic() + 5
        # The right Host header is nobody's business any more.
        while client.get(url, headers=bearer(key) | {"Host": "shop.example"}).status_code in (401, 403):
            assert time.monotonic() < give_up
            time.sleep(0.05)
    app.close()


# ------------------------------------------------------------------------------------------------------- slow clients


def answered(connection: socket.socket) -> bytes:
    """All that is sent until the other side closes."""
    found = b""
    while part := connection.recv(65536):
        found += part
    return found


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(patience, "HEAD_SECONDS", 0.4)
    monkeypatch.setattr(web_app, "BODY_SECONDS", 0.4)


POST = b"POST /v1/gate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\n"


@pytest.mark.parametrize("begun", [b"", b"\r\n", b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-A: "])
def test_a_head_that_does_not_come_is_not_waited_for(address: tuple[str, int], hasty: None, begun: bytes) -> None:
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.sendall(begun)
        since = time.monotonic()
        assert answered(connection).startswith(b"HTTP/1.1 408")
        assert time.monotonic() - since < 5


def test_a_second_head_on_a_connection_is_not_waited_for_either(address: tuple[str, int], hasty: None) -> None:
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")
        assert connection.recv(65536).startswith(b"HTTP/1.1 200")
        connection.sendall(b"GET /healthz HTTP/1.1\r\nX-A: ")
        assert answered(connection).startswith(b"HTTP/1.1 408")


def test_a_head_without_end_is_refused(address: tuple[str, int]) -> None:
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n")
        found = b""
        with pytest.MonkeyPatch.context():
            try:
                for _ in range(40):
                    connection.sendall(b"X-A: " + b"a" * 2048 + b"\r\n")
                    time.sleep(0.002)
                found = answered(connection)
            except ConnectionError:
                # It was closed while we were still sending, and the answer with it.
                return
        assert found.startswith(b"HTTP/1.1 431")


UPGRADE = b"Host: 127.0.0.1\r\nConnection: Upgrade, HTTP2-Settings\r\nUpgrade: %b\r\nHTTP2-Settings: AAMAAABk\r\n"


@pytest.mark.parametrize("protocol", [b"h2c", b"websocket", b"anything"])
@pytest.mark.parametrize("path", [b"/healthz", b"/v1/gate", b"/v1/mints", b"/v1/check/0x" + b"1" * 40])
def test_the_body_of_a_request_that_asks_for_another_protocol_is_no_request(
    address: tuple[str, int], keys: Keys, protocol: bytes, path: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    hidden = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Swallow: "
    method = b"GET" if b"check" in path else b"POST"
    head = method + b" " + path + b" HTTP/1.1\r\n" + UPGRADE % protocol + b"Content-Length: %d\r\n\r\n" % len(hidden)
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.sendall(head)
        time.sleep(0.05)
        found = b""
        # It may be cut off, for nobody reads what it sends; what was answered before that counts all the same.
        with suppress(ConnectionError):
            connection.sendall(hidden)
            time.sleep(0.05)
            connection.sendall(b"\r\nAuthorization: someone's\r\n\r\n")
        with suppress(ConnectionError):
            while part := connection.recv(65536):
                found += part
    assert found.count(b"HTTP/1.1 ") <= 1 and b"HTTP/1.1 101" not in found
    # Anybody could fill the log.
    assert "pgrade" not in caplog.text


def test_who_was_answered_and_goes_on_sending_is_not_listened_to_for_ever(
    address: tuple[str, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(patience, "BODY_SECONDS", 0.4)
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.sendall(POST + b"Content-Length: 1000\r\n\r\n")
        assert b" 401 " in connection.recv(65536)
        since = time.monotonic()
        with suppress(ConnectionError):
            for _ in range(80):
                connection.sendall(b" ")
                time.sleep(0.05)
        assert time.monotonic() - since < 3


def test_two_keys_are_nobodys_even_if_one_is_empty(keys: Keys, client: httpx2.Client) -> None:
    good = keys.headers["admin"]["Authorization"]
    for path in ("/v1/program", "/v1/check/0x" + "1" * 40):
        for first, second in (("", good), (good, ""), (good, good)):
            answer = client.get(path, headers=[("Authorization", first), ("Authorization", second)])
            assert answer.status_code == 401, (path, first == good, second == good)


@pytest.mark.parametrize("size", [31_000, 33_000, 60_000])
def test_a_long_body_that_comes_with_its_head_is_no_long_head(address: tuple[str, int], keys: Keys, size: int) -> None:
    authorization = f"Authorization: {keys.headers['admin']['Authorization']}\r\n".encode()
    head = POST + authorization + b"Connection: close\r\nContent-Length: %d\r\n\r\n" % size
    with closing(socket.create_connection(address, timeout=10)) as connection:
        connection.sendall(head + b" " * size)
        assert answered(connection).startswith(b"HTTP/1.1 400")


def test_a_body_that_trickles_is_refused_and_holds_up_nobody(
    address: tuple[str, int], hasty: None, keys: Keys, client: httpx2.Client
) -> None:
    authorization = f"Authorization: {keys.headers['admin']['Authorization']}\r\n".encode()
    slow = [socket.create_connection(address, timeout=10) for _ in range(60)]
    try:
        for connection in slow:
            connection.sendall(POST + authorization + b'Content-Length: 100\r\n\r\n{"wallet')
        # More than there are threads, and everybody else is answered all the same.
        assert client.get("/v1/program", headers=keys.headers["admin"]).status_code == 200
        for connection in slow:
            found = answered(connection)
            assert found.startswith(b"HTTP/1.1 408") and b'"body_too_slow"' in found
            assert b"connection: close" in found.lower()
    finally:
        for connection in slow:
            connection.close()


def test_the_rest_of_a_refused_body_is_no_request(address: tuple[str, int], keys: Keys) -> None:
    authorization = f"Authorization: {keys.headers['admin']['Authorization']}\r\n".encode()
    hidden = b"GET /healthz HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"
    body = b" " * (web_app.LARGEST_BODY_BYTES + 1)
    with closing(socket.create_connection(address, timeout=10)) as connection:
        head = POST + authorization + b"Content-Length: %d\r\n\r\n" % (len(body) + len(hidden))
        connection.sendall(head + body)
        time.sleep(0.2)
        try:
            connection.sendall(hidden)
            found = answered(connection)
        except ConnectionError:
            return
        assert found.startswith(b"HTTP/1.1 413") and b"200 OK" not in found
