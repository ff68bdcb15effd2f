"""What one signer can send next, found out by asking chain and books. Nothing here writes or sends.

Every transaction is tried before it is made. The first of a group of alike ones is measured by the node, which runs it
several times (eth_estimateGas); from then on its gas is known well enough to try the next ones once each, many in one
message, with the very limit they will carry (eth_call). What does not pass such a trial is then looked at the slow way,
which tells why.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import takewhile

from sqlalchemy import Connection

from nftloyalty.app.calls import ACTS, BATCHED_KINDS, MANAGED, Call, build
from nftloyalty.app.context import App
from nftloyalty.chain import client, sender
from nftloyalty.chain.client import Block
from nftloyalty.chain.contracts import Membership, QuotaKind, QuotaNow, Stamps, Supply
from nftloyalty.chain.sender import Fees
from nftloyalty.domain.address import Address
from nftloyalty.domain.batch import TRANSACTION_GAS_CAP
from nftloyalty.domain.intent import Kind
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
from nftloyalty.store.intents import Batchable, Group, WaitingRow
from nftloyalty.store.programs import ProgramRow

GATHER_AT_MOST = 500
GAS_MARGIN_PERCENT = 20
# Where a whole margin would pass the cap, a batch is sent with what is left, if that is at least so much.
LEAST_MARGIN_PERCENT = 5
FEES_LAST = timedelta(seconds=1)
# A row whose transaction has failed this often on chain, each time after a trial that passed, is given up.
MOST_REVERTS = 4
# Gas that is tried in one message; the node is busy with it for a part of a second.
TRIED_AT_ONCE = 4 * TRANSACTION_GAS_CAP
# What every transaction costs beside its items: the intrinsic 21,000, a proxy, roles, counters.
BASE_GAS = 40_000
# A trial by eth_call meets the time of the newest block, which on an idle chain may be of yesterday.
FRESH_SECONDS = 60


@dataclass(frozen=True)
class Blocked:
    """Why nothing more is sent for now. `quota` = it opens again with the next UTC day."""

    reason: LoyaltyError
    quota: bool = False

    @property
    def alone(self) -> bool:
        """Whether it is this key that can't go on, and another one might."""
        return isinstance(self.reason, OutOfFunds) or (
            isinstance(self.reason, Reverted) and self.reason.name in sender.KEY_REFUSALS
        )


class Wait(Exception):
    """What was asked about can't be sent for now, for a reason that is no item's."""

    def __init__(self, blocked: Blocked) -> None:
        super().__init__(blocked.reason.message)
        self.blocked = blocked


@dataclass(frozen=True)
class Ready:
    """One transaction that would pass now. `gas` is its limit, margin included; `measured` = the node has said how much
    it needs, else it is yet to be tried with that limit."""

    members: tuple[WaitingRow, ...]
    call: Call
    gas: int
    measured: bool = True

    @property
    def group(self) -> Group:
        return _group(self.members)


@dataclass(frozen=True)
class Spoiled:
    """Items to be rejected, each with its reason in words, before anything else of their group is sent."""

    items: tuple[tuple[WaitingRow, str], ...]


@dataclass
class Gathered:
    """What was found in one look: transactions to be sent in this order, items to be rejected, and groups of which
    nothing can be sent for now."""

    ready: list[Ready] = field(default_factory=list)
    spoiled: list[tuple[WaitingRow, str]] = field(default_factory=list)
    blocked: dict[Group, Blocked] = field(default_factory=dict)

    def __bool__(self) -> bool:
        return bool(self.ready or self.spoiled)


class Gathering:
    """Asks for one signer. `row` is its row in the database; `between` is called during long searches."""

    def __init__(self, app: App, signer: Address, row: int, between: Callable[[], None] = lambda: None) -> None:
        self.app = app
        self.signer = signer
        self.row = row
        self._between = between
        self._gas_of_blocks: int | None = None
        self._market: tuple[datetime, Fees] | None = None
        self._item_gas: dict[Group, int] = {}
        # What today's quotas have room for beside all that is under way and was gathered in this look.
        self._rooms: dict[tuple[int, Kind], int] = {}
        # The same for caps, and what is under way against a group's quota and its cap.
        self._caps: dict[Group, int] = {}
        self._under_way: dict[Group, tuple[int, int]] = {}
        # Whose turn it was last, by the count of transactions so far.
        self._turn = 0
        self._had: dict[Group | int | None, int] = {}

    def gather(self, window: int, skip: Mapping[Group, Blocked] | None = None) -> Gathered:
        """As many transactions that would pass now as may join those in flight: up to `window`, and together no more
        gas than a block holds. More would only wait in the node's pool, where fees leave it behind; and a development
        node that makes a block for each transaction forgets what does not fit.

        Programs take turns, and a program's groups among themselves, so that nobody's airdrop holds up another one's
        claim. Groups in `skip` are passed over.
        """
        found = Gathered()
        self._rooms.clear()
        self._caps.clear()
        with read(self.app.engine) as tx:
            in_flight = slots.in_flight(tx, self.row)
            space = window - in_flight.count
            waiting = intents.groups(tx, self.row) if space > 0 else []
            groups = [group for group in waiting if group not in (skip or {})]
            # The books before the chain: what is mined in between is counted twice rather than not at all.
            self._under_way = {group: _under_way(tx, group) for group in groups if group.kind in BATCHED_KINDS}
        if not groups:
            return found
        try:
            max_fee = self.fees().max_fee
        except Wait as wait:
            found.blocked |= dict.fromkeys(groups, wait.blocked)
            return found
        room = min(self._block_gas() - in_flight.gas, TRIED_AT_ONCE)
        alone = in_flight.count == 0
        tried: list[Ready] = []
        head = self.app.node.head()
        lines = {group: self._line(group, space, head, found) for group in groups}
        while lines and len(tried) + len(found.ready) < space:
            group = min(lines, key=self._order)
            upcoming = next(lines[group], None)
            if upcoming is not None and not isinstance(upcoming, Ready):
                # One that must be measured: what follows it in its group had better wait for what is learned.
                upcoming = self._one(upcoming, found)
                del lines[group]
            elif upcoming is None:
                del lines[group]
            if upcoming is None:
                continue
            if upcoming.gas > room and not alone:
                break
            (found.ready if upcoming.measured else tried).append(upcoming)
            room -= upcoming.gas
            alone = False
            self._take_room(upcoming, len(upcoming.members))
            self._turn += 1
            self._had[group] = self._had[group.program] = self._turn
        if tried or found.ready:
            self._pay(found, max_fee, has=self._try(tried, found))
        return found

    def _order(self, group: Group) -> tuple[int, int]:
        return self._had.get(group.program, 0), self._had.get(group, 0)

    def _line(self, group: Group, space: int, head: Block, found: Gathered) -> Iterator[Ready | Sequence[WaitingRow]]:
        """What waits of a group, a transaction's worth at a time: with its gas where that is known, else bare rows."""
        fresh = (self.app.now() - datetime.fromtimestamp(head.timestamp, UTC)).total_seconds() < FRESH_SECONDS
        batched = group.kind in BATCHED_KINDS
        item_gas = self._item_gas.get(group)
        with read(self.app.engine) as tx:
            limit = space
            if batched:
                limit = min(space * GATHER_AT_MOST, TRIED_AT_ONCE // item_gas if item_gas else GATHER_AT_MOST)
            rows: Sequence[WaitingRow] = intents.waiting(tx, self.row, group, limit=limit)
            program = program_of(tx, rows) if rows else None
        if not rows or (batched and not self._has_room(group, program, head, found)):
            return
        if item_gas is None or not fresh or any(row.reverts for row in rows):
            yield rows[:GATHER_AT_MOST]
            return
        cap = self._gas_cap()
        most = min(GATHER_AT_MOST, (cap * 100 // (100 + LEAST_MARGIN_PERCENT) - BASE_GAS) // item_gas)
        size = max(1, most) if batched else 1
        while rows:
            part = rows[: min(size, self._room(group, program, head))] if batched else rows[:1]
            rows = rows[len(part) :]
            gas = (BASE_GAS + item_gas * len(part)) * (100 + GAS_MARGIN_PERCENT) // 100
            yield Ready(tuple(part), build(part, program), min(gas, cap), measured=False)
            # The stamp types of a program share one quota, and other groups have had their turns meanwhile.
            if batched and rows and not self._has_room(group, program, head, found):
                return

    def _has_room(self, group: Group, program: ProgramRow | None, head: Block, found: Gathered) -> bool:
        try:
            return self._room(group, program, head) > 0
        except Wait as wait:
            found.blocked[group] = wait.blocked
            return False

    def _one(self, rows: Sequence[WaitingRow], found: Gathered) -> Ready | None:
        """Try what waits of one group the slow way. None if nothing of it can be sent now."""
        try:
            tried = self.try_next(rows)
        except Wait as wait:
            found.blocked[_group(rows)] = wait.blocked
            return None
        if isinstance(tried, Ready):
            return tried
        found.spoiled += tried.items
        return None

    def _try(self, tried: Sequence[Ready], found: Gathered) -> int:
        """Try these, each with the limit it will carry; look at the first that does not pass the slow way. Returns what
        the signer has, in wei, asked in the same message."""
        calls = [
            client.Call(each.call.to, each.call.data, self.signer, each.call.value_wei, each.gas).to_json()
            for each in tried
        ]
        node = self.app.node
        *answers, balance = node.batch(
            [*(("eth_call", [call, "latest"]) for call in calls), ("eth_getBalance", [self.signer, "latest"])]
        )
        has = node.read_quantity("eth_getBalance", balance)
        odd: set[Group] = set()
        for each, answer in zip(tried, answers, strict=True):
            if each.group in odd:
                continue
            if isinstance(answer, NodeRefused):
                odd.add(each.group)
                self._take_room(each, -len(each.members))
                measured = self._one(each.members, found)
                if measured is not None and measured.gas <= each.gas:
                    found.ready.append(measured)
            else:
                found.ready.append(each)
        return has

    def _pay(self, found: Gathered, max_fee: int, has: int) -> None:
        """Leave out what the signer could not pay for with `has` wei beside all that is under way, and what follows it
        in its group; what costs less goes on."""
        with read(self.app.engine) as tx:
            promised = slots.promised_wei(tx, self.row)
        paid: list[Ready] = []
        short: dict[Group, Blocked] = {}
        for each in found.ready:
            needs = promised + each.call.value_wei + each.gas * max_fee
            if each.group not in short and needs <= has:
                promised = needs
                paid.append(each)
            else:
                short.setdefault(each.group, Blocked(OutOfFunds(self.signer, has, needs)))
        found.ready = paid
        found.blocked |= short

    def try_next(self, waiting: Sequence[WaitingRow]) -> Ready | Spoiled:
        """The transaction for as many of these waiting intents of one group, from the first, as fit into one.

        Raises Wait if nothing of the group can be sent for now.
        """
        gone = _given_up(waiting[0])
        if gone is not None:
            return gone
        program = self._program_of(waiting)
        tried = self._measured(self._allowed(waiting, program), program)
        if isinstance(tried, Ready):
            return tried
        members, refusal = tried
        return self._spoilers(members, program, refusal)

    def hindrance(self, group: Group | None) -> Blocked | None:
        """Why nothing of this group (None = of any) could be sent now; for one who watches another sender at work."""
        self._rooms.clear()
        self._caps.clear()
        self._under_way.clear()
        with read(self.app.engine) as tx:
            group = group or next(iter(intents.groups(tx, self.row)), None)
            waiting = intents.waiting(tx, self.row, group, limit=GATHER_AT_MOST) if group is not None else []
            program = program_of(tx, waiting) if waiting else None
        if not waiting:
            return None
        try:
            tried = self._measured(self._allowed(waiting, program), program)
            if isinstance(tried, Ready):
                self.check_funds(tried)
            elif waiting[0].kind not in ACTS:
                _wait_for(tried[1])
        except Wait as wait:
            return wait.blocked
        return None

    def _check_has(self, wei: int) -> None:
        has = self.app.node.balance(self.signer)
        if has < wei:
            raise Wait(Blocked(OutOfFunds(self.signer, has, wei)))

    def check_funds(self, ready: Ready) -> None:
        """Raises Wait if what is under way and this transaction may cost more than the signer has."""
        with read(self.app.engine) as tx:
            promised = slots.promised_wei(tx, self.row)
        needs = promised + ready.call.value_wei + ready.gas * self.fees().max_fee
        has = self.app.node.balance(self.signer)
        if has < needs:
            raise Wait(Blocked(OutOfFunds(self.signer, has, needs)))

    def shortage(self, more: int = 0) -> Blocked | None:
        """What is missing to pay for what is in flight, and `more` wei."""
        with read(self.app.engine) as tx:
            needs = slots.promised_wei(tx, self.row) + more
        has = self.app.node.balance(self.signer)
        return Blocked(OutOfFunds(self.signer, has, needs)) if has < needs else None

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

    def _allowed(self, waiting: Sequence[WaitingRow], program: ProgramRow | None) -> Sequence[WaitingRow]:
        """Those of the first that may share a transaction, before its gas is asked about."""
        if waiting[0].kind not in BATCHED_KINDS:
            return waiting[:1]
        return _in_small_company(waiting)[: max(1, self._room(_group(waiting), program))]

    def _measured(
        self, waiting: Sequence[WaitingRow], program: ProgramRow | None
    ) -> Ready | tuple[Sequence[WaitingRow], Reverted]:
        """As many of these as fit, tried and measured; or those that were tried last, and the contract's refusal."""
        most = self._gas_cap()
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
                    # Some nodes try nothing whose coins are not there, and say so in words of their own.
                    self._check_has(call.value_wei)
                    raise
                waiting = waiting[: len(waiting) // 2]
                continue
            gas = min(needed * (100 + GAS_MARGIN_PERCENT) // 100, most)
            least = needed * (100 + LEAST_MARGIN_PERCENT) // 100
            if least <= gas or (len(waiting) == 1 and needed <= gas):
                self._learn(waiting, needed)
                return Ready(tuple(waiting), call, gas)
            if len(waiting) == 1:
                raise Wait(
                    Blocked(
                        ChainProblem(
                            f"this needs {needed:,} gas, and a transaction on this chain may use {most:,}",
                            mend="use a chain with larger blocks",
                        )
                    )
                )
            waiting = waiting[: max(1, min(len(waiting) - 1, len(waiting) * most // least))]

    def _learn(self, members: Sequence[WaitingRow], needed: int) -> None:
        """What one more item of a group costs, at the dearest seen. An act is like no other."""
        if members[0].kind not in ACTS:
            group = _group(members)
            each = -(-max(needed - BASE_GAS, needed // 4) // len(members))
            self._item_gas[group] = max(each, self._item_gas.get(group, 0))

    def _spoilers(self, members: Sequence[WaitingRow], program: ProgramRow | None, refusal: Reverted) -> Spoiled:
        """The items the contract refuses, with its reasons. Raises Wait for a refusal that is no item's.

        An operator's act is refused whatever the reason: it must neither stand in the way of the next one (a pause in
        that of its end) nor come back later by itself.
        """
        if members[0].kind not in ACTS:
            _wait_for(refusal)
        if len(members) == 1:
            return Spoiled(((members[0], refusal.message),))

        def refused(part: Sequence[WaitingRow]) -> Reverted | None:
            self._between()
            call = build(part, program)
            return sender.refusal(self.app.node, self.signer, call.to, call.data, call.value_wei)

        found = sender.bisect_poison(members, refused)
        return Spoiled(tuple((member, why.message) for member, why in found))

    def _room(self, group: Group, program: ProgramRow | None, head: Block | None = None) -> int:
        """How many more items today's quota and the cap have room for, those under way counted in; 0 = the cap has none
        until it shows what those under way have used. Raises Wait if the quota has none.

        The chain counts what is mined: without this, batches sent one behind the other would pass their trials and then
        revert, and a batch larger than a day's quota would never be sent. A cap that is reached on chain counts as room
        for one: its trial says so in the contract's words.
        """
        if program is None:
            raise ValueError(f"intents of kind {group.kind} belong to a program")
        quota = program.id, _quota_of(group.kind)
        if group not in self._caps:
            if group not in self._under_way:
                with read(self.app.engine) as tx:
                    self._under_way[group] = _under_way(tx, group)
            of_quota, of_cap = self._under_way[group]
            head = head or self.app.node.head()
            try:
                supply = _supply(self.app, program, group, head)
            except Reverted as refusal:
                # A stamp type that this node does not know, or not yet.
                raise Wait(Blocked(refusal)) from None
            self._rooms.setdefault(quota, _left_today(self.app, supply.quota, head) - of_quota)
            left = supply.cap - supply.used
            self._caps[group] = max(0, left - of_cap) if left > 0 else 1
        if self._rooms[quota] <= 0:
            raise Wait(Blocked(QuotaSpent("today's quota is used up", mend="go on tomorrow"), quota=True))
        return min(self._rooms[quota], self._caps[group])

    def _take_room(self, ready: Ready, count: int) -> None:
        group = ready.group
        if group in self._caps and group.program is not None:
            self._caps[group] -= count
            self._rooms[group.program, _quota_of(group.kind)] -= count

    def _gas_cap(self) -> int:
        """The most that a transaction may use here."""
        return min(TRANSACTION_GAS_CAP, self._block_gas())

    def _block_gas(self) -> int:
        if self._gas_of_blocks is None:
            self._gas_of_blocks = self.app.node.block_gas_limit()
        return self._gas_of_blocks

    def _program_of(self, members: Sequence[WaitingRow]) -> ProgramRow | None:
        with read(self.app.engine) as tx:
            return program_of(tx, members)


def program_of(tx: Connection, members: Sequence[Batchable]) -> ProgramRow | None:
    """The program that intents of one group belong to."""
    program = members[0].program
    return programs.get(tx, program) if program is not None else None


def _group(members: Sequence[WaitingRow]) -> Group:
    return Group(members[0].program, members[0].kind, members[0].stamp_type)


def quota_left(app: App, program: ProgramRow, kind: Kind) -> int:
    """How many more can be minted today as of the head; what is under way is not counted."""
    contract = Membership(app.node, program.membership) if kind is Kind.MINT_CARD else Stamps(app.node, program.stamps)
    head = app.node.head()
    return _left_today(app, contract.quota_of(QuotaKind.MINT, block=head.hash), head)


def _left_today(app: App, quota: QuotaNow, head: Block) -> int:
    read_at = datetime.fromtimestamp(head.timestamp, UTC)
    return fit(quota.limit, quota.limit, quota.used, max(app.now(), read_at), read_at)


def _under_way(tx: Connection, group: Group) -> tuple[int, int]:
    """How many items of transactions that no block holds count against the group's quota, and against its cap."""
    program = group.program
    if program is None:
        return 0, 0
    if group.kind in MANAGED:
        return sum(intents.under_way(tx, program, kind) for kind in (*MANAGED, Kind.REVOKE_CARD)), 0
    claims = Kind.CLAIM_CARD if group.kind is Kind.MINT_CARD else Kind.CLAIM_STAMP
    mints = intents.under_way(tx, program, group.kind)
    # There is one type of card.
    alike = mints if group.kind is Kind.MINT_CARD else intents.under_way(tx, program, group.kind, group.stamp_type)
    return mints, alike + intents.under_way(tx, program, claims, group.stamp_type)


def _quota_of(kind: Kind) -> Kind:
    """Kinds of which the same is told share one daily quota; the mints of cards and of stamps have one each."""
    return Kind.RENEW if kind in MANAGED else kind


def _supply(app: App, program: ProgramRow, group: Group, head: Block) -> Supply:
    if group.kind in MANAGED:
        quota = Membership(app.node, program.membership).quota_of(QuotaKind.MANAGE, head.hash)
        # Of cards that are there already, the day's quota is the only bound.
        return Supply(quota.limit, 0, quota)
    if group.kind is Kind.MINT_CARD:
        return Membership(app.node, program.membership).supply(head.hash)
    return Stamps(app.node, program.stamps).supply(group.stamp_type, head.hash)


def _given_up(first: WaitingRow) -> Spoiled | None:
    if first.reverts < MOST_REVERTS:
        return None
    why = f"its transaction failed {first.reverts} times on chain, each time after a trial that passed"
    return Spoiled(((first, why),))


def _in_small_company(waiting: Sequence[WaitingRow]) -> Sequence[WaitingRow]:
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
