"""What a group of intents says to which contract."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.domain import words
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.voucher import CardVoucher, SignedVoucher, StampVoucher, signed_from_json
from nftloyalty.store.intents import Batchable, Passenger
from nftloyalty.store.programs import ProgramRow

_Voucher = TypeVar("_Voucher", CardVoucher, StampVoucher)

BATCHED_KINDS = frozenset({Kind.MINT_CARD, Kind.MINT_STAMP})
"""Kinds of which many go into one transaction; of all others each intent is a transaction of its own."""

CLAIMS = frozenset({Kind.CLAIM_CARD, Kind.CLAIM_STAMP})
"""A voucher is sent in by anybody: for these no power is needed."""

ACTS = frozenset({Kind.CALL, Kind.DEPLOY})
"""An operator's acts. One that fails is over: it is done again only when it is asked for again."""


@dataclass(frozen=True)
class Call:
    """One transaction to be. `to` None creates a contract."""

    to: Address | None
    data: bytes
    value_wei: int = 0


@dataclass(frozen=True)
class Minted:
    """What a transaction must mint or skip: token ids of `contract`, in the order of its intents."""

    contract: Address
    token_ids: tuple[int, ...]


def build(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    """The call for these intents, which must be of one program, kind and stamp type.

    The same intents in the same order always give the same bytes.
    """
    return _BUILDERS[intents[0].kind](intents, program)


def minted_by(kind: Kind, program: ProgramRow | None, members: Sequence[Passenger]) -> Minted | None:
    """What the transaction of these intents must show for each of them; None for a call that mints nothing."""
    if program is None or kind in ACTS:
        return None
    cards = kind in (Kind.MINT_CARD, Kind.CLAIM_CARD)
    contract = program.membership if cards else program.stamps
    return Minted(contract, tuple(each.stamp_type << 160 | int(str(each.recipient), 16) for each in members))


def _recipient(intent: Batchable) -> Address:
    if intent.recipient is None:
        raise ValueError(f"intent {intent.public_id} of kind {intent.kind} has no recipient")
    return intent.recipient


def _of(program: ProgramRow | None) -> ProgramRow:
    if program is None:
        raise ValueError("an intent that mints belongs to a program")
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


def _plain(intents: Sequence[Batchable], program: ProgramRow | None) -> Call:
    args = intents[0].args
    return Call(args["to"], bytes.fromhex(args["data"][2:]), int(args.get("value_wei", "0")))


_BUILDERS: dict[Kind, Callable[[Sequence[Batchable], ProgramRow | None], Call]] = {
    Kind.MINT_CARD: _mint_cards,
    Kind.MINT_STAMP: _mint_stamps,
    Kind.CLAIM_CARD: _claim_card,
    Kind.CLAIM_STAMP: _claim_stamp,
    Kind.CALL: _plain,
    Kind.DEPLOY: _plain,
}
