"""The sockets end to end in one process: who may join, what arrives, and how fast."""

from __future__ import annotations

import json
import time

import pytest
from asgiref.sync import sync_to_async
from channels.testing import WebsocketCommunicator
from django.test import Client
from django.utils import timezone

from coop_site.asgi import application
from jobs import consumers, events, lifecycle, live
from jobs.models import Allocation, Project
from jobs.projects import join
from tests.rows import GIB, a_device, a_job, a_running_job, a_user

pytestmark = pytest.mark.django_db(transaction=True)
HOST = [(b"host", b"localhost"), (b"origin", b"http://localhost")]


def cookie_of(user):
    browser = Client()
    browser.force_login(user)
    return browser.cookies["sessionid"].value


async def socket(path, user=None, headers=HOST):
    cookies = []
    if user is not None:
        cookies = [(b"cookie", b"sessionid=" + (await sync_to_async(cookie_of)(user)).encode())]
    return WebsocketCommunicator(application, path, headers=[*headers, *cookies])


async def joined(path, user):
    opened = await socket(path, user)
    assert (await opened.connect())[0]
    assert await opened.receive_nothing(0.05)
    return opened


async def hear(opened, kind, seconds=5):
    """The next message of a kind."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        message = json.loads(await opened.receive_from(timeout=seconds))
        if message["k"] == kind:
            return message
    raise AssertionError(f"no message {kind!r}")


def readings(*segments, at=None):
    return {
        "k": "readings",
        "at": at or timezone.now().timestamp(),
        "devices": [
            {
                "uuid": "GPU-test-0",
                "total": 80 * GIB,
                "used": 5 * GIB,
                "busy": 0.5,
                "segs": list(segments),
            }
        ],
    }


@pytest.fixture
def member():
    return a_user("member")


@pytest.fixture
def stranger():
    user = a_user("stranger", role=None)
    join(user, Project.objects.create(slug="elsewhere", name="Elsewhere"), "member")
    return user


@pytest.mark.parametrize("path", ["/ws/fleet", "/ws/jobs", "/ws/jobs/xyz"])
async def test_nobody_joins_without_a_session(path):
    opened = await socket(path)
    assert (await opened.connect())[0]
    assert await opened.receive_output() == {
        "type": "websocket.close",
        "code": consumers.SIGNED_OUT,
    }


@pytest.mark.parametrize(
    "headers",
    [[(b"host", b"localhost")], [(b"host", b"localhost"), (b"origin", b"http://evil.example")]],
)
async def test_a_page_from_elsewhere_opens_no_socket(member, headers):
    opened = await socket("/ws/fleet", member, headers)
    assert not (await opened.connect())[0]


async def test_readings_reach_every_viewer_as_one_text(member, stranger):
    viewers = [await joined("/ws/fleet", user) for user in (member, stranger)]
    live.hub().hear(readings(["key", 10, 5]))
    texts = [await viewer.receive_from() for viewer in viewers]
    assert texts[0] == texts[1]
    assert json.loads(texts[0])["devices"][0]["segs"] == [["key", 10, 5]]
    for viewer in viewers:
        await viewer.disconnect()


async def test_readings_come_over_the_bus_of_the_site(member):
    viewer = await joined("/ws/fleet", member)
    assert await sync_to_async(events.bus().send)("web", readings()) >= 1
    assert (await hear(viewer, "readings"))["devices"]
    await viewer.disconnect()


async def test_a_newcomer_gets_the_last_minutes_first(member):
    hub = live.hub()
    start = int(time.time()) // 10 * 10
    for second in range(30):
        hub.hear(readings(at=start + second))
    viewer = await socket("/ws/fleet", member)
    await viewer.connect()
    history = await hear(viewer, "history")
    assert [point[0] - start for point in history["devices"]["GPU-test-0"]] == [
        0,
        5,
        10,
        15,
        20,
        25,
    ]
    assert history["devices"]["GPU-test-0"][0][1:] == [5 * 1024, 50]
    await viewer.disconnect()


async def test_a_change_is_told_with_the_ids_that_one_may_see(member, stranger):
    mine, theirs = await joined("/ws/jobs", member), await joined("/ws/jobs", stranger)
    job = await sync_to_async(a_job)("t", owner=member)
    assert (await hear(mine, "changed"))["jobs"] == [job.pk]
    assert (await hear(theirs, "changed"))["jobs"] == []
    for viewer in (mine, theirs):
        await viewer.disconnect()


async def test_a_change_arrives_within_a_quarter_of_a_second(member):
    job = await sync_to_async(a_job)("t", owner=member)
    viewer = await joined("/ws/jobs", member)
    delays = []
    for _round in range(4):
        before = time.monotonic()
        deed = lifecycle.hold if job.state == "QUEUED" else lifecycle.release
        assert await sync_to_async(deed)(job, member)
        assert (await hear(viewer, "changed"))["jobs"] == [job.pk]
        delays.append(time.monotonic() - before)
    assert sorted(delays)[1] < 0.25
    await viewer.disconnect()


async def test_a_change_that_the_bus_lost_is_found_in_the_event_rows(member, monkeypatch):
    monkeypatch.setattr(live, "HEAL_EVERY", 0.05)
    viewer = await joined("/ws/jobs", member)
    monkeypatch.setattr(events, "announce", lambda jobs, event: None)
    job = await sync_to_async(a_job)("t", owner=member)
    assert (await hear(viewer, "changed"))["jobs"] == [job.pk]
    await viewer.disconnect()


async def test_a_watched_job_tells_progress_log_and_its_own_readings(member, monkeypatch):
    monkeypatch.setattr(live, "WATCH_EVERY", 0.02)
    job, _attempt = await sync_to_async(start)(member)
    viewer = await joined_job(job, member)
    assert (await hear(viewer, "log")) == {"k": "log", "attempt": 1, "size": 0}
    key = await sync_to_async(lambda: Allocation.objects.get().key)()
    live.hub().hear(readings([key, 14 * GIB, 3 * GIB], ["other", 1, 1]))
    assert (await hear(viewer, "readings"))["cards"] == [
        {"uuid": "GPU-test-0", "booked": 14 * GIB, "used": 3 * GIB, "busy": 0.5}
    ]
    await sync_to_async(set_progress)(job)
    progress = await hear(viewer, "progress")
    while not progress["progress"]:
        progress = await hear(viewer, "progress")
    assert progress["progress"] == {"step": 5, "total": 10}
    await viewer.disconnect()


async def test_a_job_of_another_project_cannot_be_watched(member, stranger):
    job = await sync_to_async(a_job)("t", owner=member)
    opened = await socket(f"/ws/jobs/{job.pk}", stranger)
    assert (await opened.connect())[0]
    assert await opened.receive_output() == {"type": "websocket.close", "code": consumers.NOT_THERE}


@pytest.mark.parametrize("end", ["membership", "account", "session"])
async def test_whoever_loses_the_right_loses_the_socket(member, monkeypatch, end):
    monkeypatch.setattr(consumers, "RECHECK_EVERY", 0.05)
    job = await sync_to_async(a_job)("t", owner=member)
    viewer = await socket(f"/ws/jobs/{job.pk}", member)
    await viewer.connect()
    await sync_to_async(take_away)(member, end)
    closed = await viewer.receive_output(5)
    while closed["type"] != "websocket.close":
        closed = await viewer.receive_output(5)
    assert closed["code"] in {consumers.NOT_THERE, consumers.SIGNED_OUT}


async def test_a_message_that_is_no_acknowledgement_ends_the_socket(member):
    viewer = await joined("/ws/jobs", member)
    await viewer.send_to(text_data='{"subscribe": "everything"}')
    assert (await viewer.receive_output())["type"] == "websocket.close"


def start(member):
    return a_running_job("t", device=a_device(), owner=member)


def set_progress(job):
    type(job).objects.filter(pk=job.pk).update(progress={"step": 5, "total": 10})


def take_away(user, what):
    if what == "membership":
        user.memberships.all().delete()
    elif what == "account":
        type(user).objects.filter(pk=user.pk).update(is_active=False)
    else:
        from django.contrib.sessions.models import Session

        Session.objects.all().delete()


async def joined_job(job, user):
    opened = await socket(f"/ws/jobs/{job.pk}", user)
    assert (await opened.connect())[0]
    return opened
