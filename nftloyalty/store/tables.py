"""The tables. What they mean is told here once; the migrations are their history.

A chain is (chain id, genesis hash), so a restarted development chain is a new row and everything hangs below a chain:
the same request key, program or signer on two chains are two rows. Intents, slots and attempts are never deleted.

The last seven tables are the index: what the logs of the programs' contracts mean, block by block. All of it but the
lease can be dropped and read from the chain again.
"""

from collections.abc import Iterable
from enum import StrEnum
from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Dialect,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
    text,
)

from nftloyalty.domain.intent import IntentState, Kind, SlotState
from nftloyalty.store.columns import JsonText, OneOf, RowId, UtcDateTime, Wei

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s_%(referred_table_name)s",
        "pk": "pk_%(table_name)s",
    }
)

ADDRESS = String(42)
HASH = String(66)


class ProgramState(StrEnum):
    """`opening`: its address is predicted and its transaction may be under way; `open`: seen on chain."""

    OPENING = "opening"
    OPEN = "open"


class VoucherKind(StrEnum):
    """What a voucher is good for."""

    CARD = "card"
    STAMP = "stamp"


class _Bytes(LargeBinary):
    """LargeBinary for the index, which writes millions of them: both drivers take and give bytes as they are, without
    a wrapper around each."""

    def bind_processor(self, dialect: Dialect) -> None:
        return None

    def result_processor(self, dialect: Dialect, coltype: object) -> None:
        return None


def _known(column: str, words: Iterable[StrEnum]) -> CheckConstraint:
    return CheckConstraint(f"{column} IN ({', '.join(repr(word.value) for word in words)})", name=f"{column}_known")


def _only(condition: str) -> dict[str, Any]:
    """Options of an index that leaves out all other rows."""
    return {"sqlite_where": text(condition), "postgresql_where": text(condition)}


chains = Table(
    "chains",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("chain_id", BigInteger, nullable=False),
    Column("genesis_hash", HASH, nullable=False),
    Column("first_seen_at", UtcDateTime, nullable=False),
    UniqueConstraint("chain_id", "genesis_hash"),
)

programs = Table(
    "programs",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("chain", RowId, ForeignKey("chains.id"), nullable=False),
    # The program's id in program.toml.
    Column("slug", String(120), nullable=False),
    # Who opened it and the salt: the factory's key, from which the addresses follow.
    Column("opener", ADDRESS, nullable=False),
    Column("salt", HASH, nullable=False),
    Column("name", Text, nullable=False),
    Column("factory", ADDRESS, nullable=False),
    Column("membership", ADDRESS, nullable=False),
    Column("stamps", ADDRESS, nullable=False),
    # The terms as they were when it was opened; the chain is the truth, this is the record.
    Column("terms", JsonText, nullable=False),
    Column("state", OneOf(ProgramState), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    Column("opened_tx", HASH),
    Column("opened_block", BigInteger),
    UniqueConstraint("chain", "slug"),
    UniqueConstraint("chain", "membership"),
    _known("state", ProgramState),
)

signers = Table(
    "signers",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("chain", RowId, ForeignKey("chains.id"), nullable=False),
    Column("address", ADDRESS, nullable=False),
    # NULL until the chain has been asked once; from then on it only grows, inside the transaction that makes a slot.
    Column("next_nonce", BigInteger),
    # Why this signer may make no new slots; NULL = it may.
    Column("halted", Text),
    Column("lease_owner", String(200)),
    # The fencing number: every taking of the lease raises it, and a sender with an older one is refused.
    Column("lease_epoch", BigInteger, nullable=False, server_default="0"),
    Column("lease_until", UtcDateTime),
    # What its sender waits for before anything more can be sent, in words, and since when; NULL = nothing.
    Column("waits_for", Text),
    Column("waits_since", UtcDateTime),
    # Whether that is for a reason of its own, so that another key could go on; NULL while it waits for nothing.
    Column("waits_alone", Boolean),
    UniqueConstraint("chain", "address"),
)

slots = Table(
    "slots",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("signer", RowId, ForeignKey("signers.id"), nullable=False),
    Column("nonce", BigInteger, nullable=False),
    Column("kind", OneOf(Kind), nullable=False),
    # NULL = the transaction creates a contract.
    Column("to_address", ADDRESS),
    Column("calldata", LargeBinary, nullable=False),
    Column("value", Wei, nullable=False),
    Column("gas_limit", BigInteger, nullable=False),
    Column("state", OneOf(SlotState), nullable=False),
    # The lease epoch under which it was reserved.
    Column("epoch", BigInteger, nullable=False),
    # Of the attempt that was included, and whether it succeeded there; NULL while nothing is included.
    Column("tx_hash", HASH),
    Column("block_number", BigInteger),
    Column("block_hash", HASH),
    Column("succeeded", Boolean),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # When an operator asked to use up the nonce with an empty transaction and to withdraw what was in it.
    Column("cancel_asked_at", UtcDateTime),
    UniqueConstraint("signer", "nonce"),
    _known("state", SlotState),
    CheckConstraint(
        "(state IN ('included', 'final', 'final-noop', 'final-reverted')) = (tx_hash IS NOT NULL)"
        " AND (tx_hash IS NULL) = (block_number IS NULL) AND (tx_hash IS NULL) = (block_hash IS NULL)"
        " AND (tx_hash IS NULL) = (succeeded IS NULL)",
        name="included_has_block",
    ),
    Index("ix_slots_signer_state_nonce", "signer", "state", "nonce"),
)

attempts = Table(
    "attempts",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("slot", RowId, ForeignKey("slots.id"), nullable=False),
    Column("seq", Integer, nullable=False),
    Column("tx_hash", HASH, nullable=False),
    Column("raw", LargeBinary, nullable=False),
    Column("max_fee_wei", Wei, nullable=False),
    Column("priority_fee_wei", Wei, nullable=False),
    # True: an empty transaction that only uses up the nonce, to cancel what the slot was for.
    Column("noop", Boolean, nullable=False, server_default=false()),
    Column("created_at", UtcDateTime, nullable=False),
    # Written before the bytes leave: NULL proves that this attempt was never sent.
    Column("first_sent_at", UtcDateTime),
    Column("last_sent_at", UtcDateTime),
    # What a node said. A hint for people, never matched on.
    Column("last_error", Text),
    UniqueConstraint("tx_hash"),
    UniqueConstraint("slot", "seq"),
)

intents = Table(
    "intents",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("public_id", String(64), nullable=False),
    Column("chain", RowId, ForeignKey("chains.id"), nullable=False),
    # NULL for what belongs to no program, such as putting the factory on chain.
    Column("program", RowId, ForeignKey("programs.id")),
    Column("signer", RowId, ForeignKey("signers.id"), nullable=False),
    Column("kind", OneOf(Kind), nullable=False),
    Column("stamp_type", Integer, nullable=False, server_default="0"),
    Column("recipient", ADDRESS),
    Column("args", JsonText, nullable=False),
    Column("request_key", String(300), nullable=False),
    Column("state", OneOf(IntentState), nullable=False),
    # The one slot it rides in, and its place in that slot's batch; NULL while it waits.
    Column("slot", RowId, ForeignKey("slots.id")),
    Column("position", Integer),
    Column("tx_hash", HASH),
    Column("block_number", BigInteger),
    Column("block_hash", HASH),
    # Of the log that proves its outcome: the mint, or the Skipped event when `code` is set.
    Column("log_index", Integer),
    # The contract's skip code.
    Column("code", Integer),
    Column("error", Text),
    Column("created_at", UtcDateTime, nullable=False),
    Column("updated_at", UtcDateTime, nullable=False),
    # Transactions that held it, passed their trial, and failed on chain for good.
    Column("reverts", Integer, nullable=False, server_default="0"),
    UniqueConstraint("public_id"),
    UniqueConstraint("chain", "request_key"),
    _known("state", IntentState),
    CheckConstraint("state NOT IN ('batched', 'included', 'final') OR slot IS NOT NULL", name="batched_has_slot"),
    CheckConstraint("state NOT IN ('received', 'cancelled') OR slot IS NULL", name="waiting_has_no_slot"),
    CheckConstraint("state NOT IN ('included', 'final') OR tx_hash IS NOT NULL", name="included_has_hash"),
    # What is done stays out of the first two: most rows of an old database, and each would be written to them twice.
    Index("ix_intents_waiting", "signer", "program", "kind", "stamp_type", "id", **_only("state = 'received'")),
    Index(
        "ix_intents_unfinished",
        "program",
        "kind",
        "stamp_type",
        "state",
        **_only("state IN ('received', 'batched')"),
    ),
    Index("ix_intents_slot", "slot"),
)

vouchers = Table(
    "vouchers",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("public_id", String(64), nullable=False),
    Column("program", RowId, ForeignKey("programs.id"), nullable=False),
    Column("kind", OneOf(VoucherKind), nullable=False),
    Column("recipient", ADDRESS, nullable=False),
    Column("args", JsonText, nullable=False),
    Column("signer", ADDRESS, nullable=False),
    Column("signature", String(132), nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("public_id"),
    Index("ix_vouchers_program_recipient", "program", "recipient"),
    _known("kind", VoucherKind),
)

# How far a program's index has come: all its contracts stand at one block.
positions = Table(
    "positions",
    metadata,
    Column("program", RowId, ForeignKey("programs.id"), primary_key=True, autoincrement=False),
    Column("chain", RowId, ForeignKey("chains.id"), nullable=False),
    # Nothing of the program is below it.
    Column("first_block", BigInteger, nullable=False),
    # Of the block that was indexed last; `timestamp` in unix seconds.
    Column("number", BigInteger, nullable=False),
    Column("hash", HASH, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    # Of the newest of the indexed blocks that can no longer be undone.
    Column("final_number", BigInteger, nullable=False),
    Column("final_hash", HASH, nullable=False),
    Column("final_timestamp", BigInteger, nullable=False),
    # When the block was last seen to be the node's newest; NULL = never yet.
    Column("confirmed_at", UtcDateTime),
    # Why the index stands still until an operator rebuilds it; NULL = it does not.
    Column("incident", Text),
    CheckConstraint("final_number <= number", name="final_is_indexed"),
    Index("ix_positions_chain", "chain"),
)

# Which contract holds the stamps of a season, as its membership contract told it.
seasons = Table(
    "seasons",
    metadata,
    Column("program", RowId, ForeignKey("programs.id"), primary_key=True, autoincrement=False),
    Column("season", Integer, primary_key=True, autoincrement=False),
    Column("stamps", _Bytes, nullable=False),
    Column("block_number", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)


def _state() -> list[Column[Any]]:
    """What a program knows of a wallet: the fields of its membership word, and `stamps`, one word of 32 bytes a season
    in order as far as there is anything in them."""
    return [
        Column("joined_at", BigInteger, nullable=False),
        Column("expires_at", BigInteger, nullable=False),
        Column("tier", Integer, nullable=False),
        Column("serial", BigInteger, nullable=False),
        Column("flags", Integer, nullable=False),
        Column("stamps", _Bytes, nullable=False),
    ]


# As of the position's block. Wallets are their 20 bytes; one of which nothing is known has no row.
holdings = Table(
    "holdings",
    metadata,
    Column("program", RowId, ForeignKey("programs.id"), primary_key=True, autoincrement=False),
    Column("wallet", _Bytes, primary_key=True),
    *_state(),
    sqlite_with_rowid=False,
)

# What a holding was before a block that may still be undone changed it; all zeros = there was none.
undo = Table(
    "undo",
    metadata,
    Column("program", RowId, ForeignKey("programs.id"), primary_key=True, autoincrement=False),
    Column("wallet", _Bytes, primary_key=True),
    Column("block_number", BigInteger, primary_key=True, autoincrement=False),
    *_state(),
    Index("ix_undo_program_block_number", "program", "block_number"),
    sqlite_with_rowid=False,
)

# Every log that says something of a holding, of the indexed blocks only. Holdings follow from these rows.
logs = Table(
    "logs",
    metadata,
    Column("program", RowId, ForeignKey("programs.id"), primary_key=True, autoincrement=False),
    Column("block_number", BigInteger, primary_key=True, autoincrement=False),
    Column("log_index", Integer, primary_key=True, autoincrement=False),
    Column("tx_hash", _Bytes, nullable=False),
    # 0 = the membership contract, n = the stamps of season n - 1.
    Column("contract", Integer, nullable=False),
    # A number of domain.holding.FactKind, which says what `data` holds.
    Column("kind", Integer, nullable=False),
    Column("wallet", _Bytes, nullable=False),
    Column("data", _Bytes, nullable=False),
    sqlite_with_rowid=False,
)

# Headers of the blocks that may still be undone. Orphaned ones stay until their numbers are final: programs of a chain
# need not stand at the same block, and another one may still have to find its way back from there.
blocks = Table(
    "blocks",
    metadata,
    Column("chain", RowId, ForeignKey("chains.id"), primary_key=True, autoincrement=False),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("hash", HASH, primary_key=True),
    Column("parent", HASH, nullable=False),
    Column("timestamp", BigInteger, nullable=False),
    sqlite_with_rowid=False,
)

# Who brings a chain's index forward now. Only spares double work: what is written is guarded by the positions.
indexers = Table(
    "indexers",
    metadata,
    Column("chain", RowId, ForeignKey("chains.id"), primary_key=True, autoincrement=False),
    Column("owner", String(200), nullable=False),
    Column("until", UtcDateTime, nullable=False),
)
