"""nftloyalty: a brand's loyalty program on an EVM chain."""

__version__ = "0.1.0"
