"""Sessions are what trusted code said of an agent's run: issued, sealed, marked, out of the agent's reach."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from erasing import erase

from house import BOTH, REFUND, House, agent
from interlock.gate import Answer
from interlock.gate.sessions import MAX_RECORDS, SessionRefused
from interlock.identity import Caller, KeyKind
from interlock.identity.callers import embedded_caller
from interlock.model.actions import Proposal
from interlock.model.errors import (
    Conflict,
    Forbidden,
    IdempotencyConflict,
    InvalidInput,
    NotFound,
    Tampered,
    TooLarge,
    Unauthenticated,
)
from interlock.model.sessions import MAX_CONTENT, RecordKind, Result, Turn
from interlock.verify import verify_export

DATABASES = BOTH
ANA = "ana@example.com"
SAID = "Please refund order A-12 to zanzibar"
NOBODYS = f"ses_{0:032x}"
SMALL = {**REFUND, "amount_usd": "5.00"}


@pytest.fixture
def adapter(house: House) -> Caller:
    return host(house, "support")


def host(house: House, name: str, kind: KeyKind = KeyKind.ADAPTER) -> Caller:
    _, token = house.home.keyring.add(kind, name, topics=["*"], by="test")
    return house.home.keyring.authenticate(token)


def opened(house: House, caller: Caller, **rest: Any) -> str:
    view, _ = house.home.sessions.open(caller, **rest)
    return str(view["id"])


def said(house: House, session: str) -> list[Any]:
    return [(one.number, one.kind, one.content) for one in house.home.sessions.records(session)]


def entries(house: House) -> Iterator[dict[str, Any]]:
    for body in house.entries():
        entry = json.loads(body)
        if entry["kind"].startswith("session."):
            yield entry


# --- who ---------------------------------------------------------------------------------------------------


def test_only_trusted_code_opens_records_and_ends(house: House, adapter: Caller) -> None:
    sessions, session = house.home.sessions, opened(house, adapter)
    person = house.person("Ann").caller
    for caller in (
        host(house, "support2", KeyKind.AGENT),
        host(house, "mover", KeyKind.EXECUTOR),
        person,
    ):
        with pytest.raises(Forbidden):
            sessions.open(caller)
        with pytest.raises(Forbidden):
            sessions.record(session, caller, Turn("pay it"))
        with pytest.raises(Forbidden):
            sessions.record(session, caller, Result("orders.get", "paid"))
        with pytest.raises(Forbidden):
            sessions.end(session, caller)
    assert said(house, session) == []


def test_the_key_of_the_agent_itself_writes_nothing_into_its_own_session(house: House) -> None:
    """The name is the same, and the session is its own: the kind of the key is what counts."""
    adapter = host(house, "support")
    own = host(house, "support", KeyKind.AGENT)
    session = opened(house, adapter)
    with pytest.raises(Forbidden):
        house.home.sessions.record(session, own, Turn("The user agreed."))
    assert said(house, session) == []


def test_a_session_of_another_agent_is_not_there(house: House, adapter: Caller) -> None:
    other, session = host(house, "sales"), opened(house, adapter)
    for attempt in (
        lambda: house.home.sessions.record(session, other, Turn("pay it")),
        lambda: house.home.sessions.record(NOBODYS, other, Turn("pay it")),
        lambda: house.home.sessions.end(session, other),
    ):
        with pytest.raises(NotFound):
            attempt()
    house.home.sessions.end(session, adapter)


def test_a_revoked_key_records_no_more(house: House, adapter: Caller) -> None:
    session = opened(house, adapter)
    house.home.keyring.revoke(adapter.key_id or "", by="test")
    with pytest.raises(Unauthenticated):
        house.home.sessions.record(session, adapter, Turn("hello"))


def test_the_process_that_embeds_the_gate_records_for_its_agent(house: House) -> None:
    session = opened(house, embedded_caller("support"))
    house.home.sessions.record(session, embedded_caller("support"), Turn("hello"))
    with pytest.raises(NotFound):
        house.home.sessions.record(session, embedded_caller("sales"), Turn("hello"))
    assert [kind for _, kind, _ in said(house, session)] == [RecordKind.TURN]


# --- what --------------------------------------------------------------------------------------------------


def test_turns_and_results_are_kept_in_order_and_as_they_came(house: House, adapter: Caller) -> None:
    session = opened(house, adapter, principal=ANA)
    action = house.held(principal=ANA, session=session)
    record = house.home.sessions.record
    record(session, adapter, Turn(SAID))
    record(session, adapter, Turn("From: mallory", pasted=True))
    result = Result("get", {"total": 2}, "orders.get", action, "call-1", "orders.example", cut=True)
    record(session, adapter, result)
    assert said(house, session) == [
        (1, "turn", {"text": SAID, "pasted": False, "cut": False}),
        (2, "turn", {"text": "From: mallory", "pasted": True, "cut": False}),
        (
            3,
            "result",
            {
                "tool": "get",
                "topic": "orders.get",
                "content": {"total": 2},
                "call_id": "call-1",
                "source": "orders.example",
                "failed": False,
                "cut": True,
            },
        ),
    ]
    assert house.home.sessions.records(session)[2].action_id == action


def test_what_is_sent_again_under_its_name_is_recorded_once(house: House, adapter: Caller) -> None:
    session = opened(house, adapter)
    first = house.home.sessions.record(session, adapter, Turn(SAID), ref="m1")
    assert house.home.sessions.record(session, adapter, Turn(SAID), ref="m1") == (first[0], False)
    for other in (Turn("something else"), Turn(SAID, pasted=True), Result("t", SAID)):
        with pytest.raises(IdempotencyConflict):
            house.home.sessions.record(session, adapter, other, ref="m1")
    house.home.sessions.record(session, adapter, Turn(SAID))
    house.home.sessions.end(session, adapter)
    assert house.home.sessions.record(session, adapter, Turn(SAID), ref="m1") == (first[0], False)
    assert len(said(house, session)) == 2


def test_a_name_is_one_session_for_one_principal(house: House, adapter: Caller) -> None:
    session = opened(house, adapter, ref="thread-7", principal=ANA)
    assert opened(house, adapter, ref="thread-7", principal=ANA) == session
    assert opened(house, adapter, ref="thread-8", principal=ANA) != session
    assert opened(house, host(house, "sales"), ref="thread-7", principal=ANA) != session
    for principal in (None, "bo@example.com", "agent:support"):
        with pytest.raises(IdempotencyConflict):
            house.home.sessions.open(adapter, ref="thread-7", principal=principal)


def test_a_result_names_only_an_action_of_the_same_agent(house: House, adapter: Caller) -> None:
    session, foreign = opened(house, adapter), house.held(caller=agent("sales"))
    for action in (foreign, f"act_{0:032x}"):
        with pytest.raises(NotFound):
            house.home.sessions.record(session, adapter, Result("t", "x", action_id=action))
    assert said(house, session) == []


def test_sizes_are_bounded(house: House, adapter: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    session = opened(house, adapter)
    record = house.home.sessions.record
    with pytest.raises(TooLarge):
        record(session, adapter, Turn("x" * MAX_CONTENT))
    record(session, adapter, Turn("x" * (MAX_CONTENT - 100)))
    monkeypatch.setattr("interlock.gate.sessions.MAX_SESSION", MAX_CONTENT)
    with pytest.raises(Conflict):
        record(session, adapter, Turn("x" * 200))
    assert MAX_RECORDS == 10_000
    monkeypatch.setattr("interlock.gate.sessions.MAX_RECORDS", 1)
    with pytest.raises(Conflict):
        record(session, adapter, Turn("x"))
    assert len(said(house, session)) == 1


@pytest.mark.parametrize(
    "wrong",
    [
        Result("", "x"),
        Result("t", "x", action_id="act_1"),
        Result("t", "x", "No Topic"),
        Result("t\n", "x"),
        Result("t", "x", source=""),
    ],
)
def test_names_that_are_none_are_refused(house: House, adapter: Caller, wrong: Result) -> None:
    with pytest.raises(InvalidInput):
        house.home.sessions.record(opened(house, adapter), adapter, wrong)


def test_an_ended_session_takes_nothing_and_what_waits_in_it_goes_on(house: House, adapter: Caller) -> None:
    session = opened(house, adapter)
    held = house.held(session=session)
    view = house.home.sessions.end(session, adapter)
    assert (view["state"], house.home.sessions.end(session, adapter)) == ("closed", view)
    with pytest.raises(Conflict):
        house.home.sessions.record(session, adapter, Turn("one more"))
    with pytest.raises(SessionRefused):
        house.propose(args=SMALL, session=session)
    assert house.held(session=session) == held, "the same call attaches to the same hold"
    house.answer(held, house.person("Ann"), Answer.APPROVE)
    assert house.state(held) == "approved"


# --- proposing ---------------------------------------------------------------------------------------------


def test_a_session_is_for_its_agent_and_its_principal(house: House, adapter: Caller) -> None:
    session = opened(house, adapter, principal=ANA)
    house.propose(args=SMALL, session=session, principal=ANA)
    for caller, principal in (
        (agent("sales"), ANA),
        (agent("support"), "bo@example.com"),
        (agent("support"), None),
    ):
        with pytest.raises(SessionRefused):
            house.propose(args=SMALL, caller=caller, session=session, principal=principal)
    with pytest.raises(SessionRefused):
        house.propose(args=SMALL, session=NOBODYS)
    assert house.sql("SELECT count(*) FROM actions")[0][0] == 1


def test_the_agents_own_key_proposes_in_a_session_that_its_adapter_opened(
    house: House, adapter: Caller
) -> None:
    own, session = host(house, "support", KeyKind.AGENT), opened(house, adapter)
    proposed = house.gate.propose(Proposal("pay.refund", SMALL, session=session), own).action
    assert proposed is not None
    assert house.view(proposed.id)["session"] == {"id": session, "issued": True}


@pytest.mark.parametrize("word", ["run-7", "ses_7", NOBODYS.upper(), f"x{NOBODYS}"])
def test_a_word_of_the_agents_own_is_shown_as_that(house: House, word: str) -> None:
    action = house.propose(args=SMALL, session=word).action
    assert action is not None
    assert house.view(action.id)["session"] == {"id": word, "issued": False}


# --- what is kept ------------------------------------------------------------------------------------------


def test_entries_carry_hashes_and_the_database_holds_no_word(
    house: House, adapter: Caller, tmp_path: Path
) -> None:
    session = opened(house, adapter, principal=ANA, ref="thread-zanzibar")
    house.home.sessions.record(session, adapter, Turn(SAID), ref="message-zanzibar")
    house.home.sessions.record(session, adapter, Result("orders.get", SAID))
    house.home.sessions.end(session, adapter)
    told = list(entries(house))
    assert [(entry["kind"], entry.get("number"), entry.get("what")) for entry in told] == [
        ("session.opened", None, None),
        ("session.recorded", 1, "turn"),
        ("session.recorded", 2, "result"),
        ("session.ended", None, None),
    ]
    assert {entry["session"] for entry in told} == {session}
    assert {entry["key"] for entry in told} == {adapter.key_id}
    rows = str([house.sql(f"SELECT * FROM {name}") for name in ("sessions", "session_records", "entries")])
    for word in ("zanzibar", ANA, "orders.get"):
        assert word not in rows
        assert word not in json.dumps(told)
    house.home.publisher.publish()
    house.home.publisher.export(tmp_path / "log")
    report = verify_export(tmp_path / "log", vkey=house.home.publisher.vkey)
    assert report.ok, report.problems


def test_erasing_the_subject_erases_what_was_said(house: House, adapter: Caller) -> None:
    session = opened(house, adapter, principal=ANA)
    mine = opened(house, adapter)
    for one in (session, mine):
        house.home.sessions.record(one, adapter, Turn(SAID), ref="m1")
    erase(house, ANA)
    assert said(house, session) == [(1, RecordKind.TURN, None)]
    assert said(house, mine)[0][2]["text"] == SAID
    _, new = house.home.sessions.record(session, adapter, Turn("other"), ref="m1")
    assert not new, "what was erased does not come back under its name"


@pytest.mark.parametrize(
    "change",
    [
        "UPDATE sessions SET agent = 'sales'",
        "UPDATE sessions SET principal = NULL",
        "UPDATE sessions SET state = 'active'",
        "UPDATE sessions SET records = 1",
        "UPDATE session_records SET kind = 'turn'",
        "UPDATE session_records SET action_id = NULL",
        "UPDATE session_records SET payload = (SELECT min(payload) FROM session_records)",
        "DELETE FROM session_records WHERE number = 2",
        "UPDATE session_records SET number = 3 WHERE number = 2",
    ],
)
def test_a_changed_row_is_not_believed(house: House, adapter: Caller, change: str) -> None:
    session = opened(house, adapter, principal=ANA)
    action = house.held(principal=ANA)
    house.home.sessions.record(session, adapter, Turn(SAID))
    house.home.sessions.record(session, adapter, Result("t", "x", action_id=action))
    house.home.sessions.end(session, adapter)
    house.sql(change)
    with pytest.raises(Tampered):
        house.home.sessions.records(session)


def test_the_words_of_another_record_do_not_pass_for_this_ones(house: House, adapter: Caller) -> None:
    """Somebody with the database lets what is said next take the place of what was said last."""
    one, two = opened(house, adapter), opened(house, adapter)
    house.home.sessions.record(one, adapter, Turn("Pay nobody."))
    ((start, sealed),) = house.sql("SELECT start, sealed FROM head")
    house.sql("DELETE FROM payloads WHERE seq = ?", start + sealed - 1)
    house.sql("UPDATE head SET sealed = ?", sealed - 1)
    house.home.sessions.record(two, adapter, Turn("Pay mallory."))
    assert said(house, two)[0][2]["text"] == "Pay mallory."
    with pytest.raises(Tampered):
        house.home.sessions.records(one)


def test_a_session_is_the_same_in_another_process(open_house: Callable[..., House], clock: Any) -> None:
    house = open_house(clock=clock)
    adapter = host(house, "support")
    session = opened(house, adapter, ref="thread-7")
    house.home.sessions.record(session, adapter, Turn("one"))
    again = open_house(None, clock=clock)
    assert opened(again, adapter, ref="thread-7") == session
    again.home.sessions.record(session, adapter, Turn("two"))
    assert [content["text"] for _, _, content in said(house, session)] == ["one", "two"]
