"""A hundred pauses at random moments, with a stand-in trainer that keeps LLaMA-Factory's contract.

`make test-suspend`. Some hit the start, some a save, some the last step; two trainings in turn, one that saves when it
is told to and one whose transformers cannot. No pause may cost more steps than it announced.
"""

from __future__ import annotations

import json
import random
import sys
import time
from collections import Counter
from pathlib import Path

import pytest

from gpus.models import Device
from jobs import actions
from jobs.core.states import JobState
from jobs.models import Attempt, Job
from jobs.progress import Following
from jobs.refs import ref_of
from jobs.suspension import Way, cost_of_pause
from tests.jobs.test_pause_processes import PYTHON
from tests.jobs.test_preemption_processes import TRAIN, Site, site, steps_seen
from tests.rows import GIB, a_job, a_user
from tests.waiting import wait_until

__all__ = ["site"]  # the fixture

pytestmark = [pytest.mark.suspend, pytest.mark.django_db]

ROUNDS = 100
STEPS, STEP_SECONDS, SAVE_STEPS = 60, 0.02, 9
MOMENTS = ("start-up", "a step", "a save", "the end")
CLI = """\
#!{python}
# Stands for llamafactory-cli; a save takes as long as three steps, so that a pause can fall into it.
import importlib.util, shutil, signal, sys, time
from pathlib import Path
import yaml
config = yaml.safe_load(Path(sys.argv[2]).read_text())
output = Path(config["output_dir"])
if config.get("overwrite_output_dir"):
    shutil.rmtree(output, ignore_errors=True)
spec = importlib.util.spec_from_file_location("train", {train!r})
train = importlib.util.module_from_spec(spec)
spec.loader.exec_module(train)
write = train.write_state
def slowly(folder, *rest):
    if folder != output:
        time.sleep({save})
    write(folder, *rest)
train.write_state = slowly
if not config.get("enable_jit_checkpoint"):
    signal.signal = lambda *_: None
sys.argv = ["train.py", "--model", "m", "--dataset", "d", "--output_dir", str(output),
    "--steps", str(config["max_steps"]), "--save-steps", str(config["save_steps"]),
    "--step-seconds", str(config["step_seconds"])]
sys.exit(train.main())
"""


@pytest.fixture
def packages(tmp_path: Path, settings) -> Path:
    """The transformers that the trainer would import."""
    packages = tmp_path / "packages" / "transformers"
    packages.mkdir(parents=True)
    (packages / "__init__.py").touch()
    program = tmp_path / "venv" / "bin" / "llamafactory-cli"
    program.parent.mkdir(parents=True)
    program.write_text(CLI.format(python=sys.executable, train=str(TRAIN), save=3 * STEP_SECONDS))
    python = program.parent / "python"
    python.write_text(PYTHON.format(packages=packages.parent, python=sys.executable))
    for each in (program, python):
        each.chmod(0o755)
    settings.COOP_LLAMAFACTORY = str(program)
    return packages


class Trial:
    """One training that is paused again and again, until it has reached its last step."""

    def __init__(self, site: Site, dice: random.Random, number: int) -> None:
        self.site, self.dice, self.following = site, dice, Following()
        config = {
            "model_name_or_path": "m",
            "do_train": True,
            "dataset": "d",
            "overwrite_output_dir": True,
            "max_steps": STEPS,
            "save_steps": SAVE_STEPS,
            "step_seconds": STEP_SECONDS,
        }
        self.job = a_job(f"trial-{number}", command=None, llamafactory=config, memory=14 * GIB)
        self.output = site.file(self.job, "output")

    @property
    def state(self) -> str:
        return Job.objects.get(pk=self.job.pk).state

    def seen(self) -> list[int]:
        there = (self.output / "trainer_log.jsonl").exists()
        return steps_seen(self.site, self.job) if there else []

    def turn(self) -> None:
        """The agent's look at the training's files, and the dispatcher's turn."""
        rows = Attempt.objects.open().select_related("job")
        self.following.follow(rows, time.monotonic())
        self.site.turn()

    def start(self) -> None:
        assert self.site.try_to_start(self.job) is not None
        self.until(JobState.RUNNING, JobState.SUCCEEDED)

    def until(self, *states: JobState) -> None:
        def reached() -> bool:
            self.turn()
            return self.state in states

        wait_until(reached, 60, f"{self.job} to be {states}")

    def await_moment(self, moment: str) -> None:
        """Wait until the training is there, or over."""
        begun = len(self.seen())
        wanted = begun + self.dice.randrange(1, 12)
        reached = {
            "start-up": lambda: True,
            "a step": lambda: len(self.seen()) >= wanted,
            "a save": lambda: any(self.output.glob("checkpoint-*/checkpoint-is-incomplete.txt")),
            "the end": lambda: self.seen()[-1:] == [STEPS - 1],
        }[moment]

        def there() -> bool:
            if moment != "start-up":
                self.turn()
            return reached() or self.state == JobState.SUCCEEDED

        wait_until(there, 60, moment)

    def pause(self) -> tuple[int, int] | None:
        """Pause; the steps announced as lost and those that were. None: it ended by itself first."""
        fresh = Job.objects.get(pk=self.job.pk)
        if fresh.state == JobState.SUCCEEDED:
            return None
        cost = cost_of_pause(fresh)
        told_at = fresh.progress.get("step") or 0
        ref = ref_of(fresh.attempts.latest("number"))
        actions.pause(fresh, a_user())
        wait_until(self._gave_back, 60, "the pause")
        assert self.site.engine.pids(ref) == frozenset()
        if self.state == JobState.SUCCEEDED:
            return None
        reached, saved = max(self.seen(), default=0), self._saved()
        if cost.way is Way.SAVES:
            announced = 1
        else:  # it was announced for the step that had been seen, and went on meanwhile
            announced = (cost.repeated_steps or 0) + max(0, reached - told_at)
        return announced, max(0, reached - saved)

    def _gave_back(self) -> bool:
        self.turn()
        state = self.state
        held = Device.objects.get(pk=self.site.card.pk).booked
        assert not (state == JobState.SUSPENDED and held), "suspended, and holds its card"
        return state in {JobState.SUSPENDED, JobState.SUCCEEDED}

    def _saved(self) -> int:
        """The step of the newest complete checkpoint, looked for independently of the project."""
        states = self.output.glob("checkpoint-*/trainer_state.json")
        whole = (
            each for each in states if not each.with_name("checkpoint-is-incomplete.txt").exists()
        )
        return max((json.loads(each.read_text())["global_step"] for each in whole), default=0)


def test_a_hundred_pauses_at_random_moments_lose_at_most_what_they_announced(
    site, packages, capsys
):
    dice, done, hits, lost = random.Random(40), 0, Counter(), Counter()
    number, most = 0, Counter()
    while done < ROUNDS:
        number += 1
        saves = number % 2 == 1
        word = "enable_jit_checkpoint" if saves else "save_steps"
        (packages / "training_args.py").write_text(f"{word}: int = 0\n")
        trial = Trial(site, dice, number)
        trial.start()
        while trial.state != JobState.SUCCEEDED:
            moment = dice.choice(MOMENTS) if done < ROUNDS else None
            if moment is None:
                trial.until(JobState.SUCCEEDED)
                break
            trial.await_moment(moment)
            cost = trial.pause()
            if cost is None:
                hits["over before"] += 1
                continue
            done += 1
            announced, really = cost
            assert really <= announced, (number, moment, cost)
            kind = "saves" if saves else "does not"
            hits[moment] += 1
            lost[kind] += really
            most[kind] = max(most[kind], really)
            actions.resume(Job.objects.get(pk=trial.job.pk), a_user())
            trial.start()
        seen = trial.seen()
        assert sorted(set(seen)) == list(range(1, STEPS + 1)), "no step is left out"
        if saves:
            assert len(seen) == STEPS, "and none is made twice"
    with capsys.disabled():
        print(
            f"\n{done} pauses of {number} trainings; {dict(hits)}; steps lost {dict(lost)},"
            f" most at once {dict(most)}"
        )
