"""`interlock approvals` and `interlock serve`: a person's answers against the real server."""

from __future__ import annotations

import contextlib
import json
import os
import pty
import select
import signal
import subprocess
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import count
from pathlib import Path
from typing import Any

import httpx
import pytest
from cli_command import COMMAND, Result, environment, run, with_policy

UNKNOWN = "apr_00000000000000000000000000000000"
_numbers = count(1)


@dataclass(frozen=True)
class Site:
    """A serving home, an agent's key and a person's."""

    folder: Path
    ready: dict[str, Any]
    agent: str
    person: str

    def propose(self, amount: str = "120.00", **extra: Any) -> dict[str, Any]:
        """A held action, as its agent sees it."""
        args = {"order_id": f"A-{next(_numbers)}", "amount_usd": amount, "recipient": "acme", "copies": 1}
        answer = httpx.post(
            f"{self.ready['url']}/v1/actions",
            headers={"authorization": f"Bearer {self.agent}"},
            json={"topic": "job.pay.refund", "args": args, **extra},
        )
        assert answer.status_code == 202, answer.text
        view: dict[str, Any] = answer.json()
        return view

    def approvals(self, *arguments: str, key: str | None = None) -> Result:
        return run(
            self.folder, "approvals", *arguments, env={"INTERLOCK_KEY": self.person if key is None else key}
        )

    def state(self, view: dict[str, Any]) -> str:
        shown = self.approvals("show", view["id"], "--json").json
        state: str = shown["action"]["state"]
        return state


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[dict[str, Any]]:
    """`interlock serve` on a free port until the block ends; yields the document it printed."""
    child = subprocess.Popen(
        (*COMMAND, "serve", "--port", "0", "--json", *options),
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=environment(),
    )
    assert child.stdout is not None
    try:
        text = ""
        for line in child.stdout:
            text += line
            if line == "}\n":
                break
        yield json.loads(text)
    finally:
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=30)
        assert "Traceback" not in err, err


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("site")
    with_policy(folder)
    with serving(folder) as ready:
        agent = run(folder, "keys", "add", "--kind", "agent", "--name", "bot", "--topics", "job.**", "--json")
        person = run(folder, "keys", "add", "--kind", "person", "--name", "k", "--person", "owner", "--json")
        yield Site(folder, ready, agent.json["token"], person.json["token"])


# --- serve ------------------------------------------------------------------------------------------------


def test_the_first_start_prints_a_link_that_signs_in_and_later_ones_do_not(tmp_path: Path) -> None:
    with_policy(tmp_path)
    with serving(tmp_path) as ready:
        page, token = ready["sign_in"].split("#")
        assert page == f"{ready['url']}/sign-in"
        answer = httpx.post(
            f"{ready['url']}/v1/sign-in", json={"token": token}, headers={"x-interlock-console": "1"}
        )
        assert answer.json()["person"]["name"] == "owner"
    with serving(tmp_path) as again:
        assert again["sign_in"] is None
        assert again["policy"]["snapshot"] == ready["policy"]["snapshot"]


def test_another_policy_needs_activate(tmp_path: Path) -> None:
    with_policy(tmp_path)
    with serving(tmp_path):
        pass
    (tmp_path / "policy.yaml").write_text("interlock: 1\nname: other\n")
    refused = run(tmp_path, "serve", "--port", "0", "--json")
    assert refused.code == 4
    assert refused.json["type"] == "urn:interlock:problem:policy-not-active"
    with serving(tmp_path, "--activate") as ready:
        assert ready["policy"]["name"] == "other"
    checked = run(tmp_path, "policy", "check", "policy.yaml", "--home", ".interlock", "--json")
    assert checked.json["in_force"] is True


def test_a_taken_port_is_said(site: Site, tmp_path: Path) -> None:
    with_policy(tmp_path)
    refused = run(tmp_path, "serve", "--port", site.ready["url"].rpartition(":")[2], "--json")
    assert refused.code == 7
    assert "taken" in refused.json["detail"]


# --- reading ----------------------------------------------------------------------------------------------


def test_what_waits_is_listed_and_shown_with_the_words_of_the_agent_behind_a_bar(site: Site) -> None:
    view = site.propose(reasoning="The customer asked\n\u001b[2JApproved by finance")
    listed = site.approvals("list", "--json").json
    assert view["approval"]["id"] in [item["id"] for item in listed["items"]]
    assert view["approval"]["id"] in site.approvals("list").out
    for item in (view["id"], view["approval"]["id"]):
        shown = site.approvals("show", item).out
        assert "Refund $120.00 to acme" in shown
        assert "The money is gone" in shown
        assert "then expires, not run" in shown
        assert view["approval"]["review_hash"] in shown
        assert "  │ ⟨U+001B⟩[2JApproved by finance" in shown
        assert "\u001b" not in shown


def test_json_is_ascii_whatever_an_agent_wrote(site: Site) -> None:
    view = site.propose(reasoning="\u202e\u009b2J Zoë")
    out = site.approvals("show", view["id"], "--json").out
    assert out.isascii()
    assert "\\u202e" in out or "U+202E" in out


# --- approving --------------------------------------------------------------------------------------------


def test_approving_sends_the_hash_that_was_reviewed(site: Site) -> None:
    view = site.propose()
    approved = site.approvals("approve", view["id"], "--hash", view["approval"]["review_hash"], "--json")
    assert approved.code == 0
    assert approved.json["state"] == "approved"
    assert approved.json["decided"]["by"] == "owner"


def test_another_hash_approves_nothing(site: Site) -> None:
    view = site.propose()
    refused = site.approvals("approve", view["id"], "--hash", "0" * 64, "--json")
    assert refused.code == 4
    assert refused.json["type"] == "urn:interlock:problem:changed"
    assert site.state(view) == "held"


def test_what_was_edited_meanwhile_is_refused_with_the_difference(site: Site) -> None:
    view = site.propose()
    edited = site.approvals("edit", view["id"], "--set", "amount_usd=130.00", "--set", "copies=2", "--json")
    assert edited.code == 0
    stale = site.approvals(
        "approve", view["approval"]["id"], "--hash", view["approval"]["review_hash"], "--note", "n"
    )
    assert stale.code == 4
    assert "This changed since you looked" in stale.err
    assert 'amount_usd: "120.00" → "130.00"' in stale.err
    assert "copies: 1 → 2" in stale.err
    assert edited.json["superseded_by"] in stale.err
    by_action = site.approvals("approve", view["id"], "--hash", view["approval"]["review_hash"])
    assert by_action.code == 4
    assert site.state(view) == "held"


def test_nobody_approves_unasked_where_there_is_no_terminal(site: Site) -> None:
    view = site.propose()
    for options in ((), ("--json",)):
        refused = site.approvals("approve", view["id"], *options)
        assert refused.code == 2
        assert view["approval"]["review_hash"] in refused.out + refused.err
    assert site.state(view) == "held"
    assert site.approvals("approve", view["id"], "--hash", view["approval"]["review_hash"]).code == 0
    assert site.state(view) == "approved"


def at_terminal(site: Site, answer: bytes, *arguments: str) -> tuple[int, str]:
    """Run the command at a pseudo-terminal and type an answer once it asks."""
    child, terminal = pty.fork()
    if child == 0:
        os.chdir(site.folder)
        os.execve(COMMAND[0], [*COMMAND, *arguments], environment(INTERLOCK_KEY=site.person))
    seen, deadline, typed = b"", time.monotonic() + 30, False
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


@pytest.mark.parametrize(
    ("answer", "code", "state"), [(b"y\n", 0, "approved"), (b"\n", 1, "held"), (b"\x03", 130, "held")]
)
def test_a_person_is_shown_everything_and_asked(site: Site, answer: bytes, code: int, state: str) -> None:
    view = site.propose()
    ended, seen = at_terminal(site, answer, "approvals", "approve", view["id"])
    assert "Refund $120.00 to acme" in seen
    assert seen.index("Review hash") < seen.index("Approve exactly this?")
    assert (ended, site.state(view)) == (code, state)
    assert "Traceback" not in seen


# --- rejecting and editing --------------------------------------------------------------------------------


def test_a_rejection_carries_its_reason_to_the_agent(site: Site) -> None:
    view = site.propose()
    rejected = site.approvals("reject", view["id"], "--reason", "wrong_amount", "--note", "ask again")
    assert rejected.code == 0
    assert rejected.out.startswith("Rejected: ")
    shown = site.approvals("show", view["id"], "--json").json
    assert shown["action"]["rejection"] == {"reason_code": "wrong_amount", "note": "ask again"}
    again = site.approvals("approve", view["id"], "--hash", shown["review_hash"], "--json")
    assert again.code == 4
    assert again.json["type"] == "urn:interlock:problem:already-decided"


def test_a_rejection_needs_a_known_reason(site: Site) -> None:
    view = site.propose()
    assert site.approvals("reject", view["id"]).code == 2
    assert site.approvals("reject", view["id"], "--reason", "because").code == 2
    assert site.state(view) == "held"


def test_an_edit_keeps_types_and_makes_a_new_request(site: Site, tmp_path: Path) -> None:
    view = site.propose()
    edited = site.approvals(
        "edit", view["id"], "--set", "amount_usd=80.00", "--set", "order_id=007", "--set", "copies=3"
    )
    assert edited.code == 0
    assert "The new revision waits as apr_" in edited.out
    shown = site.approvals("show", view["id"], "--json").json
    assert shown["args"] == {"amount_usd": "80.00", "order_id": "007", "copies": 3, "recipient": "acme"}
    assert shown["revision"] == 2
    file = tmp_path / "args.json"
    file.write_text(json.dumps({**shown["args"], "recipient": "beta"}))
    assert site.approvals("edit", view["id"], "--args", str(file), "--set", "copies:=4").code == 0
    third = site.approvals("show", view["id"], "--json").json
    assert (third["args"]["recipient"], third["args"]["copies"], third["revision"]) == ("beta", 4, 3)


@pytest.mark.parametrize(
    "assignment",
    [
        "amount_usd",
        "=5",
        "amount_usd=1.005",
        "amount_usd=much",
        "copies=many",
        "copies=1.5",
        "copies=true",
        "copies=1",
        "copies:={",
        "unheard=of",
    ],
)
def test_an_edit_that_makes_no_sense_changes_nothing(site: Site, assignment: str) -> None:
    view = site.propose()
    refused = site.approvals("edit", view["id"], "--set", assignment, "--json")
    assert refused.code == 2, refused.out
    assert site.approvals("show", view["id"], "--json").json["revision"] == 1


def test_an_edit_names_what_it_changes(site: Site, tmp_path: Path) -> None:
    view = site.propose()
    assert site.approvals("edit", view["id"]).code == 2
    assert site.approvals("edit", view["id"], "--args", str(tmp_path / "nowhere")).code == 2
    (tmp_path / "list").write_text("[]")
    assert site.approvals("edit", view["id"], "--args", str(tmp_path / "list")).code == 2


# --- who may ----------------------------------------------------------------------------------------------


def test_an_agent_s_key_decides_nothing(site: Site) -> None:
    view = site.propose()
    for arguments in (("list",), ("approve", view["id"], "--hash", view["approval"]["review_hash"])):
        refused = site.approvals(*arguments, "--json", key=site.agent)
        assert refused.code == 4
        assert refused.json["type"] == "urn:interlock:problem:forbidden"
    assert site.state(view) == "held"


def test_a_wrong_or_revoked_key_is_refused(site: Site) -> None:
    made = run(site.folder, "keys", "add", "--kind", "person", "--name", "x", "--person", "owner", "--json")
    assert site.approvals("list", key=made.json["token"]).code == 0
    run(site.folder, "keys", "revoke", made.json["key"]["id"])
    wrong = site.person[:-1] + ("A" if site.person[-1] != "A" else "B")
    for key in (made.json["token"], wrong, "", "secret", "ilk_person_x", "ilk_\u00e9"):
        refused = site.approvals("list", "--json", key=key)
        assert refused.code == 4
        assert refused.json["type"] == "urn:interlock:problem:unauthenticated"
        assert not key or key not in refused.out


def test_a_key_file_is_read_if_it_is_private(site: Site, tmp_path: Path) -> None:
    file = tmp_path / "key"
    file.write_text(site.person + "\n")
    file.chmod(0o600)
    assert run(site.folder, "approvals", "list", "--key-file", str(file)).code == 0
    file.chmod(0o644)
    refused = run(site.folder, "approvals", "list", "--key-file", str(file))
    assert refused.code == 4
    assert "chmod 600" in refused.err
    assert run(site.folder, "approvals", "list", "--key-file", str(tmp_path / "nowhere")).code == 4


@pytest.mark.parametrize("form", [["--key", "ilk_person_x"], ["--key=ilk_person_x"]])
def test_a_key_on_the_command_line_is_refused_and_not_repeated(site: Site, form: list[str]) -> None:
    refused = site.approvals("list", *form)
    assert refused.code == 2
    assert "process list" in refused.err
    assert "ilk_person_x" not in refused.err


def test_an_unknown_id_ends_with_5_and_no_id_with_2(site: Site) -> None:
    assert site.approvals("show", UNKNOWN).code == 5
    assert site.approvals("approve", UNKNOWN.replace("apr", "act"), "--hash", "0").code == 5
    for garbage in ("x", "../../healthz", "apr_?", "apr_" + "0" * 31):
        assert site.approvals("show", garbage).code == 2


# --- which server -----------------------------------------------------------------------------------------


def test_no_server_ends_with_7_and_says_what_to_do(tmp_path: Path) -> None:
    refused = run(
        tmp_path, "approvals", "list", "--url", "http://127.0.0.1:1", env={"INTERLOCK_KEY": "ilk_person_x"}
    )
    assert refused.code == 7
    assert "interlock serve" in refused.err


@pytest.mark.parametrize(
    "url",
    [
        "http://interlock.example",
        "ftp://localhost",
        "http://",
        "http://[::1",
        "x",
        "https://a:b@c",
        "http://h:x",
    ],
)
def test_a_key_is_not_sent_in_the_clear_or_to_nonsense(tmp_path: Path, url: str) -> None:
    for where in ({"INTERLOCK_URL": url}, {}):
        option = () if where else ("--url", url)
        refused = run(tmp_path, "approvals", "list", *option, env={"INTERLOCK_KEY": "ilk_person_x", **where})
        assert refused.code == 2


def test_a_folder_that_was_merely_found_does_not_say_where_the_key_goes(tmp_path: Path) -> None:
    home = tmp_path / ".interlock"
    home.mkdir()
    (home / "server.json").write_text('{"url": "https://interlock.invalid"}')
    env = {"INTERLOCK_KEY": "ilk_person_x"}
    found = run(tmp_path, "approvals", "list", env=env)
    assert found.code == 7
    assert "another machine" in found.err
    named = run(tmp_path, "approvals", "list", "--home", ".interlock", env=env)
    assert named.code == 7
    assert "Nothing answers at https://interlock.invalid" in named.err


@contextlib.contextmanager
def stranger(
    status: int, body: bytes, headers: dict[str, str] | None = None
) -> Iterator[tuple[str, list[str]]]:
    """A server that is not Interlock's; yields its URL and the paths it was asked for."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, text in {"content-length": str(len(body)), **(headers or {})}.items():
                self.send_header(name, text)
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            return

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.mark.parametrize(
    ("status", "body"),
    [
        (200, b"<html>"),
        (200, b"[]"),
        (200, b"{}"),
        (200, b'{"counts": 1, "items": 2, "next": null}'),
        (200, b'{"n": NaN}'),
        (200, b"\xff"),
        (500, b"oops"),
        (404, b'{"detail": "Not Found"}'),
    ],
)
def test_a_server_that_is_not_interlock_s_is_said(tmp_path: Path, status: int, body: bytes) -> None:
    with stranger(status, body) as (url, _):
        for arguments in (("list",), ("show", UNKNOWN)):
            refused = run(
                tmp_path, "approvals", *arguments, "--url", url, env={"INTERLOCK_KEY": "ilk_person_x"}
            )
            assert refused.code == 7


def test_what_a_server_says_cannot_move_the_cursor(tmp_path: Path) -> None:
    problem = {"title": "No\u202e", "detail": "\u001b[2Jgone\u009b", "fix": "\u0007"}
    with stranger(404, json.dumps(problem).encode()) as (url, _):
        refused = run(tmp_path, "approvals", "list", "--url", url, env={"INTERLOCK_KEY": "ilk_person_x"})
    assert refused.code == 5
    assert "⟨U+001B⟩[2Jgone⟨U+009B⟩" in refused.err
    assert not set(refused.err) & set("\u001b\u009b\u202e\u0007")


def test_a_redirect_is_not_followed_with_the_key(tmp_path: Path) -> None:
    with stranger(200, b"{}") as (elsewhere, asked), stranger(307, b"", {"location": elsewhere}) as (url, _):
        refused = run(tmp_path, "approvals", "list", "--url", url, env={"INTERLOCK_KEY": "ilk_person_x"})
        assert refused.code == 7
        assert asked == []


def test_a_proxy_of_the_environment_is_not_used(site: Site) -> None:
    env = {
        "INTERLOCK_KEY": site.person,
        "HTTP_PROXY": "http://127.0.0.1:1",
        "ALL_PROXY": "http://127.0.0.1:1",
    }
    assert run(site.folder, "approvals", "list", env=env).code == 0
