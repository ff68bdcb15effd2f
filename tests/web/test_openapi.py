"""The OpenAPI document is complete: every operation says what it is, and every body stands there with an example."""

import base64
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import httpx2
import jsonschema_rs
import pytest

from nftloyalty.connect.webhooks import sign
from nftloyalty.domain.delivery import Message
from nftloyalty.web.access import PUBLIC, too_often
from nftloyalty.web.errors import CODES
from nftloyalty.web.examples import (
    BATCH_ID,
    CARD,
    CARD_BATCH,
    ENDPOINT_ID,
    ENDPOINT_MADE,
    GUEST,
    KEY_ID,
    NEWCOMER,
    VOUCHER,
    WALLETS,
)
from nftloyalty.web.problem_samples import sample
from nftloyalty.web.schemas import ACCESS_CODES

# Generated clients have functions of these names: to rename one breaks whoever calls it.
OPERATIONS = {
    "get_program": "GET /v1/program",
    "get_ownership": "GET /v1/ownership/{address}",
    "get_ownerships": "POST /v1/ownership",
    "ask_gate": "POST /v1/gate",
    "check_wallet": "GET /v1/check/{wallet}",
    "give_card": "POST /v1/mints",
    "give_stamp": "POST /v1/stamps",
    "give_batch": "POST /v1/batches",
    "list_batches": "GET /v1/batches",
    "get_batch": "GET /v1/batches/{batch_id}",
    "list_batch_items": "GET /v1/batches/{batch_id}/items",
    "renew_cards": "POST /v1/renewals",
    "change_tiers": "POST /v1/tier-changes",
    "revoke": "POST /v1/revocations",
    "readmit": "POST /v1/readmissions",
    "list_intents": "GET /v1/intents",
    "get_intent": "GET /v1/intents/{intent_id}",
    "list_events": "GET /v1/events",
    "get_event": "GET /v1/events/{event_id}",
    "list_endpoints": "GET /v1/webhooks",
    "create_endpoint": "POST /v1/webhooks",
    "get_endpoint": "GET /v1/webhooks/{endpoint_id}",
    "update_endpoint": "PATCH /v1/webhooks/{endpoint_id}",
    "delete_endpoint": "DELETE /v1/webhooks/{endpoint_id}",
    "rotate_endpoint_secret": "POST /v1/webhooks/{endpoint_id}/rotate",
    "disable_endpoint": "POST /v1/webhooks/{endpoint_id}/disable",
    "enable_endpoint": "POST /v1/webhooks/{endpoint_id}/enable",
    "test_endpoint": "POST /v1/webhooks/{endpoint_id}/test",
    "replay_events": "POST /v1/webhooks/{endpoint_id}/replay",
    "list_deliveries": "GET /v1/webhooks/{endpoint_id}/deliveries",
    "list_tries": "GET /v1/webhooks/{endpoint_id}/deliveries/{event_id}",
    "sign_voucher": "POST /v1/vouchers",
    "list_vouchers": "GET /v1/vouchers",
    "get_voucher": "GET /v1/vouchers/{voucher_id}",
    "claim_voucher": "POST /v1/claim",
    "get_claim": "GET /v1/claims/{claim_id}",
    "list_keys": "GET /v1/keys",
    "create_key": "POST /v1/keys",
    "rotate_key": "POST /v1/keys/{key_id}/rotate",
    "revoke_key": "DELETE /v1/keys/{key_id}",
    "get_health": "GET /healthz",
    "get_readiness": "GET /readyz",
    "get_metrics": "GET /metrics",
}


@pytest.fixture(scope="module")
def document(client: httpx2.Client) -> Any:
    return client.get("/openapi.json").json()


def operations(document: Any) -> Iterator[tuple[str, Any]]:
    """Each with its method and path."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


def contents(document: Any) -> Iterator[tuple[str, Any]]:
    """Every body that is asked or answered: where, and what is said of it."""
    for name, operation in operations(document):
        bodies = {"request": operation["requestBody"]} if "requestBody" in operation else {}
        for status, body in (bodies | operation["responses"]).items():
            assert body.get("content") or status == "204", f"{name} {status}"
            for media_type, content in body.get("content", {}).items():
                yield f"{name} {status} {media_type}", content


def faults(document: Any, schema: Any, examples: Mapping[str, Any]) -> list[str]:
    """What is wrong with examples, by the schema they stand beside. There must be one."""
    rules = {"$schema": "https://json-schema.org/draft/2020-12/schema", **schema, "components": document["components"]}
    validator = jsonschema_rs.Draft202012Validator(rules, validate_formats=True)
    found = [
        f"{name}: {error.message} at {list(error.instance_path)}"
        for name, example in examples.items()
        for error in validator.iter_errors(example)
    ]
    return found if examples else ["has none"]


def test_every_operation_says_what_it_is(document: Any) -> None:
    told = {tag["name"] for tag in document["tags"] if tag["description"]}
    for name, operation in operations(document):
        assert operation["summary"] and len(operation["tags"]) == 1 and set(operation["tags"]) <= told, name
        public = name.partition(" ")[2] in PUBLIC
        scopes = [scope for each in operation["security"] for names in each.values() for scope in names]
        assert operation["security"] == [] if public else len(scopes) == 1, name
        assert "Successful Response" not in str(operation["responses"]), f"{name} says nothing of its answer"
    assert document["openapi"].startswith("3.1.")
    assert document["info"]["description"] and document["info"]["license"]


def test_operations_have_short_names_that_stay(document: Any) -> None:
    names = [(operation["operationId"], name) for name, operation in operations(document)]
    found = dict(names)
    assert len(found) == len(names)
    assert [name for name in found if not re.fullmatch(r"[a-z]+(_[a-z]+){0,2}", name)] == []
    assert OPERATIONS.items() <= found.items()


def test_every_body_has_examples_that_fit_its_schema(document: Any) -> None:
    found = {
        where: wrong
        for where, content in contents(document)
        if (
            wrong := faults(
                document, content["schema"], {name: each["value"] for name, each in content.get("examples", {}).items()}
            )
        )
    }
    assert found == {}


def test_every_parameter_has_an_example_that_fits_its_schema(document: Any) -> None:
    for name, operation in operations(document):
        for parameter in operation.get("parameters", ()):
            schema = parameter["schema"]
            examples = [parameter["example"]] if "example" in parameter else schema.get("examples", [])
            where = f"{name}: {parameter['name']}"
            assert faults(document, schema, {str(each): each for each in examples}) == [], where
            assert parameter["description"], where
            assert not (parameter["required"] and "default" in schema), where


def test_events_are_described_as_they_are_sent(document: Any) -> None:
    operation = document["webhooks"]["event"]["post"]
    assert operation["operationId"] not in {each["operationId"] for _, each in operations(document)}
    content = operation["requestBody"]["content"]["application/json"]
    assert content["schema"] == {"$ref": "#/components/schemas/EventOut"}
    sent = content["examples"]["created"]["value"]
    assert faults(document, content["schema"], {"sent": sent}) == []
    headers = {each["name"]: each["example"] for each in operation["parameters"]}
    message = Message(
        id=sent["id"],
        program=sent["program"],
        type=sent["type"],
        phase=sent["phase"],
        object=sent["object"],
        sequence=sent["sequence"],
        data=sent["data"],
        at=datetime.fromisoformat(sent["timestamp"]),
    )
    assert json.loads(message.body()) == sent
    sent_at = datetime.fromtimestamp(int(headers["webhook-timestamp"]), UTC)
    secret = base64.b64decode(ENDPOINT_MADE["secret"].removeprefix("whsec_"))
    assert sign([secret], sent["id"], sent_at, message.body()) == headers


def test_an_example_that_does_not_fit_is_seen(document: Any) -> None:
    schema = {"$ref": "#/components/schemas/IntentOut"}
    (content,) = (each for where, each in contents(document) if where.startswith("GET /v1/intents/{intent_id} 200"))
    good = content["examples"]["final"]["value"]
    assert faults(document, schema, {}) == ["has none"]
    assert faults(document, schema, {"good": good}) == []
    for wrong in ({"phase": "done"}, {"created_at": "yesterday"}, {"wallet": None}):
        assert len(faults(document, schema, {"wrong": good | wrong})) == 1, wrong


def test_every_error_of_an_operation_is_one_of_the_servers(document: Any) -> None:
    for name, operation in operations(document):
        codes: set[str] = set()
        for status, answer in operation["responses"].items():
            for media_type, content in answer["content"].items():
                assert (media_type == "application/problem+json") == (
                    status >= "400" and "ReadyOut" not in str(content)
                )
                if media_type == "application/problem+json":
                    assert content["schema"] == {"$ref": "#/components/schemas/ProblemOut"}
                    for code, example in content["examples"].items():
                        told = example["value"]
                        assert (told["code"], told["status"], told["title"]) == (
                            code,
                            int(status),
                            CODES[code].title,
                        ), name
                        assert CODES[code].status == int(status)
                        codes.add(code)
        assert {"wrong_host", "by_proxy"} <= codes
        assert (codes >= set(ACCESS_CODES)) == bool(operation["security"]), name


# What provokes each of these errors, and what is sent along. Answered is what the document shows, word for word.
GIVEN = f'{{"wallet": "{GUEST}", "tier": "gold"}}'
JSON = {"Content-Type": "application/json"}
KEYED = JSON | {"Idempotency-Key": "order-1001"}
PROVOKED: Mapping[str, tuple[str, str, dict[str, str], str]] = {
    "wrong_host": ("GET", "/v1/program", {"Host": "rebound.example"}, ""),
    "by_proxy": ("GET", "/v1/program", {"X-Forwarded-For": "203.0.113.7"}, ""),
    "foreign_origin": ("POST", "/v1/gate", JSON | {"Origin": "https://other.example"}, "{}"),
    "not_json": ("POST", "/v1/mints", KEYED, GIVEN[:52]),
    "body_too_deep": ("POST", "/v1/mints", KEYED, "[" * 17),
    "body_too_large": ("POST", "/v1/mints", KEYED, " " * 65_537),
    "wrong_media_type": ("POST", "/v1/mints", {"Content-Type": "text/plain", "Idempotency-Key": "a"}, GIVEN),
    "idempotency_key_missing": ("POST", "/v1/mints", JSON, GIVEN),
    "bad_input": ("POST", "/v1/gate", JSON, '{"wallet": "0x7099"}'),
    "key_reused": ("POST", "/v1/mints", KEYED, GIVEN.replace(GUEST, NEWCOMER)),
}


@pytest.mark.parametrize("code", PROVOKED)
def test_an_error_is_shown_as_it_is_answered(client: httpx2.Client, code: str) -> None:
    if code == "key_reused":
        assert client.post("/v1/mints", content=GIVEN, headers=KEYED).status_code in (200, 202)
    method, path, headers, body = PROVOKED[code]
    answer = client.request(method, path, headers=headers, content=body)
    assert answer.json() | {"request_id": ""} == sample(code) | {"request_id": ""}
    assert answer.status_code == sample(code)["status"]


# Requests whose errors a route words in its own way: method, route, what its path is asked with, body.
SINGLE: Sequence[tuple[str, str, str, Any]] = (
    ("GET", "/v1/intents/{intent_id}", "/v1/intents/int_0", None),
    ("GET", "/v1/intents/{intent_id}", f"/v1/intents/{'i' * 65}", None),
    ("GET", "/v1/intents", "/v1/intents?cursor=next", None),
    ("GET", "/v1/batches", "/v1/batches?cursor=next", None),
    ("GET", "/v1/batches/{batch_id}", f"/v1/batches/{BATCH_ID}", None),
    ("GET", "/v1/events", "/v1/events?cursor=next", None),
    ("GET", "/v1/events/{event_id}", "/v1/events/evt_0", None),
    ("GET", "/v1/claims/{claim_id}", "/v1/claims/int_0", None),
    ("GET", "/v1/vouchers", "/v1/vouchers?cursor=next", None),
    ("GET", "/v1/vouchers/{voucher_id}", "/v1/vouchers/vou_0", None),
    ("GET", "/v1/vouchers/{voucher_id}", f"/v1/vouchers/{'v' * 65}", None),
    ("GET", "/v1/ownership/{address}", "/v1/ownership/0x12", None),
    ("POST", "/v1/ownership", "/v1/ownership", WALLETS | {"wallets": [GUEST, "0x12"]}),
    ("POST", "/v1/batches", "/v1/batches", CARD_BATCH | {"items": [CARD_BATCH["items"][0], CARD | {"wallet": "0x12"}]}),
    ("POST", "/v1/renewals", "/v1/renewals", {"items": [{"wallet": GUEST}]}),
    (
        "POST",
        "/v1/tier-changes",
        "/v1/tier-changes",
        {"items": [{"wallet": GUEST, "tier": "gold"}, {"wallet": "0x12", "tier": "gold"}]},
    ),
    (
        "POST",
        "/v1/claim",
        "/v1/claim",
        VOUCHER | {"voucher": {name: value for name, value in VOUCHER["voucher"].items() if name != "tier"}},
    ),
    ("GET", "/v1/webhooks/{endpoint_id}", f"/v1/webhooks/{ENDPOINT_ID}", None),
    ("POST", "/v1/webhooks", "/v1/webhooks", {"url": "gopher://shop.example"}),
    ("POST", "/v1/webhooks/{endpoint_id}/rotate", f"/v1/webhooks/{ENDPOINT_ID}/rotate", {"overlap_hours": -1}),
    ("POST", "/v1/webhooks/{endpoint_id}/replay", f"/v1/webhooks/{ENDPOINT_ID}/replay", {}),
    ("POST", "/v1/keys", "/v1/keys", {"name": "Web shop", "scopes": []}),
    ("DELETE", "/v1/keys/{key_id}", f"/v1/keys/{KEY_ID}", None),
)


@pytest.mark.parametrize(("method", "route", "path", "body"), SINGLE)
def test_what_is_said_of_a_route_is_what_it_says(
    client: httpx2.Client, document: Any, method: str, route: str, path: str, body: Any
) -> None:
    answer = client.request(method, path, headers={"Idempotency-Key": "a-mistake"}, json=body)
    told = document["paths"][route][method.lower()]["responses"][str(answer.status_code)]
    found = answer.json()
    example = told["content"]["application/problem+json"]["examples"][found["code"]]["value"]
    assert found | {"request_id": ""} == example | {"request_id": ""}


def test_who_asks_too_often_is_told_so() -> None:
    answer = too_often(2)
    shown = sample("too_many_requests")
    shown.pop("request_id")
    assert httpx2.Response(429, content=bytes(answer.body)).json() == shown
