"""Add the index: positions, seasons, holdings and what undoes them, the logs and headers they come from, the lease."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TIME = sa.DateTime(timezone=True)
HASH = sa.String(66)


def _state() -> list[sa.Column[object]]:
    return [
        sa.Column("joined_at", sa.BigInteger, nullable=False),
        sa.Column("expires_at", sa.BigInteger, nullable=False),
        sa.Column("tier", sa.Integer, nullable=False),
        sa.Column("serial", sa.BigInteger, nullable=False),
        sa.Column("flags", sa.Integer, nullable=False),
        sa.Column("stamps", sa.LargeBinary, nullable=False),
    ]


def _of_program(table: str) -> list[sa.Column[object] | sa.ForeignKeyConstraint]:
    return [
        sa.Column("program", ROW_ID, nullable=False, autoincrement=False),
        sa.ForeignKeyConstraint(["program"], ["programs.id"], name=f"fk_{table}_program_programs"),
    ]


def upgrade() -> None:
    op.create_table(
        "positions",
        *_of_program("positions"),
        sa.Column("chain", ROW_ID, nullable=False),
        sa.Column("first_block", sa.BigInteger, nullable=False),
        sa.Column("number", sa.BigInteger, nullable=False),
        sa.Column("hash", HASH, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.Column("final_number", sa.BigInteger, nullable=False),
        sa.Column("final_hash", HASH, nullable=False),
        sa.Column("final_timestamp", sa.BigInteger, nullable=False),
        sa.Column("confirmed_at", TIME),
        sa.Column("incident", sa.Text),
        sa.PrimaryKeyConstraint("program", name="pk_positions"),
        sa.ForeignKeyConstraint(["chain"], ["chains.id"], name="fk_positions_chain_chains"),
        sa.CheckConstraint("final_number <= number", name=op.f("ck_positions_final_is_indexed")),
    )
    op.create_index("ix_positions_chain", "positions", ["chain"])
    op.create_table(
        "seasons",
        *_of_program("seasons"),
        sa.Column("season", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("stamps", sa.LargeBinary, nullable=False),
        sa.Column("block_number", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("program", "season", name="pk_seasons"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "holdings",
        *_of_program("holdings"),
        sa.Column("wallet", sa.LargeBinary, nullable=False),
        *_state(),
        sa.PrimaryKeyConstraint("program", "wallet", name="pk_holdings"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "undo",
        *_of_program("undo"),
        sa.Column("wallet", sa.LargeBinary, nullable=False),
        sa.Column("block_number", sa.BigInteger, nullable=False, autoincrement=False),
        *_state(),
        sa.PrimaryKeyConstraint("program", "wallet", "block_number", name="pk_undo"),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_undo_program_block_number", "undo", ["program", "block_number"])
    op.create_table(
        "logs",
        *_of_program("logs"),
        sa.Column("block_number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("log_index", sa.Integer, nullable=False, autoincrement=False),
        sa.Column("tx_hash", sa.LargeBinary, nullable=False),
        sa.Column("contract", sa.Integer, nullable=False),
        sa.Column("kind", sa.Integer, nullable=False),
        sa.Column("wallet", sa.LargeBinary, nullable=False),
        sa.Column("data", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("program", "block_number", "log_index", name="pk_logs"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "blocks",
        sa.Column("chain", ROW_ID, nullable=False, autoincrement=False),
        sa.Column("number", sa.BigInteger, nullable=False, autoincrement=False),
        sa.Column("hash", HASH, nullable=False),
        sa.Column("parent", HASH, nullable=False),
        sa.Column("timestamp", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("chain", "number", "hash", name="pk_blocks"),
        sa.ForeignKeyConstraint(["chain"], ["chains.id"], name="fk_blocks_chain_chains"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "indexers",
        sa.Column("chain", ROW_ID, nullable=False, autoincrement=False),
        sa.Column("owner", sa.String(200), nullable=False),
        sa.Column("until", TIME, nullable=False),
        sa.PrimaryKeyConstraint("chain", name="pk_indexers"),
        sa.ForeignKeyConstraint(["chain"], ["chains.id"], name="fk_indexers_chain_chains"),
    )
