"""The first schema: chains, programs, signers, slots, attempts, intents, vouchers.

A migration is history: it spells its tables out and imports nothing of ours that may change later.
"""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
ADDRESS = sa.String(42)
HASH = sa.String(66)
WORD = sa.String(32)
WEI = sa.String(78)


def upgrade() -> None:
    op.create_table(
        "chains",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("chain_id", sa.BigInteger, nullable=False),
        sa.Column("genesis_hash", HASH, nullable=False),
        sa.Column("first_seen_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_chains"),
        sa.UniqueConstraint("chain_id", "genesis_hash", name="uq_chains_chain_id_genesis_hash"),
    )
    op.create_table(
        "programs",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("chain", ROW_ID, nullable=False),
        sa.Column("slug", sa.String(120), nullable=False),
        sa.Column("opener", ADDRESS, nullable=False),
        sa.Column("salt", HASH, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("factory", ADDRESS, nullable=False),
        sa.Column("membership", ADDRESS, nullable=False),
        sa.Column("stamps", ADDRESS, nullable=False),
        sa.Column("terms", sa.Text, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("opened_tx", HASH),
        sa.Column("opened_block", sa.BigInteger),
        sa.PrimaryKeyConstraint("id", name="pk_programs"),
        sa.ForeignKeyConstraint(["chain"], ["chains.id"], name="fk_programs_chain_chains"),
        sa.UniqueConstraint("chain", "slug", name="uq_programs_chain_slug"),
        sa.UniqueConstraint("chain", "membership", name="uq_programs_chain_membership"),
        sa.CheckConstraint("state IN ('opening', 'open')", name=op.f("ck_programs_state_known")),
    )
    op.create_table(
        "signers",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("chain", ROW_ID, nullable=False),
        sa.Column("address", ADDRESS, nullable=False),
        sa.Column("next_nonce", sa.BigInteger),
        sa.Column("halted", sa.Text),
        sa.Column("lease_owner", sa.String(200)),
        sa.Column("lease_epoch", sa.BigInteger, nullable=False, server_default="0"),
        sa.Column("lease_until", TIME),
        sa.PrimaryKeyConstraint("id", name="pk_signers"),
        sa.ForeignKeyConstraint(["chain"], ["chains.id"], name="fk_signers_chain_chains"),
        sa.UniqueConstraint("chain", "address", name="uq_signers_chain_address"),
    )
    op.create_table(
        "slots",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("signer", ROW_ID, nullable=False),
        sa.Column("nonce", sa.BigInteger, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("to_address", ADDRESS),
        sa.Column("calldata", sa.LargeBinary, nullable=False),
        sa.Column("value", WEI, nullable=False),
        sa.Column("gas_limit", sa.BigInteger, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("epoch", sa.BigInteger, nullable=False),
        sa.Column("tx_hash", HASH),
        sa.Column("block_number", sa.BigInteger),
        sa.Column("block_hash", HASH),
        sa.Column("succeeded", sa.Boolean),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_slots"),
        sa.ForeignKeyConstraint(["signer"], ["signers.id"], name="fk_slots_signer_signers"),
        sa.UniqueConstraint("signer", "nonce", name="uq_slots_signer_nonce"),
        sa.CheckConstraint(
            "state IN ('reserved', 'signed', 'broadcasting', 'included',"
            " 'final', 'final-noop', 'final-reverted', 'foreign')",
            name=op.f("ck_slots_state_known"),
        ),
        sa.CheckConstraint(
            "(state IN ('included', 'final', 'final-noop', 'final-reverted')) = (tx_hash IS NOT NULL)"
            " AND (tx_hash IS NULL) = (block_number IS NULL) AND (tx_hash IS NULL) = (block_hash IS NULL)"
            " AND (tx_hash IS NULL) = (succeeded IS NULL)",
            name=op.f("ck_slots_included_has_block"),
        ),
    )
    op.create_index("ix_slots_signer_state_nonce", "slots", ["signer", "state", "nonce"])
    op.create_table(
        "attempts",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("slot", ROW_ID, nullable=False),
        sa.Column("seq", sa.Integer, nullable=False),
        sa.Column("tx_hash", HASH, nullable=False),
        sa.Column("raw", sa.LargeBinary, nullable=False),
        sa.Column("max_fee_wei", WEI, nullable=False),
        sa.Column("priority_fee_wei", WEI, nullable=False),
        sa.Column("noop", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("first_sent_at", TIME),
        sa.Column("last_sent_at", TIME),
        sa.Column("last_error", sa.Text),
        sa.PrimaryKeyConstraint("id", name="pk_attempts"),
        sa.ForeignKeyConstraint(["slot"], ["slots.id"], name="fk_attempts_slot_slots"),
        sa.UniqueConstraint("tx_hash", name="uq_attempts_tx_hash"),
        sa.UniqueConstraint("slot", "seq", name="uq_attempts_slot_seq"),
    )
    op.create_table(
        "intents",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(64), nullable=False),
        sa.Column("chain", ROW_ID, nullable=False),
        sa.Column("program", ROW_ID),
        sa.Column("signer", ROW_ID, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("stamp_type", sa.Integer, nullable=False, server_default="0"),
        sa.Column("recipient", ADDRESS),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("request_key", sa.String(300), nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("slot", ROW_ID),
        sa.Column("position", sa.Integer),
        sa.Column("tx_hash", HASH),
        sa.Column("block_number", sa.BigInteger),
        sa.Column("block_hash", HASH),
        sa.Column("log_index", sa.Integer),
        sa.Column("code", sa.Integer),
        sa.Column("error", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("updated_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_intents"),
        sa.ForeignKeyConstraint(["chain"], ["chains.id"], name="fk_intents_chain_chains"),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_intents_program_programs"),
        sa.ForeignKeyConstraint(["signer"], ["signers.id"], name="fk_intents_signer_signers"),
        sa.ForeignKeyConstraint(["slot"], ["slots.id"], name="fk_intents_slot_slots"),
        sa.UniqueConstraint("public_id", name="uq_intents_public_id"),
        sa.UniqueConstraint("chain", "request_key", name="uq_intents_chain_request_key"),
        sa.CheckConstraint(
            "state IN ('received', 'batched', 'included', 'final', 'rejected', 'cancelled')",
            name=op.f("ck_intents_state_known"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('batched', 'included', 'final') OR slot IS NOT NULL",
            name=op.f("ck_intents_batched_has_slot"),
        ),
        sa.CheckConstraint(
            "state NOT IN ('received', 'cancelled') OR slot IS NULL", name=op.f("ck_intents_waiting_has_no_slot")
        ),
        sa.CheckConstraint(
            "state NOT IN ('included', 'final') OR tx_hash IS NOT NULL", name=op.f("ck_intents_included_has_hash")
        ),
    )
    op.create_index("ix_intents_signer_state_id", "intents", ["signer", "state", "id"])
    op.create_index("ix_intents_group", "intents", ["signer", "state", "program", "kind", "stamp_type", "id"])
    op.create_index("ix_intents_slot", "intents", ["slot"])
    op.create_index("ix_intents_counts", "intents", ["program", "kind", "stamp_type", "state"])
    op.create_table(
        "vouchers",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(64), nullable=False),
        sa.Column("program", ROW_ID, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("recipient", ADDRESS, nullable=False),
        sa.Column("args", sa.Text, nullable=False),
        sa.Column("signer", ADDRESS, nullable=False),
        sa.Column("signature", sa.String(132), nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.PrimaryKeyConstraint("id", name="pk_vouchers"),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_vouchers_program_programs"),
        sa.UniqueConstraint("public_id", name="uq_vouchers_public_id"),
        sa.CheckConstraint("kind IN ('card', 'stamp')", name=op.f("ck_vouchers_kind_known")),
    )
    op.create_index("ix_vouchers_program_recipient", "vouchers", ["program", "recipient"])
