"""An installation's folder, and the composition root: the only place where rooms are wired together.

1. A home is a folder, private to its OS user: the journal's database, the keystore, credentials, and what was
   last signed. Keys never stand in the database; the database never stands alone: a database without its
   keystore is refused, as is one that is behind what was signed.
2. Opening is idempotent and safe for several processes at once.
3. Nothing starts in the background here: the publisher and the dispatcher run where `serve` runs them.
"""

from interlock.home.home import Home
from interlock.home.policies import read_policy, read_sources, read_tests

__all__ = ["Home", "read_policy", "read_sources", "read_tests"]
