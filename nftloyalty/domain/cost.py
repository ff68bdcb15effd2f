"""What transactions cost, in the chain's coin and in money."""

from dataclasses import dataclass
from decimal import ROUND_HALF_EVEN, Context, Decimal

WEI_PER_COIN = 10**18
_WEI_PER_GWEI = 10**9
_FOUR_DIGITS = Context(prec=4, rounding=ROUND_HALF_EVEN)
_EXACT = Context(prec=100)


@dataclass(frozen=True, slots=True)
class Cost:
    """`data_fee_wei` is what a rollup adds for publishing the data: 0 = the chain has none, None = we don't know."""

    gas: int
    fee_per_gas_wei: int
    data_fee_wei: int | None

    @property
    def wei(self) -> int:
        """All that is known of the cost."""
        return self.gas * self.fee_per_gas_wei + (self.data_fee_wei or 0)


def show(cost: Cost, coin: str, price: Decimal | None = None) -> str:
    """One line for people, as `2,900,000 gas at 1.5 gwei = 0.00435 ETH, about 10.88`.

    `coin` is the coin's symbol, `price` the money one coin costs. Amounts of coin are rounded to 4 digits, never to 0.
    """
    parts = [f"{cost.gas:,} gas at {_short(cost.fee_per_gas_wei, _WEI_PER_GWEI)} gwei"]
    if cost.data_fee_wei:
        parts.append(f" + {_short(cost.data_fee_wei, WEI_PER_COIN)} {coin} data fee")
    parts.append(f" = {_short(cost.wei, WEI_PER_COIN)} {coin}")
    if price is not None:
        parts.append(f", about {_money(_EXACT.multiply(_coins(cost.wei, WEI_PER_COIN), price))}")
    if cost.data_fee_wei is None:
        parts.append(" (a rollup's data fee is not included)")
    return "".join(parts)


def _coins(wei: int, unit: int) -> Decimal:
    return _EXACT.divide(Decimal(wei), Decimal(unit))


def _short(wei: int, unit: int) -> str:
    """Four digits, but never fewer than the whole part has."""
    amount = _coins(wei, unit)
    rounded = amount.quantize(Decimal(1), context=_EXACT) if amount >= 10_000 else _FOUR_DIGITS.plus(amount)
    text = f"{rounded:,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _money(amount: Decimal) -> str:
    cent = Decimal("0.01")
    if 0 < amount < cent:
        return "less than 0.01"
    return f"{amount.quantize(cent, context=_EXACT):,f}"
