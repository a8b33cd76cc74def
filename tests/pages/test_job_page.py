"""The page of one job: what it says in each state, and what its buttons do."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from html import unescape

import pytest
from django.urls import reverse
from django.utils import timezone

from gpus.models import HolderReading
from jobs import lifecycle, rundir
from jobs.core.ending import Ending
from jobs.core.outofmemory import Shortage
from jobs.core.states import JobState, Outcome, Reason
from jobs.views.tasktext import task_text
from tests.rows import GIB, a_device, a_job, a_running_job


@pytest.fixture
def running(member):
    job, attempt = a_running_job("mine", device=a_device(), owner=member)
    return job, attempt


def page(client, job):
    response = client.get(reverse("job", args=[job.pk]))
    assert response.status_code == 200
    return response.content.decode()


def write_log(settings, job, text, attempt=1):
    folder = rundir.attempt_directory(settings.COOP_HOME, job.pk, attempt)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "log").write_bytes(text)


def test_a_queued_job_says_its_position_and_why_it_waits(client, member):
    a_device()
    job = a_job("waits", owner=member, memory=400 * GIB)
    text = page(client, job)
    assert "Position 1 in the queue." in text
    assert 'id="why"' in text


def test_a_running_job_offers_to_keep_its_memory_and_says_what_that_means(client, running):
    job, _attempt = running
    text = page(client, job)
    assert "Pause, keep memory" in text
    assert "keeps its memory (14 GiB on gpu0)" in text
    assert 'name="keep_memory" value="yes"' in text


def test_a_job_that_can_give_its_card_back_says_first_what_that_costs(client, running):
    job, _attempt = running
    assert 'data-ask="Pause' not in page(client, job)
    type(job).objects.filter(pk=job.pk).update(preemptible=True)
    text = page(client, job)
    assert 'data-ask="Pause' in text
    assert "Frees 14 GiB on 1 card." in text
    assert "starts again from its beginning" in text
    client.post(reverse("job-pause", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == JobState.SUSPENDING
    assert "It is being paused." in page(client, job)


def test_pausing_a_running_job_freezes_it(client, running):
    job, _attempt = running
    response = client.post(reverse("job-pause", args=[job.pk]), {"keep_memory": "yes"})
    assert response.url == reverse("job", args=[job.pk])
    job.refresh_from_db()
    assert job.state == JobState.SUSPENDED
    assert "it keeps 14 GiB on gpu0" in page(client, job)
    client.post(reverse("job-resume", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == JobState.RUNNING


def test_a_refused_deed_answers_in_place_with_what_to_do(client, running):
    job, _attempt = running
    response = client.post(reverse("job-pause", args=[job.pk]), headers={"HX-Request": "true"})
    assert response.status_code == 409
    assert "keep_memory" in response.content.decode()
    assert 'role="alert"' in response.content.decode()


def test_a_refused_deed_of_a_page_without_scripts_says_so_on_the_next_page(client, running):
    job, _attempt = running
    response = client.post(reverse("job-pause", args=[job.pk]), follow=True)
    assert "keep_memory" in response.content.decode()


def test_holding_and_releasing_a_queued_job(client, member):
    job = a_job("held", owner=member)
    assert "Keeps it from starting." in page(client, job)
    client.post(reverse("job-pause", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == JobState.HELD
    assert "Release" in page(client, job)


def test_cancelling_asks_first_and_then_ends_the_job(client, member):
    job = a_job("unwanted", owner=member)
    assert 'data-ask="Cancel “unwanted#1”?"' in page(client, job)
    client.post(reverse("job-cancel", args=[job.pk]))
    job.refresh_from_db()
    assert job.state == JobState.CANCELLED
    assert "Run again" in page(client, job)


def test_a_failed_job_says_why_and_shows_its_last_lines(client, running, settings):
    job, attempt = running
    write_log(settings, job, b"step 1\n\x1b[31mRuntimeError: no\x1b[0m <script>alert(1)</script>\n")
    lifecycle.finish(
        attempt,
        Ending(
            outcome=Outcome.FAILED,
            reason=Reason.EXIT_CODE,
            detail="It ended with exit code 1.",
            exit_code=1,
        ),
    )
    text = page(client, job)
    assert "It ended with exit code 1." in text
    assert "RuntimeError: no &lt;script&gt;" in text
    assert "<script>alert" not in text


def test_out_of_memory_offers_each_change_in_one_click(client, running):
    job, attempt = running
    lifecycle.finish(
        attempt,
        Ending(
            outcome=Outcome.FAILED,
            reason=Reason.GPU_OUT_OF_MEMORY,
            detail="Out of memory.",
            exit_code=1,
            shortage=Shortage(tried=2 * GIB, in_use=20 * GIB, free=GIB),
        ),
    )
    text = page(client, job)
    assert "PyTorch had 20 GiB and asked for 2 GiB more." in text
    assert "What its command does is not read here." in text
    (link,) = re.findall(r'href="([^"]+)">Clone so', text)
    form = client.get(unescape(link)).content.decode()
    assert "min_memory: 25G" in form
    assert "Changed against mine#1:" in form


def test_a_remedy_of_a_training_opens_the_form_with_its_config_changed(client, member):
    config = {
        "model_name_or_path": "Qwen/Qwen2.5-7B-Instruct",
        "stage": "sft",
        "do_train": True,
        "dataset": "alpaca",
        "cutoff_len": 2048,
        "per_device_train_batch_size": 8,
    }
    device = a_device(total=24 * GIB)
    job, attempt = a_running_job("lora", device=device, owner=member, llamafactory=config)
    type(job).objects.filter(pk=job.pk).update(spec={**job.spec, "command": None})
    reason = Reason.GPU_OUT_OF_MEMORY
    lifecycle.finish(attempt, Ending(outcome=Outcome.FAILED, reason=reason, exit_code=1))
    text = page(client, job)
    assert "per_device_train_batch_size: 8 → " in text
    assert "on each card." in text
    links = [unescape(link) for link in re.findall(r'href="([^"]+)">Clone so', text)]
    (batch,) = [link for link in links if "batch_size" in link and "liger" not in link]
    form = unescape(client.get(batch).content.decode())
    assert re.search(r"per_device_train_batch_size: [124]\n", form)
    assert re.search(r"gradient_accumulation_steps: [248]\n", form)
    assert "cutoff_len: 2048" in form


def test_a_job_that_does_nothing_says_so_with_a_button_to_keep_it(client, running):
    job, attempt = running
    assert 'id="idle"' not in page(client, job)
    now = timezone.now()
    type(attempt).objects.filter(pk=attempt.pk).update(
        idle_kind="idle", idle_since=now - timedelta(minutes=42), idle_warned_at=now
    )
    text = page(client, job)
    assert "Its cards have done nothing for 42m" in text
    assert "Keep it 2h" in text
    client.post(reverse("job-keep", args=[job.pk]))
    text = page(client, job)
    assert 'id="idle"' not in text
    assert "to be kept running" in text


def test_the_time_line_tells_each_state_with_its_actor(client, running, member):
    job, _attempt = running
    client.post(reverse("job-pause", args=[job.pk]), {"keep_memory": "yes"})
    text = page(client, job)
    for words in ("submitted", "starting", "running", "paused, memory kept", "by member"):
        assert words in text


def test_the_live_part_brings_head_and_time_line_in_one_answer(client, running):
    job, _attempt = running
    text = client.get(reverse("job-part", args=[job.pk])).content.decode()
    assert 'id="job-live"' in text
    assert 'id="job-aside" hx-swap-oob="outerMorph"' in text
    assert "<html" not in text


def test_the_log_comes_as_lines_with_progress_bars_made_one(client, running, settings):
    job, _attempt = running
    write_log(settings, job, b"start\n10%\r50%\r100%\nend\n 7%")
    log = client.get(reverse("job-log", args=[job.pk])).json()
    assert log["lines"] == ["start", "100%", "end"]
    assert (log["first"], log["partial"], log["attempt"]) == (1, " 7%", 1)
    more = client.get(reverse("job-log", args=[job.pk]), {"after": log["end"]}).json()
    assert more["lines"] == []


def test_a_job_without_a_log_has_no_lines(client, member):
    job = a_job("fresh", owner=member)
    assert client.get(reverse("job-log", args=[job.pk])).json()["lines"] == []
    assert client.get(reverse("job-log-download", args=[job.pk])).status_code == 404


def test_the_download_is_raw_and_never_shown_as_a_page(client, running, settings):
    job, _attempt = running
    raw = b"<script>10%\r50%</script>\n"
    write_log(settings, job, raw)
    response = client.get(reverse("job-log-download", args=[job.pk]))
    assert b"".join(response.streaming_content) == raw
    assert response["Content-Disposition"].startswith("attachment")
    assert response["Content-Type"].startswith("text/plain")
    assert response["X-Content-Type-Options"] == "nosniff"


@pytest.mark.parametrize("number", ["-1", "x", "9" * 40, "１"])
def test_a_nonsense_offset_shows_the_end_of_the_log(client, running, settings, number):
    job, _attempt = running
    write_log(settings, job, b"one\n")
    for name in ("after", "before", "line", "attempt"):
        response = client.get(reverse("job-log", args=[job.pk]), {name: number})
        assert response.json()["lines"] == ["one"]


def test_the_charts_have_loss_with_llama_factorys_smoothing_and_the_jobs_memory(
    client, running, settings
):
    job, attempt = running
    output = rundir.job_directory(settings.COOP_HOME, job.pk) / "output"
    output.mkdir(parents=True, exist_ok=True)
    lines = [json.dumps({"current_steps": n, "total_steps": 3, "loss": 3.0 - n}) for n in (1, 2, 3)]
    (output / "trainer_log.jsonl").write_text("\n".join(lines) + "\n")
    device = attempt.allocations.get().device
    HolderReading.objects.create(
        device=device,
        holder=attempt.token,
        seconds=10,
        start=int(timezone.now().timestamp()),
        samples=10,
        used_mean=10 * GIB,
        used_max=12 * GIB,
        busy_mean=0.5,
    )
    charts = client.get(reverse("job-charts", args=[job.pk])).json()
    raw, smooth = charts["loss"]["data"]
    assert (raw["x"], raw["y"]) == ([1, 2, 3], [2.0, 1.0, 0.0])
    assert smooth["y"][0] == 2.0
    assert 1.0 < smooth["y"][1] < 2.0
    _ground, used, busy = charts["memory"]["data"]
    assert (used["y"], busy["y"]) == ([12.0], [50.0])
    assert charts["memory"]["layout"]["shapes"][0]["y0"] == 14


def test_a_job_that_has_logged_nothing_has_no_charts(client, member):
    job = a_job("fresh", owner=member)
    assert client.get(reverse("job-charts", args=[job.pk])).json() == {"loss": None, "memory": None}


def test_a_stored_task_reads_as_a_person_would_write_it():
    spec = {
        "task_id": "t",
        "priority": "high",
        "command": "a\nb\n",
        "resources": {"min_memory": 16 * GIB, "gpus": 1},
        "max_attempts": 3,
        "env": {},
        "time_limit": 3600.0,
        "llamafactory": None,
    }
    assert task_text(spec) == (
        "task_id: t\npriority: high\nresources:\n  min_memory: 16G\ncommand: |\n  a\n  b\ntime_limit: 3600s\n"
    )
