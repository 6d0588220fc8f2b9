"""Propose: one request, one action; what is refused leaves nothing behind."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from house import BOTH, POLICY, REFUND, House, agent
from interlock.gate import Answer, Report
from interlock.gate.propose import _KNOWN_KEYS, AHEAD
from interlock.journal import Prepared, Tx
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import (
    BadTopic,
    ConstraintUnenforceable,
    ExcessDigits,
    IdempotencyConflict,
    InterlockError,
    InvalidInput,
    LoneSurrogate,
    MissingField,
    NotANumber,
    OutOfScope,
    TooLarge,
    UnknownField,
    UnknownTopic,
    WrongType,
)
from interlock.model.topics import TopicPattern

DATABASES = BOTH


def proposed(house: House) -> int:
    return sum('"kind":"action.proposed"' in entry for entry in house.entries())


@pytest.mark.parametrize(
    ("topic", "args", "error"),
    [
        ("pay.refunds", REFUND, UnknownTopic),
        ("pаy.refund", REFUND, BadTopic),
        ("pay.refund", {**REFUND, "amount_usd": "1.005"}, ExcessDigits),
        ("pay.refund", {**REFUND, "amount_usd": float("nan")}, NotANumber),
        ("pay.refund", {**REFUND, "amount_usd": True}, WrongType),
        ("pay.refund", {**REFUND, "amount_usd": "-5.00"}, InvalidInput),
        ("pay.refund", {**REFUND, "order_id": 12}, WrongType),
        ("pay.refund", {**REFUND, "order": "x"}, UnknownField),
        ("pay.refund", {"order_id": "x", "recipient": "y"}, MissingField),
        ("notes.add", {"x": {"y": [float("inf")]}}, NotANumber),
        ("notes.add", {"x": "\ud800"}, LoneSurrogate),
        ("notes.add", {"x": 2**53}, InvalidInput),
        ("notes.add", {"x": 1e17}, InvalidInput),
        ("notes.add", {"x": "y" * (1 << 20)}, TooLarge),
        ("notes.add", {1: "y"}, WrongType),
        ("notes.add", {"x": object()}, WrongType),
        ("notes.add", ["x"], WrongType),
    ],
)
def test_bad_input_is_refused_with_its_own_error_and_leaves_nothing(
    house: House, topic: str, args: Any, error: type[InterlockError]
) -> None:
    before = house.entries()
    with pytest.raises(error):
        house.propose(topic, args, idempotency_key="k")
    assert house.entries() == before
    assert house.sql("SELECT count(*) FROM actions") == [(0,)]
    assert house.sql("SELECT count(*) FROM idempotency") == [(0,)]


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("confidence", Decimal("1.01")),
        ("confidence", Decimal("-0.01")),
        ("confidence", Decimal("NaN")),
        ("confidence", Decimal("Infinity")),
        ("idempotency_key", ""),
        ("idempotency_key", "k" * 201),
        ("idempotency_key", "a\nb"),
        ("call_id", "a\u202eb"),
        ("session", "\x00"),
        ("principal", "x" * 201),
        ("parent_action", "\ud800"),
        ("reasoning", "x" * 20_001),
        ("reasoning", "\ud800"),
    ],
)
def test_bad_words_beside_the_arguments_are_refused_and_leave_nothing(
    house: House, field: str, value: Any
) -> None:
    before = house.entries()
    with pytest.raises(InvalidInput):
        house.propose(**{"idempotency_key": "k", field: value})
    assert house.entries() == before
    assert house.sql("SELECT count(*) FROM idempotency") == [(0,)]


def test_a_predecessor_is_the_id_of_an_action_and_never_free_text_in_the_ledger(house: House) -> None:
    before = house.entries()
    with pytest.raises(InterlockError):
        house.gate.propose(Proposal("pay.refund", REFUND), agent(), predecessor="what the customer said")
    assert house.entries() == before


def test_a_topic_outside_the_keys_scope_is_refused(house: House) -> None:
    narrow = replace(agent(), topics=(TopicPattern.parse("orders.*"),))
    with pytest.raises(OutOfScope):
        house.propose(caller=narrow)
    assert proposed(house) == 0


def test_an_amount_is_canonical_before_it_is_hashed(house: House) -> None:
    one = house.propose(args={**REFUND, "amount_usd": "500"}).action
    two = house.propose(args={**REFUND, "amount_usd": Decimal("500.00")}).action
    three = house.propose(args={**REFUND, "amount_usd": 500.0}).action
    assert one is not None
    assert two is not None
    assert three is not None
    assert one.id == two.id == three.id
    assert house.view(one.id)["args"]["amount_usd"] == "500.00"


# --- idempotency ------------------------------------------------------------------------------------------


def test_the_same_key_and_bytes_get_the_first_action_back_even_after_its_end(house: House) -> None:
    first = house.propose(idempotency_key="k").action
    assert first is not None
    again = house.propose(idempotency_key="k")
    assert (again.created, again.action and again.action.id) == (False, first.id)
    house.answer(first.id, house.person("Ann"), Answer.REJECT)
    after = house.propose(idempotency_key="k")
    assert after.action is not None
    assert (after.created, after.action.id, after.action.state) == (False, first.id, "rejected")
    assert proposed(house) == 1


def test_the_same_key_with_other_bytes_is_refused_and_the_refusal_is_in_the_ledger(house: House) -> None:
    first = house.propose(idempotency_key="k").action
    with pytest.raises(IdempotencyConflict):
        house.propose(args={**REFUND, "recipient": "mallory"}, idempotency_key="k")
    assert proposed(house) == 1
    last = json.loads(house.entries()[-1])
    assert first is not None
    assert (last["kind"], last["action"]) == ("idempotency.conflict", first.id)


@pytest.mark.parametrize("field", ["principal", "session", "parent_action"])
def test_a_key_binds_on_whose_behalf_and_in_which_run_as_well(house: House, field: str) -> None:
    house.propose(idempotency_key="k")
    with pytest.raises(IdempotencyConflict):
        house.propose(**{"idempotency_key": "k", field: "another"})


def test_a_key_is_scoped_to_its_agent(house: House) -> None:
    mine = house.propose(idempotency_key="k").action
    theirs = house.propose(idempotency_key="k", caller=agent("other")).action
    assert mine is not None
    assert theirs is not None
    assert mine.id != theirs.id


def test_an_idempotency_row_changed_from_outside_gives_no_agent_anothers_action(house: House) -> None:
    mine = house.held(idempotency_key="k")
    house.propose(idempotency_key="k", caller=agent("other"))
    house.sql("UPDATE idempotency SET action_id = ? WHERE agent = 'other'", mine)
    try:
        answer = house.propose(idempotency_key="k", caller=agent("other"))
    except InterlockError:
        return
    assert answer.action is not None
    assert answer.action.agent == "other"


def test_the_same_call_id_is_the_same_action_and_another_call_id_another(house: House) -> None:
    first = house.held(call_id="call-1")
    assert house.held(call_id="call-1") == first
    assert house.held(call_id="call-2") != first
    assert house.held(call_id="call-1", args={**REFUND, "order_id": "B"}) != first


def test_a_finished_call_id_is_not_run_again(house: House) -> None:
    done = house.propose("notes.add", {}, call_id="call-1", inline=True).claim
    assert done is not None
    again = house.propose("notes.add", {}, call_id="call-1", inline=True)
    assert (again.created, again.claim) == (False, None)


def test_without_key_or_call_id_a_request_attaches_to_an_open_equal_one_only(house: House) -> None:
    first = house.held()
    assert house.held() == first
    house.answer(first, house.person("Ann"), Answer.REJECT)
    assert house.held() != first


def test_a_request_without_a_key_attaches_to_an_open_one_that_had_a_key(house: House) -> None:
    """A model that repeats a call without its id must not open a second hold on the same refund."""
    first = house.held(call_id="call-1")
    assert house.held() == first
    keyed = house.held(args={**REFUND, "order_id": "B"}, idempotency_key="k")
    assert house.held(args={**REFUND, "order_id": "B"}) == keyed


def test_a_retry_after_a_final_state_uses_a_new_key_and_names_its_predecessor(house: House) -> None:
    first = house.held(idempotency_key="k1")
    house.gate.withdraw(first, agent())
    second = house.gate.propose(
        Proposal("pay.refund", REFUND, idempotency_key="k2"), agent(), predecessor=first
    ).action
    assert second is not None
    assert (second.id != first, second.predecessor, second.state) == (True, first, "held")


def test_thirty_two_threads_with_one_key_make_one_action(house: House) -> None:
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: house.propose(idempotency_key="k"), range(32)))
    assert len({a.action.id for a in answers if a.action}) == 1
    assert sum(a.created for a in answers) == 1
    assert proposed(house) == 1


def test_thirty_two_threads_that_repeat_one_call_claim_it_once(house: House) -> None:
    with ThreadPoolExecutor(32) as pool:
        answers = list(pool.map(lambda _: house.propose("notes.add", {}, inline=True), range(32)))
    assert sum(a.claim is not None for a in answers) == 1


def test_a_hundred_tasks_share_transactions_and_each_gets_its_own_action(house: House) -> None:
    async def all_at_once() -> list[Any]:
        return await asyncio.gather(
            *(
                house.gate.propose_async(Proposal("notes.add", {"n": n}), agent(), inline=True)
                for n in range(100)
            )
        )

    answers = asyncio.run(all_at_once())
    assert [a.claim.binding.args["n"] for a in answers] == list(range(100))
    assert len({a.action.id for a in answers}) == 100


def test_equal_requests_that_share_a_transaction_are_one_action(house: House) -> None:
    named = Proposal("notes.add", {"n": 1}, idempotency_key="k")
    other = Proposal("notes.add", {"n": 2}, idempotency_key="k")

    async def all_at_once() -> list[Any]:
        wanted = [
            Proposal("notes.add", {"n": 1}),
            named,
            Proposal("notes.add", {"n": 1}),
            named,
            other,
            named,
        ]
        members = (house.gate.propose_async(each, agent()) for each in wanted)
        others = (house.gate.propose_async(named, agent("other")) for _ in range(2))
        return await asyncio.gather(*members, *others, return_exceptions=True)

    sizes = list[int]()
    house.home.journal.on_commit(sizes.append)
    unnamed, first, again, repeated, refused, last, theirs, theirs_too = asyncio.run(all_at_once())
    assert len(sizes) == 1
    assert [unnamed.created, first.created, theirs.created] == [True, True, True]
    assert first.action.predecessor is None
    assert {each.action.id for each in (again, repeated, last)} == {first.action.id}
    assert isinstance(refused, IdempotencyConflict)
    assert theirs.action.id == theirs_too.action.id != first.action.id
    assert house.sql("SELECT count(*) FROM idempotency") == [(4,)]


def test_what_proposals_of_one_transaction_are_called_is_looked_up_at_once(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked, run = Counter[Prepared](), Tx._run

    def counted(tx: Tx, statement: Prepared, params: dict[str, Any]) -> None:
        asked[statement] += 1
        run(tx, statement, params)

    async def all_at_once() -> None:
        proposals = (Proposal("notes.add", {"n": n}) for n in range(2 * AHEAD))
        await asyncio.gather(*(house.gate.propose_async(each, agent()) for each in proposals))

    monkeypatch.setattr(Tx, "_run", counted)
    asyncio.run(all_at_once())
    assert sum(asked[statement] for statement in _KNOWN_KEYS.values()) == 2
    assert proposed(house) == 2 * AHEAD


def test_one_bad_member_of_a_batch_fails_alone(house: House) -> None:
    async def all_at_once() -> list[Any]:
        good = [house.gate.propose_async(Proposal("notes.add", {"n": n}), agent()) for n in range(20)]
        bad = house.gate.propose_async(
            Proposal("notes.add", {}, idempotency_key="k", reasoning="\ud800"), agent()
        )
        return await asyncio.gather(*good[:10], bad, *good[10:], return_exceptions=True)

    answers = asyncio.run(all_at_once())
    assert [isinstance(a, InvalidInput) for a in answers] == [n == 10 for n in range(21)]
    assert proposed(house) == 20


# --- what the verdict does --------------------------------------------------------------------------------


def test_tier_4_is_held_whatever_the_agent_reports(house: House) -> None:
    action = house.propose("account.delete", {"account_id": "7"}, confidence=Decimal(1)).action
    assert action is not None
    assert action.state == "held"


def test_an_agent_cannot_tag_its_own_proposal(open_house: Callable[..., House]) -> None:
    house = open_house(
        POLICY + "  - {id: safe, match: {topics: [x.y], risk_tags: [safe]}, decision: allow}\n"
    )
    tagged = Proposal("x.y", {}, tags=("safe",))
    mine = house.gate.propose(tagged, agent()).action
    trusted = house.gate.propose(tagged, agent("embedded"), registered=True).action
    assert mine is not None
    assert trusted is not None
    assert (mine.state, trusted.state) == ("held", "allowed")


def test_a_constraint_the_executor_cannot_enforce_refuses_the_proposal(
    open_house: Callable[..., House],
) -> None:
    house = open_house(
        POLICY
        + "  - {id: c, match: {topics: [x.y]}, decision: allow_with_constraints,"
        + " constraints: {network_allowlist: [api.example.com]}}\n"
    )
    before = house.entries()
    with pytest.raises(ConstraintUnenforceable):
        house.propose("x.y", {}, idempotency_key="k")
    assert house.entries() == before
    assert house.sql("SELECT count(*) FROM idempotency") == [(0,)]


def test_a_denied_action_is_recorded_and_never_claimed(open_house: Callable[..., House]) -> None:
    house = open_house(POLICY + "  - {id: no, match: {topics: [notes.add]}, decision: deny}\n")
    action = house.propose("notes.add", {}).action
    assert action is not None
    assert action.state == "denied"
    with pytest.raises(InterlockError):
        house.gate.claim(action.id, ExecutorKind.CALLER)
    assert house.state(action.id) == "denied"


def test_an_agent_sees_nobody_elses_action(house: House) -> None:
    action = house.held()
    with pytest.raises(InterlockError) as caught:
        house.view(action, agent("other"))
    assert "acme" not in str(caught.value)


def test_a_request_that_is_sent_again_gets_its_answer_also_after_it_has_ended(house: House) -> None:
    first = house.propose("orders.get", {"order_id": "A"}, attempt="1" * 32, inline=True)
    assert first.claim is not None
    house.gate.settle(first.claim, Report(ActionState.SUCCEEDED, "It returned."))
    again = house.propose("orders.get", {"order_id": "A"}, attempt="1" * 32, inline=True)
    assert first.action is not None
    assert again.action is not None
    assert (again.action.id, again.created, again.claim) == (first.action.id, False, None)
    other = house.propose("orders.get", {"order_id": "A"}, attempt="2" * 32, inline=True)
    assert other.created
    with pytest.raises(IdempotencyConflict):
        house.propose("orders.get", {"order_id": "B"}, attempt="1" * 32)


def test_sendings_of_one_request_share_what_is_open(house: House) -> None:
    ids = set()
    for number in ("1" * 32, "2" * 32, "1" * 32, None, "2" * 32):
        action = house.propose(attempt=number).action
        assert action is not None
        ids.add(action.id)
    assert len(ids) == 1
    assert proposed(house) == 1
