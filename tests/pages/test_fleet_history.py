"""The past of all cards on the overview."""

from __future__ import annotations

import pytest
from django.urls import reverse
from django.utils import timezone
from playwright.sync_api import expect

from gpus.fleetcharts import MOST_POINTS
from gpus.models import Reading
from gpus.views import SPANS
from jobs.core.units import GIB
from tests.pages.conftest import watch
from tests.pages.service import sign_in
from tests.pages.test_accessibility import AXE, CHECK, RULES
from tests.rows import a_device
from tests.waiting import wait_until


def read(device, start, used, busy, seconds=10):
    Reading.objects.create(
        device=device,
        seconds=seconds,
        start=start,
        samples=10,
        used_mean=used * GIB,
        busy_mean=busy,
    )


def drawn(client, span):
    return client.get(reverse("fleet-charts"), {"span": span}).json()["memory"]


def test_what_the_cards_used_is_added_up_and_their_busy_time_is_a_mean(client):
    one, other = a_device(0), a_device(1)
    at = int(timezone.now().timestamp()) // 10 * 10 - 60
    read(one, at, 40, 0.9)
    read(other, at, 20, 0.3)
    figure = drawn(client, "15m")
    used, busy = figure["data"][1], figure["data"][2]
    assert (used["y"], busy["y"]) == ([60.0], [60.0])
    total = (one.memory_total + other.memory_total) / GIB
    assert figure["layout"]["shapes"][0]["y0"] == total


@pytest.mark.parametrize("span", SPANS)
def test_however_long_the_time_the_points_are_few(client, span):
    device = a_device(0)
    _words, seconds, resolution = SPANS[span]
    now = int(timezone.now().timestamp()) // resolution * resolution
    Reading.objects.bulk_create(
        Reading(
            device=device, seconds=resolution, start=at, samples=1, used_mean=GIB, busy_mean=0.5
        )
        for at in range(now - seconds, now, resolution)
    )
    points = drawn(client, span)["data"][1]["y"]
    assert set(points) == {1.0}
    assert MOST_POINTS // 2 < len(points) <= MOST_POINTS + 1


def test_without_readings_there_is_no_chart(client):
    a_device(0)
    assert drawn(client, "1h") is None


@pytest.mark.browser
@pytest.mark.parametrize("look", ["light", "dark"])
def test_the_chart_is_drawn_for_the_chosen_time_and_has_no_barrier(
    service, browser, complaints, look
):
    context = sign_in(browser, service, "researcher", color_scheme=look)
    page = context.new_page()
    watch(page, complaints)
    page.goto("/")
    history = page.locator("#history")
    history.scroll_into_view_if_needed()
    expect(history.locator(".js-line").first).to_be_attached(timeout=40_000)
    with page.expect_response(lambda answer: "span=15m" in answer.url):
        history.get_by_role("button", name="15 minutes").click()
    expect(history.locator("[aria-current]")).to_have_text("15 minutes")
    page.evaluate("scrollTo(0, 0)")  # what is half under the head counts as small
    page.evaluate(AXE)
    found = page.evaluate(CHECK, RULES)
    assert [(each["id"], [node["target"] for node in each["nodes"]]) for each in found] == []
    page.set_viewport_size({"width": 375, "height": 800})
    width = "document.documentElement.scrollWidth"
    wait_until(lambda: page.evaluate(width) <= 375, 20, "a page without sideways scrolling")
    context.close()
