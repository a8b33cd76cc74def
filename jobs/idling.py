"""Running jobs that do nothing, or hang: looked for once a minute, warned of, and suspended where the site wants that.

Safe to repeat and to kill at any point: each step is one guarded update together with its event row.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import transaction
from django.utils import timezone
from django.utils.translation import gettext as _

from gpus.models import Device, HolderReading, Reading
from jobs import lifecycle, records, rundir, sitesettings, suspension
from jobs.core.idleness import STILL, CardMinute, Sighting, Verdict, judge, may_be_suspended
from jobs.core.states import JobState, Reason
from jobs.core.units import DAY, HOUR, MINUTE, format_duration
from jobs.models import Attempt, Job, User
from jobs.notify.telling import warn_idle
from jobs.querysets import in_parts
from jobs.sitesettings import SiteSettings

SHORTEST_KEEP, USUAL_KEEP, LONGEST_KEEP = 10 * MINUTE, 2 * HOUR, 7 * DAY
"""Seconds for which a job's owner may let it do nothing."""

_LOGGING_STEPS = 500
"""Steps between two reports of a training that does not say: the default of transformers."""

_BAD = frozenset({Verdict.IDLE, Verdict.HANGS})


@dataclass(frozen=True, kw_only=True)
class Idle:
    """A warning that stands: for the page, the command line and the API."""

    kind: str  # idle or hangs
    since: datetime
    warned_at: datetime
    suspends_at: datetime | None  # None: it is only warned of
    can_suspend: bool

    @property
    def sentence(self) -> str:
        """What it does, and what follows."""
        lasting = format_duration(round((timezone.now() - self.since).total_seconds()))
        if self.kind == Verdict.HANGS:
            told = _("It seems to hang: no progress and nothing in its log for %(time)s.")
        else:
            told = _("Its cards have done nothing for %(time)s.")
        return f"{told % {'time': lasting}} {self._follows()}"

    def as_dict(self) -> dict[str, Any]:
        """The same as values for JSON."""
        return {
            "kind": self.kind,
            "since": self.since,
            "warned_at": self.warned_at,
            "suspends_at": self.suspends_at,
            "sentence": self.sentence,
        }

    def _follows(self) -> str:
        if self.suspends_at is not None:
            left = max(0, round((self.suspends_at - timezone.now()).total_seconds()))
            words = {"time": format_duration(left)}
            return _("It is suspended in %(time)s, unless it works again or is kept.") % words
        if not self.can_suspend:
            return _("It cannot give its cards back, so nothing is done about it.")
        return _("Nothing is done about it: this site only warns.")


def look(now: datetime) -> None:
    """Judge every job that has run for the whole window, and do what follows."""
    values = sitesettings.current()
    if values.idle_minutes is None:
        return
    window = timedelta(minutes=values.idle_minutes)
    attempts = list(
        Attempt.objects.open()
        .filter(job__state=JobState.RUNNING, stop_for="", started_at__lte=now - window)
        .select_related("job")
    )
    for attempt, sighting in _sightings(attempts, now, window.total_seconds()):
        _follow(attempt, sighting, values)


def keep(attempt: Attempt, user: User, seconds: float) -> bool:
    """Take a warning back, and give no other one for so long."""
    until = timezone.now() + timedelta(seconds=seconds)
    with transaction.atomic():
        kept = Attempt.objects.open().filter(pk=attempt.pk, stop_for="")
        if not kept.update(idle_kept_until=until, idle_kind="", idle_warned_at=None):
            return False
        words = {"time": format_duration(seconds)}
        detail = _("for %(time)s, whatever its cards do") % words
        data = {"until": until.isoformat()}
        records.note(attempt.job, attempt, "keep", data, actor=user, detail=detail)
    return True


def warning_of(
    job: Job, attempt: Attempt | None, values: SiteSettings | None = None
) -> Idle | None:
    """The warning that stands against a running job; None without one."""
    if attempt is None or attempt.ended_at or job.state != JobState.RUNNING:
        return None
    if not attempt.idle_kind or attempt.idle_warned_at is None or attempt.idle_since is None:
        return None
    if attempt.idle_warned_at < job.state_since:
        return None  # it was frozen meanwhile, and is judged anew
    can_suspend = suspension.way_of(job, attempt) is not suspension.Way.NONE
    return Idle(
        kind=attempt.idle_kind,
        since=attempt.idle_since,
        warned_at=attempt.idle_warned_at,
        suspends_at=_due(attempt.idle_warned_at, values or sitesettings.current())
        if can_suspend
        else None,
        can_suspend=can_suspend,
    )


def _due(warned_at: datetime, values: SiteSettings) -> datetime | None:
    if values.idle_action != "suspend" or values.idle_minutes is None:
        return None
    return warned_at + timedelta(minutes=values.idle_grace_minutes)


def _follow(attempt: Attempt, sighting: Sighting, values: SiteSettings) -> None:
    verdict, now = judge(sighting), _instant(sighting.now)
    if verdict is Verdict.WORKS and attempt.idle_kind:
        _clear(attempt)
    if verdict not in _BAD or (attempt.idle_kept_until and attempt.idle_kept_until > now):
        return
    standing = warning_of(attempt.job, attempt, values)
    if standing is None or standing.kind != verdict:
        _warn(attempt, verdict, sighting, values, first=standing is None)
    elif standing.suspends_at and standing.suspends_at <= now and may_be_suspended(sighting):
        _suspend(attempt, now)


def _warn(
    attempt: Attempt, verdict: Verdict, sighting: Sighting, values: SiteSettings, *, first: bool
) -> None:
    """The grace runs from the first warning, also where more is known later."""
    hangs = verdict is Verdict.HANGS
    lasting = sighting.stuck if hangs else sighting.window
    fields: dict[str, Any] = {"idle_kind": verdict.value}
    if first:
        now = _instant(sighting.now)
        fields |= {"idle_warned_at": now, "idle_since": now - timedelta(seconds=lasting)}
    with transaction.atomic():
        same = Attempt.objects.open().filter(
            pk=attempt.pk, stop_for="", idle_kind=attempt.idle_kind
        )
        if same.update(**fields):
            kind = "hang" if hangs else "idle"
            data = {"seconds": round(lasting), "log_silent_s": round(sighting.log_silent)}
            records.note(
                attempt.job, attempt, kind, data, detail=_told(sighting, lasting, hangs=hangs)
            )
            for name, value in fields.items():
                setattr(attempt, name, value)
            _tell_owner(attempt, values)


def _tell_owner(attempt: Attempt, values: SiteSettings) -> None:
    warning = warning_of(attempt.job, attempt, values)
    if warning is not None:
        warn_idle(attempt.job, since=warning.since, until=warning.suspends_at)


def _told(sighting: Sighting, lasting: float, *, hangs: bool) -> str:
    words = {
        "time": format_duration(round(lasting)),
        "silent": format_duration(round(sighting.log_silent)),
    }
    if hangs:
        return _("no progress for %(time)s, nothing in its log for %(silent)s") % words
    return (
        _("no kernel ran for %(time)s, its memory stayed the same, its log is %(silent)s old")
        % words
    )


def _clear(attempt: Attempt) -> None:
    with transaction.atomic():
        warned = Attempt.objects.open().filter(pk=attempt.pk, idle_kind=attempt.idle_kind)
        if warned.update(idle_kind="", idle_warned_at=None, idle_since=None):
            records.note(attempt.job, attempt, "busy", {})
    attempt.idle_kind = ""


def _suspend(attempt: Attempt, now: datetime) -> None:
    with transaction.atomic():
        if lifecycle.suspend(attempt.job, attempt, None, reason=Reason.IDLE):
            Attempt.objects.open().filter(pk=attempt.pk).update(idle_suspended_at=now)


def _sightings(
    attempts: Sequence[Attempt], now: datetime, window: float
) -> Iterator[tuple[Attempt, Sighting]]:
    """What was seen of each of them, in a number of queries that does not grow with the window."""
    readings = _Readings(attempts, now.timestamp(), window)
    for attempt in attempts:
        job, begun = attempt.job, attempt.started_at
        if begun is None:
            continue
        seen = job.progress.get("at")
        own = isinstance(seen, int | float) and seen >= begun.timestamp()
        yield (
            attempt,
            Sighting(
                now=now.timestamp(),
                window=window,
                running_since=max(begun, job.state_since).timestamp(),
                cards=job.gpus * job.nodes,
                minutes=readings.of(attempt),
                log_grew_at=_log_grew_at(attempt),
                progress_at=seen if own else None,
                report_every=_report_every(job),
            ),
        )


class _Readings:
    """The whole minutes of the window on the cards that these attempts hold."""

    def __init__(self, attempts: Iterable[Attempt], now: float, window: float) -> None:
        self._span = {"seconds": 60, "start__gte": now - window, "start__lte": now - 60}
        self._devices: dict[str, set[int]] = defaultdict(set)
        for part in in_parts([attempt.token for attempt in attempts]):
            rows = HolderReading.objects.filter(holder__in=part, **self._span)
            for holder, device in rows.values_list("holder", "device").distinct():
                self._devices[holder].add(device)
        cards = sorted({device for devices in self._devices.values() for device in devices})
        limits = Device.objects.filter(pk__in=cards, power_limit__gt=0)
        self._limits: Mapping[int, Any] = dict(limits.values_list("pk", "power_limit"))
        self._cards = {
            (row.device_id, row.start): row
            for row in Reading.objects.filter(device__in=cards, **self._span)
        }
        self._holders: dict[int, list[HolderReading]] = defaultdict(list)
        for part_row in HolderReading.objects.filter(device__in=cards, **self._span):
            self._holders[part_row.device_id].append(part_row)

    def of(self, attempt: Attempt) -> list[CardMinute]:
        """What one attempt did on each of its cards."""
        return [
            self._minute(row, alone=alone)
            for device in self._devices.get(attempt.token, ())
            for alone in [{each.holder for each in self._holders[device]} == {attempt.token}]
            for row in self._holders[device]
            if row.holder == attempt.token
        ]

    def _minute(self, row: HolderReading, *, alone: bool) -> CardMinute:
        card = self._cards.get((row.device_id, row.start))
        busy, power = row.busy_mean, None
        if card is not None:
            limit = self._limits.get(row.device_id)
            if alone and limit and card.power_mean is not None:
                power = card.power_mean / limit
            nobody_works = card.busy_mean is not None and card.busy_mean <= STILL
            if busy is None and (alone or nobody_works):
                busy = card.busy_mean
        return CardMinute(card=str(row.device_id), busy=busy, used=row.used_mean, power=power)


def _log_grew_at(attempt: Attempt) -> float | None:
    folder = rundir.attempt_directory(settings.COOP_HOME, attempt.job_id, attempt.number)
    try:
        status = (folder / rundir.LOG).stat()
    except OSError:
        return None
    return status.st_mtime if status.st_size else None


def _report_every(job: Job) -> float | None:
    """Seconds between two lines of its trainer log, by its own rate."""
    config, rate = job.spec.get("llamafactory"), job.progress.get("rate")
    if not isinstance(config, dict) or not isinstance(rate, int | float) or rate <= 0:
        return None
    steps = config.get("logging_steps", _LOGGING_STEPS)
    if not isinstance(steps, int) or isinstance(steps, bool) or steps < 1:
        return None  # a share of all steps
    return float(steps / rate)


def _instant(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
