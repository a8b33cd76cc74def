"""The pages in a real browser before a real service: hand in, watch, steer, and come back after a kill."""

from __future__ import annotations

import json
import re
import time

import pytest
from playwright.sync_api import expect

from tests.pages.conftest import watch
from tests.pages.service import ROOT, sign_in

pytestmark = pytest.mark.browser
TASK = (ROOT / "examples/article/task.yaml").read_text()
LONG = "--steps 3000 --step-seconds 0.2"
PATIENT_MS = 40_000


def a_task(task_id, command="true", memory="2G", **fields):
    lines = [
        f"task_id: {task_id}",
        "resources:",
        f"  min_memory: {memory}",
        f"command: {json.dumps(command)}",
    ]
    return "\n".join([*lines, *(f"{name}: {value}" for name, value in fields.items())]) + "\n"


def forgive(complaints, words):
    """The browser logs an answer that refuses something as an error, which it is not."""
    complaints[:] = [each for each in complaints if words not in each]


def hand_in(page, text):
    """Write a task into the form, submit it, and arrive at its page; the job's id."""
    page.goto("/jobs/new?tab=text")
    page.get_by_label("Task file", exact=True).fill(text)
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url(re.compile(r"/jobs/[a-z0-9]{12}/$"))
    return page.url.rstrip("/").rsplit("/", 1)[1]


def expect_state(page, word):
    expect(page.locator("#job-live .state-large")).to_have_text(word, timeout=PATIENT_MS)


def test_the_articles_task_file_is_uploaded_watched_and_succeeds(page):
    page.goto("/")
    page.get_by_role("link", name="New job").first.click()
    file = {"name": "task.yaml", "mimeType": "text/yaml", "buffer": TASK.encode()}
    page.locator("input[name=task_file]").set_input_files(file)
    expect(page.locator("#task")).to_have_value(TASK)
    expect(page.locator("#check")).to_contain_text("fits now")
    page.get_by_role("button", name="Submit job").click()
    expect_state(page, "succeeded")
    expect(page.locator(".log li").first).to_contain_text("Training qwen-7b with lora on my_data")
    expect(page.locator("#progress .big")).to_have_text(re.compile(r"100\s*%"), timeout=PATIENT_MS)
    expect(page.locator("#chart-loss .scatterlayer .js-line")).to_have_count(2, timeout=PATIENT_MS)
    expect(page.locator(".timeline li")).to_have_count(4)


def test_a_running_job_is_seen_live_on_its_page_and_on_the_overview(page, contexts, complaints):
    overview = contexts["researcher"].new_page()
    watch(overview, complaints)
    overview.goto("/")
    expect(overview.locator(".live-words")).to_have_text("live", timeout=PATIENT_MS)
    hand_in(page, a_task("live-1", f"python src/train.py --model m --dataset d {LONG}", "14G"))
    expect_state(page, "running")
    row = overview.locator(".gpu-jobs li", has_text="live-1#1")
    expect(row).to_be_visible(timeout=PATIENT_MS)
    expect(row.locator("[data-v=used]")).not_to_have_text("–", timeout=PATIENT_MS)
    expect(overview.locator("#running li", has_text="live-1#1")).to_be_visible()
    before = page.locator(".log li").count()
    expect(page.locator(".log li").nth(before + 3)).to_be_visible(timeout=PATIENT_MS)
    expect(page.locator("[data-p=step]")).not_to_have_text("–", timeout=PATIENT_MS)
    overview.close()


def test_a_change_of_state_is_seen_elsewhere_within_half_a_second(page, contexts):
    job = hand_in(page, a_task("quick-1", f"python src/train.py --model m --dataset d {LONG}"))
    expect_state(page, "running")
    other = contexts["researcher"].new_page()
    other.goto(f"/jobs/{job}/")
    expect(other.locator(".live-words")).to_have_text("live", timeout=PATIENT_MS)
    delays = []
    for button, state in (("Pause, keep memory", "SUSPENDED"), ("Resume", "RUNNING")) * 3:
        other.wait_for_timeout(500)
        other.evaluate(SEEN_AT, state)
        page.get_by_role("button", name=button, exact=True).click()
        expect(page.locator(f"#job-live [data-state={state}]")).to_be_visible()
        changed = page.evaluate("Date.now()")
        seen = other.evaluate("window.seenAt")
        delays.append((seen - changed) / 1000)
    assert max(delays) < 0.5, delays
    other.close()


# A promise for the moment in which the state first stands on the page.
SEEN_AT = """state => {
    window.seenAt = new Promise(resolve => {
        const look = () => document.querySelector(`#job-live [data-state=${state}]`)
            ? resolve(Date.now()) : requestAnimationFrame(look);
        look();
    });
}"""


def test_cancelling_asks_first(page):
    hand_in(page, a_task("doomed-1", "sleep 600"))
    expect_state(page, "running")
    page.get_by_role("button", name="Cancel").click()
    dialog = page.locator("#ask")
    expect(dialog).to_contain_text("Cancel “doomed-1#1”?")
    dialog.get_by_role("button", name="Leave it").click()
    expect_state(page, "running")
    page.get_by_role("button", name="Cancel").click()
    dialog.get_by_role("button", name="Cancel").click()
    expect_state(page, "cancelled")


def test_a_failure_says_why_and_its_markup_stays_text(page):
    hand_in(
        page,
        a_task(
            "fails-1",
            "printf '\\033[31mred\\033[0m <img src=x onerror=alert(1)>\\n'; exit 3",
            max_attempts="1",
        ),
    )
    expect_state(page, "failed")
    expect(page.locator("#failure")).to_contain_text("exit code 3", ignore_case=True)
    expect(page.locator("#failure pre")).to_contain_text("<img src=x onerror=alert(1)>")
    expect(page.locator(".log .ansi-red-fg")).to_have_text("red", timeout=PATIENT_MS)


def test_a_long_log_stays_small_in_the_page_and_everything_in_it_is_found(page):
    command = "for i in $(seq 1 12000); do echo line $i; done; printf '10%%\\r60%%\\r100%%\\n'; echo the end"
    job = hand_in(page, a_task("chatty-1", command))
    expect_state(page, "succeeded")
    page.reload()
    expect(page.locator(".log li").last).to_contain_text("the end", timeout=PATIENT_MS)
    expect(page.locator(".log li", has_text="100%")).to_have_count(1)
    expect(page.locator(".log li", has_text="60%")).to_have_count(0)
    expect(page.locator("#L12002")).to_be_visible()
    for _block in range(8):
        page.locator("#log-earlier").click()
        page.wait_for_timeout(250)
    assert page.locator(".log li").count() <= 5000
    page.get_by_label("Search the log").fill("line 4999")
    expect(page.locator("#log-found")).to_have_text("1 of 1")
    expect(page.locator(".log mark")).to_have_text("line 4999")
    page.goto(f"/jobs/{job}/#L300")
    page.reload()
    expect(page.locator("#L300.current")).to_contain_text("line 300", timeout=PATIENT_MS)


def test_a_dataset_goes_up_in_parts_and_a_broken_one_is_refused_with_row_and_field(
    page, complaints
):
    row = json.dumps({"instruction": "q" * 900, "input": "", "output": "a"}) + "\n"
    good = (row * 22_000).encode()  # more than two parts
    page.goto("/datasets/")
    page.locator("input[name=file]").set_input_files(
        {"name": "big rows.jsonl", "mimeType": "application/jsonl", "buffer": good}
    )
    expect(page.get_by_label("Name")).to_have_value("big_rows")
    page.get_by_role("button", name="Upload").click()
    page.wait_for_url(re.compile(r"/datasets/[a-z0-9]{12}/$"), timeout=PATIENT_MS)
    expect(page.locator(".facts")).to_contain_text("22000 rows")
    page.goto("/datasets/")
    broken = (row * 30 + '{"instruction": "no output"}\n').encode()
    page.locator("input[name=file]").set_input_files(
        {"name": "broken.jsonl", "mimeType": "application/jsonl", "buffer": broken}
    )
    page.get_by_role("button", name="Upload").click()
    refusal = page.locator("#upload-error")
    expect(refusal.locator("tbody tr")).to_have_count(1, timeout=PATIENT_MS)
    expect(refusal).to_contain_text("row 31")
    expect(refusal).to_contain_text("output")
    forgive(complaints, "422")


def test_a_job_and_its_dataset_are_handed_in_in_one_go(page):
    rows = json.dumps([{"instruction": "q", "output": "a"}] * 20).encode()
    page.goto("/jobs/new?tab=text")
    page.get_by_label("Task file", exact=True).fill(
        a_task(
            "with-data-1", "ls work data 2>/dev/null; cat $LLAMA_COOP_DATASET_DIR/dataset_info.json"
        )
    )
    page.locator("input[name=dataset_file]").set_input_files(
        {"name": "inline.json", "mimeType": "application/json", "buffer": rows}
    )
    page.get_by_role("button", name="Submit job").click()
    page.wait_for_url(re.compile(r"/jobs/[a-z0-9]{12}/$"), timeout=PATIENT_MS)
    expect_state(page, "succeeded")
    expect(page.locator(".log")).to_contain_text("inline", timeout=PATIENT_MS)
    expect(page.get_by_role("link", name="inline")).to_be_visible()


def test_an_error_is_shown_at_its_line_and_nothing_typed_is_lost(page, complaints):
    page.goto("/jobs/new?tab=text")
    text = a_task("wrong-1", "true").replace("2G", "2X")
    page.get_by_label("Task file", exact=True).fill(text)
    expect(page.locator("#check")).to_contain_text("resources.min_memory")
    expect(page.locator(".numbered:visible .lines b")).to_have_text("3")
    page.get_by_role("tab", name="LLaMA-Factory config").click()
    page.get_by_role("tab", name="Write YAML").click()
    expect(page.get_by_label("Task file", exact=True)).to_have_value(text)
    page.get_by_role("button", name="Submit job").click()
    expect(page.locator("#task-problems")).to_contain_text("line 3")
    expect(page.get_by_label("Task file", exact=True)).to_have_value(text)
    forgive(complaints, "422")


def test_others_see_memory_without_a_name(page, contexts, complaints):
    hand_in(page, a_task("private-1", "sleep 600", "5G"))
    expect_state(page, "running")
    stranger = contexts["neighbour"].new_page()
    watch(stranger, complaints)
    stranger.goto("/")
    expect(stranger.locator(".gpu-jobs")).to_contain_text(
        ["another project"] * 1, timeout=PATIENT_MS
    )
    assert "private-1" not in stranger.content()
    stranger.close()


def test_updates_can_be_paused_and_go_on(page):
    page.goto("/")
    words = page.locator(".live-words").first
    expect(words).to_have_text("live", timeout=PATIENT_MS)
    page.get_by_role("button", name="Pause updates").click()
    expect(words).to_contain_text("paused")
    page.get_by_role("button", name="Pause updates").click()
    expect(words).to_have_text("live", timeout=PATIENT_MS)


def test_the_theme_follows_the_system_until_one_is_chosen(contexts, complaints):
    page = contexts["admin"].new_page()
    watch(page, complaints)
    page.emulate_media(color_scheme="dark")
    page.goto("/projects/")
    html = page.locator("html")
    expect(html).to_have_attribute("data-bs-theme", "dark")
    page.emulate_media(color_scheme="light")
    expect(html).to_have_attribute("data-bs-theme", "light")
    page.get_by_role("button", name="Menu of admin").click()
    page.get_by_role("button", name="Dark").click()
    expect(html).to_have_attribute("data-bs-theme", "dark")
    page.wait_for_load_state("networkidle")
    page.reload()
    expect(html).to_have_attribute("data-bs-theme", "dark")
    page.close()


def test_without_scripts_a_job_is_handed_in_steered_and_read(service, browser):
    context = sign_in(browser, service, "researcher", java_script_enabled=False)
    page = context.new_page()
    page.goto("/jobs/new")
    page.locator("input[name=task_file]").set_input_files(
        {
            "name": "t.yaml",
            "mimeType": "text/yaml",
            "buffer": a_task("plain-1", "sleep 600").encode(),
        }
    )
    page.get_by_role("button", name="Submit job").click()
    expect(page.locator("h1")).to_have_text("plain-1#1")
    deadline = time.monotonic() + 40
    while page.locator(".state-large").inner_text() != "running" and time.monotonic() < deadline:
        page.wait_for_timeout(300)
        page.reload()
    page.get_by_role("button", name="Cancel").click()
    expect(page.locator(".state-large")).to_have_text(re.compile("stopping|cancelled"))
    context.close()


def test_pages_come_back_by_themselves_when_the_web_process_is_killed(page, service, complaints):
    page.goto("/")
    words = page.locator(".live-words").first
    expect(words).to_have_text("live", timeout=PATIENT_MS)
    pid = service.pids()["web"]
    service.kill("web")
    expect(words).to_contain_text("reconnecting", timeout=PATIENT_MS)
    expect(words).to_have_text("live", timeout=PATIENT_MS)
    assert service.pids()["web"] != pid
    complaints.clear()  # the browser itself logs each failed attempt
