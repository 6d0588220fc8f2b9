"""A gate at a server: the same methods, and no way around it for whoever only holds a key."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from decimal import Decimal
from functools import partial
from pathlib import Path
from typing import Any

import httpx
import pytest

from house import BOTH, POLICY, House
from interlock import Denied, Gate, Held, NoEffect
from interlock.client.embedded import Embedded
from interlock.dispatch import call
from interlock.gate import Answer, HumanDecision, ReasonCode, Report, Scope
from interlock.gate.telling import Event
from interlock.identity import KeyKind, Person
from interlock.model.actions import ActionState
from interlock.model.errors import (
    ConstraintBreached,
    ConstraintUnenforceable,
    Forbidden,
    InDoubt,
    InterlockError,
    InvalidInput,
    NotClaimable,
    NotFound,
    StaleClaim,
    TooLarge,
    Unauthenticated,
    Unavailable,
)
from lossy_proxy import lossy
from server_process import ServerProcess
from waiting import wait_for

DATABASES = BOTH
AGENT_PROGRAM = Path(__file__).parents[1] / "connected_agent.py"
RULES = f"""{POLICY}
  - id: brief
    match: {{topics: [tools.brief]}}
    decision: allow_with_constraints
    constraints: {{max_runtime_sec: 5}}
  - id: little
    match: {{topics: [tools.pay]}}
    decision: allow_with_constraints
    constraints: {{max_amount_usd: 10}}
  - {{id: free, match: {{topics: [tools.free]}}, decision: allow}}
"""


class Site:
    """A server on a home that this process has open as well, and keys for it."""

    def __init__(self, house: House, server: ServerProcess, tmp_path: Path) -> None:
        self.house = house
        self.url = server.url
        self.effects = tmp_path / "effects"
        self.effects.touch()
        self.key = self.add_key("shop")
        self.ben: Person = house.person("Ben")
        self.opened = ExitStack()

    def add_key(self, name: str, kind: KeyKind = KeyKind.ADAPTER, topics: tuple[str, ...] = ("*",)) -> str:
        return self.house.home.keyring.add(kind, name, topics=topics, by="test")[1]

    def connect(self, key: str | None = None, url: str | None = None) -> Gate:
        return self.opened.enter_context(Gate.connect(url or self.url, key=key or self.key))

    def shop(self, gate: Gate) -> Callable[..., dict[str, Any]]:
        """The guarded refund; each effect is one line in the file."""

        @gate.guard("pay.refund")
        def refund(order_id: str, amount_usd: Decimal, recipient: str) -> dict[str, Any]:
            with self.effects.open("a") as effects:
                effects.write(f"{order_id} {amount_usd} {recipient}\n")
            return {"refunded": str(amount_usd)}

        return refund

    def ran(self) -> list[str]:
        return self.effects.read_text().splitlines()

    def state(self, action_id: str) -> str:
        return str(self.house.home.views.action(action_id, self.ben.caller)["state"])

    def answer(self, action_id: str, answer: Answer = Answer.APPROVE, **rest: Any) -> None:
        shown = self.house.home.views.action(action_id, self.ben.caller)["approval"]
        if answer is Answer.REJECT:
            rest.setdefault("reason_code", ReasonCode.OTHER)
        decision = HumanDecision(answer, shown["review_hash"], **rest)
        self.house.gate.decide(shown["id"], self.ben.caller, decision)

    def program(self, *command: str) -> subprocess.Popen[str]:
        env = {**os.environ, "INTERLOCK_URL": self.url, "INTERLOCK_KEY": self.key}
        env |= {"EFFECTS": str(self.effects), "PYTHONPATH": str(Path(__file__).parents[2] / "src")}
        return subprocess.Popen(
            [sys.executable, str(AGENT_PROGRAM), *command], env=env, stdout=subprocess.PIPE, text=True
        )

    def said(self, *command: str) -> str:
        return self.program(*command).communicate(timeout=60)[0].strip()


@pytest.fixture
def site(open_house: Callable[..., House], tmp_path: Path) -> Iterator[Site]:
    house = open_house(RULES)
    policy = tmp_path / "policy.yaml"
    policy.write_text(RULES, encoding="utf-8")
    options = () if house.url is None else ("--database", house.url)
    with ServerProcess(house.home.path, policy, options=options) as server:
        server.ready()
        made = Site(house, server, tmp_path)
        with made.opened:
            yield made


def test_what_one_process_proposed_and_another_decided_runs_once_in_a_third(site: Site) -> None:
    action_id = site.said("refund", "A-12", "500.00")
    assert action_id.startswith("act_")
    assert site.said("resume", action_id) == action_id  # held, and said again
    site.answer(action_id)
    assert site.said("resume", action_id) == '{"refunded": "500.00"}'
    assert site.said("resume", action_id) == '{"refunded": "500.00"}'
    assert site.ran() == ["A-12 500.00 acme"]
    assert site.connect().checkpoint(action_id) == b"thread-7"


def test_of_many_that_resume_at_once_one_runs(site: Site) -> None:
    gates = [site.connect() for _ in range(4)]
    for gate in gates:
        site.shop(gate)
    with pytest.raises(Held) as held:
        gates[0].call("pay.refund", _refund("A-1"), lambda **_: None)
    site.answer(held.value.action_id)

    def resume(gate: Gate) -> str:
        try:
            gate.resume(held.value.action_id)
        except NotClaimable:
            return "refused"
        return "ran or read"

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(resume, gates))
    assert len(site.ran()) == 1


def test_a_process_that_is_killed_inside_the_effect_leaves_it_in_doubt(site: Site) -> None:
    action_id = site.said("refund", "A-12", "500.00")
    site.answer(action_id)
    process = site.program("hang", action_id)
    assert process.stdout is not None
    assert process.stdout.readline() == "inside\n"
    process.kill()
    process.communicate()
    gate = site.connect()
    site.shop(gate)
    with pytest.raises(NotClaimable):
        gate.resume(action_id)
    wait_for(lambda: site.state(action_id) == "in_doubt", within=40)
    with pytest.raises(InDoubt):
        gate.resume(action_id)
    assert len(site.ran()) == 1


@pytest.mark.parametrize("path", ["/actions", "/claim", "/renew", "/outcome"])
def test_where_an_answer_is_lost_it_still_runs_once(site: Site, path: str) -> None:
    with lossy(site.url) as proxy:
        gate = site.connect(url=proxy.url)
        refund = site.shop(gate)
        proxy.losing(path, 2)
        if path == "/claim":  # what is allowed at once is claimed with its proposal
            action = gate.propose("pay.refund", _refund("A-1", "5.00"))
            assert gate.resume(action["id"]) == {"refunded": "5.00"}
        else:
            assert refund("A-1", Decimal("5"), "acme") == {"refunded": "5.00"}
        assert proxy.lose == 0
    assert site.ran() == ["A-1 5.00 acme"]
    (claimed,) = [entry for entry in site.house.entries() if '"kind":"action.claimed"' in entry]
    assert '"epoch":1' in claimed


def test_a_proposal_whose_answer_never_comes_runs_nothing(site: Site) -> None:
    with lossy(site.url) as proxy:
        gate = site.connect(url=proxy.url)
        refund = site.shop(gate)
        gate._backend.server.post = partial(gate._backend.server.post, patience=1.0)  # type: ignore[attr-defined]
        proxy.losing("/actions", 1_000)
        with pytest.raises(Unavailable):
            refund("A-1", Decimal("5"), "acme")
    assert site.ran() == []


def test_two_equal_calls_share_what_is_open_and_not_what_has_ended(site: Site) -> None:
    gate = site.connect()
    refund = site.shop(gate)
    with pytest.raises(Held) as first:
        refund("A-1", Decimal("500"), "acme")
    with pytest.raises(Held) as second:
        refund("A-1", Decimal("500"), "acme")
    assert first.value.action_id == second.value.action_id
    refund("A-2", Decimal("5"), "acme")
    refund("A-2", Decimal("5"), "acme")
    assert site.ran() == ["A-2 5.00 acme"] * 2


def test_an_agents_key_proposes_and_runs_nothing(site: Site) -> None:
    gate = site.connect(site.add_key("shop", KeyKind.AGENT))
    refund = site.shop(gate)
    with pytest.raises(Forbidden, match="adapter"):
        refund("A-1", Decimal("5"), "acme")
    (action,) = site.house.home.views.actions(ActionState.ALLOWED)["items"]
    with httpx.Client(
        base_url=site.url, headers={"authorization": f"Bearer {site.add_key('shop', KeyKind.AGENT)}"}
    ) as client:
        for path, body in [
            ("claim", {"claim": "x" * 32}),
            ("renew", {"claim": "x" * 32, "epoch": 1}),
            ("outcome", {"claim": "x" * 32, "epoch": 1, "outcome": "succeeded", "note": "done"}),
        ]:
            assert client.post(f"/v1/actions/{action['id']}/{path}", json=body).status_code == 403
        tagged = {"topic": "orders.get", "args": {"order_id": "1"}, "tags": []}
        assert client.post("/v1/actions", json=tagged).status_code == 403
    assert site.ran() == []


def test_another_adapters_key_sees_and_claims_nothing(site: Site) -> None:
    action = site.connect().propose("pay.refund", _refund("A-1", "5.00"))
    for other in (
        site.connect(site.add_key("other")),
        site.connect(site.add_key("shop", topics=("orders.*",))),
    ):
        with pytest.raises(NotFound):
            other.run(action["id"], lambda **_: None)
        with pytest.raises(NotFound):
            other._backend.claim(action["id"], print)
    assert site.state(action["id"]) == "allowed"


def test_a_claim_is_its_holders_alone(site: Site) -> None:
    action = site.connect().propose("pay.refund", _refund("A-1", "5.00"))
    second = site.add_key("shop")
    path = f"/v1/actions/{action['id']}"
    with (
        httpx.Client(base_url=site.url, headers={"authorization": f"Bearer {site.key}"}) as mine,
        httpx.Client(base_url=site.url, headers={"authorization": f"Bearer {second}"}) as theirs,
    ):
        token = "t" * 32
        first = mine.post(f"{path}/claim", json={"claim": token})
        assert first.json() == {**mine.post(f"{path}/claim", json={"claim": token}).json()}
        assert mine.post(f"{path}/claim", json={"claim": "u" * 32}).status_code == 409
        assert theirs.post(f"{path}/claim", json={"claim": token}).status_code == 409
        said = {"claim": token, "epoch": 1, "outcome": "succeeded", "note": "done"}
        assert theirs.post(f"{path}/outcome", json=said).status_code == 409
        assert mine.post(f"{path}/outcome", json={**said, "claim": "u" * 32}).status_code == 409
        assert mine.post(f"{path}/outcome", json={**said, "epoch": 2}).status_code == 409
        assert mine.post(f"{path}/outcome", json=said).status_code == 200
        assert mine.post(f"{path}/outcome", json=said).status_code == 200
        contradiction = mine.post(f"{path}/outcome", json={**said, "outcome": "failed"})
        assert contradiction.status_code == 409
        assert mine.post(f"{path}/claim", json={"claim": token}).status_code == 409
    assert token not in "".join(site.house.entries())


def test_a_revoked_key_neither_claims_nor_reports(site: Site) -> None:
    gate = site.connect()
    action = gate.propose("pay.refund", _refund("A-1", "5.00"))

    def revoked(**_: Any) -> None:
        (key,) = [key for key in site.house.home.keyring.all() if key.name == "shop"]
        site.house.home.keyring.revoke(key.id, by="test")

    with pytest.raises(Unauthenticated):
        gate.run(action["id"], revoked)
    assert site.state(action["id"]) == "executing"


def test_a_kill_switch_between_claim_and_call_lets_nothing_begin(site: Site) -> None:
    gate = site.connect()
    action = gate.propose("pay.refund", _refund("A-1", "5.00"))
    execution = gate._backend.claim(action["id"], print)
    site.house.home.kill_switches.engage(Scope.ALL, None, "smoke", by="test")

    with pytest.raises(NotClaimable, match="kill switch"):
        call(execution, lambda **_: pytest.fail("it ran"))
    assert site.state(action["id"]) == "failed"


def test_a_claim_that_lapsed_lets_nothing_begin(site: Site) -> None:
    gate = site.connect()
    action = gate.propose("pay.refund", _refund("A-1", "5.00"))
    execution = gate._backend.claim(action["id"], print)
    wait_for(lambda: site.state(action["id"]) == "in_doubt", within=40)

    with pytest.raises(NotClaimable, match="no more"):
        call(execution, lambda **_: pytest.fail("it ran"))


def test_outcomes_are_what_they_are_embedded(site: Site) -> None:
    gate = site.connect()

    def fails(**_: Any) -> None:
        raise ValueError("secret words")

    def nothing(**_: Any) -> None:
        raise NoEffect("the order is gone")

    first = gate.propose("pay.refund", _refund("A-1", "5.00"))
    with pytest.raises(ValueError, match="secret words"):
        gate.run(first["id"], fails)
    assert site.state(first["id"]) == "in_doubt"
    second = gate.propose("pay.refund", _refund("A-2", "5.00"))
    with pytest.raises(NoEffect):
        gate.run(second["id"], nothing)
    assert site.state(second["id"]) == "failed"
    gate.register("tools.free")
    third = gate.propose("tools.free", {})
    assert len(gate.run(third["id"], lambda: "x" * (2 << 20))) == 2 << 20
    assert gate.action(third["id"])["state"] == "succeeded"
    assert gate.run(third["id"], lambda: pytest.fail("it ran twice")) is None


def test_what_runs_has_the_types_that_it_has_embedded(site: Site) -> None:
    gate, args = site.connect(), {"n": 7, "x": 0.25, "t": "é", "l": [1, None, {"deep": 1.5}], "b": True}
    embedded = Gate(Embedded(site.house.home, "shop"), session=None, principal=None)
    for one in (gate, embedded):
        one.register("tools.free")
    found = [
        one.call("tools.free", args, lambda **given: given, call_id=str(n))
        for n, one in enumerate((gate, embedded))
    ]
    assert found == [args, args]
    types = {name: type(value) for name, value in args.items()}
    assert [{name: type(value) for name, value in one.items()} for one in found] == [types, types]
    state = b"\0" * (1 << 20)
    action = gate.propose("tools.free", {"big": "x" * 900_000}, checkpoint=state)
    assert gate.checkpoint(action["id"]) == state
    with pytest.raises(TooLarge):
        gate.propose("tools.free", {"big": "x" * (1 << 20)})


def test_constraints_hold_or_nothing_runs(site: Site) -> None:
    gate = site.connect()
    gate.register("tools.brief")
    gate.register("tools.pay")
    with pytest.raises(ConstraintUnenforceable):
        gate.propose("tools.brief", {})
    with pytest.raises(ConstraintBreached, match="the limit is"):
        gate.call("tools.pay", {"amount_usd": "11"}, lambda **_: pytest.fail("it ran"))
    assert gate.call("tools.pay", {"amount_usd": "9"}, lambda amount_usd: amount_usd) == "9"


def test_a_call_that_waits_goes_on_when_somebody_decides(site: Site) -> None:
    gate = site.connect()
    seen: list[Event] = []
    gate.on_decided(seen.append)

    def decide() -> None:
        wait_for(lambda: bool(site.house.home.views.approvals("held")["items"]))
        (held,) = site.house.home.views.approvals("held")["items"]
        site.answer(held["action_id"])

    person = threading.Thread(target=decide)
    person.start()
    assert (
        gate.call("pay.refund", _refund("A-1"), lambda **args: str(args["amount_usd"]), wait=30) == "500.00"
    )
    person.join()
    wait_for(lambda: [event.type for event in seen] == ["action.approved", "action.succeeded"])


def test_a_rejection_says_why(site: Site) -> None:
    gate = site.connect()
    with pytest.raises(Held) as held:
        gate.call("pay.refund", _refund("A-1"), lambda **_: None)
    site.answer(held.value.action_id, Answer.REJECT, note="Ask the customer first.")
    with pytest.raises(Denied) as denied:
        gate.resume(held.value.action_id)
    assert denied.value.note == "Ask the customer first."


def test_a_worker_runs_what_others_left(site: Site) -> None:
    action_id = site.said("refund", "A-12", "500.00")
    site.answer(action_id)
    gate = site.connect()
    site.shop(gate)
    told: list[dict[str, Any]] = []
    events: list[Event] = []
    gate.on_decided(events.append)
    gate.work(threading.Event(), once=True, tell=told.append)
    assert [event["event"] for event in told] == ["running", "ended"]
    assert site.ran() == ["A-12 500.00 acme"]
    assert [event.type for event in events] == ["action.succeeded"]


def test_the_worker_command_carries_on_for_processes_that_are_gone(site: Site, tmp_path: Path) -> None:
    (tmp_path / "shop.py").write_text(
        "from decimal import Decimal\n"
        "from pathlib import Path\n"
        "from interlock import Gate\n"
        "gate = Gate.connect()\n"
        "@gate.guard('pay.refund')\n"
        "def refund(order_id: str, amount_usd: Decimal, recipient: str) -> str:\n"
        f"    with Path({str(site.effects)!r}).open('a') as effects:\n"
        "        effects.write(order_id + chr(10))\n"
        "    return order_id\n"
    )
    env = {**os.environ, "INTERLOCK_URL": site.url, "INTERLOCK_KEY": site.key}
    command = [sys.executable, "-m", "interlock.cli", "worker", "shop:gate", "--app-dir", str(tmp_path)]
    worker = subprocess.Popen(command, env=env, stdout=subprocess.PIPE, text=True)
    try:
        assert worker.stdout is not None
        assert "Works for pay.refund" in worker.stdout.readline()
        action_id = site.said("refund", "A-12", "500.00")
        site.answer(action_id)
        wait_for(lambda: site.state(action_id) == "succeeded")
        worker.terminate()
        assert worker.wait(30) == 0
    finally:
        worker.kill()
    assert site.ran() == ["A-12"]


def test_a_key_is_refused_and_never_shown(site: Site, tmp_path: Path) -> None:
    wrong = site.key[:-4] + "abcd"
    with pytest.raises(Unauthenticated) as refused:
        Gate.connect(site.url, key=wrong)
    assert wrong not in str(refused.value)
    with pytest.raises(Unauthenticated) as malformed:
        Gate.connect(site.url, key="my secret")
    assert "my secret" not in str(malformed.value)
    with pytest.raises(Forbidden, match="a person"):
        Gate.connect(
            site.url, key=site.house.home.keyring.add(KeyKind.PERSON, "Ben", person=site.ben, by="t")[1]
        )
    assert site.key not in (site.house.home.path / "server.log").read_text()
    assert site.key not in repr(vars(site.connect()._backend))


@pytest.mark.parametrize(
    ("url", "refusal"),
    [
        ("http://interlock.example:8420", InvalidInput),
        ("ftp://localhost", InvalidInput),
        ("", InvalidInput),
        ("http://user:secret@localhost:1", InvalidInput),
        ("http://localhost:9", Unavailable),
    ],
)
def test_an_address_that_is_none_is_refused(url: str, refusal: type[InterlockError], database: str) -> None:
    if database == "sqlite":
        with pytest.raises(refusal) as refused:
            Gate.connect(url, key="ilk_adapter_" + "0" * 32 + "." + "A" * 43)
        assert "secret" not in str(refused.value)


def test_a_late_report_of_the_holder_settles_and_a_strangers_does_not(site: Site) -> None:
    gate = site.connect()
    action = gate.propose("pay.refund", _refund("A-1", "5.00"))
    execution = gate._backend.claim(action["id"], print)
    wait_for(lambda: site.state(action["id"]) == "in_doubt", within=40)

    stranger = gate._backend
    with pytest.raises((StaleClaim, NotClaimable, InDoubt)):
        stranger.claim(action["id"], print)
    execution.settle(Report(ActionState.SUCCEEDED, "It returned.", {"late": True}))
    assert gate.resume(action["id"]) == {"late": True}


def test_a_narrow_key_hears_of_its_topics_alone(site: Site) -> None:
    site.shop(site.connect())("A-1", Decimal("5"), "acme")
    wide = {"authorization": f"Bearer {site.key}"}
    narrow = {"authorization": f"Bearer {site.add_key('shop', topics=('orders.*',))}"}
    person = {
        "authorization": "Bearer "
        + site.house.home.keyring.add(KeyKind.PERSON, "Ben", person=site.ben, by="test")[1]
    }
    with httpx.Client(base_url=site.url) as client:
        heard = [client.get("/v1/news?after=0", headers=key).json()["items"] for key in (wide, narrow)]
        assert [[event["type"] for event in events] for events in heard] == [["action.succeeded"], []]
        assert client.get("/v1/news", headers=person).status_code == 403
        site.connect().propose("pay.refund", _refund("A-2", "5.00"))
        ready = {"topics": ["pay.refund"]}
        assert len(client.post("/v1/actions/ready", json=ready, headers=wide).json()["items"]) == 1
        assert client.post("/v1/actions/ready", json=ready, headers=narrow).json() == {
            "items": [],
            "others": {},
        }


def test_the_program_in_the_documentation_runs(
    site: Site, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    text = (Path(__file__).parents[2] / "docs" / "connect.md").read_text("utf-8")
    program = text.partition("```python\n")[2].partition("```")[0]
    assert len(program.splitlines()) < 30
    monkeypatch.setenv("INTERLOCK_URL", site.url)
    monkeypatch.setenv("INTERLOCK_KEY", site.key)
    scope: dict[str, Any] = {}
    exec(compile(program, "docs/connect.md", "exec"), scope)  # the text under test
    printed = capsys.readouterr().out
    assert "{'refunded': '20.00', 'to': 'acme'}" in printed
    assert "waits for finance" in printed
    site.answer(scope["waiting"])
    assert scope["gate"].resume(scope["waiting"]) == {"refunded": "1400.00", "to": "acme"}
    scope["gate"].close()


def test_a_question_is_asked_over_http_and_answered_from_the_command_line(site: Site) -> None:
    gate = site.connect(site.add_key("asker", KeyKind.AGENT, ("orders.*",)))
    with pytest.raises(Held) as held:
        gate.ask("Which account?", options=("EUR", "USD"), call_id="1")
    key = site.house.home.keyring.add(KeyKind.PERSON, "Ben", person=site.ben, by="test")[1]
    env = {**os.environ, "INTERLOCK_URL": site.url, "INTERLOCK_KEY": key}
    command = [sys.executable, "-m", "interlock.cli", "approvals", "respond", held.value.approval_id]
    for answer, code in (("GBP", 2), ("EUR", 0), ("USD", 4)):
        done = subprocess.run([*command, "--with", answer], env=env, capture_output=True, text=True)
        assert done.returncode == code, done.stderr
    assert gate.ask("Which account?", options=("EUR", "USD"), call_id="1") == "EUR"
    assert gate.resume(held.value.action_id) == "EUR"
    with httpx.Client(base_url=site.url, headers={"authorization": f"Bearer {site.key}"}) as client:
        asked = client.post("/v1/questions", json={"question": "And which city?", "call_id": "2"})
        assert (asked.status_code, asked.json()["executor"]) == (202, "question")
        assert (
            client.post("/v1/questions", json={"question": "And which city?", "call_id": "2"}).status_code
            == 200
        )
        assert client.post("/v1/questions", json={"question": ""}).status_code == 422
        claim = f"/v1/actions/{asked.json()['id']}/claim"
        assert client.post(claim, json={"claim": "t" * 32}).status_code == 409


def _refund(order: str, amount: str = "500.00") -> dict[str, Any]:
    return {"order_id": order, "amount_usd": amount, "recipient": "acme"}
