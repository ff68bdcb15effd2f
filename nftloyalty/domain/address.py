"""Wallet addresses in EIP-55 form: `0x` and 40 hex digits whose capitals carry a checksum."""

import re

from nftloyalty.domain.hashing import keccak

Address = str

_SHAPE = re.compile(r"0x[0-9a-fA-F]{40}")
_ZERO = "0x" + 40 * "0"

# A letter becomes a capital where the hash has a hex digit of 8 or more. ASCII capitals lack the bit 0x20, so both
# conditions are written as that bit and the capitals appear by clearing it: one pass over 40 bytes, no loop.
_BIT_IF_HIGH = bytes(0x20 if chr(code) in "89abcdef" else 0 for code in range(256))
_BIT_IF_LETTER = bytes(0x20 if chr(code) in "abcdef" else 0 for code in range(256))


def checksummed(digits: str) -> Address:
    """The EIP-55 form of 40 lower-case hex digits (without `0x`, not checked)."""
    text = digits.encode()
    high = keccak(text).hex()[:40].encode().translate(_BIT_IF_HIGH)
    capitals = int.from_bytes(high, "big") & int.from_bytes(text.translate(_BIT_IF_LETTER), "big")
    return "0x" + (int.from_bytes(text, "big") ^ capitals).to_bytes(40, "big").decode()


def parse_address(text: str) -> Address:
    """`text` as an EIP-55 address.

    Hex digits all in one case carry no checksum and are accepted; mixed case must be right. Raises ValueError with a
    sentence for people.
    """
    if not _SHAPE.fullmatch(text):
        raise ValueError("not an address")
    if text == _ZERO:
        raise ValueError("the zero address")
    digits = text[2:]
    lower = digits.lower()
    address = checksummed(lower)
    if address != text and digits != lower and digits != digits.upper():
        raise ValueError("wrong checksum, so a character of it is not as it was")
    return address


def address_number(address: Address) -> int:
    """The address as uint160, which is also the token id of its membership card."""
    return int(address, 16)


def number_address(number: int) -> Address:
    """The address whose uint160 is `number`. Raises ValueError if it has more than 160 bits."""
    if not 0 <= number < 1 << 160:
        raise ValueError(f"{number} is not the number of an address")
    return checksummed(f"{number:040x}")
