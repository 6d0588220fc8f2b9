"""`interlock serve --dev` in a process of its own: what a changed file does to a running server."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_command import run

from house import POLICY, REFUND
from interlock.cli.watch import Watch
from interlock.identity import KeyKind
from server_process import ServerProcess, opened

TIGHT = POLICY.replace("args.amount_usd < 100", "args.amount_usd < 50")
SOON = 15.0


@dataclass
class Dev:
    """A server that watches a policy, and an agent's key."""

    server: ServerProcess
    policy: Path
    key: str

    def refund(self, order: str, amount: str = "70.00") -> str:
        """The state of a fresh refund."""
        answer = httpx.post(
            f"{self.server.url}/v1/actions",
            headers={"authorization": f"Bearer {self.key}"},
            json={"topic": "pay.refund", "args": {**REFUND, "order_id": order, "amount_usd": amount}},
        )
        state: str = answer.json()["state"]
        return state

    def said(self, words: str) -> str:
        """What the server has said, once that holds `words`."""
        give_up = time.monotonic() + SOON
        while words not in (text := self.server.log.read_text()):
            assert time.monotonic() < give_up, text
            time.sleep(0.05)
        return text

    def activations(self) -> list[dict[str, Any]]:
        with opened(self.server.home) as home:
            entries = map(json.loads, home.journal.entries())
            return [entry for entry in entries if entry["kind"] == "policy.activated"]


@pytest.fixture
def dev(tmp_path: Path) -> Iterator[Dev]:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    with opened(tmp_path / "home", policy) as home:
        _, key = home.keyring.add(KeyKind.AGENT, "support", topics=("*",), by="tests")
    with ServerProcess(tmp_path / "home", policy, options=["--dev"]) as server:
        yield Dev(server, policy, key)


def test_a_changed_file_is_in_force_soon_and_recorded(dev: Dev) -> None:
    assert dev.refund("one") == "allowed"
    dev.policy.write_text(TIGHT)
    dev.said("is in force now.")
    assert dev.refund("two") == "held"
    last = dev.activations()[-1]
    assert (last["by"], last["reason"]) == ("serve", "serve --dev: file changed")
    assert dev.server.stop() == 0


def test_what_does_not_load_is_said_and_the_policy_before_it_stays(dev: Dev) -> None:
    dev.policy.write_text("interlock: 1\nruls: []\n")
    text = dev.said("is not in force")
    assert "policy.yaml:2:1: unknown key 'ruls'" in text
    assert "Traceback" not in text
    assert dev.refund("one") == "allowed"
    assert dev.refund("two", "500.00") == "held"
    dev.policy.unlink()
    dev.said("There is no policy file")
    dev.policy.write_text(TIGHT)
    dev.said("is in force now.")
    assert dev.refund("three") == "held"
    assert len(dev.activations()) == 2


def test_a_file_that_was_only_touched_or_says_the_same_is_no_activation(dev: Dev) -> None:
    dev.policy.write_text(f"{POLICY}# a comment\n")
    time.sleep(2)
    assert len(dev.activations()) == 1
    assert "is in force now." not in dev.server.log.read_text()


def test_a_file_that_is_just_being_written_is_not_taken_for_a_shorter_policy(dev: Dev) -> None:
    for _ in range(4):
        dev.policy.write_text(POLICY.partition("  - id: large")[0])  # it loads, and nothing asks finance
        time.sleep(0.3)
        dev.policy.write_text(POLICY)
        time.sleep(0.35)
    assert len(dev.activations()) == 1
    assert "is in force now." not in dev.server.log.read_text()


def test_a_policy_that_only_observes_is_announced_loudly(dev: Dev) -> None:
    dev.policy.write_text(POLICY.replace("name: shop", "name: shop\nmode: observe"))
    text = dev.said("is in force now.")
    assert "OBSERVE MODE: nothing is held and nothing is denied." in text
    assert dev.refund("one", "500.00") == "allowed"


def test_without_dev_a_changed_file_changes_nothing(tmp_path: Path) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY.replace("name: shop", "name: shop\nmode: observe"))
    with ServerProcess(tmp_path / "home", policy) as server:
        policy.write_text(TIGHT)
        time.sleep(2)
        assert "OBSERVE MODE" in server.log.read_text()
        assert "is in force now." not in server.log.read_text()


@pytest.mark.parametrize(
    "options",
    [
        ["--host", "0.0.0.0"],
        ["--host", "192.168.1.1"],
        ["--public-url", "https://gate.example"],
        ["--public-url", "http://localhost:8420"],
    ],
)
def test_dev_serves_this_machine_only(tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    refused = run(tmp_path, "serve", "--dev", "--port", "0", *options)
    assert refused.code == 2
    assert "this machine only" in refused.err
    assert not (tmp_path / ".interlock").exists()


def test_dev_needs_a_policy_to_watch(tmp_path: Path) -> None:
    (tmp_path / "policy.yaml").write_text(POLICY)
    with opened(tmp_path / ".interlock", tmp_path / "policy.yaml"):
        pass
    (tmp_path / "policy.yaml").unlink()
    refused = run(tmp_path, "serve", "--dev", "--port", "0")
    assert refused.code == 2
    assert "--policy" in refused.err


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_a_watch_that_ends_by_a_defect_says_that_nothing_is_watched(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)

    def out_of_memory(_: Path) -> None:
        raise MemoryError

    with opened(tmp_path / "home", policy) as home:
        watch = Watch(policy)
        monkeypatch.setattr("interlock.home.read_policy", out_of_memory)
        policy.write_text(TIGHT)
        thread = watch.start(home)
        thread.join(SOON)
        assert not thread.is_alive()
    assert "policy.yaml is no longer watched" in " ".join(capsys.readouterr().err.split())


def test_a_watch_that_is_stopped_says_nothing(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    policy = tmp_path / "policy.yaml"
    policy.write_text(POLICY)
    with opened(tmp_path / "home", policy) as home:
        watch = Watch(policy)
        watch.start(home)
        watch.stop()
    assert "no longer watched" not in capsys.readouterr().err
