"""How many items go into one transaction."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypeVar

TRANSACTION_GAS_CAP = 16_777_216
"""The most gas one transaction may use (EIP-7825), whatever the block would hold."""

MOST_ITEMS = 500
"""Larger batches save less than 1 % of gas per item, and one that fails takes more along."""

_Item = TypeVar("_Item")


@dataclass(frozen=True, slots=True)
class GasModel:
    """Gas of a batch of n items: `base + per_item * n`."""

    base: int
    per_item: int

    def gas(self, items: int) -> int:
        return self.base + self.per_item * items

    @classmethod
    def through(cls, small: tuple[int, int], large: tuple[int, int]) -> "GasModel":
        """The line through two measurements (items, gas), rounded so that it never lies below the larger one."""
        (few, few_gas), (many, many_gas) = small, large
        if not 0 < few < many:
            raise ValueError("the second measurement needs more items than the first")
        per_item = -(-max(0, many_gas - few_gas) // (many - few))
        return cls(max(0, few_gas - per_item * few), per_item)


@dataclass(frozen=True, slots=True)
class BatchPlan:
    """`count` items in batches of at most `size`, expected to use `gas` in all."""

    count: int
    size: int
    batches: int
    gas: int


def batch_size(model: GasModel, cap: int = TRANSACTION_GAS_CAP, margin: float = 0.9, at_most: int = MOST_ITEMS) -> int:
    """The most items whose gas stays within `cap * margin`, and at most `at_most`.

    `cap` is the smaller of TRANSACTION_GAS_CAP and what the chain's blocks hold. Raises ValueError if not even one
    item fits.
    """
    usable = int(min(cap, TRANSACTION_GAS_CAP) * margin)
    if model.gas(1) > usable:
        raise ValueError(f"one item needs {model.gas(1):,} gas, and a transaction here may use {usable:,}")
    if model.per_item == 0:
        return at_most
    return min(at_most, (usable - model.base) // model.per_item)


def split(items: Sequence[_Item], size: int) -> list[Sequence[_Item]]:
    """The items in order, in batches of `size`; the last may be smaller."""
    if size < 1:
        raise ValueError("a batch holds at least one item")
    return [items[start : start + size] for start in range(0, len(items), size)]


def plan(
    count: int, model: GasModel, cap: int = TRANSACTION_GAS_CAP, margin: float = 0.9, at_most: int = MOST_ITEMS
) -> BatchPlan:
    """What sending `count` items will take."""
    size = batch_size(model, cap, margin, at_most)
    batches = -(-count // size)
    return BatchPlan(count, size, batches, model.base * batches + model.per_item * count)
