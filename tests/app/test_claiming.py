"""Vouchers: signed by the brand, sent in by anybody, good for one wallet and once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from nftloyalty.app import claiming, governing, minting, verifying
from nftloyalty.app.acting import Act, perform
from nftloyalty.app.keyring import signer_of
from nftloyalty.app.sending import work
from nftloyalty.chain.contracts import Membership
from nftloyalty.domain.address import Address
from nftloyalty.domain.gate import Consistency
from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.voucher import SignedVoucher, VoucherExpired, signed_from_json, signed_to_json
from nftloyalty.domain.words import Role, SkipCode
from nftloyalty.errors import BadInput, ProgramProblem, Reverted, Unknown
from nftloyalty.store import intents, vouchers
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow
from tests.app.build import World, new_member, new_wallet, program_text
from tests.app.conftest import Anew


def quiet() -> None:
    """A tick that nobody watches."""


def card(world: World, to: Address, **more: object) -> SignedVoucher:
    terms = {"tier": 2, "expires_at": 0, "deadline": datetime.now(UTC) + timedelta(days=1), **more}
    return claiming.create_card(world.app, world.here, to, **terms)  # type: ignore[arg-type]


def stamp(world: World, to: Address) -> SignedVoucher:
    deadline = datetime.now(UTC) + timedelta(days=1)
    return claiming.create_stamp(world.app, world.here, to, stamp_type=1, deadline=deadline)


def bring(world: World, row: IntentRow) -> IntentRow:
    """What a worker does: send until the claim has ended, and index what became of it."""
    here = world.here

    def done() -> bool:
        return claiming.claim_status(world.app, here, row.public_id).state in (
            IntentState.FINAL,
            IntentState.REJECTED,
            IntentState.CANCELLED,
        )

    signer = signer_of(world.app, claiming.relay_key(here))
    work(world.app, here.attached, signer, finality_blocks=None, done=done)
    world.index()
    return claiming.claim_status(world.app, here, row.public_id)


def described(world: World, row: IntentRow) -> dict[str, Any]:
    return claiming.described(world.app, world.here, row)


def refused_field(world: World, signed: SignedVoucher) -> str:
    with pytest.raises(BadInput) as refused:
        claiming.accept_claim(world.app, world.here, signed)
    (problem,) = refused.value.problems
    return problem.place


def test_a_card_voucher_becomes_a_card(world: World) -> None:
    wallet = new_wallet()
    voucher = signed_from_json(signed_to_json(card(world, wallet)))  # as it travels
    row = bring(world, claiming.accept_claim(world.app, world.here, voucher))
    assert row.state is IntentState.FINAL
    assert world.here.membership.words_of([wallet])[0].tier == 2
    told = described(world, row)
    assert (told["phase"], told["wallet"], told["reason"]) == ("final", wallet, None)
    assert told["transaction"] == row.tx_hash


def test_a_stamp_voucher_becomes_a_stamp(world: World) -> None:
    wallet = new_wallet()
    row = bring(world, claiming.accept_claim(world.app, world.here, stamp(world, wallet)))
    assert row.state is IntentState.FINAL
    assert world.here.stamps.words_of([wallet])[0].holds(1)


def test_the_same_voucher_again_is_the_same_claim(world: World) -> None:
    voucher = card(world, new_wallet())
    first = claiming.accept_claim(world.app, world.here, voucher)
    assert claiming.accept_claim(world.app, world.here, voucher).public_id == first.public_id
    bring(world, first)
    before = world.nonces()
    late = replace(world.app, now=lambda: datetime.now(UTC) + timedelta(days=30))
    assert claiming.accept_claim(late, world.here, voucher).public_id == first.public_id
    assert world.nonces() == before


def test_a_claim_and_a_voucher_are_part_of_the_callers_transaction(world: World) -> None:
    wallet = new_wallet()
    deadline = datetime.now(UTC) + timedelta(days=1)
    signer = signer_of(world.app, claiming.signing_key(world.here))
    made = claiming.sign_card(world.app, world.here, wallet, tier=2, expires_at=0, deadline=deadline, signer=signer)
    claim = claiming.prepare_claim(world.app, world.here, made.signed)
    with pytest.raises(RuntimeError), begin(world.app.engine) as tx:
        claiming.keep(world.app, tx, made)
        lost = claiming.take_claim(world.app, tx, claim)
        raise RuntimeError
    with read(world.app.engine) as tx:
        assert vouchers.of_program(tx, world.here.row.id, wallet) == []
    with pytest.raises(Unknown):
        claiming.claim_status(world.app, world.here, lost.public_id)
    with begin(world.app.engine) as tx:
        kept = claiming.keep(world.app, tx, made)
        taken = claiming.take_claim(world.app, tx, claim)
        # Prepared twice before either was taken in.
        assert claiming.take_claim(world.app, tx, claim).public_id == taken.public_id
    assert (kept.recipient, kept.public_id) == (wallet, made.new.public_id)
    known = claiming.prepare_claim(world.app, world.here, made.signed)
    with begin(world.app.engine) as tx:
        assert claiming.take_claim(world.app, tx, known).public_id == taken.public_id
    bring(world, taken)
    assert world.here.membership.words_of([wallet])[0].tier == 2


def test_two_vouchers_for_one_wallet_are_one_card(world: World) -> None:
    wallet = new_wallet()
    one = claiming.accept_claim(world.app, world.here, card(world, wallet))
    two = claiming.accept_claim(world.app, world.here, card(world, wallet, tier=1))
    assert one.public_id != two.public_id
    states = {bring(world, one).state, bring(world, two).state}
    assert states == {IntentState.FINAL, IntentState.REJECTED}
    told = [described(world, claiming.claim_status(world.app, world.here, each.public_id)) for each in (one, two)]
    assert "the wallet already holds it" in str(next(each["reason"] for each in told if each["phase"] == "reverted"))


def test_a_member_already_is_refused_with_the_contracts_reason(world: World) -> None:
    wallet = new_wallet()
    world.mint_outside(wallet)
    with pytest.raises(Reverted) as refused:
        claiming.accept_claim(world.app, world.here, card(world, wallet))
    assert refused.value.name.startswith("LoyaltyMembership_")


def test_what_does_not_fit_the_signature_is_refused(world: World) -> None:
    signed = card(world, new_wallet())
    assert refused_field(world, replace(signed, signer=world.address("desk"))) == "signature"
    assert refused_field(world, replace(signed, voucher=replace(signed.voucher, to=new_wallet()))) == "signature"
    for spoiled in (bytes(65), b"\xff" * 65, signed.signature + b"\0", signed.signature[:-1] + b"\x05"):
        assert refused_field(world, replace(signed, signature=spoiled)) == "signature"


def test_another_programs_voucher_is_refused(world: World, anew: Anew) -> None:
    other = anew("")
    signed = card(other, new_wallet())
    assert refused_field(world, signed) == "contract"
    with pytest.raises(BadInput) as refused:
        claiming.accept_claim(world.app, world.here, replace(card(world, new_wallet()), chain_id=1))
    assert [problem.place for problem in refused.value.problems] == ["chain_id", "signature"]


def test_a_past_deadline_is_refused(world: World) -> None:
    signed = card(world, new_wallet())
    late = replace(world, app=replace(world.app, now=lambda: datetime.now(UTC) + timedelta(days=2)))
    with pytest.raises(VoucherExpired, match="the voucher was valid until "):
        claiming.accept_claim(late.app, late.here, signed)
    with pytest.raises(ProgramProblem, match="deadline is in the past"):
        card(world, new_wallet(), deadline=datetime.now(UTC) - timedelta(seconds=1))


def test_a_signer_without_its_role_can_neither_sign_nor_have_signed(anew: Anew) -> None:
    world = anew("")
    signed = card(world, new_wallet())
    governing.withdraw(world.app, world.here, Role.SIGNER, "hot", quiet)
    with pytest.raises(Reverted):
        claiming.accept_claim(world.app, world.here, signed)
    with pytest.raises(ProgramProblem, match="may not sign vouchers"):
        card(world, new_wallet())


def test_raising_the_epoch_kills_older_vouchers_only(anew: Anew) -> None:
    world = anew("")
    old = card(world, new_wallet())
    here = world.here
    act = Act("kill old vouchers", "test|epoch", here.membership.address, Membership.encode_raise_voucher_epoch())
    perform(world.app, here.attached, act, by="owner", program=here.row.id, finality_blocks=None)
    with pytest.raises(Reverted):
        claiming.accept_claim(world.app, world.here, old)
    new = claiming.accept_claim(world.app, world.here, card(world, new_wallet()))
    assert bring(world, new).state is IntentState.FINAL


def test_while_paused_claims_are_refused(anew: Anew) -> None:
    world = anew("")
    signed = card(world, new_wallet())
    governing.pause(world.app, world.here, quiet)
    with pytest.raises(Reverted, match="the program is paused"):
        claiming.accept_claim(world.app, world.here, signed)


def test_a_program_without_signers_or_minters_says_so(world: World) -> None:
    powers = replace(world.program.powers, signers=(), minters=())
    here = replace(world.here, program=replace(world.program, powers=powers))
    with pytest.raises(ProgramProblem, match="names no signers"):
        claiming.create_card(
            world.app, here, new_wallet(), tier=1, expires_at=0, deadline=datetime.now(UTC) + timedelta(1)
        )
    with pytest.raises(ProgramProblem, match="names no minters"):
        claiming.relay_key(here)


@pytest.mark.parametrize("asked", ["", "int_none", "a\0b", "int_" + "0" * 100, "..", "\ud800"])
def test_a_claim_that_is_none_is_unknown(world: World, asked: str) -> None:
    with pytest.raises(Unknown, match="no claim of this id"):
        claiming.claim_status(world.app, world.here, asked)


def test_the_id_of_a_mint_is_no_claim(world: World) -> None:
    plan = world.plan(f"{new_wallet()},gold,never")
    minting.mint(world.app, world.here, plan)
    with read(world.app.engine) as tx:
        (row,) = intents.by_keys(tx, world.here.attached.row, [plan.rows[0].key]).values()
    with pytest.raises(Unknown):
        claiming.claim_status(world.app, world.here, row.public_id)


def test_the_claim_of_another_program_is_unknown(world: World) -> None:
    here = world.here
    row = claiming.accept_claim(world.app, here, card(world, new_wallet()))
    beside = replace(here, row=replace(here.row, id=here.row.id + 1))
    with pytest.raises(Unknown, match="no claim of this id"):
        claiming.claim_status(world.app, beside, row.public_id)
    bring(world, row)


def test_how_far_a_claim_is_is_told_in_words(world: World) -> None:
    world.index()
    row = claiming.accept_claim(world.app, world.here, card(world, new_wallet()))
    said = {state: described(world, replace(row, state=state)) for state in IntentState}
    assert [told["phase"] for told in said.values()] == [*["pending"] * 3, "final", *["reverted"] * 2]
    assert len({told["sentence"] for told in said.values()}) == len(IntentState)
    assert said[IntentState.RECEIVED]["sentence"] == "accepted; it will be sent to the chain soon"
    skipped = described(world, replace(row, state=IntentState.REJECTED, code=SkipCode.ALREADY_HELD))
    assert skipped["reason"] == {"code": "already_held", "sentence": "the wallet already holds it"}
    refused = described(world, replace(row, state=IntentState.REJECTED, error="the program is paused"))
    assert refused["reason"] == {"code": "refused", "sentence": "the program is paused"}
    bring(world, row)


def test_a_claim_is_not_final_before_the_gate_knows_it(anew: Anew) -> None:
    world = anew("")
    wallet = new_wallet()
    row = claiming.accept_claim(world.app, world.here, card(world, wallet))
    here = world.here
    signer = signer_of(world.app, claiming.relay_key(here))

    def sent() -> bool:
        return claiming.claim_status(world.app, here, row.public_id).state is IntentState.FINAL

    work(world.app, here.attached, signer, finality_blocks=None, done=sent)
    ended = claiming.claim_status(world.app, world.here, row.public_id)
    told = described(world, ended)
    assert (ended.state, told["phase"], told["block"]) == (IntentState.FINAL, "pending", ended.block_number)
    assert told["sentence"] == "on chain; it counts once it can no longer be undone"
    world.index()
    assert described(world, ended)["phase"] == "final"
    for consistency in Consistency:
        assert verifying.holding(world.app, here, wallet, consistency).holding.card.tier == 2


def test_what_would_stop_a_claim_is_seen_before_the_voucher_is_signed(world: World) -> None:
    member, gold, stranger, leaver = new_wallet(), new_wallet(), new_wallet(), new_member()
    world.mint_outside(member, leaver.address)
    world.mint_outside(gold, tier=2)
    world.leave(leaver)
    world.stamp("latte", gold)

    def seen(wallet: Address, stamp_type: int = 0) -> str | None:
        return claiming.obstacle(world.app, world.here, wallet, stamp_type)

    assert seen(stranger) is None
    assert seen(member) == "already holds it"
    assert seen(leaver.address) == "has left the program"
    assert seen(member, 1) is None
    assert seen(gold, 1) == "already holds it"
    assert seen(stranger, 2) == "has no active membership"
    assert seen(member, 2) == "is below the tier this stamp asks for"
    assert seen(gold, 2) is None


def test_a_closed_stamp_is_seen_before_the_voucher_is_signed(anew: Anew) -> None:
    world = anew(program_text(rest='[[stamps]]\nid = "gala"\nnumber = 1\nname = "Gala"\ncloses = 2020-12-31\n'))
    told = claiming.obstacle(world.app, world.here, new_wallet(), 1)
    assert told == "can't get it now: the stamp gala is closed: it was open through 2020-12-31 (UTC)"
