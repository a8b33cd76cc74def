"""The world of the article's table: one A100-80G, what is handed in, and what comes of it."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import astuple, dataclass, fields
from random import Random
from statistics import mean, stdev

from benchmarks.articleways import MORNING, Spell, Way
from jobs.core.scheduling.rules import DAY, HOUR, Rules
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.fleet_spec import parse_fleet
from jobs.core.simulation.simulator import simulate
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.units import GIB

CARD = "1x1xA100-80G"
CARD_BYTES = 80 * GIB


@dataclass(frozen=True, kw_only=True, slots=True)
class World:
    """What is handed in, and what jobs gain by sharing. The defaults are the calibrated ones: docs/article.md."""

    jobs_a_day: float = 26.0
    hours: float = 4.8  # that a job works alone, the mean of a lognormal distribution
    spread: float = 0.6  # sigma of that distribution
    demand: tuple[float, float] = (0.20, 0.40)  # part of the multiprocessors, from a range
    working_set: tuple[float, float] = (9.0, 18.0)  # GiB that a job needs, from a range
    overlap: float = 0.28  # beta of the slowdown: jobs/core/simulation/slowdown.py
    suspendable: bool = False  # whether jobs can be suspended, which then costs 120 s


@dataclass(frozen=True, kw_only=True, slots=True)
class Figures:
    """What came out of one run, or the mean of some."""

    parallel: float  # jobs on the card, over the days in which jobs are handed in
    jobs_a_day: float  # that were done in these days
    memory: float  # % of the card that jobs hold in these days
    service: float  # hours that a job holds the card, mean of all
    completion: (
        float  # hours from submit to end, mean of all; the run goes on until the last is done
    )
    preemptions: float  # of a job, mean of all


@dataclass(frozen=True, kw_only=True, slots=True)
class Asked:
    """One run to be made."""

    world: World
    way: Way
    days: int
    seed: int


def handed_in(world: World, way: Way, days: int, seed: int) -> list[WorkloadJob]:
    """The jobs of so many days. Seed and world alone say who comes when and for how long, whatever the way."""
    random = Random(seed)
    number = round(world.jobs_a_day * days)
    times = sorted(_daytime(random, days) for _ in range(number))
    return [_job(world, way, random, f"job-{place:05}", at) for place, at in enumerate(times)]


def _daytime(random: Random, days: int) -> float:
    return random.randrange(days) * DAY + random.uniform(MORNING, DAY)


def _job(world: World, way: Way, random: Random, name: str, at: float) -> WorkloadJob:
    middle = math.log(world.hours) - world.spread**2 / 2  # so that the mean is `hours`
    hours = random.lognormvariate(middle, world.spread)
    demand = random.uniform(*world.demand)
    held = way.footprint * random.uniform(*world.working_set)
    return WorkloadJob(
        id=name,
        submit=at,
        duration=hours * HOUR,
        memory=math.ceil(held) * GIB,  # people ask for whole GiB
        sm_share=demand,
    )


def run(asked: Asked) -> Figures:
    """Make one run, to the end of its last job."""
    jobs = handed_in(asked.world, asked.way, asked.days, asked.seed)
    conditions = Conditions(
        mode=asked.way.mode,
        overlap=asked.world.overlap,
        all_preemptible=asked.world.suspendable,
    )
    scheduler = asked.way.scheduler(Rules())
    rows = simulate(jobs, parse_fleet(CARD), scheduler, conditions).rows
    window = asked.days * DAY
    held = _inside(scheduler.spells, window)
    return Figures(
        parallel=math.fsum(seconds for _spell, seconds in held) / window,
        jobs_a_day=sum(row.end <= window for row in rows if row.end is not None) / asked.days,
        memory=100 * sum(spell.memory * seconds for spell, seconds in held) / window / CARD_BYTES,
        service=sum(spell.end - spell.start for spell in scheduler.spells) / len(jobs) / HOUR,
        completion=mean(row.jct for row in rows if row.jct is not None) / HOUR,
        preemptions=mean(row.preemptions for row in rows),
    )


def _inside(spells: Iterable[Spell], window: float) -> list[tuple[Spell, float]]:
    """How many of the first `window` seconds each spell took."""
    return [(spell, max(0.0, min(spell.end, window) - spell.start)) for spell in spells]


def means(runs: Sequence[Figures]) -> Figures:
    """The mean of each figure."""
    return _each(runs, mean)


def spreads(runs: Sequence[Figures]) -> Figures:
    """The standard deviation of each figure over the runs; zero for one run."""
    return _each(runs, lambda values: stdev(values) if len(values) > 1 else 0.0)


def _each(runs: Sequence[Figures], what: Callable[[list[float]], float]) -> Figures:
    columns = zip(*map(astuple, runs), strict=True)
    names = (field.name for field in fields(Figures))
    return Figures(**{name: what([*column]) for name, column in zip(names, columns, strict=True)})
