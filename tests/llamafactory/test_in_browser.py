"""A real fine-tune by a person in a browser: uploaded, watched live, ended with its true outcome."""

from __future__ import annotations

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings
from playwright.sync_api import Page, expect, sync_playwright

from tests.pages.service import Service, open_browser, sign_in
from tests.waiting import wait_until

pytestmark = pytest.mark.llamafactory

PATIENT_MS = 400_000


@pytest.fixture(scope="module")
def service(open_folder) -> Iterator[Service]:
    service = Service(open_folder, COOP_LLAMAFACTORY=settings.COOP_LLAMAFACTORY, HF_HUB_OFFLINE="1")
    service.start()
    service.make_person("researcher")
    yield service
    service.stop()


@pytest.fixture(scope="module")
def page(service) -> Iterator[Page]:
    with sync_playwright() as playwright:
        browser = open_browser(playwright)
        context = sign_in(browser, service, "researcher", viewport={"width": 1280, "height": 1600})
        page = context.new_page()
        page.set_default_timeout(PATIENT_MS)
        yield page
        browser.close()


def upload(page: Page, file: Path, name: str) -> None:
    page.goto("/datasets/")
    page.locator("input[name=file]").set_input_files(file)
    page.get_by_label("Name").fill(name)
    page.get_by_role("button", name="Upload").click()


def hand_in(page: Page, config: Path, task_id: str, dataset: str) -> str:
    """Submit a LLaMA-Factory config with its panel; the job's id."""
    page.goto("/jobs/new?tab=config")
    page.locator("input[name=config_file]").set_input_files(config)
    page.locator("[name=task_id]").fill(task_id)
    page.locator("[name=min_memory]").fill("4G")
    page.locator("[name=dataset]").select_option(dataset)
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url(re.compile(r"/jobs/[a-z0-9]{12}/$"))
    return page.url.rstrip("/").rsplit("/", 1)[1]


def expect_state(page: Page, word: str) -> None:
    expect(page.locator("#job-live .state-large")).to_have_text(word, timeout=PATIENT_MS)


def keep_picture(page: Page, name: str) -> None:
    """For a look at the page, where LLAMAFACTORY_PICTURES names a folder."""
    folder = os.environ.get("LLAMAFACTORY_PICTURES")
    if folder:
        page.screenshot(path=f"{folder}/{name}.png", full_page=True)


def test_a_broken_dataset_is_refused_with_row_and_field(page, tiny):
    upload(page, tiny / "broken_alpaca.jsonl", "broken")
    refusal = page.locator("#upload-error")
    expect(refusal).to_contain_text("row 3", timeout=PATIENT_MS)
    expect(refusal).to_contain_text("output")
    keep_picture(page, "refused-dataset")


def test_a_fine_tune_ends_succeeded_with_log_progress_and_loss_curve(page, tiny):
    upload(page, tiny / "tiny_alpaca.json", "tiny_alpaca")
    page.wait_for_url(re.compile(r"/datasets/[a-z0-9]{12}/$"))
    expect(page.locator(".facts")).to_contain_text("20 rows")
    hand_in(page, tiny / "lora_sft.yaml", "tiny-lora-1", "tiny_alpaca")
    expect_state(page, "succeeded")
    expect(page.locator(".log")).to_contain_text("Training completed", timeout=PATIENT_MS)
    expect(page.locator("#progress .big")).to_have_text(re.compile(r"100\s*%"), timeout=PATIENT_MS)
    expect(page.locator("#progress")).to_contain_text("20")
    lines = page.locator("#chart-loss .scatterlayer .js-line")
    expect(lines).to_have_count(2, timeout=PATIENT_MS)
    keep_picture(page, "succeeded")


def test_a_fine_tune_whose_process_is_killed_ends_failed_with_the_reason(page, service, tiny):
    job = hand_in(page, tiny / "slow.yaml", "tiny-slow-1", "tiny_alpaca")
    log = service.home / "jobs" / job / "output" / "trainer_log.jsonl"
    wait_until(lambda: log.exists() and log.stat().st_size, PATIENT_MS / 1000, "the first steps")
    expect(page.locator("#progress")).to_contain_text("2000", timeout=PATIENT_MS)
    keep_picture(page, "running")
    for pid in trainers_of(service.home / "jobs" / job):
        os.kill(pid, signal.SIGKILL)
    expect_state(page, "failed")
    expect(page.locator("#job-live")).to_contain_text("SIGKILL", timeout=PATIENT_MS)
    keep_picture(page, "killed")


def trainers_of(folder: Path) -> list[int]:
    """The processes that run in the job's folder."""
    found = []
    for entry in Path("/proc").iterdir():
        if not entry.name.isdigit():
            continue
        try:
            if (entry / "cwd").readlink().is_relative_to(folder / "work"):
                found.append(int(entry.name))
        except OSError:  # it has ended, or is not ours to look at
            continue
    return found
