"""What a receipt is taken to say of each token that was asked for."""

from dataclasses import replace

from nftloyalty.chain import abi, logs
from nftloyalty.chain.client import Log, Receipt
from nftloyalty.chain.logs import Changed, Event, Minted, Missing, Skipped
from nftloyalty.domain.address import Address, address_number
from nftloyalty.domain.words import stamp_token_id
from tests.domain.build import wallet

MEMBERSHIP, STAMPS, FOREIGN = wallet(1000), wallet(1001), wallet(1002)
A, B, C = wallet(1), wallet(2), wallet(3)
ID_A, ID_B, ID_C = (address_number(each) for each in (A, B, C))
TX, BLOCK_HASH = "0x" + "11" * 32, "0x" + "22" * 32
TRANSFER = abi.event_topic("LoyaltyMembership", "Transfer")
SKIPPED = abi.event_topic("LoyaltyMembership", "Skipped")
MIGRATED = abi.event_topic("LoyaltyMembership", "Migrated")


def topic(number: int) -> str:
    return f"0x{number:064x}"


def log(contract: Address, *topics: str, data: bytes = b"", index: int = 0) -> Log:
    return Log(contract, topics, data, index, TX, 5, BLOCK_HASH)


def mint(contract: Address, to: Address, token_id: int, index: int = 0) -> Log:
    return log(contract, TRANSFER, topic(0), topic(address_number(to)), topic(token_id), index=index)


def skip(contract: Address, token_id: int, code: int) -> Log:
    return log(contract, SKIPPED, topic(token_id), data=code.to_bytes(32, "big"))


def move(contract: Address) -> Log:
    return log(contract, MIGRATED, topic(ID_A), topic(ID_B), data=(1).to_bytes(32, "big"))


def receipt(*found: Log, succeeded: bool = True) -> Receipt:
    return Receipt(TX, 5, BLOCK_HASH, succeeded, 21_000, 7, None, None, found)


def test_each_expected_token_gets_its_outcome_in_the_order_asked() -> None:
    found = receipt(mint(MEMBERSHIP, A, ID_A, index=4), skip(MEMBERSHIP, ID_B, 3))
    outcomes = logs.outcomes(found, MEMBERSHIP, [ID_C, ID_B, ID_A])
    assert list(outcomes.items()) == [(ID_C, Missing()), (ID_B, Skipped(3)), (ID_A, Minted(4))]


def test_a_reverted_transaction_minted_nothing_whatever_its_logs() -> None:
    found = receipt(mint(MEMBERSHIP, A, ID_A), succeeded=False)
    assert logs.outcomes(found, MEMBERSHIP, [ID_A]) == {ID_A: Missing()}


def test_success_without_our_event_minted_nothing() -> None:
    assert logs.outcomes(receipt(), MEMBERSHIP, [ID_A]) == {ID_A: Missing()}


def test_logs_of_other_contracts_do_not_count() -> None:
    found = receipt(mint(FOREIGN, A, ID_A), skip(STAMPS, ID_B, 1))
    assert logs.outcomes(found, MEMBERSHIP, [ID_A, ID_B]) == {ID_A: Missing(), ID_B: Missing()}


def test_a_transfer_between_wallets_or_a_burn_is_no_mint() -> None:
    between = log(MEMBERSHIP, TRANSFER, topic(ID_B), topic(ID_A), topic(ID_A))
    burn = log(MEMBERSHIP, TRANSFER, topic(ID_B), topic(0), topic(ID_B))
    assert logs.outcomes(receipt(between, burn), MEMBERSHIP, [ID_A, ID_B]) == {ID_A: Missing(), ID_B: Missing()}


def test_a_token_minted_to_another_wallet_than_its_own_is_no_mint() -> None:
    assert logs.outcomes(receipt(mint(MEMBERSHIP, B, ID_A)), MEMBERSHIP, [ID_A]) == {ID_A: Missing()}


def test_events_with_other_indexed_fields_are_not_ours() -> None:
    erc20 = log(MEMBERSHIP, TRANSFER, topic(0), topic(ID_A), data=ID_A.to_bytes(32, "big"))
    short = log(MEMBERSHIP, SKIPPED, topic(ID_B), data=b"\x01")
    assert logs.outcomes(receipt(erc20, short), MEMBERSHIP, [ID_A, ID_B]) == {ID_A: Missing(), ID_B: Missing()}


def test_a_transaction_with_a_move_minted_nothing() -> None:
    arrived = mint(MEMBERSHIP, B, ID_B)
    assert logs.outcomes(receipt(move(MEMBERSHIP), arrived), MEMBERSHIP, [ID_B]) == {ID_B: Missing()}
    assert logs.moved(receipt(move(MEMBERSHIP)), MEMBERSHIP)


def test_stamps_that_come_along_with_a_move_were_not_minted() -> None:
    stamp = stamp_token_id(B, 3)
    found = receipt(move(MEMBERSHIP), mint(STAMPS, B, stamp))
    assert logs.outcomes(found, STAMPS, [stamp], membership=MEMBERSHIP) == {stamp: Missing()}


def test_a_move_told_by_another_contract_changes_nothing() -> None:
    found = receipt(move(FOREIGN), mint(MEMBERSHIP, A, ID_A, index=9))
    assert logs.outcomes(found, MEMBERSHIP, [ID_A]) == {ID_A: Minted(9)}


def test_a_stamp_is_told_from_another_type_of_the_same_wallet() -> None:
    first, second = stamp_token_id(A, 1), stamp_token_id(A, 2)
    found = receipt(mint(STAMPS, A, first, index=2))
    assert logs.outcomes(found, STAMPS, [first, second], membership=MEMBERSHIP) == {first: Minted(2), second: Missing()}


def test_an_id_twice_in_a_batch_was_minted_once() -> None:
    found = receipt(mint(MEMBERSHIP, A, ID_A, index=1), skip(MEMBERSHIP, ID_A, 1))
    assert logs.outcomes(found, MEMBERSHIP, [ID_A, ID_A]) == {ID_A: Minted(1)}


RENEWED = Event("LoyaltyMembership", "TokenExpiryUpdated")


def renewed(contract: Address, token_id: int, index: int) -> Log:
    return log(
        contract, abi.event_topic(RENEWED.contract, RENEWED.name), topic(token_id), topic(1), topic(2), index=index
    )


def test_each_item_of_a_batch_that_mints_nothing_has_its_end() -> None:
    found = receipt(renewed(MEMBERSHIP, ID_A, 4), skip(MEMBERSHIP, ID_B, 9), renewed(FOREIGN, ID_C, 6))
    assert logs.changes(found, MEMBERSHIP, RENEWED, [ID_B, ID_C, ID_A]) == [Skipped(9), Missing(), Changed(4)]


def test_an_item_that_stands_twice_in_a_batch_has_two_ends_in_order() -> None:
    found = receipt(renewed(MEMBERSHIP, ID_A, 4), skip(MEMBERSHIP, ID_A, 8))
    assert logs.changes(found, MEMBERSHIP, RENEWED, [ID_A, ID_A, ID_A]) == [Changed(4), Skipped(8), Missing()]


def test_a_reverted_transaction_changed_nothing_whatever_its_logs() -> None:
    found = receipt(renewed(MEMBERSHIP, ID_A, 4), succeeded=False)
    assert logs.changes(found, MEMBERSHIP, RENEWED, [ID_A]) == [Missing()]


def test_both_contracts_tell_a_skip_with_the_same_event() -> None:
    """The decoder relies on it."""
    for name in ("Transfer", "Skipped"):
        assert abi.event_topic("LoyaltyMembership", name) == abi.event_topic("LoyaltyStamps", name)


def test_the_program_that_was_opened_is_read_from_the_factorys_event() -> None:
    factory, salt = wallet(1003), b"\x05" * 32
    event = log(
        factory,
        abi.event_topic("LoyaltyFactory", "ProgramOpened"),
        topic(ID_A),
        "0x" + salt.hex(),
        data=address_number(MEMBERSHIP).to_bytes(32, "big") + address_number(STAMPS).to_bytes(32, "big"),
    )
    found = logs.opened_program(receipt(event), factory)
    assert found == logs.OpenedProgram(A, salt, MEMBERSHIP, STAMPS)
    assert logs.opened_program(receipt(replace(event, address=FOREIGN)), factory) is None
    assert logs.opened_program(receipt(event, succeeded=False), factory) is None
    assert logs.opened_program(receipt(), factory) is None
