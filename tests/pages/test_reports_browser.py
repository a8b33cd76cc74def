"""The reports' page in a browser: charts in the colours of both themes, no barrier, readable on paper."""

from __future__ import annotations

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import watch
from tests.pages.service import sign_in
from tests.pages.test_accessibility import SMALL_TARGETS, found_by_axe

pytestmark = pytest.mark.browser
CHARTS = ("hours", "memory", "waits", "cards", "fairness")
COLOURS = "() => [...document.querySelectorAll('.bars path, .js-line')].map(p => p.style.fill + p.style.stroke)"


@pytest.fixture(scope="module")
def filled(service):
    service.make_person("reporter", role="admin")  # whose theme no other test has chosen
    service.run("-m", "tests.pages.reported_site")


@pytest.fixture
def opened(service, browser, filled, complaints):
    """Opens the admin's reports in a context of its own; all charts drawn."""
    contexts = []

    def open_reports(**context):
        contexts.append(sign_in(browser, service, "reporter", **context))
        page = contexts[-1].new_page()
        watch(page, complaints)
        page.goto("/reports/")
        for name in CHARTS:
            expect(page.locator(f"#chart-{name} .main-svg").first).to_be_visible()
        return page

    yield open_reports
    for each in contexts:
        each.close()


@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_charts_are_drawn_and_there_is_no_barrier(opened, look):
    page = opened(color_scheme=look)
    page.evaluate("document.querySelectorAll('main details').forEach(each => (each.open = true))")
    for name in CHARTS:
        assert page.locator(f"#chart-{name} :is(.bars path, .js-line)").count() > 1
    assert found_by_axe(page) == []


def test_a_phone_shows_all_of_it(opened):
    page = opened(viewport={"width": 375, "height": 812})
    assert page.evaluate("document.documentElement.scrollWidth") <= 375
    assert page.evaluate(SMALL_TARGETS) == []
    assert found_by_axe(page) == []


def test_on_paper_the_charts_have_the_colours_of_the_light_theme_and_fit(opened):
    light = opened(color_scheme="light").evaluate(COLOURS)
    page = opened(color_scheme="dark")
    dark = page.evaluate(COLOURS)
    assert dark != light
    page.evaluate("window.onbeforeprint = () => (window.printed = true)")
    assert page.pdf(prefer_css_page_size=True).startswith(b"%PDF")
    assert page.evaluate("window.printed")
    expect(page.locator("html")).to_have_attribute("data-bs-theme", "dark")
