"""A scheduler that lasts, kept in step with the database: it is told only what has changed.

Moves of jobs are found by their event rows. Cards, bookings, projects and settings are read every time, because
readings change them without an event; what only slowly changes a running job (progress, checkpoints) is read again
every half minute. Where something does not fit, all is read anew.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta

from django.utils import timezone

from jobs import cardviews, jobviews, projectviews, sitesettings, snapshots
from jobs.cardviews import Booking, Card
from jobs.core.plan import Plan, Preempt
from jobs.core.scheduling.planner import Planner
from jobs.history import History
from jobs.jobviews import Earlier, JobRow, RunRow, Viewer
from jobs.journal import Journal
from jobs.models import Job
from jobs.projectviews import People
from jobs.sitesettings import SiteSettings
from jobs.usage import PastUsage

LOOK_AGAIN = timedelta(seconds=30)
"""Between two looks at the progress and the checkpoints of all running jobs."""

CHECK_AGAIN = timedelta(seconds=60)
"""Between two counts of the queue, to see that no change was missed."""

_MANY_OBJECTS = 100_000  # new ones, from which on it is worth to sort out what is kept

log = logging.getLogger(__name__)

Held = Mapping[int, tuple[Booking, ...]]
"""Open bookings by attempt, or by card."""


class Mirror:
    """The scheduler of one dispatcher, and what it knows of the rows behind it."""

    def __init__(self, *, look_again: timedelta = LOOK_AGAIN) -> None:
        self.usage, self.history = PastUsage(), History()
        self.wait_codes: dict[
            str, str
        ] = {}  # of the queued jobs, as last read; who writes one notes it here
        self._people = People()
        self._look_every = look_again
        self._is_loaded = False
        self._ranks: Mapping[str, int] | None = None

    # --- reading -------------------------------------------------------------------------------------

    def refresh(self, now: datetime | None = None) -> Planner:
        """The scheduler as of `now`: takes over what has changed since the last time."""
        now = now or timezone.now()
        values = sitesettings.current()
        if not self._is_loaded or values.rules != self._values.rules:
            return self.reload(now)
        self._is_loaded = False  # if what follows fails, all is read anew next time
        changed = self._journal.changed(now)
        if changed is None:
            return self.reload(now)
        self._take_over(now, values, changed)
        self._is_loaded = True
        return self.scheduler

    def reload(self, now: datetime | None = None) -> Planner:
        """Read everything anew, into a new scheduler."""
        with _out_of_collection():
            self._load(now or timezone.now())
        return self.scheduler

    def _load(self, now: datetime) -> None:
        self._is_loaded = False
        self._journal = Journal(now)  # before the rows: what is written meanwhile is read twice
        rows = snapshots.read(now)
        snapshot = rows.snapshot(self.usage, self.history)
        self.scheduler = Planner.of(snapshot)
        self.scheduler.rank(self._ranks)
        self._values = rows.values
        self._views = rows.card_views
        on_card = _frozen(cardviews.grouped(rows.bookings, "device"))
        self._cards = {card.pk: (card, on_card.get(card.pk, ())) for card in rows.cards}
        self._keys = {view.uuid: key for key, view in self._views.items()}
        held = _frozen(rows.by_attempt)
        self._runs = {row.pk: (row.job.pk, held[row.pk]) for row in rows.runs if row.pk in held}
        waiting = {view.id for view in snapshot.queued}
        self.wait_codes = {row.pk: row.wait_code for row in rows.queued if row.pk in waiting}
        projects = projectviews.read(self.usage, self._people)
        self._projects = {row.view.slug: row.state for row in projects}
        self._unsure: set[str] = {row.pk for row in rows.queued} - waiting
        self._expiries: dict[str, float] = {}
        self._note_expiries(rows.viewer(self.history), rows.earlier)
        self._looked_at = self._checked_at = now
        self._is_loaded = True

    # --- deciding ------------------------------------------------------------------------------------

    def decide(self, now: float | None = None) -> Plan:
        """What the scheduler decides. Whether it comes true is seen at the next `refresh`."""
        plan = self.scheduler.decide(timezone.now().timestamp() if now is None else now)
        for start in plan.starts:
            self._unsure.add(start.job)
            for each in start.placements:
                self._cards.pop(self._keys[each.uuid], None)
        self._unsure |= {each.job for each in plan.preemptions}
        return plan

    def relieve(self, uuid: str, job: str, short: int, now: datetime) -> list[Preempt]:
        """Who gives way on a card so that a job there may keep `short` bytes more than the card has."""
        return self._noted(self.scheduler.relieve(uuid, job, short, now.timestamp()))

    def unpack(self, uuid: str, now: datetime) -> list[Preempt]:
        """Who gives way on a card whose jobs get less done together than one alone."""
        return self._noted(self.scheduler.unpack(uuid, now.timestamp()))

    def is_being_relieved(self, uuid: str) -> bool:
        """Whether somebody on this card is on the way out already."""
        runs = self.scheduler.runs
        return any(
            run.leaving and any(each.uuid == uuid for each in run.placements) for run in runs
        )

    def _noted(self, preemptions: Iterable[Preempt]) -> list[Preempt]:
        told = list(preemptions)
        self._unsure |= {each.job for each in told}
        return told

    @property
    def values(self) -> SiteSettings:
        """The site's settings, as last read."""
        return self._values

    def rank(self, ranks: Mapping[str, int] | None) -> None:
        """Order by a policy's ranks from here on."""
        self._ranks = ranks
        self.scheduler.rank(ranks)

    # --- what has changed ----------------------------------------------------------------------------

    def _take_over(self, now: datetime, values: SiteSettings, changed: set[str]) -> None:
        cards, booked = cardviews.cards(now), cardviews.bookings()
        held = _frozen(cardviews.grouped(booked, "attempt"))
        # 1. Cards first: what a running job is charged depends on them
        self._put_cards(cards, _frozen(cardviews.grouped(booked, "device")), values)
        # 2. Who may have changed?
        relearned = self.history.refresh(now, ())
        touched = changed | self._unsure | self._expired(now.timestamp()) | self._forget_gone(held)
        touched |= _queued_of_kinds(relearned)
        attempts = None if relearned or self._is_time_to_look(now) else self._moved(held, touched)
        # 3. What are they now?
        runs = [row for row in jobviews.running(attempts) if row.pk in held]
        waiting = {row.pk: row for row in jobviews.queued(touched)}
        self.history.refresh(now, {row.template for row in (*waiting.values(), *_jobs(runs))})
        viewer = Viewer(
            now=now.timestamp(),
            rules=values.rules,
            history=self.history,
            earlier=jobviews.earlier(touched | {row.pk for row in _jobs(runs)}),
        )
        # 4. Tell the scheduler
        self._put_runs(runs, held, viewer)
        self._put_jobs(touched, waiting, viewer)
        self._note_expiries(viewer, viewer.earlier)
        self._put_projects(now)
        self.scheduler.limit(
            max_workers=values.max_workers, agents_fresh=any(card.is_fresh for card in cards)
        )
        self._check(now)

    def _put_cards(self, cards: Iterable[Card], on_card: Held, values: SiteSettings) -> None:
        if values != self._values:
            self._cards.clear()
            self._values = values
        left = set(self._views)
        for card in cards:
            left.discard(card.pk)
            known = (card, on_card.get(card.pk, ()))
            if self._cards.get(card.pk) != known:
                self._cards[card.pk] = known
                view = self._views[card.pk] = cardviews.view(*known, values)
                self._keys[view.uuid] = card.pk
                self.scheduler.put_card(view)
        for key in left:
            self.scheduler.drop_card(self._views.pop(key).uuid)

    def _forget_gone(self, held: Held) -> set[str]:
        """The jobs of the attempts that hold nothing any more."""
        return {self._runs.pop(attempt)[0] for attempt in self._runs.keys() - held.keys()}

    def _moved(self, held: Held, touched: Collection[str]) -> set[int]:
        """The open attempts that are new, have other bookings, or are of jobs that have changed."""
        nothing: tuple[str, tuple[Booking, ...]] = ("", ())
        moved = set()
        for attempt, bookings in held.items():
            job, known = self._runs.get(attempt, nothing)
            if known != bookings or job in touched:
                moved.add(attempt)
        return moved

    def _put_runs(self, runs: Iterable[RunRow], held: Held, viewer: Viewer) -> None:
        uuids = {key: view.uuid for key, view in self._views.items()}
        for row in runs:
            self._runs[row.pk] = (row.job.pk, held[row.pk])
            self._withdraw(row.job.pk)
            self.scheduler.put_run(viewer.run(row, held[row.pk], uuids))

    def _put_jobs(
        self, touched: Iterable[str], waiting: Mapping[str, JobRow], viewer: Viewer
    ) -> None:
        holding = {job for job, _bookings in self._runs.values()}
        self._unsure = {job for job in waiting if job in holding}  # its end is not yet seen
        for job in sorted(touched):
            row = None if job in holding else waiting.get(job)
            if job not in holding:
                self.scheduler.drop_run(job)
            if row is None:
                self._withdraw(job)
            else:
                self.wait_codes[job] = row.wait_code
                self.scheduler.queue(viewer.job(row))

    def _withdraw(self, job: str) -> None:
        if self.wait_codes.pop(job, None) is not None:
            self.scheduler.withdraw(job)

    def _put_projects(self, now: datetime) -> None:
        """Those for which more than time has passed; usage ages by itself."""
        self.usage.refresh(now, self._values.rules.half_life, self._views)
        for row in projectviews.read(self.usage, self._people):
            if self._projects.get(row.view.slug) != row.state:
                self._projects[row.view.slug] = row.state
                self.scheduler.put_project(row.view, now.timestamp())

    # --- what time changes ---------------------------------------------------------------------------

    def _is_time_to_look(self, now: datetime) -> bool:
        if now - self._looked_at < self._look_every:
            return False
        self._looked_at = now
        return True

    def _note_expiries(self, viewer: Viewer, earlier: Mapping[str, Earlier]) -> None:
        for job, left_behind in earlier.items():
            at = left_behind.next_expiry(viewer.now, viewer.rules)
            if at is not None:
                self._expiries[job] = at

    def _expired(self, now: float) -> set[str]:
        """Jobs of which a preemption has become too old to count."""
        due = {job for job, at in self._expiries.items() if at <= now}
        for job in due:
            del self._expiries[job]
        return due

    def _check(self, now: datetime) -> None:
        """Count the queue once in a while: a change that left no event must not stay unseen."""
        if now - self._checked_at < CHECK_AGAIN:
            return
        self._checked_at = now
        queued = Job.objects.queued().count()
        known = len(self.wait_codes) + len(self._unsure)
        if queued != known and self._journal.is_current:
            log.warning("%d jobs are queued, but %d are known: reading all of them.", queued, known)
            self.reload(now)


@contextmanager
def _out_of_collection() -> Iterator[None]:
    """What is made here is kept for long: the garbage collector need not look at it again and again.

    With 100,000 waiting jobs it would cost a cycle 0.3 s each time.
    """
    was_on = gc.isenabled()
    gc.unfreeze()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
    if gc.get_count()[0] > _MANY_OBJECTS:
        gc.collect()
        gc.freeze()


def _frozen(grouped: Mapping[int, list[Booking]]) -> dict[int, tuple[Booking, ...]]:
    return {key: tuple(each) for key, each in grouped.items()}


def _jobs(runs: Iterable[RunRow]) -> list[JobRow]:
    return [row.job for row in runs]


def _queued_of_kinds(templates: Collection[str]) -> set[str]:
    """The queued jobs of these kinds."""
    if not templates:
        return set()
    return set(Job.objects.queued().filter(template__in=templates).values_list("pk", flat=True))
