"""The files in examples/ are good ones: people copy them."""

from datetime import UTC, datetime
from pathlib import Path

import pytest
from eth_keys.datatypes import PrivateKey

from nftloyalty.domain.program import Program
from nftloyalty.domain.program_file import read_program
from nftloyalty.domain.roster import CardRow
from nftloyalty.domain.roster_file import read_cards, read_stamps

EXAMPLES = Path(__file__).parents[2] / "examples"
NOW = datetime(2027, 1, 1, tzinfo=UTC)
# Windows and expiries in examples have to last, for `make demo` runs on them.
LATER = datetime(2047, 1, 1, tzinfo=UTC)


def program(name: str) -> Program:
    path = EXAMPLES / name / "program.toml"
    return read_program(path.read_text(encoding="utf-8"), str(path))


def members(name: str, now: datetime) -> list[CardRow]:
    path = EXAMPLES / name / "members.csv"
    with path.open(encoding="utf-8") as lines:
        rows, problems = read_cards(lines, program(name), now, str(path))
    assert problems == []
    return rows


@pytest.mark.parametrize("now", [NOW, LATER])
@pytest.mark.parametrize(("name", "prefix", "count"), [("coffee", "c0ffee", 12), ("fashion", "fa5410", 10)])
def test_members_can_be_read_and_their_keys_are_the_made_up_ones(
    name: str, prefix: str, count: int, now: datetime
) -> None:
    rows = members(name, now)
    made_up = [PrivateKey(bytes.fromhex(f"{prefix}{number:058x}")) for number in range(1, count + 1)]
    assert [row.address for row in rows] == [key.public_key.to_checksum_address() for key in made_up]
    assert {row.tier for row in rows} == {tier.number for tier in program(name).tiers}


def test_the_coffee_chain_shows_tiers_a_stamp_card_windows_and_gates() -> None:
    coffee = program("coffee")
    assert [tier.name for tier in coffee.tiers] == ["Member", "Silver", "Gold"]
    assert coffee.stamp_number("coffee-card-5") - coffee.stamp_number("coffee-card-1") == 4
    assert any(stamp.opens and stamp.closes for stamp in coffee.stamps)
    assert any(stamp.min_tier for stamp in coffee.stamps)
    assert any(stamp.cap for stamp in coffee.stamps)


def test_latte_week_goes_to_members_while_it_is_open() -> None:
    path = EXAMPLES / "coffee" / "latte-week.csv"
    rows, problems = read_stamps(path.read_text(encoding="utf-8").splitlines(), str(path))
    assert problems == []
    assert {row.address for row in rows} < {row.address for row in members("coffee", NOW)}
    coffee = program("coffee")
    latte = coffee.stamp_type(coffee.stamp_number("latte-week"))
    assert latte.opens is not None
    assert latte.closes is not None
    assert latte.opens < NOW < LATER < latte.closes


def test_the_fashion_club_shows_a_cap_expiries_and_a_minimum_tier() -> None:
    fashion = program("fashion")
    assert fashion.cap == 2_000
    assert all(row.expires_at for row in members("fashion", NOW))
    assert {stamp.min_tier for stamp in fashion.stamps} == {0, 2}
    assert fashion.card_quotas.mint < fashion.cap


@pytest.mark.parametrize("name", ["coffee", "fashion"])
def test_the_hot_key_is_not_the_owners(name: str) -> None:
    powers = program(name).powers
    assert powers.opener == powers.owner == "owner"
    assert powers.minters == powers.signers == ("hot",)
    assert powers.managers == powers.guardians == ("desk",)
