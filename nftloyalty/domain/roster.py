"""Lists of members: what to do about each row of a file, given what the chain and our books know of its wallet."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType

from nftloyalty.domain.address import Address
from nftloyalty.domain.intent import IntentState
from nftloyalty.domain.program import StampType
from nftloyalty.domain.times import shown_end, shown_start
from nftloyalty.domain.words import CardWord, SkipCode, StampsWord
from nftloyalty.errors import Problem

NO_CONTRACTS: Mapping[Address, str] = MappingProxyType({})


@dataclass(frozen=True, slots=True)
class CardRow:
    """`expires_at` in unix seconds, the first second that is no longer active; 0 = for life."""

    line: int
    address: Address
    tier: int
    expires_at: int


@dataclass(frozen=True, slots=True)
class StampRow:
    line: int
    address: Address


class Outcome(StrEnum):
    """What to do about a row."""

    NEW = "new"
    """Nothing was asked before: accept an intent."""
    CONTINUING = "continuing"
    """Its intent is on its way."""
    DONE = "done"
    """Its intent is final."""
    AGAIN = "again"
    """Its intent was rejected or cancelled and nothing stands in its way now: take it up again."""
    BAD = "bad"
    """It can't be done: see the problem."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """`problem` is there exactly when the outcome is BAD."""

    outcome: Outcome
    problem: Problem | None = None


def judge_card(
    row: CardRow, word: CardWord, intent_state: IntentState | None, contracts: Mapping[Address, str] = NO_CONTRACTS
) -> Verdict:
    """What to do about a card's row, given its wallet's word and the state of the intent with its request key.

    What an intent has done stays done, also if the member has left since: the same file can always be run again.
    `contracts` says what each of the program's own addresses is: nobody is behind them, so they can't be members.
    """
    settled = _settled(intent_state)
    if settled:
        return settled
    if row.address in contracts:
        return _contract(row, contracts)
    code = word.mintable_code()
    if code is None:
        return _fresh(intent_state)
    if code is SkipCode.ALREADY_HELD:
        return _bad(
            row.line, f"{row.address} is already a member", "remove the row; nftloyalty renew or tier change a card"
        )
    mend = "nftloyalty readmit brings it back" if code in (SkipCode.LEFT, SkipCode.REVOKED) else "use the new wallet"
    return _bad(row.line, f"{row.address} {code.sentence}", mend)


def judge_stamp(
    row: StampRow,
    word: StampsWord,
    standing: int,
    stamp: StampType,
    intent_state: IntentState | None,
    now: datetime,
    contracts: Mapping[Address, str] = NO_CONTRACTS,
    *,
    number: int,
) -> Verdict:
    """What to do about a stamp's row. `standing` is the tier of the wallet's active card, 0 = it has none; `number` is
    the stamp's type, one of `stamp.numbers`; `contracts` as for `judge_card`."""
    settled = _settled(intent_state)
    if settled:
        return settled
    if row.address in contracts:
        return _contract(row, contracts)
    code = word.mintable_code(number)
    if code is None and stamp.members_only and standing == 0:
        code = SkipCode.NOT_ACTIVE
    if code is None and standing < stamp.min_tier:
        code = SkipCode.BELOW_TIER
    if code is not None:
        return _bad(row.line, f"{row.address} {code.sentence}", _STAMP_MENDS.get(code, "remove the row"))
    closed = judge_window(stamp, now)
    if closed:
        return _bad(row.line, closed.what, closed.mend)
    return _fresh(intent_state)


_STAMP_MENDS = {
    SkipCode.MOVED: "use the new wallet",
    SkipCode.NOT_ACTIVE: "mint or renew the card first, or remove the row",
    SkipCode.BELOW_TIER: "raise the tier first, or remove the row",
}


def judge_window(stamp: StampType, now: datetime) -> Problem | None:
    """Whether stamps of this type can be minted now. Concerns all rows alike, so it is worth asking before them."""
    if stamp.opens and now < stamp.opens:
        opens = shown_start(int(stamp.opens.timestamp()))
        return Problem(
            f"stamp {stamp.id}", f"opens {opens}", "wait, or move opens in program.toml and run `nftloyalty update`"
        )
    if stamp.closes and now >= stamp.closes:
        closes = shown_end(int(stamp.closes.timestamp()))
        return Problem(
            f"stamp {stamp.id}",
            f"is closed: it was open {closes}",
            "move closes in program.toml and run `nftloyalty update`",
        )
    return None


def _settled(intent_state: IntentState | None) -> Verdict | None:
    if intent_state is IntentState.FINAL:
        return Verdict(Outcome.DONE)
    if intent_state in (IntentState.RECEIVED, IntentState.BATCHED, IntentState.INCLUDED):
        return Verdict(Outcome.CONTINUING)
    return None


def _contract(row: CardRow | StampRow, contracts: Mapping[Address, str]) -> Verdict:
    what = f"{row.address} is {contracts[row.address]}, not a wallet"
    return _bad(row.line, what, "put the member's own address there, or remove the row")


def _fresh(intent_state: IntentState | None) -> Verdict:
    return Verdict(Outcome.NEW if intent_state is None else Outcome.AGAIN)


def _bad(line: int, what: str, mend: str) -> Verdict:
    return Verdict(Outcome.BAD, Problem(f"line {line}", what, mend))
