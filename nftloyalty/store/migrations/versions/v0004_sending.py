"""Say what a signer waits for, cancel what is under way, and leave what is done out of the indexes of what is not."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_RECEIVED = sa.text("state = 'received'")
_UNFINISHED = sa.text("state IN ('received', 'batched')")


def upgrade() -> None:
    op.add_column("signers", sa.Column("waits_for", sa.Text))
    op.add_column("signers", sa.Column("waits_since", sa.DateTime(timezone=True)))
    op.add_column("signers", sa.Column("waits_alone", sa.Boolean))
    op.add_column("slots", sa.Column("cancel_asked_at", sa.DateTime(timezone=True)))
    op.drop_index("ix_intents_signer_state_id", "intents")
    op.drop_index("ix_intents_group", "intents")
    op.drop_index("ix_intents_counts", "intents")
    op.create_index(
        "ix_intents_waiting",
        "intents",
        ["signer", "program", "kind", "stamp_type", "id"],
        sqlite_where=_RECEIVED,
        postgresql_where=_RECEIVED,
    )
    op.create_index(
        "ix_intents_unfinished",
        "intents",
        ["program", "kind", "stamp_type", "state"],
        sqlite_where=_UNFINISHED,
        postgresql_where=_UNFINISHED,
    )
