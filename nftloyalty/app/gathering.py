"""What one signer can send next, found out by asking chain and books. Nothing here writes or sends.

The batch itself is tried and measured: a first stamp costs thrice a further one, so a price per item would be wrong for
any batch but its sample.
"""

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from sqlalchemy import Connection

from nftloyalty.app.calls import ACTS, BATCHED_KINDS, Call, build
from nftloyalty.app.context import App
from nftloyalty.chain import sender
from nftloyalty.chain.contracts import Membership, QuotaKind, Stamps
from nftloyalty.chain.sender import Fees
from nftloyalty.domain.address import Address
from nftloyalty.domain.batch import TRANSACTION_GAS_CAP
from nftloyalty.domain.intent import IntentState, Kind
from nftloyalty.domain.quota import fit
from nftloyalty.errors import (
    ChainProblem,
    FeesTooHigh,
    LoyaltyError,
    NodeRefused,
    OutOfFunds,
    QuotaSpent,
    Reverted,
)
from nftloyalty.store import intents, programs, slots
from nftloyalty.store.engine import read
from nftloyalty.store.intents import Group, IntentRow
from nftloyalty.store.programs import ProgramRow

GATHER_AT_MOST = 500
GAS_MARGIN_PERCENT = 20
FEES_LAST = timedelta(seconds=1)
# A row whose transaction has failed this often on chain, each time after a trial that passed, is given up.
MOST_REVERTS = 4


@dataclass(frozen=True)
class Blocked:
    """Why nothing more is sent for now. `quota` = it opens again with the next UTC day."""

    reason: LoyaltyError
    quota: bool = False


class Wait(Exception):
    """What was asked about can't be sent for now, for a reason that is no item's."""

    def __init__(self, blocked: Blocked) -> None:
        super().__init__(blocked.reason.message)
        self.blocked = blocked


@dataclass(frozen=True)
class Ready:
    """One transaction that would pass now. `gas` is its limit, margin included."""

    members: tuple[IntentRow, ...]
    call: Call
    gas: int


@dataclass(frozen=True)
class Spoiled:
    """Items to be rejected, each with its reason in words, before anything else of their group is sent."""

    items: tuple[tuple[IntentRow, str], ...]


class Gathering:
    """Asks for one signer. `row` is its row in the database; `between` is called during long searches."""

    def __init__(self, app: App, signer: Address, row: int, between: Callable[[], None] = lambda: None) -> None:
        self.app = app
        self.signer = signer
        self.row = row
        self._between = between
        self._gas_of_blocks: int | None = None
        self._market: tuple[datetime, Fees] | None = None

    def waiting(self, *, only: Group | None = None, skip: Collection[Group] = ()) -> list[IntentRow]:
        """What waits of one group, as much as a transaction may hold; see `intents.waiting`."""
        with read(self.app.engine) as tx:
            return intents.waiting(tx, self.row, limit=GATHER_AT_MOST, only=only, skip=skip)

    def try_next(self, waiting: Sequence[IntentRow]) -> Ready | Spoiled:
        """The transaction for as many of these waiting intents of one group, from the first, as fit into one.

        Raises Wait if nothing of the group can be sent for now.
        """
        gone = _given_up(waiting[0])
        if gone is not None:
            return gone
        program = self._program_of(waiting)
        tried = self._measured(self._allowed(waiting, program), program)
        if isinstance(tried, Ready):
            self.check_funds(tried)
            return tried
        members, refusal = tried
        return self._spoilers(members, program, refusal)

    def hindrance(self, group: Group | None) -> Blocked | None:
        """Why nothing of this group (None = of any) could be sent now; for one who watches another sender at work."""
        waiting = self.waiting(only=group)
        if not waiting:
            return None
        program = self._program_of(waiting)
        try:
            tried = self._measured(self._allowed(waiting, program), program)
            if isinstance(tried, Ready):
                self.check_funds(tried)
            elif waiting[0].kind not in ACTS:
                _wait_for(tried[1])
        except Wait as wait:
            return wait.blocked
        return None

    def check_funds(self, ready: Ready) -> None:
        """Raises Wait if what is under way and this transaction may cost more than the signer has."""
        with read(self.app.engine) as tx:
            promised = slots.promised_wei(tx, self.row)
        needs = promised + ready.call.value_wei + ready.gas * self.fees().max_fee
        has = self.app.node.balance(self.signer)
        if has < needs:
            raise Wait(Blocked(OutOfFunds(self.signer, has, needs)))

    def fees(self) -> Fees:
        """What to offer now: the market is asked once for trying, signing, and what follows within a second.

        Raises Wait while gas costs more than the operator's ceiling.
        """
        now = self.app.now()
        if self._market is None or not timedelta(0) <= now - self._market[0] < FEES_LAST:
            try:
                self._market = (now, sender.fees(self.app.node, self.app.settings.max_fee_wei))
            except FeesTooHigh as dear:
                raise Wait(Blocked(dear)) from None
        return self._market[1]

    def _allowed(self, waiting: Sequence[IntentRow], program: ProgramRow | None) -> Sequence[IntentRow]:
        """Those of the first that may share a transaction, before its gas is asked about."""
        if waiting[0].kind not in BATCHED_KINDS:
            return waiting[:1]
        return _in_small_company(waiting)[: self._room(waiting[0].kind, program)]

    def _measured(
        self, waiting: Sequence[IntentRow], program: ProgramRow | None
    ) -> Ready | tuple[Sequence[IntentRow], Reverted]:
        """As many of these as fit, tried and measured; or those that were tried last, and the contract's refusal."""
        most = min(TRANSACTION_GAS_CAP, self._block_gas())
        while True:
            call = build(waiting, program)
            try:
                needed = sender.estimate(self.app.node, self.signer, call.to, call.data, call.value_wei)
            except Reverted as refusal:
                # Out of gas has no name on many nodes: it is the batch's size that is wrong, not an item. Under a cap
                # that is nearly reached a part may still pass.
                if len(waiting) > 1 and (refusal.name == "" or refusal.name.endswith("_CapReached")):
                    waiting = waiting[: len(waiting) // 2]
                    continue
                return waiting, refusal
            except NodeRefused:
                if len(waiting) == 1:
                    raise
                waiting = waiting[: len(waiting) // 2]
                continue
            gas = needed * (100 + GAS_MARGIN_PERCENT) // 100
            if gas <= most:
                return Ready(tuple(waiting), call, gas)
            if len(waiting) == 1:
                if needed <= most:
                    return Ready(tuple(waiting), call, most)
                raise Wait(
                    Blocked(
                        ChainProblem(
                            f"this needs {needed:,} gas, and a transaction on this chain may use {most:,}",
                            mend="use a chain with larger blocks",
                        )
                    )
                )
            waiting = waiting[: max(1, min(len(waiting) - 1, len(waiting) * most // gas))]

    def _spoilers(self, members: Sequence[IntentRow], program: ProgramRow | None, refusal: Reverted) -> Spoiled:
        """The items the contract refuses, with its reasons. Raises Wait for a refusal that is no item's.

        An operator's act is refused whatever the reason: it must neither stand in the way of the next one (a pause in
        that of its end) nor come back later by itself.
        """
        if members[0].kind not in ACTS:
            _wait_for(refusal)
        if len(members) == 1:
            return Spoiled(((members[0], refusal.message),))

        def refused(part: Sequence[IntentRow]) -> Reverted | None:
            self._between()
            call = build(part, program)
            return sender.refusal(self.app.node, self.signer, call.to, call.data, call.value_wei)

        found = sender.bisect_poison(members, refused)
        return Spoiled(tuple((member, why.message) for member, why in found))

    def _room(self, kind: Kind, program: ProgramRow | None) -> int:
        """How many more items today's quota has room for, those under way counted in. Raises Wait if it has none.

        The chain counts what is mined: without this, batches sent one behind the other would pass their trials and then
        revert, and a batch larger than a day's quota would never be sent.
        """
        if program is None:
            raise ValueError(f"intents of kind {kind} belong to a program")
        with read(self.app.engine) as tx:
            under_way = intents.counts_by_state(tx, program.id, kind).get(IntentState.BATCHED, 0)
        room = quota_left(self.app, program, kind) - under_way
        if room <= 0:
            raise Wait(Blocked(QuotaSpent("today's quota is used up", mend="go on tomorrow"), quota=True))
        return room

    def _block_gas(self) -> int:
        if self._gas_of_blocks is None:
            self._gas_of_blocks = self.app.node.block_gas_limit()
        return self._gas_of_blocks

    def _program_of(self, members: Sequence[IntentRow]) -> ProgramRow | None:
        with read(self.app.engine) as tx:
            return program_of(tx, members)


def program_of(tx: Connection, members: Sequence[IntentRow]) -> ProgramRow | None:
    """The program that intents of one group belong to."""
    program = members[0].program
    return programs.get(tx, program) if program is not None else None


def quota_left(app: App, program: ProgramRow, kind: Kind) -> int:
    """How many more can be minted today as of the head; what is under way is not counted."""
    contract = Membership(app.node, program.membership) if kind is Kind.MINT_CARD else Stamps(app.node, program.stamps)
    head = app.node.head()
    quota = contract.quota_of(QuotaKind.MINT, block=head.hash)
    read_at = datetime.fromtimestamp(head.timestamp, UTC)
    return fit(quota.limit, quota.limit, quota.used, max(app.now(), read_at), read_at)


def _given_up(first: IntentRow) -> Spoiled | None:
    if first.reverts < MOST_REVERTS:
        return None
    why = f"its transaction failed {first.reverts} times on chain, each time after a trial that passed"
    return Spoiled(((first, why),))


def _in_small_company(waiting: Sequence[IntentRow]) -> Sequence[IntentRow]:
    """Rows that may share a transaction: the oftener the first has failed on chain, the fewer, none worse than it.

    A trial that passes and a transaction that fails differ by what happened between them. Where that comes back again
    and again, smaller batches find the row it hangs on, and the others are not paid for over and over.
    """
    failed = waiting[0].reverts
    most = max(1, GATHER_AT_MOST >> 3 * failed)
    return list(takewhile(lambda row: row.reverts <= failed, waiting[:most]))


def _wait_for(refusal: Reverted) -> None:
    """Raises Wait for a refusal that says nothing about one item."""
    if refusal.name in sender.BATCH_REFUSALS:
        raise Wait(Blocked(refusal, quota=refusal.name.endswith("_QuotaExceeded")))
