"""Count against each intent the transactions that held it and failed for good."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("intents", sa.Column("reverts", sa.Integer, nullable=False, server_default="0"))
