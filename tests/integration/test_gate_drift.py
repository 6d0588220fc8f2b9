"""Policy drift: a tighter policy voids what was decided, a looser releases nothing; activation is an act."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from house import BOTH, POLICY, REFUND, House, ManualClock
from interlock.gate import Answer, HumanDecision
from interlock.home import Home, read_policy
from interlock.model.actions import ExecutorKind
from interlock.model.errors import Changed, InterlockError, NotClaimable, PolicyError, PolicyNotActive
from interlock.policy import parse

DATABASES = BOTH

TIGHT = POLICY.replace("tier: 3", "tier: 4")
LOOSE = POLICY.replace("< 100", "< 10000")
DENY = POLICY + "  - {id: no, match: {topics: [pay.refund, notes.add]}, decision: deny}\n"


def kinds(house: House) -> list[str]:
    return [json.loads(entry)["kind"] for entry in house.entries()]


def test_a_tighter_policy_voids_an_approval_and_holds_the_action_anew(house: House) -> None:
    action, ann = house.held(), house.person("Ann")
    house.answer(action, ann)
    old, _ = house.request(action)
    house.activate(TIGHT)
    view = house.view(action)
    assert (view["state"], view["tier"]) == ("held", 4)
    assert view["approval"]["id"] != old
    with pytest.raises(NotClaimable):
        house.gate.claim(action, ExecutorKind.CALLER)
    house.answer(action, ann)
    assert house.gate.claim(action, ExecutorKind.CALLER).verdict.tier == 4
    assert kinds(house).count("action.stale") == 1


def test_the_old_hash_is_worth_nothing_after_the_policy_tightened(house: House) -> None:
    action = house.held()
    approval, shown = house.request(action)
    house.activate(TIGHT)
    with pytest.raises(Changed) as caught:
        house.gate.decide(approval, house.person("Ann").caller, HumanDecision(Answer.APPROVE, shown))
    assert caught.value.extra["current"]["approval"] == house.request(action)[0]


def test_a_policy_that_now_denies_ends_what_was_allowed_held_and_approved(house: House) -> None:
    ann = house.person("Ann")
    allowed = house.propose("notes.add", {}).action
    held, approved = house.held(), house.held(args={**REFUND, "order_id": "B"})
    house.answer(approved, ann)
    house.activate(DENY)
    assert allowed is not None
    for action in (allowed.id, held, approved):
        assert house.state(action) == "denied"
        with pytest.raises(NotClaimable):
            house.gate.claim(action, ExecutorKind.CALLER)


def test_a_looser_policy_releases_nothing(house: House) -> None:
    action = house.held()
    before = house.request(action)
    house.activate(LOOSE)
    assert (house.state(action), house.request(action)) == ("held", before)
    with pytest.raises(NotClaimable):
        house.gate.claim(action, ExecutorKind.CALLER)


def test_a_looser_policy_leaves_an_approval_as_it_was_given(house: House) -> None:
    action = house.held()
    house.answer(action, house.person("Ann"))
    house.activate(LOOSE)
    claim = house.gate.claim(action, ExecutorKind.CALLER)
    assert claim.verdict.rule == "large"
    assert house.gate.entry(claim) is not None


def test_what_is_running_is_not_disturbed(house: House) -> None:
    action = house.propose("notes.add", {}).action
    assert action is not None
    house.gate.claim(action.id, ExecutorKind.CALLER)
    house.activate(DENY)
    assert house.state(action.id) == "executing"


def test_a_claim_that_has_not_heard_of_the_new_policy_is_re_decided_first(
    house: House, open_house: Callable[..., House], clock: ManualClock
) -> None:
    """The other process activates by its transaction alone, as one that is killed right after it would."""
    action = house.propose("notes.add", {}).action
    assert action is not None
    killed = open_house(None, clock=clock)
    killed.gate.redecide_open = lambda: 0  # type: ignore[method-assign]
    killed.activate(DENY)
    assert house.sql("SELECT state FROM actions") == [("allowed",)]
    with pytest.raises(NotClaimable):
        house.gate.claim(action.id, ExecutorKind.CALLER)
    assert house.state(action.id) == "denied"


def test_proposals_follow_a_policy_that_another_process_activated(
    house: House, open_house: Callable[..., House], clock: ManualClock
) -> None:
    open_house(None, clock=clock).activate(DENY)
    action = house.propose("notes.add", {}).action
    assert action is not None
    assert action.state == "denied"


def test_a_voided_request_is_never_taken_for_the_new_one_though_time_stands_still(house: House) -> None:
    for n in range(6):
        action = house.held(args={**REFUND, "order_id": str(n)})
        house.answer(action, house.person(f"P{n}"))
    stale = {item[0] for item in house.sql("SELECT id FROM approvals")}
    house.activate(TIGHT)
    ids = [row[0] for row in house.sql("SELECT id FROM actions")]
    assert stale.isdisjoint(house.request(action)[0] for action in ids)


def test_an_edit_in_force_stays_edited_when_the_policy_tightens(house: House) -> None:
    ann, bob = house.person("Ann"), house.person("Bob")
    action = house.held()
    house.answer(action, ann, Answer.EDIT, args={**REFUND, "recipient": "Ann"})
    house.activate(TIGHT)
    with pytest.raises(InterlockError):
        house.answer(action, ann)
    assert house.view(action)["args"]["recipient"] == "Ann"
    house.answer(action, bob)
    assert house.state(action) == "approved"


def test_re_deciding_ends_even_if_another_process_activates_meanwhile(
    house: House, open_house: Callable[..., House], clock: ManualClock
) -> None:
    house.held()
    other = open_house(None)
    looks = 0

    class Meddling(ManualClock):
        """The other process activates in the middle of this one's re-deciding."""

        def now(self) -> int:
            nonlocal looks
            looks += 1
            if looks == 3:
                other.activate(POLICY.replace("< 100", "< 70"))
            return super().now()

    house.home.journal.clock = Meddling()
    done = threading.Event()

    def activate() -> None:
        house.activate(POLICY.replace("< 100", "< 80"))
        done.set()

    threading.Thread(target=activate, daemon=True).start()
    assert done.wait(10), "it goes round for ever"
    assert looks > 3


# --- activation is an act ---------------------------------------------------------------------------------


def test_opening_with_another_policy_needs_activate(open_house: Callable[..., House]) -> None:
    house = open_house()
    before = house.entries()
    with pytest.raises(PolicyNotActive):
        open_house(LOOSE)
    assert (house.entries(), house.gate.active()) == (before, parse({"p": POLICY}).snapshot)
    opened = open_house(LOOSE, activate=True)
    assert opened.gate.active() == parse({"p": LOOSE}).snapshot
    assert kinds(opened).count("policy.activated") == 2


def test_opening_with_the_policy_in_force_is_no_act(open_house: Callable[..., House]) -> None:
    before = open_house().entries()
    assert open_house(activate=True).entries() == before


def test_the_text_of_a_policy_does_not_matter_its_meaning_does(open_house: Callable[..., House]) -> None:
    before = open_house().entries()
    assert open_house("# a comment\n" + POLICY).entries() == before


def test_of_two_first_policies_only_one_comes_into_force(open_house: Callable[..., House]) -> None:
    """Two processes make one home and look before either has written; the later must not win in silence."""
    other, first = open_house(None), open_house(None)
    assert first.gate.active() is None
    other.gate.activate(parse({"p": POLICY}), by="other", reason="first policy", replacing=False)
    with pytest.raises(PolicyNotActive):
        first.gate.activate(parse({"p": LOOSE}), by="first", reason="first policy", replacing=False)
    assert first.gate.active() == parse({"p": POLICY}).snapshot
    assert kinds(first).count("policy.activated") == 1


@pytest.mark.parametrize(
    "text",
    [
        "",
        "interlock: 1\nrulez: []\n",
        "interlock: 2\n",
        "interlock: 1\nname: [",
        "interlock: 1\ndefault_decision: allow\n",
    ],
)
def test_a_policy_that_does_not_load_never_replaces_one_that_does(
    open_house: Callable[..., House], tmp_path: Path, text: str
) -> None:
    house = open_house()
    before, active = house.entries(), house.gate.active()
    file = tmp_path / "policy.yaml"
    file.write_text(text)
    with pytest.raises(PolicyError):
        Home.open(tmp_path / "home", policy=read_policy(file), activate=True)
    assert (house.entries(), house.gate.active()) == (before, active)
    action = house.propose("notes.add", {}).action
    assert action is not None
    assert action.state == "allowed"
