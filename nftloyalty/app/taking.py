"""Requests for cards and stamps as one transaction carries them out; `intake` decides which come together."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Protocol

from sqlalchemy import Connection

from nftloyalty.app.batching import described_batch
from nftloyalty.app.context import App
from nftloyalty.app.describing import described, final_number
from nftloyalty.app.opening import Opened
from nftloyalty.domain.answer import Answer, AnswerKey, Said
from nftloyalty.domain.intent import IntentState, Kind, request_key
from nftloyalty.domain.mint import Mint, Reply, judge
from nftloyalty.domain.times import shown_end
from nftloyalty.errors import AskedOtherwise, LoyaltyError, RequestRefused
from nftloyalty.store import answers, batches, intents, requests
from nftloyalty.store.answers import AnswerRow
from nftloyalty.store.batches import BatchItem, NewBatch
from nftloyalty.store.intents import IntentRow, NewIntent
from nftloyalty.store.requests import Standing

Told = Callable[[Reply, Mapping[str, Any]], Said]
"""Makes the answer of what became of a mint, and of its intent as `describing.described` tells it. Called in the
transaction: it asks nobody."""

BatchTold = Callable[[Mapping[str, Any]], Said]
"""As `Told`, of a batch as `batching.described_batch` tells it."""


class Outcome(Protocol):
    """What is told of what became of a request, as a Future is."""

    def set_running_or_notify_cancel(self) -> bool: ...
    def set_result(self, result: Answer) -> None: ...
    def set_exception(self, exception: BaseException | None) -> None: ...


@dataclass(slots=True)
class One:
    """A request for one card or stamp. `new` is its intent as it is if nothing was asked before."""

    key: AnswerKey | None
    new: NewIntent
    told: Told
    outcome: Outcome


@dataclass(slots=True)
class Batch:
    """A request for many of one kind, of different wallets. `public_id` is its own if it is taken."""

    key: AnswerKey | None
    public_id: str
    kind: Kind
    stamp_type: int
    new: Sequence[NewIntent]
    told: BatchTold
    outcome: Outcome


@dataclass(slots=True)
class Refused:
    """A request that is wrong, unless it was right when it was answered, under the same key."""

    key: AnswerKey
    refusal: LoyaltyError
    outcome: Outcome


Asked = One | Batch | Refused


def new_intent(app: App, opened: Opened, signer: int, mint: Mint) -> NewIntent:
    """The intent of a mint, with the request key that it has in a file of members, too."""
    return NewIntent(
        public_id=app.new_id("int"),
        chain=opened.attached.row,
        program=opened.row.id,
        signer=signer,
        kind=mint.kind,
        stamp_type=mint.stamp_type,
        recipient=mint.wallet,
        args=mint.args,
        request_key=request_key(opened.program.id, mint.kind, mint.stamp_type, mint.wallet),
    )


def take(app: App, opened: Opened, tx: Connection, asked: Sequence[One | Refused]) -> list[Answer | LoyaltyError]:
    """Carry these out, in order; what each is answered, or refused with."""
    intents.take_turns(tx, {opened.row.id})
    stored = _stored(tx, opened.row.id, [each.key for each in asked if each.key is not None])
    books = _Books(tx, opened, [each.new for each in asked if isinstance(each, One) and _name(each.key) not in stored])
    replies: dict[int, tuple[Reply, str]] = {}
    begun: set[_Name] = set()
    for place, each in enumerate(asked):
        name = _name(each.key)
        # A further request of a key is answered like the first, or refused, and in either case asks for nothing.
        if isinstance(each, One) and name not in stored and name not in begun:
            replies[place] = books.ask(each.new)
            if name is not None and replies[place][0] is not Reply.ASKED_OTHERWISE:
                begun.add(name)
    now = app.now()
    books.write(now)
    rows = intents.by_keys(tx, opened.attached.row, {key for _, key in replies.values()})
    final = final_number(tx, opened.row.id)
    results: list[Answer | LoyaltyError] = []
    new_answers: list[tuple[AnswerKey, Said]] = []
    for place, each in enumerate(asked):
        name = _name(each.key)
        if each.key is not None and name in stored:
            results.append(_replayed(stored[name], each.key))
        elif isinstance(each, Refused):
            results.append(each.refusal)
        else:
            reply, key = replies[place]
            if reply is Reply.ASKED_OTHERWISE:
                results.append(_asked_otherwise(opened, rows[key]))
                continue
            said = each.told(reply, described(opened.program, rows[key], final))
            results.append(Answer(said))
            if each.key is not None and name is not None:
                stored[name] = AnswerRow(each.key.key, each.key.fingerprint, said, None)
                new_answers.append((each.key, said))
    answers.add(tx, opened.row.id, new_answers, now)
    return results


def take_batch(app: App, opened: Opened, tx: Connection, asked: Batch) -> Answer | LoyaltyError:
    """Carry it out, whole; what it is answered, or refused with."""
    intents.take_turns(tx, {opened.row.id})
    if asked.key is not None:
        stored = _stored(tx, opened.row.id, [asked.key])
        if stored:
            return _replayed(stored[asked.key.route, asked.key.key], asked.key)
    books = _Books(tx, opened, asked.new)
    replies = [books.ask(new) for new in asked.new]
    now = app.now()
    books.write(now)
    items = [BatchItem(reply, books.row_of(key)) for reply, key in replies]
    new = NewBatch(asked.public_id, opened.row.id, asked.kind, asked.stamp_type, items)
    row = batches.add(tx, new, now)
    said = asked.told(described_batch(opened.program, row, Counter(reply for reply, _ in replies)))
    if asked.key is not None:
        answers.add(tx, opened.row.id, [(asked.key, said)], now)
    return Answer(said)


_Name = tuple[str, str]
"""Route and text of an AnswerKey."""


def _name(key: AnswerKey | None) -> _Name | None:
    return None if key is None else (key.route, key.key)


def _stored(tx: Connection, program: int, keys: Iterable[AnswerKey]) -> dict[_Name | None, AnswerRow]:
    by_route: dict[str, set[str]] = {}
    for key in keys:
        by_route.setdefault(key.route, set()).add(key.key)
    return {
        (route, row.key): row
        for route, texts in by_route.items()
        for row in answers.find(tx, program, route, texts).values()
    }


def _replayed(row: AnswerRow, key: AnswerKey) -> Answer | LoyaltyError:
    try:
        return Answer(answers.stored(row, key), replayed=True)
    except RequestRefused as refusal:
        return refusal


def _asked_otherwise(opened: Opened, row: IntentRow) -> AskedOtherwise:
    tier, expires_at = row.args["tier"], row.args["expires_at"]
    until = shown_end(expires_at) if expires_at else "for life"
    return AskedOtherwise(row.recipient or "", row.public_id, f"as {opened.program.tier_name(tier)} {until}")


class _Books:
    """What stands under the request keys of some mints, and what a transaction adds to that."""

    def __init__(self, tx: Connection, opened: Opened, asked: Sequence[NewIntent]) -> None:
        self._tx = tx
        self._chain = opened.attached.row
        self._opened = opened
        self._again: dict[str, NewIntent] = {}
        self._fresh: dict[str, NewIntent] = {}
        self._rows: dict[str, int] = {}
        # By the key of the first generation, with the one that counts now.
        self._found: dict[str, tuple[str, IntentState | None, Mapping[str, Any]]] = {}
        self._look_up({new.request_key: new for new in asked})

    def ask(self, new: NewIntent) -> tuple[Reply, str]:
        """What becomes of it, and the request key under which it is."""
        key, state, args = self._found[new.request_key]
        reply = judge(new.args, state, args)
        if reply in (Reply.ACCEPTED, Reply.AGAIN):
            wanted = new if key == new.request_key else replace(new, request_key=key)
            (self._fresh if reply is Reply.ACCEPTED else self._again)[key] = wanted
            # For whoever asks for it later in the same transaction.
            self._found[new.request_key] = (key, IntentState.RECEIVED, new.args)
        return reply, key

    def write(self, now: datetime) -> None:
        """Everything that was asked so far, in order."""
        if self._again:
            intents.ask_again(self._tx, self._again.values(), now)
        if self._fresh:
            self._rows.update(intents.accept_new(self._tx, list(self._fresh.values()), now))

    def row_of(self, key: str) -> int:
        """The intent's row, once it is written."""
        return self._rows[key]

    def _look_up(self, asked: Mapping[str, NewIntent]) -> None:
        """The newest generation of each. One that is final is used up, so there may be a next one."""
        generation = 0
        former: dict[str, Standing] = {}
        left = {first: first for first in asked}
        while left:
            standings = requests.standings(self._tx, self._chain, list(left.values()))
            final: dict[str, Standing] = {}
            for first, key in left.items():
                standing = standings.get(key)
                if standing is not None:
                    self._rows[key] = standing.id
                    self._found[first] = (key, standing.state, standing.args)
                    if standing.state is IntentState.FINAL and asked[first].kind is Kind.MINT_STAMP:
                        final[first] = standing
                elif generation == 0:
                    self._found[first] = (key, None, {})
            used_up = {first: former[first] for first, key in left.items() if generation and key not in standings}
            for first in self._mintable_again(asked, used_up):
                self._found[first] = (left[first], None, {})
            generation += 1
            left = {first: self._key(asked[first], generation) for first in final}
            former = final

    def _mintable_again(self, asked: Mapping[str, NewIntent], used_up: Mapping[str, Standing]) -> list[str]:
        """Which of these final requests the chain would carry out once more: their stamps were taken away, and may
        return. Only a block that knows of the former mint can tell."""
        found = []
        for stamp_type in {asked[first].stamp_type for first in used_up}:
            wallets = {
                first: bytes.fromhex((asked[first].recipient or "")[2:])
                for first in used_up
                if asked[first].stamp_type == stamp_type
            }
            as_of, mintable = requests.mintable_again(self._tx, self._opened.row.id, stamp_type, wallets.values())
            found += [
                first
                for first, wallet in wallets.items()
                if wallet in mintable and (used_up[first].block_number or 0) <= as_of
            ]
        return found

    def _key(self, new: NewIntent, generation: int) -> str:
        return request_key(self._opened.program.id, new.kind, new.stamp_type, new.recipient or "", generation)
