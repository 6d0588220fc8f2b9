"""The worker: what was approved runs where a function is, once, though whoever proposed it is gone."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable, Iterator
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from cli_command import COMMAND, environment, spawn

from house import BOTH, House, agent
from interlock import Gate
from interlock.gate import Answer, HumanDecision, ReasonCode
from interlock.home import Home
from interlock.model.errors import NotFound
from postgres import Postgres

DATABASES = BOTH
EXAMPLES = Path(__file__).parents[2] / "examples"
WAIT_SEC = 90.0
POLICY = """
interlock: 1
name: shop
people: solo
actions:
  pay.refund:
    tier: 3
    args: {order_id: string, amount_usd: {type: decimal, scale: 2, currency: USD}}
    roles: {amount: amount_usd}
    undo: {topic: pay.recall, args: {order_id: args.order_id}}
  pay.recall:
    tier: 2
    args: {order_id: string}
    undo: pay.charge
    undo_within: 5m
  pay.charge:
    tier: 3
    args: {order_id: string}
  hooks.post:
    tier: 3
    args: {order_id: string}
    execute: {http: {method: POST, url: "http://127.0.0.1:9/{args.order_id}"}}
rules:
  - {id: recalls, match: {topics: [pay.recall]}, decision: allow}
  - {id: small, match: {topics: [pay.refund]}, when: args.amount_usd < 100, decision: allow}
  - id: large
    match: {topics: [pay.refund]}
    when: args.amount_usd >= 100
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
  - id: charge
    match: {topics: [pay.charge]}
    decision: require_approval
    owner: finance
    lane: {window: 15m, on_timeout: deny}
"""
PROGRAM = """
import os, sys, time
from pathlib import Path
from interlock import Gate

FOLDER = Path(__file__).parent
gate = Gate.open(FOLDER / "policy.yaml", agent="support", database=os.environ.get("SHOP_DATABASE"))

def write(line):
    with (FOLDER / "books.txt").open("a") as books:
        books.write(line + "\\n")

@gate.guard("pay.refund", checkpoint=lambda: b"state")
def refund(order_id, amount_usd):
    write(f"begun {order_id}")
    time.sleep(float(os.environ.get("SHOP_SEC", "0")))
    write(f"refunded {order_id} {amount_usd} {os.getpid()}")
    return order_id

@gate.guard("pay.recall")
def recall(order_id):
    write(f"recalled {order_id}")

@gate.on_decided
def decided(event):
    write(f"told {event.number} {event.state} {(gate.checkpoint(event.action_id) or b'-').decode()}")
"""


def eventually(done: Callable[[], Any]) -> None:
    deadline = time.monotonic() + WAIT_SEC
    while not done():
        assert time.monotonic() < deadline, "it did not happen"
        time.sleep(0.02)


class Shop:
    """A program with a gate, its books, and the processes that work for it."""

    def __init__(self, folder: Path, url: str | None) -> None:
        self.folder, self.url = folder, url
        (folder / "policy.yaml").write_text(POLICY)
        (folder / "shop.py").write_text(PROGRAM)
        self.workers: list[subprocess.Popen[str]] = []

    @property
    def env(self) -> dict[str, str]:
        return {} if self.url is None else {"SHOP_DATABASE": self.url}

    def books(self, word: str = "") -> list[str]:
        file = self.folder / "books.txt"
        lines = file.read_text().splitlines() if file.exists() else []
        return [line for line in lines if line.startswith(word)]

    def states(self) -> list[str]:
        """What the agent's code was told, in order."""
        return [line.split()[2] for line in self.books("told")]

    def agent(self, code: str) -> str:
        """Run a piece of the agent's program in a process of its own, which ends without closing the gate."""
        text = f"import os\nfrom shop import gate, refund\n{textwrap.dedent(code)}\nos._exit(0)"
        done = subprocess.run(
            [sys.executable, "-c", text],
            cwd=self.folder,
            env=environment(**self.env),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def propose(self, topic: str = "pay.refund", **args: str) -> str:
        """The id of an action that a process proposed, which has ended."""
        return self.agent(f"print(gate.propose({topic!r}, {args!r}, checkpoint=b'state')['id'], flush=True)")

    def proposed(self, *orders: str, topic: str = "pay.refund", **args: str) -> list[str]:
        """Ids of actions that a gate in this process proposed, which is closed."""
        with Gate.open(self.folder / "policy.yaml", agent="support", database=self.url) as gate:
            return [
                gate.propose(topic, {"order_id": order, **args}, checkpoint=b"state")["id"]
                for order in orders
            ]

    def once(self, *options: str) -> list[dict[str, Any]]:
        done = spawn(self.folder, "worker", "shop:gate", "--once", "--json", *options, env=self.env)
        assert done.code == 0, done.err
        return [json.loads(line) for line in done.out.splitlines()]

    def start(self, *, drain: str = "20", **env: str) -> subprocess.Popen[str]:
        """A worker, once it is ready; ended by the fixture."""
        log = (self.folder / "worker.log").open("a")
        process = subprocess.Popen(
            (*COMMAND, "worker", "shop:gate", "--json", "--drain", drain),
            cwd=self.folder,
            env=environment(**self.env, **env),
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
        )
        self.workers.append(process)
        assert process.stdout is not None
        line = process.stdout.readline()
        assert line, (self.folder / "worker.log").read_text()
        assert json.loads(line)["event"] == "ready"
        return process


@pytest.fixture
def shop(tmp_path: Path, database: str, request: pytest.FixtureRequest) -> Iterator[Shop]:
    url = None
    if database == "postgres":
        server: Postgres = request.getfixturevalue("postgres")
        url = server.database(0)
    made = Shop(tmp_path, url)
    yield made
    for worker in made.workers:
        if worker.poll() is None:
            worker.kill()
        worker.communicate()
    log = tmp_path / "worker.log"
    print(log.read_text() if log.exists() else "")  # shown where a test fails


@pytest.fixture
def desk(shop: Shop) -> Iterator[House]:
    """Somebody who decides, in this process."""
    Gate.open(shop.folder / "policy.yaml", database=shop.url).close()
    home = Home.open(shop.folder / ".interlock", database=shop.url)
    house = House(home, shop.url)
    house.person("Ann")
    yield house
    home.close()


def approve(desk: House, action: str, answer: Answer = Answer.APPROVE) -> None:
    approval = desk.home.views.action(action, agent("support"))["approval"]
    code = ReasonCode.OTHER if answer is Answer.REJECT else None
    ann = desk.home.roster.named("Ann")
    desk.gate.decide(approval["id"], ann.caller, HumanDecision(answer, approval["review_hash"], code))


def state(desk: House, action: str) -> str:
    return str(desk.home.views.action(action, agent("support"))["state"])


def test_what_was_approved_after_its_process_died_runs_once_and_its_agent_goes_on(
    shop: Shop, desk: House
) -> None:
    action = shop.propose(order_id="A", amount_usd="500.00")
    approve(desk, action)
    events = shop.once()
    assert [event["event"] for event in events] == ["ready", "running", "ended", "stopped"]
    assert events[2] == {"event": "ended", "action": action, "topic": "pay.refund", "state": "succeeded"}
    assert len(shop.books("refunded A 500.00")) == 1
    assert shop.states() == ["approved", "succeeded"]
    assert {line.split()[3] for line in shop.books("told")} == {"state"}
    assert [event["event"] for event in shop.once()] == ["ready", "stopped"]
    assert (len(shop.books("refunded")), len(shop.books("told"))) == (1, 2)


def test_a_rejection_while_no_process_was_there_is_told_by_the_next(shop: Shop, desk: House) -> None:
    action = shop.propose(order_id="A", amount_usd="500.00")
    approve(desk, action, Answer.REJECT)
    shop.once()
    assert shop.books("refunded") == []
    assert shop.states() == ["rejected"]


def test_workers_at_once_run_each_action_once_and_tell_each_event_once(shop: Shop, desk: House) -> None:
    actions = [shop.propose(order_id="0", amount_usd="500.00")]
    actions += shop.proposed(*map(str, range(1, 12)), amount_usd="500.00")
    for _ in range(3):
        shop.start(SHOP_SEC="0.05")
    for action in actions:
        approve(desk, action)
    eventually(lambda: len(shop.states()) >= 24)
    eventually(lambda: all(state(desk, action) == "succeeded" for action in actions))
    orders = sorted(int(line.split()[1]) for line in shop.books("refunded"))
    assert orders == list(range(12))
    numbers = [line.split()[1] for line in shop.books("told")]
    assert len(numbers) == len(set(numbers)) == 24
    for worker in shop.workers:
        worker.terminate()
    assert [worker.wait(WAIT_SEC) for worker in shop.workers] == [0, 0, 0]


def test_asked_to_stop_it_finishes_what_runs_and_begins_nothing(shop: Shop, desk: House) -> None:
    one, other = shop.proposed("A", "B", amount_usd="500.00")
    worker = shop.start(SHOP_SEC="1.5")
    approve(desk, one)
    eventually(lambda: shop.books("begun A"))
    worker.send_signal(signal.SIGTERM)
    time.sleep(0.3)
    approve(desk, other)
    assert worker.wait(WAIT_SEC) == 0
    assert state(desk, one) == "succeeded"
    assert (len(shop.books("refunded")), state(desk, other)) == (1, "approved")
    shop.once()
    assert (len(shop.books("refunded")), state(desk, other)) == (2, "succeeded")


def test_a_function_that_outlasts_the_drain_ends_with_the_process_and_is_said(
    shop: Shop, desk: House
) -> None:
    (action,) = shop.proposed("A", amount_usd="500.00")
    approve(desk, action)
    worker = shop.start(drain="0.2", SHOP_SEC="60")
    eventually(lambda: shop.books("begun A"))
    worker.terminate()
    out, _ = worker.communicate(timeout=WAIT_SEC)
    assert worker.returncode == 0
    said = [json.loads(line)["event"] for line in out.splitlines()]
    assert said[-3:] == ["draining", "abandoned", "stopped"]
    assert (state(desk, action), shop.books("refunded")) == ("executing", [])


def test_a_worker_that_is_killed_leaves_the_action_in_doubt_and_nobody_runs_it_again(
    shop: Shop, desk: House
) -> None:
    (action,) = shop.proposed("A", amount_usd="500.00")
    approve(desk, action)
    worker = shop.start(SHOP_SEC="60")
    eventually(lambda: shop.books("begun A"))
    worker.kill()
    worker.wait()
    shop.start()
    eventually(lambda: state(desk, action) == "in_doubt")
    eventually(lambda: "in_doubt" in shop.states())
    assert (len(shop.books("begun")), shop.books("refunded")) == (1, [])


def test_what_it_has_no_function_for_is_left_and_said_once(shop: Shop, desk: House) -> None:
    for found in shop.proposed("A", "B", topic="pay.charge"):
        approve(desk, found)
    (small,) = shop.proposed("S", amount_usd="5.00")
    events = shop.once()
    left = [event for event in events if event["event"] == "left"]
    assert [event["topic"] for event in left] == ["pay.charge"]
    assert state(desk, found) == "approved"
    assert state(desk, small) == "succeeded"


def test_what_a_person_asks_for_to_take_an_action_back_is_run_and_told(shop: Shop, desk: House) -> None:
    action = shop.propose(order_id="A", amount_usd="5.00")
    shop.once()
    ann = desk.home.roster.named("Ann")
    undo = desk.gate.rollback(action, ann.caller).action
    assert undo is not None
    assert undo.agent == f"person:{ann.id}"
    events = shop.once()
    assert [event["event"] for event in events] == ["ready", "running", "ended", "stopped"]
    assert shop.books("recalled") == ["recalled A"]
    assert (state(desk, action), state(desk, undo.id)) == ("rolled_back", "succeeded")
    assert shop.states() == ["succeeded", "succeeded", "rolled_back"]
    assert [line.split()[3] for line in shop.books("told")] == ["state", "-", "state"]


def test_what_a_person_asks_for_to_take_another_agents_action_back_is_left(shop: Shop, desk: House) -> None:
    action = shop.propose(order_id="A", amount_usd="5.00")
    shop.once()
    program = (shop.folder / "shop.py").read_text()
    (shop.folder / "shop.py").write_text(program.replace('agent="support"', 'agent="other"'))
    desk.gate.rollback(action, desk.home.roster.named("Ann").caller)
    assert [event["event"] for event in shop.once()] == ["ready", "stopped"]
    assert shop.books("recalled") == []


def test_another_agents_actions_are_not_run(shop: Shop, desk: House) -> None:
    (action,) = shop.proposed("A", amount_usd="500.00")
    approve(desk, action)
    program = (shop.folder / "shop.py").read_text()
    (shop.folder / "shop.py").write_text(program.replace('agent="support"', 'agent="other"'))
    assert [event["event"] for event in shop.once()] == ["ready", "stopped"]
    assert state(desk, action) == "approved"
    with (
        Gate.open(shop.folder / "policy.yaml", agent="other", database=shop.url) as gate,
        pytest.raises(NotFound),
    ):
        gate.checkpoint(action)


def test_a_worker_carries_out_what_a_connector_runs_too(shop: Shop, desk: House) -> None:
    (found,) = shop.proposed("A", topic="hooks.post")
    approve(desk, found)
    shop.start()
    eventually(lambda: state(desk, found) == "failed")


# --- what cannot be worked for ---------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("target", "says"),
    [
        ("shop", "names no module and gate"),
        (":gate", "names no module and gate"),
        ("shop:", "names no module and gate"),
        ("nowhere:gate", "There is no module nowhere"),
        ("shop.deeper:gate", "There is no module shop.deeper"),
        ("shop:door", "nothing named door"),
        ("shop:gate.door", "nothing named gate.door"),
        ("shop:refund", "is a function, and no gate"),
        ("broken:gate", "ended with ZeroDivisionError"),
        ("lacking:gate", "lacking needs no_such_thing"),
    ],
)
def test_a_target_that_is_no_gate_is_explained(tmp_path: Path, target: str, says: str) -> None:
    shop = Shop(tmp_path, None)
    (shop.folder / "broken.py").write_text("1 / 0")
    (shop.folder / "lacking.py").write_text("import no_such_thing")
    done = subprocess.run(
        (*COMMAND, "worker", target, "--once"),
        cwd=shop.folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 2
    assert says in done.stderr


# --- the example -----------------------------------------------------------------------------------------


def test_the_example_survives_its_process(tmp_path: Path) -> None:
    folder = tmp_path
    for name in ("resume_worker.py", "resume_policy.yaml"):
        shutil.copy(EXAMPLES / name, folder)
    proposing = subprocess.run(
        [sys.executable, "resume_worker.py", "A-12", "1400"],
        cwd=folder,
        env=environment(),
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert "Refund $1,400.00 for order A-12" in proposing.stdout
    home = Home.open(folder / ".interlock")
    try:
        ann = home.roster.first("Ann", by="test")
        (item,) = home.views.approvals("held")["items"]
        shown = home.views.approval(item["id"], ann.caller, home.gate.policy)["review_hash"]
        home.gate.decide(item["id"], ann.caller, HumanDecision(Answer.APPROVE, shown))
    finally:
        home.close()
    done = spawn(folder, "worker", "resume_worker:gate", "--once")
    assert done.code == 0, done.err
    spawn(folder, "worker", "resume_worker:gate", "--once")
    assert (folder / "books.txt").read_text().splitlines() == [
        f"refunded A-12 {Decimal('1400.00')}",
        "succeeded: write to the customer of A-12",
    ]
