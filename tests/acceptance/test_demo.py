"""The demonstration: the rehearsal adds up, its audit would notice, and it leaves nothing behind."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import httpx
import pytest

from interlock.demo import main, story
from interlock.demo.audit import Effect, Recorded, compare
from interlock.demo.errors import NotOurFolder, PortTaken
from interlock.demo.stage import MARKER, Child, Shop, Stage, check_port, free_port, own_folder
from interlock.gate.claim import downstream_key
from interlock.home import read_policy
from interlock.model.actions import ActionState
from interlock.policy import parse

REPOSITORY = Path(__file__).parents[2]


def demo(home: Path, port: int) -> list[str]:
    command = [sys.executable, "-m", "interlock.cli", "demo", "--once", "--json"]
    return [*command, "--home", str(home), "--port", str(port)]


def listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(1)
        return probe.connect_ex(("127.0.0.1", port)) == 0


def shop_port(home: Path) -> int:
    found = re.search(r"http://127\.0\.0\.1:(\d+)/refunds", (home / "policy.yaml").read_text())
    assert found
    return int(found[1])


# --- the whole story ---------------------------------------------------------------------------------------


def test_a_rehearsal_with_kills_loses_nothing_and_does_nothing_twice(tmp_path: Path) -> None:
    home, port = tmp_path / "demo", free_port()
    done = subprocess.run(demo(home, port), capture_output=True, text=True, timeout=200)
    assert done.returncode == 0, done.stdout + done.stderr
    account = json.loads(done.stdout)
    assert account["off"] == []
    assert account["ok"] is True
    assert (account["double_executions"], account["lost"]) == (0, 0)
    assert (account["unaccounted"], account["altered"]) == (0, 0)
    assert account["ledger"]["ok"] is True
    assert account["ledger"]["size"] > 250
    assert account["kills"] == 4
    assert account["repeats"] >= 1, "a refund was asked for again, and the shop answered from memory"
    actions = account["actions"]
    assert actions["proposed"] == 102
    assert (actions["denied"], actions["rejected"], actions["expired"], actions["superseded"]) == (1, 2, 1, 1)
    assert sum(actions.values()) - actions["proposed"] == actions["proposed"] + 1, (
        "one revision more: an edit"
    )
    assert account["held_share"] < 0.1
    assert not listens(port)
    assert not listens(shop_port(home))


def test_a_terminated_rehearsal_leaves_no_process_behind(tmp_path: Path) -> None:
    home, port = tmp_path / "demo", free_port()
    process = subprocess.Popen(demo(home, port), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        end = time.monotonic() + 60
        while not listens(port) and time.monotonic() < end:
            time.sleep(0.05)
        assert listens(port), "the server came up"
        shop = shop_port(home)
        assert listens(shop)
        process.send_signal(signal.SIGTERM)
        output, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 128 + signal.SIGTERM
    assert output == ""
    assert not listens(port)
    assert not listens(shop)


# --- the audit would notice --------------------------------------------------------------------------------

REFUND = Recorded(
    "act_1",
    2,
    ActionState.SUCCEEDED,
    story.REFUND,
    {"order_id": "A-1", "amount_usd": "210.00", "recipient": "a@example.com"},
)
EARLIER = replace(
    REFUND, revision=1, state=ActionState.SUPERSEDED, args={**REFUND.args, "amount_usd": "420.00"}
)


def effect_of(action: Recorded) -> Effect:
    return Effect("refund", action.args, action.action, downstream_key("default", "act_1", action.revision))


def test_books_that_agree_with_the_journal_are_found_in_order() -> None:
    assert compare([effect_of(REFUND)], [EARLIER, REFUND], ["act_1"]).all == []


def test_a_second_effect_of_one_action_is_a_double_execution() -> None:
    effects = [effect_of(REFUND)] * 3
    assert len(compare(effects, [EARLIER, REFUND], []).double) == 2


def test_a_second_effect_under_another_key_is_double_and_unaccounted_for() -> None:
    found = compare([effect_of(REFUND), replace(effect_of(REFUND), key="other")], [REFUND], [])
    assert (len(found.double), len(found.unaccounted)) == (1, 1)


@pytest.mark.parametrize("state", [ActionState.SUCCEEDED, ActionState.ROLLED_BACK])
def test_a_success_that_the_books_lack_is_lost(state: ActionState) -> None:
    lost = compare([], [replace(REFUND, state=state)], []).lost
    assert lost == ["act_1 succeeded, and the shop's books do not have it"]


def test_an_acknowledged_proposal_that_the_journal_lacks_is_lost() -> None:
    assert len(compare([effect_of(REFUND)], [REFUND], ["act_1", "act_2"]).lost) == 1


def test_a_lookup_leaves_nothing_and_is_not_missed() -> None:
    looked = Recorded("act_9", 1, ActionState.SUCCEEDED, story.LOOK_UP, {"order_id": "A-1"})
    assert compare([], [looked], ["act_9"]).all == []


@pytest.mark.parametrize(
    "state",
    [
        state
        for state in ActionState
        if state.value not in ("succeeded", "executing", "in_doubt", "rolled_back")
    ],
)
def test_an_effect_of_an_action_that_did_not_run_is_unaccounted_for(state: ActionState) -> None:
    assert len(compare([effect_of(REFUND)], [replace(REFUND, state=state)], []).unaccounted) == 1


def test_the_revision_that_was_replaced_may_not_be_the_one_that_ran() -> None:
    found = compare([effect_of(EARLIER)], [EARLIER, REFUND], [])
    assert len(found.unaccounted) == 1


def test_an_effect_nobody_proposed_is_unaccounted_for() -> None:
    found = compare([Effect("email", {}, None, None), Effect("email", {}, None, None)], [], [])
    assert (len(found.unaccounted), len(found.double)) == (2, 0)


def test_other_arguments_than_those_decided_are_altered() -> None:
    found = compare([replace(effect_of(REFUND), args={**REFUND.args, "recipient": "x"})], [REFUND], [])
    assert (len(found.altered), len(found.unaccounted)) == (1, 0)


# --- the shop ----------------------------------------------------------------------------------------------


@contextmanager
def open_shop(folder: Path) -> Iterator[tuple[Shop, httpx.Client]]:
    credential = folder / "credential"
    credential.write_text("Bearer secret")
    shop = Shop(folder, credential)
    headers = {"authorization": "Bearer secret"}
    try:
        with httpx.Client(base_url=shop.url, headers=headers, trust_env=False) as client:
            yield shop, client
    finally:
        shop.close()


def refund(amount: str, order: str = "A-1104") -> dict[str, Any]:
    return {"order_id": order, "amount_usd": amount, "recipient": "luis@example.com"}


def test_the_shop_serves_nobody_without_its_credential(tmp_path: Path) -> None:
    with open_shop(tmp_path) as (shop, _):
        for method, path in [("GET", "/orders/A-1104"), ("POST", "/refunds"), ("GET", "/books")]:
            assert httpx.request(method, shop.url + path, trust_env=False).status_code == 401
        assert httpx.post(f"{shop.url}/control", json={"withhold": None}).status_code == 401
        assert shop.books()["effects"] == []


def test_a_repeated_key_gets_the_first_answer_even_from_a_shop_that_was_restarted(tmp_path: Path) -> None:
    with open_shop(tmp_path) as (_, client):
        first = client.post("/refunds", json=refund("10.00"), headers={"idempotency-key": "k"})
        assert first.status_code == 201
    with open_shop(tmp_path) as (shop, client):
        again = client.post("/refunds", json=refund("10.00"), headers={"idempotency-key": "k"})
        assert (again.status_code, again.json()) == (201, first.json())
        assert (len(shop.books()["effects"]), shop.books()["repeats"]) == (1, 1)
        other = client.post("/refunds", json=refund("11.00"), headers={"idempotency-key": "k"})
        assert other.status_code == 422


def test_an_email_is_sent_as_often_as_somebody_asks(tmp_path: Path) -> None:
    with open_shop(tmp_path) as (shop, client):
        for _ in range(2):
            email = {"to": "a@example.com", "subject": "Hi", "body": "Hello"}
            assert client.post("/emails", json=email, headers={"idempotency-key": "k"}).status_code == 201
        assert len(shop.books()["effects"]) == 2


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (refund("210.01"), 409),
        (refund("-1.00"), 422),
        (refund("1.001"), 422),
        (refund("1.00", "A-9"), 404),
        ({"order_id": "A-1104"}, 422),
        ({**refund("1.00"), "amount_usd": 1}, 422),
        ([], 400),
    ],
)
def test_what_the_shop_refuses_leaves_nothing_in_its_books(tmp_path: Path, body: Any, status: int) -> None:
    with open_shop(tmp_path) as (shop, client):
        assert client.post("/refunds", json=body).status_code == status
        assert shop.books()["effects"] == []


def test_a_withheld_answer_is_booked_before_it_is_sent(tmp_path: Path) -> None:
    with open_shop(tmp_path) as (shop, client):
        shop.withhold("POST /refunds")
        with pytest.raises(httpx.ReadTimeout):
            client.post("/refunds", json=refund("10.00"), timeout=0.5)
        assert len(shop.books()["effects"]) == 1
        assert shop.withheld() == 1
        shop.withhold(None)
        assert client.post("/refunds", json=refund("20.00")).status_code == 201


# --- its folder and its port -------------------------------------------------------------------------------


def test_a_folder_with_somebody_elses_files_is_left_as_it_is(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("do not lose")
    with pytest.raises(NotOurFolder, match="no demo made"):
        main(home=tmp_path, port=0, once=True, as_json=True)
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.txt"]


def test_a_link_to_a_folder_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "real" / MARKER).touch()
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(NotOurFolder), own_folder(tmp_path / "link"):
        pass


def test_an_earlier_demos_folder_is_made_anew_and_links_in_it_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere" / "kept").touch()
    folder = tmp_path / "demo"
    with own_folder(folder):
        (folder / "old").mkdir()
        (folder / "old" / "file").touch()
        (folder / "link").symlink_to(tmp_path / "elsewhere")
    with own_folder(folder):
        assert [path.name for path in folder.iterdir()] == [MARKER]
    assert (tmp_path / "elsewhere" / "kept").exists()


def test_two_demos_do_not_share_a_folder(tmp_path: Path) -> None:
    folder = tmp_path / "demo"
    with own_folder(folder):
        (folder / "books").touch()
        with pytest.raises(NotOurFolder, match="Another demo"), own_folder(folder):
            pass
        assert (folder / "books").exists()


def test_a_taken_port_is_named_with_one_that_is_free(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with pytest.raises(PortTaken, match=rf"Port {port} .*--port \d+"):
            main(home=tmp_path / "demo", port=port, once=True, as_json=True)
    assert not (tmp_path / "demo").exists()
    check_port(free_port())


def test_a_process_that_ended_is_told_with_the_end_of_its_log(tmp_path: Path) -> None:
    code = "import sys; sys.exit('no such thing')"
    child = Child([sys.executable, "-c", code], tmp_path / "log")
    child.process.wait(20)
    assert child.ended() == "it ended with 1. no such thing"


# --- its policy --------------------------------------------------------------------------------------------


def test_the_published_policy_is_the_one_the_demo_runs(tmp_path: Path) -> None:
    published = REPOSITORY / "policies" / "demo-support" / "policy.yaml"
    with own_folder(tmp_path / "demo") as folder:
        stage = Stage(folder, free_port(), rehearsal=False)
        with stage:
            used = (folder / "policy.yaml").read_text(encoding="utf-8")
            same = used.replace(f"{stage.shop.url}/", "http://127.0.0.1:8421/")
    assert parse({"p": same}).snapshot == read_policy(published).snapshot
