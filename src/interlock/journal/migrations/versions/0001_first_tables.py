"""The first tables."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")


def upgrade() -> None:
    op.create_table(
        "actions",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("revision", NUMBER, autoincrement=False, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("agent", TEXT, nullable=False),
        sa.Column("key_id", TEXT, nullable=True),
        sa.Column("executor", TEXT, nullable=False),
        sa.Column("verdict", TEXT, nullable=False),
        sa.Column("snapshot", TEXT, nullable=False),
        sa.Column("catalogue", TEXT, nullable=False),
        sa.Column("action_hash", TEXT, nullable=False),
        sa.Column("payload", NUMBER, autoincrement=False, nullable=False),
        sa.Column("output", NUMBER, autoincrement=False, nullable=True),
        sa.Column("fingerprint", TEXT, nullable=False),
        sa.Column("predecessor", TEXT, nullable=True),
        sa.Column("retention_sec", NUMBER, autoincrement=False, nullable=True),
        sa.Column("proposed_at", sa.BigInteger(), nullable=False),
        sa.Column("changed_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("epoch", NUMBER, autoincrement=False, nullable=False),
        sa.Column("holder", TEXT, nullable=True),
        sa.Column("lease_until", sa.BigInteger(), nullable=True),
        sa.Column("claimed_at", sa.BigInteger(), nullable=True),
        sa.Column("seal", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id", "revision"),
    )
    op.create_index(
        "actions_leased",
        "actions",
        ["namespace", "lease_until"],
        unique=False,
        sqlite_where=sa.text("state = 'executing'"),
        postgresql_where=sa.text("state = 'executing'"),
    )
    op.create_index(
        "actions_ready",
        "actions",
        ["namespace", "expires_at"],
        unique=False,
        sqlite_where=sa.text("state IN ('allowed','approved')"),
        postgresql_where=sa.text("state IN ('allowed','approved')"),
    )
    op.create_table(
        "active_policy",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("snapshot", TEXT, nullable=False),
        sa.Column("activated_at", sa.BigInteger(), nullable=False),
        sa.Column("activated_by", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "approvals",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("action_id", TEXT, nullable=False),
        sa.Column("revision", NUMBER, autoincrement=False, nullable=False),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("review_hash", TEXT, nullable=False),
        sa.Column("package", NUMBER, autoincrement=False, nullable=False),
        sa.Column("owner", TEXT, nullable=False),
        sa.Column("requested_at", sa.BigInteger(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("escalated", NUMBER, autoincrement=False, nullable=False),
        sa.Column("editor", TEXT, nullable=True),
        sa.Column("supersedes", TEXT, nullable=True),
        sa.Column("superseded_by", TEXT, nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
    )
    op.create_index("approvals_by_state", "approvals", ["namespace", "state", "due_at"], unique=False)
    op.create_index("approvals_of_action", "approvals", ["namespace", "action_id", "revision"], unique=False)
    op.create_table(
        "console_sessions",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "decisions",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("approval_id", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("decision", TEXT, nullable=False),
        sa.Column("review_hash", TEXT, nullable=False),
        sa.Column("reason_code", TEXT, nullable=True),
        sa.Column("note", NUMBER, autoincrement=False, nullable=True),
        sa.Column("solo", NUMBER, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
    )
    op.create_index("decisions_of_approval", "decisions", ["namespace", "approval_id"], unique=False)
    op.create_table(
        "entries",
        sa.Column("seq", NUMBER, autoincrement=False, nullable=False),
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "head",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("start", NUMBER, autoincrement=False, nullable=False),
        sa.Column("size", NUMBER, autoincrement=False, nullable=False),
        sa.Column("frontier", sa.LargeBinary(), nullable=False),
        sa.Column("sealed", NUMBER, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "idempotency",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("agent", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("action_id", TEXT, nullable=False),
        sa.PrimaryKeyConstraint("namespace", "agent", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "keys",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("topics", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=True),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("revoked_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "links",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("digest", sa.LargeBinary(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=False),
        sa.Column("redeemed_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "payloads",
        sa.Column("seq", NUMBER, autoincrement=False, nullable=False),
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("sealed", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("seq"),
    )
    op.create_table(
        "people",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("roles", TEXT, nullable=False),
        sa.Column("added_at", sa.BigInteger(), nullable=False),
        sa.Column("removed_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "policies",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("snapshot", TEXT, nullable=False),
        sa.Column("document", sa.LargeBinary(), nullable=False),
        sa.Column("first_seen", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "snapshot"),
        sqlite_with_rowid=False,
    )
