"""The panel that says why a job waits, in a real browser: what is opened stays open, what is offered works."""

from __future__ import annotations

import os
import re
from datetime import datetime
from zoneinfo import ZoneInfo

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import watch
from tests.pages.service import sign_in
from tests.pages.test_accessibility import AXE, CHECK, RULES
from tests.pages.test_browser import LONG, a_task, expect_state, hand_in

pytestmark = pytest.mark.browser
TRAIN = f"python src/train.py --model m --dataset d {LONG}"
ZONE = "Asia/Shanghai"


@pytest.fixture(scope="module")
def lead(service, browser):
    return sign_in(browser, service, "lead", color_scheme="light", timezone_id=ZONE)


@pytest.fixture(scope="module")
def waiting(lead, service):
    """One job holds the large card for an hour as far as is known; two wait behind it: the addresses of these."""
    service.end_all_jobs()
    page = lead.new_page()
    hand_in(page, a_task("hog", TRAIN, "60G", est_time="1h", max_attempts=1))
    expect_state(page, "running")
    jobs = [hand_in(page, a_task(name, "true", "70G", est_time="30m")) for name in ("one", "two")]
    yield [f"/jobs/{job}/" for job in jobs]
    for name in ("two", "one", "hog"):
        page.goto("/jobs/")
        page.get_by_role("link", name=f"{name}#1", exact=True).click()
        page.get_by_role("button", name="Cancel").click()
        page.locator("dialog.ask").get_by_role("button", name="Cancel").click()
    page.close()


@pytest.fixture
def page(lead, complaints):
    page = lead.new_page()
    watch(page, complaints)
    yield page
    page.close()


def open_all(page):
    for summary in page.locator("#why summary").all():
        summary.click()


def test_what_is_opened_stays_open_when_the_panel_is_fetched_again(page, waiting):
    page.goto(waiting[1])
    open_all(page)
    before = page.locator("#why details[open]").count()
    with page.expect_response(re.compile(r"/part$")):
        page.evaluate("htmx.trigger('#job', 'refresh')")
    page.wait_for_timeout(300)
    assert (before, page.locator("#why details[open]").count()) == (3, 3)


def test_the_expected_start_is_told_in_the_readers_zone(page, waiting):
    page.goto(waiting[1])
    start = page.locator("#expected-start time").first
    expect(start).to_be_visible(timeout=20_000)
    at = datetime.fromisoformat(start.get_attribute("datetime")).astimezone(ZoneInfo(ZONE))
    expect(start).to_have_text(re.compile(f"{at:%H:%M}$"))
    expect(page.locator("#expected-start time")).to_have_count(3)


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_opened_panel_has_no_barrier(page, waiting, look):
    page.emulate_media(color_scheme=look)
    page.goto(waiting[1])
    open_all(page)
    page.evaluate(AXE)
    found = page.evaluate(CHECK, RULES)
    if folder := os.environ.get("WHYPICS"):
        page.screenshot(path=f"{folder}/why-{look}.png", full_page=True)
    assert [violation["id"] for violation in found] == []


def test_the_opened_panel_fits_a_phone(page, waiting):
    page.set_viewport_size({"width": 375, "height": 812})
    page.goto(waiting[1])
    open_all(page)
    width = page.evaluate("document.documentElement.scrollWidth")
    assert width <= 375


def test_less_memory_is_one_click_from_a_form_that_has_it(page, waiting):
    page.goto(waiting[0])
    page.get_by_role("link", name="Clone so").first.click()
    text = page.get_by_label("Task file", exact=True)
    expect(text).to_have_value(re.compile("task_id: one_copy"))
    expect(page.locator("#check-start, .check-list")).not_to_have_count(0)


def test_a_lead_raises_the_priority_in_place(page, waiting):
    page.goto(waiting[1])
    expect(page.locator("#why")).to_contain_text("Position 2 in the queue.")
    page.get_by_role("button", name="Set priority high").click()
    expect(page.locator("#why")).to_contain_text("Position 1 in the queue.")
    expect(page.locator(".facts")).to_contain_text("high")
