"""How long a dispatcher takes to know a long queue: read from the database when it starts, and kept up afterwards.

Fills a database of its own with queued jobs, busy cards and a history, and prints a table. SQLite in a temporary
directory, or the server that COOP_DATABASE_URL names:

    python benchmarks/coldstart.py
    scripts/with_postgres.sh .venv/bin/python benchmarks/coldstart.py

Preemption is off, so that nothing is decided that would have to be carried out.
"""

from __future__ import annotations

import argparse
import os
import random
import resource
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from typing import Any, TypeVar

GIB = 1024**3
PROJECTS, PEOPLE, KINDS = 64, 256, 200
CARDS_A_NODE = 8

T = TypeVar("T")


def main() -> None:
    """Fill, measure, print."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--queued", type=int, default=100_000, help="jobs that wait")
    parser.add_argument(
        "--cards", type=int, default=10_000, help="cards, each with one running job"
    )
    parser.add_argument("--ended", type=int, default=50_000, help="attempts that ended this month")
    parser.add_argument("--changes", type=int, default=200, help="jobs that end between two cycles")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="llama-coop-bench-") as home:
        os.environ |= {"COOP_HOME": home, "DJANGO_SETTINGS_MODULE": "coop_site.settings"}
        os.environ.setdefault("COOP_DATABASE_URL", f"sqlite:///{home}/bench.sqlite3")
        import django  # noqa: PLC0415 - after the environment that its settings are read from

        django.setup()
        _measure(options)


def _measure(options: argparse.Namespace) -> None:
    from django.core.management import call_command  # noqa: PLC0415 - after django.setup()
    from django.db import connection  # noqa: PLC0415

    from jobs import sitesettings  # noqa: PLC0415

    call_command("migrate", verbosity=0)
    sitesettings.change({"preemption": False}, None)
    _timed("filled", lambda: _fill(options))
    print(f"{connection.vendor}: {options.queued} queued, {options.cards} cards, each with one job")
    _cold_start()
    _kept_up(options.changes)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
    print(f"{'peak memory':<44} {memory:9d} MiB")


def _cold_start() -> None:
    from django.utils import timezone  # noqa: PLC0415 - after django.setup()

    from jobs import snapshots  # noqa: PLC0415
    from jobs.history import History  # noqa: PLC0415
    from jobs.usage import PastUsage  # noqa: PLC0415

    rows = _timed("read the rows", lambda: snapshots.read(timezone.now()))
    _timed(
        "make views of them, with history and usage", lambda: rows.snapshot(PastUsage(), History())
    )
    _timed("a picture (snapshots.take)", snapshots.take)


def _kept_up(changes: int) -> None:
    from jobs.mirror import Mirror  # noqa: PLC0415 - after django.setup()

    mirror = Mirror()
    _timed("cold start: a scheduler from the database", mirror.reload)
    _timed("  its first decision", mirror.decide)
    _timed("a refresh without changes", mirror.refresh)
    _timed("  once more", mirror.refresh)
    _timed("  with nothing to decide", mirror.decide)
    _end_some(changes)
    _timed(f"a refresh after {changes} ends", mirror.refresh)
    _timed("  its decision", mirror.decide)


def _timed(what: str, deed: Callable[[], T]) -> T:
    wall, processor = time.perf_counter(), time.process_time()
    result = deed()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(
        f"{what:<44} {1000 * wall:9.1f} ms, of which {1000 * processor:9.1f} computing", flush=True
    )
    return result


def _fill(options: argparse.Namespace) -> None:
    from django.utils import timezone  # noqa: PLC0415 - after django.setup()

    chance, now = random.Random(1), timezone.now()
    devices = _devices(options.cards, now)
    owners = _owners()
    past = [_job(chance, owners, f"past-{n}", now, "SUCCEEDED") for n in range(options.ended)]
    running = [_job(chance, owners, f"run-{n}", now, "RUNNING") for n in range(options.cards)]
    waiting = [_job(chance, owners, f"wait-{n}", now, "QUEUED") for n in range(options.queued)]
    _create([*past, *running, *waiting])
    _attempts(chance, past, devices, now)
    _attempts(chance, running, devices, now)
    _events([*past, *running, *waiting], now)


def _devices(count: int, now: datetime) -> list[Any]:
    from gpus.models import Device, Node  # noqa: PLC0415 - after django.setup()

    nodes = _create(Node(name=f"node-{n:04d}") for n in range(-(-count // CARDS_A_NODE)))
    return _create(
        Device(
            uuid=f"GPU-{n:06d}",
            node=nodes[n // CARDS_A_NODE],
            index=n % CARDS_A_NODE,
            name="NVIDIA A100-SXM4-80GB",
            memory_total=80 * GIB,
            booked=78 * GIB,
            used=77 * GIB,
            read_at=now + timedelta(hours=1),  # fresh for as long as this takes
        )
        for n in range(count)
    )


def _owners() -> list[tuple[Any, Any]]:
    from jobs.models import Project, User  # noqa: PLC0415 - after django.setup()

    projects = _create(Project(slug=f"project-{n}", name=str(n)) for n in range(PROJECTS))
    people = _create(User(username=f"person-{n}") for n in range(PEOPLE))
    return [(projects[n % PROJECTS], person) for n, person in enumerate(people)]


def _job(
    chance: random.Random, owners: list[tuple[Any, Any]], name: str, now: datetime, state: str
) -> Any:
    from jobs.models import Job  # noqa: PLC0415 - after django.setup()

    project, owner = chance.choice(owners)
    ended = state == "SUCCEEDED"
    memory = chance.choice([8, 14, 24, 38, 60]) * GIB
    return Job(
        project=project,
        owner=owner,
        task_id=name,
        priority=chance.randrange(3),
        spec={
            "task_id": name,
            "command": f"python train.py --seed {name} --output_dir /out/{name}",
            "resources": {"min_memory": memory, "gpus": 1, "nodes": 1, "exclusive": False},
            "env": {"OMP_NUM_THREADS": "8", "HF_HOME": "/srv/models"},
            "max_attempts": 3,
        },
        content_hash="0" * 64,
        min_memory=memory,
        preemptible=chance.random() < 0.5,
        est_time=chance.choice([None, 3600.0, 86400.0]),
        template=f"{chance.randrange(KINDS):064d}",
        state=state,
        outcome="succeeded" if ended else "",
        submitted_at=now - timedelta(seconds=chance.uniform(0, 86400)),
        state_since=now,
        finished_at=now - timedelta(hours=1) if ended else None,
        epoch=0 if state == "QUEUED" else 1,
    )


def _attempts(chance: random.Random, jobs: list[Any], devices: list[Any], now: datetime) -> None:
    from jobs.models import Allocation, Attempt  # noqa: PLC0415 - after django.setup()

    attempts, bookings = [], []
    for place, job in enumerate(jobs):
        device = devices[place % len(devices)]
        ended = now - timedelta(seconds=chance.uniform(0, 20 * 86400)) if job.outcome else None
        begun = (ended or now) - timedelta(seconds=chance.uniform(60, 20_000))
        attempt = Attempt(
            job=job, number=1, node=device.node, created_at=begun, started_at=begun,
            ended_at=ended, outcome=job.outcome,
        )  # fmt: skip
        attempts.append(attempt)
        memory = job.min_memory if ended else 78 * GIB
        bookings.append(
            Allocation(
                attempt=attempt, device=device, booked=memory, created_at=begun, released_at=ended
            )
        )
    _create(attempts)
    for attempt, booking in zip(attempts, bookings, strict=True):
        booking.attempt_id = attempt.pk
    _create(bookings)


def _events(jobs: list[Any], now: datetime) -> None:
    from jobs.models import JobEvent  # noqa: PLC0415 - after django.setup()

    _create(JobEvent(job=job, at=now, kind="submit", new_state=job.state) for job in jobs)


def _end_some(count: int) -> None:
    from jobs import lifecycle  # noqa: PLC0415 - after django.setup()
    from jobs.core.ending import Ending  # noqa: PLC0415
    from jobs.core.states import Outcome, Reason  # noqa: PLC0415
    from jobs.models import Attempt  # noqa: PLC0415

    for attempt in list(Attempt.objects.open().select_related("job")[:count]):
        lifecycle.finish(attempt, Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED))


def _create(rows: Iterable[Any]) -> list[Any]:
    found: list[Any] = []
    for part in _parts(iter(rows)):
        found += type(part[0]).objects.bulk_create(part, batch_size=1_000)
    return found


def _parts(rows: Iterator[Any]) -> Iterator[list[Any]]:
    part: list[Any] = []
    for row in rows:
        part.append(row)
        if len(part) == 10_000:
            yield part
            part = []
    if part:
        yield part


if __name__ == "__main__":
    main()
