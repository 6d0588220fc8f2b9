"""Answers that share a transaction: read and written together, and each judged as if it were alone."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import Any

from house import BOTH, REFUND, House, agent
from interlock.gate import Answer, HumanDecision, ending
from interlock.gate.decide import Deciding
from interlock.gate.records import AHEAD, add_decision, decisions_on, load_approval, load_request, save
from interlock.gate.stopping import engage
from interlock.gate.stops import KillSwitchOn, Scope
from interlock.identity import Person, Role
from interlock.journal import Transition, Tx
from interlock.ledger import Frontier, Kind, leaf_hash
from interlock.model.errors import AlreadyDecided, Changed, Conflict, Forbidden, Tampered

DATABASES = BOTH


def together(house: House, *transitions: Transition[Any]) -> list[Any]:
    """What each is answered; they are committed in one transaction, in this order."""

    async def all_of_them() -> list[Any]:
        commit = house.home.journal.commit_async
        return await asyncio.gather(*map(commit, transitions), return_exceptions=True)

    return asyncio.run(all_of_them())


def deciding(
    house: House, action: str, person: Person, answer: Answer = Answer.APPROVE, **rest: Any
) -> Deciding:
    approval, shown = house.request(action)
    decision = HumanDecision(answer, shown, **rest)
    return Deciding(approval, person.caller, decision, house.gate.policy, house.gate._enforces)


def several(house: House, count: int) -> list[str]:
    return [house.held(args={**REFUND, "order_id": f"A-{n}"}) for n in range(count)]


def whole(house: House) -> bool:
    journal = house.home.journal
    return journal.head()[1] == Frontier.EMPTY.appended(leaf_hash(body) for body in journal.entries())


def test_each_of_many_answers_is_recorded(house: House) -> None:
    ann, actions = house.person("Ann"), several(house, AHEAD + 8)
    together(house, *(deciding(house, action, ann) for action in actions))
    assert {house.state(action) for action in actions} == {"approved"}
    assert house.sql("SELECT count(DISTINCT approval_id) FROM decisions") == [(len(actions),)]
    assert whole(house)


def test_of_two_answers_to_one_request_the_first_counts(house: House) -> None:
    ann, bob, (one, two) = house.person("Ann"), house.person("Bob"), several(house, 2)
    members = [deciding(house, one, ann), deciding(house, two, ann), deciding(house, one, bob)]
    assert isinstance(together(house, *members)[2], AlreadyDecided)
    assert [person for (person,) in house.sql("SELECT person FROM decisions")] == [ann.id] * 2


def test_what_was_withdrawn_a_moment_before_is_not_approved(house: House) -> None:
    ann, (one, two, three) = house.person("Ann"), several(house, 3)
    answers = [deciding(house, action, ann) for action in (one, two, three)]
    withdraw = partial(ending.withdraw, action_id=two, caller=agent())
    assert isinstance(together(house, answers[0], withdraw, *answers[1:])[2], AlreadyDecided)
    assert [house.state(action) for action in (one, two, three)] == ["approved", "withdrawn", "approved"]


def test_what_was_read_for_an_answer_that_was_refused_is_not_used_for_a_later_one(house: House) -> None:
    ann, nobody, (one, two) = house.person("Ann"), house.person("Nob", Role.AUDITOR), several(house, 2)
    members = [deciding(house, one, ann), deciding(house, two, nobody)]
    withdraw = partial(ending.withdraw, action_id=two, caller=agent())
    answers = together(house, *members, withdraw, deciding(house, two, ann))
    assert [type(answers[1]), type(answers[3])] == [Forbidden, AlreadyDecided]
    assert house.state(two) == "withdrawn"


def test_a_kill_switch_between_two_answers_stops_the_second(house: House) -> None:
    ann, (one, two) = house.person("Ann"), several(house, 2)
    answers = [deciding(house, action, ann) for action in (one, two)]
    stop = partial(engage, scope=Scope.ALL, target=None, reason="test", by="test")
    assert isinstance(together(house, answers[0], stop, answers[1])[2], KillSwitchOn)
    assert [house.state(action) for action in (one, two)] == ["approved", "held"]


def test_an_answer_to_what_was_edited_a_moment_before_is_refused(house: House) -> None:
    ann, bob, (one, two) = house.person("Ann"), house.person("Bob"), several(house, 2)
    edit = deciding(house, two, ann, Answer.EDIT, args={**REFUND, "recipient": "other"})
    answers = together(house, deciding(house, one, ann), edit, deciding(house, two, bob))
    assert isinstance(answers[2], Changed)
    assert [house.state(action) for action in (one, two)] == ["approved", "held"]


def test_a_request_that_was_changed_from_outside_costs_the_others_nothing(house: House) -> None:
    ann, actions = house.person("Ann"), several(house, 3)
    members = [deciding(house, action, ann) for action in actions]
    house.sql("UPDATE approvals SET owner = 'mallory' WHERE action_id = ?", actions[1])
    assert isinstance(together(house, *members)[1], Tampered)
    assert [house.state(actions[n]) for n in (0, 2)] == ["approved"] * 2


# --- rows that are kept back -------------------------------------------------------------------------------


def test_whoever_reads_in_a_transaction_sees_what_was_written_in_it(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"))
    approval, _ = house.request(action)

    def look(tx: Tx) -> tuple[int, str]:
        (found,) = decisions_on(tx, approval)
        add_decision(tx, found._replace(id="dec_again"))
        _, row = load_request(tx, approval)
        save(tx, row, row._replace(expires_at=1))
        return len(decisions_on(tx, approval)), str(load_request(tx, approval)[1].expires_at)

    assert house.home.journal.commit(look) == (2, "1")


def test_one_row_may_be_saved_again_and_again_in_a_transaction(house: House) -> None:
    action = house.held()
    approval, _ = house.request(action)

    def renew(tx: Tx) -> None:
        _, row = load_request(tx, approval)
        for until in range(1, 6):
            row = save(tx, row, row._replace(lease_until=until))

    house.home.journal.commit(renew)
    assert house.sql("SELECT lease_until FROM actions") == [(5,)]


def test_a_row_that_is_not_any_more_as_it_was_read_is_not_written_and_fails_its_writer_alone(
    house: House,
) -> None:
    action = house.held()
    approval, _ = house.request(action)

    def stale(tx: Tx) -> None:
        _, row = load_request(tx, approval)
        save(tx, row, row._replace(lease_until=1))
        load_approval(tx, approval)
        save(tx, row, row._replace(lease_until=2))
        tx.append(Kind.KEY_REVOKED, key="never", by="test")

    def note(tx: Tx) -> None:
        tx.append(Kind.KEY_REVOKED, key="noted", by="test")

    answers = together(house, note, stale, note)
    assert [type(answer) for answer in answers] == [type(None), Conflict, type(None)]
    assert house.sql("SELECT lease_until FROM actions") == [(None,)]
    assert sum('"key":"noted"' in entry for entry in house.entries()) == 2
    assert not any("never" in entry for entry in house.entries())
    assert whole(house)
