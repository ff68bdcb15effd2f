"""What a contract refuses reaches whoever hands in a voucher under a code of its own, over a real socket."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import httpx2
import pytest

from nftloyalty.app import claiming, governing
from nftloyalty.app.acting import Act, perform
from nftloyalty.app.governing import QuotaOf, Which
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.working import Worker
from nftloyalty.chain.contracts import Membership
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.voucher import SignedVoucher, signed_to_json
from nftloyalty.domain.words import Role
from nftloyalty.web.deps import Service
from nftloyalty.web.errors import CODES, REFUSED
from tests.app.build import STAMPS, World, app_of, new_member, new_wallet, open_world, program_text, settings_of
from tests.web.conftest import serving

MORE_STAMPS = """
[[stamps]]
id = "over"
number = 3
name = "Over"
closes = 2020-12-31
[[stamps]]
id = "only-one"
number = 4
name = "Only One"
cap = 1
"""


def quiet() -> None:
    """A tick that nobody watches."""


@dataclass(frozen=True)
class Desk:
    """A server whose worker doesn't run, so that nothing that is accepted by mistake goes further."""

    world: World
    client: httpx2.Client

    def card(self, to: str = "", tier: int = 1, expires_at: int = 0) -> SignedVoucher:
        deadline = datetime.now(UTC) + timedelta(days=1)
        world = self.world
        return claiming.create_card(
            world.app, world.here, to or new_wallet(), tier=tier, expires_at=expires_at, deadline=deadline
        )

    def stamp(self, number: int, to: str = "") -> SignedVoucher:
        deadline = datetime.now(UTC) + timedelta(days=1)
        world = self.world
        return claiming.create_stamp(world.app, world.here, to or new_wallet(), stamp_type=number, deadline=deadline)

    def owner_calls(self, data: bytes) -> None:
        here = self.world.here
        act = Act("a test", f"test|{data.hex()}", here.membership.address, data)
        perform(self.world.app, here.attached, act, by="owner", program=here.row.id, finality_blocks=None)


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with DevChainServer() as chain:
        app = app_of(settings_of(tmp_path_factory.mktemp("desk"), chain.url))
        try:
            world = open_world(app, program_text(rest=STAMPS + MORE_STAMPS))
            here = world.here
            worker = Worker(app, here, [signer_of(app, claiming.relay_key(here))])
            with serving(Service(app, here, worker)) as client:
                yield Desk(world, client)
        finally:
            app.close()


# Each makes a voucher that the contract refuses; what comes after `yield` makes good what was done for that.
Scene = Callable[[Desk], Iterator[SignedVoucher]]


def already_held(desk: Desk) -> Iterator[SignedVoucher]:
    member = new_wallet()
    desk.world.mint_outside(member)
    yield desk.card(member)


def ever_claimed(desk: Desk) -> Iterator[SignedVoucher]:
    guest = new_wallet()
    desk.world.stamp("latte", guest)
    governing.revoke_stamp(desk.world.app, desk.world.here, guest, 1, False, "a test", quiet)
    yield desk.stamp(1, guest)


def left(desk: Desk) -> Iterator[SignedVoucher]:
    leaver = new_member()
    desk.world.mint_outside(leaver.address)
    desk.world.leave(leaver)
    yield desk.card(leaver.address)


def revoked(desk: Desk) -> Iterator[SignedVoucher]:
    member = new_wallet()
    desk.world.mint_outside(member)
    governing.revoke(desk.world.app, desk.world.here, member, "a test", quiet)
    yield desk.card(member)


def moved(desk: Desk) -> Iterator[SignedVoucher]:
    mover = new_member()
    desk.world.mint_outside(mover.address)
    desk.world.move(mover, new_member())
    yield desk.card(mover.address)


def not_active(desk: Desk) -> Iterator[SignedVoucher]:
    yield desk.stamp(2)


def below_tier(desk: Desk) -> Iterator[SignedVoucher]:
    member = new_wallet()
    desk.world.mint_outside(member)
    yield desk.stamp(2, member)


def expired(desk: Desk) -> Iterator[SignedVoucher]:
    before = datetime.now(UTC) - timedelta(days=2)
    app = replace(desk.world.app, now=lambda: before)
    yield claiming.create_card(
        app, desk.world.here, new_wallet(), tier=1, expires_at=0, deadline=before + timedelta(days=1)
    )


def past_expiry(desk: Desk) -> Iterator[SignedVoucher]:
    yield desk.card(expires_at=1)


def voucher_used(desk: Desk) -> Iterator[SignedVoucher]:
    wallet = new_wallet()
    desk.owner_calls(Membership.encode_void_voucher(wallet))
    yield desk.card(wallet)


def wrong_epoch(desk: Desk) -> Iterator[SignedVoucher]:
    signed = desk.card()
    desk.owner_calls(Membership.encode_raise_voucher_epoch())
    yield signed


def not_signer(desk: Desk) -> Iterator[SignedVoucher]:
    signed = desk.card()
    governing.withdraw(desk.world.app, desk.world.here, Role.SIGNER, "hot", quiet)
    yield signed
    governing.grant(desk.world.app, desk.world.here, Role.SIGNER, "hot", quiet)


def bad_tier(desk: Desk) -> Iterator[SignedVoucher]:
    yield desk.card(tier=9)


def unknown_type(desk: Desk) -> Iterator[SignedVoucher]:
    yield desk.stamp(99)


def not_open(desk: Desk) -> Iterator[SignedVoucher]:
    yield desk.stamp(3)


def cap_reached(desk: Desk) -> Iterator[SignedVoucher]:
    desk.world.stamp("only-one", new_wallet())
    yield desk.stamp(4)


def quota_exceeded(desk: Desk) -> Iterator[SignedVoucher]:
    world = desk.world
    governing.set_quota(world.app, world.here, Which.CARDS, QuotaOf.CLAIM, 0, quiet)
    yield desk.card()
    governing.set_quota(world.app, world.here, Which.CARDS, QuotaOf.CLAIM, 2_000, quiet)


def paused(desk: Desk) -> Iterator[SignedVoucher]:
    governing.pause(desk.world.app, desk.world.here, quiet)
    yield desk.card()
    governing.unpause(desk.world.app, desk.world.here, quiet)


SCENES: tuple[Scene, ...] = (
    already_held,
    ever_claimed,
    left,
    revoked,
    moved,
    not_active,
    below_tier,
    expired,
    past_expiry,
    voucher_used,
    wrong_epoch,
    not_signer,
    bad_tier,
    unknown_type,
    not_open,
    cap_reached,
    quota_exceeded,
    paused,
)


@pytest.mark.parametrize("scene", SCENES, ids=lambda scene: scene.__name__)
def test_a_refusal_has_its_code_its_title_and_a_sentence(desk: Desk, scene: Scene) -> None:
    code = scene.__name__
    acts = scene(desk)
    try:
        answer = desk.client.post("/v1/claim", json=signed_to_json(next(acts)))
    finally:
        assert next(acts, None) is None
    found = answer.json()
    assert (answer.status_code, found["status"], found["code"]) == (409, 409, code), found
    assert answer.headers["content-type"] == "application/problem+json"
    assert found["title"] == CODES[code].title
    # In words: no name out of a contract, no hex of revert data.
    assert found["detail"]
    assert "Loyalty" not in answer.text
    assert "(" not in found["detail"] or "UTC" in found["detail"] or "a day" in found["detail"]


def test_every_refusal_is_tried() -> None:
    assert {scene.__name__ for scene in SCENES} == set(REFUSED) - {"reverted"}
