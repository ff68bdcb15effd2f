"""What a storefront in Python installs: a client of the API, and the verification of webhooks.

It stands alone: nothing of the service is imported, and urllib3 is all it needs.

    from nftloyalty.client import Loyalty

    with Loyalty("https://loyalty.example", api_key) as loyalty:
        if loyalty.check(wallet, tier="gold")["allowed"]:
            ...
        loyalty.mint(wallet, tier="gold", key="order-1001")
"""

from nftloyalty.client.api import Loyalty
from nftloyalty.client.errors import NotTold, Refused, Unreachable
from nftloyalty.client.shapes import (
    AsOf,
    Batch,
    BatchItem,
    Card,
    Check,
    Event,
    Intent,
    ListedVoucher,
    Ownership,
    Program,
    Reason,
    SignedVoucher,
    Stamp,
    Voucher,
)
from nftloyalty.client.webhooks import verify_webhook

__all__ = [
    "AsOf",
    "Batch",
    "BatchItem",
    "Card",
    "Check",
    "Event",
    "Intent",
    "ListedVoucher",
    "Loyalty",
    "NotTold",
    "Ownership",
    "Program",
    "Reason",
    "Refused",
    "SignedVoucher",
    "Stamp",
    "Unreachable",
    "Voucher",
    "verify_webhook",
]
