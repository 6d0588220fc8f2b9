"""`interlock keys` and `interlock ledger`: administration of a home by whoever has its files."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cli_command import Result, environment, run

from interlock.home import Home
from interlock.identity import KeyKind
from interlock.model.errors import Unauthenticated

AGENT = ("keys", "add", "--kind", "agent", "--name", "bot", "--topics", "job.**")
PERSON = ("keys", "add", "--kind", "person", "--name", "laptop", "--person", "Ana")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a home in it, whose one person is Ana."""
    home = Home.open(tmp_path / ".interlock")
    home.roster.first("Ana", by="test")
    home.close()
    return tmp_path


def added(folder: Path, *arguments: str) -> dict[str, Any]:
    result = run(folder, *arguments, "--json")
    assert result.code == 0, result.out
    document: dict[str, Any] = result.json
    return document


def authenticate(folder: Path, token: str) -> Any:
    home = Home.open(folder / ".interlock")
    try:
        return home.keyring.authenticate(token)
    finally:
        home.close()


# --- keys -------------------------------------------------------------------------------------------------


def test_a_key_that_was_added_works_and_one_that_was_revoked_does_not(folder: Path) -> None:
    made = added(folder, *AGENT, "--operator", "Ana", "--expires", "30d")
    caller = authenticate(folder, made["token"])
    assert (caller.kind, caller.agent) == (KeyKind.AGENT, "bot")
    assert caller.operator == made["key"]["person"]["id"]
    assert made["key"]["expires_at"] is not None
    revoked = run(folder, "keys", "revoke", made["key"]["id"], "--json")
    assert revoked.json["key"]["revoked_at"] is not None
    with pytest.raises(Unauthenticated):
        authenticate(folder, made["token"])
    assert run(folder, "keys", "revoke", made["key"]["id"]).code == 4


def test_a_token_is_printed_once_and_listed_never(folder: Path) -> None:
    words = run(folder, *AGENT)
    token = words.out.splitlines()[-1]
    assert re.fullmatch(r"ilk_agent_[0-9a-f]{32}\.\S{43}", token)
    assert "this once" in words.out
    listed = run(folder, "keys", "list")
    assert token not in listed.out
    assert token.partition(".")[0].removeprefix("ilk_agent_") in listed.out
    assert token not in run(folder, "keys", "list", "--json").out


def test_a_person_s_key_enrols_whoever_is_new_and_says_so(folder: Path) -> None:
    assert added(folder, *PERSON)["enrolled"] is None
    made = added(folder, "keys", "add", "--kind", "person", "--name", "phone", "--person", "Ben")
    assert made["enrolled"] == "Ben"
    listed = run(folder, "keys", "list", "--json").json
    assert [person["name"] for person in listed["people"]] == ["Ana", "Ben"]
    assert [key["person"]["name"] for key in listed["keys"]] == ["Ana", "Ben"]


def test_topics_may_be_repeated_or_joined_by_commas(folder: Path) -> None:
    made = added(folder, *AGENT[:-1], "a.b, c.*", "--topics", "d.e")
    assert made["key"]["topics"] == ["a.b", "c.*", "d.e"]


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("keys", "add", "--kind", "robot", "--name", "x"), 2),
        (("keys", "add", "--kind", "agent", "--name", "x"), 2),
        (("keys", "add", "--kind", "agent", "--name", "x\n", "--topics", "a.b"), 2),
        (("keys", "add", "--kind", "agent", "--name", "x", "--topics", "A.b"), 2),
        (("keys", "add", "--kind", "agent", "--name", "x", "--topics", "a.b", "--person", "Ana"), 2),
        (("keys", "add", "--kind", "person", "--name", "x"), 2),
        (("keys", "add", "--kind", "person", "--name", "x", "--person", "Ana", "--topics", "a.b"), 2),
        (("keys", "add", "--kind", "person", "--name", "x", "--person", "Ana", "--operator", "Ana"), 2),
        ((*AGENT, "--operator", "Nobody"), 5),
        ((*AGENT, "--expires", "soon"), 2),
        ((*AGENT, "--expires", "0d"), 2),
        (("keys", "revoke", "key_00000000000000000000000000000000"), 5),
        (("keys", "revoke", "ilk_agent_x"), 2),
        (("keys", "link", "--person", "Nobody"), 5),
    ],
)
def test_what_makes_no_sense_leaves_no_trace(folder: Path, arguments: tuple[str, ...], code: int) -> None:
    before = run(folder, "keys", "list", "--json").out
    assert run(folder, *arguments).code == code
    assert run(folder, "keys", "list", "--json").out == before


@pytest.mark.parametrize(
    "arguments", [("keys", "list"), ("keys", "link"), AGENT, ("ledger", "export", "out")]
)
def test_a_mistyped_home_is_refused_and_not_made(tmp_path: Path, arguments: tuple[str, ...]) -> None:
    result = run(tmp_path, *arguments)
    assert result.code == 7
    assert "There is no home at .interlock" in result.err
    assert list(tmp_path.iterdir()) == []


def test_a_first_key_makes_the_home_that_was_named(tmp_path: Path) -> None:
    assert run(tmp_path, *AGENT, "--home", "fresh").code == 0
    assert (tmp_path / "fresh" / "journal.db").exists()


def test_a_link_signs_in_its_person_once(folder: Path) -> None:
    result = run(folder, "keys", "link", "--json")
    url, token = result.json["url"].split("#")
    assert url == "http://localhost:8420/sign-in"
    assert "No server" in result.err
    home = Home.open(folder / ".interlock")
    try:
        assert home.roster.redeem(token)[1].name == "Ana"
        with pytest.raises(Unauthenticated):
            home.roster.redeem(token)
    finally:
        home.close()


def test_a_link_needs_a_name_where_several_are_enrolled(folder: Path) -> None:
    added(folder, "keys", "add", "--kind", "person", "--name", "phone", "--person", "Ben")
    refused = run(folder, "keys", "link")
    assert refused.code == 2
    assert "Ana, Ben" in refused.err
    assert run(folder, "keys", "link", "--person", "Ben", "--json").json["person"]["name"] == "Ben"


def damage_database(home: Path) -> None:
    (home / "journal.db").write_bytes(b"garbage" * 1000)


def lose_keystore(home: Path) -> None:
    (home / "keystore" / "vault.json").unlink()


def open_to_others(home: Path) -> None:
    home.chmod(0o777)


@pytest.mark.parametrize("harm", [damage_database, lose_keystore, open_to_others])
def test_a_harmed_home_is_an_error_with_words(folder: Path, harm: Any) -> None:
    harm(folder / ".interlock")
    result = run(folder, "keys", "list", "--json")
    assert result.code == 7
    assert result.json["type"] == "urn:interlock:problem:home-unusable"


# --- ledger -----------------------------------------------------------------------------------------------


def verified(folder: Path, *arguments: str) -> Result:
    return run(folder, "ledger", "verify", "export", "--json", *arguments)


def test_an_export_verifies_against_the_home_s_key_and_an_older_checkpoint(folder: Path) -> None:
    first = run(folder, "ledger", "export", "first", "--json").json
    added(folder, *AGENT)
    exported = run(folder, "ledger", "export", "export", "--json").json
    assert exported["size"] == first["size"] + 1
    enclosed = verified(folder)
    assert enclosed.code == 0
    assert enclosed.json["warnings"]
    (folder / "vkey").write_text(exported["vkey"])
    for key in (("--vkey", exported["vkey"]), ("--vkey", "@vkey"), ("--home", ".interlock")):
        result = verified(folder, *key, "--since", "first/checkpoint")
        assert result.code == 0, result.out
        assert result.json["ok"] is True
        assert result.json["size"] == exported["size"]
        assert result.json["kinds"]["key.added"] == 1
        assert result.json["warnings"] == []
    words = run(folder, "ledger", "verify", "export")
    assert words.code == 0
    assert f"ok: {exported['size']} entries" in words.out


def test_a_changed_entry_ends_with_3(folder: Path) -> None:
    run(folder, "ledger", "export", "export")
    bundle = next((folder / "export" / "tile" / "entries").rglob("000.p/*"))
    bundle.write_bytes(bundle.read_bytes().replace(b'"person.added"', b'"person.addex"'))
    result = verified(folder)
    assert result.code == 3
    assert result.json["ok"] is False
    assert result.json["problems"]


def test_a_truncated_log_ends_with_3(folder: Path) -> None:
    run(folder, "ledger", "export", "export")
    added(folder, *AGENT)
    run(folder, "ledger", "export", "newer")
    result = verified(folder, "--since", "newer/checkpoint")
    assert result.code == 3
    assert any("truncated" in problem["what"] for problem in result.json["problems"])


def test_a_stranger_s_key_ends_with_3(folder: Path) -> None:
    run(folder, "ledger", "export", "export")
    run(folder, *AGENT, "--home", "other")
    assert verified(folder, "--home", "other").code == 3


def test_what_cannot_be_checked_ends_with_6(folder: Path) -> None:
    assert verified(folder).code == 6
    run(folder, "ledger", "export", "export")
    (folder / "export" / "vkey").unlink()
    result = verified(folder)
    assert result.json["ok"] is False
    assert (result.code, result.json["cannot_check"]) in ((6, True), (3, False))


def test_options_that_cannot_be_read_end_with_2(folder: Path) -> None:
    run(folder, "ledger", "export", "export")
    assert verified(folder, "--vkey", "@nowhere").code == 2
    mistyped = verified(folder, "--vkey", "interlock.local/0123+89abcdef+AQID")
    assert (mistyped.code, "no verifier key" in mistyped.json["detail"]) == (2, True)
    assert verified(folder, "--since", "nowhere").code == 2
    assert verified(folder, "--vkey", "x", "--home", ".interlock").code == 2


def test_an_export_never_writes_into_a_folder_with_something_in_it(folder: Path) -> None:
    assert run(folder, "ledger", "export", ".").code == 2
    (folder / "file").touch()
    assert run(folder, "ledger", "export", "file").code == 2


def test_verifying_loads_nothing_that_writes_a_ledger(folder: Path) -> None:
    run(folder, "ledger", "export", "export")
    script = (
        "import sys; from interlock.cli import main; code = main(['ledger', 'verify', 'export', '--json']);"
        "print(*[m for m in sys.modules if m.startswith('interlock.')], file=sys.stderr); sys.exit(code)"
    )
    done = subprocess.run(
        (sys.executable, "-c", script), cwd=folder, env=environment(), capture_output=True, text=True
    )
    assert done.returncode == 0
    loaded = done.stderr.split()
    assert "interlock.verify" in loaded
    assert not [m for m in loaded if m.split(".")[1] in ("ledger", "journal", "home", "gate")]
