"""What a rig is judged by: the chain's own logs and blocks, the bytes on the wire, and then our books against them.

The chain is asked in plain JSON-RPC with constants written out here, so that nothing of the package under test can be
wrong in the same way twice.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import requests
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_utils.address import to_checksum_address
from eth_utils.crypto import keccak
from hexbytes import HexBytes
from sqlalchemy import Engine, select

from nftloyalty.domain.intent import IntentState, SlotState
from nftloyalty.store.engine import read
from nftloyalty.store.tables import attempts, intents, signers, slots
from tests.faults.wire import OnTheWire

TRANSFER = "0x" + keccak(text="Transfer(address,address,uint256)").hex()
SKIPPED = "0x" + keccak(text="Skipped(uint256,uint256)").hex()
NOBODY = "0x" + 64 * "0"
BLOCKS_AT_ONCE = 100


@dataclass(frozen=True)
class Minted:
    """A Transfer from zero."""

    wallet: str
    token_id: int
    tx_hash: str


@dataclass(frozen=True)
class ChainTransaction:
    """`empty` = it goes to its own sender and carries nothing."""

    tx_hash: str
    nonce: int
    block: int
    empty: bool


@dataclass(frozen=True)
class Final:
    """Where the books say that a card is, for good."""

    tx_hash: str
    block_number: int
    block_hash: str


@dataclass(frozen=True)
class Proof:
    """`complaints` empty = proven. The counts are from the chain alone, but for `attempts`."""

    members: int
    duplicates: int
    missing: int
    strangers: int
    skipped: int
    transactions: int
    attempts: int
    chain_nonce: int
    complaints: tuple[str, ...]


class Chain:
    """A node, asked directly."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._session = requests.Session()
        self._session.trust_env = False

    def close(self) -> None:
        self._session.close()

    def ask(self, method: str, *params: Any) -> Any:
        (answer,) = self.ask_all([(method, params)])
        return answer

    def ask_all(self, calls: Sequence[tuple[str, Sequence[Any]]]) -> list[Any]:
        body = [
            {"jsonrpc": "2.0", "id": number, "method": method, "params": list(params)}
            for number, (method, params) in enumerate(calls)
        ]
        answers = {item["id"]: item for item in self._session.post(self.url, json=body, timeout=60).json()}
        for number, (method, _) in enumerate(calls):
            assert "error" not in answers[number], (method, answers[number]["error"])
        return [answers[number]["result"] for number in range(len(calls))]

    def head(self) -> int:
        return int(self.ask("eth_blockNumber"), 16)

    def minted(self, membership: str) -> list[Minted]:
        """Every token that ever came into being, by the contract's logs over the whole chain."""
        found = self._logs(membership, [TRANSFER, NOBODY])
        return [
            Minted(
                wallet=to_checksum_address("0x" + log["topics"][2][-40:]),
                token_id=int(log["topics"][3], 16),
                tx_hash=log["transactionHash"],
            )
            for log in found
        ]

    def minted_to(self, membership: str, wallets: Collection[str]) -> set[str]:
        """Those of these wallets that ever got a card."""
        words = ["0x" + wallet.removeprefix("0x").lower().zfill(64) for wallet in wallets]
        return {
            to_checksum_address("0x" + log["topics"][2][-40:])
            for log in self._logs(membership, [TRANSFER, NOBODY, words])
        }

    def skips(self, membership: str) -> int:
        return len(self._logs(membership, [SKIPPED]))

    def _logs(self, membership: str, topics: Sequence[str | Sequence[str]]) -> list[Any]:
        query = {"address": membership, "topics": topics, "fromBlock": "0x0", "toBlock": hex(self.head())}
        found: list[Any] = self.ask("eth_getLogs", query)
        return found

    def supply(self, membership: str) -> int:
        selector = "0x" + keccak(text="totalSupply()").hex()[:8]
        return int(self.ask("eth_call", {"to": membership, "data": selector}, "latest"), 16)

    def transactions_of(self, signer: str) -> list[ChainTransaction]:
        """Every transaction of an address, by reading all blocks."""
        found = []
        head = self.head()
        for first in range(0, head + 1, BLOCKS_AT_ONCE):
            numbers = range(first, min(first + BLOCKS_AT_ONCE, head + 1))
            for block in self.ask_all([("eth_getBlockByNumber", (hex(number), True)) for number in numbers]):
                found += [
                    ChainTransaction(each["hash"], int(each["nonce"], 16), int(block["number"], 16), _is_empty(each))
                    for each in block["transactions"]
                    if each["from"].lower() == signer.lower()
                ]
        return found

    def failed_of(self, signer: str) -> list[str]:
        """An address's transactions that a block holds and that carried out nothing."""
        hashes = [each.tx_hash for each in self.transactions_of(signer)]
        receipts = self.ask_all([("eth_getTransactionReceipt", (each,)) for each in hashes]) if hashes else []
        return [each["transactionHash"] for each in receipts if int(each["status"], 16) == 0]

    def nonce(self, signer: str) -> int:
        return int(self.ask("eth_getTransactionCount", signer, "latest"), 16)

    def whereabouts(self, hashes: Iterable[str]) -> dict[str, str]:
        """Of each transaction: `mined`, `pooled`, or `not at the node`."""
        names = list(hashes)
        found = self.ask_all([("eth_getTransactionByHash", (each,)) for each in names]) if names else []
        return {
            name: "not at the node" if each is None else "mined" if each["blockNumber"] else "pooled"
            for name, each in zip(names, found, strict=True)
        }


def _is_empty(transaction: Mapping[str, Any]) -> bool:
    same = transaction["to"] is not None and transaction["to"].lower() == transaction["from"].lower()
    return same and transaction["input"] == "0x" and int(transaction["value"], 16) == 0


def finals(engine: Engine) -> dict[str, Final]:
    """What the books call final now, by wallet."""
    query = select(intents.c.recipient, intents.c.tx_hash, intents.c.block_number, intents.c.block_hash).where(
        intents.c.state == IntentState.FINAL, intents.c.recipient.is_not(None)
    )
    with read(engine) as tx:
        return {str(row[0]): Final(*row[1:]) for row in tx.execute(query)}


def check_finals(chain: Chain, before: Mapping[str, Final], now: Mapping[str, Final], finality: int) -> Iterable[str]:
    """What was final stays so, and what is new is in a block that the chain has, deep enough. `now` was read first."""
    lost = [wallet for wallet, final in before.items() if now.get(wallet) != final]
    if lost:
        yield f"{len(lost)} cards were final and are not any more, {lost[0]} first"
    new = {(final.block_number, final.block_hash) for wallet, final in now.items() if wallet not in before}
    head = chain.head()
    there = chain.ask_all([("eth_getBlockByNumber", (hex(number), False)) for number, _ in new]) if new else []
    for (number, block_hash), block in zip(new, there, strict=True):
        if block is None or block["hash"] != block_hash:
            yield f"cards are final in block {number} {block_hash}, which the chain has not"
        if number > head - finality:
            yield f"cards are final in block {number}, and the chain is at {head} only"


def prove(
    chain: Chain,
    engine: Engine,
    membership: str,
    signer: str,
    wallets: Sequence[str],
    wire: Sequence[OnTheWire],
    *,
    others: Collection[str] = (),
    endings: Collection[SlotState] = (SlotState.FINAL,),
) -> Proof:
    """Compare a membership contract's members with the file's `wallets`, and a signer's transactions with its books.

    `others` are wallets of the file to which somebody else has minted meanwhile: their rows must have been left out.
    Slots may have ended in one of `endings`.
    """
    minted = chain.minted(membership)
    complaints = [*_members(minted, wallets)]
    supply, skips, nonce = chain.supply(membership), chain.skips(membership), chain.nonce(signer)
    if supply != len(wallets):
        complaints.append(f"the contract counts {supply:,} living cards, the file has {len(wallets):,} rows")
    if skips > len(others):
        # The third layer (one card per wallet) must not be what kept the promise: the first two have to do it alone.
        complaints.append(f"the contract had to skip {skips - len(others)} items that were sent twice")
    transactions = chain.transactions_of(signer)
    proofs = {each.wallet: each.tx_hash for each in minted}
    complaints += _books(engine, signer, transactions, nonce, proofs, frozenset(others), frozenset(endings))
    complaints += _wire(signer, wire, transactions)
    complaints += check_finals(chain, {}, finals(engine), 0)
    times = Counter(each.wallet for each in minted)
    with read(engine) as tx:
        stored = len(tx.execute(_attempts_of(signer)).all())
    return Proof(
        members=len(times),
        duplicates=sum(count - 1 for count in times.values()),
        missing=len(set(wallets) - set(times)),
        strangers=len(set(times) - set(wallets)),
        skipped=skips,
        transactions=len(transactions),
        attempts=stored,
        chain_nonce=nonce,
        complaints=tuple(complaints),
    )


def _members(minted: Sequence[Minted], wallets: Sequence[str]) -> Iterable[str]:
    times = Counter(each.wallet for each in minted)
    ids = Counter(each.token_id for each in minted)
    wanted = set(wallets)
    if twice := [wallet for wallet, count in times.items() if count > 1]:
        yield f"{len(twice)} wallets got more than one card, {twice[0]} first"
    if twice_ids := [token_id for token_id, count in ids.items() if count > 1]:
        yield f"{len(twice_ids)} token ids were minted more than once, {twice_ids[0]:#x} first"
    if missing := [wallet for wallet in wallets if wallet not in times]:
        yield f"{len(missing)} wallets of the file got no card, {missing[0]} first"
    if strangers := [wallet for wallet in times if wallet not in wanted]:
        yield f"{len(strangers)} wallets got a card and are not in the file, {strangers[0]} first"


def _attempts_of(signer: str) -> Any:
    return (
        select(
            attempts.c.tx_hash,
            attempts.c.raw,
            attempts.c.first_sent_at,
            attempts.c.noop,
            slots.c.nonce,
            slots.c.state,
            slots.c.to_address,
            slots.c.calldata,
            slots.c.value,
        )
        .join(slots, attempts.c.slot == slots.c.id)
        .join(signers, slots.c.signer == signers.c.id)
        .where(signers.c.address == signer)
    )


def _books(
    engine: Engine,
    signer: str,
    transactions: Sequence[ChainTransaction],
    nonce: int,
    proofs: dict[str, str],
    others: frozenset[str],
    endings: frozenset[SlotState],
) -> Iterable[str]:
    with read(engine) as tx:
        stored = {row.tx_hash: row for row in tx.execute(_attempts_of(signer))}
        row = tx.execute(select(signers).where(signers.c.address == signer)).one()
        made = tx.execute(select(slots.c.nonce, slots.c.state).where(slots.c.signer == row.id)).all()
        asked = tx.execute(
            select(intents.c.recipient, intents.c.state, intents.c.tx_hash).where(intents.c.signer == row.id)
        ).all()
    if twice := [nonce for nonce, count in Counter(each.nonce for each in transactions).items() if count > 1]:
        yield f"{len(twice)} nonces have more than one transaction on chain, {twice[0]} first"
    for each in transactions:
        if each.tx_hash not in stored:
            yield f"transaction {each.tx_hash} (nonce {each.nonce}, block {each.block}) is no stored attempt"
        elif stored[each.tx_hash].first_sent_at is None:
            yield f"transaction {each.tx_hash} is on chain, and the books say it never left"
        elif each.empty is not (stored[each.tx_hash].state is SlotState.FINAL_NOOP):
            what = "empty" if each.empty else "not empty"
            yield f"nonce {each.nonce} is {what} on chain, and {stored[each.tx_hash].state} in the books"
    for tx_hash, attempt in stored.items():
        if "0x" + keccak(attempt.raw).hex() != tx_hash:
            yield f"the stored bytes of {tx_hash} have another hash"
        elif _call_of(attempt.raw) != (attempt.to_address or "", attempt.calldata, attempt.value) and not attempt.noop:
            yield f"the stored bytes of {tx_hash} carry another call than slot {attempt.nonce}"
        elif attempt.noop and _call_of(attempt.raw) != (signer, b"", 0):
            yield f"the stored bytes of {tx_hash} are not empty, and the books say so"
    nonces = sorted(slot.nonce for slot in made)
    if nonces != list(range(len(nonces))):
        yield f"the slots are not contiguous from 0: {nonces}"
    if not row.next_nonce == nonce == len(nonces):
        yield f"next nonce {row.next_nonce}, {len(nonces)} slots, and the chain is at nonce {nonce}"
    if row.halted is not None:
        yield f"the signer is halted: {row.halted}"
    if row.lease_owner is not None:
        yield f"the lease is still with {row.lease_owner}"
    ended = Counter(slot.state for slot in made)
    if not set(ended) <= endings:
        yield "not all slots are final: " + ", ".join(f"{count} {name}" for name, count in ended.items())
    states = Counter(each.state for each in asked if each.recipient not in others)
    if set(states) != {IntentState.FINAL}:
        yield "not all intents are final: " + ", ".join(f"{count} {name}" for name, count in states.items())
    empty = {tx_hash for tx_hash, attempt in stored.items() if attempt.noop}
    if impossible := [wallet for wallet, tx_hash in proofs.items() if tx_hash in empty]:
        yield f"{len(impossible)} cards were minted by what the books call empty, {impossible[0]} first"
    left_in = [each.recipient for each in asked if each.recipient in others and each.state is not IntentState.REJECTED]
    if left_in:
        yield f"{len(left_in)} wallets got a card from somebody else, and the books don't say so, {left_in[0]} first"
    elsewhere = [
        each.recipient
        for each in asked
        if each.recipient not in others and proofs.get(str(each.recipient)) != each.tx_hash
    ]
    if elsewhere:
        yield f"{len(elsewhere)} intents name another transaction than their card's log, {elsewhere[0]} first"


def _call_of(raw: bytes) -> tuple[str, bytes, int]:
    """To whom a transaction goes, with which calldata and how many wei."""
    try:
        fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
    except (TypeError, ValueError):
        return "", b"", -1
    return to_checksum_address(fields["to"]) if fields["to"] else "", bytes(fields["data"]), int(fields["value"])


def _wire(signer: str, wire: Sequence[OnTheWire], transactions: Sequence[ChainTransaction]) -> Iterable[str]:
    for each in wire:
        if each.complaint is not None:
            yield f"on the wire in run {each.run}: 0x{keccak(each.raw).hex()} {each.complaint}"
    left = {"0x" + keccak(each.raw).hex() for each in wire}
    if unseen := [each.tx_hash for each in transactions if each.tx_hash not in left]:
        yield f"{len(unseen)} transactions of the signer never passed the wire, {unseen[0]} first"
    contents: dict[int, set[tuple[str, bytes, int]]] = defaultdict(set)
    empty = (signer, b"", 0)
    for raw in {each.raw for each in wire}:
        nonce = int(TypedTransaction.from_bytes(HexBytes(raw)).as_dict()["nonce"])
        contents[nonce].add(_call_of(raw))
    for nonce, versions in sorted(contents.items()):
        if len(versions - {empty}) > 1:
            yield f"{len(versions - {empty})} different calls left with nonce {nonce}"
