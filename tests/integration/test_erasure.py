"""Erasing a subject: all about it closes, nothing else does, the ledger says so and still verifies."""

from __future__ import annotations

import asyncio
import json
import os
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from erasing import ANA, BEN, MARK, entries, erase, everything, held, marked, refunded, run, subject, wrapped

from house import BOTH, POLICY, REFUND, House, agent
from interlock.gate import Answer, HumanDecision, Report, erasure
from interlock.gate.erasure import Counted, Erasing, SubjectBusy
from interlock.home.wrapping import VARIABLE, CommandWrap
from interlock.identity import KeyKind, Role
from interlock.journal import KeysUnavailable
from interlock.journal.tables import metadata
from interlock.model.actions import ActionState, ExecutorKind, Proposal
from interlock.model.errors import Erased, Forbidden, HomeUnusable, NotFound, Tampered, Unauthenticated
from interlock.verify import verify_export

DATABASES = BOTH


# --- what is erased ----------------------------------------------------------------------------------------


def test_nothing_an_agent_or_a_person_wrote_about_the_subject_stands_anywhere_in_the_clear(
    house: House,
) -> None:
    """Before the erasure already: what is sealed with the key is all that there is."""
    cleo = house.person("Cleo")
    words: dict[str, Any] = {
        "principal": marked("principal"),
        "session": marked("session"),
        "parent_action": marked("parent"),
        "reasoning": marked("reasoning"),
        "alternatives": (marked("alternative"),),
    }
    args = {**REFUND, "order_id": marked("order"), "recipient": marked("recipient")}
    approved = house.held(args=args, idempotency_key=marked("key"), **words)
    house.answer(approved, cleo, note=marked("note"))
    run(house, house.gate.claim(approved, ExecutorKind.CALLER), {"answer": marked("result")})
    rejected = house.held(args={**args, "amount_usd": "700.00"}, call_id=marked("call"), **words)
    house.answer(rejected, cleo, Answer.REJECT, note=marked("rejection"))
    edited = house.held(args={**args, "amount_usd": "800.00"}, **words)
    house.answer(edited, cleo, Answer.EDIT, args={**args, "amount_usd": "80.00"}, note=marked("edit"))
    house.answer(edited, house.person("Dora"), note=marked("second"))
    doubtful = house.gate.claim(edited, ExecutorKind.CALLER)
    house.gate.settle(doubtful, Report(ActionState.IN_DOUBT, marked("doubt")))
    house.gate.reconcile(edited, cleo.caller, ActionState.SUCCEEDED, marked("reconciled"))
    kept = [house.view(action) for action in (approved, rejected, edited)]
    assert str(kept).count(MARK) > 5
    house.home.publisher.publish()
    assert MARK.encode() not in everything(house)

    done = erase(house, marked("principal"))
    assert done.payloads == 4 + 3 + 8
    assert done.actions == 3
    assert MARK.encode() not in everything(house)
    views = house.home.views
    policy = house.gate.policy
    shown: list[Any] = [house.view(action) for action in (approved, rejected, edited)]
    shown += [
        views.approval(house.request(action)[0], cleo.caller, policy)
        for action in (approved, rejected, edited)
    ]
    shown += [
        views.approvals("resolved"),
        views.actions(ActionState.SUCCEEDED),
        views.actions(ActionState.REJECTED),
    ]
    assert MARK not in str(shown)
    assert all(view["title"] == "Erased" and view["erased"] for view in shown[:6])
    assert all(view["args"] == {} for view in shown[:6])
    assert shown[0]["result"] is None
    assert shown[1]["rejection"] == {"reason_code": "other", "note": "Erased"}
    assert {item["title"] for item in shown[6]["items"]} == {"Erased"}
    assert {item["state"] for item in shown[6]["items"]} <= {"approved", "rejected", "superseded"}


def test_who_else_was_recorded_is_not_touched(house: House) -> None:
    ana, ben, nobody = refunded(house), refunded(house, BEN, "B-1"), refunded(house, None, "N-1")
    erase(house)
    assert house.view(ana)["title"] == "Erased"
    assert house.view(ben)["args"]["order_id"] == "B-1"
    assert house.view(ben)["result"] == {"order": "B-1"}
    assert house.view(nobody)["args"]["order_id"] == "N-1"


def test_what_an_agent_did_on_nobodys_behalf_is_erased_with_the_agent(house: House) -> None:
    own, ana = refunded(house, None, "N-1"), refunded(house)
    other = house.gate.propose(Proposal("orders.get", {"order_id": "O"}), agent("other"), inline=True)
    assert other.claim is not None
    run(house, other.claim)
    erase(house, "agent:support")
    assert house.view(own)["erased"]
    assert not house.view(ana)["erased"]
    assert not house.view(other.claim.action_id, agent("other"))["erased"]


def test_a_subject_that_comes_back_gets_another_key_and_the_old_content_stays_closed(house: House) -> None:
    old = refunded(house)
    first = wrapped(house)
    erase(house)
    new = refunded(house, order="A-2")
    assert wrapped(house) != first
    assert house.view(old)["erased"]
    assert house.view(new)["args"]["order_id"] == "A-2"
    done = erase(house)
    assert done.payloads == 2
    assert house.view(new)["erased"]
    assert [entry["payloads"] for entry in entries(house, "subject.erased")] == [2, 2]


def test_the_entry_says_who_why_and_how_much_and_names_nobody(house: House) -> None:
    refunded(house)
    refunded(house, order="A-2")
    done = erase(house)
    (entry,) = entries(house, "subject.erased")
    assert entry["subject"] == done.subject == subject(house)
    assert (entry["by"], entry["reason"], entry["payloads"]) == ("test", "request", 4)
    assert entry["revisions"] == 2
    assert ANA not in json.dumps(entry)
    assert (done.payloads, done.actions) == (4, 2)


def test_the_entry_counts_each_revision_that_the_destroyed_key_sealed_and_no_other(house: House) -> None:
    refunded(house)
    erase(house)
    cleo, dora = house.person("Cleo"), house.person("Dora")
    edited = held(house)
    house.answer(edited, cleo, Answer.EDIT, args={**REFUND, "order_id": "H-1", "amount_usd": "400.00"})
    house.answer(edited, dora, Answer.REJECT)
    refunded(house, BEN)
    erase(house)
    assert [entry["revisions"] for entry in entries(house, "subject.erased")] == [1, 2]


def test_a_revision_that_was_opened_after_it_was_counted_is_counted(house: House) -> None:
    refunded(house)
    counted = looked(house)
    refunded(house, order="A-2")
    house.home.journal.commit(Erasing(subject(house), "test", None, None, counted))
    (entry,) = entries(house, "subject.erased")
    assert (entry["revisions"], entry["payloads"]) == (2, 4)


def test_the_ledger_verifies_after_an_erasure(house: House, tmp_path: Path) -> None:
    house.answer(held(house), house.person("Cleo"), Answer.REJECT)
    refunded(house)
    erase(house)
    house.home.publisher.publish()
    house.home.publisher.export(tmp_path / "export")
    found = verify_export(tmp_path / "export", vkey=house.home.publisher.vkey)
    assert found.ok, found.problems
    assert found.kinds["subject.erased"] == 1


def test_nobody_of_that_name_is_not_taken_for_somebody_else(house: House) -> None:
    refunded(house)
    for name in ("Ana@example.com", f"{ANA} ", "", subject(house), "\ud800", "agent:nobody"):
        with pytest.raises(NotFound):
            erase(house, name)
    assert entries(house, "subject.erased") == []
    erase(house)
    with pytest.raises(NotFound):
        erase(house)


# --- what is open ------------------------------------------------------------------------------------------


def test_while_an_action_is_open_its_subject_is_not_erased(house: House) -> None:
    cleo = house.person("Cleo")
    waiting = held(house)

    def refused(state: str) -> None:
        with pytest.raises(SubjectBusy) as busy:
            erase(house)
        assert [(one["id"], one["state"]) for one in busy.value.extra["open"]] == [(waiting, state)]
        assert not house.view(waiting)["erased"]

    refused("held")
    house.answer(waiting, cleo)
    refused("approved")
    claim = house.gate.claim(waiting, ExecutorKind.CALLER)
    refused("executing")
    house.gate.settle(claim, Report(ActionState.IN_DOUBT, "lost"))
    refused("in_doubt")
    house.gate.reconcile(waiting, cleo.caller, ActionState.SUCCEEDED, "it is there")
    assert house.home.eraser.look(ANA).open == ()
    erase(house)
    assert house.view(waiting)["state"] == "succeeded"


def test_somebody_elses_open_action_does_not_stand_in_the_way(house: House) -> None:
    refunded(house)
    held(house, BEN)
    held(house, None)
    assert erase(house).payloads == 2


def test_deciding_on_what_was_erased_says_so(house: House) -> None:
    cleo = house.person("Cleo")
    action = held(house)
    approval, hash_ = house.request(action)
    house.answer(action, cleo, Answer.EDIT, args={**REFUND, "order_id": "H-1", "amount_usd": "400.00"})
    house.answer(action, house.person("Dora"), Answer.REJECT)
    erase(house)
    with pytest.raises(Erased):
        house.gate.decide(approval, cleo.caller, HumanDecision(Answer.APPROVE, hash_))


def test_a_request_repeated_after_the_erasure_finds_its_first_action_and_no_content(house: House) -> None:
    first = refunded(house, idempotency_key="once")
    erase(house)
    args = {**REFUND, "order_id": "A-1", "amount_usd": "5.00"}
    again = house.propose(args=args, principal=ANA, idempotency_key="once")
    assert again.action is not None
    assert (again.action.id, again.created) == (first, False)
    assert house.view(first)["title"] == "Erased"


def looked(house: House) -> Counted:
    """What an erasure looks through before its transaction."""
    return house.home.journal.look(lambda tx: erasure._look(tx, ANA)[1])


def test_an_action_proposed_after_it_was_looked_is_open(house: House) -> None:
    refunded(house)
    erasing = Erasing(subject(house), "test", None, None, looked(house))
    waiting = held(house)
    with pytest.raises(SubjectBusy):
        house.home.journal.commit(erasing)
    house.answer(waiting, house.person("Cleo"), Answer.REJECT)
    assert house.home.journal.commit(erasing).payloads == 4


def test_what_ended_after_it_was_looked_is_not_open(house: House) -> None:
    action = house.propose(args={**REFUND, "amount_usd": "5.00"}, principal=ANA).action
    assert action is not None
    erasing = Erasing(subject(house), "test", None, None, looked(house))
    with pytest.raises(SubjectBusy):
        house.home.journal.commit(erasing)
    house.gate.withdraw(action.id, agent())
    assert house.home.journal.commit(erasing).payloads == 1


def test_a_key_made_after_it_was_looked_is_not_destroyed(house: House) -> None:
    refunded(house)
    erasing = Erasing(subject(house), "test", None, None, looked(house))
    erase(house)
    new = refunded(house, order="A-2")
    with pytest.raises(NotFound):
        house.home.journal.commit(erasing)
    assert not house.view(new)["erased"]


def test_an_action_proposed_just_before_in_the_same_transaction_is_open(house: House) -> None:
    refunded(house)
    erasing = Erasing(subject(house), "test", None, None, looked(house))

    async def together() -> list[Any]:
        journal, waiting = house.home.journal, {**REFUND, "order_id": "just now"}
        proposed = asyncio.ensure_future(
            house.gate.propose_async(Proposal("pay.refund", waiting, ANA), agent())
        )
        await asyncio.sleep(0)  # it has been queued, and nobody leads yet
        return await asyncio.gather(proposed, journal.commit_async(erasing), return_exceptions=True)

    proposed, refused = asyncio.run(together())
    assert isinstance(refused, SubjectBusy)
    assert [one["id"] for one in refused.extra["open"]] == [proposed.action.id]


def test_proposals_and_an_erasure_at_the_same_time_leave_each_payload_open_or_erased(house: House) -> None:
    stop, made, failed = threading.Event(), [refunded(house)], []

    def propose(number: int) -> None:
        try:
            while not stop.is_set():
                made.append(refunded(house, order=f"T{number}-{len(made)}"))
                stop.wait(0.01)  # so that there are moments in which nothing is open
        except Exception as error:  # noqa: BLE001 (looked at below)
            failed.append(error)

    threads = [threading.Thread(target=propose, args=(n,)) for n in range(3)]
    for thread in threads:
        thread.start()
    erased = 0
    deadline = time.monotonic() + 30
    while erased < 3 and time.monotonic() < deadline:
        try:
            erased += bool(erase(house))
        except (SubjectBusy, NotFound):
            continue
    stop.set()
    for thread in threads:
        thread.join()
    assert (failed, erased) == ([], 3)
    views = [house.view(action) for action in made]
    sealed = [
        count for (count,) in house.sql("SELECT count(*) FROM payloads WHERE subject = ?", subject(house))
    ]
    told = sum(entry["payloads"] for entry in entries(house, "subject.erased"))
    open_ = sum(2 for view in views if not view["erased"])
    assert sealed == [told + open_]


# --- who may -----------------------------------------------------------------------------------------------


def test_only_an_operator_or_policy_admin_with_a_valid_key_erases_over_http(house: House) -> None:
    refunded(house)
    reviewer, operator = house.person("Rita", Role.REVIEWER), house.person("Olaf", Role.OPERATOR)
    for caller in (reviewer.caller, agent()):
        with pytest.raises(Forbidden):
            house.home.eraser.erase(ANA, by="x", caller=caller)
    key, token = house.home.keyring.add(KeyKind.PERSON, "laptop", person=operator, by="test")
    caller = house.home.keyring.authenticate(token)
    house.home.keyring.revoke(key.id, by="test")
    with pytest.raises(Unauthenticated):
        house.home.eraser.erase(ANA, by=operator.id, caller=caller)
    assert house.home.eraser.erase(ANA, by=operator.id, caller=operator.caller).payloads == 2


# --- what a database administrator may try -----------------------------------------------------------------


def test_a_wrapped_key_copied_into_another_subjects_row_opens_nothing(
    open_house: Callable[..., House],
) -> None:
    house = open_house()
    ana, ben = refunded(house), refunded(house, BEN)
    house.sql("UPDATE subjects SET wrapped = ? WHERE id = ?", wrapped(house), subject(house, BEN))
    fresh = open_house(None)
    for action in (ben,):
        with pytest.raises(Tampered):
            fresh.view(action)
    with pytest.raises(Tampered):
        refunded(fresh, BEN, "B-2")
    assert fresh.view(ana)["result"] == {"order": "A-1"}


def test_taking_the_key_away_is_not_an_erasure(open_house: Callable[..., House]) -> None:
    house = open_house()
    done, waiting = refunded(house), held(house)
    house.answer(waiting, house.person("Cleo"))
    house.sql("DELETE FROM subjects WHERE id = ?", subject(house))
    with pytest.raises(Tampered):
        house.view(done)
    with pytest.raises(Tampered):
        house.gate.claim(waiting, ExecutorKind.CALLER)


def test_a_forged_mark_of_an_erasure_is_not_one(house: House) -> None:
    action = refunded(house)
    ((sealed,),) = house.sql(
        "SELECT sealed FROM payloads WHERE subject = ? ORDER BY seq LIMIT 1", subject(house)
    )
    house.sql("DELETE FROM subjects")
    house.sql(
        "INSERT INTO erasures (namespace, subject, serial, at, mac) VALUES ('default', ?, ?, 1, ?)",
        subject(house),
        bytes(sealed)[:8].hex(),
        b"m" * 32,
    )
    with pytest.raises(Tampered):
        house.view(action)


@pytest.mark.parametrize("change", ["NULL", "'%s'"])
def test_a_payload_cannot_be_moved_to_another_subject_or_to_nobody(house: House, change: str) -> None:
    action = refunded(house)
    refunded(house, BEN)
    value = change.replace("%s", subject(house, BEN))
    house.sql(f"UPDATE payloads SET subject = {value} WHERE subject = ?", subject(house))
    with pytest.raises(Tampered):
        house.view(action)


def test_a_payload_cannot_be_moved_to_another_row_of_its_subject(house: House) -> None:
    one, two = refunded(house), refunded(house, order="A-2")
    numbers = dict(house.sql("SELECT id, payload FROM actions"))
    ((foreign,),) = house.sql("SELECT sealed FROM payloads WHERE seq = ?", numbers[two])
    house.sql("UPDATE payloads SET sealed = ? WHERE seq = ?", bytes(foreign), numbers[one])
    with pytest.raises(Tampered):
        house.view(one)


def test_a_key_put_back_after_its_erasure_opens_nothing_and_is_erased_again(
    open_house: Callable[..., House],
) -> None:
    house = open_house()
    action, key = refunded(house), wrapped(house)
    erase(house)
    house.sql("INSERT INTO subjects VALUES ('default', ?, ?, 1)", subject(house), key)
    assert house.view(action)["erased"]
    with pytest.raises(Tampered):
        refunded(house, order="A-2")
    house.home.close()
    again = open_house(None)
    assert again.sql("SELECT * FROM subjects") == []
    assert again.view(action)["erased"]
    assert [(entry["by"], entry["payloads"]) for entry in entries(again, "subject.erased")] == [
        ("test", 2),
        ("restore", 2),
    ]
    assert refunded(again, order="A-2")


def test_a_process_that_has_the_key_at_hand_does_not_use_it_where_it_was_put_back(
    open_house: Callable[..., House],
) -> None:
    one, two = open_house(), open_house(None)
    action, key = refunded(one), wrapped(one)
    assert not one.view(action)["erased"]
    erase(two)
    one.sql("INSERT INTO subjects VALUES ('default', ?, ?, 1)", subject(one), key)
    assert one.view(action)["erased"]
    with pytest.raises(Tampered):
        refunded(one, order="A-2")


def test_a_process_lets_go_of_a_key_when_it_meets_the_subject_after_its_erasure(
    open_house: Callable[..., House],
) -> None:
    one, two = open_house(), open_house(None)
    action, key = refunded(one), wrapped(one)
    erase(two)
    assert one.home.journal.subjects.known(subject(one), key) is not None
    assert one.view(action)["erased"]
    assert one.home.journal.subjects.known(subject(one), key) is None


def test_a_key_put_back_without_the_mark_of_its_erasure_is_erased_again_too(
    open_house: Callable[..., House],
) -> None:
    house = open_house()
    action, key = refunded(house), wrapped(house)
    erase(house)
    house.home.close()
    house.sql("INSERT INTO subjects VALUES ('default', ?, ?, 1)", subject(house), key)
    house.sql("DELETE FROM erasures")
    again = open_house(None)
    assert again.view(action)["erased"]
    assert entries(again, "subject.erased")[-1]["by"] == "restore"
    assert len(again.sql("SELECT * FROM erasures")) == 1


def test_what_another_host_erased_is_noted_here_when_the_home_opens(open_house: Callable[..., House]) -> None:
    house = open_house()
    refunded(house)
    erase(house)
    house.home.close()
    noted = house.home.path / "ledger" / "erased"
    was = noted.read_text()
    noted.unlink()
    open_house(None).home.close()
    assert noted.read_text() == was
    assert was.startswith(subject(house))


def test_a_keystore_with_another_sealing_key_reads_nothing_and_seals_nothing(
    open_house: Callable[..., House],
) -> None:
    house = open_house()
    action = refunded(house)
    house.home.close()
    file = house.home.path / "keystore" / "vault.json"
    keys = json.loads(file.read_text())
    keys["sealing"] = "A" * 43 + "="
    file.write_text(json.dumps(keys))
    other = open_house(None)
    with pytest.raises(Tampered):
        other.view(action)
    before = other.sql("SELECT size, sealed FROM head")
    with pytest.raises(Tampered):
        other.propose(args={**REFUND, "order_id": "X", "amount_usd": "5.00"}, principal=ANA)
    assert other.sql("SELECT size, sealed FROM head") == before


# --- a key service -----------------------------------------------------------------------------------------

SERVICE = """#!{python}
import base64, json, os, sys, time
with open({log!r}, "a") as log:
    log.write(os.environ.get("WHO", "") + "\\n")
if os.path.exists({down!r}):
    sys.exit(1)
asked = json.load(sys.stdin)
pad = bytes(b ^ 0x5C for b in base64.b64decode(asked.get("key") or asked["wrapped"])[:32])
aad = base64.b64decode(asked["aad"])
import hashlib
check = hashlib.sha256(aad).digest()
if asked["operation"] == "wrap":
    answer = {{"wrapped": pad + check}}
else:
    if base64.b64decode(asked["wrapped"])[32:] != check:
        sys.exit(3)
    answer = {{"key": pad}}
print(json.dumps({{name: base64.b64encode(value).decode() for name, value in answer.items()}}))
"""


class KeyService:
    """A command that stands for a key service: it counts how often it is asked, and can be down."""

    def __init__(self, folder: Path) -> None:
        self.command, self._log, self._down = folder / "wrap", folder / "asked", folder / "down"
        self.command.write_text(
            SERVICE.format(python=sys.executable, log=str(self._log), down=str(self._down))
        )
        self.command.chmod(0o700)

    @property
    def asked(self) -> int:
        return len(self._log.read_text().splitlines()) if self._log.exists() else 0

    def stop(self) -> None:
        self._down.touch()

    def start(self) -> None:
        self._down.unlink()
        time.sleep(1.1)  # longer than it is left alone after a failure


@pytest.fixture
def service(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> KeyService:
    found = KeyService(tmp_path)
    monkeypatch.setenv(VARIABLE, f"command:{found.command}")
    return found


OTHER_USER = 65_534


@pytest.mark.parametrize("spoil", ["owner", "file", "folder", "above", "link", "target", "link folder"])
def test_a_command_that_somebody_else_can_replace_is_not_run(tmp_path: Path, spoil: str) -> None:
    if os.geteuid() != 0 and spoil in ("owner", "link", "target"):
        return  # only root gives files away
    real, linked = tmp_path / "real" / "bin", tmp_path / "linked"
    real.mkdir(parents=True)
    linked.mkdir()
    service = KeyService(real)
    link = linked / "wrap"
    link.symlink_to(service.command)
    wrap = CommandWrap(link)
    assert wrap.wrap(bytes(32), b"aad")
    asked = service.asked
    match spoil:
        case "owner":
            os.chown(service.command, OTHER_USER, -1)
        case "file":
            service.command.chmod(0o722)
        case "folder":
            real.chmod(0o777)
        case "above":
            real.parent.chmod(0o770)
        case "link":
            os.chown(link, OTHER_USER, -1, follow_symlinks=False)
        case "target":
            os.chown(real, OTHER_USER, -1)
        case "link folder":
            linked.chmod(0o777)
    with pytest.raises(HomeUnusable):
        wrap.wrap(bytes(32), b"aad")
    with pytest.raises(HomeUnusable):
        CommandWrap(link)
    assert service.asked == asked


def test_a_command_in_a_folder_with_a_sticky_bit_is_run(tmp_path: Path) -> None:
    tmp_path.chmod(0o1777)
    assert CommandWrap(KeyService(tmp_path).command).wrap(bytes(32), b"aad")


def test_a_command_at_the_end_of_a_ring_of_links_is_none(tmp_path: Path) -> None:
    (tmp_path / "a").symlink_to("b")
    (tmp_path / "b").symlink_to("../" + tmp_path.name + "/a")
    with pytest.raises(HomeUnusable):
        CommandWrap(tmp_path / "a")


def test_a_service_is_asked_once_for_each_subject_and_process(
    open_house: Callable[..., House], service: KeyService
) -> None:
    house = open_house()
    first = refunded(house)
    refunded(house, order="A-2")
    assert service.asked == 1
    refunded(house, BEN)
    assert service.asked == 2
    house.home.close()
    again = open_house(None)
    assert again.view(first)["result"] == {"order": "A-1"}
    refunded(again, order="A-3")
    assert service.asked == 3


def test_while_the_service_is_down_a_proposal_is_refused_whole(
    open_house: Callable[..., House], service: KeyService
) -> None:
    house = open_house()
    known = refunded(house)
    before = {t.name: house.sql(f"SELECT count(*) FROM {t.name}") for t in metadata.sorted_tables}
    service.stop()
    with pytest.raises(KeysUnavailable) as refused:
        house.propose(args={**REFUND, "order_id": "X"}, principal=BEN)
    assert refused.value.status == 503
    assert before == {t.name: house.sql(f"SELECT count(*) FROM {t.name}") for t in metadata.sorted_tables}
    assert house.view(known)["args"]["order_id"] == "A-1"
    assert refunded(house, order="A-2")
    erase(house)
    service.start()
    assert house.propose(args={**REFUND, "order_id": "X"}, principal=BEN).created


async def _together(house: House, principals: list[str]) -> list[Any]:
    proposals = [
        Proposal("pay.refund", {**REFUND, "order_id": p, "amount_usd": "5.00"}, p) for p in principals
    ]
    return list(await asyncio.gather(*(house.gate.propose_async(one, agent()) for one in proposals)))


def test_many_new_subjects_at_once_each_get_their_key(
    open_house: Callable[..., House], service: KeyService
) -> None:
    house = open_house()
    principals = [f"{n % 4}@example.com" for n in range(8)]
    proposed = asyncio.run(_together(house, principals))
    assert sum(one.created for one in proposed) == 4
    assert len({one.action.id for one in proposed}) == 4  # the others attached to an equal one that is open
    assert len(house.sql("SELECT id FROM subjects")) == 4
    assert 4 <= service.asked <= 8


def test_without_the_service_that_wrapped_a_key_the_home_says_what_is_missing(
    open_house: Callable[..., House], service: KeyService, monkeypatch: pytest.MonkeyPatch
) -> None:
    house = open_house()
    action = refunded(house)
    house.home.close()
    monkeypatch.delenv(VARIABLE)
    other = open_house(None)
    with pytest.raises(HomeUnusable, match=VARIABLE):
        other.view(action)
    with pytest.raises(HomeUnusable, match=VARIABLE):
        refunded(other, order="A-2")
    assert refunded(other, BEN)
    monkeypatch.setenv(VARIABLE, f"command:{service.command}")
    both = open_house(None)
    assert both.view(action)["args"]["order_id"] == "A-1"


# --- remote and local --------------------------------------------------------------------------------------


def test_a_home_opened_by_another_process_sees_the_erasure_at_once(open_house: Callable[..., House]) -> None:
    one, two = open_house(), open_house(None)
    action = refunded(one)
    assert two.view(action)["args"]["order_id"] == "A-1"
    erase(two)
    assert one.view(action)["erased"]
    assert refunded(one, order="A-2")
    assert one.view(action)["erased"]


def test_listing_tells_names_only_where_it_is_asked_to(house: House) -> None:
    refunded(house)
    refunded(house, None, "N-1")
    refunded(house, BEN)
    erase(house, BEN)
    plain = house.home.eraser.subjects()
    assert [one.name for one in plain] == [None, None]
    assert {(one.name, one.payloads) for one in house.home.eraser.subjects(names=True)} == {
        (ANA, 2),
        ("agent:support", 2),
    }


def test_a_policy_that_changes_after_an_erasure_redecides_what_is_open_and_stumbles_over_nothing(
    house: House,
) -> None:
    refunded(house)
    waiting = held(house, BEN)
    erase(house)
    house.activate(POLICY.replace("args.amount_usd < 100", "args.amount_usd < 50"))
    assert house.state(waiting) == "held"
    assert (house.home.path / "ledger" / "erased").exists()
