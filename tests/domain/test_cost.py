from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from nftloyalty.domain.cost import Cost, show

GWEI = 10**9


@given(st.integers(0, 10**12), st.integers(0, 10**15), st.none() | st.integers(0, 10**21))
def test_cost_adds_up_to_the_wei(gas: int, fee: int, data_fee: int | None) -> None:
    assert Cost(gas, fee, data_fee).wei == gas * fee + (data_fee or 0)


@pytest.mark.parametrize(
    ("cost", "price", "line"),
    [
        (Cost(2_900_000, 3 * GWEI // 2, 0), None, "2,900,000 gas at 1.5 gwei = 0.00435 ETH"),
        (
            Cost(2_900_000, 3 * GWEI // 2, 0),
            Decimal(2500),
            "2,900,000 gas at 1.5 gwei = 0.00435 ETH, about 10.88",
        ),
        (Cost(21_000, 1, 0), None, "21,000 gas at 0.000000001 gwei = 0.000000000000021 ETH"),
        (
            Cost(21_000, 1, 0),
            Decimal(2500),
            "21,000 gas at 0.000000001 gwei = 0.000000000000021 ETH, about less than 0.01",
        ),
        (
            Cost(100_000, GWEI, 5 * 10**13),
            None,
            "100,000 gas at 1 gwei + 0.00005 ETH data fee = 0.00015 ETH",
        ),
        (
            Cost(100_000, GWEI, None),
            Decimal("0.5"),
            "100,000 gas at 1 gwei = 0.0001 ETH, about less than 0.01 (a rollup's data fee is not included)",
        ),
        (Cost(0, GWEI, 0), Decimal(3), "0 gas at 1 gwei = 0 ETH, about 0.00"),
        (Cost(10**12, 1_234_567 * GWEI, 0), None, "1,000,000,000,000 gas at 1,234,567 gwei = 1,234,567,000 ETH"),
    ],
)
def test_cost_is_shown_in_coin_and_money(cost: Cost, price: Decimal | None, line: str) -> None:
    assert show(cost, "ETH", price) == line


@given(st.integers(1, 10**12), st.integers(1, 10**15))
def test_a_cost_is_never_shown_as_nothing(gas: int, fee: int) -> None:
    coins = Decimal(show(Cost(gas, fee, 0), "ETH").split(" = ")[1].removesuffix(" ETH").replace(",", ""))
    assert coins > 0
    assert abs(coins * 10**18 - gas * fee) <= Decimal(gas * fee) / 1000
