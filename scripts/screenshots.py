"""Takes the README's pictures from a service that runs `make demo`: screenshots.py SIGN-IN-LINK.

Let the demo run for ten minutes first, so that the small charts have something to show. Needs Debian's chromium.
"""

from __future__ import annotations

import sys
from pathlib import Path

from playwright.sync_api import Page, sync_playwright

IMAGES = Path(__file__).resolve().parents[1] / "docs" / "images"
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-sync"]


def main(link: str) -> None:
    """Sign in, and photograph the overview and the page of the first running job."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=QUIET)
        page = browser.new_page(viewport={"width": 1360, "height": 760})
        page.goto(link)
        page.locator("form.panel button").click()
        picture(page, "overview")
        page.get_by_role("link", name="qwen-14b_sft").first.click()
        picture(page, "job")
        browser.close()


def picture(page: Page, name: str) -> None:
    """Wait until the first live readings are drawn, then save what a person sees."""
    page.wait_for_load_state("load")
    page.wait_for_timeout(3000)
    page.screenshot(path=IMAGES / f"{name}.png")


if __name__ == "__main__":
    main(sys.argv[1])
