"""Requests that come at the same moment."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier

import pytest
from django.db import connections

from jobs import queue
from jobs.models import IdempotentAnswer, Job
from tests.jobs.apicalls import Caller, a_task, by_token
from tests.rows import a_user

pytestmark = pytest.mark.django_db(transaction=True)

AT_ONCE = 8


def at_once(ask: Callable[[int], int]) -> list[int]:
    """What each of some threads gets that ask in the same instant."""
    start = Barrier(AT_ONCE)

    def one(number: int) -> int:
        try:
            start.wait(20)
            return ask(number)
        finally:
            connections.close_all()

    with ThreadPoolExecutor(AT_ONCE) as threads:
        return sorted(threads.map(one, range(AT_ONCE)))


def asker(first: Caller) -> Callable[[], Caller]:
    """The same account for each thread, with a client of its own."""
    return lambda: Caller(dict(first.headers))


def test_one_key_sent_many_times_at_once_makes_one_job_and_one_answer() -> None:
    queue.forget()
    new = asker(by_token(a_user()))

    def ask(_number: int) -> int:
        return new().post("/api/v1/jobs", a_task(), Idempotency_Key="k").status_code

    assert at_once(ask) == [201] * AT_ONCE
    assert Job.objects.count() == 1
    assert IdempotentAnswer.objects.count() == 1


def test_one_task_sent_many_times_at_once_is_made_once_and_found_by_the_others() -> None:
    queue.forget()
    new = asker(by_token(a_user()))

    def ask(_number: int) -> int:
        return new().post("/api/v1/jobs", a_task()).status_code

    assert at_once(ask) == [200] * (AT_ONCE - 1) + [201]
    assert Job.objects.count() == 1


def test_many_contents_under_one_task_id_at_once_make_one_job_and_refusals() -> None:
    queue.forget()
    new = asker(by_token(a_user()))

    def ask(number: int) -> int:
        return new().post("/api/v1/jobs", a_task(says=f"number {number}")).status_code

    assert at_once(ask) == [201] + [409] * (AT_ONCE - 1)
    assert Job.objects.count() == 1
