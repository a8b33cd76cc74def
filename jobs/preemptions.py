"""Preemptions told to people: for which job, why, and what work is done again.

Who may not see the other job reads "another project's job", without name and id.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from django.db.models import QuerySet
from django.utils.functional import Promise
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from jobs.core.plan import PreemptionRule
from jobs.core.units import format_duration
from jobs.models import Job, JobEvent

TOLD, DONE = "preempt", "requeue"
"""The kinds of event rows: a job was told to make room; it has, and waits again."""

_RULES: dict[str, Promise] = {
    PreemptionRule.RECLAIM: gettext_lazy("its project is below its guarantee"),
    PreemptionRule.PRIORITY: gettext_lazy("higher priority"),
    PreemptionRule.SERVICE: gettext_lazy("it has had less service so far"),
    PreemptionRule.PATIENCE: gettext_lazy("it has waited too long"),
    PreemptionRule.PRESSURE: gettext_lazy("the memory of their card was not enough for both"),
    PreemptionRule.PACKING: gettext_lazy("together on one card they got less done than one alone"),
}


@dataclass(frozen=True, kw_only=True)
class Preemption:
    """One preemption as one viewer may know it."""

    beneficiary: str | None  # the other job's public id; None: not for this viewer, or not known
    name: str  # of the other job, or what stands for it
    rule: str  # a `PreemptionRule`
    lost: float  # GPU-seconds of work that is done again
    cards: int  # that the job gave up
    expected: bool  # `lost` is what was expected; the processes are not gone yet

    @property
    def sentence(self) -> str:
        """For whom, why, and what is done again."""
        words = {"job": self.name, "rule": _RULES.get(self.rule, self.rule), "work": self._work}
        if self.lost < 1:
            return _("Preempted for %(job)s (%(rule)s); no work will be repeated.") % words
        if self.expected:
            return _("Preempted for %(job)s (%(rule)s); about %(work)s will be repeated.") % words
        return _("Preempted for %(job)s (%(rule)s); %(work)s will be repeated.") % words

    @property
    def _work(self) -> str:
        time = format_duration(self.lost / self.cards)
        if self.cards == 1:
            return _("%(time)s of work") % {"time": time}
        return _("%(time)s of work on %(cards)s cards") % {"time": time, "cards": self.cards}


def told(events: Iterable[JobEvent], visible: QuerySet[Job]) -> dict[int, Preemption]:
    """What these event rows say of preemptions, by row number; `visible`: the jobs that the viewer may see."""
    found = [event for event in events if event.kind in {TOLD, DONE}]
    ids = {str(event.data.get("beneficiary", "")) for event in found}
    known = visible.in_bulk(ids) if ids else {}
    hidden = set(Job.objects.filter(pk__in=ids - known.keys()).values_list("pk", flat=True))
    return {event.pk: _preemption(event, known, hidden) for event in found}


def _preemption(event: JobEvent, known: Mapping[str, Job], hidden: set[str]) -> Preemption:
    beneficiary = str(event.data.get("beneficiary", ""))
    removed = _("a job that has been removed since")
    name = _("another project's job") if beneficiary in hidden else removed
    return Preemption(
        beneficiary=beneficiary if beneficiary in known else None,
        name=str(known[beneficiary]) if beneficiary in known else name,
        rule=str(event.data.get("rule", "")),
        lost=float(event.data.get("lost") or 0.0),
        cards=event.job.gpus * event.job.nodes,
        expected=event.kind == TOLD,
    )
