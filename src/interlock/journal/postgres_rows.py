"""Many rows, of several tables, in one statement to PostgreSQL: an array for each column, which `unnest` puts
together again.

1. A statement for one row is rewritten for many: an insert selects the rows, an update joins them. Two of
   them must not be about the same row: an update changes it once, and its count then says so.
2. Arrays are sent in the server's binary form, whose making costs the least, and a thousand rows are one way
   to the server as one row is.
3. Several statements are one: a `WITH` of statements that write, which counts what each has written. They
   see the same state, so each writes a table of its own. (A pipeline would not do: a session that is left
   idle after one is not ended by the server, because the driver ends a pipeline with a Flush.)
4. What the database cannot hold is refused as the caller's mistake, before anything is sent: U+0000 in a
   text, and integers of more than 64 bits.

Sources: PostgreSQL's `array_recv` (src/backend/utils/adt/arrayfuncs.c); its documentation, "Table Functions",
"Data-Modifying Statements in WITH".
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from struct import Struct
from typing import Any

import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format
from sqlalchemy import Dialect, Insert, bindparam, column, func, insert, literal_column, select
from sqlalchemy.sql.elements import BindParameter
from sqlalchemy.sql.visitors import replacement_traverse

from interlock.journal.prepared import Prepared, Row
from interlock.model.errors import InvalidInput

_HEADER = Struct("!iiIii")
"""Dimensions, whether there are NULLs, the elements' type, how many there are, the index of the first."""
_NULL = b"\xff\xff\xff\xff"


class _Array(bytes):
    """One column of some rows, as it is sent."""

    element = array = 0


class _Integers(_Array):
    element, array = 20, 1016


class _Texts(_Array):
    element, array = 25, 1009


class _Binaries(_Array):
    element, array = 17, 1001


def _integer(value: int) -> bytes:
    try:
        return value.to_bytes(8, signed=True)
    except OverflowError:
        raise InvalidInput("a number has more than 64 bits", path="$") from None


def _text(value: str) -> bytes:
    if "\0" in value:
        raise InvalidInput("a text holds U+0000", path="$")
    return value.encode()


_KINDS: dict[type, tuple[type[_Array], Callable[[Any], bytes]]] = {
    int: (_Integers, _integer),
    str: (_Texts, _text),
    bytes: (_Binaries, bytes),
}


def adapt(connection: psycopg.Connection[Any]) -> None:
    """Let a connection send the arrays of `Rows`."""
    for kind, _ in _KINDS.values():
        connection.adapters.register_dumper(kind, _dumper(kind))


def _dumper(kind: type[_Array]) -> type[Dumper]:
    class ArrayDumper(Dumper):
        format = Format.BINARY
        oid = kind.array

        def dump(self, obj: Any) -> bytes:
            return bytes(obj)

    return ArrayDumper


class Rows:
    """A prepared insert or update, for any number of rows at once.

    Attributes:
        counted: whether it answers for each row it has written.
    """

    __slots__ = ("_kinds", "_many", "_one", "counted")

    def __init__(self, prepared: Prepared, dialect: Dialect) -> None:
        statement: Any = prepared.statement
        compiled: Any = statement.compile(dialect=dialect)
        names = list(compiled.positiontup)
        types = [compiled.binds[name].type for name in names]
        self._kinds = [_KINDS[kind.python_type] for kind in types]
        arrays = func.unnest(*(bindparam(name) for name in names))
        columns = (column(name, kind) for name, kind in zip(names, types, strict=True))
        given = arrays.table_valued(*columns).render_derived(name="given").c
        self.counted = not isinstance(statement, Insert)
        if isinstance(statement, Insert):
            one = statement
            rows = select(*(given[name] for name in names))
            statement = insert(statement.table).from_select(names, rows)
        else:

            def joined(element: Any, **_: Any) -> Any:
                return given[element.key] if isinstance(element, BindParameter) else None

            one = statement.returning(literal_column("1"))
            statement = replacement_traverse(one, {}, joined)
        self._one, self._many = (str(each.compile(dialect=dialect)) for each in (one, statement))

    def of(self, rows: Sequence[Row]) -> tuple[str, Sequence[Any]]:
        """The statement and its parameters. Raises `InvalidInput` (rule 4)."""
        if len(rows) == 1:
            return self._one, rows[0]
        return self._many, [
            _array(kind, written, values)
            for (kind, written), values in zip(self._kinds, zip(*rows, strict=True), strict=True)
        ]


def at_once(writes: Sequence[tuple[Rows, list[Row]]]) -> tuple[str, list[Any]]:
    """The one statement that writes all of it, and its parameters. It answers how many rows each update has
    written, and NULL for an insert, which writes all of its own."""
    parts, given, counts = [], list[Any](), []
    for number, (statement, rows) in enumerate(writes):
        text, params = statement.of(rows)
        parts.append(f"w{number} AS ({text})")
        given += params
        counts.append(f"(SELECT count(*) FROM w{number})" if statement.counted else "NULL")  # noqa: S608
    return f"WITH {', '.join(parts)} SELECT {', '.join(counts)}", given


def _array(kind: type[_Array], written: Callable[[Any], bytes], values: Sequence[Any]) -> _Array:
    parts = [_HEADER.pack(1, None in values, kind.element, len(values), 1)]
    for value in values:
        if value is None:
            parts.append(_NULL)
        else:
            content = written(value)
            parts.append(len(content).to_bytes(4))
            parts.append(content)
    return kind(b"".join(parts))
