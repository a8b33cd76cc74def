"""Run as a process: a dispatcher that decides only to make room, and dies at each place where that can be interrupted.

`python -m tests.jobs.makingroom seed|dispatch|tell`, with COOP_HOME of its own. Every place has a card, a victim and an
urgent job of its own, so that one run goes through all of them.
"""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

PLACES = (
    "before the order is committed",
    "after the order",
    "after the stop was told",
    "before the end is committed",
    "after the end",
    "after the other's booking",
)
GRACE_S = 0.4
VICTIM = """\
trap '' TERM; echo $$ > pid; echo run >> ledger
[ $(wc -l < ledger) -ge 2 ] && exit 0
while :; do sleep 0.05; done
"""
URGENT = """\
[ -e /proc/$(cat {pid}) ] && echo overlap >> ledger
echo run >> ledger
"""


def main() -> None:
    import django

    django.setup()
    {"seed": seed, "dispatch": dispatch, "tell": tell}[sys.argv[1]]()


def seed() -> None:
    """The database, and for each place a card, a victim and a job that wants its card."""
    from django.core.management import call_command

    from jobs.models import Job
    from tests.rows import GIB, a_device, a_job

    call_command("migrate", verbosity=0)
    for number, _place in enumerate(PLACES):
        a_device(number, total=20 * GIB)
        victim = a_job(f"victim-{number}", command=VICTIM, memory=14 * GIB)
        pid = folder(victim.pk) / "pid"
        a_job(f"urgent-{number}", command=URGENT.format(pid=pid), memory=14 * GIB)
    Job.objects.update(preemptible=True)


def dispatch() -> None:
    """Turns of a dispatcher until all jobs have ended."""
    from django.conf import settings
    from django.utils import timezone

    from jobs.engines.local import LocalEngine
    from jobs.models import Job
    from jobs.reconciling import reconcile

    die_once_at_each_place()
    engine, began = LocalEngine(settings.COOP_HOME), timezone.now()
    while Job.objects.active().exists():
        reconcile(engine, None, began)
        for number, _place in enumerate(PLACES):
            decide(number, engine)
        time.sleep(0.02)
    engine.close()


def decide(number: int, engine: Any) -> None:
    """As a scheduler would: the urgent job first; if its card is taken, whoever has it makes room."""
    from gpus.models import Device
    from jobs import lifecycle, preempting
    from jobs.core.plan import Preempt, PreemptionRule
    from jobs.core.states import JobState
    from jobs.models import Job
    from jobs.preparation import prepare

    card = Device.objects.select_related("node").get(index=number)
    victim, urgent = (Job.objects.get(task_id=f"{name}-{number}") for name in ("victim", "urgent"))
    has_run = (folder(victim.pk) / "ledger").exists()
    wants = urgent if has_run and urgent.is_active else victim
    if wants is urgent and urgent.state == JobState.QUEUED and victim.state == JobState.RUNNING:
        rule = PreemptionRule.PRIORITY
        preempting.apply([Preempt(job=victim.pk, beneficiary=urgent.pk, rule=rule, lost=1.0)])
    if wants.state == JobState.QUEUED:
        attempt = lifecycle.start(wants, card.node, [(card, wants.min_memory)])
        if attempt is not None:
            engine.start(prepare(attempt))


def die_once_at_each_place() -> None:
    """SIGKILL to ourselves, at the place that belongs to the job that is dealt with."""
    from jobs import lifecycle, preempting
    from jobs.engines.base import STOP
    from jobs.engines.local import LocalEngine

    record, start, finish = lifecycle._record, lifecycle.start, lifecycle.finish
    apply, control = preempting.apply, LocalEngine.control

    def record_and_die(job, cause, at, *, old) -> None:
        record(job, cause, at, old=old)
        if cause.kind in {"preempt", "requeue"}:
            die_at({"preempt": 0, "requeue": 3}[cause.kind], job.task_id)

    def control_and_die(engine, ref, action, _grace_s: float = 0.0) -> None:
        control(engine, ref, action, GRACE_S)
        if action == STOP:
            die_at(2, task_of(ref.job_id))

    lifecycle._record = record_and_die
    LocalEngine.control = control_and_die
    preempting.apply = _then(apply, lambda plan: die_at(1, task_of(plan[0].job)))
    lifecycle.finish = _then(finish, lambda attempt, _ending: die_at(4, attempt.job.task_id))
    lifecycle.start = _then(start, lambda job, _node, _placements: die_when_booked(job))


def die_when_booked(job: Any) -> None:
    if job.task_id.startswith("urgent") and job.attempts.exists():
        die_at(5, job.task_id)


def die_at(place: int, task_id: str) -> None:
    notes = Path(os.environ["COOP_HOME"], "deaths")
    known = notes.read_text().splitlines() if notes.exists() else []
    if task_id.endswith(f"-{place}") and PLACES[place] not in known:
        with notes.open("a") as file:
            file.write(f"{PLACES[place]}\n")
        os.kill(os.getpid(), signal.SIGKILL)


def tell() -> None:
    """What became of the jobs, as JSON."""
    from gpus.models import Device
    from jobs.models import Job

    told = {
        job.task_id: {
            "state": job.state,
            "kinds": list(job.events.values_list("kind", flat=True)),
            "outcomes": list(job.attempts.values_list("outcome", flat=True)),
            "lost": list(job.attempts.values_list("lost_seconds", flat=True)),
            "ledger": (folder(job.pk) / "ledger").read_text().split(),
        }
        for job in Job.objects.all()
    }
    booked = list(Device.objects.values_list("booked", flat=True))
    print(json.dumps({"jobs": told, "booked": booked}))


def folder(job_id: str) -> Path:
    return Path(os.environ["COOP_HOME"], "jobs", job_id, "work")


def task_of(job_id: str) -> str:
    from jobs.models import Job

    return Job.objects.get(pk=job_id).task_id


def _then(function: Callable[..., Any], after: Callable[..., None]) -> Callable[..., Any]:
    def both(*arguments: Any) -> Any:
        answer = function(*arguments)
        after(*arguments)
        return answer

    return both


if __name__ == "__main__":
    main()
