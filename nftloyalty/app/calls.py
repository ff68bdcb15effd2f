"""What a group of intents says to which contract."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.chain.logs import Event
from nftloyalty.domain import words
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.voucher import CardVoucher, SignedVoucher, StampVoucher, signed_from_json
from nftloyalty.store.intents import Batchable, Passenger
from nftloyalty.store.programs import ProgramRow

_Voucher = TypeVar("_Voucher", CardVoucher, StampVoucher)

MINTS = frozenset({Kind.MINT_CARD, Kind.MINT_STAMP})

MANAGED = frozenset({Kind.RENEW, Kind.SET_TIER})
"""What a manager does to many cards at once."""

BATCHED_KINDS = MINTS | MANAGED
"""Kinds of which many go into one transaction; of all others each intent is a transaction of its own."""

CLAIMS = frozenset({Kind.CLAIM_CARD, Kind.CLAIM_STAMP})
"""A voucher is sent in by anybody: for these no power is needed."""

ACTS = frozenset({Kind.CALL, Kind.DEPLOY})
"""Acts over the whole program, at whose end their operator waits. One that fails is over: it is done again only when it
is asked for again."""

EVENTS: Mapping[Kind, Event] = {
    Kind.RENEW: Event("LoyaltyMembership", "TokenExpiryUpdated"),
    Kind.SET_TIER: Event("LoyaltyMembership", "MemberSet"),
    Kind.REVOKE_CARD: Event("LoyaltyMembership", "CardRevoked"),
    Kind.READMIT: Event("LoyaltyMembership", "Readmitted"),
    Kind.REVOKE_STAMP: Event("LoyaltyStamps", "StampRevoked"),
}
"""By what the contracts tell that an act on one member was done."""


@dataclass(frozen=True)
class Call:
    """One transaction to be. `to` None creates a contract."""

    to: Address | None
    data: bytes
    value_wei: int = 0


@dataclass(frozen=True)
class Proof:
    """What a transaction must tell of: token ids of `contract`, in the order of its intents, each as minted or skipped;
    or, where there is an `event`, by that or as skipped."""

    contract: Address
    token_ids: tuple[int, ...]
    event: Event | None


def build(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    """The call for these intents, which must be of one program, kind and stamp type.

    The same intents in the same order always give the same bytes.
    """
    return _BUILDERS[intents[0].kind](intents, program)


def proof_of(kind: Kind, program: ProgramRow | None, members: Sequence[Passenger]) -> Proof | None:
    """What the transaction of these intents must show for each of them; None where its success is all there is."""
    if program is None or kind in ACTS:
        return None
    stamps = kind in (Kind.MINT_STAMP, Kind.CLAIM_STAMP, Kind.REVOKE_STAMP)
    contract = program.stamps if stamps else program.membership
    token_ids = tuple(each.stamp_type << 160 | int(str(each.recipient), 16) for each in members)
    return Proof(contract, token_ids, EVENTS.get(kind))


def _recipient(intent: Batchable) -> Address:
    if intent.recipient is None:
        raise ValueError(f"intent {intent.public_id} of kind {intent.kind} has no recipient")
    return intent.recipient


def _of(program: ProgramRow | None) -> ProgramRow:
    if program is None:
        raise ValueError("what is minted or done to a member belongs to a program")
    return program


def _mint_cards(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    membership = _of(program).membership
    items = []
    for intent in intents:
        items.append(words.card_item(_recipient(intent), intent.args["tier"], intent.args["expires_at"]))
    return Call(membership, Membership.encode_mint_batch(items))


def _mint_stamps(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    stamps = _of(program).stamps
    ids = [words.stamp_token_id(_recipient(intent), intent.stamp_type) for intent in intents]
    return Call(stamps, Stamps.encode_mint_batch(ids))


def _claim_card(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    membership = _of(program).membership
    signed, voucher = _voucher(intents[0], CardVoucher)
    return Call(membership, Membership.encode_claim(voucher, signed.signer, signed.signature))


def _claim_stamp(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    stamps = _of(program).stamps
    signed, voucher = _voucher(intents[0], StampVoucher)
    return Call(stamps, Stamps.encode_claim(voucher, signed.signer, signed.signature))


def _voucher(intent: Batchable, kind: type[_Voucher]) -> tuple[SignedVoucher, _Voucher]:
    signed = signed_from_json(intent.args, intent.public_id)
    if not isinstance(signed.voucher, kind):
        raise ValueError(f"intent {intent.public_id} of kind {intent.kind} carries another kind of voucher")
    return signed, signed.voucher


def _renew(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    items = []
    for intent in intents:
        items.append(words.renewal_item(_recipient(intent), intent.args["expires_at"], intent.args["expected"]))
    return Call(_of(program).membership, Membership.encode_renew_batch(items))


def _set_tier(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    items = [words.tier_item(_recipient(intent), intent.args["tier"]) for intent in intents]
    return Call(_of(program).membership, Membership.encode_set_tier_batch(items))


def _revoke_card(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    (intent,) = intents
    return Call(_of(program).membership, Membership.encode_revoke(_recipient(intent), intent.args["reason"]))


def _revoke_stamp(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    (intent,) = intents
    may_return, reason = intent.args["may_return"], intent.args["reason"]
    data = Stamps.encode_revoke_stamp(_recipient(intent), intent.stamp_type, may_return, reason)
    return Call(_of(program).stamps, data)


def _readmit(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    (intent,) = intents
    tier, expires_at = intent.args["tier"], intent.args["expires_at"]
    return Call(_of(program).membership, Membership.encode_readmit(_recipient(intent), tier, expires_at))


def _plain(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    args = intents[0].args
    return Call(args["to"], bytes.fromhex(args["data"][2:]), int(args.get("value_wei", "0")))


_BUILDERS: dict[Kind, Callable[[Sequence[Batchable], ProgramRow | None], Call]] = {
    Kind.MINT_CARD: _mint_cards,
    Kind.MINT_STAMP: _mint_stamps,
    Kind.CLAIM_CARD: _claim_card,
    Kind.CLAIM_STAMP: _claim_stamp,
    Kind.RENEW: _renew,
    Kind.SET_TIER: _set_tier,
    Kind.REVOKE_CARD: _revoke_card,
    Kind.REVOKE_STAMP: _revoke_stamp,
    Kind.READMIT: _readmit,
    Kind.CALL: _plain,
    Kind.DEPLOY: _plain,
}
