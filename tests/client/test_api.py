"""The client beside a real server, and beside one that fails in every way it can."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from nftloyalty.app import access, vouching
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.powers import sending_keys
from nftloyalty.app.working import Worker
from nftloyalty.client import Loyalty, Refused, Unreachable, api
from nftloyalty.devchain import DevChainServer
from nftloyalty.web.deps import Service
from tests.app.build import World, app_of, new_wallet, open_world, settings_of
from tests.web.conftest import serving, wait_for

# ---------------------------------------------------------------------------------------------------- with the service


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with DevChainServer() as chain:
        app = app_of(settings_of(tmp_path_factory.mktemp("client"), chain.url))
        yield open_world(app)
        app.close()


@pytest.fixture(scope="module")
def loyalty(world: World) -> Iterator[Loyalty]:
    here = world.here
    names, _ = sending_keys(world.app, world.program)
    worker = Worker(world.app, here, [signer_of(world.app, name) for name in names])
    with Intake(world.app, here) as intake:
        worker.start()
        try:
            desk = vouching.open_desk(world.app, here)
            with serving(Service(world.app, here, worker, intake=intake, desk=desk)) as client:
                wait_for(client, world)
                key = access.create(world.app, here, "Shop", ["admin"]).text
                with Loyalty(str(client.base_url), key) as loyalty:
                    yield loyalty
        finally:
            worker.stop()


def test_a_member_from_the_first_card_to_the_last(loyalty: Loyalty) -> None:
    wallet = new_wallet()
    assert not loyalty.check(wallet)["allowed"]
    asked = loyalty.mint(wallet, tier="member", expiry="2049-12-31", key="order-1")
    assert loyalty.mint(wallet, tier="member", expiry="2049-12-31", key="order-1")["id"] == asked["id"]
    assert loyalty.wait(asked["id"], every_seconds=0.05)["phase"] == "final"
    assert loyalty.wait(loyalty.stamp(wallet, "latte")["id"], every_seconds=0.05)["phase"] == "final"
    assert loyalty.wait(loyalty.change_tier(wallet, "gold")["id"], every_seconds=0.05)["phase"] == "final"
    assert loyalty.wait(loyalty.renew(wallet, days=30)["id"], every_seconds=0.05)["phase"] == "final"
    assert loyalty.check(wallet, tier="gold", stamps=["latte"], consistency="final")["allowed"]
    held = loyalty.ownership(wallet)
    assert held["card"] is not None and held["card"]["expires_at"] == "2050-01-31T00:00:00Z"
    assert [each["id"] for each in held["stamps"]] == ["latte"]
    revoked = loyalty.revoke_stamp(wallet, "latte", reason="mistake", may_return=True)
    assert loyalty.wait(revoked["id"], every_seconds=0.05)["phase"] == "final"
    assert loyalty.wait(loyalty.revoke(wallet, reason="left")["id"], every_seconds=0.05)["phase"] == "final"
    assert not loyalty.check(wallet)["allowed"]
    assert loyalty.wait(loyalty.readmit(wallet, tier="gold")["id"], every_seconds=0.05)["phase"] == "final"
    (one, nobody) = loyalty.ownerships([wallet, new_wallet()])
    assert one["card"] is not None and nobody["card"] is None
    kinds = [each["kind"] for each in loyalty.intents(wallet=wallet)]
    assert kinds == ["readmit", "revoke-card", "revoke-stamp", "renew", "set-tier", "mint-stamp", "mint-card"]
    give_up = time.monotonic() + 30
    while len(told := list(loyalty.events(wallet=wallet, types=["membership.readmitted"]))) < 1:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    cursor, event = told[-1]
    assert event["data"]["wallet"] == wallet
    assert list(loyalty.events(wallet=wallet, types=["membership.readmitted"], after=cursor)) == []


def test_a_batch_and_its_items(loyalty: Loyalty) -> None:
    wallets = [new_wallet() for _ in range(3)]
    taken = loyalty.mint_batch([{"wallet": wallet, "tier": "gold"} for wallet in wallets])
    assert taken["replies"]["accepted"] == 3
    give_up = time.monotonic() + 60
    while loyalty.batch(taken["id"])["phases"]["final"] < 3:
        assert time.monotonic() < give_up
        time.sleep(0.05)
    assert [each["wallet"] for each in loyalty.batch_items(taken["id"])] == wallets
    assert loyalty.stamp_batch(wallets, "latte")["total"] == 3


def test_a_promise_is_kept(loyalty: Loyalty) -> None:
    wallet = new_wallet()
    card = loyalty.promise_card(wallet, tier="gold", expiry="2049-12-31", until="2040-01-31", key="newsletter-1")
    assert (
        loyalty.promise_card(wallet, tier="gold", expiry="2049-12-31", until="2040-01-31", key="newsletter-1") == card
    )
    stamp = loyalty.promise_stamp(wallet, "latte")
    assert [each["id"] for each in loyalty.vouchers(wallet=wallet)] == [stamp["id"], card["id"]]
    for voucher in (card, stamp):
        assert voucher["state"] == "open"
        claim = loyalty.claim(voucher["signed"])
        assert loyalty.claim(voucher["signed"])["id"] == claim["id"]
        assert loyalty.wait(claim["id"], every_seconds=0.05)["phase"] == "final"
        now = loyalty.voucher(voucher["id"])
        assert (now["state"], now["claim_url"]) == ("claimed", claim["status_url"])
    assert loyalty.check(wallet, tier="gold", stamps=["latte"])["allowed"]


def test_the_program_and_a_no(loyalty: Loyalty) -> None:
    program = loyalty.program()
    assert (program["mode"], [tier["id"] for tier in program["tiers"]]) == ("test", ["member", "gold"])
    with pytest.raises(Refused) as refused:
        loyalty.mint("0x12", tier="goald")
    assert (refused.value.status, refused.value.code) == (422, "bad_input")
    assert {each["pointer"] for each in refused.value.errors} == {"/wallet", "/tier"}
    assert "/tier" in str(refused.value) and refused.value.request_id.startswith("req_")
    with pytest.raises(Refused) as refused:
        loyalty.intent("../keys")
    assert refused.value.status == 404


# ------------------------------------------------------------------------------------------------------- with trouble


@dataclass
class Trouble:
    """Answers as told, one after the other; `asked` is what came."""

    answers: list[Callable[[BaseHTTPRequestHandler], None]]
    asked: list[tuple[str, str, dict[str, str], bytes]] = field(default_factory=list)
    url: str = ""


def says(status: int, body: Any = None, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        content = b"<html>" if body is None else json.dumps(body).encode()
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name.replace("_", "-"), value)
        handler.send_header("Content-Length", str(len(content)))
        handler.end_headers()
        handler.wfile.write(content)

    return answer


def hangs_up(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True


def says_half(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("Content-Length", "1000")
    handler.end_headers()
    handler.wfile.write(b'{"id":')
    handler.close_connection = True


@pytest.fixture
def trouble(monkeypatch: pytest.MonkeyPatch) -> Iterator[Trouble]:
    found = Trouble([])
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def handle_any(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length", "0")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            found.asked.append((self.command, self.path, headers, body))
            found.answers.pop(0)(self)

        do_GET = do_POST = handle_any  # noqa: N815 - the names that the base class calls

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, daemon=True)
        thread.start()
        found.url = f"http://127.0.0.1:{server.server_port}"
        yield found
        server.shutdown()
        thread.join()


BUSY = {"code": "database_problem", "title": "the database can't be used now"}


def test_one_key_goes_through_all_tries(trouble: Trouble) -> None:
    trouble.answers = [
        says(503, BUSY),
        hangs_up,
        says_half,
        says(409, {"code": "in_flight"}),
        says(202, {"id": "int_1"}),
    ]
    with Loyalty(trouble.url, "nftl_test_sk_secret") as loyalty:
        assert loyalty.mint("0x1", tier="gold")["id"] == "int_1"
    keys = {headers["idempotency-key"] for _, _, headers, _ in trouble.asked}
    assert len(trouble.asked) == 5 and len(keys) == 1
    assert {body for *_, body in trouble.asked} == {b'{"wallet": "0x1", "tier": "gold", "expiry": null}'}


def test_one_key_goes_through_all_tries_for_a_promise_too(trouble: Trouble) -> None:
    trouble.answers = [hangs_up, says(409, {"code": "in_flight"}), says(201, {"id": "vou_1"})]
    trouble.answers += [says(503, BUSY), says(201, {"id": "vou_2"})]
    with Loyalty(trouble.url) as loyalty:
        assert loyalty.promise_card("0x1", tier="gold")["id"] == "vou_1"
        assert loyalty.promise_stamp("0x1", "latte", key="order-7")["id"] == "vou_2"
    keys = [headers["idempotency-key"] for _, _, headers, _ in trouble.asked]
    assert len(set(keys[:3])) == 1 and set(keys[3:]) == {"order-7"} and keys[0] != "order-7"


def test_a_key_of_ones_own_is_kept(trouble: Trouble) -> None:
    trouble.answers = [says(202, {"id": "int_1"})]
    with Loyalty(trouble.url) as loyalty:
        loyalty.stamp("0x1", "latte", key="order-7")
    assert trouble.asked[0][2]["idempotency-key"] == "order-7"
    assert "authorization" not in trouble.asked[0][2]


def test_two_calls_have_two_keys(trouble: Trouble) -> None:
    trouble.answers = [says(202, {"id": "int_1"})] * 2
    with Loyalty(trouble.url) as loyalty:
        for _ in range(2):
            loyalty.stamp("0x1", "latte")
    assert len({headers["idempotency-key"] for _, _, headers, _ in trouble.asked}) == 2


def test_a_no_is_not_asked_again(trouble: Trouble) -> None:
    for status, code in (
        (400, "not_json"),
        (401, "key_revoked"),
        (409, "already_held"),
        (422, "key_reused"),
        (500, "x"),
    ):
        trouble.answers = [says(status, {"code": code})]
        with Loyalty(trouble.url) as loyalty, pytest.raises(Refused) as refused:
            loyalty.stamp("0x1", "latte")
        assert (refused.value.status, refused.value.code) == (status, code)
    assert trouble.answers == []


def test_what_never_comes_is_said_with_its_key(trouble: Trouble) -> None:
    trouble.answers = [hangs_up] * 5
    with Loyalty(trouble.url) as loyalty, pytest.raises(Unreachable, match="order-9") as unreachable:
        loyalty.stamp("0x1", "latte", key="order-9")
    assert unreachable.value.key == "order-9" and trouble.answers == []
    trouble.answers = [says(429, {"code": "too_many_requests"}, Retry_After="2")] * 5
    with Loyalty(trouble.url) as loyalty, pytest.raises(Refused) as refused:
        loyalty.stamp("0x1", "latte")
    assert refused.value.code == "too_many_requests"


def test_pauses_grow_and_heed_the_server(trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr(time, "sleep", pauses.append)
    trouble.answers = [hangs_up, hangs_up, says(503, BUSY, Retry_After="5"), says(503, BUSY, Retry_After="3600")]
    trouble.answers.append(says(200, {"allowed": True}))
    with Loyalty(trouble.url) as loyalty:
        assert loyalty.check("0x1")["allowed"]
    bounds = [(0.25, 0.32), (0.5, 0.63), (5, 6.25), (20, 25)]
    assert all(low <= pause <= high for pause, (low, high) in zip(pauses, bounds, strict=True)), pauses


def test_what_is_no_answer_of_the_api_is_no_answer(trouble: Trouble) -> None:
    trouble.answers = [says(200)]
    with Loyalty(trouble.url) as loyalty, pytest.raises(Refused, match="what answered is not nftloyalty") as refused:
        loyalty.program()
    assert (refused.value.status, refused.value.code) == (200, "unknown_answer")
    trouble.answers = [says(503, BUSY, Retry_After="\u00b2"), says(200, {"allowed": True})]
    with Loyalty(trouble.url) as loyalty:
        assert loyalty.check("0x1")["allowed"]


def test_an_answer_without_end_is_not_read_to_its_end(trouble: Trouble, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "LARGEST_ANSWER_BYTES", 100)
    trouble.answers = [says(200, {"name": "a" * 1000}), says(200, {"allowed": True})]
    with Loyalty(trouble.url) as loyalty:
        with pytest.raises(Refused):
            loyalty.program()
        assert loyalty.check("0x1")["allowed"]


def test_a_redirect_is_not_followed(trouble: Trouble) -> None:
    trouble.answers = [says(307, None, Location=f"{trouble.url}/elsewhere")]
    with Loyalty(trouble.url, "nftl_test_sk_secret") as loyalty, pytest.raises(Refused) as refused:
        loyalty.check("0x1")
    assert (refused.value.status, refused.value.code, len(trouble.asked)) == (307, "unknown_answer", 1)


def test_what_goes_into_a_path_stays_one_step(trouble: Trouble) -> None:
    trouble.answers = [says(200, {})]
    with Loyalty(trouble.url) as loyalty:
        loyalty.check("a/../b?c#d", stamps=["x&y", "ż"], active=False)
    path = trouble.asked[0][1]
    assert path == "/v1/check/a%2F..%2Fb%3Fc%23d?consistency=head&stamp=x%26y&stamp=%C5%BC&active=false"


@pytest.mark.parametrize(
    "url", ["http://loyalty.example", "ftp://localhost", "loyalty.example", "http://127.0.0.1.example"]
)
def test_a_key_does_not_go_over_the_network_in_the_clear(url: str) -> None:
    with pytest.raises(ValueError, match="not https"):
        Loyalty(url, "nftl_live_sk_secret")


def test_a_client_never_shows_its_key() -> None:
    assert "secret" not in repr(Loyalty("https://loyalty.example", "nftl_live_sk_secret"))


def test_waiting_ends(trouble: Trouble) -> None:
    trouble.answers = [says(200, {"phase": "pending", "sentence": "sent"})] * 2
    with Loyalty(trouble.url) as loyalty, pytest.raises(TimeoutError, match="pending still"):
        loyalty.wait("int_1", timeout_seconds=0)
