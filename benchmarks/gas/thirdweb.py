"""thirdweb's LoyaltyCard, opened by thirdweb's own factory: an ERC-721 where each token stores a URI of its own."""

from collections.abc import Mapping

from eth_account.messages import encode_typed_data
from eth_utils.crypto import keccak

from benchmarks.gas.chain import (
    IN_A_YEAR,
    STARTS_AT,
    TRANSFER,
    Chain,
    Contract,
    addresses,
    last_id,
    topic_address,
    wallet,
)
from benchmarks.gas.plain import NAME, SYMBOL
from benchmarks.gas.rows import Figures, Row, each
from nftloyalty.chain.abi import Artifact
from nftloyalty.chain.signer import LocalSigner
from nftloyalty.domain.address import Address, number_address

_NOBODY: Address = number_address(0)
_MINTER = keccak(text="MINTER_ROLE")
_TRANSFER = keccak(text="TRANSFER_ROLE")
_OPERATOR = keccak(text="OPERATOR_ROLE")
# As long as an address on IPFS is: ipfs://, 46 digits and the token's number.
_URI = "ipfs://QmYwAPJzv5CZsnA625s3Xf2nemtYgPpHdWEz79ojWnPbdG/0"
_NATIVE: Address = "0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE"
_REQUEST = (
    ("to", "address"),
    ("royaltyRecipient", "address"),
    ("royaltyBps", "uint256"),
    ("primarySaleRecipient", "address"),
    ("uri", "string"),
    ("quantity", "uint256"),
    ("pricePerToken", "uint256"),
    ("currency", "address"),
    ("validityStartTimestamp", "uint128"),
    ("validityEndTimestamp", "uint128"),
    ("uid", "bytes32"),
)


def measure(chain: Chain, artifacts: Mapping[str, Artifact]) -> Figures:
    owner, hot, relayer = wallet("owner"), wallet("hot"), wallet("relayer")
    registry, registry_gas = chain.create(owner, artifacts["TWRegistry"], _NOBODY)
    factory, factory_gas = chain.create(owner, artifacts["TWFactory"], _NOBODY, registry.address)
    code, code_gas = chain.create(owner, artifacts["LoyaltyCard"])
    registry.send(owner, "grantRole", _OPERATOR, factory.address)
    factory.send(owner, "approveImplementation", code.address, True)

    people = (owner.address, owner.address, 0, 0, owner.address)
    terms = code.data("initialize", owner.address, NAME, SYMBOL, "", [], *people)
    opened = factory.send(owner, "deployProxyByImplementation", code.address, terms, keccak(text=NAME))
    deployed = "0x" + keccak(text="ProxyDeployed(address,address,address)").hex()
    (proxy,) = (log.data for log in opened.logs if log.topics[:1] == (deployed,))
    card = Contract(chain, number_address(topic_address(proxy.hex())), artifacts["LoyaltyCard"])
    granted = card.gas(owner, "grantRole", _MINTER, hot.address)
    figures = {
        Row.SHARED: registry_gas + factory_gas + code_gas,
        Row.OPEN: opened.gas_used + granted,
        Row.CARD_BYTES: card.size(),
    }

    figures[Row.CARD_FIRST] = card.gas(hot, "mintTo", wallet("first").address, _URI)
    figures[Row.CARD] = card.gas(hot, "mintTo", wallet("steady").address, _URI)
    calls = [card.data("mintTo", member, _URI) for member in addresses("member")]
    figures[Row.CARD_BATCH] = each(card.batch(hot, TRANSFER, "multicall", calls))
    figures[Row.CLAIM_CARD] = _claim(chain, card, hot, relayer)

    # The first one burned begins a counter.
    for leaver in (wallet("first leaver"), wallet("leaver")):
        leaving = last_id(card.send(hot, "mintTo", leaver.address, _URI))
        card.send(hot, "mintTo", wallet("last").address, _URI)
        figures[Row.BURN] = card.gas(leaver, "cancel", leaving)

    mover = wallet("mover")
    moving = last_id(card.send(hot, "mintTo", mover.address, _URI))
    card.send(hot, "mintTo", wallet("last").address, _URI)
    # It comes with transfers closed.
    card.send(owner, "grantRole", _TRANSFER, _NOBODY)
    figures[Row.MOVE] = card.gas(mover, "transferFrom", mover.address, wallet("new phone").address, moving)
    return figures


def _claim(chain: Chain, card: Contract, signer: LocalSigner, relayer: LocalSigner) -> int:
    """The second claim of two: the first pays for counters that later ones find in use."""
    for label in ("first claimer", "claimer"):
        values = (
            wallet(label).address,
            _NOBODY,
            0,
            _NOBODY,
            _URI,
            1,
            0,
            _NATIVE,
            STARTS_AT - 1,
            IN_A_YEAR,
            keccak(text=label),
        )
        message = encode_typed_data(
            full_message={
                "domain": {
                    "name": "SignatureMintERC721",
                    "version": "1",
                    "chainId": chain.id,
                    "verifyingContract": card.address,
                },
                "primaryType": "MintRequest",
                "types": {
                    "EIP712Domain": [
                        {"name": "name", "type": "string"},
                        {"name": "version", "type": "string"},
                        {"name": "chainId", "type": "uint256"},
                        {"name": "verifyingContract", "type": "address"},
                    ],
                    "MintRequest": [{"name": name, "type": kind} for name, kind in _REQUEST],
                },
                "message": {name: value for (name, _), value in zip(_REQUEST, values, strict=True)},
            }
        )
        digest = keccak(b"\x19" + message.version + message.header + message.body)
        gas = card.gas(relayer, "mintWithSignature", values, signer.sign_digest(digest))
    return gas
