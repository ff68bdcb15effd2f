"""How a program stands, for its operator: the chain, the index, the keys that send, and what needs a person.

The books are told also where the node is away. Nothing is written.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from nftloyalty.app.context import App
from nftloyalty.app.endpoints import BY_HAND
from nftloyalty.app.keyring import key_name
from nftloyalty.app.leases import owner_alive
from nftloyalty.app.pricing import offered
from nftloyalty.app.signing import named_powers
from nftloyalty.chain.client import Block
from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import Kind, SlotState
from nftloyalty.domain.program import Program
from nftloyalty.errors import ChainProblem, FeesTooHigh, WrongChain
from nftloyalty.store import reports
from nftloyalty.store.engine import read
from nftloyalty.store.reports import ChainReport, EndpointLoad, IndexReport, LeaseReport, SignerLoad, SignerReport
from nftloyalty.store.tables import EndpointState

OLD_TRANSACTION = timedelta(minutes=10)
FAILS_LONG = timedelta(hours=1)
LATE_DELIVERY = timedelta(minutes=10)

STATES: Mapping[str, bool] = {
    "wrong_chain": True,
    "not_open": True,
    "signer_halted": True,
    "signer_behind": True,
    "index_halted": True,
    "node_unreachable": True,
    "out_of_funds": True,
    "fees_too_high": True,
    "signer_waits": True,
    "nothing_sends": True,
    "transaction_old": True,
    "endpoint_disabled": True,
    "endpoint_fails": True,
    "deliveries_late": True,
    "nothing_indexes": True,
    "index_behind": False,
}
"""Every state by its code, worst first, and whether it needs a person."""

_GAS: Mapping[Kind, int] = {
    Kind.MINT_CARD: 36_000,
    Kind.MINT_STAMP: 33_000,
    Kind.CLAIM_CARD: 90_000,
    Kind.CLAIM_STAMP: 90_000,
    Kind.RENEW: 12_000,
    Kind.SET_TIER: 12_000,
    Kind.REVOKE_CARD: 60_000,
    Kind.REVOKE_STAMP: 60_000,
    Kind.READMIT: 70_000,
    Kind.CALL: 120_000,
    Kind.DEPLOY: 5_000_000,
}
"""Of one intent, its share of a transaction included; no more than what is needed to say when coins won't do."""

_MINTS = frozenset({Kind.MINT_CARD, Kind.MINT_STAMP, Kind.CLAIM_CARD, Kind.CLAIM_STAMP})


@dataclass(frozen=True)
class OperatorState:
    """One thing an operator should know: `sentence` says what is, `mend` what to do about it."""

    code: str
    sentence: str
    mend: str

    @property
    def needs_person(self) -> bool:
        return STATES[self.code]


@dataclass(frozen=True)
class NodeStatus:
    """The node and its newest block. `trouble` is why it can't be asked, or not all; `head` is None where it is of no
    use."""

    url: str
    head: Block | None
    trouble: str | None


@dataclass(frozen=True)
class SignerStatus:
    """One key on this chain. `name` is that of the key here, None if it is elsewhere; `powers` are program.toml's words
    for it. `balance_wei` and `nonce` are the chain's, None where it can't be asked. `books` are None if it never sent
    anything from here. `leased` = a living process sends with it now."""

    address: Address
    name: str | None
    powers: tuple[str, ...]
    balance_wei: int | None
    nonce: int | None
    books: SignerReport | None
    leased: bool

    @property
    def shown(self) -> str:
        return self.name or self.address

    @property
    def waiting(self) -> int:
        return sum(group.count for group in self.books.waiting) if self.books is not None else 0

    @property
    def oldest(self) -> datetime | None:
        """Since when its oldest transaction is under way."""
        return min((slot.created_at for slot in self.books.slots), default=None) if self.books is not None else None

    @property
    def slots(self) -> Mapping[SlotState, int]:
        """How many transactions are under way, by state."""
        found: dict[SlotState, int] = {}
        for slot in self.books.slots if self.books is not None else ():
            found[slot.state] = found.get(slot.state, 0) + 1
        return found


@dataclass(frozen=True)
class Status:
    """`chain` is None where the books know none for this program. `index_lease` is None unless a living process
    indexes now. `states` come worst first."""

    program: str
    asked_at: datetime
    node: NodeStatus
    chain: ChainReport | None
    indexes: tuple[IndexReport, ...]
    index_lease: LeaseReport | None
    signers: tuple[SignerStatus, ...]
    endpoints: tuple[EndpointLoad, ...]
    states: tuple[OperatorState, ...]

    @property
    def needs_person(self) -> bool:
        return any(state.needs_person for state in self.states)


def status_of(app: App, program: Program) -> Status:
    """Ask books and node how the program stands. Raises only what the database and the keys fail with."""
    asking = _Asking(app)
    states = []
    served = asking.chain(program)
    if isinstance(served, WrongChain):
        states.append(OperatorState("wrong_chain", served.message, served.mend))
    with read(app.engine) as tx:
        if isinstance(served, tuple):
            chain = reports.chain_known(tx, *served)
        else:
            chain = reports.chain_of_program(tx, program.id, program.chain.id)
        used = reports.addresses_of(tx, chain.row) if chain is not None else []
    powers = named_powers(app, program)
    # Chain first: what is sent meanwhile is in the books then, and never looks like somebody else's.
    there = {
        address: asking.account(address) if isinstance(served, tuple) else (None, None)
        for address in dict.fromkeys((*powers, *used))
    }
    books: Mapping[str, SignerReport] = {}
    indexes: Sequence[IndexReport] = ()
    lease: LeaseReport | None = None
    endpoints: Sequence[EndpointLoad] = ()
    if chain is not None:
        with read(app.engine) as tx:
            books = {report.address: report for report in reports.signers_of(tx, chain.row)}
            indexes = reports.indexes_of(tx, chain.row)
            lease = reports.index_lease(tx, chain.row)
            endpoints = reports.endpoints_of(tx, chain.row)
    now = app.now()
    lease = lease if lease is not None and _lives(lease, now) else None
    signers = [
        SignerStatus(
            address=address,
            name=key_name(app, address),
            powers=tuple(powers.get(address, ())),
            balance_wei=balance,
            nonce=nonce,
            books=books.get(address),
            leased=sends(books.get(address), now),
        )
        for address, (balance, nonce) in there.items()
    ]
    if not isinstance(served, WrongChain) and program.id not in {each.program for each in indexes}:
        where = "this chain" if isinstance(served, tuple) else "any chain that these books know"
        mend = "run `nftloyalty deploy` first, or point --rpc at the node it was opened with"
        states.append(OperatorState("not_open", f"the program {program.id!r} is not open on {where}", mend))
    for signer in signers:
        states += _of_signer(signer, asking, now)
    for each in indexes:
        states += _of_index(each, asking.head, lease, now, app.settings.index_max_age_seconds)
    for endpoint in endpoints:
        states += _of_endpoint(endpoint, now)
    states += asking.states
    worst_first = list(STATES)
    return Status(
        program=program.id,
        asked_at=now,
        node=NodeStatus(app.node.shown_url, asking.head, asking.trouble),
        chain=chain,
        indexes=tuple(indexes),
        index_lease=lease,
        signers=tuple(signers),
        endpoints=tuple(endpoints),
        states=tuple(sorted(states, key=lambda state: worst_first.index(state.code))),
    )


@dataclass(frozen=True)
class Loads:
    """How the books of a chain stand, in numbers."""

    read_at: datetime
    indexes: tuple[IndexReport, ...]
    index_lease: LeaseReport | None
    signers: tuple[SignerLoad, ...]
    endpoints: tuple[EndpointLoad, ...]

    def seconds_since(self, moment: datetime | None) -> float:
        """0 for a moment that there was not, or that another machine's clock takes for the future."""
        return 0.0 if moment is None else max(0.0, (self.read_at - moment).total_seconds())

    def seconds_left(self, until: datetime | None) -> float:
        """0 once it is over."""
        return 0.0 if until is None else max(0.0, (until - self.read_at).total_seconds())


def read_loads(app: App, chain: int) -> Loads:
    """Cheap enough to be asked every few seconds; nothing is asked of the node. `chain` is the chain's row."""
    with read(app.engine) as tx:
        return Loads(
            read_at=app.now(),
            indexes=tuple(reports.indexes_of(tx, chain)),
            index_lease=reports.index_lease(tx, chain),
            signers=tuple(reports.loads_of(tx, chain)),
            endpoints=tuple(reports.endpoints_of(tx, chain)),
        )


class _Asking:
    """Questions to a node that may be away: after the first that fails, none is asked, so that nobody waits twice."""

    def __init__(self, app: App) -> None:
        self.head: Block | None = None
        self.trouble: str | None = None
        self.states: list[OperatorState] = []
        self._app = app
        self._fee: int | None = None

    def chain(self, program: Program) -> tuple[int, str] | WrongChain | None:
        """Chain id and genesis hash; WrongChain if it isn't the program's, None if the node can't be asked."""
        try:
            chain_id = self._app.node.chain_id()
            genesis_hash = self._app.node.genesis_hash()
            self.head = self._app.node.head()
        except ChainProblem as trouble:
            self._fail(trouble)
            return None
        if program.chain.id is not None and program.chain.id != chain_id:
            wrong = WrongChain(program.chain.id, chain_id)
            # Whatever else it says is of no use here.
            self.head, self.trouble = None, wrong.message
            return wrong
        return chain_id, genesis_hash

    def account(self, address: Address) -> tuple[int | None, int | None]:
        """Balance in wei and next nonce."""
        if self.trouble is None:
            try:
                return self._app.node.balance(address), self._app.node.nonce(address)
            except ChainProblem as trouble:
                self._fail(trouble)
        return None, None

    def needed(self, gas: int) -> int | None:
        """Wei to have behind so much gas. None if that can't be told now."""
        if self.trouble is None and self._fee is None and not self.states:
            try:
                # Asked for a million at once: so little gas as one costs is lost in rounding.
                self._fee = offered(self._app, 10**6)
            except FeesTooHigh as dear:
                self.states.append(OperatorState("fees_too_high", f"nothing is sent: {dear.message}", dear.mend))
            except ChainProblem as trouble:
                self._fail(trouble)
        return None if self._fee is None else self._fee * gas // 10**6

    def _fail(self, trouble: ChainProblem) -> None:
        self.trouble = trouble.message
        self.states.append(OperatorState("node_unreachable", trouble.message, trouble.mend or "look at the node's log"))


def _of_signer(signer: SignerStatus, asking: _Asking, now: datetime) -> Iterator[OperatorState]:
    books = signer.books
    if books is None:
        return
    name = signer.shown
    resume = f"`nftloyalty signers resume {name}` looks at the chain and lets it go on"
    if books.halted is not None:
        yield OperatorState("signer_halted", f"signer {name} is halted: {books.halted}", resume)
        return
    if signer.nonce is not None and books.next_nonce is not None and signer.nonce > books.next_nonce:
        yield OperatorState(
            "signer_behind",
            f"signer {name} is behind the chain: its next nonce is {books.next_nonce} in the books and "
            f"{signer.nonce} on chain, so its key was used elsewhere or the database is an old copy",
            resume,
        )
        return
    poor = _out_of_funds(signer, asking) if signer.waiting else None
    if poor is not None:
        yield poor
    elif signer.leased and books.waits_for is not None:
        yield OperatorState("signer_waits", f"signer {name} sends nothing now: {books.waits_for}", "see what it says")
    under_way = [slot for slot in books.slots if slot.state is not SlotState.INCLUDED]
    if not signer.leased and (signer.waiting or books.slots):
        what = f"{signer.waiting:,} intents wait" if signer.waiting else f"{len(books.slots):,} transactions are open"
        yield OperatorState(
            "nothing_sends",
            f"nothing sends for {name}: {what} and no worker holds its lease",
            "start `nftloyalty worker` where its key is",
        )
    elif under_way and now - under_way[0].created_at >= OLD_TRANSACTION:
        first = under_way[0]
        minutes = int((now - first.created_at).total_seconds()) // 60
        said = f"; the node said: {first.last_error}" if first.last_error else ""
        yield OperatorState(
            "transaction_old",
            f"nonce {first.nonce} of {name} has been under way for {minutes} min and is in no block{said}",
            "look whether the node is in step with the chain, and whether gas is above NFTLOYALTY_MAX_FEE_GWEI",
        )


def _out_of_funds(signer: SignerStatus, asking: _Asking) -> OperatorState | None:
    if signer.books is None or signer.balance_wei is None:
        return None
    waiting = signer.books.waiting
    needs = asking.needed(sum(_GAS[group.kind] * group.count for group in waiting))
    if needs is None or signer.balance_wei >= needs:
        return None
    what = "mints" if all(group.kind in _MINTS for group in waiting) else "intents"
    what = what if signer.waiting != 1 else what.removesuffix("s")
    return OperatorState(
        "out_of_funds",
        f"signer {signer.shown} is out of funds: has {coins(signer.balance_wei)}, needs about {coins(needs)} for "
        f"{signer.waiting:,} waiting {what}",
        f"send it at least {coins(needs - signer.balance_wei)} more; what waits goes on by itself",
    )


def _of_index(
    index: IndexReport, head: Block | None, lease: LeaseReport | None, now: datetime, max_age_seconds: float
) -> Iterator[OperatorState]:
    which = f"the index of {index.program!r}"
    if index.incident is not None:
        yield OperatorState(
            "index_halted",
            f"{which} is halted: {index.incident}",
            "make sure that the node is on the right chain, then run `nftloyalty index rebuild`",
        )
        return
    if index.confirmed_at is not None and (now - index.confirmed_at).total_seconds() <= max_age_seconds:
        return
    if index.block is None:
        how = "has not been begun"
    elif head is not None and head.number > index.block:
        behind = head.number - index.block
        how = f"is {behind:,} block{'' if behind == 1 else 's'} behind"
    else:
        seen = "never" if index.confirmed_at is None else f"last {index.confirmed_at:%Y-%m-%d %H:%M:%S} UTC"
        how = f"is at block {index.block}, {seen} seen to be the newest"
    if lease is None:
        yield OperatorState(
            "nothing_indexes",
            f"{which} {how} and no worker holds its lease",
            "start `nftloyalty worker`; until then ownership and gate are answered only with consistency live",
        )
    else:
        yield OperatorState("index_behind", f"{which} {how}; {lease.owner} brings it forward", "wait")


def _of_endpoint(endpoint: EndpointLoad, now: datetime) -> Iterator[OperatorState]:
    which = f"the webhook endpoint {endpoint.endpoint}"
    if endpoint.state is EndpointState.DISABLED:
        if endpoint.why != BY_HAND:
            yield OperatorState(
                "endpoint_disabled",
                f"{which} is disabled: {endpoint.why}",
                f"`nftloyalty webhooks enable {endpoint.endpoint}` and `replay` once its receiver is well; or `delete`",
            )
    elif endpoint.failing_since is not None:
        if now - endpoint.failing_since >= FAILS_LONG:
            yield OperatorState(
                "endpoint_fails",
                f"{which} has taken nothing since {endpoint.failing_since:%Y-%m-%d %H:%M} UTC, and "
                f"{endpoint.waiting:,} deliveries wait",
                f"`nftloyalty webhooks log {endpoint.endpoint}` shows what its receiver answers",
            )
    elif endpoint.oldest_due is not None and now - endpoint.oldest_due >= LATE_DELIVERY:
        minutes = int((now - endpoint.oldest_due).total_seconds()) // 60
        yield OperatorState(
            "deliveries_late",
            f"{endpoint.waiting:,} deliveries wait for {which}, and one could have gone {minutes} min ago",
            "start `nftloyalty worker`; if one runs, its receiver takes too long for so many",
        )


def coins(wei: int) -> str:
    """Four digits of an amount in the chain's coin."""
    amount = wei / 10**18
    return (
        f"{amount:,.0f}" if amount >= 10_000 else f"{amount:.4g}" if amount >= 0.0001 or wei == 0 else f"{amount:.4e}"
    )


def _lives(lease: LeaseReport, now: datetime) -> bool:
    return lease.until > now and owner_alive(lease.owner)


def sends(books: SignerReport | None, now: datetime) -> bool:
    """Whether a process that may be alive has the lease of this signer."""
    if books is None or books.lease_owner is None or books.lease_until is None:
        return False
    return _lives(LeaseReport(books.lease_owner, books.lease_until), now)
