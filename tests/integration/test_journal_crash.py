"""Killed at any statement: what was acknowledged is there, the rest whole or not at all; nothing runs twice.

A child process is killed with SIGKILL at the k-th SQL statement of one life (propose, decide, edit, claim,
run, settle), or between a commit and its acknowledgement. It writes down each acknowledgement, and the
guarded function writes down each effect, before going on.
"""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import pytest

from house import DAY, POLICY, House, ManualClock
from interlock.ledger import Frontier, leaf_hash
from interlock.model.actions import ExecutorKind
from interlock.model.errors import InDoubt, NotClaimable
from interlock.verify import verify_export

POINTS = 20
LIFE = """
import os, shutil, signal, sys
from pathlib import Path

from interlock.dispatch.caller import run_sync
from interlock.gate import Answer, HumanDecision
from interlock.home import Home
from interlock.identity import Caller, KeyKind
from interlock.model.actions import ExecutorKind, Proposal
from interlock.model.topics import TopicPattern
from interlock.policy import parse

REFUND = {"order_id": "A", "amount_usd": "500.00", "recipient": "acme"}
POLICY = parse({"p": sys.argv[2]})
AGENT = Caller(KeyKind.AGENT, agent="support", topics=(TopicPattern.parse("*"),))


def die():
    os.kill(os.getpid(), signal.SIGKILL)


def life(folder, at_statement, at_commit):
    home = Home.open(folder / "home", policy=POLICY)
    ann, bob = home.roster.all()
    statements = commits = 0

    def statement(_):
        nonlocal statements
        statements += 1
        if statements == at_statement:
            die()

    def commit(_):
        nonlocal commits
        commits += 1
        if commits == at_commit:
            die()

    home.journal.database.writer().driver_connection.set_trace_callback(statement)
    home.journal.on_commit(commit)

    def acknowledge():
        size, frontier, _ = home.journal.head()
        with (folder / "acknowledged").open("a") as file:
            file.write(f"{size} {frontier.root().hex()}\\n")

    def effect(**args):
        with (folder / "effects").open("a") as file:
            file.write(f"{claim.action_id}\\n")
            file.flush()
            os.fsync(file.fileno())
        return args

    def answer(action, person, answer, **rest):
        asked = home.views.action(action, AGENT)["approval"]
        home.gate.decide(asked["id"], person.caller, HumanDecision(answer, asked["review_hash"], **rest))
        acknowledge()

    inline = home.gate.propose(Proposal("notes.add", {}), AGENT, inline=True)
    acknowledge()
    claim = inline.claim
    run_sync(home.gate, home.leases, claim, effect)
    acknowledge()
    held = home.gate.propose(Proposal("pay.refund", REFUND, idempotency_key="k"), AGENT).action.id
    acknowledge()
    answer(held, ann, Answer.EDIT, args={**REFUND, "amount_usd": "300.00"})
    answer(held, bob, Answer.APPROVE)
    claim = home.gate.claim(held, ExecutorKind.CALLER)
    acknowledge()
    run_sync(home.gate, home.leases, claim, effect)
    acknowledge()
    return statements, commits


root = Path(sys.argv[1])
home = Home.open(root / "fresh", policy=POLICY)
for name in ("Ann", "Bob"):
    home.roster.add(name, by="test")
home.close()
for line in sys.stdin:
    name, at_statement, at_commit = line.split()
    shutil.copytree(root / "fresh", root / name / "home")
    child = os.fork()
    if child == 0:
        print(*life(root / name, int(at_statement), int(at_commit)), flush=True)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    print(-os.waitstatus_to_exitcode(status), flush=True)
"""


@pytest.fixture(scope="module")
def killed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One folder for each point at which the child was killed."""
    root = tmp_path_factory.mktemp("crash")
    child = subprocess.Popen(
        [sys.executable, "-c", LIFE, str(root), POLICY],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None

    def run(name: str, at_statement: int, at_commit: int) -> list[str]:
        print(name, at_statement, at_commit, file=child.stdin, flush=True)
        lines = [child.stdout.readline()]
        if at_statement == at_commit == 0:
            lines.append(child.stdout.readline())
        return lines

    counted, ended = run("whole", 0, 0)
    assert ended == "0\n", "the life that nobody kills comes to its end"
    statements, commits = map(int, counted.split())
    folders = {"whole": root / "whole"}
    assert statements > 3 * POINTS
    for point in range(POINTS):
        name = f"statement-{1 + point * (statements - 1) // (POINTS - 1)}"
        assert run(name, int(name.split("-")[1]), 0) == [f"{int(signal.SIGKILL)}\n"]
        folders[name] = root / name
    for point in range(1, commits + 1):
        name = f"commit-{point}"
        assert run(name, 0, point) == [f"{int(signal.SIGKILL)}\n"]
        folders[name] = root / name
    child.stdin.close()
    child.stdout.close()
    assert child.wait() == 0
    return folders


def reopened(folder: Path, open_house: Callable[..., House]) -> tuple[House, ManualClock]:
    clock = ManualClock()
    return open_house(None, name=str(folder / "home"), clock=clock), clock


def effects(folder: Path) -> Counter[str]:
    file = folder / "effects"
    return Counter(file.read_text().split() if file.exists() else [])


def test_what_was_acknowledged_is_there_and_the_head_is_the_root_of_the_entries(
    killed: dict[str, Path], open_house: Callable[..., House]
) -> None:
    assert len(killed) > POINTS + 6
    for name, folder in killed.items():
        house, _ = reopened(folder, open_house)
        leaves = [leaf_hash(body) for body in house.home.journal.entries()]
        assert house.home.journal.head()[1] == Frontier.EMPTY.appended(leaves), name
        file = folder / "acknowledged"
        for line in file.read_text().splitlines() if file.exists() else []:
            size, root = line.split()
            assert Frontier.EMPTY.appended(leaves[: int(size)]).root().hex() == root, name


def test_what_was_not_acknowledged_is_there_whole_or_not_at_all(
    killed: dict[str, Path], open_house: Callable[..., House]
) -> None:
    for name, folder in killed.items():
        house, _ = reopened(folder, open_house)
        kinds = Counter(json.loads(entry)["kind"] for entry in house.entries())
        ((revisions, claims),) = house.sql("SELECT count(*), coalesce(sum(epoch), 0) FROM actions")
        ((settled,),) = house.sql("SELECT count(*) FROM actions WHERE state = 'succeeded'")
        ((decisions,),) = house.sql("SELECT count(*) FROM decisions")
        ((payloads,),) = house.sql("SELECT count(*) FROM payloads")
        ((requests,),) = house.sql("SELECT count(*) FROM approvals")
        assert revisions == kinds["action.proposed"] + kinds["action.edited"], name
        assert claims == kinds["action.claimed"], name
        assert settled == kinds["action.settled"], name
        assert decisions == kinds["approval.decided"], name
        assert payloads == revisions + requests + settled, name
        for action in {row[0] for row in house.sql("SELECT id FROM actions")}:
            house.view(action)


def test_nothing_runs_twice_and_nothing_ran_that_was_not_claimed(
    killed: dict[str, Path], open_house: Callable[..., House]
) -> None:
    states = Counter[str]()
    for name, folder in killed.items():
        house, clock = reopened(folder, open_house)
        ran = effects(folder)
        assert set(ran.values()) <= {1}, name
        clock.forward(60)
        house.gate.sweep()
        for action in {row[0] for row in house.sql("SELECT id FROM actions")}:
            state = house.state(action)
            states[state] += 1
            if ran[action]:
                assert state in ("succeeded", "in_doubt"), name
            if state in ("allowed", "approved"):
                assert not ran[action], name
                assert house.gate.claim(action, ExecutorKind.CALLER).epoch == 1
            else:
                with pytest.raises((NotClaimable, InDoubt)):
                    house.gate.claim(action, ExecutorKind.CALLER)
            if state == "succeeded":
                assert ran[action] == 1, name
    assert {"held", "approved", "in_doubt", "succeeded"} <= set(states), "the points cover the whole life"


def test_a_restarted_agent_gets_its_first_action_back(
    killed: dict[str, Path], open_house: Callable[..., House]
) -> None:
    for name, folder in killed.items():
        house, _ = reopened(folder, open_house)
        known = {row[0] for row in house.sql("SELECT action_id FROM idempotency WHERE key LIKE 'key:%'")}
        args = {"order_id": "A", "amount_usd": "500.00", "recipient": "acme"}
        again = house.propose(args=args, idempotency_key="k").action
        assert again is not None
        assert {again.id} == (known or {again.id}), name


def test_strangers_can_check_what_is_left(
    killed: dict[str, Path], open_house: Callable[..., House], tmp_path: Path
) -> None:
    for name, folder in list(killed.items())[::5]:
        house, clock = reopened(folder, open_house)
        clock.forward(DAY)
        house.gate.sweep()
        house.home.publisher.export(tmp_path / name)
        assert verify_export(tmp_path / name, vkey=house.home.publisher.vkey).ok, name


MAKING = """
import os, signal, sys
from pathlib import Path

from interlock.home import Home

Home.open(Path(sys.argv[1]) / "first").close()
for point in range(1, 100):
    folder, left = Path(sys.argv[1]) / f"home{point}", point
    child = os.fork()
    if child == 0:
        def hook(event, args):
            global left
            if event in ("open", "os.mkdir", "sqlite3.connect", "os.rename", "os.link") and args[0]:
                left -= str(folder) in str(args[0])
                if left == 0:
                    os.kill(os.getpid(), signal.SIGKILL)
        sys.addaudithook(hook)
        Home.open(folder)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    if status == 0:
        break
print(point)
"""


def test_a_home_whose_making_was_killed_can_be_opened(
    tmp_path: Path, open_house: Callable[..., House]
) -> None:
    """Killed wherever a file or folder is made or opened while the home comes into being."""
    command = [sys.executable, "-c", MAKING, str(tmp_path)]
    ended = subprocess.run(command, check=True, capture_output=True, text=True)
    points = int(ended.stdout)
    assert 8 < points < 99
    for point in range(1, points + 1):
        house = open_house(name=f"home{point}")
        assert house.held(), point


def test_a_process_that_was_killed_holding_the_lock_keeps_nobody_waiting(
    open_house: Callable[..., House],
) -> None:
    house = open_house()
    script = (
        "import os, signal, sys\n"
        "from pathlib import Path\n"
        "from interlock.home import Home\n"
        "home = Home.open(Path(sys.argv[1]))\n"
        "home.journal.commit(lambda tx: os.kill(os.getpid(), signal.SIGKILL))\n"
    )
    ended = subprocess.run([sys.executable, "-c", script, str(house.home.path)], check=False)
    assert ended.returncode == -signal.SIGKILL
    assert house.state(house.held()) == "held"
