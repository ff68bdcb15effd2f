"""nftloyalty: a brand's loyalty program on an EVM chain."""

import os
from importlib.util import find_spec

if find_spec("sha3"):
    # eth-hash would take another one that is there, too: its keccak takes seven times as long.
    os.environ.setdefault("ETH_HASH_BACKEND", "pysha3")

__version__ = "0.1.0"
