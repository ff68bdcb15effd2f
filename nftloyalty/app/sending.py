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
import os
import socket
import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import TracebackType
from typing import NoReturn

from sqlalchemy import Connection

from nftloyalty.app.calls import ACTS, BATCHED_KINDS, Call, build
from nftloyalty.app.context import App
from nftloyalty.app.opening import Attached
from nftloyalty.chain import logs, sender
from nftloyalty.chain.client import HintKind, Receipt
from nftloyalty.chain.contracts import Membership, QuotaKind, Stamps
from nftloyalty.chain.sender import Fees
from nftloyalty.chain.signer import Signer, TxFields
from nftloyalty.domain.batch import TRANSACTION_GAS_CAP
from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.domain.quota import fit
from nftloyalty.errors import (
    ChainProblem,
    LoyaltyError,
    NodeRefused,
    OutOfFunds,
    QuotaSpent,
    Reverted,
    SignerBusy,
    SignerHalted,
)
from nftloyalty.store import intents, programs, signers, slots
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Group, IntentRow, Landed
from nftloyalty.store.programs import ProgramRow
from nftloyalty.store.slots import AttemptRow, SlotRow, WatchedSlot

log = logging.getLogger(__name__)

LEASE_SECONDS = 60
RESEND_AFTER = timedelta(seconds=15)
FEES_LAST = timedelta(seconds=1)
GATHER_AT_MOST = 500
GAS_MARGIN_PERCENT = 20
# How long a nonce must have been used up by a transaction nobody can show before it counts as somebody else's.
FOREIGN_AFTER = timedelta(seconds=30)


@dataclass(frozen=True)
class Blocked:
    """Why nothing more is sent for now. `quota` = it opens again with the next UTC day."""

    reason: LoyaltyError
    quota: bool


def process_name() -> str:
    """This process as a lease owner: host, pid and start, so that a dead one is told from a living one."""
    return f"{socket.gethostname()}/{os.getpid()}/{_started(os.getpid())}"


def _started(pid: int) -> str:
    """Start time of a process in clock ticks, so that a reused pid is not mistaken for its former owner."""
    try:
        return Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()[19]
    except OSError:
        return "0"


def owner_alive(owner: str) -> bool:
    """Whether a lease owner may still be running. Only a process of this host can be known to be dead."""
    host, pid, started = owner.rsplit("/", 2)
    if host != socket.gethostname():
        return True
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return _started(int(pid)) == started


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
        self._owner = process_name()
        self._row = 0
        self._epoch = 0
        self._renew_at = app.now()
        self._gas_of_blocks: int | None = None
        self._passed: dict[int, datetime] = {}
        # What a former process marked as sent may never have left.
        self._unsure = True
        self._head = ""
        self._market: tuple[datetime, Fees] | None = None

    def __enter__(self) -> "Sender":
        with begin(self.app.engine) as tx:
            self._row = signers.register(tx, self.attached.row, self.signer.address).id
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
        """Compare the chain's nonce with our books before anything is sent (docs/architecture.md, Sending)."""
        chain_nonce = self.app.node.nonce(self.signer.address)
        with begin(self.app.engine) as tx:
            row = signers.get(tx, self._row)
            if row.halted is None:
                next_nonce = signers.set_next_nonce_first_time(tx, self._row, chain_nonce)
        if row.halted is not None:
            raise SignerHalted(f"signer {row.address} is halted: {row.halted}", mend="see docs/operating.md")
        if chain_nonce > next_nonce:
            self._halt(
                f"foreign nonce {next_nonce}: the chain is at {chain_nonce}, so the key was used elsewhere or the "
                "database is an old copy"
            )

    def _halt(self, reason: str) -> NoReturn:
        with begin(self.app.engine) as tx:
            signers.halt(tx, self._row, reason)
        raise SignerHalted(f"signer {self.signer.address} is halted: {reason}", mend="see docs/operating.md")

    # -------------------------------------------------------------------------------------------------------- step

    def step(self) -> bool:
        """Do what can be done now: settle what the chain has taken in, send again what it lost, send what waits.

        Returns whether anything moved. Interrupting between steps is always safe.
        """
        self._keep_lease()
        moved = self._finish_unsent()
        moved |= self._watch()
        self.blocked.clear()
        while self._not_included() < self.app.settings.window:
            if not self._send_next():
                break
            moved = True
        return moved

    def blocked_now(self, group: Group | None) -> Blocked | None:
        """What stops this group, or any if None, after the step just made; None while transactions are under way."""
        blocked = self.blocked.get(group) if group is not None else next(iter(self.blocked.values()), None)
        if blocked is not None and not isinstance(blocked.reason, OutOfFunds) and self._not_included():
            return None
        return blocked

    def _keep_lease(self) -> None:
        now = self.app.now()
        if now >= self._renew_at:
            with begin(self.app.engine) as tx:
                signers.renew_lease(tx, self._row, self._owner, self._epoch, now, LEASE_SECONDS)
            self._renew_at = now + timedelta(seconds=LEASE_SECONDS / 3)

    def _not_included(self) -> int:
        with read(self.app.engine) as tx:
            return slots.not_included_count(tx, self._row)

    def _finish_unsent(self) -> bool:
        """Sign and send what a former process reserved or signed and did not get to send."""
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
        self._mark_sent(open_slot.attempts[-1].id)
        self._send(open_slot.attempts[-1])
        return True

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
                program = _program_of(tx, members)
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
        gathered = self._gather()
        if gathered is None:
            return False
        members, call, gas = gathered
        self._sign_and_send(self._reserve(members, call, gas))
        return True

    def _gather(self) -> tuple[Sequence[IntentRow], Call, int] | None:
        """The next intents that the chain would take now; poisoned ones are rejected on the way."""
        while True:
            with read(self.app.engine) as tx:
                waiting = intents.waiting(tx, self._row, limit=GATHER_AT_MOST, skip=self.blocked)
                if not waiting:
                    return None
                program = _program_of(tx, waiting)
            group = Group(waiting[0].program, waiting[0].kind, waiting[0].stamp_type)
            if group.kind not in BATCHED_KINDS:
                waiting = waiting[:1]
            try:
                if group.kind in BATCHED_KINDS:
                    waiting = waiting[: self._room(group, program)]
                tried = self._measure(waiting, program)
                if tried is None:
                    continue
                self._check_funds(build(tried[0], program), tried[1])
            except _Wait as wait:
                self.blocked[group] = wait.blocked
                continue
            return tried[0], build(tried[0], program), tried[1]

    def _measure(
        self, waiting: Sequence[IntentRow], program: ProgramRow | None
    ) -> tuple[Sequence[IntentRow], int] | None:
        """As many of these as fit into one transaction, with its gas limit: the batch itself is tried and measured.

        A first stamp costs thrice a further one, so a price per item would be wrong for any batch but its sample.
        None after a refusal that was settled by rejecting items. Raises _Wait.
        """
        most = min(TRANSACTION_GAS_CAP, self._block_gas())
        while True:
            call = build(waiting, program)
            try:
                needed = sender.estimate(self.app.node, self.signer.address, call.to, call.data, call.value_wei)
            except Reverted as refusal:
                if refusal.name == "" and len(waiting) > 1:
                    # Out of gas looks like this on many nodes: it is the batch's size that is wrong, not an item.
                    waiting = waiting[: len(waiting) // 2]
                    continue
                self._sort_out(waiting, program, call, refusal)
                return None
            except NodeRefused:
                if len(waiting) == 1:
                    raise
                waiting = waiting[: len(waiting) // 2]
                continue
            gas = needed * (100 + GAS_MARGIN_PERCENT) // 100
            if gas <= most:
                return waiting, gas
            if len(waiting) == 1:
                if needed <= most:
                    return waiting, most
                raise _Wait(
                    Blocked(
                        ChainProblem(
                            f"this needs {needed:,} gas, and a transaction on this chain may use {most:,}",
                            mend="use a chain with larger blocks",
                        ),
                        quota=False,
                    )
                )
            waiting = waiting[: max(1, min(len(waiting) - 1, len(waiting) * most // gas))]

    def _block_gas(self) -> int:
        if self._gas_of_blocks is None:
            self._gas_of_blocks = self.app.node.block_gas_limit()
        return self._gas_of_blocks

    def _room(self, group: Group, program: ProgramRow | None) -> int:
        """How many more items today's quota has room for, those under way counted in. Raises _Wait if it has none.

        The chain counts what is mined: without this, batches sent one behind the other would pass their trials and then
        revert, and a batch larger than a day's quota would never be sent.
        """
        if program is None:
            raise ValueError(f"intents of kind {group.kind} belong to a program")
        with read(self.app.engine) as tx:
            under_way = intents.counts_by_state(tx, program.id, group.kind).get(IntentState.BATCHED, 0)
        room = quota_left(self.app, program, group.kind) - under_way
        if room <= 0:
            raise _Wait(Blocked(QuotaSpent("today's quota is used up", mend="go on tomorrow"), quota=True))
        return room

    def _refusal(self, call: Call) -> Reverted | None:
        self._keep_lease()
        return sender.refusal(self.app.node, self.signer.address, call.to, call.data, call.value_wei)

    def _sort_out(
        self, waiting: Sequence[IntentRow], program: ProgramRow | None, call: Call, refusal: Reverted
    ) -> None:
        """Find the items the contract refuses, reject them with its reason, and leave the others waiting.

        Raises _Wait for a refusal that is no item's. An operator's act is rejected whatever the reason: it must neither
        stand in the way of the next one (a pause in that of its end) nor come back later by itself.
        """
        if waiting[0].kind not in ACTS:
            _wait_for(refusal)
        poisoned: Sequence[tuple[IntentRow, Reverted]] = [(waiting[0], refusal)]
        if len(waiting) > 1:
            poisoned = sender.bisect_poison(waiting, lambda part: self._refusal(build(part, program)))
        with begin(self.app.engine) as tx:
            signers.hold(tx, self._row, self._epoch)
            for member, why in poisoned:
                intents.reject(tx, [member.id], self.app.now(), error=why.message)

    def _check_funds(self, call: Call, gas: int) -> None:
        with read(self.app.engine) as tx:
            promised = slots.promised_wei(tx, self._row)
        needs = promised + call.value_wei + gas * self._fees().max_fee
        has = self.app.node.balance(self.signer.address)
        if has < needs:
            raise _Wait(Blocked(OutOfFunds(self.signer.address, has, needs), quota=False))

    def _fees(self) -> Fees:
        """What to offer now: the market is asked once for trying, signing, and what follows within a second."""
        now = self.app.now()
        if self._market is None or not timedelta(0) <= now - self._market[0] < FEES_LAST:
            self._market = (now, sender.fees(self.app.node, self.app.settings.max_fee_wei))
        return self._market[1]

    def _reserve(self, members: Sequence[IntentRow], call: Call, gas: int) -> SlotRow:
        now = self.app.now()
        with begin(self.app.engine) as tx:
            signers.renew_lease(tx, self._row, self._owner, self._epoch, now, LEASE_SECONDS)
            return slots.reserve(
                tx,
                self._row,
                self._epoch,
                members[0].kind,
                call.to,
                call.data,
                call.value_wei,
                gas,
                [member.id for member in members],
                now,
            )

    def _sign_and_send(self, slot: SlotRow) -> None:
        attempt = self._sign_and_store(slot)
        self._mark_sent(attempt.id)
        self._send(attempt)

    def _sign_and_store(self, slot: SlotRow) -> AttemptRow:
        fees = self._fees()
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


class _Wait(Exception):
    """Inside the engine: this group can't be sent for now."""

    def __init__(self, blocked: Blocked) -> None:
        super().__init__(blocked.reason.message)
        self.blocked = blocked


def _wait_for(refusal: Reverted | None) -> None:
    """Raises _Wait for a refusal that says nothing about one item."""
    if refusal is not None and refusal.name in sender.BATCH_REFUSALS:
        raise _Wait(Blocked(refusal, quota=refusal.name.endswith("_QuotaExceeded")))


def quota_left(app: App, program: ProgramRow, kind: Kind) -> int:
    """How many more can be minted today as of the head; what is under way is not counted."""
    contract = Membership(app.node, program.membership) if kind is Kind.MINT_CARD else Stamps(app.node, program.stamps)
    head = app.node.head()
    quota = contract.quota_of(QuotaKind.MINT, block=head.hash)
    read_at = datetime.fromtimestamp(head.timestamp, UTC)
    return fit(quota.limit, quota.limit, quota.used, max(app.now(), read_at), read_at)


def _program_of(tx: Connection, members: Sequence[IntentRow]) -> ProgramRow | None:
    program = members[0].program
    return programs.get(tx, program) if program is not None else None


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
    pause_seconds: float = 0.2,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Send until `done()`; if another living process sends for this signer, watch it do the work instead (`on_busy` is
    told each time that is found). Raises SignerHalted also while watching.

    `on_blocked` decides what a block means (raise, or return to wait); without it the block's reason is raised. With
    `group` only a block of that group counts: what else waits for this signer is no concern of the caller. Either is
    asked once no transaction is under way any more, or at once if the money is gone, for then what is under way may be
    waiting for money too.
    """
    while not done():
        try:
            with Sender(app, attached, signer, finality_blocks=finality_blocks) as engine:
                while not done():
                    moved = engine.step()
                    tick()
                    blocked = None if moved else engine.blocked_now(group)
                    if blocked is not None:
                        if on_blocked is None:
                            raise blocked.reason
                        on_blocked(blocked)
                    if not moved:
                        sleep(pause_seconds)
        except SignerBusy as busy:
            on_busy(busy)
            with begin(app.engine) as tx:
                row = signers.register(tx, attached.row, signer.address)
            if row.halted is not None:
                raise SignerHalted(
                    f"signer {row.address} is halted: {row.halted}", mend="see docs/operating.md"
                ) from None
            tick()
            sleep(max(pause_seconds, 0.5))
