"""The journal: tables, and the one durable transaction through which state, record and follow-up change.

1. Nothing acts on a change before it is committed (P6); see `journal.py` for the transaction's rules.
2. Personal or secret content stands only in sealed payloads, each under the key of the subject it is about
   (`subjects.py`); trusted rows carry a MAC (`vault.py`).
3. The schema is migrated, never edited; a newer one is refused (`schema.py`).
4. A database file or a PostgreSQL server stand behind one port (`database.py`); `postgres.py` is imported by
   whoever opens one, because its driver takes time to load.

Imports: `model` and `ledger`. Nothing in this room knows what an action may do next: that is the gate's.
"""

from interlock.journal.clock import Clock, ClockBehind, SystemClock
from interlock.journal.database import ConnectionLost, Database, OutcomeUnknown
from interlock.journal.journal import Journal
from interlock.journal.prepared import Prepared, Row, insert_into
from interlock.journal.subjects import KeyFile, KeyNeeded, KeysUnavailable, KeyWrap, Subjects
from interlock.journal.tx import Tx
from interlock.journal.vault import Vault
from interlock.journal.waiting import Transition

__all__ = [
    "Clock",
    "ClockBehind",
    "ConnectionLost",
    "Database",
    "Journal",
    "KeyFile",
    "KeyNeeded",
    "KeyWrap",
    "KeysUnavailable",
    "OutcomeUnknown",
    "Prepared",
    "Row",
    "Subjects",
    "SystemClock",
    "Transition",
    "Tx",
    "Vault",
    "insert_into",
]
