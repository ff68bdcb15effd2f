"""What became of transactions that were sent: found on chain, undone by a reorganisation, final, or nowhere to be seen.

Nothing here sends. Receipts and nonces are asked of one node in one message; what a receipt says of an intent counts
only by our own contract's events in it.
"""

import logging
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NoReturn

from sqlalchemy import Connection

from nftloyalty.app.calls import ACTS, EVENTS, proof_of
from nftloyalty.app.context import App
from nftloyalty.app.leases import Lease
from nftloyalty.chain import logs, sender
from nftloyalty.chain.client import Receipt
from nftloyalty.chain.sender import Sight
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import SlotState
from nftloyalty.errors import SignerHalted
from nftloyalty.store import intents, programs, signers, slots
from nftloyalty.store import sending as store
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Landed, Passenger
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.sending import Included
from nftloyalty.store.slots import WatchedSlot

log = logging.getLogger(__name__)

# How long a nonce must have been used up by a transaction nobody can show before it counts as somebody else's.
FOREIGN_AFTER = timedelta(seconds=30)
# So many intents are written to in one transaction; who wants to accept further ones waits so long.
SETTLED_AT_ONCE = 2_000
# How long the chain may look shorter than what was final before it counts as taken back: a node may be behind.
BEHIND_AFTER = timedelta(minutes=5)
HALTED_MEND = "`nftloyalty signers show` tells more; `nftloyalty signers resume` puts it right where that is safe"


@dataclass(frozen=True)
class Watched:
    """`lost` are slots that no block holds as far as the node knows; `undone` = the blocks of some were taken back."""

    moved: bool
    lost: tuple[WatchedSlot, ...]
    undone: bool = False


@dataclass(frozen=True)
class _Shown:
    """A slot's receipt, and what it shows of the `members` intents in the slot."""

    slot: WatchedSlot
    receipt: Receipt
    members: int
    landed: list[Landed]

    @property
    def is_whole(self) -> bool:
        """Whether it tells the end of each intent; one that failed, or is empty, tells that of all."""
        did_it = self.receipt.succeeded and self.receipt.tx_hash not in self.slot.noops
        return not did_it or len(self.landed) == self.members


class Watcher:
    """Watches one signer's open slots, under its lease."""

    def __init__(self, app: App, lease: Lease, address: Address, finality_blocks: int | None) -> None:
        self._app = app
        self._lease = lease
        self._address = address
        self._finality_blocks = finality_blocks
        self._passed: dict[int, datetime] = {}
        self._doubted: dict[int, datetime] = {}
        self._behind_since: datetime | None = None
        self._undone = False
        self._sight: Sight | None = None
        self._sight_at = ""
        self._settled_at = ""

    def watch(self) -> Watched:
        """Look at the chain once and write down what has changed. Raises SignerHalted, and what the node says."""
        with read(self._app.engine) as tx:
            watched = slots.watched(tx, self._lease.row)
        if not watched:
            return Watched(False, ())
        included = [slot for slot in watched if slot.state is SlotState.INCLUDED]
        missing = [slot for slot in watched if slot.state is not SlotState.INCLUDED]
        sight = self._look(missing)
        found = [
            (slot, receipt)
            for slot in missing
            if (receipt := next((it for each in slot.hashes if (it := sight.receipts.get(each)) is not None), None))
        ]
        shown = self._shown(found)
        moved = self._settle(shown)
        # As long as the head is the same, nothing can have happened to a block below it.
        if sight.head.hash != self._settled_at or shown:
            # Not by the head just seen: the chain may have become shorter, or the node lied once.
            finalized = self._app.node.finalized(self._finality_blocks)
            at_once = [_as_included(each) for each in shown if each.receipt.block_number <= finalized]
            moved |= self._on_included([*included, *at_once], finalized)
            self._settled_at = sight.head.hash
        self._check_ground(watched, sight)
        there = {slot.id for slot, _ in found}
        lost = tuple(slot for slot in missing if slot.id not in there)
        passed = tuple(slot for slot in lost if sight.latest_nonce > slot.nonce)
        for gone in self._passed.keys() - {slot.id for slot in passed}:
            del self._passed[gone]
        if passed:
            moved |= self._on_passed(passed)
        undone, self._undone = self._undone, False
        return Watched(moved, tuple(slot for slot in lost if slot not in passed), undone)

    def _look(self, missing: Sequence[WatchedSlot]) -> Sight:
        """What one node says now. As long as its head is that of the last look, so is all else.

        The head that counts for that is asked for before: nodes answer the parts of one message in any order.
        """
        head = self._app.node.head().hash
        if self._sight is None or self._passed or head != self._sight_at:
            hashes = [each for slot in missing for each in slot.hashes]
            events = frozenset(EVENTS[slot.kind] for slot in missing if slot.kind in EVENTS)
            self._sight = sender.look(self._app.node, hashes, self._address, logs.outcome_topics(events))
            self._sight_at = head
            return self._sight
        return Sight(self._sight.head, self._sight.latest_nonce, {})

    # ---------------------------------------------------------------------------------------------------- on chain

    def _shown(self, found: Sequence[tuple[WatchedSlot, Receipt]]) -> list[_Shown]:
        """What receipts show of each intent of their slots, by our own events.

        Left out for now is a transaction that succeeded and shows nothing of some: a node may have a receipt before its
        logs. Only what stays so for a while is believed.
        """
        if not found:
            self._doubted.clear()
            return []
        with read(self._app.engine) as tx:
            aboard = intents.aboard(tx, [slot.id for slot, _ in found])
            ids = {each.program for members in aboard.values() for each in members if each.program is not None}
            ours = {each: programs.get(tx, each) for each in ids}
        shown = []
        for slot, receipt in found:
            each = _Shown(slot, receipt, len(aboard[slot.id]), _landed(slot, aboard[slot.id], ours, receipt))
            if not each.is_whole:
                since = self._doubted.setdefault(slot.id, self._app.now())
                # What was seen last is asked about anew, whether or not there is another block.
                self._sight = None
                if self._app.now() - since < FOREIGN_AFTER:
                    continue
            self._doubted.pop(slot.id, None)
            shown.append(each)
        return shown

    def _settle(self, shown: Sequence[_Shown]) -> bool:
        """Write down what was shown. Returns whether there was any."""
        for part in _parts(shown):
            included = [
                Included(
                    each.slot.id,
                    each.receipt.tx_hash,
                    each.receipt.block_number,
                    each.receipt.block_hash,
                    each.receipt.succeeded,
                    each.landed,
                )
                for each in part
            ]
            with begin(self._app.engine) as tx:
                store.settle(tx, self._lease.row, self._lease.epoch, included, self._app.now())
            for each in part:
                told = log.info if each.receipt.succeeded else log.warning
                how = "done" if each.receipt.succeeded else "failed"
                names = {"nonce": each.slot.nonce, "transaction": each.receipt.tx_hash}
                told("%s in block %d, for %d intents", how, each.receipt.block_number, each.members, extra=names)
        return bool(shown)

    def _on_included(self, included: Sequence[WatchedSlot], finalized: int) -> bool:
        """Finalise what can no longer be undone; put under way again what its block was undone of."""
        numbers = {slot.block_number for slot in included if slot.block_number is not None}
        there = self._hashes_at(numbers)
        final: list[WatchedSlot] = []
        undone: list[WatchedSlot] = []
        for slot in included:
            if slot.block_number is None or there[slot.block_number] != slot.block_hash:
                undone.append(slot)
            elif slot.block_number <= finalized:
                final.append(slot)
        # What failed is asked about once more before it is given up: one wrong answer must not send a mint again.
        failed = [slot for slot in final if not slot.succeeded]
        if failed:
            again = self._app.node.receipts([str(slot.tx_hash) for slot in failed])
            denied = [
                slot
                for slot, receipt in zip(failed, again, strict=True)
                if receipt is None or receipt.succeeded or receipt.block_hash != slot.block_hash
            ]
            undone += denied
            final = [slot for slot in final if slot not in denied]
        if undone:
            self._undo(undone)
        if final:
            self._finalise(final)
        return bool(undone or final)

    def _hashes_at(self, numbers: Collection[int]) -> dict[int, str | None]:
        """The hashes of the chain's blocks as it is now; None where it is too short."""
        node = self._app.node
        answers = node.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        return {
            number: None if answer is None else node.read_block(answer, number).hash
            for number, answer in zip(numbers, answers, strict=True)
        }

    def _undo(self, undone: Sequence[WatchedSlot]) -> None:
        """Their recorded blocks are gone from the chain: they are under way again."""
        now = self._app.now()
        with begin(self._app.engine) as tx:
            self._lease.hold(tx)
            for slot in undone:
                slots.back_to_broadcasting(tx, slot.id, str(slot.block_hash), now)
                intents.mark_reorged(tx, slot.id, now)
        # What was seen last was of the undone blocks.
        self._sight = None
        self._undone = True

    def _finalise(self, final: Sequence[WatchedSlot]) -> None:
        now = self._app.now()
        carried_out = [slot for slot in final if slot.succeeded and slot.tx_hash not in slot.noops]
        with begin(self._app.engine) as tx:
            self._lease.hold(tx)
            if carried_out:
                ends = [(slot.id, str(slot.block_hash)) for slot in carried_out]
                unproven = store.finalise(tx, self._lease.row, self._lease.epoch, ends, now)
                for slot in carried_out:
                    if slot.id in unproven:
                        error = f"transaction {slot.tx_hash} succeeded, but neither carried out nor skipped this"
                        count = intents.reject_unproven(tx, slot.id, error, now)
                        log.error("%s (%d intents): the contract is not the one we think", error, count)
            for slot in final:
                if slot not in carried_out:
                    self._end_in_vain(tx, slot, now)
        log.info("%d transactions are final, up to nonce %d", len(final), max(slot.nonce for slot in final))

    def _end_in_vain(self, tx: Connection, slot: WatchedSlot, now: datetime) -> None:
        """A final transaction that did nothing: it failed, or it is the empty one of a cancelled slot."""
        noop = slot.tx_hash in slot.noops
        end = slots.set_final_noop if noop else slots.set_final_reverted
        end(tx, slot.id, str(slot.block_hash), now)
        members = [each.intent for each in intents.aboard(tx, [slot.id])[slot.id]]
        if slot.kind in ACTS and not noop:
            intents.reject_unproven(tx, slot.id, f"transaction {slot.tx_hash} failed", now)
            return
        intents.return_to_received(tx, slot.id, now)
        if slot.cancel_asked:
            intents.cancel(tx, members, now)

    # --------------------------------------------------------------------------------------------------- not on chain

    def _check_ground(self, watched: Sequence[WatchedSlot], sight: Sight) -> None:
        """Nonces below the lowest open slot are final. A chain that has not used them for a while has taken final
        blocks back: what is sent now would wait for ever."""
        lowest = min(slot.nonce for slot in watched)
        if sight.latest_nonce >= lowest:
            self._behind_since = None
            return
        self._behind_since = self._behind_since or self._app.now()
        if self._app.now() - self._behind_since >= BEHIND_AFTER:
            halt(
                self._app,
                self._lease.row,
                self._address,
                f"nonce {lowest - 1} was final, and the chain is back at {sight.latest_nonce}: final blocks were taken "
                "back, or the node is far behind",
            )

    def _on_passed(self, passed: Sequence[WatchedSlot]) -> bool:
        """The chain has used nonces whose transactions nobody can show.

        Receipts and nonce are two questions: a block may have come in between, so they are asked once more. A node may
        also tell of receipts later than of nonces, so only what stays so for a while is believed.
        """
        hashes = [each for slot in passed for each in slot.hashes]
        again = sender.look(self._app.node, hashes, self._address)
        still = [
            slot
            for slot in passed
            if again.latest_nonce > slot.nonce and not any(again.receipts.get(each) for each in slot.hashes)
        ]
        for slot in still:
            since = self._passed.setdefault(slot.id, self._app.now())
            if self._app.now() - since >= FOREIGN_AFTER:
                halt(
                    self._app,
                    self._lease.row,
                    self._address,
                    f"foreign nonce {slot.nonce}: the chain has a transaction there that is not ours",
                )
        self._sight = None
        return len(still) < len(passed)


def halt(app: App, row: int, address: Address, reason: str) -> NoReturn:
    """Write down that this signer may send nothing more until an operator has looked at it, and raise SignerHalted."""
    with begin(app.engine) as tx:
        signers.halt(tx, row, reason)
    raise SignerHalted(f"signer {address} is halted: {reason}", mend=HALTED_MEND)


def _as_included(shown: _Shown) -> WatchedSlot:
    """The slot as it is recorded once its receipt is settled."""
    slot, receipt = shown.slot, shown.receipt
    return WatchedSlot(
        id=slot.id,
        nonce=slot.nonce,
        kind=slot.kind,
        state=SlotState.INCLUDED,
        tx_hash=receipt.tx_hash,
        block_number=receipt.block_number,
        block_hash=receipt.block_hash,
        succeeded=receipt.succeeded,
        hashes=slot.hashes,
        noops=slot.noops,
        cancel_asked=slot.cancel_asked,
        last_sent_at=slot.last_sent_at,
    )


def _parts(shown: Sequence[_Shown]) -> Iterator[list[_Shown]]:
    part: list[_Shown] = []
    size = 0
    for each in shown:
        part.append(each)
        size += each.members
        if size >= SETTLED_AT_ONCE:
            yield part
            part, size = [], 0
    if part:
        yield part


def _landed(
    slot: WatchedSlot, members: Sequence[Passenger], ours: dict[int, ProgramRow], receipt: Receipt
) -> list[Landed]:
    """The outcome of each intent that the receipt proves; acts over the whole program are proved by its success."""
    if not receipt.succeeded or receipt.tx_hash in slot.noops:
        return []
    program = ours.get(members[0].program) if members and members[0].program is not None else None
    proof = proof_of(slot.kind, program, members)
    if proof is None or program is None:
        return [Landed(member.intent, log_index=None) for member in members]
    if proof.event is not None:
        outcomes = logs.changes(receipt, proof.contract, proof.event, proof.token_ids)
    else:
        minted = logs.outcomes(receipt, proof.contract, proof.token_ids, program.membership)
        outcomes = [minted[token_id] for token_id in proof.token_ids]
    landed = []
    for member, outcome in zip(members, outcomes, strict=True):
        if isinstance(outcome, logs.Minted | logs.Changed):
            landed.append(Landed(member.intent, log_index=outcome.log_index))
        elif isinstance(outcome, logs.Skipped):
            landed.append(Landed(member.intent, log_index=None, code=outcome.code))
    return landed
