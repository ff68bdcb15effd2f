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

from nftloyalty.app import claiming, governing, verifying
from nftloyalty.app.context import build_app
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.working import Worker
from nftloyalty.chain.client import Node
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.gate import Consistency
from nftloyalty.domain.voucher import signed_to_json
from nftloyalty.errors import DatabaseProblem, KeyProblem, LoyaltyError, SignerHalted
from nftloyalty.store import index, index_steps
from nftloyalty.store.engine import begin
from nftloyalty.web import app as web_app
from nftloyalty.web.app import create_web
from nftloyalty.web.deps import Service
from nftloyalty.web.errors import CODES
from tests.app.build import app_of, new_member, new_wallet, open_world, settings_of
from tests.web.conftest import Served, serving

WALLET = "0x" + "1" * 40
HALF = "holds half a character (write \\u escapes in pairs, or plain UTF-8)"
ONE_OF_THEM = "is not one of 'head', 'final' and 'live' (write one of them)"
SECRET = "/srv/inside/keys"


def quiet() -> None:
    """A tick that nobody watches."""


def voucher(served: Served, to: str) -> dict[str, Any]:
    world = served.world
    deadline = datetime.now(UTC) + timedelta(days=1)
    return signed_to_json(claiming.create_card(world.app, world.here, to, tier=2, expires_at=0, deadline=deadline))


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    """The problem document of an answer, whose shape is checked."""
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    found: dict[str, Any] = answer.json()
    assert found.keys() <= {"type", "title", "status", "code", "detail", "mend", "errors", "request_id"}
    assert found["request_id"] == answer.headers["x-request-id"]
    assert (found["status"], found["code"], found["type"]) == (status, code, "about:blank")
    assert found["title"] == CODES[code].title
    assert CODES[code].status == status
    assert ("retry-after" in answer.headers) == (status == 503)
    return found


def told(found: dict[str, Any]) -> dict[str, str]:
    """What is said about each field of a problem, with its mend."""
    return {each["pointer"]: f"{each['detail']} ({each['mend']})" for each in found["errors"]}


def pointers(found: dict[str, Any]) -> set[str]:
    return {each["pointer"] for each in found["errors"]}


# ----------------------------------------------------------------------------------------------------------- ownership


def test_what_a_member_holds(served: Served) -> None:
    wallet = new_wallet()
    served.world.mint_outside(wallet, tier=2)
    served.index()
    found = served.client.get(f"/v1/ownership/{wallet.lower()}").json()
    assert found["wallet"] == wallet
    assert found["card"]["tier"] == "gold"
    assert found["card"]["active"] is True
    assert found["card"]["expires_at"] is None
    head = served.world.app.node.head()
    assert found["as_of"]["hash"] == head.hash
    assert found["as_of"]["final"] is True


def test_a_stranger_is_answered_and_not_unknown(client: httpx2.Client) -> None:
    found = client.get(f"/v1/ownership/{new_wallet()}").json()
    assert (found["card"], found["stamps"]) == (None, [])


@pytest.mark.parametrize("address", ["0x12", "nobody", "0x" + "0" * 40, "x" * 5000, "%00", "%ff"])
def test_a_wrong_address_is_pointed_at(client: httpx2.Client, address: str) -> None:
    assert pointers(problem_of(client.get(f"/v1/ownership/{address}"), 422, "bad_input")) == {"/address"}


# ----------------------------------------------------------------------------------------------------------------- gate


def test_the_gate_says_yes_and_no_with_reasons(served: Served) -> None:
    wallet = new_wallet()
    served.world.mint_outside(wallet)
    served.index()
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
    served.index()
    for conditions, allowed in (({"stamps": ["latte"]}, True), ({"stamps": ["latte"], "active": True}, False)):
        found = served.client.post("/v1/gate", json={"wallet": wallet, "conditions": conditions}).json()
        assert found["allowed"] is allowed


def test_asking_for_nothing_opens_nothing(served: Served) -> None:
    asked = {"wallet": new_wallet(), "conditions": {"active": False}}
    assert served.client.post("/v1/gate", json=asked).json()["allowed"] is False


def test_an_unknown_tier_or_stamp_is_not_found(client: httpx2.Client) -> None:
    for conditions in ({"min_tier": "platinum"}, {"stamps": ["tea"]}):
        found = problem_of(
            client.post("/v1/gate", json={"wallet": new_wallet(), "conditions": conditions}), 404, "unknown"
        )
        assert found["detail"].startswith("program bean-")
        assert found["mend"].startswith("its ")  # names the ones there are


JSON = {"Content-Type": "application/json"}


@pytest.mark.parametrize(
    ("content", "detail"),
    [
        (b"{", "reading stopped at character 2"),
        (b'{"wallet": }', "reading stopped at character 12"),
        (b"wallet=0x12", "reading stopped at character 1"),
        (b'{"wallet": ' + b"1" * 5000 + b"}", None),
        (b"\xff\xfe", "reading stopped at character 1"),
        (b'{"wallet": "\xff"}', None),
    ],
)
def test_what_is_no_json_is_told_with_its_place(client: httpx2.Client, content: bytes, detail: str | None) -> None:
    found = problem_of(client.post("/v1/gate", content=content, headers=JSON), 400, "not_json")
    assert found.get("detail") == detail


@pytest.mark.parametrize("content", [b"", b"[]", b"null", b"7", b'"text"'])
def test_what_is_no_json_object_is_refused(client: httpx2.Client, content: bytes) -> None:
    found = problem_of(client.post("/v1/gate", content=content, headers=JSON), 422, "bad_input")
    (only,) = found["errors"]
    assert only["pointer"] == "/"
    assert only["detail"] == ("is missing" if content == b"" else "must be an object")


@pytest.mark.parametrize(
    "media", [None, "text/plain", "application/x-www-form-urlencoded", "application/jsonp", "json"]
)
def test_a_body_that_is_not_declared_as_json_is_refused(client: httpx2.Client, media: str | None) -> None:
    headers = {"Content-Type": media} if media else {}
    for route in ("/v1/gate", "/v1/claim"):
        found = problem_of(client.post(route, content=b"{}", headers=headers), 415, "wrong_media_type")
        assert found["detail"] == (f"it is declared as '{media}'" if media else "it has no Content-Type")
        assert found["mend"] == "send the header Content-Type: application/json"


@pytest.mark.parametrize("media", ["application/json; charset=utf-8", "APPLICATION/JSON", "application/ld+json"])
def test_json_may_be_declared_in_many_ways(client: httpx2.Client, media: str) -> None:
    asked = json.dumps({"wallet": new_wallet()}).encode()
    assert client.post("/v1/gate", content=asked, headers={"Content-Type": media}).status_code == 200


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, {"/wallet": "is missing (add it)"}),
        ({"wallet": 7}, {"/wallet": "must be text (put it in quotes)"}),
        ({"wallet": "0x12"}, {"/wallet": "not an address (0x and 40 hex digits; copy it from the wallet)"}),
        ({"wallet": "0" * 65}, {"/wallet": "has more than 64 characters (make it shorter)"}),
        ({"wallet": WALLET, "condition": {}}, {"/condition": "is not known (did you mean conditions?)"}),
        ({"wallet": WALLET, "x": {}}, {"/x": "is not known (known here: wallet, conditions, consistency)"}),
        ({"wallet": WALLET, "conditions": []}, {"/conditions": 'must be an object (write it as {"name": value})'}),
        (
            {"wallet": WALLET, "conditions": {"min_teir": "gold", "tier": "gold"}},
            {
                "/conditions/min_teir": "is not known (did you mean min_tier?)",
                "/conditions/tier": "is not known (did you mean min_tier?)",
            },
        ),
        (
            {"wallet": WALLET, "conditions": {"a/b~c": 1}},
            {"/conditions/a~1b~0c": "is not known (known here: active, min_tier, stamps)"},
        ),
        (
            {"wallet": WALLET, "conditions": {"active": "no"}},
            {"/conditions/active": "must be true or false (without quotes)"},
        ),
        (
            {"wallet": WALLET, "conditions": {"stamps": "latte"}},
            {"/conditions/stamps": "must be a list (write it as [value, value])"},
        ),
        (
            {"wallet": WALLET, "conditions": {"stamps": ["latte"] * 121}},
            {"/conditions/stamps": "has more than 120 entries (make it shorter)"},
        ),
        (
            {"wallet": WALLET, "conditions": {"stamps": ["latte", 7]}},
            {"/conditions/stamps/1": "must be text (put it in quotes)"},
        ),
        ({"wallet": WALLET, "consistency": "newest"}, {"/consistency": ONE_OF_THEM}),
        ({"wallet": WALLET, "consistency": None}, {"/consistency": ONE_OF_THEM}),
        ({"wallet": "\ud800"}, {"/wallet": HALF}),
        ({"wallet": WALLET, "conditions": {"\ud800": 1}}, {"/conditions": HALF}),
    ],
)
def test_every_misfit_is_told_in_our_words_with_its_mend(
    client: httpx2.Client, body: dict[str, Any], said: dict[str, str]
) -> None:
    answer = client.post("/v1/gate", content=json.dumps(body), headers=JSON)
    assert told(problem_of(answer, 422, "bad_input")) == said


# ---------------------------------------------------------------------------------------------------------- consistency

LIVE = {"consistency": "live"}


def asked(client: httpx2.Client, wallet: str, consistency: str) -> tuple[dict[str, Any], bool]:
    """What ownership shows, but for its age, and whether the gate opens."""
    found = client.get(f"/v1/ownership/{wallet}", params={"consistency": consistency})
    allowed = client.post("/v1/gate", json={"wallet": wallet, "consistency": consistency})
    assert (found.status_code, allowed.status_code) == (200, 200)
    shown: dict[str, Any] = found.json()
    for age in ("age_seconds", "checked_seconds_ago"):
        assert shown["as_of"].pop(age) >= 0
    return shown, allowed.json()["allowed"]


def test_head_final_and_live_agree_after_each_change(served: Served) -> None:
    """On this chain a block is final at once."""
    world, here = served.world, served.world.here
    member, target = new_member(), new_member()

    def agreed(wallet: str) -> bool:
        served.index()
        head, final, live = (asked(served.client, wallet, each) for each in Consistency)
        assert head == final == live
        return live[1]

    assert not agreed(member.address)
    world.mint(f"{member.address},member,2049-12-31")
    assert agreed(member.address)
    governing.set_tier(world.app, here, member.address, 2, quiet)
    governing.renew(world.app, here, member.address, until=datetime(2060, 1, 1, tzinfo=UTC), term=None, tick=quiet)
    assert agreed(member.address)
    world.move(member, target)
    assert not agreed(member.address)
    assert agreed(target.address)
    governing.revoke(world.app, here, target.address, "a test", quiet)
    assert not agreed(target.address)


def test_a_consistency_that_is_none_is_pointed_at(client: httpx2.Client) -> None:
    answer = client.get(f"/v1/ownership/{new_wallet()}", params={"consistency": "newest"})
    assert told(problem_of(answer, 422, "bad_input")) == {"/consistency": ONE_OF_THEM}


def test_an_index_that_nobody_keeps_is_soon_too_old_for_any_answer(served: Served) -> None:
    """Neither yes nor no, at once; the node is asked where that is wanted."""
    world, wallet = served.world, new_wallet()
    world.mint_outside(wallet)
    served.index()
    late = replace(world.app, now=lambda: datetime.now(UTC) + timedelta(minutes=1))
    with serving(Service(late, world.here, None)) as client:
        for consistency in ("head", "final"):
            asked = {"consistency": consistency}
            problem_of(client.get(f"/v1/ownership/{wallet}", params=asked), 503, "index_behind")
            problem_of(client.post("/v1/gate", json={"wallet": wallet, **asked}), 503, "index_behind")
        problem_of(client.post("/v1/gate", json={"wallet": wallet}), 503, "index_behind")
        assert client.post("/v1/gate", json={"wallet": wallet, **LIVE}).json()["allowed"] is True
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json()["troubles"] == [{"code": "index_behind", "title": CODES["index_behind"].title}]
        assert ready.json()["block"] == world.app.node.head().number


def test_a_halted_index_gives_no_answer(tmp_path: Path, served: Served) -> None:
    world = open_world(app_of(settings_of(tmp_path, served.world.app.settings.rpc_url)))
    here, wallet = world.here, new_wallet()
    world.mint_outside(wallet)
    world.index()
    with begin(world.app.engine) as tx:
        at = index.position(tx, here.row.id)
        assert at is not None
        index_steps.halt(tx, at, f"block 7 was final; see {SECRET}")
    with serving(Service(world.app, here, None)) as client:
        found = problem_of(client.post("/v1/gate", json={"wallet": wallet}), 503, "index_halted")
        assert SECRET not in json.dumps(found)
        problem_of(client.get(f"/v1/ownership/{wallet}"), 503, "index_halted")
        assert client.post("/v1/gate", json={"wallet": wallet, **LIVE}).json()["allowed"] is True
        assert [each["code"] for each in client.get("/readyz").json()["troubles"]] == ["index_halted"]
    world.app.close()


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
    found = problem_of(served.client.post("/v1/claim", json=voucher(served, wallet)), 409, "already_held")
    assert found["title"] == "the wallet has it already"
    assert "the wallet already holds it" in found["detail"]


@pytest.mark.parametrize("claim", ["int_nothing", "%00", "%ED%A0%80", "a" * 3000])
def test_an_unknown_claim_is_not_found(client: httpx2.Client, claim: str) -> None:
    problem_of(client.get(f"/v1/claims/{claim}"), 404, "unknown")


def test_a_server_that_only_reads_takes_no_claims(served: Served) -> None:
    signed = voucher(served, new_wallet())
    with serving(Service(served.world.app, served.world.here, None, takes_claims=False)) as client:
        found = problem_of(client.post("/v1/claim", json=signed), 501, "read_only")
        assert "--read-only" in found["mend"]
        assert client.get("/readyz").json()["status"] == "ok"


# --------------------------------------------------------------------------------------------------------------- limits


def test_only_this_machine_is_answered(served: Served) -> None:
    for host in ("evil.example", "127.0.0.1.evil.example", "", "127.0.0.1@evil.example", "[::1", "10.0.0.1"):
        answer = served.client.get("/healthz", headers={"Host": host})
        problem_of(answer, 400, "wrong_host")
    for host in ("127.0.0.1", "127.0.0.1:8000", "localhost:9999", "[::1]:8000", "[::1]"):
        assert served.client.get("/healthz", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "http://127.0.0.1.evil.example", "null", "http://", "http://["]
)
def test_pages_of_other_sites_change_nothing_here(served: Served, origin: str) -> None:
    asked = {"wallet": new_wallet()}
    problem_of(served.client.post("/v1/gate", json=asked, headers={"Origin": origin}), 403, "foreign_origin")
    signed = voucher(served, new_wallet())
    problem_of(served.client.post("/v1/claim", json=signed, headers={"Origin": origin}), 403, "foreign_origin")
    assert served.client.get("/healthz", headers={"Origin": origin}).status_code == 200


@pytest.mark.parametrize(
    "origin", ["http://127.0.0.1:3000", "https://localhost", "http://[::1]:8000", "app-extension://ab"]
)
def test_pages_of_this_machine_may_ask(client: httpx2.Client, origin: str) -> None:
    answer = client.post("/v1/gate", json={"wallet": new_wallet()}, headers={"Origin": origin})
    assert answer.status_code == 200
    assert "access-control-allow-origin" not in answer.headers


def test_of_several_origins_none_may_be_foreign(client: httpx2.Client) -> None:
    headers = [("Origin", "http://127.0.0.1:3000"), ("Origin", "https://evil.example")]
    problem_of(client.post("/v1/gate", json={"wallet": new_wallet()}, headers=headers), 403, "foreign_origin")


def chunks(total: int) -> Iterator[bytes]:
    """A body that does not say how long it is."""
    for _ in range(total // 1024):
        yield b" " * 1024


def test_a_long_body_is_refused_whatever_it_says_of_its_length(client: httpx2.Client) -> None:
    problem_of(client.post("/v1/gate", content=b" " * 70_000), 413, "body_too_large")
    problem_of(client.post("/v1/gate", content=chunks(70_000)), 413, "body_too_large")


@pytest.mark.parametrize(
    "content",
    [
        b"[" * 60_000,
        b'{"a":' * 10_000,
        b'{"voucher": ' + b"[" * 25_000 + b"]" * 25_000 + b"}",
        b'{"\\"": ' + b"[" * 100,
    ],
)
def test_deep_nesting_is_refused_before_it_is_parsed(client: httpx2.Client, content: bytes) -> None:
    answer = client.post("/v1/claim", content=content, headers={"Content-Type": "application/json"})
    problem_of(answer, 400, "body_too_deep")


def test_brackets_in_text_are_no_nesting() -> None:
    assert not web_app._too_deep(b'"' + b"\\" * 101 + b"[" * 100)
    assert not web_app._too_deep(json.dumps({"a": "[" * 100 + '"' + "{" * 100}).encode())
    assert web_app._too_deep(b"[" * (web_app.DEEPEST_BODY + 1))
    assert not web_app._too_deep(b"[" * web_app.DEEPEST_BODY)
    assert not web_app._too_deep(b"[]" * 10_000)


def test_the_frameworks_own_errors_have_the_same_shape(client: httpx2.Client) -> None:
    problem_of(client.get("/nothing/here"), 404, "not_found")
    refused = client.delete("/v1/gate")
    problem_of(refused, 405, "method_not_allowed")
    assert refused.headers["allow"] == "POST"


# -------------------------------------------------------------------------------------------------------------- trouble


def test_a_node_that_is_away_is_unavailable(served: Served) -> None:
    world = served.world
    gone = replace(world.app, node=Node("http://127.0.0.1:9/key-of-the-node"))
    with serving(Service(gone, world.here, None)) as client:
        # What is indexed is answered all the same, for as long as it is young enough.
        assert client.get(f"/v1/ownership/{new_wallet()}").status_code == 200
        # The opened contracts still talk to the living node; the head is asked of the one that is gone.
        found = problem_of(client.get(f"/v1/ownership/{new_wallet()}", params=LIVE), 503, "node_unreachable")
        assert "127.0.0.1:9" not in json.dumps(found)
        ready = client.get("/readyz")
        assert ready.status_code == 503
        assert ready.json() == {
            "status": "not ready",
            "troubles": [{"code": "node_unreachable", "title": "the chain can't be reached now"}],
            "block": None,
        }
        assert client.get("/healthz").json() == {"status": "ok"}


def test_a_chain_that_was_started_anew_is_told_and_not_ready(served: Served) -> None:
    world = served.world
    with DevChainServer() as anew:
        app = replace(world.app, node=Node(anew.url))
        here = world.here
        here = replace(here, membership=replace(here.membership, node=app.node))
        with serving(Service(app, here, None)) as client:
            problem_of(client.get(f"/v1/ownership/{new_wallet()}", params=LIVE), 503, "chain_restarted")
            ready = client.get("/readyz")
            assert (ready.status_code, [each["code"] for each in ready.json()["troubles"]]) == (
                503,
                ["chain_restarted"],
            )


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
    # After a fault of ours uvicorn ends the connection.
    answer = served.client.get(f"/v1/ownership/{new_wallet()}", headers={"Connection": "close"})
    problem_of(answer, status, code)
    assert SECRET not in answer.text
    assert "Traceback" not in answer.text


def test_a_sender_in_trouble_is_not_ready(served: Served) -> None:
    world = served.world
    assert served.client.get("/readyz").json() == {
        "status": "ok",
        "troubles": [],
        "block": world.app.node.head().number,
    }
    stuck = Worker(world.app, world.here, [signer_of(world.app, "hot")])
    stuck.senders[0].note(f"0x12 has 0.000001 coins; see {SECRET}")
    with serving(Service(world.app, world.here, stuck)) as client:
        ready = client.get("/readyz")
        assert (ready.status_code, ready.json()["status"]) == (503, "not ready")
        assert ready.json()["troubles"] == [
            {"code": "claims_wait", "title": "what was accepted waits; the server's log says why"}
        ]
        assert "coins" not in ready.text


# ------------------------------------------------------------------------------------------------------ several wallets


def test_several_wallets_are_told_as_each_is_all_as_of_one_block(served: Served) -> None:
    member, nobody = new_wallet(), new_wallet()
    served.world.mint_outside(member)
    served.index()
    wallets = [nobody, member, nobody.lower()]
    for consistency in ("head", "final"):
        answer = served.client.post("/v1/ownership", json={"wallets": wallets, "consistency": consistency})
        items = answer.json()["items"]
        assert [each["wallet"] for each in items] == [nobody, member, nobody]
        assert len({each["as_of"]["hash"] for each in items}) == 1
        alone = served.client.get(f"/v1/ownership/{member}", params={"consistency": consistency}).json()
        assert items[1] | {"as_of": 0} == alone | {"as_of": 0}


@pytest.mark.parametrize(
    ("body", "pointer"),
    [
        ({"wallets": []}, "/wallets"),
        ({"wallets": ["0x1"]}, "/wallets/0"),
        ({"wallets": ["0x" + "11" * 20] * 501}, "/wallets"),
        ({"wallets": ["0x" + "11" * 20], "consistency": "live"}, "/consistency"),
    ],
)
def test_a_question_of_several_that_is_wrong_is_told_where(
    client: httpx2.Client, body: dict[str, Any], pointer: str
) -> None:
    found = problem_of(client.post("/v1/ownership", json=body), 422, "bad_input")
    assert [each["pointer"] for each in found["errors"]] == [pointer]


# -------------------------------------------------------------------------------------------------------------- OpenAPI


def test_the_description_is_openapi_3_1_and_lists_the_errors_of_every_route(client: httpx2.Client) -> None:
    found = client.get("/openapi.json").json()
    assert found["openapi"].startswith("3.1.")
    routes = {(path, method) for path, methods in found["paths"].items() for method in methods}
    for path, method in routes:
        answers = found["paths"][path][method]["responses"]
        errors = {status: answer for status, answer in answers.items() if int(status) >= 400}
        if (path, method) == ("/readyz", "get"):
            del errors["503"]  # its own answer, with what the trouble is
        named = set()
        for status, answer in errors.items():
            (content,) = answer["content"].items()
            assert content[0] == "application/problem+json"
            assert content[1]["schema"] == {"$ref": "#/components/schemas/ProblemOut"}
            for code, example in content[1]["examples"].items():
                assert (example["value"]["code"], example["value"]["status"]) == (code, int(status))
                assert f"- `{code}`: {CODES[code].title}" in answer["description"]
                named.add(code)
        assert "wrong_host" in named
        if "requestBody" in found["paths"][path][method]:
            assert {"not_json", "body_too_large", "wrong_media_type", "bad_input", "foreign_origin"} <= named
        acts = ("/v1/renewals", "/v1/tier-changes", "/v1/revocations", "/v1/readmissions")
        assert ("already_held" in named) == (path in ("/v1/claim", *acts))
        assert ("database_problem" in named) == path.startswith("/v1/")


def test_every_reference_of_the_description_leads_somewhere(client: httpx2.Client) -> None:
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
    assert create_web(Service(app, served.world.here, None)).api.title == "nftloyalty"
