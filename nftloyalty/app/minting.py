"""From a CSV file to cards and stamps: validate everything, then accept, then send, and go on where it stopped.

The file is the request: a row's request key is made of program, kind, type and address, so running the same file again,
after a crash or by mistake, accepts nothing twice.
"""

import time
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from nftloyalty.app.context import App
from nftloyalty.app.contracts import own_contracts
from nftloyalty.app.gathering import Blocked, quota_left
from nftloyalty.app.keyring import address_of, signer_of
from nftloyalty.app.opening import Opened
from nftloyalty.app.pricing import price
from nftloyalty.app.sending import work
from nftloyalty.app.sharing import goes_on
from nftloyalty.app.waiting import telling_what_stays
from nftloyalty.chain import sender
from nftloyalty.chain.contracts import Membership, Stamps
from nftloyalty.chain.signer import Signer
from nftloyalty.domain import words
from nftloyalty.domain.address import Address
from nftloyalty.domain.batch import BatchPlan, GasModel, plan
from nftloyalty.domain.cost import Cost
from nftloyalty.domain.intent import IntentState, Kind, request_key
from nftloyalty.domain.program import StampType
from nftloyalty.domain.quota import next_day
from nftloyalty.domain.roster import (
    CardRow,
    Outcome,
    StampRow,
    Verdict,
    judge_card,
    judge_stamp,
    judge_window,
)
from nftloyalty.domain.roster_file import read_cards, read_stamps
from nftloyalty.domain.times import shown_end
from nftloyalty.domain.words import Role
from nftloyalty.errors import BadInput, LoyaltyError, OutOfFunds, Problem, ProgramProblem, QuotaSpent, SignerBusy
from nftloyalty.store import intents, signers
from nftloyalty.store.engine import begin, read
from nftloyalty.store.intents import Group, IntentRow, NewIntent

READ_CHUNK = 500
GUESS = GasModel(base=500_000, per_item=60_000)
QUOTA_POLL_SECONDS = 30.0
SAMPLE_FOR_GAS = 10

STOPPED = frozenset({IntentState.REJECTED, IntentState.CANCELLED})


@dataclass(frozen=True)
class Wanted:
    """One row of the file as it will be asked for."""

    line: int
    recipient: Address
    key: str
    args: Mapping[str, Any]
    item: int
    outcome: Outcome


@dataclass(frozen=True)
class MintPlan:
    """A file that was found good, and what is left to do of it.

    `quota_left` is what today's quota has room for; `batches` and `cost` are None if nothing is left to ask for. `gone`
    counts rows that are done and whose wallet holds it no longer: it left, moved away or was revoked since.
    """

    source: str
    kind: Kind
    stamp_type: int
    rows: tuple[Wanted, ...]
    minter: Address
    quota_left: int
    batches: BatchPlan | None
    cost: Cost | None
    gone: int

    @property
    def open_rows(self) -> tuple[Wanted, ...]:
        """Rows for which something must still be accepted."""
        return tuple(row for row in self.rows if row.outcome in (Outcome.NEW, Outcome.AGAIN))

    def count(self, outcome: Outcome) -> int:
        return sum(row.outcome is outcome for row in self.rows)


@dataclass(frozen=True)
class MintReport:
    """How the file's rows stand. `rejected` has a reason in words for each row that the contract left out."""

    total: int
    final: int
    included: int
    waiting: int
    rejected: tuple[tuple[int, Address, str], ...]

    @property
    def on_chain(self) -> int:
        return self.final + self.included


# ------------------------------------------------------------------------------------------------------------ planning


def plan_cards(app: App, opened: Opened, lines: Iterable[str], source: str) -> MintPlan:
    """Read and judge a members' file. Raises BadInput naming every bad row; nothing is changed or sent."""
    rows, problems = read_cards(lines, opened.program, app.now(), source)
    # The block first, then our books: another run of this file may be minting meanwhile, and a card that is there in
    # this block has had its intent for longer. The other way round it would look like somebody else's.
    block = app.node.head()
    asked = _asked(app, opened, Kind.MINT_CARD, 0, [row.address for row in rows])
    contracts = own_contracts(opened)
    found = _cards(opened, rows, block.hash)
    wanted: list[Wanted] = []
    gone = 0
    for row, word in zip(rows, found, strict=True):
        key, intent = asked[row.address]
        args = {"tier": row.tier, "expires_at": row.expires_at}
        if intent is not None and intent.state not in STOPPED and intent.args != args:
            problems.append(_asked_otherwise(opened, row.line, intent))
            continue
        verdict = judge_card(row, word, _state(intent), contracts)
        gone += verdict.outcome is Outcome.DONE and not word.exists
        item = words.card_item(row.address, row.tier, row.expires_at)
        _sort(verdict, Wanted(row.line, row.address, key, args, item, verdict.outcome), wanted, problems)
    return _finish(app, opened, source, Kind.MINT_CARD, 0, wanted, problems, gone)


def plan_stamps(app: App, opened: Opened, lines: Iterable[str], source: str, stamp_id: str) -> MintPlan:
    """Read and judge a file of stamps to give. Raises as `plan_cards`, and Unknown for a wrong `stamp_id`."""
    number = opened.program.stamp_number(stamp_id)
    stamp = opened.program.stamp_type(number)
    closed = judge_window(stamp, app.now())
    if closed is not None:
        raise BadInput(source, [closed])
    rows, problems = read_stamps(lines, source)
    # The block before our books, as in plan_cards.
    block = app.node.head()
    contracts = own_contracts(opened)
    found = _stamps(opened, stamp, rows, block.hash)
    # A revoked stamp that may return is asked for anew; only a block that knows of the former one can tell.
    returns = {row.address for row, (word, _) in zip(rows, found, strict=True) if word.mintable_code(number) is None}
    asked = _asked(app, opened, Kind.MINT_STAMP, number, [row.address for row in rows], returns, block.number)
    wanted: list[Wanted] = []
    gone = 0
    for row, (word, standing) in zip(rows, found, strict=True):
        key, intent = asked[row.address]
        verdict = judge_stamp(row, word, standing, stamp, _state(intent), app.now(), contracts, number=number)
        gone += verdict.outcome is Outcome.DONE and not word.holds(number)
        item = words.stamp_token_id(row.address, number)
        _sort(verdict, Wanted(row.line, row.address, key, {}, item, verdict.outcome), wanted, problems)
    return _finish(app, opened, source, Kind.MINT_STAMP, number, wanted, problems, gone)


def _asked(
    app: App,
    opened: Opened,
    kind: Kind,
    stamp_type: int,
    wallets: Sequence[Address],
    returns: Collection[Address] = (),
    as_of: int = 0,
) -> dict[Address, tuple[str, IntentRow | None]]:
    """The request key of each wallet, and the intent that was accepted under it before.

    Once a request is final, its key is used up. A wallet of `returns` that the chain would mint to again, as of a block
    that holds the former mint, gets the next generation.
    """
    found: dict[Address, tuple[str, IntentRow | None]] = {}
    left = list(wallets)
    generation = 0
    while left:
        keys = {wallet: request_key(opened.program.id, kind, stamp_type, wallet, generation) for wallet in left}
        known = _known(app, opened, keys.values())
        again = []
        for wallet in left:
            intent = known.get(keys[wallet])
            used_up = intent is not None and intent.state is IntentState.FINAL and (intent.block_number or 0) <= as_of
            if used_up and wallet in returns:
                again.append(wallet)
            else:
                found[wallet] = (keys[wallet], intent)
        left = again
        generation += 1
    return found


def _asked_otherwise(opened: Opened, line: int, intent: IntentRow) -> Problem:
    """A row that wants another card than the one that was asked for before."""
    tier, expires_at = intent.args["tier"], intent.args["expires_at"]
    until = shown_end(expires_at) if expires_at else "for life"
    return Problem(
        f"line {line}",
        f"{intent.recipient} was minted, or is being minted, as {opened.program.tier_name(tier)} {until}",
        "mend the row, or change the card with nftloyalty tier or renew",
    )


def _known(app: App, opened: Opened, keys: Iterable[str]) -> dict[str, IntentRow]:
    with read(app.engine) as tx:
        return intents.by_keys(tx, opened.attached.row, keys)


def _state(row: IntentRow | None) -> IntentState | None:
    return row.state if row is not None else None


def _cards(opened: Opened, rows: Sequence[CardRow], block: str) -> list[words.CardWord]:
    """The wallets' words, all as of one block."""
    found: list[words.CardWord] = []
    for start in range(0, len(rows), READ_CHUNK):
        chunk = [row.address for row in rows[start : start + READ_CHUNK]]
        found += opened.membership.words_of(chunk, block=block)
    return found


def _stamps(
    opened: Opened, stamp: StampType, rows: Sequence[StampRow], block: str
) -> list[tuple[words.StampsWord, int]]:
    gated = stamp.members_only or stamp.min_tier > 0
    found: list[tuple[words.StampsWord, int]] = []
    for start in range(0, len(rows), READ_CHUNK):
        chunk = [row.address for row in rows[start : start + READ_CHUNK]]
        standings = opened.membership.standings_of(chunk, block=block) if gated else [0] * len(chunk)
        found += zip(opened.stamps.words_of(chunk, block=block), standings, strict=True)
    return found


def _sort(verdict: Verdict, row: Wanted, wanted: list[Wanted], problems: list[Problem]) -> None:
    if verdict.problem is not None:
        problems.append(verdict.problem)
    else:
        wanted.append(row)


def _finish(
    app: App,
    opened: Opened,
    source: str,
    kind: Kind,
    stamp_type: int,
    wanted: list[Wanted],
    problems: list[Problem],
    gone: int,
) -> MintPlan:
    if problems:
        raise BadInput(source, sorted(problems, key=_line))
    minter = address_of(app, _minter(opened))
    open_rows = [row for row in wanted if row.outcome in (Outcome.NEW, Outcome.AGAIN)]
    if not open_rows and all(row.outcome is Outcome.DONE for row in wanted):
        return MintPlan(source, kind, stamp_type, tuple(wanted), minter, 0, None, None, gone)
    _check_powers(opened, minter)
    if open_rows:
        _check_room(app, opened, source, kind, stamp_type, len(open_rows))
    under_way = _under_way(app, opened, kind)
    left = quota_left(app, opened.row, kind) - under_way
    if not open_rows:
        return MintPlan(source, kind, stamp_type, tuple(wanted), minter, left, None, None, gone)
    model = _measure(app, opened, kind, minter, open_rows)
    batches = plan(len(open_rows), model)
    cost = price(app, opened.attached, batches.gas)
    return MintPlan(source, kind, stamp_type, tuple(wanted), minter, max(0, left), batches, cost, gone)


def _line(problem: Problem) -> int:
    digits = problem.place.removeprefix("line ")
    return int(digits) if digits.isdigit() else 0


def _minter(opened: Opened) -> str:
    minters = opened.program.powers.minters
    if not minters:
        raise ProgramProblem("program.toml names no minters", mend="add a key to [powers] minters and grant its role")
    return minters[0]


def _check_powers(opened: Opened, minter: Address) -> None:
    powers = opened.membership.powers_of(minter)
    if powers.paused:
        raise ProgramProblem("the program is paused; nothing was sent", mend="the owner ends it: `nftloyalty unpause`")
    if not powers.roles & Role.MINTER:
        raise ProgramProblem(
            f"{minter} may not mint for this program; nothing was sent",
            mend=f"the owner grants it: `nftloyalty roles grant minter {_minter(opened)}`",
        )


def _check_room(app: App, opened: Opened, source: str, kind: Kind, stamp_type: int, count: int) -> None:
    """The card cap bounds living cards, a stamp type's cap the stamps ever minted. What is under way counts too."""
    # Our books before the chain: what is mined in between is counted twice rather than not at all.
    under_way = _under_way(app, opened, kind, stamp_type)
    if kind is Kind.MINT_CARD:
        cap, used, what = opened.membership.cap(), opened.membership.total_supply(), "living cards"
    else:
        terms = opened.stamps.type_of(stamp_type)
        cap, used, what = terms.cap, terms.minted, f"stamps {opened.program.stamp_id(stamp_type)}"
    if used + under_way + count > cap:
        waiting = f", and {under_way:,} more are under way" if under_way else ""
        raise BadInput(
            source,
            [
                Problem(
                    "the whole file",
                    f"{count:,} rows to mint, but there are {used:,} of at most {cap:,} {what}{waiting}",
                    "shorten the file or raise the cap",
                )
            ],
        )


def _under_way(app: App, opened: Opened, kind: Kind, stamp_type: int | None = None) -> int:
    """Items accepted or sent that the chain has not counted yet; of all stamp types if None."""
    with read(app.engine) as tx:
        counts = intents.unfinished(tx, opened.row.id, kind, stamp_type)
    return sum(counts.values())


def _measure(app: App, opened: Opened, kind: Kind, minter: Address, rows: Sequence[Wanted]) -> GasModel:
    """Gas by number of rows, measured on this chain with as many of the file's own first rows as today's quota takes.

    Where it takes none, the answer is a generous guess.
    """
    contract: Membership | Stamps = opened.membership if kind is Kind.MINT_CARD else opened.stamps

    def gas_of(count: int) -> int:
        data = contract.encode_mint_batch([row.item for row in rows[:count]])
        return sender.estimate(app.node, minter, contract.address, data, 0)

    few = min(SAMPLE_FOR_GAS, len(rows), quota_left(app, opened.row, kind))
    if few == 0:
        return GUESS
    if few == 1:
        # One measurement can't be told apart into base and share: with more rows to come, each is taken to cost it all.
        alone = gas_of(1)
        return GasModel(base=0, per_item=alone) if len(rows) > 1 else GasModel(base=alone, per_item=0)
    return GasModel.through((1, gas_of(1)), (few, gas_of(few)))


# ------------------------------------------------------------------------------------------------------------- minting


def mint(
    app: App,
    opened: Opened,
    mint_plan: MintPlan,
    *,
    spread: bool = False,
    progress: Callable[[int], None] = lambda waiting: None,
    waiting_until: Callable[[datetime], None] = lambda moment: time.sleep(QUOTA_POLL_SECONDS),
    on_busy: Callable[[SignerBusy], None] = lambda busy: None,
    on_trouble: Callable[[LoyaltyError], None] = lambda trouble: None,
) -> MintReport:
    """Accept what is open and send until every row is on chain or has been left out by the contract.

    Raises QuotaSpent before anything is accepted if today's quota is too small and `spread` is not given; with `spread`
    it waits for the next UTC day and goes on. `progress` is told how many rows of this kind are not on chain yet,
    `on_busy` that another process sends with this key and is watched, `on_trouble` what the node fails with while it is
    tried again. Interrupting is safe at any moment, and whatever stops it has notes on what stays accepted. If every
    row is final already, the key is not asked for.
    """
    todo = mint_plan.open_rows
    if not todo and not mint_plan.count(Outcome.CONTINUING):
        return report(app, opened, mint_plan)
    if len(todo) > mint_plan.quota_left and not spread:
        raise QuotaSpent(
            f"{len(todo):,} rows to mint, but today's quota has {mint_plan.quota_left:,} left; nothing was sent",
            mend="spread it over days with --spread, or let the owner raise it with `nftloyalty quota set`",
        )
    _check_funds(app, mint_plan)
    signer = signer_of(app, _minter(opened))
    with telling_what_stays(app, opened.attached.row, opened.program.id, {mint_plan.kind}):
        _send(app, opened, mint_plan, signer, spread, progress, waiting_until, on_busy, on_trouble)
    return report(app, opened, mint_plan)


def _send(
    app: App,
    opened: Opened,
    mint_plan: MintPlan,
    signer: Signer,
    spread: bool,
    progress: Callable[[int], None],
    waiting_until: Callable[[datetime], None],
    on_busy: Callable[[SignerBusy], None],
    on_trouble: Callable[[LoyaltyError], None],
) -> None:
    """Accept the open rows, and send until none of the file's kind is on its way any more."""
    sender_row = _accept(app, opened, mint_plan)

    def waiting() -> int:
        with read(app.engine) as tx:
            counts = intents.unfinished(tx, opened.row.id, mint_plan.kind, mint_plan.stamp_type, sender_row)
        return sum(counts.values())

    keys = [row.key for row in mint_plan.rows if row.outcome is not Outcome.DONE]

    def done() -> bool:
        """One look at least: rows that a former run brought on chain may be final by now."""
        return looked and not waiting() and not _elsewhere(app, opened, keys, sender_row)

    looked = False

    def tick() -> None:
        nonlocal looked
        looked = True
        progress(waiting())

    def on_blocked(blocked: Blocked) -> None:
        if not (spread and blocked.quota):
            raise blocked.reason
        waiting_until(next_day(app.now()))

    work(
        app,
        opened.attached,
        signer,
        finality_blocks=opened.program.chain.finality_blocks,
        done=done,
        group=Group(opened.row.id, mint_plan.kind, mint_plan.stamp_type),
        tick=tick,
        on_blocked=on_blocked,
        on_busy=on_busy,
        on_trouble=on_trouble,
    )


def _elsewhere(app: App, opened: Opened, keys: Sequence[str], mine: int) -> bool:
    """Whether another key is bringing rows of the file to the chain that it took over. Those that it has not begun with
    are taken back, for ours is idle. What is in transactions of a key that nobody sends for is left to the report."""
    chain = opened.attached.row
    with read(app.engine) as tx:
        having = intents.who_has(tx, chain, keys)
    if having.get(IntentState.RECEIVED):
        with begin(app.engine) as tx:
            intents.reassign(tx, chain, keys, mine, app.now())
        return True
    with read(app.engine) as tx:
        others = [signers.get(tx, row) for row in having.get(IntentState.BATCHED, ())]
    return any(goes_on(app, other) for other in others)


def _check_funds(app: App, mint_plan: MintPlan) -> None:
    if mint_plan.cost is None:
        return
    has = app.node.balance(mint_plan.minter)
    if has < mint_plan.cost.wei:
        raise OutOfFunds(mint_plan.minter, has, mint_plan.cost.wei)


def _accept(app: App, opened: Opened, mint_plan: MintPlan) -> int:
    """Accept the open rows; returns the signer's row. Rows that wait for a former minter are handed to this one."""
    now = app.now()
    with begin(app.engine) as tx:
        signer = signers.register(tx, opened.attached.row, mint_plan.minter).id

        def new(outcome: Outcome) -> Iterator[NewIntent]:
            for row in mint_plan.rows:
                if row.outcome is outcome:
                    yield NewIntent(
                        public_id=app.new_id("int"),
                        chain=opened.attached.row,
                        program=opened.row.id,
                        signer=signer,
                        kind=mint_plan.kind,
                        stamp_type=mint_plan.stamp_type,
                        recipient=row.recipient,
                        args=row.args,
                        request_key=row.key,
                    )

        intents.ask_again(tx, new(Outcome.AGAIN), now)
        intents.accept_many(tx, new(Outcome.NEW), now)
        waiting = [row.key for row in mint_plan.rows if row.outcome is Outcome.CONTINUING]
        intents.reassign(tx, opened.attached.row, waiting, signer, now)
    return signer


def report(app: App, opened: Opened, mint_plan: MintPlan) -> MintReport:
    """How the file's rows stand now, from the database."""
    rows = _known(app, opened, [row.key for row in mint_plan.rows])
    # A skip that is not final yet is no card on chain either.
    counts = Counter(row.state for row in rows.values() if row.code is None)
    rejected = []
    for wanted in mint_plan.rows:
        row = rows.get(wanted.key)
        if row is not None and (row.state in STOPPED or row.code is not None):
            reason = row.error or (words.SkipCode(row.code).sentence if row.code is not None else row.state.value)
            rejected.append((wanted.line, wanted.recipient, reason))
    return MintReport(
        total=len(mint_plan.rows),
        final=counts[IntentState.FINAL],
        included=counts[IntentState.INCLUDED],
        waiting=counts[IntentState.RECEIVED] + counts[IntentState.BATCHED],
        rejected=tuple(rejected),
    )


def gas_used(app: App, opened: Opened, mint_plan: MintPlan) -> int:
    """Gas of the transactions that brought the file's rows to the chain, other rows in them included."""
    rows = _known(app, opened, [row.key for row in mint_plan.rows])
    hashes = sorted({row.tx_hash for row in rows.values() if row.tx_hash is not None})
    return sum(receipt.gas_used for receipt in app.node.receipts(hashes) if receipt is not None)
