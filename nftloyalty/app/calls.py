"""What a group of intents says to which contract."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.domain import words
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.voucher import CardVoucher, SignedVoucher, StampVoucher, signed_from_json
from nftloyalty.store.intents import IntentRow
from nftloyalty.store.programs import ProgramRow

_Voucher = TypeVar("_Voucher", CardVoucher, StampVoucher)

BATCHED_KINDS = frozenset({Kind.MINT_CARD, Kind.MINT_STAMP})
"""Kinds of which many go into one transaction; of all others each intent is a transaction of its own."""

ACTS = frozenset({Kind.CALL, Kind.DEPLOY})
"""An operator's acts. One that fails is over: it is done again only when it is asked for again."""


@dataclass(frozen=True)
class Call:
    """One transaction to be. `token_ids` are the tokens it must mint or skip, in the order of the intents."""

    to: Address | None
    data: bytes
    value_wei: int = 0
    contract: Address | None = None
    token_ids: tuple[int, ...] = ()


def build(intents: Sequence[IntentRow], program: ProgramRow | None) -> Call:
    """The call for these intents, which must be of one program, kind and stamp type.

    The same intents in the same order always give the same bytes.
    """
    return _BUILDERS[intents[0].kind](intents, program)


def _recipient(intent: IntentRow) -> Address:
    if intent.recipient is None:
        raise ValueError(f"intent {intent.public_id} of kind {intent.kind} has no recipient")
    return intent.recipient


def _of(program: ProgramRow | None) -> ProgramRow:
    if program is None:
        raise ValueError("an intent that mints belongs to a program")
    return program


def _mint_cards(intents: Sequence[IntentRow], program: ProgramRow | None) -> Call:
    membership = _of(program).membership
    items = []
    for intent in intents:
        items.append(words.card_item(_recipient(intent), intent.args["tier"], intent.args["expires_at"]))
    ids = tuple(words.card_token_id(_recipient(intent)) for intent in intents)
    return Call(membership, Membership.encode_mint_batch(items), contract=membership, token_ids=ids)


def _mint_stamps(intents: Sequence[IntentRow], program: ProgramRow | None) -> Call:
    stamps = _of(program).stamps
    ids = tuple(words.stamp_token_id(_recipient(intent), intent.stamp_type) for intent in intents)
    return Call(stamps, Stamps.encode_mint_batch(ids), contract=stamps, token_ids=ids)


def _claim_card(intents: Sequence[IntentRow], program: ProgramRow | None) -> Call:
    membership = _of(program).membership
    signed, voucher = _voucher(intents[0], CardVoucher)
    data = Membership.encode_claim(voucher, signed.signer, signed.signature)
    return Call(membership, data, contract=membership, token_ids=(words.card_token_id(voucher.to),))


def _claim_stamp(intents: Sequence[IntentRow], program: ProgramRow | None) -> Call:
    stamps = _of(program).stamps
    signed, voucher = _voucher(intents[0], StampVoucher)
    data = Stamps.encode_claim(voucher, signed.signer, signed.signature)
    return Call(stamps, data, contract=stamps, token_ids=(words.stamp_token_id(voucher.to, voucher.stamp_type),))


def _voucher(intent: IntentRow, kind: type[_Voucher]) -> tuple[SignedVoucher, _Voucher]:
    signed = signed_from_json(intent.args, intent.public_id)
    if not isinstance(signed.voucher, kind):
        raise ValueError(f"intent {intent.public_id} of kind {intent.kind} carries another kind of voucher")
    return signed, signed.voucher


def _plain(intents: Sequence[IntentRow], program: ProgramRow | None) -> Call:
    args = intents[0].args
    return Call(args["to"], bytes.fromhex(args["data"][2:]), int(args.get("value_wei", "0")))


_BUILDERS: dict[Kind, Callable[[Sequence[IntentRow], ProgramRow | None], Call]] = {
    Kind.MINT_CARD: _mint_cards,
    Kind.MINT_STAMP: _mint_stamps,
    Kind.CLAIM_CARD: _claim_card,
    Kind.CLAIM_STAMP: _claim_stamp,
    Kind.CALL: _plain,
    Kind.DEPLOY: _plain,
}
