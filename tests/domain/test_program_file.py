import re
import tomllib
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.program import ChainTerms, Look, Powers, Program, Quotas, StampType, Tier
from nftloyalty.domain.program_file import REQUIRED, SCHEMA, contrast, read_program, template
from nftloyalty.errors import BadInput, Unknown
from tests.domain.build import HEAD, program, program_text, wallet

STAMP = '[[stamps]]\nid = "latte"\nnumber = 1\nname = "Latte"\n'
CARD = '[[stamp_cards]]\nid = "round"\nfirst = 11\nstamps = 5\nname = "Round"\n'
LAST_LINE = len(program_text().splitlines())


def problems(text: str) -> list[str]:
    with pytest.raises(BadInput) as caught:
        read_program(text, "program.toml")
    assert caught.value.source == "program.toml"
    return [str(problem) for problem in caught.value.problems]


# ------------------------------------------------------------------------------------------------------------- reading


def test_a_short_file_gets_the_defaults() -> None:
    assert program() == Program(
        id="bean",
        brand="Bean",
        name="Bean Club",
        symbol="BEAN",
        cap=None,
        recovery_delay_seconds=7 * 86_400,
        move_cooldown_seconds=30 * 86_400,
        base_uri="",
        contract_uri="",
        stamps_base_uri="",
        look=Look(0x14213D, 0xFFFFFF),
        chain=ChainTerms(None, None),
        powers=Powers("owner", "owner", ("hot",), ("hot",), (), ()),
        card_quotas=Quotas(10_000, 2_000, 1_000),
        stamp_quotas=Quotas(20_000, 5_000, 1_000),
        tiers=(Tier("member", "Member", 1), Tier("silver", "Silver Friend", 2), Tier("gold", "Gold", 3)),
        stamps=(),
    )


def test_a_full_file_is_read_whole() -> None:
    head = HEAD + (
        "cap = 5_000\nrecovery_delay_days = 3\nmove_cooldown_days = 0\n"
        'base_uri = "ipfs://cards/"\ncontract_uri = "https://bean.example/club.json"\nstamps_base_uri = "ar://stamps/"\n'
    )
    rest = f"""
[look]
background = "#FFF3E0"
ink = "#3b2417"
[chain]
id = 31337
finality_blocks = 0
[powers]
opener = "boss"
owner = "{wallet(1).lower()}"
minters = ["hot", "{wallet(2)}"]
signers = []
managers = ["desk"]
guardians = ["desk"]
[quotas.cards]
mint = 1
claim = 2
manage = 3
[quotas.stamps]
mint = 16777215
{CARD}
[[stamps]]
id = "tasting"
number = 2
name = "Tasting"
cap = 300
opens = 2027-05-01
closes = 2027-05-01
min_tier = "gold"
redeemable = true
"""
    read = read_program(program_text(rest, head=head), "program.toml")
    assert (read.cap, read.recovery_delay_seconds, read.move_cooldown_seconds) == (5_000, 3 * 86_400, 0)
    assert (read.base_uri, read.stamps_base_uri) == ("ipfs://cards/", "ar://stamps/")
    assert read.contract_uri == "https://bean.example/club.json"
    assert read.look == Look(0xFFF3E0, 0x3B2417)
    assert read.chain == ChainTerms(31337, 0)
    assert read.powers == Powers("boss", wallet(1), ("hot", wallet(2)), (), ("desk",), ("desk",))
    assert read.card_quotas == Quotas(1, 2, 3)
    assert read.stamp_quotas == Quotas(16_777_215, 5_000, 1_000)
    start = datetime(2027, 5, 1, tzinfo=UTC)
    assert read.stamps == (
        StampType("tasting", "Tasting", 2, 1, 300, start, start + timedelta(days=1), True, 3, True),
        StampType("round", "Round", 11, 5, None, None, None, False, 0, False),
    )


def test_a_byte_order_mark_is_passed_over() -> None:
    assert read_program("\ufeff" + program_text(), "program.toml") == program()
    assert problems("\ufeff[program\n")[0].startswith("line 1: not TOML at column 9: ")


def test_times_are_read_in_their_zone() -> None:
    read = program(STAMP + "opens = 2027-05-01T08:00:00+07:00\ncloses = 2027-05-01T01:00:01Z\n")
    assert read.stamps[0].opens == datetime(2027, 5, 1, 1, 0, tzinfo=UTC)
    assert read.stamps[0].closes == datetime(2027, 5, 1, 1, 0, 1, tzinfo=UTC)


def test_the_owner_is_the_opener_unless_named() -> None:
    assert program('[powers]\nopener = "boss"\n').powers.owner == "boss"


def test_stamp_numbers_may_touch_and_reach_both_ends() -> None:
    read = program(
        STAMP
        + CARD.replace("11", "2")
        + CARD.replace("round", "last").replace("11", "116")
        + STAMP.replace("latte", "next").replace("= 1", "= 7")
    )
    assert [(stamp.first, stamp.size) for stamp in read.stamps] == [(1, 1), (2, 5), (7, 1), (116, 5)]


# -------------------------------------------------------------------------------------------------- every kind of fault

L = LAST_LINE + 1  # the first line of what a case adds
DATE_MEND = "write a date as 2027-01-31, or a time with its zone as 2027-01-31T09:00:00+07:00, both without quotes"
ID_MEND = "up to 32 small letters, digits and hyphens, the first a letter"
KEY_MEND = "small letters, digits and hyphens, the first a letter"
URI_MEND = "empty, or starting with https://, ipfs:// or ar://, no spaces"
NUMBER_MEND = "without quotes and without a point"

# What is added to a good file, and what is said about it: line, path, fault, mend.
FAULTS = {
    "unknown section": (
        "[colours]\n",
        L,
        "colours",
        "is not known",
        "known here: chain, look, powers, program, quotas, stamp_cards, stamps, tiers",
    ),
    "mistyped section": ("[lok]\n", L, "lok", "is not known", "did you mean look?"),
    "mistyped key": (
        '[look]\nbackgrund = "#000000"\n',
        L + 1,
        "look.backgrund",
        "is not known",
        "did you mean background?",
    ),
    "unknown key": ("[chain]\nrpc = 1\n", L + 1, "chain.rpc", "is not known", "known here: finality_blocks, id"),
    "mistyped quota section": ("[quotas.card]\n", L, "quotas.card", "is not known", "did you mean cards?"),
    "quota without section": (
        "[quotas]\nmint = 5\n",
        L + 1,
        "quotas.mint",
        "is not known",
        "known here: cards, stamps",
    ),
    "section as a value": (
        "[quotas]\ncards = 5\n",
        L + 1,
        "quotas.cards",
        "must be a section",
        "write [quotas.cards] on a line of its own and its keys below",
    ),
    "section as a list": (
        "[[look]]\n",
        L,
        "look",
        "must be a section",
        "write [look] on a line of its own and its keys below",
    ),
    "list as a section": (
        '[stamps]\nid = "latte"\n',
        L,
        "stamps",
        "must be a list of sections",
        "write [[stamps]] with two brackets, once for each",
    ),
    "colour": (
        '[look]\nink = "white"\n',
        L + 1,
        "look.ink",
        '"white" is not a colour',
        'write it as "#RRGGBB", for example "#4A2C2A"',
    ),
    "short colour": (
        '[look]\nink = "#fff"\n',
        L + 1,
        "look.ink",
        '"#fff" is not a colour',
        'write it as "#RRGGBB", for example "#4A2C2A"',
    ),
    "weak contrast": (
        '[look]\nink = "#757575"\nbackground = "#F5F5F5"\n',
        L + 1,
        "look.ink",
        "the contrast of ink on background is 4.22 to 1, too weak to read",
        "at least 4.5 to 1: make one lighter or the other darker",
    ),
    "weak contrast with the default": (
        '[look]\nbackground = "#FFFF00"\n',
        L + 1,
        "look.background",
        "the contrast of ink on background is 1.07 to 1, too weak to read",
        "at least 4.5 to 1: make one lighter or the other darker",
    ),
    "chain id of 0": (
        "[chain]\nid = 0\n",
        L + 1,
        "chain.id",
        "0 is out of range",
        "from 1 to 9_223_372_036_854_775_771",
    ),
    "chain id in quotes": ('[chain]\nid = "1"\n', L + 1, "chain.id", "must be a whole number", NUMBER_MEND),
    "number with a point": ("[chain]\nid = 1.0\n", L + 1, "chain.id", "must be a whole number", NUMBER_MEND),
    "true as a number": ("[chain]\nid = true\n", L + 1, "chain.id", "must be a whole number", NUMBER_MEND),
    "finality below 0": (
        "[chain]\nfinality_blocks = -1\n",
        L + 1,
        "chain.finality_blocks",
        "-1 is out of range",
        "from 0 to 100_000",
    ),
    "quota of 0": (
        "[quotas.cards]\nmint = 0\n",
        L + 1,
        "quotas.cards.mint",
        "0 is out of range",
        "from 1 to 16_777_215",
    ),
    "quota too large": (
        "[quotas.stamps]\nclaim = 16777216\n",
        L + 1,
        "quotas.stamps.claim",
        "16777216 is out of range",
        "from 1 to 16_777_215",
    ),
    "opener is an address": (
        f'[powers]\nopener = "{wallet()}"\n',
        L + 1,
        "powers.opener",
        "must be the name of a key",
        "the opener signs the opening, so its key has to be in the keystore",
    ),
    "name of a key": (
        '[powers]\nowner = "The Boss"\n',
        L + 1,
        "powers.owner",
        '"The Boss" is not the name of a key',
        KEY_MEND,
    ),
    "wrong address": (
        '[powers]\nowner = "0x12"\n',
        L + 1,
        "powers.owner",
        '"0x12": not an address',
        "the name of a key, or an address",
    ),
    "one key instead of a list": (
        '[powers]\nminters = "hot"\n',
        L + 1,
        "powers.minters",
        "must be a list",
        'for example ["hot"]',
    ),
    "key of a wrong kind": (
        "[powers]\nminters = [1]\n",
        L + 1,
        "powers.minters",
        "must be text",
        "put it in double quotes",
    ),
    "key named twice": (
        '[powers]\nminters = ["hot", "hot"]\n',
        L + 1,
        "powers.minters",
        "names hot twice",
        "remove one",
    ),
    "address named twice": (
        f'[powers]\nminters = ["{wallet()}", "{wallet().lower()}"]\n',
        L + 1,
        "powers.minters",
        f"names {wallet()} twice",
        "remove one",
    ),
    "tier id": ('[[tiers]]\nid = "Platinum"\nname = "P"\n', L + 1, "tiers[4].id", '"Platinum" is not an id', ID_MEND),
    "tier id twice": (
        '[[tiers]]\nid = "gold"\nname = "P"\n',
        L + 1,
        "tiers[4].id",
        f'"gold" is taken by tiers[3] in line {L - 2}',
        "choose another",
    ),
    "tier name twice": (
        '[[tiers]]\nid = "p"\nname = "Gold"\n',
        L + 2,
        "tiers[4].name",
        f'"Gold" is taken by tiers[3] in line {L - 1}',
        "choose another",
    ),
    "tier without name": ('[[tiers]]\nid = "p"\n', L, "tiers[4].name", "is missing", "add name = ..."),
    "empty name": (
        '[[tiers]]\nid = "p"\nname = " "\n',
        L + 2,
        "tiers[4].name",
        "is empty",
        "give the name people will see",
    ),
    "name with a space at its end": (
        '[[tiers]]\nid = "p"\nname = "P "\n',
        L + 2,
        "tiers[4].name",
        "starts or ends with a space",
        "remove it",
    ),
    "name on two lines": (
        '[[tiers]]\nid = "p"\nname = "P\\nQ"\n',
        L + 2,
        "tiers[4].name",
        "contains the invisible character U+000A",
        "write the name on one line",
    ),
    "name that is read backwards": (
        '[[tiers]]\nid = "p"\nname = "P\\u202EQ"\n',
        L + 2,
        "tiers[4].name",
        "contains the invisible character U+202E",
        "write the name on one line",
    ),
    "long name": (
        f'[[tiers]]\nid = "p"\nname = "{"咖" * 22}"\n',
        L + 2,
        "tiers[4].name",
        "takes 66 bytes",
        "at most 64, where letters with accents take 2 and others up to 4",
    ),
    "number out of range": (
        STAMP.replace("= 1", "= 121"),
        L + 2,
        "stamps[1].number",
        "121 is out of range",
        "from 1 to 120",
    ),
    "stamp without number": (
        '[[stamps]]\nid = "latte"\nname = "L"\n',
        L,
        "stamps[1].number",
        "is missing",
        "add number = ...",
    ),
    "number taken": (
        STAMP + STAMP.replace("latte", "mocha"),
        L + 6,
        "stamps[2].number",
        "number 1 is taken by stamps[1]",
        "the next free one is 2",
    ),
    "id taken": (
        STAMP + STAMP.replace("= 1", "= 2"),
        L + 5,
        "stamps[2].id",
        f'"latte" is taken by stamps[1] in line {L + 1}',
        "choose another",
    ),
    "id taken by a stamp of a card": (
        CARD + STAMP.replace("latte", "round-5"),
        L + 1,
        "stamp_cards[1].id",
        f'"round-5" is taken by stamps[1] in line {L + 6}',
        "choose another",
    ),
    "card over a stamp": (
        STAMP.replace("= 1", "= 13") + CARD,
        L + 6,
        "stamp_cards[1].first",
        "number 13 is taken by stamps[1]",
        "the next free one is 1",
    ),
    "card over a card": (
        CARD + CARD.replace("round", "next").replace("11", "15"),
        L + 7,
        "stamp_cards[2].first",
        "number 15 is taken by stamp_cards[1]",
        "the next free one is 1",
    ),
    "card beyond the last number": (
        CARD.replace("11", "117"),
        L + 2,
        "stamp_cards[1].first",
        "the stamp card would take the numbers 117 to 121",
        "numbers end at 120: start at 116 or lower",
    ),
    "card of one stamp": (
        CARD.replace("= 5", "= 1"),
        L + 3,
        "stamp_cards[1].stamps",
        "1 is out of range",
        "from 2 to 120",
    ),
    "cap of 0": (STAMP + "cap = 0\n", L + 4, "stamps[1].cap", "0 is out of range", "from 1 to 4_294_967_294"),
    "cap that means none": (
        STAMP + "cap = 4294967295\n",
        L + 4,
        "stamps[1].cap",
        "4294967295 is out of range",
        "from 1 to 4_294_967_294",
    ),
    "flag in quotes": (
        STAMP + 'redeemable = "yes"\n',
        L + 4,
        "stamps[1].redeemable",
        "must be true or false",
        "without quotes",
    ),
    "date in quotes": (
        STAMP + 'opens = "2027-05-01"\n',
        L + 4,
        "stamps[1].opens",
        "2027-05-01 is not a date",
        DATE_MEND,
    ),
    "time of day": (STAMP + "opens = 09:00:00\n", L + 4, "stamps[1].opens", "09:00:00 is not a date", DATE_MEND),
    "number as a date": (STAMP + "opens = 20270501\n", L + 4, "stamps[1].opens", "20270501 is not a date", DATE_MEND),
    "list as a date": (STAMP + "opens = []\n", L + 4, "stamps[1].opens", "this is not a date", DATE_MEND),
    "month 13": (STAMP + "opens = 2027-13-01\n", L + 4, "stamps[1].opens", "2027-13-01 is not a date", DATE_MEND),
    "30 February": (
        STAMP + "closes = 2027-02-30 # ?\n",
        L + 4,
        "stamps[1].closes",
        "2027-02-30 is not a date",
        DATE_MEND,
    ),
    "date with slashes": (
        STAMP + "opens=31/12/2027\n",
        L + 4,
        "stamps[1].opens",
        "31/12/2027 is not a date",
        DATE_MEND,
    ),
    "time without seconds": (
        STAMP + "opens = 2027-05-01T08:00+07:00\n",
        L + 4,
        "stamps[1].opens",
        "2027-05-01T08:00+07:00 is not a date",
        DATE_MEND,
    ),
    "date of one digit": (STAMP + "opens = 2027-5-1\n", L + 4, "stamps[1].opens", "2027-5-1 is not a date", DATE_MEND),
    "time without a zone": (
        STAMP + "opens = 2027-05-01T09:00:00\n",
        L + 4,
        "stamps[1].opens",
        "is a time without a zone",
        "add it, as 2027-05-01T09:00:00+00:00",
    ),
    "fraction of a second": (
        STAMP + "opens = 2027-05-01T09:00:00.5Z\n",
        L + 4,
        "stamps[1].opens",
        "has a fraction of a second",
        "write whole seconds",
    ),
    "before 1970": (STAMP + "opens = 1969-12-31\n", L + 4, "stamps[1].opens", "is out of range", "from 1970 on"),
    "before the calendar": (
        STAMP + "opens = 0001-01-01T00:00:00+05:00\n",
        L + 4,
        "stamps[1].opens",
        "is out of range",
        "from 1970 on",
    ),
    "after the calendar": (
        STAMP + "closes = 9999-12-31\n",
        L + 4,
        "stamps[1].closes",
        "is out of range",
        "leave the key out for no end",
    ),
    "closes before it opens": (
        STAMP + "opens = 2027-05-02\ncloses = 2027-05-01\n",
        L + 5,
        "stamps[1].closes",
        "is not later than opens",
        "nobody could ever get this stamp",
    ),
    "unknown tier": (
        STAMP + 'min_tier = "glod"\n',
        L + 4,
        "stamps[1].min_tier",
        'there is no tier "glod"',
        "did you mean gold?",
    ),
    "quite unknown tier": (
        STAMP + 'min_tier = "x"\n',
        L + 4,
        "stamps[1].min_tier",
        'there is no tier "x"',
        "the tiers are member, silver, gold",
    ),
    "members only against tier": (
        STAMP + 'members_only = false\nmin_tier = "gold"\n',
        L + 4,
        "stamps[1].members_only",
        "is false, but min_tier asks for members",
        "remove one of the two",
    ),
}


@pytest.mark.parametrize(("rest", "line", "path", "what", "mend"), FAULTS.values(), ids=list(FAULTS))
def test_a_fault_is_named_with_its_place_and_mend(rest: str, line: int, path: str, what: str, mend: str) -> None:
    assert problems(program_text(rest)) == [f"line {line}, {path}: {what} ({mend})"]


# What stands in for what in [program], and what is said about it.
HEAD_FAULTS = {
    "id": ('"bean"', '"Bean"', 2, "program.id", '"Bean" is not an id', ID_MEND),
    "long id": (
        '"bean"',
        f'"{"b" * 33}"',
        2,
        "program.id",
        '"bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb" is not an id',
        ID_MEND,
    ),
    "id of a wrong kind": ('"bean"', "5", 2, "program.id", "must be text", "put it in double quotes"),
    "symbol": ('"BEAN"', '"Bean!"', 5, "program.symbol", '"Bean!" is not a symbol', "1 to 16 of A-Z, 0-9 and hyphen"),
    "long symbol": (
        '"BEAN"',
        f'"{"B" * 17}"',
        5,
        "program.symbol",
        '"BBBBBBBBBBBBBBBBB" is not a symbol',
        "1 to 16 of A-Z, 0-9 and hyphen",
    ),
    "no symbol": ('symbol = "BEAN"\n', "", 1, "program.symbol", "is missing", "add symbol = ..."),
    "long delay": (
        '"BEAN"',
        '"BEAN"\nrecovery_delay_days = 366',
        6,
        "program.recovery_delay_days",
        "366 is out of range",
        "from 3 to 365",
    ),
    "short delay": (
        '"BEAN"',
        '"BEAN"\nrecovery_delay_days = 2',
        6,
        "program.recovery_delay_days",
        "2 is out of range",
        "from 3 to 365",
    ),
    "cool-down": (
        '"BEAN"',
        '"BEAN"\nmove_cooldown_days = -1',
        6,
        "program.move_cooldown_days",
        "-1 is out of range",
        "from 0 to 365",
    ),
    "no slash": (
        '"BEAN"',
        '"BEAN"\nbase_uri = "https://bean.example/cards"',
        6,
        "program.base_uri",
        "must end with a slash, for the token's number is put behind it",
        'write "https://bean.example/cards/"',
    ),
    "plain http": (
        '"BEAN"',
        '"BEAN"\nstamps_base_uri = "http://bean.example/"',
        6,
        "program.stamps_base_uri",
        '"http://bean.example/" can\'t be used',
        URI_MEND,
    ),
    "space in a URI": (
        '"BEAN"',
        '"BEAN"\ncontract_uri = "https://bean.example/a b"',
        6,
        "program.contract_uri",
        '"https://bean.example/a b" can\'t be used',
        URI_MEND,
    ),
    "long URI": (
        '"BEAN"',
        f'"BEAN"\ncontract_uri = "ar://{"x" * 252}"',
        6,
        "program.contract_uri",
        "has 257 characters",
        "at most 256",
    ),
}


@pytest.mark.parametrize(("old", "new", "line", "path", "what", "mend"), HEAD_FAULTS.values(), ids=list(HEAD_FAULTS))
def test_a_fault_of_the_program_section_is_named(
    old: str, new: str, line: int, path: str, what: str, mend: str
) -> None:
    assert problems(program_text(head=HEAD.replace(old, new, 1))) == [f"line {line}, {path}: {what} ({mend})"]


def test_missing_sections_are_named_with_what_belongs_into_them() -> None:
    assert problems("") == [
        "program: is missing (add the section [program] with id, brand, name, symbol)",
        "tiers: is missing (add at least one [[tiers]] with id and name, the lowest first)",
    ]


def test_a_file_without_tiers_is_told_once() -> None:
    assert problems(HEAD + STAMP + 'min_tier = "gold"\n') == [
        "tiers: is missing (add at least one [[tiers]] with id and name, the lowest first)"
    ]
    assert problems("tiers = 5\n" + HEAD) == [
        "line 1, tiers: must be a list of sections (write [[tiers]] with two brackets, once for each)"
    ]


def test_more_tiers_than_the_contract_counts_are_refused() -> None:
    tiers = "".join(f'[[tiers]]\nid = "t{number}"\nname = "T{number}"\n' for number in range(251))
    assert problems(program_text(tiers=tiers)) == [
        f"line {5 + 3 * 250 + 1}, tiers[251]: there are 251 tiers (at most 250)"
    ]


def test_numbers_without_room_say_so() -> None:
    full = CARD.replace("11", "1").replace("= 5", "= 120")
    assert problems(program_text(full + STAMP)) == [
        f"line {L + 2}, stamp_cards[1].first: number 1 is taken by stamps[1] (there is no room left)"
    ]


def test_all_faults_of_a_file_are_reported_at_once_in_the_order_of_its_lines() -> None:
    rest = '[look]\nink = "white"\n[chain]\nid = 0\n' + STAMP.replace("= 1", "= 0") + "cup = 1\n" + CARD
    assert [problem.split(":")[0] for problem in problems(program_text(rest, head=HEAD.replace('"bean"', '""')))] == [
        "line 2, program.id",
        f"line {L + 1}, look.ink",
        f"line {L + 3}, chain.id",
        f"line {L + 6}, stamps[1].number",
        f"line {L + 8}, stamps[1].cup",
    ]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("[program]\nid = bean\n", "line 2: not TOML at column 6: "),
        ('[program]\nid = "bean\n', "line 2: not TOML at column 11: "),
        ('[program]\nid = "a"\nid = "b"\n', "line 3: not TOML at column 9: "),
        ("[program\n", "line 1: not TOML at column 9: "),
        ("[[tiers]]\n[tiers]\n", "line 2: not TOML at column 7: "),
        ('[program]\nname = """\nBean', "line 3: not TOML at the end: "),
        ("[program]\nopens = 2027-13-01\nid = bean\n", "line 2: not TOML at column "),
        (f"x = {'[' * 5000}", "line 1: not TOML at the end: "),
        (f"x = {'1' * 5000}", "line 1: not TOML at the end: "),
    ],
)
def test_broken_toml_is_named_with_its_line(text: str, problem: str) -> None:
    (found,) = problems(text)
    assert found.startswith(problem)
    assert found.endswith("(text needs double quotes, dates and numbers none; each key stands once in its section)")


def test_a_day_that_no_calendar_has_hides_nothing_else() -> None:
    rest = STAMP + "opens = 2027-13-01\ncloses = 2027-02-30\n" + CARD.replace("= 5", "= 1") + "[chain]\nid = 0\n"
    assert [problem.split(" (")[0] for problem in problems(program_text(rest))] == [
        f"line {L + 4}, stamps[1].opens: 2027-13-01 is not a date",
        f"line {L + 5}, stamps[1].closes: 2027-02-30 is not a date",
        f"line {L + 9}, stamp_cards[1].stamps: 1 is out of range",
        f"line {L + 12}, chain.id: 0 is out of range",
    ]


def test_a_bad_date_is_not_taken_for_text() -> None:
    (found,) = problems(program_text(head=HEAD.replace('"Bean Club"', "2027-13-01")))
    assert found.startswith("line 4: not TOML at column ")


# --------------------------------------------------------------------------------------------------------------- lines


@pytest.mark.parametrize(
    ("head", "place"),
    [
        ('\n# [program]\n  [ program ]  # note\nid = "bean"\nbrnd = 1\n', "line 5, program.brnd"),
        ('program.id = "bean"\nprogram.brnd = 1\n', "line 2, program.brnd"),
        ('program = {id = "bean", brnd = 1}\n', "line 1, program.brnd"),
        ('[program]\n"id" = "bean"\n\'brnd\' = 1\n', "line 3, program.brnd"),
        ('[program]\r\nid = "bean"\r\nbrnd = 1\r\n', "line 3, program.brnd"),
        ('[program]\nname = """\n[look]\nbrnd = 1\n"""\nbrnd = 1\n', "line 6, program.brnd"),
        ('[program]\nname = """a \\""" [\n"""\nbrnd = 1\n', "line 4, program.brnd"),
        ("[program]\nname = '''\nbrnd = 1 \\'''\nbrnd = 1\n", "line 4, program.brnd"),
        ('[program]\nname = "[ \\" {" # [ {\nbrnd = 1\n', "line 3, program.brnd"),
        ("[program]\nname = '[ {'\nbrnd = 1\n", "line 3, program.brnd"),
        ('[program]\nname = [\n  "a", # ]\n  ["brnd = 1"],\n]\nbrnd = 1\n', "line 6, program.brnd"),
        ("[program]\nx = {a = [1], b = {c = 1}}\nbrnd = 1\n", "line 3, program.brnd"),
    ],
)
def test_lines_are_found_in_every_spelling_of_toml(head: str, place: str) -> None:
    tomllib.loads(head)  # the case itself is sound
    assert any(problem.startswith(place + ": is not known (did you mean brand?)") for problem in problems(head))


JUNK = st.text(alphabet=st.sampled_from("[]{}\"'=#\\\n.,abp1 -:T"), max_size=200)


@given(JUNK)
def test_any_text_is_read_or_refused_with_a_problem(text: str) -> None:
    assert problems(text)
    assert problems(program_text() + text + "\n[lok]\n")


# ------------------------------------------------------------------------------------------------------------ template


def test_the_template_is_a_good_file_of_defaults() -> None:
    written = read_program(template(), "program.toml")
    short = program()
    assert written.id == "my-brand"
    for field in ("cap", "look", "chain", "card_quotas", "stamp_quotas", "base_uri"):
        assert getattr(written, field) == getattr(short, field)
    assert [stamp.id for stamp in written.stamps] == ["welcome"]
    assert (written.powers.managers, written.powers.guardians) == (("desk",), ("desk",))


def test_every_commented_setting_of_the_template_can_be_used() -> None:
    text = re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", template())
    full = read_program(text, "program.toml")
    assert [stamp.id for stamp in full.stamps] == ["welcome", "coffee"]
    # What the template shows as usual values are the defaults.
    short = program()
    assert full.look == short.look
    assert (full.card_quotas, full.stamp_quotas) == (short.card_quotas, short.stamp_quotas)
    assert full.recovery_delay_seconds == short.recovery_delay_seconds
    assert full.move_cooldown_seconds == short.move_cooldown_seconds


def test_the_template_shows_every_key() -> None:
    data = tomllib.loads(re.sub(r"(?m)^# (?=\[|[a-z_]+ = )", "", template()))
    for path, keys in SCHEMA.items():
        table: Any = data
        for part in path.split("."):
            table = table[part]
        shown = set().union(*table) if isinstance(table, list) else set(table)
        left_out = {key.name for key in keys} - shown
        # A stamp card has the same terms as a stamp; the template explains them once.
        assert left_out == ({"cap", "opens", "closes", "members_only", "min_tier"} if path == "stamp_cards" else set())


@pytest.mark.parametrize(
    ("brand", "program_id", "symbol"),
    [
        ('Bean \\ "Co"', "bean-co", "BEAN-CO"),
        ("Café Łódź 24", "cafe-odz", "CAFE-ODZ"),
        ("7 Seas", "seas", "SEAS"),
        ("拿铁", "my-program", "MY-PROGRAM"),
        ("The Very Long Name Of A Coffee Company", "the-very-long-name-of-a-coffee-c", "THE-VERY-LONG-NA"),
    ],
)
def test_the_template_makes_id_and_symbol_of_the_brand(brand: str, program_id: str, symbol: str) -> None:
    read = read_program(template(brand), "program.toml")
    assert (read.id, read.brand, read.name, read.symbol) == (program_id, brand, f"{brand} Club", symbol)


@given(st.text())
def test_any_brand_makes_a_template_that_is_toml_with_a_good_id(brand: str) -> None:
    brand = brand.encode(errors="ignore").decode()
    made = tomllib.loads(template(brand))["program"]
    assert made["brand"] == brand
    assert read_program(template("Bean", made["id"]), "program.toml").id == made["id"]


# ------------------------------------------------------------------------------------------------------------- program


def test_stamps_are_found_by_id() -> None:
    read = program(STAMP + CARD)
    assert read.stamp_number("latte") == 1
    assert read.stamp_number("round-1") == 11
    assert read.stamp_number("round-5") == 15
    assert [read.stamp_id(number) for number in (1, 11, 15, 16)] == ["latte", "round-1", "round-5", "type 16"]
    assert read.stamp_type(15).id == "round"


@pytest.mark.parametrize("wrong", ["round", "round-6", "Latte", ""])
def test_an_unknown_stamp_is_told_the_valid_ones(wrong: str) -> None:
    with pytest.raises(Unknown, match=re.escape(f"program bean has no stamp {wrong!r}")) as caught:
        program(STAMP + CARD).stamp_number(wrong)
    assert caught.value.mend == "its stamps are latte, round-1, round-2, round-3, round-4, round-5"


def test_a_program_without_stamps_says_so() -> None:
    with pytest.raises(Unknown) as caught:
        program().stamp_number("latte")
    assert caught.value.mend == "its program.toml has no [[stamps]] or [[stamp_cards]]"
    with pytest.raises(Unknown, match="has no stamp type 3"):
        program().stamp_type(3)


def test_tiers_are_found_by_id() -> None:
    read = program()
    assert read.tier("gold") == Tier("gold", "Gold", 3)
    assert [read.tier_name(number) for number in (0, 1, 3, 4)] == ["tier 0", "Member", "Gold", "tier 4"]
    with pytest.raises(Unknown, match="has no tier 'glod'") as caught:
        read.tier("glod")
    assert caught.value.mend == "its tiers are member, silver, gold"


def test_the_salt_is_the_hash_of_the_id() -> None:
    # As `cast keccak bean` prints it.
    assert program().salt().hex() == "0db8b3c7ee0bc9fc504402bd31b11785021a32f1581f26f2e5f5da1fa56328c8"


# ------------------------------------------------------------------------------------------------------------ contrast


@pytest.mark.parametrize(
    ("one", "other", "ratio"),
    [(0x000000, 0xFFFFFF, 21.0), (0xFFFFFF, 0xFFFFFF, 1.0), (0x767676, 0xFFFFFF, 4.54), (0x777777, 0xFFFFFF, 4.48)],
)
def test_contrast_is_that_of_wcag(one: int, other: int, ratio: float) -> None:
    assert contrast(one, other) == pytest.approx(ratio, abs=0.005)
    assert contrast(other, one) == contrast(one, other)


def test_every_default_passes_its_own_check() -> None:
    for keys in SCHEMA.values():
        for key in keys:
            if key.default not in (None, REQUIRED):
                key.check(key.default)
