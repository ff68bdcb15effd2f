"""Renewals, tier changes, revocations and readmissions that are accepted now and sent later, by a worker.

A request is made in three steps, so that it can be accepted in the very transaction that keeps the answer to it:

    renewals(...), tiers(...), ...    what is asked for, judged by the chain as it is now; asks the node
    prepare(...)                      whose key is to send it; asks the node
    accept(...)                       the intents, in the caller's open transaction

Renewals and tier changes are one intent a wallet, and the sender puts up to 500 of them into a transaction; the other
acts are a transaction each. What an act wants is absolute, and the contract compares: sent twice, it changes nothing.
What can't be sent now, because the program is paused, the day's quota is spent or its key has no role, waits. What can
never be, because a member left meanwhile, ends as REJECTED with the contract's reason.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, TypeVar

from sqlalchemy import Connection

from nftloyalty.app.calls import BATCHED_KINDS, Call, build
from nftloyalty.app.context import App
from nftloyalty.app.opening import Opened
from nftloyalty.app.powers import who_sends
from nftloyalty.chain import sender
from nftloyalty.domain.act import UNFINISHED, ActRefused, act_key, is_same_act
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import Kind
from nftloyalty.domain.times import shown_end
from nftloyalty.domain.words import CardWord, Flag, Role
from nftloyalty.errors import BadInput, Problem
from nftloyalty.store import intents, signers
from nftloyalty.store.intents import IntentRow, NewIntent, WaitingRow

# Wallets that are asked about in one call.
_READ_AT_ONCE = 500
_UNDER_WAY_MEND = "wait until it has ended, or withdraw it with `nftloyalty waiting cancel`"


@dataclass(frozen=True)
class Renew:
    """A later expiry for a card: `until`, or a `term` from the later of now and the present expiry. One of the two."""

    wallet: Address
    until: datetime | None = None
    term: timedelta | None = None


@dataclass(frozen=True)
class SetTier:
    """Another tier, by its number, for a card."""

    wallet: Address
    tier: int


@dataclass(frozen=True)
class Wish:
    """One act on one wallet, found possible. `args` is what its calldata needs, and under `what` a
    sentence for people."""

    kind: Kind
    wallet: Address
    args: Mapping[str, Any]
    stamp_type: int = 0


@dataclass(frozen=True)
class Request:
    """Acts of one kind and stamp type on different wallets, and the roles of which one is enough for them."""

    wishes: tuple[Wish, ...]
    roles: tuple[Role, ...] = (Role.MANAGER,)


@dataclass(frozen=True)
class Prepared:
    """A request and the address that is to send it."""

    opened: Opened
    request: Request
    by: Address


@dataclass(frozen=True)
class Accepted:
    """The intent of a wish; not `new` if the same had been asked for before and is under way."""

    row: IntentRow
    new: bool


# ---------------------------------------------------------------------------------------------------- what is asked for


def renewals(app: App, opened: Opened, wanted: Sequence[Renew]) -> Request:
    """Later expiries. The same `until` twice is one renewal. A `term` is a further one each time: while a renewal of
    the wallet is under way it is refused, and two that meet all the same add one, the other being rejected as done or
    as a conflict.

    Raises ActRefused for one wish that can't be, BadInput naming each by its place, `items.3`, where there are several.
    """
    head = app.node.head()
    now = int(max(app.now().timestamp(), head.timestamp))

    def judged(wish: Renew, card: CardWord) -> Wish:
        _check_held(wish.wallet, card)
        if card.expires_at == 0:
            raise ActRefused("not_renewable", wish.wallet, f"the card of {wish.wallet} is for life")
        later = max(now, card.expires_at)
        args: dict[str, Any] = {"expected": card.expires_at}
        if wish.until is not None:
            new = int(wish.until.timestamp())
        else:
            args["term"] = int((wish.term or timedelta()).total_seconds())
            new = later + args["term"]
        if new <= later:
            what = f"the card of {wish.wallet} is valid {shown_end(card.expires_at)}, which is not earlier"
            raise ActRefused("expiry_not_later", wish.wallet, what)
        what = f"renew the card of {wish.wallet}: valid {shown_end(new)}"
        return Wish(Kind.RENEW, wish.wallet, {**args, "expires_at": new, "what": what})

    return Request(_judged(opened, wanted, head.hash, judged))


def tiers(app: App, opened: Opened, wanted: Sequence[SetTier]) -> Request:
    """Other tiers. The same tier twice is one change; another one is refused while one is under way.

    Raises as `renewals`.
    """

    def judged(wish: SetTier, card: CardWord) -> Wish:
        _check_held(wish.wallet, card)
        name = opened.program.tier_name(wish.tier)
        if card.tier == wish.tier:
            raise ActRefused("done", wish.wallet, f"{wish.wallet} is {name} already")
        return Wish(Kind.SET_TIER, wish.wallet, {"tier": wish.tier, "what": f"make {wish.wallet} {name}"})

    return Request(_judged(opened, wanted, app.node.head().hash, judged))


def revocation(opened: Opened, holder: Address, reason: str) -> Request:
    """Destroy a member's card, or bar a wallet that left; the reason is public. It comes back only by a readmission.

    Asked for twice before it is done, it is one, with the first reason. Raises ActRefused.
    """
    card = card_of(opened, holder)
    if not card.exists and Flag.LEFT not in card.flags:
        _check_held(holder, card)
    what = f"revoke the card of {holder}" if card.exists else f"bar {holder}, who left"
    return Request((Wish(Kind.REVOKE_CARD, holder, {"reason": reason, "what": what}),))


def stamp_revocation(opened: Opened, holder: Address, stamp_type: int, *, may_return: bool, reason: str) -> Request:
    """Destroy one stamp of a member; `may_return` = the wallet may get it again. Twice as with `revocation`.

    Raises ActRefused.
    """
    stamp = opened.program.stamp_id(stamp_type)
    if not opened.stamps.words_of([holder])[0].holds(stamp_type):
        raise ActRefused("not_held", holder, f"{holder} does not hold the stamp {stamp}")
    args = {"may_return": may_return, "reason": reason, "what": f"revoke the stamp {stamp} of {holder}"}
    return Request((Wish(Kind.REVOKE_STAMP, holder, args, stamp_type),))


def readmission(opened: Opened, holder: Address, tier: int, expires_at: int) -> Request:
    """Bring back a wallet that left or was revoked, with its old member number; `expires_at` in unix seconds, 0 = for
    life. Asked for twice before it is done, it is one.

    Raises ActRefused.
    """
    card = card_of(opened, holder)
    if card.exists:
        raise ActRefused("already_held", holder, f"{holder} holds a card")
    if not card.flags & (Flag.LEFT | Flag.REVOKED):
        what = f"{holder} has neither left nor been revoked"
        raise ActRefused("not_held", holder, what, mend="mint it with `nftloyalty mint`")
    args = {"tier": tier, "expires_at": expires_at, "what": f"readmit {holder}"}
    return Request((Wish(Kind.READMIT, holder, args),), (Role.MANAGER, Role.MINTER))


def card_of(opened: Opened, holder: Address) -> CardWord:
    return opened.membership.words_of([holder])[0]


_Wanted = TypeVar("_Wanted", Renew, SetTier)


def _judged(
    opened: Opened, wanted: Sequence[_Wanted], block: str, judge: Callable[[_Wanted, CardWord], Wish]
) -> tuple[Wish, ...]:
    """All of them, each by its card as of this block; if one can't be, none is."""
    cards: list[CardWord] = []
    for start in range(0, len(wanted), _READ_AT_ONCE):
        part = [each.wallet for each in wanted[start : start + _READ_AT_ONCE]]
        cards += opened.membership.words_of(part, block=block)
    wishes: list[Wish] = []
    problems: list[Problem] = []
    seen: set[Address] = set()
    for place, (each, card) in enumerate(zip(wanted, cards, strict=True)):
        if each.wallet in seen:
            problems.append(Problem(f"items.{place}", f"{each.wallet} stands here twice", "leave one of them out"))
            continue
        seen.add(each.wallet)
        try:
            wishes.append(judge(each, card))
        except ActRefused as refused:
            if len(wanted) == 1:
                raise
            problems.append(Problem(f"items.{place}", refused.what, refused.mend))
    if problems:
        raise BadInput("the request", problems)
    return tuple(wishes)


def _check_held(wallet: Address, card: CardWord) -> None:
    if not card.exists:
        raise ActRefused("not_held", wallet, f"{wallet} holds no card")


# ------------------------------------------------------------------------------------------------------------ accepting


def prepare(app: App, opened: Opened, request: Request) -> Prepared:
    """Find out who sends it, and try what goes alone.

    Raises ProgramProblem, naming who must sign, where the power lies with an address for which no worker sends, and
    Reverted with the contract's reason for what it would never take. What it would take later is no reason to refuse.
    """
    by = who_sends(app, opened, *request.roles)
    if request.wishes[0].kind not in BATCHED_KINDS:
        call = call_of(opened, request)
        refusal = sender.refusal(app.node, by, call.to, call.data)
        if refusal is not None and refusal.name not in sender.BATCH_REFUSALS:
            raise refusal
    return Prepared(opened, request, by)


def call_of(opened: Opened, request: Request) -> Call:
    """The transaction that would carry out the whole request at once."""
    rows = [
        WaitingRow(0, "", opened.row.id, wish.kind, wish.stamp_type, wish.wallet, wish.args, 0)
        for wish in request.wishes
    ]
    return build(rows, opened.row)


def accept(app: App, tx: Connection, prepared: Prepared) -> list[Accepted]:
    """An intent for each wish, in their order. The same that is under way already is not asked for once more; while it
    waits, it goes to who is to send now.

    Raises ActRefused, with the code `under_way`, if something else is under way for one of the wallets that only one
    act may be about at a time: then the transaction must be rolled back.
    """
    opened = prepared.opened
    chain, now = opened.attached.row, app.now()
    signer = signers.register(tx, chain, prepared.by).id
    places = _places(tx, opened, prepared.request.wishes)
    ours: dict[str, str] = {}
    new = []
    for wish in prepared.request.wishes:
        key, there = places[wish.wallet].key, places[wish.wallet].there
        if there is not None:
            continue
        ours[key] = app.new_id("int")
        new.append(
            NewIntent(
                public_id=ours[key],
                chain=chain,
                program=opened.row.id,
                signer=signer,
                kind=wish.kind,
                stamp_type=wish.stamp_type,
                recipient=wish.wallet,
                args=wish.args,
                request_key=key,
            )
        )
    intents.accept_many(tx, new, now)
    known = [place.key for place in places.values() if place.there is not None]
    intents.reassign(tx, chain, known, signer, now)
    rows = intents.by_keys(tx, chain, [place.key for place in places.values()])
    accepted = []
    for wish in prepared.request.wishes:
        row = rows[places[wish.wallet].key]
        is_new = row.public_id == ours.get(row.request_key)
        if not is_new:
            # Asked for before, or in this moment by somebody who was quicker.
            check_same(wish, row)
        accepted.append(Accepted(row, is_new))
    return accepted


def check_same(wish: Wish, row: IntentRow) -> None:
    """Raises ActRefused unless the intent that is under way does all that is wished."""
    if row.kind is wish.kind and is_same_act(wish.kind, wish.args, row.args):
        return
    what = row.args["what"]
    raise ActRefused("under_way", wish.wallet, f"this is under way already: {what}", mend=_UNDER_WAY_MEND)


@dataclass(frozen=True)
class Place:
    """Where the next act on one thing of a wallet goes. `there` has not ended yet, `before` is the last that has."""

    key: str
    there: IntentRow | None
    before: IntentRow | None


def place_of(tx: Connection, opened: Opened, wish: Wish) -> Place:
    return _places(tx, opened, [wish])[wish.wallet]


def _places(tx: Connection, opened: Opened, wishes: Iterable[Wish]) -> dict[Address, Place]:
    """By wallet. Generations are asked for in steps that double, so an often renewed card takes few questions."""
    found: dict[Address, Place] = {}
    left = list(wishes)
    last: dict[Address, IntentRow] = {}
    first, count = 0, 1
    while left:
        keys = {
            wish.wallet: [
                act_key(opened.program.id, wish.kind, wish.stamp_type, wish.wallet, first + step)
                for step in range(count)
            ]
            for wish in left
        }
        rows = intents.by_keys(tx, opened.attached.row, [key for each in keys.values() for key in each])
        further = []
        for wish in left:
            for key in keys[wish.wallet]:
                row = rows.get(key)
                if row is None or row.state in UNFINISHED:
                    found[wish.wallet] = Place(key, row, last.get(wish.wallet))
                    break
                last[wish.wallet] = row
            else:
                further.append(wish)
        left = further
        first, count = first + count, 2 * count
    return found
