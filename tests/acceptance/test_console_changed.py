"""What changes while a reviewer reads: nobody decides on something else than what was shown."""

from __future__ import annotations

import re
from typing import Protocol

import pytest
from console_desk import Desk, Visit
from playwright.sync_api import Locator, Page, expect


class OpenRequest(Protocol):
    def __call__(self, order: str, *, deaf: bool = False) -> tuple[Page, str]: ...


@pytest.fixture
def open_request(desk: Desk, visit: Visit) -> OpenRequest:
    """A page on a new refund of $420.00; with `deaf`, one that receives no news."""

    def opened(order: str, *, deaf: bool = False) -> tuple[Page, str]:
        approval = desk.refund(order, "420.00", "luis@example.com")
        page = visit(desk, "/")
        if deaf:
            page.context.route("**/v1/events", lambda route: route.abort())
        page.goto(f"/a/{approval}")
        expect(page.get_by_role("button", name="Approve")).to_have_attribute("aria-disabled", "false")
        if not deaf:
            expect(page.get_by_text("Live", exact=True)).to_be_visible()
        return page, approval

    return opened


def difference(banner: Locator) -> Locator:
    return banner.get_by_role("table", name="The difference").get_by_role("row").nth(1)


def test_an_edit_elsewhere_is_said_in_place_with_the_difference(
    desk: Desk, open_request: OpenRequest
) -> None:
    page, approval = open_request("A-2301")
    desk.edit(approval, amount_usd="210.00")
    banner = page.get_by_role("alert").filter(has_text="This changed")
    expect(banner).to_contain_text("Ana Sol edited it; revision 2 waits now.")
    expect(difference(banner)).to_have_text(re.compile(r"amount_usd\s*420\.00\s*210\.00"))
    expect(page.get_by_role("heading", level=1)).to_contain_text("$420.00")
    button = page.get_by_role("button", name="Approve")
    expect(button).to_have_attribute("aria-disabled", "true")
    button.click(force=True)
    expect(page.get_by_role("button", name="Reject")).to_have_count(0)
    banner.get_by_role("button", name="Show the current version").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("$210.00")
    expect(page.get_by_role("alert")).to_have_count(0)
    assert not [r for r in desk.shop.got("/refunds") if r["args"]["order_id"] == "A-2301"]


def test_two_edits_elsewhere_lead_to_the_newest_version(desk: Desk, open_request: OpenRequest) -> None:
    page, approval = open_request("A-2302")
    second = desk.edit(approval, amount_usd="300.00")["superseded_by"]
    desk.edit(second, recipient="mara@example.com")
    banner = page.get_by_role("alert").filter(has_text="revision 3 waits now")
    expect(banner.get_by_role("table", name="The difference").get_by_role("row")).to_have_count(3)
    banner.get_by_role("button", name="Show the current version").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Refund $300.00 to mara@example.com for order A-2302"
    )


def test_an_answer_to_an_old_version_is_refused_with_the_difference_and_keeps_what_was_typed(
    desk: Desk, open_request: OpenRequest
) -> None:
    page, approval = open_request("A-2303", deaf=True)
    page.get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog", name="Reject")
    dialog.get_by_label("Reason").select_option("suspicious")
    dialog.get_by_label("Note").fill("Two lamps cost $210.")
    desk.edit(approval, amount_usd="410.00")
    with page.expect_response("**/decisions") as answer:
        dialog.get_by_role("button", name="Reject").click()
    assert answer.value.status == 409
    banner = dialog.get_by_role("alert")
    expect(banner).to_contain_text("Your answer was not taken.")
    expect(difference(banner)).to_have_text(re.compile(r"amount_usd\s*420\.00\s*410\.00"))
    expect(dialog.get_by_label("Note")).to_have_value("Two lamps cost $210.")
    expect(dialog.get_by_label("Reason")).to_have_value("suspicious")
    banner.get_by_role("button", name="Show the current version").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("$410.00")
    page.get_by_role("button", name="Reject").click()
    expect(dialog.get_by_label("Note")).to_have_value("Two lamps cost $210.")
    expect(dialog.get_by_label("Reason")).to_have_value("suspicious")
    dialog.get_by_role("button", name="Reject").click()
    expect(page.locator("section.outcome").get_by_role("heading", level=2)).to_have_text("Rejected")


def test_an_approval_of_an_old_version_does_not_approve_the_new_one(
    desk: Desk, open_request: OpenRequest
) -> None:
    page, approval = open_request("A-2304", deaf=True)
    following = desk.edit(approval, recipient="attacker@example.com")["superseded_by"]
    with page.expect_response("**/decisions") as answer:
        page.get_by_role("button", name="Approve").click()
    assert answer.value.status == 409
    expect(page.get_by_role("alert")).to_contain_text("Your answer was not taken.")
    assert desk.approval(following)["state"] == "held"
    assert not [r for r in desk.shop.got("/refunds") if r["args"]["order_id"] == "A-2304"]


@pytest.mark.parametrize("deaf", [False, True])
def test_what_was_settled_elsewhere_says_by_whom_and_takes_no_second_answer(
    desk: Desk, open_request: OpenRequest, deaf: bool
) -> None:
    page, approval = open_request(f"A-2305-{deaf:d}", deaf=deaf)
    desk.decide(approval, "reject", reason_code="duplicate")
    if deaf:
        page.get_by_role("button", name="Approve").click()
    banner = page.get_by_role("alert").filter(has_text="Settled elsewhere")
    expect(banner).to_contain_text("Rejected by Ana Sol.")
    expect(page.get_by_role("button", name="Approve")).to_have_attribute("aria-disabled", "true")
    banner.get_by_role("button", name="Show the current version").click()
    expect(page.locator("section.outcome").get_by_role("heading", level=2)).to_have_text("Rejected")
    assert desk.approval(approval)["state"] == "rejected"


def test_a_lost_connection_loses_nothing_that_was_typed(desk: Desk, open_request: OpenRequest) -> None:
    page, approval = open_request("A-2306")
    page.get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog", name="Reject")
    dialog.get_by_label("Reason").select_option("other")
    dialog.get_by_label("Note").fill("Ask Luis first.")
    page.context.set_offline(True)
    dialog.get_by_role("button", name="Reject").click()
    expect(dialog.get_by_role("alert")).to_contain_text("The server cannot be reached")
    expect(dialog.get_by_label("Note")).to_have_value("Ask Luis first.")
    page.context.set_offline(False)
    dialog.get_by_role("button", name="Reject").click()
    expect(page.locator("section.outcome").get_by_role("heading", level=2)).to_have_text("Rejected")
    assert desk.approval(approval)["decided"]["note"] == "Ask Luis first."
