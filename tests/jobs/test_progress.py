"""Trainer logs are followed while they grow, vanish and begin anew; nothing is read through a link."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest

from jobs import progress
from jobs.core.states import JobState
from jobs.models import Attempt, Job
from jobs.progress import Following, loss_points, trainer_log_of
from tests.rows import a_device, a_running_job

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def home(tmp_path, settings):
    settings.COOP_HOME = tmp_path
    return tmp_path


@pytest.fixture
def running() -> tuple[Job, Attempt]:
    return a_running_job(device=a_device())


@pytest.fixture
def output(home, running) -> Path:
    folder = home / "jobs" / running[0].pk / "output"
    folder.mkdir(parents=True)
    return folder


def line(step: int, total: int = 100, **more: object) -> str:
    return json.dumps({"current_steps": step, "total_steps": total} | more) + "\n"


def log(folder: Path, *lines: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "trainer_log.jsonl"
    with path.open("a", encoding="utf-8") as file:
        file.writelines(lines)
    return path


def stored(job: Job) -> dict:
    """What is known, less the time at which it was stored."""
    progress = dict(Job.objects.get(pk=job.pk).progress)
    assert not progress or 0 <= time.time() - progress.pop("at") < 60
    return progress


def test_progress_is_stored_when_it_changes_and_only_then(running, output):
    job, attempt = running
    following = Following()
    assert following.follow([attempt], 0) == []
    log(output, line(1, loss=2.0))
    assert following.follow([attempt], 10) == [job.pk]
    assert stored(job) == {"step": 1, "total": 100, "loss": 2.0}
    assert following.follow([attempt], 11) == []
    log(output, line(11, loss=1.0))
    assert following.follow([attempt], 20) == [job.pk]
    assert stored(job) == {"step": 11, "total": 100, "loss": 1.0, "rate": 1.0, "eta_s": 89.0}


def test_half_a_line_is_waited_for(running, output):
    job, attempt = running
    following = Following()
    whole = line(3)
    log(output, line(2), whole[:9])
    following.follow([attempt], 0)
    assert stored(job)["step"] == 2
    log(output, whole[9:])
    following.follow([attempt], 1)
    assert stored(job)["step"] == 3


@pytest.mark.parametrize("grows_longer", [False, True])
def test_a_log_that_is_deleted_and_begun_anew_is_read_from_its_beginning(
    running, output, grows_longer
):
    """LLaMA-Factory does that with `overwrite_output_dir`."""
    job, attempt = running
    following = Following()
    path = log(output, line(50, loss=1.0))
    following.follow([attempt], 0)
    kept = output / "kept"  # so that the new file gets another inode
    path.rename(kept)
    log(output, line(1), *([line(2)] * 5 if grows_longer else []))
    following.follow([attempt], 1)
    assert stored(job)["step"] == (2 if grows_longer else 1)


def test_a_log_that_shrinks_is_read_from_its_beginning(running, output):
    job, attempt = running
    following = Following()
    path = log(output, line(50), line(51))
    following.follow([attempt], 0)
    path.write_text(line(1))
    following.follow([attempt], 1)
    assert stored(job)["step"] == 1


def test_frozen_time_does_not_count(running, output):
    job, attempt = running
    following = Following()
    log(output, line(10))
    following.follow([attempt], 0)
    attempt.job.state = JobState.SUSPENDED
    following.follow([attempt], 10_000)
    attempt.job.state = JobState.RUNNING
    log(output, line(20))
    following.follow([attempt], 10_010)
    assert stored(job)["rate"] == pytest.approx(1.0)


def test_the_log_of_a_run_that_ended_soon_after_it_was_looked_for_is_found(running, output):
    job, attempt = running
    following = Following()
    assert following.follow([attempt], 0) == []
    log(output, line(20, total=20))
    assert following.follow([], 1) == [job.pk]
    assert stored(job)["step"] == 20


def test_an_attempt_that_has_ended_is_read_a_last_time(running, output):
    job, attempt = running
    following = Following()
    log(output, line(10))
    following.follow([attempt], 0)
    log(output, line(100))
    assert following.follow([], 1) == [job.pk]
    assert stored(job)["step"] == 100
    assert following.follow([], 2) == []


def test_a_later_attempts_progress_is_not_overwritten(running, output):
    job, attempt = running
    log(output, line(10))
    Job.objects.filter(pk=job.pk).update(epoch=2)
    assert Following().follow([attempt], 0) == []
    assert stored(job) == {}


def test_a_restarted_agent_goes_on_with_a_rate(running, output):
    job, attempt = running
    log(output, *(line(step, elapsed_time=f"0:00:{step:02d}") for step in range(1, 30)))
    Following().follow([attempt], 0)
    assert stored(job)["rate"] == pytest.approx(1.0)


def test_a_large_log_is_caught_up_with_in_rounds(running, output, monkeypatch):
    monkeypatch.setattr(progress, "MOST_BYTES_AT_ONCE", 100)
    job, attempt = running
    following = Following()
    log(output, *(line(step) for step in range(1, 11)))
    for now in range(10):
        following.follow([attempt], now)
    assert stored(job)["step"] == 10


def test_several_jobs_are_followed_apart(home):
    device = a_device()
    pairs = [a_running_job(f"job-{number}", device=device) for number in (1, 2)]
    for number, (job, _) in enumerate(pairs, 1):
        log(home / "jobs" / job.pk / "output", line(number))
    Following().follow([attempt for _, attempt in pairs], 0)
    assert [stored(job)["step"] for job, _ in pairs] == [1, 2]


# --- where a command writes its log -----------------------------------------------------------------


@pytest.mark.parametrize(
    "place", ["output", "output/run1", "work", "work/saves/qwen", "work/saves/qwen/lora"]
)
def test_the_log_is_found_where_a_command_writes_it(home, running, place):
    job, attempt = running
    log(home / "jobs" / job.pk / place, line(7))
    Following().follow([attempt], 0)
    assert stored(job)["step"] == 7


def test_the_usual_place_wins_then_the_newest(home, running):
    folder = home / "jobs" / running[0].pk
    old = log(folder / "work" / "a", line(1))
    new = log(folder / "work" / "b", line(2))
    os.utime(old, (1, 1))
    os.utime(new, (2, 2))
    assert str(trainer_log_of(folder)) == "work/b/trainer_log.jsonl"
    os.utime(log(folder / "output", line(3)), (0, 0))
    assert str(trainer_log_of(folder)) == "output/trainer_log.jsonl"


def test_a_log_that_comes_later_is_found_later(running, home):
    job, attempt = running
    following = Following()
    following.follow([attempt], 0)
    log(home / "jobs" / job.pk / "work" / "late", line(1))
    following.follow([attempt], progress.LOOK_AGAIN_S / 2)
    assert stored(job) == {}
    following.follow([attempt], progress.LOOK_AGAIN_S)
    assert stored(job)["step"] == 1


def test_a_folder_with_thousands_of_folders_is_not_searched_through(home, running):
    folder = home / "jobs" / running[0].pk
    for number in range(300):
        (folder / "work" / f"{number:03d}").mkdir(parents=True)
    log(folder / "work" / "000", line(1))
    log(folder / "work" / "299", line(2))
    assert str(trainer_log_of(folder)) == "work/000/trainer_log.jsonl"


# --- nothing is read through a link -----------------------------------------------------------------


def test_links_and_pipes_under_the_logs_name_are_not_read(home, running, output):
    job, attempt = running
    elsewhere = log(home / "elsewhere", line(99))
    (output / "trainer_log.jsonl").symlink_to(elsewhere)
    (home / "jobs" / job.pk / "work").symlink_to(home / "elsewhere")
    (output / "run").symlink_to(home / "elsewhere")
    os.mkfifo(output / "pipe")
    Following().follow([attempt], 0)
    assert stored(job) == {}
    (output / "trainer_log.jsonl").unlink()
    os.mkfifo(output / "trainer_log.jsonl")
    Following().follow([attempt], 0)
    assert stored(job) == {}


# --- the loss curve ---------------------------------------------------------------------------------


def test_the_loss_curve_is_read_from_the_log(running, output):
    log(output, *(line(step, loss=10 - step) for step in range(1, 6)))
    points = loss_points(running[0])
    assert [(point.step, point.loss) for point in points] == [(n, 10.0 - n) for n in range(1, 6)]
    assert [point.step for point in loss_points(running[0], after=3)] == [4, 5]


def test_without_a_log_there_is_no_curve(running):
    assert loss_points(running[0]) == []


def test_a_long_curve_is_thinned(running, output):
    log(output, *(line(step, loss=1.0 + step % 3) for step in range(5000)))
    assert len(loss_points(running[0], limit=200)) == 200
