"""What django-q2 calls: one line each, safe to repeat, never a job's process. The work is in the modules called."""

from __future__ import annotations

from pathlib import Path

from django.conf import settings
from django.utils import timezone
from django_q.models import Schedule
from django_q.tasks import async_task

from jobs import backup, heartbeats, idling, priorityrequests, retention
from jobs.ledger import outages, rollup
from jobs.notify import sending, taking
from jobs.notify import watching as looking
from jobs.replay import asking

BEAT = Path("run") / "background.beat"
"""Below COOP_HOME: touched by `heartbeat`, watched by whoever restarts a django-q2 that hangs."""

SCHEDULES = {
    "heartbeat": 1,
    "forget_old": 60,
    "end_priority_requests": 1,
    "back_up": 60,
    "note_outages": 1,
    "sum_up": 15,
    "look_for_idle": 1,
    "notify": 1,
}
"""Minutes between two calls of each function of this module."""


def heartbeat() -> None:
    """Show that the whole path works: schedule, queue, worker."""
    heartbeats.beat(heartbeats.BACKGROUND)
    (settings.COOP_HOME / BEAT).touch()


def forget_old() -> None:
    """Remove what is kept for a time only."""
    retention.forget_old(timezone.now())


def end_priority_requests() -> None:
    """Let priorities fall back whose time is over."""
    priorityrequests.end_due(timezone.now())


def back_up() -> None:
    """This hour's copy of the database."""
    backup.back_up(timezone.now())


def note_outages() -> None:
    """Which cards are out of service, for the reports."""
    outages.note(timezone.now())


def sum_up() -> None:
    """The finished days, for the reports."""
    rollup.roll_up(timezone.now())


def look_for_idle() -> None:
    """Warn of running jobs that do nothing or hang, and suspend them where the site wants that."""
    idling.look(timezone.now())


def notify() -> None:
    """Tell people what happened and what is about to. The web processes do so too, and sooner."""
    taking.read_on(timezone.now())
    looking.look(timezone.now())
    sending.send_due()


def send_messages() -> None:
    """Send what is due outside."""
    sending.send_due()


def replay(replay_id: str) -> None:
    """The answer to a what-if. It may take a minute, in which nobody else shows that the background lives."""
    asking.work_out(replay_id, sign_of_life=heartbeat)
    heartbeat()


def ask_for_a_heartbeat() -> None:
    """Have one made as soon as django-q2 is up: it looks at its schedules every half minute only."""
    async_task("jobs.tasks.heartbeat", save=False)


def ensure_schedules() -> None:
    """Make the stored schedules of this module those of `SCHEDULES`; one that is there keeps its next time."""
    ours = Schedule.objects.filter(func__startswith="jobs.tasks.")
    ours.exclude(name__in=SCHEDULES).delete()
    for name, minutes in SCHEDULES.items():
        Schedule.objects.update_or_create(
            name=name,
            defaults={
                "func": f"jobs.tasks.{name}",
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "repeats": -1,
            },
        )
