import pytest
from eth_utils.address import to_checksum_address
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.address import address_number, number_address, parse_address

# From the text of EIP-55.
PUBLISHED = [
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0xde709f2102306220921060314715629080e2fb77",
]


@pytest.mark.parametrize("address", PUBLISHED)
def test_published_addresses_are_read_in_any_case(address: str) -> None:
    assert parse_address(address) == address
    assert parse_address(address.lower()) == address
    assert parse_address("0x" + address[2:].upper()) == address


@given(st.integers(1, (1 << 160) - 1))
def test_checksum_agrees_with_eth_utils(number: int) -> None:
    address = number_address(number)
    assert address == to_checksum_address(number.to_bytes(20, "big"))
    assert parse_address(address) == address
    assert address_number(address) == number


@given(st.integers(1, (1 << 160) - 1), st.integers(2, 41))
def test_one_letter_in_the_wrong_case_is_noticed(number: int, place: int) -> None:
    address = number_address(number)
    wrong = address[:place] + address[place].swapcase() + address[place + 1 :]
    if wrong in (address, address.lower(), "0x" + address[2:].upper()):
        return
    with pytest.raises(ValueError, match="wrong checksum, so a character of it is not as it was"):
        parse_address(wrong)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0x",
        PUBLISHED[0][2:],
        PUBLISHED[0][:-1],
        PUBLISHED[0] + "0",
        " " + PUBLISHED[0],
        PUBLISHED[0] + "\n",
        "0X" + PUBLISHED[0][2:],
        "0x" + 39 * "a" + "g",
        "0x" + 40 * "٣",
        "shop.eth",
    ],
)
def test_what_is_no_address_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"^not an address$"):
        parse_address(text)


def test_the_zero_address_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^the zero address$"):
        parse_address("0x" + 40 * "0")


@pytest.mark.parametrize("number", [-1, 1 << 160])
def test_numbers_beyond_160_bits_are_no_addresses(number: int) -> None:
    with pytest.raises(ValueError, match="is not the number of an address"):
        number_address(number)
