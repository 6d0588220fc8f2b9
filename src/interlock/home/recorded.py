"""What was proposed in a home, as the ledger has it: the questions that were asked of the policy.

1. Reading changes nothing. The ledger's entries are read in order, page by page, and the inputs of a page are
   opened in one consistent state; nothing is kept.
2. An action is what an agent proposed: its first revision, with what the policy decided at that moment. What
   people made of it later is not a decision of the policy.
3. What was erased, or does not carry the mark this home gave it, cannot be asked about again. It is counted.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import orjson

from interlock.gate.package import Sealed
from interlock.gate.records import load_action
from interlock.home.publishing import least
from interlock.journal import Journal, Tx
from interlock.ledger import Kind
from interlock.model.errors import Erased, NotFound, Tampered
from interlock.model.verdicts import Decision
from interlock.policy import Question

PAGE = 512
"""Ledger entries that are read at once."""
_PROPOSED = b'"kind":"%b"' % Kind.ACTION_PROPOSED.value.encode()
"""In canonical bytes this stands in an entry of that kind only: a quote inside a text is escaped."""


@dataclass(frozen=True, slots=True)
class Recorded:
    """One proposed action. `at` in microseconds UTC; `decision` and `rule` as they were at that moment."""

    id: str
    at: int
    question: Question
    decision: Decision
    rule: str


class Recording:
    """The actions proposed in one home.

    Attributes:
        unreadable: how many were passed over so far (rule 3).
    """

    def __init__(self, journal: Journal) -> None:
        self._journal = journal
        self.unreadable = 0

    @property
    def end(self) -> int:
        """The ledger's size now: where the next action will stand."""
        return self._journal.head()[0]

    def first_since(self, at: int) -> int:
        """The first entry that is not older than `at`; the ledger's size where all are."""
        low, high = least(self._journal) or 0, self.end
        while low < high:
            middle = (low + high) // 2
            entry = orjson.loads(next(self._journal.entries(middle, middle + 1)))
            if entry["at"] < at:
                low = middle + 1
            else:
                high = middle
        return low

    def between(self, start: int, stop: int) -> Iterator[tuple[int, Recorded]]:
        """The actions of the entries `start` to `stop` (exclusive), each with the entry behind its own."""
        start = max(start, least(self._journal) or 0)
        while start < stop:
            end = min(start + PAGE, stop)
            bodies = enumerate(self._journal.entries(start, end), start + 1)
            proposed = [(index, orjson.loads(body)) for index, body in bodies if _PROPOSED in body]
            if proposed:
                yield from self._journal.look(partial(self._opened, entries=proposed))
            start = end

    def _opened(self, tx: Tx, entries: list[tuple[int, dict[str, Any]]]) -> list[tuple[int, Recorded]]:
        found = []
        for index, entry in entries:
            try:
                row = load_action(tx, entry["action"], entry["revision"])
                sealed = Sealed.read(tx.unseal(row.payload), row.action_hash)
            except (Erased, NotFound, Tampered):
                self.unreadable += 1
                continue
            decided = Decision(entry["decision"])
            found.append((index, Recorded(row.id, entry["at"], sealed.question, decided, entry["rule"])))
        return found
