"""What an agent may not send: each gets its own problem document, and nothing is left behind."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from typing import Any

import pytest

from server_desk import Desk, refused, staffed

MIB = 1 << 20


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    with staffed(tmp_path_factory.mktemp("input")) as running:
        yield running


def note(**args: Any) -> str:
    return json.dumps({"topic": "desk.notes.add", "args": {"text": "a", **args}})


def literal(argument: str, text: str) -> str:
    """A note with an argument that `json.dumps` would not write."""
    return f'{{"topic":"desk.notes.add","args":{{"text":"a","{argument}":{text}}}}}'


def refund(amount: str) -> str:
    return (
        '{"topic":"desk.refunds.create","args":{"order_id":"A","recipient":"b","amount_usd":%s}}' % amount  # noqa: UP031
    )


def order(**members: Any) -> str:
    return json.dumps({"topic": "desk.orders.get", "args": {"order_id": "A"}, **members})


def nested(depth: int) -> str:
    return literal("extra", '{"a":' * depth + "1" + "}" * depth)


REFUSED: dict[str, tuple[str | bytes, int, str, tuple[str, ...]]] = {
    # Not JSON, or not the JSON of a request.
    "cut off": ("{", 400, "malformed-json", ("line 1, column 2",)),
    "empty": ("", 400, "malformed-json", ("column 1",)),
    "two values": ("{} {}", 400, "malformed-json", ()),
    "single quotes": ("{'topic': 1}", 400, "malformed-json", ()),
    "trailing comma": ('{"topic":"desk.notes.add",}', 400, "malformed-json", ()),
    "a list": ("[]", 422, "wrong-type", ("JSON object",)),
    "null": ("null", 422, "wrong-type", ("JSON object",)),
    "a string": ('"desk.notes.add"', 422, "wrong-type", ("JSON object",)),
    "byte order mark": (b"\xef\xbb\xbf" + note().encode(), 400, "malformed-json", ("byte order mark",)),
    "invalid UTF-8": (b'{"topic":"\xff"}', 400, "malformed-json", ("byte 10",)),
    "UTF-16": (note().encode("utf-16"), 400, "malformed-json", ()),
    "overlong UTF-8": (b'{"topic":"\xc0\xaf"}', 400, "malformed-json", ()),
    "surrogates as UTF-8": (b'{"topic":"\xed\xa0\x80"}', 400, "malformed-json", ()),
    "control character": (b'{"topic":"a\x01b"}', 400, "malformed-json", ()),
    "one topic, then another": (
        '{"topic":"desk.notes.add","topic":"desk.orders.get","args":{}}',
        400,
        "duplicate-key",
        ("$:", '"topic"'),
    ),
    "one argument, then another": (literal("text", '"b"'), 400, "duplicate-key", ("$.args:", '"text"')),
    "duplicate key deep inside": (
        literal("extra", '{"list":[{"k":1,"k":1}]}'),
        400,
        "duplicate-key",
        ("$.args.extra.list[0]", '"k"'),
    ),
    "duplicate key in another spelling": (
        '{"topic":"desk.notes.add","\\u0074opic":"x.y","args":{}}',
        400,
        "duplicate-key",
        (),
    ),
    "100,000 open brackets": ("[" * 100_000, 400, "malformed-json", ("64 levels",)),
    "100,000 open braces": ('{"a":' * 100_000, 400, "malformed-json", ("64 levels",)),
    "deeper than 64": (nested(80), 400, "malformed-json", ("64 levels",)),
    # Strings and numbers that readers disagree about.
    "lone surrogate": (literal("extra", '{"k":"\\ud800"}'), 422, "lone-surrogate", ("$.args.extra.k",)),
    "lone surrogate in a key": (literal("\\udc00", "1"), 422, "lone-surrogate", ("$.args",)),
    "swapped surrogates": (literal("labels", '["\\udc00\\ud800"]'), 422, "lone-surrogate", ()),
    "NaN": (literal("weight", "NaN"), 422, "not-a-number", ("$.args.weight", "NaN")),
    "Infinity": (literal("weight", "Infinity"), 422, "not-a-number", ("Infinity",)),
    "-Infinity": (literal("extra", '{"a":[-Infinity]}'), 422, "not-a-number", ("$.args.extra.a[0]",)),
    "1e400": (literal("weight", "1e400"), 422, "number-out-of-range", ("$.args.weight",)),
    "1e17": (literal("weight", "1e17"), 422, "number-out-of-range", ("2^53",)),
    "1e17 in a list": (literal("labels", "[1e17]"), 422, "number-out-of-range", ("$.args.labels[0]",)),
    "2^53": (literal("stars", str(2**53)), 422, "number-out-of-range", ("2^53",)),
    "-2^53": (literal("stars", str(-(2**53))), 422, "number-out-of-range", ("2^53",)),
    "thirty digits": (literal("stars", "9" * 30), 422, "number-out-of-range", ()),
    "a million digits": (literal("stars", "9" * 1_000_000), 422, "number-out-of-range", ()),
    "an exponent beyond reason": (literal("weight", "1e" + "9" * 30), 422, "number-out-of-range", ()),
    "more digits than a double": (literal("weight", "0.1" + "0" * 30 + "1"), 422, "number-out-of-range", ()),
    "confidence beyond a double": (
        '{"topic":"desk.notes.add","args":{"text":"a"},"confidence":1e400}',
        422,
        "number-out-of-range",
        ("$.confidence",),
    ),
    # Money.
    "a tenth of a cent": (refund("12.345"), 422, "excess-digits", ("$.args.amount_usd", "2 decimals")),
    "a tenth of a cent as text": (refund('"12.345"'), 422, "excess-digits", ()),
    "forty nines": (refund("99." + "9" * 40), 422, "excess-digits", ()),
    "forty zeros and a one": (refund("100." + "0" * 40 + "1"), 422, "excess-digits", ()),
    "negative money": (refund("-1"), 422, "number-out-of-range", ("not negative",)),
    "negative money as text": (refund('"-0.01"'), 422, "number-out-of-range", ("not negative",)),
    "huge money": (refund("1e30"), 422, "number-out-of-range", ("18 integral digits",)),
    "money with an exponent": (refund('"1e3"'), 422, "wrong-type", ()),
    "money in Arabic digits": (refund('"٣"'), 422, "wrong-type", ()),
    "money with a separator": (refund('"1,400.00"'), 422, "wrong-type", ()),
    "money with space": (refund('" 1400.00"'), 422, "wrong-type", ()),
    "money that is true": (refund("true"), 422, "wrong-type", ("true and false",)),
    "money that is null": (refund("null"), 422, "wrong-type", ()),
    "money that is NaN as text": (refund('"NaN"'), 422, "wrong-type", ()),
    "money that is a list": (refund("[1]"), 422, "wrong-type", ()),
    # Topics.
    "unknown topic": (
        json.dumps({"topic": "desk.ordrs.get", "args": {}}),
        404,
        "unknown-topic",
        ("did you mean desk.orders.get?",),
    ),
    "Cyrillic look-alike": (
        json.dumps({"topic": "desk.\u043erders.get", "args": {}}),
        422,
        "bad-topic",
        ("character 6 is CYRILLIC SMALL LETTER O",),
    ),
    "full-width look-alike": (json.dumps({"topic": "desk．orders.get", "args": {}}), 422, "bad-topic", ()),
    "upper case": (json.dumps({"topic": "Desk.orders.get", "args": {}}), 422, "bad-topic", ("character 1",)),
    "trailing line break": (json.dumps({"topic": "desk.orders.get\n", "args": {}}), 422, "bad-topic", ()),
    "a pattern as topic": (json.dumps({"topic": "desk.*", "args": {}}), 422, "bad-topic", ()),
    "empty topic": (json.dumps({"topic": "", "args": {}}), 422, "bad-topic", ("empty",)),
    "one segment": (json.dumps({"topic": "desk", "args": {}}), 422, "bad-topic", ("one segment",)),
    "huge topic": (json.dumps({"topic": "a." * 100_000, "args": {}}), 422, "bad-topic", ("at most 255",)),
    "seventeen segments": (json.dumps({"topic": "a" + ".a" * 16, "args": {}}), 422, "bad-topic", ("17",)),
    "topic outside the key's scope": (
        json.dumps({"topic": "vault.secrets.read", "args": {"name": "root"}}),
        403,
        "topic-out-of-scope",
        ("vault.secrets.read",),
    ),
    "topic that is a number": (json.dumps({"topic": 7, "args": {}}), 422, "wrong-type", ("$.topic",)),
    "no topic": ('{"args":{}}', 422, "missing-field", ("$.topic",)),
    # Fields.
    "no arguments": ('{"topic":"desk.orders.get"}', 422, "missing-field", ("$.args",)),
    "arguments that are a list": (order(args=[]), 422, "wrong-type", ("$.args",)),
    "a required argument missing": (order(args={}), 422, "missing-field", ("$.args.order_id",)),
    "an argument that is null": (order(args={"order_id": None}), 422, "wrong-type", ("null",)),
    "an argument misspelt": (
        order(args={"oder_id": "A"}),
        422,
        "unknown-field",
        ("did you mean 'order_id'?",),
    ),
    "a number for a string": (order(args={"order_id": 5}), 422, "wrong-type", ("$.args.order_id",)),
    "true for an integer": (note(stars=True), 422, "wrong-type", ("$.args.stars",)),
    "one for true": (note(urgent=1), 422, "wrong-type", ("$.args.urgent",)),
    "a fraction for an integer": (literal("stars", "1.5"), 422, "wrong-type", ("$.args.stars",)),
    "a string for a number": (note(weight="1"), 422, "wrong-type", ("$.args.weight",)),
    "a string for a list": (note(labels="x"), 422, "wrong-type", ("$.args.labels",)),
    "a list for an object": (note(extra=[1]), 422, "wrong-type", ("$.args.extra",)),
    "text too long": (
        note(text="x" * 4_001),
        422,
        "invalid-input",
        ("at most 4000",),
    ),
    "a field misspelt": (
        order(reasning="x"),
        422,
        "unknown-field",
        ("$.reasning", "did you mean reasoning?"),
    ),
    "the agent names its tier": (order(tier=1), 422, "unknown-field", ("$.tier",)),
    "the agent names its tags": (order(risk_tags=["read"]), 422, "unknown-field", ("$.risk_tags",)),
    "the agent names its signals": (order(signals={}), 422, "unknown-field", ("$.signals",)),
    "the agent names an outcome": (order(outcome="succeeded"), 422, "unknown-field", ("$.outcome",)),
    "the agent names itself": (order(agent="other-agent"), 422, "unknown-field", ("$.agent",)),
    "the agent names an owner": (order(owner="nobody"), 422, "unknown-field", ("$.owner",)),
    "confidence above one": (order(confidence=1.01), 422, "invalid-input", ("$.confidence", "0 and 1")),
    "confidence below zero": (order(confidence=-0.1), 422, "invalid-input", ("$.confidence",)),
    "confidence that is true": (order(confidence=True), 422, "wrong-type", ("$.confidence",)),
    "confidence that is a list": (order(confidence=[1]), 422, "wrong-type", ("$.confidence",)),
    "a session that is a number": (order(session=7), 422, "wrong-type", ("$.session",)),
    "a session with a line break": (order(session="a\nb"), 422, "invalid-input", ("$.session",)),
    "an empty principal": (order(principal=""), 422, "invalid-input", ("$.principal",)),
    "a long principal": (order(principal="p" * 201), 422, "invalid-input", ("$.principal", "200")),
    "a call id turned right to left": (order(call_id="a\u202eb"), 422, "invalid-input", ("$.call_id",)),
    "endless reasoning": (order(reasoning="x" * 20_001), 422, "invalid-input", ("$.reasoning", "20000")),
    "reasoning that is null": (order(reasoning=None), 422, "wrong-type", ("$.reasoning",)),
    "twenty-one alternatives": (order(alternatives=["a"] * 21), 422, "invalid-input", ("$.alternatives",)),
    "alternatives of numbers": (order(alternatives=[1]), 422, "wrong-type", ("$.alternatives[0]",)),
    "a retry of nothing": (order(retry_of="act_" + "0" * 32), 422, "invalid-input", ("$.retry_of",)),
    "a retry of no id": (order(retry_of="../../etc"), 422, "invalid-input", ("$.retry_of",)),
}


@pytest.mark.parametrize("what", REFUSED)
def test_it_is_refused_in_its_own_words_and_leaves_nothing(desk: Desk, what: str) -> None:
    body, status, slug, words = REFUSED[what]
    before = desk.footprint()
    answer = desk.of("agent").post("/v1/actions", content=body)
    document = refused(answer, status, slug, *words)
    assert len(document["detail"]) < 1_000
    assert desk.footprint() == before


@pytest.mark.parametrize("depth", [60, 61, 62])
def test_what_is_just_shallow_enough_is_recorded_and_can_be_read_again(desk: Desk, depth: int) -> None:
    made = desk.of("agent").post("/v1/actions", content=nested(depth))
    assert made.status_code == 201
    assert desk.of("agent").get(f"/v1/actions/{made.json()['id']}").json()["args"] == made.json()["args"]


@pytest.mark.parametrize(
    ("sent", "canonical"), [("1400", "1400.00"), ('"1400.0"', "1400.00"), ("1.4e3", "1400.00"), ("0", "0.00")]
)
def test_money_is_a_string_of_its_scale_however_it_was_sent(desk: Desk, sent: str, canonical: str) -> None:
    made = desk.of("agent").post("/v1/actions", content=refund(sent))
    assert made.json()["args"]["amount_usd"] == canonical


def test_a_body_of_a_mebibyte_and_one_byte_is_refused(desk: Desk) -> None:
    body = note().encode()
    before = desk.footprint()
    refused(desk.of("agent").post("/v1/actions", content=body.ljust(MIB + 1)), 413, "too-large", "1048576")
    assert desk.footprint() == before
    assert desk.of("agent").post("/v1/actions", content=body.ljust(MIB)).status_code in (200, 201)


def test_a_body_of_unstated_length_is_cut_off_at_a_mebibyte(desk: Desk) -> None:
    def endless() -> Iterator[bytes]:
        yield b'{"topic":"desk.notes.add","args":{"text":"'
        for _ in range(64):
            yield b"x" * 65_536
        yield b'"}}'

    before = desk.footprint()
    refused(desk.of("agent").post("/v1/actions", content=endless()), 413, "too-large")
    assert desk.footprint() == before


@pytest.mark.parametrize(
    "path", ["/v1/sign-in", "/v1/approvals/apr_x/decisions", "/v1/actions/act_x/reconcile"]
)
def test_every_body_is_read_as_strictly_as_a_proposal(desk: Desk, path: str) -> None:
    person = desk.client(desk.tokens["Ben"], x_interlock_console="1")
    before = desk.footprint()
    for body, status, slug in (
        (b"{", 400, "malformed-json"),
        (b'{"a":1,"a":2}', 400, "duplicate-key"),
        (b'{"a":NaN}', 422, "not-a-number"),
        (b'{"a":"\\ud800"}', 422, "lone-surrogate"),
        (b"[]", 422, "wrong-type"),
        (b"{}", 422, "missing-field"),
        (b" " * (MIB + 1), 413, "too-large"),
    ):
        refused(person.post(path, content=body), status, slug)
    assert desk.footprint() == before


def exchange(desk: Desk, request: bytes, *, hang_up: bool = False) -> bytes:
    """Send bytes over one connection and read until the server closes it."""
    port = int(desk.url.rsplit(":", 1)[1])
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        connection.sendall(request)
        if hang_up:
            return b""
        received = b""
        while chunk := connection.recv(65_536):
            received += chunk
        return received


def head(desk: Desk, *lines: str) -> bytes:
    return (
        "\r\n".join(
            [
                "POST /v1/actions HTTP/1.1",
                "Host: localhost",
                f"Authorization: Bearer {desk.tokens['agent']}",
                *lines,
            ]
        ).encode()
        + b"\r\n\r\n"
    )


def test_a_body_without_an_end_is_refused_before_it_ends(desk: Desk) -> None:
    chunk = b"10000\r\n" + b" " * 65_536 + b"\r\n"
    answer = exchange(desk, head(desk, "Transfer-Encoding: chunked", "Connection: close") + chunk * 17)
    assert b" 413 " in answer.partition(b"\r\n")[0]


def test_a_length_that_is_too_short_proposes_nothing_from_the_rest(desk: Desk) -> None:
    before = desk.footprint()
    answer = exchange(desk, head(desk, "Content-Length: 10", "Connection: close") + note().encode())
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert b"malformed-json" in answer
    assert desk.footprint() == before


def test_a_length_that_is_too_long_proposes_nothing_when_the_caller_hangs_up(desk: Desk) -> None:
    before = desk.footprint()
    for stated in (len(note()) + 1, 2_000_000):
        exchange(desk, head(desk, f"Content-Length: {stated}") + note().encode(), hang_up=True)
    assert desk.of("agent").get("/v1/actions/act_x").status_code == 404
    assert desk.footprint() == before
    assert "Traceback" not in desk.server.log.read_text()


@pytest.mark.parametrize(
    "lines",
    [
        ("Content-Length: -1",),
        ("Content-Length: 10", "Content-Length: 20"),
        ("Content-Length: 10", "Transfer-Encoding: chunked"),
        ("Transfer-Encoding: chunked, identity",),
    ],
    ids=" + ".join,
)
def test_a_request_with_two_lengths_is_no_request(desk: Desk, lines: tuple[str, ...]) -> None:
    before = desk.footprint()
    answer = exchange(desk, head(desk, *lines, "Connection: close") + note().encode())
    assert b" 400 " in answer.partition(b"\r\n")[0]
    assert desk.footprint() == before


# --- idempotency -------------------------------------------------------------------------------------------


def test_the_same_key_with_the_same_bytes_gets_the_first_action_and_writes_nothing(desk: Desk) -> None:
    agent, key = desk.of("agent"), {"idempotency-key": "same-bytes"}
    first = agent.post("/v1/actions", content=refund('"300.00"'), headers=key)
    before = desk.footprint()
    for spelling in ('"300.00"', "300", "300.0", "3e2"):
        again = agent.post("/v1/actions", content=refund(spelling), headers=key)
        assert (again.status_code, again.json()["id"]) == (200, first.json()["id"])
    assert first.status_code == 202
    assert desk.footprint() == before


def test_the_same_key_with_other_bytes_is_refused_and_the_refusal_is_recorded(desk: Desk) -> None:
    agent, key = desk.of("agent"), {"idempotency-key": "other-bytes"}
    first = agent.post("/v1/actions", content=refund('"300.00"'), headers=key).json()["id"]
    for other in (refund('"300.01"'), order(), order(session="s")):
        before = desk.footprint()
        document = refused(agent.post("/v1/actions", content=other, headers=key), 409, "idempotency-conflict")
        assert document["action"] == first
        assert desk.footprint() == before | {"ledger": before["ledger"] + 1, "entries": before["entries"] + 1}


def test_a_key_belongs_to_one_agent(desk: Desk) -> None:
    key = {"idempotency-key": "shared-name"}
    mine = desk.of("agent").post("/v1/actions", content=refund('"310.00"'), headers=key)
    theirs = desk.of("other-agent").post("/v1/actions", content=refund('"311.00"'), headers=key)
    assert (mine.status_code, theirs.status_code) == (202, 202)
    assert mine.json()["id"] != theirs.json()["id"]


@pytest.mark.parametrize("key", ["", "k" * 201, "a\tb"], ids=["empty", "long", "tab"])
def test_a_key_that_is_no_name_is_refused(desk: Desk, key: str) -> None:
    before = desk.footprint()
    answer = desk.of("agent").post("/v1/actions", content=order(), headers={"idempotency-key": key})
    refused(answer, 422, "invalid-input", "$.idempotency_key")
    assert desk.footprint() == before


def test_a_refused_proposal_does_not_use_its_key_up(desk: Desk) -> None:
    agent, key = desk.of("agent"), {"idempotency-key": "not-used-up"}
    refused(agent.post("/v1/actions", content=refund("12.345"), headers=key), 422, "excess-digits")
    assert agent.post("/v1/actions", content=refund("12.34"), headers=key).status_code == 201


def test_a_retry_of_somebody_elses_action_or_of_an_open_one_is_refused(desk: Desk) -> None:
    for retried in (desk.refund(agent="other-agent")["id"], desk.refund()["id"]):
        before = desk.footprint()
        answer = desk.of("agent").post("/v1/actions", content=order(retry_of=retried))
        refused(answer, 422, "invalid-input", "$.retry_of")
        assert desk.footprint() == before
