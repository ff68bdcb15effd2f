"""Addressed vouchers: a signed promise of one card or one stamp to one wallet, what is asked for to get one, how they
stand, and their strict JSON form.

    {"kind": "card", "to": "0x…", "tier": 1, "expires_at": 0, "epoch": 0, "deadline": 1830000000}
    {"kind": "stamp", "to": "0x…", "stamp_type": 3, "epoch": 0, "deadline": 1830000000}

A signed voucher wraps one of these with the chain, the contract, the signer and the signature.
"""

import difflib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.mint import read_card
from nftloyalty.domain.program import Program
from nftloyalty.domain.times import WrongTime, at, parse_end
from nftloyalty.domain.words import STAMP_TYPES, SkipCode
from nftloyalty.errors import BadInput, LoyaltyError, Problem, Unknown

USUAL_TERM = timedelta(days=30)
"""For how long a voucher can be claimed if nothing is said of it."""

AS_MADE = "send the voucher exactly as it was made"
"""Mends most faults: vouchers are made by a program and spoilt on their way."""


class VoucherExpired(LoyaltyError):
    """It can't be claimed any more. `was_valid` says until when it could, as `shown_end` writes it."""

    code = "expired"

    def __init__(self, was_valid: str) -> None:
        super().__init__(f"the voucher was valid {was_valid}", mend="ask for a new voucher")


@dataclass(frozen=True, slots=True)
class CardVoucher:
    """Times in unix seconds: `expires_at` 0 = for life, `deadline` is the last second at which it can be claimed."""

    to: Address
    tier: int
    expires_at: int
    epoch: int
    deadline: int


@dataclass(frozen=True, slots=True)
class StampVoucher:
    """`deadline` in unix seconds, the last second at which it can be claimed."""

    to: Address
    stamp_type: int
    epoch: int
    deadline: int


Voucher = CardVoucher | StampVoucher


@dataclass(frozen=True, slots=True)
class SignedVoucher:
    """A voucher as it is handed out. `contract` is the one that will honour it."""

    voucher: Voucher
    chain_id: int
    contract: Address
    signer: Address
    signature: bytes


@dataclass(frozen=True, slots=True)
class Asked:
    """A voucher that is to be made: of a card, or of a stamp if `stamp_type` is not 0. `expires_at` in unix seconds,
    0 = for life; `deadline` is the last second at which it can be claimed."""

    to: Address
    tier: int
    expires_at: int
    stamp_type: int
    deadline: datetime


def read_asked(
    wallet: Address,
    program: Program,
    now: datetime,
    contracts: Mapping[Address, str],
    *,
    tier: str | None = None,
    expiry: str | None = None,
    stamp: str | None = None,
    until: str | None = None,
) -> Asked:
    """What is asked for in words: a tier's id and the card's expiry, or a stamp's id; and until when it can be claimed,
    as a day or a time, else for the usual term.

    A stamp that is not given now can be promised all the same: it may be when the voucher is claimed. `contracts` says
    what each of the program's own addresses is: nobody is behind them. Raises BadInput naming everything wrong.
    """
    problems: list[Problem] = []
    deadline = _deadline(problems, until, now)
    tier_number = expires_at = stamp_type = 0
    if (tier is None) == (stamp is None):
        problems.append(Problem("", "needs one of tier and stamp", "give exactly one of them"))
    if stamp is None:
        try:
            # Without a tier the expiry is judged all the same.
            some_tier = program.tiers[0].id if tier is None else tier
            card = read_card({"wallet": wallet, "tier": some_tier, "expiry": expiry}, program, now, contracts)
            tier_number, expires_at = card.args["tier"], card.args["expires_at"]
        except BadInput as wrong:
            problems += wrong.problems
    else:
        if wallet in contracts:
            what = f"is {contracts[wallet]}, not a wallet"
            problems.append(Problem("/wallet", what, "put the member's own address there"))
        if expiry is not None:
            problems.append(Problem("/expiry", "is a card's, and a stamp has none", "leave it out"))
        try:
            stamp_type = program.stamp_number(stamp)
        except Unknown as unknown:
            problems.append(Problem("/stamp", f"unknown stamp {stamp!r}", unknown.mend))
    if problems:
        raise BadInput("request", problems)
    return Asked(wallet, tier_number, expires_at, stamp_type, deadline)


def last_second(until: datetime) -> datetime:
    """The deadline of a voucher that can be claimed until a moment: of one for a day, the last second of that day."""
    return until - timedelta(seconds=1)


def _deadline(problems: list[Problem], until: str | None, now: datetime) -> datetime:
    if until is None:
        return last_second(now + USUAL_TERM)
    try:
        deadline = last_second(at(parse_end(until)))
        if deadline <= now:
            raise WrongTime("is past", "give a later one")
    except WrongTime as wrong:
        problems.append(Problem("/until", f"{until!r} {wrong.what}", wrong.mend))
        return now
    return deadline


class VoucherState(StrEnum):
    """How a voucher stands, as far as books, index and node tell. Stable: it is told."""

    OPEN = "open"
    """It can be claimed, for all that is known."""
    CLAIMING = "claiming"
    """It was handed in, and its claim is on the way."""
    CLAIMED = "claimed"
    """Its claim is on chain for good."""
    EXPIRED = "expired"
    CALLED_BACK = "called-back"
    """The program no longer stands by it: it was voided, its epoch is over, or its signer may no longer sign."""
    REFUSED = "refused"
    """The wallet has its card or stamp, or had it, by another way than a claim handed in here: the contract would
    refuse one."""


def state_of(
    deadline: int, now: datetime, *, claim: IntentState | None, called_back: bool, refused: SkipCode | None
) -> VoucherState:
    """`claim` is the state of the voucher's claim, final only where the index knows it as final; None = it was never
    handed in here. `refused` is what the wallet has against it."""
    if claim is IntentState.FINAL:
        return VoucherState.CLAIMED
    if claim is not None and claim not in (IntentState.REJECTED, IntentState.CANCELLED):
        return VoucherState.CLAIMING
    if deadline < int(now.timestamp()):
        return VoucherState.EXPIRED
    if called_back:
        return VoucherState.CALLED_BACK
    return VoucherState.OPEN if refused is None else VoucherState.REFUSED


def to_json(voucher: Voucher) -> dict[str, Any]:
    if isinstance(voucher, CardVoucher):
        return {
            "kind": "card",
            "to": voucher.to,
            "tier": voucher.tier,
            "expires_at": voucher.expires_at,
            "epoch": voucher.epoch,
            "deadline": voucher.deadline,
        }
    return {
        "kind": "stamp",
        "to": voucher.to,
        "stamp_type": voucher.stamp_type,
        "epoch": voucher.epoch,
        "deadline": voucher.deadline,
    }


def from_json(data: object, source: str = "voucher") -> Voucher:
    """Raises BadInput naming every wrong, missing and unknown field."""
    reader = _Reader()
    voucher = _read_voucher(reader, data, "")
    if voucher is None or reader.problems:
        raise BadInput(source, reader.problems)
    return voucher


def signed_to_json(signed: SignedVoucher) -> dict[str, Any]:
    return {
        "voucher": to_json(signed.voucher),
        "chain_id": signed.chain_id,
        "contract": signed.contract,
        "signer": signed.signer,
        "signature": "0x" + signed.signature.hex(),
    }


def signed_from_json(data: object, source: str = "voucher") -> SignedVoucher:
    """Raises BadInput naming every wrong, missing and unknown field. The signature itself is not verified here."""
    reader = _Reader()
    fields = reader.table(data, "", ("voucher", "chain_id", "contract", "signer", "signature"))
    if fields is None:
        raise BadInput(source, reader.problems)
    voucher = _read_voucher(reader, fields["voucher"], "voucher") if "voucher" in fields else None
    chain_id = reader.whole(fields, "chain_id", 1, (1 << 63) - 1)
    contract = reader.address(fields, "contract")
    signer = reader.address(fields, "signer")
    signature = reader.signature(fields, "signature")
    if reader.problems or voucher is None:
        raise BadInput(source, reader.problems)
    return SignedVoucher(voucher, chain_id, contract, signer, signature)


_CARD_FIELDS = ("to", "tier", "expires_at", "epoch", "deadline")
_STAMP_FIELDS = ("to", "stamp_type", "epoch", "deadline")
_HEX = re.compile(r"0x(?:[0-9a-fA-F]{2})*")
# The shortest is r, s, v of a plain key; wallets that are contracts (ERC-1271) define their own form.
_SIGNATURE_BYTES = range(65, 2049)


def _read_voucher(reader: "_Reader", data: object, place: str) -> Voucher | None:
    """None only when problems were noted."""
    kind = data.get("kind") if isinstance(data, Mapping) else None
    if isinstance(data, Mapping) and kind not in ("card", "stamp"):
        reader.problem(_join(place, "kind"), 'must be "card" or "stamp"' if "kind" in data else "is missing")
        return None
    fields = reader.table(data, place, ("kind", *(_CARD_FIELDS if kind == "card" else _STAMP_FIELDS)))
    if fields is None:
        return None
    to = reader.address(fields, "to", place)
    epoch = reader.whole(fields, "epoch", 0, (1 << 24) - 1, place)
    deadline = reader.whole(fields, "deadline", 1, (1 << 40) - 1, place)
    if kind == "stamp":
        return StampVoucher(to, reader.whole(fields, "stamp_type", 1, STAMP_TYPES, place), epoch, deadline)
    tier = reader.whole(fields, "tier", 1, 255, place)
    return CardVoucher(to, tier, reader.whole(fields, "expires_at", 0, (1 << 40) - 1, place), epoch, deadline)


class _Reader:
    """Collects the problems of one JSON document. A wrong field reads as an empty value; callers look at `problems`."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []

    def problem(self, place: str, what: str, mend: str = AS_MADE) -> None:
        self.problems.append(Problem(place, what, mend))

    def table(self, data: object, place: str, names: tuple[str, ...]) -> Mapping[str, Any] | None:
        if not isinstance(data, Mapping):
            self.problem(place or "voucher", "must be a JSON object")
            return None
        for name in data:
            if name not in names:
                near = difflib.get_close_matches(str(name), names, 1)
                self.problem(_join(place, str(name)), "is not known", f"did you mean {near[0]}?" if near else AS_MADE)
        for name in names:
            if name not in data:
                self.problem(_join(place, name), "is missing")
        return data

    def whole(self, fields: Mapping[str, Any], name: str, least: int, most: int, place: str = "") -> int:
        value = fields.get(name, least)
        if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
            self.problem(_join(place, name), f"must be a whole number from {least} to {most}")
            return least
        return value

    def address(self, fields: Mapping[str, Any], name: str, place: str = "") -> Address:
        if name not in fields:
            return ""
        try:
            return parse_address(fields[name]) if isinstance(fields[name], str) else self._not_text(name, place)
        except ValueError as error:
            self.problem(_join(place, name), str(error))
            return ""

    def signature(self, fields: Mapping[str, Any], name: str) -> bytes:
        if name not in fields:
            return b""
        value = fields[name]
        if not isinstance(value, str) or not _HEX.fullmatch(value):
            self.problem(name, "must be text of 0x and hex digits")
            return b""
        signature = bytes.fromhex(value[2:])
        if len(signature) not in _SIGNATURE_BYTES:
            self.problem(name, f"is {len(signature)} bytes long", "from 65 to 2,048")
        return signature

    def _not_text(self, name: str, place: str) -> str:
        self.problem(_join(place, name), "must be text")
        return ""


def _join(place: str, name: str) -> str:
    return f"{place}.{name}" if place else name
