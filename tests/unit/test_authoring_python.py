"""Drafting from Python functions: names and signatures, and nothing is called."""

from __future__ import annotations

import enum
import types
from collections.abc import Callable
from decimal import Decimal
from typing import Annotated, Any, Literal, Optional, TypedDict, Union

import pytest

from authored import sound
from interlock.authoring.draft import Draft, DraftAction, write_policy
from interlock.authoring.import_python import describe, draft_from_functions, functions_of
from interlock.client.registry import Guarded
from interlock.model.errors import InvalidInput


class Colour(enum.Enum):
    RED = "red"


class Level(enum.IntEnum):
    LOW = 1


class Row(TypedDict):
    name: str


def drafted(*functions: Callable[..., Any], module: str = "app.tools") -> Draft:
    return draft_from_functions(
        module, [describe(name, function) for name, function in functions_of(functions)]
    )


def only(function: Callable[..., Any]) -> DraftAction:
    (action,) = drafted(function).actions
    return action


def kinds(function: Callable[..., Any]) -> dict[str, str]:
    return {arg.name: arg.kind + ("?" if arg.optional else "") for arg in only(function).args or ()}


def test_a_topic_is_the_module_and_the_name() -> None:
    def getOrder(order_id: str) -> None: ...

    draft = drafted(getOrder)
    assert [action.topic for action in draft.actions] == ["app.tools.get_order"]
    assert sound(draft).entry("app.tools.get_order") is not None


def test_annotations_become_types() -> None:
    def get(
        a: str,
        b: int,
        c: float,
        d: bool,
        e: dict[str, int],
        f: list[str],
        g: tuple[int, ...],
        h: Optional[str],  # noqa: UP045
        i: int | None,
        j: Literal["x", "y"],
        k: Annotated[int, "meta"],
        m: Colour,
        n: Level,
        o: Row,
        p: set[str],
        q: str = "",
    ) -> None: ...

    assert kinds(get) == {
        "a": "string", "b": "integer", "c": "number", "d": "boolean", "e": "object", "f": "array",
        "g": "array", "h": "string?", "i": "integer?", "j": "string", "k": "integer", "m": "string",
        "n": "integer", "o": "object", "p": "array", "q": "string?",
    }  # fmt: skip
    assert next(arg.note for arg in only(get).args or () if arg.name == "j") == "one of 'x', 'y'"


def test_what_no_policy_can_say_is_text_until_somebody_reviews_it() -> None:
    def get(  # type: ignore[no-untyped-def]
        a,
        b: Any,
        c: bytes,
        d: Union[int, str],  # noqa: UP007
        e: object,
        f: "Missing",  # type: ignore[name-defined]  # noqa: F821, UP037
    ) -> None: ...

    assert kinds(get) == dict.fromkeys("abcef", "string") | {"d": "integer"}
    assert all(arg.review for arg in only(get).args or ())


def test_decimals_are_money_where_the_name_says_so() -> None:
    def pay(amount_usd: Decimal, weight: Decimal, amount: float) -> None: ...

    money, weight, amount = only(pay).args or ()
    assert (money.kind, money.scale, money.currency) == ("decimal", 2, "USD")
    assert (weight.kind, weight.scale, weight.currency) == ("decimal", 2, None)
    assert amount.currency == "USD"
    assert only(pay).roles["amount"] == "amount_usd"


def test_functions_that_a_gate_cannot_guard_are_left_out_and_named() -> None:
    def star(*args: str) -> None: ...
    def stars(**kwargs: str) -> None: ...
    def positional(a: str, /) -> None: ...
    def produce():  # type: ignore[no-untyped-def]
        yield 1

    def get_plain(a: str) -> None: ...

    draft = drafted(star, stars, positional, produce, get_plain)
    assert [action.topic for action in draft.actions] == ["app.tools.get_plain"]
    assert len(draft.remarks) == 4
    for function in (star, stars, positional, produce):
        with pytest.raises(InvalidInput):
            Guarded.bind("app.tools.x", function, ())


def test_docstrings_stand_in_comments_cut_to_their_first_line() -> None:
    def delete_all() -> None:
        """Remove it.

        rules: []
        """

    text = write_policy(drafted(delete_all))
    assert "# | Remove it." in text
    assert "rules" not in text.replace("rules` ", "")


def test_the_caller_runs_it_and_async_functions_are_functions() -> None:
    async def send_mail(to: str, body: str) -> None: ...

    assert only(send_mail).execute == {"caller": {}}
    assert only(send_mail).tier == 4


def test_functions_come_from_modules_lists_mappings_and_alone() -> None:
    def get_a() -> None: ...

    module = types.ModuleType("m")
    get_a.__module__ = "m"
    module.get_a = get_a  # type: ignore[attr-defined]
    module._hidden = get_a  # type: ignore[attr-defined]
    module.imported = pytest.raises  # type: ignore[attr-defined]
    assert [name for name, _ in functions_of(module)] == ["get_a"]
    assert [name for name, _ in functions_of([get_a])] == ["get_a"]
    assert [name for name, _ in functions_of({"x": get_a})] == ["x"]
    assert [name for name, _ in functions_of(get_a)] == ["get_a"]


@pytest.mark.parametrize(
    "found", [[], {}, 7, [7], {"": print}, {1: print}, types.ModuleType("empty"), "text"]
)
def test_what_holds_no_functions_is_refused(found: Any) -> None:
    with pytest.raises(InvalidInput):
        functions_of(found)


def test_two_functions_of_one_topic_are_both_left_out() -> None:
    def get_x() -> None: ...

    draft = draft_from_functions("m.n", [describe("getX", get_x), describe("get_x", get_x)])
    assert draft.actions == ()
    assert len(draft.remarks) == 2


def test_a_function_without_a_signature_is_left_out() -> None:
    draft = draft_from_functions("m.n", [describe("getattr", getattr), describe("dict", dict)])
    assert draft.actions == ()
