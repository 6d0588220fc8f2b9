"""Who is calling: keys, people, one-time links and console sessions.

1. A secret leaves this room once, when it is made. The database holds only a keyed hash of it, under a key
   that the database does not hold; comparison is in constant time.
2. A `Caller` is the result of authentication and the only thing other rooms see. It says what the caller may
   do; it never carries a secret.
3. Adding, revoking, linking and redeeming are ledger entries. Every row carries a MAC; a row that does not
   match is treated as an attack (`Tampered`), not as absence.
4. An agent's key can propose the topics in its scope and nothing else: not tags, tier, observed signals,
   outcomes or decisions (P1).
5. `people: solo` in the policy holds only while exactly one person is enrolled; the second one ends it.
"""

from interlock.identity.callers import Caller, KeyKind, Role, embedded_caller
from interlock.identity.keyring import Key, Keyring
from interlock.identity.people import Person, Roster

__all__ = ["Caller", "Key", "KeyKind", "Keyring", "Person", "Role", "Roster", "embedded_caller"]
