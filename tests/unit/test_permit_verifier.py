"""The tool's side: the bytes that were approved, once, by the executor that was named, or nothing."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import permitted
from interlock.model import binding as bound
from interlock.model.canonical import canonical as gate_canonical
from interlock.model.canonical import parse_json, plain
from interlock.model.errors import InvalidInput
from interlock.permit import (
    BadArguments,
    NeedsRedeeming,
    Permit,
    PermitError,
    PermitExpired,
    PermitKey,
    Replayed,
    SqliteStore,
    Verifier,
    WrongAction,
    WrongAudience,
    jwks,
    mint,
)
from interlock.permit.sqlite_store import KEEP_SEC
from interlock.permit.strict import NotStrict, canonical, parse
from permitted import ISSUER, KEY, NOW

NONCE = bytes(range(32))
ARGS = {"amount_usd": "500.00", "order_id": "A-12", "recipient": "Zoë"}
BINDING = bound.Binding(
    "default", "pay.note", ARGS, "support", "acme", None, "s-1", 1, {"kind": "permitted", "name": "host"}
)
CLAIMS = dataclasses.replace(
    permitted.CLAIMS,
    executor="host",
    action_hash=BINDING.action_hash(NONCE),
    nonce=NONCE,
    topic="pay.note",
    tier=2,
    offline=True,
    constraints={},
)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteStore]:
    opened = SqliteStore(tmp_path / "used.db")
    yield opened
    opened.close()


@pytest.fixture
def verifier(store: SqliteStore) -> Verifier:
    return Verifier(ISSUER, "host", jwks([KEY.public]), store, lambda: NOW)


def token(**changes: Any) -> str:
    return mint(dataclasses.replace(CLAIMS, **changes), KEY)


def binding_of(args: Any) -> bytes:
    return dataclasses.replace(BINDING, args=args).canonical()


# --- the bytes --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "received",
    [
        ARGS,
        json.dumps(ARGS),
        json.dumps(ARGS).encode(),
        json.dumps(ARGS, ensure_ascii=False, indent=2).encode(),
        dict(reversed(ARGS.items())),
    ],
)
def test_what_was_approved_runs_however_it_is_spelled(verifier: Verifier, received: Any) -> None:
    permit = verifier.check(token(), "pay.note", received)
    assert permit == Permit(CLAIMS, ARGS, BINDING.canonical())


@pytest.mark.parametrize(
    "received",
    [
        {**ARGS, "amount_usd": "500.01"},
        {**ARGS, "amount_usd": 500},
        {**ARGS, "amount_usd": "500.0"},
        {**ARGS, "extra": None},
        {"order_id": "A-12"},
        {**ARGS, "recipient": "Zoe\u0308"},
        {},
    ],
)
def test_other_arguments_do_not_run(verifier: Verifier, store: SqliteStore, received: Any) -> None:
    with pytest.raises(WrongAction):
        verifier.check(token(), "pay.note", received)
    assert verifier.check(token(), "pay.note", ARGS)


@pytest.mark.parametrize(
    "changes",
    [
        {"agent": "other"},
        {"principal": None},
        {"parent_action": "act_" + "9" * 32},
        {"session": None},
        {"revision": 2},
        {"namespace": "other"},
        {"nonce": bytes(32)},
        {"action_hash": "0" * 64},
    ],
)
def test_a_signed_permit_whose_words_do_not_hash_to_its_action_runs_nothing(
    verifier: Verifier, changes: dict[str, Any]
) -> None:
    with pytest.raises(WrongAction):
        verifier.check(token(**changes), "pay.note", ARGS)


def test_the_topic_is_the_tools_own(verifier: Verifier) -> None:
    for topic in ("pay.refund", "pay.note ", "", "pay.nоte"):
        with pytest.raises(WrongAction):
            verifier.check(token(), topic, ARGS)
    with pytest.raises(WrongAction):
        verifier.check(token(topic="pay.refund"), "pay.refund", ARGS)


def test_another_executors_permit_runs_nothing_here(verifier: Verifier) -> None:
    with pytest.raises(WrongAudience):
        verifier.check(token(executor="other"), "pay.note", ARGS)


@pytest.mark.parametrize(
    "received",
    [
        b'{"a": 1, "a": 1}',
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": 9007199254740993}',
        b'{"a": 9007199254740993.0}',
        b'{"a": 0.1000000000000000055511151231257827}',
        b'{"a": "\\ud800"}',
        b'{"\\ud800": 1}',
        b'{"a": "\xff"}',
        b"[]",
        b"7",
        b"",
        b'{"a": ' + b"[" * 100 + b"]" * 100 + b"}",
        b"[" * 200_000,
        b'{"a": "' + b"x" * (1 << 20) + b'"}',
        {"a": float("nan")},
        {"a": Decimal("NaN")},
        {"a": 2**53},
        {"a": 2.0**60},
        {"a": "\ud800"},
        {"a": b"x"},
        {"a": {1, 2}},
        {1: "a"},
        {"a": Decimal("0.10000000000000000001")},
        [],
        7,
        None,
    ],
)
def test_arguments_without_one_canonical_form_run_nothing(verifier: Verifier, received: Any) -> None:
    with pytest.raises(BadArguments):
        verifier.check(token(), "pay.note", received)
    assert verifier.check(token(), "pay.note", ARGS)


@pytest.mark.parametrize("levels", range(60, 68))
def test_the_gate_and_the_tool_agree_on_what_is_nested_too_deep(verifier: Verifier, levels: int) -> None:
    nested: Any = "x"
    for _ in range(levels):
        nested = [nested]
    args = {"a": nested}
    try:
        action_hash = dataclasses.replace(BINDING, args=args).action_hash(NONCE)
    except InvalidInput:
        with pytest.raises(BadArguments):
            verifier.check(token(), "pay.note", args)
    else:
        assert verifier.check(token(action_hash=action_hash), "pay.note", args).args == args


def test_what_runs_is_a_copy_of_what_was_hashed(verifier: Verifier) -> None:
    received: dict[str, Any] = {**ARGS}
    permit = verifier.check(token(), "pay.note", received)
    received["recipient"] = "mallory"
    assert permit.args == ARGS


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.text()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False, width=32),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


@settings(max_examples=150, deadline=None)
@given(st.dictionaries(st.text(max_size=5), JSON, max_size=4))
def test_the_gate_and_the_tool_agree_on_every_byte(value: dict[str, Any]) -> None:
    """Two implementations of the canonical form, one written for each side."""
    try:
        ours = canonical(value)
    except NotStrict:
        with pytest.raises(InvalidInput):
            gate_canonical(plain(value))
        return
    assert ours == gate_canonical(plain(value))
    assert canonical(parse(ours)) == ours


NUMBERS = st.from_regex(r"\A-?(0|[1-9][0-9]{0,20})(\.[0-9]{1,20})?([eE][+-]?[0-9]{1,3})?\Z")


@settings(max_examples=150, deadline=None)
@given(NUMBERS)
def test_the_gate_and_the_tool_accept_the_same_numbers(text: str) -> None:
    document = f'{{"a":{text}}}'
    try:
        gates = gate_canonical(plain(parse_json(document)))
    except InvalidInput:
        with pytest.raises(NotStrict):
            canonical(parse(document))
        return
    assert canonical(parse(document)) == gates


# --- once -------------------------------------------------------------------------------------------------


def test_a_permit_counts_once(verifier: Verifier) -> None:
    assert verifier.check(token(), "pay.note", ARGS)
    with pytest.raises(Replayed):
        verifier.check(token(), "pay.note", ARGS)
    assert verifier.check(token(permit="prm_" + "3" * 32), "pay.note", ARGS)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    for expected in (True, False, False):
        store = SqliteStore(tmp_path / "used.db")
        assert store.first("prm_1", NOW) is expected
        store.close()


def test_of_many_threads_one_is_first(store: SqliteStore) -> None:
    with ThreadPoolExecutor(32) as pool:
        assert sum(pool.map(lambda _: store.first("prm_1", NOW), range(64))) == 1


_RACE = """
import sys
from interlock.permit import SqliteStore
print("ready", flush=True)
sys.stdin.readline()
store = SqliteStore(sys.argv[1])
print(sum(store.first(f"prm_{n}", 1800000000) for n in range(50)))
"""


@pytest.mark.parametrize("attempt", range(4))
def test_of_processes_that_open_a_new_file_at_once_each_permit_is_first_in_one(
    tmp_path: Path, attempt: int
) -> None:
    command = [sys.executable, "-c", _RACE, str(tmp_path / f"used-{attempt}.db")]
    racing = [
        subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) for _ in range(4)
    ]
    for process in racing:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
    for process in racing:
        assert process.stdin is not None
        process.stdin.write("\n")
        process.stdin.flush()
    assert sum(int(process.communicate()[0]) for process in racing) == 50


def test_no_clock_brings_a_used_permit_back(store: SqliteStore) -> None:
    """What is forgotten is refused, wherever the clocks of tool and gate are set afterwards."""
    assert store.first("prm_1", NOW)
    assert store.first("prm_2", NOW + 3 * KEEP_SEC)
    assert not store.first("prm_1", NOW)
    assert not store.first("prm_3", NOW)
    assert store.first("prm_4", NOW + 2 * KEEP_SEC + 1)


def test_the_store_stays_small(store: SqliteStore, tmp_path: Path) -> None:
    for number in range(200):
        assert store.first(f"prm_{number}", NOW + number * 60)
    assert store._connection.execute("SELECT count(*) FROM used").fetchone()[0] <= 2 * KEEP_SEC / 60 + 2


def test_a_store_that_fails_runs_nothing(tmp_path: Path) -> None:
    store = SqliteStore(tmp_path / "used.db")
    verifier = Verifier(ISSUER, "host", {KEY.kid: KEY.public}, store, lambda: NOW)
    store.close()
    with pytest.raises(Exception, match="closed"):
        verifier.check(token(), "pay.note", ARGS)


def test_what_is_refused_is_not_used_up(verifier: Verifier, store: SqliteStore) -> None:
    clock = [NOW + 500.0]
    late = Verifier(ISSUER, "host", jwks([KEY.public]), store, lambda: clock[0])
    with pytest.raises(PermitExpired):
        late.check(token(), "pay.note", ARGS)
    assert verifier.check(token(), "pay.note", ARGS)


# --- offline, and redeemed --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "changes", [{"tier": 3}, {"tier": 4}, {"offline": False}, {"tier": 1, "offline": False}]
)
def test_what_is_not_for_offline_use_needs_the_gate(verifier: Verifier, changes: dict[str, Any]) -> None:
    with pytest.raises(NeedsRedeeming):
        verifier.check(token(**changes), "pay.note", ARGS)
    asked: list[str] = []

    def redeem(permit: str) -> str:
        asked.append(permit)
        return BINDING.canonical().decode()

    assert verifier.check(token(**changes), "pay.note", ARGS, redeem=redeem).args == ARGS
    assert asked == [token(**changes)]


def test_the_gate_is_asked_only_about_what_holds_and_runs_only_what_it_answers(verifier: Verifier) -> None:
    def never(_: str) -> str:
        raise AssertionError("the gate was asked about a permit that does not hold")

    for topic, args in (("pay.refund", ARGS), ("pay.note", {})):
        with pytest.raises(WrongAction):
            verifier.check(token(tier=3), topic, args, redeem=never)
    for answer in ("", "{}", binding_of({**ARGS, "recipient": "mallory"}).decode(), "\ud800"):
        with pytest.raises(WrongAction):
            verifier.check(token(tier=3), "pay.note", ARGS, redeem=lambda _, said=answer: said)  # type: ignore[misc]


def test_a_gate_that_refuses_is_heard(verifier: Verifier) -> None:
    def refuse(_: str) -> str:
        raise PermissionError("permit-redeemed")

    with pytest.raises(PermissionError):
        verifier.check(token(tier=3), "pay.note", ARGS, redeem=refuse)


def test_a_permit_that_ran_offline_is_not_run_again_by_redeeming_it(verifier: Verifier) -> None:
    verifier.check(token(), "pay.note", ARGS)
    with pytest.raises(Replayed):
        verifier.check(token(), "pay.note", ARGS, redeem=lambda _: BINDING.canonical().decode())


def test_keys_are_replaced_in_one_step(verifier: Verifier) -> None:
    other = PermitKey.generate()
    signed = mint(CLAIMS, other)
    with pytest.raises(PermitError, match="not known"):
        verifier.check(signed, "pay.note", ARGS)
    verifier.trust(jwks([other.public]))
    assert verifier.check(signed, "pay.note", ARGS)
    with pytest.raises(ValueError):
        verifier.trust({"keys": "x"})
    with pytest.raises(PermitError, match="not known"):
        verifier.check(token(permit="prm_" + "3" * 32), "pay.note", ARGS)


def test_a_leeway_of_minutes_is_refused(store: SqliteStore) -> None:
    with pytest.raises(ValueError):
        Verifier(ISSUER, "host", {}, store, lambda: NOW, leeway=60)


# --- the room ---------------------------------------------------------------------------------------------


def test_a_tools_host_loads_nothing_else_of_interlock() -> None:
    code = "import sys, interlock.permit\nprint(*sorted(sys.modules))"
    loaded = set(subprocess.check_output([sys.executable, "-c", code], text=True).split())
    rooms = {name.split(".")[1] for name in loaded if name.startswith("interlock.")}
    assert rooms == {"permit"}
    assert {"sqlalchemy", "pydantic", "orjson", "httpx", "fastapi"} & loaded == set()


def test_every_refusal_says_what_to_do(verifier: Verifier, store: SqliteStore) -> None:
    def below(error: type[PermitError]) -> Iterator[type[PermitError]]:
        for narrower in error.__subclasses__():
            yield narrower
            yield from below(narrower)

    found = list(below(PermitError))
    assert len({error.slug for error in found}) == len(found) >= 12
    for error in found:
        assert error.advice.endswith("."), error
        assert str(error("It happened.")).startswith("It happened. ")
