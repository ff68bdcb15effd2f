"""Builders with defaults, for tests that want to show only what matters to them."""

from datetime import UTC, datetime

from nftloyalty.domain.address import Address, number_address
from nftloyalty.domain.program import Program
from nftloyalty.domain.program_file import read_program
from nftloyalty.domain.words import CardWord, Flag

NO_FLAGS = Flag(0)
NOW = datetime(2027, 3, 1, 12, 0, tzinfo=UTC)

HEAD = """\
[program]
id = "bean"
brand = "Bean"
name = "Bean Club"
symbol = "BEAN"
"""

TIERS = """\
[[tiers]]
id = "member"
name = "Member"
[[tiers]]
id = "silver"
name = "Silver Friend"
[[tiers]]
id = "gold"
name = "Gold"
"""


def program_text(rest: str = "", *, head: str = HEAD, tiers: str = TIERS) -> str:
    return head + tiers + rest


def program(rest: str = "") -> Program:
    return read_program(program_text(rest), "program.toml")


def wallet(number: int = 0) -> Address:
    """A wallet with letters in its address, so that its checksum says something; another one for each number."""
    return number_address(0xABCDEF << 136 | 0xC0FFEE << 32 | number)


def card(
    joined_at: int = 1_700_000_000, expires_at: int = 0, tier: int = 1, serial: int = 1, flags: Flag = NO_FLAGS
) -> CardWord:
    return CardWord(joined_at, expires_at, tier, serial, moved_at=0, nonce=0, flags=flags)


def no_card(flags: Flag = NO_FLAGS) -> CardWord:
    return card(joined_at=0, tier=0, serial=0 if flags == 0 else 1, flags=flags)
