"""Signing in: a one-time link, redeemed in a real browser."""

from __future__ import annotations

from urllib.parse import urlsplit

from console_desk import Desk, Visit
from playwright.sync_api import Browser, expect


def test_a_one_time_link_signs_in_and_its_token_leaves_the_address(desk: Desk, visit: Visit) -> None:
    link = desk.link()
    token = urlsplit(link).fragment
    page = visit(desk, link, signed_in=False)
    expect(page.get_by_role("heading", name="Needs review")).to_be_visible()
    expect(page.get_by_text("Ana Sol")).to_be_visible()
    assert page.url == f"{desk.url}/"
    assert page.evaluate("document.cookie") == "", "scripts can read the session"
    page.go_back()
    assert token not in page.url


def test_a_link_that_was_used_says_so_and_how_to_get_another(desk: Desk, visit: Visit) -> None:
    link = desk.link()
    expect(visit(desk, link, signed_in=False).get_by_role("heading", name="Needs review")).to_be_visible()
    page = visit(desk, link, signed_in=False)
    expect(page.get_by_role("alert")).to_contain_text("was used already")
    expect(page.get_by_role("main")).to_contain_text("interlock keys link")
    assert "#" not in page.url


def test_without_a_session_every_page_says_how_to_get_a_link(desk: Desk, visit: Visit) -> None:
    approval = desk.refund("A-2001")
    for path in ("/", f"/a/{approval}", "/?show=resolved"):
        page = visit(desk, path, signed_in=False)
        expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()
        expect(page.get_by_text("interlock keys link")).to_be_visible()
        assert "A-2001" not in page.content()


def test_signing_out_ends_the_session_for_good(desk: Desk, visit: Visit) -> None:
    page = visit(desk, desk.link(), signed_in=False)
    page.get_by_role("button", name="Sign out").click()
    expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()
    page.reload()
    expect(page.get_by_role("heading", name="You are not signed in")).to_be_visible()


def test_the_browser_refuses_markup_and_scripts_that_are_not_ours(desk: Desk, chromium: Browser) -> None:
    context = chromium.new_context(base_url=desk.url)
    said: list[str] = []
    context.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page = context.new_page()
    page.goto("/")
    refused = page.evaluate(
        """() => {
            try { document.body.innerHTML = "<img src=x onerror='globalThis.ran = true'>"; }
            catch (error) { return error.message; }
        }"""
    )
    assert "TrustedHTML" in refused
    page.evaluate(
        """() => {
            const image = document.createElement("img");
            image.src = "https://elsewhere.example/pixel.png";
            document.body.append(image);
        }"""
    )
    page.wait_for_timeout(100)
    context.close()
    assert any("elsewhere.example" in text and "Content Security Policy" in text for text in said), said
