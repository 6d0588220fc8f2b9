"""Observe mode, where nothing is held, is not to be mistaken for a quiet day."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_desk import Visit, open_desk
from playwright.sync_api import Browser, expect


@pytest.mark.parametrize("width", [1280, 390])
def test_a_policy_that_only_observes_is_an_alarm_on_every_page(
    chromium: Browser, visit: Visit, tmp_path: Path, screenshots: Path, width: int
) -> None:
    with open_desk(tmp_path) as desk:
        enforced = visit(desk, "/", width=width)
        expect(enforced.get_by_role("heading", name="Needs review")).to_be_visible()
        expect(enforced.get_by_role("alert")).to_have_count(0)
        desk.observe()
        for path in ("/", "/?show=resolved"):
            page = visit(desk, path, width=width)
            expect(page.get_by_role("alert")).to_contain_text("nothing is held")
        page.screenshot(path=screenshots / f"observe-{width}.png")
