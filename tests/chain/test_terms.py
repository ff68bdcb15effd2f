"""Where program.toml and the chain disagree, and the calls that bring them together."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from eth_abi.abi import encode as abi_encode

from nftloyalty.chain import terms
from nftloyalty.chain.abi import function
from nftloyalty.chain.client import Node
from nftloyalty.chain.contracts import Membership, QuotaKind, Stamps, TypeBlock
from nftloyalty.chain.terms import Difference, changes_of
from nftloyalty.devchain import DevChainServer
from nftloyalty.domain.program import Program, StampType
from nftloyalty.domain.program_file import NO_CAP
from nftloyalty.domain.words import Role
from nftloyalty.errors import ChainProblem
from tests.chain.opened import GUARDIAN, HOT, OWNER, POWERS, STAMPS, STRANGER, Opened, open_program, transact
from tests.domain.build import program, wallet


def test_an_open_program_reads_as_its_file(opened: Opened) -> None:
    state = terms.read_state(opened.node, opened.membership.address, POWERS)
    assert terms.differences(opened.program, POWERS, state) == []
    assert state.stamps == opened.stamps.address
    assert state.tiers == ("Member", "Silver Friend", "Gold")
    assert state.cap == NO_CAP
    assert state.roles == {HOT.address: Role.MINTER | Role.SIGNER | Role.MANAGER, GUARDIAN.address: Role.GUARDIAN}
    assert sorted(state.types) == [1, 2, 11, 12, 13, 14, 15]


def changed_file(described: Program) -> Program:
    latte, gold, coffee = described.stamps
    return replace(
        described,
        name="Other",
        symbol="OTHER",
        cap=99,
        recovery_delay_seconds=9 * 86_400,
        move_cooldown_seconds=0,
        base_uri="ipfs://x/",
        contract_uri="ipfs://y",
        stamps_base_uri="ar://z/",
        look=replace(described.look, background=0x0000FF, ink=0xFFFF00),
        card_quotas=replace(described.card_quotas, mint=401),
        stamp_quotas=replace(described.stamp_quotas, manage=7),
        tiers=(replace(described.tiers[0], name="Friend"), *described.tiers[1:2]),
        stamps=(
            replace(latte, name="Caffè latte", cap=5, first=3),
            replace(gold, redeemable=False, min_tier=0, members_only=False),
            replace(coffee, cap=None, size=6),
        ),
    )


def test_every_difference_is_told_with_its_key_and_both_values(opened: Opened) -> None:
    state = terms.read_state(opened.node, opened.membership.address, POWERS)
    powers = replace(POWERS, owner=STRANGER.address, minters=(GUARDIAN.address,))
    said = terms.differences(changed_file(opened.program), powers, state)
    assert [str(each) for each in said] == [
        'program.name: "Other" in program.toml, "Bean Club" on chain (can never change)',
        'program.symbol: "OTHER" in program.toml, "BEAN" on chain (can never change)',
        "program.recovery_delay_days: 9 in program.toml, 7 on chain (can never change)",
        "program.move_cooldown_days: 0 in program.toml, 30 on chain (can never change)",
        "look.background: #0000FF in program.toml, #14213D on chain (can never change)",
        "look.ink: #FFFF00 in program.toml, #FFFFFF on chain (can never change)",
        'program.base_uri: "ipfs://x/" in program.toml, "" on chain',
        'program.contract_uri: "ipfs://y" in program.toml, "" on chain',
        'program.stamps_base_uri: "ar://z/" in program.toml, "" on chain',
        "program.cap: 99 in program.toml, no cap on chain",
        f"powers.owner: {STRANGER.address} in program.toml, {OWNER.address} on chain "
        "(changes hands by `nftloyalty handover`)",
        f"powers.minters: {GUARDIAN.address} in program.toml, not on chain",
        f"powers.minters: {HOT.address} on chain, not in program.toml",
        "quotas.cards.mint: 401 in program.toml, 400 on chain",
        "quotas.stamps.manage: 7 in program.toml, 1000 on chain",
        'tiers[1].name: "Friend" in program.toml, "Member" on chain',
        'tiers[3].name: none in program.toml, "Gold" on chain (a tier can\'t be taken away)',
        "stamps 'latte': number 3 in program.toml, no such type on chain",
        "stamps 'gold-only' members_only: false in program.toml, true on chain",
        "stamps 'gold-only' redeemable: false in program.toml, true on chain",
        "stamps 'gold-only' min_tier: 0 in program.toml, 3 on chain",
        "stamp_cards 'coffee' cap: no cap in program.toml, 50 on chain",
        "stamp_cards 'coffee' numbers: 11 to 16 in program.toml, 11 to 15 on chain (can never change)",
        "stamp_cards 'coffee': number 16 in program.toml, no such type on chain "
        "(a stamp card can't grow: give further stamps one of their own)",
        f'stamp type 1: none in program.toml, "Latte" on chain ({STAYS})',
    ]
    # A difference is either changed by a call or says why not.
    assert all(bool(each.changes) != bool(each.note) for each in said)


STAYS = "stays for good; name it in program.toml to change its terms"


def test_what_the_owner_changed_on_chain_shows() -> None:
    with DevChainServer() as server:
        changed = open_program(Node(server.url), program(STAMPS))
        node, membership, stamps = changed.node, changed.membership.address, changed.stamps.address
        late = TypeBlock(40, 1, 9, 2_000_000_000, 2_100_000_000, 0, 0, "Late")
        for signer, to, data in (
            (OWNER, membership, Membership.encode_set_cap(500)),
            (OWNER, membership, Membership.encode_set_tiers(["Member", "Silver Friend", "Gold", "Jade"])),
            (OWNER, membership, Membership.encode_set_base_uri("https://example.org/cards/")),
            (OWNER, membership, Membership.encode_set_contract_uri("https://example.org/c")),
            (GUARDIAN, membership, Membership.encode_set_quota(QuotaKind.MINT, 5)),
            (OWNER, stamps, Stamps.encode_set_quota(QuotaKind.CLAIM, 6)),
            (OWNER, membership, Membership.encode_revoke_roles(HOT.address, Role.SIGNER)),
            (OWNER, stamps, Stamps.encode_define_types([late])),
            (OWNER, stamps, Stamps.encode_set_type(1, 7, 0, 2_000_000_000, 0, 0)),
            (STRANGER, membership, Membership.encode_request_ownership_handover()),
            (OWNER, membership, Membership.encode_complete_ownership_handover(STRANGER.address)),
        ):
            assert transact(node, signer, to, data).succeeded
        before = terms.read_state(node, membership, POWERS, changed.receipt.block_number)
        assert terms.differences(changed.program, POWERS, before) == []
        state = terms.read_state(node, membership, POWERS)
        assert [str(each) for each in terms.differences(changed.program, POWERS, state)] == [
            'program.base_uri: "" in program.toml, "https://example.org/cards/" on chain',
            'program.contract_uri: "" in program.toml, "https://example.org/c" on chain',
            "program.cap: no cap in program.toml, 500 on chain",
            f"powers.owner: {OWNER.address} in program.toml, {STRANGER.address} on chain "
            "(changes hands by `nftloyalty handover`)",
            f"powers.signers: {HOT.address} in program.toml, not on chain",
            "quotas.cards.mint: 400 in program.toml, 5 on chain",
            "quotas.stamps.claim: 5000 in program.toml, 6 on chain",
            'tiers[4].name: none in program.toml, "Jade" on chain (a tier can\'t be taken away)',
            "stamps 'latte' cap: no cap in program.toml, 7 on chain",
            "stamps 'latte' closes: none in program.toml, 2033-05-18T03:33:20+00:00 on chain",
            f'stamp type 40: none in program.toml, "Late" on chain ({STAYS})',
        ]


def test_a_place_without_a_program_is_said_so(opened: Opened) -> None:
    with pytest.raises(ChainProblem, match="no such contract there"):
        terms.read_state(opened.node, wallet(), POWERS)


# ------------------------------------------------------------------------------------------------------------- changes


def test_the_calls_bring_the_chain_to_what_the_file_says() -> None:
    """All that can change changes, once; what is left says why."""
    with DevChainServer() as server:
        before = open_program(Node(server.url), program(STAMPS))
        node = before.node
        gold = before.program.stamps[1]
        assert transact(node, HOT, before.stamps.address, Stamps.encode_mint(wallet(), 1)).succeeded
        wanted = replace(
            changed_file(before.program),
            tiers=tuple(replace(tier, name=name) for tier, name in zip(before.program.tiers, NAMES, strict=True)),
            stamps=(
                replace(before.program.stamps[0], cap=1, closes=datetime(2040, 1, 1, tzinfo=UTC), redeemable=True),
                replace(gold, min_tier=0, redeemable=False, members_only=True),
                replace(before.program.stamps[2], cap=60),
                replace(gold, id="tea", name="Tea", first=30, min_tier=1, members_only=True),
                replace(gold, id="card", name="A card", first=40, size=3, min_tier=0, members_only=False),
            ),
        )
        powers = replace(POWERS, minters=(GUARDIAN.address,), guardians=())
        state = terms.read_state(node, before.membership.address, powers)
        changes = changes_of(terms.differences(wanted, powers, state))
        # One for all tiers, one for all new stamps, one for each number of the stamp card, and powers taken last.
        assert [change.takes for change in changes[-2:]] == [True, True]
        assert not any(change.takes for change in changes[:-2])
        assert len(changes) == 3 + 1 + 1 + 2 + 1 + 2 + 5 + 1 + 2
        for change in changes:
            assert transact(node, OWNER, change.to, change.data).succeeded, change.what
        state = terms.read_state(node, before.membership.address, powers)
        left = terms.differences(wanted, powers, state)
        assert changes_of(left) == []
        assert [each.line.split(":")[0] for each in left] == [
            "program.name",
            "program.symbol",
            "program.recovery_delay_days",
            "program.move_cooldown_days",
            "look.background",
            "look.ink",
            "stamps 'latte' redeemable",
        ]


NAMES = ("Friend", "Silver Friend", "Platinum")


def said_of(opened: Opened, wanted: Program, **state: object) -> list[Difference]:
    found = terms.read_state(opened.node, opened.membership.address, POWERS)
    return terms.differences(wanted, POWERS, replace(found, **state))  # type: ignore[arg-type]


def test_tiers_that_trade_places_are_refused(opened: Opened) -> None:
    """Members hold a number: the file's new order would make gold members plain ones."""
    first, second, third = opened.program.tiers
    said = said_of(opened, replace(opened.program, tiers=(second, first, third)))
    assert len(said) == 2
    assert all("a tier keeps its place" in each.note and not each.changes for each in said)


def test_a_new_tier_goes_to_the_end(opened: Opened) -> None:
    tiers = opened.program.tiers
    jade = replace(tiers[0], id="jade", name="Jade", number=4)
    (said,) = said_of(opened, replace(opened.program, tiers=(*tiers, jade)))
    assert said.changes[0].data == Membership.encode_set_tiers(["Member", "Silver Friend", "Gold", "Jade"])
    (front, *_) = said_of(opened, replace(opened.program, tiers=(jade, *tiers)))
    assert "a tier keeps its place" in front.note


def test_what_was_frozen_stays(opened: Opened) -> None:
    tiers = opened.program.tiers
    renamed = replace(opened.program, tiers=(replace(tiers[0], name="Friend"), *tiers[1:]), base_uri="ipfs://x/")
    assert [each.note for each in said_of(opened, renamed, frozen=True)] == [
        "names and metadata were frozen for good",
        "names and metadata were frozen for good",
    ]
    more = replace(opened.program, tiers=(*tiers, replace(tiers[0], name="Jade", number=4)))
    (added,) = said_of(opened, more, frozen=True)
    assert added.changes


def test_a_cap_below_what_there_is_is_not_asked_for(opened: Opened) -> None:
    (said,) = said_of(opened, replace(opened.program, cap=5), living=6)
    assert (said.note, said.changes) == ("there are 6 cards already", ())


def test_a_stamps_cap_below_what_was_given_keeps_the_other_terms_changing(opened: Opened) -> None:
    latte: StampType = opened.program.stamps[0]
    found = terms.read_state(opened.node, opened.membership.address, POWERS)
    types = {**found.types, 1: replace(found.types[1], minted=7)}
    wanted = replace(latte, cap=5, closes=datetime(2040, 1, 1, tzinfo=UTC))
    said = said_of(opened, replace(opened.program, stamps=(wanted, *opened.program.stamps[1:])), types=types)
    assert [(each.note, len(each.changes)) for each in said] == [("7 were given already", 0), ("", 1)]
    closes = int(datetime(2040, 1, 1, tzinfo=UTC).timestamp())
    assert said[1].changes[0].data == Stamps.encode_set_type(1, NO_CAP, 0, closes, 0, 0)


def test_text_from_the_chain_can_not_write_to_the_terminal(opened: Opened) -> None:
    names = ("Member", "Silver\x1b]0;owned\x07", "Gold")
    (said,) = said_of(opened, opened.program, tiers=names)
    assert "\x1b" not in str(said) and "\x07" not in str(said)
    assert "Silver ]0;owned" in str(said)


def test_names_that_are_no_text_spoil_no_read() -> None:
    """The contracts take any bytes; one letter of Latin-1 must not make a program unreadable."""
    with DevChainServer() as server:
        there = open_program(Node(server.url), program(STAMPS))
        node, membership, stamps = there.node, there.membership, there.stamps
        tiers = abi_encode(["bytes[]"], [[b"Member", b"Silver Friend", b"Caf\xe9"]])
        name = function("LoyaltyMembership", "setTiers").selector
        assert transact(node, OWNER, membership.address, name + tiers).succeeded
        block = (40, 1, 9, 0, 0, 0, 0, b"T\xff")
        types = abi_encode(["(uint8,uint8,uint32,uint40,uint40,uint8,uint8,bytes)[]"], [[block]])
        name = function("LoyaltyStamps", "defineTypes").selector
        assert transact(node, OWNER, stamps.address, name + types).succeeded
        assert membership.tier_names()[2] == "Caf\\xe9"
        state = terms.read_state(node, membership.address, POWERS)
        said = [str(each) for each in terms.differences(there.program, POWERS, state)]
        assert 'tiers[3].name: "Gold" in program.toml, "Caf\\xe9" on chain' in said
        assert f'stamp type 40: none in program.toml, "T\\xff" on chain ({STAYS})' in said


def test_times_that_no_calendar_has_are_shown(opened: Opened) -> None:
    found = terms.read_state(opened.node, opened.membership.address, POWERS)
    far = replace(found.types[1], closes=(1 << 40) - 1)
    (said,) = said_of(opened, opened.program, types={**found.types, 1: far})
    assert "second 1099511627775, beyond the year 9999 on chain" in str(said)
