"""The sending engine: from intents in the database to tokens on the chain, each exactly once.

One `Sender` works for one signer while it holds the signer's lease. A step is a short transaction or a talk with the
node, never both at once; a process that dies between two steps leaves a database from which the next one goes on:

    slot RESERVED, no attempt        its bytes were never made: sign now
    slot SIGNED                      bytes stored, perhaps never sent: send them
    slot BROADCASTING                bytes perhaps sent: ask for the receipt, send the same bytes again
    slot INCLUDED                    wait until it can no longer be undone

The node's answer to a broadcast decides nothing: only a receipt with our own event does.
"""

import logging
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from types import TracebackType
from typing import NoReturn

from nftloyalty.app.calls import ACTS, Call, build
from nftloyalty.app.context import App
from nftloyalty.app.gathering import Blocked, Gathering, Ready, Wait, program_of
from nftloyalty.app.leases import owner_alive, process_name
from nftloyalty.app.opening import Attached, check_chain
from nftloyalty.chain import logs, sender
from nftloyalty.chain.client import HintKind, Receipt
from nftloyalty.chain.sender import Fees
from nftloyalty.chain.signer import Signer, TxFields
from nftloyalty.domain.intent import SlotState
from nftloyalty.errors import (
    ChainProblem,
    LoyaltyError,
    NodeRefused,
    NodeUnreachable,
    OutOfFunds,
    SignerBusy,
    SignerHalted,
    SigningProblem,
)
from nftloyalty.store import intents, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Group, IntentRow, Landed
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.slots import AttemptRow, SlotRow, WatchedSlot

log = logging.getLogger(__name__)

LEASE_SECONDS = 60
RESEND_AFTER = timedelta(seconds=15)
# A restart of a development chain breaks the connection, which is noticed; a node behind a balancer may just change.
CHAIN_CHECK_EVERY = timedelta(seconds=1)
# How long a nonce must have been used up by a transaction nobody can show before it counts as somebody else's.
FOREIGN_AFTER = timedelta(seconds=30)
# How long a node that answered before is waited for, in seconds from one try to the next.
RETRY_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)
HALTED_MEND = "`nftloyalty signers show` tells more; `nftloyalty signers resume` puts it right where that is safe"


class Sender:
    """Sends what one signer has to send. Use as a context manager: it takes the signer's lease and gives it back.

    Raises SignerBusy on entry while another living process has the lease, and SignerHalted if chain and books disagree.
    """

    def __init__(self, app: App, attached: Attached, signer: Signer, *, finality_blocks: int | None) -> None:
        self.app = app
        self.attached = attached
        self.signer = signer
        self.finality_blocks = finality_blocks
        self.blocked: dict[Group, Blocked] = {}
        self._gathering = Gathering(app, signer.address, 0, between=self._keep_lease)
        self._owner = process_name()
        self._row = 0
        self._epoch = 0
        self._renew_at = app.now()
        self._passed: dict[int, datetime] = {}
        # What a former process marked as sent may never have left.
        self._unsure = True
        self._head = ""
        self._held: Blocked | None = None
        self._chain_seen_at: datetime | None = None

    def __enter__(self) -> "Sender":
        with begin(self.app.engine) as tx:
            self._row = self._gathering.row = signers.register(tx, self.attached.row, self.signer.address).id
            self._epoch = signers.take_lease(tx, self._row, self._owner, self.app.now(), LEASE_SECONDS, owner_alive)
        try:
            self._barrier()
        except BaseException:
            self._release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()

    def _release(self) -> None:
        with begin(self.app.engine) as tx:
            signers.release_lease(tx, self._row, self._owner, self._epoch)

    # ---------------------------------------------------------------------------------------------------- start-up

    def _barrier(self) -> None:
        """Compare chain and books before anything is sent (docs/architecture.md, Sending)."""
        check_chain(self.app, self.attached)
        # A node that can't tell what is final is found out here, not with the first transaction under way.
        self.app.node.finalized(self.finality_blocks)
        chain_nonce = self.app.node.nonce(self.signer.address)
        pending = self._pending_nonce()
        with begin(self.app.engine) as tx:
            row = signers.get(tx, self._row)
            if row.halted is None:
                next_nonce = signers.set_next_nonce_first_time(tx, self._row, chain_nonce)
            under_way = [each.slot.nonce for each in slots.open_slots(tx, self._row)]
        if row.halted is not None:
            raise SignerHalted(f"signer {row.address} is halted: {row.halted}", mend=HALTED_MEND)
        if chain_nonce > next_nonce:
            self._halt(
                f"foreign nonce {next_nonce}: the chain is at {chain_nonce}, so the key was used elsewhere or the "
                "database is an old copy"
            )
        if pending > max(next_nonce, chain_nonce):
            raise SigningProblem(
                f"a transaction of {row.address} that was not sent from here waits to be mined; nothing was sent",
                mend="stop whatever else sends with this key, wait until it is mined, and run this again",
            )
        if chain_nonce < next_nonce and chain_nonce not in under_way:
            raise ChainProblem(
                f"the node knows {chain_nonce} transactions of {row.address}, and by the books at least "
                f"{min(under_way, default=next_nonce)} are on chain; nothing was sent",
                mend="wait until the node has caught up, or use another one; if it has, final blocks were taken back: "
                "make a new key and let the owner grant it the role",
            )

    def _pending_nonce(self) -> int:
        """The nonce after what waits in the node's pool; 0 where it does not tell."""
        with suppress(NodeRefused):
            return self.app.node.nonce(self.signer.address, "pending")
        return 0

    def _halt(self, reason: str) -> NoReturn:
        with begin(self.app.engine) as tx:
            signers.halt(tx, self._row, reason)
        raise SignerHalted(f"signer {self.signer.address} is halted: {reason}", mend=HALTED_MEND)

    # -------------------------------------------------------------------------------------------------------- step

    def step(self) -> bool:
        """Do what can be done now: settle what the chain has taken in, send again what it lost, send what waits.

        Returns whether anything moved. Interrupting between steps is always safe.
        """
        self._keep_lease()
        self._check_chain()
        self._held = None
        moved = False
        try:
            moved = self._finish_unsent()
        except Wait as wait:
            self._held = wait.blocked
        moved |= self._watch()
        self.blocked.clear()
        try:
            while self._held is None and self._not_included() < self.app.settings.window:
                if not self._send_next():
                    break
                moved = True
        except Wait as wait:
            # Gas became too dear between trying and signing: the slot is reserved, and is signed once it is cheaper.
            self._held = wait.blocked
        return moved

    def blocked_now(self, group: Group | None) -> Blocked | None:
        """What stops this group, or any if None, after the step just made; None while transactions are under way."""
        if self._held is not None:
            return None if self._on_the_wire() else self._held
        blocked = self.blocked.get(group) if group is not None else next(iter(self.blocked.values()), None)
        if blocked is not None and not isinstance(blocked.reason, OutOfFunds) and self._not_included():
            return None
        return blocked

    def _check_chain(self) -> None:
        now = self.app.now()
        if self._chain_seen_at is None or not timedelta(0) <= now - self._chain_seen_at < CHAIN_CHECK_EVERY:
            check_chain(self.app, self.attached)
            self._chain_seen_at = now

    def _keep_lease(self) -> None:
        now = self.app.now()
        if now >= self._renew_at:
            with begin(self.app.engine) as tx:
                signers.renew_lease(tx, self._row, self._owner, self._epoch, now, LEASE_SECONDS)
            self._renew_at = now + timedelta(seconds=LEASE_SECONDS / 3)

    def _not_included(self) -> int:
        with read(self.app.engine) as tx:
            return slots.not_included_count(tx, self._row)

    def _on_the_wire(self) -> bool:
        """Whether bytes of ours may be in a node's pool."""
        with read(self.app.engine) as tx:
            return any(slot.state is not SlotState.INCLUDED for slot in slots.watched(tx, self._row))

    def _finish_unsent(self) -> bool:
        """Sign and send what a former process reserved or signed and did not get to send. Raises Wait if it can't be
        paid at today's fees."""
        with read(self.app.engine) as tx:
            unsent = slots.open_slots(tx, self._row, {SlotState.RESERVED, SlotState.SIGNED})
        for each in unsent:
            if each.attempts:
                self._mark_sent(each.attempts[-1].id)
                self._send(each.attempts[-1])
            else:
                self._sign_and_send(each.slot)
        return bool(unsent)

    # ------------------------------------------------------------------------------------------------------- watch

    def _watch(self) -> bool:
        with read(self.app.engine) as tx:
            watched = slots.watched(tx, self._row)
        if not watched:
            return False
        included = [slot for slot in watched if slot.state is SlotState.INCLUDED]
        missing = [slot for slot in watched if slot.state is not SlotState.INCLUDED]
        # A receipt of hundreds of mints is a megabyte: it is fetched once. From then on the block's hash tells all, and
        # as long as the head is the same, nothing can have happened to a block below it.
        sight = sender.look(self.app.node, [each for slot in missing for each in slot.hashes], self.signer.address)
        at_once, self._unsure = self._unsure, False
        moved = False
        finalized = None
        if sight.head.hash != self._head or any(sight.receipts.values()):
            finalized = self.app.node.finalized(self.finality_blocks)
        if finalized is not None and included:
            moved |= self._on_included(included, finalized)
        old: list[tuple[WatchedSlot, Receipt]] = []
        for slot in missing:
            receipt = next((found for each in slot.hashes if (found := sight.receipts.get(each)) is not None), None)
            if receipt is None:
                moved |= self._on_nothing(slot, sight.latest_nonce, at_once)
                continue
            self._settle(slot, receipt)
            moved = True
            if finalized is not None and receipt.block_number <= finalized:
                old.append((slot, receipt))
        there = self._hashes_at({receipt.block_number for _, receipt in old})
        for slot, receipt in old:
            if there[receipt.block_number] == receipt.block_hash:
                self._finalise(slot, receipt.tx_hash, receipt.block_hash, receipt.succeeded)
        self._head = sight.head.hash
        return moved

    def _on_included(self, included: Sequence[WatchedSlot], finalized: int) -> bool:
        """Finalise what can no longer be undone; put under way again what its block was undone of."""
        there = self._hashes_at({slot.block_number for slot in included if slot.block_number is not None})
        moved = False
        for slot in included:
            block_hash = there[slot.block_number] if slot.block_number is not None else None
            if block_hash is None or block_hash != slot.block_hash:
                self._undo(slot)
                moved = True
            elif slot.block_number is not None and slot.block_number <= finalized:
                self._finalise(slot, str(slot.tx_hash), block_hash, bool(slot.succeeded))
                moved = True
        return moved

    def _hashes_at(self, numbers: Collection[int]) -> dict[int, str | None]:
        """The hashes of the chain's blocks as it is now; None where it is too short."""
        answers = self.app.node.batch([("eth_getBlockByNumber", [hex(number), False]) for number in numbers])
        return {
            number: None if answer is None else self.app.node.read_block(answer, number).hash
            for number, answer in zip(numbers, answers, strict=True)
        }

    def _on_nothing(self, slot: WatchedSlot, latest_nonce: int, at_once: bool) -> bool:
        """No block has it: send the same bytes again, `at_once` or when the last time was long ago."""
        if latest_nonce > slot.nonce:
            # Receipts and nonce are two questions: a block may have come in between, so ask for the receipts once more.
            # A node may also tell of receipts later than of nonces, so only what stays so for a while is believed.
            again = sender.look(self.app.node, slot.hashes, self.signer.address)
            if again.latest_nonce <= slot.nonce or any(again.receipts.values()):
                self._passed.pop(slot.id, None)
                return True
            since = self._passed.setdefault(slot.id, self.app.now())
            if self.app.now() - since >= FOREIGN_AFTER:
                self._halt(f"foreign nonce {slot.nonce}: the chain has a transaction there that is not ours")
            return False
        just_sent = slot.last_sent_at is not None and self.app.now() - slot.last_sent_at < RESEND_AFTER
        if just_sent and not at_once:
            return False
        with read(self.app.engine) as tx:
            (open_slot,) = (each for each in slots.open_slots(tx, self._row) if each.slot.id == slot.id)
        attempt = open_slot.attempts[-1]
        dearer = None if just_sent else self._dearer(attempt)
        if dearer is not None:
            attempt = self._sign_and_store(open_slot.slot, dearer)
        self._mark_sent(attempt.id)
        self._send(attempt)
        return True

    def _dearer(self, attempt: AttemptRow) -> Fees | None:
        """Fees for another attempt of the same slot, where the market has left this one behind: both at least an eighth
        higher, as nodes want it, and under the ceiling. The nonce keeps it at one of them at most."""
        try:
            now = self._gathering.fees()
        except Wait:
            return None
        max_fee, priority_fee = (-(-9 * wei // 8) for wei in (attempt.max_fee_wei, attempt.priority_fee_wei))
        if now.max_fee < max_fee or max(now.priority_fee, priority_fee) > now.max_fee:
            return None
        return Fees(now.max_fee, max(now.priority_fee, priority_fee))

    def _undo(self, slot: WatchedSlot) -> None:
        """The recorded block is gone from the chain: the slot is under way again."""
        now = self.app.now()
        with begin(self.app.engine) as tx:
            signers.hold(tx, self._row, self._epoch)
            slots.back_to_broadcasting(tx, slot.id, str(slot.block_hash), now)
            intents.mark_reorged(tx, slot.id, now)
        # Nodes do not take the transactions of an undone block back into their pool for sure.
        self._unsure = True

    def _settle(self, slot: WatchedSlot, receipt: Receipt) -> None:
        """Write down what the receipt says of each intent of the slot, by our own events."""
        landed: list[Landed] = []
        if receipt.succeeded:
            with read(self.app.engine) as tx:
                members = intents.of_slot(tx, slot.id)
                program = program_of(tx, members)
            landed = _landed(members, build(members, program), program, receipt)
        now = self.app.now()
        with begin(self.app.engine) as tx:
            signers.hold(tx, self._row, self._epoch)
            slots.set_included(
                tx, slot.id, receipt.tx_hash, receipt.block_number, receipt.block_hash, receipt.succeeded, now
            )
            if receipt.succeeded:
                intents.mark_included(tx, slot.id, landed, now)

    def _finalise(self, slot: WatchedSlot, tx_hash: str, block_hash: str, succeeded: bool) -> None:
        now = self.app.now()
        with begin(self.app.engine) as tx:
            signers.hold(tx, self._row, self._epoch)
            if not succeeded:
                slots.set_final_reverted(tx, slot.id, block_hash, now)
                if slot.kind in ACTS:
                    intents.reject_unproven(tx, slot.id, f"transaction {tx_hash} failed", now)
                else:
                    intents.return_to_received(tx, slot.id, now)
                return
            slots.set_final(tx, slot.id, block_hash, now)
            if intents.mark_final(tx, slot.id, now).unproven:
                error = f"transaction {tx_hash} succeeded, but neither minted nor skipped this"
                count = intents.reject_unproven(tx, slot.id, error, now)
                log.error("%s (%d intents): the contract is not the one we think", error, count)

    # -------------------------------------------------------------------------------------------------------- send

    def _send_next(self) -> bool:
        """Gather, try, reserve, sign and send one transaction. False if nothing waits or all that waits is blocked."""
        ready = self._gather()
        if ready is None:
            return False
        slot = self._reserve(ready)
        if slot is not None:
            self._sign_and_send(slot)
        return True

    def _gather(self) -> Ready | None:
        """The next transaction that the chain would take now; spoiled items are rejected on the way."""
        while True:
            waiting = self._gathering.waiting(skip=self.blocked)
            if not waiting:
                return None
            try:
                found = self._gathering.try_next(waiting)
            except Wait as wait:
                self.blocked[Group(waiting[0].program, waiting[0].kind, waiting[0].stamp_type)] = wait.blocked
                continue
            if isinstance(found, Ready):
                return found
            for item, why in found.items:
                with begin(self.app.engine) as tx:
                    signers.hold(tx, self._row, self._epoch)
                    # What was withdrawn or asked for otherwise meanwhile is not what was tried.
                    if intents.hold_unchanged(tx, [item]):
                        intents.reject(tx, [item.id], self.app.now(), error=why)

    def _reserve(self, ready: Ready) -> SlotRow | None:
        """None if one of the intents is not any more what the calldata was made from: then they are gathered anew."""
        now = self.app.now()
        with begin(self.app.engine) as tx:
            signers.renew_lease(tx, self._row, self._owner, self._epoch, now, LEASE_SECONDS)
            if not intents.hold_unchanged(tx, ready.members):
                return None
            return slots.reserve(
                tx,
                self._row,
                self._epoch,
                ready.members[0].kind,
                ready.call.to,
                ready.call.data,
                ready.call.value_wei,
                ready.gas,
                [member.id for member in ready.members],
                now,
            )

    def _sign_and_send(self, slot: SlotRow) -> None:
        attempt = self._sign_and_store(slot)
        self._mark_sent(attempt.id)
        self._send(attempt)

    def _sign_and_store(self, slot: SlotRow, fees: Fees | None = None) -> AttemptRow:
        """A new attempt for the slot, by default at today's fees. Raises Wait while they are above the ceiling."""
        fees = fees or self._gathering.fees()
        signed = self.signer.sign_transaction(
            TxFields(
                chain_id=self.attached.chain_id,
                nonce=slot.nonce,
                to=slot.to_address,
                data=slot.calldata,
                value=slot.value,
                gas=slot.gas_limit,
                max_fee=fees.max_fee,
                priority_fee=fees.priority_fee,
            )
        )
        with begin(self.app.engine) as tx:
            return slots.add_attempt(
                tx,
                slot.id,
                signed.raw,
                signed.hash,
                fees.max_fee,
                fees.priority_fee,
                self.app.now(),
                epoch=self._epoch,
            )

    def _mark_sent(self, attempt: int) -> None:
        now = self.app.now()
        with begin(self.app.engine) as tx:
            signers.renew_lease(tx, self._row, self._owner, self._epoch, now, LEASE_SECONDS)
            slots.mark_sent(tx, attempt, now, epoch=self._epoch)

    def _send(self, attempt: AttemptRow) -> None:
        hint = self.app.node.send_raw(attempt.raw)
        if hint.kind is not HintKind.ACCEPTED:
            with begin(self.app.engine) as tx:
                slots.note_error(tx, attempt.id, hint.text)


def _landed(members: Sequence[IntentRow], call: Call, program: ProgramRow | None, receipt: Receipt) -> list[Landed]:
    """The outcome of each intent that the receipt proves; calls that mint nothing are proved by its success."""
    if call.contract is None:
        return [Landed(member.id, log_index=None) for member in members]
    membership = program.membership if program is not None else None
    outcomes = logs.outcomes(receipt, call.contract, call.token_ids, membership)
    landed = []
    for member, token_id in zip(members, call.token_ids, strict=True):
        outcome = outcomes[token_id]
        if isinstance(outcome, logs.Minted):
            landed.append(Landed(member.id, log_index=outcome.log_index))
        elif isinstance(outcome, logs.Skipped):
            landed.append(Landed(member.id, log_index=None, code=outcome.code))
    return landed


def work(
    app: App,
    attached: Attached,
    signer: Signer,
    *,
    finality_blocks: int | None,
    done: Callable[[], bool],
    group: Group | None = None,
    tick: Callable[[], None] = lambda: None,
    on_blocked: Callable[[Blocked], None] | None = None,
    on_busy: Callable[[SignerBusy], None] = lambda busy: None,
    on_trouble: Callable[[LoyaltyError], None] = lambda trouble: None,
    retry_pauses: Sequence[float] | None = None,
    pause_seconds: float = 0.2,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send until `done()`; if another living process sends for this signer, watch it do the work instead (`on_busy` is
    told each time that is found). Raises SignerHalted also while watching.

    `on_blocked` decides what a block means (raise, or return to wait); without it the block's reason is raised. With
    `group` only a block of that group counts: what else waits for this signer is no concern of the caller. Either is
    asked once no transaction is under way any more, or at once if the money is gone, for then what is under way may be
    waiting for money too.

    A node that answered before and fails then is tried again after each of `retry_pauses` (in seconds, by default
    RETRY_PAUSES); `on_trouble` is told. Its last failure is raised.
    """

    def on_block(blocked: Blocked) -> None:
        if on_blocked is None:
            raise blocked.reason
        on_blocked(blocked)

    patience = RETRY_PAUSES if retry_pauses is None else retry_pauses
    answered = False
    pauses: list[float] = []
    while not done():
        try:
            with Sender(app, attached, signer, finality_blocks=finality_blocks) as engine:
                if not answered:
                    answered, pauses = True, list(patience)
                while not done():
                    moved = engine.step()
                    pauses = list(patience)
                    tick()
                    blocked = None if moved else engine.blocked_now(group)
                    if blocked is not None:
                        on_block(blocked)
                    if not moved:
                        sleep(pause_seconds)
        except SignerBusy as busy:
            on_busy(busy)
            blocked = None
            try:
                blocked = _seen_from_aside(app, attached, signer, group)
            except (NodeUnreachable, NodeRefused) as trouble:
                on_trouble(trouble)
            tick()
            if blocked is not None and not done():
                on_block(blocked)
            sleep(max(pause_seconds, 0.5))
        except (NodeUnreachable, NodeRefused) as trouble:
            if not pauses:
                raise
            on_trouble(trouble)
            sleep(pauses.pop(0))


def _seen_from_aside(app: App, attached: Attached, signer: Signer, group: Group | None) -> Blocked | None:
    """Why the process that holds the lease sends nothing of this group. None while its transactions are under way.

    Raises SignerHalted.
    """
    with begin(app.engine) as tx:
        row = signers.register(tx, attached.row, signer.address)
        under_way = slots.not_included_count(tx, row.id)
    if row.halted is not None:
        raise SignerHalted(f"signer {row.address} is halted: {row.halted}", mend=HALTED_MEND)
    if under_way:
        return None
    return Gathering(app, signer.address, row.id).hindrance(group)
