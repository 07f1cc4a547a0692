"""A real browser: Debian's chromium, driven by Playwright. Nothing is downloaded."""

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.unit.report.conftest import make_study as make_study

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """The browser; skips where there is none."""
    found = shutil.which("chromium") or shutil.which("google-chrome")
    if not found:
        pytest.skip("no chromium on this machine: apt-get install chromium")
    words = ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"]
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=words)
        yield browser
        browser.close()


@pytest.fixture
def complaints() -> list[str]:
    """What the pages of a test wrote to the console, and the errors that their scripts raised."""
    return []


@pytest.fixture
def open_page(browser: Browser, complaints: list[str]) -> Iterator[Open]:
    """Opens a file as a page that may reach no network: ``open_page(path, width=1280, color_scheme="dark")``; its plots
    are drawn unless ``drawn=False``."""
    pages: list[Page] = []

    def start(path: Path, width: int = 1280, *, drawn: bool = True, **options: object) -> Page:
        page = browser.new_page(viewport={"width": width, "height": 900}, offline=True, **options)  # type: ignore[arg-type]
        pages.append(page)
        page.on("console", lambda message: complaints.append(message.text))
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(path.as_uri())
        if drawn:
            page.wait_for_selector("html[data-drawn]", timeout=120_000)
        return page

    yield start
    for page in pages:
        page.close()
