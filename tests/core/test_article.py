"""The article's table, simulated on the production scheduler: its order, its bars, and who it is compared with."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from xml.etree import ElementTree as ET

import pytest

from benchmarks.article import ARTICLE, COLUMNS, SATURATING, middle, problems
from benchmarks.articlechart import chart
from benchmarks.articleways import (
    FIRST_COME,
    QUEUE,
    QUEUE_UNLEARNED,
    SHARDING,
    SHARDING_UNLEARNED,
    WAYS,
    FirstCome,
)
from benchmarks.articleworld import Asked, Figures, World, handed_in, run
from jobs.core.simulation.conditions import Conditions
from jobs.core.simulation.fleet_spec import parse_fleet
from jobs.core.simulation.simulator import simulate
from jobs.core.simulation.workload import WorkloadJob
from jobs.core.units import GIB

DAYS = 6
HOUR = 3600.0
CALIBRATED = World()


@cache
def figures(way, seed, world=CALIBRATED) -> Figures:
    return run(Asked(world=world, way=way, days=DAYS, seed=seed))


# --- the table ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("column", COLUMNS)
def test_first_come_is_below_the_queue_and_the_queue_below_sharding(column, seed):
    first, queue, sharding = (getattr(figures(way, seed), column) for way in WAYS)
    assert first < queue < sharding


@pytest.mark.parametrize("seed", range(3))
def test_sharding_does_twice_the_jobs_of_first_come_in_much_less_time(seed):
    first, sharding = figures(FIRST_COME, seed), figures(SHARDING, seed)
    assert sharding.jobs_a_day >= 2 * first.jobs_a_day
    assert sharding.completion <= 0.6 * first.completion


def test_the_same_seed_gives_the_same_figures():
    asked = Asked(world=World(), way=SHARDING, days=2, seed=1)
    assert run(asked) == run(asked)
    assert run(asked) != run(replace(asked, seed=2))


def test_all_ways_are_handed_the_same_work():
    first, sharding = (handed_in(World(), way, 3, 0) for way in (FIRST_COME, SHARDING))
    assert [replace(job, memory=0) for job in first] == [replace(job, memory=0) for job in sharding]
    assert all(9 * GIB <= job.memory <= 18 * GIB for job in sharding)
    assert all(19 * GIB < job.memory <= 40 * GIB for job in first)  # 2.2 times as much


@pytest.mark.parametrize("overlap", [0.28, 0.0])
def test_sharding_loses_to_the_queue_with_saturating_jobs_of_unknown_demand(overlap):
    world = replace(SATURATING, overlap=overlap)
    queue, sharding = (figures(way, 0, world) for way in (QUEUE_UNLEARNED, SHARDING_UNLEARNED))
    assert sharding.completion > queue.completion
    assert sharding.memory > queue.memory  # a fuller card is no faster card


def test_saturating_jobs_of_known_demand_run_one_at_a_time():
    queue, sharding = (figures(way, 0, SATURATING) for way in (QUEUE, SHARDING))
    assert sharding.parallel <= 1
    assert sharding.completion == queue.completion


# --- first come --------------------------------------------------------------------------------------


def by_hand(*jobs: WorkloadJob) -> dict[str, float | None]:
    """When each job starts (hours) if people start them."""
    found = simulate(jobs, parse_fleet("1x1xA100-80G"), FirstCome(), Conditions())
    return {row.job_id: row.start and row.start / HOUR for row in found.rows}


def job(name: str, at: float, hours: float, gib: int) -> WorkloadJob:
    return WorkloadJob(
        id=name, submit=at * HOUR, duration=hours * HOUR, memory=gib * GIB, sm_share=0.3
    )


def test_by_hand_nothing_starts_at_night():
    assert by_hand(job("late", 24.5, 1, 20), job("early", 32.5, 1, 20)) == {
        "late": 32,
        "early": 32.5,
    }


def test_by_hand_at_most_two_run_at_once():
    three = [job(name, 9, 2, 10) for name in ("a", "b", "c")]
    started = by_hand(*three)
    assert (started["a"], started["b"]) == (9, 9)
    assert started["c"] == pytest.approx(9 + 2 / 0.98)


def test_by_hand_nobody_passes_who_does_not_fit():
    started = by_hand(job("large", 9, 2, 60), job("wide", 9, 1, 30), job("small", 9, 1, 10))
    assert started["wide"] == started["small"] == 11


# --- bars and picture --------------------------------------------------------------------------------

AS_PUBLISHED = {
    name: Figures(
        **{column: middle(said) for column, said in columns.items()},
        service=1.0,
        completion=10.0 if name == FIRST_COME.name else 6.0,
        preemptions=0.0,
    )
    for name, columns in ARTICLE.items()
}


def test_the_articles_own_figures_miss_no_bar():
    assert problems(AS_PUBLISHED) == []


@pytest.mark.parametrize(
    ("way", "changed", "told"),
    [
        (SHARDING, {"jobs_a_day": 16.0}, []),
        (SHARDING, {"jobs_a_day": 15.0}, ["jobs_a_day: not in", "dynamic sharding, jobs_a_day: -16.7%", "less than 2"]),
        (SHARDING, {"completion": 6.1}, ["less than 40%"]),
        (QUEUE, {"memory": 60.0}, ["smart queue, memory: -26.8%"]),
        (QUEUE, {"parallel": 6.0}, ["parallel: not in", "smart queue, parallel: +71.4%"]),
    ],
)  # fmt: skip
def test_what_misses_a_bar_is_told(way, changed, told):
    found = problems(AS_PUBLISHED | {way.name: replace(AS_PUBLISHED[way.name], **changed)})
    assert len(found) == len(told)
    assert all(part in problem for part, problem in zip(told, found, strict=True))


def test_the_picture_says_in_words_what_it_shows():
    bars = {"first <come>": ((1, 2), 1.55), "queue": ((3, 3), 3.04)}
    root = ET.fromstring(chart({"parallel": ("parallel", bars)}, 8, 40))
    texts = [each.text for each in root.iter() if each.text]
    assert "parallel: first <come>, article 1-2, here 1.6; queue, article 3, here 3.0." in texts
    assert {"1-2", "1.6", "3", "3.0"} <= set(texts)
    assert "prefers-color-scheme: dark" in "".join(texts)
