"""Which definitions of tools were accepted: recorded, marked, and followed by the verifier."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from house import BOTH, House
from interlock.gate.tools import SeenTool
from interlock.model.canonical import canonical
from interlock.model.errors import InvalidInput, Tampered
from interlock.verify import verify_export

DATABASES = BOTH
TOPIC = "github.create_issue"
FIRST, SECOND = "1" * 64, "2" * 64


def accepted(house: House) -> list[dict[str, object]]:
    found = [json.loads(entry) for entry in house.entries()]
    return [entry for entry in found if entry["kind"] == "tool.accepted"]


def test_accepting_a_definition_is_recorded_once_and_names_the_one_before(
    house: House, tmp_path: Path
) -> None:
    tools = house.home.tools
    assert tools.all() == {}
    assert tools.accept({TOPIC: FIRST}, by="ana") == (TOPIC,)
    assert tools.accept({TOPIC: FIRST}, by="bo") == ()
    assert tools.accept({TOPIC: SECOND, "github.search": FIRST}, by="bo") == (TOPIC, "github.search")
    assert {topic: (one.tool, one.by) for topic, one in tools.all().items()} == {
        TOPIC: (SECOND, "bo"),
        "github.search": (FIRST, "bo"),
    }
    assert [(entry["topic"], entry["tool"], entry.get("previous")) for entry in accepted(house)] == [
        (TOPIC, FIRST, None),
        (TOPIC, SECOND, FIRST),
        ("github.search", FIRST, None),
    ]
    house.home.publisher.publish()
    house.home.publisher.export(tmp_path / "log")
    assert verify_export(tmp_path / "log", vkey=house.home.publisher.vkey).ok


def test_a_row_that_was_put_there_from_outside_accepts_nothing(house: House) -> None:
    house.home.tools.accept({TOPIC: FIRST}, by="ana")
    house.sql("UPDATE accepted_tools SET tool = ?", SECOND)
    with pytest.raises(Tampered):
        house.home.tools.all()
    with pytest.raises(Tampered):
        house.home.tools.accept({TOPIC: SECOND}, by="ana")


def test_the_mark_of_one_topic_is_worth_nothing_for_another(house: House) -> None:
    house.home.tools.accept({TOPIC: FIRST}, by="ana")
    house.sql("UPDATE accepted_tools SET topic = 'github.delete_repo'")
    with pytest.raises(Tampered):
        house.home.tools.all()


def test_a_row_that_is_gone_leaves_the_tool_unknown(house: House) -> None:
    house.home.tools.accept({TOPIC: FIRST}, by="ana")
    house.sql("DELETE FROM accepted_tools")
    assert house.home.tools.all() == {}


@pytest.mark.parametrize("tools", [{"No Topic": FIRST}, {TOPIC: "short"}, {TOPIC: FIRST.upper() + "A"}])
def test_only_topics_and_hashes_are_accepted(house: House, tools: dict[str, str]) -> None:
    with pytest.raises(InvalidInput):
        house.home.tools.accept(tools, by="ana")
    assert house.home.tools.all() == {}


def seen_as(description: str, name: str = "create_issue", server: str = "github") -> SeenTool:
    return SeenTool(f"{server}.{name}", server, name, canonical({"name": name, "description": description}))


def test_what_was_seen_is_the_newest_and_the_accepted_definition_and_nothing_else(house: House) -> None:
    tools, old, new = house.home.tools, seen_as("old"), seen_as("new")
    other, elsewhere = seen_as("other", "search"), seen_as("theirs", server="gitlab")
    tools.saw(["github", "gitlab"], [old, other, elsewhere])
    tools.accept({TOPIC: old.tool}, by="ana")

    def listed() -> set[SeenTool]:
        return {each for each, _ in tools.seen()}

    tools.saw(["github"], [new])
    assert listed() == {old, new, elsewhere}, "what a server does not list any more is gone, unless accepted"
    tools.saw(["github"], [seen_as("newer")])
    assert listed() == {old, seen_as("newer"), elsewhere}
    size = len(house.entries())
    tools.saw(["github"], [old])
    assert listed() == {old, elsewhere}
    assert len(house.entries()) == size, "to look is no act"


def test_what_is_known_is_not_written_again(house: House) -> None:
    house.home.tools.saw(["github"], [seen_as("old")])
    before = house.home.journal.head()[2]
    house.home.tools.saw(["github"], [seen_as("old")])
    assert house.home.journal.head()[2] == before
