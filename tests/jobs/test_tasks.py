"""Periodic work: safe to repeat, and removing only what is past its time."""

from __future__ import annotations

import contextlib
import sqlite3
from datetime import UTC, datetime, timedelta

import pytest
from django.contrib.sessions.models import Session
from django.utils import timezone as clock
from django_q.models import OrmQ, Schedule

from gpus.models import Device, Node, Reading
from gpus.retention import forget_old_readings
from jobs import backup, retention, signin, tasks
from jobs.models import Heartbeat, IdempotentAnswer, SignInLink, User

pytestmark = pytest.mark.django_db

NOW = datetime(2026, 3, 5, 12, 30, tzinfo=UTC)


@pytest.fixture
def person():
    return User.objects.create_user("researcher-1")


def test_schedules_are_made_once_and_old_ones_of_ours_go():
    Schedule.objects.create(name="gone", func="jobs.tasks.gone", minutes=1)
    Schedule.objects.create(name="theirs", func="their.module.function", minutes=1)
    tasks.ensure_schedules()
    tasks.ensure_schedules()
    names = set(Schedule.objects.values_list("name", flat=True))
    assert names == {*tasks.SCHEDULES, "theirs"}
    assert all(
        callable(getattr(tasks, name))
        for name in Schedule.objects.filter(func__startswith="jobs.").values_list("name", flat=True)
    )


def test_the_next_time_of_a_schedule_survives_a_restart():
    tasks.ensure_schedules()
    Schedule.objects.update(next_run=NOW)
    tasks.ensure_schedules()
    assert set(Schedule.objects.values_list("next_run", flat=True)) == {NOW}


def test_a_start_does_not_wait_for_the_schedule_to_see_that_the_background_lives():
    tasks.ask_for_a_heartbeat()
    assert [task.task["func"] for task in OrmQ.objects.all()] == ["jobs.tasks.heartbeat"]


def test_a_heartbeat_leaves_a_row_and_a_file(settings):
    beat = settings.COOP_HOME / tasks.BEAT
    beat.parent.mkdir(parents=True, exist_ok=True)
    tasks.heartbeat()
    assert Heartbeat.objects.get().name == "background"
    assert beat.exists()


def test_kept_answers_are_forgotten_after_a_day(person):
    for key in ("old", "new"):
        IdempotentAnswer.objects.create(user=person, key=key, fingerprint="f", status=201, body={})
    IdempotentAnswer.objects.filter(key="old").update(created_at=clock.now() - timedelta(hours=25))
    retention.forget_old(clock.now())
    assert [answer.key for answer in IdempotentAnswer.objects.all()] == ["new"]


def test_ended_sessions_are_forgotten():
    Session.objects.create(session_key="old", session_data="", expire_date=NOW)
    retention.forget_old(clock.now())
    assert not Session.objects.exists()


def test_fine_readings_go_before_coarse_ones():
    node = Node.objects.create(name="node-1")
    card = Device.objects.create(uuid="GPU-1", node=node, index=0, name="A100", memory_total=1)
    three_days_ago = int((NOW - timedelta(days=3)).timestamp())
    for seconds in (10, 60, 3600):
        Reading.objects.create(device=card, seconds=seconds, start=three_days_ago, samples=1)
    assert forget_old_readings(NOW) == 1
    assert sorted(Reading.objects.values_list("seconds", flat=True)) == [60, 3600]


def test_a_sign_in_link_lets_its_person_in_once(person):
    token = signin.create_link(person).rstrip("/").rpartition("/")[2]
    assert signin.owner_of(token) == person
    assert signin.use(token) == person
    assert signin.use(token) is None
    assert signin.owner_of(token) is None


def test_an_expired_link_and_one_of_a_disabled_person_let_nobody_in(person):
    token = signin.create_link(person).rstrip("/").rpartition("/")[2]
    SignInLink.objects.update(expires_at=clock.now())
    assert signin.use(token) is None
    SignInLink.objects.update(expires_at=clock.now() + timedelta(minutes=5))
    User.objects.update(is_active=False)
    assert signin.use(token) is None


def test_the_token_of_a_link_is_not_in_the_database(person):
    token = signin.create_link(person).rstrip("/").rpartition("/")[2]
    assert token not in str(SignInLink.objects.values().get())


def test_used_and_expired_links_are_removed(person):
    used = signin.create_link(person).rstrip("/").rpartition("/")[2]
    signin.use(used)
    signin.create_link(person)
    assert signin.forget_old_links() == 1
    assert SignInLink.objects.count() == 1


def test_of_many_backups_a_day_of_hours_and_two_weeks_of_days_are_kept():
    start = datetime(2026, 1, 1, tzinfo=UTC)
    names = [(start + timedelta(hours=hour)).strftime(backup._NAME) for hour in range(24 * 30)]
    kept = sorted(set(names) - set(backup.no_longer_needed(names)))
    assert kept[-24:] == names[-24:]
    assert kept[:-24] == [
        (start + timedelta(days=day, hours=23)).strftime(backup._NAME) for day in range(16, 29)
    ]


@pytest.mark.django_db(transaction=True)
def test_a_backup_is_a_whole_private_database(settings, tmp_path, person):
    settings.COOP_HOME = tmp_path
    copy = backup.back_up(NOW)
    if copy is None:
        pytest.skip("PostgreSQL has its own tools")
    assert copy.stat().st_mode & 0o777 == 0o600
    assert [path.name for path in copy.parent.iterdir()] == [copy.name]
    with contextlib.closing(sqlite3.connect(copy)) as database:
        names = database.execute("select username from jobs_user").fetchall()
    assert names == [("researcher-1",)]
