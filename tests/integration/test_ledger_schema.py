"""Every entry that the gate writes has the fields that the published schema says, and no others.

One house does everything that a house can do; every kind of entry that this version writes is among what it
recorded. Each is held against the published schema by another implementation of JSON Schema, and against the
table that the schema is made of.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from cli_command import run as run_command
from erasing import erase

import world
from house import BOTH, REFUND, House, ManualClock, agent
from interlock.gate import Answer, Report, Scope
from interlock.gate.reading import Drifted
from interlock.identity import Caller, KeyKind, Person, Role
from interlock.journal import Tx
from interlock.ledger import Kind
from interlock.ledger.schemas import FIELDS
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import IdempotencyConflict, StaleClaim
from interlock.model.questions import TOPIC
from interlock.model.sessions import Result, Turn
from interlock.model.topics import TopicPattern
from interlock.verify import verify_export
from restored import Backup, dismissed

DATABASES = BOTH

PUBLISHED = json.loads(
    (Path(__file__).parents[2] / "schemas" / "ledger-entry-1.schema.json").read_text("utf-8")
)
FIXED = {"v", "kernel", "kind", "at", "namespace"}
NOT_YET = {Kind.PASSKEY_ADDED, Kind.PASSKEY_REVOKED}
"""Kinds that are defined and read, and that nothing writes in this version."""
POLICY = """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}, recipient: string}
    roles: {amount: amount_usd, recipient: recipient}
  notes.add: {tier: 2, undo: notes.drop, undo_within: 1m}
  notes.drop: {tier: 2, undo: notes.add, undo_within: 1m}
  files.move:
    tier: 2
    args: {name: string}
    execute: {permitted: {executor: mover, offline: true}}
    undo: notes.drop
    undo_within: 1m
  notes.pin: {tier: 1}
  mail.send: {tier: 3}
rules:
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - id: large
    match: {topics: [pay.refund]}
    when: args.amount_usd >= 100
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: escalate, escalate_to: [{owner: security-approvers, window: 1s}]}
  - id: seen
    match: {topics: [notes.pin]}
    decision: require_approval
    lane: {window: 1m, on_timeout: allow}
  - id: guarded
    match: {topics: [mail.send]}
    decision: require_approval
    lane: {window: 1m, on_timeout: kill_switch}
"""
WATCHED = """
  orders.close:
    tier: 3
    args: {{order_id: string}}
    probe: {{http: {{url: "{url}/orders/{{args.order_id}}", compare: [status]}}}}
"""
STRICTER = POLICY.replace("amount_usd < 100", "amount_usd < 2").replace(
    "amount_usd >= 100", "amount_usd >= 2"
)
OBSERVING = POLICY.replace("name: shop", "name: shop\nmode: observe")
DONE = Report(ActionState.SUCCEEDED, "done", {"id": 7})
MOVER = Caller(KeyKind.EXECUTOR, executor="mover", topics=(TopicPattern.parse("*"),))


def small(house: House, number: int, **rest: Any) -> str:
    args = {**REFUND, "order_id": f"S-{number}", "amount_usd": "5.00"}
    action = house.propose(args=args, **rest).action
    assert action is not None
    return action.id


def held(house: House, number: int, **rest: Any) -> str:
    return house.held(args={**REFUND, "order_id": f"H-{number}"}, **rest)


def run(house: House, action: str, report: Report = DONE) -> Any:
    claim = house.gate.claim(action, ExecutorKind.CALLER)
    house.gate.settle(claim, report)
    return claim


def permitted(house: House, number: int, *, offline: bool) -> Any:
    action = house.propose("files.move", {"name": f"f{number}"}).action
    assert action is not None
    return house.home.permits.mint(action.id, agent(), offline=offline)


def everything(house: House, clock: ManualClock) -> None:
    """Every kind of entry but those of recovery and pruning."""
    home, gate = house.home, house.gate
    ann, bob = house.person("Ann"), house.person("Bob", Role.OPERATOR, Role.REVIEWER)
    home.roster.redeem(home.roster.issue_link(ann))
    key, token = home.keyring.add(KeyKind.AGENT, "keyed", topics=["*"], person=bob, by="test")
    keyed = home.keyring.authenticate(token)
    _, person_token = home.keyring.add(KeyKind.PERSON, "laptop", person=ann, by="test")
    reviewer = home.keyring.authenticate(person_token)
    clock.forward(1)

    gate.propose(Proposal("pay.refund", {**REFUND, "amount_usd": "5.00"}, idempotency_key="k"), keyed)
    with pytest.raises(IdempotencyConflict):
        gate.propose(Proposal("pay.refund", {**REFUND, "amount_usd": "6.00"}, idempotency_key="k"), keyed)
    run(house, small(house, 1))
    inline = house.propose("notes.add", {}, inline=True)
    assert inline.claim is not None
    gate.settle(inline.claim, Report(ActionState.FAILED, "no", breach="max_runtime_sec"))

    noted = house.propose("notes.add", {"text": "hello"}).action
    assert noted is not None
    run(house, noted.id)
    taking_back = gate.rollback(noted.id, reviewer).action
    assert taking_back is not None
    run(house, taking_back.id)
    assert house.state(noted.id) == "rolled_back"

    approved = held(house, 1, principal="zoe@example.com")
    house.answer(approved, ann, note="fine")
    run(house, approved)
    house.answer(held(house, 2), ann, Answer.REJECT)
    asked = house.propose(TOPIC, {"question": "Which one?"}).action
    assert asked is not None
    house.answer(asked.id, bob, Answer.RESPOND, response="The first.")
    edited = held(house, 3)
    house.answer(edited, ann, Answer.EDIT, args={**REFUND, "amount_usd": "200.00"})
    house.answer(edited, bob)
    run(house, edited)
    lowered = held(house, 9)
    house.answer(lowered, ann, Answer.EDIT, args={**REFUND, "order_id": "H-9", "amount_usd": "200.00"})
    house.answer(lowered, ann)  # who edited may approve where the edit only made it tighter

    gate.withdraw(small(house, 2), agent())
    gate.revoke(small(house, 3), reviewer)
    expiring = held(house, 4)
    clock.forward(15 * 60 + 1)
    gate.sweep()
    clock.forward(15 * 60)
    gate.sweep()
    assert house.state(expiring) == "expired"
    pinned = house.propose("notes.pin", {}).action
    sent = house.propose("mail.send", {}, caller=agent("postman")).action
    assert pinned is not None
    assert sent is not None
    clock.forward(60)
    gate.sweep()
    assert house.state(pinned.id) == "allowed"
    assert house.view(sent.id, agent("postman"))["state"] == "expired"
    run(house, pinned.id)

    doubtful = small(house, 5)
    claim = run(house, doubtful, Report(ActionState.IN_DOUBT, "it raised"))
    gate.settle(claim, DONE)
    lapsed = small(house, 6)
    late = gate.claim(lapsed, ExecutorKind.CALLER)
    clock.forward(3600)
    gate.sweep()
    gate.reconcile(lapsed, reviewer, ActionState.FAILED, "I looked")
    with pytest.raises(StaleClaim):
        gate.settle(late, DONE)

    issued = permitted(house, 1, offline=False)
    home.permits.redeem(issued.token, MOVER)
    home.permits.report(issued.permit.action_id, issued.token, MOVER, DONE)
    permitted(house, 2, offline=True)
    clock.forward(300)
    gate.sweep()

    stale = small(house, 7)
    waiting = held(house, 8)
    house.activate(STRICTER)
    assert (house.state(stale), house.state(waiting)) == ("held", "held")
    house.activate(OBSERVING)
    held_before = house.propose(args={**REFUND, "order_id": "observed"}).action
    assert held_before is not None
    assert held_before.state == "allowed"
    house.activate(POLICY)

    watched(house, ann)
    kill = home.kill_switches.engage(Scope.AGENT, "support", "smoke", caller=bob.caller).switch.id
    for person in (ann, bob):
        home.kill_switches.rearm(kill, "it was the toaster", person.caller)
    spoken(house)
    home.tools.accept({"github.create_issue": "0" * 64}, by="test")
    home.tools.accept({"github.create_issue": "1" * 64}, by="test")
    home.kill_switches.drill(Scope.ALL, None, "every month", caller=bob.caller)

    home.keyring.revoke(key.id, by="test")
    erase(house, "zoe@example.com")
    home.publisher.rotate("test")


def spoken(house: House) -> None:
    """A session, from its beginning to its end."""
    _, token = house.home.keyring.add(KeyKind.ADAPTER, "support", topics=["*"], by="test")
    adapter, sessions = house.home.keyring.authenticate(token), house.home.sessions
    session = str(sessions.open(adapter, principal="ana@example.com", ref="thread-7")[0]["id"])
    sessions.record(session, adapter, Turn("Please pay 5 back."))
    action = small(house, 20, session=session, principal="ana@example.com")
    sessions.record(session, adapter, Result("refund", {"paid": "5.00"}, "pay.refund", action))
    sessions.end(session, adapter)


def watched(house: House, ann: Person) -> None:
    """An action that rests on something which changes between its approval and its claim."""
    with world.serving() as shop:
        house.activate(POLICY.replace("rules:", WATCHED.format(url=shop.url) + "rules:", 1))
        action = house.held(topic="orders.close", args={"order_id": "A-12"})
        house.gate.probe(house.request(action)[0])
        house.answer(action, ann)
        shop.change(status="charged back")
        with pytest.raises(Drifted):
            run(house, action)
        house.answer(action, ann)
        run(house, action)
    house.activate(POLICY)


def recovered(house: House, open_house: Callable[..., House], clock: ManualClock, saved: Backup) -> House:
    """The database is put back to `saved`, and two people open an epoch."""
    house.home.publisher.publish()
    house.home.leases.close()
    house.home.journal.close()
    saved.put_back()
    again = open_house(None, clock=clock, recovering=True)
    for name in ("Ann", "Bob"):
        person = again.home.roster.named(name)
        seen = again.home.recovery.situation().digest
        again.home.recovery.agree(person.caller, seen, "the disk was replaced")
    return again


def check(house: House) -> set[Kind]:
    kinds: dict[str, jsonschema.Draft202012Validator] = {}
    seen = set()
    for body in house.entries():
        value = json.loads(body)
        kind = Kind(value["kind"])
        if kind not in seen:
            jsonschema.Draft202012Validator(PUBLISHED).validate(value)
            kinds[kind] = jsonschema.Draft202012Validator(
                {**PUBLISHED["$defs"][kind], "$defs": PUBLISHED["$defs"]}
            )
        seen.add(kind)
        kinds[kind].validate(value)
        unknown = value.keys() - FIELDS[kind].keys() - FIXED
        assert all(value[name] is None for name in unknown), (kind, unknown)
    return seen


def test_every_entry_of_a_house_that_does_everything_is_as_published(
    open_house: Callable[..., House], clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(POLICY, clock=clock)
    everything(house, clock)
    house.home.publisher.publish()
    saved = Backup(house, tmp_path)
    held(house, 90)
    house = recovered(house, open_house, clock, saved)
    house.home.recovery.contradicted("The witness w says that it has cosigned 9000 entries.", 9000)
    dismissed(house, *house.home.recovery.situation().outlook.may[:2])
    house.home.roster.remove("Bob", by="test")

    def fill(tx: Tx) -> None:
        for _ in range(300):
            tx.append(Kind.KEY_ADDED, key=f"key_{0:032x}", key_kind="agent", topics=["*"], by="test")

    seen = check(house)
    house.home.publisher.export(tmp_path / "export")
    report = verify_export(tmp_path / "export", vkey=house.home.publisher.vkey)
    assert report.ok, report.problems
    assert (len(report.tightened), report.solo) == (1, ())
    house.home.journal.commit(fill)
    clock.forward(5)
    house.home.publisher.publish(patient=True)
    assert house.home.publisher.prune(256, "test") == 256
    pruned = json.loads(list(house.home.journal.entries(256))[-1])
    jsonschema.Draft202012Validator(PUBLISHED).validate(pruned)
    assert seen | {Kind(pruned["kind"])} == set(Kind) - NOT_YET


def test_the_command_prints_the_published_schema(tmp_path: Path) -> None:
    assert run_command(tmp_path, "ledger", "schema").json == PUBLISHED
    assert run_command(tmp_path, "ledger", "schema", "--json").json["$id"] == "urn:interlock:ledger-entry:1"
