"""What-ifs over the API and in the background: who may ask what, and who is told what."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone
from django_q.models import OrmQ

from gpus.models import Device
from jobs import permissions, sitesettings, tasks
from jobs.api.replayschemas import ReplayOut
from jobs.models import Heartbeat, Membership, Project, Quota, Replay
from jobs.projects import default_project, join
from jobs.replay import asking
from jobs.replay.question import Asker, Question, added, check
from tests.jobs.apicalls import by_session, by_token, fits, problem
from tests.jobs.pasts import Past, three_on_one_card
from tests.rows import GIB, a_device, a_user, an_admin

pytestmark = pytest.mark.django_db

REPLAYS = "/api/v1/replays"


@pytest.fixture
def lead():
    return a_user("lead", role="lead")


@pytest.fixture
def past(lead):
    """Three jobs of the lead's project, and one of another one."""
    made = Past(timezone.now() - timedelta(hours=2))
    card = a_device()
    three_on_one_card(made, card, owner=lead)
    hidden = Project.objects.create(slug="hidden-team", name="Hidden team")
    stranger = a_user("stranger", role=None)
    join(stranger, hidden, Membership.Role.LEAD)
    made.job("secret", 3, (16, 20), on=card, owner=stranger, project=hidden)
    return made


def asked(caller, **question):
    """Ask, have it worked out, and read the answer."""
    told = fits(ReplayOut, caller.post(REPLAYS, {"days": 1, **question}))
    assert (told["state"], told["answer"]) == ("waiting", None)
    asking.work_out(told["id"])
    return fits(ReplayOut, caller.get(f"{REPLAYS}/{told['id']}"))


# --- over the API ---------------------------------------------------------------------------------------


def test_a_lead_is_told_the_sums_of_all_and_the_own_project(lead, past):
    told = asked(by_token(lead), add=["1xA100-80G"])
    assert (told["state"], told["problem"], told["made_by"]) == ("done", None, "lead")
    answer = told["answer"]
    assert answer["jobs"]["counted"] == 4
    assert answer["cards"] == {"today": 1, "changed": 2}
    for side in ("really", "today", "changed"):
        assert answer[side]["whole"]["jobs"] == 4
        assert list(answer[side]["projects"]) == ["default"]
    assert answer["changed"]["whole"]["mean_wait_s"] < answer["today"]["whole"]["mean_wait_s"]
    assert "hidden" not in str(told)
    assert "stranger" not in str(told)


def test_an_admin_is_told_of_all_projects_and_of_no_person(past):
    told = asked(by_token(an_admin()), settings={"policy": "fifo"})
    assert list(told["answer"]["today"]["projects"]) == ["default", "hidden-team"]
    assert "stranger" not in str(told)


def test_a_token_of_one_project_is_told_of_that_one_only(past):
    told = asked(by_token(an_admin(), project=default_project()))
    assert list(told["answer"]["today"]["projects"]) == ["default"]
    body = {"projects": {"hidden-team": {"weight": 2}}}
    caller = by_token(an_admin(), project=default_project())
    assert "hidden" not in problem(caller.post(REPLAYS, body), 422, "replay_refused")["hint"]


def test_the_pages_session_may_ask_too(lead, past):
    assert by_session(lead).post(REPLAYS, {"days": 1}).status_code == 201


def test_the_answer_is_the_askers_and_the_admins(lead, past):
    told = asked(by_token(lead))
    place = f"{REPLAYS}/{told['id']}"
    assert by_token(an_admin()).get(place).status_code == 200
    problem(by_token(a_user("other", role="lead")).get(place), 404, "not_found")
    problem(by_token(a_user("member")).get(place), 403, "forbidden")
    Membership.objects.filter(user=lead).update(role="member")
    problem(by_token(lead).get(place), 403, "forbidden")


def test_who_may_only_read_may_not_ask(lead, past):
    problem(by_token(lead, "read").post(REPLAYS, {}), 403, "forbidden")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({"days": 0}, "days"),
        ({"days": 400}, "days"),
        ({"day": 3}, "day"),
        ({"projects": {"default": {"limits": {}}}}, "limits"),
        ({"projects": {"default": {"limit": {"cards": -1}}}}, "cards"),
        ({"projects": {"default": {"limit": {"gpu_hours_month": 3}}}}, "gpu_hours_month"),
        ({"suspend_seconds": -1}, "suspend_seconds"),
    ],
)
def test_a_misspelt_question_is_refused(lead, past, body, said):
    told = problem(by_token(lead).post(REPLAYS, body), 422, "request_invalid")
    assert said in told["detail"]


def test_what_is_known_only_to_the_site_is_checked_too(lead, past):
    Quota.objects.create(project=default_project(), limit_cards=4)
    caller = by_token(lead)
    for body, said in (
        ({"settings": {"log_dir": "/tmp"}}, "'log_dir' is no setting that a replay can change"),
        ({"settings": {"mode": "wild"}}, "mode cannot be 'wild'"),
        ({"settings": {"min_run_minutes": -1}}, "a number of minutes from 0"),
        ({"projects": {"hidden-team": {"weight": 2}}}, "no project 'hidden-team' that you lead"),
        (
            {"projects": {"default": {"guarantee": {"cards": 5}}}},
            "(5) would be above its limit (4)",
        ),
        ({"add": ["0xA100-80G"]}, "adds no card"),
        ({"add": ["9999xA100-80G", "9xA100-80G"]}, "are too many to replay"),
        ({"add": ["2xunknown"]}, "names no machines"),
        ({"fleet": "8 cards"}, "names no machines"),
    ):
        told = problem(caller.post(REPLAYS, body), 422, "replay_refused")
        assert said in told["detail"], body
        assert told["hint"]
    assert not Replay.objects.exists()
    allowed = {"default": {"guarantee": {"cards": 5}, "limit": {"cards": None}}}
    assert caller.post(REPLAYS, {"projects": allowed}).status_code == 201


def test_a_policy_of_a_file_is_for_admins_whether_it_exists_or_not(lead, past, tmp_path):
    file = tmp_path / "policy.py"
    file.write_text("from llama_factory.coop import BasePolicy\nclass Mine(BasePolicy): pass\n")
    for name in (f"{file}:Mine", "/none.py:Mine"):
        body = {"settings": {"policy": name}}
        problem(by_token(lead).post(REPLAYS, body), 403, "forbidden")
    told = asked(by_token(an_admin()), settings={"policy": f"{file}:Mine"})
    assert told["state"] == "done"
    sitesettings.change({"policy": f"{file}:Mine"}, an_admin())
    assert asked(by_token(lead), settings={"policy": f"{file}:Mine"})["state"] == "done"


def test_what_a_policy_says_is_told_to_admins_only(lead, past, tmp_path):
    file = tmp_path / "policy.py"
    file.write_text(
        "from llama_factory.coop import BasePolicy\n"
        "class Leaks(BasePolicy):\n"
        "    def schedule(self, tasks):\n"
        "        raise ValueError([t.user for t in tasks])\n"
    )
    sitesettings.change({"policy": f"{file}:Leaks"}, an_admin())
    told = asked(by_token(lead))["answer"]["today"]["policy_problem"]
    assert told == "The policy failed."
    told = asked(by_token(an_admin()))["answer"]["today"]["policy_problem"]
    assert "raised ValueError" in told
    file.unlink()
    told = asked(by_token(lead))["problem"]
    assert (told["code"], str(file) in told["detail"]) == ("policy", False)
    assert str(file) in asked(by_token(an_admin()))["problem"]["detail"]


def test_one_question_of_a_person_is_worked_on_at_a_time(lead, past):
    caller = by_token(lead)
    first = caller.post(REPLAYS, {}).json()
    told = problem(caller.post(REPLAYS, {}), 409, "replay_running")
    assert told["replay"] == first["id"]
    assert by_token(an_admin()).post(REPLAYS, {}).status_code == 201
    asking.work_out(first["id"])
    assert caller.post(REPLAYS, {}).status_code == 201


# --- in the background ----------------------------------------------------------------------------------


def test_a_question_is_handed_to_the_background(lead, past, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks(execute=True):
        replay = asking.ask(Question(), Asker.of(lead))
    task = OrmQ.objects.get().task
    assert (task["func"], task["args"]) == ("jobs.tasks.replay", (replay.pk,))


def test_the_task_answers_once_and_shows_that_it_lives(lead, past, settings):
    (settings.COOP_HOME / tasks.BEAT).parent.mkdir(parents=True, exist_ok=True)
    replay = asking.ask(Question(days=1.0), Asker.of(lead))
    tasks.replay(replay.pk)
    assert Heartbeat.objects.filter(name="background").exists()
    replay.refresh_from_db()
    assert asking.stage(replay, timezone.now()) == asking.DONE
    Replay.objects.update(answer={})
    tasks.replay(replay.pk)
    tasks.replay("gone")
    assert Replay.objects.get().answer == {}


def test_a_failure_of_ours_is_told_and_logged(lead, past, monkeypatch, caplog):
    monkeypatch.setattr(asking, "answer", lambda *_arguments: 1 / 0)
    told = asked(by_token(lead))
    assert (told["state"], told["problem"]["code"]) == ("failed", "failed")
    assert "ZeroDivisionError" in caplog.text


def test_whatever_was_interrupted_is_given_up(lead, past):
    replay = asking.ask(Question(), Asker.of(lead))
    now = timezone.now()
    assert asking.stage(replay, now) == asking.WAITING
    replay.begun_at = now
    assert asking.stage(replay, now) == asking.RUNNING
    assert asking.stage(replay, now + timedelta(minutes=11)) == asking.FAILED
    told = asking.told(replay, Asker.of(lead), now + timedelta(minutes=11))
    assert told["problem"]["code"] == "interrupted"


def test_cards_that_are_named_may_have_gone_by_then(lead, past):
    replay = asking.ask(Question(days=1.0), Asker.of(lead))
    Replay.objects.update(question=replay.question | {"add": ["1xA100"]})
    Device.objects.update(name="NVIDIA H20")
    asking.work_out(replay.pk)
    replay.refresh_from_db()
    assert replay.problem == "outdated"
    assert (
        "names no machines"
        in asking.told(replay, Asker.of(lead), timezone.now())["problem"]["detail"]
    )


def test_old_answers_are_forgotten(lead, past):
    asking.ask(Question(), Asker.of(lead))
    assert asking.forget_old(timezone.now()) == 0
    assert asking.forget_old(timezone.now() + timedelta(days=91)) == 1


# --- questions ------------------------------------------------------------------------------------------


def test_only_leads_and_admins_ask():
    assert Asker.of(an_admin()).is_admin
    assert not Asker.of(an_admin(), default_project()).is_admin
    with pytest.raises(Exception, match="lead a project"):
        Asker.of(a_user("member"))


@pytest.mark.parametrize(
    ("text", "count", "model", "memory"),
    [
        ("2xA100-80G", 2, "NVIDIA A100-SXM4-80GB", 80),
        ("A100", 1, "NVIDIA A100-SXM4-80GB", 80),
        ("3xNVIDIA A100-SXM4-80GB", 3, "NVIDIA A100-SXM4-80GB", 80),
        ("1xA100-40G", 1, "A100-40G", 40),
        ("4xH200-141G", 4, "H200-141G", 141),
        ("RTX4090-24G", 1, "RTX4090-24G", 24),
    ],
)
def test_more_cards_are_named_by_type(text, count, model, memory):
    a_device()
    found, machine = added(text)
    assert (found, machine.count, machine.gpus) == (count, 1, count)
    assert (machine.model, machine.memory // GIB) == (model, memory)


def test_a_question_that_changes_nothing_is_allowed():
    check(Question(), Asker.of(a_user("lead", role="lead")))
    assert Question().changes_nothing
    assert not Question(add=("A100",)).changes_nothing
    assert permissions.projects_reported_to(a_user("member")) == []
