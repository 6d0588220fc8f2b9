"""Entries of a session that do not follow each other fail the log."""

from __future__ import annotations

from typing import Any

import pytest

from exports import AGENT, of
from interlock.verify.authority import Authority
from interlock.verify.broken import Broken, Unfounded
from interlock.verify.sessions import Sessions

OPENED, SAID, ENDED = of("session.opened"), of("session.recorded"), of("session.ended")


def follow(*entries: dict[str, Any]) -> None:
    sessions = Sessions()
    steps = {"opened": sessions.opened, "recorded": sessions.recorded, "ended": sessions.ended}
    for entry in entries:
        steps[entry["kind"].removeprefix("session.")](entry)


def test_a_session_is_opened_recorded_in_and_ended() -> None:
    other = "ses_" + "2" * 32
    follow(OPENED, SAID, {**OPENED, "session": other}, {**SAID, "number": 2, "what": "result"}, ENDED)


@pytest.mark.parametrize(
    "entries",
    [
        (OPENED, OPENED),
        (OPENED, ENDED, OPENED),
        (OPENED, ENDED, SAID),
        (OPENED, ENDED, ENDED),
        (OPENED, {**SAID, "number": 2}),
        (OPENED, SAID, SAID),
        (OPENED, {**SAID, "what": "approval"}),
    ],
    ids=["twice", "again", "afterwards", "ended twice", "a gap", "repeated", "another kind"],
)
def test_what_cannot_follow_is_broken(entries: tuple[dict[str, Any], ...]) -> None:
    with pytest.raises(Broken) as found:
        follow(*entries)
    assert not isinstance(found.value, Unfounded)


@pytest.mark.parametrize("entry", [SAID, ENDED])
def test_what_nobody_opened_is_unfounded(entry: dict[str, Any]) -> None:
    with pytest.raises(Unfounded):
        follow(entry)


def test_what_an_agents_own_key_recorded_is_broken() -> None:
    authority = Authority()
    authority.key_added(of("key.added"))
    authority.key_added(of("key.added", key="key_" + "2" * 32, key_kind="adapter"))
    authority.hosted({**SAID, "key": "key_" + "2" * 32})
    authority.hosted(SAID)
    with pytest.raises(Broken):
        authority.hosted({**SAID, "key": AGENT})
