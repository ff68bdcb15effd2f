"""docs/api.md says what the server does: its examples are asked, its tables compared."""

import json
import re
import shlex
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any, get_args

import httpx2
import pytest

from nftloyalty.app import claiming, vouching
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.working import Worker
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain import refusal
from nftloyalty.domain.access import Scope
from nftloyalty.domain.gate import Consistency, ReasonCode
from nftloyalty.domain.mint import Reply
from nftloyalty.domain.program_file import template
from nftloyalty.domain.voucher import VoucherState, signed_to_json
from nftloyalty.domain.words import SkipCode
from nftloyalty.errors import LoyaltyError
from nftloyalty.web import app as web_app
from nftloyalty.web.deps import Service
from nftloyalty.web.errors import CODES, REFUSED
from nftloyalty.web.intents import PhaseName
from nftloyalty.web.schemas import ClaimIn, ConditionsIn, OwnershipOut
from tests.app.build import World, app_of, open_world, settings_of
from tests.web.conftest import serving, wait_for

DOCUMENT = (Path(__file__).parents[2] / "docs" / "api.md").read_text(encoding="utf-8")
BASE = "http://127.0.0.1:8000"
GOLD, MEMBER, NEWCOMER = (
    "0x70997970C51812dc3A010C7d01b50e0d17dc79C8",
    "0x3C44CdDdB6a900fa2b585dd299e03d12FA4293BC",
    "0x90F79bf6EB2c4f870365E785982E1f101E93b906",
)
DOCUMENTED_CLAIM = "int_0ktv3m8q1b2c4d5e6f7g8h9j0k"

# What is another each time; its kind of value is compared all the same.
VOLATILE = {
    *("block", "hash", "timestamp", "age_seconds", "checked_seconds_ago", "final"),
    *("joined_at", "transaction", "id", "status_url", "request_id", "created_at", "updated_at"),
    *("contract", "signer", "signature"),
}


@pytest.fixture(scope="module")
def shop(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[World, httpx2.Client]]:
    """The program that `init` writes, with the members of the document."""
    with DevChainServer() as chain:
        app = app_of(settings_of(tmp_path_factory.mktemp("shop"), chain.url))
        world = open_world(app, template("Morning Bean"))
        world.mint(f"{GOLD},gold,2049-12-31", f"{MEMBER},member,never")
        world.stamp("welcome", GOLD)
        here = world.here
        worker = Worker(app, here, [signer_of(app, claiming.relay_key(here))])
        worker.start()
        try:
            service = Service(app, here, worker, desk=vouching.open_desk(app, here))
            with Intake(app, here) as intake, serving(replace(service, intake=intake)) as client:
                wait_for(client, world)
                yield world, client
        finally:
            worker.stop()
            app.close()


def examples() -> list[tuple[str, Any]]:
    """Each command of the document with the answer below it."""
    return [
        (command, json.loads(answer))
        for command, answer in re.findall(r"^```sh\n(.*?)^```\n\n```json\n(.*?)^```", DOCUMENT, re.M | re.S)
    ]


def ask(client: httpx2.Client, command: str, folder: Path) -> httpx2.Response:
    """What curl would do. An option that is not known here fails."""
    words = shlex.split(command.replace("\\\n", " "))
    assert words.pop(0) == "curl"
    headers, body, url = {}, None, ""
    while words:
        word = words.pop(0)
        if word == "-H":
            name, _, value = words.pop(0).partition(": ")
            headers[name] = value
        elif word == "-d":
            body = words.pop(0)
            body = (folder / body[1:]).read_text() if body.startswith("@") else body
        elif word != "-s":
            assert not url, word
            url = word
    assert url.startswith(BASE)
    return client.request("GET" if body is None else "POST", url.removeprefix(BASE), content=body, headers=headers)


def compare(told: Any, found: Any, place: str = "") -> None:
    """The same keys, and the same values where they are not another each time."""
    if isinstance(told, dict):
        assert isinstance(found, dict), place
        assert list(told) == list(found), place
        for key, value in told.items():
            if key in VOLATILE and not isinstance(value, list):
                assert type(found[key]) is type(value), f"{place}.{key}"
            else:
                compare(value, found[key], f"{place}.{key}")
    elif isinstance(told, list):
        assert len(told) == len(found), place
        for number, (one, other) in enumerate(zip(told, found, strict=True)):
            compare(one, other, f"{place}[{number}]")
    else:
        assert found == told, place


def test_every_example_is_answered_as_the_document_says(shop: tuple[World, httpx2.Client], tmp_path: Path) -> None:
    world, client = shop
    deadline = world.app.now() + timedelta(days=1)
    voucher = claiming.create_card(world.app, world.here, NEWCOMER, tier=1, expires_at=0, deadline=deadline)
    (tmp_path / "voucher.json").write_text(json.dumps(signed_to_json(voucher)))
    claim = ""
    asked = examples()
    assert len(asked) == 13
    assert len(asked) == DOCUMENT.count("```sh") == DOCUMENT.count("```json")
    for command, told in asked:
        answer = ask(client, command.replace(DOCUMENTED_CLAIM, claim), tmp_path)
        found = answer.json()
        if "claim" in command and found.get("phase") is not None:
            claim = found["id"]
            give_up = time.monotonic() + 30
            while told["phase"] != "pending" and found["phase"] == "pending":
                assert time.monotonic() < give_up
                time.sleep(0.05)
                found = client.get(found["status_url"]).json()
        compare(told, found, command)
        assert answer.status_code == told.get("status", 200) if "code" in told else answer.is_success


def rows(heading: str) -> list[list[str]]:
    """The cells of the table under this header row."""
    body = DOCUMENT.partition(f"\n{heading}\n")[2]
    assert body, heading
    found = []
    for line in body.splitlines()[1:]:
        if not line.startswith("|"):
            break
        found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def test_the_table_of_errors_is_the_servers(shop: tuple[World, httpx2.Client]) -> None:
    told = [
        (code.strip("`"), int(status), title)
        for status, code, title, _ in rows("| status | code | title | what to do |")
    ]
    assert told == [(code, answer.status, answer.title) for code, answer in CODES.items()]


def test_every_error_of_ours_has_its_place_in_that_table() -> None:
    def below(kind: type[LoyaltyError]) -> Iterator[type[LoyaltyError]]:
        for each in kind.__subclasses__():
            yield each
            yield from below(each)

    # A state that can't be is a fault of ours, whatever its name.
    codes = {each.code for each in below(LoyaltyError) if each.__module__.startswith("nftloyalty.")}
    assert codes - CODES.keys() <= {"illegal_transition", "error"}


def test_refusals_are_called_as_domain_calls_them() -> None:
    known = {code.name.lower() for code in SkipCode}
    known |= {refusal._code(name.rpartition("_")[2]) for name in refusal._TABLE}
    assert set(REFUSED) - known == {"reverted"}
    assert {answer.status for answer in REFUSED.values()} == {409}


def test_reasons_phases_and_fields_are_all_there() -> None:
    assert [row[0].strip("`") for row in rows("| `consistency` | |")] == list(Consistency)
    assert [row[0].strip("`") for row in rows("| reason | |")] == list(ReasonCode)
    assert [row[0].strip("`") for row in rows("| what was asked for is | |")] == list(get_args(PhaseName))
    assert [row[0].strip("`") for row in rows("| `reply` | |")] == list(Reply)
    assert [row[0].strip("`") for row in rows("| `state` | |")] == list(VoucherState)
    scopes = {row[0].strip("`") for row in rows("| scope | for |")}
    assert scopes <= set(Scope)
    assert [row[0].strip("`") for row in rows("| `conditions` | default | |")] == list(ConditionsIn.model_fields)
    fields = {name for row in rows("| `voucher.json` | |") for name in re.findall(r"`([a-z_]+)[.`]", row[0])}
    assert fields == set(ClaimIn.model_fields)
    told = {name for row in rows("| field | |") for name in re.findall(r"`([a-z_]+)[.`]", row[0])}
    assert told == set(OwnershipOut.model_fields) - {"program", "wallet", "as_of"}


def test_routes_and_limits_are_the_servers(shop: tuple[World, httpx2.Client]) -> None:
    _, client = shop
    served = {
        f"{method.upper()} {re.sub('{[a-z]+_id}', '{id}', path)}"
        for path, methods in client.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert {row[0].strip("`") for row in rows("| route | for |")} == served
    assert f"at most {web_app.LARGEST_BODY_BYTES // 1024} KiB and {web_app.DEEPEST_BODY} levels deep" in DOCUMENT
