"""SQL written with SQLAlchemy Core, compiled once for each kind of database, run on the bare driver.

Compiling and result processing cost SQLAlchemy 20 to 40 µs a statement; a transition runs a handful of them
while others wait. A `Prepared` keeps the portable statement and pays that once per process and dialect.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from sqlalchemy import Column, Dialect, Table, bindparam, insert
from sqlalchemy.sql.elements import ClauseElement
from sqlalchemy.sql.visitors import iterate

Row = tuple[Any, ...]


class Form:
    """A statement as one driver takes it: SQL with positional parameters."""

    __slots__ = ("_fixed", "_order", "sql")

    def __init__(self, statement: ClauseElement, dialect: Dialect) -> None:
        compiled: Any = statement.compile(dialect=dialect)
        order = getattr(compiled, "positiontup", None)
        if order is None:
            raise TypeError(f"the {dialect.name} driver does not take positional parameters")
        self._order: tuple[str, ...] = tuple(order)
        self._fixed = {name: bind.value for name, bind in compiled.binds.items() if not bind.required}
        self.sql = str(compiled)

    def row(self, params: Mapping[str, Any]) -> Row:
        """Its parameters in their order."""
        given = {**self._fixed, **params} if self._fixed else params
        return tuple([given[name] for name in self._order])

    def run(self, cursor: Any, params: Mapping[str, Any]) -> None:
        cursor.execute(self.sql, self.row(params))

    def run_row(self, cursor: Any, row: Row) -> None:
        """Run it with its parameters in their order; an insert of every column takes the table's."""
        cursor.execute(self.sql, row)


class Prepared:
    """One statement with named parameters (`bindparam`), for integer, text and bytes values.

    Args:
        statement: a Core select, insert, update or delete.
    """

    __slots__ = ("_tables", "forms", "statement")

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement
        self._tables: frozenset[str] | None = None
        self.forms: dict[str, Form] = {}
        """By the name of the dialect: a process may have journals in databases of two kinds."""

    @property
    def tables(self) -> frozenset[str]:
        """The tables that it reads or writes."""
        if self._tables is None:
            named = (part.table if isinstance(part, Column) else part for part in iterate(self.statement))
            self._tables = frozenset(part.name for part in named if isinstance(part, Table))
        return self._tables

    def form(self, dialect: Dialect) -> Form:
        """The statement for a dialect, compiled when a transaction first meets it."""
        found = self.forms.get(dialect.name)
        if found is None:
            found = self.forms[dialect.name] = Form(self.statement, dialect)
        return found


def insert_into(table: Table) -> Prepared:
    """An insert of every column, each bound under its own name, in the order of the table."""
    return Prepared(insert(table).values({c.name: bindparam(c.name) for c in table.columns}))
