"""Run beside a service: three weeks of a past that fills every part of the reports' page."""

from __future__ import annotations

import os
import random
from datetime import timedelta

import django

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "coop_site.settings")
django.setup()

from django.utils import timezone  # noqa: E402 - needs the line above

from gpus.models import Device, Reading  # noqa: E402
from jobs.core.states import Outcome  # noqa: E402
from jobs.models import Project, User  # noqa: E402
from tests.rows import GIB, a_past_run  # noqa: E402

DAYS = 21
HOUR = timedelta(hours=1)


def main() -> None:
    """Runs of two people in three projects, and the readings of the cards."""
    chance, cards = random.Random(7), list(Device.objects.order_by("index"))
    lead, admin = User.objects.get(username="lead"), User.objects.get(username="admin")
    projects = [Project.objects.get(slug="default")]
    projects += [Project.objects.get_or_create(slug=s, name=s)[0] for s in ("vision", "speech")]
    first = timezone.now() - timedelta(days=DAYS)
    for number in range(DAYS * 3):
        begun = first + number * 8 * HOUR
        a_past_run(
            f"past-{number}",
            device=cards[number % len(cards)],
            begun=begun,
            ended=begun + chance.randrange(1, 7) * HOUR,
            owner=(lead, admin)[number % 2],
            project=projects[number % 3],
            peak=chance.randrange(2, 14) * GIB,
            outcome=(Outcome.SUCCEEDED, Outcome.SUCCEEDED, Outcome.FAILED)[number % 3],
        )
    begun = int(first.timestamp()) // 3600 * 3600
    Reading.objects.bulk_create(
        Reading(
            device=card,
            seconds=3600,
            start=begun + 3600 * hour,
            samples=3600,
            busy_mean=chance.random(),
            used_mean=chance.randrange(card.memory_total),
            foreign_max=chance.choice((0, 0, GIB)),
        )
        for card in cards
        for hour in range(DAYS * 24 - 1)
    )


if __name__ == "__main__":
    main()
