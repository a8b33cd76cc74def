"""`/jobs/<id>/...`: log, events, readings, why."""

from __future__ import annotations

import pytest
from django.conf import settings as site
from django.core.cache import cache
from django.utils import timezone

from gpus.models import HolderReading
from jobs import heartbeats, lifecycle, queue, rundir
from jobs.api import history
from jobs.api.schemas import EventsOut, ReadingsOut
from jobs.api.whyschemas import WhyDetailOut
from jobs.core.ending import Ending
from jobs.core.states import Outcome, Reason
from tests.jobs.apicalls import by_token, fits, problem
from tests.rows import GIB, a_device, a_job, a_running_job, a_user

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def nothing_remembered():
    queue.forget()
    cache.clear()


@pytest.fixture
def member():
    return by_token(a_user("member"))


@pytest.fixture
def running():
    return a_running_job(device=a_device(), memory=60 * GIB)


def write_log(job, attempt, content: bytes) -> None:
    folder = rundir.attempt_directory(site.COOP_HOME, job.pk, attempt.number)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / rundir.LOG).write_bytes(content)


def log(caller, job, query=""):
    response = caller.get(f"/api/v1/jobs/{job.pk}/log{query}")
    assert response.status_code == 200, response.content
    return response


def finish(attempt) -> None:
    ending = Ending(outcome=Outcome.SUCCEEDED, reason=Reason.COMPLETED, detail="done", exit_code=0)
    assert lifecycle.finish(attempt, ending)


def test_a_log_is_plain_text_that_goes_on_by_offset(member, running):
    job, attempt = running
    write_log(job, attempt, b"one\ntwo\n")
    first = log(member, job)
    assert first.content == b"one\ntwo\n"
    assert first["Content-Type"] == "text/plain; charset=utf-8"
    assert first["X-Content-Type-Options"] == "nosniff"
    assert (first["X-Next-Offset"], first["X-Attempt"], first["X-Log-Complete"]) == (
        "8",
        "1",
        "false",
    )
    write_log(job, attempt, b"one\ntwo\nthree\n")
    assert log(member, job, "?offset=8").content == b"three\n"
    assert log(member, job, "?offset=14").content == b""


def test_a_log_of_an_ended_attempt_says_that_it_is_complete(member, running):
    job, attempt = running
    write_log(job, attempt, b"all\n")
    finish(attempt)
    assert log(member, job)["X-Log-Complete"] == "true"
    assert log(member, job)["X-Job-State"] == "SUCCEEDED"


def test_a_long_log_comes_in_parts_and_is_complete_at_the_last(member, running, monkeypatch):
    monkeypatch.setattr(history, "LARGEST_PART", 4)
    job, attempt = running
    write_log(job, attempt, b"123456")
    finish(attempt)
    first = log(member, job)
    assert (first.content, first["X-Log-Complete"]) == (b"1234", "false")
    last = log(member, job, "?offset=4")
    assert (last.content, last["X-Log-Complete"]) == (b"56", "true")


@pytest.mark.parametrize(
    ("lines", "expected"),
    [(0, b""), (1, b"c\n"), (2, b"b\nc\n"), (3, b"a\nb\nc\n"), (99, b"a\nb\nc\n")],
)
def test_the_tail_is_the_last_lines(member, running, lines, expected):
    job, attempt = running
    write_log(job, attempt, b"a\nb\nc\n")
    response = log(member, job, f"?tail={lines}")
    assert (response.content, response["X-Next-Offset"]) == (expected, "6")


def test_the_tail_of_a_log_without_a_last_line_end_counts_that_line(member, running):
    job, attempt = running
    write_log(job, attempt, b"a\nb\nhalf")
    assert log(member, job, "?tail=2").content == b"b\nhalf"


def test_a_job_that_has_not_run_has_an_empty_log(member):
    response = log(member, a_job())
    assert (response.content, response["X-Attempt"], response["X-Log-Complete"]) == (
        b"",
        "0",
        "false",
    )


def test_a_job_that_never_ran_and_never_will_has_a_complete_log(member):
    job = a_job()
    lifecycle.cancel(job, job.owner)
    assert log(member, job)["X-Log-Complete"] == "true"


def test_an_attempt_that_there_is_not_is_not_found(member, running):
    job, _attempt = running
    problem(member.get(f"/api/v1/jobs/{job.pk}/log?attempt=7"), 404, "not_found")
    problem(member.get(f"/api/v1/jobs/{job.pk}/log?offset=-1"), 422, "request_invalid")


def test_the_history_is_told_in_order_with_who_did_it(member, running):
    job, attempt = running
    finish(attempt)
    body = fits(EventsOut, member.get(f"/api/v1/jobs/{job.pk}/events"))
    kinds = [event["kind"] for event in body["items"]]
    assert kinds[:3] == ["submit", "start", "run"]
    assert body["items"][0]["actor"] == "member"
    assert body["items"][1]["actor"] is None
    assert body["items"][-1]["new_state"] == "SUCCEEDED"


def test_the_history_goes_page_by_page(member, running):
    job, _attempt = running
    first = member.get(f"/api/v1/jobs/{job.pk}/events?limit=2").json()
    second = member.get(
        f"/api/v1/jobs/{job.pk}/events?limit=2&cursor={first['next_cursor']}"
    ).json()
    kinds = [event["kind"] for event in first["items"] + second["items"]]
    assert kinds == ["submit", "start", "run"]
    assert second["next_cursor"] is None


def test_readings_are_those_of_the_jobs_own_attempts(member, running):
    job, attempt = running
    device = attempt.allocations.get().device
    now = int(timezone.now().timestamp())
    for holder, start in ((attempt.token, now - 60), (attempt.token, now), ("someone-1", now)):
        HolderReading.objects.create(
            device=device, holder=holder, seconds=60, start=start, samples=60, used_max=GIB
        )
    body = fits(ReadingsOut, member.get(f"/api/v1/jobs/{job.pk}/readings"))
    assert [item["used_max_bytes"] for item in body["items"]] == [GIB, GIB]
    assert body["items"][0]["start"] < body["items"][1]["start"]
    later = body["items"][1]["start"]
    since = member.get(f"/api/v1/jobs/{job.pk}/readings?since={later}").json()
    assert len(since["items"]) == 1


def test_readings_come_in_known_periods_only(member, running):
    job, _attempt = running
    body = problem(member.get(f"/api/v1/jobs/{job.pk}/readings?seconds=7"), 422, "request_invalid")
    assert "10, 60, 3600" in body["hint"]


def test_why_names_the_reason_and_what_each_card_says(member, running):
    heartbeats.beat(heartbeats.DISPATCHER)
    waits = a_job("waits", memory=40 * GIB)
    body = fits(WhyDetailOut, member.get(f"/api/v1/jobs/{waits.pk}/why"))
    assert (body["code"], body["class"], body["position"]) == ("WAIT_MEMORY", "wait", 1)
    assert "40 GiB" in body["sentence"]
    (card,) = body["cards"]
    assert not card["fits_now"]
    assert card["verdict"]


def test_why_of_a_job_that_does_not_wait_says_so(member, running):
    job, attempt = running
    body = fits(WhyDetailOut, member.get(f"/api/v1/jobs/{job.pk}/why"))
    assert (body["code"], body["cards"]) == ("NOT_WAITING", [])
    assert "RUNNING" in body["sentence"]
    finish(attempt)
    assert "SUCCEEDED" in member.get(f"/api/v1/jobs/{job.pk}/why").json()["sentence"]
