"""How the console looks and handles: accessible, on any width, without a mouse.

Pictures of the pages go to `screenshots/`. With ``INTERLOCK_README_IMAGES=1`` the pictures of the README are
renewed from the same run.
"""

from __future__ import annotations

import base64
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from console_desk import DELETE, EMAIL, HEIGHT, UPDATE, Desk, Visit, findings, open_desk
from playwright.sync_api import Browser, Page, expect

IMAGES = Path(__file__).parents[2] / "docs" / "images"
MAX_IMAGE = 200_000
CUT_OFF = """[...document.querySelectorAll("body *")]
  .filter((e) => {
    const box = e.getBoundingClientRect(); return box.width > 1 && box.right > innerWidth + 1;
  })
  .map((e) => e.outerHTML.slice(0, 120))"""
TARGETS = "button, summary, input:not([type=checkbox]), select, textarea, nav a, a.button"
SMALL = f"""[...document.querySelectorAll("{TARGETS}")]
  .filter((e) => {{
    const box = e.getBoundingClientRect(); return box.width > 0 && (box.height < 43.5 || box.width < 43.5);
  }})
  .map((e) => e.outerHTML.slice(0, 120))"""


@pytest.fixture(scope="module")
def filled(
    chromium: Browser, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Desk, dict[str, str]]]:
    """A desk with a day's requests; ids of approval requests by what they are about."""
    with open_desk(tmp_path_factory.mktemp("filled")) as desk:
        yield desk, fill(desk)


def fill(desk: Desk) -> dict[str, str]:
    rejected = desk.refund("A-1104", "420.00", "luis@example.com")
    desk.decide(rejected, "reject", reason_code="wrong_amount", note="The pair cost $210.")
    edited = desk.refund("A-1103", "280.00", "kirsten@example.com")
    return {
        "rejected": rejected,
        "deletion": desk.hold(
            DELETE,
            {"account_id": "C-308"},
            reasoning="The customer wants to hear nothing more from us.",
            confidence=0.71,
            alternatives=["Unsubscribe petra@example.com and keep the account"],
        ),
        "refund": desk.refund(
            "A-1101",
            "640.00",
            "ines@example.com",
            reasoning="The return is booked in the warehouse. The full price is owed.",
            confidence=0.94,
            alternatives=["Offer a voucher of the same value"],
            session="T-301",
            principal="ines@example.com",
        ),
        "edited": desk.edit(edited, amount_usd="180.00")["superseded_by"],
        "email": desk.hold(
            EMAIL,
            {
                "to": "desk@newspаper.example",  # with a Cyrillic letter
                "subject": "Re: wardrobes",
                "body": "We know of a few cases and are working on it.\n\nPlease do not print this yet.",
            },
            reasoning="The journalist asked politely and deserves an answer.",
            confidence=0.66,
        ),
        "update": desk.hold(
            UPDATE,
            {
                "segment": "dormant",
                "tags": ["winback", "q4"],
                "profile": {"tone": "warm"},
                "rows": 1840,
                "customers": 1203,
                "share": 0.25,
                "notify": True,
            },
        ),
    }


def settled(page: Page) -> Page:
    """Past the half second in which Approve does not answer, where there is one."""
    if page.locator(".bar-buttons").count():
        expect(page.get_by_role("button", name="Approve")).not_to_have_class(re.compile("arming"))
    return page


def check(page: Page, what: str) -> None:
    """No finding of axe at both widths and in both colour schemes; the scheme changes nothing but colours."""
    for width in (1280, 390):
        page.set_viewport_size({"width": width, "height": HEIGHT[width]})
        for scheme, options in (("light", {}), ("dark", {"runOnly": ["color-contrast"]})):
            page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
            found = findings(page, **options)
            assert not found, f"{what}, {width} px, {scheme}: {found}"


@pytest.mark.parametrize("width", [1280, 390])
def test_pictures_of_the_key_pages(
    filled: tuple[Desk, dict[str, str]], visit: Visit, screenshots: Path, width: int
) -> None:
    desk, ids = filled
    blank = visit(desk, "about:blank", width=width)
    page = blank.context.new_page()
    paths = {"inbox": "/", "decision": f"/a/{ids['refund']}", "resolved": "/?show=resolved"}
    for name, path in (paths | {name: f"/a/{ids[name]}" for name in ("edited", "email", "rejected")}).items():
        page.set_viewport_size({"width": width, "height": HEIGHT[width]})
        page.goto(path)
        expect(page.locator(".rows > li, .impact").first).to_be_visible()
        if name == "inbox" and width == 1280:
            expect(page.locator(".preview .impact")).to_be_visible()
        expect(page.get_by_text("Live", exact=True)).to_be_visible()
        settled(page)
        # As high as the page: then the bar that decides stands below it and covers nothing.
        page.set_viewport_size(
            {"width": width, "height": page.evaluate("document.documentElement.scrollHeight")}
        )
        file = screenshots / f"{name}-{width}.png"
        image = page.screenshot(path=file)
        colours, ink = painted(blank, image)
        assert colours > 50, f"{file} is blank"
        assert 0.01 < ink < 0.6, f"{file} holds {ink:.1%} that is not background"
        if (
            width == 1280
            and name in ("inbox", "decision")
            and os.environ.get("INTERLOCK_README_IMAGES") == "1"
        ):
            assert len(image) < MAX_IMAGE
            IMAGES.mkdir(parents=True, exist_ok=True)
            (IMAGES / f"{name}.png").write_bytes(image)


def painted(blank: Page, image: bytes) -> tuple[int, float]:
    """How many colours a picture has, and which share of it is not paper; read back by the browser."""
    colours, share = blank.evaluate(
        """async (text) => {
            const bytes = Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));
            const bitmap = await createImageBitmap(new Blob([bytes], {type: "image/png"}));
            const pen = new OffscreenCanvas(bitmap.width, bitmap.height).getContext("2d");
            pen.drawImage(bitmap, 0, 0);
            const pixels = new Uint32Array(pen.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
            const counts = new Map();
            for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
            const paper = [...counts.values()].sort((a, b) => b - a).slice(0, 2).reduce((a, b) => a + b);
            return [counts.size, 1 - paper / pixels.length];
        }""",
        base64.b64encode(image).decode(),
    )
    return int(colours), float(share)


def test_axe_finds_nothing_on_any_page_at_any_width_in_either_scheme(
    filled: tuple[Desk, dict[str, str]], visit: Visit
) -> None:
    desk, ids = filled
    page = visit(desk, "/sign-in", signed_in=False)
    expect(page.get_by_role("heading", name="Sign in")).to_be_visible()
    check(page, "sign-in")
    page = visit(desk, "/")
    expect(page.get_by_role("complementary", name="Preview").locator(".impact")).to_be_visible()
    check(page, "inbox")
    page.goto("/?show=resolved")
    expect(page.locator(".rows > li").first).to_be_visible()
    check(page, "resolved")
    for name in ("refund", "edited", "rejected"):
        page.goto(f"/a/{ids[name]}")
        expect(page.locator(".impact")).to_be_visible()
        check(settled(page), name)


def test_axe_finds_nothing_in_dialogs_and_refusals(filled: tuple[Desk, dict[str, str]], visit: Visit) -> None:
    desk, ids = filled
    page = visit(desk, f"/a/{ids['update']}")
    settled(page)
    page.get_by_role("button", name="More").click()
    check(page, "more")
    page.get_by_role("button", name="Edit the arguments").click()
    page.get_by_label("rows").fill("x")
    page.get_by_role("button", name="Make revision 2").click()
    expect(page.get_by_text("This is a number")).to_be_visible()
    check(page, "edit")
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Reject").click()
    page.get_by_role("dialog").get_by_role("button", name="Reject").click()
    check(page, "reject")
    page.keyboard.press("Escape")
    page.keyboard.press("?")
    expect(page.get_by_role("dialog", name="Keys")).to_be_visible()
    check(page, "help")
    approval = desk.refund("A-1199", "300.00")
    page.goto(f"/a/{approval}")
    settled(page)
    expect(page.get_by_text("Live", exact=True)).to_be_visible()
    following = desk.edit(approval, amount_usd="150.00")["superseded_by"]
    expect(page.get_by_role("alert").filter(has_text="This changed")).to_be_visible()
    check(page, "changed")
    desk.decide(following, "reject", reason_code="duplicate")


@pytest.mark.parametrize("width", [320, 390])
def test_nothing_is_cut_off_or_too_small_to_touch_on_a_phone(
    filled: tuple[Desk, dict[str, str]], visit: Visit, width: int
) -> None:
    desk, ids = filled
    page = visit(desk, "/", width=width, has_touch=True, is_mobile=True)
    paths = [
        "/",
        "/?show=resolved",
        *(f"/a/{ids[name]}" for name in ("refund", "edited", "email", "update", "rejected")),
    ]
    for path in paths:
        page.goto(path)
        expect(page.locator(".rows > li, .impact").first).to_be_visible()
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.evaluate(CUT_OFF) == [], path
        assert page.evaluate(SMALL) == [], path
    page.goto(f"/a/{ids['update']}")
    settled(page)
    for button, dialog in (("Reject", "Reject"), ("More", "Edit")):
        page.get_by_role("button", name=button).click()
        if button == "More":
            page.get_by_role("button", name="Edit the arguments").click()
        expect(page.get_by_role("dialog", name=dialog)).to_be_visible()
        assert page.evaluate(CUT_OFF) == [], dialog
        assert page.evaluate(SMALL) == [], dialog
        page.keyboard.press("Escape")


def test_the_keyboard_alone_leads_from_the_inbox_to_an_approval(desk: Desk, visit: Visit) -> None:
    approval = desk.refund("A-2401")
    page = visit(desk, "/")
    row = page.locator(".rows > li").filter(has_text="A-2401")
    expect(row).to_be_visible()
    page.wait_for_timeout(600)
    focused = "document.activeElement.getAttribute('href')"
    for _ in range(page.locator(".rows > li").count() + 1):
        if page.evaluate(focused) == f"/a/{approval}":
            break
        page.keyboard.press("j")
    page.keyboard.press("Enter")
    expect(page.get_by_role("heading", level=1)).to_be_focused()
    approve = page.get_by_role("button", name="Approve")
    expect(approve).to_have_attribute("aria-disabled", "false")
    page.keyboard.press("d")
    expect(page.locator("#the-change")).to_be_focused()
    page.keyboard.press("r")
    expect(page.get_by_label("Reason")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    page.keyboard.press("Shift+A")
    expect(approve).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_text("Press Space to approve; Enter does not.")).to_be_visible()
    assert desk.approval(approval)["state"] == "held"
    page.keyboard.press("Space")
    expect(page.locator("#outcome")).to_have_text("Succeeded")
    expect(page.locator("#outcome")).to_be_focused()


def test_approve_does_not_answer_a_press_that_was_meant_for_the_page_before(desk: Desk, visit: Visit) -> None:
    approval = desk.refund("A-2402")
    page = visit(desk, "/")
    page.add_init_script(
        """new MutationObserver(() => {
            const approve = document.querySelector("button.approve");
            if (approve && !globalThis.pressed) { globalThis.pressed = true; approve.click(); }
        }).observe(document, {childList: true, subtree: true});"""
    )
    page.goto(f"/a/{approval}")
    expect(page.get_by_role("button", name="Approve")).to_have_attribute("aria-disabled", "false")
    assert page.evaluate("globalThis.pressed")
    assert desk.approval(approval)["state"] == "held"
    page.get_by_role("button", name="Approve").click()
    expect(page.locator("#outcome")).to_have_text("Succeeded")
