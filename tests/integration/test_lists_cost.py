"""What a list, a decision page and a look at a changed policy read: a page, whatever waits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from test_gate_drift import TIGHT
from test_lanes_cost import YEAR_US, Open, copied, explained, nodes

from house import BOTH, POLICY, REFUND, House, ManualClock, agent
from interlock.gate import gatekeeper, lists, redecide
from interlock.journal import Prepared
from interlock.model.actions import ActionState
from interlock.policy import parse

DATABASES = BOTH
WAITING = 20_000
SNAPSHOT = parse({"policy.yaml": POLICY}).snapshot
PLACE = {"number_": 1, "id_": "", "limit_": lists.PAGE + 1, "start": 0}
INDEXES = {
    "approvals_by_state",
    "approvals_resolved",
    "approvals_pkey",
    "actions_by_state",
    "actions_waiting",
    "actions_pkey",
    "payloads_pkey",
    "subjects_pkey",
}


def crowd(house: House, count: int = WAITING, name: str = "x", *, state: str = "held") -> None:
    """Copies of a request and of its action, due in a year, beside what is there."""
    action = house.held(args={**REFUND, "order_id": name})
    approval, _ = house.request(action)
    due = str(house.sql("SELECT max(due_at) FROM approvals")[0][0] + YEAR_US)
    numbers = {"id": f"'{name}' || n", "state": f"'{state}'"}
    copied(house, "approvals", approval, **numbers, action_id=f"'{name}' || n", due_at=due)
    copied(house, "actions", action, **numbers)
    beyond = f"CAST(substr(id, {len(name) + 1}) AS INTEGER) > {count}"
    house.sql(f"DELETE FROM approvals WHERE id LIKE ? AND {beyond}", f"{name}%")


CASES: list[tuple[str, Prepared, dict[str, Any]]] = [
    ("the first page that waits", lists._PAGES[True, True], PLACE),
    ("a page that waits", lists._PAGES[True, False], PLACE),
    ("the first page that has ended", lists._PAGES[False, True], PLACE),
    ("a page that has ended", lists._PAGES[False, False], {**PLACE, "number_": 10**17}),
    ("actions in a state", lists._ACTIONS, {**PLACE, "state_": "in_doubt"}),
    ("counts", lists._COUNTS, {}),
    ("neighbours", lists._NEIGHBOURS, PLACE),
    ("decided under an earlier policy", redecide._DRIFTED[0], {"snapshot_": SNAPSHOT, "limit_": 200}),
    ("decided under a later policy", redecide._DRIFTED[1], {"snapshot_": SNAPSHOT, "limit_": 200}),
]


@pytest.mark.parametrize(("statement", "given"), [case[1:] for case in CASES], ids=[c[0] for c in CASES])
def test_nothing_that_is_listed_reads_all_that_waits(
    open_house: Open, clock: ManualClock, statement: Prepared, given: dict[str, Any]
) -> None:
    house = open_house(clock=clock)
    crowd(house)
    house.sql("ANALYZE")
    if house.url is None:
        plan = [row[3] for row in explained(house, statement, "EXPLAIN QUERY PLAN", **given)]
        walked = [
            step for step in plan if step.startswith("SCAN") and "page" not in step and "anon" not in step
        ]
        assert not [step for step in walked if "approvals" in step or "actions" in step], plan
        assert [step for step in plan if step.startswith("SEARCH")], plan
        return
    ((found,),) = explained(house, statement, "EXPLAIN (ANALYZE, FORMAT JSON)", **given)
    scans = [node for node in nodes(found[0]["Plan"]) if "Scan" in node["Node Type"]]
    tables = [node for node in scans if node.get("Relation Name") in ("approvals", "actions")]
    assert {node["Node Type"] for node in tables} <= {"Index Scan", "Index Only Scan"}
    assert {node["Index Name"] for node in tables} <= INDEXES
    assert max(node["Actual Rows"] for node in tables) <= lists.COUNTED + 1
    assert not any(node.get("Rows Removed by Filter") for node in tables)


def test_a_position_is_told_up_to_a_limit_and_so_are_counts(house: House, clock: ManualClock) -> None:
    ann = house.person("Ann")
    for number in range(3):
        house.held(args={**REFUND, "order_id": f"A-{number}"})
    ids = [item["id"] for item in house.home.views.approvals("held")["items"]]
    seen = [house.home.views.approval(one, ann.caller, house.gate.policy)["position"] for one in ids]
    assert seen == [
        {"index": 1, "of": 3, "more": False, "previous": None, "next": ids[1]},
        {"index": 2, "of": 3, "more": False, "previous": ids[0], "next": ids[2]},
        {"index": 3, "of": 3, "more": False, "previous": ids[1], "next": None},
    ]
    clock.forward(1)
    crowd(house, 2 * lists.COUNTED)
    page = house.home.views.approvals("held")
    assert (page["counts"]["held"], page["more"]) == (lists.COUNTED, ["held"])
    assert page["next_deadline"] == page["items"][0]["due_at"]
    position = house.home.views.approval(ids[2], ann.caller, house.gate.policy)["position"]
    assert (position["index"], position["of"], position["more"]) == (3, lists.COUNTED, True)
    clock.forward(1)
    far = house.request(house.held(args={**REFUND, "order_id": "far"}))[0]
    house.sql("UPDATE approvals SET due_at = due_at - ? WHERE id LIKE ?", 2 * YEAR_US, "x%")
    position = house.home.views.approval(far, ann.caller, house.gate.policy)["position"]
    assert (position["index"], position["of"], position["next"]) == (None, lists.COUNTED, None)
    house.sql("DELETE FROM approvals WHERE id LIKE ?", "x%")
    house.gate.withdraw(house.held(args={**REFUND, "order_id": "gone"}), agent())
    ended = house.home.views.approvals("resolved")["items"][0]["id"]
    position = house.home.views.approval(ended, ann.caller, house.gate.policy)["position"]
    assert (position["index"], position["previous"]) == (None, None)
    assert position["next"] == house.home.views.approvals("held")["items"][0]["id"]


def test_pages_of_every_list_hold_everything_once(house: House) -> None:
    made = {house.held(args={**REFUND, "order_id": f"A-{n}"}) for n in range(2 * lists.PAGE + 7)}
    ended = set(sorted(made)[: lists.PAGE + 3])
    views = house.home.views

    def walked(look: Callable[[str | None], dict[str, Any]], name: str) -> list[str]:
        found, cursor = [], None
        while True:
            page = look(cursor)
            found += [item[name] for item in page["items"]]
            cursor = page["next"]
            if cursor is None:
                return found

    for action in ended:
        house.gate.withdraw(action, agent())
    held = walked(lambda cursor: views.approvals("held", cursor), "action_id")
    resolved = walked(lambda cursor: views.approvals("resolved", cursor), "action_id")
    withdrawn = walked(lambda cursor: views.actions(ActionState.WITHDRAWN, cursor), "id")
    assert (len(held), set(held)) == (len(made - ended), made - ended)
    assert (len(resolved), set(resolved)) == (len(ended), ended)
    assert (len(withdrawn), set(withdrawn)) == (len(ended), ended)
    assert views.approvals("held")["counts"] == {"held": len(held), "withdrawn": len(ended)}


def test_what_cannot_be_redecided_keeps_nothing_else_from_it(
    house: House, monkeypatch: pytest.MonkeyPatch
) -> None:
    """More of it than one look finds, and in front."""
    monkeypatch.setattr(gatekeeper, "SWEEP", 3)
    broken = [house.held(args={**REFUND, "order_id": f"B-{n}"}) for n in range(8)]
    for action in broken:
        house.sql("UPDATE actions SET topic = 'pay.other' WHERE id = ?", action)
    held = [house.held(args={**REFUND, "order_id": f"A-{n}"}) for n in range(7)]
    house.activate(TIGHT)
    assert {house.view(action)["tier"] for action in held} == {4}
    states = house.sql("SELECT DISTINCT state FROM actions WHERE topic = 'pay.other'")
    assert states == [("held",)]
    assert house.gate.redecide_open() == len(broken)
