"""Pausing a real training by a checkpoint: it goes on as if nothing had been, to the last digit of its loss."""

from __future__ import annotations

import random
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from jobs import actions, checkpoints, lifecycle
from jobs.core.llamafactory import SAVES_AT_SIGTERM
from jobs.core.states import JobState
from jobs.core.taskfile import parse_llamafactory_config
from jobs.engines.local import LocalEngine
from jobs.models import Attempt, Job
from jobs.preparation import prepare
from jobs.progress import loss_points
from jobs.reconciling import reconcile
from jobs.refs import ref_of
from jobs.savesignal import saves_at_sigterm
from jobs.trainer import find_trainer
from tests.llamafactory.test_real_run import uploaded
from tests.rows import a_device, a_job, a_user
from tests.waiting import wait_until

pytestmark = [pytest.mark.llamafactory, pytest.mark.django_db]

PATIENCE_S = 400
ROUNDS = 5
STEPS = 2000


class Desk:
    """A dispatcher's steps on one card, with a real trainer."""

    def __init__(self, home: Path) -> None:
        self.engine, self.card, self.began = LocalEngine(home), a_device(), timezone.now()

    def start(self, job: Job) -> None:
        fresh = Job.objects.get(pk=job.pk)
        attempt = lifecycle.start(fresh, self.card.node, [(self.card, fresh.min_memory)])
        assert attempt is not None
        self.engine.start(prepare(attempt))

    def until(self, job: Job, *states: JobState) -> JobState:
        def reached() -> bool:
            reconcile(self.engine, None, self.began)
            return Job.objects.get(pk=job.pk).state in {*states, JobState.FAILED}

        wait_until(reached, PATIENCE_S, f"{job} to be {states}")
        fresh = Job.objects.get(pk=job.pk)
        assert fresh.state in states, fresh.detail
        return JobState(fresh.state)

    def close(self) -> None:
        refs = [ref_of(attempt) for attempt in Attempt.objects.open()]
        for ref in refs:
            self.engine.control(ref, "stop", 0.0)
        wait_until(lambda: all(self.engine.observe(ref).kind != "alive" for ref in refs), 60, "end")
        self.engine.close()


@pytest.fixture
def desk(settings, monkeypatch) -> Iterator[Desk]:
    folder = Path(tempfile.mkdtemp(prefix="coop-home-"))
    folder.chmod(0o711)
    settings.COOP_HOME = folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    made = Desk(folder)
    yield made
    made.close()
    shutil.rmtree(folder)


def training(tiny: Path, *names: str, **spec: object) -> list[Job]:
    """Queued jobs of these names, all with the same dataset and the same seed."""
    config = parse_llamafactory_config((tiny / "slow.yaml").read_bytes()) | {"logging_steps": 1}
    dataset = uploaded(tiny)
    spec |= {"command": None, "llamafactory": config, "dataset": dataset.name}
    jobs = [a_job(name, **spec) for name in names]
    for job in jobs:
        job.datasets.add(dataset)
    return jobs


def losses(job: Job) -> dict[int, float | None]:
    return {point.step: point.loss for point in loss_points(job, limit=10 * STEPS)}


def last_step(job: Job) -> int:
    return max(losses(job), default=0)


def test_this_llamafactory_can_be_told_to_save():
    assert saves_at_sigterm(find_trainer())


def test_five_pauses_at_random_moments_change_neither_a_loss_nor_the_steps(desk, tiny):
    dice = random.Random(4)
    whole, paused = training(tiny, "whole", "paused")
    desk.start(whole)
    desk.until(whole, JobState.SUCCEEDED)
    for _ in range(ROUNDS):
        desk.start(paused)
        desk.until(paused, JobState.RUNNING)
        wanted = last_step(paused) + dice.randrange(20, 120)
        wait_until(lambda wanted=wanted: last_step(paused) >= wanted, PATIENCE_S, f"step {wanted}")
        actions.pause(paused, a_user())
        assert desk.until(paused, JobState.SUSPENDED, JobState.SUCCEEDED) == JobState.SUSPENDED
        told = paused.events.get(kind="suspend", attempt=paused.attempts.latest("number"))
        assert (told.data["was_to_save"], told.data["saved"]) == (True, True)
        actions.resume(paused, a_user())
    desk.start(paused)
    desk.until(paused, JobState.SUCCEEDED)
    assert losses(paused) == losses(whole)
    assert last_step(paused) == STEPS


def test_a_pause_while_it_is_loading_loses_nothing(desk, tiny):
    [job] = training(tiny, "loading")
    desk.start(job)
    desk.until(job, JobState.RUNNING)
    actions.pause(job, a_user())
    desk.until(job, JobState.SUSPENDED)
    attempt = job.attempts.get()
    assert attempt.saves_itself
    assert "not made a step" in attempt.detail
    assert f"{SAVES_AT_SIGTERM}: true" in prepared(job)


def test_two_ranks_that_torchrun_started_both_save(desk, tiny):
    """By gloo on the processor. A resume of several ranks fails there in torch.load, so it is not asked for."""
    ranks = {"FORCE_TORCHRUN": "1", "NPROC_PER_NODE": "2", "OMP_NUM_THREADS": "1"}
    [job] = training(tiny, "ranks", env=ranks)
    desk.start(job)
    desk.until(job, JobState.RUNNING)
    wait_until(lambda: last_step(job) >= 10, PATIENCE_S, "step 10")
    actions.pause(job, a_user())
    desk.until(job, JobState.SUSPENDED)
    told = job.events.get(kind="suspend").data
    assert (told["was_to_save"], told["saved"]) == (True, True)
    newest = checkpoints.newest_checkpoint(output_of(job))
    assert {each.name for each in newest.glob("rng_state_*.pth")} == {
        "rng_state_0.pth",
        "rng_state_1.pth",
    }
    saved = int(newest.name.rpartition("-")[2])
    assert saved >= last_step(job) - 1, "at most one step is repeated, as announced"
    assert desk.engine.pids(ref_of(job.attempts.get())) == frozenset()


def output_of(job: Job) -> Path:
    from django.conf import settings

    return settings.COOP_HOME / "jobs" / job.pk / "output"


def prepared(job: Job) -> str:
    from django.conf import settings

    return (settings.COOP_HOME / "jobs" / job.pk / "work" / "train.yaml").read_text()
