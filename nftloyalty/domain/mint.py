"""Cards and stamps that are asked for, one by one or many at once: reading the request, and judging it by what was
asked for before.

A request is decoded JSON. Everything wrong with it is told with its place, as a JSON Pointer (RFC 6901). Nothing is
asked of the chain here: whether the wallet can have it, the dry run finds out later.
"""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from nftloyalty.domain.address import Address, parse_address
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.program import Program
from nftloyalty.domain.roster import NO_CONTRACTS, judge_window
from nftloyalty.domain.times import WrongTime, parse_expiry
from nftloyalty.errors import BadInput, Problem, Unknown

MOST_ITEMS = 10_000
MOST_PROBLEMS = 100
"""Told of one batch; the others are counted."""

_COPY_IT = "0x and 40 hex digits; copy it from the wallet"
_EXPIRY = "a day as 2030-12-31, or null for life"
_NO_ARGS: Mapping[str, Any] = {}


@dataclass(frozen=True, slots=True)
class Mint:
    """One card or stamp for one wallet. `stamp_type` 0 = a card; `args` as an intent has them."""

    kind: Kind
    stamp_type: int
    wallet: Address
    args: Mapping[str, Any]


class Reply(StrEnum):
    """What became of a mint that was asked for. Stable: it is told, and stored with batches by `REPLY_NUMBERS`."""

    ACCEPTED = "accepted"
    """It was not asked for before."""
    AGAIN = "again"
    """It was rejected or cancelled before, and is taken up once more."""
    KNOWN = "known"
    """The very same was asked for before."""
    ASKED_OTHERWISE = "asked_otherwise"
    """Another card was asked for before, for the same wallet."""


REPLY_NUMBERS: Mapping[Reply, int] = {
    Reply.ACCEPTED: 1,
    Reply.AGAIN: 2,
    Reply.KNOWN: 3,
    Reply.ASKED_OTHERWISE: 4,
}
"""A number keeps its meaning for ever."""

STOPPED = frozenset({IntentState.REJECTED, IntentState.CANCELLED})


def judge(args: Mapping[str, Any], before: IntentState | None, args_before: Mapping[str, Any]) -> Reply:
    """What to do about a mint, given the intent of its request key; `before` None = there is none."""
    if before is None:
        return Reply.ACCEPTED
    if before in STOPPED:
        return Reply.AGAIN
    return Reply.KNOWN if args == args_before else Reply.ASKED_OTHERWISE


def read_card(body: object, program: Program, now: datetime, contracts: Mapping[Address, str] = NO_CONTRACTS) -> Mint:
    """A card from `{"wallet", "tier", "expiry"}`: a tier's id; a day, active through its end in UTC, or a time with its
    zone, or null or left out for life.

    `contracts` says what each of the program's own addresses is: nobody is behind them. Raises BadInput.
    """
    reader = _Reader(contracts)
    card = _Cards(program, now).read(reader, body, "")
    reader.refuse()
    assert card is not None  # noqa: S101 - else there was a problem
    return card


def read_stamp(body: object, program: Program, now: datetime, contracts: Mapping[Address, str] = NO_CONTRACTS) -> Mint:
    """A stamp from `{"wallet", "stamp"}`, a stamp's id. Raises BadInput, also while that stamp is not given."""
    reader = _Reader(contracts)
    found = reader.fields(body, "", ("wallet", "stamp"))
    number = _stamp_number(reader, found, program, now)
    wallet = reader.wallet(found, "") if found is not None else None
    reader.refuse()
    assert wallet is not None and number is not None  # noqa: S101 - else there was a problem
    return Mint(Kind.MINT_STAMP, number, wallet, _NO_ARGS)


def read_batch(
    body: object, program: Program, now: datetime, contracts: Mapping[Address, str] = NO_CONTRACTS
) -> list[Mint]:
    """Mints of one kind from `{"kind": "mint-card", "items": [{"wallet", "tier", "expiry"}]}`, or from
    `{"kind": "mint-stamp", "stamp", "items": [{"wallet"}]}`. No wallet may stand there twice.

    Raises BadInput, whole: of a batch with one bad item nothing is taken.
    """
    reader = _Reader(contracts)
    found = reader.fields(body, "", ("kind", "stamp", "items")) or {}
    kind = found.get("kind")
    if kind not in (Kind.MINT_CARD, Kind.MINT_STAMP):
        what = f"is not {Kind.MINT_CARD} or {Kind.MINT_STAMP}"
        reader.problem("/kind", what, "a batch holds cards, or stamps of one type")
    number = _stamp_number(reader, found, program, now) if kind == Kind.MINT_STAMP else None
    if kind == Kind.MINT_CARD and "stamp" in found:
        reader.problem("/stamp", "says which stamp, and the batch is of cards", "leave it out")
    items: Any = found.get("items")
    if not isinstance(items, list) or not items:
        reader.problem("/items", "is not a list of items", "one object for each wallet")
    elif len(items) > MOST_ITEMS:
        what = f"{len(items):,} items; a batch has at most {MOST_ITEMS:,}"
        reader.problem("/items", what, "send several batches")
    reader.refuse()
    mints: list[Mint] = []
    cards = _Cards(program, now)
    for place, item in enumerate(items):
        if kind == Kind.MINT_CARD:
            mint = cards.read(reader, item, f"/items/{place}")
        else:
            mint = _stamp_of(reader, item, f"/items/{place}", number or 0)
        if mint is not None:
            mints.append(mint)
    reader.refuse()
    return mints


class _Cards:
    """Reads cards. Tiers and expiries are few, so each is understood once."""

    _FIELDS = ("wallet", "tier", "expiry")

    def __init__(self, program: Program, now: datetime) -> None:
        self._program = program
        self._tiers = {tier.id: tier.number for tier in program.tiers}
        self._now = now
        self._expiries: dict[str | None, int | Problem] = {None: 0}
        self._args: dict[tuple[int, int], Mapping[str, Any]] = {}

    def read(self, reader: "_Reader", body: object, place: str) -> Mint | None:
        fields = reader.fields(body, place, self._FIELDS)
        if fields is None:
            return None
        wallet = reader.wallet(fields, place)
        tier = self._tier(reader, fields.get("tier"), place)
        expires_at = self._expiry(reader, fields.get("expiry"), place)
        if wallet is None or tier is None or expires_at is None:
            return None
        args = self._args.get((tier, expires_at))
        if args is None:
            args = self._args[tier, expires_at] = {"tier": tier, "expires_at": expires_at}
        return Mint(Kind.MINT_CARD, 0, wallet, args)

    def _tier(self, reader: "_Reader", value: object, place: str) -> int | None:
        tier = self._tiers.get(value) if isinstance(value, str) else None
        if tier is None:
            near = difflib.get_close_matches(value[:64], list(self._tiers), 1) if isinstance(value, str) else []
            known = ", ".join(self._tiers)
            mend = (f"did you mean {near[0]}? " if near else "") + f"the tiers are {known}"
            reader.problem(f"{place}/tier", "is missing" if value is None else f"unknown tier {_shown(value)}", mend)
        return tier

    def _expiry(self, reader: "_Reader", value: object, place: str) -> int | None:
        if value is not None and (not isinstance(value, str) or not value):
            reader.problem(f"{place}/expiry", "is not a day", _EXPIRY)
            return None
        found = self._expiries.get(value)
        if found is None:
            try:
                found = parse_expiry(value or "", self._now)
            except WrongTime as wrong:
                found = Problem("", f"{_shown(value)} {wrong.what}", _EXPIRY)
            self._expiries[value] = found
        if isinstance(found, Problem):
            reader.problem(f"{place}/expiry", found.what, found.mend)
            return None
        return found


def _stamp_of(reader: "_Reader", body: object, place: str, number: int) -> Mint | None:
    fields = reader.fields(body, place, ("wallet",))
    wallet = reader.wallet(fields, place) if fields is not None else None
    return None if wallet is None else Mint(Kind.MINT_STAMP, number, wallet, _NO_ARGS)


def _stamp_number(
    reader: "_Reader", fields: Mapping[str, object] | None, program: Program, now: datetime
) -> int | None:
    """The type's number, if stamps of it can be given now."""
    if fields is None:
        return None
    stamp_id = fields.get("stamp")
    if not isinstance(stamp_id, str):
        reader.problem("/stamp", "is missing" if stamp_id is None else "is not text", "a stamp's id in program.toml")
        return None
    try:
        number = program.stamp_number(stamp_id)
    except Unknown as unknown:
        reader.problem("/stamp", f"unknown stamp {_shown(stamp_id)}", unknown.mend)
        return None
    closed = judge_window(program.stamp_type(number), now)
    if closed is not None:
        reader.problem("/stamp", closed.what, closed.mend)
        return None
    return number


@dataclass(slots=True)
class _Reader:
    """Collects problems. Each wallet may come once."""

    contracts: Mapping[Address, str]
    problems: list[Problem] = field(default_factory=list)
    untold: int = 0
    _place_of: dict[Address, str] = field(default_factory=dict)

    def problem(self, place: str, what: str, mend: str) -> None:
        if len(self.problems) < MOST_PROBLEMS:
            self.problems.append(Problem(place, what, mend))
        else:
            self.untold += 1

    def refuse(self) -> None:
        """Raises BadInput if there was a problem."""
        if self.untold:
            more = f"{self.untold:,} more problem{'' if self.untold == 1 else 's'}"
            self.problems.append(Problem("/items", more, "mend these first"))
        if self.problems:
            raise BadInput("request", self.problems)

    def fields(self, body: object, place: str, known: Iterable[str]) -> Mapping[str, object] | None:
        """The fields of an object; None if it is none. One that is not known is refused, for it may be misspelt."""
        if not isinstance(body, dict):
            self.problem(place, "is not an object", f"its fields are {', '.join(known)}")
            return None
        for name in body:
            if name not in known:
                near = difflib.get_close_matches(str(name)[:64], list(known), 1)
                mend = f"did you mean {near[0]}?" if near else f"remove it; fields here: {', '.join(known)}"
                self.problem(f"{place}/{_escaped(str(name))}", "unknown field", mend)
        return body

    def wallet(self, fields: Mapping[str, object], place: str) -> Address | None:
        value = fields.get("wallet")
        if not isinstance(value, str):
            self.problem(f"{place}/wallet", "is missing" if value is None else "is not text", _COPY_IT)
            return None
        try:
            wallet = parse_address(value)
        except ValueError as wrong:
            self.problem(f"{place}/wallet", str(wrong), _COPY_IT)
            return None
        first = self._place_of.setdefault(wallet, place)
        if first != place:
            self.problem(f"{place}/wallet", f"same wallet as {first}", "remove one of the two")
            return None
        if wallet in self.contracts:
            what = f"is {self.contracts[wallet]}, not a wallet"
            self.problem(f"{place}/wallet", what, "put the member's own address there")
            return None
        return wallet


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 62 else text[:59] + "..."


def _escaped(name: str) -> str:
    """A field's name as a JSON Pointer has it."""
    return name[:64].replace("~", "~0").replace("/", "~1")
