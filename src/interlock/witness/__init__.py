"""A witness: a small server that cosigns the checkpoints of logs it knows, if they only ever grow.

1. For each log it remembers one thing, the newest checkpoint it cosigned, and cosigns another only where a
   proof shows that it continues that one. So no log can show two histories to people who ask for its word.
2. What it remembers is on disk before its answer leaves, and is compared and replaced in one transaction:
   neither a restart nor two requests at once make it forget.
3. It checks with the code of the room `verify`, which shares none with the code that writes ledgers, and
   holds nothing but its own key. It is to run where whoever runs the log cannot reach it: on other hosts, by
   other people.
4. `rules` decides, with store and clock handed in; `store` remembers; `folder` holds name, key and logs;
   `app` and `run` are HTTP around them.

Source: c2sp.org/tlog-witness.
"""

from interlock.witness.folder import Folder
from interlock.witness.rules import Answer, Seen, add_checkpoint
from interlock.witness.run import serve
from interlock.witness.store import Store

__all__ = ["Answer", "Folder", "Seen", "Store", "add_checkpoint", "serve"]
