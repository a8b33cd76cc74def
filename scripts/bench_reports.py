"""How long a report of a year takes with 100 jobs a day: fills an empty database, sums it up, and asks.

Uses `COOP_DATABASE_URL` if it is set (scripts/with_postgres.sh sets it), else a database of its own in a folder that is
removed afterwards. `--days` and `--jobs` make it smaller. Never for the database of a site: it writes invented jobs.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import tempfile
import time
from datetime import datetime, timedelta
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--jobs", type=int, default=100, help="a day")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llama-coop-bench-") as home:
        os.environ["COOP_HOME"] = home
        os.environ["DJANGO_SETTINGS_MODULE"] = "coop_site.settings"
        import django  # noqa: PLC0415 - needs the lines above

        django.setup()
        measure(options.days, options.jobs)


def measure(days: int, jobs: int) -> None:
    """In a database that has tables and nothing else."""
    from django.core.management import call_command  # noqa: PLC0415
    from django.db import connection  # noqa: PLC0415
    from django.utils import timezone  # noqa: PLC0415

    from jobs import reports, reportsheets  # noqa: PLC0415
    from jobs.ledger import rollup  # noqa: PLC0415
    from jobs.models import BookingDay, Job, Project  # noqa: PLC0415
    from jobs.views.reportcharts import charts_of  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    if Job.objects.exists():
        raise SystemExit("This database has jobs; the measurement is for an empty one.")
    now = timezone.now()
    fill(now, days, jobs)
    wanted = reports.Wanted(
        first=now.date() - timedelta(days=days - 1),
        last=now.date(),
        projects=tuple(Project.objects.all()),
        whole_site=True,
    )

    def ask() -> None:
        found = reports.report(wanted, now)
        reportsheets.as_json(found)
        list(charts_of(found))

    print(f"{connection.vendor}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}")
    show("without the ledger", ask, 2)
    began = time.perf_counter()
    rollup.roll_up(now)
    print(f"{'made the ledger':24}{time.perf_counter() - began:8.1f} s")
    print(f"{'rows in it':24}{BookingDay.objects.count():8}")
    show("with the ledger", ask, 9)


def show(name: str, ask: object, times: int) -> None:
    """The median and the worst of several."""
    took = []
    for _each in range(times):
        began = time.perf_counter()
        ask()  # type: ignore[operator]
        took.append((time.perf_counter() - began) * 1000)
    print(f"{name:24}{statistics.median(took):8.0f} ms median, {max(took):.0f} ms at most")


def fill(now: datetime, days: int, jobs: int) -> None:
    """Jobs with their events, bookings and hourly readings, on 8 cards, of 20 people in 5 projects."""
    from gpus.models import Device, Node  # noqa: PLC0415
    from jobs.models import Project, User  # noqa: PLC0415

    node = Node.objects.create(name="bench")
    gib = 2**30
    cards = [
        Device.objects.create(
            uuid=f"GPU-{i}", node=node, index=i, name=f"A100-{i % 2}", memory_total=80 * gib
        )
        for i in range(8)
    ]
    projects = [Project.objects.get_or_create(slug=f"team-{i}", name=f"{i}")[0] for i in range(5)]
    people = [User.objects.create(username=f"person-{i}") for i in range(20)]
    fill_jobs(now, days, jobs, cards, projects, people)
    fill_readings(now, days, cards)


def fill_jobs(
    now: datetime, days: int, jobs: int, cards: list, projects: list, people: list
) -> None:
    """Jobs that waited, ran once on one card, and ended."""
    from jobs.models import Allocation, Attempt, Job, JobEvent  # noqa: PLC0415

    chance = random.Random(1)
    node, gib = cards[0].node, 2**30
    made, attempts, bookings, events = [], [], [], []
    for number in range(days * jobs):
        came = now - timedelta(days=days) + timedelta(days=number / jobs)
        start = came + timedelta(seconds=chance.randrange(7200))
        end = min(now, start + timedelta(seconds=chance.randrange(60, 36000)))
        owner = number % 20
        job = Job(
            project=projects[owner % 5],
            owner=people[owner],
            task_id=f"job-{number}",
            spec={},
            content_hash="",
            min_memory=16 * gib,
            submitted_at=came,
            started_at=start,
            finished_at=end,
            state_since=end,
            state="SUCCEEDED",
            epoch=1,
        )
        outcome = chance.choice(["succeeded"] * 8 + ["failed", "lost"])
        attempt = attempt_of(job, node, outcome)
        bookings.append(
            Allocation(
                attempt=attempt,
                device=chance.choice(cards),
                booked=16 * gib,
                peak=chance.randrange(16 * gib),
                created_at=start,
                released_at=end,
            )
        )
        events += events_of(job)
        made.append(job)
        attempts.append(attempt)
    for model, rows in (
        (Job, made),
        (Attempt, attempts),
        (Allocation, bookings),
        (JobEvent, events),
    ):
        model.objects.bulk_create(rows, batch_size=2000)  # type: ignore[attr-defined]


def attempt_of(job: object, node: object, outcome: str) -> object:
    """The only attempt of a job."""
    from jobs.models import Attempt  # noqa: PLC0415

    times = {"created_at": job.started_at, "started_at": job.started_at}
    return Attempt(job=job, number=1, node=node, ended_at=job.finished_at, outcome=outcome, **times)


def events_of(job: object) -> list:
    """Handed in, started, ended."""
    from jobs.models import JobEvent  # noqa: PLC0415

    moves = (
        (job.submitted_at, "submit", "", "QUEUED"),
        (job.started_at, "start", "QUEUED", "STARTING"),
        (job.finished_at, "end", "RUNNING", "SUCCEEDED"),
    )
    return [
        JobEvent(job=job, at=at, kind=kind, old_state=old, new_state=new)
        for at, kind, old, new in moves
    ]


def fill_readings(now: datetime, days: int, cards: list[object]) -> None:
    """One for each card and hour."""
    from gpus.models import Reading  # noqa: PLC0415

    chance = random.Random(2)
    gib = 2**30
    readings = [
        Reading(
            device=card,
            seconds=3600,
            start=int(now.timestamp()) // 3600 * 3600 - 3600 * hour,
            samples=3600,
            busy_mean=chance.random(),
            used_mean=40 * gib,
            foreign_max=0,
        )
        for card in cards
        for hour in range(days * 24)
    ]
    Reading.objects.bulk_create(readings, batch_size=2000)


if __name__ == "__main__":
    main()
