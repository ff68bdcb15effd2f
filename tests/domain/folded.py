"""Events folded into what each object is: what somebody knows who has nothing but events."""

from collections.abc import Iterable, Mapping
from typing import Any

from nftloyalty.domain.address import checksummed
from nftloyalty.domain.event import EventType as E
from nftloyalty.domain.event import membership_object, stamp_object
from nftloyalty.domain.holding import HoldingState
from nftloyalty.domain.times import at
from tests.domain.paper import Paper

State = dict[str, Any]
"""The card of each membership object that has one, and True for each stamp object that is held."""


def folded(told: Iterable[tuple[str, str, Mapping[str, Any]]]) -> State:
    """Of type, object and data of each event, in order."""
    state: State = {}
    for type_, name, data in told:
        after = _after(E(type_), state.get(name), data)
        if after:
            state[name] = after
        else:
            state.pop(name, None)
    return state


def _after(type_: E, before: Any, data: Mapping[str, Any]) -> Any:
    match type_:
        case E.MEMBERSHIP_CREATED | E.MEMBERSHIP_READMITTED:
            assert before is None
            return dict(data["card"])
        case E.MEMBERSHIP_RENEWED:
            return before | {name: data[name] for name in ("joined_at", "expires_at")}
        case E.MEMBERSHIP_TIER_CHANGED:
            return before | {name: data[name] for name in ("tier_number", "member_number")}
        case E.MEMBERSHIP_MOVED:
            arrived = data["wallet"] == data["to"]
            assert data["replaced"] == (arrived and before is not None) or not arrived
            assert arrived or data["card"] == before
            return data["card"] if arrived else None
        case E.STAMP_CREATED:
            assert not before
            return True
        case E.STAMP_MOVED:
            assert (data["wallet"] == data["from"]) == bool(before)
            return data["wallet"] == data["to"]
        case _:
            return None


def on_paper(paper: Paper) -> State:
    """The same, from the contracts' words."""
    return _of_words(paper.words())


def as_held(held: Mapping[bytes, HoldingState]) -> State:
    """The same, from what the index has of each wallet."""
    return _of_words(
        {
            who: (each.joined_at, each.expires_at, each.tier, each.serial, each.flags, tuple(each.stamps))
            for who, each in held.items()
        }
    )


def _of_words(words: Mapping[bytes, tuple[int, int, int, int, int, tuple[int, ...]]]) -> State:
    state: State = {}
    for who, (joined_at, expires_at, tier, serial, _flags, stamps) in words.items():
        wallet = checksummed(who.hex())
        if joined_at:
            state[membership_object(wallet)] = {
                "joined_at": _iso(joined_at),
                "expires_at": _iso(expires_at) if expires_at else None,
                "tier_number": tier,
                "member_number": serial,
            }
        for season, word in enumerate(stamps):
            for stamp_type in range(1, 121):
                if word >> stamp_type - 1 & 1:
                    state[stamp_object(wallet, season, stamp_type)] = True
    return state


def _iso(timestamp: int) -> str:
    return f"{at(timestamp):%Y-%m-%dT%H:%M:%SZ}"
