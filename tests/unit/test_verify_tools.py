"""An acceptance that does not name the definition before it fails the log."""

from __future__ import annotations

import pytest

from exports import DIGEST, of
from interlock.verify.broken import Broken, Unfounded
from interlock.verify.tools import Tools

OTHER = "0c" * 32


def test_each_acceptance_names_the_one_before() -> None:
    tools = Tools()
    tools.accepted(of("tool.accepted"))
    tools.accepted(of("tool.accepted", tool=OTHER, previous=DIGEST))
    tools.accepted(of("tool.accepted", topic="github.search"))


@pytest.mark.parametrize("previous", [None, OTHER])
def test_an_acceptance_that_passes_over_one_is_broken(previous: str | None) -> None:
    tools = Tools()
    tools.accepted(of("tool.accepted"))
    with pytest.raises(Broken):
        tools.accepted(of("tool.accepted", tool=OTHER, previous=previous))


def test_an_acceptance_that_replaces_one_that_never_came_is_unfounded() -> None:
    with pytest.raises(Unfounded):
        Tools().accepted(of("tool.accepted", previous=OTHER))
