"""Vouchers over HTTP, from the request to the card, on both databases."""

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import timedelta
from threading import Event
from typing import Any
from uuid import uuid4

import httpx2
import pytest

from nftloyalty.app import claiming, governing, vouching
from nftloyalty.app.acting import Act, perform
from nftloyalty.app.intake import Intake
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.working import Worker
from nftloyalty.chain.contracts import Membership
from nftloyalty.chain.signer import SignedTx, Signer, TxFields
from nftloyalty.domain.address import Address
from nftloyalty.domain.times import iso
from nftloyalty.domain.voucher import signed_from_json
from nftloyalty.domain.words import Role
from nftloyalty.errors import KeyUnreachable, Unknown
from nftloyalty.store import vouchers
from nftloyalty.store.engine import read
from nftloyalty.web.deps import Service
from tests.app.build import PASSWORD, World, in_days, new_wallet
from tests.app.conftest import *  # noqa: F403 - the worlds of the app's tests, on both databases
from tests.app.conftest import Anew
from tests.web.conftest import serving, wait_for


@dataclass
class Passwords:
    """Who is asked for passwords: somebody who has left once the servers have started."""

    gone: bool = False

    def __call__(self, _name: str) -> str:
        assert not self.gone, "a password is asked for while requests are answered"
        return PASSWORD


@dataclass
class Keeper:
    """A signer's key that somebody else keeps, and who may be slow or away."""

    signer: Signer
    away: bool = False
    hold: Event | None = None
    busy: Event = field(default_factory=Event)
    signed: int = 0

    @property
    def address(self) -> Address:
        return self.signer.address

    def sign_transaction(self, fields: TxFields) -> SignedTx:
        raise NotImplementedError

    def sign_digest(self, digest: bytes) -> bytes:
        self.busy.set()
        if self.away:
            raise KeyUnreachable("hot", "nobody answers")
        if self.hold is not None:
            assert self.hold.wait(30)
        self.signed += 1
        return self.signer.sign_digest(digest)


@dataclass(frozen=True)
class Shop:
    """A program that is served with its vouchers' key, by a server whose operator has left."""

    world: World
    client: httpx2.Client
    keeper: Keeper
    service: Service

    def rows(self, wallet: str) -> list[vouchers.VoucherRow]:
        with read(self.world.app.engine) as tx:
            return vouchers.of_program(tx, self.world.here.row.id, wallet)


@pytest.fixture(scope="module")
def shop(world: World) -> Iterator[Shop]:
    passwords = Passwords()
    app = replace(world.app, password=passwords)
    here = world.here
    worker = Worker(app, here, [signer_of(app, claiming.relay_key(here))])
    desk = vouching.open_desk(app, here)
    keeper = Keeper(desk.signer)
    passwords.gone = True
    with Intake(app, here) as intake:
        worker.start()
        try:
            service = Service(app, here, worker, intake=intake, desk=replace(desk, signer=keeper))
            with serving(service) as client:
                wait_for(client, world)
                yield Shop(world, client, keeper, service)
        finally:
            worker.stop()


@pytest.fixture
def client(shop: Shop) -> httpx2.Client:
    return shop.client


def ask(client: httpx2.Client, body: dict[str, Any], key: str = "") -> httpx2.Response:
    return client.post("/v1/vouchers", json=body, headers={"Idempotency-Key": key or str(uuid4())})


def made(client: httpx2.Client, **body: Any) -> dict[str, Any]:
    answer = ask(client, body)
    assert answer.status_code == 201, answer.text
    found: dict[str, Any] = answer.json()
    return found


def one(client: httpx2.Client, voucher: dict[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = client.get(voucher["status_url"]).json()
    return found


def until(client: httpx2.Client, voucher: dict[str, Any], is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
    """Ask until it stands so."""
    give_up = time.monotonic() + 60
    while not is_so(now := one(client, voucher)):
        assert time.monotonic() < give_up, now
        time.sleep(0.05)
    return now


def problem_of(answer: httpx2.Response, status: int, code: str) -> dict[str, Any]:
    found: dict[str, Any] = answer.json()
    assert (answer.status_code, found["code"]) == (status, code), answer.text
    return found


# --------------------------------------------------------------------------------------------------- to the end


def test_what_is_signed_is_handed_in_as_it_is_and_becomes_a_card(client: httpx2.Client) -> None:
    wallet = new_wallet()
    voucher = made(client, wallet=wallet, tier="gold", expiry="2049-12-31", until="2040-01-31")
    assert (voucher["kind"], voucher["wallet"], voucher["tier"]) == ("card", wallet, "gold")
    assert (voucher["expires_at"], voucher["last_day"]) == ("2050-01-01T00:00:00Z", "2049-12-31")
    assert (voucher["until"], voucher["stamp"]) == ("2040-02-01T00:00:00Z", None)
    assert (voucher["state"], voucher["reason"], voucher["claim_url"]) == ("open", None, None)
    assert one(client, voucher) == voucher
    claim = client.post("/v1/claim", json=voucher["signed"])
    assert claim.status_code == 202, claim.text
    assert one(client, voucher)["state"] in ("claiming", "claimed")
    now = until(client, voucher, lambda each: each["state"] == "claimed")
    assert now["claim_url"] == claim.json()["status_url"]
    assert client.get(now["claim_url"]).json()["phase"] == "final"
    card = client.get(f"/v1/ownership/{wallet}").json()["card"]
    assert (card["tier"], card["last_day"]) == ("gold", "2049-12-31")


def test_a_stamp_is_promised_and_claimed(client: httpx2.Client) -> None:
    wallet = new_wallet()
    voucher = made(client, wallet=wallet, stamp="latte")
    assert (voucher["kind"], voucher["stamp"], voucher["tier"]) == ("stamp", "latte", None)
    assert client.post("/v1/claim", json=voucher["signed"]).status_code == 202
    until(client, voucher, lambda each: each["state"] == "claimed")
    assert [each["id"] for each in client.get(f"/v1/ownership/{wallet}").json()["stamps"]] == ["latte"]


def test_left_out_it_is_good_for_thirty_days_and_for_life(shop: Shop) -> None:
    before = shop.world.app.now()
    voucher = made(shop.client, wallet=new_wallet(), tier="member")
    term = timedelta(days=30)
    low, high = (iso((each + term).replace(microsecond=0)) for each in (before, shop.world.app.now()))
    assert str(low) <= voucher["until"] <= str(high)
    assert (voucher["expires_at"], voucher["signed"]["voucher"]["expires_at"]) == (None, 0)


# -------------------------------------------------------------------------------------------------------------- once


def test_the_same_request_again_is_answered_word_for_word_and_signs_nothing(shop: Shop) -> None:
    wallet, key = new_wallet(), str(uuid4())
    body = {"wallet": wallet, "tier": "gold"}
    first = ask(shop.client, body, key)
    signed = shop.keeper.signed
    again = ask(shop.client, dict(reversed(body.items())), key)
    assert (again.status_code, again.content) == (201, first.content)
    assert "Idempotent-Replayed" not in first.headers and again.headers["Idempotent-Replayed"] == "true"
    assert first.headers["Cache-Control"] == again.headers["Cache-Control"] == "no-store"
    problem_of(ask(shop.client, body | {"tier": "member"}, key), 422, "key_reused")
    problem_of(shop.client.post("/v1/vouchers", json=body), 400, "idempotency_key_missing")
    assert shop.keeper.signed == signed
    assert [row.public_id for row in shop.rows(wallet)] == [first.json()["id"]]


def test_a_request_whose_day_has_passed_is_still_answered_as_it_was(shop: Shop) -> None:
    key = str(uuid4())
    days = {"expiry": f"{in_days(3):%Y-%m-%d}", "until": f"{in_days(2):%Y-%m-%d}"}
    body = {"wallet": new_wallet(), "tier": "gold", **days}
    first = ask(shop.client, body, key)
    now = shop.world.app.now
    late = replace(shop.service, app=replace(shop.service.app, now=lambda: now() + timedelta(days=5)), worker=None)
    with serving(late) as client:
        again = ask(client, body, key)
        assert again.content == first.content
        assert one(client, first.json())["state"] == "expired"
    assert one(shop.client, first.json())["state"] == "open"


def test_the_same_at_once_is_one_voucher(shop: Shop) -> None:
    wallet, key, signed = new_wallet(), str(uuid4()), shop.keeper.signed
    body = {"wallet": wallet, "tier": "gold"}
    with ThreadPoolExecutor(20) as pool:
        answers = list(pool.map(lambda _: ask(shop.client, body, key), range(20)))
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert {answer.json()["code"] for answer in answers if answer.status_code == 409} <= {"in_flight"}
    made = {answer.content for answer in answers if answer.status_code == 201}
    assert len(made) == 1
    assert ask(shop.client, body, key).content in made
    assert (len(shop.rows(wallet)), shop.keeper.signed) == (1, signed + 1)


def test_many_at_once_are_signed_each_for_its_own_wallet(shop: Shop) -> None:
    wallets = [new_wallet() for _ in range(20)]
    with ThreadPoolExecutor(10) as pool:
        told = list(pool.map(lambda wallet: made(shop.client, wallet=wallet, tier="gold"), wallets))
    assert len({each["id"] for each in told}) == len(wallets)
    for wallet, each in zip(wallets, told, strict=True):
        assert each["signed"]["voucher"]["to"] == wallet
        # Raises if the signature is not the signer's.
        claiming.prepare_claim(shop.world.app, shop.world.here, signed_from_json(each["signed"]))


def test_while_the_key_is_asked_others_are_answered_and_the_same_is_in_flight(shop: Shop) -> None:
    """Whoever keeps the key takes seconds, and nothing is locked meanwhile."""
    body, key = {"wallet": new_wallet(), "tier": "gold"}, str(uuid4())
    shop.keeper.busy.clear()
    shop.keeper.hold = held = Event()
    try:
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(ask, shop.client, body, key)
            assert shop.keeper.busy.wait(30)
            problem_of(ask(shop.client, body, key), 409, "in_flight")
            mint = {"wallet": new_wallet(), "tier": "gold"}
            other = shop.client.post("/v1/mints", json=mint, headers={"Idempotency-Key": str(uuid4())}, timeout=10)
            assert other.status_code == 202
            held.set()
            answer = first.result(30)
    finally:
        held.set()
        shop.keeper.hold = None
    assert answer.status_code == 201
    assert ask(shop.client, body, key).content == answer.content


# --------------------------------------------------------------------------------------------------- what goes wrong


def test_a_key_that_can_not_be_asked_leaves_nothing_behind(shop: Shop, caplog: pytest.LogCaptureFixture) -> None:
    body, key = {"wallet": new_wallet(), "tier": "gold"}, str(uuid4())
    shop.keeper.away = True
    try:
        problem_of(ask(shop.client, body, key), 503, "key_problem")
    finally:
        shop.keeper.away = False
    assert shop.rows(body["wallet"]) == []
    assert ask(shop.client, body, key).status_code == 201


def test_voucher_and_answer_are_kept_together_or_not_at_all(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    body, key = {"wallet": new_wallet(), "tier": "gold"}, str(uuid4())

    def fails(*_: object) -> None:
        raise RuntimeError("between the voucher and its answer")

    monkeypatch.setattr(vouching, "told_new", fails)
    problem_of(ask(shop.client, body, key), 500, "internal")
    assert shop.rows(body["wallet"]) == []
    monkeypatch.undo()
    answer = ask(shop.client, body, key)
    assert [row.public_id for row in shop.rows(body["wallet"])] == [answer.json()["id"]]


def test_neither_signature_nor_key_is_logged(
    shop: Shop, caplog: pytest.LogCaptureFixture, capfd: pytest.CaptureFixture[str]
) -> None:
    caplog.set_level("DEBUG")
    key = str(uuid4())
    answer = ask(shop.client, {"wallet": new_wallet(), "tier": "gold"}, key)
    voucher = answer.json()
    one(shop.client, voucher)
    shop.client.post("/v1/claim", json=voucher["signed"])
    assert any(record.__dict__.get("voucher") == voucher["id"] for record in caplog.records)
    said = "".join(str(record.__dict__) for record in caplog.records) + "".join(capfd.readouterr())
    for secret in (voucher["signed"]["signature"][2:], key):
        assert secret not in said


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({}, ["/wallet"]),
        ({"wallet": "0x12", "tier": "gold"}, ["/wallet"]),
        ({"tier": "gold", "teir": "gold"}, ["/wallet", "/teir"]),
        ({"wallet": "NEW"}, ["/"]),
        ({"wallet": "NEW", "tier": "gold", "stamp": "latte"}, ["/"]),
        ({"wallet": "NEW", "tier": "goald"}, ["/tier"]),
        ({"wallet": "NEW", "stamp": "late"}, ["/stamp"]),
        ({"wallet": "NEW", "stamp": "latte", "expiry": "2049-12-31"}, ["/expiry"]),
        ({"wallet": "NEW", "tier": "gold", "expiry": "20491231"}, ["/expiry"]),
        ({"wallet": "NEW", "tier": "gold", "expiry": "2001-01-01", "until": "2001-01-01"}, ["/until", "/expiry"]),
        ({"wallet": "NEW", "tier": "gold", "until": "2040-01-31T10:00"}, ["/until"]),
        ({"wallet": "NEW", "tier": "gold", "until": 5}, ["/until"]),
        ({"wallet": "OURS", "tier": "gold"}, ["/wallet"]),
        ({"wallet": "OURS", "stamp": "latte"}, ["/wallet"]),
    ],
)
def test_what_is_wrong_with_a_request_is_told_with_its_place(
    shop: Shop, body: dict[str, Any], pointers: list[str]
) -> None:
    people = {"NEW": new_wallet(), "OURS": shop.world.here.stamps.address}
    asked = {name: people.get(value, value) if isinstance(value, str) else value for name, value in body.items()}
    found = problem_of(ask(shop.client, asked), 422, "bad_input")
    assert [each["pointer"] for each in found["errors"]] == pointers, found
    assert all(each["detail"] and each["mend"] for each in found["errors"])


def test_a_server_without_the_key_says_so(shop: Shop) -> None:
    body = {"wallet": new_wallet(), "tier": "gold"}
    with serving(replace(shop.service, worker=None, desk=None)) as client:
        found = problem_of(ask(client, body), 501, "signs_no_vouchers")
        assert found["mend"] == "start it with --vouchers, or sign them with `nftloyalty vouchers create`"
        assert client.get("/v1/vouchers", params={"limit": 1}).status_code == 200
    reading = replace(shop.service, worker=None, desk=None, intake=None, takes_claims=False)
    with serving(reading) as client:
        problem_of(ask(client, body), 501, "read_only")


# --------------------------------------------------------------------------------------------------- how they stand


def test_vouchers_are_listed_the_newest_first_and_page_by_page(shop: Shop) -> None:
    wallet = new_wallet()
    by_hand = claiming.create_card(shop.world.app, shop.world.here, wallet, tier=1, expires_at=0, deadline=in_days(1))
    asked = [made(shop.client, wallet=wallet, **more) for more in ({"tier": "gold"}, {"stamp": "latte"})]
    made(shop.client, wallet=new_wallet(), tier="member")

    def listed(**params: Any) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        cursor: str | None = ""
        while cursor is not None:
            page = shop.client.get("/v1/vouchers", params={**params, "cursor": cursor, "limit": 2}).json()
            found += page["items"]
            cursor = page["cursor"]
        return found

    mine = listed(wallet=wallet)
    assert [each["id"] for each in mine[:2]] == [each["id"] for each in reversed(asked)]
    assert len(mine) == 3 and mine[2]["tier_number"] == by_hand.voucher.tier  # type: ignore[union-attr]
    assert all("signed" not in each for each in mine)
    assert [{**each, "signed": voucher["signed"]} for each, voucher in zip(mine, reversed(asked), strict=False)] == [
        *reversed(asked)
    ]
    assert [each["id"] for each in listed(wallet=wallet, kind="stamp")] == [asked[1]["id"]]
    everything = listed()
    with read(shop.world.app.engine) as tx:
        rows = vouchers.of_program(tx, shop.world.here.row.id)
    assert [each["id"] for each in everything] == [row.public_id for row in reversed(rows)]
    assert {each["kind"] for each in everything} == {"card", "stamp"}
    assert {each["kind"] for each in listed(kind="card")} == {"card"}
    found = problem_of(shop.client.get("/v1/vouchers", params={"cursor": "x"}), 422, "bad_input")
    assert found["errors"][0]["pointer"] == "/cursor"


def test_a_voucher_for_who_has_it_already_is_told_to_be_refused(shop: Shop) -> None:
    wallet = new_wallet()
    before = made(shop.client, wallet=wallet, tier="gold")
    shop.world.mint_outside(wallet)
    wait_for(shop.client, shop.world)
    refused = {"code": "already_held", "sentence": "the wallet already holds it"}
    now = one(shop.client, before)
    assert (now["state"], now["reason"]) == ("refused", refused)
    after = made(shop.client, wallet=wallet, tier="gold")
    assert (after["state"], after["reason"]) == ("refused", refused)
    # Of a stamp it says nothing.
    assert made(shop.client, wallet=wallet, stamp="latte")["state"] == "open"
    problem_of(shop.client.post("/v1/claim", json=after["signed"]), 409, "already_held")


@pytest.mark.parametrize("asked", ["vou_none", "int_0", "a%00b", "..", "vou_" + "0" * 60])
def test_a_voucher_that_is_none_is_unknown(client: httpx2.Client, asked: str) -> None:
    assert client.get(f"/v1/vouchers/{asked}").status_code == 404


def test_another_programs_voucher_is_unknown(shop: Shop) -> None:
    voucher = made(shop.client, wallet=new_wallet(), tier="gold")
    here = shop.service.opened
    beside = replace(here, row=replace(here.row, id=here.row.id + 1))
    with pytest.raises(Unknown):
        vouching.find(shop.world.app, beside, voucher["id"])


def test_what_is_called_back_is_told_to_be_so(anew: Anew) -> None:
    world = anew("")
    app, here = world.app, world.here
    wallet = new_wallet()
    desk = vouching.open_desk(app, here)
    with serving(Service(app, here, None, desk=desk)) as client:
        voided, card, stamp = (
            made(client, wallet=wallet, tier="gold"),
            made(client, wallet=new_wallet(), tier="gold"),
            made(client, wallet=wallet, stamp="latte"),
        )

        def stands(voucher: dict[str, Any]) -> tuple[str, str]:
            now = one(client, voucher)
            return now["state"], (now["reason"] or {"code": ""})["code"]

        def call(name: str, data: bytes) -> None:
            act = Act(name, f"test|{name}", here.membership.address, data)
            perform(app, here.attached, act, by="owner", program=here.row.id, finality_blocks=None)
            world.index()

        call("void", Membership.encode_void_voucher(wallet))
        assert [stands(each) for each in (voided, card, stamp)] == [
            ("called-back", "voucher_used"),
            ("open", ""),
            ("open", ""),
        ]
        call("epoch", Membership.encode_raise_voucher_epoch())
        assert [stands(each) for each in (card, stamp)] == [("called-back", "wrong_epoch")] * 2
        newer = made(client, wallet=new_wallet(), tier="gold")
        assert newer["signed"]["voucher"]["epoch"] == 1
        assert stands(newer) == ("open", "")
        assert desk.may_sign()
        governing.withdraw(app, here, Role.SIGNER, "hot", _quiet)
        assert not desk.may_sign()
        assert stands(newer) == ("called-back", "not_signer")
        problem_of(ask(client, {"wallet": new_wallet(), "tier": "gold"}), 503, "program_problem")


def _quiet() -> None:
    """A tick that nobody watches."""
