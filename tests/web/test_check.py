"""The raw route gives the gate's answers, refuses what the gate refuses, and holds nobody up."""

import asyncio
import json
import logging
import os
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from http.client import HTTPConnection
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import httpx2
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy import Engine, create_engine, delete, insert, text, update

from nftloyalty.app import verifying
from nftloyalty.app.checking import MOST_AT_ONCE, Checks
from nftloyalty.app.context import App
from nftloyalty.app.opening import Attached, Opened
from nftloyalty.chain.client import Block
from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.domain.address import checksummed
from nftloyalty.domain.holding import HoldingState
from nftloyalty.store import checks, index, index_steps, programs
from nftloyalty.store.engine import begin
from nftloyalty.store.tables import holdings, positions, seasons, undo
from nftloyalty.web import app as web_app
from nftloyalty.web import check
from nftloyalty.web.app import Quick, create_web
from nftloyalty.web.check import wallet_bytes
from nftloyalty.web.deps import Service
from nftloyalty.web.errors import CODES
from tests.app.build import app_of, program_of, program_text, settings_of
from tests.conftest import ENGINES, PostgreSQL
from tests.store.build import CHAIN_ID, GENESIS, header, prepared
from tests.web.conftest import serving

NOW_SECONDS = int(time.time())
MEMBER, GOLD, EXPIRED, LEFT, ROSE, STRANGER = (bytes([number]) * 20 for number in range(1, 7))


@dataclass(frozen=True)
class Till:
    """A program with an index written by hand, and its server. The index stands at block 13, of which 11 is final."""

    app: App
    opened: Opened
    client: httpx2.Client

    def ask(self, wallet: bytes | str, query: str | list[tuple[str, str]] = "") -> httpx2.Response:
        shown = wallet if isinstance(wallet, str) else "0x" + wallet.hex()
        words = query if isinstance(query, str) else urlencode(query)
        return self.client.get(f"/v1/check/{shown}" + (f"?{words}" if words else ""))

    def put(self, wallet: bytes, state: HoldingState, before: HoldingState | None = None) -> None:
        """A wallet's holding, and what it was before block 13."""
        with begin(self.app.engine) as tx:
            for table in (holdings, undo):
                tx.execute(delete(table).where(table.c.program == self.opened.row.id, table.c.wallet == wallet))
            row = dict(zip(index.STATE, state.to_row(), strict=True)) | {
                "program": self.opened.row.id,
                "wallet": wallet,
            }
            tx.execute(insert(holdings), row)
            if before is not None:
                was = dict(zip(index.STATE, before.to_row(), strict=True))
                tx.execute(insert(undo), row | was | {"block_number": 13})

    def stand(self, **values: Any) -> None:
        with begin(self.app.engine) as tx:
            tx.execute(update(positions).values(**values))


def card(tier: int = 1, expires_at: int = 0, stamps: int = 0, flags: int = 0) -> HoldingState:
    return HoldingState(NOW_SECONDS - 1000, expires_at, tier, 7, flags, [stamps | stamps << 120])


@contextmanager
def till(folder: Path, database_url: str) -> Iterator[Till]:
    # The index is written once and does not go on.
    app = app_of(settings_of(folder, "http://127.0.0.1:9", database_url, NFTLOYALTY_INDEX_MAX_AGE="3600"))
    try:
        program = program_of(program_text())
        with begin(app.engine) as tx:
            ground = prepared(tx)
            index_steps.start(tx, ground.program, 11, header(10))
            at = index.position(tx, ground.program)
            assert at is not None
            index_steps.advance(tx, at, [header(11), header(12), header(13)], [], 11, confirmed_at=app.now())
            tx.execute(
                insert(seasons), {"program": ground.program, "season": 0, "stamps": bytes(20), "block_number": 11}
            )
            row = programs.find(tx, ground.chain, "coffee")
        assert row is not None
        attached = Attached(
            ground.chain, CHAIN_ID, GENESIS, Block(13, header(13).hash, header(12).hash, NOW_SECONDS, 0)
        )
        opened = Opened(program, attached, row, Membership(app.node, row.membership), Stamps(app.node, row.stamps))
        with serving(Service(app, opened, None)) as client:
            here = Till(app, opened, client)
            here.put(MEMBER, card())
            here.put(GOLD, card(2, NOW_SECONDS + 3600, stamps=0b11))
            here.put(EXPIRED, card(2, NOW_SECONDS - 10, stamps=0b1))
            here.put(LEFT, HoldingState(serial=3, flags=1))
            here.put(ROSE, card(2, stamps=0b1), before=card(1))
            yield here
    finally:
        app.close()


@pytest.fixture(scope="module", params=ENGINES)
def here(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Till]:
    folder = tmp_path_factory.mktemp("till")
    if request.param == "sqlite":
        with till(folder, "") as found:
            yield found
        return
    server: PostgreSQL = request.getfixturevalue("postgresql")
    name = server.create(request.getfixturevalue("postgresql_template"))
    with till(folder, server.url(name)) as found:
        yield found
    server.drop(name)


@pytest.fixture(scope="module")
def remote(
    postgresql: PostgreSQL, postgresql_template: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Till]:
    """On PostgreSQL: a file has no connection to lose."""
    name = postgresql.create(postgresql_template)
    with till(tmp_path_factory.mktemp("remote"), postgresql.url(name)) as found:
        yield found
    postgresql.drop(name)


def of_the_gate(here: Till, wallet: bytes, conditions: dict[str, Any], consistency: str) -> dict[str, Any]:
    """What POST /v1/gate answers, in the words of the check."""
    asked = {"wallet": "0x" + wallet.hex(), "conditions": conditions, "consistency": consistency}
    answer = here.client.post("/v1/gate", json=asked)
    assert answer.status_code == 200, answer.text
    return steady(answer.json()) | {"wallet": "0x" + wallet.hex()}


def steady(found: dict[str, Any]) -> dict[str, Any]:
    """Without what a second that goes by in between changes."""
    ages = {"age_seconds", "checked_seconds_ago"}
    assert ages < found["as_of"].keys()
    return found | {"as_of": {key: value for key, value in found["as_of"].items() if key not in ages}}


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json"), answer.text
    found: dict[str, Any] = answer.json()
    assert (found["status"], found["code"], found["title"]) == (status, code, CODES[code].title)
    assert ("retry-after" in answer.headers) == (status == 503)
    return found


def told(found: dict[str, Any]) -> dict[str, str]:
    return {each["pointer"]: f"{each['detail']} ({each['mend']})" for each in found["errors"]}


# -------------------------------------------------------------------------------------------------------------- answers


@pytest.mark.parametrize(
    ("wallet", "query", "reasons"),
    [
        (MEMBER, "", []),
        (MEMBER, "tier=member", []),
        (MEMBER, "tier=gold", ["below_tier"]),
        (MEMBER, "tier=gold&stamp=latte&stamp=tasting", ["below_tier", "missing_stamp", "missing_stamp"]),
        (GOLD, "tier=gold&stamp=latte&stamp=tasting&active=true", []),
        (EXPIRED, "", ["expired"]),
        (EXPIRED, "stamp=latte", []),
        (EXPIRED, "stamp=latte&active=1", ["expired"]),
        (EXPIRED, "stamp=latte&active=0", []),
        (LEFT, "active=true", ["left"]),
        (STRANGER, "", ["no_card"]),
        (STRANGER, "stamp=latte", ["missing_stamp"]),
        (GOLD, "active=false", ["no_condition"]),
        (ROSE, "tier=gold&stamp=latte&consistency=head", []),
        (ROSE, "tier=gold&stamp=latte&consistency=final", ["below_tier", "missing_stamp"]),
    ],
)
def test_it_says_yes_and_no_with_reasons(here: Till, wallet: bytes, query: str, reasons: list[str]) -> None:
    answer = here.ask(wallet, query)
    assert answer.status_code == 200
    assert (answer.headers["content-type"], answer.headers["cache-control"]) == ("application/json", "no-store")
    found = answer.json()
    assert list(found) == ["wallet", "allowed", "reasons", "as_of"]
    assert [reason["code"] for reason in found["reasons"]] == reasons
    assert all(reason["sentence"] for reason in found["reasons"])
    assert found["allowed"] is (reasons == [])


def test_it_names_the_block_and_how_old_that_is(here: Till) -> None:
    as_of = here.ask(MEMBER).json()["as_of"]
    assert (as_of["block"], as_of["hash"], as_of["final"]) == (13, header(13).hash, False)
    assert as_of["timestamp"] == verifying._iso(header(13).timestamp)
    assert abs(as_of["age_seconds"] - (time.time() - header(13).timestamp)) < 5
    assert 0 <= as_of["checked_seconds_ago"] < 60
    final = here.ask(MEMBER, "consistency=final").json()["as_of"]
    assert (final["block"], final["hash"], final["final"]) == (11, header(11).hash, True)


types = st.sets(st.integers(1, 3))
states = st.builds(
    card,
    st.integers(0, 3),
    st.sampled_from([0, 1, NOW_SECONDS - 3600, NOW_SECONDS + 3600, (1 << 40) - 1]),
    types.map(lambda found: sum(1 << number - 1 for number in found)),
    st.integers(0, 15),
) | st.builds(HoldingState, flags=st.integers(0, 15))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    state=states,
    before=st.none() | states,
    active=st.none() | st.booleans(),
    tier=st.none() | st.sampled_from(["member", "gold"]),
    stamps=st.lists(st.sampled_from(["latte", "tasting"]), max_size=3),
    consistency=st.sampled_from(["head", "final"]),
)
def test_it_answers_as_the_gate_does(
    here: Till,
    state: HoldingState,
    before: HoldingState | None,
    active: bool | None,
    tier: str | None,
    stamps: list[str],
    consistency: str,
) -> None:
    wallet = b"\x77" * 20
    here.put(wallet, state, before)
    conditions: dict[str, Any] = {"stamps": stamps}
    query = [("stamp", stamp) for stamp in stamps] + [("consistency", consistency)]
    if active is not None:
        conditions["active"] = active
        query.append(("active", "true" if active else "false"))
    if tier is not None:
        conditions["min_tier"] = tier
        query.append(("tier", tier))
    assert steady(here.ask(wallet, query).json()) == of_the_gate(here, wallet, conditions, consistency)


def test_a_card_expires_by_the_clock_and_by_the_block(here: Till) -> None:
    wallet = b"\x88" * 20
    here.put(wallet, card(expires_at=NOW_SECONDS + 5000))
    assert here.ask(wallet).json()["allowed"] is True
    here.stand(timestamp=NOW_SECONDS + 5000)
    try:
        assert [each["code"] for each in here.ask(wallet).json()["reasons"]] == ["expired"]
        assert here.ask(wallet).json()["as_of"]["age_seconds"] == 0
    finally:
        here.stand(timestamp=header(13).timestamp)


def test_the_wallet_is_answered_as_it_was_asked(here: Till) -> None:
    lower = "0x" + "ab" * 20
    for shown in (lower, "0x" + "AB" * 20, checksummed("ab" * 20)):
        assert here.ask(shown).json()["wallet"] == shown


# --------------------------------------------------------------------------------------------------- several at a time


async def told_at_once(here: Till, asked: list[tuple[bytes, str]]) -> list[tuple[int, dict[str, Any]]]:
    """Answers to requests that come in one turn of the loop."""

    async def ask(web: Quick, wallet: bytes, query: str) -> tuple[int, dict[str, Any]]:
        path = f"{check.PATH}0x{wallet.hex()}"
        scope = {"type": "http", "method": "GET", "path": path, "query_string": query.encode()}
        messages: list[Any] = []

        async def send(message: Any) -> None:
            messages.append(message)

        await web(scope | {"headers": [(b"host", b"127.0.0.1")]}, no_body, send)
        return messages[0]["status"], json.loads(messages[1]["body"])

    web = create_web(Service(here.app, here.opened, None))
    async with web.api.router.lifespan_context(web.api):
        return await asyncio.gather(*(ask(web, *each) for each in asked))


async def no_body() -> Any:
    return {"type": "http.request", "body": b"", "more_body": False}


@pytest.fixture
def look_ups(monkeypatch: pytest.MonkeyPatch) -> list[int]:
    """How many questions were answered by each."""
    found: list[int] = []
    answers = Checks.answers

    def counted(self: Checks, asked: Any) -> Any:
        found.append(len(asked))
        return answers(self, asked)

    monkeypatch.setattr(Checks, "answers", counted)
    return found


def test_who_asks_at_once_is_answered_at_once_each_his_own(here: Till, look_ups: list[int]) -> None:
    asked = [
        (wallet, query)
        for query in ("", "tier=gold", "stamp=latte&consistency=final", "stamp=latte", "consistency=final")
        for wallet in (MEMBER, STRANGER, GOLD, EXPIRED, LEFT, ROSE)
    ]
    found = asyncio.run(told_at_once(here, asked))
    assert look_ups[0] == len(asked)
    for (wallet, query), (status, answer) in zip(asked, found, strict=True):
        assert (status, steady(answer)) == (200, steady(here.ask(wallet, query).json()))


def test_more_than_one_look_up_takes_are_answered_by_two(here: Till, look_ups: list[int]) -> None:
    found = asyncio.run(told_at_once(here, [(GOLD, ""), (STRANGER, "")] * MOST_AT_ONCE))
    assert look_ups == [MOST_AT_ONCE, MOST_AT_ONCE]
    assert [answer["allowed"] for _, answer in found] == [True, False] * MOST_AT_ONCE


def test_one_who_is_refused_takes_nobody_along(here: Till) -> None:
    found = asyncio.run(told_at_once(here, [(GOLD, ""), (GOLD, "teir=gold"), (bytes(20), ""), (GOLD, "tier=gold")]))
    assert [status for status, _ in found] == [200, 422, 422, 200]


def test_all_are_told_of_trouble(here: Till) -> None:
    here.stand(incident="block 12 is gone")
    try:
        found = asyncio.run(told_at_once(here, [(GOLD, ""), (MEMBER, "consistency=final"), (STRANGER, "")]))
    finally:
        here.stand(incident=None)
    assert [(status, answer["code"]) for status, answer in found] == [(503, "index_halted")] * 3


def test_one_who_leaves_takes_nobody_along(here: Till) -> None:
    """Also the first of a turn, who would have looked up for the others."""

    async def turn() -> list[bool]:
        checks_ = Checks(here.app, here.opened)
        checks_.look_ups.open()
        found = check.Turn(checks_, b"turn")
        question = checks_.question(active=True, tier=None, stamps=())

        async def ask(wallet: bytes) -> bool:
            place = found.join(question, wallet)
            await check.next_turn()
            answers = found.look_up() if found.answers is None else found.answers
            return answers[place].allowed

        tasks = [asyncio.ensure_future(ask(wallet)) for wallet in (STRANGER, GOLD, STRANGER)]
        asyncio.get_running_loop().call_soon(tasks[0].cancel)
        told = await asyncio.gather(*tasks, return_exceptions=True)
        checks_.look_ups.close()
        assert isinstance(told[0], asyncio.CancelledError)
        return [each for each in told if isinstance(each, bool)]

    assert asyncio.run(turn()) == [True, False]


def test_the_next_check_sees_what_was_written_before_it(here: Till) -> None:
    wallet = b"\x66" * 20
    for tier in (1, 2) * 10:
        here.put(wallet, card(tier))
        assert here.ask(wallet, "tier=gold").json()["allowed"] is (tier == 2)


# --------------------------------------------------------------------------------------------------------------- errors

COPY = "(0x and 40 hex digits; copy it from the wallet)"


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ("nobody", f"not an address {COPY}"),
        ("0x12", f"not an address {COPY}"),
        ("0X" + "ab" * 20, f"not an address {COPY}"),
        ("0x" + "ab" * 19 + "%20%20", f"not an address {COPY}"),
        ("0x" + "ab" * 19 + "zz", f"not an address {COPY}"),
        ("0x" + "%C3%A9" * 40, f"not an address {COPY}"),
        ("%00" * 42, f"not an address {COPY}"),
        ("1x" + "ab" * 20, f"not an address {COPY}"),
        ("x" * 5000, f"not an address {COPY}"),
        ("0x" + "0" * 40, f"the zero address {COPY}"),
        ("0x" + "Ab" * 20, f"wrong checksum, so a character of it is not as it was {COPY}"),
    ],
)
def test_a_wrong_address_is_pointed_at(here: Till, shown: str, said: str) -> None:
    assert told(problem_of(here.ask(shown), 422, "bad_input")) == {"/wallet": said}


@pytest.mark.parametrize(
    ("query", "said"),
    [
        ("teir=gold", {"/teir": "is not known (did you mean tier?)"}),
        ("x=1", {"/x": "is not known (known here: tier, active, consistency, stamp)"}),
        (
            "&".join(f"x{number}" for number in range(300)),
            {f"/x{number}": "is not known (known here: tier, active, consistency, stamp)" for number in range(20)},
        ),
        ("a/b=1", {"/a~1b": "is not known (known here: tier, active, consistency, stamp)"}),
        ("tier=member&tier=gold", {"/tier": "is given twice (give it once)"}),
        ("active=yes", {"/active": "must be true or false (write active=true, or leave it out)"}),
        ("active=", {"/active": "must be true or false (write active=true, or leave it out)"}),
        ("active=true&active=true", {"/active": "is given twice (give it once)"}),
        ("consistency=live", {"/consistency": "must be head or final (POST /v1/gate asks the node)"}),
        ("consistency=", {"/consistency": "must be head or final (or leave it out)"}),
        ("tier=" + "x" * 65, {"/tier": "has more than 64 characters (make it shorter)"}),
        ("stamp=latte&stamp=" + "x" * 65, {"/stamp/1": "has more than 64 characters (make it shorter)"}),
        ("&".join(["stamp=latte"] * 121), {"/stamp": "has more than 120 entries (make it shorter)"}),
        ("x" * 20_000, {"/": "the query has more than 16384 bytes (ask for fewer stamps at once)"}),
        (
            "active=7&tiers=gold&consistency=now",
            {
                "/tiers": "is not known (did you mean tier?)",
                "/active": "must be true or false (write active=true, or leave it out)",
                "/consistency": "must be head or final (or leave it out)",
            },
        ),
    ],
)
def test_what_is_not_understood_opens_nothing(here: Till, query: str, said: dict[str, str]) -> None:
    assert told(problem_of(here.ask(GOLD, query), 422, "bad_input")) == said


@pytest.mark.parametrize("query", ["tier=platinum", "tier=", "stamp=tea", "stamp=", "stamp=%ff%fe", "tier=GOLD"])
def test_an_unknown_tier_or_stamp_is_not_found(here: Till, query: str) -> None:
    found = problem_of(here.ask(GOLD, query), 404, "unknown")
    assert found["detail"].startswith("program bean-")
    assert found["mend"].startswith("its ")


def test_a_long_question_is_answered_and_not_kept(here: Till) -> None:
    query = "&".join(["stamp=latte"] * 120)
    assert len(query) > check._LONGEST_KEPT
    assert here.ask(GOLD, query).json()["allowed"] is True


@pytest.mark.parametrize("method", ["HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
def test_it_is_only_asked(here: Till, method: str) -> None:
    answer = here.client.request(method, "/v1/check/0x" + GOLD.hex())
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET")
    if method != "HEAD":
        assert answer.json()["code"] == "method_not_allowed"


@pytest.mark.parametrize("path", ["/v1/check", "/v1/check/", "/v1/check/0x12/more", "/v1/checks/0x12"])
def test_what_is_beside_it_is_no_route(here: Till, path: str) -> None:
    problem_of(here.client.get(path), 404, "not_found")


def test_it_answers_to_this_machine_only(here: Till) -> None:
    path = "/v1/check/0x" + GOLD.hex()
    problem_of(here.client.get(path, headers={"Host": "evil.example"}), 400, "wrong_host")
    problem_of(here.client.get(path, headers={"Host": "a" * 5000}), 400, "wrong_host")
    for hosts in (("", "127.0.0.1"), ("127.0.0.1", ""), ("127.0.0.1", "evil.example")):
        # A proper client sends one.
        connection = HTTPConnection(here.client.base_url.host, here.client.base_url.port)
        connection.putrequest("GET", path, skip_host=True)
        for host in hosts:
            connection.putheader("Host", host)
        connection.endheaders()
        answer = connection.getresponse()
        assert (answer.status, json.loads(answer.read())["code"]) == (400, "wrong_host"), hosts
        connection.close()
    for proxys in ("X-Forwarded-For", "X-Real-IP", "Forwarded"):
        problem_of(here.client.get(path, headers={proxys: "203.0.113.7"}), 403, "by_proxy")
    assert here.client.get(path, headers={"Host": "localhost:8000"}).status_code == 200
    # A page of another site may send a GET and can't read the answer: nobody is told that it may.
    foreign = here.client.get(path, headers={"Origin": "https://evil.example"})
    assert "access-control-allow-origin" not in foreign.headers


def test_an_index_that_is_old_or_halted_gives_no_answer(here: Till) -> None:
    now = here.app.now()
    try:
        here.stand(confirmed_at=now - timedelta(seconds=here.app.settings.index_max_age_seconds + 1))
        problem_of(here.ask(GOLD), 503, "index_behind")
        here.stand(confirmed_at=None)
        problem_of(here.ask(GOLD, "consistency=final"), 503, "index_behind")
        here.stand(confirmed_at=now, incident="block 12 is gone")
        found = problem_of(here.ask(GOLD), 503, "index_halted")
        assert "block 12" not in str(found)
    finally:
        here.stand(confirmed_at=here.app.now(), incident=None)
    assert here.ask(GOLD).status_code == 200


# -------------------------------------------------------------------------------------------------------------- trouble


def test_it_answers_while_others_write(here: Till) -> None:
    wallet, done = b"\x99" * 20, threading.Event()
    longest = 0.0

    def write() -> None:
        for number in range(40):
            here.put(wallet, card(1 + number % 2))
        done.set()

    writer = threading.Thread(target=write)
    writer.start()
    asked = 0
    while not done.is_set() or not asked:
        began = time.monotonic()
        assert here.ask(wallet, "tier=member").status_code == 200
        longest = max(longest, time.monotonic() - began)
        asked += 1
    writer.join()
    assert longest < checks.LONGEST_SECONDS + 2
    assert here.ask(wallet, "tier=gold").json()["allowed"] is True


def connections(engine: Engine) -> list[int]:
    """Of all that are connected to the database but this one, who stopped at a statement of the check last."""
    with begin(engine) as tx:
        query = text(
            "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid() "
            "AND query LIKE '%AS standing%'"
        )
        return list(tx.execute(query).scalars())


def test_a_connection_that_was_cut_is_mended_by_the_next_request(remote: Till) -> None:
    assert remote.ask(GOLD).status_code == 200
    (process,) = connections(remote.app.engine)
    with begin(remote.app.engine) as tx:
        tx.execute(text("SELECT pg_terminate_backend(:process, 5000)"), {"process": process})
    assert remote.ask(GOLD).json()["allowed"] is True
    assert connections(remote.app.engine) != [process]


def test_a_database_that_hangs_is_told_and_holds_nobody_up(remote: Till) -> None:
    assert remote.ask(GOLD).status_code == 200
    with begin(remote.app.engine) as tx:
        tx.execute(text("LOCK TABLE holdings IN ACCESS EXCLUSIVE MODE"))
        problem_of(remote.ask(GOLD), 503, "database_problem")
        # Now it rests: nobody waits, and the server's other routes go on.
        began = time.monotonic()
        problem_of(remote.ask(GOLD), 503, "database_problem")
        assert remote.client.get("/healthz").status_code == 200
        assert time.monotonic() - began < checks.LONGEST_SECONDS
    wait_until_answered(remote)


def test_a_server_that_stops_answering_is_given_up(remote: Till) -> None:
    wait_until_answered(remote)
    (process,) = connections(remote.app.engine)
    os.kill(process, signal.SIGSTOP)
    try:
        began = time.monotonic()
        # The hanging one is left, and another one is opened.
        assert remote.ask(GOLD).status_code == 200
        assert time.monotonic() - began < checks.LONGEST_SECONDS + check.MEND_SECONDS + 1
    finally:
        os.kill(process, signal.SIGCONT)


def wait_until_answered(here: Till) -> None:
    give_up = time.monotonic() + 10
    while here.ask(GOLD).status_code != 200:
        assert time.monotonic() < give_up
        time.sleep(0.1)


def test_a_file_that_is_gone_is_told(tmp_path: Path) -> None:
    with till(tmp_path / "home", "") as here:
        assert here.ask(GOLD).status_code == 200
        broken = create_engine("sqlite:////nowhere/at/all.db")
        with serving(Service(replace(here.app, engine=broken), here.opened, None)) as client:
            found = problem_of(client.get("/v1/check/0x" + GOLD.hex()), 503, "database_problem")
            assert "nowhere" not in str(found)


# --------------------------------------------------------------------------------------------------- what is told of it


def counted(here: Till) -> dict[tuple[str, str], float]:
    """Of the check, by method and status."""
    families = text_string_to_metric_families(here.client.get("/metrics").text)
    samples = [each for family in families for each in family.samples if each.labels.get("route") == check.ROUTE]
    found = {(each.labels["method"], each.labels["status"]): each.value for each in samples if "status" in each.labels}
    # Each is also in the histogram of its method.
    for method in {method for method, _ in found}:
        (timed,) = (
            each.value for each in samples if each.name.endswith("_seconds_count") and each.labels["method"] == method
        )
        assert timed == sum(value for (one, _), value in found.items() if one == method)
    return found


def test_checks_are_counted_and_timed_by_their_route(here: Till) -> None:
    before = counted(here)
    here.ask(GOLD)
    here.ask(STRANGER, "tier=gold")
    here.ask("nobody")
    here.client.request("DELETE", "/v1/check/0x" + GOLD.hex())
    after = counted(here)
    grown = {key: value - before.get(key, 0) for key, value in after.items() if value != before.get(key, 0)}
    assert grown == {("GET", "200"): 2, ("GET", "422"): 1, ("DELETE", "405"): 1}


def test_a_check_has_a_request_id_or_keeps_its_own(here: Till) -> None:
    path = "/v1/check/0x" + GOLD.hex()
    ids = {here.ask(GOLD).headers["x-request-id"] for _ in range(5)}
    assert len(ids) == 5
    for each in ids:
        assert web_app._REQUEST_ID.fullmatch(each)
        assert each.startswith("req_")
    for query in ("", "?tier=platinum"):
        answer = here.client.get(path + query, headers={"X-Request-Id": "till-7:order.12_a"})
        assert answer.headers["x-request-id"] == "till-7:order.12_a"
        assert answer.json().get("request_id", "till-7:order.12_a") == "till-7:order.12_a"
    for headers in ([("X-Request-Id", "a b")], [("X-Request-Id", "one"), ("X-Request-Id", "two")]):
        answer = here.client.get(path, headers=headers)
        assert answer.json()["allowed"] is True
        assert answer.headers["x-request-id"].startswith("req_")


def test_a_refused_check_has_its_line_in_the_log_and_an_answered_one_where_all_is_logged(
    here: Till, caplog: pytest.LogCaptureFixture
) -> None:
    def lines() -> list[tuple[Any, ...]]:
        # A request's line is written when its answer is on its way; the next answer comes after it.
        here.client.get("/nowhere")
        found = [each for each in caplog.records if each.name == web_app.requests.name]
        caplog.clear()
        return [(each.__dict__["route"], each.__dict__["status"]) for each in found if each.__dict__["status"] != 404]

    with caplog.at_level(logging.INFO, web_app.requests.name):
        here.ask(GOLD)
        here.ask("nobody")
        assert lines() == [(check.ROUTE, 422)]
    with caplog.at_level(logging.DEBUG, web_app.requests.name):
        answer = here.ask(GOLD)
        assert lines() == [(check.ROUTE, 200)]
    # The long way and the short one give the same answer, header by header.
    short = here.ask(GOLD)
    assert steady(answer.json()) == steady(short.json())
    assert list(answer.json()) == list(short.json())
    assert answer.headers.keys() == short.headers.keys()


# ------------------------------------------------------------------------------------------------------------ its parts


@given(st.binary(min_size=20, max_size=20).filter(any))
def test_an_address_in_any_case_is_its_bytes(wallet: bytes) -> None:
    for shown in (wallet.hex(), wallet.hex().upper(), checksummed(wallet.hex())[2:]):
        assert wallet_bytes("0x" + shown) == wallet


def test_it_stands_in_the_description_with_examples(here: Till) -> None:
    document = here.client.get("/openapi.json").json()
    operation = document["paths"]["/v1/check/{wallet}"]["get"]
    assert [each["name"] for each in operation["parameters"]] == ["wallet", "tier", "stamp", "active", "consistency"]
    assert all("example" in each and each["description"] for each in operation["parameters"])
    shape = operation["responses"]["200"]["content"]["application/json"]
    name = shape["schema"]["$ref"].rpartition("/")[2]
    for example in shape["examples"].values():
        assert example["value"].keys() == document["components"]["schemas"][name]["properties"].keys()
    as_of = document["components"]["schemas"]["AsOfOut"]["properties"].keys()
    assert shape["examples"]["yes"]["value"]["as_of"].keys() == as_of == here.ask(GOLD).json()["as_of"].keys()
    assert operation["responses"].keys() == {"200", "400", "401", "403", "404", "422", "429", "500", "503"}
