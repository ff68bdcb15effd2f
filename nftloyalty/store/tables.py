"""The tables. What they mean is told here once; the migrations are their history.

A chain is (chain id, genesis hash), so a restarted development chain is a new row and everything hangs below a chain:
the same request key, program or signer on two chains are two rows. Intents, slots and attempts are never deleted.

The seven tables from `positions` to `indexers` are the index: what the logs of the programs' contracts mean, block by
block. All of it but the lease can be dropped and read from the chain again.
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

from nftloyalty.domain.access import KeyKind
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


class Phase(StrEnum):
    """How sure an event is: seen in a block that may still be undone, in one that can't be, or taken back with it."""

    PENDING = "pending"
    FINAL = "final"
    REVERTED = "reverted"


class EndpointState(StrEnum):
    """`deleted`: disabled for good; its secrets are gone, and its log is kept."""

    ACTIVE = "active"
    DISABLED = "disabled"
    DELETED = "deleted"


class DeliveryState(StrEnum):
    """`given-up`: tried for days in vain, or its endpoint was disabled."""

    WAITING = "waiting"
    DELIVERED = "delivered"
    GIVEN_UP = "given-up"


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
    # For pages of what was asked for. A wallet's mints are found by their request keys.
    Index("ix_intents_program_kind_id", "program", "kind", "id"),
    Index(
        "ix_intents_recipient_program_id",
        "recipient",
        "program",
        "id",
        **_only("kind NOT IN ('mint-card', 'mint-stamp')"),
    ),
    Index("ix_intents_pending", "program", "kind", "id", **_only("state IN ('received', 'batched', 'included')")),
    Index("ix_intents_stopped", "program", "kind", "id", **_only("state IN ('rejected', 'cancelled')")),
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
    Index("ix_vouchers_program_kind_id", "program", "kind", "id"),
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

# Who may ask over HTTP, and for what. The secret itself is shown once and kept nowhere.
api_keys = Table(
    "api_keys",
    metadata,
    Column("id", RowId, primary_key=True),
    # The part of the key that is no secret.
    Column("public_id", String(32), nullable=False),
    Column("program", RowId, ForeignKey("programs.id"), nullable=False),
    # Who uses it, in the operator's words.
    Column("name", String(120), nullable=False),
    Column("kind", OneOf(KeyKind), nullable=False),
    # SHA-256.
    Column("secret_hash", _Bytes, nullable=False),
    Column("scopes", JsonText, nullable=False),
    # Of the pages a publishable key may be used from.
    Column("origins", JsonText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # First moments at which it is good for nothing; NULL = no such moment.
    Column("expires_at", UtcDateTime),
    Column("revoked_at", UtcDateTime),
    # To the minute or so; NULL = never yet.
    Column("last_used_at", UtcDateTime),
    # The public id of the key that this one takes the place of.
    Column("replaces", String(32)),
    UniqueConstraint("public_id"),
    UniqueConstraint("replaces"),
    Index("ix_api_keys_program", "program"),
    _known("kind", KeyKind),
)

# What was answered to a request with an Idempotency-Key, so that the same request again changes nothing.
answers = Table(
    "answers",
    metadata,
    Column("program", RowId, ForeignKey("programs.id"), primary_key=True, autoincrement=False),
    # Method and path, as "POST /v1/mints".
    Column("route", String(200), primary_key=True),
    Column("request_key", String(255), primary_key=True),
    # SHA-256 of the body, its fields in order.
    Column("fingerprint", _Bytes, nullable=False),
    # NULL = the first request of this key is still being worked at.
    Column("status", Integer),
    Column("body", Text),
    Column("created_at", UtcDateTime, nullable=False),
    # Until when that first request has it for itself: a process may die over it. NULL = answered.
    Column("held_until", UtcDateTime),
    # Whether it stays for ever; what does not is forgotten after some weeks.
    Column("kept", Boolean, nullable=False),
    CheckConstraint("(status IS NULL) = (held_until IS NOT NULL)", name="answered_or_held"),
    Index("ix_answers_created_at", "created_at", **_only("NOT kept")),
    sqlite_with_rowid=False,
)

# Many mints that were asked for in one request.
batches = Table(
    "batches",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("public_id", String(64), nullable=False),
    Column("program", RowId, ForeignKey("programs.id"), nullable=False),
    Column("kind", OneOf(Kind), nullable=False),
    Column("stamp_type", Integer, nullable=False),
    Column("total", Integer, nullable=False),
    # One after the other, in the order of the request: a row for each would take as long as its intent.
    Column("items", _Bytes, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("public_id"),
    Index("ix_batches_program_id", "program", "id"),
)

# What happened to members' cards and stamps, and what was not done though it was asked for. Only ever added to.
events = Table(
    "events",
    metadata,
    Column("id", RowId, primary_key=True),
    # Follows from what happened: the same history told anew, after a restore, has the same ids.
    Column("public_id", String(64), nullable=False),
    Column("program", RowId, ForeignKey("programs.id"), nullable=False),
    Column("type", String(40), nullable=False),
    Column("phase", OneOf(Phase), nullable=False),
    # What it happened to, as "membership:0x..."; its events are counted from 1.
    Column("object", String(120), nullable=False),
    Column("sequence", BigInteger, nullable=False),
    # The 20 bytes of the wallet it is about, for those who ask for a member's; NULL = none.
    Column("wallet", _Bytes),
    Column("data", JsonText, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    UniqueConstraint("public_id"),
    UniqueConstraint("program", "object", "sequence"),
    Index("ix_events_program_id", "program", "id"),
    Index("ix_events_program_type_id", "program", "type", "id"),
    Index("ix_events_wallet", "wallet", "program", "id"),
    _known("phase", Phase),
)

# Up to which block a program's logs were made events of, and up to which one their being final was.
announcements = Table(
    "announcements",
    metadata,
    Column("program", RowId, ForeignKey("programs.id"), primary_key=True, autoincrement=False),
    Column("block_number", BigInteger, nullable=False),
    Column("final_number", BigInteger, nullable=False),
    CheckConstraint("final_number <= block_number", name="final_is_announced"),
)

# Events of blocks that may still be undone, until they are told to be final or taken back.
pending_events = Table(
    "pending_events",
    metadata,
    Column("program", RowId, ForeignKey("programs.id"), primary_key=True, autoincrement=False),
    Column("block_number", BigInteger, primary_key=True, autoincrement=False),
    Column("event", RowId, ForeignKey("events.id"), primary_key=True, autoincrement=False),
    sqlite_with_rowid=False,
)

# Where events are sent.
endpoints = Table(
    "endpoints",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("public_id", String(64), nullable=False),
    Column("program", RowId, ForeignKey("programs.id"), nullable=False),
    Column("url", Text, nullable=False),
    # Types of events it gets; an empty list = all.
    Column("types", JsonText, nullable=False),
    Column("description", Text, nullable=False),
    Column("state", OneOf(EndpointState), nullable=False),
    # Why it is disabled, in words.
    Column("why", Text),
    Column("created_at", UtcDateTime, nullable=False),
    # Since when nothing has come through; NULL = the last try did.
    Column("failing_since", UtcDateTime),
    # How many tries of it in a row found it still failing, and when the next one may be made, of whatever object.
    Column("failures", Integer, nullable=False, server_default="0"),
    Column("next_at", UtcDateTime),
    # Counted along, for nobody could count millions of deliveries each time they are asked for: those that wait, and
    # since it was made those that came through and tries that failed.
    Column("waiting", BigInteger, nullable=False, server_default="0"),
    Column("delivered", BigInteger, nullable=False, server_default="0"),
    Column("failed_tries", BigInteger, nullable=False, server_default="0"),
    UniqueConstraint("public_id"),
    Index("ix_endpoints_program", "program"),
    _known("state", EndpointState),
)

# What an endpoint's messages are signed with, encrypted; more than one while a former one is let run out.
endpoint_secrets = Table(
    "endpoint_secrets",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("endpoint", RowId, ForeignKey("endpoints.id"), nullable=False),
    Column("sealed", LargeBinary, nullable=False),
    Column("created_at", UtcDateTime, nullable=False),
    # NULL = it is the newest.
    Column("expires_at", UtcDateTime),
    Index("ix_endpoint_secrets_endpoint", "endpoint"),
)

# One event on its way to one endpoint; made in the transaction that makes the event.
deliveries = Table(
    "deliveries",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("endpoint", RowId, ForeignKey("endpoints.id"), nullable=False),
    Column("event", RowId, ForeignKey("events.id"), nullable=False),
    # As the event's: those of one object go out one after the other.
    Column("object", String(120), nullable=False),
    Column("state", OneOf(DeliveryState), nullable=False),
    Column("tries", Integer, nullable=False, server_default="0"),
    Column("first_tried_at", UtcDateTime),
    # Not before then; NULL = not before an older one of its object, or never again.
    Column("next_at", UtcDateTime),
    # Which process is at it now, and until when it has it for itself.
    Column("held_by", String(200)),
    Column("held_until", UtcDateTime),
    # When it was made, or last asked for again.
    Column("created_at", UtcDateTime, nullable=False),
    # When it was delivered or given up; NULL = it waits.
    Column("ended_at", UtcDateTime),
    UniqueConstraint("endpoint", "event"),
    _known("state", DeliveryState),
    Index("ix_deliveries_waiting", "endpoint", "object", "event", **_only("state = 'waiting'")),
    Index("ix_deliveries_due", "endpoint", "next_at", **_only("state = 'waiting' AND next_at IS NOT NULL")),
    Index("ix_deliveries_held", "endpoint", **_only("held_until IS NOT NULL")),
    Index("ix_deliveries_oldest", "endpoint", "created_at", **_only("state = 'waiting'")),
    Index("ix_deliveries_ended", "ended_at", **_only("ended_at IS NOT NULL")),
    Index("ix_deliveries_endpoint_id", "endpoint", "id"),
)

# Each time a delivery was tried: the log that whoever runs the endpoint is shown.
delivery_tries = Table(
    "delivery_tries",
    metadata,
    Column("id", RowId, primary_key=True),
    Column("delivery", RowId, ForeignKey("deliveries.id"), nullable=False),
    Column("at", UtcDateTime, nullable=False),
    Column("milliseconds", Integer, nullable=False),
    # Of the answer; NULL = there was none, and `error` says why.
    Column("status", Integer),
    Column("error", Text),
    Index("ix_delivery_tries_delivery", "delivery", "id"),
)
