"""What storefronts are told: the events that follow from the facts of a chain, and from intents that come to nothing.

One act on chain tells several facts: a minted card tells three. What they mean together, to a member, is one happening.
A happening becomes an event each time that more is known of it: seen, final, or taken back.
"""

from base64 import b32encode
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from hashlib import sha256
from typing import Any

from nftloyalty.domain.address import Address, checksummed
from nftloyalty.domain.holding import Fact, FactKind
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.times import at
from nftloyalty.domain.words import SkipCode


class EventType(StrEnum):
    """What can happen. Stored and sent: a word keeps its meaning for ever."""

    MEMBERSHIP_CREATED = "membership.created"
    MEMBERSHIP_RENEWED = "membership.renewed"
    MEMBERSHIP_TIER_CHANGED = "membership.tier_changed"
    MEMBERSHIP_LEFT = "membership.left"
    MEMBERSHIP_REVOKED = "membership.revoked"
    MEMBERSHIP_READMITTED = "membership.readmitted"
    MEMBERSHIP_MOVED = "membership.moved"
    STAMP_CREATED = "stamp.created"
    STAMP_REDEEMED = "stamp.redeemed"
    STAMP_REVOKED = "stamp.revoked"
    STAMP_BURNED = "stamp.burned"
    STAMP_MOVED = "stamp.moved"
    INTENT_REJECTED = "intent.rejected"
    INTENT_CANCELLED = "intent.cancelled"


@dataclass(frozen=True, slots=True)
class Happening:
    """What happened to one object, by the facts of one transaction. `wallet` has 20 bytes; `data` is what the event
    says; `place` names the log it begins with, among all logs of the chain."""

    type: EventType
    object: str
    wallet: bytes
    data: Mapping[str, Any]
    block: int
    log_index: int
    place: str


def happenings(facts: Sequence[Fact]) -> list[Happening]:
    """What whole transactions tell, in the order of the chain. Facts that change nothing for a member tell nothing.

    Logs that are missing, for a node left them out, make data with nulls and never a failure: they are put right later.
    """
    reading = _Reading(facts)
    while (fact := reading.next()) is not None:
        _READ[fact.kind](reading, fact)
    return reading.told


def event_id(*parts: str) -> str:
    """`evt_` and 26 characters that follow from the parts: the same for the same parts, else another."""
    digest = sha256("\n".join(parts).encode()).digest()
    return "evt_" + b32encode(digest[:20]).decode()[:26].translate(_LETTERS)


def membership_object(wallet: Address) -> str:
    return f"membership:{wallet}"


def stamp_object(wallet: Address, season: int, stamp_type: int) -> str:
    return f"stamp:{wallet}:{season}:{stamp_type}"


def intent_object(public_id: str) -> str:
    return f"intent:{public_id}"


def intent_data(
    public_id: str,
    kind: Kind,
    stamp_type: int,
    recipient: Address | None,
    transaction: str | None,
    code: int | None,
    error: str | None,
) -> dict[str, Any]:
    """What is said of an intent that comes to nothing. `code` is the contract's skip code, `error` a sentence of ours;
    without both it was taken back and not refused."""
    reason = None
    if code is not None:
        skipped = SkipCode(code)
        reason = {"code": skipped.name.lower(), "sentence": f"the wallet {skipped.sentence}"}
    elif error is not None:
        reason = {"code": "refused", "sentence": error}
    return {
        "intent": public_id,
        "kind": kind.value,
        "stamp_type": stamp_type or None,
        "wallet": recipient,
        "transaction": transaction,
        "reason": reason,
    }


# The alphabet of all public ids, in the place of base 32's.
_LETTERS = str.maketrans("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567", "0123456789abcdefghjkmnpqrstvwxyz")


class _Reading:
    """A way through facts, one act after the other. `moves` are the moves of the transaction it is at."""

    def __init__(self, facts: Iterable[Fact]) -> None:
        self.told: list[Happening] = []
        self.moves: dict[bytes, bytes] = {}
        self._facts = list(facts)
        self._next = 0
        self._transaction: tuple[int, bytes] | None = None
        self._addresses: dict[bytes, Address] = {}

    def next(self) -> Fact | None:
        """The fact that begins the next act."""
        if self._next == len(self._facts):
            return None
        fact = self._facts[self._next]
        self._next += 1
        transaction = (fact.block, fact.tx_hash)
        if transaction != self._transaction:
            self._transaction = transaction
            self.moves = {}
        return fact

    def follows(self, kind: FactKind, wallet: bytes, contract: int = 0, data: bytes = b"") -> Fact | None:
        """The next fact, if it is this one of the same transaction, and `data` is what its data begins with."""
        if self._next == len(self._facts):
            return None
        fact = self._facts[self._next]
        if (
            fact.kind != kind
            or fact.wallet != wallet
            or fact.contract != contract
            or (fact.block, fact.tx_hash) != self._transaction
            or not fact.data.startswith(data)
        ):
            return None
        self._next += 1
        return fact

    def address(self, wallet: bytes) -> Address:
        found = self._addresses.get(wallet)
        if found is None:
            found = self._addresses[wallet] = checksummed(wallet.hex())
        return found

    def card(self, wallet: bytes) -> dict[str, Any]:
        """What is told behind a card that comes to life."""
        expiry = self.follows(FactKind.EXPIRY_SET, wallet)
        member = self.follows(FactKind.MEMBER_SET, wallet)
        return (_terms(expiry.data) if expiry else {"joined_at": None, "expires_at": None}) | (
            _rank(member.data) if member else {"tier_number": None, "member_number": None}
        )

    def tell_membership(self, type_: EventType, fact: Fact, wallet: bytes, **data: Any) -> None:
        self._tell(type_, fact, membership_object(self.address(wallet)), wallet, data)

    def tell_stamp(self, type_: EventType, fact: Fact, wallet: bytes, **data: Any) -> None:
        season, stamp_type = fact.contract - 1, fact.data[0]
        name = stamp_object(self.address(wallet), season, stamp_type)
        self._tell(type_, fact, name, wallet, {"season": season, "type": stamp_type, **data})

    def _tell(self, type_: EventType, fact: Fact, name: str, wallet: bytes, data: dict[str, Any]) -> None:
        transaction = "0x" + fact.tx_hash.hex()
        data["wallet"] = self.address(wallet)
        data["block"] = fact.block
        data["transaction"] = transaction
        data["log_index"] = fact.log_index
        data["follows"] = None
        place = f"{transaction}:{fact.block}:{fact.log_index}"
        self.told.append(Happening(type_, name, wallet, data, fact.block, fact.log_index, place))


def _card_minted(reading: _Reading, fact: Fact) -> None:
    reading.tell_membership(EventType.MEMBERSHIP_CREATED, fact, fact.wallet, card=reading.card(fact.wallet))


def _card_burned(reading: _Reading, fact: Fact) -> None:
    revoked = reading.follows(FactKind.CARD_REVOKED, fact.wallet)
    type_ = EventType.MEMBERSHIP_REVOKED if revoked else EventType.MEMBERSHIP_LEFT
    reading.tell_membership(type_, fact, fact.wallet)


def _expiry_set(reading: _Reading, fact: Fact) -> None:
    reading.tell_membership(EventType.MEMBERSHIP_RENEWED, fact, fact.wallet, **_terms(fact.data))


def _member_set(reading: _Reading, fact: Fact) -> None:
    reading.tell_membership(EventType.MEMBERSHIP_TIER_CHANGED, fact, fact.wallet, **_rank(fact.data))


def _card_revoked(reading: _Reading, fact: Fact) -> None:
    # Of a wallet that had left, so nothing was burned.
    reading.tell_membership(EventType.MEMBERSHIP_REVOKED, fact, fact.wallet)


def _readmitted(reading: _Reading, fact: Fact) -> None:
    reading.follows(FactKind.CARD_MINTED, fact.wallet)
    reading.tell_membership(EventType.MEMBERSHIP_READMITTED, fact, fact.wallet, card=reading.card(fact.wallet))


def _migrated(reading: _Reading, fact: Fact) -> None:
    source, target = fact.wallet, fact.data[:20]
    reading.moves[source] = target
    card = None
    replaced = False
    if any(fact.data[20:]):
        # With a member number there is a card, which is burned and comes to life at the target, in the place of its.
        replaced = reading.follows(FactKind.CARD_BURNED, target) is not None
        reading.follows(FactKind.CARD_BURNED, source)
        if reading.follows(FactKind.CARD_MINTED, target):
            card = reading.card(target)
    ends = {"from": reading.address(source), "to": reading.address(target)}
    for wallet in (source, target):
        told = dict(card) if card else None
        reading.tell_membership(EventType.MEMBERSHIP_MOVED, fact, wallet, card=told, replaced=replaced, **ends)


def _stamp_minted(reading: _Reading, fact: Fact) -> None:
    reading.tell_stamp(EventType.STAMP_CREATED, fact, fact.wallet)


def _stamp_burned(reading: _Reading, fact: Fact) -> None:
    wallet, contract, stamp_type = fact.wallet, fact.contract, fact.data[:1]
    if redeemed := reading.follows(FactKind.REDEEMED, wallet, contract, stamp_type):
        order = "0x" + redeemed.data[1:].hex()
        reading.tell_stamp(EventType.STAMP_REDEEMED, fact, wallet, order_reference=order)
    elif revoked := reading.follows(FactKind.STAMP_REVOKED, wallet, contract, stamp_type):
        reading.tell_stamp(EventType.STAMP_REVOKED, fact, wallet, may_return=revoked.data[1] != 0)
    elif (target := reading.moves.get(wallet)) and reading.follows(FactKind.STAMP_MINTED, target, contract, stamp_type):
        ends = {"from": reading.address(wallet), "to": reading.address(target)}
        for each in (wallet, target):
            reading.tell_stamp(EventType.STAMP_MOVED, fact, each, **ends)
    else:
        # By its holder, or in a move to a wallet that had one of this type before.
        reading.tell_stamp(EventType.STAMP_BURNED, fact, wallet)


def _silent(reading: _Reading, fact: Fact) -> None:
    """Nothing changes for a member; or the fact it belongs to is missing."""


_READ: Mapping[int, Callable[[_Reading, Fact], None]] = {
    FactKind.CARD_MINTED: _card_minted,
    FactKind.CARD_BURNED: _card_burned,
    FactKind.EXPIRY_SET: _expiry_set,
    FactKind.MEMBER_SET: _member_set,
    FactKind.CARD_REVOKED: _card_revoked,
    FactKind.READMITTED: _readmitted,
    FactKind.MIGRATED: _migrated,
    FactKind.VOUCHER_VOIDED: _silent,
    FactKind.SEASON_LINKED: _silent,
    FactKind.STAMP_MINTED: _stamp_minted,
    FactKind.STAMP_BURNED: _stamp_burned,
    FactKind.STAMP_REVOKED: _silent,
    FactKind.REDEEMED: _silent,
}


def _terms(data: bytes) -> dict[str, Any]:
    expires_at = int.from_bytes(data[5:], "big")
    return {
        "joined_at": _iso(int.from_bytes(data[:5], "big")),
        "expires_at": _iso(expires_at) if expires_at else None,
    }


def _rank(data: bytes) -> dict[str, Any]:
    return {"tier_number": data[0], "member_number": int.from_bytes(data[1:], "big")}


def _iso(timestamp: int) -> str:
    return at(timestamp).isoformat().replace("+00:00", "Z")
