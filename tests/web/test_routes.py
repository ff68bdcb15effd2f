"""Every route, its answers and its errors."""

import json
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import httpx2
import pytest
from fastapi.testclient import TestClient

from nftloyalty.app import claiming, verifying
from nftloyalty.app.context import build_app
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.relaying import Relay
from nftloyalty.chain.client import Node
from nftloyalty.domain.voucher import signed_to_json
from nftloyalty.errors import DatabaseProblem, KeyProblem, LoyaltyError, SignerHalted
from nftloyalty.web import app as web_app
from nftloyalty.web.app import create_web
from nftloyalty.web.deps import Service
from tests.app.build import new_wallet, settings_of
from tests.web.conftest import HERE, Served

SECRET = "/srv/inside/keys"


def voucher(served: Served, to: str) -> dict[str, Any]:
    world = served.world
    deadline = datetime.now(UTC) + timedelta(days=1)
    return signed_to_json(claiming.create_card(world.app, world.here, to, tier=2, expires_at=0, deadline=deadline))


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, whose shape is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found.keys() <= {"type", "title", "status", "code", "detail", "errors"}
    assert (found["status"], found["code"], found["type"]) == (status, code, "about:blank")
    assert ("retry-after" in answer.headers) == (status == 503)
    return found


def pointers(found: dict[str, Any]) -> set[str]:
    return {each["pointer"] for each in found["errors"]}


# ----------------------------------------------------------------------------------------------------------- ownership


def test_what_a_member_holds(served: Served) -> None:
    wallet = new_wallet()
    served.world.mint_outside(wallet, tier=2)
    found = served.client.get(f"/v1/ownership/{wallet.lower()}").json()
    assert found["wallet"] == wallet
    assert found["card"]["tier"] == "gold"
    assert found["card"]["active"] is True
    assert found["card"]["expires_at"] is None
    head = served.world.app.node.head()
    assert found["as_of"]["hash"] == head.hash
    assert found["as_of"]["final"] is True


def test_a_stranger_is_answered_and_not_unknown(client: TestClient) -> None:
    found = client.get(f"/v1/ownership/{new_wallet()}").json()
    assert (found["card"], found["stamps"]) == (None, [])


@pytest.mark.parametrize("address", ["0x12", "nobody", "0x" + "0" * 40, "x" * 5000, "%00", "%ff"])
def test_a_wrong_address_is_pointed_at(client: TestClient, address: str) -> None:
    assert pointers(problem_of(client.get(f"/v1/ownership/{address}"), 422, "bad_input")) == {"/address"}


# ----------------------------------------------------------------------------------------------------------------- gate


def test_the_gate_says_yes_and_no_with_reasons(served: Served) -> None:
    wallet = new_wallet()
    served.world.mint_outside(wallet)
    yes = served.client.post("/v1/gate", json={"wallet": wallet})
    assert yes.status_code == 200
    assert (yes.json()["allowed"], yes.json()["reasons"]) == (True, [])
    asked = {"wallet": wallet, "conditions": {"min_tier": "gold", "stamps": ["latte"]}}
    no = served.client.post("/v1/gate", json=asked).json()
    assert no["allowed"] is False
    assert [reason["code"] for reason in no["reasons"]] == ["below_tier", "missing_stamp"]
    assert all(reason["sentence"] for reason in no["reasons"])
    assert no["as_of"]["block"] >= 0


def test_asking_for_a_stamp_alone_asks_for_no_card(served: Served) -> None:
    wallet = new_wallet()
    served.world.stamp("latte", wallet)
    for conditions, allowed in (({"stamps": ["latte"]}, True), ({"stamps": ["latte"], "active": True}, False)):
        found = served.client.post("/v1/gate", json={"wallet": wallet, "conditions": conditions}).json()
        assert found["allowed"] is allowed


def test_asking_for_nothing_opens_nothing(served: Served) -> None:
    asked = {"wallet": new_wallet(), "conditions": {"active": False}}
    assert served.client.post("/v1/gate", json=asked).json()["allowed"] is False


def test_an_unknown_tier_or_stamp_is_not_found(client: TestClient) -> None:
    for conditions in ({"min_tier": "platinum"}, {"stamps": ["tea"]}):
        found = problem_of(
            client.post("/v1/gate", json={"wallet": new_wallet(), "conditions": conditions}), 404, "unknown"
        )
        assert "its " in found["detail"]  # names the ones there are


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({}, "/wallet"),
        ({"wallet": "0x12"}, "/wallet"),
        ({"wallet": 7}, "/wallet"),
        ({"wallet": "0x" + "1" * 40, "condition": {}}, "/condition"),
        ({"wallet": "0x" + "1" * 40, "conditions": {"min_teir": "gold"}}, "/conditions/min_teir"),
        ({"wallet": "0x" + "1" * 40, "conditions": {"stamps": ["latte"] * 121}}, "/conditions/stamps"),
        ({"wallet": "0x" + "1" * 40, "conditions": {"a/b~c": 1}}, "/conditions/a~1b~0c"),
        ({"wallet": "0x" + "1" * 40, "conditions": {"\ud800": 1}}, "/conditions"),
    ],
)
def test_what_does_not_fit_is_pointed_at(client: TestClient, body: dict[str, Any], pointer: str) -> None:
    answer = client.post("/v1/gate", content=json.dumps(body), headers={"Content-Type": "application/json"})
    assert pointers(problem_of(answer, 422, "bad_input")) == {pointer}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b'{"wallet": ' + b"1" * 5000 + b"}", b"\xff\xfe"])
def test_what_is_no_json_object_is_refused(client: TestClient, content: bytes) -> None:
    answer = client.post("/v1/gate", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code in (400, 422)
    problem_of(answer, answer.status_code, answer.json()["code"])


# ---------------------------------------------------------------------------------------------------------------- claim


def test_a_voucher_becomes_a_card(served: Served) -> None:
    wallet = new_wallet()
    signed = voucher(served, wallet)
    first = served.client.post("/v1/claim", json=signed)
    assert first.status_code == 202
    claim = first.json()
    assert first.headers["location"] == claim["status_url"]
    assert claim["wallet"] == wallet
    give_up = time.monotonic() + 30
    while claim["phase"] == "pending":
        assert time.monotonic() < give_up
        time.sleep(0.05)
        claim = served.client.get(claim["status_url"]).json()
    assert claim["phase"] == "final"
    assert claim["reason"] is None
    again = served.client.post("/v1/claim", json=signed)
    assert (again.status_code, again.json()) == (202, claim)
    assert served.client.get(f"/v1/ownership/{wallet}").json()["card"]["tier"] == "gold"


def test_a_spoiled_voucher_is_pointed_at(served: Served) -> None:
    signed = voucher(served, new_wallet())
    post = served.client.post
    assert pointers(problem_of(post("/v1/claim", json={**signed, "chain_id": 1}), 422, "bad_input")) == {
        "/chain_id",
        "/signature",
    }
    for signature in ("0x", "0x" + "ff" * 65, "0x" + "11" * 2000, "hello"):
        found = problem_of(post("/v1/claim", json={**signed, "signature": signature}), 422, "bad_input")
        assert pointers(found) == {"/signature"}
    found = problem_of(
        post("/v1/claim", json={**signed, "voucher": {**signed["voucher"], "tier": "gold"}}), 422, "bad_input"
    )
    assert pointers(found) == {"/voucher/tier"}
    body = json.dumps({**signed, "voucher": {**signed["voucher"], "\ud800": 1}})
    answer = post("/v1/claim", content=body, headers={"Content-Type": "application/json"})
    assert pointers(problem_of(answer, 422, "bad_input")) == {"/voucher/\ud800"}


def test_what_the_contract_refuses_is_a_conflict(served: Served) -> None:
    wallet = new_wallet()
    served.world.mint_outside(wallet)
    found = problem_of(served.client.post("/v1/claim", json=voucher(served, wallet)), 409, "reverted")
    assert "LoyaltyMembership_" in found["title"]


@pytest.mark.parametrize("claim", ["int_nothing", "%00", "%ED%A0%80", "a" * 3000])
def test_an_unknown_claim_is_not_found(client: TestClient, claim: str) -> None:
    problem_of(client.get(f"/v1/claims/{claim}"), 404, "unknown")


def test_a_server_that_only_reads_relays_nothing(served: Served) -> None:
    signed = voucher(served, new_wallet())
    api = create_web(Service(served.world.app, served.world.here, None))
    with TestClient(api, HERE, raise_server_exceptions=False) as client:
        found = problem_of(client.post("/v1/claim", json=signed), 503, "program_problem")
        assert "does not relay" in found["title"]
        assert client.get("/readyz").json()["status"] == "ok"


# --------------------------------------------------------------------------------------------------------------- limits


def test_only_this_machine_is_answered(served: Served) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "127.0.0.1@evil.example", "[::1", "10.0.0.1"):
        answer = served.client.get("/healthz", headers={"Host": host})
        problem_of(answer, 400, "wrong_host")
    for host in ("127.0.0.1", "127.0.0.1:8000", "localhost:9999", "[::1]:8000", "[::1]"):
        assert served.client.get("/healthz", headers={"Host": host}).status_code == 200


def chunks(total: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(total // 1024):
        yield b" " * 1024


def test_a_long_body_is_refused_whatever_it_says_of_its_length(client: TestClient) -> None:
    problem_of(client.post("/v1/gate", content=b" " * 70_000), 413, "http_413")
    problem_of(client.post("/v1/gate", content=chunks(70_000)), 413, "http_413")
    lie = {"Content-Length": "2", "Content-Type": "application/json"}
    problem_of(client.post("/v1/gate", content=chunks(70_000), headers=lie), 413, "http_413")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"voucher": ' + b"[" * 25_000 + b"]" * 25_000 + b"}",
        b'{"\\"": ' + b"[" * 100,
        b'"' + b"\\" * 101 + b"[" * 100,
    ],
)
def test_deep_nesting_is_refused_before_it_is_parsed(client: TestClient, content: bytes) -> None:
    answer = client.post("/v1/claim", content=content, headers={"Content-Type": "application/json"})
    assert answer.status_code == 422
    problem_of(answer, 422, "bad_input")


def test_brackets_in_text_are_no_nesting() -> None:
    assert not web_app._too_deep(json.dumps({"a": "[" * 100 + '"' + "{" * 100}).encode())
    assert web_app._too_deep(b"[" * (web_app.DEEPEST_BODY + 1))
    assert not web_app._too_deep(b"[" * web_app.DEEPEST_BODY)
    assert not web_app._too_deep(b"[]" * 10_000)


def test_the_frameworks_own_errors_have_the_same_shape(client: TestClient) -> None:
    problem_of(client.get("/nothing/here"), 404, "http_404")
    problem_of(client.delete("/v1/gate"), 405, "http_405")


# -------------------------------------------------------------------------------------------------------------- trouble


def test_a_node_that_is_away_is_unavailable(served: Served) -> None:
    world = served.world
    gone = replace(world.app, node=Node("http://127.0.0.1:9/key-of-the-node"))
    with TestClient(create_web(Service(gone, world.here, None)), HERE, raise_server_exceptions=False) as client:
        # The opened contracts still talk to the living node; the head is asked of the one that is gone.
        found = problem_of(client.get(f"/v1/ownership/{new_wallet()}"), 503, "node_unreachable")
        assert "127.0.0.1:9" not in json.dumps(found)
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["status"] == "not ready"
        assert "key-of-the-node" not in ready.text
        assert client.get("/healthz").json() == {"status": "ok"}


@pytest.mark.parametrize(
    ("failure", "status", "code"),
    [
        (DatabaseProblem(f"sqlite:///{SECRET}", "locked"), 503, "database_problem"),
        (KeyProblem(f"there is no key in {SECRET}"), 503, "key_problem"),
        (SignerHalted(f"halted: {SECRET}"), 503, "signer_halted"),
        (LoyaltyError(SECRET), 500, "internal"),
        (RuntimeError(SECRET), 500, "internal"),
    ],
)
def test_nothing_of_the_inside_is_told(
    served: Served, monkeypatch: pytest.MonkeyPatch, failure: Exception, status: int, code: str
) -> None:
    def fails(*_: object) -> None:
        raise failure

    monkeypatch.setattr(verifying, "holding", fails)
    answer = served.client.get(f"/v1/ownership/{new_wallet()}")
    problem_of(answer, status, code)
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text


def test_a_relay_in_trouble_is_not_ready(served: Served) -> None:
    world = served.world
    assert served.client.get("/readyz").json() == {
        "status": "ok",
        "trouble": "",
        "block": world.app.node.head().number,
    }
    stuck = Relay(world.app, world.here, signer_of(world.app, "hot"))
    stuck.trouble = "the program is paused"
    with TestClient(create_web(Service(world.app, world.here, stuck)), HERE) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["trouble"]) == (503, "the program is paused")


# -------------------------------------------------------------------------------------------------------------- OpenAPI


def test_the_description_is_openapi_3_1_and_lists_every_route_with_its_errors(client: TestClient) -> None:
    found = client.get("/openapi.json").json()
    assert found["openapi"].startswith("3.1.")
    routes = {(path, method) for path, methods in found["paths"].items() for method in methods}
    assert routes == {
        ("/v1/ownership/{address}", "get"),
        ("/v1/gate", "post"),
        ("/v1/claim", "post"),
        ("/v1/claims/{claim_id}", "get"),
        ("/healthz", "get"),
        ("/readyz", "get"),
    }
    for path, method in routes:
        answers = found["paths"][path][method]["responses"]
        assert "400" in answers
        if method == "post":
            assert {"413", "422"} <= answers.keys()
        if path.startswith("/v1/"):
            assert {"422", "503"} <= answers.keys()
            errors = [answer for status, answer in answers.items() if int(status) >= 400]
            for answer in errors:
                (media,) = answer["content"].items()
                assert media == ("application/problem+json", {"schema": {"$ref": "#/components/schemas/ProblemOut"}})


def test_every_reference_of_the_description_leads_somewhere(client: TestClient) -> None:
    found = client.get("/openapi.json").json()

    def references(value: Any) -> Iterator[str]:
        if isinstance(value, dict):
            for key, part in value.items():
                if key == "$ref":
                    yield part
                else:
                    yield from references(part)
        elif isinstance(value, list):
            for part in value:
                yield from references(part)

    named = set(references(found))
    assert named
    for reference in named:
        place = found
        for step in reference.removeprefix("#/").split("/"):
            place = place[step]
    assert "HTTPValidationError" not in json.dumps(found)


def test_a_server_is_built_without_asking_anything(served: Served, tmp_path: Path) -> None:
    app = build_app(settings_of(tmp_path, "http://127.0.0.1:9"))
    app.close()
    assert create_web(Service(app, served.world.here, None)).title == "nftloyalty"
