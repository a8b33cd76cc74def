"""A real LLaMA-Factory, prepared, run, followed and judged as the service does it."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as site

from jobs import datasets, endings
from jobs.core.ending import Ending
from jobs.core.states import Outcome, Reason
from jobs.core.taskfile import parse_llamafactory_config
from jobs.engines.local import LocalEngine
from jobs.models import Attempt, Dataset, Job
from jobs.preparation import prepare
from jobs.progress import Following, loss_points
from jobs.refs import ref_of
from jobs.refusals import Refused
from tests.rows import a_device, a_started_job, a_user
from tests.waiting import wait_until

pytestmark = [pytest.mark.llamafactory, pytest.mark.django_db]

HERE = Path(__file__).parent
PATIENCE_S = 400  # a run takes some ten seconds on an idle machine, nearly all of them imports


@pytest.fixture
def home(settings, monkeypatch) -> Iterator[Path]:
    """A COOP_HOME that every account can pass through, as `make run` makes it."""
    folder = Path(tempfile.mkdtemp(prefix="coop-home-"))
    folder.chmod(0o711)
    settings.COOP_HOME = folder
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def engine(home) -> Iterator[LocalEngine]:
    engine = LocalEngine(home)
    yield engine
    refs = [ref_of(attempt) for attempt in Attempt.objects.open()]
    for ref in refs:
        engine.control(ref, "stop", 0.0)
    wait_until(
        lambda: all(engine.observe(ref).kind != "alive" for ref in refs), 30, "the end of all runs"
    )
    engine.close()


def config_of(tiny: Path, name: str = "lora_sft.yaml", **changes: object) -> dict:
    return parse_llamafactory_config((tiny / name).read_bytes()) | changes


def uploaded(tiny: Path, name: str = "tiny_alpaca.json") -> Dataset:
    content = (tiny / name).read_bytes()
    return datasets.store(
        a_user(), name="tiny_alpaca", filename=name, size=len(content), chunks=[content]
    )


def a_training(tiny: Path, config: dict) -> tuple[Job, Attempt]:
    job, attempt = a_started_job(
        device=a_device(), command=None, llamafactory=config, dataset="tiny_alpaca"
    )
    job.datasets.add(uploaded(tiny))
    return job, attempt


def run(engine: LocalEngine, attempt: Attempt, until=None) -> tuple[Ending, str]:
    """Start the attempt, follow it, do something at `until` of its progress, and judge its end."""
    launch = prepare(attempt)
    following = Following()
    engine.start(launch)

    def over() -> bool:
        following.follow([attempt], time.monotonic())
        if until is not None:
            until(engine, launch.ref, Job.objects.get(pk=attempt.job_id).progress)
        return engine.observe(launch.ref).kind == "exited"

    wait_until(over, PATIENCE_S, "the end of the run")
    following.follow([], time.monotonic())
    record = engine.observe(launch.ref).exit
    assert record is not None
    log = engine.read_log(launch.ref, 0, 10**7).decode()
    return endings.exited(attempt, record, engine), log


def killer(at_step: int, number: signal.Signals):
    """Sends the signal to the whole tree once, when that step is reached."""
    sent = []

    def look(engine, ref, progress) -> None:
        if not sent and progress.get("step", 0) >= at_step:
            sent.append(progress["step"])
            for pid in engine.pids(ref):
                os.kill(pid, number)

    return look


def test_an_uploaded_dataset_is_trained_on_to_the_last_step(engine, home, tiny):
    job, attempt = a_training(tiny, config_of(tiny))
    ending, log = run(engine, attempt)
    assert ending.outcome is Outcome.SUCCEEDED, log[-3000:]
    assert (ending.reason, ending.detail) == (Reason.COMPLETED, "It reached step 20.")
    job.refresh_from_db()
    assert (job.progress["step"], job.progress["total"]) == (20, 20)
    assert job.progress["eta_s"] == 0
    points = loss_points(job)
    assert [point.step for point in points] == list(range(1, 21))
    assert all(point.loss is not None and point.lr is not None for point in points)
    assert points[-1].loss < points[0].loss
    assert (home / "jobs" / job.pk / "output" / "adapter_model.safetensors").exists()
    assert not (home / "jobs" / job.pk / "work" / "out").exists(), "output_dir is the job's own"


def test_a_run_that_is_killed_has_failed_with_the_reason(engine, tiny):
    _, attempt = a_training(tiny, config_of(tiny, "slow.yaml"))
    ending, _ = run(engine, attempt, killer(20, signal.SIGKILL))
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, Reason.SIGNAL)
    assert "SIGKILL" in ending.detail


def test_a_later_attempt_goes_on_from_the_checkpoint(engine, home, tiny):
    config = config_of(tiny, "slow.yaml", num_train_epochs=20.0, save_steps=50)  # 200 steps
    job, attempt = a_training(tiny, config)
    ending, _ = run(engine, attempt, killer(60, signal.SIGTERM))
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, Reason.SIGNAL)
    Attempt.objects.filter(pk=attempt.pk).update(number=2)
    Job.objects.filter(pk=job.pk).update(epoch=2)
    ending, log = run(engine, Attempt.objects.select_related("job").get(pk=attempt.pk))
    assert ending.outcome is Outcome.SUCCEEDED, log[-3000:]
    assert "Resuming training from" in log
    steps = [point.step for point in loss_points(job)]
    assert steps == sorted(set(steps))
    assert (steps[0], steps[-1]) == (10, 200), "the log of the first attempt was kept"


def test_a_run_that_llamafactory_refuses_says_why(engine, tiny):
    _, attempt = a_training(tiny, config_of(tiny, no_such_option=1))
    ending, _ = run(engine, attempt)
    assert (ending.outcome, ending.reason) == (Outcome.FAILED, Reason.EXIT_CODE)
    assert "ValueError" in ending.detail
    assert "no_such_option" in ending.detail


def test_a_broken_dataset_is_refused_at_upload(home, tiny):
    with pytest.raises(Refused) as refused:
        uploaded(tiny, "broken_alpaca.jsonl")
    assert "row 3, field 'output': expected text, got a number (5)" in refused.value.detail
    assert not list((site.COOP_HOME / "uploads").iterdir())
