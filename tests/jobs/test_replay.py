"""A site's rows replayed: small pasts whose waits can be worked out by hand. Minutes after noon."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from jobs import sitesettings
from jobs.core.states import JobState, Outcome
from jobs.models import Allocation, Attempt, Project, Quota
from jobs.projects import default_project
from jobs.replay import reading
from jobs.replay.answering import Limits, NoAnswer, answer
from jobs.replay.question import Question
from jobs.replay.world import Site, changed_setting, now_setting
from tests.jobs.pasts import Past, three_on_one_card
from tests.rows import GIB, a_device, a_user

pytestmark = pytest.mark.django_db

NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
NOW = NOON + timedelta(hours=1)
HOUR = Question(days=1 / 24)


@pytest.fixture
def past():
    return Past(NOON)


@pytest.fixture
def card():
    return a_device()


def found(question=HOUR, **limits):
    return answer(question, NOW, Limits(**limits))


def minutes(side, project=None):
    figures = side["projects"][project] if project else side["whole"]
    return round(figures["mean_wait_s"] / 60, 6)


def read(since=NOON, **limits):
    return {job.id: job for job in reading.read(since, NOW, **limits).jobs}


# --- answers ------------------------------------------------------------------------------------------


def test_today_is_what_happened_and_one_more_card_is_better(past, card):
    three_on_one_card(past, card)
    told = found(replace(HOUR, add=("1xA100-80G",)))
    assert minutes(told["really"]) == minutes(told["today"]) == round(22 / 3, 6)
    assert minutes(told["changed"]) == round(4 / 3, 6)
    assert told["cards"] == {"today": 1, "changed": 2}
    assert (told["really"]["makespan_s"], told["changed"]["makespan_s"]) == (960, 600)
    assert told["jobs"] == {
        "counted": 3,
        "before": 0,
        "never_ran": 0,
        "held": 0,
        "unknown": 0,
        "too_many": 0,
        "unfinished": 0,
        "unmeasured": 3,
    }
    assert (told["since"], told["until"]) == (NOON.isoformat(), NOW.isoformat())
    assert told["shortened"] == ""


def test_without_a_change_only_the_model_is_judged(past, card):
    three_on_one_card(past, card)
    told = found()
    assert minutes(told["today"]) == minutes(told["really"])
    assert told["changed"] is None


def test_other_cards_may_be_named(past, card):
    three_on_one_card(past, card)
    told = found(replace(HOUR, fleet="3x1xH100-80G"))
    assert minutes(told["changed"]) == 0
    too_small = found(replace(HOUR, fleet="1x8xT4-16G"))["changed"]["whole"]
    assert (too_small["jobs"], too_small["started"], too_small["mean_wait_s"]) == (3, 0, None)


def test_a_policy_may_be_tried(past, card):
    past.job("a", 0, (0, 10), on=card)
    past.job("long", 1, (10, 30), on=card, est_time=20 * 60)
    past.job("short", 2, (30, 31), on=card, est_time=60)
    told = found(replace(HOUR, settings={"policy": "shortest-first"}))
    assert minutes(told["today"]) == round((0 + 9 + 28) / 3, 6)
    assert minutes(told["changed"]) == round((0 + 10 + 8) / 3, 6)


def test_a_policy_of_the_site_runs_in_a_process_of_its_own(past, card, tmp_path):
    three_on_one_card(past, card)
    file = tmp_path / "policy.py"
    file.write_text(
        "from llama_factory.coop import BasePolicy\n"
        "class LastFirst(BasePolicy):\n"
        "    def schedule(self, tasks):\n"
        "        return sorted(tasks, key=lambda t: -t.submitted_at)\n"
        "class Broken(BasePolicy):\n"
        "    def schedule(self, tasks):\n"
        "        return tasks[1:]\n"
    )
    told = found(replace(HOUR, settings={"policy": f"{file}:LastFirst"}))
    assert minutes(told["changed"]) == round((0 + 8 + 10) / 3, 6)
    told = found(replace(HOUR, settings={"policy": f"{file}:Broken"}))
    assert minutes(told["changed"]) == minutes(told["today"])
    assert told["changed"]["policy_problem"] == f"{file}:Broken left out 1 of 1 tasks"
    with pytest.raises(NoAnswer) as none:
        found(replace(HOUR, settings={"policy": f"{file}:Gone"}))
    assert none.value.code == "policy"
    assert "has no class Gone" in none.value.told


def test_weights_and_limits_of_projects_may_be_tried(past, card):
    beta = Project.objects.create(slug="beta", name="Beta")
    past.job("first", 0, (0, 10), on=card)
    past.job("ours", 1, (10, 20), on=card)
    past.job("theirs", 2, (20, 25), on=card, project=beta)
    told = found(replace(HOUR, projects={"beta": {"limit": {"cards": 0}}}))
    # By share beta, which has had nothing, comes before default.
    assert minutes(told["today"], "beta") == 8
    assert told["changed"]["projects"]["beta"]["started"] == 0
    told = found(replace(HOUR, projects={"default": {"guarantee": {"cards": 2}}}))
    assert minutes(told["changed"], "beta") == 18


def test_quotas_of_today_are_kept(past):
    Quota.objects.create(project=default_project(), limit_cards=1, limit_gpu_hours=0.0)
    first, second = a_device(0), a_device(1)
    past.job("a", 0, (0, 10), on=first)
    past.job("b", 0, (0, 10), on=second)
    told = found(replace(HOUR, projects={"default": {"limit": {"cards": None}}}))
    assert (minutes(told["today"]), minutes(told["changed"])) == (5, 0)


def test_what_was_used_before_counts_in_the_share(past, card):
    beta = Project.objects.create(slug="beta", name="Beta")
    past.job("used", -700, (-700, -10), on=card, project=beta)
    past.job("first", 0, (0, 10), on=card)
    past.job("ours", 1, (10, 20), on=card)
    past.job("theirs", 2, (20, 25), on=card, project=beta)
    told = found()
    assert minutes(told["today"], "beta") == minutes(told["really"], "beta") == 18


def test_jobs_from_before_hold_their_cards_and_are_not_counted(past, card):
    past.job("runs", -50, (-40, 10), on=card)
    past.job("waits", -5, (10, 12), on=card)
    past.job("new", 1, (12, 13), on=card)
    told = found()
    assert (told["jobs"]["counted"], told["jobs"]["before"]) == (1, 2)
    assert minutes(told["today"]) == minutes(told["really"]) == 11


def test_nothing_to_replay_is_told(card):
    with pytest.raises(NoAnswer) as none:
        found()
    assert none.value.code == "no_jobs"


def test_no_card_to_replay_on_is_told(past, card):
    three_on_one_card(past, card)
    card.drained = True
    card.save()
    with pytest.raises(NoAnswer) as none:
        found()
    assert none.value.code == "no_cards"


# --- limits -------------------------------------------------------------------------------------------


def test_of_too_many_jobs_the_newest_are_replayed(past, card):
    for number in range(10):
        past.job(f"job-{number}", number, (number, number + 1), on=card)
    told = found(jobs=4)
    assert (told["jobs"]["counted"], told["jobs"]["too_many"]) == (4, 6)
    assert (told["shortened"], told["since"]) == ("jobs", past.at(6).isoformat())
    assert told["asked_since"] == NOON.isoformat()


class Clock:
    """Each look at it costs a second."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def test_what_takes_too_long_is_done_for_a_shorter_time(past, card):
    for number in range(40):
        past.job(f"job-{number}", number, (number, number + 0.5), on=card)
    told = found(seconds=100.0, clock=Clock())
    assert told["shortened"] == "time"
    counted = told["jobs"]["counted"]
    assert 10 < counted < 40
    assert told["jobs"]["too_many"] == 40 - counted
    assert told["since"] == past.at(40 - counted).isoformat()
    with pytest.raises(NoAnswer) as none:
        found(seconds=5.0, clock=Clock())
    assert none.value.code == "too_slow"


def test_it_shows_that_it_lives_before_each_replay(past, card):
    three_on_one_card(past, card)
    signs = []
    found(replace(HOUR, add=("A100",)), sign_of_life=lambda: signs.append(1))
    assert len(signs) == 2


# --- rows ---------------------------------------------------------------------------------------------


def test_a_job_is_read_with_all_that_it_needed(past, card):
    asked = {
        "priority": 2,
        "gpus": 1,
        "gpu_type": "A100",
        "exclusive": True,
        "preemptible": True,
        "est_time": 90.0,
        "template": "k",
    }
    job = past.job("a", 1, (2, 5), (7, 9), on=card, share=0.35, **asked)
    Attempt.objects.filter(job=job, number=1).update(outcome=Outcome.PREEMPTED, lost_seconds=30.0)
    told = read()[job.pk]
    assert (told.project, told.user) == ("default", "member")
    assert (told.memory, told.gpus, told.gpu_type) == (60 * GIB, 1, "A100")
    assert (told.exclusive, told.preemptible, told.est_time, told.template) == (True, True, 90, "k")
    assert (told.priority.name, told.succeeded) == ("HIGH", True)
    zero = NOON.timestamp()
    assert (told.submitted_at - zero, told.ended_at - zero) == (60, 540)
    first, second = told.attempts
    assert (first.booked_at - zero, first.began - zero, first.ended - zero) == (120, 120, 300)
    assert (first.cards, first.demand, first.preempted, first.lost) == (
        (card.uuid,),
        0.35,
        True,
        30.0,
    )
    assert (second.preempted, second.lost) == (False, 0.0)


def test_held_and_frozen_times_come_from_the_events(past, card):
    job = past.job("a", 0, (10, 30), on=card)
    past.event(job, "submit", 0, JobState.HELD)
    past.event(job, "release", 4)
    past.event(job, "hold", 5, JobState.HELD)
    past.event(job, "release", 8)
    past.event(job, "freeze", 12, JobState.SUSPENDED)
    past.event(job, "thaw", 20, JobState.RUNNING)
    past.event(job, "freeze", 29, JobState.SUSPENDED)
    told, zero = read()[job.pk], NOON.timestamp()
    assert told.held == ((zero, zero + 240), (zero + 300, zero + 480))
    assert told.frozen == ((zero + 720, zero + 1200), (zero + 1740, math.inf))
    assert minutes(found()["really"]) == 2


def test_a_submit_that_was_queued_at_once_is_no_hold(past, card):
    job = past.job("a", 0, (0, 1), on=card)
    past.event(job, "submit", 0)
    assert read()[job.pk].held == ()


def test_how_long_the_unfinished_still_work_is_what_the_scheduler_expects(past, card):
    runs = past.job("runs", 50, (50, None), on=card, state=JobState.RUNNING, est_time=1200.0)
    waits = past.job("waits", 50, state=JobState.QUEUED, est_time=300.0)
    unknown = past.job("unknown", 50, state=JobState.QUEUED)
    told = read()
    assert (told[runs.pk].left, told[runs.pk].ended_at) == (600, None)
    assert (told[waits.pk].left, told[unknown.pk].left) == (300, math.inf)
    assert found()["jobs"]["unknown"] == 1


def test_only_jobs_that_lived_in_the_period_are_read(past, card):
    past.job("gone", -60, (-50, -10), on=card)
    past.job("over", -60, (-50, 5), on=card)
    past.job("now", 10, (11, 12), on=card)
    assert {Attempt.objects.get(job=pk).job.task_id for pk in read()} == {"over", "now"}


def test_past_usage_is_decayed_to_the_beginning(past, card):
    past.job("a", -120, (-120, -60), on=card, memory=40 * GIB)
    past.job("open", -60, (-60, None), on=card, memory=20 * GIB, state=JobState.RUNNING)
    other = past.job("b", 5, (5, 10), on=card)
    cards = Site.read(NOW).views()
    used = reading.used_before(NOON, 3600.0, cards)
    hour = 3600 / math.log(2)
    # Half of a card from two hours to one hour before; a quarter from then on.
    assert used["default"]["member"] == pytest.approx(hour * (0.5 * (0.5 - 0.25) + 0.25 * 0.5))
    assert reading.used_before(NOON - timedelta(days=9), 3600.0, cards) == {}
    assert Allocation.objects.filter(attempt__job=other).count() == 1


# --- the world ----------------------------------------------------------------------------------------


def test_cards_are_replayed_empty_whatever_is_on_them_now():
    a_device(0, used=50 * GIB, foreign=9 * GIB, age=900, booked=14 * GIB)
    a_device(1, fault="fallen off the bus")
    a_device(2, drained=True)
    site = Site.read(NOW)
    views = now_setting(site, {}, 120).cards
    assert [view.index for view in views] == [0, 1]
    assert {(view.measured_free, view.booked, view.foreign) for view in views} == {(80 * GIB, 0, 0)}
    assert site.out_of_service == 1


def test_changed_settings_change_the_cards_and_the_rules():
    a_device(0)
    a_device(1, mode="exclusive", weight=2.0)
    wanted = Question(
        settings={
            "mode": "dynamic-sharding",
            "max_jobs_per_card": 3,
            "max_workers": 7,
            "preemption": False,
            "min_run_minutes": 5,
            "placement": "fragmentation",
        },
        add=("2xNVIDIA A100-SXM4-80GB", "H200-141G"),
        suspend_seconds=9,
    )
    setting, values = changed_setting(Site.read(NOW), {}, wanted)
    own, alone, *new = setting.cards
    assert (own.max_holders, own.threshold, own.max_busy) == (3, 0.95, 1.6)
    assert (alone.max_holders, alone.weight) == (1, 2.0)
    assert [(c.node, c.name, c.total // GIB, c.weight) for c in new] == [
        ("new-1", "NVIDIA A100-SXM4-80GB", 80, 2.0),
        ("new-1", "NVIDIA A100-SXM4-80GB", 80, 2.0),
        ("new-2", "H200-141G", 141, 1.0),
    ]
    assert (setting.max_workers, setting.suspend_seconds) == (7, 9)
    rules = setting.rules
    assert (rules.preemption, rules.min_run, rules.placement) == (False, 300, "fragmentation")
    assert values.policy == sitesettings.current().policy


def test_projects_keep_their_quotas_and_change_as_asked():
    ana = a_user("ana")
    project = default_project()
    Quota.objects.create(project=project, limit_cards=4, guarantee_cards=1, limit_gpu_hours=9.0)
    Quota.objects.create(project=project, user=ana, limit_running=2)
    wanted = Question(
        projects={"default": {"weight": 3, "guarantee": {"cards": 2, "memory_bytes": 5}}}
    )
    used = {"default": {"ana": 40.0, "bo": 2.0}}
    setting, _values = changed_setting(Site.read(NOW), used, wanted)
    view = setting.projects["default"]
    assert (view.weight, view.usage) == (3, 42)
    assert (view.limit.cards, view.guarantee.cards, view.guarantee.memory) == (4, 2, 5)
    assert view.limit.gpu_hours_month is None
    assert (view.users["ana"].limit.running, view.users["bo"].usage) == (2, 2.0)
    before = now_setting(Site.read(NOW), used, 120).projects["default"]
    assert (before.weight, before.guarantee.cards) == (1, 1)
