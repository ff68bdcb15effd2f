"""The embedded development chain: an EVM in this process, served as JSON-RPC on loopback."""

from nftloyalty.devchain.chain import CHAIN_ID, DevChain
from nftloyalty.devchain.server import DevChainServer, serve
from nftloyalty.devchain.wire import RpcError

__all__ = ["CHAIN_ID", "DevChain", "DevChainServer", "RpcError", "serve"]
