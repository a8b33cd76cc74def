"""Making room with real processes: whoever gives way is dead before its card is given away, whatever it does."""

from __future__ import annotations

import json
import os
import signal
import sys
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import actions, lifecycle, preempting, rundir
from jobs.core.plan import Preempt, PreemptionRule
from jobs.core.states import JobState
from jobs.engines.base import AttemptRef
from jobs.engines.local import LocalEngine
from jobs.launch import procfs
from jobs.models import Attempt, Job
from jobs.preparation import prepare
from jobs.reconciling import reconcile
from jobs.refs import ref_of
from tests.jobs.launching import possible_containments
from tests.rows import GIB, a_device, a_job, a_user
from tests.waiting import wait_until

pytestmark = pytest.mark.django_db

GRACE_S = 0.6
STEPS = 60
TRAIN = Path(__file__).parents[2] / "examples" / "article" / "src" / "train.py"
CLI = """\
#!{python}
# Stands for llamafactory-cli: the same files, and the same rule about overwrite_output_dir.
import os, shutil, sys
from pathlib import Path
import yaml
config = yaml.safe_load(Path(sys.argv[2]).read_text())
output = Path(config["output_dir"])
if config.get("overwrite_output_dir"):
    shutil.rmtree(output, ignore_errors=True)
argv = ["train.py", "--model", "m", "--dataset", "d", "--output_dir", str(output)]
argv += ["--steps", str(config["max_steps"]), "--save-steps", str(config["save_steps"])]
argv += ["--step-seconds", str(config["step_seconds"])]
if config.get("dies"):  # as a training that saves nothing at SIGTERM
    import runpy, signal
    signal.signal, sys.argv = lambda *_: None, argv
    runpy.run_path({train!r}, run_name="__main__")
os.execv(sys.executable, [sys.executable, {train!r}, *argv[1:]])
"""


class HastyEngine(LocalEngine):
    """The engine with a short grace."""

    def control(self, ref: AttemptRef, action: str, grace_s: float = GRACE_S) -> None:
        super().control(ref, action, grace_s)


class Site:
    """A dispatcher's steps, one by one, on one card."""

    def __init__(self, home: Path) -> None:
        self.home = home
        self.card = a_device(total=20 * GIB)
        self.restart()

    def restart(self) -> None:
        """A new dispatcher takes over; the old one is gone without a word."""
        self.engine = HastyEngine(self.home)
        self.began = timezone.now()

    def turn(self) -> None:
        reconcile(self.engine, None, self.began)

    def try_to_start(self, job: Job) -> Attempt | None:
        """Start the job if it is its turn and the books have room."""
        fresh = Job.objects.get(pk=job.pk)
        attempt = lifecycle.start(fresh, self.card.node, [(self.card, fresh.min_memory)])
        if attempt is not None:
            self.engine.start(prepare(attempt))
        return attempt

    def until(self, job: Job, state: JobState) -> None:
        def reached() -> bool:
            self.turn()
            return Job.objects.get(pk=job.pk).state == state

        wait_until(reached, what=f"{job} to be {state}")

    def make_room(self, victim: Job, beneficiary: Job) -> int:
        rule = PreemptionRule.PRIORITY
        plan = [Preempt(job=victim.pk, beneficiary=beneficiary.pk, rule=rule, lost=5.0)]
        return preempting.apply(plan)

    def file(self, job: Job, name: str) -> Path:
        return self.home / "jobs" / job.pk / name

    def says(self, job: Job, word: str) -> None:
        """Wait until the job's output has this word."""
        ref = ref_of(job.attempts.latest("number"))
        wait_until(
            lambda: word.encode() in self.engine.read_log(ref, 0, 10**6), what=f"{job}: {word}"
        )

    def close(self) -> None:
        refs = [ref_of(attempt) for attempt in Attempt.objects.open()]
        for ref in refs:
            self.engine.control(ref, "stop", 0.0)
        wait_until(
            lambda: all(self.engine.observe(ref).kind != "alive" for ref in refs),
            what="the end of everything",
        )
        self.engine.close()


@pytest.fixture
def site(tmp_path: Path, settings) -> Iterator[Site]:
    settings.COOP_HOME = tmp_path
    made = Site(tmp_path)
    yield made
    made.close()


@pytest.fixture
def urgent() -> Job:
    return a_job("urgent", command="echo here; sleep 60", memory=14 * GIB)


def running(site: Site, command: str | None, *, says: str = "", **spec: object) -> Job:
    """A job that may give way, which holds the card and has said so."""
    job = a_job("victim", command=command, memory=14 * GIB, **spec)
    Job.objects.filter(pk=job.pk).update(preemptible=True)
    assert site.try_to_start(job) is not None
    site.until(job, JobState.RUNNING)
    if says:
        site.says(job, says)
    return Job.objects.get(pk=job.pk)


def kinds(job: Job) -> list[str]:
    return list(job.events.values_list("kind", flat=True))


def processes(mark: str) -> set[int]:
    found = set()
    for pid in procfs.all_processes():
        try:
            command = Path(f"/proc/{pid}/cmdline").read_bytes()
        except OSError:
            continue
        if mark.encode() in command:
            found.add(pid)
    return found


STUBBORN = {
    "ignores the signal": "trap '' TERM; (trap '' TERM; sleep {mark}) & echo on; sleep {mark}",
    "takes its time": "trap 'sleep 0.4; exit 0' TERM; echo on; while :; do sleep {mark}; done",
    "leaves a child": "(trap '' TERM; setsid sleep {mark}) & echo on; exec sleep {mark}",
    "ends at once": "echo on; exec sleep {mark}",
}


@pytest.mark.parametrize("containment", possible_containments())
@pytest.mark.parametrize("how", STUBBORN)
def test_who_gives_way_is_dead_before_the_card_is_given_away(
    site, urgent, settings, how, containment
):
    settings.COOP_CONTAINMENT = containment
    mark = f"9{uuid.uuid4().int % 10**8:08d}"
    victim = running(site, STUBBORN[how].format(mark=mark), says="on")
    assert processes(mark)
    assert site.make_room(victim, urgent) == 1

    def started() -> bool:
        site.turn()
        alive = processes(mark)
        attempt = site.try_to_start(urgent)
        assert attempt is None or not alive, "its card was given away while it lived"
        return attempt is not None

    wait_until(started, what="the beneficiary to start")
    again = Job.objects.get(pk=victim.pk)
    assert (again.state, again.submitted_at, again.not_before) == (
        JobState.QUEUED,
        victim.submitted_at,
        None,
    )
    attempt = victim.attempts.get()
    assert (attempt.outcome, attempt.reason, attempt.preempted_for) == (
        "preempted",
        "preempted",
        urgent.pk,
    )
    assert attempt.lost_seconds == victim.events.get(kind="requeue").data["lost"] > 0
    assert Device.objects.get(pk=site.card.pk).booked == urgent.min_memory
    site.until(urgent, JobState.RUNNING)


def test_who_gave_way_runs_again_by_the_same_command_when_there_is_room(site, urgent):
    script = "echo run >> ledger; echo on; [ $(wc -l < ledger) -ge 2 ] || sleep 60"
    victim = running(site, script, says="on")
    site.make_room(victim, urgent)
    site.until(victim, JobState.QUEUED)
    assert site.try_to_start(urgent)
    site.until(urgent, JobState.RUNNING)
    assert site.try_to_start(victim) is None, "the card is the other's now"
    actions.cancel(urgent, a_user())
    site.until(urgent, JobState.CANCELLED)
    assert site.try_to_start(victim)
    site.until(victim, JobState.SUCCEEDED)
    assert site.file(victim, "work/ledger").read_text() == "run\n" * 2
    story = ["start", "run", "preempt", "requeue", "start", "run", "end"]
    assert kinds(victim) == ["submit", *story]


def test_what_had_ended_by_itself_before_it_was_told_has_succeeded(site, urgent):
    victim = running(site, "echo run >> ledger; sleep 0.1")
    ref = ref_of(victim.attempts.get())
    wait_until(lambda: site.engine.observe(ref).kind == "exited", what="its end")
    assert site.make_room(victim, urgent) == 1, "the rows do not know of the end yet"
    site.until(victim, JobState.SUCCEEDED)
    assert site.try_to_start(victim) is None
    assert site.file(victim, "work/ledger").read_text() == "run\n"
    assert victim.attempts.get().lost_seconds is None


def test_a_command_that_ends_while_the_stop_is_on_its_way_was_not_stopped(site, urgent, settings):
    """The supervisor finds the stop and the end of the command together; only its helper is left to be ended."""
    settings.COOP_CONTAINMENT = "tag"  # where the start record names the command itself
    script = "(trap '' TERM; sleep 60) & echo on; until [ -e go ]; do sleep 0.02; done"
    victim = running(site, script, says="on")
    ref = ref_of(victim.attempts.get())
    seen = site.engine.observe(ref)
    os.kill(seen.claim["pid"], signal.SIGSTOP)
    try:
        site.make_room(victim, urgent)
        site.turn()
        site.file(victim, "work/go").touch()
        command = seen.started["pid"], seen.started["pid_start_ticks"]
        wait_until(lambda: not procfs.is_alive(*command), what="the command to end")
    finally:
        os.kill(seen.claim["pid"], signal.SIGCONT)
    site.until(victim, JobState.SUCCEEDED)
    record = site.engine.observe(ref).exit
    assert (record["code"], record["stopped_by"]) == (0, None)


def test_a_supervisor_that_dies_while_its_job_makes_room_leaves_nothing_behind(site, urgent):
    mark = f"9{os.getpid()}.25"
    victim = running(site, f"trap '' TERM; echo on; sleep {mark}; sleep {mark}", says="on")
    site.make_room(victim, urgent)
    site.turn()
    os.kill(site.engine.observe(ref_of(victim.attempts.get())).claim["pid"], signal.SIGKILL)
    site.until(victim, JobState.QUEUED)
    assert processes(mark) == set()
    assert victim.attempts.get().outcome == "preempted"


def test_a_job_that_is_cancelled_while_it_makes_room_ends_and_stays_ended(site, urgent):
    victim = running(site, "trap '' TERM; echo on; while :; do sleep 0.05; done", says="on")
    site.make_room(victim, urgent)
    site.turn()
    actions.cancel(victim, a_user())
    site.until(victim, JobState.CANCELLED)
    assert kinds(victim)[-3:] == ["preempt", "cancel", "end"]
    assert victim.attempts.get().outcome == "cancelled"
    assert site.try_to_start(victim) is None


@pytest.mark.parametrize("told", [False, True], ids=["before the stop", "after the stop"])
def test_a_new_dispatcher_goes_on_with_what_was_begun(site, urgent, told):
    victim = running(site, "trap '' TERM; echo on; while :; do sleep 0.05; done", says="on")
    site.make_room(victim, urgent)
    if told:
        site.turn()
    site.engine.close()
    site.restart()
    site.until(victim, JobState.QUEUED)
    assert kinds(victim).count("preempt") == kinds(victim).count("requeue") == 1


# --- trainings ------------------------------------------------------------------------------------------


@pytest.fixture
def trainer(tmp_path, settings) -> Path:
    """A program that keeps LLaMA-Factory's contract about files, checkpoints and endings, without any learning."""
    program = tmp_path / "venv" / "bin" / "llamafactory-cli"
    program.parent.mkdir(parents=True)
    program.write_text(CLI.format(python=sys.executable, train=str(TRAIN)))
    program.chmod(0o755)
    settings.COOP_LLAMAFACTORY = str(program)
    return program


def training(site: Site, **config: object) -> Job:
    """A running LLaMA-Factory job whose config says, as all examples do, to overwrite what is there."""
    usual = {
        "model_name_or_path": "m",
        "do_train": True,
        "dataset": "d",
        "overwrite_output_dir": True,
        "max_steps": STEPS,
        "save_steps": 5,
        "step_seconds": 0.05,
    }
    return running(site, None, llamafactory=usual | config)


def steps_seen(site: Site, job: Job) -> list[int]:
    lines = site.file(job, "output/trainer_log.jsonl").read_text().splitlines()
    return [json.loads(line)["current_steps"] for line in lines]


def checkpoint(site: Site, job: Job, step: int) -> None:
    folder = site.file(job, f"output/checkpoint-{step}")
    wait_until((folder / "trainer_state.json").exists, what=f"checkpoint {step}")
    wait_until(lambda: not (folder / "checkpoint-is-incomplete.txt").exists(), what="its end")


def test_a_training_that_dies_at_the_signal_goes_on_from_its_last_checkpoint(site, urgent, trainer):
    victim = training(site, dies=True)
    checkpoint(site, victim, 10)
    site.make_room(victim, urgent)
    site.until(victim, JobState.QUEUED)
    attempt = victim.attempts.get()
    reached = max(steps_seen(site, victim))
    assert attempt.outcome == "preempted"
    assert attempt.saved_at is not None, "nobody had looked before the end"
    assert attempt.lost_seconds < (attempt.ended_at - attempt.started_at).total_seconds()
    assert site.try_to_start(victim)
    site.until(victim, JobState.SUCCEEDED)
    seen = steps_seen(site, victim)
    again = seen[seen.index(reached) + 1]
    assert 10 < again <= reached + 1, "it went on from a checkpoint, and its log was kept"
    assert seen[-1] == STEPS
    site.says(victim, "Resuming training from checkpoint-")


def test_a_training_that_saves_at_the_signal_loses_next_to_nothing(site, urgent, trainer):
    victim = training(site, save_steps=1000)
    site.says(victim, "loss")
    site.make_room(victim, urgent)
    site.until(victim, JobState.QUEUED)
    attempt = victim.attempts.get()
    record = site.engine.observe(ref_of(attempt)).exit
    assert (record["code"], attempt.outcome) == (0, "preempted"), "0 does not mean complete"
    assert attempt.saved_at > attempt.started_at
    assert attempt.lost_seconds == (attempt.ended_at - attempt.saved_at).total_seconds()
    reached = max(steps_seen(site, victim))
    assert site.try_to_start(victim)
    site.until(victim, JobState.SUCCEEDED)
    assert steps_seen(site, victim) == list(range(1, STEPS + 1)), (
        f"no step twice, not even {reached}"
    )


def test_a_training_that_reaches_its_last_step_while_it_is_stopped_is_not_run_again(
    site, urgent, trainer
):
    victim = training(site, max_steps=2, step_seconds=1.0)
    wait_until(lambda: site.file(victim, "output/trainer_log.jsonl").exists(), what="a step")
    assert steps_seen(site, victim) == [1], "the last step has begun"
    site.make_room(victim, urgent)
    site.until(victim, JobState.SUCCEEDED)
    attempt = victim.attempts.get()
    record = site.engine.observe(ref_of(attempt)).exit
    assert (record["stopped_by"], attempt.outcome) == ("control", "succeeded")
    assert attempt.lost_seconds is None
    assert rundir.observe(site.engine.directory(ref_of(attempt))).kind == "exited"


def test_a_reward_model_begins_anew_because_it_cannot_resume(site, urgent, trainer):
    victim = training(site, stage="rm")
    checkpoint(site, victim, 5)
    site.make_room(victim, urgent)
    site.until(victim, JobState.QUEUED)
    assert victim.attempts.get().saved_at is None, "no checkpoint is of use to it"
    assert site.try_to_start(victim)
    site.until(victim, JobState.SUCCEEDED)
    assert (site.file(victim, "output/earlier-run-1") / "checkpoint-5").is_dir()
    assert steps_seen(site, victim).count(1) == 2
