"""The browser: one Chromium for a module, one context a page, and nothing of it goes unnoticed.

Playwright runs an event loop in this thread until it is stopped, so it does not outlive its module.

1. Every console message and page error is kept. A violation of the content security policy, or any other
   error but a refused request, fails the test that caused it.
2. Without Chromium these tests are skipped, and say which program is missing.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from console_desk import HEIGHT, Desk, Visit, open_desk
from playwright.sync_api import Browser, ConsoleMessage, Page, expect, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
ARGUMENTS = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    """A real browser."""
    program = next((found for name in NAMES if (found := shutil.which(name))), None)
    if program is None:
        pytest.skip(f"no browser: none of {', '.join(NAMES)} is installed; on Debian, `apt install chromium`")
    expect.set_options(timeout=20_000)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=ARGUMENTS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def desk(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Desk]:
    """The server that most tests share. Each brings its own requests."""
    with open_desk(tmp_path_factory.mktemp("desk")) as opened:
        yield opened


@pytest.fixture
def visit(chromium: Browser) -> Iterator[Visit]:
    """Opens a page of a desk's console: ``visit(desk, "/", width=390, scheme="dark")``."""
    troubles: list[str] = []
    contexts: list[Any] = []

    def heard(message: ConsoleMessage) -> None:
        # The browser reports refused and lost API calls too; tests look at what the console makes of them.
        refused = message.text.startswith("Failed to load resource") and "/v1/" in message.location["url"]
        if message.type in ("error", "warning") and not refused:
            troubles.append(message.text)

    def open_page(
        at: Desk,
        path: str,
        *,
        width: int = 1280,
        scheme: str = "light",
        signed_in: bool = True,
        **options: Any,
    ) -> Page:
        context = chromium.new_context(
            viewport={"width": width, "height": HEIGHT[width]},
            color_scheme=scheme,  # type: ignore[arg-type]
            base_url=at.url,
            locale="en-GB",
            timezone_id="Europe/Berlin",
            **options,
        )
        contexts.append(context)
        context.on("console", heard)
        context.on("weberror", lambda error: troubles.append(str(error.error)))
        if signed_in:
            context.add_cookies([at.session])  # type: ignore[list-item]
            context.add_init_script(
                f"if (origin === '{at.url}') localStorage.setItem('interlock.proof', '{at.proof}')"
            )
        page = context.new_page()
        page.goto(path)
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert not troubles, f"the browser complained: {troubles}"


@pytest.fixture(scope="module")
def screenshots() -> Path:
    """Where pictures of the pages go; not part of the repository."""
    folder = Path(__file__).parents[2] / "screenshots"
    folder.mkdir(exist_ok=True)
    return folder
