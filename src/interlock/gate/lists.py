"""Lists: pages of requests and of actions, how many there are, and where one stands among those that wait.

1. Whatever is listed, a page costs a page: each list has an index in its order, and a page begins behind the
   last row of the one before. Nothing here reads all that waits, or all that ever was.
2. A page of requests is one statement: each with its action, what its reviewer is shown as it is sealed, and
   the wrapped key of its subject. Nothing of that is believed before its marks are checked, row by row.
3. Numbers are exact up to `COUNTED`; beyond it is only told that there are more.
4. A row that was changed from outside is passed on as it is, to be shown as an alarm. A cell that is not of
   its column's kind, as SQLite lets one be written, is no place for a page to begin: the row before it is.
"""

from __future__ import annotations

import base64
import math
import re
from collections.abc import Sequence
from typing import Any, NamedTuple

from sqlalchemy import (
    BigInteger,
    Text,
    bindparam,
    func,
    literal_column,
    select,
    text,
    tuple_,
    union_all,
)

from interlock.gate.records import ActionRow, ApprovalRow
from interlock.journal import Prepared, Row, Tx
from interlock.journal import tables as t
from interlock.model.canonical import Json
from interlock.model.errors import InvalidInput

PAGE = 50
COUNTED = 1_000
STATES = (
    "held",
    "approved",
    "rejected",
    "superseded",
    "stale",
    "expired",
    "withdrawn",
    "revoked",
    "unanswered",
    "in_doubt",
)
"""The states of a request."""
_NUMBER = re.compile(r"[0-9]{1,18}", re.ASCII)
_END = 10**18

_a, _x = t.approvals.c, t.actions.c
_AFTER = tuple_(bindparam("number_", type_=BigInteger), bindparam("id_", type_=Text))


_OURS = _a.namespace == bindparam("ns")
_WAITING = (_OURS, _a.state == literal_column("'held'"))
_PLACE = tuple_(_a.due_at, _a.id)


def _page(*, held: bool, first: bool) -> Prepared:
    """A page of requests, each with its action, its sealed package and the package's wrapped key (rule 2)."""
    place = _PLACE if held else tuple_(_a.requested_at, _a.id)
    begin = () if first else (place > _AFTER if held else place < _AFTER,)
    where = _WAITING if held else (_OURS, text(t.RESOLVED))

    def turned(columns: Any) -> list[Any]:
        named = [columns.due_at if held else columns.requested_at, columns.id]
        return named if held else [column.desc() for column in named]

    p = select(t.approvals).where(*where, *begin).order_by(*turned(_a)).limit(bindparam("limit_")).subquery()
    x, y, s = t.actions, t.payloads, t.subjects
    ours = p.c.namespace
    joined = (
        p.outerjoin(x, (x.c.namespace == ours) & (x.c.id == p.c.action_id) & (x.c.revision == p.c.revision))
        .outerjoin(
            y, (y.c.namespace == ours) & (y.c.seq == bindparam("start", type_=BigInteger) + p.c.package)
        )
        .outerjoin(s, (s.c.namespace == ours) & (s.c.id == y.c.subject))
    )
    columns = select(*p.c, *x.c, y.c.sealed, y.c.subject, s.c.wrapped).select_from(joined)
    return Prepared(columns.order_by(*turned(p.c)))


_PAGES = {(held, first): _page(held=held, first=first) for held in (True, False) for first in (True, False)}
_ACTIONS = Prepared(
    select(t.actions)
    .where(
        _x.namespace == bindparam("ns"),
        _x.state == bindparam("state_"),
        tuple_(_x.proposed_at, _x.id) > _AFTER,
    )
    .order_by(_x.proposed_at, _x.id)
    .limit(bindparam("limit_"))
)


def _counted(state: str) -> Any:
    """How many requests are in a state, no more than one over `COUNTED`; when the first of them is due."""
    some = (
        select(_a.due_at)
        .where(_OURS, _a.state == literal_column(f"'{state}'"))
        .order_by(_a.due_at)
        .limit(COUNTED + 1)
        .subquery()
    )
    return select(literal_column(f"'{state}'"), func.count(), func.min(some.c.due_at)).select_from(some)


_COUNTS = Prepared(union_all(*(_counted(state) for state in STATES)))


def _number_of(*conditions: Any) -> Any:
    some = select(_a.due_at).where(*conditions).order_by(_a.due_at).limit(COUNTED + 1)
    return select(func.count()).select_from(some.subquery()).scalar_subquery()


_NEIGHBOURS = Prepared(
    select(
        select(_a.id)
        .where(*_WAITING, _PLACE < _AFTER)
        .order_by(_a.due_at.desc(), _a.id.desc())
        .limit(1)
        .scalar_subquery(),
        select(_a.id).where(*_WAITING, _PLACE > _AFTER).order_by(_a.due_at, _a.id).limit(1).scalar_subquery(),
        _number_of(*_WAITING, _PLACE < _AFTER),
        _number_of(*_WAITING),
    )
)


class Listed(NamedTuple):
    """A request in a list, and its action; None where that is missing. Neither is checked."""

    approval: ApprovalRow
    action: ActionRow | None


class Counts(NamedTuple):
    """How many requests there are by state, none that has none but `held`; `more` names the states of which
    there are more. `first`: when the first that waits is due, as its row says."""

    numbers: dict[str, int]
    more: list[str]
    first: Any


def requests(tx: Tx, *, held: bool, cursor: str | None) -> tuple[list[Listed], str | None]:
    """A page of requests and the cursor of the next: those that wait, soonest deadline first, or the others,
    newest first. Raises `InvalidInput` for a cursor that is not of a list."""
    after = _decode(cursor)
    number, last = after or (0, "")
    rows = tx.all(_PAGES[held, after is None], number_=number, id_=last, limit_=PAGE + 1)
    found = [_listed(tx, row) for row in rows]
    places = [(one.due_at if held else one.requested_at, one.id) for one, _ in found]
    return found[:PAGE], _following(places, ascending=held)


def _listed(tx: Tx, row: Row) -> Listed:
    end = len(ApprovalRow._fields)
    approval, action, (sealed, subject, wrapped) = ApprovalRow(*row[:end]), row[end:-3], row[-3:]
    if sealed is not None and isinstance(approval.package, int):
        tx.hand(approval.package, sealed, subject, wrapped)
    return Listed(approval, None if action[0] is None else ActionRow(*action))


def actions(tx: Tx, state: str, cursor: str | None) -> tuple[list[ActionRow], str | None]:
    """A page of the actions in one state, not checked, what was proposed first first; and the next cursor."""
    number, last = _decode(cursor) or (-_END, "")
    rows = tx.all(_ACTIONS, state_=state, number_=number, id_=last, limit_=PAGE + 1)
    found = [ActionRow(*row) for row in rows]
    return found[:PAGE], _following([(row.proposed_at, row.id) for row in found], ascending=True)


def counts(tx: Tx) -> Counts:
    """How many requests there are."""
    rows = [(state, number, first) for state, number, first in tx.all(_COUNTS) if number or state == "held"]
    return Counts(
        {state: min(number, COUNTED) for state, number, _ in sorted(rows)},
        sorted(state for state, number, _ in rows if number > COUNTED),
        next(first for state, _, first in rows if state == "held"),
    )


def position(tx: Tx, approval: ApprovalRow) -> dict[str, Json]:
    """Where a request stands among those that wait: `index`, from 1, null where it does not wait or stands
    beyond what is counted; `of` how many, or of `more`; and the ids of the `previous` and the `next`. For one
    that does not wait, the first that does is the next."""
    held = approval.state == "held"
    number, last = (approval.due_at, approval.id) if held else (-_END, "")
    found = tx.one(_NEIGHBOURS, number_=number, id_=last)
    assert found is not None
    previous, following, before, of = found
    return {
        "index": before + 1 if held and before < COUNTED else None,
        "of": min(of, COUNTED),
        "more": of > COUNTED,
        "previous": previous,
        "next": following,
    }


def _following(places: Sequence[tuple[Any, Any]], *, ascending: bool) -> str | None:
    """The cursor of the page after these, of which one too many was read; None where this is the last one."""
    if len(places) <= PAGE:
        return None
    for number, identifier in reversed(places[:PAGE]):
        named = isinstance(identifier, str) and identifier.isascii() and identifier.isprintable()
        if named and type(number) is int and 0 <= number < _END:
            return _encode(number, identifier)
    # Nothing of this page can be gone on from but the number, if that is one: text is greater than all.
    last = places[PAGE - 1][0]
    edge = last if isinstance(last, (int, float)) else math.inf
    if ascending:
        return None if edge >= _END else _encode(max(0, math.ceil(edge)), "~" if edge >= 0 else "")
    return None if edge < 0 else _encode(_END - 1 if edge >= _END else math.floor(edge), "")


def _encode(number: int, identifier: str) -> str:
    return base64.urlsafe_b64encode(f"{number}\n{identifier}".encode()).decode()


def _decode(cursor: str | None) -> tuple[int, str] | None:
    """The place in a cursor. Raises `InvalidInput` where it is not one of ours."""
    if cursor is None:
        return None
    try:
        number, identifier = base64.urlsafe_b64decode(cursor.encode()).decode().split("\n")
        if not _NUMBER.fullmatch(number):
            raise ValueError
    except ValueError:
        raise InvalidInput("this cursor is not from this list", path="$.cursor") from None
    return int(number), identifier
