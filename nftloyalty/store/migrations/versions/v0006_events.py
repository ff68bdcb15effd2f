"""Add events, where they are sent, and how that went; and an index for pages of vouchers."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)


def upgrade() -> None:
    op.create_table(
        "events",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(64), nullable=False),
        sa.Column("program", ROW_ID, nullable=False),
        sa.Column("type", sa.String(40), nullable=False),
        sa.Column("phase", sa.String(32), nullable=False),
        sa.Column("object", sa.String(120), nullable=False),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("wallet", sa.LargeBinary),
        sa.Column("data", sa.Text, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.CheckConstraint("phase IN ('pending', 'final', 'reverted')", name=op.f("ck_events_phase_known")),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_events_program_programs"),
        sa.PrimaryKeyConstraint("id", name="pk_events"),
        sa.UniqueConstraint("program", "object", "sequence", name="uq_events_program_object_sequence"),
        sa.UniqueConstraint("public_id", name="uq_events_public_id"),
    )
    op.create_index("ix_events_program_id", "events", ["program", "id"])
    op.create_index("ix_events_program_type_id", "events", ["program", "type", "id"])
    op.create_index("ix_events_wallet", "events", ["wallet", "program", "id"])
    op.create_table(
        "announcements",
        sa.Column("program", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.Column("final_number", sa.BigInteger, nullable=False),
        sa.CheckConstraint("final_number <= block_number", name=op.f("ck_announcements_final_is_announced")),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_announcements_program_programs"),
        sa.PrimaryKeyConstraint("program", name="pk_announcements"),
    )
    op.create_table(
        "pending_events",
        sa.Column("program", ROW_ID, autoincrement=False, nullable=False),
        sa.Column("block_number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("event", ROW_ID, autoincrement=False, nullable=False),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name="fk_pending_events_event_events"),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_pending_events_program_programs"),
        sa.PrimaryKeyConstraint("program", "block_number", "event", name="pk_pending_events"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "endpoints",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("public_id", sa.String(64), nullable=False),
        sa.Column("program", ROW_ID, nullable=False),
        sa.Column("url", sa.Text, nullable=False),
        sa.Column("types", sa.Text, nullable=False),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("why", sa.Text),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("failing_since", TIME),
        sa.Column("failures", sa.Integer, server_default="0", nullable=False),
        sa.Column("next_at", TIME),
        sa.Column("waiting", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("delivered", sa.BigInteger, server_default="0", nullable=False),
        sa.Column("failed_tries", sa.BigInteger, server_default="0", nullable=False),
        sa.CheckConstraint("state IN ('active', 'disabled', 'deleted')", name=op.f("ck_endpoints_state_known")),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name="fk_endpoints_program_programs"),
        sa.PrimaryKeyConstraint("id", name="pk_endpoints"),
        sa.UniqueConstraint("public_id", name="uq_endpoints_public_id"),
    )
    op.create_index("ix_endpoints_program", "endpoints", ["program"])
    op.create_table(
        "endpoint_secrets",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("endpoint", ROW_ID, nullable=False),
        sa.Column("sealed", sa.LargeBinary, nullable=False),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("expires_at", TIME),
        sa.ForeignKeyConstraint(["endpoint"], ["endpoints.id"], name="fk_endpoint_secrets_endpoint_endpoints"),
        sa.PrimaryKeyConstraint("id", name="pk_endpoint_secrets"),
    )
    op.create_index("ix_endpoint_secrets_endpoint", "endpoint_secrets", ["endpoint"])
    op.create_table(
        "deliveries",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("endpoint", ROW_ID, nullable=False),
        sa.Column("event", ROW_ID, nullable=False),
        sa.Column("object", sa.String(120), nullable=False),
        sa.Column("state", sa.String(32), nullable=False),
        sa.Column("tries", sa.Integer, server_default="0", nullable=False),
        sa.Column("first_tried_at", TIME),
        sa.Column("next_at", TIME),
        sa.Column("held_by", sa.String(200)),
        sa.Column("held_until", TIME),
        sa.Column("created_at", TIME, nullable=False),
        sa.Column("ended_at", TIME),
        sa.CheckConstraint("state IN ('waiting', 'delivered', 'given-up')", name=op.f("ck_deliveries_state_known")),
        sa.ForeignKeyConstraint(["endpoint"], ["endpoints.id"], name="fk_deliveries_endpoint_endpoints"),
        sa.ForeignKeyConstraint(["event"], ["events.id"], name="fk_deliveries_event_events"),
        sa.PrimaryKeyConstraint("id", name="pk_deliveries"),
        sa.UniqueConstraint("endpoint", "event", name="uq_deliveries_endpoint_event"),
    )
    for name, columns, which in (
        ("ix_deliveries_due", ["endpoint", "next_at"], "state = 'waiting' AND next_at IS NOT NULL"),
        ("ix_deliveries_ended", ["ended_at"], "ended_at IS NOT NULL"),
        ("ix_deliveries_held", ["endpoint"], "held_until IS NOT NULL"),
        ("ix_deliveries_oldest", ["endpoint", "created_at"], "state = 'waiting'"),
        ("ix_deliveries_waiting", ["endpoint", "object", "event"], "state = 'waiting'"),
    ):
        op.create_index(name, "deliveries", columns, sqlite_where=sa.text(which), postgresql_where=sa.text(which))
    op.create_index("ix_deliveries_endpoint_id", "deliveries", ["endpoint", "id"])
    op.create_table(
        "delivery_tries",
        sa.Column("id", ROW_ID, nullable=False),
        sa.Column("delivery", ROW_ID, nullable=False),
        sa.Column("at", TIME, nullable=False),
        sa.Column("milliseconds", sa.Integer, nullable=False),
        sa.Column("status", sa.Integer),
        sa.Column("error", sa.Text),
        sa.ForeignKeyConstraint(["delivery"], ["deliveries.id"], name="fk_delivery_tries_delivery_deliveries"),
        sa.PrimaryKeyConstraint("id", name="pk_delivery_tries"),
    )
    op.create_index("ix_delivery_tries_delivery", "delivery_tries", ["delivery", "id"])
    op.create_index("ix_vouchers_program_kind_id", "vouchers", ["program", "kind", "id"])
