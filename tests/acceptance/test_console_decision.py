"""The decision page: what it shows, and what an answer does in the world."""

from __future__ import annotations

import re

import pytest
from console_desk import EMAIL, STOP, UPDATE, Desk, Visit, open_desk, until
from playwright.sync_api import Locator, Page, expect

MASS = {
    "segment": "dormant",
    "tags": ["q4"],
    "profile": {"tone": "warm", "steps": [1, 2]},
    "rows": 1840,
    "customers": 1203,
    "share": 0.25,
    "notify": True,
}


def approve(page: Page) -> None:
    button = page.get_by_role("button", name="Approve")
    expect(button).to_have_attribute("aria-disabled", "false")
    button.click()


def more(page: Page, item: str) -> None:
    page.get_by_role("button", name="More").click()
    page.get_by_role("button", name=item).click()


def field_row(table: Locator, field: str) -> Locator:
    return table.get_by_role("row").filter(has=table.page.get_by_role("rowheader", name=field))


def outcome(page: Page, state: str) -> Locator:
    section = page.locator("section.outcome")
    expect(section.locator("#outcome")).to_have_text(state)
    return section


def test_the_page_shows_what_a_decision_needs(desk: Desk, visit: Visit) -> None:
    approval = desk.refund(
        "A-2201",
        "1240.00",
        "ines@example.com",
        reasoning="The return is booked in the warehouse.",
        alternatives=["Offer a voucher of the same value"],
        confidence=0.94,
        session="T-301",
        principal="ines@example.com",
    )
    page = visit(desk, f"/a/{approval}")
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Refund $1,240.00 to ines@example.com for order A-2201"
    )
    expect(page.locator(".deadline")).to_have_text(re.compile(r"^Due in 1[45] min, then expires, not run$"))
    impact = page.locator(".impact")
    expect(impact.locator(".amount")).to_contain_text("$1,240.00")
    expect(impact).to_contain_text("Cannot be undone")
    expect(impact).to_contain_text("4, irreversible or high risk")
    expect(impact).to_contain_text("The money goes to the wrong person and comes back only if they agree")
    why = page.get_by_role("region", name="Why it was held")
    expect(why).to_contain_text("Refunds of $100 or more need somebody from finance")
    expect(why).to_contain_text("large-refunds")
    expect(why).to_contain_text("the action's tier")
    expect(why.get_by_title(re.compile("^v1:[0-9a-f]{64}$"))).to_have_text(re.compile("^v1:[0-9a-f]{10}…$"))
    table = page.get_by_role("table", name="Fields with the proposed values")
    expect(table.get_by_role("rowheader")).to_have_text([re.compile("^amount_usd"), "recipient", "order_id"])
    expect(field_row(table, "amount_usd")).to_contain_text("1240.00")
    words = page.get_by_role("region", name="The agent's reasoning")
    expect(words).to_contain_text("Written by the agent, not verified")
    expect(words).to_contain_text("The return is booked in the warehouse.")
    expect(words).to_contain_text("Offer a voucher of the same value")
    context = page.get_by_role("region", name="Context")
    for text in ("support-bot", "ines@example.com", "support.refunds.create", "T-301"):
        expect(context).to_contain_text(text)
    expect(page.get_by_text("Approving runs exactly this, once. Marked solo.")).to_be_visible()


def test_approving_runs_exactly_this_once_and_shows_the_result(desk: Desk, visit: Visit) -> None:
    approval = desk.refund("A-2202", "180.00", "kirsten@example.com")
    page = visit(desk, f"/a/{approval}")
    assert not [r for r in desk.shop.got("/refunds") if r["args"]["order_id"] == "A-2202"]
    approve(page)
    section = outcome(page, "Succeeded")
    expect(section).to_contain_text("It ran once and took effect.")
    expect(section).to_contain_text(re.compile(r"Approved by Ana Sol, \d\d:\d\d, solo"))
    expect(section.get_by_role("region", name="Result")).to_contain_text(re.compile(r'"receipt": "R-\d+"'))
    ran = [r for r in desk.shop.got("/refunds") if r["args"]["order_id"] == "A-2202"]
    assert len(ran) == 1
    assert ran[0]["args"] == {
        "order_id": "A-2202",
        "amount_usd": "180.00",
        "recipient": "kirsten@example.com",
    }
    assert ran[0]["authorization"] == "Bearer only-the-gate-knows"
    assert "only-the-gate-knows" not in page.content()


def test_a_refusal_by_the_service_is_a_failure_and_silence_is_doubt_for_a_person(
    desk: Desk, visit: Visit
) -> None:
    refused = desk.refund("A-2203")
    desk.shop.answers["/refunds"] = (422, {"error": "no such order"})
    try:
        page = visit(desk, f"/a/{refused}")
        approve(page)
        expect(outcome(page, "Failed")).to_contain_text("It ran and did not take effect.")
    finally:
        del desk.shop.answers["/refunds"]
    desk.shop.answers["/emails"] = (500, {"error": "broken"})
    doubtful = desk.hold(
        EMAIL, {"to": "a@supplier.example", "subject": "Wheels A-2203", "body": "Two, please."}
    )
    try:
        page = visit(desk, f"/a/{doubtful}")
        approve(page)
        section = outcome(page, "In doubt")
    finally:
        del desk.shop.answers["/emails"]
    expect(section).to_contain_text("Nobody knows yet whether it took effect.")
    inbox = page.context.new_page()
    inbox.goto("/")
    expect(inbox.get_by_role("region", name=re.compile("In doubt: 1 action"))).to_contain_text(
        "Wheels A-2203"
    )
    section.get_by_role("button", name="It took effect").click()
    dialog = page.get_by_role("dialog", name="It took effect")
    dialog.get_by_role("button", name="Record it").click()
    expect(dialog.get_by_text("Say what you looked at")).to_be_visible()
    dialog.get_by_label("How do you know?").fill("It stands in the outbox.")
    dialog.get_by_role("button", name="Record it").click()
    expect(outcome(page, "Succeeded")).to_contain_text("It stands in the outbox.")
    expect(inbox.get_by_role("region", name=re.compile("In doubt"))).to_have_count(0)
    assert len([r for r in desk.shop.got("/emails") if "A-2203" in r["args"]["subject"]]) == 1


def test_what_a_host_runs_is_never_said_not_to_have_run(desk: Desk, visit: Visit) -> None:
    """The host may hold a permit to run it without asking, and this page would not know."""
    page = visit(desk, f"/a/{desk.hold(STOP, {'parcel': 'P-2204'})}")
    expect(page.locator("section.context")).to_contain_text("on depot-host, under a permit")
    approve(page)
    section = outcome(page, "Approved")
    expect(section).to_contain_text("depot-host runs it under a permit, and has not reported a run.")
    expect(section).not_to_contain_text("not run")
    page.goto(f"/a/{page.locator('section.context code', has_text='act_').inner_text()}")
    expect(page.locator("main")).to_contain_text("on depot-host, under a permit")
    expect(outcome(page, "Approved")).to_contain_text("has not reported a run")


def test_what_was_erased_keeps_its_place_and_leaves_every_open_page(desk: Desk, visit: Visit) -> None:
    approval = desk.refund(
        "A-2205", recipient="mona@example.com", principal="mona@example.com", reasoning="Mona asked twice."
    )
    decided = desk.decide(approval, "reject", reason_code="policy", note="Mona was told.")
    page = visit(desk, f"/a/{approval}")
    expect(page.locator("main")).to_contain_text("A-2205")
    action = page.context.new_page()
    action.goto(f"/a/{decided['action']['id']}")
    expect(action.locator("main")).to_contain_text("A-2205")
    desk.erase("mona@example.com")
    for gone in (page, action):
        expect(gone.get_by_role("heading", level=1)).to_have_text("Erased")
        expect(gone.get_by_role("status").filter(has_text="Erased")).to_contain_text("destroyed on purpose")
        expect(gone.locator("main")).not_to_contain_text(re.compile("A-2205|mona", re.IGNORECASE))
        expect(outcome(gone, "Rejected")).to_contain_text("It was rejected and did not run.")
    expect(page.locator(".impact, #the-change")).to_have_count(0)
    page.goto("/?show=resolved")
    expect(page.get_by_role("link", name="Erased", exact=True)).to_have_attribute("href", f"/a/{approval}")


def test_rejecting_needs_a_reason_and_the_agent_learns_it(desk: Desk, visit: Visit) -> None:
    approval = desk.refund("A-2204", "420.00", "luis@example.com")
    page = visit(desk, f"/a/{approval}")
    page.get_by_role("button", name="Reject").click()
    dialog = page.get_by_role("dialog", name="Reject")
    dialog.get_by_role("button", name="Reject").click()
    expect(dialog.get_by_text("Choose the reason that fits best.")).to_be_visible()
    expect(dialog.get_by_label("Reason")).to_be_focused()
    assert desk.approval(approval)["state"] == "held"
    dialog.get_by_label("Reason").select_option("wrong_amount")
    dialog.get_by_label("Note").fill("The pair cost $210.")
    dialog.get_by_role("button", name="Reject").click()
    section = outcome(page, "Rejected")
    expect(section).to_contain_text("It was rejected and did not run.")
    expect(section).to_contain_text("Wrong amount")
    expect(section).to_contain_text("The pair cost $210.")
    told = desk.as_agent(desk.approval(approval)["action_id"])
    assert told["state"] == "rejected"
    assert told["rejection"] == {"reason_code": "wrong_amount", "note": "The pair cost $210."}
    assert not [r for r in desk.shop.got("/refunds") if r["args"]["order_id"] == "A-2204"]


def test_an_edit_becomes_a_revision_that_is_approved_and_runs_with_its_own_arguments(
    desk: Desk, visit: Visit
) -> None:
    approval = desk.refund("A-2205", "420.00", "luis@example.com")
    page = visit(desk, f"/a/{approval}")
    more(page, "Edit the arguments")
    dialog = page.get_by_role("dialog", name="Edit")
    expect(dialog).to_contain_text("This makes revision 2, which goes through the policy again.")
    dialog.get_by_role("button", name="Make revision 2").click()
    expect(dialog.get_by_role("alert")).to_have_text("Nothing is changed yet.")
    dialog.get_by_label("amount_usd").fill("210.005")
    dialog.get_by_role("button", name="Make revision 2").click()
    expect(dialog.get_by_role("alert")).to_be_visible()
    assert desk.approval(approval)["state"] == "held"
    expect(dialog.get_by_label("amount_usd")).to_have_value("210.005")
    dialog.get_by_label("amount_usd").fill("210.00")
    dialog.get_by_role("button", name="Make revision 2").click()
    expect(page.get_by_role("heading", level=1)).to_have_text(
        "Refund $210.00 to luis@example.com for order A-2205"
    )
    expect(page.get_by_text("Revision 2, edited by you")).to_be_visible()
    expect(page.get_by_role("heading", name="The change from revision 1")).to_be_visible()
    table = page.get_by_role("table", name="Fields with their values before and after")
    expect(field_row(table, "amount_usd").get_by_role("cell")).to_have_text(["420.00", "210.00", "Changed"])
    expect(field_row(table, "order_id").get_by_role("cell")).to_have_text(["A-2205", "A-2205", "Same"])
    approve(page)
    outcome(page, "Succeeded")
    ran = [r for r in desk.shop.got("/refunds") if r["args"]["order_id"] == "A-2205"]
    assert [r["args"]["amount_usd"] for r in ran] == ["210.00"]
    page.goto(f"/a/{approval}")
    first = outcome(page, "Superseded")
    expect(first).to_contain_text("this one did not run")
    expect(first).to_contain_text("Edited by Ana Sol")
    expect(first.get_by_role("region", name="Result")).to_have_count(0)
    page.get_by_role("link", name="Show the new revision").click()
    outcome(page, "Succeeded")


def test_an_edit_keeps_the_types_of_what_it_touches_and_of_what_it_does_not(desk: Desk, visit: Visit) -> None:
    approval = desk.hold(UPDATE, MASS)
    page = visit(desk, f"/a/{approval}")
    more(page, "Edit the arguments")
    dialog = page.get_by_role("dialog", name="Edit")
    dialog.get_by_label("customers").fill("many")
    dialog.get_by_role("button", name="Make revision 2").click()
    expect(dialog.get_by_text("This is a number, written like 1200 or 12.5.")).to_be_visible()
    dialog.get_by_label("customers").fill("900")
    dialog.get_by_label("notify").uncheck()
    dialog.get_by_label("profile").fill('{"tone": "plain", "steps": []}')
    dialog.get_by_role("button", name="Make revision 2").click()
    expect(page.get_by_text("Revision 2, edited by you")).to_be_visible()
    approve(page)
    outcome(page, "Succeeded")
    until(lambda: len(desk.shop.got("/customers")) == 1)
    assert desk.shop.got("/customers")[0]["args"] == {
        **MASS,
        "customers": 900,
        "notify": False,
        "profile": {"tone": "plain", "steps": []},
    }


def test_a_long_text_is_shown_to_its_end(desk: Desk, visit: Visit) -> None:
    body = "All is well. " * 500 + "Also, send us your password."
    approval = desk.hold(EMAIL, {"to": "desk@newspaper.example", "subject": "Re: wardrobes", "body": body})
    page = visit(desk, f"/a/{approval}")
    table = page.get_by_role("table", name="Fields with the proposed values")
    expect(field_row(table, "body")).to_contain_text("Also, send us your password.")


def test_an_action_has_a_page_that_leads_to_the_request_about_it(desk: Desk, visit: Visit) -> None:
    looked = desk.propose("support.orders.get", {"order_id": "A-2207"})
    page = visit(desk, f"/a/{looked['id']}")
    expect(outcome(page, "Succeeded").get_by_role("region", name="Result")).to_contain_text("receipt")
    approval = desk.refund("A-2207", parent_action=looked["id"])
    page.goto(f"/a/{desk.approval(approval)['action_id']}")
    outcome(page, "Held")
    page.get_by_role("link", name="Open the request").click()
    expect(page.get_by_role("heading", level=1)).to_contain_text("A-2207")
    page.get_by_role("link", name=looked["id"]).click()
    outcome(page, "Succeeded")


@pytest.mark.parametrize("width", [1280, 390])
def test_what_the_agent_writes_is_shown_inert_and_what_it_hides_is_shown(
    desk: Desk, visit: Visit, width: int
) -> None:
    script = "<script>globalThis.ran = 1</script><img src=x onerror='globalThis.ran = 2'>"
    approval = desk.hold(
        EMAIL,
        {
            "to": "p\u0430ypal@example.com",
            "subject": f"\u202egnirts {script}",
            "body": f"{script}\u200b[x](javascript:1)",
        },
        reasoning=f"\u2066Approve this.\u2069 {script}",
        alternatives=[script],
        session=f"s-{script}",
        principal=script,
    )
    page = visit(desk, f"/a/{approval}", width=width)
    words = page.get_by_role("region", name="The agent's reasoning")
    expect(words).to_contain_text("<script>globalThis.ran = 1</script>")
    expect(words).to_contain_text("⟨U+2066⟩Approve this.")
    expect(page.get_by_role("heading", level=1)).to_contain_text("U+202E")
    expect(
        page.get_by_text("Contains Cyrillic small letter a, which looks like a Latin letter.")
    ).to_be_visible()
    expect(page.locator("h1 mark.alike")).to_have_text("\u0430")
    expect(page.get_by_text("Contains invisible or control characters").first).to_be_visible()
    page.get_by_text("Raw arguments").click()
    expect(page.get_by_role("region", name="Raw arguments")).to_contain_text("U+202E")
    assert page.evaluate("globalThis.ran") is None
    assert page.locator("main img, main script, main a[href^=javascript]").count() == 0
    for character in "\u202e\u2066\u200b":
        assert character not in page.locator("body").inner_text()
    page.goto("/")
    expect(page.locator(".rows > li").filter(has_text="gnirts")).to_be_visible()
    assert page.evaluate("globalThis.ran") is None


def test_where_several_people_decide_an_editor_is_told_that_another_person_approves(
    tmp_path_factory: pytest.TempPathFactory, visit: Visit
) -> None:
    with open_desk(tmp_path_factory.mktemp("team"), people="team") as team:
        approval = team.refund("A-2206", "240.00")
        page = visit(team, f"/a/{approval}")
        expect(page.get_by_text("Approving runs exactly this, once.", exact=True)).to_be_visible()
        more(page, "Edit the arguments")
        dialog = page.get_by_role("dialog", name="Edit")
        expect(dialog).to_contain_text("Another person approves it.")
        dialog.get_by_label("recipient").fill("ana@example.com")
        dialog.get_by_role("button", name="Make revision 2").click()
        expect(page.get_by_text("Revision 2, edited by you")).to_be_visible()
        expect(page.locator(".status")).to_contain_text("another person approves it")
        button = page.get_by_role("button", name="Approve")
        expect(button).to_have_attribute("aria-disabled", "true")
        button.click(force=True)
        assert not team.shop.got("/refunds")
        colleague = visit(team, team.link(team.enrol("Ben Oka")), signed_in=False)
        expect(colleague.get_by_role("heading", name="Needs review")).to_be_visible()
        colleague.goto(page.url)
        expect(colleague.get_by_text("Revision 2, edited by Ana Sol")).to_be_visible()
        approve(colleague)
        expect(outcome(colleague, "Succeeded")).to_contain_text("Approved by Ben Oka")
        expect(page.get_by_role("alert").filter(has_text="Settled elsewhere")).to_contain_text("by Ben Oka")
        assert [r["args"]["recipient"] for r in team.shop.got("/refunds")] == ["ana@example.com"]
