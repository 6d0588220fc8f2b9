"""What the ledger needs beside its entries: subjects' keys, the publisher's row, epochs, permits."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.add_column("head", sa.Column("stopped", sa.BigInteger(), nullable=False, server_default="0"))
    op.add_column("head", sa.Column("epoch", sa.BigInteger(), nullable=False, server_default="1"))
    op.add_column("payloads", sa.Column("subject", TEXT, nullable=True))
    op.add_column("actions", sa.Column("output_hash", TEXT, nullable=True))
    op.add_column("decisions", sa.Column("note_hash", TEXT, nullable=True))
    op.create_table(
        "subjects",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("wrapped", sa.LargeBinary(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "erasures",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("subject", TEXT, nullable=False),
        sa.Column("serial", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "subject", "serial"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "published",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("epoch", NUMBER, autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("size", NUMBER, autoincrement=False, nullable=False),
        sa.Column("checkpoint", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "epochs",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("number", NUMBER, autoincrement=False, nullable=False),
        sa.Column("origin", TEXT, nullable=False),
        sa.Column("kept", NUMBER, autoincrement=False, nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "number"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "recovery_votes",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("gap", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "person"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "dismissals",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("epoch", NUMBER, autoincrement=False, nullable=False),
        sa.Column("entry", NUMBER, autoincrement=False, nullable=False),
        sa.Column("seen", NUMBER, autoincrement=False, nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "epoch", "entry"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "alarms",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("epoch", NUMBER, autoincrement=False, nullable=False),
        sa.Column("seen", NUMBER, autoincrement=False, nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "epoch"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "permits",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("action_id", TEXT, nullable=False),
        sa.Column("revision", NUMBER, autoincrement=False, nullable=False),
        sa.Column("executor", TEXT, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("offline", NUMBER, autoincrement=False, nullable=False),
        sa.Column("entry", NUMBER, autoincrement=False, nullable=False),
        sa.Column("minted_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_index("permits_of_action", "permits", ["namespace", "action_id", "revision"], unique=False)
    op.create_index(
        "permits_open",
        "permits",
        ["namespace", "expires_at"],
        unique=False,
        sqlite_where=sa.text("state = 'open'"),
        postgresql_where=sa.text("state = 'open'"),
    )
