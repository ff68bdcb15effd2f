"""What gas will cost on this chain now."""

from nftloyalty.app.context import App
from nftloyalty.app.gathering import GAS_MARGIN_PERCENT
from nftloyalty.app.opening import Attached
from nftloyalty.chain import sender
from nftloyalty.domain.cost import Cost

WITHOUT_DATA_FEE = frozenset({1, 1337, 31337, 17000, 560048, 11155111, 131277322940537})
"""Chains known to charge gas alone: Ethereum, its test networks and the development chains. On all others a rollup may
charge for publishing the data as well, which we then name as not included."""


def price(app: App, attached: Attached, gas: int) -> Cost:
    """The expected cost: base fee and usual tip of the newest block, not the ceiling that transactions offer."""
    market = app.node.fees()
    return Cost(
        gas=gas,
        fee_per_gas_wei=(market.base_fee or 0) + market.priority_fee,
        data_fee_wei=0 if attached.chain_id in WITHOUT_DATA_FEE else None,
    )


def offered(app: App, gas: int) -> int:
    """Wei that a transaction expected to use `gas` must have behind it: more than it will cost, as the sender offers
    room for rising fees and for more gas. What is not used stays."""
    fees = sender.fees(app.node, app.settings.max_fee_wei)
    return gas * (100 + GAS_MARGIN_PERCENT) // 100 * fees.max_fee
