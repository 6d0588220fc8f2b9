"""`interlock policy simulate`, `shadow`, `diff` and `activate` on a real home, beside real processes."""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_command import COMMAND, Result, environment, run

from house import POLICY, REFUND
from interlock.home import Home, read_policy
from interlock.identity import Caller, KeyKind
from interlock.model.actions import Proposal
from interlock.model.topics import TopicPattern
from interlock.verify import verify_export
from server_process import running_server

AGENT = Caller(KeyKind.AGENT, agent="support", topics=(TopicPattern.parse("*"),))
TIGHT = (
    ("args.amount_usd < 100", "args.amount_usd < 50"),
    ("args.amount_usd >= 100", "args.amount_usd >= 50"),
)
LOOSE = (("args.amount_usd < 100", "args.amount_usd < 101"),)
ME = f"os:{pwd.getpwuid(os.getuid()).pw_name}"


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A policy, and a home beside it in which it is in force."""
    write(tmp_path, "policy.yaml")
    propose(tmp_path)
    return tmp_path


def write(folder: Path, name: str, *replacements: tuple[str, str]) -> str:
    text = POLICY
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    (folder / name).write_text(text)
    return name


def propose(folder: Path, *amounts: str) -> list[str]:
    """Propose refunds in the home, as an embedded gate does; the ids of the actions."""
    home = Home.open(folder / ".interlock", policy=read_policy(folder / "policy.yaml"), by="test")
    try:
        ids = []
        for number, amount in enumerate(amounts):
            args = {**REFUND, "order_id": f"{amount}-{number}-{time.time_ns()}", "amount_usd": amount}
            action = home.gate.propose(Proposal("pay.refund", args), AGENT).action
            assert action is not None
            ids.append(action.id)
        return ids
    finally:
        home.close()


def policy(folder: Path, *arguments: str) -> Result:
    return run(folder, "policy", *arguments)


def activate(folder: Path, *arguments: str) -> Result:
    return policy(folder, "activate", *arguments, "--home", ".interlock")


def entries(folder: Path) -> list[dict[str, Any]]:
    home = Home.open(folder / ".interlock")
    try:
        return [json.loads(body) for body in home.journal.entries()]
    finally:
        home.close()


# --- simulate and diff ------------------------------------------------------------------------------------


def test_simulate_compares_with_the_policy_in_force_and_shows_the_actions_that_change(folder: Path) -> None:
    ids = propose(folder, "20.00", "70.00", "80.00", "500.00")
    write(folder, "tight.yaml", *TIGHT)
    found = policy(folder, "simulate", "tight.yaml", "--home", ".interlock", "--since", "7d", "--json")
    assert found.code == 0
    assert found.json["sentence"] == (
        "Of the 4 actions of the last 7 days, 75.0 % would have been held (now 25.0 %)."
    )
    assert [(one["id"], one["direction"], one["rule"]) for one in found.json["changed"]] == [
        (ids[1], "stricter", "large"),
        (ids[2], "stricter", "large"),
    ]
    assert found.json["changed"][0]["title"].startswith("Refund $70.00 to acme for order 70.00-1")
    assert found.json["rules"] == [{"rule": "large", "before": 1, "after": 3}]
    words = policy(folder, "simulate", "tight.yaml").out
    assert "Of the 4 actions ever proposed, 75.0 % would have been held (now 25.0 %)." in words


def test_simulate_ends_with_3_where_anything_becomes_looser(folder: Path) -> None:
    propose(folder, "100.50")
    write(folder, "loose.yaml", *LOOSE)
    assert policy(folder, "simulate", "loose.yaml").code == 0  # the rule that asks still does
    write(folder, "loose.yaml", *LOOSE, ("args.amount_usd >= 100", "args.amount_usd >= 101"))
    found = policy(folder, "simulate", "loose.yaml", "--home", ".interlock")
    # The invariant about money above $100 asks in its place, but its silence no longer denies.
    assert found.code == 3
    assert "require_approval → require_approval (other limits, tier or lane) by invariant:money" in found.out
    write(folder, "loose.yaml", *LOOSE, ("args.amount_usd >= 100", "args.amount_usd >= 101"),
          ("name: shop", "name: shop\ninvariants: {money_above_usd: 200}"))  # fmt: skip
    found = policy(folder, "simulate", "loose.yaml", "--home", ".interlock")
    assert found.code == 3
    assert "looser: act_" in found.out


def test_a_home_without_a_proposed_action_answers_nothing(tmp_path: Path) -> None:
    write(tmp_path, "policy.yaml")
    propose(tmp_path)
    found = policy(tmp_path, "simulate", "policy.yaml", "--json")
    assert (found.code, found.json["actions"], found.json["loosens"]) == (5, 0, False)


def test_what_the_candidate_would_refuse_as_invalid_is_counted(folder: Path) -> None:
    propose(folder, "20.00", "500.00")
    write(folder, "new.yaml", ("recipient: string}\n", "recipient: string, iban: string}\n"))
    found = policy(folder, "simulate", "new.yaml", "--json")
    assert (found.code, found.json["refused"], found.json["tightened"]) == (0, 2, 2)


def test_the_policy_in_force_replayed_changes_nothing(folder: Path) -> None:
    propose(folder, "20.00", "500.00")
    found = policy(folder, "simulate", "policy.yaml", "--json")
    assert (found.json["tightened"], found.json["loosened"], found.json["known"]) == (0, 0, 2)


def test_diff_with_what_is_in_force(folder: Path) -> None:
    write(folder, "tight.yaml", *TIGHT)
    found = policy(folder, "diff", "tight.yaml", "--home", ".interlock", "--json")
    assert found.code == 0
    assert [change["name"] for change in found.json["changes"]] == ["large", "small"]
    assert found.json["loosens"] is False


def test_an_empty_home_and_no_home_are_different_errors(folder: Path) -> None:
    assert policy(folder, "simulate", "policy.yaml", "--json").json["actions"] == 0
    assert policy(folder, "simulate", "policy.yaml", "--home", "nowhere").code == 7
    assert policy(folder, "simulate", "policy.yaml", "--since", "soon").code == 2


# --- activate ---------------------------------------------------------------------------------------------


def test_activate_puts_a_policy_in_force_with_who_and_why_in_the_ledger(folder: Path) -> None:
    held, ran = propose(folder, "500.00", "70.00")
    write(folder, "tight.yaml", *TIGHT, ("decision: require_approval", "decision: deny"),
          ("    owner: finance\n    lane: {window: 15m, on_timeout: deny}\n", ""))  # fmt: skip
    before = len(entries(folder))
    done = activate(folder, "tight.yaml", "--reason", "the auditors asked for it", "--yes", "--json")
    assert done.code == 0, done.out
    assert (done.json["activated"], done.json["by"]) == (True, ME)
    warnings = policy(folder, "check", "tight.yaml", "--json").json["warnings"]
    assert (done.json["tests"], done.json["failed"], done.json["warnings"]) == (0, [], warnings)
    assert done.json["diff"]["loosens"] is False
    written = entries(folder)[before:]
    assert (written[0]["kind"], written[0]["by"], written[0]["reason"], written[0]["snapshot"]) == (
        "policy.activated",
        ME,
        "the auditors asked for it",
        done.json["snapshot"],
    )
    again = {entry["action"]: entry["decision"] for entry in written if entry["kind"] == "action.redecided"}
    assert again == {held: "deny", ran: "deny"}
    home = Home.open(folder / ".interlock")
    home.publisher.export(folder / "export")
    home.close()
    report = verify_export(folder / "export")
    assert report.ok, report.problems


def test_activating_what_is_in_force_changes_nothing_and_asks_nothing(folder: Path) -> None:
    before = len(entries(folder))
    done = activate(folder, "policy.yaml", "--reason", "again", "--json")
    assert (done.code, done.json["activated"], done.json["by"]) == (0, False, None)
    assert len(entries(folder)) == before


def test_a_policy_whose_tests_fail_is_not_activated_unless_they_are_skipped(folder: Path) -> None:
    write(folder, "tight.yaml", *TIGHT)
    (folder / "tight.test.yaml").write_text(
        "tests: [{name: runs, action: {topic: pay.refund, amount_usd: 60}, expect: {decision: allow}}]\n"
    )
    failed = activate(folder, "tight.yaml", "--reason", "r", "--yes", "--json")
    assert (failed.code, failed.json["failed"], failed.json["activated"]) == (3, ["runs"], False)
    assert "Nothing was activated." in activate(folder, "tight.yaml", "--reason", "r", "--yes").out
    assert policy(folder, "check", "tight.yaml", "--home", ".interlock", "--json").json["in_force"] is False
    done = activate(folder, "tight.yaml", "--reason", "r", "--yes", "--skip-tests")
    assert done.code == 0
    assert "No tests were run." in done.out


def test_what_does_not_load_is_not_activated(folder: Path) -> None:
    (folder / "bad.yaml").write_text("interlock: 1\nruls: []\n")
    assert activate(folder, "bad.yaml", "--reason", "r", "--yes").code == 3
    assert policy(folder, "check", "policy.yaml", "--home", ".interlock", "--json").json["in_force"] is True


@pytest.mark.parametrize("reason", ["", "   ", "x" * 501, "two\nlines", "turned \u202e around", "\x1b[2J"])
def test_a_reason_is_one_line_of_readable_text(folder: Path, reason: str) -> None:
    write(folder, "tight.yaml", *TIGHT)
    refused = activate(folder, "tight.yaml", "--reason", reason, "--yes", "--json")
    assert (refused.code, refused.json["path"]) == (2, "$.reason")
    assert policy(folder, "check", "policy.yaml", "--home", ".interlock", "--json").json["in_force"] is True


def test_a_reason_is_needed_and_nobody_is_asked_where_nobody_is(folder: Path) -> None:
    write(folder, "tight.yaml", *TIGHT)
    assert activate(folder, "tight.yaml", "--yes").code == 2
    refused = activate(folder, "tight.yaml", "--reason", "r")
    assert refused.code == 2
    assert "--yes" in refused.err
    assert activate(folder, "tight.yaml", "--reason", "r", "--json").code == 2
    assert policy(folder, "check", "policy.yaml", "--home", ".interlock", "--json").json["in_force"] is True


def test_activate_makes_no_home(folder: Path) -> None:
    done = policy(folder, "activate", "policy.yaml", "--home", "nowhere", "--reason", "r", "--yes")
    assert done.code == 7
    assert not (folder / "nowhere").exists()


def test_the_first_policy_of_a_home_that_has_none(folder: Path) -> None:
    run(folder, "keys", "add", "--kind", "agent", "--name", "a", "--topics", "a.b", "--home", "fresh")
    done = policy(folder, "activate", "policy.yaml", "--home", "fresh", "--reason", "r", "--yes", "--json")
    assert (done.code, done.json["activated"], done.json["diff"]) == (0, True, None)


@pytest.mark.parametrize(
    ("answer", "code", "in_force"), [(b"y\n", 0, True), (b"\n", 1, False), (b"\x03", 130, False)]
)
def test_at_a_terminal_it_shows_what_changes_and_asks(
    folder: Path, answer: bytes, code: int, in_force: bool
) -> None:
    write(folder, "tight.yaml", *TIGHT)
    ended, seen = at_a_terminal(folder, answer, "policy", "activate", "tight.yaml", "--reason", "r")
    assert ended == code, seen
    assert "~ rule large" in seen
    assert "No tests were run." in seen
    checked = policy(folder, "check", "tight.yaml", "--home", ".interlock", "--json")
    assert checked.json["in_force"] is in_force


def at_a_terminal(folder: Path, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Run the command at a terminal of its own, and answer its question."""
    import pty

    child, terminal = pty.fork()
    if child == 0:
        os.chdir(folder)
        signal.signal(signal.SIGINT, signal.SIG_DFL)  # as at any terminal, whatever started the tests
        os.execve(COMMAND[0], [*COMMAND, *arguments], environment())
    seen, deadline, typed = b"", time.monotonic() + 60, False
    while time.monotonic() < deadline:
        if select.select([terminal], [], [], 0.2)[0]:
            try:
                chunk = os.read(terminal, 4096)
            except OSError:
                break
            if not chunk:
                break
            seen += chunk
        if b"[y/N]" in seen and not typed:
            os.write(terminal, answer)
            typed = True
    else:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    os.close(terminal)
    return os.waitstatus_to_exitcode(status), seen.decode()


def test_a_running_server_decides_by_the_new_policy_with_its_next_request(tmp_path: Path) -> None:
    write(tmp_path, "policy.yaml")
    write(tmp_path, "tight.yaml", *TIGHT)
    home = tmp_path / "home"
    with running_server(home, tmp_path / "policy.yaml") as access:

        def refund(order: str) -> dict[str, Any]:
            answer = httpx.post(
                f"{access.url}/v1/actions",
                headers={"authorization": f"Bearer {access.agent_key}"},
                json={"topic": "pay.refund", "args": {**REFUND, "order_id": order, "amount_usd": "70.00"}},
            )
            view: dict[str, Any] = answer.json()
            return view

        assert refund("one")["state"] == "allowed"
        done = policy(tmp_path, "activate", "tight.yaml", "--home", str(home), "--reason", "r", "--yes")
        assert done.code == 0, done.err
        assert refund("two")["state"] == "held"


# --- shadow -----------------------------------------------------------------------------------------------


def shadowing(folder: Path, *options: str) -> subprocess.Popen[str]:
    """A shadow in a process of its own, once it watches."""
    child = subprocess.Popen(
        (*COMMAND, "policy", "shadow", "tight.yaml", "--home", ".interlock", *options),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
        text=True,
    )
    assert child.stderr is not None
    assert "Watching" in child.stderr.readline()
    return child


def test_shadow_prints_what_the_candidate_decides_otherwise_and_changes_nothing(folder: Path) -> None:
    propose(folder, "70.00")  # before: not watched
    write(folder, "tight.yaml", *TIGHT)
    child = shadowing(folder)
    try:
        ids = propose(folder, "20.00", "60.00")
        assert child.stdout is not None
        line = child.stdout.readline()
        assert line == f"stricter: {ids[1]}  allow → require_approval by large\n"
        child.send_signal(signal.SIGINT)
        out, err = child.communicate(timeout=30)
    finally:
        child.kill()
    assert child.returncode == 0, err
    assert "Traceback" not in err
    assert "Of the 2 actions proposed in" in out
    assert "50.0 % would have been held (now 0.0 %)." in out
    assert policy(folder, "check", "policy.yaml", "--home", ".interlock", "--json").json["in_force"] is True


def test_shadow_ends_by_itself_with_one_document_and_with_3_where_something_was_looser(folder: Path) -> None:
    write(folder, "tight.yaml", *LOOSE, ("args.amount_usd >= 100", "args.amount_usd >= 101"),
          ("name: shop", "name: shop\ninvariants: {disabled: [money]}"))  # fmt: skip
    child = shadowing(folder, "--for", "4s", "--json")
    try:
        propose(folder, "100.50", "20.00")
        out, err = child.communicate(timeout=60)
    finally:
        child.kill()
    assert child.returncode == 3, err
    found = json.loads(out)
    assert (found["actions"], found["loosened"], found["against"]) == (2, 1, None)
    assert found["changed"][0]["direction"] == "looser"
