"""The inbox, live: what a row says, what arrives, and what leaves."""

from __future__ import annotations

import re

from console_desk import CLOSE, DELETE, EMAIL, UPDATE, Desk, Visit
from playwright.sync_api import Locator, Page, expect


def row(page: Page, words: str) -> Locator:
    return page.locator(".rows > li").filter(has_text=words)


def ready(page: Page) -> None:
    """The list stands, and news arrives."""
    expect(page.locator(".rows > li").first).to_be_visible()
    expect(page.get_by_text("Live", exact=True)).to_be_visible()


def test_a_row_says_what_how_much_how_risky_for_whom_and_until_when(desk: Desk, visit: Visit) -> None:
    desk.refund("A-2101", "1240.00", "ines@example.com")
    deletion = desk.hold(DELETE, {"account_id": "C-2101"})
    many = {
        "segment": "dormant",
        "tags": ["q4"],
        "rows": 1840,
        "customers": 1203,
        "share": 0.25,
        "notify": True,
    }
    desk.hold(UPDATE, many)
    page = visit(desk, "/")
    refund = row(page, "A-2101")
    expect(refund.get_by_role("link")).to_have_text("Refund $1,240.00 to ines@example.com for order A-2101")
    expect(refund.locator(".lead")).to_have_text("$1,240.00")
    expect(refund).to_contain_text("Tier 4, irreversible or high risk")
    expect(refund).to_contain_text("Cannot be undone")
    expect(refund).to_contain_text(re.compile(r"Due in 1[45] min, then expires, not run"))
    expect(refund).to_contain_text("for finance-approvers")
    expect(refund).to_contain_text("support-bot")
    expect(row(page, "C-2101")).to_contain_text("for security-approvers")
    update = row(page, "segment dormant")
    expect(update.locator(".lead")).to_have_text("1,840 rows")
    expect(update).to_contain_text("1,203 people")
    expect(update).to_contain_text("Can be undone")
    expect(update).to_contain_text("Tier 3, external")
    expect(update).to_contain_text(
        re.compile(
            r"Due in [34] h \d\d min, then expires, not run; ops-approvers are asked from "
            r"(\d+ \w+, )?\d\d:\d\d"  # with the day, where it is tomorrow's
        )
    )
    expect(page.get_by_text(re.compile("^Next deadline in"))).to_be_visible()
    expect(page.get_by_text("Why this order: soonest deadline first.")).to_be_visible()
    desk.decide(deletion, "reject", reason_code="other")  # so that its deadline does not disturb other tests


def test_nothing_can_be_decided_from_the_list(desk: Desk, visit: Visit) -> None:
    desk.refund("A-2102")
    page = visit(desk, "/")
    row(page, "A-2102").click(position={"x": 300, "y": 60})
    preview = page.get_by_role("complementary", name="Preview")
    expect(preview.get_by_role("heading", level=2)).to_contain_text("A-2102")
    expect(preview).to_contain_text("Refunds of $100 or more need somebody from finance")
    assert page.get_by_role("button", name=re.compile("Approve|Reject")).count() == 0
    preview.get_by_role("link", name="Open to decide").click()
    expect(page.get_by_role("button", name="Approve")).to_be_visible()


def test_new_requests_wait_behind_a_button_and_do_not_move_the_list(desk: Desk, visit: Visit) -> None:
    desk.refund("A-2103")
    page = visit(desk, "/")
    ready(page)
    before = page.locator(".rows > li").count()
    desk.hold(EMAIL, {"to": "sales@supplier.example", "subject": "Spare wheels", "body": "Please send two."})
    button = page.get_by_role("button", name="1 new")
    expect(button).to_be_visible()
    expect(page.locator(".rows > li")).to_have_count(before)
    expect(page.get_by_role("status").filter(has_text="One new request.")).to_have_count(1)
    desk.refund("A-2104")
    page.get_by_role("button", name="2 new").click()
    expect(page.locator(".rows > li")).to_have_count(before + 2)
    expect(row(page, "Spare wheels")).to_be_visible()
    expect(page.get_by_role("button", name=re.compile("new$"))).to_have_count(0)


def test_what_is_decided_elsewhere_leaves_at_once_and_says_so(desk: Desk, visit: Visit) -> None:
    rejected, approved, edited = (desk.refund(order) for order in ("A-2105", "A-2106", "A-2107"))
    page = visit(desk, "/")
    ready(page)
    line = page.locator(".left-line")
    desk.decide(rejected, "reject", reason_code="duplicate")
    expect(line).to_have_text("Rejected elsewhere: Refund $240.00 to jonas@example.com for order A-2105")
    expect(row(page, "A-2105")).to_have_count(0)
    desk.decide(approved, "approve")
    expect(line).to_contain_text("Approved elsewhere: Refund $240.00 to jonas@example.com for order A-2106")
    expect(row(page, "A-2106")).to_have_count(0)
    desk.edit(edited, amount_usd="120.00")
    expect(line).to_contain_text("Edited elsewhere")
    expect(row(page, "A-2107")).to_have_count(0)
    expect(page.get_by_role("button", name="1 new")).to_be_visible()


def test_what_the_agent_withdraws_or_nobody_answers_leaves_at_once(desk: Desk, visit: Visit) -> None:
    withdrawn = desk.refund("A-2108")
    page = visit(desk, "/")
    ready(page)
    desk.hold(CLOSE, {"chat_id": "K-1"})
    page.get_by_role("button", name="1 new").click()
    expect(row(page, "Close chat K-1")).to_be_visible()
    desk.withdraw(withdrawn)
    expect(page.locator(".left-line")).to_contain_text("Withdrawn by the agent: Refund $240.00")
    expect(row(page, "A-2108")).to_have_count(0)
    expect(page.locator(".left-line")).to_have_text("Expired, not run: Close chat K-1", timeout=12_000)
    expect(row(page, "Close chat K-1")).to_have_count(0)
    assert desk.shop.got("/chats/close") == []


def test_all_tabs_share_one_stream_and_the_next_takes_over(desk: Desk, visit: Visit) -> None:
    desk.refund("A-2109")
    first = visit(desk, "/")
    ready(first)
    second = first.context.new_page()
    streams: list[str] = []
    second.on("request", lambda request: streams.append(request.url) if "/v1/events" in request.url else None)
    second.goto("/")
    ready(second)
    assert streams == []
    desk.refund("A-2110")
    expect(second.get_by_role("button", name="1 new")).to_be_visible()
    first.close()
    expect(second.get_by_text("Live", exact=True)).to_be_visible()
    desk.refund("A-2111")
    expect(second.get_by_role("button", name="2 new")).to_be_visible()
    assert len(streams) == 1


def test_resolved_requests_are_counted_by_how_they_ended(desk: Desk, visit: Visit) -> None:
    desk.decide(
        desk.refund("A-2112"), "reject", reason_code="wrong_target", note="This is another customer's order."
    )
    desk.withdraw(desk.refund("A-2113"))
    page = visit(desk, "/?show=resolved")
    counts = page.get_by_role("list", name="How requests ended")
    expect(counts).to_contain_text(re.compile(r"\d+ rejected"))
    expect(counts).to_contain_text(re.compile(r"\d+ withdrawn"))
    rejected = row(page, "A-2112")
    expect(rejected).to_contain_text(re.compile(r"Rejected\s*by Ana Sol"))
    expect(rejected).to_contain_text("Wrong target")
    expect(row(page, "A-2113")).to_contain_text("The agent took it back. It did not run.")


def test_a_record_that_was_changed_from_outside_is_an_alarm_and_hides_nothing_else(
    desk: Desk, visit: Visit
) -> None:
    approval = desk.refund("A-2114")
    desk.refund("A-2115")
    desk.scribble(approval, "somebody-else")
    try:
        page = visit(desk, "/")
        expect(row(page, "A-2115")).to_be_visible()
        alarm = row(page, "This record was changed from outside")
        expect(alarm).to_contain_text("Look at the server's log")
        expect(alarm).not_to_contain_text("somebody-else")
        expect(row(page, "A-2114")).to_have_count(0)
        alarm.get_by_role("link").click()
        expect(page.get_by_role("alert")).to_contain_text("A trusted record was changed from outside")
        expect(page.get_by_role("button", name="Approve")).to_have_count(0)
    finally:
        desk.scribble(approval, "finance-approvers")
