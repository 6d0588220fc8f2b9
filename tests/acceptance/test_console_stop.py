"""The page of kill switches: one form stops, two people lift, and every page says so in between."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_desk import Desk, Visit, findings, open_desk
from playwright.sync_api import Browser, Page, expect


def visit_as(visit: Visit, desk: Desk, name: str, path: str, width: int) -> Page:
    """A page in a browser of somebody else's, who is enrolled on the way."""
    page = visit(desk, desk.link(desk.enrol(name)), width=width, signed_in=False)
    expect(page.get_by_role("heading", name="Needs review")).to_be_visible()
    page.goto(f"{desk.url}{path}")
    return page


@pytest.mark.parametrize("width", [1280, 390])
def test_one_person_stops_an_agent_and_two_let_it_go_on(
    chromium: Browser, visit: Visit, tmp_path: Path, screenshots: Path, width: int
) -> None:
    with open_desk(tmp_path, people="team") as desk:
        held = desk.refund("A-1")
        bob = visit_as(visit, desk, "Bob Ray", "/stop", width)
        expect(bob.get_by_text("Nothing is stopped.")).to_be_visible()
        ana = visit(desk, "/", width=width)
        ana.get_by_role("link", name="Stop", exact=True).click()

        ana.get_by_role("button", name="Stop", exact=True).click()
        expect(ana.get_by_text("Say why, in one line.")).to_be_visible()
        ana.get_by_label("Reason").fill("refunds to strangers")
        ana.get_by_role("button", name="Stop", exact=True).click()
        expect(ana.get_by_role("alert").filter(has_text="agent")).to_be_visible()
        ana.get_by_label("The agent's name").fill("support-bot")
        ana.get_by_role("button", name="Stop", exact=True).click()
        expect(ana.locator(".banner").filter(has_text="Nothing in it is started any more")).to_be_visible()
        ana.screenshot(path=screenshots / f"stop-{width}.png", full_page=True)
        assert desk.refused("support.orders.get", {"order_id": "A-1"}) == "denied"

        page = visit(desk, f"/a/{held}", width=width)
        for each in (page, bob):
            expect(each.get_by_role("alert").filter(has_text="Stopped by a kill switch")).to_contain_text(
                "the agent support-bot"
            )
        expect(page.get_by_text("Frozen by a kill switch")).to_be_visible()
        page.screenshot(path=screenshots / f"stopped-decision-{width}.png")
        bob.get_by_label("Reason").first.fill("the prompt was fixed")
        bob.get_by_role("button", name="Agree to lift it").click()
        expect(bob.get_by_text("You agreed.", exact=False).first).to_be_visible()
        bob.screenshot(path=screenshots / f"stop-agreed-{width}.png", full_page=True)
        ana.get_by_label("Reason").first.fill("I looked at it too")
        ana.get_by_role("button", name="Lift it").click()
        expect(ana.get_by_text("Nothing is stopped.")).to_be_visible()
        expect(bob.get_by_text("Nothing is stopped.")).to_be_visible()
        for each in (ana, bob, page):
            expect(each.get_by_role("alert").filter(has_text="Stopped by a kill switch")).to_have_count(0)
        expect(page.get_by_text("Frozen by a kill switch")).to_have_count(0)
        expect(ana.get_by_role("heading", name="The agent support-bot")).to_be_visible()
        ana.screenshot(path=screenshots / f"stop-lifted-{width}.png", full_page=True)
        desk.decide(held, "approve")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_page_is_accessible_and_a_drill_lifts_itself(visit: Visit, desk: Desk, scheme: str) -> None:
    page = visit(desk, "/stop", scheme=scheme)
    page.get_by_label("Some topics").check()
    page.get_by_label("The topics").fill("support.**")
    page.get_by_label("Reason").fill("every month")
    page.get_by_label("Only a drill").check()
    page.get_by_role("button", name="Stop", exact=True).click()
    expect(page.locator(".banner").filter(has_text="The drill took")).to_be_visible()
    expect(page.get_by_text("Nothing is stopped.")).to_be_visible()
    assert not findings(page)


@pytest.mark.parametrize("width", [390, 320])
def test_nothing_runs_out_of_a_phones_screen(visit: Visit, desk: Desk, width: int) -> None:
    page = visit(desk, "/stop", width=width)
    expect(page.get_by_role("heading", name="Stop something")).to_be_visible()
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    for button in page.get_by_role("button").all():
        box = button.bounding_box()
        assert box is None or box["height"] >= 44
