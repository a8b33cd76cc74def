"""The order of waiting jobs: the default, what a site's own policy may answer, and the policies that are shipped."""

from __future__ import annotations

import inspect
import itertools
import time
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from jobs.core.policies import SHIPPED
from jobs.core.policy import BasePolicy, Order, ask, ordered
from jobs.core.scheduling.rules import HOUR, Rules
from jobs.core.states import Priority
from tests.builders import evolve, job, queue_of
from tests.sources import ROOT

SATURDAY = datetime(2027, 1, 16, 12, tzinfo=UTC).timestamp()
MONDAY = datetime(2027, 1, 18, 12, tzinfo=UTC).timestamp()


def names(order: Order) -> list[str]:
    return [each.task_id for each in order.jobs]


def order_by(name: str, *jobs, now: float = MONDAY) -> list[str]:
    found = ordered(jobs, SHIPPED[name](), now=now)
    assert found.problem == ""
    return names(found)


# --- the default ------------------------------------------------------------------------------------


def test_of_equal_priority_who_came_first_is_first():
    assert names(ordered([job("late", at=60), job("early")])) == ["early", "late"]


@pytest.mark.parametrize(("hours", "first"), [(11.9, "urgent"), (12.1, "old")])
def test_a_step_of_priority_is_worth_twelve_hours_of_waiting(hours, first):
    old = job("old", at=-hours * HOUR)
    urgent = job("urgent", priority=Priority.HIGH)
    assert names(ordered([old, urgent]))[0] == first


def test_the_head_start_is_that_of_the_rules():
    policy = BasePolicy()
    policy.rules = Rules(head_start=HOUR)
    old, urgent = job("old", at=-2 * HOUR), job("urgent", priority=Priority.HIGH)
    assert names(ordered([urgent, old], policy)) == ["old", "urgent"]


def test_jobs_of_the_same_instant_have_one_order_however_they_come():
    jobs = [job("a"), job("b"), job("c")]
    orders = {tuple(names(ordered(each))) for each in itertools.permutations(jobs)}
    assert orders == {("a", "b", "c")}


# --- a policy of one's own --------------------------------------------------------------------------


class Answers(BasePolicy):
    def __init__(self, answer):
        self.answer = answer

    def schedule(self, tasks):
        return self.answer(tasks)


def endless(tasks):
    while True:
        yield from tasks


class Unshowable:
    def __repr__(self):
        raise ZeroDivisionError


def fail(_tasks):
    raise RuntimeError("no luck")


JOBS = queue_of(job("a"), job("b"))


@pytest.mark.parametrize(
    "answer",
    [
        lambda tasks: tasks[::-1],
        lambda tasks: tuple(reversed(tasks)),
        lambda tasks: (each for each in reversed(tasks)),
        lambda tasks: {each.id: each for each in reversed(tasks)}.values(),
        lambda tasks: [tasks.pop(), tasks.pop()],
    ],
)
def test_any_way_of_listing_the_tasks_is_an_order(answer):
    order = ordered(JOBS, Answers(answer))
    assert (names(order), order.problem) == (["b", "a"], "")


@pytest.mark.parametrize(
    ("answer", "said"),
    [
        (
            lambda tasks: tasks.sort(key=lambda t: t.id),
            "returned None instead of its tasks in their order",
        ),
        (lambda tasks: 7, "returned 7 (int) instead of its tasks"),
        (lambda tasks: "ab", "returned 'ab' (str) instead of its tasks"),
        (lambda tasks: ["a", "b"], "returned 'a' (str), which is not one of its tasks"),
        (lambda tasks: [Unshowable(), tasks[0]], "returned a value (Unshowable), which is not"),
        (lambda tasks: [*tasks[1:], job("invented")], "returned 1 tasks that it was not given"),
        (
            lambda tasks: [evolve(each, est_time=1) for each in tasks],
            "returned 2 tasks that it was not",
        ),
        (lambda tasks: tasks[1:], "left out 1 of 2 tasks"),
        (lambda tasks: [], "left out 2 of 2 tasks"),
        (lambda tasks: [tasks[0], tasks[0]], "returned 1 tasks more than once"),
        (endless, "returned 1 tasks more than once"),
        (fail, "raised RuntimeError: no luck"),
    ],
)
def test_anything_else_is_reported_and_the_default_order_holds(answer, said):
    order = ordered(JOBS, Answers(answer))
    assert names(order) == ["a", "b"]
    assert order.problem.startswith(f"The policy Answers {said}")
    assert order.problem.endswith(". The default order is used.")


@given(st.permutations(range(4)) | st.lists(st.integers(0, 6), max_size=6))
def test_whatever_is_returned_each_job_has_one_place(places):
    jobs = queue_of(*(job(f"job-{place}") for place in range(4)))
    anything = [*jobs, job("stranger"), "job-1", None]
    order = ordered(jobs, Answers(lambda _: [anything[place] for place in places]))
    assert sorted(names(order)) == [each.id for each in jobs]
    assert (order.problem == "") == (sorted(places) == [0, 1, 2, 3])


def test_a_policy_that_sorts_by_one_thing_leaves_the_rest_in_the_default_order():
    jobs = [job("late", at=9), job("urgent", priority=Priority.HIGH), job("early")]
    order = ordered(jobs, Answers(lambda tasks: sorted(tasks, key=lambda t: t.gpus)))
    assert names(order) == ["urgent", "early", "late"]


def test_a_policy_is_told_the_instant():
    policy = Answers(lambda tasks: tasks)
    ask(policy, JOBS, now=SATURDAY)
    assert policy.now == SATURDAY
    assert policy.local_time.timestamp() == SATURDAY


def test_the_tasks_cannot_be_changed():
    def change(tasks):
        tasks[0].priority = Priority.HIGH

    assert "raised FrozenInstanceError" in ordered(JOBS, Answers(change)).problem


# --- the policies that are shipped ------------------------------------------------------------------


def test_fifo_ignores_priorities():
    assert order_by("fifo", job("late", at=9, priority=Priority.HIGH), job("early")) == [
        "early",
        "late",
    ]


def test_shortest_first_puts_unknown_times_last():
    jobs = [
        job("unknown", priority=Priority.HIGH),
        job("day", est_time=86400),
        job("learned", est_time=86400, expected_run=60),
        job("hour", est_time=3600),
    ]
    assert order_by("shortest-first", *jobs) == ["learned", "hour", "day", "unknown"]


def test_long_jobs_are_first_at_weekends_only():
    jobs = [job("hour", est_time=3600), job("unknown", at=1), job("day", at=2, est_time=86400)]
    assert order_by("weekend-long-first", *jobs, now=SATURDAY) == ["day", "hour", "unknown"]
    assert order_by("weekend-long-first", *jobs, now=MONDAY) == ["hour", "unknown", "day"]


def test_the_weekend_is_that_of_the_machine(monkeypatch):
    jobs = [job("hour", est_time=3600), job("day", at=2, est_time=86400)]
    sunday_evening_in_london = datetime(2027, 1, 17, 20, tzinfo=UTC).timestamp()
    found = {}
    for zone in ("Europe/London", "Asia/Shanghai"):
        monkeypatch.setenv("TZ", zone)
        time.tzset()
        found[zone] = order_by("weekend-long-first", *jobs, now=sunday_evening_in_london)[0]
    monkeypatch.undo()
    time.tzset()
    assert found == {"Europe/London": "day", "Asia/Shanghai": "hour"}


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_no_shipped_policy_stumbles_over_many_jobs(name):
    jobs = [
        job(f"job-{i}", at=i % 7, priority=Priority(i % 3), est_time=float("inf") if i % 5 else i)
        for i in range(300)
    ]
    for now in (MONDAY, SATURDAY):
        assert sorted(order_by(name, *jobs, now=now)) == sorted(each.id for each in jobs)


@pytest.mark.parametrize("name", sorted(SHIPPED))
def test_the_page_shows_the_code_of_every_shipped_policy(name):
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    assert f"`{name}`" in page
    if name != "default":
        source = inspect.getsource(SHIPPED[name])
        assert (
            "".join(f"    {line}\n" if line else "\n" for line in source.split("\n")[:-1]) in page
        )


def test_the_page_names_all_shipped_policies_and_no_other():
    page = (ROOT / "docs" / "policies.md").read_text(encoding="utf-8")
    rows = [
        line.split("`")[1]
        for line in page.splitlines()
        if line.startswith("| `") and "-line" not in line
    ]
    assert set(SHIPPED) <= set(rows)
