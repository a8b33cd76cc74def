"""Pausing trainings with real processes: they save when they are told to, and go on as if nothing had been."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest

from gpus.models import Device
from jobs import actions
from jobs.core.states import JobState
from jobs.models import Job
from jobs.refs import ref_of
from tests.jobs.test_preemption_processes import CLI, STEPS, TRAIN, Site, running, site, steps_seen
from tests.rows import a_user
from tests.waiting import wait_until

__all__ = ["site"]  # the fixture

pytestmark = pytest.mark.django_db

PYTHON = '#!/bin/sh\nPYTHONPATH={packages} exec {python} "$@"\n'


@pytest.fixture
def trainer(tmp_path: Path, settings) -> Path:
    """A LLaMA-Factory whose transformers knows how to save at SIGTERM, and does so only if its config says so."""
    packages = tmp_path / "packages" / "transformers"
    packages.mkdir(parents=True)
    (packages / "__init__.py").touch()
    (packages / "training_args.py").write_text("enable_jit_checkpoint: bool = False\n")
    program = tmp_path / "venv" / "bin" / "llamafactory-cli"
    program.parent.mkdir(parents=True)
    text = CLI.format(python=sys.executable, train=str(TRAIN))
    program.write_text(
        text.replace('config.get("dies")', 'not config.get("enable_jit_checkpoint")')
    )
    python = program.parent / "python"
    python.write_text(PYTHON.format(packages=packages.parent, python=sys.executable))
    for each in (program, python):
        each.chmod(0o755)
    settings.COOP_LLAMAFACTORY = str(program)
    return packages


def training(site: Site, **config: object) -> Job:
    """A running training whose config says, as all examples do, to overwrite what is there."""
    usual = {
        "model_name_or_path": "m",
        "do_train": True,
        "dataset": "d",
        "overwrite_output_dir": True,
        "max_steps": STEPS,
        "save_steps": 1000,
        "step_seconds": 0.05,
    }
    return running(site, None, llamafactory=usual | config)


def booked(site: Site) -> int:
    return Device.objects.get(pk=site.card.pk).booked


def suspended(site: Site, job: Job) -> None:
    """Pause, and see that it never says so while it holds its card or a process of it lives."""
    actions.pause(job, a_user())
    ref = ref_of(job.attempts.latest("number"))

    def over() -> bool:
        site.turn()
        held, state = booked(site), Job.objects.get(pk=job.pk).state
        assert (state == JobState.SUSPENDING) == bool(held)
        return state != JobState.SUSPENDING

    wait_until(over, what="the pause")
    assert site.engine.pids(ref) == frozenset()


def goes_on(site: Site, job: Job) -> None:
    actions.resume(job, a_user())
    assert site.try_to_start(job)
    site.until(job, JobState.RUNNING)


def test_five_pauses_repeat_no_step_and_leave_out_none(site, trainer):
    job = training(site)
    for _ in range(5):
        before = len(steps_seen(site, job)) if log(site, job).exists() else 0
        wait_until(
            lambda before=before: (
                log(site, job).exists() and len(steps_seen(site, job)) > before + 2
            ),
            what="some steps",
        )
        suspended(site, job)
        assert Job.objects.get(pk=job.pk).state == JobState.SUSPENDED
        assert job.events.filter(kind="suspend").latest("pk").data["saved"] is True
        goes_on(site, job)
    site.until(job, JobState.SUCCEEDED)
    assert steps_seen(site, job) == list(range(1, STEPS + 1))


def log(site: Site, job: Job) -> Path:
    return site.file(job, "output/trainer_log.jsonl")


def test_a_checkpoint_that_was_not_finished_is_set_aside(site, trainer):
    job = training(site)
    wait_until(lambda: log(site, job).exists(), what="a step")
    suspended(site, job)
    broken = site.file(job, "output/checkpoint-9999")
    broken.mkdir()
    (broken / "checkpoint-is-incomplete.txt").touch()
    goes_on(site, job)
    site.until(job, JobState.SUCCEEDED)
    assert site.file(job, "output/incomplete-1/checkpoint-9999").is_dir()
    assert steps_seen(site, job) == list(range(1, STEPS + 1))


def test_a_pause_before_the_first_step_loses_nothing(site, trainer):
    job = training(site, step_seconds=0.3)
    suspended(site, job)
    goes_on(site, job)
    site.says(job, "Training")


def test_a_pause_in_the_last_step_finds_it_complete(site, trainer):
    job = training(site, max_steps=2, step_seconds=1.0)
    wait_until(lambda: log(site, job).exists(), what="a step")
    suspended(site, job)
    assert Job.objects.get(pk=job.pk).state == JobState.SUCCEEDED


def test_a_training_that_is_killed_instead_of_saving_says_so(site, trainer):
    job = training(site, save_steps=2)
    wait_until(lambda: log(site, job).exists() and len(steps_seen(site, job)) > 3, what="steps")
    Job.objects.filter(pk=job.pk).update(progress={"step": 3, "at": 9e9})
    actions.pause(job, a_user())
    ref = ref_of(job.attempts.get())
    for pid in site.engine.pids(ref):
        os.kill(pid, signal.SIGKILL)
    os.kill(site.engine.observe(ref).claim["pid"], signal.SIGKILL)
    site.until(job, JobState.SUSPENDED)
    assert booked(site) == 0
    assert job.events.get(kind="suspend").data["saved"] is False
    assert "did not" in job.attempts.get().detail
    goes_on(site, job)
    site.until(job, JobState.SUCCEEDED)


@pytest.mark.parametrize("told", [False, True], ids=["before the stop", "after the stop"])
def test_a_new_dispatcher_goes_on_with_a_pause(site, trainer, told):
    job = training(site)
    wait_until(lambda: log(site, job).exists(), what="a step")
    actions.pause(job, a_user())
    if told:
        site.turn()
    site.engine.close()
    site.restart()
    site.until(job, JobState.SUSPENDED)
    assert [event.kind for event in job.events.all()].count("suspend") == 1


def test_an_older_transformers_is_not_asked_for_what_it_cannot_do(site, trainer):
    (trainer / "training_args.py").write_text("save_steps: int = 500\n")
    job = training(site)
    assert job.attempts.get().saves_itself is False
    config = json.dumps(site.file(job, "work/train.yaml").read_text())
    assert "enable_jit_checkpoint" not in config


@pytest.mark.parametrize("config", [{"enable_jit_checkpoint": False}, {"save_only_model": True}])
def test_what_the_config_makes_useless_is_not_promised(site, trainer, config):
    assert training(site, **config).attempts.get().saves_itself is False
