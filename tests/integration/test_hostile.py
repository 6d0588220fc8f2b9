"""Services that misbehave at every stage, in a process of their own: what is recorded is what is known, and
the service's own book shows that nothing was asked for twice."""

from __future__ import annotations

import asyncio
import json
import logging
import tracemalloc
from collections.abc import Callable, Iterable
from typing import Any

import pytest

from hostile import Hostile
from house import House
from interlock.dispatch import Dispatcher
from interlock.dispatch import dispatcher as dispatcher_module

DATABASES = ("sqlite", "postgres")
POLICY = """
interlock: 1
name: hostile
actions:
  pay.once:
    tier: 3
    args: {how: string}
    execute: {http: {method: POST, url: "BASE/{args.how}", no_effect: [402, 409, 429]}}
  pay.keyed:
    tier: 3
    args: {how: string}
    execute:
      http: {method: POST, url: "BASE/{args.how}", no_effect: [402, 429], idempotent: {retention: 1h}}
  pay.look:
    tier: 1
    args: {how: string}
    execute: {http: {method: GET, url: "BASE/{args.how}"}}
  hurry.once:
    tier: 3
    args: {how: string}
    execute: {http: {method: POST, url: "BASE/{args.how}", no_effect: [402, 409, 429]}}
  hurry.keyed:
    tier: 3
    args: {how: string}
    execute:
      http: {method: POST, url: "BASE/{args.how}", no_effect: [402, 429], idempotent: {retention: 1h}}
  hurry.look:
    tier: 1
    args: {how: string}
    execute: {http: {method: GET, url: "BASE/{args.how}"}}
  deaf.pay: {tier: 3, args: {}, execute: {http: {method: POST, url: "DEAF/x"}}}
  deaf.mail: {tier: 3, args: {}, execute: {mcp: {url: "DEAF/mcp", tool: send}}}
MCP
  leak.mail: {tier: 3, args: {}, execute: {mcp: {url: "BASE/mcp/leak", tool: send, auth: leaked}}}
  leak.pay: {tier: 3, args: {}, execute: {http: {method: POST, url: "BASE/leak", auth: leaked}}}
  books.deaf: {tier: 3, args: {}, execute: {sql: {database: deaf, statement: DELETE FROM t}}}
  books.silent: {tier: 3, args: {}, execute: {sql: {database: silent, statement: DELETE FROM t}}}
  books.babbles: {tier: 3, args: {}, execute: {sql: {database: babbles, statement: DELETE FROM t}}}
rules:
  - {id: patient, match: {topics: [pay.*, mail.*, leak.*]}, decision: allow}
  - id: hurried
    match: {topics: [hurry.*, slow.*, deaf.*, books.*]}
    decision: allow
    constraints: {max_runtime_sec: 3}
"""
KNOWN = ("well", "bomb", "nested", "length-short")
"""Answered to their end, and well: it took effect, whatever the rest is worth."""
LATE = (
    *("hang-headers", "hang-half-headers", "hang-body", "hang-half-body", "trickle-headers", "trickle-body"),
    "interim-endless",
)
BROKEN = (
    *("close-at-once", "close-half-headers", "close-half-body", "close-half-chunk", "reset", "status-500"),
    *("status-503", "garbage", "not-http", "bad-header", "length-negative", "length-twice", "length-huge"),
    *("headers-endless", "redirect", "switch"),
)
FLOODS = ("flood", "flood-chunked")
NO_EFFECT = ("status-402", "status-409", "busy-none")

MCP_LATE = ("hang-headers", "hang-body", "trickle-body", "stream-silent", "other-id")
"""No answer to the call, or one to another, which is none."""
GREETED = (
    *(
        "close-at-once",
        "close-half-headers",
        "close-half-body",
        "reset",
        "status-500",
        "status-429",
        "garbage",
    ),
    *("bad-header", "headers-endless", "redirect", "flood", "flood-chunked", "bomb", "nested", "stream-ends"),
    *("no-result", "both", "length-twice"),
)
NOT_GREETED = tuple(f"greet-{how}" for how in GREETED if not how.startswith("stream"))
NOT_GREETED_LATE = ("greet-hang-headers", "greet-hang-body", "greet-trickle-body", "greet-other-id")


@pytest.fixture
def house(open_house: Callable[..., House], hostile: Hostile, monkeypatch: pytest.MonkeyPatch) -> House:
    monkeypatch.setattr(dispatcher_module, "RETRY_AFTER_SEC", (0.01, 0.02, 0.03))
    hostile.book.path.unlink(missing_ok=True)
    mcp = "\n".join(
        f"  {room}.{how}: {{tier: 3, args: {{}}, execute: {{mcp: {{url: 'BASE/mcp/{how}', tool: send}}}}}}"
        for room, ways in (
            ("mail", ("well", *GREETED, *NOT_GREETED)),
            ("slow", (*MCP_LATE, "stream-endless", *NOT_GREETED_LATE)),
        )
        for how in ways
    )
    text = POLICY.replace("MCP", mcp).replace("BASE", hostile.url).replace("DEAF", hostile.deaf)
    return open_house(text)


def run(house: House, *proposed: tuple[str, dict[str, Any]]) -> dict[str, str]:
    """What became of each action, all of them carried out at the same time, by its `how` or its topic: its
    state, and the constraint that it broke on record."""
    actions: dict[str, str] = {}
    for topic, args in proposed:
        action = house.propose(topic, args).action
        assert action is not None
        assert action.state == "allowed", action
        actions[action.id] = str(args.get("how") or topic)

    async def go() -> None:
        connectors = house.home.connectors()
        dispatcher = Dispatcher(house.gate, connectors, house.home.leases)
        await asyncio.gather(*map(dispatcher.run, actions))
        await connectors.aclose()

    asyncio.run(go())
    broken = {
        entry["action"]: f" {entry['constraint']}"
        for entry in map(json.loads, house.entries())
        if entry["kind"] == "constraint.breached"
    }
    return {name: house.state(action) + broken.get(action, "") for action, name in actions.items()}


def each(ways: Iterable[str], became: str) -> dict[str, str]:
    return dict.fromkeys(ways, became)


# --- HTTP -------------------------------------------------------------------------------------------------


def test_what_a_service_makes_of_its_answer_decides_only_what_is_known(
    house: House, hostile: Hostile, database: str
) -> None:
    ways = (*KNOWN, *BROKEN, *FLOODS, *NO_EFFECT)
    late = run(house, *[("hurry.once", {"how": how}) for how in LATE])
    assert late == each(LATE, "in_doubt max_runtime_sec")
    assert run(house, *[("pay.once", {"how": how}) for how in ways]) == {
        **each(KNOWN, "succeeded"),
        **each(BROKEN, "in_doubt"),
        **each(FLOODS, "in_doubt max_bytes"),
        **each(NO_EFFECT, "failed"),
    }
    assert {how: hostile.asked(how) for how in (*LATE, *ways)} == dict.fromkeys((*LATE, *ways), 1)


def test_what_only_reads_has_failed_where_nothing_is_known(
    house: House, hostile: Hostile, database: str
) -> None:
    ways = (*BROKEN, *FLOODS)
    late = run(house, *[("hurry.look", {"how": how}) for how in LATE])
    assert late == each(LATE, "failed max_runtime_sec")
    assert run(house, *[("pay.look", {"how": how}) for how in ways]) == {
        **each(BROKEN, "failed"),
        **each(FLOODS, "failed max_bytes"),
    }
    assert {how: hostile.asked(how) for how in (*LATE, *ways)} == dict.fromkeys((*LATE, *ways), 1)


def test_what_is_repeated_is_repeated_with_one_key_and_its_breach_stays_on_record(
    house: House, hostile: Hostile, database: str
) -> None:
    ways = ("reset", "flood", "flood-once")
    found = run(
        house, ("hurry.keyed", {"how": "hang-headers"}), *[("pay.keyed", {"how": how}) for how in ways]
    )
    assert found == {
        "reset": "in_doubt",
        "flood": "in_doubt max_bytes",
        "flood-once": "succeeded max_bytes",
        "hang-headers": "in_doubt max_runtime_sec",
    }
    for how, times in (("reset", 4), ("flood", 4), ("flood-once", 2), ("hang-headers", 4)):
        keys = [line["key"] for line in hostile.book.lines("asked") if line["asked"] == how]
        assert len(keys) == times
        assert len(set(keys)) == 1


def test_when_to_come_back_is_believed_only_where_it_is_a_time_and_soon(
    house: House, hostile: Hostile, database: str
) -> None:
    again, not_again = ("zero", "past"), ("hour", "negative", "huge", "float", "never", "overflow", "garbage")
    ways = [f"busy-{word}" for word in (*again, *not_again)]
    assert run(house, *[("pay.once", {"how": how}) for how in ways]) == each(ways, "failed")
    asked = {word: hostile.asked(f"busy-{word}") for word in (*again, *not_again)}
    assert asked == dict.fromkeys(again, 4) | dict.fromkeys(not_again, 1)


def test_a_service_that_does_not_take_the_connection_was_sent_nothing(house: House, database: str) -> None:
    found = run(house, ("deaf.pay", {}), ("deaf.mail", {}))
    assert found == each(("deaf.pay", "deaf.mail"), "failed max_runtime_sec")


def test_of_an_answer_of_100_mb_only_a_little_is_taken(house: House, hostile: Hostile) -> None:
    """Counted where it is sent: what the sockets of both sides hold is a few megabytes."""
    tracemalloc.start()
    run(house, ("pay.once", {"how": "flood"}), ("pay.once", {"how": "bomb"}), ("mail.flood", {}))
    run(house, ("mail.bomb", {}))
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 32 << 20
    assert hostile.sent("flood") < 16 << 20
    assert hostile.sent("mcp/flood") < 24 << 20


def test_an_answer_cannot_send_the_request_elsewhere(house: House, hostile: Hostile) -> None:
    run(house, ("pay.once", {"how": "redirect"}), ("mail.redirect", {}))
    assert hostile.asked("well") == 0
    assert len(hostile.book.lines("asked")) == 2


@pytest.mark.parametrize(
    "injected",
    [
        "well\r\nx-injected: yes",
        "well HTTP/1.1\r\nhost: evil\r\n\r\nGET /status-500",
        "well?x=1",
        "well#x",
        "well/../status-500",
        "well%2f..%2fstatus-500",
        "well\x00",
        "wéll\u2028",
        "//evil.example/x",
        "@evil.example/",
    ],
)
def test_no_argument_writes_a_header_or_leaves_its_place_in_the_url(
    injected: str, house: House, hostile: Hostile
) -> None:
    (state,) = run(house, ("pay.once", {"how": injected})).values()
    lines = hostile.book.lines("asked")
    assert state in ("failed", "in_doubt")
    assert len(lines) == (0 if state == "failed" else 1)
    for line in lines:
        assert line["asked"] not in ("well", "status-500")
        assert line["path"].count("/") == 0
        assert line["path"].isascii()
        names = [field.split(":")[0].lower() for field in line["head"].split("\r\n")[1:] if field]
        assert names.count("host") == 1
        assert "x-injected" not in names


# --- MCP --------------------------------------------------------------------------------------------------


def test_what_an_mcp_server_makes_of_a_call_decides_only_what_is_known(
    house: House, hostile: Hostile, database: str
) -> None:
    late = run(house, *[(f"slow.{how}", {}) for how in MCP_LATE])
    assert late == each((f"slow.{how}" for how in MCP_LATE), "in_doubt max_runtime_sec")
    (endless,) = run(house, ("slow.stream-endless", {})).values()
    assert endless in ("in_doubt max_bytes", "in_doubt max_runtime_sec")
    found = run(house, *[(f"mail.{how}", {}) for how in ("well", *GREETED)])
    assert {name: became.split()[0] for name, became in found.items()} == {
        "mail.well": "succeeded",
        **each((f"mail.{how}" for how in GREETED), "in_doubt"),
    }
    assert {found[f"mail.{how}"] for how in FLOODS} == {"in_doubt max_bytes"}
    ways = (*MCP_LATE, *GREETED)
    assert {how: hostile.asked(f"mcp/{how}") for how in ways} == dict.fromkeys(ways, 1)


def test_an_mcp_server_that_misbehaves_before_the_call_was_sent_nothing(
    house: House, hostile: Hostile, database: str
) -> None:
    late = run(house, *[(f"slow.{how}", {}) for how in NOT_GREETED_LATE])
    assert late == each((f"slow.{how}" for how in NOT_GREETED_LATE), "failed max_runtime_sec")
    found = run(house, *[(f"mail.{how}", {}) for how in NOT_GREETED])
    assert {became.split()[0] for became in found.values()} == {"failed"}
    assert [line for line in hostile.book.lines("asked") if line["called"]] == []


def test_what_cannot_be_read_is_neither_logged_nor_quoted_in_part(
    house: House, hostile: Hostile, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """It echoes the credential in something that is no JSON."""
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("INTERLOCK_CREDENTIAL_LEAKED", "Bearer sk_live_a1b2c3d4e5f6")
    assert run(house, ("leak.mail", {}), ("leak.pay", {})) == {
        "leak.mail": "in_doubt",
        "leak.pay": "succeeded",
    }
    ids = [action for (action,) in house.sql("SELECT id FROM actions")]
    shown = json.dumps([house.view(action) for action in ids]) + caplog.text
    assert "sk_live" not in shown
    assert "c3d4e5f6" not in shown


# --- SQL --------------------------------------------------------------------------------------------------


def test_a_database_server_that_says_nothing_or_nonsense_was_sent_nothing(
    house: House, hostile: Hostile, database: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, port in (("DEAF", hostile.deaf_port), ("SILENT", hostile.port), ("BABBLES", hostile.babbles)):
        url = f"postgresql://someone:hunter2@127.0.0.1:{port}/x?sslmode=disable"
        monkeypatch.setenv(f"INTERLOCK_CREDENTIAL_{name}", url)
    assert run(house, ("books.deaf", {}), ("books.silent", {}), ("books.babbles", {})) == {
        "books.deaf": "failed max_runtime_sec",
        "books.silent": "failed max_runtime_sec",
        "books.babbles": "failed",
    }
    assert not any("hunter2" in entry for entry in house.entries())
