"""Database and latest readings -> the frozen `Snapshot` that one cycle decides from.

Reads only, in a number of queries that does not depend on how many jobs wait.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property

from django.utils import timezone

from gpus.models import Device
from jobs import cardviews, jobviews, projectviews, sitesettings
from jobs.cardviews import STALE_AFTER, Booking, Card, device_views, safety
from jobs.cardviews import view_of as device_view
from jobs.core.jobspec import JobSpec
from jobs.core.snapshot import DeviceView, JobView, RunView, Snapshot
from jobs.core.template import template_of
from jobs.history import History
from jobs.jobviews import Earlier, JobRow, RunRow, Viewer
from jobs.models import Job, Project, User
from jobs.sitesettings import SiteSettings
from jobs.usage import PastUsage

__all__ = [
    "STALE_AFTER",
    "Picture",
    "Rows",
    "device_view",
    "device_views",
    "job_view",
    "read",
    "safety",
    "spec_view",
    "take",
]


@dataclass(frozen=True, kw_only=True)
class Picture:
    """A snapshot, and ways to the rows behind its ids."""

    snapshot: Snapshot
    wait_codes: Mapping[str, str]  # of the queued jobs, as they are stored

    @cached_property
    def devices(self) -> Mapping[str, Device]:
        """The cards' rows by UUID."""
        return {device.uuid: device for device in Device.objects.select_related("node")}

    @cached_property
    def jobs(self) -> Mapping[str, Job]:
        """The queued jobs' rows by id. Slow where many wait: read the few that are needed instead."""
        rows = Job.objects.queued().select_related("project", "owner")
        return {job.pk: job for job in rows}


@dataclass(frozen=True, kw_only=True)
class Rows:
    """What was read for one picture, before it is made into views."""

    now: datetime
    values: SiteSettings
    cards: list[Card]
    bookings: list[Booking]
    runs: list[RunRow]
    queued: list[JobRow]
    earlier: Mapping[str, Earlier]

    @cached_property
    def by_attempt(self) -> Mapping[int, list[Booking]]:
        """The open bookings of every attempt that has any."""
        return cardviews.grouped(self.bookings, "attempt")

    @cached_property
    def card_views(self) -> dict[int, DeviceView]:
        """The cards by the keys of their rows."""
        on_card = cardviews.grouped(self.bookings, "device")
        return {
            card.pk: cardviews.view(card, on_card.get(card.pk, ()), self.values)
            for card in self.cards
        }

    def snapshot(self, usage: PastUsage, history: History) -> Snapshot:
        """All of it as the scheduler sees it; brings what is known of the past up to date."""
        history.refresh(self.now, self._templates())
        usage.refresh(self.now, self.values.rules.half_life, self.card_views)
        viewer = self.viewer(history)
        running = self._run_views(viewer)
        holding = {run.job.id for run in running}
        return Snapshot(
            now=viewer.now,
            devices=tuple(self.card_views.values()),
            queued=tuple(viewer.job(row) for row in self.queued if row.pk not in holding),
            running=running,
            projects={row.view.slug: row.view for row in projectviews.read(usage)},
            max_workers=self.values.max_workers,
            agents_fresh=any(card.is_fresh for card in self.cards),
            rules=self.values.rules,
        )

    def viewer(self, history: History) -> Viewer:
        """Makes views of these rows."""
        return Viewer(
            now=self.now.timestamp(),
            rules=self.values.rules,
            history=history,
            earlier=self.earlier,
        )

    def _run_views(self, viewer: Viewer) -> tuple[RunView, ...]:
        uuids = {card.pk: card.uuid for card in self.cards}
        held = self.by_attempt
        return tuple(viewer.run(row, held[row.pk], uuids) for row in self.runs if row.pk in held)

    def _templates(self) -> set[str]:
        return {row.template for row in self.queued} | {run.job.template for run in self.runs}


def take(usage: PastUsage | None = None, history: History | None = None) -> Picture:
    """The picture of now. Who takes many keeps `usage` and `history` between them."""
    rows = read(timezone.now())
    return Picture(
        snapshot=rows.snapshot(usage or PastUsage(), history or History()),
        wait_codes={row.pk: row.wait_code for row in rows.queued},
    )


def read(now: datetime) -> Rows:
    """Everything that one picture is made of."""
    return Rows(
        now=now,
        values=sitesettings.current(),
        cards=cardviews.cards(now),
        bookings=cardviews.bookings(),
        runs=jobviews.running(),
        queued=jobviews.queued(),
        earlier=jobviews.earlier(),
    )


def job_view(job: Job) -> JobView:
    """One job as policies and placement see it."""
    now, history = timezone.now(), History()
    history.refresh(now, [job.template])
    viewer = Viewer(
        now=now.timestamp(),
        rules=sitesettings.rules(),
        history=history,
        earlier=jobviews.earlier([job.pk]),
    )
    return viewer.job(jobviews.row_of(job))


def spec_view(
    spec: JobSpec, user: User, project: Project, history: History | None = None
) -> JobView:
    """A job that is not stored yet, as placement would see it; with `history`, what its kind has shown is known."""
    past = (history or History()).of(template_of(spec))
    resources = spec.resources
    return JobView(
        id="",
        task_id=spec.task_id,
        project=project.slug,
        user=user.username,
        priority=spec.priority,
        submitted_at=timezone.now().timestamp(),
        min_memory=resources.min_memory or 0,
        gpus=resources.gpus,
        nodes=resources.nodes,
        gpu_type=resources.gpu_type,
        exclusive=resources.exclusive,
        preemptible=bool(spec.preemptible),
        est_time=math.inf if spec.est_time is None else spec.est_time,
        expected_run=past.usual,
        sm_share=past.sm_share,
    )
