"""Reading and writing the contracts' ABI, held against web3.py and the EIPs."""

from typing import Any

import pytest
from eth_abi.abi import encode as abi_encode
from eth_utils.crypto import keccak
from hypothesis import given
from hypothesis import strategies as st
from web3 import Web3

from nftloyalty.chain import abi
from nftloyalty.chain.contracts import Factory, Membership, QuotaKind, Stamps
from nftloyalty.chain.deployment import opening_of
from nftloyalty.domain.voucher import CardVoucher, StampVoucher
from nftloyalty.domain.words import Role
from nftloyalty.errors import ChainProblem
from tests.chain.opened import POWERS, STAMPS
from tests.domain.build import program, wallet

A, B = wallet(1), wallet(2)
CARD = CardVoucher(A, 2, 1_900_000_000, 3, 1_800_000_000)
STAMP = StampVoucher(A, 7, 3, 1_800_000_000)
OPENING = opening_of(program(STAMPS), POWERS)
BLOCKS = OPENING.types

# (contract, function, our calldata, the arguments as web3.py takes them)
CALLS: list[tuple[str, str, bytes, list[Any]]] = [
    ("LoyaltyMembership", "mint", Membership.encode_mint(A, 1, 5), [A, 1, 5]),
    ("LoyaltyMembership", "mintBatch", Membership.encode_mint_batch([1, 2**256 - 1]), [[1, 2**256 - 1]]),
    ("LoyaltyMembership", "renewBatch", Membership.encode_renew_batch([3]), [[3]]),
    ("LoyaltyMembership", "setTierBatch", Membership.encode_set_tier_batch([]), [[]]),
    (
        "LoyaltyMembership",
        "claim",
        Membership.encode_claim(CARD, B, b"\x01" * 65),
        [(A, 2, 1_900_000_000, 3, 1_800_000_000), B, b"\x01" * 65],
    ),
    ("LoyaltyMembership", "revoke", Membership.encode_revoke(A, "zażółć"), [A, "zażółć"]),
    ("LoyaltyMembership", "readmit", Membership.encode_readmit(A, 1, 0), [A, 1, 0]),
    ("LoyaltyMembership", "burn", Membership.encode_burn(A, 9, b""), [A, 9, b""]),
    ("LoyaltyMembership", "pause", Membership.encode_pause(), []),
    ("LoyaltyMembership", "unpause", Membership.encode_unpause(), []),
    ("LoyaltyMembership", "setCap", Membership.encode_set_cap(7), [7]),
    ("LoyaltyMembership", "setQuota", Membership.encode_set_quota(QuotaKind.CLAIM, 7), [1, 7]),
    ("LoyaltyMembership", "setTiers", Membership.encode_set_tiers(["a", "b"]), [["a", "b"]]),
    ("LoyaltyMembership", "setBaseURI", Membership.encode_set_base_uri("ipfs://x/"), ["ipfs://x/"]),
    ("LoyaltyMembership", "setContractURI", Membership.encode_set_contract_uri("ar://x"), ["ar://x"]),
    ("LoyaltyMembership", "freezeMetadata", Membership.encode_freeze_metadata(), []),
    ("LoyaltyMembership", "grantRoles", Membership.encode_grant_roles(A, Role.MINTER | Role.SIGNER), [A, 3]),
    ("LoyaltyMembership", "revokeRoles", Membership.encode_revoke_roles(A, Role.GUARDIAN), [A, 8]),
    ("LoyaltyMembership", "requestOwnershipHandover", Membership.encode_request_ownership_handover(), []),
    ("LoyaltyMembership", "cancelOwnershipHandover", Membership.encode_cancel_ownership_handover(), []),
    ("LoyaltyMembership", "completeOwnershipHandover", Membership.encode_complete_ownership_handover(A), [A]),
    ("LoyaltyMembership", "voidVoucher", Membership.encode_void_voucher(A), [A]),
    ("LoyaltyMembership", "voidBearer", Membership.encode_void_bearer(1, 6), [1, 6]),
    ("LoyaltyMembership", "raiseVoucherEpoch", Membership.encode_raise_voucher_epoch(), []),
    (
        "LoyaltyMembership",
        "migrate",
        Membership.encode_migrate(A, B, 1, 2, 3, 4, b"\x01", b""),
        [(A, B, 1, 2, 3, 4), b"\x01", b""],
    ),
    ("LoyaltyMembership", "vetoRecovery", Membership.encode_veto_recovery(A, 9, b"\x01"), [A, 9, b"\x01"]),
    ("LoyaltyMembership", "proposeRecovery", Membership.encode_propose_recovery(A, B, "lost"), [A, B, "lost"]),
    ("LoyaltyMembership", "executeRecovery", Membership.encode_execute_recovery(A), [A]),
    ("LoyaltyStamps", "mint", Stamps.encode_mint(A, 3), [A, 3]),
    ("LoyaltyStamps", "mintBatch", Stamps.encode_mint_batch([5]), [[5]]),
    (
        "LoyaltyStamps",
        "claim",
        Stamps.encode_claim(STAMP, B, b"\x02" * 65),
        [(A, 7, 3, 1_800_000_000), B, b"\x02" * 65],
    ),
    ("LoyaltyStamps", "voidVoucher", Stamps.encode_void_voucher(A, 3), [A, 3]),
    ("LoyaltyStamps", "redeem", Stamps.encode_redeem(A, 3, b"\x07" * 32, 9, b""), [A, 3, b"\x07" * 32, 9, b""]),
    ("LoyaltyStamps", "burn", Stamps.encode_burn(A, 3, 9, b"\x01"), [A, 3, 9, b"\x01"]),
    ("LoyaltyStamps", "revokeStamp", Stamps.encode_revoke_stamp(A, 3, True, "why"), [A, 3, True, "why"]),
    ("LoyaltyStamps", "setQuota", Stamps.encode_set_quota(QuotaKind.MANAGE, 7), [2, 7]),
    ("LoyaltyStamps", "defineTypes", Stamps.encode_define_types(BLOCKS), [[each.to_tuple() for each in BLOCKS]]),
    ("LoyaltyStamps", "setType", Stamps.encode_set_type(3, 9, 1, 2, 3, 1), [3, 9, 1, 2, 3, 1]),
    ("LoyaltyFactory", "open", Factory.encode_open(OPENING), [OPENING.to_tuple()]),
    (
        "LoyaltyFactory",
        "openSeason",
        Factory.encode_open_season(A, (1, 2, 3), BLOCKS, "ipfs://s/"),
        [A, (1, 2, 3), [each.to_tuple() for each in BLOCKS], "ipfs://s/"],
    ),
]


@pytest.mark.parametrize(("contract", "name", "ours", "arguments"), CALLS, ids=[f"{c}.{n}" for c, n, _, _ in CALLS])
def test_calldata_is_what_web3_writes(contract: str, name: str, ours: bytes, arguments: list[Any]) -> None:
    theirs = Web3().eth.contract(abi=[dict(entry) for entry in abi.artifact(contract).abi])
    assert "0x" + ours.hex() == theirs.encode_abi(name, args=arguments)


@given(st.lists(st.integers(0, 2**256 - 1), max_size=40))
def test_an_array_of_words_is_encoded_as_in_the_general_way(words: list[int]) -> None:
    selector = abi.function("LoyaltyMembership", "mintBatch").selector
    assert abi.encode_words(selector, words) == selector + abi_encode(["uint256[]"], [words])


@pytest.mark.parametrize("word", [-1, 2**256])
def test_a_word_that_does_not_fit_is_refused(word: int) -> None:
    with pytest.raises(ValueError, match="256 bits"):
        abi.encode_words(b"\0\0\0\0", [1, word])


@given(st.lists(st.integers(0, 2**256 - 1), max_size=40))
def test_an_answer_of_words_is_read_back(words: list[int]) -> None:
    assert abi.decode_words("wordsOf", abi_encode(["uint256[]"], [words]), len(words)) == words


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        abi_encode(["uint256[]"], [[1]]),
        abi_encode(["uint256[]"], [[1, 2, 3]]),
        abi_encode(["uint256[]"], [[1, 2]])[:-1],
        abi_encode(["uint256[]"], [[1, 2]]) + b"\0",
        abi_encode(["uint256", "uint256", "uint256", "uint256"], [64, 2, 1, 2]),
    ],
)
def test_an_answer_that_is_not_two_words_is_refused(answer: bytes) -> None:
    with pytest.raises(ChainProblem, match="answered wordsOf with"):
        abi.decode_words("wordsOf", answer, 2)


def test_no_contract_at_the_address_is_said_so() -> None:
    with pytest.raises(ChainProblem, match=r"owner\(\) with nothing \(no such contract there\?\)"):
        abi.function("LoyaltyMembership", "owner").decode(b"")


@pytest.mark.parametrize("arguments", [(A,), (A, 256, 0), (A, 1, 2**40), ("0x12", 1, 0), (A, 1, 0, 0), (A, "1", 0)])
def test_an_argument_that_does_not_fit_is_refused(arguments: tuple[Any, ...]) -> None:
    with pytest.raises(ValueError, match="mint"):
        abi.function("LoyaltyMembership", "mint").encode(*arguments)


@pytest.mark.parametrize("size", [0, 31, 33])
def test_32_bytes_are_never_filled_up(size: int) -> None:
    with pytest.raises(ValueError, match="orderRef"):
        Stamps.encode_redeem(A, 3, bytes(size), 9, b"")
    with pytest.raises(ValueError, match="salt"):
        abi.function("LoyaltyFactory", "programOf").encode(A, bytes(size))


def test_a_function_that_is_not_there_is_a_mistake_of_ours() -> None:
    with pytest.raises(LookupError):
        abi.function("LoyaltyMembership", "mintAll")


# ------------------------------------------------------------------------------------------------------------- errors

_SAMPLES = {"address": A, "string": "text", "bytes32": b"\x09" * 32, "bytes4": b"\x09" * 4, "bool": True}


def _error_entries() -> list[Any]:
    found = {}
    for contract in abi.CONTRACTS:
        for entry in abi.artifact(contract).abi:
            if entry["type"] == "error":
                found[entry["name"]] = entry
    return list(found.values())


def test_every_error_of_every_contract_is_decoded_with_its_names() -> None:
    entries = _error_entries()
    assert len(entries) > 60
    for entry in entries:
        kinds = [each["type"] for each in entry["inputs"]]
        values = [_SAMPLES.get(kind, 7) for kind in kinds]
        selector = keccak(text=f"{entry['name']}({','.join(kinds)})")[:4]
        name, found = abi.decode_error(selector + abi_encode(kinds, values))
        assert name == entry["name"]
        assert list(found) == [each["name"] for each in entry["inputs"]]
        assert all(key for key in found), f"{name} has a value without a name"
        shown = [f"0x{value.hex()}" if isinstance(value, bytes) else value for value in values]
        assert list(found.values()) == shown


@pytest.mark.parametrize(
    ("signature", "kinds", "values", "expected"),
    [
        ("Error(string)", ["string"], ["no"], ("Error", {"reason": "no"})),
        ("Panic(uint256)", ["uint256"], [0x11], ("Panic", {"kind": 0x11})),
        ("Unauthorized()", [], [], ("Unauthorized", {})),
        ("NoHandoverRequest()", [], [], ("NoHandoverRequest", {})),
        ("DeploymentFailed()", [], [], ("DeploymentFailed", {})),
        ("NeverHeardOfIt(uint256)", ["uint256"], [1], ("", {})),
    ],
)
def test_errors_of_compiler_and_libraries(
    signature: str, kinds: list[str], values: list[Any], expected: tuple[str, dict[str, Any]]
) -> None:
    assert abi.decode_error(keccak(text=signature)[:4] + abi_encode(kinds, values)) == expected


@given(st.binary(max_size=200))
def test_no_revert_bytes_break_the_decoder(data: bytes) -> None:
    abi.decode_error(data)
    abi.decode_error(keccak(text="Error(string)")[:4] + data)


def test_text_of_an_error_can_not_write_on_the_terminal() -> None:
    evil = "\x1b[2Jgone\nnext" + "x" * 1000
    _, values = abi.decode_error(keccak(text="Error(string)")[:4] + abi_encode(["string"], [evil]))
    assert values["reason"].startswith(" [2Jgone next")
    assert len(values["reason"]) < 310


# ---------------------------------------------------------------------------------------------------- code and places


def test_code_on_chain_is_known_whatever_its_immutables() -> None:
    found = abi.artifact("LoyaltyMembership")
    assert found.immutables
    start, length = found.immutables[0]
    filled = bytearray(found.deployed_code)
    filled[start : start + length] = b"\x77" * length
    assert found.matches(bytes(filled))
    filled[start - 1] ^= 1
    assert not found.matches(bytes(filled))
    assert not found.matches(found.deployed_code + b"\0")
    assert not found.matches(b"")


@pytest.mark.parametrize(
    ("deployer", "salt", "initcode", "expected"),
    [
        # The examples of EIP-1014.
        ("0x" + 40 * "0", bytes(32), "00", "0x4D1A2e2bB4F88F0250f26Ffff098B0b30B26BF38"),
        ("0xdeadbeef00000000000000000000000000000000", bytes(32), "00", "0xB928f69Bb1D91Cd65274e3c79d8986362984fDA3"),
        (
            "0x00000000000000000000000000000000deadbeef",
            bytes.fromhex("00000000000000000000000000000000000000000000000000000000cafebabe"),
            "deadbeef",
            "0x60f3f640a8508fC6a86d45DF051962668E1e8AC7",
        ),
        ("0x" + 40 * "0", bytes(32), "", "0xE33C0C7F7df4809055C3ebA6c09CFe4BaF1BD9e0"),
    ],
)
def test_create2_addresses_are_those_of_the_eip(deployer: str, salt: bytes, initcode: str, expected: str) -> None:
    assert abi.create2_address(deployer, salt, bytes.fromhex(initcode)) == expected
