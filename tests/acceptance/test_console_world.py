"""What an action rests on, as who decides sees it: unread, read, and changed after the approval."""

from __future__ import annotations

from pathlib import Path

from console_desk import HEIGHT, REROUTE, Desk, Visit, findings, until
from playwright.sync_api import Page, expect

SCREENSHOTS = Path(__file__).parents[2] / "screenshots"
IN_HAMBURG = {"state": "waiting", "depot": "Hamburg", "street": "Elbchaussee 1", "weight": 3}


def held(desk: Desk, parcel: str, answer: tuple[int, object]) -> str:
    desk.shop.answers[f"/parcels/{parcel}"] = answer
    return desk.hold(REROUTE, {"parcel": parcel, "street": "Ulmenweg 4"})


def state(desk: Desk, approval: str) -> str:
    return str(desk.approval(approval)["world"]["state"])


def looked_at(page: Page, name: str) -> None:
    """A picture for people, and what axe finds."""
    SCREENSHOTS.mkdir(exist_ok=True)
    page.screenshot(path=SCREENSHOTS / f"{name}.png", full_page=True)
    assert not findings(page)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_what_cannot_be_read_is_said_and_shown_once_it_was(desk: Desk, visit: Visit) -> None:
    approval = held(desk, "P-1", (503, {"error": "later"}))
    until(lambda: state(desk, approval) == "unavailable")
    page = visit(desk, f"/a/{approval}")
    expect(page.get_by_text("It could not be read")).to_be_visible()
    expect(page.get_by_text("tried again until the request ends")).to_be_visible()
    desk.shop.answers["/parcels/P-1"] = (200, IN_HAMBURG)
    expect(page.get_by_role("cell", name="Hamburg")).to_be_visible()
    assert page.get_by_text("This changed").count() == 0
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#outcome")).to_be_visible()
    until(lambda: len(desk.shop.got("/reroute")) == 1)


def test_what_changed_after_the_approval_waits_again_with_the_difference(desk: Desk, visit: Visit) -> None:
    before = len(desk.shop.got("/reroute"))
    approval = held(desk, "P-2", (200, IN_HAMBURG))
    until(lambda: state(desk, approval) == "read")
    desk.shop.answers["/parcels/P-2"] = (200, {**IN_HAMBURG, "state": "on a van", "street": "Ulmenweg 3"})
    action = desk.decide(approval, "approve")["action_id"]
    until(lambda: desk.approval(action)["id"] != approval)
    for width in HEIGHT:
        page = visit(desk, f"/a/{desk.approval(action)['id']}", width=width)
        expect(page.get_by_text("It was approved, and waits again")).to_be_visible()
        table = page.get_by_role("table", name="What was read")
        rows = [row.inner_text().split("\n") for row in table.get_by_role("row").all()[1:]]
        assert [row[0].split("\t")[0] for row in rows] == ["state", "street", "depot"]
        expect(table).to_contain_text("on a van")
        looked_at(page, f"world-{width}")
    assert len(desk.shop.got("/reroute")) == before
    desk.decide(desk.approval(action)["id"], "approve")
    until(lambda: len(desk.shop.got("/reroute")) == before + 1)
