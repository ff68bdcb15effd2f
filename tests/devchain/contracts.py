"""Contracts of a few instructions, so that these tests need no compiler, and how they get on the chain."""

from eth_utils.crypto import keccak

from nftloyalty.devchain import DevChain

REVERTER = bytes.fromhex("365f5f37365ffd")
"""Reverts with its calldata."""
LOGGER = bytes.fromhex("365f5f37336007365fa200")
"""Logs its calldata under the topics 7 and the caller."""
CLOCK = bytes.fromhex("435f524260205260405ff3")
"""Returns the block's number and time."""
STORE = bytes.fromhex("6020355f355500")
"""Stores its second word in the slot of its first."""
HUNGRY = bytes.fromhex("620f42405a11600c575f5ffd5b00")
"""Reverts unless a million gas is left, and uses next to none."""
ENDLESS = bytes.fromhex("5b5f56")
"""Loops until the gas is gone."""
CHAIN_IDENTITY = bytes.fromhex("465f5260205ff3")
"""Returns the chain id."""
RANDOMNESS = bytes.fromhex("445f5500")
"""Stores the block's randomness in slot 0."""

CUSTOM_ERROR = "0x" + keccak(text="Closed(uint256)")[:4].hex() + (7).to_bytes(32, "big").hex()
DEPLOYER = "0x4e59b44847b379578588920ca78fbf26c0b4956c"
DEPLOYER_SIGNER = "0x3fab184622dc19b6109349b94811493bf2a45362"
DEPLOYER_TRANSACTION = (
    "0xf8a58085174876e800830186a08080b853604580600e600039806000f350fe7fffffffffffffffffffffffffffffffffffffffffffffff"
    "ffffffffffffffffe03601600081602082378035828234f58015156039578182fd5b8082525050506014600cf31ba0"
    + "22" * 32 + "a0" + "22" * 32
)  # fmt: skip
"""Published with the deterministic deployment proxy; signed for every chain, before EIP-155."""


def creation(runtime: bytes) -> str:
    """Init code that deploys `runtime`, as 0x-hex."""
    return "0x61" + len(runtime).to_bytes(2, "big").hex() + "80600a5f395ff3" + runtime.hex()


def deploy(chain: DevChain, runtime: bytes) -> str:
    sender = chain.request("eth_accounts")[0]
    receipt = chain.request(
        "eth_getTransactionReceipt",
        chain.request("eth_sendTransaction", {"from": sender, "data": creation(runtime)}),
    )
    assert receipt["status"] == "0x1"
    return str(receipt["contractAddress"])


def fund(chain: DevChain, address: str, wei: int = 10**18) -> None:
    chain.request("eth_sendTransaction", {"from": chain.request("eth_accounts")[0], "to": address, "value": hex(wei)})
