"""The index as it is read: how far it has come, and what a wallet holds as of its newest block or as of the final one.

Written by `index_steps`. A wallet is its 20 bytes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Row, and_, bindparam, func, select

from nftloyalty.domain.gate import AsOf, Holding
from nftloyalty.domain.holding import Fact, HoldingState
from nftloyalty.store.tables import blocks, holdings, logs, positions, seasons, undo

WALLETS_AT_ONCE = 500
STATE = ("joined_at", "expires_at", "tier", "serial", "flags", "stamps")


@dataclass(frozen=True)
class PositionRow:
    """How far a program's index has come: its last block, of which `final_number` and what is below can't be undone.

    `confirmed_at` is when that block was last seen to be the node's newest. `incident` tells why the index stands
    still; its answers are of no use then.
    """

    program: int
    chain: int
    first_block: int
    number: int
    hash: str
    timestamp: int
    final_number: int
    final_hash: str
    final_timestamp: int
    confirmed_at: datetime | None
    incident: str | None

    @property
    def as_of(self) -> AsOf:
        return AsOf(self.number, self.hash, self.timestamp, final=self.number <= self.final_number)

    @property
    def as_of_final(self) -> AsOf:
        return AsOf(self.final_number, self.final_hash, self.final_timestamp, final=True)


@dataclass(frozen=True)
class Header:
    """A block as far as the index needs it. `timestamp` in unix seconds."""

    number: int
    hash: str
    parent: str
    timestamp: int


@dataclass(frozen=True)
class Reading:
    """What a wallet holds as of a block. `position` says how old that may be, and whether it is of any use."""

    position: PositionRow
    as_of: AsOf
    holding: Holding


check = (
    select(
        *positions.c,
        select(func.count())
        .select_from(seasons)
        .where(seasons.c.program == bindparam("program"))
        .scalar_subquery()
        .label("seasons"),
        *(holdings.c[name].label(f"holding_{name}") for name in STATE),
    )
    .select_from(
        positions.outerjoin(
            holdings, and_(holdings.c.program == bindparam("program"), holdings.c.wallet == bindparam("wallet"))
        )
    )
    .where(positions.c.program == bindparam("program"))
)
"""One statement for a whole answer as of the newest block: takes `program` and `wallet`, and its rows are read by
`reading_of`. None of its steps depends on how many holdings there are."""


def reading_of(row: Row[*tuple[Any, ...]]) -> Reading:
    """A row of `check`."""
    split = len(positions.c)
    position = PositionRow(*row[:split])
    state = HoldingState() if row[split + 1] is None else HoldingState.from_row(*row[split + 1 :])
    return Reading(position, position.as_of, state.to_holding(row[split]))


def reading(tx: Connection, program: int, wallet: bytes) -> Reading | None:
    """What the wallet holds as of the newest indexed block; None = the program has no index yet."""
    row = tx.execute(check, {"program": program, "wallet": wallet}).one_or_none()
    return None if row is None else reading_of(row)


def readings(tx: Connection, program: int, wallets: Sequence[bytes]) -> list[Reading] | None:
    """As `reading`, of several wallets, in their order."""
    at = position(tx, program)
    if at is None:
        return None
    linked = tx.execute(select(func.count()).where(seasons.c.program == program)).scalar_one()
    columns = [holdings.c[name] for name in STATE]
    states: dict[bytes, HoldingState] = {}
    for start in range(0, len(wallets), WALLETS_AT_ONCE):
        asked = holdings.c.wallet.in_(wallets[start : start + WALLETS_AT_ONCE])
        rows = tx.execute(select(holdings.c.wallet, *columns).where(holdings.c.program == program, asked))
        states.update((bytes(wallet), HoldingState.from_row(*state)) for wallet, *state in rows)
    nothing = HoldingState()
    return [Reading(at, at.as_of, states.get(wallet, nothing).to_holding(linked)) for wallet in wallets]


def readings_as_of_final(tx: Connection, program: int, wallets: Sequence[bytes]) -> list[Reading] | None:
    """As `reading_as_of_final`, of several wallets, in their order."""
    at = position(tx, program)
    if at is None or at.number == at.final_number:
        return readings(tx, program, wallets)
    found = (reading_as_of_final(tx, program, wallet) for wallet in wallets)
    return [each for each in found if each is not None]


def reading_as_of_final(tx: Connection, program: int, wallet: bytes) -> Reading | None:
    """What the wallet holds as of the newest final block of the index; None = the program has no index yet."""
    at = position(tx, program)
    if at is None:
        return None
    if at.number == at.final_number:
        return reading(tx, program, wallet)
    linked = select(func.count()).where(seasons.c.program == program, seasons.c.block_number <= at.final_number)
    state = holding_as_of_final(tx, program, wallet) or HoldingState()
    return Reading(at, at.as_of_final, state.to_holding(tx.execute(linked).scalar_one()))


def position(tx: Connection, program: int) -> PositionRow | None:
    row = tx.execute(_POSITION, {"of_program": program}).one_or_none()
    return None if row is None else PositionRow(*row)


_POSITION = select(positions).where(positions.c.program == bindparam("of_program"))


def positions_of(tx: Connection, chain: int) -> list[PositionRow]:
    """Of all indexed programs of a chain, the oldest program first."""
    rows = tx.execute(select(positions).where(positions.c.chain == chain).order_by(positions.c.program))
    return [PositionRow(*row) for row in rows]


def holding(tx: Connection, program: int, wallet: bytes) -> HoldingState | None:
    """As of the newest indexed block; None = nothing is known of the wallet."""
    columns = [holdings.c[name] for name in STATE]
    query = select(*columns).where(holdings.c.program == program, holdings.c.wallet == wallet)
    row = tx.execute(query).one_or_none()
    return None if row is None else HoldingState.from_row(*row)


def holding_as_of_final(tx: Connection, program: int, wallet: bytes) -> HoldingState | None:
    """As of the newest final block: before the first change since, if there was one, else as it is now."""
    final = select(positions.c.final_number).where(positions.c.program == program).scalar_subquery()
    before = (
        select(*(undo.c[name] for name in STATE))
        .where(undo.c.program == program, undo.c.wallet == wallet, undo.c.block_number > final)
        .order_by(undo.c.block_number)
        .limit(1)
    )
    row = tx.execute(before).one_or_none()
    return holding(tx, program, wallet) if row is None else HoldingState.from_row(*row)


def season_contracts(tx: Connection, program: int) -> list[bytes]:
    """Addresses of the program's stamp contracts that were linked so far, by season."""
    query = select(seasons.c.stamps).where(seasons.c.program == program).order_by(seasons.c.season)
    return [bytes(stamps) for stamps in tx.execute(query).scalars()]


def facts(tx: Connection, program: int, first: int, last: int) -> list[Fact]:
    """What is stored of the blocks `first` to `last`, in the order of the chain."""
    query = (
        select(*(logs.c[name] for name in FACT))
        .where(logs.c.program == program, logs.c.block_number >= first, logs.c.block_number <= last)
        .order_by(logs.c.block_number, logs.c.log_index)
    )
    return [Fact(*row) for row in tx.execute(query)]


FACT = ("block_number", "log_index", "tx_hash", "contract", "kind", "wallet", "data")


def ancestry(tx: Connection, at: PositionRow) -> list[Header]:
    """Headers from the position down to the newest final block, newest first, by which the position was reached.

    Where one is missing, those below it are left out, all but the final one: going back further than needed is no harm.
    """
    query = select(blocks.c.number, blocks.c.hash, blocks.c.parent, blocks.c.timestamp).where(
        blocks.c.chain == at.chain, blocks.c.number > at.final_number, blocks.c.number <= at.number
    )
    # Orphaned blocks are stored beside them.
    stored = {row.hash: Header(*row) for row in tx.execute(query)}
    found: list[Header] = []
    wanted = at.hash
    while wanted in stored:
        found.append(stored[wanted])
        wanted = found[-1].parent
    # The parent of the final block is never asked for.
    return [*found, Header(at.final_number, at.final_hash, "", at.final_timestamp)]


def everything_held(tx: Connection, program: int) -> Mapping[bytes, HoldingState]:
    """Every holding of a program. For audits and tests: a program may have millions."""
    query = select(holdings.c.wallet, *(holdings.c[name] for name in STATE)).where(holdings.c.program == program)
    return {wallet: HoldingState.from_row(*state) for wallet, *state in tx.execute(query)}
