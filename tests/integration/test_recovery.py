"""A database that was put back: everything stops, people agree to what is lost, and nothing runs twice."""

from __future__ import annotations

import random
import shutil
from collections import Counter
from pathlib import Path

import pytest

from house import POLICY, REFUND, House, ManualClock
from interlock.gate import Answer, Report
from interlock.home.recovery_view import described
from interlock.identity import KeyKind, Person, Role
from interlock.journal.epochs import epochs
from interlock.model.actions import ActionState, ExecutorKind
from interlock.model.errors import (
    Changed,
    Conflict,
    Forbidden,
    HomeUnusable,
    InterlockError,
    InvalidInput,
    NotClaimable,
    RecoveryRequired,
    Tampered,
    Unauthenticated,
)
from interlock.verify import verify_export
from restored import Backup, Open, again, agreed, flag, lost, of_kind, shut

DATABASES = ("sqlite", "postgres")
OPEN = {"held", "allowed", "approved", "executing"}


@pytest.fixture
def team(open_house: Open, clock: ManualClock) -> tuple[House, Person, Person]:
    """A house with two people who may open an epoch."""
    house = open_house(clock=clock)
    return house, house.person("Ann", Role.OPERATOR), house.person("Bob", Role.POLICY_ADMIN, Role.REVIEWER)


# --- finding out ------------------------------------------------------------------------------------------


def test_a_database_that_was_put_back_stops_every_change_and_says_what_to_do(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    action = house.held()
    house.answer(action, team[2])
    lost(house, tmp_path)
    with pytest.raises(RecoveryRequired) as refused:
        again(open_house, clock, recovering=False)
    assert "interlock ledger recover" in refused.value.fix
    house = again(open_house, clock)
    assert (house.state(action), flag(house)) == ("approved", 1)
    before = house.entries()
    for attempt in (
        lambda: house.gate.claim(action, ExecutorKind.CALLER),
        lambda: house.held(args={**REFUND, "order_id": "new"}),
        lambda: house.person("Eve"),
        lambda: house.gate.sweep(),
        lambda: house.activate(POLICY.replace("tier: 3", "tier: 4")),
        lambda: house.home.keyring.add(KeyKind.AGENT, "a", topics=["pay.**"], by="test"),
    ):
        with pytest.raises(RecoveryRequired):
            attempt()
    assert house.entries() == before
    shown = described(house.home)
    assert (shown["missing"] >= 3, shown["kept"], shown["entries"]) == (True, len(before), "same")
    assert shown["in_doubt"]["states"] == {"approved": 1}
    assert [item["action"] for item in shown["in_doubt"]["items"]] == [action]


def test_a_database_that_continues_what_is_known_is_left_alone(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock
) -> None:
    house = team[0]
    house.held()
    shut(house)
    house = again(open_house, clock)
    assert (house.home.recovery.required, flag(house)) == (None, 0)
    assert described(house.home) == {"required": False}
    with pytest.raises(Conflict):
        house.home.recovery.situation()


def test_neither_the_file_nor_the_flag_alone_ends_it(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    lost(house, tmp_path)
    house = again(open_house, clock)
    record = house.home.path / "ledger" / "recovery.json"
    kept = record.read_bytes()
    house.sql("UPDATE head SET stopped = 0")
    with pytest.raises(RecoveryRequired):
        house.held()  # the process that knew
    assert flag(house) == 1
    house.sql("UPDATE head SET stopped = 0")
    shut(house)
    house = again(open_house, clock)
    assert house.home.recovery.required is not None
    assert flag(house) == 1
    record.unlink()
    shut(house)
    house = again(open_house, clock)
    assert house.home.recovery.required is not None
    assert record.exists()
    # Whoever removes both, and all that is known outside, still has a database that says so: nothing does.
    record.write_bytes(kept)
    shut(house)
    with pytest.raises(RecoveryRequired):
        again(open_house, clock, recovering=False)


def test_a_server_sets_the_flag_again_within_its_next_round(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    lost(house, tmp_path)
    house = again(open_house, clock)
    assert house.home.recovery.stands()
    house.sql("UPDATE head SET stopped = 0")
    assert house.home.recovery.stands()
    assert flag(house) == 1


def test_a_host_that_was_only_told_does_not_believe_the_flag_that_was_put_back(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock
) -> None:
    house = team[0]
    house.sql("UPDATE head SET stopped = 1")  # another host found out why
    with pytest.raises(RecoveryRequired):
        house.held()
    house.sql("UPDATE head SET stopped = 0")
    with pytest.raises(RecoveryRequired):
        house.held()
    house.sql("UPDATE head SET stopped = 0")
    shut(house)
    house = again(open_house, clock)
    assert house.home.recovery.required is not None
    with pytest.raises(RecoveryRequired):
        house.held()


def test_the_newest_database_put_back_ends_it_without_a_new_epoch(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    (tmp_path / "old").mkdir()
    old = Backup(house, tmp_path / "old")
    action = house.held()
    house.home.publisher.publish()
    (tmp_path / "new").mkdir()
    new = Backup(house, tmp_path / "new")
    shut(house)
    old.put_back()
    house = again(open_house, clock)
    assert house.home.recovery.required is not None
    shut(house)
    new.put_back()
    house = again(open_house, clock, recovering=False)
    house.answer(action, team[2])
    assert house.state(action) == "approved"
    assert of_kind(house, "ledger.epoch_opened") == []
    assert not (house.home.path / "ledger" / "recovery.json").exists()
    assert (house.home.path / "ledger" / "recovered" / "001.json").exists()


def test_what_was_never_signed_and_only_noted_is_missed_too(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    house.home.publisher.publish()
    saved = Backup(house, tmp_path)
    claimed = house.propose("notes.add", {}).action
    assert claimed is not None
    shut(house)  # nothing newer was signed
    saved.put_back()
    house = again(open_house, clock)
    shown = described(house.home)
    assert shown["missing"] >= 1
    agreed(house, *team[1:])
    assert house.home.recovery.required is None


def test_a_row_of_an_epoch_that_this_home_did_not_write_stops_everything(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    lost(house, tmp_path)
    house = again(open_house, clock)
    size = len(house.entries())
    house.sql(
        "INSERT INTO epochs (namespace, number, origin, kept, opened_at, mac) VALUES (?, ?, ?, ?, ?, ?)",
        "default",
        2,
        f"{house.home.publisher.log}/2",
        size,
        clock.now(),
        bytes(32),
    )
    house.sql("UPDATE head SET stopped = 0")
    with pytest.raises((RecoveryRequired, Tampered)):
        house.held()
    shut(house)
    with pytest.raises(HomeUnusable):
        again(open_house, clock)


def test_a_rewritten_history_is_no_backup_and_no_epoch_is_opened_on_it(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    saved = Backup(house, tmp_path)
    house.held()
    house.home.publisher.publish()
    shut(house)
    saved.put_back()
    forger = open_house(clock=clock, recovering=True)
    ledger = forger.home.path / "ledger"
    hidden = forger.home.path / "hidden"
    shut(forger)
    ledger.rename(hidden)  # somebody who has the keys goes on from the backup, and puts the files back
    forger = open_house(clock=clock, recovering=True)
    forger.sql("UPDATE head SET stopped = 0")
    shut(forger)
    shutil.rmtree(ledger)
    forger = open_house(clock=clock)
    for number in range(4):
        forger.held(args={**REFUND, "order_id": f"forged-{number}"})
    shut(forger)
    shutil.rmtree(ledger)
    hidden.rename(ledger)
    house = again(open_house, clock)
    assert described(house.home)["entries"] == "different"
    with pytest.raises(RecoveryRequired, match="other entries"):
        agreed(house, *team[1:])


# --- who agrees -------------------------------------------------------------------------------------------


def test_one_person_is_not_two_and_nobody_agrees_to_something_else(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, ann, bob = team
    eve = house.person("Eve", Role.REVIEWER)
    gone = house.person("Gus", Role.OPERATOR)
    _, token = house.home.keyring.add(KeyKind.PERSON, "k", person=gone, by="test")
    held = house.home.keyring.authenticate(token)
    house.home.roster.remove("Gus", by="test")
    lost(house, tmp_path)
    house = again(open_house, clock)
    recovery = house.home.recovery
    digest = recovery.situation().digest
    for _ in range(3):
        answer = recovery.agree(ann.caller, digest, "again and again")
        assert (len(answer.agreed), answer.needed, answer.opened) == (1, 2, None)
    with pytest.raises(Unauthenticated):
        house.home.keyring.authenticate(token)
    for nobody in (eve.caller, held, gone.caller):
        with pytest.raises((Forbidden, Unauthenticated)):
            recovery.agree(nobody, digest, "me too")
    for wrong in ("", "0" * 64, digest.upper()):
        with pytest.raises(Changed):
            recovery.agree(bob.caller, wrong, "something else")
    for reason in ("", " ", "two\nlines", "x" * 501):
        with pytest.raises(InvalidInput):
            recovery.agree(bob.caller, digest, reason)
    assert flag(house) == 1
    clock.forward(1)
    answer = recovery.agree(bob.caller, digest, "restored the backup")
    assert answer.opened is not None
    (entry,) = of_kind(house, "ledger.epoch_opened")
    assert (entry["people"], entry["solo"]) == ([ann.id, bob.id], False)
    assert entry["reason"] == "again and again; restored the backup"


@pytest.mark.parametrize(
    ("roles", "may"),
    [
        (["operator", "policy-admin", "reviewer"], {0, 1}),
        (["operator", "reviewer", "reviewer", "auditor"], {0, 1, 2}),
        (["reviewer", "reviewer", "auditor"], {0, 1}),
        (["operator", "auditor"], {0, 1}),
        (["auditor", "auditor", "auditor"], {0, 1, 2}),
        (["auditor"], {0}),
    ],
)
def test_wherever_somebody_is_enrolled_enough_of_them_may_open_an_epoch(
    open_house: Open, clock: ManualClock, tmp_path: Path, roles: list[str], may: set[int]
) -> None:
    house = open_house(clock=clock)
    people = [house.person(f"P{number}", Role(role)) for number, role in enumerate(roles)]
    lost(house, tmp_path)
    house = again(open_house, clock)
    outlook = house.home.recovery.situation().outlook
    assert {people.index(person) for person in outlook.may} == may
    assert outlook.needed == min(2, len(people))
    chosen = [people[number] for number in sorted(may)][: outlook.needed]
    assert agreed(house, *chosen).opened is not None
    for number in set(range(len(people))) - may:
        assert house.home.recovery.required is None, number


def test_one_spoilt_row_of_a_key_does_not_keep_people_from_going_on(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    old, _ = house.home.keyring.add(KeyKind.AGENT, "old", topics=["**"], by="test")
    house.home.keyring.revoke(old.id, by="test")
    lost(house, tmp_path)
    house = again(open_house, clock)
    house.sql("UPDATE keys SET name = 'x' WHERE id = ?", old.id)
    assert described(house.home)["check"]["spoilt_keys"] == [old.id]
    assert agreed(house, *team[1:]).opened is not None


def test_a_key_made_for_recovery_is_recorded_although_the_clock_is_behind(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, ann, bob = team
    lost(house, tmp_path)
    clock.forward(-30)
    house = again(open_house, clock)
    key, token = house.home.keyring.add_stopped("Ann", ann)
    recovery = house.home.recovery
    recovery.agree(house.home.keyring.authenticate(token), recovery.situation().digest, "restored")
    agreed(house, bob)
    assert [entry["key"] for entry in of_kind(house, "key.added") if entry["by"] == "recovery"] == [key.id]


def test_agents_are_no_people(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, ann, bob = team
    keys = [
        house.home.keyring.add(KeyKind.AGENT, name, topics=["**"], person=person, by="test")[1]
        for name, person in (("one", ann), ("two", bob))
    ]
    lost(house, tmp_path)
    house = again(open_house, clock)
    for token in keys:
        with pytest.raises(Forbidden):
            house.home.recovery.agree(
                house.home.keyring.authenticate(token), house.home.recovery.situation().digest, "go on"
            )


def test_an_agreement_that_nobody_gave_does_not_count(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, ann, bob = team
    lost(house, tmp_path)
    house = again(open_house, clock)
    digest = house.home.recovery.situation().digest
    house.sql(
        "INSERT INTO recovery_votes (namespace, person, gap, reason, at, mac) VALUES (?, ?, ?, ?, ?, ?)",
        "default",
        bob.id,
        digest,
        "forged",
        1,
        bytes(32),
    )
    answer = house.home.recovery.agree(ann.caller, digest, "restored")
    assert (answer.agreed, answer.opened) == ((ann,), None)
    # The row of somebody who did agree does not become another one's.
    house.sql("DELETE FROM recovery_votes WHERE person = ?", bob.id)
    house.sql("UPDATE recovery_votes SET person = ?", bob.id)
    answer = house.home.recovery.agree(ann.caller, digest, "restored")
    assert (answer.agreed, answer.opened) == ((ann,), None)


def test_an_agreement_to_another_loss_does_not_count(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, ann, bob = team
    lost(house, tmp_path)
    house = again(open_house, clock)
    agreed(house, ann)
    house.home.recovery.begin(RecoveryRequired("A witness has seen more."), seen=10_000)
    answer = agreed(house, bob)
    assert (answer.agreed, answer.opened) == ((bob,), None)
    assert described(house.home)["seen"] == 10_000
    assert agreed(house, ann).opened is not None


@pytest.mark.parametrize("people", ["solo", "team"])
def test_one_person_suffices_where_nobody_else_is_enrolled_and_the_entry_says_so(
    open_house: Open, clock: ManualClock, tmp_path: Path, people: str
) -> None:
    house = open_house(POLICY.replace("name: shop", f"name: shop\npeople: {people}"), clock=clock)
    ann = house.person("Ann")
    saved = Backup(house, tmp_path)
    house.held()
    shut(house)
    saved.put_back()
    house = open_house(None, clock=clock, recovering=True)
    answer = agreed(house, ann)
    assert (answer.needed, answer.opened is None, flag(house)) == (1, False, 0)
    (entry,) = of_kind(house, "ledger.epoch_opened")
    assert (entry["people"], entry["solo"]) == ([ann.id], True)


def test_a_second_person_ends_solo(open_house: Open, clock: ManualClock, tmp_path: Path) -> None:
    house = open_house(POLICY.replace("name: shop", "name: shop\npeople: solo"), clock=clock)
    ann, bob = house.person("Ann"), house.person("Bob")
    lost(house, tmp_path)
    house = open_house(None, clock=clock, recovering=True)
    answer = agreed(house, ann)
    assert (answer.needed, answer.opened) == (2, None)
    assert agreed(house, bob).opened is not None
    (entry,) = of_kind(house, "ledger.epoch_opened")
    assert (set(entry["people"]), entry["solo"]) == ({ann.id, bob.id}, False)


def test_where_nobody_is_enrolled_it_is_opened_on_the_machine_and_nowhere_else(
    open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = open_house(clock=clock)
    action = house.held()
    lost(house, tmp_path)
    house = again(open_house, clock)
    digest = house.home.recovery.situation().digest
    with pytest.raises(Changed):
        house.home.recovery.open_alone("0" * 64, "restored")
    opened = house.home.recovery.open_alone(digest, "restored")
    assert (opened.number, opened.doubted) == (2, {"held": 1})
    assert house.state(action) == "in_doubt"
    (entry,) = of_kind(house, "ledger.epoch_opened")
    assert (entry["people"], entry["solo"]) == ([], True)


def test_where_somebody_is_enrolled_the_machine_alone_opens_nothing(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    lost(team[0], tmp_path)
    house = again(open_house, clock)
    with pytest.raises(Forbidden, match="People are enrolled"):
        house.home.recovery.open_alone(house.home.recovery.situation().digest, "restored")
    assert flag(house) == 1


# --- what it does -----------------------------------------------------------------------------------------


def test_whatever_may_have_run_is_in_doubt_and_what_had_ended_stays_ended(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, _, bob = team
    before: dict[str, str] = {}
    for number, state in enumerate(["held", "approved", "executing", "rejected", "succeeded", "in_doubt"]):
        action = house.held(args={**REFUND, "order_id": f"A-{number}"})
        if state == "rejected":
            house.answer(action, bob, Answer.REJECT)
        elif state != "held":
            house.answer(action, bob)
        if state in ("executing", "succeeded", "in_doubt"):
            claim = house.gate.claim(action, ExecutorKind.CALLER)
            if state != "executing":
                house.gate.settle(claim, Report(ActionState(state), "It returned."))
        before[action] = state
    allowed = house.propose("notes.add", {}).action
    assert allowed is not None
    before[allowed.id] = "allowed"
    lost(house, tmp_path)
    house = again(open_house, clock)
    opened = agreed(house, *team[1:]).opened
    assert opened.doubted == {"held": 1, "approved": 1, "executing": 1, "allowed": 1}
    for action, state in before.items():
        assert house.state(action) == ("in_doubt" if state in OPEN else state)
    entries = of_kind(house, "action.in_doubt")
    recovered = {entry["action"]: entry["recovery"] for entry in entries if "recovery" in entry}
    assert recovered == {action: 2 for action, state in before.items() if state in OPEN}
    assert house.home.views.approvals("held")["items"] == []
    for action in before:
        with pytest.raises(InterlockError):
            house.gate.claim(action, ExecutorKind.CALLER)
    clock.forward(10 * 24 * 3600)
    house.gate.sweep()
    assert {house.state(action) for action, state in before.items() if state in OPEN} == {"in_doubt"}
    for action in recovered:
        house.gate.reconcile(action, bob.caller, ActionState.FAILED, "I looked.")
        assert house.state(action) == "failed"


def test_a_late_report_by_the_holder_still_settles_what_recovery_put_in_doubt(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    action = house.propose("notes.add", {}).action
    assert action is not None
    claim = house.gate.claim(action.id, ExecutorKind.CALLER)
    lost(house, tmp_path)
    house = again(open_house, clock)
    agreed(house, *team[1:])
    house.gate.settle(claim, Report(ActionState.SUCCEEDED, "It returned."))
    assert house.state(action.id) == "succeeded"


def test_the_export_verifies_after_recovery_and_the_handover_names_both(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    first = house.home.publisher.vkey
    house.held()
    lost(house, tmp_path)
    house = again(open_house, clock)
    kept = len(house.entries())
    agreed(house, *team[1:])
    house.held(args={**REFUND, "order_id": "after"})
    house.home.publisher.publish()
    assert house.home.publisher.origin == f"{house.home.publisher.log}/2"
    (entry,) = of_kind(house, "ledger.epoch_opened")
    assert (entry["kept"], entry["epoch"], entry["previous"]) == (kept, 2, house.home.publisher.log)
    assert entry["vkey"] == house.home.publisher.vkey != first
    assert entry["signed"]["size"] > kept
    house.home.publisher.export(tmp_path / "export")
    report = verify_export(tmp_path / "export", vkey=first)
    assert report.problems == ()
    assert report.ok


def test_it_can_happen_again_and_no_name_is_used_twice(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    saved = Backup(house, tmp_path)
    for epoch in (2, 3):
        house.held(args={**REFUND, "order_id": f"B-{epoch}"})
        house.home.publisher.publish()
        shut(house)
        saved.put_back()  # the second time it is a database that knows nothing of epoch 2
        house = again(open_house, clock)
        agreed(house, *team[1:])
        assert [each.number for each in house.home.journal.look(epochs)] == [epoch]
        assert house.home.publisher.origin == f"{house.home.publisher.log}/{epoch}"
    house.home.publisher.export(tmp_path / "export")
    assert verify_export(tmp_path / "export", vkey=house.home.publisher.vkey).problems == ()


def test_an_old_copy_with_votes_and_flag_in_it_starts_from_nothing(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house = team[0]
    lost(house, tmp_path)
    house = again(open_house, clock)
    agreed(house, team[1])
    (tmp_path / "during").mkdir()
    during = Backup(house, tmp_path / "during")
    agreed(house, team[2])
    house.held(args={**REFUND, "order_id": "in epoch 2"})
    house.home.publisher.publish()
    shut(house)
    during.put_back()
    house = again(open_house, clock)
    answer = agreed(house, team[2])
    assert (len(answer.agreed), answer.opened) == (1, None)
    opened = agreed(house, team[1]).opened
    assert opened is not None
    assert opened.number == 3


# --- nothing runs twice -----------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(4))
def test_nothing_runs_twice_through_a_restore(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path, seed: int
) -> None:
    """An executor that counts, a database put back at some moment, and everybody tries again afterwards."""
    house, _, bob = team
    chance, ran = random.Random(seed), Counter[str]()
    actions: list[str] = []

    def step() -> None:
        if len(actions) < 4 or chance.random() < 0.2:
            actions.append(house.held(args={**REFUND, "order_id": f"C-{len(actions)}"}))
            return
        action = chance.choice(actions)
        try:
            if house.state(action) == "held":
                house.answer(action, bob)
                return
            claim = house.gate.claim(action, ExecutorKind.CALLER)
            ran[action] += 1
            if chance.random() < 0.7:
                house.gate.settle(claim, Report(ActionState.SUCCEEDED, "It returned."))
        except InterlockError:
            return

    for _ in range(chance.randrange(5, 25)):
        step()
    saved = Backup(house, tmp_path)
    known = list(actions)
    for _ in range(25):
        step()
    shut(house)
    saved.put_back()
    house = again(open_house, clock)
    for action in known:
        with pytest.raises(InterlockError):
            house.gate.claim(action, ExecutorKind.CALLER)
    agreed(house, *team[1:])
    for action in known:
        try:
            house.gate.claim(action, ExecutorKind.CALLER)
            ran[action] += 1
        except InterlockError:
            pass
        if house.state(action) == "in_doubt":
            outcome = ActionState.SUCCEEDED if ran[action] else ActionState.FAILED
            house.gate.reconcile(action, bob.caller, outcome, "I looked.")
            with pytest.raises(NotClaimable):
                house.gate.claim(action, ExecutorKind.CALLER)
    assert max(ran.values(), default=0) <= 1
