"""When a training last saved is noticed while it runs, cheaply, and only what its next attempt could go on from."""

from __future__ import annotations

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from jobs import checkpoints, saves
from jobs.models import Attempt, Job
from jobs.progress import Following
from tests.rows import a_device, a_running_job

pytestmark = pytest.mark.django_db

CONFIG = {"model_name_or_path": "m", "do_train": True, "stage": "sft"}


@pytest.fixture
def running(tmp_path, settings) -> tuple[Job, Attempt]:
    settings.COOP_HOME = tmp_path
    job, attempt = a_running_job(device=a_device(), command=None, llamafactory=CONFIG)
    begun = timezone.now() - timedelta(minutes=10)
    Attempt.objects.filter(pk=attempt.pk).update(started_at=begun)
    output_of(job).mkdir(parents=True)
    return job, attempt


def output_of(job: Job) -> Path:
    from django.conf import settings

    return settings.COOP_HOME / "jobs" / job.pk / "output"


def save(job: Job, step: int, ago: float = 0.0, *, marker: bool = False) -> float:
    """A checkpoint that was complete `ago` seconds before now; that time."""
    folder = output_of(job) / f"checkpoint-{step}"
    folder.mkdir(exist_ok=True)
    state = folder / "trainer_state.json"
    state.write_text(json.dumps({"global_step": step, "max_steps": 100}))
    if marker:
        (folder / "checkpoint-is-incomplete.txt").touch()
    at = float(int(timezone.now().timestamp() - ago))
    os.utime(state, (at, at))
    return at


def stored(job: Job) -> float | None:
    at = job.attempts.latest("number").saved_at
    return None if at is None else at.timestamp()


def test_the_newest_complete_checkpoint_is_noticed_while_progress_is_read(running):
    job, attempt = running
    following = Following()
    following.follow([attempt], 0.0)
    assert stored(job) is None
    at = save(job, 9, ago=60)
    save(job, 10, marker=True)
    following.follow([attempt], saves.LOOK_EVERY_S)
    assert stored(job) == at
    newer = save(job, 100, ago=5)
    following.follow([attempt], 2 * saves.LOOK_EVERY_S)
    assert stored(job) == newer


def test_it_is_looked_for_every_few_seconds_only_and_a_known_one_is_not_opened(
    running, monkeypatch
):
    job, attempt = running
    save(job, 10)
    following = Following()
    following.follow([attempt], 0.0)
    looks, opened = [], []
    monkeypatch.setattr(checkpoints, "_checkpoints", lambda _: looks.append(1) or ["checkpoint-10"])
    monkeypatch.setattr(checkpoints, "_is_complete", lambda *_: opened.append(1))
    for second in range(1, 11):
        following.follow([attempt], float(second))
    assert (len(looks), len(opened)) == (2, 0)


def test_a_checkpoint_of_an_earlier_attempt_says_nothing_about_this_one(running):
    job, attempt = running
    save(job, 10, ago=3600)
    Following().follow([attempt], 0.0)
    assert stored(job) is None


def test_an_older_time_never_replaces_a_newer_one(running):
    job, attempt = running
    at = timezone.now().timestamp()
    assert saves.store(job.pk, attempt.number, at)
    assert not saves.store(job.pk, attempt.number, at - 1)
    assert not saves.store(job.pk, attempt.number, at)
    assert stored(job) == pytest.approx(at)


@pytest.mark.parametrize(("stage", "counts"), [("sft", True), ("dpo", True), ("rm", False)])
def test_a_checkpoint_counts_only_where_training_can_go_on_from_it(running, stage, counts):
    job, attempt = running
    Job.objects.filter(pk=job.pk).update(
        spec=job.spec | {"llamafactory": CONFIG | {"stage": stage}}
    )
    at = save(job, 10)
    assert saves.note(job, attempt.number) is counts
    assert stored(job) == (at if counts else None)


def test_a_command_is_told_to_go_on_from_its_checkpoints_so_they_count(running):
    job, attempt = running
    Job.objects.filter(pk=job.pk).update(spec=job.spec | {"llamafactory": None, "command": "x"})
    save(job, 10)
    assert saves.note(job, attempt.number)


def test_an_attempt_that_has_ended_is_not_touched(running):
    job, attempt = running
    Attempt.objects.filter(pk=attempt.pk).update(ended_at=timezone.now(), outcome="failed")
    save(job, 10)
    assert not saves.note(job, attempt.number)


def test_a_checkpoint_from_the_future_is_kept_as_it_is_and_counts_as_no_loss(running):
    job, attempt = running
    at = datetime.now(UTC).timestamp() + 3600
    assert saves.store(job.pk, attempt.number, at)
    assert stored(job) == pytest.approx(at)
