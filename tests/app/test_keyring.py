"""Keys by name, wherever they lie: one in AWS KMS opens a program, mints, signs vouchers and governs like any other."""

from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta

import pytest
from pytest import MonkeyPatch

from nftloyalty.app import claiming, deploying, funding, governing, keyring, minting, sending
from nftloyalty.app.acting import Done
from nftloyalty.app.context import App
from nftloyalty.app.governing import QuotaOf, Which
from nftloyalty.app.sending import Sender, work
from nftloyalty.chain import signatures
from nftloyalty.chain.signer import LocalSigner, RemoteSigner, parse_der
from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.errors import BadInput, KeyProblem, KeyUnreachable
from nftloyalty.store import sending as steps
from nftloyalty.store import signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.vault.kms import KmsReference
from tests.app.build import (
    COIN,
    PASSWORD,
    World,
    app_of,
    make_keys,
    new_wallet,
    program_of,
    program_text,
    settings_of,
)
from tests.store.build import counts
from tests.vault.fake_kms import ADDRESS, BROKEN, DENIED, FakeKms, set_credentials

HALF_N = 0x7FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF5D576E7357A4501DDFE92F46681B20A0
POWERS = (
    'opener = "hot"\nowner = "hot"\nminters = ["hot"]\nsigners = ["hot"]\nmanagers = ["desk"]\nguardians = ["guard"]\n'
)


@pytest.fixture
def kms(monkeypatch: MonkeyPatch) -> Iterator[FakeKms]:
    set_credentials(monkeypatch)
    with FakeKms() as kms:
        yield kms


@pytest.fixture
def app(chain: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[App]:
    app = app_of(settings_of(tmp_path_factory.mktemp("app"), chain))
    yield app
    app.close()


def reference(kms: FakeKms) -> KmsReference:
    return KmsReference(kms.arn, endpoint=kms.url)


@pytest.fixture
def world(app: App, kms: FakeKms) -> World:
    """A program that the key in KMS has opened, owns, mints for and signs for."""

    def password(name: str) -> str:
        assert name != "hot", "a key in KMS has no password"
        return PASSWORD

    app = replace(app, password=password)
    make_keys(app, ("desk", "guard"))
    keyring.add_kms(app, "hot", reference(kms))
    funding.fund(app, ADDRESS, 10 * COIN)
    program = program_of(program_text(powers=POWERS))
    deploying.deploy(app, program)
    return World(app, program)


# ----------------------------------------------------------------------------------------------------------------- keys


def test_a_key_in_kms_is_found_by_name_and_address_without_asking_kms(app: App, kms: FakeKms) -> None:
    found = keyring.add_kms(app, "hot", KmsReference(kms.alias, "eu-central-1", kms.url))
    assert (found.address, found.reference.key_id) == (ADDRESS, kms.arn)
    kms.calls.clear()
    assert keyring.address_of(app, "hot") == ADDRESS
    assert keyring.key_name(app, "hot") == "hot"
    assert keyring.key_name(app, ADDRESS.lower()) == "hot"
    assert keyring.place_of(app, "hot") == f"AWS KMS, {kms.arn}"
    assert kms.calls == []


def test_keys_here_and_in_kms_sign_by_the_same_door(app: App, kms: FakeKms) -> None:
    here = app.keystore.create("cold", PASSWORD)
    keyring.add_kms(app, "hot", reference(kms))
    for name, kind, address in (("cold", LocalSigner, here), ("hot", RemoteSigner, ADDRESS)):
        signer = keyring.signer_of(app, name)
        assert type(signer) is kind
        assert signer.address == keyring.signer_of(app, address).address == address
        assert signatures.recover(bytes(32), signer.sign_digest(bytes(32))) == address
    assert keyring.place_of(app, "cold") == "here, encrypted"


def test_a_taken_name_is_refused_before_kms_is_asked(app: App, kms: FakeKms) -> None:
    keyring.add_kms(app, "hot", reference(kms))
    kms.calls.clear()
    with pytest.raises(KeyProblem, match="there is a key 'hot' already"):
        keyring.add_kms(app, "hot", reference(kms))
    assert kms.calls == []


def test_a_key_that_kms_does_not_show_is_not_taken_in(app: App, kms: FakeKms) -> None:
    kms.give_another_curve()
    with pytest.raises(KeyProblem, match="ECC_NIST_P256"):
        keyring.add_kms(app, "hot", reference(kms))
    kms.refuse = lambda operation: DENIED
    with pytest.raises(KeyProblem, match="lets nobody"):
        keyring.add_kms(app, "hot", reference(kms))
    assert app.keystore.names() == []


def test_another_key_in_the_place_of_ours_signs_nothing(app: App, kms: FakeKms) -> None:
    keyring.add_kms(app, "hot", reference(kms))
    signer = keyring.signer_of(app, "hot")
    kms.key = b"\x05" * 32
    with pytest.raises(KeyProblem, match="and its file here says"):
        keyring.signer_of(app, "hot")
    with pytest.raises(KeyProblem, match="not a signature of"):
        signer.sign_digest(bytes(32))


def test_an_address_without_a_key_is_said(app: App) -> None:
    with pytest.raises(KeyProblem, match="no key here has the address"):
        keyring.signer_of(app, ADDRESS)
    with pytest.raises(BadInput):
        keyring.signer_of(app, "0x12")
    with pytest.raises(KeyProblem, match="there is no key 'hot'"):
        keyring.address_of(app, "hot")


# --------------------------------------------------------------------------------------------------------- whole engine


def states(world: World) -> dict[IntentState, int]:
    here = world.here
    with read(world.app.engine) as tx:
        return counts(tx, here.row.id, Kind.MINT_CARD)


def open_slots(world: World) -> list[SlotState]:
    here = world.here
    with begin(world.app.engine) as tx:
        signer = signers.register(tx, here.attached.row, ADDRESS).id
        return [each.slot.state for each in slots.open_slots(tx, signer)]


def test_a_program_is_opened_minted_for_and_governed_by_a_key_in_kms(world: World, kms: FakeKms) -> None:
    wallets = [new_wallet() for _ in range(3)]
    for wallet in wallets:
        assert world.mint(f"{wallet},gold,never").final == 1
    assert world.stamp("latte", *wallets).final == 3
    limit = world.here.membership.quota_of(QuotaOf.MINT.kind).limit
    raised = governing.set_quota(world.app, world.here, Which.CARDS, QuotaOf.MINT, limit + 7, lambda: None)
    assert isinstance(raised, Done)
    membership = world.here.membership
    assert membership.quota_of(QuotaOf.MINT.kind).limit == limit + 7
    assert membership.standings_of(wallets) == [2, 2, 2]
    assert membership.total_supply() == 3
    # One signature a transaction, opening included, and both halves of s among them.
    assert len(kms.signed) == world.app.node.nonce(ADDRESS) == 6
    assert {parse_der(signature)[1] > HALF_N for _, signature in kms.signed} == {True, False}


def test_vouchers_signed_in_kms_become_cards(world: World) -> None:
    deadline = world.app.now() + timedelta(days=1)
    wallets = [new_wallet() for _ in range(2)]
    rows = []
    for wallet in wallets:
        signed = claiming.create_card(world.app, world.here, wallet, tier=1, expires_at=0, deadline=deadline)
        again = claiming.create_card(world.app, world.here, wallet, tier=1, expires_at=0, deadline=deadline)
        assert signed.voucher == again.voucher
        assert signed.signature != again.signature
        rows.append(claiming.accept_claim(world.app, world.here, signed))
        # The same promise by other bytes is the same claim.
        assert claiming.accept_claim(world.app, world.here, again).public_id == rows[-1].public_id

    def done() -> bool:
        return all(claiming.claim_status(world.app, here, row.public_id).state is IntentState.FINAL for row in rows)

    here = world.here
    signer = keyring.signer_of(world.app, claiming.relay_key(here))
    work(world.app, here.attached, signer, finality_blocks=None, done=done)
    assert world.here.membership.standings_of(wallets) == [1, 1]


def test_while_kms_is_away_nothing_is_lost_and_nothing_is_sent(
    world: World, kms: FakeKms, monkeypatch: MonkeyPatch
) -> None:
    monkeypatch.setattr(sending, "RETRY_PAUSES", ())
    wallets = [new_wallet() for _ in range(2)]
    plan = world.plan(*[f"{wallet},gold,never" for wallet in wallets])
    before = world.app.node.nonce(ADDRESS)
    kms.refuse = lambda operation: BROKEN if operation == "Sign" else None
    with pytest.raises(KeyUnreachable, match="KMSInternalException"):
        minting.mint(world.app, world.here, plan)
    assert states(world) == {IntentState.BATCHED: 2}
    assert open_slots(world) == [SlotState.RESERVED]
    assert world.app.node.nonce(ADDRESS, "pending") == before
    kms.refuse = lambda operation: None
    assert minting.mint(world.app, world.here, world.plan(*[f"{wallet},gold,never" for wallet in wallets])).final == 2
    assert world.app.node.nonce(ADDRESS) == before + 1
    assert world.here.membership.total_supply() == 2


def test_a_crash_between_signing_and_storing_is_signed_anew_and_minted_once(
    world: World, kms: FakeKms, monkeypatch: MonkeyPatch
) -> None:
    """The second signature is another one, so the transaction has another hash; the first was never sent."""
    wallet = new_wallet()

    def dies(*arguments: object, **more: object) -> None:
        raise SystemExit

    count = len(kms.signed)
    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(steps, "store_attempts", dies)
        world.mint(f"{wallet},gold,never")
    assert open_slots(world) == [SlotState.RESERVED]
    assert world.mint(f"{wallet},gold,never").final == 1
    assert len(kms.signed) == count + 2
    assert len({signature for _, signature in kms.signed[count:]}) == 2
    assert world.here.membership.total_supply() == 1


def test_the_same_bytes_are_sent_again_and_not_signed_again(
    world: World, kms: FakeKms, monkeypatch: MonkeyPatch
) -> None:
    wallet = new_wallet()

    def dies(engine: Sender, attempt: object) -> None:
        raise SystemExit

    count = len(kms.signed)
    with monkeypatch.context() as broken, pytest.raises(SystemExit):
        broken.setattr(Sender, "_send", dies)
        world.mint(f"{wallet},gold,never")
    assert world.mint(f"{wallet},gold,never").final == 1
    assert len(kms.signed) == count + 1
