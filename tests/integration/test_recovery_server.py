"""Recovery as people meet it: a server that starts and refuses, two keys, the command line, and a kill."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_command import run

import interlock
from house import POLICY, REFUND, House
from interlock.home import Home
from interlock.identity import KeyKind, Role
from interlock.model.errors import RecoveryRequired
from interlock.verify import verify_export
from restored import Backup, flag, of_kind, shut
from server_process import ServerProcess, opened
from waiting import wait_for
from witness_process import WitnessProcess, policy


@dataclass
class Restored:
    """A home whose database was put back, and keys of those who may do something about it."""

    home: Path
    keys: dict[str, str]
    action: str

    def client(self, url: str, name: str) -> httpx.Client:
        return httpx.Client(
            base_url=url,
            headers={"authorization": f"Bearer {self.keys[name]}"},
            trust_env=False,
            timeout=30,
        )


@pytest.fixture
def restored(tmp_path: Path) -> Restored:
    folder = tmp_path / "home"
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    with opened(folder, tmp_path / "policy.yaml") as home:
        house, keys = House(home), {}
        for name, role in (("Ann", Role.OPERATOR), ("Bob", Role.POLICY_ADMIN)):
            person = house.person(name, role, Role.REVIEWER)
            keys[name] = home.keyring.add(KeyKind.PERSON, name, person=person, by="test")[1]
        keys["support"] = home.keyring.add(KeyKind.AGENT, "support", topics=["**"], by="test")[1]
        action = house.held()
        home.publisher.publish()
        saved = Backup(house, tmp_path)
        house.held(args={**REFUND, "order_id": "lost"})
    saved.put_back()
    return Restored(folder, keys, action)


def asked(client: httpx.Client, path: str, body: Any = None) -> tuple[int, dict[str, Any]]:
    response = client.get(path) if body is None else client.post(path, json=body)
    return response.status_code, response.json()


def refund(order: str) -> dict[str, Any]:
    return {"topic": "pay.refund", "args": {**REFUND, "order_id": order}}


def test_a_server_starts_in_recovery_and_goes_on_when_two_people_agreed(restored: Restored) -> None:
    with ServerProcess(restored.home) as server:
        ann, bob, agent = (restored.client(server.url, name) for name in ("Ann", "Bob", "support"))
        status, problem = asked(ann, "/readyz")
        assert (status, problem["type"]) == (503, "urn:interlock:problem:recovery-required")
        assert problem["seen"] > problem["kept"]
        assert "interlock ledger recover" in problem["fix"]
        assert asked(ann, "/healthz")[0] == 200
        assert asked(ann, "/v1/approvals")[1]["counts"]["held"] == 1
        for client, path, body in (
            (agent, "/v1/actions", refund("new")),
            (agent, f"/v1/actions/{restored.action}/withdraw", {}),
            (ann, f"/v1/actions/{restored.action}/reconcile", {"outcome": "failed", "note": "no"}),
        ):
            status, problem = asked(client, path, body)
            assert (status, problem["type"]) == (503, "urn:interlock:problem:recovery-required"), path
        assert asked(agent, "/v1/recovery")[0] == 403
        assert asked(agent, "/v1/recovery/agree", {"gap": "0" * 64, "reason": "go"})[0] == 403
        assert asked(server_stranger(server), "/v1/recovery")[0] == 401
        status, shown = asked(ann, "/v1/recovery")
        assert (status, shown["required"], shown["agreement"]["needed"]) == (200, True, 2)
        agreement = {"gap": shown["gap"], "reason": "restored the backup of noon"}
        assert asked(ann, "/v1/recovery/agree", agreement)[1]["opened"] is None
        assert asked(ann, "/v1/recovery/agree", agreement)[1]["opened"] is None
        status, problem = asked(bob, "/v1/recovery/agree", {**agreement, "gap": "0" * 64})
        assert (status, problem["current"]) == (409, shown["gap"])
        status, answer = asked(bob, "/v1/recovery/agree", agreement)
        assert (status, answer["opened"]) == (200, {"epoch": 2, "in_doubt": 1, "states": {"held": 1}})
        wait_for(lambda: asked(ann, "/readyz")[0] == 200)  # what was decided is carried out again
        assert asked(ann, "/v1/recovery")[1] == {"required": False}
        assert asked(ann, "/v1/recovery/agree", agreement)[0] == 409
        assert asked(agent, f"/v1/actions/{restored.action}")[1]["state"] == "in_doubt"
        status, settled = asked(
            ann,
            f"/v1/actions/{restored.action}/reconcile",
            {"outcome": "failed", "note": "The bank has none."},
        )
        assert (status, settled["state"]) == (200, "failed")
        assert asked(agent, "/v1/actions", refund("after"))[0] == 202
    assert not (restored.home / "ledger" / "recovery.json").exists()
    assert (restored.home / "ledger" / "recovered" / "001.json").exists()


def server_stranger(server: ServerProcess) -> httpx.Client:
    return httpx.Client(base_url=server.url, trust_env=False, timeout=30)


def test_a_server_on_a_home_that_needs_no_recovery_says_so(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    with opened(tmp_path / "home", tmp_path / "policy.yaml") as home:
        key = home.keyring.add(KeyKind.PERSON, "Ann", person=House(home).person("Ann"), by="test")[1]
    with ServerProcess(tmp_path / "home") as server:
        client = httpx.Client(
            base_url=server.url, headers={"authorization": f"Bearer {key}"}, trust_env=False
        )
        assert asked(client, "/v1/recovery") == (200, {"required": False})
        assert asked(client, "/v1/recovery/agree", {"gap": "0" * 64, "reason": "why not"})[0] == 409


def test_the_command_line_shows_it_and_two_keys_open_the_epoch(restored: Restored, tmp_path: Path) -> None:
    home = str(restored.home)
    refused = run(tmp_path, "keys", "list", "--home", home)
    assert refused.code == 7
    assert "interlock ledger recover" in refused.err
    shown = run(tmp_path, "ledger", "recover", "--home", home)
    assert shown.code == 0, shown.err
    for words in ("Missing entries: 1 at least", restored.action, "2 of these agree", "Ann", "Bob"):
        assert words in shown.out, words
    assert run(tmp_path, "ledger", "recover", "--home", home, "--yes").code == 2
    assert run(tmp_path, "ledger", "recover", "--home", home, "--yes", "--reason", "mine").code == 4
    made = run(tmp_path, "ledger", "recover", "--home", home, "--key-for", "Bob", "--json")
    assert made.code == 0, made.err
    with ServerProcess(restored.home) as server:
        ann, bob = {"INTERLOCK_KEY": restored.keys["Ann"]}, {"INTERLOCK_KEY": made.json["token"]}
        at = ("--url", server.url)
        seen = run(tmp_path, "ledger", "recover", *at, "--json", env=ann).json
        agree = ("ledger", "recover", *at, "--agree", "--reason", "restored")
        assert run(tmp_path, *agree, env=ann).code == 2  # nobody can be asked here
        assert run(tmp_path, *agree, "--gap", "0" * 64, env=ann).code == 4
        first = run(tmp_path, *agree, "--gap", seen["gap"], env=ann)
        assert (first.code, "Agreed: Ann (1 of 2)" in first.out) == (0, True), first.out + first.err
        second = run(tmp_path, *agree, "--gap", seen["gap"], env=bob)
        assert (second.code, "Epoch 2 of the ledger is open." in second.out) == (0, True), second.err
        again = run(tmp_path, *agree, env=bob)
        assert (again.code, "needs no recovery" in again.out) == (0, True)
    with opened(restored.home) as inside:
        (entry,) = (e for e in of_kind(House(inside), "key.added") if e["by"] == "recovery")
    assert entry["key"] == made.json["key"]["id"]
    assert run(tmp_path, "ledger", "recover", "--home", home, "--key-for", "Bob").code == 4


def test_an_embedded_home_is_recovered_by_whoever_has_its_files(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    with opened(tmp_path / "home", tmp_path / "policy.yaml") as home:
        house = House(home)
        saved = Backup(house, tmp_path)
        house.held()
    saved.put_back()
    with pytest.raises(RecoveryRequired, match="interlock ledger recover"):
        interlock.Gate.open(tmp_path / "policy.yaml", home=tmp_path / "home")
    at = ("ledger", "recover", "--home", str(tmp_path / "home"))
    shown = run(tmp_path, *at, "--json")
    assert (shown.json["required"], shown.json["agreement"]["needed"]) == (True, 0)
    opened_ = run(tmp_path, *at, "--yes", "--reason", "a new disk", "--json")
    assert opened_.json == {"epoch": 2, "in_doubt": 0, "states": {}}
    assert run(tmp_path, *at, "--json").json == {"required": False}
    interlock.Gate.open(tmp_path / "policy.yaml", home=tmp_path / "home").close()


def test_two_keys_dismiss_a_false_alarm_on_the_command_line_while_the_server_runs(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    folder, keys = tmp_path / "home", {}
    with opened(folder, tmp_path / "policy.yaml") as home:
        house = House(home)
        for name, role in (("Ann", Role.OPERATOR), ("Bob", Role.POLICY_ADMIN)):
            person = house.person(name, role, Role.REVIEWER)
            keys[name] = {"INTERLOCK_KEY": home.keyring.add(KeyKind.PERSON, name, person=person, by="t")[1]}
        action = house.held()
    with ServerProcess(folder) as server:
        stranger = server_stranger(server)
        server.ready()
        assert asked(stranger, "/readyz")[1]["ledger"] == "signed"
        house.sql("UPDATE head SET stopped = 1")
        wait_for(lambda: asked(stranger, "/readyz")[0] == 503)
        at = ("--url", server.url)
        shown = run(tmp_path, "ledger", "recover", *at, env=keys["Ann"])
        assert "--agree --dismiss" in shown.out
        assert run(tmp_path, "ledger", "recover", *at, "--dismiss", env=keys["Ann"]).code == 2
        gaps = run(tmp_path, "ledger", "recover", *at, "--json", env=keys["Ann"]).json
        agree = ("ledger", "recover", *at, "--agree", "--dismiss", "--reason", "nobody lost anything")
        wrong = run(tmp_path, *agree, "--gap", gaps["gap"], env=keys["Ann"])
        assert wrong.code == 4
        digest = gaps["dismissal"]["gap"]
        first = run(tmp_path, *agree, "--gap", digest, env=keys["Ann"])
        assert (first.code, "Agreed: Ann (1 of 2)" in first.out) == (0, True), first.out + first.err
        assert run(tmp_path, *agree, "--gap", digest, env=keys["Ann"]).code == 0
        assert asked(stranger, "/readyz")[0] == 503
        second = run(tmp_path, *agree, "--gap", digest, env=keys["Bob"])
        assert (second.code, "The recovery is dismissed" in second.out) == (0, True), second.out + second.err
        wait_for(lambda: asked(stranger, "/readyz")[0] == 200)
        assert (flag(house), server.stop()) == (0, 0)
    with opened(folder) as home:
        assert House(home).state(action) == "held"
        (entry,) = of_kind(House(home), "ledger.recovery_dismissed")
        assert len(entry["people"]) == 2


KILLED = """
import os, sys
from pathlib import Path
from interlock.home import Home
from interlock.home.publisher import Publisher
from interlock.home.recovery import Recovery
from interlock.journal import Journal

home, step = Path(sys.argv[1]), sys.argv[2]
owner, name = {"record": (Recovery, "_note"), "halt": (Journal, "halt"), "commit": (Journal, "recover"),
               "publish": (Publisher, "publish"), "end": (Recovery, "_end")}[step.split("-")[1]]
real = getattr(owner, name)

def dying(*args, **rest):
    if step.startswith("before"):
        os._exit(9)
    real(*args, **rest)
    os._exit(9)

setattr(owner, name, dying)
opened = Home.open(home, recovering=True)
opened.recovery.open_alone(opened.recovery.situation().digest, "restored")
os._exit(0)
"""


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("step", ["record", "halt", "commit", "publish", "end"])
def test_killed_at_any_step_it_is_recovered_by_the_next_start(tmp_path: Path, when: str, step: str) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    folder = tmp_path / "home"
    with opened(folder, tmp_path / "policy.yaml") as home:
        house = House(home)
        action = house.held()
        saved = Backup(house, tmp_path)
        house.held(args={**REFUND, "order_id": "lost"})
    saved.put_back()
    died = subprocess.run(
        [sys.executable, "-c", KILLED, str(folder), f"{when}-{step}"],
        capture_output=True,
        check=False,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    assert died.returncode == 9, died.stderr.decode()
    home = Home.open(folder, recovering=True)
    house = House(home)
    if home.recovery.required is not None:
        assert flag(house) == 1
        assert house.state(action) == "held"
        home.recovery.open_alone(home.recovery.situation().digest, "restored")
    assert (flag(house), house.state(action)) == (0, "in_doubt")
    assert len(of_kind(house, "ledger.epoch_opened")) == 1
    house.held(args={**REFUND, "order_id": "after"})
    home.close()
    assert home.publisher.handover(0) is not None
    assert not (folder / "ledger" / "recovery.json").exists()
    with opened(folder) as home:
        home.publisher.export(tmp_path / "export")
    assert verify_export(tmp_path / "export").problems == ()


def test_a_machine_that_was_put_back_with_its_ledger_folder_is_told_by_a_witness(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY, encoding="utf-8")
    folder, copy = tmp_path / "home", tmp_path / "copy"
    with opened(folder, tmp_path / "policy.yaml") as home:
        vkey, action = home.publisher.vkey, House(home).held()
    subprocess.run(["cp", "-a", str(folder), str(copy)], check=True)
    with WitnessProcess(tmp_path / "w", "w.example/1", vkey) as witness:
        for each in (folder, copy):
            (each / "ledger" / "witnesses").write_bytes(policy(vkey, witness))
        with opened(folder) as home:
            for number in range(3):
                House(home).held(args={**REFUND, "order_id": f"lost-{number}"})
            home.witnesses.gather(patient=True)
            assert home.witnesses.standing().reached
        home = Home.open(copy)  # nothing here tells that anything is missing
        assert home.recovery.required is None
        house = House(home)
        home.witnesses.gather(patient=True)
        assert home.recovery.required is not None
        assert "w.example/1" in home.recovery.required.detail
        assert flag(house) == 1
        shut(house)
        home = Home.open(copy, recovering=True)
        house = House(home)
        assert home.recovery.situation().gap.seen > home.recovery.situation().gap.kept
        home.recovery.open_alone(home.recovery.situation().digest, "the machine was restored")
        assert house.state(action) == "in_doubt"
        home.close()
