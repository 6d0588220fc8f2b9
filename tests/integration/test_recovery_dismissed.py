"""False alarms: recoveries in which nothing of a home's own is missing, and people who say so."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from house import REFUND, House, ManualClock
from interlock.home.recovery_view import described
from interlock.identity import Person, Role
from interlock.ledger import Frontier, Kind, entry, leaf_hash
from interlock.model.actions import ExecutorKind
from interlock.model.errors import Changed, Conflict, Forbidden
from interlock.verify import verify_export
from restored import (
    REASON,
    Open,
    again,
    agreed,
    dismissed,
    flag,
    flagged,
    lost,
    of_kind,
    proposes,
    shut,
)

DATABASES = ("sqlite", "postgres")


@pytest.fixture
def team(open_house: Open, clock: ManualClock) -> tuple[House, Person, Person]:
    """A house with two people who may end a recovery."""
    house = open_house(clock=clock)
    people = house.person("Ann", Role.OPERATOR), house.person("Bob", Role.POLICY_ADMIN, Role.REVIEWER)
    house.home.publisher.publish()
    return house, *people


def test_two_people_dismiss_what_was_only_told_and_nothing_goes_in_doubt(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, ann, bob = team
    held = house.held()
    approved = house.held(args={**REFUND, "order_id": "approved"})
    house.answer(approved, bob)
    flagged(house)
    first = dismissed(house, ann)
    assert (first.dismissed, first.opened, len(first.agreed), first.needed) == (False, None, 1, 2)
    assert not proposes(house, "not yet")
    last = dismissed(house, bob)
    assert (last.dismissed, last.opened) == (True, None)
    assert (flag(house), house.home.recovery.required) == (0, None)
    assert (house.state(held), house.state(approved)) == ("held", "approved")
    house.gate.claim(approved, ExecutorKind.CALLER)
    (entry,) = of_kind(house, "ledger.recovery_dismissed")
    assert (entry["epoch"], set(entry["people"]), entry["solo"]) == (1, {ann.id, bob.id}, False)
    assert entry["reason"] == REASON
    assert entry["seen"] >= 2
    assert of_kind(house, "action.in_doubt") == []
    record = json.loads((house.home.path / "ledger" / "recovered" / "001.json").read_bytes())
    assert record["ended"] == "dismissed"
    assert not (house.home.path / "ledger" / "recovery.json").exists()
    shut(house)
    house = again(open_house, clock, recovering=False)
    assert proposes(house, "after")
    house.home.publisher.publish()
    house.home.publisher.export(tmp_path / "export")
    assert verify_export(tmp_path / "export", vkey=house.home.publisher.vkey).problems == ()


def test_a_process_that_was_told_goes_on_without_being_started_anew(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock
) -> None:
    house, ann, bob = team
    flagged(house)
    other = again(open_house, clock)
    dismissed(other, ann, bob)
    assert proposes(house, "after")
    assert not house.home.recovery.stands()
    assert house.home.recovery.required is None


def test_an_agreement_to_one_end_is_none_to_the_other(team: tuple[House, Person, Person]) -> None:
    house, ann, bob = team
    flagged(house)
    dismissed(house, ann)
    assert agreed(house, bob).opened is None
    shown = described(house.home)
    assert [each["name"] for each in shown["dismissal"]["agreed"]] == ["Ann"]
    assert [each["name"] for each in shown["agreement"]["agreed"]] == ["Bob"]
    assert shown["gap"] != shown["dismissal"]["gap"]
    with pytest.raises(Changed):
        house.home.recovery.agree(bob.caller, shown["gap"], REASON, dismiss=True)
    with pytest.raises(Changed):
        house.home.recovery.agree(ann.caller, shown["dismissal"]["gap"], REASON)
    assert dismissed(house, bob).dismissed


def test_one_person_is_not_two_and_others_may_not(team: tuple[House, Person, Person]) -> None:
    house, ann, _ = team
    eve = house.person("Eve", Role.REVIEWER)
    flagged(house)
    for _ in range(3):
        assert not dismissed(house, ann).dismissed
    with pytest.raises(Forbidden):
        dismissed(house, eve)
    assert flag(house) == 1


def test_what_this_home_misses_itself_is_no_false_alarm(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock, tmp_path: Path
) -> None:
    house, ann, bob = team
    house.held()
    lost(house, tmp_path)
    house = again(open_house, clock)
    gap = house.home.recovery.situation().digest
    shown = described(house.home)["dismissal"]
    assert shown["gap"] is None
    assert "this home itself" in shown["against"]
    for person in (ann, bob):
        with pytest.raises(Conflict, match="no false alarm"):
            house.home.recovery.agree(person.caller, gap, REASON, dismiss=True)
    # Nor where somebody takes the record away, so that this home was only told.
    (house.home.path / "ledger" / "recovery.json").unlink()
    shut(house)
    house = again(open_house, clock)
    with pytest.raises(Conflict, match="no false alarm"):
        house.home.recovery.agree(ann.caller, gap, REASON, dismiss=True)
    assert flag(house) == 1


def test_a_home_that_was_told_stops_at_every_start_until_people_end_it(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock
) -> None:
    house = team[0]
    flagged(house)
    for _ in range(3):
        house.sql("UPDATE head SET stopped = 0")
        shut(house)
        house = again(open_house, clock)
        assert house.home.recovery.required is not None
        assert not proposes(house, "refused")


def test_a_dismissal_that_nobody_gave_ends_nothing(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock
) -> None:
    house, ann, bob = team
    flagged(house)
    dismissed(house, ann, bob)
    ((epoch, entry, seen, mac),) = house.sql("SELECT epoch, entry, seen, mac FROM dismissals")
    flagged(house)
    # The old one is known. Another number, or another entry, does not carry the mark.
    for number, place in ((epoch, entry + 1), (epoch + 1, entry), (epoch, len(house.entries()) - 1)):
        house.sql("UPDATE head SET stopped = 0")
        house.sql("DELETE FROM dismissals")
        house.sql(
            "INSERT INTO dismissals (namespace, epoch, entry, seen, mac) VALUES (?, ?, ?, ?, ?)",
            "default",
            number,
            place,
            seen,
            mac,
        )
        assert not proposes(house, "refused")
        assert house.home.recovery.stands()
    shut(house)
    assert again(open_house, clock).home.recovery.required is not None


def test_an_entry_of_a_dismissal_that_somebody_wrote_into_the_database_ends_nothing(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock
) -> None:
    house, ann, bob = team
    flagged(house)
    bodies = [entry.encode() for entry in house.entries()]
    said = {"epoch": 1, "people": [ann.id, bob.id], "solo": False, "reason": "ours", "seen": len(bodies)}
    forged = entry(Kind.LEDGER_RECOVERY_DISMISSED, at=clock.now(), namespace="default", **said)
    ((start,),) = house.sql("SELECT start FROM head")
    number, tree = len(bodies), Frontier.EMPTY.appended(map(leaf_hash, [*bodies, forged]))
    house.sql("INSERT INTO entries (seq, namespace, body) VALUES (?, 'default', ?)", start + number, forged)
    house.sql("INSERT INTO dismissals VALUES ('default', 1, ?, ?, ?)", number, number, bytes(32))
    house.sql("UPDATE head SET size = ?, frontier = ?, stopped = 0", tree.size, tree.to_bytes())
    assert not proposes(house, "refused")
    shut(house)
    assert again(open_house, clock).home.recovery.required is not None


def test_an_alarm_that_nobody_gave_keeps_nobody_from_going_on(team: tuple[House, Person, Person]) -> None:
    house, ann, bob = team
    flagged(house)
    house.sql("INSERT INTO alarms VALUES ('default', 1, 9000, ?)", bytes(32))
    assert dismissed(house, ann, bob).dismissed


def test_it_can_happen_again_and_each_time_people_are_asked(
    team: tuple[House, Person, Person], tmp_path: Path
) -> None:
    house, ann, bob = team
    for number in range(1, 4):
        flagged(house)
        assert not proposes(house, "not yet")
        assert dismissed(house, ann, bob).dismissed
        assert proposes(house, f"after {number}")
        assert len(of_kind(house, "ledger.recovery_dismissed")) == number
        house.home.publisher.publish()


def test_where_nobody_is_enrolled_it_is_dismissed_on_the_machine(
    open_house: Open, clock: ManualClock
) -> None:
    house = open_house(clock=clock)
    held = house.held()
    house.home.publisher.publish()
    flagged(house)
    with pytest.raises(Changed):
        house.home.recovery.dismiss_alone("0" * 64, REASON)
    digest = house.home.recovery.situation().dismissal
    assert digest is not None
    house.home.recovery.dismiss_alone(digest, REASON)
    assert (flag(house), house.state(held)) == (0, "held")
    (entry,) = of_kind(house, "ledger.recovery_dismissed")
    assert (entry["people"], entry["solo"]) == ([], True)


def test_a_rewritten_database_is_no_false_alarm(team: tuple[House, Person, Person]) -> None:
    house, ann, _ = team
    house.held()
    house.home.publisher.publish()
    flagged(house)
    ((seq, body),) = house.sql("SELECT seq, body FROM entries ORDER BY seq LIMIT 1")
    house.sql("UPDATE entries SET body = ? WHERE seq = ?", bytes(body).replace(b'"at":1', b'"at":2'), seq)
    assert described(house.home)["dismissal"]["gap"] is None
    with pytest.raises(Conflict, match="no false alarm"):
        house.home.recovery.agree(ann.caller, "0" * 64, REASON, dismiss=True)


# --- witnesses --------------------------------------------------------------------------------------------


def test_what_a_witness_says_is_dismissed_and_stops_nothing_at_the_same_size(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock
) -> None:
    house, ann, bob = team
    held = house.held()
    house.home.recovery.contradicted("The witness w says: it has cosigned 900 entries.", 900)
    assert flag(house) == 1
    assert described(house.home)["seen"] == 900
    dismissed(house, ann, bob)
    assert of_kind(house, "ledger.recovery_dismissed")[0]["seen"] == 900
    for _ in range(2):
        house.home.recovery.contradicted("The witness w says: it has cosigned 900 entries.", 900)
        assert (house.home.recovery.required, house.state(held)) == (None, "held")
        shut(house)
        house = again(open_house, clock, recovering=False)
    house.home.recovery.contradicted("The witness w says: it has cosigned 901 entries.", 901)
    assert house.home.recovery.required is not None


def test_a_witness_with_a_number_beyond_all_logs_bricks_nothing(team: tuple[House, Person, Person]) -> None:
    house, ann, bob = team
    house.home.recovery.contradicted("The witness w says much.", 2**63 - 1)
    assert dismissed(house, ann, bob).dismissed


def test_an_old_dismissal_that_was_hidden_and_put_back_ends_nothing(
    team: tuple[House, Person, Person], open_house: Open, clock: ManualClock
) -> None:
    house, ann, bob = team
    house.home.recovery.contradicted("The witness w says that it has cosigned 50.", 50)
    dismissed(house, ann, bob)
    house.sql("UPDATE dismissals SET namespace = 'hidden'")
    assert proposes(house, "meanwhile")
    house.home.publisher.publish()
    house.home.recovery.contradicted("The witness w says that it has cosigned 90.", 90)
    shut(house)
    house.sql("UPDATE dismissals SET namespace = 'default'")
    house.sql("UPDATE head SET stopped = 0")
    house = again(open_house, clock)
    assert house.home.recovery.required is not None
    assert not proposes(house, "anew")
    dismissed(house, ann, bob)
    assert proposes(house, "after two people said so")
