"""Typed reads and writes against real contracts, on both development chains."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from nftloyalty.chain import abi, logs, signatures
from nftloyalty.chain.client import Node, Receipt
from nftloyalty.chain.contracts import (
    FixedTerms,
    Membership,
    PowersNow,
    QuotaKind,
    QuotaNow,
    Recovery,
    Stamps,
    TypeNow,
)
from nftloyalty.chain.logs import Changed, Event, Minted, Missing, Skipped
from nftloyalty.chain.signer import LocalSigner
from nftloyalty.domain.address import Address
from nftloyalty.domain.program_file import NO_CAP
from nftloyalty.domain.voucher import CardVoucher, StampVoucher
from nftloyalty.domain.words import (
    CardWord,
    Flag,
    Role,
    SkipCode,
    StampsWord,
    card_item,
    card_token_id,
    renewal_item,
    stamp_token_id,
    tier_item,
    types_mask,
)
from nftloyalty.errors import ChainProblem, NodeRefused, Reverted
from tests.chain.liar import Liar
from tests.chain.opened import GUARDIAN, HOT, OPENER, OWNER, STRANGER, Opened, key, transact
from tests.domain.build import wallet

LATER = 2_000_000_000
EVEN_LATER = 2_100_000_000

_next_wallet = iter(range(10_000, 20_000))


def new_wallet() -> Address:
    """One that no other test of the module uses."""
    return wallet(next(_next_wallet))


def by(signer: LocalSigner, contract: Membership | Stamps, data: bytes) -> Receipt:
    receipt = transact(contract.node, signer, contract.address, data)
    assert receipt.succeeded
    return receipt


@contextmanager
def refused(name: str, **values: Any) -> Iterator[None]:
    """The contract refuses with this error of Solidity, and with these values among its own."""
    with pytest.raises(Reverted) as caught:
        yield
    assert caught.value.name == name
    assert {key: caught.value.values[key] for key in values} == values


def member(opened: Opened, tier: int = 1, expires_at: int = 0) -> Address:
    holder = new_wallet()
    by(HOT, opened.membership, Membership.encode_mint(holder, tier, expires_at))
    return holder


def now(node: Node) -> int:
    return node.head().timestamp


# ---------------------------------------------------------------------------------------------------------------- reads


def test_what_was_opened_reads_back(opened: Opened) -> None:
    membership, stamps = opened.membership, opened.stamps
    assert (membership.name(), membership.symbol()) == ("Bean Club", "BEAN")
    assert membership.fixed_terms() == FixedTerms(opened.factory.address, 7 * 86_400, 30 * 86_400, 0x14213D, 0xFFFFFF)
    assert membership.tier_names() == ("Member", "Silver Friend", "Gold")
    assert membership.owner() == stamps.owner() == OWNER.address
    assert membership.cap() == NO_CAP
    assert membership.seasons() == 1
    assert membership.stamps_of_season(0) == stamps.address
    assert (stamps.membership(), stamps.season()) == (membership.address, 0)
    assert membership.base_uri() == stamps.base_uri() == ""
    assert membership.contract_uri().startswith("data:application/json")
    assert not membership.metadata_frozen()
    assert membership.quota_of(QuotaKind.MINT).limit == 400
    assert stamps.quota_of(QuotaKind.MANAGE) == QuotaNow(1_000, 0)
    assert membership.powers_of(HOT.address) == PowersNow(Role.MINTER | Role.SIGNER | Role.MANAGER, False, False, 0)
    assert membership.roles_of(GUARDIAN.address) is Role.GUARDIAN
    assert membership.powers_of(OWNER.address).is_owner
    assert membership.recovery_of(wallet()) == Recovery("0x" + 40 * "0", "0x" + 40 * "0", 0, 0, 0, 0)
    assert membership.bearer_word(0) == 0
    assert opened.factory.program_of(OPENER.address, opened.program.salt()) == membership.address
    assert opened.factory.program_of(STRANGER.address, opened.program.salt()) is None


def test_stamp_types_read_back(opened: Opened) -> None:
    assert opened.stamps.type_of(2) == TypeNow(NO_CAP, 0, 0, 0, 3, 3, 2, 1, "Gold only")
    card = TypeNow(50, 0, 0, 0, 0, 0, 11, 5, "Five coffees")
    assert opened.stamps.types_of([12, 16, 15]) == [card, None, card]
    with refused("LoyaltyStamps_UnknownType"):
        opened.stamps.type_of(16)


def test_a_minted_card_reads_the_same_in_every_way(opened: Opened) -> None:
    membership = opened.membership
    holder = member(opened, 2, LATER)
    joined_at = now(opened.node)
    found = membership.membership_of(holder)
    assert found.active
    card = found.card
    assert card == CardWord(joined_at, LATER, 2, membership.issued(), 0, 0, Flag(0))
    assert membership.words_of([holder, wallet()]) == [card, CardWord(0, 0, 0, 0, 0, 0, Flag(0))]
    assert membership.holdings_of(holder) == (card, (StampsWord(0, 0, False),))
    assert membership.standings_of([holder, wallet()]) == [2, 0]
    assert membership.is_active(holder)
    assert membership.owner_of(card_token_id(holder)) == holder
    assert membership.balance_of(holder) == 1
    assert membership.token_uri(card_token_id(holder)).startswith("data:application/json")
    assert membership.total_supply() <= membership.issued()


def test_nobody_is_asked_about_nobody(opened: Opened) -> None:
    assert opened.membership.words_of([]) == []
    assert opened.stamps.words_of([]) == []
    assert opened.stamps.types_of([]) == []


def test_a_read_can_be_pinned_to_the_past_by_number_or_hash(opened: Opened) -> None:
    before = opened.node.head()
    holder = member(opened)
    for block in (before.number, before.hash):
        assert not opened.membership.words_of([holder], block)[0].exists
        assert opened.membership.holdings_of(holder, block)[0].exists is False
    assert opened.membership.words_of([holder], opened.node.head().hash)[0].exists


def test_a_block_hash_the_chain_does_not_have_is_no_other_block(opened: Opened) -> None:
    with pytest.raises((NodeRefused, ChainProblem)):
        opened.membership.owner("0x" + "77" * 32)


def test_a_place_without_contract_is_said_so(opened: Opened) -> None:
    for read in (
        Membership(opened.node, wallet()).owner,
        lambda: Membership(opened.node, wallet()).words_of([wallet()]),
        lambda: Membership(opened.node, STRANGER.address).holdings_of(wallet()),
    ):
        with pytest.raises(ChainProblem, match="no such contract there"):
            read()


def test_a_word_that_can_not_be_ours_is_refused(liar: Liar) -> None:
    words = [2**255]
    answer = b"".join(number.to_bytes(32, "big") for number in (32, 1, *words))
    liar.answer = lambda exchange, request: exchange.result(request, "0x" + answer.hex())
    with pytest.raises(ChainProblem, match="not ours"):
        Membership(Node(liar.url), wallet()).words_of([wallet()])


# -------------------------------------------------------------------------------------------------------------- minting


def test_a_batch_tells_what_became_of_each_item(opened: Opened) -> None:
    there, first, second = member(opened), new_wallet(), new_wallet()
    items = [card_item(first, 1, 0), card_item(there, 1, 0), card_item(second, 3, LATER)]
    receipt = by(HOT, opened.membership, Membership.encode_mint_batch(items))
    expected = [card_token_id(each) for each in (first, there, second, wallet())]
    found = logs.outcomes(receipt, opened.membership.address, expected)
    kinds = [type(found[token]) for token in expected]
    assert kinds == [Minted, Skipped, Minted, Missing]
    assert found[expected[1]] == Skipped(SkipCode.ALREADY_HELD)
    minted = found[expected[0]]
    assert isinstance(minted, Minted)
    assert next(log for log in receipt.logs if log.index == minted.log_index).topics[3] == f"0x{expected[0]:064x}"


def test_the_stamps_of_a_wallet(opened: Opened) -> None:
    stamps, holder = opened.stamps, new_wallet()
    ids = [stamp_token_id(holder, number) for number in (1, 11, 12)]
    receipt = by(HOT, stamps, Stamps.encode_mint_batch(ids))
    found = logs.outcomes(receipt, stamps.address, ids, membership=opened.membership.address)
    assert all(isinstance(outcome, Minted) for outcome in found.values())
    word = stamps.words_of([holder])[0]
    assert word.types_held() == (1, 11, 12)
    assert opened.membership.holdings_of(holder)[1] == (word,)
    assert stamps.holds_all(holder, types_mask((1, 12)))
    assert not stamps.holds_all(holder, types_mask((1, 13)))
    assert stamps.owner_of(ids[0]) == holder
    assert stamps.token_uri(ids[0]).startswith("data:application/json")
    with refused("LoyaltyStamps_Refused", stampType=1, code=1):
        by(HOT, stamps, Stamps.encode_mint(holder, 1))
    assert stamps.type_of(1).minted >= 1


def test_a_gated_stamp_skips_who_is_below_the_tier(opened: Opened) -> None:
    low, gold = member(opened, 1), member(opened, 3)
    ids = [stamp_token_id(each, 2) for each in (low, gold, new_wallet())]
    receipt = by(HOT, opened.stamps, Stamps.encode_mint_batch(ids))
    outcomes = list(logs.outcomes(receipt, opened.stamps.address, ids).values())
    assert outcomes[0] == Skipped(SkipCode.BELOW_TIER)
    assert isinstance(outcomes[1], Minted)
    assert outcomes[2] == Skipped(SkipCode.NOT_ACTIVE)


# ------------------------------------------------------------------------------------------------------------- vouchers


def test_a_voucher_becomes_a_card_once_whoever_sends_it(opened: Opened) -> None:
    holder = new_wallet()
    voucher = CardVoucher(holder, 2, LATER, opened.membership.voucher_epoch(), LATER)
    digest = signatures.card_voucher_digest(opened.chain_id, opened.membership.address, voucher)
    data = Membership.encode_claim(voucher, HOT.address, HOT.sign_digest(digest))
    receipt = by(STRANGER, opened.membership, data)
    token = card_token_id(holder)
    assert isinstance(logs.outcomes(receipt, opened.membership.address, [token])[token], Minted)
    with refused("LoyaltyMembership_Refused"):
        by(STRANGER, opened.membership, data)


def test_a_voucher_becomes_a_stamp(opened: Opened) -> None:
    holder = new_wallet()
    voucher = StampVoucher(holder, 1, opened.membership.voucher_epoch(), LATER)
    digest = signatures.stamp_voucher_digest(opened.chain_id, opened.stamps.address, voucher)
    by(STRANGER, opened.stamps, Stamps.encode_claim(voucher, HOT.address, HOT.sign_digest(digest)))
    assert opened.stamps.words_of([holder])[0].types_held() == (1,)


def test_a_voucher_of_somebody_without_the_power_is_refused(opened: Opened) -> None:
    voucher = CardVoucher(new_wallet(), 1, 0, opened.membership.voucher_epoch(), LATER)
    digest = signatures.card_voucher_digest(opened.chain_id, opened.membership.address, voucher)
    data = Membership.encode_claim(voucher, STRANGER.address, STRANGER.sign_digest(digest))
    with refused("LoyaltyMembership_NotSigner"):
        by(STRANGER, opened.membership, data)


def test_a_voided_voucher_and_an_old_epoch_are_refused(opened: Opened) -> None:
    holder, other = new_wallet(), new_wallet()
    epoch = opened.membership.voucher_epoch()

    def claim(to: Address) -> bytes:
        voucher = CardVoucher(to, 1, 0, epoch, LATER)
        digest = signatures.card_voucher_digest(opened.chain_id, opened.membership.address, voucher)
        return Membership.encode_claim(voucher, HOT.address, HOT.sign_digest(digest))

    by(HOT, opened.membership, Membership.encode_void_voucher(holder))
    assert opened.membership.words_of([holder])[0].flags == Flag.VOIDED
    with pytest.raises(Reverted):
        by(STRANGER, opened.membership, claim(holder))
    by(GUARDIAN, opened.membership, Membership.encode_raise_voucher_epoch())
    assert opened.membership.voucher_epoch() == epoch + 1
    with refused("LoyaltyMembership_WrongEpoch"):
        by(STRANGER, opened.membership, claim(other))


def test_a_voided_stamp_voucher_is_refused_and_the_next_type_is_not(opened: Opened) -> None:
    holder = new_wallet()

    def claim(stamp_type: int) -> bytes:
        voucher = StampVoucher(holder, stamp_type, opened.membership.voucher_epoch(), LATER)
        digest = signatures.stamp_voucher_digest(opened.chain_id, opened.stamps.address, voucher)
        return Stamps.encode_claim(voucher, HOT.address, HOT.sign_digest(digest))

    by(HOT, opened.stamps, Stamps.encode_void_voucher(holder, 11))
    with pytest.raises(Reverted) as refused:
        by(STRANGER, opened.stamps, claim(11))
    assert refused.value.name == "LoyaltyStamps_VoucherUsed"
    by(STRANGER, opened.stamps, claim(12))
    assert opened.stamps.words_of([holder])[0].held == types_mask((12,))


@pytest.mark.parametrize("kind", ["Card", "Stamp"])
def test_a_bearer_claim_is_what_a_wallet_shows_and_signs(opened: Opened, kind: str) -> None:
    """The typed data holds the whole voucher, and is hashed by a library that knows nothing of us."""
    contract: Membership | Stamps = opened.membership if kind == "Card" else opened.stamps
    holder, claim_key = key(700 + len(kind)), key(710 + len(kind))
    terms: dict[str, int] = {"tier": 1, "expiresAt": 0} if kind == "Card" else {"stampType": 13}
    epoch = opened.membership.voucher_epoch()
    voucher: dict[str, Any] = {"claimKey": claim_key.address, "index": 77, **terms, "epoch": epoch, "deadline": LATER}
    promise = f"Bearer{kind}Voucher"
    kinds = {"claimKey": "address", "index": "uint32", "tier": "uint8", "expiresAt": "uint40", "stampType": "uint8"}
    kinds |= {"epoch": "uint24", "deadline": "uint40"}
    shape = [{"name": name, "type": kinds[name]} for name in voucher]
    claim = [{"name": "voucher", "type": promise}, {"name": "claimer", "type": "address"}]

    def digest(types: dict[str, list[dict[str, str]]], message: dict[str, Any]) -> bytes:
        domain: dict[str, Any] = {"name": contract.CONTRACT, "version": "1"}
        domain |= {"chainId": opened.chain_id, "verifyingContract": contract.address}
        typed = encode_typed_data(domain_data=domain, message_types=types, message_data=message)
        return keccak(b"\x19" + typed.version + typed.header + typed.body)

    promised = digest({promise: shape}, voucher)
    agreed = digest({"Claim": claim, promise: shape}, {"voucher": voucher, "claimer": holder.address})
    data = abi.function(contract.CONTRACT, "claimBearer").encode(
        tuple(voucher.values()),
        HOT.address,
        HOT.sign_digest(promised),
        claim_key.sign_digest(agreed),
        holder.address,
        holder.sign_digest(agreed),
    )
    by(STRANGER, contract, data)
    assert contract.bearer_word(0) == 1 << 77


def test_voided_bearer_vouchers_show_in_their_word(opened: Opened) -> None:
    for contract in (opened.membership, opened.stamps):
        by(HOT, contract, contract.encode_void_bearer(2, 0b1010))
        assert contract.bearer_word(2) == 0b1010


# -------------------------------------------------------------------------------------------------------------- manager


RENEWED = Event("LoyaltyMembership", "TokenExpiryUpdated")
TIER_SET = Event("LoyaltyMembership", "MemberSet")


def test_renewals_and_tiers_are_absolute_and_tell_their_skips(opened: Opened) -> None:
    holder, nobody = member(opened, 1, LATER), new_wallet()
    items = [renewal_item(holder, EVEN_LATER, LATER), renewal_item(nobody, EVEN_LATER, LATER)]
    receipt = by(HOT, opened.membership, Membership.encode_renew_batch([*items, items[0]]))
    ids = [card_token_id(holder), card_token_id(nobody), card_token_id(holder)]
    renewed, skipped, done = logs.changes(receipt, opened.membership.address, RENEWED, ids)
    assert isinstance(renewed, Changed)
    assert (skipped, done) == (Skipped(SkipCode.NOT_HELD), Skipped(SkipCode.DONE))
    assert opened.membership.words_of([holder])[0].expires_at == EVEN_LATER
    again = by(HOT, opened.membership, Membership.encode_renew_batch(items[:1]))
    assert logs.changes(again, opened.membership.address, RENEWED, ids[:1]) == [Skipped(SkipCode.DONE)]
    wrong = by(HOT, opened.membership, Membership.encode_renew_batch([renewal_item(holder, EVEN_LATER + 9, LATER)]))
    assert logs.changes(wrong, opened.membership.address, RENEWED, ids[:1]) == [Skipped(SkipCode.CONFLICT)]
    set_to = by(HOT, opened.membership, Membership.encode_set_tier_batch([tier_item(holder, 3)]))
    (changed,) = logs.changes(set_to, opened.membership.address, TIER_SET, ids[:1])
    assert isinstance(changed, Changed)
    assert opened.membership.words_of([holder])[0].tier == 3


def test_revoke_and_readmit_keep_the_member_number(opened: Opened) -> None:
    holder = member(opened)
    serial = opened.membership.words_of([holder])[0].serial
    by(HOT, opened.membership, Membership.encode_revoke(holder, "asked for it"))
    gone = opened.membership.words_of([holder])[0]
    assert not gone.exists
    assert gone.mintable_code() is SkipCode.REVOKED
    by(HOT, opened.membership, Membership.encode_readmit(holder, 2, 0))
    back = opened.membership.words_of([holder])[0]
    assert (back.tier, back.serial) == (2, serial)


def test_a_stamp_can_be_revoked(opened: Opened) -> None:
    holder = new_wallet()
    by(HOT, opened.stamps, Stamps.encode_mint(holder, 1))
    by(HOT, opened.stamps, Stamps.encode_revoke_stamp(holder, 1, False, "a mistake"))
    word = opened.stamps.words_of([holder])[0]
    assert word.types_held() == ()
    assert word.mintable_code(1) is SkipCode.EVER_CLAIMED


# --------------------------------------------------------------------------------------------------------------- holder


def test_a_holder_leaves_by_a_signature_that_anyone_sends(opened: Opened) -> None:
    leaver = key(next(_next_wallet))
    by(HOT, opened.membership, Membership.encode_mint(leaver.address, 1, 0))
    digest = signatures.burn_digest(opened.chain_id, opened.membership.address, leaver.address, 0, LATER)
    data = Membership.encode_burn(leaver.address, LATER, leaver.sign_digest(digest))
    by(STRANGER, opened.membership, data)
    word = opened.membership.words_of([leaver.address])[0]
    assert word.mintable_code() is SkipCode.LEFT
    assert word.nonce == 1


def test_a_stamp_is_redeemed_for_an_order_by_a_signature(opened: Opened) -> None:
    holder, order = key(next(_next_wallet)), b"\x0d" * 32
    by(HOT, opened.membership, Membership.encode_mint(holder.address, 3, 0))
    by(HOT, opened.stamps, Stamps.encode_mint(holder.address, 2))
    stamps = opened.stamps
    digest = signatures.redeem_digest(opened.chain_id, stamps.address, holder.address, 2, order, LATER)
    data = Stamps.encode_redeem(holder.address, 2, order, LATER, holder.sign_digest(digest))
    assert stamps.redeemed_for(stamp_token_id(holder.address, 2)) == bytes(32)
    by(STRANGER, stamps, data)
    assert stamps.redeemed_for(stamp_token_id(holder.address, 2)) == order
    by(STRANGER, stamps, data)
    assert stamps.words_of([holder.address])[0].held == 0


def test_a_stamp_is_given_up_by_a_signature(opened: Opened) -> None:
    holder, stamps = key(next(_next_wallet)), opened.stamps
    by(HOT, stamps, Stamps.encode_mint(holder.address, 1))
    digest = signatures.burn_stamp_digest(opened.chain_id, stamps.address, holder.address, 1, LATER)
    by(STRANGER, stamps, Stamps.encode_burn(holder.address, 1, LATER, holder.sign_digest(digest)))
    assert stamps.words_of([holder.address])[0].types_held() == ()


def test_a_move_mints_nothing(opened: Opened) -> None:
    source, target = key(next(_next_wallet)), key(next(_next_wallet))
    by(HOT, opened.membership, Membership.encode_mint(source.address, 2, LATER))
    by(HOT, opened.stamps, Stamps.encode_mint(source.address, 1))
    before = opened.membership.words_of([source.address])[0]
    membership = opened.membership.address
    digest = signatures.migrate_digest(
        opened.chain_id, membership, source.address, target.address, before.serial, 0, before.nonce, LATER
    )
    data = Membership.encode_migrate(
        source.address,
        target.address,
        before.serial,
        0,
        before.nonce,
        LATER,
        source.sign_digest(digest),
        target.sign_digest(digest),
    )
    receipt = by(STRANGER, opened.membership, data)
    assert logs.moved(receipt, membership)
    card, stamp = card_token_id(target.address), stamp_token_id(target.address, 1)
    assert logs.outcomes(receipt, membership, [card]) == {card: Missing()}
    assert logs.outcomes(receipt, opened.stamps.address, [stamp], membership=membership) == {stamp: Missing()}
    moved, (stamps,) = opened.membership.holdings_of(target.address)
    assert (moved.tier, moved.serial, moved.expires_at) == (2, before.serial, LATER)
    assert stamps.types_held() == (1,)
    assert Flag.MOVED in opened.membership.words_of([source.address])[0].flags


# --------------------------------------------------------------------------------------------------- guardian and owner


def test_a_proposed_recovery_reads_back(opened: Opened) -> None:
    lost, found = member(opened), new_wallet()
    by(GUARDIAN, opened.membership, Membership.encode_propose_recovery(lost, found, "phone in the river"))
    proposal = opened.membership.recovery_of(lost)
    assert (proposal.to, proposal.proposer) == (found, GUARDIAN.address)
    assert proposal.serial == opened.membership.words_of([lost])[0].serial
    assert proposal.ready_at == now(opened.node) + 7 * 86_400
    assert proposal.ends_at == proposal.ready_at + 14 * 86_400
    with refused("LoyaltyMembership_RecoveryNotReady"):
        by(STRANGER, opened.membership, Membership.encode_execute_recovery(lost))
    by(OWNER, opened.membership, Membership.encode_veto_recovery(lost, LATER, b""))
    assert opened.membership.recovery_of(lost).serial == 0


def test_a_holder_stops_a_recovery_by_a_signature(opened: Opened) -> None:
    holder, thief = key(next(_next_wallet)), new_wallet()
    by(HOT, opened.membership, Membership.encode_mint(holder.address, 1, 0))
    by(GUARDIAN, opened.membership, Membership.encode_propose_recovery(holder.address, thief, "so they say"))
    digest = signatures.veto_digest(opened.chain_id, opened.membership.address, holder.address, 0, LATER)
    data = Membership.encode_veto_recovery(holder.address, LATER, holder.sign_digest(digest))
    by(STRANGER, opened.membership, data)
    assert opened.membership.recovery_of(holder.address).serial == 0


def test_pause_stops_and_unpause_goes_on(opened: Opened) -> None:
    by(GUARDIAN, opened.membership, Membership.encode_pause())
    try:
        assert opened.membership.paused()
        assert opened.membership.powers_of(STRANGER.address).paused
        with refused("LoyaltyMembership_Paused"):
            member(opened)
        with refused("LoyaltyStamps_Paused"):
            by(HOT, opened.stamps, Stamps.encode_mint(new_wallet(), 1))
    finally:
        by(OWNER, opened.membership, Membership.encode_unpause())
    assert not opened.membership.paused()


def test_roles_are_granted_and_taken_back(opened: Opened) -> None:
    clerk = new_wallet()
    by(OWNER, opened.membership, Membership.encode_grant_roles(clerk, Role.MINTER | Role.MANAGER))
    assert opened.membership.roles_of(clerk) == Role.MINTER | Role.MANAGER
    by(OWNER, opened.membership, Membership.encode_revoke_roles(clerk, Role.MANAGER))
    assert opened.membership.roles_of(clerk) is Role.MINTER
    with refused("Unauthorized"):
        by(STRANGER, opened.membership, Membership.encode_grant_roles(clerk, Role.GUARDIAN))


def test_the_ownership_goes_over_in_two_steps(opened: Opened) -> None:
    heir = STRANGER
    by(heir, opened.membership, Membership.encode_request_ownership_handover())
    ends_at = opened.membership.handover_expires_at(heir.address)
    assert 13 * 86_400 < ends_at - now(opened.node) <= 14 * 86_400
    by(heir, opened.membership, Membership.encode_cancel_ownership_handover())
    assert opened.membership.handover_expires_at(heir.address) == 0
    with refused("NoHandoverRequest"):
        by(OWNER, opened.membership, Membership.encode_complete_ownership_handover(heir.address))
    for new, old in ((heir, OWNER), (OWNER, heir)):
        by(new, opened.membership, Membership.encode_request_ownership_handover())
        by(old, opened.membership, Membership.encode_complete_ownership_handover(new.address))
        assert opened.membership.owner() == new.address
        assert opened.stamps.owner() == new.address


def test_quotas_are_counted_and_lowered_by_the_guardian(opened: Opened) -> None:
    stamps = opened.stamps
    used = stamps.quota_of(QuotaKind.MINT).used
    by(HOT, stamps, Stamps.encode_mint(new_wallet(), 1))
    # The day may turn between the two.
    assert stamps.quota_of(QuotaKind.MINT).used in (used + 1, 1)
    by(GUARDIAN, stamps, Stamps.encode_set_quota(QuotaKind.CLAIM, 77))
    assert stamps.quota_of(QuotaKind.CLAIM).limit == 77
    with refused("LoyaltyStamps_QuotaOnlyLower", current=77, wanted=78):
        by(GUARDIAN, stamps, Stamps.encode_set_quota(QuotaKind.CLAIM, 78))


OWNER_WRITES: list[tuple[bytes, Callable[[Opened], Any], Any]] = [
    (Membership.encode_set_cap(12_345), lambda opened: opened.membership.cap(), 12_345),
    (
        Membership.encode_set_tiers(["Member", "Silver Friend", "Gold", "Jade"]),
        lambda opened: opened.membership.tier_names()[-1],
        "Jade",
    ),
    (Membership.encode_set_base_uri("ipfs://cards/"), lambda opened: opened.membership.base_uri(), "ipfs://cards/"),
    (Membership.encode_set_contract_uri("ar://club"), lambda opened: opened.membership.contract_uri(), "ar://club"),
    (Membership.encode_freeze_metadata(), lambda opened: opened.membership.metadata_frozen(), True),
]


def test_what_the_owner_may_set(opened: Opened) -> None:
    for data, read, expected in OWNER_WRITES:
        with pytest.raises(Reverted):
            by(STRANGER, opened.membership, data)
        by(OWNER, opened.membership, data)
        assert read(opened) == expected


def test_a_further_season_is_opened_and_read(opened: Opened) -> None:
    data = opened.factory.encode_open_season(opened.membership.address, (5, 6, 7), [], "ipfs://s/")
    assert transact(opened.node, OWNER, opened.factory.address, data).succeeded
    assert opened.membership.seasons() == 2
    second = Stamps(opened.node, opened.membership.stamps_of_season(1))
    assert (second.season(), second.membership()) == (1, opened.membership.address)
    assert second.quota_of(QuotaKind.CLAIM).limit == 6
    assert len(opened.membership.holdings_of(new_wallet())[1]) == 2


def test_reading_thousands_of_wallets_is_quick(opened: Opened) -> None:
    """A roster of 100,000 rows is compared with the chain before anything is sent."""
    holders = [wallet(50_000 + number) for number in range(2_000)]
    started = time.monotonic()
    assert len(opened.membership.words_of(holders)) == 2_000
    assert time.monotonic() - started < 5
