"""A question in the console: what is asked is read, an option is chosen, and the agent has its answer."""

from __future__ import annotations

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from console_desk import Visit, open_desk
from playwright.sync_api import Browser, expect

ASKED = {"question": "Which account shall it be?", "options": ["EUR", "USD"], "context": "Both exist."}


@pytest.mark.parametrize("width", [1280, 320])
def test_a_question_is_answered_with_one_of_its_options(
    chromium: Browser, visit: Visit, tmp_path: Path, screenshots: Path, width: int
) -> None:
    with open_desk(tmp_path) as desk:
        approval = desk.hold("interlock.ask", ASKED)
        page = visit(desk, f"/a/{approval}", width=width)
        expect(page.get_by_role("heading", name="What is asked")).to_be_visible()
        expect(page.get_by_text("Both exist.").first).to_be_visible()
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)
        expect(page.get_by_role("button", name="More")).to_have_count(0)

        page.get_by_role("button", name="Answer").click()
        sheet = page.get_by_role("dialog", name="Answer")
        sheet.get_by_role("button", name="Answer").click()
        expect(sheet.get_by_text("Choose an answer.")).to_be_visible()
        sheet.get_by_label("USD").check()
        page.screenshot(path=screenshots / f"question-{width}.png")
        assert not Axe().run(page).response["violations"]
        sheet.get_by_role("button", name="Answer").click()

        expect(page.get_by_text("Answer: USD")).to_be_visible()
        page.screenshot(path=screenshots / f"answered-{width}.png", full_page=True)
        assert not Axe().run(page).response["violations"]


def test_a_question_without_options_is_answered_in_words(
    chromium: Browser, visit: Visit, tmp_path: Path
) -> None:
    with open_desk(tmp_path) as desk:
        approval = desk.hold("interlock.ask", {"question": "Which account shall it be?"})
        page = visit(desk, f"/a/{approval}", width=390)
        page.get_by_role("button", name="Answer").click()
        sheet = page.get_by_role("dialog", name="Answer")
        sheet.get_by_label("Answer").fill("The one in euro.")
        sheet.get_by_role("button", name="Answer").click()
        expect(page.get_by_text("Answer: The one in euro.")).to_be_visible()
