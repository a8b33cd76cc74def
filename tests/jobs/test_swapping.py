"""Swapping out with real processes and a stand-in for the driver: freed when seen free, and back on the same card."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from django.utils import timezone

from gpus.models import Device
from jobs import actions, returning, sitesettings, snapshots, swapability, swaphelper, swapping
from jobs.core.states import JobState
from jobs.cycle import Cycle
from jobs.models import Allocation, Attempt, Job, Swap
from jobs.refs import ref_of
from jobs.serialize import job_json
from jobs.suspension import Way, cost_of_pause
from jobs.swapability import available_memory
from tests.jobs.test_pause_processes import trainer, training
from tests.jobs.test_preemption_processes import Site, running, site, urgent
from tests.rows import GIB, a_device, a_user
from tests.waiting import wait_until

__all__ = ["site", "trainer", "urgent"]  # the fixtures

pytestmark = pytest.mark.django_db

CUDA = '''\
"""Stands for cuda.core.checkpoint: states in files, and defects on demand."""
import os
from pathlib import Path
FOLDER = Path(os.environ["STAND_IN_CUDA"])
class Process:
    def __init__(self, pid):
        self.pid, self._file = pid, FOLDER / str(pid)
    @property
    def state(self):
        if not (FOLDER / "everybody").exists() and b"computes" not in Path(f"/proc/{self.pid}/environ").read_bytes():
            raise RuntimeError("no context")
        return self._file.read_text() if self._file.exists() else "running"
    def _go(self, verb, old, new):
        if (FOLDER / f"{verb} fails").exists():
            raise RuntimeError(f"the driver says no to {verb}")
        if self.state != old:
            raise RuntimeError(f"{verb} in state {self.state}")
        stopped = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]
        if stopped == "T":
            raise RuntimeError(f"{verb} of a stopped process hangs")
        self._file.write_text(new)
        with (FOLDER / "calls").open("a") as calls:
            calls.write(f"{verb} ")
    def lock(self, timeout_ms=0):
        self._go("lock", "running", "locked")
    def checkpoint(self):
        self._go("checkpoint", "locked", "checkpointed")
    def restore(self, gpu_mapping=None):
        self._go("restore", "checkpointed", "locked")
    def unlock(self):
        self._go("unlock", "locked", "running")
'''
COMMAND = "echo on; for i in $(seq 600); do echo $i >> steps; sleep 0.02; done; sleep 60"


@pytest.fixture(autouse=True)
def cuda(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, site: Site) -> Path:
    """A machine that can swap, and a site that wants it."""
    package = tmp_path / "standin" / "cuda" / "core"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "checkpoint.py").write_text(CUDA)
    folder = tmp_path / "driver"
    folder.mkdir()
    (folder / "everybody").touch()
    monkeypatch.syspath_prepend(str(package.parents[1]))
    monkeypatch.setenv("PYTHONPATH", f"{package.parents[1]}:{os.environ.get('PYTHONPATH', '')}")
    monkeypatch.setenv("STAND_IN_CUDA", str(folder))
    monkeypatch.setattr(swapability, "available_memory", lambda: 500 * GIB)
    site.card.node.source, site.card.node.driver = "nvml", "580.65"
    site.card.node.save()
    sitesettings.change({"swap_out": True}, None)
    return folder


def read_cards(cuda: Path, *, stuck: bool = False) -> None:
    """A new reading of the cards: what lies in main memory is not on them."""
    for booking in Allocation.objects.open().select_related("attempt"):
        states = [file.read_text() for file in cuda.iterdir() if file.name.isdigit()]
        used = 0 if states == ["checkpointed"] and not stuck else booking.booked
        Allocation.objects.filter(pk=booking.pk).update(measured=used, measured_at=timezone.now())


def until(site: Site, cuda: Path, job: Job, state: JobState, **reading: bool) -> Job:
    def reached() -> bool:
        site.turn()
        read_cards(cuda, **reading)
        fresh = Job.objects.get(pk=job.pk)
        held = Device.objects.get(pk=site.card.pk).booked
        assert not (fresh.state == JobState.SUSPENDED and held), "suspended, and holds its card"
        return fresh.state == state

    wait_until(reached, 20, f"{job} to be {state}")
    return Job.objects.get(pk=job.pk)


def calls(cuda: Path) -> list[str]:
    return (cuda / "calls").read_text().split() if (cuda / "calls").exists() else []


def steps(site: Site, job: Job) -> int:
    return len(site.file(job, "work/steps").read_text().split())


def attempt_of(job: Job) -> Attempt:
    return job.attempts.latest("number")


@pytest.fixture
def command(site: Site) -> Job:
    """An opaque command in one process that nothing but a swap can suspend."""
    job = running(site, COMMAND, says="on")
    Job.objects.filter(pk=job.pk).update(preemptible=False)
    (site.home / "driver" / "everybody").unlink()
    leader = ref_of(attempt_of(job))
    root = site.engine.observe(leader).started["pid"]
    (site.home / "driver" / "only").write_text(str(root))
    patch = site.home / "standin/cuda/core/checkpoint.py"
    patch.write_text(
        CUDA.replace(
            'b"computes" not in Path(f"/proc/{self.pid}/environ").read_bytes()',
            '(FOLDER / "only").read_text() != str(self.pid)',
        )
    )
    return Job.objects.get(pk=job.pk)


@pytest.fixture(autouse=True)
def _one_tree(settings) -> None:
    settings.COOP_CONTAINMENT = "tag"  # where the start record names the command itself


def swap_out(site: Site, cuda: Path, job: Job) -> Job:
    actions.pause(job, a_user())
    return until(site, cuda, job, JobState.SUSPENDED)


def test_a_command_gives_its_card_back_and_goes_on_where_it_stopped(site, cuda, command):
    assert cost_of_pause(command).way is Way.SWAP
    assert "nothing is repeated" in cost_of_pause(command).sentence
    paused = swap_out(site, cuda, command)
    attempt = attempt_of(command)
    assert (attempt.swap, attempt.ended_at) == (Swap.SWAPPED, None)
    assert calls(cuda) == ["lock", "checkpoint"]
    before = steps(site, command)
    assert not paused.is_frozen

    actions.resume(paused, a_user())
    again = Job.objects.get(pk=command.pk)
    assert (again.state, again.submitted_at) == (JobState.QUEUED, command.submitted_at)
    assert steps(site, command) == before, "it stands still until it has its card"
    assert returning.take_back(again, attempt_of(command), {site.card.uuid})
    until(site, cuda, command, JobState.RUNNING)
    assert calls(cuda)[2:] == ["restore", "unlock"]
    wait_until(lambda: steps(site, command) > before, what="more steps")
    assert command.attempts.count() == 1
    assert [each.released_at is None for each in Allocation.objects.order_by("pk")] == [False, True]
    event = command.events.get(kind="suspend")
    assert event.data["rung"] == "swap"


def test_it_is_not_suspended_before_a_new_reading_shows_the_memory_gone(site, cuda, command):
    old = timezone.now()
    Allocation.objects.update(measured=0, measured_at=old)
    actions.pause(command, a_user())

    def moved() -> bool:
        site.turn()
        assert Job.objects.get(pk=command.pk).state == JobState.SUSPENDING
        return calls(cuda) == ["lock", "checkpoint"]

    wait_until(moved, what="the move")
    for _ in range(3):
        site.turn()
    assert Job.objects.get(pk=command.pk).state == JobState.SUSPENDING, "the reading is an old one"
    assert Device.objects.get(pk=site.card.pk).booked == command.min_memory
    until(site, cuda, command, JobState.SUSPENDED)


def test_memory_that_is_not_seen_free_comes_back_and_the_job_runs_on(
    site, cuda, command, monkeypatch
):
    monkeypatch.setattr(swapping, "PROOF", timedelta(0))
    actions.pause(command, a_user())
    until(site, cuda, command, JobState.RUNNING, stuck=True)
    assert calls(cuda) == ["lock", "checkpoint", "restore", "unlock"]
    before = steps(site, command)
    wait_until(lambda: site.turn() or steps(site, command) > before, what="more steps")
    assert attempt_of(command).swap == Swap.FAILED
    assert "could not be swapped out" in command.events.get(kind="unpause").detail
    assert Device.objects.get(pk=site.card.pk).booked == command.min_memory


def test_a_driver_that_says_no_leaves_the_process_unlocked(site, cuda, command):
    (cuda / "checkpoint fails").touch()
    actions.pause(command, a_user())
    until(site, cuda, command, JobState.RUNNING)
    assert calls(cuda) == ["lock", "unlock"]
    assert cost_of_pause(Job.objects.get(pk=command.pk)).way is Way.NONE


def test_a_training_that_cannot_be_swapped_out_saves_instead(site, cuda, trainer):
    (cuda / "lock fails").touch()
    job = training(site)
    wait_until(lambda: site.file(job, "output/trainer_log.jsonl").exists(), what="a step")
    actions.pause(job, a_user())
    until(site, cuda, job, JobState.SUSPENDED)
    assert attempt_of(job).outcome == "suspended"
    assert job.events.get(kind="suspend").data["saved"] is True


def test_several_processes_on_a_card_are_not_tried(site, cuda):
    job = running(site, "(sleep 60) & echo on; sleep 60", says="on")
    actions.pause(job, a_user())
    until(site, cuda, job, JobState.SUSPENDED)
    assert calls(cuda) == []
    assert attempt_of(job).ended_at is not None


def test_memory_that_does_not_come_back_falls_to_the_next_rung(site, cuda, command):
    swap_out(site, cuda, command)
    (cuda / "restore fails").touch()
    actions.resume(Job.objects.get(pk=command.pk), a_user())
    assert returning.take_back(
        Job.objects.get(pk=command.pk), attempt_of(command), {site.card.uuid}
    )
    until(site, cuda, command, JobState.QUEUED)
    attempt = attempt_of(command)
    assert (attempt.outcome, attempt.reason) == ("lost", "restore_failed")
    assert Device.objects.get(pk=site.card.pk).booked == 0
    assert site.try_to_start(command), "a new attempt"
    until(site, cuda, command, JobState.RUNNING)


@pytest.mark.parametrize("held", ["suspended", "queued", "held"])
def test_a_job_that_dies_in_main_memory_stays_where_it_is(site, cuda, command, held):
    swap_out(site, cuda, command)
    fresh: Callable[[], Job] = lambda: Job.objects.get(pk=command.pk)  # noqa: E731
    if held != "suspended":
        actions.resume(fresh(), a_user())
    if held == "held":
        actions.pause(fresh(), a_user())
    state = fresh().state
    ref = ref_of(attempt_of(command))
    for pid in site.engine.pids(ref):
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: site.turn() or attempt_of(command).ended_at is not None, what="its end")
    assert fresh().state == state
    assert attempt_of(command).reason == "restore_failed"


@pytest.mark.parametrize("when", ["suspended", "queued"])
def test_a_swapped_out_job_can_be_cancelled(site, cuda, command, when):
    swap_out(site, cuda, command)
    if when == "queued":
        actions.resume(Job.objects.get(pk=command.pk), a_user())
    actions.cancel(Job.objects.get(pk=command.pk), a_user())
    until(site, cuda, command, JobState.CANCELLED)
    assert site.engine.pids(ref_of(attempt_of(command))) == frozenset()


def test_who_makes_room_is_swapped_out_too_and_comes_back(site, cuda, command, urgent):
    Job.objects.filter(pk=command.pk).update(preemptible=True)
    assert site.make_room(command, urgent) == 1
    until(site, cuda, command, JobState.QUEUED)
    assert attempt_of(command).swap == Swap.SWAPPED
    event = command.events.get(kind="requeue")
    assert (event.data["beneficiary"], event.data["lost"]) == (urgent.pk, 0.0)
    (cuda / "only").write_text("nobody")
    assert site.try_to_start(urgent)
    site.until(urgent, JobState.RUNNING)
    again = Job.objects.get(pk=command.pk)
    assert not returning.take_back(again, attempt_of(command), {"another card"}), "it is taken"


def test_a_new_dispatcher_goes_on_with_a_swap(site, cuda, command):
    actions.pause(command, a_user())
    site.turn()
    [left] = swapping._helpers.values()
    swapping._helpers.clear()
    site.engine.close()
    site.restart()
    until(site, cuda, command, JobState.SUSPENDED)
    assert calls(cuda) == ["lock", "checkpoint"], "only once"
    left.wait()


def test_a_helper_that_died_on_the_way_is_undone(site, cuda, command):
    attempt = attempt_of(command)
    actions.pause(command, a_user())
    Attempt.objects.filter(pk=attempt.pk).update(swap=Swap.OUT)
    directory = str(site.engine.directory(ref_of(attempt)))
    target = int((cuda / "only").read_text())
    swaphelper._note(directory, swaphelper.OUT, swaphelper.BEGUN, target)
    record = site.engine.directory(ref_of(attempt)) / swaphelper.SWAP
    record.write_text(record.read_text().replace(f'"helper": {os.getpid()}', '"helper": 1'))
    (cuda / str(target)).write_text("locked")
    until(site, cuda, command, JobState.RUNNING)
    assert (cuda / str(target)).read_text() == "running"


REFUSED = {
    "switched off": "does not want it",
    "simulated": "simulated",
    "old driver": "570",
    "no cuda-core": "cuda-core",
    "two cards": "single process",
    "a part of a card": "MIG",
    "no room": "main memory",
}


@pytest.mark.parametrize("why", REFUSED)
def test_what_keeps_a_job_from_being_swapped_out_is_said(site, command, why, monkeypatch):
    job, attempt = Job.objects.get(pk=command.pk), attempt_of(command)
    if why == "switched off":
        sitesettings.change({"swap_out": False}, None)
    elif why == "simulated":
        attempt.node.source = "simulated"
    elif why == "old driver":
        attempt.node.driver = "550.1"
    elif why == "no cuda-core":
        monkeypatch.setattr(swapability, "_has_cuda_core", lambda: False)
    elif why == "two cards":
        job.gpus = 2
    elif why == "a part of a card":
        Device.objects.update(uuid="MIG-1")
    else:
        monkeypatch.setattr(swapability, "available_memory", lambda: 10 * GIB)
    assert REFUSED[why] in swapability.refusal(job, attempt)


def test_main_memory_is_read_from_the_kernel(tmp_path):
    (tmp_path / "meminfo").write_text("MemTotal: 9 kB\nMemAvailable:    2048 kB\n")
    assert available_memory(tmp_path / "meminfo") == 2048 * 1024
    assert available_memory(tmp_path / "none") == 0


def test_its_own_card_is_taken_only_where_it_has_room(site, cuda, command):
    a_device(1, total=20 * GIB)
    swap_out(site, cuda, command)
    actions.resume(Job.objects.get(pk=command.pk), a_user())
    fresh, attempt = Job.objects.get(pk=command.pk), attempt_of(command)
    Device.objects.filter(pk=site.card.pk).update(foreign=18 * GIB)
    assert not returning.take_back(fresh, attempt, {"GPU-test-1"})
    Device.objects.filter(pk=site.card.pk).update(foreign=0, read_at=timezone.now())
    assert returning.take_back(fresh, attempt, {"GPU-test-1"})
    assert attempt.allocations.open().get().device_id == site.card.pk


def test_the_cycle_itself_brings_a_swapped_out_job_back(site, cuda, command):
    swap_out(site, cuda, command)
    actions.resume(Job.objects.get(pk=command.pk), a_user())
    cycle = Cycle(site.engine)

    def runs() -> bool:
        Device.objects.update(read_at=timezone.now(), used=0)
        cycle.run()
        return Job.objects.get(pk=command.pk).state == JobState.RUNNING

    wait_until(runs, 20, "its return")
    cycle.close()
    assert command.attempts.count() == 1
    assert calls(cuda)[2:] == ["restore", "unlock"]


def test_the_time_in_main_memory_is_neither_work_nor_service(site, cuda, command):
    swap_out(site, cuda, command)
    attempt = attempt_of(command)
    had = Job.objects.get(pk=command.pk).service
    assert had > 0
    long_ago = timezone.now() - timedelta(hours=5)
    Attempt.objects.filter(pk=attempt.pk).update(started_at=long_ago)
    command.events.filter(kind="suspend").update(at=long_ago)
    actions.resume(Job.objects.get(pk=command.pk), a_user())
    assert returning.take_back(Job.objects.get(pk=command.pk), attempt, {site.card.uuid})
    until(site, cuda, command, JobState.RUNNING)
    actions.cancel(Job.objects.get(pk=command.pk), a_user())
    until(site, cuda, command, JobState.CANCELLED)
    assert Job.objects.get(pk=command.pk).service < had + 60


def test_who_has_just_come_back_is_not_sent_away_again_at_once(site, cuda, command):
    swap_out(site, cuda, command)
    long_ago = timezone.now() - timedelta(hours=5)
    Attempt.objects.update(started_at=long_ago)
    actions.resume(Job.objects.get(pk=command.pk), a_user())
    fresh = Job.objects.get(pk=command.pk)
    assert returning.take_back(fresh, attempt_of(command), {site.card.uuid})
    until(site, cuda, command, JobState.RUNNING)
    [run] = snapshots.take().snapshot.running
    assert run.started_at > timezone.now().timestamp() - 60
    shown = job_json(Job.objects.get(pk=command.pk))["allocations"]
    assert [each["released_at"] for each in shown] == [None], "one booking a card"
