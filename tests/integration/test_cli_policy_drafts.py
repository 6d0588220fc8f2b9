"""`interlock init` and `interlock policy import | fmt | schema | export`, as a person at a shell has them."""

from __future__ import annotations

import json
import stat
from pathlib import Path
from typing import Any

import pytest
from cli_command import Result, run, spawn, with_policy

TOOLS = {
    "tools": [
        {"name": "get_issue", "description": "Reads.\n# rules: []", "inputSchema": {"type": "object"}},
        {
            "name": "delete_repo",
            "inputSchema": {"type": "object", "properties": {"name": {"type": "string"}}},
        },
    ]
}
ESCALATE = "# E\n\n> why\n\n## TRIGGERS\nalways_escalate:\n  - delete_data\n\n## APPROVAL\non_timeout: halt\n"
OPENAPI = "openapi: 3.1.0\ninfo: {title: Shop}\npaths: {/orders: {get: {operationId: listOrders}}}\n"
MODULE = """
print("imported")
def get_order(order_id: str) -> dict: ...
def _hidden(): ...
tools = {"refund order": get_order}
"""
NAMES = '["support.orders.get", "support.notes.update", "delete_account"]'


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "tools.json").write_text(json.dumps(TOOLS))
    (tmp_path / "ESCALATE.md").write_text(ESCALATE)
    (tmp_path / "openapi.yaml").write_text(OPENAPI)
    (tmp_path / "shop_tools.py").write_text(MODULE)
    (tmp_path / "names.json").write_text(NAMES)
    return tmp_path


def imported(folder: Path, *arguments: str, stdin: str = "") -> Result:
    return run(folder, "policy", "import", *arguments, stdin=stdin)


SOURCES = [
    ("escalate-md", "ESCALATE.md"),
    ("mcp", "tools.json"),
    ("openapi", "openapi.yaml"),
    ("python", "shop_tools"),
]


# --- import -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("kind", "source"), SOURCES)
def test_a_draft_is_checked_and_its_tests_pass(folder: Path, kind: str, source: str) -> None:
    written = imported(folder, kind, source, "-o", "draft.yaml")
    assert written.code == 0, written.err
    assert run(folder, "policy", "check", "draft.yaml").code == 0
    assert run(folder, "policy", "test", "draft.yaml").code == 0
    assert run(folder, "policy", "fmt", "draft.yaml", "--check").code == 0
    printed = imported(folder, kind, source)
    assert printed.out == (folder / "draft.yaml").read_text()


@pytest.mark.parametrize(("kind", "source"), SOURCES)
def test_json_says_everything_about_a_draft(folder: Path, kind: str, source: str) -> None:
    document = imported(folder, kind, source, "--json").json
    assert document["policy"].startswith("# Drafted from")
    assert document["tests"].startswith("# What the policy")
    assert document["written"] == []
    assert document["in_force"] is None
    assert document["topics"] == list(document["tiers"])


def test_files_that_are_there_are_not_touched_unless_forced(folder: Path) -> None:
    (folder / "draft.test.yaml").write_text("mine")
    refused = imported(folder, "mcp", "tools.json", "-o", "draft.yaml")
    assert refused.code == 2
    assert "draft.test.yaml" in refused.err
    assert not (folder / "draft.yaml").exists()
    assert (folder / "draft.test.yaml").read_text() == "mine"
    (folder / "draft.yaml").write_text("old")
    (folder / "draft.yaml").chmod(0o600)
    assert imported(folder, "mcp", "tools.json", "-o", "draft.yaml", "--force").code == 0
    assert (folder / "draft.yaml").read_text() != "old"
    assert stat.S_IMODE((folder / "draft.yaml").stat().st_mode) == 0o600
    assert [file.name for file in folder.iterdir() if file.name.startswith(".")] == []


def test_a_directory_that_is_not_there_is_an_error_and_leaves_nothing(folder: Path) -> None:
    failed = imported(folder, "mcp", "tools.json", "-o", "nowhere/draft.yaml")
    assert failed.code == 7
    assert "nowhere" in failed.err


def test_standard_input_and_names_are_taken(folder: Path) -> None:
    piped = imported(folder, "mcp", "-", "--name", "GitHub", "--json", stdin=json.dumps(TOOLS))
    assert piped.json["topics"] == ["git_hub.get_issue", "git_hub.delete_repo"]
    assert imported(folder, "openapi", "-", "--name", "a", "--json", stdin=OPENAPI).json["topics"] == [
        "a.list_orders"
    ]
    assert imported(folder, "mcp", "tools.json", "--json").json["topics"][0] == "tools.get_issue"


def test_what_was_left_out_is_said_beside_the_draft(folder: Path) -> None:
    twins = json.dumps([{"name": "getX"}, {"name": "get_x"}, {"name": "get_y"}])
    printed = imported(folder, "mcp", "-", stdin=twins)
    assert printed.code == 0
    assert "getX" in printed.err
    assert printed.out.startswith("# Drafted from")


def test_importing_python_runs_the_module_from_here_and_keeps_standard_output_clean(folder: Path) -> None:
    done = spawn(folder, "policy", "import", "python", "shop_tools:tools", "--json")
    assert done.code == 0, done.err
    assert done.json["topics"] == ["shop_tools.refund_order"]
    assert "imported" in done.err


@pytest.mark.parametrize("target", ["nowhere_at_all", "shop_tools:nothing", "broken", "ending", ""])
def test_a_module_that_cannot_be_imported_is_an_error_in_words(folder: Path, target: str) -> None:
    (folder / "broken.py").write_text("1 / 0\n")
    (folder / "ending.py").write_text("raise SystemExit(0)\n")
    failed = spawn(folder, "policy", "import", "python", target)
    assert failed.code == 2
    assert failed.out == ""


@pytest.mark.parametrize(
    ("kind", "content", "code"),
    [
        ("mcp", b"{", 2),
        ("mcp", b"\xff", 2),
        ("openapi", b"swagger: '2.0'", 2),
        ("escalate-md", b"# hello", 3),
        ("escalate-md", b"## TRIGGERS\nalways_escalate: *x\n", 3),
    ],
)
def test_what_cannot_be_drafted_from_is_an_error_in_words(
    folder: Path, kind: str, content: bytes, code: int
) -> None:
    (folder / "bad").write_bytes(content)
    for source in ("bad", "missing"):
        failed = imported(folder, kind, source, "--json")
        assert failed.code == (code if source == "bad" else 2)
        assert failed.json["detail"]


def test_import_says_what_a_home_catalogues_already(folder: Path) -> None:
    assert imported(folder, "mcp", "tools.json", "--home", "nowhere").code == 7
    with_policy(folder, "interlock: 1\npeople: solo\nactions: {tools.get_issue: {tier: 1}}\n")
    run(folder, "keys", "add", "--kind", "agent", "--name", "a", "--topics", "tools.*", "--home", "h")
    assert imported(folder, "mcp", "tools.json", "--home", "h", "--json").json["in_force"] == []
    activate = (
        "policy",
        "activate",
        "policy.yaml",
        "--home",
        "h",
        "--reason",
        "first",
        "--yes",
        "--skip-tests",
    )
    assert run(folder, *activate).code == 0
    document = imported(folder, "mcp", "tools.json", "--home", "h", "--json").json
    assert document["in_force"] == ["tools.get_issue"]


# --- fmt, schema, export ----------------------------------------------------------------------------------


RULES = "rules:\n  # kept\n  - {id: a, when: "
LOOSE = f"interlock: 1   \n{RULES}signals.retry_count>2 AND tier==3, decision: deny}}\n"
TIGHT = f"interlock: 1\n{RULES}signals.retry_count > 2 && tier == 3, decision: deny}}\n"


def test_fmt_prints_checks_and_writes(folder: Path) -> None:
    file = with_policy(folder, LOOSE)
    assert run(folder, "policy", "fmt", "policy.yaml").out == TIGHT
    checked = run(folder, "policy", "fmt", "policy.yaml", "--check")
    assert checked.code == 3
    assert "signals.retry_count > 2 && tier == 3" in checked.out
    assert file.read_text() == LOOSE
    file.chmod(0o640)
    assert run(folder, "policy", "fmt", "policy.yaml", "--write").code == 0
    assert file.read_text() == TIGHT
    assert stat.S_IMODE(file.stat().st_mode) == 0o640
    assert run(folder, "policy", "fmt", "policy.yaml", "--check").code == 0


def test_fmt_takes_directories_and_says_what_changes_as_json(folder: Path) -> None:
    (folder / "p").mkdir()
    (folder / "p" / "a.yaml").write_text(LOOSE)
    (folder / "p" / "b.yaml").write_text("interlock: 1\n")
    document = run(folder, "policy", "fmt", "p", "--json").json
    assert document["changed"] == ["p/a.yaml"]
    assert document["written"] == []
    assert [file["conditions"] != [] for file in document["files"]] == [True, False]
    assert run(folder, "policy", "fmt", "p").code == 2


def test_fmt_of_what_does_not_load_is_an_error_at_its_line(folder: Path) -> None:
    file = with_policy(folder, "rules:\n  - {id: a, when: tier = 3, decision: deny}\n")
    failed = run(folder, "policy", "fmt", "policy.yaml", "--write", "--json")
    assert failed.code == 3
    assert failed.json["findings"][0]["line"] == 2
    assert "tier = 3" in file.read_text()


def test_schema_is_the_published_one(folder: Path) -> None:
    published = Path(__file__).parents[2] / "schemas" / "policy-1.schema.json"
    assert run(folder, "policy", "schema").json == json.loads(published.read_text(encoding="utf-8"))
    assert run(folder, "policy", "schema", "--json").json["$id"] == "urn:interlock:policy:1"


def test_export_prints_one_expression_for_each_rule(folder: Path) -> None:
    with_policy(folder)
    exported = run(folder, "policy", "export", "policy.yaml", "--cel")
    assert exported.code == 0, exported.err
    assert [rule["id"] for rule in exported.json["rules"]] == ["large", "circles", "prod"]
    assert exported.json["in_force"] is None
    assert exported.out == run(folder, "policy", "export", "policy.yaml", "--cel", "--json").out
    assert run(folder, "policy", "export", "policy.yaml").code == 2


# --- init -------------------------------------------------------------------------------------------------


def init(folder: Path, *arguments: str, stdin: str = "") -> Result:
    return run(folder, "init", *arguments, stdin=stdin)


def sound(folder: Path, where: str = ".") -> Any:
    assert run(folder, "policy", "test", f"{where}/policy.yaml").code == 0
    return run(folder, "policy", "check", f"{where}/policy.yaml", "--json").json


def test_init_asks_writes_and_what_it_writes_passes(folder: Path) -> None:
    answers = "support.orders.get\nsend_email\n\n" + "n\n" * 4 + "y\n" + "\n" * 4
    done = init(folder, "-o", "made", "--name", "desk", stdin=answers)
    assert done.code == 0, done.err
    assert "desk.send_email (2 of 2), by its name tier 4" in done.err
    assert sound(folder, "made")["topics"] == 2
    assert sorted(file.name for file in (folder / "made").iterdir()) == ["policy.test.yaml", "policy.yaml"]


def test_an_empty_answer_takes_the_suggestion_and_a_wrong_one_is_asked_again(folder: Path) -> None:
    (folder / "one.json").write_text('["delete_account"]')
    done = init(folder, "--tools", "one.json", "--json", stdin="?\nperhaps\n\n\n\n\n")
    assert done.code == 0, done.err
    assert list(done.json["tiers"].values()) == [4]
    assert "for example: deleting production data" in done.err
    assert "answer y or n" in done.err


@pytest.mark.parametrize("stdin", ["", "n\nn\n", "maybe\nwhat\nno idea\nn\nn\nn\nn\nn\n"])
def test_answers_that_end_or_are_none_write_nothing(folder: Path, stdin: str) -> None:
    before = sorted(folder.iterdir())
    done = init(folder, "--tools", "names.json", "-o", "made", stdin=stdin)
    assert done.code == 2
    assert sorted(folder.iterdir()) == before


def test_init_without_asking_takes_files_and_modules(folder: Path) -> None:
    taken = init(folder, "--tools", "names.json", "--yes", "-o", "a", "--json")
    assert taken.json["tiers"] == {
        "support.orders.get": 1,
        "support.notes.update": 3,
        "a.delete_account": 4,
    }
    assert taken.json["passed"] == 3
    assert init(folder, "--tools", "tools.json", "--yes", "-o", "b", "--json").json["topics"] == [
        "tools.get_issue",
        "tools.delete_repo",
    ]
    taken = init(
        folder, "--tools", "tools.json", "--server", "hub", "--name", "shop", "--yes", "-o", "s", "--json"
    )
    assert taken.json["topics"] == ["hub.get_issue", "hub.delete_repo"]
    (folder / "日本.json").write_text(json.dumps(TOOLS))
    taken = init(folder, "--tools", "日本.json", "--yes", "-o", "u", "--json")
    assert taken.json["topics"] == ["u.get_issue", "u.delete_repo"]
    assert "name: shop" in (folder / "s" / "policy.yaml").read_text()
    assert init(folder, "--from", "shop_tools:tools", "--yes", "-o", "c").code == 0
    for where in "abc":
        sound(folder, where)


def test_answers_in_a_file_are_read_strictly(folder: Path) -> None:
    (folder / "answers.json").write_text('{"support.notes.update": {"routine": true, "new": true}}')
    assert init(folder, "--answers", "answers.json", "-o", "a").code == 0
    assert sound(folder, "a")["rules"] == 2
    assert init(folder, "--tools", "names.json", "--answers", "answers.json", "-o", "b").code == 0
    (folder / "answers.json").write_text('{"support.notes.updte": {"routine": true}}')
    refused = init(folder, "--tools", "names.json", "--answers", "answers.json", "-o", "d")
    assert refused.code == 2
    assert "did you mean 'support.notes.update'" in refused.err
    assert not (folder / "d").exists()


def test_init_never_writes_over_a_policy(folder: Path) -> None:
    file = with_policy(folder, "mine")
    assert init(folder, "--tools", "names.json", "--yes").code == 2
    assert file.read_text() == "mine"
    assert not (folder / "policy.test.yaml").exists()
    assert init(folder, "--tools", "names.json", "--yes", "--force").code == 0
    sound(folder)


def test_init_of_nothing_that_can_be_catalogued_writes_nothing(folder: Path) -> None:
    (folder / "twins.json").write_text('[{"name": "getX"}, {"name": "get_x"}]')
    failed = init(folder, "--tools", "twins.json", "--yes", "-o", "made")
    assert failed.code == 2
    assert "can be catalogued" in failed.err
    assert not (folder / "made").exists()


def test_init_says_what_it_left_out(folder: Path) -> None:
    (folder / "some.json").write_text('[{"name": "getX"}, {"name": "get_x"}, {"name": "get_y"}]')
    done = init(folder, "--tools", "some.json", "--yes", "-o", "made")
    assert done.code == 0
    assert "getX" in done.err


def test_init_needs_tools_from_one_place(folder: Path) -> None:
    assert init(folder, "--yes").code == 2
    assert init(folder, "--tools", "names.json", "--from", "shop_tools").code == 2
    assert init(folder, "--tools", "-", "--answers", "-").code == 2
