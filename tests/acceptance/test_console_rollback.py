"""Taking back in the console: what would be done is shown first, and another person decides about it."""

from __future__ import annotations

from pathlib import Path

import pytest
from console_desk import UPDATE, Visit, findings, open_desk, until
from playwright.sync_api import Browser, expect

ARGS = {"segment": "vip", "tags": ["gold"], "rows": 4, "customers": 4, "share": 0.5, "notify": False}


@pytest.mark.parametrize("width", [1280, 390])
def test_an_action_is_taken_back_by_two_people(
    chromium: Browser, visit: Visit, tmp_path: Path, screenshots: Path, width: int
) -> None:
    with open_desk(tmp_path, people="team") as desk:
        bob = visit(desk, desk.link(desk.enrol("Bob Ray")), width=width, signed_in=False)
        expect(bob.get_by_role("heading", name="Needs review")).to_be_visible()
        approval = desk.hold(UPDATE, ARGS)
        action = desk.decide(approval, "approve")["action_id"]
        until(lambda: desk.as_agent(action)["state"] == "succeeded")

        ana = visit(desk, f"/a/{approval}", width=width)
        ana.get_by_role("button", name="Take it back…").click()
        sheet = ana.get_by_role("dialog", name="Take it back")
        expect(sheet).to_contain_text("support.customers.restore")
        expect(sheet).to_contain_text("and not for you alone")
        expect(sheet).to_contain_text("vip")
        ana.screenshot(path=screenshots / f"rollback-plan-{width}.png")
        assert not findings(ana)
        assert desk.as_agent(action)["rollback"] is None
        sheet.get_by_role("button", name="Take it back").click()

        expect(ana.get_by_text("A rollback, asked for by Ana Sol")).to_be_visible()
        expect(ana.get_by_role("link", name="Tag the 4 records of segment vip")).to_be_visible()
        expect(ana.get_by_role("button", name="More")).to_have_count(0)
        ana.screenshot(path=screenshots / f"rollback-request-{width}.png", full_page=True)
        assert not findings(ana)

        bob.goto(ana.url)
        bob.get_by_role("button", name="Approve").click()
        expect(bob.locator("#outcome")).to_contain_text("Succeeded")
        until(lambda: desk.as_agent(action)["state"] == "rolled_back")
        assert len(desk.shop.got("/customers/restore")) == 1

        bob.goto(f"{desk.url}/a/{action}")
        expect(bob.locator("#outcome")).to_contain_text("Rolled back")
        expect(bob.get_by_role("button", name="Take it back…")).to_have_count(0)
        bob.screenshot(path=screenshots / f"rolled-back-{width}.png", full_page=True)
        assert not findings(bob)
        bob.get_by_role("link", name="its rollback").click()
        expect(bob.get_by_text("it takes back")).to_be_visible()


def test_what_has_no_undo_is_said_to_have_none(chromium: Browser, visit: Visit, tmp_path: Path) -> None:
    with open_desk(tmp_path) as desk:
        action = desk.propose("support.orders.get", {"order_id": "A-1"})
        assert action["state"] == "succeeded", action
        page = visit(desk, f"/a/{action['id']}")
        page.get_by_role("button", name="Take it back…").click()
        expect(page.get_by_role("alert").filter(has_text="names nothing")).to_be_visible()
