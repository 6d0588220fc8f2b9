"""Drift of the world: what an action rests on is read, shown, read again, and compared before it runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import world
from house import BOTH, House, ManualClock, agent
from interlock.dispatch.probing import Probes
from interlock.gate import Answer, Claim, HumanDecision, Report
from interlock.gate.permit_rows import OfflineRefused
from interlock.gate.reading import Drifted, NotProbed, ProbeUnavailable
from interlock.gate.rollback import NoUndo
from interlock.home.evidence import write_inputs, write_policies
from interlock.identity import Caller, KeyKind
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import Changed, Expired, NotClaimable, Tampered
from interlock.model.topics import TopicPattern
from interlock.replay import replay
from interlock.verify import verify_export
from world import World

DATABASES = BOTH
ORDER = {"order_id": "A-12", "amount_usd": "500.00"}
POLICY = """
interlock: 1
name: shop
actions:
  pay.refund:
    tier: 3
    args: {{order_id: string, amount_usd: {{type: decimal, scale: 2, currency: USD}}}}
    roles: {{amount: amount_usd}}
    execute: {{{execute}}}
    probe: {{http: {{url: "{url}/orders/{{args.order_id}}", absent: [404], compare: [status, refundable]}}}}
  pay.look:
    tier: 2
    args: {{order_id: string, seen: {{type: integer, optional: true}}}}
    roles: {{cursor: seen}}
    execute: {{{execute}}}
    undo: pay.look
    undo_within: 5m
    probe: {{http: {{url: "{url}/orders/{{args.order_id}}", compare: [status], cursor: refundable}}}}
rules:
  - id: refunds
    match: {{topics: [pay.refund]}}
    decision: require_approval
    owner: finance
    lane: {{window: 15m, on_timeout: deny}}
  - {{id: looks, match: {{topics: [pay.look]}}, decision: allow}}
"""
CALLER = "caller: {}"


@pytest.fixture
def shop() -> Iterator[World]:
    with world.serving() as service:
        yield service


def policy(shop: World, execute: str = CALLER) -> str:
    return POLICY.format(url=shop.url, execute=execute)


@pytest.fixture
def house(open_house: Callable[..., House], shop: World, clock: ManualClock) -> House:
    return open_house(policy(shop), clock=clock)


def read(house: House, action: str) -> dict[str, Any]:
    """What the reviewer sees of the world, after a segment's probe."""
    approval, _ = house.request(action)
    house.gate.probe(approval)
    return seen(house, action)


def seen(house: House, action: str) -> dict[str, Any]:
    ann = house.home.roster.all()[0]
    approval, _ = house.request(action)
    view = house.home.views.approval(approval, ann.caller, house.gate.in_force())
    return {"again": view["again"], **view["world"]}


def entries(house: House, kind: str) -> list[dict[str, Any]]:
    found = [json.loads(entry) for entry in house.entries()]
    return [entry for entry in found if entry["kind"] == kind]


@pytest.fixture
def approved(house: House) -> str:
    """An action that a person approved on what the service says at first."""
    ann = house.person("Ann")
    action = house.held(args=ORDER)
    read(house, action)
    house.answer(action, ann)
    return action


def claim(house: House, action: str) -> Claim:
    return house.gate.claim(action, ExecutorKind.CALLER)


def changed(house: House, action: str) -> list[tuple[str, str | None, str | None]]:
    rows = [row for row in seen(house, action)["fields"] if row["changed"]]
    return [(row["field"], row.get("before"), row.get("now")) for row in rows]


def check(house: House) -> None:
    """The whole ledger verifies, and every verdict in it replays."""
    house.home.publisher.publish()
    target = house.home.path.parent / "export"
    house.home.publisher.export(target)
    write_policies(house.home.journal, target)
    write_inputs(house.home.journal, target)
    report = verify_export(target)
    assert report.ok, report.problems
    replayed = replay(target)
    assert replayed.replayed == replayed.verdicts, replayed.problems


def test_a_request_is_not_approved_before_what_it_rests_on_was_read(house: House, shop: World) -> None:
    ann = house.person("Ann")
    action = house.held(args=ORDER)
    with pytest.raises(NotProbed):
        house.answer(action, ann)
    _, unread = house.request(action)
    assert read(house, action)["state"] == "read"
    approval, shown = house.request(action)
    assert shown != unread
    with pytest.raises(Exception, match="hash"):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, unread))
    house.answer(action, ann)
    assert len(shop.reads) == 1
    assert "idempotency-key" not in shop.reads[0]


def test_what_is_as_it_was_shown_runs(house: House, shop: World, approved: str) -> None:
    shop.change(note="nobody compares this")
    run = claim(house, approved)
    assert run.reading is not None
    assert dict(run.reading.values) == {"status": "paid", "refundable": 1400}
    (claimed,), (probed,) = entries(house, "action.claimed"), entries(house, "approval.probed")
    assert claimed["reading"] == probed["reading"]
    assert claimed["review_hash"] == probed["review_hash"]
    assert 0 <= claimed["at"] - claimed["read_at"] <= 5_000_000
    assert "paid" not in "".join(house.entries())
    check(house)


def test_a_reading_of_the_revision_before_an_edit_is_not_run_on(
    house: House, shop: World, approved: str
) -> None:
    """While a claim reads, it is held anew, edited to another order that reads the same, and approved."""
    shop.orders["B-7"] = dict(shop.orders["A-12"])
    ann, bob = house.home.roster.all()[0], house.person("Bob")

    def meanwhile() -> None:
        shop.before_answer = lambda: None
        house.activate(policy(shop).replace("tier: 3", "tier: 4"))
        house.answer(approved, ann, Answer.EDIT, args={**ORDER, "order_id": "B-7"})
        read(house, approved)
        house.answer(approved, bob)

    shop.before_answer = meanwhile
    assert claim(house, approved).binding.args["order_id"] == "B-7"
    assert len(shop.reads) == 4, "for each revision one that is shown, and one of its own that it runs on"


UNDOING = POLICY.replace(
    "  pay.look:",
    "    undo: {{topic: pay.mark, args: {{order_id: args.order_id, status: before.status}}}}\n"
    "  pay.mark: {{tier: 3, args: {{order_id: string, status: {{type: string, optional: true}}}}}}\n"
    "  pay.look:",
)


def test_what_was_empty_before_is_not_said_to_be_put_back(house: House, shop: World) -> None:
    house.activate(UNDOING.format(url=shop.url, execute=CALLER))
    ann = house.person("Ann")
    shop.change(status=None)
    action = house.held(args=ORDER)
    read(house, action)
    house.answer(action, ann)
    house.gate.settle(claim(house, action), Report(ActionState.SUCCEEDED, "Done."))
    with pytest.raises(NoUndo, match=r"there was no before\.status"):
        house.gate.rollback(action, ann.caller)
    assert house.view(action)["rollback"] is None


def test_what_changed_between_approval_and_claim_is_stale_and_shown(
    house: House, shop: World, approved: str
) -> None:
    first, _ = house.request(approved)
    shop.change(status="charged back", refundable=0)
    with pytest.raises(Drifted):
        claim(house, approved)
    assert house.state(approved) == "held"
    second, _ = house.request(approved)
    assert second != first
    assert seen(house, approved)["again"] == {
        "because": "world",
        "was": "approved",
        "words": "What this rests on changed after it was decided. Look at what is different.",
    }
    assert changed(house, approved) == [("refundable", "1400", "0"), ("status", "paid", "charged back")]
    with pytest.raises(NotClaimable):
        claim(house, approved)
    house.answer(approved, house.home.roster.all()[0])
    assert claim(house, approved).epoch == 1
    assert [entry["because"] for entry in entries(house, "action.stale")] == ["world"]
    check(house)


def test_the_hash_that_was_approved_before_the_change_is_worth_nothing(
    house: House, shop: World, approved: str
) -> None:
    approval, shown = house.request(approved)
    shop.change(status="charged back")
    with pytest.raises(Drifted):
        claim(house, approved)
    ann = house.home.roster.all()[0]
    with pytest.raises(Changed):
        house.gate.decide(approval, ann.caller, HumanDecision(Answer.APPROVE, shown))
    newest, _ = house.request(approved)
    with pytest.raises(Changed):
        house.gate.decide(newest, ann.caller, HumanDecision(Answer.APPROVE, shown))


def test_what_is_gone_is_a_difference_and_what_changed_back_is_none(
    house: House, shop: World, approved: str
) -> None:
    order = shop.orders.pop("A-12")
    with pytest.raises(Drifted):
        claim(house, approved)
    assert seen(house, approved)["state"] == "absent"
    house.answer(approved, house.home.roster.all()[0])
    shop.orders["A-12"] = order
    with pytest.raises(Drifted):
        claim(house, approved)
    assert changed(house, approved) == [("refundable", None, "1400"), ("status", None, "paid")]
    check(house)


def test_of_many_who_claim_what_has_changed_one_makes_it_stale(
    house: House, shop: World, approved: str
) -> None:
    shop.change(status="charged back")
    with ThreadPoolExecutor(8) as pool:
        tries = [pool.submit(claim, house, approved) for _ in range(16)]
    assert all(isinstance(one.exception(), NotClaimable) for one in tries)
    assert len(entries(house, "action.stale")) == 1
    assert house.state(approved) == "held"


# --- what cannot be read --------------------------------------------------------------------------------


def test_what_could_not_be_read_is_shown_once_and_approved_only_when_it_was(
    house: House, shop: World, clock: ManualClock
) -> None:
    ann = house.person("Ann")
    shop.status = 503
    action = house.held(args=ORDER)
    told = read(house, action)
    assert (told["state"], told["reason"][-15:]) == ("unavailable", '{"error": "not n'[-15:]) or told[
        "reason"
    ]
    with pytest.raises(ProbeUnavailable, match="503"):
        house.answer(action, ann)
    shown = house.request(action)
    for _ in range(3):
        house.gate.probe(shown[0])
    assert house.request(action) == shown
    assert house.gate.unread(10) == []
    clock.forward(60)
    assert house.gate.unread(10) == [shown[0]]
    shop.status = 200
    assert read(house, action)["state"] == "read"
    house.answer(action, ann)
    assert house.gate.unread(10) == []
    assert [entry.get("reading") is None for entry in entries(house, "approval.probed")] == [True, False]
    claim(house, action)
    check(house)


def test_what_cannot_be_read_is_rejected_all_the_same(house: House, shop: World) -> None:
    action = house.held(args=ORDER)
    house.answer(action, house.person("Ann"), Answer.REJECT)
    assert house.state(action) == "rejected"
    assert house.gate.probe(house.request(action)[0]) is False
    assert shop.reads == []


@pytest.mark.parametrize("status", [401, 404, 429, 500, 302, 204])
def test_what_cannot_be_read_before_the_claim_does_not_run_and_stays_approved(
    house: House, shop: World, approved: str, status: int
) -> None:
    shop.status = status
    if status == 404:
        shop.orders["A-12"] = {"status": "paid"}  # a field that is not there is not read
        shop.status = 200
    with pytest.raises(ProbeUnavailable):
        claim(house, approved)
    assert house.state(approved) == "approved"
    assert entries(house, "action.claimed") == []
    shop.status = 200
    shop.orders["A-12"] = {"status": "paid", "refundable": 1400}
    assert claim(house, approved).epoch == 1


def test_what_stays_unreadable_expires(house: House, shop: World, approved: str, clock: ManualClock) -> None:
    shop.status = 500
    clock.forward(3601)
    with pytest.raises(Expired):
        claim(house, approved)


def test_a_reading_that_took_too_long_is_not_run_on(
    house: House, shop: World, approved: str, clock: ManualClock
) -> None:
    before = len(shop.reads)
    shop.before_answer = lambda: clock.forward(6)
    with pytest.raises(ProbeUnavailable):
        claim(house, approved)
    assert house.state(approved) == "approved"
    assert len(shop.reads) - before <= 3
    shop.before_answer = lambda: clock.forward(4)
    assert claim(house, approved).epoch == 1


def test_a_process_that_cannot_read_runs_nothing(house: House, approved: str) -> None:
    house.gate.reads = None
    with pytest.raises(ProbeUnavailable):
        claim(house, approved)


# --- what needs no approval -----------------------------------------------------------------------------


def test_what_is_allowed_is_read_before_it_runs_also_inline(house: House, shop: World) -> None:
    proposed = house.propose("pay.look", {"order_id": "A-12"}, inline=True)
    assert proposed.action is not None
    assert proposed.claim is None
    assert shop.reads == []
    assert claim(house, proposed.action.id).reading is not None
    assert len(shop.reads) == 1
    shop.status = 500
    second = house.propose("pay.look", {"order_id": "A-12", "seen": 1400}).action
    assert second is not None
    with pytest.raises(ProbeUnavailable):
        claim(house, second.id)
    check(house)


def test_a_cursor_that_moved_is_held_for_a_person_and_one_that_stands_is_not(
    house: House, shop: World
) -> None:
    ann = house.person("Ann")
    stands = house.propose("pay.look", {"order_id": "A-12", "seen": 1400}).action
    moved = house.propose("pay.look", {"order_id": "A-12", "seen": 1399}).action
    assert stands is not None
    assert moved is not None
    assert claim(house, stands.id).epoch == 1
    with pytest.raises(Drifted):
        claim(house, moved.id)
    told = seen(house, moved.id)
    assert (told["cursor_moved"], told["again"]["was"]) == (True, "allowed")
    assert house.view(moved.id)["reason"] == "What this rests on has changed, so a person decides."
    house.answer(moved.id, ann)
    assert claim(house, moved.id).epoch == 1
    check(house)


def test_a_policy_that_only_observes_reads_nothing(house: House, shop: World) -> None:
    house.activate(policy(shop).replace("name: shop", "name: shop\nmode: observe"))
    action = house.propose(args=ORDER).action
    assert action is not None
    assert claim(house, action.id).reading is None
    assert shop.reads == []
    check(house)


def test_silence_lets_run_what_was_read_and_nothing_else(
    house: House, shop: World, clock: ManualClock
) -> None:
    house.person("Ann")
    silent = "decision: require_approval, lane: {window: 15m, on_timeout: allow}"
    house.activate(
        policy(shop).replace("topics: [pay.look]}, decision: allow", f"topics: [pay.look]}}, {silent}")
    )
    unread = house.held(topic="pay.look", args={"order_id": "A-12", "seen": 1})
    known = house.held(topic="pay.look", args={"order_id": "A-12", "seen": 1400})
    read(house, known)
    for _ in range(16):
        house.gate.sweep()
        clock.forward(60)
    assert (house.state(unread), house.state(known)) == ("expired", "allowed")
    shop.change(status="charged back")
    with pytest.raises(Drifted):
        claim(house, known)
    assert house.state(known) == "held"
    check(house)


# --- edits, and other policies --------------------------------------------------------------------------


def test_an_edit_is_read_for_what_it_says_now(house: House, shop: World) -> None:
    shop.orders["B-7"] = {"status": "open", "refundable": 5}
    ann, bob = house.person("Ann"), house.person("Bob")
    action = house.held(args=ORDER)
    read(house, action)
    house.answer(action, ann, Answer.EDIT, args={**ORDER, "order_id": "B-7"})
    with pytest.raises(NotProbed):
        house.answer(action, bob)
    assert read(house, action)["fields"][0]["now"] == "5"
    assert changed(house, action) == []
    house.answer(action, bob)
    assert claim(house, action).binding.args["order_id"] == "B-7"
    check(house)


def test_a_policy_that_asks_for_another_reading_makes_stale_what_was_read_otherwise(
    house: House, shop: World, approved: str
) -> None:
    house.activate(policy(shop).replace("[status, refundable]", "[status]"))
    assert house.state(approved) == "held"
    assert seen(house, approved)["again"]["because"] == "probe"
    with pytest.raises(NotProbed):
        house.answer(approved, house.home.roster.all()[0])
    read(house, approved)
    house.answer(approved, house.home.roster.all()[0])
    assert claim(house, approved).epoch == 1
    check(house)


def test_a_policy_that_became_stricter_says_so(house: House, shop: World, approved: str) -> None:
    house.activate(policy(shop).replace("tier: 3", "tier: 4"))
    assert seen(house, approved)["again"]["because"] == "policy"
    check(house)


# --- permits ---------------------------------------------------------------------------------------------


def test_a_permit_is_redeemed_on_a_fresh_reading_and_works_offline_for_nothing_with_a_probe(
    open_house: Callable[..., House], shop: World, clock: ManualClock
) -> None:
    house = open_house(policy(shop, "permitted: {executor: till}"), clock=clock)
    ann = house.person("Ann")
    action = house.held(args=ORDER)
    read(house, action)
    house.answer(action, ann)
    till = Caller(KeyKind.EXECUTOR, executor="till", topics=(TopicPattern.parse("*"),))
    looked = house.propose("pay.look", {"order_id": "A-12"}).action
    assert looked is not None
    with pytest.raises(OfflineRefused):
        house.home.permits.mint(looked.id, agent(), offline=True)
    token = house.home.permits.mint(action, agent()).token
    shop.status = 500
    with pytest.raises(ProbeUnavailable):
        house.home.permits.redeem(token, till)
    shop.status = 200
    shop.change(status="charged back")
    with pytest.raises(Drifted):
        house.home.permits.redeem(token, till)
    assert house.state(action) == "held"
    house.answer(action, ann)
    assert house.home.permits.redeem(token, till).claim.epoch == 1
    check(house)


# --- attacks ---------------------------------------------------------------------------------------------


def test_a_reading_that_somebody_wrote_into_the_database_is_worth_nothing(
    house: House, shop: World, approved: str
) -> None:
    approval, _ = house.request(approved)
    house.sql("UPDATE approvals SET reading = ? WHERE id = ?", "ab" * 32, approval)
    with pytest.raises(Tampered):
        claim(house, approved)


def test_a_probe_that_somebody_struck_out_of_the_database_is_missed(house: House, approved: str) -> None:
    house.sql("UPDATE actions SET probe = NULL WHERE id = ?", approved)
    with pytest.raises(Tampered):
        claim(house, approved)


def test_a_request_that_was_changed_from_outside_keeps_no_others_unread(
    house: House, shop: World, clock: ManualClock
) -> None:
    house.person("Ann")
    shop.orders = {str(n): {"status": "paid", "refundable": n} for n in range(20)}
    actions = [house.held(args={**ORDER, "order_id": str(n)}) for n in range(20)]
    spoilt, left = actions[:9], actions[9:]
    for action in spoilt:
        house.sql("UPDATE approvals SET owner = 'nobody' WHERE id = ?", house.request(action)[0])
    clock.forward(3)
    probes = Probes(house.gate)
    while probes.due():
        pass
    probes.close()
    assert {seen(house, action)["state"] for action in left} == {"read"}
    assert len(shop.reads) == len(left)


def test_an_agent_is_told_nothing_of_what_was_read(house: House, shop: World, approved: str) -> None:
    shop.change(status="a secret of the shop")
    with pytest.raises(Drifted) as caught:
        claim(house, approved)
    told = json.dumps(house.view(approved)) + str(caught.value)
    assert "secret" not in told
    assert "paid" not in told


def test_an_erased_request_is_read_no_more(house: House, shop: World) -> None:
    ann = house.person("Ann")
    action = house.held(args=ORDER, principal="carol")
    read(house, action)
    house.answer(action, ann, Answer.REJECT)
    house.home.eraser.erase("carol", by="test")
    approval = house.home.views.approval_about(action)
    view = house.home.views.approval(approval, ann.caller, house.gate.in_force())
    assert (view["erased"], view["world"]["fields"]) == (True, [])
    assert house.gate.probe(approval) is False
