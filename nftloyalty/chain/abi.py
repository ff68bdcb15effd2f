"""The compiled contracts, and how their calls, answers and errors are read and written.

The artifacts beside this package are the one source of every signature: nothing here repeats the Solidity.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

from eth_abi.abi import encode as abi_encode
from eth_abi.codec import ABIDecoder
from eth_abi.decoding import StringDecoder
from eth_abi.exceptions import DecodingError, EncodingError
from eth_abi.registry import BaseEquals
from eth_abi.registry import registry as default_registry
from eth_utils.crypto import keccak

from nftloyalty.domain.address import Address, checksummed
from nftloyalty.errors import ChainProblem

CONTRACTS = ("LoyaltyMembership", "LoyaltyStamps", "LoyaltyFactory", "LoyaltyRenderer")

# Raised by the compiler and by Solady's libraries in assembly, so not every ABI lists them.
_COMMON_ERRORS = (
    ("Error", (("reason", "string"),)),
    ("Panic", (("kind", "uint256"),)),
    ("Unauthorized", ()),
    ("NewOwnerIsZeroAddress", ()),
    ("NoHandoverRequest", ()),
    ("AlreadyInitialized", ()),
    ("DeploymentFailed", ()),
)

_WORD = 32


@dataclass(frozen=True)
class Artifact:
    """One compiled contract. `code` creates it; `deployed_code` is what then lies on chain.

    The constructor fills in the values at `immutables`, pairs of start and length, which are zero here.
    """

    name: str
    abi: tuple[Mapping[str, Any], ...]
    code: bytes
    deployed_code: bytes
    immutables: tuple[tuple[int, int], ...]

    def initcode(self, *arguments: Any) -> bytes:
        """Creation code with the constructor's arguments behind it. Raises ValueError if they don't fit."""
        inputs: Sequence[Mapping[str, Any]] = ()
        for entry in self.abi:
            if entry["type"] == "constructor":
                inputs = entry["inputs"]
        return self.code + _encode(f"the constructor of {self.name}", inputs, arguments)

    def matches(self, found: bytes) -> bool:
        """Whether `found` is this contract's code on chain, whatever its immutable values are."""
        if len(found) != len(self.deployed_code):
            return False
        masked = bytearray(found)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return bytes(masked) == self.deployed_code


@dataclass(frozen=True)
class Function:
    """One function of a contract: its four selector bytes and the shapes of arguments and answer."""

    signature: str
    selector: bytes
    inputs: tuple[Mapping[str, Any], ...]
    outputs: tuple[Mapping[str, Any], ...]

    def encode(self, *arguments: Any) -> bytes:
        """Calldata. Raises ValueError if an argument does not fit its Solidity type."""
        return self.selector + _encode(self.signature, self.inputs, arguments)

    def decode(self, answer: bytes) -> tuple[Any, ...]:
        """The answer's values in order: ints, strings, bytes, checksummed addresses, tuples for structs and arrays.

        Raises ChainProblem if the bytes are not such an answer, as when no contract lies at the address.
        """
        try:
            values = _decode([_type_of(output) for output in self.outputs], answer)
        except (DecodingError, OverflowError, ValueError) as failure:
            raise _no_answer(self.signature, answer) from failure
        return tuple(_plain(output, value) for output, value in zip(self.outputs, values, strict=True))


@cache
def artifact(name: str) -> Artifact:
    """A contract by its Solidity name."""
    raw = json.loads(files("nftloyalty").joinpath("artifacts", f"{name}.json").read_text(encoding="utf-8"))
    return Artifact(
        name=name,
        abi=tuple(raw["abi"]),
        code=bytes.fromhex(raw["bytecode"].removeprefix("0x")),
        deployed_code=bytes.fromhex(raw["deployedBytecode"].removeprefix("0x")),
        immutables=tuple(
            (place["start"], place["length"]) for places in raw["immutableReferences"].values() for place in places
        ),
    )


@cache
def function(contract: str, name: str) -> Function:
    """A function by contract and name. None of ours that the package calls is overloaded."""
    found = [entry for entry in artifact(contract).abi if entry["type"] == "function" and entry["name"] == name]
    if len(found) != 1:
        raise LookupError(f"{contract} has {len(found)} functions named {name}")
    signature = _signature(found[0])
    return Function(
        signature=signature,
        selector=keccak(text=signature)[:4],
        inputs=tuple(found[0]["inputs"]),
        outputs=tuple(found[0]["outputs"]),
    )


@cache
def event_topic(contract: str, name: str) -> str:
    """The first topic of an event's logs, 0x-hex."""
    for entry in artifact(contract).abi:
        if entry["type"] == "event" and entry["name"] == name:
            return "0x" + keccak(text=_signature(entry)).hex()
    raise LookupError(f"{contract} has no event {name}")


def encode_words(selector: bytes, words: Sequence[int]) -> bytes:
    """Calldata of a function whose only argument is an array of uint256 or address: much faster than the general way.

    Raises ValueError for a number that does not fit into a word.
    """
    try:
        body = b"".join([word.to_bytes(_WORD, "big") for word in words])
    except OverflowError:
        raise ValueError("a number does not fit into 256 bits") from None
    return selector + _WORD.to_bytes(_WORD, "big") + len(words).to_bytes(_WORD, "big") + body


def decode_words(signature: str, answer: bytes, count: int) -> list[int]:
    """The answer of a function that returns one uint256[] of `count` items. Raises ChainProblem if it is not that."""
    start = 2 * _WORD
    if (
        len(answer) != start + count * _WORD
        or int.from_bytes(answer[:_WORD], "big") != _WORD
        or int.from_bytes(answer[_WORD:start], "big") != count
    ):
        raise _no_answer(signature, answer)
    return [int.from_bytes(answer[at : at + _WORD], "big") for at in range(start, len(answer), _WORD)]


def decode_error(data: bytes) -> tuple[str, dict[str, Any]]:
    """Name and named values of a Solidity error; ("", {}) if it is none that we know.

    The bytes come from outside, so texts in the values are cut and freed of control characters.
    """
    known = _errors().get(data[:4])
    if known is None:
        return "", {}
    name, inputs = known
    try:
        values = _decode([_type_of(each) for each in inputs], data[4:])
    except (DecodingError, OverflowError, ValueError):
        return "", {}
    return name, {each["name"]: _shown(_plain(each, value)) for each, value in zip(inputs, values, strict=True)}


def printable(text: str, most: int = 300) -> str:
    """Foreign text made safe to show: one line, no control characters, at most `most` characters."""
    clean = "".join(character if character.isprintable() else " " for character in text[: most + 1])
    return clean if len(text) <= most else clean[:most] + "..."


def create2_address(deployer: Address, salt: bytes, initcode: bytes) -> Address:
    """Where CREATE2 puts a contract (EIP-1014). `salt` has 32 bytes."""
    if len(salt) != _WORD:
        raise ValueError("a CREATE2 salt has 32 bytes")
    return checksummed(keccak(b"\xff" + bytes.fromhex(deployer[2:]) + salt + keccak(initcode))[12:].hex())


def _encode(what: str, inputs: Sequence[Mapping[str, Any]], arguments: Sequence[Any]) -> bytes:
    if len(inputs) != len(arguments):
        raise ValueError(f"{what} takes {len(inputs)} arguments, not {len(arguments)}")
    for each, argument in zip(inputs, arguments, strict=True):
        # eth_abi would fill a shorter one up with zeros.
        if each["type"] == "bytes32" and len(argument) != _WORD:
            raise ValueError(f"{each['name']} of {what} needs {_WORD} bytes")
    try:
        return abi_encode([_type_of(each) for each in inputs], arguments)
    except (EncodingError, OverflowError, TypeError) as failure:
        raise ValueError(f"an argument of {what} does not fit: {failure}") from None


def _decode(kinds: Sequence[str], data: bytes) -> tuple[Any, ...]:
    return _decoder().decode(kinds, data)


@cache
def _decoder() -> ABIDecoder:
    """Contracts take any bytes for a text. What is no UTF-8 is read as `\\xff`, so that it spoils no answer."""
    registry = default_registry.copy()  # type: ignore[no-untyped-call]  # eth_abi types its front only
    text = StringDecoder(handle_string_errors="backslashreplace")  # type: ignore[no-untyped-call]
    registry.unregister_decoder("string")
    registry.register_decoder(BaseEquals("string"), text, label="string")  # type: ignore[no-untyped-call]
    return ABIDecoder(registry)


def _no_answer(signature: str, answer: bytes) -> ChainProblem:
    what = "nothing (no such contract there?)" if not answer else f"{len(answer)} bytes of something else"
    return ChainProblem(f"the chain answered {signature} with {what}")


def _type_of(component: Mapping[str, Any]) -> str:
    kind: str = component["type"]
    if not kind.startswith("tuple"):
        return kind
    return "(" + ",".join(_type_of(each) for each in component["components"]) + ")" + kind.removeprefix("tuple")


def _signature(entry: Mapping[str, Any]) -> str:
    return f"{entry['name']}({','.join(_type_of(each) for each in entry['inputs'])})"


def _plain(component: Mapping[str, Any], value: Any) -> Any:
    kind: str = component["type"]
    if kind.endswith("]"):
        item = {**component, "type": kind[: kind.rindex("[")]}
        return tuple(_plain(item, each) for each in value)
    if kind == "tuple":
        return tuple(_plain(each, part) for each, part in zip(component["components"], value, strict=True))
    return checksummed(value[2:]) if kind == "address" else value


def _shown(value: Any) -> Any:
    if isinstance(value, bytes):
        return "0x" + value.hex()
    return printable(value) if isinstance(value, str) else value


@cache
def _errors() -> dict[bytes, tuple[str, tuple[Mapping[str, Any], ...]]]:
    found: dict[bytes, tuple[str, tuple[Mapping[str, Any], ...]]] = {}
    entries: list[Mapping[str, Any]] = [
        {"name": name, "inputs": [{"name": key, "type": kind} for key, kind in inputs]}
        for name, inputs in _COMMON_ERRORS
    ]
    for contract in CONTRACTS:
        entries.extend(entry for entry in artifact(contract).abi if entry["type"] == "error")
    for entry in entries:
        found[keccak(text=_signature(entry))[:4]] = (entry["name"], tuple(entry["inputs"]))
    return found
