"""SQL written with SQLAlchemy Core, compiled once, run on the bare driver.

Compiling and result processing cost SQLAlchemy 20 to 40 µs a statement; a transition runs a handful of them
while others wait. A `Prepared` keeps the portable statement and pays that once per process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Dialect
from sqlalchemy.sql.elements import ClauseElement

Row = tuple[Any, ...]


class Prepared:
    """One statement with named parameters (`bindparam`), for integer, text and bytes values.

    Args:
        statement: a Core select, insert, update or delete.
    """

    __slots__ = ("_fixed", "_order", "_sql", "statement")

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement
        self._sql: str | None = None
        self._order: tuple[str, ...] = ()
        self._fixed: dict[str, Any] = {}

    def bind(self, dialect: Dialect) -> None:
        """Compile for a dialect; the journal does this when a transaction first meets the statement."""
        compiled: Any = self.statement.compile(dialect=dialect)
        order = getattr(compiled, "positiontup", None)
        if order is None:
            raise TypeError(f"the {dialect.name} driver does not take positional parameters")
        self._order = tuple(order)
        self._fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self._sql = str(compiled)

    @property
    def bound(self) -> bool:
        return self._sql is not None

    def run(self, cursor: Any, params: Mapping[str, Any]) -> None:
        given = {**self._fixed, **params} if self._fixed else params
        cursor.execute(self._sql, [given[name] for name in self._order])

    def run_row(self, cursor: Any, row: Row) -> None:
        """Run an insert of every column with a row in the table's order."""
        cursor.execute(self._sql, row)

    def run_rows(self, cursor: Any, rows: Sequence[Row]) -> None:
        cursor.executemany(self._sql, rows)
