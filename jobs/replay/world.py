"""The site as it is now, and as a question would have it: cards, projects and rules for a replay. Reads only."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime
from itertools import count
from types import MappingProxyType
from typing import Any

from django.conf import settings

from jobs import cardviews, projectviews, sitesettings
from jobs.cardviews import Card
from jobs.core.policies import SHIPPED
from jobs.core.policy import BadOrder, BasePolicy
from jobs.core.replay.playing import Setting
from jobs.core.scheduling.rules import Rules
from jobs.core.simulation.fleet_spec import Machines
from jobs.core.snapshot import DeviceView, JobView, Limits, ProjectView, UserView
from jobs.policies.loading import PolicyFailed
from jobs.policies.process import PolicyProcess
from jobs.policies.runner import MOST_TASKS, Patience
from jobs.policies.source import PolicyRefused, examine, source_of
from jobs.replay import question as asked
from jobs.replay.question import AMOUNTS, Question
from jobs.sitesettings import SiteSettings
from jobs.usage import PastUsage

Used = Mapping[str, Mapping[str, float]]
"""Weighted GPU-seconds by project and person."""


@dataclass(frozen=True, kw_only=True)
class Site:
    """What does not depend on the question."""

    values: SiteSettings
    cards: tuple[Card, ...]  # those in service
    out_of_service: int

    @classmethod
    def read(cls, now: datetime) -> Site:
        """The site now. What is on the cards at the moment, and how old their readings are, does not matter."""
        every = cardviews.cards(now)
        clean: dict[str, Any] = {"used": 0, "foreign": 0, "fault": "", "is_fresh": True}
        return cls(
            values=sitesettings.current(),
            cards=tuple(card._replace(**clean) for card in every if not card.drained),
            out_of_service=sum(card.drained for card in every),
        )

    def views(self) -> dict[int, DeviceView]:
        """The cards by the keys of their rows."""
        return {card.pk: cardviews.view(card, (), self.values) for card in self.cards}


class OwnPolicy(BasePolicy):
    """A policy of the site in a process of its own, asked and waited for: a replay has the time."""

    def __init__(self, process: PolicyProcess, limit: float) -> None:
        self._process, self._limit = process, limit
        self.problem = ""  # the last one; goes on from "The policy X"

    def schedule(self, tasks: list[JobView]) -> list[JobView]:
        """Ask it about the first of the tasks, as the service does; the others follow."""
        first, rest = tasks[:MOST_TASKS], tasks[MOST_TASKS:]
        by_id = {task.id: task for task in first}
        try:
            ids = self._process.order(first, self.now, self._limit) if first else []
        except PolicyFailed as failed:
            self.problem = str(failed)
            raise BadOrder(self.problem) from failed
        return [*(by_id[each] for each in ids), *rest]


def now_setting(site: Site, used: Used, suspend_seconds: float) -> Setting:
    """The site as it is, without its policy."""
    return _setting(site.values, _views(site.cards, site.values), _projects(used), suspend_seconds)


def changed_setting(site: Site, used: Used, question: Question) -> tuple[Setting, SiteSettings]:
    """The site as the question would have it, without its policy; and the settings that would hold."""
    values = replace(site.values, **question.settings)
    machines = list(asked.fleet(question.fleet)) if question.fleet else []
    kept = () if question.fleet else site.cards
    machines += [machine for _count, machine in map(asked.added, question.add)]
    views = _views((*kept, *_new_cards(machines, site)), values)
    projects = {
        slug: _changed(view, question.projects.get(slug, {}))
        for slug, view in _projects(used).items()
    }
    return _setting(values, views, projects, question.suspend_seconds), values


@contextmanager
def policy_of(values: SiteSettings, rules: Rules) -> Iterator[BasePolicy | None]:
    """The policy that these settings name, loaded; None for the default order.

    Raises:
        PolicyFailed: it cannot be used.
    """
    try:
        source = source_of(values.policy, settings.BASE_DIR)
        examine(source)
    except PolicyRefused as refused:
        raise PolicyFailed(f"cannot be used: {refused}") from refused
    if source.file is None:
        yield None if source.is_default else SHIPPED[source.name]()
        return
    process, patience = PolicyProcess(source), Patience()
    try:
        process.load(rules, patience.load)
        yield OwnPolicy(process, patience.call)
    finally:
        process.end()


def _setting(
    values: SiteSettings,
    views: tuple[DeviceView, ...],
    projects: Mapping[str, ProjectView],
    suspend_seconds: float,
) -> Setting:
    return Setting(
        cards=views,
        projects=projects,
        rules=values.rules,
        max_workers=values.max_workers,
        suspend_seconds=suspend_seconds,
    )


def _views(cards: tuple[Card, ...], values: SiteSettings) -> tuple[DeviceView, ...]:
    return tuple(cardviews.view(card, (), values) for card in cards)


def _new_cards(machines: list[Machines], site: Site) -> Iterator[Card]:
    """Cards in the site's mode; one like a card of the site costs as much as that."""
    weights = {card.name: card.weight for card in site.cards}
    numbers = count(1)
    for kind in machines:
        for number in (next(numbers) for _each in range(kind.count)):
            for place in range(kind.gpus):
                yield Card(
                    pk=0,
                    uuid=f"new-{number}-gpu{place}",
                    node=f"new-{number}",
                    place=place,
                    name=kind.model,
                    total=kind.memory,
                    mode="",
                    weight=weights.get(kind.model, 1.0),
                    drained=False,
                    drain_reason="",
                    used=0,
                    foreign=0,
                    fault="",
                    is_fresh=True,
                )


def _projects(used: Used) -> dict[str, ProjectView]:
    """The projects with their quotas of now, and what they had used when the period began."""
    rows = projectviews.read(PastUsage())
    return {row.view.slug: _with_usage(row.view, used.get(row.view.slug, {})) for row in rows}


def _with_usage(view: ProjectView, used: Mapping[str, float]) -> ProjectView:
    """Hours of a calendar month are not replayed: a replay spans several."""
    people = {
        name: UserView(
            name=name,
            limit=_without_hours(view.users[name].limit) if name in view.users else Limits(),
            usage=used.get(name, 0.0),
        )
        for name in sorted({*view.users, *used})
    }
    return replace(
        view,
        limit=_without_hours(view.limit),
        guarantee=_without_hours(view.guarantee),
        usage=sum(used.values()),
        users=MappingProxyType(people),
    )


def _without_hours(limits: Limits) -> Limits:
    return replace(limits, gpu_hours_month=None)


def _changed(view: ProjectView, wanted: Mapping[str, Any]) -> ProjectView:
    weight = wanted.get("weight")
    return replace(
        view,
        weight=view.weight if weight is None else weight,
        limit=_amounts(view.limit, wanted.get("limit") or {}),
        guarantee=_amounts(view.guarantee, wanted.get("guarantee") or {}),
    )


def _amounts(limits: Limits, wanted: Mapping[str, int | None]) -> Limits:
    changes: dict[str, Any] = {AMOUNTS[name]: amount for name, amount in wanted.items()}
    return replace(limits, **changes)
