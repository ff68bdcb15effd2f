"""Add API keys, the answers given to requests with an Idempotency-Key, batches of mints, and pages of intents."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "api_keys",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(32), nullable=False),
        sa.Column("program", ROW_ID, nullable=False),
        sa.Column("name", sa.String(120), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("secret_hash", sa.LargeBinary, nullable=False),
        sa.Column("scopes", sa.Text, nullable=False),
        sa.Column("origins", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.Column("revoked_at", TIME),
        sa.Column("last_used_at", TIME),
        sa.Column("replaces", sa.String(32)),
        sa.CheckConstraint("kind IN ('server', 'publishable')", name=op.f("ck_api_keys_kind_known")),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_api_keys_program_programs"),
        sa.PrimaryKeyConstraint("id", name="pk_api_keys"),
        sa.UniqueConstraint("public_id", name="uq_api_keys_public_id"),
        sa.UniqueConstraint("replaces", name="uq_api_keys_replaces"),
    )
    op.create_index("ix_api_keys_program", "api_keys", ["program"])
    op.create_table(
        "answers",
        sa.Column("program", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("route", sa.String(200), nullable=False),
        sa.Column("request_key", sa.String(255), nullable=False),
        sa.Column("fingerprint", sa.LargeBinary, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("body", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("held_until", TIME),
        sa.Column("kept", sa.Boolean, nullable=False),
        sa.CheckConstraint("(status IS NULL) = (held_until IS NOT NULL)", name=op.f("ck_answers_answered_or_held")),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_answers_program_programs"),
        sa.PrimaryKeyConstraint("program", "route", "request_key", name="pk_answers"),
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_answers_created_at",
        "answers",
        ["created_at"],
        sqlite_where=sa.text("NOT kept"),
        postgresql_where=sa.text("NOT kept"),
    )
    op.create_table(
        "batches",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(64), nullable=False),
        sa.Column("program", ROW_ID, nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("stamp_type", sa.Integer, nullable=False),
        sa.Column("total", sa.Integer, nullable=False),
        sa.Column("items", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_batches_program_programs"),
        sa.PrimaryKeyConstraint("id", name="pk_batches"),
        sa.UniqueConstraint("public_id", name="uq_batches_public_id"),
    )
    op.create_index("ix_batches_program_id", "batches", ["program", "id"])
    op.create_index("ix_intents_program_kind_id", "intents", ["program", "kind", "id"])
    no_mint = sa.text("kind NOT IN ('mint-card', 'mint-stamp')")
    op.create_index(
        "ix_intents_recipient_program_id",
        "intents",
        ["recipient", "program", "id"],
        sqlite_where=no_mint,
        postgresql_where=no_mint,
    )
    for name, states in (("pending", "'received', 'batched', 'included'"), ("stopped", "'rejected', 'cancelled'")):
        some = sa.text(f"state IN ({states})")
        op.create_index(
            f"ix_intents_{name}", "intents", ["program", "kind", "id"], sqlite_where=some, postgresql_where=some
        )
