"""Every page, in both themes and on a phone: what axe-core finds against WCAG 2.2 AA is nothing."""

from __future__ import annotations

import json

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import watch
from tests.pages.service import ROOT, sign_in

pytestmark = pytest.mark.browser
AXE = next((ROOT / "tests/pages/vendor").glob("axe-core-*/axe.min.js")).read_text()
RULES = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]
CHECK = "rules => axe.run(document, {runOnly: rules}).then(found => found.violations)"
PAGES = (
    "overview",
    "jobs",
    "all-jobs",
    "running",
    "waiting",
    "failed",
    "new-task",
    "new-config",
    "new-text",
    "datasets",
    "dataset",
    "projects",
    "project",
    "reports",
    "health",
    "card",
    "account",
    "password",
    "notifications",
    "my-channels",
    "project-channels",
    "missing",
)
IN_CHINESE = (
    "overview",
    "jobs",
    "waiting",
    "new-task",
    "datasets",
    "projects",
    "reports",
    "account",
)
NAMED_BY_PEOPLE = {"waiting", "account"}  # the heading is the name of a job or a person


@pytest.fixture(scope="module")
def addresses(service):
    """A site with something of everything, and where it is."""
    filled = service.run("-m", "tests.pages.filled_site")
    return {
        "overview": "/",
        "jobs": "/jobs/",
        "all-jobs": "/jobs/?show=all",
        "new-task": "/jobs/new",
        "new-config": "/jobs/new?tab=config",
        "new-text": "/jobs/new?tab=text",
        "datasets": "/datasets/",
        "health": "/health/",
        "projects": "/projects/",
        "reports": "/reports/",
        "project": "/projects/default/",
        "account": "/account/",
        "password": "/account/password",
        "notifications": "/notifications/",
        "my-channels": "/account/notifications",
        "project-channels": "/projects/default/notifications",
        "missing": "/jobs/none/",
        **json.loads(filled.splitlines()[-1]),
    }


@pytest.fixture(scope="module")
def viewers(service, browser):
    """The same person by day, by night, and on a phone."""
    phone = {"viewport": {"width": 375, "height": 812}}
    return {
        "light": sign_in(browser, service, "lead", color_scheme="light"),
        "dark": sign_in(browser, service, "lead", color_scheme="dark"),
        "phone": sign_in(browser, service, "lead", **phone),
        "chinese": in_chinese(sign_in(browser, service, "lead"), service),
    }


@pytest.mark.parametrize("look", ["light", "dark"])
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_no_barrier(viewers, addresses, complaints, name, look):
    page = viewers[look].new_page()
    if name != "missing":
        watch(page, complaints)
    page.goto(addresses[name])
    page.wait_for_timeout(700)  # charts and the log have been drawn
    assert found_by_axe(page) == []
    page.close()


@pytest.mark.parametrize("name", IN_CHINESE)
def test_a_page_in_chinese_has_no_barrier(viewers, addresses, name):
    page = viewers["chinese"].new_page()
    page.goto(addresses[name])
    page.wait_for_timeout(700)
    assert page.locator("html").get_attribute("lang") == "zh-hans"
    assert page.locator("h1").inner_text().isascii() is (name in NAMED_BY_PEOPLE)
    assert "Noto Sans CJK SC" in page.evaluate("getComputedStyle(document.body).fontFamily")
    assert found_by_axe(page) == []
    page.close()


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_sign_in_has_no_barrier(browser, service, look):
    context = browser.new_context(base_url=service.url, color_scheme=look)
    page = context.new_page()
    page.goto("/signin/")
    assert found_by_axe(page) == []
    context.close()


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone(viewers, addresses, name):
    page = viewers["phone"].new_page()
    page.goto(addresses[name])
    page.wait_for_timeout(400)
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    small = page.evaluate(SMALL_TARGETS)
    assert small == []
    page.close()


def test_an_open_menu_and_a_question_have_no_barrier(viewers, addresses):
    page = viewers["light"].new_page()
    page.goto(addresses["running"])
    page.get_by_role("button", name="Menu of lead").click()
    assert found_by_axe(page) == []
    page.keyboard.press("Escape")
    page.get_by_role("button", name="Cancel").click()
    assert found_by_axe(page) == []
    page.close()


def test_the_keyboard_reaches_everything_and_single_keys_lead_the_way(viewers, addresses):
    page = viewers["light"].new_page()
    page.goto("/")
    page.keyboard.press("Tab")
    expect(page.locator(":focus")).to_have_text("Skip to the content")
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()
    page.keyboard.press("g")
    page.keyboard.press("j")
    page.wait_for_url("**/jobs/")
    page.keyboard.press("/")
    expect(page.locator("#q")).to_be_focused()
    page.keyboard.type("n/?")
    expect(page.locator("#q")).to_have_value("n/?")
    page.locator("#q").blur()
    page.keyboard.press("?")
    expect(page.locator("#keys")).to_be_visible()
    page.keyboard.press("Escape")
    page.keyboard.press("n")
    page.wait_for_url("**/jobs/new")
    page.close()


def in_chinese(context, service):
    context.add_cookies([{"name": "django_language", "value": "zh-hans", "url": service.url}])
    return context


def found_by_axe(page):
    page.evaluate(AXE)
    return [
        f"{each['id']}: {node['html'][:120]} {node['failureSummary'][:200]}"
        for each in page.evaluate(CHECK, RULES)
        for node in each["nodes"]
    ]


# Buttons and form fields smaller than 24 x 24 px (WCAG 2.5.8); links inside a sentence or a cell may be.
SMALL_TARGETS = """() => [...document.querySelectorAll('button, select, input:not([type=hidden]), .btn')]
    .filter(item => item.checkVisibility() && !item.closest('.visually-hidden') && !item.matches('.visually-hidden'))
    .map(item => [item.closest('label') ?? item, item])
    .map(([target, item]) => [target.getBoundingClientRect(), item])
    .filter(([box]) => box.width && (box.width < 24 || box.height < 20))
    .map(([box, item]) => `${item.outerHTML.slice(0, 80)} ${box.width}x${box.height}`)"""
