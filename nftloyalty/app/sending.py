"""The sending engine: from intents in the database to tokens on the chain, each exactly once.

One `Sender` works for one signer while it holds the signer's lease. A step is a short transaction or a talk with the
node, never both at once; a process that dies between two steps leaves a database from which the next one goes on:

    slot RESERVED, no attempt        its bytes were never made: sign now
    slot SIGNED                      bytes stored, perhaps never sent: send them
    slot BROADCASTING                bytes perhaps sent: ask for the receipt, send the same bytes again
    slot INCLUDED                    wait until it can no longer be undone

The node's answer to a broadcast decides nothing: only a receipt with our own event does. What can be sent next is found
by `gathering`, what became of what was sent by `settling`. Several slots make each step together.
"""

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from types import TracebackType

from nftloyalty.app.context import App
from nftloyalty.app.gathering import GAS_MARGIN_PERCENT, Blocked, Gathered, Gathering, Ready, Wait
from nftloyalty.app.leases import Lease
from nftloyalty.app.opening import Attached, check_chain
from nftloyalty.app.settling import HALTED_MEND, Watcher, halt
from nftloyalty.chain import sender
from nftloyalty.chain.client import HintKind
from nftloyalty.chain.sender import Fees
from nftloyalty.chain.signer import Signer, TxFields
from nftloyalty.domain.intent import IllegalTransition, SlotState
from nftloyalty.errors import (
    ChainProblem,
    FeesTooHigh,
    KeyUnreachable,
    LoyaltyError,
    NodeRefused,
    NodeUnreachable,
    OutOfFunds,
    SignerBusy,
    SignerHalted,
    SigningProblem,
)
from nftloyalty.store import chains, intents, signers, slots
from nftloyalty.store import sending as store
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Group
from nftloyalty.store.sending import NewAttempt, NewSlot
from nftloyalty.store.slots import AttemptRow, OpenSlot, SlotRow, WatchedSlot

log = logging.getLogger(__name__)

RESEND_AFTER = timedelta(seconds=15)
# A transaction that has waited so long is offered more even where the market seems not to have moved.
DEARER_AFTER = timedelta(minutes=3)
# Time alone is a reason to offer up to so many times what the market asks. A chain that stands still takes no price.
MOST_TIMES = 2
# A restart of a development chain breaks the connection, which is noticed; a node behind a balancer may just change.
CHAIN_CHECK_EVERY = timedelta(seconds=1)
# How long a node that answered before is waited for, in seconds from one try to the next.
RETRY_PAUSES = (1.0, 2.0, 4.0, 8.0, 15.0, 30.0, 60.0)


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
        self._gathering = Gathering(app, signer.address, 0, between=lambda: self._lease.keep())
        # What a former process marked as sent may never have left, and what it reserved or signed waits for us.
        self._unsure = True
        self._unsent = True
        self._held: Blocked | None = None
        self._short: Blocked | None = None
        self._said: str | None = ""
        self._chain_seen_at: datetime | None = None

    def __enter__(self) -> "Sender":
        with begin(self.app.engine) as tx:
            self._row = self._gathering.row = signers.register(tx, self.attached.row, self.signer.address).id
            self._has_namesake = chains.has_namesake(tx, self.attached.chain_id, self.attached.genesis_hash)
        self._lease = Lease(self.app, self._row)
        self._watcher = Watcher(self.app, self._lease, self.signer.address, self.finality_blocks)
        try:
            self._barrier()
        except BaseException:
            self._lease.release()
            raise
        log.info("this process sends with %s now", self.signer.address)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lease.release()

    # ---------------------------------------------------------------------------------------------------- start-up

    def _barrier(self) -> None:
        """Compare chain and books before anything is sent (docs/architecture.md, Sending)."""
        check_chain(self.app, self.attached)
        # A node that can't tell what is final is found out here, not with the first transaction under way.
        self.app.node.finalized(self.finality_blocks)
        chain_nonce = self._chain_nonce()
        pending = self._pending_nonce()
        with begin(self.app.engine) as tx:
            row = signers.get(tx, self._row)
            if row.halted is None:
                next_nonce = signers.set_next_nonce_first_time(tx, self._row, chain_nonce)
            under_way = [each.slot.nonce for each in slots.open_slots(tx, self._row)]
        if row.halted is not None:
            raise SignerHalted(f"signer {row.address} is halted: {row.halted}", mend=HALTED_MEND)
        if chain_nonce > next_nonce:
            halt(
                self.app,
                self._row,
                self.signer.address,
                f"foreign nonce {next_nonce}: the chain is at {chain_nonce}, so the key was used elsewhere or the "
                "database is an old copy",
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

    def _chain_nonce(self) -> int:
        """What the chain says the next nonce is, told twice: the books begin with it, and more than theirs halts the
        signer. Raises NodeUnreachable if the node contradicts itself, time and again: a block may come in between."""
        node, address = self.app.node, self.signer.address
        for _ in range(3):
            head = node.head().number
            first, of_head, last = node.nonce(address), node.nonce(address, head), node.nonce(address)
            if of_head <= first <= last:
                return of_head
        raise NodeUnreachable(node.shown_url, f"it tells the nonce of {address} as {first}, {of_head} and {last}")

    def _pending_nonce(self) -> int:
        """The nonce after what waits in the node's pool; 0 where it does not tell."""
        with suppress(NodeRefused):
            return self.app.node.nonce(self.signer.address, "pending")
        return 0

    # -------------------------------------------------------------------------------------------------------- step

    def step(self) -> bool:
        """Do what can be done now: settle what the chain has taken in, send again what it lost, send what waits.

        Returns whether anything moved. Interrupting between steps is always safe.
        """
        self._lease.keep()
        self._check_chain()
        self._held = None
        moved = False
        try:
            moved = self._cancel()
            moved |= self._finish_unsent()
        except Wait as wait:
            self._held = wait.blocked
        watched = self._watcher.watch()
        moved |= watched.moved
        moved |= self._send_again(watched.lost)
        # Nodes do not take the transactions of an undone block back into their pool for sure.
        self._unsure |= watched.undone
        self.blocked.clear()
        try:
            while self._held is None and self._send_next():
                moved = True
        except Wait as wait:
            # Gas became too dear between trying and signing: the slots are reserved, and signed once it is cheaper.
            self._held = wait.blocked
        self._say()
        return moved

    def blocked_now(self, group: Group | None) -> Blocked | None:
        """What stops this group, or any if None, after the step just made; None while transactions are under way."""
        if self._held is not None:
            return None if self._on_the_wire() else self._held
        if self._short is not None:
            return self._short
        blocked = self.blocked.get(group) if group is not None else next(iter(self.blocked.values()), None)
        if blocked is not None and not isinstance(blocked.reason, OutOfFunds) and self._not_included():
            return None
        return blocked

    def _check_chain(self) -> None:
        now = self.app.now()
        if self._chain_seen_at is None or not timedelta(0) <= now - self._chain_seen_at < CHAIN_CHECK_EVERY:
            check_chain(self.app, self.attached)
            self._chain_seen_at = now

    def _not_included(self) -> int:
        with read(self.app.engine) as tx:
            return slots.in_flight(tx, self._row).count

    def _on_the_wire(self) -> bool:
        """Whether bytes of ours may be in a node's pool."""
        with read(self.app.engine) as tx:
            return any(slot.state is not SlotState.INCLUDED for slot in slots.watched(tx, self._row))

    def _say(self) -> None:
        """Write down what is waited for, where it has changed, for those who look from elsewhere."""
        waits = [each for each in (self._held, self._short) if each is not None] or list(self.blocked.values())
        said = "; ".join(dict.fromkeys(each.reason.message for each in waits)) or None
        if said != self._said:
            with begin(self.app.engine) as tx:
                alone = all(each.alone for each in waits)
                signers.note_waiting(tx, self._row, said, self.app.now(), alone=alone)
            self._said = said

    # ----------------------------------------------------------------------------------------- what was begun before

    def _finish_unsent(self) -> bool:
        """Sign and send what was reserved or signed and not sent. Raises Wait if it can't be paid at today's fees."""
        if not self._unsent:
            return False
        with read(self.app.engine) as tx:
            unsent = slots.open_slots(tx, self._row, {SlotState.RESERVED, SlotState.SIGNED})
        made = [each.attempts[-1] for each in unsent if each.attempts]
        if made:
            self._mark_and_send(made)
        bare = [each.slot for each in unsent if not each.attempts]
        if bare:
            self._sign_and_send(bare)
        self._unsent = False
        return bool(unsent)

    def _cancel(self) -> bool:
        """Make the empty transactions that operators have asked for. Raises Wait where they can't be paid."""
        with read(self.app.engine) as tx:
            asked = slots.to_cancel(tx, self._row)
        if not asked:
            return False
        gas = sender.estimate(self.app.node, self.signer.address, self.signer.address, b"")
        self._unsent = True
        attempts = []
        for each in asked:
            fees = self._dearer(each.attempts) if each.attempts else self._gathering.fees()
            attempts.append(self._sign_noop(each.slot, fees, gas * (100 + GAS_MARGIN_PERCENT) // 100))
        self._mark_and_send(attempts)
        return True

    def _send_again(self, lost: Sequence[WatchedSlot]) -> bool:
        """No block has these: send the same bytes again, at once or when the last time was long ago."""
        at_once, self._unsure = self._unsure, False
        now = self.app.now()
        old = {
            slot.id: slot
            for slot in lost
            if at_once or slot.last_sent_at is None or abs(now - slot.last_sent_at) >= RESEND_AFTER
        }
        if not lost:
            self._short = None
        if not old:
            return False
        # What is under way may be waiting for money, which a full window would never find out.
        self._short = None if at_once else self._gathering.shortage()
        with read(self.app.engine) as tx:
            found = [each for each in slots.open_slots(tx, self._row, slots.NOT_INCLUDED) if each.slot.id in old]
        # First what is signed already: it needs neither key nor money nor a word of the market.
        self._mark_and_send([each.attempts[-1] for each in found])
        offers = []
        for each in found:
            sent_at = old[each.slot.id].last_sent_at
            if self._short is None and (sent_at is None or abs(now - sent_at) >= RESEND_AFTER):
                with suppress(Wait):
                    offers.append(self._offer_more(each, first=each.slot.id == lost[0].id))
        made = [offer for offer in offers if offer is not None]
        if made:
            self._mark_and_send(made)
        return True

    def _is_stuck(self, first: OpenSlot) -> bool:
        """Whether the node still waits for this nonce after its bytes were sent twice: then it keeps them where it does
        not carry them out. anvil does so, if it takes them at the moment in which it mines those before."""
        (attempt, *more) = first.attempts
        twice = attempt.first_sent_at != attempt.last_sent_at
        return not more and twice and self._pending_nonce() == first.slot.nonce

    def _offer_more(self, slot: OpenSlot, *, first: bool) -> AttemptRow | None:
        """Another attempt for a slot that the market has left behind or, if it is the `first` that the chain waits for,
        that has waited long or that nothing else moves. None, or raises Wait, if it is not to be: it has been offered
        enough, or as much as may be. The nonce keeps it at one of them at most."""
        last = slot.attempts[-1]
        fees = self._dearer(slot.attempts)
        market = self._gathering.fees()
        modest = fees.max_fee <= MOST_TIMES * market.max_fee and fees.priority_fee <= MOST_TIMES * market.priority_fee
        waits_long = modest and self.app.now() - last.created_at >= DEARER_AFTER
        if market.max_fee < fees.max_fee and not (first and (waits_long or self._is_stuck(slot))):
            return None
        dearest = max(each.max_fee_wei for each in slot.attempts)
        if self._gathering.shortage(slot.slot.gas_limit * (fees.max_fee - dearest)) is not None:
            # What the key can not pay for is helped by no other price.
            return None
        if last.noop:
            return self._sign_noop(slot.slot, fees, None)
        (attempt,) = self._sign_and_store([slot.slot], fees)
        return attempt

    def _dearer(self, attempts: Sequence[AttemptRow]) -> Fees:
        """Fees that nodes take in the place of these attempts: both at least an eighth above the dearest, and at least
        today's. Raises Wait if that passes the ceiling."""
        now = self._gathering.fees()
        max_fee = max(now.max_fee, *(-(-9 * each.max_fee_wei // 8) for each in attempts))
        priority_fee = max(now.priority_fee, *(-(-9 * each.priority_fee_wei // 8) for each in attempts))
        ceiling = self.app.settings.max_fee_wei
        if max(max_fee, priority_fee) > ceiling:
            raise Wait(Blocked(FeesTooHigh(max_fee, ceiling)))
        return Fees(max(max_fee, priority_fee), priority_fee)

    # -------------------------------------------------------------------------------------------------------- send

    def _send_next(self) -> bool:
        """Gather, try, reserve, sign and send as much as may be in flight. False if nothing waits, all that waits is
        blocked, or as much is in flight already."""
        gathered = self._gather()
        self.blocked |= gathered.blocked
        self._reject(gathered)
        if gathered.ready:
            self._unsent = True
            reserved = self._reserve(gathered.ready)
            if reserved:
                self._sign_and_send(reserved)
            self._unsent = False
        return bool(gathered)

    def _gather(self) -> Gathered:
        return self._gathering.gather(self.app.settings.window, self.blocked)

    def _reject(self, gathered: Gathered) -> None:
        for item, why in gathered.spoiled:
            with begin(self.app.engine) as tx:
                self._lease.hold(tx)
                # What was withdrawn or asked for otherwise meanwhile is not what was tried.
                if intents.hold_unchanged(tx, self._row, [item]):
                    intents.reject(tx, [item.id], self.app.now(), error=why)

    def _reserve(self, ready: Sequence[Ready]) -> list[SlotRow]:
        """Slots for all of these. None if one of the intents is not any more what the calldata was made from: then
        they are gathered anew."""
        new = [
            NewSlot(each.members[0].kind, each.call.to, each.call.data, each.call.value_wei, each.gas, each.members)
            for each in ready
        ]
        try:
            with begin(self.app.engine) as tx:
                self._lease.renew(tx)
                return store.reserve(tx, self._row, self._lease.epoch, new, self.app.now())
        except IllegalTransition:
            return []

    def _sign_and_send(self, reserved: Sequence[SlotRow]) -> None:
        self._mark_and_send(self._sign_and_store(reserved))

    def _mark_and_send(self, attempts: Sequence[AttemptRow]) -> None:
        self._mark_sent(attempts)
        self._send(attempts)

    def _sign_and_store(self, reserved: Sequence[SlotRow], fees: Fees | None = None) -> list[AttemptRow]:
        """A new attempt for each slot, by default at today's fees. Raises Wait while they are above the ceiling."""
        fees = fees or self._gathering.fees()
        new = []
        for slot in reserved:
            # Somebody else may keep the key, and take seconds for each.
            self._lease.keep()
            fields = TxFields(
                chain_id=self.attached.chain_id,
                nonce=slot.nonce,
                to=slot.to_address,
                data=slot.calldata,
                value=slot.value,
                gas=slot.gas_limit,
                max_fee=fees.max_fee,
                priority_fee=fees.priority_fee,
            )
            new.append(self._signed(slot, fields))
        with begin(self.app.engine) as tx:
            return store.store_attempts(tx, self._row, self._lease.epoch, new, self.app.now())

    def _sign_noop(self, slot: SlotRow, fees: Fees, gas: int | None) -> AttemptRow:
        """An empty transaction to ourselves, in place of what the slot was for."""
        address = self.signer.address
        if gas is None:
            gas = sender.estimate(self.app.node, address, address, b"") * (100 + GAS_MARGIN_PERCENT) // 100
        fields = TxFields(
            chain_id=self.attached.chain_id,
            nonce=slot.nonce,
            to=address,
            data=b"",
            value=0,
            gas=gas,
            max_fee=fees.max_fee,
            priority_fee=fees.priority_fee,
        )
        new = self._signed(slot, fields, noop=True)
        with begin(self.app.engine) as tx:
            (attempt,) = store.store_attempts(tx, self._row, self._lease.epoch, [new], self.app.now())
        return attempt

    def _signed(self, slot: SlotRow, fields: TxFields, *, noop: bool = False) -> NewAttempt:
        signed = self.signer.sign_transaction(fields)
        while self._has_namesake and self._is_stored(signed.hash):
            # A development chain that was started anew has the same id, keys, nonces and fees as the one before: a wei
            # more makes other bytes, and a hash that stands for this chain alone.
            fields = replace(fields, max_fee=fields.max_fee + 1)
            signed = self.signer.sign_transaction(fields)
        return NewAttempt(slot.id, signed.raw, signed.hash, fields.max_fee, fields.priority_fee, noop)

    def _is_stored(self, tx_hash: str) -> bool:
        with read(self.app.engine) as tx:
            return slots.has_attempt(tx, tx_hash)

    def _mark_sent(self, attempts: Sequence[AttemptRow]) -> None:
        ids = [attempt.id for attempt in attempts]
        with begin(self.app.engine) as tx:
            self._lease.renew(tx)
            store.mark_sent(tx, self._row, self._lease.epoch, ids, self.app.now())

    def _send(self, attempts: Sequence[AttemptRow]) -> None:
        hints = self.app.node.send_raw_many([attempt.raw for attempt in attempts])
        for attempt in attempts:
            log.info("handed to the node", extra={"transaction": attempt.tx_hash})
        odd = [(each, hint) for each, hint in zip(attempts, hints, strict=True) if hint.kind is not HintKind.ACCEPTED]
        if odd:
            with begin(self.app.engine) as tx:
                for attempt, hint in odd:
                    slots.note_error(tx, attempt.id, hint.text)


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
        except (NodeUnreachable, NodeRefused, KeyUnreachable) as trouble:
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
        under_way = slots.in_flight(tx, row.id).count
    if row.halted is not None:
        raise SignerHalted(f"signer {row.address} is halted: {row.halted}", mend=HALTED_MEND)
    if under_way:
        return None
    return Gathering(app, signer.address, row.id).hindrance(group)
