"""Signers: how each stands, and letting a halted one go on.

A signer is halted when chain and books disagree about its nonces: the key was used elsewhere, or the database is an old
copy of the one that was in use. Before it goes on, each nonce in question is looked up on chain, and what lies there is
taken into the books: a transaction that carries out what waits here, or mints for a program of ours, becomes the slot
of those intents, and any other one is recorded as foreign. So nothing is done twice, and nothing that is done is taken
for undone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import Connection

from nftloyalty.app.calls import ACTS, BATCHED_KINDS, CLAIMS, EVENTS, build
from nftloyalty.app.context import App
from nftloyalty.app.gathering import program_of
from nftloyalty.app.keyring import address_of, key_name
from nftloyalty.app.leases import owner_alive, process_name
from nftloyalty.app.opening import Attached
from nftloyalty.chain.client import Node, Receipt
from nftloyalty.chain.contracts import Membership
from nftloyalty.chain.history import SentTransaction, sent_by
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState, Kind, request_key
from nftloyalty.domain.program import Program
from nftloyalty.domain.words import split_card_item, split_token_id
from nftloyalty.errors import ChainProblem, KeyProblem, NodeRefused, SigningProblem
from nftloyalty.store import intents, programs, reports, sending, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import IntentRow, NewIntent
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.reports import SignerReport
from nftloyalty.store.sending import NewAttempt, NewSlot
from nftloyalty.store.signers import SignerRow
from nftloyalty.store.slots import OpenSlot

LEASE_SECONDS = 120
_WORD = 32
_BEHIND = "chain and books disagree"
# A stamp that was revoked and may return is asked for under a further key each time.
_MOST_GENERATIONS = 64

# ------------------------------------------------------------------------------------------------------- how they stand


@dataclass(frozen=True)
class Standing:
    """One key on this chain. `name` is that of the key here, None if it is elsewhere; `powers` are program.toml's words
    for it. `nonce` is the chain's; `books` are None if it never sent anything from here."""

    address: Address
    name: str | None
    powers: tuple[str, ...]
    balance_wei: int
    nonce: int
    books: SignerReport | None

    @property
    def halted(self) -> str | None:
        return self.books.halted if self.books is not None else None


def standings(app: App, attached: Attached, program: Program) -> list[Standing]:
    """Everyone program.toml names whose address is known here, and everyone who sent something on this chain."""
    powers = named_powers(app, program)
    with read(app.engine) as tx:
        books = {report.address: report for report in reports.signers_of(tx, attached.row)}
    found = []
    for address in dict.fromkeys((*powers, *books)):
        found.append(
            Standing(
                address=address,
                name=key_name(app, address),
                powers=tuple(powers.get(address, ())),
                balance_wei=app.node.balance(address),
                nonce=app.node.nonce(address),
                books=books.get(address),
            )
        )
    return found


def named_powers(app: App, program: Program) -> dict[Address, list[str]]:
    """Whom program.toml gives a power, by address, with its words for the powers; only those whose address is known
    here."""
    powers = program.powers
    found: dict[Address, list[str]] = {}
    for word, names in (
        ("opener", (powers.opener,)),
        ("owner", (powers.owner,)),
        ("minter", powers.minters),
        ("signer", powers.signers),
        ("manager", powers.managers),
        ("guardian", powers.guardians),
    ):
        for name in names:
            # A key that lies on another machine is known here by its address only, if at all.
            with suppress(KeyProblem):
                found.setdefault(address_of(app, name), []).append(word)
    return found


# -------------------------------------------------------------------------------------------------------- letting go on


class Finding(StrEnum):
    """Whose transaction lies at a nonce that the books can't account for."""

    SLOT = "slot"
    """It says what the slot of this nonce says: a copy of the books has signed it once more, with other fees."""
    COPY = "copy"
    """It carries out what waits in these books, or mints for a program in them: a newer copy of them has sent it."""
    FOREIGN = "foreign"
    """It has nothing to do with what these books hold."""


@dataclass(frozen=True)
class Minted:
    """A card or stamp that was minted and that these books never asked for."""

    program: ProgramRow
    kind: Kind
    stamp_type: int
    recipient: Address
    args: Mapping[str, Any]


@dataclass(frozen=True)
class Use:
    """What was found at one nonce. `slot` is ours there, if there is one; `members` are the waiting intents it carries
    out, `minted` what it has minted besides; `to_us` = it calls a contract of a program in these books."""

    sent: SentTransaction
    finding: Finding
    slot: OpenSlot | None
    members: tuple[IntentRow, ...]
    minted: tuple[Minted, ...]
    to_us: bool
    succeeded: bool


@dataclass(frozen=True)
class Resumption:
    """What letting a signer go on will write down. No `uses` = chain and books agree by now."""

    signer: SignerRow
    name: str | None
    uses: tuple[Use, ...]

    @property
    def next_nonce(self) -> int:
        """The nonce it goes on with."""
        last = max((use.sent.nonce + 1 for use in self.uses), default=0)
        return max(self.signer.next_nonce or 0, last)


def look_into(app: App, attached: Attached, program: Program, name_or_address: str) -> Resumption:
    """Find out why a signer disagrees with the chain. Changes nothing.

    Raises SigningProblem if it is not halted and chain and books agree, or if a transaction of its key still waits to
    be mined; ChainProblem while the last of them is not final, or if the node does not know the past.
    """
    address = address_of(app, name_or_address)
    with read(app.engine) as tx:
        known = {report.address for report in reports.signers_of(tx, attached.row) if report.next_nonce is not None}
    if address not in known:
        raise SigningProblem(f"{name_or_address} has never sent anything from here; nothing was changed")
    with begin(app.engine) as tx:
        row = signers.register(tx, attached.row, address)
        under_way = slots.open_slots(tx, row.id, slots.NOT_INCLUDED)
        waiting = intents.received_of(tx, row.id)
        # What waits for another key by these books may have changed hands by the lost ones.
        waiting += intents.received_beside(tx, attached.row, row.id, BATCHED_KINDS | CLAIMS | EVENTS.keys())
        ours = programs.list_all(tx, attached.row)
    nonce = app.node.nonce(address)
    _check_pool(app.node, address, max(nonce, row.next_nonce or 0))
    lost = _without_receipt(app.node, [each for each in under_way if each.slot.nonce < nonce])
    in_question = sorted({*lost, *range(row.next_nonce or 0, nonce)})
    if not in_question and row.halted is None:
        raise SigningProblem(f"{name_or_address} is not halted, and chain and books agree; nothing was changed")
    _check_final(app.node, address, in_question, program.chain.finality_blocks)
    sent = sent_by(app.node, address, in_question)
    receipts = dict(zip(in_question, app.node.receipts([each.tx_hash for each in sent]), strict=True))
    index = _Waiting(app, waiting)
    uses = tuple(_use(each, lost.get(each.nonce), receipts[each.nonce], index, ours) for each in sent)
    return Resumption(row, key_name(app, address), uses)


def resume(app: App, found: Resumption) -> None:
    """Write down what was found, and let the signer go on. All of it or nothing.

    Raises SignerBusy while another process sends with this key, and SigningProblem if the books have moved since the
    look.
    """
    row = found.signer
    with begin(app.engine) as tx:
        epoch = signers.take_lease(tx, row.id, process_name(), app.now(), LEASE_SECONDS, owner_alive)
    try:
        with begin(app.engine) as tx:
            now_there = signers.hold(tx, row.id, epoch)
            if (now_there.next_nonce, now_there.halted) != (row.next_nonce, row.halted):
                raise SigningProblem(f"the books of {row.address} have moved since; nothing was changed")
            signers.halt(tx, row.id, _BEHIND)
            for use in found.uses:
                if use.finding is Finding.SLOT and use.slot is not None:
                    _take_in(app, tx, row.id, use.slot.slot.id, use.sent, epoch)
                elif use.finding is Finding.COPY:
                    _adopt(app, tx, row, use, epoch)
                else:
                    _record_foreign(app, tx, row, use)
            signers.resume(tx, row.id)
    finally:
        with begin(app.engine) as tx:
            signers.release_lease(tx, row.id, process_name(), epoch)


class _Waiting:
    """What waits in the books, by what a transaction says that carries it out."""

    def __init__(self, app: App, waiting: Iterable[IntentRow]) -> None:
        self._items: dict[tuple[Address | None, bytes, int], IntentRow] = {}
        self._calls: dict[tuple[Address | None, bytes, int], IntentRow] = {}
        with read(app.engine) as tx:
            for intent in waiting:
                call = build([intent], program_of(tx, [intent]))
                if intent.kind in BATCHED_KINDS:
                    # A batch of one ends with its item.
                    self._items[call.to, call.data[:4], int.from_bytes(call.data[-_WORD:], "big")] = intent
                else:
                    self._calls[call.to, call.data, call.value_wei] = intent

    def take(self, sent: SentTransaction) -> tuple[IntentRow, ...]:
        """The intents that this transaction carries out. None of them is given for another one again."""
        whole = self._calls.pop((sent.to, sent.data, sent.value), None)
        if whole is not None:
            return (whole,)
        found = (self._items.pop((sent.to, sent.data[:4], item), None) for item in _items(sent.data))
        return tuple(each for each in found if each is not None)


def _items(data: bytes) -> list[int]:
    """The words of a call whose only argument is an array of words; none for any other call."""
    body = data[4:]
    words = [int.from_bytes(body[at : at + _WORD], "big") for at in range(0, len(body), _WORD)]
    if len(words) < 2 or len(body) % _WORD or words[0] != _WORD or words[1] != len(words) - 2:
        return []
    return words[2:]


def _use(
    sent: SentTransaction,
    slot: OpenSlot | None,
    receipt: Receipt | None,
    waiting: _Waiting,
    ours: Sequence[ProgramRow],
) -> Use:
    succeeded = receipt is not None and receipt.succeeded
    to_us = any(sent.to in (each.membership, each.stamps, each.factory) for each in ours)
    if slot is not None:
        same = (sent.to, sent.data, sent.value) == (slot.slot.to_address, slot.slot.calldata, slot.slot.value)
        finding = Finding.SLOT if same and sent.raw is not None else Finding.FOREIGN
        return Use(sent, finding, slot, (), (), to_us, succeeded)
    # One that failed has carried out nothing.
    provable = succeeded and sent.raw is not None
    members = waiting.take(sent) if provable else ()
    asked = {(each.recipient, each.stamp_type) for each in members}
    minted = tuple(each for each in _minted(sent, ours) if provable and (each.recipient, each.stamp_type) not in asked)
    finding = Finding.COPY if members or minted else Finding.FOREIGN
    return Use(sent, finding, None, members, minted, to_us, succeeded)


def _minted(sent: SentTransaction, ours: Sequence[ProgramRow]) -> Iterator[Minted]:
    """What a batch of ours asks the contracts to mint."""
    # Both contracts' functions look the same from outside.
    if sent.data[:4] != Membership.encode_mint_batch([])[:4]:
        return
    for program in ours:
        for item in _items(sent.data):
            # What is no item of ours would have been refused by the contract.
            with suppress(ValueError):
                if sent.to == program.membership:
                    holder, tier, expires_at = split_card_item(item)
                    yield Minted(program, Kind.MINT_CARD, 0, holder, {"tier": tier, "expires_at": expires_at})
                elif sent.to == program.stamps:
                    stamp_type, holder = split_token_id(item)
                    yield Minted(program, Kind.MINT_STAMP, stamp_type, holder, {})


def _check_pool(node: Node, address: Address, known: int) -> None:
    pending = 0
    # Not every node tells of its pool.
    with suppress(NodeRefused):
        pending = node.nonce(address, "pending")
    if pending > known:
        raise SigningProblem(
            f"a transaction of {address} with nonce {known} waits to be mined; nothing was changed",
            mend="stop whatever else sends with this key, wait until it is mined, and run this again",
        )


def _without_receipt(node: Node, under_way: Sequence[OpenSlot]) -> Mapping[int, OpenSlot]:
    """Slots whose nonce is used up and none of whose attempts is mined, by nonce."""
    hashes = [attempt.tx_hash for each in under_way for attempt in each.attempts]
    mined = {receipt.tx_hash for receipt in node.receipts(hashes) if receipt is not None}
    return {
        each.slot.nonce: each for each in under_way if not any(attempt.tx_hash in mined for attempt in each.attempts)
    }


def _check_final(node: Node, address: Address, nonces: Sequence[int], finality_blocks: int | None) -> None:
    """A nonce recorded as somebody else's must never come free again by a reorganisation."""
    if not nonces:
        return
    final = node.nonce(address, node.finalized(finality_blocks))
    if nonces[-1] >= final:
        raise ChainProblem(
            f"the transaction of {address} with nonce {max(final, nonces[0])} is not final yet; nothing was changed",
            mend="run this again in a few minutes",
        )


def _take_in(app: App, tx: Connection, signer: int, slot: int, sent: SentTransaction, epoch: int) -> None:
    """The transaction as an attempt of this slot: from here on it is watched like one that was made here."""
    now = app.now()
    new = NewAttempt(slot, sent.raw or b"", sent.tx_hash, sent.max_fee, sent.priority_fee)
    (attempt,) = sending.store_attempts(tx, signer, epoch, [new], now)
    sending.mark_sent(tx, signer, epoch, [attempt.id], now)


def _adopt(app: App, tx: Connection, row: SignerRow, use: Use, epoch: int) -> None:
    """A slot for what a lost copy of these books has sent, with the intents it carries out."""
    sent = use.sent
    members = [member.id for member in use.members]
    members += [intent for each in use.minted if (intent := _asked_for(app, tx, row, each)) is not None]
    # A batch may name the same item twice; the contract skips the second.
    members = list(dict.fromkeys(members))
    if not members:
        _record_foreign(app, tx, row, use)
        return
    # Slots are made by signers that are not halted; within this transaction nobody else sees it so.
    signers.resume(tx, row.id)
    kind = use.members[0].kind if use.members else use.minted[0].kind
    intents.reassign(tx, row.chain, [each.request_key for each in intents.by_ids(tx, members)], row.id, app.now())
    new = NewSlot(kind, sent.to, sent.data, sent.value, sent.gas, intents.by_ids(tx, members))
    (slot,) = sending.reserve(tx, row.id, epoch, [new], app.now())
    signers.halt(tx, row.id, _BEHIND)
    if slot.nonce != sent.nonce:
        raise SigningProblem(f"the books of {row.address} have moved since; nothing was changed")
    _take_in(app, tx, row.id, slot.id, sent, epoch)


def _asked_for(app: App, tx: Connection, row: SignerRow, minted: Minted) -> int | None:
    """The waiting intent that asks for this, as the lost copy must have had it: then the file it came from can be run
    again. None if these books know it as done or under way."""
    for generation in range(_MOST_GENERATIONS):
        new = NewIntent(
            public_id=app.new_id("int"),
            chain=row.chain,
            program=minted.program.id,
            signer=row.id,
            kind=minted.kind,
            stamp_type=minted.stamp_type,
            recipient=minted.recipient,
            args=minted.args,
            request_key=request_key(minted.program.slug, minted.kind, minted.stamp_type, minted.recipient, generation),
        )
        intents.ask_again(tx, [new], app.now())
        intents.reassign(tx, row.chain, [new.request_key], row.id, app.now())
        found, _created = intents.accept(tx, new, app.now())
        if found.state is IntentState.RECEIVED:
            if found.args != minted.args:
                # The lost copy had asked otherwise before it was sent.
                intents.cancel(tx, [found.id], app.now(), told=False)
                intents.ask_again(tx, [new], app.now())
            return found.id
        if found.state is not IntentState.FINAL:
            return None
    return None


def _record_foreign(app: App, tx: Connection, row: SignerRow, use: Use) -> None:
    now = app.now()
    if use.slot is None:
        slots.record_foreign(tx, row.id, use.sent.nonce + 1, now)
        return
    slot = use.slot.slot
    slots.set_foreign(tx, slot.id, now)
    members = [member.id for member in intents.of_slot(tx, slot.id)]
    intents.return_to_received(tx, slot.id, now)
    if slot.kind in ACTS or slot.cancel_asked_at is not None:
        # An act that was not done, and what was to be taken back, are over: not to be done later behind one's back.
        intents.cancel(tx, members, now)
