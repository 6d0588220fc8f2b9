"""What durable execution needs: kill switches, their register and who agreed to lift them; since when a home
is swept; the outbox and the executors' leases."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None

NUMBER = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
TEXT = sa.Text().with_variant(sa.Text(collation="C"), "postgresql")

_TELL = """
    CREATE FUNCTION interlock_tell() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        PERFORM pg_notify('interlock', NEW.namespace);
        RETURN NULL;
    END
    $$
"""
"""Other processes listen (`hearing.py`). Equal notifications of one transaction are one."""


def upgrade() -> None:
    op.add_column("actions", sa.Column("probe", TEXT, nullable=True))
    op.add_column("approvals", sa.Column("reading", TEXT, nullable=True))
    op.add_column("approvals", sa.Column("probe_at", sa.BigInteger(), nullable=True))
    to_probe = sa.text("state = 'held' AND probe_at IS NOT NULL")
    op.create_index(
        "approvals_to_probe",
        "approvals",
        ["namespace", "probe_at"],
        unique=False,
        sqlite_where=to_probe,
        postgresql_where=to_probe,
    )
    waiting = sa.text("state IN ('held','allowed','approved')")
    op.create_index(
        "actions_waiting",
        "actions",
        ["namespace", "snapshot"],
        unique=False,
        sqlite_where=waiting,
        postgresql_where=waiting,
    )
    op.create_index("actions_by_state", "actions", ["namespace", "state", "proposed_at", "id"], unique=False)
    op.drop_index("approvals_by_state", "approvals")
    op.create_index("approvals_by_state", "approvals", ["namespace", "state", "due_at", "id"], unique=False)
    resolved = sa.text("state <> 'held'")
    op.create_index(
        "approvals_resolved",
        "approvals",
        ["namespace", "requested_at", "id"],
        unique=False,
        sqlite_where=resolved,
        postgresql_where=resolved,
    )
    op.create_table(
        "kill_switches",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("scope", TEXT, nullable=False),
        sa.Column("target", TEXT, nullable=True),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("by", TEXT, nullable=False),
        sa.Column("drill", NUMBER, autoincrement=False, nullable=False),
        sa.Column("engaged_at", sa.BigInteger(), nullable=False),
        sa.Column("rearmed_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "kill_register",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("generation", NUMBER, autoincrement=False, nullable=False),
        sa.Column("engaged", TEXT, nullable=False),
        sa.Column("lifted", TEXT, nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "attended",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("since", sa.BigInteger(), nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "kill_votes",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("kill", TEXT, nullable=False),
        sa.Column("person", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "kill", "person"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "segments",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("segment", TEXT, nullable=False),
        sa.Column("ids", TEXT, nullable=False),
        sa.Column("enqueued_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.add_column("actions", sa.Column("undoes", TEXT, nullable=True))
    op.add_column("actions", sa.Column("undone_by", TEXT, nullable=True))
    op.create_table(
        "before_states",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("action_id", TEXT, nullable=False),
        sa.Column("revision", NUMBER, autoincrement=False, nullable=False),
        sa.Column("payload", NUMBER, autoincrement=False, nullable=False),
        sa.Column("reading", TEXT, nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "action_id", "revision"),
    )
    op.create_table(
        "checkpoints",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("action_id", TEXT, nullable=False),
        sa.Column("payload", NUMBER, autoincrement=False, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "action_id"),
    )
    op.create_table(
        "undelivered",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("webhook", TEXT, nullable=False),
        sa.Column("ids", TEXT, nullable=False),
        sa.Column("reason", TEXT, nullable=False),
        sa.Column("failed_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "followed",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("agent", TEXT, nullable=False),
        sa.Column("position", NUMBER, autoincrement=False, nullable=False),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "agent"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "executors",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("holder", TEXT, nullable=False),
        sa.Column("epoch", NUMBER, autoincrement=False, nullable=False),
        sa.Column("until", sa.BigInteger(), nullable=False),
        sa.Column("joined_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "redelivered",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("key", TEXT, nullable=False),
        sa.Column("times", NUMBER, autoincrement=False, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "key"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "accepted_tools",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("tool", TEXT, nullable=False),
        sa.Column("accepted_by", TEXT, nullable=False),
        sa.Column("accepted_at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "topic"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "seen_tools",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("topic", TEXT, nullable=False),
        sa.Column("tool", TEXT, nullable=False),
        sa.Column("server", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("definition", sa.LargeBinary(), nullable=False),
        sa.Column("seen_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "topic", "tool"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "sessions",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("id", TEXT, nullable=False),
        sa.Column("agent", TEXT, nullable=False),
        sa.Column("principal", TEXT, nullable=True),
        sa.Column("name", TEXT, nullable=True),
        sa.Column("state", TEXT, nullable=False),
        sa.Column("payload", NUMBER, autoincrement=False, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("records", NUMBER, autoincrement=False, nullable=False),
        sa.Column("size", NUMBER, autoincrement=False, nullable=False),
        sa.Column("opened_at", sa.BigInteger(), nullable=False),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "id"),
    )
    op.create_index("sessions_by_name", "sessions", ["namespace", "name"], unique=False)
    op.create_table(
        "session_records",
        sa.Column("namespace", TEXT, nullable=False),
        sa.Column("session", TEXT, nullable=False),
        sa.Column("number", NUMBER, autoincrement=False, nullable=False),
        sa.Column("kind", TEXT, nullable=False),
        sa.Column("name", TEXT, nullable=False),
        sa.Column("action_id", TEXT, nullable=True),
        sa.Column("payload", NUMBER, autoincrement=False, nullable=False),
        sa.Column("hash", TEXT, nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("mac", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "session", "number"),
    )
    op.create_index(
        "session_records_by_name", "session_records", ["namespace", "session", "name"], unique=False
    )
    if op.get_bind().dialect.name == "postgresql":
        op.execute(_TELL)
        op.execute(
            "CREATE TRIGGER interlock_grown AFTER UPDATE OF size ON head FOR EACH ROW"
            " WHEN (OLD.size IS DISTINCT FROM NEW.size) EXECUTE FUNCTION interlock_tell()"
        )
        op.execute(
            "CREATE TRIGGER interlock_enqueued AFTER INSERT ON segments FOR EACH ROW"
            " EXECUTE FUNCTION interlock_tell()"
        )
